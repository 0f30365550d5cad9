"""`python -m train <system>`: see `python -m train --help`, and `--list` for all presets."""

import dataclasses
import os
import sys
from typing import Any

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

COMMANDS: dict[str, Any] = {
    "blur_type": blur_type.train,
    "dataset": dataset.make,
    "kernel_size": kernel_size.train,
    "region": region.train,
    "region_labels": region_labels.make,
    "sharpness": sharpness.train,
    "sharpness_metric": sharpness_metric.train,
    "sigma_map": sigma_map.train,
}


def listing() -> str:
    """Every system with its presets: what network, how many steps of how many examples."""
    lines = []
    for system in (blur_type, kernel_size, region, sharpness, sigma_map):
        name = system.__name__.rpartition(".")[2]
        presets = system.PRESETS
        plain = next(iter(presets.values())).config.__class__()
        for preset, plan in presets.items():
            changed = ", ".join(
                f"{field.name}={getattr(plan.config, field.name)}"
                for field in dataclasses.fields(plan.config)
                if getattr(plan.config, field.name) != getattr(plain, field.name)
            )
            size = f"{plan.steps} x {plan.batch}"
            lines.append(f"{name:12} {preset:22} {size:>12}  {changed}".rstrip())
    head = f"{'system':12} {'preset':22} {'steps x batch':>12}  network, if another"
    last = "python -m train SYSTEM --preset PRESET; the others: " + ", ".join(
        name for name in COMMANDS if name not in {line.split()[0] for line in lines}
    )
    return "\n".join([head, *lines, last])


def joined(arguments: list[str]) -> list[str]:
    """Arguments in which several `--set` are one: of an option that is repeated the last counts."""
    rest: list[str] = []
    values: list[str] = []
    setting = False
    for argument in arguments:
        setting = argument == "--set" or (setting and not argument.startswith("--"))
        (values if setting else rest).append(argument)
    return [*rest, *(["--set", *(v for v in values if v != "--set")] if values else [])]


def main() -> int:
    """Train a system from the command line; 0 when done, 1 after a sentence that says why not."""
    if sys.argv[1:] == ["--list"]:
        print(listing())
        return 0
    try:
        tyro.extras.subcommand_cli_from_dict(
            COMMANDS,
            args=joined(sys.argv[1:]),
            prog="python -m train",
            description="Train a system; --list shows all presets.",
        )
    except (ImageError, CheckpointError, ValueError, FloatingPointError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "train: interrupted; the same command goes on where there is a checkpoint",
            file=sys.stderr,
            flush=True,
        )
        # JAX compiles in threads of its own, which do not survive the interpreter's end.
        os._exit(130)
    return 0


if __name__ == "__main__":
    sys.exit(main())
