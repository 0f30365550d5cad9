"""How well kernel_size tells the size of the motion kernel: every size alike, and Levin's."""

import functools
import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import data, imaging, kernel_size, plots, psf
from blurjax import images as files
from blurjax.images import ImageError
from blurjax.weights import WeightsError
from eval import photographs as selection
from eval import report
from eval.blurred import Kernel as _Kernel
from eval.blurred import Photographs, cut
from eval.blurred import drawn as _drawn
from eval.blurred import given_kernels as _given
from eval.blurred import observed as _observed

Row = dict[str, Any]

_ASKED = tuple(range(5, 96, 2))
# What the largest of the networks' needs is: a patch of the gradient.
_LEAST = kernel_size.PATCH + 1
_Photographs = functools.partial(Photographs, least=_LEAST)
_EVERY = 10
_SHEET = 8
_SIDES = ((1024, 1024), (480, 640))
_TIMED = 7
# A kernel has bright ends along an axis where its pixels above this share of the maximum reach at
# least so much of the extent of those above 1 %.
_BRIGHT, _REACH = 0.2, 0.9
# Sizes up to the top of a range of the cascade, and above that of the range before.
_RANGES = ("1-19", "20-35", "36-49", "50-63", "64+")
_DIRECTIONS = ("height", "width")
_DEFINITIONS = {"effective": 0.01, "published": 0.0}

# Of each method: the body whose weights it needs, and how its scores are read.
_METHODS: dict[str, tuple[str | None, str | None]] = {
    "correlation": ("correlation", None),
    "cascade": ("cascade", "hard"),
    "cascade soft": ("cascade", "expectation"),
    "automap": (None, None),
    "single": ("single", None),
    "regressor": ("regressor", None),
}
_SHIPPED = {"correlation": None, "cascade": "cascade"}
_DEFAULT = ("correlation", "cascade", "cascade soft", "automap")

PUBLISHED = {"ResNet-18": 5.59, "cascade of ResNet-18": 4.49, "ResNet-101": 4.04}
PUBLISHED_ON = (
    "Ye et al., 640 images (80 photographs x 8 kernels of Levin), all non-zero pixels counted"
)
PUBLISHED_CONSTANT = {"size": 16.0, "abe": 3.63}

RULES = {
    "AbE": "mean absolute error in pixels over images and directions",
    "effective": "size: the rows or columns of the kernel's pixels above 1 % of its maximum",
    "published": "size: the rows or columns of all its non-zero pixels",
    "stratified": "scope: only the axis whose size was asked for",
    "both": "scope: height and width",
    "best constant": "the median of the very sizes that a number is over, so of the one range "
    "where it is over one: what an answer that looks at no image could reach there",
    "standard error": "over images, clustered by image, as if these were independent; those of one "
    "photograph or one kernel are not",
    "ranges": "sizes up to 19, 35, 49, 63 px and beyond, by the definition in use; even sizes, and "
    "sizes below 5, are of axes that were not asked for. Sizes that have no class among the 38 of "
    "the cascade (65, 69, .., 93) are scored by absolute error like any others",
    "bright-ended": f"along that axis the pixels above {100 * _BRIGHT:g} % of the maximum reach at "
    f"least {_REACH:g} of the effective size; the others are faint-ended",
    "coverage": f"share of the true sizes within the interval that is to hold "
    f"{100 * kernel_size.COVERAGE:g} %",
    "blur": "of the encoded values, as they are in the file; only pixels that see nothing outside "
    "the photograph are kept; then noise and 8 bits",
}


class _Example(NamedTuple):
    photograph: str
    kernel: _Kernel
    blurred: np.ndarray
    """(H, W), nominally in [0, 1]."""


class _Answer(NamedTuple):
    """What a method says; the pairs are height and width in pixels."""

    status: str
    size: tuple[float, float]
    low: tuple[float, float] | None = None
    high: tuple[float, float] | None = None


class _System:
    """What estimates: the methods asked for, those that cannot answer, and why."""

    def __init__(self, methods: Sequence[str], weights: Sequence[str], margin: float) -> None:
        self.margin = margin
        self.missing: dict[str, str] = {}
        self._weights: dict[str, tuple[Any, Any]] = {}
        for name in weights:
            variables, config = kernel_size.load(name)
            if config.body in self._weights:
                raise ValueError(f"{name}: a second file for {config.body!r}; give one at a time")
            self._weights[config.body] = variables, config
        by_file = [body for body in self._weights if body not in _SHIPPED]
        self.methods = tuple(dict.fromkeys(methods or (*_DEFAULT, *by_file)))
        needed = dict.fromkeys(_METHODS[method][0] for method in self.methods)
        unused = [body for body in self._weights if body not in needed]
        if unused:
            raise ValueError(
                f"--weights holds a {unused[0]!r}, which is not among the methods "
                f"{', '.join(self.methods)}; add it"
            )
        for method in self.methods:
            body = _METHODS[method][0]
            if body is None or body in self._weights:
                continue
            if body not in _SHIPPED:
                self.missing[method] = "no such weights are shipped; give a file by --weights"
                continue
            try:
                self._weights[body] = kernel_size.load(_SHIPPED[body])
            except WeightsError as error:
                self.missing[method] = str(error)
        self.answering = tuple(m for m in self.methods if m not in self.missing)

    def __call__(self, image: np.ndarray, method: str) -> _Answer:
        if method == "automap":
            padded, inside = kernel_size.framed(files.as_gray(image))
            found = (1 + self.margin) * np.asarray(_automap(padded, inside=inside))[0]
            return _Answer("ok", (float(found[0]), float(found[1])))
        body, decoding = _METHODS[method]
        assert body is not None, "only automap needs no weights"
        variables, config = self._weights[body]
        found = kernel_size.estimate(
            image, variables, config, margin=self.margin, decoding=decoding
        )
        low, high = zip(*(found.interval[name] for name in _DIRECTIONS), strict=True)
        return _Answer(found.status, (found.height, found.width), low, high)

    @property
    def has_coarse(self) -> bool:
        return any(_METHODS[method][0] == "cascade" for method in self.answering)

    def coarse(self, image: np.ndarray) -> list[int]:
        """The range that the cascade's coarse network holds most probable, of height and width."""
        variables, config = self._weights["cascade"]
        padded, inside = kernel_size.framed(files.as_gray(image))
        both = [
            _patches(jnp.swapaxes(padded, 1, 2), config, inside=inside[:, ::-1]),
            _patches(padded, config, inside=inside),
        ]
        scores = _apply(variables, jnp.concatenate(both), config)
        return np.argmax(np.asarray(scores.coarse), axis=-1).tolist()


_automap = jax.jit(kernel_size.automap)
_patches = jax.jit(kernel_size.patches, static_argnames="config")
_apply = jax.jit(kernel_size.apply, static_argnames="config")
_extent = jax.jit(psf.extent, static_argnames="fraction")


def evaluate(
    images: tuple[Path, ...] = (),
    kernels: tuple[Path, ...] = (),
    levin: Path | None = None,
    out: Path = Path("out/eval_kernel_size"),
    noise: tuple[float, ...] = (0.0, 0.01),
    count: int = 240,
    split: Literal["all", "test", "train"] = "all",
    methods: tuple[str, ...] = (),
    weights: tuple[str, ...] = (),
    margin: float = 0.0,
    varied: float = 0.5,
    runtime: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Errors of the estimated kernel size, beside what a constant answer would reach.

    On three kinds of images. Stratified: photographs blurred by random camera shake (Boracchi &
    Foi) of every odd size from 5 to 95 px, in random order, again and again; each size is that of
    the kernel's width and of its height by turns, and the other axis is what it is, up to 95 px.
    Half of the paths are not run through evenly, so that their ends may be faint, and half of the
    kernels are softened by a lens; of these the size is what is measured, about what was asked.
    Given kernels, if there are any, on photographs. And Levin's recordings, if they are there.
    Photographs are blurred whole, in random order, in their encoded values; one too small for a
    kernel (less than 129 px left) is refused, counted, and the next is tried. A method without
    weights is left out, and so is a file that cannot be read; the report says why.

    Args:
        images: folders of sharp photographs; none for the test photographs inside scikit-image.
        kernels: folders of kernels (.npy, .mat, or images), used by turns.
        levin: folder of Levin's im05_flit01.mat and so on.
        out: folder for report.json and the figures.
        noise: its standard deviations in units of white, each on the same blurred photographs.
        count: how many images of synthetic blur, and how many by given kernels; 0 for none.
        split: "test" keeps of `images` only the tenth that training on the same folders never
            looks at, "train" the eight tenths that it learns from.
        methods: some of correlation, cascade (hard decisions, as published), "cascade soft" (the
            expected size), automap, single, regressor; none for the first four and those that
            `weights` adds.
        weights: weights files or checkpoints, each for the methods of the body that it holds,
            instead of the shipped one; single and regressor exist only so.
        margin: what is added to the estimates, as a share of them.
        varied: the share of the stratified paths with another pace, and of the kernels that a lens
            softens; 0 for the plain ones, whose ends are all bright and whose sizes exact.
        runtime: also measure the time that images of 1024 x 1024 and 640 x 480 take.
        seed: of everything random.

    Returns:
        What report.json holds.

    Raises:
        ImageError: a folder is missing or holds no image, kernel or recording.
        WeightsError: the weights given cannot be read.
        ValueError: nothing is left to evaluate on, or an option is out of range.
    """
    started = time.monotonic()
    _check(noise, count, methods, margin, varied)
    if not count and levin is None:
        raise ValueError("--count 0 without --levin leaves nothing to do; give either")
    system = _System(methods, weights, margin)
    result: dict[str, Any] = {
        "protocol": "kernel_size",
        "weights": list(weights) or "shipped",
        "split": split,
        "margin": margin,
        "varied": varied,
        "seed": seed,
        "rules": RULES,
        "published": {
            "on another test set": PUBLISHED_ON,
            "abe": PUBLISHED,
            "best constant": PUBLISHED_CONSTANT,
        },
        "parts": {},
        "left_out": dict(system.missing),
    }
    figures: list[Path] = []
    conditions: dict[str, float | None] = {f"noise {level:g}": level for level in noise}
    origin = [str(root) for root in images] or ["embedded test photographs"]

    def synthetic(part: str, given: Iterable[_Kernel], **more: Any) -> None:
        pool = _Photographs(selection.chosen(images, split), seed)
        without: list[str] = []
        examples = _blurred(given, pool, without)
        made, drawn = _part(part, examples, count, conditions, system, seed, out)
        figures.extend(drawn)
        result["parts"][part] = {
            "images": origin,
            **pool.counts(),
            "kernels_without_photograph": without,
            **more,
            **made,
        }

    if count:
        synthetic("stratified", _stratified(count, seed, varied))
        if kernels:
            unreadable: dict[str, str] = {}
            given = _given(kernels, unreadable)
            synthetic(
                "kernels",
                (given[i % len(given)] for i in range(count)),
                folders=[str(root) for root in kernels],
                unreadable_kernels=unreadable,
            )
        else:
            result["left_out"]["kernels"] = "no --kernels were given"
    else:
        result["left_out"]["stratified"] = result["left_out"]["kernels"] = "--count is 0"
    if levin is not None:
        source, unreadable = data.levin(levin), {}
        examples = _recorded(source, unreadable)
        made, drawn = _part(
            "levin", examples, len(source), {"as recorded": None}, system, seed, out
        )
        figures += drawn
        result["parts"]["levin"] = {"folder": str(levin), "unreadable": unreadable, **made}
    else:
        result["left_out"]["levin"] = "no --levin was given"
    if runtime:
        result["runtime"] = _runtime(system)
    else:
        result["left_out"]["runtime"] = "--runtime was not given"
    result["seconds"] = round(time.monotonic() - started, 1)
    _show(result)
    report.write(out, result, figures)
    return result


def _check(
    noise: tuple[float, ...], count: int, methods: tuple[str, ...], margin: float, varied: float
) -> None:
    if not noise or len(set(noise)) != len(noise) or not all(0 <= x < 1 for x in noise):
        raise ValueError(f"noise is {noise}; give different levels in [0, 1)")
    if count < 0:
        raise ValueError(f"count is {count}; give 0 or more")
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"margin is {margin}; it is a share of the size: give 0 or more")
    if not 0 <= varied <= 1:
        raise ValueError(f"varied is {varied}; it is a share: give 0 to 1")
    unknown = [method for method in methods if method not in _METHODS]
    if unknown:
        raise ValueError(f"no method is called {unknown}; give some of {tuple(_METHODS)}")


# Test images.


def order(count: int, seed: int) -> list[tuple[int, int]]:
    """Size and axis (0 height, 1 width) of each of so many stratified kernels."""
    rng = np.random.default_rng(seed)
    out: list[tuple[int, int]] = []
    for cycle in range(math.ceil(count / len(_ASKED))):
        out += [(_ASKED[i], int(i + cycle) % 2) for i in rng.permutation(len(_ASKED))]
    return out[:count]


def _stratified(count: int, seed: int, varied: float) -> Iterator[_Kernel]:
    key = jax.random.key(seed)
    for number, (size, axis) in enumerate(order(count, seed)):
        kernel = _drawn(jax.random.fold_in(key, number), size, varied)
        name = f"{number}: {_DIRECTIONS[axis]} {size}"
        yield _Kernel(name, kernel if axis else kernel.T, axis)


def _blurred(
    kernels: Iterable[_Kernel], photographs: Photographs, without: list[str]
) -> Iterator[_Example]:
    """Those for which a photograph is large enough; the others' names are put into `without`."""
    for kernel in kernels:
        tight = cut(kernel.psf)
        found = photographs.for_kernel(len(tight))
        if found is None:
            without.append(kernel.name)
            print(f"no photograph is large enough for the kernel {kernel.name}", file=sys.stderr)
            continue
        name, sharp = found
        blurred = imaging.blur(
            jnp.asarray(sharp, jnp.float32), jnp.asarray(tight, jnp.float32), boundary="valid"
        )
        yield _Example(name, kernel, np.asarray(blurred))


def _recorded(source: data.LevinSet, unreadable: dict[str, str]) -> Iterator[_Example]:
    for i, name in enumerate(source.names):
        try:
            one = source[i]
        except ImageError as error:
            unreadable[name] = str(error)
            print(f"left out: {error}", file=sys.stderr)
            continue
        yield _Example(one.name, _Kernel(one.name, one.psf), one.blurred)


# One part: every method on every image, and the numbers.


def _part(
    part: str,
    examples: Iterator[_Example],
    total: int,
    conditions: Mapping[str, float | None],
    system: _System,
    seed: int,
    out: Path,
) -> tuple[dict[str, Any], list[Path]]:
    key = jax.random.fold_in(jax.random.key(seed), 1)
    shown = set(np.linspace(0, total - 1, min(_SHEET, total)).round().astype(int).tolist())
    sheet: list[tuple[np.ndarray, Row]] = []
    rows: list[Row] = []
    for number, example in enumerate(examples):
        row = _truth(example)
        for condition, noise in conditions.items():
            # Of one image all levels see the same draw: they differ by nothing else.
            image = _observed(example.blurred, noise, jax.random.fold_in(key, number))
            answers = {method: system(image, method) for method in system.answering}
            row["answers"][condition] = {name: some._asdict() for name, some in answers.items()}
            if system.has_coarse:
                row["coarse"][condition] = system.coarse(image)
            if number in shown and condition == next(iter(conditions)):
                sheet.append((image, row))
        rows.append(row)
        if len(rows) % _EVERY == 0:
            print(f"{part}: {len(rows)} of {total} images read", file=sys.stderr)
    if not rows:
        raise ValueError(f"{part}: none of {total} images can be made; see the reasons above")
    found = {
        condition: {
            method: summary([(row, row["answers"][condition][method]) for row in rows])
            for method in system.answering
        }
        for condition in conditions
    }
    made: dict[str, Any] = {
        "n": len(rows),
        "scope": "stratified" if rows[0]["axis"] is not None else "both",
        "conditions": found,
        "coarse": {
            condition: _coarse(rows, condition) for condition in conditions if system.has_coarse
        },
        "rows": rows,
    }
    return made, _figures(part, made, sheet, out)


def _truth(example: _Example) -> Row:
    kernel = jnp.asarray(example.kernel.psf)
    sizes = {
        name: np.asarray(_extent(kernel, fraction=fraction)).tolist()
        for name, fraction in _DEFINITIONS.items()
    }
    bright = np.asarray(_extent(kernel, fraction=_BRIGHT))
    return {
        "photograph": example.photograph,
        "kernel": example.kernel.name,
        "axis": example.kernel.axis,
        "image": list(example.blurred.shape),
        **sizes,
        "bright": (bright >= _REACH * np.array(sizes["effective"])).tolist(),
        "answers": {},
        "coarse": {},
    }


class _Sizes(NamedTuple):
    """Some of a method's answers, one by one: (n,) arrays."""

    truth: np.ndarray
    found: np.ndarray
    low: np.ndarray
    high: np.ndarray
    image: np.ndarray

    def some(self, mask: np.ndarray) -> "_Sizes":
        return _Sizes(*(part[mask] for part in self))


def summary(pairs: Sequence[tuple[Row, Mapping[str, Any]]]) -> dict[str, Any]:
    """Every number of one method under one condition, from each image's truth and answer.

    Args:
        pairs: rows of `report.json` with one of their answers each.

    Returns:
        How many have an answer; then by definition and by scope, see `RULES`, "all" and the parts
        "by_size", "by_direction" and "by_ends": see `score`.
    """
    answered = [pair for pair in pairs if pair[1]["status"] == "ok"]
    out: dict[str, Any] = {"n": len(answered), "refused": len(pairs) - len(answered)}
    if not answered:
        return out
    rows, answers = zip(*answered, strict=True)
    unknown = (math.nan, math.nan)
    found, low, high = (
        np.array([answer[key] or unknown for answer in answers], float)
        for key in ("size", "low", "high")
    )
    image = np.repeat(np.arange(len(rows))[:, None], 2, axis=1)
    direction = np.repeat(np.arange(2)[None], len(rows), axis=0)
    bright = np.array([row["bright"] for row in rows])
    scopes = {"both": np.ones((len(rows), 2), bool)}
    if rows[0]["axis"] is not None:
        scopes["stratified"] = direction == np.array([[row["axis"]] for row in rows])
    for definition in _DEFINITIONS:
        truth = np.array([row[definition] for row in rows], float)
        sizes = _Sizes(truth, found, low, high, image)
        number = kernel_size.range_of(truth)
        out[definition] = {
            scope: {
                "all": score(*sizes.some(mask)),
                "by_size": {
                    name: score(*sizes.some(mask & (number == i))) for i, name in enumerate(_RANGES)
                },
                "by_direction": {
                    name: score(*sizes.some(mask & (direction == i)))
                    for i, name in enumerate(_DIRECTIONS)
                },
                "by_ends": {
                    "bright-ended": score(*sizes.some(mask & bright)),
                    "faint-ended": score(*sizes.some(mask & ~bright)),
                },
            }
            for scope, mask in scopes.items()
        }
    return out


def score(
    truth: np.ndarray,
    found: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    image: np.ndarray,
) -> dict[str, Any] | None:
    """Numbers of some answers, each of one direction of one image.

    Args:
        truth, found: (n,), in pixels.
        low, high: (n,), the ends of the intervals; NaN where there is none.
        image: (n,) whole numbers, which image each is of.

    Returns:
        In pixels: abe, its standard error, the median absolute error, the bias, the best constant
        and what that scores; coverage and median width of the intervals, None without any. None
        where n is 0.
    """
    if not len(truth):
        return None
    error = found - truth
    size = np.abs(error)
    constant = float(np.median(truth))
    beside = np.abs(truth - constant)
    known = np.isfinite(low) & np.isfinite(high)
    inside = (low <= truth) & (truth <= high)
    return {
        "n": len(truth),
        "images": len(np.unique(image)),
        "abe": float(size.mean()),
        "standard_error": _clustered(size, image),
        "median": float(np.median(size)),
        "bias": float(error.mean()),
        "constant": {
            "size": constant,
            "abe": float(beside.mean()),
            "median": float(np.median(beside)),
        },
        "coverage": float(inside[known].mean()) if known.any() else None,
        "interval_width": float(np.median((high - low)[known])) if known.any() else None,
    }


def _clustered(values: np.ndarray, image: np.ndarray) -> float:
    """Standard error of the mean, where the values of one image err together."""
    sums = np.bincount(np.unique(image, return_inverse=True)[1], weights=values - values.mean())
    n = len(sums)
    if n < 2:
        return float("nan")
    return float(np.sqrt(n / (n - 1) * np.sum(sums**2)) / len(values))


def _coarse(rows: Sequence[Row], condition: str) -> dict[str, Any]:
    """How often the coarse network takes each range for each, by the effective size."""
    truth = kernel_size.range_of(np.array([row["effective"] for row in rows]))
    found = np.array([row["coarse"][condition] for row in rows])
    scopes = {"both": np.ones(truth.shape, bool)}
    if rows[0]["axis"] is not None:
        scopes["stratified"] = np.arange(2)[None] == np.array([[row["axis"]] for row in rows])
    out = {}
    for scope, mask in scopes.items():
        matrix = np.zeros((len(_RANGES), len(_RANGES)), int)
        np.add.at(matrix, (truth[mask], found[mask]), 1)
        out[scope] = {
            "matrix": matrix.tolist(),
            "right": float(np.trace(matrix) / matrix.sum()),
            "largest_range": float(matrix.sum(axis=1).max() / matrix.sum()),
        }
    return out


def _runtime(system: _System) -> dict[str, Any]:
    """Seconds from a photograph on the host to its answer, after compilation."""
    photograph = data.embedded("test")[0]
    methods: dict[str, dict[str, float]] = {method: {} for method in system.answering}
    for rows, columns in _SIDES:
        lacking = [
            (0, max(m - n, 0)) for m, n in zip((rows, columns), photograph.shape, strict=True)
        ]
        # Continued by mirroring: a photograph as any other, but of that size.
        image = np.pad(photograph, lacking, mode="symmetric")[:rows, :columns]
        for method in system.answering:
            taken = []
            for _ in range(1 + _TIMED):
                before = time.perf_counter()
                system(image, method)
                taken.append(time.perf_counter() - before)
            methods[method][f"{columns} x {rows}"] = statistics.median(taken[1:])
    # The cores this process may use, which are fewer than the machine's in a container.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "unit": "s, median",
        "runs": _TIMED,
        "cores": cores,
        "backend": jax.default_backend(),
        "methods": methods,
    }


# Pictures and tables.


def _figures(
    part: str, made: dict[str, Any], sheet: list[tuple[np.ndarray, Row]], out: Path
) -> list[Path]:
    scope, rows = made["scope"], made["rows"]
    written = []

    def write(figure: Any, name: str) -> None:
        written.append(plots.save(figure, out / f"{name.replace(' ', '_')}.png"))

    truth = _scoped(rows, [row["effective"] for row in rows])
    constant = float(np.median(truth))
    number = kernel_size.range_of(truth)
    counts = {name: int(np.sum(number == i)) for i, name in enumerate(_RANGES)}
    beside = f"best constant, {constant:g} px"
    apart = [np.abs(truth - constant)[number == i] for i in range(len(_RANGES))]
    # One constant for all ranges, unlike those of the tables.
    alone = np.array([some.mean() if len(some) else np.nan for some in apart])
    panels = {}
    for condition, methods in made["conditions"].items():
        answers = {}
        lines: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for method, found in methods.items():
            if not found["n"]:
                continue
            ok = [row for row in rows if row["answers"][condition][method]["status"] == "ok"]
            answers[method] = (
                _scoped(ok, [row["effective"] for row in ok]),
                _scoped(ok, [row["answers"][condition][method]["size"] for row in ok]),
            )
            cells = found["effective"][scope]["by_size"].values()
            lines[method] = (
                np.array([cell["abe"] if cell else np.nan for cell in cells]),
                np.array([cell["standard_error"] if cell else np.nan for cell in cells]),
            )
        if not answers:
            continue
        panels[condition] = {**lines, beside: (alone, np.full(alone.shape, np.nan))}
        title = f"{part}, {condition}, effective sizes"
        write(
            plots.size_scatter(answers, constant=constant, title=title),
            f"scatter_{part}_{condition}",
        )
        if condition in made["coarse"]:
            matrix = np.array(made["coarse"][condition][scope]["matrix"])
            write(
                plots.confusion(matrix, [f"{name} px" for name in _RANGES]),
                f"coarse_{part}_{condition}",
            )
    if panels:
        title = f"{part}, effective sizes, {_SCOPES[scope]}"
        write(plots.size_errors(counts, panels, title=title), f"errors_{part}")
        first = next(iter(made["conditions"]))
        method = next(m for m, found in made["conditions"][first].items() if found["n"])
        said = [row["answers"][first][method] for _, row in sheet]
        write(
            plots.size_sheet(
                [image for image, _ in sheet],
                [row["effective"] for _, row in sheet],
                [some["size"] if some["status"] == "ok" else None for some in said],
                [row["photograph"] for _, row in sheet],
                title=f"{part}, {first}: {method}",
            ),
            f"sheet_{part}",
        )
    return written


_SCOPES = {"stratified": "the axis asked for", "both": "height and width"}


def _scoped(rows: Sequence[Row], values: Sequence[Sequence[float]]) -> np.ndarray:
    """Of pairs the one of the axis asked for, or both, one after another."""
    pairs = np.array(values, float)
    if rows[0]["axis"] is None:
        return pairs.ravel()
    return pairs[np.arange(len(rows)), [row["axis"] for row in rows]]


_Cell = dict[str, Any] | None


def _show(result: dict[str, Any]) -> None:
    for part, made in result["parts"].items():
        for condition, methods in made["conditions"].items():
            answering = {name: found for name, found in methods.items() if found["n"]}
            if answering:
                _show_condition(part, made, condition, answering)
        for condition, scopes in made["coarse"].items():
            some = scopes[made["scope"]]
            print(
                f"{part}, {condition}: the cascade's coarse network is right in "
                f"{100 * some['right']:.1f} % (always the most frequent range: "
                f"{100 * some['largest_range']:.1f} %)"
            )
    _show_published(result)
    if "runtime" in result:
        speed = result["runtime"]
        sides = [f"{columns} x {rows}" for rows, columns in _SIDES]
        report.table(
            f"Median seconds of one image, {speed['runs']} runs after compilation, "
            f"{speed['cores']} cores ({speed['backend']})",
            ["method", *sides],
            [
                [method, *(f"{some[side]:.3f}" for side in sides)]
                for method, some in speed["methods"].items()
            ],
        )
    for piece, reason in result["left_out"].items():
        print(f"left out, {piece}: {reason}")


def _show_condition(
    part: str, made: dict[str, Any], condition: str, methods: dict[str, Any]
) -> None:
    scope = made["scope"]
    heading = f"{part}, {condition}: n = {made['n']} images"
    if "photographs" in made:
        heading += (
            f" of {made['photographs_used']} photographs; {made['refused_as_too_small']} times one "
            f"was refused as too small,\n{len(made['kernels_without_photograph'])} kernels found "
            f"none large enough, {len(made['unreadable'])} photographs unreadable"
        )
    elif made["unreadable"]:
        heading += f", {len(made['unreadable'])} unreadable"
    if made.get("unreadable_kernels"):
        heading += f", {len(made['unreadable_kernels'])} kernels unreadable"

    def line(method: str, cells: Sequence[_Cell], form: Callable[[dict[str, Any]], str]) -> Any:
        return [method, *(form(cell) if cell else "" for cell in cells)]

    # Where a method refuses images, its sizes are fewer: the constant is of those with most.
    fullest = max(methods.values(), key=lambda found: found["n"])

    def table(
        title: str,
        columns: Sequence[str],
        cells: Callable[[dict[str, Any]], Sequence[_Cell]],
        form: Callable[[dict[str, Any]], str],
        more: Callable[[dict[str, Any]], Sequence[str]] = lambda found: (),
        blank: int = 0,
    ) -> None:
        rows = [
            [*line(method, cells(found), form), *more(found)] for method, found in methods.items()
        ]
        constant = line("best constant", cells(fullest), _constant)
        report.table(title, ["method", *columns], [*rows, [*constant, *[""] * blank]])

    def rest(found: dict[str, Any]) -> Sequence[str]:
        cell = found["effective"][scope]["all"]
        covered = "" if cell["coverage"] is None else f"{100 * cell['coverage']:.0f} %"
        width = "" if cell["interval_width"] is None else f"{cell['interval_width']:.1f}"
        return [f"{cell['bias']:+.2f}", covered, width, str(found["refused"])]

    # What is counted as published is shown beside the published figures, over both axes.
    wide = [(d, scope) for d in _DEFINITIONS]
    if scope != "both":
        wide.append(("effective", "both"))
    table(
        f"{heading}\nAbE ± standard error over images / median, in px; bias and interval: "
        f"effective sizes, {_SCOPES[scope]}",
        [
            *(f"{definition},\n{_SCOPES[s]}" for definition, s in wide),
            "bias",
            "in the\n80 %",
            "its\nwidth",
            "re-\nfused",
        ],
        lambda found: [found[d][s]["all"] for d, s in wide],
        lambda cell: f"{cell['abe']:.2f} ± {cell['standard_error']:.2f} / {cell['median']:.2f}",
        rest,
        4,
    )
    counts = fullest["effective"][scope]
    for title, keys in (
        ("by the true size in px", ("by_size",)),
        ("by direction, and by whether the kernel ends bright or faint", _BY),
    ):
        named = [(key, name) for key in keys for name in counts[key]]
        table(
            f"{part}, {condition}: AbE / median, effective sizes, {_SCOPES[scope]}, {title}",
            [
                f"{name}\nn = {counts[key][name]['n'] if counts[key][name] else 0}"
                for key, name in named
            ],
            functools.partial(_picked, scope, named),
            lambda cell: f"{cell['abe']:.2f} / {cell['median']:.2f}",
        )


_BY = ("by_direction", "by_ends")


def _picked(scope: str, named: Sequence[tuple[str, str]], found: dict[str, Any]) -> list[_Cell]:
    return [found["effective"][scope][key][name] for key, name in named]


def _constant(cell: dict[str, Any]) -> str:
    constant = cell["constant"]
    return f"{constant['size']:g} px: {constant['abe']:.2f} / {constant['median']:.2f}"


def _show_published(result: dict[str, Any]) -> None:
    constant = f"{PUBLISHED_CONSTANT['size']:g} px: {PUBLISHED_CONSTANT['abe']:.2f}"
    rows = [
        [f"{name}, published", "on another test set", f"{abe:.2f}", constant]
        for name, abe in PUBLISHED.items()
    ]
    for part, made in result["parts"].items():
        for condition, methods in made["conditions"].items():
            for method, found in methods.items():
                if found["n"]:
                    cell = found["published"]["both"]["all"]
                    beside = f"{cell['constant']['size']:g} px: {cell['constant']['abe']:.2f}"
                    rows.append([method, f"{part}, {condition}", f"{cell['abe']:.2f}", beside])
    report.table(
        f"Beside published figures, AbE in px over height and width, all non-zero pixels counted\n"
        f"({PUBLISHED_ON})",
        ["method", "test images", "AbE", "best constant there"],
        rows,
    )
