"""The parameters of a blur from the blurred image alone: `blurjax.fit_blind`."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax import _fit
from blurjax._fit import Fit
from blurjax._typing import Array, ArrayLike
from blurjax.psf import Family, as_family

# The periodogram's window, and the least image for it.
_WINDOW, _MIN_WINDOW = 128, 64
# Below this many periods a window the image's own large structures rule.
_LOWEST = 2.5

# What a sharp photograph's spectrum looks like, log S = a - p log(rho / 0.1) - c rho^2 + four
# harmonics of direction: mean and spread over 22 sharp photographs (urban, natural, man-made;
# none of them in the tests). c is the camera's own softness, on top of which blur comes.
_PRIOR_MEAN = np.array([0.0, 1.8, 7.0, -0.1, 0.0, 0.2, 0.0])
_PRIOR_SPREAD = np.array([np.inf, 0.35, 4.0, 0.4, 0.3, 0.5, 0.3])
# A photograph's log spectrum misses that form by about 0.55, and the misses of neighbouring
# frequencies are alike: as if every 80 of them were one. 0.55 sqrt(80), which makes the standard
# errors of sigma right; those of length, angle and radius, told by zeros, come out too large.
_MISFIT = 7.0

# Kernels looked at for each layer of the first parameter, with one and with more of them; at a
# quarter of the frequencies, for neighbours say the same. The best of each layer is followed.
_LAYER = {1: 4, 2: 20}
_COMPLETING_STEPS = 6
_EVERY = 4
# Where every believed frequency is above the floor, nothing else says where that is.
_FLOOR_WEIGHT = 0.1
# Windows along an axis of the image, at most.
_MOST_WINDOWS = 24


def fit_blind(
    blurred: ArrayLike,
    *,
    family: str | Family,
    size: int,
    starts: int = 24,
) -> Fit:
    r"""The parameters of a blur from one blurred image, assumed blurred by this family.

    The expected power spectrum of a blurred photograph is

        P = window's leakage * (S |H(theta)|^2) + N,

    with H the transfer function of the kernel, N a floor of noise and quantisation, and S the
    spectrum of sharp photographs: a power law with a Gaussian roll-off and a gentle dependence on
    direction, whose seven coefficients have measured means and spreads. Kernel and coefficients
    are found together as the maximum of the posterior: least squares of the log spectrum, averaged
    over Hann windows of 128 pixels, by a screening of the family's range and Levenberg-Marquardt
    steps from the best of each layer of it.

    On 24 photographs (260x260, 8 bits, no noise; sigma 0.6-4, length 4-25, radius 1.5-8) the
    median errors were: sigma 4 % (nine of ten within 8 %), length 0.15 % (0.4 %), angle 0.1 degrees
    (0.6), radius 0.2 % (0.5 %); family="all" named all 72 blurs (`python -m eval fit_blind`). Zeros
    of the spectrum tell length, angle and radius almost as well as the sharp image would; sigma has
    none, and is known only as far as the photograph's own sharpness. Noise of 2/255 or more hides
    zeros: of a photograph with a strong direction of its own a motion may then be taken for a much
    longer one (12 for 38 px was seen), beyond its standard errors. JPEG's rounding is no white
    noise, and misleads the fit; `blur_type.estimate` knows of both.

    Args:
        blurred: (..., H, W) floats, at least 64 pixels a side. Leading axes are independent fits.
        family: as for `fit`; "all" tries the three blur types and answers with the one that
            explains the spectrum best (host; one image). Static.
        size: k, odd, static: large enough for the blur, at most the window.
        starts: into how many layers the range of the first parameter is divided; the best
            kernel of each is followed. Static.

    Returns:
        A `Fit`. `.standard_errors` are those of the posterior: they contain how much photographs
        differ. `.loss` is the mean squared misfit of the log spectrum.

    Raises:
        TypeError: the image is not floating point.
        ValueError: an unknown family, an image too small, or a concrete one that is not finite or
            constant.

    Gradient: not useful (the answer is a minimum found by iteration). jit and vmap work, but for
        family="all".

    Source: our choice. The expectation of a windowed periodogram: Percival and Walden, Spectral
        Analysis for Physical Applications (1993), section 6.3.

    Example:
        >>> import jax.numpy as jnp
        >>> import blurjax
        >>> from blurjax import data, imaging, psf
        >>> sharp = jnp.asarray(data.embedded("test")[0])
        >>> seen = imaging.quantise(imaging.blur(sharp, psf.defocus(4.0, size=15)))
        >>> answer = blurjax.fit_blind(seen, family="defocus", size=31)
        >>> round(float(answer.parameters["radius"]), 1)
        4.0
    """
    _fit.check_counts(starts=starts)
    image = _fit.checked_image("blurred", blurred)
    if min(image.shape[-2:]) < max(_MIN_WINDOW, size):
        raise ValueError(
            f"blurred is {image.shape[-2]}x{image.shape[-1]} and size is {size}; a spectrum needs "
            f"at least {max(_MIN_WINDOW, size)} pixels a side, so take a larger image"
        )
    if family == "all":
        return _fit.best(lambda name: _fit_one_family(image, name, size, starts), image)
    return _fit_one_family(image, family, size, starts)


def _fit_one_family(image: Array, name: str | Family, size: int, starts: int) -> Fit:
    family = as_family(name)
    one = functools.partial(_fit_image, family=family, size=size, starts=starts)
    for _ in image.shape[:-2]:
        one = jax.vmap(one)
    return _fit.named(name, family, one(image))


def _fit_image(
    image: Array, *, family: Family, size: int, starts: int
) -> tuple[Array, Array, Array, Array]:
    n = spectrum_size(image.shape)
    return fit_spectrum(periodogram(image, n=n), family=family, size=size, starts=starts)


def spectrum_size(shape: tuple[int, ...]) -> int:
    """The side of the windows for images of this shape."""
    return min(_WINDOW, *(m - m % 2 for m in shape[-2:]))


def fit_spectrum(
    power: Array,
    reliable: Array | None = None,
    candidates: Array | None = None,
    *,
    family: Family,
    size: int,
    starts: int,
) -> tuple[Array, Array, Array, Array]:
    """Parameters (d,), their standard errors (d,), loss and kernel, from a periodogram.

    Args:
        power: (n, n // 2 + 1), from `periodogram`.
        reliable: of the same shape, 1 where the periodogram is to be believed, 0 elsewhere.
        candidates: (m, d) parameters to look at, in the order of their layers, m a multiple of
            `starts`; default spread over the family's range.
        family, size, starts: as for `fit_blind`.
    """
    if candidates is None:
        count = _LAYER[min(len(family.parameters), 2)] * starts
        free = _fit.spread(family, count, power.dtype)
        free = free[jnp.argsort(free[:, 0])]
    else:
        free = _fit.free(family, candidates.astype(power.dtype))
    believed, basis, leakage = _grid(power.shape[0], power.dtype)
    if reliable is not None:
        believed = believed * reliable.astype(power.dtype)
    return _fit_spectrum(
        power, believed, free, basis, leakage, family=family, size=size, starts=starts
    )


# The grid comes as arguments: as constants it would be folded, for half a minute.
@functools.partial(jax.jit, static_argnames=("family", "size", "starts"))
def _fit_spectrum(
    power: Array,
    believed: Array,
    candidates: Array,
    basis: Array,
    leakage: Array,
    *,
    family: Family,
    size: int,
    starts: int,
) -> tuple[Array, Array, Array, Array]:
    n, dtype, d = power.shape[0], power.dtype, len(family.parameters)
    tiny = jnp.finfo(dtype).tiny
    data, believed = jnp.log(power + tiny).ravel(), believed.ravel()
    mean = jnp.asarray(_PRIOR_MEAN, dtype)
    weight = jnp.asarray(1 / _PRIOR_SPREAD, dtype)

    def spectrum(free: Array, coefficients: Array) -> Array:
        """The expected periodogram without the floor."""
        kernel = family.kernel(*_fit.physical(family, free), size=size)
        power = jnp.abs(jnp.fft.rfft2(kernel, (n, n))) ** 2
        power = power * jnp.exp(coefficients @ basis).reshape(power.shape)
        leaked = jnp.fft.rfft2(jnp.fft.irfft2(power, (n, n)) * leakage)
        return jnp.maximum(jnp.real(leaked), 0).ravel()

    some = slice(None, None, _EVERY)
    few_data, few_believed, few_basis = data[some], believed[some], basis[:, some]
    # Of what is believed, or of all where nothing is.
    heard = (few_believed > 0) | ~jnp.any(few_believed > 0)
    median = jnp.nanmedian(jnp.where(heard, few_data, jnp.nan))
    # Half below where the spectrum is lowest, for some of that is image.
    lowest = jnp.quantile(few_data, 0.02) - 0.5

    def residual(point: Array) -> Array:
        free, coefficients, floor = point[:d], point[d:-1], point[-1]
        misfit = data - jnp.log(spectrum(free, coefficients) + jnp.exp(floor) + tiny)
        prior = [(coefficients - mean) * weight, (floor - lowest)[None] * _FLOOR_WEIGHT]
        return jnp.concatenate([believed * misfit / _MISFIT, *prior])

    def loss(point: Array) -> Array:
        """Mean squared misfit; infinite for a kernel that `size` cuts off."""
        kernel = family.kernel(*_fit.physical(family, point[:d]), size=size)
        rim = jnp.sum(kernel) - jnp.sum(kernel[1:-1, 1:-1])
        value = jnp.sum(residual(point) ** 2) * _MISFIT**2 / jnp.maximum(jnp.sum(believed), 1)
        return jnp.where(rim > 1 / size, jnp.inf, value)

    def completed(free: Array) -> Array:
        """The point with the coefficients and the floor that suit this kernel.

        The coefficients act outside the leakage here, which spares a transform a step.
        """
        shape = spectrum(free, mean)[some]

        def misfit(rest: Array) -> Array:
            change = rest[:-1] - mean
            expected = shape * jnp.exp(change @ few_basis) + jnp.exp(rest[-1]) + tiny
            misfit = few_believed * (few_data - jnp.log(expected)) * _EVERY**0.5 / _MISFIT
            floor = (rest[-1] - lowest)[None] * _FLOOR_WEIGHT
            return jnp.concatenate([misfit, change * weight, floor])

        rest = jnp.append(mean.at[0].set(median - jnp.median(jnp.log(shape + tiny))), lowest)
        return jnp.concatenate([free, _fit.polished(misfit, rest, _COMPLETING_STEPS)[0]])

    # The best of each layer of the first parameter: every lobe of the spectrum is a valley.
    points = lax.map(completed, candidates, batch_size=8)
    losses = lax.map(loss, points, batch_size=8).reshape(starts, -1)
    points = points.reshape(*losses.shape, -1)[jnp.arange(starts), jnp.argmin(losses, axis=1)]
    points, jacobians, _ = jax.vmap(lambda point: _fit.polished(residual, point))(points)
    losses = jax.vmap(loss)(points)
    found = jnp.argmin(jnp.where(jnp.isnan(losses), jnp.inf, losses))
    best, jacobian = points[found], jacobians[found]
    covariance = _fit.inverse(jacobian.T @ jacobian)
    theta, errors = _fit.with_errors(family, best[:d], covariance[:d, :d])
    return theta, errors, losses[found], family.kernel(*theta, size=size)


def _hann(n: int) -> np.ndarray:
    """Separable, of unit energy."""
    taper = np.hanning(n + 2)[1:-1]
    window = np.outer(taper, taper)
    return window / np.sqrt(np.sum(window**2))


@functools.cache
def _tables(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    v, u = np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None, :]
    rho, direction = np.hypot(u, v), np.arctan2(-v, u)
    # Of two conjugate frequencies one.
    once = np.ones(rho.shape, bool)
    once[n // 2 + 1 :, [0, -1]] = False
    floor = np.maximum(rho, 1 / n)
    basis = [np.ones_like(rho), -np.log(floor / 0.1), -(rho**2)]
    basis += [f(m * direction) for m in (2, 4) for f in (np.cos, np.sin)]
    correlation = np.fft.irfft2(np.abs(np.fft.rfft2(_hann(n), (2 * n, 2 * n))) ** 2)
    lags = np.fft.fftfreq(n, 1 / n).astype(int)
    return once & (rho > _LOWEST / n), np.stack(basis), correlation[np.ix_(lags, lags)]


def _grid(n: int, dtype: jnp.dtype) -> tuple[Array, Array, Array]:
    """Which frequencies count, the form of sharp spectra (7, all of them), the window's leakage.

    Multiplying an autocorrelation by that of the window is convolving the spectrum with the
    window's power.
    """
    used, basis, leakage = _tables(n)
    flat = basis.reshape(len(basis), -1)
    return jnp.asarray(used, dtype), jnp.asarray(flat, dtype), jnp.asarray(leakage, dtype)


@functools.partial(jax.jit, static_argnames="n")
def periodogram(image: Array, *, n: int) -> Array:
    """Power spectrum averaged over windows that overlap by half, (n, n // 2 + 1).

    A window's weight falls with its contrast: no single edge rules, and flat ones do not count.
    Of a large image the windows are a regular sample.
    """
    corners = itertools.product(*(_corners(length, n) for length in image.shape))
    crops = jax.vmap(lambda corner: lax.dynamic_slice(image, corner, (n, n)))(
        jnp.asarray(list(corners))
    )
    window = jnp.asarray(_hann(n), image.dtype)[None]
    mean = jnp.sum(crops * window**2, axis=(1, 2), keepdims=True)
    crops = (crops - mean) * window
    energy = jnp.sum(crops**2, axis=(1, 2))
    weight = 1 / (energy + jnp.median(energy) + jnp.finfo(image.dtype).tiny)
    power = jnp.abs(jnp.fft.rfft2(crops)) ** 2
    return jnp.einsum("w,wij->ij", weight, power) / jnp.sum(weight)


def _corners(length: int, n: int) -> list[int]:
    count = min(-(-2 * (length - n) // n) + 1, _MOST_WINDOWS)
    return sorted({round(corner) for corner in np.linspace(0, length - n, count)})
