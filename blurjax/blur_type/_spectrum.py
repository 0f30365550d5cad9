"""The parameters of a known type of blur, from the spectrum of a whole image (host)."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import _fit_blind, imaging
from blurjax.psf import FAMILIES

# Large enough for the longest motion of the family.
_SIZE = 63
# A frequency is believed where the spectrum is so many times the noise of JPEG's rounding.
_ABOVE_ROUNDING = 3.0
_LAYERS = 12
# The kernel's pixels add their own variance to the parameter's square.
_PIXEL = 1 / 12


def measure(gray: np.ndarray, name: str, near: np.ndarray, reach: float) -> np.ndarray:
    """Parameters of one type and their standard errors, (2, d).

    A sigma is the standard deviation of the discrete kernel, as everywhere in this system.

    Args:
        gray: (H, W), at least 64 pixels a side.
        name: the type.
        near: (d,) parameters to look around, as patches tell them.
        reach: the size is looked for up to this many times that of `near`, and down to 0.7.
    """
    power, reliable = _power(gray)
    candidates = _around(near, reach)
    if name == "gaussian":
        candidates = np.sqrt(np.maximum(candidates**2 - _PIXEL, 0.1**2))
    found, uncertain, _, _ = _fit_blind.fit_spectrum(
        power,
        reliable,
        jnp.asarray(candidates, jnp.float32),
        family=FAMILIES[name],
        size=_SIZE,
        starts=_LAYERS,
    )
    theta, errors = np.asarray(found, np.float64), np.asarray(uncertain, np.float64)
    if name == "gaussian":
        deviation = np.sqrt(theta**2 + _PIXEL)
        theta, errors = deviation, errors * theta / deviation
    return np.stack([theta, errors])


def _around(near: np.ndarray, reach: float) -> np.ndarray:
    """Candidates in `_LAYERS` layers of the size; of a motion several directions in each."""
    if len(near) == 1:
        return near * np.geomspace(0.7, reach, 4 * _LAYERS)[:, None]
    size = near[0] * np.geomspace(0.7, reach, 2 * _LAYERS)
    angle = near[1] + np.radians([-8.0, -4.0, -1.5, 0.0, 1.5, 4.0, 8.0])
    return np.stack(np.meshgrid(size, angle, indexing="ij"), axis=-1).reshape(-1, 2)


def _power(gray: np.ndarray) -> tuple[jax.Array, jax.Array]:
    """The periodogram, and 1 where it is more than compression's rounding."""
    n = _fit_blind.spectrum_size(gray.shape)
    power = _fit_blind.periodogram(jnp.asarray(gray), n=n)
    quality = imaging.jpeg_quality(gray)
    if not quality:
        return power, jnp.ones_like(power)
    return power, (power > _ABOVE_ROUNDING * _rounding(n, quality)).astype(power.dtype)


@functools.lru_cache(maxsize=8)
def _rounding(n: int, quality: int) -> np.ndarray:
    """Expected periodogram of JPEG's rounding errors: step^2 / 12 in every cosine's band."""
    steps = imaging.jpeg_steps(quality) / 255
    # The cosine of index k has k / 16 periods a pixel.
    v = np.minimum(16 * np.abs(np.fft.fftfreq(n)), 7).round().astype(int)
    u = np.minimum(16 * np.fft.rfftfreq(n), 7).round().astype(int)
    return (steps[np.ix_(v, u)] ** 2 / 12).astype(np.float32)
