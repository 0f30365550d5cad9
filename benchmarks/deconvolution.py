"""How long deconvolution takes: ours, SciPy by hand, scikit-image, SCICO; and how long blind does.

    python benchmarks/deconvolution.py

Medians after warm-up of calls that take turns, in float32, of a gray image and a 25-px kernel, on
whatever cores there are. By hand means NumPy and `scipy.fft` (with as many threads as there are
cores, and with one), the same algorithm on the same torus. Both compute the transfer function in
each call, ours the residual too. "Value alone" is ours in an enclosing `jax.jit` that
drops the residual. SCICO, if it can be imported, solves the same total variation by 20 steps of
ADMM.
"""

import functools
import os
import statistics
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
from skimage import restoration

from blurjax import data, imaging, psf
from blurjax._numerics import fast_length
from blurjax.deconvolution import estimate_kernel, richardson_lucy, total_variation, wiener

SIZES = (512, 1024)
TAPS = 25
STEPS = 30
WEIGHT = 5e-4


def seconds(calls: dict[str, Callable[[], object]], repeats: int = 7) -> dict[str, float]:
    """The median time of each, after one round that compiles; turns spread the load evenly."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken[1:]) for name, taken in times.items()}


class ByHand:
    """The same algorithms in NumPy, as one would write them down."""

    def __init__(self, image: np.ndarray, kernel: np.ndarray, workers: int) -> None:
        self.workers = workers
        self.size = image.shape
        self.shape = tuple(fast_length(n + len(kernel) - 1) for n in image.shape)
        margins = [(0, n - side) for n, side in zip(self.shape, image.shape, strict=True)]
        self.image, self.margins = image, margins
        padded = np.zeros(self.shape, np.float32)
        padded[: len(kernel), : len(kernel)] = kernel
        half = len(kernel) // 2
        self.k = self.forward(np.roll(padded, (-half, -half), (0, 1)))
        self.gain = np.abs(self.k) ** 2
        u, v = (np.arange(n) / n for n in self.shape)
        steep = 4 * np.sin(np.pi * u[:, None]) ** 2 + 4 * np.sin(np.pi * v[None]) ** 2
        self.steep = steep[:, : self.shape[1] // 2 + 1].astype(np.float32)

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The spectrum of a real array."""
        return scipy.fft.rfft2(x, workers=self.workers)

    def inverse(self, spectrum: np.ndarray) -> np.ndarray:
        """The real array of a spectrum."""
        return scipy.fft.irfft2(spectrum, self.shape, workers=self.workers)

    def extended(self) -> np.ndarray:
        """The image on the torus."""
        return np.pad(self.image, self.margins, "symmetric")

    def cut(self, x: np.ndarray) -> np.ndarray:
        """The image out of the torus."""
        return x[: self.size[0], : self.size[1]]

    def wiener(self) -> np.ndarray:
        """X = conj(K) Y / (|K|^2 + c |D|^2)."""
        y = self.forward(self.extended())
        return self.cut(self.inverse(self.k.conj() * y / (self.gain + 3e-3 * self.steep)))

    def richardson_lucy(self) -> np.ndarray:
        """x <- x K'(y / K x)."""
        y = x = self.extended()
        back = self.k.conj()
        for _ in range(STEPS):
            ratio = y / np.maximum(self.inverse(self.k * self.forward(x)), 1e-6)
            x = x * self.inverse(back * self.forward(ratio))
        return self.cut(x)

    def total_variation(self) -> np.ndarray:
        """Half-quadratic splitting with the schedule of `total_variation`."""
        x = self.extended()
        seen = self.k.conj() * self.forward(x)
        for j in range(20):
            t = np.float32(2.0**-j)
            g = np.float32(WEIGHT) / t
            across, down = np.roll(x, -1, 1) - x, np.roll(x, -1, 0) - x
            across, down = (np.sign(v) * np.maximum(np.abs(v) - t, 0) for v in (across, down))
            pulled = np.roll(across, 1, 1) - across + np.roll(down, 1, 0) - down
            x = self.inverse((seen + g * self.forward(pulled)) / (self.gain + g * self.steep))
        return self.cut(x)


def scico_total_variation(image: np.ndarray, kernel: np.ndarray) -> Callable[[], object]:
    """20 steps of SCICO's ADMM on the same objective, each solved by its FFT solver.

    Raises:
        ImportError: there is no SCICO.
    """
    from scico import functional, linop, loss  # type: ignore[import-not-found]
    from scico.optimize.admm import ADMM, CircularConvolveSolver  # type: ignore[import-not-found]

    margins = [(0, fast_length(n + TAPS - 1) - n) for n in image.shape]
    y = jnp.asarray(np.pad(image, margins, "symmetric"))
    half = TAPS // 2
    blur = linop.CircularConvolve(jnp.asarray(kernel), y.shape, h_center=(half, half))
    slopes = linop.FiniteDifference(y.shape, circular=True)

    def call() -> object:
        # Its object keeps its state: a fresh one for each image.
        solver = ADMM(
            f=loss.SquaredL2Loss(y=y, A=blur),
            g_list=[WEIGHT * functional.L1Norm()],
            C_list=[slopes],
            rho_list=[0.05],
            x0=y,
            maxiter=20,
            subproblem_solver=CircularConvolveSolver(),
        )
        return solver.solve()

    return call


def main() -> None:
    """Print one line a method and size."""
    workers = len(os.sched_getaffinity(0))
    print(f"{jax.devices()[0].device_kind}, {workers} cores, jax {jax.__version__}")
    kernel = np.asarray(psf.motion(15.0, 0.5, size=TAPS), np.float32)
    alone = jax.jit(lambda y, k: wiener(y, k).value)
    for n in SIZES:
        sharp = jax.random.uniform(jax.random.key(0), (n // 8, n // 8), jnp.float32)
        sharp = jnp.kron(sharp, jnp.ones((8, 8), jnp.float32))
        image = np.asarray(imaging.blur(sharp, jnp.asarray(kernel)))
        y, k = jnp.asarray(image), jnp.asarray(kernel)
        rivals: dict[str, dict[str, Callable[[], object]]] = {
            f"Richardson-Lucy, {STEPS} steps": {
                "ours": lambda y=y, k=k: richardson_lucy(y, k, steps=STEPS, accelerate=False),
                "by hand": lambda x=image: ByHand(x, kernel, workers).richardson_lucy(),
                "by hand, one thread": lambda x=image: ByHand(x, kernel, 1).richardson_lucy(),
                "scikit-image": lambda x=image: restoration.richardson_lucy(x, kernel, STEPS),
            },
            "Wiener, value alone": {
                "ours": lambda y=y, k=k: alone(y, k),
                "by hand": lambda x=image: ByHand(x, kernel, workers).wiener(),
                "by hand, one thread": lambda x=image: ByHand(x, kernel, 1).wiener(),
            },
            "Wiener": {
                "ours": lambda y=y, k=k: wiener(y, k),
                "by hand": lambda x=image: ByHand(x, kernel, workers).wiener(),
                "by hand, one thread": lambda x=image: ByHand(x, kernel, 1).wiener(),
                "scikit-image": lambda x=image: restoration.wiener(x, kernel, 3e-3, clip=False),
            },
            "Wiener, estimated weight": {
                "ours": lambda y=y, k=k: wiener(y, k, weight=None),
                "scikit-image": lambda x=image: restoration.unsupervised_wiener(
                    x, kernel, clip=False
                ),
            },
            "total variation": {
                "ours": lambda y=y, k=k: total_variation(y, k, weight=WEIGHT),
                "by hand": lambda x=image: ByHand(x, kernel, workers).total_variation(),
                "by hand, one thread": lambda x=image: ByHand(x, kernel, 1).total_variation(),
            },
        }
        try:
            rivals["total variation"]["SCICO"] = scico_total_variation(image, kernel)
        except ImportError:
            if n == SIZES[0]:
                print("SCICO cannot be imported here, so that it is not measured.")
        for name, calls in rivals.items():
            taken = seconds(calls)  # type: ignore[arg-type]
            rest = ", ".join(
                f"{rival} {1e3 * time:.1f} ({time / taken['ours']:.1f} times)"
                for rival, time in taken.items()
                if rival != "ours"
            )
            print(f"{n}x{n} {name}: {1e3 * taken['ours']:.1f} ms; {rest}")
    blind(kernel)


def blind(kernel: np.ndarray) -> None:
    """Print what the search for a kernel takes, the first time and after."""
    sharp = data.dead_leaves(jax.random.key(0), size=255)
    y = imaging.blur(sharp, jnp.asarray(kernel))
    for starts in ("plain", "several"):
        call = functools.partial(estimate_kernel, y, size=TAPS, starts=starts)
        began = time.perf_counter()
        jax.block_until_ready(call())
        first = time.perf_counter() - began
        taken = seconds({"ours": call}, repeats=3)["ours"]
        print(f"255x255 kernel of {TAPS}, {starts}: {taken:.2f} s, the first time {first:.1f} s")


if __name__ == "__main__":
    main()
