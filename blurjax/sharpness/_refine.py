"""The iterative refinement: tanh again and again, and zero where the neighbourhood is blurred."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp

from blurjax import features
from blurjax._typing import Array, Bool, Float

THRESHOLDS = ("bounded", "fixed", "mean", "otsu")
"""By which rule a neighbourhood is called blurred."""

# The mean of the map counts as threshold between these.
_BOUNDS = (0.4, 0.5)
_BINS = 64


def refine(
    sharpness: Float[Array, "h w"],
    *,
    iterations: tuple[int, ...] = (10, 50, 100),
    weights: tuple[float, ...] = (0.3, 0.2, 0.5),
    threshold: str = "bounded",
    window: int = 3,
) -> Float[Array, "h w"]:
    """A map drawn towards 0 and 1, by neighbourhood.

        B <- 0 where the mean of B around the pixel is below T,  else tanh(B),

    repeated; the maps after `iterations` are mixed by `weights`. Since tanh^n(x) is about
    x / sqrt(1 + 2 n x^2 / 3), all that stays above T tends to the same small value: a soft
    binarisation. So each map is divided by what 1 has become before it is mixed.

    Args:
        sharpness: (H, W) in [0, 1]; `estimate` refines maps of every fourth pixel.
        iterations: after how many steps the map is taken, rising. Static.
        weights: of these maps, of sum 1. Static.
        threshold: T, in units of what 1 has become: "mean", of the map, in every step anew (each
            image then has something sharp and something blurred, and every map is divided by its
            own maximum, as published); "fixed", 1/2; "bounded", the mean, but no less than 0.4
            and no more than 0.5; "otsu", the value that parts the map best. Static.
        window: side of the neighbourhood in pixels, odd. Static.

    Returns:
        (H, W) in [0, 1]. A constant map, of which "mean" and "otsu" can say nothing, is 0.5
        everywhere by these rules.

    Raises:
        ValueError: other rules; iterations that do not rise from 1, or without a weight each.

    Gradient: of tanh, with the zeros held.

    Source: Zeng et al., TIP 2019, for the step, 10, 50, 100 and the weights; rules and scaling
        are our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import sharpness
        >>> print(sharpness.refine(jnp.array([[0.9, 0.8, 0.7, 0.2, 0.1, 0.1]])).round(1))
        [[1. 1. 1. 0. 0. 0.]]
    """
    if threshold not in THRESHOLDS:
        raise ValueError(f"threshold is {threshold!r}; choose one of {THRESHOLDS}")
    steps = (0, *iterations)
    if len(weights) != len(iterations) or any(a >= b for a, b in itertools.pairwise(steps)):
        raise ValueError(
            f"iterations are {iterations} and weights {weights}; give whole numbers that rise from "
            "1, and a weight for each"
        )

    def step(_: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        b, one = carry
        around = features.local_mean(b, size=window)
        return jnp.where(around < _limit(b, one, threshold), 0, jnp.tanh(b)), jnp.tanh(one)

    carry: Any = sharpness, jnp.ones((), sharpness.dtype)
    total = jnp.zeros((), sharpness.dtype)
    for before, after, weight in zip(steps, iterations, weights, strict=False):
        carry = jax.lax.fori_loop(0, after - before, step, carry)
        b, one = carry
        if threshold in ("mean", "otsu"):
            one = jnp.maximum(jnp.max(b), jnp.finfo(b.dtype).tiny)
        total = total + weight * b / one
    if threshold in ("mean", "otsu"):
        total = jnp.where(jnp.ptp(sharpness) > 0, total, 0.5)
    return total


def adaptive_mask(sharpness: Float[Array, "h w"], *, factor: float = 1.5) -> Bool[Array, "h w"]:
    """Where a map reaches a multiple of its own mean: the adaptive threshold of the literature.

        sharpness >= min(factor * mean, 1)  and  sharpness > 0.

    It finds something sharp in every image, wholly blurred ones too, for it knows no absolute.

    Args:
        sharpness: (H, W) in [0, 1].
        factor: 1.5 and 2 are in use.

    Returns:
        (H, W) bool, False everywhere for a map of zeros.

    Gradient: none, a mask is not differentiable.

    Source: Achanta, Hemami, Estrada and Suesstrunk, CVPR 2009 (2 mean); Zeng et al. (adaptive).
    """
    limit = jnp.minimum(factor * jnp.mean(sharpness), 1)
    return (sharpness >= limit) & (sharpness > 0)


def _limit(b: Array, one: Array, rule: str) -> Array:
    if rule == "fixed":
        return one / 2
    if rule == "mean":
        return jnp.mean(b)
    if rule == "otsu":
        return one * _otsu(b / one)
    return jnp.clip(jnp.mean(b), _BOUNDS[0] * one, _BOUNDS[1] * one)


def _otsu(x: Array) -> Array:
    """The threshold with the largest variance between what is below and above it."""
    index = jnp.clip((x * _BINS).astype(jnp.int32), 0, _BINS - 1)
    counts = jnp.zeros(_BINS, x.dtype).at[index].add(jnp.ones((), x.dtype))
    middle = (jnp.arange(_BINS, dtype=x.dtype) + 0.5) / _BINS
    below = jnp.cumsum(counts)
    sums = jnp.cumsum(counts * middle)
    above = below[-1] - below
    gap = sums / jnp.maximum(below, 1) - (sums[-1] - sums) / jnp.maximum(above, 1)
    best = jnp.argmax(below * above * gap**2)
    return (best.astype(x.dtype) + 1) / _BINS
