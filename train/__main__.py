"""`python -m train <system>`: see `python -m train --help`."""

import sys

import tyro

from blurjax.checkpoint import CheckpointError
from blurjax.images import ImageError
from train import (
    blur_type,
    dataset,
    kernel_size,
    region,
    region_labels,
    sharpness,
    sharpness_metric,
    sigma_map,
)


def main() -> int:
    """Train a system from the command line; 0 when done, 1 after a sentence that says why not."""
    try:
        tyro.extras.subcommand_cli_from_dict(
            {
                "blur_type": blur_type.train,
                "dataset": dataset.make,
                "kernel_size": kernel_size.train,
                "region": region.train,
                "region_labels": region_labels.make,
                "sharpness": sharpness.train,
                "sharpness_metric": sharpness_metric.train,
                "sigma_map": sigma_map.train,
            },
            prog="train",
        )
    except (ImageError, CheckpointError, ValueError, FloatingPointError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
