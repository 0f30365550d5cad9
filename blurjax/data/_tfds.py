"""Photographs of TensorFlow Datasets, read without TensorFlow (host)."""

import functools
import hashlib
import json
import operator
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from blurjax import images
from blurjax.data._folder import folder
from blurjax.data._source import Photograph, Photographs, Source

BUILDERS = (
    "folder",
    "bsds500",
    "brodatz",
    "cuhk",
    "mirflickr25k",
    "levin2009",
    "koehler2012",
    "sunhays80",
)
"""Data sets that `build` prepares from files you unpacked."""

_PREFIX = "tfds:"
_OPTIONS = ("split", "feature", "data_dir")
# Where a builder of ours keeps its files' names, beside what TFDS keeps.
_NAMES = "photographs"


def source(root: str | os.PathLike[str]) -> Source:
    """Photographs by one word, as they are named on the command line.

    Args:
        root: a folder or a file, for `folder`; or "tfds:NAME" for `tfds`, such as
            "tfds:voc/2007", "tfds:voc/2007:5.0.0" or "tfds:bsds500?split=train+test[:50%]". After
            "?" come split, feature and data_dir, with "&" between them.

    Returns:
        A source.

    Raises:
        ImageError: there are no such photographs.
        ValueError: an unknown option after "?".

    Source: our choice.

    Example:
        >>> from blurjax import data
        >>> data.source(data.embedded_path("coffee.png")).names
        ('coffee.png',)
    """
    word = os.fspath(root)
    if not word.startswith(_PREFIX):
        return folder(root)
    name, _, options = word.removeprefix(_PREFIX).partition("?")
    chosen = {}
    for option in filter(None, options.split("&")):
        key, equals, value = option.partition("=")
        if key not in _OPTIONS or not equals or not value:
            raise ValueError(
                f"{word}: {option!r} is no option; after '?' write {', '.join(_OPTIONS)}, each "
                "with '=' and a value, and '&' between them"
            )
        chosen[key] = value
    return tfds(name, **chosen)


def tfds(
    name: str,
    *,
    split: str | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    feature: str | None = None,
) -> Source:
    """The photographs of a data set of TensorFlow Datasets, without TensorFlow.

    It must have been prepared in a format of random access, array_record or parquet:
    `python -m train dataset NAME` does it, as do `download` and `build`. Nothing is downloaded
    here.

    Args:
        name: any that TFDS knows or `BUILDERS` names, with its configuration and version if need
            be: "caltech101", "voc/2007", "voc/2007:5.0.0", "bsds500". Without a version the newest
            that is prepared.
        split: in TFDS's notation, "train", "train+test", "train[:10%]"; None for all of them.
        data_dir: where data sets are prepared; None for TFDS's own default, the environment's
            TFDS_DATA_DIR or ~/tensorflow_datasets.
        feature: the image's name, "a/b" where it is inside another. None for "image" or, where
            there is none, for the first of all images by alphabet. Label maps, videos and images of
            floats are none.

    Returns:
        A source of gray photographs, read one by one when asked for. A name is the split with the
        place in it, "train/0000012", or for a data set that `build` prepared with the file's name,
        "train/100007.jpg"; a slice changes no name. One that cannot be decoded raises `ImageError`
        when it is asked for.

    Raises:
        ImageError: the data set is unknown, not prepared or prepared as tfrecord; it has no such
            split or no such image.

    Source: `blurjax.images.read` of the stored file, then `blurjax.images.gray`.
    """
    builder = _builder(name, data_dir)
    key = _feature(name, builder.info.features, feature)
    items: list[Photograph] = []
    for part, start, stop in _parts(name, builder, split):
        stored = _open(name, builder, part, data_dir)
        records = _Records(stored, str(builder.data_dir), builder.info.full_name, part, key)
        names = _names(builder, part)
        for i in range(start, len(records) if stop is None else stop):
            label = f"{part}/{names[i] if names else f'{i:07d}'}"
            items.append(
                Photograph(
                    label,
                    functools.partial(records.read, i, label),
                    None,
                    functools.partial(records.digest, i),
                )
            )
    return Photographs(items)


class _Records:
    """One split of a prepared data set."""

    def __init__(self, stored: Any, folder: str, full_name: str, split: str, feature: str) -> None:
        self._stored = stored
        self._place = (folder, full_name, split, feature)
        self._feature = feature
        self._identity = f"{full_name}\n{split}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Where it is and not what it holds, which for parquet is all photographs.
        return _reopen, self._place

    def __len__(self) -> int:
        return len(self._stored)

    def read(self, index: int, label: str) -> np.ndarray:
        value = self._value(index)
        pixels = _decode(value, label) if isinstance(value, bytes) else _unit(value)
        return np.ascontiguousarray(images.gray(pixels))

    def digest(self, index: int) -> str:
        value = self._value(index)
        content = value if isinstance(value, bytes) else np.asarray(value).tobytes()
        return hashlib.sha256(f"{self._identity}\n{index}\n".encode() + content).hexdigest()

    def _value(self, index: int) -> Any:
        """The image as it is stored: an image file's bytes."""
        # Not decoded by TFDS, whose way without TensorFlow is wrong for palettes and refuses 16
        # bits, and which would decode all other features too.
        try:
            record = self._stored.data_source[index]
            if isinstance(record, Mapping):
                # What `tfds.testing.mock_data` puts there.
                return functools.reduce(operator.getitem, self._feature.split("/"), record)
            from tensorflow_datasets.proto import tf_example_pb2

            example = tf_example_pb2.Example.FromString(bytes(record))
            # A file that was cut short gives records without anything.
            return example.features.feature[self._feature].bytes_list.value[0]
        except Exception as error:
            folder, full_name, split, _ = self._place
            raise images.ImageError(
                f"{full_name}: record {index} of {split} cannot be read from {folder} "
                f"({reason(error)}); remove that folder and prepare the data set again"
            ) from error


@functools.lru_cache(maxsize=64)
def _reopen(folder: str, full_name: str, split: str, feature: str) -> _Records:
    """Once a process, for all photographs of a split that are sent to it one by one."""
    from tensorflow_datasets import builder_from_directory

    stored = builder_from_directory(folder).as_data_source(split)
    return _Records(stored, folder, full_name, split, feature)


def _decode(content: bytes, label: str) -> np.ndarray:
    with tempfile.NamedTemporaryFile(prefix="blurjax-") as file:
        file.write(content)
        file.flush()
        try:
            return images.read(file.name)
        except images.ImageError as error:
            raise images.ImageError(str(error).replace(file.name, label)) from error


def _unit(values: np.ndarray) -> np.ndarray:
    """Decoded pixels (H, W, 1) or (H, W, 3) as `images.read` gives them."""
    unit = values.astype(np.float32) / np.iinfo(values.dtype).max
    return unit[..., 0] if unit.shape[-1] == 1 else unit[..., :3]


def _builder(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    """What TFDS knows about a data set: from its prepared files, or else from its code."""
    from tensorflow_datasets.core import read_only_builder, registered

    # By this and not by `tfds.builder`, which for unknown names asks the network.
    place = {} if data_dir is None else {"data_dir": folder_of(data_dir)}
    try:
        return read_only_builder.builder_from_files(name, **place)
    except registered.DatasetNotFoundError:
        pass
    except Exception as error:
        raise images.ImageError(
            f"data set {name!r}: cannot be opened ({reason(error)}); write NAME, "
            "NAME/CONFIGURATION or NAME:VERSION"
        ) from error
    if base(name) in BUILDERS:
        raise images.ImageError(_unprepared(name, data_dir))
    return official(name, data_dir)


def official(name: str, data_dir: str | os.PathLike[str] | None) -> Any:
    """The builder of a data set of TFDS's own; raises ImageError where there is none."""
    import tensorflow_datasets
    from tensorflow_datasets.core import registered

    try:
        kind = registered.imported_builder_cls(base(name))
    except registered.DatasetNotFoundError as error:
        raise images.ImageError(
            f"{name}: TFDS {tensorflow_datasets.__version__} knows no such data set and none is "
            f"prepared in {folder_of(data_dir)}; check the name, or prepare photographs of yours "
            "with python -m train dataset folder --manual DIR"
        ) from error
    try:
        return tensorflow_datasets.builder(
            name, **({} if data_dir is None else {"data_dir": folder_of(data_dir)})
        )
    except Exception as error:
        configurations = [f"{base(name)}/{key}" for key in kind.builder_configs] or [base(name)]
        raise images.ImageError(
            f"{name}: TFDS {tensorflow_datasets.__version__} has no such configuration or version; "
            f"write one of {', '.join(configurations)}, without a version for the newest"
        ) from error


def _open(name: str, builder: Any, split: str, data_dir: str | os.PathLike[str] | None) -> Any:
    try:
        return builder.as_data_source(split)
    except Exception as error:
        if not Path(builder.data_dir).exists():
            raise images.ImageError(_unprepared(name, data_dir)) from error
        why = f"damaged ({reason(error)})"
        if isinstance(error, NotImplementedError):
            why = f"as {builder.info.file_format.value}, which cannot be read without TensorFlow"
        raise images.ImageError(
            f"{name}: prepared in {builder.data_dir}, but {why}; remove that folder and run "
            f"{_command(name, data_dir)}"
        ) from error


def _parts(name: str, builder: Any, split: str | None) -> Iterator[tuple[str, int, int | None]]:
    """Each (split, first, one past the last); None for the last where that is not known."""
    from tensorflow_datasets.core import ReadInstruction

    known = builder.info.splits
    if not known:
        # Nothing is prepared, as opening it will say; `tfds.testing.mock_data` opens anything.
        yield split or "train", 0, None
        return
    try:
        parts = ReadInstruction.from_spec(split or "all").to_absolute(known)
    except Exception as error:
        raise images.ImageError(
            f"{name}: {split!r} is no part of it ({reason(error)}); it has the splits "
            f"{', '.join(known)}, of which {next(iter(known))}[:10%] takes a slice"
        ) from error
    for part in parts:
        size = known[part.splitname].num_examples
        yield part.splitname, part.from_ or 0, size if part.to is None else part.to


def _feature(name: str, features: Any, wanted: str | None) -> str:
    found = sorted(_images(features))
    listed = ", ".join(found)
    if not found:
        raise images.ImageError(
            f"{name}: none of its features is an image ({', '.join(features)}); choose a data set "
            "of photographs"
        )
    if wanted is None:
        return "image" if "image" in found else found[0]
    if wanted not in found:
        raise images.ImageError(
            f"{name}: {wanted!r} is no image of this data set; choose one of {listed}"
        )
    return wanted


def _images(features: Any, above: str = "") -> Iterator[str]:
    from tensorflow_datasets import features as kinds

    for key, kind in features.items():
        # A sequence is no photograph, label maps are images to TFDS, and floats have no white.
        if isinstance(kind, kinds.FeaturesDict):
            yield from _images(kind, f"{above}{key}/")
        elif (
            isinstance(kind, kinds.Image)
            and not isinstance(kind, kinds.LabeledImage)
            and np.dtype(kind.np_dtype) != np.float32
        ):
            yield above + key


def _names(builder: Any, split: str) -> list[str] | None:
    path = Path(builder.data_dir) / "metadata.json"
    if not path.is_file():
        return None
    # What it holds for other data sets is their own affair.
    metadata = json.loads(path.read_text())
    names = metadata.get(_NAMES) if isinstance(metadata, dict) else None
    found: list[str] | None = names.get(split) if isinstance(names, dict) else None
    return found


def base(name: str) -> str:
    """A data set's name without configuration and version."""
    return name.partition("/")[0].partition(":")[0]


def folder_of(data_dir: str | os.PathLike[str] | None) -> Path:
    """Where data sets are prepared."""
    from tensorflow_datasets.core import constants

    return Path(constants.DATA_DIR if data_dir is None else data_dir).expanduser()


def _unprepared(name: str, data_dir: str | os.PathLike[str] | None) -> str:
    manual = " after unpacking it into DIR" if base(name) in BUILDERS else ""
    return (
        f"{name}: not prepared in {folder_of(data_dir)}; run {_command(name, data_dir)}{manual}, "
        "or name the data_dir in which it is"
    )


def _command(name: str, data_dir: str | os.PathLike[str] | None) -> str:
    manual = " --manual DIR" if base(name) in BUILDERS else ""
    place = "" if data_dir is None else f" --data-dir {os.fspath(data_dir)}"
    return f"python -m train dataset {name}{manual}{place}"


def reason(error: Exception) -> str:
    """The first sentence of a message that may have many lines."""
    line = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return line.split(". ")[0].rstrip(".:")
