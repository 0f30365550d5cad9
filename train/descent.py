"""What all runs of gradient descent have in common: from a preset to a weights file."""

import dataclasses
import functools
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import optax

from blurjax import weights
from train import loop

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
    """

    system: str
    preset: str
    plan: Any
    workdir: Path
    seed: int
    quiet: bool
    started: float = field(default_factory=time.monotonic)

    @property
    def key(self) -> jax.Array:
        """The random key that all others are folded from."""
        return jax.random.key(self.seed)

    def say(self, line: str) -> None:
        """A line on stderr, unless quiet."""
        if not self.quiet:
            print(line, file=sys.stderr, flush=True)

    def descend(
        self,
        variables: Variables,
        loss: Callable[..., Any],
        draw: Callable[..., Any],
        store: Any,
        *,
        validate: Callable[[Variables], Mapping[str, float]],
        validate_every: int = 500,
        optimizer: optax.GradientTransformation | None = None,
    ) -> Variables:
        """Train for the plan's steps, or what is left of them; see `loop.run`.

        Args:
            variables: the first.
            loss: the system's.
            draw: `draw(key, store, n=)`, a batch.
            store: what batches are drawn from, arrays.
            validate: variables to numbers by name.
            validate_every: steps.
            optimizer: by default AdamW with the plan's rate and weight decay.

        Returns:
            The last variables.
        """
        plan: Plan = self.plan
        if optimizer is None:
            optimizer = loop.adamw(plan.rate, plan.steps, weight_decay=plan.weight_decay)
        state = loop.run(
            loop.gradient_step(
                functools.partial(loss, config=plan.config),
                optimizer,
                functools.partial(draw, n=plan.batch),
            ),
            loop.initial_state(variables, optimizer),
            store,
            key=jax.random.fold_in(self.key, 3),
            num_steps=plan.steps,
            workdir=self.workdir,
            validate=lambda state: validate(state["variables"]),
            validate_every=validate_every,
            meta={"config": dataclasses.asdict(plan.config)},
            quiet=self.quiet,
        )
        return dict(state["variables"])

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
        return out


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
) -> Run:
    """A run by the name of its preset.

    Args:
        system: its name.
        presets: plans by name.
        preset: one of them.
        workdir: None for runs/SYSTEM_PRESET.
        seed, quiet: see `Run`.
        steps, batch: instead of the plan's, or None.
    """
    given = {"steps": steps, "batch": batch}
    given = {name: value for name, value in given.items() if value is not None}
    plan = dataclasses.replace(presets[preset], **given)
    return Run(system, preset, plan, workdir or Path("runs") / f"{system}_{preset}", seed, quiet)
