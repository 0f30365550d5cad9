"""Smoothing and filling of sigma maps, against slow and obvious versions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from blurjax import sigma_map

RNG = np.random.default_rng(5)
SIGMA = RNG.uniform(0.3, 3, (13, 17))
GUIDE = RNG.uniform(size=(13, 17))
WEIGHT = RNG.uniform(size=(13, 17)) * (RNG.uniform(size=(13, 17)) > 0.3)


# ---- heat flow


def test_heat_flow_is_repeated_diffusion():
    slow = SIGMA.copy()
    for _ in range(7):
        slow = slow + 0.2 * scipy.ndimage.laplace(slow, mode="nearest")
    np.testing.assert_allclose(sigma_map.heat_flow(SIGMA, iterations=7, step=0.2), slow)
    np.testing.assert_allclose(sigma_map.heat_flow(SIGMA, iterations=0), SIGMA, atol=1e-12)


def test_heat_flow_is_nearly_a_gaussian_and_keeps_the_mean():
    spot = np.zeros((61, 61))
    spot[30, 30] = 1
    flowed = np.asarray(sigma_map.heat_flow(spot, iterations=50, step=0.25))
    variance = (flowed.sum(axis=0) * (np.arange(61) - 30) ** 2).sum()
    np.testing.assert_allclose(variance, 2 * 50 * 0.25, rtol=1e-3)
    np.testing.assert_allclose(flowed.sum(), 1)
    long = sigma_map.heat_flow(SIGMA, iterations=5000, step=0.25)
    np.testing.assert_allclose(long, SIGMA.mean(), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"iterations": 1, "step": 0.26}, "unstable"),
        ({"iterations": 1, "step": -0.1}, "unstable"),
        ({"iterations": -1}, "iterations"),
    ],
)
def test_heat_flow_refuses_what_is_unstable(options, message):
    with pytest.raises(ValueError, match=message):
        sigma_map.heat_flow(SIGMA, **options)


# ---- median


def test_median_keeps_steps_and_removes_specks():
    step = np.repeat([[1.0, 2.0]], [8, 9], axis=1) * np.ones((13, 1))
    specked = step.copy()
    specked[4, 4], specked[7, 12] = 9, 0
    np.testing.assert_array_equal(sigma_map.median(specked, size=3), step)
    stack = np.stack([specked, step]).astype(np.float32)
    both = sigma_map.median(stack, size=5)
    assert both.dtype == np.float32
    np.testing.assert_array_equal(both[0], sigma_map.median(stack[0], size=5))
    for wrong in ({"size": 4}, {"size": -1}):
        with pytest.raises(ValueError, match="odd"):
            sigma_map.median(step, **wrong)
    specked[0, 0] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        sigma_map.median(specked)


# ---- guided filter


def slow_guided(p, guide, radius, epsilon, weight):
    """He, Sun & Tang's equations 5, 6 and 8, window by window."""
    height, width = p.shape
    lines = np.zeros((height, width, 3))
    for i, j in np.ndindex(height, width):
        window = np.s_[max(i - radius, 0) : i + radius + 1, max(j - radius, 0) : j + radius + 1]
        w, g, x = weight[window], guide[window], p[window]
        if w.sum() > 0:
            mean_g, mean_x = np.average(g, weights=w), np.average(x, weights=w)
            covariance = np.average((g - mean_g) * (x - mean_x), weights=w)
            slope = covariance / (np.average((g - mean_g) ** 2, weights=w) + epsilon)
            lines[i, j] = slope, mean_x - slope * mean_g, w.mean()
    result = p.copy()
    for i, j in np.ndindex(height, width):
        window = np.s_[max(i - radius, 0) : i + radius + 1, max(j - radius, 0) : j + radius + 1]
        slope, offset, voice = np.moveaxis(lines[window], -1, 0)
        if voice.sum() > 0:
            result[i, j] = (voice * (slope * guide[i, j] + offset)).sum() / voice.sum()
    return result


@pytest.mark.parametrize("radius", [0, 1, 2, 4, 20])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
def test_guided_agrees_with_the_slow_version(radius, weight):
    slow = slow_guided(
        SIGMA, GUIDE, radius, 1e-2, np.ones_like(SIGMA) if weight is None else weight
    )
    found = sigma_map.guided(SIGMA, GUIDE, radius=radius, epsilon=1e-2, weight=weight)
    np.testing.assert_allclose(found, slow, rtol=1e-10)


def test_guided_smooths_but_not_across_an_edge_of_the_guide():
    step = np.repeat([[0.2, 0.8]], 20, axis=1) * np.ones((40, 1))
    truth = 1 + 2 * (step > 0.5)
    noisy = truth + 0.3 * np.random.default_rng(1).standard_normal(truth.shape)
    error = np.abs(np.asarray(sigma_map.guided(noisy, step)) - truth)
    assert error.mean() < 0.07 and error[:, 18:22].mean() < 0.1
    blurred = np.asarray(sigma_map.heat_flow(noisy, iterations=80, step=0.2))
    assert np.abs(blurred - truth)[:, 18:22].mean() > 0.5


def test_what_has_no_weight_is_not_heard():
    sigma, weight = SIGMA.copy(), np.zeros_like(SIGMA)
    weight[:, :5] = 3.0
    sigma[:, 5:] = np.nan
    sigma[:, -1] = 7.0
    found = np.asarray(sigma_map.guided(sigma, GUIDE, radius=2, weight=weight))
    assert np.all(np.isfinite(found[:, :9])) and np.all(np.isnan(found[:, 9:-1]))
    np.testing.assert_array_equal(found[:, -1], 7)
    gradient = jax.grad(
        lambda s: jnp.sum(sigma_map.guided(s, GUIDE, radius=2, weight=weight)[:, :9])
    )
    assert np.all(np.isfinite(gradient(jnp.asarray(sigma))))


def test_guided_survives_large_float32_images():
    shade = np.full((1000, 1500), 0.9, np.float32)
    noisy = np.float32(2) + np.zeros_like(shade)
    np.testing.assert_allclose(sigma_map.guided(noisy, shade, epsilon=1e-5), 2, atol=1e-3)


@pytest.mark.parametrize("options", [{"radius": -1}, {"epsilon": 0.0}, {"epsilon": float("nan")}])
def test_guided_refuses_impossible_numbers(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        sigma_map.guided(SIGMA, GUIDE, **options)


# ---- both, as JAX functions

FUNCTIONS = {
    "heat": lambda s: sigma_map.heat_flow(s, iterations=3, step=0.2),
    "guided": lambda s: sigma_map.guided(
        s, jnp.asarray(GUIDE, s.dtype), radius=3, weight=jnp.asarray(WEIGHT, s.dtype)
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS)
def test_jit_vmap_batches_gradients_and_dtypes(f):
    stack = jnp.asarray(np.stack([SIGMA, SIGMA[::-1], SIGMA**2]))
    each = jnp.stack([f(s) for s in stack])
    for several in (f(stack), jax.jit(f)(stack), jax.vmap(f)(stack)):
        np.testing.assert_allclose(several, each, rtol=1e-12)
    for dtype, tolerance in ((jnp.float32, 1e-4), (jnp.bfloat16, 2e-2)):
        found = f(stack.astype(dtype))
        assert found.dtype == dtype
        np.testing.assert_allclose(found.astype(float), each, rtol=tolerance)
    # Linear in sigma: the gradient tells every difference exactly.
    direction = jnp.asarray(GUIDE - 0.5)
    gradient = jax.grad(lambda s: jnp.sum(f(s) * direction))(stack[0])
    assert jnp.abs(gradient).max() > 1e-3
    np.testing.assert_allclose(
        jnp.sum(gradient * stack[1]), jnp.sum(f(stack[1]) * direction), rtol=1e-9
    )


def test_guided_has_gradients_in_guide_and_weight(check_derivatives):
    def f(a, b):
        guide = GUIDE + a * SIGMA
        return jnp.mean(sigma_map.guided(SIGMA, guide, radius=2, weight=WEIGHT + b * GUIDE) ** 2)

    check_derivatives(f, 0.3, 0.2, tolerance=1e-5)


# ---- fill


def two_regions(height=50, width=60):
    """A guide with a strong edge aslant, and sigma 1 and 3 measured in one spot of each side."""
    row, column = np.mgrid[:height, :width]
    right = column > width / 2 + 0.3 * (row - height / 2)
    guide = (0.3 + 0.4 * right + 0.005 * RNG.standard_normal(right.shape)).astype(np.float32)
    truth = np.where(right, 3, 1).astype(np.float32)
    valid = np.zeros(right.shape, bool)
    valid[height // 4 : height // 3, width // 8 : width // 5] = True
    valid[-height // 3 : -height // 4, -width // 5 : -width // 8] = True
    return guide, truth, valid


@pytest.mark.parametrize("shape", [(50, 60), (430, 517)], ids=["whole", "reduced"])
def test_fill_follows_the_edge_and_keeps_what_is_known(shape):
    guide, truth, valid = two_regions(*shape)
    sigma = np.where(valid, truth + 0.1 * RNG.standard_normal(shape), np.nan).astype(np.float32)
    spread = np.where(valid, 0.1, np.nan).astype(np.float32)
    filled = sigma_map.fill(sigma, spread, valid, guide)
    assert filled.dtype == np.float32 and np.all(np.isfinite(filled))
    np.testing.assert_array_equal(filled[valid], sigma[valid])
    error = np.abs(filled - truth)[~valid]
    assert np.mean(error > 0.5) < 0.005 and error.mean() < 0.1
    assert np.nanmin(sigma) <= filled.min() and filled.max() <= np.nanmax(sigma)


def test_fill_trusts_the_surer():
    row = np.ones((1, 5))
    valid = np.array([[True, False, False, False, True]])
    sigma, spread = np.array([[1.0, 0, 0, 0, 3.0]]), np.array([[0.05, 1, 1, 1, 3.0]])
    filled = sigma_map.fill(sigma, spread, valid, 0.5 * row)
    assert filled[0, 1:4].max() < 1.7 and np.all(np.diff(filled[0]) > 0)


def test_fill_refuses_what_it_cannot_fill_from():
    one, nothing = np.ones((4, 5)), np.zeros((4, 5), bool)
    with pytest.raises(ValueError, match="nothing to fill from; raise"):
        sigma_map.fill(one, one, nothing, one)
    with pytest.raises(ValueError, match="not finite"):
        sigma_map.fill(one * np.nan, one, ~nothing, one)
    with pytest.raises(ValueError, match="one shape"):
        sigma_map.fill(one, one, ~nothing, np.ones((5, 4)))
    with pytest.raises(ValueError, match="above 0"):
        sigma_map.fill(one, one, ~nothing, one, smoothness=0.0)
