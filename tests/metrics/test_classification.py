import jax.numpy as jnp
import numpy as np

from blurjax import metrics


def test_accuracy_and_confusion():
    truth, label = jnp.array([0, 0, 1, 2, 2]), jnp.array([0, 1, 1, 2, 0])
    np.testing.assert_allclose(metrics.accuracy(label, truth), 0.6)
    matrix = metrics.confusion_matrix(label, truth, classes=3)
    np.testing.assert_array_equal(matrix, [[1, 1, 0], [0, 1, 0], [1, 0, 1]])


def test_calibration_of_a_perfect_and_a_boastful_forecaster():
    rng = np.random.default_rng(0)
    p = rng.uniform(0.5, 1, 200_000)
    truth = jnp.asarray((rng.uniform(size=p.size) > p).astype(int))
    honest = jnp.stack([jnp.asarray(p), 1 - jnp.asarray(p)], axis=1)
    assert metrics.expected_calibration_error(honest, truth) < 0.01
    boastful = jnp.tile(jnp.array([[0.99, 0.01]]), (p.size, 1))
    np.testing.assert_allclose(
        metrics.expected_calibration_error(boastful, truth), 0.99 - 0.75, atol=0.01
    )
