"""How large a kernel has to be."""

import math

import numpy as np

from blurjax._typing import ArrayLike
from blurjax.psf._defocus import defocus
from blurjax.psf._family import FAMILIES
from blurjax.psf._grid import check_parameter
from blurjax.psf._motion import motion

_FAMILIES = ("gaussian", "motion", "defocus")


def support(family: str, *parameters: ArrayLike, mass: float = 0.999) -> int:
    """The smallest odd size whose square window holds a given mass (host).

    Args:
        family: "gaussian" (sigma), "motion" (length, angle) or "defocus" (radius).
        parameters: concrete numbers or arrays, in pixels and radians; of arrays the largest
            answer counts.
        mass: in (0, 1]; 1 gives the whole support of motion and defocus, and is refused for a
            Gaussian, which has none.

    Returns:
        An odd int, ready for `size=`.

    Raises:
        ValueError: an unknown family, a wrong number of parameters, or a mass out of range.

    Source: our choice.

    Example:
        >>> from blurjax import psf
        >>> psf.support("gaussian", 2.0), psf.support("defocus", 3.2, mass=1.0)
        (15, 7)
    """
    if family not in _FAMILIES:
        raise ValueError(f"family is {family!r}; choose one of {', '.join(_FAMILIES)}")
    names = FAMILIES[family].names
    if len(parameters) != len(names):
        raise ValueError(f"{family} takes {' and '.join(names)}; got {len(parameters)} values")
    if not 0 < mass <= 1 or (mass == 1 and family == "gaussian"):
        raise ValueError(f"mass is {mass}; it must lie in (0, 1], below 1 for a gaussian")
    arrays = [
        np.asarray(check_parameter(n, p, non_negative=n != "angle"), np.float64)
        for n, p in zip(names, parameters, strict=True)
    ]
    columns = [a.ravel() for a in np.broadcast_arrays(*arrays)]
    return max((_support(family, *row, mass=mass) for row in zip(*columns, strict=True)), default=1)


def _support(family: str, *row: float, mass: float) -> int:
    if family == "gaussian":
        from scipy.special import erfinv

        # The square window of half-width w holds erf(w / (sqrt 2 sigma))^2.
        half = math.sqrt(2) * row[0] * float(erfinv(math.sqrt(mass)))
        return 2 * max(math.ceil(half - 0.5), 0) + 1
    if family == "defocus":
        whole = 2 * max(math.ceil(row[0] - 0.5), 0) + 1
        kernel = np.asarray(defocus(row[0], size=whole))
    else:
        reach = row[0] / 2 * max(abs(math.cos(row[1])), abs(math.sin(row[1])))
        # A tent reaches up to, not onto, the next pixel; rounding must not cost a ring of zeros.
        whole = 2 * math.ceil(reach - 1e-6) + 1
        kernel = np.asarray(motion(row[0], row[1], size=whole))
    centre = whole // 2
    for half in range(centre):
        window = slice(centre - half, centre + half + 1)
        if kernel[window, window].sum(dtype=np.float64) >= mass - 1e-6:
            return 2 * half + 1
    return whole
