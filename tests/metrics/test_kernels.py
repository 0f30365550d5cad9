import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from blurjax import metrics, psf

RNG = np.random.default_rng(8)


def brute_force(a, b):
    full = scipy.signal.correlate2d(a, b)
    return full.max() / np.sqrt((a**2).sum() * (b**2).sum())


@pytest.mark.parametrize("sizes", [(5, 5), (5, 9), (9, 3), (1, 7)])
def test_it_is_the_largest_correlation_over_all_shifts(sizes):
    a, b = (RNG.uniform(size=(4, n, n)) ** 4 for n in sizes)
    expected = [brute_force(x, y) for x, y in zip(a, b, strict=True)]
    found = jax.jit(metrics.kernel_similarity)(jnp.asarray(a), jnp.asarray(b))
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    crossed = metrics.kernel_similarity(jnp.asarray(a)[:, None], jnp.asarray(b))
    assert crossed.shape == (4, 4)
    np.testing.assert_allclose(np.diag(crossed), expected, rtol=1e-12)
    np.testing.assert_allclose(crossed[2, 1], brute_force(a[2], b[1]), rtol=1e-12)


def test_a_shift_a_factor_and_a_frame_change_nothing():
    kernel = jnp.pad(jnp.asarray(RNG.uniform(size=(4, 4))), (0, 5))
    for other in (kernel, 3 * jnp.roll(kernel, (2, 4), (0, 1)), jnp.pad(kernel, 3)):
        np.testing.assert_allclose(metrics.kernel_similarity(kernel, other), 1, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_kernel_of_zeros_resembles_nothing_and_breaks_no_gradient(dtype):
    nothing, kernel = jnp.zeros((5, 5), dtype), jnp.full((5, 5), 0.04, dtype)
    for pair in ((nothing, kernel), (kernel, nothing), (nothing, nothing)):
        value, gradient = jax.value_and_grad(metrics.kernel_similarity, (0, 1))(*pair)
        assert value == 0 and value.dtype == dtype
        assert all(jnp.isfinite(g).all() for g in gradient)
    close = metrics.kernel_similarity(kernel, kernel)
    np.testing.assert_allclose(close, 1, rtol=1e-2 if dtype == jnp.bfloat16 else 1e-6)


def test_its_gradient_is_exact(check_derivatives):
    a, b, change = (jnp.asarray(RNG.uniform(size=(5, 5)) ** 3) for _ in range(3))

    def along(t):
        return metrics.kernel_similarity(a + t * change, b)

    check_derivatives(along, jnp.asarray(0.3), tolerance=1e-7)


def test_trajectories_are_as_alike_as_was_measured():
    # Loosely: the means that the docstring names.
    paths = psf.sample_trajectory(jax.random.key(0), shape=(25,), num_samples=400, extent=25.0)
    kernels = psf.trajectory(paths, size=25)
    unrelated = metrics.kernel_similarity(kernels[1:], kernels[:-1])
    assert 0.2 < unrelated.mean() < 0.5 and unrelated.max() < 0.75
    smooth = jnp.asarray(
        scipy.ndimage.gaussian_filter(np.pad(kernels, [(0, 0), (4, 4), (4, 4)]), (0, 1, 1))
    )
    assert abs(metrics.kernel_similarity(kernels, smooth).mean() - 0.84) < 0.06


def test_one_axis_is_no_kernel():
    with pytest.raises(ValueError, match="last two axes"):
        metrics.kernel_similarity(jnp.zeros(3), jnp.zeros((3, 3)))
