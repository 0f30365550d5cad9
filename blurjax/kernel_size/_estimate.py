"""An image in, the size of the kernel that blurred it out (host)."""

import functools
import math
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import _load
from blurjax import images as files
from blurjax.kernel_size._config import MIN_SIZE, PATCH, Config
from blurjax.kernel_size.model import Variables, read, views

LARGEST_IMAGE = 1280
"""Of larger images the middle is looked at, so many pixels a side: no kernel is seen better in
more."""

# See `framed`.
_MULTIPLE = 64
# Standard deviation of the gray levels below which there is nothing to see.
_FLAT = 1 / 255


class Estimate(NamedTuple):
    """How large the kernel is that blurred an image, or why that is not known."""

    status: str
    """"ok", or one sentence that says why not."""
    width: float
    """In pixels: the columns in which the kernel exceeds 1 % of its maximum, with the margin. NaN
    if there is no answer."""
    height: float
    """Likewise the rows."""
    interval: dict[str, tuple[float, float]]
    """Of "width" and of "height" the ends, in pixels, between which it lies in four of five cases;
    with the margin too."""
    size: int
    """The smallest odd side of an array that holds width and height: `size` of a kernel to be
    estimated. 0 if there is no answer."""


_SHIPPED = {None: "kernel_size", "cascade": "kernel_size_cascade"}


def load(name: str | Path | None = None) -> tuple[Variables, Config]:
    """Shipped or saved weights (host).

    Args:
        name: None for the correlation network, the best in the package; "cascade" for the cascade
            of residual networks at a compact width; a path ending in .npz for a weights file; any
            other path for a training checkpoint.

    Returns:
        Variables in float32, and their configuration.

    Raises:
        WeightsError: a weights file that is missing or damaged.
        CheckpointError: likewise a checkpoint.

    Example:
        >>> from blurjax import kernel_size
        >>> variables, config = kernel_size.load("cascade")
        >>> config.body
        'cascade'
    """
    return _load.load(name, _SHIPPED, Config)


# Only the package's own file: any other may be written again under the same name.
_shipped = functools.cache(load)
_views = jax.jit(views, static_argnames="config")
_read = jax.jit(read, static_argnames=("config", "decoding"))


def estimate(
    image: np.ndarray | jax.Array,
    variables: Variables | None = None,
    config: Config | None = None,
    *,
    margin: float = 0.0,
    decoding: str | None = None,
) -> Estimate:
    """How many pixels wide and high the kernel of an image's motion blur is.

    Between 1 (no blur) and 97; kernels beyond that are told to be somewhere below it.

    Args:
        image: (H, W) gray or (H, W, 3) RGB; floats in [0, 1], or uint8 or uint16. Of sides above
            1280 pixels the middle is looked at.
        variables, config: as from `load`, together; by default the shipped weights.
        margin: what is added to the sizes, as a share of them. For blind deblurring a kernel that
            is too small harms more than one that is a fifth too large.
        decoding: see `decode`.

    Returns:
        `Estimate`; `status` says why when the image is too small or flat.

    Raises:
        ValueError: an array of another shape, with values that are not finite or out of range; a
            margin below 0 or not finite; a configuration without its variables.

    Source: Ye et al. for the question; the answer is our choice.

    Example:
        >>> from blurjax import data, images, kernel_size
        >>> photograph = images.read(data.embedded_path("clock_motion.png"))
        >>> kernel_size.estimate(photograph).status
        'ok'
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise ValueError(f"margin is {margin}; it is a share of the size: pass 0 or more, 0.2 say")
    gray = files.as_gray(image)
    if variables is None:
        variables, shipped = _shipped()
        if config not in (None, shipped):
            raise ValueError(
                f"config is of body {config.body!r} without variables; pass both, as from `load`"
            )
        config = shipped
    config = config or Config()
    least = MIN_SIZE if config.body == "correlation" else PATCH + 1
    if min(gray.shape) < least:
        return _refuse(
            f"image is {gray.shape[0]}x{gray.shape[1]} pixels; kernel_size needs at least "
            f"{least}x{least}"
        )
    images, inside = framed(gray)
    rows, columns = inside[0]
    if float(np.std(images[0, :rows, :columns])) < _FLAT:
        return _refuse("too little texture: the image is flat")
    seen = _views(jnp.asarray(images), config, inside=inside)
    found = jax.device_get(_read(variables, seen, config, decoding=decoding))
    height, width = (1 + margin) * found.size[0]
    ends = (1 + margin) * np.stack([found.low[0], found.high[0]], axis=1)
    return Estimate(
        status="ok",
        width=float(width),
        height=float(height),
        interval={
            "width": (float(ends[1, 0]), float(ends[1, 1])),
            "height": (float(ends[0, 0]), float(ends[0, 1])),
        },
        size=2 * math.ceil((max(width, height) - 1) / 2 - 1e-6) + 1,
    )


def framed(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The part of an image that `estimate` looks at, as a batch of one for `predict` (host).

    Args:
        gray: (H, W), in [0, 1].

    Returns:
        (1, h, w) float32, h and w multiples of 64, so that few programs are compiled: the image's
        middle, at most 1280 pixels a side, in the upper left corner; and `inside`, (1, 2).

    Source: our choice.
    """
    top, left = (max(0, side - LARGEST_IMAGE) // 2 for side in gray.shape)
    gray = gray[top : top + LARGEST_IMAGE, left : left + LARGEST_IMAGE]
    beyond = [(0, -side % _MULTIPLE) for side in gray.shape]
    return np.pad(gray, beyond).astype(np.float32)[None], np.array([gray.shape])


def _refuse(status: str) -> Estimate:
    unknown = (math.nan, math.nan)
    return Estimate(status, math.nan, math.nan, {"width": unknown, "height": unknown}, 0)
