"""How well `blurjax.fit_blind` measures a blur that nobody told it about."""

import functools
import sys
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import blurjax
from blurjax import blur_type, data, imaging, metrics, plots, psf
from blurjax.blur_type import LABELS
from eval import photographs as selection
from eval import report

# One kernel size for all blurs, and one for all fits: each is compiled once.
_KERNEL, _SIZE = 41, 63
# The least image that `fit_blind` accepts at that size.
_LEAST = 64
_RANGES = {
    "gaussian": {"sigma": (0.6, 4.0)},
    "motion": {"length": (4.0, 25.0), "angle": (0.0, np.pi)},
    "defocus": {"radius": (1.5, 8.0)},
}
_PRIOR = "the prior of fit_blind (spectra of sharp photographs) is from 22 development photographs"
_EVERY = 5


class _Case(NamedTuple):
    """One blurred photograph: the truth, and what each family's fit said."""

    photograph: str
    label: str
    truth: dict[str, float]
    found: dict[str, dict[str, float]]
    errors: dict[str, dict[str, float]]
    """Standard errors, as stated."""
    loss: dict[str, float]
    seconds: dict[str, float]

    @property
    def said(self) -> str:
        # A fit that came to nothing has no finite loss, and is not to win by it.
        return min(LABELS, key=lambda name: float(np.nan_to_num(self.loss[name], nan=np.inf)))


def evaluate(
    images: tuple[Path, ...] = (),
    out: Path = Path("out/eval_fit_blind"),
    split: Literal["all", "test"] = "all",
    crop: int = 300,
    noise: float = 0.0,
    photographs: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Parameters and type by `blurjax.fit_blind`, from blurred photographs alone.

    The centre of every photograph is blurred once by each type (sigma 0.6-4, length 4-25 at any
    angle, radius 1.5-8, uniform; only pixels that no boundary rule touches are kept, which costs
    20 of the crop on every side), made an 8-bit image, and fitted by each family. The type is the
    family of least loss. The prior of `fit_blind`, what the spectrum of a sharp photograph looks
    like, was measured on 22 development photographs: of folders that hold them the numbers are a
    little too good.

    Args:
        images: folders of sharp photographs; none for the test photographs inside scikit-image.
        out: folder for report.json and the figure.
        split: "test" keeps only the tenth that training on the same folders never looks at.
        crop: side of the sharp square in pixels, at least 104; smaller photographs are skipped and
            counted.
        noise: standard deviation of Gaussian noise before quantisation, in 1/255.
        photographs: at most so many, picked at random; default all.
        seed: of everything random.

    Returns:
        What report.json holds.

    Raises:
        ImageError: a folder is missing or holds no image.
        ValueError: no photograph is left, or an option is out of range.
    """
    started = time.monotonic()
    if crop < _LEAST + _KERNEL - 1:
        raise ValueError(
            f"crop is {crop}; the blur takes {_KERNEL - 1} pixels of it and the fit needs "
            f"{_LEAST}, so give at least {_LEAST + _KERNEL - 1}"
        )
    if noise < 0 or (photographs is not None and photographs < 1):
        raise ValueError(
            f"noise is {noise} and photographs is {photographs}; give noise >= 0, photographs >= 1"
        )
    source = selection.chosen(images, split)
    cases, skipped = _measured(source, crop, noise, photographs, seed)
    result: dict[str, Any] = {
        "protocol": "fit_blind",
        "images": [str(root) for root in images] or ["embedded test photographs"],
        "split": split,
        "photographs": len(cases) // len(LABELS),
        "skipped": skipped,
        "crop": crop,
        "observed": crop - _KERNEL + 1,
        "noise_255": noise,
        "observation": "8-bit, valid part of the blur",
        "ranges": _RANGES,
        "size": _SIZE,
        "prior": _PRIOR,
        "seed": seed,
        "parameters": _parameters(cases),
        "types": _types(cases),
        "seconds_per_fit": {
            # The first fit of each family is its compilation.
            name: float(np.median([c.seconds[name] for c in cases[1:]]))
            for name in LABELS
        },
        "cases": [{**c._asdict(), "said": c.said} for c in cases],
        "seconds": round(time.monotonic() - started, 1),
    }
    _show(result)
    figure = plots.save(_figure(cases), out / "parameters.png")
    report.write(out, result, [figure])
    return result


def _measured(
    source: data.Source, crop: int, noise: float, most: int | None, seed: int
) -> tuple[list[_Case], dict[str, list[str]]]:
    order = np.random.default_rng(seed).permutation(len(source))
    most = len(order) if most is None else min(most, len(order))
    skipped: dict[str, list[str]] = {"too_small": [], "without_contrast": []}
    cases: list[_Case] = []
    done = 0
    for i in order:
        if done == most:
            break
        name, sharp = source.names[int(i)], source[int(i)]
        if min(sharp.shape) < crop:
            skipped["too_small"].append(name)
            continue
        top, left = ((m - crop) // 2 for m in sharp.shape)
        square = jnp.asarray(sharp[top : top + crop, left : left + crop])
        # Keyed by the photograph, so that its blurs do not depend on how many are looked at.
        key = jax.random.fold_in(jax.random.key(seed), int(i))
        blurred = [_blurred(jax.random.fold_in(key, t), square, t, noise) for t in range(3)]
        if any(bool(jnp.ptp(image) == 0) for image, _ in blurred):
            skipped["without_contrast"].append(name)
            continue
        cases += [
            _fitted(image, name, label, truth)
            for (image, truth), label in zip(blurred, LABELS, strict=True)
        ]
        done += 1
        if done % _EVERY == 0 or done == most:
            print(f"{done} of {most} photographs fitted", file=sys.stderr)
    if not cases:
        raise ValueError(
            f"no photograph of {len(source)} has {crop} x {crop} pixels with contrast; give a "
            "smaller --crop or other images"
        )
    return cases, skipped


def _blurred(
    key: jax.Array, sharp: jax.Array, turn: int, noise: float
) -> tuple[jax.Array, dict[str, float]]:
    """The 8-bit image of a blur of one type, and its parameters."""
    label = LABELS[turn]
    k_noise, *keys = jax.random.split(key, 3)
    truth = {
        name: float(jax.random.uniform(k, (), sharp.dtype, *bounds))
        for k, (name, bounds) in zip(keys, _RANGES[label].items(), strict=False)
    }
    values = jnp.asarray(list(truth.values()), sharp.dtype)
    return _observed(k_noise, sharp, values, noise, label=label), truth


@functools.partial(jax.jit, static_argnames=("noise", "label"))
def _observed(
    key: jax.Array, sharp: jax.Array, values: jax.Array, noise: float, *, label: str
) -> jax.Array:
    kernel = getattr(psf, label)(*values, size=_KERNEL)
    image = imaging.blur(sharp, kernel, boundary="valid")
    if noise > 0:
        image = imaging.add_noise(key, image, noise / 255)
    return imaging.quantise(image)


def _fitted(image: jax.Array, photograph: str, label: str, truth: dict[str, float]) -> _Case:
    found, errors, loss, seconds = {}, {}, {}, {}
    for name in LABELS:
        before = time.monotonic()
        fit = jax.block_until_ready(blurjax.fit_blind(image, family=name, size=_SIZE))
        seconds[name] = time.monotonic() - before
        found[name] = {k: float(v) for k, v in fit.parameters.items()}
        errors[name] = {k: float(v) for k, v in fit.standard_errors.items()}
        loss[name] = float(fit.loss)
    return _Case(photograph, label, truth, found, errors, loss, seconds)


def _parameters(cases: list[_Case]) -> dict[str, dict[str, Any]]:
    """Errors of each parameter by the fit of the true family."""
    out = {}
    for label, ranges in _RANGES.items():
        ours = [c for c in cases if c.label == label]
        for name in ranges:
            true = np.array([c.truth[name] for c in ours])
            found = np.array([c.found[label][name] for c in ours])
            stated = np.array([c.errors[label][name] for c in ours])
            circular = name == "angle"
            off = blur_type.circular_error(found, true) if circular else np.abs(found - true)
            off = np.asarray(off)
            shown = np.degrees(off) if circular else off / true
            out[name] = {
                "unit": "degrees" if circular else "of the truth",
                "n": len(ours),
                "median": float(np.median(shown)),
                "quantile_90": float(np.quantile(shown, 0.9)),
                "worst": float(shown.max()),
                "within_1_standard_error": float(np.mean(off <= stated)),
                "within_2_standard_errors": float(np.mean(off <= 2 * stated)),
            }
    return out


def _types(cases: list[_Case]) -> dict[str, Any]:
    said = jnp.asarray([LABELS.index(c.said) for c in cases])
    true = jnp.asarray([LABELS.index(c.label) for c in cases])
    return {
        "n": len(cases),
        "rate": float(metrics.accuracy(said, true)),
        "confusion": np.asarray(metrics.confusion_matrix(said, true, classes=len(LABELS))),
    }


def _figure(cases: list[_Case]) -> Any:
    truth, found = {}, {}
    for label, ranges in _RANGES.items():
        for name in ranges:
            truth[name] = np.array([c.truth[name] for c in cases if c.label == label])
            found[name] = np.array([c.found[label][name] for c in cases if c.label == label])
    return plots.parameter_scatter(truth, found)


def _show(result: dict[str, Any]) -> None:
    skipped = result["skipped"]
    report.table(
        f"fit_blind of the true family on {result['photographs']} photographs of "
        f"{result['observed']} x {result['observed']} px\n({result['observation']}, noise "
        f"{result['noise_255']:g}/255; {len(skipped['too_small'])} skipped as too small, "
        f"{len(skipped['without_contrast'])} without contrast;\n{_PRIOR})",
        ["parameter", "range", "median error", "90 % within", "worst", "in 1 s.e.", "in 2", "n"],
        [
            [
                name,
                _range(name),
                _with_unit(name, p["median"]),
                _with_unit(name, p["quantile_90"]),
                _with_unit(name, p["worst"]),
                f"{100 * p['within_1_standard_error']:.0f} %",
                f"{100 * p['within_2_standard_errors']:.0f} %",
                str(p["n"]),
            ]
            for name, p in result["parameters"].items()
        ],
    )
    types, seconds = result["types"], result["seconds_per_fit"]
    report.table(
        f"Type by least loss: {100 * types['rate']:.1f} % right, n = {types['n']}",
        ["true type", *(f"said {name}" for name in LABELS), "right, %", "seconds a fit"],
        [
            [
                name,
                *(str(n) for n in row),
                f"{100 * row[i] / max(row.sum(), 1):.1f}",
                f"{seconds[name]:.2f}",
            ]
            for i, (name, row) in enumerate(zip(LABELS, types["confusion"], strict=True))
        ],
    )


def _range(name: str) -> str:
    low, high = next(ranges[name] for ranges in _RANGES.values() if name in ranges)
    return "0-180 degrees" if name == "angle" else f"{low:g}-{high:g} px"


def _with_unit(name: str, value: float) -> str:
    return f"{value:.2f} degrees" if name == "angle" else f"{100 * value:.2f} %"
