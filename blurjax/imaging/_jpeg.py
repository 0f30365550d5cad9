"""What JPEG compression does to a gray image."""

import functools

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
        JPEG Group's library. Where a coefficient lies near the middle between two steps, encoders
        that compute in integers, as Pillow's, now and then round it to the other side.

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


def jpeg_quality(image: ArrayLike) -> int:
    """The quality at which a gray image was compressed as JPEG, if it was (host).

    In a compressed file the cosine coefficients of each block are multiples of the table's steps;
    the quality whose steps they fit best is told by mean cos(2 pi c / step) over the coefficients
    that are not 0, where one below half a step, which compression leaves none of, counts -1. The
    grid of the blocks may begin anywhere.

    Args:
        image: (H, W) floats, gray, in [0, 1]; of a colour file its luma, as `images.gray` makes it.

    Returns:
        5 to 98, or 0 where there is no trace of compression: never compressed, with a
        table of the maker's own, resized since, of quality so high that no step exceeds 2, or with
        too little contrast to tell. A lower quality compressed again at a higher one shows the
        last.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the image does not have two axes.

    Source: Fan and de Queiroz, IEEE Trans. Image Processing 2003, for the idea; the statistic is
        our choice.

    Example:
        >>> from blurjax import data, imaging
        >>> photograph = data.embedded("test")[0]
        >>> imaging.jpeg_quality(photograph), imaging.jpeg_quality(imaging.jpeg(photograph, 70))
        (0, 70)
    """
    levels = 255 * np.asarray(as_image(image), np.float64)
    if levels.ndim != 2:
        raise ValueError(f"the image has shape {levels.shape}; give one gray image (H, W)")
    levels = np.round(levels)
    if min(levels.shape) < 2 * _BLOCK:
        return 0
    best = (_COMPRESSED, 0)
    for corner in {(0, 0), _grid_corner(levels)}:
        coefficients = _block_coefficients(levels[corner[0] :, corner[1] :], _BLOCKS)
        scores = [_fit_of_steps(coefficients, steps) for steps in _all_steps()]
        # Steps half as large fit as well: of equals the coarsest.
        fine = max(scores)
        if fine <= best[0]:
            continue
        first = next(i for i, score in enumerate(scores) if score >= 0.97 * fine)
        near = scores[first : first + 4]
        best = (fine, _QUALITIES[first + near.index(max(near))])
    return best[1]


# Of each quality's steps: rounding to whole levels alone leaves exp(-2 pi^2 / 12 / 3^2) = 0.83 of
# the statistic for the finest steps that count, and without compression there is next to nothing.
_COMPRESSED = 0.4
_QUALITIES = tuple(range(5, 99))
# Blocks of most contrast that are looked at, and coefficients that suffice for an answer.
_BLOCKS, _ENOUGH = 250, 100
# Side of the part of the image where the blocks' grid is looked for.
_WINDOW = 320


def jpeg_steps(quality: float) -> np.ndarray:
    """The steps (8, 8), in levels of 255, to which luminance is rounded at a quality of 1 to 100.

    Source: ITU-T T.81 (1992), Annex K; the Independent JPEG Group's scale of quality.
    """
    return np.asarray(_steps(jnp.asarray(quality, jnp.float32), jnp.dtype(jnp.float32)))[0, :, 0, :]


@functools.cache
def _all_steps() -> list[np.ndarray]:
    return [jpeg_steps(quality) for quality in _QUALITIES]


def _grid_corner(levels: np.ndarray) -> tuple[int, int]:
    """Where blocks begin: rounded there, and nowhere else, most coefficients are 0."""
    row, column = (max(n - _WINDOW, 0) // 2 // _BLOCK * _BLOCK for n in levels.shape)
    window = levels[row : row + _WINDOW, column : column + _WINDOW]

    def zeros(corner: tuple[int, int]) -> float:
        coefficients = _block_coefficients(window[corner[0] :, corner[1] :], 60)
        # To a tenth of a thousand, so that ties go to the first: a grid begins at the corner.
        return round(float(np.mean(np.abs(coefficients) < 0.75)) if coefficients.size else 0.0, 4)

    return max(np.ndindex(_BLOCK, _BLOCK), key=zeros)


def _block_coefficients(levels: np.ndarray, count: int) -> np.ndarray:
    """Cosine coefficients (n, 8, 8) of the `count` blocks of most contrast."""
    height, width = (n - n % _BLOCK for n in levels.shape)
    rows = levels[:height, :width].reshape(height // _BLOCK, _BLOCK, -1, _BLOCK)
    blocks = rows.swapaxes(1, 2).reshape(-1, _BLOCK, _BLOCK)
    # What is clipped is no longer a multiple of anything.
    blocks = blocks[(blocks.min(axis=(1, 2)) > 0) & (blocks.max(axis=(1, 2)) < 255)]
    blocks = blocks[np.argsort(-blocks.std(axis=(1, 2)))[:count]]
    return np.asarray(scipy.fft.dctn(blocks - 128, axes=(1, 2), norm="ortho"), np.float32)


def _fit_of_steps(coefficients: np.ndarray, steps: np.ndarray) -> float:
    # The mean of a block is large and its step small; rounding to whole levels adds 0.3 to all.
    bands = steps >= 3
    bands[0, 0] = False
    values, step = coefficients[:, bands], steps[bands]
    seen = np.abs(values) > 1.5
    if seen.sum() < _ENOUGH:
        return 0.0
    # Under half a step there is nothing but 0.
    between = np.abs(values) < 0.5 * step
    return float(np.where(between, -1, np.cos(2 * np.pi * values / step))[seen].mean())


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
