"""General regression neural network: a kernel-weighted mean of stored targets.

    y(x) = sum_i y_i w_i(x),   w(x) = softmax(-D_i^2 / 2),   D_i^2 = sum_k (x_k - x_ik)^2 / s_k^2

with one bandwidth s for all inputs or one for each. The same weights give the spread of the
targets around the mean and their quantiles. In closed form and in blocks: neither all distances
nor all weights ever exist at once, and the stored samples are never copied.

    s = fit_bandwidth(key, points, targets)             # by gradient of the leave-one-out error
    mean = predict(queries, points, targets, s)
    calibration = calibrate(points, targets, s, coverage=0.9)
    found = predict_distribution(queries, points, targets, s, calibration)

docs/grnn.md is about using it on its own.

Source: Specht, IEEE Trans. Neural Networks 1991 (the Nadaraya-Watson estimator).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from blurjax._numerics import concrete, safe_sqrt, working_dtype
from blurjax._typing import Array, Float, PRNGKey, Scalars

# Up to this many inputs, distances are summed from differences: exact however small the bandwidth
# is beside the data's extent, where a matrix product in float32 cancels.
_FEW = 6

# Queries, and stored samples, in flight at once while a bandwidth is learned.
_ROWS = 512

# Queries whose quantiles are looked for at once.
_AT_ONCE = 8

# A calibrated interval's local scale is at least this part of the root mean square residual.
_FLOOR = 0.1


class Distribution(NamedTuple):
    """What the stored samples say about the targets at each query."""

    mean: Float[Array, "q t"]
    """As `predict`."""
    deviation: Float[Array, "q t"]
    """Standard deviation of the stored targets under the query's weights."""
    median: Float[Array, "q t"]
    """Their weighted median."""
    lower: Float[Array, "q t"]
    """Lower end of the prediction interval."""
    upper: Float[Array, "q t"]
    """Upper end of the prediction interval."""
    effective: Float[Array, " q"]
    """(sum w)^2 / sum w^2: how many samples the answer rests on, from 1 upwards."""
    nearest: Float[Array, " q"]
    """Distance to the nearest stored sample, in bandwidths."""


class Calibration(NamedTuple):
    """How far raw intervals are moved outwards so that they cover what they claim."""

    coverage: Float[Array, ""]
    """What it was made for."""
    lower: Float[Array, " t"]
    """Outward shift of the lower end, in local scales; negative where the raw one was too wide."""
    upper: Float[Array, " t"]
    """Outward shift of the upper end."""
    floor: Float[Array, " t"]
    """The local scale is sqrt(deviation^2 + floor^2)."""


def predict(
    queries: Float[Array, "q d"],
    points: Float[Array, "n d"],
    targets: Float[Array, "n t"],
    bandwidth: Scalars,
    *,
    weight: Float[Array, " n"] | None = None,
    block: int = 2048,
    query_block: int = 512,
    mesh: Mesh | None = None,
) -> Float[Array, "q t"]:
    """Regression at each query.

    Args:
        queries: (q, d).
        points: (n, d), the stored inputs.
        targets: (n, t), the stored outputs.
        bandwidth: s > 0, in the inputs' units: one, or (d,) for one an input.
        weight: (n,), how much each stored sample counts, at least 0 and somewhere above; samples
            of weight 0 do not exist, so that one can pad with them. All 1 by default.
        block: stored samples in flight at once, static.
        query_block: queries in flight at once, static; memory beyond the arguments and the result
            is query_block x block, however many samples are stored.
        mesh: of one axis, static: the stored samples lie (or are laid) in equal parts on its
            devices, and each goes through its own.

    Returns:
        (q, t) in the queries' dtype (half precisions are computed in float32), a convex
        combination of the targets. Far from every point it is the nearest point's target, never
        0 / 0.

    Raises:
        ValueError: a bandwidth known not to be positive or not of shape () or (d,); numbers of
            samples or inputs that do not match; a mesh of several axes, or one that does not
            divide n.

    Gradient: exact, to every argument.

    Source: Specht 1991, eq. 3.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax.nn import grnn
        >>> x = jnp.linspace(0, 1, 50)[:, None]
        >>> grnn.predict(jnp.array([[0.5]]), x, 2 * x, 0.05)[0, 0].round(3)
        Array(1., dtype=float32)
    """
    _check(queries, points, targets, bandwidth)
    if weight is not None and weight.shape != points.shape[:1]:
        raise ValueError(
            f"weight has shape {weight.shape} for {len(points)} samples; give one number a sample"
        )
    if mesh is not None and len(mesh.axis_names) != 1:
        raise ValueError(f"the mesh has axes {mesh.axis_names}; stored samples are split along one")
    if mesh is not None and len(points) % mesh.size:
        raise ValueError(
            f"{len(points)} samples do not divide among {mesh.size} devices; pad them with samples "
            "of weight 0"
        )
    scale = _scale(bandwidth, queries)
    return _predict(queries, points, targets, scale, weight, block, query_block, mesh)


@functools.partial(jax.jit, static_argnames="block")
def leave_one_out(
    points: Float[Array, "n d"],
    targets: Float[Array, "n t"],
    bandwidths: Float[Array, "b ..."],
    *,
    block: int = 512,
) -> Float[Array, "n b t"]:
    """What each stored sample would be predicted without itself, exactly, for many bandwidths.

    Args:
        points: (n, d).
        targets: (n, t).
        bandwidths: (b,), positive; one pass over the distances serves them all. Or (b, d) for one
            an input, with a pass for each of the b.
        block: queries, and stored samples, in flight at once, static; memory is
            block x block x b.

    Returns:
        (n, b, t).

    Gradient: exact, to every argument.

    Source: elementary; the diagonal of the distances is set to infinity.
    """
    rows = jnp.arange(len(points))
    return _leave_out(rows, points, targets, bandwidths, block)


def fit_bandwidth(
    key: PRNGKey,
    points: Float[Array, "n d"],
    targets: Float[Array, "n t"],
    *,
    steps: int = 200,
    batch: int = 256,
    rate: float = 0.1,
    most: int = 2048,
) -> Float[Array, " d"]:
    """One bandwidth an input, by descending the gradient of the leave-one-out squared error.

    It starts at the best of `bandwidth_grid`, for the inputs as they are or divided by their
    standard deviations, whichever does better; then Adam on log s, with random samples as queries
    against all others. An input that says nothing about the targets gets a large bandwidth, which
    takes it out of the distance. Targets count alike: each is divided by its standard deviation.

    Args:
        key: random key; the same key gives the same bandwidths.
        points: (n, d), at least 2 and not all the same.
        targets: (n, t).
        steps: of Adam, static.
        batch: queries a step, static.
        rate: the first learning rate, in units of log s; it falls to 0 along a cosine.
        most: the start is chosen by the error at this many samples at most, static.

    Returns:
        (d,). Its exact leave-one-out error over all samples is never above that of the best
        single bandwidth found: where it would be, (d,) of that one is returned.

    Raises:
        ValueError: fewer than 2 samples, or points and targets of different number.

    Gradient: not meant to be differentiated.

    Source: Specht & Shapiro, IJCNN 1991, for learning them; the leave-one-out error and Adam are
        our choice.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax.nn import grnn
        >>> x = jax.random.uniform(jax.random.key(0), (300, 2))
        >>> s = grnn.fit_bandwidth(jax.random.key(1), x, jnp.sin(6 * x[:, :1]))
        >>> bool(s[1] > 5 * s[0])  # the second input does not matter
        True
    """
    if len(points) < 2:
        raise ValueError(f"{len(points)} samples; leaving one out takes at least 2")
    _check(points, points, targets, 1.0)
    return _fit_bandwidth(key, points, targets, jnp.asarray(rate), steps, batch, most)


def predict_distribution(
    queries: Float[Array, "q d"],
    points: Float[Array, "n d"],
    targets: Float[Array, "n t"],
    bandwidth: Scalars,
    coverage: Scalars | Calibration = 0.9,
    *,
    block: int = 512,
    query_block: int = 512,
) -> Distribution:
    """Mean, spread, median and prediction interval at each query.

    The weights of the regression, put on the stored targets, are an estimate of the targets'
    distribution given the query. Its quantiles at (1 - coverage) / 2 and (1 + coverage) / 2 are
    the raw interval: a wide bandwidth makes it too wide, few effective neighbours too narrow. A
    `Calibration` moves both ends by what leaving one out shows to be missing.

    Away from all data the answer is the nearest sample's target and the deviation 0 or what is
    stored at that very place; the interval means nothing there, calibrated or not. `nearest` (many
    bandwidths) and `effective` (about 1) tell.

    Args:
        queries: (q, d).
        points: (n, d).
        targets: (n, t).
        bandwidth: as in `predict`.
        coverage: in (0, 1), the part of targets that the interval is to hold: raw. Or what
            `calibrate` returned.
        block: stored samples in flight at once, static.
        query_block: queries in flight at once, static. Beyond query_block x block, memory holds
            each target's sorting index.

    Returns:
        `Distribution`, in the queries' dtype.

    Raises:
        ValueError: as `predict`; a coverage known not to lie in (0, 1).

    Gradient: exact to every argument for mean, deviation (0 where it is 0) and effective. Raw
        quantiles are stored targets: 0 to all but the targets. `nearest` has none.

    Source: Specht 1991 for the conditional distribution; Lei et al., JASA 2018, and Romano et al.,
        NeurIPS 2019, for the calibration.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax.nn import grnn
        >>> x, y = jnp.zeros((101, 1)), jnp.linspace(0, 1, 101)[:, None]
        >>> found = grnn.predict_distribution(x[:1], x, y, 1.0, 0.8)
        >>> [round(float(v[0, 0]), 2) for v in (found.lower, found.median, found.upper)]
        [0.1, 0.5, 0.9]
    """
    _check(queries, points, targets, bandwidth)
    dtype = working_dtype(queries.dtype)
    if isinstance(coverage, Calibration):
        calibration = Calibration(*(jnp.asarray(x).astype(dtype) for x in coverage))
    else:
        _check_coverage(coverage)
        zero = jnp.zeros(targets.shape[1], dtype)
        calibration = Calibration(jnp.asarray(coverage).astype(dtype), zero, zero, zero)
    scale = _scale(bandwidth, queries)
    return _predict_distribution(queries, points, targets, scale, calibration, block, query_block)


def calibrate(
    points: Float[Array, "n d"],
    targets: Float[Array, "n t"],
    bandwidth: Scalars,
    *,
    coverage: Scalars = 0.9,
    most: int = 4096,
    block: int = 512,
) -> Calibration:
    """Measure by leaving one out how far the raw interval must move to cover what was asked.

    For each stored sample, the raw interval without itself, and how far its target lies outside
    each end in units of the local scale; of these distances the quantile that leaves
    (1 - coverage) / 2 beyond. Both tails apart, so that skewed targets get skewed intervals. The
    coverage is right on average over queries drawn like the stored samples, not at each of them.

    Args:
        points: (n, d).
        targets: (n, t).
        bandwidth: as in `predict`; the one that will be used.
        coverage: in (0, 1).
        most: every so many-th sample is looked at, this many at most, static. A tail needs at
            least 2 / (1 - coverage) of them: below, the largest distance is taken.
        block: as in `predict_distribution`.

    Returns:
        `Calibration`, to be given to `predict_distribution` in place of the coverage.

    Raises:
        ValueError: as `predict_distribution`; fewer than 2 samples.

    Gradient: not meant to be differentiated.

    Source: Romano, Patterson & Candes, NeurIPS 2019 (conformalised quantiles), scaled locally as
        in Lei et al., JASA 2018, section 5.2; leaving one out in place of a split is our choice.
    """
    if len(points) < 2:
        raise ValueError(f"{len(points)} samples; leaving one out takes at least 2")
    _check(points, points, targets, bandwidth)
    _check_coverage(coverage)
    coverage = jnp.asarray(coverage).astype(working_dtype(points.dtype))
    return _calibrate(points, targets, _scale(bandwidth, points), coverage, most, block)


@functools.partial(jax.jit, static_argnames=("block", "most"))
def nearest_distance(
    points: Float[Array, "n d"], *, block: int = 2048, most: int = 2048
) -> Float[Array, ""]:
    """Median distance from a point to its nearest other point, over at most `most` of them."""
    scale = jnp.ones(points.shape[1], working_dtype(points.dtype))
    return _nearest_distance(points, scale, block, most).astype(points.dtype)


def _nearest_distance(points: Array, scale: Array, block: int, most: int) -> Array:
    rows = _some_rows(points, most)
    block = min(block, len(points))

    centre = _centre(points)
    queries = _seen(points[rows], centre, scale)

    def add(most: Array, start: Array) -> tuple[Array, None]:
        (some,), index, valid = _take(start, block, points)
        score = _score(queries, _seen(some, centre, scale), _absent(valid, scale.dtype))
        other = rows[:, None] != index[None, :]
        return jnp.maximum(most, jnp.max(jnp.where(other, score, -jnp.inf), axis=1)), None

    start = jnp.full(rows.shape, -jnp.inf, scale.dtype)
    score, _ = jax.lax.scan(add, start, _starts(points, block))
    return safe_sqrt(jnp.median(-2 * (score + _offset(queries))))


def bandwidth_grid(points: Float[Array, "n d"], *, count: int = 40) -> Float[Array, " b"]:
    """`count` log-spaced multiples, 1/4 to 32, of the median nearest-neighbour distance."""
    return _grid(nearest_distance(points), count)


def _grid(distance: Array, count: int = 40) -> Array:
    return distance * jnp.geomspace(0.25, 32.0, count).astype(distance.dtype)


# ---- the entries' jitted parts


@functools.partial(jax.jit, static_argnames=("block", "query_block", "mesh"))
def _predict(
    queries: Array,
    points: Array,
    targets: Array,
    scale: Array,
    weight: Array | None,
    block: int,
    query_block: int,
    mesh: Mesh | None,
) -> Array:
    def regress(
        queries: Array, points: Array, targets: Array, scale: Array, weight: Array | None
    ) -> Array:
        axis = None if mesh is None else mesh.axis_names[0]
        centre = _centre(points, axis)

        def rows(some: Array) -> Array:
            seen = _seen(some, centre, scale)
            sums = _sums(seen, points, targets, weight, scale, None, None, block, centre)
            return _mean(sums if axis is None else _merge(sums, axis))[0]

        return _in_blocks(rows, query_block, queries)

    if mesh is not None:
        part, whole = PartitionSpec(*mesh.axis_names), PartitionSpec()
        regress = jax.shard_map(
            regress,
            mesh=mesh,
            in_specs=(whole, part, part, whole, part),
            out_specs=whole,
            # The running sums start alike everywhere and differ afterwards, which the check of
            # replication would want spelt out, in words that changed between versions of jax.
            check_vma=False,
        )
    return regress(queries, points, targets, scale, weight).astype(queries.dtype)


@functools.partial(jax.jit, static_argnames=("block", "query_block"))
def _predict_distribution(
    queries: Array,
    points: Array,
    targets: Array,
    scale: Array,
    calibration: Calibration,
    block: int,
    query_block: int,
) -> Distribution:
    order = jnp.argsort(jax.lax.stop_gradient(targets), axis=0)

    def rows(some: Array) -> Distribution:
        return _distribution(some, points, targets, order, scale, calibration, None, block)

    return jax.tree.map(lambda x: x.astype(queries.dtype), _in_blocks(rows, query_block, queries))


@functools.partial(jax.jit, static_argnames=("most", "block"))
def _calibrate(
    points: Array, targets: Array, scale: Array, coverage: Array, most: int, block: int
) -> Calibration:
    index = _some_rows(points, most)
    order = jnp.argsort(targets, axis=0)
    zero = jnp.zeros(targets.shape[1], scale.dtype)
    raw = Calibration(coverage, zero, zero, zero)

    def rows(own: Array) -> Distribution:
        return _distribution(points[own], points, targets, order, scale, raw, own, block)

    found = _in_blocks(rows, block, index)
    own = targets[index].astype(scale.dtype)
    floor = _FLOOR * jnp.sqrt(jnp.mean((own - found.mean) ** 2, axis=0))
    # Where nothing is ever wrong the scale is anything but 0.
    local = jnp.hypot(found.deviation, floor[None])
    local = jnp.where(local > 0, local, 1)
    # The finite-sample quantile of conformal prediction.
    count = len(index)
    rank = jnp.ceil((count + 1) * (1 + coverage) / 2).astype(int) - 1
    rank = jnp.minimum(rank, count - 1)
    lower, upper = (
        jnp.sort(beyond / local, axis=0)[rank] for beyond in (found.lower - own, own - found.upper)
    )
    return Calibration(coverage, lower, upper, floor)


@functools.partial(jax.jit, static_argnames=("steps", "batch", "most"))
def _fit_bandwidth(
    key: Array, points: Array, targets: Array, rate: Array, steps: int, batch: int, most: int
) -> Array:
    # optax costs a second to import.
    import optax

    dtype = working_dtype(points.dtype)
    spread = jnp.std(targets.astype(dtype), axis=0)
    targets = targets.astype(dtype) / jnp.where(spread > 0, spread, 1)[None]
    rows = _some_rows(points, most)
    deviation = jnp.std(points.astype(dtype), axis=0)

    def errors(rows: Array, bandwidths: Array, unit: Array | None = None) -> Array:
        found = _leave_out(rows, points, targets, bandwidths, _ROWS, unit)
        return jnp.mean((found - targets[rows][:, None]) ** 2, axis=(0, 2))

    def start(unit: Array) -> tuple[Array, Array]:
        """The least error, and the bandwidths, among multiples of `unit`."""
        near = _nearest_distance(points, unit, 2048, most)
        # Where most samples have a twin, the extent of the data has to say what is near.
        extent = jnp.sqrt(jnp.sum((deviation / unit) ** 2))
        grid = _grid(jnp.where(near > 0, near, jnp.where(extent > 0, extent / 32, 1)))
        error = errors(rows, grid, unit)
        best = jnp.argmin(error)
        return error[best], grid[best] * unit

    plain, single = start(jnp.ones_like(deviation))
    other, standardised = start(jnp.where(deviation > 0, deviation, 1))
    first = jnp.where(other < plain, standardised, single)
    log_first = jnp.log(first)
    optimizer = optax.adam(optax.cosine_decay_schedule(1.0, max(steps, 1)))

    def objective(log_s: Array, rows: Array) -> Array:
        return errors(rows, jnp.exp(log_s)[None])[0]

    def step(carry: tuple, key: Array) -> tuple[tuple, None]:
        log_s, state = carry
        picked = jax.random.randint(key, (batch,), 0, len(points))
        gradient = jax.grad(objective)(log_s, picked)
        # optax mixes dtypes, which the strict promotion of our tests forbids.
        with jax.numpy_dtype_promotion("standard"):
            update, state = optimizer.update(gradient, state)
            return ((log_s + rate * update).astype(dtype), state), None

    keys = jax.random.split(key, steps)
    (log_s, _), _ = jax.lax.scan(step, (log_first, optimizer.init(log_first)), keys)
    candidates = jnp.stack([single, first, jnp.exp(log_s)])
    exact = errors(jnp.arange(len(points)), candidates)
    # A candidate that is not finite loses.
    return candidates[jnp.argmin(jnp.where(jnp.isfinite(exact), exact, jnp.inf))].astype(
        points.dtype
    )


# ---- weighted sums


class _Sums(NamedTuple):
    """Of weights exp(score - top), for each of b bandwidths."""

    top: Array
    """(b, q), the largest score so far."""
    total: Array
    """(b, q, t + 1), the weighted sum of the targets and, last, of 1."""


def _sums(
    queries: Array,
    points: Array,
    targets: Array,
    weight: Array | None,
    scale: Array,
    rates: Array | None,
    own: Array | None,
    block: int,
    centre: Array,
) -> _Sums:
    """A running softmax over blocks of the stored samples; scores are -rate D^2 / 2.

    queries: as `_seen`.
    rates: (b,), or None for one that is 1.
    own: index of each query among the points, left out of its mean; None for new queries.
    """
    dtype = scale.dtype
    block = min(block, len(points))
    b, q, t = 1 if rates is None else len(rates), len(queries), targets.shape[1]
    begin = _Sums(jnp.full((b, q), -jnp.inf, dtype), jnp.zeros((b, q, t + 1), dtype))
    stored = (points, targets) if weight is None else (points, targets, weight)

    def add(sums: _Sums, start: Array) -> tuple[_Sums, None]:
        (some_points, some_targets, *some_weight), index, valid = _take(start, block, *stored)
        column = _absent(valid, dtype)
        if some_weight:
            some = some_weight[0].astype(dtype)
            column = jnp.where(some > 0, column + jnp.log(jnp.where(some > 0, some, 1)), -jnp.inf)
        score = _score(queries, _seen(some_points, centre, scale), column)[None]
        if rates is not None:
            score = score * rates[:, None, None]
        if own is not None:
            score = jnp.where((index[None, :] != own[:, None])[None], score, -jnp.inf)
        # The mean does not depend on this level, so it has no gradient; that of a maximum would be
        # 0 / 0 wherever the backward pass computes the score again and rounds it differently.
        top = jax.lax.stop_gradient(jnp.maximum(sums.top, jnp.max(score, axis=-1)))
        # Before the first valid sample everything is -inf; a finite stand-in keeps 0 x inf away.
        level = _finite(top)
        each = jnp.exp(score - level[..., None])
        # The sum of the weights is one more column of the product: quicker than a sum of its own.
        values = jnp.concatenate([some_targets.astype(dtype), jnp.ones((block, 1), dtype)], axis=1)
        fade = jnp.exp(sums.top - level)
        return _Sums(top, sums.total * fade[..., None] + _product(each, values)), None

    return jax.lax.scan(jax.checkpoint(add), begin, _starts(points, block))[0]


def _merge(sums: _Sums, axis: str) -> _Sums:
    """The sums over all devices from each device's own."""
    top = jax.lax.pmax(jax.lax.stop_gradient(sums.top), axis)
    share = jnp.exp(sums.top - _finite(top))
    return _Sums(top, jax.lax.psum(sums.total * share[..., None], axis))


def _mean(sums: _Sums) -> Array:
    return sums.total[..., :-1] / sums.total[..., -1:]


def _leave_out(
    rows: Array,
    points: Array,
    targets: Array,
    bandwidths: Array,
    block: int,
    unit: Array | None = None,
) -> Array:
    """(r, b, t): the samples `rows`, each predicted by all others; distances in `unit`, (d,)."""
    dtype = working_dtype(points.dtype)
    bandwidths = bandwidths.astype(dtype)
    centre = _centre(points)

    def some(own: Array) -> Array:
        queries = points[own]

        def mean(scale: Array, rates: Array | None) -> Array:
            seen = _seen(queries, centre, scale)
            return _mean(_sums(seen, points, targets, None, scale, rates, own, block, centre))

        if bandwidths.ndim == 2:
            found = jax.lax.map(lambda scale: mean(scale, None)[0], bandwidths)
        else:
            whole = jnp.ones(points.shape[1], dtype) if unit is None else unit
            found = mean(whole, 1 / bandwidths**2)
        return found.swapaxes(0, 1)

    return _in_blocks(some, block, rows).astype(points.dtype)


def _distribution(
    queries: Array,
    points: Array,
    targets: Array,
    order: Array,
    scale: Array,
    calibration: Calibration,
    own: Array | None,
    block: int,
) -> Distribution:
    """One pass over the samples for the mean, and one a target in the order of its values."""
    dtype = scale.dtype
    block = min(block, len(points))
    centre = _centre(points)
    queries = _seen(queries, centre, scale)
    own = jnp.full(len(queries), -1) if own is None else own
    sums = _sums(queries, points, targets, None, scale, None, own, block, centre)
    top, mean = sums.top[0], _mean(sums)[0]
    half = calibration.coverage / 2
    levels = jnp.stack([0.5 - half, jnp.full_like(half, 0.5), 0.5 + half])

    def weights(
        queries: Array, top: Array, own: Array, some: Array, index: Array, valid: Array
    ) -> Array:
        score = _score(queries, _seen(some, centre, scale), _absent(valid, dtype))
        return jnp.where(index[None, :] != own[:, None], jnp.exp(score - top[:, None]), 0)

    starts, none = _starts(points, block), jnp.zeros(len(queries), dtype)
    spread, quantiles = [], []
    for j in range(targets.shape[1]):
        sorted_index = order[:, j]

        def add(
            carry: tuple, start: Array, j: int = j, sorted_index: Array = sorted_index
        ) -> tuple[tuple, Array]:
            mass, square, moment = carry
            (index,), _, valid = _take(start, block, sorted_index)
            each = weights(queries, top, own, points[index], index, valid)
            gap = targets[index, j].astype(dtype)[None, :] - mean[:, j, None]
            here = jnp.sum(each, axis=1)
            carry = (
                mass + here,
                square + jnp.sum(each**2, axis=1),
                moment + jnp.sum(each * gap**2, axis=1),
            )
            return carry, here

        (mass, square, moment), parts = jax.lax.scan(
            jax.checkpoint(add), (none, none, none), starts
        )
        spread.append(safe_sqrt(moment / mass))
        effective = mass**2 / square
        below = jnp.cumsum(parts, axis=0)

        def look(now: tuple, j: int = j, sorted_index: Array = sorted_index) -> Array:
            """The quantiles of one query: which block, then which sample in it."""
            query, own, top, below = now

            def at(level: Array) -> Array:
                aim = level * below[-1]
                which = jnp.minimum(jnp.sum(below < aim), len(below) - 1)
                before = jnp.where(which > 0, below[which - 1], 0)
                (index,), _, valid = _take(starts[which], block, sorted_index)
                each = weights(query[None], top[None], own[None], points[index], index, valid)[0]
                inside = jnp.cumsum(each)
                # Summed again, the block may come out a rounding short of its aim.
                place = jnp.sum(inside < jnp.minimum(aim - before, inside[-1]))
                return index[place]

            return jax.vmap(at)(levels)

        fixed = jax.lax.stop_gradient((queries, own, top, below.T))
        found = jax.lax.map(look, fixed, batch_size=_AT_ONCE)
        quantiles.append(targets[found, j].astype(dtype))

    deviation = jnp.stack(spread, axis=1)
    low, median, high = jnp.moveaxis(jnp.stack(quantiles, axis=2), 1, 0)
    local = jnp.sqrt(deviation**2 + calibration.floor[None] ** 2 + jnp.finfo(dtype).tiny)
    low = low - calibration.lower[None] * local
    high = high + calibration.upper[None] * local
    # An interval shrunk past itself is the point between.
    middle = (low + high) / 2
    crossed = low > high
    return Distribution(
        mean=mean,
        deviation=deviation,
        median=median,
        lower=jnp.where(crossed, middle, low),
        upper=jnp.where(crossed, middle, high),
        effective=effective,
        nearest=_distance(top, jax.lax.stop_gradient(queries)),
    )


# ---- distances and blocks


def _seen(x: Array, centre: Array, scale: Array) -> Array:
    """Rows in bandwidths, around `centre`: there float32 cancels least."""
    return (x.astype(scale.dtype) - centre[None]) * (1 / scale)[None]


def _score(a: Array, b: Array, column: Array) -> Array:
    """-|a_i - b_j|^2 / 2 + column_j, up to a constant of each row i, which `_offset` is.

    A softmax does not see that constant, and leaving it out saves a pass.
    """
    if a.shape[1] > _FEW:
        return _product(a, b.T) + (column - jnp.sum(b**2, axis=1) / 2)[None]
    # A product with the identity is how one gets XLA to lay the columns out one after the other:
    # fused with a transpose, the differences take ten times as long.
    identity = jnp.eye(a.shape[1], dtype=a.dtype)
    columns = zip(_product(identity, a.T), _product(identity, b.T), strict=True)
    squares = ((x[:, None] - y[None, :]) ** 2 for x, y in columns)
    return functools.reduce(jnp.add, squares) * -0.5 + column[None]


def _offset(a: Array) -> Array:
    """What `_score` leaves out: add it to get -|a_i - b_j|^2 / 2."""
    return -jnp.sum(a**2, axis=1) / 2 if a.shape[1] > _FEW else jnp.zeros(len(a), a.dtype)


def _product(a: Array, b: Array) -> Array:
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def _centre(points: Array, axis: str | None = None) -> Array:
    """The points' mean. Distances do not depend on it, so it has no gradient."""
    mean = jnp.mean(jax.lax.stop_gradient(points), axis=0, dtype=working_dtype(points.dtype))
    return mean if axis is None else jax.lax.pmean(mean, axis)


def _distance(score: Array, queries: Array) -> Array:
    """The distance at which a sample has this score."""
    return safe_sqrt(-2 * (score + _offset(queries)))


def _absent(valid: Array, dtype: jnp.dtype) -> Array:
    return jnp.where(valid, 0, -jnp.inf).astype(dtype)


def _finite(x: Array) -> Array:
    return jnp.where(jnp.isfinite(x), x, 0)


def _starts(points: Array, block: int) -> Array:
    return jnp.arange(0, len(points), block)


def _take(start: Array, block: int, *arrays: Array) -> tuple[list[Array], Array, Array]:
    """Rows start .. start + block of each, their index, and which were not taken before.

    The last block begins early where it would run over the end: padding would copy everything.
    """
    begin = jnp.minimum(start, len(arrays[0]) - block)
    index = begin + jnp.arange(block)
    some = [jax.lax.dynamic_slice_in_dim(x, begin, block) for x in arrays]
    return some, index, index >= start


def _in_blocks(f, block: int, x: Array):  # type: ignore[no-untyped-def]
    """f(x), where f maps rows to rows (in each array it returns), `block` rows at a time."""
    if len(x) <= block:
        return f(x)
    short = -len(x) % block
    padded = jnp.pad(x, ((0, short), *((0, 0),) * (x.ndim - 1)))
    out = jax.lax.map(f, padded.reshape(-1, block, *x.shape[1:]))
    return jax.tree.map(lambda y: y.reshape(-1, *y.shape[2:])[: len(x)], out)


def _some_rows(points: Array, most: int) -> Array:
    return jnp.arange(0, len(points), -(-len(points) // most))


# ---- arguments


def _scale(bandwidth: Scalars, queries: Array) -> Array:
    dtype = working_dtype(queries.dtype)
    return jnp.broadcast_to(jnp.asarray(bandwidth).astype(dtype), queries.shape[1:])


def _check(queries: Array, points: Array, targets: Array, bandwidth: Scalars) -> None:
    if len(points) != len(targets):
        raise ValueError(
            f"{len(points)} points and {len(targets)} targets; every stored sample has one of each"
        )
    if queries.shape[1] != points.shape[1]:
        raise ValueError(
            f"queries have {queries.shape[1]} inputs and the stored points {points.shape[1]}; "
            "give both the same"
        )
    if jnp.shape(bandwidth) not in ((), points.shape[1:]):
        raise ValueError(
            f"bandwidth has shape {jnp.shape(bandwidth)}; give one number, or one for each of the "
            f"{points.shape[1]} inputs"
        )
    if concrete(bandwidth) and not np.all(np.asarray(bandwidth) > 0):
        raise ValueError(
            f"bandwidth is {np.min(np.asarray(bandwidth))}; it must be positive: take one of "
            "bandwidth_grid, or fit_bandwidth"
        )


def _check_coverage(coverage: Scalars) -> None:
    if concrete(coverage) and not 0 < float(np.asarray(coverage)) < 1:
        raise ValueError(f"coverage is {coverage}; give a part between 0 and 1, such as 0.9")
