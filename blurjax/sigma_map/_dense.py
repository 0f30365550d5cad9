"""Maps of images of any size in bounded memory (host)."""

import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from blurjax._typing import Array
from blurjax.sigma_map._config import Config
from blurjax.sigma_map._networks import Classifier
from blurjax.sigma_map.model import (
    MULTIPLE,
    STEP,
    Prediction,
    Variables,
    at_pixels,
    check_size,
    decode,
    pad_squares,
    pad_windows,
    read,
    run,
)

# Sides in pixels of what is computed at once: the classifier's features take 1 kB a pixel, the
# regressor's about 200 bytes.
_FEATURES, _TILE = 320, 1024
# Windows that the classifier's dense layers read at once, 14 kB each.
_READ = 4096
# How far the regressor's convolutions see, in each of its two parts, rounded up to a multiple of 8.
_HALO = 64
# Pixels of an image up to which its features are kept from one part to the other.
_KEPT = 12_000_000


def tiled(
    variables: Variables,
    gray: np.ndarray,
    config: Config,
    *,
    stride: int = 4,
    way: str = "expectation",
) -> Prediction:
    """`predict` of one image in tiles: the same numbers within 1 GiB (host).

    So it is up to 12 megapixels with the regressor (0.9 GB). Beyond, it computes half of its
    features twice rather than keep them, and the memory grows by some 30 bytes a pixel.

    Args:
        variables: from `load` or training.
        gray: (H, W) in [0, 1].
        config: the shape.
        stride, way: of the classifier, as in `predict`.

    Returns:
        `Prediction` of (1, H, W).

    Raises:
        ValueError: as `predict`.

    Source: our choice.
    """
    check_size(gray.shape)
    image = jnp.asarray(gray, jnp.float32)[None]
    if config.body == "classifier":
        padded = np.asarray(pad_windows(image, config, stride))
        mean, spread = _classified(variables, padded, config, stride, way)
        return _at_pixels(variables, mean, spread, stride, gray.shape)
    said = _regressed(variables, np.asarray(pad_squares(image)), config)
    mean, log_variance = read(said)
    spread = jnp.exp(log_variance / 2)
    if gray.size > _KEPT:
        return _in_strips(variables, mean, spread, gray.shape)
    return _at_pixels(variables, mean, spread, STEP, gray.shape)


_at_pixels = jax.jit(at_pixels, static_argnums=(3, 4))


def _in_strips(
    variables: Variables, mean: Array, spread: Array, shape: tuple[int, ...]
) -> Prediction:
    """`at_pixels` with nothing as large as the image but the answer."""
    scale = np.asarray(variables["state"]["spread"]["scale"], np.float32)
    # Of each row and column its two neighbours among the squares, and how near the second is.
    places = []
    for side, count in zip(shape, mean.shape[1:], strict=True):
        at = np.clip((np.arange(side, dtype=np.float32) + 0.5) / STEP - 0.5, 0, count - 1)
        first = at.astype(int)
        places.append((first, np.minimum(first + 1, count - 1), at - first))
    (top, bottom, down), (left, right, across) = places
    maps = []
    for squares in (np.asarray(mean[0]), scale * np.asarray(spread[0])):
        out = np.empty((1, *shape), np.float32)
        for i in range(shape[0]):
            row = squares[top[i]] * (1 - down[i]) + squares[bottom[i]] * down[i]
            out[0, i] = row[left] * (1 - across) + row[right] * across
        maps.append(out)
    np.maximum(maps[0], 0, out=maps[0])
    return Prediction(*map(jnp.asarray, maps))


def _classified(
    variables: Variables, padded: np.ndarray, config: Config, stride: int, way: str
) -> tuple[Array, Array]:
    """Sigma and spread (1, rows, columns) of every window.

    The dense layers read few windows at once, which the caches hold; the convolutions, whose tiles
    overlap, many.
    """
    rows, columns = ((side - config.patch) // stride + 1 for side in padded.shape[1:])
    mean, spread = np.empty((2, 1, rows, columns), np.float32)
    network = Classifier(config.classes, config.patch, stride)
    step, reach = stride // network.shrinking, network.reach
    for top, height in _blocks(rows, max(_FEATURES // stride, 1)):
        for left, width in _blocks(columns, max(_FEATURES // stride, 1)):
            part = padded[
                :,
                top * stride : (top + height - 1) * stride + config.patch,
                left * stride : (left + width - 1) * stride + config.patch,
            ]
            features = _features(variables, part, config, stride)
            for first, band in _blocks(height, max(_READ // width, 1)):
                some = features[:, first * step : (first + band - 1) * step + reach + 1]
                place = np.s_[:, top + first : top + first + band, left : left + width]
                said = _head(variables, some, config, stride, way)
                mean[place], spread[place] = (np.asarray(x) for x in said)
    return jnp.asarray(mean), jnp.asarray(spread)


@functools.partial(jax.jit, static_argnames=("config", "stride"))
def _features(variables: Variables, part: Array, config: Config, stride: int) -> Array:
    return run(variables, part, config, stride, "features")


@functools.partial(jax.jit, static_argnames=("config", "stride", "way"))
def _head(
    variables: Variables, some: Array, config: Config, stride: int, way: str
) -> tuple[Array, Array]:
    return decode(run(variables, some, config, stride, "head"), config, way)


def _regressed(variables: Variables, padded: np.ndarray, config: Config) -> Array:
    """The regressor's answer (1, H / 4, W / 4, 2), in its three parts if the image is large."""
    if max(padded.shape[1:]) <= _TILE:
        return _part(variables, jnp.asarray(padded), config, "whole")
    mean = jnp.asarray(padded.mean(axis=(1, 2), dtype=np.float64), jnp.float32)
    shape = padded.shape[1:]
    kept = padded.size <= _KEPT

    def local(cut: Any) -> tuple[Array, ...]:
        x, y = _part(variables, (cut(padded, 1), mean), config, "local")
        return (y, x) if kept else (y,)

    y, *features = _assembled(shape, (MULTIPLE, STEP) if kept else (MULTIPLE,), local)
    summary = _part(variables, jnp.asarray(y), config, "summary")

    def rest(cut: Any) -> tuple[Array, ...]:
        if features:
            x = cut(features[0], STEP)
        else:
            x, _ = _part(variables, (cut(padded, 1), mean), config, "local")
        return (_part(variables, (x, cut(y, MULTIPLE), summary), config, "rest"),)

    # Computed anew they have to see as far as both parts.
    return jnp.asarray(_assembled(shape, (STEP,), rest, _HALO if kept else 2 * _HALO)[0])


@functools.partial(jax.jit, static_argnames=("config", "part"))
def _part(variables: Variables, given: Any, config: Config, part: str) -> Any:
    return run(variables, given, config, part=part)


def _assembled(
    shape: tuple[int, ...], steps: tuple[int, ...], compute: Any, halo: int = _HALO
) -> list[np.ndarray]:
    """Maps put together from tiles that see `halo` pixels around what is kept of them.

    `compute` is given a function that cuts a map of every `step`-th pixel to the tile. All tiles
    have one size, so that they are compiled once: the last are moved back to end with the image.
    """
    maps: list[np.ndarray] = []
    for rows in _spans(shape[0], halo):
        for columns in _spans(shape[1], halo):

            def cut(x: np.ndarray, step: int, rows: Any = rows, columns: Any = columns) -> Array:
                (top, bottom, _, _), (left, right, _, _) = rows, columns
                return jnp.asarray(x[:, top // step : bottom // step, left // step : right // step])

            found = [np.asarray(value) for value in compute(cut)]
            if not maps:
                maps = [
                    np.empty((1, shape[0] // step, shape[1] // step, value.shape[-1]), np.float32)
                    for value, step in zip(found, steps, strict=True)
                ]
            (top, _, first, last), (left, _, begin, end) = rows, columns
            for whole, value, step in zip(maps, found, steps, strict=True):
                whole[:, first // step : last // step, begin // step : end // step] = value[
                    :,
                    (first - top) // step : (last - top) // step,
                    (begin - left) // step : (end - left) // step,
                ]
    return maps


def _spans(length: int, halo: int) -> Iterator[tuple[int, int, int, int]]:
    """Along one side: where each tile begins and ends, and which part of it is kept."""
    if length <= _TILE:
        yield 0, length, 0, length
        return
    kept = _TILE - 2 * halo
    for first in range(0, length, kept):
        last = min(first + kept, length)
        start = min(max(first - halo, 0), length - _TILE)
        yield start, start + _TILE, first, last


def _blocks(count: int, most: int) -> Iterator[tuple[int, int]]:
    """Beginnings and lengths of equal blocks that cover a side, the last moved back to fit."""
    side = -(-count // -(-count // most))
    for first in range(0, count, side):
        yield min(first, count - side), side
