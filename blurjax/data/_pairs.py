"""Photographs of one folder with the masks of another (host)."""

import operator
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from blurjax import images as files
from blurjax.data._folder import read_gray

# Steps of 1 in files of 8 and of 16 bits: the brightest values of a mask that was saved as 0 and 1.
_ONES = (1 / 255, 1 / 65535)
# Black as JPEG leaves it, whose ringing reaches some levels of 255.
_BLACK = 16 / 255


class Pair(NamedTuple):
    """A photograph and its mask."""

    image: np.ndarray
    """(H, W) float32 in [0, 1], gray."""
    mask: np.ndarray
    """(H, W) bool: where the mask is white."""


class Pairs:
    """A random-access sequence of `Pair`, each read when it is asked for."""

    def __init__(self, items: Iterable[tuple[str, Path, Path]]) -> None:
        self._items = tuple(items)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _, _ in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int, /) -> Pair:
        _, photograph, mask = self._items[operator.index(index)]
        image, white = read_gray(photograph), _white(mask)
        if image.shape != white.shape:
            sizes = [f"{a.shape[1]} x {a.shape[0]}" for a in (white, image)]
            raise files.ImageError(
                f"{mask}: the mask has {sizes[0]} pixels (width x height) and its photograph "
                f"{photograph} has {sizes[1]}; both must have the same, so resize neither and look "
                "for the right file"
            )
        return Pair(image, white)

    def __repr__(self) -> str:
        return f"<{len(self)} photographs with masks>"


def pairs(images: str | os.PathLike[str], masks: str | os.PathLike[str]) -> Pairs:
    """The photographs below a folder, each with the mask of the same name below another.

    A photograph "a/b.jpg" has the mask "a/b" with any extension that `blurjax.images.paths` knows.
    What white means, blurred or sharp, differs between data sets: `Pair.mask` says white and no
    more. Masks without a photograph are left out.

    A mask is white from half of what its format can hold, in gray: a smooth edge is cut in its
    middle. Only if its brightest value is 1, in a file of 8 or 16 bits that is no JPEG, are its
    values taken as 0 and 1: white is 1 there, and a file of nothing but 1 is all white.

    Args:
        images: a folder, searched at all depths, or one file.
        masks: likewise.

    Returns:
        The pairs in the order of the photographs' paths; `names` are those paths with "/". An
        item that cannot be read raises `ImageError` when it is asked for: a damaged file, a mask of
        another size than its photograph, or one whose brightest value is neither black nor white.

    Raises:
        ImageError: a folder is missing or holds no image, or a photograph has no mask or several.

    Source: our choice.
    """
    photographs, found = _named(Path(images)), _by_stem(Path(masks))
    missing = [name for name in photographs if _stem(name) not in found]
    if missing:
        more = f" and {len(missing) - 1} other photographs" if len(missing) > 1 else ""
        raise files.ImageError(
            f"{missing[0]}{more}: no mask of that name below {masks}; add "
            f"'{_stem(missing[0])}.png' there or take the photograph out"
        )
    items = []
    for name, path in photographs.items():
        several = found[_stem(name)]
        if len(several) > 1:
            raise files.ImageError(
                f"{name}: {len(several)} masks of that name below {masks}, "
                f"{' and '.join(file.name for file in several)}; keep one"
            )
        items.append((name, path, several[0]))
    return Pairs(items)


def _named(root: Path) -> dict[str, Path]:
    found = files.paths(root)
    return {(f.relative_to(root).as_posix() if root.is_dir() else f.name): f for f in found}


def _stem(name: str) -> str:
    return name.rpartition(".")[0]


def _by_stem(root: Path) -> dict[str, list[Path]]:
    out: dict[str, list[Path]] = {}
    for name, path in _named(root).items():
        out.setdefault(_stem(name), []).append(path)
    return out


def _white(path: Path) -> np.ndarray:
    values = read_gray(path)
    brightest = float(values.max())
    # A JPEG of 0 and 1 would not have survived its compression: there a 1 is black, as it was.
    exact = path.suffix.lower() not in (".jpg", ".jpeg")
    if exact and any(np.isclose(brightest, one, rtol=1e-3) for one in _ONES):
        return values > 0.5 * brightest
    if _BLACK < brightest < 0.5:
        raise files.ImageError(
            f"{path}: the brightest value of the mask is {brightest:.3g} of the file's range, "
            "neither black nor white; save it with 0 and 255"
        )
    return values >= 0.5
