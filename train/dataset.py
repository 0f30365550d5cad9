"""Prepare a data set for `--images tfds:NAME`, once."""

import sys
from pathlib import Path
from typing import Annotated

import tyro

from blurjax import data


def make(
    name: Annotated[str, tyro.conf.Positional],
    manual: Path | None = None,
    data_dir: Path | None = None,
) -> Path:
    """Prepare a data set of photographs for training: of TFDS, or from files of yours.

    Data sets of TFDS, such as voc/2007, are downloaded. Those of blurjax are made of files that
    you have unpacked: folder (any photographs), bsds500, brodatz, cuhk, mirflickr25k, levin2009,
    koehler2012 and sunhays80; docs/datasets.md says which files. Nothing of it needs TensorFlow.
    What is prepared already is left as it is.

    Args:
        name: the data set, with its configuration if it has several; "folder/NAME" tells
            photographs of yours apart.
        manual: the folder of the unpacked files; of the archives, for the data sets of TFDS that
            it cannot download.
        data_dir: where data sets are prepared; default TFDS_DATA_DIR or ~/tensorflow_datasets.

    Returns:
        The folder of the prepared data set.

    Raises:
        ImageError: a file is missing, or TFDS does not know or cannot prepare the data set.
        ValueError: `manual` is missing, or other files are prepared under the name already.
    """
    if name.partition("/")[0].partition(":")[0] not in data.BUILDERS:
        folder = data.download(name, manual=manual, data_dir=data_dir)
    elif manual is not None:
        folder = data.build(name, manual, data_dir=data_dir)
    else:
        raise ValueError(
            f"{name}: made of files of yours; unpack them and name their folder with --manual DIR"
        )
    place = "" if data_dir is None else f"?data_dir={data_dir}"
    count = len(data.tfds(name, data_dir=data_dir))
    print(f"{count} photographs in {folder}; use them as tfds:{name}{place}", file=sys.stderr)
    return folder
