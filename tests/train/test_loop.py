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
from train import loop, steps, stream

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
    step = step or steps.gradient_step(loss, optimizer, sample, batch=size, **how)
    state = options.pop("state", None) or steps.initial_state(_variables(), optimizer)
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
    drawn = []

    def sample(key, data, n):
        drawn.append(n)
        return _sample(key, data, n)

    step = steps.gradient_step(_loss, optax.sgd(0.1), sample, batch=16)
    state = steps.initial_state(_variables(), optax.sgd(0.1))
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("data",))
    with loop._use_mesh(mesh):
        text = jax.jit(step).lower(state, _data(), KEY).compile().as_text()
    assert "all-reduce" in text and set(drawn) == {2}


def test_resuming_on_other_devices(tmp_path):
    _run(tmp_path, num_steps=10, devices=jax.local_devices()[:1])
    state = _run(tmp_path, num_steps=20, devices=None)
    assert len(state["variables"]["params"]["out"].sharding.device_set) == 8


@pytest.mark.parametrize("devices", (1, 8))
def test_the_callers_arrays_survive(tmp_path, devices):
    sharding = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    state = jax.device_put(steps.initial_state(_variables(), optax.adam(1e-2)), sharding)
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
    step = steps.gradient_step(_loss, optax.sgd(0.1), _sample, batch=12)
    state = steps.initial_state(_variables(), optax.sgd(0.1))
    new, metrics = jax.jit(step)(state, _data(), KEY)
    assert jnp.isfinite(metrics["loss"])
    assert jnp.any(new["variables"]["params"]["out"] != state["variables"]["params"]["out"])


def test_a_damaged_checkpoint_is_passed_over_with_a_sentence(tmp_path, capsys, flip_a_byte):
    whole = _run(tmp_path / "whole")
    _run(tmp_path / "broken", num_steps=10)
    _run(tmp_path / "broken", num_steps=20)
    folder = tmp_path / "broken" / "checkpoints" / "train"
    # What a crash while saving leaves behind, and damage to what was saved.
    (folder / "25.orbax-checkpoint-tmp").mkdir()
    flip_a_byte(folder / "20")
    resumed = _run(tmp_path / "broken")
    message = capsys.readouterr().err
    assert "step 20" in message and "passed over for step 10, which is whole" in message
    _assert_same_bits(resumed, whole)
    assert checkpoint.steps(folder) == [10, 30] and (folder / "damaged-20").is_dir()
    steps = [line["step"] for line in _lines(tmp_path / "broken")]
    assert steps == [10, 20, 30]


def test_the_best_checkpoint_is_kept(tmp_path):
    # Better until step 15, then worse.
    scores = {5: 3.0, 10: 2.0, 15: 1.0, 20: 4.0, 25: 5.0, 30: 6.0}
    for best, kept in (("error", 15), ("-error", 30)):
        taken = iter(scores.values())

        def validate(state, taken=taken):
            return {"error": next(taken)}

        options = {"best": best, "keep": 1, "validate_every": 5, "validate": validate}
        workdir = tmp_path / str(kept)
        _run(workdir, num_steps=20, **options)
        _run(workdir, num_steps=30, **options)
        folder = workdir / "checkpoints" / "train"
        assert checkpoint.best_step(folder) == kept
        assert checkpoint.steps(folder) == sorted({kept, 30})


def test_the_batch_of_the_first_bad_step_is_kept(tmp_path):
    data = _data()

    def spoiled(variables, batch, **rest):
        value, aux = _loss(variables, batch, **rest)
        # So that the first batch that holds a certain photograph is bad.
        bad = jnp.any(batch["x"][:, 0] == data[7, 0])
        return jnp.where(bad, jnp.inf, value), aux

    with pytest.raises(
        FloatingPointError, match=r"first in step (\d+), whose batch is in"
    ) as error:
        _run(tmp_path, loss=spoiled)
    number = int(str(error.value).split("first in step ")[1].split(",")[0])
    kept = np.load(tmp_path / "failed" / f"train-step{number}.npz")
    # In the parts of the two devices.
    assert kept["x"].shape == (2, 8, 3)
    assert (kept["x"][..., 0] == float(data[7, 0])).any()


def _one_step(devices=1, **options):
    optimizer = optax.sgd(0.1)
    step = steps.gradient_step(_loss, optimizer, _sample, batch=16, **options)
    state = steps.initial_state(_variables(), optimizer)
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("data",))
    with loop._use_mesh(mesh):
        return jax.device_get(jax.jit(step)(state, _data(), KEY))


def test_parts_and_pieces_give_the_gradient_of_the_whole_batch():
    state, metrics = _one_step(parts=8)
    for options in (
        {"devices": 4},
        {"devices": 8},
        {"accumulate": 2},
        {"accumulate": 8},
        {"devices": 2, "accumulate": 2},
    ):
        other, found = _one_step(parts=8, **options)
        for name, value in metrics.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-5, err_msg=f"{options} {name}")
        for a, b in zip(*map(jax.tree.leaves, (other, state)), strict=True):
            # Statistics see one piece after the other.
            if a.shape != (3,) or "accumulate" not in options:
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_low_precision_stays_inside_of_the_step():
    seen = []

    def loss(variables, batch, **rest):
        seen.append(variables["params"]["hidden"].dtype)
        wide = jax.tree.map(lambda x: x.astype(jnp.float32), variables["params"])
        return _loss({**variables, "params": wide}, batch, **rest)

    optimizer = optax.sgd(0.1)
    first = steps.initial_state(_variables(), optimizer)
    step = steps.gradient_step(loss, optimizer, _sample, batch=16, compute_dtype=jnp.bfloat16)
    state, metrics = jax.jit(step)(first, _data(), KEY)
    assert set(seen) == {jnp.dtype(jnp.bfloat16)}
    assert {x.dtype for x in jax.tree.leaves(state)} == {jnp.dtype(jnp.float32)}
    exact = jax.jit(steps.gradient_step(_loss, optimizer, _sample, batch=16))(first, _data(), KEY)
    np.testing.assert_allclose(metrics["loss"], exact[1]["loss"], rtol=0.05)
    assert metrics["loss"] != exact[1]["loss"]


def _streamed(workdir, **options):
    rows = {"x": np.asarray(_data())}
    fed = stream.Crops(stream.Rows(rows), rows=16, seed=4, accumulate=2)

    def sample(key, rows, n):
        assert len(rows["x"]) == n
        return {"x": rows["x"], "y": rows["x"] @ TRUTH, "rejected": jnp.zeros((), jnp.float32)}

    optimizer = optax.adam(1e-2)
    step = steps.gradient_step(_loss, optimizer, sample, batch=16, accumulate=2, streamed=True)
    options = {"num_steps": 30, "log_every": 10, "quiet": True, "key": KEY, **options}
    state = options.pop("state", lambda: steps.initial_state(_variables(), optimizer))
    fed = options.pop("fed", fed)
    return loop.run(
        step,
        state,
        fed,
        workdir=workdir,
        devices=jax.local_devices()[:2],
        tensorboard=True,
        **options,
    )


def test_a_streamed_run_resumes_at_the_same_sample(tmp_path):
    whole = _streamed(tmp_path / "whole")
    _streamed(tmp_path / "broken", num_steps=13)
    _assert_same_bits(_streamed(tmp_path / "broken"), whole)
    a, b = (_lines(tmp_path / name) for name in ("whole", "broken"))
    assert all(0 <= line.pop("input_wait") <= 1 for line in (*a, *b))
    assert [line for line in b if line["step"] % 10 == 0] == a
    assert list((tmp_path / "broken" / "tensorboard" / "train").glob("events*"))
    other = stream.Crops(stream.Rows({"x": np.asarray(_data())}), rows=16, seed=5, accumulate=2)
    with pytest.raises(ValueError, match="another workdir"):
        _streamed(tmp_path / "broken", num_steps=40, fed=other)


def test_a_state_may_be_made_on_the_devices(tmp_path):
    def first():
        return steps.initial_state(_variables(), optax.adam(1e-2))

    made = _run(tmp_path / "a", state=first, num_steps=5)
    _assert_same_bits(made, _run(tmp_path / "b", num_steps=5))
    _assert_same_bits(_run(tmp_path / "a", state=first), _run(tmp_path / "b"))


def test_a_signal_in_the_last_step_stops_what_comes_after(tmp_path):
    def validate(state):
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    with pytest.raises(loop.Interrupted):
        _run(tmp_path, num_steps=5, validate=validate, validate_every=5)
    # The stage itself is finished.
    _run(tmp_path, num_steps=5)


def test_a_trace_is_written_though_there_are_fewer_steps(tmp_path):
    _run(tmp_path / "short", num_steps=4, profile=(2, 20))
    _run(tmp_path / "long", num_steps=8, profile=(2, 4))
    for name in ("short", "long"):
        assert list((tmp_path / name / "profile").rglob("*.xplane.pb"))
