import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import checkpoint, data, imaging, kernel_size, psf, weights
from blurjax.kernel_size import Config, _estimate

CONFIG = Config(channels=8, lags=32)


@pytest.fixture(scope="module")
def variables():
    return kernel_size.init(jax.random.key(0), CONFIG)


@pytest.fixture
def answering(monkeypatch):
    """The network says 11 px high, within 9 and 14, and 20 px wide, within 16 and 30."""
    seen = []

    def looking(images, config, *, inside):
        seen.append((images, inside))
        return images

    def known(variables, views, config, *, decoding):
        assert decoding is None
        size, low, high = (jnp.array([pair]) for pair in ((11.0, 20.0), (9.0, 16.0), (14.0, 30.0)))
        return kernel_size.Prediction(size, low, high)

    monkeypatch.setattr(_estimate, "_views", looking)
    monkeypatch.setattr(_estimate, "_read", known)
    return seen


@pytest.fixture
def photograph():
    return data.embedded("test")[0][:200, :170]


def test_an_answer_has_names_and_a_size_for_the_kernels_array(answering, photograph):
    found = kernel_size.estimate(photograph, {}, CONFIG)
    assert found.status == "ok" and (found.width, found.height) == (20, 11)
    assert found.interval == {"width": (16, 30), "height": (9, 14)}
    assert found.size == 21
    images, inside = answering[0]
    assert images.shape == (1, 256, 192)
    np.testing.assert_array_equal(inside, [[200, 170]])
    np.testing.assert_array_equal(images[0, :200, :170], photograph)


def test_a_margin_widens_everything(answering, photograph):
    found = kernel_size.estimate(photograph, {}, CONFIG, margin=0.2)
    assert (found.width, found.height) == pytest.approx((24, 13.2))
    assert found.interval["height"] == pytest.approx((10.8, 16.8))
    assert found.size == 25
    for wrong in (-0.1, np.nan):
        with pytest.raises(ValueError, match="margin is"):
            kernel_size.estimate(photograph, {}, CONFIG, margin=wrong)


def test_of_large_images_the_middle_is_looked_at(answering):
    image = np.random.default_rng(0).random((1500, 140), np.float32)
    kernel_size.estimate(image, {}, CONFIG)
    images, inside = answering[0]
    np.testing.assert_array_equal(inside, [[1280, 140]])
    np.testing.assert_array_equal(images[0, :, :140], image[110:1390])


def test_images_without_an_answer_say_why(variables, photograph):
    small = kernel_size.estimate(photograph[:127], variables, CONFIG)
    assert small.status == "image is 127x170 pixels; kernel_size needs at least 128x128"
    assert np.isnan(small.width) and np.isnan(small.interval["height"][1]) and small.size == 0
    patch = Config(body="single", depth=10, width=4)
    assert "129x129" in kernel_size.estimate(photograph[:128], {}, patch).status
    flat = kernel_size.estimate(np.full((150, 150), 0.4), variables, CONFIG)
    assert flat.status == "too little texture: the image is flat"


@pytest.mark.slow
def test_padding_does_not_change_the_answer(variables, photograph):
    found = kernel_size.estimate(photograph, variables, CONFIG)
    exact = kernel_size.predict(variables, jnp.asarray(photograph)[None], CONFIG)
    expected = np.asarray(exact.size)[0]
    assert (found.height, found.width) == pytest.approx(expected, abs=1.0)
    low, high = found.interval["width"]
    assert low <= found.width <= high


def test_weights_come_from_files_and_checkpoints(variables, photograph, tmp_path):
    file = weights.save(tmp_path / "some.npz", variables, CONFIG, {"note": "random"})
    loaded, config = kernel_size.load(file)
    assert config == CONFIG
    a, b = (kernel_size.estimate(photograph, v, CONFIG) for v in (variables, loaded))
    assert a.width == pytest.approx(b.width, abs=0.2)  # float16
    meta = {"config": dataclasses.asdict(CONFIG)}
    checkpoint.save(tmp_path / "run", 1, {"variables": variables}, meta)
    assert kernel_size.load(tmp_path / "run")[1] == CONFIG
    with pytest.raises(weights.WeightsError, match=r"none\.npz"):
        kernel_size.load(tmp_path / "none.npz")


def test_the_shipped_weights_find_shakes():
    """On a photograph that they have not seen."""
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    points = jax.vmap(
        lambda key: psf.sample_trajectory(key, num_samples=1000, extent=21.0, axis=1)
    )(keys)
    kernels = psf.trajectory(points, size=61)
    np.testing.assert_array_equal(psf.extent(kernels)[:, 1], 21)
    sharp = jnp.asarray(data.embedded("test")[1])
    blurred = imaging.blur(sharp, kernels.astype(sharp.dtype), boundary="valid")
    found = [kernel_size.estimate(np.clip(image, 0, 1)) for image in np.asarray(blurred)]
    assert np.median([abs(each.width - 21) for each in found]) < 2
    held = [each.interval["width"][0] <= 21 <= each.interval["width"][1] for each in found]
    assert sum(held) >= 2
    with pytest.raises(ValueError, match=r"cascade.*without variables"):
        kernel_size.estimate(blurred[0], config=Config(body="cascade"))


def test_the_middle_of_an_image_is_framed():
    image = np.zeros((1300, 70), np.float32)
    image[10:1290] = 0.5
    padded, inside = kernel_size.framed(image)
    assert padded.shape == (1, 1280, 128) and inside.tolist() == [[1280, 70]]
    assert float(padded[0, :, :70].min()) == 0.5 and float(padded[0, :, 70:].max()) == 0
