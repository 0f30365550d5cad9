import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from blurjax import features


@pytest.fixture
def patches(getkey):
    return jax.random.uniform(getkey(), (3, 32, 32))


def test_log_spectrum_is_the_formula(patches):
    window = np.outer(np.hanning(34)[1:-1], np.hanning(34)[1:-1])
    x = np.asarray(patches)
    spectrum = np.fft.fft2((x - x.mean((1, 2), keepdims=True)) * window)
    expected = np.fft.fftshift(0.5 * np.log(1e-6 + np.abs(spectrum) ** 2), axes=(1, 2))
    np.testing.assert_allclose(features.log_spectrum(patches), expected, rtol=1e-9)


def test_half_spectrum_holds_the_whole_one(patches):
    half = features.half_spectrum(patches, size=45)
    assert half.shape == (3, 45, 23)
    # The rows of the zeroth column mirror each other: the eleven we drop say nothing new.
    np.testing.assert_allclose(half[:, 34:, 0], half[:, 11:0:-1, 0], rtol=1e-8)


def test_brightness_does_not_matter_but_contrast_shifts(patches):
    spectrum = features.log_spectrum(patches)
    np.testing.assert_allclose(features.log_spectrum(patches + 0.3), spectrum, atol=1e-6)
    # Away from the floor, twice the contrast adds log 2.
    np.testing.assert_allclose(
        features.log_spectrum(2 * patches, eps=1e-20),
        features.log_spectrum(patches, eps=1e-20) + np.log(2),
        atol=1e-9,
    )


def test_a_grating_shows_where_it_belongs():
    column = np.arange(32)
    grating = jnp.asarray(np.tile(0.5 + 0.4 * np.cos(2 * np.pi * 8 * column / 32), (32, 1)))
    peak = np.unravel_index(np.argmax(features.log_spectrum(grating)), (32, 32))
    assert peak[0] == 16 and peak[1] in (8, 24)


def test_gradients_are_finite_even_for_flat_patches(patches):
    f = jax.jit(lambda x: features.half_spectrum(x, size=45))
    check_grads(f, (patches[:1],), order=1, modes=["rev"], atol=1e-4, rtol=1e-4)
    flat = jax.grad(lambda x: features.log_spectrum(x).sum())(jnp.full((32, 32), 0.5))
    assert jnp.all(jnp.isfinite(flat))
    some = jax.grad(lambda x: (features.log_spectrum(x) ** 2).sum())(patches[0])
    assert jnp.abs(some).max() > 1e-2


def test_min_max(patches):
    stretched = features.min_max(patches)
    np.testing.assert_allclose(stretched.min((1, 2)), 0)
    np.testing.assert_allclose(stretched.max((1, 2)), 1)
    np.testing.assert_array_equal(features.min_max(jnp.full((4, 4), 0.7)), np.zeros((4, 4)))


def test_gradient_magnitude_of_a_plane():
    row, column = np.mgrid[:6, :7]
    plane = jnp.asarray(0.3 * row + 0.4 * column)
    np.testing.assert_allclose(features.gradient_magnitude(plane), np.full((4, 5), 0.5))
    flat = jax.grad(lambda x: features.gradient_magnitude(x).sum())(jnp.ones((5, 5)))
    np.testing.assert_array_equal(flat, np.zeros((5, 5)))


def test_contrast_is_the_standard_deviation(patches):
    np.testing.assert_allclose(features.contrast(patches), np.std(patches, axis=(1, 2)))


def test_dtype_is_kept(patches):
    single = patches.astype(jnp.float32)
    for f in (
        features.log_spectrum,
        lambda x: features.half_spectrum(x, size=45),
        features.min_max,
        features.gradient_magnitude,
        features.contrast,
    ):
        assert jax.jit(f)(single).dtype == jnp.float32


def test_refusals(patches):
    with pytest.raises(ValueError, match="32x30"):
        features.log_spectrum(patches[..., :30])
    with pytest.raises(ValueError, match="size is 16"):
        features.half_spectrum(patches, size=16)


def test_spectral_edges_are_periodic_central_differences():
    patches = jax.random.uniform(jax.random.key(3), (2, 32, 32), jnp.float64)
    edges = features.spectral_edges(patches)
    spectrum = np.asarray(features.log_spectrum(patches))
    down = (np.roll(spectrum, -1, 1) - np.roll(spectrum, 1, 1)) / 2
    right = (np.roll(spectrum, -1, 2) - np.roll(spectrum, 1, 2)) / 2
    np.testing.assert_allclose(edges, np.hypot(down, right), atol=1e-12)
    gradient = jax.grad(lambda x: features.spectral_edges(x).sum())(jnp.full((1, 32, 32), 0.5))
    assert jnp.all(jnp.isfinite(gradient))
