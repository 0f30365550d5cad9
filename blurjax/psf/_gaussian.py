"""The Gaussian PSF."""

import functools
import math

import jax
import jax.numpy as jnp

from blurjax._numerics import absolute
from blurjax._typing import Array, Kernels, Scalars
from blurjax.psf._grid import (
    check_parameter,
    check_size,
    in_single,
    normalise,
    offsets,
    warn_truncated,
    within_reach,
)
from blurjax.psf._parameters import check_parameters
from blurjax.psf._quadrature import gauss_legendre

# Below this sigma the pixel's edges lie ten standard deviations away and the
# kernel is the delta to the last bit of float64.
_DELTA = 0.05


def gaussian(
    sigma: Scalars,
    *,
    size: int,
    ratio: Scalars = 1.0,
    angle: Scalars = 0.0,
    sampling: str = "area",
    radius: Scalars | None = None,
) -> Kernels:
    r"""Gaussian kernel, isotropic or not (atmospheric turbulence; the usual model of soft defocus).

    With ``sampling="area"`` a pixel's value is the integral of the continuous
    Gaussian over the pixel. For the isotropic one it is exact,

        k(i, j) = E(i) E(j) / (sum E)^2,   E(i) = 1/2 erf((i + 1/2) / (sqrt 2 sigma))
                                                - 1/2 erf((i - 1/2) / (sqrt 2 sigma)),

    of standard deviation sqrt(sigma^2 + 1/12) to 0.3 % from about sigma 0.6 on.
    With another `ratio` the integral is exact (erf) across the longer axis of the
    two and by eight Gauss-Legendre nodes a pixel along it: within 1e-9 for standard
    deviations from 0.3, 1e-5 from 0.1.

    With ``sampling="point"`` it is the Gaussian's value at the pixel centre,
    renormalised: the kernel of SciPy and MATLAB. The two differ by about
    0.04 px in standard deviation at sigma 1; `psf.moments` measures either.

    `radius` cuts the kernel off as others do, so that kernels of one static
    size can be truncated differently: `floor(4 sigma + 0.5)` is the default of
    `scipy.ndimage.gaussian_filter` (the same number is its `radius=`),
    `ceil(2 sigma)` that of MATLAB's `imgaussfilt`.

    Args:
        sigma: standard deviation along `angle`, in pixels, >= 0. While traced, a negative value
            counts as its magnitude.
        size: k, odd, static.
        ratio: sigma * ratio is the standard deviation across `angle`, >= 0. The Python number 1
            (static) takes the isotropic form; a traced 1 gives the same kernel.
        angle: in radians, counter-clockwise as displayed, 0 along the columns; period pi.
        sampling: "area" or "point", static.
        radius: half width in pixels, >= 0: taps whose row or column offset exceeds it are 0, and
            the rest is rescaled to sum 1. None keeps the whole window.

    Returns:
        Kernels `(..., k, k)`, non-negative, sum 1, in the parameters' dtype; `sigma`, `ratio`,
        `angle` and `radius` broadcast and lead. sigma -> 0 gives the one-pixel delta.

    Raises:
        ValueError: even `size`, a negative or non-finite concrete parameter, an unknown
            `sampling`.

    Warns:
        UserWarning: if concrete parameters lose more than 1e-3 of their mass to `size`; not for
            what a `radius` within `size` cuts off.

    Gradient:
        Exact and finite everywhere. Below sigma 0.05 (in float32 about 0.1) the kernel is the
        delta and the gradient 0. At ratio 1 the gradient in the angle is 0. `radius` counts whole
        taps: gradient 0.

    Source:
        Area integral: elementary. `tests/psf/test_gaussian.py` compares both rules with dense
        integration and with `scipy.ndimage.gaussian_filter`.

    Example:
        >>> from blurjax import psf
        >>> psf.gaussian(1.2, size=11).shape
        (11, 11)
        >>> thin = psf.gaussian(2.0, size=15, ratio=0.4, angle=0.5)
        >>> bool((psf.gaussian(2.0, size=15, radius=4)[7] > 0).sum() == 9)
        True
    """
    check_size(size)
    if sampling not in ("area", "point"):
        raise ValueError(f"sampling is {sampling!r}; choose 'area' or 'point'")
    isotropic = isinstance(ratio, int | float) and ratio == 1
    given = {"sigma": sigma, "angle": angle} | ({} if isotropic else {"ratio": ratio})
    values = check_parameters(given, non_negative=("sigma", "ratio"))
    if radius is not None:
        radius = check_parameter("radius", radius, non_negative=True).astype(values[0].dtype)
        *values, radius = jnp.broadcast_arrays(*values, radius)
    if isotropic:
        kernel, lost = _gaussian(values[0], radius, size, sampling)
    else:
        kernel, lost = _anisotropic(*values, radius, size, sampling)
    warn_truncated("gaussian", lost, size)
    return kernel


@in_single
@functools.partial(jax.jit, static_argnames=("size", "sampling"))
def _gaussian(sigma: Array, radius: Array | None, size: int, sampling: str) -> tuple[Array, Array]:
    sigma = within_reach(jnp.maximum(absolute(sigma), _DELTA), size)[..., None]
    # The profile is even: only |i| is evaluated, where erfc keeps its relative accuracy.
    distance = jnp.broadcast_to(jnp.abs(offsets(size, sigma.dtype)), (*sigma.shape[:-1], size))
    if sampling == "area":
        scale = 1 / (jnp.sqrt(2.0).astype(sigma.dtype) * sigma)
        profile = (_erfc((distance - 0.5) * scale) - _erfc((distance + 0.5) * scale)) / 2
        held = jnp.sum(profile, axis=-1)
    else:
        profile = jnp.exp(-((distance / sigma) ** 2) / 2)
        held = jax.lax.erf((size / 2) / (jnp.sqrt(2.0).astype(sigma.dtype) * sigma[..., 0]))
    lost = 1 - held**2
    if radius is not None:
        profile = jnp.where(distance <= radius[..., None], profile, 0)
        lost = _lost_to_size(lost, radius, size)
    profile = profile / jnp.sum(profile, axis=-1, keepdims=True)
    return profile[..., :, None] * profile[..., None, :], lost


@in_single
@functools.partial(jax.jit, static_argnames=("size", "sampling"))
def _anisotropic(
    sigma: Array, angle: Array, ratio: Array, radius: Array | None, size: int, sampling: str
) -> tuple[Array, Array]:
    along, across = (
        within_reach(jnp.maximum(absolute(s), _DELTA), size) for s in (sigma, sigma * ratio)
    )
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    by_column = (along * cosine) ** 2 + (across * sine) ** 2
    by_row = (along * sine) ** 2 + (across * cosine) ** 2
    position = offsets(size, sigma.dtype)
    lead = (1,) * sigma.ndim
    if sampling == "area":
        # Rows point down: a direction (cos, sin) as displayed is (cos, -sin) in the array.
        covariance = -(along**2 - across**2) * cosine * sine
        swap = by_row > by_column
        density = _integrated(jnp.where(swap, by_row, by_column), covariance, along * across, size)
        density = jnp.where(swap[..., None, None], jnp.swapaxes(density, -1, -2), density)
    else:
        column, row = position.reshape(*lead, 1, size), position.reshape(*lead, size, 1)
        cosine, sine, scale, thin = (
            t[..., None, None] for t in (cosine, sine, 1 / along, 1 / across)
        )
        p, q = (column * cosine - row * sine) * scale, (column * sine + row * cosine) * thin
        density = jnp.exp(-(p**2 + q**2) / 2) * (scale * thin / (2 * math.pi))
    # Neither sum is exact for a Gaussian much smaller than a pixel, which loses nothing.
    bound = jax.lax.erfc(size / jnp.sqrt(8 * by_column)) + jax.lax.erfc(size / jnp.sqrt(8 * by_row))
    lost = jnp.minimum(1 - jnp.sum(density, axis=(-2, -1)), bound)
    if radius is not None:
        far = jnp.maximum(jnp.abs(position)[:, None], jnp.abs(position)[None, :])
        far = far.reshape(*lead, size, size)
        density = jnp.where(far <= radius[..., None, None], density, 0)
        lost = _lost_to_size(lost, radius, size)
    return normalise(density), lost


def _integrated(variance: Array, covariance: Array, spread: Array, size: int) -> Array:
    """The integral over each pixel of the Gaussian with the larger variance along the columns.

    Given the column x, the row is Gaussian of mean (covariance / variance) x and standard
    deviation spread / sqrt(variance): integrated by erf. The product of that and the density of x
    is at least as smooth as a Gaussian of sqrt 2 times the smaller standard deviation:
    integrated by nodes.
    """
    node, weight = gauss_legendre(8, variance.dtype)
    lead = (1,) * variance.ndim
    # (..., rows, columns, nodes); a half turn gives the columns left of the centre.
    x = jnp.arange((size + 1) // 2, dtype=variance.dtype)[:, None] - 0.5 + node[None, :]
    x = x.reshape(*lead, 1, -1, node.size)
    rows = offsets(size, variance.dtype).reshape(*lead, size, 1, 1)
    variance, covariance, spread = (
        t[..., None, None, None] for t in (variance, covariance, spread)
    )
    density = jnp.exp(-(x**2) / (2 * variance)) / jnp.sqrt(2 * math.pi * variance)
    distance = absolute(rows - covariance / variance * x)
    scale = jnp.sqrt(variance / 2) / spread
    inside = (_erfc((distance - 0.5) * scale) - _erfc((distance + 0.5) * scale)) / 2
    right = jnp.sum(density * inside * weight.reshape(*lead, 1, 1, node.size), axis=-1)
    return jnp.concatenate([right[..., ::-1, :0:-1], right], axis=-1)


def _lost_to_size(lost: Array, radius: Array, size: int) -> Array:
    """What `size` cuts off: nothing where the radius cuts first."""
    return jnp.where(jnp.floor(radius) > size // 2, lost, 0)


_erfc = jax.lax.erfc
