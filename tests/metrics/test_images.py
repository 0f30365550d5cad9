import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import skimage.metrics

from blurjax import metrics

RNG = np.random.default_rng(5)
SMOOTH = scipy.ndimage.gaussian_filter(RNG.uniform(size=(3, 60, 56)), (0, 1.5, 1.5)) * 2
NOISY = SMOOTH + 0.05 * RNG.normal(size=SMOOTH.shape)


# ---- PSNR


def test_psnr_is_scikit_images():
    expected = [
        skimage.metrics.peak_signal_noise_ratio(y, x, data_range=1.5)
        for x, y in zip(NOISY, SMOOTH, strict=True)
    ]
    found = metrics.psnr(NOISY, SMOOTH, data_range=1.5)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # Many against one, colour, and float32.
    np.testing.assert_allclose(metrics.psnr(NOISY, SMOOTH[1], data_range=1.5)[1], expected[1])
    colour = metrics.psnr(
        np.moveaxis(NOISY, 0, -1), np.moveaxis(SMOOTH, 0, -1), data_range=1.5, channel_axis=-1
    )
    assert colour.shape == ()
    np.testing.assert_allclose(10 ** (-colour / 10), np.mean(10 ** (-np.array(expected) / 10)))
    single = jax.jit(metrics.psnr)(NOISY.astype(np.float32), SMOOTH)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, metrics.psnr(NOISY, SMOOTH), rtol=1e-5)


def test_psnr_of_equal_images_is_infinite_and_its_gradient_finite():
    value, gradient = jax.value_and_grad(metrics.psnr)(jnp.asarray(SMOOTH[0]), SMOOTH[0])
    assert value == np.inf and not gradient.any()


# ---- SSIM


CHOICES = {
    "gaussian": ({}, {"gaussian_weights": True, "use_sample_covariance": False}),
    "sigma": (
        {"sigma": 0.8},
        {"gaussian_weights": True, "use_sample_covariance": False, "sigma": 0.8},
    ),
    "uniform": ({"window": "uniform"}, {}),
    "size": ({"window": "uniform", "size": 5}, {"win_size": 5}),
}


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES)
@pytest.mark.parametrize("data_range", [1.0, 255.0])
def test_ssim_is_scikit_images(choice, data_range):
    ours, theirs = CHOICES[choice]
    x, y = NOISY * data_range, SMOOTH * data_range
    expected = [
        skimage.metrics.structural_similarity(a, b, data_range=data_range, **theirs)
        for a, b in zip(x, y, strict=True)
    ]
    found = metrics.ssim(x, y, data_range=data_range, **ours)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    colour = metrics.ssim(x, y, data_range=data_range, channel_axis=0, **ours)
    np.testing.assert_allclose(colour, np.mean(expected), rtol=1e-9)


def test_ssim_compiles_maps_and_keeps_float32():
    expected = metrics.ssim(NOISY, SMOOTH)
    found = jax.jit(jax.vmap(metrics.ssim))(NOISY.astype(np.float32), SMOOTH.astype(np.float32))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(metrics.ssim(SMOOTH, SMOOTH), 1, rtol=1e-12)


@pytest.mark.parametrize("name", ["psnr", "ssim", "aligned_psnr"])
def test_scores_have_exact_gradients(name, check_derivatives):
    options = {"crop": 12} if name == "aligned_psnr" else {}
    score = jax.jit(lambda x, y: getattr(metrics, name)(x, y, **options))

    def along(t):
        return score(SMOOTH[0] + t * (NOISY - SMOOTH)[0], SMOOTH[0])

    check_derivatives(along, jnp.asarray(0.7), tolerance=1e-5)


# ---- registration


def brute_force(image, reference, crop, max_shift, step):
    """`comp_upto_shift` of Levin et al., shift by shift."""
    height, width = reference.shape[-2:]
    shifts = np.arange(-round(max_shift / step), round(max_shift / step) + 1) * step
    rows, columns = np.arange(crop, height - crop), np.arange(crop, width - crop)
    inner = reference[..., crop : height - crop, crop : width - crop]
    ssd = np.empty((len(shifts), len(shifts)))
    for i, down in enumerate(shifts):
        for j, right in enumerate(shifts):
            places = np.meshgrid(rows + down, columns + right, indexing="ij")
            moved = np.stack([
                scipy.ndimage.map_coordinates(plane, places, order=1)
                for plane in image.reshape(-1, height, width)
            ]).reshape(inner.shape)  # fmt: skip
            ssd[i, j] = np.sum((moved - inner) ** 2)
    i, j = np.unravel_index(np.argmin(ssd), ssd.shape)
    return (shifts[i], shifts[j]), ssd[i, j]


def moved(image, shift):
    return scipy.ndimage.shift(image, shift, order=3, mode="nearest")


SHIFTS = [(0, 0), (2, -1), (-0.75, 1.4), (1.1, 2.5), (-3, -3), (0.5, 0.5)]


@pytest.mark.parametrize(("max_shift", "step", "crop"), [(3.0, 0.25, 8), (2.0, 0.4, 2)])
def test_align_finds_the_least_of_all_shifts(max_shift, step, crop):
    images = np.stack([moved(NOISY[i % 3], shift) for i, shift in enumerate(SHIFTS)])
    references = np.stack([SMOOTH[i % 3] for i in range(len(SHIFTS))])
    found = jax.jit(
        lambda x, y: metrics.align(x, y, crop=crop, max_shift=max_shift, step=step)
    )(images, references)  # fmt: skip
    assert found.shift.shape == (len(SHIFTS), 2) and found.ssd.shape == (len(SHIFTS),)
    for i, (x, y) in enumerate(zip(images, references, strict=True)):
        shift, ssd = brute_force(x, y, crop, max_shift, step)
        np.testing.assert_allclose(found.shift[i], shift, atol=1e-12)
        np.testing.assert_allclose(found.ssd[i], ssd, rtol=1e-10)


def test_align_in_float32_finds_the_same():
    images = np.stack([moved(NOISY[0], shift) for shift in SHIFTS])
    exact = metrics.align(images, SMOOTH[0], crop=8, max_shift=3.0)
    single = metrics.align(
        jnp.asarray(images, jnp.float32), jnp.asarray(SMOOTH[0], jnp.float32), crop=8, max_shift=3.0
    )
    assert single.shift.dtype == single.ssd.dtype == jnp.float32
    np.testing.assert_array_equal(single.shift, exact.shift)
    np.testing.assert_allclose(single.ssd, exact.ssd, rtol=1e-5)


def test_align_of_bright_images_in_float32():
    # A large common level must not drown the differences.
    bright, image = SMOOTH[0] + 100, moved(NOISY[0], (1, 0.5)) + 100
    found = metrics.align(image.astype(np.float32), bright.astype(np.float32), crop=8, max_shift=3)
    shift, ssd = brute_force(image, bright, 8, 3, 0.25)
    np.testing.assert_array_equal(found.shift, np.float32(shift))
    np.testing.assert_allclose(found.ssd, ssd, rtol=1e-3)


def test_colours_move_together():
    image = np.stack([moved(plane, (1, -2)) for plane in NOISY])
    shift, ssd = brute_force(image, SMOOTH, 8, 3.0, 0.5)
    for axis in (0, -1):
        found = metrics.align(
            np.moveaxis(image, 0, axis), np.moveaxis(SMOOTH, 0, axis),
            crop=8, max_shift=3.0, step=0.5, channel_axis=axis,
        )  # fmt: skip
        np.testing.assert_array_equal(found.shift, shift)
        np.testing.assert_allclose(found.ssd, ssd)


def test_align_without_freedom_and_of_equal_images_stays():
    nothing = metrics.align(NOISY, SMOOTH, crop=0, max_shift=0.0)
    assert not nothing.shift.any()
    np.testing.assert_allclose(nothing.ssd, np.sum((NOISY - SMOOTH) ** 2, (1, 2)))
    # Of many shifts that are equally good, none.
    flat = metrics.align(jnp.full((40, 40), 0.5), jnp.full((40, 40), 0.4))
    assert not flat.shift.any()
    # What is not known at the border is not shifted to; within, nothing can be said.
    torn = jnp.asarray(SMOOTH[0]).at[11, 30].set(jnp.nan)
    assert not metrics.align(torn, SMOOTH[0]).shift.any()
    assert metrics.align(torn, SMOOTH[0]).ssd == 0
    assert jnp.isnan(metrics.align(torn.at[30, 30].set(jnp.nan), SMOOTH[0]).ssd)


def test_aligned_psnr_and_error_ratio_are_made_of_it():
    image, best = moved(NOISY[0], (1.5, -2)), SMOOTH[0] + 0.02
    (_, ours), (_, theirs) = (brute_force(x, SMOOTH[0], 15, 5.0, 0.25) for x in (image, best))
    count = (60 - 30) * (56 - 30)
    expected = 10 * np.log10(4 * count / ours)
    np.testing.assert_allclose(
        metrics.aligned_psnr(image, SMOOTH[0], data_range=2.0), expected, rtol=1e-9
    )
    found = jax.jit(metrics.error_ratio)(image, SMOOTH[0], best)
    np.testing.assert_allclose(found, ours / theirs, rtol=1e-9)
    many = metrics.error_ratio(np.stack([image, best]), SMOOTH[0], best)
    np.testing.assert_allclose(many, [ours / theirs, 1], rtol=1e-9)
    # Over the channels the mean goes too.
    colour = np.stack([image, image, image], -1), np.stack([SMOOTH[0]] * 3, -1)
    np.testing.assert_allclose(
        metrics.aligned_psnr(*colour, data_range=2.0, channel_axis=-1), expected, rtol=1e-9
    )


def test_align_holds_the_shift_in_its_gradient():
    image = jnp.asarray(NOISY[0])
    halfway = (jnp.roll(image, (-1, 2), (0, 1)) + jnp.roll(image, (-2, 2), (0, 1))) / 2
    reference = halfway + 0.01 * SMOOTH[1]
    gradient = jax.grad(lambda x: metrics.align(x, reference, crop=12).ssd)(image)
    shift = metrics.align(image, reference, crop=12).shift
    np.testing.assert_array_equal(shift, [1.5, -2])
    # The adjoint of the interpolation at (1.5, -2), applied to twice the residual.
    inner = slice(12, 48), slice(12, 44)
    residual = (0.5 * (image[13:49, 10:42] + image[14:50, 10:42])) - reference[inner]
    expected = np.zeros(image.shape)
    expected[13:49, 10:42] += residual
    expected[14:50, 10:42] += residual
    np.testing.assert_allclose(gradient, expected, atol=1e-12)


# ---- what is refused


SMALL = np.zeros((20, 20))


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: metrics.psnr(SMALL, np.zeros((20, 21))), ValueError, "for every pixel"),
        (lambda: metrics.psnr(SMALL, SMALL, data_range=0.0), ValueError, "data_range=0.0"),
        (lambda: metrics.psnr(SMALL, SMALL, channel_axis=2), ValueError, "needs at least 3 axes"),
        (lambda: metrics.psnr(NOISY, NOISY, channel_axis=3), ValueError, "channel_axis=3"),
        (lambda: metrics.ssim(np.zeros((10, 20)), np.zeros((10, 20))), ValueError, "whole window"),
        (lambda: metrics.ssim(SMALL, SMALL, window="box"), ValueError, "window='box'"),
        (lambda: metrics.ssim(SMALL, SMALL, window="uniform", size=4), ValueError, "size is 4"),
        (lambda: metrics.ssim(SMALL, SMALL, sigma=0.0), ValueError, "sigma=0.0"),
        (lambda: metrics.align(SMALL, SMALL), ValueError, "crop=15"),
        (lambda: metrics.align(SMALL, SMALL, crop=4), ValueError, "less than max_shift"),
        (lambda: metrics.align(SMALL, SMALL, crop=5, step=0.3), ValueError, "whole number"),
        (lambda: metrics.align(SMALL, SMALL, crop=5, step=0.0), ValueError, "step=0.0"),
        (lambda: metrics.aligned_psnr(SMALL, SMALL, data_range=-1.0), ValueError, "data_range"),
    ],
)
def test_what_does_not_fit_is_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_integers_are_refused():
    levels = np.zeros((20, 20), np.uint8)
    # jaxtyping's own error is a TypeError as well.
    with pytest.raises(TypeError):
        metrics.psnr(levels, levels)


@pytest.mark.slow
def test_float32_users(float32):
    image = jnp.asarray(NOISY, jnp.float32)
    for score in (metrics.psnr, metrics.ssim, metrics.aligned_psnr):
        value = score(image, jnp.asarray(SMOOTH))
        assert value.dtype == jnp.float32 and np.isfinite(value).all()
    half = metrics.aligned_psnr(image.astype(jnp.bfloat16), jnp.asarray(SMOOTH))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half, metrics.aligned_psnr(image, SMOOTH), rtol=0.02)
