"""How fast blurjax makes and applies blur, beside what one would otherwise use.

    python benchmarks/forward.py --out runs/forward        # everything, about half an hour
    python benchmarks/forward.py --only c --out runs/forward
    python benchmarks/forward.py --quick --out /tmp/forward  # does it run: under a minute

Peers are optional and no dependency of blurjax; those that cannot be imported are named in the
report with the reason. An environment that has them, beside that of blurjax:

    python -m venv --system-site-packages .venv-peers
    .venv-peers/bin/pip install torch opencv-python-headless kornia   # and deepinv, if it imports
    .venv-peers/bin/python benchmarks/forward.py --out runs/forward

The cases: (a) banks of kernels, (b) one dense kernel, (c) a separable Gaussian, (d) a Gaussian for
each pixel; each forwards, and forwards with the gradient of sum(weight * output^2) to all inputs
(where a peer has gradients). A contender is timed only after its result agrees with blurjax's:
away from the border, because reflection differs there by a pixel between libraries (blurjax,
SciPy and OpenCV repeat the edge pixel, torch and kornia do not).

Times are medians over repeats after warm-up, contenders taking turns, every result waited for and
materialised in full; calls of more than two seconds are timed once, and those expected to take
more than five are left out and named. It writes forward.json, forward.md and forward.png into
the folder.
"""

import functools
import importlib
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.ndimage
import scipy.signal
import scipy.special
import tyro
from rich.console import Console
from rich.table import Table

from blurjax import data, imaging, plots, psf

if TYPE_CHECKING:
    import matplotlib.axes
    import matplotlib.figure

OURS = "blurjax"
# Okabe & Ito's colours, and a marker each for those who cannot tell them apart.
STYLES = {
    "blurjax": ("#D55E00", "o"),
    "blurjax exact": ("#D55E00", "o"),
    "blurjax bank": ("#E69F00", "P"),
    "NumPy": ("#000000", "s"),
    "SciPy": ("#009E73", "^"),
    "SciPy overlap-add": ("#009E73", "^"),
    "SciPy direct": ("#44AA99", "v"),
    "OpenCV": ("#0072B2", "D"),
    "OpenCV sepFilter2D": ("#332288", "d"),
    "torch": ("#CC79A7", "X"),
    "torch FFT": ("#AA4499", "*"),
    "torch exact": ("#AA4499", "*"),
    "kornia": ("#56B4E9", "<"),
    "DeepInverse": ("#999999", ">"),
}
# Samples of the clock are at least this long: short calls are repeated within one.
_SAMPLE = 0.02
# A call longer than the first is timed once; one expected to exceed the second is left out.
_LONG, _TOO_LONG = 2.0, 5.0
_SKIPPED = "left out: fewer taps say"


class Contender(NamedTuple):
    """One way to do it."""

    library: str
    call: Callable[[], Any]
    """Returns arrays: the output, or the value and the gradients."""
    checked: bool = True
    """Whether it computes the same and has to agree."""


@dataclass
class Contest:
    """The same task for several contenders; blurjax comes first and is what others must match."""

    panel: str
    label: str
    taps: int
    contenders: list[Contender]
    agrees: Callable[[list[np.ndarray], list[np.ndarray]], str]
    """Given blurjax's arrays and another's: what is wrong, or nothing."""


@dataclass
class Row:
    """The time of one contender in one contest."""

    panel: str
    label: str
    taps: int
    library: str
    milliseconds: float | None
    fastest: float | None = None
    slowest: float | None = None
    samples: int = 0
    note: str = ""


@dataclass(frozen=True)
class Setting:
    """How large everything is."""

    kernels: int = 10_000
    sides: tuple[int, ...] = (512, 2048)
    dense: tuple[int, ...] = (5, 9, 15, 31, 63)
    separable: tuple[int, ...] = (5, 15, 31, 63)
    widest: tuple[float, ...] = (1.0, 3.0, 6.0)
    shape: tuple[int, int] = (480, 640)
    repeats: int = 15


QUICK = Setting(200, (96,), (5, 15), (5, 15), (1.0,), (96, 128), 2)


@dataclass
class Peers:
    """Modules by name, and why others are not here."""

    modules: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.modules

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["modules"][name]
        except KeyError:
            raise AttributeError(name) from None


def find_peers() -> Peers:
    """Import what is installed, and give each the same number of threads."""
    peers = Peers()
    for name in ("cv2", "torch", "kornia", "deepinv"):
        try:
            peers.modules[name] = importlib.import_module(name)
        except Exception as error:  # some fail on import for other reasons than absence
            text = (str(error).splitlines() or [""])[0]
            peers.missing[name] = f"{type(error).__name__}: {text}"
    if "cv2" in peers:
        peers.cv2.setNumThreads(os.cpu_count() or 1)
    if "torch" in peers:
        peers.torch.set_num_threads(os.cpu_count() or 1)
        peers.torch.manual_seed(0)
    return peers


# --- What every case needs


def photograph(height: int, width: int) -> np.ndarray:
    """A photograph of any size: mirrored until it is large enough."""
    source = data.embedded("all")
    image = np.asarray(source[source.names.index("camera.png")])
    grown = [(0, max(0, n - have)) for n, have in zip((height, width), image.shape, strict=True)]
    return np.ascontiguousarray(np.pad(image, grown, "symmetric")[:height, :width], np.float32)


def ours(function: Callable[..., jax.Array], *inputs: np.ndarray) -> Callable[[], Any]:
    """blurjax forwards."""
    compiled, arrays = jax.jit(function), [jnp.asarray(x) for x in inputs]
    return lambda: jax.block_until_ready(compiled(*arrays))


def our_gradient(
    function: Callable[..., jax.Array], weight: np.ndarray, *inputs: np.ndarray
) -> Callable[[], Any]:
    """blurjax with gradients. The square leaves XLA nothing to skip: they need the output."""

    def loss(weight: jax.Array, *arrays: jax.Array) -> jax.Array:
        return jnp.sum(weight * function(*arrays) ** 2)

    compiled = jax.jit(jax.value_and_grad(loss, tuple(range(1, len(inputs) + 1))))
    # The weight is an input: as a constant XLA would spend its time on folding it.
    arrays = [jnp.asarray(x) for x in (weight, *inputs)]
    return lambda: jax.tree.leaves(jax.block_until_ready(compiled(*arrays)))


def torch_forward(torch: Any, function: Callable[..., Any], *inputs: np.ndarray) -> Callable:
    """torch forwards, recording nothing."""
    tensors = [torch.from_numpy(x) for x in inputs]

    def call() -> Any:
        with torch.inference_mode():
            return function(*tensors)

    return call


def torch_gradient(
    torch: Any, function: Callable[..., Any], weight: np.ndarray, *inputs: np.ndarray
) -> Callable:
    """torch with gradients to all inputs."""
    scale = torch.from_numpy(weight)

    def call() -> Any:
        leaves = [torch.from_numpy(x).requires_grad_() for x in inputs]
        value = (scale * function(*leaves) ** 2).sum()
        return [value.detach(), *torch.autograd.grad(value, leaves)]

    return call


def arrays(result: Any) -> list[np.ndarray]:
    """Results of any library as NumPy's."""
    several = result if isinstance(result, list | tuple) else [result]
    return [np.squeeze(np.asarray(x.detach() if hasattr(x, "detach") else x)) for x in several]


def same(tolerance: float, margin: int = 0, share: float = 1.0) -> Callable[..., str]:
    """Agreement of the first arrays that are images or lists, at least of that share of values.

    Of a result with gradients, that to the first input is compared relative to its maximum; the
    others, which gather from the border, must point the same way.
    """

    def inner(x: np.ndarray) -> np.ndarray:
        cut = slice(margin, -margin or None)
        return x[..., cut, cut] if margin else x

    def check(reference: list[np.ndarray], other: list[np.ndarray]) -> str:
        if len(reference) == 1:
            error = np.abs(inner(reference[0]) - inner(other[0]))
            worst = float(np.quantile(error, share))
            return "" if worst <= tolerance else f"differs by {worst:.1e}"
        first, second = inner(reference[1]), inner(other[1])
        worst = float(np.quantile(np.abs(first - second), share) / np.abs(first).max())
        if not worst <= tolerance:
            return f"gradient differs by {worst:.1e} of its maximum"
        for a, b in zip(reference[2:], other[2:], strict=True):
            a, b = a.ravel().astype(float), b.ravel().astype(float)
            cosine = a @ b / max(math.sqrt((a @ a) * (b @ b)), 1e-30)
            if not (cosine > 0.98 or a.size == 1):
                return f"a gradient points elsewhere (cosine {cosine:.3f})"
        return ""

    return check


# --- (a) Banks of kernels. One formula serves NumPy and torch, as `xp`.


def gaussian_by_point(xp: Any, sigma: Any, position: Any) -> Any:
    """Sampled at pixel centres."""
    profile = xp.exp(-((position / sigma[:, None]) ** 2) / 2)
    profile = profile / profile.sum(-1)[:, None]
    return profile[:, :, None] * profile[:, None, :]


def gaussian_by_area(xp: Any, sigma: Any, position: Any) -> Any:
    """Integrated over pixels."""
    erf = scipy.special.erf if xp is np else xp.special.erf
    scale = 1 / (math.sqrt(2) * sigma[:, None])
    profile = erf((position + 0.5) * scale) - erf((position - 0.5) * scale)
    profile = profile / profile.sum(-1)[:, None]
    return profile[:, :, None] * profile[:, None, :]


def motion_by_point(xp: Any, length: Any, angle: Any, position: Any) -> Any:
    """MATLAB's `fspecial("motion")`: the distance to the segment at pixel centres."""
    half = ((length.clip(1) - 1) / 2)[:, None, None]
    cosine, sine = xp.cos(angle)[:, None, None], -xp.sin(angle)[:, None, None]
    x, y = position[None, None, :], position[None, :, None]
    along, beside = xp.abs(x * cosine + y * sine), xp.abs(y * cosine - x * sine)
    # The root's derivative at 0 would be infinite.
    end = xp.sqrt(beside**2 + (along - half) ** 2 + 1e-12)
    kernel = (1 - xp.where(x**2 + y**2 >= half**2, end, beside)).clip(0)
    return kernel / kernel.sum((-2, -1))[:, None, None]


def motion_by_nodes(xp: Any, length: Any, angle: Any, position: Any, node: Any) -> Any:
    """A segment with a tent footprint: what blurjax integrates exactly, by 64 nodes."""
    x, y = length * xp.cos(angle), -length * xp.sin(angle)
    across, down = (
        (1 - xp.abs((t[:, None] * node)[:, :, None] - position)).clip(0) for t in (x, y)
    )
    kernel = xp.swapaxes(down, 1, 2) @ across
    return kernel / kernel.sum((-2, -1))[:, None, None]


def disc_by_area(xp: Any, radius: Any, low: Any, high: Any, mirrored: Any) -> Any:
    """Exact area of disc and pixel, a quadrant and its mirror images."""
    r = radius[:, None, None]
    x0, x1, y0, y1 = (
        low[None, None, :],
        high[None, None, :],
        low[None, :, None],
        high[None, :, None],
    )

    def height(x: Any) -> Any:
        return xp.sqrt((r**2 - x**2).clip(1e-12))

    def primitive(x: Any) -> Any:
        # asin(x / r), but with a derivative that is finite at x = r.
        return (x * height(x) + r**2 * xp.arctan2(x, height(x))) / 2

    full = xp.minimum(xp.maximum(height(y1), x0), x1)
    some = xp.minimum(xp.maximum(height(y0), x0), x1)
    area = (full - x0) * (y1 - y0) + primitive(some) - primitive(full) - y0 * (some - full)
    # Pixels on the axes are cut in halves.
    area = area * (1 + (x0 == 0)) * (1 + (y0 == 0))
    kernel = area[:, mirrored][:, :, mirrored]
    return kernel / kernel.sum((-2, -1))[:, None, None]


def banks(peers: Peers, setting: Setting) -> Iterator[Contest]:
    """(a) Many kernels 31x31, forwards and with gradients to their parameters."""
    size, n = 31, setting.kernels
    random = np.random.default_rng(0)

    def draw(low: float, high: float) -> np.ndarray:
        return random.uniform(low, high, n).astype(np.float32)

    sigma, length, angle, radius = draw(0.5, 4), draw(2, 26), draw(0, 3.14), draw(1, 14)
    weight = random.random((n, size, size), np.float32)
    position = np.arange(size, dtype=np.float32) - size // 2
    node = ((np.arange(64, dtype=np.float32) + 0.5) / 64 - 0.5)[None, :]
    pixel = np.arange(size // 2 + 1, dtype=np.float32)
    low, high = np.maximum(pixel - 0.5, 0), pixel + 0.5
    mirrored = np.abs(np.arange(size) - size // 2)
    # Name, blurjax's function, the one by hand with its constants, parameters, tolerances of the
    # kernel and its gradient. Few radii and angles lie on kinks, where derivatives differ.
    kinds = [
        ("Gaussian, area", psf.gaussian, gaussian_by_area, [position], [sigma], 1e-5, 1e-2),
        (
            "Gaussian, point",
            functools.partial(psf.gaussian, sampling="point"),
            gaussian_by_point,
            [position],
            [sigma],
            1e-5,
            1e-2,
        ),
        ("motion, area", psf.motion, motion_by_nodes, [position, node], [length, angle], 5e-3, 0.1),
        (
            "motion, point",
            functools.partial(psf.motion, sampling="point"),
            motion_by_point,
            [position],
            [length, angle],
            1e-4,
            1e-2,
        ),
        ("disc, area", psf.defocus, disc_by_area, [low, high, mirrored], [radius], 1e-4, 2e-2),
    ]
    for name, function, formula, constants, parameters, tolerance, rough in kinds:
        mine = functools.partial(function, size=size)

        def numpy_call(formula=formula, constants=constants, parameters=parameters) -> Any:
            return formula(np, *parameters, *constants)

        forward = [Contender(OURS, ours(mine, *parameters)), Contender("NumPy", numpy_call)]
        gradient = [Contender(OURS, our_gradient(mine, weight, *parameters))]
        if "torch" in peers:
            torch = peers.torch
            fixed = [torch.from_numpy(c) for c in constants]

            def by_torch(*p: Any, formula=formula, fixed=fixed, torch=torch) -> Any:
                return formula(torch, *p, *fixed)

            forward.append(Contender("torch", torch_forward(torch, by_torch, *parameters)))
            gradient.append(
                Contender("torch", torch_gradient(torch, by_torch, weight, *parameters))
            )
        rival, checked = kornia_bank(peers, name, size)
        if rival is not None:
            # kornia's motion is as long as its kernel is wide: it takes the angle only.
            given = parameters if checked else [angle]
            forward.append(Contender("kornia", torch_forward(torch, rival, *given), checked))
            gradient.append(
                Contender("kornia", torch_gradient(torch, rival, weight, *given), checked)
            )
        yield Contest("a, kernels", name, size, forward, same(tolerance, share=0.999))
        yield Contest("a, kernels, with gradient", name, size, gradient, same(rough, share=0.98))


def kornia_bank(peers: Peers, name: str, size: int) -> tuple[Callable[..., Any] | None, bool]:
    """kornia's function for this kind, and whether it computes the same kernel."""
    if "kornia" not in peers or "torch" not in peers:
        return None, False
    filters = peers.kornia.filters
    if name == "Gaussian, point":
        return lambda s: filters.get_gaussian_kernel2d(size, s[:, None].expand(-1, 2)), True
    if name == "motion, point":
        still = peers.torch.zeros(())

        def motion(angle: Any) -> Any:
            degrees, along = angle * 57.29578, still.expand(angle.shape)
            return filters.get_motion_kernel2d(size, degrees, along, mode="bilinear")

        return motion, False
    return None, False


# --- (b) One dense kernel


def dense(peers: Peers, setting: Setting) -> Iterator[Contest]:
    """(b) One image, one kernel without structure; gradients to both."""
    random = np.random.default_rng(1)
    for side in setting.sides:
        image = photograph(side, side)
        weight = random.random((side, side), np.float32)
        for taps in setting.dense:
            kernel = random.random((taps, taps), np.float32) + 0.1
            kernel /= kernel.sum()
            margin = taps // 2
            forward = [Contender(OURS, ours(imaging.blur, image, kernel))]
            gradient = [Contender(OURS, our_gradient(imaging.blur, weight, image, kernel))]
            forward += dense_by_scipy(image, kernel)
            if "cv2" in peers:
                # OpenCV correlates.
                flipped = np.ascontiguousarray(kernel[::-1, ::-1])
                call = functools.partial(
                    peers.cv2.filter2D, image, -1, flipped, borderType=peers.cv2.BORDER_REFLECT
                )
                forward.append(Contender("OpenCV", call))
            for library, function in dense_by_torch(peers, side, taps):
                torch = peers.torch
                forward.append(Contender(library, torch_forward(torch, function, image, kernel)))
                gradient.append(
                    Contender(library, torch_gradient(torch, function, weight, image, kernel))
                )
            panel = f"b, dense, {side}x{side}"
            yield Contest(panel, f"k = {taps}", taps, forward, same(1e-4, margin))
            yield Contest(
                f"{panel}, with gradients", f"k = {taps}", taps, gradient, same(1e-3, 2 * margin)
            )


def dense_by_scipy(image: np.ndarray, kernel: np.ndarray) -> list[Contender]:
    """Overlap-add, and the direct sum while it stands a chance."""
    margin = len(kernel) // 2

    def overlap_add() -> np.ndarray:
        with scipy.fft.set_workers(os.cpu_count() or 1):
            padded = np.pad(image, margin, "symmetric")
            return scipy.signal.oaconvolve(padded, kernel, mode="valid")

    found = [Contender("SciPy overlap-add", overlap_add)]
    if len(kernel) <= 9:
        direct = functools.partial(scipy.ndimage.convolve, image, kernel, mode="reflect")
        found.append(Contender("SciPy direct", direct))
    return found


def dense_by_torch(peers: Peers, side: int, taps: int) -> Iterator[tuple[str, Callable]]:
    """Functions (image, kernel) -> blurred, of torch and what is built on it."""
    if "torch" not in peers:
        return
    torch, margin = peers.torch, taps // 2
    pad = torch.nn.functional.pad

    def direct(image: Any, kernel: Any) -> Any:
        padded = pad(image[None, None], [margin] * 4, mode="reflect")
        return torch.nn.functional.conv2d(padded, kernel.flip(0, 1)[None, None])[0, 0]

    fast = scipy.fft.next_fast_len(side + 2 * margin, real=True)

    def by_fft(image: Any, kernel: Any) -> Any:
        padded = pad(image[None, None], [margin] * 4, mode="reflect")[0, 0]
        spectrum = torch.fft.rfft2(padded, (fast, fast)) * torch.fft.rfft2(kernel, (fast, fast))
        blurred = torch.fft.irfft2(spectrum, (fast, fast))
        return blurred[taps - 1 : side + 2 * margin, taps - 1 : side + 2 * margin]

    yield "torch", direct
    yield "torch FFT", by_fft
    if "kornia" in peers:
        filter2d = peers.kornia.filters.filter2d
        yield "kornia", lambda x, k: filter2d(x[None, None], k[None], behaviour="conv")[0, 0]
    if "deepinv" in peers:
        conv2d = peers.deepinv.physics.functional.conv2d
        yield (
            "DeepInverse",
            lambda x, k: conv2d(x[None, None], k[None, None], padding="reflect")[0, 0],
        )


# --- (c) A separable Gaussian


def separable(peers: Peers, setting: Setting) -> Iterator[Contest]:
    """(c) One image, one Gaussian sampled at pixel centres; gradients to image and sigma."""
    weights = np.random.default_rng(2)
    for side in setting.sides:
        image = photograph(side, side)
        weight = weights.random((side, side), np.float32)
        for taps in setting.separable:
            margin = taps // 2
            sigma = margin / 4  # SciPy's habit: the kernel ends at four sigmas
            given = np.array(sigma, np.float32)
            mine = functools.partial(imaging.blur_gaussian, size=taps, sampling="point")
            forward = [Contender(OURS, ours(mine, image, given))]
            gradient = [Contender(OURS, our_gradient(mine, weight, image, given))]
            by_scipy = functools.partial(
                scipy.ndimage.gaussian_filter, image, sigma, radius=margin, mode="reflect"
            )
            forward.append(Contender("SciPy", by_scipy))
            if "cv2" in peers:
                cv2 = peers.cv2
                profile = cv2.getGaussianKernel(taps, sigma, cv2.CV_32F)
                border = {"borderType": cv2.BORDER_REFLECT}
                by_name = functools.partial(
                    cv2.GaussianBlur, image, (taps, taps), sigma, sigmaY=sigma, **border
                )
                by_profile = functools.partial(
                    cv2.sepFilter2D, image, -1, profile, profile, **border
                )
                forward.append(Contender("OpenCV", by_name))
                forward.append(Contender("OpenCV sepFilter2D", by_profile))
            for library, function in separable_by_torch(peers, taps):
                torch = peers.torch
                forward.append(Contender(library, torch_forward(torch, function, image, given)))
                gradient.append(
                    Contender(library, torch_gradient(torch, function, weight, image, given))
                )
            panel = f"c, Gaussian, {side}x{side}"
            yield Contest(panel, f"k = {taps}", taps, forward, same(1e-4, margin))
            yield Contest(
                f"{panel}, with gradients", f"k = {taps}", taps, gradient, same(1e-3, 2 * margin)
            )


def separable_by_torch(peers: Peers, taps: int) -> Iterator[tuple[str, Callable]]:
    """Functions (image, sigma) -> blurred."""
    if "torch" not in peers:
        return
    torch, margin = peers.torch, taps // 2
    position = torch.arange(taps, dtype=torch.float32) - margin
    functional = torch.nn.functional

    def by_hand(image: Any, sigma: Any) -> Any:
        profile = torch.exp(-((position / sigma) ** 2) / 2)
        profile = profile / profile.sum()
        padded = functional.pad(image[None, None], [margin] * 4, mode="reflect")
        rows = functional.conv2d(padded, profile[None, None, None, :])
        return functional.conv2d(rows, profile[None, None, :, None])[0, 0]

    yield "torch", by_hand
    if "kornia" in peers:
        gaussian_blur2d = peers.kornia.filters.gaussian_blur2d
        yield (
            "kornia",
            lambda x, s: gaussian_blur2d(x[None, None], (taps, taps), s.expand(1, 2))[0, 0],
        )


# --- (d) A Gaussian for each pixel


def varying(peers: Peers, setting: Setting) -> Iterator[Contest]:
    """(d) A ramp of sigmas; gradients to the image and to the map."""
    image = photograph(*setting.shape)
    weight = np.random.default_rng(3).random(setting.shape, np.float32)
    height, width = setting.shape
    for widest in setting.widest:
        # A copy: torch takes no array that is read-only.
        sigma = np.array(imaging.ramp_map(setting.shape, 0.3, widest), np.float32)
        margin = int(4 * widest + 0.5)
        taps = 2 * margin + 1
        exact, bank = (
            functools.partial(imaging.blur_varying, method=method, size=taps, sampling="point")
            for method in ("exact", "bank")
        )
        forward = [
            Contender(f"{OURS} exact", ours(exact, image, sigma)),
            Contender(f"{OURS} bank", ours(bank, image, sigma)),
            Contender("SciPy", functools.partial(bank_by_scipy, image, sigma, margin)),
        ]
        gradient = [
            Contender(f"{OURS} exact", our_gradient(exact, weight, image, sigma)),
            Contender(f"{OURS} bank", our_gradient(bank, weight, image, sigma)),
        ]
        if "torch" in peers:
            torch = peers.torch
            bank_torch = functools.partial(bank_by_torch, torch, margin=margin)
            exact_torch = functools.partial(exact_by_torch, torch, margin=margin)
            forward.append(Contender("torch", torch_forward(torch, bank_torch, image, sigma)))
            # With gradients it would keep every tap: gigabytes.
            forward.append(
                Contender("torch exact", torch_forward(torch, exact_torch, image, sigma))
            )
            gradient.append(
                Contender("torch", torch_gradient(torch, bank_torch, weight, image, sigma))
            )
        panel, label = f"d, Gaussian a pixel, {width}x{height}", f"sigma to {widest:g}"
        # Banks are approximations: they differ from the exact one by up to an 8-bit step or two.
        yield Contest(panel, label, taps, forward, same(2e-2, margin, share=0.9999))
        yield Contest(
            f"{panel}, with gradients", label, taps, gradient, same(5e-2, 2 * margin, share=0.999)
        )


def bank_sigmas(low: float, high: float, levels: int = 16) -> np.ndarray:
    """The same levels as blurjax's bank."""
    even = np.linspace(math.log(low**2 + 0.1), math.log(high**2 + 0.1), levels)
    return np.sqrt(np.exp(even) - 0.1).astype(np.float32)


def bank_by_scipy(image: np.ndarray, sigma: np.ndarray, margin: int) -> np.ndarray:
    """Blur at the levels, then interpolate between the two nearest."""
    levels = bank_sigmas(float(sigma.min()), float(sigma.max()))
    blurred = np.stack(
        [scipy.ndimage.gaussian_filter(image, s, radius=margin, mode="reflect") for s in levels]
    )
    below = np.clip(np.searchsorted(levels, sigma, side="right") - 1, 0, len(levels) - 2)
    share = (sigma - levels[below]) / (levels[below + 1] - levels[below])
    lower, upper = (np.take_along_axis(blurred, i[None], 0)[0] for i in (below, below + 1))
    return (1 - share) * lower + share * upper


def bank_by_torch(torch: Any, image: Any, sigma: Any, *, margin: int) -> Any:
    """Likewise, all levels in one grouped convolution."""
    functional = torch.nn.functional
    low, high = (float(x) for x in torch.aminmax(sigma.detach()))
    levels = torch.from_numpy(bank_sigmas(low, high))
    position = torch.arange(2 * margin + 1, dtype=torch.float32) - margin
    profile = torch.exp(-((position / levels[:, None]) ** 2) / 2)
    profile = profile / profile.sum(-1)[:, None]
    n = len(levels)
    padded = functional.pad(image[None, None], [margin] * 4, mode="reflect").expand(-1, n, -1, -1)
    rows = functional.conv2d(padded, profile[:, None, None, :], groups=n)
    blurred = functional.conv2d(rows, profile[:, None, :, None], groups=n)[0]
    below = (torch.searchsorted(levels, sigma.detach(), right=True) - 1).clamp(0, n - 2)
    share = (sigma - levels[below]) / (levels[below + 1] - levels[below])
    lower, upper = (blurred.gather(0, i[None])[0] for i in (below, below + 1))
    return (1 - share) * lower + share * upper


def exact_by_torch(torch: Any, image: Any, sigma: Any, *, margin: int) -> Any:
    """A sum over the taps, with weights of each pixel's own."""
    height, width = image.shape
    padded = torch.nn.functional.pad(image[None, None], [margin] * 4, mode="reflect")[0, 0]
    profile = [torch.exp(-((d / sigma) ** 2) / 2) for d in range(margin + 1)]
    mass = profile[0] + 2 * sum(profile[1:])
    profile = [p / mass for p in profile]
    blurred = torch.zeros_like(image)
    for row in range(-margin, margin + 1):
        line = torch.zeros_like(image)
        for column in range(-margin, margin + 1):
            top, left = margin + row, margin + column
            line += profile[abs(column)] * padded[top : top + height, left : left + width]
        blurred += profile[abs(row)] * line
    return blurred


CASES = {"a": banks, "b": dense, "c": separable, "d": varying}


# --- The clock


def race(contest: Contest, repeats: int, earlier: list[Row]) -> Iterator[Row]:
    """Check every contender against the first, then time them in turns."""
    reference: list[np.ndarray] = []
    calls: dict[str, tuple[Callable[[], Any], int]] = {}
    samples: dict[str, list[float]] = {}
    notes: dict[str, str] = {}
    for contender in contest.contenders:
        name = contender.library
        expected = forecast(contest, name, earlier)
        if expected > _TOO_LONG:
            notes[name] = (
                f"{_SKIPPED} {expected:.0f} s a call"
                if expected < math.inf
                else f"{_SKIPPED} too long"
            )
            continue
        try:
            result = arrays(contender.call())
            start = time.perf_counter()
            contender.call()
            once = time.perf_counter() - start
        except Exception as error:
            if name.startswith(OURS):
                raise
            notes[name] = f"left out: {type(error).__name__}: {error}".splitlines()[0]
            continue
        reference = reference or result
        wrong = contest.agrees(reference, result) if contender.checked else ""
        if wrong:
            notes[name] = f"DISAGREES, not timed: {wrong}"
            continue
        if not contender.checked:
            notes[name] = "computes something else; not compared"
        samples[name] = [once] if once > _LONG else []
        if once <= _LONG:
            calls[name] = contender.call, max(1, math.ceil(_SAMPLE / max(once, 1e-6)))
    for _ in range(repeats):
        for name, (call, times) in calls.items():
            # Threads of the one before may still spin for work, and would slow this one down.
            time.sleep(0.01)
            start = time.perf_counter()
            for _ in range(times):
                call()
            samples[name].append((time.perf_counter() - start) / times)
    for contender in contest.contenders:
        name = contender.library
        seconds = samples.get(name)
        where = contest.panel, contest.label, contest.taps, name
        if not seconds:
            yield Row(*where, None, note=notes[name])
            continue
        spread = (1e3 * f(seconds) for f in (statistics.median, min, max))
        yield Row(*where, *spread, len(seconds), notes.get(name, ""))


def forecast(contest: Contest, library: str, earlier: list[Row]) -> float:
    """Seconds that a sum over the taps would take, from the last time with fewer taps."""
    for row in reversed(earlier):
        if (row.panel, row.library) == (contest.panel, library):
            if row.milliseconds is None:
                # Left out before: more taps will not be faster.
                return math.inf if row.note.startswith(_SKIPPED) else 0.0
            growth = (contest.taps / row.taps) ** 2
            return row.milliseconds / 1e3 * growth if growth > 1 else 0.0
    return 0.0


# --- The report


def surroundings(peers: Peers) -> dict[str, Any]:
    """Hardware, versions and threads: without them a time means nothing."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        processor = names[0] if names else processor
    versions = {"python": platform.python_version(), "jax": jax.__version__}
    versions |= {"numpy": np.__version__, "scipy": scipy.__version__}
    versions |= {n: getattr(m, "__version__", "unknown") for n, m in peers.modules.items()}
    cores = os.cpu_count() or 1
    return {
        "processor": processor,
        "cores": cores,
        "jax device": str(jax.devices()[0].device_kind),
        "threads": {
            "jax": "XLA's own pool, all cores",
            "numpy": "BLAS's default (matrix products only)",
            "scipy": f"{cores} for FFT, 1 for ndimage",
            **({"cv2": peers.cv2.getNumThreads()} if "cv2" in peers else {}),
            **({"torch": peers.torch.get_num_threads()} if "torch" in peers else {}),
        },
        "load average": [round(x, 2) for x in os.getloadavg()],
        "versions": versions,
        "missing": peers.missing,
    }


def by_panel(rows: list[Row]) -> dict[str, list[Row]]:
    """Rows in the order of their panels."""
    panels: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: row.panel):
        panels.setdefault(row.panel, []).append(row)
    return panels


def grid(rows: list[Row]) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of one panel: a library each, then blurjax over its best peer."""
    labels = list(dict.fromkeys(row.label for row in rows))
    libraries = list(dict.fromkeys(row.library for row in rows))
    times = {(row.library, row.label): row for row in rows}
    lines = []
    for library in libraries:
        cells = [times.get((library, label)) for label in labels]
        lines.append([library, *(cell(row) for row in cells)])
    ratios = ["blurjax / best peer"]
    for label in labels:
        known = [
            (library, times[library, label]) for library in libraries if (library, label) in times
        ]
        mine = [r.milliseconds for n, r in known if n.startswith(OURS) and r.milliseconds]
        # What computes something else is no measure.
        peers = [
            r.milliseconds
            for n, r in known
            if not n.startswith(OURS) and r.milliseconds and not r.note
        ]
        ratios.append(f"{min(mine) / min(peers):.2f}" if mine and peers else "-")
    return ["ms", *labels], [*lines, ratios]


def cell(row: Row | None) -> str:
    """A time to three digits; a mark where there is a note."""
    if row is None:
        return ""
    if row.milliseconds is None:
        return "-"
    digits = max(0, 2 - math.floor(math.log10(row.milliseconds)))
    return f"{row.milliseconds:.{digits}f}" + ("*" if row.note else "")


def remarks(rows: list[Row]) -> list[str]:
    """The notes, once each."""
    return [f"{row.library}, {row.label}: {row.note}" for row in rows if row.note]


def markdown(rows: list[Row], facts: dict[str, Any]) -> str:
    """The report as text."""
    lines = ["# Forward blur: blurjax and others", "", "Medians in milliseconds.", ""]
    for name, value in facts.items():
        if isinstance(value, dict):
            value = "; ".join(f"{k} {v}" for k, v in value.items()) or "none"
        lines.append(f"- {name}: {value}")
    for panel, members in by_panel(rows).items():
        headings, body = grid(members)
        lines += ["", f"## {panel}", "", "| " + " | ".join(headings) + " |"]
        lines.append("|" + "---|" * len(headings))
        lines += ["| " + " | ".join(line) + " |" for line in body]
        notes = remarks(members)
        lines += ["", *(f"- \\* {note}" for note in notes)] if notes else []
    return "\n".join(lines) + "\n"


def show(console: Console, rows: list[Row], facts: dict[str, Any]) -> None:
    """The report on the terminal."""
    for panel, members in by_panel(rows).items():
        headings, body = grid(members)
        table = Table(title=panel)
        for index, heading in enumerate(headings):
            table.add_column(heading, justify="right" if index else "left", overflow="fold")
        for line in body[:-1]:
            table.add_row(*line)
        table.add_section()
        table.add_row(*body[-1])
        console.print(table)
        for note in remarks(members):
            console.print(f"  * {note}")
    versions = ", ".join(f"{n} {v}" for n, v in facts["versions"].items())
    console.print(f"{facts['processor']}, {facts['cores']} cores; {versions}")
    for name, reason in facts["missing"].items():
        console.print(f"{name} was not compared: {reason}")


def draw(rows: list[Row], facts: dict[str, Any]) -> "matplotlib.figure.Figure":
    """Time against taps, a panel a case; bars for the banks, which are all of one size."""
    from matplotlib.figure import Figure

    panels = by_panel(rows)
    columns = min(len(panels), 4) if len(panels) != 6 else 3
    count = math.ceil(len(panels) / columns)
    figure = Figure((4.2 * columns, 4.4 * count + 0.4), dpi=110, layout="constrained")
    axes = figure.subplots(count, columns, squeeze=False)
    for place in axes.flat[len(panels) :]:
        place.set_axis_off()
    for place, (panel, members) in zip(axes.flat, panels.items(), strict=False):
        (draw_bars if panel.startswith("a") else draw_lines)(place, members)
        place.set_title(panel.replace(", with", ",\nwith"), fontsize=10)
        place.legend(fontsize=7)
    versions = ", ".join(f"{n} {v}" for n, v in facts["versions"].items())
    figure.suptitle(
        f"Medians of {max(r.samples for r in rows)} samples, lower is better. "
        f"{facts['processor']}, {facts['cores']} cores\n{versions}",
        fontsize=9,
    )
    return figure


def draw_lines(axes: "matplotlib.axes.Axes", rows: list[Row]) -> None:
    """Both axes logarithmic: straight lines are powers."""
    for library in dict.fromkeys(row.library for row in rows):
        timed = [r for r in rows if r.library == library and r.milliseconds is not None]
        colour, marker = STYLES[library]
        width = 2.4 if library.startswith(OURS) else 1.2
        axes.loglog(
            [r.taps for r in timed],
            [r.milliseconds for r in timed],
            color=colour,
            marker=marker,
            markersize=5,
            linewidth=width,
            label=library,
        )
    taps = sorted({row.taps for row in rows})
    axes.set_xticks(taps, [str(k) for k in taps])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="taps along one axis", ylabel="time (ms)")


def draw_bars(axes: "matplotlib.axes.Axes", rows: list[Row]) -> None:
    """A group of bars for each kind of kernel."""
    labels = list(dict.fromkeys(row.label for row in rows))
    libraries = list(dict.fromkeys(row.library for row in rows))
    thickness = 0.8 / len(libraries)
    for index, library in enumerate(libraries):
        timed = [r for r in rows if r.library == library and r.milliseconds is not None]
        axes.barh(
            [labels.index(r.label) + (index - (len(libraries) - 1) / 2) * thickness for r in timed],
            [r.milliseconds for r in timed],
            height=thickness,
            color=STYLES[library][0],
            label=library,
        )
    axes.set_xscale("log")
    # Within two decades matplotlib labels the small ticks too, one over the other.
    axes.xaxis.set_minor_formatter("")
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="time for all kernels (ms)")


def main(
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")] = Path("runs/forward"),
    only: Literal["a", "b", "c", "d"] | None = None,
    quick: bool = False,
    repeats: int | None = None,
) -> int:
    """Time blurjax and its peers.

    Args:
        out: folder for forward.json, forward.md and forward.png.
        only: one case: a kernels, b dense blur, c separable Gaussian, d space-varying Gaussian.
        quick: small sizes and two repeats, to see that it runs.
        repeats: samples of the clock for each contender.
    """
    setting, peers, console = QUICK if quick else Setting(), find_peers(), Console()
    facts, rows = surroundings(peers), []
    for name, case in CASES.items():
        if only in (None, name):
            for contest in case(peers, setting):
                rows += race(contest, repeats or setting.repeats, rows)
                console.print(f"{contest.panel}: {contest.label}", style="dim")
    out.mkdir(parents=True, exist_ok=True)
    report = {"quick": quick, **facts, "rows": [asdict(row) for row in rows]}
    (out / "forward.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    (out / "forward.md").write_text(markdown(rows, facts), encoding="utf-8")
    plots.save(draw(rows, facts), out / "forward.png")
    show(console, rows, facts)
    console.print(f"The report is in {out.resolve()}", soft_wrap=True)
    return int(any("DISAGREES" in row.note for row in rows))


if __name__ == "__main__":
    raise SystemExit(tyro.cli(main))
