"""Where a blurred photograph shows its kernel best: python examples/region.py

A photograph that is installed with scikit-image, and that nothing was trained on, is blurred by a
random camera shake; noise and 8 bits are added. From the blurred photograph alone windows are
scored, the kernel is estimated in the best four, and what these have in common is taken.

It takes about half a minute on two CPU cores, most of it to compile, and writes region.png.
"""

from pathlib import Path
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from blurjax import data, imaging, metrics, plots, psf, region

# The longer side of the shake in pixels, and the standard deviation of the noise.
EXTENT, NOISE = 17, 2 / 255
TOGETHER = "together"


class Found(NamedTuple):
    """What is said of a photograph that was taken by a shaken camera."""

    kernel: np.ndarray
    """The true one."""
    scored: region.Estimate
    answer: region.KernelEstimate
    similarities: dict[str, float]
    """To the true kernel, of each window's and of what they have in common."""


def main(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("demo"),
    weights: Annotated[str | None, tyro.conf.arg(metavar="FILE")] = None,
    seed: Annotated[int, tyro.conf.arg(metavar="N")] = 0,
) -> Found:
    """Estimate a known kernel in the best windows.

    Args:
        out: folder for the figure.
        weights: "gabor" for logistic regression on Gabor statistics, or a weights file or
            checkpoint.
        seed: another one is another shake.
    """
    scorer = region.load(weights)
    photographs = data.embedded("test")
    which = photographs.names.index("motorcycle_left.png")
    seen, kernel = shaken(jax.random.key(seed), jnp.asarray(photographs[which]))
    scored = region.estimate(seen, *scorer)
    answer = region.estimate_kernel(seen, *scorer, size=len(kernel))

    names = [str(i + 1) for i in range(len(answer.kernels))]
    kernels = dict(zip([*names, TOGETHER], [*answer.kernels, answer.kernel], strict=True))
    true = jnp.asarray(kernel)
    similarities = {
        name: float(metrics.kernel_similarity(jnp.asarray(found), true))
        for name, found in kernels.items()
    }
    print(
        f"{scored.score_map.size} windows have scores from {scored.score_map.min():.2f} to "
        f"{scored.score_map.max():.2f}; similarity of the kernels to the true one:"
    )
    notes = {name: f"similarity {similarities[name]:.2f}" for name in kernels}
    for name, box, score in zip(names, answer.boxes, answer.scores, strict=True):
        place = "{2}x{3} px at row {0}, column {1}".format(*box)
        print(f"  window {name}, {place}, score {score:.2f}: {similarities[name]:.2f}")
        notes[name] = f"score {score:.2f}\n{notes[name]}"
    print(f"  {TOGETHER} (agreement {answer.agreement:.2f}): {similarities[TOGETHER]:.2f}")
    notes[TOGETHER] = f"agreement {answer.agreement:.2f}\n{notes[TOGETHER]}"

    row = plots.Selected(
        caption=photographs.names[which],
        blurred=seen,
        boxes=dict(zip(names, answer.boxes.tolist(), strict=True)),
        kernels=kernels,
        truth=kernel,
        notes=notes,
        scored=scored,
    )
    title = f"A camera shake of {EXTENT} px in its best windows, and what these have in common"
    file = plots.save(plots.window_sheet([row], title=title), out / "region.png")
    print(f"The figure is {file.resolve()}")
    return Found(kernel, scored, answer, similarities)


def shaken(key: jax.Array, sharp: jax.Array) -> tuple[np.ndarray, np.ndarray]:
    """A photograph as a shaken camera takes it, and the kernel of the shake."""
    k_path, k_noise = jax.random.split(key)
    kernel = psf.trajectory(psf.sample_trajectory(k_path, extent=float(EXTENT)), size=EXTENT + 2)
    # Of its pixels only those that saw nothing beyond the edge of the photograph.
    blurred = imaging.blur(sharp, kernel, boundary="valid")
    seen = imaging.quantise(imaging.add_noise(k_noise, blurred, NOISE))
    return np.asarray(seen), np.asarray(kernel)


if __name__ == "__main__":
    tyro.cli(main)
