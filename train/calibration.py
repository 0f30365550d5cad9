"""Scores into probabilities: what sharpness is calibrated on, and how."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import data, sharpness
from blurjax.data import Scenes

Line = dict[str, jax.Array]
"""{"scale", "offset"}: the logarithm of the odds is scale * score + offset."""


class Example(NamedTuple):
    """One photograph and where it is sharp."""

    image: np.ndarray
    """(H, W) in [0, 1]."""
    sharp: np.ndarray
    """(H, W), 1 where it is sharp."""


def composites(key: jax.Array, scenes: Scenes, n: int) -> list[Example]:
    """Composed photographs of some scenes."""
    found: list[Example] = []
    for i in range(0, n, 16):
        batch = sharpness.compose(jax.random.fold_in(key, i), scenes, n=16)
        found += [
            Example(image, sharp)
            for image, sharp in zip(np.asarray(batch.images), np.asarray(batch.sharp), strict=True)
        ]
    return found[:n]


def pairs(
    photographs: Sequence[Path], masks: Sequence[Path], white: Literal["blurred", "sharp"]
) -> list[Example]:
    """Real photographs with masks, of some folders.

    Raises:
        ValueError: not as many folders of masks as of photographs.
        ImageError: a photograph without a mask, or a file that cannot be read.
    """
    if len(photographs) != len(masks):
        raise ValueError(
            f"{len(photographs)} folders of pairs and {len(masks)} of masks; give one for each"
        )
    found = []
    for one, other in zip(photographs, masks, strict=True):
        source = data.pairs(one, other)
        for i in range(len(source)):
            pair = source[i]
            found.append(Example(pair.image, (pair.mask == (white == "sharp")).astype(np.float32)))
    return found


def logistic(groups: Sequence[Sequence[tuple[Any, Any]]], *, balanced: bool = True) -> Line:
    """Logistic regression on one variable, by Newton's method.

    Args:
        groups: of scores and truths of the same shape, one of each an image; every group counts as
            much as any other, and in it the true as much as the false.
        balanced: False to count them as often as they are there.
    """
    scores, truths, shares = [], [], []
    for group in groups:
        if not group:
            continue
        t = np.concatenate([np.ravel(truth) for _, truth in group]).astype(np.float64)
        scores.append(np.concatenate([np.ravel(score) for score, _ in group]).astype(np.float64))
        truths.append(t)
        true = t > 0.5
        halves = np.where(true, 1 / max(true.sum(), 1), 1 / max((~true).sum(), 1))
        shares.append(halves if balanced else np.full_like(t, 1 / len(t)))
    x, t, weight = (np.concatenate(each) for each in (scores, truths, shares))
    about, spread = x.mean(), x.std()
    if np.ptp(x) == 0:  # Nothing to go by but how many are true.
        about, spread = x[0], 1.0
    design = np.stack([(x - about) / spread, np.ones_like(x)], axis=1)
    line = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-design @ line))
        slope = design.T @ (weight * (t - p))
        curvature = (design * (weight * p * (1 - p))[:, None]).T @ design
        line += np.linalg.lstsq(curvature, slope, rcond=None)[0]
    return {
        "scale": jnp.asarray(line[0] / spread, jnp.float32),
        "offset": jnp.asarray(line[1] - line[0] * about / spread, jnp.float32),
    }
