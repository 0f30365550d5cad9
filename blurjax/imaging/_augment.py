"""Random blur as a data augmentation."""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from blurjax._numerics import working_dtype
from blurjax._typing import Array, ArrayLike, PRNGKey
from blurjax.imaging._arrays import as_image
from blurjax.imaging._blur import blur
from blurjax.psf import Family, as_family

# Low, high, and whether even in the logarithm; for each parameter of each family.
_Ranges = tuple[tuple[tuple[float, float, bool], ...], ...]


class RandomBlur(NamedTuple):
    """Blurred images and the labels that go with them."""

    images: Array
    """In the shape and dtype of the images given (smaller for "valid")."""
    psf: Array
    """(n, k, k), the kernel of each image; the one-pixel delta where it was kept."""
    family: Array
    """(n,) int, the place in `families`; -1 where the image was kept."""
    parameters: Array
    """(n, p), the parameters of its family in their order, then zeros; p is the largest number
    of parameters a family has."""


def random_blur(
    key: PRNGKey,
    images: ArrayLike,
    *,
    size: int,
    families: Sequence[str | Family] = ("gaussian", "motion", "defocus"),
    ranges: Mapping[str, tuple[float, float]] | None = None,
    probability: ArrayLike = 1.0,
    boundary: str = "reflect",
    channel_axis: int | None = None,
) -> RandomBlur:
    """Blur each image by a kernel of its own, of a random family with random parameters.

    Every family is equally likely. A parameter is drawn evenly from its range; evenly in the
    logarithm where the range lies above 0 and the parameter is not periodic.

    Args:
        key: a JAX random key.
        images: (n, H, W) floats; with `channel_axis` one more axis, all channels of an image
            blurred alike.
        size: k of the kernels, odd. Kernels that do not fit are cut off and rescaled to sum 1,
            without a warning: choose the ranges to fit (`psf.support` knows). Static.
        families: names or objects of `psf.Family`. Static.
        ranges: parameter name -> (low, high) in place of the family's own range (sigma 0.5 to 6,
            length 2 to 40, angle 0 to pi, radius 1 to 12). Static.
        probability: of an image to be blurred; the others are returned as they are.
        boundary: as in `blur`. Static.
        channel_axis: the axis of `images` that holds colours; None for gray images. Static.

    Returns:
        The blurred images, the kernel, family and parameters of each, see `RandomBlur`; the
        same for the same key.

    Raises:
        TypeError: the images are not floating point.
        ValueError: the images have not one leading axis, a family or parameter is not known, or
            a range is reversed.

    Gradient: exact with respect to the images.

    Source: our choice of distribution.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import imaging
        >>> images = jax.random.uniform(jax.random.key(0), (4, 32, 32))
        >>> blurred = imaging.random_blur(jax.random.key(1), images, size=15,
        ...     families=("gaussian", "motion"), ranges={"sigma": (0.5, 2.0), "length": (2, 12)})
        >>> blurred.images.shape, blurred.psf.shape, blurred.parameters.shape
        ((4, 32, 32), (4, 15, 15), (4, 2))
    """
    x = as_image(images)
    if x.ndim != (3 if channel_axis is None else 4):
        raise ValueError(
            f"images has shape {x.shape}, but is (n, H, W), one more axis with channel_axis; add "
            "or merge leading axes by a reshape"
        )
    chosen = tuple(as_family(family) for family in families)
    if not chosen:
        raise ValueError("families is empty; name one or more, such as 'gaussian'")
    gray = list(x.shape)
    if channel_axis is not None:
        del gray[channel_axis]
    drawn = _draw(
        key,
        jnp.asarray(probability).astype(working_dtype(x.dtype)),
        count=gray[0],
        size=size,
        families=chosen,
        ranges=_resolve(chosen, ranges or {}),
    )
    kernel, family, parameters = drawn
    blurred = blur(x, kernel, boundary=boundary, channel_axis=channel_axis)
    if blurred.shape == x.shape:
        # Bit by bit as it was: the FFT of the delta rounds.
        kept = [1] * x.ndim
        batch = 1 if channel_axis is not None and channel_axis % x.ndim == 0 else 0
        kept[batch] = -1
        blurred = jnp.where((family < 0).reshape(kept), x, blurred)
    return RandomBlur(blurred, kernel, family, parameters)


def _resolve(families: tuple[Family, ...], ranges: Mapping[str, tuple[float, float]]) -> _Ranges:
    """The range of every parameter: the caller's, or else the family's."""
    known = {parameter.name for family in families for parameter in family.parameters}
    for name, (low, high) in ranges.items():
        if name not in known:
            raise ValueError(
                f"ranges names {name!r}, but the parameters are {', '.join(sorted(known))}; drop "
                "it, or add its family"
            )
        if not low <= high:
            raise ValueError(f"the range of {name} is {(low, high)}; give the lower end first")

    def resolved(family: Family) -> tuple[tuple[float, float, bool], ...]:
        result = []
        for parameter in family.parameters:
            low, high = ranges.get(parameter.name, (parameter.low, parameter.high))
            result.append((float(low), float(high), low > 0 and parameter.period is None))
        return tuple(result)

    return tuple(resolved(family) for family in families)


@functools.partial(jax.jit, static_argnames=("count", "size", "families", "ranges"))
def _draw(
    key: PRNGKey,
    probability: Array,
    *,
    count: int,
    size: int,
    families: tuple[Family, ...],
    ranges: _Ranges,
) -> tuple[Array, Array, Array]:
    """Kernels, families and parameters for `count` images: every family's, then one chosen."""
    dtype = probability.dtype
    k_family, k_keep, k_parameters = jax.random.split(key, 3)
    most = max(len(bounds) for bounds in ranges)
    uniform = jax.random.uniform(k_parameters, (most, count), dtype)
    kernels, values = [], []
    for family, bounds in zip(families, ranges, strict=True):
        drawn = [
            low * (high / low) ** u if logarithmic else low + (high - low) * u
            for u, (low, high, logarithmic) in zip(uniform, bounds, strict=False)
        ]
        kernels.append(family.kernel(*drawn, size=size).astype(dtype))
        padding = [jnp.zeros((count,), dtype)] * (most - len(drawn))
        values.append(jnp.stack([*drawn, *padding], -1))
    # The image itself is the last choice.
    centre = size // 2
    delta = jnp.zeros((count, size, size), dtype).at[:, centre, centre].set(1)
    kernels.append(delta)
    values.append(jnp.zeros((count, most), dtype))
    keep = jax.random.uniform(k_keep, (count,), dtype) >= probability
    index = jax.random.randint(k_family, (count,), 0, len(families))
    choice, place = jnp.where(keep, len(families), index), jnp.arange(count)
    chosen = jnp.stack(kernels)[choice, place], jnp.stack(values)[choice, place]
    return chosen[0], jnp.where(keep, -1, index), chosen[1]
