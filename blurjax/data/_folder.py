"""Photographs in a folder (host)."""

import os
from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np

from blurjax import images
from blurjax.data._source import Photograph, Photographs, Source


def folder(root: str | os.PathLike[str], *, skip: Collection[str] = ()) -> Source:
    """The photographs below a folder, read one by one when asked for.

    Args:
        root: a folder, searched at all depths for the formats of `blurjax.images.paths`, or
            one file.
        skip: photographs to leave out, by path below `root` ("day/0168-1.png") or by bare file
            name ("0168-1.png").

    Returns:
        A source in the order of the paths; names are paths below `root` with "/". A photograph
        that cannot be read raises `ImageError` with its path when it is asked for.

    Raises:
        ImageError: `root` is missing, holds no image, or all are skipped.
        ValueError: a name in `skip` is not there.
    """
    root = Path(root)
    if isinstance(skip, str):
        raise ValueError(f"skip={skip!r}: expected several names; write skip=({skip!r},)")
    files = images.paths(root)
    named = {(f.relative_to(root).as_posix() if root.is_dir() else f.name): f for f in files}
    # A name that skips nothing is a misspelling, which would let a photograph in unseen.
    unknown = set(skip) - set(named) - {file.name for file in files}
    if unknown:
        raise ValueError(f"skip: {sorted(unknown)} not below {root}; check the names")
    kept = [(n, f) for n, f in named.items() if n not in skip and f.name not in skip]
    if not kept:
        raise images.ImageError(f"{root}: every image is skipped; skip fewer")
    return Photographs(Photograph(name, partial(read_gray, file), file) for name, file in kept)


def read_gray(path: Path) -> np.ndarray:
    """A file as gray float32 (H, W) in [0, 1]."""
    return images.gray(images.read(path))
