"""The training loop: what a long run needs around its steps.

    step = steps.gradient_step(loss, optimizer, sample, batch=64)
    state = steps.initial_state(variables, optimizer)
    state = run(step, state, photographs, key=key, num_steps=10_000, workdir="runs/a", ...)

`steps` knows gradients and nothing of runs; `run` knows logs, checkpoints and signals, and nothing
of gradients: any `step(state, data, key) -> (state, metrics)` will do.

A run is a function of its state, data and key: interrupted and started again with the same
arguments it ends with the same bits, and with the same metrics.jsonl apart from times. In a job
of several processes (`jax.distributed`) each calls `run` with the same arguments.
"""

import contextlib
import json
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from blurjax import checkpoint
from train.steps import DATA_AXIS, State, Step

Data = Any
"""A pytree of arrays that stay on the device during the run, such as a stack of photographs; or a
`Stream` of them, of which every step gets its own."""

_PLAIN_LINE_EVERY_S = 15.0
# Steps after which processes ask each other whether one was told to stop: asking costs a message.
_AGREE_EVERY = 10

# jax.set_mesh came with jax 0.7.1.
_use_mesh = getattr(jax, "set_mesh", None) or jax.sharding.use_mesh  # type: ignore[attr-defined]


@runtime_checkable
class Stream(Protocol):
    """Sharp crops that the host feeds, other ones in every step: see `train.stream`."""

    @property
    def identity(self) -> str:
        """Of what it is made of: a run is resumed only with the stream it began with."""

    def at(self, step: int) -> Any:
        """What this process feeds in a step (from 0): arrays (accumulate, rows, ...)."""

    def batches(self, start: int) -> Generator[Any, None, None]:
        """`at(start)`, `at(start + 1)`, ..., read ahead; closed when the run ends."""


class Interrupted(SystemExit):
    """The run was stopped by a signal after saving; exit status 130."""

    def __init__(self) -> None:
        super().__init__(130)


def run(
    step: Step,
    state: State | Callable[[], State],
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
    best: str | None = None,
    keep: int = 2,
    devices: Sequence[jax.Device] | None = None,
    meta: Mapping[str, Any] | None = None,
    tensorboard: bool = False,
    profile: tuple[int, int] | None = None,
    quiet: bool = False,
) -> State:
    """Run `step` `num_steps` times, or what is left of them, and return the last state.

    Step i (from 0) gets `fold_in(key, i)`, and of a stream its `at(i)`. Everything a run leaves
    behind is in `workdir`: `metrics.jsonl` and `checkpoints/<stage>`. A stage that is finished
    there returns at once. Host function; with several processes the first one writes.

    Args:
        step: see `Step`; it must keep the structure, shapes and dtypes of the state.
        state: the first state, copied: the caller's arrays survive; or a traceable function that
            makes it, which is then made on the devices, and not at all if there is a checkpoint.
        data: goes to every step, replicated on the devices; or a `Stream`.
        key: a JAX random key; a run is resumed only with the key it began with.
        num_steps: in all, those of earlier sittings included.
        workdir: made if it is missing.
        stage: names this part of a run of several parts.
        log_every: steps. Metrics are averaged over them, on the device. "input_wait" of a stream
            is the share of the time in which the loop waited for it.
        checkpoint_every_s: seconds between checkpoints; one more is made at the end. They are
            written in the background.
        validate: state to floats by name, logged as "validate/<name>". The state it gets
            is overwritten by the next step: it must not keep it.
        validate_every: steps; 0 for never.
        best: a name of those floats, with "-" before it if high is good: whenever it is the best
            so far there is a checkpoint, and that one is kept (`checkpoint.best_step`). None: only
            the last ones are.
        keep: how many of the last checkpoints stay.
        devices: default all, of all processes.
        meta: JSON values to keep in every checkpoint, such as the model's configuration.
        tensorboard: whether the curves are written to WORKDIR/tensorboard too.
        profile: first and last step of a trace of the profiler, in WORKDIR/profile, counted from
            where this sitting begins.
        quiet: no progress on the terminal.

    Returns:
        The state after `num_steps` steps, replicated on the devices; with several processes a
        copy on this one's first.

    Raises:
        FloatingPointError: the loss (the metric of that name) is not finite, or the state
            holds NaN; checked before every log and checkpoint, so no checkpoint is bad. The batch
            of the first such step is in WORKDIR/failed.
        Interrupted: SIGINT or SIGTERM came, to any process; the step (with several processes the
            next one divisible by 10) was finished and saved. A second signal acts as if this
            function were not there.
        ValueError: `workdir` belongs to a run with another key or stream, or `step` changes the
            shape of the state.
        blurjax.checkpoint.CheckpointError: all checkpoints there are damaged or of another
            configuration, or one could not be written. A damaged one is passed over, with a
            sentence, for an earlier one.

    Source: our choice, after big_vision's train.py.

    Example: see tests/train/test_loop.py.
    """
    workdir = Path(workdir)
    folder = workdir / "checkpoints" / stage
    workdir.mkdir(parents=True, exist_ok=True)
    mesh = Mesh(np.array(list(devices or jax.devices())), (DATA_AXIS,))
    replicated = NamedSharding(mesh, PartitionSpec())
    several, first = jax.process_count() > 1, jax.process_index() == 0
    stream: Stream | None = data if isinstance(data, Stream) else None
    identity = None if stream is None else stream.identity
    # Other processes' devices take numbers, not arrays that lie on a device of this one.
    words, impl = _key_words(key), checkpoint.key_implementation(key)

    # Two programs in flight on a CPU compete for its cores, and with several processes can
    # deadlock; accelerators want the next step queued early.
    block = mesh.devices.flat[0].platform == "cpu"

    def own_key(words: jax.Array, i: jax.Array | int) -> jax.Array:
        typed = words if impl is None else jax.random.wrap_key_data(words, impl=impl)
        return jax.random.fold_in(typed, i)

    def advance(
        state: State, totals: dict[str, Any], data: Data, words: jax.Array, i: jax.Array
    ) -> tuple[State, dict[str, Any]]:
        state, metrics = step(state, data, own_key(words, i))
        sums = {name: x + _as_metric(metrics[name]) for name, x in totals["sums"].items()}
        fine = jnp.isfinite(_as_metric(metrics.get("loss", jnp.zeros(()))))
        bad = jnp.where((totals["bad"] < 0) & ~fine, i, totals["bad"])
        return state, {"sums": sums, "bad": bad}

    def fed(batch: Any) -> Any:
        """A process's rows as a part of the global arrays."""
        split = NamedSharding(mesh, PartitionSpec(None, DATA_AXIS))
        return jax.tree.map(lambda x: jax.make_array_from_process_local_data(split, x), batch)

    # ---- restore: the order matters, and is this:
    # 1. The arguments: their state gives the structure that a checkpoint must have.
    # 2. The latest whole checkpoint of this stage, if there is one, replaces the state, and brings
    #    the sums of the metrics since the last log, the step and the seconds. Damaged later ones
    #    are set aside.
    # 3. Lines of metrics.jsonl beyond that step are dropped; they will be written again.
    # Other stages' checkpoints are not looked at: passing states on is the caller's business.
    shapes = jax.eval_shape(state) if callable(state) else state
    if stream is None:
        data = _spread(data, replicated) if several else jax.device_put(data, replicated)
    example = fed(stream.at(0)) if stream is not None else data
    with _use_mesh(mesh):
        totals = nothing = _zero_totals(step, shapes, example, key)
    del example
    saved = {"state": shapes, "totals": totals}
    i, seconds_before, best_value = 0, 0.0, math.inf
    restored = _restored(folder, saved)
    if restored is not None:
        saved, about, i = restored
        if about["key"] != words.tolist():
            raise ValueError(
                f"{folder} belongs to a run with another random key; give the same seed, or "
                "another workdir"
            )
        if about.get("stream") != identity:
            raise ValueError(
                f"{folder} belongs to a run with other input (photographs, batch, parts or seed); "
                "give the same, or another workdir"
            )
        state, totals = (_own_copy(saved[name], replicated) for name in ("state", "totals"))
        seconds_before = about["seconds"]
        if about.get("best") is not None:
            best_value = about["best"]
    else:
        if callable(state):
            # Made where it will lie: no device ever holds more than its own.
            state = jax.jit(state, out_shardings=replicated)()
        else:
            state = _own_copy(state, replicated)
        totals = _own_copy(totals, replicated)
    del saved, shapes, restored  # They would keep a second copy of the state alive.
    if i >= num_steps:
        return _local(state)
    if first:
        _drop_lines_after(workdir / "metrics.jsonl", stage, i)

    # ---- loop
    start, begun = time.monotonic(), i
    log_time, log_step, waited = start, i, 0.0
    saved_time, saved_step = start, i if i else None
    summed_from = i - i % log_every
    advance_jit = jax.jit(advance, donate_argnums=(0, 1), out_shardings=replicated)

    def fail(what: str) -> FloatingPointError:
        last = "there is no checkpoint yet" if saved_step is None else f"step {saved_step} is saved"
        bad = int(totals["bad"])
        where = f"between steps {summed_from + 1} and {i} of stage {stage!r}"
        if bad >= 0:
            where += f", first in step {bad + 1}"
            # Whatever happens here must not hide what happened there.
            with contextlib.suppress(Exception):
                file = _keep_batch(workdir / "failed", stage, bad, batch_of(bad))
                where += f", whose batch is in {file}" if file else ""
        return FloatingPointError(
            f"{what} {where}; {last}: lower the learning rate, or set JAX_DEBUG_NANS=1 to find the "
            "operation"
        )

    def batch_of(number: int) -> Any:
        """What a step was given: its batch, or what the host fed it."""
        given = stream.at(number) if stream is not None else data
        redraw = getattr(step, "redraw", None)
        if redraw is None or several:
            return {"streamed": given} if stream is not None else {}
        return redraw(given, own_key(jnp.asarray(words), number), mesh.size)

    def save(seconds: float, score: float | None = None) -> None:
        if not np.isfinite(float(totals["sums"].get("loss", 0.0))):
            raise fail("the loss became non-finite")
        if bool(_has_nan(state)):
            raise fail("the state became NaN")
        content = {"state": state, "totals": totals}
        own = {"stage": stage, "key": words.tolist(), "seconds": seconds, "stream": identity}
        own["best"] = best_value if math.isfinite(best_value) else None
        checkpoints.save(i, content, {**(meta or {}), **own}, score=score)

    with contextlib.ExitStack() as stack:
        lines = None
        if first:
            lines = stack.enter_context((workdir / "metrics.jsonl").open("a", encoding="utf-8"))
        curves = stack.enter_context(_curves(workdir / "tensorboard" / stage, i, tensorboard))
        report = stack.enter_context(_progress(stage, i, num_steps, quiet or not first))
        stopped = stack.enter_context(_signals())
        trace = stack.enter_context(contextlib.ExitStack())
        checkpoints = stack.enter_context(
            checkpoint.Checkpoints(folder, keep=keep, keep_best=1 if best else 0)
        )
        upcoming: Iterator[Any] = iter(())
        if stream is not None:
            upcoming = stack.enter_context(contextlib.closing(stream.batches(i)))
            given = fed(next(upcoming))

        def log(values: Mapping[str, float], **timing: float) -> None:
            if lines is None:
                return
            finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
            line = {"stage": stage, "step": i, **timing, **finite}
            lines.write(json.dumps(line) + "\n")
            lines.flush()
            curves(i, {**timing, **values})

        while i < num_steps:
            if profile is not None and i - begun == profile[0]:
                jax.profiler.start_trace(workdir / "profile")
                # Also if there are fewer steps, or one fails.
                trace.callback(jax.profiler.stop_trace)
            with _use_mesh(mesh):
                state, totals = advance_jit(
                    state, totals, given if stream is not None else data, words, np.int32(i)
                )
            i += 1
            if stream is not None and i < num_steps:
                # While the devices are busy with this step.
                before = time.monotonic()
                given = fed(next(upcoming))
                waited += time.monotonic() - before
            if block:
                jax.block_until_ready(state)
            if profile is not None and i - begun == profile[1]:
                jax.block_until_ready(state)
                trace.close()

            if i % log_every == 0 or i == num_steps:
                sums = jax.device_get(totals["sums"])
                means = {k: float(v) / (i - summed_from) for k, v in sums.items()}
                if not math.isfinite(means.get("loss", 0.0)):
                    raise fail(f"the loss became {means['loss']}")
                now = time.monotonic()
                timing = {"seconds": round(seconds_before + now - start, 3)}
                timing["steps_per_second"] = round((i - log_step) / max(now - log_time, 1e-9), 3)
                if stream is not None:
                    timing["input_wait"] = round(waited / max(now - log_time, 1e-9), 4)
                log(means, **timing)
                report(i, means)
                log_time, log_step, waited = now, i, 0.0
                # The last line may be short: a run continued with more steps sums on.
                if i % log_every == 0:
                    totals = _own_copy(nothing, replicated)
                    summed_from = i

            score = None
            if validate is not None and validate_every and i % validate_every == 0:
                found = {k: float(v) for k, v in validate(_local(state)).items()}
                values = {f"validate/{k}": v for k, v in found.items()}
                log(values, seconds=round(seconds_before + time.monotonic() - start, 3))
                report(i, values)
                if best is not None:
                    score = -found[best[1:]] if best.startswith("-") else found[best]
                    # What is no number is no score.
                    score = score if math.isfinite(score) else math.inf

            now = time.monotonic()
            stop, due = stopped(), now - saved_time >= checkpoint_every_s
            if several:
                # Everyone stops and saves in the same step, or they would wait for ever.
                stop = due = False
                if i % _AGREE_EVERY == 0 or i == num_steps or score is not None:
                    stop, due = _agreed(stopped(), now - saved_time >= checkpoint_every_s)
                if score is not None:
                    score = float(multihost_utils.broadcast_one_to_all(np.float64(score)))
            improved = score is not None and score < best_value
            if improved:
                assert score is not None
                best_value = score
            if stop or due or improved or i == num_steps:
                scored = score is not None and math.isfinite(score)
                save(seconds_before + now - start, score if scored else None)
                saved_time, saved_step = time.monotonic(), i
            # Also after the last step: the caller may have other stages to come.
            if stop:
                checkpoints.wait()
                if first:
                    print(
                        f"stopped at step {i} of {num_steps} of stage {stage!r}, saved in "
                        f"{folder}; run the same command again to go on from there",
                        file=sys.stderr,
                        flush=True,
                    )
                raise Interrupted
    return _local(state)


def _restored(folder: Path, target: Any) -> tuple[Any, dict[str, Any], int] | None:
    """The latest whole checkpoint, None if there is none; damaged later ones are set aside.

    Of several processes the first chooses it, and the others take the same: each reading for itself
    might find another one.
    """
    several, first = jax.process_count() > 1, jax.process_index() == 0
    damaged: list[int] = []

    def pass_over(number: int, sentence: str) -> None:
        damaged.append(number)
        print(sentence, file=sys.stderr, flush=True)

    found, failure, chosen = None, None, -1
    if first and checkpoint.latest_step(folder) is not None:
        try:
            found = checkpoint.restore(folder, target, pass_over=pass_over)
            chosen = found[2]
        except checkpoint.CheckpointError as error:
            failure, chosen = error, -2
    if several:
        chosen = int(multihost_utils.broadcast_one_to_all(np.int64(chosen)))
    if failure is not None:
        raise failure
    if chosen == -2:
        raise checkpoint.CheckpointError(f"{folder}: the first process says what is wrong with it")
    if not first and chosen >= 0:
        found = checkpoint.restore(folder, target, step=chosen)
    if several:
        multihost_utils.sync_global_devices("restored")
    for number in damaged:
        checkpoint.set_aside(folder, number)
    return found


def _agreed(stop: bool, due: bool) -> tuple[bool, bool]:
    """Whether any process was told to stop, and whether the first one finds a save due."""
    said = multihost_utils.process_allgather(np.array([stop, due]))
    return bool(said[:, 0].any()), bool(said[0, 1])


def _own_copy(tree: Any, sharding: NamedSharding) -> Any:
    """`tree` on the devices in memory of its own."""
    if jax.process_count() > 1:
        return _spread(tree, sharding)
    # device_put alone may alias its source, and a donated step would then delete it.
    return jax.device_put(jax.tree.map(lambda x: jnp.array(x, copy=True), tree), sharding)


def _spread(tree: Any, sharding: NamedSharding) -> Any:
    """What every process holds alike, as arrays over the devices of all of them."""

    def spread(x: Any) -> jax.Array:
        impl = checkpoint.key_implementation(x)
        host = np.asarray(x if impl is None else jax.random.key_data(x))
        whole = jax.make_array_from_callback(host.shape, sharding, lambda index: host[index])
        if impl is None:
            return whole
        return jax.jit(lambda x: jax.random.wrap_key_data(x, impl=impl), out_shardings=sharding)(
            whole
        )

    return jax.tree.map(spread, tree)


def _local(tree: Any) -> Any:
    """With several processes, this one's copy of replicated arrays."""
    if jax.process_count() == 1:
        return tree
    return jax.tree.map(lambda x: x.addressable_data(0), tree)


def _keep_batch(folder: Path, stage: str, step: int, batch: Any) -> Path | None:
    """Write a batch as npz, its arrays by their path in the tree; nothing of an empty one."""
    if not jax.tree.leaves(batch):
        return None
    folder.mkdir(parents=True, exist_ok=True)
    process = f"-process{jax.process_index()}" if jax.process_count() > 1 else ""
    file = folder / f"{stage}-step{step + 1}{process}.npz"
    flat, _ = jax.tree_util.tree_flatten_with_path(batch)
    arrays: Any = {jax.tree_util.keystr(path, simple=True): np.asarray(x) for path, x in flat}
    np.savez(file, **arrays)
    return file


def _as_metric(value: jax.Array) -> jax.Array:
    return jnp.asarray(value).astype(jnp.float32)


def _zero_totals(step: Step, state: State, data: Data, key: jax.Array) -> dict[str, Any]:
    """Sums of the metrics of `step`, and which step was the first whose loss was not finite: none;
    and `step` is checked to keep the shape of the state."""
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
    return {"sums": {name: np.zeros((), np.float32) for name in metrics}, "bad": np.int32(-1)}


@jax.jit
def _has_nan(tree: Any) -> jax.Array:
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.any(jnp.array([jnp.any(jnp.isnan(x)) for x in floats], dtype=bool))


def _key_words(key: jax.Array) -> np.ndarray:
    """The random key as numbers."""
    return np.asarray(
        key if checkpoint.key_implementation(key) is None else jax.random.key_data(key)
    )


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
def _curves(
    folder: Path, done: int, wanted: bool
) -> Iterator[Callable[[int, Mapping[str, float]], None]]:
    """TensorBoard's files, without TensorFlow; yields what writes numbers at a step."""
    if not wanted or jax.process_index() > 0:
        yield lambda step, values: None
        return
    from tensorboardX import SummaryWriter

    # What an earlier sitting wrote beyond its last checkpoint is not shown.
    writer = SummaryWriter(str(folder), purge_step=done + 1)

    def write(step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            writer.add_scalar(name, value, step)

    try:
        yield write
    finally:
        writer.close()


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
