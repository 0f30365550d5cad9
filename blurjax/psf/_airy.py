"""The Airy PSF: diffraction at a circular aperture."""

import functools

import jax
import jax.numpy as jnp

from blurjax._numerics import absolute
from blurjax._typing import Array, Kernels, Scalars
from blurjax.psf._bessel import airy_shares
from blurjax.psf._grid import check_parameter, check_size, in_single, normalise, within_reach
from blurjax.psf._quadrature import integrate_radial

# The first zero of J_1: the first dark ring.
_FIRST_ZERO = 3.8317059702075123
_DELTA = 1e-6


def airy(radius: Scalars, *, size: int) -> Kernels:
    r"""Airy pattern (2 J_1(z) / z)^2, z = 3.8317 r / radius, integrated over each pixel.

    `radius` is that of the first dark ring: 1.22 wavelength x f-number, over
    the pixel pitch. The share outside radius r is J_0(z)^2 + J_1(z)^2, about
    2 / (pi z): no practical `size` holds 99.9 % of it. What it cuts off is lost
    silently, and the rest is rescaled to sum 1.

    Args:
        radius: of the first dark ring in pixels, >= 0; any shape, which leads the result's. While
            traced, a negative value counts as its magnitude.
        size: k, odd, static.

    Returns:
        Kernels `(*radius.shape, k, k)`, non-negative, sum 1, within 1e-9 of the integral from
        radius 1 and 1e-6 from radius 1/2; below, the rings are finer than a pixel's nodes, and
        the limit at radius 0 is the one-pixel delta.

    Raises:
        ValueError: even `size`, a negative or non-finite concrete `radius`.

    Gradient:
        Exact and finite everywhere; 0 at radius 0.

    Source:
        Born & Wolf, Principles of Optics, 8.5.2 (also for the enclosed energy, Rayleigh's
        formula); the flux integral is our derivation (`blurjax/psf/_quadrature.py`).

    Example:
        >>> from blurjax import psf
        >>> psf.airy(2.4, size=15).shape
        (15, 15)
    """
    check_size(size)
    return _airy(check_parameter("radius", radius, non_negative=True), size)


@in_single
@functools.partial(jax.jit, static_argnames="size")
def _airy(radius: Array, size: int) -> Array:
    radius = within_reach(jnp.maximum(absolute(radius), _DELTA), size)
    scale = _FIRST_ZERO / radius[..., None, None, None]

    def shares(r: Array) -> tuple[Array, Array]:
        return airy_shares(scale * r.reshape((1,) * (scale.ndim - 3) + r.shape))

    return normalise(integrate_radial(shares, size, radius.dtype))
