"""How long `blurjax analyze` takes, and how much memory: python benchmarks/analyze.py

A photograph inside scikit-image, tiled to one megapixel: sharp, moved by 9 px, and blurred by a
camera shake, whose kernel is searched for. Each is analysed in a process of its own, first with an
empty cache of programs, then three times with what that left; the medians are shown, and the most
memory that any of them held. With --megapixels 25 100 also photographs of such a size, once each.

It takes about two minutes on two CPU cores; 100 megapixels four more.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro

from blurjax import data, images, imaging, psf


def main(
    megapixels: Annotated[tuple[int, ...], tyro.conf.arg(metavar="N...")] = (), repeats: int = 3
) -> None:
    """Print a line for each kind of photograph, with and without --out.

    Args:
        megapixels: also photographs of so many, once each.
        repeats: of the calls that find their programs.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = photographs(folder)
        print(f"{'':28} first call    after   first word   peak memory")
        for out in (False, True):
            for kind, file in files.items():
                cache = folder / f"cache_{kind}_{out}"
                first, *later = (call(file, cache, folder, out) for _ in range(1 + repeats))
                word = statistics.median(some[1] for some in (first, *later))
                peak = max(some[2] for some in (first, *later))
                after = statistics.median(some[0] for some in later)
                label = f"{kind}{', --out' if out else ''}"
                print(f"{label:28} {first[0]:8.1f} s {after:6.1f} s {word:10.2f} s {peak:9.1f} GB")
        cache = folder / f"cache_{next(iter(files))}_True"
        for count in megapixels:
            side, file = round((1e6 * count) ** 0.5), folder / f"{count}.jpg"
            images.write(file, tiled(images.read(files["sharp"]), side, side))
            seconds, _, peak = call(file, cache, folder, True)
            print(f"{f'{count} megapixels, --out':28} {seconds:8.1f} s {'':21} {peak:9.1f} GB")


def photographs(folder: Path) -> dict[str, Path]:
    """Files of 1200 x 833 pixels in colour."""
    sharp = tiled(images.read(data.embedded_path("motorcycle_left.png")), 833, 1200)
    path = psf.sample_trajectory(jax.random.key(0), extent=25.0)
    kernels = {
        "sharp": None,
        "moved": psf.motion(9.0, 0.5, size=11),
        "shaken": psf.trajectory(path, size=27),
    }
    files = {}
    for kind, kernel in kernels.items():
        image = sharp if kernel is None else imaging.blur(sharp, kernel, channel_axis=-1)
        files[kind] = folder / f"{kind}.png"
        images.write(files[kind], np.asarray(image))
    return files


def tiled(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """An image again and again, cut to a size."""
    repeats = (-(-height // image.shape[0]), -(-width // image.shape[1]), 1)
    return np.tile(image, repeats)[:height, :width]


def call(file: Path, cache: Path, folder: Path, out: bool) -> tuple[float, float, float]:
    """Seconds of one call, seconds until its first word, and GB of memory at most."""
    options = ["--out", str(folder / f"out_{file.stem}")] if out else []
    environment = {
        **os.environ,
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    command = [sys.executable, "-m", "blurjax", "analyze", str(file), *options]
    began = time.perf_counter()
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None, "it was asked for"
        process.stderr.readline()
        word = time.perf_counter() - began
        process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return time.perf_counter() - began, word, usage.ru_maxrss / 2**20


if __name__ == "__main__":
    tyro.cli(main)
