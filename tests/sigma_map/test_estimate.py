"""sigma_map.estimate: what is made of a network's map, and reasons where there is none."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import checkpoint, data, images, imaging, sigma_map, weights
from blurjax.sigma_map import _estimate

CONFIG = sigma_map.Config(width=8)


@pytest.fixture
def half_flat():
    """Texture at the left, and at the right nothing but some noise."""
    rng = np.random.default_rng(0)
    image = 0.5 + 0.01 * rng.standard_normal((80, 120))
    image[:, :60] += 0.3 * rng.uniform(-1, 1, (80, 60))
    return np.clip(image, 0, 1).astype(np.float32)


@pytest.fixture
def answered(monkeypatch):
    """Puts a made-up prediction in the network's place."""

    def put(sigma, spread):
        def tiled(variables, gray, config, *, stride=4, way="expectation"):
            fields = (np.broadcast_to(np.float32(x), gray.shape)[None] for x in (sigma, spread))
            return sigma_map.Prediction(*fields)

        monkeypatch.setattr(_estimate, "tiled", tiled)

    return put


def estimate(image, **options):
    return sigma_map.estimate(image, {}, CONFIG, **options)


def test_valid_is_where_there_is_texture_and_the_network_is_sure(half_flat, answered):
    spread = np.full(half_flat.shape, 0.2, np.float32)
    spread[:30] = 0.6
    answered(1.5, spread)
    answer = estimate(half_flat)
    assert answer.status == "ok"
    assert answer.sigma.dtype == answer.spread.dtype == np.float32 and answer.valid.dtype == bool
    assert answer.sigma.shape == answer.spread.shape == answer.valid.shape == half_flat.shape
    assert not answer.valid[:30].any() and answer.valid[30:, :55].all()
    assert not answer.valid[:, 75:].any()
    # What is not valid keeps what the network said.
    np.testing.assert_array_equal(answer.sigma, 1.5)
    np.testing.assert_array_equal(answer.spread, spread)
    assert estimate(half_flat, threshold=0.7).valid[:30, :55].all()


def test_what_is_not_finite_is_not_valid(half_flat, answered):
    sigma, spread = np.ones((2, *half_flat.shape), np.float32)
    sigma[40, 10], spread[40, 20] = np.nan, np.nan
    answered(sigma, spread / 5)
    valid = estimate(half_flat).valid
    assert valid[40, 5] and not valid[40, 10] and not valid[40, 20]
    for smoothing in _estimate.SMOOTHING:
        np.testing.assert_allclose(estimate(half_flat, smoothing=smoothing).sigma, 1, atol=1e-5)


@pytest.mark.parametrize("smoothing", _estimate.SMOOTHING)
def test_smoothing_makes_a_noisy_map_better(half_flat, answered, smoothing):
    noisy = 1.5 + 0.3 * np.random.default_rng(1).standard_normal(half_flat.shape)
    answered(noisy, 0.2)
    before, after = estimate(half_flat), estimate(half_flat, smoothing=smoothing)
    assert after.sigma.dtype == np.float32
    assert np.std(after.sigma - 1.5) < 0.3 * np.std(before.sigma - 1.5)
    np.testing.assert_array_equal(after.spread, before.spread)
    np.testing.assert_array_equal(after.valid, before.valid)


def test_guided_smoothing_listens_to_the_sure(half_flat, answered):
    unsure = np.random.default_rng(2).uniform(size=half_flat.shape) < 0.3
    answered(np.where(unsure, 3.0, 1.0), np.where(unsure, 2.0, 0.1))
    answer = estimate(half_flat, smoothing="guided")
    assert np.abs(answer.sigma[20:-20, 20:40] - 1).max() < 0.1


def test_filling_replaces_only_what_is_not_valid(half_flat, answered):
    answered(np.where(np.arange(120) < 60, 1.0, 3.0), np.where(np.arange(120) < 60, 0.1, 0.9))
    plain, filled = estimate(half_flat), estimate(half_flat, fill=True)
    np.testing.assert_array_equal(filled.valid, plain.valid)
    np.testing.assert_array_equal(filled.spread, plain.spread)
    np.testing.assert_array_equal(filled.sigma[plain.valid], plain.sigma[plain.valid])
    np.testing.assert_allclose(filled.sigma[~plain.valid], 1, atol=1e-3)
    assert plain.sigma[0, -1] == 3


@pytest.mark.parametrize("fill", [False, True])
def test_too_little_texture_is_an_answer(half_flat, answered, fill):
    answered(2.0, 0.1)
    flat = estimate(half_flat[:, 80:], fill=fill)
    assert flat.status.startswith("too little texture: the image is flat")
    assert not flat.valid.any() and np.all(flat.sigma == 2)
    answered(2.0, 0.6)
    unsure = estimate(half_flat, fill=fill)
    assert unsure.status == "too little texture: sigma is nowhere known to within 0.5 px"
    assert not unsure.valid.any()


def test_too_small_an_image_is_refused():
    answer = estimate(np.random.default_rng(0).uniform(size=(31, 200)))
    assert answer.status == "image is 31x200 pixels; sigma_map needs at least 32x32"
    assert answer.sigma.shape == answer.spread.shape == answer.valid.shape == (31, 200)
    assert np.isnan(answer.sigma).all() and np.isnan(answer.spread).all()
    assert not answer.valid.any()


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (np.full((64, 64), 200.0), {}, r"\[200, 200\]; scale it"),
        (np.zeros((64, 64, 4)), {}, r"shape \(64, 64, 4\)"),
        (np.zeros((64, 64)), {"smoothing": "bilateral"}, "choose None or one of"),
        (np.zeros((64, 64)), {"threshold": 0.0}, "above 0"),
    ],
)
def test_what_cannot_be_meant_is_refused(image, options, message):
    # Where the annotation is checked, a smoothing that there is not gets no further.
    with pytest.raises(Exception, match=rf"{message}|Literal"):
        estimate(image, **options)


@pytest.mark.slow
def test_a_fresh_network_answers_at_the_size_of_the_image(half_flat):
    variables = sigma_map.init(jax.random.key(0), CONFIG)
    colour = np.repeat(half_flat[..., None], 3, axis=-1)
    answer = sigma_map.estimate(colour, variables, CONFIG, threshold=10.0)
    assert answer.status == "ok" and answer.sigma.shape == half_flat.shape
    assert np.all(np.isfinite(answer.sigma)) and np.all(answer.spread > 0)
    levels = np.rint(half_flat * 65535).astype(np.uint16)
    again = sigma_map.estimate(levels, variables, CONFIG, threshold=10.0)
    np.testing.assert_allclose(again.sigma, answer.sigma, atol=1e-2)


@pytest.mark.slow
def test_load_reads_files_and_checkpoints(tmp_path):
    variables = sigma_map.init(jax.random.key(0), CONFIG)
    file = weights.save(tmp_path / "w.npz", variables, CONFIG, {})
    loaded, config = sigma_map.load(file)
    assert config == CONFIG
    # float16 on disk.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-3), loaded, variables)
    # Of a run's folder the checkpoints of its last stage, or a folder of checkpoints itself.
    place = tmp_path / "run" / "checkpoints" / "train"
    checkpoint.save(place, 7, {"variables": variables}, {"config": dataclasses.asdict(CONFIG)})
    restored, same = sigma_map.load(tmp_path / "run")
    assert same == CONFIG == sigma_map.load(place)[1]
    jax.tree.map(np.testing.assert_array_equal, restored, variables)
    with pytest.raises(weights.WeightsError, match=r"nowhere.npz does not exist"):
        sigma_map.load("nowhere.npz")


@pytest.mark.parametrize(("name", "bound"), [(None, 0.2), ("published", 0.35)])
def test_the_shipped_networks_see_a_ramp(name, bound):
    # Grass: a texture that neither was trained on.
    texture = jnp.asarray(images.gray(images.read(data.embedded_path("grass.png"))))[:256, :320]
    truth = imaging.ramp_map(texture.shape, np.float32(0.3), np.float32(3.0))
    blurred = imaging.quantise(imaging.blur_varying(texture, truth, sampling="point"))
    answer = sigma_map.estimate(blurred, *sigma_map.load(name), stride=8)
    assert answer.status == "ok" and answer.valid.mean() > 0.5
    error = (answer.sigma - np.asarray(truth))[answer.valid]
    assert np.sqrt(np.mean(error**2)) < bound
