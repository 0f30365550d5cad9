"""The yardstick: a small convolutional network on the padded half-plane spectrum."""

import flax.linen as nn
import jax.numpy as jnp

from blurjax._typing import Array, Float


class Conv(nn.Module):
    """Two strided and one plain convolution on the log spectrum, then a dense layer.

    Returns the logits and the dense layer.

    Source: our choice; it exists to show what the published dense network leaves on the table.
    """

    dense: int
    widths: tuple[int, ...] = (16, 32, 32)

    @nn.compact
    def __call__(
        self, spectrum: Float[Array, "n h w"]
    ) -> tuple[Float[Array, "n 3"], Float[Array, "n d"]]:
        x = spectrum[..., None]
        for i, width in enumerate(self.widths):
            side, stride = (5, 2) if i == 0 else (3, 2 if i == 1 else 1)
            x = nn.relu(nn.Conv(width, (side, side), stride, padding="SAME", name=f"conv{i}")(x))
        x = nn.relu(nn.Dense(self.dense, name="dense")(x.reshape(x.shape[0], -1)))
        return jnp.asarray(nn.Dense(3, name="head")(x)), x
