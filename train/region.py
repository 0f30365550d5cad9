"""Train region: what makes a window of a blurred photograph good to estimate a kernel from."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

from blurjax import region
from blurjax.region import Config, Labelled
from train import calibration, descent, region_labels, steps
from train.configs.region import PRESETS, Preset
from train.machine import Changes, How, Machine

Variables = dict[str, Any]

_CHUNK = 32
# The smallest distances of windows of the grid.
_NEAR = (20, 40)


def train(
    preset: Literal[tuple(PRESETS)] = "compact",  # type: ignore[valid-type]
    labels: Path | None = None,
    out: Path | None = None,
    workdir: Path | None = None,
    seed: int = 0,
    start: Annotated[
        str | None, tyro.conf.arg(help="weights of the same shape to begin with")
    ] = None,
    threshold: Annotated[
        float | None, tyro.conf.arg(help="similarity from which a window is good, instead")
    ] = None,
    steps: Annotated[int | None, tyro.conf.arg(help="train for so many steps instead")] = None,
    batch: Annotated[int | None, tyro.conf.arg(help="of so many windows instead")] = None,
    quiet: bool = False,
    change: Changes = (),
    how: How = Machine(),  # noqa: B008
) -> Path:
    """Train the scorer of a preset on labels that are there, and write a weights file.

    Interrupted, it goes on where it was when the same command is given again.

    Args:
        preset: which of train/configs/region.py.
        labels: folder of `python -m train region_labels`; default runs/region_labels_PRESET of the
            preset's labels.
        out: the weights file; default WORKDIR/region.npz.
        workdir: checkpoints and metrics.jsonl; default runs/region_PRESET.
        seed: of everything random.
        start: weights file or checkpoint to begin with.
        threshold: instead of the preset's; the one that half of the windows exceed is printed.
        steps: instead of the preset's.
        batch: likewise; a multiple of 4 and of the number of devices.
        quiet: no progress.
        change: other values instead of the preset's, "rate=1e-3".
        how: devices, processes, input and records.

    Returns:
        Path of the weights file.

    Raises:
        ValueError: there are no labels; the weights to begin with are of another shape.
    """
    run = descent.begin(
        "region",
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
    if threshold is not None:
        config = dataclasses.replace(run.plan.config, threshold=threshold)
        run = dataclasses.replace(run, plan=dataclasses.replace(run.plan, config=config))
    plan: Preset = run.plan
    if how.stream:
        raise ValueError(
            "--stream: region's windows lie in photographs that the devices hold; leave it out"
        )
    folder = labels or Path("runs") / f"region_labels_{plan.labels}"
    known, held_out = (region_labels.read(folder, part) for part in region_labels.PARTS)
    about = region_labels.listing(folder)
    for name, some in (("training", known), ("validation", held_out)):
        good = np.mean(np.asarray(some.similarity) > plan.config.threshold)
        kin = [region_labels.kinship(some, distance) for distance in _NEAR]
        run.say(
            f"{preset}: {len(some.similarity)} {name} windows of {len(some.images)} photographs, "
            f"{good:.0%} above {plan.config.threshold:g}, median "
            f"{np.median(some.similarity):.2f} (half of them are good at that threshold); "
            f"similarities {_NEAR[0]} px apart correlate by {kin[0]:.2f}, {_NEAR[1]} px by "
            f"{kin[1]:.2f}"
        )
    store = Labelled(*(jnp.asarray(field) for field in known))
    variables = region.init(jax.random.fold_in(run.key, 1), plan.config)
    if plan.config.body == "gabor":
        variables = standardised(variables, known, plan.config)
    if start is not None:
        variables = _begun(variables, start, plan.config)
    variables = run.descend(
        variables,
        region.loss,
        functools.partial(region.sample, config=plan.config),
        store,
        optimizer=optimizer(plan, variables),
        validate=lambda variables: measure(variables, held_out, plan.config),
        validate_every=plan.validate_every,
        best="-chosen",
    )
    variables = calibrated(variables, held_out, plan.config)
    return run.write(variables, about, out, lambda stored: measure(stored, held_out, plan.config))


def optimizer(plan: Preset, variables: Variables) -> optax.GradientTransformation:
    """AdamW with a cosine, or SGD with momentum at a constant rate, as published."""
    if plan.optimizer == "adamw":
        chosen = steps.adamw(plan.rate, plan.steps, weight_decay=plan.weight_decay)
    else:
        chosen = optax.chain(
            optax.add_decayed_weights(plan.weight_decay), optax.sgd(plan.rate, plan.momentum)
        )
    if plan.tuned == "all":
        return chosen
    labels = jax.tree.map(
        lambda touched: "touched" if touched else "kept", region.trainable(variables, plan.config)
    )
    return optax.multi_transform({"touched": chosen, "kept": optax.set_to_zero()}, labels)


def said(variables: Variables, labelled: Labelled, config: Config) -> np.ndarray:
    """Scores (n,) of all windows of labelled photographs, not calibrated."""
    places = np.arange(len(labelled.similarity))
    found = [_apply(variables, windows, config=config) for windows in _windows(labelled, places)]
    return np.concatenate(jax.device_get(found))[: len(labelled.similarity)]


_apply = jax.jit(region.apply, static_argnames="config")


def measure(variables: Variables, labelled: Labelled, config: Config) -> dict[str, float]:
    """How well windows are scored, and what the best ones are worth.

    Returns:
        "accuracy" of good or not by the calibrated score; "area" under the receiver operating
        characteristic; over photographs the means of "chosen" (similarity of the window of the
        highest score), "any" (mean similarity), "best" (the highest), and of "order" (rank
        correlation of scores and similarities).
    """
    from scipy.stats import rankdata, spearmanr

    scores, truth = said(variables, labelled, config), np.asarray(labelled.similarity)
    answer = variables["state"]["answer"]
    sure = float(answer["scale"]) * scores + float(answer["offset"]) > 0
    good = truth > config.threshold
    ranks, count = rankdata(scores), max(int(good.sum()) * int((~good).sum()), 1)
    area = (ranks[good].sum() - good.sum() * (good.sum() + 1) / 2) / count
    rows = []
    for image in np.unique(labelled.image):
        mine = labelled.image == image
        s, t = scores[mine], truth[mine]
        order = spearmanr(s, t).statistic if np.ptp(s) > 0 and np.ptp(t) > 0 else 0.0
        rows.append((t[np.argmax(s)], t.mean(), t.max(), order))
    means = np.mean(rows, axis=0)
    return {
        "accuracy": float(np.mean(sure == good)),
        "area": float(area),
        **dict(zip(("chosen", "any", "best", "order"), map(float, means), strict=True)),
    }


def calibrated(variables: Variables, labelled: Labelled, config: Config) -> Variables:
    """Variables whose calibrated score is the probability that a window is good (Platt's)."""
    scores, truth = said(variables, labelled, config), np.asarray(labelled.similarity)
    line = calibration.logistic([[(scores, truth > config.threshold)]], balanced=False)
    return {**variables, "state": {**variables["state"], "answer": line}}


def standardised(variables: Variables, labelled: Labelled, config: Config) -> Variables:
    """Variables that know the mean and deviation of each Gabor feature."""
    some = np.random.default_rng(0).permutation(len(labelled.similarity))[: 16 * _CHUNK]
    found = [_gabor(windows) for windows in _windows(labelled, some)]
    features = np.concatenate(jax.device_get(found))[: len(some)]
    measured = {
        "mean": jnp.asarray(features.mean(0), jnp.float32),
        "deviation": jnp.asarray(features.std(0) + 1e-6, jnp.float32),
    }
    return {**variables, "state": {**variables["state"], "features": measured}}


_gabor = jax.jit(region.gabor_statistics)


def _windows(labelled: Labelled, places: np.ndarray) -> Iterator[jax.Array]:
    """The windows of these numbers in [0, 1], in programs of so many; the last is filled up."""
    side = region.WINDOW
    for some in np.resize(places, (-(-len(places) // _CHUNK), _CHUNK)):
        cut = [
            labelled.images[i, row : row + side, column : column + side]
            for i, (row, column) in zip(labelled.image[some], labelled.corner[some], strict=True)
        ]
        yield jnp.asarray(np.stack(cut) / np.float32(255))


def _begun(variables: Variables, name: str, config: Config) -> Variables:
    """Weights to begin with, checked to be of the same shape."""
    given, its = region.load(name)
    shapes = [jax.tree.map(jnp.shape, tree["params"]) for tree in (variables, given)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"{name}: weights of {its}, but the preset has {config}; they must have one shape"
        )
    return {**variables, **given}
