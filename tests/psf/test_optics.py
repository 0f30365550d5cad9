"""The PSFs of optics and atmosphere: moffat and airy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from blurjax import psf
from blurjax.psf import _bessel

SIZE = 11
FIRST_ZERO = scipy.special.jn_zeros(1, 1)[0]


def dense(profile, parts: int = 4, n: int = 60) -> np.ndarray:
    """The pixel integral by Gauss-Legendre nodes in parts x parts cells a pixel."""
    node, weight = np.polynomial.legendre.leggauss(n)
    node = np.concatenate([(node / 2 + p - (parts - 1) / 2) / parts for p in range(parts)])
    weight = np.tile(weight, parts)
    x = ((np.arange(SIZE) - SIZE // 2)[:, None] + node).ravel()
    value = profile(np.hypot(x[:, None], x)).reshape(SIZE, n * parts, SIZE, n * parts)
    kernel = np.einsum("injm,n,m->ij", value, weight, weight)
    return kernel / kernel.sum()


def check(kernel, single, expected, tolerance):
    np.testing.assert_allclose(kernel, expected, atol=tolerance, rtol=0)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("width", [0.1, 0.3, 1.0, 5.0, 40.0])
@pytest.mark.parametrize("exponent", [1.2, 2.5, 5.0])
def test_moffat_agrees_with_dense_integration(width, exponent):
    check(
        psf.moffat(width, exponent, size=SIZE),
        psf.moffat(np.float32(width), np.float32(exponent), size=SIZE),
        dense(lambda r: (1 + (r / width) ** 2) ** -exponent),
        1e-10,
    )


@pytest.mark.parametrize(
    ("radius", "tolerance"), [(0.5, 1e-7), (1.0, 1e-9), (2.4, 1e-9), (8.0, 1e-12), (40.0, 1e-12)]
)
def test_airy_agrees_with_dense_integration(radius, tolerance):
    def profile(r):
        z = FIRST_ZERO * r / radius
        return (2 * scipy.special.j1(z) / z) ** 2

    check(
        psf.airy(radius, size=SIZE),
        psf.airy(np.float32(radius), size=SIZE),
        dense(profile),
        tolerance,
    )


def test_a_large_exponent_is_a_gaussian():
    exponent = 3000.0
    kernel = psf.moffat(1.5 * np.sqrt(2 * exponent), exponent, size=SIZE)
    expected = psf.gaussian(1.5, size=SIZE)
    np.testing.assert_allclose(kernel, expected, atol=1e-4, rtol=0)


def test_float32_wings_keep_their_relative_accuracy():
    for width, exponent in ((1.5, 3.0), (30.0, 2.0)):
        single = psf.moffat(np.float32(width), np.float32(exponent), size=31)
        np.testing.assert_allclose(single, psf.moffat(width, exponent, size=31), rtol=2e-5)


def moffat(width, exponent):
    return psf.moffat(width, exponent, size=SIZE)


def airy(radius):
    return psf.airy(radius, size=SIZE)


@pytest.mark.parametrize(("width", "exponent"), [(0.4, 2.5), (1.7, 1.4), (6.0, 4.0)])
def test_gradients_of_moffat(check_derivatives, width, exponent):
    check_derivatives(moffat, width, exponent)


@pytest.mark.parametrize("radius", [0.8, 2.4, 9.0])
def test_gradients_of_airy(check_derivatives, radius):
    check_derivatives(airy, radius)


_of_moffat = jax.jit(jax.jacfwd(moffat, (0, 1)))
_of_airy = jax.jit(jax.jacfwd(airy))


@pytest.mark.parametrize("width", [0.0, 1e-30, 1e-6, 1e-3])
def test_degenerate_widths_are_the_delta_with_finite_derivatives(width):
    delta = np.zeros((SIZE, SIZE))
    delta[SIZE // 2, SIZE // 2] = 1
    with jax.debug_nans(True):
        derivatives = (*_of_moffat(width, 2.5), _of_airy(width))
        np.testing.assert_allclose(moffat(width, 2.5), delta, atol=1e-6)
        np.testing.assert_allclose(airy(width), delta, atol=2e-3)
    assert all(jnp.all(jnp.isfinite(d)) for d in derivatives)
    if width < 1e-6:
        np.testing.assert_allclose(derivatives, 0, atol=1e-12)


def test_exponents_up_to_1_are_refused_or_held_above():
    with pytest.raises(ValueError, match=r"exponent is 1.0; it must be larger than 1"):
        psf.moffat(2.0, 1.0, size=SIZE)
    held = jax.jit(moffat)(2.0, 0.3)
    np.testing.assert_allclose(held, moffat(2.0, 1.001), atol=1e-14)


jinc, airy_shares = jax.jit(_bessel.jinc), jax.jit(_bessel.airy_shares)
_derivatives_of_jinc = jax.jit(lambda x: (jax.grad(jinc)(x), jax.grad(jax.grad(jinc))(x)))


def test_bessel_functions():
    x = np.concatenate([np.linspace(1e-9, 60, 4001), np.linspace(60, 2000, 2001)])
    np.testing.assert_allclose(jinc(jnp.asarray(x)), 2 * scipy.special.j1(x) / x, atol=1e-12)
    np.testing.assert_array_equal(jinc(jnp.asarray(-x)), jinc(jnp.asarray(x)))
    assert jinc(jnp.asarray(0.0)) == 1
    inside, outside = airy_shares(jnp.asarray(x))
    expected = scipy.special.j0(x) ** 2 + scipy.special.j1(x) ** 2
    np.testing.assert_allclose(outside, expected, atol=1e-12)
    np.testing.assert_allclose(inside, 1 - expected, atol=1e-12)
    np.testing.assert_allclose(inside[0], x[0] ** 2 / 4, rtol=1e-6)


@pytest.mark.parametrize("x", [0.0, 1.3, 25.0, 25.1, 400.0])
def test_derivatives_of_jinc(x):
    j2, j3 = scipy.special.jv(2, x), scipy.special.jv(3, x)
    first = -2 * j2 / x if x else 0.0
    second = 2 * j3 / x - 2 * j2 / x**2 if x else -0.25
    np.testing.assert_allclose(_derivatives_of_jinc(x), (first, second), atol=1e-12)
