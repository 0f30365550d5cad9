"""Which parts of a photograph are sharp: python examples/sharpness.py

A photograph of a cat, installed with scikit-image, has a background that is out of focus. What is
sharp in it is outlined twice: by the network, and by the local metric, which is two small kernels
and a refinement. Nobody knows the truth; the pictures must agree with what a person sees.

It takes about ten seconds on two CPU cores and writes a picture for each of the two.
"""

from pathlib import Path
from typing import Annotated

import tyro

from blurjax import data, images, plots, sharpness

METHODS = ("detector", "metric")


def main(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("demo"),
) -> dict[str, sharpness.Estimate]:
    """Outline what is sharp in a photograph, by two methods.

    Args:
        out: folder for the pictures.
    """
    photograph = images.read(data.embedded_path("chelsea.png"))
    answers = {}
    for method in METHODS:
        answer = sharpness.estimate(photograph, method=method)
        figure = plots.sharpness_overlay(photograph, answer.sharpness, title=f"chelsea, {method}")
        path = plots.save(figure, out / f"chelsea_{method}.png")
        print(f"{path}: {answer.sharp_fraction:.0%} of the pixels are sharp")
        answers[method] = answer
    return answers


if __name__ == "__main__":
    tyro.cli(main)
