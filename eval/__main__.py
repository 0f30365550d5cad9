"""`python -m eval <protocol>`: see `python -m eval --help`."""

import sys

import tyro

from blurjax.images import ImageError
from blurjax.weights import WeightsError
from eval import blur_type


def main() -> int:
    """Run a protocol from the command line; 0 when done, 1 after a sentence that says why not."""
    try:
        tyro.extras.subcommand_cli_from_dict({"blur_type": blur_type.evaluate}, prog="eval")
    except (ImageError, WeightsError, ValueError) as error:
        print(f"eval: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
