import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import skimage.feature

from blurjax import data
from blurjax.sharpness import _baselines as baselines

IMAGES = np.random.default_rng(11).uniform(size=(2, 20, 23))


@pytest.mark.filterwarnings("ignore:Applying `local_binary_pattern`")
def test_patterns_are_those_of_skimage():
    # Without smoothing, and away from the border, beyond which skimage takes 0.
    pattern = jax.jit(lambda x: baselines.lbp(x, windows=(1,), threshold=0))
    sharp = pattern(IMAGES[0])
    codes = skimage.feature.local_binary_pattern(IMAGES[0], 8, 1, method="uniform")
    inside = np.s_[1:-1, 1:-1]
    np.testing.assert_array_equal(sharp[inside], codes[inside] >= 6)
    assert 0.1 < sharp.mean() < 0.9
    framed = np.pad(IMAGES[0], 1, mode="edge")
    np.testing.assert_array_equal(sharp, pattern(framed)[inside])


def test_every_pattern_of_a_circle():
    # Diagonals so far up or down that they decide about their own samples; the sides a little.
    places = [(1, 2), (0, 2), (0, 1), (0, 0), (1, 0), (2, 0), (2, 1), (2, 2)]
    patterns = np.array(list(itertools.product([0, 1], repeat=8)))
    patches = np.full((256, 3, 3), 0.5)
    for n, (i, j) in enumerate(places):
        patches[:, i, j] += (0.4 if n % 2 else 0.02) * (2 * patterns[:, n] - 1)
    changes = np.sum(patterns != np.roll(patterns, 1, axis=1), axis=1)
    codes = np.where(changes <= 2, patterns.sum(axis=1), 9)
    assert set(codes) == set(range(10))
    sharp = jax.jit(lambda x: baselines.lbp(x, windows=(1,)))(patches)
    np.testing.assert_array_equal(sharp[:, 1, 1], codes >= 6)


def test_the_threshold_is_reached_at_equality_and_interpolated_on_diagonals():
    t = np.sqrt(0.5)
    diagonal = t**2 * 0.75 + 2 * t * (1 - t) * 0.25
    # Four neighbours that reach it, and none between them, are sharp texture; none at all is not.
    cases = [
        (-0.5, 0.25, 0.25, 1),  # the sides just so
        (-0.5, 0.25, 0.2501, 0),
        (0.75, 0.25, diagonal - 1e-9, 1),  # the diagonals
        (0.75, 0.25, diagonal + 1e-9, 0),
    ]
    centre = jax.jit(lambda x, limit: baselines.lbp(x, windows=(1,), threshold=limit)[1, 1])
    for corner, side, limit, expected in cases:
        patch = np.array([[corner, side, corner], [side, 0, side], [corner, side, corner]])
        assert centre(patch, limit) == expected, (corner, side, limit)


def test_windows_are_averaged_with_the_border_repeated():
    sharp = np.asarray(baselines.lbp(IMAGES, windows=(1,)))
    means = [
        scipy.ndimage.uniform_filter(sharp, n, mode="nearest", axes=(1, 2)) for n in (11, 15, 21)
    ]
    np.testing.assert_allclose(baselines.lbp(IMAGES), np.mean(means, axis=0), atol=1e-12)
    with pytest.raises(ValueError, match="windows"):
        baselines.lbp(IMAGES, windows=())


def test_gradient_energy_is_scipys():
    padded = np.pad(IMAGES[0], 1, mode="edge")
    down, right = np.gradient(padded)
    expected = scipy.ndimage.uniform_filter((down**2 + right**2)[1:-1, 1:-1], 5, mode="nearest")
    energy = jax.jit(lambda x: baselines.gradient_energy(x, window=5))
    np.testing.assert_allclose(energy(IMAGES[0]), expected, rtol=1e-12)
    slope = jax.grad(lambda x: jnp.sum(energy(x)))(jnp.zeros((20, 23)))
    np.testing.assert_array_equal(slope, 0)  # finite where nothing changes


@pytest.mark.parametrize("name", ["lbp", "gradient_energy"])
def test_the_blurred_half_is_less_sharp(name):
    image = data.embedded("test")[0][:128, 40:240].astype(np.float32)
    image[:, 100:] = scipy.ndimage.gaussian_filter(image, 2.5)[:, 100:]
    sharpness = jax.jit(getattr(baselines, name))
    value = sharpness(image)
    assert value.dtype == jnp.float32 and value.shape == image.shape
    assert value[:, :80].mean() > 2 * value[:, 120:].mean()
    both = jax.vmap(sharpness)(np.stack([image, image[::-1]]))
    np.testing.assert_allclose(both[0], value, atol=1e-6)
    np.testing.assert_allclose(both[1], value[::-1], atol=1e-6)
