import dataclasses
import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from blurjax import region
from blurjax.region import Batch, Config
from blurjax.region import model as room

RESNET = Config(depth=10, width=4, reduced=2)
GABOR = Config(body="gabor")

every_body = pytest.mark.parametrize("config", [RESNET, GABOR], ids=["resnet", "gabor"])
every_target = pytest.mark.parametrize("target", ["good", "similarity", "rank"])


@functools.cache
def variables(config):
    """Fresh ones, but of Gabor statistics, which begin without an opinion."""
    fresh = region.init(jax.random.key(0), config)
    if config.body == "gabor":
        kernel = fresh["params"]["gabor"]["kernel"]
        kernel = 0.1 * jax.random.normal(jax.random.key(1), kernel.shape, kernel.dtype)
        fresh["params"] = {"gabor": {"kernel": kernel, "bias": jnp.float32(0.3)}}
    return fresh


# Compiled whole: op by op every primitive is compiled for itself.
apply = jax.jit(region.apply, static_argnames=("config", "train"))
predict = jax.jit(region.predict, static_argnames="config")


@functools.cache
def batch_of(n):
    """Windows of 64 pixels, smaller than those of the world: less to compute."""
    key = jax.random.key(7)
    windows = jax.random.uniform(key, (n, 64, 64), jnp.float32)
    # Rough and smooth ones.
    windows = jnp.where(jnp.arange(n)[:, None, None] % 2 == 0, windows, windows**8)
    similarity = jnp.linspace(0.2, 0.95, n, dtype=jnp.float32)[::-1]
    return Batch(windows, similarity, jnp.arange(n) // 4)


@functools.cache
def step(config):
    """A step of training: its loss, what is beside it, and the gradient."""

    @jax.jit
    def of(params, others, batch):
        return jax.value_and_grad(
            lambda params: region.loss({**others, "params": params}, batch, config), has_aux=True
        )(params)

    v = variables(config)
    return of(v["params"], {"state": v["state"]}, batch_of(8))


def paths(tree):
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def test_parameter_paths_are_frozen():
    """Checkpoints and weights in the world hold these names."""
    found = {}
    for name, config in (("small", RESNET), ("published", Config()), ("gabor", GABOR)):
        shapes = jax.eval_shape(lambda config=config: region.init(jax.random.key(0), config))
        found[name] = hashlib.sha256("\n".join(paths(shapes)).encode()).hexdigest()[:12]
        assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
    assert found == {
        "small": "50bf7c794d47",
        "published": "fa0fc7fa7f18",
        "gabor": "d6d39fe50e94",
    }


def test_the_published_network_is_resnet34_with_a_convolution_for_the_pooling():
    shapes = jax.eval_shape(lambda: region.init(jax.random.key(0), Config()))["params"]
    assert sum(x.size for x in jax.tree.leaves(shapes)) == 21_315_905  # See tests/nn.
    assert shapes["resnet"]["pool"]["kernel"].shape == (3, 3, 64, 64)
    assert shapes["resnet"]["head"]["kernel"].shape == (512, 1)


# ---- scores


@every_body
def test_a_window_has_a_score_of_its_dtype(config):
    windows = batch_of(8).windows
    plain = apply(variables(config), windows, config)
    assert plain.shape == (8,) and plain.dtype == jnp.float32
    assert float(jnp.std(plain)) > 0.01
    wide = apply(variables(config), windows.astype(jnp.float64), config)
    assert wide.dtype == jnp.float64
    np.testing.assert_allclose(wide, plain, atol=1e-4)
    narrow = jax.eval_shape(
        lambda x: region.predict(variables(config), x, config).score,
        jax.ShapeDtypeStruct((2, 228, 228), jnp.bfloat16),
    )
    assert narrow.shape == (2,) and narrow.dtype == jnp.bfloat16


def test_half_precision_stays():
    half = batch_of(8).windows.astype(jnp.bfloat16)
    found = apply(variables(GABOR), half, GABOR)
    assert found.dtype == jnp.bfloat16
    plain = apply(variables(GABOR), batch_of(8).windows, GABOR)
    np.testing.assert_allclose(found.astype(jnp.float32), plain, atol=0.2)


def test_a_constant_more_is_not_seen_by_the_network():
    windows = 0.5 * batch_of(8).windows
    a, b = (apply(variables(RESNET), x, RESNET) for x in (windows, windows + 0.3))
    np.testing.assert_allclose(a, b, atol=1e-4)


def test_reduced_windows_are_means_of_four_pixels():
    """Seen by a network that does not reduce any more; an odd last row and column are left out."""
    windows = jax.random.uniform(jax.random.key(3), (2, 129, 131), jnp.float32)
    whole = dataclasses.replace(RESNET, reduced=1)
    reduced = windows[:, :128, :130].reshape(2, 64, 2, 65, 2).mean(axis=(2, 4))
    # Means over the whole window are subtracted before, about which the network does not care.
    expected = apply(variables(RESNET), reduced, whole)
    found = apply(variables(RESNET), windows, RESNET)
    assert found.shape == (2,)
    scale = float(jnp.max(jnp.abs(expected)))
    np.testing.assert_allclose(found, expected, atol=0.02 * scale)


def test_gabor_is_logistic_regression_on_standardised_statistics():
    v, windows = variables(GABOR), batch_of(8).windows
    rng = np.random.default_rng(0)
    mean, deviation = rng.normal(size=66), rng.uniform(0.5, 2, 66)
    known = {"mean": jnp.float32(mean), "deviation": jnp.float32(deviation)}
    v = {**v, "state": {**v["state"], "features": known}}
    x = (np.asarray(region.gabor_statistics(windows), np.float64) - mean) / deviation
    expected = x @ np.asarray(v["params"]["gabor"]["kernel"], np.float64) + 0.3
    np.testing.assert_allclose(apply(v, windows, GABOR), expected, atol=1e-4)
    fresh = region.init(jax.random.key(0), GABOR)
    np.testing.assert_array_equal(apply(fresh, windows, GABOR), 0)


@every_body
def test_probabilities_are_calibrated_scores(config):
    windows = batch_of(8).windows
    v = variables(config)
    answer = {"scale": jnp.float32(1.7), "offset": jnp.float32(-0.4)}
    v = {**v, "state": {**v["state"], "answer": answer}}
    logits = np.asarray(apply(v, windows, config), np.float64)
    expected = 1 / (1 + np.exp(-(1.7 * logits - 0.4)))
    np.testing.assert_allclose(predict(v, windows, config).score, expected, atol=1e-5)


def test_predictions_are_the_same_alone_mapped_and_not_compiled():
    v, windows = variables(GABOR), batch_of(8).windows
    found = predict(v, windows, GABOR).score
    np.testing.assert_allclose(region.predict(v, windows, GABOR).score, found, atol=1e-5)
    mapped = jax.jit(jax.vmap(lambda x: region.predict(v, x, GABOR).score))
    np.testing.assert_allclose(mapped(windows.reshape(2, 4, 64, 64)).ravel(), found, atol=1e-5)


@pytest.mark.slow
def test_the_networks_predictions_are_the_same_alone_mapped_and_not_compiled():
    v, windows = variables(RESNET), batch_of(8).windows
    found = predict(v, windows, RESNET).score
    np.testing.assert_allclose(region.predict(v, windows, RESNET).score, found, atol=1e-5)
    np.testing.assert_allclose(predict(v, windows[5:6], RESNET).score, found[5:6], atol=1e-5)
    mapped = jax.jit(jax.vmap(lambda x: region.predict(v, x, RESNET).score))
    np.testing.assert_allclose(mapped(windows.reshape(2, 4, 64, 64)).ravel(), found, atol=1e-5)


# ---- the loss


SAID = np.array([1.2, -0.3, 0.4, 0.5, -2.0, 0.1])
SIMILARITY = np.array([0.9, 0.5, 0.95, 0.2, 0.8, 0.75])
IMAGE = np.array([0, 0, 0, 1, 1, 1])


@pytest.fixture
def saying(monkeypatch):
    """The scorer says `SAID`."""

    def known(variables, windows, config, train, axis_name):
        return jnp.asarray(SAID), {"train": train}

    monkeypatch.setattr(room, "_run", known)
    return Batch(jnp.zeros((6, 1, 1)), jnp.asarray(SIMILARITY), jnp.asarray(IMAGE))


@every_target
def test_the_loss_is_the_entropy_of_its_target(saying, target):
    value, aux = region.loss({}, saying, Config(target=target), train=False)
    p = 1 / (1 + np.exp(-SAID))
    wanted = (SIMILARITY > 0.75) if target == "good" else SIMILARITY
    expected = -np.mean(wanted * np.log(p) + (1 - wanted) * np.log(1 - p))
    if target == "rank":
        weighed, weight = 0.0, 0.0
        for i in range(6):
            for j in range(6):
                ahead = SIMILARITY[i] - SIMILARITY[j]
                if IMAGE[i] == IMAGE[j] and ahead > 0.1:
                    weighed += ahead * np.log(1 + np.exp(SAID[j] - SAID[i]))
                    weight += ahead
        expected += weighed / weight
    assert float(value) == pytest.approx(expected, rel=1e-9)
    assert float(aux.metrics["loss"]) == float(value)
    assert aux.state == {"train": False}


def test_metrics_count_by_the_threshold_and_within_photographs(saying):
    _, aux = region.loss({}, saying, Config())
    # Good are numbers 0, 2 and 4, not the last: it is at the threshold; said are 0, 2, 3 and 5.
    assert float(aux.metrics["good"]) == 0.5
    assert float(aux.metrics["accuracy"]) == pytest.approx(3 / 6)
    # Of the first photograph 0 > 1 and 2 > 1 are clear, both right; of the second 4 > 3 and 5 > 3,
    # both wrong; 0.95 and 0.9, and 0.8 and 0.75, are too close.
    assert float(aux.metrics["order"]) == pytest.approx(2 / 4)
    assert aux.state == {"train": True}
    _, aux = region.loss({}, saying, Config(threshold=0.3))
    assert float(aux.metrics["good"]) == pytest.approx(5 / 6)
    assert float(aux.metrics["accuracy"]) == pytest.approx(3 / 6)


def test_without_clear_pairs_ranks_add_nothing(saying):
    alone = saying._replace(image=jnp.arange(6))
    rank, aux = region.loss({}, alone, Config(target="rank"))
    plain, _ = region.loss({}, alone, Config(target="similarity"))
    assert float(rank) == float(plain) and float(aux.metrics["order"]) == 0


@every_body
def test_the_loss_is_that_of_the_scores(config):
    batch = batch_of(8)
    value, aux = jax.jit(functools.partial(region.loss, config=config, train=False))(
        variables(config), batch
    )
    logits = np.asarray(apply(variables(config), batch.windows, config), np.float64)
    good = np.asarray(batch.similarity) > 0.75
    expected = np.mean(np.logaddexp(0, logits) - good * logits)
    assert float(value) == pytest.approx(expected, abs=1e-5)
    for a, b in zip(*map(jax.tree.leaves, (aux.state, variables(config)["state"])), strict=True):
        np.testing.assert_array_equal(a, b)


# ---- training


@every_body
def test_gradients_are_finite_and_not_zero(config):
    (value, _), gradient = step(config)
    assert np.isfinite(float(value))
    leaves = [np.asarray(x) for x in jax.tree.leaves(gradient)]
    assert all(np.all(np.isfinite(x)) for x in leaves)
    assert max(np.abs(x).max() for x in leaves) > 1e-3


def test_training_moves_the_averages_and_changes_nothing_it_was_given():
    before = jax.tree.map(lambda x: np.array(x, copy=True), variables(RESNET))
    (_, aux), _ = step(RESNET)
    for a, b in zip(*map(jax.tree.leaves, (before, variables(RESNET))), strict=True):
        np.testing.assert_array_equal(a, b)
    assert jax.tree.structure(aux.state) == jax.tree.structure(before["state"])
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), aux.state, before["state"])
    assert all(jax.tree.leaves(changed["resnet"]))
    assert not any(jax.tree.leaves(changed["answer"]))
    # The statistics of logistic regression are measured once.
    (_, aux), _ = step(GABOR)
    for a, b in zip(*map(jax.tree.leaves, (aux.state, variables(GABOR)["state"])), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_published_fine_tuning_touches_the_pooling_the_last_stages_and_the_head():
    config = Config(depth=18, width=4)
    shapes = jax.eval_shape(lambda: region.init(jax.random.key(0), config))
    mask = region.trainable(shapes, config)
    assert jax.tree.structure(mask) == jax.tree.structure(shapes["params"])
    parts = {True: set(), False: set()}
    for name, part in mask["resnet"].items():
        for touched in jax.tree.leaves(part):
            assert isinstance(touched, bool)
            parts[touched].add(name.split("_")[0])
    assert parts == {
        True: {"pool", "stage2", "stage3", "head"},
        False: {"stem", "stage0", "stage1"},
    }
    assert all(jax.tree.leaves(region.trainable(variables(GABOR), GABOR)))


def test_what_is_kept_stays_the_same():
    params = variables(RESNET)["params"]
    (_, _), gradient = step(RESNET)
    mask = region.trainable(variables(RESNET), RESNET)
    labels = jax.tree.map(lambda touched: "touched" if touched else "kept", mask)
    optimizer = optax.multi_transform(
        {"touched": optax.sgd(0.1), "kept": optax.set_to_zero()}, labels
    )

    @jax.jit
    def updated(params, gradient):
        updates, _ = optimizer.update(gradient, optimizer.init(params), params)
        return optax.apply_updates(params, updates)

    after = updated(params, gradient)

    def check(touched, a, b, g):
        if touched:
            np.testing.assert_allclose(b, a - 0.1 * g, atol=1e-6)
        else:
            np.testing.assert_array_equal(a, b)
        return touched and not np.array_equal(a, b)

    moved = jax.tree.map(check, mask, params, after, gradient)
    assert all(jax.tree.leaves(moved["resnet"]["head"]))
    # Convolutions before a norm that begins at 0 have no gradient yet; the others move.
    assert all(jax.tree.leaves(moved["resnet"]["pool"]))
    assert moved["resnet"]["stage3_block0_norm1"]["scale"]
    kept = gradient["resnet"]["stem"]["kernel"]
    assert float(jnp.max(jnp.abs(kept))) > 0


def test_small_windows_are_refused_in_a_sentence():
    for config in (RESNET, GABOR):
        for shape in ((2, 63, 64), (2, 64, 63)):
            said = rf"^windows are {shape[1]}x{shape[2]} pixels; .*64x64.*: pass 228x228$"
            with pytest.raises(ValueError, match=said):
                region.apply(variables(config), jnp.zeros(shape), config)
            with pytest.raises(ValueError, match=said):
                region.predict(variables(config), jnp.zeros(shape), config)


@pytest.mark.parametrize(
    "wrong",
    [
        {"body": "tree"},
        {"depth": 101},
        {"width": 3},
        {"reduced": 3},
        {"target": "best"},
        {"threshold": 0.0},
        {"threshold": 1.0},
        {"threshold": float("nan")},
    ],
    ids=str,
)
def test_what_is_no_configuration_is_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=f"^{name} is "):
        Config(**wrong)


def test_configurations_are_static():
    assert hash(Config()) == hash(Config()) and Config() == Config(threshold=region.THRESHOLD)
