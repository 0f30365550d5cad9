"""The recorded images of Levin et al. with their kernels (host)."""

import operator
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from blurjax import images as files

_NAME = re.compile(r"im\d+_flit\d+\.mat")
# The shadows and lights of a recording may leave [0, 1] a little; 8-bit levels leave it far.
_LARGEST = 2.0


class Levin(NamedTuple):
    """A photograph, its recording by a camera that shook, and how it shook."""

    name: str
    """The file's name without extension, "im05_flit01"."""
    sharp: np.ndarray
    """(H, W) float32, nominally in [0, 1]."""
    blurred: np.ndarray
    """Likewise, of the same shape: recorded, not computed."""
    psf: np.ndarray
    """(k, k) float32, k odd, of sum 1, in the file's own orientation."""


class LevinSet:
    """A sequence of `Levin`, each read when it is asked for."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = tuple(paths)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(path.stem for path in self._paths)

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int, /) -> Levin:
        return _read(self._paths[operator.index(index)])

    def __iter__(self) -> Iterator[Levin]:
        return map(_read, self._paths)

    def __repr__(self) -> str:
        return f"<{len(self)} recordings>"


def levin(root: str | os.PathLike[str]) -> LevinSet:
    """Recorded camera shake: the files im05_flit01.mat .. im08_flit08.mat in a folder (host).

    Four photographs of 255 x 255 pixels by eight kernels; any part of the 32 will do.

    Args:
        root: the folder that holds them.

    Returns:
        The recordings in the order of the files' names. A kernel is padded with zeros to an odd
        square, as `blurjax.images.read_psf` does it. An item that cannot be read raises
        `ImageError` when it is asked for: a damaged file, one without x, y or f, x and y that are
        not matrices of one shape, values that are not finite or not in units of white.

    Raises:
        ImageError: the folder is missing or holds no such file.

    Source: Levin et al., "Understanding and evaluating blind deconvolution algorithms", CVPR 2009:
        x is the sharp image, y the recording, f the kernel.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np, scipy.io
        >>> from blurjax import data
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     file = pathlib.Path(folder) / "im05_flit01.mat"
        ...     scipy.io.savemat(file, {"x": np.eye(9), "y": np.eye(9) / 2, "f": np.ones((3, 4))})
        ...     one = data.levin(folder)[0]
        >>> one.name, one.blurred.shape, one.psf.shape
        ('im05_flit01', (9, 9), (5, 5))
    """
    root = Path(root)
    if not root.is_dir():
        raise files.ImageError(f"{root}: no such folder; check the path")
    found = sorted(path for path in root.iterdir() if _NAME.fullmatch(path.name))
    if not found:
        raise files.ImageError(
            f"{root}: no file im05_flit01.mat or the like in this folder; unpack Levin et al.'s "
            "images into it"
        )
    return LevinSet(found)


def _read(path: Path) -> Levin:
    from scipy.io import loadmat

    # First, for its sentences about files that are empty, damaged or of another version.
    kernel = files.read_psf(path, key="f")
    contents = loadmat(path)
    sharp, blurred = (_matrix(path, contents, key) for key in ("x", "y"))
    if sharp.shape != blurred.shape:
        raise files.ImageError(
            f"{path}: x has shape {sharp.shape} and y {blurred.shape}; both must have the same, so "
            "export the file again"
        )
    return Levin(path.stem, sharp, blurred, kernel.astype(np.float32))


def _matrix(path: Path, contents: dict[str, Any], key: str) -> np.ndarray:
    if key not in contents:
        there = ", ".join(name for name in contents if not name.startswith("__"))
        raise files.ImageError(
            f"{path}: there is no variable {key!r}, the file holds {there}; take Levin et al.'s own"
        )
    values = np.asarray(contents[key])
    if values.ndim != 2 or values.size == 0 or values.dtype.kind != "f":
        raise files.ImageError(
            f"{path}: {key} holds {values.dtype} values of shape {values.shape}; an image is one "
            "matrix of floats, so export the file again"
        )
    if not np.isfinite(values).all():
        raise files.ImageError(f"{path}: {key} holds values that are NaN or infinite; replace them")
    if np.abs(values).max() > _LARGEST:
        raise files.ImageError(
            f"{path}: {key} ranges over [{values.min():g}, {values.max():g}], nominally [0, 1]; "
            "divide by the value that means white"
        )
    return values.astype(np.float32)
