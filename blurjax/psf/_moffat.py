"""The Moffat PSF: a core with wings (atmosphere, seen from the ground)."""

import functools

import jax
import jax.numpy as jnp

from blurjax._numerics import absolute
from blurjax._typing import Array, Kernels, Scalars
from blurjax.psf._grid import check_size, in_single, normalise
from blurjax.psf._parameters import check_parameters
from blurjax.psf._quadrature import integrate_radial

_DELTA = 1e-6
# Above this the kernel is flat, and in float32 the fourth power soon overflows.
_WIDEST = 1e8
# Below this exponent the profile has no finite mass left to speak of.
_SLOWEST = 1.001


def moffat(width: Scalars, exponent: Scalars, *, size: int) -> Kernels:
    r"""Moffat kernel (1 + (r / width)^2)^(-exponent), integrated over each pixel.

    The share outside radius r is (1 + (r / width)^2)^(1 - exponent): the wings
    are heavy, and `size` usually cuts some of them off, silently (the rest is
    rescaled to sum 1). The full width at half maximum is
    2 width sqrt(2^(1 / exponent) - 1).

    Args:
        width: alpha in pixels, >= 0. While traced, a negative value counts as its magnitude.
        exponent: beta > 1; larger is closer to a Gaussian of standard deviation
            width / sqrt(2 exponent). While traced, values below 1.001 count as 1.001. `width` and
            `exponent` broadcast; their shape leads the result's.
        size: k, odd, static.

    Returns:
        Kernels `(..., k, k)`, non-negative, sum 1, within 1e-10 of the integral. Width 0 gives
        the one-pixel delta.

    Raises:
        ValueError: even `size`, a negative or non-finite concrete parameter, a concrete
            `exponent` of 1 or less.

    Gradient:
        Exact and finite everywhere; 0 at width 0.

    Source:
        Moffat, Astronomy and Astrophysics 3, 1969; the flux integral is our derivation
        (`blurjax/psf/_quadrature.py`).

    Example:
        >>> from blurjax import psf
        >>> psf.moffat(1.5, 2.5, size=15).shape
        (15, 15)
    """
    check_size(size)
    width, exponent = check_parameters(
        {"width": width, "exponent": exponent}, non_negative=("width",), above={"exponent": 1}
    )
    return _moffat(width, exponent, size)


@in_single
@functools.partial(jax.jit, static_argnames="size")
def _moffat(width: Array, exponent: Array, size: int) -> Array:
    width = jnp.clip(absolute(width), _DELTA, _WIDEST)[..., None, None, None]
    exponent = jnp.maximum(exponent, _SLOWEST)[..., None, None, None]

    def shares(r: Array) -> tuple[Array, Array]:
        r = r.reshape((1,) * (width.ndim - 3) + r.shape)
        logarithm = (1 - exponent) * jnp.log1p((r / width) ** 2)
        return -jnp.expm1(logarithm), jnp.exp(logarithm)

    return normalise(integrate_radial(shares, size, width.dtype))
