"""The small pieces of a kernel against scipy's labels."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage

from blurjax.deconvolution._components import drop_small_components

ANY_NEIGHBOUR = np.ones((3, 3))
_drop = jax.jit(drop_small_components, static_argnums=1)


def drop(kernel, least):
    return _drop(jnp.asarray(kernel), least)


def by_scipy(kernel, least):
    labels, count = ndimage.label(kernel > 0, ANY_NEIGHBOUR)
    masses = ndimage.sum_labels(kernel, labels, range(1, count + 1))
    kept = [i + 1 for i, mass in enumerate(masses) if mass >= min(least, max(masses))]
    return np.where(np.isin(labels, kept), kernel, 0)


def spiral(size):
    """One path of one pixel's width from the border to the middle, and its length."""
    kernel = np.zeros((size, size))
    row, column, step = 0, -1, (0, 1)
    for run in [size, *(n for n in range(size - 1, 0, -2) for _ in (0, 1))]:
        for _ in range(run):
            row, column = row + step[0], column + step[1]
            kernel[row, column] = 1
        step = (step[1], -step[0])
    return kernel


@pytest.mark.parametrize("share", [0.15, 0.3, 0.45])
@pytest.mark.parametrize("least", [0.0, 0.02, 0.1, 2.0])
def test_against_scipy(share, least):
    rng = np.random.default_rng(0)
    for _ in range(10):
        kernel = rng.uniform(size=(11, 11)) * (rng.uniform(size=(11, 11)) < share)
        kernel /= kernel.sum()
        np.testing.assert_array_equal(drop(kernel, least), by_scipy(kernel, least))


def test_a_long_way_round_is_one_piece():
    kernel = spiral(19)
    assert ndimage.label(kernel, ANY_NEIGHBOUR)[1] == 1
    kernel /= kernel.sum()
    np.testing.assert_array_equal(drop(kernel, 0.5), kernel)
    # Cut in two: the outer arm is the heavier, and a quarter too little for the inner one.
    kernel[0, 0] = kernel[9, 0] = 0
    kept = by_scipy(kernel, 0.9)
    assert 0 < (kept > 0).sum() < (kernel > 0).sum()
    np.testing.assert_array_equal(drop(kernel, 0.9), kept)


def test_corners_touch():
    diagonal = np.diag(np.full(7, 1 / 7))
    np.testing.assert_array_equal(drop(diagonal, 0.5), diagonal)


def test_the_heaviest_piece_stays_whatever_is_asked():
    kernel = np.zeros((5, 5))
    kernel[0, 0], kernel[4, 4] = 0.4, 0.6
    np.testing.assert_array_equal(drop(kernel, 0.7), np.where(kernel == 0.6, kernel, 0))
    # Equally heavy ones stay together: nothing tells which is noise.
    kernel[0, 0] = 0.6
    np.testing.assert_array_equal(drop(kernel, 0.7), kernel)


@pytest.mark.parametrize("value", [0.0, 1.0], ids=["empty", "full"])
def test_nothing_and_everything(value):
    kernel = np.full((5, 5), value)
    np.testing.assert_array_equal(drop(kernel, 0.1), kernel)


def test_each_of_several_kernels_for_itself():
    rng = np.random.default_rng(1)
    kernels = rng.uniform(size=(6, 9, 9)) * (rng.uniform(size=(6, 9, 9)) < 0.3)
    mapped = jax.vmap(lambda kernel: drop_small_components(kernel, 0.5))(jnp.asarray(kernels))
    for kernel, kept in zip(kernels, mapped, strict=True):
        np.testing.assert_array_equal(kept, by_scipy(kernel, 0.5))


def test_the_gradient_is_1_where_kept_and_0_where_dropped():
    kernel = np.zeros((5, 5))
    kernel[1, 1:4] = 0.3
    kernel[4, 4] = 0.1
    slope = jax.grad(lambda k: drop_small_components(k, 0.2).sum())(jnp.asarray(kernel))
    np.testing.assert_array_equal(slope, np.where(kernel == 0.3, 1, 0))
