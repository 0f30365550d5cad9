"""A classical estimate, to compare with."""

import jax.numpy as jnp

from blurjax import features
from blurjax._typing import Array, Float, Images, Int

# Size in pixels over the lag of the minimum: slope and offset, fitted to 622 directions of training
# photographs, of which a constant is off by 22.7 px and this by 20.2.
_LINE = (0.46, 13.8)
# Lags across over which the autocorrelation is averaged, in pixels to either side.
_ACROSS = 60


def automap(
    images: Images,
    *,
    inside: Int[Array, "n 2"] | None = None,
    line: tuple[float, float] = _LINE,
) -> Float[Array, "n 2"]:
    """Height and width by where the autocorrelation of the gradients is least.

    The derivative of a blurred edge is positive where the blur begins to cover it and negative
    where it ends, so that its autocorrelation is least about the kernel's size apart. The least
    value of the mean across is taken, and a line for what textures add.

    Args:
        images: (n, H, W), gray in [0, 1], sides at least 112.
        inside: (n, 2), height and width of each image, where it lies in the upper left corner of
            its array.
        line: slope and offset of the size over the lag, in pixels.

    Returns:
        (n, 2), in pixels, between 1 and 97.

    Gradient: none.

    Source: after Liu et al., "Automatic blur-kernel-size estimation for motion deblurring", The
        Visual Computer 2015: its map ("automap"), without its detection of lines and recursive
        filter; the minimum as Yitzhaky & Kopeika, Graphical Models and Image Processing 1997, use
        it. The line is fitted to training photographs. Of the ways to read these maps that were
        tried it is the best.

    Example:
        >>> import jax
        >>> from blurjax import kernel_size
        >>> image = jax.random.uniform(jax.random.key(0), (1, 128, 128))
        >>> kernel_size.automap(image).shape
        (1, 2)
    """
    maps = features.correlation_maps(images, inside=inside)[..., 0, :, :]
    found = []
    for half in (features.transposed_maps(maps), maps):
        lags = half.shape[-1]
        profile = jnp.mean(half[..., lags - _ACROSS : lags + _ACROSS, :], axis=-2)
        # Beside the peak at 0 the gradient's own filter has a minimum.
        lag = jnp.argmin(profile[..., 2:], axis=-1) + 2
        found.append(line[0] * lag.astype(images.dtype) + line[1])
    return jnp.clip(jnp.stack(found, axis=-1), 1, 97)
