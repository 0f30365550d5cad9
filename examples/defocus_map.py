"""How far out of focus each part of a photograph is: python examples/defocus_map.py

Two photographs that are installed with scikit-image, of an astronaut before a flag and a model of
the shuttle, and of a cat, have a background that is out of focus. For each it draws the sigma map
where it is known, and the map filled in along the photograph's surfaces where it is not. Nobody
knows the truth; the picture must agree with what a person sees.

It takes about fifteen seconds on two CPU cores and writes two pictures a photograph.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from blurjax import data, images, plots, sigma_map

PHOTOGRAPHS = ("astronaut", "chelsea")


def main(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("demo"),
    weights: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None,
) -> dict[str, sigma_map.Estimate]:
    """Draw the sigma maps of two photographs, as measured and filled in.

    Args:
        out: folder for the pictures.
        weights: "published" for the published network, or a weights file or checkpoint.
    """
    variables, config = sigma_map.load(weights)
    answers = {}
    for name in PHOTOGRAPHS:
        photograph = images.read(data.embedded_path(f"{name}.png"))
        measured = sigma_map.estimate(photograph, variables, config)
        filled = sigma_map.estimate(photograph, variables, config, smoothing="guided", fill=True)
        high = float(np.quantile(measured.sigma[measured.valid], 0.995))
        for what, sigma, valid in (
            ("measured", measured.sigma, measured.valid),
            ("filled in", filled.sigma, None),
        ):
            figure = plots.sigma_overlay(
                photograph, sigma, valid=valid, high=high, title=f"{name}, sigma {what}"
            )
            path = plots.save(figure, out / f"{name}_{what.replace(' ', '_')}.png")
            print(f"{path}: sigma known in {measured.valid.mean():.0%} of the pixels")
        answers[name] = measured
    return answers


if __name__ == "__main__":
    tyro.cli(main)
