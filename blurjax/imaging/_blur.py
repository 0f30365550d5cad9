"""Spatially uniform blur and its adjoint."""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from blurjax._numerics import fast_length, working_dtype
from blurjax._typing import Array, ArrayLike
from blurjax.imaging import _boundary
from blurjax.imaging._arrays import as_image

METHODS = ("auto", "direct", "fft")

# Measured on 2 CPU cores (jax 0.10.2, float32), milliseconds: sum of shifts / FFT, and OpenCV.
#   512x512     k = 5: .9 / 6.2, .8   9: 1.9 / 5.9, 2.2   13: 4.5 / 6, 11   15: 6.4 / 6.2, 10
#   2048x2048   k = 5: 6 / 150, 11    9: 29 / 134, 20     13: 64 / 133, 72-99   15: 88 / 132, 99
# From 17 taps on XLA splits the sum, and it takes ten times as long. XLA's convolution of one
# channel never wins on a CPU: it is there for direct sums with large kernels.
_SHIFTED_SUM_SIZE = 15
# Of an image of that many rows the halves are transformed as one complex image (140 ms instead
# of 175 at 2048x2048), if its halves are large beside the kernel.
_HALVED_ROWS = 512


def blur(
    image: ArrayLike,
    psf: ArrayLike,
    *,
    boundary: str = "reflect",
    method: str = "auto",
    stride: int = 1,
    channel_axis: int | None = None,
) -> Array:
    """Convolve an image with a point spread function.

    With `c = (k - 1) / 2` the centre of the kernel,

        blurred[i, j] = sum_{u, v} psf[u, v] image[i + c - u, j + c - v],

    a true convolution: a single bright pixel becomes a copy of `psf` around it. Pixels
    outside the image are given by `boundary`:

    | boundary | around a row `a b c d` | elsewhere |
    |---|---|---|
    | "reflect" | `b a [a b c d] d c` | SciPy "reflect", NumPy "symmetric" |
    | "mirror" | `c b [a b c d] c b` | SciPy "mirror", NumPy "reflect" |
    | "nearest", "edge" | `a a [a b c d] d d` | SciPy "nearest", NumPy "edge" |
    | "wrap", "circular" | `c d [a b c d] a b` | SciPy and NumPy "wrap" |
    | "constant" | `0 0 [a b c d] 0 0` | SciPy and NumPy "constant" |
    | "smooth" | harmonic between the border and its periodic copy | Liu & Jia 2008, see `pad` |
    | "valid" | nothing: the result is smaller | SciPy's `convolve2d(mode="valid")` |

    Args:
        image: (..., H, W) floats, any range; with `channel_axis` one more axis. bfloat16 and
            float16 are computed in float32.
        psf: (..., k, k), k odd, nominally non-negative with sum 1; used in the precision of
            the computation. Its leading axes broadcast against those of the image (the
            channel axis not counted), so one kernel serves all images and one image can
            meet many kernels.
        boundary: see above. Static.
        method: "direct" sums over the taps, "fft" multiplies spectra, "auto" takes the sum
            up to 15 taps and the FFT above. Static.
        stride: keep every stride-th row and column, from the first: blur and subsampling, the
            image formation of super-resolution. Static.
        channel_axis: the axis of `image` that holds colours, each blurred alike; None for
            gray images. Static.

    Returns:
        The blurred image in the dtype of `image`: (..., H, W), or (..., H - k + 1, W - k + 1)
        for "valid", each divided by the stride and rounded up, with the broadcast leading axes;
        the channel axis stays where it was, counted from the end.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the kernel is not square and odd, the leading axes do not broadcast,
            the image is smaller than the kernel for "valid", or a name or the stride is not valid.

    Gradient: exact with respect to image and kernel (the map is linear in each). That of the sum
        over up to 15 taps goes through the FFT, which is faster backwards (`blur_adjoint` too;
        `jax.linear_transpose` of `blur` is right, but slow).

    Source: our choice of names (SciPy's); `scipy.ndimage.convolve` is the reference.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> image = jnp.zeros((3, 5)).at[1, 2].set(1.0)
        >>> psf = jnp.array([[0.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 0.0]])
        >>> print(imaging.blur(image, psf)[1])
        [0.  0.  0.5 0.5 0. ]
    """
    boundary = _boundary.canonical(boundary)
    if method not in METHODS:
        raise ValueError(
            f"method={method!r} is not known; choose one of {', '.join(map(repr, METHODS))}"
        )
    if not isinstance(stride, int) or stride < 1:
        raise ValueError(f"stride={stride!r}; it is a whole number of pixels, 1 or more")
    image = as_image(image, min_ndim=2 if channel_axis is None else 3)
    psf = as_psf(psf, working_dtype(image.dtype))
    if channel_axis is None:
        return _blur(image, psf, boundary, method, stride)
    from_end = _boundary.channel_from_end(image, channel_axis)
    planes = jnp.moveaxis(image, from_end, -3)
    blurred = _blur(planes, psf[..., None, :, :], boundary, method, stride)
    return jnp.moveaxis(blurred, -3, from_end)


def blur_adjoint(
    image: ArrayLike,
    psf: ArrayLike,
    *,
    boundary: str = "reflect",
    method: str = "auto",
    stride: int = 1,
    shape: tuple[int, int] | None = None,
    channel_axis: int | None = None,
) -> Array:
    """Apply the adjoint of `blur` with respect to its image.

    With A the linear map `x -> blur(x, psf)`, this is A' with `<A x, y> = <x, A' y>` for
    all x and y. It is derived from `blur`, as its derivative, so the two cannot disagree;
    where the boundary is "wrap" it equals the blur with the kernel rotated by 180 degrees.

    Args:
        image: y, an array of the shape that `blur` returns: (..., H, W).
        psf: (..., k, k), k odd. Its leading axes must broadcast *into* those of `image`.
        boundary, method, stride, channel_axis: as for `blur`. Static.
        shape: (H, W) of x, where the stride leaves it open; by default the stride divides it.
            Static.

    Returns:
        A' y in the dtype of `image`, of the shape of x: that of `image`, but for "valid" both
        image axes are larger by k - 1, and with a stride they are `shape`.

    Raises:
        TypeError: as `blur`.
        ValueError: as `blur`, or the kernel has leading axes that the image lacks.

    Gradient: exact with respect to image and kernel.

    Source: our choice; `jax.vjp`.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> x, psf = jnp.arange(12.0).reshape(3, 4), jnp.arange(9.0).reshape(3, 3) / 36
        >>> y = jnp.arange(12.0).reshape(3, 4)[::-1]
        >>> left = jnp.vdot(imaging.blur(x, psf), y)
        >>> right = jnp.vdot(x, imaging.blur_adjoint(y, psf))
        >>> bool(abs(left - right) < 1e-3)
        True
    """
    image = as_image(image, min_ndim=2 if channel_axis is None else 3)
    # The check of the kernel comes first: the growth below relies on its size.
    psf = as_psf(psf, working_dtype(image.dtype))

    def forward(x: Array) -> Array:
        return blur(
            x, psf, boundary=boundary, method=method, stride=stride, channel_axis=channel_axis
        )

    axes = list(range(image.ndim))
    if channel_axis is not None:
        del axes[channel_axis]
    growth = psf.shape[-1] - 1 if _boundary.canonical(boundary) == "valid" else 0
    source_shape = list(image.shape)
    for i, axis in enumerate(axes[-2:]):
        source_shape[axis] = shape[i] if shape else image.shape[axis] * stride + growth
    source = jax.ShapeDtypeStruct(tuple(source_shape), image.dtype)
    made = jax.eval_shape(forward, source).shape
    lead = [axis for axis in range(image.ndim) if axis not in axes[-2:]]
    if len(made) != image.ndim or any(made[axis] != image.shape[axis] for axis in lead):
        raise ValueError(
            f"the kernel of shape {psf.shape} has leading axes that an image of shape "
            f"{image.shape} lacks, and the adjoint cannot know which to sum over; broadcast "
            "the image, then sum the result over the added axes"
        )
    if any(made[axis] != image.shape[axis] for axis in axes[-2:]):
        raise ValueError(
            f"shape={shape} is blurred to {tuple(made[axis] for axis in axes[-2:])}, not to the "
            f"{tuple(image.shape[axis] for axis in axes[-2:])} of the image; give the shape of x"
        )
    return transposed(forward, source)(image)


def transposed(
    forward: Callable[[Array], Array], source: jax.ShapeDtypeStruct
) -> Callable[[Array], Array]:
    """The transpose of a linear map on arrays like `source`.

    A linear map is its own derivative, and that of a sum of shifts goes through the FFT: its plain
    transpose takes fifty times as long at 15 taps, and seconds to compile.
    """
    _, pull = jax.vjp(forward, jnp.zeros(source.shape, source.dtype))
    return lambda y: pull(y)[0]


def as_psf(psf: ArrayLike, dtype: jnp.dtype) -> Array:
    """`psf` in the working dtype, checked for shape."""
    array = jnp.asarray(psf)
    if array.ndim < 2:
        raise ValueError(
            f"the psf has shape {array.shape}, but a kernel has at least two axes, (..., k, k); "
            "for a separable blur pass the outer product of the two profiles"
        )
    rows, columns = array.shape[-2:]
    if rows != columns:
        raise ValueError(
            f"the psf is {rows}x{columns}, but a kernel is square; pad the shorter axis with "
            "zeros on both sides"
        )
    if rows % 2 == 0:
        raise ValueError(
            f"the psf is {rows}x{columns}, but its size must be odd so that it has a central "
            f"pixel; pad it with zeros to {rows + 1}x{rows + 1}"
        )
    return array.astype(dtype)


@functools.partial(jax.jit, static_argnames=("boundary", "method", "stride"))
def _blur(image: Array, psf: Array, boundary: str, method: str, stride: int) -> Array:
    """`blur` of arrays already checked one by one, for gray images."""
    size = psf.shape[-1]
    try:
        lead = jnp.broadcast_shapes(image.shape[:-2], psf.shape[:-2])
    except ValueError:
        raise ValueError(
            f"the leading axes {image.shape[:-2]} of the image and {psf.shape[:-2]} of the psf "
            "do not broadcast; make them equal, or 1 where one is to serve all"
        ) from None
    if boundary == "valid" and min(image.shape[-2:]) < size:
        raise ValueError(
            f"the image is {image.shape[-2]}x{image.shape[-1]} and the psf {size}x{size}, so no "
            'pixel is valid; use a smaller kernel or another boundary such as "reflect"'
        )
    x = _boundary.pad(image.astype(psf.dtype), size // 2, boundary)
    # Equal ranks: no product below leans on implicit rank promotion.
    x = lax.expand_dims(x, range(len(lead) + 2 - x.ndim))
    psf = lax.expand_dims(psf, range(len(lead) + 2 - psf.ndim))
    convolve = _choose(method, size, x.shape[-2:])
    blurred = convolve(x, psf)[..., ::stride, ::stride]
    return blurred.astype(image.dtype)


def _choose(method: str, size: int, shape: tuple[int, ...]) -> Callable[[Array, Array], Array]:
    """The valid convolution to run on padded images of this shape; see the measurements above."""
    if method == "direct" or (method == "auto" and size <= _SHIFTED_SUM_SIZE):
        return _by_shifts if size <= _SHIFTED_SUM_SIZE else _by_convolution
    return _by_halves if shape[-2] >= max(_HALVED_ROWS, 8 * size) else _by_fft


def _by_fft(x: Array, psf: Array) -> Array:
    """Valid convolution through the spectra, one transform of each."""
    # A circular convolution as long as x wraps only into the first k - 1 samples, which
    # are not valid anyway: no further padding is needed than to a length that is fast.
    size = psf.shape[-1]
    shape = fast_length(x.shape[-2]), fast_length(x.shape[-1])
    spectrum = jnp.fft.rfft2(x, shape) * jnp.fft.rfft2(psf, shape)
    return jnp.fft.irfft2(spectrum, shape)[..., size - 1 : x.shape[-2], size - 1 : x.shape[-1]]


def _by_halves(x: Array, psf: Array) -> Array:
    """Valid convolution of two real images as the parts of one complex image.

    The kernel is real, so the parts do not mix; a complex transform of half the size is quicker
    than two real ones, of which the inverse is slow.
    """
    size = psf.shape[-1]
    height, width = x.shape[-2] - size + 1, x.shape[-1] - size + 1
    half = -(-height // 2)
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 2) + [(0, 2 * half - height), (0, 0)])
    pair = lax.complex(x[..., : half + size - 1, :], x[..., half:, :])
    shape = fast_length(pair.shape[-2]), fast_length(pair.shape[-1])
    spectrum = jnp.fft.fft2(pair, shape) * jnp.fft.fft2(psf, shape)
    both = jnp.fft.ifft2(spectrum)[..., size - 1 : size - 1 + half, size - 1 : size - 1 + width]
    return jnp.concatenate([both.real, both.imag], axis=-2)[..., :height, :]


@jax.custom_jvp
def _by_shifts(x: Array, psf: Array) -> Array:
    """Valid convolution as a sum of shifted images, which XLA fuses into one pass."""
    size = psf.shape[-1]
    height, width = x.shape[-2] - size + 1, x.shape[-1] - size + 1
    # Without the barrier XLA would pad anew for every tap.
    x = lax.optimization_barrier(x)
    terms = (
        psf[..., size - 1 - i, size - 1 - j, None, None] * x[..., i : i + height, j : j + width]
        for i in range(size)
        for j in range(size)
    )
    return functools.reduce(jnp.add, terms)


@_by_shifts.defjvp
def _(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    # The same linear maps by FFT: the transpose of a sum of shifts is a sum of paddings, and slow.
    (x, psf), (dx, dpsf) = primals, tangents
    convolve = _choose("fft", psf.shape[-1], x.shape)
    return _by_shifts(x, psf), convolve(dx, psf) + convolve(x, dpsf)


def _by_convolution(x: Array, psf: Array) -> Array:
    """Valid convolution by XLA's: a kernel that serves several images is not repeated."""
    lead = jnp.broadcast_shapes(x.shape[:-2], psf.shape[:-2])
    # Axes along which the kernel varies become groups of channels; along the others one
    # kernel serves all, and they become the batch of the convolution.
    varying = [axis for axis, n in enumerate(psf.shape[:-2]) if n > 1]
    shared = [axis for axis in range(len(lead)) if axis not in varying]
    batch = math.prod(lead[axis] for axis in shared)
    groups = math.prod(lead[axis] for axis in varying)
    x = jnp.broadcast_to(x, (*lead, *x.shape[-2:]))
    x = x.transpose(*shared, *varying, -2, -1).reshape(batch, groups, *x.shape[-2:])
    result = lax.conv_general_dilated(
        x,
        # XLA's convolution is a correlation.
        jnp.flip(psf, (-2, -1)).reshape(groups, 1, *psf.shape[-2:]),
        window_strides=(1, 1),
        padding="VALID",
        feature_group_count=groups,
        precision=lax.Precision.HIGHEST,
    )
    order = (*shared, *varying)
    result = result.reshape(*(lead[axis] for axis in order), *result.shape[-2:])
    inverse = [order.index(axis) for axis in range(len(lead))]
    return result.transpose(*inverse, -2, -1)
