"""Which photographs a run is trained on, for its record."""

import hashlib
import json
from pathlib import Path
from typing import Any

from blurjax import data


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
    workdir.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(files, indent=1) + "\n")
