"""Where the five systems fail, shown: python examples/where_they_fail.py

For each system three conditions that are known to be bad, made from photographs that are installed
with scikit-image and that no shipped weights were trained on. The truth is known, because the blur
is made here; what is shown beside it is what the system really answers. The conditions were chosen
for failing: how often a system is right stands in the documentation of each.

It takes about a minute on two CPU cores, most of it to compile, and writes a picture a system.
"""

import functools
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from blurjax import (
    blur_type,
    data,
    deconvolution,
    imaging,
    kernel_size,
    metrics,
    plots,
    psf,
    region,
    sharpness,
    sigma_map,
)

NOISE = 8 / 255


def main(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("demo"),
) -> dict[str, list[plots.Shortfall]]:
    """Ask each system what it is known to answer badly, and show its answers.

    Args:
        out: folder for the pictures.
    """
    found = {}
    for name, ask in SYSTEMS.items():
        found[name] = ask()
        figure = plots.shortfall_sheet(found[name], title=f"Where {name} falls short")
        file = plots.save(figure, out / f"where_{name}_fails.png")
        print(f"{name}:")
        for case in found[name]:
            print(f"  {case.condition}: true {case.truth}; answered {case.answer}")
        print(f"  The figure is {file.resolve()}")
    return found


def blur_types() -> list[plots.Shortfall]:
    """Two blurs in a row, a crooked path, and compression that hides a disc's rings."""
    sharp = photograph("camera.png")
    soft = taken(sharp, psf.motion(5.0, 0.5, size=9), psf.gaussian(2.0, size=17))
    crooked = taken(sharp, shake(1, 9))
    pressed = imaging.jpeg(taken(sharp, psf.defocus(2.5, size=9)), 75)
    cases = [
        ("two blurs in a row", soft, "motion 5 px, then Gaussian 2 px: no dominant blur"),
        ("a crooked shake of 9 px", crooked, "no dominant blur"),
        ("out of focus, JPEG of quality 75", pressed, "defocus, radius 2.5 px"),
    ]
    shown = []
    for condition, image, truth in cases:
        answer = blur_type.estimate(np.asarray(image))
        named = ", ".join(
            f"{name} {np.degrees(value):.0f} degrees"
            if name == "angle"
            else f"{name} {value:.1f} px"
            for name, value in answer.parameters.items()
        )
        said = f"{answer.label} ({answer.answers.max():.0%})" + (f", {named}" if named else "")
        shown.append(
            plots.Shortfall(condition, detail(image), truth, said, probabilities=answer.answers)
        )
    return shown


def sigma_maps() -> list[plots.Shortfall]:
    """Blurs that are no Gaussian's, and noise beyond what was trained."""
    sharp = photograph("camera.png")
    cases = [
        ("moved by 30 px", taken(sharp, psf.motion(30.0, 0.0, size=33)), "30 px along the columns"),
        (
            "out of focus, radius 6 px",
            taken(sharp, psf.defocus(6.0, size=15)),
            "sigma 3.0 px (radius / 2)",
        ),
        (
            f"Gaussian, noise {255 * NOISE:.0f}/255",
            noisy(taken(sharp, psf.gaussian(2.5, size=25)), NOISE),
            "sigma 2.5 px",
        ),
    ]
    shown = []
    for condition, image, truth in cases:
        answer = sigma_map.estimate(np.asarray(image))
        middle, spread = (np.median(x[answer.valid]) for x in (answer.sigma, answer.spread))
        said = f"median sigma {middle:.2f} px, spread {spread:.2f} px"
        seen = np.where(answer.valid, answer.sigma, np.nan)
        shown.append(
            plots.Shortfall(condition, image, truth, said, map=seen, unit="sigma (px)", high=3.3)
        )
    return shown


def sharpnesses() -> list[plots.Shortfall]:
    """Streaks and grain pass for detail, and what was enlarged looks blurred."""
    sharp = photograph("camera.png")
    small = sharp[: sharp.shape[0] // 2, : sharp.shape[1] // 2]
    enlarged = jax.image.resize(small, [2 * side for side in small.shape], "cubic")
    cases = [
        ("moved all over by 30 px", taken(sharp, psf.motion(30.0, 0.0, size=33)), "detector", 0),
        ("sharp, enlarged twice", imaging.quantise(enlarged), "detector", 1),
        (
            f"Gaussian of 4 px, noise {255 * NOISE:.0f}/255",
            noisy(taken(sharp, psf.gaussian(4.0, size=33)), NOISE),
            "metric",
            0,
        ),
    ]
    shown = []
    for condition, image, method, truth in cases:
        answer = sharpness.estimate(np.asarray(image), method=method)
        said = f"{answer.sharp_fraction:.0%} sharp ({method})"
        shown.append(
            plots.Shortfall(
                condition,
                image,
                f"{truth:.0%} sharp",
                said,
                map=answer.sharpness,
                unit="sharpness",
                high=1.0,
            )
        )
    return shown


def kernel_sizes() -> list[plots.Shortfall]:
    """Ends that the camera runs through fast, and kernels that no motion made."""
    path = psf.sample_trajectory(jax.random.key(0), extent=41.0)
    # Of the same path: slow in the middle, so that its ends are faint.
    pace = jnp.linspace(-1.0, 1.0, len(path)) ** 3
    faint = psf.trajectory(path[((pace + 1) / 2 * (len(path) - 1)).astype(int)], size=43)
    cases = [
        ("a shake with faint ends", "camera.png", faint),
        ("out of focus, radius 8 px", "camera.png", psf.defocus(8.0, size=19)),
        ("Gaussian of 3 px", "camera.png", psf.gaussian(3.0, size=25)),
    ]
    shown = []
    for condition, name, kernel in cases:
        image = noisy(taken(photograph(name), kernel), 0.01)
        answer = kernel_size.estimate(np.asarray(image))
        height, width = (int(side) for side in psf.extent(kernel))
        said = ", ".join(
            f"{side} {getattr(answer, side):.0f} ({low:.0f}-{high:.0f}) px"
            for side, (low, high) in answer.interval.items()
        )
        shown.append(
            plots.Shortfall(
                condition,
                image,
                f"width {width}, height {height} px",
                said,
                # The faint ends are what it is about.
                kernels={"true kernel, square root": jnp.sqrt(kernel)},
                sizes={"true": (height, width), "answered": (answer.height, answer.width)},
            )
        )
    return shown


def regions() -> list[plots.Shortfall]:
    """Kernels too large for a window, and windows beside each other whose kernels differ."""
    shown = []
    for name, extent, seed in REGIONS:
        kernel = shake(seed, extent)
        image = noisy(taken(photograph(name), kernel), 2 / 255)
        best = region.estimate(np.asarray(image))
        row, column, height, width = (int(side) for side in best.boxes[0])
        side = -20 if column >= 20 else 20
        boxes = {
            "best window": (row, column, height, width),
            "20 px beside": (row, column + side, height, width),
        }
        kernels, alike = {"true": kernel}, []
        for place, (top, left, high, wide) in boxes.items():
            part = image[top : top + high, left : left + wide]
            estimate = deconvolution.estimate_kernel(part, size=len(kernel), starts="plain")
            kernels[place] = estimate.kernel
            alike.append(f"{place} {float(metrics.kernel_similarity(estimate.kernel, kernel)):.2f}")
        shown.append(
            plots.Shortfall(
                f"a shake of {extent} px",
                image,
                "the kernel on the left",
                f"score {best.scores[0]:.2f}; similarity of kernels: {', '.join(alike)}",
                kernels=kernels,
                boxes=boxes,
            )
        )
    return shown


# Of the photograph, the shake's longer side in pixels, and its seed.
REGIONS = (("motorcycle_left.png", 45, 1), ("rocket.jpg", 45, 0), ("rocket.jpg", 17, 2))

SYSTEMS = {
    "blur_type": blur_types,
    "sigma_map": sigma_maps,
    "sharpness": sharpnesses,
    "kernel_size": kernel_sizes,
    "region": regions,
}


@functools.cache
def photograph(name: str) -> jax.Array:
    """One of the photographs inside scikit-image, gray."""
    source = data.embedded()
    return jnp.asarray(source[source.names.index(name)])


def taken(sharp: jax.Array, *kernels: jax.Array) -> jax.Array:
    """Blurred by each kernel in turn, without what the border's rule made up, in 8 bits."""
    for kernel in kernels:
        sharp = imaging.blur(sharp, kernel, boundary="valid")
    return imaging.quantise(sharp)


def noisy(image: jax.Array, deviation: float) -> jax.Array:
    """With white noise, in 8 bits."""
    return imaging.quantise(imaging.add_noise(jax.random.key(2), image, deviation))


def shake(seed: int, extent: int) -> jax.Array:
    """The kernel of a random camera shake."""
    path = psf.sample_trajectory(jax.random.key(seed), extent=float(extent))
    return psf.trajectory(path, size=extent + 2)


def detail(image: jax.Array) -> jax.Array:
    """The middle of an image: small enough for its blur to be seen."""
    row, column = (side // 2 for side in image.shape)
    return image[row - 120 : row + 120, column - 120 : column + 120]


if __name__ == "__main__":
    tyro.cli(main)
