"""Shape aliases, stated once.

Leading axes written ``...`` are batch axes and broadcast. Annotations are
documentation at run time; the tests switch on their checking.
"""

from jax import Array
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int, Key, Real

Scalars = Real[ArrayLike, "..."]
"""Physical parameters: one number or an array of them."""

Images = Float[Array, "..."]
"""Images (..., H, W), or with a channel axis where a function takes `channel_axis`."""

Kernels = Float[Array, "*batch k k"]
"""Point spread functions: odd k, sum 1, centre at (k - 1) / 2."""

Patches = Float[Array, "n h w"]
"""A batch of gray patches, nominally in [0, 1]."""

PRNGKey = Key[Array, ""] | Real[Array, "2"]
"""A JAX random key, typed or legacy."""

AxisName = str | tuple[str, ...] | None
"""A mapped axis (`jax.pmap`, `jax.shard_map`, `jax.vmap`) over which a batch is shared, or none."""

__all__ = [
    "Array",
    "ArrayLike",
    "AxisName",
    "Bool",
    "Float",
    "Images",
    "Int",
    "Kernels",
    "PRNGKey",
    "Patches",
    "Real",
    "Scalars",
]
