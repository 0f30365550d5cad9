"""Gradient-safe primitives, finite in value and derivative where the plain ones give NaN; lengths;
means over a batch that several devices share.

Autodiff differentiates both branches of `jnp.where` and multiplies by zero
afterwards; an infinite derivative in the branch not taken then becomes NaN.
Each function here moves the argument away from the singular point *before*
the singular operation ("double where").
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from blurjax._typing import Array, ArrayLike, AxisName


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


def network_dtype(params: object, otherwise: DTypeLike = jnp.float32) -> jnp.dtype:
    """The dtype a network computes in: the half precision that all its parameters are in, else
    `otherwise` (by default float32: Flax's layers know no float64)."""
    first, *rest = {jnp.dtype(leaf.dtype) for leaf in jax.tree.leaves(params)}
    return first if not rest and working_dtype(first) != first else jnp.dtype(otherwise)


def mean_over(values: Array, axis_name: AxisName = None) -> Array:
    """The mean of `values`; with an axis, of the equally many on all devices along it."""
    mean = jnp.mean(values)
    return mean if axis_name is None else jax.lax.pmean(mean, axis_name)


def weighted_mean(values: Array, weight: Array, axis_name: AxisName = None) -> Array:
    """sum(weight values) / max(sum(weight), 1), the sums running over all devices along an axis.

    The mean of the devices' own means would be another number wherever they hold other weights.
    """
    total, count = jnp.sum(weight * values), jnp.sum(weight)
    if axis_name is not None:
        # One by one: together, of which one is not differentiated, jax 0.7 cannot transpose them.
        total, count = (jax.lax.psum(x, axis_name) for x in (total, count))
    return total / jnp.maximum(count, 1)


def gathered(tree: Any, axis_name: AxisName) -> Any:
    """Arrays of the whole batch, from what lies of them on the devices along an axis."""
    # One after the other: an axis of `vmap` is not gathered together with others.
    for axis in (axis_name,) if isinstance(axis_name, str) else axis_name or ():
        tree = jax.lax.all_gather(tree, axis, tiled=True)
    return tree


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
