"""How much there is to see in a patch."""

import jax.numpy as jnp

from blurjax._numerics import safe_sqrt
from blurjax._typing import Array, Float, Images


def gradient_magnitude(images: Images) -> Float[Array, "..."]:
    """Length of the central-difference gradient at the interior pixels.

    Args:
        images: (..., H, W), H and W at least 3.

    Returns:
        (..., H - 2, W - 2), in image units per pixel.

    Gradient: exact; 0 where the magnitude is 0.

    Source: elementary.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import features
        >>> features.gradient_magnitude(jnp.arange(5.0) * jnp.ones((5, 1)))[0, 0]
        Array(1., dtype=float32)
    """
    down = (images[..., 2:, 1:-1] - images[..., :-2, 1:-1]) / 2
    right = (images[..., 1:-1, 2:] - images[..., 1:-1, :-2]) / 2
    return safe_sqrt(down**2 + right**2)


def contrast(images: Images) -> Float[Array, "..."]:
    """Standard deviation of each patch.

    Args:
        images: (..., h, w).

    Returns:
        (...,), in image units.

    Gradient: exact; 0 for a constant patch.

    Source: elementary.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import features
        >>> features.contrast(jnp.array([[0.0, 1.0]]))
        Array(0.5, dtype=float32)
    """
    return safe_sqrt(jnp.var(images, axis=(-2, -1)))
