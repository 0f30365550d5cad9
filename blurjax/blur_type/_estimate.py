"""An image in, an answer with its reasons out (host)."""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import images, weights
from blurjax.blur_type._config import LABELS, MIN_SIZE, PATCH, RULES, Config
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
    """One of `LABELS`; "unknown" unless status is "ok"."""
    probabilities: np.ndarray
    """(3,), in the order of `LABELS`; 1/3 each where nothing is known."""
    parameters: dict[str, float]
    """"sigma" | "length" and "angle" | "radius" of the label's type, in pixels and radians."""
    spread: dict[str, float]
    """Half the central 68 % range of each parameter over the patches that voted for the label."""
    votes: np.ndarray
    """(3,): how many patches chose each type."""
    boxes: np.ndarray
    """(n, 4) patches read, as row, column, height, width."""
    choices: np.ndarray
    """(n,): each patch's type, as an index into `LABELS`."""


def load(name: str | Path | None = None) -> tuple[Variables, Config]:
    """Shipped or saved weights (host).

    Args:
        name: None for the weights in the package; a path ending in .npz for a weights file; any
            other path for a training checkpoint.

    Returns:
        Variables in float32, and their configuration.

    Raises:
        WeightsError: a weights file that is missing or damaged.
        CheckpointError: likewise a checkpoint.

    Example:
        >>> from blurjax import blur_type
        >>> variables, config = blur_type.load()
        >>> config.hidden
        (500, 30, 10)
    """
    if name is None or str(name).endswith(".npz"):
        file = weights.path("blur_type") if name is None else Path(name)
        tree, config, _ = weights.load(file, Config)
        return jax.tree.map(jnp.asarray, tree), config
    from blurjax import checkpoint

    tree, meta, _ = checkpoint.restore(name)
    config = weights.configuration(Config, meta["config"], str(name))
    # The training loop keeps its optimiser's state beside the variables.
    return tree.get("state", tree)["variables"], config


# Only the package's own file: any other may be written again under the same name.
_shipped = functools.cache(load)


def estimate(
    image: np.ndarray | jax.Array, variables: Variables | None = None, config: Config | None = None
) -> Estimate:
    """Type and parameters of the blur that dominates an image (host).

    The textured 32x32 patches of the image vote: up to 256, the steepest of
    each part of the image first, each read by the network and the GRNNs. The
    probabilities are the means of the patches'; the parameters are the medians (of
    the angle: circular) over the patches that voted for the winner.

    Args:
        image: (H, W) gray or (H, W, 3) RGB; floats in [0, 1], or uint8 or uint16.
        variables, config: as from `load`; by default the shipped weights.

    Returns:
        `Estimate`; `status` says why when there is too little texture or the image is too small.

    Raises:
        ValueError: an array of another shape, with values that are not finite or out of range.

    Source: voting is our choice; Yan & Shao, TIP 2016, end at the patch.
    """
    gray = as_gray(image)
    if variables is None:
        variables, shipped = _shipped()
        config = config or shipped
    config = config or Config()
    if min(gray.shape) < MIN_SIZE:
        return _refuse(
            f"image is {gray.shape[0]}x{gray.shape[1]} pixels; blur_type needs at least "
            f"{MIN_SIZE}x{MIN_SIZE}"
        )
    corners, found = _textured(gray)
    if len(corners) < _LEAST:
        return _refuse(
            f"too little texture: {found} of the image's {PATCH}x{PATCH} patches can be read, "
            f"{_LEAST} are needed"
        )
    rows, columns = corners[:, 0], corners[:, 1]
    windows = np.lib.stride_tricks.sliding_window_view(gray, (PATCH, PATCH))[rows, columns]
    # Padding to one batch size means one compilation for images of every size.
    padded = np.concatenate([windows, np.zeros((_MOST - len(windows), PATCH, PATCH), np.float32)])
    prediction = jax.tree.map(
        lambda x: np.asarray(x)[: len(windows)], predict(variables, jnp.asarray(padded), config)
    )
    return _combine(prediction, corners)


def as_gray(image: np.ndarray | jax.Array) -> np.ndarray:
    """float32 luminance in [0, 1] of what `estimate` accepts, or a ValueError that says why."""
    array = np.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] != 3) or array.size == 0:
        raise ValueError(f"image has shape {array.shape}; pass (H, W) gray or (H, W, 3) RGB")
    if array.dtype in (np.uint8, np.uint16):
        array = array / np.float32(np.iinfo(array.dtype).max)
    if not np.issubdtype(array.dtype, np.floating):
        raise ValueError(f"image is {array.dtype}; pass floats in [0, 1], uint8 or uint16")
    if not np.all(np.isfinite(array)):
        raise ValueError("image has values that are not finite; replace them before the estimate")
    low, high = float(array.min()), float(array.max())
    if low < -0.01 or high > 1.01:
        raise ValueError(f"image ranges over [{low:g}, {high:g}]; scale it to [0, 1]")
    return np.ascontiguousarray(images.gray(array.astype(np.float32)))


def _textured(gray: np.ndarray) -> tuple[np.ndarray, int]:
    """Corners (n, 2) of up to `_MOST` patches that satisfy "textured", and how many there were."""
    # Very large photographs are read on a coarser grid; the number of candidates stays bounded.
    step = max(_STRIDE, int(np.sqrt(gray.size / 40_000)))
    views = np.lib.stride_tricks.sliding_window_view(gray, (PATCH, PATCH))[::step, ::step]
    down = (gray[2:, 1:-1] - gray[:-2, 1:-1]) / 2
    right = (gray[1:-1, 2:] - gray[1:-1, :-2]) / 2
    steepness = np.hypot(down, right)
    inner = np.lib.stride_tricks.sliding_window_view(steepness, (PATCH - 2, PATCH - 2))
    mean_gradient = inner[::step, ::step].mean(axis=(-2, -1))
    contrast = views.std(axis=(-2, -1))
    least_contrast, least_gradient = RULES["textured"]
    row, column = np.nonzero((contrast >= least_contrast) & (mean_gradient >= least_gradient))
    order = _spread_out(np.stack([row, column], axis=1) * step, mean_gradient[row, column])
    return np.stack([row, column], axis=1)[order[:_MOST]] * step, len(row)


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
        probabilities=np.full(3, 1 / 3),
        parameters={},
        spread={},
        votes=np.zeros(3, int),
        boxes=np.zeros((0, 4), int),
        choices=np.zeros(0, int),
    )


def _combine(prediction: Prediction, corners: np.ndarray) -> Estimate:
    choices = np.asarray(prediction.label)
    # The mean, not the product: overlapping patches of one scene are no independent witnesses.
    probabilities = np.asarray(prediction.probabilities, np.float64).mean(axis=0)
    probabilities /= probabilities.sum()
    winner = int(np.argmax(probabilities))
    name = LABELS[winner]
    # The most probable type may be no patch's own choice; then all are heard.
    voters = choices == winner if np.any(choices == winner) else np.ones(len(choices), bool)
    parameters, spread = {}, {}
    for parameter in _PARAMETERS[name]:
        values = np.asarray(getattr(prediction, parameter), np.float64)[voters]
        combine = _circular_median if parameter == "angle" else _median
        parameters[parameter], spread[parameter] = combine(values)
    return Estimate(
        status="ok",
        label=name,
        probabilities=probabilities,
        parameters=parameters,
        spread=spread,
        votes=np.bincount(choices, minlength=3),
        boxes=np.concatenate([corners, np.full_like(corners, PATCH)], axis=1),
        choices=choices,
    )


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
