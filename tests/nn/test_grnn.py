import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jax.test_util import check_grads

from blurjax.nn import grnn

EACH = np.array([0.5, 0.9, 2.0, 30.0])


def naive_weights(queries, points, bandwidth, weight=1.0):
    gaps = (np.asarray(queries)[:, None] - np.asarray(points)[None]) / np.asarray(bandwidth)
    squares = (gaps**2).sum(-1)
    weights = weight * np.exp(-(squares - squares.min(1, keepdims=True)) / 2)
    return weights / weights.sum(1, keepdims=True)


def naive(queries, points, targets, bandwidth):
    return naive_weights(queries, points, bandwidth) @ np.asarray(targets)


def naive_quantile(weights, targets, level):
    """(q, t): the smallest stored target with at least `level` of the weight up to it."""
    order = np.argsort(targets, axis=0)
    out = np.empty((len(weights), targets.shape[1]))
    for j in range(targets.shape[1]):
        mass = np.cumsum(weights[:, order[:, j]], axis=1)
        out[:, j] = targets[order[:, j], j][np.argmax(mass >= level, axis=1)]
    return out


@pytest.fixture
def memory(getkey):
    points = jax.random.normal(getkey(), (150, 4))
    targets = jnp.stack([points[:, 0] ** 2, jnp.sin(points[:, 1])], axis=1)
    return points, targets


@pytest.fixture
def wide(getkey):
    """Enough inputs for distances to be a matrix product."""
    points = jax.random.normal(getkey(), (150, 9))
    return points, points[:, :2] ** 2


@pytest.mark.parametrize("block", [7, 64, 1000])
@pytest.mark.parametrize("bandwidth", [0.05, 0.7, 10.0, EACH], ids=str)
def test_blocks_agree_with_the_formula(memory, getkey, block, bandwidth):
    queries = jax.random.normal(getkey(), (20, 4))
    found = grnn.predict(queries, *memory, bandwidth, block=block, query_block=8)
    np.testing.assert_allclose(found, naive(queries, *memory, bandwidth), rtol=1e-10)


@pytest.mark.parametrize("bandwidth", [0.3, np.linspace(0.5, 4, 9)], ids=str)
def test_many_inputs_agree_with_the_formula(wide, getkey, bandwidth):
    queries = jax.random.normal(getkey(), (20, 9))
    found = grnn.predict(queries, *wide, bandwidth, block=64)
    np.testing.assert_allclose(found, naive(queries, *wide, bandwidth), rtol=1e-10)


@pytest.mark.parametrize("block", [16, 200])
def test_leave_one_out_is_exact(memory, block):
    points, targets = memory
    bandwidths = jnp.array([0.2, 0.9])
    found = grnn.leave_one_out(points, targets, bandwidths, block=block)
    assert found.shape == (150, 2, 2)
    by_input = grnn.leave_one_out(
        points, targets, jnp.stack([jnp.full(4, 0.9), jnp.asarray(EACH)]), block=block
    )
    np.testing.assert_allclose(by_input[:, 0], found[:, 1], rtol=1e-12)
    for i in (0, 77, 149):
        others = np.delete(np.arange(150), i)
        for answer, bandwidth in [(found[i, 0], 0.2), (found[i, 1], 0.9), (by_input[i, 1], EACH)]:
            expected = naive(points[i : i + 1], points[others], targets[others], bandwidth)
            np.testing.assert_allclose(answer, expected[0], rtol=1e-9)


def test_far_queries_get_the_nearest_target(memory):
    points, targets = memory
    query = jnp.full((1, 4), 1e3)
    nearest = int(jnp.argmin(jnp.sum((points - query) ** 2, axis=1)))
    found = grnn.predict_distribution(query, points, targets, 0.1)
    for answer in (found.mean, found.median, found.lower, found.upper):
        np.testing.assert_allclose(answer[0], targets[nearest], rtol=1e-6)
    np.testing.assert_allclose(found.deviation, 0, atol=1e-6)
    np.testing.assert_allclose(found.effective, 1)
    distance = jnp.linalg.norm(query[0] - points[nearest]) / 0.1
    np.testing.assert_allclose(found.nearest, distance, rtol=1e-9)


def test_float32_survives_an_offset(memory, wide, getkey):
    for points, targets in (memory, wide):
        queries = jax.random.normal(getkey(), (20, points.shape[1]))
        shifted = [x.astype(jnp.float32) + 1000 for x in (queries, points)]
        found = grnn.predict(*shifted, targets.astype(jnp.float32), np.float32(0.7))
        assert found.dtype == jnp.float32
        # The inputs themselves are rounded to 6e-5 there.
        np.testing.assert_allclose(found, naive(queries, points, targets, 0.7), atol=3e-3)


def test_float32_survives_a_bandwidth_far_below_the_extent():
    points = jnp.linspace(0, 1, 20_001, dtype=jnp.float32)[:, None]
    queries = jnp.array([[0.1], [0.98765]], jnp.float32)
    found = grnn.predict(queries, points, points, 1e-4)
    np.testing.assert_allclose(found, naive(queries, points, points, 1e-4), atol=2e-7)


@pytest.mark.parametrize("dtype", [jnp.float32, pytest.param(jnp.bfloat16, marks=pytest.mark.slow)])
def test_dtypes_are_kept(memory, dtype):
    points, targets = (x.astype(dtype) for x in memory)
    expected = naive(*(np.asarray(x, np.float64) for x in (points[:9], points, targets)), 0.7)
    tolerance = 1e-5 if dtype == jnp.float32 else 2 * float(jnp.finfo(dtype).eps)
    found = grnn.predict(points[:9], points, targets, 0.7)
    assert found.dtype == dtype
    np.testing.assert_allclose(found.astype(float), expected, rtol=tolerance, atol=tolerance)
    grid = grnn.bandwidth_grid(points)
    assert grid.dtype == dtype
    assert grnn.leave_one_out(points, targets, grid).dtype == dtype
    if dtype == jnp.bfloat16:
        calibration = grnn.calibrate(points, targets, 0.7)
        distribution = grnn.predict_distribution(points[:9], points, targets, 0.7, calibration)
        assert {x.dtype for x in distribution} == {jnp.dtype(dtype)}
        assert all(jnp.isfinite(x).all() for x in distribution)


@pytest.mark.parametrize(
    ("inputs", "bandwidth"),
    [pytest.param(4, 0.7, marks=pytest.mark.slow, id="one"), (9, np.linspace(0.7, 2, 9))],
    ids=[None, "each"],
)
def test_gradients(memory, wide, getkey, inputs, bandwidth):
    points, targets = memory if inputs == 4 else wide
    queries = jax.random.normal(getkey(), (3, inputs))
    weight = jax.random.uniform(getkey(), (20,)) + 0.1

    @jax.jit
    def f(queries, points, targets, bandwidth, weight):
        return grnn.predict(
            queries, points[:20], targets[:20], bandwidth, weight=weight, block=8, query_block=2
        )

    arguments = (queries, points, targets, jnp.asarray(bandwidth), weight)
    check_grads(f, arguments, order=1, modes=["rev"], atol=1e-5, rtol=1e-5)
    gradients = jax.jit(jax.grad(lambda *a: f(*a).sum(), (0, 1, 2, 3, 4)))(*arguments)
    assert all(jnp.abs(g).max() > 1e-3 for g in gradients)
    assert jnp.abs(gradients[3]).min() > 1e-9


@pytest.mark.slow
def test_gradients_of_the_distribution(memory, getkey):
    queries = jax.random.normal(getkey(), (3, 4))

    @jax.jit
    def f(queries, points, targets, bandwidth):
        found = grnn.predict_distribution(
            queries, points[:20], targets[:20], bandwidth, 0.8, block=8
        )
        return found.deviation, found.effective

    arguments = (queries, *memory, jnp.asarray(EACH))
    check_grads(f, arguments, order=1, modes=["rev"], atol=1e-5, rtol=1e-5)


def test_weights(memory, getkey):
    points, targets = memory
    queries = jax.random.normal(getkey(), (5, 4))
    weight = (jnp.arange(150) % 3).astype(float)
    found = grnn.predict(queries, points, targets, 0.7, weight=weight, block=64)
    repeated = [jnp.repeat(x, jnp.arange(150) % 3, axis=0) for x in memory]
    np.testing.assert_allclose(found, naive(queries, *repeated, 0.7), rtol=1e-10)
    # Nearest of all, and nobody's.
    far = grnn.predict(points[:1] + 100, points, targets, 0.1, weight=weight)
    assert jnp.isfinite(far).all()


def test_transformations(memory, getkey):
    queries = jax.random.normal(getkey(), (5, 6, 4))
    by_vmap = jax.jit(jax.vmap(lambda q: grnn.predict(q, *memory, 0.5, query_block=4)))(queries)
    flat = grnn.predict(queries.reshape(-1, 4), *memory, 0.5)
    np.testing.assert_allclose(by_vmap.reshape(-1, 2), flat, rtol=1e-12)
    call = functools.partial(grnn.predict_distribution, block=64)
    several = jax.jit(jax.vmap(lambda q: call(q, *memory, 0.5)))(queries)
    flat = call(queries.reshape(-1, 4), *memory, 0.5)
    for a, b in zip(several, flat, strict=True):
        np.testing.assert_allclose(a.reshape(b.shape), b, rtol=1e-9)


def test_nearest_distance_and_grid(memory, wide):
    for points in (memory[0], wide[0]):
        squares = ((np.asarray(points)[:, None] - np.asarray(points)[None]) ** 2).sum(-1)
        np.fill_diagonal(squares, np.inf)
        expected = np.sqrt(np.median(squares.min(1)))
        np.testing.assert_allclose(grnn.nearest_distance(points, block=64), expected, rtol=1e-8)
    grid = grnn.bandwidth_grid(points)
    np.testing.assert_allclose(grid[jnp.array([0, -1])], expected * np.array([0.25, 32]), rtol=1e-8)
    assert grid.shape == (40,)


# ---- sharding and memory


@pytest.mark.slow
@pytest.mark.parametrize("weighted", [pytest.param(False, marks=pytest.mark.slow), True])
def test_sharded_points_give_the_same(wide, getkey, weighted):
    points, targets = (x[:144] for x in wide)
    queries = jax.random.normal(getkey(), (20, 9)).at[0].set(50.0)
    weight = jnp.where(jnp.arange(144) < 130, 1.0, 0.0) if weighted else None
    mesh = Mesh(np.array(jax.devices()), ("memory",))
    assert mesh.size == 8
    split = NamedSharding(mesh, PartitionSpec("memory"))
    there = [jax.device_put(x, split) for x in (points, targets)]

    def f(queries, points, targets, bandwidth, mesh):
        return grnn.predict(
            queries, points, targets, bandwidth, weight=weight, block=7, query_block=8, mesh=mesh
        )

    found, expected = f(queries, *there, 0.7, mesh), f(queries, points, targets, 0.7, None)
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    gradients = [
        jax.jit(jax.grad(lambda *a, m=m: (f(*a, m) ** 2).sum(), (0, 1, 2, 3)))(
            queries, *some, jnp.array(0.7)
        )
        for some, m in ((there, mesh), ((points, targets), None))
    ]
    for a, b in zip(*gradients, strict=True):
        assert jnp.abs(b).max() > 1e-3
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("inputs", [3, 30])
def test_memory_does_not_grow_with_what_is_stored(inputs):
    def used(n):
        shapes = ((100, inputs), (n, inputs), (n, 2))
        arguments = [jax.ShapeDtypeStruct(s, jnp.float32) for s in shapes]
        program = jax.jit(lambda *a: grnn.predict(*a, 0.5)).lower(*arguments).compile()
        return program.memory_analysis().temp_size_in_bytes

    assert used(1_000_003) < 1.05 * used(10_003) < 2**23


@pytest.mark.slow
def test_a_million_stored_samples(float32):
    k_points, k_queries = jax.random.split(jax.random.key(0))
    points = jax.random.uniform(k_points, (1_000_000, 30), jnp.float32)
    queries = jax.random.uniform(k_queries, (1000, 30), jnp.float32)
    targets = points[:, :2]
    found = grnn.predict(queries, points, targets, 0.3)
    some = naive(*(np.asarray(x, np.float64) for x in (queries[:3], points, targets)), 0.3)
    np.testing.assert_allclose(found[:3], some, atol=1e-5)
    mesh = Mesh(np.array(jax.devices()), ("memory",))
    split = grnn.predict(queries, points, targets, 0.3, mesh=mesh)
    np.testing.assert_allclose(split, found, atol=1e-5)


# ---- learned bandwidths


@pytest.fixture(scope="module")
def three():
    """Of three inputs the first two matter, in different units; the third is noise."""
    key = jax.random.split(jax.random.key(7), 2)
    points = jax.random.normal(key[0], (900, 3)) * jnp.array([[1.0, 4.0, 1.0]])
    targets = jnp.stack([jnp.sin(2 * points[:, 0]), 100 * jnp.cos(points[:, 1] / 4)], axis=1)
    noise = jnp.array([[0.1, 10.0]]) * jax.random.normal(key[1], targets.shape)
    return points, targets, targets + noise


BRIEFLY = {"steps": 80, "batch": 128}


@pytest.fixture(scope="module")
def fitted(three):
    points, _, noisy = three
    return grnn.fit_bandwidth(jax.random.key(0), points[:600], noisy[:600], **BRIEFLY)


def best_single(points, targets):
    grid = grnn.bandwidth_grid(points)
    found = grnn.leave_one_out(points, targets, grid)
    errors = ((found - targets[:, None]) ** 2 / jnp.var(targets, axis=0)[None, None]).mean((0, 2))
    return grid[jnp.argmin(errors)], errors.min()


@pytest.mark.slow
def test_learned_bandwidths_drop_what_does_not_matter(three, fitted):
    points, clean, noisy = three
    assert fitted.shape == (3,)
    assert fitted[2] > 8 * fitted[0] and 2 < fitted[1] / fitted[0] < 12
    single, error = best_single(points[:600], noisy[:600])
    learned = grnn.leave_one_out(points[:600], noisy[:600], fitted[None])[:, 0]
    scaled = (learned - noisy[:600]) ** 2 / jnp.var(noisy[:600], axis=0)[None]
    assert scaled.mean() < 0.7 * error
    for_new = [
        jnp.mean((grnn.predict(points[600:], points[:600], noisy[:600], s) - clean[600:]) ** 2, 0)
        for s in (fitted, single)
    ]
    assert jnp.sum(for_new[0] / clean.var(0)) < 0.7 * jnp.sum(for_new[1] / clean.var(0))


@pytest.mark.slow
def test_the_fit_is_deterministic_and_ignores_the_targets_units(three, fitted):
    points, _, noisy = (x[:600] for x in three)
    again = grnn.fit_bandwidth(
        jax.random.key(0), points, noisy * jnp.array([[1e3, 1e-3]]), **BRIEFLY
    )
    np.testing.assert_allclose(again, fitted, rtol=1e-4)
    same = grnn.fit_bandwidth(jax.random.key(0), points, noisy, **BRIEFLY)
    np.testing.assert_array_equal(same, fitted)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [0, 3])
def test_the_fit_is_never_worse_than_one_bandwidth(getkey, steps):
    # All inputs alike and a mad rate: descending can only harm.
    points = jax.random.normal(getkey(), (200, 3))
    targets = points.sum(1, keepdims=True) + jax.random.normal(getkey(), (200, 1))
    _, error = best_single(points, targets)
    s = grnn.fit_bandwidth(getkey(), points, targets, steps=steps, rate=30.0)
    found = grnn.leave_one_out(points, targets, s[None])[:, 0]
    assert jnp.mean((found - targets) ** 2) / jnp.var(targets) <= error * (1 + 1e-9)


@pytest.mark.slow
def test_the_fit_survives_twins_and_constant_inputs(float32):
    x = jnp.repeat(jnp.arange(10.0), 12)
    points = jnp.stack([x, jnp.ones_like(x)], axis=1)
    s = grnn.fit_bandwidth(jax.random.key(0), points, x[:, None] ** 2, steps=20)
    assert jnp.isfinite(s).all() and (s > 0).all()
    found = grnn.predict(points, points, x[:, None] ** 2, s)[:, 0]
    np.testing.assert_allclose(found, x**2, atol=1)


# ---- distributions


@pytest.mark.parametrize("inputs", [4, 9])
@pytest.mark.parametrize("block", [16, 1000])
def test_the_distribution_agrees_with_the_formula(memory, wide, getkey, inputs, block):
    points, targets = memory if inputs == 4 else wide
    queries = jax.random.normal(getkey(), (20, inputs))
    bandwidth = np.linspace(0.5, 2, inputs)
    found = grnn.predict_distribution(
        queries, points, targets, bandwidth, 0.8, block=block, query_block=8
    )
    weights, y = naive_weights(queries, points, bandwidth), np.asarray(targets)
    mean = weights @ y
    np.testing.assert_allclose(found.mean, mean, rtol=1e-9)
    second = np.einsum("qn,qnt->qt", weights, (y[None] - mean[:, None]) ** 2)
    np.testing.assert_allclose(found.deviation, np.sqrt(second), rtol=1e-9)
    np.testing.assert_allclose(found.effective, 1 / (weights**2).sum(1), rtol=1e-9)
    gaps = (np.asarray(queries)[:, None] - np.asarray(points)[None]) / bandwidth
    np.testing.assert_allclose(found.nearest, np.sqrt((gaps**2).sum(-1).min(1)), rtol=1e-9)
    for answer, level in ((found.lower, 0.1), (found.median, 0.5), (found.upper, 0.9)):
        np.testing.assert_array_equal(answer, naive_quantile(weights, y, level))


def heteroscedastic(key, n):
    k_x, k_y = jax.random.split(key)
    x = jax.random.uniform(k_x, (n, 1), minval=-2, maxval=2)
    return x, jnp.sin(2 * x) + (0.05 + 0.3 * jnp.abs(x)) * jax.random.normal(k_y, (n, 1))


def skewed(key, n):
    k_x, k_y = jax.random.split(key)
    x = jax.random.uniform(k_x, (n, 1), minval=-2, maxval=2)
    return x, x**2 + (1.1 + x / 2) * jax.random.exponential(k_y, (n, 1))


@pytest.fixture(scope="module")
def few_samples():
    """Of each kind: 1000 to store and 2000 to ask about, so that programs are compiled once."""
    kinds = {f.__name__: f for f in (heteroscedastic, skewed)}
    return {name: drawn(f, 1000, 2000) for name, f in kinds.items()}


def drawn(draw, stored, asked):
    every = (*draw(jax.random.key(1), stored), *draw(jax.random.key(2), asked))
    return [x.astype(jnp.float32) for x in every]


def misses(samples, bandwidth, coverage):
    """The parts of new targets below and above the calibrated interval."""
    points, targets, queries, truth = samples
    calibration = grnn.calibrate(points, targets, bandwidth, coverage=coverage)
    found = grnn.predict_distribution(queries, points, targets, bandwidth, calibration)
    assert jnp.all(found.lower <= found.upper)
    return float((truth < found.lower).mean()), float((truth > found.upper).mean())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["heteroscedastic", "skewed"])
def test_calibrated_intervals_cover_what_they_claim(few_samples, kind):
    for coverage in (0.68, 0.9, 0.95):
        low, high = misses(few_samples[kind], 0.1, coverage)
        # benchmarks/grnn_coverage.py: right within 0.01 over ten keys, scattering by up to 0.025.
        assert abs(1 - low - high - coverage) < 0.05
        # Both tails alike, skewed or not.
        assert abs(low - high) < 0.05


# A bandwidth about right, one that rests on few samples, and one that blurs everything.
@pytest.mark.slow
@pytest.mark.parametrize("bandwidth", [0.1, 0.004, 1.0])
@pytest.mark.parametrize("draw", [heteroscedastic, skewed])
def test_calibration_mends_any_bandwidth(draw, bandwidth):
    samples = drawn(draw, 4000, 8000)
    for coverage in (0.68, 0.9, 0.95):
        low, high = misses(samples, bandwidth, coverage)
        assert abs(1 - low - high - coverage) < 0.02
        assert abs(low - high) < 0.02


def test_raw_intervals_of_few_neighbours_cover_too_little(few_samples):
    points, targets, queries, truth = few_samples["skewed"]
    zero = jnp.zeros(1, jnp.float32)
    raw = grnn.Calibration(jnp.float32(0.9), zero, zero, zero)
    found = grnn.predict_distribution(queries, points, targets, 0.005, raw)
    assert 2 < jnp.median(found.effective) < 20
    inside = (truth >= found.lower) & (truth <= found.upper)
    assert inside.mean() < 0.85


def test_the_interval_follows_the_local_spread(few_samples):
    points, targets, queries, _ = few_samples["heteroscedastic"]
    calibration = grnn.calibrate(points, targets, 0.1, coverage=0.68)
    found = grnn.predict_distribution(queries, points, targets, 0.1, calibration)
    width, x = (found.upper - found.lower)[:, 0], jnp.abs(queries[:, 0])
    assert width[x > 1.5].mean() > 2.5 * width[x < 0.3].mean()
    spread = found.deviation[x > 1.5, 0].mean()
    np.testing.assert_allclose(spread, 0.05 + 0.3 * 1.75, rtol=0.1)


def test_calibration_is_leave_one_out_by_hand(memory):
    points, targets = (np.asarray(x[:60]) for x in memory)
    found = grnn.calibrate(memory[0][:60], memory[1][:60], 0.8, coverage=0.6, block=16)
    weights = naive_weights(points, points, 0.8)
    np.fill_diagonal(weights, 0)
    weights /= weights.sum(1, keepdims=True)
    mean = weights @ targets
    spread = np.sqrt(np.einsum("qn,qnt->qt", weights, (targets[None] - mean[:, None]) ** 2))
    floor = 0.1 * np.sqrt(((targets - mean) ** 2).mean(0))
    np.testing.assert_allclose(found.floor, floor, rtol=1e-8)
    local = np.hypot(spread, floor)
    rank = int(np.ceil(61 * 0.8)) - 1
    low = np.sort((naive_quantile(weights, targets, 0.2) - targets) / local, axis=0)[rank]
    high = np.sort((targets - naive_quantile(weights, targets, 0.8)) / local, axis=0)[rank]
    np.testing.assert_allclose(found.lower, low, rtol=1e-8)
    np.testing.assert_allclose(found.upper, high, rtol=1e-8)


def test_targets_without_any_error_give_an_interval_of_no_width(memory):
    points = memory[0]
    calibration = grnn.calibrate(points, jnp.ones((150, 1)), 0.5)
    found = grnn.predict_distribution(points, points, jnp.ones((150, 1)), 0.5, calibration)
    for end in (found.lower, found.upper):
        np.testing.assert_allclose(end, 1, atol=1e-9)


# ---- refusals


@pytest.mark.parametrize("bandwidth", [0, -1.0, np.array([1.0, 0.0, 1.0, 1.0]), np.nan], ids=str)
def test_bandwidths_that_are_not_positive_are_refused(memory, bandwidth):
    for f in (grnn.predict, grnn.predict_distribution):
        with pytest.raises(ValueError, match=r"bandwidth is .*; it must be positive"):
            f(memory[0], *memory, bandwidth)
    with pytest.raises(ValueError, match="it must be positive"):
        grnn.calibrate(*memory, bandwidth)


def test_shapes_that_do_not_match_are_refused(memory):
    points, targets = memory
    with pytest.raises(ValueError, match=r"bandwidth has shape \(3,\); give one number, or .* 4"):
        grnn.predict(points, points, targets, np.ones(3))
    # The annotations catch these two first while the tests check them; a user has no such luck.
    with pytest.raises(ValueError, match="150 points and 149 targets"):
        grnn._check(points, points, targets[1:], 1.0)
    with pytest.raises(ValueError, match="queries have 3 inputs and the stored points 4"):
        grnn._check(points[:, 1:], points, targets, 1.0)
    with pytest.raises(ValueError, match="1 samples; leaving one out takes at least 2"):
        grnn.fit_bandwidth(jax.random.key(0), points[:1], targets[:1])
    with pytest.raises(ValueError, match="1 samples; leaving one out takes at least 2"):
        grnn.calibrate(points[:1], targets[:1], 1.0)


@pytest.mark.parametrize("coverage", [0, 1.0, 90])
def test_coverages_outside_0_to_1_are_refused(memory, coverage):
    with pytest.raises(ValueError, match=f"coverage is {coverage}; give a part between 0 and 1"):
        grnn.predict_distribution(memory[0], *memory, 1.0, coverage)
    with pytest.raises(ValueError, match="give a part between 0 and 1"):
        grnn.calibrate(*memory, 1.0, coverage=coverage)


def test_meshes_that_do_not_fit_are_refused(memory):
    devices = np.array(jax.devices())
    with pytest.raises(ValueError, match="150 samples do not divide among 8 devices; pad"):
        grnn.predict(memory[0], *memory, 1.0, mesh=Mesh(devices, ("x",)))
    with pytest.raises(ValueError, match="stored samples are split along one"):
        grnn.predict(memory[0], *memory, 1.0, mesh=Mesh(devices.reshape(2, 4), ("x", "y")))
