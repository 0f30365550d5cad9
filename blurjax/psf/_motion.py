"""The linear motion PSF: a segment of real-valued length and angle."""

import functools

import jax
import jax.numpy as jnp

from blurjax._numerics import absolute, safe_sqrt
from blurjax._typing import Array, Kernels, Scalars
from blurjax.psf._grid import (
    check_size,
    in_single,
    normalise,
    offsets,
    warn_truncated,
    within_reach,
)
from blurjax.psf._parameters import check_parameters


def motion(length: Scalars, angle: Scalars, *, size: int, sampling: str = "area") -> Kernels:
    r"""Uniform linear motion: the centred segment of a given length and direction.

    With ``sampling="area"`` the segment carries a one-pixel tent footprint: a pixel's value is the
    integral of its bilinear weight along the segment,

        k(x, y) = int_{-1/2}^{1/2} tri(L u cos a - x) tri(-L u sin a - y) du,

    with tri(z) = max(1 - |z|, 0), x the column and y the row offset. In each of the four sign
    quadrants
    of the two tents the integrand is a quadratic on a clipped interval of u,
    and is integrated exactly: no quadrature. Unlike the bare segment's box
    integral, it has a useful gradient in the angle near 0.

    ``sampling="point"`` is MATLAB's `fspecial("motion", length, angle)`,
    centred in `size` x `size`: max(1 - d, 0) at the pixel centre, where d is the
    distance to a segment of length - 1 (the last pixels count whole, so along
    an axis an odd length is that many equal taps, and length <= 1 a delta),
    renormalised. As there, from a radius of (length - 1) / 2 on d is the
    distance to the segment's end, even beside it. The two rules differ by up to
    0.04 of the sum in a tap.

    Args:
        length: path length in pixels, >= 0. While traced, a negative value counts as its
            magnitude.
        angle: direction in radians, counter-clockwise as displayed, 0 along the columns; any real
            number, period pi. `length` and `angle` broadcast; their shape leads the result's.
        size: k, odd, static; length + 2 or more holds everything.
        sampling: "area" or "point", static.

    Returns:
        Kernels `(..., k, k)`, non-negative, sum 1. Length 0 gives the one-pixel delta.

    Raises:
        ValueError: even `size`, a negative or non-finite concrete parameter, an unknown
            `sampling`.

    Warns:
        UserWarning: if concrete parameters lose more than 1e-3 of their mass to `size`.

    Gradient:
        Exact, by a custom derivative, finite everywhere. One-sided in two places: at angles that
        are multiples of pi/2 (a kink) the derivative in the angle is the mean of both sides; at
        length 0 the one in the length is the right-hand one, -(|cos a| + |sin a|) / 4 at the
        centre. With "point" it is finite, and 0 up to length 1; the kernel itself jumps where a
        pixel's radius passes (length - 1) / 2.

    Source:
        Linear motion of Yan & Shao, TIP 2016; footprint and closed form are our choice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import psf
        >>> jax.grad(lambda a: psf.motion(9.0, a, size=11)[5, 8])(0.3).shape
        ()
    """
    check_size(size)
    if sampling not in ("area", "point"):
        raise ValueError(f"sampling is {sampling!r}; choose 'area' or 'point'")
    length, angle = check_parameters({"length": length, "angle": angle}, non_negative=("length",))
    kernel, lost = (_motion if sampling == "area" else _by_points)(length, angle, size)
    warn_truncated("motion", lost, size)
    return kernel


@in_single
@functools.partial(jax.jit, static_argnames="size")
def _motion(length: Array, angle: Array, size: int) -> tuple[Array, Array]:
    kernel = _segment(within_reach(absolute(length), size), angle, size)
    return normalise(kernel), 1 - jnp.sum(kernel, axis=(-2, -1))


@in_single
@functools.partial(jax.jit, static_argnames="size")
def _by_points(length: Array, angle: Array, size: int) -> tuple[Array, Array]:
    length = within_reach(absolute(length), size)
    half = (jnp.maximum(length, 1) - 1)[..., None, None] / 2
    cosine, sine = (t[..., None, None] for t in _direction(angle))
    lead = (1,) * length.ndim
    position = offsets(size, length.dtype)
    x, y = position.reshape(*lead, 1, size), position.reshape(*lead, size, 1)
    along, beside = jnp.abs(x * cosine + y * sine), jnp.abs(y * cosine - x * sine)
    # Squares of whole numbers: whether a pixel is on the rim is not left to rounding.
    outside = x**2 + y**2 >= half**2
    distance = jnp.where(outside, safe_sqrt(beside**2 + (along - half) ** 2), beside)
    # All of the segment's straight part that the window does not reach counts as lost.
    reach = half * jnp.maximum(jnp.abs(cosine), jnp.abs(sine)) + 0.5
    lost = jnp.maximum(1 - size / 2 / reach, 0)[..., 0, 0]
    return normalise(jnp.maximum(1 - distance, 0)), lost


def _direction(angle: Array) -> tuple[Array, Array]:
    """cos and -sin (rows point down), exactly 0 at the multiples of pi/2.

    In floating point cos(pi/2) is not 0; within four rounding errors of it the
    caller meant the axis, and gets the symmetric derivative there.
    """

    def snap(x: Array) -> Array:
        return jnp.where(jnp.abs(x) < 4 * jnp.finfo(x.dtype).eps, 0, x)

    return snap(jnp.cos(angle)), snap(-jnp.sin(angle))


def _intervals(slope: Array, size: int) -> tuple[Array, Array, Array, Array, Array]:
    """Each pixel's two half tents along one axis, as functions of u in [-1/2, 1/2].

    Half tent s = +-1 of pixel p is 1 - s (slope u - p) where 0 <= s (slope u - p) <= 1.

    Args:
        slope: (...,), displacement along this axis over the whole segment.

    Returns:
        low, high, weight, value, rise, each (..., 2, k): the interval of u, its weight, and the
        half tent value + rise u on it. Where the segment runs across the axis (slope 0) the
        interval is everything or nothing, and a pixel on the border of both half tents belongs
        half to each: that makes the value exact and the derivative the mean of both sides.
    """
    across = (slope == 0)[..., None, None]
    lead = (1,) * slope.ndim
    sign = jnp.array([1, -1], slope.dtype).reshape(*lead, 2, 1)
    rate = sign * jnp.where(across, 1, slope[..., None, None])
    pixel = sign * offsets(size, slope.dtype).reshape(*lead, 1, size)
    pixel = jnp.broadcast_to(pixel, (*rate.shape[:-1], size))
    a, b = pixel / rate, (1 + pixel) / rate
    low = jnp.where(across, -0.5, jnp.clip(jnp.minimum(a, b), -0.5, 0.5))
    high = jnp.where(across, 0.5, jnp.clip(jnp.maximum(a, b), -0.5, 0.5))
    position = -pixel
    inside = (position > 0) & (position < 1)
    border = (position == 0) | (position == 1)
    weight = jnp.where(across, jnp.where(inside, 1.0, jnp.where(border, 0.5, 0.0)), 1.0)
    rise = jnp.where(across, 0, -rate)
    return low, high, weight.astype(slope.dtype), 1 + pixel, jnp.broadcast_to(rise, low.shape)


def _halves(length: Array, angle: Array, size: int) -> tuple[Array, ...]:
    """The four sign quadrants: midpoint and half-width in u, weight, and both half tents.

    Every array is (..., row sign, column sign, row, column), or has length 1 there.
    """
    # A vanishing length keeps the direction, and with it the right-hand derivative.
    length = jnp.maximum(length, 1e-18)
    cosine, sine = _direction(angle)
    x = [t[..., None, :, None, :] for t in _intervals(length * cosine, size)]
    y = [t[..., :, None, :, None] for t in _intervals(length * sine, size)]
    low, high = jnp.maximum(x[0], y[0]), jnp.minimum(x[1], y[1])
    middle, half = (low + high) / 2, jnp.maximum(high - low, 0) / 2
    return middle, half, x[2] * y[2], x[3], x[4], y[3], y[4]


_QUADRANTS = (-4, -3)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _segment(length: Array, angle: Array, size: int) -> Array:
    """The integral of the bilinear weights, (..., k, k), before normalisation."""
    middle, half, weight, vx, rx, vy, ry = _halves(length, angle, size)
    # int (a + b u)(c + d u) du = 2 h [(a + b m)(c + d m) + b d h^2 / 3].
    at_middle = (vx + rx * middle) * (vy + ry * middle)
    kernel = jnp.sum(2 * half * weight * (at_middle + rx * ry * half**2 / 3), axis=_QUADRANTS)
    # Rounding leaves less than nothing here and there.
    return jnp.maximum(kernel, 0)


@_segment.defjvp
def _segment_jvp(
    size: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    length, angle = primals
    middle, half, weight, vx, rx, vy, ry = _halves(length, angle, size)
    sign = jnp.array([1, -1], length.dtype).reshape((1,) * length.ndim + (2, 1, 1))
    # d/d(dx) of the integral is int u tri'(u dx - x) tri(u dy - y) du, with tri' = -sign on a half
    # tent; int u (c + d u) du = 2 h [m (c + d m) + d h^2 / 3].
    along_x = (
        -sign[..., None, :, :, :]
        * 2
        * half
        * weight
        * (middle * (vy + ry * middle) + ry * half**2 / 3)
    )
    along_y = (
        -sign[..., None] * 2 * half * weight * (middle * (vx + rx * middle) + rx * half**2 / 3)
    )
    # Added one by one, which XLA vectorises here; it would sum the two tiny axes in scalars.
    d_x, d_y = (
        sum(along[..., i, j, :, :] for i in (0, 1) for j in (0, 1)) for along in (along_x, along_y)
    )

    def up(t: Array) -> Array:
        return t[..., None, None]

    cosine, sine = (up(t) for t in _direction(angle))
    by_length = cosine * d_x + sine * d_y
    by_angle = up(length) * (sine * d_x - cosine * d_y)
    tangent = by_length * up(tangents[0]) + by_angle * up(tangents[1])
    return _segment(length, angle, size), tangent
