import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from blurjax import data, sigma_map
from blurjax.sigma_map import Config
from blurjax.sigma_map import samples as room

PUBLISHED = Config(body="classifier")
REGRESSOR = Config()
PLAIN = {"light": "encoded", "sampling": "point", "degraded": 0.0, "augmented": False}


@pytest.fixture(scope="module")
def sharp():
    return jnp.asarray(data.tiles(data.embedded("train"), 160).images[:12])


def test_same_key_same_batch_and_all_in_range(sharp):
    batches = [sigma_map.sample(jax.random.key(3), sharp, PUBLISHED, n=32) for _ in range(2)]
    for a, b in zip(*batches, strict=True):
        np.testing.assert_array_equal(a, b)
    batch = batches[0]
    assert batch.images.shape == (32, 32, 32) and batch.images.dtype == jnp.float32
    levels = np.asarray(batch.images) * 255
    assert np.all((levels >= 0) & (levels <= 255))
    classes = np.asarray(batch.sigma) * 10
    np.testing.assert_allclose(classes, np.round(classes), atol=1e-5)
    assert classes.min() >= 1 and classes.max() <= 30 and len(np.unique(classes.round())) > 10


def test_the_regressors_maps_are_in_range_and_vary(sharp):
    batch = sigma_map.sample(jax.random.key(0), sharp, REGRESSOR, n=24)
    assert batch.images.shape == batch.sigma.shape == (24, 128, 128)
    sigma = np.asarray(batch.sigma)
    assert sigma.min() >= 0.1 - 1e-6 and sigma.max() <= 3.3 + 1e-5
    spans = np.ptp(sigma, axis=(1, 2))
    assert 1 <= np.sum(spans < 1e-5) < 16 and np.sum(spans > 0.5) > 5


@pytest.mark.parametrize("truncate", [2.0, 4.0])
def test_patches_are_scipys_gaussian_blur(truncate):
    sigma, reach = 1.7, room.margin(PUBLISHED)
    crop = np.random.default_rng(0).random((32 + 2 * reach, 32 + 2 * reach)).astype(np.float32)
    blurred = room._uniform(jnp.asarray(crop)[None], jnp.float32([sigma]), "point", reach, truncate)
    radius = int(4 * sigma + 0.5) if truncate == 4 else int(np.ceil(2 * sigma))
    expected = ndimage.gaussian_filter(crop, sigma, radius=radius)[reach:-reach, reach:-reach]
    np.testing.assert_allclose(blurred[0], expected, atol=1e-5)


def test_a_varying_blur_is_scipys_where_sigma_is_even(sharp):
    crops = sharp[:2].astype(jnp.float32) / 255
    sigma = jnp.full((2, 128, 128), 2.2, jnp.float32)
    crops = jnp.pad(crops, [(0, 0), (0, 0), (0, 0)])[:, :156, :156]
    blurred = room._varying(crops, sigma, "point", 14)
    for crop, found in zip(np.asarray(crops), np.asarray(blurred), strict=True):
        expected = ndimage.gaussian_filter(crop, 2.2)[14:-14, 14:-14]
        np.testing.assert_allclose(found, expected, atol=2e-4)


def test_the_two_samplings_have_the_variance_that_the_label_says():
    i = np.arange(-20, 21)
    for sigma in (0.35, 0.6, 1.0, 3.0):
        equal = float(room._area_sigma(jnp.float64(sigma)))
        profiles = [
            np.asarray(room._profile(jnp.float32(s), 20, rule, 20), np.float64)
            for s, rule in ((sigma, "point"), (equal, "area"))
        ]
        point, area = ((p * i**2).sum() for p in profiles)
        assert area == pytest.approx(point, rel=0.01)
        assert equal < sigma


@pytest.mark.slow
def test_options_do_what_they_say(sharp):
    flat = jnp.full_like(sharp, 128)
    key = jax.random.key(1)
    clean = sigma_map.sample(key, flat, PUBLISHED, n=32, **PLAIN)
    np.testing.assert_allclose(clean.images, 128 / 255, atol=1e-6)
    noisy = sigma_map.sample(key, flat, PUBLISHED, n=32, **PLAIN | {"degraded": 1.0})
    spread = np.asarray(noisy.images).std(axis=(1, 2)) * 255
    assert spread.max() > 1.5 and spread.max() < 3.6
    grays = sigma_map.sample(key, flat, PUBLISHED, n=32, **PLAIN | {"augmented": True})
    assert np.asarray(grays.images).mean(axis=(1, 2)).std() > 0.05
    encoded, linear = (
        sigma_map.sample(key, sharp, PUBLISHED, n=32, **PLAIN | {"light": light}).images
        for light in ("encoded", "linear")
    )
    assert 0.001 < float(jnp.abs(encoded - linear).mean()) < 0.05


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"light": "dim"}, "encoded, linear, mixed"),
        ({"sampling": "cell"}, "point, area, mixed"),
        ({"n": 7}, "pass an even n"),
    ],
)
def test_bad_options_are_refused_in_words(sharp, options, words):
    with pytest.raises(ValueError, match=words):
        sigma_map.sample(jax.random.key(0), sharp, PUBLISHED, **options)


def test_small_images_are_refused_in_words(sharp):
    with pytest.raises(ValueError, match="at least 156x156"):
        sigma_map.sample(jax.random.key(0), sharp[:, :150, :150], REGRESSOR)
