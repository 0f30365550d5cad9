"""What a kernel is, whatever made it."""

from typing import NamedTuple

import jax.numpy as jnp

from blurjax._typing import Array, Float, Kernels
from blurjax.psf._grid import offsets


class Moments(NamedTuple):
    """Moments of a kernel over its pixels, axes in the order row, column."""

    mass: Float[Array, "*batch"]
    mean: Float[Array, "*batch 2"]
    covariance: Float[Array, "*batch 2 2"]


def moments(psf: Kernels) -> Moments:
    """Mass, mean and covariance of a kernel as the discrete mass distribution that it is.

    The covariance is of the pixel values (not deconvolved by the pixel): for
    `gaussian(sigma)` by area it is sigma^2 + 1/12, by points sigma^2. Its square
    root is the sigma we report for any Gaussian, whoever made it.

    Args:
        psf: (..., k, k), odd k, any positive mass.

    Returns:
        `mass` (...,); `mean` (..., 2) as row and column offset from the centre, in pixels;
        `covariance` (..., 2, 2) in pixels squared.

    Raises:
        ValueError: an even or non-square kernel.

    Gradient: exact.

    Source: elementary.

    Example:
        >>> from blurjax import psf
        >>> psf.moments(psf.gaussian(2.0, size=21, sampling="point")).covariance[0, 0].round(3)
        Array(4., dtype=float32)
    """
    rows, columns = psf.shape[-2:]
    if rows != columns or rows % 2 == 0:
        raise ValueError(f"psf is {rows}x{columns}; a kernel is square with an odd side")
    position = offsets(rows, psf.dtype)
    mass = jnp.sum(psf, axis=(-2, -1))
    density = psf / mass[..., None, None]
    by_row, by_column = jnp.sum(density, axis=-1), jnp.sum(density, axis=-2)
    mean = jnp.stack([by_row @ position, by_column @ position], axis=-1)
    square = jnp.stack([by_row @ position**2, by_column @ position**2], axis=-1)
    cross = jnp.einsum("...ij,i,j->...", density, position, position) - mean[..., 0] * mean[..., 1]
    variance = square - mean**2
    covariance = jnp.stack(
        [
            jnp.stack([variance[..., 0], cross], axis=-1),
            jnp.stack([cross, variance[..., 1]], axis=-1),
        ],
        axis=-2,
    )
    return Moments(mass, mean, covariance)
