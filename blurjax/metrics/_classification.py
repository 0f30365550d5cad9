"""Metrics of classifiers."""

import jax.numpy as jnp

from blurjax._typing import Array, Float, Int


def accuracy(label: Int[Array, " n"], truth: Int[Array, " n"]) -> Float[Array, ""]:
    """Share of labels that are right.

    Args:
        label: (n,) predicted classes.
        truth: (n,) true classes.

    Returns:
        A scalar in [0, 1].

    Gradient: none, labels are integers.

    Source: elementary.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> metrics.accuracy(jnp.array([0, 1, 2, 2]), jnp.array([0, 1, 1, 2]))
        Array(0.75, dtype=float32)
    """
    return jnp.mean((label == truth).astype(jnp.result_type(float)))


def confusion_matrix(
    label: Int[Array, " n"], truth: Int[Array, " n"], *, classes: int
) -> Int[Array, "c c"]:
    """Counts of (true, predicted) pairs.

    Args:
        label: (n,) predicted classes in [0, classes).
        truth: (n,) true classes in [0, classes).
        classes: how many there are, static.

    Returns:
        (classes, classes), rows truth, columns prediction.

    Gradient: none.

    Source: elementary.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> metrics.confusion_matrix(jnp.array([0, 1]), jnp.array([0, 0]), classes=2).tolist()
        [[1, 1], [0, 0]]
    """
    return jnp.zeros((classes, classes), jnp.int32).at[truth, label].add(1)


def expected_calibration_error(
    probabilities: Float[Array, "n c"], truth: Int[Array, " n"], *, bins: int = 15
) -> Float[Array, ""]:
    r"""Mean gap between confidence and accuracy over equal-width bins of confidence.

        ECE = sum_b |B_b| / n * |accuracy(B_b) - mean confidence(B_b)|

    Args:
        probabilities: (n, classes), rows sum to 1.
        truth: (n,) true classes.
        bins: static.

    Returns:
        A scalar in [0, 1].

    Gradient: to the probabilities, with the bins held fixed.

    Source: Guo et al., ICML 2017, eq. 3.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> p = jnp.array([[0.8, 0.2], [0.8, 0.2]])
        >>> metrics.expected_calibration_error(p, jnp.array([0, 1])).round(3)
        Array(0.3, dtype=float32)
    """
    confidence = jnp.max(probabilities, axis=1)
    right = (jnp.argmax(probabilities, axis=1) == truth).astype(confidence.dtype)
    index = jnp.clip((confidence * bins).astype(jnp.int32), 0, bins - 1)
    gap = jnp.zeros(bins, confidence.dtype).at[index].add(right - confidence)
    return jnp.sum(jnp.abs(gap)) / truth.shape[0]
