"""A blur that changes from pixel to pixel: python examples/varying_ramp.py

A photograph is blurred by Gaussians whose sigma rises evenly from left to right, and by others
whose sigma follows a sine (the two published tests of space-varying blur). `imaging.blur_varying`
does it in two ways: "exact" gives every pixel its own kernel; "bank" blurs the whole image at a
few sigmas and interpolates. The figure shows where they differ, and the time each takes.

It takes about ten seconds on two CPU cores and writes varying_ramp.png.
"""

import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import jax
import jax.numpy as jnp
import tyro

from blurjax import data, imaging, plots

if TYPE_CHECKING:
    import matplotlib.figure

LOW, HIGH = 0.1, 3.0  # sigma in pixels, as published
LEVELS = 16


class Result(NamedTuple):
    """One map and what came of it."""

    sigma: jax.Array
    exact: jax.Array
    bank: jax.Array
    exact_seconds: float
    bank_seconds: float

    @property
    def largest_error(self) -> float:
        """Of the bank, in units of the image (one step of 8 bits is 0.0039)."""
        return float(jnp.max(jnp.abs(self.bank - self.exact)))

    @property
    def rms_error(self) -> float:
        """Of the bank, likewise."""
        return float(jnp.sqrt(jnp.mean((self.bank - self.exact) ** 2)))


def timed(image: jax.Array, sigma: jax.Array, method: str) -> tuple[jax.Array, float]:
    """The blurred image, and the median time of three calls after the one that compiles."""
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        blurred = imaging.blur_varying(image, sigma, method=method, levels=LEVELS)
        jax.block_until_ready(blurred)
        seconds.append(time.perf_counter() - start)
    return blurred, statistics.median(seconds[1:])


def main(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("demo"),
) -> dict[str, Result]:
    """Blur a photograph by a ramp and by a sine of sigmas, exactly and by a bank.

    Args:
        out: folder for the figure.
    """
    image = jnp.asarray(data.embedded("test")[0])
    height, width = image.shape
    maps = {
        "ramp": imaging.ramp_map((height, width), LOW, HIGH),
        "sine": imaging.sine_map((height, width), (LOW + HIGH) / 2, (HIGH - LOW) / 2),
    }
    results = {}
    for name, sigma in maps.items():
        exact, exact_seconds = timed(image, sigma, "exact")
        bank, bank_seconds = timed(image, sigma, "bank")
        found = results[name] = Result(sigma, exact, bank, exact_seconds, bank_seconds)
        print(
            f"{name}: sigma {float(sigma.min()):.2f} to {float(sigma.max()):.2f} px, "
            f"{width} x {height} px; exact {1e3 * exact_seconds:.0f} ms, "
            f"bank of {LEVELS} {1e3 * bank_seconds:.0f} ms; they differ by "
            f"{found.largest_error:.4f} at most, {found.rms_error:.5f} rms"
        )
    file = plots.save(draw(results), out / "varying_ramp.png")
    print(f"The figure is {file.resolve()}")
    return results


def draw(results: dict[str, Result]) -> "matplotlib.figure.Figure":
    """A column for each map: sigma, the blurred photograph, the difference of the two ways."""
    from matplotlib.figure import Figure

    figure = Figure((12, 7.4), dpi=110, layout="constrained")
    axes = figure.subplots(3, len(results), sharex=True)
    ceiling = max(found.largest_error for found in results.values())
    for (top, middle, bottom), (name, found) in zip(axes.T, results.items(), strict=True):
        error = jnp.abs(found.bank - found.exact)
        panels = (
            (top, found.sigma, "cividis", (LOW, HIGH), "sigma (px)"),
            (middle, found.exact, "gray", (0, 1), "value (white is 1)"),
            (bottom, 1e3 * error, "magma", (0, 1e3 * ceiling), "thousandths of white"),
        )
        for place, image, colours, (low, high), label in panels:
            shown = place.imshow(image, cmap=colours, vmin=low, vmax=high)
            figure.colorbar(shown, ax=place, label=label)
        top.set_title(f"{name}: sigma of each pixel's Gaussian")
        middle.set_title(f"exact: {1e3 * found.exact_seconds:.0f} ms")
        bottom.set_title(
            f"bank of {LEVELS}: {1e3 * found.bank_seconds:.0f} ms; |bank - exact|, "
            f"rms {1e3 * found.rms_error:.2f} (an 8-bit step: 3.92)",
            fontsize=10,
        )
        bottom.set_xlabel("column (px)")
    for place in axes[:, 0]:
        place.set_ylabel("row (px)")
    return figure


if __name__ == "__main__":
    tyro.cli(main)
