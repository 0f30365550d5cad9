"""What choosing windows costs, and what it saves against estimating a kernel in the whole image.

    python benchmarks/region.py

Medians after warm-up, host to host. One search each, of a kernel of 25 px; ratios are of the time
that the whole image takes.
"""

import jax
import jax.numpy as jnp
import numpy as np
from kernel_size import seconds  # type: ignore[import-not-found]

from blurjax import data, deconvolution, imaging, psf, region

SIDES = (450, 800, 1024)
SIZE = 25


def main() -> None:
    """Print one line a size of image."""
    print(f"{jax.devices()[0].device_kind}, jax {jax.__version__}")
    variables, config = region.load()
    windows = jnp.zeros((16, region.WINDOW, region.WINDOW), jnp.float32)
    predict = jax.jit(region.predict, static_argnames="config")
    took = seconds(lambda: predict(variables, windows, config=config))
    print(f"score: {1e3 * took / 16:.1f} ms a window of {region.WINDOW} px")
    for side in SIDES:
        print(line(side))


def line(side: int) -> str:
    """The times for an image of so many pixels a side."""
    points = psf.sample_trajectory(jax.random.key(1), extent=float(SIZE - 2))
    sharp = data.dead_leaves(jax.random.key(0), size=side)
    blurred = imaging.blur(sharp, psf.trajectory(points, size=SIZE))
    seen = jnp.clip(imaging.add_noise(jax.random.key(2), blurred, 0.01), 0, 1)
    image, window = np.asarray(seen), seen[: region.WINDOW, : region.WINDOW]

    def search(part: jax.Array) -> float:
        return seconds(
            lambda: deconvolution.estimate_kernel(part, size=SIZE, starts="plain").kernel, 3
        )

    whole, one = search(seen), search(window)
    select = seconds(lambda: region.estimate(image), 3)
    several = seconds(lambda: region.estimate_kernel(image, size=SIZE), 3)
    return (
        f"{side}x{side}: whole image {whole:.2f} s; best window {select:.2f} s and its kernel "
        f"{one:.2f} s, {(select + one) / whole:.2f} in all; {region.WINDOWS} windows "
        f"{several:.2f} s in all, {several / whole:.2f}"
    )


if __name__ == "__main__":
    main()
