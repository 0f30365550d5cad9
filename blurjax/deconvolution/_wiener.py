"""Deconvolution in one step: the linear estimate of least mean square error."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax._typing import Array, ArrayLike
from blurjax.deconvolution._result import Deconvolution, per_plane, root_mean_square, wrap_up
from blurjax.deconvolution._torus import (
    Shape,
    differences_power,
    extend,
    planes,
    power,
    scaled,
    torus,
    transfer,
)
from blurjax.imaging._arrays import as_image
from blurjax.imaging._boundary import channel_from_end

PRIORS = ("white", "gradient", "laplacian")

Prior = str | Callable[[Array, Array], Array]

# Natural logarithms of the ratios of noise to signal that are tried, four a decade.
_RATIOS = np.linspace(-7, 2, 37) * np.log(10)
_REFINEMENTS = 6


def wiener(
    image: ArrayLike,
    psf: ArrayLike,
    *,
    weight: ArrayLike | None = 3e-3,
    prior: Prior = "gradient",
    channel_axis: int | None = None,
) -> Deconvolution:
    """Deconvolve by the Wiener filter, with the ratio of noise to signal given or estimated.

    The least of `1/2 |k*x - y|^2 + weight/2 sum over frequencies of q |X|^2`, that is

        X = conj(K) Y / (|K|^2 + weight q),

    where q is 1 ("white"), |D|^2 ("gradient", |D|^2 the power of the differences to the next
    column and row), |D|^4 ("laplacian") or a function of the frequency. It is also the mean of x
    given y if x and the noise are Gaussian and the variance of X is inverse to q.

    With `weight=None` the weight is that under which y is likeliest (in that model, the
    variance of the signal at its likeliest too): the greatest of

        -n log mean(|Y|^2 / v) - sum log v,   v = |K|^2 / q + weight,

    over n frequencies (0 not counted), for each plane. Trust it where the blur leaves noise to be
    seen: on an image without noise it is as small as the search allows, 1e-7.

    Args:
        image: (..., H, W) floats, any range; with `channel_axis` one more axis. bfloat16 and
            float16 are computed in float32.
        psf: (..., k, k), k odd, non-negative with sum 1. Its leading axes broadcast against
            those of the image (the channel axis not counted).
        weight: > 0, one number or one an image; None to estimate it.
        prior: "white", "gradient", "laplacian", or a function `prior(u, v)` of the frequencies
            along the columns (1, n) and the rows (m, 1), in cycles a pixel (|u|, |v| <= 1/2),
            that returns q (m, n), non-negative. Static.
        channel_axis: the axis of `image` that holds colours, each restored alone; None for gray
            images. Static.

    Returns:
        A `Deconvolution` of one step. The value may leave the range of the image.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the prior is not known, the weight is not positive and finite, or the kernel
            or the leading axes do not fit (as `imaging.blur`).

    Gradient: exact with respect to image, psf and weight. The estimated weight is differentiated
        by the implicit rule (its condition is stationary); 0 where it lies at an end of the search.

    Source: Wiener (1949); "laplacian" is Hunt, "The application of constrained least squares
        estimation to image restoration by digital computer", IEEE Trans. Comput. 1973. The
        evidence: MacKay, "Bayesian interpolation", Neural Comput. 1992. The search is our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging, psf
        >>> from blurjax.deconvolution import wiener
        >>> sharp = jnp.zeros((48, 48)).at[16:32, 16:32].set(1.0)
        >>> kernel = psf.gaussian(1.5, size=13)
        >>> blurred = imaging.blur(sharp, kernel)
        >>> restored = wiener(blurred, kernel, weight=1e-4).value
        >>> bool(jnp.mean((restored - sharp) ** 2) < 0.5 * jnp.mean((blurred - sharp) ** 2))
        True
    """
    if not callable(prior) and prior not in PRIORS:
        raise ValueError(
            f"prior={prior!r} is not known; choose one of {', '.join(map(repr, PRIORS))}, or give "
            "a function of the frequencies"
        )
    image = as_image(image)
    x, psf = planes(image, psf, channel_axis)
    axis = None if channel_axis is None else channel_from_end(image, channel_axis)
    ratio = None if weight is None else per_plane(weight, "weight", x, channel_axis)
    return wrap_up(_wiener(x, psf, ratio, prior), image.dtype, axis)


@functools.partial(jax.jit, static_argnames="prior")
def _wiener(image: Array, psf: Array, weight: Array | None, prior: Prior) -> tuple[Array, ...]:
    height, width = image.shape[-2:]
    shape = torus((height, width), psf.shape[-1])
    y, k = jnp.fft.rfft2(extend(image, shape)), transfer(psf, shape)
    q = _penalty(shape, image.dtype, prior)
    q = q.reshape((1,) * (image.ndim - 2) + q.shape)
    gain = power(k)
    if weight is None:
        weight = jnp.exp(_likeliest(power(y), gain, q, shape))[..., None, None]
    # A kernel of sum 0 leaves 0 / 0 at frequency 0.
    x = scaled(k.conj() * y, 1 / jnp.maximum(gain + weight * q, jnp.finfo(image.dtype).tiny))
    value = jnp.fft.irfft2(x, shape)[..., :height, :width]
    blurred = jnp.fft.irfft2(k * x, shape)[..., :height, :width]
    residual = root_mean_square(blurred - image, None)
    return value, jnp.ones(residual.shape, jnp.int32), residual


def _penalty(shape: Shape, dtype: jnp.dtype, prior: Prior) -> Array:
    """q (h, w // 2 + 1) on the frequencies of the torus."""
    if prior == "white":
        return jnp.ones((shape[0], shape[1] // 2 + 1), dtype)
    if prior == "gradient":
        return differences_power(shape, dtype)
    if prior == "laplacian":
        return differences_power(shape, dtype) ** 2
    assert callable(prior)
    u = jnp.asarray(np.fft.rfftfreq(shape[1])[None, :], dtype)
    v = jnp.asarray(np.fft.fftfreq(shape[0])[:, None], dtype)
    q = jnp.asarray(prior(u, v)).astype(dtype)
    return jnp.broadcast_to(q, (shape[0], shape[1] // 2 + 1))


def _likeliest(observed: Array, gain: Array, q: Array, shape: Shape) -> Array:
    """The logarithm of the weight of greatest evidence, for each plane."""
    # Of a real image the inner columns of the half spectrum stand for two frequencies each.
    count = np.full((shape[0], shape[1] // 2 + 1), 2.0)
    count[:, 0] = 1
    if shape[1] % 2 == 0:
        count[:, -1] = 1
    count[0, 0] = 0
    counted = jnp.asarray(count, q.dtype).reshape((1,) * (q.ndim - 2) + count.shape)
    # XLA would take seconds to sum constants while it compiles.
    counted = lax.optimization_barrier(counted)
    # What no prior holds (q = 0) says nothing about its strength.
    counted = jnp.where(q > 0, counted, 0)
    known = gain / jnp.where(q > 0, q, 1)
    total = counted.sum((-2, -1))
    mean = (counted * observed).sum((-2, -1), keepdims=True) / total[..., None, None]
    observed = observed / jnp.where(mean > 0, mean, 1)

    def loss(log_ratio: Array, step: int) -> Array:
        c, o, a = (z[..., ::step, ::step] for z in (counted, observed, known))
        v = a + jnp.exp(log_ratio)[..., None, None]
        n, misfit = c.sum((-2, -1)), (c * o / v).sum((-2, -1))
        tiny = jnp.finfo(o.dtype).tiny
        return n * jnp.log(jnp.maximum(misfit / n, tiny)) + (c * jnp.log(v)).sum((-2, -1))

    def slope(t: Array) -> tuple[Array, Array]:
        """The first two derivatives of `loss`, a frequency."""
        e = jnp.exp(t)[..., None, None]
        inverse = 1 / (known + e)
        s = (counted * observed * inverse).sum((-2, -1))
        s = jnp.where(s > 0, s, 1)
        # Each power of `inverse` with one of e: it would overflow alone.
        share = e * inverse
        s1 = -(counted * observed * inverse * share).sum((-2, -1)) / s
        s2 = s1 + 2 * (counted * observed * inverse * share**2).sum((-2, -1)) / s
        t1 = (counted * share).sum((-2, -1)) / total
        t2 = (counted * share**2).sum((-2, -1)) / total
        return s1 + t1, s2 - s1**2 + t1 - t2

    # A coarse search on a ninth of the frequencies of a large image, then Newton's method.
    step = 3 if min(shape) > 200 else 1
    tried = jnp.asarray(_RATIOS, q.dtype)
    lead = observed.shape[:-2]
    losses = lax.map(lambda t: loss(jnp.full(lead, t), step), tried)
    low, high = float(_RATIOS[0]), float(_RATIOS[-1])
    spacing = (high - low) / (len(_RATIOS) - 1)

    def refine(_: Array, t: Array) -> Array:
        first, second = slope(t)
        move = -first / jnp.where(second > 0, second, 1)
        move = jnp.where(second > 0, move, -jnp.sign(first) * spacing)
        return jnp.clip(t + jnp.clip(move, -spacing, spacing), low, high)

    start = tried[jnp.argmin(losses, 0)]
    # The search is not differentiated: a last step of Newton's, whose point is already the
    # solution, has the derivative of the solution.
    found = lax.stop_gradient(lax.fori_loop(0, _REFINEMENTS, refine, lax.stop_gradient(start)))
    first, second = slope(found)
    second = lax.stop_gradient(second)
    inside = (found > low) & (found < high) & (second > 0)
    return found - jnp.where(inside, first / jnp.where(inside, second, 1), 0)
