"""Every kind of network trains: the whole chain, small."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import data, kernel_size, weights
from train import kernel_size as training
from train import loop, steps
from train.configs.kernel_size import PRESETS


@pytest.fixture
def small(monkeypatch, float32):
    """Narrow and shallow networks, few checks."""
    for name, plan in PRESETS.items():
        config = dataclasses.replace(plan.config, depth=10, width=4, channels=8)
        monkeypatch.setitem(PRESETS, name, dataclasses.replace(plan, config=config, batch=40))
    monkeypatch.setattr(training, "_CHECKS", 10)
    monkeypatch.setattr(training, "_CHUNK", 10)
    monkeypatch.setattr(training, "_FACTORS", (1.0,))


def lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").open()]


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["correlation", "compact", "control", "regressor"])
def test_a_preset_trains_for_two_steps_and_writes_weights(small, tmp_path, preset):
    out = training.train(preset, workdir=tmp_path, steps=2, quiet=True)
    _, config, record = weights.load(out, kernel_size.Config)
    assert config == PRESETS[preset].config
    assert record["preset"] == preset and record["files"]["train"] == len(data.embedded("train"))
    assert (tmp_path / "convergence.png").stat().st_size > 1000
    last = lines(tmp_path)[-1]
    assert last["step"] == 2 and np.isfinite(last["loss"])
    answer = kernel_size.estimate(data.embedded("test")[0][:150, :150], *kernel_size.load(out))
    assert answer.status == "ok" and 1 <= answer.width <= 200


@pytest.mark.slow
def test_an_interrupted_run_ends_as_an_uninterrupted_one(small, tmp_path, monkeypatch):
    whole = training.train("compact", workdir=tmp_path / "a", steps=3, quiet=True)
    run, sittings = loop.run, []

    def stopped(step, state, *args, num_steps, **options):
        sittings.append(num_steps)
        if len(sittings) == 1:
            run(step, state, *args, num_steps=2, **options)
            raise loop.Interrupted
        return run(step, state, *args, num_steps=num_steps, **options)

    monkeypatch.setattr(loop, "run", stopped)
    with pytest.raises(loop.Interrupted):
        training.train("compact", workdir=tmp_path / "b", steps=3, quiet=True)
    resumed = training.train("compact", workdir=tmp_path / "b", steps=3, quiet=True)
    assert whole.read_bytes() == resumed.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["seed", "seed101"])
def test_published_widths_take_one_step(float32, preset):
    plan = PRESETS[preset]
    assert plan.config.width == 64 and plan.config.depth == (101 if preset == "seed101" else 18)
    frames = data.frames(data.embedded("train"))
    optimizer = steps.adamw(plan.rate, plan.steps, weight_decay=plan.weight_decay)
    step = steps.gradient_step(
        functools.partial(kernel_size.loss, config=plan.config),
        optimizer,
        functools.partial(kernel_size.sample, config=plan.config),
        batch=5,
    )
    first = steps.initial_state(kernel_size.init(jax.random.key(0), plan.config), optimizer)
    state, metrics = jax.jit(step)(first, jax.tree.map(jnp.asarray, frames), jax.random.key(1))
    assert np.isfinite(float(metrics["loss"])) and float(metrics["gradient_norm"]) > 0
    before, after = (jax.tree.leaves(x["variables"]["state"]) for x in (first, state))
    assert sum(not np.array_equal(a, b) for a, b in zip(before, after, strict=True)) > 30
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(state["variables"]))


def test_intervals_are_calibrated_to_what_they_promise(monkeypatch):
    """Of 100 sizes drawn from a Gaussian of 6 pixels about what the network says, whose own
    distribution has 3: the scale must widen it until four in five are held."""
    config = kernel_size.Config(body="single", depth=10, width=4)
    sizes = kernel_size.sizes(config)
    rng = np.random.default_rng(0)
    centre = rng.uniform(25, 50, 400)
    truth = rng.normal(centre, 6.0)
    joint = -(((sizes - centre[:, None]) / 3) ** 2) / 2
    joint = (joint - np.log(np.exp(joint).sum(axis=1, keepdims=True))).astype(np.float32)
    batch = kernel_size.Batch(
        images=np.zeros((400, 1, 1), np.float32),
        inside=np.zeros((400, 2), int),
        size=np.stack([truth, truth], axis=1),
        weight=np.ones(400, np.float32),
        image=np.zeros(400, int),
        rejected=np.zeros((), np.float32),
    )
    said = kernel_size.Scores(joint)
    monkeypatch.setattr(training, "_scores", lambda variables, batch, *, config: said)
    start = {"params": {}, "state": {"answer": {"scale": np.float32(1)}}}
    scale = training.calibrate(start, [batch], config)["state"]["answer"]["scale"]
    assert float(scale) == pytest.approx(0.25, rel=0.25)
    assert training._covered([said], [batch], config, scale) == pytest.approx(0.8, abs=0.03)
    assert training._covered([said], [batch], config, np.float32(1)) < 0.6
