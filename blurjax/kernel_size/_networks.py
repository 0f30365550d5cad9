"""The network of an image's correlations; those of patches are in `blurjax.nn.resnet`."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from blurjax._typing import Array, Float

_HE = nn.initializers.he_normal()
# Folded into channels: lags down and lags across.
_DOWN, _ACROSS = 4, 2
# Distances between the taps of the residual blocks along the lags.
_DILATIONS = (1, 2, 4, 8, 1, 2)


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
