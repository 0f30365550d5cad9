"""Sensor noise from a key."""

import jax
import jax.numpy as jnp

from blurjax._typing import Array, ArrayLike, PRNGKey
from blurjax.imaging._arrays import as_image, working_dtype


def add_noise(key: PRNGKey, image: ArrayLike, sigma: ArrayLike) -> Array:
    """Add white Gaussian noise.

    `image + sigma z` with z independent and standard normal in every pixel. Nothing is
    clipped: `quantise` does that.

    Args:
        key: a JAX random key.
        image: (..., H, W) floats. bfloat16 and float16 are computed in float32.
        sigma: standard deviation in units of the image, >= 0: a number, or an array whose
            axes are the first axes of `image` (or 1), at most all but the last two.

    Returns:
        The noisy image in the shape and dtype of `image`; the same for the same key.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the axes of sigma are not the first axes of the image.

    Gradient: 1 with respect to the image, z with respect to sigma.

    Source: our choice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import imaging
        >>> images = jnp.full((2, 64, 64), 0.5)
        >>> noisy = imaging.add_noise(jax.random.key(0), images, jnp.array([0.0, 0.1]))
        >>> [round(float(value), 2) for value in noisy.std((1, 2))]
        [0.0, 0.1]
    """
    image = as_image(image)
    dtype = working_dtype(image.dtype)
    sigma = jnp.asarray(sigma).astype(dtype)
    lead = image.shape[: sigma.ndim]
    if sigma.ndim > max(image.ndim - 2, 0) or any(
        n not in (1, m) for n, m in zip(sigma.shape, lead, strict=True)
    ):
        raise ValueError(
            f"sigma has shape {sigma.shape}, but its axes must be the first axes of the image "
            f"of shape {image.shape}, the last two left out; give one number, or one for each "
            "image"
        )
    sigma = sigma.reshape(sigma.shape + (1,) * (image.ndim - sigma.ndim))
    noise = jax.random.normal(key, image.shape, dtype)
    return (image.astype(dtype) + sigma * noise).astype(image.dtype)
