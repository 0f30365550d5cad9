"""The scorers behind one face: `init`, `apply`, `loss`, `predict`; `trainable` for fine-tuning.

Variables are nested dicts with string keys:

    params   resnet: its layers; gabor: its weights {kernel, bias}
    state    resnet: its batch normalisations {mean, var}; gabor: the features' {mean, deviation};
             answer {scale, offset}: turn a score into the probability that a window is good,
             measured on validation photographs
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from blurjax._numerics import gathered, mean_over, network_dtype
from blurjax._typing import Array, AxisName, Float, PRNGKey
from blurjax.nn.resnet import ResNet
from blurjax.region._baselines import GABOR_STATISTICS, gabor_statistics
from blurjax.region._config import WINDOW, Config
from blurjax.region.samples import Batch

Variables = dict[str, Any]

# Gray levels reach the network about their mean, in units that make their deviation about 1.
_SPREAD = 0.2
# How many differences of similarity make a pair as sure as the loss of ranks takes it to be.
_CLEAR = 0.1
# Parts that the seed leaves as they were pretrained.
_KEPT = ("stem", "stage0", "stage1")


class Aux(NamedTuple):
    """What `loss` returns beside the scalar."""

    metrics: dict[str, Array]
    state: Variables


class Prediction(NamedTuple):
    """What is said of windows."""

    score: Float[Array, " n"]
    """Probability that the kernel estimated from a window is good, in [0, 1]; calibrated on
    windows of validation photographs with shakes of 11 to 55 px, noise of 1/255 to 4/255."""


def _network(config: Config, axis_name: AxisName = None) -> ResNet:
    return ResNet(1, config.depth, config.width, strided=True, axis_name=axis_name)


def init(key: PRNGKey, config: Config) -> Variables:
    """Fresh variables.

    Args:
        key: random key.
        config: the shape.

    Returns:
        `params` and `state` in float32.

    Source: He et al. 2015 before rectifiers; biases 0.

    Example:
        >>> import jax
        >>> from blurjax import region
        >>> config = region.Config(depth=10, width=4)
        >>> sorted(region.init(jax.random.key(0), config))
        ['params', 'state']
    """
    one, zero = jnp.ones((), jnp.float32), jnp.zeros((), jnp.float32)
    answer = {"scale": one, "offset": zero}
    if config.body == "gabor":
        nothing = jnp.zeros((GABOR_STATISTICS,), jnp.float32)
        state: Variables = {"features": {"mean": nothing, "deviation": nothing + 1}}
        return {
            "params": {"gabor": {"kernel": nothing, "bias": zero}},
            "state": {**state, "answer": answer},
        }
    side = WINDOW // config.reduced
    # Compiled whole: op by op it takes many times as long.
    made = jax.jit(_network(config).init)(key, jnp.zeros((1, side, side), jnp.float32))
    return {
        "params": {"resnet": dict(made["params"])},
        "state": {"resnet": dict(made["batch_stats"]), "answer": answer},
    }


def apply(
    variables: Variables,
    windows: Float[Array, "n h w"],
    config: Config,
    *,
    train: bool = False,
) -> Float[Array, " n"]:
    """What the scorer says of windows: the logarithm of the odds that they are good.

    Args:
        variables: from `init`, `load` or training; never changed.
        windows: (n, 228, 228) in [0, 1], blurred. Other sides of 64 pixels and more are taken, but
            were not trained on.
        config: the shape, static.
        train: whether batch normalisation uses the batch's own statistics.

    Returns:
        (n,), in the windows' dtype; not calibrated.

    Raises:
        ValueError: windows that are too small.

    Gradient: exact and finite, to variables and windows; rectified linear units.

    Source: Yang, Wu and Sun, "Select good regions for deblurring based on convolutional neural
        networks" (3.2): ResNet-34 with strided convolutions instead of pooling; where these are is
        our choice. "gabor" after Hu and Yang, "Learning good regions to deblur images", IJCV 2015.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import region
        >>> config = region.Config(depth=10, width=4, reduced=2)
        >>> variables = region.init(jax.random.key(0), config)
        >>> region.apply(variables, jnp.zeros((2, 228, 228)), config).shape
        (2,)
    """
    return _run(variables, windows, config, train)[0]


def _run(
    variables: Variables, windows: Array, config: Config, train: bool, axis_name: AxisName = None
) -> tuple[Array, Variables]:
    """The scores in the windows' dtype, and the statistics that batch normalisation measured."""
    if min(windows.shape[1:]) < 64:
        raise ValueError(
            f"windows are {windows.shape[1]}x{windows.shape[2]} pixels; of less than 64x64 nothing "
            f"can be said: pass {WINDOW}x{WINDOW}"
        )
    state = dict(variables["state"])
    x = windows.astype(jnp.float32)
    if config.body == "gabor":
        known, weights = state["features"], variables["params"]["gabor"]
        features = (gabor_statistics(x) - known["mean"][None]) / known["deviation"][None]
        features = features.astype(network_dtype(weights))
        said = features @ weights["kernel"] + weights["bias"]
        return said.astype(windows.dtype), state
    x = (x - jnp.mean(x, axis=(1, 2), keepdims=True)) / _SPREAD
    if config.reduced == 2:
        n, height, width = x.shape
        x = x[:, : height // 2 * 2, : width // 2 * 2]
        x = jnp.mean(x.reshape(n, height // 2, 2, width // 2, 2), axis=(2, 4))
    tree = {"params": variables["params"]["resnet"], "batch_stats": state["resnet"]}
    x = x.astype(network_dtype(tree["params"]))
    if train:
        network = _network(config, axis_name)
        said, measured = network.apply(tree, x, train=True, mutable=["batch_stats"])
        state["resnet"] = measured["batch_stats"]
    else:
        said = _network(config).apply(tree, x)
    return jnp.asarray(said)[:, 0].astype(windows.dtype), state


def loss(
    variables: Variables,
    batch: Batch,
    config: Config,
    *,
    key: PRNGKey | None = None,
    train: bool = True,
    axis_name: AxisName = None,
) -> tuple[Float[Array, ""], Aux]:
    """Binary cross-entropy of the windows' labels, as `config.target` has them.

    "good": 1 above the threshold, else 0. "similarity": the similarity itself, as a probability.
    "rank": the latter, and beside it that of which of two windows of one photograph is better, from
    the difference of their scores, weighed by how different their similarities are.

    Args:
        variables: `params` and `state`.
        batch: from `sample`.
        config: static.
        key: unused, the scorers are deterministic.
        train: whether batch normalisation uses the batch's own statistics.
        axis_name: a mapped axis over which the batch is shared out: all means, and batch
            normalisation's statistics, are those of the whole batch, and equal on all devices.

    Returns:
        The scalar, and `Aux` with the metrics "loss", "accuracy" (of good or not), "good" (share),
        "order" (share of the pairs of one photograph in the right order, of those that differ by
        more than 0.1); and the state, in training with batch normalisation's averages moved on.

    Gradient: exact, to variables.

    Source: Yang et al. eq. (2); "similarity" and "rank" are our choice.
    """
    del key
    logits, state = _run(variables, batch.windows, config, train, axis_name)
    similarity = batch.similarity.astype(logits.dtype)
    good = (similarity > config.threshold).astype(logits.dtype)
    wanted = good if config.target == "good" else similarity

    def entropy(logit: Array, target: Array) -> Array:
        return jax.nn.softplus(logit) - target * logit

    value = mean_over(entropy(logits, wanted), axis_name)
    accuracy = mean_over(((logits > 0) == (good > 0)).astype(logits.dtype), axis_name)
    share = mean_over(good, axis_name)
    # Windows of one photograph may lie on two devices.
    logits, similarity, image = gathered((logits, similarity, batch.image), axis_name)
    ahead = similarity[:, None] - similarity[None, :]
    mine = image[:, None] == image[None, :]
    clear = jnp.where(mine & (ahead > _CLEAR), ahead, 0)
    lead = logits[:, None] - logits[None, :]
    pairs = jnp.maximum(jnp.sum(clear), 1e-6)
    if config.target == "rank":
        value = value + jnp.sum(clear * jax.nn.softplus(-lead)) / pairs
    count = jnp.maximum(jnp.sum(clear > 0), 1)
    metrics = {
        "loss": value,
        "accuracy": accuracy,
        "good": share,
        "order": jnp.sum((clear > 0) & (lead > 0)) / count,
    }
    return value, Aux(metrics, state)


def trainable(variables: Variables, config: Config) -> Variables:
    """Which parameters the published fine-tuning touches: not the stem, nor the first two stages.

    Args:
        variables: from `init` or `load`.
        config: static.

    Returns:
        The structure of `variables["params"]`, with booleans as leaves: `optax.masked` takes it.

    Source: Yang et al. 3.4 ("the replaced convolution layer, the third layer, the fourth layer and
        the full connection layer").

    Example:
        >>> import jax
        >>> from blurjax import region
        >>> config = region.Config(depth=10, width=4)
        >>> mask = region.trainable(region.init(jax.random.key(0), config), config)["resnet"]
        >>> mask["stem"]["kernel"], mask["pool"]["kernel"], mask["stage3_block0_conv0"]["kernel"]
        (False, True, True)
    """

    def touched(path: tuple[Any, ...], _: Any) -> bool:
        return not (config.body == "resnet" and str(path[1].key).startswith(_KEPT))

    found: Variables = jax.tree_util.tree_map_with_path(touched, variables["params"])
    return found


def predict(variables: Variables, windows: Float[Array, "n h w"], config: Config) -> Prediction:
    """How likely a good kernel can be estimated from each of some windows.

    Args:
        variables: as from `load`.
        windows, config: as for `apply`.

    Returns:
        `Prediction`, in the windows' dtype.

    Raises:
        ValueError: windows that are too small.

    Gradient: exact, to variables and windows.

    Source: Yang et al. 3.2; the calibration (Platt's) is our choice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import region
        >>> config = region.Config(depth=10, width=4, reduced=2)
        >>> variables = region.init(jax.random.key(0), config)
        >>> region.predict(variables, jnp.zeros((2, 228, 228)), config).score.shape
        (2,)
    """
    answer = variables["state"]["answer"]
    logits = apply(variables, windows, config)
    scale, offset = (answer[name].astype(logits.dtype) for name in ("scale", "offset"))
    return Prediction(jax.nn.sigmoid(scale * logits + offset))
