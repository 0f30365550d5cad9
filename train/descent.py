"""What all runs of gradient descent have in common: from a preset to a weights file."""

import dataclasses
import functools
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax

from blurjax import weights
from train import files, loop, machine, settings, steps, stream
from train.machine import Machine

Variables = dict[str, Any]


class Plan(Protocol):
    """The part of a system's preset that a run needs."""

    @property
    def config(self) -> Any: ...
    @property
    def steps(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...


@dataclass(frozen=True)
class Run:
    """One run: what it is called, where it writes, and what it says on the way.

    Attributes:
        system, preset: names.
        plan: the preset.
        workdir: checkpoints, metrics.jsonl and whatever else it leaves behind.
        seed: of everything random.
        quiet: no progress.
        machine: how it is carried out.
    """

    system: str
    preset: str
    plan: Any
    workdir: Path
    seed: int
    quiet: bool
    machine: Machine = field(default_factory=Machine)
    started: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> jax.Array:
        """The random key that all others are folded from."""
        return jax.random.key(self.seed)

    def say(self, line: str) -> None:
        """A line on stderr, unless quiet; of several processes the first one speaks."""
        if not self.quiet:
            machine.say(line)

    def descend(
        self,
        variables: Variables | Callable[[], Variables],
        loss: Callable[..., Any],
        draw: Callable[..., Any],
        store: Any,
        *,
        validate: Callable[[Variables], Mapping[str, float]],
        validate_every: int = 500,
        best: str | None = None,
        optimizer: optax.GradientTransformation | None = None,
        records: stream.Records | None = None,
        least_rows: int = 1,
        stage: str = "train",
        key: jax.Array | None = None,
    ) -> Variables:
        """Train for the plan's steps, or what is left of them; see `loop.run`.

        Args:
            variables: the first, or a traceable function that makes them.
            loss: the system's.
            draw: `draw(key, store, n=)`, a batch.
            store: what batches are drawn from, arrays.
            validate: variables to numbers by name.
            validate_every: steps.
            best: the number of these that is to be low, or (with "-" before it) high: the
                checkpoint where it is best stays.
            optimizer: by default AdamW with the plan's rate and weight decay.
            records: what the host feeds in place of `store`, if it is to stream; None for the rows
                of `store`, where all its arrays have one for each of them.
            least_rows: how many streamed crops a part of a batch must have.
            stage: its name among the parts of the run.
            key: of the steps.

        Returns:
            The last variables.

        Raises:
            ValueError: the store is empty or not finite, the batch does not divide among the
                devices, or the folder is that of a run with other settings.
        """
        plan, how, parts = self.plan, self.machine, self.parts()
        if optimizer is None:
            optimizer = steps.adamw(plan.rate, plan.steps, weight_decay=plan.weight_decay)
        if records is None:
            _check(store)
            size = plan.batch // parts
            try:
                jax.eval_shape(functools.partial(draw, n=size), self.key, store)
            except ValueError as error:
                raise ValueError(
                    f"a batch of {plan.batch} in {parts} parts of n = {size}: {error} (a larger "
                    "batch, or fewer --devices or pieces)"
                ) from error
        given = store
        if how.stream:
            given = stream.Crops(
                records or stream.Rows(store),
                rows=self._rows(parts, least_rows),
                seed=self.seed,
                accumulate=how.accumulate,
                workers=how.workers,
            )
        step = steps.gradient_step(
            functools.partial(loss, config=plan.config),
            optimizer,
            draw,
            batch=plan.batch,
            parts=parts,
            accumulate=how.accumulate,
            streamed=how.stream,
            compute_dtype=how.compute_dtype,
        )
        self._explain(parts)

        def start() -> Any:
            return steps.initial_state(variables() if callable(variables) else variables, optimizer)

        state = loop.run(
            step,
            start if callable(variables) else start(),
            given,
            key=jax.random.fold_in(self.key, 3) if key is None else key,
            num_steps=plan.steps,
            workdir=self.workdir,
            stage=stage,
            validate=lambda state: validate(state["variables"]),
            validate_every=validate_every,
            best=best,
            keep=how.keep,
            checkpoint_every_s=how.checkpoint_every,
            devices=how.chosen(),
            meta={"config": dataclasses.asdict(plan.config)},
            tensorboard=how.tensorboard,
            profile=(10, 20) if how.profile else None,
            quiet=self.quiet,
        )
        # Workers count for themselves.
        skipped = () if how.workers else getattr(records, "skipped", ())
        if skipped:
            self.say(f"{len(skipped)} photographs could not be read, and were skipped")
        return dict(state["variables"])

    def _rows(self, parts: int, least: int) -> int:
        """How many crops the host feeds in a step."""
        rows, rest = divmod(self.plan.batch, self.machine.reuse)
        if rest or rows % parts or rows // parts < least:
            raise ValueError(
                f"--reuse {self.machine.reuse}: a batch of {self.plan.batch} would be made of "
                f"{self.plan.batch / self.machine.reuse:g} crops, which {parts} parts cannot share "
                f"evenly, at least {least} each; choose a divisor of batch / parts, or a larger "
                "batch"
            )
        return rows

    def parts(self) -> int:
        """In how many parts batches are drawn: as they were before, if that goes.

        Raises:
            ValueError: the batch does not divide into them, or they among the devices.
        """
        devices, pieces = len(self.machine.chosen()), self.machine.accumulate
        least = devices * pieces
        before = _read(self.workdir / "config.json").get("parts", least)
        given = self.machine.parts or (before if before % least == 0 else least)
        return steps.shares(self.plan.batch, given, pieces, devices)[0]

    def about(self) -> dict[str, Any]:
        """What is trained, as JSON has it.

        Raises:
            ValueError: the folder is that of a run with other settings.
        """
        about = {
            "system": self.system,
            "preset": self.preset,
            "seed": self.seed,
            "plan": dataclasses.asdict(self.plan),
        }
        # As it will be read again: JSON knows no tuples.
        about = json.loads(json.dumps(about))
        other = [
            f"{name} was {_short(old)} and is {_short(new)}"
            for name, old, new in _differences(_read(self.workdir / "config.json"), about)
            # More steps are what a finished run is continued with.
            if name != "plan.steps"
        ]
        if other:
            raise ValueError(
                f"{self.workdir} belongs to a run with other settings ({'; '.join(other)}); give "
                "those, or another --workdir"
            )
        return about

    def _explain(self, parts: int) -> None:
        """Write what the run is into its folder."""
        about, path = self.about(), self.workdir / "config.json"
        before = _read(path)
        if not machine.first():
            return
        if before.get("parts", parts) != parts:
            self.say(
                f"batches were drawn in {before['parts']} parts; from here on they are drawn in "
                f"{parts}, which are other batches"
            )
        how = dataclasses.asdict(self.machine)
        sitting = {
            "time": time.strftime("%Y-%m-%d %H:%M:%S"),
            "command": shlex.join(["python", "-m", "train", *sys.argv[1:]]),
            "commit": _commit(),
            **machine.about(),
        }
        sittings = [*before.get("sittings", []), sitting]
        files.write(path, {**about, "parts": parts, "machine": how, "sittings": sittings})
        (self.workdir / "README.md").write_text(
            _README.format(system=self.system, preset=self.preset, command=sitting["command"])
        )

    def write(
        self,
        variables: Variables,
        about: Mapping[str, Any],
        out: Path | None,
        measure: Callable[[Variables], Mapping[str, float]],
    ) -> Path:
        """Write the weights file, and say what is measured of it as it is on disk.

        Args:
            variables: the last.
            about: `files.listing` of the photographs.
            out: the file; None for WORKDIR/SYSTEM.npz.
            measure: variables to numbers by name.

        Returns:
            Path of the file.
        """
        out = out or self.workdir / f"{self.system}.npz"
        if not machine.first():
            machine.together("written")
            return out
        record = {
            "preset": self.preset,
            "seed": self.seed,
            "steps": self.plan.steps,
            "files": {k: about[k] for k in ("train", "validation", "sha256")},
            "jax": jax.__version__,
        }
        weights.save(out, variables, self.plan.config, record)
        stored, _, _ = weights.load(out, type(self.plan.config))
        measured = measure(jax.tree.map(jnp.asarray, stored))
        seconds = time.monotonic() - self.started
        self.say(f"{self.preset}: {seconds:.0f} s in this sitting; validation after the cast:")
        for name, value in measured.items():
            self.say(f"  {name} {value:.4f}")
        size = out.stat().st_size / 1e6
        self.say(f"weights in {out} ({size:.2f} MB), everything else in {self.workdir}")
        machine.together("written")
        return out


_README = """A training run of {system}, preset {preset}. Its last command:

    {command}

The same command goes on where it stopped. What is here:

| file | what |
|---|---|
| config.json | every setting, and each sitting with its command, commit, versions and devices |
| files.json | which photographs it is trained and validated on, with hashes |
| metrics.jsonl | a line every 100 steps (means over them), and one at each validation |
| tensorboard/ | the same as curves: tensorboard --logdir . |
| checkpoints/STAGE/STEP | the last checkpoints and the best, for blurjax.checkpoint.restore |
| failed/ | the batch of the first step whose loss was not finite, if there was one |
| profile/ | a trace of JAX's profiler, if it was asked for |
| {system}.npz | the trained weights, float16 |
"""


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def _differences(before: Any, after: Any, name: str = "") -> list[tuple[str, Any, Any]]:
    """Where two trees of JSON values differ; what only one of them has does not count: presets
    gain fields."""
    if isinstance(before, dict) and isinstance(after, dict):
        return [
            one
            for key in before.keys() & after.keys()
            for one in _differences(before[key], after[key], f"{name}.{key}".lstrip("."))
        ]
    return [(name, before, after)] if before != after else []


def _short(value: Any) -> str:
    return json.dumps(value)[:60]


def _commit() -> str:
    """The checkout's commit, "+" if files have changed since; "" outside of one."""
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip() if found.returncode == 0 else ""


def _check(store: Any) -> None:
    """Refuse what cannot be trained on, before minutes of compiling."""
    for path, leaf in jax.tree_util.tree_flatten_with_path(store)[0]:
        name = jax.tree_util.keystr(path, simple=True, separator=".") or "the store"
        if np.size(leaf) == 0:
            raise ValueError(f"{name}, to be trained on, is empty {np.shape(leaf)}; give more data")
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not bool(jnp.all(jnp.isfinite(leaf))):
            raise ValueError(
                f"{name}, to be trained on, holds values that are NaN or infinite; look where it "
                "was made"
            )


def begin(
    system: str,
    presets: Mapping[str, Any],
    preset: str,
    *,
    workdir: Path | None,
    seed: int,
    steps: int | None,
    quiet: bool,
    batch: int | None = None,
    change: tuple[str, ...] = (),
    how: Machine | None = None,
) -> Run:
    """A run by the name of its preset; joins the other processes, if there are any.

    Args:
        system: its name.
        presets: plans by name.
        preset: one of them.
        workdir: None for runs/SYSTEM_PRESET.
        seed, quiet: see `Run`.
        steps, batch: instead of the plan's, or None.
        change: other values instead of the plan's, see `settings.changed`.
        how: see `Machine`.

    Raises:
        ValueError: an unknown or mistyped setting; a process that does not find the others; a batch
            that does not divide among the devices; the folder of a run with other settings.
    """
    how = how or Machine()
    given = {"steps": steps, "batch": batch}
    given = {name: value for name, value in given.items() if value is not None}
    plan = settings.changed(dataclasses.replace(presets[preset], **given), change)
    how.begin()
    workdir = workdir or Path("runs") / f"{system}_{preset}"
    run = Run(system, preset, plan, workdir, seed, quiet, how)
    # Before anything is read or compiled.
    run.about()
    run.parts()
    return run
