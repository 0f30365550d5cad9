"""What lies outside the image: the boundary conditions by name."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from blurjax._numerics import working_dtype
from blurjax._typing import Array, ArrayLike
from blurjax.imaging._arrays import as_image

# Our names are SciPy's. jnp.pad calls SciPy's "reflect" (d c b a | a b c d) "symmetric"
# and SciPy's "mirror" (d c b | a b c d) "reflect".
_PAD_MODES = {
    "reflect": "symmetric",
    "mirror": "reflect",
    "nearest": "edge",
    "wrap": "wrap",
    "constant": "constant",
}
_ALIASES = {"edge": "nearest", "circular": "wrap"}

BOUNDARIES = (*_PAD_MODES, "smooth", "valid")


def canonical(boundary: str) -> str:
    """The name in `BOUNDARIES` of `boundary`, which may be an alias.

    Raises:
        ValueError: there is no such boundary.
    """
    name = _ALIASES.get(boundary, boundary)
    if name not in BOUNDARIES:
        raise ValueError(
            f"boundary={boundary!r} is not known; choose one of "
            f"{', '.join(map(repr, (*BOUNDARIES, *_ALIASES)))}"
        )
    return name


def pad(
    image: ArrayLike,
    width: int | tuple[int | tuple[int, int], int | tuple[int, int]],
    boundary: str = "reflect",
    *,
    channel_axis: int | None = None,
) -> Array:
    """Extend an image on every side by what `blur` sees outside it.

    The boundaries are those of `blur`, under SciPy's names. Where the width exceeds the image
    the rule is applied again and again, as in SciPy.

    "smooth" makes the padded image periodic: what is added on the right runs on into what is
    added on the left, so that a circular convolution, or a deconvolution by FFT, meets no jump
    at the border nor where it wraps around. The added values are harmonic (each is the mean of
    its four neighbours, in the strips beside the image and in the corner between the strips);
    hence they stay between the least and the greatest value on the border of the image.

    Args:
        image: (..., H, W) floats, any range; with `channel_axis` one more axis.
        width: pixels to add on each of the four sides, >= 0: one number, or one for the rows
            (above and below) and one for the columns (left and right), each of which may be a
            pair (above, below) or (left, right). Static.
        boundary: "reflect", "mirror", "nearest" (or "edge"), "wrap" (or "circular"),
            "constant" (zeros), "smooth", or "valid", which adds nothing. Static.
        channel_axis: the axis of `image` that holds colours; None for gray images. Static.

    Returns:
        (..., H + 2 width, W + 2 width) in the dtype of `image`, which is its centre (or, of
        uneven pairs, H + above + below, W + left + right); the channel axis stays where it was.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the width is negative or no integer, or a name is not known.

    Gradient: exact (the map is linear). A pixel off the border of the image has no influence on
        "smooth", "nearest" and "constant" padding.

    Source: "smooth" after Liu and Jia, "Reducing boundary artifacts in image deconvolution",
        ICIP 2008: the Laplace equation in the strips beside the image, then in the corner
        between them. Ours has free ends of the strips in place of linear ramps, and a closed
        form for each frequency along a strip in place of a two-dimensional sine transform.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> row = jnp.array([[0.0, 4.0, 8.0]])
        >>> print(imaging.pad(row, (0, 2), boundary="wrap"))
        [[4. 8. 0. 4. 8. 0. 4.]]
        >>> print(imaging.pad(row, (0, 2), boundary="smooth").round(1))
        [[3.2 1.6 0.  4.  8.  6.4 4.8]]
    """
    boundary = canonical(boundary)
    rows, columns = _pairs(width)
    image = as_image(image, min_ndim=2 if channel_axis is None else 3)
    if channel_axis is not None:
        axis = channel_from_end(image, channel_axis)
        return jnp.moveaxis(pad(jnp.moveaxis(image, axis, -3), (rows, columns), boundary), -3, axis)
    if boundary == "valid" or rows == columns == (0, 0):
        return image
    if boundary == "smooth":
        working = image.astype(working_dtype(image.dtype))
        return _pad_smoothly(working, rows, columns).astype(image.dtype)
    lead = [(0, 0)] * (image.ndim - 2)
    return jnp.pad(image, [*lead, rows, columns], mode=_PAD_MODES[boundary])


def _pairs(width: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """(above, below), (left, right)."""
    both = width if isinstance(width, tuple) else (width, width)
    pairs = [side if isinstance(side, tuple) else (side, side) for side in both]
    numbers = [n for pair in pairs for n in pair]
    whole = all(isinstance(n, int | np.integer) and n >= 0 for n in numbers)
    if len(pairs) != 2 or len(numbers) != 4 or not whole:
        raise ValueError(
            f"width={width!r}, but one adds a whole number of pixels, 0 or more; give an int, or "
            "one for the rows and one for the columns"
        )
    above, below, left, right = map(int, numbers)
    return (above, below), (left, right)


def channel_from_end(image: Array, channel_axis: int) -> int:
    """`channel_axis` counted from the end, where added leading axes do not move it.

    Raises:
        ValueError: `image` has no such axis.
    """
    if not -image.ndim <= channel_axis < image.ndim:
        raise ValueError(
            f"channel_axis={channel_axis} is no axis of an image of shape {image.shape}; "
            f"choose one from {-image.ndim} to {image.ndim - 1}"
        )
    return channel_axis if channel_axis < 0 else channel_axis - image.ndim


@functools.partial(jax.jit, static_argnames=("rows", "columns"))
def _pad_smoothly(image: Array, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
    """The smooth extension, see `pad`."""
    # On the torus there is one gap below the image, one beside it, and a corner:
    #     image  beside
    #     below  corner
    below = _fill(image[..., -1, :], image[..., 0, :], sum(rows), free=True)
    beside = _fill(image[..., :, -1], image[..., :, 0], sum(columns), free=True).mT
    # All four sides of the corner are given: the sum of two solutions, each of which has two
    # of them and is 0 on the others.
    corner = _fill(beside[..., -1, :], beside[..., 0, :], sum(rows), free=False)
    corner += _fill(below[..., :, -1], below[..., :, 0], sum(columns), free=False).mT
    torus = jnp.block([[image, beside], [below, corner]])
    return jnp.roll(torus, (rows[0], columns[0]), (-2, -1))


def _fill(first: Array, last: Array, n: int, *, free: bool) -> Array:
    """The harmonic function on n lines between two given ones.

    The ends of the lines are free (no change across them), or else 0 lies beyond them: the
    even and the odd periodic continuation of the lines. Along a periodic line a wave of
    frequency w stays a wave, and the mean-of-four-neighbours rule makes its amplitude a
    combination of exp(+-m t) across the lines, with cosh m = 2 - cos w.

    Args:
        first, last: (..., L), the lines before and after.

    Returns:
        (..., n, L).
    """
    size = first.shape[-1]
    if n == 0 or size == 0:
        return jnp.zeros((*first.shape[:-1], n, size), first.dtype)

    def spectrum(line: Array) -> Array:
        if free:
            line = jnp.concatenate([line, line[..., ::-1]], -1)
        else:
            gap = jnp.zeros_like(line[..., :1])
            line = jnp.concatenate([gap, line, gap, -line[..., ::-1]], -1)
        return jnp.fft.rfft(line)[..., None, :]

    first, last = spectrum(first), spectrum(last)
    period = 2 * size + (0 if free else 2)
    # A constant of the shape: computed on the host, for XLA compiles it slowly.
    share = _shares(n, period).reshape((1,) * (first.ndim - 2) + (n, -1))
    waves = first * share.astype(first.dtype) + last * share[..., ::-1, :].astype(last.dtype)
    start = 0 if free else 1
    return jnp.fft.irfft(waves, period)[..., start : start + size]


def _shares(n: int, period: int) -> np.ndarray:
    """What is left of each wave of the line before, on each of n lines: (n, period // 2 + 1)."""
    frequency = np.arange(period // 2 + 1) * (2 * np.pi / period)
    # cosh m = 2 - cos w, without the loss of digits at small w.
    m = 2 * np.arcsinh(np.sin(frequency[1:] / 2))
    to_last = np.arange(n, 0, -1)[:, None]
    # sinh(m (n + 1 - t)) / sinh(m (n + 1)) without overflow.
    decay = np.exp(-m * (n + 1 - to_last))
    share = decay * np.expm1(-2 * m * to_last) / np.expm1(-2 * m * (n + 1))
    # The limit at frequency 0: linear.
    return np.concatenate([to_last / (n + 1), share], -1)
