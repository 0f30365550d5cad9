"""`python -m eval <protocol>`: see `python -m eval --help`."""

import os
import sys
from collections.abc import Callable
from typing import Any

import tyro

from blurjax.images import ImageError
from blurjax.weights import WeightsError
from eval import (
    blur_type,
    blur_type_deblurring,
    blur_type_recall,
    blur_type_seed,
    deblurring,
    defocus_maps,
    everything,
    fit_blind,
    kernel_size,
    region,
    sharpness,
    sigma_map,
)

PROTOCOLS: dict[str, Callable[..., Any]] = {
    "all": everything.evaluate,
    "blur_type": blur_type.evaluate,
    "blur_type_deblurring": blur_type_deblurring.evaluate,
    "blur_type_recall": blur_type_recall.evaluate,
    "blur_type_seed": blur_type_seed.evaluate,
    "deblurring": deblurring.evaluate,
    "defocus_maps": defocus_maps.evaluate,
    "fit_blind": fit_blind.evaluate,
    "kernel_size": kernel_size.evaluate,
    "region": region.evaluate,
    "sharpness": sharpness.evaluate,
    "sigma_map": sigma_map.evaluate,
}
"""Of each name on the command line what runs it."""


def main() -> int:
    """Run a protocol from the command line; 0 when done, 1 after a sentence that says why not."""
    try:
        tyro.extras.subcommand_cli_from_dict(PROTOCOLS, prog="python -m eval")
    except (ImageError, WeightsError, ValueError) as error:
        print(f"eval: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("eval: interrupted", file=sys.stderr, flush=True)
        # JAX compiles in threads of its own, which do not survive the interpreter's end.
        os._exit(130)
    return 0


if __name__ == "__main__":
    sys.exit(main())
