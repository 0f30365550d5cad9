"""Classical scores of windows, to compare with: where the blur kernel should be easiest to find."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax import features
from blurjax._numerics import fast_length, safe_sqrt, working_dtype
from blurjax._typing import Array, ArrayLike, Float

# Stored values that say little of the light: the camera, or the conversion to 8 bits, clipped it.
_BLACK, _WHITE = 0.01, 0.99
# Xu and Jia's constant: a square counts as flat whose gradients add up to much less.
_FLAT = 0.5

_WAVELENGTHS = (4.0, 8.0, 16.0, 32.0)
_ORIENTATIONS = 8
# Standard deviation of the Gabor filters' envelope over their wavelength.
_SIGMA = 0.5
# Half the band a filter keeps, over its centre frequency: 3.9 standard deviations of the passband.
_BAND = 1.25
# Of what is mirrored at each border, in standard deviations of the widest envelope.
_MIRRORED = 2
# Below this a response is noise, and its logarithm need not say how much below.
_FLOOR = 1e-3

GABOR_STATISTICS = 2 * len(_WAVELENGTHS) * _ORIENTATIONS + 2
"""How many numbers `gabor_statistics` gives of a window, by default."""


def gradient_std(windows: Float[ArrayLike, "*batch h w"]) -> Float[Array, "*batch"]:
    r"""Standard deviation of the length of the gradient.

        std_x |grad B(x)|,   grad B = (B(x + right) - B(x), B(x + down) - B(x)).

    Args:
        windows: (..., h, w), blurred, in [0, 1]; sides at least 2.

    Returns:
        (...,), at least 0, in image units per pixel, in the dtype of `windows`. Higher is better.

    Raises:
        ValueError: a side of less than 2 pixels.

    Gradient: exact; 0 for a window without one, and from pixels where the length is 0.

    Source: the rule by which Ye et al., "A coarse-to-fine classification for motion blur kernel
        size estimation with cascaded neural networks" (2.2), choose patches. They take each of the
        two derivatives by itself; one window for both is ours.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import region
        >>> print(region.gradient_std(jnp.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])))
        0.5
    """
    x = _working(windows)
    down, right = _differences(x)
    length = safe_sqrt(down**2 + right**2)
    return _std(length).astype(jnp.asarray(windows).dtype)


def contrast(windows: Float[ArrayLike, "*batch h w"]) -> Float[Array, "*batch"]:
    r"""High variance, low saturation.

        (n / N) std of the n of the N pixels that are not clipped,   0.01 < B < 0.99.

    No pixel that becomes clipped raises it: the square is n / N^2 times the sum of squares of the n
    about their mean, and both shrink with each pixel left out. (The deviation of all pixels times
    n / N would reward a few white ones in a flat window.)

    Args:
        windows: (..., h, w), blurred, in [0, 1].

    Returns:
        (...,), in [0, 0.49], in image units, in the dtype of `windows`. Higher is better; 0 where
        all pixels are clipped.

    Gradient: exact for the pixels that are not clipped, 0 to the others: that a pixel is clipped
        has none. 0 for a flat window.

    Source: Fergus et al., "Removing camera shake from a single photograph", SIGGRAPH 2006, ask the
        user for a patch of high variance and low saturation; how both are joined, and the limits,
        are our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import region
        >>> print(region.contrast(jnp.array([[0.25, 0.75, 1.0, 1.0]])))
        0.125
    """
    x = _working(windows)
    light = ((x > _BLACK) & (x < _WHITE)).astype(x.dtype)
    count = jnp.sum(light, axis=(-2, -1), keepdims=True)
    divisor = jnp.maximum(count, 1)
    mean = jnp.sum(light * x, axis=(-2, -1), keepdims=True) / divisor
    variance = jnp.sum(light * (x - mean) ** 2, axis=(-2, -1), keepdims=True) / divisor
    share = count / (x.shape[-2] * x.shape[-1])
    score = (share * safe_sqrt(variance))[..., 0, 0]
    return score.astype(jnp.asarray(windows).dtype)


def useful_edges(
    windows: Float[ArrayLike, "*batch h w"], *, side: int = 5
) -> Float[Array, "*batch"]:
    r"""How far gradients agree with their neighbours: edges wider than the blur do, texture not.

    The mean over all pixels x of

        r(x) = |sum_W grad B| / (sum_W |grad B| + 0.5),

    W the square of side x side pixels around x. Beyond the border the nearest gradient is repeated.

    Args:
        windows: (..., h, w), blurred, in [0, 1]; sides at least 2.
        side: of W in pixels, odd. Static.

    Returns:
        (...,), in [0, 1), in the dtype of `windows`. Higher is better.

    Raises:
        ValueError: `side` is even or less than 1; windows with a side of less than 2 pixels.

    Gradient: exact; 0 from where a length is 0.

    Source: Xu and Jia, "Two-phase kernel estimation for robust motion deblurring", ECCV 2010,
        equation 2, with side 5. They threshold r to choose pixels; the mean of it as a score of
        windows is our choice. Gradients are forward differences.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import region
        >>> ramp = 0.1 * jnp.arange(6.0) * jnp.ones((6, 1))
        >>> round(float(region.useful_edges(ramp)), 4)  # 25 * 0.1 / (25 * 0.1 + 0.5)
        0.8333
    """
    x = _working(windows)
    down, right = _differences(x)
    length = safe_sqrt(down**2 + right**2)
    down, right, length = (
        side**2 * features.local_mean(g, size=side) for g in (down, right, length)
    )
    r = safe_sqrt(down**2 + right**2) / (length + _FLAT)
    return jnp.mean(r, axis=(-2, -1)).astype(jnp.asarray(windows).dtype)


@functools.partial(jax.jit, static_argnames=("scales", "orientations"))
def gabor_statistics(
    windows: Float[ArrayLike, "*batch h w"],
    *,
    scales: tuple[float, ...] = _WAVELENGTHS,
    orientations: int = _ORIENTATIONS,
) -> Float[Array, "*batch f"]:
    r"""How much a window holds of each wavelength and direction, and how evenly.

    The filter of wavelength l and angle a is the analytic Gabor function

        g(x) = 2 exp(2 pi i f.x) exp(-|x|^2 / (2 s^2)) / (2 pi s^2),
        f = (cos a, sin a) / l,   s = l / 2,

    whose real part is even and whose imaginary part is odd; the magnitude |g * B| of its response
    forgets the phase, and is the amplitude of a wave of frequency f. The filter's transfer
    function is a Gaussian about f, so that of the window's spectrum only the square of frequencies
    within 1.25 / l of f is transformed back. That gives the magnitude at points at most 0.4 l
    apart, less than the envelope's deviation, of which those inside the window count.

    Args:
        windows: (..., h, w), in [0, 1]; beyond the border they are mirrored.
        scales: the wavelengths l in pixels, at least 2 each. Static.
        orientations: how many angles, k pi / orientations with k = 0, 1, ...: of the direction in
            which the wave runs, counter-clockwise as displayed, 0 along the columns. Static.

    Returns:
        (..., 2 * len(scales) * orientations + 2), by default (..., `GABOR_STATISTICS`), in the
        dtype of `windows`. With log the logarithm of 0.001 more, in this order:

        - log of mean and log of standard deviation of the magnitude: for each scale in turn, for
          each angle in turn, mean and then standard deviation. Number 2 (i orientations + k) + j
          is of scale i and angle k, the mean for j = 0;
        - log of the standard deviation of the intensity;
        - the share of saturated pixels, >= 0.99.

        A constant added to the window changes the last only.

    Raises:
        ValueError: no scale, one of less than 2 pixels, or one longer than a side of the windows;
            `orientations` less than 1.

    Gradient: exact, and 0 from where a magnitude or a deviation is 0; the share has none.

    Source: after the features of Hu and Yang, "Learning good regions to deblur images", IJCV 2015;
        wavelengths, widths, statistics and logarithm are our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import region
        >>> wave = 0.5 + 0.25 * jnp.cos(2 * jnp.pi * jnp.arange(64.0) / 8) * jnp.ones((64, 1))
        >>> found = region.gabor_statistics(wave)
        >>> found.shape, int(jnp.argmax(found[:64:2]))  # scale 1, angle 0
        ((66,), 8)
    """
    array = jnp.asarray(windows)
    shape = (array.shape[-2], array.shape[-1])
    if not scales or min(scales) < 2 or max(scales) > min(shape):
        raise ValueError(
            f"scales are {scales}; windows of {shape[0]}x{shape[1]} take wavelengths from 2 px to "
            "the shorter side"
        )
    if orientations < 1:
        raise ValueError(f"orientations is {orientations}; at least 1 is needed")
    x = _working(array)
    border = math.ceil(_MIRRORED * _SIGMA * max(scales))
    padding = [(0, 0)] * (x.ndim - 2) + [
        (border, fast_length(n + 2 * border) - n - border) for n in shape
    ]
    # Filters let 0.7 % of a constant pass.
    centred = x - jnp.mean(x, axis=(-2, -1), keepdims=True)
    spectrum = jnp.fft.fft2(jnp.pad(centred, padding, mode="symmetric"))
    found = [_responses(spectrum, scale, orientations, border, shape) for scale in scales]
    statistics = jnp.stack(found, axis=-3).reshape(*x.shape[:-2], -1)
    compressed = jnp.log(_FLOOR + jnp.concatenate([statistics, _std(x)[..., None]], axis=-1))
    saturated = jnp.mean((x >= _WHITE).astype(x.dtype), axis=(-2, -1))
    return jnp.concatenate([compressed, saturated[..., None]], axis=-1).astype(array.dtype)


def _responses(
    spectrum: Array, scale: float, orientations: int, border: int, shape: tuple[int, int]
) -> Array:
    """Mean and standard deviation of the responses at one wavelength: (..., orientations, 2)."""
    angles = np.arange(orientations) * np.pi / orientations
    # Rows run downwards, angles are counter-clockwise.
    centres = np.stack([-np.sin(angles), np.cos(angles)], axis=-1) / scale
    bins, gains, inside = [], [], []
    for axis, n in enumerate(spectrum.shape[-2:]):
        kept = min(fast_length(math.ceil(2 * _BAND * n / scale)), n)
        bins.append(np.rint(n * centres[:, axis, None]).astype(int) + np.arange(kept) - kept // 2)
        away = bins[axis] / n - centres[:, axis, None]
        # The inverse transform divides by `kept`, where that of the whole would by n.
        gains.append(np.exp(-2 * (np.pi * _SIGMA * scale * away) ** 2) * (kept / n))
        at = np.arange(kept) * n / kept - border
        inside.append(np.flatnonzero((at >= 0) & (at <= shape[axis] - 1)))
    rows, columns = (slice(i[0], i[-1] + 1) for i in inside)

    def one(filter_: tuple[Array, Array, Array, Array]) -> Array:
        row, column, down, across = filter_
        band = jnp.take(spectrum, row, axis=-2, mode="wrap")
        band = jnp.take(band, column, axis=-1, mode="wrap")
        gain = (2 * down[:, None] * across[None, :]).astype(band.dtype)
        # Where the band begins only turns the response's phase.
        response = jnp.fft.ifft2(jnp.einsum("...rc,rc->...rc", band, gain))[..., rows, columns]
        magnitude = safe_sqrt(response.real**2 + response.imag**2)
        return jnp.stack([jnp.mean(magnitude, axis=(-2, -1)), _std(magnitude)], axis=-1)

    # One after the other: all at once would take `orientations` times the memory, and no less time.
    weights = [jnp.asarray(g, spectrum.real.dtype) for g in gains]
    return jnp.moveaxis(lax.map(one, (*map(jnp.asarray, bins), *weights)), 0, -2)


def _working(windows: Float[ArrayLike, "*batch h w"]) -> Array:
    array = jnp.asarray(windows)
    return array.astype(working_dtype(array.dtype))


def _differences(x: Array) -> tuple[Array, Array]:
    """Forward differences down and to the right, (..., h - 1, w - 1)."""
    if min(x.shape[-2:]) < 2:
        raise ValueError(f"windows are {x.shape[-2]}x{x.shape[-1]}; a gradient needs 2x2")
    here = x[..., :-1, :-1]
    return x[..., 1:, :-1] - here, x[..., :-1, 1:] - here


def _std(x: Array) -> Array:
    return safe_sqrt(jnp.var(x, axis=(-2, -1)))
