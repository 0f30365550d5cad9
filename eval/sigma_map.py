"""How well sigma_map reads space-varying Gaussian blur: the published tests, and yardsticks."""

import sys
import time
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.fft
import scipy.ndimage

from blurjax import data, imaging, plots, sigma_map
from eval import photographs as selection
from eval import report

Test = Literal["ramp", "sine", "sine2d"]
Row = dict[str, Any]

# One window for all sigmas, so that each shape is compiled once: 4 of the largest to each side.
_LOW, _HIGH, _KERNEL = 0.1, 3.0, 25
# Half a window of the published network: within it no estimate has seen a whole window. It is
# more than the reach of the blur, so that no boundary rule touches a pixel that counts.
_BORDER = 16
_LEAST, _MOST = 96, 1000
# Each shape compiles anew: sides come in multiples of this.
_STEP = 32
_PERIOD = 2 * np.pi / 0.02
_SUREST = 0.8
# Bins of the spread, in pixels, to find the surest pixels of all images by.
_BINS = np.geomspace(0.01, 8.0, 161)
_SIGMAS = (0.1, 0.3, 0.6, 1.0, 1.5, 2.0, 2.5, 3.0)
_CLASSES = (10, 30, 60)
_EVERY = 5
# The heat flow of the published figures is in no published code: this one is ours.
_HEAT_STEP = 0.02
_MEDIAN, _RADIUS, _EPSILON = 9, 8, 1e-3
_SMOOTHINGS = (
    "heat flow, 1 iteration",
    "heat flow, 12 000 iterations",
    f"median, {_MEDIAN} x {_MEDIAN}",
    f"guided, radius {_RADIUS}",
)
PUBLISHED: dict[str, dict[str, float]] = {
    "published, 10 classes": {"ramp": 0.2350},
    "published, 30 classes": {"ramp": 0.1645},
    "published, no smoothing": {"sine": 0.1991},
    "published, 1 smoothing iteration": {"sine": 0.1891},
    "published, 12 000 smoothing iterations": {"sine": 0.1331},
}
PUBLISHED_ON = "textures seen in training, Brodatz"
_TRUTH = "the nominal sigma of the sampled Gaussian; below 0.5 px its own deviation is less"


class _Condition(NamedTuple):
    """One test in one way: the map, the noise in 1/255, and who blurs."""

    test: Test
    noise: float = 0.0
    scipy: bool = False

    def __str__(self) -> str:
        if self.scipy:
            return f"{self.test}, blurred by SciPy"
        return f"{self.test}, noise {self.noise:g}/255" if self.noise else self.test

    @property
    def clean(self) -> bool:
        return not (self.noise or self.scipy)


class _Reader(NamedTuple):
    """What estimates."""

    variables: Any
    config: Any
    stride: int
    decode: Literal["expectation", "argmax"]

    def __call__(self, image: np.ndarray) -> Any:
        return sigma_map.estimate(
            image, self.variables, self.config, stride=self.stride, decode=self.decode
        )


def evaluate(
    images: tuple[Path, ...] = (),
    out: Path = Path("out/eval_sigma_map"),
    split: Literal["all", "test", "train"] = "all",
    weights: str | None = None,
    tests: tuple[Test, ...] = ("ramp", "sine", "sine2d"),
    noise: tuple[float, ...] = (0.0, 1.0, 3.0),
    halve: bool = False,
    photographs: int | None = None,
    uniform: int = 40,
    smoothing: bool = True,
    stride: int = 4,
    decode: Literal["expectation", "argmax"] = "expectation",
    protocol: Literal["unseen", "seen", "photographs"] = "unseen",
    seed: int = 0,
) -> dict[str, Any]:
    """Errors of the sigma map under ramp, sine, product of sines and uniform blur.

    Every image is blurred by each map (sigma 0.1 to 3 px, sampled Gaussians over 25 px, exact for
    each pixel), made an 8-bit image and read. The error counts but for a border of 16 px; it is
    pooled over pixels, and its standard error taken over images. Images are cropped about their
    centre to at most 1000 px a side and to multiples of 32. Sines have the published period of
    314 px, in smaller images their own: the width, of the product of two the lesser side.
    One test is repeated with noise, and one with images blurred column by column by SciPy.

    Args:
        images: folders of sharp photographs or textures; none for the test photographs inside
            scikit-image.
        out: folder for report.json and the figures.
        split: "test" keeps only the tenth that training on the same folders never looks at,
            "train" the eight tenths that it learns from.
        weights: "published" for the network of 30 classes, or a weights file or checkpoint;
            default the shipped regressor.
        tests: maps to blur by.
        noise: standard deviations of Gaussian noise before quantisation, in 1/255; those above 0
            are tried on the first test, all tests are run without.
        halve: average squares of 2 x 2 pixels first, where images are not sharp pixel by pixel.
        photographs: at most so many, picked at random; default all.
        uniform: images to blur uniformly at each of eight sigmas; 0 for none.
        smoothing: also smooth the maps in each way.
        stride: of a classifier's windows, in pixels.
        decode: how a classifier's probabilities are read: "argmax" as published.
        protocol: what the images are to the weights, as the caller knows it: textures not seen in
            training, seen ones, or photographs. A label for report and titles; nothing follows.
        seed: of everything random.

    Returns:
        What report.json holds.

    Raises:
        ImageError: a folder is missing or holds no image.
        WeightsError: the weights cannot be read.
        ValueError: no image is left, or an option is out of range.
    """
    started = time.monotonic()
    _check(tests, noise, photographs, uniform, stride)
    source = selection.chosen(images, split)
    variables, config = sigma_map.load(weights)
    reader = _Reader(variables, config, stride, decode)
    order = np.random.default_rng(seed).permutation(len(source))
    conditions = _conditions(tests, noise)

    rows: dict[str, list[Row]] = {str(c): [] for c in conditions}
    kept: list[int] = []
    skipped: list[str] = []
    cropped: list[str] = []
    own_period: dict[str, int] = dict.fromkeys(tests, 0)
    shapes: set[tuple[int, int]] = set()
    wanted = len(order) if photographs is None else min(photographs, len(order))
    for i in order:
        if len(kept) == wanted:
            break
        name, full = source.names[int(i)], source[int(i)]
        sharp = _prepared(full, halve)
        if sharp is None:
            skipped.append(name)
            continue
        if max(full.shape) // (2 if halve else 1) > _MOST:
            cropped.append(name)
        shapes.add(sharp.shape)
        for test in tests:
            own_period[test] += _period(test, sharp.shape) < _PERIOD
        for condition in conditions:
            rows[str(condition)].append(
                _read(reader, sharp, condition, seed, int(i), name, smoothing=smoothing)
            )
        kept.append(int(i))
        if len(kept) % _EVERY == 0 or len(kept) == wanted:
            print(f"{len(kept)} of {wanted} images read", file=sys.stderr)
    if not kept:
        raise ValueError(
            f"no image of {len(source)} has {_LEAST} pixels a side"
            f"{' after halving' if halve else ''}; give larger images"
        )
    if not any(_answered(some) for some in rows.values()):
        raise ValueError(
            f"none of {len(kept)} images had an estimate, the first because: "
            f"{rows[str(conditions[0])][0]['status']}; give images with more texture"
        )

    result: dict[str, Any] = {
        "protocol": "sigma_map",
        "images_are": protocol,
        "images": [str(root) for root in images] or ["embedded test photographs"],
        "split": split,
        "weights": weights or "shipped regressor",
        "body": str(reader.config.body),
        "stride": stride,
        "decode": decode,
        "photographs": len(kept),
        "halved": halve,
        "too_small": skipped,
        f"cropped_to_{_MOST}_px": cropped,
        "shapes": sorted(shapes),
        "images_with_own_period": {t: n for t, n in own_period.items() if t != "ramp"},
        "observation": f"8-bit, sigma {_LOW}-{_HIGH} px, reflect at the border of the image",
        "border_left_out": _BORDER,
        "truth": _TRUTH,
        "seed": seed,
        "tests": {name: _pooled(some) for name, some in rows.items() if _answered(some)},
        "published": {**PUBLISHED, "on": PUBLISHED_ON},
        "uniform": _uniform(reader, source, kept[:uniform], halve),
        "rows": rows,
    }
    for some in rows.values():
        for row in some:
            row.pop("by_spread", None)
    figures = _figures(reader, source, kept, result, conditions, halve, out)
    result["seconds"] = round(time.monotonic() - started, 1)
    _show(result, tests)
    report.write(out, result, figures)
    return result


def _check(
    tests: tuple[Test, ...],
    noise: tuple[float, ...],
    photographs: int | None,
    uniform: int,
    stride: int,
) -> None:
    if not tests:
        raise ValueError("tests is empty; give one or more of ramp, sine and sine2d")
    if min(noise, default=0.0) < 0:
        raise ValueError(f"noise is {noise}; give standard deviations of 0 or more, in 1/255")
    if (photographs is not None and photographs < 1) or uniform < 0 or stride < 1:
        raise ValueError(
            f"photographs is {photographs}, uniform {uniform} and stride {stride}; give "
            "photographs >= 1, uniform >= 0 and stride >= 1"
        )


def _conditions(tests: tuple[Test, ...], noise: tuple[float, ...]) -> tuple[_Condition, ...]:
    columnwise = [test for test in tests if test != "sine2d"]
    return (
        *(_Condition(test) for test in dict.fromkeys(tests)),
        *(_Condition(tests[0], noise=level) for level in dict.fromkeys(noise) if level > 0),
        *(_Condition(test, scipy=True) for test in columnwise[:1]),
    )


def _prepared(image: np.ndarray, halve: bool) -> np.ndarray | None:
    """The image as it is blurred, None where it is too small."""
    if halve:
        height, width = (m // 2 for m in image.shape)
        blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2)
        image = blocks.mean(axis=(1, 3), dtype=np.float32)
    if min(image.shape) < _LEAST:
        return None
    sides = [min(m, _MOST) // _STEP * _STEP for m in image.shape]
    top, left = ((m - side) // 2 for m, side in zip(image.shape, sides, strict=True))
    return image[top : top + sides[0], left : left + sides[1]]


def _period(test: Test, shape: tuple[int, ...]) -> float:
    if test == "ramp":
        return float("inf")
    return float(min(_PERIOD, shape[1] if test == "sine" else min(shape)))


def _true_map(test: Test, shape: tuple[int, int]) -> np.ndarray:
    if test == "ramp":
        made = imaging.ramp_map(shape, _LOW, _HIGH)
    else:
        period, two = _period(test, shape), test == "sine2d"
        made = imaging.sine_map(shape, period=period, two_dimensional=two)
    # A sine in float32 may dip below its least value by its rounding error.
    return np.clip(np.asarray(made, np.float32), _LOW, _HIGH)


def _observed(
    sharp: np.ndarray, sigma: np.ndarray, condition: _Condition, seed: int, index: int
) -> np.ndarray:
    """The 8-bit image that is read, (H, W) in [0, 1]."""
    blurred = _by_scipy(sharp, sigma[0]) if condition.scipy else _blurred(sharp, sigma)
    if condition.noise:
        # Keyed by the image, so that its noise does not depend on how many are looked at.
        key = jax.random.fold_in(jax.random.key(seed), index)
        blurred = imaging.add_noise(key, blurred, condition.noise / 255)
    return np.asarray(imaging.quantise(blurred))


def _blurred(sharp: np.ndarray, sigma: np.ndarray) -> jax.Array:
    return imaging.blur_varying(
        jnp.asarray(sharp),
        jnp.asarray(sigma),
        method="exact",
        size=_KERNEL,
        sampling="point",
        boundary="reflect",
    )


def _by_scipy(sharp: np.ndarray, sigmas: np.ndarray) -> jax.Array:
    """The image with each column blurred by `scipy.ndimage.gaussian_filter` at its own sigma.

    A strip as wide as the kernel gives the column in its middle as the whole image would: nothing
    is rounded or interpolated. Unlike ours, SciPy cuts each kernel off at 4 of its own sigmas.
    """
    half = _KERNEL // 2
    padded = np.pad(sharp, ((0, 0), (half, half)), mode="symmetric")
    out = np.empty_like(sharp)
    for column, sigma in enumerate(sigmas):
        strip = padded[:, column : column + _KERNEL]
        out[:, column] = scipy.ndimage.gaussian_filter(strip, float(sigma), truncate=4.0)[:, half]
    return jnp.asarray(out)


def _inner(array: np.ndarray) -> np.ndarray:
    return array[_BORDER:-_BORDER, _BORDER:-_BORDER]


def _read(
    reader: _Reader,
    sharp: np.ndarray,
    condition: _Condition,
    seed: int,
    index: int,
    name: str,
    *,
    smoothing: bool,
) -> Row:
    """One image under one condition: the errors of the estimate and of the yardsticks."""
    sigma = _true_map(condition.test, sharp.shape)
    image = _observed(sharp, sigma, condition, seed, index)
    before = time.monotonic()
    answer = reader(image)
    row: Row = {
        "photograph": name,
        "index": index,
        "shape": list(image.shape),
        "status": answer.status,
        "seconds": round(time.monotonic() - before, 3),
    }
    if condition.test != "ramp":
        row["period"] = _period(condition.test, image.shape)
    if condition.scipy:
        ours = _observed(sharp, sigma, _Condition(condition.test), seed, index)
        levels = np.rint(255 * np.abs(ours - image))
        row["levels_from_ours"] = {"most": float(levels.max()), "share": float((levels > 0).mean())}
    # An image may be refused and yet have a guess for each pixel: they all count.
    found, spread = np.asarray(answer.sigma), np.asarray(answer.spread)
    row |= errors(_inner(found), _inner(spread), _inner(np.asarray(answer.valid)), _inner(sigma))
    if "rmse" not in row:
        return row
    row["yardsticks"] = _yardsticks(image, sigma)
    if smoothing and condition.clean:
        row["smoothed"] = {
            way: _rms(_inner(smoothed - sigma))
            for way, smoothed in _smoothed(found, spread, image).items()
        }
    return row


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))


def errors(found: np.ndarray, spread: np.ndarray, valid: np.ndarray, truth: np.ndarray) -> Row:
    """Errors of one map over the pixels that count.

    Args:
        found, spread: (h, w) in pixels, the estimate and its stated standard deviation.
        valid: (h, w) truth values.
        truth: (h, w) in pixels.

    Returns:
        Root mean square errors over all, the valid and the surest 80 % of the pixels (those of
        least spread), the mean error, and how the errors compare with the spread. Pixels without
        a finite estimate are left out and counted.
    """
    numbers = np.isfinite(found) & np.isfinite(spread)
    error, spread = (found - truth)[numbers].astype(np.float64), spread[numbers]
    valid = valid[numbers].astype(bool)
    if not error.size:
        return {"n": 0, "without_number": 1.0}
    surest = np.argsort(spread, kind="stable")[: max(1, round(_SUREST * error.size))]
    units = np.abs(error) / np.maximum(spread, 1e-9)
    bins = np.searchsorted(_BINS, spread)
    return {
        "n": error.size,
        "without_number": float(1 - numbers.mean()),
        "rmse": _rms(error),
        "n_valid": int(valid.sum()),
        "rmse_valid": _rms(error[valid]) if valid.any() else float("nan"),
        "n_surest": len(surest),
        "rmse_surest": _rms(error[surest]),
        "bias": float(error.mean()),
        "mean_spread": float(spread.mean()),
        "rms_error_in_spreads": _rms(units),
        # The central intervals of a normal distribution.
        "within_68": float(np.mean(units <= 1.0)),
        "within_95": float(np.mean(units <= 1.96)),
        # For each bin of the spread how many pixels, and the sum of their squared errors.
        "by_spread": [
            np.bincount(bins, weights=values, minlength=len(_BINS) + 1).tolist()
            for values in (np.ones_like(error), error**2)
        ],
    }


def _smoothed(found: np.ndarray, spread: np.ndarray, guide: np.ndarray) -> dict[str, np.ndarray]:
    numbers = np.isfinite(found) & np.isfinite(spread)
    # A pixel without a number would spread; it takes the map's mean and hardly any weight.
    sigma = np.where(numbers, found, found[numbers].mean()).astype(np.float32)
    weight = np.where(numbers, 1 / np.maximum(spread, 0.02) ** 2, 1e-6).astype(np.float32)
    maps = (
        sigma_map.heat_flow(sigma, iterations=1, step=_HEAT_STEP),
        sigma_map.heat_flow(sigma, iterations=12_000, step=_HEAT_STEP),
        sigma_map.median(sigma, size=_MEDIAN),
        sigma_map.guided(sigma, guide, radius=_RADIUS, epsilon=_EPSILON, weight=weight),
    )
    return {way: np.asarray(m) for way, m in zip(_SMOOTHINGS, maps, strict=True)}


def _yardsticks(image: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Errors of what needs no network, and of a perfect one with classes."""
    inner = _inner(truth)
    steps = {count: _HIGH / count for count in _CLASSES}
    closed = {
        f"polyblur, windows of {window} px": _rms(_inner(polyblur(image, window=window) - truth))
        for window in (32, 64)
    }
    floors = {
        f"quantised to {count} classes": _rms(
            inner - np.clip(np.rint(inner / step), 1, count) * np.float32(step)
        )
        for count, step in steps.items()
    }
    return {"constant": _rms(inner - inner.mean(dtype=np.float64)), **closed, **floors}


def polyblur(image: np.ndarray, *, window: int) -> np.ndarray:
    """Sigma from the steepest gradient about each pixel, in closed form.

    sigma^2 = c^2 / f^2 - b^2, c = 0.362 and b = 0.464, clipped to 0.3 ... 4, where f is the
    largest gradient over places and directions after the range is brought to 1: a step of full
    contrast is what the formula expects to be there. The paper has one sigma in each direction
    for the whole image, and quantiles of 1e-4 for its range. The blur here is round, so the
    largest over all directions stands for each. Each window is an image of its own, which
    is kind to places of little contrast; the quantiles of some thousand pixels are their least
    and largest value. The window slides pixel by pixel.

    Args:
        image: (H, W) in [0, 1].
        window: side of the square in pixels.

    Returns:
        (H, W), sigma in pixels.

    Source: Delbracio et al., "Polyblur: removing mild blur by polynomial reblurring", 2021,
        equations 21 to 24; constants as in the implementation of Eboli et al.
    """
    # The gradients are Fourier's, as those that c and b are for. The image is continued evenly,
    # or the jump between its borders would be the steepest gradient of all.
    even = np.pad(image.astype(np.float64), [(0, m) for m in image.shape], mode="symmetric")
    spectrum = scipy.fft.rfft2(even)
    down = 2j * np.pi * scipy.fft.fftfreq(even.shape[0])[:, None]
    across = 2j * np.pi * scipy.fft.rfftfreq(even.shape[1])[None, :]
    along, over = (
        scipy.fft.irfft2(spectrum * factor, even.shape)[: image.shape[0], : image.shape[1]]
        for factor in (down, across)
    )
    steepest = scipy.ndimage.maximum_filter(np.hypot(along, over), window, mode="nearest")
    contrast = scipy.ndimage.maximum_filter(
        image, window, mode="nearest"
    ) - scipy.ndimage.minimum_filter(image, window, mode="nearest")
    ratio = contrast / np.maximum(steepest, 1e-8)
    variance = (0.362 * ratio) ** 2 - 0.464**2
    return np.clip(np.sqrt(np.maximum(variance, 0)), 0.3, 4.0).astype(np.float32)


def _answered(rows: list[Row]) -> list[Row]:
    return [row for row in rows if "rmse" in row]


def _pooled(rows: list[Row]) -> dict[str, Any]:
    """One condition over all images: squared errors are pooled over pixels."""
    answered = _answered(rows)
    n = np.array([row["n"] for row in answered], float)
    mse = np.array([row["rmse"] for row in answered]) ** 2
    bias = np.array([row["bias"] for row in answered])
    total = float(np.average(mse, weights=n))
    offset = float(np.average(bias**2, weights=n))
    out: dict[str, Any] = {
        "n": len(answered),
        "without_estimate": len(rows) - len(answered),
        "refused": sum(row["status"] != "ok" for row in rows),
        "pixels": int(n.sum()),
        "rmse": total**0.5,
        # The pixels of one image err together: the error is taken over images.
        "standard_error": _jackknife(mse, n),
        "rmse_median_image": float(np.median(np.sqrt(mse))),
        "rmse_valid": _pooled_rms(answered, "rmse_valid", "n_valid"),
        "valid_share": float(np.sum([row["n_valid"] for row in answered]) / n.sum()),
        "rmse_surest": _surest(answered),
        "rmse_surest_of_each": _pooled_rms(answered, "rmse_surest", "n_surest"),
        "rmse_surest_median_image": float(np.median([row["rmse_surest"] for row in answered])),
        "bias": float(np.average(bias, weights=n)),
        "offset_share": offset / max(total, 1e-12),
        "rmse_without_offset": max(total - offset, 0.0) ** 0.5,
        "rms_error_in_spreads": _pooled_rms(answered, "rms_error_in_spreads", "n"),
        **{
            key: float(np.average([row[key] for row in answered], weights=n))
            for key in ("mean_spread", "within_68", "within_95", "without_number")
        },
        # The first image of a shape is its compilation.
        "seconds_per_image": float(np.median([row["seconds"] for row in answered])),
    }
    for key in ("yardsticks", "smoothed"):
        if key in answered[0]:
            out[key] = {
                name: float(np.average([row[key][name] ** 2 for row in answered], weights=n)) ** 0.5
                for name in answered[0][key]
            }
    if "levels_from_ours" in rows[0]:
        seen = [row["levels_from_ours"] for row in rows]
        out["levels_from_ours"] = {
            "most": max(s["most"] for s in seen),
            "share": float(np.mean([s["share"] for s in seen])),
        }
    return out


def _pooled_rms(rows: list[Row], key: str, count: str) -> float:
    some = [row for row in rows if row[count]]
    if not some:
        return float("nan")
    squares = [row[key] ** 2 for row in some]
    return float(np.average(squares, weights=[row[count] for row in some])) ** 0.5


def _surest(rows: list[Row]) -> float:
    """Over the 80 % of all images' pixels that have the least spread, to a bin's width."""
    count, squares = np.sum([row["by_spread"] for row in rows], axis=0)
    before = np.cumsum(count) - count
    share = np.clip((_SUREST * count.sum() - before) / np.maximum(count, 1), 0, 1)
    return float(np.sqrt(np.sum(share * squares) / np.sum(share * count)))


def _jackknife(mse: np.ndarray, n: np.ndarray) -> float:
    """Standard error of the pooled root mean square, leaving out one image at a time."""
    if len(n) < 2:
        return float("nan")
    others = np.sqrt((np.sum(mse * n) - mse * n) / (n.sum() - n))
    return float(np.sqrt((len(n) - 1) * np.var(others)))


def _uniform(
    reader: _Reader, source: data.Source, indices: list[int], halve: bool
) -> list[dict[str, Any]]:
    """Mean estimate under blur that is the same everywhere, sigma by sigma."""
    found: dict[float, list[tuple[float, float, float]]] = {sigma: [] for sigma in _SIGMAS}
    for number, i in enumerate(indices):
        sharp = _prepared(source[i], halve)
        assert sharp is not None, "a kept image is large enough"
        for sigma in _SIGMAS:
            truth = np.full(sharp.shape, sigma, np.float32)
            answer = reader(np.asarray(imaging.quantise(_blurred(sharp, truth))))
            middle, spread = _inner(np.asarray(answer.sigma)), _inner(np.asarray(answer.spread))
            numbers = np.isfinite(middle) & np.isfinite(spread)
            if numbers.any():
                error = middle[numbers] - sigma
                mean_spread = float(spread[numbers].mean())
                found[sigma].append((float(error.mean()), _rms(error), mean_spread))
        if number % _EVERY == _EVERY - 1 or number == len(indices) - 1:
            print(f"uniform blur: {number + 1} of {len(indices)} images read", file=sys.stderr)
    out = []
    for sigma, some in found.items():
        if some:
            bias, rmse, spread = (np.array(x) for x in zip(*some, strict=True))
            out.append(
                {
                    "sigma": sigma,
                    "n": len(some),
                    "mean": sigma + float(bias.mean()),
                    "bias": float(bias.mean()),
                    "deviation": float(bias.std(ddof=1)) if len(some) > 1 else float("nan"),
                    "rmse": _rms(rmse),
                    "mean_spread": float(spread.mean()),
                }
            )
    return out


def _figures(
    reader: _Reader,
    source: data.Source,
    kept: list[int],
    result: dict[str, Any],
    conditions: tuple[_Condition, ...],
    halve: bool,
    out: Path,
) -> list[Path]:
    written = []
    for condition in conditions:
        answered = _answered(result["rows"][str(condition)])
        if not condition.clean or not answered:
            continue
        ranked = sorted(answered, key=lambda row: row["rmse"])
        places = {"best": 0, "median": (len(ranked) - 1) // 2, "worst": len(ranked) - 1}
        # With few images they coincide, and are drawn once.
        chosen = {place: name for name, place in reversed(places.items())}
        images, truths, found, captions = [], [], [], []
        for place in sorted(chosen):
            row = ranked[place]
            sharp = _prepared(source[row["index"]], halve)
            assert sharp is not None, "a kept image is large enough"
            truth = _true_map(condition.test, sharp.shape)
            image = _observed(sharp, truth, condition, result["seed"], row["index"])
            # Read again rather than kept: the maps of all images would fill the memory.
            answer = reader(image)
            images.append(image)
            truths.append(truth)
            found.append(np.where(answer.valid, answer.sigma, np.nan))
            captions.append(
                f"{row['photograph']}\n{chosen[place]} of n = {len(ranked)}, "
                f"RMSE {row['rmse']:.3f} px over all pixels"
            )
        figure = plots.sigma_maps(
            images,
            truths,
            found,
            captions,
            border=_BORDER,
            title=f"{condition.test}, images: {result['images_are']}, {result['body']}",
        )
        written.append(plots.save(figure, out / f"maps_{condition.test}.png"))
    if result["uniform"]:
        columns = {
            key: np.array([row[key] for row in result["uniform"]])
            for key in ("sigma", "mean", "deviation", "mean_spread", "n")
        }
        figure = plots.sigma_bias(
            columns["sigma"],
            columns["mean"],
            columns["deviation"],
            columns["mean_spread"],
            n=int(columns["n"].max()),
        )
        written.append(plots.save(figure, out / "uniform.png"))
    return written


def _show(result: dict[str, Any], tests: tuple[Test, ...]) -> None:
    pooled = result["tests"]
    cropped = len(result[f"cropped_to_{_MOST}_px"])
    own = ", ".join(f"{test} {n}" for test, n in result["images_with_own_period"].items() if n)
    refused = max(test["refused"] for test in pooled.values())
    heading = (
        f"sigma_map ({result['body']}, {result['weights']}) on {result['photographs']} images, "
        f"protocol: {result['images_are']}\n({result['observation']}; border of {_BORDER} px left "
        f"out; {len(result['too_small'])} skipped as too small, {cropped} cropped to {_MOST} px, "
        f"{refused} without a valid pixel"
        + (f"; smaller than a period, own period: {own}" if own else "")
        + (";\naveraged to half their size" if result["halved"] else "")
        + ")"
    )
    report.table(
        f"{heading}\nRMSE in px, pooled over pixels, ± standard error over images",
        [
            "test",
            "all pixels",
            "valid",
            "surest 80 % of all, of each",
            "median image",
            "bias",
            "images",
        ],
        [
            [
                name,
                f"{test['rmse']:.3f} ± {test['standard_error']:.3f}",
                f"{test['rmse_valid']:.3f} ({100 * test['valid_share']:.0f} %)",
                f"{test['rmse_surest']:.3f}, {test['rmse_surest_of_each']:.3f}",
                f"{test['rmse_median_image']:.3f} / {test['rmse_surest_median_image']:.3f}",
                f"{test['bias']:+.3f}",
                str(test["n"]),
            ]
            for name, test in pooled.items()
        ],
    )
    report.table(
        "Of the squared error one offset an image; what an oracle that knew it would leave; "
        "the stated spread",
        [
            "test",
            "offset, %",
            "RMSE without",
            "mean spread",
            "rms error / spread",
            "in the 68 %",
            "in the 95 %",
            "s an image",
        ],
        [
            [
                name,
                f"{100 * test['offset_share']:.0f}",
                f"{test['rmse_without_offset']:.3f}",
                f"{test['mean_spread']:.3f}",
                f"{test['rms_error_in_spreads']:.2f}",
                f"{100 * test['within_68']:.1f}",
                f"{100 * test['within_95']:.1f}",
                f"{test['seconds_per_image']:.2f}",
            ]
            for name, test in pooled.items()
        ],
    )
    shown = [test for test in dict.fromkeys(tests) if test in pooled]
    _show_yardsticks(pooled, shown)
    for name, test in pooled.items():
        if "levels_from_ours" in test:
            levels = test["levels_from_ours"]
            print(
                f"{name}: column by column, exact; {100 * levels['share']:.2f} % of its 8-bit "
                f"pixels differ from ours, by at most {levels['most']:g} level(s)"
            )
    if result["uniform"]:
        report.table(
            f"Uniform blur, means over the middle of each image ({_TRUTH})",
            ["sigma, px", "mean", "bias", "s.d. between images", "RMSE", "mean spread", "images"],
            [
                [
                    f"{row['sigma']:g}",
                    *(f"{row['mean']:.3f}", f"{row['bias']:+.3f}"),
                    *(f"{row[key]:.3f}" for key in ("deviation", "rmse", "mean_spread")),
                    str(row["n"]),
                ]
                for row in result["uniform"]
            ],
        )


def _show_yardsticks(pooled: dict[str, Any], shown: list[Test]) -> None:
    def row(name: str, values: dict[str, float]) -> list[str]:
        return [name, *(f"{values[test]:.4f}" if test in values else "" for test in shown)]

    def named(key: str, name: str) -> dict[str, float]:
        return {test: pooled[test][key][name] for test in shown}

    first = pooled[shown[0]] if shown else {}
    table = [row("this", {test: pooled[test]["rmse"] for test in shown})]
    for key in ("smoothed", "yardsticks"):
        table += [
            row(f"this, {name}" if key == "smoothed" else name, named(key, name))
            for name in first.get(key, {})
        ]
    table += [
        row(name, values) for name, values in PUBLISHED.items() if any(t in shown for t in values)
    ]
    report.table(
        f"Beside it, RMSE in px over all pixels (published: {PUBLISHED_ON}; heat flow of step "
        f"{_HEAT_STEP}: our reading)",
        ["", *shown],
        table,
    )
