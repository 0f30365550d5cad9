"""From light to stored numbers and back: the response curve and the quantiser."""

import functools

import jax
import jax.numpy as jnp

from blurjax._typing import Array, ArrayLike
from blurjax.imaging._arrays import as_image, working_dtype


def quantise(image: ArrayLike, *, bits: int = 8) -> Array:
    """Clip to [0, 1] and round to the levels of an integer camera file.

    `round((2^bits - 1) clip(image, 0, 1)) / (2^bits - 1)`, ties to the even level.

    Args:
        image: floats, any shape. bfloat16 and float16 are computed in float32, and the
            result is rounded once more to their own 8 or 11 significant bits.
        bits: 1 to 16. Static.

    Returns:
        The image in its own shape and dtype, in [0, 1].

    Raises:
        TypeError: the image is not floating point.
        ValueError: bits is not an integer from 1 to 16.

    Gradient: straight-through, for the true one is 0 almost everywhere: 1 where the image
        is in the closed interval [0, 1], 0 outside.

    Source: Bengio, Leonard and Courville, arXiv:1308.3432, section 4 (the straight-through
        estimator).

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> print(imaging.quantise(jnp.array([-0.3, 0.2, 0.7, 1.4]), bits=1))
        [0. 0. 1. 1.]
    """
    if not isinstance(bits, int) or not 1 <= bits <= 16:
        raise ValueError(f"bits={bits!r}, but cameras store 1 to 16; use 8, 12 or 16")
    image = as_image(image)
    return _quantise(image.astype(working_dtype(image.dtype)), bits).astype(image.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _quantise(image: Array, bits: int) -> Array:
    levels = 2**bits - 1
    return jnp.round(jnp.clip(image, 0, 1) * levels) / levels


@_quantise.defjvp
def _(bits: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (image,), (tangent,) = primals, tangents
    inside = (image >= 0) & (image <= 1)
    return _quantise(image, bits), jnp.where(inside, tangent, 0)


def linearise(image: ArrayLike) -> Array:
    """Decode sRGB values to linear light.

    `v / 12.92` for v <= 0.04045, else `((v + 0.055) / 1.055)^2.4`. The formula goes on
    below 0 (linear) and above 1 (power).

    Args:
        image: gamma-encoded floats, any shape, nominally in [0, 1].

    Returns:
        Linear light in the shape and dtype of `image`; 0 and 1 are kept.

    Raises:
        TypeError: the image is not floating point.

    Gradient: finite everywhere, at least 1 / 12.92.

    Source: IEC 61966-2-1:1999. Its two branches meet to 3e-8.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> [round(float(v), 3) for v in imaging.linearise(jnp.array([0.0, 0.5, 1.0]))]
        [0.0, 0.214, 1.0]
    """
    image = as_image(image)
    v = image.astype(working_dtype(image.dtype))
    dark = v <= 0.04045
    # Double where: the branch not taken must not see a base whose power is NaN.
    bright = ((jnp.where(dark, 1, v) + 0.055) / 1.055) ** 2.4
    return jnp.where(dark, v / 12.92, bright).astype(image.dtype)


def encode(image: ArrayLike) -> Array:
    """Encode linear light as sRGB values, the inverse of `linearise`.

    `12.92 y` for y <= 0.0031308, else `1.055 y^(1/2.4) - 0.055`.

    Args:
        image: linear light, floats, any shape, nominally in [0, 1].

    Returns:
        Gamma-encoded values in the shape and dtype of `image`; 0 and 1 are kept.

    Raises:
        TypeError: the image is not floating point.

    Gradient: finite everywhere, at most 12.92.

    Source: IEC 61966-2-1:1999.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> [round(float(v), 3) for v in imaging.encode(jnp.array([0.0, 0.5, 1.0]))]
        [0.0, 0.735, 1.0]
    """
    image = as_image(image)
    y = image.astype(working_dtype(image.dtype))
    dark = y <= 0.0031308
    # Double where: the slope of the power is infinite at 0.
    bright = 1.055 * jnp.where(dark, 1, y) ** (1 / 2.4) - 0.055
    return jnp.where(dark, 12.92 * y, bright).astype(image.dtype)
