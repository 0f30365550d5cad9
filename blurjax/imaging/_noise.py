"""Sensor noise from a key."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax._numerics import concrete, working_dtype
from blurjax._typing import Array, ArrayLike, PRNGKey
from blurjax.imaging._arrays import as_image

# Photons below which the reparameterised noise no longer shrinks. It bounds the derivative, by
# 1 + 5 |z|; the noise it adds to black is a tenth of one photon.
_DARKEST = 0.01


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
    sigma = per_image("sigma", sigma, image)
    noise = jax.random.normal(key, image.shape, dtype)
    return (image.astype(dtype) + sigma * noise).astype(image.dtype)


def add_poisson_noise(
    key: PRNGKey, image: ArrayLike, photons: ArrayLike, *, reparameterised: bool = False
) -> Array:
    """Count photons: shot noise.

    `n / photons` with n independent in every pixel and Poisson distributed with mean
    `photons max(image, 0)`: mean `image`, variance `image / photons`. Reparameterised, the
    normal distribution of that mean and variance takes its place,

        image + sqrt(max(photons image, 0.01)) z / photons,

    z standard normal, which has a gradient, is close above some ten photons, and about twenty
    times faster on a CPU.

    Args:
        key: a JAX random key, of JAX's default implementation where the noise is exact.
        image: (..., H, W) floats, linear light, nominally in [0, 1]; negative values count as
            0 where the noise is exact. bfloat16 and float16 are computed in float32.
        photons: how many a pixel of value 1 receives on average, > 0; up to 1e9. A number, or
            an array as `sigma` of `add_noise`.
        reparameterised: see above. Static.

    Returns:
        The noisy image in the shape and dtype of `image`, not clipped; the same for the same
        key.

    Raises:
        TypeError: the image is not floating point.
        ValueError: photons is 0 or less (where the value is known), or its axes are not the
            first axes of the image.

    Gradient: none where exact: counts are integers, and the derivative is 0 with respect to
        everything. Reparameterised: with n = photons image, 1 + z / (2 sqrt(n)) to the image
        above n = 0.01, 1 below (the floor bounds it by 1 + 5 |z|).

    Source: `jax.random.poisson`; the reparameterisation is our choice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import imaging
        >>> image = jnp.full((64, 64), 0.25)
        >>> noisy = imaging.add_poisson_noise(jax.random.key(0), image, 100.0)
        >>> round(float(noisy.std()), 2)  # sqrt(0.25 / 100)
        0.05
    """
    image = as_image(image)
    photons = per_image("photons", photons, image, positive=True)
    y = image.astype(photons.dtype)
    if reparameterised:
        mean = photons * y
        deviation = jnp.sqrt(jnp.where(mean > _DARKEST, mean, _DARKEST)) / photons
        noisy = y + deviation * jax.random.normal(key, y.shape, y.dtype)
    else:
        # Before the sampler, whose loop has no derivative, and around it, for the division.
        y, photons = lax.stop_gradient((y, photons))
        count = jax.random.poisson(key, photons * jnp.maximum(y, 0), y.shape)
        noisy = count.astype(y.dtype) / photons
    return noisy.astype(image.dtype)


def add_poisson_gaussian_noise(
    key: PRNGKey,
    image: ArrayLike,
    photons: ArrayLike,
    sigma: ArrayLike,
    *,
    reparameterised: bool = False,
) -> Array:
    """Shot noise, then read noise: `add_poisson_noise`, then `add_noise`.

    Args:
        key: a JAX random key.
        image: (..., H, W) floats, linear light, nominally in [0, 1].
        photons: as in `add_poisson_noise`.
        sigma: as in `add_noise`; the source's figures are photons = 2048 and sigma = 0.05.
        reparameterised: as in `add_poisson_noise`. Static.

    Returns:
        The noisy image in the shape and dtype of `image`, not clipped, of variance
        `image / photons + sigma^2`.

    Raises:
        TypeError, ValueError: as the two.

    Gradient: that of the two: with respect to sigma always, to image and photons where
        reparameterised.

    Source: Boracchi and Foi, "Modeling the performance of image restoration from motion blur",
        IEEE TIP 21(8), 2012.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import imaging
        >>> image = jnp.full((64, 64), 0.25)
        >>> noisy = imaging.add_poisson_gaussian_noise(jax.random.key(0), image, 100.0, 0.05)
        >>> round(float(noisy.std()), 2)  # sqrt(0.25 / 100 + 0.05^2)
        0.07
    """
    k_photons, k_read = jax.random.split(key)
    image = as_image(image)
    # In between in the working precision, so that half precisions are rounded once.
    y = image.astype(working_dtype(image.dtype))
    noisy = add_poisson_noise(k_photons, y, photons, reparameterised=reparameterised)
    return add_noise(k_read, noisy, sigma).astype(image.dtype)


def per_image(name: str, value: ArrayLike, image: Array, *, positive: bool = False) -> Array:
    """A parameter in the precision of the computation, its axes aligned with the first ones of
    `image`.

    Raises:
        ValueError: its axes are not the first axes of the image, or it is not `positive`.
    """
    if positive and concrete(value) and not np.all(np.asarray(value) > 0):
        raise ValueError(f"{name} is {value}, but must be above 0; leave the step out instead")
    value = jnp.asarray(value).astype(working_dtype(image.dtype))
    lead = image.shape[: value.ndim]
    if value.ndim > max(image.ndim - 2, 0) or any(
        n not in (1, m) for n, m in zip(value.shape, lead, strict=True)
    ):
        raise ValueError(
            f"{name} has shape {value.shape}, but its axes must be the first axes of the image "
            f"of shape {image.shape}, the last two left out; give one number, or one for each "
            "image"
        )
    return value.reshape(value.shape + (1,) * (image.ndim - value.ndim))
