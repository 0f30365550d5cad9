"""What this room accepts as an image, and the precision it computes in."""

import jax.numpy as jnp

from blurjax._typing import Array, ArrayLike


def as_image(image: ArrayLike, *, min_ndim: int = 0) -> Array:
    """`image` as a floating-point array of at least `min_ndim` axes, its dtype unchanged.

    Raises:
        TypeError: `image` is not floating point.
        ValueError: `image` has too few axes.
    """
    array = jnp.asarray(image)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            f"the image has dtype {array.dtype}, but images are floating point, nominally in "
            "[0, 1]; convert it first, for 8 bits by image.astype(jnp.float32) / 255"
        )
    if array.ndim < min_ndim:
        raise ValueError(
            f"the image has shape {array.shape}, but needs at least {min_ndim} axes, "
            "(..., H, W); add the missing axes"
        )
    return array


def working_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype to compute in: float32 for the half precisions, which no FFT takes."""
    return jnp.dtype(jnp.float32) if jnp.dtype(dtype).itemsize < 4 else jnp.dtype(dtype)
