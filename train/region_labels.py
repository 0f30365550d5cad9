"""Make what region learns from: windows, and how good the kernels are that they give."""

import functools
import json
import os
import sys
import time
import zipfile
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import data, psf, region
from train import files
from train.configs.region import LABELS, Factory

PARTS = ("train", "validation")

# Estimated in one program.
_TOGETHER = 8
# Points of a camera shake.
_POINTS = 1000
_SECONDS = 15.0


class Pair(NamedTuple):
    """A photograph blurred by a kernel, and its windows."""

    image: np.ndarray
    """(H, W) uint8."""
    kernel: np.ndarray
    """(k, k), k one of the factory's sizes."""
    corners: np.ndarray
    """(n, 2)."""
    photograph: int


def make(
    preset: Literal[tuple(LABELS)] = "compact",  # type: ignore[valid-type]
    images: tuple[Path, ...] = (),
    out: Path | None = None,
    seed: int = 0,
    pairs: int | None = None,
    part: int = 0,
    parts: int = 1,
    quiet: bool = False,
) -> Path:
    """Blur photographs, estimate kernels from their windows and store how right these are.

    Everything is stored in shards, a file each, whole or not at all: interrupted, it goes on where
    it was when the same command is given again. What is in a shard depends on the preset, the
    photographs and the seed alone; so several processes (or machines with one folder) may share the
    work.

    Args:
        preset: which of train/configs/region.py.
        images: folders of photographs, split by image as in all training; without any the
            photographs inside scikit-image.
        out: folder of the shards; default runs/region_labels_PRESET.
        seed: of everything random.
        pairs: of photographs and kernels, instead of the preset's; of validation a tenth as many.
        part, parts: make the shards number part, part + parts, ...: one process of several.
        quiet: no progress.

    Returns:
        The folder.

    Raises:
        ValueError: `part` is none of `parts`; the folder holds other labels; no photograph is large
            enough.
    """
    if not 0 <= part < parts:
        raise ValueError(f"part is {part} and parts {parts}; count from 0 to parts - 1")
    factory = LABELS[preset]
    folder = out or Path("runs") / f"region_labels_{preset}"
    sources = files.sources(images)
    about = files.listing(*sources)
    files.claim(folder, about)
    how = {"preset": preset, "seed": seed, **asdict(factory)}
    # More of them are added to those that are there.
    del how["pairs"]
    _claim(folder, how)
    total = pairs or factory.pairs
    jobs = []
    for name, source, count in zip(PARTS, sources, (total, -(-total // 10)), strict=True):
        count = -(-count // factory.shard)
        jobs += [(folder / f"{name}-{i:05}.npz", source, i) for i in range(part, count, parts)]
    todo = [job for job in jobs if not job[0].exists()]
    if not quiet and len(todo) < len(jobs):
        print(f"{len(jobs) - len(todo)} of {len(jobs)} shards are there", file=sys.stderr)
    started, told = time.monotonic(), 0.0
    for done, (path, source, i) in enumerate(todo, 1):
        some = [
            pair(source, factory, i * factory.shard + j, seed, validation="validation" in path.name)
            for j in range(factory.shard)
        ]
        similarity = [labels(one) for one in some]
        _write(path, some, similarity)
        now = time.monotonic()
        if not quiet and (now - told > _SECONDS or done == len(todo)):
            told = now
            share = np.mean(np.concatenate(similarity) > region.THRESHOLD)
            left = (now - started) / done * (len(todo) - done)
            print(
                f"{path.name}: {done} of {len(todo)} shards, {share:.0%} of its windows good, "
                f"{left / 60:.0f} min left",
                file=sys.stderr,
                flush=True,
            )
    if not quiet:
        print(f"labels in {folder}", file=sys.stderr)
    return folder


def pair(
    source: data.Source, factory: Factory, number: int, seed: int, *, validation: bool
) -> Pair:
    """The pair of that number: a function of the arguments alone.

    Raises:
        ValueError: no photograph is large enough.
    """
    photographs = (
        len(source) if validation else min(factory.photographs or len(source), len(source))
    )
    kernels = factory.kernels if not validation else None
    order = np.random.default_rng((seed, validation)).permutation(len(source))[:photographs]
    first = number // kernels if kernels else number
    which = number % kernels if kernels else number
    # Of their own, so that a kernel can be that of many photographs.
    k_rng = np.random.default_rng((seed, validation, 1, which))
    rng = np.random.default_rng((seed, validation, 2, number))
    size = factory.sizes[which % len(factory.sizes)]
    smaller = [s for s in factory.sizes if s < size]
    extent = int(k_rng.integers(max(smaller, default=factory.smallest - 1) + 1, size + 1))
    key = jax.random.key(int(k_rng.integers(2**31)))
    kernel = np.asarray(_kernel(key, jnp.asarray(extent, jnp.float32), size=size))
    wanted = factory.validated if validation else factory.windows
    for i in range(photographs):
        chosen = int(order[(first + i) % photographs])
        sharp = _part(source[chosen], factory.side + size - 1, rng)
        inner = (sharp.shape[0] - size + 1, sharp.shape[1] - size + 1)
        corners = region.grid(inner, region.WINDOW, factory.stride)
        if len(corners) >= (wanted or 1):
            break
    else:
        raise ValueError(
            f"none of {photographs} photographs has {wanted or 1} windows of {region.WINDOW} px "
            f"when blurred by {size} px; give larger ones"
        )
    if wanted is not None:
        corners = corners[np.sort(rng.permutation(len(corners))[:wanted])]
    noise = np.exp(rng.uniform(*np.log(factory.noise)))
    seen = _seen(sharp, kernel) + noise * rng.standard_normal(inner)
    levels = np.rint(255 * np.clip(seen, 0, 1)).astype(np.uint8)
    return Pair(levels, kernel, corners, chosen)


def labels(one: Pair) -> np.ndarray:
    """The similarity (n,) that each window of a pair gives."""
    seen = one.image.astype(np.float32) / np.float32(255)
    side = region.WINDOW
    # The last program is filled up: another number of windows would be compiled anew.
    places = np.resize(one.corners, (-(-len(one.corners) // _TOGETHER) * _TOGETHER, 2))
    found = []
    for i in range(0, len(places), _TOGETHER):
        windows = np.stack([seen[r : r + side, c : c + side] for r, c in places[i : i + _TOGETHER]])
        made = region.label(jnp.asarray(windows), jnp.asarray(one.kernel), size=len(one.kernel))
        found.append(np.asarray(made.similarity))
    return np.concatenate(found)[: len(one.corners)]


def read(folder: Path, part: str) -> region.Labelled:
    """All that is in a folder's shards.

    Args:
        folder: from `make`.
        part: "train" or "validation".

    Raises:
        ValueError: there are none, or a file is damaged.
    """
    paths = sorted(folder.glob(f"{part}-*.npz"))
    if not paths:
        raise ValueError(
            f"{folder}: no labels of {part}; make them with python -m train region_labels"
        )
    images: list[np.ndarray] = []
    index, corner, similarity, size = [], [], [], []
    for path in paths:
        shard = _shard(path)
        ends = np.cumsum(shard["shape"].prod(axis=1))
        flat = np.split(shard["pixels"], ends[:-1])
        index.append(shard["image"] + len(images))
        images += [x.reshape(s) for x, s in zip(flat, shard["shape"], strict=True)]
        corner.append(shard["corner"])
        similarity.append(shard["similarity"])
        size.append(shard["size"])
    largest = np.max([x.shape for x in images], axis=0)
    stack = np.zeros((len(images), *largest), np.uint8)
    for place, image in zip(stack, images, strict=True):
        place[: image.shape[0], : image.shape[1]] = image
    return region.Labelled(
        stack, *(np.concatenate(parts) for parts in (index, corner, similarity, size))
    )


def _shard(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path) as shard:
            # The sums over what is stored are checked as it is read.
            return {name: shard[name] for name in shard.files}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path}: damaged ({error}); remove it, and make it again with the command that made "
            "the others"
        ) from error


def kinship(labelled: region.Labelled, distance: int) -> float:
    """How the similarities of windows of one photograph hang together: the correlation, about each
    photograph's own mean, of those that are so many pixels apart, rows or columns, the larger.

    What is far from 1 at the smallest distance is chance: no look at a window can tell it.
    """
    products, spread = [], []
    for image in np.unique(labelled.image):
        mine = labelled.image == image
        value = np.asarray(labelled.similarity)[mine].astype(float)
        value -= value.mean()
        corner = np.asarray(labelled.corner)[mine]
        away = np.abs(corner[:, None] - corner[None]).max(axis=-1)
        products += (value[:, None] * value[None])[away == distance].tolist()
        spread.append(np.mean(value**2))
    return float(np.mean(products) / np.mean(spread)) if products else float("nan")


def listing(folder: Path) -> dict[str, Any]:
    """`files.listing` of the photographs that a folder's labels are of."""
    found: dict[str, Any] = json.loads((folder / "files.json").read_text())
    return found


def _write(path: Path, pairs: list[Pair], similarity: list[np.ndarray]) -> None:
    counts = [len(s) for s in similarity]
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.savez_compressed(
            file,
            pixels=np.concatenate([one.image.ravel() for one in pairs]),
            shape=np.array([one.image.shape for one in pairs], np.int32),
            photograph=np.array([one.photograph for one in pairs], np.int32),
            image=np.repeat(np.arange(len(pairs), dtype=np.int32), counts),
            corner=np.concatenate([one.corners for one in pairs]).astype(np.int32),
            similarity=np.concatenate(similarity).astype(np.float32),
            size=np.repeat(np.array([len(one.kernel) for one in pairs], np.int32), counts),
        )
    os.replace(temporary, path)


def _claim(folder: Path, how: dict[str, Any]) -> None:
    """Write how the labels are made into their folder, or refuse one that holds others."""
    path = folder / "labels.json"
    # As it will be read again: JSON knows no tuples.
    if path.exists() and json.loads(path.read_text()) != json.loads(json.dumps(how)):
        raise ValueError(f"{folder} holds labels made otherwise; give another --out, or remove it")
    files.write(path, how)


def _part(sharp: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """At most so many pixels a side, from anywhere, turned at random."""
    row, column = (int(rng.integers(max(n - side, 0) + 1)) for n in sharp.shape)
    part = sharp[row : row + side, column : column + side]
    part = part.T if rng.random() < 0.5 else part
    return part[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])]


@functools.partial(jax.jit, static_argnames="size")
def _kernel(key: jax.Array, extent: jax.Array, *, size: int) -> jax.Array:
    points = psf.sample_trajectory(key, num_samples=_POINTS, extent=extent)
    return psf.trajectory(points, size=size)


def _seen(sharp: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Blurred; only what sees nothing outside."""
    # By SciPy's own transform: each shape of a photograph would be a program to compile.
    from scipy.signal import fftconvolve

    return np.asarray(
        fftconvolve(sharp.astype(np.float64), kernel.astype(np.float64), mode="valid")
    )
