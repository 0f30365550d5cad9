"""The defocus PSF: a uniform disc (geometrical optics, circular aperture)."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from blurjax._numerics import absolute, safe_sqrt
from blurjax._typing import Array, Kernels, Scalars
from blurjax.psf._grid import (
    check_parameter,
    check_size,
    in_single,
    normalise,
    warn_truncated,
    within_reach,
)

# Any radius up to 1/2 lies inside the central pixel: the same kernel, and no 0 / 0.
_DELTA = 0.25


def defocus(radius: Scalars, *, size: int) -> Kernels:
    r"""Uniform disc kernel of real-valued radius, by the exact area of disc and pixel.

        k(i, j) = |disc(r) intersected with pixel(i, j)| / (pi r^2),

    in closed form: with h(x) = sqrt(r^2 - x^2), a pixel [x0, x1] x [y0, y1] of
    the first quadrant holds the integral of clip(h(x), y0, y1) - y0, whose
    primitive is (x h(x) + r^2 asin(x / r)) / 2. The other quadrants mirror it.

    Args:
        radius: in pixels, >= 0; any shape, which leads the result's. While traced, a negative
            value counts as its magnitude.
        size: k, odd, static; 2 radius or more holds everything.

    Returns:
        Kernels `(*radius.shape, k, k)`, non-negative, sum 1, in radius's dtype. Radii up to 1/2
        give the one-pixel delta.

    Raises:
        ValueError: even `size`, a negative or non-finite concrete `radius`.

    Warns:
        UserWarning: if a concrete radius loses more than 1e-3 of its mass to `size`.

    Gradient:
        d area / d radius is the length of the circle's arc inside the pixel (a custom
        derivative), finite everywhere. It is 0 for radius <= 1/2; at radius n + 1/2 the first
        derivative is finite and the second is not.

    Source:
        The cylinder of Yan & Shao, TIP 2016, section on blur models; the area and its derivative
        are our derivation.

    Example:
        >>> from blurjax import psf
        >>> float(psf.defocus(3.0, size=9).sum().round(5))
        1.0
    """
    check_size(size)
    kernel, lost = _defocus(check_parameter("radius", radius, non_negative=True), size)
    warn_truncated("defocus", lost, size)
    return kernel


@in_single
@functools.partial(jax.jit, static_argnames="size")
def _defocus(radius: Array, size: int) -> tuple[Array, Array]:
    radius = within_reach(jnp.maximum(absolute(radius), _DELTA), size)[..., None, None]
    # The barrier keeps XLA from computing the quadrant anew for each of the four.
    quadrant = lax.optimization_barrier(_quadrant_area(radius, size))
    mirrored = jnp.abs(jnp.arange(size) - size // 2)
    area = quadrant[..., mirrored, :][..., mirrored]
    held = jnp.sum(area, axis=(-2, -1)) / (jnp.pi * radius[..., 0, 0] ** 2)
    return normalise(area), 1 - held


def _edges(size: int, dtype: jnp.dtype) -> tuple[Array, Array, Array]:
    """Lower and upper edges of the pixels 0, 1, ..., (k-1)/2 and how often the half pixel counts.

    The pixel on an axis is cut at 0: its half [0, 1/2] counts twice.
    """
    centre = jnp.arange((size + 1) // 2, dtype=dtype)
    return jnp.maximum(centre - 0.5, 0), centre + 0.5, jnp.where(centre == 0, 2, 1).astype(dtype)


def _at_crossings(
    f: Callable[[Array, Array], Array], radius: Array, size: int
) -> tuple[Array, Array]:
    """`f(x, y)` where the circle crosses a pixel's upper and lower edge, or its left or right one.

    Along the circle `f` increases with x, so that the value at the crossing clipped to the pixel
    is the clipped value at the crossing: f is needed for 3 k edges, not for k^2 pixels.
    """
    low, high, _ = _edges(size, radius.dtype)
    shape = (1,) * (radius.ndim - 2)

    def other(edge: Array) -> Array:
        return safe_sqrt(radius**2 - edge**2)

    def column(x: Array) -> Array:
        x = x.reshape(*shape, 1, -1)
        return f(jnp.minimum(x, radius), other(x))

    def row(y: Array) -> Array:
        y = y.reshape(*shape, -1, 1)
        return jnp.clip(f(other(y), jnp.minimum(y, radius)), left, right)

    left, right = column(low), column(high)
    return row(high), row(low)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _quadrant_area(radius: Array, size: int) -> Array:
    """Area of disc and pixel for the pixels of the first quadrant, (..., (k+1)/2, (k+1)/2)."""
    low, high, count = _edges(size, radius.dtype)
    shape = (1,) * (radius.ndim - 2)
    x0, y0 = low.reshape(*shape, 1, -1), low.reshape(*shape, -1, 1)
    upper, lower = _at_crossings(lambda x, y: x, radius, size)
    start, end = _at_crossings(
        lambda x, y: (x * y + radius**2 * jnp.arctan2(x, y)) / 2, radius, size
    )
    # Up to `upper` the column is full (one pixel high, or the half above the axis) ...
    full = (upper - jnp.minimum(x0, radius)) * (high - low).reshape(*shape, -1, 1)
    # ... from there to `lower` it is filled up to the circle.
    partial = end - start - y0 * (lower - upper)
    return _weight(count, shape) * jnp.maximum(full + partial, 0)


def _weight(count: Array, shape: tuple[int, ...]) -> Array:
    return count.reshape(*shape, 1, -1) * count.reshape(*shape, -1, 1)


@_quadrant_area.defjvp
def _quadrant_area_jvp(
    size: int, primals: tuple[Array], tangents: tuple[Array]
) -> tuple[Array, Array]:
    (radius,), (tangent,) = primals, tangents
    start, end = _at_crossings(jnp.arctan2, radius, size)
    count = _edges(size, radius.dtype)[2]
    arc = _weight(count, (1,) * (radius.ndim - 2)) * radius * (end - start)
    return _quadrant_area(radius, size), arc * tangent
