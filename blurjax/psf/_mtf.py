"""MTF50: resolution in one number."""

import functools

import jax
import jax.numpy as jnp

from blurjax._numerics import working_dtype
from blurjax._typing import Array, Float, Kernels, Scalars
from blurjax.psf._grid import check_parameter, offsets
from blurjax.psf._transfer import transfer


def mtf50(psf: Kernels, angle: Scalars = 0.0) -> Float[Array, "..."]:
    r"""The frequency at which a kernel's contrast first falls to one half.

    The modulation |transfer| along `angle`, relative to that at 0, on a grid of
    eight points a tap; its first crossing of 1/2 is refined by Newton's method.

    Args:
        psf: (..., k, k), odd k, any positive mass.
        angle: direction of the frequency in radians, counter-clockwise as displayed, 0 along the
            columns (contrast of vertical stripes).

    Returns:
        `(..., *angle.shape)` in cycles a pixel; inf where the contrast is above 1/2 up to the
        Nyquist frequency, 0.5 / max(|cos angle|, |sin angle|).

    Raises:
        ValueError: an even or non-square kernel, a non-finite concrete `angle`.

    Gradient:
        Exact to second order, to the kernel and the angle; 0 where the result is inf.

    Source:
        The usual summary of a measured MTF (ISO 12233); the refinement is our choice.

    Example:
        >>> from blurjax import psf
        >>> round(float(psf.mtf50(psf.gaussian(2.0, size=21, sampling="point"))), 4)
        0.0937
    """
    dtype = working_dtype(psf.dtype)
    angle = check_parameter("angle", angle).astype(dtype)
    return _mtf50(psf.astype(dtype), angle).astype(psf.dtype)


@jax.jit
def _mtf50(psf: Array, angle: Array) -> Array:
    size, lead = psf.shape[-1], psf.ndim - 2
    cosine, sine = jnp.cos(angle), -jnp.sin(angle)
    nyquist = 0.5 / jnp.maximum(jnp.abs(cosine), jnp.abs(sine))
    # One kernel and one angle at a time: every pair has its own frequency.
    flat = psf.reshape(-1, size, size)
    one = functools.partial(_first_crossing, count=8 * size + 1)
    each = jax.vmap(jax.vmap(one, (None, 0, 0, 0)), (0, None, None, None))
    found = each(flat, cosine.reshape(-1), sine.reshape(-1), nyquist.reshape(-1))
    return found.reshape(*psf.shape[:lead], *angle.shape)


def _first_crossing(psf: Array, cosine: Array, sine: Array, nyquist: Array, count: int) -> Array:
    # Finding the crossing needs no derivative; the last two steps to it carry them all.
    fixed, c, s, nyquist = jax.lax.stop_gradient((psf, cosine, sine, nyquist))
    grid = nyquist * jnp.linspace(0, 1, count, dtype=psf.dtype)
    power = jnp.abs(transfer(fixed, grid * c, grid * s)) ** 2
    above = power / power[0] - 0.25
    first = jnp.argmax(above < 0)
    crossed = above[first] < 0
    # Where nothing crosses, any point will do.
    high = jnp.where(crossed, first, 1)
    low = high - 1
    fall = above[low] - above[high]
    share = jnp.where(crossed, above[low] / jnp.where(crossed, fall, 1), 0)
    start = grid[low] + share * (grid[high] - grid[low])

    position = offsets(psf.shape[-1], psf.dtype)
    turn = 2 * jnp.pi * (position[None, :] * cosine + position[:, None] * sine)
    mass = jnp.sum(psf)

    def newton(frequency: Array) -> Array:
        even, odd = psf * jnp.cos(turn * frequency), psf * jnp.sin(turn * frequency)
        real, imaginary = jnp.sum(even), jnp.sum(odd)
        value = real**2 + imaginary**2 - (mass / 2) ** 2
        slope = 2 * (imaginary * jnp.sum(turn * even) - real * jnp.sum(turn * odd))
        usable = crossed & (slope < 0)
        return frequency - jnp.where(usable, value / jnp.where(usable, slope, -1), 0)

    # From the root two more steps leave an error of fourth order in any change of the kernel:
    # their first and second derivatives are those of the root.
    root = jax.lax.stop_gradient(newton(start))
    return jnp.where(crossed, newton(newton(root)), jnp.inf)
