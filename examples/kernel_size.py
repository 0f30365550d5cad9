"""How large the kernel of a camera shake is: python examples/kernel_size.py

Two photographs that are installed with scikit-image, and that nothing was trained on, are blurred
by random camera shakes of known size; noise and 8 bits are added. From each blurred photograph
alone the width and the height of its kernel are estimated, with an interval that is to hold four
of five.

It takes about fifteen seconds on two CPU cores and writes kernel_size.png.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from blurjax import data, imaging, kernel_size, plots, psf

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

# Which photograph, and how many pixels the longer side of its kernel has.
SHAKES = ((0, 11), (1, 23), (0, 41), (1, 65))
# Colours of the true and of the estimated size.
TRUE, FOUND = "#0072B2", "#D55E00"


class Case(NamedTuple):
    """A photograph that was taken by a shaken camera, and what is said of it."""

    name: str
    seen: np.ndarray
    kernel: np.ndarray
    truth: tuple[int, int]
    """Width and height of the kernel in pixels."""
    answer: kernel_size.Estimate


def main(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("demo"),
    weights: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None,
) -> list[Case]:
    """Estimate the sizes of known kernels.

    Args:
        out: folder for the figure.
        weights: "cascade" for the cascade of residual networks, or a weights file or checkpoint.
    """
    variables, config = kernel_size.load(weights)
    photographs = data.embedded("test")
    cases = []
    for i, (which, extent) in enumerate(SHAKES):
        seen, kernel = shaken(jax.random.key(i), jnp.asarray(photographs[which]), extent)
        height, width = (int(side) for side in psf.extent(kernel))
        answer = kernel_size.estimate(seen, variables, config)
        name = photographs.names[which]
        cases.append(Case(name, np.asarray(seen), np.asarray(kernel), (width, height), answer))
        print(f"{name}: {', '.join(described(cases[-1]))}")
    file = plots.save(draw(cases), out / "kernel_size.png")
    print(f"The figure is {file.resolve()}")
    return cases


def shaken(key: jax.Array, sharp: jax.Array, extent: int) -> tuple[jax.Array, jax.Array]:
    """A photograph as a shaken camera takes it, and the kernel of the shake."""
    k_path, k_noise = jax.random.split(key)
    path = psf.sample_trajectory(k_path, extent=float(extent))
    kernel = psf.trajectory(path, size=extent + 2)
    # Of its pixels only those that saw nothing beyond the edge of the photograph.
    blurred = imaging.blur(sharp, kernel, boundary="valid")
    return imaging.quantise(imaging.add_noise(k_noise, blurred, 0.005)), kernel


def described(case: Case) -> tuple[str, str]:
    """Truth and answer in words."""
    true = f"true {case.truth[0]} x {case.truth[1]} px (width x height)"
    found = case.answer
    if found.status != "ok":
        return true, found.status
    width, height = (
        f"{value:.1f} ({low:.0f}-{up:.0f})"
        for value, (low, up) in (
            (found.width, found.interval["width"]),
            (found.height, found.interval["height"]),
        )
    )
    return true, f"estimated {width} x {height} px"


def draw(cases: list[Case]) -> "matplotlib.figure.Figure":
    """Photographs above, below the true kernels with the boxes that were estimated."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    figure = Figure((3.6 * len(cases), 6.8), dpi=110, layout="constrained")
    axes = figure.subplots(2, len(cases), height_ratios=(0.75, 1), squeeze=False)
    for (top, bottom), case in zip(axes.T, cases, strict=True):
        top.imshow(case.seen, cmap="gray", vmin=0, vmax=1)
        top.set(xlabel="column (px)", ylabel="row (px)")
        top.set_title(f"{case.name}, blurred", fontsize=10)
        _draw_boxes(bottom, case)
        bottom.set_title("\n".join(described(case)), fontsize=9)
    figure.legend(
        handles=[
            Line2D([], [], color=TRUE, linestyle="--", linewidth=1.5, label="true size"),
            Line2D([], [], color=FOUND, linewidth=2, label="estimated size"),
            Patch(color=FOUND, alpha=0.25, label="where its edges lie in four of five cases"),
        ],
        loc="outside lower center",
        ncols=3,
        frameon=False,
    )
    return figure


def _draw_boxes(axes: "matplotlib.axes.Axes", case: Case) -> None:
    """The kernel, the box around it, and the estimated one about the same centre."""
    from matplotlib.patches import PathPatch, Rectangle
    from matplotlib.path import Path as Outline

    # The pixels that an image can show, as `psf.extent` counts them.
    shown = case.kernel > 0.01 * case.kernel.max()
    rows, columns = (np.flatnonzero(shown.any(axis=axis)) for axis in (1, 0))
    # The middle of the kernel's pixels is the origin.
    row, column = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    edge = len(case.kernel) - 0.5
    axes.imshow(
        np.sqrt(case.kernel),
        cmap="gray_r",
        extent=(-0.5 - column, edge - column, edge - row, -0.5 - row),
    )

    def corners(width: float, height: float) -> np.ndarray:
        return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -1]]) * [width / 2, height / 2]

    reach = 0.55 * max(case.truth)
    if case.answer.status == "ok":
        between = [case.answer.interval[side] for side in ("width", "height")]
        low, high = zip(*between, strict=True)
        # The inner outline runs the other way round: what it encloses is a hole.
        band = Outline.make_compound_path(Outline(corners(*high)), Outline(corners(*low)[::-1]))
        axes.add_patch(PathPatch(band, facecolor=FOUND, alpha=0.25, edgecolor="none"))
        size = case.answer.width, case.answer.height
        axes.plot(*corners(*size).T, color=FOUND, linewidth=2)
        reach = max(reach, 0.55 * max(high))
    axes.add_patch(
        Rectangle(
            (-case.truth[0] / 2, -case.truth[1] / 2),
            *case.truth,
            fill=False,
            edgecolor=TRUE,
            linestyle="--",
            linewidth=1.5,
        )
    )
    axes.set(xlim=(-reach, reach), ylim=(reach, -reach))
    axes.set(xlabel="column (px)", ylabel="row (px)")


if __name__ == "__main__":
    tyro.cli(main)
