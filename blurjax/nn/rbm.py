"""Restricted Boltzmann machines trained by contrastive divergence.

    E(v, h) = -b'v - c'h - v'W h          binary visible units
    E(v, h) = |v - b|^2 / 2 - c'h - v'W h  Gaussian visible units of unit variance

Hidden units are binary. Parameters are a plain dict: `kernel` (visible, hidden),
`visible` (visible,) and `hidden` (hidden,) biases. A (kernel, hidden) pair is a
dense sigmoid layer, which is what pretraining hands on.

Source: Hinton, Neural Computation 2002 (CD); Hinton, UTML TR 2010-003 (constants);
Cho, Ilin & Raiko, ICANN 2011 (Gaussian units).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from blurjax._typing import Array, Float, PRNGKey

Params = dict[str, Array]


class Metrics(NamedTuple):
    """What one epoch looked like, averaged over its batches."""

    reconstruction: Float[Array, ""]
    """Mean squared error between the data and their one-step reconstruction."""
    free_energy: Float[Array, ""]
    """Mean free energy of the data."""


def init(key: PRNGKey, visible: int, hidden: int, *, scale: float = 0.01) -> Params:
    """Weights N(0, scale^2), biases 0.

    Args:
        key: random key.
        visible: number of visible units.
        hidden: number of hidden units.
        scale: standard deviation of the weights.

    Returns:
        Parameters in float32 (float64 where jax is told so).

    Source: Hinton 2010, section 8.
    """
    return {
        "kernel": scale * jax.random.normal(key, (visible, hidden)),
        "visible": jnp.zeros(visible),
        "hidden": jnp.zeros(hidden),
    }


def hidden_mean(params: Params, visible: Float[Array, "n v"]) -> Float[Array, "n h"]:
    """p(h = 1 | v) = s(c + v W)."""
    return jax.nn.sigmoid(visible @ params["kernel"] + params["hidden"][None])


def visible_mean(
    params: Params, hidden: Float[Array, "n h"], *, units: str = "binary"
) -> Float[Array, "n v"]:
    """E[v | h]: s(b + h W') for binary visible units, b + h W' for Gaussian ones."""
    drive = hidden @ params["kernel"].T + params["visible"][None]
    return jax.nn.sigmoid(drive) if _binary(units) else drive


def free_energy(
    params: Params, visible: Float[Array, "n v"], *, units: str = "binary"
) -> Float[Array, " n"]:
    """F(v) = -log sum_h exp(-E(v, h)), so that p(v) is proportional to exp(-F(v))."""
    bias = params["visible"][None]
    own = -jnp.sum(visible * bias, -1) if _binary(units) else jnp.sum((visible - bias) ** 2, -1) / 2
    drive = visible @ params["kernel"] + params["hidden"][None]
    return own - jnp.sum(jax.nn.softplus(drive), axis=-1)


def contrastive_divergence(
    key: PRNGKey,
    params: Params,
    visible: Float[Array, "n v"],
    *,
    steps: int = 1,
    units: str = "binary",
    sample_visible: bool = False,
) -> tuple[Params, Metrics]:
    """The CD-k estimate of the gradient of the mean log-likelihood (to be ascended).

        k times: h ~ Bernoulli(p(h | v)), v = E[v | h]
        dW = (v_0' p(h | v_0) - v_k' p(h | v_k)) / n, and likewise for the biases.

    Args:
        key: random key.
        params: an RBM.
        visible: (n, v) data; in [0, 1] for binary units, standardised for Gaussian ones.
        steps: k, at least 1, static.
        units: "binary" or "gaussian" visible units, static.
        sample_visible: draw v given h instead of taking its mean, static. Noisier, but only then
            does the estimate approach the exact gradient as k grows.

    Returns:
        The gradient, shaped like `params`, and the batch's `Metrics`.

    Raises:
        ValueError: `steps` below 1 or unknown `units`.

    Gradient: not meant to be differentiated.

    Source: Hinton, Neural Computation 2002.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; contrastive divergence takes 1 or more")
    positive = hidden_mean(params, visible)
    chain, state, first = key, positive, visible
    for step in range(steps):
        chain, k_hidden, k_visible = jax.random.split(chain, 3)
        sampled = jax.random.bernoulli(k_hidden, state).astype(state.dtype)
        reconstruction = visible_mean(params, sampled, units=units)
        if step == 0:
            first = reconstruction
        if sample_visible:
            reconstruction = _sample_visible(k_visible, reconstruction, units)
        state = hidden_mean(params, reconstruction)
    count = visible.shape[0]
    gradient = {
        "kernel": (visible.T @ positive - reconstruction.T @ state) / count,
        "visible": jnp.mean(visible - reconstruction, axis=0),
        "hidden": jnp.mean(positive - state, axis=0),
    }
    metrics = Metrics(
        reconstruction=jnp.mean((visible - first) ** 2),
        free_energy=jnp.mean(free_energy(params, visible, units=units)),
    )
    return gradient, metrics


class State(NamedTuple):
    """An RBM in training."""

    params: Params
    velocity: Params


@functools.partial(jax.jit, static_argnames=("batch_size", "steps", "units"))
def epoch(
    key: PRNGKey,
    state: State,
    data: Float[Array, "n v"],
    *,
    rate: Float[Array, ""] | float,
    momentum: Float[Array, ""] | float,
    decay: float = 2e-4,
    batch_size: int = 100,
    steps: int = 1,
    units: str = "binary",
) -> tuple[State, Metrics]:
    """One pass over the data in random order: one compiled scan.

        velocity <- momentum velocity + rate (CD gradient - decay W);  params <- params + velocity

    Args:
        key: random key; sets the order too.
        state: parameters and velocity.
        data: (n, v); what is left of n after whole batches waits for another epoch's order.
        rate: learning rate, traced.
        momentum: traced.
        decay: weight decay of the kernel only.
        batch_size: static.
        steps, units: as in `contrastive_divergence`.

    Returns:
        The new state and the epoch's mean `Metrics`.

    Raises:
        ValueError: fewer rows than one batch.

    Source: Hinton, UTML TR 2010-003.
    """
    if data.shape[0] < batch_size:
        raise ValueError(f"{data.shape[0]} rows do not fill one batch of {batch_size}")
    k_order, k_chain = jax.random.split(key)
    count = data.shape[0] // batch_size
    order = jax.random.permutation(k_order, data.shape[0])[: count * batch_size]

    def update(state: State, now: tuple[Array, Array]) -> tuple[State, Metrics]:
        index, rows = now
        gradient, metrics = contrastive_divergence(
            jax.random.fold_in(k_chain, index), state.params, data[rows], steps=steps, units=units
        )
        gradient["kernel"] -= decay * state.params["kernel"]
        velocity = jax.tree.map(lambda v, g: momentum * v + rate * g, state.velocity, gradient)
        return State(jax.tree.map(jnp.add, state.params, velocity), velocity), metrics

    state, metrics = jax.lax.scan(
        update, state, (jnp.arange(count), order.reshape(count, batch_size))
    )
    return state, jax.tree.map(jnp.mean, metrics)


def start(params: Params) -> State:
    """An RBM at rest, ready for `epoch`."""
    return State(params, jax.tree.map(jnp.zeros_like, params))


def _binary(units: str) -> bool:
    if units not in ("binary", "gaussian"):
        raise ValueError(f"units is {units!r}; choose 'binary' or 'gaussian'")
    return units == "binary"


def _sample_visible(key: Array, mean: Array, units: str) -> Array:
    if _binary(units):
        return jax.random.bernoulli(key, mean).astype(mean.dtype)
    return mean + jax.random.normal(key, mean.shape, mean.dtype)
