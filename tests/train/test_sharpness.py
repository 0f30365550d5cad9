"""Both networks train: the whole chain, small."""

import dataclasses
import functools
import json

import numpy as np
import pytest

from blurjax import data, sharpness, weights
from train import sharpness as training
from train.configs.sharpness import PRESETS
from train.machine import Machine


@pytest.fixture
def small(monkeypatch, float32):
    """Narrow networks, few and small scenes."""
    for name, plan in PRESETS.items():
        config = dataclasses.replace(plan.config, width=8, filters=4)
        batch = 16 if config.body == "patches" else 8
        monkeypatch.setitem(PRESETS, name, dataclasses.replace(plan, config=config, batch=batch))
    for name, value in {"_CHECKS": 8, "_CHUNK": 8, "_COMPOSED": 16}.items():
        monkeypatch.setattr(training, name, value)
    monkeypatch.setattr(training, "_FACTORS", (1.6,))
    monkeypatch.setattr(training.data, "scenes", functools.partial(data.scenes, size=96))


@pytest.fixture
def no_sifting(monkeypatch):
    """Every scene counts as sharp: the sigma map is tested elsewhere."""
    monkeypatch.setattr(training, "sharp_all_over", lambda images: np.ones(len(images), bool))


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").open()]


def checked(out, preset, steps):
    """The variables in a weights file, after a look at what is written beside them."""
    _, config, record = weights.load(out, sharpness.Config)
    assert config == PRESETS[preset].config
    assert record["preset"] == preset and record["steps"] == steps
    assert record["files"]["train"] == len(data.embedded("train"))
    variables, same = sharpness.load(out)
    assert same == config
    last = lines(out.parent)[-1]
    assert last["step"] == steps and np.isfinite(last["loss"])
    return variables


# The others differ from "patches" in numbers.
@pytest.mark.slow
@pytest.mark.parametrize("preset", ["detector", "superpixels"])
def test_a_preset_trains_for_two_steps_and_writes_weights(small, no_sifting, tmp_path, preset):
    out = training.train(preset, workdir=tmp_path, steps=2, quiet=True)
    assert out == tmp_path / "sharpness.npz"
    variables = checked(out, preset, 2)
    if preset == "detector":
        photograph = data.embedded("test")[0][:64, :64]
        answer = sharpness.estimate(photograph, variables, PRESETS[preset].config)
        assert answer.status == "ok" and np.all(np.isfinite(answer.sharpness))


@pytest.mark.slow
def test_the_same_command_again_goes_on_where_it_was(small, no_sifting, tmp_path):
    # Sixteen patches of a photograph are a part of a batch: not for eight devices.
    again = {"quiet": True, "how": Machine(devices=1)}
    out = training.train("patches", workdir=tmp_path / "run", steps=2, **again)
    before = checked(out, "patches", 2)
    cut = {path: path.stat().st_mtime_ns for path in out.parent.glob("scenes_*.npz")}
    assert len(cut) == 2
    training.train("patches", workdir=out.parent, steps=3, out=tmp_path / "w.npz", **again)
    after, _ = sharpness.load(tmp_path / "w.npz")
    assert [line["step"] for line in lines(out.parent) if "loss" in line] == [2, 3]
    assert np.any(after["params"]["dense"]["kernel"] != before["params"]["dense"]["kernel"])
    # On the scenes that were cut for it.
    assert {path: path.stat().st_mtime_ns for path in cut} == cut


def test_a_workdir_of_other_photographs_is_refused(small, no_sifting, tmp_path):
    (tmp_path / "files.json").write_text(json.dumps({"sha256": "of others"}))
    with pytest.raises(ValueError, match="belongs to a run on other photographs"):
        training.train("detector", workdir=tmp_path, steps=1, quiet=True)
    assert not list(tmp_path.glob("scenes_*"))


@pytest.mark.slow
def test_what_is_not_sharp_all_over_is_left_out(float32):
    from scipy.ndimage import gaussian_filter

    source = data.embedded("train")
    grass = source[source.names.index("grass.png")][:256, :256]
    soft = gaussian_filter(grass, 2)
    half = np.where(np.arange(256) < 128, grass, soft)
    flat = np.full((256, 256), 0.5, np.float32)
    levels = np.rint(255 * np.stack([grass, soft, half, flat])).astype(np.uint8)
    assert training.sharp_all_over(levels).tolist() == [True, False, False, False]


def test_without_a_sharp_photograph_there_is_no_training(small, monkeypatch, tmp_path):
    monkeypatch.setattr(training, "sharp_all_over", lambda images: np.zeros(len(images), bool))
    with pytest.raises(ValueError, match="none of 6 photographs is sharp all over"):
        training.train("detector", workdir=tmp_path, steps=1, quiet=True)
    assert not list(tmp_path.glob("scenes_*"))
