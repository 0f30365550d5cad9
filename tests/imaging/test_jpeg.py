"""imaging.jpeg against Pillow's encoder."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from blurjax import data, imaging


@pytest.fixture(scope="module")
def photograph():
    return jnp.asarray(data.embedded("test")[0][:90, :101], jnp.float32)


def by_pillow(image, quality):
    file = io.BytesIO()
    levels = np.round(255 * np.asarray(image)).astype(np.uint8)
    Image.fromarray(levels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file)) / 255


@pytest.mark.parametrize("quality", [10, 50, 75, 95])
def test_is_what_pillow_makes_but_for_ties(photograph, quality):
    ours, theirs = imaging.jpeg(photograph, quality), by_pillow(photograph, quality)
    off = np.abs(255 * (np.asarray(ours) - theirs))
    # Its cosine transform is in integers: in one block of ten a coefficient near the middle
    # between two steps falls to the other side.
    by_block = off[:88, :96].reshape(11, 8, 12, 8).max((1, 3))
    assert np.mean(by_block < 1.5) > (0.85 if quality < 90 else 0.55)
    assert np.mean(off) < 0.4
    assert np.abs(np.asarray(photograph) - theirs).max() > 3 / 255
    assert ours.dtype == jnp.float32 and ours.shape == photograph.shape


def test_quality_for_each_image_and_transformations(photograph):
    images = jnp.stack([photograph, photograph[::-1]])
    quality = jnp.array([30.0, 90.0], jnp.float32)
    both = imaging.jpeg(images, quality)
    for i in range(2):
        np.testing.assert_allclose(both[i], imaging.jpeg(images[i], quality[i]), atol=1e-6)
    again = jax.jit(jax.vmap(imaging.jpeg))(images, quality)
    np.testing.assert_allclose(again, both, atol=1e-6)
    half = imaging.jpeg(photograph.astype(jnp.bfloat16), 50)
    assert half.dtype == jnp.bfloat16


def test_gradient_is_straight_through(photograph):
    window = 0.1 + 0.8 * photograph[:16, :16].astype(jnp.float64)
    slope = jax.random.normal(jax.random.key(0), window.shape)
    gradient = jax.grad(lambda x: jnp.vdot(imaging.jpeg(x, 60), slope))(window)
    np.testing.assert_allclose(gradient, slope, atol=1e-6)
    assert jax.grad(lambda q: imaging.jpeg(window, q).sum())(60.0) == 0


@pytest.mark.parametrize(
    ("image", "quality", "error", "message"),
    [
        (jnp.zeros((8, 8)), 0, ValueError, "quality is 0; JPEG's goes from 1 to 100"),
        (jnp.zeros((8, 8)), jnp.ones(3), ValueError, "quality has shape"),
        (jnp.zeros((8, 8), jnp.uint8), 50, TypeError, "dtype uint8"),
    ],
)
def test_refuses(image, quality, error, message):
    with pytest.raises(error, match=message):
        imaging.jpeg(image, quality)


@pytest.mark.parametrize("quality", [30, 75, 90])
def test_quality_is_found_wherever_the_grid_begins(photograph, quality):
    whole = jnp.asarray(data.embedded("test")[0][:240, :240], jnp.float32)
    compressed = by_pillow(whole, quality)
    assert abs(imaging.jpeg_quality(compressed) - quality) <= 1
    assert abs(imaging.jpeg_quality(compressed[3:, 5:]) - quality) <= 1


def test_no_compression_is_not_found():
    whole = jnp.asarray(data.embedded("test")[0][:240, :240], jnp.float32)
    for image in (whole, imaging.blur_gaussian(whole, 2.0), jnp.zeros((64, 64)), whole[:9, :9]):
        assert imaging.jpeg_quality(imaging.quantise(image)) == 0
    with pytest.raises(ValueError, match=r"shape \(2, 8, 8\); give one gray image"):
        imaging.jpeg_quality(jnp.zeros((2, 8, 8)))


def test_steps_are_those_of_the_encoder():
    file = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(file, "JPEG", quality=63)
    table = np.array(Image.open(file).quantization[0]).reshape(8, 8)
    np.testing.assert_array_equal(imaging.jpeg_steps(63), table)
