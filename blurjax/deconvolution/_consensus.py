"""One kernel of several estimates of it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from blurjax import metrics
from blurjax._numerics import fast_length, working_dtype
from blurjax._typing import Array, ArrayLike, Float

# The weight of a kernel falls with its similarity to the central one to this power: an unrelated
# one (0.35) counts for 0.002, one with some noise (0.9) for a half.
_TRUST = 6


class Consensus(NamedTuple):
    """What several estimates of one kernel have in common."""

    kernel: Float[Array, "k k"]
    """Their mean, of sum 1."""
    agreement: Float[Array, " n"]
    """Mean `metrics.kernel_similarity` of each to the others, in [0, 1]; 1 of a single one."""
    weights: Float[Array, " n"]
    """Of each in the mean, of sum 1."""


def consensus(kernels: ArrayLike) -> Consensus:
    """The mean of several estimates of one kernel, of those that agree.

    Estimates go wrong each in its own way, and are displaced. Those of one blur are moved by whole
    pixels to where they are most similar to the one that the others agree with most, and averaged,
    each with its similarity to that to the 6th power as weight.

    Args:
        kernels: (n, k, k), not negative, of the same sum; k odd. From several windows of an image,
            say.

    Returns:
        A `Consensus`, in the kernels' dtype.

    Raises:
        ValueError: not three axes.

    Gradient: with the shifts and the choice of the central one held.

    Source: our choice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import deconvolution, psf
        >>> kernels = psf.motion(jnp.array([7.0, 7.5, 7.2]), jnp.array([0.5, 0.55, 2.0]), size=9)
        >>> found = deconvolution.consensus(kernels)
        >>> [round(float(weight), 1) for weight in found.weights]
        [0.5, 0.5, 0.0]
    """
    kernels = jnp.asarray(kernels)
    if kernels.ndim != 3:
        raise ValueError(f"kernels have shape {kernels.shape}; pass several, (n, k, k)")
    given = kernels.dtype
    kernels = kernels.astype(working_dtype(given))
    n, rows, columns = kernels.shape
    alike = metrics.kernel_similarity(kernels[:, None], kernels[None])
    others = (jnp.sum(alike, axis=1) - 1) / (n - 1) if n > 1 else jnp.ones_like(alike[0])
    central = jnp.argmax(others)
    shape = fast_length(2 * rows - 1), fast_length(2 * columns - 1)
    spectra = jnp.fft.rfft2(lax.stop_gradient(kernels), shape)
    correlation = jnp.fft.irfft2(jnp.conj(spectra) * spectra[central][None], shape)
    best = jnp.argmax(correlation.reshape(n, -1), axis=1)

    def moved(kernel: Array, at: Array) -> Array:
        # Beyond half the period a shift is one to the other side.
        shifts = [
            jnp.where(s < size, s, s - period)
            for s, size, period in zip(
                (at // shape[1], at % shape[1]), (rows, columns), shape, strict=True
            )
        ]
        wide = jnp.pad(kernel, ((rows, rows), (columns, columns)))
        start = [size - s for size, s in zip((rows, columns), shifts, strict=True)]
        return lax.dynamic_slice(wide, start, (rows, columns))

    weights = alike[central] ** _TRUST
    total = jnp.sum(weights)
    weights = jnp.where(total > 0, weights / jnp.where(total > 0, total, 1), 1 / n)
    mean = jnp.sum(weights[:, None, None] * jax.vmap(moved)(kernels, best), axis=0)
    total = jnp.sum(mean)
    mean = mean / jnp.where(total > 0, total, 1)
    return Consensus(mean.astype(given), others.astype(given), weights.astype(given))
