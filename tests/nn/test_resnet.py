"""Residual networks: the published shapes, pooled or strided."""

import hashlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax.nn.resnet import ResNet


def shapes(side=64, **options):
    network = ResNet(1, **options)
    patches = jax.ShapeDtypeStruct((2, side, side), jnp.float32)
    return jax.eval_shape(network.init, jax.random.key(0), patches)


def paths(tree):
    return [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


# Of torchvision, with three colours and a thousand classes.
TORCHVISION = {18: (11_689_512, 512), 34: (21_797_672, 512), 101: (44_549_160, 2048)}


@pytest.mark.parametrize("strided", [False, True], ids=["pooled", "strided"])
@pytest.mark.parametrize("depth", TORCHVISION)
def test_published_widths_have_torchvisions_number_of_parameters(depth, strided):
    count = sum(x.size for x in jax.tree.leaves(shapes(depth=depth, strided=strided)["params"]))
    whole, last = TORCHVISION[depth]
    one_channel, head = whole - 2 * 64 * 49, (last + 1) - 1000 * (last + 1)
    # The convolution instead of the pooling, with a scale and a bias for each channel.
    assert count == one_channel + head + strided * (64 * 64 * 9 + 2 * 64)
    if (depth, strided) == (34, True):
        assert count == 21_315_905


@pytest.mark.parametrize("strided", [False, True], ids=["pooled", "strided"])
@pytest.mark.parametrize(("height", "width"), [(64, 64), (114, 114), (228, 228), (65, 100)])
def test_pooled_and_strided_networks_see_equally_large_maps(height, width, strided):
    network = ResNet(3, 10, 4, strided=strided)
    patches = jax.ShapeDtypeStruct((2, height, width), jnp.float32)
    variables = jax.eval_shape(network.init, jax.random.key(0), patches)
    answer, seen = jax.eval_shape(
        lambda v, x: network.apply(v, x, capture_intermediates=True), variables, patches
    )
    assert answer.shape == (2, 3)
    # Halved by stem, pooling and all stages but the first; borders are padded.
    sizes = [(height, width)]
    for _ in range(5):
        sizes.append(tuple(-(-n // 2) for n in sizes[-1]))
    maps = {
        name: output["__call__"][0].shape for name, output in seen["intermediates"].items()
        if isinstance(output, dict)
    }  # fmt: skip
    assert maps["stem"] == (2, *sizes[1], 4)
    assert ("pool" in maps) == strided and (not strided or maps["pool"] == (2, *sizes[2], 4))
    for stage in range(4):
        assert maps[f"stage{stage}_block0_conv1"] == (2, *sizes[2 + stage], 4 * 2**stage)


def test_instead_of_the_pooling_there_are_a_convolution_and_its_norm():
    pooled, strided = (set(paths(shapes(depth=10, width=4, strided=s))) for s in (False, True))
    assert pooled < strided
    assert sorted(strided - pooled) == [
        "['batch_stats']['pool_norm']['mean']",
        "['batch_stats']['pool_norm']['var']",
        "['params']['pool']['kernel']",
        "['params']['pool_norm']['bias']",
        "['params']['pool_norm']['scale']",
    ]


def test_parameter_paths_are_frozen():
    """Checkpoints and weights in the world hold these names."""
    found = {}
    for depth, strided in ((10, True), (18, False), (34, True)):
        names = "\n".join(paths(shapes(depth=depth, width=4, strided=strided)))
        found[depth, strided] = hashlib.sha256(names.encode()).hexdigest()[:12]
    assert found == {
        (10, True): "272defaf7645",
        (18, False): "01905b6a47fb",
        (34, True): "81901e463945",
    }


def test_residual_blocks_begin_as_the_identity():
    made = jax.jit(ResNet(1, 10, 4, strided=True).init)(
        jax.random.key(0), jnp.zeros((1, 64, 64), jnp.float32)
    )["params"]
    for stage in range(4):
        np.testing.assert_array_equal(made[f"stage{stage}_block0_norm1"]["scale"], 0)
        np.testing.assert_array_equal(made[f"stage{stage}_block0_norm0"]["scale"], 1)
