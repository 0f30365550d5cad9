"""Blurred images to evaluate on: photographs, kernels, and what a camera makes of both."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import data, imaging, kernel_size
from blurjax import images as files
from blurjax.images import ImageError

# Kernels drawn at once, and how often, until one is no longer than 95 px across either.
_AT_ONCE, _ATTEMPTS = 8, 100
_KERNELS = frozenset({".npy", ".mat", ".png", ".tif", ".tiff", ".bmp", ".pgm"})


class Kernel(NamedTuple):
    """A kernel and what it is called."""

    name: str
    psf: np.ndarray
    """(k, k), k odd, of sum 1."""
    axis: int | None = None
    """The one whose size was asked for: 0 height, 1 width. None if none was."""


def drawn(key: jax.Array, size: int, varied: float, **options: Any) -> np.ndarray:
    """A kernel just so many pixels wide (about so many, where it is varied), and not too high.

    Args:
        key: random key.
        size: in pixels, from 1 to 95.
        varied: see `kernel_size.sample_kernels`.
        options: more of it: with axis=None the size is that of the longer axis.
    """
    sizes = jnp.full((_AT_ONCE,), size)
    for attempt in range(_ATTEMPTS):
        made = kernel_size.sample_kernels(
            jax.random.fold_in(key, attempt), sizes, n=_AT_ONCE, varied=varied, **options
        )
        some, measured = (np.asarray(part) for part in made)
        fits = np.all(measured <= kernel_size.LARGEST, axis=1)
        if fits.any():
            return some[np.argmax(fits)]
    raise ValueError(f"no kernel {size} px wide is at most {kernel_size.LARGEST} px high")


def shake(key: jax.Array, size: int, prefix: str = "") -> Kernel:
    """A camera shake whose longer axis is just so long."""
    return Kernel(f"{prefix}trajectory {size}", cut(drawn(key, size, 0.0, axis=None)))


def shakes(sizes: Sequence[int], count: int, seed: int) -> list[Kernel]:
    """Camera shakes of every size once in random order, then again."""
    rng = np.random.default_rng(seed)
    wanted: list[int] = []
    while len(wanted) < count:
        wanted += rng.permutation(sizes).tolist()
    key = jax.random.key(seed)
    return [
        shake(jax.random.fold_in(key, number), size, f"{number}: ")
        for number, size in enumerate(wanted[:count])
    ]


def given_kernels(folders: Sequence[Path], unreadable: dict[str, str]) -> list[Kernel]:
    """The kernels in some folders; what cannot be read is put into `unreadable`, with the reason.

    Raises:
        ImageError: none is left.
    """
    found = []
    for root in folders:
        paths = [root] if root.is_file() else sorted(root.rglob("*"))
        for path in paths:
            if path.suffix.lower() not in _KERNELS or path.name.startswith("."):
                continue
            try:
                found.append(Kernel(path.stem, files.read_psf(path).astype(np.float32)))
            except ImageError as error:
                unreadable[str(path)] = str(error)
                print(f"left out: {error}", file=sys.stderr)
    if not found:
        raise ImageError(
            f"{', '.join(map(str, folders))}: no kernel that can be read; looked for "
            f"{', '.join(sorted(_KERNELS))}"
        )
    return found


class Photographs:
    """Photographs in random order, again and again; counts those that are no use.

    Args:
        source: of photographs.
        seed: of their order.
        least: how many pixels a side have to be left where a kernel sees nothing outside.
    """

    def __init__(self, source: data.Source, seed: int, *, least: int) -> None:
        self._source = source
        self._least = least
        self._order = np.random.default_rng(seed).permutation(len(source)).tolist()
        self._next = 0
        # Known once read: a small one need not be read again to be refused.
        self._lesser: dict[int, int] = {}
        self._used: set[int] = set()
        self._refused = 0
        self._unreadable: dict[str, str] = {}

    def for_kernel(self, side: int) -> tuple[str, np.ndarray] | None:
        """The next that is large enough for a kernel of so many pixels a side; None if none is."""
        for _ in self._order:
            index = self._order[self._next % len(self._order)]
            self._next += 1
            name = self._source.names[index]
            if name in self._unreadable:
                continue
            image = None
            if index not in self._lesser:
                try:
                    image = self._source[index]
                except ImageError as error:
                    self._unreadable[name] = str(error)
                    print(f"left out: {error}", file=sys.stderr)
                    continue
                self._lesser[index] = min(image.shape)
            if self._lesser[index] - side + 1 < self._least:
                self._refused += 1
                continue
            self._used.add(index)
            return name, self._source[index] if image is None else image
        return None

    def counts(self) -> dict[str, Any]:
        """For the report."""
        return {
            "photographs": len(self._order),
            "photographs_used": len(self._used),
            "refused_as_too_small": self._refused,
            "unreadable": self._unreadable,
        }


def cut(kernel: np.ndarray) -> np.ndarray:
    """What is not zero of a kernel, in the middle of the smallest odd square."""
    rows, columns = (np.flatnonzero(kernel.any(axis)) for axis in (1, 0))
    box = kernel[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    lacking = [(max(box.shape) | 1) - n for n in box.shape]
    return np.pad(box, [(n // 2, n - n // 2) for n in lacking])


def observed(blurred: np.ndarray, noise: float | None, key: jax.Array) -> np.ndarray:
    """The file that a camera writes; without a level of noise the recording as it is."""
    if noise is None:
        return np.clip(blurred, 0, 1)
    image = jnp.asarray(blurred)
    if noise:
        image = imaging.add_noise(key, image, jnp.asarray(noise, image.dtype))
    return np.asarray(imaging.quantise(image))
