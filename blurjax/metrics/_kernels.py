"""How close an estimated kernel is to the true one."""

import jax.numpy as jnp
import numpy as np

from blurjax._numerics import fast_length, safe_sqrt, working_dtype
from blurjax._typing import Array, Float


def kernel_similarity(a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
    r"""Largest normalised correlation of two kernels over all shifts of whole pixels.

        max over g of sum_t a(t) b(t + g) / (|a| |b|)

    with 0 outside the kernels. Of trajectories of 25 pixels, unrelated ones have about 0.35, one
    and its own copy smoothed by sigma 1 about 0.84.

    Args:
        a: (..., k, k), not negative, of any sum.
        b: (..., l, l), likewise; leading axes broadcast.

    Returns:
        (...,) in [0, 1], 1 for kernels that are equal up to a shift and a factor, 0 if one of them
        is 0 everywhere; in the dtype of `a`.

    Raises:
        ValueError: a kernel has fewer than two axes.

    Gradient: exact with the shift held; of equally good shifts the mean.

    Source: Hu and Yang, "Good regions to deblur", ECCV 2012.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> bar = jnp.zeros((5, 5)).at[2, 1:4].set(1 / 3)
        >>> for other in (jnp.roll(bar, 1, 0), bar.T):
        ...     print(f"{metrics.kernel_similarity(bar, other):.2f}")
        1.00
        0.33
    """
    a, b = jnp.asarray(a), jnp.asarray(b)
    for kernel in (a, b):
        if kernel.ndim < 2:
            raise ValueError(
                f"a kernel has shape {kernel.shape}, but its last two axes are rows and columns; "
                "reshape it"
            )
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    # So long that no shift wraps around.
    size = [fast_length(m + n - 1) for m, n in zip(a.shape[-2:], b.shape[-2:], strict=True)]
    one, other = (
        jnp.broadcast_to(
            jnp.fft.rfft2(_unit(x.astype(working_dtype(a.dtype))), size),
            (*lead, size[0], size[1] // 2 + 1),
        )
        for x in (a, b)
    )
    correlation = jnp.fft.irfft2(jnp.conj(one) * other, size)
    return jnp.max(correlation, axis=(-2, -1)).astype(a.dtype)


def _unit(kernel: Array) -> Array:
    """Of norm 1, or 0 everywhere."""
    norm = safe_sqrt(jnp.sum(kernel**2, axis=(-2, -1), keepdims=True))
    return kernel / jnp.where(norm > 0, norm, 1)
