"""Against definitions: pairs of pixels, sets of pixels, closed forms."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import metrics

RNG = np.random.default_rng(7)
TRUTH = RNG.uniform(size=(6, 8)) > 0.6
# In steps of 0.1, so that many scores tie and some equal a threshold.
SCORE = np.round(0.4 * TRUTH + 0.6 * RNG.uniform(size=TRUTH.shape), 1)

roc_auc = jax.jit(metrics.roc_auc)
average_precision = jax.jit(metrics.average_precision)


def set_precision_recall(called, truth):
    hits = np.sum(called & truth)
    return (hits / called.sum() if called.any() else 1.0), hits / truth.sum()


# ---- F and the mean absolute error


@pytest.mark.parametrize("beta2", [0.3, 1.0])
def test_f_is_the_harmonic_mean_of_precision_and_recall(beta2):
    p, r = set_precision_recall(SCORE > 0.5, TRUTH)
    expected = (1 + beta2) * p * r / (beta2 * p + r)
    assert 0.1 < expected < 0.9
    np.testing.assert_allclose(metrics.f_measure(SCORE, TRUTH, beta2=beta2), expected)
    np.testing.assert_allclose(metrics.f_measure(SCORE > 0.5, 1.0 * TRUTH, beta2=beta2), expected)
    np.testing.assert_allclose(
        metrics.f_score(jnp.asarray(p), jnp.asarray(r), beta2=beta2), expected
    )


def test_f_where_something_is_empty():
    none, every = np.zeros(5, bool), np.ones(5, bool)
    measure = jax.jit(metrics.f_measure)
    assert measure(none, none) == measure(every, every) == 1
    assert measure(none, every) == measure(every, none) == 0
    assert metrics.f_measure(none, every, beta2=0) == 0
    # A pixel at the threshold is not positive.
    assert metrics.f_measure(np.full(5, 0.5), none) == 1
    # "Everything is positive" has precision p and recall 1.
    np.testing.assert_allclose(
        metrics.f_measure(np.ones(TRUTH.shape), TRUTH),
        1.3 * TRUTH.mean() / (0.3 * TRUTH.mean() + 1),
    )


def test_f_score_has_a_finite_gradient_where_both_are_zero():
    zero = jnp.zeros(())
    assert metrics.f_score(zero, zero) == 0
    assert jax.grad(metrics.f_score)(zero, zero) == 0
    slope = jax.grad(metrics.f_score, argnums=1)(jnp.asarray(0.5), jnp.asarray(0.25))
    np.testing.assert_allclose(slope, 1.3 * 0.3 * 0.5**2 / (0.3 * 0.5 + 0.25) ** 2)


def test_mean_absolute_error():
    expected = np.abs(SCORE - TRUTH).mean()
    np.testing.assert_allclose(metrics.mean_absolute_error(SCORE, TRUTH), expected)
    np.testing.assert_allclose(metrics.mean_absolute_error(TRUTH, SCORE), expected)
    gradient = jax.grad(metrics.mean_absolute_error)(jnp.asarray(SCORE), TRUTH)
    np.testing.assert_allclose(gradient, np.sign(SCORE - TRUTH) / TRUTH.size)


# ---- the precision-recall curve


@pytest.mark.parametrize("levels", [2, 11])
def test_precision_and_recall_at_each_threshold(levels):
    curve = jax.jit(lambda s, t: metrics.precision_recall(s, t, levels=levels))(SCORE, TRUTH)
    np.testing.assert_allclose(curve.thresholds, np.linspace(0, 1, levels), rtol=1e-15)
    for p, r, t in zip(*curve, strict=True):
        np.testing.assert_allclose((p, r), set_precision_recall(t <= SCORE, TRUTH), err_msg=str(t))


def test_a_map_of_eight_bits_reaches_its_own_thresholds():
    score = (np.arange(256) / 255).astype(np.float32)
    curve = jax.jit(metrics.precision_recall)(score, np.ones(256, bool))
    assert curve.recall.dtype == jnp.float32
    np.testing.assert_allclose(curve.recall, np.arange(256, 0, -1) / 256)


def test_curves_that_are_empty():
    none = np.zeros(TRUTH.shape, bool)
    curve = metrics.precision_recall(0.5 * np.ones(TRUTH.shape), none, levels=3)
    np.testing.assert_array_equal(curve.precision, [0, 0, 1])
    np.testing.assert_array_equal(curve.recall, [1, 1, 1])
    # As `f_measure` has it: to find nothing where nothing is, is right.
    np.testing.assert_array_equal(metrics.f_score(curve.precision, curve.recall), [0, 0, 1])


def test_largest_f_of_a_mean_curve():
    precision_recall = jax.jit(jax.vmap(metrics.precision_recall))
    curve = precision_recall(np.stack([SCORE, TRUTH]), np.stack([TRUTH, TRUTH]))
    one = jax.tree.map(lambda x: x[0], curve)
    # The mask itself is right at every threshold but 0, where all is positive.
    np.testing.assert_array_equal(curve.precision[1, 1:], 1)
    best = jnp.max(metrics.f_score(jnp.mean(curve.precision, 0), jnp.mean(curve.recall, 0)))
    assert jnp.max(metrics.f_score(one.precision, one.recall)) < best < 1


# ---- ranks


def test_auc_counts_pairs():
    for _ in range(5):
        truth = RNG.permutation(TRUTH.ravel()).reshape(TRUTH.shape)
        pairs = list(itertools.product(SCORE[truth], SCORE[~truth]))
        expected = np.mean([(a > b) + (a == b) / 2 for a, b in pairs])
        np.testing.assert_allclose(roc_auc(SCORE, truth), expected)
        np.testing.assert_allclose(roc_auc(SCORE, ~truth), 1 - expected)
        np.testing.assert_allclose(roc_auc(SCORE**3 - 5, truth), expected)


def test_auc_of_a_closed_form_in_float32():
    # P(x is positive) = x has the AUC 5/6. Positives and negatives in exact proportion: x at the
    # quantiles of each class.
    quantiles = (np.arange(4000) + 0.5) / 4000
    score = np.concatenate([np.sqrt(quantiles), 1 - np.sqrt(1 - quantiles)]).astype(np.float32)
    truth = np.repeat([1, 0], 4000)
    auc = roc_auc(score, truth)
    assert auc.dtype == jnp.float32
    np.testing.assert_allclose(auc, 5 / 6, atol=1e-5)


def test_average_precision_is_the_stepped_area():
    area, before = 0.0, 0.0
    for t in np.unique(SCORE)[::-1]:
        p, r = set_precision_recall(t <= SCORE, TRUTH)
        area, before = area + p * (r - before), r
    np.testing.assert_allclose(average_precision(SCORE, TRUTH), area)
    # By hand: positives at ranks 1 and 3.
    np.testing.assert_allclose(
        metrics.average_precision(jnp.array([3, 2, 1]), np.array([1, 0, 1])), 5 / 6
    )


def test_ranks_at_their_extremes():
    constant, none, every = np.ones(TRUTH.shape), ~(TRUTH | True), TRUTH | True
    assert roc_auc(1.0 * TRUTH, TRUTH) == 1 and roc_auc(-1.0 * TRUTH, TRUTH) == 0
    assert roc_auc(constant, TRUTH) == 0.5
    assert average_precision(1.0 * TRUTH, TRUTH) == 1
    np.testing.assert_allclose(average_precision(constant, TRUTH), TRUTH.mean())
    assert np.isnan(roc_auc(SCORE, none)) and np.isnan(roc_auc(SCORE, every))
    assert np.isnan(average_precision(SCORE, none)) and average_precision(SCORE, every) == 1


# ---- all of them


ALL = {
    "f_measure": metrics.f_measure,
    "mean_absolute_error": metrics.mean_absolute_error,
    "precision_recall": lambda s, t: metrics.precision_recall(s, t, levels=11).precision,
    "roc_auc": metrics.roc_auc,
    "average_precision": metrics.average_precision,
}


@pytest.mark.parametrize("name", ALL)
def test_batches_and_dtypes(name):
    f = jax.jit(ALL[name])
    scores, truths = np.stack([SCORE, SCORE.T.reshape(SCORE.shape)]), np.stack([TRUTH, TRUTH])
    batched = jax.vmap(f)(scores, truths)
    for i in range(2):
        np.testing.assert_allclose(batched[i], f(scores[i], truths[i]), rtol=1e-12)
    narrow = f(jnp.asarray(SCORE, jnp.float32), TRUTH)
    assert narrow.dtype == jnp.float32
    np.testing.assert_allclose(narrow, f(SCORE, TRUTH), rtol=1e-6)
    with pytest.raises(ValueError, match="every pixel"):
        ALL[name](SCORE, TRUTH[0])
