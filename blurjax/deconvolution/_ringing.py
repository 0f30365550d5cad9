"""Ringing, removed by comparison with an image that has none."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax import imaging
from blurjax._numerics import concrete, working_dtype
from blurjax._typing import Array, ArrayLike
from blurjax.imaging._arrays import as_image
from blurjax.imaging._boundary import channel_from_end

_SIGMA_SPACE = 3.0
_SIGMA_RANGE = 0.1
_RADIUS = 9


def suppress_ringing(
    restored: ArrayLike,
    plain: ArrayLike,
    *,
    strength: ArrayLike = 1.0,
    channel_axis: int | None = None,
) -> Array:
    """Take the ringing out of a restored image that a plainer one lacks.

        restored - strength bilateral(restored - plain)

    The plain image (`l0_gradient`) has the edges but no texture and no ringing. Of the difference,
    the bilateral filter (sigma 3 px in space within 9 px, 0.1 in value, the difference its own
    guide, reflected at the border) keeps the ringing, which is smooth, and drops the texture,
    which so stays in the image.

    Args:
        restored: (..., H, W) floats, in [0, 1] (the value scale 0.1 refers to that range); with
            `channel_axis` one more axis. bfloat16 and float16 are computed in float32.
        plain: like `restored`.
        strength: 0 for nothing, 1 for all of it.
        channel_axis: the axis that holds colours, each filtered alone; None for gray images.
            Static.

    Returns:
        The image in the shape and dtype of `restored`.

    Raises:
        TypeError: an image is not floating point.
        ValueError: the shapes differ, or the strength is not finite.

    Gradient: exact with respect to both images and strength; a loop over the taps, recomputed
        backwards, so that it takes the memory of a few images.

    Source: Pan, Hu, Su and Yang, "Deblurring text images via L0-regularized intensity and gradient
        prior", CVPR 2014, section 4, and its code for the two sigmas; the radius is ours.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax.deconvolution import suppress_ringing
        >>> edge = jnp.zeros((24, 24)).at[:, 12:].set(1.0)
        >>> waves = 0.03 * jnp.cos(jnp.arange(24) / 3) + jnp.zeros((24, 24))
        >>> cleaned = suppress_ringing(edge + waves, edge)
        >>> bool(jnp.std(cleaned - edge) < 0.6 * jnp.std(waves))
        True
    """
    restored = as_image(restored, min_ndim=2 if channel_axis is None else 3)
    plain = as_image(plain, name="the plain image")
    if restored.shape != plain.shape:
        raise ValueError(
            f"the restored image has the shape {restored.shape} and the plain one {plain.shape}; "
            "restore both from the same blurred image"
        )
    if concrete(strength) and not np.isfinite(np.asarray(strength, np.float64)).all():
        raise ValueError(f"strength={strength!r} is not finite; give 0 for nothing, 1 for all")
    dtype = working_dtype(restored.dtype)
    x, difference = restored.astype(dtype), (restored.astype(dtype) - plain.astype(dtype))
    if channel_axis is not None:
        axis = channel_from_end(restored, channel_axis)
        difference = jnp.moveaxis(_bilateral(jnp.moveaxis(difference, axis, -3)), -3, axis)
    else:
        difference = _bilateral(difference)
    amount = jnp.asarray(strength).astype(dtype)
    amount = amount.reshape(amount.shape + (1,) * (x.ndim - amount.ndim))
    return (x - amount * difference).astype(restored.dtype)


@jax.jit
def _bilateral(image: Array) -> Array:
    """The bilateral filter of planes (..., H, W), with the image as its own guide."""
    height, width = image.shape[-2:]
    padded = imaging.pad(image, _RADIUS, "reflect")
    offsets = np.arange(-_RADIUS, _RADIUS + 1)
    rows, columns = (z.ravel() for z in np.meshgrid(offsets, offsets, indexing="ij"))
    near = rows**2 + columns**2 <= _RADIUS**2
    rows, columns = rows[near], columns[near]
    weights = np.exp(-(rows**2 + columns**2) / (2 * _SIGMA_SPACE**2))
    taps = (
        jnp.asarray(rows + _RADIUS),
        jnp.asarray(columns + _RADIUS),
        jnp.asarray(weights, image.dtype),
    )

    def add(
        sums: tuple[Array, Array], tap: tuple[Array, Array, Array]
    ) -> tuple[tuple[Array, Array], None]:
        row, column, weight = tap
        moved = lax.dynamic_slice_in_dim(padded, row, height, -2)
        moved = lax.dynamic_slice_in_dim(moved, column, width, -1)
        share = weight * jnp.exp(-((moved - image) ** 2) / (2 * _SIGMA_RANGE**2))
        return (sums[0] + share * moved, sums[1] + share), None

    empty = jnp.zeros_like(image)
    (total, shares), _ = lax.scan(jax.checkpoint(add), (empty, empty), taps)
    return total / shares
