"""Families of kernels: what to call, with which parameters, and where to look for them."""

import math
from collections.abc import Callable
from typing import NamedTuple

from blurjax._typing import Array, Kernels, Scalars
from blurjax.psf._airy import airy
from blurjax.psf._defocus import defocus
from blurjax.psf._gaussian import gaussian
from blurjax.psf._moffat import moffat
from blurjax.psf._motion import motion
from blurjax.psf._polygon import polygon


class Parameter(NamedTuple):
    """A parameter of a family and the range in which it is usually found.

    The range is where `blurjax.fit` starts and `imaging.random_blur` draws: with `low` above 0
    evenly in the logarithm, otherwise evenly. It does not bound an estimate.
    """

    name: str
    low: float
    high: float
    period: float | None = None
    """After which the same kernel comes again: pi for the angle of a motion; None for lengths."""


class Family(NamedTuple):
    """A kernel as a function of named parameters. Hashable: static under jit.

    Example:
        >>> from blurjax import psf
        >>> def box(width, *, size):
        ...     return psf.motion(width, 0.0, size=size)
        >>> family = psf.Family(box, (psf.Parameter("width", 1.0, 12.0),))
        >>> family.names
        ('width',)
    """

    kernel: Callable[..., Array]
    """`kernel(*parameters, size=k)` gives `(..., k, k)`; a function of the module, so that two
    calls with the same family share one compilation."""
    parameters: tuple[Parameter, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the parameters, in the order in which `kernel` takes them."""
        return tuple(parameter.name for parameter in self.parameters)


def _anisotropic_gaussian(sigma: Scalars, ratio: Scalars, angle: Scalars, *, size: int) -> Kernels:
    return gaussian(sigma, size=size, ratio=ratio, angle=angle)


def _hexagon(radius: Scalars, rotation: Scalars, *, size: int) -> Kernels:
    return polygon(radius, size=size, blades=6, rotation=rotation)


FAMILIES: dict[str, Family] = {
    "gaussian": Family(gaussian, (Parameter("sigma", 0.5, 6.0),)),
    "motion": Family(
        motion,
        (Parameter("length", 2.0, 40.0), Parameter("angle", 0.0, math.pi, math.pi)),
    ),
    "defocus": Family(defocus, (Parameter("radius", 1.0, 12.0),)),
    "anisotropic_gaussian": Family(
        _anisotropic_gaussian,
        (
            Parameter("sigma", 0.7, 6.0),
            Parameter("ratio", 0.25, 1.0),
            Parameter("angle", 0.0, math.pi, math.pi),
        ),
    ),
    "moffat": Family(moffat, (Parameter("width", 0.7, 6.0), Parameter("exponent", 1.5, 6.0))),
    "airy": Family(airy, (Parameter("radius", 1.0, 8.0),)),
    "polygon": Family(
        _hexagon,
        (Parameter("radius", 1.2, 12.0), Parameter("rotation", 0.0, math.pi / 3, math.pi / 3)),
    ),
}
"""The families that go by a name. The first three are the blur types, in this order."""


def as_family(name: "str | Family") -> Family:
    """The family of that name; a `Family` passes through.

    Raises:
        ValueError: there is no family of that name.
    """
    if isinstance(name, Family):
        return name
    if name not in FAMILIES:
        raise ValueError(
            f"family is {name!r}; choose one of {', '.join(FAMILIES)}, or pass a psf.Family"
        )
    return FAMILIES[name]
