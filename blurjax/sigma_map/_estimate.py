"""An image in, its sigma map out, and where it is known (host)."""

import functools
from pathlib import Path
from typing import Literal, NamedTuple

import jax
import numpy as np

from blurjax import _load, images
from blurjax.sigma_map._config import MIN_SIZE, Config
from blurjax.sigma_map._dense import tiled
from blurjax.sigma_map._smoothing import fill as fill_in
from blurjax.sigma_map._smoothing import guided, heat_flow, median
from blurjax.sigma_map.model import Variables

SMOOTHING = ("heat", "median", "guided")
"""What `estimate` can smooth a map by."""

# The side of the window in which there must be something to see, in pixels.
_WINDOW = 17
# Rows at once.
_STRIP = 512
# Standard deviation in that window, after means of 3x3, below which a place counts as flat: they
# leave a third of white noise, so that noise up to 6 / 255 alone is no texture.
_FLOOR = 2 / 255
# With the flow's own step as wide as a Gaussian of 5.7 pixels, sqrt(2 * 800 * 0.02).
_ITERATIONS = 800
# No spread counts for less than this in the weights of the guided filter, in pixels.
_LEAST_SPREAD = 0.02


class Estimate(NamedTuple):
    """The Gaussian blur at each pixel of an image, or why there is no answer."""

    status: str
    """"ok", or one sentence that says why not."""
    sigma: np.ndarray
    """(H, W) float32, in pixels. Where not `valid` it is a guess, or filled in if that was asked
    for; NaN where the image was refused."""
    spread: np.ndarray
    """(H, W) float32: the standard deviation of the error to be expected of the network's sigma,
    in pixels; as the network gave it also where sigma was smoothed or filled in."""
    valid: np.ndarray
    """(H, W) bool: where sigma was measured, on texture and with a spread within the threshold."""


_SHIPPED = {None: "sigma_map", "published": "sigma_map_published"}


def load(name: str | Path | None = None) -> tuple[Variables, Config]:
    """Shipped or saved weights (host).

    Args:
        name: None for the regressor, the best weights in the package; "published" for the
            published network of 30 classes; a path ending in .npz for a weights file; any other
            path for a training checkpoint.

    Returns:
        Variables in float32, and their configuration.

    Raises:
        WeightsError: a weights file that is missing or damaged.
        CheckpointError: likewise a checkpoint.

    Example:
        >>> from blurjax import sigma_map
        >>> variables, config = sigma_map.load("published")
        >>> config.classes
        30
    """
    return _load.load(name, _SHIPPED, Config)


# Only the package's own file: any other may be written again under the same name.
_shipped = functools.cache(load)


def estimate(
    image: np.ndarray | jax.Array,
    variables: Variables | None = None,
    config: Config | None = None,
    *,
    smoothing: Literal["heat", "median", "guided"] | None = None,
    fill: bool = False,
    stride: int = 4,
    decode: Literal["expectation", "argmax"] = "expectation",
    threshold: float = 0.5,
) -> Estimate:
    """How blurred each pixel of an image is, as the sigma of a Gaussian, and where that is known.

    A pixel is valid if the network's spread is within the threshold and there is something to see
    around it: the standard deviation of the image, after means of 3x3 pixels against noise, is at
    least 2 / 255 in the 17x17 around it. Elsewhere sigma is the network's guess, or with `fill`
    what `fill` carries there from the valid pixels; `valid` and `spread` stay as they are.

    Args:
        image: (H, W) gray or (H, W, 3) RGB; floats in [0, 1], or uint8 or uint16.
        variables, config: as from `load`; by default the shipped weights.
        smoothing: None for the map as it is; "heat" for `heat_flow` as wide as a Gaussian of
            5.7 pixels; "median" for `median` over 9x9; "guided" for `guided` by the image, each
            pixel weighted by 1 / spread^2.
        fill: whether to replace sigma where it is not valid.
        stride: pixels between the windows read by a classifier; the regressor ignores it.
        decode: how a classifier's probabilities are read, see `sigma_map.decode`.
        threshold: greatest spread of a valid pixel, in pixels.

    Returns:
        `Estimate`; `status` says why when the image is too small or no pixel is valid.

    Raises:
        ValueError: an array of another shape, with values that are not finite or out of range; an
            unknown `smoothing`, a `threshold` that is not above 0.

    Source: Patro, "Blur kernel estimation using deep learning", for the map; the rest is our
        choice.

    Example:
        >>> from blurjax import data, images, sigma_map
        >>> photograph = images.read(data.embedded_path("coffee.png"))
        >>> answer = sigma_map.estimate(photograph)
        >>> answer.status, answer.sigma.shape
        ('ok', (400, 600))
    """
    if smoothing is not None and smoothing not in SMOOTHING:
        raise ValueError(f"smoothing is {smoothing!r}; choose None or one of {SMOOTHING}")
    if not threshold > 0:
        raise ValueError(f"threshold is {threshold}; pass a spread in pixels, above 0")
    gray = images.as_gray(image)
    if variables is None:
        variables, shipped = _shipped()
        config = config or shipped
    config = config or Config()
    if min(gray.shape) < MIN_SIZE:
        return _refuse(gray.shape)
    prediction = tiled(variables, gray, config, stride=stride, way=decode)
    sigma, spread = (
        np.array(field, np.float32).reshape(gray.shape)
        for field in (prediction.sigma, prediction.spread)
    )
    # Comparisons with NaN are false: what the network cannot tell is not valid.
    sure = (spread <= threshold) & np.isfinite(sigma)
    textured = _local_deviation(gray) >= _FLOOR
    valid = sure & textured
    sigma = _smoothed(sigma, spread, gray, smoothing)
    if not np.any(valid):
        return Estimate(_nothing(threshold, bool(np.any(textured))), sigma, spread, valid)
    if fill:
        sigma = fill_in(sigma, spread, valid, gray)
    return Estimate("ok", sigma, spread, valid)


def _refuse(shape: tuple[int, ...]) -> Estimate:
    unknown = np.full(shape, np.nan, np.float32)
    return Estimate(
        status=f"image is {shape[0]}x{shape[1]} pixels; sigma_map needs at least "
        f"{MIN_SIZE}x{MIN_SIZE}",
        sigma=unknown,
        spread=unknown.copy(),
        valid=np.zeros(shape, bool),
    )


def _nothing(threshold: float, textured: bool) -> str:
    if textured:
        return f"too little texture: sigma is nowhere known to within {threshold:g} px"
    return f"too little texture: the image is flat in every {_WINDOW}x{_WINDOW} pixels"


def _local_deviation(gray: np.ndarray) -> np.ndarray:
    """Standard deviation of the image, freed of most of its noise, around each pixel."""
    # Strip by strip, each with what its means reach into: only the result is as large as the image.
    reach = _WINDOW // 2 + 1
    out = np.empty(gray.shape, np.float32)
    for top in range(0, len(gray), _STRIP):
        first = max(top - reach, 0)
        strip = _deviation(gray[first : top + _STRIP + reach])
        out[top : top + _STRIP] = strip[top - first : top - first + _STRIP]
    return out


def _deviation(gray: np.ndarray) -> np.ndarray:
    from scipy.ndimage import uniform_filter

    # In float64: the variance is a small difference of large numbers.
    calm = uniform_filter(gray.astype(np.float64), 3, mode="nearest")
    mean = uniform_filter(calm, _WINDOW, mode="nearest")
    variance = uniform_filter(calm**2, _WINDOW, mode="nearest") - mean**2
    return np.asarray(np.sqrt(np.maximum(variance, 0)))


def _smoothed(
    sigma: np.ndarray, spread: np.ndarray, gray: np.ndarray, smoothing: str | None
) -> np.ndarray:
    known = np.isfinite(sigma) & np.isfinite(spread)
    if smoothing is None or not np.any(known):
        return sigma
    # One pixel without a number would spread over all of them.
    sigma = np.where(known, sigma, np.median(sigma[known]))
    if smoothing == "heat":
        return np.asarray(heat_flow(sigma, iterations=_ITERATIONS))
    if smoothing == "median":
        return median(sigma)
    trust = np.where(known, 1 / np.maximum(spread, np.float32(_LEAST_SPREAD)) ** 2, 0)
    return np.asarray(guided(sigma, gray, weight=trust))
