"""The parameters of a blur by gradient descent: `blurjax.fit`, and what `fit_blind` shares."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax import imaging
from blurjax._numerics import concrete, working_dtype
from blurjax._typing import Array, ArrayLike
from blurjax.imaging._arrays import as_image
from blurjax.psf import FAMILIES, Family, Parameter, as_family

# The descents see a window of this many pixels a side: enough to find the valley. The last
# steps and the standard errors see the whole image.
_WINDOW = 128
# Starting points whose loss is looked at, for each one that is followed.
_SCREENED = 16
# How far around a given start a better one is looked for: a factor of 1.5, 23 degrees.
_NEIGHBOURHOOD = 0.4
_LEARNING_RATE = 0.05
_POLISHING_STEPS = 10


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("parameters", "standard_errors", "loss", "kernel", "alternatives"),
    meta_fields=("family",),
)
@dataclass(frozen=True)
class Fit:
    """What `fit` found. A pytree: `family` is static, all else are arrays."""

    family: str
    """The name of the family, "custom" for one without a name."""
    parameters: dict[str, Array]
    """By name, in pixels and radians; each of the leading shape of the images."""
    standard_errors: dict[str, Array]
    """Of each parameter, in its unit; infinite where the images say nothing about it."""
    loss: Array
    """What was minimised, at the minimum."""
    kernel: Array
    """The kernel of these parameters, (..., k, k)."""
    alternatives: "dict[str, Fit]" = field(default_factory=dict)
    """Of family="all": the fit of every family tried; otherwise empty."""


def fit(
    sharp: ArrayLike,
    blurred: ArrayLike,
    *,
    family: str | Family,
    size: int,
    start: Mapping[str, ArrayLike] | None = None,
    starts: int = 8,
    steps: int = 200,
    margin: int | None = None,
) -> Fit:
    r"""The parameters of a blur from the sharp image and the blurred one.

    Minimises over the parameters theta of a family

        loss(theta) = mean_p (blur(sharp, psf(theta))[p] - blurred[p])^2

    over the pixels p that no boundary rule touches. Adam descends it by `jax.grad` from several
    starting points at once (lengths in their logarithm, learning rate 0.05 falling to 0 as a
    cosine), in the most textured window of 128 pixels; Levenberg-Marquardt steps on the whole
    image then take the best of them to the bottom. The starting points are the best of an even
    spread over the family's range. The standard errors come from the curvature there,

        cov = s^2 (J' J)^-1,   s^2 = sum of squares / (pixels - parameters),

    with J the derivative of the blurred pixels: right for white noise (that of `add_noise`, and
    nearly that of `quantise`), too small for correlated errors such as those of JPEG.

    Args:
        sharp: (..., H, W) floats, the same light as `blurred`: a camera blurs linear light
            (`imaging.linearise`). Leading axes are independent fits.
        blurred: (..., H, W), registered with `sharp`, or (..., H - k + 1, W - k + 1): its valid
            part. Leading axes broadcast against those of `sharp`.
        family: "gaussian" (sigma), "motion" (length, angle), "defocus" (radius), any other name
            in `psf.FAMILIES`, a `psf.Family` of your own, or "all": the first three are fitted
            and the one with the smallest loss is the answer. Static.
        size: k, odd, static: large enough for the blur.
        start: a value for every parameter, numbers or arrays that broadcast to the leading axes;
            instead of `starts`. A second descent begins at the best point of its neighbourhood
            (lengths within a factor of 1.5, angles within 23 degrees). The angle of a motion should
            not be a multiple of pi/2, where the derivative is the mean of two sides.
        starts: how many descents. Static.
        steps: gradient steps in each. Static.
        margin: pixels to leave out at every border of a `blurred` of full size, at least k // 2,
            which is the default. Static.

    Returns:
        A `Fit`: `.parameters`, `.standard_errors` (dicts by name), `.loss`, `.kernel`,
        `.family`. sigma is that of `psf.gaussian` by area; the standard deviation of the kernel
        itself, sqrt(sigma^2 + 1/12), is what `psf.moments(fit.kernel)` says, and what other
        libraries call sigma. Angles lie in [0, pi).

    Raises:
        TypeError: the images are not floating point.
        ValueError: an unknown family, shapes that do not belong together, a margin or size out
            of range, a missing start, or concrete images that are not finite or without contrast.

    Gradient: not useful (the answer is a minimum found by iteration). jit and vmap work, but for
        family="all", which looks at values (host; one pair of images).

    Source: our choice; optax for Adam, Levenberg-Marquardt after Nocedal and Wright, Numerical
        Optimization (2006), section 10.3.

    Example:
        >>> import jax.numpy as jnp
        >>> import blurjax
        >>> from blurjax import data, imaging, psf
        >>> sharp = jnp.asarray(data.embedded("test")[0])[:160, :160]
        >>> seen = imaging.quantise(imaging.blur(sharp, psf.motion(9.0, 0.5, size=15)))
        >>> answer = blurjax.fit(sharp, seen, family="motion", size=15, starts=2)
        >>> [round(float(answer.parameters[name]), 1) for name in ("length", "angle")]
        [9.0, 0.5]
    """
    sharp, blurred = _pair(sharp, blurred, size, margin)
    check_counts(starts=starts, steps=steps)
    if family == "all":
        if start is not None:
            raise ValueError('start is given with family="all"; name the family that it is for')
        return best(lambda name: _fit(sharp, blurred, name, None, size, starts, steps), sharp)
    return _fit(sharp, blurred, family, start, size, starts, steps)


def _fit(
    sharp: Array,
    blurred: Array,
    name: str | Family,
    start: Mapping[str, ArrayLike] | None,
    size: int,
    starts: int,
    steps: int,
) -> Fit:
    family = as_family(name)
    free = _given_start(family, start, sharp.dtype, sharp.shape[:-2])
    one = functools.partial(_fit_pair, family=family, size=size, starts=starts, steps=steps)
    for _ in sharp.shape[:-2]:
        one = jax.vmap(one, in_axes=(0, 0, None if free is None else 0))
    return named(name, family, one(sharp, blurred, free))


@functools.partial(jax.jit, static_argnames=("family", "size", "starts", "steps"))
def _fit_pair(
    sharp: Array,
    blurred: Array,
    start: Array | None,
    *,
    family: Family,
    size: int,
    starts: int,
    steps: int,
) -> tuple[Array, Array, Array, Array]:
    """One pair: parameters (d,), their standard errors (d,), loss and kernel."""

    def residual(free: Array, sharp: Array, blurred: Array) -> Array:
        kernel = family.kernel(*physical(family, free), size=size)
        return (imaging.blur(sharp, kernel, boundary="valid") - blurred).ravel()

    window = _textured_window(sharp, blurred)

    def loss(free: Array) -> Array:
        return jnp.mean(residual(free, *window) ** 2)

    if start is None:
        points = best_of(loss, spread(family, _SCREENED * starts, sharp.dtype), starts)
    else:
        near = start[None] + _NEIGHBOURHOOD * (
            2 * _unit_cube(_SCREENED, start.size, start.dtype) - 1
        )
        points = jnp.concatenate([start[None], best_of(loss, near, 1)])
    free = descended(loss, points, steps)
    ends = [polished(lambda z: residual(z, sharp, blurred), z) for z in _mirrored(family, free)]
    ends = jax.tree.map(lambda *leaves: jnp.stack(leaves), *ends)
    best = jnp.argmin(jnp.sum(ends[2] ** 2, axis=-1))
    free, jacobian, remains = jax.tree.map(lambda leaf: leaf[best], ends)
    count = max(remains.size - free.size, 1)
    # A derivative of the size of rounding errors is none.
    rounding = 8 * jnp.finfo(sharp.dtype).eps * jnp.sqrt(jnp.sum(blurred**2))
    variance = jnp.sum(remains**2) / count
    covariance = inverse(jacobian.T @ jacobian, variance, rounding)
    theta, errors = with_errors(family, free, covariance)
    return theta, errors, jnp.mean(remains**2), family.kernel(*theta, size=size)


# --- Checks, and the coordinates of the descent.


def check_counts(**counts: int) -> None:
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"{name} is {count}; it must be 1 or more")


def checked_image(name: str, image: ArrayLike) -> Array:
    array = as_image(image, min_ndim=2, name=name)
    if concrete(array):
        seen = np.asarray(array, np.float64)
        if not np.all(np.isfinite(seen)):
            raise ValueError(f"{name} holds values that are not finite; crop or replace them first")
        if np.any(np.ptp(seen, axis=(-2, -1)) == 0):
            raise ValueError(f"{name} is constant, as is any blur of it; take one with contrast")
    return array.astype(working_dtype(array.dtype))


def _pair(
    sharp: ArrayLike, blurred: ArrayLike, size: int, margin: int | None
) -> tuple[Array, Array]:
    """Both images checked, broadcast and cut: blurred becomes the valid part of sharp's blur."""
    sharp, blurred = checked_image("sharp", sharp), checked_image("blurred", blurred)
    height, width = sharp.shape[-2:]
    least, most = size // 2, (min(height, width) - 8) // 2
    if least > most:
        raise ValueError(
            f"sharp is {height}x{width} and size is {size}, which leaves fewer than 8 valid pixels "
            "a side; take a larger image or a smaller size (colour: gray images, or channels first)"
        )
    if blurred.shape[-2:] == (height, width):
        margin = least if margin is None else margin
        if not least <= margin <= most:
            raise ValueError(
                f"margin is {margin}; with size {size} on an image of {height}x{width} it must be "
                f"from {least} to {most}"
            )
        cut = margin - least
        sharp = sharp[..., cut : height - cut, cut : width - cut]
        blurred = blurred[..., margin : height - margin, margin : width - margin]
    elif margin is not None or blurred.shape[-2:] != (height - 2 * least, width - 2 * least):
        raise ValueError(
            f"blurred is {blurred.shape[-2]}x{blurred.shape[-1]} and sharp {height}x{width}; they "
            f"must be of equal size, or blurred smaller by size - 1 = {2 * least} and without "
            "margin"
        )
    lead = jnp.broadcast_shapes(sharp.shape[:-2], blurred.shape[:-2])
    dtype = max(sharp.dtype, blurred.dtype, key=lambda dtype: dtype.itemsize)
    return (
        jnp.broadcast_to(sharp.astype(dtype), (*lead, *sharp.shape[-2:])),
        jnp.broadcast_to(blurred.astype(dtype), (*lead, *blurred.shape[-2:])),
    )


def _given_start(
    family: Family, start: Mapping[str, ArrayLike] | None, dtype: jnp.dtype, lead: tuple[int, ...]
) -> Array | None:
    """The given start in the coordinates of the descent, (*lead, d)."""
    if start is None:
        return None
    if set(start) != set(family.names):
        raise ValueError(
            f"start has {sorted(start)}; give a value for {' and '.join(family.names)}"
        )
    theta = [jnp.broadcast_to(jnp.asarray(start[n]).astype(dtype), lead) for n in family.names]
    for parameter, column in zip(family.parameters, theta, strict=True):
        if _is_logarithmic(parameter) and concrete(column) and not np.all(np.asarray(column) > 0):
            raise ValueError(f"the start of {parameter.name} is {column}; it must be above 0")
    free = [_to_free(p, t) for p, t in zip(family.parameters, theta, strict=True)]
    return jnp.stack(free, axis=-1)


def _is_logarithmic(parameter: Parameter) -> bool:
    """Lengths descend in their logarithm, where a step is a ratio and none leads below 0."""
    return parameter.period is None and parameter.low > 0


def _unit(parameter: Parameter) -> float:
    """Angles are in radians; the unit of anything that may be 0 is its range."""
    return 1.0 if parameter.period else parameter.high - parameter.low


def _to_free(parameter: Parameter, value: Array) -> Array:
    return jnp.log(value) if _is_logarithmic(parameter) else value / _unit(parameter)


def free_range(parameter: Parameter, dtype: jnp.dtype) -> tuple[Array, Array]:
    """The parameter's range in the coordinates of the descent."""
    low, high = (
        _to_free(parameter, jnp.asarray(v, dtype)) for v in (parameter.low, parameter.high)
    )
    return low, high


def _to_physical(parameter: Parameter, free: Array) -> Array:
    return jnp.exp(free) if _is_logarithmic(parameter) else free * _unit(parameter)


def physical(family: Family, free: Array) -> list[Array]:
    return [_to_physical(p, free[i]) for i, p in enumerate(family.parameters)]


def free(family: Family, theta: Array) -> Array:
    """Where a descent stands at these parameters, (..., d); the inverse of `physical`."""
    pairs = zip(family.parameters, jnp.unstack(theta, axis=-1), strict=True)
    return jnp.stack([_to_free(parameter, value) for parameter, value in pairs], axis=-1)


def with_errors(family: Family, free: Array, covariance: Array) -> tuple[Array, Array]:
    """Parameters in their units, periods taken off, and their standard errors."""
    theta, errors = [], []
    for i, parameter in enumerate(family.parameters):
        value, slope = jax.value_and_grad(functools.partial(_to_physical, parameter))(free[i])
        theta.append(value % parameter.period if parameter.period else value)
        errors.append(jnp.abs(slope) * jnp.sqrt(covariance[i, i]))
    return jnp.stack(theta), jnp.stack(errors)


def named(name: str | Family, family: Family, found: tuple[Array, Array, Array, Array]) -> Fit:
    theta, errors, loss, kernel = found
    return Fit(
        name if isinstance(name, str) else "custom",
        {n: theta[..., i] for i, n in enumerate(family.names)},
        {n: errors[..., i] for i, n in enumerate(family.names)},
        loss,
        kernel,
    )


def best(fit_family: Callable[[str], Fit], image: Array) -> Fit:
    """The blur type of least loss (host)."""
    if image.ndim != 2 or not concrete(image):
        raise ValueError(
            'family="all" chooses by looking at the losses of one image, and got '
            f"{'a traced array' if not concrete(image) else f'shape {image.shape}'}; loop over the "
            "images, or fit each family and compare `.loss`"
        )
    fits = {name: fit_family(name) for name in list(FAMILIES)[:3]}
    best = min(fits.values(), key=lambda found: float(found.loss))
    return Fit(best.family, best.parameters, best.standard_errors, best.loss, best.kernel, fits)


# --- The search: screen, descend, polish.


def _unit_cube(count: int, d: int, dtype: jnp.dtype) -> Array:
    """`count` points spread evenly over the unit cube, (count, d).

    Source: the additive recurrence R_d of Roberts, "The unreasonable effectiveness of
        quasirandom sequences" (2018).
    """
    root = 2.0
    for _ in range(64):
        root = (1 + root) ** (1 / (d + 1))
    steps = root ** -np.arange(1.0, d + 1)
    return jnp.asarray((0.5 + np.outer(np.arange(1, count + 1), steps)) % 1, dtype)


def spread(family: Family, count: int, dtype: jnp.dtype) -> Array:
    """`count` points spread evenly over the family's range, (count, d)."""
    ranges = [free_range(p, dtype) for p in family.parameters]
    low, high = (jnp.stack(end) for end in zip(*ranges, strict=True))
    return low[None] + _unit_cube(count, len(family.parameters), dtype) * (high - low)[None]


def best_of(loss: Callable[[Array], Array], points: Array, count: int) -> Array:
    """The `count` points of least loss."""
    losses = lax.map(loss, points, batch_size=8)
    return points[jnp.argsort(losses)[:count]]


def descended(loss: Callable[[Array], Array], points: Array, steps: int) -> Array:
    """Where Adam ends from each point, and of these the point of least loss, (d,)."""
    # optax costs a second to import.
    import optax

    optimiser = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, steps))

    def descend(point: Array) -> tuple[Array, Array]:
        def step(carry: tuple, _: None) -> tuple[tuple, None]:
            point, state = carry
            # optax mixes dtypes; the caller may have made that an error.
            with jax.numpy_dtype_promotion("standard"):
                updates, state = optimiser.update(jax.grad(loss)(point), state)
                return (optax.apply_updates(point, updates), state), None

        (point, _), _ = lax.scan(step, (point, optimiser.init(point)), length=steps)
        return point, loss(point)

    ends, losses = jax.vmap(descend)(points)
    return ends[jnp.argmin(jnp.where(jnp.isnan(losses), jnp.inf, losses))]


def _mirrored(family: Family, free: Array) -> list[Array]:
    """The point, and where the family has an angle also its image across the nearest grid axis.

    At the axes the loss has a kink, on the wrong side of which a descent may end.
    """
    angle = jnp.array([p.period is not None for p in family.parameters])
    if not any(p.period for p in family.parameters):
        return [free]
    axis = jnp.round(free / (jnp.pi / 2)) * (jnp.pi / 2)
    return [free, jnp.where(angle, 2 * axis - free, free)]


def polished(
    residual: Callable[[Array], Array], point: Array, steps: int = _POLISHING_STEPS
) -> tuple[Array, Array, Array]:
    """Levenberg-Marquardt from `point`: where it ends, the Jacobian and the residuals there."""

    def at(point: Array) -> tuple[Array, Array]:
        remains, push = jax.linearize(residual, point)
        return jax.vmap(push, out_axes=1)(jnp.eye(point.size, dtype=point.dtype)), remains

    def step(carry: tuple, _: None) -> tuple[tuple, None]:
        point, (jacobian, remains), damping = carry
        normal = jacobian.T @ jacobian
        # The last term keeps a parameter without effect where it is.
        diagonal = damping * jnp.diagonal(normal) + jnp.finfo(point.dtype).tiny ** 0.5
        trial = point - jnp.linalg.solve(normal + jnp.diag(diagonal), jacobian.T @ remains)
        there = at(trial)
        better = jnp.sum(there[1] ** 2) < jnp.sum(remains**2)
        kept = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (trial, there), (point, carry[1])
        )
        return (*kept, jnp.where(better, damping / 4, damping * 8)), None

    start = (point, at(point), jnp.asarray(1e-3, point.dtype))
    (point, (jacobian, remains), _), _ = lax.scan(step, start, length=steps)
    return point, jacobian, remains


def inverse(normal: Array, variance: ArrayLike = 1.0, least: ArrayLike = 0.0) -> Array:
    """`variance` (J' J)^-1, infinite for columns of J not longer than `least`."""
    scale = jnp.sqrt(jnp.diagonal(normal))
    unknown = ~(scale > least)
    scale = jnp.where(unknown, 1, scale)
    # Of unit diagonal, so that parameters of different units do not spoil the arithmetic.
    unit = normal / scale[:, None] / scale[None, :]
    unit = jnp.where(
        unknown[:, None] | unknown[None, :], jnp.eye(scale.size, dtype=unit.dtype), unit
    )
    inverse = jnp.linalg.inv(unit) / scale[:, None] / scale[None, :]
    bad = unknown | ~(jnp.diagonal(inverse) > 0)
    # Infinite even where the variance is 0.
    return jnp.where(jnp.diag(bad), jnp.inf, inverse * variance)


def _textured_window(sharp: Array, blurred: Array) -> tuple[Array, Array]:
    """The part of both with the most gradient energy in the sharp one."""
    shape = tuple(min(n, _WINDOW) for n in blurred.shape)
    if shape == blurred.shape:
        return sharp, blurred
    grown = tuple(n + s - b for n, s, b in zip(shape, sharp.shape, blurred.shape, strict=True))
    energy = jnp.diff(sharp, axis=0)[:, :-1] ** 2 + jnp.diff(sharp, axis=1)[:-1] ** 2
    integral = jnp.pad(jnp.cumsum(jnp.cumsum(energy, axis=0), axis=1), ((1, 0), (1, 0)))
    rows, columns = grown[0] - 1, grown[1] - 1
    inside = (
        integral[rows:, columns:]
        - integral[:-rows, columns:]
        - integral[rows:, :-columns]
        + integral[:-rows, :-columns]
    )
    corner = jnp.unravel_index(jnp.argmax(inside), inside.shape)
    return lax.dynamic_slice(sharp, corner, grown), lax.dynamic_slice(blurred, corner, shape)
