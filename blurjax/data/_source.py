"""What a source is, and how sources are joined, picked from and split (host)."""

import hashlib
import math
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np


@runtime_checkable
class Source(Protocol):
    """A random-access sequence of gray photographs, each float32 (H, W) in [0, 1].

    Any object with these three members is one. `names` identify the photographs in messages,
    in training records and in `split`: file names where there are files.
    """

    @property
    def names(self) -> tuple[str, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> np.ndarray: ...


class Photograph(NamedTuple):
    """One photograph that has not been read yet."""

    name: str
    load: Callable[[], np.ndarray]  # picklable, for the worker processes of a data loader
    path: Path | None  # None where it is not a file
    digest: Callable[[], str] | None = None  # its identity where it is not a file but has one


class Photographs:
    """The source that every function of `blurjax.data` returns."""

    def __init__(self, items: Iterable[Photograph]) -> None:
        self._items = tuple(items)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(item.name for item in self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int, /) -> np.ndarray:
        return self._items[operator.index(index)].load()

    def __repr__(self) -> str:
        return f"<source of {len(self)} photographs>"


def concatenate(*sources: Source) -> Source:
    """The photographs of several sources, one source after the other.

    Args:
        sources: any number of them. Names may repeat.

    Returns:
        A source of sum(len(s) for s in sources) photographs, still read lazily.
    """
    return Photographs(item for source in sources for item in _items(source))


def subset(source: Source, indices: Sequence[int] | np.ndarray) -> Source:
    """The photographs at some indices, in that order.

    Args:
        source: any source of n photographs.
        indices: integers in [-n, n); may repeat.

    Returns:
        A source of len(indices) photographs, still read lazily.

    Raises:
        IndexError: an index is out of range.
    """
    items = _items(source)
    return Photographs(items[operator.index(i)] for i in indices)


def split(
    source: Source,
    fractions: tuple[float, ...] = (0.8, 0.1, 0.1),
    *,
    seed: int = 0,
) -> tuple[Source, ...]:
    """Share a source out by photograph, the same way everywhere and for ever.

    A photograph goes where SHA-256 of (seed, its scene) says, read as a number in [0, 1). Its
    scene is its file name without folder, extension and a last "-<digits>", in lower case: the
    crops "0168-1.png" and "0168-2.png" of one photograph stay together. The answer depends
    neither on the folder's place, nor on the other files, nor on their order: adding files
    moves none. The price: sizes only come near the fractions, and few scenes may leave a part
    empty.

    Args:
        source: any source.
        fractions: of each part, >= 0, sum 1.
        seed: another number gives another split.

    Returns:
        One source for each fraction, disjoint, in the order of `source`.

    Raises:
        ValueError: a fraction is negative or they do not sum to 1.

    Source: our choice.
    """
    if min(fractions, default=-1) < 0 or not math.isclose(sum(fractions), 1, abs_tol=1e-6):
        raise ValueError(f"fractions {fractions}: must be at least 0 and sum to 1; rescale them")
    # The last bound is left out, so that rounding cannot lose a photograph beyond it.
    bounds = np.cumsum(fractions)[:-1]
    parts: list[list[Photograph]] = [[] for _ in fractions]
    for item in _items(source):
        parts[int(np.searchsorted(bounds, _position(item.name, seed), side="right"))].append(item)
    return tuple(Photographs(part) for part in parts)


def file_hashes(source: Source) -> tuple[str, ...]:
    """SHA-256 of what is behind each photograph, for the file lists of training records.

    Of a file: of its bytes, as `sha256sum` prints it. Of a record of a TFDS data set: of the data
    set's full name with configuration and version, the split, the place in it, and the image as
    it is stored, which is read but not decoded.

    Args:
        source: of files or records: `embedded`, `folder`, `tfds`, and what is joined, picked or
            split from them.

    Returns:
        64 hexadecimal digits each, in the order of `source.names`.

    Raises:
        ValueError: a photograph is neither a file nor a record.
    """
    return tuple(_hash(item) for item in _items(source))


def _items(source: Source) -> tuple[Photograph, ...]:
    if isinstance(source, Photographs):
        return source._items
    return tuple(
        Photograph(name, partial(source.__getitem__, i), None)
        for i, name in enumerate(source.names)
    )


def _scene(name: str) -> str:
    stem = PurePosixPath(name).stem.lower()
    # A name that is nothing but "-12" has to keep something to be told by.
    return re.sub(r"-\d+$", "", stem) or stem


def _position(name: str, seed: int) -> float:
    """Where a photograph falls in [0, 1): 53 bits, so that the float is exact and below 1."""
    digest = hashlib.sha256(f"{seed}:{_scene(name)}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53


def _hash(item: Photograph) -> str:
    if item.digest is not None:
        return item.digest()
    if item.path is None:
        raise ValueError(
            f"{item.name}: neither a file nor a record, so it has no hash; leave it out first"
        )
    with open(item.path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
