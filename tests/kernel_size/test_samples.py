import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import convolve2d

from blurjax import data, kernel_size, psf
from blurjax.kernel_size import Config
from blurjax.kernel_size import samples as room

CASCADE = Config(body="cascade", depth=10, width=4)


@pytest.fixture(scope="module")
def sharp():
    return data.frames(data.embedded("train"), (240, 300), least=160)


def test_kernels_have_exactly_the_size_asked_for():
    wanted = jnp.array([5, 21, 47, 62, 95] * 3)
    kernels, measured = kernel_size.sample_kernels(jax.random.key(0), wanted, n=15)
    assert kernels.shape == (15, 101, 101)
    np.testing.assert_allclose(jnp.sum(kernels, axis=(1, 2)), 1, atol=1e-5)
    fits = np.asarray(measured).max(axis=1) <= 96
    assert fits.sum() >= 8
    np.testing.assert_array_equal(np.asarray(measured)[fits, 1], np.asarray(wanted)[fits])
    np.testing.assert_array_equal(np.asarray(psf.extent(kernels))[fits], np.asarray(measured)[fits])
    # Given back as too long, rather than cut.
    assert np.all(np.asarray(measured)[~fits].max(axis=1) > 96)


def test_varied_kernels_are_measured_too():
    wanted = jnp.full((24,), 31)
    kernels, measured = kernel_size.sample_kernels(
        jax.random.key(1), wanted, n=24, axis=None, varied=1.0
    )
    np.testing.assert_array_equal(psf.extent(kernels), measured)
    longer = np.asarray(measured).max(axis=1)
    assert len(np.unique(longer)) > 1 and np.all(np.abs(longer - 31) <= 8)
    assert float(kernels.min()) >= 0


@pytest.mark.parametrize("kind", ["line", "defocus", "gaussian"])
def test_other_blurs_are_of_measured_size_too(kind):
    wanted = jnp.array([1, 5, 21, 95, 95, 41])
    kernels, measured = room._other_kernels(jax.random.key(4), wanted, kind)
    np.testing.assert_allclose(jnp.sum(kernels, axis=(1, 2)), 1, atol=1e-5)
    np.testing.assert_array_equal(psf.extent(kernels), measured)
    longer = np.asarray(measured).max(axis=1)
    if kind == "line":
        np.testing.assert_array_equal(longer, wanted)
        # Every third along an axis.
        assert np.asarray(measured)[3].min() == 1
    else:
        # Round, and up to three fifths of it.
        np.testing.assert_array_equal(measured[:, 0], measured[:, 1])
        assert np.all(np.abs(longer - (1 + 0.6 * (np.asarray(wanted) - 1))) <= 3)


def test_blurred_images_are_8_bit_and_the_same_for_the_same_key(sharp):
    plain = {"light": "encoded", "degraded": 0.0, "varied": 0.0, "n": 8}
    key = jax.random.key(5)
    batch = kernel_size.sample(key, sharp, Config(), **plain)
    again = kernel_size.sample(key, sharp, Config(), **plain)
    for a, b in zip(batch, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert batch.images.shape == (8, 240, 300) and batch.images.dtype == jnp.float32
    assert np.all(np.asarray(batch.inside) >= 128) and 0 <= float(batch.rejected) < 1
    levels = np.asarray(batch.images) * 255
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-3)


def test_a_circular_convolution_is_valid_where_it_says(sharp):
    image = jnp.asarray(sharp.images[:1], jnp.float32) / 255
    kernels, _ = kernel_size.sample_kernels(jax.random.key(2), jnp.array([21]), n=1)
    reach = np.asarray(psf.extent(kernels, fraction=0.0))[0] // 2
    whole = np.asarray(room._blurred(image, kernels))[0]
    tight = np.asarray(kernels)[0][50 - reach[0] : 51 + reach[0], 50 - reach[1] : 51 + reach[1]]
    assert tight.sum() == pytest.approx(1, abs=1e-5)
    expected = convolve2d(np.asarray(image)[0], tight, mode="valid")
    inside = whole[reach[0] : 240 - reach[0], reach[1] : 300 - reach[1]]
    np.testing.assert_allclose(inside, expected, atol=1e-5)


@pytest.mark.slow
def test_patches_are_of_the_gradient_and_sizes_of_their_range(sharp):
    batch = kernel_size.sample(jax.random.key(3), sharp, CASCADE, n=20)
    assert batch.images.shape == (20, 128, 128)
    np.testing.assert_allclose(jnp.mean(batch.images, axis=(1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(jnp.std(batch.images, axis=(1, 2)), 1, atol=1e-2)
    some = np.asarray(batch.weight) > 0
    width = np.asarray(batch.size)[:, 1]
    np.testing.assert_array_equal(
        kernel_size.range_of(width)[some], np.repeat(np.arange(5), 4)[some]
    )
    assert np.all(np.isin(width[some], kernel_size.sizes(CASCADE)))
    # In photographs of 240 pixels there is no room for the largest: they are refused and counted.
    assert float(batch.rejected) > 0


@pytest.mark.slow
def test_patches_choose_between_gradient_and_intensity():
    ramp = jnp.broadcast_to(jnp.arange(160.0) ** 2, (1, 140, 160))
    ramp = ramp.astype(jnp.float64)
    gradient = kernel_size.patches(ramp, CASCADE)
    np.testing.assert_allclose(gradient[0, 0], gradient[0, 9], atol=1e-9)
    np.testing.assert_allclose(jnp.diff(gradient[0, 0], n=2), 0, atol=1e-9)  # Of a parabola.
    other = kernel_size.patches(ramp, dataclasses.replace(CASCADE, input="intensity"))
    assert float(jnp.min(jnp.diff(other[0, 0], n=2))) > 1e-5
    flat = kernel_size.patches(jnp.ones((1, 130, 131)), CASCADE)
    np.testing.assert_array_equal(flat, 0)


def test_bad_requests_are_refused(sharp):
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="multiple of 5"):
        kernel_size.sample(key, sharp, CASCADE, n=8)
    with pytest.raises(ValueError, match="light is 'dark'"):
        kernel_size.sample(key, sharp, Config(), light="dark")
    with pytest.raises(ValueError, match=r"100x200.*128x128"):
        kernel_size.sample(key, jnp.zeros((2, 100, 200)), Config())


def test_the_ranges_hold_the_published_classes():
    assert len(kernel_size.sizes(CASCADE)) == 38
    counts = np.bincount(kernel_size.range_of(kernel_size.sizes(CASCADE)))
    assert counts.tolist() == [8, 8, 7, 7, 8]
    assert kernel_size.range_of(np.array([3, 19, 20, 64, 97])).tolist() == [0, 0, 1, 4, 4]
