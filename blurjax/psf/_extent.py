"""How many pixels a kernel covers."""

import jax.numpy as jnp

from blurjax._typing import Array, Int, Kernels


def extent(psf: Kernels, *, fraction: float = 0.01) -> Int[Array, "*batch 2"]:
    """Height and width of the pixels brighter than a fraction of the brightest.

    The size of the smallest box around all pixels above `fraction` times the maximum: with 1 %
    what an image can show of a kernel, and the label of `kernel_size`. Kernels usually have
    still fainter pixels around it.

    Args:
        psf: (..., k, k), k odd, any positive mass.
        fraction: of the maximum, in [0, 1); 0 counts every positive pixel.

    Returns:
        (..., 2) integers: rows, columns. 0 for a kernel without positive pixels.

    Raises:
        ValueError: `fraction` is out of range.

    Gradient: none (integers).

    Source: our choice.

    Example:
        >>> from blurjax import psf
        >>> psf.extent(psf.motion(8.0, 0.0, size=15)).tolist()
        [1, 9]
    """
    if not 0 <= fraction < 1:
        raise ValueError(
            f"fraction is {fraction}; it is a share of the maximum in [0, 1), 0.01 as a rule"
        )
    bright = psf > fraction * jnp.max(psf, axis=(-2, -1), keepdims=True)
    return jnp.stack([_length(jnp.any(bright, axis)) for axis in (-1, -2)], axis=-1)


def _length(bright: Array) -> Array:
    """From the first to the last true value along the last axis, both counted."""
    outside = jnp.argmax(bright, axis=-1) + jnp.argmax(jnp.flip(bright, -1), axis=-1)
    return jnp.where(jnp.any(bright, axis=-1), bright.shape[-1] - outside, 0)
