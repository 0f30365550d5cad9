"""Every PSF of blurjax with its transfer function and its effect: python examples/blur_tour.py

Above each other: the kernel, how much contrast it leaves of stripes of each frequency, and a
photograph blurred by it. Dots are the transfer function of the kernel (`psf.transfer`); lines are
the closed form of the continuous blur and its pixel, where there is one. They part only towards
0.5 cycles a pixel, where the pixel grid folds higher frequencies back. MTF50, the frequency at
which half the contrast is left, is given for vertical (0 degrees) and horizontal stripes (90).

It takes about twenty seconds on two CPU cores and writes blur_tour.png.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from blurjax import data, imaging, plots, psf

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

SIZE = 25
_COLOURS = ("#0072B2", "#D55E00")


class Stop(NamedTuple):
    """A kernel to visit."""

    title: str
    kernel: jax.Array
    closed_form: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    """Transfer at the frequencies u (columns) and v (rows)."""


def stops() -> list[Stop]:
    """The tour."""
    angle = math.radians(30)
    t = jnp.linspace(0, 1, 300)
    hook = jnp.stack([6 * jnp.cos(4.4 * t) - 1, 6 * jnp.sin(4.4 * t) * (1 - t / 2)], -1)
    shake = psf.sample_trajectory(jax.random.key(4), extent=19.0)

    def gaussian(u: jax.Array, v: jax.Array) -> jax.Array:
        return psf.gaussian_transfer(2.0, u, v, footprint=True)

    def thin(u: jax.Array, v: jax.Array) -> jax.Array:
        return psf.gaussian_transfer(3.0, u, v, ratio=0.35, angle=angle, footprint=True)

    def motion(u: jax.Array, v: jax.Array) -> jax.Array:
        return psf.motion_transfer(14.0, angle, u, v, footprint=True)

    def defocus(u: jax.Array, v: jax.Array) -> jax.Array:
        return psf.defocus_transfer(5.0, u, v, footprint=True)

    return [
        Stop("no blur\n", psf.gaussian(0.0, size=SIZE)),
        Stop("gaussian\nsigma 2 px", psf.gaussian(2.0, size=SIZE), gaussian),
        Stop(
            "gaussian\nsigma 3 px, ratio 0.35, 30°",
            psf.gaussian(3.0, size=SIZE, ratio=0.35, angle=angle),
            thin,
        ),
        Stop("motion\nlength 14 px, 30°", psf.motion(14.0, angle, size=SIZE), motion),
        Stop("defocus\nradius 5 px", psf.defocus(5.0, size=SIZE), defocus),
        Stop(
            "polygon\nradius 6 px, 5 blades, 90°",
            psf.polygon(6.0, size=SIZE, blades=5, rotation=math.pi / 2),
        ),
        Stop("moffat\nwidth 2 px, exponent 2", psf.moffat(2.0, 2.0, size=SIZE)),
        Stop("airy\nfirst dark ring 5 px", psf.airy(5.0, size=SIZE)),
        Stop("trajectory\na hook", psf.trajectory(hook, size=SIZE)),
        Stop("sample_trajectory\nextent 19 px", psf.trajectory(shake, size=SIZE)),
    ]


def main(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("demo"),
) -> dict[str, tuple[float, float]]:
    """Draw every PSF, its transfer function and what it does to a photograph.

    Args:
        out: folder for the figure.
    """
    tour = stops()
    kernels = jnp.stack([stop.kernel for stop in tour])
    # One call for all: the kernels' axis leads those of the image and of the angles.
    sharp = jnp.asarray(data.embedded("test")[0])[80:200, 285:405]
    blurred = imaging.blur(sharp, kernels)
    mtf50 = np.asarray(psf.mtf50(kernels, jnp.array([0.0, math.pi / 2])))
    file = plots.save(draw(tour, blurred, mtf50), out / "blur_tour.png")
    found = {}
    print("MTF50 in cycles a pixel, at 0 and 90 degrees:")
    for stop, (across, down) in zip(tour, mtf50.tolist(), strict=True):
        title = " ".join(stop.title.split())
        found[title] = (across, down)
        print(f"  {title:42} {number(across)} {number(down)}")
    print(f"The figure is {file.resolve()}")
    return found


def number(mtf50: float) -> str:
    """Where the contrast stays above one half there is no such frequency."""
    return f"{mtf50:.3f}" if math.isfinite(mtf50) else "above 0.5"


def draw(tour: list[Stop], blurred: jax.Array, mtf50: np.ndarray) -> "matplotlib.figure.Figure":
    """Two blocks of five, in each a row of kernels, of transfer functions and of photographs."""
    from matplotlib.figure import Figure

    figure = Figure((12.5, 14), dpi=110, layout="constrained")
    blocks = figure.subfigures(2, 1, hspace=0.02)
    for block, start in zip(blocks, (0, 5), strict=True):
        grid = block.subplots(3, 5)
        for column, axes in enumerate(grid.T):
            index = start + column
            draw_stop(axes, tour[index], blurred[index], mtf50[index], first=column == 0)
            if index in (1, 5):
                axes[1].legend(fontsize=7, loc="upper right")
    return figure


def draw_stop(
    axes: "np.ndarray[tuple[int], np.dtype[np.object_]]",
    stop: Stop,
    blurred: jax.Array,
    mtf50: np.ndarray,
    *,
    first: bool,
) -> None:
    """One column of a block."""
    top, middle, bottom = axes
    reach = SIZE / 2
    # Moffat and Airy have wings that only a root makes visible; it is said on the axis.
    top.imshow(jnp.sqrt(stop.kernel), cmap="gray", vmin=0, extent=(-reach, reach, reach, -reach))
    top.set_title(stop.title, fontsize=10)
    top.set(xlabel="column (px)", ylabel="square root of the PSF\nrow (px)" if first else "")

    frequency, still = jnp.linspace(0, 0.5, 201), jnp.zeros(201)
    for colour, (u, v), stripes in zip(
        _COLOURS, ((frequency, still), (still, frequency)), ("0°", "90°"), strict=True
    ):
        sampled = jnp.abs(psf.transfer(stop.kernel, u, v))
        # Dots in turn, so that the two sets do not hide each other where they agree.
        offset = 0 if stripes == "0°" else 4
        middle.plot(
            frequency[offset::8], sampled[offset::8], ".", color=colour, label=f"kernel, {stripes}"
        )
        if stop.closed_form is not None:
            exact = jnp.abs(stop.closed_form(u, v))
            middle.plot(frequency, exact, color=colour, lw=1, label=f"closed form, {stripes}")
    middle.axhline(0.5, color="#999999", linewidth=0.7)
    middle.set(xlim=(0, 0.5), ylim=(0, 1.05), xlabel="frequency (cycles/px)")
    middle.set(ylabel="contrast left" if first else "")
    middle.set_title(f"MTF50 {number(mtf50[0])}, {number(mtf50[1])} cycles/px", fontsize=9)

    bottom.imshow(blurred, cmap="gray", vmin=0, vmax=1)
    bottom.set(xlabel="column (px)", ylabel="blurred photograph\nrow (px)" if first else "")


if __name__ == "__main__":
    tyro.cli(main)
