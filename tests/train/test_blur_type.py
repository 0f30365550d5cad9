"""Every preset trains: the whole chain, small, and one step at the published width."""

import dataclasses
import json

import numpy as np
import pytest

from blurjax import blur_type, weights
from train import blur_type as training
from train.configs.blur_type import PRESETS


@pytest.fixture
def small(monkeypatch, float32):
    """The presets at their full widths, on few patches."""
    for name, plan in PRESETS.items():
        monkeypatch.setitem(
            PRESETS,
            name,
            dataclasses.replace(
                plan,
                stored=600,
                pretrain_patches=600,
                pretrain_epochs=min(plan.pretrain_epochs, 1),
                batch=48,
                config=dataclasses.replace(plan.config, memory=100),
            ),
        )
    monkeypatch.setattr(training, "_CHECKS", 300)


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_trains_for_a_step_and_writes_weights(small, tmp_path, preset):
    out = training.train(preset, workdir=tmp_path, steps=2, quiet=True)
    tree, config, record = weights.load(out, blur_type.Config)
    assert config == PRESETS[preset].config and record["preset"] == preset
    assert ("recall" in tree) == PRESETS[preset].second_stage
    stages = {json.loads(line)["stage"] for line in (tmp_path / "metrics.jsonl").open()}
    layers = range(len(config.hidden)) if PRESETS[preset].pretrain_epochs else ()
    assert stages == {"finetune", *(f"rbm{i}" for i in layers)}


@pytest.mark.slow
def test_training_again_is_the_same_file(small, tmp_path):
    files = [
        training.train("compact", workdir=tmp_path / str(i), steps=3, quiet=True) for i in range(2)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.slow
def test_learning_really_happens(small, tmp_path):
    training.train("compact", workdir=tmp_path, steps=300, quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    losses = [line["loss"] for line in lines if line["stage"] == "finetune" and "loss" in line]
    assert losses[-1] < 0.8 * losses[0] and np.log(3) * 0.8 > losses[-1]
    rbm = [line["reconstruction"] for line in lines if line["stage"] == "rbm0"]
    assert len(rbm) == 1 and 0 < rbm[0] < 2


@pytest.mark.slow
def test_a_workdir_belongs_to_its_photographs(small, tmp_path):
    training.train("softmax", workdir=tmp_path, steps=1, quiet=True)
    listing = tmp_path / "files.json"
    listing.write_text(json.dumps({**json.loads(listing.read_text()), "sha256": "another"}))
    with pytest.raises(ValueError, match="a run on other photographs"):
        training.train("softmax", workdir=tmp_path, steps=1, quiet=True)


@pytest.mark.slow
def test_a_finished_network_is_not_trained_again(small, tmp_path, monkeypatch):
    first = training.train("compact", workdir=tmp_path, steps=2, quiet=True).read_bytes()
    monkeypatch.setattr(training, "_network", None)
    assert training.train("compact", workdir=tmp_path, steps=2, quiet=True).read_bytes() == first
