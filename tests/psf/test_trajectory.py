"""Kernels of paths, random paths and the extent of kernels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import psf
from blurjax.psf import _trajectory

# Few points and few shapes: what is compiled once serves many tests.
SAMPLES = 200
EXTENTS = np.array([3, 4, 5, 8, 15, 32, 47])


def splatted(points, weights, size):
    """The definition, point by point."""
    kernel = np.zeros((size + 4, size + 4))
    for (row, column), weight in zip(np.asarray(points) + size // 2 + 2, weights, strict=True):
        i, j = int(np.floor(row)), int(np.floor(column))
        for u, v in ((i, j), (i, j + 1), (i + 1, j), (i + 1, j + 1)):
            if 0 <= u < size + 4 and 0 <= v < size + 4:
                kernel[u, v] += weight * (1 - abs(row - u)) * (1 - abs(column - v))
    kernel = kernel[2:-2, 2:-2]
    return kernel / kernel.sum()


def by_key(seed, **options):
    return psf.sample_trajectory(jax.random.key(seed), num_samples=SAMPLES, **options)


def test_every_point_is_splatted_bilinearly():
    random = np.random.default_rng(0)
    points, weights = random.uniform(-3, 3, (2, 40, 2)), random.uniform(0, 1, (40,))
    points[0, :3] = [[-3, 3], [0, 0], [2.5, -3]]
    kernels = psf.trajectory(jnp.asarray(points), size=7)
    weighted = psf.trajectory(jnp.asarray(points), size=7, weights=jnp.asarray(weights))
    for path, kernel, other in zip(points, kernels, weighted, strict=True):
        np.testing.assert_allclose(kernel, splatted(path, np.ones(40), 7), atol=1e-14)
        np.testing.assert_allclose(other, splatted(path, weights, 7), atol=1e-14)


def test_a_straight_path_is_linear_motion():
    # Rows point down, angles turn counter-clockwise: a path up and to the right.
    t = (np.arange(4000) + 0.5) / 4000 - 0.5
    points = jnp.asarray(8 * np.outer(t, [-np.sin(0.6), np.cos(0.6)]))
    np.testing.assert_allclose(
        psf.trajectory(points, size=11), psf.motion(8.0, 0.6, size=11), atol=1e-5
    )


def test_points_outside_lose_their_weight():
    points = jnp.array([[0.0, 0.0], [0.0, 1.5], [-30.0, 1e9], [2.0, 0.0]])
    with pytest.warns(UserWarning, match=r"size 3 cuts off 62.50% .*size 2000000001 holds all"):
        kernel = psf.trajectory(points, size=3)
    np.testing.assert_allclose(kernel, np.array([[0, 0, 0], [0, 2, 1], [0, 0, 0]]) / 3, atol=1e-15)
    with pytest.warns(UserWarning, match="size 3"):
        np.testing.assert_array_equal(psf.trajectory(points[2:], size=3), np.zeros((3, 3)))
    gradient = jax.jit(jax.grad(lambda p: psf.trajectory(p, size=3)[1, 1]))(points[2:])
    np.testing.assert_array_equal(gradient, 0)


def weighted(row, column, weight):
    points = jnp.stack([jnp.stack([row, column]), jnp.array([-0.6, 0.2])])
    return psf.trajectory(points, size=3, weights=jnp.stack([weight, 1.0]))


# The last one lies partly outside.
@pytest.mark.parametrize("values", [(0.3, -0.8, 1.0), (-0.4, 1.3, 0.5)])
def test_gradients_of_points_and_weights(check_derivatives, values):
    check_derivatives(weighted, *map(jnp.array, values))


def test_at_whole_numbers_the_derivative_is_the_right_hand_one():
    def kernel(row):
        return psf.trajectory(jnp.stack([row, 0 * row])[None], size=5)[:, 2]

    f, forward, reverse = (jax.jit(g) for g in (kernel, jax.jacfwd(kernel), jax.jacrev(kernel)))
    for row in (-1.0, 0.0, 1.0):
        ahead = (f(row + 1e-6) - f(row)) / 1e-6
        np.testing.assert_allclose(forward(row), ahead, atol=1e-8)
        np.testing.assert_allclose(reverse(row), ahead, atol=1e-8)
        assert np.abs(ahead).max() > 0.9


def test_transformations():
    points = jnp.asarray(np.random.default_rng(0).uniform(-4, 4, (8, SAMPLES, 2)))

    def one(points):
        return psf.trajectory(points, size=11)

    plain = one(points)
    assert plain.dtype == jnp.float64 and plain.shape == (8, 11, 11)
    for transformed in (jax.jit(jax.vmap(one)), jax.pmap(one)):
        np.testing.assert_allclose(transformed(points), plain, atol=1e-13)
    for dtype, tolerance in ((jnp.float32, 1e-6), (jnp.bfloat16, 1e-3)):
        kernels = one(points.astype(dtype))
        assert kernels.dtype == dtype
        exact = one(points.astype(dtype).astype(float))
        # Also in bfloat16, whose sums of many small shares would stall.
        np.testing.assert_allclose(kernels.astype(float), exact, atol=tolerance * 0.1, rtol=0.005)


def test_weights_broadcast_and_errors():
    points = jnp.zeros((3, 4, 2)).at[:, 2:].set(1.0)
    kernels = psf.trajectory(points, size=3, weights=np.array([1, 1, 0, 0]))
    assert kernels.shape == (3, 3, 3) and jnp.all(kernels[:, 1, 1] == 1)
    with pytest.raises(ValueError, match="size is 4"):
        psf.trajectory(points, size=4)
    with pytest.raises(ValueError, match="some points are NaN"):
        psf.trajectory(jnp.full((4, 2), jnp.nan), size=3)
    with pytest.raises(ValueError, match=r"down to -1.0; .*give 0 or more"):
        psf.trajectory(points, size=3, weights=np.array([1, 1, -1.0, 0]))


def walked(normals, uniforms, start, *, anxiety, centripetal, gaussian, big_shake, length):
    """Boracchi and Foi's recursion in complex numbers, columns real and rows imaginary."""
    step = length / len(uniforms)
    v, x, path = anxiety * np.exp(1j * start), 0j, [0j]
    for (row, column), u in zip(normals, uniforms, strict=True):
        push = 0
        if u < big_shake * anxiety:
            push = 2 * v * np.exp(1j * (np.pi + u / (big_shake * anxiety) - 0.5))
        v += push + anxiety * (gaussian * (column + 1j * row) - centripetal * x) * step
        v *= step / abs(v)
        x += v
        path.append(x)
    return np.stack([np.imag(path), np.real(path)], axis=-1)


def test_the_walk_is_that_of_the_paper():
    values = {"anxiety": 0.09, "centripetal": 0.6, "gaussian": 8.0, "big_shake": 0.5}
    random = np.random.default_rng(0)
    uniform, normal = random.random(SAMPLES + 4), random.standard_normal((2, SAMPLES - 1))
    assert np.sum(uniform[5:] < 0.045) > 3, "no big shake: not everything was checked"
    constants = _trajectory._Constants(
        path_length=jnp.array(20.0), exposure=jnp.array(1.0), **jax.tree.map(jnp.array, values)
    )
    walk = jax.jit(_trajectory._walk, static_argnames=("num_samples", "calm"))
    points = walk(jnp.array(uniform), jnp.array(normal), constants, num_samples=SAMPLES, calm=False)
    expected = walked(normal.T, uniform[5:], 2 * np.pi * uniform[0], length=20.0, **values)
    np.testing.assert_allclose(points, expected, atol=1e-10)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    np.testing.assert_allclose(steps, 20 / (SAMPLES - 1), rtol=1e-12)


def test_the_published_constants_give_the_measured_sizes():
    points = psf.sample_trajectory(jax.random.key(0), shape=(600,))
    size = np.max(np.ptp(np.asarray(points), axis=1), axis=1)
    measured = np.percentile(size, [5, 25, 50, 75, 95])
    # An independent implementation, 2000 draws; their sampling errors and ours.
    np.testing.assert_allclose(measured[:4], [2.8, 4.2, 5.9, 9.1], rtol=0.12)
    np.testing.assert_allclose(measured[4], 21, rtol=0.25)


def test_paths_without_anxiety_are_straight_lines():
    points = np.asarray(by_key(1, anxiety=0.0, path_length=12.0, centre="start"))
    chord = np.linalg.norm(points[-1] - points[0])
    np.testing.assert_allclose(chord, 12, rtol=1e-12)
    np.testing.assert_array_equal(points[0], 0)
    half = np.asarray(by_key(1, anxiety=0.0, path_length=12.0, centre="start", exposure=0.25))
    np.testing.assert_allclose(half, points / 4, atol=1e-12)
    still = by_key(1, anxiety=0.0, path_length=0.0, centre="start")
    np.testing.assert_array_equal(still, 0)
    np.testing.assert_array_equal(by_key(1, path_length=0.0, extent=9.0), 0)


def test_exposure_shows_the_beginning():
    whole = np.asarray(by_key(2, anxiety=0.05, centre="start"))
    part = np.asarray(by_key(2, anxiety=0.05, centre="start", exposure=0.5))
    np.testing.assert_allclose(part[::2], whole[: SAMPLES // 2], atol=1e-12)


@pytest.fixture(scope="module")
def labelled():
    """Paths for each of the extents; more than are drawn at a time, and not a multiple of it."""
    return by_key(0, shape=(19, 7), extent=EXTENTS)


def test_the_extent_is_exact_in_the_longer_axis(labelled):
    low, high = np.min(labelled, axis=-2), np.max(labelled, axis=-2)
    span = np.asarray(high - low)
    np.testing.assert_allclose(span.max(-1), np.broadcast_to(EXTENTS - 1, (19, 7)), rtol=2e-6)
    assert (span.max(-1) / span.min(-1)).max() < 4 + 1e-9
    # Neither axis is always the longer one.
    longer = span.argmax(-1)
    assert 0.3 < longer.mean() < 0.7
    # Odd and even alike end on pixel centres: the next odd size holds everything.
    half = EXTENTS // 2
    assert np.all(np.abs(labelled).max((-1, -2)) <= half.astype(float))
    label = psf.extent(psf.trajectory(labelled, size=49))
    label = np.take_along_axis(np.asarray(label), longer[..., None], -1)[..., 0]
    assert (label == EXTENTS).mean() >= 0.98, label


@pytest.mark.parametrize("axis", [0, 1])
def test_the_extent_can_be_of_either_axis(labelled, axis):
    path = np.asarray(by_key(0, shape=(19, 7), extent=EXTENTS, axis=axis))
    span = np.ptp(path, axis=-2)
    np.testing.assert_allclose(span[..., axis], np.broadcast_to(EXTENTS - 1, (19, 7)), rtol=2e-6)
    # The same paths, scaled: the other axis may be the longer.
    assert (span[..., 1 - axis] / span[..., axis]).max() > 1.5
    before = np.ptp(np.asarray(labelled), axis=-2)
    np.testing.assert_allclose(
        span[..., 0] / span[..., 1], before[..., 0] / before[..., 1], rtol=1e-9
    )
    with pytest.raises(ValueError, match="axis is 2"):
        psf.sample_trajectory(jax.random.key(0), extent=9.0, axis=2)


def test_a_path_does_not_depend_on_its_batch(labelled):
    np.testing.assert_allclose(by_key(0, extent=3.0), labelled[0, 0], atol=1e-9)
    assert np.abs(labelled[0, 6] - labelled[18, 6]).max() > 1


def test_centres():
    box = np.asarray(by_key(0, extent=21.0))
    np.testing.assert_allclose(box.max(0) + box.min(0), 0, atol=1e-12)
    even = np.asarray(by_key(0, extent=20.0))
    np.testing.assert_allclose(np.sort(even.max(0) + even.min(0)), [-1, 0], atol=2e-5)
    centroid = np.asarray(by_key(0, extent=21.0, centre="centroid"))
    np.testing.assert_allclose(centroid.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(centroid - centroid[0], box - box[0], atol=1e-12)


@pytest.mark.slow
def test_sampling_under_transformations(float32):
    keys, extents = jax.random.split(jax.random.key(0), 8), jnp.linspace(5, 12, 8)

    def one(key, extent):
        return psf.sample_trajectory(key, num_samples=SAMPLES, extent=extent)

    # Rounding errors grow along a path: in float32 to a thousandth of a pixel.
    mapped = jax.jit(jax.vmap(one))(keys, extents)
    assert mapped.dtype == jnp.float32
    np.testing.assert_allclose(one(keys[3], extents[3]), mapped[3], atol=1e-2)
    np.testing.assert_allclose(jax.pmap(one)(keys, extents), mapped, atol=1e-2)
    assert by_key(0, extent=jnp.bfloat16(9)).dtype == jnp.float32


def test_gradients_of_path_length_exposure_and_extent():
    def size(path_length, exposure, extent):
        path = by_key(4, anxiety=0.02, path_length=path_length, exposure=exposure, extent=extent)
        return jnp.mean(path**2)

    values = (30.0, 0.7123, 9.3)
    f = jax.jit(jax.value_and_grad(size, (0, 1, 2)))
    for i, derivative in enumerate(f(*values)[1]):
        ahead, behind = ([v + s * 1e-6 * (i == j) for j, v in enumerate(values)] for s in (1, -1))
        np.testing.assert_allclose(derivative, (f(*ahead)[0] - f(*behind)[0]) / 2e-6, rtol=1e-5)
        assert abs(derivative) > 1e-3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 1}, "num_samples is 1; .*2 points"),
        ({"centre": "middle"}, "centre is 'middle'; choose one of 'box'"),
        ({"extent": 0.5}, "extent is 0.5; .*1 or more"),
        ({"exposure": 1.5}, "exposure is 1.5; .*at most 1"),
        ({"anxiety": -0.1}, "anxiety is -0.1; .*0 or more"),
        ({"gaussian": np.ones(3), "shape": (2,)}, r"gaussian has shape \(3,\), .*shape=\(2,\)"),
    ],
)
def test_errors_of_sampling(options, message):
    with pytest.raises(ValueError, match=message):
        psf.sample_trajectory(jax.random.key(0), **options)


def test_extent_counts_from_the_first_to_the_last_bright_pixel():
    kernel = jnp.zeros((2, 7, 7)).at[0, 1, 2].set(1.0).at[0, 4, 3].set(0.5).at[0, 6, 6].set(0.009)
    np.testing.assert_array_equal(psf.extent(kernel), [[4, 2], [0, 0]])
    np.testing.assert_array_equal(psf.extent(kernel, fraction=0.0)[0], [6, 5])
    np.testing.assert_array_equal(psf.extent(kernel, fraction=0.5)[0], [1, 1])
    np.testing.assert_array_equal(jax.jit(jax.vmap(psf.extent))(kernel), psf.extent(kernel))
    for bad in (-0.1, 1.0):
        with pytest.raises(ValueError, match=f"fraction is {bad}"):
            psf.extent(kernel, fraction=bad)


def test_extent_of_known_kernels():
    np.testing.assert_array_equal(psf.extent(psf.motion(12.0, jnp.pi / 2, size=15)), [13, 1])
