"""Log spectra of patches."""

import jax.numpy as jnp
import numpy as np

from blurjax._numerics import safe_sqrt
from blurjax._typing import Array, Float, Images


def _hann(size: int, dtype: np.dtype) -> Array:
    """The Hann window of size + 2 points without its two zeros, (size, size)."""
    profile = np.hanning(size + 2)[1:-1]
    return jnp.asarray(np.outer(profile, profile), dtype)


def _windowed(images: Array) -> Array:
    height, width = images.shape[-2:]
    if height != width:
        raise ValueError(f"patches are {height}x{width}; spectra are taken of square patches")
    centred = images - jnp.mean(images, axis=(-2, -1), keepdims=True)
    return centred * jnp.broadcast_to(_hann(height, images.dtype), images.shape)


def log_spectrum(images: Images, *, eps: float = 1e-6) -> Float[Array, "..."]:
    r"""Log spectrum of the windowed patch, zero frequency in the middle.

        s = 1/2 log(eps + |F(w (x - mean x))|^2),   w the Hann window, F the DFT.

    The window removes the cross of leakage at 0 and 90 degrees that imitates motion.

    Args:
        images: (..., n, n), nominally in [0, 1].
        eps: floor of the power, keeps the logarithm and its gradient finite.

    Returns:
        (..., n, n), row and column frequency from -n/2.

    Raises:
        ValueError: patches that are not square.

    Gradient: exact and finite, also for a flat patch.

    Source: our choice, where Yan & Shao, TIP 2016, is silent on the input.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import features
        >>> features.log_spectrum(jnp.eye(8)).shape
        (8, 8)
    """
    spectrum = jnp.fft.fft2(_windowed(images))
    power = spectrum.real**2 + spectrum.imag**2
    return jnp.fft.fftshift(0.5 * jnp.log(eps + power), axes=(-2, -1))


def half_spectrum(images: Images, *, size: int, eps: float = 1e-6) -> Float[Array, "..."]:
    """`log_spectrum` on a finer frequency grid and the half plane that says everything.

    The power spectrum of an n-point patch needs 2n - 1 frequencies, so its DFT
    undersamples it; zero-padding to `size` samples it more finely. A real image's
    spectrum is even, so the half plane of `rfft2` holds it all.

    Args:
        images: (..., n, n), nominally in [0, 1].
        size: DFT length, static, at least n.
        eps: floor of the power.

    Returns:
        (..., size, size // 2 + 1), row frequency in FFT order.

    Raises:
        ValueError: patches that are not square, or `size` below theirs.

    Gradient: exact and finite.

    Source: our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import features
        >>> features.half_spectrum(jnp.eye(8), size=11).shape
        (11, 6)
    """
    if size < images.shape[-1]:
        raise ValueError(
            f"size is {size}; a spectrum of {images.shape[-1]}-pixel patches needs at least that"
        )
    spectrum = jnp.fft.rfft2(_windowed(images), s=(size, size))
    return 0.5 * jnp.log(eps + spectrum.real**2 + spectrum.imag**2)


def spectral_edges(images: Images, *, eps: float = 1e-6) -> Float[Array, "..."]:
    r"""Edges of the log spectrum: the rings and lines that a blur's zeros draw into it.

        e = |grad s|,   central differences, periodic as the spectrum is,   s = log_spectrum

    Args:
        images: (..., n, n), nominally in [0, 1].
        eps: floor of the power.

    Returns:
        (..., n, n), at least 0, zero frequency in the middle.

    Raises:
        ValueError: patches that are not square.

    Gradient: exact; 0 where the spectrum is flat.

    Source: our choice, where Yan & Shao, TIP 2016, name edge detection on the spectrum and no
        detector.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import features
        >>> features.spectral_edges(jnp.eye(8)).shape
        (8, 8)
    """
    spectrum = log_spectrum(images, eps=eps)
    down, right = (
        (jnp.roll(spectrum, -1, axis) - jnp.roll(spectrum, 1, axis)) / 2 for axis in (-2, -1)
    )
    return safe_sqrt(down**2 + right**2)


def min_max(images: Images) -> Float[Array, "..."]:
    """Each patch stretched to [0, 1] by its own extremes; a constant patch becomes 0.

    Args:
        images: (..., h, w).

    Returns:
        (..., h, w) in [0, 1].

    Gradient: exact where the extremes are unique; finite everywhere.

    Source: our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import features
        >>> features.min_max(jnp.array([[2.0, 4.0]])).tolist()
        [[0.0, 1.0]]
    """
    low = jnp.min(images, axis=(-2, -1), keepdims=True)
    span = jnp.max(images, axis=(-2, -1), keepdims=True) - low
    return (images - low) / jnp.where(span > 0, span, 1)
