"""What learns: restricted Boltzmann machines and kernel regression."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blurjax.nn import grnn, rbm
from tests.properties.common import SEEDS, close, finite, refused

UNITS = st.sampled_from(["binary", "gaussian"])


def machine(seed, scale):
    key = jax.random.key(seed)
    params = rbm.init(key, 6, 4, scale=scale)
    data = (jax.random.uniform(jax.random.fold_in(key, 1), (5, 6)) < 0.5).astype(jnp.float64)
    return key, params, data


@pytest.mark.slow
@given(seed=SEEDS, scale=st.sampled_from([0.0, 0.01, 1.0, 1e3]), units=UNITS)
def test_machines(seed, scale, units):
    """Probabilities stay probabilities, whatever the weights; the same key, the same step."""
    key, params, data = machine(seed, scale)
    assert {name: x.shape for name, x in params.items()} == {
        "kernel": (6, 4), "visible": (6,), "hidden": (4,),
    }  # fmt: skip
    hidden = rbm.hidden_mean(params, data)
    assert hidden.shape == (5, 4) and np.all((hidden >= 0) & (hidden <= 1))
    visible = rbm.visible_mean(params, hidden, units=units)
    assert visible.shape == (5, 6) and finite(visible)
    if units == "binary":
        assert np.all((visible >= 0) & (visible <= 1))
        exact = rbm.pseudo_likelihood(None, params, data, exact=True)
        assert np.all(exact <= 1e-9) and finite(exact)
        drawn = rbm.pseudo_likelihood(key, params, data)
        assert drawn.shape == (5,) and np.all(drawn <= 1e-9)
        if scale == 0:
            close(exact, jnp.full(5, -6 * np.log(2)))
    energy = rbm.free_energy(params, data, units=units)
    assert energy.shape == (5,) and finite(energy)
    close(rbm.free_energy_gap(params, data, data, units=units), 0.0, atol=1e-9)
    chain = rbm.gibbs(key, params, data, steps=2, units=units)
    assert chain.shape == data.shape and finite(chain)
    close(chain, rbm.gibbs(key, params, data, steps=2, units=units), atol=0)
    step, measured = rbm.contrastive_divergence(key, params, data, units=units)
    assert finite((step, measured)) and step.keys() == params.keys()
    chains = rbm.hidden_mean(params, data)
    step, chains, measured = rbm.persistent_contrastive_divergence(
        key, params, data, chains, units=units
    )
    assert finite((step, chains, measured)) and np.all((chains >= 0) & (chains <= 1))
    for begin in (rbm.start(params), rbm.start(params, chains=data)):
        state, measured = rbm.epoch(
            key, begin, data, rate=0.1, momentum=0.5, decay=1e-3, batch_size=2, units=units
        )
        assert finite((state, measured))
    refused(rbm.gibbs, key, params, data, steps=0)
    refused(rbm.contrastive_divergence, key, params, data, steps=0)
    refused(rbm.gibbs, key, params, data, units="ternary")
    refused(rbm.free_energy_gap, params, data, data, units="ternary")
    refused(rbm.pseudo_likelihood, None, params, data)
    refused(rbm.pseudo_likelihood, key, params, data, units="gaussian")
    refused(rbm.start, params, chains=data[:, :5])


POINTS = st.lists(
    st.sampled_from([0.0, 1.0, 1e6, -1e6, 1e-12]) | st.floats(-3, 3), min_size=12, max_size=12
)


@given(
    points=POINTS, seed=SEEDS, bandwidth=st.sampled_from([1e-6, 0.1, 1.0, 1e6]),
    coverage=st.sampled_from([0.01, 0.5, 0.99]),
)  # fmt: skip
def test_regression(points, seed, bandwidth, coverage):
    """Between the targets wherever it is asked, also at and far from the samples."""
    points = jnp.array(points).reshape(6, 2)
    targets = jnp.asarray(np.random.default_rng(seed).random((6, 1)))
    queries = jnp.concatenate([points[:2], jnp.array([[0.5, 0.5], [1e9, -1e9]])])
    answer = grnn.predict(queries, points, targets, bandwidth)
    assert answer.shape == (4, 1) and finite(answer)
    low, high = targets.min() - 1e-9, targets.max() + 1e-9
    assert np.all((answer >= low) & (answer <= high))
    weight = jnp.array([1.0, 0, 0, 0, 0, 0])
    close(
        grnn.predict(queries, points, targets, bandwidth, weight=weight),
        jnp.full((4, 1), targets[0]),
    )
    close(grnn.predict(queries, points, jnp.full((6, 1), 0.3), bandwidth), jnp.full((4, 1), 0.3))
    slopes = slope_of_regression(queries, points, targets, jnp.asarray(bandwidth))
    assert finite(slopes)
    spread = grnn.predict_distribution(queries, points, targets, bandwidth, coverage)
    assert isinstance(spread, grnn.Distribution) and finite(spread)
    close(spread.mean, answer, atol=1e-6)
    assert np.all(spread.deviation >= 0) and np.all(spread.lower <= spread.upper)
    assert np.all((spread.median >= low) & (spread.median <= high))
    without = grnn.leave_one_out(points, targets, jnp.array([bandwidth, 2 * bandwidth]))
    assert without.shape == (6, 2, 1) and np.all((without >= low) & (without <= high))
    assert grnn.nearest_distance(points) >= 0
    grid = grnn.bandwidth_grid(points, count=5)
    assert grid.shape == (5,) and np.all(grid >= 0) and np.all(np.diff(grid) >= 0)
    for wrong in (0.0, -1.0):
        refused(grnn.predict, queries, points, targets, wrong)
        refused(grnn.predict_distribution, queries, points, targets, wrong, coverage)
        refused(grnn.predict_distribution, queries, points, targets, bandwidth, wrong)
    refused(grnn.predict_distribution, queries, points, targets, bandwidth, 1.0)
    refused(grnn.predict, queries, points, targets, jnp.ones(3))
    refused(grnn.calibrate, points[:1], targets[:1], bandwidth)
    refused(grnn.fit_bandwidth, jax.random.key(seed), points[:1], targets[:1])


@jax.jit
def slope_of_regression(*arguments):
    return jax.grad(lambda *a: jnp.sum(grnn.predict(*a) ** 2), (0, 1, 2, 3))(*arguments)


@given(seed=SEEDS, coverage=st.sampled_from([0.2, 0.8]))
def test_bandwidths_and_calibration(seed, coverage):
    rng = np.random.default_rng(seed)
    points, targets = jnp.asarray(rng.random((8, 2))), jnp.asarray(rng.random((8, 1)))
    key = jax.random.key(seed)
    found = grnn.fit_bandwidth(key, points, targets, steps=3, batch=4)
    assert found.shape == (2,) and np.all(found > 0) and finite(found)
    close(found, grnn.fit_bandwidth(key, points, targets, steps=3, batch=4), atol=0)
    moved = grnn.calibrate(points, targets, found, coverage=coverage)
    assert isinstance(moved, grnn.Calibration) and finite(moved)
    spread = grnn.predict_distribution(points[:2], points, targets, found, moved)
    assert finite(spread)
