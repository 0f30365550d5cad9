"""Squares of photographs with the regions in them, to compose scenes from (host)."""

import math
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from blurjax._typing import Array
from blurjax.data._source import Source
from blurjax.data._tiles import _rng
from blurjax.images import ImageError

REGIONS = 64
"""How many regions a scene has at most."""


class Scenes(NamedTuple):
    """Squares of one size, the region of each of their pixels, and where they come from."""

    images: np.ndarray | Array
    """uint8 (m, size, size): round(255 * gray)."""
    segments: np.ndarray | Array
    """uint8 (m, size, size): regions 0, 1, ..., at most 63; the largest first."""
    # Hides tuple.index, which nobody misses here.
    index: np.ndarray | Array  # type: ignore[assignment]
    """int32 (m,): the photograph's place in the source."""


def scenes(
    source: Source,
    *,
    segmentations: str | os.PathLike[str] | None = None,
    size: int = 256,
    factors: tuple[float, ...] = (1.0,),
    seed: int = 0,
) -> Scenes:
    """A square of each photograph at a random place, cut into regions.

    Regions are those a person has drawn where there is a segmentation of that name (one of its
    annotators at random), else those of Felzenszwalb and Huttenlocher's graph cuts, at a random
    scale. Photographs a little too small are continued by mirroring.

    Args:
        source: any source of gray photographs.
        segmentations: a folder of MATLAB files as the Berkeley Segmentation Data Set has them
            (`groundTruth`, a cell of structures with `Segmentation`), matched by file stem.
        size: side of the squares in pixels, at least 32.
        factors: each photograph is taken reduced by each of these, where that leaves room.
        seed: of places, annotators and scales; the choice depends besides only on the
            photograph's name.

    Returns:
        `Scenes`, in the order of the source and of the factors. Photographs of less than 0.6
        `size` a side are left out.

    Raises:
        ImageError: a photograph or a segmentation cannot be read, or differ in size.
        ValueError: `size` or a factor out of range, or no photograph is large enough.

    Source: Martin, Fowlkes, Tal and Malik, ICCV 2001 (the segmentations); Felzenszwalb and
        Huttenlocher, IJCV 2004, in scikit-image; the rest is our choice.
    """
    if size < 32 or not factors or min(factors) < 1:
        raise ValueError(
            f"size is {size} and factors {factors}; give a size from 32 on and factors from 1 on"
        )
    drawn = _drawn_by_hand(segmentations)
    images, segments, index = [], [], []
    for i, name in enumerate(source.names):
        image, rng = source[i], _rng(seed, name)
        regions = _read(drawn[Path(name).stem], image, rng) if Path(name).stem in drawn else None
        for factor in factors:
            height, width = (int(side / factor) for side in image.shape)
            if min(height, width) < 0.6 * size:
                continue
            small = Image.fromarray(image).resize((width, height), Image.Resampling.BOX)
            row = int(rng.integers(0, max(height - size, 0) + 1))
            column = int(rng.integers(0, max(width - size, 0) + 1))
            square = _square(np.asarray(small), row, column, size)
            levels = np.rint(255 * square).astype(np.uint8)
            if regions is None:
                found = _found(square, rng)
            else:
                reduced = Image.fromarray(regions).resize((width, height), Image.Resampling.NEAREST)
                found = _square(np.asarray(reduced), row, column, size)
            images.append(levels)
            segments.append(_largest_first(found))
            index.append(i)
    if not images:
        raise ValueError(
            f"none of {len(source)} photographs has {math.ceil(0.6 * size)} pixels a side; use a "
            "smaller size or larger photographs"
        )
    return Scenes(np.stack(images), np.stack(segments), np.asarray(index, np.int32))


def _drawn_by_hand(root: str | os.PathLike[str] | None) -> dict[str, Path]:
    if root is None:
        return {}
    found = {path.stem: path for path in Path(root).rglob("*.mat")}
    if not found:
        raise ImageError(f"{root}: no MATLAB file below this folder; give that of groundTruth")
    return found


def _read(path: Path, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One annotator's regions, (H, W) int32."""
    from scipy.io import loadmat

    try:
        cells = loadmat(path)["groundTruth"].reshape(-1)
        regions = np.asarray(cells[rng.integers(len(cells))]["Segmentation"][0, 0], np.int32)
    # Damaged files make the reader raise almost anything.
    except Exception as error:
        raise ImageError(
            f"{path}: not a segmentation ({type(error).__name__}: {error}); give files with "
            "groundTruth as the Berkeley data have them"
        ) from error
    if regions.shape != image.shape:
        raise ImageError(
            f"{path}: the segmentation is {regions.shape[0]}x{regions.shape[1]} and the "
            f"photograph {image.shape[0]}x{image.shape[1]}; give photographs at their own size"
        )
    return regions


def _square(image: np.ndarray, row: int, column: int, size: int) -> np.ndarray:
    cut = image[row : row + size, column : column + size]
    return np.pad(cut, [(0, size - side) for side in cut.shape], mode="symmetric")


def _found(square: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    from skimage.segmentation import felzenszwalb

    scale = float(np.exp(rng.uniform(np.log(100), np.log(1000))))
    least = square.size // 300
    return np.asarray(felzenszwalb(square, scale=scale, sigma=0.8, min_size=least))


def _largest_first(regions: np.ndarray) -> np.ndarray:
    """Numbers by falling area; what is beyond the 64 largest joins the last."""
    _, inverse, counts = np.unique(regions, return_inverse=True, return_counts=True)
    rank = np.empty(len(counts), int)
    rank[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    return np.minimum(rank[inverse], REGIONS - 1).astype(np.uint8).reshape(regions.shape)
