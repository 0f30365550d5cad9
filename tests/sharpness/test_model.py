"""Both networks: frozen parameters, losses by hand, maps at every size."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import sharpness
from blurjax.sharpness import Batch, Config, PatchBatch

SHIPPED = Config()
SMALL = Config(width=8)
PATCHES = Config(body="patches")
FEW = Config(body="patches", filters=4)

# Compiled whole: op by op takes many times as long.
apply = jax.jit(sharpness.apply, static_argnames=("config", "train"))
loss = jax.jit(sharpness.loss, static_argnames=("config", "train"))
predict = jax.jit(sharpness.predict, static_argnames=("config", "scales"))


@functools.cache
def variables(config):
    return sharpness.init(jax.random.key(1), config)


def noise(*shape, seed=0):
    return jax.random.uniform(jax.random.key(seed), shape, jnp.float32)


def shapes(tree):
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): x.shape
        for path, x in jax.tree_util.tree_leaves_with_path(tree)
    }


@functools.cache
def paths(config):
    return shapes(jax.eval_shape(lambda key: sharpness.init(key, config), jax.random.key(1)))


def size(config):
    return sum(int(np.prod(shape)) for shape in paths(config).values())


def patches(n=6):
    sharp = jnp.arange(n, dtype=jnp.float32) % 2
    weight = jnp.ones(n, jnp.float32).at[n - 1].set(0.0)
    return PatchBatch(noise(n, 32, 32), sharp, weight, jnp.zeros(n, int))


def photographs():
    sharp = jnp.broadcast_to(jnp.linspace(0, 1, 64, dtype=jnp.float32) ** 2, (2, 32, 64))
    return Batch(noise(2, 32, 64), sharp, jnp.zeros(2, int))


# ---- parameters


def test_the_patch_networks_paths_are_frozen():
    assert paths(PATCHES) == {
        "params/conv0/kernel": (7, 7, 1, 32),
        "params/conv1/kernel": (5, 5, 64, 32),
        "params/conv2/kernel": (5, 5, 64, 32),
        "params/conv3/kernel": (3, 3, 64, 64),
        "params/dense/kernel": (2048, 2),
        "params/dense/bias": (2,),
        **{
            f"{part}/norm{i}/{name}": (64 if i == 3 else 32,)
            for i in range(4)
            for part, name in (
                ("params", "scale"),
                ("params", "bias"),
                ("state", "mean"),
                ("state", "var"),
            )
        },
    }
    assert size(PATCHES) == 145_570
    wide = paths(Config(body="patches", kernel=9, filters=16))
    assert wide["params/conv0/kernel"] == (9, 9, 1, 16)
    assert wide["params/conv3/kernel"] == (3, 3, 32, 32)


def test_the_detectors_paths_are_frozen():
    names = {path.removeprefix("params/").split("/")[0] for path in paths(SHIPPED)}
    blocks = [f"block{i}{part}{j}" for i in range(3) for part in "ab" for j in (0, 1)]
    down = [f"down{i}" for i in range(4)]
    up = ["up0", "up10", "up11", "up20", "up21", "across0", "across1", "across2"]
    ends = ["stem", "merge", "fine0", "fine1", "context", "head", "state"]
    assert names == {*blocks, *down, *up, *ends}
    frozen = {
        "params/stem/kernel": (3, 3, 8, 12),
        "params/down0/kernel": (3, 3, 12, 24),
        "params/merge/kernel": (1, 1, 36, 24),
        "params/down1/kernel": (3, 3, 24, 48),
        "params/block1a0/kernel": (3, 3, 64, 64),
        "params/block2b1/kernel": (3, 3, 96, 96),
        "params/context/kernel": (96, 96),
        "params/across2/kernel": (1, 1, 96, 64),
        "params/head/kernel": (1, 1, 24, 1),
        "params/head/bias": (1,),
        "state/answer/scale": (),
        "state/answer/offset": (),
    }
    assert frozen.items() <= paths(SHIPPED).items()
    assert size(SHIPPED) == 811_799
    # As float16.
    assert 2 * size(SHIPPED) < 2e6


# ---- losses


@pytest.mark.slow
def test_the_detectors_loss_by_hand():
    batch = photographs()
    value, aux = loss(variables(SMALL), batch, SMALL)
    logits = np.asarray(apply(variables(SMALL), batch.images, SMALL), np.float64)
    assert logits.shape == (2, 8, 16) and logits.std() > 0.01
    truth = np.asarray(batch.sharp, np.float64).reshape(2, 8, 4, 16, 4).mean((2, 4))
    p = 1 / (1 + np.exp(-logits))
    by_hand = -np.mean(truth * np.log(p) + (1 - truth) * np.log(1 - p))
    assert float(value) == pytest.approx(by_hand, rel=1e-5)
    metrics = {name: float(x) for name, x in aux.metrics.items()}
    assert set(metrics) == {"loss", "accuracy", "mae"}
    assert metrics["loss"] == float(value)
    assert metrics["mae"] == pytest.approx(np.mean(np.abs(p - truth)), rel=1e-5)
    assert metrics["accuracy"] == pytest.approx(np.mean((p > 0.5) == (truth > 0.5)))
    # Measured after training, and not by it.
    jax.tree.map(np.testing.assert_array_equal, aux.state, variables(SMALL)["state"])


def test_the_patch_networks_loss_by_hand():
    batch = patches()
    value, aux = loss(variables(FEW), batch, FEW, train=False)
    logits = np.asarray(apply(variables(FEW), batch.images, FEW), np.float64)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    kinds = np.asarray(batch.sharp, int)
    # The last has no weight.
    by_hand = -np.mean(log_p[np.arange(6), kinds][:5])
    assert float(value) == pytest.approx(by_hand, rel=1e-5)
    right = (log_p[:5, 1] > log_p[:5, 0]) == kinds[:5]
    assert float(aux.metrics["accuracy"]) == pytest.approx(right.mean())
    error = np.abs(np.exp(log_p[:5, 1]) - kinds[:5])
    assert float(aux.metrics["mae"]) == pytest.approx(error.mean(), rel=1e-5)
    nothing = batch._replace(weight=jnp.zeros(6, jnp.float32))
    assert float(loss(variables(FEW), nothing, FEW, train=False)[0]) == 0


def test_batch_normalisations_averages_move_in_training_alone():
    batch, before = patches(), variables(FEW)["state"]
    still = loss(variables(FEW), batch, FEW, train=False)[1].state
    jax.tree.map(np.testing.assert_array_equal, still, before)
    moved = loss(variables(FEW), batch, FEW)[1].state
    assert shapes(moved) == shapes(before)
    assert all(np.any(moved[f"norm{i}"]["var"] != 1) for i in range(4))
    # By a twentieth of the way to the batch's own.
    images, kernels = batch.images[..., None], variables(FEW)["params"]["conv0"]["kernel"]
    response = jax.lax.conv_general_dilated(
        images, kernels, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    mean = 0.05 * jnp.mean(response, axis=(0, 1, 2))
    np.testing.assert_allclose(moved["norm0"]["mean"], mean, rtol=1e-4, atol=1e-6)
    # Then training sees its batch, and evaluation the averages.
    trained, evaluated = (
        apply(variables(FEW), batch.images, FEW, train=train) for train in (True, False)
    )
    assert float(jnp.abs(trained - evaluated).max()) > 0.01


def test_contrast_takes_offset_and_contrast_out_of_patches():
    config = Config(body="patches", filters=4, contrast=True)
    images = noise(6, 32, 32)
    said, again = (apply(variables(config), x, config) for x in (images, 0.5 * images + 0.2))
    # But for the 2 / 255 that keep noise from being amplified.
    assert float(jnp.abs(again - said).max()) < 0.05 * float(jnp.abs(said).max())
    plain, other = (apply(variables(FEW), x, FEW) for x in (images, 0.5 * images + 0.2))
    assert float(jnp.abs(other - plain).max()) > 0.2 * float(jnp.abs(plain).max())


@pytest.mark.slow
@pytest.mark.parametrize("config", [SMALL, FEW], ids=["detector", "patches"])
def test_every_parameter_has_a_gradient(config):
    batch = patches() if config is FEW else photographs()

    def of(params):
        return sharpness.loss({**variables(config), "params": params}, batch, config)[0]

    gradient = jax.jit(jax.grad(of))(variables(config)["params"])
    for path, x in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.all(np.isfinite(x)) and np.any(x != 0), path


# ---- maps


def test_predict_at_odd_sizes_is_a_map_of_probabilities():
    for shape in ((2, 33, 47), (1, 70, 32)):
        found = predict(variables(SMALL), noise(*shape), SMALL).sharpness
        assert found.shape == shape and found.dtype == jnp.float32
        assert np.all((found > 0) & (found < 1)) and float(jnp.std(found)) > 1e-3


@pytest.mark.slow
def test_a_single_scale_is_the_logits_between_squares():
    images = noise(1, 32, 64)
    logits = np.asarray(apply(variables(SMALL), images, SMALL), np.float64)[0]
    state = {"answer": {"scale": jnp.float32(2), "offset": jnp.float32(0.3)}}
    answering = {**variables(SMALL), "state": state}
    found = predict(answering, images, SMALL, scales=(1.0,)).sharpness[0]
    said = (np.log(np.asarray(found, float)) - np.log1p(-np.asarray(found, float)) - 0.3) / 2
    # Squares of 4 pixels have their middle between pixels 1 and 2.
    middle = (said[1::4, 1::4] + said[2::4, 2::4] + said[1::4, 2::4] + said[2::4, 1::4]) / 4

    def between(x):
        wide = np.pad(x, 1, mode="edge")
        return (wide[:-2] + 14 * wide[1:-1] + wide[2:])[:, 1:-1] / 16

    np.testing.assert_allclose(middle, between(between(logits).T).T, atol=1e-4)
    # At the very border nothing is beyond.
    np.testing.assert_allclose(said[0, 0], logits[0, 0], atol=1e-4)


@pytest.mark.slow
def test_several_scales_are_averaged_and_one_too_small_is_left_out():
    images = noise(1, 64, 80)
    one, half, both = (
        predict(variables(SMALL), images, SMALL, scales=scales).sharpness
        for scales in ((1.0, 0.4), (0.5,), (1.0, 0.5))
    )
    logit = [np.log(x) - np.log1p(-x) for x in np.asarray([one, half, both], np.float64)]
    np.testing.assert_allclose(logit[2], (logit[0] + logit[1]) / 2, atol=1e-4)
    assert np.abs(logit[0] - logit[1]).max() > 0.01


@pytest.mark.slow
def test_predict_keeps_dtypes_under_vmap_and_has_gradients():
    images = noise(2, 40, 44)
    plain = predict(variables(SMALL), images, SMALL).sharpness

    def mean(image):
        found = sharpness.predict(variables(SMALL), image[None], SMALL).sharpness[0]
        return jnp.mean(found), found

    (_, each), gradient = jax.jit(jax.vmap(jax.value_and_grad(mean, has_aux=True)))(images)
    np.testing.assert_allclose(each, plain, atol=1e-5)
    assert np.all(np.isfinite(gradient)) and np.all(jnp.abs(gradient).max((1, 2)) > 0)
    for dtype in (jnp.float64, jnp.bfloat16):
        assert jax.eval_shape(lambda x: mean(x)[1], jnp.zeros((40, 44), dtype)).dtype == dtype


def test_a_lone_change_moves_the_map_around_it():
    images = jnp.tile(noise(1, 16, 16, seed=3), (1, 10, 10))
    changed = images.at[0, 60:68, 100:108].set(noise(8, 8, seed=4))
    maps = [
        predict(variables(SMALL), x, SMALL, scales=(1.0,)).sharpness[0] for x in (images, changed)
    ]
    change = np.abs(np.asarray(maps[1] - maps[0]))
    # What the whole image has changes everywhere a little.
    rows, columns = np.nonzero(change > 0.3 * change.max())
    assert abs(rows.mean() - 63.5) < 5 and abs(columns.mean() - 103.5) < 5
    assert np.abs(rows - 63.5).max() < 32 and np.abs(columns - 103.5).max() < 32


# ---- errors


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Config(body="tree"), "choose 'detector', 'patches' or 'metric'"),
        (lambda: Config(mode="product"), "choose one of"),
        (lambda: Config(kernel=4), "an odd side from 3 to 15"),
        (lambda: Config(kernel=17), "an odd side from 3 to 15"),
        (lambda: Config(width=12), "a multiple of 8"),
        (lambda: Config(filters=3), "4 or more filters"),
        (lambda: sharpness.init(jax.random.key(0), Config(body="metric")), "no network"),
        (lambda: sharpness.apply(variables(FEW), noise(1, 40, 32), FEW), "40x32; .* 32x32"),
        (lambda: sharpness.apply(variables(SMALL), noise(1, 40, 32), SMALL), "multiples of 32"),
        (lambda: sharpness.loss(variables(SMALL), patches(), SMALL), "whose config it gets"),
        (lambda: sharpness.loss(variables(FEW), photographs(), FEW), "whose config it gets"),
        (lambda: sharpness.predict(variables(SMALL), noise(1, 31, 40), SMALL), "least 32x32"),
        (lambda: sharpness.predict(variables(FEW), noise(1, 32, 32), FEW), "about the detector"),
        *(
            (
                lambda scales=scales: sharpness.predict(
                    variables(SMALL), noise(1, 32, 32), SMALL, scales=scales
                ),
                "above 0, at most 1",
            )
            for scales in ((), (1.0, 0.0), (1.5,))
        ),
    ],
)
def test_bad_input_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()
