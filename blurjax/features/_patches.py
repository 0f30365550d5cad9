"""Where in an image to look."""

import jax
import jax.numpy as jnp
import numpy as np

from blurjax._typing import Array, Float, Images, Int


def distinct_patch(
    maps: Images,
    *,
    size: int = 128,
    stride: int = 10,
    inside: Int[Array, "*batch 2"] | None = None,
) -> tuple[Float[Array, "*batch size size"], Int[Array, "*batch 2"]]:
    r"""The patch of largest standard deviation, of all in a grid.

    One pass: with R and C matrices of ones and zeros that sum over the rows and columns of each
    window, the windows' moments are R x C' and R x^2 C', and

        std^2 = E[x^2] - E[x]^2.

    Args:
        maps: (..., H, W), such as gradients.
        size: of the patch, static.
        stride: of the grid in pixels, static.
        inside: (..., 2), height and width of each map, where it lies in the upper left corner of
            its array and only patches within count; by default all of it.

    Returns:
        Patches (..., size, size), and row and column of their upper left corners. Of equal ones
        the first; (0, 0) where none lies inside.

    Raises:
        ValueError: maps smaller than a patch.

    Gradient: of the patch that was chosen; the choice has none.

    Source: Ye et al., "A coarse-to-fine classification for motion blur kernel size estimation with
        cascaded neural networks" (2.2), with size 128 and stride 10.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import features
        >>> maps = jnp.zeros((60, 60)).at[45, 25].set(1.0)
        >>> features.distinct_patch(maps, size=20)[1].tolist()
        [30, 10]
    """
    height, width = maps.shape[-2:]
    if min(height, width) < size:
        raise ValueError(f"maps are {height}x{width}; a patch needs at least {size}x{size}")
    rows, columns = (np.arange(0, side - size + 1, stride) for side in (height, width))

    def sums(starts: np.ndarray, side: int) -> Array:
        distance = np.arange(side)[None, :] - starts[:, None]
        return jnp.asarray((distance >= 0) & (distance < size), maps.dtype)

    # Rounding must not see a large mean; the deviation does not.
    x = maps - jnp.mean(maps, axis=(-2, -1), keepdims=True)
    over_rows, over_columns = sums(rows, height), sums(columns, width)
    pairs = jnp.stack([x, x**2], axis=-3)
    moments = jnp.einsum(
        "ah,...hw,bw->...ab", over_rows, pairs, over_columns, precision="highest"
    ) / (size * size)
    variance = moments[..., 1, :, :] - moments[..., 0, :, :] ** 2
    if inside is not None:
        grid = jnp.asarray(np.stack(np.meshgrid(rows + size, columns + size, indexing="ij"), -1))
        grid = jnp.broadcast_to(grid, (*variance.shape, 2))
        fits = jnp.all(grid <= inside[..., None, None, :].astype(grid.dtype), axis=-1)
        variance = jnp.where(fits, variance, -1)
    best = jnp.argmax(variance.reshape(*variance.shape[:-2], -1), axis=-1)
    corner = jnp.stack(
        [jnp.asarray(rows)[best // len(columns)], jnp.asarray(columns)[best % len(columns)]], -1
    )
    cut = jnp.vectorize(
        lambda x, at: jax.lax.dynamic_slice(x, (at[0], at[1]), (size, size)),
        signature="(h,w),(k)->(s,s)",
    )
    return cut(maps, corner), corner
