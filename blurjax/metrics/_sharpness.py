"""How sharp an image is, in one number and without a reference.

The numbers depend on what is in the picture and on its noise at least as much as on its blur.
They order images of one scene taken with one camera, as in focusing; they say nothing about two
different scenes.
"""

import jax.numpy as jnp

from blurjax._numerics import working_dtype
from blurjax._typing import Array, ArrayLike, Float

_SECOND_DIFFERENCE = (1.0, -2.0, 1.0)
_DIFFERENCE = (-1.0, 0.0, 1.0)
_SMOOTHING = (1.0, 2.0, 1.0)


def variance_of_laplacian(image: Float[ArrayLike, "*batch h w"]) -> Float[Array, "*batch"]:
    """Variance over the pixels of the four-neighbour Laplacian: larger is sharper.

    It compares images of the same scene only: it depends on content and grows with noise.

    Args:
        image: (..., H, W), nominally in [0, 1]; beyond the border it is reflected.

    Returns:
        (...,), 0 or more, in squared image units.

    Gradient: exact.

    Source: Pech-Pacheco et al., ICPR 2000.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> checkerboard = jnp.indices((4, 4)).sum(0) % 2 * 1.0
        >>> metrics.variance_of_laplacian(checkerboard)
        Array(9.5, dtype=float32)
    """
    array = jnp.asarray(image)
    values = array.astype(working_dtype(array.dtype))
    laplacian = _filter(values, -2, _SECOND_DIFFERENCE) + _filter(values, -1, _SECOND_DIFFERENCE)
    return jnp.var(laplacian, axis=(-2, -1)).astype(array.dtype)


def tenengrad(image: Float[ArrayLike, "*batch h w"]) -> Float[Array, "*batch"]:
    """Mean squared magnitude of the Sobel gradient: larger is sharper.

    It compares images of the same scene only: it depends on content and grows with noise.

    Args:
        image: (..., H, W), nominally in [0, 1]; beyond the border it is reflected.

    Returns:
        (...,), 0 or more, in squared image units. The Sobel weights are the integers of
        `scipy.ndimage.sobel`: a slope of 1 per pixel has magnitude 8.

    Gradient: exact.

    Source: Tenenbaum, thesis, Stanford 1970; Krotkov, "Focusing", IJCV 1987. Without their
        threshold on the magnitude.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> metrics.tenengrad(jnp.array([[0.0, 0.0, 1.0, 1.0]]))
        Array(8., dtype=float32)
    """
    array = jnp.asarray(image)
    values = array.astype(working_dtype(array.dtype))
    energy = _sobel(values, -2) ** 2 + _sobel(values, -1) ** 2
    return jnp.mean(energy, axis=(-2, -1)).astype(array.dtype)


def blur_effect(image: Float[ArrayLike, "*batch h w"], *, size: int = 11) -> Float[Array, "*batch"]:
    """How little an image changes when it is blurred once more: larger is blurrier.

    The share of the absolute Sobel gradient along an axis that survives a running mean along the
    same axis, where a gradient that grows counts as kept; the larger of the two axes. It depends
    on content and noise, so it compares images of the same scene only.

    Args:
        image: (..., H, W), nominally in [0, 1], H and W at least 4; beyond the border it is
            reflected.
        size: of the running mean, in pixels, 2 or more; blur much wider than this all looks
            alike. Static.

    Returns:
        (...,) in [0, 1]: 0 sharp, 1 blurred; also 1 for an image that is constant along its
        rows or its columns, which has no sharp edge across them.

    Raises:
        ValueError: `size` less than 2, or an image too small.

    Gradient: exact, one-sided where a gradient changes sign.

    Source: Crete et al., "The blur effect", SPIE 6492, 2007, as in `skimage.measure.blur_effect`,
        which leaves out two pixels at the upper and left border and one at the others.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> step, ramp = jnp.arange(32) >= 16, jnp.linspace(0.0, 1.0, 32)
        >>> for x in (step, ramp):
        ...     print(f"{metrics.blur_effect(x[:, None] * x * 1.0):.2f}")
        0.18
        0.90
    """
    if size < 2:
        raise ValueError(f"size is {size}; a mean of fewer than 2 pixels blurs nothing")
    array = jnp.asarray(image)
    if min(array.shape[-2:]) < 4:
        raise ValueError(
            f"the image has shape {array.shape}, but nothing is left of fewer than 4 rows or "
            "columns without their borders"
        )
    values = array.astype(working_dtype(array.dtype))
    kept = [_kept(values, axis, size) for axis in (-2, -1)]
    return jnp.maximum(*kept).astype(array.dtype)


def _kept(image: Array, axis: int, size: int) -> Array:
    """The share of the gradient along one axis that survives blurring along it."""
    blurred = _filter(image, axis, (1 / size,) * size)
    # The floor of scikit-image, in units of its Sobel weights: a constant image has kept all.
    sharp, soft = (
        jnp.maximum(jnp.abs(_sobel(x, axis))[..., 2:-1, 2:-1] / 4, 2.0**-52)
        for x in (image, blurred)
    )
    total = jnp.sum(sharp, axis=(-2, -1))
    return (total - jnp.sum(jnp.maximum(sharp - soft, 0), axis=(-2, -1))) / total


def _sobel(image: Array, axis: int) -> Array:
    return _filter(_filter(image, axis, _DIFFERENCE), -3 - axis, _SMOOTHING)


def _filter(image: Array, axis: int, weights: tuple[float, ...]) -> Array:
    """Correlation along axis -2 or -1; beyond the border the image is reflected."""
    axis, before = image.ndim + axis, len(weights) // 2
    padding = [(0, 0)] * image.ndim
    padding[axis] = (before, len(weights) - 1 - before)
    # jnp.pad's "symmetric" is SciPy's "reflect": d c b a | a b c d.
    wide = jnp.pad(image, padding, mode="symmetric")
    total = jnp.zeros_like(image)
    for i, weight in enumerate(weights):
        where = [slice(None)] * image.ndim
        where[axis] = slice(i, i + image.shape[axis])
        total = total + weight * wide[tuple(where)]
    return total
