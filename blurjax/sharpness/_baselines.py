"""Classical maps of local sharpness: what a detector has to be better than.

Raw scores: larger is sharper, and no value of them separates sharp from blurred in every image.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from blurjax import features, imaging
from blurjax._numerics import working_dtype
from blurjax._typing import Array, ArrayLike, Float, Real

_DIAGONAL = np.sqrt(0.5)


def lbp(
    image: Float[ArrayLike, "*batch h w"],
    *,
    windows: Sequence[int] = (11, 15, 21),
    threshold: Real[ArrayLike, ""] = 0.016,
) -> Float[Array, "*batch h w"]:
    r"""Share of the pixels around each one whose local binary pattern is that of sharp texture.

        m = 1/N sum_{i=6}^{9} n(LBP_{8,1}^{riu2} = i),

    the mean of it over several windows. The pattern of a pixel is which of its 8 neighbours at
    distance 1 are brighter by `threshold` or more; its code is how many are if they form one arc
    (0 to 8), else 9. Blur makes neighbours alike, so that few are brighter by enough: low codes.

    Args:
        image: (..., H, W) in [0, 1]. Beyond the border the nearest pixel is repeated.
        windows: sides of the squares in pixels, odd. Static.
        threshold: above 0, in image units: above the noise.

    Returns:
        (..., H, W) in [0, 1], larger is sharper.

    Raises:
        ValueError: no windows, or one that is even.

    Gradient: zero, because of the threshold.

    Source: Yi & Eramian, "LBP-based segmentation of defocus blur", IEEE TIP 2016, eq. 15. They go
        on from the three maps by matting and inference over scales; ours is their plain mean. Their
        code rounds the interpolated diagonal neighbours down to whole steps of 1/255 first, which
        makes those count for a little less; ours does not.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import sharpness
        >>> checkerboard = jnp.indices((32, 32)).sum(0) % 2 * 0.5
        >>> [sharpness.lbp(x)[16, 16].round(2).item() for x in (checkerboard, 0.02 * checkerboard)]
        [0.5, 0.0]
    """
    if not windows:
        raise ValueError("windows is empty; name at least one side, such as (11, 15, 21)")
    array = jnp.asarray(image)
    working = working_dtype(array.dtype)
    limit = jnp.asarray(threshold).astype(working)
    sharp = _sharp_texture(array.astype(working), limit).astype(working)
    shares = jnp.stack([features.local_mean(sharp, size=size) for size in windows])
    return jnp.mean(shares, axis=0).astype(array.dtype)


def _sharp_texture(image: Array, threshold: Array) -> Array:
    """Where the code is 6 or more: most neighbours are brighter, or no single arc of them is."""
    height, width = image.shape[-2:]
    wide = imaging.pad(image, 1, "nearest")

    def rise(row: int, column: int) -> Array:
        there = wide[..., 1 + row : 1 + row + height, 1 + column : 1 + column + width]
        return there - image

    def towards(row: int, column: int) -> Array:
        if row == 0 or column == 0:
            return rise(row, column)
        # Bilinear at distance 1, of differences to the centre, whose own is 0: exact where
        # the image is flat.
        t = _DIAGONAL
        return float(t * t) * rise(row, column) + float(t * (1 - t)) * (
            rise(row, 0) + rise(0, column)
        )

    circle = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
    brighter = jnp.stack([towards(*place) >= threshold for place in circle])
    count = jnp.sum(brighter, axis=0)
    changes = jnp.sum(brighter ^ jnp.roll(brighter, 1, axis=0), axis=0)
    return (count >= 6) | (changes > 2)


def gradient_energy(
    image: Float[ArrayLike, "*batch h w"], *, window: int = 41
) -> Float[Array, "*batch h w"]:
    """Mean squared central-difference gradient of the square around each pixel.

    Args:
        image: (..., H, W), nominally in [0, 1]. Beyond the border the nearest pixel is repeated.
        window: side of the square in pixels, odd. Static.

    Returns:
        (..., H, W), 0 or more, in squared image units per squared pixel; larger is sharper.

    Raises:
        ValueError: `window` is even or less than 1.

    Gradient: exact.

    Source: elementary; the window is our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import sharpness
        >>> ramp = jnp.ones((9, 1)) * jnp.arange(9) / 2
        >>> print(sharpness.gradient_energy(ramp, window=3)[4, 4])
        0.25
    """
    array = jnp.asarray(image)
    values = array.astype(working_dtype(array.dtype))
    energy = features.gradient_magnitude(imaging.pad(values, 1, "nearest")) ** 2
    return features.local_mean(energy, size=window).astype(array.dtype)
