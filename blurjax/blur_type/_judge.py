"""From the patches of a photograph to one answer with a probability."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from blurjax._typing import Array
from blurjax.blur_type._config import LABELS
from blurjax.blur_type.model import Prediction

ANSWERS = (*LABELS, "sharp", "no dominant blur")
"""What `estimate` may say of a photograph, in the order of `Estimate.answers`."""

EVIDENCE = 17


def evidence(prediction: Prediction) -> np.ndarray:
    """(17,): what the patches of a photograph say together (host)."""

    def log(x: Any) -> np.ndarray:
        return np.asarray(np.log(np.clip(np.asarray(x, float), 1e-4, None)))

    probabilities = np.asarray(prediction.probabilities, float)
    kind = np.asarray(prediction.kind, float)
    mean = probabilities.mean(axis=0)
    top = int(np.argmax(mean))
    size = np.asarray(getattr(prediction, _SIZES[top]), float)
    low, middle, high = np.quantile(size, [0.16, 0.5, 0.84])
    return np.concatenate(
        [
            # Both means: the first forgives a few patches that are sure and wrong.
            log(mean),
            log(probabilities).mean(axis=0),
            log(kind.mean(axis=0)),
            # How sure each patch is, and how far the patches agree.
            [log(probabilities.max(axis=1)).mean(), log(mean[top])],
            [np.mean(probabilities.argmax(axis=1) == top)],
            log(np.quantile(kind[:, 0], [0.1, 0.9])),
            log([middle, (high - low) / middle, len(kind)]),
        ]
    ).astype(np.float32)


_SIZES = ("sigma", "length", "radius")


def init(key: Array, hidden: int = 16) -> dict[str, Array]:
    """Fresh weights: evidence -> `hidden` -> logits of `ANSWERS`."""
    k_in, k_out = jax.random.split(key)
    return {
        "mean": jnp.zeros(EVIDENCE),
        "scale": jnp.ones(EVIDENCE),
        "kernel0": jax.random.normal(k_in, (EVIDENCE, hidden)) / EVIDENCE**0.5,
        "bias0": jnp.zeros(hidden),
        "kernel1": jax.random.normal(k_out, (hidden, len(ANSWERS))) / hidden**0.5,
        "bias1": jnp.zeros(len(ANSWERS)),
    }


def logits(params: dict[str, Array], rows: Array) -> Array:
    """(n, 5) from evidence (n, 17)."""
    # Far outside of what training saw, more of the same should say no more.
    x = jnp.clip((rows - params["mean"][None]) / params["scale"][None], -4, 4)
    x = jnp.tanh(x @ params["kernel0"] + params["bias0"][None])
    return x @ params["kernel1"] + params["bias1"][None]
