"""The CPU's form of convolution and pooling against XLA's own."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from blurjax.nn import _conv

NUMBERS = ("NHWC", "HWIO", "NHWC")
# Kernel's sides, channels in and out, image's sides; dilation; padding. By rows, with one column
# more, few channels; one row, one column, even sides; what is left to XLA.
CASES = [
    ((5, 5), 3, 4, (8, 8), 1, "VALID"),
    ((3, 3), 2, 20, (9, 11), 1, "VALID"),
    ((3, 3), 20, 2, (9, 11), 2, "VALID"),
    ((3, 3), 2, 20, (17, 19), 2, "VALID"),
    ((4, 2), 18, 3, (12, 9), 1, [(0, 0), (0, 0)]),
    ((1, 3), 2, 20, (7, 9), 1, "VALID"),
    ((3, 1), 2, 20, (9, 7), 1, "VALID"),
    ((3, 3), 2, 3, (9, 8), 1, "VALID"),
    ((3, 3), 2, 20, (6, 7), 1, "SAME"),
    ((1, 1), 2, 20, (6, 7), 1, "VALID"),
    ((3, 3), 2, 20, (6, 7), 1, [(1, 0), (0, 2)]),
]


def arrays(getkey, sides, i, o, shape, dtype=jnp.float64):
    x = jax.random.normal(getkey(), (2, *shape, i), dtype)
    return x, jax.random.normal(getkey(), (*sides, i, o), dtype)


def by(convolve, dilation, padding):
    def called(x, kernel):
        return convolve(
            x,
            kernel,
            (1, 1),
            padding,
            rhs_dilation=(dilation, dilation),
            dimension_numbers=NUMBERS,
        )

    return called


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_gradients_are_xlas(case, getkey):
    sides, i, o, shape, dilation, padding = case
    x, kernel = arrays(getkey, sides, i, o, shape)
    found = []
    for convolve in (_conv.conv, lax.conv_general_dilated):
        f = by(convolve, dilation, padding)
        value, pull = jax.vjp(jax.jit(f), x, kernel)
        found.append((value, *pull(jnp.cos(value))))
    for a, b in zip(*found, strict=True):
        assert float(jnp.abs(b).max()) > 0.1
        np.testing.assert_allclose(a, b, atol=1e-11)


@pytest.mark.parametrize(
    "case",
    [CASES[0], *(pytest.param(case, marks=pytest.mark.slow) for case in CASES[1:3])],
    ids=str,
)
def test_forward_mode_vmap_and_second_derivatives(case, getkey):
    sides, i, o, shape, dilation, padding = case
    x, kernel = arrays(getkey, sides, i, o, shape)
    dx, dkernel = arrays(getkey, sides, i, o, shape)
    found = []
    for convolve in (_conv.conv, lax.conv_general_dilated):
        f = by(convolve, dilation, padding)

        def slope(x, kernel, f=f):
            return jax.grad(lambda x, k: jnp.sum(jnp.sin(f(x, k))), (0, 1))(x, kernel)

        _, tangent = jax.jvp(f, (x, kernel), (dx, dkernel))
        _, second = jax.jvp(slope, (x, kernel), (dx, dkernel))
        kernels = jnp.stack([kernel, dkernel])
        each = jax.vmap(f, (None, 0))(x, kernels)
        both = jax.vmap(f)(jnp.stack([x, dx]), kernels)
        found.append((tangent, *second, each, both))
    for a, b in zip(*found, strict=True):
        assert float(jnp.abs(b).max()) > 0.1
        np.testing.assert_allclose(a, b, atol=1e-10)


@pytest.mark.parametrize("case", CASES[:2], ids=str)
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_the_dtype_is_kept(case, dtype, getkey):
    sides, i, o, shape, dilation, padding = case
    x, kernel = arrays(getkey, sides, i, o, shape, dtype)
    ours, theirs = (
        by(c, dilation, padding)(x, kernel) for c in (_conv.conv, lax.conv_general_dilated)
    )
    assert ours.dtype == dtype
    tolerance = 0.2 if dtype == jnp.bfloat16 else 1e-4
    np.testing.assert_allclose(ours.astype(jnp.float32), theirs.astype(jnp.float32), atol=tolerance)


@pytest.mark.parametrize("case", CASES[:2], ids=str)
def test_a_batch_split_over_devices(case, getkey):
    sides, i, o, shape, dilation, padding = case
    x, kernel = arrays(getkey, sides, i, o, shape)
    x = jnp.concatenate([x, -x, 2 * x, x + 1])
    split = NamedSharding(Mesh(np.array(jax.devices()), ("data",)), PartitionSpec("data"))
    f = jax.jit(by(_conv.conv, dilation, padding))
    np.testing.assert_allclose(f(jax.device_put(x, split), kernel), f(x, kernel), atol=1e-11)


def test_strides_groups_and_other_layouts_are_left_to_xla(getkey):
    x, kernel = arrays(getkey, (3, 3), 20, 20, (9, 9))
    for strides, options in (
        ((2, 2), {"dimension_numbers": NUMBERS}),
        ((1, 1), {"dimension_numbers": NUMBERS, "lhs_dilation": (2, 1)}),
        ((1, 1), {"dimension_numbers": ("HNWC", "HWIO", "NHWC")}),
    ):
        given = x.transpose(1, 0, 2, 3) if "HNWC" in options["dimension_numbers"] else x
        ours, theirs = (
            c(given, kernel, strides, [(0, 0), (0, 0)], **options)
            for c in (_conv.conv, lax.conv_general_dilated)
        )
        np.testing.assert_array_equal(ours, theirs)
    grouped = kernel[:, :, :10]
    options = {"dimension_numbers": NUMBERS, "feature_group_count": 2}
    ours, theirs = (
        c(x, grouped, (1, 1), "VALID", **options) for c in (_conv.conv, lax.conv_general_dilated)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_the_layer_is_flaxs(getkey):
    x = jax.random.normal(getkey(), (2, 9, 9, 3), jnp.float32)
    ours, theirs = (c(20, (3, 3), padding="VALID") for c in (_conv.Conv, nn.Conv))
    variables = theirs.init(jax.random.key(0), x)
    same = ours.init(jax.random.key(0), x)
    jax.tree.map(np.testing.assert_array_equal, variables, same)
    np.testing.assert_allclose(ours.apply(variables, x), theirs.apply(variables, x), atol=1e-5)


POOLS = [
    ((2, 2), (2, 2), "VALID"),
    ((3, 3), (2, 2), "SAME"),
    ((2, 2), (1, 1), "VALID"),
    ((3, 2), (2, 1), "SAME"),
]


@pytest.mark.parametrize("pool", POOLS, ids=str)
@pytest.mark.parametrize("shape", [(8, 9), (7, 6)], ids=str)
def test_pooling_and_its_gradient_are_flaxs_ties_included(pool, shape, getkey):
    # Rounded: many windows have their greatest several times.
    x = jnp.round(jax.random.normal(getkey(), (3, *shape, 4)))
    found = []
    for way in (_conv.max_pool, nn.max_pool):
        value, pull = jax.vjp(lambda x, way=way: way(x, *pool), x)
        found.append((value, pull(jnp.arange(value.size, dtype=x.dtype).reshape(value.shape))[0]))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    value, tangent = jax.jvp(lambda x: _conv.max_pool(x, *pool), (x,), (x,))
    np.testing.assert_array_equal(value, tangent)


def test_pooling_shows_nan_and_keeps_the_dtype():
    x = jnp.zeros((1, 4, 4, 1), jnp.bfloat16).at[0, 1, 0, 0].set(jnp.nan)
    pooled = jax.jit(_conv.max_pool, static_argnums=(1, 2))(x, (2, 2), (2, 2))
    assert pooled.dtype == jnp.bfloat16
    np.testing.assert_array_equal(jnp.isnan(pooled[0, :, :, 0]), [[True, False], [False, False]])
