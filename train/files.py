"""Which photographs a run is trained on, for its record."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from blurjax import data
from blurjax.images import ImageError
from train import machine


def sources(images: tuple[Path, ...], *, streamed: bool = False) -> tuple[data.Source, data.Source]:
    """The photographs to train on and those to validate on: of all together 80 and 10 %, split by
    image; without any those inside scikit-image.

    Those that cannot be read are left out, named on the standard error and counted.

    Args:
        images: folders, files, or data sets of TFDS as `blurjax.data.source` names them, such as
            "tfds:voc/2007".
        streamed: whether those to train on will be read when their turn comes, so that nobody has
            to wait until all are looked at; see `stream.Photographs`.

    Raises:
        ImageError: a folder is missing or holds no image, or a data set is not prepared; or no
            photograph can be read.
        ValueError: "tfds:" is followed by something that is no data set's name with options.
    """
    if not images:
        return data.embedded("train"), data.embedded("validation")
    train, validation, _ = data.split(data.concatenate(*map(data.source, images)))
    return train if streamed else readable(train), readable(validation)


def readable(source: data.Source) -> data.Source:
    """The photographs that can be read; the others are named on the standard error and counted.

    Every one is read once, some milliseconds each.

    Raises:
        ImageError: there are photographs, and none can be read.
    """
    kept, broken = [], []
    for i in range(len(source)):
        try:
            source[i]
        except ImageError as error:
            broken.append(str(error))
        else:
            kept.append(i)
    if not broken:
        return source
    if not kept:
        raise ImageError(f"none of {len(source)} photographs can be read: {broken[0]}")
    machine.say(f"{len(broken)} of {len(source)} photographs cannot be read and are left out:")
    for sentence in broken:
        machine.say(f"  {sentence}")
    return data.subset(source, kept)


def listing(train: data.Source, validation: data.Source) -> dict[str, Any]:
    """Names and hashes of the files of both parts; "sha256" is that of the sorted training hashes.

    Args:
        train, validation: sources of files.

    Returns:
        JSON values: "train", "validation" (how many), "sha256", "train_files" and
        "validation_files" ([name, hash] each).
    """
    hashes = [data.file_hashes(part) for part in (train, validation)]
    return {
        "train": len(train),
        "validation": len(validation),
        "sha256": hashlib.sha256("\n".join(sorted(hashes[0])).encode()).hexdigest(),
        "train_files": list(zip(train.names, hashes[0], strict=True)),
        "validation_files": list(zip(validation.names, hashes[1], strict=True)),
    }


def claim(workdir: Path, files: dict[str, Any]) -> None:
    """Write the listing into a run's folder, or refuse a folder that belongs to another.

    Raises:
        ValueError: the folder's run is on other photographs.
    """
    path = workdir / "files.json"
    if path.exists() and json.loads(path.read_text())["sha256"] != files["sha256"]:
        raise ValueError(
            f"{workdir} belongs to a run on other photographs; give another --workdir, or the "
            "--images that run began with"
        )
    # In containers all processes have one number: two of them would write one temporary file.
    if machine.first():
        write(path, files)


def write(path: Path, values: Any) -> None:
    """Write JSON values, whole or not at all: another process may be reading them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    temporary.write_text(json.dumps(values, indent=1) + "\n")
    os.replace(temporary, path)
