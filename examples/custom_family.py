"""Fit a PSF that blurjax does not have: python examples/custom_family.py

Out of focus, a mirror lens makes rings: its second mirror hides the middle of the aperture. Such
a ring is a disc minus a smaller disc. Written as a function of its parameters it is a
`psf.Family`, and `blurjax.fit` finds its parameters from a sharp and a blurred 8-bit photograph,
with standard errors, as it does for its own families. A full disc, fitted to the same pair,
explains it far worse.

It takes about twenty seconds on two CPU cores and writes custom_family.png.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import jax
import jax.numpy as jnp
import tyro

import blurjax
from blurjax import data, imaging, plots, psf

if TYPE_CHECKING:
    import matplotlib.figure

SIZE = 21
TRUTH = {"radius": 7.3, "obstruction": 0.45}


def ring(radius: jax.Array, obstruction: jax.Array, *, size: int) -> jax.Array:
    """A uniform ring: `obstruction` is its inner radius as a share of the outer."""
    outer = psf.defocus(radius, size=size)
    inner = psf.defocus(radius * obstruction, size=size)
    hidden = (obstruction**2)[..., None, None]  # the share of the disc's area
    return (outer - hidden * inner) / (1 - hidden)


# The range is where the fit starts to look, and does not bound it.
RING = psf.Family(ring, (psf.Parameter("radius", 2.0, 9.0), psf.Parameter("obstruction", 0.2, 0.7)))


def main(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("demo"),
) -> dict[str, Any]:
    """Fit the ring of a mirror lens, and for comparison a full disc.

    Args:
        out: folder for the figure.
    """
    sharp = jnp.asarray(data.embedded("test")[0])[:, 60:520]
    true_kernel = RING.kernel(*(jnp.asarray(TRUTH[name]) for name in RING.names), size=SIZE)
    seen = imaging.quantise(imaging.blur(sharp, true_kernel))
    fitted = blurjax.fit(sharp, seen, family=RING, size=SIZE, starts=4)
    disc = blurjax.fit(sharp, seen, family="defocus", size=SIZE, starts=2)
    for name, truth in TRUTH.items():
        value, error = (float(d[name]) for d in (fitted.parameters, fitted.standard_errors))
        print(f"{name}: {value:.4f} ± {error:.4f} (truth {truth})")
    print(f"rms difference, in steps of 8 bits: ring {steps(fitted):.2f}, disc {steps(disc):.2f}")
    figure = draw(sharp, seen, true_kernel, fitted, disc)
    print(f"The figure is {plots.save(figure, out / 'custom_family.png').resolve()}")
    return {"ring": fitted, "disc": disc}


def steps(found: blurjax.Fit) -> float:
    """What is left unexplained, in steps of 8 bits; rounding alone leaves sqrt(1/12) = 0.29."""
    return 255 * float(found.loss) ** 0.5


def draw(
    sharp: jax.Array, seen: jax.Array, truth: jax.Array, fitted: blurjax.Fit, disc: blurjax.Fit
) -> "matplotlib.figure.Figure":
    """The pair above; below the true kernel, the two fitted ones, and a cut through all three."""
    from matplotlib.figure import Figure

    figure = Figure((12, 7.5), dpi=110, layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=(1.1, 1))
    for place, image, title in zip(
        top.subplots(1, 2), (sharp, seen), ("sharp", "as seen through a mirror lens"), strict=True
    ):
        place.imshow(image, cmap="gray", vmin=0, vmax=1)
        place.set(title=title, xlabel="column (px)", ylabel="row (px)")
    *squares, cut = bottom.subplots(1, 4, width_ratios=(1, 1, 1, 1.6))
    reach, brightest = SIZE / 2, float(truth.max())
    kernels = {
        "true ring\n" + "\n".join(f"{n} {v}" for n, v in TRUTH.items()): truth,
        "fitted ring\n" + phrase(fitted): fitted.kernel,
        "fitted disc\n" + phrase(disc): disc.kernel,
    }
    colours, styles = ("#555555", "#D55E00", "#0072B2"), ("-", "--", "-.")
    for place, colour, style, (title, kernel) in zip(
        squares, colours, styles, kernels.items(), strict=True
    ):
        extent = (-reach, reach, reach, -reach)
        place.imshow(kernel, cmap="gray", vmin=0, vmax=brightest, extent=extent)
        place.set_title(title, fontsize=9)
        place.set(xlabel="column (px)", ylabel="row (px)" if place is squares[0] else "")
        column = jnp.arange(SIZE) - SIZE // 2
        name = title.splitlines()[0]
        width = 4 if name == "true ring" else 2
        alpha = 0.4 if name == "true ring" else 1
        cut.plot(column, kernel[SIZE // 2], style, color=colour, lw=width, alpha=alpha, label=name)
    cut.set(xlabel="column (px)", ylabel="PSF in the middle row")
    cut.set_ylim(0, 1.45 * brightest)
    cut.set_title(
        f"unexplained, rms in steps of 8 bits:\nring {steps(fitted):.2f}, disc {steps(disc):.2f}",
        fontsize=9,
    )
    cut.legend(loc="upper center", ncols=3, fontsize=8)
    return figure


def phrase(found: blurjax.Fit) -> str:
    """Every parameter with its standard error, a line each."""
    return "\n".join(
        f"{name} {float(value):.4f} ± {float(found.standard_errors[name]):.4f}"
        for name, value in found.parameters.items()
    )


if __name__ == "__main__":
    tyro.cli(main)
