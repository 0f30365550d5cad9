"""Scenes of two layers, each with its own blur."""

from typing import NamedTuple

import jax.numpy as jnp

from blurjax._numerics import working_dtype
from blurjax._typing import Array, ArrayLike
from blurjax.imaging import _boundary
from blurjax.imaging._arrays import as_image
from blurjax.imaging._blur import blur


class Composite(NamedTuple):
    """A scene of two layers as it appears."""

    image: Array
    """In the shape and dtype of the foreground."""
    matte: Array
    """The share of the foreground in each pixel, (..., H, W): the matte, blurred."""


def composite(
    foreground: ArrayLike,
    background: ArrayLike,
    matte: ArrayLike,
    *,
    foreground_psf: ArrayLike | None = None,
    background_psf: ArrayLike | None = None,
    boundary: str = "reflect",
    channel_axis: int | None = None,
) -> Composite:
    """A foreground in front of a background, each with its own blur.

        image = F * (m f) + (1 - F * m) (B * b),

    F and B the two kernels, * convolution. What is blurred is the foreground *times* its matte:
    a blurred edge shows the background through, and nothing of what the foreground's image
    holds outside its matte. The background is needed behind the foreground too, for there its
    blur looks around the edge; what `background` holds in hidden places is taken as given.

    This is exact where one layer is sharp or the edge is far. Where both are blurred at an edge
    it takes the part of the aperture that the foreground blocks for a random part.

    Args:
        foreground: (..., H, W) floats; with `channel_axis` one more axis. bfloat16 and float16
            are computed in float32.
        background: likewise, in the foreground's shape.
        matte: (..., H, W), in [0, 1], 1 where the foreground is; without a channel axis.
        foreground_psf: (..., k, k), k odd, sum 1; None for sharp.
        background_psf: likewise; of any other size.
        boundary: of `blur`, but "valid". Static.
        channel_axis: the axis that holds colours; None for gray images. Static.

    Returns:
        The image, and the soft matte as it appears. Both kernels None: m f + (1 - m) b.

    Raises:
        TypeError: an image is not floating point.
        ValueError: what `blur` refuses, layers of different shapes, or "valid".

    Gradient: exact with respect to images, matte and kernels.

    Source: McGuire, Matusik, Pfister, Hughes and Durand, "Defocus video matting", SIGGRAPH 2005
        (there with discs); Hasinoff and Kutulakos, "A layer-based restoration framework for
        variable-aperture photography", ICCV 2007, on what it leaves out.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging, psf
        >>> matte = jnp.zeros((1, 7)).at[:, :3].set(1.0)
        >>> scene = imaging.composite(
        ...     jnp.ones((1, 7)), jnp.zeros((1, 7)), matte,
        ...     foreground_psf=psf.motion(2.0, 0.0, size=3),
        ... )
        >>> print(scene.image)
        [[1.   1.   0.75 0.25 0.   0.   0.  ]]
    """
    if _boundary.canonical(boundary) == "valid":
        raise ValueError(
            'boundary="valid" leaves layers of different sizes; choose another such as "reflect"'
        )
    foreground = as_image(foreground, min_ndim=2 if channel_axis is None else 3)
    background, matte = as_image(background), as_image(matte, min_ndim=2)
    if background.shape != foreground.shape:
        raise ValueError(
            f"the background has shape {background.shape} and the foreground {foreground.shape}; "
            "crop or broadcast one to the other"
        )
    axis = None if channel_axis is None else _boundary.channel_from_end(foreground, channel_axis)
    dtype, image_dtype = working_dtype(foreground.dtype), foreground.dtype
    foreground, background, matte = (x.astype(dtype) for x in (foreground, background, matte))

    def planes(x: Array) -> Array:
        return x if axis is None else jnp.moveaxis(x, axis, 0)

    def blurred(x: Array, psf: ArrayLike | None) -> Array:
        return x if psf is None else blur(x, psf, boundary=boundary)

    try:
        shown = planes(foreground) * jnp.broadcast_to(matte, planes(foreground).shape)
    except ValueError:
        raise ValueError(
            f"the matte has shape {matte.shape} and the foreground {foreground.shape}; give the "
            "matte the foreground's shape without its channel axis"
        ) from None
    soft = blurred(matte, foreground_psf)
    front = blurred(shown, foreground_psf)
    behind = blurred(planes(background), background_psf)
    shape = jnp.broadcast_shapes(front.shape, behind.shape)
    front, veil, behind = (jnp.broadcast_to(x, shape) for x in (front, 1 - soft, behind))
    image = front + veil * behind
    if axis is not None:
        image = jnp.moveaxis(image, 0, axis)
    return Composite(image.astype(image_dtype), soft.astype(image_dtype))
