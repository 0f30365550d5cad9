"""Tiles equal the whole, whatever the shape."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import data, imaging, psf
from blurjax.deconvolution._result import Deconvolution
from blurjax.deconvolution._richardson_lucy import richardson_lucy
from blurjax.deconvolution._splitting import hyper_laplacian, total_variation
from blurjax.deconvolution._tiles import _spread, in_tiles
from blurjax.deconvolution._wiener import wiener

KERNEL = psf.motion(6.0, 0.5, size=9)
SMOOTH = psf.gaussian(1.2, size=9)


def observed(shape, kernel=KERNEL, seed=0):
    image = data.dead_leaves(jax.random.key(seed), size=max(shape)).astype(jnp.float32)
    blurred = imaging.blur(image[: shape[0], : shape[1]], kernel)
    noise = 0.005 * jax.random.normal(jax.random.key(seed + 1), blurred.shape, jnp.float32)
    return blurred + noise


@pytest.mark.parametrize("side", [64, 65, 100, 128, 1000])
@pytest.mark.parametrize(("tile", "overlap"), [(64, 32), (64, 0), (64, 63), (48, 30)])
def test_the_windows_are_a_partition_of_unity(side, tile, overlap):
    total = np.zeros(side)
    covers = [(start, start + len(profile)) for start, profile in _spread(side, tile, overlap)]
    for start, profile in _spread(side, tile, overlap):
        assert len(profile) == min(side, tile) and (profile >= 0).all()
        total[start : start + len(profile)] += profile
    np.testing.assert_allclose(total, 1, rtol=1e-12)
    for (_, end), (start, _) in itertools.pairwise(covers):
        assert end - start >= overlap


@pytest.mark.parametrize(
    ("solve", "kernel", "tolerance"),
    [
        (wiener, KERNEL, 5e-3),
        (wiener, SMOOTH, 1e-5),
        (functools.partial(richardson_lucy, steps=10, accelerate=False), KERNEL, 1e-5),
        (total_variation, KERNEL, 5e-3),
        (total_variation, SMOOTH, 1e-5),
        (hyper_laplacian, KERNEL, 5e-3),
        (hyper_laplacian, SMOOTH, 5e-4),
    ],
)
def test_tiles_equal_the_whole(solve, kernel, tolerance):
    y = observed((150, 200), kernel)
    whole = solve(y, kernel)
    shapes, seen = set(), []

    def watched(part, kernel):
        shapes.add(part.shape)
        return solve(part, kernel)

    tiled = in_tiles(
        watched, y, kernel, tile=112, progress=lambda done, total: seen.append((done, total))
    )
    assert shapes == {(112, 112)}
    assert seen == [(i + 1, 6) for i in range(6)]
    error = tiled.value - whole.value
    # At the border of the image neither knows what lies beyond it, and they guess differently.
    assert jnp.sqrt(jnp.mean(error**2)) < 2e-2
    assert jnp.sqrt(jnp.mean(error[18:-18, 18:-18] ** 2)) < tolerance
    assert tiled.value.dtype == y.dtype and tiled.value.shape == y.shape
    assert tiled.num_steps == whole.num_steps
    np.testing.assert_allclose(tiled.residual, whole.residual, rtol=0.1)


def test_a_small_image_goes_through_whole():
    y = observed((50, 60))
    calls = []

    def solve(part, kernel):
        calls.append(part.shape)
        return wiener(part, kernel)

    tiled = in_tiles(solve, y, KERNEL)
    np.testing.assert_allclose(tiled.value, wiener(y, KERNEL).value, atol=1e-6)
    assert calls == [(50, 60)] and isinstance(tiled, Deconvolution)
    in_tiles(solve, jnp.concatenate([y, y, y], 1), KERNEL, tile=80)
    assert set(calls[1:]) == {(50, 80)}


@pytest.mark.slow
def test_colours_batches_arrays_and_dtypes():
    y = jnp.stack([observed((90, 100), seed=seed) for seed in range(3)], -1)

    def solve(part, kernel):
        return wiener(part, kernel, channel_axis=-1)

    colour = in_tiles(solve, y, KERNEL, tile=64, channel_axis=-1)
    gray = in_tiles(wiener, y[..., 1], KERNEL, tile=64)
    np.testing.assert_allclose(colour.value[..., 1], gray.value, atol=1e-6)
    np.testing.assert_allclose(colour.residual[1], gray.residual, rtol=1e-5)
    kernels = jnp.stack([KERNEL, jnp.flip(KERNEL, 0)])
    both = in_tiles(lambda y, k: wiener(y, k).value, y[..., 1], kernels, tile=64)
    assert both.shape == (2, 90, 100)
    np.testing.assert_allclose(both[0], gray.value, atol=1e-6)
    half = in_tiles(wiener, np.asarray(y[..., 0]).astype(np.float16), KERNEL, tile=64)
    assert half.value.dtype == jnp.float16


def test_what_is_refused():
    y = jnp.ones((50, 60), jnp.float32)
    with pytest.raises(ValueError, match="overlap=40"):
        in_tiles(wiener, y, KERNEL, tile=40, overlap=40)
    with pytest.raises(ValueError, match="tile=0"):
        in_tiles(wiener, y, KERNEL, tile=0)
    with pytest.raises(ValueError, match="must keep the image axes"):
        in_tiles(lambda part, kernel: part[1:], y, KERNEL)
    with pytest.raises(TypeError, match="floating point"):
        in_tiles(wiener, np.ones((50, 60), np.uint8), KERNEL)
