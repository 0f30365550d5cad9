"""An image in, how sharp each of its pixels is out (host)."""

import functools
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from blurjax import _load, features, images
from blurjax._typing import Array, Float
from blurjax.sharpness._baselines import gradient_energy, lbp
from blurjax.sharpness._config import MIN_SIZE, Config
from blurjax.sharpness._metric import STEP, local_metric
from blurjax.sharpness._refine import adaptive_mask
from blurjax.sharpness._refine import refine as refine_map
from blurjax.sharpness.model import MULTIPLE, Variables, at_pixels, check_size, predict

KERNELS = ("metric", "fixed", "untrained")
"""Methods that are the local metric, by whose kernels."""

METHODS = ("detector", *KERNELS, "lbp", "gradient_energy")
"""How `estimate` can tell sharp from blurred."""

# Means over so many squares of 4x4 pixels, twice: a flat place takes the sharpness of what is
# around it.
_SETTLED = 9
# A map without any difference, or an image without detail, says nothing.
_FLAT = 1 / 255


class Estimate(NamedTuple):
    """How sharp each pixel of an image is."""

    status: str
    """"ok", or one sentence that says why there is no answer."""
    sharpness: np.ndarray
    """(H, W) float32 in [0, 1]: 1 is sharp, 0 blurred, 0.5 the calibrated threshold, for images
    that are wholly sharp or wholly blurred too. 0.5 everywhere where there is no answer."""
    mask: np.ndarray
    """(H, W) bool: sharpness above 0.5, or above the adaptive threshold that was asked for."""
    sharp_fraction: float
    """The share of `mask`, in [0, 1]."""


_SHIPPED = {None: "sharpness", "metric": "sharpness_metric"}


def load(name: str | Path | None = None) -> tuple[Variables, Config]:
    """Shipped or saved weights (host).

    Args:
        name: None for the detector, the best weights in the package; "metric" for the kernels of
            the local metric, of its controls, and the calibration of every method but the
            detector; a path ending in .npz for a weights file; any other path for a training
            checkpoint.

    Returns:
        Variables in float32, and their configuration.

    Raises:
        WeightsError: a weights file that is missing or damaged.
        CheckpointError: likewise a checkpoint.

    Example:
        >>> from blurjax import sharpness
        >>> variables, config = sharpness.load("metric")
        >>> variables["params"]["metric"].shape
        (2, 7, 7)
    """
    return _load.load(name, _SHIPPED, Config)


# Only the package's own files: any other may be written again under the same name.
_shipped = functools.cache(load)


def estimate(
    image: np.ndarray | jax.Array,
    variables: Variables | None = None,
    config: Config | None = None,
    *,
    method: str = "detector",
    refine: bool = True,
    adaptive: float | None = None,
    size: int | None = 512,
) -> Estimate:
    """How sharp each pixel of an image is, and which parts are sharp.

    Sharp is what looks sharp at the size the image is looked at. At the single pixels of a large
    photograph nothing is sharp, and a network that has learned from sharp pixels calls all of it
    blurred.

    Args:
        image: (H, W) gray or (H, W, 3) RGB; floats in [0, 1], or uint8 or uint16.
        variables, config: as from `load`, of the detector or of the metric as `method` needs; by
            default the shipped weights.
        method: "detector", a network that looks at the image in two sizes; "metric", the learned
            local metric; "fixed" and "untrained", its controls, d/dx and d/dy or kernels that have
            learned nothing in its place; "lbp" or "gradient_energy", classical maps.
        refine: whether the local metric and its controls are refined by `sharpness.refine`.
        adaptive: None for a mask above 0.5; a factor, such as 1.5 or 2, for `adaptive_mask`.
        size: longest side in pixels at which the image is looked at; larger ones are reduced, long
            strips to a shorter side of 32, and their map enlarged again. None for the image as it
            is.

    Returns:
        `Estimate`; `status` says why when the image is too small or has no detail at all.

    Raises:
        ValueError: an array of another shape, with values that are not finite or out of range; an
            unknown `method`; variables of another kind than the method's.

    Source: Zeng et al., TIP 2019 (metric and refinement); Yi and Eramian, TIP 2016 (lbp); detector
        and calibration are our choice.

    Example:
        >>> from blurjax import data, images, sharpness
        >>> photograph = images.read(data.embedded_path("coffee.png"))
        >>> answer = sharpness.estimate(photograph)
        >>> answer.status, answer.sharpness.shape
        ('ok', (400, 600))
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; choose one of {METHODS}")
    if size is not None and size < MIN_SIZE:
        raise ValueError(f"size is {size}; give at least {MIN_SIZE} pixels, or None")
    gray = images.as_gray(image)
    whole = gray.shape
    if size is not None and max(whole) > size:
        gray = _reduced(gray, size)
    if min(gray.shape) < MIN_SIZE:
        return _nothing(
            whole,
            f"image is {whole[0]}x{whole[1]} pixels; sharpness needs at least "
            f"{MIN_SIZE}x{MIN_SIZE}",
        )
    if float(np.ptp(gray)) < _FLAT:
        return _nothing(whole, "too little texture: the image is flat")
    if variables is None:
        variables, shipped = _shipped(None if method == "detector" else "metric")
        config = config or shipped
    body = "detector" if method == "detector" else "metric"
    config = config or Config(body=body)
    if config.body != body:
        raise ValueError(
            f"method is {method!r} and the variables are of a {config.body!r}; load() gives those "
            'of the detector, load("metric") those of the other methods'
        )
    padded = _padded(gray)
    if method == "detector":
        found = _detect(variables, padded, config=config)
    else:
        found = measure(variables, padded, config, method=method, refine=refine)
    sharpness = np.array(found, np.float32)[: gray.shape[0], : gray.shape[1]]
    sharpness = _enlarged(sharpness, whole)
    mask = sharpness > 0.5
    if adaptive is not None:
        mask = np.asarray(adaptive_mask(jnp.asarray(sharpness), factor=adaptive))
    return Estimate("ok", sharpness, mask, float(np.mean(mask)))


def _reduced(gray: np.ndarray, size: int) -> np.ndarray:
    """The image with a longest side of `size`, each pixel the mean of those it replaces; of a long
    strip the shorter side decides, which must not fall below what a network needs."""
    scale = min(max(size / max(gray.shape), MIN_SIZE / min(gray.shape)), 1)
    height, width = (max(1, round(side * scale)) for side in gray.shape)
    small = Image.fromarray(gray).resize((width, height), Image.Resampling.BOX)
    return np.clip(np.asarray(small), 0, 1)


def _padded(gray: np.ndarray) -> np.ndarray:
    """The image continued by mirroring to multiples of 32, which the network needs in any case: so
    that photographs of many sizes are compiled for a few shapes only."""
    return np.pad(gray, [(0, -side % MULTIPLE) for side in gray.shape], mode="symmetric")


def _enlarged(sharpness: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if sharpness.shape == shape:
        return sharpness
    wide = Image.fromarray(sharpness).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.clip(np.asarray(wide), 0, 1)


def _nothing(shape: tuple[int, ...], status: str) -> Estimate:
    return Estimate(status, np.full(shape, 0.5, np.float32), np.zeros(shape, bool), 0.0)


@functools.partial(jax.jit, static_argnames="config")
def _detect(variables: Variables, gray: Array, config: Config) -> Array:
    return predict(variables, gray[None], config).sharpness[0]


@functools.partial(jax.jit, static_argnames=("config", "method", "refine"))
def measure(
    variables: Variables,
    gray: Float[Array, "h w"],
    config: Config,
    *,
    method: str = "metric",
    refine: bool = True,
) -> Float[Array, "h w"]:
    """The calibrated map of a method other than the detector, of one image.

    Args:
        variables, config: from `load("metric")`.
        gray: (H, W) in [0, 1], sides at least 32.
        method: one of `METHODS` but "detector". Static.
        refine: whether the metric is refined. Static.

    Returns:
        (H, W) in [0, 1], in the dtype of `gray`: 1 is sharp.

    Raises:
        ValueError: another method, too small an image.

    Gradient: of "metric" and its controls exact, with the zeros of the refinement held; of "lbp"
        zero, because of its threshold.

    Source: see `estimate`.
    """
    check_size(gray.shape)
    if method not in METHODS[1:]:
        raise ValueError(f"method is {method!r}; choose one of {METHODS[1:]}")
    answers = jax.tree.map(lambda x: x.astype(gray.dtype), variables["state"][method])
    if method not in KERNELS:
        return jax.nn.sigmoid(
            _line(answers["first"], score(variables, gray, config, method=method))
        )
    found = settle(answers, score(variables, gray, config, method=method))
    if refine:
        found = refine_map(found)
    rows, columns = (side / STEP for side in gray.shape)
    return at_pixels(found[None], rows, columns, gray.shape)[0]


def score(
    variables: Variables, gray: Float[Array, "h w"], config: Config, *, method: str
) -> Float[Array, "..."]:
    """What a method measures, before calibration: larger is sharper.

    The metric: (H / 4, W / 4), of squares of 4x4 pixels; the others (H, W), the logarithm of
    their score.
    """
    if method == "lbp":
        return jnp.log(lbp(gray) + 0.01)
    if method == "gradient_energy":
        return jnp.log(gradient_energy(gray) + 1e-5)
    return local_metric(gray, variables["params"][method], mode=config.mode)


def settle(answers: dict[str, Any], score: Float[Array, "h w"]) -> Float[Array, "h w"]:
    """A metric's calibrated map: each square's probability, averaged with its surroundings'."""
    known = jax.nn.sigmoid(_line(answers["first"], score))
    around = features.local_mean(features.local_mean(known, size=_SETTLED), size=_SETTLED)
    return jax.nn.sigmoid(_line(answers["second"], odds(around)))


def odds(probability: Array) -> Array:
    """The logarithm of the odds, finite."""
    return jnp.log(probability + 1e-3) - jnp.log(1 - probability + 1e-3)


def _line(answer: dict[str, Array], x: Array) -> Array:
    return answer["scale"] * x + answer["offset"]
