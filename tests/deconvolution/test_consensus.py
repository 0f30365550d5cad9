"""The mean of several estimates of one kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import metrics, psf
from blurjax.deconvolution import consensus


@pytest.fixture
def kernel(getkey):
    points = psf.sample_trajectory(getkey(), num_samples=400, extent=11.0)
    return psf.trajectory(points, size=21)


def test_displaced_copies_are_put_over_each_other(kernel):
    copies = jnp.stack([jnp.roll(kernel, shift, (0, 1)) for shift in ((0, 0), (2, -3), (-4, 1))])
    found = consensus(copies)
    np.testing.assert_allclose(found.weights, 1 / 3, atol=1e-9)
    np.testing.assert_allclose(found.agreement, 1, atol=1e-9)
    assert min(np.abs(found.kernel - copy).max() for copy in copies) < 1e-12


def test_what_differs_hardly_counts(kernel, getkey):
    wrong = psf.motion(15.0, 1.0, size=21).astype(kernel.dtype)
    noisy = [
        jnp.maximum(kernel + 0.01 * jax.random.normal(getkey(), kernel.shape), 0) for _ in range(4)
    ]
    noisy = [x / x.sum() for x in noisy]
    found = consensus(jnp.stack([*noisy, wrong]))
    assert found.weights[-1] < 0.02 and np.argmin(found.agreement) == 4
    # The mean of four is better than each.
    assert metrics.kernel_similarity(found.kernel, kernel) > max(
        float(metrics.kernel_similarity(x, kernel)) for x in noisy
    )


def test_a_single_one_is_itself(kernel):
    found = consensus(kernel[None])
    np.testing.assert_allclose(found.kernel, kernel, atol=1e-12)
    assert found.agreement.tolist() == found.weights.tolist() == [1]


def test_nothing_remains_nothing():
    found = consensus(jnp.zeros((3, 5, 5)))
    assert np.isfinite(found.kernel).all() and np.isfinite(found.weights).all()


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64, jnp.bfloat16])
def test_the_dtype_stays(kernel, dtype):
    found = jax.jit(consensus)(jnp.stack([kernel, kernel[::-1]]).astype(dtype))
    assert {x.dtype for x in found} == {jnp.dtype(dtype)}


def test_sum_is_one_and_batches_are_single_ones(kernel, getkey):
    groups = jax.random.uniform(getkey(), (2, 3, 9, 9))
    groups = groups / groups.sum((-2, -1), keepdims=True)
    together = jax.vmap(consensus)(groups)
    np.testing.assert_allclose(together.kernel.sum((-2, -1)), 1, atol=1e-9)
    for i in (0, 1):
        np.testing.assert_allclose(together.kernel[i], consensus(groups[i]).kernel, atol=1e-12)


@pytest.mark.slow
def test_gradients_are_those_of_weighted_sums(kernel, getkey):
    # No two alike: where the central one is another the mean jumps.
    noise = 0.02 * jax.random.uniform(getkey(), (3, *kernel.shape))
    kernels = jnp.stack([kernel, jnp.roll(kernel, 2, 0), kernel[::-1]]) + noise
    target = jax.random.uniform(getkey(), kernel.shape)
    along = jax.random.normal(getkey(), kernels.shape) * 1e-3

    def value(t):
        return jnp.sum(consensus(kernels + t * along).kernel * target)

    slope = jax.grad(value)(0.0)
    np.testing.assert_allclose(slope, (value(1e-5) - value(-1e-5)) / 2e-5, rtol=1e-5)
    assert abs(slope) > 1e-8


def test_one_kernel_without_an_axis_is_refused(kernel):
    with pytest.raises(ValueError, match=r"shape \(21, 21\)"):
        consensus(kernel)
