"""What every kernel shares: its pixel grid, its checks and its normalisation."""

import functools
import math
import warnings
from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from blurjax._numerics import as_float, concrete, working_dtype
from blurjax._typing import Array, ArrayLike

# A kernel that loses more than this share of its mass to `size` says so.
LOST_MASS = 1e-3


def offsets(size: int, dtype: np.dtype) -> Array:
    """Pixel centres -(k-1)/2 ... (k-1)/2 along one axis, shape (k,)."""
    return jnp.arange(size, dtype=dtype) - (size - 1) // 2


def check_size(size: object) -> None:
    """Refuse anything but an odd positive Python (or NumPy) integer."""
    if isinstance(size, bool) or not isinstance(size, int | np.integer):
        raise TypeError(f"size is {size!r}; it sets a shape, so pass a Python int")
    if size < 1 or size % 2 == 0:
        raise ValueError(
            f"size is {size}; a kernel has an odd size so that it has a centre: pass {size + 1}"
            if size > 0
            else f"size is {size}; pass an odd number of pixels, 1 or more"
        )


def check_parameter(name: str, value: ArrayLike, *, non_negative: bool = False) -> Array:
    """`value` as a float array; concrete values must be finite and, if asked, not negative."""
    if concrete(value):
        seen = np.asarray(value)
        if not np.all(np.isfinite(seen.astype(np.float64))):
            raise ValueError(f"{name} is {value}; it must be finite")
        if non_negative and np.any(seen < 0):
            raise ValueError(f"{name} is {seen.min()}; it is in pixels and must be 0 or more")
    return as_float(value)


def warn_truncated(kernel_name: str, lost: ArrayLike, size: int) -> None:
    """Warn if `size` cut off more than `LOST_MASS`; silent while traced: it cannot be known."""
    if concrete(lost):
        worst = float(np.max(np.asarray(lost, dtype=np.float64), initial=0.0))
        if worst > LOST_MASS:
            warnings.warn(
                f"size {size} cuts off {worst:.2%} of a {kernel_name} kernel's mass (the rest is "
                f"rescaled to sum 1); psf.support({kernel_name!r}, ...) gives a size that holds it",
                stacklevel=3,
            )


def within_reach(length: Array, size: int) -> Array:
    """A length, held below where a kernel of that size cannot tell it from infinity.

    Far above, squares overflow and differences of nearly equal numbers vanish: 0 / 0 follows.
    """
    return jnp.minimum(length, size / math.sqrt(jnp.finfo(length.dtype).eps))


F = TypeVar("F", bound=Callable)


def in_single(kernel_of: F) -> F:
    """Let a kernel of parameters in half precision be computed in float32, and rounded then.

    For functions of arrays and static values that return a kernel, or that and what it lost.
    """

    @functools.wraps(kernel_of)
    def wider(*values: object) -> object:
        dtype = jnp.result_type(values[0])
        wide = working_dtype(dtype)
        if wide == dtype:
            return kernel_of(*values)
        found = kernel_of(*(v.astype(wide) if isinstance(v, jax.Array) else v for v in values))
        return jax.tree.map(lambda x: x.astype(dtype), found)

    return wider  # type: ignore[return-value]


def normalise(kernel: Array) -> Array:
    """`kernel` divided by its sum over the last two axes."""
    return kernel / jnp.sum(kernel, axis=(-2, -1), keepdims=True)
