"""A run's folder, its settings, and the machine it runs on; with a network of one number."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import checkpoint
from train import descent
from train.__main__ import joined
from train.machine import Machine

ROOT = Path(__file__).parents[2]


@dataclasses.dataclass(frozen=True)
class Config:
    power: int = 2


@dataclasses.dataclass(frozen=True)
class Plan:
    config: Config = Config()
    steps: int = 4
    batch: int = 16
    rate: float = 0.1
    weight_decay: float = 0.0


PRESETS = {"plain": Plan()}


def _loss(variables, batch, config, *, key, train, axis_name):
    w = variables["params"]["w"]
    error = jnp.mean(jnp.abs(w - batch.astype(w.dtype)) ** config.power)
    return error.astype(jnp.float32), SimpleNamespace(metrics={}, state={})


def _draw(key, store, n):
    return store[jax.random.randint(key, (n,), 0, len(store))]


def begin(workdir, **options):
    how = Machine(devices=2, **options.pop("how", {}))
    given = {"seed": 0, "steps": None, "quiet": True, **options}
    return descent.begin("toy", PRESETS, "plain", workdir=workdir, how=how, **given)


def descend(run, store=None, **options):
    store = np.linspace(1, 3, 32, dtype=np.float32) if store is None else store
    return run.descend(
        {"params": {"w": jnp.zeros((), jnp.float32)}},
        _loss,
        _draw,
        store,
        validate=lambda variables: {"far": float(jnp.abs(variables["params"]["w"] - 2))},
        validate_every=2,
        best="far",
        **options,
    )


def test_the_folder_explains_itself(tmp_path):
    first = descend(begin(tmp_path, change=("rate=0.2",)))
    assert 0 < float(first["params"]["w"]) < 2
    about = json.loads((tmp_path / "config.json").read_text())
    assert about["plan"] == {
        "config": {"power": 2}, "steps": 4, "batch": 16, "rate": 0.2, "weight_decay": 0.0
    }  # fmt: skip
    assert about["parts"] == 2 and about["seed"] == 0
    (sitting,) = about["sittings"]
    assert sitting["jax"] == jax.__version__ and sitting["processes"] == 1
    readme = (tmp_path / "README.md").read_text()
    assert sitting["command"] in readme and "metrics.jsonl" in readme
    assert list((tmp_path / "tensorboard" / "train").glob("events*"))
    # Another sitting is added, and other settings are refused; more steps are not.
    descend(begin(tmp_path, steps=8, change=("rate=0.2",), how={"parts": 2}))
    assert len(json.loads((tmp_path / "config.json").read_text())["sittings"]) == 2
    for options, message in (
        ({}, "plan.rate was 0.2 and is 0.1"),
        ({"change": ("rate=0.2", "config.power=1")}, "plan.config.power was 2 and is 1"),
        ({"change": ("rate=0.2",), "seed": 1}, "seed was 0 and is 1"),
    ):
        with pytest.raises(ValueError, match=f"belongs to a run with other settings.*{message}"):
            descend(begin(tmp_path, **options))


def test_batches_stay_those_the_run_began_with(tmp_path):
    ends = []
    # The second sitting says again in how many parts batches are drawn, or does not, or others.
    for name, again in (("said", {"parts": 8}), ("not", {}), ("other", {"parts": 4})):
        descend(begin(tmp_path / name, how={"parts": 8}))
        descend(begin(tmp_path / name, steps=8, how=again))
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        ends.append([json.loads(line)["loss"] for line in lines if "loss" in line][-1])
        # It goes towards its aim all the time.
        assert checkpoint.best_step(tmp_path / name / "checkpoints" / "train") == 8
    assert ends[0] == ends[1] != ends[2]


def test_how_a_run_is_carried_out_changes_little(tmp_path):
    plain = float(descend(begin(tmp_path / "a", how={"parts": 4}))["params"]["w"])
    split = descend(begin(tmp_path / "b", how={"parts": 4, "accumulate": 2}))
    assert float(split["params"]["w"]) == pytest.approx(plain, rel=1e-5)
    low = descend(begin(tmp_path / "c", how={"parts": 4, "compute": "bfloat16"}))
    assert float(low["params"]["w"]) == pytest.approx(plain, rel=0.02)
    fed = descend(begin(tmp_path / "d", how={"parts": 4, "stream": True, "reuse": 2}))
    assert float(fed["params"]["w"]) == pytest.approx(plain, rel=0.3)


def test_what_was_refused_leaves_nothing_behind(tmp_path):
    for options in ({"batch": 15}, {"how": {"accumulate": 16}}, {"how": {"parts": 7}}):
        with pytest.raises(ValueError, match="does not divide"):
            begin(tmp_path, **options)
    assert not list(tmp_path.iterdir())
    descend(begin(tmp_path))


def test_a_part_that_a_sampler_does_not_draw_is_named(tmp_path):
    def odd(key, store, n):
        raise ValueError(f"n is {n}; give a multiple of 5")

    run = begin(tmp_path)
    with pytest.raises(ValueError, match="16 in 2 parts of n = 8: n is 8; give a multiple of 5"):
        run.descend({"params": {}}, _loss, odd, np.ones(3), validate=lambda variables: {})


def test_options_of_a_stream_want_one():
    with pytest.raises(ValueError, match="--reuse and --workers are about --stream"):
        Machine(reuse=2).begin()


def test_several_settings_are_joined():
    given = ["region", "--set", "a=1", "b=2", "--steps", "3", "--set", "c=3"]
    assert joined(given) == ["region", "--steps", "3", "--set", "a=1", "b=2", "c=3"]
    assert joined(["region"]) == ["region"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"how": {"parts": 3}}, "in 3 parts does not divide among 2 devices"),
        ({"how": {"stream": True, "reuse": 16}}, "--reuse 16: .* 1 crops, which 2 parts"),
        ({"batch": 15}, "batch of 15 does not divide into 2 parts"),
        ({"how": {"accumulate": 16}}, "batch of 16 does not divide into 32 parts"),
    ],
)
def test_what_cannot_be_shared_out_is_named(tmp_path, options, message):
    with pytest.raises(ValueError, match=message):
        descend(begin(tmp_path, **options))


def test_what_cannot_be_trained_on_is_named_before_compiling(tmp_path):
    store = np.linspace(1, 3, 32, dtype=np.float32)
    store[3] = np.nan
    with pytest.raises(ValueError, match="to be trained on, holds values that are NaN"):
        descend(begin(tmp_path), store)
    with pytest.raises(ValueError, match="to be trained on, is empty"):
        descend(begin(tmp_path), {"images": np.zeros((0, 3))})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coordinator": "localhost:1"}, "--coordinator, --processes and --process go together"),
        ({"processes": 2, "process": 0}, "go together"),
    ],
)
def test_half_named_processes_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Machine(**options).begin()


def test_devices_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="--devices 99: there are 8; give 1 to 8"):
        Machine(devices=99).chosen()
    assert len(Machine().chosen()) == 8


def _command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "train", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_presets_are_listed_and_mistakes_are_one_sentence():
    listed = _command("--list")
    assert listed.returncode == 0
    for words in (
        "sigma_map    seed60",
        "86000 x 32",
        "region       seed",
        "region_labels",
    ):
        assert words in listed.stdout
    wrong = _command("kernel_size", "--set", "rate=fast")
    assert wrong.returncode == 1
    assert wrong.stderr.strip() == (
        "train: --set rate=fast: 'fast' is str, but rate is float (now 0.002); give one of that "
        "type"
    )
