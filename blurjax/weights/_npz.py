"""Reading and writing weight files."""

import dataclasses
import hashlib
import importlib.resources
import json
import os
import tempfile
import threading
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

C = TypeVar("C")
_reading = threading.Lock()
Tree = dict[str, Any]

_META = "meta.json"


class WeightsError(ValueError):
    """A weights file that is missing, damaged or of another system."""


def path(name: str) -> Path:
    """Where the shipped weights `name` lie."""
    return Path(str(importlib.resources.files(__package__) / f"{name}.npz"))


def save(file: str | Path, variables: Tree, config: object, record: dict[str, Any]) -> Path:
    """Write variables as float16 npz, whole or not at all.

    Args:
        file: path ending in .npz.
        variables: nested dict of arrays with string keys; floats are cast to float16.
        config: a frozen dataclass of plain values, stored as JSON beside the arrays.
        record: how the weights were made, stored as JSON.

    Returns:
        The path.

    Raises:
        WeightsError: a value that float16 cannot hold.
    """
    file = Path(file)
    arrays = {}
    for key, value in _flatten(variables).items():
        array = np.asarray(value)
        if np.issubdtype(array.dtype, np.floating):
            with np.errstate(over="ignore"):
                array = array.astype(np.float16)
            if not np.all(np.isfinite(array)):
                raise WeightsError(
                    f"{key} holds values that float16 cannot (above 65504, or not finite); "
                    f"rescale it before saving {file}"
                )
        arrays[key] = array
    meta = {
        "config": dataclasses.asdict(config),  # type: ignore[call-overload]
        "record": record,
        "sha256": _digest(arrays),
    }
    arrays[_META] = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".npz")
    try:
        with os.fdopen(handle, "wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
        os.chmod(temporary, 0o644)
        os.replace(temporary, file)
    except BaseException:
        os.unlink(temporary)
        raise
    return file


def load(file: str | Path, config_type: type[C]) -> tuple[Tree, C, dict[str, Any]]:
    """Read variables, configuration and record; every array is checked against its checksum.

    Args:
        file: path of an npz file written by `save`.
        config_type: the dataclass to rebuild.

    Returns:
        Variables (float32 NumPy arrays), configuration, record.

    Raises:
        WeightsError: missing, damaged, or made for another configuration.
    """
    file = Path(file)
    if not file.is_file():
        remedy = "reinstall blurjax" if file.parent == path("").parent else "give another path"
        raise WeightsError(f"weights file {file} does not exist; {remedy}")
    try:
        # Python 3.11 may raise SystemError where two threads parse the heads of arrays at once.
        with _reading, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
        meta = json.loads(arrays.pop(_META).tobytes())
        checksum, values, record = meta["sha256"], meta["config"], meta["record"]
    except Exception as error:  # a damaged archive fails in a dozen ways
        raise WeightsError(
            f"{file} is damaged or no blurjax weights file ({type(error).__name__}: {error}); "
            "reinstall the package or train the weights again"
        ) from error
    if _digest(arrays) != checksum:
        raise WeightsError(
            f"{file} does not match its checksum; reinstall the package or train the weights again"
        )
    config = configuration(config_type, values, str(file))
    single = {
        k: v.astype(np.float32) if np.issubdtype(v.dtype, np.floating) else v
        for k, v in arrays.items()
    }
    return _nest(single), config, record


def configuration(config_type: type[C], values: dict[str, Any], origin: str) -> C:
    """Rebuild a configuration from JSON values, in which tuples have become lists.

    Raises:
        WeightsError: values that `config_type` does not know; it names `origin`.
    """
    fields = {f.name for f in dataclasses.fields(config_type)}  # type: ignore[arg-type]
    unknown = set(values) - fields
    if unknown:
        raise WeightsError(
            f"{origin} was made for another system or version: {config_type.__name__} has no "
            f"{', '.join(sorted(unknown))}"
        )
    return config_type(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def _flatten(tree: Tree, prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}/")
        else:
            flat[prefix + key] = value
    return flat


def _nest(flat: dict[str, np.ndarray]) -> Tree:
    tree: Tree = {}
    for key, value in flat.items():
        *parents, leaf = key.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = value
    return tree


def _digest(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        array = arrays[key]
        digest.update(f"{key} {array.dtype.str} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
