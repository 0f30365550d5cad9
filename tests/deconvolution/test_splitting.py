"""Half-quadratic splitting against NumPy, its objective, masks, and what is restored."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import imaging, psf
from blurjax.deconvolution import _splitting
from blurjax.deconvolution._splitting import hyper_laplacian, l0_gradient, total_variation
from blurjax.deconvolution._torus import torus
from tests.deconvolution.scenes import KERNEL, observed, psnr, sharp

ISOTROPIC = functools.partial(total_variation, isotropic=True)
SOLVERS = {
    "tv": total_variation,
    "isotropic": ISOTROPIC,
    "hyper": hyper_laplacian,
    "l0": l0_gradient,
}


def greater_root(v, weight, exponent):
    """By bisection: the derivative of the objective rises from c on."""
    size = np.abs(v)
    c = (2 * (1 - exponent) * weight) ** (1 / (2 - exponent))
    low, high = np.full(v.shape, c), np.maximum(size, c)
    for _ in range(60):
        middle = (low + high) / 2
        above = middle + weight * exponent * middle ** (exponent - 1) > size
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    kept = size > c + weight * exponent * c ** (exponent - 1)
    return np.where(kept, np.copysign(low, v), 0)


def published(name, weight):
    """The loops as the papers have them: (factor of F(D'w), shrinkage of (across, down)) a step."""
    steps = []
    if name in ("tv", "isotropic"):
        # |k*x - y|^2 + lambda TV.
        lam = 2 * weight
        b = 1 / lam
        while b > 1e-3:

            def shrink(a, d, b=b):
                if name == "tv":
                    return tuple(np.sign(v) * np.maximum(np.abs(v) - b * lam, 0) for v in (a, d))
                length = np.hypot(a, d)
                share = np.maximum(length - b * lam, 0) / np.maximum(length, 1e-300)
                return a * share, d * share

            steps.append((1 / (2 * b), shrink))
            b /= 2
    elif name == "hyper":
        # lambda / 2 |k*x - y|^2 + |Dx|^a.
        lam, beta = 1 / weight, 1.0
        while beta < 256:

            def shrink(a, d, beta=beta):
                return greater_root(a, 1 / beta, 2 / 3), greater_root(d, 1 / beta, 2 / 3)

            steps.append((beta / lam, shrink))
            beta *= 2 * np.sqrt(2)
    else:
        # |k*x - y|^2 + mu |Dx|_0.
        mu = 2 * weight
        a = 2 * mu
        while a < 1e5:

            def shrink(across, down, a=a):
                kept = across**2 + down**2 >= mu / a
                return across * kept, down * kept

            steps.append((a, shrink))
            a *= 2
    return steps


def by_numpy(y, kernel, steps):
    shape = torus(y.shape, kernel.shape[0])
    margins = tuple((0, m - n) for m, n in zip(shape, y.shape, strict=True))
    x = np.asarray(imaging.pad(y, margins, "smooth"))
    taps = np.zeros(shape)
    half = kernel.shape[0] // 2
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[0]):
            taps[(i - half) % shape[0], (j - half) % shape[1]] += kernel[i, j]
    k = np.fft.fft2(taps)
    point = np.zeros(shape)
    point[0, 0] = 1
    # Spectra of the differences themselves, so that their sign and side are checked too.
    dx, dy = (np.fft.fft2(np.roll(point, -1, axis) - point) for axis in (1, 0))
    seen = k.conj() * np.fft.fft2(x)
    for factor, shrink in steps:
        across, down = np.roll(x, -1, 1) - x, np.roll(x, -1, 0) - x
        wx, wy = (np.fft.fft2(w) for w in shrink(across, down))
        pulled = factor * (dx.conj() * wx + dy.conj() * wy)
        power = np.abs(dx) ** 2 + np.abs(dy) ** 2
        x = np.fft.ifft2((seen + pulled) / (np.abs(k) ** 2 + factor * power)).real
    blurred = np.fft.ifft2(k * np.fft.fft2(x)).real
    inside = tuple(slice(n) for n in y.shape)
    return x[inside], np.sqrt(np.mean((blurred[inside] - np.asarray(y)) ** 2))


@pytest.mark.parametrize(("name", "weight", "count"), [
    ("tv", 5e-4, 20), ("isotropic", 5e-4, 20), ("hyper", 2.5e-4, 6), ("l0", 1e-3, 25),
])  # fmt: skip
def test_against_the_published_loop(name, weight, count):
    _, y = observed(0.01)
    y = y[:, :51]
    steps = published(name, weight)
    ours = SOLVERS[name](y, KERNEL, weight=weight)
    value, residual = by_numpy(y, np.asarray(KERNEL), steps)
    assert int(ours.num_steps) == len(steps) == count
    # A threshold crossed the other way by rounding would show as 1e-3 or so.
    np.testing.assert_allclose(ours.value, value, atol=1e-8)
    np.testing.assert_allclose(ours.residual, residual, atol=1e-9)


@pytest.mark.parametrize("exponent", [0.5, 1.0])
def test_the_exponent_counts(exponent):
    _, y = observed(0.01)
    values = [hyper_laplacian(y, KERNEL, exponent=a).value for a in (exponent, 2 / 3)]
    assert jnp.abs(values[0] - values[1]).max() > 1e-2
    with pytest.raises(ValueError, match="exponent="):
        hyper_laplacian(y, KERNEL, exponent=1.2)


@pytest.mark.slow
def test_total_variation_comes_near_its_least():
    """Nothing near the solution is much better: descent from it gains little."""
    _, y = observed(0.01, size=40)
    weight = 2e-3
    shape = torus(y.shape, 9)
    margins = tuple((0, m - n) for m, n in zip(shape, y.shape, strict=True))
    whole = imaging.pad(y, margins, "smooth")

    # Solved on the torus, which is what is minimised.
    def solve(y):
        k = jnp.asarray(KERNEL)
        args = (jnp.full((1, 1), weight), None, _splitting._TOTAL_VARIATION, _splitting._soft)
        original = _splitting.torus
        _splitting.torus = lambda shape, size: shape
        try:
            return _splitting._split.__wrapped__(y, k, *args)[0]
        finally:
            _splitting.torus = original

    def objective(x, epsilon=0.0):
        error = imaging.blur(x, KERNEL, boundary="wrap") - whole
        steep = jnp.concatenate([(jnp.roll(x, -1, i) - x).ravel() for i in (0, 1)])
        return 0.5 * (error**2).sum() + weight * (jnp.sqrt(steep**2 + epsilon) - epsilon).sum()

    x = solve(whole)
    start, found = float(objective(whole)), float(objective(x))

    @jax.jit
    def descend(x):
        slope = jax.grad(objective)

        def step(_, state):
            x, z, n = state
            new = z - 0.15 * slope(z, 1e-6)
            following = (1 + jnp.sqrt(1 + 4 * n**2)) / 2
            return new, new + (n - 1) / following * (new - x), following

        return jax.lax.fori_loop(0, 1500, step, (x, x, 1.0))[0]

    least = min(found, float(objective(descend(x))), float(objective(descend(whole))))
    assert found - least < 0.1 * (start - least)


@pytest.mark.parametrize(("name", "gain"), [("tv", 4), ("isotropic", 4), ("hyper", 4), ("l0", 2)])
def test_it_restores(name, gain):
    image, y = observed(0.003)
    assert psnr(SOLVERS[name](y, KERNEL).value, image) > psnr(y, image) + gain


@pytest.mark.parametrize("name", ["tv", "isotropic", "hyper"])
def test_what_the_mask_hides_does_not_matter_but_for_the_start(name):
    _, y = observed(0.005)
    mask = np.ones(y.shape)
    mask[20:25, 30:38] = 0
    garbage = jnp.where(mask == 0, y + 0.5, y)
    solve = functools.partial(SOLVERS[name], weight=2e-3)
    kept, other = (solve(z, KERNEL, mask=mask).value for z in (y, garbage))
    unmasked = solve(garbage, KERNEL).value
    far = np.ones(y.shape, bool)
    far[20 - 5 : 25 + 5, 30 - 5 : 38 + 5] = False
    moved, spoilt = (jnp.sqrt(jnp.mean((kept - z)[far] ** 2)) for z in (other, unmasked))
    assert moved < 0.1 * spoilt


@pytest.mark.parametrize("name", ["tv", "isotropic", "hyper"])
def test_a_mask_of_ones_only_takes_more_steps(name):
    _, y = observed(0.01)
    plain, masked = (SOLVERS[name](y, KERNEL, mask=m) for m in (None, jnp.ones(y.shape, bool)))
    assert masked.num_steps > plain.num_steps
    assert psnr(masked.value, plain.value) > 30


@pytest.mark.parametrize("name", ["tv", "hyper"])
def test_saturated_lights_are_recovered(name):
    image = 0.4 * sharp()
    for row, column in ((15, 20), (30, 45), (45, 15), (50, 50)):
        image = image.at[row : row + 3, column : column + 3].set(5.0)
    noise = 0.003 * jax.random.normal(jax.random.key(5), image.shape)
    y = jnp.clip(imaging.blur(image, KERNEL) + noise, 0, 1)
    mask = y < 0.98
    assert not mask.all()
    ours, plain = (jnp.clip(SOLVERS[name](y, KERNEL, mask=m).value, 0, 1) for m in (mask, None))
    truth = jnp.clip(image, 0, 1)
    assert psnr(ours, truth) > psnr(plain, truth) + 3


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", list(SOLVERS))
def test_gradients(name, masked, monkeypatch):
    if masked and name == "l0":
        pytest.skip("l0_gradient takes no mask")
    monkeypatch.setattr(_splitting, "_MASKED_STEPS", dict.fromkeys(_splitting._MASKED_STEPS, 2))
    _, y = observed(0.02, size=24)
    target = sharp(24, 9)
    rng = np.random.default_rng(1)
    shown = jnp.asarray(rng.uniform(size=y.shape))
    along = [jnp.asarray(rng.normal(size=z.shape)) for z in (y, KERNEL, shown)]

    def loss(s, t, log_weight, u):
        options = {"mask": shown + u * along[2]} if masked else {}
        x = SOLVERS[name](
            y + s * along[0], KERNEL + t * along[1], weight=jnp.exp(log_weight), **options
        )
        return jnp.mean((x.value - target) ** 2)

    where = (jnp.asarray(0.0), jnp.asarray(0.0), jnp.asarray(-6.0), jnp.asarray(0.0))
    f = jax.jit(loss)
    slopes = jax.jit(jax.grad(loss, (0, 1, 2, 3)))(*where)
    for i, slope in enumerate(slopes[: 4 if masked else 3]):
        step = 1e-8 if name == "l0" else 1e-6
        ahead, behind = ([w + s * step * (i == j) for j, w in enumerate(where)] for s in (1, -1))
        difference = (f(*ahead) - f(*behind)) / (2 * step)
        np.testing.assert_allclose(slope, difference, rtol=2e-3, atol=1e-6)
        assert abs(slope) > 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SOLVERS))
def test_colours_batches_and_vmap(name):
    solve = SOLVERS[name]
    stack = jnp.stack([observed(0.01, seed, 40)[1] for seed in range(3)])
    kernels = jnp.stack([KERNEL, jnp.flip(KERNEL, 0), psf.gaussian(1.0, size=9)])
    weights = jnp.array([3e-4, 1e-3, 3e-3])
    each = [solve(y, k, weight=w) for y, k, w in zip(stack, kernels, weights, strict=True)]
    batch = solve(stack, kernels, weight=weights)
    mapped = jax.vmap(lambda y, k, w: solve(y, k, weight=w))(stack, kernels, weights)
    for i in range(3):
        np.testing.assert_allclose(batch[i], [e[i] for e in each], atol=1e-7)
        np.testing.assert_allclose(batch[i], mapped[i], atol=1e-7)
    gray = solve(stack, KERNEL)
    colour = solve(jnp.moveaxis(stack, 0, -1), KERNEL, channel_axis=-1)
    np.testing.assert_allclose(jnp.moveaxis(colour.value, -1, 0), gray.value, atol=1e-7)
    np.testing.assert_allclose(colour.residual, gray.residual, atol=1e-7)
    two = solve(jnp.stack([stack, stack[::-1]]), KERNEL, weight=weights[:2], channel_axis=1)
    lone = solve(stack, KERNEL, weight=weights[0])
    np.testing.assert_allclose(two.value[0], lone.value, atol=1e-7)


@pytest.mark.slow
def test_a_mask_with_colours():
    stack = jnp.stack([observed(0.01, seed, 40)[1] for seed in range(3)], -1)
    mask = jnp.ones(stack.shape).at[9:13, 8:20, 1].set(0)
    colour = hyper_laplacian(stack, KERNEL, mask=mask, channel_axis=-1).value
    one = hyper_laplacian(stack[..., 1], KERNEL, mask=mask[..., 1]).value
    np.testing.assert_allclose(colour[..., 1], one, atol=1e-8)
    shared = hyper_laplacian(stack, KERNEL, mask=mask[..., 1], channel_axis=-1).value
    np.testing.assert_allclose(shared[..., 1], one, atol=1e-8)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("name", list(SOLVERS))
def test_dtypes_and_flat_images(name, dtype):
    for level in (0.0, 0.5):
        flat = jnp.full((30, 33), level, dtype)
        value = SOLVERS[name](flat, KERNEL).value
        assert value.dtype == dtype
        np.testing.assert_allclose(value.astype(jnp.float32), level, atol=1e-4)

    def loss(image):
        return SOLVERS[name](image, KERNEL).value.sum()

    assert bool(jnp.isfinite(jax.grad(loss)(jnp.zeros((20, 20), jnp.float32))).all())


@pytest.mark.parametrize("name", ["tv", "isotropic", "hyper"])
def test_float32_agrees(name):
    _, y = observed(0.01)
    single = SOLVERS[name](y.astype(jnp.float32), KERNEL).value
    assert psnr(single, SOLVERS[name](y, KERNEL).value) > 60


@pytest.mark.parametrize("name", list(SOLVERS))
def test_weights_outside_are_refused(name):
    for weight in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="weight="):
            SOLVERS[name](jnp.ones((20, 20)), KERNEL, weight=weight)
