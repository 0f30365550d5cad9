"""What the solvers of a known kernel are tried on."""

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import data, imaging, psf

KERNEL = psf.motion(6.0, 0.5, size=9)


def sharp(size=64, seed=0):
    return data.dead_leaves(jax.random.key(seed), size=size).astype(jnp.float64)


def observed(noise, seed=0, size=64):
    """A sharp image, and what is seen of it."""
    image = sharp(size, seed)
    blurred = imaging.blur(image, KERNEL)
    return image, blurred + noise * jax.random.normal(jax.random.key(seed + 1), image.shape)


def psnr(a, b):
    return -10 * np.log10(np.mean((np.asarray(a) - np.asarray(b)) ** 2))
