"""Richardson-Lucy against the formula, at its stops, with a mask, and on zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import imaging, psf
from blurjax.deconvolution._richardson_lucy import richardson_lucy
from blurjax.deconvolution._torus import torus
from tests.deconvolution.scenes import KERNEL, observed, psnr, sharp


def circular(x, kernel, flip):
    """A circular blur, tap by tap."""
    half = kernel.shape[0] // 2
    result = np.zeros_like(x)
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[0]):
            shift = (half - i, half - j) if flip else (i - half, j - half)
            result += kernel[i, j] * np.roll(x, shift, (0, 1))
    return result


def by_numpy(y, kernel, steps, accelerate, mask):
    """The algorithm as written in the docstring."""
    shape = torus(y.shape, kernel.shape[0])
    margins = tuple((0, m - n) for m, n in zip(shape, y.shape, strict=True))
    observed = np.maximum(np.asarray(imaging.pad(y, margins, "smooth")), 0)
    m = np.ones(shape) if mask is None else np.pad(mask, margins, constant_values=1)
    still = 0.0 if mask is None else 1e-3
    scale = 1 / (circular(m, kernel, True) + still)
    x, last, change, rate = observed, observed, np.zeros(shape), 0.0
    for _ in range(steps):
        point = np.maximum(x + rate * (x - last), 0) if accelerate else x
        blurred = np.maximum(circular(point, kernel, False), 1e-6 * observed.max())
        new = point * (circular(m * observed / blurred, kernel, True) + still) * scale
        moved = new - point
        before = (change**2).sum()
        rate = np.clip((moved * change).sum() / before, 0, 1) if before > 0 else 0.0
        x, last, change = new, x, moved
    error = (circular(x, kernel, False)[: y.shape[0], : y.shape[1]] - np.asarray(y)) ** 2
    kept = m[: y.shape[0], : y.shape[1]]
    return x[: y.shape[0], : y.shape[1]], np.sqrt((kept * error).sum() / kept.sum())


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_against_numpy(accelerate, masked):
    _, y = observed(0.01, size=40)
    y = y[:, :33]
    mask = None
    if masked:
        mask = np.random.default_rng(0).uniform(size=y.shape).round(1)
        mask[10:30, 8:28] = 0
    ours = richardson_lucy(y, KERNEL, steps=7, accelerate=accelerate, mask=mask)
    value, residual = by_numpy(y, np.asarray(KERNEL), 7, accelerate, mask)
    np.testing.assert_allclose(ours.value, value, atol=1e-10)
    np.testing.assert_allclose(ours.residual, residual, atol=1e-10)
    assert ours.num_steps == 7 and ours.num_steps.dtype == jnp.int32


def test_it_restores_and_acceleration_is_faster():
    image, y = observed(0.0)
    plain = richardson_lucy(y, KERNEL, steps=20, accelerate=False)
    fast = richardson_lucy(y, KERNEL, steps=20, accelerate=True)
    assert psnr(plain.value, image) > psnr(y, image) + 2.5
    assert psnr(fast.value, image) > psnr(plain.value, image) + 1
    assert fast.residual < plain.residual
    more = richardson_lucy(y, KERNEL, steps=60, accelerate=False)
    assert fast.residual < more.residual < plain.residual


def test_each_plain_step_is_likelier():
    """The Poisson likelihood on the torus, which is what is maximised, rises."""
    _, y = observed(0.02, size=40)
    shape = torus(y.shape, 9)
    margins = tuple((0, m - n) for m, n in zip(shape, y.shape, strict=True))
    # On a torus of its own length an image is not extended.
    whole = jnp.maximum(imaging.pad(y, margins, "smooth"), 0)

    def likelihood(steps):
        x = by_numpy(np.asarray(whole), np.asarray(KERNEL), steps, False, None)[0]
        blurred = np.asarray(imaging.blur(jnp.asarray(x), KERNEL, boundary="smooth"))
        return float((np.asarray(whole) * np.log(blurred) - blurred).sum())

    values = [likelihood(n) for n in (1, 2, 4, 8)]
    assert values == sorted(values)


@pytest.mark.slow
@pytest.mark.parametrize("accelerate", [False, True])
def test_it_stops_at_the_noise(accelerate):
    stack = jnp.stack([observed(0.02, 0)[1], observed(0.01, 5)[1]])
    noise = jnp.array([0.02, 0.011])
    stopped = richardson_lucy(stack, KERNEL, steps=80, noise=noise, accelerate=accelerate)
    assert (stopped.residual <= noise).all() and (stopped.num_steps < 80).all()
    assert stopped.num_steps[0] < stopped.num_steps[1]
    for i in range(2):
        alone = richardson_lucy(stack[i], KERNEL, steps=80, noise=noise[i], accelerate=accelerate)
        assert alone.num_steps == stopped.num_steps[i]
        np.testing.assert_allclose(alone.value, stopped.value[i], atol=1e-12)
    if not accelerate:
        # One step less did not meet it, and as many steps are the same image.
        n = int(stopped.num_steps[1])
        before, same = (
            richardson_lucy(stack[1], KERNEL, steps=m, accelerate=False) for m in (n - 1, n)
        )
        assert before.residual > 0.011
        np.testing.assert_allclose(same.value, stopped.value[1], atol=1e-12)
    never = richardson_lucy(stack[0], KERNEL, steps=3, noise=0.0)
    assert never.num_steps == 3
    mapped = jax.vmap(
        lambda y, s: richardson_lucy(y, KERNEL, steps=80, noise=s, accelerate=accelerate)
    )(stack, noise)
    np.testing.assert_array_equal(mapped.num_steps, stopped.num_steps)
    np.testing.assert_allclose(mapped.value, stopped.value, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64])
@pytest.mark.parametrize("accelerate", [False, True])
def test_nothing_becomes_nan(dtype, accelerate):
    black = jnp.zeros((30, 30), dtype)
    point = black.at[15, 15].set(1)
    _, y = observed(0.02, size=30)
    images = (black, point, y.astype(dtype) - 0.3, 1e-3 * point, -jnp.ones_like(black))
    for mask in (None, jnp.zeros((30, 30)), jnp.ones((30, 30)).at[10:20].set(0)):
        for image in images:
            found = richardson_lucy(image, KERNEL, steps=25, accelerate=accelerate, mask=mask)
            assert found.value.dtype == dtype
            assert bool(jnp.isfinite(found.value).all()) and bool((found.value >= 0).all())
            assert bool(jnp.isfinite(found.residual).all())
    assert not richardson_lucy(black, KERNEL).value.any()
    stopped = richardson_lucy(black, KERNEL, noise=0.01)
    assert stopped.num_steps == 0 and not stopped.value.any()

    def loss(image):
        return richardson_lucy(image, KERNEL, steps=5, accelerate=accelerate).value.sum()

    for image in (black, point):
        assert bool(jnp.isfinite(jax.grad(loss)(image)).all())


def test_a_flat_image_stays_flat_to_its_border():
    """scikit-image#3859: zeros outside make the border ring."""
    flat = jnp.full((40, 40), 0.6, jnp.float32)
    for accelerate in (False, True):
        value = richardson_lucy(flat, KERNEL, accelerate=accelerate).value
        np.testing.assert_allclose(value, 0.6, atol=1e-4)
    ramp = jnp.broadcast_to(jnp.linspace(0.2, 0.8, 64), (64, 64)).T
    value = richardson_lucy(imaging.blur(ramp, KERNEL), KERNEL, steps=30, accelerate=False).value
    assert jnp.abs(value - ramp).max() < 0.1


def test_what_the_mask_hides_does_not_matter_but_for_the_start():
    _, y = observed(0.01)
    mask = np.ones(y.shape)
    mask[20:26, 30:40] = 0
    garbage = jnp.where(mask == 0, 3 * y, y)
    kept = richardson_lucy(y, KERNEL, steps=100, accelerate=True, mask=mask).value
    other = richardson_lucy(garbage, KERNEL, steps=100, accelerate=True, mask=mask).value
    unmasked = richardson_lucy(garbage, KERNEL, steps=100, accelerate=True).value
    # Not even what it is blurred into.
    far = np.ones(y.shape, bool)
    far[20 - 9 : 26 + 9, 30 - 9 : 40 + 9] = False
    moved, spoilt = (jnp.sqrt(jnp.mean((kept - z)[far] ** 2)) for z in (other, unmasked))
    assert moved < 0.1 * spoilt
    np.testing.assert_array_equal(
        richardson_lucy(y, KERNEL, steps=4, mask=np.ones(y.shape, bool)).num_steps, 4
    )


def test_saturated_lights_are_recovered():
    image = 0.4 * sharp()
    for row, column in ((15, 20), (30, 45), (45, 15), (50, 50)):
        image = image.at[row : row + 3, column : column + 3].set(5.0)
    noise = 0.003 * jax.random.normal(jax.random.key(5), image.shape)
    y = jnp.clip(imaging.blur(image, KERNEL) + noise, 0, 1)
    mask = y < 0.98
    assert not mask.all()
    ours, plain = (
        jnp.clip(richardson_lucy(y, KERNEL, steps=40, accelerate=True, mask=m).value, 0, 1)
        for m in (mask, None)
    )
    truth = jnp.clip(image, 0, 1)
    assert psnr(ours, truth) > psnr(plain, truth) + 1


@pytest.mark.slow
@pytest.mark.parametrize("accelerate", [False, True])
def test_gradients(accelerate):
    _, y = observed(0.0, size=24)
    y = 0.2 + 0.6 * y
    target = sharp(24, 9)
    mask = jnp.ones(y.shape).at[8:12, 9:14].set(0.3)
    rng = np.random.default_rng(1)
    along = [jnp.asarray(rng.normal(size=z.shape)) for z in (y, KERNEL, mask)]

    def loss(s, t, u):
        found = richardson_lucy(
            y + s * along[0],
            KERNEL + t * along[1],
            mask=mask + u * along[2],
            steps=4,
            accelerate=accelerate,
        )
        return jnp.mean((found.value - target) ** 2)

    where = (jnp.asarray(0.0),) * 3
    f = jax.jit(loss)
    # Where the floor under K x does not count the greatest value, held fixed, does not either.
    slopes, forward = (jax.jit(d(loss, (0, 1, 2)))(*where) for d in (jax.grad, jax.jacfwd))
    for i, slope in enumerate(slopes):
        ahead, behind = ([w + s * 1e-6 * (i == j) for j, w in enumerate(where)] for s in (1, -1))
        np.testing.assert_allclose(slope, (f(*ahead) - f(*behind)) / 2e-6, rtol=1e-5)
        np.testing.assert_allclose(slope, forward[i], rtol=1e-9)
        assert abs(slope) > 1e-6


@pytest.mark.slow
def test_forward_mode_goes_through_the_stop():
    _, y = observed(0.02, size=32)
    slope = jax.jacfwd(lambda s: richardson_lucy(y * s, KERNEL, noise=0.02).value.sum())(1.0)
    assert abs(slope - y.sum()) < 0.5 * abs(y.sum())


@pytest.mark.slow
def test_colours_batches_and_vmap():
    stack = jnp.stack([observed(0.01, seed, 40)[1] for seed in range(3)])
    kernels = jnp.stack([KERNEL, jnp.flip(KERNEL, 0), psf.gaussian(1.0, size=9)])
    mask = jnp.ones((40, 40)).at[5:9].set(0)

    def solve(y, k, **options):
        return richardson_lucy(y, k, steps=5, mask=mask, **options)

    each = [solve(y, k) for y, k in zip(stack, kernels, strict=True)]
    batch = solve(stack, kernels)
    mapped = jax.vmap(solve)(stack, kernels)
    for i in range(2):
        np.testing.assert_allclose(batch[2 * i], [e[2 * i] for e in each], atol=1e-12)
        np.testing.assert_allclose(batch[2 * i], mapped[2 * i], atol=1e-12)
    gray = solve(stack, KERNEL)
    colour = solve(jnp.moveaxis(stack, 0, -1), KERNEL, channel_axis=-1)
    np.testing.assert_allclose(jnp.moveaxis(colour.value, -1, 0), gray.value, atol=1e-12)
    np.testing.assert_allclose(colour.residual, gray.residual, atol=1e-12)


def test_float32_agrees():
    _, y = observed(0.01)
    single = richardson_lucy(y.astype(jnp.float32), KERNEL, steps=30).value
    np.testing.assert_allclose(single, richardson_lucy(y, KERNEL, steps=30).value, atol=2e-2)


def test_what_is_refused():
    flat = jnp.ones((20, 20))
    for steps in (0, 1.5, True):
        with pytest.raises(Exception, match=r"steps"):
            richardson_lucy(flat, KERNEL, steps=steps)
    with pytest.raises(ValueError, match="noise="):
        richardson_lucy(flat, KERNEL, noise=-1.0)
    with pytest.raises(ValueError, match="the mask has the shape"):
        richardson_lucy(flat, KERNEL, mask=jnp.ones((20, 21)))
    with pytest.raises(ValueError, match="share of trust"):
        richardson_lucy(flat, KERNEL, mask=2 * flat)
