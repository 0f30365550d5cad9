import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from blurjax import features

IMAGES = np.random.default_rng(3).uniform(size=(2, 9, 12))


@pytest.mark.parametrize("size", [1, 5, 15])
def test_local_mean_is_scipys(size):
    expected = scipy.ndimage.uniform_filter(IMAGES, size, mode="nearest", axes=(1, 2))
    mean = jax.jit(lambda x: features.local_mean(x, size=size))
    np.testing.assert_allclose(mean(IMAGES), expected, rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(mean)(IMAGES), expected, rtol=1e-12)
    narrow = mean(IMAGES.astype(np.float32))
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, expected, rtol=1e-6)


def test_local_mean_does_not_lose_small_values_beside_large_ones():
    # A running sum in float32 would.
    image = jnp.full((1, 200), 1e-3, jnp.float32).at[0, 0].set(1e5)
    np.testing.assert_allclose(
        features.local_mean(image, size=5)[0, 3:], np.float32(1e-3), rtol=1e-6
    )
    half = features.local_mean(jnp.full((300, 3), 0.1, jnp.bfloat16), size=301)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_array_equal(half, jnp.asarray(0.1, jnp.bfloat16))


def test_gradients_of_local_means_are_sums_of_windows():
    # The map is symmetric but for the repeated border: far from it, its adjoint is itself.
    weight = np.zeros((9, 12))
    weight[3:6, 3:9] = IMAGES[0, 3:6, 3:9]
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(weight * features.local_mean(x, size=3))))
    expected = scipy.ndimage.uniform_filter(weight, 3)
    np.testing.assert_allclose(gradient(IMAGES[1]), expected, atol=1e-15)


@pytest.mark.parametrize("size", [0, -1, 4])
def test_local_mean_needs_a_pixel_in_the_middle(size):
    with pytest.raises(ValueError, match="odd"):
        features.local_mean(jnp.ones((5, 5)), size=size)
