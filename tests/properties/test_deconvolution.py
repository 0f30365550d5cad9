"""Undoing blur, over images, kernels, weights and masks."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blurjax import deconvolution, psf
from tests.properties.common import (
    KINDS,
    SEEDS,
    close,
    dear,
    finite,
    magnitudes,
    picture,
    pictures,
    refused,
    same_batched,
)

SOLVERS = {
    "wiener": deconvolution.wiener,
    "wiener, white": functools.partial(deconvolution.wiener, prior="white"),
    "wiener, estimated": lambda x, k: deconvolution.wiener(x, k, weight=None),
    "richardson_lucy": functools.partial(deconvolution.richardson_lucy, steps=3),
    "richardson_lucy, accelerated": functools.partial(
        deconvolution.richardson_lucy, steps=3, accelerate=True
    ),
    "richardson_lucy, stopped": functools.partial(
        deconvolution.richardson_lucy, steps=3, noise=0.01
    ),
    "total_variation": deconvolution.total_variation,
    "hyper_laplacian": deconvolution.hyper_laplacian,
    "l0_gradient": deconvolution.l0_gradient,
}
DELTA = jnp.zeros((3, 3)).at[1, 1].set(1.0)


def some_kernel(seed, size=3):
    raw = np.random.default_rng(seed).random((size, size)) ** 3
    return jnp.asarray(raw / raw.sum())


@functools.cache
def compiled(name):
    return jax.jit(SOLVERS[name])


@pytest.mark.parametrize("name", dear(SOLVERS, [n for n in SOLVERS if "," not in n]))
@given(data=st.data(), seed=SEEDS, shape=st.sampled_from([(8, 9), (1, 1)]))
def test_solvers_answer_every_image(name, data, seed, shape):
    """Finite, of the image's shape and dtype; a constant stays one, a delta undoes nothing."""
    image, k = data.draw(pictures(shape)), some_kernel(seed)
    solve = compiled(name)
    found = solve(image, k)
    assert isinstance(found, deconvolution.Deconvolution)
    assert found.value.shape == shape and found.value.dtype == image.dtype and finite(found)
    if name.startswith("richardson"):
        assert np.all(found.value >= 0)
    flat = jnp.full(shape, 0.4)
    # White noise of that weight has a part of the mean too.
    close(solve(flat, k).value, flat, atol=2e-3 if name == "wiener, white" else 1e-4)
    assert np.max(np.abs(found.value)) <= 1e3
    if name != "wiener, estimated":
        assert np.mean(np.abs(solve(image, DELTA).value - image)) <= 0.2
    close(solve(image, k).value, found.value, atol=0)


@pytest.mark.slow
@given(seed=SEEDS, kind=st.sampled_from(KINDS))
def test_solvers_take_halves_channels_and_many(seed, kind):
    image, k = jnp.asarray(picture(kind, (2, 6, 7), seed)), some_kernel(seed)
    for solve in (deconvolution.wiener, functools.partial(deconvolution.richardson_lucy, steps=2)):
        together = solve(image, k).value
        for i in range(2):
            close(together[i], solve(image[i], k).value, atol=1e-9)
        colours = solve(jnp.moveaxis(image, 0, -1), k, channel_axis=-1).value
        close(jnp.moveaxis(colours, -1, 0), together, atol=1e-9)
        half = solve(image.astype(jnp.bfloat16), k.astype(jnp.bfloat16)).value
        assert half.dtype == jnp.bfloat16 and finite(half)
    stopped = deconvolution.richardson_lucy(image, k, steps=4, noise=1e9)
    assert np.all(stopped.num_steps <= 4)
    mask = jnp.zeros((6, 7))
    for solve in (deconvolution.total_variation, deconvolution.hyper_laplacian):
        assert finite(solve(image, k, mask=mask).value)
    kept = deconvolution.richardson_lucy(image, k, steps=2, mask=mask).value
    close(kept[:, 1:-1, 1:-1], image[:, 1:-1, 1:-1], atol=1e-6)


@given(seed=SEEDS, weight=st.sampled_from([0.0, -1.0, np.nan, np.inf]))
def test_solvers_refuse(seed, weight):
    image, k = jnp.asarray(picture("noise", (6, 7), seed)), some_kernel(seed)
    weighted = (
        deconvolution.wiener, deconvolution.total_variation, deconvolution.hyper_laplacian,
        deconvolution.l0_gradient,
    )  # fmt: skip
    for solve in (*weighted, deconvolution.richardson_lucy):
        refused(solve, image, k[:2])
        refused(solve, image, k[:2, :2])
        refused(solve, jnp.stack([image, image]), jnp.ones((3, 3, 3)))
        refused(solve, image.astype(int), k, error=TypeError)
        refused(solve, image[0], k)
    for solve in weighted:
        refused(solve, image, k, weight=weight)
    for solve in (
        deconvolution.total_variation, deconvolution.hyper_laplacian, deconvolution.richardson_lucy
    ):  # fmt: skip
        refused(solve, image, k, mask=jnp.ones((5, 7)))
    refused(deconvolution.wiener, image, k, prior="pink")
    for steps in (0, -1):
        refused(deconvolution.richardson_lucy, image, k, steps=steps)
    for noise in (-1.0, np.nan):
        refused(deconvolution.richardson_lucy, image, k, noise=noise)
    for exponent in (0.0, 1.1, -1.0, np.nan):
        refused(deconvolution.hyper_laplacian, image, k, exponent=exponent)
        refused(deconvolution.shrink, image, 0.1, exponent)
    refused(deconvolution.shrink, image, -0.1, 0.5)
    refused(deconvolution.shrink, image, np.nan, 0.5)
    refused(deconvolution.noise_level, image[0])
    refused(deconvolution.suppress_ringing, image, image[1:])
    refused(deconvolution.suppress_ringing, image, image, strength=np.nan)
    refused(deconvolution.consensus, k)
    refused(deconvolution.in_tiles, deconvolution.wiener, image, k, tile=4, overlap=4)
    for size in (2, 1, 4, 0, -3, 5):
        refused(deconvolution.estimate_kernel, image, size=size)
    refused(deconvolution.estimate_kernel, image, size=3, prior="l3")
    refused(deconvolution.estimate_kernel, image, size=3, starts="many")
    for bad in (deconvolution.Start(weight=0.0), deconvolution.Start(extent=2.0)):
        refused(deconvolution.estimate_kernel, image, size=3, starts=bad)


@functools.cache
def slope_of(name):
    return jax.jit(jax.grad(lambda x, k: jnp.sum(SOLVERS[name](x, k).value ** 2), (0, 1)))


@pytest.mark.parametrize(
    "name", ["wiener", "wiener, estimated", "richardson_lucy", "total_variation"]
)
@given(data=st.data(), seed=SEEDS)
def test_gradients_of_solvers_are_finite(name, data, seed):
    image = data.draw(pictures((6, 7)))
    assert finite(slope_of(name)(image, some_kernel(seed)))


VALUES = st.lists(
    st.sampled_from([0.0, 1e-300, -1e-9, 1e9]) | st.floats(-3, 3), min_size=5, max_size=5
)


@given(values=VALUES, weight=magnitudes(10.0), exponent=st.sampled_from([1.0, 2 / 3, 0.5, 0.01]))
def test_shrink(values, weight, exponent):
    v = jnp.array(values)
    w = deconvolution.shrink(v, weight, exponent)
    assert w.shape == v.shape and finite(w)
    assert np.all(np.abs(w) <= np.abs(v) * (1 + 1e-9)) and np.all(w * v >= 0)
    close(deconvolution.shrink(-v, weight, exponent), -w, atol=1e-12)
    close(deconvolution.shrink(v, 0.0, exponent), v, atol=1e-12)
    slopes = jax.vmap(
        jax.grad(lambda x, a: deconvolution.shrink(x, a, exponent), (0, 1)), (0, None)
    )
    assert finite(slopes(v, jnp.asarray(weight)))

    # No other value costs less (the cost at 0 is the value's own square).
    def cost(x):
        return weight * np.abs(x) ** exponent + 0.5 * (x - np.asarray(v)) ** 2

    for other in (0 * np.asarray(v), np.asarray(v), np.asarray(v) / 2, np.asarray(w) * 0.99):
        assert np.all(cost(np.asarray(w)) <= cost(other) * (1 + 1e-6) + 1e-6)


@given(data=st.data(), strength=magnitudes(1.0), factor=st.floats(0.1, 10))
def test_noise_ringing_and_tiles(data, strength, factor):
    image, other = data.draw(pictures((12, 9))), data.draw(pictures((12, 9)))
    level = deconvolution.noise_level(image)
    assert level.shape == () and level >= 0 and finite(level)
    close(deconvolution.noise_level(factor * image), factor * level, atol=1e-9)
    assert deconvolution.noise_level(jnp.full((2, 2), 0.3)) < 1e-12
    quiet = deconvolution.suppress_ringing(image, other, strength=strength)
    assert quiet.shape == image.shape and finite(quiet)
    close(deconvolution.suppress_ringing(image, other, strength=0.0), image, atol=1e-12)
    close(deconvolution.suppress_ringing(image, image, strength=strength), image, atol=1e-6)

    def untouched(part, kernel):
        return part

    tiled = deconvolution.in_tiles(untouched, image, DELTA, tile=6, overlap=2)
    close(tiled, image, atol=1e-6)
    same_batched(deconvolution.noise_level, jnp.stack([image, other]))


@pytest.mark.slow
@given(seed=SEEDS, size=st.sampled_from([3, 5]))
def test_consensus_and_judgement(seed, size):
    image = jnp.asarray(picture("steps", (24, 25), seed))
    k = some_kernel(seed, size)
    kernels = jnp.stack([k, k, some_kernel(seed + 1, size)])
    found = deconvolution.consensus(kernels)
    assert isinstance(found, deconvolution.Consensus) and finite(found)
    assert found.kernel.shape == (size, size) and np.all(found.kernel >= 0)
    np.testing.assert_allclose(found.kernel.sum(), 1, atol=1e-6)
    assert np.all((found.agreement >= -1e-9) & (found.agreement <= 1 + 1e-9))
    close(deconvolution.consensus(jnp.stack([k] * 3)).kernel, k, atol=1e-9)
    judged = deconvolution.judge(image, kernels)
    assert isinstance(judged, deconvolution.Judgement) and finite(judged)
    assert judged.scores.shape == (3,)
    np.testing.assert_allclose(judged.scores[0], judged.scores[1], atol=1e-9)
    less = deconvolution.sparseness(image, kernels)
    assert less.shape == (3,) and np.all(less >= 0) and finite(less)


@given(kind=st.sampled_from(["steps", "zeros", "noise", "nearly", "impulse", "tiny"]), seed=SEEDS)
def test_kernels_are_estimated_of_every_image(kind, seed):
    image = jnp.asarray(picture(kind, (16, 17), seed))
    for prior in deconvolution.PRIORS[:1]:
        found = estimate(image, prior)
        assert isinstance(found, deconvolution.KernelEstimate) and finite(found)
        assert found.kernel.shape == (5, 5) and np.all(found.kernel >= 0)
        np.testing.assert_allclose(found.kernel.sum(), 1, atol=1e-6)
        assert found.agreement <= 1 + 1e-9
        if kind == "zeros":
            assert psf.extent(found.kernel).tolist() == [1, 1]


@functools.partial(jax.jit, static_argnums=1)
def estimate(image, prior):
    return deconvolution.estimate_kernel(image, size=5, starts="plain", prior=prior)


def test_sizes_have_a_least():
    assert deconvolution.MIN_SIZE == 3
