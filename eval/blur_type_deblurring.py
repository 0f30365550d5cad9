"""Photographs deblurred with the blur that blur_type sees in them (Yan & Shao's comparison)."""

import functools
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

import blurjax
from blurjax import blur_type, plots, psf
from blurjax.blur_type import LABELS
from blurjax.weights import WeightsError
from eval import deblurring, report
from eval import photographs as selection
from eval.blurred import Photographs

Row = dict[str, Any]

# The published figure's motion, and blurs of the other types that look about as strong.
_BLURS: dict[str, dict[str, float]] = {
    "motion": {"length": 10.0, "angle": math.pi / 4},
    "gaussian": {"sigma": 2.0},
    "defocus": {"radius": 4.0},
}
# Of the kernel that blurs, whichever type it is: photographs of one size are compiled once.
_KERNEL = 17
# Kernels of stated parameters get the least of these that holds them, for the same reason.
_SIZES = (17, 33, 65)
_FITTED = 63
_LEAST = 128
_EVERY = 5
_DETAIL = 96

_BLURRED, _TRUE = "blurred", "true parameters"
_ESTIMATED, _PUBLISHED = "blur_type", "published network"
_FIT, _BLIND = "fit_blind", "blind kernel"
_METHODS = (_BLURRED, _TRUE, _ESTIMATED, _PUBLISHED, _FIT, _BLIND)

RULES = {
    "blur": "of the encoded values; only pixels that see nothing outside the crop; then noise, "
    "8 bits",
    "true parameters": "the kernel that blurred, so the best that an answer can reach",
    "blur_type": "type and parameters from blur_type.estimate: patches read by the network and the "
    "GRNNs, weighed by the judge, then the spectrum of the photograph",
    "published network": "likewise with the weights of the published network, without the judge "
    "and the spectrum: means and medians over the patches alone, and always one of the types",
    "fit_blind": "the type and parameters whose spectrum fits best, by blurjax.fit_blind",
    "blind kernel": "deconvolution.estimate_kernel, told the size of the true kernel and nothing "
    "of its type",
    "no answer": "where an answer names no blur or there is none, the photograph is kept as it is, "
    "and scored so",
    "psnr, ssim": deblurring.RULES["registration"] + "; " + deblurring.RULES["ssim"],
    "interval": deblurring.RULES["interval"] + "; of the gain over the blurred photograph",
}


class _Answer(NamedTuple):
    """What a method says about a photograph."""

    kernel: np.ndarray | None
    """(k, k); None where the photograph is kept as it is."""
    label: str | None = None
    parameters: dict[str, float] | None = None


class _Shown(NamedTuple):
    """What the figure may show of one photograph."""

    row: Row
    sharp: np.ndarray
    images: dict[str, np.ndarray]


def evaluate(
    images: tuple[Path, ...] = (),
    out: Path = Path("out/eval_blur_type_deblurring"),
    split: Literal["all", "test", "train"] = "all",
    blurs: tuple[Literal["motion", "gaussian", "defocus"], ...] = ("motion",),
    count: int = 10,
    side: int = 255,
    noise: float = 0.0,
    methods: tuple[str, ...] = (),
    solver: deblurring.Solver = "total_variation",
    weights: Path | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Photographs of a known blur, restored with what each method says about it.

    Published: a motion of length 10 and angle 45 degrees (`--blurs motion`), restored with the
    parameters of the network and the GRNN, beside general blind deconvolution. Here also a Gaussian
    of 2 px and a disc of radius 4 px. All kernels are used with the same non-blind solver.

    Args:
        images: folders of sharp photographs; none for the test photographs inside scikit-image.
        out: folder for report.json and the figures.
        split: "test" keeps of `images` only the tenth that training on the same folders never
            looks at, "train" the eight tenths that it learns from.
        blurs: some of motion, gaussian, defocus.
        count: how many photographs, at most; picked at random.
        side: of the blurred crops, in pixels, from a random place; less where there is less.
        noise: its standard deviation in units of white.
        methods: some of blurred, "true parameters", blur_type, "published network", fit_blind,
            "blind kernel"; none for all.
        solver: of `blurjax.deconvolution`, at its default.
        weights: a weights file or checkpoint for blur_type; default the shipped weights.
        seed: of everything random.

    Returns:
        What report.json holds.

    Raises:
        ImageError: a folder is missing or holds no image.
        WeightsError: the weights given are missing or damaged.
        ValueError: no photograph is left, or an option is out of range.

    Source: Yan & Shao, TIP 2016, as reviewed in the seed; the solver is our choice, which the
        review calls unspecified.
    """
    started = time.monotonic()
    _check(blurs, count, side, noise, methods)
    asked = tuple(dict.fromkeys(methods or _METHODS))
    left_out: dict[str, str] = {}
    says = _sayers(asked, weights, left_out)
    result: dict[str, Any] = {
        "protocol": "blur_type_deblurring",
        "images": [str(root) for root in images] or ["embedded test photographs"],
        "split": split,
        "weights": str(weights or "shipped"),
        "side": side,
        "noise": noise,
        "solver": solver,
        "seed": seed,
        "rules": RULES,
        "blurs": {},
        "left_out": left_out,
    }
    sharp, counts = _photographs(selection.chosen(images, split), count, side, seed)
    result |= counts
    written = []
    for label in dict.fromkeys(blurs):
        shown = [
            _restored(name, image, label, says, solver, (side, noise, seed, number))
            for number, (name, image) in enumerate(sharp)
        ]
        result["blurs"][label] = _numbers(label, [some.row for some in shown], tuple(says))
        title = f"{_words(label, _BLURS[label])}, {solver}"
        figure = _figure(shown, title, tuple(says))
        written.append(plots.save(figure, out / f"comparison_{label}.png"))
    result["seconds"] = round(time.monotonic() - started, 1)
    _show(result)
    report.write(out, result, written)
    return result


def _check(
    blurs: tuple[str, ...], count: int, side: int, noise: float, methods: tuple[str, ...]
) -> None:
    if not blurs:
        raise ValueError(f"no blur was given; give some of {tuple(_BLURS)}")
    if count < 1:
        raise ValueError(f"count is {count}; give 1 or more")
    if side < _LEAST:
        raise ValueError(f"side is {side}; blur_type and the scores need {_LEAST} px or more")
    if not 0 <= noise < 1:
        raise ValueError(f"noise is {noise}; it is a share of white: give a number in [0, 1)")
    unknown = [method for method in methods if method not in _METHODS]
    if unknown:
        raise ValueError(f"no method is called {unknown}; give some of {_METHODS}")


def _photographs(
    source: Any, count: int, side: int, seed: int
) -> tuple[list[tuple[str, np.ndarray]], dict[str, Any]]:
    """Each photograph once, in random order, as many as were asked for."""
    pool = Photographs(source, seed, least=min(side, _LEAST))
    found: dict[str, np.ndarray] = {}
    while len(found) < count:
        one = pool.for_kernel(_KERNEL)
        # The pool begins again after the last.
        if one is None or one[0] in found:
            break
        found[one[0]] = one[1]
    if not found:
        raise ValueError(
            f"no photograph can be read and has {_LEAST + _KERNEL - 1} px a side; give other images"
        )
    return list(found.items()), pool.counts()


# What the methods say.

_Sayer = Callable[[np.ndarray, str], _Answer]


def _sayers(
    methods: Sequence[str], weights: Path | None, left_out: dict[str, str]
) -> dict[str, _Sayer]:
    """Of each method what answers; one without weights is left out."""
    given: dict[str, _Sayer] = {
        _BLURRED: lambda image, label: _Answer(None),
        _TRUE: lambda image, label: _Answer(_true_kernel(label), label, _BLURS[label]),
        _FIT: _fitted,
        _BLIND: _blind,
    }
    out: dict[str, _Sayer] = {}
    for method in methods:
        if method in given:
            out[method] = given[method]
            continue
        try:
            loaded = blur_type.load(weights if method == _ESTIMATED else "published")
        except WeightsError as error:
            # Those that were asked for by name are an error.
            if method == _ESTIMATED and weights is not None:
                raise
            left_out[method] = str(error)
            continue
        variables, config = loaded
        if method == _PUBLISHED:
            # Without the judge `estimate` ends where the publication does: at the patches.
            variables = {name: part for name, part in variables.items() if name != "judge"}
        out[method] = functools.partial(_seen, variables, config)
    if not out:
        reasons = "; ".join(left_out.values())
        raise ValueError(f"none of the methods {', '.join(methods)} can answer: {reasons}")
    return out


def _true_kernel(label: str) -> np.ndarray:
    return _rendered(label, _BLURS[label], _KERNEL)


def _seen(variables: Any, config: Any, image: np.ndarray, label: str) -> _Answer:
    said = blur_type.estimate(image, variables, config)
    if said.status != "ok" or said.label not in LABELS:
        return _Answer(None, said.label, dict(said.parameters))
    kernel = stated_kernel(said.label, said.parameters)
    return _Answer(kernel, said.label, dict(said.parameters))


def _fitted(image: np.ndarray, label: str) -> _Answer:
    fit = blurjax.fit_blind(image, family="all", size=_FITTED)
    parameters = {name: float(value) for name, value in fit.parameters.items()}
    if not all(map(math.isfinite, parameters.values())):
        return _Answer(None, fit.family, parameters)
    return _Answer(stated_kernel(fit.family, parameters), fit.family, parameters)


def _blind(image: np.ndarray, label: str) -> _Answer:
    true = deblurring.Case("", "", "", image, image, _true_kernel(label))
    return _Answer(deblurring.estimated_kernel(image, true.size))


def stated_kernel(label: str, parameters: dict[str, float]) -> np.ndarray:
    """The kernel (k, k) of a blur, in the least of a few sizes that holds 99.9 % of it (host)."""
    needed = max(psf.support(label, *map(np.float32, parameters.values()), mass=0.999), 3)
    size = next((size for size in _SIZES if size >= needed), needed)
    return _rendered(label, parameters, size)


def _rendered(label: str, parameters: dict[str, float], size: int) -> np.ndarray:
    return np.asarray(getattr(psf, label)(*map(np.float32, parameters.values()), size=size))


# One photograph.


def _restored(
    name: str,
    image: np.ndarray,
    label: str,
    says: dict[str, _Sayer],
    solver: str,
    options: tuple[int, float, int, int],
) -> _Shown:
    side, noise, seed, number = options
    # Keyed by the photograph's place: all blurs see the same crop and the same draw of noise.
    key = jax.random.fold_in(jax.random.key(seed), number)
    rng = np.random.default_rng((seed, number))
    blurred, sharp = deblurring.crop_and_blur(image, _true_kernel(label), side, noise, key, rng)
    row: Row = {"photograph": name, "image": list(blurred.shape), "answers": {}}
    versions = {}
    for method, say in says.items():
        answer = say(blurred, label)
        version = (
            blurred
            if answer.kernel is None
            else deblurring.restored(solver, blurred, answer.kernel)
        )
        versions[method] = np.clip(version, 0, 1)
        made = deblurring.quality(version, sharp)
        row["answers"][method] = {
            "psnr": made.psnr,
            "ssim": made.ssim,
            "shift": list(made.shift),
            "kept": answer.kernel is None,
            "label": answer.label,
            "parameters": answer.parameters,
            "similarity": (
                None
                if answer.kernel is None
                else deblurring.similarity(_true_kernel(label), answer.kernel)
            ),
        }
    if (number + 1) % _EVERY == 0:
        print(f"{label}: {number + 1} photographs restored", file=sys.stderr)
    return _Shown(row, sharp, versions)


# The numbers, a picture and tables.


def _numbers(label: str, rows: list[Row], methods: Sequence[str]) -> dict[str, Any]:
    return {
        "truth": _BLURS[label],
        "n": len(rows),
        "methods": {method: summary(rows, method, label) for method in methods},
        "rows": rows,
    }


def summary(rows: Sequence[Row], method: str, label: str) -> dict[str, Any]:
    """Every number of one method on photographs of one blur.

    Args:
        rows: as in `report.json`.
        method: one that they have answers of.
        label: the true type.

    Returns:
        Means and medians of psnr in dB and ssim; the gain over the blurred photograph with its
        interval, None where that was left out; kept, the share of photographs without an answer;
        right, the share of those whose type is the true one, None of a method that names no type;
        the median absolute errors of the parameters where it is right.
    """
    answers = [row["answers"][method] for row in rows]
    psnr = np.array([some["psnr"] for some in answers])
    ssim = np.array([some["ssim"] for some in answers])
    alike = [some["similarity"] for some in answers if some["similarity"] is not None]
    gain = None
    if method != _BLURRED and all(_BLURRED in row["answers"] for row in rows):
        gain = deblurring.paired(rows, method, _BLURRED)
    labels = [some["label"] for some in answers]
    right = [some["parameters"] for some in answers if some["label"] == label]
    return {
        "n": len(rows),
        "psnr": {"mean": float(psnr.mean()), "median": float(np.median(psnr))},
        "ssim": {"mean": float(ssim.mean()), "median": float(np.median(ssim))},
        "gain": gain,
        "kept": float(np.mean([some["kept"] for some in answers])),
        "similarity": float(np.mean(alike)) if alike else None,
        "said": {str(name): labels.count(name) for name in sorted({s for s in labels if s})},
        "right": None if None in labels else float(np.mean([s == label for s in labels])),
        "errors": _errors(label, right) if right else None,
    }


def _errors(label: str, found: Sequence[dict[str, float]]) -> dict[str, float]:
    """Median absolute errors, in pixels and degrees."""
    out = {}
    for name, true in _BLURS[label].items():
        off = np.array([one[name] for one in found]) - true
        if name == "angle":
            off = np.degrees((off + np.pi / 2) % np.pi - np.pi / 2)
        out[name] = float(np.median(np.abs(off)))
    return out


def _figure(shown: Sequence[_Shown], title: str, methods: Sequence[str]) -> Any:
    """The photograph of median gain by blur_type, or by the last method if that is left out."""
    leading = _ESTIMATED if _ESTIMATED in methods else methods[-1]
    base = _BLURRED if _BLURRED in methods else methods[0]
    gain = [
        some.row["answers"][leading]["psnr"] - some.row["answers"][base]["psnr"] for some in shown
    ]
    some = shown[int(np.argsort(gain, kind="stable")[(len(gain) - 1) // 2])]
    captions = ["ground truth\n"]
    for method in methods:
        answer = some.row["answers"][method]
        kept = ", kept as it is" if answer["kept"] and method != _BLURRED else ""
        captions.append(f"{method}{kept}\n{answer['psnr']:.1f} dB, SSIM {answer['ssim']:.2f}")
    side = min(_DETAIL, *some.sharp.shape)
    return plots.comparison(
        [some.sharp, *some.images.values()],
        captions,
        (*deblurring.richest(some.sharp, side), side),
        title=f"{some.row['photograph']}: {title}; of n = {len(shown)} photographs the one of "
        "median gain",
    )


def _words(label: str, parameters: dict[str, float]) -> str:
    return str(plots.Blur(label, parameters))


def _show(result: dict[str, Any]) -> None:
    for label, made in result["blurs"].items():
        report.table(
            f"{_words(label, made['truth'])}, noise {result['noise']:g}: n = {made['n']} "
            f"photographs, {len(result['unreadable'])} unreadable\n({result['solver']} with each "
            "kernel; means; gain over the blurred photograph with its 95 % interval)",
            [
                "kernel from", "PSNR, dB", "SSIM", "gain, dB", "kernel\nsim.", "type\nright, %",
                "kept, %", "median errors",
            ],
            [_line(name, some) for name, some in made["methods"].items()],
        )  # fmt: skip
    for method, reason in result["left_out"].items():
        print(f"left out, {method}: {reason}")


def _line(name: str, some: dict[str, Any]) -> list[str]:
    gain = ""
    if some["gain"] is not None:
        gain = f"{some['gain']['mean']:+.2f}"
        if some["gain"]["interval"] is not None:
            low, high = some["gain"]["interval"]
            gain += f" ({low:+.2f} to {high:+.2f})"
    errors = some["errors"] if name != _TRUE else None
    return [
        name,
        f"{some['psnr']['mean']:.2f}",
        f"{some['ssim']['mean']:.3f}",
        gain,
        "" if some["similarity"] is None else f"{some['similarity']:.2f}",
        "" if some["right"] is None or name == _TRUE else f"{100 * some['right']:.0f}",
        "" if name == _BLURRED else f"{100 * some['kept']:.0f}",
        "\n".join(
            f"{key} {value:.1f}°" if key == "angle" else f"{key} {value:.2f} px"
            for key, value in errors.items()
        )
        if errors
        else "",
    ]
