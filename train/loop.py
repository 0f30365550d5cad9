"""The training loop: a step on the device, and what a long run needs around it.

    step = gradient_step(loss, optimizer, sample)
    state = initial_state(variables, optimizer)
    state = run(step, state, photographs, key=key, num_steps=10_000, workdir="runs/a", ...)

`gradient_step` knows gradients and nothing of runs; `run` knows steps, logs, checkpoints and
signals, and nothing of gradients: any `step(state, data, key) -> (state, metrics)` will do.

A run is a function of its state, data and key: interrupted and started again with the same
arguments it ends with the same bits, and with the same metrics.jsonl apart from times.
"""

import contextlib
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from blurjax import checkpoint

State = Any
"""A pytree of arrays in dictionaries with string keys; `initial_state` makes the usual one."""

Data = Any
"""A pytree of arrays that stay on the device during the run, such as a stack of photographs."""

Step = Callable[[State, Data, jax.Array], tuple[State, Mapping[str, jax.Array]]]
"""`step(state, data, key) -> (state, metrics)`, traceable; metrics are scalars by name."""

DATA_AXIS = "data"
"""The one axis of the mesh; batches are split along it."""

_PLAIN_LINE_EVERY_S = 15.0

# jax.set_mesh came with jax 0.7.1.
_use_mesh = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh  # type: ignore[attr-defined]


class Aux(Protocol):
    """What a loss returns beside its value."""

    @property
    def metrics(self) -> Mapping[str, jax.Array]:
        """Scalars by name, means over the batch."""

    @property
    def state(self) -> Any:
        """The new `variables["state"]` (batch statistics)."""


class Loss(Protocol):
    """`loss(variables, batch, key=..., train=True) -> (scalar, aux)`, a mean over the batch."""

    def __call__(
        self, variables: Any, batch: Any, *, key: jax.Array, train: bool
    ) -> tuple[jax.Array, Aux]: ...


class Interrupted(SystemExit):
    """The run was stopped by a signal after saving; exit status 130."""

    def __init__(self) -> None:
        super().__init__(130)


def initial_state(variables: Any, optimizer: optax.GradientTransformation) -> State:
    """The state that `gradient_step` works on: variables, and the optimiser's own state."""
    return {"variables": variables, "opt": optimizer.init(variables["params"])}


def adamw(rate: float, num_steps: int, *, weight_decay: float) -> optax.GradientTransformation:
    """AdamW on gradients clipped to norm 1: 200 steps (a tenth, if that is less) of warm-up to
    `rate`, then down to 0 along a cosine."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, min(200, num_steps // 10), num_steps)
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=weight_decay)
    )


def gradient_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    sample: Callable[[jax.Array, Data], Any],
) -> Step:
    """Build a step of gradient descent on batches synthesised on the device.

    `batch = sample(key, data)`; the gradient of the loss with respect to
    `variables["params"]`; the optimiser's update. Inside `run` the batch is split over the
    devices; the loss is a mean over the whole batch, so the result does not depend on how
    many there are, up to the order of summation.

    Args:
        loss: see `Loss`.
        optimizer: an optax transformation.
        sample: key and data to a batch, a pytree whose arrays share the first axis; scalars
            in it are not split.

    Returns:
        A step from and to `{"variables", "opt"}`, whose metrics are those of the loss,
        "loss", and "gradient_norm".

    Raises:
        ValueError: (when traced) the batch does not divide among the devices.

    Source: our choice.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from types import SimpleNamespace
        >>> def loss(variables, batch, *, key, train):
        ...     error = jnp.mean((variables["params"]["w"] - batch) ** 2)
        ...     return error, SimpleNamespace(metrics={}, state={})
        >>> step = gradient_step(loss, optax.sgd(0.5), lambda key, data: data)
        >>> state = initial_state({"params": {"w": jnp.zeros(())}}, optax.sgd(0.5))
        >>> state, metrics = step(state, jnp.full(8, 3.0), jax.random.key(0))
        >>> float(state["variables"]["params"]["w"]), float(metrics["loss"])
        (3.0, 9.0)
    """

    def step(state: State, data: Data, key: jax.Array) -> tuple[State, Mapping[str, jax.Array]]:
        sample_key, loss_key = jax.random.split(key)
        batch = _split_over_devices(sample(sample_key, data))
        variables = state["variables"]

        def objective(params: Any) -> tuple[jax.Array, tuple[Mapping[str, jax.Array], Any]]:
            trial = {**variables, "params": params}
            value, aux = loss(trial, batch, key=loss_key, train=True)
            return value, (aux.metrics, aux.state)

        (value, (metrics, statistics)), gradient = jax.value_and_grad(objective, has_aux=True)(
            variables["params"]
        )
        # optax mixes dtypes (Adam raises a float to an integer count), which the strict
        # promotion of our tests forbids.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt = optimizer.update(gradient, state["opt"], variables["params"])
            params = optax.apply_updates(variables["params"], updates)
        new = {**variables, "params": params}
        if "state" in variables:
            new["state"] = statistics
        metrics = {**metrics, "gradient_norm": _norm(gradient), "loss": value}
        return {"variables": new, "opt": opt}, metrics

    return step


def _norm(tree: Any) -> jax.Array:
    """The Euclidean norm of all leaves together, in float32."""
    squares = [jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(tree)]
    return jnp.sqrt(jnp.sum(jnp.array(squares, dtype=jnp.float32)))


def _split_over_devices(batch: Any) -> Any:
    """Constrain the first axis of every array to the mesh that `run` has set, if any."""
    mesh = jax.sharding.get_abstract_mesh()
    if DATA_AXIS not in mesh.axis_names:
        return batch
    count = mesh.shape[DATA_AXIS]

    def split(x: jax.Array) -> jax.Array:
        if jnp.ndim(x) == 0:
            return x
        if len(x) % count:
            raise ValueError(
                f"a batch of {len(x)} does not divide among {count} devices; make it a "
                f"multiple of {count}, or give `run` fewer devices"
            )
        return jax.lax.with_sharding_constraint(x, PartitionSpec(DATA_AXIS))

    return jax.tree.map(split, batch)


def run(
    step: Step,
    state: State,
    data: Data,
    *,
    key: jax.Array,
    num_steps: int,
    workdir: str | Path,
    stage: str = "train",
    log_every: int = 100,
    checkpoint_every_s: float = 120.0,
    validate: Callable[[State], Mapping[str, Any]] | None = None,
    validate_every: int = 0,
    devices: Sequence[jax.Device] | None = None,
    meta: Mapping[str, Any] | None = None,
    quiet: bool = False,
) -> State:
    """Run `step` `num_steps` times, or what is left of them, and return the last state.

    Step i (from 0) gets `fold_in(key, i)`. Everything a run leaves behind is in `workdir`:
    `metrics.jsonl` and `checkpoints/<stage>`. A stage that is finished there returns at
    once. Host function.

    Args:
        step: see `Step`; it must keep the structure, shapes and dtypes of the state.
        state: the first state, copied: the caller's arrays survive.
        data: goes to every step, replicated on the devices.
        key: a JAX random key; a run is resumed only with the key it began with.
        num_steps: in all, those of earlier sittings included.
        workdir: made if it is missing.
        stage: names this part of a run of several parts.
        log_every: steps. Metrics are averaged over them, on the device.
        checkpoint_every_s: seconds between checkpoints; one more is made at the end.
        validate: state to floats by name, logged as "validate/<name>". The state it gets
            is overwritten by the next step: it must not keep it.
        validate_every: steps; 0 for never.
        devices: default all local ones.
        meta: JSON values to keep in every checkpoint, such as the model's configuration.
        quiet: no progress on the terminal.

    Returns:
        The state after `num_steps` steps, replicated on the devices.

    Raises:
        FloatingPointError: the loss (the metric of that name) is not finite, or the state
            holds NaN; checked before every log and checkpoint, so no checkpoint is bad.
        Interrupted: SIGINT or SIGTERM came; the step was finished and saved. A second
            signal acts as if this function were not there.
        ValueError: `workdir` belongs to a run with another key, or `step` changes the
            shape of the state.
        blurjax.checkpoint.CheckpointError: the checkpoint there is damaged or of another
            configuration.

    Source: our choice, after big_vision's train.py.

    Example: see tests/train/test_loop.py.
    """
    workdir = Path(workdir)
    folder = workdir / "checkpoints" / stage
    workdir.mkdir(parents=True, exist_ok=True)
    mesh = Mesh(np.array(list(devices or jax.local_devices())), (DATA_AXIS,))
    replicated = NamedSharding(mesh, PartitionSpec())

    # Two programs in flight on a CPU compete for its cores, and with several processes can
    # deadlock; accelerators want the next step queued early.
    block = mesh.devices.flat[0].platform == "cpu"

    def advance(
        state: State, totals: dict[str, jax.Array], data: Data, key: jax.Array, i: jax.Array
    ) -> tuple[State, dict[str, jax.Array]]:
        state, metrics = step(state, data, jax.random.fold_in(key, i))
        return state, {name: totals[name] + _as_metric(metrics[name]) for name in totals}

    # ---- restore: the order matters, and is this:
    # 1. The arguments: their state gives the structure that a checkpoint must have.
    # 2. The latest checkpoint of this stage, if there is one, replaces the state, and brings
    #    the sums of the metrics since the last log, the step and the seconds.
    # 3. Lines of metrics.jsonl beyond that step are dropped; they will be written again.
    # Other stages' checkpoints are not looked at: passing states on is the caller's business.
    state = _own_copy(state, replicated)
    data = jax.device_put(data, replicated)
    with _use_mesh(mesh):
        totals = _zero_totals(step, state, data, key)
    totals = jax.device_put(totals, replicated)
    saved = {"state": state, "totals": totals}
    i, seconds_before = 0, 0.0
    if checkpoint.latest_step(folder) is not None:
        saved, about, i = checkpoint.restore(folder, saved)
        if about["key"] != _key_words(key):
            raise ValueError(
                f"{folder} belongs to a run with another random key; give the same seed, or "
                "another workdir"
            )
        state, totals = (_own_copy(saved[name], replicated) for name in ("state", "totals"))
        seconds_before = about["seconds"]
    del saved  # It would keep a second copy of the state alive.
    if i >= num_steps:
        return state
    _drop_lines_after(workdir / "metrics.jsonl", stage, i)

    # ---- loop
    start = time.monotonic()
    log_time, log_step = start, i
    saved_time, saved_step = start, i if i else None
    summed_from = i - i % log_every
    advance_jit = jax.jit(advance, donate_argnums=(0, 1), out_shardings=replicated)

    def fail(what: str) -> FloatingPointError:
        last = "there is no checkpoint yet" if saved_step is None else f"step {saved_step} is saved"
        return FloatingPointError(
            f"{what} between steps {summed_from + 1} and {i} of stage {stage!r}; {last}: lower "
            "the learning rate, or set JAX_DEBUG_NANS=1 to find the operation"
        )

    def save(seconds: float) -> None:
        if not np.isfinite(float(totals.get("loss", 0.0))):
            raise fail("the loss became non-finite")
        if bool(_has_nan(state)):
            raise fail("the state became NaN")
        content = {"state": state, "totals": totals}
        own = {"stage": stage, "key": _key_words(key), "seconds": seconds}
        checkpoint.save(folder, i, content, {**(meta or {}), **own})

    with (
        (workdir / "metrics.jsonl").open("a", encoding="utf-8") as lines,
        _progress(stage, i, num_steps, quiet) as report,
        _signals() as stopped,
    ):

        def log(values: Mapping[str, float], **timing: float) -> None:
            finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
            line = {"stage": stage, "step": i, **timing, **finite}
            lines.write(json.dumps(line) + "\n")
            lines.flush()

        while i < num_steps:
            with _use_mesh(mesh):
                state, totals = advance_jit(state, totals, data, key, np.int32(i))
            i += 1
            if block:
                jax.block_until_ready(state)

            if i % log_every == 0 or i == num_steps:
                means = {k: float(v) / (i - summed_from) for k, v in jax.device_get(totals).items()}
                if not math.isfinite(means.get("loss", 0.0)):
                    raise fail(f"the loss became {means['loss']}")
                now = time.monotonic()
                rate = (i - log_step) / max(now - log_time, 1e-9)
                seconds = seconds_before + now - start
                log(means, seconds=round(seconds, 3), steps_per_second=round(rate, 3))
                report(i, means)
                totals = jax.device_put(jax.tree.map(jnp.zeros_like, totals), replicated)
                log_time, log_step, summed_from = now, i, i

            if validate is not None and validate_every and i % validate_every == 0:
                values = {f"validate/{k}": float(v) for k, v in validate(state).items()}
                log(values, seconds=round(seconds_before + time.monotonic() - start, 3))
                report(i, values)

            now = time.monotonic()
            if stopped() or i == num_steps or now - saved_time >= checkpoint_every_s:
                save(seconds_before + now - start)
                saved_time, saved_step = time.monotonic(), i
            if stopped() and i < num_steps:
                print(
                    f"stopped at step {i} of {num_steps} of stage {stage!r}, saved in {folder}; "
                    "run the same command again to go on from there",
                    file=sys.stderr,
                    flush=True,
                )
                raise Interrupted
    return state


def _own_copy(tree: Any, sharding: NamedSharding) -> Any:
    """`tree` on the devices in memory of its own."""
    # device_put alone may alias its source, and a donated step would then delete it.
    return jax.device_put(jax.tree.map(lambda x: jnp.array(x, copy=True), tree), sharding)


def _as_metric(value: jax.Array) -> jax.Array:
    return jnp.asarray(value).astype(jnp.float32)


def _zero_totals(step: Step, state: State, data: Data, key: jax.Array) -> dict[str, jax.Array]:
    """Zeros for the metrics of `step`, which is checked to keep the shape of the state."""
    new, metrics = jax.eval_shape(step, state, data, key)
    before, after = (
        {jax.tree_util.keystr(path): f"{x.dtype}{list(x.shape)}" for path, x in flat}
        for flat, _ in map(jax.tree_util.tree_flatten_with_path, (state, new))
    )
    if before != after:
        name = next(n for n in {**before, **after} if before.get(n) != after.get(n))
        raise ValueError(
            f"the step turns state{name} from {before.get(name)} into {after.get(name)}; it must "
            "keep the structure, shapes and dtypes of the state"
        )
    if any(value.shape for value in metrics.values()):
        raise ValueError("the metrics of the step are not all scalars; take means in the step")
    return {name: jnp.zeros((), jnp.float32) for name in metrics}


@jax.jit
def _has_nan(tree: Any) -> jax.Array:
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.any(jnp.array([jnp.any(jnp.isnan(x)) for x in floats], dtype=bool))


def _key_words(key: jax.Array) -> list[int]:
    """The random key as numbers for the checkpoint's meta."""
    typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(key) if typed else key).tolist()


def _drop_lines_after(path: Path, stage: str, step: int) -> None:
    """Remove the lines of `stage` beyond `step`, and a last line cut off by a crash."""
    if not path.exists():
        return

    def stays(line: str) -> bool:
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            return False
        return entry["stage"] != stage or entry["step"] <= step

    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(filter(stays, lines)), encoding="utf-8")
    os.replace(temporary, path)


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], bool]]:
    """Take SIGINT and SIGTERM; yields a function that tells whether one has come."""
    came = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield came.is_set  # Only the main thread may set handlers.
        return
    numbers = (signal.SIGINT, signal.SIGTERM)

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def take(number: int, frame: Any) -> None:
        came.set()
        restore()  # A second signal does not wait for the step.

    before = {number: signal.signal(number, take) for number in numbers}
    try:
        yield came.is_set
    finally:
        restore()


@contextlib.contextmanager
def _progress(
    stage: str, done: int, total: int, quiet: bool
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """Progress on stderr: a bar on a terminal, else a line now and then; yields the reporter."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    def text(values: Mapping[str, float]) -> str:
        return "  ".join(f"{name} {value:.4g}" for name, value in values.items())

    if quiet:
        yield lambda step, values: None
        return
    console = Console(stderr=True)
    if console.is_terminal:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
        )
        with Progress(*columns, console=console) as bar:
            task = bar.add_task(stage, total=total, completed=done, metrics="")
            yield lambda step, values: bar.update(task, completed=step, metrics=text(values))
        return
    last = -math.inf

    def line(step: int, values: Mapping[str, float]) -> None:
        nonlocal last
        if step == total or time.monotonic() - last >= _PLAIN_LINE_EVERY_S:
            last = time.monotonic()
            print(f"{stage} {step}/{total}  {text(values)}", file=sys.stderr, flush=True)

    yield line
