"""The kernel of an image from its best windows, where these are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import data, imaging, metrics, psf, region
from blurjax.region import _kernel

SIZE, WINDOW = 9, 96
BOXES = ((90, 60, WINDOW, WINDOW), (0, 96, WINDOW, WINDOW), (5, 0, WINDOW, WINDOW))
KERNEL = psf.motion(7.0, 0.5, size=SIZE)


@pytest.fixture(scope="module")
def seen():
    sharp = data.dead_leaves(jax.random.key(3), size=192, min_radius=4.0)
    return np.asarray(imaging.blur(sharp, KERNEL.astype(sharp.dtype)), np.float32)


@pytest.fixture
def chosen(monkeypatch):
    """Lets the scorer choose the first of known windows, and lists what it was asked."""
    asked = []

    def estimate(image, variables, config, *, size, top):
        asked.append((variables, config, size, top))
        boxes = np.array(BOXES[:top])
        scores = np.linspace(0.9, 0.5, len(boxes), dtype=np.float32)
        nothing = np.zeros((0, 0), np.float32)
        return region.Estimate("ok", boxes, scores, nothing, np.zeros((0, 0, 4), int))

    monkeypatch.setattr(_kernel, "estimate", estimate)
    return asked


def similarity(kernel, truth=KERNEL):
    return float(metrics.kernel_similarity(jnp.asarray(kernel), truth.astype(jnp.float32)))


@pytest.fixture
def several(seen, chosen):
    return region.estimate_kernel(seen, size=SIZE, windows=3, window=WINDOW)


def test_the_windows_agree_on_the_true_kernel(several):
    assert several.status == "ok"
    assert several.kernel.shape == (SIZE, SIZE) and several.kernel.dtype == np.float32
    assert several.kernel.min() >= 0 and several.kernel.sum() == pytest.approx(1, abs=1e-5)
    assert several.kernels.shape == (3, SIZE, SIZE) and several.kernels.dtype == np.float32
    np.testing.assert_allclose(several.kernels.sum((1, 2)), 1, atol=1e-5)
    assert similarity(several.kernel) > 0.75
    assert 0.5 < several.agreement <= 1
    # That of the one in the middle: of none is the mean similarity to the others larger.
    alike = [[similarity(a, jnp.asarray(b)) for b in several.kernels] for a in several.kernels]
    others = (np.sum(alike, axis=1) - 1) / 2
    assert several.agreement == pytest.approx(others.max(), abs=1e-4)


def test_windows_and_their_scores_are_told_as_they_were_chosen(several, chosen):
    assert several.boxes.tolist() == [list(box) for box in BOXES]
    np.testing.assert_allclose(several.scores, [0.9, 0.7, 0.5])
    assert chosen == [(None, None, WINDOW, 3)]


@pytest.mark.slow
def test_each_window_has_the_kernel_that_is_found_in_it_alone(seen, several, monkeypatch):
    alone = region.Estimate(
        "ok",
        np.array(BOXES[1:2]),
        np.float32([0.4]),
        np.zeros((0, 0), np.float32),
        np.zeros((0, 0, 4), int),
    )
    monkeypatch.setattr(_kernel, "estimate", lambda *_, **__: alone)
    single = region.estimate_kernel(seen, size=SIZE, windows=1, window=WINDOW)
    assert single.kernels.shape == (1, SIZE, SIZE)
    assert similarity(single.kernels[0], jnp.asarray(several.kernels[1])) > 0.98
    # Nobody contradicts it.
    assert single.agreement == 1
    np.testing.assert_allclose(single.kernel, single.kernels[0], atol=1e-5)


def test_the_scorer_and_the_prior_are_passed_on(seen, chosen, monkeypatch):
    asked, known = [], jnp.asarray(KERNEL, jnp.float32)

    def searched(views, *, size, prior):
        asked.append((views.shape, size, prior))
        return known, jnp.float32(0.8), jnp.stack([known] * len(views))

    monkeypatch.setattr(_kernel, "_searched", searched)
    scorer = {"of": "somebody"}, region.Config(body="gabor")
    colour = (np.repeat(seen[..., None], 3, axis=2) * 255).astype(np.uint8)
    found = region.estimate_kernel(
        colour, *scorer, size=SIZE, windows=2, window=WINDOW, prior="minimal_pixels"
    )
    assert asked == [((2, WINDOW, WINDOW), SIZE, "minimal_pixels")]
    assert chosen == [(*scorer, WINDOW, 2)]
    assert found.agreement == pytest.approx(0.8)


def test_nobody_having_said_otherwise_four_windows_of_228_are_chosen(chosen, monkeypatch):
    known = jnp.asarray(KERNEL, jnp.float32)
    monkeypatch.setattr(
        _kernel, "_searched", lambda views, **_: (known, jnp.float32(1), known[None])
    )
    region.estimate_kernel(np.zeros((192, 192), np.float32), size=SIZE)
    assert chosen == [(None, None, 228, 4)]


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.random.default_rng(0).random((80, 200)), "image is 80x200 pixels; region needs at "),
        (np.full((100, 120), 0.5), "too little texture: the image is flat"),
    ],
)
def test_images_without_windows_have_no_kernel_and_say_why(image, words):
    scorer = {"of": "nobody"}, region.Config(body="gabor")
    found = region.estimate_kernel(image, *scorer, size=SIZE, window=WINDOW)
    assert found.status.startswith(words) and "\n" not in found.status
    np.testing.assert_array_equal(found.kernel, [[1]])
    assert found.kernel.dtype == np.float32 and found.agreement == 0
    assert found.kernels.shape == (0, 1, 1)
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 8}, "size=8; a kernel has an odd number"),
        ({"size": 1}, "size=1; a kernel has an odd number"),
        ({"size": 49}, "a kernel of 49 is seen in no less than 98x98"),
        ({"size": SIZE, "prior": "magic"}, "magic"),
    ],
)
def test_one_sentence_for_what_cannot_be_searched(seen, chosen, options, words):
    with pytest.raises(ValueError, match=words) as caught:
        region.estimate_kernel(seen, window=WINDOW, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"window": 63}, {"windows": 0}])
def test_windows_that_nobody_can_choose_are_refused(seen, options):
    scorer = {"of": "nobody"}, region.Config(body="gabor")
    with pytest.raises(ValueError, match=r"^size is .* and top .*; windows have 64 px or more"):
        region.estimate_kernel(seen, *scorer, size=SIZE, **{"window": WINDOW, **options})
