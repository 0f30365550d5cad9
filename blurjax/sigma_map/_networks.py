"""The two networks: the published one, for a patch or slid over images, and the regressor."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from blurjax._typing import Array, Float
from blurjax.nn._conv import Conv, max_pool

# Channels of the 3x3 convolutions and, with patches of 32 only, of the 5x5 ones; then the dense
# layers [Patro].
_SMALL, _LARGE, _DENSE = (4, 8, 16, 32, 64, 64), (64, 64), (1600, 800, 100)
# Twelve rectified layers in a row would fade with less.
_HE = nn.initializers.he_normal()
# What every patch has shrunk to before the dense layers.
_LAST = 4


class Classifier(nn.Module):
    """The published network; every layer is a VALID convolution, so it can be slid over images.

    With `stride` 0 it takes patches (n, p, p) to logits (n, classes). With another stride it takes
    images (n, H, W) to (n, h, w, classes): the same numbers for every `stride`-th window, where
    the pooling with stride 2 becomes one with stride 1 and what follows is dilated by 2.

    For patches of 32: 3x3 convolutions 1-4-8-16-32-64-64, 5x5 64-64, max-pooling 2, 5x5 64-64,
    dense 1024-1600-800-100. For smaller ones, our choice: no 5x5 and no pooling, and of the six
    3x3 as many as bring the patch to 4x4 (the first ones); the others are 1x1.

    Large images go through it in two parts: "features" are all convolutions, "head" what reads
    the 4x4 windows of their map.
    """

    classes: int
    patch: int
    stride: int = 0

    @nn.compact
    def __call__(self, given: Float[Array, "..."], part: str = "whole") -> Float[Array, "..."]:
        if part == "features":
            return self._features(given)
        if part == "head":
            return self._head(given)
        return self._head(self._features(given))

    @property
    def _dilation(self) -> int:
        # Windows at even places only never see the pooling's other phases.
        return 2 if self.patch == 32 and self.stride % 2 else 1

    def _features(self, images: Array) -> Array:
        x = images[..., None]
        wide = 6 if self.patch == 32 else (self.patch - _LAST) // 2
        for i, width in enumerate(_SMALL):
            x = nn.relu(_valid(x, width, 3 if i < wide else 1, f"conv{i}"))
        if self.patch == 32:
            x = nn.relu(_valid(x, _LARGE[0], 5, "conv6"))
            step = 3 - self._dilation
            x = max_pool(x, (2, 2), (step, step))
            x = nn.relu(_valid(x, _LARGE[1], 5, "conv7", self._dilation))
        return x

    def _head(self, x: Array) -> Array:
        if not self.stride:
            x = x.reshape(x.shape[0], -1)
        else:
            x = _windows(x, self._dilation, self.stride // self.shrinking)
        for i, width in enumerate(_DENSE):
            x = nn.relu(nn.Dense(width, kernel_init=_HE, name=f"dense{i}")(x))
        return nn.Dense(self.classes, name=f"dense{len(_DENSE)}")(x)

    @property
    def shrinking(self) -> int:
        """Pixels between neighbours of the features' map."""
        return 2 if self.patch == 32 and self._dilation == 1 else 1

    @property
    def reach(self) -> int:
        """How many neighbours a window's features go on beyond its first."""
        return (_LAST - 1) * self._dilation


def _valid(x: Array, width: int, side: int, name: str, dilation: int = 1) -> Array:
    return jnp.asarray(
        Conv(
            width,
            (side, side),
            kernel_dilation=dilation,
            padding="VALID",
            kernel_init=_HE,
            name=name,
        )(x)
    )


def _windows(x: Array, dilation: int, step: int) -> Array:
    """Each 4x4 window of a map, its taps `dilation` apart, in the order of the dense layer."""
    reach = (_LAST - 1) * dilation
    rows, columns = x.shape[1] - reach, x.shape[2] - reach
    taps = [
        x[
            :,
            i * dilation : i * dilation + rows : step,
            j * dilation : j * dilation + columns : step,
        ]
        for i in range(_LAST)
        for j in range(_LAST)
    ]
    return jnp.concatenate(taps, axis=-1)


class Regressor(nn.Module):
    """Images (n, H, W), sides multiples of 8, to (n, H / 4, W / 4, 2): sigma and log variance.

    About 24 000 multiply-adds a pixel at width 64. Band-pass filters at half the resolution feed
    the trunk twice: rectified, and as the logarithm of their local energy, in which a change of
    contrast is a mere offset. A deeper part at an eighth of the resolution looks further; there a
    few statistics of the whole image join, from which the network can learn what the image has
    that is sharpest.

    Large images go through it in three parts, of which only the second needs all of the image:
    "local" takes (images, mean gray) to the features at a quarter and at an eighth; "summary" the
    latter to what joins them, (n, 3 width / 2); "rest" all three to the answer.

    Source: our choice.
    """

    width: int = 64
    context: bool = True
    stem: int = 24

    @nn.compact
    def __call__(self, given: Any, part: str = "whole") -> Any:
        if part == "local":
            return self._local(*given)
        if part == "summary":
            return self._summary(given)
        if part == "rest":
            return self._rest(*given)
        x, y = self._local(given, jnp.mean(given, axis=(1, 2)))
        return self._rest(x, y, self._summary(y))

    def _local(self, images: Array, mean: Array) -> tuple[Array, Array]:
        bands = nn.Conv(self.stem, (5, 5), 2, padding="SAME", name="stem")(_bands(images, mean))
        n, height, width, _ = bands.shape
        squares = bands.reshape(n, height // 2, 2, width // 2, 2, self.stem)
        energy = jnp.mean(jnp.square(squares), axis=(2, 4))
        energy = (jnp.log(energy + _ENERGY_FLOOR) - _ENERGY_MEAN) / 3
        x = nn.Conv(2 * self.stem, (3, 3), 2, padding="SAME", name="down0")(nn.relu(bands))
        x = jnp.concatenate([nn.relu(x), energy], axis=-1)
        x = nn.Conv(self.width, (1, 1), name="merge")(x)
        x = _residual(x, "block0")
        x = _residual(x, "block1")
        deep = self.width * 3 // 2
        y = nn.Conv(deep, (3, 3), 2, padding="SAME", name="down1")(_standardised(x))
        return x, _residual(y, "block2")

    def _summary(self, y: Array) -> Array:
        if not self.context:
            return jnp.zeros((y.shape[0], y.shape[-1]), y.dtype)
        return nn.Dense(y.shape[-1], name="from_context")(_context(y))

    def _rest(self, x: Array, y: Array, summary: Array) -> Array:
        y = _residual(y + summary[:, None, None, :], "block3")
        y = _residual(y, "block4")
        y = nn.Conv(self.width, (1, 1), name="across")(y)
        x = x + jax.image.resize(y, x.shape, "linear")
        x = nn.relu(_standardised(_residual(x, "block5")))
        return nn.Conv(2, (1, 1), name="head")(x)


# Less than the energy that 8-bit rounding has in the finest band: flat places keep a logarithm.
_ENERGY_FLOOR, _ENERGY_MEAN = 1e-4, -4.0


def _bands(images: Array, mean: Array) -> Array:
    """Three band-pass channels of gray in [0, 1], scaled to be of the order of 1."""
    x = images[..., None]
    fine = x - _mean(x, 3)
    middle = _mean(x, 3) - _mean(x, 9)
    coarse = _mean(x, 9) - mean[:, None, None, None]
    return jnp.concatenate([20 * fine, 12 * middle, 4 * coarse], axis=-1)


def _mean(x: Array, side: int) -> Array:
    """The mean of a square around each pixel, the border repeated."""
    half = side // 2
    for axis in (1, 2):
        padding = [(half, half) if i == axis else (0, 0) for i in range(x.ndim)]
        wide = jnp.pad(x, padding, mode="edge")
        total = lax.slice_in_dim(wide, 0, x.shape[axis], axis=axis)
        for i in range(1, side):
            total = total + lax.slice_in_dim(wide, i, i + x.shape[axis], axis=axis)
        x = total / side
    return x


def _residual(x: Array, name: str) -> Array:
    width = x.shape[-1]
    y = nn.Conv(width, (3, 3), padding="SAME", name=f"{name}a")(nn.relu(_standardised(x)))
    y = nn.Conv(width, (3, 3), padding="SAME", name=f"{name}b")(nn.relu(y))
    return x + y


def _standardised(x: Array) -> Array:
    return jax.nn.standardize(x, axis=-1)


def _context(y: Array) -> Array:
    """What the whole image has: means, spreads, and means over the places that four learned scores
    point to, (n, d)."""
    flat = _standardised(y).reshape(y.shape[0], -1, y.shape[-1])
    mean = jnp.mean(flat, axis=1)
    spread = jnp.sqrt(jnp.mean(jnp.square(flat - mean[:, None]), axis=1) + 1e-4)
    scores = jax.nn.softmax(nn.Dense(4, name="scores")(flat), axis=1)
    picked = jnp.einsum("npk,npc->nkc", scores, flat).reshape(y.shape[0], -1)
    together = jnp.concatenate([mean, spread, picked], axis=-1)
    return nn.relu(nn.Dense(128, name="context")(together))
