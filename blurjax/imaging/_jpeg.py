"""What JPEG compression does to a gray image."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft

from blurjax._numerics import concrete, working_dtype
from blurjax._typing import Array, ArrayLike
from blurjax.imaging._arrays import as_image
from blurjax.imaging._camera import quantise
from blurjax.imaging._noise import per_image

_BLOCK = 8
# ITU-T T.81, table K.1: steps of the 64 coefficients of luminance at quality 50.
_LUMINANCE = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    float,
)
_DCT = scipy.fft.dct(np.eye(_BLOCK), axis=0, norm="ortho")


def jpeg(image: ArrayLike, quality: ArrayLike) -> Array:
    """Compress a gray image as JPEG does, and read it again.

    Quantise to 8 bits, round the cosine transform of each 8x8 block to multiples of the standard
    luminance table scaled by quality, transform back, quantise. Blocks start at the upper left
    corner; an image whose sides are no multiples of 8 is continued by its last row and column.

    Args:
        image: (..., H, W) floats, gray, nominally in [0, 1]. bfloat16 and float16 are computed in
            float32.
        quality: of the Independent JPEG Group's scale, 1 (worst) to 100: a number, or an array
            whose axes are the first axes of `image` (or 1), at most all but the last two.

    Returns:
        The image in its own shape and dtype, in [0, 1] and on the 256 levels of an 8-bit file.

    Raises:
        TypeError: the image is not floating point.
        ValueError: a concrete quality outside [1, 100], or axes that are not the image's first.

    Gradient: straight-through: rounding counts as the identity, clipping as in `quantise`; 0 with
        respect to quality.

    Source: ITU-T T.81 (1992), Annex K for the table; the quality scale is that of the Independent
        JPEG Group's library. Equal to Pillow's within one level (its cosine transform is in
        integers).

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> ramp = jnp.linspace(0, 1, 64).reshape(8, 8)
        >>> seen = imaging.jpeg(ramp, 30)
        >>> bool(jnp.abs(seen - ramp).max() > 2 / 255)
        True
    """
    image = as_image(image, min_ndim=2)
    if concrete(quality) and not np.all((np.asarray(quality) >= 1) & (np.asarray(quality) <= 100)):
        raise ValueError(f"quality is {quality}; JPEG's goes from 1 to 100")
    dtype = working_dtype(image.dtype)
    quality = jax.lax.stop_gradient(per_image("quality", quality, image))
    return _jpeg(image.astype(dtype), quality).astype(image.dtype)


@jax.jit
def _jpeg(image: Array, quality: Array) -> Array:
    dtype = image.dtype
    height, width = image.shape[-2:]
    lead = ((0, 0),) * (image.ndim - 2)
    padded = jnp.pad(image, (*lead, (0, -height % _BLOCK), (0, -width % _BLOCK)), mode="edge")
    levels = 255 * quantise(padded) - 128
    shape = (*image.shape[:-2], padded.shape[-2] // _BLOCK, _BLOCK, -1, _BLOCK)
    dct = jnp.asarray(_DCT, dtype)
    coefficients = jnp.einsum("ui,...aibj,vj->...aubv", dct, levels.reshape(shape), dct)
    step = _steps(quality, dtype)
    rounded = step * _round(coefficients / step)
    back = jnp.einsum("ui,...aubv,vj->...aibj", dct, rounded, dct).reshape(padded.shape)
    return quantise((back + 128) / 255)[..., :height, :width]


def _steps(quality: Array, dtype: jnp.dtype) -> Array:
    """(..., 1, 8, 1, 8) steps in levels, from quality (..., 1, 1) or ()."""
    scale = jnp.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    scale = scale.reshape(*scale.shape[:-2], 1, 1, 1, 1)
    table = jnp.asarray(_LUMINANCE[:, None, :], dtype)
    table = table.reshape((1,) * (scale.ndim - 3) + table.shape)
    # Baseline JPEG keeps whole steps of one byte.
    return jnp.clip(jnp.floor((table * scale + 50) / 100), 1, 255).astype(dtype)


@jax.custom_jvp
def _round(x: Array) -> Array:
    # Half a step goes away from 0, as in the encoders. Such ties are common (the mean of a block is
    # a multiple of 1/8), and the transform is not exact.
    return jnp.sign(x) * jnp.floor(jnp.abs(x) + 0.5001)


@_round.defjvp
def _(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    return _round(primals[0]), tangents[0]
