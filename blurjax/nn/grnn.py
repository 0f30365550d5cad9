"""General regression neural network: a kernel-weighted mean of stored targets.

    y(x) = sum_i y_i w_i(x),   w(x) = softmax(-|x - x_i|^2 / (2 s^2))

In closed form and in blocks: neither all distances nor all weights ever exist at once.

Source: Specht, IEEE Trans. Neural Networks 1991 (the Nadaraya-Watson estimator).
"""

import functools

import jax
import jax.numpy as jnp

from blurjax._typing import Array, Float, Scalars


@functools.partial(jax.jit, static_argnames="block")
def predict(
    queries: Float[Array, "q d"],
    points: Float[Array, "n d"],
    targets: Float[Array, "n t"],
    bandwidth: Scalars,
    *,
    block: int = 2048,
) -> Float[Array, "q t"]:
    """Regression at each query.

    Args:
        queries: (q, d).
        points: (n, d), the stored inputs.
        targets: (n, t), the stored outputs.
        bandwidth: s > 0, in the inputs' units.
        block: stored samples in flight at once, static; memory is q x block.

    Returns:
        (q, t), a convex combination of the targets. Far from every point it is the nearest
        point's target, never 0 / 0.

    Gradient: exact, to every argument.

    Source: Specht 1991, eq. 3.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax.nn import grnn
        >>> x = jnp.linspace(0, 1, 50)[:, None]
        >>> grnn.predict(jnp.array([[0.5]]), x, 2 * x, 0.05)[0, 0].round(3)
        Array(1., dtype=float32)
    """
    return _smooth(queries, points, targets, jnp.asarray(bandwidth)[None], block, None)[:, 0]


@functools.partial(jax.jit, static_argnames="block")
def leave_one_out(
    points: Float[Array, "n d"],
    targets: Float[Array, "n t"],
    bandwidths: Float[Array, " b"],
    *,
    block: int = 512,
) -> Float[Array, "n b t"]:
    """What each stored sample would be predicted without itself, exactly, for many bandwidths.

    One pass over the distances serves all bandwidths.

    Args:
        points: (n, d).
        targets: (n, t).
        bandwidths: (b,), positive.
        block: queries, and stored samples, in flight at once, static; memory is
            block x block x b.

    Returns:
        (n, b, t).

    Gradient: exact, to every argument.

    Source: elementary; the diagonal of the distances is set to infinity.
    """
    count = points.shape[0]
    padded = _pad(points, block)
    own = jnp.arange(padded.shape[0])

    def rows(now: tuple[Array, Array]) -> Array:
        queries, index = now
        return _smooth(queries, points, targets, bandwidths, block, index)

    shape = (-1, block)
    out = jax.lax.map(rows, (padded.reshape(*shape, points.shape[1]), own.reshape(shape)))
    return out.reshape(-1, *out.shape[2:])[:count]


@functools.partial(jax.jit, static_argnames=("block", "most"))
def nearest_distance(
    points: Float[Array, "n d"], *, block: int = 2048, most: int = 2048
) -> Float[Array, ""]:
    """Median distance from a point to its nearest other point, over at most `most` of them."""
    stride = -(-points.shape[0] // most)
    index = jnp.arange(0, points.shape[0], stride)
    squares = _squared_distances(points[index], points, jnp.mean(points, axis=0))
    other = index[:, None] != jnp.arange(points.shape[0])[None, :]
    nearest = jnp.min(jnp.where(other, squares, jnp.inf), axis=1)
    return jnp.sqrt(jnp.median(nearest))


def bandwidth_grid(points: Float[Array, "n d"], *, count: int = 40) -> Float[Array, " b"]:
    """`count` log-spaced multiples, 1/4 to 32, of the median nearest-neighbour distance."""
    return nearest_distance(points) * jnp.geomspace(0.25, 32.0, count).astype(points.dtype)


def _smooth(
    queries: Array,
    points: Array,
    targets: Array,
    bandwidths: Array,
    block: int,
    own: Array | None,
) -> Array:
    """Weighted means (q, b, t) by a running softmax over blocks of the stored samples.

    own: index of each query among the points, left out of its mean; None for new queries.
    """
    centre = jnp.mean(points, axis=0)
    index = jnp.arange(points.shape[0])
    blocks = (
        _pad(points, block).reshape(-1, block, points.shape[1]),
        _pad(targets, block).reshape(-1, block, targets.shape[1]),
        _pad(index, block, value=-1).reshape(-1, block),
    )
    q, b, t = queries.shape[0], bandwidths.shape[0], targets.shape[1]
    dtype = queries.dtype
    start = (
        jnp.full((q, b), -jnp.inf, dtype),
        jnp.zeros((q, b), dtype),
        jnp.zeros((q, b, t), dtype),
    )
    rate = (1 / (2 * bandwidths**2)).astype(dtype)

    def add(carry: tuple[Array, Array, Array], now: tuple[Array, Array, Array]) -> tuple:
        top, mass, total = carry
        some_points, some_targets, some_index = now
        valid = (some_index >= 0)[None, :]
        if own is not None:
            valid = valid & (some_index[None, :] != own[:, None])
        squares = _squared_distances(queries, some_points, centre)
        score = jnp.where(valid[:, None, :], -squares[:, None, :] * rate[None, :, None], -jnp.inf)
        # The mean does not depend on this level, so it has no gradient; that of a maximum would be
        # 0 / 0 wherever the backward pass computes the score again and rounds it differently.
        new_top = jax.lax.stop_gradient(jnp.maximum(top, jnp.max(score, axis=-1)))
        # Before the first valid sample everything is -inf; a finite stand-in keeps 0 x inf away.
        level = jnp.where(jnp.isfinite(new_top), new_top, 0)
        fade = jnp.exp(top - level)
        weight = jnp.exp(score - level[..., None])
        mass = mass * fade + jnp.sum(weight, axis=-1)
        total = total * fade[..., None] + jnp.einsum("qbn,nt->qbt", weight, some_targets)
        return (new_top, mass, total), None

    (_, mass, total), _ = jax.lax.scan(jax.checkpoint(add), start, blocks)
    return total / mass[..., None]


def _squared_distances(a: Array, b: Array, centre: Array) -> Array:
    """|a_i - b_j|^2, in coordinates around `centre` to keep float32 from cancelling."""
    a, b = a - centre[None], b - centre[None]
    cross = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum(jnp.sum(a**2, -1)[:, None] - 2 * cross + jnp.sum(b**2, -1)[None, :], 0)


def _pad(x: Array, block: int, value: int = 0) -> Array:
    short = -x.shape[0] % block
    return jnp.pad(x, ((0, short), *((0, 0),) * (x.ndim - 1)), constant_values=value)
