"""A photograph made sharp from nothing but itself: python examples/deblur.py

The clock that is installed with scikit-image was photographed with a moving camera: its blur is
real, and nobody knows the truth. Type, size and kernel are found, and the motion is undone.

It takes about a minute on two CPU cores, most of it to compile, and writes deblur.png.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import tyro

import blurjax
from blurjax import data, images, plots

if TYPE_CHECKING:
    import matplotlib.figure


def main(out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("demo")) -> blurjax.Deblurred:
    """Deblur the clock.

    Args:
        out: folder for the figure.
    """
    seen = images.read(data.embedded_path("clock_motion.png"))
    found = blurjax.deblur(seen, progress=lambda words: print(f"{words} ..."))
    print(f"{found.path}; kernel of {found.size} px, confidence {found.confidence:.2f}")
    file = plots.save(draw(seen, found), out / "deblur.png")
    print(f"The figure is {file.resolve()}")
    return found


def draw(seen: np.ndarray, found: blurjax.Deblurred) -> "matplotlib.figure.Figure":
    """The photograph, what became of it, and the kernel."""
    from matplotlib.figure import Figure

    figure = Figure((13, 3.9), dpi=110, layout="constrained")
    axes = figure.subplots(1, 3, width_ratios=(4, 4, 2.6))
    titles = ("clock_motion.png", f"deblurred: {found.path}")
    for ax, image, title in zip(axes, (seen, found.image), titles, strict=False):
        ax.imshow(image, cmap="gray", vmin=0, vmax=1)
        ax.set(xlabel="column (px)", ylabel="row (px)")
        ax.set_title(title, fontsize=10)
    edge = found.size / 2
    axes[2].imshow(np.sqrt(found.kernel), cmap="gray_r", extent=(-edge, edge, edge, -edge))
    axes[2].set(xlabel="column (px)", ylabel="row (px)")
    axes[2].set_title(f"its kernel (square root), confidence {found.confidence:.2f}", fontsize=10)
    return figure


if __name__ == "__main__":
    tyro.cli(main)
