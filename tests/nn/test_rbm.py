import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax.nn import rbm

VISIBLE, HIDDEN = 4, 3


@pytest.fixture
def params(getkey):
    keys = [getkey() for _ in range(3)]
    return {
        "kernel": jax.random.normal(keys[0], (VISIBLE, HIDDEN)),
        "visible": 0.5 * jax.random.normal(keys[1], (VISIBLE,)),
        "hidden": 0.5 * jax.random.normal(keys[2], (HIDDEN,)),
    }


ALL_VISIBLE = jnp.array(list(itertools.product([0.0, 1.0], repeat=VISIBLE)))
ALL_HIDDEN = jnp.array(list(itertools.product([0.0, 1.0], repeat=HIDDEN)))


def log_likelihood(params, data):
    """By enumeration of all 2^4 x 2^3 states."""
    energy = -(
        (ALL_VISIBLE @ params["visible"])[:, None]
        + (ALL_HIDDEN @ params["hidden"])[None, :]
        + ALL_VISIBLE @ params["kernel"] @ ALL_HIDDEN.T
    )
    log_partition = jax.nn.logsumexp(-energy)
    return jnp.mean(-rbm.free_energy(params, data) - log_partition)


DATA = jnp.array([[1.0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 1, 1], [1, 1, 0, 1]])


def test_free_energy_is_the_sum_over_hidden_states(params):
    visible = ALL_VISIBLE[5]
    energies = -(
        visible @ params["visible"]
        + ALL_HIDDEN @ params["hidden"]
        + ALL_HIDDEN @ (visible @ params["kernel"])
    )
    expected = -jax.nn.logsumexp(-energies)
    np.testing.assert_allclose(rbm.free_energy(params, visible[None])[0], expected, rtol=1e-12)


@functools.partial(jax.jit, static_argnames=("steps", "repeats"))
def expected_gradient(params, steps, repeats, key):
    gradients = jax.vmap(
        lambda k: rbm.contrastive_divergence(k, params, DATA, steps=steps, sample_visible=True)[0]
    )(jax.random.split(key, repeats))
    return jax.tree.map(lambda g: jnp.mean(g, axis=0), gradients)


def gap(a, b):
    return max(
        float(jnp.abs(x - y).max()) for x, y in zip(*map(jax.tree.leaves, (a, b)), strict=True)
    )


@pytest.mark.slow
def test_cd_approaches_the_exact_gradient_as_k_grows(params, getkey):
    exact = jax.grad(log_likelihood)(params, DATA)
    key = getkey()
    gaps = [gap(expected_gradient(params, k, 20_000, key), exact) for k in (1, 4)]
    # The Monte-Carlo error of the mean of 20 000 runs is about 0.002.
    assert gaps[1] < 0.008 < 0.05 < gaps[0], gaps


def test_cd_1_points_uphill(params, getkey):
    exact = jax.grad(log_likelihood)(params, DATA)
    estimate = expected_gradient(params, 1, 5_000, getkey())
    dot = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (exact, estimate)), strict=True))
    norms = [
        jnp.sqrt(sum(jnp.vdot(a, a) for a in jax.tree.leaves(tree))) for tree in (exact, estimate)
    ]
    assert dot / (norms[0] * norms[1]) > 0.8


@pytest.mark.parametrize("steps", [1, 2])
def test_epochs_raise_the_likelihood(getkey, steps):
    data = jnp.tile(DATA, (100, 1))
    state = rbm.start(rbm.init(getkey(), VISIBLE, HIDDEN))
    before = log_likelihood(state.params, DATA)
    for _ in range(60):
        state, metrics = rbm.epoch(
            getkey(), state, data, rate=0.1, momentum=0.5, batch_size=20, steps=steps
        )
    after = log_likelihood(state.params, DATA)
    # Four different rows at best have log-likelihood -log 4; uniform states -4 log 2.
    assert before < -2.7 and after > -1.9, (before, after)
    assert 0 < metrics.reconstruction < 0.25


def test_gaussian_units_find_a_direction(getkey):
    side = jnp.where(jax.random.bernoulli(getkey(), 0.5, (500, 1)), 1.0, -1.0)
    data = side * jnp.array([[1.0, -1.0, 0.0]]) + 0.3 * jax.random.normal(getkey(), (500, 3))
    state = rbm.start(rbm.init(getkey(), 3, 2))
    errors = []
    for _ in range(30):
        state, metrics = rbm.epoch(
            getkey(), state, data, rate=0.02, momentum=0.5, batch_size=50, units="gaussian"
        )
        errors.append(float(metrics.reconstruction))
    assert errors[-1] < 0.8 * errors[0]
    assert jnp.abs(state.params["kernel"][:2]).max() > 5 * jnp.abs(state.params["kernel"][2]).max()


def test_same_key_same_epoch_and_float32_stays(getkey):
    data = jnp.tile(DATA, (10, 1)).astype(jnp.float32)
    params = jax.tree.map(lambda x: x.astype(jnp.float32), rbm.init(getkey(), VISIBLE, HIDDEN))
    key = getkey()

    def run(key):
        return rbm.epoch(key, rbm.start(params), data, rate=0.1, momentum=0.5, batch_size=10)[0]

    first = run(key)
    chex.assert_trees_all_equal(first, run(key))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(first))
    assert gap(first.params, run(getkey()).params) > 0


def test_refusals(params, getkey):
    with pytest.raises(ValueError, match="steps is 0"):
        rbm.contrastive_divergence(getkey(), params, DATA, steps=0)
    with pytest.raises(ValueError, match="units is 'poisson'"):
        rbm.free_energy(params, DATA, units="poisson")
    with pytest.raises(ValueError, match="4 rows do not fill one batch of 100"):
        rbm.epoch(getkey(), rbm.start(params), DATA, rate=0.1, momentum=0.5)
