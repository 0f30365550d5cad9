"""Windows and how good the kernels are that they give; batches of them, on the device."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from blurjax import deconvolution, metrics
from blurjax._typing import Array, Float, Int, PRNGKey
from blurjax.region._config import WINDOW, Config


class Labelled(NamedTuple):
    """Blurred photographs, and windows of them whose worth is known."""

    images: np.ndarray | Array
    """uint8 (m, H, W): round(255 * gray), each in the upper left corner; 0 beyond it."""
    image: Int[np.ndarray | Array, " n"]
    """Which of the photographs each window is of; windows of one stand together."""
    corner: Int[np.ndarray | Array, "n 2"]
    """Row and column of the window's upper left pixel."""
    similarity: Float[np.ndarray | Array, " n"]
    """`metrics.kernel_similarity` of the kernel estimated there to the true one, in [0, 1]."""
    size: Int[np.ndarray | Array, " n"]
    """Of that kernel's array, in pixels."""


class Batch(NamedTuple):
    """Windows and how good they are."""

    windows: Float[Array, "n h w"]
    """In [0, 1]."""
    similarity: Float[Array, " n"]
    """See `Labelled`."""
    image: Int[Array, " n"]
    """Which of the photographs each is of."""


class Label(NamedTuple):
    """What blind deconvolution finds in windows."""

    similarity: Float[Array, " n"]
    """To the true kernel, in [0, 1]."""
    kernels: Float[Array, "n k k"]


@functools.partial(jax.jit, static_argnames=("size", "prior"))
def label(
    windows: Float[Array, "n h w"],
    truth: Float[Array, "..."],
    *,
    size: int,
    prior: str = "l0",
) -> Label:
    """How good the kernels are that are estimated from windows.

    Args:
        windows: (n, h, w), blurred, in [0, 1].
        truth: (k, k) or (n, k, k): the kernels that blurred them.
        size: of the kernels to estimate, in pixels. Static.
        prior: see `deconvolution.estimate_kernel`. Static.

    Returns:
        `Label`.

    Raises:
        ValueError: as `deconvolution.estimate_kernel`.

    Gradient: as that function's.

    Source: Yang, Wu and Sun, "Select good regions for deblurring based on convolutional neural
        networks" (3.4), with another estimator: one search of ours.

    Example:
        >>> import jax
        >>> from blurjax import data, imaging, psf, region
        >>> kernel = psf.motion(7.0, 0.5, size=9)
        >>> sharp = data.dead_leaves(jax.random.key(0), size=96)
        >>> bool(region.label(imaging.blur(sharp, kernel)[None], kernel, size=9).similarity > 0.8)
        True
    """
    found: Any = deconvolution.estimate_kernel(windows, size=size, starts="plain", prior=prior)
    return Label(metrics.kernel_similarity(found.kernel, truth), found.kernel)


@functools.partial(jax.jit, static_argnames=("config", "n", "together"))
def sample(
    key: PRNGKey, labelled: Labelled, config: Config, *, n: int = 32, together: int = 4
) -> Batch:
    """Windows for training: some of each of some photographs, turned, mirrored, a quarter negative.

    What is done to a window changes nothing in how well a kernel is estimated there, apart from
    rounding and chance.

    Args:
        key: random key.
        labelled: the windows, see `python -m train region_labels`.
        config: of the scorer; every one takes the same.
        n: batch size, a multiple of `together`. Static.
        together: windows of one photograph, all different if it has so many. Static.

    Returns:
        `Batch` of float32 windows (n, 228, 228).

    Raises:
        ValueError: photographs smaller than a window; an `n` that is no multiple of `together`.

    Gradient: none is wanted.

    Source: Yang et al. 3.4; the drawing is our choice.
    """
    del config
    images = jnp.asarray(labelled.images)
    if min(images.shape[1:]) < WINDOW:
        raise ValueError(
            f"photographs are {images.shape[1]}x{images.shape[2]}; a window has {WINDOW}x{WINDOW}"
        )
    if n % together:
        raise ValueError(f"n is {n}; pass a multiple of together, which is {together}")
    owner = jnp.asarray(labelled.image)
    k_image, k_window, k_turn = jax.random.split(key, 3)
    # By their windows, so that a photograph without any is never drawn.
    some = owner[jax.random.randint(k_image, (n // together,), 0, len(owner))]
    first = jnp.searchsorted(owner, some, side="left")
    count = jnp.searchsorted(owner, some, side="right") - first
    start = jax.random.randint(k_window, count.shape, 0, jnp.maximum(count, 1), count.dtype)
    # As far apart as they can be.
    step = jnp.arange(together, dtype=count.dtype)[None, :] * count[:, None] // together
    place = (first[:, None] + (start[:, None] + step) % count[:, None]).ravel()
    corner = jnp.asarray(labelled.corner)[place]
    image = owner[place]

    def cut(i: Array, at: Array) -> Array:
        return jax.lax.dynamic_slice(images, (i, at[0], at[1]), (1, WINDOW, WINDOW))[0]

    windows = jax.vmap(cut)(image, corner).astype(jnp.float32) / np.float32(255)
    down, across, over, negative = jax.random.uniform(k_turn, (4, n, 1, 1), jnp.float32)
    windows = jnp.where(down < 0.5, windows[:, ::-1], windows)
    windows = jnp.where(across < 0.5, windows[:, :, ::-1], windows)
    windows = jnp.where(over < 0.5, windows.swapaxes(1, 2), windows)
    windows = jnp.where(negative < 0.25, 1 - windows, windows)
    return Batch(windows, jnp.asarray(labelled.similarity)[place], image)
