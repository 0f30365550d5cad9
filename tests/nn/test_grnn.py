import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from blurjax.nn import grnn


def naive(queries, points, targets, bandwidth):
    squares = ((np.asarray(queries)[:, None] - np.asarray(points)[None]) ** 2).sum(-1)
    weights = np.exp(-(squares - squares.min(1, keepdims=True)) / (2 * bandwidth**2))
    return weights @ np.asarray(targets) / weights.sum(1, keepdims=True)


@pytest.fixture
def memory(getkey):
    points = jax.random.normal(getkey(), (150, 4))
    targets = jnp.stack([points[:, 0] ** 2, jnp.sin(points[:, 1])], axis=1)
    return points, targets


@pytest.mark.parametrize("block", [7, 64, 1000])
@pytest.mark.parametrize("bandwidth", [0.05, 0.7, 10.0])
def test_blocks_agree_with_the_formula(memory, getkey, block, bandwidth):
    queries = jax.random.normal(getkey(), (20, 4))
    found = grnn.predict(queries, *memory, bandwidth, block=block)
    np.testing.assert_allclose(found, naive(queries, *memory, bandwidth), rtol=1e-10)


@pytest.mark.parametrize("block", [16, 200])
def test_leave_one_out_is_exact(memory, block):
    points, targets = memory
    bandwidths = jnp.array([0.2, 0.9])
    found = grnn.leave_one_out(points, targets, bandwidths, block=block)
    assert found.shape == (150, 2, 2)
    for i in (0, 77, 149):
        for b, bandwidth in enumerate([0.2, 0.9]):
            others = np.delete(np.arange(150), i)
            expected = naive(points[i : i + 1], points[others], targets[others], bandwidth)
            np.testing.assert_allclose(found[i, b], expected[0], rtol=1e-9)


def test_far_queries_get_the_nearest_target(memory):
    points, targets = memory
    query = jnp.full((1, 4), 1e3)
    nearest = jnp.argmin(jnp.sum((points - query) ** 2, axis=1))
    found = grnn.predict(query, points, targets, 0.1)
    np.testing.assert_allclose(found[0], targets[nearest], rtol=1e-6)


def test_float32_survives_an_offset(memory, getkey):
    queries = jax.random.normal(getkey(), (20, 4))
    shifted = [x.astype(jnp.float32) + 1000 for x in (queries, memory[0])]
    found = grnn.predict(*shifted, memory[1].astype(jnp.float32), np.float32(0.7))
    assert found.dtype == jnp.float32
    # The inputs themselves are rounded to 6e-5 there.
    np.testing.assert_allclose(found, naive(queries, *memory, 0.7), atol=2e-3)


def test_gradients(memory, getkey):
    queries = jax.random.normal(getkey(), (3, 4))

    @jax.jit
    def f(queries, points, targets, bandwidth):
        return grnn.predict(queries, points[:20], targets[:20], bandwidth, block=8)

    check_grads(f, (queries, *memory, 0.7), order=1, atol=1e-5, rtol=1e-5)
    gradients = jax.jit(jax.grad(lambda *a: f(*a).sum(), (0, 1, 2, 3)))(queries, *memory, 0.7)
    assert all(jnp.abs(g).max() > 1e-3 for g in gradients)


def test_transformations(memory, getkey):
    queries = jax.random.normal(getkey(), (5, 6, 4))
    by_vmap = jax.jit(jax.vmap(lambda q: grnn.predict(q, *memory, 0.5)))(queries)
    flat = grnn.predict(queries.reshape(-1, 4), *memory, 0.5)
    np.testing.assert_allclose(by_vmap.reshape(-1, 2), flat, rtol=1e-12)


def test_nearest_distance_and_grid(memory):
    points = memory[0]
    squares = ((np.asarray(points)[:, None] - np.asarray(points)[None]) ** 2).sum(-1)
    np.fill_diagonal(squares, np.inf)
    expected = np.sqrt(np.median(squares.min(1)))
    np.testing.assert_allclose(grnn.nearest_distance(points), expected, rtol=1e-8)
    grid = grnn.bandwidth_grid(points)
    np.testing.assert_allclose(grid[jnp.array([0, -1])], expected * np.array([0.25, 32]), rtol=1e-8)
    assert grid.shape == (40,)
