"""Photographs and kernels that the tests of several protocols are about."""

import numpy as np
import scipy.ndimage


def photograph(shape, seed=0, scales=(1, 2, 4)):
    """Blobs of all sizes, which a shift or a blur changes, 8 bits."""
    rough = np.random.default_rng(seed).uniform(size=shape)
    smooth = sum(scipy.ndimage.gaussian_filter(rough, s, mode="wrap") * s for s in scales)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return (np.round(255 * smooth) / 255).astype(np.float32)


def hook(size=9):
    """A kernel without any symmetry."""
    kernel = np.zeros((size, size), np.float32)
    kernel[1, 1:-1] = 1
    kernel[1:-2, 1] = 2
    return kernel / kernel.sum()


def wiener(image, kernel, weight):
    """A solver that takes no time to compile."""
    padded = np.zeros(image.shape)
    size = len(kernel)
    padded[:size, :size] = kernel
    k = np.fft.rfft2(np.roll(padded, (-(size // 2),) * 2, (0, 1)))
    restored = np.fft.irfft2(
        k.conj() * np.fft.rfft2(image) / (np.abs(k) ** 2 + weight), image.shape
    )
    return restored.astype(np.float32)
