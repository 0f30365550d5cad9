import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import psf

SIZE = 13


def brute_force(radius: float, n: int = 1000) -> np.ndarray:
    """Share of n x n points of each pixel inside the disc."""
    position = (np.arange(SIZE * n) + 0.5) / n - SIZE / 2
    inside = position[:, None] ** 2 + position**2 <= radius**2
    area = inside.reshape(SIZE, n, SIZE, n).mean(axis=(1, 3))
    return area / area.sum()


@pytest.mark.slow
@pytest.mark.parametrize("radius", [0.4, 0.6, 0.7, 1.0, 1.5, 2.2, 3.7, 5.5])
def test_agrees_with_brute_force(radius):
    kernel = psf.defocus(radius, size=SIZE)
    np.testing.assert_allclose(kernel, brute_force(radius), atol=1e-4, rtol=0)
    single = psf.defocus(np.float32(radius), size=SIZE)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, kernel, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("radius", "tolerance"), [(3.0, 0.02), (4.3, 0.02), (5.0, 0.004)])
def test_second_moment(radius, tolerance):
    covariance = psf.moments(psf.defocus(radius, size=SIZE)).covariance
    np.testing.assert_allclose(covariance[0, 0], radius**2 / 4 + 1 / 12, rtol=tolerance)
    np.testing.assert_allclose(covariance[0, 1], 0, atol=1e-12)


def kernel(radius):
    return psf.defocus(radius, size=SIZE)


_first = jax.jit(jax.jacfwd(kernel))
_second = jax.jit(jax.jacfwd(jax.jacfwd(kernel)))
_reverse = jax.jit(jax.grad(lambda r: jnp.sum(kernel(r) ** 2)))


@pytest.mark.parametrize("radius", [0.8, 1.2, 2.3, 4.9])
def test_gradients(check_derivatives, radius):
    check_derivatives(kernel, radius)


@pytest.mark.parametrize("radius", [0.0, 0.3, 0.5, np.sqrt(0.5), 1.5, 2.5, 3.5])
def test_known_plateaus_and_kinks_are_finite(radius):
    with jax.debug_nans(True):
        first, second, reverse = (f(radius) for f in (_first, _second, _reverse))
    assert jnp.all(jnp.isfinite(first)) and jnp.all(jnp.isfinite(second)) and jnp.isfinite(reverse)
    if radius <= 0.5:
        assert kernel(radius)[SIZE // 2, SIZE // 2] == 1
        np.testing.assert_allclose(first, 0, atol=1e-12)


@pytest.mark.parametrize(
    ("radius", "tolerance"), [(1.5, 0.08), (2.0, 0.04), (3.0, 0.01), (5.0, 0.002)]
)
def test_zeros_of_the_transfer_function(radius, tolerance):
    u = np.linspace(0.3, 0.8, 8001) / radius
    row = np.asarray(psf.defocus(radius, size=SIZE)).sum(axis=0)
    response = np.cos(2 * np.pi * u[:, None] * (np.arange(SIZE) - SIZE // 2)) @ row
    first_zero = u[np.argmax(response < 0)]
    np.testing.assert_allclose(first_zero, 0.6098 / radius, rtol=tolerance)
