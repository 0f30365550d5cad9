"""Whole photographs, or large parts of them, in one stack for the device (host)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from blurjax._typing import Array
from blurjax.data._source import Source


class Frames(NamedTuple):
    """Photographs of several sizes, each in the upper left corner of its array."""

    images: np.ndarray | Array
    """uint8 (m, height, width): round(255 * gray); 0 beyond the photograph."""
    inside: np.ndarray | Array
    """int32 (m, 2): height and width of each."""
    # Hides tuple.index, which nobody misses here.
    index: np.ndarray | Array  # type: ignore[assignment]
    """int32 (m,): the photograph's place in the source; those too small are in no frame."""


def frames(
    source: Source,
    shape: tuple[int, int] = (320, 480),
    *,
    least: int = 160,
    factors: Sequence[float] = (1.0,),
    per_image: int = 4,
    seed: int = 0,
) -> Frames:
    """Cut photographs into frames, large ones into several, small ones whole.

    Portraits are turned on their side. Frames of one photograph overlap where its sides are no
    multiples of theirs.

    Args:
        source: any source of gray photographs.
        shape: height and width of a frame in pixels.
        least: photographs (and reductions of them) with a shorter side are left out; at most the
            frame's height.
        factors: by which photographs are reduced, by averaging; a reduction other than by 1 is
            taken only if it is as high as three quarters of a frame.
        per_image: at most so many frames of one photograph, picked at random.
        seed: of that pick.

    Returns:
        `Frames`, in the order of the source.

    Raises:
        ValueError: `least` above the frame's height, or no photograph gave a frame.
        ImageError: a photograph cannot be read; it names the file.

    Source: our choice.
    """
    height, width = shape
    if not 1 <= least <= height <= width:
        raise ValueError(
            f"least is {least} and shape {shape}; frames are no higher than wide, and no lower "
            "than the smallest photograph"
        )
    found: list[np.ndarray] = []
    index: list[int] = []
    for i in range(len(source)):
        image = source[i]
        image = image.T if image.shape[0] > image.shape[1] else image
        mine: list[np.ndarray] = []
        for factor in factors:
            rows, columns = (int(side / factor) for side in image.shape)
            if rows < (least if factor == 1 else max(least, 3 * height // 4)):
                continue
            levels = np.rint(255 * _reduced(image, rows, columns)).astype(np.uint8)
            mine += [
                levels[row : row + height, column : column + width]
                for row in _starts(rows, height)
                for column in _starts(columns, width)
            ]
        picked = np.random.default_rng((seed, i)).permutation(len(mine))[:per_image]
        found += [mine[j] for j in picked]
        index += [i] * len(picked)
    if not found:
        raise ValueError(
            f"none of {len(source)} photographs has {least} pixels a side; give larger ones, or a "
            "smaller `least`"
        )
    images = np.zeros((len(found), height, width), np.uint8)
    for frame, levels in zip(images, found, strict=True):
        frame[: levels.shape[0], : levels.shape[1]] = levels
    inside = np.array([levels.shape for levels in found], np.int32)
    return Frames(images, inside, np.array(index, np.int32))


def _reduced(image: np.ndarray, rows: int, columns: int) -> np.ndarray:
    if image.shape == (rows, columns):
        return image
    whole = Image.fromarray(np.ascontiguousarray(image, np.float32))
    # A box: what a sensor of larger pixels would have seen.
    return np.clip(np.asarray(whole.resize((columns, rows), Image.Resampling.BOX)), 0, 1)


def _starts(length: int, side: int) -> np.ndarray:
    """Where frames begin that cover a length, evenly."""
    return np.linspace(0, max(length - side, 0), -(-length // side)).astype(int)
