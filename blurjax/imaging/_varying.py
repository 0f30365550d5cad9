"""Blur that varies over the image: a Gaussian for each pixel, or a grid of any kernels."""

import functools
import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax._numerics import absolute, concrete, fast_length, working_dtype
from blurjax._typing import Array, ArrayLike, Float
from blurjax.imaging import _boundary
from blurjax.imaging._arrays import as_image
from blurjax.imaging._blur import as_psf, blur

_METHODS = ("exact", "bank")
_SAMPLINGS = ("area", "point")

# Below this sigma the kernel is the delta, as in `psf.gaussian`.
_DELTA = 0.05
# A default size reaches so many sigmas, as SciPy's; a given one that loses more says so.
_REACH, _LOST_MASS = 4, 1e-3
# The sigmas of the bank are even in log(sigma^2 + c), which spreads the error evenly: of c from 0
# to 1 and of even steps in sigma, its logarithm and the variance the best over three photographs.
# Between them the blurs are interpolated in sigma: in the variance the errors are 1.5 to 2 times
# as large.
_KNEE = 0.1
# The bank reaches a little beyond the map, or the end of its range would have half a derivative.
_MARGIN = 0.01


def blur_varying(
    image: ArrayLike,
    sigma_map: ArrayLike,
    *,
    method: str = "exact",
    levels: int = 16,
    size: int | None = None,
    sampling: str = "area",
    boundary: str = "reflect",
    channel_axis: int | None = None,
) -> Array:
    """Blur each pixel by a Gaussian of its own.

        out[p] = sum_q g_{sigma(p)}(p - q) image[q],

    the gather form: every *output* pixel has a kernel `psf.gaussian(sigma_map[p])`, of sum 1, so
    that constants stay. (In the scatter form, every *source* pixel spreads by its own kernel and
    light is kept instead; the two differ where sigma changes within a kernel's width.)

    "exact" sums over the taps, size^2 / 4 passes over the image. "bank" blurs the image uniformly
    at `levels` sigmas and interpolates between the two nearest: its time grows with `levels` and
    hardly with `size`. Its error against "exact" in units of the image, for sigma 0.3 to 3 over
    three photographs of scikit-image (camera, coffee, brick), largest / root mean square:

    | levels | largest | rms |
    |---|---|---|
    | 8 | 0.0065 | 0.0004 |
    | 16 | 0.0015 | 0.0001 |
    | 32 | 0.0004 | 0.00002 |

    One step of 8 bits is 0.0039; from sigma 0.1 on, where blur begins, the largest error at 16
    levels is 0.006. For 640x480 and 25 taps "exact" takes 100 ms on 2 CPU cores and
    "bank" 3 ms a level; 1.1 s and 11 ms a level with both gradients.

    Args:
        image: (..., H, W) floats; with `channel_axis` one more axis. bfloat16 and float16 are
            computed in float32.
        sigma_map: (..., H, W), sigma in pixels at each pixel of the image, >= 0; its leading
            axes broadcast against those of the image (the channel axis not counted). While
            traced, a negative value counts as its magnitude.
        method: "exact" or "bank". Static.
        levels: the number of sigmas in the bank, at least 2, evenly between the least and the
            largest of each map in log(sigma^2 + 0.1). Static.
        size: k, odd, static: the window of all kernels. None takes 4 of the largest sigma to each
            side, as SciPy does, and needs to know the map: under `jit` and `grad` pass a number.
        sampling: "area" or "point", as for `psf.gaussian`. Static.
        boundary: as for `blur`; "valid" returns the pixels whose window lies in the image. Static.
        channel_axis: the axis that holds colours, all blurred alike; None for gray images. Static.

    Returns:
        The blurred image in the dtype of `image`, with the broadcast leading axes; the channel
        axis stays where it was, counted from the end.

    Raises:
        TypeError: the image is not floating point.
        ValueError: shapes that do not fit, concrete sigmas that are negative or not finite, an
            even `size`, no `size` where the map is traced, or a name that is not known.

    Warns:
        UserWarning: if `size` cuts off more than 1e-3 of the widest kernel, where the map is known.

    Gradient:
        "exact": exact in image and sigma_map; it takes the memory of about 6 size images. "bank":
        that of the interpolation, in the memory of a few images; in sigma it is the slope between
        two levels, and takes the levels, which hang on the ends of the map, for fixed. Below sigma
        0.05 (in float32 about 0.1) the kernel is the delta and the derivative in sigma 0.

    Source: Patro, "Blur kernel estimation using deep learning" (the model); the bank is our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> edge = jnp.zeros((16, 64)).at[8:].set(1.0)
        >>> out = imaging.blur_varying(edge, imaging.ramp_map(edge.shape, 0.3, 3.0))
        >>> [round(float(value), 2) for value in out[7, ::21]]
        [0.05, 0.34, 0.41, 0.43]
    """
    boundary = _boundary.canonical(boundary)
    for name, value, known in (("method", method, _METHODS), ("sampling", sampling, _SAMPLINGS)):
        if value not in known:
            raise ValueError(f"{name} is {value!r}; choose {known[0]!r} or {known[1]!r}")
    if levels < 2:
        raise ValueError(f"levels is {levels}; to interpolate takes 2 or more, 16 as a rule")
    image = as_image(image, min_ndim=2 if channel_axis is None else 3)
    planes, axis = _planes(image, channel_axis)
    half = _half_size(sigma_map, size)
    sigma = jnp.asarray(sigma_map).astype(working_dtype(image.dtype))
    if sigma.shape[-2:] != planes.shape[-2:]:
        raise ValueError(
            f"the sigma_map has shape {sigma.shape} and the image {image.shape}; give it a sigma "
            "for each pixel, (..., H, W) without a channel axis"
        )
    if axis is None:
        return _varying(planes, sigma, method, levels, half, sampling, boundary)
    sigma = sigma[..., None, :, :]
    blurred = _varying(planes, sigma, method, levels, half, sampling, boundary)
    return jnp.moveaxis(blurred, -3, axis)


def blur_product(
    image: ArrayLike,
    psfs: ArrayLike,
    weights: ArrayLike,
    *,
    boundary: str = "reflect",
    channel_axis: int | None = None,
) -> Array:
    """Blur by a weighted sum of kernels that changes from pixel to pixel (product-convolution).

        out[p] = sum_m weights[m, p] (psfs[m] * image)[p],

    the gather form: the kernel of an *output* pixel is the mixture of the psfs with the weights
    that it has there. Weights that sum to 1 keep constants. (The scatter form, in which a source
    pixel spreads by the kernel at its own place, weighs before it blurs: the sum over m of
    `blur(weights[m] * image, psfs[m])`.)

    Args:
        image: (..., H, W) floats; with `channel_axis` one more axis. bfloat16 and float16 are
            computed in float32.
        psfs: (..., m, k, k), k odd, nominally of sum 1.
        weights: (..., m, H, W), nominally of sum 1 over m: `grid_weights` for kernels on a grid.
            Leading axes broadcast against those of the psfs and of the image (the channel axis
            not counted).
        boundary: as for `blur`; "valid" returns the pixels whose window lies in the image. Static.
        channel_axis: the axis that holds colours, all blurred alike; None for gray images. Static.

    Returns:
        The blurred image in the dtype of `image`, with the broadcast leading axes; the channel
        axis stays where it was, counted from the end.

    Raises:
        TypeError: the image is not floating point.
        ValueError: what `blur` refuses; psfs and weights of different m; weights of another
            height or width than the image.

    Gradient: exact in image, psfs and weights (the map is linear in each). Its memory does not
        grow with m: the blurs are computed again.

    Source: Escande and Weiss, "Approximation of integral operators using product-convolution
        expansions", 2017.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging, psf
        >>> psfs = psf.defocus(jnp.linspace(1.0, 3.5, 6), size=9)
        >>> weights = imaging.grid_weights(2, 3, (32, 48))
        >>> imaging.blur_product(jnp.ones((32, 48)), psfs, weights).shape
        (32, 48)
    """
    boundary = _boundary.canonical(boundary)
    image = as_image(image, min_ndim=2 if channel_axis is None else 3)
    planes, axis = _planes(image, channel_axis)
    psfs = as_psf(psfs, working_dtype(image.dtype))
    weights = jnp.asarray(weights).astype(psfs.dtype)
    if psfs.ndim < 3 or weights.ndim < 3 or psfs.shape[-3] != weights.shape[-3]:
        raise ValueError(
            f"the psfs have shape {psfs.shape} and the weights {weights.shape}; give m of each, "
            "(..., m, k, k) and (..., m, H, W)"
        )
    if weights.shape[-2:] != planes.shape[-2:]:
        raise ValueError(
            f"the weights have shape {weights.shape} and the image {image.shape}; give weights "
            "for each of its pixels, (..., m, H, W)"
        )
    psfs, weights = jnp.moveaxis(psfs, -3, 0), jnp.moveaxis(weights, -3, 0)
    if axis is None:
        return _product(planes, psfs, weights, boundary)
    psfs, weights = psfs[..., None, :, :], weights[..., None, :, :]
    return jnp.moveaxis(_product(planes, psfs, weights, boundary), -3, axis)


def grid_weights(rows: int, columns: int, shape: tuple[int, int]) -> Float[Array, "m h w"]:
    """Bilinear weights of a grid of kernels, for `blur_product`.

    The image is cut into rows x columns equal cells. Kernel (r, c) is the whole kernel in the
    middle of its cell, at row (r + 1/2) H / rows - 1/2 and column (c + 1/2) W / columns - 1/2
    (pixel centres are whole numbers); between the middles the weights are bilinear, and beyond
    the outermost they are constant.

    Args:
        rows, columns: of the grid, static.
        shape: (H, W) of the image, static.

    Returns:
        (rows * columns, H, W), row by row, of sum 1 over the first axis.

    Raises:
        ValueError: a number that is not positive.

    Gradient: none (there is nothing to differentiate by).

    Source: our choice.

    Example:
        >>> from blurjax import imaging
        >>> print(imaging.grid_weights(1, 2, (1, 8))[0])
        [[1.    1.    0.875 0.625 0.375 0.125 0.    0.   ]]
    """
    if min(rows, columns, *shape) < 1 or len(shape) != 2:
        raise ValueError(
            f"rows, columns and shape are {rows}, {columns} and {shape}; pass positive numbers, "
            "the shape as (height, width)"
        )
    down, across = _hats(rows, shape[0]), _hats(columns, shape[1])
    weights = down[:, None, :, None] * across[None, :, None, :]
    return jnp.asarray(weights.reshape(rows * columns, *shape), dtype=float)


def _hats(count: int, length: int) -> np.ndarray:
    """Linear weights along one axis, (count, length) (host)."""
    place = np.clip((np.arange(length) + 0.5) * (count / length) - 0.5, 0, count - 1)
    return np.maximum(1 - np.abs(place - np.arange(count)[:, None]), 0)


def _planes(image: Array, channel_axis: int | None) -> tuple[Array, int | None]:
    """`image` with its channel axis third from the end, and where it was, from the end."""
    if channel_axis is None:
        return image, None
    from_end = _boundary.channel_from_end(image, channel_axis)
    return jnp.moveaxis(image, from_end, -3), from_end


def _half_size(sigma_map: ArrayLike, size: int | None) -> int:
    """(k - 1) / 2, after checking what can be known of the map."""
    if size is not None and (size < 1 or size % 2 == 0):
        raise ValueError(f"size is {size}; a kernel has an odd size: pass an odd positive number")
    if not concrete(sigma_map):
        if size is None:
            raise ValueError(
                "size is None, but under jit or grad the sigma_map is not known; pass "
                f"size=2 * int({_REACH} * largest_sigma + 0.5) + 1"
            )
        return size // 2
    seen = np.asarray(sigma_map, np.float64)
    if not np.all(np.isfinite(seen)) or np.any(seen < 0):
        raise ValueError(
            f"the sigma_map has values from {seen.min()} to {seen.max()}; sigmas are in pixels "
            "and must be finite and 0 or more"
        )
    widest = float(np.max(seen, initial=0))
    if size is None:
        return int(_REACH * widest + 0.5)
    lost = 1 - math.erf(size / 2 / (math.sqrt(2) * max(widest, _DELTA))) ** 2
    if lost > _LOST_MASS:
        warnings.warn(
            f"size {size} cuts off {lost:.2%} of the widest kernel's mass (the rest is rescaled to "
            f"sum 1); pass size={2 * int(_REACH * widest + 0.5) + 1}, or None",
            stacklevel=3,
        )
    return size // 2


@functools.partial(jax.jit, static_argnames=("method", "levels", "half", "sampling", "boundary"))
def _varying(
    image: Array,
    sigma: Array,
    method: str,
    levels: int,
    half: int,
    sampling: str,
    boundary: str,
) -> Array:
    """`blur_varying` of arrays already checked one by one, for gray images."""
    height, width = image.shape[-2:]
    if boundary == "valid":
        if min(height, width) <= 2 * half:
            raise ValueError(
                f"the image is {height}x{width} and the kernels {2 * half + 1}x{2 * half + 1}, so "
                'no pixel is valid; use a smaller size or another boundary such as "reflect"'
            )
        sigma = sigma[..., half : height - half, half : width - half]
    try:
        lead = jnp.broadcast_shapes(image.shape[:-2], sigma.shape[:-2])
    except ValueError:
        raise ValueError(
            f"the leading axes {image.shape[:-2]} of the image and {sigma.shape[:-2]} of the "
            "sigma_map do not broadcast; make them equal, or 1 where one is to serve all"
        ) from None
    x = _boundary.pad(image.astype(sigma.dtype), half, boundary)
    # Equal ranks: no product below leans on implicit rank promotion.
    x = lax.expand_dims(x, range(len(lead) + 2 - x.ndim))
    sigma = lax.expand_dims(absolute(sigma), range(len(lead) + 2 - sigma.ndim))
    if method == "exact":
        blurred = _by_taps(x, sigma, half, sampling)
    else:
        blurred = _by_bank(x, sigma, levels, half, sampling)
    return blurred.astype(image.dtype)


def _profiles(sigma: Array, half: int, sampling: str) -> Array:
    """Half profiles g(0), ..., g(half) on a new first axis; both halves together sum to 1."""
    sigma = jnp.maximum(sigma, _DELTA)[None]
    distance = jnp.arange(half + 1, dtype=sigma.dtype).reshape(-1, *(1,) * (sigma.ndim - 1))
    scale = 1 / (math.sqrt(2) * sigma)
    if sampling == "area":
        profile = (lax.erfc((distance - 0.5) * scale) - lax.erfc((distance + 0.5) * scale)) / 2
    else:
        profile = jnp.exp(-((distance * scale) ** 2))
    return profile / (2 * jnp.sum(profile, axis=0, keepdims=True) - profile[:1])


def _by_taps(x: Array, sigma: Array, half: int, sampling: str) -> Array:
    """The sum over the taps, each with the weights of all pixels.

    A pixel's kernel is g(i) g(j), and even: pairs of rows are added first, then pairs of columns,
    so that (half + 1)^2 products are left. The rows are checkpointed: backwards, one row of taps
    is kept at a time, not all.
    """
    profile = _profiles(sigma, half, sampling)
    index = jnp.arange(half + 1)

    def pair(y: Array, i: Array, axis: int) -> Array:
        length = y.shape[axis] - 2 * half
        before = lax.dynamic_slice_in_dim(y, half - i, length, axis)
        after = lax.dynamic_slice_in_dim(y, half + i, length, axis)
        return jnp.where(i == 0, before, before + after)

    @jax.checkpoint
    def add_rows(total: Array, row: tuple[Array, Array]) -> tuple[Array, None]:
        i, weight = row
        rows = pair(x, i, x.ndim - 2)

        def add_columns(along: Array, column: tuple[Array, Array]) -> tuple[Array, None]:
            j, weight = column
            return along + weight * pair(rows, j, x.ndim - 1), None

        along, _ = lax.scan(add_columns, jnp.zeros_like(total), (index, profile))
        return total + weight * along, None

    inner = x.shape[-2] - 2 * half, x.shape[-1] - 2 * half
    shape = (*jnp.broadcast_shapes(x.shape[:-2], sigma.shape[:-2]), *inner)
    total, _ = lax.scan(add_rows, jnp.zeros(shape, x.dtype), (index, profile))
    return total


def _by_bank(x: Array, sigma: Array, levels: int, half: int, sampling: str) -> Array:
    """Linear interpolation in sigma between uniform blurs, one level at a time."""
    nodes = _nodes(lax.stop_gradient(sigma), levels)
    height, width = x.shape[-2] - 2 * half, x.shape[-1] - 2 * half
    length = fast_length(x.shape[-2]), fast_length(x.shape[-1])
    spectrum = jnp.fft.rfft2(x, length)
    profile = jnp.moveaxis(_profiles(nodes, half, sampling), 0, -1)
    # A profile is even, so its transform about the centre is real: no shift, and what a
    # circular convolution wraps around stays in the padding.
    down = profile @ _cosines(half, length[0], length[0], x.dtype)
    across = profile @ _cosines(half, length[1], length[1] // 2 + 1, x.dtype)

    # Each pixel climbs from level to level as far as its sigma: the hat functions, as differences.
    steps = nodes[1:] - nodes[:-1]
    nodes = nodes[..., None, None]

    @jax.checkpoint
    def add_level(total: Array, n: Array) -> tuple[Array, None]:
        transfer = down[n][..., :, None] * across[n][..., None, :]
        blurred = jnp.fft.irfft2(spectrum * transfer.astype(spectrum.dtype), length)
        blurred = blurred[..., half : half + height, half : half + width]

        def climbed(m: Array) -> Array:
            m = jnp.clip(m, 0, levels - 2)
            return jnp.clip((sigma - nodes[m]) / steps[m][..., None, None], 0, 1)

        reached = jnp.where(n == 0, 1, climbed(n - 1))
        passed = jnp.where(n == levels - 1, 0, climbed(n))
        return total + (reached - passed) * blurred, None

    shape = (*jnp.broadcast_shapes(x.shape[:-2], sigma.shape[:-2]), height, width)
    total, _ = lax.scan(add_level, jnp.zeros(shape, x.dtype), jnp.arange(levels))
    return total


def _nodes(sigma: Array, levels: int) -> Array:
    """The sigmas of the bank, (levels, ...), from below the least to above the largest."""
    low = jnp.maximum(jnp.min(sigma, axis=(-2, -1)) - _MARGIN, 0)
    high = jnp.max(sigma, axis=(-2, -1)) + _MARGIN
    low, high = jnp.log(low[None] ** 2 + _KNEE), jnp.log(high[None] ** 2 + _KNEE)
    part = jnp.arange(levels, dtype=sigma.dtype).reshape(-1, *(1,) * (low.ndim - 1)) / (levels - 1)
    return jnp.sqrt(jnp.maximum(jnp.exp((1 - part) * low + part * high) - _KNEE, 0))


def _cosines(half: int, length: int, frequencies: int, dtype: jnp.dtype) -> Array:
    """What turns a half profile into its transform, (half + 1, frequencies)."""
    distance, frequency = np.arange(half + 1)[:, None], np.arange(frequencies)[None, :]
    matrix = np.cos(2 * np.pi * distance * frequency / length) * np.where(distance == 0, 1, 2)
    return jnp.asarray(matrix, dtype)


@functools.partial(jax.jit, static_argnames="boundary")
def _product(image: Array, psfs: Array, weights: Array, boundary: str) -> Array:
    """`blur_product` of arrays already checked one by one, m first, for gray images."""
    x = image.astype(psfs.dtype)
    if boundary == "valid":
        half = psfs.shape[-1] // 2
        rows, columns = weights.shape[-2:]
        weights = weights[..., half : max(rows - half, 0), half : max(columns - half, 0)]
    one = jax.eval_shape(lambda x, psf: blur(x, psf, boundary=boundary), x, psfs[0])
    try:
        shape = jnp.broadcast_shapes(one.shape, weights.shape[1:])
    except ValueError:
        raise ValueError(
            f"the leading axes {weights.shape[1:-2]} of the weights do not broadcast against "
            f"{one.shape[:-2]} of image and psfs; make them equal, or 1 where one is to serve all"
        ) from None

    @jax.checkpoint
    def add(total: Array, each: tuple[Array, Array]) -> tuple[Array, None]:
        psf, weight = each
        blurred = jnp.broadcast_to(blur(x, psf, boundary=boundary), shape)
        return total + jnp.broadcast_to(weight, shape) * blurred, None

    total, _ = lax.scan(add, jnp.zeros(shape, x.dtype), (psfs, weights))
    return total.astype(image.dtype)
