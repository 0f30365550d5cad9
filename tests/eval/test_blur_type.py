"""The evaluation runs on any folder and counts what it says it counts."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import blur_type, data, images, psf
from eval import blur_type as protocol
from eval import report

CONFIG = blur_type.Config()


@pytest.fixture(scope="module")
def tiles():
    return data.tiles(data.embedded("test"), 144, per_image=2)


@pytest.mark.slow
def test_every_photograph_gives_the_same_number_of_patches(tiles, monkeypatch):
    monkeypatch.setattr(protocol, "_CHUNK", 90)
    draw = functools.partial(
        protocol._ours, tiles=jnp.asarray(tiles.images), config=CONFIG, light="encoded"
    )
    batch = protocol._balanced(draw, jax.random.key(0), tiles.index, "textured", 6)
    counts = {(i, t): 0 for i in np.unique(tiles.index) for t in range(3)}
    for photograph, label in zip(batch.image, batch.label, strict=True):
        counts[photograph, label] += 1
    assert set(counts.values()) == {2}
    assert bool(jnp.all(blur_type.satisfies(jnp.asarray(batch.patches), "textured")))


def test_scipys_patches_are_labelled_and_textured(tiles):
    batch = protocol._by_scipy(jax.random.key(1), "textured", tiles=tiles.images, config=CONFIG)
    kept = np.asarray(batch.weight) > 0
    assert 0.2 < kept.mean() < 1
    assert bool(jnp.all(blur_type.satisfies(batch.patches[kept], "textured")))


@pytest.mark.parametrize(("name", "size", "angle"), [("motion", 9.0, 0.5), ("defocus", 4.0, 0.0)])
def test_the_independent_kernels_are_the_same_blurs(name, size, angle):
    mask = protocol._mask(name, size, angle)
    np.testing.assert_allclose(mask.sum(), 1)
    ours = protocol._kernel(name, size, angle, CONFIG)
    width = mask.shape[0]
    half = (ours.shape[0] - width) // 2
    window = np.asarray(ours)[half : half + width, half : half + width]
    # The same blur by another footprint: nearly the same second moments, not the same pixels.
    theirs = psf.moments(jnp.asarray(mask, jnp.float32)).covariance
    np.testing.assert_allclose(psf.moments(jnp.asarray(window)).covariance, theirs, atol=0.15)
    assert 1e-5 < np.abs(window - mask).max() < 0.05


def test_calibrated_and_wrong_logits():
    label = np.arange(300) % 3
    batch = blur_type.Batch(
        *(np.zeros(300) for _ in range(1)), label, *(np.zeros(300) for _ in range(3)),
        np.repeat(np.arange(10), 30), np.float32(0),
    )  # fmt: skip
    perfect = 20 * np.eye(3, dtype=np.float32)[label]
    result = protocol.classification(perfect, batch)
    assert result["rate"] == 1 and result["expected_calibration_error"] < 1e-3
    np.testing.assert_array_equal(result["confusion"], 100 * np.eye(3))
    wrong = protocol.classification(np.roll(perfect, 1, axis=1), batch)
    assert wrong["rate"] == 0 and wrong["expected_calibration_error"] > 0.99


def test_parameter_errors_of_a_perfect_and_of_a_constant_answer():
    n = 3000
    rng = np.random.default_rng(0)
    label = np.arange(n) % 3
    size = np.array([rng.uniform(*(CONFIG.sigma, CONFIG.length, CONFIG.radius)[t]) for t in label])
    angle = np.where(label == 1, rng.uniform(0, np.pi, n), 0)
    batch = blur_type.Batch(
        np.zeros(n), label, size, angle, np.ones(n), np.zeros(n, int), np.float32(0)
    )
    perfect = blur_type.Prediction(
        np.zeros((n, 3)), np.zeros((n, 3)), label, size, size, angle, size, np.zeros((n, 3))
    )
    errors = protocol.parameter_errors(perfect, batch, CONFIG)
    for name, constant in [("sigma", 1.125), ("length", 3.25), ("radius", 1.625), ("angle", 45)]:
        np.testing.assert_allclose(errors[name]["true_type"], 0, atol=1e-9)
        np.testing.assert_allclose(errors[name]["constant"], constant, rtol=0.06)
        assert errors[name]["n"] == errors[name]["n_predicted_type"] == 1000


@pytest.mark.slow
def test_the_whole_protocol(tmp_path, stand_in, float32, monkeypatch, capsys):
    monkeypatch.setattr(protocol, "_CHUNK", 300)
    for i in range(2):
        photograph = data.embedded("test")[i][:240, :300]
        (tmp_path / "in").mkdir(exist_ok=True)
        images.write(tmp_path / "in" / f"{i}.png", photograph)
    result = protocol.evaluate(
        (tmp_path / "in",), tmp_path / "out", patches=6, photographs=1, weights=stand_in,
        baselines=False,
    )  # fmt: skip
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written == json.loads(json.dumps(result, default=report._plain))
    assert written["patches"] == dict.fromkeys(written["patches"], 12)
    whole = written["whole_photographs"]["as they are"]
    assert whole["n"] == 6 and set(whole["said"]) == {*blur_type.KINDS, "beyond the ranges"}
    assert set(written["whole_photographs"]) == {"as they are", "noise 3/255", "JPEG 75"}
    assert {p.name for p in (tmp_path / "out").iterdir()} >= {
        "confusion_all.png", "confusion_textured.png", "reliability_all.png", "parameters.png",
    }  # fmt: skip
    assert "Classification rate on 2 photographs" in capsys.readouterr().out
