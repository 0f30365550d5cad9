"""Steps of gradient descent: a batch is drawn on the devices, each draws its parts.

    step = gradient_step(loss, optimizer, sample, batch=64)
    state = initial_state(variables, optimizer)
    state, metrics = step(state, photographs, key)

A step knows gradients and devices, and nothing of runs: `train.loop` runs it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import PartitionSpec
from jax.typing import DTypeLike

State = Any
"""A pytree of arrays in dictionaries with string keys; `initial_state` makes the usual one."""

Data = Any
"""What batches are drawn from: a pytree of arrays, such as a stack of photographs."""

Step = Callable[[State, Data, jax.Array], tuple[State, Mapping[str, jax.Array]]]
"""`step(state, data, key) -> (state, metrics)`, traceable; metrics are scalars by name."""

DATA_AXIS = "data"
"""The one axis of the mesh; batches are shared out along it."""

_PART_AXIS = "part"
"""The axis along which one device holds several parts of a batch."""


class Aux(Protocol):
    """What a loss returns beside its value."""

    @property
    def metrics(self) -> Mapping[str, jax.Array]:
        """Scalars by name, means over the batch."""

    @property
    def state(self) -> Any:
        """The new `variables["state"]` (batch statistics)."""


class Loss(Protocol):
    """`loss(variables, batch, key=..., train=True, axis_name=...) -> (scalar, aux)`, a mean.

    `axis_name` names the mapped axes along which the batch is shared out, None if it is whole. A
    plain mean over the batch may ignore it, for the step averages over the devices; a weighted
    mean, or statistics of the batch, must run over it.
    """

    def __call__(
        self, variables: Any, batch: Any, *, key: jax.Array, train: bool, axis_name: Any
    ) -> tuple[jax.Array, Aux]: ...


def initial_state(variables: Any, optimizer: optax.GradientTransformation) -> State:
    """The state that `gradient_step` works on: variables, and the optimiser's own state."""
    return {"variables": variables, "opt": optimizer.init(variables["params"])}


def adamw(rate: float, num_steps: int, *, weight_decay: float) -> optax.GradientTransformation:
    """AdamW on gradients clipped to norm 1: 200 steps (a tenth, if that is less) of warm-up to
    `rate`, then down to 0 along a cosine."""
    schedule = optax.warmup_cosine_decay_schedule(0.0, rate, min(200, num_steps // 10), num_steps)
    return optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=weight_decay)
    )


def gradient_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    sample: Callable[..., Any],
    *,
    batch: int,
    parts: int | None = None,
    accumulate: int = 1,
    streamed: bool = False,
    compute_dtype: DTypeLike | None = None,
) -> Step:
    """Build a step of gradient descent on batches synthesised on the devices.

    A batch is drawn in `parts`, each with a key of its own, and each on one device: nothing of
    the synthesis is done twice, and nothing is sent but the gradients. (Left to the compiler,
    samplers with sorts and FFTs are run whole on every device.) The batch is the same on any
    number of devices that divides the parts, and so are loss and gradient, up to the order of
    summation.

    The step runs under `jax.jit` with the mesh of `run`; under `jax.pmap(step,
    axis_name=DATA_AXIS)`, with state, data and key replicated; and on one device.

    Args:
        loss: see `Loss`.
        optimizer: an optax transformation.
        sample: `sample(key, data, n=...)` to a batch of n, a pytree of arrays.
        batch: examples in a step, on all devices together.
        parts: in how many parts a batch is drawn, a multiple of devices * accumulate; None for
            that very number, so that the batch depends on it.
        accumulate: in so many pieces, one after the other, the gradient is computed and averaged.
            Batch normalisation sees each piece by itself, and a weighted mean is one of each piece:
            with either it is not quite the gradient of the whole batch.
        streamed: whether `data` are this step's own, arrays (accumulate, rows, ...) whose rows
            are shared out over the devices and parts.
        compute_dtype: what parameters are cast to for the forward and backward pass, as
            jnp.bfloat16; they themselves, the gradients' means and the optimiser stay as they are.
            The library's networks compute in the dtype of their parameters, and their losses in
            float32.

    Returns:
        A step from and to `{"variables", "opt"}`, whose metrics are those of the loss,
        "loss", and "gradient_norm". Its attribute `redraw(data, key, devices)` gives the batch
        again, in its parts: every array has a first axis of them.

    Raises:
        ValueError: (when traced) the batch does not divide into the parts, or these among the
            devices.

    Source: our choice.

    Example:
        >>> import jax, jax.numpy as jnp, optax
        >>> from types import SimpleNamespace
        >>> def loss(variables, batch, *, key, train, axis_name):
        ...     error = jnp.mean((variables["params"]["w"] - batch) ** 2)
        ...     return error, SimpleNamespace(metrics={}, state={})
        >>> def sample(key, data, n):
        ...     return data[:n]
        >>> step = gradient_step(loss, optax.sgd(0.5), sample, batch=8)
        >>> state = initial_state({"params": {"w": jnp.zeros(())}}, optax.sgd(0.5))
        >>> state, metrics = step(state, jnp.full(8, 3.0), jax.random.key(0))
        >>> float(state["variables"]["params"]["w"]), float(metrics["loss"])
        (3.0, 9.0)
    """

    def body(state: State, data: Data, key: jax.Array) -> tuple[State, Mapping[str, jax.Array]]:
        devices, index = _place()
        axis = None if devices is None else DATA_AXIS
        total, here = shares(batch, parts, accumulate, devices or 1)
        names = axis if here == 1 else _PART_AXIS if axis is None else (_PART_AXIS, axis)
        sample_key, loss_key = jax.random.split(key)
        variables = state["variables"]
        measured = "state" in variables

        def part(params: Any, before: Any, data: Data, number: Any) -> tuple[jax.Array, Any, Any]:
            """What the loss says of one part, drawn here."""
            k_sample, k_loss = sample_key, loss_key
            if total > 1:
                k_sample, k_loss = (jax.random.fold_in(k, number) for k in (k_sample, k_loss))
            some = sample(k_sample, data, n=batch // total)
            trial = {**before, "params": params}
            value, aux = loss(trial, some, key=k_loss, train=True, axis_name=names)
            return value, aux.metrics, aux.state

        def descend(carry: tuple[Any, Any], given: tuple[Any, Any]) -> tuple[Any, Any]:
            """One piece: its gradient is added to the sum, its statistics are the next one's."""
            (summed, statistics), (piece, rows) = carry, given
            before = {**variables, "state": statistics} if measured else variables
            first = (piece * (devices or 1) + index) * here

            def objective(params: Any) -> tuple[jax.Array, tuple[Any, Any]]:
                if compute_dtype is not None:
                    params = jax.tree.map(lambda x: x.astype(compute_dtype), params)
                if here == 1:
                    value, metrics, new = part(params, before, rows, first)
                    return value, (metrics, new)
                numbers, own = first + jnp.arange(here, dtype=jnp.int32), rows
                if streamed:
                    own = jax.tree.map(
                        lambda x: x.reshape(here, len(x) // here, *x.shape[1:]), rows
                    )
                along = (None, None, 0 if streamed else None, 0)
                mapped = jax.vmap(part, along, axis_name=_PART_AXIS)(params, before, own, numbers)
                value, metrics, new = jax.tree.map(_first_mean, mapped)
                return value, (metrics, new)

            slope = jax.value_and_grad(objective, has_aux=True)
            (value, (metrics, new)), gradient = slope(variables["params"])
            summed = gradient if summed is None else jax.tree.map(jnp.add, summed, gradient)
            return (summed, new if measured else statistics), (value, metrics)

        start = variables.get("state")
        if accumulate == 1:
            rows = jax.tree.map(lambda x: x[0], data) if streamed else data
            (gradient, statistics), (value, metrics) = descend((None, start), (0, rows))
        else:
            pieces = jnp.arange(accumulate, dtype=jnp.int32)
            zeros = jax.tree.map(jnp.zeros_like, variables["params"])
            (gradient, statistics), several = jax.lax.scan(
                lambda carry, given: descend(carry, given if streamed else (given[0], data)),
                (zeros, start),
                (pieces, data if streamed else None),
            )
            gradient = jax.tree.map(lambda x: x / accumulate, gradient)
            value, metrics = jax.tree.map(_first_mean, several)
        if axis is not None:
            # Each device has the gradient of the sum of all devices' losses, to its own copy of
            # the parameters: their mean is the gradient of the loss, whether this is a mean of
            # its own batch or (by `axis_name`) already that of the whole.
            gradient, statistics, value, metrics = jax.tree.map(
                lambda x: jax.lax.pmean(x, axis) if jnp.issubdtype(x.dtype, jnp.inexact) else x,
                (gradient, statistics, value, metrics),
            )
        # optax mixes dtypes (Adam raises a float to an integer count), which the strict
        # promotion of our tests forbids.
        with jax.numpy_dtype_promotion("standard"):
            updates, opt = optimizer.update(gradient, state["opt"], variables["params"])
            params = optax.apply_updates(variables["params"], updates)
        new = {**variables, "params": params}
        if measured:
            new["state"] = statistics
        metrics = {**metrics, "gradient_norm": _norm(gradient), "loss": value}
        return {"variables": new, "opt": opt}, metrics

    def step(state: State, data: Data, key: jax.Array) -> tuple[State, Mapping[str, jax.Array]]:
        mesh = jax.sharding.get_abstract_mesh()
        alone = DATA_AXIS not in mesh.axis_names or mesh.shape[DATA_AXIS] == 1
        if alone or _place()[0] is not None:
            return body(state, data, key)
        whole = PartitionSpec()
        own = PartitionSpec(None, DATA_AXIS) if streamed else whole
        # Without check_vma a gradient is summed over the devices by us and nobody else.
        mapped = jax.shard_map(
            body, in_specs=(whole, own, whole), out_specs=(whole, whole), check_vma=False
        )
        return mapped(state, data, key)

    def redraw(data: Data, key: jax.Array, devices: int = 1) -> Any:
        total, _ = shares(batch, parts, accumulate, devices)
        sample_key, _ = jax.random.split(key)
        found = []
        for number in range(total):
            own = _rows_of(data, number, total // accumulate) if streamed else data
            one = sample_key if total == 1 else jax.random.fold_in(sample_key, number)
            found.append(sample(one, own, n=batch // total))
        return jax.tree.map(lambda *x: jnp.stack(x), *found)

    step.redraw = redraw  # type: ignore[attr-defined]
    return step


def shares(batch: int, parts: int | None, accumulate: int, devices: int) -> tuple[int, int]:
    """In how many parts a batch is drawn, and how many of a piece each device holds.

    Args:
        batch, parts, accumulate: of `gradient_step`.
        devices: how many share it.

    Raises:
        ValueError: the batch does not divide into the parts, or these among devices and pieces.
    """
    total = parts or devices * accumulate
    here, rest = divmod(total, devices * accumulate)
    if rest:
        raise ValueError(
            f"a batch drawn in {total} parts does not divide among {devices} devices and "
            f"{accumulate} pieces; make the parts a multiple of {devices * accumulate}, or use "
            "fewer devices"
        )
    if batch % total:
        raise ValueError(
            f"a batch of {batch} does not divide into {total} parts ({devices} devices, "
            f"{accumulate} pieces); make it a multiple of {total}, or use fewer devices"
        )
    return total, here


def _rows_of(data: Any, number: int, each: int) -> Any:
    """The rows of a part, of streamed arrays (pieces, rows, ...) with so many parts a piece."""
    piece, place = divmod(number, each)
    return jax.tree.map(lambda x: np.split(x[piece], each)[place], data)


def _place() -> tuple[int | None, Any]:
    """How many devices share the batch (None: it is not shared out here), and which one this is."""
    try:
        return jax.lax.axis_size(DATA_AXIS), jax.lax.axis_index(DATA_AXIS)
    except NameError:
        return None, 0


def _first_mean(x: jax.Array) -> jax.Array:
    """The mean along the first axis; of integers, which are no measurements, the first."""
    return jnp.mean(x, axis=0) if jnp.issubdtype(x.dtype, jnp.inexact) else x[0]


def _norm(tree: Any) -> jax.Array:
    """The Euclidean norm of all leaves together, in float32."""
    squares = [jnp.sum(jnp.square(x.astype(jnp.float32))) for x in jax.tree.leaves(tree)]
    return jnp.sqrt(jnp.sum(jnp.array(squares, dtype=jnp.float32)))
