"""Train kernel_size: the correlation network, or residual networks of patches."""

import functools
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from blurjax import data, kernel_size, plots
from blurjax.kernel_size import COVERAGE, Batch, Config
from train import descent, files, machine, stream
from train.configs.kernel_size import PRESETS, Preset
from train.machine import Changes, How, Machine

Variables = dict[str, Any]

# Factors by which photographs are reduced: what is soft at the pixel is sharp at a larger one.
_FACTORS = (1.0, 1.25, 1.6, 2.0, 3.0)
_CHECKS, _CHUNK = 240, 20
# Drawn of a cascade's run, and of the others'.
_STAGES = ("coarse_loss", "fine_loss", "coarse_accuracy", "fine_accuracy")
_WHOLE = ("loss", "abe (pixel)")


def train(
    preset: Literal[tuple(PRESETS)] = "correlation",  # type: ignore[valid-type]
    images: tuple[Path, ...] = (),
    out: Path | None = None,
    workdir: Path | None = None,
    seed: int = 0,
    steps: Annotated[int | None, tyro.conf.arg(help="train for so many steps instead")] = None,
    batch: Annotated[int | None, tyro.conf.arg(help="of so many images instead")] = None,
    quiet: bool = False,
    change: Changes = (),
    how: How = Machine(),  # noqa: B008
) -> Path:
    """Train the networks of a preset, all at once, and write a weights file.

    Interrupted, it goes on where it was when the same command is given again. Kernels are drawn
    anew in every step, so that those of validation are none of training.

    Args:
        preset: which of train/configs/kernel_size.py.
        images: folders of photographs. Every folder is split by image into training (80 %),
            validation (10 %) and test (10 %, not looked at); without any folder the photographs
            inside scikit-image are used. Those with less than 160 pixels a side are refused, and
            counted.
        out: the weights file; default WORKDIR/kernel_size.npz.
        workdir: checkpoints, metrics.jsonl, the list of files and the figure of the convergence;
            default runs/kernel_size_PRESET.
        seed: of everything random.
        steps: instead of the preset's.
        batch: likewise; a multiple of the number of devices, and for residual networks of 5.
        quiet: no progress.
        change: other values instead of the preset's, "rate=1e-3".
        how: devices, processes, input and records.

    Returns:
        Path of the weights file.
    """
    run = descent.begin(
        "kernel_size",
        PRESETS,
        preset,
        workdir=workdir,
        seed=seed,
        steps=steps,
        batch=batch,
        quiet=quiet,
        change=change,
        how=how,
    )
    plan: Preset = run.plan
    sources = files.sources(images, streamed=how.stream)
    about = files.listing(*sources)
    files.claim(run.workdir, about)
    held_out = _frames(sources[1], run.say)
    sharp = None if how.stream else _frames(sources[0], run.say)
    seen = f"{len(sources[0])} photographs" if sharp is None else f"{len(sharp.images)} frames"
    run.say(f"{preset}: {seen} to train on and {len(held_out.images)} frames of validation")

    draw = sampler(plan)
    checks = [
        draw(jax.random.fold_in(run.key, 1000 + i), held_out, n=_CHUNK)
        for i in range(_CHECKS // _CHUNK)
    ]
    refused = float(np.mean([batch.rejected for batch in checks]))
    run.say(
        f"{preset}: {refused:.1%} of the candidates refused (photograph too small, kernel long)"
    )
    variables = run.descend(
        functools.partial(kernel_size.init, jax.random.fold_in(run.key, 1), plan.config),
        kernel_size.loss,
        draw,
        sharp,
        validate=lambda variables: measure(variables, checks, plan.config),
        validate_every=250,
        best="abe",
        records=stream.Photographs(sources[0], _frame) if how.stream else None,
    )
    variables = calibrate(variables, checks, plan.config)
    if machine.first():
        with (run.workdir / "metrics.jsonl").open(encoding="utf-8") as lines:
            found = [json.loads(line) for line in lines]
        shown = _STAGES if plan.config.body == "cascade" else _WHOLE
        figure = plots.convergence(found, shown, title=f"kernel_size, {preset}")
        run.say(f"convergence in {plots.save(figure, run.workdir / 'convergence.png')}")

    def stored(variables: Variables) -> dict[str, float]:
        said = [_scores(variables, batch, config=plan.config) for batch in checks]
        scale = variables["state"]["answer"]["scale"]
        covered = _covered(said, checks, plan.config, scale)
        return {**measure(variables, checks, plan.config), "coverage": covered}

    return run.write(variables, about, out, stored)


def sampler(plan: Preset) -> Any:
    """`kernel_size.sample` of a preset: `sample(key, frames, n=)`."""
    return functools.partial(
        kernel_size.sample,
        config=plan.config,
        light=plan.light,
        degraded=plan.degraded,
        varied=plan.varied,
    )


def measure(variables: Variables, checks: list[Batch], config: Config) -> dict[str, float]:
    """Means of the loss's metrics over batches."""
    found = [
        jax.device_get(_loss(variables, batch, config=config, train=False)[1].metrics)
        for batch in checks
    ]
    return {name: float(np.mean([m[name] for m in found])) for name in found[0]}


_loss = jax.jit(kernel_size.loss, static_argnames=("config", "train"))


def calibrate(variables: Variables, checks: list[Batch], config: Config) -> Variables:
    """Variables whose intervals hold as many of the validation's sizes as they say."""
    said = [_scores(variables, batch, config=config) for batch in checks]
    # The more the logits are scaled up the narrower the interval; the regressor's grows.
    trials = np.geomspace(1, 80, 41) if config.body == "regressor" else np.geomspace(0.2, 5, 41)
    held = [_covered(said, checks, config, jnp.array(trial, jnp.float32)) for trial in trials]
    best = float(trials[np.argmin(np.abs(np.array(held) - COVERAGE))])
    state = {**variables["state"], "answer": {"scale": jnp.array(best, jnp.float32)}}
    return {**variables, "state": state}


def _covered(
    said: list[kernel_size.Scores], checks: list[Batch], config: Config, scale: jax.Array
) -> float:
    """The share of true sizes within the interval."""
    held, total = 0.0, 0.0
    for scores, batch in zip(said, checks, strict=True):
        low, high = (np.asarray(end) for end in _interval(scores, scale, config=config))
        truth = np.asarray(batch.size if config.body == "correlation" else batch.size[:, 1])
        weight = np.broadcast_to(
            np.asarray(batch.weight).reshape(-1, *[1] * (truth.ndim - 1)), truth.shape
        )
        held += float(np.sum(weight * ((low <= truth) & (truth <= high))))
        total += float(np.sum(weight))
    return held / max(total, 1)


@functools.partial(jax.jit, static_argnames="config")
def _scores(variables: Variables, batch: Batch, *, config: Config) -> kernel_size.Scores:
    inside = batch.inside if config.body == "correlation" else None
    return kernel_size.apply(variables, batch.images, config, inside=inside)


@functools.partial(jax.jit, static_argnames="config")
def _interval(scores: kernel_size.Scores, scale: jax.Array, *, config: Config) -> Any:
    return kernel_size.decode(scores, config, scale)[1:]


class _One:
    """A source of one photograph."""

    names = ("",)

    def __init__(self, image: np.ndarray) -> None:
        self._image = image

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self._image


def _frame(image: np.ndarray, rng: np.random.Generator) -> data.Frames | None:
    """A frame of a photograph at one of its sizes; None of one that is too small."""
    for factor in (float(rng.choice(_FACTORS)), 1.0):
        seed = int(rng.integers(2**31))
        try:
            found = data.frames(_One(image), factors=(factor,), per_image=1, seed=seed)
        except ValueError:
            continue
        return data.Frames(*(field[0] for field in found))
    return None


def _frames(source: data.Source, say: Any) -> data.Frames:
    """A source's frames, on the device."""
    cut = data.frames(source, factors=_FACTORS)
    if refused := len(source) - len(np.unique(cut.index)):
        say(f"{refused} of {len(source)} photographs are too small")
    return data.Frames(*(jnp.asarray(field) for field in cut))
