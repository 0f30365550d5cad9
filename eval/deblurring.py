"""How well blurred photographs are restored: with the true kernel, and with nothing told."""

import functools
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import blurjax
from blurjax import _programs, data, deconvolution, imaging, metrics, plots, psf
from blurjax import images as files
from blurjax.images import ImageError
from eval import photographs as selection
from eval import report
from eval.blurred import Kernel, Photographs, cut, given_kernels, observed, shake, shakes

Row = dict[str, Any]
Solver = Literal["wiener", "richardson_lucy", "total_variation", "hyper_laplacian"]

SOLVERS: tuple[Solver, ...] = ("wiener", "richardson_lucy", "total_variation", "hyper_laplacian")
BLURRED = "blurred"
GIVEN, ESTIMATED = "blind, given size", "blind, estimated size"
# One search, and one with the published settings, which know no noise.
PLAIN, NOISELESS = "blind, plain", "blind, published"
RETURNED = "deblur, as returned"
BEST = "blind, best of sizes"
_METHODS = (BLURRED, *SOLVERS, GIVEN, PLAIN, NOISELESS, ESTIMATED, RETURNED)
_PAIRED = ((ESTIMATED, GIVEN), (GIVEN, PLAIN), (GIVEN, NOISELESS), (ESTIMATED, BEST))

# Levin's: what is left out on each side, and how far the answer may be displaced.
_CROP, _SHIFT, _STEP = 15, 5.0, 0.25
_SUCCESS = (2, 3, 5)
_TIMES = 10000
# Sides of the smallest image worth a kernel.
_LEAST = 128
# Sizes of random kernels, longer axis.
_SIZES = tuple(range(13, 28, 2))
_EVERY = 4

# The development proxy: middles of these photographs, the kernels given, and these trajectories.
_PROXY = ("manmade_01", "natural_02", "people_03", "natural_04")
_PROXY_SIZES = (13, 17, 21, 27)
_PROXY_SIDE, _PROXY_NOISE, _PROXY_SEED = 255, 0.01, 0

PUBLISHED: dict[str, Any] = {
    "levin": {
        "on": "Levin et al. 2009, 32 images, kernel sizes given; from the table of FWen/deblur-pmp",
        "psnr": {
            "Fergus": 29.46, "Cho-Lee": 30.79, "Levin 2011": 31.14, "Xu-Jia": 31.36,
            "Pan 2016": 31.73, "PMP": 32.445,
        },
        "success_2": {"PMP": 1.0},
    },
    "pairs": {
        "on": "seed 003, table 3: Köhler et al. 2012, 48 images; other images than ours",
        "psnr": {"size estimated": 26.36, "size by hand": 25.72},
    },
}  # fmt: skip

RULES = {
    "blur": f"of the encoded values, as they are in the file; only pixels that see nothing outside "
    f"the crop are kept, so that true content lies outside; then noise and 8 bits; where a "
    f"photograph is too small for the side asked for, what is there, from {_LEAST} px",
    "registration": f"the sharp image without {_CROP} px on each side, against the restored one "
    f"displaced by up to {_SHIFT:g} px in steps of {_STEP:g}, bilinear, smallest squared error",
    "psnr": "of what registration leaves; restored images are clipped to [0, 1] first",
    "ssim": "Gaussian windows of 11 px, on the same middle and after the same displacement",
    "ratio": "squared error over that of the named solver with the true kernel; every blind kernel "
    "is used with that same solver at its default, so that the ratio is about the kernel",
    "success": "share of the images whose ratio is at most that",
    "similarity": "largest normalised correlation of estimated and true kernel",
    "given size": "height or width, the larger, of the true kernel's pixels above 1 % of its "
    "maximum, made odd: a mild oracle, as in all published numbers",
    "as returned": "deblur's own image; the row above it uses deblur's kernel with the named "
    "solver. Where deblur does nothing, and says why, both score the image that it returns",
    "best of sizes": "of the sizes tried the one of largest PSNR against the sharp image: an "
    "oracle, which stands for a patient human",
    "interval": f"95 %, of the mean, bootstrapped {_TIMES} times over photographs",
    "seconds": "of a call from image to restored image (host to host). First: that of a new image "
    "shape and kernel size, so with compilation, unless a method before it in the list has "
    "compiled the same; later: the median of the others",
}


class Case(NamedTuple):
    """A blurred image and what is known about it."""

    name: str
    photograph: str
    kernel: str
    blurred: np.ndarray
    """(H, W) float32 in [0, 1]."""
    sharp: np.ndarray
    """Likewise: what each of its pixels shows."""
    psf: np.ndarray | None
    """(k, k), k odd; None if nobody knows it."""

    @property
    def size(self) -> int:
        """The larger side of the true kernel, made odd."""
        assert self.psf is not None, "asked only where there is a kernel"
        extent = np.asarray(psf.extent(jnp.asarray(self.psf), fraction=0.01))
        return max(int(extent.max()) | 1, 3)


class Quality(NamedTuple):
    """How close a restored image is to the sharp one, after registration."""

    psnr: float
    ssim: float
    ssd: float
    shift: tuple[float, float]


class _Found(NamedTuple):
    """What a method says."""

    image: np.ndarray | None = None
    """None: what the common solver makes of the kernel."""
    kernel: np.ndarray | None = None
    size: int | None = None
    status: str = "ok"
    path: str | None = None
    confidence: float | None = None


class _Answer(NamedTuple):
    found: _Found
    seconds: float
    first: bool


def evaluate(
    images: tuple[Path, ...] = (),
    kernels: tuple[Path, ...] = (),
    levin: Path | None = None,
    pairs: Path | None = None,
    proxy: bool = False,
    out: Path = Path("out/eval_deblurring"),
    split: Literal["all", "test", "train"] = "all",
    count: int = 32,
    side: int = 255,
    noise: float = 0.01,
    methods: tuple[str, ...] = (),
    solver: Solver = "total_variation",
    sizes: tuple[int, ...] = (15, 31, 51),
    pairs_side: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Restoration with the true kernel, with a kernel of known size, and with nothing told.

    On up to three kinds of images. Levin's recordings, if they are there. Crops of photographs
    blurred by kernels; without any other source those of the photographs inside scikit-image. And
    real pairs, blurred and sharp, whose kernel nobody knows: there the size is estimated, or tried
    by hand. A file that cannot be read is counted, and the rest goes on.

    Args:
        images: folders of sharp photographs; none for the test photographs inside scikit-image.
        kernels: folders of kernels (.npy, .mat, or images), used by turns; none for random camera
            shake of 13 to 27 px.
        levin: folder of Levin's im05_flit01.mat and so on.
        pairs: folder of blurred images NAME.png with sharp ones NAME_gt.png.
        proxy: instead of random crops the development proxy: the middles of manmade_01, natural_02,
            people_03 and natural_04 from `images`, by each kernel from `kernels` and trajectories
            of 13, 17, 21 and 27 px, 255 px a side, 1 % noise, always the same.
        out: folder for report.json and the figures.
        split: "test" keeps of `images` only the tenth that training on the same folders never
            looks at, "train" the eight tenths that it learns from.
        count: how many random crops.
        side: of the blurred crops, in pixels.
        noise: its standard deviation in units of white.
        methods: some of blurred, the four solvers, "blind, given size", "blind, plain" (a single
            search), "blind, published" (one that knows no noise), "blind, estimated
            size", "deblur, as returned"; none for all.
        solver: for all blind kernels, and with the true kernel for the error ratio.
        sizes: of kernels, tried by hand on the pairs, in pixels, odd.
        pairs_side: of the middle of the pairs that is looked at; None for all of it.
        seed: of everything random.

    Returns:
        What report.json holds.

    Raises:
        ImageError: a folder is missing or holds no image, kernel or recording.
        ValueError: nothing is left to evaluate on, or an option is out of range.

    Source: Levin et al., CVPR 2009 (registration and error ratio); Hu and Yang, ECCV 2012 (kernel
        similarity); seed 003, table 3 (a size by hand against an estimated one).
    """
    started = time.monotonic()
    _check(count, side, noise, methods, sizes, pairs_side)
    if proxy and not (images and kernels):
        raise ValueError(
            "--proxy needs lai2016's photographs and kernels; give --images and --kernels"
        )
    asked = tuple(dict.fromkeys(methods or _METHODS))
    parts: dict[str, Any] = {}
    result: dict[str, Any] = {
        "protocol": "deblurring",
        "solver": solver,
        "methods": list(asked),
        "seed": seed,
        "rules": RULES,
        "machine": machine(),
        "published": PUBLISHED,
        "parts": parts,
    }
    figures: list[Path] = []

    def add(part: str, cases: Sequence[Case], about: dict[str, Any], tried: Sequence[int]) -> None:
        if not cases:
            raise ValueError(f"{part}: no image is left; see the reasons above")
        made, drawn = _part(part, cases, asked, solver, tried, out)
        figures.extend(drawn)
        parts[part] = {**about, **made}

    if levin is not None:
        add("levin", *recorded(levin), ())
    if proxy:
        add("proxy", *_proxy(images, kernels), ())
    elif images or kernels or (levin is None and pairs is None):
        add("crops", *_crops(images, kernels, split, count, side, noise, seed), ())
    if pairs is not None:
        add("pairs", *_pairs(pairs, pairs_side, max(64, 2 * max(sizes))), sizes)
    result["seconds"] = round(time.monotonic() - started, 1)
    _show(result)
    report.write(out, result, figures)
    return result


def _check(
    count: int,
    side: int,
    noise: float,
    methods: tuple[str, ...],
    sizes: tuple[int, ...],
    pairs_side: int | None,
) -> None:
    if count < 1:
        raise ValueError(f"count is {count}; give 1 or more")
    for name, value in (("side", side), ("pairs_side", pairs_side)):
        if value is not None and value < 64:
            raise ValueError(f"{name} is {value}; of less than 64 px too little is left to score")
    if not 0 <= noise < 1:
        raise ValueError(f"noise is {noise}; it is a share of white: give a number in [0, 1)")
    unknown = [method for method in methods if method not in _METHODS]
    if unknown:
        raise ValueError(f"no method is called {unknown}; give some of {_METHODS}")
    if not sizes or not all(size >= 3 and size % 2 for size in sizes):
        raise ValueError(f"sizes are {sizes}; give odd numbers of 3 or more")
    # As blind deconvolution has it.
    if pairs_side is not None and pairs_side < 2 * max(sizes):
        raise ValueError(
            f"pairs_side is {pairs_side} and the largest of sizes {max(sizes)}; an image has at "
            "least twice its kernel's side, so give a larger part or smaller sizes"
        )


# Test images.


def crop_and_blur(
    sharp: np.ndarray,
    kernel: np.ndarray,
    side: int,
    noise: float,
    key: jax.Array,
    rng: np.random.Generator | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A square of a photograph, blurred with its true surroundings, and the sharp square.

    Args:
        sharp: (H, W).
        kernel: (k, k), k odd.
        side: of what is returned; less where the photograph has less.
        noise: see `observed`.
        key: of the noise.
        rng: where to take the square; None for the middle.
    """
    reach = len(kernel) - 1
    wanted = [min(side + reach, n) for n in sharp.shape]
    spare = [n - w for n, w in zip(sharp.shape, wanted, strict=True)]
    row, column = (s // 2 if rng is None else int(rng.integers(s + 1)) for s in spare)
    square = np.asarray(sharp[row : row + wanted[0], column : column + wanted[1]], np.float32)
    blurred = imaging.blur(jnp.asarray(square), jnp.asarray(kernel, jnp.float32), boundary="valid")
    inner = tuple(slice(reach // 2, n - reach // 2) for n in square.shape)
    return observed(np.asarray(blurred), noise, key), square[inner]


def cropped(
    number: int,
    photograph: tuple[str, np.ndarray],
    kernel: Kernel,
    side: int,
    noise: float,
    seed: int,
) -> Case:
    """The case of that number: a random square of a photograph, blurred. It does not depend on how
    many there are.

    Args:
        number: of the case.
        photograph: its name, and (H, W).
        kernel: what blurs it.
        side, noise: see `crop_and_blur`.
        seed: of all cases.
    """
    name, sharp = photograph
    tight = cut(kernel.psf)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(seed), 1), number)
    rng = np.random.default_rng((seed, number))
    blurred, truth = crop_and_blur(sharp, tight, side, noise, key, rng)
    return Case(f"{number}: {name}", name, kernel.name, blurred, truth, tight)


def _crops(
    images: tuple[Path, ...],
    kernels: tuple[Path, ...],
    split: Literal["all", "test", "train"],
    count: int,
    side: int,
    noise: float,
    seed: int,
) -> tuple[list[Case], dict[str, Any]]:
    least = min(side, _LEAST)
    pool = Photographs(selection.chosen(images, split), seed, least=least)
    unreadable: dict[str, str] = {}
    given = given_kernels(kernels, unreadable) if kernels else _random(count, seed)
    cases, without = [], []
    for number in range(count):
        kernel = given[number % len(given)]
        tight = cut(kernel.psf)
        # Blind deconvolution wants twice the kernel's side.
        room = max(2 * len(tight) - least, 0)
        found = None if side < 2 * len(tight) else pool.for_kernel(len(tight) + room)
        if found is None:
            without.append(kernel.name)
            print(
                f"the side or every photograph is too small for the kernel {kernel.name}",
                file=sys.stderr,
            )
            continue
        cases.append(cropped(number, found, kernel, side, noise, seed))
    about = {
        "images": [str(root) for root in images] or ["embedded test photographs"],
        "kernels": [str(root) for root in kernels] or ["random"],
        "split": split,
        "side": side,
        "noise": noise,
        **pool.counts(),
        "kernels_without_photograph": without,
        "unreadable_kernels": unreadable,
    }
    return cases, about


def _random(count: int, seed: int) -> list[Kernel]:
    return shakes(_SIZES, count, seed)


def _proxy(
    images: tuple[Path, ...], kernels: tuple[Path, ...]
) -> tuple[list[Case], dict[str, Any]]:
    source = selection.chosen(images, "all")
    index = {PurePosixPath(name).stem: i for i, name in enumerate(source.names)}
    key = jax.random.key(_PROXY_SEED)
    k_path, k_noise = jax.random.split(key)
    unreadable_kernels: dict[str, str] = {}
    given = given_kernels(kernels, unreadable_kernels)
    given += [shake(jax.random.fold_in(k_path, size), size) for size in _PROXY_SIZES]
    sharp: dict[str, np.ndarray] = {}
    unreadable: dict[str, str] = {}
    for name in _PROXY:
        if name not in index:
            unreadable[name] = f"{name}: no photograph of that name; unpack lai2016's sharp images"
        else:
            try:
                sharp[name] = source[index[name]]
            except ImageError as error:
                unreadable[name] = str(error)
        if name in unreadable:
            print(f"left out: {unreadable[name]}", file=sys.stderr)
    cases: list[Case] = []
    too_small: list[str] = []
    for i, kernel in enumerate(given):
        tight = cut(kernel.psf)
        for j, name in enumerate(_PROXY):
            if name not in sharp:
                continue
            if min(sharp[name].shape) - len(tight) + 1 < max(_LEAST, 2 * len(tight)):
                too_small.append(f"{name} by {kernel.name}")
                continue
            k_case = jax.random.fold_in(jax.random.fold_in(k_noise, i), j)
            blurred, truth = crop_and_blur(sharp[name], tight, _PROXY_SIDE, _PROXY_NOISE, k_case)
            cases.append(Case(f"{name} by {kernel.name}", name, kernel.name, blurred, truth, tight))
    about = {
        "images": [str(root) for root in images],
        "kernels": [str(root) for root in kernels],
        "side": _PROXY_SIDE,
        "noise": _PROXY_NOISE,
        "unreadable": unreadable,
        "unreadable_kernels": unreadable_kernels,
        "too_small": too_small,
    }
    return cases, about


def recorded(folder: Path) -> tuple[list[Case], dict[str, Any]]:
    """Levin's recordings in a folder, and for the report what could not be read.

    Raises:
        ImageError: there is none.
    """
    source, unreadable = data.levin(folder), {}
    cases = []
    for i, name in enumerate(source.names):
        try:
            one = source[i]
        except ImageError as error:
            unreadable[name] = str(error)
            print(f"left out: {error}", file=sys.stderr)
            continue
        photograph, _, kernel = name.partition("_")
        # The file's kernel is stored for a correlation.
        tight = cut(one.psf[::-1, ::-1])
        sharp, blurred = (np.clip(part, 0, 1) for part in (one.sharp, one.blurred))
        cases.append(Case(name, photograph, kernel, blurred, sharp, tight))
    return cases, {"folder": str(folder), "unreadable": unreadable}


_SHARP = re.compile(r"(.+)_gt")


def _pairs(folder: Path, side: int | None, least: int = 64) -> tuple[list[Case], dict[str, Any]]:
    paths = {path.relative_to(folder).with_suffix("").as_posix(): path for path in _listed(folder)}
    found = {match[1]: paths[name] for name in paths if (match := _SHARP.fullmatch(name))}
    blurred = {name: path for name, path in paths.items() if not _SHARP.fullmatch(name)}
    unreadable: dict[str, str] = {}
    alone = sorted(blurred.keys() ^ found.keys())
    cases = []
    for name in sorted(blurred.keys() & found.keys()):
        try:
            both = [files.gray(files.read(path)) for path in (blurred[name], found[name])]
            if both[0].shape != both[1].shape:
                raise ImageError(
                    f"{blurred[name]} has {both[0].shape} pixels and its sharp image "
                    f"{both[1].shape}; look for the right one"
                )
        except ImageError as error:
            unreadable[name] = str(error)
            print(f"left out: {error}", file=sys.stderr)
            continue
        seen, sharp = (_middle(part, side) for part in both)
        if min(seen.shape) < least:
            unreadable[name] = f"{blurred[name]} has {seen.shape} pixels, less than {least} a side"
            print(f"left out: {unreadable[name]}", file=sys.stderr)
            continue
        cases.append(Case(name, name, "not known", seen, sharp, None))
    about = {"folder": str(folder), "side": side, "unreadable": unreadable, "alone": alone}
    return cases, about


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ImageError(f"{folder}: no such folder; check the path")
    return files.paths(folder)


def _middle(image: np.ndarray, side: int | None) -> np.ndarray:
    if side is None:
        return image
    row, column = (max(n - side, 0) // 2 for n in image.shape)
    return image[row : row + side, column : column + side]


# One image: what the methods say, and how good it is.


def restored(solver: str, image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """What a solver of `blurjax.deconvolution` makes of an image at its default (host)."""
    seen = jnp.asarray(image, jnp.float32)
    found = getattr(deconvolution, solver)(seen, jnp.asarray(kernel, jnp.float32))
    return np.asarray(found.value)


def estimated_kernel(image: np.ndarray, size: int, **options: Any) -> np.ndarray:
    """The kernel (k, k) that blind deconvolution finds at that size (host)."""
    seen = jnp.asarray(image, jnp.float32)
    return np.asarray(deconvolution.estimate_kernel(seen, size=size, **options).kernel)


_align = functools.partial(metrics.align, crop=_CROP, max_shift=_SHIFT, step=_STEP)
_ssim = jax.jit(metrics.ssim)


def quality(image: np.ndarray, sharp: np.ndarray) -> Quality:
    """How close a restored image is to the sharp one, see `RULES` (host).

    Args:
        image, sharp: (H, W), of more than 30 pixels a side; values outside [0, 1] are clipped.
    """
    a, b = (np.clip(np.asarray(x, np.float32), 0, 1) for x in (image, sharp))
    found = _align(jnp.asarray(a), jnp.asarray(b))
    ssd, shift = float(found.ssd), np.asarray(found.shift, float)
    middle = b[_CROP:-_CROP, _CROP:-_CROP]
    mean = ssd / middle.size
    return Quality(
        -10 * math.log10(mean) if mean > 0 else math.inf,
        float(_ssim(jnp.asarray(moved(a, shift, _CROP)), jnp.asarray(middle))),
        ssd,
        (float(shift[0]), float(shift[1])),
    )


def moved(image: np.ndarray, shift: np.ndarray, crop: int) -> np.ndarray:
    """An image without its border, read so many rows and columns further, bilinear (host).

    Args:
        image: (H, W).
        shift: (2,), less than `crop` either way.
        crop: on each side, in pixels.

    Returns:
        (H - 2 crop, W - 2 crop), in the dtype of `image`.
    """
    whole = np.floor(shift).astype(int)
    part = np.asarray(shift, float) - whole
    out = np.zeros([n - 2 * crop for n in image.shape])
    for i in (0, 1):
        for j in (0, 1):
            weight = abs(1 - i - part[0]) * abs(1 - j - part[1])
            row, column = crop + whole[0] + i, crop + whole[1] + j
            # A weight of 0 belongs to pixels that need not exist.
            if weight:
                out += weight * image[row : row + out.shape[0], column : column + out.shape[1]]
    return out.astype(image.dtype)


_Call = Callable[[], dict[str, _Found]]


def _calls(
    case: Case, methods: Sequence[str], solver: str, sizes: Sequence[int]
) -> Iterator[tuple[str, _Call]]:
    """What is to be called, each with the method that its time belongs to."""
    if BLURRED in methods:
        yield BLURRED, lambda: {BLURRED: _Found(case.blurred)}
    if case.psf is not None:
        # Needed in any case: it is what the others are compared with.
        for name in (solver, *(s for s in SOLVERS if s in methods and s != solver)):
            yield name, functools.partial(_told, case, name)
        for name, starts in ((GIVEN, "several"), (PLAIN, "plain"), (NOISELESS, "published")):
            if name in methods:
                yield name, functools.partial(_blind, case, name, solver, case.size, starts)
    for size in sizes:
        name = by_hand(size)
        yield name, functools.partial(_blind, case, name, solver, size, "several")
    if ESTIMATED in methods or RETURNED in methods:
        yield (
            ESTIMATED if ESTIMATED in methods else RETURNED,
            functools.partial(_nothing_told, case),
        )


def by_hand(size: int) -> str:
    """What the method is called that is told this size."""
    return f"blind, {size} px"


def _told(case: Case, name: str) -> dict[str, _Found]:
    assert case.psf is not None, "only what has a kernel is told it"
    return {name: _Found(restored(name, case.blurred, case.psf))}


def _blind(case: Case, name: str, solver: str, size: int, starts: str) -> dict[str, _Found]:
    kernel = estimated_kernel(case.blurred, size, starts=starts)
    return {name: _Found(restored(solver, case.blurred, kernel), kernel, size)}


def _nothing_told(case: Case) -> dict[str, _Found]:
    said = blurjax.deblur(case.blurred)
    image, sure = np.asarray(said.image), float(said.confidence)
    if said.status != "ok":
        kept = _Found(image, None, None, said.status, said.path, sure)
        return {ESTIMATED: kept, RETURNED: kept}
    kernel = np.asarray(said.kernel)
    whole = _Found(image, kernel, int(said.size), said.status, said.path, sure)
    return {ESTIMATED: whole._replace(image=None), RETURNED: whole}


class _Clock:
    """Times calls, and knows which of a kind is the first."""

    def __init__(self) -> None:
        self._seen: set[tuple[Any, ...]] = set()

    def __call__(self, method: str, shape: tuple[int, ...], call: _Call) -> dict[str, _Answer]:
        before = time.perf_counter()
        found = call()
        seconds = time.perf_counter() - before
        # Of an estimated size only the answer knows what was compiled.
        kind = (method, shape, *(some.size for some in found.values()))
        first = kind not in self._seen
        self._seen.add(kind)
        return {name: _Answer(some, seconds, first) for name, some in found.items()}


class _Seen(NamedTuple):
    """What a figure shows of one image; float16, for there may be many."""

    blurred: np.ndarray
    sharp: np.ndarray
    truth: np.ndarray | None
    images: dict[str, np.ndarray]
    kernels: dict[str, np.ndarray]


def _row(
    case: Case, methods: Sequence[str], solver: str, sizes: Sequence[int], clock: _Clock
) -> tuple[Row, _Seen]:
    row: Row = {
        "name": case.name,
        "photograph": case.photograph,
        "kernel": case.kernel,
        "image": list(case.blurred.shape),
        "size": None if case.psf is None else case.size,
        "answers": {},
    }
    seen = _Seen(_half(case.blurred), _half(case.sharp), case.psf, {}, {})
    made: dict[str, tuple[_Answer, Quality]] = {}
    for method, call in _calls(case, methods, solver, sizes):
        # Where there is a kernel its size is compiled too.
        shape = (*case.blurred.shape, 0 if case.psf is None else len(case.psf))
        for name, answer in clock(method, shape, call).items():
            found, image = answer.found, answer.found.image
            if image is None:
                assert found.kernel is not None, "without an image there is a kernel"
                image = restored(solver, case.blurred, found.kernel)
            if name == solver or sizes or name in methods:
                made[name] = answer, quality(image, case.sharp)
                seen.images[name] = _half(image)
                if found.kernel is not None:
                    seen.kernels[name] = found.kernel
    least = made[solver][1].ssd if solver in made else 0.0
    for name, (answer, good) in made.items():
        row["answers"][name] = _scored(case, answer, good, least)
    if sizes:
        names = [by_hand(size) for size in sizes]
        best = max(names, key=lambda name: row["answers"][name]["psnr"])
        row["answers"][BEST] = {**row["answers"][best], "seconds": None}
        seen.images[BEST] = seen.images[best]
    return row, seen


def _half(image: np.ndarray) -> np.ndarray:
    return np.clip(image, 0, 1).astype(np.float16)


def _scored(case: Case, answer: _Answer, good: Quality, least: float) -> dict[str, Any]:
    found = answer.found
    known = case.psf is not None and found.kernel is not None
    return {
        "status": found.status,
        "psnr": good.psnr,
        "ssim": good.ssim,
        # Without a kernel there is nothing to compare with.
        "ratio": good.ssd / least if least > 0 else None,
        "similarity": similarity(case.psf, found.kernel) if known else None,
        "shift": list(good.shift),
        "size": found.size,
        "path": found.path,
        "confidence": found.confidence,
        "seconds": answer.seconds,
        "first": answer.first,
    }


def similarity(a: np.ndarray | None, b: np.ndarray | None) -> float:
    """`metrics.kernel_similarity` of two kernels (host)."""
    one, other = (jnp.asarray(x, jnp.float32) for x in (a, b))
    return float(metrics.kernel_similarity(one, other))


# One part: every method on every image, and the numbers.


def _part(
    part: str,
    cases: Sequence[Case],
    methods: Sequence[str],
    solver: str,
    sizes: Sequence[int],
    out: Path,
) -> tuple[dict[str, Any], list[Path]]:
    clock = _Clock()
    rows: list[Row] = []
    shown: list[_Seen] = []
    for case in cases:
        _programs.make_room()
        row, seen = _row(case, methods, solver, sizes, clock)
        rows.append(row)
        shown.append(seen)
        if len(rows) % _EVERY == 0:
            print(f"{part}: {len(rows)} of {len(cases)} images restored", file=sys.stderr)
    names = [name for name in rows[0]["answers"] if name in methods or sizes]
    found = {name: summary([row["answers"][name] for row in rows], rows) for name in names}
    _time_again(cases[-1], found, methods, solver, sizes, clock)
    made = {
        "n": len(rows),
        "methods": found,
        "paired": {
            f"{a} minus {b}": paired(rows, a, b) for a, b in _PAIRED if a in found and b in found
        },
        "rows": rows,
    }
    return made, _figures(part, made, shown, solver, sizes, out)


def _time_again(
    case: Case,
    found: dict[str, Any],
    methods: Sequence[str],
    solver: str,
    sizes: Sequence[int],
    clock: _Clock,
) -> None:
    """Where every call of a method was the first of its kind, one more tells its time."""
    for method, call in _calls(case, methods, solver, sizes):
        some = found.get(method)
        if method == BLURRED or some is None or some["seconds"]["later"] is not None:
            continue
        answers = clock(method, (), call)
        # The sizes of one image come out the same again: it is compiled.
        for name, answer in answers.items():
            if name in found:
                found[name]["seconds"]["later"] = answer.seconds


def summary(answers: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> dict[str, Any]:
    """Every number of one method, from its answers in the rows of `report.json`.

    Returns:
        n; refused, those whose status is not "ok" (they count as what was returned); mean, median
        and smallest psnr in dB; mean ssim; ratio, success (by the bound) and similarity, None
        where nothing is known of them; by how many px the size is off; seconds.
    """

    def known(key: str) -> np.ndarray:
        return np.array([some[key] for some in answers if some[key] is not None], float)

    psnr, ratio, alike = known("psnr"), known("ratio"), known("similarity")
    off = np.array(
        [
            some["size"] - row["size"]
            for some, row in zip(answers, rows, strict=True)
            if some["size"] is not None and row["size"] is not None
        ],
        float,
    )
    timed = [some for some in answers if some["seconds"] is not None]
    first, later = (
        [some["seconds"] for some in timed if some["first"] == which] for which in (True, False)
    )
    return {
        "n": len(answers),
        "refused": sum(some["status"] != "ok" for some in answers),
        "psnr": {
            "mean": float(psnr.mean()),
            "median": float(np.median(psnr)),
            "least": float(psnr.min()),
        },
        "ssim": float(known("ssim").mean()),
        "ratio": (
            {
                "mean": float(ratio.mean()),
                "median": float(np.median(ratio)),
                "worst": float(ratio.max()),
            }
            if len(ratio)
            else None
        ),
        "success": (
            {str(bound): float(np.mean(ratio <= bound)) for bound in _SUCCESS}
            if len(ratio)
            else None
        ),
        "similarity": float(alike.mean()) if len(alike) else None,
        "size_off": float(np.median(np.abs(off))) if len(off) else None,
        "seconds": {
            "first": float(np.median(first)) if first else None,
            "later": float(np.median(later)) if later else None,
        },
    }


def paired(rows: Sequence[Row], one: str, other: str) -> dict[str, Any]:
    """By how much PSNR one method is better than another on the same images.

    Returns:
        The mean difference in dB, its 95 % interval (None of fewer than two photographs), and the
        share of the images on which it is above 0.
    """
    gain = np.array([row["answers"][one]["psnr"] - row["answers"][other]["psnr"] for row in rows])
    return {
        "n": len(rows),
        "mean": float(gain.mean()),
        "interval": bootstrap(gain, [row["photograph"] for row in rows]),
        "better": float(np.mean(gain > 0)),
    }


def bootstrap(
    values: np.ndarray,
    clusters: Sequence[str],
    *,
    weights: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[float, float] | None:
    """The 95 % interval of a mean whose values come in clusters; None of fewer than two.

    Args:
        values: (n,).
        clusters: of each value its own; whole clusters are drawn with replacement.
        weights: (n,), of each value in the mean; by default all weigh alike.
        seed: of the draws.
    """
    names, index = np.unique(np.asarray(clusters), return_inverse=True)
    if len(names) < 2:
        return None
    shares = np.ones(len(index)) if weights is None else np.asarray(weights, float)
    sums, counts = np.bincount(index, weights=values * shares), np.bincount(index, weights=shares)
    drawn = np.random.default_rng(seed).integers(len(names), size=(_TIMES, len(names)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


# Pictures and tables.


def _figures(
    part: str,
    made: dict[str, Any],
    shown: Sequence[_Seen],
    solver: str,
    sizes: Sequence[int],
    out: Path,
) -> list[Path]:
    rows = made["rows"]
    if sizes:
        figure = _strip(part, rows, shown)
        return [] if figure is None else [plots.save(figure, out / f"sheet_{part}.png")]
    written = []
    ratios = {
        name: [row["answers"][name]["ratio"] for row in rows]
        for name in made["methods"]
        if name != solver and made["methods"][name]["ratio"] is not None
    }
    # An image restored without error has no ratio, for any method.
    known = {name: np.array([x for x in some if x is not None]) for name, some in ratios.items()}
    if known:
        title = f"{part}: error over that of {solver} with the true kernel"
        figure = plots.success_curve(known, title=title)
        written.append(plots.save(figure, out / f"success_curve_{part}.png"))
    method = next(
        (m for m in (GIVEN, PLAIN, NOISELESS, ESTIMATED, RETURNED) if m in made["methods"]), None
    )
    if method is not None:
        order = np.argsort([-row["answers"][method]["psnr"] for row in rows], kind="stable")
        by_ratio = [row["answers"][method]["ratio"] for row in rows]
        if None not in by_ratio:
            order = np.argsort(by_ratio, kind="stable")
        picked = dict.fromkeys(int(order[i]) for i in (0, (len(order) - 1) // 2, len(order) - 1))
        figure = plots.deblurring_sheet(
            [_sheet_row(rows[i], shown[i], method, solver) for i in picked],
            title=f"{part}: {method}, best, median and worst error ratio of n = {len(rows)}",
        )
        written.append(plots.save(figure, out / f"sheet_{part}.png"))
    return written


def _sheet_row(row: Row, seen: _Seen, method: str, solver: str) -> plots.Deblurred:
    def said(name: str) -> str:
        return f"{row['answers'][name]['psnr']:.1f} dB" if name in row["answers"] else ""

    answer = row["answers"][method]
    ratio = "" if answer["ratio"] is None else f", ratio {answer['ratio']:.2f}"
    return plots.Deblurred(
        caption=row["name"],
        blurred=seen.blurred,
        estimate=seen.images[method],
        reference=seen.images[solver],
        sharp=seen.sharp,
        kernel=seen.kernels.get(method),
        truth=seen.truth,
        notes=(said(BLURRED), said(method) + ratio, said(solver)),
    )


def _strip(part: str, rows: Sequence[Row], shown: Sequence[_Seen]) -> Any:
    """The pair of median gain: blurred, best size by hand, size estimated, sharp."""
    last = next((m for m in (ESTIMATED, RETURNED) if m in rows[0]["answers"]), BEST)
    gain = [row["answers"][last]["psnr"] - row["answers"][BEST]["psnr"] for row in rows]
    i = int(np.argsort(gain, kind="stable")[(len(gain) - 1) // 2])
    row, seen = rows[i], shown[i]
    names = [name for name in dict.fromkeys((BLURRED, BEST, last)) if name in seen.images]
    captions = []
    for name in names:
        answer = row["answers"][name]
        size = "" if answer["size"] is None else f", {answer['size']} px"
        captions.append(f"{name}{size}\n{answer['psnr']:.1f} dB, SSIM {answer['ssim']:.2f}")
    side = min(96, *seen.sharp.shape)
    return plots.comparison(
        [*(seen.images[name] for name in names), seen.sharp],
        [*captions, "sharp\n"],
        (*richest(seen.sharp.astype(np.float32), side), side),
        title=f"{part}, {row['name']}: of n = {len(rows)} the one of median difference",
    )


def richest(image: np.ndarray, side: int) -> tuple[int, int]:
    """Corner of the square with the most contrast, on a coarse grid."""
    views = np.lib.stride_tricks.sliding_window_view(image, (side, side))[::16, ::16]
    row, column = np.unravel_index(np.argmax(views.std(axis=(-2, -1))), views.shape[:2])
    return 16 * int(row), 16 * int(column)


def _show(result: dict[str, Any]) -> None:
    for part, made in result["parts"].items():
        heading = f"{part}: n = {made['n']} images"
        lost = len(made["unreadable"]) + len(made.get("unreadable_kernels", ()))
        if lost:
            heading += f"; {lost} files could not be read"
        if part != "pairs":
            heading += f"\n(error ratio: over {result['solver']} with the true kernel)"
        report.table(
            heading,
            [
                "method", "PSNR\nmean", "PSNR\nmedian", "SSIM", "ratio\nmedian", "ratio\nworst",
                *(f"ratio\n<= {bound}, %" for bound in _SUCCESS),
            ],
            [_line(name, some) for name, some in made["methods"].items()],
        )  # fmt: skip
        report.table(
            f"{part}: kernels, and seconds of one image ({machine()})",
            ["method", "kernel\nsimilarity", "size off,\npx", "s later", "s first", "refused"],
            [
                _kernel_line(name, some)
                for name, some in made["methods"].items()
                if name not in (BLURRED, BEST)
            ],
        )
        for name, some in made["paired"].items():
            low, high = some["interval"] or (math.nan, math.nan)
            print(
                f"{part}, {name}: {some['mean']:+.2f} dB ({low:+.2f} to {high:+.2f}), better on "
                f"{100 * some['better']:.0f} % of n = {some['n']}"
            )
        if part == "pairs":
            _show_pairs(made)
        if part in PUBLISHED:
            _show_published(part)
    if "levin" not in result["parts"]:
        _show_published("levin")


def _show_pairs(made: dict[str, Any]) -> None:
    """Image by image, as seed 003's table 3 has it."""
    methods = list(made["methods"])
    report.table(
        "pairs: PSNR in dB",
        ["image", *(name.replace(", ", ",\n") for name in methods)],
        [
            [row["name"], *(f"{row['answers'][name]['psnr']:.2f}" for name in methods)]
            for row in made["rows"]
        ],
    )


def _show_published(part: str) -> None:
    some = PUBLISHED[part]
    success = some.get("success_2", {})
    report.table(
        f"Published: {some['on']}",
        ["method", "mean PSNR, dB", "ratio <= 2, %"],
        [
            [f"{name}, published", f"{psnr:.2f}", _percent(success.get(name))]
            for name, psnr in some["psnr"].items()
        ],
    )


def _line(name: str, some: dict[str, Any]) -> list[str]:
    psnr, ratio, success = some["psnr"], some["ratio"], some["success"]
    return [
        name,
        f"{psnr['mean']:.2f}",
        f"{psnr['median']:.2f}",
        f"{some['ssim']:.3f}",
        *(f"{ratio[which]:.2f}" if ratio else "" for which in ("median", "worst")),
        *(_percent(success[str(bound)] if success else None) for bound in _SUCCESS),
    ]


def _kernel_line(name: str, some: dict[str, Any]) -> list[str]:
    seconds = some["seconds"]
    return [
        name,
        "" if some["similarity"] is None else f"{some['similarity']:.2f}",
        "" if some["size_off"] is None else f"{some['size_off']:g}",
        *("" if seconds[w] is None else f"{seconds[w]:.2f}" for w in ("later", "first")),
        str(some["refused"]),
    ]


def machine() -> str:
    """What times were measured on."""
    # The cores this process may use, which are fewer than the machine's in a container.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores} cores, {jax.default_backend()}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}"
