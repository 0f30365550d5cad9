"""Transfer functions: of the models in closed form, and of any kernel."""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Complex

from blurjax._numerics import working_dtype
from blurjax._typing import Array, Float, Kernels, Scalars
from blurjax.psf._bessel import jinc
from blurjax.psf._grid import offsets
from blurjax.psf._parameters import check_parameters


def gaussian_transfer(
    sigma: Scalars,
    u: Scalars,
    v: Scalars = 0.0,
    *,
    ratio: Scalars = 1.0,
    angle: Scalars = 0.0,
    footprint: bool = False,
) -> Float[Array, "..."]:
    r"""Transfer function of the continuous Gaussian: exp(-2 pi^2 (sigma^2 p^2 + ...)), no zeros.

    p is the frequency along `angle`, and across it sigma * ratio counts.

    Args:
        sigma: standard deviation along `angle`, in pixels, >= 0.
        u: frequency along the columns, in cycles a pixel.
        v: frequency along the rows (pointing down), in cycles a pixel.
        ratio: sigma * ratio is the standard deviation across `angle`, >= 0.
        angle: in radians, counter-clockwise as displayed, 0 along the columns.
        footprint: multiply by the transfer of the pixel, sinc(u) sinc(v), which
            `psf.gaussian` carries. Its DTFT is the sum of that over all aliases u + m, v + n.

    Returns:
        Real `(*parameter_shape, *frequency_shape)`: what `sigma`, `ratio` and `angle` broadcast
        to, then what `u` and `v` broadcast to.

    Raises:
        ValueError: a negative or non-finite concrete parameter, a non-finite frequency.

    Gradient: exact.

    Source: elementary.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import psf
        >>> psf.gaussian_transfer(jnp.array([1.0, 2.0]), jnp.linspace(0, 0.5, 9)).shape
        (2, 9)
    """
    sigma, ratio, angle, u, v = _on_frequencies(
        ("sigma", "ratio"), {"sigma": sigma, "ratio": ratio, "angle": angle}, u, v
    )
    return _gaussian(sigma, ratio, angle, u, v, footprint)


@functools.partial(jax.jit, static_argnames="footprint")
def _gaussian(
    sigma: Array, ratio: Array, angle: Array, u: Array, v: Array, footprint: bool
) -> Array:
    along, across = _rotated(u, v, angle)
    value = jnp.exp(-2 * jnp.pi**2 * ((sigma * along) ** 2 + (sigma * (ratio * across)) ** 2))
    return value * _box(u, v) if footprint else value


def motion_transfer(
    length: Scalars, angle: Scalars, u: Scalars, v: Scalars = 0.0, *, footprint: bool = False
) -> Float[Array, "..."]:
    r"""Transfer function of a segment: sinc(length p), p the frequency along it.

    Zero where p is a multiple of 1 / length (sinc(x) = sin(pi x) / (pi x)).

    Args:
        length: in pixels, >= 0.
        angle: in radians, counter-clockwise as displayed, 0 along the columns.
        u: frequency along the columns, in cycles a pixel.
        v: frequency along the rows (pointing down), in cycles a pixel.
        footprint: multiply by the transfer of the tent, sinc(u)^2 sinc(v)^2, which
            `psf.motion` carries. Its DTFT is the sum of that over all aliases u + m, v + n.

    Returns:
        Real `(*parameter_shape, *frequency_shape)`: what `length` and `angle` broadcast to, then
        what `u` and `v` broadcast to.

    Raises:
        ValueError: a negative or non-finite concrete parameter, a non-finite frequency.

    Gradient: exact.

    Source: elementary.

    Example:
        >>> from blurjax import psf
        >>> bool(abs(psf.motion_transfer(8.0, 0.0, 1 / 8)) < 1e-6)
        True
    """
    length, angle, u, v = _on_frequencies(("length",), {"length": length, "angle": angle}, u, v)
    return _motion(length, angle, u, v, footprint)


@functools.partial(jax.jit, static_argnames="footprint")
def _motion(length: Array, angle: Array, u: Array, v: Array, footprint: bool) -> Array:
    along, _ = _rotated(u, v, angle)
    value = _sinc(length * along)
    return value * _box(u, v) ** 2 if footprint else value


def defocus_transfer(
    radius: Scalars, u: Scalars, v: Scalars = 0.0, *, footprint: bool = False
) -> Float[Array, "..."]:
    r"""Transfer function of a uniform disc: 2 J_1(z) / z, z = 2 pi radius sqrt(u^2 + v^2).

    The first zero lies at 0.6098 / radius cycles a pixel.

    Args:
        radius: in pixels, >= 0.
        u: frequency along the columns, in cycles a pixel.
        v: frequency along the rows (pointing down), in cycles a pixel.
        footprint: multiply by the transfer of the pixel, sinc(u) sinc(v), which `psf.defocus`
            carries. Its DTFT is the sum of that over all aliases u + m, v + n.

    Returns:
        Real `(*radius.shape, *frequency_shape)`, within 1e-12 in float64.

    Raises:
        ValueError: a negative or non-finite concrete `radius`, a non-finite frequency.

    Gradient: exact, also at frequency 0.

    Source:
        Elementary. J_1 by the trapezoid rule and Hankel's series, see `blurjax/psf/_bessel.py`.

    Example:
        >>> from blurjax import psf
        >>> bool(abs(psf.defocus_transfer(3.0, 0.609835 / 3)) < 1e-5)
        True
    """
    radius, u, v = _on_frequencies(("radius",), {"radius": radius}, u, v)
    return _defocus(radius, u, v, footprint)


@functools.partial(jax.jit, static_argnames="footprint")
def _defocus(radius: Array, u: Array, v: Array, footprint: bool) -> Array:
    # Even and smooth in the frequency: with a nudge off 0 its first two derivatives there are
    # right as well, and the value is the same to rounding.
    rho = jnp.sqrt(u**2 + v**2 + 1e-20)
    value = jinc(2 * jnp.pi * radius * rho)
    return value * _box(u, v) if footprint else value


def transfer(psf: Kernels, u: Scalars, v: Scalars = 0.0) -> Complex[Array, "..."]:
    r"""Transfer function of any kernel: its DTFT about its centre,

        H(u, v) = sum over rows y and columns x of psf(y, x) exp(-2 pi i (u x + v y)).

    Args:
        psf: (..., k, k), odd k.
        u: frequency along the columns, in cycles a pixel (period 1).
        v: frequency along the rows (pointing down), in cycles a pixel.

    Returns:
        Complex `(..., *frequency_shape)`: the kernels' leading axes, then what `u` and `v`
        broadcast to. Real up to rounding for a kernel that is symmetric about its centre.

    Raises:
        ValueError: an even or non-square kernel, a non-finite concrete frequency.

    Gradient: exact (complex values: take abs or real before `jax.grad`).

    Source: elementary.

    Example:
        >>> from blurjax import psf
        >>> psf.transfer(psf.gaussian(1.0, size=9), 0.25).shape
        ()
    """
    rows, columns = psf.shape[-2:]
    if rows != columns or rows % 2 == 0:
        raise ValueError(f"psf is {rows}x{columns}; a kernel is square with an odd side")
    u, v = check_parameters({"u": u, "v": v})
    dtype = working_dtype(psf.dtype)
    return _dtft(psf.astype(dtype), u.astype(dtype), v.astype(dtype))


@jax.jit
def _dtft(psf: Array, u: Array, v: Array) -> Array:
    position = offsets(psf.shape[-1], psf.dtype)

    def waves(frequency: Array) -> Array:
        turns = frequency.reshape(-1, 1) * position[None, :]
        # Whole turns first: exact, where the sine of a large angle is not.
        turns = 2 * jnp.pi * (turns - jax.lax.stop_gradient(jnp.round(turns)))
        return jax.lax.complex(jnp.cos(turns), -jnp.sin(turns))

    kernel = jax.lax.complex(psf, jnp.zeros_like(psf))
    by_row = jnp.einsum("...yx,nx->...ny", kernel, waves(u), precision="highest")
    value = jnp.einsum("...ny,ny->...n", by_row, waves(v), precision="highest")
    return value.reshape(*psf.shape[:-2], *u.shape)


def _on_frequencies(
    non_negative: tuple[str, ...], parameters: dict[str, Scalars], u: Scalars, v: Scalars
) -> list[Array]:
    """Parameters and frequencies in one dtype; the parameters' axes lead the frequencies'."""
    names = list(parameters)
    checked = check_parameters(
        parameters | {"u": u, "v": v}, non_negative=non_negative, broadcast=False
    )
    physical = jnp.broadcast_arrays(*checked[: len(names)])
    frequency = jnp.broadcast_arrays(*checked[len(names) :])
    lead, trail = physical[0].ndim, frequency[0].ndim
    return [
        *(p.reshape(*p.shape, *(1,) * trail) for p in physical),
        *(f.reshape(*(1,) * lead, *f.shape) for f in frequency),
    ]


def _rotated(u: Array, v: Array, angle: Array) -> tuple[Array, Array]:
    """The frequency along a direction (rows point down: it is (cos, -sin)) and across it."""
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    return u * cosine - v * sine, u * sine + v * cosine


def _box(u: Array, v: Array) -> Array:
    return _sinc(u) * _sinc(v)


def _sinc(x: Array) -> Array:
    """sin(pi x) / (pi x) with finite derivatives everywhere.

    Those of `jnp.sinc` are infinite where the square of x underflows.
    """
    small = jnp.abs(x) < 1e-3
    square = jnp.where(small, jnp.pi * x, 0) ** 2
    turns = jnp.pi * jnp.where(small, 1, x)
    return jnp.where(small, 1 - square / 6 + square**2 / 120, jnp.sin(turns) / turns)
