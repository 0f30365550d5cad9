"""Gradient-safe primitives, finite in value and derivative where the plain ones give NaN; lengths.

Autodiff differentiates both branches of `jnp.where` and multiplies by zero
afterwards; an infinite derivative in the branch not taken then becomes NaN.
Each function here moves the argument away from the singular point *before*
the singular operation ("double where").
"""

import functools

import jax
import jax.numpy as jnp

from blurjax._typing import Array, ArrayLike


def as_float(x: ArrayLike) -> Array:
    """`x` as a floating-point array: floats keep their dtype, the rest take the default."""
    return jnp.asarray(x) if _is_float(x) else jnp.asarray(x, dtype=jnp.result_type(float))


def _is_float(x: ArrayLike) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)


def concrete(x: ArrayLike) -> bool:
    """Whether the value of `x` can be looked at now (it is not being traced)."""
    return not isinstance(x, jax.core.Tracer)


def safe_sqrt(x: Array) -> Array:
    """sqrt(x) for x > 0, and 0 with derivative 0 for x <= 0."""
    positive = x > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1)), 0)


def absolute(x: Array) -> Array:
    """|x| whose derivative at 0 is the right-hand one, +1 (`jnp.abs` has 0 there)."""
    return jnp.where(x < 0, -x, x)


def working_dtype(dtype: jnp.dtype) -> jnp.dtype:
    """The dtype to compute in: float32 for the half precisions, which no FFT takes."""
    return jnp.dtype(jnp.float32) if jnp.dtype(dtype).itemsize < 4 else jnp.dtype(dtype)


@functools.cache
def fast_length(n: int) -> int:
    """The smallest length >= n without prime factors above 5, quick in every FFT library."""
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1
