"""How close an image is to another one, pixel by pixel and up to a shift.

A blur and a shift cannot be told from a shifted blur: what blind deconvolution returns may be
displaced, and has to be registered before it is compared (`align`).
"""

import functools
import math
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax._numerics import working_dtype
from blurjax._typing import Array, ArrayLike, Float

# The two small numbers of SSIM, in units of the range.
_K1, _K2 = 0.01, 0.03


class Alignment(NamedTuple):
    """The displacement of an image against its reference."""

    shift: Float[Array, "*batch 2"]
    """(..., 2) rows and columns, in pixels: what the reference shows at (r, c) the image shows at
    (r, c) + shift."""
    ssd: Float[Array, "*batch"]
    """(...,) the sum of squared differences that is left."""


def psnr(
    image: Float[ArrayLike, "..."],
    reference: Float[ArrayLike, "..."],
    *,
    data_range: float = 1.0,
    channel_axis: int | None = None,
) -> Float[Array, "..."]:
    r"""Peak signal-to-noise ratio: how far the squared error is below the squared range.

        PSNR = 10 log10(data_range^2 / mean((image - reference)^2))

    Args:
        image: (..., H, W) floats; with `channel_axis` one more axis.
        reference: the same rows, columns and channels; leading axes broadcast.
        data_range: from black to white, > 0. Static.
        channel_axis: the axis that holds colours, over which the mean goes too; None for gray
            images. Static.

    Returns:
        (...,) in dB, in the dtype of `image`; infinite for equal images.

    Raises:
        TypeError: an image is not floating point.
        ValueError: shapes or axes that do not fit, or a range that is not positive.

    Gradient: exact; 0 for equal images.

    Source: elementary; `skimage.metrics.peak_signal_noise_ratio`.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> image = jnp.zeros((4, 4))
        >>> print(f"{metrics.psnr(image + 0.1, image):.1f} dB")
        20.0 dB
    """
    _check_range(data_range)
    a, b, dtype = _planes(image, reference, channel_axis)
    return _decibels(jnp.mean((a - b) ** 2, axis=(-3, -2, -1)), data_range).astype(dtype)


def ssim(
    image: Float[ArrayLike, "..."],
    reference: Float[ArrayLike, "..."],
    *,
    data_range: float = 1.0,
    window: str = "gaussian",
    sigma: float = 1.5,
    truncate: float = 3.5,
    size: int = 7,
    channel_axis: int | None = None,
) -> Float[Array, "..."]:
    r"""Structural similarity: how alike are local mean, contrast and pattern.

        SSIM = mean of (2 m_x m_y + C1) (2 v_xy + C2) / ((m_x^2 + m_y^2 + C1) (v_x + v_y + C2))

    with the means m, variances and covariance v in a window around each pixel, and
    C1 = (0.01 data_range)^2, C2 = (0.03 data_range)^2. The mean goes over the pixels whose window
    lies inside the image, and over the channels.

    Args:
        image: (..., H, W) floats; with `channel_axis` one more axis.
        reference: the same rows, columns and channels; leading axes broadcast.
        data_range: from black to white, > 0. Static.
        window: "gaussian", with the variances of a population, or "uniform", with those of a
            sample: the choice of scikit-image's `gaussian_weights=True,
            use_sample_covariance=False`, and its defaults. Static.
        sigma: of the Gaussian window, in pixels, > 0. Static.
        truncate: the radius of the Gaussian window is int(truncate * sigma + 0.5): 5 pixels, that
            is 11x11, as published. Static.
        size: of the uniform window, in pixels, odd, 3 or more. Static.
        channel_axis: the axis that holds colours, each of which is compared by itself; None for
            gray images. Static.

    Returns:
        (...,) in [-1, 1], 1 for equal images, in the dtype of `image`.

    Raises:
        TypeError: an image is not floating point.
        ValueError: shapes or axes that do not fit, an image smaller than the window, an unknown
            window, or a number outside its range.

    Gradient: exact.

    Source: Wang et al., IEEE TIP 2004; equal to `skimage.metrics.structural_similarity`.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> ramp = jnp.linspace(0, 1, 16) * jnp.ones((16, 1))
        >>> for other in (ramp, 0.5 * ramp, ramp[:, ::-1]):
        ...     print(f"{metrics.ssim(ramp, other):.2f}")
        1.00
        0.65
        -0.83
    """
    _check_range(data_range)
    weights = _window(window, sigma, truncate, size)
    a, b, dtype = _planes(image, reference, channel_axis)
    if min(a.shape[-2:]) < len(weights):
        raise ValueError(
            f"the image has {a.shape[-2]} rows and {a.shape[-1]} columns, but SSIM needs a whole "
            f"window of {len(weights)} pixels; give a larger image or a smaller window"
        )
    # Variances do not depend on the origin; near the values they lose fewer digits to rounding.
    at_a, at_b = (jnp.mean(x, axis=(-2, -1), keepdims=True) for x in (a, b))
    a, b = a - at_a, b - at_b
    maps = jnp.stack([a, b, a * a, b * b, a * b])
    mean_a, mean_b, square_a, square_b, product = _filter_inside(maps, weights)
    # The unbiased variance of as many samples as the window has pixels.
    count = len(weights) ** 2
    unbiased = count / (count - 1) if window == "uniform" else 1.0
    variance = unbiased * (square_a + square_b - mean_a**2 - mean_b**2)
    covariance = unbiased * (product - mean_a * mean_b)
    mean_a, mean_b = mean_a + at_a, mean_b + at_b
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance + c2)
    return jnp.mean(luminance * structure, axis=(-3, -2, -1)).astype(dtype)


def align(
    image: Float[ArrayLike, "..."],
    reference: Float[ArrayLike, "..."],
    *,
    crop: int = 15,
    max_shift: float = 5.0,
    step: float = 0.25,
    channel_axis: int | None = None,
) -> Alignment:
    """The shift of a grid at which an image is closest to a reference.

    Compared is the reference without `crop` pixels on each side, with the image as it is between
    its pixels, by bilinear interpolation. Every shift of the grid is tried; of equally good ones
    (to rounding) the smallest counts, and shifts onto a NaN never do.

    The interpolated image is a mean of four, with weights w; its squared distance from the
    reference is the mean of their squared distances less half the mean of the squared distances
    between them. So all shifts of the grid cost no more than the integer ones.

    Args:
        image: (..., H, W) floats; with `channel_axis` one more axis.
        reference: the same rows, columns and channels; leading axes broadcast.
        crop: pixels of the reference to leave out on each side, at least `max_shift`. Static.
        max_shift: largest shift of rows and of columns, in pixels, a whole number of steps.
            Static.
        step: of the grid, in pixels, > 0. Static.
        channel_axis: the axis that holds colours, which move together; None for gray images.
            Static.

    Returns:
        An `Alignment`, in the dtype of `image`; the sum goes over pixels and channels.

    Raises:
        TypeError: an image is not floating point.
        ValueError: shapes or axes that do not fit, or a number outside its range.

    Gradient: of `ssd` exact with the shift held; of `shift` none.

    Source: Levin et al., "Understanding and evaluating blind deconvolution algorithms", CVPR
        2009, `comp_upto_shift` of their code.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> reference = jnp.zeros((16, 16)).at[7, 8].set(1.0)
        >>> image = jnp.roll(reference, (2, -1), (0, 1))
        >>> print(metrics.align(image, reference, crop=5, max_shift=3).shift)
        [ 2. -1.]
    """
    shifts = _shifts(crop, max_shift, step)
    a, b, dtype = _planes(image, reference, channel_axis)
    height, width = a.shape[-2:]
    if min(height, width) <= 2 * crop:
        raise ValueError(
            f"crop={crop} leaves nothing of {height} rows and {width} columns; choose a smaller one"
        )
    margin = math.ceil(max_shift)
    reach = crop - margin
    a = a[..., reach : height - reach, reach : width - reach]
    b = b[..., crop : height - crop, crop : width - crop]
    lead = a.shape[:-3]
    shift, ssd = _register_each(
        a.reshape((-1, *a.shape[-3:])), b.reshape((-1, *b.shape[-3:])), margin, tuple(shifts)
    )
    return Alignment(shift.reshape((*lead, 2)).astype(dtype), ssd.reshape(lead).astype(dtype))


def aligned_psnr(
    image: Float[ArrayLike, "..."],
    reference: Float[ArrayLike, "..."],
    *,
    crop: int = 15,
    max_shift: float = 5.0,
    step: float = 0.25,
    data_range: float = 1.0,
    channel_axis: int | None = None,
) -> Float[Array, "..."]:
    """PSNR without the border, after the image was shifted to where it is largest.

    Args:
        image: (..., H, W) floats; with `channel_axis` one more axis.
        reference: the same rows, columns and channels; leading axes broadcast.
        crop: pixels of the reference to leave out on each side, at least `max_shift`. Static.
        max_shift: largest shift of rows and of columns, in pixels, a whole number of steps.
            Static.
        step: of the grid of shifts, in pixels, > 0. Static.
        data_range: from black to white, > 0. Static.
        channel_axis: the axis that holds colours; None for gray images. Static.

    Returns:
        (...,) in dB, in the dtype of `image`; infinite if nothing differs.

    Raises:
        TypeError: an image is not floating point.
        ValueError: shapes or axes that do not fit, or a number outside its range.

    Gradient: exact with the shift held; 0 if nothing differs.

    Source: Levin et al., CVPR 2009, see `align`.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> reference = jnp.zeros((16, 16)).at[7, 8].set(1.0)
        >>> image = jnp.roll(reference, 2, 0) + 0.1
        >>> for score in (metrics.psnr, metrics.aligned_psnr):
        ...     options = {} if score is metrics.psnr else {"crop": 5}
        ...     print(f"{score(image, reference, **options):.1f} dB")
        17.5 dB
        20.0 dB
    """
    _check_range(data_range)
    ssd = align(
        image, reference, crop=crop, max_shift=max_shift, step=step, channel_axis=channel_axis
    ).ssd
    # What `align` summed over; its shapes are checked.
    shape = list(jnp.shape(image))
    channels = 1 if channel_axis is None else shape.pop(channel_axis)
    count = channels * math.prod(n - 2 * crop for n in shape[-2:])
    wide = ssd.astype(working_dtype(ssd.dtype))
    return _decibels(wide / count, data_range).astype(ssd.dtype)


def error_ratio(
    estimate: Float[ArrayLike, "..."],
    reference: Float[ArrayLike, "..."],
    with_true_kernel: Float[ArrayLike, "..."],
    *,
    crop: int = 15,
    max_shift: float = 5.0,
    step: float = 0.25,
    channel_axis: int | None = None,
) -> Float[Array, "..."]:
    """How much larger the error of a blind deconvolution is than with the true kernel.

    The sum of squared differences from the reference of the one over that of the other, both
    registered as `align` does. It depends on the non-blind method: say which made
    `with_true_kernel`, and use the same for `estimate`.

    Args:
        estimate: (..., H, W) floats, deconvolved with the estimated kernel; with `channel_axis`
            one more axis.
        reference: the sharp image: the same rows, columns and channels; leading axes broadcast.
        with_true_kernel: likewise, deconvolved with the true kernel.
        crop: pixels of the reference to leave out on each side, at least `max_shift`. Static.
        max_shift: largest shift of rows and of columns, in pixels, a whole number of steps.
            Static.
        step: of the grid of shifts, in pixels, > 0. Static.
        channel_axis: the axis that holds colours; None for gray images. Static.

    Returns:
        (...,), 0 or more, in the dtype of `estimate`: below 2 or 3 the eye sees little
        difference. Infinite or NaN if `with_true_kernel` has no error.

    Raises:
        TypeError: an image is not floating point.
        ValueError: shapes or axes that do not fit, or a number outside its range.

    Gradient: exact with the shifts held.

    Source: Levin et al., CVPR 2009.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import metrics
        >>> sharp = jnp.zeros((16, 16)).at[7, 8].set(1.0)
        >>> print(f"{metrics.error_ratio(sharp + 0.2, sharp, sharp + 0.1, crop=5):.1f}")
        4.0
    """
    ours, best = (
        align(x, reference, crop=crop, max_shift=max_shift, step=step, channel_axis=channel_axis)
        for x in (estimate, with_true_kernel)
    )
    lead = np.broadcast_shapes(ours.ssd.shape, best.ssd.shape)
    above = jnp.broadcast_to(ours.ssd, lead)
    return above / jnp.broadcast_to(best.ssd, lead).astype(above.dtype)


def _check_range(data_range: float) -> None:
    if not 0 < data_range < math.inf:
        raise ValueError(
            f"data_range={data_range}, but white is brighter than black; give white less black, "
            "a finite number above 0"
        )


def _planes(
    image: ArrayLike, reference: ArrayLike, channel_axis: int | None
) -> tuple[Array, Array, jnp.dtype]:
    """Both as (..., C, H, W) in one dtype to compute in, and the dtype of the answer."""
    pair = [jnp.asarray(image), jnp.asarray(reference)]
    names = ("the image", "the reference")
    least = 2 if channel_axis is None else 3
    for i, name in enumerate(names):
        array = pair[i]
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(
                f"{name} has dtype {array.dtype}, but images are floating point; convert it "
                "first, for 8 bits by image.astype(jnp.float32) / 255"
            )
        if array.ndim < least:
            raise ValueError(
                f"{name} has shape {array.shape}, but needs at least {least} axes; add the missing "
                "axes"
            )
        if channel_axis is None:
            pair[i] = array[..., None, :, :]
        elif -array.ndim <= channel_axis < array.ndim:
            pair[i] = jnp.moveaxis(array, channel_axis, -3)
        else:
            raise ValueError(
                f"channel_axis={channel_axis} is no axis of {name} of shape {array.shape}; choose "
                f"one from {-array.ndim} to {array.ndim - 1}"
            )
    a, b = pair
    if a.shape[-3:] != b.shape[-3:] or a.size == 0:
        raise ValueError(
            f"the image is {jnp.shape(image)}, the reference {jnp.shape(reference)}; pass one "
            "pixel, at least, of each for every pixel of the other"
        )
    shape = np.broadcast_shapes(a.shape, b.shape)
    working = working_dtype(a.dtype)
    one, other = (jnp.broadcast_to(x, shape).astype(working) for x in (a, b))
    return one, other, a.dtype


def _decibels(mean_square: Array, data_range: float) -> Array:
    differs = mean_square != 0
    safe = jnp.where(differs, mean_square, 1)
    level = 20 * math.log10(data_range) - 10 * jnp.log10(safe)
    return jnp.where(differs, level, jnp.inf)


def _window(window: str, sigma: float, truncate: float, size: int) -> np.ndarray:
    """The weights of SSIM's window along one axis, of sum 1."""
    if window == "uniform":
        if size < 3 or size % 2 == 0:
            raise ValueError(f"size is {size}; a window around a pixel is odd, 3 or more")
        return np.full(size, 1 / size)
    if window != "gaussian":
        raise ValueError(f"window={window!r} is not known; choose 'gaussian' or 'uniform'")
    if not (0 < sigma < math.inf and 0 < truncate < math.inf):
        raise ValueError(f"sigma={sigma}, truncate={truncate}; give finite numbers above 0")
    radius = int(truncate * sigma + 0.5)
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return bell / bell.sum()


def _filter_inside(image: Array, weights: np.ndarray) -> Array:
    """Correlation along both last axes, where all weights fall inside."""
    for axis in (-2, -1):
        count = image.shape[axis] - len(weights) + 1
        parts = (lax.slice_in_dim(image, i, i + count, axis=axis) for i in range(len(weights)))
        terms = [float(w) * part for w, part in zip(weights, parts, strict=True)]
        image = functools.reduce(operator.add, terms)
    return image


def _shifts(crop: int, max_shift: float, step: float) -> np.ndarray:
    """The shifts of the grid along one axis."""
    if not (0 < step < math.inf and 0 <= max_shift < math.inf):
        raise ValueError(
            f"step={step}, max_shift={max_shift}; a grid needs a step above 0 and a largest shift "
            "of 0 or more, both finite"
        )
    count = round(max_shift / step)
    if not math.isclose(count * step, max_shift, rel_tol=1e-9):
        raise ValueError(
            f"max_shift={max_shift} is no whole number of steps of {step}; choose a multiple"
        )
    if crop < max_shift:
        raise ValueError(
            f"crop={crop} is less than max_shift={max_shift}, so that the shifted image does not "
            "cover the reference; crop more or shift less"
        )
    return np.arange(-count, count + 1) * (max_shift / count if count else 0.0)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _register_each(
    images: Array, references: Array, margin: int, shifts: tuple[float, ...]
) -> tuple[Array, Array]:
    return jax.vmap(lambda x, y: _register(x, y, margin, np.array(shifts)))(images, references)


def _register(
    image: Array, reference: Array, margin: int, shifts: np.ndarray
) -> tuple[Array, Array]:
    """The best shift and its sum of squares: (C, h + 2 margin, w + 2 margin) against (C, h, w)."""
    # The pixels before and after each shift. One more behind the last, of weight 0, lets every
    # shift have both.
    before = np.floor(shifts).astype(int)
    share = shifts - before
    before = before + margin
    image = jnp.pad(image, [(0, 0), (0, 1), (0, 1)], mode="edge")
    all_ssd = _all_ssd(
        lax.stop_gradient(image), lax.stop_gradient(reference), margin, before, share
    )
    # By rising distance, to take the first of what is least but for rounding.
    rows, columns = (grid.ravel() for grid in np.indices(all_ssd.shape))
    order = np.argsort(shifts[rows] ** 2 + shifts[columns] ** 2, kind="stable")
    by_distance = all_ssd.ravel()[order]
    least = jnp.nanmin(by_distance)
    nearly = by_distance <= least + 16 * jnp.finfo(least.dtype).eps * jnp.abs(least)
    best = jnp.asarray(order)[jnp.argmax(nearly)]
    row, column = best // len(shifts), best % len(shifts)

    # Once more from the pixels, without the rounding of sums that nearly cancel.
    place, part, shift = (
        jnp.asarray(x if x is before else x.astype(image.dtype)) for x in (before, share, shifts)
    )
    channels, height, width = reference.shape
    near = lax.dynamic_slice(
        image, (0, place[row], place[column]), (channels, height + 1, width + 1)
    )
    near = near[:, :-1] + part[row] * (near[:, 1:] - near[:, :-1])
    near = near[:, :, :-1] + part[column] * (near[:, :, 1:] - near[:, :, :-1])
    return jnp.stack([shift[row], shift[column]]), jnp.sum((near - reference) ** 2)


def _all_ssd(
    image: Array, reference: Array, margin: int, before: np.ndarray, share: np.ndarray
) -> Array:
    """The sums of squared differences at all pairs of shifts, see `align`."""
    height, width = reference.shape[1:]
    count = 2 * margin + 1

    def at(place: Array) -> Array:
        window = lax.dynamic_slice(image, (0, place // count, place % count), reference.shape)
        return jnp.sum((window - reference) ** 2)

    whole = lax.map(at, jnp.arange(count**2)).reshape(count, count)

    def over_window(squares: Array) -> Array:
        """Sums over the window of the reference at each integer shift."""
        down, across = (
            np.tri(count, n + count - 1, n - 1) - np.tri(count, n + count - 1, -1)
            for n in (height, width)
        )
        plane = jnp.sum(squares, axis=0)
        return jnp.linalg.multi_dot(
            [jnp.asarray(down, plane.dtype), plane, jnp.asarray(across.T, plane.dtype)],
            precision="highest",
        )

    here, below, right, across = (
        image[:, :-1, :-1], image[:, 1:, :-1], image[:, :-1, 1:], image[:, 1:, 1:]
    )  # fmt: skip
    whole, to_below, to_right, falling, rising = (
        jnp.pad(x, (0, 1), mode="edge")
        for x in (
            whole,
            *(
                over_window((x - y) ** 2)
                for x, y in ((here, below), (here, right), (here, across), (below, right))
            ),
        )
    )

    def corner(sums: Array, i: int, j: int) -> Array:
        return sums[np.ix_(before + i, before + j)]

    part = jnp.asarray(share, image.dtype)
    one = {0: 1 - part, 1: part}
    weight = {(i, j): one[i][:, None] * one[j][None] for i in (0, 1) for j in (0, 1)}
    between = (
        weight[0, 0] * weight[1, 0] * corner(to_below, 0, 0)
        + weight[0, 1] * weight[1, 1] * corner(to_below, 0, 1)
        + weight[0, 0] * weight[0, 1] * corner(to_right, 0, 0)
        + weight[1, 0] * weight[1, 1] * corner(to_right, 1, 0)
        + weight[0, 0] * weight[1, 1] * corner(falling, 0, 0)
        + weight[0, 1] * weight[1, 0] * corner(rising, 0, 0)
    )
    return sum(w * corner(whole, i, j) for (i, j), w in weight.items()) - between
