"""Bessel functions of the first kind, accurate to rounding and differentiable to any order.

Up to |x| = 25 by Poisson's integral and the trapezoid rule over a period, whose error with 64
nodes is of the size of J_60(25) < 1e-15; beyond, by Hankel's asymptotic series with 16 terms,
whose remainder at 25 is below 1e-15.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from blurjax._numerics import absolute
from blurjax._typing import Array

_SWITCH = 25.0
_TERMS = 16

# Nodes at theta, -theta and pi +- theta agree: a quarter of the period is summed.
_theta = np.arange(17) * (2 * np.pi / 64)
_SINE = np.sin(_theta)
_COSINE = np.cos(_theta)
_MEAN = np.where((np.arange(17) == 0) | (np.arange(17) == 16), 2, 4) / 64


def jinc(x: Array) -> Array:
    """2 J_1(x) / x, even, 1 at 0."""
    return 2 * _ratio(1, x)


@jax.custom_jvp
def airy_shares(x: Array) -> tuple[Array, Array]:
    """1 - J_0^2 - J_1^2, the energy of the Airy pattern inside x, and J_0^2 + J_1^2, outside."""
    j1 = x * _ratio(1, x)
    far, near, value = _branches(0, x)
    fall = jnp.where(far, 1 - value, near)
    outside = (1 - fall) ** 2 + j1**2
    # 1 - J_0^2 = (1 - J_0) (1 + J_0): no cancellation near the centre.
    return fall * (2 - fall) - j1**2, outside


@airy_shares.defjvp
def _airy_shares_jvp(
    primals: tuple[Array], tangents: tuple[Array]
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    (x,), (tangent,) = primals, tangents
    rise = 2 * x * _ratio(1, x) ** 2 * tangent
    return airy_shares(x), (rise, -rise)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _ratio(order: int, x: Array) -> Array:
    """J_n(x) / x^n, even and smooth: at 0 it is 1 / (2^n n!)."""
    far, fall, value = _branches(order, x)
    return jnp.where(far, value, _at_zero(order) - fall)


@_ratio.defjvp
def _ratio_jvp(order: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (tangent,) = primals, tangents
    return _ratio(order, x), -x * _ratio(order + 1, x) * tangent


def _at_zero(order: int) -> float:
    return 1 / (2**order * math.factorial(order))


def _branches(order: int, x: Array) -> tuple[Array, Array, Array]:
    """Whether |x| > 25; if not, 1 / (2^n n!) - J_n(x) / x^n; if so, J_n(x) / x^n."""
    # Poisson: J_n(x) / x^n is, up to a constant, the mean of cos(theta)^(2 n) cos(x sin(theta)).
    weights = _MEAN * _COSINE ** (2 * order)
    weights *= _at_zero(order) / weights.sum()
    sine, weight = jnp.asarray(_SINE, x.dtype), jnp.asarray(weights, x.dtype)
    # Either branch gets an argument that is harmless where the other one counts.
    distance = absolute(x)
    far = distance > _SWITCH
    half = jnp.where(far, _SWITCH, x) / 2

    def add(k: Array, total: Array) -> Array:
        return total + 2 * weight[k] * jnp.sin(half * sine[k]) ** 2

    # 1 - cos = 2 sin^2: no cancellation near 0.
    near = jax.lax.fori_loop(0, _SINE.size, add, jnp.zeros_like(x))
    distance = jnp.where(far, distance, _SWITCH)
    return far, near, _hankel(order, distance) / distance**order


def _hankel(order: int, x: Array) -> Array:
    """J_n(x) for x >= 25: sqrt(2 / (pi x)) (P cos chi - Q sin chi)."""
    coefficient = [1.0]
    for k in range(1, _TERMS):
        coefficient.append(coefficient[-1] * (4 * order**2 - (2 * k - 1) ** 2) / (8 * k))
    p, q = jnp.zeros_like(x), jnp.zeros_like(x)
    # Horner's rule in 1 / x^2, signs alternating.
    for k in reversed(range(0, _TERMS, 2)):
        p = coefficient[k] - p / x**2
        q = coefficient[k + 1] - q / x**2
    chi = x - (2 * order + 1) * math.pi / 4
    return jnp.sqrt(2 / (jnp.pi * x)) * (p * jnp.cos(chi) - q / x * jnp.sin(chi))
