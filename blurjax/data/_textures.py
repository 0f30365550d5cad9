"""Procedural textures: gratings, weaves, dots, cells and noise, made on the device."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import random

from blurjax._typing import Array, Float, PRNGKey

# Rendered so much finer, then averaged over the pixel, as a sensor does.
_FINER = 2


@partial(jax.jit, static_argnames=("size",))
def texture(key: PRNGKey, *, size: int) -> Float[Array, "size size"]:
    """A random gray texture, sharp at the pixel.

    One of: a grating, a weave, dots (each with a random profile from a sine to hard edges, on a
    slightly warped, turned and sheared grid with periods of 2.5 to 40 px), cells (distances to
    scattered points: pebbles, or the cracks between them), or noise of spectrum 1/f^a (a from 0
    to 1.6), as it is or pushed towards two levels. Noise of a random strength lies over all.
    Rendered at twice the resolution and averaged over the pixel.

    Args:
        key: the only source of randomness; vmap over keys for a batch.
        size: side of the image in pixels, at least 16. Static.

    Returns:
        (size, size) float32 in [0, 1].

    Raises:
        ValueError: `size` below 16.

    Gradient: there is nothing to differentiate; the image depends on the key alone.

    Source: our choice; cells after Worley, "A cellular texture basis function", 1996.

    Example:
        >>> import jax
        >>> from blurjax import data
        >>> data.texture(jax.random.key(0), size=32).shape
        (32, 32)
    """
    if size < 16:
        raise ValueError(f"size is {size}; a texture has at least 16 pixels a side")
    fine = _FINER * size
    k_draw, k_noise, k_points = random.split(key, 3)
    draw = iter(random.uniform(k_draw, (16,), jnp.float32))

    def between(low: float, high: float) -> Array:
        return low + (high - low) * next(draw)

    def log_between(low: float, high: float) -> Array:
        return jnp.exp(between(math.log(low), math.log(high)))

    smooth, noise = _noise(k_noise, fine, between(0.0, 1.6))
    axis = jnp.arange(fine, dtype=jnp.float32) / _FINER
    # A grid turned and sheared, its lines bent by a fraction of the period.
    angle, shear = between(0.0, math.pi), between(-0.2, 0.2)
    first, second = log_between(2.5, 40.0), log_between(0.4, 2.5)
    second = jnp.clip(first * second, 2.5, 40.0)
    bend = between(0.0, 0.6) ** 2
    x = jnp.cos(angle) * axis[None, :] + jnp.sin(angle) * axis[:, None]
    y = jnp.cos(angle) * axis[:, None] - jnp.sin(angle) * axis[None, :] + shear * x
    u = 2 * math.pi * (x / first + bend * smooth[0])
    v = 2 * math.pi * (y / second + bend * smooth[1])
    hardness = log_between(0.3, 12.0)

    def profile(wave: Array) -> Array:
        return jnp.tanh(hardness * wave) / jnp.tanh(hardness)

    over = jnp.sin(u / 2) * jnp.sin(v / 2) > 0
    distances = _cells(k_points, x, y, first)
    kinds = jnp.stack(
        [
            profile(jnp.cos(u)),
            jnp.where(over, profile(jnp.cos(u)), profile(jnp.cos(v))),
            profile((jnp.cos(u) + jnp.cos(v)) / 2 - 0.2),
            profile((distances[1] - distances[0]) / first * 3 - 0.5),
            profile(distances[0] / first * 3 - 1),
            profile(noise),
            noise / 2,
        ]
    )
    which = (len(kinds) * next(draw)).astype(jnp.int32)
    pattern = kinds[which] + 0.6 * next(draw) ** 2 * noise
    gray = pattern.reshape(size, _FINER, size, _FINER).mean(axis=(1, 3))
    gray = (gray - jnp.mean(gray)) / (jnp.std(gray) + 1e-3)
    return jnp.clip(between(0.3, 0.7) + between(0.06, 0.3) * gray, 0, 1)


def _noise(key: PRNGKey, size: int, exponent: Array) -> tuple[Array, Array]:
    """Two smooth fields (2, size, size) and one of amplitude 1/f^exponent, of deviation 1."""
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    frequency[0, 0] = np.inf
    spectrum = jnp.fft.rfft2(random.normal(key, (3, size, size), jnp.float32))
    low = jnp.asarray(np.exp(-((frequency * 50) ** 2)), jnp.float32)
    rough = jnp.asarray(frequency, jnp.float32) ** -exponent
    amplitude = jnp.stack([low, low, rough]).astype(spectrum.dtype)
    field = jnp.fft.irfft2(spectrum * amplitude, (size, size))
    field = field / (jnp.std(field, axis=(1, 2), keepdims=True) + 1e-6)
    return field[:2], field[2]


def _cells(key: PRNGKey, x: Array, y: Array, period: Array) -> Array:
    """Distances (2, h, w) in pixels to the nearest and the second nearest of scattered points."""
    column, row = jnp.floor(x / period), jnp.floor(y / period)
    offsets = random.uniform(key, (2, 64, 64), jnp.float32)
    near = jnp.full(x.shape, jnp.inf)
    second = near
    for i in (-1, 0, 1):
        for j in (-1, 0, 1):
            c, r = (column + j).astype(jnp.int32), (row + i).astype(jnp.int32)
            jitter = offsets[:, r % 64, c % 64]
            there = jnp.hypot(
                x - (column + j + jitter[0]) * period, y - (row + i + jitter[1]) * period
            )
            second = jnp.minimum(second, jnp.maximum(near, there))
            near = jnp.minimum(near, there)
    return jnp.stack([near, second])
