"""Every network of the system behind one face: `init`, `apply`, `loss`, `predict`.

Variables are nested dicts with string keys:

    params   of the cascade coarse, fine0 .. fine4, of the others single, regressor or correlation:
             for each network its layers
    state    of each residual network its batch normalisations {mean, var};
             answer {scale}: of the logits (the regressor: half its interval in pixels), measured
             on validation photographs so that the interval covers what it says
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import features
from blurjax._numerics import network_dtype, weighted_mean
from blurjax._typing import Array, AxisName, Float, Images, Int, PRNGKey
from blurjax.kernel_size._config import MIN_SIZE, PATCH, RANGES, Config, members, range_of, sizes
from blurjax.kernel_size._networks import Lags
from blurjax.kernel_size.samples import Batch, patches
from blurjax.nn.resnet import ResNet

Variables = dict[str, Any]

COVERAGE = 0.8
"""Share of the kernels whose size the interval is to hold."""
DECODINGS = ("median", "expectation", "hard")
"""How `decode` makes one size of the scores of all."""

# Standard deviation of the correlation network's labels over the sizes, in pixels.
_LABEL = 1.5
# The regressor's numbers are in these units.
_CENTRE, _SPREAD = 45.0, 25.0
_FINE = tuple(f"fine{i}" for i in range(len(RANGES)))


class Aux(NamedTuple):
    """What `loss` returns beside the scalar."""

    metrics: dict[str, Array]
    state: Variables


class Scores(NamedTuple):
    """What the networks say; all log probabilities are normalised. None where a body has none."""

    joint: Float[Array, "n ..."] | None
    """Log probabilities of all sizes: (n, 38); of the correlation network (n, 2, 49), for height
    and width. Of the cascade the sum of the range's and of the size's in it."""
    coarse: Float[Array, "n 5"] | None = None
    """Cascade: log probabilities of the ranges."""
    fine: Float[Array, "n 38"] | None = None
    """Cascade: log probabilities of each size within its range."""
    size: Float[Array, " n"] | None = None
    """Regressor: the size in pixels."""


class Prediction(NamedTuple):
    """Answers for a batch of images; the last axis is height and width."""

    size: Float[Array, "n 2"]
    """In pixels."""
    low: Float[Array, "n 2"]
    high: Float[Array, "n 2"]
    """The ends of the interval."""


def networks(config: Config, axis_name: AxisName = None) -> dict[str, ResNet | Lags]:
    """The networks of a configuration, by name; batch normalisation over an axis, if any."""

    def resnet(outputs: int) -> ResNet:
        return ResNet(outputs, config.depth, config.width, axis_name=axis_name)

    if config.body == "correlation":
        return {"correlation": Lags(config.channels, len(sizes(config)))}
    if config.body == "regressor":
        return {"regressor": resnet(1)}
    if config.body == "single":
        return {"single": resnet(len(sizes(config)))}
    fine = {name: resnet(len(members(i))) for i, name in enumerate(_FINE)}
    return {"coarse": resnet(len(RANGES)), **fine}


def init(key: PRNGKey, config: Config) -> Variables:
    """Fresh variables.

    Args:
        key: random key.
        config: the shape.

    Returns:
        `params` and `state` in float32.

    Source: He et al. 2015 before rectifiers, Flax's default LeCun normal elsewhere; biases 0.

    Example:
        >>> import jax
        >>> from blurjax import kernel_size
        >>> config = kernel_size.Config(channels=8)
        >>> sorted(kernel_size.init(jax.random.key(0), config))
        ['params', 'state']
    """
    if config.body == "correlation":
        like = jnp.zeros((1, len(features.CORRELATION_MAPS), 2 * config.lags, config.lags))
    else:
        like = jnp.zeros((1, PATCH, PATCH))
    like = like.astype(jnp.float32)
    params, state = {}, {}
    for i, (name, network) in enumerate(networks(config).items()):
        # Compiled whole: op by op it takes many times as long.
        made = jax.jit(network.init)(jax.random.fold_in(key, i), like)
        params[name] = dict(made["params"])
        if "batch_stats" in made:
            state[name] = dict(made["batch_stats"])
    scale = 15.0 if config.body == "regressor" else 1.0
    state["answer"] = {"scale": jnp.array(scale, jnp.float32)}
    return {"params": params, "state": state}


def apply(
    variables: Variables,
    images: Images,
    config: Config,
    *,
    train: bool = False,
    inside: Int[Array, "n 2"] | None = None,
) -> Scores:
    """What the networks say of a batch.

    Args:
        variables: from `init`, `load` or training; never changed.
        images: (n, 128, 128) patches for the residual networks, as `patches` makes them: of the
            gradient along the rows they tell the width. Whole images (n, H, W) in [0, 1] for the
            correlation network.
        config: the shape, static.
        train: whether batch normalisation uses the batch's own statistics.
        inside: (n, 2), height and width of each whole image, where it does not fill its array.

    Returns:
        `Scores`, in the images' dtype.

    Raises:
        ValueError: images of a size that the networks do not take.

    Gradient: exact and finite, to variables and images; rectified linear units.

    Source: Ye et al., "A coarse-to-fine classification for motion blur kernel size estimation with
        cascaded neural networks" (cascade and single); Li et al., Pattern Recognition Letters 2017,
        for the regressor; the correlation network is our choice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import kernel_size
        >>> config = kernel_size.Config(body="single", depth=10, width=4)
        >>> variables = kernel_size.init(jax.random.key(0), config)
        >>> kernel_size.apply(variables, jnp.zeros((2, 128, 128)), config).joint.shape
        (2, 38)
    """
    return _run(variables, images, config, train, inside)[0]


def _run(
    variables: Variables,
    images: Array,
    config: Config,
    train: bool,
    inside: Array | None = None,
    parts: int = 0,
    axis_name: AxisName = None,
) -> tuple[Scores, Variables]:
    """The scores in the images' dtype, and the statistics that batch normalisation measured.

    With `parts` each fine network sees only its own of so many equal parts of the batch, and
    `fine` is the list of what they say.
    """
    state = dict(variables["state"])

    def said(name: str, x: Array) -> Array:
        network = networks(config, axis_name)[name]
        tree = {"params": variables["params"][name], "batch_stats": state.get(name, {})}
        x = x.astype(dtype)
        if train and name in state:
            answer, measured = network.apply(tree, x, train=True, mutable=["batch_stats"])
            state[name] = measured["batch_stats"]
            return jnp.asarray(answer).astype(jnp.float32)
        return jnp.asarray(network.apply(tree, x)).astype(jnp.float32)

    dtype = network_dtype(variables["params"])
    x = images.astype(jnp.float32)
    if config.body == "correlation":
        # Whole images, or already what `views` makes of them.
        seen = x if x.ndim == 4 else views(x, config, inside=inside)
        logits = said("correlation", seen)
        joint = jnp.swapaxes(logits.reshape(2, len(seen) // 2, -1), 0, 1)
        return Scores(jax.nn.log_softmax(joint).astype(images.dtype)), state
    if images.shape[1:] != (PATCH, PATCH):
        raise ValueError(
            f"patches are {images.shape[1]}x{images.shape[2]}; these networks are about "
            f"{PATCH}x{PATCH} (`patches` cuts them)"
        )
    if config.body == "regressor":
        size = _CENTRE + _SPREAD * said("regressor", x)[:, 0]
        return Scores(None, size=size.astype(images.dtype)), state
    if config.body == "single":
        joint = jax.nn.log_softmax(said("single", x))
        return Scores(joint.astype(images.dtype)), state
    coarse = jax.nn.log_softmax(said("coarse", x))
    shares = jnp.split(x, parts) if parts else [x] * len(_FINE)
    fine = [
        jax.nn.log_softmax(said(name, share)) for name, share in zip(_FINE, shares, strict=True)
    ]
    if parts:
        return Scores(None, coarse, fine), state  # type: ignore[arg-type]
    within = jnp.concatenate(fine, axis=-1)
    joint = coarse[:, range_of(sizes(config))] + within
    cast = (y.astype(images.dtype) for y in (joint, coarse, within))
    return Scores(*cast), state


def loss(
    variables: Variables,
    batch: Batch,
    config: Config,
    *,
    key: PRNGKey | None = None,
    train: bool = True,
    axis_name: AxisName = None,
) -> tuple[Float[Array, ""], Aux]:
    """Mean cross-entropy of the sizes; of the regressor the mean absolute error.

    The cascade's is the sum of the coarse network's, over the batch, and of the fine ones', each
    over the slots of its own range: all six are trained at once, and a step costs two networks'
    passes. The correlation network's labels are Gaussians of 1.5 pixels about the measured sizes.

    Args:
        variables: `params` and `state`.
        batch: from `sample` with the same config.
        config: the shape, static.
        key: unused, the networks are deterministic.
        train: whether batch normalisation uses the batch's own statistics.
        axis_name: a mapped axis over which the batch is shared out: all means, and batch
            normalisation's statistics, are those of the whole batch, and equal on all devices.

    Returns:
        The scalar, and `Aux` with the metrics "loss" and "abe" (mean absolute error in pixels; of
        the cascade while it trains that of the fine networks), of the cascade also
        "coarse_accuracy" and "fine_accuracy"; and the state, in training with batch
        normalisation's averages moved on.

    Raises:
        ValueError: whole images for residual networks; a batch that the five ranges do not share.

    Gradient: exact, to variables.

    Source: Ye et al. eq. (2).
    """
    del key
    truth = batch.size.astype(jnp.float32)
    weight = batch.weight
    parts = len(RANGES) if config.body == "cascade" and train else 0
    inside = batch.inside if config.body == "correlation" else None
    scores, state = _run(variables, batch.images, config, train, inside, parts, axis_name)

    def mean(x: Array, weight: Array) -> Array:
        return weighted_mean(x, weight, axis_name)

    if config.body == "regressor":
        assert scores.size is not None
        value = mean(jnp.abs(scores.size - truth[:, 1]), weight)
        return value / _SPREAD, Aux({"loss": value / _SPREAD, "abe": value}, state)
    classes = sizes(config)
    if config.body == "correlation":
        assert scores.joint is not None
        both = jnp.broadcast_to(weight[:, None], truth.shape)
        value = mean(_cross_entropy(scores.joint, truth, classes, _LABEL), both)
        error = jnp.abs(decode(scores, config, jnp.ones((), jnp.float32))[0] - truth)
        return value, Aux({"loss": value, "abe": mean(error, both)}, state)
    width = truth[:, 1]
    if config.body == "single":
        assert scores.joint is not None
        value = mean(_cross_entropy(scores.joint, width, classes), weight)
        error = jnp.abs(_expected(scores.joint, classes) - width)
        return value, Aux({"loss": value, "abe": mean(error, weight)}, state)

    # The cascade.
    assert scores.coarse is not None and scores.fine is not None
    number = range_of(width)
    coarse = mean(_picked(scores.coarse, number), weight)
    right = mean((jnp.argmax(scores.coarse, -1) == number).astype(jnp.float32), weight)
    own = [slice(i * len(width) // parts, (i + 1) * len(width) // parts) for i in range(parts)]
    values, errors, rights = [], [], []
    for i in range(len(RANGES)):
        rows = own[i] if parts else slice(None)
        some = classes[members(i)]
        said = scores.fine[i] if parts else scores.fine[:, members(i)]
        mine = jnp.where(number[rows] == i, weight[rows], 0)
        values.append(mean(_cross_entropy(said, width[rows], some), mine))
        best = jnp.asarray(some)[jnp.argmax(said, -1)].astype(jnp.float32)
        errors.append(mean(jnp.abs(best - width[rows]), mine))
        rights.append(mean((best == width[rows]).astype(jnp.float32), mine))
    fine = jnp.mean(jnp.stack(values))
    abe = jnp.mean(jnp.stack(errors))
    if not parts:
        assert scores.joint is not None
        abe = mean(jnp.abs(_expected(scores.joint, classes) - width), weight)
    metrics = {
        "loss": coarse + fine,
        "coarse_loss": coarse,
        "fine_loss": fine,
        "coarse_accuracy": right,
        "fine_accuracy": jnp.mean(jnp.stack(rights)),
        "abe": abe,
    }
    return coarse + fine, Aux(metrics, state)


def _picked(log: Array, index: Array) -> Array:
    return -jnp.take_along_axis(log, index[..., None], axis=-1)[..., 0]


def _cross_entropy(log: Array, size: Array, classes: np.ndarray, label: float = 0.0) -> Array:
    """Of log probabilities (..., c) and true sizes (...,), softened by a Gaussian of `label`."""
    values = jnp.broadcast_to(jnp.asarray(classes, log.dtype), log.shape)
    distance = values - size[..., None]
    if not label:
        return _picked(log, jnp.argmin(jnp.abs(distance), axis=-1))
    return -jnp.sum(jax.nn.softmax(-((distance / label) ** 2) / 2) * log, axis=-1)


def _expected(log: Array, classes: np.ndarray) -> Array:
    values = jnp.broadcast_to(jnp.asarray(classes, log.dtype), log.shape)
    return jnp.sum(jnp.exp(log) * values, axis=-1)


def decode(
    scores: Scores, config: Config, scale: Array, *, decoding: str | None = None
) -> tuple[Array, Array, Array]:
    """The size that scores speak of, and the ends of its interval, in pixels.

    Args:
        scores: from `apply`.
        config: likewise.
        scale: of the logits before the interval is read; of the regressor, half of it in pixels.
        decoding: "median" (default of the correlation network), "expectation" (of the others), or
            "hard": of the cascade the most probable size of the most probable range, as published;
            of the others the most probable size. Static.

    Returns:
        Size, low, high: each of the scores' leading shape. The interval holds `COVERAGE` of the
        probability, as much above it as below; the median is always in it, an expectation between
        two peaks or a "hard" answer need not be.

    Gradient: that of the probabilities; "hard" has none.
    """
    if decoding is None:
        decoding = "median" if config.body == "correlation" else "expectation"
    if decoding not in DECODINGS:
        raise ValueError(f"decoding is {decoding!r}; choose one of {DECODINGS}")
    if scores.size is not None:
        scale = scale.astype(scores.size.dtype)
        return scores.size, jnp.maximum(scores.size - scale, 1), scores.size + scale
    assert scores.joint is not None
    classes = sizes(config)
    probabilities = jax.nn.softmax(scores.joint * scale.astype(scores.joint.dtype))
    low, high = (_quantile(probabilities, classes, (1 + s * COVERAGE) / 2) for s in (-1, 1))
    if decoding == "median":
        return _quantile(probabilities, classes, 0.5), low, high
    if decoding == "expectation":
        return _expected(scores.joint, classes), low, high
    best = scores.joint
    if scores.coarse is not None:
        chosen = jnp.argmax(scores.coarse, axis=-1)[:, None]
        inside = jnp.asarray(range_of(classes))[None, :] == chosen
        best = jnp.where(inside, best, -jnp.inf)
    return jnp.asarray(classes, best.dtype)[jnp.argmax(best, axis=-1)], low, high


def _quantile(probabilities: Array, classes: np.ndarray, level: float) -> Array:
    """Of a density that is even within half the distance to either neighbour of each class."""
    dtype = probabilities.dtype
    edges = np.concatenate([[1.5 * classes[0] - classes[1] / 2], (classes[1:] + classes[:-1]) / 2])
    edges = np.append(edges, 1.5 * classes[-1] - classes[-2] / 2)
    above = jnp.cumsum(probabilities, axis=-1)
    index = jnp.minimum(jnp.sum(above < level, axis=-1), len(classes) - 1)[..., None]
    own = jnp.take_along_axis(probabilities, index, axis=-1)[..., 0]
    before = jnp.take_along_axis(above, index, axis=-1)[..., 0] - own
    part = jnp.clip((level - before) / jnp.maximum(own, 1e-9), 0, 1)
    left = jnp.asarray(edges[:-1], dtype)[index[..., 0]]
    right = jnp.asarray(edges[1:], dtype)[index[..., 0]]
    return jnp.maximum(left + part * (right - left), 1)


def predict(
    variables: Variables,
    images: Images,
    config: Config,
    *,
    inside: Int[Array, "n 2"] | None = None,
    decoding: str | None = None,
) -> Prediction:
    """Height and width of the kernels that blurred some images.

    Args:
        variables: as from `load`.
        images: (n, H, W), gray in [0, 1]; sides at least 128 (of the residual networks 129).
        config: static.
        inside: (n, 2), height and width of each image, where it lies in the upper left corner of
            its array; by default all of it.
        decoding: see `decode`. Static.

    Returns:
        `Prediction` in the images' dtype.

    Raises:
        ValueError: images that are too small.

    Gradient: exact almost everywhere, to variables and images; of the residual networks, of the
        patch that was chosen.

    Source: Ye et al. (the cascade); the rest is our choice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import kernel_size
        >>> config = kernel_size.Config(channels=8)
        >>> variables = kernel_size.init(jax.random.key(0), config)
        >>> kernel_size.predict(variables, jnp.zeros((3, 130, 150)), config).size.shape
        (3, 2)
    """
    return read(variables, views(images, config, inside=inside), config, decoding=decoding)


def views(
    images: Images, config: Config, *, inside: Int[Array, "n 2"] | None = None
) -> Float[Array, "..."]:
    """What the networks see of whole images, for the height and, after all of these, for the width.

    Apart from `read`, so that of images of many sizes only this little part is compiled anew.

    Args:
        images, config, inside: as for `predict`.

    Returns:
        Maps (2 n, 3, 2 lags, lags), or patches (2 n, 128, 128).

    Raises:
        ValueError: images that are too small.

    Gradient: exact but for the choice of the patch.
    """
    least = MIN_SIZE if config.body == "correlation" else PATCH + 1
    if min(images.shape[1:]) < least:
        raise ValueError(
            f"images are {images.shape[1]}x{images.shape[2]} pixels; kernel_size needs at least "
            f"{least}x{least}"
        )
    if config.body == "correlation":
        maps = features.correlation_maps(images, lags=config.lags, inside=inside)
        # The height is the width of the transposed image, whose maps are these.
        return jnp.concatenate([features.transposed_maps(maps), maps])
    turned = None if inside is None else inside[:, ::-1]
    heights = patches(jnp.swapaxes(images, 1, 2), config, inside=turned)
    return jnp.concatenate([heights, patches(images, config, inside=inside)])


def read(
    variables: Variables, seen: Array, config: Config, *, decoding: str | None = None
) -> Prediction:
    """The sizes that the networks read from what `views` shows them.

    Args:
        variables, config, decoding: as for `predict`.
        seen: (2 n, ...), from `views`.

    Returns:
        `Prediction` of the n images.

    Gradient: exact almost everywhere.
    """
    scores = _run(variables, seen, config, train=False)[0]
    answer = decode(scores, config, variables["state"]["answer"]["scale"], decoding=decoding)
    if config.body != "correlation":
        answer = tuple(x.reshape(2, -1).T for x in answer)  # type: ignore[assignment]
    return Prediction(*answer)
