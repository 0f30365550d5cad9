"""What TFDS needs of TensorFlow to prepare a data set: files on this machine (host)."""

import contextlib
import glob
import importlib.util
import os
import shutil
from collections.abc import Iterator
from types import SimpleNamespace
from typing import IO, Any
from unittest import mock

_Path = str | os.PathLike[str]


class _Part(SimpleNamespace):
    """A part of the stand-in; what it lacks is missing as TensorFlow is missing."""

    def __getattr__(self, name: str) -> Any:
        raise ModuleNotFoundError(f"its code uses TensorFlow's {name}", name="tensorflow")


class _Writer:
    """A file to write that is closed between writes: TFDS writes to a thousand at once."""

    def __init__(self, path: _Path, mode: str) -> None:
        self._path = path
        self._mode = mode.replace("w", "a")
        with _open(path, mode):
            pass

    def write(self, content: Any) -> None:
        with _open(self._path, self._mode) as file:
            file.write(content)

    def flush(self) -> None:
        pass

    close = flush

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *error: object) -> None:
        pass


@contextlib.contextmanager
def without_tensorflow() -> Iterator[None]:
    """Let TFDS prepare data sets where TensorFlow is not installed (host).

    TFDS reads and writes files through TensorFlow: archives as it unpacks them, whatever of a
    split is beyond 1 GB while it is being sorted, and lists of files in the code of many data sets.
    Meanwhile it gets Python's own functions in their place. Nothing happens where TensorFlow is
    installed.

    Source: our choice.
    """
    if importlib.util.find_spec("tensorflow") is not None:
        yield
        return
    from tensorflow_datasets.core.utils import lazy_imports_utils

    # All of TFDS shares this one object, which keeps there what it has imported.
    with mock.patch.dict(vars(lazy_imports_utils.tensorflow), {"_module": _stand_in()}):
        yield


def _stand_in() -> _Part:
    gfile = _Part(
        GFile=_file,
        copy=_copy,
        exists=os.path.exists,
        glob=lambda pattern: sorted(glob.glob(os.fspath(pattern))),
        isdir=os.path.isdir,
        # Sorted, so that a data set does not depend on the file system.
        listdir=lambda path: sorted(os.listdir(path)),
        makedirs=lambda path: os.makedirs(path, exist_ok=True),
        remove=os.remove,
        rename=lambda old, new, overwrite=False: os.replace(old, new),
        rmtree=shutil.rmtree,
        walk=_walk,
    )
    errors = _Part(
        NotFoundError=FileNotFoundError,
        OutOfRangeError=EOFError,
        PermissionDeniedError=PermissionError,
        ResourceExhaustedError=BlockingIOError,
        UnimplementedError=NotImplementedError,
    )
    return _Part(io=_Part(gfile=gfile), compat=_Part(as_text=_text), errors=errors)


def _file(path: _Path, mode: str = "r") -> Any:
    return _Writer(path, mode) if "w" in mode else _open(path, mode)


def _open(path: _Path, mode: str) -> IO[Any]:
    return open(path, mode, encoding=None if "b" in mode else "utf-8")


def _copy(
    old: str | os.PathLike[str], new: str | os.PathLike[str], overwrite: bool = False
) -> None:
    if "://" in os.fspath(old):
        # After this TFDS fetches the address itself.
        raise NotImplementedError
    shutil.copyfile(old, new)


def _walk(top: _Path) -> Iterator[tuple[str, list[str], list[str]]]:
    for folder, folders, files in os.walk(top):
        folders.sort()
        yield folder, folders, sorted(files)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
