import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import skimage.measure

from blurjax import data, metrics

IMAGES = np.random.default_rng(2).uniform(size=(2, 14, 17))


def laplacian_variance(image):
    return np.var(scipy.ndimage.laplace(image))


def sobel_energy(image):
    return np.mean(sum(scipy.ndimage.sobel(image, axis) ** 2 for axis in (0, 1)))


REFERENCES = {
    "variance_of_laplacian": laplacian_variance,
    "tenengrad": sobel_energy,
    "blur_effect": skimage.measure.blur_effect,
}


@pytest.fixture(scope="module")
def photograph():
    return jnp.asarray(data.embedded("test")[0][:120, 40:180], jnp.float32)


@pytest.mark.parametrize("name", REFERENCES)
def test_scores_are_the_references(name, photograph):
    score, reference = jax.jit(getattr(metrics, name)), REFERENCES[name]
    expected = [reference(image) for image in IMAGES]
    np.testing.assert_allclose(score(IMAGES), expected, rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(score)(IMAGES), expected, rtol=1e-12)
    # A photograph, as users have it.
    value = score(photograph)
    assert value.dtype == jnp.float32 and value.shape == ()
    np.testing.assert_allclose(value, reference(np.asarray(photograph, np.float64)), rtol=1e-5)


@pytest.mark.parametrize("size", [2, 31])
def test_blur_effect_of_any_size(size):
    expected = skimage.measure.blur_effect(IMAGES[0], h_size=size)
    np.testing.assert_allclose(metrics.blur_effect(IMAGES[0], size=size), expected, rtol=1e-12)


@pytest.mark.parametrize("name", REFERENCES)
def test_scores_follow_the_blur_of_a_photograph(name, photograph):
    blurred = [photograph] + [
        jnp.asarray(scipy.ndimage.gaussian_filter(photograph, sigma)) for sigma in (0.6, 1, 2, 4)
    ]
    change = np.diff(jax.jit(getattr(metrics, name))(jnp.stack(blurred)))
    assert (change > 0).all() if name == "blur_effect" else (change < 0).all()


@pytest.mark.parametrize("name", REFERENCES)
def test_scores_have_gradients(name):
    both = jax.jit(jax.value_and_grad(getattr(metrics, name)))
    image, direction = IMAGES
    (ahead, _), (behind, _) = (both(image + step * direction) for step in (1e-6, -1e-6))
    slope = np.sum(both(image)[1] * direction)
    np.testing.assert_allclose(slope, (ahead - behind) / 2e-6, rtol=1e-5)
    assert np.abs(slope) > 1e-3
    # Nothing infinite where nothing changes.
    value, gradient = both(np.full((14, 17), 0.3))
    np.testing.assert_allclose(value, 1 if name == "blur_effect" else 0, atol=1e-12)
    assert np.isfinite(gradient).all()


def test_blur_effect_refuses_what_it_cannot_measure():
    with pytest.raises(ValueError, match="size is 1"):
        metrics.blur_effect(IMAGES, size=1)
    with pytest.raises(ValueError, match="4 rows"):
        metrics.blur_effect(IMAGES[:, :3])
