"""Both networks behind one face: `init`, `apply`, `loss`, `predict`.

Variables are nested dicts with string keys:

    params   of the classifier conv0 .. conv7, dense0 .. dense3 {kernel, bias}; of the regressor
             stem, down0, merge, block0a .. block5b, down1, scores, context, from_context, across,
             head {kernel, bias}
    state    input {mean, scale}: of the training patches' gray levels (classifier);
             spread {scale}: what the stated spread is multiplied by, measured on validation images
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from blurjax._numerics import mean_over, network_dtype
from blurjax._typing import Array, AxisName, Float, Patches, PRNGKey
from blurjax.sigma_map._config import MIN_SIZE, Config, class_sigmas
from blurjax.sigma_map._networks import Classifier, Regressor
from blurjax.sigma_map.samples import Batch

Variables = dict[str, Any]

# The regressor's outputs lie on a grid of every fourth pixel; its sides are multiples of 8.
STEP, MULTIPLE = 4, 8
# Spreads from a hundredth of a pixel to 4 px.
_LOG_VARIANCE = (2 * math.log(0.01), 2 * math.log(4.0))


class Aux(NamedTuple):
    """What `loss` returns beside the scalar."""

    metrics: dict[str, Array]
    state: Variables


class Prediction(NamedTuple):
    """Answers for a batch of images, at their size, in pixels."""

    sigma: Float[Array, "n h w"]
    spread: Float[Array, "n h w"]
    """Standard deviation of the error to be expected."""


def init(key: PRNGKey, config: Config) -> Variables:
    """Fresh variables.

    Args:
        key: random key.
        config: the shape.

    Returns:
        `params` and `state` in float32.

    Source: He et al. 2015 (classifier), Flax's default LeCun normal (regressor); biases 0.

    Example:
        >>> import jax
        >>> from blurjax import sigma_map
        >>> config = sigma_map.Config(body="classifier")
        >>> variables = sigma_map.init(jax.random.key(0), config)
        >>> sum(x.size for x in jax.tree.leaves(variables["params"]))
        3270426
    """
    side = config.patch if config.body == "classifier" else MIN_SIZE
    network: Classifier | Regressor = Regressor(config.width, config.context)
    if config.body == "classifier":
        network = Classifier(config.classes, config.patch)
    # Compiled whole: op by op it takes many times as long.
    params = jax.jit(network.init)(key, jnp.zeros((1, side, side), jnp.float32))["params"]
    one = jnp.ones((), jnp.float32)
    state: Variables = {"spread": {"scale": one}}
    if config.body == "classifier":
        state["input"] = {"mean": one / 2, "scale": one / 4}
    return {"params": dict(params), "state": state}


def standardise(variables: Variables, images: Patches, config: Config) -> Variables:
    """Variables whose input is standardised by the mean and deviation of `images`' gray levels.

    One of each for all, as published; the regressor needs none.
    """
    if config.body != "classifier":
        return variables
    about = {"mean": jnp.mean(images), "scale": jnp.std(images)}
    return {**variables, "state": {**variables["state"], "input": about}}


def apply(
    variables: Variables, images: Patches, config: Config, *, train: bool = False
) -> Float[Array, "n ..."]:
    """What the network says, before it is read as sigma.

    Args:
        variables: from `init`, `load` or training; never changed.
        images: (n, 32, 32) patches for the classifier (its `config.patch`); for the regressor
            (n, H, W) with sides that are multiples of 8. Gray in [0, 1], blurred.
        config: the shape, static.
        train: no layer depends on it.

    Returns:
        Classifier: logits (n, classes), of sigma = top / classes, ..., top in the patch's middle.
        Regressor: (n, H / 4, W / 4, 2), sigma in pixels and the logarithm of its variance, of each
        square of 4x4 pixels.

    Raises:
        ValueError: images of a size that the network does not take.

    Gradient: exact and finite, to variables and images; rectified linear units.

    Source: Patro, "Blur kernel estimation using deep learning" (the classifier); the regressor is
        our choice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import sigma_map
        >>> config = sigma_map.Config(body="classifier", classes=10)
        >>> variables = sigma_map.init(jax.random.key(0), config)
        >>> sigma_map.apply(variables, jnp.zeros((2, 32, 32)), config).shape
        (2, 10)
    """
    del train
    height, width = images.shape[1:]
    if config.body == "classifier" and (height, width) != (config.patch, config.patch):
        raise ValueError(
            f"patches are {height}x{width}; this classifier is about {config.patch}x{config.patch} "
            "(`predict` takes images of any size)"
        )
    if config.body == "regressor" and (height % MULTIPLE or width % MULTIPLE):
        raise ValueError(
            f"images are {height}x{width}; the regressor needs sides that are multiples of "
            f"{MULTIPLE} (`predict` pads them)"
        )
    return jnp.asarray(run(variables, images, config))


def dense(
    variables: Variables, images: Patches, config: Config, *, stride: int = 1
) -> Float[Array, "n rows columns classes"]:
    """The classifier's logits for every window of images: a fully convolutional pass.

    The same numbers as `apply` to each window, for an eighteenth of the operations at stride 1.

    Args:
        variables: of a classifier.
        images: (n, H, W), sides of at least `config.patch`, in [0, 1].
        config: static.
        stride: pixels between windows: 1, or even and at most the patch's side. Static.

    Returns:
        (n, rows, columns, classes), rows = (H - patch) // stride + 1: [i, j] belongs to the window
        with its upper left pixel at (stride i, stride j) and its centre (patch - 1) / 2 further.

    Raises:
        ValueError: variables of a regressor, too small images, another stride.

    Gradient: exact, to variables and images.

    Source: Patro slides windows; that the same network can be run densely is from Giusti et al.,
        "Fast image scanning with deep max-pooling convolutional neural networks", 2013.
    """
    if config.body != "classifier":
        raise ValueError("the regressor is fully convolutional as it is: use `apply` or `predict`")
    if min(images.shape[1:]) < config.patch:
        raise ValueError(
            f"images are {images.shape[1]}x{images.shape[2]}; the window has {config.patch} pixels"
        )
    _check_stride(stride, config)
    return jnp.asarray(run(variables, images, config, stride))


def _check_stride(stride: int, config: Config) -> None:
    if stride != 1 and (stride % 2 or not 1 < stride <= config.patch):
        raise ValueError(f"stride is {stride}; pass 1, or an even number up to {config.patch}")


def run(
    variables: Variables, given: Any, config: Config, stride: int = 0, part: str = "whole"
) -> Any:
    """A network, or a part of it as `_networks` says; images, and what is returned whole, keep
    their dtype."""
    network: Classifier | Regressor = Regressor(config.width, config.context)
    x = given
    if config.body == "classifier":
        network = Classifier(config.classes, config.patch, stride)
        if part != "head":
            about = variables["state"]["input"]
            x = x.astype(jnp.float32)
            x = (x - about["mean"].astype(x.dtype)) / about["scale"].astype(x.dtype)
    dtype = network_dtype(variables["params"])
    x = jax.tree.map(lambda leaf: jnp.asarray(leaf, dtype), x)
    said = network.apply({"params": variables["params"]}, x, part)
    return jnp.asarray(said).astype(given.dtype) if part == "whole" else said


def loss(
    variables: Variables,
    batch: Batch,
    config: Config,
    *,
    key: PRNGKey | None = None,
    train: bool = True,
    axis_name: AxisName = None,
) -> tuple[Float[Array, ""], Aux]:
    """Classifier: mean cross-entropy. Regressor: the beta-NLL of sigma and its variance.

    A sigma between two classes counts for both, in proportion to its nearness, so that the
    expectation over the classes can be read as sigma; on a class it is the plain cross-entropy.

    The regressor's is the negative log-likelihood of a Gaussian, every pixel weighted by its
    stated variance to the power beta = 1/2 (held fixed), without which pixels that are called
    uncertain early never learn.

    Args:
        variables: `params` and `state`.
        batch: from `sample`.
        config: the shape, static.
        key: unused, the networks are deterministic.
        train: unused.
        axis_name: a mapped axis over which the batch is shared out: all means are those of the
            whole batch, and equal on all devices.

    Returns:
        The scalar, and `Aux` with the metrics "loss", "rmse" (px; of the classifier's
        expectation) and "accuracy" or "calibration" (mean square of error / spread), and the
        unchanged state.

    Gradient: exact, to variables, but for beta-NLL's fixed weights.

    Source: Patro; Seitzer, Tavakoli, Antic and Martius, "On the pitfalls of heteroscedastic
        uncertainty estimation with probabilistic neural networks", ICLR 2022.
    """
    del key, train
    said = apply(variables, batch.images, config)
    if config.body == "classifier":
        log_probability = jax.nn.log_softmax(said)
        target = soft_labels(batch.sigma, config).astype(said.dtype)
        value = -mean_over(jnp.sum(target * log_probability, axis=-1), axis_name)
        expected, _ = decode(said, config)
        right = jnp.argmax(said, axis=-1) == jnp.argmax(target, axis=-1)
        metrics = {
            "loss": value,
            "rmse": jnp.sqrt(mean_over((expected - batch.sigma) ** 2, axis_name)),
            "accuracy": mean_over(right.astype(said.dtype), axis_name),
        }
        return value, Aux(metrics, variables["state"])
    truth = _squares(batch.sigma)
    sigma, log_variance = read(said)
    error = (sigma - truth) ** 2
    variance = jnp.exp(log_variance)
    weight = jax.lax.stop_gradient(jnp.sqrt(variance))
    value = mean_over(weight * (error / variance + log_variance), axis_name) / 2
    metrics = {
        "loss": value,
        "rmse": jnp.sqrt(mean_over(error, axis_name)),
        "calibration": mean_over(error / variance, axis_name),
    }
    return value, Aux(metrics, variables["state"])


def soft_labels(sigma: Float[Array, " n"], config: Config) -> Float[Array, "n classes"]:
    """The two nearest classes of each sigma, weighted by nearness; the ends hold what is beyond."""
    place = sigma * (config.classes / config.top) - 1
    place = jnp.clip(place, 0, config.classes - 1)
    distance = jnp.abs(place[:, None] - jnp.arange(config.classes, dtype=place.dtype)[None, :])
    return jnp.maximum(1 - distance, 0)


DECODES = ("expectation", "argmax")
"""How the classes' probabilities can be read as sigma."""


def decode(
    logits: Float[Array, "... classes"], config: Config, way: str = "expectation"
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Sigma of a classifier's logits, and its spread.

    Args:
        logits: (..., classes), from `apply` or `dense`.
        config: the classes' sigmas.
        way: "expectation", the mean over the classes, or "argmax", the most probable class's sigma
            as published. Static.

    Returns:
        Sigma (...) in pixels, and the standard deviation of the classes around their mean, each
        class spread evenly over its interval.

    Raises:
        ValueError: another `way`.

    Gradient: of the expectation and the spread exact; of "argmax" 0.

    Source: Patro for "argmax"; the expectation is our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import sigma_map
        >>> config = sigma_map.Config(body="classifier", classes=3)
        >>> sigma, spread = sigma_map.decode(jnp.array([0.0, 0.0, -99.0]), config)
        >>> print(f"{sigma:.2f} +- {spread:.2f}")
        1.50 +- 0.58
    """
    if way not in DECODES:
        raise ValueError(f"decode is {way!r}; choose 'expectation' or 'argmax'")
    sigmas = jnp.asarray(class_sigmas(config)).astype(logits.dtype)
    probability = jax.nn.softmax(logits)
    mean = probability @ sigmas
    rounding = (config.top / config.classes) ** 2 / 12
    distance = sigmas.reshape((1,) * mean.ndim + (-1,)) - mean[..., None]
    spread = jnp.sqrt(jnp.sum(probability * distance**2, axis=-1) + rounding)
    return (mean if way == "expectation" else sigmas[jnp.argmax(logits, axis=-1)]), spread


def read(said: Float[Array, "... 2"]) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Sigma and log variance of the regressor's outputs, from a typical sigma and spread on."""
    low, high = _LOG_VARIANCE
    return said[..., 0] + 1.5, jnp.clip(said[..., 1] - 1.5, low, high)


def _squares(sigma: Array) -> Array:
    """The mean of each square of 4x4 pixels."""
    n, height, width = sigma.shape
    return jnp.mean(sigma.reshape(n, height // STEP, STEP, width // STEP, STEP), axis=(2, 4))


def predict(
    variables: Variables,
    images: Patches,
    config: Config,
    *,
    stride: int = 4,
    way: str = "expectation",
) -> Prediction:
    """Sigma and its spread at every pixel of images of any size.

    Classifier: what `decode` says of every `stride`-th window; the image is continued at its border
    by mirroring, so that each pixel has a window, centred on it. Between windows it is bilinear.
    Regressor: its map, bilinear between squares of 4 pixels.

    Args:
        variables: from `load` or training.
        images: (n, H, W), gray in [0, 1], sides at least 32.
        config: static.
        stride: of the classifier's windows, 1 or even, at most the patch's side; the regressor has
            none. Static.
        way: "expectation" or "argmax", see `decode`; the regressor has none. Static.

    Returns:
        `Prediction` of (n, H, W), in the images' dtype. Sigma is at least 0.

    Raises:
        ValueError: images smaller than 32 pixels; another stride.

    Gradient: exact, to variables and images; 0 where sigma is cut at 0.

    Source: Patro (the classifier); our choice (the regressor).

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import sigma_map
        >>> config = sigma_map.Config()
        >>> variables = sigma_map.init(jax.random.key(0), config)
        >>> sigma_map.predict(variables, jnp.zeros((1, 50, 70)), config).sigma.shape
        (1, 50, 70)
    """
    check_size(images.shape[1:])
    shape = images.shape[1:]
    if config.body == "classifier":
        padded = pad_windows(images, config, stride)
        mean, spread = decode(dense(variables, padded, config, stride=stride), config, way)
        step = stride
    else:
        mean, log_variance = read(apply(variables, pad_squares(images), config))
        spread, step = jnp.exp(log_variance / 2), STEP
    return at_pixels(variables, mean, spread, step, shape)


def check_size(shape: tuple[int, ...]) -> None:
    """Refuse images without room for one patch."""
    if min(shape) < MIN_SIZE:
        raise ValueError(
            f"images are {shape[0]}x{shape[1]} pixels; sigma_map needs at least "
            f"{MIN_SIZE}x{MIN_SIZE}"
        )


def pad_windows(images: Array, config: Config, stride: int) -> Array:
    """Images continued so that window (i, j) is centred on the square of `stride` pixels (i, j)."""
    _check_stride(stride, config)
    before = (config.patch - stride) // 2
    padding = []
    for length in images.shape[1:]:
        count = -(-length // stride)
        padding.append((before, (count - 1) * stride + config.patch - before - length))
    return jnp.pad(images, [(0, 0), *padding], mode="symmetric")


def pad_squares(images: Array) -> Array:
    """Images continued to sides that are multiples of 8."""
    padding = [(0, -length % MULTIPLE) for length in images.shape[1:]]
    return jnp.pad(images, [(0, 0), *padding], mode="symmetric")


def at_pixels(
    variables: Variables, mean: Array, spread: Array, step: int, shape: tuple[int, ...]
) -> Prediction:
    """Maps of squares of `step` pixels, brought to every pixel."""
    spread = spread * variables["state"]["spread"]["scale"].astype(spread.dtype)

    def enlarged(x: Array) -> Array:
        n, rows, columns = x.shape
        wide = jax.image.resize(x, (n, rows * step, columns * step), "linear")
        return wide[:, : shape[0], : shape[1]]

    return Prediction(jnp.maximum(enlarged(mean), 0), enlarged(spread))
