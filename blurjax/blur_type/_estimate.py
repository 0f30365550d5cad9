"""An image in, an answer with its reasons out (host)."""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import _load, images
from blurjax.blur_type import _judge, _spectrum
from blurjax.blur_type._config import LABELS, MIN_SIZE, PATCH, RULES, Config
from blurjax.blur_type._judge import ANSWERS
from blurjax.blur_type.model import Prediction, Variables, predict

# Patches read from one image, at most: more change nothing, and one compiled batch serves all.
_MOST = 256
# Fewer textured patches than this are no basis for an answer.
_LEAST = 8
_STRIDE = 8


class Estimate(NamedTuple):
    """The dominant blur of an image, or why there is no answer."""

    status: str
    """"ok", or one sentence that says why not."""
    label: str
    """One of `ANSWERS`: a type, "sharp" or "no dominant blur"; "unknown" unless status is "ok"."""
    probabilities: np.ndarray
    """(3,), in the order of `LABELS`, given that it is one of them; 1/3 each where nothing is
    known."""
    parameters: dict[str, float]
    """"sigma" | "length" and "angle" | "radius" of the label's type, in pixels and radians; empty
    where the label is no type."""
    spread: dict[str, float]
    """Their standard errors; where only the patches tell a parameter, half the central 68 % range
    over those that voted for the label."""
    votes: np.ndarray
    """(3,): how many patches chose each type."""
    boxes: np.ndarray
    """(n, 4) patches read, as row, column, height, width."""
    choices: np.ndarray
    """(n,): each patch's type, as an index into `LABELS`."""
    answers: np.ndarray
    """(5,): the probability of each of `ANSWERS`; 1/5 each where nothing is known. From weights
    without a judge of photographs the last two are 0."""


_SHIPPED = {None: "blur_type", "published": "blur_type_published"}


def load(name: str | Path | None = None) -> tuple[Variables, Config]:
    """Shipped or saved weights (host).

    Args:
        name: None for the best weights in the package, "published" for those of the published
            network (1024-500-30-10-3); a path ending in .npz for a weights file; any other path
            for a training checkpoint.

    Returns:
        Variables in float32, and their configuration.

    Raises:
        WeightsError: a weights file that is missing or damaged.
        CheckpointError: likewise a checkpoint.

    Example:
        >>> from blurjax import blur_type
        >>> variables, config = blur_type.load("published")
        >>> config.hidden
        (500, 30, 10)
    """
    return _load.load(name, _SHIPPED, Config)


# Only the package's own file: any other may be written again under the same name.
_shipped = functools.cache(load)


def estimate(
    image: np.ndarray | jax.Array, variables: Variables | None = None, config: Config | None = None
) -> Estimate:
    """Type and parameters of the blur that dominates an image, if one does (host).

    The textured 32x32 patches of the image, up to 256, the steepest of each part of the image
    first, are each read by the network and the GRNNs. A small network, the judge, trained on
    photographs with noise, compression, blurs beyond the ranges, other blurs and none, weighs what
    they say into the probabilities. The parameters are medians (of the angle circular) over the
    patches that voted for the winner; around them those are looked for that explain the mean power
    spectrum of the image best, as `blurjax.fit_blind` does, past noise and the rounding of JPEG.

    Weights without that judge, such as those of the published protocol, leave it to the patches:
    means of their probabilities, medians of their parameters, and always one of the types.

    Args:
        image: (H, W) gray or (H, W, 3) RGB; floats in [0, 1], or uint8 or uint16.
        variables, config: as from `load`; by default the shipped weights.

    Returns:
        `Estimate`; `status` says why when there is too little texture or the image is too small.

    Raises:
        ValueError: an array of another shape, with values that are not finite or out of range.

    Source: our choice; Yan & Shao, TIP 2016, end at the patch.
    """
    gray = images.as_gray(image)
    if variables is None:
        variables, shipped = _shipped()
        config = config or shipped
    config = config or Config()
    if min(gray.shape) < MIN_SIZE:
        return _refuse(
            f"image is {gray.shape[0]}x{gray.shape[1]} pixels; blur_type needs at least "
            f"{MIN_SIZE}x{MIN_SIZE}"
        )
    patches = read_patches(gray, variables, config)
    if patches is None:
        return _refuse(
            f"too little texture: fewer than {_LEAST} of the image's {PATCH}x{PATCH} patches can "
            "be read"
        )
    prediction, corners = patches
    if "judge" not in variables:
        return _combine(prediction, corners, config)
    evidence = jnp.asarray(_judge.evidence(prediction))
    answers = np.asarray(jax.nn.softmax(_judge.logits(variables["judge"], evidence[None])))[0]
    return _combine(prediction, corners, config, gray, answers.astype(float))


def read_patches(
    gray: np.ndarray, variables: Variables, config: Config
) -> tuple[Prediction, np.ndarray] | None:
    """Each patch's prediction and its corner (n, 2); None where too few can be read."""
    corners = _readable(gray)
    if len(corners) < _LEAST:
        return None
    rows, columns = corners[:, 0], corners[:, 1]
    windows = np.lib.stride_tricks.sliding_window_view(gray, (PATCH, PATCH))[rows, columns]
    # Padding to one batch size means one compilation for images of every size.
    padded = np.concatenate([windows, np.zeros((_MOST - len(windows), PATCH, PATCH), np.float32)])
    prediction = jax.tree.map(
        lambda x: np.asarray(x)[: len(windows)], predict(variables, jnp.asarray(padded), config)
    )
    return prediction, corners


def _readable(gray: np.ndarray) -> np.ndarray:
    """Corners (n, 2) of up to `_MOST` textured patches or, if there are few, of contrast-rich
    ones."""
    # Very large photographs are read on a coarser grid; the number of candidates stays bounded.
    step = max(_STRIDE, int(np.sqrt(gray.size / 40_000)))
    views = np.lib.stride_tricks.sliding_window_view(gray, (PATCH, PATCH))[::step, ::step]
    down = (gray[2:, 1:-1] - gray[:-2, 1:-1]) / 2
    right = (gray[1:-1, 2:] - gray[1:-1, :-2]) / 2
    steepness = np.hypot(down, right)
    inner = np.lib.stride_tricks.sliding_window_view(steepness, (PATCH - 2, PATCH - 2))
    mean_gradient = inner[::step, ::step].mean(axis=(-2, -1))
    contrast = views.std(axis=(-2, -1))
    for rule in ("textured", "all"):
        least_contrast, least_gradient = RULES[rule]
        row, column = np.nonzero((contrast >= least_contrast) & (mean_gradient >= least_gradient))
        if len(row) >= _LEAST:
            break
    corners = np.stack([row, column], axis=1) * step
    return corners[_spread_out(corners, mean_gradient[row, column])[:_MOST]]


def _spread_out(corners: np.ndarray, steepness: np.ndarray) -> np.ndarray:
    """Order of patches: the steepest of each 32-px cell first, then the second of each, ...

    The steepest alone would bunch on one object.
    """
    cell = corners // PATCH
    by_cell = np.lexsort((-steepness, cell[:, 1], cell[:, 0]))
    starts = np.r_[True, np.any(np.diff(cell[by_cell], axis=0) != 0, axis=1)]
    position = np.arange(len(by_cell))
    rank = np.empty(len(by_cell), int)
    rank[by_cell] = position - np.maximum.accumulate(np.where(starts, position, 0))
    return np.lexsort((-steepness, rank))


def _refuse(reason: str) -> Estimate:
    return Estimate(
        status=reason,
        label="unknown",
        probabilities=np.full(len(LABELS), 1 / len(LABELS)),
        parameters={},
        spread={},
        votes=np.zeros(len(LABELS), int),
        boxes=np.zeros((0, 4), int),
        choices=np.zeros(0, int),
        answers=np.full(len(ANSWERS), 1 / len(ANSWERS)),
    )


def _combine(
    prediction: Prediction,
    corners: np.ndarray,
    config: Config,
    gray: np.ndarray | None = None,
    answers: np.ndarray | None = None,
) -> Estimate:
    choices = np.asarray(prediction.label)
    if answers is None:
        # The mean, not the product: overlapping patches of one scene are no independent witnesses.
        mean = np.asarray(prediction.probabilities, np.float64).mean(axis=0)
        answers = np.concatenate([mean / mean.sum(), [0, 0]])
    types = np.maximum(answers[: len(LABELS)], 1e-12)
    label = ANSWERS[int(np.argmax(answers))]
    parameters: dict[str, float] = {}
    spread: dict[str, float] = {}
    if label in LABELS:
        parameters, spread = _from_patches(prediction, label)
        if gray is not None:
            high = getattr(config, _PARAMETERS[label][0])[1]
            _from_spectrum(gray, label, high, parameters, spread)
    return Estimate(
        status="ok",
        label=label,
        probabilities=types / types.sum(),
        parameters=parameters,
        spread=spread,
        votes=np.bincount(choices, minlength=len(LABELS)),
        boxes=np.concatenate([corners, np.full_like(corners, PATCH)], axis=1),
        choices=choices,
        answers=answers,
    )


def _from_patches(prediction: Prediction, label: str) -> tuple[dict[str, float], dict[str, float]]:
    """Medians over the patches that chose the label, and half their central 68 % range."""
    # The most probable type may be no patch's own choice; then all are heard.
    voters = np.asarray(prediction.label) == LABELS.index(label)
    voters = voters if np.any(voters) else np.ones(len(voters), bool)
    parameters, spread = {}, {}
    for name in _PARAMETERS[label]:
        values = np.asarray(getattr(prediction, name), np.float64)[voters]
        combine = _circular_median if name == "angle" else _median
        parameters[name], spread[name] = combine(values)
    return parameters, spread


def _from_spectrum(
    gray: np.ndarray,
    label: str,
    high: float,
    parameters: dict[str, float],
    spread: dict[str, float],
) -> None:
    """Put the spectrum's parameters in the patches' place where it knows them better.

    Zeros of the spectrum tell length, angle and radius far better than patches can, but now and
    then the wrong zero: what contradicts the patches is left, unless they have come to the end of
    their range, `high`. A sigma has no zeros; both witnesses are as good, and are averaged.
    """
    names = _PARAMETERS[label]
    size = names[0]
    saturated = parameters[size] > _SATURATED * high
    reach = _FURTHER if saturated else _CONTRADICTION
    near = np.array([parameters[name] for name in names])
    theta, errors = _spectrum.measure(gray, label, near, reach)
    ratio = theta[0] / parameters[size]
    if not (1 / _CONTRADICTION < ratio < reach and np.all(np.isfinite(errors))):
        return
    if label == "gaussian" and not saturated:
        error = errors[0] / theta[0]
        weight = _PATCH_ERROR**2 / (_PATCH_ERROR**2 + error**2)
        parameters[size] *= float(ratio**weight)
        # 1 / sqrt(1 / a^2 + 1 / b^2), the error of the weighted mean.
        spread[size] = parameters[size] * float(error * weight**0.5)
        return
    for name, value, error in zip(names, theta, errors, strict=True):
        parameters[name], spread[name] = float(value), float(error)
    if "angle" in parameters:
        parameters["angle"] %= np.pi


# Measured on training photographs: how far the patches' median sigma is off, as a part of it;
# from which part of the range on they fall short; and how far spectrum and patches may differ.
_PATCH_ERROR = 0.07
_SATURATED = 0.65
_CONTRADICTION, _FURTHER = 1.5, 3.0


_PARAMETERS = {"gaussian": ("sigma",), "motion": ("length", "angle"), "defocus": ("radius",)}


def _median(values: np.ndarray) -> tuple[float, float]:
    low, middle, high = np.quantile(values, [0.16, 0.5, 0.84])
    return float(middle), float(high - low) / 2


def _circular_median(angles: np.ndarray) -> tuple[float, float]:
    """Median and spread of undirected angles, unwrapped around their mean direction."""
    centre = np.angle(np.mean(np.exp(2j * angles))) / 2
    offset = (angles - centre + np.pi / 2) % np.pi - np.pi / 2
    middle, spread = _median(offset)
    return float((centre + middle) % np.pi), spread
