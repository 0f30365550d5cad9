"""Images too large for one transform: overlapping tiles, blended."""

from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np

from blurjax._numerics import working_dtype
from blurjax._typing import Array, ArrayLike
from blurjax.deconvolution._result import Deconvolution
from blurjax.imaging._arrays import as_image
from blurjax.imaging._blur import as_psf
from blurjax.imaging._boundary import channel_from_end


def in_tiles(
    solve: Callable[[Array, Array], Any],
    image: ArrayLike,
    psf: ArrayLike,
    *,
    tile: int = 512,
    overlap: int | None = None,
    channel_axis: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Any:
    """Restore a large image in overlapping tiles of one shape, so that one program serves all.

    The tiles are spread evenly. In the overlap of two the first fades out and the second in along
    a raised cosine over its middle half: the outer quarters, where a tile does not see what lies
    beyond it, count for nothing. What is left is what reaches over a quarter of the overlap: away
    from the border of the image, with the default overlap, less than 5e-3 (root mean square, image
    in [0, 1]) for a motion blur, whose spectrum has zeros, and less than 5e-4 for a Gaussian
    [tested]. Within two kernels of the border, where any solver guesses what lies beyond, tiles
    guess otherwise than the whole: 1e-2 there [measured]. What is chosen
    from the whole (an estimated weight, when to stop) is chosen for each tile.

    Args:
        solve: `solve(part, psf)` returns a `Deconvolution` or an array like `part`. Called on the
            host, once a tile, and not traced.
        image: (..., H, W) floats; with `channel_axis` one more axis. It may be a NumPy array
            (a memory map too): only a tile at a time goes to the device.
        psf: (..., k, k), as the solver takes it.
        tile: the side of a tile, pixels. An axis no longer than that is not cut.
        overlap: pixels that neighbours share at least, below `tile`; by default six times the
            kernel, but no more than half the tile.
        channel_axis: the axis of `image` that holds colours; None for gray images.
        progress: called as `progress(done, total)` after each tile; None for nothing.

    Returns:
        What `solve` returns, for the whole image: an array, in host memory until used, or a
        `Deconvolution` with the most steps of a tile and the root of the mean square residual.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the overlap leaves no room for progress in the tile, or `solve` changes the
            shape of what it is given.

    Gradient: none; it runs on the host. Differentiate the solver on one tile.

    Source: our choice.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging, psf
        >>> from blurjax.deconvolution import in_tiles, wiener
        >>> sharp = jnp.zeros((96, 160)).at[30:60, 30:120].set(1.0)
        >>> kernel = psf.gaussian(1.0, size=9)
        >>> blurred = imaging.blur(sharp, kernel)
        >>> whole = wiener(blurred, kernel).value
        >>> tiled = in_tiles(wiener, blurred, kernel, tile=96).value
        >>> bool(abs(tiled - whole)[18:-18, 18:-18].max() < 1e-4)
        True
    """
    if not isinstance(image, np.ndarray):
        image = as_image(image, min_ndim=2 if channel_axis is None else 3)
    elif not np.issubdtype(image.dtype, np.floating):
        as_image(image[..., :1])
    size = as_psf(psf, working_dtype(image.dtype)).shape[-1]
    if not isinstance(tile, int) or tile < 1:
        raise ValueError(f"tile={tile!r}; it is a whole number of pixels, 1 or more")
    if overlap is None:
        overlap = min(6 * size, tile // 2)
    if not isinstance(overlap, int) or not 0 <= overlap < tile:
        raise ValueError(
            f"overlap={overlap!r}, but tiles of {tile} px share at least 0 and fewer than {tile}; "
            "choose larger tiles or a smaller overlap"
        )
    axes = list(range(image.ndim))
    if channel_axis is not None:
        del axes[channel_from_end(jnp.empty((1,) * image.ndim), channel_axis)]
    rows, columns = axes[-2] - image.ndim, axes[-1] - image.ndim
    plans = [_spread(image.shape[axis], tile, overlap) for axis in (rows, columns)]
    total = len(plans[0]) * len(plans[1])
    host = np.asarray(image)
    value: np.ndarray | None = None
    steps: list[Array] = []
    squares: list[Array] = []
    shares: list[float] = []
    for done, ((top, down), (left, across)) in enumerate(_pairs(plans), 1):
        index: list[Any] = [slice(None)] * image.ndim
        index[rows] = slice(top, top + len(down))
        index[columns] = slice(left, left + len(across))
        part = jnp.asarray(host[tuple(index)])
        solved = solve(part, jnp.asarray(psf))
        made = solved.value if isinstance(solved, Deconvolution) else solved
        if made.shape[rows:] != part.shape[rows:]:
            raise ValueError(
                f"solve made {made.shape} of a tile of {part.shape}; it must keep the image axes"
            )
        if isinstance(solved, Deconvolution):
            steps.append(solved.num_steps)
            squares.append(solved.residual**2)
            shares.append(float(down.sum() * across.sum()))
        if value is None:
            whole = list(made.shape)
            whole[rows], whole[columns] = image.shape[rows], image.shape[columns]
            value = np.zeros(whole, np.dtype(working_dtype(made.dtype)))
        window = np.ones((1,) * image.ndim, value.dtype)
        for axis, profile in ((rows, down), (columns, across)):
            form = [1] * image.ndim
            form[axis] = -1
            window = window * profile.astype(value.dtype).reshape(form)
        inside: Any = (..., *index)
        value[inside] += window * np.asarray(made, value.dtype)
        if progress is not None:
            progress(done, total)
    assert value is not None
    result = jnp.asarray(value).astype(made.dtype)
    if not steps:
        return result
    mean = sum(share * square for share, square in zip(shares, squares, strict=True)) / sum(shares)
    return Deconvolution(result, jnp.stack(steps).max(0), jnp.sqrt(mean))


def _pairs(
    plans: list[list[tuple[int, np.ndarray]]],
) -> Iterator[tuple[tuple[int, np.ndarray], tuple[int, np.ndarray]]]:
    for down in plans[0]:
        for across in plans[1]:
            yield down, across


def _spread(side: int, tile: int, overlap: int) -> list[tuple[int, np.ndarray]]:
    """Where tiles start along an axis, and how much each of their pixels counts: 1 together."""
    if side <= tile:
        return [(0, np.ones(side))]
    count = -(-(side - overlap) // (tile - overlap))
    starts = [round(i * (side - tile) / (count - 1)) for i in range(count)]
    plan = []
    for i, start in enumerate(starts):
        profile = np.ones(tile)
        if i > 0:
            profile *= _rise(np.arange(tile), starts[i - 1] + tile - start)
        if i + 1 < count:
            profile *= _rise(np.arange(tile)[::-1], start + tile - starts[i + 1])
        plan.append((start, profile))
    # Where three overlap the products do not add up to 1.
    total = np.zeros(side)
    for start, profile in plan:
        total[start : start + tile] += profile
    return [(start, profile / total[start : start + tile]) for start, profile in plan]


def _rise(position: np.ndarray, shared: int) -> np.ndarray:
    """From 0 to 1 over the middle half of `shared` pixels."""
    if shared == 0:
        return np.ones(len(position))
    part = np.clip(((position + 0.5) / shared - 0.25) * 2, 0, 1)
    return 0.5 - 0.5 * np.cos(np.pi * part)
