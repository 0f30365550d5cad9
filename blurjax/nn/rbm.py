"""Restricted Boltzmann machines trained by contrastive divergence.

    E(v, h) = -b'v - c'h - v'W h          binary visible units
    E(v, h) = |v - b|^2 / 2 - c'h - v'W h  Gaussian visible units of unit variance

Hidden units are binary. Parameters are a plain dict: `kernel` (visible, hidden),
`visible` (visible,) and `hidden` (hidden,) biases. A (kernel, hidden) pair is a
dense sigmoid layer, which is what pretraining hands on.

Training by CD-k, whose chains start at the data; or by persistent CD, whose chains go on from
update to update (`start(params, chains=...)`) and so reach what k steps from the data do not.
The likelihood itself is out of reach: `pseudo_likelihood` and `free_energy_gap` stand in for it.

Source: Hinton, Neural Computation 2002 (CD); Tieleman, ICML 2008 (persistent CD);
Hinton, UTML TR 2010-003 (constants); Cho, Ilin & Raiko, ICANN 2011 (Gaussian units).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from blurjax._typing import Array, Float, PRNGKey

Params = dict[str, Array]

# Units whose flips `pseudo_likelihood` looks at together: (8, n, hidden) at a time.
_FLIPS = 8


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
    return jax.nn.sigmoid(_drive(params, visible))


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
    return _free_energy(params, visible, _drive(params, visible), units)


def free_energy_gap(
    params: Params,
    train: Float[Array, "n v"],
    validation: Float[Array, "m v"],
    *,
    units: str = "binary",
) -> Float[Array, ""]:
    """How much less probable held-out data are than those trained on, per row.

        mean F(validation) - mean F(train) = mean log p(train) - mean log p(validation)

    The partition function, which nobody knows, cancels. Around 0 the RBM does not tell the two
    apart; a gap that grows from epoch to epoch is overfitting. Only its course means something:
    two sets that differ from the outset have a gap of their own.

    Args:
        params: an RBM.
        train: rows it is trained on; some thousand of them will do, the same each time.
        validation: rows it never saw, from the same source.
        units: "binary" or "gaussian" visible units, static.

    Returns:
        The gap in nats.

    Raises:
        ValueError: unknown `units`.

    Gradient: exact.

    Source: Hinton, UTML TR 2010-003, section 6.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax.nn import rbm
        >>> params = rbm.init(jax.random.key(0), 4, 3)
        >>> rows = jnp.ones((5, 4))
        >>> float(rbm.free_energy_gap(params, rows, rows))
        0.0
    """
    seen, unseen = (jnp.mean(free_energy(params, x, units=units)) for x in (train, validation))
    return unseen - seen


def pseudo_likelihood(
    key: PRNGKey | None,
    params: Params,
    visible: Float[Array, "n v"],
    *,
    exact: bool = False,
    units: str = "binary",
) -> Float[Array, " n"]:
    """The log pseudo-likelihood of each row: every unit's probability given all the others.

        sum_i log p(v_i | v_-i) = sum_i log s(F(v with unit i flipped) - F(v))

    The stochastic proxy takes V log s(...) of one random unit i out of V instead: an unbiased
    estimate of the sum for little more than one free energy. Its mean over some thousand rows is
    the number to watch; scikit-learn's `BernoulliRBM.score_samples` is the same.

    Args:
        key: random key; None will do where `exact`.
        params: an RBM of binary visible units.
        visible: (n, v) in {0, 1}. Values between are flipped to 1 - v, as scikit-learn does, and
            what comes out is then a score and no likelihood.
        exact: all units instead of one a row, static; as dear as V free energies, in blocks.
        units: "binary", static.

    Returns:
        (n,) nats, at most 0; -V log 2 for an RBM of zeros.

    Raises:
        ValueError: no key where one is needed, Gaussian or unknown `units`.

    Gradient: exact, of the estimate that was drawn.

    Source: Besag, The Statistician 1975; Marlin et al., AISTATS 2010.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax.nn import rbm
        >>> params = rbm.init(jax.random.key(0), 4, 3, scale=0.0)
        >>> score = rbm.pseudo_likelihood(jax.random.key(1), params, jnp.ones((2, 4)))
        >>> [f"{x:.3f}" for x in score]
        ['-2.773', '-2.773']
    """
    if not _binary(units):
        raise ValueError(
            "units is 'gaussian'; a pseudo-likelihood by flips is for binary units, watch "
            "`free_energy_gap` instead"
        )
    rows, count = visible.shape
    drive = _drive(params, visible)
    now = jnp.sum(jax.nn.softplus(drive), axis=-1)

    def flipped(unit: Array) -> Array:
        """log p(v_i | v_-i) of each row, of the unit i given for each."""
        value = jnp.take_along_axis(visible, unit[:, None], axis=1)[:, 0]
        # A flip moves v W by one row of W: no product of matrices is needed.
        change = 1 - 2 * value
        then = jax.nn.softplus(drive + change[:, None] * params["kernel"][unit])
        return jax.nn.log_sigmoid(now - jnp.sum(then, axis=-1) - change * params["visible"][unit])

    if exact:
        turns = jnp.arange(count)
        each = jax.lax.map(lambda i: flipped(jnp.full(rows, i)), turns, batch_size=_FLIPS)
        return jnp.sum(each, axis=0)
    if key is None:
        raise ValueError("key is None; pass a random key, or exact=True for all units")
    return count * flipped(jax.random.randint(key, (rows,), 0, count))


def gibbs(
    key: PRNGKey,
    params: Params,
    visible: Float[Array, "n v"],
    *,
    steps: int = 1,
    units: str = "binary",
) -> Float[Array, "n v"]:
    """Run a Gibbs chain from each row: k times h ~ p(h | v), v ~ p(v | h).

    Args:
        key: random key.
        params: an RBM.
        visible: (n, v) where the chains are.
        steps: k, at least 1, static; one compiled loop however many.
        units: "binary" or "gaussian" visible units, static.

    Returns:
        (n, v) where they have come to: samples of p(v) once k is large enough.

    Raises:
        ValueError: `steps` below 1 or unknown `units`.

    Gradient: not meant to be differentiated.

    Source: Hinton, Neural Computation 2002.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax.nn import rbm
        >>> params = rbm.init(jax.random.key(0), 4, 3)
        >>> rbm.gibbs(jax.random.key(1), params, jnp.zeros((2, 4)), steps=10).shape
        (2, 4)
    """
    keys = _step_keys(key, steps)
    state = _walk(keys[:-1], params, hidden_mean(params, visible), units)
    return _descend(keys[-1], params, state, units)


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
        steps: k, at least 1, static; one compiled loop however many.
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
    return _from_data(_step_keys(key, steps), params, visible, units, sample_visible)


def persistent_contrastive_divergence(
    key: PRNGKey,
    params: Params,
    visible: Float[Array, "n v"],
    chains: Float[Array, "m h"],
    *,
    steps: int = 1,
    units: str = "binary",
) -> tuple[Params, Float[Array, "m h"], Metrics]:
    """The persistent CD estimate of the gradient of the mean log-likelihood (to be ascended).

        k times, of each chain: h ~ Bernoulli(p(h | v)), v ~ p(v | h)
        dW = mean v_0' p(h | v_0) over the data - mean v' p(h | v) over the chains.

    The chains are samples of the model as long as it changes little between updates, so rates
    are smaller than those of CD. Their states are kept as p(h | v), which is all that the next
    step wants of v.

    Args:
        key: random key.
        params: an RBM.
        visible: (n, v) data; in [0, 1] for binary units, standardised for Gaussian ones.
        chains: (m, h) p(h | v) of each chain where it is now, as `start` makes them.
        steps: k, at least 1, static; one compiled loop however many.
        units: "binary" or "gaussian" visible units, static.

    Returns:
        The gradient, shaped like `params`; the chains after k steps; and the batch's `Metrics`,
        whose reconstruction is E[v | p(h | v)].

    Raises:
        ValueError: `steps` below 1 or unknown `units`.

    Gradient: not meant to be differentiated.

    Source: Tieleman, ICML 2008.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax.nn import rbm
        >>> params, data = rbm.init(jax.random.key(0), 4, 3), jnp.ones((5, 4))
        >>> chains = rbm.hidden_mean(params, jnp.zeros((2, 4)))
        >>> gradient, chains, _ = rbm.persistent_contrastive_divergence(
        ...     jax.random.key(1), params, data, chains
        ... )
        >>> gradient["kernel"].shape, chains.shape
        ((4, 3), (2, 3))
    """
    return _from_chains(_step_keys(key, steps), params, visible, chains, units)


class State(NamedTuple):
    """An RBM in training."""

    params: Params
    velocity: Params
    chains: Float[Array, "m h"] | None = None
    """p(h | v) of each persistent chain; None trains by CD, whose chains start at the data."""


def start(params: Params, *, chains: Float[Array, "m v"] | None = None) -> State:
    """An RBM at rest, ready for `epoch`.

    Args:
        params: an RBM.
        chains: (m, v) visible states where persistent chains begin, for persistent CD; rows of
            the data, say, as many as a batch has or any other number. None for CD.

    Returns:
        The state.

    Raises:
        ValueError: chains of another number of visible units.

    Source: Tieleman, ICML 2008.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax.nn import rbm
        >>> params = rbm.init(jax.random.key(0), 4, 3)
        >>> rbm.start(params, chains=jnp.zeros((100, 4))).chains.shape
        (100, 3)
    """
    count = params["kernel"].shape[0]
    if chains is not None and chains.shape[1] != count:
        raise ValueError(
            f"chains are {chains.shape}; this RBM's begin at visible states, (m, {count})"
        )
    at = None if chains is None else hidden_mean(params, chains)
    return State(params, jax.tree.map(jnp.zeros_like, params), at)


@functools.partial(jax.jit, static_argnames=("batch_size", "steps", "units"))
def epoch(
    key: PRNGKey,
    state: State,
    data: Float[Array, "n v"],
    *,
    rate: Float[Array, ""] | float,
    momentum: Float[Array, ""] | float,
    decay: Float[Array, ""] | float = 2e-4,
    batch_size: int = 100,
    steps: int = 1,
    units: str = "binary",
) -> tuple[State, Metrics]:
    """One pass over the data in random order: one compiled scan.

        velocity <- momentum velocity + rate (gradient - decay W);  params <- params + velocity

    The gradient is that of `contrastive_divergence`, or of `persistent_contrastive_divergence`
    where the state has chains.

    Args:
        key: random key; sets the order too.
        state: parameters, velocity, and chains or none.
        data: (n, v); what is left of n after whole batches waits for another epoch's order.
        rate: learning rate, traced.
        momentum: traced.
        decay: weight decay of the kernel only, traced.
        batch_size: static.
        steps, units: as in `contrastive_divergence`.

    Returns:
        The new state and the epoch's mean `Metrics`. With chains the reconstruction is the last
        batch's, by the final parameters: each update goes without one.

    Raises:
        ValueError: fewer rows than one batch, `steps` below 1 or unknown `units`.

    Source: Hinton, UTML TR 2010-003; Tieleman, ICML 2008.
    """
    if data.shape[0] < batch_size:
        raise ValueError(f"{data.shape[0]} rows do not fill one batch of {batch_size}")
    k_order, k_chain = jax.random.split(key)
    count = data.shape[0] // batch_size
    order = jax.random.permutation(k_order, data.shape[0])[: count * batch_size]
    order = order.reshape(count, batch_size)
    # All keys at once: split in the scan, they would be a tenth of its time.
    keys = _step_keys(k_chain, steps, count)

    def update(state: State, now: tuple[Array, Array]) -> tuple[State, Metrics]:
        keys, rows = now
        params, visible, chains = state.params, data[rows], state.chains
        if chains is None:
            gradient, metrics = _from_data(keys, params, visible, units, sample_visible=False)
        else:
            gradient, chains, metrics = _from_chains(keys, params, visible, chains, units)
            # Whatever is not returned is not computed.
            metrics = metrics._replace(reconstruction=jnp.zeros_like(metrics.free_energy))
        gradient["kernel"] -= decay * params["kernel"]
        velocity = jax.tree.map(lambda v, g: momentum * v + rate * g, state.velocity, gradient)
        return State(jax.tree.map(jnp.add, params, velocity), velocity, chains), metrics

    state, metrics = jax.lax.scan(update, state, (keys, order))
    metrics = jax.tree.map(jnp.mean, metrics)
    if state.chains is not None:
        last = data[order[-1]]
        metrics = metrics._replace(reconstruction=_mean_error(state.params, last, units))
    return state, metrics


def _binary(units: str) -> bool:
    if units not in ("binary", "gaussian"):
        raise ValueError(f"units is {units!r}; choose 'binary' or 'gaussian'")
    return units == "binary"


def _step_keys(key: Array, steps: int, *before: int) -> Array:
    """Keys of the hidden and the visible units of each of k steps, (..., k, 2)."""
    if steps < 1:
        raise ValueError(f"steps is {steps}; contrastive divergence takes 1 or more")
    return jax.random.split(key, (*before, steps, 2))


def _drive(params: Params, visible: Array) -> Array:
    return visible @ params["kernel"] + params["hidden"][None]


def _free_energy(params: Params, visible: Array, drive: Array, units: str) -> Array:
    bias = params["visible"][None]
    own = -jnp.sum(visible * bias, -1) if _binary(units) else jnp.sum((visible - bias) ** 2, -1) / 2
    return own - jnp.sum(jax.nn.softplus(drive), axis=-1)


def _mean_error(params: Params, visible: Array, units: str) -> Array:
    """Mean squared error of the reconstruction from the hidden units' means."""
    reconstruction = visible_mean(params, hidden_mean(params, visible), units=units)
    return jnp.mean((visible - reconstruction) ** 2)


def _from_data(
    keys: Array, params: Params, visible: Array, units: str, sample_visible: bool
) -> tuple[Params, Metrics]:
    """`contrastive_divergence` with the keys of its steps."""
    drive = _drive(params, visible)
    positive = jax.nn.sigmoid(drive)
    fantasy = reconstruction = visible_mean(params, _bernoulli(keys[0, 0], positive), units=units)
    if sample_visible:
        fantasy = _sample_visible(keys[0, 1], fantasy, units)
    negative = hidden_mean(params, fantasy)

    def step(now: tuple[Array, Array], keys: Array) -> tuple[tuple[Array, Array], None]:
        fantasy = _descend(keys, params, now[1], units, sample_visible=sample_visible)
        return (fantasy, hidden_mean(params, fantasy)), None

    if keys.shape[0] > 1:
        (fantasy, negative), _ = jax.lax.scan(step, (fantasy, negative), keys[1:])
    metrics = Metrics(
        reconstruction=jnp.mean((visible - reconstruction) ** 2),
        free_energy=jnp.mean(_free_energy(params, visible, drive, units)),
    )
    return _difference(visible, positive, fantasy, negative), metrics


def _from_chains(
    keys: Array, params: Params, visible: Array, chains: Array, units: str
) -> tuple[Params, Array, Metrics]:
    """`persistent_contrastive_divergence` with the keys of its steps."""
    rows = visible.shape[0]
    chains = _walk(keys[:-1], params, chains, units)
    fantasy = _descend(keys[-1], params, chains, units)
    # One product for the data and the chains costs less than two.
    drive = _drive(params, jnp.concatenate([visible, fantasy]))
    positive, negative = jnp.split(jax.nn.sigmoid(drive), [rows])
    metrics = Metrics(
        reconstruction=_mean_error(params, visible, units),
        free_energy=jnp.mean(_free_energy(params, visible, drive[:rows], units)),
    )
    return _difference(visible, positive, fantasy, negative), negative, metrics


def _walk(keys: Array, params: Params, state: Array, units: str) -> Array:
    """Gibbs steps from p(h | v) to p(h | v), one for each row of keys."""
    if not keys.shape[0]:
        return state

    def step(state: Array, keys: Array) -> tuple[Array, None]:
        return hidden_mean(params, _descend(keys, params, state, units)), None

    return jax.lax.scan(step, state, keys)[0]


def _descend(
    keys: Array, params: Params, state: Array, units: str, *, sample_visible: bool = True
) -> Array:
    """h ~ Bernoulli(state), then v ~ p(v | h) or its mean."""
    mean = visible_mean(params, _bernoulli(keys[0], state), units=units)
    return _sample_visible(keys[1], mean, units) if sample_visible else mean


def _difference(visible: Array, positive: Array, fantasy: Array, negative: Array) -> Params:
    """Mean statistics of the data less those of the fantasies."""
    scaled = jnp.concatenate([positive / positive.shape[0], -negative / negative.shape[0]])
    # One product instead of a difference of two; the barrier keeps XLA from folding the
    # transposition into it, which its fast matrix product on CPUs does not take.
    columns = jax.lax.optimization_barrier(jnp.concatenate([visible.T, fantasy.T], axis=1))
    return {
        "kernel": columns @ scaled,
        "visible": jnp.mean(visible, axis=0) - jnp.mean(fantasy, axis=0),
        "hidden": jnp.sum(scaled, axis=0),
    }


def _bernoulli(key: Array, mean: Array) -> Array:
    """Zeros and ones of probability `mean`, (n, m), to 24 bits.

    On CPUs the random bits are what sampling costs, so two units share a word: one reads it from
    the top, the other from the middle. Each is exact; their correlation is 2^-15.
    """
    half = -(-mean.shape[1] // 2)
    word = jax.random.bits(key, (mean.shape[0], half), jnp.uint32)
    words = jnp.concatenate([word, (word << 16) | (word >> 16)], axis=1)[:, : mean.shape[1]]
    uniform = (words >> 8).astype(jnp.float32) * 2.0**-24
    return (uniform < mean.astype(jnp.float32)).astype(mean.dtype)


def _sample_visible(key: Array, mean: Array, units: str) -> Array:
    if _binary(units):
        return _bernoulli(key, mean)
    return mean + jax.random.normal(key, mean.shape, mean.dtype)
