"""Everything that the library can tell about the blur of one image (host)."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from blurjax import _programs, blur_type, images, kernel_size, region, sharpness, sigma_map

Weights = Mapping[str, str | Path]
"""Weights files or checkpoints by the name of their system."""


class Analysis(NamedTuple):
    """One field a system, named after it; each an estimate with a `status` of its own."""

    blur_type: blur_type.Estimate
    """Type and parameters of the dominant blur."""
    sigma_map: sigma_map.Estimate
    """Gaussian blur at each pixel, and where it is known."""
    sharpness: sharpness.Estimate
    """Which parts are sharp."""
    kernel_size: kernel_size.Estimate
    """Width and height of the kernel, where it is motion that blurred it."""
    region: region.Estimate
    """In which window the kernel is estimated best."""


MIN_SIZE = min(
    blur_type.MIN_SIZE,
    sigma_map.MIN_SIZE,
    sharpness.MIN_SIZE,
    kernel_size.MIN_SIZE,
    # Asked for windows of this size, it needs an image at least so large; its own MIN_SIZE is that
    # of the smallest windows that anybody may ask for.
    region.WINDOW,
)
"""The image side, in pixels, below which no system has an answer."""


def analyze(image: np.ndarray | jax.Array, *, weights: Weights | None = None) -> Analysis:
    """What blur is in an image, by every system (host).

    A system that cannot answer (too small an image, too little texture) says so in the `status`
    of its estimate; the others go on.

    Args:
        image: (H, W) gray or (H, W, 3) RGB; floats in [0, 1], or uint8 or uint16.
        weights: for each system named in it ("blur_type", "sigma_map", "sharpness",
            "kernel_size", "region"), the file to use instead of the shipped weights.

    Returns:
        `Analysis`.

    Raises:
        ValueError: an array of another shape or with values that are not finite or out of range;
            a name in `weights` that is no system's; weights of sharpness that are no detector's.
        WeightsError, CheckpointError: weights that are missing or damaged.

    Source: our choice.

    Example:
        >>> import blurjax
        >>> from blurjax import data, images
        >>> photograph = images.read(data.embedded_path("clock_motion.png"))
        >>> blurjax.analyze(photograph).blur_type.status
        'ok'
    """
    with workers(image) as pool:
        return finished(begin(image, pool, weights=weights))


def begin(
    image: np.ndarray | jax.Array, pool: Executor, *, weights: Weights | None = None
) -> dict[str, Future[Any]]:
    """What `analyze` gathers, as futures, in the order in which they are begun (host).

    Args:
        image, weights: as of `analyze`, which also says what is refused.
        pool: from `workers`.
    """
    files = dict(weights or {})
    if unknown := files.keys() - set(Analysis._fields):
        raise ValueError(
            f"no system is called {', '.join(sorted(unknown))}; "
            f"weights can be given for {', '.join(Analysis._fields)}"
        )
    _programs.make_room()
    # Once for all: each would make the same of it.
    gray = images.as_gray(image)

    def answer(name: str) -> Any:
        # The shipped ones each system keeps: they are not to be read again for every image.
        variables = LOADERS[name](files[name]) if name in files else ()
        return _SYSTEMS[name](gray, *variables)

    return {name: pool.submit(answer, name) for name in _SYSTEMS}


def finished(answers: Mapping[str, Future[Any]]) -> Analysis:
    """All that was begun, once it is there."""
    return Analysis(**{name: answer.result() for name, answer in answers.items()})


@contextlib.contextmanager
def workers(image: np.ndarray | jax.Array) -> Iterator[Executor]:
    """What looks at an image: two threads, for while one compiles, which takes one core, another
    computes. Of a large image each system needs much memory, and time enough for compiling not to
    matter: one after the other."""
    pool: Executor = ThreadPoolExecutor(2) if np.size(image) <= _SMALL else _OneByOne()
    try:
        yield pool
    except BaseException:
        # An interrupt waits for what is running, but not for what is not begun.
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    pool.shutdown()


class _OneByOne(Executor):
    """Does at once what it is given."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:
            done.set_exception(error)
        return done


# First those that tell what a preview of deblurring is to try, see `_deblur.preview`.
_SYSTEMS: dict[str, Callable[..., Any]] = {
    "kernel_size": kernel_size.estimate,
    "region": region.estimate,
    "blur_type": blur_type.estimate,
    "sharpness": sharpness.estimate,
    "sigma_map": sigma_map.estimate,
}
# Numbers in an image, up to which two systems look at it at once.
_SMALL = 12_000_000


def _load_detector(name: str | Path | None = None) -> tuple[Any, sharpness.Config]:
    """`sharpness.load`, of the network alone: its other methods have weights of another kind."""
    variables, config = sharpness.load(name)
    if config.body != "detector":
        raise ValueError(
            f"{name}: weights of body {config.body!r}; analyze needs those of a 'detector' "
            "(sharpness.estimate takes the others)"
        )
    return variables, config


LOADERS: dict[str, Callable[[str | Path | None], tuple[Any, Any]]] = {
    "blur_type": blur_type.load,
    "sigma_map": sigma_map.load,
    "sharpness": _load_detector,
    "kernel_size": kernel_size.load,
    "region": region.load,
}
"""Of each system, how its weights are read; None means the shipped ones."""


def summary(analysis: Analysis) -> dict[str, Any]:
    """An analysis as plain values, ready for JSON (host).

    Args:
        analysis: from `analyze`.

    Returns:
        The `sentence`, and one dictionary a system: its status and its answer, every number with
        its unit. Angles stand there in radians and in degrees.
    """
    rows = zip(analysis._fields, analysis, strict=True)
    return {
        "sentence": sentence(analysis),
        **{name: _SUMMARIES[name](row) for name, row in rows},
    }


def sentence(analysis: Analysis) -> str:
    """What all systems say of an image, as one sentence for people (host).

    Such as "motion blur, about 14 px at 30 degrees, whole frame; confidence 0.93" or "sharp in 38 %
    of the frame; confidence 0.81". The type, its parameters and the confidence
    (the answer's probability) are blur_type's, where in the frame is sharpness's, and the size of
    a blur that has no type is kernel_size's.

    Args:
        analysis: from `analyze`.

    Source: our choice.
    """
    kind, seen = analysis.blur_type, analysis.sharpness
    if kind.status != "ok":
        if seen.status != "ok":
            # Of all the reasons, that of the system that would do with the least.
            return f"no answer: {analysis.sigma_map.status}"
        return f"{share_phrase(seen.sharp_fraction)}; the type of the blur is unknown"
    share = seen.sharp_fraction if seen.status == "ok" else None
    if everywhere(kind):
        share = 0.0
    words = f"{_NAMED[kind.label](kind.parameters)}{_where(kind.label, share)}"
    if kind.label == "no dominant blur":
        words += ", of no single type"
        # A camera that shook blurs all of the frame.
        if analysis.kernel_size.status == "ok" and (share is None or share < 0.5):
            words += f" (as motion about {size_phrase(analysis.kernel_size)})"
    return f"{words}; confidence {confidence(kind)}"


def everywhere(estimate: blur_type.Estimate) -> bool:
    """Whether a motion was found all over an image, so that what looks sharp in it is not (host).

    Streaks pass for detail: a lawn that moved by 9 px is sharp all over to sharpness, a cup of
    coffee in 47 % of the frame. Four of five patches must have voted for it: in 45 of 45 training
    photographs that moved by 5 to 20 px they had; of 90 of which a half or 70 % had moved one was
    called moved at all.
    """
    if estimate.status != "ok" or estimate.label != "motion":
        return False
    votes = estimate.votes[blur_type.LABELS.index("motion")]
    return bool(votes >= 0.8 * estimate.votes.sum())


def confidence(estimate: blur_type.Estimate) -> str:
    """The probability of an answer in two digits, never rounded to certainty (host)."""
    return f"{min(float(estimate.answers.max()), 0.99):.2f}"


# What a blur of each type is called by people.
_NAMED: dict[str, Callable[[Mapping[str, float]], str]] = {
    "gaussian": lambda p: f"Gaussian blur, sigma about {p['sigma']:.1f} px",
    "motion": lambda p: (
        f"motion blur, about {p['length']:.0f} px at {_degrees(p['angle']):.0f} degrees"
    ),
    "defocus": lambda p: f"out of focus, a disc of radius about {p['radius']:.1f} px",
    "sharp": lambda p: "sharp",
    "no dominant blur": lambda p: "blurred",
}
# A frame of which no more is sharp, or blurred, is so as a whole: streaks of a motion pass for
# detail, and inside smooth things nobody can tell.
_LITTLE = 0.15


def _where(label: str, share: float | None) -> str:
    """Where the blur is, if a `share` of the frame is sharp."""
    if share is None:
        return ""
    if label == "sharp":
        return ", whole frame" if share > 1 - _LITTLE else f" in {percent(share)} of the frame"
    if share > 1 - _LITTLE:
        return ", though little enough to look sharp almost everywhere"
    return ", whole frame" if share < _LITTLE else f", in {percent(1 - share)} of the frame"


def _degrees(angle: float) -> float:
    """In [0, 180), as whole degrees show it: what would round to 180 is 0."""
    degrees = math.degrees(angle) % 180
    return 0.0 if round(degrees) == 180 else degrees


def blur_phrase(
    label: str, parameters: Mapping[str, float], spread: Mapping[str, float] | None = None
) -> str:
    """A blur in words, such as "motion, length 9.1 ± 0.4 px, angle 30 ± 2°" (host).

    Args:
        label: one of `blur_type.ANSWERS`; what is no type has no parameters.
        parameters: its parameters by name, in pixels and radians.
        spread: likewise their spread, if known.
    """
    return ", ".join(filter(None, (label, parameter_phrase(parameters, spread))))


def parameter_phrase(
    parameters: Mapping[str, float], spread: Mapping[str, float] | None = None
) -> str:
    """Parameters in words, such as "length 9.1 ± 0.4 px, angle 30 ± 2°" (host).

    Args:
        parameters: values by name, in pixels and radians.
        spread: likewise their spread, if known.
    """
    spread = spread or {}
    phrases = []
    for name, value in parameters.items():
        if name == "angle":
            number, unit, digits = _degrees(value), "°", 0
            around = math.degrees(spread.get(name, 0))
        else:
            number, unit, digits = value, " px", 1
            around = spread.get(name, 0)
        # As many digits as it takes: nothing is known to within nothing.
        shown = next((x for n in range(digits, 4) if float(x := f"{around:.{n}f}")), "0")
        between = f" ± {shown}" if name in spread else ""
        phrases.append(f"{name} {number:.{digits}f}{between}{unit}")
    return ", ".join(phrases)


def sigma_phrase(estimate: sigma_map.Estimate) -> str:
    """A sigma map in words, such as "0.4 to 2.1 px (median 0.9, 5 to 95 %), known in 83 % of the
    pixels" (host); why there is none, if so."""
    row = _sigma_map_summary(estimate)
    if row["sigma_median"] is None:
        return str(row["status"])
    low, middle, high = (row[f"sigma_{which}"] for which in ("5_percent", "median", "95_percent"))
    return (
        f"{low:.1f} to {high:.1f} px (median {middle:.1f}, 5 to 95 %), "
        f"known in {percent(row['coverage'])} of the pixels"
    )


def sharpness_phrase(estimate: sharpness.Estimate) -> str:
    """Sharpness in words, such as "38 % of the pixels are sharp" or "all blurred" (host); why
    there is none, if so."""
    return share_phrase(estimate.sharp_fraction) if estimate.status == "ok" else estimate.status


def share_phrase(sharp_fraction: float) -> str:
    """How much of an image is sharp, in [0, 1], in words (host)."""
    if sharp_fraction in (0, 1):
        return "all sharp" if sharp_fraction else "all blurred"
    return f"{percent(sharp_fraction)} of the pixels are sharp"


def kernel_size_phrase(estimate: kernel_size.Estimate) -> str:
    """A kernel's size in words, such as "13.4 x 8.1 px (width x height; 80 % within 12-15 x 7-10)"
    (host); why it is not known, if so."""
    if estimate.status != "ok":
        return estimate.status
    return f"{size_phrase(estimate)} (width x height; {interval_phrase(estimate)})"


def size_phrase(estimate: kernel_size.Estimate) -> str:
    """Width and height of a kernel in words, such as "13.4 x 8.1 px" (host)."""
    size = f"{estimate.width:.1f} x {estimate.height:.1f} px"
    # Not everybody knows that a kernel of one pixel does nothing.
    still = round(max(estimate.width, estimate.height)) == 1
    return f"no motion, {size}" if still else size


def interval_phrase(estimate: kernel_size.Estimate) -> str:
    """Where width and height may lie, such as "80 % within 12-15 x 7-10" (host).

    In whole pixels, as kernels have them.
    """
    spans = []
    for side in ("width", "height"):
        low, high = (f"{end:.0f}" for end in estimate.interval[side])
        spans.append(low if low == high else f"{low}-{high}")
    return f"{percent(kernel_size.COVERAGE)} within {' x '.join(spans)}"


def region_phrase(estimate: region.Estimate) -> str:
    """The best window in words, such as "228x228 px at row 120, column 40 (score 0.63)" (host);
    why there is none, if so."""
    if estimate.status != "ok":
        return estimate.status
    row, column, height, width = estimate.boxes[0]
    return f"{height}x{width} px at row {row}, column {column} (score {estimate.scores[0]:.2f})"


def percent(probability: float) -> str:
    """A probability or a share in [0, 1] in whole percent, never rounded to certainty (host)."""
    if probability > 0.995:
        return "> 99 %"
    return "< 1 %" if probability < 0.005 else f"{100 * probability:.0f} %"


def _blur_type_summary(estimate: blur_type.Estimate) -> dict[str, Any]:
    parameters: dict[str, dict[str, float | str]] = {}
    for name, value in estimate.parameters.items():
        spread = estimate.spread[name]
        parameters[name] = {
            "value": value,
            "spread": spread,
            "unit": "radian" if name == "angle" else "pixel",
        }
        if name == "angle":
            parameters[name] |= {
                "value_degrees": math.degrees(value),
                "spread_degrees": math.degrees(spread),
            }
    return {
        "status": estimate.status,
        "label": estimate.label,
        "probabilities": dict(
            zip(blur_type.LABELS, map(float, estimate.probabilities), strict=True)
        ),
        "answers": dict(zip(blur_type.ANSWERS, map(float, estimate.answers), strict=True)),
        "parameters": parameters,
        "votes": dict(zip(blur_type.LABELS, map(int, estimate.votes), strict=True)),
        "everywhere": everywhere(estimate),
        "patches": len(estimate.boxes),
    }


def _sigma_map_summary(estimate: sigma_map.Estimate) -> dict[str, Any]:
    valid = estimate.valid
    known = bool(np.any(valid))
    low, middle, high = np.quantile(estimate.sigma[valid], [0.05, 0.5, 0.95]) if known else [0] * 3
    return {
        "status": estimate.status,
        "sigma_median": float(middle) if known else None,
        "sigma_5_percent": float(low) if known else None,
        "sigma_95_percent": float(high) if known else None,
        "spread_median": float(np.median(estimate.spread[valid])) if known else None,
        "coverage": float(np.mean(valid)),
        "unit": "pixel",
    }


def _sharpness_summary(estimate: sharpness.Estimate) -> dict[str, Any]:
    known = estimate.status == "ok"
    return {
        "status": estimate.status,
        "sharp_fraction": estimate.sharp_fraction if known else None,
        "mean": float(np.mean(estimate.sharpness)) if known else None,
    }


def _kernel_size_summary(estimate: kernel_size.Estimate) -> dict[str, Any]:
    known = estimate.status == "ok"
    return {
        "status": estimate.status,
        **{
            side: {
                "value": getattr(estimate, side) if known else None,
                "low": estimate.interval[side][0] if known else None,
                "high": estimate.interval[side][1] if known else None,
                "unit": "pixel",
            }
            for side in ("width", "height")
        },
        "interval_probability": kernel_size.COVERAGE,
        "size": estimate.size if known else None,
    }


def _region_summary(estimate: region.Estimate) -> dict[str, Any]:
    known = estimate.status == "ok"
    places = ("row", "column", "height", "width")
    return {
        "status": estimate.status,
        # JSON knows no integers of NumPy's.
        "box": {**dict(zip(places, map(int, estimate.boxes[0]), strict=True)), "unit": "pixel"}
        if known
        else None,
        "score": float(estimate.scores[0]) if known else None,
    }


_SUMMARIES: dict[str, Callable[[Any], dict[str, Any]]] = {
    "blur_type": _blur_type_summary,
    "sigma_map": _sigma_map_summary,
    "sharpness": _sharpness_summary,
    "kernel_size": _kernel_size_summary,
    "region": _region_summary,
}
