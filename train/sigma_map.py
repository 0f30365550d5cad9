"""Train sigma_map: either network, the spread's calibration, the weights file."""

import functools
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from PIL import Image

from blurjax import data, sigma_map
from blurjax.sigma_map import Batch, Config
from train import descent, files, stream
from train.configs.sigma_map import PRESETS, Preset
from train.machine import Changes, How, Machine

Variables = dict[str, Any]

# Side of the tiles that go to the device: an image of the regressor and its margin.
_TILE = 160
# Factors by which images are reduced: those that are sharp at the pixel, and the others.
_SHARP, _SOFT = (1.0, 1.4, 2.0), (1.5, 1.875, 2.5)
# Tiles of one image at most, over all its sizes.
_PER_IMAGE = 8
_CHECKS = 512
_CHUNK = 64


def train(
    preset: Literal[tuple(PRESETS)] = "regressor",  # type: ignore[valid-type]
    images: tuple[Path, ...] = (),
    textures: tuple[Path, ...] = (),
    soft_images: tuple[Path, ...] = (),
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
        preset: which of train/configs/sigma_map.py.
        images: folders of photographs that are sharp at the pixel. Every folder is split by image
            into training (80 %), validation (10 %) and test (10 %, not looked at); without any
            folder the photographs inside scikit-image are used.
        textures: folders of textures; the regressor sees them reduced.
        soft_images: folders of photographs that are not sharp at the pixel (compressed, or
            straight from a camera): used at 2/3 of their size or less.
        out: the weights file; default WORKDIR/sigma_map.npz.
        workdir: checkpoints, metrics.jsonl and the list of files; default runs/sigma_map_PRESET.
        seed: of everything random.
        steps: instead of the preset's.
        quiet: no progress.
        change: other values instead of the preset's, "rate=1e-3".
        how: devices, processes, input and records.

    Returns:
        Path of the weights file.
    """
    run = descent.begin(
        "sigma_map",
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
    input_ = _input(images, textures, soft_images, plan, seed, streamed=how.stream)
    sharp, held_out, records, about = input_
    files.claim(run.workdir, about)
    seen = f"{sharp.shape[0]} training tiles" if records is None else f"{len(records)} to cut from"
    run.say(f"{preset}: {seen} and {held_out.shape[0]} validation tiles")

    draw = sampler(plan)
    checks = [
        draw(jax.random.fold_in(run.key, 1000 + i), held_out, n=_CHUNK)
        for i in range(_CHECKS // _CHUNK)
    ]
    variables = sigma_map.init(jax.random.fold_in(run.key, 1), plan.config)
    first = draw(jax.random.fold_in(run.key, 2), sharp, n=_CHUNK)
    variables = sigma_map.standardise(variables, first.images, plan.config)
    variables = run.descend(
        variables,
        sigma_map.loss,
        draw,
        sharp,
        validate=lambda variables: measure(variables, checks, plan.config),
        best="rmse",
        records=records,
    )
    return run.write(
        calibrate(variables, checks, plan.config),
        about,
        out,
        lambda variables: measure(variables, checks, plan.config),
    )


def sampler(plan: Preset) -> Any:
    """`sigma_map.sample` of a preset: `sample(key, tiles, n=)`."""
    return functools.partial(
        sigma_map.sample,
        config=plan.config,
        light=plan.light,
        sampling=plan.sampling,
        truncate=plan.truncate,
        degraded=plan.degraded,
        augmented=plan.augmented,
    )


def measure(variables: Variables, checks: list[Batch], config: Config) -> dict[str, float]:
    """Means of the loss's metrics over batches."""
    found = [jax.device_get(_loss(variables, batch, config=config)[1].metrics) for batch in checks]
    squared = {"rmse"}
    return {
        name: float(
            np.sqrt(np.mean([m[name] ** 2 for m in found]))
            if name in squared
            else np.mean([m[name] for m in found])
        )
        for name in found[0]
    }


_loss = jax.jit(sigma_map.loss, static_argnames=("config", "train"))


def calibrate(variables: Variables, checks: list[Batch], config: Config) -> Variables:
    """Variables whose stated spread is multiplied so that error / spread has mean square 1."""
    squares = []
    for batch in checks:
        if config.body == "regressor":
            said = _predict(variables, batch.images, config=config)
            squares.append(jnp.mean(((said.sigma - batch.sigma) / said.spread) ** 2))
        else:
            logits = _apply(variables, batch.images, config=config)
            mean, spread = sigma_map.decode(logits, config)
            squares.append(jnp.mean(((mean - batch.sigma) / spread) ** 2))
    scale = variables["state"]["spread"]["scale"] * jnp.sqrt(jnp.mean(jnp.stack(squares)))
    return {**variables, "state": {**variables["state"], "spread": {"scale": scale}}}


_predict = jax.jit(sigma_map.predict, static_argnames="config")
_apply = jax.jit(sigma_map.apply, static_argnames="config")


class _Input(NamedTuple):
    """What is trained on."""

    sharp: np.ndarray
    """Training tiles, uint8; of streamed input a few, to standardise by."""
    held_out: np.ndarray
    """Validation tiles."""
    records: stream.Records | None
    """What the host feeds instead of the training tiles, if it streams."""
    about: dict[str, Any]
    """Which files they are from."""


def _input(
    images: tuple[Path, ...],
    textures: tuple[Path, ...],
    soft_images: tuple[Path, ...],
    plan: Preset,
    seed: int,
    *,
    streamed: bool,
) -> _Input:
    roots = ((images, _SHARP), (soft_images, _SOFT), (textures, _SOFT if plan.reduced else (1.0,)))
    kinds = []
    for folders, factors in roots:
        whole = data.concatenate(*map(data.source, folders))
        train, validation, _ = data.split(whole)
        parts = (train if streamed else files.readable(train), files.readable(validation))
        kinds.append((parts, factors))
    if not any(len(parts[0]) for parts, _ in kinds):
        kinds = [((data.embedded("train"), data.embedded("validation")), _SHARP)]
    train, validation = (
        data.concatenate(*part) for part in zip(*(parts for parts, _ in kinds), strict=True)
    )
    about = files.listing(train, validation)
    painted = _paint(seed, plan.painted)
    # Photographs of both kinds together, textures if there are any, painted.
    shares = [1 - plan.painted - (plan.texture_share if len(kinds) > 1 else 0), plan.painted]
    if len(kinds) > 1:
        shares.insert(1, plan.texture_share)
    held = [_cut(parts[1], factors) for parts, factors in kinds]
    held_out = np.concatenate([*held, painted[1]])
    groups = [kinds[:2], kinds[2:]] if len(kinds) > 1 else [kinds]

    if streamed:
        photographs: list[stream.Records] = [
            stream.Mixture(*((_fed(parts[0], factors), len(parts[0])) for parts, factors in group))
            for group in groups
        ]
        fed = zip([*photographs, stream.Rows(painted[0])], shares, strict=True)
        records = stream.Mixture(*fed)
        some = stream.Crops(records, rows=_CHUNK, seed=seed, process=0, processes=1).at(0)[0]
        return _Input(some, held_out, records, about)
    stacks = [
        np.concatenate([_cut(parts[0], factors) for parts, factors in group]) for group in groups
    ]
    chosen = list(zip([*stacks, painted[0]], shares, strict=True))
    rng = np.random.default_rng(seed)
    mixed = [
        stack[
            rng.choice(
                len(stack), round(_STORE * share), replace=round(_STORE * share) > len(stack)
            )
        ]
        for stack, share in chosen
        if len(stack) and share
    ]
    return _Input(np.concatenate(mixed), held_out, None, about)


def _fed(source: data.Source, factors: tuple[float, ...]) -> stream.Photographs:
    return stream.Photographs(source, functools.partial(stream.square, side=_TILE, factors=factors))


# Tiles kept for training.
_STORE = 8_000


def _cut(source: data.Source, factors: tuple[float, ...]) -> np.ndarray:
    """Tiles that cover every image at every size that has room for one, uint8 (m, tile, tile)."""
    kept: list[np.ndarray] = []
    for i in range(len(source)):
        image = source[i]
        mine = []
        for factor in factors:
            height, width = (int(side / factor) for side in image.shape)
            if min(height, width) < _TILE:
                continue
            # A box: what a sensor of larger pixels would have seen.
            small = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
            levels = np.rint(255 * np.asarray(small)).astype(np.uint8)
            for row in _starts(height):
                for column in _starts(width):
                    mine.append(levels[row : row + _TILE, column : column + _TILE])
        rng = np.random.default_rng(i)
        kept += [mine[j] for j in rng.permutation(len(mine))[:_PER_IMAGE]]
    return np.stack(kept) if kept else np.zeros((0, _TILE, _TILE), np.uint8)


def _starts(length: int) -> np.ndarray:
    """Where tiles begin that cover a side, evenly, overlapping where they must."""
    return np.linspace(0, length - _TILE, -(-length // _TILE)).astype(int)


def _paint(seed: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Procedural textures, and a quarter as many dead leaves, for training and for validation."""
    count = round(_STORE * share)
    stacks = []
    for part, number in (("train", count), ("validation", 64)):
        key = jax.random.fold_in(jax.random.key(seed), 10 + (part == "validation"))
        keys = jax.random.split(key, max(number, 2))
        leaves = number // 5
        painted = [
            np.asarray(jax.lax.map(lambda k, draw=draw: draw(k, size=_TILE), some, batch_size=8))
            for draw, some in (
                (data.dead_leaves, keys[:leaves]),
                (data.texture, keys[leaves:number]),
            )
            if len(some)
        ]
        stacks.append(np.rint(255 * np.concatenate(painted)).astype(np.uint8))
    return stacks[0], stacks[1]
