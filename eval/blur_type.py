"""How well blur_type does on any folder of sharp photographs, beside its yardsticks."""

import functools
import io
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from PIL import Image

from blurjax import blur_type, data, imaging, metrics, plots, psf
from blurjax.blur_type import ANSWERS, KINDS, LABELS, PATCH, Batch, Config
from blurjax.blur_type.samples import mixed_kernels
from eval import report
from eval.photographs import chosen

Variables = dict[str, Any]
Arrays = Any
"""Host or device arrays: what is measured here is small."""

# The yardsticks' weights belong to the evaluation, not to the library.
_BASELINES = Path(__file__).parent / "weights"
_NAMES = {
    "compact_random_start": "published network, random start, trained without noise",
    "softmax": "softmax regression, same feature",
    "conv": "small CNN, same patch, trained without noise",
}
_TILE = 144
_TILES_PER_IMAGE = 6
_CHUNK = 3_000
_PARAMETERS = ("sigma", "length", "angle", "radius")
_TYPE_OF = {"sigma": 0, "length": 1, "angle": 1, "radius": 2}


def evaluate(
    images: tuple[Path, ...] = (),
    out: Path = Path("out/eval_blur_type"),
    split: Literal["all", "test"] = "all",
    patches: int = 30,
    photographs: int = 100,
    weights: Path | None = None,
    baselines: bool = True,
    seed: int = 0,
) -> dict[str, Any]:
    """Classification, calibration and parameter errors on photographs of your own.

    Args:
        images: folders of sharp photographs; none for the test photographs inside scikit-image.
        out: folder for report.json and the figures.
        split: "test" keeps only the tenth that training on the same folders never looks at.
        patches: of each photograph and for each texture rule, a multiple of 3.
        photographs: whole photographs to blur uniformly, once in each way; 0 for none.
        weights: a weights file or checkpoint; default the shipped weights.
        baselines: also evaluate the yardsticks.
        seed: of everything random.

    Returns:
        What report.json holds.
    """
    started = time.monotonic()
    if patches < 3 or patches % 3:
        raise ValueError(f"patches is {patches}; the types share them: give a multiple of 3")
    source = chosen(images, split)
    tiles = data.tiles(source, _TILE, per_image=_TILES_PER_IMAGE)
    variables, config = blur_type.load(weights)

    networks = {"default network" if weights is None else str(weights): (variables, config)}
    if baselines:
        networks["published network"] = blur_type.load("published")
        for name, title in _NAMES.items():
            networks[title] = blur_type.load(_BASELINES / f"blur_type_{name}.npz")

    key = jax.random.key(seed)
    sets = {
        (rule, light): _balanced(
            functools.partial(_ours, tiles=jnp.asarray(tiles.images), config=config, light=light),
            jax.random.fold_in(key, 10 * i + j),
            tiles.index,
            rule,
            patches,
        )
        for j, light in enumerate(("encoded", "linear"))
        for i, rule in enumerate(blur_type.RULES)
    }
    for i, rule in enumerate(blur_type.RULES):
        sets[rule, "scipy"] = _balanced(
            functools.partial(_by_scipy, tiles=tiles.images, config=config),
            jax.random.fold_in(key, 100 + i),
            tiles.index,
            rule,
            patches,
        )

    result: dict[str, Any] = {
        "protocol": "blur_type",
        "images": [str(root) for root in images] or ["embedded test photographs"],
        "split": split,
        "photographs": len(source),
        "too_small": list(tiles.skipped),
        "ranges": {k: getattr(config, k) for k in ("sigma", "length", "radius")},
        "observation": "8-bit, no noise",
        "seed": seed,
        "patches": {f"{r}/{s}": int(b.label.shape[0]) for (r, s), b in sets.items()},
        "refused_by_texture": {f"{r}/{s}": float(b.rejected) for (r, s), b in sets.items()},
    }
    result["classification"] = {
        title: {
            f"{rule}/{light}": classification(_logits(network, batch.patches), batch)
            for (rule, light), batch in sets.items()
        }
        for title, network in networks.items()
    }
    result["robustness"] = _robustness(key, tiles, networks, config, patches)
    prediction = {k: predictions(variables, config, b.patches) for k, b in sets.items()}
    result["parameters"] = {
        f"{rule}/{light}": parameter_errors(prediction[rule, light], batch, config)
        for (rule, light), batch in sets.items()
    }
    main = ("textured", "encoded")
    result["deciles"] = _deciles(prediction[main], sets[main])
    whole = _whole(source, photographs, variables, config, seed) if photographs else None
    result["whole_photographs"] = whole
    result["seconds"] = round(time.monotonic() - started, 1)

    _show(result, sets)
    figures = _figures(prediction, sets, out)
    report.write(out, result, figures)
    return result


def _robustness(
    key: jax.Array, tiles: data.Tiles, networks: dict[str, Any], config: Config, patches: int
) -> dict[str, Any]:
    """Rates of every network on textured patches with noise and compression."""
    conditions: dict[str, dict[str, Any]] = {
        **{f"noise {level}/255": {"noise": level / 255} for level in (0, 1, 2, 3, 5)},
        **{f"JPEG {quality}": {"quality": float(quality)} for quality in (95, 90, 75, 50)},
    }
    sharp = jnp.asarray(tiles.images)
    out: dict[str, Any] = {title: {} for title in networks}
    for i, (condition, options) in enumerate(conditions.items()):
        batch = _balanced(
            functools.partial(_ours, tiles=sharp, config=config, light="encoded", **options),
            jax.random.fold_in(key, 200 + i),
            tiles.index,
            "textured",
            patches,
        )
        for title, network in networks.items():
            found = classification(_logits(network, batch.patches), batch)
            out[title][condition] = found
    return out


def _balanced(
    draw: Callable[[jax.Array, str], Batch],
    key: jax.Array,
    photograph_of: np.ndarray,
    rule: str,
    per_photograph: int,
) -> Batch:
    """The same number of patches from every photograph, a third of each type.

    A photograph that has too little texture gives what it has; after ten rounds
    that bring nothing new it is left at that.
    """
    share, photographs = per_photograph // 3, int(photograph_of.max()) + 1
    have = np.zeros((photographs, 3), int)
    kept: list[Batch] = []
    idle = 0
    # Flat photographs would keep the loop going for ever for one more patch.
    while have.min() < share and idle < 10 and len(kept) < 60:
        batch = jax.tree.map(np.asarray, draw(jax.random.fold_in(key, len(kept)), rule))
        photograph = photograph_of[batch.image]
        chosen = np.zeros(len(batch.label), bool)
        for row in np.flatnonzero(batch.weight > 0):
            cell = photograph[row], batch.label[row]
            if have[cell] < share:
                have[cell] += 1
                chosen[row] = True
        idle = 0 if chosen.any() else idle + 1
        kept.append(blur_type.rows(batch._replace(image=photograph), chosen))
    return jax.tree.map(lambda *x: np.concatenate(x) if x[0].ndim else np.mean(x), *kept)


def _ours(
    key: jax.Array,
    rule: str,
    *,
    tiles: jax.Array,
    config: Config,
    light: str,
    noise: float | None = None,
    quality: float | None = None,
) -> Batch:
    return blur_type.sample(
        key,
        tiles,
        config,
        n=_CHUNK,
        linear="always" if light == "linear" else "never",
        sampling="area",
        noise=noise,
        quality=quality,
        rule=rule,
        candidates=1,
    )


def _by_scipy(key: jax.Array, rule: str, *, tiles: np.ndarray, config: Config) -> Batch:
    """Patches blurred by SciPy with kernels that are not ours: supersampled masks.

    Gaussian: `gaussian_filter`, point-sampled and truncated at 4 sigma.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    margin = blur_type.margin(config)
    side = PATCH + 2 * margin
    count = 600
    out = np.zeros((count, PATCH, PATCH), np.float32)
    label, index = np.arange(count) % 3, rng.integers(0, len(tiles), count)
    size, angle = np.zeros(count, np.float32), np.zeros(count, np.float32)
    for i in range(count):
        row, column = rng.integers(0, _TILE - side + 1, 2)
        crop = tiles[index[i], row : row + side, column : column + side] / np.float32(255)
        name = LABELS[label[i]]
        size[i] = rng.uniform(*getattr(config, _PARAMETERS[(0, 1, 3)[label[i]]]))
        if name == "gaussian":
            blurred = scipy.ndimage.gaussian_filter(crop, size[i], truncate=4.0)
        else:
            angle[i] = rng.uniform(0, np.pi) if name == "motion" else 0
            blurred = scipy.ndimage.convolve(crop, _mask(name, size[i], angle[i]))
        out[i] = blurred[margin : margin + PATCH, margin : margin + PATCH]
    observed = np.round(np.clip(out, 0, 1) * 255).astype(np.float32) / np.float32(255)
    fine = np.asarray(blur_type.satisfies(jnp.asarray(observed), rule))
    weight = fine.astype(np.float32)
    parts = (observed, label, size, angle, weight, index, 1 - weight.mean())
    return Batch(*map(jnp.asarray, parts))


def _mask(name: str, size: float, angle: float, per_pixel: int = 16) -> np.ndarray:
    """Kernel by counting sub-pixels: a disc, or a segment one pixel wide."""
    half = int(np.ceil(size if name == "defocus" else size / 2)) + 1
    k = 2 * half + 1
    position = (np.arange(k * per_pixel) + 0.5) / per_pixel - k / 2
    x, y = position[None, :], position[:, None]
    if name == "defocus":
        inside = x**2 + y**2 <= size**2
    else:
        along = x * np.cos(angle) - y * np.sin(angle)
        across = x * np.sin(angle) + y * np.cos(angle)
        inside = (np.abs(along) <= size / 2) & (np.abs(across) <= 0.5)
    mask = inside.reshape(k, per_pixel, k, per_pixel).mean(axis=(1, 3))
    return mask / mask.sum()


def _in_pieces(f: Callable[[jax.Array], Any], patches: Arrays) -> Any:
    """`f` over all patches in pieces of one shape, so that it is compiled once."""
    pieces = []
    for start in range(0, len(patches), _CHUNK):
        piece = np.asarray(patches[start : start + _CHUNK])
        padded = np.concatenate([piece, np.zeros((_CHUNK - len(piece), PATCH, PATCH), np.float32)])
        answer = f(jnp.asarray(padded))
        count = len(piece)
        pieces.append(jax.tree.map(lambda x, count=count: np.asarray(x)[:count], answer))
    return jax.tree.map(lambda *x: np.concatenate(x), *pieces)


def _logits(network: tuple[Variables, Config], patches: Arrays) -> Arrays:
    variables, config = network
    return _in_pieces(lambda x: _apply(variables, x, config), patches)


def predictions(variables: Variables, config: Config, patches: Arrays) -> blur_type.Prediction:
    """Answers for any number of patches."""
    return _in_pieces(lambda x: blur_type.predict(variables, x, config), patches)


_apply = jax.jit(blur_type.apply, static_argnames=("config", "train"))


def classification(logits: Arrays, batch: Batch) -> dict[str, Any]:
    """Rate, its error over photographs, calibration and confusion of one network on a batch."""
    probabilities = jax.nn.softmax(logits)
    label, confidence = np.argmax(logits, 1), np.max(probabilities, 1)
    right = label == batch.label
    surest = np.argsort(-confidence)[: max(1, round(0.75 * len(right)))]
    rate = float(right.mean())
    return {
        "n": len(right),
        "rate": rate,
        # Patches of one photograph err together: the error is taken over photographs.
        "standard_error": _clustered_error(right, batch.image),
        "by_photograph": _by_photograph(right, batch.image),
        "rate_75_most_confident": float(right[surest].mean()),
        "expected_calibration_error": float(
            metrics.expected_calibration_error(probabilities, jnp.asarray(batch.label))
        ),
        "confusion": np.asarray(
            metrics.confusion_matrix(jnp.asarray(label), jnp.asarray(batch.label), classes=3)
        ),
    }


def _by_photograph(values: Arrays, photograph: Arrays) -> dict[str, list[float]]:
    """Of each photograph that has any the mean of its values, and how many they are."""
    counts = np.bincount(photograph)
    there = counts > 0
    sums = np.bincount(photograph, weights=values)
    return {"mean": (sums[there] / counts[there]).tolist(), "n": counts[there].tolist()}


def _clustered_error(right: Arrays, photograph: Arrays) -> float:
    counts = np.bincount(photograph)
    shares = (np.bincount(photograph, weights=right) / np.maximum(counts, 1))[counts > 0]
    return float(shares.std(ddof=1) / np.sqrt(len(shares))) if len(shares) > 1 else float("nan")


def _error(name: str, found: Arrays, true: Arrays) -> Arrays:
    if name == "angle":
        return np.degrees(np.asarray(blur_type.circular_error(found, true)))
    return np.abs(found - true)


def _truth(name: str, batch: Batch) -> Arrays:
    return batch.angle if name == "angle" else batch.size


def parameter_errors(
    prediction: blur_type.Prediction, batch: Batch, config: Config
) -> dict[str, dict[str, Any]]:
    """Mean absolute errors: of the true type's GRNN, where stage 1 chose it, and of a constant."""
    out = {}
    for name in _PARAMETERS:
        of_type = batch.label == _TYPE_OF[name]
        chosen = of_type & (prediction.label == _TYPE_OF[name])
        true = _truth(name, batch)
        error = _error(name, getattr(prediction, name), true)
        # The best constant for a uniform parameter is the middle; no angle beats another.
        middle = np.pi / 2 if name == "angle" else np.mean(getattr(config, name))
        constant = _error(name, np.full_like(true, middle), true)[of_type].mean()
        out[name] = {
            "unit": "degrees" if name == "angle" else "px",
            "n": int(of_type.sum()),
            "true_type": float(error[of_type].mean()),
            "by_photograph": _by_photograph(error[of_type], batch.image[of_type]),
            "median_true_type": float(np.median(error[of_type])),
            "predicted_type": float(error[chosen].mean()),
            "n_predicted_type": int(chosen.sum()),
            "constant": float(constant),
            "constant_over_ours": float(constant / max(error[of_type].mean(), 1e-12)),
        }
    return out


def _deciles(prediction: blur_type.Prediction, batch: Batch) -> dict[str, list[dict[str, float]]]:
    """Rate and error by tenth of each parameter's true range."""
    out = {}
    for name in _PARAMETERS:
        rows = np.flatnonzero(batch.label == _TYPE_OF[name])
        true = _truth(name, batch)[rows]
        order = rows[np.argsort(true)]
        error = _error(name, getattr(prediction, name), _truth(name, batch))
        out[name] = [
            {
                "from": float(_truth(name, batch)[part].min()),
                "to": float(_truth(name, batch)[part].max()),
                "rate": float(np.mean(prediction.label[part] == _TYPE_OF[name])),
                "mean_absolute_error": float(error[part].mean()),
            }
            for part in np.array_split(order, 10)
            if len(part)
        ]
    return out


def _whole(
    source: data.Source, most: int, variables: Variables, config: Config, seed: int
) -> dict[str, Any]:
    """Photographs blurred once in each way and read as a user would, in each condition.

    Noise and compression are tried on every third photograph.
    """
    rng = np.random.default_rng(seed)
    order = np.sort(rng.permutation(len(source))[:most])
    result: dict[str, Any] = {}
    for condition in _CONDITIONS:
        some = order if condition == _CLEAN else order[::3]
        cases = []
        for number, i in enumerate(some):
            sharp = jnp.asarray(source[int(i)])
            for way in _WAYS:
                case = _Case(*_blurred(rng, sharp, way, config))
                seen = _photographed(rng, case.image, condition)
                cases.append(_asked(seen, case, way, source.names[int(i)], variables, config))
            if number % 10 == 9 or number == len(some) - 1:
                print(f"{condition}: {number + 1} of {len(some)} photographs read", file=sys.stderr)
        result[condition] = _summed(cases)
    return result


_CLEAN = "as they are"
_CONDITIONS = {_CLEAN: (0.0, 0), "noise 3/255": (3 / 255, 0), "JPEG 75": (0.0, 75)}
_BEYOND = "beyond the ranges"
_WAYS = (*KINDS, _BEYOND)


class _Case(NamedTuple):
    image: np.ndarray
    label: str
    """The right answer."""
    truth: dict[str, float]


def _blurred(
    rng: np.random.Generator, sharp: jax.Array, way: str, config: Config
) -> tuple[np.ndarray, str, dict[str, float]]:
    """A photograph blurred, the right answer about it and the true parameters."""
    if way == "sharp":
        return np.asarray(sharp), "sharp", {}
    if way == "mixed":
        key = jax.random.key(int(rng.integers(2**31)))
        kernel = _mixed(key, config)[0]
        return _through(sharp, kernel), "no dominant blur", {}
    name = LABELS[int(rng.integers(3))] if way == _BEYOND else way
    low, high = getattr(config, _PARAMETERS[(0, 1, 3)[LABELS.index(name)]])
    size = rng.uniform(1.05 * high, 1.6 * high) if way == _BEYOND else rng.uniform(low, high)
    angle = rng.uniform(0, np.pi)
    kernel = _kernel(name, size, angle, config)
    if name == "gaussian":
        variance = psf.moments(kernel).covariance
        size = float(jnp.sqrt((variance[0, 0] + variance[1, 1]) / 2))
    truth = {
        "gaussian": {"sigma": size},
        "motion": {"length": size, "angle": angle},
        "defocus": {"radius": size},
    }[name]
    return _through(sharp, kernel), name, truth


def _through(sharp: jax.Array, kernel: jax.Array) -> np.ndarray:
    return np.asarray(imaging.blur(sharp, kernel, boundary="reflect"))


@functools.partial(jax.jit, static_argnames="config")
def _mixed(key: jax.Array, config: Config) -> jax.Array:
    return mixed_kernels(key, 1, 41, config)


def _photographed(rng: np.random.Generator, image: np.ndarray, condition: str) -> np.ndarray:
    noise, quality = _CONDITIONS[condition]
    levels = 255 * np.clip(image + noise * rng.standard_normal(image.shape), 0, 1)
    levels = np.round(levels).astype(np.uint8)
    if quality:
        # Pillow's compression, not ours.
        file = io.BytesIO()
        Image.fromarray(levels).save(file, "JPEG", quality=quality)
        levels = np.asarray(Image.open(file))
    return levels


def _asked(
    seen: np.ndarray, case: _Case, way: str, name: str, variables: Variables, config: Config
) -> dict[str, Any]:
    """The answer about one photograph beside the truth."""
    answer = blur_type.estimate(seen, variables, config)
    errors, units = {}, {}
    if answer.label == case.label:
        for parameter, value in answer.parameters.items():
            error = _error(parameter, np.array(value), np.array(case.truth[parameter]))
            errors[parameter] = float(error)
            spread = answer.spread[parameter]
            spread = np.degrees(spread) if parameter == "angle" else spread
            units[parameter] = float(error) / max(spread, 1e-9)
    return {
        "photograph": name,
        "way": way,
        "true": case.label,
        "truth": case.truth,
        "status": answer.status,
        "said": answer.label,
        "answers": answer.answers,
        "errors": errors,
        "errors_in_spreads": units,
    }


def _summed(cases: list[dict[str, Any]]) -> dict[str, Any]:
    answered = [c for c in cases if c["status"] == "ok"]
    blurred = [c for c in answered if c["way"] in LABELS]
    probabilities = jnp.asarray(np.stack([c["answers"] for c in answered]))
    truth = jnp.asarray([ANSWERS.index(c["true"]) for c in answered])
    parameters = {}
    for parameter in _PARAMETERS:
        errors = np.array([c["errors"][parameter] for c in blurred if parameter in c["errors"]])
        units = np.array(
            [c["errors_in_spreads"][parameter] for c in blurred if parameter in c["errors"]]
        )
        if len(errors):
            parameters[parameter] = {
                "n": len(errors),
                "mean": float(errors.mean()),
                "median": float(np.median(errors)),
                "quantile_90": float(np.quantile(errors, 0.9)),
                "within_1_spread": float(np.mean(units < 1)),
                "within_2_spreads": float(np.mean(units < 2)),
            }
    return {
        "photographs": len({c["photograph"] for c in cases}),
        "n": len(cases),
        "refused_too_little_texture": len(cases) - len(answered),
        "rate_of_blurred": float(np.mean([c["said"] == c["true"] for c in blurred])),
        "n_blurred": len(blurred),
        "expected_calibration_error": float(
            metrics.expected_calibration_error(probabilities, truth)
        ),
        "said": {
            way: {
                said: sum(c["said"] == said for c in answered if c["way"] == way)
                for said in ANSWERS
            }
            for way in _WAYS
        },
        "right": {
            way: float(np.mean([c["said"] == c["true"] for c in answered if c["way"] == way]))
            for way in _WAYS
        },
        "parameters": parameters,
        "wrong": [
            [c["photograph"], c["way"], c["truth"], c["said"], float(max(c["answers"]))]
            for c in answered
            if c["said"] != c["true"]
        ],
    }


def _kernel(name: str, size: float, angle: float, config: Config) -> jax.Array:
    # Large enough for what lies beyond the ranges.
    k = 2 * round(1.6 * blur_type.margin(config)) + 1
    if name == "gaussian":
        return psf.gaussian(np.float32(size), size=k)
    if name == "motion":
        return psf.motion(np.float32(size), np.float32(angle), size=k)
    return psf.defocus(np.float32(size), size=k)


def _show(result: dict[str, Any], sets: dict[tuple[str, str], Batch]) -> None:
    keys = [f"{rule}/{light}" for rule, light in sets]
    ranges = ", ".join(f"{k} {a:g}-{b:g}" for k, (a, b) in result["ranges"].items())
    n = ", ".join(f"{k} n = {result['patches'][k]}" for k in keys)
    report.table(
        f"Classification rate on {result['photographs']} photographs, {ranges} px, "
        f"{result['observation']}\n({n})",
        ["network", *(k.replace("/", " ") for k in keys), "ECE textured", "surest 75 % textured"],
        [
            [
                title,
                *(f"{100 * r[k]['rate']:.1f} ± {100 * r[k]['standard_error']:.1f}" for k in keys),
                f"{r['textured/encoded']['expected_calibration_error']:.3f}",
                f"{100 * r['textured/encoded']['rate_75_most_confident']:.1f}",
            ]
            for title, r in result["classification"].items()
        ]
        + [["chance", *("33.3" for _ in keys), "", ""]],
    )
    for rule in ("all/encoded", "textured/encoded"):
        report.table(
            f"Mean absolute parameter error, {rule}",
            ["parameter", "true type", "predicted type", "constant", "constant / ours", "n"],
            [
                [
                    f"{name} ({e['unit']})",
                    f"{e['true_type']:.2f}",
                    f"{e['predicted_type']:.2f}",
                    f"{e['constant']:.2f}",
                    f"{e['constant_over_ours']:.1f}",
                    str(e["n"]),
                ]
                for name, e in result["parameters"][rule].items()
            ],
        )
    robustness = result["robustness"]
    conditions = list(next(iter(robustness.values())))
    report.table(
        "Textured patches, rate (expected calibration error) by condition",
        ["network", *conditions],
        [
            [
                title,
                *(
                    f"{100 * r['rate']:.1f} ({r['expected_calibration_error']:.3f})"
                    for r in rows.values()
                ),
            ]
            for title, rows in robustness.items()
        ],
    )
    for condition, whole in (result["whole_photographs"] or {}).items():
        report.table(
            f"{whole['photographs']} whole photographs, {condition}: "
            f"{100 * whole['rate_of_blurred']:.1f} % right of {whole['n_blurred']} blurred within "
            f"the ranges; ECE {whole['expected_calibration_error']:.3f}; "
            f"{whole['refused_too_little_texture']} of {whole['n']} refused (too little texture)",
            ["blurred by", *(f"said {name}" for name in ANSWERS), "right, %"],
            [
                [way, *(str(n) for n in row.values()), f"{100 * whole['right'][way]:.1f}"]
                for way, row in whole["said"].items()
            ],
        )
        report.table(
            f"Parameters, {condition}: absolute error (degrees for the angle, pixels)",
            ["parameter", "n", "mean", "median", "90 %", "within 1 spread", "within 2"],
            [
                [
                    name,
                    str(e["n"]),
                    *(f"{e[k]:.3f}" for k in ("mean", "median", "quantile_90")),
                    *(f"{100 * e[k]:.0f} %" for k in ("within_1_spread", "within_2_spreads")),
                ]
                for name, e in whole["parameters"].items()
            ],
        )


def _figures(
    prediction: dict[tuple[str, str], Any], sets: dict[tuple[str, str], Batch], out: Path
) -> list[Path]:
    written = []
    for rule in blur_type.RULES:
        answer, batch = prediction[rule, "encoded"], sets[rule, "encoded"]
        right = answer.label == batch.label
        matrix = metrics.confusion_matrix(
            jnp.asarray(answer.label), jnp.asarray(batch.label), classes=3
        )
        confidence = answer.probabilities.max(axis=1)
        ece = metrics.expected_calibration_error(
            jnp.asarray(answer.probabilities), jnp.asarray(batch.label)
        )
        written += [
            plots.save(plots.confusion(np.asarray(matrix), LABELS), out / f"confusion_{rule}.png"),
            plots.save(
                plots.reliability(confidence, right, float(ece)), out / f"reliability_{rule}.png"
            ),
        ]
    truth = {n: _truth(n, batch)[batch.label == _TYPE_OF[n]] for n in _PARAMETERS}
    found = {n: getattr(answer, n)[batch.label == _TYPE_OF[n]] for n in _PARAMETERS}
    written.append(plots.save(plots.parameter_scatter(truth, found), out / "parameters.png"))
    worst = np.flatnonzero(~right)
    worst = worst[np.argsort(-confidence[worst])][:24]
    if len(worst):
        captions = [
            f"{LABELS[batch.label[i]]} {batch.size[i]:.1f} px\n"
            f"taken for {LABELS[answer.label[i]]}, p = {confidence[i]:.2f}"
            for i in worst
        ]
        written.append(
            plots.save(plots.gallery(batch.patches[worst], captions), out / "surest_errors.png")
        )
    return written
