import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import blur_type, data, features, imaging, psf
from blurjax.blur_type import samples

CONFIG = blur_type.Config()
# Every combination of static options compiles anew: the tests share a few.
sample = functools.partial(blur_type.sample, config=CONFIG, n=300)
plain = functools.partial(sample, linear="never", sampling="area", rule="none")


@pytest.fixture(scope="module")
def sharp():
    return jnp.asarray(data.tiles(data.embedded("train"), 144).images)


@pytest.fixture(scope="module")
def batch(sharp):
    return sample(jax.random.key(0), sharp)


def test_shapes_labels_and_ranges(batch, sharp):
    assert batch.patches.shape == (300, 32, 32) and batch.patches.dtype == jnp.float32
    np.testing.assert_array_equal(batch.label, np.arange(300) % 3)
    assert batch.image.min() >= 0 and batch.image.max() < len(sharp)
    for label, name in enumerate(("sigma", "length", "radius")):
        low, high = getattr(CONFIG, name)
        size = batch.size[batch.label == label]
        # The reported sigma carries the pixel, or loses a little to truncation.
        slack = 0.1 if name == "sigma" else 0
        assert size.min() >= low - slack and size.max() <= high + slack
        assert size.max() - size.min() > 0.8 * (high - low)
    angles = batch.angle[batch.label == 1]
    assert angles.min() >= 0 and angles.max() <= np.pi and angles.std() > 0.7
    np.testing.assert_array_equal(batch.angle[batch.label != 1], 0)


def test_patches_are_eight_bit(batch):
    levels = 255 * np.asarray(batch.patches)
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)


def test_same_key_same_batch(sharp, batch):
    chex.assert_trees_all_equal(sample(jax.random.key(0), sharp), batch)
    other = sample(jax.random.key(1), sharp)
    assert jnp.abs(other.patches - batch.patches).max() > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["all", "textured"])
def test_weight_says_whether_the_rule_holds(sharp, rule):
    batch = sample(jax.random.key(2), sharp, rule=rule, candidates=1)
    contrast = features.contrast(batch.patches)
    steepness = features.gradient_magnitude(batch.patches).mean((1, 2))
    least = blur_type.RULES[rule]
    expected = (contrast >= least[0]) & (steepness >= least[1])
    np.testing.assert_array_equal(batch.weight, expected)
    assert 0 < expected.mean() < 1
    # One candidate a slot: what is refused is what has no weight.
    np.testing.assert_allclose(batch.rejected, 1 - batch.weight.mean(), atol=1e-6)


@pytest.mark.slow
def test_a_second_candidate_fills_more_slots(sharp):
    one = sample(jax.random.key(3), sharp, rule="textured", candidates=1)
    three = sample(jax.random.key(3), sharp, rule="textured", candidates=3)
    assert three.weight.mean() > one.weight.mean() + 0.05


@pytest.mark.parametrize("label", [0, 1, 2])
def test_a_patch_is_its_photograph_blurred_by_its_kernel(label):
    """The whole chain against the plain one: blur the photograph, then cut."""
    sharp = jax.random.uniform(jax.random.key(5), (1, 72, 72))
    batch = sample(
        jax.random.key(4),
        sharp.astype(jnp.float32),
        n=3,
        linear="never",
        sampling="area",
        rule="none",
        candidates=1,
    )
    size, angle = batch.size[label], batch.angle[label]
    if label == 0:
        sigmas = np.linspace(0.5, 5, 9001)
        variance = jax.vmap(lambda s: psf.moments(psf.gaussian(s, size=41)).covariance[0, 0])(
            jnp.asarray(sigmas, jnp.float32)
        )
        size = sigmas[np.argmin(np.abs(np.sqrt(variance) - size))]
    kernel = [
        lambda: psf.gaussian(size, size=41),
        lambda: psf.motion(size, angle, size=41),
        lambda: psf.defocus(size, size=41),
    ][label]()
    turned = [
        f(sharp[0])
        for t in (lambda x: x, jnp.transpose)
        for f in (
            t,
            lambda x, t=t: t(x[::-1]),
            lambda x, t=t: t(x[:, ::-1]),
            lambda x, t=t: t(x[::-1, ::-1]),
        )
    ]
    found = np.asarray(batch.patches[label])
    # The sampler took a window of the photograph, turned it, blurred it: search all of them.
    best = min(
        np.abs(
            np.lib.stride_tricks.sliding_window_view(
                np.asarray(imaging.blur(x, kernel.astype(x.dtype), boundary="reflect")), (32, 32)
            )
            - found
        )
        .max((2, 3))
        .min()
        for x in turned
    )
    assert best < 0.51 / 255 + 5e-4


@pytest.mark.slow
def test_light_and_sampling_change_the_patch_not_the_label(sharp):
    never = plain(jax.random.key(6), sharp)
    always = plain(jax.random.key(6), sharp, linear="always")
    np.testing.assert_array_equal(never.size, always.size)
    assert jnp.abs(never.patches - always.patches).max() > 0.02
    point = plain(jax.random.key(6), sharp, sampling="point")
    gaussians = np.asarray(never.label) == 0
    assert np.all(never.size[gaussians] > point.size[gaussians])
    np.testing.assert_array_equal(never.patches[~gaussians], point.patches[~gaussians])


@pytest.mark.slow
def test_noise(sharp):
    clean = plain(jax.random.key(7), sharp)
    noisy = plain(jax.random.key(7), sharp, noise=0.02)
    np.testing.assert_allclose(jnp.std(noisy.patches - clean.patches), 0.02, rtol=0.1)


@pytest.mark.slow
def test_noise_and_compression_for_each_slot(sharp):
    noise = jnp.where(jnp.arange(300) < 150, 0.0, 0.03).astype(jnp.float32)
    quality = jnp.where(jnp.arange(300) % 2 == 0, 0.0, 30.0).astype(jnp.float32)
    batch = plain(jax.random.key(7), sharp, noise=noise, quality=quality)
    # The same blur without either; a window of eight more pixels has another place.
    clean = plain(jax.random.key(7), sharp, quality=0.0)
    changed = jnp.std(batch.patches - clean.patches, axis=(1, 2))
    np.testing.assert_array_equal(changed[:150:2], 0)
    assert changed[1:150:2].mean() > 0.003
    np.testing.assert_allclose(changed[150::2].mean(), 0.03, rtol=0.15)
    levels = 255 * np.asarray(batch.patches)
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)


@pytest.mark.slow
def test_degraded_draws_both(sharp):
    batch = sample(jax.random.key(10), sharp, kinds=blur_type.KINDS, degraded=1.0, rule="none")
    np.testing.assert_array_equal(batch.label, np.arange(300) % 5)
    np.testing.assert_array_equal(batch.size[batch.label > 2], 0)
    # Sharp patches have the highest frequencies of all, mixed ones no more than the blurred.
    fine = jnp.abs(jnp.diff(batch.patches, axis=2)).mean((1, 2))
    by_kind = [float(fine[batch.label == i].mean()) for i in range(5)]
    assert by_kind[3] > 1.5 * max(by_kind[:3]) and by_kind[4] < 1.2 * max(by_kind[:3])
    noise, quality = samples._degradations(jax.random.key(0), 4000, 0.5)
    assert 0.47 < jnp.mean((noise > 0) | (quality > 0)) < 0.53
    assert 0.18 < jnp.mean(quality > 0) < 0.22 and noise.max() <= 5 / 255


def test_mixed_kernels_are_kernels():
    kernels = samples.mixed_kernels(jax.random.key(0), 40, 41, CONFIG)
    assert kernels.min() > -1e-6
    np.testing.assert_allclose(kernels.sum((1, 2)), 1, atol=1e-4)
    # None is a single pixel.
    assert kernels.max() < 0.5


@pytest.mark.slow
def test_under_vmap(sharp):
    keys = jax.random.split(jax.random.key(8), 2)
    together = jax.vmap(lambda k: sample(k, sharp))(keys)
    alone = sample(keys[1], sharp)
    np.testing.assert_allclose(together.patches[1], alone.patches, atol=1.5 / 255)


def test_turning_takes_the_angle_along():
    angles = jnp.linspace(0.1, 3.0, 64)
    kernels = psf.motion(9.0, angles, size=13)
    patches = jnp.zeros((64, 32, 32)).at[:, 10:23, 10:23].set(kernels)
    nothing = jnp.ones(64)
    batch = blur_type.Batch(
        patches, jnp.ones(64, int), 9 * nothing, angles, nothing, jnp.zeros(64, int), jnp.zeros(())
    )
    turned = blur_type.turned(jax.random.key(0), batch)
    assert jnp.abs(turned.patches - patches).max((1, 2)).astype(bool).sum() > 40
    # A centred 13 px kernel in 32 px lies half a pixel off: compare moments, not pixels.
    covariance = psf.moments(turned.patches[:, 1:, 1:]).covariance
    direction = jnp.arctan2(-2 * covariance[:, 0, 1], covariance[:, 1, 1] - covariance[:, 0, 0]) / 2
    np.testing.assert_allclose(blur_type.circular_error(direction, turned.angle), 0, atol=0.02)
    still = blur_type.turned(jax.random.key(0), batch._replace(label=jnp.zeros(64, int)))
    np.testing.assert_array_equal(still.angle, 0)


@pytest.mark.slow
def test_collect_is_exact(sharp, monkeypatch):
    monkeypatch.setattr(samples, "_CHUNK", 300)
    batch = blur_type.collect(jax.random.key(9), sharp, CONFIG, n=330, rule="textured")
    np.testing.assert_array_equal(np.bincount(batch.label), [110] * 3)
    assert bool(jnp.all(blur_type.satisfies(batch.patches, "textured")))
    np.testing.assert_array_equal(batch.weight, 1)


def test_margin_covers_every_kernel():
    assert samples.margin(CONFIG) == 20
    for name, parameters in [("motion", (16.0, 0.0)), ("motion", (16.0, 0.8)), ("defocus", (8.0,))]:
        assert psf.support(name, *parameters, mass=1.0) <= 2 * samples._reach(CONFIG)[name] + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 100}, "multiple of 3"),
        ({"kinds": ("gaussian", "box")}, "kinds has box; choose from gaussian, motion"),
        ({"degraded": 0.5, "noise": 0.1}, "degraded draws noise and quality itself"),
        ({"linear": "sometimes"}, "linear is 'sometimes'"),
        ({"sampling": "box"}, "sampling is 'box'"),
        ({"rule": "pretty"}, "rule is 'pretty'"),
    ],
)
def test_refusals(sharp, options, message):
    with pytest.raises(ValueError, match=message):
        sample(jax.random.key(0), sharp, **options)


def test_small_photographs_are_refused():
    with pytest.raises(ValueError, match="60x90; this configuration needs at least 72x72"):
        sample(jax.random.key(0), jnp.zeros((2, 60, 90)))


@pytest.mark.slow
def test_flat_photographs_do_not_loop_for_ever(sharp, monkeypatch):
    monkeypatch.setattr(samples, "_CHUNK", 300)
    monkeypatch.setattr(samples, "_DRAWS", 3)
    with pytest.raises(ValueError, match="only 0 of 30"):
        blur_type.collect(jax.random.key(0), jnp.full_like(sharp, 128), CONFIG, n=30)
