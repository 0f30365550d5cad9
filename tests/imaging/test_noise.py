"""Noise, quantisation and the response curve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from blurjax import imaging

DTYPES = (jnp.bfloat16, jnp.float32, jnp.float64)


def test_noise_is_determined_by_the_key():
    image = jnp.full((6, 7), 0.5)
    a, b, c = (imaging.add_noise(jax.random.key(s), image, 0.1) for s in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert not np.any(a == c)


def test_noise_statistics_for_each_image():
    sigma = jnp.array([[0.0, 0.01, 0.2]])
    image = jnp.full((2, 3, 200, 250), 0.5)
    noise = imaging.add_noise(jax.random.key(3), image, sigma) - image
    assert jnp.abs(noise[:, 0]).max() == 0
    # Fifty thousand samples: the standard error of a deviation is 0.3 %, of a mean 0.4 %.
    expected = np.broadcast_to(sigma, (2, 3))
    np.testing.assert_allclose(noise.std((-2, -1)), expected, rtol=0.02)
    assert np.all(np.abs(noise.mean((-2, -1))) <= 0.02 * expected)
    z = noise[0, 2] / 0.2
    assert abs((z**3).mean()) < 0.06 and abs((z**4).mean() - 3) < 0.12
    assert abs((z[1:] * z[:-1]).mean()) < 0.02


def test_sigma_follows_the_first_axes_also_with_colours():
    images = jnp.zeros((2, 50, 60, 3))
    noisy = imaging.add_noise(jax.random.key(0), images, jnp.array([0.0, 1.0]))
    assert noisy[0].std() == 0 and abs(noisy[1].std() - 1) < 0.05
    with pytest.raises(ValueError, match=r"\(3,\), but its axes must be the first axes"):
        imaging.add_noise(jax.random.key(0), images, jnp.ones(3))
    with pytest.raises(ValueError, match="the last two left out"):
        imaging.add_noise(jax.random.key(0), jnp.zeros((4, 5)), jnp.ones(4))


def test_noise_gradients_and_transformations():
    key, image = jax.random.key(0), jnp.full((2, 4, 5), 0.5)
    sigma = jnp.array([0.1, 0.5])
    z = imaging.add_noise(key, image, 1.0) - image

    def total(image, sigma):
        return (imaging.add_noise(key, image, sigma) ** 2).sum() / 2

    # In closed form: the derivative of the noisy image is 1 to the image and z to sigma.
    noisy = image + sigma[:, None, None] * z
    to_image, to_sigma = jax.jit(jax.grad(total, (0, 1)))(image, sigma)
    np.testing.assert_allclose(to_image, noisy, rtol=1e-9)
    np.testing.assert_allclose(to_sigma, (noisy * z).sum((1, 2)), rtol=1e-9)
    keys = jax.random.split(key, 2)
    mapped = jax.vmap(imaging.add_noise)(keys, image, sigma)
    np.testing.assert_allclose(mapped[1], imaging.add_noise(keys[1], image[1], sigma[1]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_are_kept(dtype):
    image = jnp.full((4, 5), 0.5, dtype)
    for sigma in (0.1, jnp.float32(0.1), np.float64(0.1), 1):
        assert imaging.add_noise(jax.random.key(0), image, sigma).dtype == dtype
    for f in (imaging.quantise, imaging.linearise, imaging.encode):
        assert f(image).dtype == dtype
        assert jax.grad(lambda x, f=f: f(x).sum())(image).dtype == dtype


@pytest.mark.parametrize("bits", (1, 8, 12, 16))
def test_quantise_levels(bits):
    levels = 2**bits - 1
    image = np.random.default_rng(0).uniform(-0.2, 1.2, 1000)
    result = np.asarray(imaging.quantise(image, bits=bits))
    np.testing.assert_allclose(result * levels, np.round(result * levels), atol=1e-9)
    assert np.abs(result - np.clip(image, 0, 1)).max() <= 0.5 / levels + 1e-15
    np.testing.assert_array_equal(imaging.quantise(result, bits=bits), result)
    assert result.min() == 0 and result.max() == 1


def test_quantise_agrees_with_an_eight_bit_file():
    stored = np.arange(256, dtype=np.uint8)
    image = stored.astype(np.float32) / 255
    np.testing.assert_array_equal(np.round(np.asarray(imaging.quantise(image)) * 255), stored)


def test_quantise_has_a_straight_through_gradient():
    image = jnp.array([-0.1, 0.0, 0.3, 1.0, 1.1])
    gradient = jax.grad(lambda x: imaging.quantise(x).sum())(image)
    np.testing.assert_array_equal(gradient, [0.0, 1.0, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(
        jax.jit(jax.vmap(imaging.quantise))(image), imaging.quantise(image)
    )


@pytest.mark.parametrize("bits", (0, 17))
def test_quantise_refuses_other_bits(bits):
    with pytest.raises(ValueError, match="cameras store 1 to 16"):
        imaging.quantise(jnp.ones(3), bits=bits)


def test_curve_values_and_inverse():
    # Values of the standard's own formula, by hand: 0.5 -> 0.21404114, 0.04 -> 0.04 / 12.92.
    v = jnp.array([0.0, 0.04, 0.5, 1.0])
    np.testing.assert_allclose(
        imaging.linearise(v), [0, 0.04 / 12.92, 0.21404114048, 1.0], atol=1e-10
    )
    v = jnp.linspace(-0.5, 1.5, 4001)
    np.testing.assert_allclose(imaging.encode(imaging.linearise(v)), v, atol=5e-7)
    assert jnp.all(jnp.diff(imaging.linearise(v)) > 0)


@pytest.mark.parametrize("f", (imaging.linearise, imaging.encode))
def test_curve_gradients_are_finite_everywhere(f):
    x = jnp.array([-1e3, -0.055, -1e-12, 0.0, 1e-300, 0.0031308, 0.04045, 1.0, 1e3])
    with jax.debug_nans(True):
        first = jax.jit(jax.vmap(jax.grad(f)))(x)
        second = jax.jit(jax.vmap(jax.grad(jax.grad(f))))(x)
    assert jnp.all(jnp.isfinite(first)) and jnp.all(first > 0) and jnp.all(jnp.isfinite(second))
    check_grads(jax.jit(f), (jnp.array([-0.1, 0.001, 0.2, 0.9]),), 2, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "f",
    (
        imaging.quantise,
        imaging.linearise,
        imaging.encode,
        lambda x: imaging.add_noise(jax.random.key(0), x, 0.1),
    ),
)
def test_integers_are_refused(f):
    with pytest.raises(TypeError, match=r"dtype uint8.*/ 255"):
        f(np.zeros((4, 4), np.uint8))
