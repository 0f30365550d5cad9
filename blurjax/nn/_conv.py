"""Convolution and pooling in the form that XLA is quick at on a CPU. Not imported with the room:
it needs Flax.

`Conv` is `flax.linen.Conv` with the same parameters, names and numbers (to rounding). What differs
is how a convolution without padding is put to XLA on a CPU, where one of two libraries takes it.
YNNPACK, the first choice, runs such a one in one thread in jax 0.10 if the result has 64 channels
or less, and copies all patches out before; in jax 0.12 it is quick at that, but up to three times
slower than the other (Eigen) at the kernel's gradient. It refuses convolutions of which the result,
or the kernel, is larger than the input along an axis. So one more column than the image has is
computed, and cut off again: that makes the result larger than the input, and in the kernel's
gradient, where the result's gradient has the kernel's part, the "kernel" larger than the input.
With "SAME" padding nothing of the kind was found to help: there XLA runs several convolutions at
once, each in one thread.

The gradient of `flax.linen.max_pool` is a scatter, which on a CPU takes many times as long as that
of a maximum of shifted images.

All of it is made of plain operations: every transformation and derivative is JAX's own. The default
backend is asked while tracing: a program traced for another one has the same numbers and is at most
a little slower. `lax.platform_dependent` would be right about the platform too, for twice the
tracing and differentiating of every layer.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from blurjax._typing import Array

# With no more channels than these XLA chooses Eigen by itself.
_FEW = 16


def conv(
    lhs: Array,
    rhs: Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    **options: Any,
) -> Array:
    """`jax.lax.conv_general_dilated`: the same numbers to rounding, on a CPU in less time.

    Images (n, h, w, channels) convolved without padding, strides, groups or dilated input are put
    to XLA differently on a CPU, see above; everything else, and other platforms, unchanged.

    Args:
        lhs: (n, h, w, i) or any other layout that `dimension_numbers` describe.
        rhs: kernels (p, q, i, o), likewise.
        window_strides, padding, lhs_dilation, rhs_dilation, dimension_numbers: of
            `jax.lax.conv_general_dilated`.
        feature_group_count, batch_group_count: likewise.
        **options: likewise, `precision` and `preferred_element_type`.

    Returns:
        What that function returns, in its dtype.

    Raises:
        ValueError, TypeError: as that function does.

    Gradient: exact, of any order, forward and reverse.

    Source: our choice, by measurements (benchmarks/training.md); the library's conditions are those
        of `IsConvolutionOpSupportedByYnn` in XLA's ynn_support.cc.
    """
    plain: Callable[..., Array] = functools.partial(
        lax.conv_general_dilated,
        lhs_dilation=lhs_dilation,
        rhs_dilation=rhs_dilation,
        dimension_numbers=dimension_numbers,
        feature_group_count=feature_group_count,
        batch_group_count=batch_group_count,
        **options,
    )
    if (
        jax.default_backend() != "cpu"
        or lhs.ndim != 4
        or not _in_our_layout(lhs, rhs, dimension_numbers)
        or tuple(window_strides) != (1, 1)
        or tuple(lhs_dilation or (1, 1)) != (1, 1)
        or (feature_group_count, batch_group_count) != (1, 1)
        or not (padding == "VALID" or [tuple(pair) for pair in padding] == [(0, 0), (0, 0)])
        or max(rhs.shape[:2]) == 1
        or 0 in (*lhs.shape, *rhs.shape)
    ):
        return plain(lhs, rhs, window_strides, padding)

    dilation = tuple(rhs_dilation or (1, 1))
    reach = [(side - 1) * step for side, step in zip(rhs.shape[:2], dilation, strict=True)]
    height, width = (lhs.shape[axis + 1] - reach[axis] for axis in range(2))
    if min(height, width) < 1:
        return plain(lhs, rhs, window_strides, padding)
    if 2 * height * width <= lhs.shape[1] * lhs.shape[2]:
        # The image's gradient would be a convolution of mostly padding.
        return _by_rows(lhs, rhs, dilation, height, width, options)
    if max(rhs.shape[2:]) <= _FEW:
        return plain(lhs, rhs, window_strides, padding)
    return plain(lhs, rhs, window_strides, ((0, 0), (0, reach[1] + 1)))[:, :, :width]


def _in_our_layout(lhs: Array, rhs: Array, dimension_numbers: Any) -> bool:
    """Whether images are (n, h, w, channels) and kernels (p, q, in, out)."""
    numbers = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    wanted = lax.conv_dimension_numbers(lhs.shape, rhs.shape, ("NHWC", "HWIO", "NHWC"))
    return bool(numbers == wanted)


def _by_rows(
    x: Array,
    kernel: Array,
    dilation: tuple[int, ...],
    height: int,
    width: int,
    options: dict[str, Any],
) -> Array:
    """A convolution without padding: a product of matrices for each row of the kernel."""
    down, right = dilation
    taps = [x[:, :, j * right : j * right + width] for j in range(kernel.shape[1])]
    patches = jnp.concatenate(taps, axis=-1)
    total = None
    for i, row in enumerate(kernel):
        some = patches[:, i * down : i * down + height]
        product = lax.dot_general(
            some, row.reshape(-1, row.shape[-1]), (((3,), (0,)), ((), ())), **options
        )
        total = product if total is None else total + product
    return jnp.asarray(total)


Conv = functools.partial(nn.Conv, conv_general_dilated=conv)
"""`flax.linen.Conv` that convolves by `conv`."""


def max_pool(
    x: Array, window: tuple[int, int], strides: tuple[int, int], padding: str = "VALID"
) -> Array:
    """The maximum of each window: `flax.linen.max_pool` of images (n, h, w, channels).

    Args:
        x: (n, h, w, channels), floating.
        window: its sides, pixels.
        strides: pixels between windows.
        padding: "VALID", or "SAME" with minus infinity around the image.

    Returns:
        (n, rows, columns, channels), in x's dtype; NaN where a window holds one.

    Gradient: to the first of a window's greatest, as of that function.

    Source: our choice, by measurements (benchmarks/training.md).
    """
    if jax.default_backend() != "cpu":
        return jnp.asarray(nn.max_pool(x, window, strides, padding))
    pads = lax.padtype_to_pads(x.shape[1:3], window, strides, padding)
    if any(map(any, pads)):
        x = jnp.pad(x, [(0, 0), *pads, (0, 0)], constant_values=-jnp.inf)
    # Columns first: the first of a window is the first by rows then.
    for axis in (2, 1):
        side, stride = window[axis - 1], strides[axis - 1]
        count = (x.shape[axis] - side) // stride + 1
        shifted = [
            lax.slice_in_dim(x, i, i + (count - 1) * stride + 1, stride, axis) for i in range(side)
        ]
        x = functools.reduce(_first_greatest, shifted)
    return x


def _first_greatest(a: Array, b: Array) -> Array:
    return jnp.where((a >= b) | jnp.isnan(a), a, b)
