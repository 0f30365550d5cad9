"""What every solver here returns, and what they all accept beside an image and a kernel."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from blurjax._numerics import concrete, safe_sqrt
from blurjax._typing import Array, ArrayLike
from blurjax.imaging._boundary import channel_from_end


class Deconvolution(NamedTuple):
    """A restored image, and how it was reached."""

    value: Array
    """The image, in the shape and dtype of the blurred one (leading axes broadcast)."""
    num_steps: Array
    """Steps taken, int32, one number a plane: (...,), with colours (..., C)."""
    residual: Array
    """The root mean square of k*x - y over the pixels that the mask keeps, one number a plane."""


def per_plane(
    value: ArrayLike, name: str, image: Array, channel_axis: int | None, *, zero: bool = False
) -> Array:
    """`value`, one number or one an image, as (..., 1, 1) of the rank of the planes `image`.

    Raises:
        ValueError: a number is not above 0 (or, with `zero`, not 0 or above) or not finite, or the
            shape does not broadcast.
    """
    if concrete(value):
        plain = np.asarray(value, np.float64)
        if not (np.isfinite(plain) & ((plain >= 0) if zero else (plain > 0))).all():
            raise ValueError(
                f"{name}={plain.tolist()!r}, but it is a finite number {'>=' if zero else '>'} 0; "
                "give one, or one for each image"
            )
    array = jnp.asarray(value).astype(image.dtype)
    if channel_axis is not None:
        array = array[..., None]
    lead = image.shape[:-2]
    try:
        fits = jnp.broadcast_shapes(array.shape, lead) == lead
    except ValueError:
        fits = False
    # A lone channel axis is ours.
    if not fits and array.size != 1:
        raise ValueError(
            f"{name} has the shape {jnp.shape(value)}, but there are {lead} planes to restore; "
            "give one number, or one for each image"
        )
    if array.size == 1:
        return array.reshape((1,) * image.ndim)
    return array.reshape((1,) * (len(lead) - array.ndim) + array.shape + (1, 1))


def as_mask(mask: ArrayLike | None, image: Array, channel_axis: int | None) -> Array | None:
    """`mask` as planes like `image`: (..., H, W), or one leading axis of colours more.

    Raises:
        ValueError: it does not fit the image, or leaves [0, 1].
    """
    if mask is None:
        return None
    # Of bool too: strict promotion does not compare it with numbers.
    array = jnp.asarray(mask).astype(image.dtype)
    if concrete(array) and not bool(((array >= 0) & (array <= 1)).all()):
        raise ValueError(
            f"the mask runs from {float(array.min())} to {float(array.max())}, but it is a share "
            "of trust, 0 to 1; clip it"
        )
    lead = image.shape[:-2]
    if channel_axis is not None:
        # Of the rank of the image, it has the colours where the image has them.
        if array.ndim == image.ndim:
            array = jnp.moveaxis(array, channel_from_end(array, channel_axis), -3)
        elif array.ndim >= 2:
            array = array[..., None, :, :]
    try:
        fits = array.shape[-2:] == image.shape[-2:] and (
            jnp.broadcast_shapes(array.shape[:-2], lead) == lead
        )
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"the mask has the shape {jnp.shape(mask)}, but the planes of the image are "
            f"{lead} of {image.shape[-2]}x{image.shape[-1]}; give one mask, or one for each image"
        )
    return array.reshape((1,) * (image.ndim - array.ndim) + array.shape)


def root_mean_square(error: Array, mask: Array | None) -> Array:
    """Over the last two axes, of the pixels that the mask keeps; 0 where it keeps none."""
    if mask is None:
        return safe_sqrt((error * error).mean((-2, -1)))
    kept = jnp.broadcast_to(mask, error.shape).sum((-2, -1))
    return safe_sqrt((mask * error * error).sum((-2, -1)) / jnp.where(kept > 0, kept, 1))


def wrap_up(
    solved: tuple[Array, Array, Array], dtype: jnp.dtype, channel_axis: int | None
) -> Deconvolution:
    """Planes to an image: the colours to where they were, in the dtype asked for."""
    value, num_steps, residual = solved
    if channel_axis is not None:
        # Negative counts from the end, where added leading axes do not move it.
        value = jnp.moveaxis(value, -3, channel_axis)
    return Deconvolution(value.astype(dtype), num_steps, residual)
