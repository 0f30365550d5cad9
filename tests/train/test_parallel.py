"""One step of every system on 1, 2 and 8 devices, under jit and under pmap: the same numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from blurjax import blur_type, data, kernel_size, region, sharpness, sigma_map
from train import blur_type as train_blur_type
from train import loop, steps

# Each part of a batch on a device of its own, or all eight on one.
PARTS = 8
KEY = jax.random.key(3)


@pytest.fixture(autouse=True)
def _as_users_run(float32):
    """Float64 off: what is compared is what is trained."""


@functools.cache
def _tiles():
    levels = jax.random.uniform(KEY, (8, 40, 40), jnp.float32)
    # Blocks of 4 pixels: detail that survives a blur.
    return jnp.round(255 * jnp.repeat(jnp.repeat(levels, 4, axis=1), 4, axis=2)).astype(jnp.uint8)


def _frames():
    levels = jnp.concatenate([_tiles(), _tiles()[:, ::-1]], axis=2)
    return data.Frames(levels, jnp.full((8, 2), 160, jnp.int32), jnp.arange(8, dtype=jnp.int32))


def _blur_type():
    config = blur_type.Config(body="residual", hidden=(16, 16))
    stored = blur_type.collect(KEY, _tiles(), config, n=96, degraded=0.5, rule="all")
    # Weights that differ from device to device: a mean of means would be another number.
    weight = (jnp.arange(96) % 7 > 2).astype(jnp.float32)
    levels = jnp.round(255 * stored.patches).astype(jnp.uint8)
    stored = stored._replace(patches=levels, weight=weight)
    return blur_type, config, train_blur_type.pick, stored, 48


def _sigma_map(body):
    config = sigma_map.Config(body=body, patch=8, width=16)
    draw = functools.partial(sigma_map.sample, config=config)
    return sigma_map, config, draw, _tiles(), 16


def _patches():
    config = sharpness.Config(body="patches", filters=4)
    k_images, k_truth = jax.random.split(KEY)
    store = sharpness.PatchBatch(
        jax.random.uniform(k_images, (64, 32, 32), jnp.float32),
        jax.random.bernoulli(k_truth, 0.5, (64,)).astype(jnp.float32),
        (jnp.arange(64) % 5 > 1).astype(jnp.float32),
        jnp.arange(64, dtype=jnp.int32),
    )

    def draw(key, store, n):
        rows = jax.random.randint(key, (n,), 0, len(store.images))
        return jax.tree.map(lambda x: x[rows], store)

    return sharpness, config, draw, store, 32


def _kernel_size(body):
    config = kernel_size.Config(body=body, depth=10, width=4, channels=16)
    return kernel_size, config, functools.partial(kernel_size.sample, config=config), _frames(), 40


def _region():
    config = region.Config(depth=10, width=4, reduced=2, target="rank")
    k_similarity, k_corner = jax.random.split(KEY)
    store = region.Labelled(
        jnp.tile(_tiles(), (1, 2, 2))[:4],
        jnp.repeat(jnp.arange(4, dtype=jnp.int32), 8),
        jax.random.randint(k_corner, (32, 2), 0, 320 - region.WINDOW),
        jax.random.uniform(k_similarity, (32,), jnp.float32),
        jnp.full(32, 21, jnp.int32),
    )
    return region, config, functools.partial(region.sample, config=config), store, 32


SYSTEMS = {
    "blur_type": _blur_type,
    "sigma_map-classifier": functools.partial(_sigma_map, "classifier"),
    "sigma_map-regressor": functools.partial(_sigma_map, "regressor"),
    "sharpness-patches": _patches,
    "kernel_size-correlation": functools.partial(_kernel_size, "correlation"),
    "kernel_size-cascade": functools.partial(_kernel_size, "cascade"),
    "region": _region,
}


def _step(system, config, draw, size, **options):
    optimizer = optax.sgd(0.05)
    loss = functools.partial(system.loss, config=config)
    step = steps.gradient_step(loss, optimizer, draw, batch=size, **{"parts": PARTS, **options})
    return step, lambda: steps.initial_state(system.init(KEY, config), optimizer)


def _on(devices, step, state, store):
    mesh = Mesh(np.array(jax.devices()[:devices]), (steps.DATA_AXIS,))
    whole = NamedSharding(mesh, PartitionSpec())
    with loop._use_mesh(mesh):
        given = jax.device_put((state, store, KEY), whole)
        return jax.device_get(jax.jit(step, out_shardings=whole)(*given))


def _pmapped(step, state, store):
    everywhere = jax.tree.map(
        lambda x: jnp.broadcast_to(x, (PARTS, *x.shape)),
        (state, jax.tree.map(jnp.asarray, store), KEY),
    )
    found = jax.pmap(step, axis_name=steps.DATA_AXIS)(*everywhere)
    return jax.tree.map(lambda x: x[0], jax.device_get(found))


def _assert_same_step(found, expected, before):
    """What was learned is the same to a five-hundredth as a whole, and every array to a fiftieth.

    By norm, not by element: rounding can flip which of two nearly equal values is the maximum, or
    on which side of 0 one is, and then one channel's gradient moves by a thousandth.
    """
    names = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(before)]
    moves = [
        [
            np.asarray(x - y, np.float64)
            for x, y in zip(*map(jax.tree.leaves, (end, before)), strict=True)
        ]
        for end in (found, expected)
    ]
    apart = [np.linalg.norm(a - b) for a, b in zip(*moves, strict=True)]
    sizes = [np.linalg.norm(b) for b in moves[1]]
    assert np.linalg.norm(apart) < 2e-3 * np.linalg.norm(sizes)
    for name, distance, size in zip(names, apart, sizes, strict=True):
        assert distance < 2e-2 * size + 1e-5, f"{name}: {distance:.1e} of {size:.1e}"


def _of_the_whole_batch(system, config, step, before, store):
    """The step by plain means: all parts are one batch, and no axis is named."""
    # A cascade's batch has a section for each of its five networks, and so has each part.
    sections = 5 if getattr(config, "body", "") == "cascade" else 1

    def joined(x):
        if x.ndim == 1:
            return x.mean().astype(x.dtype)
        rows = x.reshape(PARTS, sections, -1, *x.shape[2:]).swapaxes(0, 1)
        return rows.reshape(-1, *x.shape[2:])

    batch = jax.tree.map(joined, step.redraw(store, KEY, PARTS))
    variables = before["variables"]

    @jax.jit
    def slope(params, batch):
        def objective(params):
            value, aux = system.loss({**variables, "params": params}, batch, config, train=True)
            return value, aux.state

        return jax.value_and_grad(objective, has_aux=True)(params)

    (value, statistics), gradient = slope(variables["params"], batch)
    params = jax.tree.map(lambda x, g: x - 0.05 * g, variables["params"], gradient)
    new = {**variables, "params": params, "state": statistics}
    return jax.device_get(({"variables": new, "opt": before["opt"]}, value))


# The one that CI has time for has everything: batch normalisation, and weights.
@pytest.mark.parametrize(
    "name",
    [
        name if name == "sharpness-patches" else pytest.param(name, marks=pytest.mark.slow)
        for name in SYSTEMS
    ],
)
def test_a_step_is_the_same_on_1_2_and_8_devices_and_under_pmap(name):
    system, config, draw, store, size = SYSTEMS[name]()
    step, first = _step(system, config, draw, size)
    before = first()
    state, value = _of_the_whole_batch(system, config, step, before, store)
    moved = [
        np.abs(a - b).max() for a, b in zip(*map(jax.tree.leaves, (state, before)), strict=True)
    ]
    assert max(moved) > 1e-4, "nothing was learned"
    # The order of summation is all that differs.
    for other in (
        _on(1, step, before, store),
        _on(2, step, before, store),
        _on(8, step, before, store),
        _pmapped(step, before, store),
    ):
        np.testing.assert_allclose(other[1]["loss"], value, rtol=5e-5)
        _assert_same_step(other[0], state, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_a_step_in_bfloat16_is_near_the_exact_one(name):
    system, config, draw, store, size = SYSTEMS[name]()
    exact, first = _step(system, config, draw, size, parts=1)
    low, _ = _step(system, config, draw, size, parts=1, compute_dtype=jnp.bfloat16)
    before = first()
    (state, metrics), (other, found) = (jax.jit(s)(before, store, KEY) for s in (exact, low))
    assert jax.tree.map(lambda x: x.dtype, other) == jax.tree.map(lambda x: x.dtype, state)
    np.testing.assert_allclose(found["loss"], metrics["loss"], rtol=0.05, atol=0.01)
    assert found["loss"] != metrics["loss"] and found["loss"].dtype == jnp.float32
    # What costs is done in bfloat16: the products of activations and parameters.
    text = jax.jit(low).lower(before, store, KEY).as_text()
    heavy = [
        line
        for line in text.splitlines()
        if "stablehlo.convolution" in line or "stablehlo.dot_general" in line
    ]
    # (Read-outs of blur_type's branch are part of its loss, and in float32.)
    params = {k: v for k, v in before["variables"]["params"].items() if k != "branch"}
    kernels = [x for x in jax.tree.leaves(params) if x.ndim > 1]
    # Of each kernel at least the product itself and its gradient.
    assert sum("bf16" in line for line in heavy) >= 2 * len(kernels)
