"""What of a kernel is noise: the small pieces beside it."""

import jax
import jax.numpy as jnp
from jax import lax

from blurjax._typing import Array


def drop_small_components(kernel: Array, least: float) -> Array:
    """Zero the 8-connected pieces of a kernel (k, k) of mass below `least`; keep the heaviest.

    Kept pixels have gradient 1, dropped ones 0.
    """
    size = kernel.shape[-1]
    inside = lax.stop_gradient(kernel) > 0
    number = jnp.arange(1, size * size + 1, dtype=jnp.int32).reshape(size, size)

    # Every pixel takes the largest number among its neighbours until nothing changes.
    def spread(state: tuple[Array, Array]) -> tuple[Array, Array]:
        label, _ = state
        wide = jnp.pad(label, 1)
        rows = jnp.maximum(jnp.maximum(wide[:-2], wide[1:-1]), wide[2:])
        largest = jnp.maximum(jnp.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:])
        new = jnp.where(inside, largest, 0)
        return new, jnp.any(new != label)

    start = jnp.where(inside, number, 0)
    label, _ = lax.while_loop(lambda state: state[1], spread, (start, jnp.any(inside)))
    mass = jax.ops.segment_sum(
        lax.stop_gradient(kernel).ravel(), label.ravel(), num_segments=size * size + 1
    )
    mass = mass.at[0].set(0)
    keep = (mass >= jnp.minimum(jnp.asarray(least, mass.dtype), jnp.max(mass)))[label] & inside
    return jnp.where(keep, kernel, 0)
