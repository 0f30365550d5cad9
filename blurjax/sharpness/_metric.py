"""The local metric: what two small kernels say about each place of an image."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import features
from blurjax._typing import Array, Float, Images
from blurjax.sharpness._config import MODES

# What every map of the system is made of: squares of 4x4 pixels.
STEP = 4
# Means over so many squares of the fine and the coarse detail, of which the ratio is taken.
_NEAR = 5
# Sides of the box filters, each used twice, that coarse detail lies between: Gaussians of standard
# deviation 1.2 and 3.7 px, for a fraction of their cost.
_FINE, _COARSE = 3, 9
# Detail that 8-bit noise may have: less of it says nothing about sharpness.
_LEAST = 0.008
# Fine detail of kernels of norm 1 over coarse detail, where there is none of either.
_UNKNOWN = 0.03


class Components(NamedTuple):
    """The principal components of a layer's kernels."""

    kernels: Float[Array, "k s s"]
    """About zero-mean and of norm 1, so that a response is in image units."""
    explained: Float[Array, " k"]
    """The share of the kernels' variance that each explains."""


def metric_kernels(kernels: Float[Array, "s s n"], *, k: int = 2) -> Components:
    """The kernels of the local metric: principal components of a layer's kernels.

        W = [vec(k_1) ... vec(k_n)] - mean over n,    W = U S V^T,

    the first k columns of U as kernels, signed so that their positive part dominates, then freed
    of their spatial mean (a constant image has no detail) and scaled to norm 1.

    Args:
        kernels: (s, s, n) convolution kernels, such as `params["conv0"]["kernel"][:, :, 0]`.
        k: how many, static.

    Returns:
        `Components`.

    Raises:
        ValueError: k is not between 1 and the smaller of s^2 and n - 1.

    Gradient: exact where the singular values differ; the signs are held.

    Source: Zeng et al., "A local metric for defocus blur detection based on CNN feature learning",
        TIP 2019; the signs, the spatial mean and the norm are our choice.

    Example:
        >>> import jax
        >>> from blurjax import sharpness
        >>> found = sharpness.metric_kernels(jax.random.normal(jax.random.key(0), (7, 7, 32)))
        >>> found.kernels.shape, found.explained.shape
        ((2, 7, 7), (2,))
    """
    side, n = kernels.shape[0], kernels.shape[2]
    if not 1 <= k <= min(side**2, n - 1):
        raise ValueError(f"k is {k}; {n} kernels of {side}x{side} have fewer components, or pass 1")
    flat = kernels.reshape(side**2, n)
    flat = flat - jnp.mean(flat, axis=1, keepdims=True)
    directions, strength, _ = jnp.linalg.svd(flat, full_matrices=False)
    share = strength**2 / jnp.sum(strength**2)
    return Components(unit_kernels(directions[:, :k].T.reshape(k, side, side)), share[:k])


def unit_kernels(kernels: Float[Array, "k s s"]) -> Float[Array, "k s s"]:
    """Kernels without their spatial mean, of norm 1, their positive part dominating."""
    sign = jnp.sign(jnp.sum(kernels**3, axis=(1, 2), keepdims=True))
    kernels = kernels * jnp.where(sign == 0, 1, sign)
    kernels = kernels - jnp.mean(kernels, axis=(1, 2), keepdims=True)
    return kernels / jnp.sqrt(jnp.sum(kernels**2, axis=(1, 2), keepdims=True) + 1e-12)


def fixed_kernels(side: int = 7) -> np.ndarray:
    """The control that has learned nothing: d/dx and d/dy, in the middle of (2, side, side)."""
    kernels = np.zeros((2, side, side), np.float32)
    half = side // 2
    kernels[0, half, half - 1 : half + 2] = kernels[1, half - 1 : half + 2, half] = -1, 0, 1
    return kernels / np.float32(2**0.5)


def local_metric(
    images: Images,
    kernels: Float[Array, "k s s"],
    *,
    mode: str = "cascade",
    contrast: bool = True,
    window: int = 15,
) -> Float[Array, "..."]:
    """What the kernels say about each place, larger where it is sharper.

        cascade:  L1 = |I * K1|,  L = |L1 * K2|  (and on, with further kernels)
        sum:      L = |I * K1| + |I * K2| + ...,

    averaged around each place. With `contrast` it is the logarithm of that detail over the coarse
    detail in the same place (what lies between Gaussians of 1.2 and 3.7 px), so that a faint sharp
    texture counts for more than a strong blurred edge.

    Args:
        images: (..., H, W) in [0, 1].
        kernels: (k, s, s), s odd, of norm 1.
        mode: "cascade" or "sum". Static.
        contrast: whether detail is taken over coarse detail. Static.
        window: side of the square that the plain metric is averaged over, in pixels, odd; with
            `contrast` it is 20. Static.

    Returns:
        With `contrast` (..., ceil(H / 4), ceil(W / 4)), of squares of 4x4 pixels; without,
        (..., H, W).

    Raises:
        ValueError: unknown `mode`.

    Gradient: exact, to images and kernels; |x| has derivative 1 at 0.

    Source: Zeng et al. (the cascade); sum, means and contrast are our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import sharpness
        >>> kernels = jnp.asarray(sharpness.fixed_kernels())
        >>> sharpness.local_metric(jnp.zeros((48, 64)), kernels).shape
        (12, 16)
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}; choose one of {MODES}")
    kernels = kernels.astype(images.dtype)
    if mode == "cascade":
        detail = images
        for i in range(kernels.shape[0]):
            # A wall between the two sums: fused, the first would be computed anew for every tap of
            # the second.
            detail = jax.lax.optimization_barrier(jnp.abs(_correlate(detail, kernels[i])))
    else:
        responses = [jnp.abs(_correlate(images, kernels[i])) for i in range(kernels.shape[0])]
        detail = sum(responses[1:], start=responses[0])
    if not contrast:
        return features.local_mean(detail, size=window)
    detail = jax.lax.optimization_barrier(detail)
    fine, coarse = (squares(x) for x in (detail, coarse_detail(images)))
    fine, coarse = (features.local_mean(x, size=_NEAR) for x in (fine, coarse))
    return jnp.log(fine + _LEAST * _UNKNOWN) - jnp.log(coarse + _LEAST)


def coarse_detail(images: Images) -> Float[Array, "..."]:
    """Size of what lies between Gaussians of 1.2 and 3.7 px, the contrast that blur leaves."""
    return jnp.abs(_smooth(images, _FINE) - _smooth(images, _COARSE))


def squares(x: Float[Array, "... h w"]) -> Float[Array, "..."]:
    """The mean of each square of 4x4 pixels; the last row and column are continued."""
    padding = [(0, 0)] * (x.ndim - 2) + [(0, -side % STEP) for side in x.shape[-2:]]
    wide = jnp.pad(x, padding, mode="edge")
    *lead, height, width = wide.shape
    return jnp.mean(wide.reshape(*lead, height // STEP, STEP, width // STEP, STEP), axis=(-3, -1))


def _correlate(x: Array, kernel: Array) -> Array:
    """A kernel slid over images, their border mirrored."""
    half = kernel.shape[0] // 2
    padding = [(0, 0)] * (x.ndim - 2) + [(half, half)] * 2
    wide = jnp.pad(x, padding, mode="symmetric")
    total = jnp.zeros((), x.dtype)
    # Sums of shifted images become one loop over the pixels; XLA's convolution of a single channel
    # is several times slower.
    for i in range(kernel.shape[0]):
        for j in range(kernel.shape[1]):
            total = total + kernel[i, j] * wide[..., i : i + x.shape[-2], j : j + x.shape[-1]]
    return total


def _smooth(x: Array, side: int) -> Array:
    return features.local_mean(features.local_mean(x, size=side), size=side)
