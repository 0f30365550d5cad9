"""Integrals over pixels where there is no closed form."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

from blurjax._typing import Array


def gauss_legendre(count: int, dtype: np.dtype) -> tuple[Array, Array]:
    """Nodes and weights of the unit interval [0, 1], each (count,)."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return jnp.asarray((nodes + 1) / 2, dtype), jnp.asarray(weights / 2, dtype)


def integrate_radial(
    shares: Callable[[Array], tuple[Array, Array]], size: int, dtype: np.dtype
) -> Array:
    r"""The mass in each pixel of a rotationally symmetric density of total mass 1.

    With E(r) the share inside radius r, the field E(r) (x, y) / (2 pi r^2) has the
    density as its divergence, so a pixel's mass is the flux through its four edges:
    one-dimensional integrals that never come closer to the centre than 1/2, however
    narrow the density. Eight Gauss-Legendre nodes an edge leave about 1e-10.

    Outside the bulk E is nearly constant and its fluxes cancel; -(1 - E) has the same
    divergence everywhere but at the centre, where it lacks the whole mass, and does not cancel.

    Args:
        shares: r of shape (h, h, nodes) to the shares inside and outside of it,
            (..., h, h, nodes).
        size: k, odd.
        dtype: of the coordinates.

    Returns:
        (..., k, k), not normalised: what is missing to 1 lies outside the window.
    """
    node, weight = (t[None, :] for t in gauss_legendre(8, dtype))
    pixel = jnp.arange((size + 1) // 2, dtype=dtype)
    # The first quadrant: pixels on an axis are cut at 0, and no flux crosses an axis.
    low, x = jnp.maximum(pixel - 0.5, 0)[:, None], (pixel + 0.5)[None, :, None]
    width = pixel[:, None] + 0.5 - low
    y = (low + width * node)[:, None, :]
    square = x**2 + y**2  # (row, column, node)
    rule = (width * weight)[:, None, :] * x / (2 * jnp.pi * square)
    inside, outside = shares(jnp.sqrt(square))
    lead = (1,) * (inside.ndim - 3)
    rule = rule.reshape(*lead, *rule.shape)

    def outflow(share: Array) -> Array:
        right = jnp.sum(share * rule, axis=-1)
        net = right - jnp.pad(right, [(0, 0)] * (right.ndim - 1) + [(1, 0)])[..., :-1]
        # The flux through the upper edges is that through the right ones, mirrored at x = y.
        return net + jnp.swapaxes(net, -1, -2)

    lone = jnp.zeros((pixel.size, pixel.size), dtype).at[0, 0].set(0.25)
    lone = lone.reshape(*lead, *lone.shape)
    bulk = inside[..., node.size // 2] < 0.5
    mass = jnp.where(bulk, outflow(inside), lone - outflow(outside))
    count = jnp.where(pixel == 0, 2, 1).astype(dtype)
    twice = (count[:, None] * count[None, :]).reshape(lone.shape)
    mass = jnp.maximum(twice * mass, 0)
    mirrored = jnp.abs(jnp.arange(size) - size // 2)
    return mass[..., mirrored, :][..., mirrored]
