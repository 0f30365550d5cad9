"""The PSF of defocus through a bladed aperture: a uniform regular polygon."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from blurjax._numerics import absolute
from blurjax._typing import Array, Kernels, Scalars
from blurjax.psf._grid import (
    check_size,
    in_single,
    normalise,
    offsets,
    warn_truncated,
    within_reach,
)
from blurjax.psf._parameters import check_parameters

# Any polygon of radius up to 1/2 lies inside the central pixel.
_DELTA = 0.25


def polygon(radius: Scalars, *, size: int, blades: int = 6, rotation: Scalars = 0.0) -> Kernels:
    r"""Uniform regular polygon, by the exact area of polygon and pixel.

    Defocus seen through an aperture of straight blades. By Green's theorem the
    area of the polygon inside a pixel is the sum over its edges, anticlockwise, of

        - int clip(y, y0, y1) dx   over the part of the edge with x0 <= x <= x1,

    a trapezoid and two rectangles: closed form, no quadrature. Many blades
    approach `psf.defocus` of the same area.

    Args:
        radius: of the corners (the circumscribed circle), in pixels, >= 0. While traced, a
            negative value counts as its magnitude.
        size: k, odd, static; 2 radius or more holds everything.
        blades: number of edges, 3 or more, static.
        rotation: direction of one corner in radians, counter-clockwise as displayed, 0 along the
            columns; period 2 pi / blades. `radius` and `rotation` broadcast; their shape leads
            the result's.

    Returns:
        Kernels `(..., k, k)`, non-negative, sum 1. Radii up to 1/2 give the one-pixel delta. An
        odd number of blades is not symmetric: this is the image of a point, as it is displayed.

    Raises:
        TypeError: `blades` is not a Python int.
        ValueError: even `size`, fewer than three blades, a negative or non-finite concrete
            parameter.

    Warns:
        UserWarning: if concrete parameters lose more than 1e-3 of their mass to `size`.

    Gradient:
        Exact and finite everywhere, by a custom derivative: the length of the edges inside the
        pixel (radius) and their first moment (rotation). It jumps where a whole edge lies on
        a pixel boundary, and is the mean of both sides there. 0 for radius <= 1/2.

    Source:
        Our derivation.

    Example:
        >>> from blurjax import psf
        >>> float(psf.polygon(4.0, size=9, blades=5, rotation=0.3).sum().round(5))
        1.0
    """
    check_size(size)
    if isinstance(blades, bool) or not isinstance(blades, int | np.integer):
        raise TypeError(f"blades is {blades!r}; it sets a shape, so pass a Python int")
    if blades < 3:
        raise ValueError(f"blades is {blades}; a polygon has 3 or more")
    radius, rotation = check_parameters(
        {"radius": radius, "rotation": rotation}, non_negative=("radius",)
    )
    kernel, lost = _polygon(radius, rotation, size, int(blades))
    # A disc of this radius holds the polygon: its support is what `size` should be.
    warn_truncated("defocus", lost, size)
    return kernel


@in_single
@functools.partial(jax.jit, static_argnames=("size", "blades"))
def _polygon(radius: Array, rotation: Array, size: int, blades: int) -> tuple[Array, Array]:
    radius = within_reach(jnp.maximum(absolute(radius), _DELTA), size)
    area = _area(radius, rotation, size, blades)
    whole = blades / 2 * math.sin(2 * math.pi / blades) * radius**2
    return normalise(area), 1 - jnp.sum(area, axis=(-2, -1)) / whole


class _Edges:
    """The edges x = a cos - t sin, y = a sin + t cos, |t| <= h, and the pixels' centres.

    Arrays are (..., edge, row, column), or have length 1 there. y points up.
    """

    def __init__(self, radius: Array, rotation: Array, size: int, blades: int) -> None:
        dtype, lead = radius.dtype, (1,) * radius.ndim
        turn = (2 * jnp.arange(blades, dtype=dtype) + 1) * (math.pi / blades)
        facing = (rotation[..., None] + turn.reshape(*lead, -1))[..., None, None]

        def snap(x: Array) -> Array:
            # Within rounding of an axis the caller meant the axis: the symmetric derivative.
            return jnp.where(jnp.abs(x) < 16 * jnp.finfo(dtype).eps, 0, x)

        self.cosine, self.sine = snap(jnp.cos(facing)), snap(jnp.sin(facing))
        radius = radius[..., None, None, None]
        self.apothem = radius * math.cos(math.pi / blades)
        self.half = radius * math.sin(math.pi / blades)
        self.column = offsets(size, dtype).reshape(*lead, 1, 1, size)
        self.row = -offsets(size, dtype).reshape(*lead, 1, size, 1)

    def within(self, start: Array, rate: Array, pixel: Array) -> tuple[Array, Array, Array]:
        """The interval of t with |start + rate t - pixel| <= 1/2, and its weight.

        An edge at rate 0 is in or out as a whole; on the border it belongs half to either side.
        """
        across = rate == 0
        distance = start - pixel
        divisor = jnp.where(across, 1, rate)
        a, b = (-0.5 - distance) / divisor, (0.5 - distance) / divisor
        low = jnp.where(across, -self.half, jnp.clip(jnp.minimum(a, b), -self.half, self.half))
        high = jnp.where(across, self.half, jnp.clip(jnp.maximum(a, b), -self.half, self.half))
        away = jnp.abs(distance)
        share = jnp.where(away < 0.5, 1.0, jnp.where(away == 0.5, 0.5, 0.0)).astype(low.dtype)
        return low, high, jnp.where(across, share, 1)

    def by_column(self) -> tuple[Array, Array, Array]:
        return self.within(self.apothem * self.cosine, -self.sine, self.column)

    def by_row(self) -> tuple[Array, Array, Array]:
        return self.within(self.apothem * self.sine, self.cosine, self.row)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2, 3))
def _area(radius: Array, rotation: Array, size: int, blades: int) -> Array:
    """The area of the polygon in each pixel, (..., k, k)."""
    edges = _Edges(radius, rotation, size, blades)
    low, high, _ = edges.by_column()
    inner_low, inner_high, _ = edges.by_row()
    inner_low = jnp.clip(inner_low, low, high)
    inner_high = jnp.maximum(jnp.clip(inner_high, low, high), inner_low)

    def height(t: Array) -> Array:
        # Above the pixel's centre: the constant closes to 0 around the polygon.
        y = edges.apothem * edges.sine + edges.cosine * t - edges.row
        return jnp.clip(y, -0.5, 0.5)

    clipped = (
        (inner_low - low) * height(low)
        + (inner_high - inner_low) * height((inner_low + inner_high) / 2)
        + (high - inner_high) * height(high)
    )
    area = jnp.sum(edges.sine * clipped, axis=-3)
    # Far from the polygon only the rounding errors of its edges would be left.
    near = edges.row[..., 0, :, :] ** 2 + edges.column[..., 0, :, :] ** 2
    near = near < (radius[..., None, None] + 0.75) ** 2
    return jnp.where(near, jnp.maximum(area, 0), 0)


@_area.defjvp
def _area_jvp(
    size: int, blades: int, primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    edges = _Edges(*primals, size, blades)
    x_low, x_high, x_weight = edges.by_column()
    y_low, y_high, y_weight = edges.by_row()
    low, high = jnp.maximum(x_low, y_low), jnp.minimum(x_high, y_high)
    length = jnp.maximum(high - low, 0) * x_weight * y_weight
    # Outwards, an edge moves by its apothem's change, and by -t when the polygon turns.
    by_radius = jnp.sum(length, axis=-3) * math.cos(math.pi / blades)
    by_rotation = -jnp.sum(length * (low + high) / 2, axis=-3)
    d_radius, d_rotation = (t[..., None, None] for t in tangents)
    return _area(*primals, size, blades), by_radius * d_radius + by_rotation * d_rotation
