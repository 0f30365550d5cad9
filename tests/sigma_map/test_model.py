import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import sigma_map
from blurjax.sigma_map import Config, _dense
from blurjax.sigma_map.samples import Batch

PUBLISHED = Config(body="classifier")
REGRESSOR = Config()
SMALL = Config(width=16)


# Compiled whole: op by op takes many times as long.
apply = jax.jit(sigma_map.apply, static_argnames="config")
loss = jax.jit(sigma_map.loss, static_argnames="config")
predict = jax.jit(sigma_map.predict, static_argnames=("config", "stride"))


@functools.cache
def variables(config):
    single = sigma_map.init(jax.random.key(1), config)
    return jax.tree.map(lambda x: x.astype(jnp.float32), single)


def noise(*shape, seed=0):
    return jax.random.uniform(jax.random.key(seed), shape, jnp.float32)


def paths(config):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): x.shape
        for path, x in jax.tree_util.tree_leaves_with_path(variables(config))
    }


def test_the_classifier_is_the_published_one_and_its_paths_are_frozen():
    channels = [1, 4, 8, 16, 32, 64, 64, 64, 64]
    expected = {}
    for i in range(8):
        side = 3 if i < 6 else 5
        expected[f"params/conv{i}/kernel"] = (side, side, channels[i], channels[i + 1])
        expected[f"params/conv{i}/bias"] = (channels[i + 1],)
    widths = [1024, 1600, 800, 100, 30]
    for i in range(4):
        expected[f"params/dense{i}/kernel"] = (widths[i], widths[i + 1])
        expected[f"params/dense{i}/bias"] = (widths[i + 1],)
    expected |= {f"state/{name}": () for name in ("input/mean", "input/scale", "spread/scale")}
    assert paths(PUBLISHED) == expected
    assert sum(x.size for x in jax.tree.leaves(variables(PUBLISHED)["params"])) == 3_270_426


def test_the_regressors_paths_are_frozen():
    blocks = [f"block{i}{part}" for i in range(6) for part in "ab"]
    layers = ["stem", "down0", "merge", "down1", "scores", "context", "from_context", "across"]
    names = {path.split("/")[1] for path in paths(REGRESSOR)}
    assert names == {*blocks, *layers, "head", "spread"}
    assert paths(REGRESSOR)["params/stem/kernel"] == (5, 5, 3, 24)
    assert paths(REGRESSOR)["params/block2a/kernel"] == (3, 3, 96, 96)
    # What float16 makes 2 MB of.
    assert sum(x.size for x in jax.tree.leaves(variables(REGRESSOR))) < 1_000_000


@pytest.mark.parametrize(
    ("patch", "stride"),
    [
        pytest.param(32, 1, marks=pytest.mark.slow),
        (32, 4),
        pytest.param(16, 1, marks=pytest.mark.slow),
        pytest.param(16, 4, marks=pytest.mark.slow),
        (4, 1),
        (4, 4),
    ],
)
def test_dense_evaluation_equals_sliding_windows(patch, stride):
    config = Config(body="classifier", classes=10, patch=patch)
    images = noise(2, patch + 9, patch + 14)
    dense = sigma_map.dense(variables(config), images, config, stride=stride)
    views = np.lib.stride_tricks.sliding_window_view(np.asarray(images), (patch, patch), (1, 2))
    windows = views[:, ::stride, ::stride]
    each = apply(variables(config), jnp.asarray(windows.reshape(-1, patch, patch)), config)
    assert float(jnp.std(each)) > 0.1
    np.testing.assert_allclose(dense, each.reshape(dense.shape), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("config", "kept"),
    [(PUBLISHED, 0), (SMALL, 10**6), (SMALL, 0)],
    ids=["classifier", "regressor", "regressor, features computed twice"],
)
def test_tiles_equal_the_whole(config, kept, monkeypatch):
    monkeypatch.setattr(_dense, "_FEATURES", 24)
    monkeypatch.setattr(_dense, "_READ", 18)
    monkeypatch.setattr(_dense, "_TILE", 192 if kept else 320)
    monkeypatch.setattr(_dense, "_KEPT", kept)
    gray = noise(45, 61) if config.body == "classifier" else noise(450, 338)
    whole = predict(variables(config), gray[None], config)
    tiles = sigma_map.tiled(variables(config), np.asarray(gray), config)
    assert float(jnp.std(whole.sigma)) > 0.01
    chex.assert_trees_all_close(whole, jax.tree.map(jnp.asarray, tiles), atol=1e-5)


def test_every_pixel_has_the_window_around_it():
    # A lone bright pixel changes the answer of every window that holds it: their centres lie
    # around it.
    images = jnp.full((1, 96, 96), 0.5, jnp.float32)
    lone = images.at[0, 40, 56].set(1.0)
    for config in (PUBLISHED, SMALL):
        change = [
            predict(variables(config), image, config, stride=4).sigma[0] for image in (images, lone)
        ]
        change = np.abs(np.asarray(change[1] - change[0]))
        # The regressor's statistics of the whole image change everywhere a little.
        rows, columns = np.nonzero(change > 0.2 * change.max())
        assert abs(rows.mean() - 40) < 4 and abs(columns.mean() - 56) < 4


def test_a_sigma_between_two_classes_counts_for_both():
    labels = sigma_map.soft_labels(jnp.array([0.05, 0.1, 0.25, 1.48, 3.0, 3.2]), PUBLISHED)
    np.testing.assert_allclose(labels.sum(1), 1, rtol=1e-6)
    np.testing.assert_allclose(labels[2, 1:3], 0.5, atol=1e-6)
    np.testing.assert_allclose(labels[3, 13:15], [0.2, 0.8], atol=1e-6)
    assert labels[0, 0] == labels[1, 0] == labels[4, -1] == labels[5, -1] == 1
    logits = jnp.log(labels[1:5] + 1e-12)
    mean, spread = sigma_map.decode(logits, PUBLISHED)
    np.testing.assert_allclose(mean, [0.1, 0.25, 1.48, 3.0], atol=1e-6)
    assert np.all(spread >= 0.1 / 12**0.5 - 1e-6)
    logits = jnp.log(jnp.array([[0.2, 0.45, 0.35]], jnp.float32))
    three = Config(body="classifier", classes=3)
    assert float(sigma_map.decode(logits, three, "argmax")[0][0]) == 2
    with pytest.raises(ValueError, match="choose 'expectation' or 'argmax'"):
        sigma_map.decode(logits, three, "median")


def test_losses_by_hand():
    config = PUBLISHED
    batch = Batch(noise(3, 32, 32), jnp.array([0.1, 1.25, 3.0], jnp.float32), jnp.zeros(3, int))
    value, aux = loss(variables(config), batch, config)
    logits = np.asarray(apply(variables(config), batch.images, config), np.float64)
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    by_hand = -(log_p[0, 0] + (log_p[1, 11] + log_p[1, 12]) / 2 + log_p[2, 29]) / 3
    assert float(value) == pytest.approx(by_hand, rel=1e-5)
    assert set(aux.metrics) == {"loss", "rmse", "accuracy"}

    truth = jnp.broadcast_to(jnp.linspace(0.5, 2.5, 32, dtype=jnp.float32), (2, 32, 32))
    batch = Batch(noise(2, 32, 32), truth, jnp.zeros(2, int))
    value, aux = loss(variables(SMALL), batch, SMALL)
    said = np.asarray(apply(variables(SMALL), batch.images, SMALL), np.float64)
    sigma, variance = said[..., 0] + 1.5, np.exp(said[..., 1] - 1.5)
    mean = np.asarray(truth).reshape(2, 8, 4, 8, 4).mean((2, 4))
    error = (sigma - mean) ** 2
    by_hand = np.mean(variance**0.5 * (error / variance + np.log(variance))) / 2
    assert float(value) == pytest.approx(by_hand, rel=1e-5)
    assert float(aux.metrics["rmse"]) == pytest.approx(np.sqrt(error.mean()), rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("config", [PUBLISHED, SMALL], ids=["classifier", "regressor"])
def test_predict_under_jit_vmap_and_grad(config):
    images = noise(2, 40, 44)
    plain = predict(variables(config), images, config, stride=8)
    assert plain.sigma.shape == (2, 40, 44) and plain.sigma.dtype == jnp.float32
    assert np.all(plain.sigma >= 0) and np.all(plain.spread > 0)

    def mean(image):
        sigma = sigma_map.predict(variables(config), image[None], config, stride=8).sigma[0]
        return jnp.mean(sigma), sigma

    (_, each), gradient = jax.jit(jax.vmap(jax.value_and_grad(mean, has_aux=True)))(images)
    np.testing.assert_allclose(each, plain.sigma, atol=1e-4)
    assert np.all(np.isfinite(gradient)) and np.all(jnp.abs(gradient).max((1, 2)) > 0)
    half = jax.eval_shape(lambda x: mean(x)[1], jnp.zeros((40, 44), jnp.bfloat16))
    assert half.dtype == jnp.bfloat16


def test_the_spreads_scale_is_applied_once_and_to_the_spread_alone():
    config = SMALL
    doubled = variables(config) | {"state": {"spread": {"scale": jnp.float32(2)}}}
    images = noise(1, 40, 40)
    one, two = (predict(v, images, config) for v in (variables(config), doubled))
    np.testing.assert_array_equal(one.sigma, two.sigma)
    np.testing.assert_allclose(two.spread, 2 * one.spread, rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Config(body="tree"), "choose 'regressor' or 'classifier'"),
        (lambda: Config(patch=12), "choose one of"),
        (lambda: Config(classes=1), "2 or more classes"),
        (lambda: Config(width=7), "even number"),
        (lambda: sigma_map.apply(variables(PUBLISHED), noise(1, 40, 32), PUBLISHED), "32x32"),
        (lambda: sigma_map.apply(variables(SMALL), noise(1, 40, 33), SMALL), "multiples of 8"),
        (lambda: sigma_map.dense(variables(PUBLISHED), noise(1, 20, 40), PUBLISHED), "window"),
        (
            lambda: sigma_map.dense(variables(PUBLISHED), noise(1, 40, 40), PUBLISHED, stride=3),
            "pass 1, or an even number up to 32",
        ),
        (
            lambda: sigma_map.predict(variables(PUBLISHED), noise(1, 40, 40), PUBLISHED, stride=64),
            "stride is 64",
        ),
        (lambda: sigma_map.dense(variables(SMALL), noise(1, 40, 40), SMALL), "predict"),
        (lambda: sigma_map.predict(variables(SMALL), noise(1, 31, 40), SMALL), "at least 32x32"),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()
