"""The two networks: the published one of patches, and the detector of whole images."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from blurjax import features
from blurjax._typing import Array, AxisName, Float
from blurjax.nn._conv import max_pool

_HE = nn.initializers.he_normal()
# Channels at an 8th, a 16th and a 32nd of the resolution, over those at a quarter.
_WIDER = (2, 8 / 3, 4)


class PatchNetwork(nn.Module):
    """Patches (n, 32, 32) to logits (n, 2): blurred, sharp.

    conv k x k, twice 5x5, 3x3, in pairs before each pooling, each followed by batch normalisation
    and CReLU (the rectified and the rectified negative side by side); then dense. Batch
    normalisation takes its statistics over `axis_name` too, if the batch is shared out over one.

    Source: Zeng et al. name the parts: multi-convolution and sub-sampling, batch normalisation,
        CReLU, one dense layer, two classes. Their sizes are our choice.
    """

    filters: int = 32
    kernel: int = 7
    axis_name: AxisName = None

    @nn.compact
    def __call__(self, patches: Float[Array, "n p p"], train: bool = False) -> Float[Array, "n 2"]:
        # Flax passes on what JAX takes, a tuple of axes too.
        axis_name: Any = self.axis_name
        x = patches[..., None]
        # Each layer's side and width, and whether it is sub-sampled.
        layers = (
            (self.kernel, self.filters, True),
            (5, self.filters, False),
            (5, self.filters, True),
            (3, 2 * self.filters, True),
        )
        for i, (side, width, pooled) in enumerate(layers):
            x = nn.Conv(width, (side, side), kernel_init=_HE, use_bias=False, name=f"conv{i}")(x)
            norm = nn.BatchNorm(not train, momentum=0.95, axis_name=axis_name, name=f"norm{i}")
            x = norm(x)
            x = jnp.concatenate([nn.relu(x), nn.relu(-x)], axis=-1)
            if pooled:
                x = max_pool(x, (2, 2), (2, 2))
        return nn.Dense(2, name="dense")(x.reshape(x.shape[0], -1))


class Detector(nn.Module):
    """Images (n, H, W), sides multiples of 32, to logits (n, H / 4, W / 4) of being sharp.

    A U: the neighbourhood says whether detail is sharp, its wide surroundings to which thing a flat
    place belongs. At half the resolution gray levels and gray levels over their local contrast
    feed the trunk twice: rectified, and as the logarithm of their energy, in which a change of
    contrast is an offset. No layer normalises over the image, so that its size is free.

    About 5000 multiply-adds a pixel at width 24.

    Source: our choice; Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015, for the form.
    """

    width: int = 24

    @nn.compact
    def __call__(self, images: Float[Array, "n h w"]) -> Float[Array, "n h4 w4"]:
        w = self.width
        x = _halved(images)
        stem = nn.Conv(w // 2, (3, 3), kernel_init=_HE, name="stem")(x)
        n, height, width, channels = stem.shape
        squares = stem.reshape(n, height // 2, 2, width // 2, 2, channels)
        energy = jnp.log(jnp.mean(jnp.square(squares), axis=(2, 4)) + 1e-4) / 3 + 1
        x = nn.Conv(w, (3, 3), 2, kernel_init=_HE, name="down0")(nn.relu(stem))
        x = nn.Conv(w, (1, 1), name="merge")(jnp.concatenate([x, energy], axis=-1))
        levels = [_residual(x, "fine")]
        for i, wider in enumerate(_WIDER):
            x = nn.Conv(round(w * wider), (3, 3), 2, name=f"down{i + 1}")(_normal(levels[-1]))
            levels.append(_residual(_residual(x, f"block{i}a"), f"block{i}b"))
        x = levels[-1]
        # What the whole image has joins at the coarsest level.
        mean = nn.Dense(x.shape[-1], name="context")(jnp.mean(_normal(x), axis=(1, 2)))
        x = x + mean[:, None, None, :]
        for i in (2, 1, 0):
            finer = levels[i]
            x = nn.Conv(finer.shape[-1], (1, 1), name=f"across{i}")(_normal(x))
            x = finer + jax.image.resize(x, finer.shape, "linear")
            if i:
                x = _residual(x, f"up{i}")
        x = x + nn.Conv(w, (3, 3), name="up0")(nn.relu(_normal(x)))
        return nn.Conv(1, (1, 1), name="head")(nn.relu(_normal(x)))[..., 0]


def _halved(images: Array) -> Array:
    """Gray levels about their local mean, and over their local contrast, each 2x2 as 4 channels."""
    mean = features.local_mean(images, size=9)
    apart = images - mean
    contrast = jnp.sqrt(features.local_mean(apart**2, size=9) + (2 / 255) ** 2)
    x = jnp.stack([4 * apart, apart / contrast], axis=-1)
    n, height, width, channels = x.shape
    x = x.reshape(n, height // 2, 2, width // 2, 2, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, height // 2, width // 2, 4 * channels)


def _residual(x: Array, name: str) -> Array:
    y = nn.Conv(x.shape[-1], (3, 3), name=f"{name}0")(nn.relu(_normal(x)))
    y = nn.Conv(x.shape[-1], (3, 3), name=f"{name}1")(nn.relu(y))
    return x + y


def _normal(x: Array) -> Any:
    """Each pixel's channels standardised: no place depends on another."""
    return jax.nn.standardize(x, axis=-1)
