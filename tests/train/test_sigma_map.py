"""Every preset trains: the whole chain, small, and one step at the published width."""

import dataclasses
import json

import numpy as np
import pytest

from blurjax import data, images, sigma_map, weights
from train import sigma_map as training
from train.configs.sigma_map import PRESETS
from train.machine import Machine


@pytest.fixture
def small(monkeypatch, float32):
    """The presets at their full widths, on few tiles."""
    for name, plan in PRESETS.items():
        monkeypatch.setitem(PRESETS, name, dataclasses.replace(plan, batch=16))
    monkeypatch.setattr(training, "_STORE", 40)
    monkeypatch.setattr(training, "_CHECKS", 8)
    monkeypatch.setattr(training, "_CHUNK", 8)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_trains_for_a_step_and_writes_weights(small, tmp_path, preset):
    out = training.train(preset, workdir=tmp_path, steps=2, quiet=True)
    tree, config, record = weights.load(out, sigma_map.Config)
    assert config == PRESETS[preset].config and record["preset"] == preset
    assert record["files"]["train"] == len(data.embedded("train"))
    assert np.isfinite(tree["state"]["spread"]["scale"]) and tree["state"]["spread"]["scale"] != 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert lines[-1]["step"] == 2 and np.isfinite(lines[-1]["loss"])


@pytest.mark.slow
def test_training_again_is_the_same_file(small, tmp_path):
    files = [
        training.train("regressor", workdir=tmp_path / str(i), steps=3, quiet=True)
        for i in range(2)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_learning_really_happens(small, tmp_path):
    training.train("regressor", workdir=tmp_path, steps=200, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    errors = [line["rmse"] for line in lines if "rmse" in line]
    assert errors[-1] < 0.8 * errors[0]


def test_tiles_cover_images_at_every_size_that_has_room():
    source = data.subset(data.embedded("validation"), [0])
    height, width = source[0].shape
    assert (height, width) == (303, 384)
    # 2 x 3 as it is, 1.4 times smaller 2 x 2; half is too small; of 10 eight are kept.
    assert training._cut(source, (1.0, 1.4, 2.0)).shape == (8, 160, 160)
    assert training._cut(source, (1.0,)).shape == (6, 160, 160)
    assert training._cut(source, (2.0,)).shape == (0, 160, 160)


@pytest.mark.slow
def test_a_folder_of_textures_alone_is_enough(small, tmp_path):
    folder = tmp_path / "textures"
    folder.mkdir()
    for i in range(30):
        texture = np.random.default_rng(i).random((200, 200)).astype(np.float32)
        images.write(folder / f"{i}.png", texture)
    found = training._input((), (folder,), (), PRESETS["seed30"], 0, streamed=False)
    for stack in (found.sharp, found.held_out):
        assert stack.shape[1:] == (160, 160) and len(stack)
    assert 15 < found.about["train"] < 30 and found.records is None


@pytest.mark.slow
def test_the_host_can_feed_it(small, tmp_path):
    for i in range(30):
        texture = np.random.default_rng(i).random((240, 240)).astype(np.float32)
        (tmp_path / "photographs").mkdir(exist_ok=True)
        images.write(tmp_path / "photographs" / f"{i}.png", texture)
    (tmp_path / "photographs" / "broken.png").write_text("none")
    training.train(
        "regressor",
        images=(tmp_path / "photographs",),
        workdir=tmp_path / "run",
        steps=2,
        quiet=True,
        how=Machine(stream=True),
    )
    (line,) = (json.loads(text) for text in (tmp_path / "run" / "metrics.jsonl").open())
    assert line["step"] == 2 and np.isfinite(line["loss"]) and "input_wait" in line
