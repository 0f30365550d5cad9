"""`python -m train <system>`: see `python -m train --help`."""

import sys

import tyro

from train import blur_type


def main() -> int:
    """Train a system from the command line; 0 when done, 1 after a sentence that says why not."""
    arguments = tyro.extras.subcommand_cli_from_dict({"blur_type": blur_type.train}, prog="train")
    del arguments
    return 0


if __name__ == "__main__":
    sys.exit(main())
