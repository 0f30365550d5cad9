"""The judge of whole photographs: examples, their evidence, and its training."""

import functools
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from jax.flatten_util import ravel_pytree
from PIL import Image

from blurjax import data, imaging, psf
from blurjax.blur_type import ANSWERS, LABELS, Config, _judge
from blurjax.blur_type._estimate import read_patches
from blurjax.blur_type.samples import mixed_kernels

Variables = dict[str, Any]

# Two sizes only: every size is compiled anew.
_SIDES = (288, 160)
_SIZE = 61
# Of the examples, how many are blurred by one type, sharp, and blurred otherwise.
_SHARES = (0.6, 0.17, 0.23)
# What a photograph blurred otherwise counts beside the others: there are fewer of them in life than
# among the examples, and to call a plain blur "no dominant blur" is the worse mistake. Found, like
# the decay, on validation photographs: with 1 a twentieth of the plain blurs is lost to it.
_MIXED_WEIGHT = 0.3
_DECAY = 3e-4
# Beyond the configuration's ranges by up to this factor, in this share of the blurred ones.
_BEYOND, _OUTSIDE = 1.6, 0.15


class Example(NamedTuple):
    """A photograph as a file would hold it, and what was done to it."""

    image: np.ndarray
    answer: int
    """Index into `ANSWERS`."""
    theta: np.ndarray
    """(2,): sigma, length and angle, or radius; 0 elsewhere."""


def example(source: data.Source, index: int, config: Config, seed: int) -> Example | None:
    """Example number `index`, the same for the same seed; None from too small a photograph."""
    rng = np.random.default_rng([seed, index])
    sharp = source[index % len(source)]
    side = next((s for s in _SIDES if min(sharp.shape) >= s), None)
    if side is None:
        return None
    row, column = (rng.integers(0, n - side + 1) for n in sharp.shape)
    window = sharp[row : row + side, column : column + side]
    kind = rng.choice(3, p=_SHARES)
    answer = int(rng.integers(3)) if kind == 0 else len(LABELS) - 1 + int(kind)
    theta = np.zeros(2, np.float32)
    kernels = [psf.gaussian(np.float32(0.2), size=_SIZE, sampling="point")]
    if kind == 0:
        theta, kernels = _of_type(rng, LABELS[answer], config)
    elif kind == 2:
        kernels = _of_none(rng, config)
    linear = rng.random() < 0.5
    light = imaging.linearise(window) if linear else jnp.asarray(window)
    blurred = [np.asarray(imaging.blur(light, kernel)) for kernel in kernels]
    # Two kernels: one in each part of the photograph.
    border = rng.integers(side // 3, side - side // 3) if len(blurred) > 1 else side
    seen = np.concatenate([blurred[0][:border], blurred[-1][border:]])
    if rng.random() < 0.5:
        seen = seen.T.copy()
        theta[1] = (np.pi / 2 - theta[1]) % np.pi if answer == LABELS.index("motion") else 0
    seen = np.asarray(imaging.encode(seen)) if linear else seen
    return Example(_photographed(rng, seen), answer, theta)


def _of_type(
    rng: np.random.Generator, name: str, config: Config
) -> tuple[np.ndarray, list[jax.Array]]:
    low, high = {
        "gaussian": config.sigma,
        "motion": config.length,
        "defocus": config.radius,
    }[name]
    outside = rng.random() < _OUTSIDE
    size = rng.uniform(high, _BEYOND * high) if outside else rng.uniform(low, high)
    theta = np.array([size, rng.uniform(0, np.pi) if name == "motion" else 0], np.float32)
    family = psf.FAMILIES[name]
    return theta, [family.kernel(*theta[: len(family.parameters)], size=_SIZE)]


def _of_none(rng: np.random.Generator, config: Config) -> list[jax.Array]:
    if rng.random() < 0.3:
        first, second = rng.choice(len(LABELS), 2, replace=False)
        return [_of_type(rng, LABELS[i], config)[1][0] for i in (first, second)]
    key = jax.random.key(int(rng.integers(2**31)))
    return [_mixed(key, config)[0]]


@functools.partial(jax.jit, static_argnames="config")
def _mixed(key: jax.Array, config: Config) -> jax.Array:
    return mixed_kernels(key, 1, _SIZE, config)


def _photographed(rng: np.random.Generator, seen: np.ndarray) -> np.ndarray:
    """8 bits; two in five as they are, the others with noise, or less of it and compressed."""
    which = rng.random()
    strength = 0 if which < 0.4 else rng.uniform(0, 5 if which < 0.76 else 2) / 255
    noisy = seen + strength * rng.standard_normal(seen.shape)
    levels = np.round(255 * np.clip(noisy, 0, 1)).astype(np.uint8)
    if which >= 0.76:
        file = io.BytesIO()
        Image.fromarray(levels).save(file, "JPEG", quality=int(rng.integers(50, 96)))
        levels = np.asarray(Image.open(file))
    return levels.astype(np.float32) / 255


def evidence(
    source: data.Source,
    count: int,
    variables: Variables,
    config: Config,
    seed: int,
    say: Callable[[str], None],
) -> tuple[np.ndarray, np.ndarray]:
    """Evidence (n, 17) and answers (n,) of the first `count` examples; what is too small or flat is
    left out."""
    rows, answers = [], []
    for index in range(count):
        one = example(source, index, config, seed)
        patches = one and read_patches(one.image, variables, config)
        if one and patches:
            rows.append(_judge.evidence(patches[0]))
            answers.append(one.answer)
        if index % 500 == 499 or index == count - 1:
            say(f"read {index + 1} of {count} photographs")
    return np.stack(rows), np.array(answers)


def fit(key: jax.Array, rows: np.ndarray, answers: np.ndarray) -> Variables:
    """The judge's weights: weighted cross-entropy with weight decay, by L-BFGS."""
    start = {name: value.astype(jnp.float32) for name, value in _judge.init(key).items()}
    fixed = {
        "mean": jnp.asarray(rows.mean(axis=0)),
        "scale": jnp.asarray(rows.std(axis=0) + 1e-3),
    }
    free, unravel = ravel_pytree({k: v for k, v in start.items() if k not in fixed})
    weight = np.where(answers == len(ANSWERS) - 1, _MIXED_WEIGHT, 1.0).astype(np.float32)
    share, label = jnp.asarray(weight / weight.sum()), jnp.asarray(answers)[:, None]

    def loss(free: jax.Array) -> jax.Array:
        params = unravel(free)
        said = jax.nn.log_softmax(_judge.logits({**params, **fixed}, jnp.asarray(rows)))
        decay = sum(jnp.sum(params[name] ** 2) for name in ("kernel0", "kernel1"))
        return _DECAY * decay - jnp.sum(share * jnp.take_along_axis(said, label, axis=1)[:, 0])

    slope = jax.jit(jax.value_and_grad(loss))

    def at(free: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = slope(jnp.asarray(free, jnp.float32))
        return float(value), np.asarray(gradient, np.float64)

    found = scipy.optimize.minimize(
        at, np.asarray(free, np.float64), jac=True, method="L-BFGS-B", options={"maxiter": 500}
    )
    return {**unravel(jnp.asarray(found.x, free.dtype)), **fixed}


def report(params: Variables, rows: np.ndarray, answers: np.ndarray) -> dict[str, float]:
    """Accuracy over all answers, over blurred photographs, and the calibration error."""
    probabilities = np.asarray(jax.nn.softmax(_judge.logits(params, jnp.asarray(rows))))
    said = probabilities.argmax(axis=1)
    blurred = answers < len(LABELS)
    return {
        "right": float(np.mean(said == answers)),
        "right_of_blurred": float(np.mean(said[blurred] == answers[blurred])),
        **{
            f"said_{name}_of_it": float(np.mean(said[answers == i] == i))
            for i, name in enumerate(ANSWERS)
        },
        "surer_than_right": float(probabilities.max(axis=1).mean() - np.mean(said == answers)),
    }
