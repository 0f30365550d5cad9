"""A classical estimate, to compare with."""

import jax.numpy as jnp

from blurjax import features
from blurjax._typing import Array, Float, Images, Int

# Size in pixels, from the lag at which the profile falls below the threshold: slope and offset.
_LINE = (1.0, 1.0)
_THRESHOLD = 0.05


def automap(
    images: Images,
    *,
    inside: Int[Array, "n 2"] | None = None,
    threshold: float = _THRESHOLD,
    line: tuple[float, float] = _LINE,
) -> Float[Array, "n 2"]:
    """Height and width by the extent of the autocorrelation of the gradients.

    A kernel of s pixels reaches s - 1 lags in its autocorrelation, and so in that of the blurred
    image's gradients. The largest lag at which the greatest value across is still above a share of
    that at lag 0 is taken for the reach, and a line for what textures add.

    Args:
        images: (n, H, W), gray in [0, 1], sides at least 112.
        inside: (n, 2), height and width of each image, where it lies in the upper left corner of
            its array.
        threshold: the share, in (0, 1).
        line: slope and offset of the size over the lag, in pixels.

    Returns:
        (n, 2), in pixels, between 1 and 97.

    Gradient: none.

    Source: after Liu et al., "Automatic blur-kernel-size estimation for motion deblurring", The
        Visual Computer 2015: its map, without its detection of lines and recursive filter. The line
        and the threshold are fitted to training photographs (our choice).

    Example:
        >>> import jax
        >>> from blurjax import kernel_size
        >>> image = jax.random.uniform(jax.random.key(0), (1, 128, 128))
        >>> kernel_size.automap(image).tolist()
        [[1.0, 1.0]]
    """
    maps = features.correlation_maps(images, inside=inside)[..., 0, :, :]
    found = []
    for half in (features.transposed_maps(maps), maps):
        middle = half[..., half.shape[-1], 0][..., None]
        profile = jnp.max(half, axis=-2) / jnp.maximum(middle, 1e-12)
        lags = jnp.arange(profile.shape[-1])
        reach = jnp.max(jnp.where(profile > threshold, lags, 0), axis=-1)
        found.append(line[0] * reach.astype(images.dtype) + line[1])
    return jnp.clip(jnp.stack(found, axis=-1), 1, 97)
