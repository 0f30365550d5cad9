"""The two stages: a network for the type, one GRNN a type for its parameters.

Variables are nested dicts with string keys:

    params   dense0 .. denseN {kernel, bias}  (bodies "dense" and "residual"), or the convolutional
             network's;
             branch {gaussian | motion | defocus | kind {kernel, bias, readout, offset}} if
             configured
    state    feature {mean, scale}: the standardisation, measured on training patches
    recall   gaussian | motion | defocus {points, targets, bandwidth}: the GRNNs' memories
    judge    of whole photographs, see `_judge`; nothing here reads it

`recall` is absent until the second stage has been fitted (`remember`), `judge` where none was
trained.
"""

import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from blurjax import features
from blurjax._numerics import network_dtype, weighted_mean
from blurjax._typing import Array, ArrayLike, AxisName, Float, Int, Patches, PRNGKey
from blurjax.blur_type._config import LABELS, PATCH, Config
from blurjax.blur_type.samples import Batch
from blurjax.nn import grnn

Variables = dict[str, Any]

# Zero-padded DFT length; of its 45 x 23 half plane, 11 entries of the zeroth column repeat
# others (a real image's spectrum is even) and are dropped: the published 1024 inputs.
_PADDED = 45
_HALF = _PADDED // 2 + 1
INPUTS = 1024
# Features of the patch's own size, stretched to [0, 1].
_PICTURES = {"spectrum": features.log_spectrum, "edges": features.spectral_edges}


class Aux(NamedTuple):
    """What `loss` returns beside the scalar."""

    metrics: dict[str, Array]
    state: Variables


class Prediction(NamedTuple):
    """Answers for a batch of patches, arrays only."""

    logits: Float[Array, "n 3"]
    probabilities: Float[Array, "n 3"]
    label: Int[Array, " n"]
    sigma: Float[Array, " n"]
    length: Float[Array, " n"]
    angle: Float[Array, " n"]
    radius: Float[Array, " n"]
    kind: Float[Array, "n 3"]
    """Probabilities that the patch shows one of the three blurs, is sharp, or is blurred otherwise
    ("mixed"); (1, 0, 0) from a network without that branch. The types' are given the first."""


def init(key: PRNGKey, config: Config) -> Variables:
    """Fresh variables, without memories.

    Dense layers: the first N(0, 1/fan_in), the others N(0, 16/fan_in), which
    keeps sigmoid units in their working range; biases 0.

    Args:
        key: random key.
        config: the shape.

    Returns:
        `params` and `state` in float32 (float64 where jax is told so).

    Source: our choice.

    Example:
        >>> import jax
        >>> from blurjax import blur_type
        >>> variables = blur_type.init(jax.random.key(0), blur_type.Config())
        >>> variables["params"]["dense0"]["kernel"].shape
        (1024, 500)
    """
    mean = jnp.zeros(_feature_shape(config))
    state = {"feature": {"mean": mean, "scale": jnp.ones_like(mean)}}
    if config.body == "conv":
        empty = jnp.zeros((1, *_feature_shape(config)), jnp.float32)
        params = dict(_conv(config).init(key, empty)["params"])
    else:
        params = _init_dense(key, config)
    if config.recall == "branch":
        params["branch"] = {
            name: _init_branch(jax.random.fold_in(key, 100 + i), config, outputs)
            for i, (name, outputs) in enumerate(_OUTPUTS.items())
        }
    return {"params": params, "state": state}


def _init_dense(key: Array, config: Config) -> Variables:
    params: Variables = {}
    widths = (INPUTS, *config.hidden, len(LABELS))
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        gain = 1.0 if i == 0 or config.body == "residual" else 16.0
        kernel = jax.random.normal(jax.random.fold_in(key, i), (fan_in, fan_out))
        params[f"dense{i}"] = {
            "kernel": kernel * (gain / fan_in) ** 0.5,
            "bias": jnp.zeros(fan_out),
        }
    return params


# What each branch reads out: a size, of motion also its direction, and logits of the kind.
_OUTPUTS = {"gaussian": 1, "motion": 3, "defocus": 1, "kind": 3}


def _init_branch(key: Array, config: Config, outputs: int) -> dict[str, Array]:
    k_kernel, k_readout = jax.random.split(key)
    fan_in = config.hidden[0]
    return {
        "kernel": jax.random.normal(k_kernel, (fan_in, config.branch)) * (16 / fan_in) ** 0.5,
        "bias": jnp.zeros(config.branch),
        "readout": jax.random.normal(k_readout, (config.branch, outputs)) / config.branch**0.5,
        "offset": jnp.zeros(outputs),
    }


def raw_feature(patches: Patches, config: Config) -> Float[Array, "n ..."]:
    """The network's input before standardisation: (n, 1024), or (n, 45, 23) for "conv"."""
    if patches.shape[1:] != (PATCH, PATCH):
        raise ValueError(f"patches are {patches.shape[1:]}; the network is about {PATCH}x{PATCH}")
    if config.feature in _PICTURES:
        stretched = features.min_max(_PICTURES[config.feature](patches))
        return stretched if config.body == "conv" else stretched.reshape(-1, INPUTS)
    half = features.half_spectrum(patches, size=_PADDED)
    if config.body == "conv":
        return jnp.fft.fftshift(half, axes=1)
    flat = half.swapaxes(1, 2).reshape(-1, _PADDED * _HALF)
    repeats = _PADDED * _HALF - INPUTS
    return jnp.concatenate([flat[:, : _PADDED - repeats], flat[:, _PADDED:]], axis=1)


def as_pictures(weights: Float[Array, "n 1024"], config: Config) -> Float[Array, "n h w"]:
    """Vectors like the network's input, such as its first layer's filters, as pictures.

    (n, 32, 32) with zero frequency in the middle, or of "half_spectrum" the half plane (n, 45, 23)
    with zero frequency in the middle of the first column.
    """
    if config.feature in _PICTURES:
        return weights.reshape(-1, PATCH, PATCH)
    repeats = _PADDED * _HALF - INPUTS
    first, rest = weights[:, : _PADDED - repeats], weights[:, _PADDED - repeats :]
    # The spectrum of a real image is even: what was left out says what its mirror image says.
    mirrored = first[:, 1 : repeats + 1][:, ::-1]
    flat = jnp.concatenate([first, mirrored, rest], axis=1)
    return jnp.fft.fftshift(flat.reshape(-1, _HALF, _PADDED).swapaxes(1, 2), axes=1)


def feature(variables: Variables, patches: Patches, config: Config) -> Float[Array, "n ..."]:
    """`raw_feature`, standardised by the training set's mean and scale."""
    about = variables["state"]["feature"]
    raw = raw_feature(patches, config)
    dtype = raw.dtype
    return (raw - about["mean"][None].astype(dtype)) / about["scale"][None].astype(dtype)


def standardise(variables: Variables, patches: Patches, config: Config) -> Variables:
    """Variables whose standardisation is that of `patches`; pictures lie in [0, 1] already."""
    if config.feature in _PICTURES:
        return variables
    raw = raw_feature(patches, config)
    about = {"mean": jnp.mean(raw, axis=0), "scale": jnp.std(raw, axis=0) + 1e-3}
    return {**variables, "state": {**variables["state"], "feature": about}}


def layers(
    variables: Variables, patches: Patches, config: Config
) -> tuple[Float[Array, "n 3"], list[Float[Array, "n ..."]]]:
    """Logits and every hidden layer of the dense network, the last of which is the bottleneck.

    For "conv" the list holds its one dense layer, for "residual" its last sum.
    """
    x = feature(variables, patches, config)
    params = variables["params"]
    if config.body == "conv":
        body = {name: value for name, value in params.items() if name != "branch"}
        logits, dense = _conv(config).apply({"params": body}, x.astype(network_dtype(body)))
        return logits.astype(x.dtype), [dense.astype(x.dtype)]
    x = x.astype(network_dtype(params, x.dtype))
    if config.body == "residual":
        return _residual(params, x)
    hidden: list[Array] = []
    for i in range(len(config.hidden) + 1):
        x = _affine(params[f"dense{i}"], x)
        if i < len(config.hidden):
            x = jax.nn.sigmoid(x)
            hidden.append(x)
    return x, hidden


def _residual(params: Variables, x: Array) -> tuple[Array, list[Array]]:
    """Each layer after the first adds to the sum before it, which it sees normalised."""
    names = sorted(name for name in params if name.startswith("dense"))
    total = _affine(params[names[0]], x)
    for name in names[1:-1]:
        total = total + _affine(params[name], jax.nn.gelu(jax.nn.standardize(total)))
    total = jax.nn.gelu(jax.nn.standardize(total))
    return _affine(params[names[-1]], total), [total]


def _affine(layer: dict[str, Array], x: Array) -> Array:
    return x @ layer["kernel"].astype(x.dtype) + layer["bias"][None].astype(x.dtype)


def apply(
    variables: Variables, patches: Patches, config: Config, *, train: bool = False
) -> Float[Array, "n 3"]:
    """Logits of Gaussian, motion, defocus for each patch.

    Args:
        variables: from `init`, `load` or training; never changed.
        patches: (n, 32, 32), gray in [0, 1], blurred.
        config: the shape, static.
        train: no layer of this network depends on it.

    Returns:
        (n, 3), in the order of `LABELS`.

    Raises:
        ValueError: patches of another size.

    Gradient: exact and finite, to variables and patches.

    Source: Yan & Shao, TIP 2016: 1024-500-30-10-3; the input feature is our choice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import blur_type
        >>> config = blur_type.Config()
        >>> variables = blur_type.init(jax.random.key(0), config)
        >>> blur_type.apply(variables, jnp.zeros((2, 32, 32)), config).shape
        (2, 3)
    """
    del train
    return layers(variables, patches, config)[0]


def loss(
    variables: Variables,
    batch: Batch,
    config: Config,
    *,
    key: PRNGKey | None = None,
    train: bool = True,
    axis_name: AxisName = None,
) -> tuple[Float[Array, ""], Aux]:
    """Weighted mean cross-entropy of the type, and the parameter branch's error if there is one.

    The branch is read out linearly: sizes stretched to [-1, 1], angles as
    (cos 2a, sin 2a); its error is the smooth absolute error of the true type's
    parameters. Trained for the type alone, the network forgets the parameters
    that the GRNNs are to find in it. Another read-out tells whether the patch is blurred by one of
    the types, sharp, or blurred otherwise; patches of the last two kinds count there alone.

    Args:
        variables: `params` and `state`.
        batch: from `sample`; rows of weight 0 do not count.
        config: the shape, static.
        key: unused, the network is deterministic.
        train: unused.
        axis_name: a mapped axis over which the batch is shared out: all means are those of the
            whole batch, and equal on all devices.

    Returns:
        The scalar, and `Aux` with the metrics "loss", "accuracy" (of the type, over patches that
        have one) and, of a branch, "parameters" and "kind", and the unchanged state.

    Gradient: exact, to variables.

    Source: Yan & Shao, TIP 2016, fine-tuning; the branch is our choice.
    """
    del key, train
    said = layers(variables, batch.patches, config)
    logits, hidden = jax.tree.map(lambda x: x.astype(batch.patches.dtype), said)
    typed = jnp.where(batch.label < len(LABELS), batch.weight, 0)

    def mean(values: Array, weight: Array = typed) -> Array:
        return weighted_mean(values, weight, axis_name)

    label = jnp.minimum(batch.label, len(LABELS) - 1)
    value = mean(_cross_entropy(logits, label))
    right = (jnp.argmax(logits, axis=1) == label).astype(typed.dtype)
    metrics = {"loss": value, "accuracy": mean(right)}
    if config.recall == "branch":
        params = variables["params"]["branch"]
        error = mean(_branch_error(params, hidden[0], batch, config))
        kind = jnp.maximum(batch.label - len(LABELS) + 1, 0)
        doubt = _cross_entropy(_branch(params["kind"], hidden[0]), kind)
        doubt = mean(doubt, batch.weight)
        value = value + config.parameter_weight * error + config.kind_weight * doubt
        metrics = {**metrics, "loss": value, "parameters": error, "kind": doubt}
    return value, Aux(metrics, variables["state"])


def _cross_entropy(logits: Array, label: Array) -> Array:
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), label[:, None], axis=1)[:, 0]


def _branch_error(params: Variables, hidden: Array, batch: Batch, config: Config) -> Array:
    """Smooth absolute error (n,) of the true type's read-out."""
    total = jnp.zeros(hidden.shape[0], hidden.dtype)
    bounds = (config.sigma, config.length, config.radius)
    for i, (name, (low, high)) in enumerate(zip(LABELS, bounds, strict=True)):
        found = _branch(params[name], hidden)
        stretched = 2 * (batch.size - low) / (high - low) - 1
        gap = (found - _targets(name, stretched, batch.angle)) ** 2
        # The square root of a sum: of the angle's two components, the length of their error.
        error = jnp.sqrt(gap[:, 0] + 1e-4)
        if name == "motion":
            error = error + jnp.sqrt(gap[:, 1] + gap[:, 2] + 1e-4)
        total = total + jnp.where(batch.label == i, error, 0)
    return total


def _branch(params: dict[str, Array], hidden: Array) -> Array:
    """The read-out (n, 1); of motion (n, 3): stretched length, cos 2a and sin 2a; of the kind its
    logits (n, 3)."""
    kernel, bias, readout, offset = (
        params[k].astype(hidden.dtype) for k in ("kernel", "bias", "readout", "offset")
    )
    return jnp.tanh(hidden @ kernel + bias[None]) @ readout + offset[None]


def remember(variables: Variables, batch: Batch, config: Config) -> Variables:
    """Fit the second stage (host): each type's GRNN stores samples and chooses its bandwidth.

    The bandwidth is, of 40 log-spaced multiples of the median nearest-neighbour
    distance, the one whose exact leave-one-out error is least; length and angle
    each have their own. Angles are stored as (cos 2a, sin 2a).

    Args:
        variables: a trained network.
        batch: labelled patches; of each type the first `config.memory` of weight 1 are stored.
        config: `memory` and `recall`.

    Returns:
        Variables with `recall`.

    Raises:
        ValueError: fewer than 2 samples of some type.

    Source: Specht 1991 for the estimator; Yan & Shao, TIP 2016, for one GRNN a type; the
        bandwidth rule is our choice.
    """
    recall = {}
    for i, name in enumerate(LABELS):
        rows = jnp.flatnonzero((batch.label == i) & (batch.weight > 0))[: config.memory]
        if rows.size < 2:
            raise ValueError(f"{rows.size} {name} samples; a GRNN needs at least 2")
        points = jax.lax.map(
            lambda patch, name=name: recall_feature(variables, patch[None], config, name)[0],
            batch.patches[rows],
            batch_size=1000,
        )
        targets = _targets(name, batch.size[rows], batch.angle[rows])
        grid = grnn.bandwidth_grid(points)
        errors = _errors(name, grnn.leave_one_out(points, targets, grid), targets[:, None, :])
        best = grid[jnp.argmin(jnp.mean(errors, axis=0), axis=0)]
        recall[name] = {"points": points, "targets": targets, "bandwidth": best}
    return {**variables, "recall": recall}


def recall_feature(
    variables: Variables, patches: Patches, config: Config, name: str
) -> Float[Array, "n d"]:
    """What the GRNN of type `name` compares, see `Config.recall`."""
    if config.recall == "feature":
        return feature(variables, patches, config).reshape(patches.shape[0], -1)
    hidden = layers(variables, patches, config)[1]
    if config.recall == "bottleneck":
        return hidden[-1]
    return _branch(variables["params"]["branch"][name], hidden[0])


def _targets(name: str, size: Array, angle: Array) -> Array:
    if name != "motion":
        return size[:, None]
    return jnp.stack([size, jnp.cos(2 * angle), jnp.sin(2 * angle)], axis=1)


def _errors(name: str, predicted: Array, targets: Array) -> Array:
    """Absolute errors (..., 1) or, for motion, of length and angle (..., 2)."""
    size = jnp.abs(predicted[..., :1] - targets[..., :1])
    if name != "motion":
        return size
    off = circular_error(_angle(predicted[..., 1:]), _angle(targets[..., 1:]))
    return jnp.concatenate([size, off[..., None]], axis=-1)


def circular_error(a: ArrayLike, b: ArrayLike) -> Array:
    """Distance between two undirected angles, in [0, pi/2] radians."""
    turn = jnp.mod(jnp.asarray(a) - jnp.asarray(b), jnp.pi)
    return jnp.minimum(turn, jnp.pi - turn)


def _angle(doubled: Array) -> Array:
    """Angle in [0, pi) from (cos 2a, sin 2a) of any positive length; 0 for no direction at all."""
    x, y = doubled[..., 0], doubled[..., 1]
    somewhere = x**2 + y**2 > 0
    return jnp.where(somewhere, jnp.mod(jnp.arctan2(y, jnp.where(somewhere, x, 1)) / 2, jnp.pi), 0)


@functools.partial(jax.jit, static_argnames="config")
def predict(variables: Variables, patches: Patches, config: Config) -> Prediction:
    """Type and every type's parameters for each patch.

    Each GRNN answers for every patch, as if the patch were of its type: read
    the one that `label` names.

    Args:
        variables: with `recall`.
        patches: (n, 32, 32), gray in [0, 1].
        config: static.

    Returns:
        `Prediction`; sizes lie within the ranges of the stored samples, the angle in [0, pi).

    Raises:
        ValueError: patches of another size, or variables without memories.

    Gradient: exact, except at `label`, which is discrete.

    Source: Yan & Shao, TIP 2016.
    """
    if "recall" not in variables:
        raise ValueError(
            "these variables have no `recall`: fit the second stage with blur_type.remember"
        )
    logits = apply(variables, patches, config)
    out = {}
    for name in LABELS:
        memory = variables["recall"][name]
        x = recall_feature(variables, patches, config, name)
        points, targets, bandwidth = (
            memory[k].astype(x.dtype) for k in ("points", "targets", "bandwidth")
        )
        # Length and angle have a bandwidth each.
        out[name] = [grnn.predict(x, points, targets, s) for s in bandwidth]
    return Prediction(
        logits=logits,
        probabilities=jax.nn.softmax(logits),
        label=jnp.argmax(logits, axis=1),
        sigma=out["gaussian"][0][:, 0],
        length=out["motion"][0][:, 0],
        angle=_angle(out["motion"][1][:, 1:]),
        radius=out["defocus"][0][:, 0],
        kind=_kind(variables, patches, config),
    )


def _kind(variables: Variables, patches: Patches, config: Config) -> Array:
    branch = variables["params"].get("branch", {})
    if "kind" not in branch:
        return jnp.broadcast_to(jnp.array([[1, 0, 0]], patches.dtype), (patches.shape[0], 3))
    return jax.nn.softmax(_branch(branch["kind"], layers(variables, patches, config)[1][0]))


def _conv(config: Config) -> Any:
    # Flax is imported only by those who ask for the convolutional body.
    from blurjax.blur_type._conv import Conv

    return Conv(dense=config.hidden[0])


def _feature_shape(config: Config) -> tuple[int, ...]:
    if config.body != "conv":
        return (INPUTS,)
    return (PATCH, PATCH) if config.feature in _PICTURES else (_PADDED, _HALF)
