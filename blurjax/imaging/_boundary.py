"""What lies outside the image: the boundary conditions by name."""

import jax.numpy as jnp

from blurjax._typing import Array

# Our names are SciPy's. jnp.pad calls SciPy's "reflect" (d c b a | a b c d) "symmetric"
# and SciPy's "mirror" (d c b | a b c d) "reflect".
_PAD_MODES = {
    "reflect": "symmetric",
    "mirror": "reflect",
    "nearest": "edge",
    "wrap": "wrap",
    "constant": "constant",
}
_ALIASES = {"edge": "nearest", "circular": "wrap"}

BOUNDARIES = (*_PAD_MODES, "valid")


def canonical(boundary: str) -> str:
    """The name in `BOUNDARIES` of `boundary`, which may be an alias.

    Raises:
        ValueError: there is no such boundary.
    """
    name = _ALIASES.get(boundary, boundary)
    if name not in BOUNDARIES:
        raise ValueError(
            f"boundary={boundary!r} is not known; choose one of "
            f"{', '.join(map(repr, (*BOUNDARIES, *_ALIASES)))}"
        )
    return name


def pad(image: Array, width: int, boundary: str) -> Array:
    """Extend the last two axes of `image` by `width` pixels on every side.

    Where `width` exceeds the image the rule is applied again and again, as in SciPy.

    Args:
        image: (..., H, W).
        width: pixels, >= 0, static.
        boundary: a name in `BOUNDARIES`; "valid" adds nothing.

    Returns:
        (..., H + 2 width, W + 2 width), or `image` for "valid".
    """
    if boundary == "valid" or width == 0:
        return image
    widths = [(0, 0)] * (image.ndim - 2) + [(width, width)] * 2
    return jnp.pad(image, widths, mode=_PAD_MODES[boundary])
