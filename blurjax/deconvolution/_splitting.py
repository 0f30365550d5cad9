"""Sparse gradients by half-quadratic splitting: one loop, four priors.

To minimise `1/2 |m (k*x - y)|^2 + weight R(Dx)`, D the differences to the next column and row,
the gradients get a copy w of their own, tied to them ever more tightly:

    1/2 |m (k*x - y)|^2 + weight (R(w) + 1 / (2 t) |Dx - w|^2),   t falling.

For fixed x each w is a shrinkage of Dx by t, whatever the weight; for fixed w, x is

    X = (conj(K) Y + g F(D'w)) / (|K|^2 + g |D|^2),   g = weight / t.

How t falls is what distinguishes the published methods.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax._numerics import safe_sqrt
from blurjax._typing import Array, ArrayLike
from blurjax.deconvolution._result import (
    Deconvolution,
    as_mask,
    per_plane,
    root_mean_square,
    wrap_up,
)
from blurjax.deconvolution._shrinkage import as_exponent, shrink_checked
from blurjax.deconvolution._torus import (
    differences,
    differences_adjoint,
    differences_power,
    extend,
    filtered,
    planes,
    power,
    scaled,
    torus,
    transfer,
    widen,
)
from blurjax.imaging._arrays import as_image
from blurjax.imaging._boundary import channel_from_end

_TOTAL_VARIATION = tuple(2.0**-j for j in range(20))
_HYPER_LAPLACIAN = tuple((2 * np.sqrt(2)) ** -j for j in range(6))
_L0 = tuple(2.0 ** -(j + 2) for j in range(25))
# With a mask each t is kept for so many steps: what the mask hides is replaced by k*x of the last
# step, and moves a part of the way only.
_MASKED_STEPS = {"total_variation": 10, "hyper_laplacian": 15}


def total_variation(
    image: ArrayLike,
    psf: ArrayLike,
    *,
    weight: ArrayLike = 5e-4,
    isotropic: bool = False,
    mask: ArrayLike | None = None,
    channel_axis: int | None = None,
) -> Deconvolution:
    """Deconvolve under the total variation: edges stay, and between them the image is flat.

    Approaches the least of

        1/2 |m (k*x - y)|^2 + weight sum |Dx|

    over x by half-quadratic splitting, where |Dx| is `|dx| + |dy|`, or `sqrt(dx^2 + dy^2)` if
    isotropic, and m the mask. 20 steps halve t from 1 to 2e-6 (200 steps with a mask): w is soft
    thresholding of Dx by t, then x is solved for exactly.

    Args:
        image: (..., H, W) floats, nominally in [0, 1]; with `channel_axis` one more axis.
            bfloat16 and float16 are computed in float32.
        psf: (..., k, k), k odd, non-negative with sum 1. Its leading axes broadcast against
            those of the image (the channel axis not counted).
        weight: > 0, one number or one an image. For noise of standard deviation s,
            between s^2 and 10 s^2 (s in units of the image) is a start.
        isotropic: whether diagonal edges cost as much as others of their length. Static.
        mask: (..., H, W) bool or floats in [0, 1], or with the colours of the image: 0 for pixels
            to leave out of the data term, such as saturated ones; None to trust all. Each step
            is then a step of majorisation, with `m y + (1 - m) k*x` in place of y; it starts
            from y itself, and the extension around the image keeps to y too.
        channel_axis: the axis of `image` that holds colours, each restored alone; None for gray
            images. Static.

    Returns:
        A `Deconvolution`. The value may leave the range of the image a little.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the weight is not positive and finite, the mask does not fit, or the kernel or
            the leading axes do not (as `imaging.blur`).

    Gradient: unrolled, with respect to image, psf, weight and mask; one-sided where a difference
        equals a threshold.

    Source: Wang, Yang, Yin and Zhang, "A new alternating minimization algorithm for total
        variation image reconstruction", SIAM J. Imaging Sci. 2008; the schedule is that of the
        code of Pan, Hu, Su and Yang (CVPR 2014), where lambda is twice this weight, and equal to
        it at the default.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging, psf
        >>> from blurjax.deconvolution import total_variation
        >>> sharp = jnp.zeros((48, 48)).at[16:32, 16:32].set(1.0)
        >>> kernel = psf.gaussian(1.5, size=13)
        >>> blurred = imaging.blur(sharp, kernel)
        >>> restored = total_variation(blurred, kernel, weight=1e-4).value
        >>> bool(jnp.mean((restored - sharp) ** 2) < 0.1 * jnp.mean((blurred - sharp) ** 2))
        True
    """
    shrinkage = _soft_isotropic if isotropic else _soft
    steps = _MASKED_STEPS["total_variation"]
    return _restore(image, psf, weight, mask, channel_axis, _TOTAL_VARIATION, shrinkage, steps)


def hyper_laplacian(
    image: ArrayLike,
    psf: ArrayLike,
    *,
    weight: ArrayLike = 2.5e-4,
    exponent: float = 2 / 3,
    mask: ArrayLike | None = None,
    channel_axis: int | None = None,
) -> Deconvolution:
    """Deconvolve under a hyper-Laplacian prior, as the gradients of photographs have it.

    Approaches the least of

        1/2 |m (k*x - y)|^2 + weight sum (|dx|^a + |dy|^a)

    over x by half-quadratic splitting. The objective is not convex for a < 1, and a local minimum
    is found. 6 steps divide t from 1 by 2 sqrt 2 each (90 steps with a mask): w is `shrink` of Dx
    by t, then x is solved for exactly.

    Args:
        image: (..., H, W) floats, nominally in [0, 1]; with `channel_axis` one more axis.
            bfloat16 and float16 are computed in float32.
        psf: (..., k, k), k odd, non-negative with sum 1. Its leading axes broadcast against
            those of the image (the channel axis not counted).
        weight: > 0, one number or one an image; more for more noise. The lambda of the source
            is its inverse.
        exponent: a, in (0, 1]; 0.5 to 0.8 for photographs. Static.
        mask: (..., H, W) bool or floats in [0, 1], or with the colours of the image: 0 for pixels
            to leave out of the data term, such as saturated ones; None to trust all. Each step
            is then a step of majorisation, with `m y + (1 - m) k*x` in place of y; it starts
            from y itself, and the extension around the image keeps to y too.
        channel_axis: the axis of `image` that holds colours, each restored alone; None for gray
            images. Static.

    Returns:
        A `Deconvolution`. The value may leave the range of the image a little.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the weight is not positive and finite, the exponent outside (0, 1], the mask
            does not fit, or the kernel or the leading axes do not (as `imaging.blur`).

    Gradient: unrolled over the steps, implicit in each shrinkage, with respect to image, psf,
        weight and mask. How gradients cross the threshold of the shrinkage is not seen.

    Source: Krishnan and Fergus, "Fast image deconvolution using hyper-Laplacian priors", NIPS
        2009, and its schedule; a shrinkage for every exponent in place of their tables.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging, psf
        >>> from blurjax.deconvolution import hyper_laplacian
        >>> sharp = jnp.zeros((48, 48)).at[16:32, 16:32].set(1.0)
        >>> kernel = psf.gaussian(1.5, size=13)
        >>> blurred = imaging.blur(sharp, kernel)
        >>> restored = hyper_laplacian(blurred, kernel).value
        >>> bool(jnp.mean((restored - sharp) ** 2) < 0.3 * jnp.mean((blurred - sharp) ** 2))
        True
    """
    shrinkage = _power(as_exponent(exponent))
    steps = _MASKED_STEPS["hyper_laplacian"]
    return _restore(image, psf, weight, mask, channel_axis, _HYPER_LAPLACIAN, shrinkage, steps)


def l0_gradient(
    image: ArrayLike,
    psf: ArrayLike,
    *,
    weight: ArrayLike = 1e-3,
    channel_axis: int | None = None,
) -> Deconvolution:
    """Deconvolve with as few gradients as possible: strong edges, and nothing else.

    Approaches the least of

        1/2 |k*x - y|^2 + weight (how many pixels have Dx other than 0)

    over x by half-quadratic splitting: 25 steps halve t from 1/4 to 1.5e-8; w is Dx where
    |Dx|^2 >= 2 t and 0 elsewhere, then x is solved for exactly. It is no faithful image, but it
    rings little: see `suppress_ringing`.

    Args:
        image: (..., H, W) floats, nominally in [0, 1]; with `channel_axis` one more axis.
            bfloat16 and float16 are computed in float32.
        psf: (..., k, k), k odd, non-negative with sum 1. Its leading axes broadcast against
            those of the image (the channel axis not counted).
        weight: > 0, one number or one an image; half the mu of the source.
        channel_axis: the axis of `image` that holds colours, each restored alone; None for gray
            images. Static.

    Returns:
        A `Deconvolution`.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the weight is not positive and finite, or the kernel or the leading axes do
            not fit (as `imaging.blur`).

    Gradient: unrolled, with respect to image, psf and weight. How gradients cross the threshold is
        not seen.

    Source: Xu, Lu, Xu and Jia, "Image smoothing via L0 gradient minimization", SIGGRAPH Asia 2011;
        with a kernel: Pan, Hu, Su and Yang, "Deblurring text images via L0-regularized intensity
        and gradient prior", CVPR 2014, without the prior on intensities.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging, psf
        >>> from blurjax.deconvolution import l0_gradient
        >>> sharp = jnp.zeros((48, 48)).at[16:32, 16:32].set(1.0)
        >>> kernel = psf.gaussian(1.5, size=13)
        >>> blurred = imaging.blur(sharp, kernel)
        >>> restored = l0_gradient(blurred, kernel).value
        >>> bool(jnp.mean((restored - sharp) ** 2) < 0.1 * jnp.mean((blurred - sharp) ** 2))
        True
    """
    return _restore(image, psf, weight, None, channel_axis, _L0, _hard, 1)


Shrinkage = Callable[[Array, Array], Array]
"""From x and t to D'w: the gradients of x, shrunk, and the adjoint of the differences of that."""


def _restore(
    image: ArrayLike,
    psf: ArrayLike,
    weight: ArrayLike,
    mask: ArrayLike | None,
    channel_axis: int | None,
    schedule: tuple[float, ...],
    shrinkage: Shrinkage,
    masked_steps: int,
) -> Deconvolution:
    image = as_image(image)
    y, psf = planes(image, psf, channel_axis)
    axis = None if channel_axis is None else channel_from_end(image, channel_axis)
    trusted = as_mask(mask, y, channel_axis)
    strength = per_plane(weight, "weight", y, channel_axis)
    if trusted is not None:
        schedule = tuple(t for t in schedule for _ in range(masked_steps))
    return wrap_up(_split(y, psf, strength, trusted, schedule, shrinkage), image.dtype, axis)


@functools.partial(jax.jit, static_argnames=("schedule", "shrinkage"))
def _split(
    image: Array,
    psf: Array,
    weight: Array,
    mask: Array | None,
    schedule: tuple[float, ...],
    shrinkage: Shrinkage,
) -> tuple[Array, ...]:
    height, width = image.shape[-2:]
    shape = torus((height, width), psf.shape[-1])
    y, k = extend(image, shape), transfer(psf, shape)
    gain = power(k)
    steep = differences_power(shape, image.dtype)
    steep = steep.reshape((1,) * (image.ndim - 2) + steep.shape)

    def inside(x: Array) -> Array:
        return x[..., :height, :width]

    back = k.conj()
    if mask is None:
        seen = filtered(y, back)
    else:
        hidden = 1 - widen(mask, shape)

    def step(x: Array, t: Array) -> tuple[Array, None]:
        coupling = weight / t
        pulled = coupling * shrinkage(x, t)
        if mask is None:
            spectrum = jnp.fft.rfft2(seen + pulled)
        else:
            believed = y + hidden * (filtered(x, k) - y)
            spectrum = back * jnp.fft.rfft2(believed) + jnp.fft.rfft2(pulled)
        # A kernel of sum 0 leaves 0 / 0 at frequency 0.
        holds = jnp.maximum(gain + coupling * steep, jnp.finfo(x.dtype).tiny)
        return jnp.fft.irfft2(scaled(spectrum, 1 / holds), shape), None

    thresholds = jnp.asarray(np.array(schedule), image.dtype)
    x, _ = lax.scan(step, y, thresholds)
    residual = root_mean_square(inside(filtered(x, k)) - image, mask)
    return inside(x), jnp.full(residual.shape, len(schedule), jnp.int32), residual


def _soft(x: Array, t: Array) -> Array:
    def shrunk(v: Array) -> Array:
        return v - jnp.clip(v, -t, t)

    # Each difference is shrunk twice, so that all is one pass: two thirds of the time of the step.
    right, left = jnp.roll(x, -1, -1), jnp.roll(x, 1, -1)
    below, above = jnp.roll(x, -1, -2), jnp.roll(x, 1, -2)
    return shrunk(x - left) - shrunk(right - x) + shrunk(x - above) - shrunk(below - x)


def _soft_isotropic(x: Array, t: Array) -> Array:
    across, down = differences(x)
    length = safe_sqrt(across**2 + down**2)
    share = jnp.maximum(length - t, 0) / jnp.where(length > 0, length, 1)
    return differences_adjoint(across * share, down * share)


def _hard(x: Array, t: Array) -> Array:
    across, down = differences(x)
    kept = across**2 + down**2 >= 2 * t
    return differences_adjoint(jnp.where(kept, across, 0), jnp.where(kept, down, 0))


@functools.cache
def _power(exponent: float) -> Shrinkage:
    """One object an exponent, so that each is compiled once."""

    def shrinkage(x: Array, t: Array) -> Array:
        t = t.reshape((1,) * x.ndim)
        return differences_adjoint(*(shrink_checked(v, t, exponent) for v in differences(x)))

    return shrinkage
