"""Dead leaves: random images with the statistics of photographs, made on the device."""

import math
from functools import lru_cache, partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import random
from jax.typing import DTypeLike

from blurjax._typing import Array, Float, PRNGKey

# Of each `_GROUP` leaves one comes from the largest 1/_GROUP of the radii and is painted in a
# large window, the others in a small one: the cost of a leaf is its window's area.
_GROUP = 8
_LAYERS = 4.0  # mean number of leaves over a pixel: exp(-4) = 2 % of the background shows


class _Leaves(NamedTuple):
    """One leaf, or arrays of them; lengths in pixels, angles in radians."""

    row: Array
    column: Array
    half: Array  # (..., 2) semi-axes or half-sides
    angle: Array
    ellipse: Array  # bool; a rectangle otherwise
    level: Array  # gray at the centre
    shade: Array  # (..., 2) change of gray a pixel, from shading
    wave: Array  # (..., 2) spatial frequency of the grating, radians a pixel
    phase: Array
    wave_amplitude: Array
    noise_amplitude: Array
    noise_start: Array  # (..., 3) int: field, row and column where its texture is cut


@partial(jax.jit, static_argnames=("size", "count", "min_radius", "max_radius", "dtype"))
def dead_leaves(
    key: PRNGKey,
    *,
    size: int,
    count: int | None = None,
    min_radius: float = 2.0,
    max_radius: float | None = None,
    dtype: DTypeLike = jnp.float32,
) -> Float[Array, "size size"]:
    """A random gray image of textured shapes that hide one another.

    Leaves fall until they cover the image several times over. Their radii have density
    proportional to r^-3 in [min_radius, max_radius], the law that makes the image look the
    same at every scale; centres are uniform in the plane (those that reach the image are drawn,
    so that its border is like its middle). A leaf is an ellipse or a rectangle inside the
    circle of radius r, turned at random, of uniform gray, with linear shading, an oriented
    grating and 1/f^a noise (a = 0.6 or 1.4), each of random strength. Edges are antialiased
    over one pixel. Gray, range and strength vary from image to image.

    Args:
        key: the only source of randomness; vmap over keys for a batch.
        size: side of the image in pixels, at least 8 (the default radii need more). Static.
        count: number of leaves, rounded up to a multiple of 8; None for four layers on average
            (about 1800 at 128 x 128). Static.
        min_radius: in pixels, > 0. Static.
        max_radius: in pixels, > `min_radius`; None for size / 4. Static.
        dtype: of the result; computed in at least float32. Static.

    Returns:
        (size, size) in [0, 1].

    Raises:
        ValueError: size, count or radii out of range.

    Gradient: there is nothing to differentiate; the image depends on the key alone.

    Source: A. Lee, D. Mumford, J. Huang, Occlusion models for natural images, IJCV 41 (2001);
    shapes other than discs, textures and all numbers are our choice.
    """
    top = size / 4 if max_radius is None else max_radius
    if size < 8 or not 0 < min_radius < top or (count is not None and count < 1):
        raise ValueError(
            f"size={size}, count={count}, radii {min_radius:g} to {top:g}: expected size >= 8, "
            "count >= 1 and 0 < min_radius < max_radius"
        )
    law = _radius_law(size, min_radius, top)
    groups = math.ceil((law.total if count is None else count) / _GROUP)
    large_window = min(size, 2 * math.ceil(top) + 3)
    small_window = min(size, 2 * math.ceil(law.divide) + 3)
    real = jnp.float64 if jnp.dtype(dtype) == jnp.float64 else jnp.float32

    style_key, noise_key, leaf_key = random.split(key, 3)
    style = _style(style_key, real)
    noise = _noise_fields(noise_key, 2 * size, real)
    leaves = _sample_leaves(leaf_key, (groups, _GROUP), law, style, size, real)

    def paint_small(canvas: Array, leaf: _Leaves) -> tuple[Array, None]:
        return _paint(canvas, leaf, noise, small_window), None

    def paint_group(canvas: Array, group: _Leaves) -> tuple[Array, None]:
        canvas = _paint(canvas, jax.tree.map(lambda x: x[0], group), noise, large_window)
        return jax.lax.scan(paint_small, canvas, jax.tree.map(lambda x: x[1:], group))

    ground = style.ground + 0.1 * noise[1, :size, :size]
    canvas, _ = jax.lax.scan(paint_group, ground, leaves)
    return jnp.clip(canvas, 0, 1).astype(dtype)


class _RadiusLaw(NamedTuple):
    """The distribution of the radii of the leaves that reach an image."""

    radii: np.ndarray
    cumulative: np.ndarray
    divide: float  # radius between a group's small leaves and its large one
    total: int  # leaves for `_LAYERS` layers


@lru_cache
def _radius_law(size: int, low: float, high: float) -> _RadiusLaw:
    """Density r^-3 in the plane; a leaf reaches the image from (size + 2 r)^2 of its area."""
    radii = np.geomspace(low, high, 512)
    density, reach = radii**-3.0, (size + 2 * radii) ** 2
    cumulative = np.concatenate([[0], np.cumsum(_trapezoids(density * reach, radii))])
    cumulative /= cumulative[-1]
    # E[area / r^2] of the shapes of `_sample_leaves`: ellipses pi q, rectangles 4 q / (1 + q^2).
    q = np.linspace(0.3, 1, 512)
    shape = (np.mean(np.pi * q) + np.mean(4 * q / (1 + q**2))) / 2
    covered = np.sum(_trapezoids(density * shape * radii**2, radii))
    count = _LAYERS * np.sum(_trapezoids(density * reach, radii)) / covered
    divide = np.interp(1 - 1 / _GROUP, cumulative, radii)
    return _RadiusLaw(radii, cumulative, float(divide), int(count))


def _trapezoids(values: np.ndarray, x: np.ndarray) -> np.ndarray:
    return (values[1:] + values[:-1]) / 2 * np.diff(x)


class _Style(NamedTuple):
    """What the leaves of one image have in common."""

    low: Array  # darkest gray
    contrast: Array  # range of the grays
    texture: Array  # strength of the textures
    ground: Array  # gray of the background


def _style(key: PRNGKey, dtype: DTypeLike) -> _Style:
    draw = random.uniform(key, (4,), dtype)
    contrast = 0.4 + 0.6 * draw[0]
    low = (1 - contrast) * draw[1]
    return _Style(
        low=low,
        contrast=contrast,
        texture=0.2 + 0.8 * draw[2],
        ground=low + contrast * draw[3],
    )


def _noise_fields(key: PRNGKey, size: int, dtype: DTypeLike) -> Array:
    """Two periodic Gaussian fields with amplitudes 1/f^0.6 and 1/f^1.4, (2, size, size).

    Mean 0 and standard deviation 1 each.
    """
    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    amplitude = np.stack([frequency**-0.6, frequency**-1.4])
    white = random.normal(key, (2, size, size), dtype)
    spectrum = jnp.fft.rfft2(white)
    spectrum = spectrum * jnp.asarray(amplitude, spectrum.dtype)
    field = jnp.fft.irfft2(spectrum, (size, size))
    return field / jnp.std(field, axis=(1, 2), keepdims=True)


def _sample_leaves(
    key: PRNGKey,
    shape: tuple[int, int],
    law: _RadiusLaw,
    style: _Style,
    size: int,
    dtype: DTypeLike,
) -> _Leaves:
    """`shape` leaves in the order they fall; column 0 holds the large ones."""
    # One draw for all, because each would be compiled anew.
    draws = iter(random.uniform(key, (18, *shape), dtype))

    def uniform(low: float = 0.0, high: float = 1.0) -> Array:
        return low + (high - low) * next(draws)

    # With one row, so that ranks agree.
    large = (jnp.arange(shape[1]) == 0)[None, :]
    share = 1 / _GROUP
    quantile = jnp.where(large, 1 - share + share * uniform(), (1 - share) * uniform())
    radius = jnp.interp(quantile, jnp.asarray(law.cumulative, dtype), jnp.asarray(law.radii, dtype))
    # From -r to size + r, measured from the centre of the first pixel.
    row, column = ((size + 2 * radius) * uniform() - radius - 0.5 for _ in range(2))

    ellipse = uniform() < 0.5
    ratio = uniform(0.3, 1.0)
    # Both shapes fit the circle of radius r, which bounds the window.
    long = jnp.where(ellipse, radius, radius / jnp.sqrt(1 + ratio**2))

    direction, frequency = uniform(0.0, math.pi), jnp.exp(uniform(math.log(0.02), math.log(0.35)))
    wave = 2 * math.pi * frequency[..., None] * _unit(direction)
    shade = uniform(-0.15, 0.15)[..., None] * _unit(uniform(0.0, math.pi)) / radius[..., None]
    # Squares and cubes: many leaves nearly plain, some strongly textured.
    return _Leaves(
        row=row,
        column=column,
        half=jnp.stack([long, long * ratio], axis=-1),
        angle=uniform(0.0, math.pi),
        ellipse=ellipse,
        level=style.low + style.contrast * uniform(),
        shade=style.contrast * shade,
        wave=wave,
        phase=uniform(0.0, 2 * math.pi),
        wave_amplitude=0.4 * style.texture * style.contrast * uniform() ** 3,
        noise_amplitude=0.2 * style.texture * style.contrast * uniform() ** 2,
        noise_start=jnp.stack(
            [(stop * uniform()).astype(jnp.int32) for stop in (2, size, size)], axis=-1
        ),
    )


def _unit(angle: Array) -> Array:
    """(row, column) unit vectors, (..., 2)."""
    return jnp.stack([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def _paint(canvas: Array, leaf: _Leaves, noise: Array, window: int) -> Array:
    """The canvas (size, size) with a leaf over it; only a (window, window) part is touched."""
    start = [
        jnp.clip(jnp.round(x).astype(jnp.int32) - window // 2, 0, canvas.shape[0] - window)
        for x in (leaf.row, leaf.column)
    ]
    steps = jnp.arange(window, dtype=canvas.dtype)
    y = (start[0].astype(canvas.dtype) - leaf.row + steps)[:, None]
    x = (start[1].astype(canvas.dtype) - leaf.column + steps)[None, :]

    texture = jax.lax.dynamic_slice(noise, leaf.noise_start, (1, window, window))[0]
    grating = jnp.cos(leaf.wave[0] * y + leaf.wave[1] * x + leaf.phase)
    gray = leaf.level + leaf.shade[0] * y + leaf.shade[1] * x
    gray = gray + leaf.wave_amplitude * grating + leaf.noise_amplitude * texture

    below = jax.lax.dynamic_slice(canvas, start, (window, window))
    cover = _coverage(y, x, leaf)
    return jax.lax.dynamic_update_slice(canvas, below + cover * (gray - below), start)


def _coverage(y: Array, x: Array, leaf: _Leaves) -> Array:
    """How much of each pixel the leaf covers, in [0, 1]: a ramp of one pixel across the edge."""
    cos, sin = jnp.cos(leaf.angle), jnp.sin(leaf.angle)
    along, across = jnp.abs(cos * x + sin * y), jnp.abs(cos * y - sin * x)
    a, b = leaf.half[0], leaf.half[1]
    rectangle = jnp.maximum(along - a, across - b)
    # Distance to an ellipse to first order, (rho - 1) rho / |grad|; the small term keeps the
    # quotient finite at the centre.
    u, v = (along / a) ** 2 + 1e-6, (across / b) ** 2 + 1e-6
    ellipse = (jnp.sqrt(u + v) - 1) * jnp.sqrt((u + v) / (u / a**2 + v / b**2))
    return jnp.clip(0.5 - jnp.where(leaf.ellipse, ellipse, rectangle), 0, 1)
