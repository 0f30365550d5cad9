"""An image in, the windows to estimate its kernel from out (host)."""

import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import _load
from blurjax import images as files
from blurjax.region._config import WINDOW, Config
from blurjax.region.model import Variables, predict

MIN_SIZE = 64
"""Smallest image side, and window, in pixels, that `estimate` accepts."""

# The coarse grid's windows of 228 px overlap by three quarters; where they would be more than so
# many, less.
_STRIDE, _MOST = WINDOW // 4, 256
# Around the best one the stride is halved so often; larger windows differ less.
_HALVINGS = 2
# Scored in one program.
_TOGETHER = 16
# Standard deviation of the gray levels below which there is nothing to see.
_FLAT = 1 / 255


class Estimate(NamedTuple):
    """Where the kernel of an image is estimated best, or why that is not known."""

    status: str
    """"ok", or one sentence that says why not."""
    boxes: np.ndarray
    """(n, 4) int: row, column, height, width of the best windows in pixels, the best first; fewer
    than asked for where no more fit."""
    scores: np.ndarray
    """(n,) float32: how likely a good kernel is estimated in each, in [0, 1]. Calibrated on all
    windows of validation photographs; of the best of many it is too high."""
    score_map: np.ndarray
    """(rows, columns) float32: the scores of the coarse grid's windows."""
    map_boxes: np.ndarray
    """(rows, columns, 4): these windows, as in `boxes`."""


SHIPPED = {None: "region", "gabor": "region_gabor"}
"""The weights in the package by the names that `load` takes."""


def load(name: str | Path | None = None) -> tuple[Variables, Config]:
    """Shipped or saved weights (host).

    Args:
        name: None for the network, the best in the package; "gabor" for logistic regression on
            Gabor statistics; a path ending in .npz for a weights file; any other path for a
            training checkpoint.

    Returns:
        Variables in float32, and their configuration.

    Raises:
        WeightsError: a weights file that is missing or damaged.
        CheckpointError: likewise a checkpoint.

    Example:
        >>> from blurjax import region
        >>> variables, config = region.load("gabor")
        >>> config.body
        'gabor'
    """
    return _load.load(name, SHIPPED, Config)


# Only the package's own file: any other may be written again under the same name.
_shipped = functools.cache(load)
_predict = jax.jit(predict, static_argnames="config")


def scores(
    gray: np.ndarray,
    corners: np.ndarray,
    variables: Variables,
    config: Config,
    *,
    size: int = WINDOW,
) -> np.ndarray:
    """How likely a good kernel is estimated in each of some windows (host).

    Each window is scored by itself, exactly: what a network that is run over the whole image says
    would differ at every border. The score of windows above 228 pixels is the mean of those of the
    windows of 228 in them, a quarter of that or less apart: it ranks them, and is too small as a
    probability, as more is seen in more.

    Args:
        gray: (H, W) floats in [0, 1].
        corners: (n, 2) int, row and column of the windows' upper left pixels, all of it inside.
        variables, config: as from `load`, together.
        size: of the windows, in pixels.

    Returns:
        (n,) float32 in [0, 1].

    Raises:
        ValueError: windows that are too small, or not inside the image.

    Source: Yang et al. 3; our choice.

    Example:
        >>> from blurjax import data, region
        >>> photograph = data.embedded("test")[0]
        >>> corners = region.grid(photograph.shape, 228, 100)
        >>> region.scores(photograph, corners, *region.load("gabor")).shape == (len(corners),)
        True
    """
    corners = np.asarray(corners)
    if len(corners) and (corners.min() < 0 or np.any(corners.max(0) + size > gray.shape)):
        raise ValueError(
            f"windows of {size} px at up to {corners.max(0).tolist()} are not all inside an image "
            f"of {gray.shape[0]}x{gray.shape[1]}; make the corners with region.grid"
        )
    if size > WINDOW:
        offsets = np.linspace(0, size - WINDOW, -(-(size - WINDOW) // _STRIDE) + 1).astype(int)
        parts = np.stack(np.meshgrid(offsets, offsets, indexing="ij"), -1).reshape(1, -1, 2)
        # Windows that overlap share most of their parts.
        places, which = np.unique(
            (corners[:, None] + parts).reshape(-1, 2), axis=0, return_inverse=True
        )
        values = scores(gray, places, variables, config)
        return values[which.ravel()].reshape(len(corners), parts.shape[1]).mean(axis=1)
    found = []
    for i in range(0, len(corners), _TOGETHER):
        # The last program is filled up: another number of windows would be compiled anew.
        some = np.resize(corners[i : i + _TOGETHER], (_TOGETHER, 2))
        windows = np.stack([gray[r : r + size, c : c + size] for r, c in some])
        answer = _predict(variables, jnp.asarray(windows, jnp.float32), config=config)
        found.append(np.asarray(answer.score))
    return np.concatenate([np.zeros(0, np.float32), *found])[: len(corners)]


def estimate(
    image: np.ndarray | jax.Array,
    variables: Variables | None = None,
    config: Config | None = None,
    *,
    size: int = WINDOW,
    top: int = 1,
) -> Estimate:
    """The windows of a blurred image from which its kernel is estimated best.

    A grid of windows is scored, up to 57 pixels apart (a quarter of their side, if that is less;
    more in large images, so that they are at most 256), then around the best of them all windows
    half and a quarter of its stride away, unless they are larger than 228. Further windows are the
    best of those that overlap none of the better ones by more than half in both directions.

    Args:
        image: (H, W) gray or (H, W, 3) RGB; floats in [0, 1], or uint8 or uint16.
        variables, config: as from `load`, together; by default the shipped weights.
        size: of the windows in pixels, 64 or more. The network was trained on 228; see `scores` for
            larger ones.
        top: how many windows at most.

    Returns:
        `Estimate`; `status` says why when the image is smaller than a window or flat.

    Raises:
        ValueError: an array of another shape, with values that are not finite or out of range; a
            size below 64, a `top` below 1; a configuration without its variables.

    Source: Yang, Wu and Sun, "Select good regions for deblurring based on convolutional neural
        networks"; the refinement is our choice.

    Example:
        >>> from blurjax import data, images, region
        >>> photograph = images.read(data.embedded_path("clock_motion.png"))
        >>> found = region.estimate(photograph)
        >>> found.status, found.boxes.shape
        ('ok', (1, 4))
    """
    if size < MIN_SIZE or top < 1:
        raise ValueError(
            f"size is {size} and top {top}; windows have {MIN_SIZE} px or more, and at least one "
            "is wanted"
        )
    gray = files.as_gray(image)
    if variables is None:
        variables, shipped = _shipped()
        if config not in (None, shipped):
            raise ValueError(f"config is {config!r} without variables; pass both, as from `load`")
        config = shipped
    config = config or Config()
    if min(gray.shape) < size:
        return _refuse(
            f"image is {gray.shape[0]}x{gray.shape[1]} pixels; region needs at least {size}x{size}"
        )
    if float(np.std(gray)) < _FLAT:
        return _refuse("too little texture: the image is flat")
    spare = np.array([n - size for n in gray.shape])
    stride = min(size // 4, _STRIDE)
    while np.prod(1 + -(-spare // stride)) > _MOST:
        stride += 1
    said = functools.partial(scores, gray, variables=variables, config=config, size=size)
    # Up to the border, other than `grid`.
    rows, columns = (np.linspace(0, s, 1 + -(-s // stride)).astype(int) for s in spare)
    coarse = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    values = said(coarse)
    corners: list[np.ndarray] = []
    found: list[float] = []
    free = np.ones(len(coarse), bool)
    while free.any() and len(corners) < top:
        at = int(np.argmax(np.where(free, values, -1)))
        best, value = coarse[at], float(values[at])
        for halving in range(1, _HALVINGS + 1 if size <= WINDOW else 1):
            around = best[None] + (stride >> halving) * _AROUND
            inside = np.all((around >= 0) & (around <= spare[None]), axis=1)
            # Not into a window that was chosen before.
            inside &= np.all([_apart(around, one, size) for one in corners] or [inside], axis=0)
            near = said(around[inside])
            if len(near) and near.max() > value:
                best, value = around[inside][np.argmax(near)], float(near.max())
        corners.append(best)
        found.append(value)
        free &= _apart(coarse, best, size)
    order = np.argsort(found)[::-1]
    return Estimate(
        "ok",
        _boxes(np.array(corners)[order], size),
        np.array(found, np.float32)[order],
        values.reshape(len(rows), len(columns)),
        _boxes(coarse, size).reshape(len(rows), len(columns), 4),
    )


_AROUND = np.array([(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j])


def _apart(corners: np.ndarray, other: np.ndarray, size: int) -> np.ndarray:
    """Which windows overlap another by no more than half in both directions."""
    return np.abs(corners - other[None]).max(axis=1) >= size / 2


def _boxes(corners: np.ndarray, size: int) -> np.ndarray:
    return np.concatenate([corners, np.full_like(corners, size)], axis=1)


def _refuse(status: str) -> Estimate:
    nothing = np.zeros((0, 4), int)
    return Estimate(
        status, nothing, np.zeros(0, np.float32), np.zeros((0, 0), np.float32),
        nothing.reshape(0, 0, 4),
    )  # fmt: skip
