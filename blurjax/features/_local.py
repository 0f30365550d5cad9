"""What a place looks like together with its surroundings."""

import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax._numerics import working_dtype
from blurjax._typing import Array, ArrayLike, Float


def local_mean(images: Float[ArrayLike, "*batch h w"], *, size: int) -> Float[Array, "*batch h w"]:
    """The mean of the square around each pixel: a box filter.

    Beyond the border the nearest pixel is repeated.

    Args:
        images: (..., H, W), any range and unit.
        size: side of the square in pixels, odd; it may exceed the image. Static.

    Returns:
        (..., H, W), in the dtype of `images`. A value that is not finite spoils the squares that
        hold it and no others.

    Raises:
        ValueError: `size` is even or less than 1.

    Gradient: exact (the map is linear).

    Source: elementary; `scipy.ndimage.uniform_filter(mode="nearest")`.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import features
        >>> print(features.local_mean(jnp.array([[0.0, 3.0, 6.0, 0.0]]), size=3))
        [[1. 3. 3. 2.]]
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size is {size}; a square with a pixel in its middle has an odd side")
    half = size // 2
    array = jnp.asarray(images)
    values = array.astype(working_dtype(array.dtype))
    # Rows, then columns. Summed afresh for each pixel: differences of running sums would be no
    # faster for squares in use, and lose digits in float32.
    for axis in (values.ndim - 2, values.ndim - 1):
        padding = [(half, half) if i == axis else (0, 0) for i in range(values.ndim)]
        window = [size if i == axis else 1 for i in range(values.ndim)]
        total = lax.reduce_window(
            jnp.pad(values, padding, mode="edge"),
            np.zeros((), values.dtype),
            lax.add,
            window,
            (1,) * values.ndim,
            "VALID",
        )
        values = total / size
    return values.astype(array.dtype)
