"""Several parameters of one kernel: checked, in one dtype, of one shape."""

from collections.abc import Mapping
from types import MappingProxyType

import jax.numpy as jnp
import numpy as np

from blurjax._numerics import concrete
from blurjax._typing import Array, ArrayLike
from blurjax.psf._grid import check_parameter


def check_parameters(
    values: Mapping[str, ArrayLike],
    *,
    non_negative: tuple[str, ...] = (),
    above: Mapping[str, float] = MappingProxyType({}),
    broadcast: bool = True,
) -> list[Array]:
    """Named values as float arrays of one dtype, and unless told otherwise of one shape.

    Concrete values must be finite, 0 or more where named in `non_negative`, and larger than
    their bound in `above`. Numbers and integers take the dtype of the floating arrays beside
    them: a Python number does not widen a float32 parameter.
    """
    for name, bound in above.items():
        if concrete(values[name]) and np.any(np.asarray(values[name]) <= bound):
            raise ValueError(f"{name} is {values[name]}; it must be larger than {bound}")
    floats = [v for v in values.values() if jnp.issubdtype(getattr(v, "dtype", int), jnp.floating)]
    dtype = jnp.result_type(float, *floats)
    arrays = [
        check_parameter(name, value, non_negative=name in non_negative).astype(dtype)
        for name, value in values.items()
    ]
    if not broadcast or all(array.shape == arrays[0].shape for array in arrays):
        return arrays
    return list(jnp.broadcast_arrays(*arrays))
