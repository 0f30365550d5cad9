"""The iterative refinement, step by step and at its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import skimage.filters

from blurjax import sharpness
from blurjax.sharpness import _refine

MAP = np.random.default_rng(3).uniform(size=(9, 11))
LOW, HIGH = _refine._BOUNDS


def refine(x, **options):
    return np.asarray(jax.jit(lambda x: sharpness.refine(x, **options))(x))


def around(x, window=3):
    return scipy.ndimage.uniform_filter(x, window, mode="nearest")


@pytest.mark.parametrize(
    ("rule", "limit", "divisor"),
    [
        ("fixed", 0.5, np.tanh(1)),
        ("mean", MAP.mean(), None),
        ("bounded", np.clip(MAP.mean(), LOW, HIGH), np.tanh(1)),
    ],
)
def test_one_step_by_hand(rule, limit, divisor):
    stepped = np.where(around(MAP) < limit, 0, np.tanh(MAP))
    assert 0.2 < np.mean(stepped == 0) < 0.8
    expected = stepped / (divisor or stepped.max())
    found = refine(MAP, iterations=(1,), weights=(1.0,), threshold=rule)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(("ends", "limit"), [((0.0, 0.6), LOW), ((0.4, 1.0), HIGH)])
def test_the_mean_is_bounded(ends, limit):
    x = np.broadcast_to(np.linspace(*ends, 31), (9, 31))
    assert not LOW <= x.mean() <= HIGH
    stepped = np.where(around(x, 5) < limit, 0, np.tanh(x)) / np.tanh(1)
    assert 0.1 < np.mean(stepped == 0) < 0.9
    found = refine(x, iterations=(1,), weights=(1.0,), window=5)
    np.testing.assert_allclose(found, stepped, rtol=1e-12)


def test_several_steps_take_the_threshold_anew_and_stay_in_units_of_1():
    b, one = MAP, 1.0
    for _ in range(4):
        limit = np.clip(b.mean(), LOW * one, HIGH * one)
        b, one = np.where(around(b) < limit, 0, np.tanh(b)), np.tanh(one)
    found = refine(MAP, iterations=(4,), weights=(1.0,))
    np.testing.assert_allclose(found, b / one, rtol=1e-12)


def test_what_a_hundred_steps_of_tanh_make_of_a_number():
    for x, expected in ((1.0, 0.121), (0.1, 0.077)):
        value = x
        for _ in range(100):
            value = np.tanh(value)
        assert value == pytest.approx(expected, abs=6e-4)
        assert value == pytest.approx(x / np.sqrt(1 + 200 * x**2 / 3), rel=0.02)
    # So a map that stays above the threshold everywhere ends near 1 everywhere.
    found = refine(np.array([[1.0, 0.9, 0.7]]), iterations=(100,), weights=(1.0,))
    np.testing.assert_allclose(found, [[1, 1, 0.99]], atol=0.02)


@pytest.mark.parametrize("rule", ["bounded", "fixed"])
def test_wholly_sharp_stays_sharp_and_wholly_blurred_blurred(rule):
    speckled = 0.02 * (MAP - 0.5)
    assert refine(0.9 + speckled, threshold=rule).min() > 0.95
    assert refine(0.1 + speckled, threshold=rule).max() == 0
    assert refine(np.full((5, 6), 0.9), threshold=rule).min() > 0.5
    assert refine(np.full((5, 6), 0.1), threshold=rule).max() < 0.5


@pytest.mark.parametrize("rule", ["mean", "otsu"])
@pytest.mark.parametrize("level", [0.0, 0.1, 0.9])
def test_of_a_constant_the_relative_rules_say_nothing(rule, level):
    np.testing.assert_array_equal(refine(np.full((5, 6), level), threshold=rule), 0.5)


@pytest.mark.parametrize("rule", sharpness.THRESHOLDS)
def test_a_map_of_two_halves_is_drawn_apart(rule):
    x = np.where(np.arange(20) < 12, 0.8, 0.2) + 0.1 * (np.resize(MAP, (15, 20)) - 0.5)
    found = refine(x, threshold=rule)
    assert found.min() >= 0 and found.max() <= 1
    assert found[:, :10].min() > 0.9 and found[:, 14:].max() < 0.1


@pytest.mark.parametrize("rule", sharpness.THRESHOLDS)
def test_the_mixture_is_the_weighted_sum_of_its_parts(rule):
    mixed = refine(MAP, iterations=(2, 3, 7), weights=(0.3, 0.2, 0.5), threshold=rule)
    single = [refine(MAP, iterations=(n,), weights=(1.0,), threshold=rule) for n in (2, 3, 7)]
    expected = 0.3 * single[0] + 0.2 * single[1] + 0.5 * single[2]
    np.testing.assert_allclose(mixed, expected, rtol=1e-9)
    assert np.ptp(mixed) > 0.3


def test_otsu_is_skimages():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0.3, 0.12, 3000), rng.normal(0.75, 0.1, 2000)])
    x = np.clip(x, 0, 1).reshape(50, 100)
    counts = np.histogram(x, 64, (0, 1))[0]
    centres = (np.arange(64) + 0.5) / 64
    theirs = skimage.filters.threshold_otsu(hist=(counts, centres))
    # They give the middle of the last bin below, we its end.
    assert float(_refine._otsu(jnp.asarray(x))) == pytest.approx(theirs + 0.5 / 64)
    assert abs(theirs - skimage.filters.threshold_otsu(x)) < 0.03


def test_the_adaptive_mask_is_a_multiple_of_the_mean():
    x = jnp.asarray([[0.0, 0.1, 0.2, 0.5]])
    mask = jax.jit(sharpness.adaptive_mask, static_argnames="factor")
    assert mask(x).tolist() == [[False, False, False, True]]
    assert mask(x, factor=0.75).tolist() == [[False, False, True, True]]
    # Even where everything is blurred something is found, unless it is 0; never more than 1.
    assert mask(0.1 * x).tolist() == mask(x).tolist()
    assert not mask(0 * x).any()
    assert mask(jnp.ones((1, 4))).all()


def test_jit_vmap_gradients_and_dtypes():
    # As users run it, with the full number of steps.
    stack = jnp.asarray(np.stack([MAP, MAP[::-1], MAP**2]), jnp.float32)
    each = jnp.stack([refine(x) for x in stack])
    assert each.dtype == jnp.float32
    several = jax.jit(jax.vmap(sharpness.refine))(stack)
    np.testing.assert_allclose(several, each, atol=1e-6)
    np.testing.assert_allclose(refine(stack[0].astype(float)), each[0], atol=1e-4)
    assert refine(stack[0].astype(jnp.bfloat16)).dtype == jnp.bfloat16

    options = {"iterations": (1, 2), "weights": (0.5, 0.5), "threshold": "fixed"}
    total = jax.jit(lambda x: jnp.sum(sharpness.refine(x, **options) ** 2))
    gradient = np.asarray(jax.jit(jax.grad(total))(MAP))
    zero = refine(MAP, **options) == 0
    assert np.all(gradient[zero] == 0) and np.all(gradient[~zero] > 1e-3)
    i, j = np.argwhere(~zero)[5]
    step = np.zeros_like(MAP)
    step[i, j] = 1e-6
    difference = (float(total(MAP + step)) - float(total(MAP - step))) / 2e-6
    assert gradient[i, j] == pytest.approx(difference, rel=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold": "median"}, "choose one of"),
        ({"iterations": (10, 50)}, "a weight for each"),
        ({"iterations": (10, 10, 20)}, "rise from 1"),
        ({"iterations": (0, 10, 20)}, "rise from 1"),
        ({"window": 4}, "odd side"),
    ],
)
def test_other_rules_are_refused_in_words(options, words):
    with pytest.raises(ValueError, match=words):
        sharpness.refine(jnp.asarray(MAP), **options)
