"""What the spectrum of a whole image says of a blur whose type is known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import _fit_blind, data, imaging, psf
from blurjax.blur_type import _spectrum


@pytest.fixture(scope="module")
def photograph():
    return jnp.asarray(data.embedded("test")[1][:240, :240], jnp.float32)


def seen(sharp, kernel, noise=0.0, quality=None):
    blurred = imaging.blur(sharp, kernel.astype(sharp.dtype))
    image = imaging.quantise(imaging.add_noise(jax.random.key(1), blurred, noise))
    return np.asarray(image if quality is None else imaging.jpeg(image, quality))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("noise", "quality"), [(0.0, None), (3 / 255, None), (0.0, 80)], ids=["plain", "noise", "jpeg"]
)
def test_a_motion_is_measured_from_near(photograph, noise, quality):
    image = seen(photograph, psf.motion(13.0, 0.7, size=21), noise, quality)
    # As patches tell it: too short, and a little off.
    theta, errors = _spectrum.measure(image, "motion", np.array([11.0, 0.65]), 3.0)
    np.testing.assert_allclose(theta, [13, 0.7], atol=0.5 if quality or noise else 0.1)
    assert np.all(errors > 0) and errors[0] < 3


@pytest.mark.slow
def test_a_radius_beyond_the_ranges_is_measured(photograph):
    image = seen(photograph, psf.defocus(10.5, size=23))
    theta, _ = _spectrum.measure(image, "defocus", np.array([7.0]), 3.0)
    np.testing.assert_allclose(theta, 10.5, atol=0.15)


@pytest.mark.slow
def test_a_sigma_is_that_of_the_discrete_kernel(photograph):
    kernel = psf.gaussian(0.9, size=11)
    found = float(jnp.sqrt(psf.moments(kernel).covariance[0, 0]))
    theta, errors = _spectrum.measure(seen(photograph, kernel), "gaussian", np.array([found]), 1.5)
    # The narrow kernel is as good as its moments; how sharp the photograph was nobody knows.
    assert abs(theta[0] - found) < 3 * errors[0] and errors[0] < 0.2


def test_the_rounding_of_jpeg_is_where_its_steps_say():
    grain = jax.random.normal(jax.random.key(0), (256, 256)) * 0.15 + 0.5
    image = imaging.quantise(grain.astype(jnp.float32))
    rounding = np.asarray(imaging.jpeg(image, 60) - image)
    measured = _fit_blind.periodogram(jnp.asarray(rounding), n=64)
    expected = _spectrum._rounding(64, 60)
    ratio = np.asarray(measured / expected)[8:-8, 4:]
    assert 0.8 < np.median(ratio) < 1.25
    assert expected.max() > 10 * expected.min()
