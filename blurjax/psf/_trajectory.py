"""Camera shake: the kernel of a free-form path, and random paths."""

import functools
import math
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax._numerics import concrete, working_dtype
from blurjax._typing import Array, ArrayLike, Float, Kernels, PRNGKey, Real, Scalars
from blurjax.psf._grid import LOST_MASS, check_parameter, check_size


def trajectory(
    points: Float[Array, "*batch t 2"],
    *,
    size: int,
    weights: Real[ArrayLike, "..."] | None = None,
) -> Kernels:
    r"""The kernel of a path: every point splatted bilinearly.

        k(i, j) = sum_t w_t tri(r_t - i) tri(c_t - j) / sum_t w_t,

    with tri(z) = max(1 - |z|, 0): a point shares its weight among the four pixels around it.

    Args:
        points: (..., T, 2), row and column offsets in pixels from the kernel's centre; rows
            point down.
        size: k, odd, static. Points beyond it lose their weight, in part from one pixel before.
        weights: (..., T), >= 0, time spent or light gathered at each point; broadcasts against
            the points. None weighs all alike.

    Returns:
        Kernels `(..., k, k)`, non-negative, sum 1, in the dtype of the points (half precision is
        summed in float32). A path that lies outside altogether gives zeros.

    Raises:
        ValueError: even `size`, concrete points or weights that are not finite, concrete weights
            below 0.

    Warns:
        UserWarning: if concrete points lose more than 1e-3 of their weight to `size`.

    Gradient:
        Exact in points and weights. In a point the kernel is piecewise bilinear: at whole
        numbers, where the tents have their kinks, the derivative is the right-hand one (towards
        larger rows and columns).

    Source:
        Bilinear splatting as in Boracchi & Foi, TIP 2012 (createPSFs.m).

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import psf
        >>> print(psf.trajectory(jnp.array([[0.0, -0.5], [0.0, 0.5]]), size=3)[1])
        [0.25 0.5  0.25]
    """
    check_size(size)
    dtype = working_dtype(points.dtype)
    if weights is None:
        weights = np.ones(points.shape[-2], dtype)
    for name, values in (("points", points), ("weights", weights)):
        if concrete(values) and not np.all(np.isfinite(np.asarray(values, np.float64))):
            raise ValueError(f"some {name} are NaN or infinite; leave them out")
    if concrete(weights) and np.any(np.asarray(weights) < 0):
        raise ValueError(
            f"weights go down to {np.asarray(weights).min()}; a point adds light: give 0 or more"
        )
    kernel, lost = _trajectory(points.astype(dtype), jnp.asarray(weights).astype(dtype), size)
    _warn_cut(points, lost, size)
    return kernel.astype(points.dtype)


def _warn_cut(points: Array, lost: Array, size: int) -> None:
    """Warn if `size` cut off more than `LOST_MASS`; silent while traced: it cannot be known."""
    if concrete(lost) and concrete(points):
        worst = float(np.max(np.asarray(lost, np.float64), initial=0.0))
        if worst > LOST_MASS:
            reach = math.ceil(float(np.max(np.abs(np.asarray(points, np.float64)))))
            warnings.warn(
                f"size {size} cuts off {worst:.2%} of a trajectory's weight (the rest is rescaled "
                f"to sum 1); size {2 * reach + 1} holds all of it",
                stacklevel=3,
            )


@functools.partial(jax.jit, static_argnames="size")
def _trajectory(points: Array, weights: Array, size: int) -> tuple[Array, Array]:
    lead = jnp.broadcast_shapes(points.shape[:-1], weights.shape)
    points = jnp.broadcast_to(points, (*lead, 2)).reshape(-1, *points.shape[-2:])
    weights = jnp.broadcast_to(weights, lead).reshape(points.shape[:-1])
    kernel = jax.vmap(lambda p, w: _splat(p, w, size))(points, weights)
    held, given = jnp.sum(kernel, axis=(-2, -1)), jnp.sum(weights, axis=-1)
    kernel = kernel / jnp.where(held > 0, held, 1)[..., None, None]
    lost = 1 - held / jnp.where(given > 0, given, 1)
    return kernel.reshape(*lead[:-1], size, size), lost.reshape(lead[:-1])


def _splat(points: Array, weights: Array, size: int) -> Array:
    """One kernel before normalisation.

    By scatter-add. The other way, the product of the tents' (k, T) and (T, k) matrices, does k^2
    instead of 4 additions a point. Measured on 2 CPU cores, T = 2000, float32, kernels a second:
    11000 by scatter and 2800 by product at k = 31, 9000 and 490 at k = 95; with the gradient 4200
    and 410, 4100 and 150.
    """
    # Before they become integers, points far outside are brought near.
    near = jnp.clip(points + size // 2, -2, size + 1)
    corner = lax.stop_gradient(jnp.floor(near))
    after = near - corner
    first = corner.astype(int)
    indices, values = [], []
    for i in (0, 1):
        for j in (0, 1):
            row, column = first[:, 0] + i, first[:, 1] + j
            inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
            # Out of range, and so dropped; a negative index would count from the end.
            indices.append(jnp.where(inside, row * size + column, size * size))
            share = (after[:, 0] if i else 1 - after[:, 0]) * (
                after[:, 1] if j else 1 - after[:, 1]
            )
            values.append(weights * share)
    flat = jnp.zeros(size * size, points.dtype)
    flat = flat.at[jnp.concatenate(indices)].add(jnp.concatenate(values), mode="drop")
    return flat.reshape(size, size)


# Boracchi & Foi draw each constant of a path evenly from 0 to this.
_ANXIETY, _CENTRIPETAL, _GAUSSIAN, _BIG_SHAKE = 0.1, 0.7, 10.0, 0.2
# With a given extent the anxiety is drawn evenly in the logarithm between these: paths that are
# neither straight nor curled into a spot.
_CALM, _ANXIOUS = 1e-3, 1e-2
# Below this anxiety a path is straight to the last bit.
_STRAIGHT = 1e-12
# A path much longer than wide is turned; of so many directions the first that will do is taken.
_LARGEST_ASPECT, _DIRECTIONS = 4.0, 8
_NO_LENGTH = 1e-12
# So many paths at a time: their random numbers stay in a CPU's caches (1024 at a time are four
# times slower).
_TOGETHER = 64
# The path ends this share before the centre of the last pixel, or rounding would reach beyond.
_SHORT_OF_THE_END = 1e-6

_CENTRES = ("box", "centroid", "start")


class _Constants(NamedTuple):
    """What governs one path; see `sample_trajectory`."""

    path_length: Array
    anxiety: Array | None
    centripetal: Array | None
    gaussian: Array | None
    big_shake: Array | None
    exposure: Array


def sample_trajectory(
    key: PRNGKey,
    *,
    shape: tuple[int, ...] = (),
    num_samples: int = 2000,
    path_length: Scalars = 60.0,
    anxiety: Scalars | None = None,
    centripetal: Scalars | None = None,
    gaussian: Scalars | None = None,
    big_shake: Scalars | None = None,
    exposure: Scalars = 1.0,
    extent: Scalars | None = None,
    axis: int | None = None,
    centre: str = "box",
) -> Float[Array, "*shape t 2"]:
    r"""Random camera shake: the path of a hand that trembles, drifts back and now and then jerks.

    A particle at x_1 = 0 with velocity v (complex numbers), starting in a random direction; with
    d = L / (T - 1), a step is

        n = 2 v exp(i (pi + U - 1/2)) with probability f A, otherwise 0     (big shake)
        v <- v + n + A (g (N + i N) - c x_t) d,   v <- d v / |v|,   x_{t+1} = x_t + v,

    U uniform in [0, 1], N standard normal, drawn anew in each step. The speed is constant, so
    equal times are equal lengths of path. The points go into `trajectory`. Both together make
    about 2700 kernels a second at k = 31 or 95, 64 at a time in float32 on 2 CPU cores.

    With `extent` the path is rescaled so that the longer of its two axes (or `axis`) spans e - 1
    pixels, from the centre of one pixel to the centre of another: e pixels. A path more than four
    times as long as wide draws its direction again. The label of the kernel is what `psf.extent`
    measures: in the longer axis it was e in all of 1000 draws for each of 13 extents from 3 to 95.

    Args:
        key: a JAX random key. Each path has its own, derived from it and the path's place in
            `shape`: the first of many is the same as the only one.
        shape: the leading axes of the result. Static.
        num_samples: T, at least 2. Static.
        path_length: L, in pixels.
        anxiety: A, how strongly everything but inertia acts; 0 is a straight line. None draws 0.1 U
            or, with `extent`, evenly in the logarithm from 0.001 to 0.01.
        centripetal: c, the pull back to the start; None draws 0.7 U.
        gaussian: g, the tremor; None draws 10 U.
        big_shake: f, the frequency of big shakes; None draws 0.2 U.
        exposure: the share of the path that is seen, in (0, 1], from its start: the T points are
            spread over it. Their weight stays 1: a shorter exposure gathers less light, which is
            the caller's to apply.
        extent: e, in pixels, at least 1, any real number; whole ones give exact kernels. Only that
            axis is aligned to the pixels: in the other a path centred by its box covers an odd
            number of them nearly always.
        axis: which axis `extent` is of: 0 the rows, 1 the columns (the kernel is e pixels wide),
            None the longer one. The other can then be up to four times as long. Static.
        centre: what comes to lie on the kernel's centre: "box" the middle of the path's bounding
            box (with an even `extent` half a pixel before it, in the longer axis), "centroid" the
            mean of the points, so that the kernel does not shift the image, or "start" the first
            point. The last two need a larger `size` than the extent, up to 2 e - 1, and their
            longer axis no longer ends on the centres of pixels. Static.

    All parameters broadcast to `shape`; integers count as floats.

    Returns:
        Points `(*shape, T, 2)`: row and column offsets in pixels, in the dtype of the parameters
        (float32 at least: half precision does not resolve a step).

    Raises:
        ValueError: parameters that do not broadcast to `shape`, are not finite, negative, an
            extent below 1 or an exposure above 1 (where concrete); fewer than 2 samples; an
            unknown `centre` or `axis`.

    Gradient:
        In path_length, exposure and extent exact. In the others that of the path as drawn: it
        takes no account of how they change the chance of a big shake, and for long paths it is
        large and erratic.

    Source:
        Boracchi & Foi, "Modeling the performance of image restoration from motion blur", TIP
        2012, and the constants of their createTrajectory.m. `extent` is our choice.

    Example:
        >>> import jax
        >>> from blurjax import psf
        >>> points = psf.sample_trajectory(jax.random.key(0), shape=(3,), extent=21)
        >>> psf.trajectory(points, size=21).shape
        (3, 21, 21)
    """
    if num_samples < 2:
        raise ValueError(f"num_samples is {num_samples}; a path has at least 2 points")
    if centre not in _CENTRES:
        raise ValueError(f"centre is {centre!r}; choose one of {', '.join(map(repr, _CENTRES))}")
    if axis not in (None, 0, 1):
        raise ValueError(f"axis is {axis!r}; pass 0 for rows, 1 for columns, None for the longer")
    given = {
        "path_length": path_length,
        "anxiety": anxiety,
        "centripetal": centripetal,
        "gaussian": gaussian,
        "big_shake": big_shake,
        "exposure": exposure,
        "extent": extent,
    }
    floats = (getattr(value, "dtype", None) for value in given.values())
    dtype = jnp.result_type(float, *(d for d in floats if d and jnp.issubdtype(d, jnp.floating)))
    dtype = working_dtype(dtype)
    constants: dict[str, Any] = {
        name: _constant(name, value, shape, dtype) for name, value in given.items()
    }
    extents = constants.pop("extent")
    if extents is not None and concrete(extents) and np.any(np.asarray(extents) < 1):
        raise ValueError(
            f"extent is {np.asarray(extents).min()}; it counts pixels, so pass 1 or more"
        )
    if concrete(exposure) and np.any(np.asarray(exposure) > 1):
        raise ValueError(
            f"exposure is {np.max(exposure)}; it is a share of the path, so pass at most 1, and a "
            "larger path_length for a longer one"
        )
    return _sample(key, _Constants(**constants), extents, shape, num_samples, axis, centre)


def _constant(
    name: str, value: Scalars | None, shape: tuple[int, ...], dtype: jnp.dtype
) -> Array | None:
    if value is None:
        return None
    array = check_parameter(name, value, non_negative=True).astype(dtype)
    try:
        return jnp.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(
            f"{name} has shape {array.shape}, which does not broadcast to shape={shape}; pass "
            "the shape of the paths you want"
        ) from None


@functools.partial(jax.jit, static_argnames=("shape", "num_samples", "axis", "centre"))
def _sample(
    key: PRNGKey,
    constants: _Constants,
    extents: Array | None,
    shape: tuple[int, ...],
    num_samples: int,
    axis: int | None,
    centre: str,
) -> Array:
    count = math.prod(shape)
    rounds = max(-(-count // _TOGETHER), 1)
    each = -(-count // rounds)

    def dealt(x: Array) -> Array:
        return jnp.pad(x.ravel(), (0, rounds * each - count), mode="edge").reshape(rounds, each)

    # Not `split`, whose keys depend on their number.
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(rounds * each))
    keys = keys.reshape(rounds, each, *keys.shape[1:])
    path = functools.partial(_path, num_samples=num_samples, axis=axis, centre=centre)
    paths = lax.map(
        lambda args: jax.vmap(path)(*args), (keys, *jax.tree.map(dealt, (constants, extents)))
    )
    return paths.reshape(-1, num_samples, 2)[:count].reshape(*shape, num_samples, 2)


def _path(
    key: PRNGKey,
    constants: _Constants,
    extent: Array | None,
    *,
    num_samples: int,
    axis: int | None,
    centre: str,
) -> Array:
    """One path, (T, 2), scaled and centred."""
    # One call for all random numbers of a path: each further one adds to the time to compile.
    dtype = constants.path_length.dtype
    count = 5 + _DIRECTIONS + 3 * (num_samples - 1)
    above = jnp.nextafter(jnp.array(-1, dtype), jnp.array(0, dtype))
    symmetric = jax.random.uniform(key, (count,), dtype, above, 1)
    turns, u, tremor = jnp.split(symmetric, (_DIRECTIONS, count - 2 * (num_samples - 1)))
    normal = math.sqrt(2) * lax.erf_inv(tremor).reshape(2, -1)
    points = _walk((u + 1) / 2, normal, constants, num_samples, calm=extent is not None)
    shift = jnp.zeros(2, points.dtype)
    if extent is not None:
        points = _turn(math.pi * turns, points)
        span = jnp.max(points, axis=0) - jnp.min(points, axis=0)
        aligned = jnp.arange(2) == (jnp.argmax(span) if axis is None else axis)
        length = jnp.sum(jnp.where(aligned, span, 0))
        # A path without length stays a point.
        scale = (extent - 1) * (1 - _SHORT_OF_THE_END) / jnp.maximum(length, _NO_LENGTH)
        points = points * scale
        # The middle of an even number of pixels is the border of two.
        shift = jnp.where(aligned & (extent % 2 == 0), -0.5, 0).astype(points.dtype)
    if centre == "box":
        low, high = (f(points, axis=0, keepdims=True) for f in (jnp.min, jnp.max))
        return points - (low + high) / 2 + shift[None]
    if centre == "centroid":
        return points - jnp.mean(points, axis=0, keepdims=True)
    return points


def _turn(angles: Array, points: Array) -> Array:
    """The path, turned by the first of some random angles that leaves it not too long and flat.

    The walk has no preferred direction, so this draws the direction again and keeps the path:
    much cheaper than another walk, and no straight path is lost, for it passes as a diagonal.
    """
    rows, columns = points[:, 0], points[:, 1]

    def turned(angle: Array) -> tuple[Array, Array]:
        cosine, sine = jnp.cos(angle), jnp.sin(angle)
        return cosine * rows - sine * columns, sine * rows + cosine * columns

    def aspect(angle: Array) -> Array:
        row, column = (jnp.max(x) - jnp.min(x) for x in turned(angle))
        return jnp.maximum(row, column) / jnp.maximum(jnp.minimum(row, column), _NO_LENGTH)

    aspects = lax.stop_gradient(jax.vmap(aspect)(angles))
    accepted = aspects <= _LARGEST_ASPECT
    first = jnp.where(jnp.any(accepted), jnp.argmax(accepted), jnp.argmin(aspects))
    return jnp.stack(turned(angles[first]), axis=-1)


def _walk(
    uniform: Array, normal: Array, constants: _Constants, num_samples: int, *, calm: bool
) -> Array:
    """The path of Boracchi & Foi from the origin, (T, 2).

    Args:
        uniform: (5 + T - 1,), in [0, 1], for the constants and for the big shakes.
        normal: (2, T - 1), for the tremor.
    """
    length, dtype = constants.path_length, constants.path_length.dtype
    start, u_anxiety, u_centripetal, u_gaussian, u_shake = uniform[:5]

    def drawn(given: Array | None, otherwise: Array) -> Array:
        return otherwise if given is None else given

    log_calm = math.log(_CALM) + math.log(_ANXIOUS / _CALM) * u_anxiety
    anxiety = drawn(constants.anxiety, jnp.exp(log_calm) if calm else _ANXIETY * u_anxiety)
    pull = anxiety * drawn(constants.centripetal, _CENTRIPETAL * u_centripetal)
    tremor = anxiety * drawn(constants.gaussian, _GAUSSIAN * u_gaussian)
    chance = anxiety * drawn(constants.big_shake, _BIG_SHAKE * u_shake)

    step = length / (num_samples - 1)
    u = uniform[5:]
    # Below its chance a uniform number is itself uniform: the shake's direction needs no other.
    below = u < chance
    part = jnp.where(below, u, 0) / lax.stop_gradient(jnp.where(chance > 0, chance, 1))
    turn, shake = math.pi - 0.5 + part, jnp.where(below, 2, 0).astype(dtype)
    push = tremor * normal

    # Numbers, not pairs: under `vmap` each becomes one contiguous vector over the paths.
    def advance(state: tuple[Array, ...], now: tuple[Array, ...]) -> tuple[tuple, tuple]:
        row, column, v_row, v_column = state
        along, across, push_row, push_column = now
        d_row = along * v_row + across * v_column + push_row - pull * row
        d_column = along * v_column - across * v_row + push_column - pull * column
        v_row, v_column = v_row + d_row, v_column + d_column
        square = v_row**2 + v_column**2
        # Velocities in steps: after the first all are unit vectors.
        unit = lax.rsqrt(jnp.where(square > 0, square, 1))
        v_row, v_column = v_row * unit, v_column * unit
        row, column = row + step * v_row, column + step * v_column
        return (row, column, v_row, v_column), (row, column)

    zero = jnp.zeros((), dtype)
    speed = jnp.where(anxiety > _STRAIGHT, anxiety / jnp.where(step > 0, step, 1), 1)
    direction = 2 * math.pi * start
    begin = (zero, zero, speed * jnp.sin(direction), speed * jnp.cos(direction))
    forces = (shake * jnp.cos(turn), shake * jnp.sin(turn), push[0], push[1])
    _, path = lax.scan(advance, begin, forces)
    points = jnp.pad(jnp.stack(path, axis=-1), ((1, 0), (0, 0)))
    return _exposed(points, constants.exposure)


def _exposed(points: Array, exposure: Array) -> Array:
    """The first share of a path, on as many points."""
    last = points.shape[0] - 1
    time = exposure * jnp.arange(last + 1, dtype=points.dtype)
    before = jnp.clip(lax.stop_gradient(jnp.floor(time)), 0, last - 1)
    index = before.astype(int)
    part = (time - before)[:, None]
    return (1 - part) * points[index] + part * points[index + 1]
