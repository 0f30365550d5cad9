"""Generalised shrinkage: one number pulled towards 0 by a power of itself."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from blurjax._numerics import as_float, concrete
from blurjax._typing import Array, ArrayLike

# To the last digits at every exponent, from the tangents of `_inner` on (2 and 3 steps at 2/3).
_STEPS = {2: 3, 4: 3, 8: 4}


def shrink(v: ArrayLike, weight: ArrayLike, exponent: float) -> Array:
    """Pull each value towards 0: the proximal map of |w|^a.

        shrink(v) = argmin over w of  weight |w|^a + 1/2 (w - v)^2.

    At a = 1 it is soft thresholding, sign(v) max(|v| - weight, 0). Below, it is 0 where |v| is at
    most a threshold, and jumps there to a value c:

        c = (2 (1 - a) weight)^(1 / (2 - a)),    threshold = c + a weight c^(a - 1);

    above, it is the greater root of w + a weight w^(a - 1) = |v|, with the sign of v.

    Args:
        v: any shape, floats.
        weight: >= 0, broadcast against v.
        exponent: a, in (0, 1]. Static.

    Returns:
        w, of the broadcast shape and the dtype of the two together.

    Raises:
        ValueError: the exponent is outside (0, 1], or a concrete weight is negative or not finite.

    Gradient: implicit: dw/dv = 1 / (1 - a (1 - a) weight |w|^(a - 2)) and dw/dweight =
        -a w |w|^(a - 2) dw/dv. 0 where w is 0; the jump at the threshold has no gradient, so that
        a sum over few values does not see how they cross it.

    Source: Zuo, Meng, Zhang, Feng and Zhang, "A generalized iterated shrinkage algorithm for
        non-convex sparse coding", ICCV 2013. Newton's method from two tangents in place of its
        fixed-point steps: our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax.deconvolution import shrink
        >>> print(shrink(jnp.array([-3.0, -0.5, 0.5, 2.0]), 1.0, 1.0))
        [-2.  0.  0.  1.]
        >>> print(shrink(jnp.array([0.5, 1.0, 1.4, 1.6]), 1.0, 0.5).round(3))
        [0.   0.   0.   1.13]
    """
    exponent = as_exponent(exponent)
    if concrete(weight):
        plain = np.asarray(weight, np.float64)
        if not (np.isfinite(plain) & (plain >= 0)).all():
            raise ValueError(
                f"weight={plain.tolist()!r}, but it is finite and 0 or more; give such a weight"
            )
    v, weight = as_float(v), jnp.asarray(weight)
    if not jnp.issubdtype(weight.dtype, jnp.floating) or weight.weak_type:
        weight = weight.astype(v.dtype)
    dtype = jnp.promote_types(v.dtype, weight.dtype)
    shape = jnp.broadcast_shapes(v.shape, weight.shape)
    v, weight = (jnp.broadcast_to(z, shape).astype(dtype) for z in (v, weight))
    return _shrink(v, weight, exponent)


def as_exponent(exponent: float) -> float:
    """`exponent`, checked."""
    if not (isinstance(exponent, int | float) and 0 < exponent <= 1):
        raise ValueError(
            f"exponent={exponent!r}, but the power of a sparse prior is above 0 and at most 1; "
            "2/3 suits photographs"
        )
    return float(exponent)


@functools.partial(jax.jit, static_argnums=2)
def _shrink(v: Array, weight: Array, exponent: float) -> Array:
    return shrink_checked(v, weight, exponent)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def shrink_checked(v: Array, weight: Array, exponent: float) -> Array:
    """`shrink` of arrays of one dtype that broadcast, unchecked."""
    if exponent == 1:
        return v - jnp.clip(v, -weight, weight)
    size = jnp.abs(v)
    # In units of c the root depends on one number alone: s + f s^(a - 1) = u.
    c = (2 * (1 - exponent) * weight) ** (1 / (2 - exponent))
    f = exponent / (2 * (1 - exponent))
    threshold = 1 + f
    positive = c > 0
    u = size / jnp.where(positive, c, 1)
    kept = (u > threshold) | ~positive
    u = jnp.maximum(u, threshold)
    root = _inner(u, exponent)
    root = jnp.where(positive, c * root, size)
    return jnp.where(kept, jnp.copysign(root, v), 0)


def _inner(u: Array, a: float) -> Array:
    """The greater root s >= 1 of s + f s^(a - 1) = u, for u >= 1 + f."""
    f = a / (2 * (1 - a))
    # s is a concave function of u: below both of its tangents, at the threshold and far away.
    # From above Newton's method comes down to the root and never leaves the convex part.
    s = jnp.minimum(u, 1 + (u - 1 - f) / (1 - a / 2))
    for _ in range(_STEPS[u.dtype.itemsize]):
        # A power, of what is at least 1: XLA's own takes several times as long on a CPU.
        bend = f * jnp.exp((a - 1) * jnp.log(s))
        s = s - (s + bend - u) / (1 - (1 - a) * bend / s)
    return s


@shrink_checked.defjvp
def _(
    exponent: float, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    (v, weight), (dv, dweight) = primals, tangents
    w = shrink_checked(v, weight, exponent)
    size = jnp.abs(w)
    kept = size > 0
    pull = exponent * jnp.where(kept, size, 1) ** (exponent - 1)
    # Only the singular power needs the guard; at 0 nothing moves.
    slope = 1 / (1 - (1 - exponent) * weight * pull / jnp.where(kept, size, 1))
    change = slope * (dv - jnp.sign(w) * pull * dweight)
    return w, jnp.where(kept, change, 0).astype(w.dtype)
