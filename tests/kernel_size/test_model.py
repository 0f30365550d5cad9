import functools
import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import kernel_size
from blurjax.kernel_size import Batch, Config, Scores

WHOLE = Config(channels=8, lags=32)
CASCADE = Config(body="cascade", depth=10, width=4)
SINGLE = Config(body="single", depth=10, width=4)
REGRESSOR = Config(body="regressor", depth=10, width=4)


@pytest.fixture(scope="module")
def patches():
    return jax.random.normal(jax.random.key(7), (10, 128, 128), jnp.float32)


@functools.cache
def variables(config):
    return kernel_size.init(jax.random.key(0), config)


# Compiled whole: op by op every primitive is compiled for itself.
apply = jax.jit(kernel_size.apply, static_argnames=("config", "train"))
loss = jax.jit(kernel_size.loss, static_argnames=("config", "train"))
predict = jax.jit(kernel_size.predict, static_argnames=("config", "decoding"))


def batch_of(patches):
    sizes = kernel_size.sizes(CASCADE)
    width = np.concatenate([sizes[kernel_size.range_of(sizes) == i][:2] for i in range(5)])
    return Batch(
        images=patches,
        inside=jnp.full((10, 2), 128),
        size=jnp.stack([jnp.full(10, 9), jnp.asarray(width)], axis=1),
        weight=jnp.ones(10, jnp.float32),
        image=jnp.zeros(10, int),
        rejected=jnp.zeros((), jnp.float32),
    )


def paths(tree):
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def test_parameter_paths_are_frozen():
    """Checkpoints and weights in the world hold these names."""
    found = {}
    for name, config in (("whole", WHOLE), ("cascade", CASCADE), ("regressor", REGRESSOR)):
        shapes = jax.eval_shape(lambda config=config: kernel_size.init(jax.random.key(0), config))
        found[name] = hashlib.sha256("\n".join(paths(shapes)).encode()).hexdigest()[:12]
    assert found == {
        "whole": "14ca5e5aefb3",
        "cascade": "097ac55d9fb0",
        "regressor": "2568a169ff67",
    }


@pytest.mark.parametrize(
    ("depth", "outputs", "count"), [(18, 38, 11_189_734), (101, 38, 42_571_750)]
)
def test_published_widths_have_the_published_number_of_parameters(depth, outputs, count):
    """ResNet-18 and -101 of torchvision (11 689 512 and 44 549 160) with one channel in the stem
    and another head; Ye et al. say 1.4e7 and 4.3e7."""
    config = Config(body="single", depth=depth)
    shapes = jax.eval_shape(lambda: kernel_size.init(jax.random.key(0), config))["params"]
    assert sum(x.size for x in jax.tree.leaves(shapes)) == count
    head = outputs * (512 if depth == 18 else 2048) + outputs
    whole = 11_689_512 - 513_000 if depth == 18 else 44_549_160 - 2_049_000
    assert count == whole - 2 * 64 * 49 + head


@pytest.mark.slow
def test_the_cascade_multiplies_probabilities(patches):
    found = apply(variables(CASCADE), patches, CASCADE)
    coarse, fine, joint = (np.exp(np.asarray(x)) for x in (found.coarse, found.fine, found.joint))
    assert coarse.shape == (10, 5) and fine.shape == joint.shape == (10, 38)
    np.testing.assert_allclose(joint.sum(axis=1), 1, atol=1e-5)
    which = kernel_size.range_of(kernel_size.sizes(CASCADE))
    np.testing.assert_allclose(joint, coarse[:, which] * fine, rtol=1e-4)
    for i in range(5):
        np.testing.assert_allclose(fine[:, which == i].sum(axis=1), 1, atol=1e-5)


@pytest.mark.slow
def test_training_the_cascade_shows_each_fine_network_its_own_part(patches):
    """The loss of training equals the one of all networks on all patches, where statistics are
    fixed; and it moves every network's statistics."""
    v, batch = variables(CASCADE), batch_of(patches)
    trained, aux = loss(v, batch, CASCADE)
    assert np.isfinite(float(trained)) and aux.metrics["fine_accuracy"] <= 1
    before, after = (jax.tree.leaves(x) for x in (v["state"], aux.state))
    changed = [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]
    assert sum(changed) == len(changed) - 1  # All but the answer's scale.
    value, measured = loss(v, batch, CASCADE, train=False)
    scores = apply(v, patches, CASCADE)
    which = kernel_size.range_of(kernel_size.sizes(CASCADE))
    place = np.searchsorted(kernel_size.sizes(CASCADE), np.asarray(batch.size[:, 1]))
    expected = -np.mean(np.asarray(scores.joint)[np.arange(10), place])
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    right = np.mean(np.argmax(np.asarray(scores.coarse), axis=1) == which[place])
    np.testing.assert_allclose(measured.metrics["coarse_accuracy"], right, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("config", [SINGLE, REGRESSOR], ids=["single", "regressor"])
def test_the_controls_have_a_loss_of_their_own(config, patches):
    v, batch = variables(config), batch_of(patches)
    value, aux = loss(v, batch, config, train=False)
    scores = apply(v, patches, config)
    truth = np.asarray(batch.size[:, 1])
    if config.body == "regressor":
        expected = np.mean(np.abs(np.asarray(scores.size) - truth))
        np.testing.assert_allclose(aux.metrics["abe"], expected, rtol=1e-5)
    else:
        place = np.searchsorted(kernel_size.sizes(config), truth)
        expected = -np.mean(np.asarray(scores.joint)[np.arange(10), place])
        np.testing.assert_allclose(value, expected, rtol=1e-5)


@pytest.mark.slow
def test_height_is_the_width_of_the_transposed_image():
    v = variables(WHOLE)
    images = jax.random.uniform(jax.random.key(1), (2, 140, 128), jnp.float32)
    found = apply(v, images, WHOLE).joint
    assert found.shape == (2, 2, 16)
    other = apply(v, images.swapaxes(1, 2), WHOLE).joint
    # The maps' scales differ a little, see `features.transposed_maps`.
    np.testing.assert_allclose(found, other[:, ::-1], atol=0.15)
    assert np.max(np.abs(np.asarray(found - other))) > 0.3
    both = [predict(v, x, WHOLE) for x in (images, images.swapaxes(1, 2))]
    np.testing.assert_allclose(both[0].size, both[1].size[:, ::-1], atol=1.0)
    assert np.all(np.asarray(both[0].low <= both[0].size))
    assert np.all(np.asarray(both[0].size <= both[0].high))


def test_its_loss_knows_gaussian_labels_and_weights():
    v = variables(WHOLE)
    images = jax.random.uniform(jax.random.key(1), (2, 130, 130), jnp.float32)
    batch = Batch(
        images=images,
        inside=jnp.full((2, 2), 130),
        size=jnp.array([[5, 8], [1, 17]]),
        weight=jnp.array([1.0, 0.0], jnp.float32),
        image=jnp.zeros(2, int),
        rejected=jnp.zeros((), jnp.float32),
    )
    value, aux = loss(v, batch, WHOLE)
    classes = np.arange(1, 32, 2)
    log = np.asarray(apply(v, images, WHOLE).joint)[0]
    expected = []
    for said, size in zip(log, (5, 8), strict=True):
        label = np.exp(-(((classes - size) / 1.5) ** 2) / 2)
        expected.append(-np.sum(label / label.sum() * said))
    np.testing.assert_allclose(value, np.mean(expected), rtol=1e-4)
    assert set(aux.metrics) == {"loss", "abe"}


# ---- decoding


def test_quantiles_and_ways_to_decode():
    sizes = kernel_size.sizes(CASCADE)
    probabilities = np.full((1, 38), 1e-6)
    probabilities[0, [2, 3, 30]] = [0.3, 0.4, 0.3]  # 9, 11 and 67 pixels.
    joint = jnp.log(jnp.asarray(probabilities / probabilities.sum()))
    coarse = jnp.log(jnp.array([[0.2, 0.1, 0.1, 0.1, 0.5]]))
    scores, one = Scores(joint, coarse, joint), jnp.ones(())
    hard, low, high = kernel_size.decode(scores, CASCADE, one, decoding="hard")
    assert float(hard[0]) == 67  # In the most probable range.
    median, _, _ = kernel_size.decode(scores, CASCADE, one, decoding="median")
    np.testing.assert_allclose(median, 10 + 2 * 0.5, atol=1e-3)
    expected, _, _ = kernel_size.decode(scores, CASCADE, one)
    np.testing.assert_allclose(expected, 0.3 * 9 + 0.4 * 11 + 0.3 * 67, atol=1e-2)
    # A tenth of the probability below, a tenth above.
    np.testing.assert_allclose(low, 8 + 2 / 3, atol=1e-3)
    np.testing.assert_allclose(high, 65 + 4 * 2 / 3, atol=1e-3)
    narrow = kernel_size.decode(scores, CASCADE, 3 * one)
    assert float(narrow[2][0] - narrow[1][0]) < float(high[0] - low[0])
    with pytest.raises(ValueError, match="decoding is 'soft'"):
        kernel_size.decode(scores, CASCADE, one, decoding="soft")
    assert sizes[30] == 67


# ---- transformations and errors


@pytest.mark.parametrize(
    "config", [WHOLE, pytest.param(SINGLE, marks=pytest.mark.slow)], ids=["whole", "single"]
)
def test_gradients_are_finite_and_not_zero(config):
    v = variables(config)
    image = jax.random.uniform(jax.random.key(2), (1, 131, 130), jnp.float32)

    @jax.jit
    def gradients(params, x):
        def size(params, x):
            return jnp.sum(kernel_size.predict({**v, "params": params}, x, config).size)

        return jax.grad(size, (0, 1))(params, x)

    by_params, by_image = gradients(v["params"], image)
    for x in (*jax.tree.leaves(by_params), by_image):
        assert bool(jnp.all(jnp.isfinite(x)))
    assert float(jnp.max(jnp.abs(by_image))) > 0


def test_half_precision_stays():
    v = variables(SINGLE)
    found = apply(v, jnp.ones((1, 128, 128), jnp.bfloat16), SINGLE)
    assert found.joint.dtype == jnp.bfloat16


def test_bad_sizes_are_refused(patches):
    with pytest.raises(ValueError, match=r"64x128.*128x128"):
        apply(variables(SINGLE), patches[:, :64], SINGLE)
    with pytest.raises(ValueError, match=r"128x128 pixels.*129x129"):
        predict(variables(SINGLE), patches, SINGLE)
    for wrong in ({"body": "deep"}, {"depth": 34}, {"input": "x"}, {"width": 2}, {"lags": 100}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            Config(**wrong)
