"""From which window of a blurred photograph its kernel is estimated best."""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import _programs, deconvolution, plots, region
from eval import deblurring, report
from eval import photographs as selection
from eval.blurred import Kernel, Photographs, cut, given_kernels, shakes
from eval.deblurring import Case

Row = dict[str, Any]
Corner = tuple[int, int]

ORACLE, RANDOM, CENTRE = "oracle", "random", "centre"
LEARNED, REFINED, WHOLE = "learned", "learned, refined", "whole image"
GRADIENTS = "gradient std"
# What is asked of blurjax.region for a score of windows.
_CLASSICAL = {
    GRADIENTS: "gradient_std",
    "contrast": "contrast",
    "useful edges": "useful_edges",
}
# Several windows, and by whose scores they are chosen.
_SEVERAL = {f"{region.WINDOWS} windows, {name}": name for name in (RANDOM, GRADIENTS, LEARNED)}
_BEST = f"{region.WINDOWS} windows, {LEARNED}"
ESTIMATORS = ("l0", "minimal_pixels", "normalised_sparsity")

# Sides of the arrays that kernels are estimated in: each is a program to compile.
_SIZES = (15, 23, 31, 39, 47, 55, 67, 81, 95)
# Of random kernels, longer axis.
_EXTENTS = tuple(range(11, 56, 2))
# Levin's photographs have 255 px: only smaller windows leave a choice.
_LEVIN_WINDOW = 128
# Estimated in one program.
_TOGETHER = 8
_SUCCESS = (2, 3, 5)
_COMPARED = (2, 3)
_TIMED = 3
# The shifted windows: so far apart, so many of them shown.
_SHIFT, _SHOWN = 20, 4

RULES = {
    "blur": deblurring.RULES["blur"].partition(";")[0]
    + "; only pixels that see nothing outside the crop are kept; then noise and 8 bits; a "
    "photograph too small for the side asked for is refused",
    "grid": "all windows of the stride; every one is labelled with the first estimator, one "
    "search at the smallest of the sizes "
    f"{', '.join(map(str, _SIZES))} px that holds the true kernel",
    "similarity": deblurring.RULES["similarity"],
    "good": f"a window whose similarity is above {region.THRESHOLD}",
    "oracle": "the window of the grid with the largest similarity by the first estimator; it is "
    "not in the tables of the others, which see only the windows that the other methods choose",
    "random": "similarity, good and regret by the first estimator are the means of all windows; "
    "everything else, and all by the other estimators, is that of one window drawn by the seed",
    "centre": "the window of the grid nearest to the middle of the image",
    "scores": "the window of the grid with the largest score; a score that is not finite is the "
    "least",
    "learned, refined": "the window of region.estimate, which need not be one of the grid. Where "
    "it refuses, the whole image is used instead, and the image counted as refused",
    "several windows": f"{region.WINDOWS} of the grid, each the best that overlaps none of the "
    "better by more than half in both directions, and deconvolution.consensus of their kernels",
    "whole image": "the same search on all of the image",
    "ratio": "squared error over that of the named solver with the true kernel; every kernel "
    "restores the whole image with that same solver at its default",
    "registration, psnr": f"{deblurring.RULES['registration']}; {deblurring.RULES['psnr']}",
    "success": deblurring.RULES["success"],
    "regret": "similarity of the oracle less that of the method, mean over images",
    "rank correlation": "Spearman's, of the scores and the similarities of one image's windows, "
    "mean over the images in which neither is constant",
    "interval": deblurring.RULES["interval"],
    "seconds": f"median of {_TIMED} calls after a first that compiles, host to host, of one image "
    "a shape, that of the median kernel size",
}


class _Setting(NamedTuple):
    """What is the same for all images of a part."""

    window: int
    stride: int
    estimators: tuple[str, ...]
    methods: tuple[str, ...]
    solver: str
    networks: Mapping[str, tuple[Any, Any]]
    """Of each learned method the variables and their configuration."""
    classical: Mapping[str, Callable[..., Any]]
    seed: int


class _Choice(NamedTuple):
    """Where a method wants the kernel estimated."""

    corners: tuple[Corner, ...]
    """Of one window or of several; none: in the whole image."""
    score: float | None = None
    status: str = "ok"


class _Found(NamedTuple):
    """A kernel and how similar it is to the true one."""

    similarity: float
    kernel: np.ndarray


class _Seen(NamedTuple):
    """What a figure shows of one image."""

    choices: dict[str, _Choice]
    kernels: dict[str, np.ndarray]
    """Of each method, by the first estimator."""


def evaluate(
    images: tuple[Path, ...] = (),
    kernels: tuple[Path, ...] = (),
    levin: Path | None = None,
    out: Path = Path("out/eval_region"),
    split: Literal["all", "test", "train"] = "all",
    count: int = 32,
    side: int = 450,
    window: int = region.WINDOW,
    stride: int = 40,
    noise: float = 2 / 255,
    estimators: tuple[str, ...] = ("l0", "minimal_pixels"),
    methods: tuple[str, ...] = (),
    weights: Path | None = None,
    solver: deblurring.Solver = "total_variation",
    timing: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Kernels from the window that each rule chooses, against those of the best and of no window.

    Of every blurred photograph all windows of a grid are labelled: how similar the kernel estimated
    there is to the true one. That tells the best window and the mean one; every method chooses
    another, and the kernel found there restores the whole image. So does the kernel that is
    estimated in the whole image. A file that cannot be read is counted, and the rest goes on.

    Args:
        images: folders of sharp photographs; none for the test photographs inside scikit-image.
        kernels: folders of kernels (.npy, .mat, or images), used by turns; none, or the word
            random, for random camera shake of 11 to 55 px.
        levin: folder of Levin's im05_flit01.mat and so on. There windows have 128 px.
        out: folder for report.json and the figures.
        split: "test" keeps of `images` only the tenth that training on the same folders never
            looks at, "train" the eight tenths that it learns from.
        count: how many random crops.
        side: of the blurred crops, in pixels; smaller photographs are refused and counted.
        window: side of the windows (but Levin's), in pixels; the score of larger ones than 228 is
            the mean of those of 228 in them.
        stride: from one window of the grid to the next, in pixels.
        noise: its standard deviation in units of white.
        estimators: priors of `deconvolution.estimate_kernel`. The first labels the grid; with the
            others the windows chosen are looked at again.
        methods: some of oracle, random, centre, "gradient std", contrast, "useful edges", the
            shipped classifiers by name (gabor), learned, "learned, refined", "4 windows, random",
            "4 windows, gradient std", "4 windows, learned", "whole image"; none for all.
        weights: a weights file of the learned method, instead of the shipped one.
        solver: for all kernels, and with the true kernel for the error ratio.
        timing: measure what selecting costs and saves; it needs a learned method.
        seed: of everything random.

    Returns:
        What report.json holds.

    Raises:
        ImageError: a folder is missing or holds no image, kernel or recording.
        ValueError: nothing is left to evaluate on, or an option is out of range.
        WeightsError: a weights file that is missing or damaged.

    Source: Yang, Wu and Sun, "Select good regions for deblurring based on convolutional neural
        networks" (4); Levin et al., CVPR 2009 (error ratio); Hu and Yang, ECCV 2012 (kernel
        similarity).
    """
    started = time.monotonic()
    asked = _check(count, side, window, stride, noise, estimators, methods, solver)
    setting = _Setting(
        window,
        stride,
        tuple(dict.fromkeys(estimators)),
        asked,
        solver,
        _networks(asked, weights),
        {
            name: jax.jit(getattr(region, function))
            for name, function in _CLASSICAL.items()
            if name in asked or f"{region.WINDOWS} windows, {name}" in asked
        },
        seed,
    )
    # A word on the command line where folders are expected.
    if kernels == (Path("random"),) and not kernels[0].exists():
        kernels = ()
    parts: dict[str, Any] = {}
    result: dict[str, Any] = {
        "protocol": "region",
        "solver": solver,
        "estimators": list(setting.estimators),
        "methods": list(asked),
        "weights": None if weights is None else str(weights),
        "threshold": region.THRESHOLD,
        "seed": seed,
        "rules": RULES,
        "machine": deblurring.machine(),
        "parts": parts,
    }
    figures: list[Path] = []

    def add(part: str, cases: Sequence[Case], about: dict[str, Any], setting: _Setting) -> None:
        made, written = _part(part, cases, setting, timing, out)
        figures.extend(written)
        parts[part] = {**about, **made}

    if levin is not None:
        add("levin", *_recordings(levin), setting._replace(window=_LEVIN_WINDOW))
    if images or kernels or levin is None:
        cases, about = _crops(images, kernels, split, count, side, noise, setting)
        add("crops", cases, about, setting)
    result["seconds"] = round(time.monotonic() - started, 1)
    _show(result)
    report.write(out, result, figures)
    return result


def _check(
    count: int,
    side: int,
    window: int,
    stride: int,
    noise: float,
    estimators: tuple[str, ...],
    methods: tuple[str, ...],
    solver: str,
) -> tuple[str, ...]:
    """The methods asked for, in the order of the tables."""
    if count < 1:
        raise ValueError(f"count is {count}; give 1 or more")
    if window < region.MIN_SIZE:
        raise ValueError(f"window is {window}; of less than {region.MIN_SIZE} px nothing is scored")
    if side < window:
        raise ValueError(f"side is {side}; a window has {window} px, so give that or more")
    if stride < 1:
        raise ValueError(f"stride is {stride}; it is in pixels: give 1 or more")
    if not 0 <= noise < 1:
        raise ValueError(f"noise is {noise}; it is a share of white: give a number in [0, 1)")
    unknown = [name for name in estimators if name not in ESTIMATORS]
    if unknown or not estimators:
        raise ValueError(f"estimators are {estimators}; give at least one, and of {ESTIMATORS}")
    if solver not in deblurring.SOLVERS:
        raise ValueError(f"solver is {solver!r}; give one of {deblurring.SOLVERS}")
    known = _names()
    unknown = [name for name in methods if name not in known]
    if unknown:
        raise ValueError(f"no method is called {unknown}; give some of {known}")
    return tuple(name for name in known if not methods or name in methods)


def _names() -> tuple[str, ...]:
    """All methods."""
    shipped = [name for name in region.SHIPPED if name is not None]
    return (ORACLE, RANDOM, CENTRE, *_CLASSICAL, *shipped, LEARNED, REFINED, *_SEVERAL, WHOLE)


def _networks(methods: Sequence[str], weights: Path | None) -> dict[str, tuple[Any, Any]]:
    found = {
        name: region.load(name) for name in region.SHIPPED if name is not None and name in methods
    }
    if {LEARNED, REFINED, _BEST} & set(methods):
        found[LEARNED] = region.load(weights)
    return found


# Test images.


def _recordings(folder: Path) -> tuple[list[Case], dict[str, Any]]:
    cases, about = deblurring.recorded(folder)
    large = [case for case in cases if min(case.blurred.shape) >= _LEVIN_WINDOW]
    kept = [case for case in large if _fits(case.size, _LEVIN_WINDOW, case.name)]
    if not kept:
        raise ValueError(
            f"levin: no recording in {folder} is left; it takes {_LEVIN_WINDOW} px a side and a "
            f"kernel of at most half that"
        )
    return kept, {
        **about,
        "refused_as_too_small": len(cases) - len(large),
        "kernels_too_large": len(large) - len(kept),
    }


def _crops(
    images: tuple[Path, ...],
    kernels: tuple[Path, ...],
    split: Literal["all", "test", "train"],
    count: int,
    side: int,
    noise: float,
    setting: _Setting,
) -> tuple[list[Case], dict[str, Any]]:
    pool = Photographs(selection.chosen(images, split), setting.seed, least=side)
    unreadable: dict[str, str] = {}
    given = given_kernels(kernels, unreadable) if kernels else _random(count, setting.seed)
    cases: list[Case] = []
    too_large, without = 0, []
    for number in range(count):
        kernel = given[number % len(given)]
        tight = cut(kernel.psf)
        case = Case("", "", kernel.name, tight, tight, tight)
        if not _fits(case.size, setting.window, kernel.name):
            too_large += 1
            continue
        found = pool.for_kernel(len(tight))
        if found is None:
            without.append(kernel.name)
            print(
                f"left out: every photograph is too small for {kernel.name} and crops of {side} px",
                file=sys.stderr,
            )
            continue
        cases.append(deblurring.cropped(number, found, kernel, side, noise, setting.seed))
    if not cases:
        raise ValueError(
            f"crops: no photograph and kernel leave {side} px a side; give larger photographs, "
            "smaller kernels or a smaller --side"
        )
    about = {
        "images": [str(root) for root in images] or ["embedded test photographs"],
        "kernels": [str(root) for root in kernels] or ["random"],
        "split": split,
        "side": side,
        "noise": noise,
        **pool.counts(),
        "kernels_without_photograph": without,
        "kernels_too_large": too_large,
        "unreadable_kernels": unreadable,
    }
    return cases, about


def _random(count: int, seed: int) -> list[Kernel]:
    return shakes(_EXTENTS, count, seed)


def _fits(size: int, window: int, name: str) -> bool:
    """Whether a kernel can be estimated from windows, which have at least twice its array's side;
    says so where it cannot."""
    fits = size <= _SIZES[-1] and 2 * _array(size) <= window
    if not fits:
        print(
            f"left out: {name} has {size} px, too many for windows of {window} px", file=sys.stderr
        )
    return fits


def _array(size: int) -> int:
    """Side of the array that a kernel of that size is estimated in."""
    return next((side for side in _SIZES if side >= size), size)


def _framed(kernel: np.ndarray) -> np.ndarray:
    """A kernel with zeros around it, so that there are few shapes of kernels."""
    margin = (_array(len(kernel)) - len(kernel)) // 2
    return np.pad(kernel, margin).astype(np.float32)


# One image: where the methods look, and how good what they find is.


def _labelled(
    image: np.ndarray, corners: Sequence[Corner], case: Case, window: int, prior: str
) -> dict[Corner, _Found]:
    """What is found in each of some windows."""
    assert case.psf is not None, "only images with a kernel are looked at"
    if not corners:
        return {}
    truth, size = jnp.asarray(_framed(case.psf)), _array(case.size)
    # The last program is filled up: another number of windows would be compiled anew.
    places = np.resize(np.array(corners), (-(-len(corners) // _TOGETHER) * _TOGETHER, 2))
    found: list[_Found] = []
    for i in range(0, len(places), _TOGETHER):
        views = _windows(image, places[i : i + _TOGETHER], window)
        made = region.label(jnp.asarray(views), truth, size=size, prior=prior)
        similarity, kernels = (np.asarray(part) for part in made)
        found += [_Found(float(s), k) for s, k in zip(similarity, kernels, strict=True)]
    return dict(zip(corners, found, strict=False))


def _windows(image: np.ndarray, corners: np.ndarray, side: int) -> np.ndarray:
    seen = np.asarray(image, np.float32)
    return np.stack([seen[r : r + side, c : c + side] for r, c in corners])


def _on_whole(case: Case, prior: str) -> _Found:
    kernel = deblurring.estimated_kernel(
        case.blurred, _array(case.size), starts="plain", prior=prior
    )
    return _Found(deblurring.similarity(case.psf, kernel), kernel)


def _scores(image: np.ndarray, corners: np.ndarray, setting: _Setting) -> dict[str, np.ndarray]:
    """Of each method that scores windows its scores of all in the grid."""
    found = {}
    if setting.classical:
        views = jnp.asarray(_windows(image, corners, setting.window))
        found = {name: np.asarray(score(views)) for name, score in setting.classical.items()}
    for name, (variables, config) in setting.networks.items():
        if name in setting.methods or (name == LEARNED and _BEST in setting.methods):
            found[name] = np.asarray(
                region.scores(image, corners, variables, config, size=setting.window)
            )
    return found


def _refined(image: np.ndarray, setting: _Setting) -> _Choice:
    variables, config = setting.networks[LEARNED]
    said = region.estimate(image, variables, config, size=setting.window)
    if said.status != "ok":
        return _Choice((), None, said.status)
    row, column = (int(x) for x in said.boxes[0][:2])
    return _Choice(((row, column),), float(said.scores[0]))


def _chosen(
    corners: np.ndarray,
    similarities: np.ndarray,
    scores: Mapping[str, np.ndarray],
    shape: tuple[int, ...],
    rng: np.random.Generator,
    setting: _Setting,
) -> dict[str, _Choice]:
    """The choices among the windows of the grid, and the whole image."""
    away = corners + setting.window / 2 - np.array(shape) / 2
    places = {
        ORACLE: int(np.argmax(similarities)),
        RANDOM: int(rng.integers(len(corners))),
        CENTRE: int(np.argmin(np.sum(away**2, axis=1))),
        **{
            name: int(np.argmax(np.where(np.isfinite(some), some, -np.inf)))
            for name, some in scores.items()
        },
    }
    found = {
        name: _Choice((_corner(corners[i]),), float(scores[name][i]) if name in scores else None)
        for name, i in places.items()
    }
    by = {RANDOM: rng.random(len(corners)), **scores}
    for name, judge in _SEVERAL.items():
        if judge in by:
            some = np.where(np.isfinite(by[judge]), by[judge], -np.inf)
            several = _spread(corners, some, setting.window)
            found[name] = _Choice(tuple(_corner(corners[i]) for i in several))
    return {**found, WHOLE: _Choice(())}


def _spread(corners: np.ndarray, scores: np.ndarray, side: int) -> list[int]:
    """The best windows of which none overlaps a better one by more than half either way."""
    free = np.ones(len(corners), bool)
    found: list[int] = []
    while free.any() and len(found) < region.WINDOWS:
        found.append(int(np.argmax(np.where(free, scores, -np.inf))))
        free &= np.abs(corners - corners[found[-1]][None]).max(axis=1) >= side / 2
    return found


def _corner(place: np.ndarray) -> Corner:
    return int(place[0]), int(place[1])


def _row(case: Case, number: int, setting: _Setting) -> tuple[Row, _Seen]:
    image = case.blurred
    grid = region.grid(image.shape, setting.window, setting.stride)
    places = [(int(r), int(c)) for r, c in grid]
    refined = {REFINED: _refined(image, setting)} if REFINED in setting.methods else {}
    first = setting.estimators[0]
    wanted = dict.fromkeys([*places, *(corner for c in refined.values() for corner in c.corners)])
    table = _labelled(image, list(wanted), case, setting.window, first)
    similarities = np.array([table[place].similarity for place in places])
    scores = _scores(image, grid, setting)
    # Of its own: the one of the crop has another.
    rng = np.random.default_rng((setting.seed, number, 1))
    choices = _chosen(grid, similarities, scores, image.shape, rng, setting) | refined
    choices = {name: choices[name] for name in setting.methods}
    row: Row = {
        "name": case.name,
        "photograph": case.photograph,
        "kernel": case.kernel,
        "image": list(image.shape),
        "window": setting.window,
        "size": case.size,
        "array": _array(case.size),
        "similarities": similarities.tolist(),
        "rank_correlation": {
            name: rank_correlation(some, similarities) for name, some in scores.items()
        },
        "answers": {},
    }
    assert case.psf is not None, "as above"
    truth = deblurring.restored(setting.solver, image, _framed(case.psf))
    least = deblurring.quality(truth, case.sharp).ssd
    kernels = {}
    for prior in setting.estimators:
        some = {n: c for n, c in choices.items() if prior == first or n != ORACLE}
        found = _looked(case, some, table if prior == first else {}, setting, prior)
        row["answers"][prior] = _answers(case, some, found, least, setting)
        if prior == first:
            _complete(row["answers"][prior], similarities)
            kernels = {name: found[choice.corners].kernel for name, choice in some.items()}
    return row, _Seen(choices, kernels)


def _looked(
    case: Case,
    choices: Mapping[str, _Choice],
    known: Mapping[Corner, _Found],
    setting: _Setting,
    prior: str,
) -> dict[tuple[Corner, ...], _Found]:
    """What is found wherever a method wants to look; each place once."""
    wanted = dict.fromkeys(choice.corners for choice in choices.values())
    places = dict.fromkeys(corner for corners in wanted for corner in corners)
    missing = [corner for corner in places if corner not in known]
    single = {**known, **_labelled(case.blurred, missing, case, setting.window, prior)}
    return {
        corners: _common(case, [single[corner] for corner in corners])
        if corners
        else _on_whole(case, prior)
        for corners in wanted
    }


def _common(case: Case, found: Sequence[_Found]) -> _Found:
    """What is found in some windows together."""
    if len(found) == 1:
        return found[0]
    kernel = np.asarray(_consensus(jnp.asarray(np.stack([one.kernel for one in found]))).kernel)
    return _Found(deblurring.similarity(case.psf, kernel), kernel)


_consensus = jax.jit(deconvolution.consensus)


def _answers(
    case: Case,
    choices: Mapping[str, _Choice],
    found: Mapping[tuple[Corner, ...], _Found],
    least: float,
    setting: _Setting,
) -> dict[str, Any]:
    """How good each method's kernel is; the same window restores the image once."""
    made = {
        corners: deblurring.quality(
            deblurring.restored(setting.solver, case.blurred, one.kernel), case.sharp
        )
        for corners, one in found.items()
    }
    answers: dict[str, Any] = {}
    for name, choice in choices.items():
        one, good = found[choice.corners], made[choice.corners]
        answers[name] = {
            "status": choice.status,
            "corners": [list(corner) for corner in choice.corners],
            "score": choice.score,
            "similarity": one.similarity,
            "good": float(one.similarity > region.THRESHOLD),
            "psnr": good.psnr,
            # Without any error of the true kernel's there is nothing to compare with.
            "ratio": good.ssd / least if least > 0 else None,
            "regret": None,
        }
    return answers


def _complete(answers: dict[str, Any], similarities: np.ndarray) -> None:
    """What only the grid tells: regrets, and what to expect of a random window."""
    if RANDOM in answers:
        answers[RANDOM] |= {
            "drawn_similarity": answers[RANDOM]["similarity"],
            "similarity": float(similarities.mean()),
            "good": float(np.mean(similarities > region.THRESHOLD)),
        }
    for answer in answers.values():
        answer["regret"] = float(similarities.max()) - answer["similarity"]


def rank_correlation(scores: np.ndarray, similarities: np.ndarray) -> float | None:
    """Spearman's, equal values sharing their ranks; None if either is constant.

    Args:
        scores, similarities: (n,).
    """
    from scipy.stats import rankdata

    ranks = [rankdata(some) for some in (scores, similarities)]
    if min(np.ptp(some) for some in ranks) == 0:
        return None
    return float(np.corrcoef(*ranks)[0, 1])


# One part: every method on every image, and the numbers.


def _part(
    part: str, cases: Sequence[Case], setting: _Setting, timing: bool, out: Path
) -> tuple[dict[str, Any], list[Path]]:
    rows: list[Row] = []
    shown: list[_Seen] = []
    for number, case in enumerate(cases):
        _programs.make_room()
        row, seen = _row(case, number, setting)
        rows.append(row)
        shown.append(seen)
        print(
            f"{part}: {len(rows)} of {len(cases)} images, {len(row['similarities'])} windows each",
            file=sys.stderr,
            flush=True,
        )
    pooled = np.concatenate([row["similarities"] for row in rows])
    made: dict[str, Any] = {
        "n": len(rows),
        "window": setting.window,
        "stride": setting.stride,
        "grid": {
            "windows": len(pooled),
            "good": float(np.mean(pooled > region.THRESHOLD)),
            "median": float(np.median(pooled)),
        },
        "estimators": {
            prior: {
                "methods": {name: summary(rows, prior, name) for name in rows[0]["answers"][prior]},
                "paired": {
                    f"{one} minus {other}": paired(rows, prior, one, other)
                    for one, other in _pairs(rows[0]["answers"][prior])
                },
            }
            for prior in setting.estimators
        },
        "timing": _timing(cases, setting) if timing and LEARNED in setting.networks else [],
        "rows": rows,
    }
    return made, _figures(part, made, cases, shown, setting, out)


def _pairs(methods: Iterable[str]) -> list[tuple[str, str]]:
    there = list(methods)
    pairs = []
    if LEARNED in there:
        pairs = [(LEARNED, name) for name in there if name not in (LEARNED, *_SEVERAL)]
    pairs += [(REFINED, WHOLE)] if {REFINED, WHOLE} <= set(there) else []
    others = (*_CLASSICAL, "gabor", RANDOM, CENTRE, LEARNED, *_SEVERAL, WHOLE)
    if _BEST in there:
        pairs += [(_BEST, name) for name in others if name in there and name != _BEST]
    return list(dict.fromkeys(pairs))


def summary(rows: Sequence[Row], prior: str, method: str) -> dict[str, Any]:
    """Every number of one method by one estimator, from the rows of `report.json`.

    Returns:
        n; refused, the images in which the method found no window; mean similarity; good, the share
        above the threshold; success by the bound (None where no ratio is known); mean psnr in dB;
        mean regret and mean rank_correlation, None where nothing is known of them.
    """
    answers = [row["answers"][prior][method] for row in rows]
    ratios = np.array([some["ratio"] for some in answers if some["ratio"] is not None], float)
    regrets = [some["regret"] for some in answers if some["regret"] is not None]
    ranks = [row["rank_correlation"].get(method) for row in rows]
    known = [rank for rank in ranks if rank is not None]
    return {
        "n": len(answers),
        "refused": sum(some["status"] != "ok" for some in answers),
        "similarity": float(np.mean([some["similarity"] for some in answers])),
        "good": float(np.mean([some["good"] for some in answers])),
        "success": (
            {str(bound): float(np.mean(ratios <= bound)) for bound in _SUCCESS}
            if len(ratios)
            else None
        ),
        "psnr": float(np.mean([some["psnr"] for some in answers])),
        "regret": float(np.mean(regrets)) if regrets else None,
        # The order that the labels have; those are the first estimator's.
        "rank_correlation": float(np.mean(known)) if known and regrets else None,
    }


def paired(rows: Sequence[Row], prior: str, one: str, other: str) -> dict[str, Any]:
    """By how much one method is better than another on the same images.

    Returns:
        n, and of similarity and of success (by the bound; 1 for success, 0 for none) the mean
        difference with its 95 % interval, None of fewer than two photographs.
    """
    both = [(row["answers"][prior][one], row["answers"][prior][other]) for row in rows]
    clusters = [row["photograph"] for row in rows]
    known = [i for i, pair in enumerate(both) if None not in (pair[0]["ratio"], pair[1]["ratio"])]
    return {
        "n": len(rows),
        "similarity": _difference([a["similarity"] - b["similarity"] for a, b in both], clusters),
        "success": {
            str(bound): _difference(
                [
                    float(both[i][0]["ratio"] <= bound) - float(both[i][1]["ratio"] <= bound)
                    for i in known
                ],
                [clusters[i] for i in known],
            )
            for bound in _COMPARED
        },
    }


def _difference(values: Sequence[float], clusters: Sequence[str]) -> dict[str, Any] | None:
    if not values:
        return None
    gain = np.array(values)
    return {"mean": float(gain.mean()), "interval": deblurring.bootstrap(gain, clusters)}


def _timing(cases: Sequence[Case], setting: _Setting) -> list[dict[str, Any]]:
    by_shape: dict[tuple[int, ...], list[Case]] = {}
    for case in sorted(cases, key=lambda case: case.size):
        by_shape.setdefault(case.blurred.shape, []).append(case)
    return [_timed(some[(len(some) - 1) // 2], setting) for some in by_shape.values()]


def _timed(case: Case, setting: _Setting) -> dict[str, Any]:
    """What estimation takes on the whole image, and in a window that has to be found first."""
    variables, config = setting.networks[LEARNED]
    image, size = case.blurred, _array(case.size)
    # Any will do: it takes as long in all of them.
    window = image[: setting.window, : setting.window]

    def kernel(seen: np.ndarray) -> np.ndarray:
        prior = setting.estimators[0]
        return deblurring.estimated_kernel(seen, size, starts="plain", prior=prior)

    whole = _seconds(lambda: kernel(image))
    select = _seconds(lambda: region.estimate(image, variables, config, size=setting.window))
    part = _seconds(lambda: kernel(window))
    several = _seconds(
        lambda: region.estimate_kernel(
            image, variables, config, size=size, window=setting.window, prior=setting.estimators[0]
        )
    )
    return {
        "image": list(image.shape),
        "size": size,
        "whole": whole,
        "select": select,
        "window": part,
        "ratio": (select + part) / whole,
        "several": several,
        "several_ratio": several / whole,
    }


def _seconds(call: Callable[[], Any]) -> float:
    """Of a call, once it is compiled."""
    call()
    taken = []
    for _ in range(_TIMED):
        before = time.perf_counter()
        call()
        taken.append(time.perf_counter() - before)
    return statistics.median(taken)


# Pictures and tables.


def _figures(
    part: str,
    made: dict[str, Any],
    cases: Sequence[Case],
    shown: Sequence[_Seen],
    setting: _Setting,
    out: Path,
) -> list[Path]:
    rows, first = made["rows"], setting.estimators[0]
    written = []
    for prior, some in made["estimators"].items():
        ratios = {
            name: [row["answers"][prior][name]["ratio"] for row in rows] for name in some["methods"]
        }
        known = {
            name: np.array([r for r in values if r is not None])
            for name, values in ratios.items()
            if any(r is not None for r in values)
        }
        if known:
            title = f"{part}, {prior}: error over that of {setting.solver} with the true kernel"
            figure = plots.success_curve(known, title=title)
            written.append(plots.save(figure, out / f"success_curve_{part}_{prior}.png"))
    judge = next(m for m in (LEARNED, REFINED, *setting.methods) if m in setting.methods)
    order = np.argsort([row["answers"][first][judge]["regret"] for row in rows], kind="stable")
    picked = dict.fromkeys(int(order[i]) for i in (0, (len(order) - 1) // 2, len(order) - 1))
    figure = plots.window_sheet(
        [_sheet_row(rows[i], cases[i], shown[i], setting) for i in picked],
        title=f"{part}, {first}: least, median and largest regret of {judge}, of n = {len(rows)}",
    )
    written.append(plots.save(figure, out / f"windows_{part}.png"))
    shifted = _shifted(rows, cases, setting)
    if shifted is not None:
        figure = plots.window_sheet(
            [shifted],
            title=f"{part}, {first}: windows of {setting.window} px, {_SHIFT} px apart, of largest "
            f"spread in n = {len(rows)}",
        )
        written.append(plots.save(figure, out / f"shifted_{part}.png"))
    return written


def _sheet_row(row: Row, case: Case, seen: _Seen, setting: _Setting) -> plots.Selected:
    answers = row["answers"][setting.estimators[0]]
    # Of a random window the mean is no number of its kernel.
    similar = {name: a.get("drawn_similarity", a["similarity"]) for name, a in answers.items()}
    return plots.Selected(
        caption=f"{row['name']}, kernel {row['size']} px",
        blurred=case.blurred,
        boxes={
            name: (*choice.corners[0], setting.window, setting.window)
            for name, choice in seen.choices.items()
            if len(choice.corners) == 1
        },
        kernels=seen.kernels,
        truth=case.psf,
        notes={
            name: f"similarity {similar[name]:.2f}\nratio {_number(answer['ratio'])}"
            for name, answer in answers.items()
        },
    )


def _shifted(
    rows: Sequence[Row], cases: Sequence[Case], setting: _Setting
) -> plots.Selected | None:
    """Windows side by side that give unlike kernels: where two neighbours of a grid differ most."""
    steepest: tuple[float, int, Corner, Corner] | None = None
    for number, (row, case) in enumerate(zip(rows, cases, strict=True)):
        grid = region.grid(case.blurred.shape, setting.window, setting.stride)
        similar = {(int(r), int(c)): s for (r, c), s in zip(grid, row["similarities"], strict=True)}
        for (r, c), s in similar.items():
            for step in ((0, 1), (1, 0)):
                other = (r + step[0] * setting.stride, c + step[1] * setting.stride)
                spread = abs(s - similar.get(other, s))
                if steepest is None or spread > steepest[0]:
                    steepest = spread, number, (r, c), step
    if steepest is None:
        return None
    _, number, start, step = steepest
    case, prior = cases[number], setting.estimators[0]
    # From before the first of the two to beyond the second, in one program.
    line = [
        (start[0] + step[0] * _SHIFT * i, start[1] + step[1] * _SHIFT * i)
        for i in range(-2, _TOGETHER - 2)
    ]
    room = [n - setting.window for n in case.blurred.shape]
    line = [(r, c) for r, c in line if 0 <= r <= room[0] and 0 <= c <= room[1]]
    if len(line) < _SHOWN:
        return None
    found = _labelled(case.blurred, line, case, setting.window, prior)
    similarities = [found[corner].similarity for corner in line]
    spreads = [np.ptp(similarities[i : i + _SHOWN]) for i in range(len(line) - _SHOWN + 1)]
    begin = int(np.argmax(spreads))
    four = dict(zip("abcd", line[begin : begin + _SHOWN], strict=True))
    return plots.Selected(
        caption=f"{case.name}, kernel {case.size} px",
        blurred=case.blurred,
        boxes={name: (*corner, setting.window, setting.window) for name, corner in four.items()},
        kernels={name: found[corner].kernel for name, corner in four.items()},
        truth=case.psf,
        notes={name: f"similarity {found[corner].similarity:.2f}" for name, corner in four.items()},
    )


def _show(result: dict[str, Any]) -> None:
    for part, made in result["parts"].items():
        grid = made["grid"]
        lost = len(made["unreadable"]) + len(made.get("unreadable_kernels", ()))
        heading = f"{part}: n = {made['n']} images, windows of {made['window']} px"
        if lost:
            heading += f"; {lost} files could not be read"
        if made.get("refused_as_too_small"):
            heading += f"; too small photographs refused: {made['refused_as_too_small']}"
        print(
            f"{part}: {_percent(grid['good'])} % of {grid['windows']} windows are good (similarity "
            f"above {result['threshold']}), median similarity {grid['median']:.2f}"
        )
        for prior, some in made["estimators"].items():
            report.table(
                f"{heading}\nkernels by {prior} (error ratio: over {result['solver']} with the "
                "true kernel)",
                [
                    "method", "similarity\nmean", f"above\n{result['threshold']}, %",
                    *(f"ratio\n<= {bound}, %" for bound in _SUCCESS),
                    "PSNR\nmean, dB", "regret", "rank\ncorrelation", "refused",
                ],
                [_line(name, numbers) for name, numbers in some["methods"].items()],
            )  # fmt: skip
            if some["paired"]:
                report.table(
                    f"{part}, {prior}: differences on the same images, 95 % interval",
                    ["", "similarity", *(f"success at {bound}, %" for bound in _COMPARED)],
                    [
                        [
                            name,
                            _gain(gain["similarity"], 1, 3),
                            *(_gain(gain["success"][str(bound)], 100, 0) for bound in _COMPARED),
                        ]
                        for name, gain in some["paired"].items()
                    ],
                )
        if made["timing"]:
            report.table(
                f"{part}: seconds ({result['machine']})",
                [
                    "image", "kernel,\npx", "whole\nimage", "select", "window", "ratio",
                    f"{region.WINDOWS}\nwindows", "ratio",
                ],
                [
                    [
                        "{1} x {0}".format(*one["image"]),
                        str(one["size"]),
                        *(f"{one[name]:.2f}" for name in _TIMES),
                    ]
                    for one in made["timing"]
                ],
            )  # fmt: skip


_TIMES = ("whole", "select", "window", "ratio", "several", "several_ratio")


def _line(name: str, some: Mapping[str, Any]) -> list[str]:
    success = some["success"]
    return [
        name,
        f"{some['similarity']:.3f}",
        _percent(some["good"]),
        *(_percent(success[str(bound)] if success else None) for bound in _SUCCESS),
        f"{some['psnr']:.2f}",
        _number(some["regret"], 3),
        _number(some["rank_correlation"]),
        str(some["refused"]),
    ]


def _gain(some: Mapping[str, Any] | None, factor: float, digits: int) -> str:
    """A mean difference with its interval."""
    if some is None:
        return ""
    said = f"{factor * some['mean']:+.{digits}f}"
    if some["interval"] is None:
        return said
    low, high = (factor * end for end in some["interval"])
    return f"{said} ({low:+.{digits}f} to {high:+.{digits}f})"


def _number(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.0f}"
