"""The Wiener filter against NumPy, and the weight it finds for itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import imaging, psf
from blurjax._numerics import fast_length
from blurjax.deconvolution._wiener import _likeliest, wiener
from tests.deconvolution.scenes import KERNEL, observed, psnr, sharp


def by_numpy(y, kernel, weight, penalty):
    """The formula with full spectra, the kernel laid out tap by tap."""
    shape = [fast_length(n + kernel.shape[0] - 1) for n in y.shape]
    torus = np.asarray(
        imaging.pad(y, tuple((0, m - n) for m, n in zip(shape, y.shape, strict=True)), "smooth")
    )
    taps = np.zeros(shape)
    half = kernel.shape[0] // 2
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[0]):
            taps[(i - half) % shape[0], (j - half) % shape[1]] += kernel[i, j]
    k = np.fft.fft2(taps)
    steps = np.zeros((2, *shape))
    steps[:, 0, 0] = -1
    steps[0, 0, -1] = steps[1, -1, 0] = 1
    steep = (np.abs(np.fft.fft2(steps)) ** 2).sum(0)
    x = k.conj() * np.fft.fft2(torus) / (np.abs(k) ** 2 + weight * penalty(steep))
    blurred = np.fft.ifft2(k * x).real[: y.shape[0], : y.shape[1]]
    return np.fft.ifft2(x).real[: y.shape[0], : y.shape[1]], np.sqrt(np.mean((blurred - y) ** 2))


@pytest.mark.parametrize(
    ("prior", "penalty"),
    [("white", np.ones_like), ("gradient", lambda d: d), ("laplacian", lambda d: d**2)],
)
def test_against_numpy(prior, penalty):
    _, y = observed(0.01)
    y = y[:, :51]
    ours = wiener(y, KERNEL, weight=0.02, prior=prior)
    value, residual = by_numpy(y, np.asarray(KERNEL), 0.02, penalty)
    np.testing.assert_allclose(ours.value, value, atol=1e-10)
    np.testing.assert_allclose(ours.residual, residual, atol=1e-12)
    assert ours.num_steps == 1 and ours.num_steps.dtype == jnp.int32


def test_a_prior_of_ones_frequency():
    _, y = observed(0.01)

    def gradient(u, v):
        return 4 * (jnp.sin(jnp.pi * u) ** 2 + jnp.sin(jnp.pi * v) ** 2)

    ours = wiener(y, KERNEL, weight=0.02, prior=gradient).value
    np.testing.assert_allclose(ours, wiener(y, KERNEL, weight=0.02).value, atol=1e-12)
    with pytest.raises(ValueError, match="prior='grey' is not known"):
        wiener(y, KERNEL, prior="grey")


def test_it_restores():
    image, y = observed(0.003)
    restored = wiener(y, KERNEL).value
    assert psnr(restored, image) > psnr(y, image) + 3


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.003, 0.03])
@pytest.mark.parametrize("prior", ["gradient", "laplacian"])
def test_the_estimated_weight_is_nearly_the_best(noise, prior):
    image, y = observed(noise, seed=3, size=128)
    ours = psnr(wiener(y, KERNEL, weight=None, prior=prior).value, image)
    best = max(
        psnr(wiener(y, KERNEL, weight=w, prior=prior).value, image) for w in np.logspace(-4, 1, 21)
    )
    assert ours > best - 1.0
    assert ours > psnr(y, image) + 0.5


def test_the_estimated_weight_is_where_the_evidence_is_greatest():
    rng = np.random.default_rng(0)
    shape = (24, 30)
    half = (24, 16)
    gain, q = (jnp.asarray(rng.uniform(0.01, 1, half)) for _ in range(2))
    power = (0.05 + gain / q) * jnp.asarray(rng.exponential(size=half))
    count = np.full(half, 2.0)
    count[:, [0, -1]] = 1
    count[0, 0] = 0

    def evidence(t):
        v = gain / q + np.exp(t)
        total = count.sum()
        return -total * np.log((count * power / v).sum() / total) - (count * np.log(v)).sum()

    found = float(_likeliest(power, gain, q, shape))
    tried = np.linspace(-16, 4, 20001)
    values = [evidence(t) for t in tried]
    np.testing.assert_allclose(found, tried[int(np.argmax(values))], atol=1e-3)
    # Stationary to many digits: what the implicit derivative relies on.
    assert abs(evidence(found + 1e-4) - evidence(found - 1e-4)) < 1e-6


@pytest.mark.parametrize("prior", ["white", "gradient"])
@pytest.mark.parametrize("estimated", [False, True])
def test_gradients(prior, estimated):
    _, y = observed(0.02, size=24)
    target = sharp(24, 9)
    rng = np.random.default_rng(1)
    along = [jnp.asarray(rng.normal(size=z.shape)) for z in (y, KERNEL)]

    def loss(s, t, log_weight):
        weight = None if estimated else jnp.exp(log_weight)
        x = wiener(y + s * along[0], KERNEL + t * along[1], weight=weight, prior=prior).value
        return jnp.mean((x - target) ** 2)

    where = (jnp.asarray(0.0), jnp.asarray(0.0), jnp.asarray(-4.0))
    f = jax.jit(loss)
    slopes = jax.jit(jax.grad(loss, (0, 1, 2)))(*where)
    for i, slope in enumerate(slopes):
        if estimated and i == 2:
            continue
        ahead, behind = ([w + s * 1e-5 * (i == j) for j, w in enumerate(where)] for s in (1, -1))
        np.testing.assert_allclose(slope, (f(*ahead) - f(*behind)) / 2e-5, rtol=1e-4)
        assert abs(slope) > 1e-6


@pytest.mark.slow
def test_colours_batches_and_vmap():
    stack = jnp.stack([observed(0.01, seed)[1] for seed in range(3)])
    kernels = jnp.stack([KERNEL, jnp.flip(KERNEL, 0), psf.gaussian(1.0, size=9)])
    weights = jnp.array([1e-3, 1e-2, 1e-1])
    for weight in (1e-2, weights, None):
        each = [
            wiener(y, k, weight=w)
            for y, k, w in zip(
                stack,
                kernels,
                [weight] * 3 if weight is None or jnp.ndim(weight) == 0 else weight,
                strict=True,
            )
        ]
        batch = wiener(stack, kernels, weight=weight)
        np.testing.assert_allclose(batch.value, jnp.stack([e.value for e in each]), atol=1e-10)
        np.testing.assert_allclose(
            batch.residual, jnp.stack([e.residual for e in each]), atol=1e-10
        )
    mapped = jax.vmap(lambda y, k, w: wiener(y, k, weight=w).value)(stack, kernels, weights)
    np.testing.assert_allclose(mapped, wiener(stack, kernels, weight=weights).value, atol=1e-10)
    one = wiener(stack, KERNEL).value
    colour = wiener(jnp.moveaxis(stack, 0, -1), KERNEL, channel_axis=-1)
    np.testing.assert_allclose(jnp.moveaxis(colour.value, -1, 0), one, atol=1e-12)
    assert colour.residual.shape == (3,)
    many = wiener(stack[0], kernels).value
    np.testing.assert_allclose(many[1], wiener(stack[0], kernels[1]).value, atol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
def test_dtypes(dtype):
    _, y = observed(0.01)
    for weight in (3e-3, None):
        value = wiener(y.astype(dtype), KERNEL, weight=weight).value
        assert value.dtype == dtype and bool(jnp.isfinite(value).all())
    np.testing.assert_allclose(
        wiener(y.astype(jnp.float32), KERNEL).value, wiener(y, KERNEL).value, atol=1e-4
    )


@pytest.mark.parametrize("weight", [3e-3, None])
def test_black_stays_black(weight):
    for level in (0.0, 0.7):
        flat = jnp.full((30, 30), level, jnp.float32)
        np.testing.assert_allclose(wiener(flat, KERNEL, weight=weight).value, level, atol=1e-5)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_weights_outside_are_refused(weight):
    with pytest.raises(ValueError, match="weight="):
        wiener(jnp.ones((20, 20)), KERNEL, weight=weight)
    with pytest.raises(ValueError, match="give one number, or one for each image"):
        wiener(jnp.ones((20, 20)), KERNEL, weight=jnp.ones(3))
