"""Make a data set of TensorFlow Datasets out of files, once, without TensorFlow (host)."""

import os
from pathlib import Path

from blurjax.data._tfds import BUILDERS, base, folder_of
from blurjax.images import ImageError


def build(
    name: str, manual: str | os.PathLike[str], *, data_dir: str | os.PathLike[str] | None = None
) -> Path:
    """Prepare one of `BUILDERS` from its unpacked files, for `tfds`.

    docs/datasets.md says which files each takes. They are found at any depth, and images are stored
    as they are. In the same place the same files are not prepared a second time. Interrupted, it
    leaves nothing behind.

    Args:
        name: one of `BUILDERS`; photographs of yours also as "folder/NAME", to tell them apart.
        manual: the folder that holds the files.
        data_dir: where data sets are prepared; None for TFDS's own default, the environment's
            TFDS_DATA_DIR or ~/tensorflow_datasets.

    Returns:
        The prepared data set's own folder, in array_record; `tfds.builder_from_directory` of TFDS
        opens it with all that was kept beside the photographs (masks, kernels, segmentations). Of
        "folder" and "mirflickr25k", images that cannot be read are left out and named on the
        standard error.

    Raises:
        ImageError: a file is missing or cannot be read.
        ValueError: no such name, or other files are prepared under it already.

    Source: our choice.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy as np
        >>> from blurjax import data, images
        >>> with tempfile.TemporaryDirectory() as place:
        ...     images.write(pathlib.Path(place) / "leaf.png", np.full((8, 9), 0.2))
        ...     folder = data.build("folder", place, data_dir=pathlib.Path(place) / "prepared")
        ...     source = data.source(f"tfds:folder?data_dir={place}/prepared")
        ...     print(source.names, source[0].shape)
        ('train/leaf.png',) (8, 9)
    """
    if base(name) not in BUILDERS:
        raise ValueError(
            f"{name}: not a data set that is prepared from files of yours; choose one of "
            f"{', '.join(BUILDERS)}, or use download for one of TFDS's own"
        )
    root = Path(manual).expanduser()
    if not root.is_dir():
        raise ImageError(
            f"{root}: no such folder; unpack the files of {name} and name their folder"
        )
    from blurjax.data import _builders

    return _builders.prepare(name, root, folder_of(data_dir))


def download(
    name: str,
    *,
    manual: str | os.PathLike[str] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
) -> Path:
    """Download a data set that TFDS knows and prepare it for `tfds`, without TensorFlow.

    What is prepared already is left as it is. TFDS shows its progress on the standard error.

    Args:
        name: with configuration and version if need be, "caltech101", "voc/2007".
        manual: for the data sets that TFDS cannot download itself, the folder of their archives.
        data_dir: where data sets are prepared, and the downloads beside them; None for TFDS's own
            default, the environment's TFDS_DATA_DIR or ~/tensorflow_datasets.

    Returns:
        The prepared data set's own folder, in array_record.

    Raises:
        ImageError: TFDS knows no such data set or configuration; it is prepared as tfrecord; the
            network or `manual` does not give the files; or its code needs TensorFlow.

    Source: our choice.
    """
    from blurjax.data import _builders

    return _builders.fetch(
        name, None if manual is None else Path(manual).expanduser(), folder_of(data_dir)
    )
