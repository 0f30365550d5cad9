import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import sharpness, weights
from blurjax.data import Scenes
from blurjax.sharpness import Config
from train import sharpness_metric


def scenes(m=3):
    squares = np.random.default_rng(0).integers(0, 255, (m, 128, 128)).astype(np.uint8)
    segments = np.broadcast_to((np.arange(128) // 64).astype(np.uint8), squares.shape)
    return Scenes(squares, np.ascontiguousarray(segments), np.arange(m, dtype=np.int32))


@pytest.mark.slow
def test_discriminative_kernels_prefer_what_blur_takes():
    kernels = np.asarray(sharpness_metric.discriminative(scenes(), jax.random.key(0)))
    assert kernels.shape == (2, 7, 7)
    np.testing.assert_allclose(np.sum(kernels**2, axis=(1, 2)), 1, rtol=1e-5)
    np.testing.assert_allclose(kernels.sum(axis=(1, 2)), 0, atol=1e-5)
    # Most of their energy lies beyond half the Nyquist frequency, where blur leaves nothing.
    spectrum = np.abs(np.fft.fft2(kernels, (32, 32))) ** 2
    frequency = np.abs(np.fft.fftfreq(32))
    high = np.maximum(frequency[:, None], frequency[None, :]) > 0.25
    assert np.all(spectrum[:, high].sum(axis=1) > 0.7 * spectrum.sum(axis=(1, 2)))


@pytest.mark.slow
def test_the_whole_comparison_writes_weights_that_estimate(tmp_path, monkeypatch, float32):
    monkeypatch.setattr(sharpness_metric, "_COMPOSITES", 16)
    monkeypatch.setattr(sharpness_metric, "_END_TO_END_STEPS", 2)
    folder = tmp_path / "patches"
    folder.mkdir()
    for part in ("train", "validation"):
        np.savez(folder / f"scenes_{part}.npz", **scenes()._asdict())
    listed = {"train": 3, "validation": 3, "sha256": "0" * 64}
    (folder / "files.json").write_text(json.dumps(listed))
    config = Config(body="patches", filters=8)
    variables = sharpness.init(jax.random.fold_in(jax.random.key(0), 1), config)
    kernel = variables["params"]["conv0"]["kernel"]
    variables["params"]["conv0"]["kernel"] = kernel + 0.1 * jax.random.normal(
        jax.random.key(5), kernel.shape
    )
    weights.save(folder / "sharpness.npz", variables, config, {"seed": 0})

    out = sharpness_metric.train(folder, None, workdir=tmp_path / "metric")
    rows = json.loads((tmp_path / "metric" / "comparison.json").read_text())
    forms = set(sharpness_metric.FORMS) - {"contrast", "contrast_moved"}
    assert {row["form"] for row in rows} == forms
    assert all(0 <= row["mae"] <= 1 and 0 <= row["auc"] <= 1 for row in rows)
    assert (tmp_path / "metric" / "kernels.png").exists()
    found = sharpness.load(out)
    assert found[1] == Config(body="metric")
    gray = np.asarray(jax.random.uniform(jax.random.key(1), (64, 80), jnp.float32))
    for method in sharpness.METHODS[1:]:
        assert sharpness.estimate(gray, *found, method=method).status == "ok"


def test_a_missing_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"scenes_train\.npz is missing"):
        sharpness_metric.train(tmp_path)
