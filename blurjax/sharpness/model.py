"""Both networks behind one face: `init`, `apply`, `loss`, `predict`.

Variables are nested dicts with string keys:

    params   of the detector stem, down0 .. down3, merge, finea .. , head {kernel, bias}; of the
             patch network conv0 .. conv3 {kernel}, norm0 .. norm3 {scale, bias}, dense
    state    of the patch network norm0 .. norm3 {mean, var}; of the detector
             answer {scale, offset}: of its logits, measured on validation photographs
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from blurjax import features
from blurjax._numerics import network_dtype, weighted_mean
from blurjax._typing import Array, AxisName, Float, Patches, PRNGKey
from blurjax.sharpness._config import MIN_SIZE, PATCH, Config
from blurjax.sharpness._metric import STEP, squares
from blurjax.sharpness._networks import Detector, PatchNetwork
from blurjax.sharpness.samples import Batch, PatchBatch

Variables = dict[str, Any]

# The sides of the detector's images are multiples of this.
MULTIPLE = 32
# Standard deviation that noise may have: what is flatter is not amplified.
_FLAT = 2 / 255
SCALES = (1.0, 0.6)
"""Sizes, over the image's own, at which the detector looks at it."""


class Aux(NamedTuple):
    """What `loss` returns beside the scalar."""

    metrics: dict[str, Array]
    state: Variables


class Prediction(NamedTuple):
    """Answers for a batch of images, at their size."""

    sharpness: Float[Array, "n h w"]
    """In [0, 1]: how probably a pixel is sharp; 0.5 is as probably sharp as blurred."""


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
        >>> from blurjax import sharpness
        >>> config = sharpness.Config(body="patches")
        >>> variables = sharpness.init(jax.random.key(0), config)
        >>> variables["params"]["conv0"]["kernel"].shape
        (7, 7, 1, 32)
    """
    side = PATCH if config.body == "patches" else MULTIPLE
    # Compiled whole: op by op it takes many times as long.
    made = jax.jit(_network(config).init)(key, jnp.zeros((1, side, side), jnp.float32))
    state = dict(made.get("batch_stats", {}))
    if config.body == "detector":
        state["answer"] = {"scale": jnp.ones((), jnp.float32), "offset": jnp.zeros((), jnp.float32)}
    return {"params": dict(made["params"]), "state": state}


def _network(config: Config, axis_name: AxisName = None) -> Detector | PatchNetwork:
    if config.body == "detector":
        return Detector(config.width)
    if config.body == "metric":
        raise ValueError("the local metric is no network; use `local_metric` and `measure`")
    return PatchNetwork(config.filters, config.kernel, axis_name)


def apply(
    variables: Variables, images: Patches, config: Config, *, train: bool = False
) -> Float[Array, "n ..."]:
    """What the network says, before it is read as sharpness.

    Args:
        variables: from `init`, `load` or training; never changed.
        images: (n, H, W) with sides that are multiples of 32 for the detector; (n, 32, 32) patches
            for the patch network. Gray in [0, 1].
        config: the shape, static.
        train: whether batch normalisation uses the batch's own statistics (patch network).

    Returns:
        Detector: logits (n, H / 4, W / 4) of each square of 4x4 pixels being sharp.
        Patch network: logits (n, 2) of "blurred" and "sharp".

    Raises:
        ValueError: images of a size that the network does not take.

    Gradient: exact and finite, to variables and images; rectified linear units.

    Source: Zeng et al., "A local metric for defocus blur detection based on CNN feature learning",
        TIP 2019 (the patch network); the detector is our choice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import sharpness
        >>> config = sharpness.Config()
        >>> variables = sharpness.init(jax.random.key(0), config)
        >>> sharpness.apply(variables, jnp.zeros((2, 64, 96)), config).shape
        (2, 16, 24)
    """
    return jnp.asarray(_run(variables, images, config, train)[0])


def _run(
    variables: Variables, images: Array, config: Config, train: bool, axis_name: AxisName = None
) -> tuple[Array, Any]:
    """The network's answer in the images' dtype, and the statistics it measured."""
    height, width = images.shape[1:]
    if config.body == "patches" and (height, width) != (PATCH, PATCH):
        raise ValueError(f"patches are {height}x{width}; this network is about {PATCH}x{PATCH}")
    if config.body == "detector" and (height % MULTIPLE or width % MULTIPLE):
        raise ValueError(
            f"images are {height}x{width}; the detector needs sides that are multiples of "
            f"{MULTIPLE} (`predict` pads them)"
        )
    x = images.astype(jnp.float32)
    dtype = network_dtype(variables["params"])
    said: Any
    if config.body == "detector":
        x = x.astype(dtype)
        said = _network(config).apply({"params": variables["params"]}, x)
        return said.astype(images.dtype), {}
    if config.contrast:
        about = jnp.mean(x, axis=(1, 2), keepdims=True)
        x = (x - about) / (features.contrast(x)[:, None, None] + _FLAT)
    tree = {"params": variables["params"], "batch_stats": variables["state"]}
    x = x.astype(dtype)
    if train:
        network = _network(config, axis_name)
        said, measured = network.apply(tree, x, train=True, mutable=["batch_stats"])
        return said.astype(images.dtype), measured["batch_stats"]
    said = _network(config).apply(tree, x)
    return said.astype(images.dtype), variables["state"]


def loss(
    variables: Variables,
    batch: Batch | PatchBatch,
    config: Config,
    *,
    key: PRNGKey | None = None,
    train: bool = True,
    axis_name: AxisName = None,
) -> tuple[Float[Array, ""], Aux]:
    """Mean cross-entropy, of squares of 4x4 pixels (detector) or of patches.

    Args:
        variables: `params` and `state`.
        batch: from `sample`.
        config: the shape, static.
        key: unused, the networks are deterministic.
        train: whether batch normalisation uses the batch's own statistics.
        axis_name: a mapped axis over which the batch is shared out: all means, and batch
            normalisation's statistics, are those of the whole batch, and equal on all devices.

    Returns:
        The scalar, and `Aux` with the metrics "loss", "accuracy" and "mae" (mean difference of
        probability and truth), and the state, in training with batch normalisation's averages
        moved on.

    Raises:
        ValueError: a batch of the other network.

    Gradient: exact, to variables.

    Source: Zeng et al. (softmax cross-entropy).
    """
    del key
    if isinstance(batch, PatchBatch) != (config.body == "patches"):
        raise ValueError(
            f"the batch is a {type(batch).__name__} and the network a {config.body!r}; `sample` "
            "makes those of the network whose config it gets"
        )
    said, state = _run(variables, batch.images, config, train, axis_name)
    if isinstance(batch, PatchBatch):
        logits, truth, weight = said[:, 1] - said[:, 0], batch.sharp, batch.weight
    else:
        logits, truth = said, squares(batch.sharp)
        weight = jnp.ones((), said.dtype)
        state = variables["state"]
    weight = jnp.broadcast_to(weight, logits.shape)

    def mean(x: Array) -> Array:
        return weighted_mean(x, weight, axis_name)

    # Both parts of the logistic loss, without overflow.
    value = mean(jax.nn.softplus(logits) - truth * logits)
    metrics = {
        "loss": value,
        "accuracy": mean(((logits > 0) == (truth > 0.5)).astype(logits.dtype)),
        "mae": mean(jnp.abs(jax.nn.sigmoid(logits) - truth)),
    }
    return value, Aux(metrics, state)


def predict(
    variables: Variables,
    images: Patches,
    config: Config,
    *,
    scales: tuple[float, ...] = SCALES,
) -> Prediction:
    """How probably each pixel of images of any size is sharp, by the detector.

    The images are looked at in several sizes; their logits are averaged, bilinear between squares
    of 4 pixels.

    Args:
        variables: of a detector.
        images: (n, H, W), gray in [0, 1], sides at least 32.
        config: static.
        scales: sizes over the images' own, above 0, at most 1; one that would leave less than 32
            pixels a side is left out, unless it is the first. Static.

    Returns:
        `Prediction` of (n, H, W), in the images' dtype.

    Raises:
        ValueError: images smaller than 32 pixels, variables of the patch network, other scales.

    Gradient: exact, to variables and images.

    Source: our choice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import sharpness
        >>> config = sharpness.Config()
        >>> variables = sharpness.init(jax.random.key(0), config)
        >>> sharpness.predict(variables, jnp.zeros((1, 50, 70)), config).sharpness.shape
        (1, 50, 70)
    """
    check_size(images.shape[1:])
    if config.body != "detector":
        raise ValueError("predict is about the detector; for the local metric use `local_metric`")
    if not scales or not all(0 < scale <= 1 for scale in scales):
        raise ValueError(f"scales are {scales}; give numbers above 0, at most 1")
    n, height, width = images.shape
    total, looks = jnp.zeros((), images.dtype), 0
    for scale in scales:
        rows, columns = round(height * scale), round(width * scale)
        if looks and min(rows, columns) < MIN_SIZE:
            continue
        small = images
        if scale < 1:
            # Linear with antialiasing: a triangle over the pixels that become one.
            small = jax.image.resize(images, (n, rows, columns), "linear")
        padding = [(0, 0), (0, -rows % MULTIPLE), (0, -columns % MULTIPLE)]
        logits = apply(variables, jnp.pad(small, padding, mode="symmetric"), config)
        kept = -(-rows // STEP), -(-columns // STEP)
        logits = logits[:, : kept[0], : kept[1]]
        total = total + at_pixels(logits, rows / STEP, columns / STEP, (height, width))
        looks += 1
    answer = jax.tree.map(lambda x: x.astype(total.dtype), variables["state"]["answer"])
    return Prediction(jax.nn.sigmoid(answer["scale"] * (total / looks) + answer["offset"]))


def at_pixels(x: Array, rows: float, columns: float, shape: tuple[int, ...]) -> Array:
    """A map of squares at every pixel of an image that `rows` by `columns` squares cover."""
    scale = jnp.asarray([shape[0] / rows, shape[1] / columns], x.dtype)
    return jax.image.scale_and_translate(
        x,
        (x.shape[0], *shape),
        (1, 2),
        scale,
        jnp.zeros(2, x.dtype),
        "linear",
        antialias=False,
    )


def check_size(shape: tuple[int, ...]) -> None:
    """Refuse images without room for one patch."""
    if min(shape) < MIN_SIZE:
        raise ValueError(
            f"images are {shape[0]}x{shape[1]} pixels; sharpness needs at least "
            f"{MIN_SIZE}x{MIN_SIZE}"
        )
