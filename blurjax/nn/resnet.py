"""Residual networks of patches. Not imported with the room: it needs Flax."""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from blurjax._typing import Array, AxisName, Float
from blurjax.nn._conv import max_pool

_HE = nn.initializers.he_normal()
# Layers of each depth: blocks in the four stages, and whether these have a bottleneck.
_STAGES = {
    10: ((1, 1, 1, 1), False),
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    101: ((3, 4, 23, 3), True),
}
DEPTHS = tuple(_STAGES)


class ResNet(nn.Module):
    """Patches (n, p, q) to `outputs` numbers each.

    conv 7x7 / 2, max pooling 3x3 / 2, four stages of residual blocks at p / 4 .. p / 32, mean over
    the patch, dense. Batch normalisation after every convolution.

    Attributes:
        outputs: how many numbers.
        depth: one of `DEPTHS`, in layers.
        width: channels of the first stage.
        strided: a convolution 3x3 / 2 instead of the max pooling, normalised and rectified: what
            is seen then depends more on where it is.
        axis_name: a mapped axis over which the batch is shared out: the statistics of batch
            normalisation are then those of the whole batch.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016 (table 1), with a
        stem of one channel.
    """

    outputs: int
    depth: int = 18
    width: int = 64
    strided: bool = False
    axis_name: AxisName = None

    @nn.compact
    def __call__(self, patches: Float[Array, "n p q"], train: bool = False) -> Float[Array, "n c"]:
        blocks, bottleneck = _STAGES[self.depth]
        x = nn.Conv(self.width, (7, 7), 2, use_bias=False, kernel_init=_HE, name="stem")(
            patches[..., None]
        )
        x = nn.relu(_norm(x, train, "stem_norm", self.axis_name))
        if self.strided:
            x = nn.Conv(self.width, (3, 3), 2, use_bias=False, kernel_init=_HE, name="pool")(x)
            x = nn.relu(_norm(x, train, "pool_norm", self.axis_name))
        else:
            x = max_pool(x, (3, 3), (2, 2), "SAME")
        for stage, count in enumerate(blocks):
            for i in range(count):
                width = self.width * 2**stage
                stride = 2 if stage and not i else 1
                name = f"stage{stage}_block{i}"
                x = _block(x, width, stride, bottleneck, train, name, self.axis_name)
        return nn.Dense(self.outputs, name="head")(jnp.mean(x, axis=(1, 2)))


def _block(
    x: Array,
    width: int,
    stride: int,
    bottleneck: bool,
    train: bool,
    name: str,
    axis_name: AxisName,
) -> Array:
    """A residual block; its last normalisation begins at 0, so that it begins as the identity."""
    layers: tuple[tuple[int, int, int], ...]
    if bottleneck:
        layers = ((1, width, 1), (3, width, stride), (1, 4 * width, 1))
    else:
        layers = ((3, width, stride), (3, width, 1))
    y = x
    for i, (side, channels, step) in enumerate(layers):
        y = nn.Conv(
            channels, (side, side), step, use_bias=False, kernel_init=_HE, name=f"{name}_conv{i}"
        )(y)
        last = i == len(layers) - 1
        y = _norm(y, train, f"{name}_norm{i}", axis_name, zero=last)
        y = y if last else nn.relu(y)
    if x.shape != y.shape:
        x = nn.Conv(
            y.shape[-1], (1, 1), stride, use_bias=False, kernel_init=_HE, name=f"{name}_skip"
        )(x)
        x = _norm(x, train, f"{name}_skip_norm", axis_name)
    return nn.relu(x + y)


def _norm(x: Array, train: bool, name: str, axis_name: Any, *, zero: bool = False) -> Any:
    start = nn.initializers.zeros_init() if zero else nn.initializers.ones_init()
    norm = nn.BatchNorm(not train, momentum=0.95, scale_init=start, axis_name=axis_name, name=name)
    return norm(x)
