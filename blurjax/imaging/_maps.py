"""The sigma maps of the published tests of space-varying blur."""

import math

import jax.numpy as jnp

from blurjax._typing import Array, Float, Scalars

# 0.02 radians a pixel, as published.
_PERIOD = 2 * math.pi / 0.02


def ramp_map(
    shape: tuple[int, int], low: Scalars = 0.1, high: Scalars = 3.0
) -> Float[Array, "h w"]:
    """Sigma that rises evenly from the first to the last column.

    Args:
        shape: (H, W). Static.
        low, high: sigma in pixels of the first and of the last column.

    Returns:
        (H, W), in the dtype of `low` and `high`.

    Raises:
        ValueError: `shape` is not two positive numbers.

    Gradient: exact.

    Source: Patro, "Blur kernel estimation using deep learning": linspace(min, max, W).

    Example:
        >>> from blurjax import imaging
        >>> print(imaging.ramp_map((2, 3), 1.0, 2.0))
        [[1.  1.5 2. ]
         [1.  1.5 2. ]]
    """
    height, width = _checked(shape)
    dtype = jnp.result_type(low, high, float)
    low, high = (jnp.asarray(value).astype(dtype) for value in (low, high))
    part = jnp.arange(width, dtype=dtype) / max(width - 1, 1)
    return jnp.broadcast_to((1 - part) * low + part * high, (height, width))


def sine_map(
    shape: tuple[int, int],
    mean: Scalars = 1.55,
    amplitude: Scalars = 1.45,
    period: Scalars = _PERIOD,
    *,
    two_dimensional: bool = False,
) -> Float[Array, "h w"]:
    """Sigma that follows a sine along the columns, or along both axes.

    mean + amplitude sin(2 pi c / period), c = 1 ... W; in two dimensions the sine is multiplied
    by that of the row, sin(2 pi r / period), r = 1 ... H.

    Args:
        shape: (H, W). Static.
        mean, amplitude: sigma in pixels; 0.1 to 3 as published.
        period: in pixels, 2 pi / 0.02 = 314 as published: narrower images see part of a period.
        two_dimensional: the product of two sines. Static.

    Returns:
        (H, W), in the dtype of the parameters.

    Raises:
        ValueError: `shape` is not two positive numbers.

    Gradient: exact.

    Source: Patro, "Blur kernel estimation using deep learning", and its code; the formula in two
        dimensions is our reading of a figure.

    Example:
        >>> from blurjax import imaging
        >>> sigma_map = imaging.sine_map((240, 320))
        >>> print(sigma_map.shape, f"{sigma_map.min():.3f} to {sigma_map.max():.3f}")
        (240, 320) 0.100 to 3.000
    """
    height, width = _checked(shape)
    dtype = jnp.result_type(mean, amplitude, period, float)
    mean, amplitude, period = (jnp.asarray(v).astype(dtype) for v in (mean, amplitude, period))

    def wave(count: int) -> Array:
        return jnp.sin(2 * math.pi / period * (jnp.arange(count, dtype=dtype) + 1))

    rows = wave(height) if two_dimensional else jnp.ones(height, dtype)
    return mean + amplitude * rows[:, None] * wave(width)[None, :]


def _checked(shape: tuple[int, int]) -> tuple[int, int]:
    if len(shape) != 2 or min(shape) < 1:
        raise ValueError(f"shape is {shape}; pass the two positive numbers (height, width)")
    return shape
