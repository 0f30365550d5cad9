"""Train sharpness: the detector, or the patch network that gives the local metric its kernels."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from blurjax import data, sharpness, sigma_map
from blurjax.data import Scenes
from blurjax.sharpness import Config
from train import calibration, descent, files, machine
from train.configs.sharpness import PRESETS, Preset
from train.machine import Changes, How, Machine

Variables = dict[str, Any]

# Factors by which photographs are reduced: softer ones are sharp at the pixel at a lower one.
_FACTORS = (1.0, 1.25, 1.6, 2.0)
# A scene is sharp where the shipped sigma map finds less than this in its median, in pixels; and
# in no more than a tenth of the pixels it may find more than the second number.
_SHARP, _SOFT = 0.8, 1.2
_CHECKS, _CHUNK = 128, 16
# Photographs whose superpixels are found before the training.
_COMPOSED = 960


def train(
    preset: Literal[tuple(PRESETS)] = "detector",  # type: ignore[valid-type]
    images: tuple[Path, ...] = (),
    segmentations: Path | None = None,
    pairs: tuple[Path, ...] = (),
    masks: tuple[Path, ...] = (),
    white: Literal["blurred", "sharp"] = "sharp",
    out: Path | None = None,
    workdir: Path | None = None,
    seed: int = 0,
    steps: Annotated[int | None, tyro.conf.arg(help="train for so many steps instead")] = None,
    quiet: bool = False,
    change: Changes = (),
    how: How = Machine(),  # noqa: B008
) -> Path:
    """Train one of the networks and write a weights file.

    Interrupted, it goes on where it was when the same command is given again.

    Args:
        preset: which of train/configs/sharpness.py.
        images: folders of photographs. Every folder is split by image into training (80 %),
            validation (10 %) and test (10 %, not looked at); without any folder the photographs
            inside scikit-image are used. Those that are not sharp all over, by the shipped sigma
            map, are left out.
        segmentations: folder of the Berkeley segmentations (groundTruth), for photographs of the
            same names; the others are cut into regions by graph cuts.
        pairs, masks: folders of real photographs and of their masks, matched by name. With them the
            detector's answer is calibrated, on them and on validation composites alike.
        white: what is white in the masks.
        out: the weights file; default WORKDIR/sharpness.npz.
        workdir: checkpoints, metrics.jsonl and the list of files; default runs/sharpness_PRESET.
        seed: of everything random.
        steps: instead of the preset's.
        quiet: no progress.
        change: other values instead of the preset's, "rate=1e-3".
        how: devices, processes, input and records.

    Returns:
        Path of the weights file.
    """
    run = descent.begin(
        "sharpness",
        PRESETS,
        preset,
        workdir=workdir,
        seed=seed,
        steps=steps,
        quiet=quiet,
        change=change,
        how=how,
    )
    plan: Preset = run.plan

    real = [] if plan.config.body != "detector" else calibration.pairs(pairs, masks, white)
    sources = files.sources(images)
    about = files.listing(*sources)
    files.claim(run.workdir, about)
    with machine.first_before_others("scenes"):
        scenes, held_out = _scenes(sources, segmentations, run.workdir, seed, run.say)
    run.say(f"{preset}: {len(scenes.images)} training and {len(held_out.images)} validation scenes")

    draw = sampler(plan)
    store: Any = scenes
    if plan.centres == "superpixels":
        store, draw = _superpixels(jax.random.fold_in(run.key, 4), scenes, plan, run.say), _pick
    check = sampler(plan)
    # As many photographs, and every patch of each.
    slots = _CHUNK if plan.config.body == "detector" else 16 * _CHUNK
    checks = [
        check(jax.random.fold_in(run.key, 1000 + i), held_out, n=slots)
        for i in range(_CHECKS // _CHUNK)
    ]
    variables = run.descend(
        functools.partial(sharpness.init, jax.random.fold_in(run.key, 1), plan.config),
        sharpness.loss,
        draw,
        store,
        validate=lambda variables: measure(variables, checks, plan.config),
        best="loss",
        # What is in front is composed with another scene behind.
        least_rows=2,
    )
    if real:
        variables = calibrate(variables, plan.config, (real, _examples(checks)))
    return run.write(
        variables, about, out, lambda variables: measure(variables, checks, plan.config)
    )


def sampler(plan: Preset) -> Any:
    """`sharpness.sample` of a preset: `sample(key, scenes, n=)`."""
    return functools.partial(
        sharpness.sample, config=plan.config, light=plan.light, degraded=plan.degraded
    )


def _superpixels(
    key: jax.Array, scenes: Scenes, plan: Preset, say: Callable[[str], None]
) -> sharpness.PatchBatch:
    """Patches about the centroids of superpixels, which are found on the host, once."""
    say(f"finding the superpixels of {_COMPOSED} composed photographs")
    found = []
    for i in range(_COMPOSED // _CHUNK):
        k_sample, k_cut = jax.random.split(jax.random.fold_in(key, i))
        batch = sharpness.compose(
            k_sample, scenes, n=_CHUNK, light=plan.light, degraded=plan.degraded
        )
        centres = sharpness.superpixel_centres(batch.images)
        found.append(sharpness.cut_patches(k_cut, batch, centres, per_image=32))
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *found)


def _pick(key: jax.Array, store: sharpness.PatchBatch, *, n: int) -> sharpness.PatchBatch:
    """A batch from stored patches, mirrored at random."""
    rows = jax.random.randint(key, (n,), 0, store.images.shape[0])
    picked = jax.tree.map(lambda x: x[rows], store)
    flip = jax.random.bernoulli(jax.random.fold_in(key, 1), 0.5, (n, 1, 1))
    return picked._replace(images=jnp.where(flip, picked.images[:, :, ::-1], picked.images))


def measure(variables: Variables, checks: list[Any], config: Config) -> dict[str, float]:
    """Means of the loss's metrics over batches."""
    found = [
        jax.device_get(_loss(variables, batch, config=config, train=False)[1].metrics)
        for batch in checks
    ]
    return {name: float(np.mean([m[name] for m in found])) for name in found[0]}


def calibrate(
    variables: Variables, config: Config, groups: Sequence[Sequence[calibration.Example]]
) -> Variables:
    """Variables of a detector whose answers are probabilities on some examples."""
    state = variables["state"]
    plain = {"scale": jnp.ones(()), "offset": jnp.zeros(())}
    variables = {**variables, "state": {**state, "answer": plain}}

    def odds(image: np.ndarray) -> jax.Array:
        found = _predict(variables, jnp.asarray(image)[None], config=config).sharpness[0]
        said = jnp.clip(found, _LEAST, 1)
        return jnp.log(said) - jnp.log(jnp.maximum(1 - said, _LEAST))

    line = calibration.logistic(
        [[(odds(each.image), each.sharp) for each in group] for group in groups]
    )
    return {**variables, "state": {**state, "answer": line}}


# Least probability that counts: float32 knows no larger odds.
_LEAST = 1e-6
_predict = jax.jit(sharpness.predict, static_argnames="config")


def _examples(checks: list[Any]) -> list[calibration.Example]:
    return [
        calibration.Example(image, sharp)
        for batch in checks
        for image, sharp in zip(np.asarray(batch.images), np.asarray(batch.sharp), strict=True)
    ]


_loss = jax.jit(sharpness.loss, static_argnames=("config", "train"))


def _scenes(
    sources: tuple[data.Source, data.Source],
    segmentations: Path | None,
    workdir: Path,
    seed: int,
    say: Callable[[str], None],
) -> tuple[Scenes, Scenes]:
    """Training and validation scenes on the device; cut once for a run."""
    found = []
    for name, source in zip(("train", "validation"), sources, strict=True):
        path = workdir / f"scenes_{name}.npz"
        if not path.exists():
            say(f"cutting {len(source)} photographs into scenes")
            cut = data.scenes(source, segmentations=segmentations, factors=_FACTORS, seed=seed)
            kept = sharp_all_over(cut.images)
            say(f"{int(kept.sum())} of {len(kept)} scenes are sharp all over")
            if not kept.any():
                raise ValueError(
                    f"none of {len(source)} photographs is sharp all over; give sharper ones"
                )
            temporary = path.with_suffix(".tmp.npz")
            np.savez(temporary, **{k: v[kept] for k, v in cut._asdict().items()})
            temporary.replace(path)
        found.append(stored_scenes(path))
    return found[0], found[1]


def stored_scenes(path: Path) -> Any:
    """Scenes of a run's folder, on the device."""
    if not path.exists():
        raise ValueError(f"{path} is missing; run `python -m train sharpness` with that workdir")
    with np.load(path) as stored:
        return Scenes(*(jnp.asarray(stored[name]) for name in Scenes._fields))


def sharp_all_over(images: np.ndarray | jax.Array) -> np.ndarray:
    """Which photographs (m, s, s) are sharp wherever there is something to see, (m,) bool."""
    variables, config = sigma_map.load()
    kept = []
    for image in images:
        found = sigma_map.estimate(image, variables, config)
        sigma = found.sigma[found.valid]
        kept.append(
            found.valid.mean() > 0.2
            and float(np.median(sigma)) < _SHARP
            and float(np.mean(sigma > _SOFT)) < 0.1
        )
    return np.asarray(kept)
