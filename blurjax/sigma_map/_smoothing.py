"""Sigma maps made smoother, and carried into places that do not tell their blur."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from blurjax._numerics import working_dtype
from blurjax._typing import Array, ArrayLike, Bool, Float

# Of the explicit scheme for the five-point Laplacian: beyond it the finest checkerboard grows.
_STABLE = 0.25
# Unknowns of the linear system behind `fill`, at most: about half a second on one core.
_UNKNOWNS = 40_000
# Nobody knows a sigma better than this, in pixels; a spread of 0 must not outweigh all else.
_LEAST_SPREAD = 0.02


@jax.jit
def _diffuse(sigma: Array, decay: Array) -> Array:
    axes = (-2, -1)
    waves = jax.scipy.fft.dctn(sigma, axes=axes, norm="ortho")
    return jax.scipy.fft.idctn(waves * decay, axes=axes, norm="ortho")


def _decay(shape: tuple[int, ...], iterations: int, step: float) -> np.ndarray:
    """What is left of each cosine, the eigenvectors of the Laplacian with a repeated border."""
    rows, columns = (2 * np.cos(np.pi * np.arange(n) / n) - 2 for n in shape)
    once = 1 + step * (rows[:, None] + columns[None, :])
    return np.asarray(np.sign(once) ** iterations * np.abs(once) ** iterations)


def heat_flow(
    sigma: Float[ArrayLike, "*batch h w"], *, iterations: int, step: float = 0.02
) -> Float[Array, "*batch h w"]:
    """A map after some time of heat conduction: smoothing that knows no edges.

    u <- u + step * Laplacian(u), `iterations` times: five points, nothing flows over the border.
    Computed all at once: each cosine of the map (DCT-II) loses the power of its own factor.
    It is nearly a Gaussian blur of standard deviation sqrt(2 step iterations) pixels, and keeps
    the map's mean.

    Args:
        sigma: (..., H, W), any range and unit.
        iterations: how often, 0 or more; the time does not grow with it. Static.
        step: of time, in squared pixels, from 0 to 0.25, where the scheme is stable. Static.

    Returns:
        (..., H, W), within the range (but for rounding) and in the dtype of `sigma`.

    Raises:
        ValueError: `iterations` or `step` out of range.

    Gradient: exact (the map is linear).

    Source: our choice. The published maps are shown after "smoothing iterations", which are in no
        version of their code; 12 000 means of 3x3 pixels, say, would have erased them.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import sigma_map
        >>> flowed = sigma_map.heat_flow(jnp.array([[0.0, 0.0, 4.0]]), iterations=1, step=0.25)
        >>> print(flowed.round(2) + 0.0)
        [[0. 1. 3.]]
    """
    if iterations < 0 or iterations != int(iterations):
        raise ValueError(f"iterations is {iterations}; pass a whole number, 0 or more")
    if not 0 <= step <= _STABLE:
        raise ValueError(
            f"step is {step}; beyond {_STABLE} the flow is unstable: take at most that, and more "
            "iterations"
        )
    values = jnp.asarray(sigma)
    working = values.astype(working_dtype(values.dtype))
    decay = jnp.asarray(_decay(values.shape[-2:], int(iterations), step), working.dtype)
    flowed = _diffuse(working, decay.reshape((1,) * (working.ndim - 2) + decay.shape))
    return flowed.astype(values.dtype)


def median(sigma: Float[ArrayLike, "*batch h w"], *, size: int = 9) -> Float[np.ndarray, "..."]:
    """The median of the square around each pixel (host): it removes specks and keeps steps.

    Beyond the border the nearest pixel is repeated.

    Args:
        sigma: (..., H, W), finite.
        size: side of the square in pixels, odd.

    Returns:
        (..., H, W), in the dtype of `sigma`.

    Raises:
        ValueError: an even or negative size, or values that are not finite.

    Source: `scipy.ndimage.median_filter`; the size is our choice.

    Example:
        >>> import numpy as np
        >>> from blurjax import sigma_map
        >>> print(sigma_map.median(np.array([[1.0, 9.0, 1.0, 1.0, 2.0]]), size=3))
        [[1. 1. 1. 1. 2.]]
    """
    from scipy.ndimage import median_filter

    if size < 1 or size % 2 == 0:
        raise ValueError(f"size is {size}; a square with a pixel in its middle has an odd side")
    values = np.asarray(sigma)
    if not np.all(np.isfinite(values)):
        raise ValueError("sigma has values that are not finite; fill them before the median")
    return np.asarray(median_filter(values, size=size, mode="nearest", axes=(-2, -1)))


def _sliding_sum(x: Array, radius: int, axis: int) -> Array:
    """Sum over 2 radius + 1 neighbours along an axis, zeros beyond the border.

    Sums of 1, 2, 4, ... neighbours are put together: as cheap as running sums for radii in use,
    and without their loss of digits, which a variance in float32 would not survive.
    """
    pads = [(0, 0)] * x.ndim
    pads[axis] = (radius, radius)
    power, taken, length = jnp.pad(x, pads), 0, 2 * radius + 1
    count = x.shape[axis]
    total = jnp.zeros_like(x)
    width = 1
    while True:
        if length & width:
            total = total + jax.lax.slice_in_dim(power, taken, taken + count, axis=axis)
            taken += width
        if 2 * width > length:
            return total
        # Position i of `power` holds the sum from i to i + width - 1.
        size = power.shape[axis] - width
        power = jax.lax.slice_in_dim(power, 0, size, axis=axis) + jax.lax.slice_in_dim(
            power, width, width + size, axis=axis
        )
        width *= 2


def _box_sum(x: Array, radius: int) -> Array:
    return _sliding_sum(_sliding_sum(x, radius, x.ndim - 2), radius, x.ndim - 1)


@functools.partial(jax.jit, static_argnames=("radius",))
def _guided(sigma: Array, guide: Array, weight: Array, epsilon: Array, radius: int) -> Array:
    # Not by 0 times the value: what has no weight may be NaN.
    p = jnp.where(weight > 0, sigma, 0)
    total = _box_sum(weight, radius)
    heard = total > 0
    divisor = jnp.where(heard, total, 1)

    def mean(x: Array) -> Array:
        return _box_sum(weight * x, radius) / divisor

    mean_guide, mean_p = mean(guide), mean(p)
    variance = mean(guide * guide) - mean_guide * mean_guide
    covariance = mean(guide * p) - mean_guide * mean_p
    slope = covariance / (variance + epsilon)
    offset = mean_p - slope * mean_guide
    # A window that heard little has little to say about the pixels in it. With equal weights
    # everywhere this is 1, and the means below are He's plain ones.
    voice = total / _box_sum(jnp.ones_like(weight), radius)
    voices = _box_sum(voice, radius)
    known = voices > 0
    divisor_of_voices = jnp.where(known, voices, 1)
    filtered = (
        _box_sum(voice * slope, radius) * guide + _box_sum(voice * offset, radius)
    ) / divisor_of_voices
    return jnp.where(known, filtered, sigma)


def guided(
    sigma: Float[ArrayLike, "*batch h w"],
    guide: Float[ArrayLike, "*#batch h w"],
    *,
    radius: int = 8,
    epsilon: float = 1e-3,
    weight: Float[ArrayLike, "*#batch h w"] | None = None,
) -> Float[Array, "*batch h w"]:
    """A map smoothed except where the photograph has edges: the guided filter.

    In each window of 2 radius + 1 pixels the map is fitted by a line in the guide,
    a I + b, with epsilon a^2 added to the weighted mean squared error; a pixel gets the mean of
    the lines of all windows that hold it. At the border windows are cut off.

    Args:
        sigma: (..., H, W), any unit; may be NaN where its weight is 0.
        guide: (..., H, W), the gray photograph in [0, 1].
        radius: of the window, in pixels, 0 or more. Static.
        epsilon: above 0; edges whose variance in the guide is well below it are smoothed over.
            Much less than 1e-5 is lost in float32.
        weight: (..., H, W), 0 or more: how much each pixel's sigma is to be trusted, such as
            1 / spread^2, on any common scale. By default all alike.

    Returns:
        (..., H, W), in the dtype of `sigma`; pixels with no weight within 2 radius keep their
        value.

    Raises:
        ValueError: `radius` or `epsilon` out of range.

    Gradient: exact, in `sigma`, `guide` and positive weights.

    Source: He, Sun & Tang, "Guided image filtering", TPAMI 2013, section 3.1; the weights are our
        addition, and leave equal ones as they were.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import sigma_map
        >>> guide = jnp.array([[0.0, 0.0, 0.0, 1.0, 1.0, 1.0]])
        >>> noisy = jnp.array([[1.1, 0.9, 1.0, 3.1, 2.9, 3.0]])
        >>> print(sigma_map.guided(noisy, guide, radius=2).round(1))
        [[1. 1. 1. 3. 3. 3.]]
    """
    if radius < 0 or radius != int(radius):
        raise ValueError(f"radius is {radius}; pass a whole number of pixels, 0 or more")
    if not epsilon > 0:
        raise ValueError(f"epsilon is {epsilon}; it must be above 0, or flat windows divide by 0")
    values = jnp.asarray(sigma)
    dtype = working_dtype(values.dtype)

    def like_sigma(x: ArrayLike) -> Array:
        return jnp.broadcast_to(jnp.asarray(x).astype(dtype), values.shape)

    weights = jnp.ones(values.shape, dtype) if weight is None else like_sigma(weight)
    # The largest becomes 1: sums of weights must neither overflow nor vanish.
    scale = jax.lax.stop_gradient(jnp.max(weights, initial=0))
    weights = weights / jnp.where(scale > 0, scale, 1)
    filtered = _guided(
        values.astype(dtype), like_sigma(guide), weights, jnp.asarray(epsilon, dtype), int(radius)
    )
    return filtered.astype(values.dtype)


def fill(
    sigma: Float[ArrayLike, "..."],
    spread: Float[ArrayLike, "..."],
    valid: Bool[ArrayLike, "..."],
    guide: Float[ArrayLike, "..."],
    *,
    smoothness: float = 1.0,
    contrast: float = 0.02,
    leak: float = 1e-4,
) -> Float[np.ndarray, "..."]:
    r"""Sigma where nothing was measured, carried there along the photograph's surfaces (host).

    The u that minimises

        sum_valid (u - sigma)^2 / spread^2  +  smoothness * sum_{p ~ q} w_pq (u_p - u_q)^2,
        w_pq = max(leak, exp(-(guide_p - guide_q)^2 / (2 contrast^2))),

    over neighbours p ~ q in rows and columns. Images of more than 40 000 pixels are reduced by
    means of square blocks to fewer; each pixel then takes the mean of the four blocks around it,
    by distance and by how alike they are in the guide.

    Args:
        sigma: (H, W), in pixels, finite where `valid`.
        spread: (H, W), its standard error, likewise.
        valid: (H, W), where it was measured.
        guide: (H, W), the gray photograph in [0, 1].
        smoothness: above 0, in units of 1 / pixel^2.
        contrast: the step of the guide, from one pixel to the next, that is taken for an edge.
        leak: the least weight of a pair, above 0 and at most 1: places wholly behind edges must
            hear of something.

    Returns:
        (H, W), in the dtype of `sigma`: unchanged where `valid`, finite everywhere.

    Raises:
        ValueError: nothing is valid; arrays of different shapes; parameters out of range; a valid
            sigma or spread that is not finite.

    Source: our choice, after Levin, Lischinski & Weiss, "Colorization using optimization",
        SIGGRAPH 2004, and Zhuo & Sim, "Defocus map estimation from a single image", Pattern
        Recognition 2011, who carry defocus likewise from edges.

    Example:
        >>> import numpy as np
        >>> from blurjax import sigma_map
        >>> guide = np.array([[0.0, 0.0, 1.0, 1.0]])
        >>> sigma = np.array([[1.0, 0.0, 0.0, 3.0]])
        >>> valid = np.array([[True, False, False, True]])
        >>> print(sigma_map.fill(sigma, np.full((1, 4), 0.1), valid, guide).round(2))
        [[1. 1. 3. 3.]]
    """
    values, known = np.asarray(sigma), np.asarray(valid)
    errors, shade = np.asarray(spread, np.float64), np.asarray(guide, np.float64)
    if len({array.shape for array in (values, errors, known, shade)}) != 1 or values.ndim != 2:
        raise ValueError(
            f"sigma is {values.shape}, spread {errors.shape}, valid {known.shape}, guide "
            f"{shade.shape}; pass four arrays of one shape (H, W)"
        )
    if not (smoothness > 0 and contrast > 0 and 0 < leak <= 1):
        raise ValueError(
            f"smoothness={smoothness}, contrast={contrast}, leak={leak}; all must be above 0, and "
            "leak at most 1"
        )
    if not np.any(known):
        raise ValueError(
            "no pixel is valid, so there is nothing to fill from; raise the threshold of the "
            "estimate, or give a photograph with more texture"
        )
    if not (np.all(np.isfinite(values[known])) and np.all(np.isfinite(errors[known]))):
        raise ValueError("a valid pixel's sigma or spread is not finite; mark it as not valid")
    factor = int(np.ceil(np.sqrt(values.size / _UNKNOWNS)))
    weights = np.where(known, 1 / np.maximum(np.where(known, errors, 1), _LEAST_SPREAD) ** 2, 0)
    # A block counts as one pixel, the mean of its own: errors of neighbours are no independent
    # witnesses.
    data = _block_mean(weights, factor)
    pull = _block_mean(weights * np.where(known, values, 0), factor)
    coarse_shade = _block_mean(shade, factor)
    coarse = _propagate(data, pull, coarse_shade, smoothness, contrast, leak)
    fine = _bring_back(coarse, coarse_shade, shade, factor, contrast, leak)
    return np.where(known, values, fine.astype(values.dtype))


def _block_mean(image: np.ndarray, factor: int) -> np.ndarray:
    """Means of factor x factor blocks, of what there is of them at the lower and right border."""
    rows, columns = (np.arange(0, n, factor) for n in image.shape)
    sums = np.add.reduceat(np.add.reduceat(image, rows, axis=0), columns, axis=1)
    counts = [
        np.diff(np.r_[starts, n]) for starts, n in zip((rows, columns), image.shape, strict=True)
    ]
    return sums / np.outer(*counts)


def _affinity(difference: np.ndarray, contrast: float, leak: float) -> np.ndarray:
    return np.maximum(leak, np.exp(-(difference**2) / (2 * contrast**2)))


def _propagate(
    data: np.ndarray,
    pull: np.ndarray,
    shade: np.ndarray,
    smoothness: float,
    contrast: float,
    leak: float,
) -> np.ndarray:
    """Solve (diag(data) + smoothness * Laplacian) u = pull."""
    from scipy.sparse import coo_array
    from scipy.sparse.linalg import spsolve

    index = np.arange(shade.size).reshape(shade.shape)
    one = np.r_[index[1:].ravel(), index[:, 1:].ravel()]
    other = np.r_[index[:-1].ravel(), index[:, :-1].ravel()]
    weight = smoothness * _affinity(shade.ravel()[one] - shade.ravel()[other], contrast, leak)
    diagonal = data.ravel() + np.bincount(
        np.r_[one, other], np.r_[weight, weight], minlength=shade.size
    )
    rows, columns = np.r_[one, other, index.ravel()], np.r_[other, one, index.ravel()]
    entries = np.r_[-weight, -weight, diagonal]
    matrix = coo_array((entries, (rows, columns)), shape=(shade.size, shade.size)).tocsc()
    # The order for symmetric matrices: several times less to keep than the default.
    solved = spsolve(matrix, pull.ravel(), permc_spec="MMD_AT_PLUS_A")
    return np.asarray(solved).reshape(shade.shape)


def _bring_back(
    coarse: np.ndarray,
    coarse_shade: np.ndarray,
    shade: np.ndarray,
    factor: int,
    contrast: float,
    leak: float,
) -> np.ndarray:
    """Each pixel's mean of the four blocks around it: bilinear, times the likeness in the guide."""
    if factor == 1:
        return coarse
    places = []
    for n, blocks in zip(shade.shape, coarse.shape, strict=True):
        position = np.clip((np.arange(n) + 0.5) / factor - 0.5, 0, blocks - 1)
        first = np.minimum(position.astype(int), max(blocks - 2, 0))
        part = position - first
        places.append([(first, 1 - part), (np.minimum(first + 1, blocks - 1), part)])
    total, weights = np.zeros(shade.shape), np.zeros(shade.shape)
    for row, near_row in places[0]:
        for column, near_column in places[1]:
            block = np.ix_(row, column)
            likeness = _affinity(shade - coarse_shade[block], contrast, leak)
            weight = np.outer(near_row, near_column) * likeness
            total += weight * coarse[block]
            weights += weight
    return total / weights
