"""Metrics of detectors: a map against a mask, pixel by pixel.

Which class is called positive is the caller's choice, and changes the numbers more than the
method does: where most of the images is blurred, "everything is blurred" has a high F with
blurred as positive, and F = 0 with sharp as positive. Always say which it was. The other choice
is `f_measure(~prediction, ~truth)`, or `1 - score` and `~truth`.

All pixels count alike, whatever axes they come in; for a mean over images use `jax.vmap`.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax._numerics import as_float, working_dtype
from blurjax._typing import Array, ArrayLike, Bool, Float, Real

Pixels = Bool[ArrayLike, "..."] | Real[ArrayLike, "..."]
"""A mask, or a map in [0, 1]."""


class PrecisionRecall(NamedTuple):
    """What a score says at each of several thresholds."""

    precision: Float[Array, " levels"]
    """(levels,) share of true positives among the pixels called positive; 1 where none is."""
    recall: Float[Array, " levels"]
    """(levels,) share of the positives that is found; 1 if there are none to find."""
    thresholds: Float[Array, " levels"]
    """(levels,) rising from 0 to 1; positive is what reaches them."""


def f_measure(prediction: Pixels, truth: Pixels, *, beta2: float = 0.3) -> Float[Array, ""]:
    r"""Weighted harmonic mean of precision and recall over all pixels.

        F = (1 + beta2) P R / (beta2 P + R)

    Args:
        prediction: any shape: a mask, or a map in [0, 1], positive where it exceeds 0.5.
        truth: the same shape and rule. Which class is positive is the caller's choice and
            changes F more than the method does: say which.
        beta2: weight of recall relative to precision, 0 or more; 0.3 in work on detection maps.

    Returns:
        A scalar in [0, 1]: 1 if nothing is positive in both, 0 if in one of them only. In the
        dtype of `prediction` if that is floating point.

    Raises:
        ValueError: the shapes differ.

    Gradient: zero, because of the threshold.

    Source: van Rijsbergen 1979; beta2 = 0.3 after Achanta et al., CVPR 2009.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> prediction, truth = jnp.array([0.9, 0.8, 0.1, 0.2]), jnp.array([1, 0, 0, 0])
        >>> print(f"{metrics.f_measure(prediction, truth, beta2=1.0):.3f}")
        0.667
    """
    _check_shapes(prediction, truth)
    found, real = _positive(prediction), _positive(truth)
    dtype = as_float(prediction).dtype
    # Counted in integers: float32 has none beyond 2^24.
    hits, called, existing = (
        jnp.sum(mask).astype(working_dtype(dtype)) for mask in (found & real, found, real)
    )
    # The formula multiplied out by `called * existing / hits`, so that only one case is left
    # that divides by 0; the other is beta2 = 0.
    denominator = beta2 * existing + called
    value = (1 + beta2) * hits / jnp.where(denominator > 0, denominator, 1)
    return jnp.where(existing + called > 0, value, 1).astype(dtype)


def mean_absolute_error(prediction: Pixels, truth: Pixels) -> Float[Array, ""]:
    """Mean of |prediction - truth| over all pixels.

    Args:
        prediction: any shape: a map in [0, 1], or a mask.
        truth: the same shape: a mask, or a map in [0, 1].

    Returns:
        A scalar in [0, 1], in the dtype of `prediction` if that is floating point.

    Raises:
        ValueError: the shapes differ.

    Gradient: the sign of the error over the number of pixels; 0 where there is no error.

    Source: elementary.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> metrics.mean_absolute_error(jnp.array([0.25, 0.75]), jnp.array([False, True]))
        Array(0.25, dtype=float32)
    """
    _check_shapes(prediction, truth)
    values = as_float(prediction)
    working = working_dtype(values.dtype)
    error = values.astype(working) - jnp.asarray(truth).astype(working)
    # Not jnp.abs, whose derivative at 0 depends on the version of JAX.
    return jnp.mean(error * lax.stop_gradient(jnp.sign(error))).astype(values.dtype)


def precision_recall(score: Pixels, truth: Pixels, *, levels: int = 256) -> PrecisionRecall:
    """Precision and recall over all pixels at evenly spaced thresholds.

    All thresholds together cost one histogram. The largest F of the mean curve of several images
    of one shape, as the literature has it (`scores` and `truths` are stacks of them):

        curve = jax.vmap(metrics.precision_recall)(scores, truths)
        jnp.max(metrics.f_score(jnp.mean(curve.precision, 0), jnp.mean(curve.recall, 0)))

    Args:
        score: any shape, in [0, 1], no NaN: larger where positive is more likely.
        truth: the same shape: a mask, or a map that is positive where it exceeds 0.5.
        levels: how many thresholds i / (levels - 1), 2 or more. With 256, maps stored with
            8 bits lose nothing. Static.

    Returns:
        A `PrecisionRecall` in the dtype of `score` if that is floating point.

    Raises:
        ValueError: the shapes differ, or `levels` is less than 2.

    Gradient: zero, because of the thresholds.

    Source: elementary.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> score, truth = jnp.array([0.0, 0.4, 0.6, 1.0]), jnp.array([0, 1, 0, 1])
        >>> print(metrics.precision_recall(score, truth, levels=3).precision)
        [0.5 0.5 1. ]
    """
    _check_shapes(score, truth)
    if levels < 2:
        raise ValueError(f"levels is {levels}; thresholds from 0 to 1 are at least 2")
    values, real = as_float(score), _positive(truth)
    working = working_dtype(values.dtype)
    thresholds = jnp.asarray(np.arange(levels) / (levels - 1), working)
    # How many thresholds each pixel reaches, by comparison: a product such as score * 255,
    # rounded, can fall short of the threshold that the score equals.
    reached = jnp.searchsorted(thresholds, values.astype(working).ravel(), side="right")
    pair = reached + (levels + 1) * real.ravel().astype(reached.dtype)
    count = jnp.zeros(2 * (levels + 1), jnp.int32).at[pair].add(1).reshape(2, levels + 1)
    # Column i: the pixels that reach threshold i, of each class.
    called = jnp.cumsum(count[:, ::-1], axis=1)[:, -2::-1]
    hits, false_alarms = (called[i].astype(working) for i in (1, 0))
    existing = jnp.sum(real).astype(working)
    precision = _ratio(hits, hits + false_alarms, 1)
    recall = _ratio(hits, existing, 1)
    return PrecisionRecall(*(x.astype(values.dtype) for x in (precision, recall, thresholds)))


def f_score(
    precision: Float[Array, "..."], recall: Float[Array, "..."], *, beta2: float = 0.3
) -> Float[Array, "..."]:
    r"""Weighted harmonic mean of a precision and a recall.

        F = (1 + beta2) P R / (beta2 P + R)

    Args:
        precision: (...,) in [0, 1].
        recall: (...,) in [0, 1].
        beta2: weight of recall relative to precision, 0 or more.

    Returns:
        (...,) in [0, 1]; 0 where both are 0.

    Gradient: exact; 0 where both are 0.

    Source: van Rijsbergen 1979.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> metrics.f_score(jnp.array([1.0, 0.5]), jnp.array([0.0, 0.5]))
        Array([0. , 0.5], dtype=float32)
    """
    return _ratio((1 + beta2) * precision * recall, beta2 * precision + recall, 0)


def roc_auc(score: Pixels, truth: Pixels) -> Float[Array, ""]:
    """Area under the ROC curve: how well a score orders positives above negatives.

        P(score of a positive > score of a negative) + P(the two are equal) / 2

    over all pairs, exactly, by sorting. It does not change under any rising function of the
    score, so nothing needs a threshold.

    Args:
        score: any shape and range, no NaN: larger where positive is more likely.
        truth: the same shape: a mask, or a map that is positive where it exceeds 0.5.

    Returns:
        A scalar in [0, 1], 0.5 for a score that says nothing; NaN if one of the classes is
        absent. In the dtype of `score` if that is floating point.

    Raises:
        ValueError: the shapes differ.

    Gradient: zero, because only the order counts.

    Source: Hanley & McNeil, Radiology 1982.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> metrics.roc_auc(jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1]))
        Array(0.75, dtype=float32)
    """
    _check_shapes(score, truth)
    values = as_float(score)
    working = working_dtype(values.dtype)
    real, first, last = _sorted_ties(values, truth)
    negatives = jnp.pad(jnp.cumsum(~real), (1, 0))
    # Of the negatives, those below each pixel and half of those that equal it.
    beaten = (negatives[first] + negatives[last + 1]).astype(working) / 2
    share = beaten / negatives[-1].astype(working)
    return _mean_where(share, real).astype(values.dtype)


def average_precision(score: Pixels, truth: Pixels) -> Float[Array, ""]:
    """Mean over the positives of the precision at each one's own score.

    The area under the precision-recall curve in steps, not interpolated.

    Args:
        score: any shape and range, no NaN: larger where positive is more likely.
        truth: the same shape: a mask, or a map that is positive where it exceeds 0.5.

    Returns:
        A scalar in (0, 1], the share of positives for a score that says nothing; NaN if there
        are none. In the dtype of `score` if that is floating point.

    Raises:
        ValueError: the shapes differ.

    Gradient: zero, because only the order counts.

    Source: `sklearn.metrics.average_precision_score`.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> score, truth = jnp.array([0.1, 0.4, 0.35, 0.8]), jnp.array([0, 0, 1, 1])
        >>> print(f"{metrics.average_precision(score, truth):.3f}")
        0.833
    """
    _check_shapes(score, truth)
    values = as_float(score)
    working = working_dtype(values.dtype)
    real, first, _ = _sorted_ties(values, truth)
    positives = jnp.pad(jnp.cumsum(real), (1, 0))
    hits = positives[-1] - positives[first]
    called = real.size - first
    return _mean_where(hits.astype(working) / called.astype(working), real).astype(values.dtype)


def _check_shapes(prediction: ArrayLike, truth: ArrayLike) -> None:
    if jnp.shape(prediction) != jnp.shape(truth):
        raise ValueError(
            f"the prediction is {jnp.shape(prediction)}, the truth {jnp.shape(truth)}; pass one "
            "value of each for every pixel"
        )


def _positive(pixels: ArrayLike) -> Array:
    array = jnp.asarray(pixels)
    return array if array.dtype == bool else as_float(array) > 0.5


def _ratio(numerator: Array, denominator: Array, otherwise: float) -> Array:
    """numerator / denominator, and `otherwise`, with derivative 0, where that divides by 0."""
    safe = denominator > 0
    return jnp.where(safe, numerator / jnp.where(safe, denominator, 1), otherwise)


def _sorted_ties(score: Array, truth: ArrayLike) -> tuple[Array, Array, Array]:
    """The truth by rising score, and where each pixel's ties begin and end (inclusive)."""
    ordered, real = lax.sort((score.ravel(), _positive(truth).ravel()), num_keys=1)
    place = jnp.arange(ordered.size)
    rises = ordered[1:] != ordered[:-1]
    first = lax.cummax(jnp.where(jnp.pad(rises, (1, 0), constant_values=True), place, 0))
    last = lax.cummin(
        jnp.where(jnp.pad(rises, (0, 1), constant_values=True), place, ordered.size - 1),
        reverse=True,
    )
    return real, first, last


def _mean_where(values: Array, chosen: Array) -> Array:
    """The mean of the chosen values; NaN, by 0 / 0, where none is."""
    return jnp.sum(jnp.where(chosen, values, 0)) / jnp.sum(chosen).astype(values.dtype)
