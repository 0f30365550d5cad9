"""The training loop: learning, resuming to the bit, devices, signals, mistakes."""

import json
import os
import signal
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from blurjax import checkpoint
from train import loop

KEY = jax.random.key(11)
TRUTH = jnp.array([1.0, -2.0, 0.5], jnp.float32)


def _variables():
    params = {
        "hidden": 0.5 * jax.random.normal(jax.random.key(1), (3, 8), jnp.float32),
        "out": 0.5 * jax.random.normal(jax.random.key(2), (8,), jnp.float32),
    }
    return {"params": params, "state": {"mean": jnp.zeros(3, jnp.float32)}}


def _sample(key, data, n):
    x = data[jax.random.randint(key, (n,), 0, len(data))]
    return {"x": x, "y": x @ TRUTH, "rejected": jnp.zeros((), jnp.float32)}


def _loss(variables, batch, *, key, train, axis_name):
    params = variables["params"]
    noise = 0.01 * jax.random.normal(key, batch["y"].shape, jnp.float32)
    error = jnp.tanh(batch["x"] @ params["hidden"]) @ params["out"] - batch["y"] + noise
    mean = 0.9 * variables["state"]["mean"] + 0.1 * batch["x"].mean(0)
    metrics = {"absolute": jnp.abs(error).mean()}
    return (error**2).mean(), SimpleNamespace(metrics=metrics, state={"mean": mean})


def _data():
    return jax.random.normal(jax.random.key(3), (64, 3), jnp.float32)


def _run(workdir, *, optimizer=None, sample=_sample, loss=_loss, **options):
    optimizer = optimizer or optax.adam(1e-2)
    options = {"num_steps": 30, "log_every": 10, "quiet": True, "key": KEY, **options}
    # Two of the eight simulated devices: enough to split a batch, and quick to compile for.
    options.setdefault("devices", jax.local_devices()[:2])
    step = options.pop("step", None)
    size = options.pop("batch", 16)
    how = {k: options.pop(k) for k in ("parts", "accumulate", "streamed") if k in options}
    step = step or loop.gradient_step(loss, optimizer, sample, batch=size, **how)
    state = options.pop("state", None) or loop.initial_state(_variables(), optimizer)
    return loop.run(step, state, _data(), workdir=workdir, **options)


def _sum_of_out(state):
    return {"out": state["variables"]["params"]["out"].sum()}


def _lines(workdir, times=False):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    if not times:
        for line in lines:
            line.pop("seconds")
            line.pop("steps_per_second", None)
    return lines


def _assert_same_bits(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert x.dtype == y.dtype
        np.testing.assert_array_equal(x, y)


def test_the_loss_falls_and_the_metrics_are_well_formed(tmp_path, capsys):
    state = _run(tmp_path, num_steps=205, log_every=50, quiet=False)
    lines = _lines(tmp_path, times=True)
    assert [line["step"] for line in lines] == [50, 100, 150, 200, 205]
    names = {"stage", "step", "seconds", "steps_per_second", "loss", "absolute", "gradient_norm"}
    assert all(set(line) == names and line["stage"] == "train" for line in lines)
    assert lines[-1]["loss"] < 0.2 * lines[0]["loss"]
    assert jnp.abs(state["variables"]["state"]["mean"]).max() > 0
    assert state["variables"]["params"]["out"].sharding.is_fully_replicated
    assert "train 205/205  absolute" in capsys.readouterr().err


def test_metrics_are_means_and_steps_have_their_own_keys(tmp_path):
    def step(state, data, key):
        return {**state, "n": state["n"] + 1}, {"u": jax.random.uniform(key), "n": state["n"]}

    state = _run(
        tmp_path, step=step, state={"n": jnp.int32(0), "key": KEY}, num_steps=6, log_every=4
    )
    assert int(state["n"]) == 6
    draws = [jax.random.uniform(jax.random.fold_in(KEY, i)) for i in range(6)]
    first, second = _lines(tmp_path)
    np.testing.assert_allclose(
        [first["u"], second["u"]], [np.mean(draws[:4]), np.mean(draws[4:])], rtol=1e-6
    )
    assert (first["n"], second["n"]) == (1.5, 4.5)


class _Stop(Exception):
    pass


@pytest.mark.parametrize("at", (4, 10))
def test_resumed_equals_uninterrupted_bit_for_bit(tmp_path, at):
    whole = _run(tmp_path / "whole", devices=None)

    # A crash some steps after a checkpoint that every step wrote; `validate` is the crash.
    calls = iter(range(100))

    def crash(state):
        if next(calls) == at:
            raise _Stop
        return {}

    options = {"validate": crash, "validate_every": 1, "checkpoint_every_s": 0.0, "devices": None}
    with pytest.raises(_Stop):
        _run(tmp_path / "broken", **options)
    path = tmp_path / "broken" / "metrics.jsonl"
    # A line beyond the checkpoint, another stage's, and one cut off in the middle.
    with path.open("a") as file:
        file.write('{"stage": "train", "step": 29, "seconds": 1}\n')
        file.write('{"stage": "other", "step": 99, "seconds": 1}\n{"stage": "tr')
    assert checkpoint.latest_step(tmp_path / "broken" / "checkpoints" / "train") == at
    resumed = _run(tmp_path / "broken", devices=None)

    _assert_same_bits(resumed, whole)
    lines = [line for line in _lines(tmp_path / "broken") if "loss" in line]
    assert lines == _lines(tmp_path / "whole")
    assert {"stage": "other", "step": 99} in _lines(tmp_path / "broken")


def test_a_finished_stage_returns_at_once(tmp_path):
    def never(state, data, key):
        assert isinstance(state["variables"]["params"]["out"], jax.core.Tracer)
        return state, {"loss": jnp.zeros(())}

    first = _run(tmp_path)
    before = (tmp_path / "metrics.jsonl").read_text()
    _assert_same_bits(_run(tmp_path), first)
    assert (tmp_path / "metrics.jsonl").read_text() == before
    # Another stage of the same run has its own checkpoints and lines.
    _run(tmp_path, stage="second", num_steps=10, state=first)
    assert [line["stage"] for line in _lines(tmp_path)] == ["train"] * 3 + ["second"]


def test_eight_devices_agree_with_one(tmp_path):
    assert len(jax.local_devices()) == 8
    runs = [
        _run(tmp_path / str(n), optimizer=optax.sgd(0.05), devices=jax.local_devices()[:n], parts=8)
        for n in (1, 8)
    ]
    assert len(runs[1]["variables"]["params"]["out"].sharding.device_set) == 8
    for a, b in zip(*map(jax.tree.leaves, runs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


def test_the_batch_is_split_over_the_devices():
    step = loop.gradient_step(_loss, optax.sgd(0.1), _sample, batch=16)
    state = loop.initial_state(_variables(), optax.sgd(0.1))
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    with loop._use_mesh(mesh):
        text = jax.jit(step).lower(state, _data(), KEY).compile().as_text()
    assert "all-reduce" in text


def test_resuming_on_other_devices(tmp_path):
    _run(tmp_path, num_steps=10, devices=jax.local_devices()[:1])
    state = _run(tmp_path, num_steps=20, devices=None)
    assert len(state["variables"]["params"]["out"].sharding.device_set) == 8


@pytest.mark.parametrize("devices", (1, 8))
def test_the_callers_arrays_survive(tmp_path, devices):
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    state = jax.device_put(loop.initial_state(_variables(), optax.adam(1e-2)), sharding)
    before = jax.device_get(state)
    _run(tmp_path, state=state, num_steps=5, devices=jax.local_devices()[:devices])
    _assert_same_bits(jax.device_get(state), before)


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_a_signal_saves_and_the_run_resumes(tmp_path, capsys, number):
    before = signal.getsignal(number)

    def validate(state):
        if not (tmp_path / "a" / "checkpoints").exists():
            os.kill(os.getpid(), number)
        return _sum_of_out(state)

    options = {"validate": validate, "validate_every": 15}
    with pytest.raises(loop.Interrupted) as stop:
        _run(tmp_path / "a", **options)
    assert stop.value.code == 130
    assert signal.getsignal(number) is before
    message = capsys.readouterr().err
    assert "stopped at step 15 of 30" in message and "run the same command again" in message
    assert len(message.strip().splitlines()) == 1
    resumed = _run(tmp_path / "a", **options)

    whole = _run(tmp_path / "b", **{**options, "validate": _sum_of_out})
    _assert_same_bits(resumed, whole)
    a, b = _lines(tmp_path / "a"), _lines(tmp_path / "b")
    assert [line.get("validate/out") is not None for line in a] == [False, True, False, False, True]
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys() and x["step"] == y["step"] and x.get("loss") == y.get("loss")


def test_a_non_finite_loss_stops_and_spares_the_checkpoint(tmp_path):
    _run(tmp_path, num_steps=10)

    def spoiled(variables, batch, **rest):
        value, aux = _loss(variables, batch, **rest)
        return value * jnp.nan, aux

    for every in (120.0, 0.0):
        with pytest.raises(FloatingPointError, match=r"between steps 11 and .* step 10 is saved"):
            _run(tmp_path, loss=spoiled, checkpoint_every_s=every)
        assert checkpoint.latest_step(tmp_path / "checkpoints" / "train") == 10


def test_a_state_that_becomes_nan_is_not_saved(tmp_path):
    # The loss is finite, its gradient is not: only the state shows it after one step.
    def loss(variables, batch, **rest):
        value = jnp.sqrt(0 * variables["params"]["out"].sum())
        return value, SimpleNamespace(metrics={}, state=variables["state"])

    with pytest.raises(FloatingPointError, match=r"the state became NaN.*no checkpoint yet"):
        _run(tmp_path, loss=loss, num_steps=1)
    assert checkpoint.latest_step(tmp_path / "checkpoints" / "train") is None


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"batch of 12 does not divide into 8 parts \(8 devices"):
        _run(tmp_path, batch=12, devices=None)
    with pytest.raises(ValueError, match=r"in 3 parts does not divide among 2 devices"):
        _run(tmp_path, batch=12, parts=3)
    _run(tmp_path, batch=12, num_steps=1)
    with pytest.raises(ValueError, match="another random key"):
        _run(tmp_path, key=jax.random.key(12))
    with pytest.raises(checkpoint.CheckpointError, match="checkpoint lacks"):
        _run(tmp_path, optimizer=optax.adamw(optax.constant_schedule(1e-3)))
    with pytest.raises(ValueError, match=r"state\['n'\] from int32\[\] into float32\[\]"):
        loop.run(
            lambda state, data, key: ({"n": jnp.float32(1)}, {}),
            {"n": jnp.int32(1)},
            None,
            key=KEY,
            num_steps=1,
            workdir=tmp_path / "c",
        )


def test_a_step_outside_of_run_needs_no_mesh():
    step = loop.gradient_step(_loss, optax.sgd(0.1), _sample, batch=12)
    state = loop.initial_state(_variables(), optax.sgd(0.1))
    new, metrics = jax.jit(step)(state, _data(), KEY)
    assert jnp.isfinite(metrics["loss"])
    assert jnp.any(new["variables"]["params"]["out"] != state["variables"]["params"]["out"])
