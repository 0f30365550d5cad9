import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.special

from blurjax import psf


def dense_profile(sigma: float, size: int, n: int = 2000) -> np.ndarray:
    """The pixel integral by the midpoint rule on n points a pixel."""
    x = (np.arange(size * n) + 0.5) / n - size / 2
    profile = np.exp(-((x / sigma) ** 2) / 2).reshape(size, n).mean(axis=1)
    return profile / profile.sum()


@pytest.mark.parametrize("sigma", [0.2, 0.3, 0.6, 1.0, 2.5, 5.0])
def test_area_agrees_with_dense_integration(sigma):
    profile = dense_profile(sigma, 41)
    np.testing.assert_allclose(
        psf.gaussian(sigma, size=41), np.outer(profile, profile), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.2, 4.0])
def test_point_sampling_reproduces_scipy(sigma):
    size = 2 * int(4 * sigma + 0.5) + 1
    impulse = np.zeros((size, size))
    impulse[size // 2, size // 2] = 1
    expected = scipy.ndimage.gaussian_filter(impulse, sigma, truncate=4.0)
    np.testing.assert_allclose(
        psf.gaussian(sigma, size=size, sampling="point"), expected, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(("sigma", "tolerance"), [(0.5, 0.012), (0.6, 0.003), (2.0, 0.003)])
def test_variance_carries_the_pixel(sigma, tolerance):
    variance = psf.moments(psf.gaussian(sigma, size=31)).covariance[0, 0]
    np.testing.assert_allclose(np.sqrt(variance), np.sqrt(sigma**2 + 1 / 12), rtol=tolerance)


def test_degenerate_sigma_is_the_delta_with_finite_derivatives():
    delta = np.zeros((9, 9))
    delta[4, 4] = 1
    for sigma in (0.0, 1e-30, 0.01, 0.05):
        np.testing.assert_allclose(psf.gaussian(sigma, size=9), delta, rtol=0, atol=1e-20)
        jacobian = jax.jacfwd(lambda s: psf.gaussian(s, size=9))(sigma)
        np.testing.assert_allclose(jacobian, 0, atol=1e-18)


def by_area(sigma):
    return psf.gaussian(sigma, size=31)


def by_points(sigma):
    return psf.gaussian(sigma, size=31, sampling="point")


@pytest.mark.parametrize("kernel", [by_area, by_points])
@pytest.mark.parametrize("sigma", [0.4, 1.3, 3.7])
def test_gradients(check_derivatives, kernel, sigma):
    check_derivatives(kernel, sigma)


def test_float32_tail_keeps_its_relative_accuracy():
    kernel = psf.gaussian(np.float32(1.0), size=13)
    exact = psf.gaussian(1.0, size=13)
    assert kernel.dtype == jnp.float32
    np.testing.assert_allclose(kernel, exact, rtol=2e-4, atol=1e-30)


def test_truncation_is_announced_with_the_lost_mass():
    with pytest.warns(UserWarning, match=r"size 7 cuts off .*gaussian.*psf.support"):
        kernel = psf.gaussian(3.0, size=7)
    np.testing.assert_allclose(kernel.sum(), 1, rtol=1e-12)


def test_unknown_sampling_is_refused():
    with pytest.raises(ValueError, match="'area' or 'point'"):
        psf.gaussian(1.0, size=7, sampling="bilinear")
