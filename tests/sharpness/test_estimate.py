"""sharpness.estimate: every method's answer, and reasons where there is none."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import data, imaging, psf, sharpness, weights
from blurjax.sharpness import Config

DETECTOR, METRIC = Config(width=8), Config(body="metric")
OTHERS = sharpness.METHODS[1:]


@functools.cache
def variables(method):
    """Stand-ins that answer something: where only the answer's form matters."""
    if method == "detector":
        return sharpness.init(jax.random.key(0), DETECTOR)
    fixed = jnp.asarray(sharpness.fixed_kernels())
    random = jax.random.normal(jax.random.key(1), (2, 7, 7), jnp.float32)
    lines = {
        "first": {"scale": jnp.float32(1.5), "offset": jnp.float32(1.0)},
        "second": {"scale": jnp.float32(1.2), "offset": jnp.float32(0.1)},
    }
    energy = {"first": {"scale": jnp.float32(1.0), "offset": jnp.float32(7.0)}}
    lbp = {"first": {"scale": jnp.float32(1.0), "offset": jnp.float32(2.0)}}
    return {
        "params": {
            "metric": fixed[::-1],
            "fixed": fixed,
            "untrained": sharpness.unit_kernels(random),
        },
        "state": dict.fromkeys(sharpness.KERNELS, lines) | {"lbp": lbp, "gradient_energy": energy},
    }


def estimate(image, method="metric", **options):
    config = DETECTOR if method == "detector" else METRIC
    return sharpness.estimate(image, variables(method), config, method=method, **options)


@pytest.fixture(scope="module")
def half_blurred():
    """A photograph, out of focus at the right; 8 bits."""
    image = jnp.asarray(data.embedded("test")[0][:96, 40:180])
    blurred = imaging.blur(image, psf.defocus(np.float32(4), size=11))
    image = jnp.where(jnp.arange(140)[None] < 70, image, blurred)
    return np.rint(255 * np.asarray(image)).astype(np.uint8)


# ---- answers


@pytest.mark.slow
@pytest.mark.parametrize("method", sharpness.METHODS)
def test_every_method_gives_a_map_a_mask_and_a_share(half_blurred, method):
    answer = estimate(half_blurred, method)
    assert answer.status == "ok"
    assert answer.sharpness.shape == answer.mask.shape == half_blurred.shape
    assert answer.sharpness.dtype == np.float32 and answer.mask.dtype == bool
    assert answer.sharpness.min() >= 0 and answer.sharpness.max() <= 1
    assert np.std(answer.sharpness) > 1e-3
    np.testing.assert_array_equal(answer.mask, answer.sharpness > 0.5)
    assert isinstance(answer.sharp_fraction, float)
    assert answer.sharp_fraction == pytest.approx(answer.mask.mean())
    if method not in ("detector", "untrained"):
        assert answer.sharpness[:, :50].mean() > answer.sharpness[:, 90:].mean() + 0.1


@pytest.mark.parametrize("method", ["metric", "lbp"])
def test_refinement_is_of_the_metric_alone(half_blurred, method):
    refined, raw = (estimate(half_blurred, method, refine=refine) for refine in (True, False))
    if method == "lbp":
        np.testing.assert_array_equal(refined.sharpness, raw.sharpness)
    else:
        ends = [np.mean((x < 0.05) | (x > 0.9)) for x in (refined.sharpness, raw.sharpness)]
        assert ends[0] > ends[1] + 0.2


def test_the_untrained_and_the_fixed_kernels_are_their_own(half_blurred):
    maps = [estimate(half_blurred, method, refine=False).sharpness for method in sharpness.KERNELS]
    for i in range(3):
        assert np.abs(maps[i] - maps[i - 1]).max() > 0.01


def test_measure_by_hand(half_blurred):
    gray = jnp.asarray(half_blurred / np.float32(255))
    found = sharpness.measure(variables("metric"), gray, METRIC, method="gradient_energy")
    energy = np.asarray(sharpness.gradient_energy(gray), float)
    expected = 1 / (1 + np.exp(-(np.log(energy + 1e-5) + 7)))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    wide = sharpness.measure(
        variables("metric"), gray.astype(float), METRIC, method="gradient_energy"
    )
    assert wide.dtype == jnp.float64
    np.testing.assert_allclose(wide, found, atol=1e-5)


def test_all_kinds_of_images_are_the_same(half_blurred):
    answer = estimate(half_blurred)
    gray = half_blurred / np.float32(255)
    same = {
        "floats": gray,
        "doubles": gray.astype(float),
        "16 bits": half_blurred.astype(np.uint16) * 257,
        "colour": np.repeat(half_blurred[..., None], 3, axis=-1),
        "jax": jnp.asarray(gray),
    }
    for name, image in same.items():
        again = estimate(image)
        np.testing.assert_allclose(again.sharpness, answer.sharpness, atol=1e-3, err_msg=name)


def test_large_images_are_reduced_and_their_map_enlarged(half_blurred):
    middle = np.clip(half_blurred, 20, 235).astype(int)
    # Four pixels about each, whose mean it is.
    apart = 20 * np.random.default_rng(0).choice([-1, 1], middle.shape)
    large = np.kron(middle, np.ones((2, 2), int)) + np.kron(apart, [[1, -1], [-1, 1]])
    answer, small = estimate(large.astype(np.uint8), size=140), estimate(middle.astype(np.uint8))
    assert answer.status == "ok" and answer.sharpness.shape == large.shape
    assert answer.sharpness.min() >= 0 and answer.sharpness.max() <= 1
    np.testing.assert_allclose(answer.sharpness[::2, ::2], small.sharpness, atol=0.15)
    assert np.abs(answer.sharpness[::2, ::2] - small.sharpness).mean() < 0.01
    # As large as it may be: as it is.
    whole = estimate(middle.astype(np.uint8), size=None)
    np.testing.assert_array_equal(whole.sharpness, small.sharpness)


def test_of_a_long_strip_the_shorter_side_stays_large_enough(half_blurred):
    strip = np.kron(half_blurred[:40], np.ones((1, 2), np.uint8))
    answer = estimate(strip, size=64)
    assert answer.status == "ok" and answer.sharpness.shape == strip.shape


def test_the_mask_may_be_adaptive(half_blurred):
    plain, adaptive = (estimate(half_blurred, adaptive=factor) for factor in (None, 1.5))
    np.testing.assert_array_equal(adaptive.sharpness, plain.sharpness)
    expected = plain.sharpness >= min(1.5 * plain.sharpness.mean(), 1)
    assert np.mean(adaptive.mask == expected) > 0.999
    assert adaptive.sharp_fraction == pytest.approx(adaptive.mask.mean())
    assert np.any(adaptive.mask != plain.mask)


# ---- no answers


@pytest.mark.parametrize(
    ("image", "options", "status"),
    [
        (
            np.random.default_rng(0).uniform(size=(31, 200)),
            {},
            "image is 31x200 pixels; sharpness needs at least 32x32",
        ),
        (np.full((50, 60), 0.4), {}, "too little texture: the image is flat"),
    ],
)
@pytest.mark.parametrize("method", ["detector", "metric"])
def test_too_small_and_flat_images_get_no_answer(image, options, status, method):
    answer = estimate(image, method, **options)
    assert answer.status == status
    assert answer.sharpness.shape == answer.mask.shape == image.shape
    assert answer.sharpness.dtype == np.float32 and answer.mask.dtype == bool
    assert np.all(answer.sharpness == 0.5) and not answer.mask.any()
    assert answer.sharp_fraction == 0


@pytest.mark.parametrize(
    ("image", "options", "words"),
    [
        (np.full((64, 64), 200.0), {}, r"\[200, 200\]; scale it"),
        (np.zeros((64, 64, 4)), {}, r"shape \(64, 64, 4\)"),
        (np.full((64, 64), np.nan), {}, "not finite"),
        (np.zeros((64, 64), int), {}, "int64; pass floats"),
        (np.zeros((64, 64)), {"method": "hifst"}, "method is 'hifst'; choose one of"),
        (np.zeros((64, 64)), {"size": 31}, "size is 31; give at least 32"),
    ],
)
def test_what_cannot_be_meant_is_refused(image, options, words):
    with pytest.raises(ValueError, match=words):
        sharpness.estimate(image, variables("metric"), METRIC, **{"method": "metric"} | options)


def test_variables_of_another_kind_are_refused(half_blurred):
    with pytest.raises(ValueError, match=r'load\("metric"\) those of the other methods'):
        sharpness.estimate(half_blurred, variables("metric"), METRIC)
    with pytest.raises(ValueError, match=r"'fixed' and the variables are of a 'detector'"):
        sharpness.estimate(half_blurred, variables("detector"), DETECTOR, method="fixed")
    # The patch network answers for no image, whatever is asked of it.
    with pytest.raises(ValueError, match=r"'metric' and the variables are of a 'patches'"):
        sharpness.estimate(half_blurred, {}, Config(body="patches"), method="metric")
    gray = jnp.asarray(half_blurred / np.float32(255))
    with pytest.raises(ValueError, match="method is 'detector'; choose one of"):
        sharpness.measure(variables("metric"), gray, METRIC, method="detector")
    with pytest.raises(ValueError, match="at least 32x32"):
        sharpness.measure(variables("metric"), gray[:31], METRIC)


# ---- weights


def test_load_reads_files(tmp_path):
    file = weights.save(tmp_path / "w.npz", variables("metric"), METRIC, {})
    loaded, config = sharpness.load(file)
    assert config == METRIC
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=2e-3), loaded, variables("metric")
    )
    with pytest.raises(weights.WeightsError, match=r"nowhere.npz does not exist"):
        sharpness.load("nowhere.npz")


def test_the_shipped_weights_are_those_of_every_method():
    detector, config = sharpness.load()
    assert config.body == "detector"
    fresh = jax.eval_shape(lambda key: sharpness.init(key, config), jax.random.key(0))
    assert jax.tree.map(jnp.shape, detector) == jax.tree.map(jnp.shape, fresh)
    metric, config = sharpness.load("metric")
    assert config.body == "metric"
    assert set(metric["params"]) == set(sharpness.KERNELS)
    assert set(metric["state"]) == set(OTHERS)
    for kernels in metric["params"].values():
        assert kernels.shape[0] == 2
        np.testing.assert_allclose(jnp.sum(kernels, axis=(1, 2)), 0, atol=5e-3)
        np.testing.assert_allclose(jnp.sum(kernels**2, axis=(1, 2)), 1, atol=5e-3)
    for answers in metric["state"].values():
        assert all(answer["scale"] > 0 for answer in answers.values())


def test_the_shipped_detector_tells_a_sharp_photograph_from_a_blurred_one():
    # Coffee: a photograph on which nothing was trained.
    image = jnp.asarray(data.embedded("test")[0][:256, :320])
    sharp = sharpness.estimate(image)
    blurred = sharpness.estimate(
        imaging.quantise(imaging.blur(image, psf.defocus(np.float32(6), size=15)))
    )
    assert sharp.status == blurred.status == "ok"
    assert sharp.sharp_fraction > 0.8 and blurred.sharp_fraction < 0.05
