"""Features of images, and how good an answer is: over images, scores and labels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blurjax import features, metrics
from tests.properties.common import (
    SEEDS,
    close,
    dear,
    finite,
    magnitudes,
    pictures,
    refused,
    same_batched,
)

SQUARE = (8, 8)


@functools.cache
def slope(f):
    """The gradient of a weighted sum of what f returns."""

    def total(x):
        value = f(x)
        return jnp.sum(
            value * jnp.cos(jnp.arange(value.size, dtype=value.dtype)).reshape(value.shape)
        )

    return jax.jit(jax.grad(total))


def gradients(f, x):
    return slope(f)(x)


def half_spectrum(x):
    return features.half_spectrum(x, size=11)


def local_mean(x):
    return features.local_mean(x, size=3)


def correlation_maps(x):
    return features.correlation_maps(x, lags=4)


FEATURES = {
    features.log_spectrum: (8, 8), features.spectral_edges: (8, 8), half_spectrum: (11, 6),
    features.min_max: (8, 8), features.contrast: (), features.gradient_magnitude: (6, 6),
    local_mean: (8, 8), correlation_maps: (3, 8, 4),
}  # fmt: skip


@pytest.mark.parametrize(
    "f", dear(FEATURES, set(FEATURES) - {correlation_maps}), ids=lambda f: f.__name__
)
@given(data=st.data(), dtype=st.sampled_from(["float64", "float32"]))
def test_features_of_every_image_are_finite(f, data, dtype):
    image = data.draw(pictures(SQUARE, dtype))
    found = f(image)
    assert found.shape == FEATURES[f] and found.dtype == image.dtype and finite(found)
    assert finite(gradients(f, image))
    stack = jnp.stack([image, image[::-1]])
    close(f(stack)[0], found, atol=1e-4 if dtype == "float32" else 1e-9, rtol=1e-3)


@pytest.mark.slow
@given(data=st.data(), size=st.sampled_from([1, 3, 21]), shift=st.floats(-0.5, 0.5))
def test_what_features_mean(data, size, shift):
    image = data.draw(pictures(SQUARE))
    mean = features.local_mean(image, size=size)
    assert mean.min() >= image.min() - 1e-12 and mean.max() <= image.max() + 1e-12
    close(features.local_mean(image + shift, size=size), mean + shift, atol=1e-12)
    stretched = features.min_max(image)
    assert np.all((stretched >= 0) & (stretched <= 1))
    close(features.contrast(image + shift), features.contrast(image), atol=1e-7)
    close(features.contrast(image), jnp.std(image), atol=1e-12)
    assert np.all(features.gradient_magnitude(image) >= 0)
    close(features.gradient_magnitude(image + shift), features.gradient_magnitude(image), atol=1e-9)
    assert np.all(features.spectral_edges(image) >= 0)
    maps = features.correlation_maps(image, lags=4)
    assert np.all(np.abs(features.transposed_maps(maps)) < 1e4)
    assert features.transposed_maps(maps).shape == maps.shape
    beside = [
        features.correlation_maps(
            jnp.pad(image, ((0, 3), (0, 5)), constant_values=value),
            lags=4,
            inside=jnp.array([8, 8]),
        )
        for value in (0.3, 0.9)
    ]
    close(*beside, atol=1e-9)
    patch, corner = features.distinct_patch(image, size=4, stride=2)
    row, column = map(int, corner)
    close(patch, image[row : row + 4, column : column + 4], atol=0)
    best = max(float(image[r : r + 4, c : c + 4].std()) for r in (0, 2, 4) for c in (0, 2, 4))
    np.testing.assert_allclose(patch.std(), best, atol=1e-9)
    refused(features.local_mean, image, size=2)
    refused(features.local_mean, image, size=0)
    for f in (features.log_spectrum, features.spectral_edges):
        refused(f, image[:5])
    refused(features.half_spectrum, image, size=7)
    refused(features.half_spectrum, image[:5], size=9)
    refused(features.correlation_maps, image, lags=9)
    refused(features.distinct_patch, image, size=9)


def psnr(x, y):
    return metrics.psnr(x, y)


def ssim(x, y):
    return metrics.ssim(x, y)


@given(data=st.data(), size=st.sampled_from([3, 7]), dtype=st.sampled_from(["float64"]))
def test_distances_of_images(data, size, dtype):
    """Symmetric, best for equal images, in their range, finite with finite gradients."""
    x, y = (data.draw(pictures((12, 13), dtype)) for _ in range(2))
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    uniform = functools.partial(metrics.ssim, window="uniform", size=size)
    for f in (metrics.ssim, uniform):
        value = f(x, y)
        assert value.shape == () and value.dtype == x.dtype
        assert -1 - tolerance <= value <= 1 + tolerance
        close(value, f(y, x), atol=tolerance)
        close(f(x, x), 1.0, atol=tolerance)
    assert np.isposinf(metrics.psnr(x, x)) and metrics.psnr(x, y) > -1e-4
    close(metrics.psnr(x, y), metrics.psnr(y, x), atol=tolerance)
    louder = metrics.psnr(255 * x, 255 * y, data_range=255.0)
    if np.isfinite(louder):
        close(louder, metrics.psnr(x, y), atol=1e-3, rtol=1e-4)
    for f in (psnr, ssim):
        assert finite(slope_of_pair(f)(x, y)) and finite(slope_of_pair(f)(x, x))
    colours = jnp.stack([x, y, x], -1)
    close(metrics.ssim(colours, colours, channel_axis=-1), 1.0, atol=tolerance)
    assert np.isposinf(metrics.psnr(colours, colours, channel_axis=-1))
    options = {"crop": 2, "max_shift": 1.0, "step": 0.5}
    found = metrics.align(x, y, **options)
    assert isinstance(found, metrics.Alignment) and np.all(np.abs(found.shift) <= 1)
    assert found.ssd >= -tolerance
    np.testing.assert_allclose(metrics.align(x, x, **options).ssd, 0, atol=tolerance)
    cropped = metrics.psnr(x[2:-2, 2:-2], y[2:-2, 2:-2])
    best = metrics.aligned_psnr(x, y, **options)
    assert best >= cropped - 1e-3 or np.isnan(best) == np.isnan(cropped) is True
    ratio = metrics.error_ratio(y, x, y, **options)
    assert np.isnan(ratio) or abs(ratio - 1) < 1e-6
    refuse_pairs(x)


def refuse_pairs(x):
    for f in (metrics.psnr, metrics.ssim, metrics.align, metrics.aligned_psnr):
        refused(f, x, x[:-1])
    refused(metrics.error_ratio, x, x, x[:-1])
    for wrong in (0.0, -1.0):
        refused(metrics.psnr, x, x, data_range=wrong)
        refused(metrics.ssim, x, x, data_range=wrong)
        refused(metrics.ssim, x, x, sigma=wrong)
        refused(metrics.align, x, x, crop=2, max_shift=1.0, step=wrong)
    refused(metrics.ssim, x[:5], x[:5])
    refused(metrics.ssim, x, x, window="round")
    refused(metrics.ssim, x, x, window="uniform", size=4)
    refused(metrics.align, x, x, crop=1, max_shift=2.0)
    refused(metrics.align, x, x, crop=7, max_shift=1.0)
    refused(metrics.align, x, x, crop=2, max_shift=1.0, step=0.3)


@functools.cache
def slope_of_pair(f):
    return jax.jit(jax.grad(f, (0, 1)))


@given(
    data=st.data(), seed=SEEDS, factor=st.floats(1e-6, 1e6), sizes=st.sampled_from([(5, 5), (3, 7)])
)
def test_similarity_of_kernels(data, seed, factor, sizes):
    rng = np.random.default_rng(seed)
    a, b = (jnp.asarray(rng.random((n, n)) * (rng.random((n, n)) < 0.5)) for n in sizes)
    value = metrics.kernel_similarity(a, b)
    assert 0 <= value <= 1 + 1e-9 and finite(value)
    close(value, metrics.kernel_similarity(b, a), atol=1e-9)
    close(value, metrics.kernel_similarity(factor * a, b), atol=1e-9)
    some = a.at[0, 0].add(1e-3)
    close(metrics.kernel_similarity(some, some), 1.0, atol=1e-9)
    shifted = jnp.zeros((9, 9)).at[2 : 2 + sizes[0], 1 : 1 + sizes[0]].set(some)
    close(metrics.kernel_similarity(some, shifted), 1.0, atol=1e-9)
    assert metrics.kernel_similarity(jnp.zeros((3, 3)), b) == 0
    assert finite(slope_of_pair(metrics.kernel_similarity)(a, b))
    assert finite(slope_of_pair(metrics.kernel_similarity)(0 * a, b))
    refused(metrics.kernel_similarity, a[0], b)


SCORES = st.lists(st.sampled_from([0.0, 0.5, 1.0, 0.25]) | st.floats(0, 1), min_size=6, max_size=6)
MASKS = st.lists(st.booleans(), min_size=6, max_size=6)


@pytest.mark.slow
@given(score=SCORES, mask=MASKS, beta2=magnitudes(4.0), levels=st.sampled_from([2, 256]))
def test_detection(score, mask, beta2, levels):
    score, truth = jnp.array(score), jnp.array(mask)
    some, all_of_them = any(mask), all(mask)
    value = metrics.f_measure(score, truth, beta2=beta2)
    assert value.shape == () and value.dtype == score.dtype and 0 <= value <= 1 + 1e-12
    close(metrics.f_measure(truth, truth, beta2=beta2), 1.0)
    if some:
        assert metrics.f_measure(~truth, truth, beta2=beta2) == 0
    curve = metrics.precision_recall(score, truth, levels=levels)
    assert isinstance(curve, metrics.PrecisionRecall)
    assert all(x.shape == (levels,) for x in curve) and finite(curve)
    for x in curve:
        assert np.all((x >= 0) & (x <= 1 + 1e-12))
    assert np.all(np.diff(curve.recall) <= 1e-12)
    area, precision = metrics.roc_auc(score, truth), metrics.average_precision(score, truth)
    assert np.isnan(area) if not some or all_of_them else 0 <= area <= 1 + 1e-12
    assert 0 < precision <= 1 + 1e-12 if some else np.isnan(precision)
    if some and not all_of_them:
        close(metrics.roc_auc(-score, truth), 1 - area)
        close(metrics.roc_auc(truth.astype(float), truth), 1.0)
        close(metrics.roc_auc(0 * score, truth), 0.5)
        close(metrics.average_precision(truth.astype(float), truth), 1.0)
    error = metrics.mean_absolute_error(score, truth)
    assert 0 <= error <= 1 and metrics.mean_absolute_error(truth, truth) == 0
    close(error, metrics.mean_absolute_error(truth.astype(float), score))
    p, r = score[:3], score[3:]
    f = metrics.f_score(p, r, beta2=beta2)
    assert np.all((f >= 0) & (f <= jnp.maximum(p, r) + 1e-12)) and finite(f)
    close(metrics.f_score(p, r, beta2=1.0), metrics.f_score(r, p, beta2=1.0))
    assert finite(jax.vmap(jax.grad(lambda a, b: metrics.f_score(a, b)))(p, r))
    for measure in (
        metrics.f_measure, metrics.precision_recall, metrics.roc_auc, metrics.average_precision,
        metrics.mean_absolute_error,
    ):  # fmt: skip
        refused(measure, score, truth[:5])
    refused(metrics.precision_recall, score, truth, levels=1)


LABELS = st.lists(st.integers(0, 3), min_size=6, max_size=6)


@given(label=LABELS, truth=LABELS, seed=SEEDS, bins=st.sampled_from([1, 15]))
def test_classification(label, truth, seed, bins):
    label, truth = jnp.array(label), jnp.array(truth)
    share = metrics.accuracy(label, truth)
    assert 0 <= share <= 1 and metrics.accuracy(label, label) == 1
    table = metrics.confusion_matrix(label, truth, classes=4)
    assert table.shape == (4, 4) and table.sum() == 6
    close(jnp.trace(table) / 6, share)
    close(table, metrics.confusion_matrix(truth, label, classes=4).T)
    raw = np.random.default_rng(seed).random((6, 4))
    probabilities = jnp.asarray(raw / raw.sum(-1, keepdims=True))
    error = metrics.expected_calibration_error(probabilities, truth, bins=bins)
    assert 0 <= error <= 1
    sure = jax.nn.one_hot(truth, 4, dtype=jnp.float64)
    close(metrics.expected_calibration_error(sure, truth, bins=bins), 0.0)
    close(metrics.expected_calibration_error(jnp.roll(sure, 1, -1), truth, bins=bins), 1.0)


def blur_effect(x):
    return metrics.blur_effect(x, size=3)


SHARPNESS = (metrics.variance_of_laplacian, metrics.tenengrad, blur_effect)


@pytest.mark.slow
@given(data=st.data(), shift=st.floats(-0.5, 0.5), dtype=st.sampled_from(["float64", "float32"]))
def test_sharpness_in_one_number(data, shift, dtype):
    image = data.draw(pictures(SQUARE, dtype))
    for f in SHARPNESS:
        value = f(image)
        assert value.shape == () and value.dtype == image.dtype and finite(value)
        assert value >= 0
        assert finite(gradients(f, image))
        if dtype == "float64":
            same_batched(f, jnp.stack([image, image.T]), atol=1e-9)
            if f is not blur_effect:
                close(f(image + shift), value, atol=1e-9)
    flat = jnp.full(SQUARE, 0.3, dtype)
    assert metrics.variance_of_laplacian(flat) < 1e-12 and metrics.tenengrad(flat) < 1e-12
    for size in (2, 11):
        assert 0 <= metrics.blur_effect(image, size=size) <= 1
        assert metrics.blur_effect(flat, size=size) == 1
    refused(metrics.blur_effect, image, size=1)
    refused(metrics.blur_effect, image[:3])
