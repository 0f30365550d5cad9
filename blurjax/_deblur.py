"""A blurred photograph made sharp, whatever is known of its blur (host)."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import _programs, blur_type, deconvolution, features, images, kernel_size
from blurjax import psf as kernels
from blurjax import region as regions
from blurjax._analyze import Analysis, Weights, begin, blur_phrase, finished, workers
from blurjax.deconvolution._noise import weight_for_noise

# What the kernel is estimated from: the part of the image with the most varied gradients. More
# tells little more, and takes longer.
_WINDOW = 512
# At least so many times the kernel's side is looked at.
_ROOM = 4
# A type must be so probable for its parameters to be the kernel.
_PLAIN = 0.5
# Below this probability they must also restore sparser gradients than the image's own: by the true
# kernel 0.6 to 0.9 of them were left (8 crops, noise 0 and 1 %; up to 1.1 by a disc of radius 16
# without noise), by a wrong disc of that size 0.7 to 1.4, and 1.0 of the photograph it spoilt.
_SURE, _SPARSER = 0.9, 0.92
# An estimated size is rounded up to one of these: each size compiles a program.
_SIZES = (5, 7, 9, 11, 13, 15, 19, 23, 27, 33, 39, 47, 57, 67, 81, 95)
# Neighbours are tried where the interval of the size spans more than this ratio.
_UNSURE = 1.5
# Above this share of pixels at white, white is left out of the data.
_WHITE, _CLIPPED = 0.995, 5e-4
_TILE, _OVERLAP = 1024, 128
# Of previews: the side of what is shown of larger images, so that with what is seen through the
# kernel it is one tile; and the side of kernels that are looked for: one program serves all.
_SHOWN, _BEYOND = 832, 96
_PREVIEWED = 17
# See `weight_for_noise`: what was best on photographs of the training tenths with the true kernel.
_WEIGHTS = {"hyper_laplacian": 0.3, "total_variation": 0.54, "wiener": 8.0}
# What an estimated kernel leaves unexplained is like so much noise (likewise, with such kernels).
_KERNEL_NOISE = 6e-3
SOLVERS = ("total_variation", "hyper_laplacian", "wiener", "richardson_lucy")


Box = tuple[int, int, int, int]
Region = str | Box | None


class Deblurred(NamedTuple):
    """A sharper image, and how it was reached."""

    image: np.ndarray
    """Of the shape of the input, float32 in [0, 1]; the input itself where nothing was done."""
    kernel: np.ndarray
    """(k, k) float32 of sum 1: what blurred the image; (1, 1) where nothing was done."""
    size: int
    """k."""
    path: str
    """How the kernel was found, in words."""
    confidence: float
    """How sure the kernel is, in [0, 1]: 1 as given; the probability of the blur type whose
    parameters it has; or how alike the kernels of several searches are (mean
    `metrics.kernel_similarity`, 0.35 of unrelated ones)."""
    status: str
    """"ok", or one sentence that says why nothing was done."""
    boxes: tuple[Box, ...] = ()
    """Row, column, height and width of each part that the kernel was estimated from; none where it
    was not estimated by deconvolution."""


class _Found(NamedTuple):
    kernel: np.ndarray
    path: str
    confidence: float
    boxes: tuple[Box, ...] = ()


def deblur(
    image: np.ndarray | jax.Array,
    *,
    size: int | None = None,
    psf: np.ndarray | jax.Array | None = None,
    region: str | Sequence[int] | np.ndarray | None = None,
    solver: str = "total_variation",
    weight: float | None = None,
    saturation: bool = True,
    suppress_ringing: bool = False,
    progress: Callable[[str], None] | None = None,
) -> Deblurred:
    """Undo the blur of a photograph: by a given kernel, or by one read from the photograph (host).

    The kernel is, in this order,

    1. `psf`, if given.
    2. What `deconvolution.estimate_kernel` finds of the given `size`.
    3. With neither: of a Gaussian or a defocus that `blur_type` is sure of, that of its parameters.
       Of a photograph that is sharp to it, none: the image is returned.
    4. Else what `estimate_kernel` finds of the size that `kernel_size` tells, and some room; where
       that is unsure of the size also of both ends of its interval, and for straight motion the
       kernel of `blur_type`'s parameters. Of these the best to `deconvolution.judge`.

    It is estimated from the luminance of the part of the image with the most varied gradients, at
    most 512 pixels a side, or from the `region` that is asked for. Each colour is then deconvolved
    by itself, in tiles if it is large. The blur is taken to be the same everywhere, and the values
    as they are (gamma-encoded).

    Args:
        image: (H, W) gray or (H, W, 3) RGB; floats in [0, 1], or uint8 or uint16.
        size: the kernel's side in pixels, odd, 3 or more; at most half the image's shorter side.
        psf: (k, k), k odd and at most the image's shorter side: the kernel, of sum 1.
        region: what the kernel is estimated from. "auto": the best four windows, 228 pixels a side
            or four times the kernel's, see `region.estimate_kernel`; row, column, height and width
            of a box, both sides at least twice the kernel's; None for the part with the most varied
            gradients.
        solver: "total_variation", "hyper_laplacian", "wiener" or "richardson_lucy".
        weight: of the solver's prior; by default it grows with the noise of the image, and is
            larger for an estimated kernel. Richardson-Lucy takes none.
        saturation: leave white pixels out of the data where there are some (0.05 %), unless the
            solver is Wiener's. It takes longer.
        suppress_ringing: take what looks like ringing out of the result, and some detail.
        progress: called with a few words at each step.

    Returns:
        `Deblurred`.

    Raises:
        ValueError: an array of another shape, with values that are not finite or out of range;
            both a size and a psf; an unknown solver; a size or psf that does not fit the image; a
            region that is not inside it.

    Source: our choice.

    Example:
        >>> import blurjax
        >>> from blurjax import data, imaging, psf
        >>> sharp = data.embedded("test")[0][:200, :200]
        >>> kernel = psf.gaussian(2.0, size=15)
        >>> found = blurjax.deblur(imaging.blur(sharp, kernel), psf=kernel)
        >>> found.path, found.image.shape
        ('kernel as given', (200, 200))
    """
    _programs.make_room()
    say = progress or (lambda words: None)
    gray = images.as_gray(image)
    pixels = _as_floats(image)
    if size is not None and psf is not None:
        raise ValueError("both a size and a psf were given; pass one, the psf if it is known")
    if solver not in SOLVERS:
        raise ValueError(f"solver is {solver!r}; choose one of {', '.join(SOLVERS)}")
    if weight is not None and solver == "richardson_lucy":
        raise ValueError("richardson_lucy has no prior to weigh; leave out weight")
    part = _as_region(region, gray.shape)
    if psf is not None:
        found: _Found | str = _Found(_as_kernel(psf, gray.shape), "kernel as given", 1.0)
    elif size is not None:
        say(f"estimating a kernel of {size} px")
        found = _blind(gray, size, part, f"blind, kernel of {size} px as given")
    else:
        found = _unaided(gray, part, say)
    if isinstance(found, str):
        return Deblurred(pixels, np.ones((1, 1), np.float32), 1, "nothing to undo", 0.0, found)
    say("deconvolving")
    given = psf is not None
    restored = _restored(
        pixels, gray, found.kernel, given, solver, weight, saturation, suppress_ringing, say
    )
    return Deblurred(
        restored,
        found.kernel,
        found.kernel.shape[-1],
        found.path,
        found.confidence,
        "ok",
        found.boxes,
    )


class Preview(NamedTuple):
    """A part of a photograph, before and after a quick attempt to undo its blur."""

    before: np.ndarray
    """(h, w) or (h, w, 3) float32 in [0, 1]."""
    after: np.ndarray
    """Likewise; `before` itself where nothing was done."""
    box: Box
    """Row, column, height and width of that part."""
    kernel: np.ndarray
    """As of `Deblurred`."""
    path: str
    """Likewise."""
    confidence: float
    """Likewise; NaN where one search found the kernel, which has no other to agree with."""
    status: str
    """"ok", or one sentence that says why nothing was done."""


def analyze_and_preview(
    image: np.ndarray | jax.Array, *, weights: Weights | None = None
) -> tuple[Analysis, Preview]:
    """`blurjax.analyze` and `preview`, which begins before all systems have answered (host).

    Args:
        image, weights: as of `blurjax.analyze`, which also says what is refused.
    """
    with workers(image) as pool:
        answers = begin(image, pool, weights=weights)
        # These are begun before all others, so that it waits for none that waits for it.
        known = [answers[name] for name in ("blur_type", "kernel_size", "region")]
        part = preview(image, *(answer.result() for answer in known))
        return finished(answers), part


def preview(
    image: np.ndarray | jax.Array,
    kind: blur_type.Estimate,
    extent: kernel_size.Estimate,
    best: regions.Estimate,
) -> Preview:
    """What deblurring would make of an image, as quickly as can be (host).

    Of a blur whose type is known the kernel has its parameters; else it is what one search finds
    in the best window, in a box of 17 px; larger kernels are looked for in larger windows,
    reduced. One pass of total variation restores the part about that window, 832 pixels of each
    side that has more than 1024. `deblur` looks longer, at all of it, and leaves out what is
    white, about which this rings.

    Args:
        image: as for `deblur`.
        kind, extent, best: what blur_type, kernel_size and region say of it.

    Returns:
        `Preview`.

    Raises:
        ValueError: an array of another shape, with values that are not finite or out of range.

    Source: our choice.
    """
    # Of a large image only what is needed is copied.
    image = np.asarray(image)
    shape = image.shape[:2]
    box = _shown(shape, best)
    before = _as_floats(_cut(image, box))
    found = _quick(image, kind, extent, best)
    if isinstance(found, str):
        return Preview(
            before, before, box, np.ones((1, 1), np.float32), "nothing to undo", 0.0, found
        )
    # What lies beyond the box is seen through the kernel, and need not be guessed.
    margin = min(2 * found.kernel.shape[-1], _BEYOND)
    row, column, height, width = box
    top, left = max(row - margin, 0), max(column - margin, 0)
    bottom, right = (
        min(at + length + margin, side)
        for at, length, side in zip((row, column), (height, width), shape, strict=True)
    )
    part = _cut(image, (top, left, bottom - top, right - left))
    restored = _restored(
        _as_floats(part), images.as_gray(part), found.kernel, False, "total_variation",
        None, False, False, lambda words: None,
    )  # fmt: skip
    after = _cut(restored, (row - top, column - left, height, width))
    return Preview(before, after, box, found.kernel, found.path, found.confidence, "ok")


def part_of(found: Deblurred, image: np.ndarray | jax.Array, best: regions.Estimate) -> Preview:
    """The same part of an image that `deblur` restored as a whole (host).

    Args:
        found: from `deblur`.
        image: what it was made of.
        best: what region says of that.
    """
    box = _shown(found.image.shape[:2], best)
    before, after = _as_floats(_cut(np.asarray(image), box)), _cut(found.image, box)
    return Preview(before, after, box, found.kernel, found.path, found.confidence, found.status)


def _shown(shape: tuple[int, ...], best: regions.Estimate) -> Box:
    """The part of an image of `shape` that previews show."""
    return _about(shape, best, *(side if side <= _TILE else _SHOWN for side in shape))


def _about(shape: tuple[int, ...], best: regions.Estimate, height: int, width: int = 0) -> Box:
    """A box about the best window, or in the middle if there is none; less where there is less."""
    shape = shape[:2]
    sides = [min(side, most) for side, most in zip(shape, (height, width or height), strict=True)]
    middle = [side / 2 for side in shape]
    if best.status == "ok":
        top, left, high, wide = best.boxes[0].tolist()
        middle = [top + high / 2, left + wide / 2]
    corner = [
        int(min(max(centre - side / 2, 0), whole - side))
        for centre, side, whole in zip(middle, sides, shape, strict=True)
    ]
    return corner[0], corner[1], sides[0], sides[1]


def _cut(image: np.ndarray, box: Box) -> np.ndarray:
    row, column, height, width = box
    return image[row : row + height, column : column + width]


def _quick(
    image: np.ndarray,
    kind: blur_type.Estimate,
    extent: kernel_size.Estimate,
    best: regions.Estimate,
) -> _Found | str:
    """The kernel of a preview, or why there is none."""
    sure = float(kind.answers.max())
    if kind.status == "ok" and sure >= _PLAIN:
        if kind.label == "sharp":
            return f"it looks sharp (probability {sure:.2f})"
        if kind.label in blur_type.LABELS:
            return _parametric(kind, sure)
    if extent.status != "ok":
        return extent.status
    times = max(1, math.ceil(extent.size / _PREVIEWED))
    box = _about(image.shape, best, times * regions.WINDOW)
    window = _reduced(images.as_gray(_cut(image, box)), times)
    if min(window.shape) < 2 * _PREVIEWED:
        return f"a kernel of {extent.size} px cannot be seen in {box[2]}x{box[3]} px"
    found = deconvolution.estimate_kernel(jnp.asarray(window), size=_PREVIEWED, starts="plain")
    wide = _PREVIEWED * times | 1
    kernel = np.asarray(jax.image.resize(found.kernel, (wide, wide), "linear"))
    path = f"blind, one search in one window, {wide} px"
    return _Found(kernel / kernel.sum(), path, math.nan)


def _reduced(image: np.ndarray, times: int) -> np.ndarray:
    """Means over squares of so many pixels a side."""
    height, width = (side // times for side in image.shape)
    squares = image[: height * times, : width * times].reshape(height, times, width, times)
    return squares.mean(axis=(1, 3))


def _as_region(region: str | Sequence[int] | np.ndarray | None, shape: tuple[int, ...]) -> Region:
    """What a kernel is to be estimated from, after a check that an image of `shape` has it."""
    if region is None or (isinstance(region, str) and region == "auto"):
        return region
    if isinstance(region, str) or len(region) != 4:
        raise ValueError(
            f"region is {region!r}; pass 'auto', or row, column, height and width of a box"
        )
    row, column, height, width = (int(n) for n in region)
    # A box without pixels would be cut out of somewhere else.
    empty = min(height, width) < 1
    if empty or min(row, column) < 0 or row + height > shape[0] or column + width > shape[1]:
        raise ValueError(
            f"region is {(row, column, height, width)} and the image {shape[0]}x{shape[1]}; a box "
            "is inside it: pass row, column, height and width in pixels"
        )
    return row, column, height, width


def _as_kernel(psf: np.ndarray | jax.Array, shape: tuple[int, ...]) -> np.ndarray:
    """A given kernel, after a check that it is one for an image of `shape`."""
    kernel = np.asarray(psf, np.float32)
    if kernel.ndim != 2 or kernel.shape[0] != kernel.shape[1] or kernel.shape[0] % 2 == 0:
        raise ValueError(f"psf has shape {kernel.shape}; pass one kernel (k, k) with k odd")
    if len(kernel) > min(shape):
        raise ValueError(
            f"psf has {len(kernel)} pixels a side and the image only {min(shape)}; cut off what of "
            "the psf is next to 0, or pass more of the image"
        )
    total = float(kernel.sum())
    # Written so that NaN does not pass.
    if not (kernel.min() >= 0 and abs(total - 1) < 0.01):
        raise ValueError(
            f"psf has values from {kernel.min():g} to {kernel.max():g} and the sum {total:g}; it "
            "must not be negative and have the sum 1: divide it by its sum"
        )
    return kernel


def _as_floats(image: np.ndarray | jax.Array) -> np.ndarray:
    array = np.asarray(image)
    if array.dtype in (np.uint8, np.uint16):
        return array / np.float32(np.iinfo(array.dtype).max)
    return np.clip(array, 0, 1).astype(np.float32)


# ---- the kernel


def _unaided(gray: np.ndarray, region: Region, say: Callable[[str], None]) -> _Found | str:
    """The kernel from nothing but the image, or why there is none."""
    say("telling the type of the blur")
    kind = blur_type.estimate(gray)
    sure = float(kind.answers.max())
    if kind.status == "ok" and sure >= _PLAIN:
        if kind.label == "sharp":
            return f"it looks sharp (probability {sure:.2f}); pass a size to deblur it anyhow"
        if kind.label in ("gaussian", "defocus"):
            found = _parametric(kind, sure)
            if sure >= _SURE or _sparser(gray, found.kernel, region):
                return found
    say("telling the size of the kernel")
    extent = kernel_size.estimate(gray)
    if extent.status != "ok":
        return f"{extent.status}; pass a size or a psf"
    boxed = isinstance(region, tuple)
    shape = tuple(region[2:]) if isinstance(region, tuple) else gray.shape
    sizes = _sizes(extent, shape)
    if not sizes:
        seen = "a region" if boxed else "an image"
        return (
            f"a kernel of {extent.size} px cannot be seen in {seen} of {shape[0]}x{shape[1]}; pass "
            f"{'a larger one' if boxed else 'a psf'}"
        )
    candidates = []
    for side in sizes:
        say(f"estimating a kernel of {side} px")
        candidates.append(_blind(gray, side, region, f"blind, size {side} px by kernel_size"))
    if kind.status == "ok" and kind.label == "motion" and sure >= _PLAIN:
        candidates.append(_parametric(kind, sure))
    if len(candidates) == 1:
        return candidates[0]
    best = candidates[_best(gray, [c.kernel for c in candidates], region)]
    return best._replace(path=f"{best.path}, best of {len(candidates)}")


def _parametric(kind: blur_type.Estimate, sure: float) -> _Found:
    values = tuple(kind.parameters.values())
    mass = 0.9999 if kind.label == "gaussian" else 1.0
    size = kernels.support(kind.label, *values, mass=mass)
    kernel = np.asarray(getattr(kernels, kind.label)(*values, size=size), np.float32)
    return _Found(kernel, f"{blur_phrase(kind.label, kind.parameters)}, by blur_type", sure)


def _sparser(gray: np.ndarray, kernel: np.ndarray, region: Region) -> bool:
    """Whether what a kernel restores has sparser gradients than the image."""
    pixel = np.zeros_like(kernel)
    pixel[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
    window = jnp.asarray(_window(gray, kernel.shape[-1], region)[0])
    both = deconvolution.judge(window, jnp.asarray(np.stack([kernel, pixel]))).sparseness
    return float(both[0]) < _SPARSER * float(both[1])


def _sizes(extent: kernel_size.Estimate, shape: tuple[int, ...]) -> list[int]:
    """The odd sizes to try: the estimate, and the ends of its interval where they are far apart."""
    low, high = (max(extent.interval[side][end] for side in ("width", "height")) for end in (0, 1))
    wanted: list[float] = [extent.size]
    if high > _UNSURE * max(low, 1):
        wanted += [low, high]
    fitting = [side for side in _SIZES if side <= min(shape) // 2]
    tried = [next((side for side in fitting if side >= least), None) for least in wanted]
    return sorted({side for side in tried if side}) or fitting[-1:]


def _blind(gray: np.ndarray, size: int, region: Region, path: str) -> _Found:
    if region == "auto":
        several = regions.estimate_kernel(gray, size=size, window=_side(size))
        # In a smaller or a flat image there is nothing to choose.
        if several.status == "ok":
            boxes = tuple((r, c, h, w) for r, c, h, w in several.boxes.tolist())
            path = f"{path}, {len(boxes)} window{'s' if len(boxes) > 1 else ''} by region"
            return _Found(several.kernel, path, several.agreement, boxes)
    window, box = _window(gray, size, region)
    found = jax.device_get(deconvolution.estimate_kernel(jnp.asarray(window), size=size))
    return _Found(found.kernel, path, float(found.agreement), (box,))


def _side(size: int) -> int:
    """Of the windows that region chooses."""
    return max(regions.WINDOW, _ROOM * size)


def _window(gray: np.ndarray, size: int, region: Region = None) -> tuple[np.ndarray, Box]:
    """The part of the image that kernels are judged in, and estimated from where no windows are
    chosen; and its box."""
    if isinstance(region, tuple):
        box = region
    else:
        sides = [min(n, max(_WINDOW, _ROOM * size)) for n in gray.shape]
        row, column = (0, 0)
        if tuple(sides) != gray.shape:
            corner = np.asarray(_most_varied(gray, min(sides))[1]).tolist()
            row, column = (
                min(at, n - k) for at, n, k in zip(corner, gray.shape, sides, strict=True)
            )
        box = (row, column, sides[0], sides[1])
    row, column, height, width = box
    return gray[row : row + height, column : column + width], box


def _most_varied(gray: np.ndarray, side: int) -> tuple[jax.Array, jax.Array]:
    slopes = np.hypot(np.diff(gray, axis=1)[:-1], np.diff(gray, axis=0)[:, :-1])
    return features.distinct_patch(jnp.asarray(slopes), size=side - 1, stride=32)


def _best(gray: np.ndarray, candidates: list[np.ndarray], region: Region) -> int:
    """The index of the kernel that suits a part of the image best."""
    largest = max(kernel.shape[-1] for kernel in candidates)
    window = jnp.asarray(_window(gray, largest, region)[0])
    alike = np.stack([np.pad(k, (largest - k.shape[-1]) // 2) for k in candidates])
    return int(np.argmin(deconvolution.judge(window, jnp.asarray(alike)).scores))


# ---- the image


def _restored(
    pixels: np.ndarray,
    gray: np.ndarray,
    kernel: np.ndarray,
    given: bool,
    solver: str,
    weight: float | None,
    saturation: bool,
    suppress_ringing: bool,
    say: Callable[[str], None],
) -> np.ndarray:
    """The image deconvolved, colour by colour, in [0, 1]."""
    options: dict[str, Any] = {}
    if solver != "richardson_lucy":
        noise = float(deconvolution.noise_level(gray))
        noise = noise if given else math.hypot(noise, _KERNEL_NOISE)
        suited = weight_for_noise(noise, _WEIGHTS[solver])
        options["weight"] = suited if weight is None else weight
    clipped = pixels >= _WHITE
    masked = saturation and solver != "wiener" and float(np.mean(clipped)) > _CLIPPED
    planes = np.moveaxis(pixels, -1, 0) if pixels.ndim == 3 else pixels[None]
    solve = functools.partial(getattr(deconvolution, solver), **options)

    def finished(part: jax.Array, psf: jax.Array) -> jax.Array:
        # White is where the mask is 0: it need not be cut into tiles of its own.
        mask = {"mask": part < _WHITE} if masked else {}
        value = solve(part, psf, **mask).value
        if suppress_ringing:
            plain = deconvolution.l0_gradient(part, psf).value
            value = deconvolution.suppress_ringing(value, plain)
        return value

    def tell(done: int, total: int) -> None:
        if total > 1:
            say(f"deconvolving, tile {done} of {total}")

    # Two kernels are seen to the left and right of each seam.
    overlap = max(_OVERLAP, 4 * kernel.shape[-1])
    restored = deconvolution.in_tiles(
        finished,
        jnp.asarray(planes),
        jnp.asarray(kernel),
        tile=max(_TILE, 2 * overlap),
        overlap=overlap,
        progress=tell,
    )
    restored = np.clip(np.asarray(restored), 0, 1)
    return np.moveaxis(restored, 0, -1) if pixels.ndim == 3 else restored[0]
