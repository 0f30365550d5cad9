"""The networks: residual ones of patches, and a small one of an image's correlations."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from blurjax._typing import Array, Float

_HE = nn.initializers.he_normal()
# Layers of each depth: blocks in the four stages, and whether these have a bottleneck.
_STAGES = {10: ((1, 1, 1, 1), False), 18: ((2, 2, 2, 2), False), 101: ((3, 4, 23, 3), True)}
# Folded into channels: lags down and lags across.
_DOWN, _ACROSS = 4, 2
# Distances between the taps of the residual blocks along the lags.
_DILATIONS = (1, 2, 4, 8, 1, 2)


class ResNet(nn.Module):
    """Patches (n, p, p) to `outputs` numbers each.

    conv 7x7 / 2, max pooling 3x3 / 2, four stages of residual blocks at p / 4 .. p / 32, mean over
    the patch, dense. Batch normalisation after every convolution.

    Source: He et al., "Deep residual learning for image recognition", CVPR 2016 (table 1), with a
        stem of one channel, as Ye et al. use it.
    """

    outputs: int
    depth: int = 18
    width: int = 64

    @nn.compact
    def __call__(self, patches: Float[Array, "n p p"], train: bool = False) -> Float[Array, "n c"]:
        blocks, bottleneck = _STAGES[self.depth]
        x = nn.Conv(self.width, (7, 7), 2, use_bias=False, kernel_init=_HE, name="stem")(
            patches[..., None]
        )
        x = nn.relu(_norm(x, train, "stem_norm"))
        x = nn.max_pool(x, (3, 3), (2, 2), "SAME")
        for stage, count in enumerate(blocks):
            for i in range(count):
                width = self.width * 2**stage
                stride = 2 if stage and not i else 1
                x = _block(x, width, stride, bottleneck, train, f"stage{stage}_block{i}")
        return nn.Dense(self.outputs, name="head")(jnp.mean(x, axis=(1, 2)))


def _block(x: Array, width: int, stride: int, bottleneck: bool, train: bool, name: str) -> Array:
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
        y = _norm(y, train, f"{name}_norm{i}", zero=last)
        y = y if last else nn.relu(y)
    if x.shape != y.shape:
        x = nn.Conv(
            y.shape[-1], (1, 1), stride, use_bias=False, kernel_init=_HE, name=f"{name}_skip"
        )(x)
        x = _norm(x, train, f"{name}_skip_norm")
    return nn.relu(x + y)


def _norm(x: Array, train: bool, name: str, *, zero: bool = False) -> Any:
    """Batch normalisation. Under `jit` the mean over a batch that is split over devices is that of
    the whole batch: nothing else is needed for data parallelism."""
    start = nn.initializers.zeros_init() if zero else nn.initializers.ones_init()
    return nn.BatchNorm(not train, momentum=0.95, scale_init=start, name=name)(x)


class Lags(nn.Module):
    """Correlation maps (n, maps, 2 L, L) to logits (n, L / 2 - 7) of the sizes 1, 3, 5, ..

    Rectified convolutions over the plane of lags, each halving the lags down; then, over the lags
    across alone, residual blocks of wider and wider reach. Each place along them is one size, so
    that what tells the end of a kernel is the same at every size.

    Source: our choice.
    """

    channels: int = 64
    outputs: int = 49

    @nn.compact
    def __call__(self, maps: Float[Array, "n m h w"]) -> Float[Array, "n c"]:
        n, count, height, width = maps.shape
        x = jnp.arcsinh(maps * 2) / 2
        x = x.reshape(n, count, height // _DOWN, _DOWN, width // _ACROSS, _ACROSS)
        x = x.transpose(0, 2, 4, 1, 3, 5)
        x = x.reshape(n, height // _DOWN, width // _ACROSS, count * _DOWN * _ACROSS)
        w = self.channels
        for i, channels in enumerate((3 * w // 8, w // 2, 3 * w // 4)):
            stride = (2 if i else 1, 1)
            x = nn.Conv(channels, (3, 3), stride, kernel_init=_HE, name=f"plane{i}")(x)
            x = nn.relu(x)
        x = jnp.concatenate([jnp.max(x, axis=1), jnp.mean(x, axis=1)], axis=-1)
        x = nn.Conv(w, (5,), name="gather")(x)
        for i, dilation in enumerate(_DILATIONS):
            y = jax.nn.standardize(x, axis=-1)
            y = nn.relu(nn.Conv(w, (5,), kernel_dilation=dilation, name=f"block{i}a")(y))
            # What the whole image says, to every place.
            mean = nn.Dense(w, name=f"block{i}c")(jnp.mean(y, axis=1))
            x = x + nn.Conv(w, (5,), name=f"block{i}b")(y) + mean[:, None, :]
        x = nn.relu(jax.nn.standardize(x, axis=-1))
        return nn.Conv(1, (1,), name="head")(x)[:, : self.outputs, 0]
