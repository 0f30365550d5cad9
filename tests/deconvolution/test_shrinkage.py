"""Generalised shrinkage against brute force."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax.deconvolution._shrinkage import shrink

EXPONENTS = [0.5, 2 / 3, 0.8, 1.0]


def objective(w, v, weight, exponent):
    return weight * np.abs(w) ** exponent + (w - v) ** 2 / 2


def threshold(weight, exponent):
    c = (2 * (1 - exponent) * weight) ** (1 / (2 - exponent))
    return c + exponent * weight * c ** (exponent - 1) if exponent < 1 else weight


@pytest.mark.parametrize("weight", [1e-3, 0.2, 3.0])
@pytest.mark.parametrize("exponent", EXPONENTS)
def test_it_is_the_minimum(exponent, weight):
    v = np.linspace(-4, 4, 401)
    w = np.asarray(shrink(jnp.asarray(v), weight, exponent))
    grid = np.unique(np.concatenate([np.linspace(-4, 4, 8001), [0.0]]))
    least = objective(grid[:, None], v, weight, exponent).min(0)
    assert (objective(w, v, weight, exponent) <= least + 1e-12).all()
    assert (np.abs(w) <= np.abs(v)).all() and (w * v >= 0).all()
    # The grid is fine enough to tell: a little off is worse.
    kept = w != 0
    for off in (-1e-4, 1e-4):
        moved = objective(w[kept] + off, v[kept], weight, exponent)
        assert (moved > objective(w[kept], v[kept], weight, exponent)).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("exponent", [0.05, 0.5, 2 / 3, 0.8, 0.95])
def test_the_condition_holds_from_the_threshold_on(exponent, dtype):
    weight = 0.37
    edge = threshold(weight, exponent)
    v = jnp.asarray(edge * (1 + np.logspace(-5, 4, 300)), dtype)
    w = np.asarray(shrink(v, weight, exponent), np.float64)
    error = w + exponent * weight * w ** (exponent - 1) - np.asarray(v, np.float64)
    assert w.min() > 0
    np.testing.assert_allclose(error / np.asarray(v), 0, atol=8 * float(jnp.finfo(dtype).eps))
    below = jnp.asarray(edge * (1 - np.logspace(-5, 0, 30)), dtype)
    assert not shrink(below, weight, exponent).any()
    assert shrink(v, weight, exponent).dtype == dtype


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_derivatives(exponent, check_derivatives):
    def both(v, weight):
        return shrink(v, weight, exponent)

    for v in (1.7, -2.4):
        check_derivatives(both, jnp.asarray(v), jnp.asarray(0.4))


@pytest.mark.parametrize("exponent", EXPONENTS)
def test_nothing_moves_below_the_threshold_and_nothing_is_nan(exponent):
    v = jnp.array([0.0, 1e-3, -0.3])
    slope = jax.vmap(jax.grad(lambda v: shrink(v, 0.4, exponent)))(v)
    np.testing.assert_array_equal(slope, 0)
    slope = jax.vmap(jax.grad(lambda weight: shrink(weight * 0 + 0.3, weight, exponent)))(
        jnp.array([0.4, 2.0])
    )
    np.testing.assert_array_equal(slope, 0)


def test_no_weight_changes_nothing():
    v = jnp.linspace(-1, 1, 9)
    for exponent in EXPONENTS:
        np.testing.assert_array_equal(shrink(v, 0.0, exponent), v)


def test_broadcasting_and_vmap():
    v, weight = jnp.linspace(-2, 2, 5), jnp.array([0.1, 0.3])
    table = shrink(v[None, :], weight[:, None], 0.5)
    each = jax.vmap(lambda w: shrink(v, w, 0.5))(weight)
    np.testing.assert_allclose(table, each, atol=1e-15)


@pytest.mark.parametrize("exponent", [0.0, 1.5, -1, float("nan")])
def test_exponents_outside_are_refused(exponent):
    with pytest.raises(ValueError, match="exponent="):
        shrink(1.0, 1.0, exponent)


def test_weights_outside_are_refused():
    with pytest.raises(ValueError, match="weight="):
        shrink(1.0, -1.0, 0.5)
