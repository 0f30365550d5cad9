"""Composed photographs: what is labelled sharp is sharp, and fronts have no halo."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from blurjax import data, sharpness
from blurjax.sharpness import Batch, samples

SIDE = 64
PATCHES = sharpness.Config(body="patches")
PLAIN = {"n": 64, "light": "encoded", "degraded": 0.0}


def textures(m=4, side=SIDE, seed=0):
    """Noise, in regions of different sizes."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:side, :side] / side
    regions = np.stack([(row > 0.3 + 0.1 * i).astype(int) + 2 * (column > 0.6) for i in range(m)])
    images = rng.integers(0, 256, (m, side, side), np.uint8)
    return data.Scenes(images, regions.astype(np.uint8), np.arange(m, dtype=np.int32))


def eroded(mask, reach):
    """What stays of masks (n, h, w) at this distance from everything else."""
    size = 2 * reach + 1
    return np.stack([scipy.ndimage.minimum_filter(m, size, mode="nearest") for m in mask])


@pytest.fixture(scope="module")
def plain():
    return sharpness.sample(jax.random.key(2), textures(), **PLAIN)


# ---- photographs


def test_same_key_same_batch_and_all_in_range(plain):
    again = sharpness.sample(jax.random.key(2), textures(), **PLAIN)
    jax.tree.map(np.testing.assert_array_equal, again, plain)
    other = sharpness.sample(jax.random.key(3), textures(), **PLAIN)
    assert np.any(other.images != plain.images) and np.any(other.image != plain.image)
    assert plain.images.shape == plain.sharp.shape == (64, SIDE, SIDE)
    assert plain.images.dtype == plain.sharp.dtype == jnp.float32
    levels = np.asarray(plain.images) * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
    assert levels.min() >= 0 and levels.max() <= 255
    assert float(plain.sharp.min()) == 0 and float(plain.sharp.max()) == 1
    assert set(np.asarray(plain.image).tolist()) == {0, 1, 2, 3}


@pytest.mark.slow
def test_a_sixteenth_is_wholly_sharp_and_as_much_wholly_blurred():
    batch = sharpness.sample(jax.random.key(0), textures(side=32), n=512)
    sharp = np.asarray(batch.sharp)
    for share in (np.mean(sharp.min((1, 2)) > 0.99), np.mean(sharp.max((1, 2)) < 0.5)):
        assert 0.03 < share < 0.1
    # Most of the others have a good part of either.
    mixed = np.mean((sharp.mean((1, 2)) > 0.05) & (sharp.mean((1, 2)) < 0.95))
    assert mixed > 0.7
    assert 0.25 < sharp.mean() < 0.75
    levels = np.asarray(batch.images) * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)


def test_what_is_labelled_sharp_has_more_fine_detail(plain):
    images, sharp = np.asarray(plain.images), np.asarray(plain.sharp)
    detail = np.abs(images - scipy.ndimage.uniform_filter(images, 3, axes=(1, 2)))
    means = [detail[sharp > 0.95].mean(), detail[sharp < 0.05].mean()]
    assert means[0] > 4 * means[1]
    both = [
        (detail[i][sharp[i] > 0.95].mean(), detail[i][sharp[i] < 0.05].mean())
        for i in range(len(sharp))
        if min(np.mean(sharp[i] > 0.95), np.mean(sharp[i] < 0.05)) > 0.1
    ]
    assert len(both) > 25 and np.mean([a > 1.5 * b for a, b in both]) > 0.9


def test_what_is_labelled_sharp_is_as_it_was_before_the_blur(plain, monkeypatch):
    def none(key, weaker, strength):
        size = 2 * samples.MARGIN + 1
        spot = jnp.zeros((weaker.shape[0], size, size), jnp.float32)
        spot = spot.at[:, samples.MARGIN, samples.MARGIN].set(1.0)
        return spot, spot

    monkeypatch.setattr(samples, "_kernels", none)
    # A function of its own, which nobody has compiled yet.
    unblurred = jax.jit(lambda key, scenes: samples.compose.__wrapped__(key, scenes, **PLAIN))
    before = unblurred(jax.random.key(2), textures())
    change = np.abs(np.asarray(before.images) - np.asarray(plain.images)) * 255
    # Up to 3 px away the photograph's own slight blur mixes in what is blurred.
    inside = eroded(np.asarray(plain.sharp) > 0.999, 3)
    outside = eroded(np.asarray(plain.sharp) < 0.05, 3)
    some = inside.mean((1, 2)) > 0.02
    assert some.mean() > 0.5
    unchanged = [c[i].max() < 1.5 for c, i in zip(change[some], inside[some], strict=True)]
    # But on planes, where blur sets in gradually.
    assert np.mean(unchanged) > 0.75
    assert change[inside].mean() < 1 and change[outside].mean() > 10


@pytest.mark.slow
@pytest.mark.parametrize("level", [255, 0])
def test_a_sharp_front_has_no_halo(level):
    # A square in the middle, so that a mirrored scene has it in the same place.
    inside = np.zeros((1, SIDE, SIDE), bool)
    inside[:, 16:-16, 16:-16] = True
    image = np.where(inside, level, 255 - level).astype(np.uint8)
    scenes = data.Scenes(image, inside.astype(np.uint8), np.zeros(1, np.int32))
    batch = sharpness.sample(jax.random.key(1), scenes, **PLAIN)
    far, near = eroded(~inside, 4)[0], eroded(inside, 4)[0]
    fronts = [
        np.asarray(image)
        for image, sharp in zip(batch.images, np.asarray(batch.sharp), strict=True)
        if sharp[near].min() > 0.999 and sharp[far].max() < 0.999
    ]
    assert len(fronts) >= 8
    contrast = [abs(np.median(x[near]) - np.median(x[far])) for x in fronts]
    assert np.mean(np.greater(contrast, 0.3)) > 0.8
    # Through the soft matte a little of the front is seen behind it; blurred with the rest by
    # more than 4 px, as a third of them are, it would be a sixth of the contrast at 4 px.
    for reach, share in ((4, 0.08), (7, 0.03)):
        far, near = eroded(~inside, reach)[0], eroded(inside, reach)[0]
        for image, height in zip(fronts, contrast, strict=True):
            for where in (far, near):
                leak = np.abs(image[where] - np.median(image[where])).max()
                assert leak < share * height + 1.01 / 255


@pytest.mark.slow
def test_linear_light_does_something(plain):
    options = {"n": 64, "degraded": 0.0, "light": "linear"}
    linear = sharpness.sample(jax.random.key(2), textures(), **options)
    np.testing.assert_allclose(linear.sharp, plain.sharp, atol=1e-5)
    assert 0.003 < float(jnp.abs(linear.images - plain.images).mean()) < 0.1


def test_noise_is_of_at_most_6_levels():
    flat = textures(side=32)._replace(images=np.full((4, 32, 32), 128, np.uint8))
    images = np.asarray(sharpness.sample(jax.random.key(2), flat, n=512).images)
    steps = np.median(np.abs(np.diff(images * 255, axis=1)), axis=(1, 2)) / (0.6745 * 2**0.5)
    assert 3 < steps.max() < 7
    assert 0.1 < np.mean(steps > 0.5) < 0.6


@pytest.mark.parametrize("options", [{"light": "dim"}, {"n": 0}])
def test_bad_options_are_refused_in_words(options):
    with pytest.raises(ValueError, match="choose encoded, linear or mixed, and n from 1 on"):
        sharpness.sample(jax.random.key(0), textures(), **options)


# ---- patches


@pytest.fixture
def halves():
    """Sharp at the left; gray levels tell the column, photographs with rows and columns alike."""
    column = np.broadcast_to(np.arange(96, dtype=np.float32) / 128, (2, 96, 96))
    sharp = (np.arange(96) < 48) * np.ones((2, 96, 1), np.float32)
    return Batch(jnp.asarray(column), jnp.asarray(sharp, jnp.float32), jnp.array([5, 7]))


def everywhere(m, side, step=8):
    centres = np.stack(np.mgrid[0 : side + 1 : step, 0 : side + 1 : step], axis=-1).reshape(-1, 2)
    return jnp.asarray(np.broadcast_to(centres, (m, *centres.shape)))


@pytest.mark.parametrize("purity", [0.9, 0.6])
def test_patches_are_nearly_of_one_kind(halves, purity):
    found = sharpness.cut_patches(
        jax.random.key(0), halves, everywhere(2, 96), per_image=8, purity=purity
    )
    assert found.images.shape == (16, 32, 32) and found.images.dtype == jnp.float32
    np.testing.assert_array_equal(found.sharp, np.tile(np.repeat([1, 0], 4), 2))
    np.testing.assert_array_equal(found.image, np.repeat([0, 1], 8))
    np.testing.assert_array_equal(found.weight, 1)
    first = np.rint(np.asarray(found.images)[:, 0, 0] * 128).astype(int)
    share = np.clip(48 - first, 0, 32) / 32
    kinds = np.asarray(found.sharp) == 1
    assert np.all(share[kinds] >= purity) and np.all(share[~kinds] <= 1 - purity + 1e-6)
    # Whole windows: the columns rise by one level.
    np.testing.assert_allclose(np.diff(found.images, axis=2), 1 / 128, atol=1e-6)
    other = sharpness.cut_patches(
        jax.random.key(1), halves, everywhere(2, 96), per_image=8, purity=purity
    )
    assert np.any(other.images != found.images)


def test_slots_without_a_patch_have_no_weight(halves):
    def weights(batch, **options):
        found = sharpness.cut_patches(
            jax.random.key(0), batch, everywhere(2, 96), per_image=8, **options
        )
        return np.asarray(found.weight).reshape(2, 2, 4)

    all_sharp = halves._replace(sharp=jnp.ones_like(halves.sharp))
    np.testing.assert_array_equal(weights(all_sharp)[:, 0], 1)
    np.testing.assert_array_equal(weights(all_sharp)[:, 1], 0)
    neither = halves._replace(sharp=jnp.full_like(halves.sharp, 0.5))
    np.testing.assert_array_equal(weights(neither), 0)
    # The steps within a window have a standard deviation of 0.07.
    np.testing.assert_array_equal(weights(halves, least=0.08), 0)


@pytest.mark.slow
def test_sampled_patches_are_balanced():
    found = sharpness.sample(
        jax.random.key(4), textures(side=96), PATCHES, n=64, per_image=8, degraded=0.0
    )
    assert found.images.shape == (64, 32, 32)
    assert found.sharp.shape == found.weight.shape == found.image.shape == (64,)
    assert float(found.sharp.mean()) == 0.5
    weight, sharp = np.asarray(found.weight), np.asarray(found.sharp)
    assert set(weight.tolist()) == {0.0, 1.0}
    assert weight[sharp == 1].mean() > 0.3 and weight[sharp == 0].mean() > 0.3
    images = np.asarray(found.images)
    detail = np.abs(images - scipy.ndimage.uniform_filter(images, 3, axes=(1, 2))).mean((1, 2))
    means = [detail[(sharp == kind) & (weight == 1)].mean() for kind in (1, 0)]
    assert means[0] > 3 * means[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 20, "per_image": 8}, "n a multiple of it"),
        ({"n": 21, "per_image": 7}, "give even ones"),
    ],
)
def test_patches_that_cannot_be_are_refused(options, words):
    with pytest.raises(ValueError, match=words):
        sharpness.sample(jax.random.key(0), textures(), PATCHES, degraded=0.0, **options)


@pytest.mark.parametrize("per_image", [7, 20])
def test_too_few_points_are_refused(halves, per_image):
    points = everywhere(2, 96)[:, :9]
    with pytest.raises(ValueError, match=f"per_image is {per_image} and there are 9 points"):
        sharpness.cut_patches(jax.random.key(0), halves, points, per_image=per_image)


def test_superpixels_have_their_centres_inside():
    row, column = np.mgrid[:80, :80] // 20
    images = jnp.asarray(np.stack([(row + column) % 2, row % 2]), jnp.float32)
    centres = sharpness.superpixel_centres(images, n=16)
    assert centres.shape == (2, 16, 2) and centres.dtype == jnp.int32
    assert np.all((centres >= 0) & (centres < 80))
    assert len(np.unique(centres[0], axis=0)) > 8
    # Of the checkerboard, the middles of its squares.
    away = np.abs(np.asarray(centres[0])[:, None] - np.asarray(centres[0])[None]).max(-1)
    assert np.median(np.sort(away, axis=1)[:, 1]) >= 10
    # A photograph of one gray level has fewer superpixels than are wanted, perhaps.
    assert sharpness.superpixel_centres(jnp.zeros((1, 80, 80)), n=50).shape == (1, 50, 2)
