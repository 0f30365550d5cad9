"""How well sharpness finds what is blurred: every protocol in use, by name, and baselines."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from blurjax import data, imaging, metrics, plots, psf, sharpness
from blurjax.images import ImageError
from blurjax.sharpness._metric import squares
from blurjax.weights import WeightsError
from eval import photographs as selection
from eval import report

Row = dict[str, Any]

BETA2 = 0.3
_LEVELS = np.linspace(0, 1, 256).astype(np.float32)
# Sums over the pixels of all images are kept by so many levels of sharpness.
_FINE = 4096
_CONSTANTS = {"all blurred": 0.0, "all sharp": 1.0}
_ADAPTIVE = (1.5, 2.0)
_FACTORS = tuple(float(x) for x in np.arange(0.5, 3.01, 0.25))
_FIXED = tuple(float(x) for x in np.arange(1, 10) / 10)
_ITERATIONS = (0, 1, 2, 5, 10, 20, 50, 100)
# Refining each map so many times over is slow; the curves need no more images.
_MOST_REFINED = 100
_SHEET = 10
_EVERY = 10
_COMPOSITES_AT_ONCE = 16
_SIDE = 256
_STEP = 64
_ROWS, _COLUMNS = 457, 640
_WARM, _TIMED = 2, 20
# Of a lens: standard deviation or radius in pixels. Of a moved camera: length, at half a radian.
_Blur = tuple[Callable[..., jax.Array], tuple[float, ...]]
_LENS: dict[str, _Blur] = {
    "Gaussian 2": (psf.gaussian, (2.0,)),
    "Gaussian 4": (psf.gaussian, (4.0,)),
    "disc 4": (psf.defocus, (4.0,)),
    "disc 8": (psf.defocus, (8.0,)),
}
_MOVED: dict[str, _Blur] = {
    f"motion {length}": (psf.motion, (float(length), 0.5)) for length in (8, 15, 30)
}
# Holds four standard deviations of the widest Gaussian to each side.
_KERNEL = 33

# What each number is: class that is positive, threshold, and over what it is taken.
PROTOCOLS = {
    "f_blur": "F, blurred positive: sharpness < 0.5; mean over images",
    "f_sharp": "F, sharp positive: sharpness >= 0.5; mean over images",
    "f_sharp_1.5_mean": "F, sharp positive: sharpness >= min(1.5 mean of the map, 1); "
    "mean over images",
    "f_sharp_2_mean": "F, sharp positive: sharpness >= min(2 mean of the map, 1); mean over images",
    "f_max": "F, blurred positive: the largest on the curve of mean precision and mean recall "
    "over images, 256 levels; at one of them everything is called blurred, so that no method falls "
    "below that",
    "f_pooled": "F, blurred positive: sharpness < 0.5; pixels of all images pooled",
    "mae": "mean |sharpness - truth|; mean over images",
    "auc": "area under the ROC curve; mean over images",
    "auc_pooled": f"area under the ROC curve; pixels of all images pooled, {_FINE} levels",
}
RULES = (
    f"F has beta^2 = {BETA2}. An image without a pixel of the positive class has no F and no "
    "precision, one without either class no area under the curve: they are left out there, and "
    "the number of images that count is given with each mean. A pixel of sharpness 0 is never "
    "above a threshold relative to the mean. Where nothing is called positive, precision is 1. "
    "Errors are standard errors over images, as if these were independent; composites of one "
    "photograph are not."
)


class _Variant(NamedTuple):
    """A method, and whether its map is refined; None where it never is."""

    method: str
    refined: bool | None = None

    def __str__(self) -> str:
        if self.refined is None:
            return self.method
        return f"{self.method}, {'refined' if self.refined else 'unrefined'}"


class _Example(NamedTuple):
    name: str
    image: np.ndarray
    sharp: np.ndarray
    """(H, W) bool."""


class _System:
    """What estimates: the methods asked for, those that cannot answer, and why."""

    def __init__(self, methods: Sequence[str], weights: Sequence[str]) -> None:
        self.variants = tuple(
            _Variant(method, refined)
            for method in methods
            for refined in ((True, False) if method in sharpness.KERNELS else (None,))
        )
        self.missing: dict[str, str] = {}
        self._given: dict[str, tuple[Any, Any]] = {}
        for name in weights:
            variables, config = sharpness.load(name)
            if config.body == "patches":
                raise ValueError(
                    f"{name} holds a patch network, which answers for no image; give the weights "
                    "that `python -m train sharpness_metric` makes of it"
                )
            of = ("detector",) if config.body == "detector" else sharpness.METHODS[1:]
            if not set(of) & set(methods):
                raise ValueError(
                    f"{name} holds weights of {of[0]!r}, which is not among the methods "
                    f"{', '.join(methods)}; add it"
                )
            self._given |= dict.fromkeys(of, (variables, config))

    def __call__(self, image: np.ndarray, variant: _Variant) -> Any | None:
        """The estimate; None where the method cannot answer at all."""
        if variant.method in self.missing:
            return None
        # Shipped weights are the method's own to find.
        variables, config = self._given.get(variant.method, (None, None))
        options = {} if variant.refined is None else {"refine": variant.refined}
        try:
            return sharpness.estimate(image, variables, config, method=variant.method, **options)
        except WeightsError as error:
            self.missing[variant.method] = str(error)
            return None

    def kernels(self) -> dict[str, np.ndarray]:
        """(2, k, k) of each local metric that can answer."""
        found = {}
        for method in dict.fromkeys(v.method for v in self.variants if v.refined is not None):
            if method not in self.missing:
                given = self._given.get(method)
                variables, _ = sharpness.load("metric") if given is None else given
                found[method] = np.asarray(variables["params"][method])
        return found


def evaluate(
    images: tuple[Path, ...] = (),
    masks: tuple[Path, ...] = (),
    white: Literal["blurred", "sharp"] | None = None,
    out: Path = Path("out/eval_sharpness"),
    whole: tuple[Path, ...] = (),
    composites: int = 64,
    composite_images: tuple[Path, ...] = (),
    segmentations: Path | None = None,
    split: Literal["all", "test", "train"] = "all",
    methods: tuple[str, ...] = (),
    weights: tuple[str, ...] = (),
    study: bool = False,
    runtime: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Detection of blurred regions against masks, by every protocol in use.

    On three kinds of images: photographs with masks, if they are given; composites of sharp
    photographs, whose masks are exact; and photographs that are sharp all over, as they are and
    blurred all over. For each method the map of an image is computed once, and all numbers come
    from it. Beside the methods stand "all blurred" and "all sharp", which look at nothing. A
    method without weights is left out, and so is a photograph that cannot be read; the report says
    why.

    Args:
        images: folders of partly blurred photographs.
        masks: for each of them the folder of its masks, of the same names; see `data.pairs`.
        white: what white means in the masks: "blurred" (Shi et al.'s set) or "sharp".
        out: folder for report.json and the figures.
        whole: folders of photographs that are sharp all over; none for the test photographs inside
            scikit-image.
        composites: how many composites; 0 for none.
        composite_images: folders of sharp photographs to make them of; none for the test
            photographs inside scikit-image.
        segmentations: folder of human segmentations of these, as `blurjax.data.scenes` reads them.
        split: "test" keeps of `whole` and `composite_images` only the tenth that training on the
            same folders never looks at, "train" the eight tenths that it learns from.
        methods: which of `blurjax.sharpness.METHODS`; none for all.
        weights: weights files or checkpoints, of the detector or of the metric (and its controls),
            instead of the shipped ones.
        study: also how F depends on the threshold, and the refinement on its rule.
        runtime: also measure the time an image of 640 x 457 takes.
        seed: of everything random.

    Returns:
        What report.json holds.

    Raises:
        ImageError: a folder is missing or holds no image, or a photograph has no mask.
        WeightsError: the weights given cannot be read.
        ValueError: no image is left, or an option is out of range.
    """
    started = time.monotonic()
    _check(images, masks, white, composites, methods)
    system = _System(tuple(dict.fromkeys(methods)) or sharpness.METHODS, weights)
    result: dict[str, Any] = {
        "protocol": "sharpness",
        "weights": list(weights) or "shipped",
        "split": split,
        "seed": seed,
        "protocols": PROTOCOLS,
        "rules": RULES,
        "pairs": None,
        "composites": None,
        "left_out": {},
    }
    figures: list[Path] = []

    if white is not None:
        sources = [data.pairs(*both) for both in zip(images, masks, strict=True)]
        unreadable: dict[str, str] = {}
        examples = _pairs(sources, images, white, unreadable)
        made, drawn = _detection("pairs", examples, sum(map(len, sources)), system, study, out)
        origin = {"images": [*map(str, images)], "masks": [*map(str, masks)], "white": white}
        result["pairs"] = {**origin, "unreadable": unreadable, **made}
        figures += drawn
    else:
        result["left_out"]["pairs"] = "no --images and --masks were given"

    if composites:
        chosen = selection.chosen(composite_images, split)
        scenes = data.scenes(chosen, segmentations=segmentations, size=_SIDE, seed=seed)
        examples = _composites(scenes, chosen.names, composites, seed)
        made, drawn = _detection("composites", examples, composites, system, study, out)
        made_of: dict[str, Any] = {
            "images": [str(root) for root in composite_images] or ["embedded test photographs"],
            "photographs": len(np.unique(scenes.index)),
            "segmentations": str(segmentations or "found by graph cuts"),
            "side": _SIDE,
            "truth": "sharp where at least half of the pixel is",
        }
        result["composites"] = {**made_of, **made}
        figures += drawn
    else:
        result["left_out"]["composites"] = "--composites is 0"

    figures += _kernels(system, out)
    result["whole"] = {
        "images": [str(root) for root in whole] or ["embedded test photographs"],
        **_whole(system, selection.chosen(whole, split)),
    }
    if runtime:
        result["runtime"] = _runtime(system)
    else:
        result["left_out"]["runtime"] = "--no-runtime was given"
    result["left_out"] |= system.missing
    result["seconds"] = round(time.monotonic() - started, 1)
    _show(result)
    report.write(out, result, figures)
    return result


def _check(
    images: tuple[Path, ...],
    masks: tuple[Path, ...],
    white: str | None,
    composites: int,
    methods: tuple[str, ...],
) -> None:
    if len(images) != len(masks):
        raise ValueError(
            f"{len(images)} folders of --images and {len(masks)} of --masks; detection is "
            "scored on both, so give one for each"
        )
    if bool(masks) != (white is not None):
        raise ValueError(
            "--masks without --white; say whether white is 'blurred' or 'sharp' in them"
            if masks
            else "--white says nothing without --masks; leave it out"
        )
    if composites < 0:
        raise ValueError(f"composites is {composites}; give 0 or more")
    unknown = [method for method in methods if method not in sharpness.METHODS]
    if unknown:
        raise ValueError(f"no method is called {unknown}; give some of {sharpness.METHODS}")


def _pairs(
    sources: Sequence[data.Pairs],
    folders: Sequence[Path],
    white: Literal["blurred", "sharp"],
    unreadable: dict[str, str],
) -> Iterator[_Example]:
    """Those that can be read; of the others the reason is put into `unreadable`."""
    for source, folder in zip(sources, folders, strict=True):
        for i, name in enumerate(source.names):
            shown = name if len(folders) == 1 else f"{folder.name}/{name}"
            try:
                pair = source[i]
            except ImageError as error:
                unreadable[shown] = str(error)
                print(f"left out: {error}", file=sys.stderr)
                continue
            yield _Example(shown, pair.image, pair.mask if white == "sharp" else ~pair.mask)


def _composites(
    scenes: data.Scenes, names: Sequence[str], count: int, seed: int
) -> Iterator[_Example]:
    key = jax.random.key(seed)
    for first in range(0, count, _COMPOSITES_AT_ONCE):
        batch = sharpness.compose(jax.random.fold_in(key, first), scenes, n=_COMPOSITES_AT_ONCE)
        pictures, shares = np.asarray(batch.images), np.asarray(batch.sharp)
        for i in range(min(_COMPOSITES_AT_ONCE, count - first)):
            # Which of the scenes, and so which of the photographs, is in front.
            name = names[int(scenes.index[int(batch.image[i])])]
            yield _Example(f"{first + i}: {name}", pictures[i], shares[i] >= 0.5)


# Numbers of one map.


def f(called: np.ndarray, truth: np.ndarray) -> float:
    """F of a mask against another of the same shape; NaN where the truth has no positive pixel.

    (1 + beta^2) P R / (beta^2 P + R), multiplied out, so that calling nothing positive gives 0.
    """
    hits, existing = np.count_nonzero(called & truth), np.count_nonzero(truth)
    if not existing:
        return float("nan")
    return (1 + BETA2) * hits / (BETA2 * existing + np.count_nonzero(called))


def _above(found: np.ndarray, factor: float) -> np.ndarray:
    return np.asarray(sharpness.adaptive_mask(jnp.asarray(found), factor=factor))


def curve(found: np.ndarray, sharp: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Precision and recall of blurred pixels where 1 - sharpness reaches each of 256 levels."""
    reached = np.searchsorted(_LEVELS, 1 - found.ravel(), side="right")
    of = [np.bincount(reached[chosen], minlength=257) for chosen in (~sharp.ravel(), sharp.ravel())]
    hits, false = (np.cumsum(count[::-1])[-2::-1] for count in of)
    called, existing = hits + false, int(np.count_nonzero(~sharp))
    precision = np.where(called > 0, hits / np.maximum(called, 1), 1.0)
    return precision, hits / max(existing, 1)


def auc(found: np.ndarray, sharp: np.ndarray) -> float:
    """Area under the ROC curve, the same whichever class is positive; NaN without both classes."""
    low, high = np.sort(found[~sharp]), found[sharp]
    if not low.size or not high.size:
        return float("nan")
    # Of the blurred pixels, those below each sharp one and half of those that equal it.
    # Sorted, they are looked up in the order of the memory.
    high = np.sort(high)
    below = np.searchsorted(low, high, side="left").mean()
    below_or_equal = np.searchsorted(low, high, side="right").mean()
    return float((below + below_or_equal) / 2 / low.size)


def numbers(found: np.ndarray, sharp: np.ndarray) -> Row:
    """The numbers of one map that are averaged over images.

    Args:
        found: (H, W) float32 in [0, 1], sharpness.
        sharp: (H, W) bool, the truth.

    Returns:
        By the keys of `PROTOCOLS`; NaN where there is no number.
    """
    return {
        "f_blur": f(found < 0.5, ~sharp),
        "f_sharp": f(found >= 0.5, sharp),
        **{f"f_sharp_{factor:g}_mean": f(_above(found, factor), sharp) for factor in _ADAPTIVE},
        "mae": float(np.abs(found - sharp).mean(dtype=np.float64)),
        "auc": auc(found, sharp),
    }


class _Tally:
    """One method over all images: the rows, and the sums that no row holds."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._curve = np.zeros((2, 256))
        self._curves = 0
        # Pixels by fine levels of sharpness: blurred ones, sharp ones.
        self._pixels = np.zeros((2, _FINE), np.int64)
        # Called blurred and so, called blurred, blurred.
        self._counts = np.zeros(3, np.int64)
        self._by_threshold: list[tuple[list[float], list[float]]] = []

    def add(self, name: str, status: str, found: np.ndarray, sharp: np.ndarray, study: bool) -> Row:
        self.rows.append({"photograph": name, "status": status, **numbers(found, sharp)})
        blurred, called = ~sharp, found < 0.5
        if blurred.any():
            self._curve += curve(found, sharp)
            self._curves += 1
        levels = np.minimum((found * np.float32(_FINE)).astype(np.int64), _FINE - 1)
        for place, chosen in enumerate((blurred, sharp)):
            self._pixels[place] += np.bincount(levels[chosen], minlength=_FINE)
        self._counts += [np.count_nonzero(x) for x in (called & blurred, called, blurred)]
        if study:
            self._by_threshold.append(
                (
                    [f(_above(found, factor), sharp) for factor in _FACTORS],
                    [f(found < level, blurred) for level in _FIXED],
                )
            )
        return self.rows[-1]

    def mean_curve(self) -> tuple[np.ndarray, np.ndarray]:
        precision, recall = self._curve / max(self._curves, 1)
        return precision, recall

    def by_threshold(self) -> list[list[float]]:
        return [
            [_mean(np.array(some)[:, i])["mean"] for i in range(len(some[0]))]
            for some in zip(*self._by_threshold, strict=True)
        ]

    def summary(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "images": len(self.rows),
            "refused": sum(row["status"] != "ok" for row in self.rows),
        }
        for key in PROTOCOLS:
            if key in self.rows[0]:
                out[key] = _mean(np.array([row[key] for row in self.rows]))
        precision, recall = self.mean_curve()
        by_level = metrics.f_score(jnp.asarray(precision), jnp.asarray(recall), beta2=BETA2)
        out["f_max"] = float(jnp.max(by_level)) if self._curves else float("nan")
        out["f_max_at_blur"] = float(_LEVELS[int(jnp.argmax(by_level))])
        hits, called, existing = (int(x) for x in self._counts)
        out["f_pooled"] = (
            (1 + BETA2) * hits / (BETA2 * existing + called) if existing else float("nan")
        )
        blurred, sharp = self._pixels
        if blurred.any() and sharp.any():
            beaten = np.cumsum(blurred) - blurred / 2
            out["auc_pooled"] = float((sharp * beaten).sum() / sharp.sum() / blurred.sum())
        else:
            out["auc_pooled"] = float("nan")
        return out


def _mean(values: np.ndarray) -> dict[str, Any]:
    known = values[np.isfinite(values)]
    n = len(known)
    return {
        "mean": float(known.mean()) if n else float("nan"),
        "standard_error": float(known.std(ddof=1) / n**0.5) if n > 1 else float("nan"),
        "n": n,
    }


# One data set.


def _detection(
    name: str,
    examples: Iterator[_Example],
    total: int,
    system: _System,
    study: bool,
    out: Path,
) -> tuple[dict[str, Any], list[Path]]:
    """Every method on every example: what goes into the report, and the figures written."""
    tallies = {str(variant): _Tally() for variant in system.variants} | {
        constant: _Tally() for constant in _CONSTANTS
    }
    shown = set(np.linspace(0, total - 1, min(_SHEET, total)).round().astype(int).tolist())
    sheet: list[tuple[_Example, dict[str, np.ndarray]]] = []
    refinement = _Refinement(study)
    seen, shares = 0, []
    for example in examples:
        maps: dict[str, np.ndarray] = {}
        for variant in system.variants:
            answer = system(example.image, variant)
            if answer is None:
                continue
            found = _finite(answer.sharpness)
            tallies[str(variant)].add(example.name, answer.status, found, example.sharp, study)
            maps[str(variant)] = found
            if variant.refined is False:
                refinement.offer(variant.method, found, example.sharp)
        for constant, value in _CONSTANTS.items():
            found = np.full(example.sharp.shape, value, np.float32)
            tallies[constant].add(example.name, "ok", found, example.sharp, study)
        if seen in shown:
            kept = {
                variant: found.astype(np.float16)
                for variant, found in maps.items()
                if "unrefined" not in variant
            }
            sheet.append((example, kept))
        shares.append(1 - example.sharp.mean())
        seen += 1
        if seen % _EVERY == 0:
            print(f"{name}: {seen} of {total} images read", file=sys.stderr)
    if not seen:
        raise ValueError(f"none of {total} {name} can be read; see the reasons above")
    answered = {method: tally for method, tally in tallies.items() if tally.rows}
    summaries = {method: tally.summary() for method, tally in answered.items()}
    for variant in system.variants:
        raw = str(_Variant(variant.method, False))
        if variant.refined and raw in summaries:
            summaries[str(variant)]["auc_unrefined"] = summaries[raw]["auc"]
    made: dict[str, Any] = {
        "n": seen,
        "blurred_share": float(np.mean(shares)),
        "methods": summaries,
        "refinement": refinement.summary(),
        "rows": {method: tally.rows for method, tally in answered.items()},
        "curves": {method: tally.mean_curve() for method, tally in answered.items()},
    }
    if study:
        made["thresholds"] = {
            "factors_of_the_mean": _FACTORS,
            "fixed": _FIXED,
            "protocols": "sharp positive, min(factor mean, 1); blurred positive, sharpness < fixed",
            "methods": {
                method: dict(zip(("by_factor", "by_fixed"), tally.by_threshold(), strict=True))
                for method, tally in answered.items()
            },
        }
    return made, _figures(name, made, sheet, study, out)


def _finite(values: Any) -> np.ndarray:
    """A map in [0, 1]; a pixel without a number says nothing, which is 0.5."""
    found = np.asarray(values, np.float32)
    return np.clip(np.where(np.isfinite(found), found, np.float32(0.5)), 0, 1)


def _refined(found: np.ndarray, **options: Any) -> np.ndarray:
    """A map refined as `estimate` does it: squares of 4x4 pixels, enlarged again."""
    small = np.asarray(_refine(squares(jnp.asarray(found)), **options))
    height, width = small.shape
    wide = Image.fromarray(small).resize((4 * width, 4 * height), Image.Resampling.BILINEAR)
    return _finite(wide)[: found.shape[0], : found.shape[1]]


# Compiled once a shape and set of options, not at every call.
_refine = jax.jit(sharpness.refine, static_argnames=("iterations", "weights", "threshold"))


class _Refinement:
    """Numbers of the map of one method after so many steps of refinement.

    Of the local metrics whose unrefined maps are offered the first is refined.
    """

    def __init__(self, study: bool) -> None:
        self._method: str | None = None
        self._rules: dict[str, dict[str, Any]] = {"as shipped": {}}
        if study:
            self._rules |= {rule: {"threshold": rule} for rule in ("fixed", "mean", "otsu")}
        self._rows: dict[str, list[list[Row]]] = {rule: [] for rule in self._rules}

    def offer(self, method: str, found: np.ndarray, sharp: np.ndarray) -> None:
        self._method = self._method or method
        if method != self._method or len(self._rows["as shipped"]) == _MOST_REFINED:
            return
        for rule, options in self._rules.items():
            refined = [found]
            for count in _ITERATIONS[1:]:
                alone: dict[str, Any] = {"iterations": (count,), "weights": (1.0,), **options}
                refined.append(_refined(found, **alone))
            refined.append(_refined(found, **options))
            self._rows[rule].append([_three(some, sharp) for some in refined])

    def summary(self) -> dict[str, Any] | None:
        if self._method is None:
            return None
        rules: dict[str, Any] = {}
        for rule, rows in self._rows.items():
            means = {
                key: [_mean(np.array([row[i][key] for row in rows])) for i in range(len(rows[0]))]
                for key in ("f_blur", "mae", "auc")
            }
            rules[rule] = {
                "single": {key: some[:-1] for key, some in means.items()},
                "mixture": {key: some[-1] for key, some in means.items()},
            }
        return {
            "of": f"{self._method}, unrefined",
            "images": len(self._rows["as shipped"]),
            "iterations": _ITERATIONS,
            "rules": rules,
        }


def _three(found: np.ndarray, sharp: np.ndarray) -> Row:
    return {
        "f_blur": f(found < 0.5, ~sharp),
        "mae": float(np.abs(found - sharp).mean(dtype=np.float64)),
        "auc": auc(found, sharp),
    }


# Photographs that are sharp, or blurred, all over.

_TOGETHER: dict[str, dict[str, _Blur]] = {"out of focus, all": _LENS, "moved, all": _MOVED}


def _whole(system: _System, source: data.Source) -> dict[str, Any]:
    """How many are called mostly sharp as they are, and mostly blurred when blurred."""
    conditions: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "sharp": lambda image: image,
        **{name: _blurrer(*blur) for name, blur in (_LENS | _MOVED).items()},
    }
    variants = [variant for variant in system.variants if variant.method not in system.missing]
    shares: dict[str, dict[str, list[float]]] = {
        str(variant): {condition: [] for condition in conditions} for variant in variants
    }
    unreadable: dict[str, str] = {}
    names = []
    for i, name in enumerate(source.names):
        try:
            image = source[i]
        except ImageError as error:
            unreadable[name] = str(error)
            print(f"left out: {error}", file=sys.stderr)
            continue
        # Every shape compiles anew.
        image = image[tuple(slice(0, max(side // _STEP, 1) * _STEP) for side in image.shape)]
        for condition, blurred in conditions.items():
            observed = np.asarray(imaging.quantise(jnp.asarray(blurred(image))))
            for variant in variants:
                answer = system(observed, variant)
                if answer is not None:
                    shares[str(variant)][condition].append(float(answer.sharp_fraction))
        names.append(name)
        if len(names) % _EVERY == 0:
            print(f"whole: {len(names)} of {len(source)} images read", file=sys.stderr)
    if not names:
        raise ValueError(f"none of {len(source)} sharp photographs can be read; see the reasons")
    methods = {}
    for method, found in shares.items():
        if not found["sharp"]:
            continue
        right = {
            condition: [share > 0.5 if condition == "sharp" else share < 0.5 for share in some]
            for condition, some in found.items()
        }
        for together, blurs in _TOGETHER.items():
            right[together] = [hit for condition in blurs for hit in right[condition]]
        methods[method] = {
            condition: {"right": sum(hits), "n": len(hits)} for condition, hits in right.items()
        }
    return {
        "n": len(names),
        "rule": "sharp: more than half of the pixels are called sharp; blurred: less than half",
        "observation": f"cropped to multiples of {_STEP} px, 8-bit, blurred over the whole image, "
        "reflect at the border of the image",
        "unreadable": unreadable,
        "methods": methods,
        "photographs": names,
        "sharp_fractions": shares,
    }


def _blurrer(
    family: Callable[..., jax.Array], parameters: tuple[float, ...]
) -> Callable[[np.ndarray], np.ndarray]:
    kernel = family(*(jnp.asarray(value, jnp.float32) for value in parameters), size=_KERNEL)
    return lambda image: np.asarray(imaging.blur(jnp.asarray(image), kernel, boundary="reflect"))


def _runtime(system: _System) -> dict[str, Any]:
    """Seconds from a photograph on the host to its map on the host, after compilation."""
    photograph = data.embedded("test")[0]
    lacking = [(0, max(m - n, 0)) for m, n in zip((_ROWS, _COLUMNS), photograph.shape, strict=True)]
    # Continued by mirroring: a photograph as any other, but of the published size.
    image = np.pad(photograph, lacking, mode="symmetric")[:_ROWS, :_COLUMNS]
    levels = np.rint(255 * image).astype(np.uint8)
    methods = {}
    for variant in system.variants:
        if system(levels, variant) is None:
            continue
        for _ in range(_WARM - 1):
            system(levels, variant)
        taken = []
        for _ in range(_TIMED):
            before = time.perf_counter()
            np.asarray(system(levels, variant).sharpness)  # type: ignore[union-attr]
            taken.append(1000 * (time.perf_counter() - before))
        methods[str(variant)] = {
            "median_ms": statistics.median(taken),
            "fastest_ms": min(taken),
            "slowest_ms": max(taken),
        }
    # The cores this process may use, which are fewer than the machine's in a container.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "image": f"{_COLUMNS} x {_ROWS}, uint8, gray",
        "runs": _TIMED,
        "cores": cores,
        "backend": jax.default_backend(),
        "methods": methods,
    }


# Pictures and tables.


def _figures(
    name: str,
    made: dict[str, Any],
    sheet: list[tuple[_Example, dict[str, np.ndarray]]],
    study: bool,
    out: Path,
) -> list[Path]:
    curves = {key: value for key, value in made["curves"].items() if key not in _CONSTANTS}
    written = []
    if curves:
        precision, recall = made["curves"]["all blurred"]
        labelled = {
            f"{key} (largest F {made['methods'][key]['f_max']:.3f})": value
            for key, value in curves.items()
        }
        point = {
            f"all blurred (F {made['methods']['all blurred']['f_max']:.3f})": (
                float(precision[-1]),
                float(recall[-1]),
            )
        }
        n = made["methods"]["all blurred"]["f_blur"]["n"]
        figure = plots.detection_curves(labelled, point, n=n, title=f"{name}, blurred positive")
        written.append(plots.save(figure, out / f"precision_recall_{name}.png"))
        if sheet:
            drawn = list(sheet[0][1])
            figure = plots.sharpness_sheet(
                [example.image for example, _ in sheet],
                [example.sharp for example, _ in sheet],
                {key: [maps[key] for _, maps in sheet] for key in drawn},
                [example.name for example, _ in sheet],
                title=name,
            )
            written.append(plots.save(figure, out / f"sheet_{name}.png"))
    if made["refinement"]:
        written.append(_draw_refinement(name, made["refinement"], out))
    if study:
        some = made["thresholds"]
        panels = {
            label: (
                np.asarray(places),
                {key: np.asarray(by[rule]) for key, by in some["methods"].items()},
            )
            for label, places, rule in (
                ("threshold (times the mean), sharp positive", _FACTORS, "by_factor"),
                ("threshold (sharpness), blurred positive", _FIXED, "by_fixed"),
            )
        }
        figure = plots.threshold_curves(panels, n=made["n"], title=name)
        written.append(plots.save(figure, out / f"thresholds_{name}.png"))
    return written


def _kernels(system: _System, out: Path) -> list[Path]:
    """The metric kernels K1 and K2, beside those of the controls."""
    kernels = system.kernels()
    if not kernels:
        return []
    drawn = {f"{name}, K{i + 1}": k for name, two in kernels.items() for i, k in enumerate(two)}
    figure = plots.filters(
        np.stack(list(drawn.values())), titles=list(drawn), what="kernels of the local metric"
    )
    return [plots.save(figure, out / "kernels.png")]


def _draw_refinement(name: str, refinement: dict[str, Any], out: Path) -> Path:
    labels = {
        "f_blur": "F, blurred positive, 0.5",
        "mae": "mean absolute error",
        "auc": "area under the ROC curve",
    }
    rules = refinement["rules"]
    figure = plots.refinement_curves(
        np.asarray(refinement["iterations"]),
        {
            label: {
                rule: np.array([step["mean"] for step in some["single"][key]])
                for rule, some in rules.items()
            }
            for key, label in labels.items()
        },
        {
            label: {rule: some["mixture"][key]["mean"] for rule, some in rules.items()}
            for key, label in labels.items()
        },
        n=refinement["images"],
        title=f"{name}, {refinement['of']}, then refined",
    )
    return plots.save(figure, out / f"refinement_{name}.png")


def _show(result: dict[str, Any]) -> None:
    for name in ("pairs", "composites"):
        if result[name]:
            _show_detection(name, result[name])
    whole = result["whole"]
    conditions = ("sharp", *_LENS, *_MOVED, *_TOGETHER)
    report.table(
        f"Sharp photographs (n = {whole['n']}) as they are and blurred all over: how many are "
        f"on the right side\n({whole['rule']}; by standard deviation,\nradius or length in pixels; "
        f"{len(whole['unreadable'])} unreadable)",
        ["method", *conditions],
        [
            [
                method,
                *(f"{some[c]['right']}/{some[c]['n']}" for c in conditions),
            ]
            for method, some in whole["methods"].items()
        ],
    )
    if "runtime" in result:
        speed = result["runtime"]
        report.table(
            f"Time of `sharpness.estimate` on {speed['image']}, {speed['runs']} runs after "
            f"compilation, {speed['cores']} cores ({speed['backend']})",
            ["method", "median, ms", "fastest, ms", "slowest, ms"],
            [
                [
                    method,
                    *(f"{some[key]:.1f}" for key in ("median_ms", "fastest_ms", "slowest_ms")),
                ]
                for method, some in speed["methods"].items()
            ],
        )
    for piece, reason in result["left_out"].items():
        print(f"left out, {piece}: {reason}")


def _show_detection(name: str, made: dict[str, Any]) -> None:
    methods = made["methods"]

    def mean(some: dict[str, Any], key: str) -> str:
        if key not in some:
            return ""
        value = some[key]
        if isinstance(value, float):
            return f"{value:.3f}"
        return f"{value['mean']:.3f} ± {value['standard_error']:.3f}"

    def rows(keys: Sequence[str]) -> list[list[str]]:
        return [[method, *(mean(some, key) for key in keys)] for method, some in methods.items()]

    counts = next(iter(methods.values()))
    refused = max(some["refused"] for some in methods.values())
    unreadable = len(made.get("unreadable", ()))
    first = (
        f"white = {made['white']}"
        if "white" in made
        else f"made of {made['photographs']} photographs"
    )
    heading = (
        f"{name}: n = {made['n']} images, {100 * made['blurred_share']:.0f} % blurred; {first}; "
        f"{unreadable} unreadable, at most {refused} refused"
    )
    report.table(
        f"{heading}\nF (beta^2 = {BETA2}), mean over images ± standard error; "
        f"n = {counts['f_blur']['n']} with blurred, {counts['f_sharp']['n']} with sharp pixels",
        [
            "method",
            "blurred +\n< 0.5",
            "sharp +\n>= 0.5",
            "sharp +\n1.5 mean",
            "sharp +\n2 mean",
        ],
        rows(("f_blur", "f_sharp", "f_sharp_1.5_mean", "f_sharp_2_mean")),
    )
    report.table(
        f"{name}: F of the mean curve and of pooled pixels, blurred positive; error; area under "
        f"the ROC curve\n(n = {counts['auc']['n']} images with both classes)",
        [
            "method",
            "largest F, mean\nprecision, recall",
            "F, pooled\n< 0.5",
            "mean absolute\nerror",
            "area under ROC\nmean",
            "area,\npooled",
            "area before\nrefinement",
        ],
        rows(("f_max", "f_pooled", "mae", "auc", "auc_pooled", "auc_unrefined")),
    )
    refinement = made["refinement"]
    if refinement:
        steps = [str(count) for count in refinement["iterations"]]
        lines = []
        for rule, some in refinement["rules"].items():
            for place, count in enumerate(steps):
                values = {key: some["single"][key][place] for key in some["single"]}
                lines.append([f"{rule}, {count}", *(mean(values, key) for key in values)])
            lines.append([f"{rule}, mixture", *(mean(some["mixture"], k) for k in some["mixture"])])
        report.table(
            f"{name}: {refinement['of']}, after so many steps of refinement, "
            f"n = {refinement['images']} images",
            ["threshold, iterations", "F, blurred + < 0.5", "mean absolute error", "area"],
            lines,
        )
