"""The kernel of an image from its best windows (host)."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import deconvolution
from blurjax import images as files
from blurjax._typing import Array
from blurjax.region._config import WINDOW, Config
from blurjax.region._estimate import estimate
from blurjax.region.model import Variables

WINDOWS = 4
"""How many windows `estimate_kernel` looks into: of photographs of 800x800 pixels a third."""


class KernelEstimate(NamedTuple):
    """A kernel that several windows of an image agree on, or why there is none."""

    status: str
    """"ok", or one sentence that says why not."""
    kernel: np.ndarray
    """(k, k) float32, of sum 1: the mean of those that agree. (1, 1) without an answer."""
    agreement: float
    """How alike the windows' kernels are, in [0, 1]: the mean `metrics.kernel_similarity` of the
    one that the others agree with most. 1 of a single window."""
    kernels: np.ndarray
    """(n, k, k): of each window."""
    boxes: np.ndarray
    """(n, 4): the windows, the most promising first, as `estimate` has them."""
    scores: np.ndarray
    """(n,): of the windows, likewise."""


def estimate_kernel(
    image: np.ndarray | jax.Array,
    variables: Variables | None = None,
    config: Config | None = None,
    *,
    size: int,
    windows: int = WINDOWS,
    window: int = WINDOW,
    prior: str = "l0",
) -> KernelEstimate:
    """The kernel that blurred an image, from the windows where it is estimated best (host).

    What one window gives is to a good part chance: windows of 228 pixels that are 20 pixels apart
    have kernels whose errors are hardly related. So the best windows that are half a window apart
    are all looked into, by one search each, and the kernels that agree are averaged.

    Args:
        image: (H, W) gray or (H, W, 3) RGB; floats in [0, 1], or uint8 or uint16.
        variables, config: as from `load`, together; by default the shipped weights.
        size: k, odd, of the kernel, as for `deconvolution.estimate_kernel`; at most half a window.
        windows: how many at most; fewer where no more fit.
        window: their side in pixels.
        prior: see `deconvolution.estimate_kernel`.

    Returns:
        `KernelEstimate`; `status` says why when the image is smaller than a window or flat.

    Raises:
        ValueError: as `estimate` and `deconvolution.estimate_kernel`.

    Source: our choice; Yang, Wu and Sun take the one best window.

    Example:
        >>> from blurjax import data, images, region
        >>> photograph = images.read(data.embedded_path("clock_motion.png"))
        >>> region.estimate_kernel(photograph, size=15, windows=2).kernel.shape
        (15, 15)
    """
    found = estimate(image, variables, config, size=window, top=windows)
    if found.status != "ok":
        nothing = np.zeros((0, 1, 1), np.float32)
        pixel = np.ones((1, 1), np.float32)
        return KernelEstimate(found.status, pixel, 0.0, nothing, found.boxes, found.scores)
    gray = np.asarray(files.as_gray(image), np.float32)
    views = np.stack([gray[r : r + h, c : c + w] for r, c, h, w in found.boxes])
    kernel, agreement, kernels = _searched(jnp.asarray(views), size=size, prior=prior)
    return KernelEstimate(
        "ok",
        np.asarray(kernel),
        float(agreement),
        np.asarray(kernels),
        found.boxes,
        found.scores,
    )


@functools.partial(jax.jit, static_argnames=("size", "prior"))
def _searched(views: Array, *, size: int, prior: str) -> tuple[Array, Array, Array]:
    kernels = deconvolution.estimate_kernel(views, size=size, starts="plain", prior=prior).kernel
    common = deconvolution.consensus(kernels)
    return common.kernel, jnp.max(common.agreement), kernels
