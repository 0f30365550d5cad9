"""What is accepted as an image."""

import jax.numpy as jnp

from blurjax._typing import Array, ArrayLike


def as_image(image: ArrayLike, *, min_ndim: int = 0, name: str = "the image") -> Array:
    """`image` as a floating-point array of at least `min_ndim` axes, its dtype unchanged.

    `name` is what errors call it.

    Raises:
        TypeError: `image` is not floating point.
        ValueError: `image` has too few axes.
    """
    array = jnp.asarray(image)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"{name} has dtype {array.dtype}, but images are floating point, nominally in "
            "[0, 1]; convert it first, for 8 bits by image.astype(jnp.float32) / 255"
        )
    if array.ndim < min_ndim:
        raise ValueError(
            f"{name} has shape {array.shape}, but needs at least {min_ndim} axes, "
            "(..., H, W); add the missing axes"
        )
    return array
