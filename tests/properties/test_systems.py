"""The five systems: networks of a few weights on every kind of image, samplers, estimates."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blurjax
from blurjax import blur_type, data, kernel_size, region, sharpness, sigma_map
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
)

KEY = jax.random.key(5)


class System(NamedTuple):
    room: object
    config: object
    shape: tuple
    """Of the images that its network takes, the first axis that of the batch."""
    labelled: object
    """Images and a seed -> a batch to learn from."""


def blur_type_batch(images, rng):
    n = len(images)
    label = jnp.arange(n) % 3
    return blur_type.Batch(
        images, label, jnp.asarray(rng.uniform(3, 5, n), images.dtype),
        jnp.asarray(rng.uniform(0, 3, n), images.dtype), jnp.ones(n, images.dtype),
        jnp.zeros(n, int), jnp.zeros((), images.dtype),
    )  # fmt: skip


def sigma_map_batch(images, rng):
    sigma = jnp.asarray(rng.uniform(0, 3, images.shape), images.dtype)
    return sigma_map.Batch(images, sigma, jnp.zeros(len(images), int))


def sharpness_batch(images, rng):
    sharp = jnp.asarray(rng.random(images.shape) < 0.5, images.dtype)
    return sharpness.Batch(images, sharp, jnp.zeros(len(images), int))


def kernel_size_batch(images, rng):
    n = len(images)
    return kernel_size.Batch(
        images, jnp.full((n, 2), images.shape[-1]), jnp.asarray(rng.integers(1, 16, (n, 2))),
        jnp.ones(n, images.dtype), jnp.zeros(n, int), jnp.zeros((), images.dtype),
    )  # fmt: skip


def region_batch(images, rng):
    return region.Batch(
        images, jnp.asarray(rng.random(len(images)), images.dtype), jnp.zeros(len(images), int)
    )


SYSTEMS = {
    "blur_type": System(
        blur_type, blur_type.Config(hidden=(8, 4), memory=6), (6, 32, 32), blur_type_batch
    ),
    "sigma_map": System(sigma_map, sigma_map.Config(width=8), (2, 32, 32), sigma_map_batch),
    "sharpness": System(sharpness, sharpness.Config(width=8), (2, 32, 32), sharpness_batch),
    "kernel_size": System(
        kernel_size, kernel_size.Config(channels=8, lags=16), (2, 128, 128), kernel_size_batch
    ),
    "region": System(
        region, region.Config(depth=10, width=4, reduced=2), (2, 64, 64), region_batch
    ),
}


@functools.cache
def variables_of(name):
    system = SYSTEMS[name]
    variables = jax.tree.map(lambda x: x.astype(jnp.float32), system.room.init(KEY, system.config))
    if name == "blur_type":
        images = jnp.asarray(picture("noise", system.shape, 3), jnp.float32)
        variables = blur_type.standardise(variables, images, system.config)
        batch = blur_type_batch(images, np.random.default_rng(0))
        variables = blur_type.remember(variables, batch, system.config)
    return variables


@functools.cache
def learning(name):
    room, config, _, _ = SYSTEMS[name]

    def loss(params, variables, batch):
        return room.loss(variables | {"params": params}, batch, config, key=KEY)

    return jax.jit(jax.value_and_grad(loss, has_aux=True))


@functools.cache
def predicting(name):
    room, config, _, _ = SYSTEMS[name]
    return jax.jit(lambda v, x: (room.apply(v, x, config), room.predict(v, x, config)))


@pytest.mark.parametrize("name", dear(SYSTEMS, ("sigma_map",)))
@given(data=st.data(), seed=SEEDS)
def test_networks_answer_every_image(name, data, seed):
    """Finite, in their ranges, the same twice; a step of learning is finite too."""
    room, _, shape, labelled = SYSTEMS[name]
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=2))
    images = jnp.stack(
        [
            jnp.asarray(picture(kinds[i % 2], shape[1:], seed + i), jnp.float32)
            for i in range(shape[0])
        ]
    )
    variables = variables_of(name)
    said, prediction = predicting(name)(variables, images)
    assert finite(said) and finite(prediction)
    assert isinstance(prediction, room.Prediction)
    check_prediction(name, prediction, images)
    batch = labelled(images, np.random.default_rng(seed))
    assert isinstance(batch, room.Batch)
    (value, aux), slopes = learning(name)(variables["params"], variables, batch)
    assert value.shape == () and isinstance(aux, room.Aux)
    assert finite((value, aux, slopes)), kinds
    assert jax.tree.structure(slopes) == jax.tree.structure(variables["params"])
    close(aux.metrics["loss"], value, atol=1e-6)
    again, _ = learning(name)(variables["params"], variables, batch)
    close(again[0], value, atol=0)


def check_prediction(name, found, images):
    n, dtype = len(images), images.dtype
    assert all(x.shape[0] == n for x in found)
    if name == "blur_type":
        close(found.probabilities.sum(-1), jnp.ones(n), atol=1e-5)
        assert np.all(found.label == jnp.argmax(found.logits, -1))
        assert np.all((found.angle >= 0) & (found.angle <= np.pi + 1e-6))
        assert all(np.all(x >= 0) for x in (found.sigma, found.length, found.radius))
    elif name == "sigma_map":
        assert found.sigma.shape == images.shape == found.spread.shape
        assert found.sigma.dtype == dtype and np.all(found.sigma >= 0) and np.all(found.spread >= 0)
    elif name == "sharpness":
        assert found.sharpness.shape == images.shape
        assert np.all((found.sharpness >= 0) & (found.sharpness <= 1))
    elif name == "kernel_size":
        assert np.all((found.low <= found.high) & (found.low >= 0) & (found.high <= 98))
        assert np.all((found.size >= found.low - 1e-3) & (found.size <= found.high + 1e-3))
    else:
        assert found.score.shape == (n,) and np.all((found.score >= 0) & (found.score <= 1))


@pytest.mark.slow
@given(seed=SEEDS)
def test_networks_refuse_images_of_another_size(seed):
    small = jnp.zeros((2, 31, 31), jnp.float32)
    for name, (room, config, _, _) in SYSTEMS.items():
        refused(room.apply, variables_of(name), small, config)
        refused(room.predict, variables_of(name), small, config)
    for config, wrong in (
        (blur_type.Config, {"body": "round"}), (blur_type.Config, {"sigma": (3.0, 1.0)}),
        (blur_type.Config, {"feature": "none"}), (blur_type.Config, {"recall": "none"}),
        (sigma_map.Config, {"body": "round"}), (sigma_map.Config, {"classes": 1}),
        (sigma_map.Config, {"width": 7}), (sharpness.Config, {"body": "round"}),
        (sharpness.Config, {"kernel": 4}), (kernel_size.Config, {"lags": 15}),
        (kernel_size.Config, {"depth": 9}), (region.Config, {"threshold": 1.0}),
        (region.Config, {"target": "none"}),
    ):  # fmt: skip
        refused(config, **wrong)


# Of each system the least image that `estimate` takes.
ESTIMATES = {
    "blur_type": (blur_type.estimate, blur_type.MIN_SIZE),
    "sigma_map": (sigma_map.estimate, sigma_map.MIN_SIZE),
    "sharpness": (sharpness.estimate, sharpness.MIN_SIZE),
    "kernel_size": (kernel_size.estimate, kernel_size.MIN_SIZE),
    "region": (functools.partial(region.estimate, size=64), region.MIN_SIZE),
}


@pytest.mark.parametrize("name", dear(ESTIMATES, set(ESTIMATES) - {"blur_type"}))
@given(
    kind=st.sampled_from(KINDS),
    seed=SEEDS,
    channels=st.booleans(),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float64]),
)
def test_estimates_of_every_image(name, kind, seed, channels, dtype):
    """With the shipped weights, at the least size: an answer in its range, or the reason."""
    estimate, least = ESTIMATES[name]
    image = picture(kind, (least, least), seed)
    if channels:
        image = np.stack([image] * 3, -1)
    if dtype != np.float64:
        image = np.rint(image * np.iinfo(dtype).max).astype(dtype)
    found = estimate(image)
    assert isinstance(found, SYSTEMS[name].room.Estimate)
    assert found.status == "ok" or (10 < len(found.status) < 200 and "\n" not in found.status)
    if kind in ("zeros", "ones", "constant"):
        assert found.status != "ok"
    numbers = [x for x in found if isinstance(x, np.ndarray | float)]
    for number in numbers:
        known = np.asarray(number)
        if name == "sigma_map" and found.sigma is number:
            known = known[found.valid]
        if found.status == "ok":
            assert np.all(np.isfinite(known.astype(np.float64)))
    small = estimate(picture("noise", (least - 1, 2 * least), seed))
    assert small.status != "ok" and str(least) in small.status
    tiny = estimate(np.zeros((1, 1)))
    assert tiny.status != "ok"


@given(name=st.sampled_from(sorted(ESTIMATES)), seed=SEEDS)
def test_estimates_refuse_what_is_no_image(name, seed):
    estimate, least = ESTIMATES[name]
    image = picture("noise", (least, least), seed)
    for wrong in (
        image[0], image[None, None], np.zeros((0, least)), np.stack([image] * 4, -1),
        np.where(image < 0.5, np.nan, image), np.where(image < 0.5, np.inf, image), image + 5,
        image - 5, image > 0.5, (9 * image).astype(np.int32), image * 1j, image.astype(str),
    ):  # fmt: skip
        refused(estimate, wrong)
        refused(blurjax.analyze, wrong)
        refused(blurjax.deblur, wrong)
    refused(region.estimate, image, size=63)
    refused(region.estimate, image, top=0)
    refused(kernel_size.estimate, picture("noise", (128, 128)), margin=-1.0)
    refused(kernel_size.estimate, picture("noise", (128, 128)), margin=np.nan)
    refused(sharpness.estimate, image, method="guess")
    refused(sigma_map.estimate, image, threshold=0.0)
    refused(region.estimate_kernel, picture("noise", (228, 228)), size=4)
    for room in (blur_type, sigma_map, sharpness, kernel_size, region):
        refused(room.load, "/nowhere/at/all.npz")


@pytest.mark.parametrize("room", [blur_type, sigma_map, sharpness, kernel_size, region])
def test_shipped_weights_load(room):
    variables, config = room.load()
    assert isinstance(config, room.Config) and finite(variables)


# ---- samplers


@functools.cache
def sharp_photographs(n, side):
    return jnp.asarray(
        np.stack([np.rint(255 * picture("steps", (side, side), i)) for i in range(n)]), jnp.uint8
    )


NEAR = blur_type.Config(
    hidden=(8, 4), memory=6, sigma=(0.5, 1.0), length=(2.0, 3.0), radius=(1.0, 1.5)
)


def repeatable(draw, seed):
    """What a sampler draws is the same for the same key; another key draws something else."""
    key = jax.random.key(seed)
    batch = draw(key)
    assert finite(batch)
    for leaf, again in zip(jax.tree.leaves(batch), jax.tree.leaves(draw(key)), strict=True):
        assert np.array_equal(leaf, again)
    return batch


@pytest.mark.slow
@given(seed=SEEDS)
def test_samples_of_blur_type(seed):
    batch = repeatable(
        lambda key: blur_type.sample(key, sharp_photographs(2, 64), NEAR, n=6, rule="none"), seed
    )
    assert batch.patches.shape == (6, 32, 32) and np.all(
        (batch.patches >= 0) & (batch.patches <= 1)
    )
    assert np.array_equal(batch.label, np.arange(6) % 3) and np.all(
        (batch.weight >= 0) & (batch.weight <= 1)
    )
    assert np.all((batch.image >= 0) & (batch.image < 2)) and 0 <= batch.rejected <= 1
    assert blur_type.margin(NEAR) >= 4
    some = blur_type.rows(batch, slice(0, 2))
    assert len(some.patches) == 2 and some.rejected == batch.rejected
    around = blur_type.turned(jax.random.key(seed), batch)
    close(jnp.sort(around.patches.ravel()), jnp.sort(batch.patches.ravel()), atol=0)
    assert np.array_equal(around.label, batch.label)
    for rule in blur_type.RULES:
        good = blur_type.satisfies(batch.patches, rule)
        assert good.shape == (6,) and good.dtype == bool
        assert not np.any(blur_type.satisfies(jnp.zeros((1, 32, 32)), rule))
    fixed = blur_type.collect(jax.random.key(seed), sharp_photographs(2, 64), NEAR, n=3)
    assert np.all(fixed.weight == 1) and sorted(map(int, fixed.label)) == [0, 1, 2]
    for wrong in (
        {"n": 4},
        {"n": 6, "rule": "odd"},
        {"n": 6, "linear": "odd"},
        {"n": 6, "kinds": ("odd",) * 3},
    ):
        refused(blur_type.sample, KEY, sharp_photographs(2, 64), NEAR, **wrong)
    refused(blur_type.sample, KEY, sharp_photographs(2, 32), NEAR, n=6)


@given(a=st.floats(-10, 10), b=st.floats(-10, 10), turns=st.integers(-3, 3))
def test_errors_of_angles(a, b, turns):
    error = blur_type.circular_error(a, b)
    assert 0 <= error <= np.pi / 2 + 1e-9
    close(error, blur_type.circular_error(b, a), atol=1e-9)
    close(error, blur_type.circular_error(a + turns * np.pi, b), atol=1e-9)
    assert blur_type.circular_error(a, a) == 0


@given(
    seed=SEEDS,
    image=pictures((9, 8)),
    iterations=st.sampled_from([0, 1, 50]),
    step=st.floats(0, 0.25),
)
def test_maps_of_sigma_are_smoothed(seed, image, iterations, step):
    low, high = float(image.min()) - 1e-9, float(image.max()) + 1e-9
    for smooth in (
        sigma_map.heat_flow(image, iterations=iterations, step=step),
        sigma_map.median(image, size=3),
        sigma_map.median(image, size=1),
    ):
        assert smooth.shape == image.shape and smooth.dtype == image.dtype and finite(smooth)
        assert np.all((smooth >= low) & (smooth <= high))
    close(
        sigma_map.heat_flow(image, iterations=iterations, step=step).mean(), image.mean(), atol=1e-9
    )
    guide = jnp.asarray(picture("noise", (9, 8), seed))
    for radius in (0, 2, 20):
        found = sigma_map.guided(image, guide, radius=radius)
        assert found.shape == image.shape and finite(found)
    close(sigma_map.guided(jnp.full((9, 8), 0.4), guide), jnp.full((9, 8), 0.4), atol=1e-9)
    valid = np.random.default_rng(seed).random((9, 8)) < 0.3
    valid[0, 0] = True
    filled = sigma_map.fill(image, jnp.full((9, 8), 0.1), valid, guide)
    assert filled.dtype == image.dtype and finite(filled)
    close(filled[valid], np.asarray(image)[valid], atol=0)
    assert np.all((filled >= low - 1e-6) & (filled <= high + 1e-6))
    refused(sigma_map.fill, image, image, np.zeros((9, 8), bool), guide)
    refused(sigma_map.fill, image, image, valid[1:], guide)
    refused(sigma_map.median, image, size=2)
    refused(sigma_map.median, image.at[0, 0].set(np.nan))
    for wrong in (-0.1, 0.3):
        refused(sigma_map.heat_flow, image, iterations=2, step=wrong)
    refused(sigma_map.heat_flow, image, iterations=-1)
    refused(sigma_map.guided, image, guide, radius=-1)
    refused(sigma_map.guided, image, guide, epsilon=0.0)


CLASSES = sigma_map.Config(body="classifier", classes=4)


@pytest.mark.slow
@given(seed=SEEDS, scale=st.sampled_from([0.0, 1.0, 1e3]))
def test_classes_of_sigma(seed, scale):
    sigmas = sigma_map.class_sigmas(CLASSES)
    assert sigmas.shape == (4,) and np.all(np.diff(sigmas) > 0) and sigmas[-1] == CLASSES.top
    logits = scale * jax.random.normal(jax.random.key(seed), (3, 4))
    for way in sigma_map.DECODES:
        sigma, spread = sigma_map.decode(logits, CLASSES, way)
        assert np.all((sigma >= 0) & (sigma <= CLASSES.top + 1e-6)) and np.all(spread >= 0)
    truth = jnp.array([0.0, 1e-3, 1.3, 99.0])
    soft = sigma_map.soft_labels(truth, CLASSES)
    assert soft.shape == (4, 4) and np.all(soft >= 0)
    np.testing.assert_allclose(soft.sum(-1), 1, atol=1e-6)
    refused(sigma_map.decode, logits, CLASSES, "guess")
    images = jnp.asarray(picture("noise", (2, 33, 34), seed), jnp.float32)
    variables = classifier()
    maps = sigma_map.dense(variables, images, CLASSES, stride=2)
    assert maps.shape == (2, 1, 2, 4) and finite(maps)
    close(maps[:, 0, 0], sigma_map.apply(variables, images[:, :32, :32], CLASSES), atol=1e-3)
    assert sigma_map.margin(CLASSES) >= 4 * CLASSES.top
    gray = picture("noise", (33, 40), seed, np.float32)
    small = variables_of("sigma_map")
    close(
        sigma_map.tiled(small, gray, SYSTEMS["sigma_map"].config),
        sigma_map.predict(small, jnp.asarray(gray)[None], SYSTEMS["sigma_map"].config),
        atol=1e-4,
    )


@functools.cache
def classifier():
    images = jnp.asarray(picture("noise", (2, 32, 32), 1), jnp.float32)
    return sigma_map.standardise(sigma_map.init(KEY, CLASSES), images, CLASSES)


@given(seed=SEEDS)
def test_samples_of_sigma_map(seed):
    batch = repeatable(
        lambda key: sigma_map.sample(key, sharp_photographs(2, 64), CLASSES, n=2), seed
    )
    assert batch.images.shape == (2, 32, 32) and np.all((batch.images >= 0) & (batch.images <= 1))
    assert np.all((batch.sigma >= 0) & (batch.sigma <= 4))
    refused(sigma_map.sample, KEY, sharp_photographs(2, 40), CLASSES, n=2)
    refused(sigma_map.sample, KEY, sharp_photographs(2, 64), CLASSES, n=2, light="dark")
    refused(sigma_map.sample, KEY, sharp_photographs(2, 64), CLASSES, n=3)


@pytest.mark.slow
@given(seed=SEEDS, image=pictures((36, 33)), factor=st.sampled_from([0.5, 1.5]))
def test_local_sharpness(seed, image, factor):
    for mode in sharpness.MODES:
        for contrast in (True, False):
            kernels = jnp.asarray(sharpness.fixed_kernels(7))
            found = sharpness.local_metric(
                image, kernels.astype(image.dtype), mode=mode, contrast=contrast
            )
            assert finite(found) and found.shape == ((9, 9) if contrast else (36, 33))
    refused(sharpness.local_metric, image, kernels.astype(image.dtype), mode="guess")
    pattern = sharpness.lbp(image, windows=(3, 5))
    assert pattern.shape == image.shape and np.all((pattern >= -1e-9) & (pattern <= 1 + 1e-9))
    energy = sharpness.gradient_energy(image, window=5)
    assert energy.shape == image.shape and np.all(energy >= -1e-12) and finite(energy)
    for windows in ((), (2,)):
        refused(sharpness.lbp, image, windows=windows)
    refused(sharpness.gradient_energy, image, window=2)
    for rule in sharpness.THRESHOLDS:
        refined = sharpness.refine(
            image[:8, :8], iterations=(2, 3), weights=(0.5, 0.5), threshold=rule
        )
        assert np.all((refined >= 0) & (refined <= 1)) and finite(refined)
    refused(sharpness.refine, image, threshold="guess")
    refused(sharpness.refine, image, iterations=(3, 2), weights=(0.5, 0.5))
    refused(sharpness.refine, image, iterations=(3,), weights=(0.5, 0.5))
    mask = sharpness.adaptive_mask(image, factor=factor)
    assert mask.shape == image.shape and mask.dtype == bool
    assert not np.any(sharpness.adaptive_mask(0 * image, factor=factor))
    raw = jax.random.normal(jax.random.key(seed), (5, 5, 6))
    made = sharpness.metric_kernels(raw, k=2)
    assert (
        isinstance(made, sharpness.Components) and made.kernels.shape == (2, 5, 5) and finite(made)
    )
    unit = sharpness.unit_kernels(jnp.moveaxis(raw, -1, 0))
    np.testing.assert_allclose(unit.sum((-2, -1)), 0, atol=1e-9)
    np.testing.assert_allclose((unit**2).sum((-2, -1)), 1, atol=1e-9)
    for k in (0, 6):
        refused(sharpness.metric_kernels, raw, k=k)


@given(
    kind=st.sampled_from(KINDS),
    seed=SEEDS,
    method=st.sampled_from(["fixed", "lbp", "gradient_energy"]),
)
def test_measures_of_sharpness(kind, seed, method):
    variables, config = sharpness.load("metric")
    gray = jnp.asarray(picture(kind, (32, 33), seed), jnp.float32)
    found = sharpness.measure(variables, gray, config, method=method)
    assert found.shape == gray.shape and np.all((found >= 0) & (found <= 1)) and finite(found)
    refused(sharpness.measure, variables, gray, config, method="detector")


@functools.cache
def scenes():
    rows, columns = np.mgrid[:96, :96]
    segments = ((rows // 24 + columns // 32) % 5).astype(np.uint8)
    return data.Scenes(
        np.asarray(sharp_photographs(2, 96)), np.stack([segments] * 2), np.arange(2, dtype=np.int32)
    )


@pytest.mark.slow
@given(seed=SEEDS)
def test_samples_of_sharpness(seed):
    batch = repeatable(lambda key: sharpness.compose(key, scenes(), n=2), seed)
    assert batch.images.shape == batch.sharp.shape == (2, 96, 96)
    for x in (batch.images, batch.sharp):
        assert np.all((x >= 0) & (x <= 1))
    whole = sharpness.sample(jax.random.key(seed), scenes(), n=2)
    assert isinstance(whole, sharpness.Batch)
    centres = sharpness.superpixel_centres(batch.images, n=9)
    assert centres.shape == (2, 9, 2) and np.all((centres >= 0) & (centres < 96))
    cut = sharpness.cut_patches(jax.random.key(seed), batch, centres, per_image=4)
    assert isinstance(cut, sharpness.PatchBatch) and cut.images.shape == (8, 32, 32)
    refused(sharpness.cut_patches, KEY, batch, centres, per_image=3)
    refused(sharpness.compose, KEY, scenes(), n=0)
    refused(sharpness.compose, KEY, scenes(), n=1, light="dark")


@pytest.mark.slow
@given(kind=st.sampled_from(KINDS), seed=SEEDS, sides=st.sampled_from([(128, 130), (64, 64)]))
def test_sizes_of_kernels(kind, seed, sides):
    config = SYSTEMS["kernel_size"].config
    known = kernel_size.sizes(config)
    assert np.all(np.diff(known) > 0)
    numbers = kernel_size.range_of(np.array([0.0, 3.0, 18.9, 19.0, 95.0, 1e3]))
    assert np.all(np.diff(numbers) >= 0) and numbers[0] == 0 and numbers[-1] == 4
    images = jnp.asarray(picture(kind, (2, 128, 130), seed), jnp.float32)
    seen = kernel_size.patches(images, kernel_size.Config(body="single", depth=10, width=4))
    assert seen.shape == (2, 128, 128) and finite(seen)
    np.testing.assert_allclose(seen.mean((1, 2)), 0, atol=1e-3)
    found = kernel_size.automap(images)
    assert found.shape == (2, 2) and np.all((found >= 1) & (found <= 97))
    batch, inside = kernel_size.framed(picture("noise", sides, seed, np.float32))
    assert batch.shape[0] == 1 and all(n % 64 == 0 for n in batch.shape[1:])
    assert tuple(inside[0]) == sides
    joint = jax.random.normal(jax.random.key(seed), (3, len(known)))
    for decoding in kernel_size.DECODINGS:
        size, low, high = kernel_size.decode(
            kernel_size.Scores(joint), config, jnp.asarray(1.0), decoding=decoding
        )
        assert np.all((low <= high) & (low >= 0)) and finite((size, low, high))
    refused(kernel_size.patches, images[:, :100], config)


@given(seed=SEEDS)
def test_samples_of_kernels(seed):
    extents = jnp.array([1, 7, 20])
    kernels, sizes = repeatable(lambda key: kernel_size.sample_kernels(key, extents, n=3), seed)
    assert kernels.shape == (3, 101, 101) and np.all(kernels >= 0)
    np.testing.assert_allclose(kernels.sum((1, 2)), 1, atol=1e-4)
    assert sizes.shape == (3, 2) and np.all(sizes >= 1)
    assert kernel_size.LARGEST == 95
    refused(kernel_size.sample, KEY, sharp_photographs(1, 100), SYSTEMS["kernel_size"].config, n=2)
    config = SYSTEMS["kernel_size"].config
    refused(kernel_size.sample, KEY, sharp_photographs(1, 128), config, n=2, light="dark")


@given(image=pictures((64, 65)), side=st.sampled_from([1, 5]))
def test_what_windows_hold(image, side):
    for f, most in (
        (region.contrast, 0.49), (region.gradient_std, 2.0),
        (functools.partial(region.useful_edges, side=side), 1.0),
    ):  # fmt: skip
        value = f(image)
        assert value.shape == () and finite(value) and -1e-12 <= value <= most + 1e-6
        assert value.dtype == image.dtype
        flat = f(jnp.full((64, 65), 0.3))
        assert flat <= 1e-9
    numbers = region.gabor_statistics(image)
    assert numbers.ndim == 1 and finite(numbers) and 0 <= numbers[-1] <= 1
    refused(region.useful_edges, image, side=2)
    refused(region.useful_edges, image[:1])
    refused(region.gradient_std, image[:1])
    for wrong in ({"scales": ()}, {"scales": (1.0,)}, {"scales": (99.0,)}, {"orientations": 0}):
        refused(region.gabor_statistics, image, **wrong)


@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    size=st.integers(1, 300),
    stride=st.integers(1, 99),
)
def test_grids_of_windows(height, width, size, stride):
    corners = region.grid((height, width), size, stride)
    assert corners.ndim == 2 and corners.shape[1] == 2
    assert (len(corners) > 0) == (size <= min(height, width))
    assert np.all(corners >= 0) and np.all(corners + size <= [height, width])
    assert len({tuple(c) for c in corners.tolist()}) == len(corners)


@given(seed=SEEDS)
def test_windows_are_scored_sampled_and_labelled(seed):
    config = SYSTEMS["region"].config
    variables = variables_of("region")
    gray = picture("noise", (70, 80), seed, np.float32)
    corners = region.grid((70, 80), 64, 6)
    scores = region.scores(gray, corners, variables, config, size=64)
    assert scores.shape == (len(corners),) and np.all((scores >= 0) & (scores <= 1))
    refused(region.scores, gray, corners + 50, variables, config, size=64)
    marks = region.trainable(variables, config)
    assert jax.tree.structure(marks) == jax.tree.structure(variables["params"])
    store = region.Labelled(
        sharp_photographs(2, 230), jnp.array([0, 0, 1, 1]),
        jnp.array([[0, 0], [1, 2], [2, 1], [0, 2]]), jnp.array([0.1, 0.9, 0.5, 0.7]),
        jnp.full(4, 15),
    )  # fmt: skip
    batch = repeatable(lambda key: region.sample(key, store, config, n=4, together=2), seed)
    assert batch.windows.shape == (4, 228, 228) and np.all(
        (batch.windows >= 0) & (batch.windows <= 1)
    )
    refused(region.sample, KEY, store, config, n=3, together=2)
    refused(region.label, jnp.asarray(gray)[None], jnp.ones((3, 3)) / 9, size=4)


@given(weight=magnitudes(1.0))
def test_a_kernel_of_a_flat_image_is_refused_with_a_reason(weight):
    found = region.estimate_kernel(np.full((228, 228), weight), size=5)
    assert isinstance(found, region.KernelEstimate) and found.status != "ok"
