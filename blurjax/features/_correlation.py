"""What an image's second-order statistics say about the kernel that blurred it."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from blurjax._numerics import fast_length, safe_sqrt, working_dtype
from blurjax._typing import Array, Float, Images, Int

CORRELATION_MAPS = ("gradient autocorrelation", "whitened autocorrelation", "cepstrum")
"""What `correlation_maps` returns, in order."""

# Of the border that fades to zero, on each side, as a share of the image.
_FADE = 0.08
# Added to the power before the logarithm, as a share of its mean.
_FLOOR = 1e-6
# The whitened power is clipped here: single frequencies that an image repeats are no kernel.
_BRIGHTEST = 20.0
# Rings of frequency over which the mean logarithm is taken; between two it is interpolated.
_RINGS = 96
_LEAST = 1e-12


def correlation_maps(
    images: Images, *, lags: int = 112, inside: Int[Array, "*batch 2"] | None = None
) -> Float[Array, "*batch 3 rows columns"]:
    r"""Autocorrelation of gradients, whitened autocorrelation and cepstrum of an image.

    With y the image less its mean, faded out at its borders and padded with zeros,

        P = |F y|^2 (4 sin^2 pi u + 4 sin^2 pi v),     l = log(P + 1e-6 mean P) - its radial mean,

    the maps are F^-1 P, F^-1 min(e^l, 20) and F^-1 l over the lags (dy, dx) of half a plane; the
    other half is the same, turned by 180 degrees. Each is divided by its root mean square without
    the lags of at most two pixels.

    A blur multiplies P by the kernel's spectrum |K|^2, so that the kernel's own autocorrelation,
    which ends where the kernel ends, shines through in all of them.

    Args:
        images: (..., H, W), nominally in [0, 1].
        lags: L, static; at most H and W.
        inside: (..., 2), height and width of each image, where it lies in the upper left corner of
            its array and nothing else counts; by default all of it. So images of several sizes can
            share a compiled program.

    Returns:
        (..., 3, 2 L, L): rows are dy from -L to L - 1, columns dx from 0 to L - 1.

    Raises:
        ValueError: images smaller than the lags.

    Gradient: exact almost everywhere (at the clip one-sided), finite also for a flat image.

    Source: our choice, after Goldstein & Fattal, "Blur-kernel estimation from spectral
        irregularities", ECCV 2012, and Liu et al., "Automatic blur-kernel-size estimation for
        motion deblurring", The Visual Computer 2015 (the first map).

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import features
        >>> features.correlation_maps(jnp.eye(64), lags=32).shape
        (3, 64, 32)
    """
    height, width = images.shape[-2:]
    if min(height, width) < lags:
        raise ValueError(
            f"images are {height}x{width}; they need {lags} pixels a side for as many lags"
        )
    dtype = working_dtype(images.dtype)
    shape = fast_length(height + lags), fast_length(width + lags)
    spectrum = jnp.fft.rfft2(_faded(images.astype(dtype), inside), shape)
    u = np.fft.fftfreq(shape[0])[:, None]
    v = np.fft.rfftfreq(shape[1])[None, :]
    gradient = jnp.asarray(4 * np.sin(np.pi * u) ** 2 + 4 * np.sin(np.pi * v) ** 2, dtype)
    power = (spectrum.real**2 + spectrum.imag**2) * jnp.broadcast_to(gradient, spectrum.shape)
    mean = jnp.mean(power, axis=(-2, -1), keepdims=True)
    log = jnp.log(power + _FLOOR * mean + _LEAST)
    log = log - _radial_mean(log, np.hypot(u, v), shape[1])
    spectra = jnp.stack([power, jnp.minimum(jnp.exp(log), _BRIGHTEST), log], axis=-3)
    half = _near_lags(spectra, shape, lags)
    far = np.maximum(np.abs(np.arange(-lags, lags))[:, None], np.arange(lags)[None, :]) > 2
    square = jnp.mean(jnp.where(jnp.asarray(far), half, 0) ** 2, axis=(-2, -1), keepdims=True)
    return (half / (safe_sqrt(square) + _LEAST)).astype(images.dtype)


def transposed_maps(maps: Float[Array, "*batch maps rows columns"]) -> Float[Array, "..."]:
    """The `correlation_maps` of the transposed images, from those of the images themselves.

    Args:
        maps: (..., 2 L, L), from `correlation_maps`.

    Returns:
        (..., 2 L, L), of the images with rows and columns exchanged, up to a scale within one or
        two per cent of 1: the root mean square that they are divided by is of the other half plane.

    Gradient: exact.

    Source: f(-d) = f(d) for every autocorrelation. Its row dy = -L, of which the other half of the
        plane lacks the mirror image, gets that of -L + 1.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import features
        >>> maps = features.correlation_maps(jnp.eye(64), lags=32)
        >>> features.transposed_maps(maps).shape
        (3, 64, 32)
    """
    lags = maps.shape[-1]
    right = jnp.swapaxes(maps[..., lags:, :], -1, -2)
    # Left of the middle (dy, dx) is (-dy, -dx), in the upper half.
    left = jnp.swapaxes(jnp.flip(maps[..., 1 : lags + 1, :], -2), -1, -2)
    return jnp.concatenate([left[..., -1:, :], jnp.flip(left[..., 1:, :], -2), right], axis=-2)


def _faded(images: Array, inside: Array | None) -> Array:
    """Less the mean, and faded to zero along the borders by half a cosine."""
    if inside is None:
        inside = jnp.broadcast_to(jnp.array(images.shape[-2:]), (*images.shape[:-2], 2))

    def profile(length: Array, size: int) -> Array:
        length = length[..., None].astype(images.dtype)
        place = jnp.arange(size, dtype=images.dtype) + 0.5
        place = jnp.broadcast_to(place, (*length.shape[:-1], size))
        distance = jnp.minimum(place, length - place) / (_FADE * length)
        return (1 - jnp.cos(math.pi * jnp.clip(distance, 0, 1))) / 2

    rows = profile(inside[..., 0], images.shape[-2])
    columns = profile(inside[..., 1], images.shape[-1])
    # Or a compiler would take the cosines anew for every pixel.
    rows, columns = jax.lax.optimization_barrier((rows, columns))
    window = rows[..., :, None] * columns[..., None, :]
    total = jnp.sum(window, axis=(-2, -1), keepdims=True)
    mean = jnp.sum(window * images, axis=(-2, -1), keepdims=True) / total
    return window * (images - mean)


def _near_lags(spectra: Array, shape: tuple[int, int], lags: int) -> Array:
    """`irfft2` of real spectra (..., H, W // 2 + 1), of which only the near lags are wanted.

    As products with matrices of cosines and sines, of even and odd parts in the row frequency: less
    work than the transforms, of which most lags are not wanted (benchmarks/kernel_size.py).
    """
    height, width = shape
    dtype = spectra.dtype
    # Rows +u and -u together; the frequency 0, and 1/2 where there is one, are their own partners.
    partner = jnp.roll(jnp.flip(spectra, -2), 1, -2)
    count = height // 2 + 1
    own = np.zeros((count, 1))
    own[0], own[-1] = 1, height % 2 == 0
    plus, minus = spectra[..., :count, :], partner[..., :count, :]
    share = jnp.broadcast_to(jnp.asarray(1 - own / 2, dtype), plus.shape)
    even, odd = (plus + minus) * share, (plus - minus) * share

    across = 2 * np.pi / width * np.outer(np.arange(width // 2 + 1), np.arange(lags))
    down = 2 * np.pi / height * np.outer(np.arange(lags + 1), np.arange(count))
    scale = _stand_for(width)[:, None] / (height * width)

    def product(rows: np.ndarray, x: Array, columns: np.ndarray) -> Array:
        x = jnp.matmul(x, jnp.asarray(columns, dtype), precision="highest")
        return jnp.matmul(jnp.asarray(rows, dtype), x, precision="highest")

    cosines = product(np.cos(down), even, scale * np.cos(across))
    sines = product(np.sin(down), odd, scale * np.sin(across))
    above, below = cosines + sines, cosines - sines
    return jnp.concatenate([jnp.flip(above[..., 1:, :], -2), below[..., :lags, :]], axis=-2)


def _stand_for(width: int) -> np.ndarray:
    """How many columns of a whole spectrum each of the half stands for, (width // 2 + 1,)."""
    count = np.full(width // 2 + 1, 2.0)
    count[0] = 1
    if width % 2 == 0:
        count[-1] = 1
    return count


def _radial_mean(log: Array, radius: np.ndarray, width: int) -> Array:
    """The mean of each ring of frequencies, interpolated back to all of them."""
    place = radius / radius.max() * (_RINGS - 1)
    low = np.minimum(place.astype(int), _RINGS - 2)
    part = (place - low).ravel()
    nearest = np.rint(place).astype(int).ravel()
    twice = np.broadcast_to(_stand_for(width), radius.shape).ravel()
    weight = np.bincount(nearest, twice, _RINGS)
    flat = log.reshape(-1, radius.size)

    def one(x: Array) -> Array:
        total = jax.ops.segment_sum(x * jnp.asarray(twice, x.dtype), jnp.asarray(nearest), _RINGS)
        ring = total / jnp.asarray(np.maximum(weight, 1), x.dtype)
        first = jnp.asarray(low.ravel())
        share = jnp.asarray(part, x.dtype)
        return (1 - share) * ring[first] + share * ring[first + 1]

    return jax.vmap(one)(flat).reshape(log.shape)
