import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import blur_type, data
from blurjax.blur_type import Config
from blurjax.blur_type.model import as_pictures, feature, layers, raw_feature

PUBLISHED = Config()
CONFIGS = [
    PUBLISHED,
    Config(feature="spectrum", recall="bottleneck"),
    Config(hidden=(), recall="feature"),
    Config(body="conv", hidden=(64,), recall="feature"),
    Config(body="conv", hidden=(64,), feature="edges"),
    Config(body="residual", hidden=(64, 64)),
]
IDS = ["published", "spectrum", "softmax", "conv", "conv-edges", "residual"]
every_config = pytest.mark.parametrize("config", CONFIGS, ids=IDS)


@pytest.fixture(scope="module")
def batch():
    sharp = jnp.asarray(data.tiles(data.embedded("train"), 144).images)
    return blur_type.sample(jax.random.key(0), sharp, PUBLISHED, n=240)


@functools.cache
def variables(config):
    single = blur_type.init(jax.random.key(1), config)
    return jax.tree.map(lambda x: x.astype(jnp.float32), single)


def test_parameter_paths_are_frozen():
    shapes = {
        jax.tree_util.keystr(path, simple=True, separator="/"): x.shape
        for path, x in jax.tree_util.tree_flatten_with_path(variables(PUBLISHED))[0]
    }
    assert shapes == {
        "params/dense0/kernel": (1024, 500),
        "params/dense0/bias": (500,),
        "params/dense1/kernel": (500, 30),
        "params/dense1/bias": (30,),
        "params/dense2/kernel": (30, 10),
        "params/dense2/bias": (10,),
        "params/dense3/kernel": (10, 3),
        "params/dense3/bias": (3,),
        **{
            f"params/branch/{name}/{leaf}": shape
            for name, outputs in (("gaussian", 1), ("motion", 3), ("defocus", 1), ("kind", 3))
            for leaf, shape in {
                "kernel": (500, 32),
                "bias": (32,),
                "readout": (32, outputs),
                "offset": (outputs,),
            }.items()
        },
        "state/feature/mean": (1024,),
        "state/feature/scale": (1024,),
    }
    conv = variables(CONFIGS[3])["params"]
    assert sorted(conv) == ["conv0", "conv1", "conv2", "dense", "head"]


@every_config
def test_apply(config, batch):
    apply = functools.partial(blur_type.apply, config=config)
    logits = apply(variables(config), batch.patches)
    assert logits.shape == (240, 3) and logits.dtype == jnp.float32
    jitted = jax.jit(apply)(variables(config), batch.patches)
    # The logarithm of a spectrum's near-zeros amplifies the FFT's rounding, which differs by path.
    chex.assert_trees_all_close(jitted, logits, atol=1e-2)
    one_by_one = jax.vmap(lambda p: apply(variables(config), p[None])[0])(batch.patches[:5])
    chex.assert_trees_all_close(one_by_one, logits[:5], atol=1e-2)
    gradient = jax.grad(lambda x: apply(variables(config), x)[:, 0].sum())(batch.patches[:5])
    assert jnp.all(jnp.isfinite(gradient)) and jnp.abs(gradient).max() > 1e-6


@pytest.mark.slow
@every_config
def test_a_few_steps_lower_the_loss(config, batch):
    state = blur_type.standardise(variables(config), batch.patches, config)

    @jax.jit
    def step(params):
        value, gradient = jax.value_and_grad(
            lambda p: blur_type.loss({**state, "params": p}, batch, config)[0]
        )(params)
        return value, jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient)

    params, values = state["params"], []
    for _ in range(30):
        value, params = step(params)
        values.append(float(value))
    assert values[-1] < values[0] - 0.01, values


@pytest.mark.parametrize("config", CONFIGS[:2], ids=IDS[:2])
def test_pictures_are_the_spectrum_again(config, batch):
    from blurjax import features

    raw = raw_feature(batch.patches[:2], config)
    pictures = as_pictures(raw, config)
    if config.feature == "half_spectrum":
        expected = jnp.fft.fftshift(features.half_spectrum(batch.patches[:2], size=45), axes=1)
    else:
        expected = features.min_max(features.log_spectrum(batch.patches[:2]))
    np.testing.assert_allclose(pictures, expected, atol=2e-3)


@pytest.mark.slow
def test_patches_of_no_type_count_for_the_kind_alone(batch):
    first = blur_type.loss(variables(PUBLISHED), batch, PUBLISHED)[1].metrics
    sharp = batch._replace(label=jnp.full_like(batch.label, blur_type.KINDS.index("sharp")))
    none = blur_type.loss(variables(PUBLISHED), sharp, PUBLISHED)
    assert none[1].metrics["accuracy"] == 0 and none[1].metrics["parameters"] == 0
    np.testing.assert_allclose(none[0], PUBLISHED.kind_weight * none[1].metrics["kind"], rtol=1e-6)
    assert first["kind"] != none[1].metrics["kind"]
    gradient = jax.grad(lambda v: blur_type.loss(v, sharp, PUBLISHED)[0])(variables(PUBLISHED))
    branch = gradient["params"]["branch"]
    assert jnp.abs(branch["kind"]["kernel"]).max() > 1e-6
    assert jnp.abs(branch["motion"]["kernel"]).max() == 0


def test_the_1024_inputs_are_the_half_plane_without_its_repeats(batch):
    from blurjax import features

    half = np.asarray(features.half_spectrum(batch.patches[:2], size=45))
    raw = np.asarray(raw_feature(batch.patches[:2], PUBLISHED))
    assert raw.shape == (2, 1024)
    # Every value of the half plane is there ...
    for value in half[0].ravel():
        assert np.abs(raw[0] - value).min() < 1e-5
    # ... and eleven values of its zeroth column, which occur twice, only once.
    np.testing.assert_allclose(raw.sum(1), half.sum((1, 2)) - half[:, 34:, 0].sum(1), rtol=1e-5)


def test_standardised_features_have_mean_0_and_scale_1(batch):
    state = blur_type.standardise(variables(PUBLISHED), batch.patches, PUBLISHED)
    x = feature(state, batch.patches, PUBLISHED)
    np.testing.assert_allclose(x.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(x.std(0), 1, atol=0.02)
    spectrum = CONFIGS[1]
    assert blur_type.standardise(variables(spectrum), batch.patches, spectrum) is variables(
        spectrum
    )


def test_loss_ignores_rows_without_weight(batch):
    heavy = batch._replace(weight=jnp.ones(240, jnp.float32))
    spoilt = heavy._replace(
        weight=heavy.weight.at[100:].set(0), patches=heavy.patches.at[100:].set(0.5)
    )
    some = blur_type.rows(heavy, slice(100))
    value, aux = blur_type.loss(variables(PUBLISHED), spoilt, PUBLISHED)
    expected, _ = blur_type.loss(variables(PUBLISHED), some, PUBLISHED)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    assert 0 <= aux.metrics["accuracy"] <= 1
    empty, _ = blur_type.loss(
        variables(PUBLISHED), heavy._replace(weight=jnp.zeros(240, jnp.float32)), PUBLISHED
    )
    assert empty == 0


@pytest.fixture(scope="module", params=["feature", "bottleneck", "branch"])
def remembered(batch, request):
    config = Config(memory=60, recall=request.param)
    state = blur_type.standardise(variables(config), batch.patches, config)
    return blur_type.remember(
        state, batch._replace(weight=jnp.ones(240, jnp.float32)), config
    ), config


def test_remember_stores_samples_and_chooses_bandwidths(remembered, batch):
    state, config = remembered
    motion = state["recall"]["motion"]
    width = {"feature": 1024, "bottleneck": 10, "branch": 3}[config.recall]
    assert motion["points"].shape == (60, width) and motion["targets"].shape == (60, 3)
    assert motion["bandwidth"].shape == (2,)
    np.testing.assert_allclose(motion["targets"][:, 0], batch.size[batch.label == 1][:60])
    norm = jnp.linalg.norm(motion["targets"][:, 1:], axis=1)
    np.testing.assert_allclose(norm, 1, rtol=1e-5)


def test_the_bandwidth_is_the_best_of_the_grid(remembered):
    from blurjax.nn import grnn

    state, _ = remembered
    memory = state["recall"]["defocus"]
    grid = grnn.bandwidth_grid(memory["points"])
    squares = np.sum(
        (np.asarray(memory["points"])[:, None] - np.asarray(memory["points"])[None]) ** 2, -1
    )
    np.fill_diagonal(squares, np.inf)
    y = np.asarray(memory["targets"])[:, 0]
    errors = []
    for s in np.asarray(grid, np.float64):
        score = -squares / (2 * s**2)
        weight = np.exp(score - score.max(1, keepdims=True))
        errors.append(np.abs(weight @ y / weight.sum(1) - y).mean())
    np.testing.assert_allclose(memory["bandwidth"][0], grid[int(np.argmin(errors))], rtol=1e-6)


@pytest.mark.slow
def test_predict(remembered, batch):
    state, config = remembered
    answer = blur_type.predict(state, batch.patches, config)
    logits = blur_type.apply(state, batch.patches, config)
    chex.assert_trees_all_close(answer.logits, logits, atol=1e-5)
    np.testing.assert_allclose(answer.probabilities.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(answer.label, jnp.argmax(logits, 1))
    assert answer.angle.min() >= 0 and answer.angle.max() < np.pi
    for label, name in enumerate(("sigma", "length", "radius")):
        stored = state["recall"][blur_type.LABELS[label]]["targets"][:, 0]
        found = getattr(answer, name)
        assert stored.min() - 1e-4 <= found.min() and found.max() <= stored.max() + 1e-4
    gradient = jax.grad(lambda x: blur_type.predict(state, x, config).sigma.sum())(
        batch.patches[:4]
    )
    assert jnp.all(jnp.isfinite(gradient)) and jnp.abs(gradient).max() > 1e-6
    mapped = jax.vmap(lambda x: blur_type.predict(state, x[None], config))(batch.patches[:4])
    chex.assert_trees_all_close(mapped.length[:, 0], answer.length[:4], rtol=1e-3)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [(0.1, 0.1 + np.pi, 0), (0.05, np.pi - 0.05, 0.1), (0, np.pi / 2, np.pi / 2)],
)
def test_circular_error(a, b, expected):
    np.testing.assert_allclose(blur_type.circular_error(a, b), expected, atol=1e-12)


def test_hidden_layers_are_sigmoid(batch):
    _, hidden = layers(variables(PUBLISHED), batch.patches, PUBLISHED)
    assert [h.shape[1] for h in hidden] == [500, 30, 10]
    assert all(h.min() >= 0 and h.max() <= 1 for h in hidden)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"body": "transformer"}, "body is 'transformer'"),
        ({"feature": "pixels"}, "feature is 'pixels'"),
        ({"recall": "memory"}, "recall is 'memory'"),
        ({"hidden": ()}, "no layer to offer"),
        ({"body": "conv"}, "has one dense layer"),
        ({"body": "residual"}, "give them one width"),
        ({"sigma": (3.0, 1.0)}, r"sigma is \(3.0, 1.0\)"),
    ],
)
def test_config_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        Config(**options)


def test_refusals(batch):
    with pytest.raises(ValueError, match=r"\(31, 32\)"):
        blur_type.apply(variables(PUBLISHED), batch.patches[:, 1:], PUBLISHED)
    with pytest.raises(ValueError, match="no `recall`"):
        blur_type.predict(variables(PUBLISHED), batch.patches, PUBLISHED)
    with pytest.raises(ValueError, match="0 motion samples"):
        blur_type.remember(variables(PUBLISHED), blur_type.rows(batch, batch.label == 0), PUBLISHED)
