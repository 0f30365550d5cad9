"""Kernels read from blurred images, and each step of it against something simpler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import data, deconvolution, imaging, psf
from blurjax.deconvolution import _blind
from blurjax.deconvolution._blind import Start, estimate_kernel, judge, levels, sparseness
from blurjax.metrics import kernel_similarity

# One shape and size wherever it does not matter: programs are compiled once.
SIDE, SIZE = 128, 9
# A kernel so small has one scale: half the program, where only its form matters.
SMALL = 7


def hook():
    """A path with a corner, which no symmetry helps to find."""
    kernel = np.zeros((SIZE, SIZE))
    kernel[1:7, 3] = 1
    kernel[6, 3:8] = 1
    return jnp.asarray(kernel / kernel.sum())


KERNELS = {
    "motion": psf.motion(7.0, 0.5, size=SIZE),
    "steep": psf.motion(7.0, 2.2, size=SIZE),
    "defocus": psf.defocus(3.0, size=SIZE),
    "gaussian": psf.gaussian(1.2, size=SIZE),
    "hook": hook(),
}


def leaves(seed=4):
    return data.dead_leaves(jax.random.key(seed), size=SIDE).astype(jnp.float64)


def photograph():
    return jnp.asarray(data.embedded("test")[1][100:228, 100:228]).astype(jnp.float64)


@pytest.fixture(scope="module")
def blurred():
    """Dead leaves, blurred by each of the kernels."""
    return {name: imaging.blur(leaves(), kernel) for name, kernel in KERNELS.items()}


def plain(image, **options):
    return estimate_kernel(image, **{"size": SIZE, "starts": "plain", **options})


def similar(found, name):
    return float(kernel_similarity(found.kernel, KERNELS[name]))


# ---- what it finds


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_are_recovered_from_dead_leaves(blurred, name):
    found = plain(blurred[name])
    assert similar(found, name) > 0.85
    # It is no guess: of the others only those that are like the true one are as near.
    nearest = max(KERNELS, key=lambda other: similar(found, other))
    assert nearest == name


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_are_recovered_from_a_photograph(name):
    found = plain(imaging.blur(photograph(), KERNELS[name]))
    assert similar(found, name) > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("name", ["motion", "hook"])
def test_several_searches_agree_and_one_is_chosen(blurred, name):
    found = estimate_kernel(blurred[name], size=SIZE)
    count = len(found.kernels)
    assert count > 1 and found.scores.shape == (count,)
    best = int(jnp.argmin(found.scores))
    np.testing.assert_array_equal(found.kernel, found.kernels[best])
    others = [kernel_similarity(found.kernel, k) for i, k in enumerate(found.kernels) if i != best]
    np.testing.assert_allclose(found.agreement, np.mean(others), atol=1e-9)
    assert similar(found, name) > 0.85 and found.agreement > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["minimal_pixels", "normalised_sparsity"])
def test_every_prior_finds_kernels(blurred, prior):
    for name in ("defocus", "gaussian"):
        assert similar(plain(blurred[name], prior=prior, size=SMALL), name) > 0.85


def test_the_published_settings_know_no_noise(blurred):
    """In noise the ridge and the cut that follow it leave less of it in the kernel."""
    assert similar(plain(blurred["motion"], starts="published"), "motion") > 0.9
    noisy = blurred["motion"] + 0.04 * jax.random.normal(jax.random.key(0), (SIDE, SIDE))
    ours, theirs = (plain(noisy, starts=s).kernel for s in ("plain", "published"))
    few, many = (np.count_nonzero(kernel) for kernel in (ours, theirs))
    assert 0 < few < 0.8 * many
    # A start is what its fields say.
    same = plain(noisy, starts=Start(extent=1 / 1.2, noise=0.0))
    np.testing.assert_array_equal(same.kernel, plain(noisy, starts="published").kernel)


@pytest.mark.parametrize("name", KERNELS)
def test_kernels_are_distributions_at_the_centre(blurred, name):
    kernel = np.asarray(plain(blurred[name]).kernel)
    assert kernel.shape == (SIZE, SIZE) and kernel.min() >= 0
    np.testing.assert_allclose(kernel.sum(), 1, atol=1e-9)
    position = np.arange(SIZE) - SIZE // 2
    for axis in (0, 1):
        assert abs(kernel.sum(axis) @ position) <= 0.5
    # What is below a twentieth of the largest is none of it.
    assert kernel[kernel > 0].min() >= 0.05 * kernel.max() * (1 - 1e-9)


def test_a_shifted_kernel_is_found_at_the_centre(blurred):
    """Where a kernel is cannot be seen: a shift of the kernel is one of the image."""
    aside = jnp.roll(KERNELS["gaussian"], (1, -1), (0, 1))
    found = plain(imaging.blur(leaves(), aside))
    assert similar(found, "gaussian") > 0.9
    kernel = np.asarray(found.kernel)
    position = np.arange(SIZE) - SIZE // 2
    assert max(abs(kernel.sum(axis) @ position) for axis in (0, 1)) <= 0.5


@pytest.mark.parametrize("extent", [0.2, 0.5, 0.8])
def test_the_extent_keeps_the_kernel_in_its_room(blurred, extent):
    kernel = plain(blurred["motion"], starts=Start(extent=extent)).kernel
    room = 2 * int(np.ceil(extent * _blind._with_slack(SIZE, SIDE) / 2 - 1)) + 1
    for places in np.nonzero(np.asarray(kernel)):
        assert np.ptp(places) + 1 <= min(room, SIZE)
    assert np.isfinite(np.asarray(kernel)).all()


@pytest.mark.slow
@pytest.mark.parametrize("value", [0.0, 0.5])
@pytest.mark.parametrize("starts", ["plain", "several"])
def test_a_flat_image_has_a_kernel_of_one_pixel(value, starts):
    found = plain(jnp.full((SIDE, SIDE), value), starts=starts)
    pixel = np.zeros((SIZE, SIZE))
    pixel[SIZE // 2, SIZE // 2] = 1
    np.testing.assert_array_equal(found.kernel, pixel)
    assert np.isfinite(found.agreement) and np.isfinite(np.asarray(found.scores)).all()


# ---- batches, dtypes, derivatives


def test_the_same_image_gives_the_same_answer(blurred):
    first, second = (plain(blurred["hook"]) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.slow
def test_batches_are_loops(blurred):
    names = ("motion", "gaussian")
    stack = jnp.stack([blurred[name] for name in names])
    batch = plain(stack[:, None], size=SMALL)
    assert batch.kernel.shape == (2, 1, SMALL, SMALL)
    assert batch.kernels.shape == (2, 1, 1, SMALL, SMALL)
    assert batch.agreement.shape == (2, 1) and batch.scores.shape == (2, 1, 1)
    for i, name in enumerate(names):
        alone = plain(blurred[name], size=SMALL)
        np.testing.assert_allclose(batch.kernel[i, 0], alone.kernel, atol=1e-7)


@pytest.mark.slow
def test_vmap_is_a_loop(blurred):
    names = ("motion", "gaussian")
    mapped = jax.vmap(plain)(jnp.stack([blurred[name] for name in names]))
    assert mapped.agreement.shape == (2,)
    for kernel, name in zip(mapped.kernel, names, strict=True):
        np.testing.assert_allclose(kernel, plain(blurred[name]).kernel, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_dtypes_stay(blurred, dtype):
    found = plain(blurred["defocus"].astype(dtype), size=SMALL)
    assert all(field.dtype == dtype for field in found)
    assert similar(found._replace(kernel=found.kernel.astype(jnp.float64)), "defocus") > 0.85


def test_float64_stays(blurred):
    assert all(field.dtype == jnp.float64 for field in plain(blurred["defocus"]))


@pytest.mark.slow
@pytest.mark.parametrize("starts", ["plain", pytest.param("several", marks=pytest.mark.slow)])
def test_the_gradient_is_finite_even_where_the_image_is_black(blurred, starts):
    image = blurred["motion"].at[:8].set(0.0)
    along = jnp.asarray(np.random.default_rng(0).normal(size=(SMALL, SMALL)))

    def loss(y):
        return jnp.sum(along * plain(y, size=SMALL, starts=starts).kernel)

    slope = jax.grad(loss)(image)
    assert np.isfinite(np.asarray(slope)).all() and np.abs(slope).max() > 1e-4


def test_the_gradient_is_that_of_the_last_fit_with_the_edges_held(blurred):
    image = blurred["motion"][:64, :64]
    rng = np.random.default_rng(1)
    weights = jnp.asarray(rng.normal(size=(SIZE, SIZE)))
    along = jnp.asarray(rng.normal(size=image.shape))
    fitted = _blind._fitted

    def finest(image):
        """The last scale of a search, and what its last fit was given."""
        seen = []
        level = _blind._Level((64, 64), SIZE)
        state = _blind._State(KERNELS["motion"], jnp.asarray(4e-3), jnp.asarray(1e-3))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_blind, "_fitted", lambda *a: seen.append(a) or fitted(*a))
            state = _blind._at_scale(
                image, jnp.asarray(0.001), jnp.asarray(1.0), state, level, prior="l0", last=True
            )
        edges, _, room, ridge = seen[-1]
        return jnp.sum(weights * state.kernel), (edges, room, ridge)

    (value, (edges, room, ridge)), slope = jax.jit(jax.value_and_grad(finest, has_aux=True))(image)

    @jax.jit
    def held(step):
        kernel = fitted(edges, _blind._slopes(image + step * along), room, ridge)
        kernel = _blind._above(kernel, 0.05 + 10 * 0.001)
        kernel = _blind.drop_small_components(kernel / kernel.sum(), 0.1)
        return jnp.sum(weights * kernel / kernel.sum())

    np.testing.assert_allclose(value, held(0.0), atol=1e-9)
    difference = (held(1e-6) - held(-1e-6)) / 2e-6
    np.testing.assert_allclose(jnp.sum(slope * along), difference, rtol=1e-4)
    assert abs(difference) > 1e-3


# ---- its parts


@pytest.mark.parametrize("extent", [1.0, 0.6])
def test_the_fit_solves_the_normal_equations(extent):
    size, half = 5, 2
    rng = np.random.default_rng(2)
    edges = rng.normal(size=(2, 17, 22)) * (rng.uniform(size=(2, 17, 22)) < 0.2)
    slopes = rng.normal(size=(2, 17, 22))
    room = np.asarray(_blind._room(size, jnp.asarray(extent)))
    assert room.sum() == (25 if extent == 1.0 else 9)
    ridge = 20.0
    # Each tap's copy of the edges, on a plane where nothing is cut off.
    wide = np.pad(edges, ((0, 0), (half, half), (half, half)))
    target = np.pad(slopes, ((0, 0), (half, half), (half, half)))
    taps = [(i, j) for i in range(size) for j in range(size) if room[i, j]]
    columns = [np.roll(wide, (i - half, j - half), (1, 2)).ravel() for i, j in taps]
    system = np.stack(columns, axis=1)
    solved = np.linalg.solve(
        system.T @ system + ridge * np.eye(len(taps)), system.T @ target.ravel()
    )
    expected = np.zeros((size, size))
    for (i, j), value in zip(taps, solved, strict=True):
        expected[i, j] = value
    fitted = _blind._fitted(*map(jnp.asarray, (edges, slopes, room)), jnp.asarray(ridge))
    np.testing.assert_allclose(fitted, expected, atol=1e-6)


@pytest.mark.parametrize("size", [3, 5, 7, 9, 13, 25, 41, 95])
def test_the_scales(size):
    scales = levels((301, 256), size)
    assert scales[-1] == ((301, 256), size)
    for i, level in enumerate(reversed(scales)):
        ratio = 2 ** (-i / 2)
        assert level.size % 2 == 1 and size * ratio - 1e-6 <= level.size < size * ratio + 2
        for side, whole in zip(level.shape, (301, 256), strict=True):
            assert whole * ratio - 1e-5 <= side < whole * ratio + 1
    assert [s.size for s in scales] == sorted(s.size for s in scales)
    # One more would be below 5 pixels.
    coarsest = size * 2 ** (-(len(scales) - 1) / 2)
    assert coarsest / np.sqrt(2) < 5 and (coarsest >= 5 - 1e-9 or len(scales) == 1)
    # Half of a whole number is one.
    assert all(
        level.shape[1] == 256 // 2 ** (i // 2)
        for i, level in enumerate(reversed(scales))
        if i % 2 == 0
    )


def test_a_kernel_grows_about_its_centre():
    small = np.zeros((7, 7))
    small[3, 2:5] = [0.25, 0.5, 0.25]
    grown = np.asarray(_blind._grown(jnp.asarray(small), 11))
    np.testing.assert_allclose(grown.sum(), 1)
    np.testing.assert_allclose(grown, grown[::-1, ::-1], atol=1e-12)
    position = np.arange(11) - 5
    spread = np.sqrt(grown.sum(0) @ position**2)
    # sqrt 2 as wide, and what the interpolation adds.
    assert np.sqrt(0.5) * np.sqrt(2) <= spread < np.sqrt(0.5) * np.sqrt(2) + 0.2


def test_thresholds_leave_enough_in_each_direction():
    rng = np.random.default_rng(3)
    image = jnp.asarray(rng.uniform(size=(64, 64)))
    threshold = float(_blind._first_threshold(image, 5))
    across, down = np.asarray(_blind._slopes(image))
    strength, angle = across**2 + down**2, np.arctan2(down, across) % np.pi
    counts = [
        ((strength >= threshold) & (angle // (np.pi / 4) == sector)).sum() for sector in range(4)
    ]
    assert min(counts) == 100


def test_strong_gradients_always_leave_some():
    slopes = jnp.asarray(np.random.default_rng(4).normal(size=(2, 8, 8)))
    kept, following = _blind._strong(slopes, jnp.asarray(1e9))
    assert 0 < int((kept != 0).sum()) < kept.size
    np.testing.assert_allclose(following, 0.81 * (slopes**2).sum(0).max() / 1.1)


def test_the_darkest_of_each_patch_becomes_black():
    image = np.full((5, 6), 0.5)
    image[0, 1], image[4, 5], image[2, 3] = 0.05, 0.09, 0.2
    black = np.asarray(_blind._with_black(jnp.asarray(image), 2))
    expected = image.copy()
    expected[0, 1] = expected[4, 5] = 0
    np.testing.assert_array_equal(black, expected)


# ---- which kernel is the best


def test_sparseness_prefers_the_right_kernel(blurred):
    """To other paths, and to no blur at all. (Not to a much smaller, smoother kernel, which leaves
    blur and no ringing.)"""
    pixel = jnp.zeros((SIZE, SIZE)).at[SIZE // 2, SIZE // 2].set(1.0)
    paths = ("motion", "steep", "hook")
    candidates = jnp.stack([*(KERNELS[name] for name in paths), pixel])
    for i, name in enumerate(paths):
        scores = sparseness(blurred[name], candidates)
        assert scores.shape == (4,) and int(jnp.argmin(scores)) == i
        assert scores[3] > 1.1 * scores[i]


def test_sparseness_takes_batches_and_scales(blurred):
    image = jnp.stack([blurred["motion"], blurred["hook"]])
    scores = sparseness(image, KERNELS["motion"])
    assert scores.shape == (2,)
    np.testing.assert_allclose(scores[1], sparseness(image[1], KERNELS["motion"]), rtol=1e-9)
    assert np.isfinite(sparseness(jnp.full((SIDE, SIDE), 0.3), KERNELS["motion"]))


def test_kernels_are_judged_by_sparseness_and_by_company(blurred):
    near = psf.motion(7.0, 0.6, size=SIZE)
    # As many as in the test above: its programs serve here too.
    kernels = jnp.stack([KERNELS["motion"], near, jnp.flip(near), KERNELS["steep"]])
    said = judge(blurred["motion"], kernels)
    assert said.scores.shape == said.agreement.shape == (4,)
    assert int(jnp.argmax(said.scores)) == int(jnp.argmin(said.agreement)) == 3
    pairs = kernel_similarity(kernels[0], kernels[1:])
    np.testing.assert_allclose(said.agreement[0], np.mean(pairs), atol=1e-9)
    # The sparseness of all together is 1 on the average.
    np.testing.assert_allclose(np.mean(said.scores + said.agreement), 1)


# ---- what it refuses


@pytest.mark.parametrize(
    ("shape", "options", "words"),
    [
        ((64, 64), {"size": 8}, "size=8; a kernel has an odd number of pixels a side, 3 or more"),
        ((64, 64), {"size": 1}, "size=1; a kernel has an odd number"),
        ((64, 17), {"size": 9}, r"64x17 pixels; a kernel of 9 is seen in no less than 18x18"),
        ((64, 64), {"size": 9, "prior": "l1"}, "prior='l1' is not known; choose one of l0"),
        ((64, 64), {"size": 9, "starts": "many"}, "starts='many'; choose one of several, plain"),
        ((64, 64), {"size": 9, "starts": Start(weight=0.0)}, "weight and gamma are above 0"),
        ((64, 64), {"size": 9, "starts": Start(gamma=-1.0)}, "weight and gamma are above 0"),
        ((64, 64), {"size": 9, "starts": Start(noise=-0.1)}, "noise is not below"),
        ((64, 64), {"size": 9, "starts": Start(weight=np.nan)}, "weight and gamma are above 0"),
        ((64, 64), {"size": 9, "starts": Start(extent=0.0)}, "extent is a share of the size"),
        ((64, 64), {"size": 9, "starts": Start(extent=1.1)}, "extent is a share of the size"),
        ((64,), {"size": 9}, "axes"),
    ],
)
def test_one_sentence_for_what_cannot_be_searched(shape, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        estimate_kernel(jnp.zeros(shape), **options)
    assert "\n" not in str(caught.value)


def test_images_are_floats():
    with pytest.raises(TypeError, match="float"):
        estimate_kernel(jnp.zeros((64, 64), jnp.int32), size=9)
    assert deconvolution.MIN_SIZE == 3 and "l0" in deconvolution.PRIORS
