"""What every solver here works on: a torus that an image runs on smoothly around, and its spectra.

A solver by FFT sees its image as periodic. The image lies in the upper left corner of a larger
array of a length that transforms quickly; the rest leads from its lower and right borders to its
upper and left ones (`imaging.pad`, "smooth"), and is cut off again at the end.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from blurjax import imaging
from blurjax._numerics import fast_length, working_dtype
from blurjax._typing import Array, ArrayLike
from blurjax.imaging._arrays import as_image
from blurjax.imaging._blur import as_psf
from blurjax.imaging._boundary import channel_from_end

Shape = tuple[int, int]


class Planes(NamedTuple):
    """An image and its kernel in the working precision, colours moved among the leading axes."""

    image: Array
    """(..., H, W)"""
    psf: Array
    """(..., k, k), its leading axes broadcast against those of the image."""


def planes(image: ArrayLike, psf: ArrayLike, channel_axis: int | None) -> Planes:
    """Check an image and its kernel as `imaging.blur` does, and bring the colours to the front."""
    image = as_image(image, min_ndim=2 if channel_axis is None else 3)
    dtype = working_dtype(image.dtype)
    psf = as_psf(psf, dtype)
    image = image.astype(dtype)
    if channel_axis is not None:
        image = jnp.moveaxis(image, channel_from_end(image, channel_axis), -3)
        psf = psf[..., None, :, :]
    try:
        lead = jnp.broadcast_shapes(image.shape[:-2], psf.shape[:-2])
    except ValueError:
        raise ValueError(
            f"the leading axes {image.shape[:-2]} of the image and {psf.shape[:-2]} of the psf "
            "do not broadcast; make them equal, or 1 where one is to serve all"
        ) from None
    # Equal ranks: no product leans on implicit rank promotion.
    image = image.reshape((1,) * (len(lead) + 2 - image.ndim) + image.shape)
    psf = psf.reshape((1,) * (len(lead) + 2 - psf.ndim) + psf.shape)
    return Planes(jnp.broadcast_to(image, (*lead, *image.shape[-2:])), psf)


def torus(shape: Shape, size: int) -> Shape:
    """Lengths that transform quickly, with room to blur an image of `shape` with `size` taps."""
    return fast_length(shape[0] + size - 1), fast_length(shape[1] + size - 1)


def extend(image: Array, shape: Shape) -> Array:
    """(..., H, W) in the upper left corner of a torus of `shape`."""
    rows, columns = (n - side for n, side in zip(shape, image.shape[-2:], strict=True))
    return imaging.pad(image, ((0, rows), (0, columns)), "smooth")


def transfer(psf: Array, shape: Shape) -> Array:
    """The spectrum (..., h, w // 2 + 1) of kernels on the torus, their centres at the origin."""
    size = psf.shape[-1]
    margins = [(0, 0)] * (psf.ndim - 2) + [(0, n - size) for n in shape]
    centred = jnp.roll(jnp.pad(psf, margins), (-(size // 2),) * 2, (-2, -1))
    return jnp.fft.rfft2(centred)


def filtered(x: Array, spectrum: Array) -> Array:
    """An array on the torus, its spectrum multiplied by another."""
    return jnp.fft.irfft2(spectrum * jnp.fft.rfft2(x), x.shape[-2:])


def widen(mask: Array, shape: Shape) -> Array:
    """A mask (..., H, W) on the torus: what is beside the image is trusted."""
    margins = [(0, n - side) for n, side in zip(shape, mask.shape[-2:], strict=True)]
    return jnp.pad(mask, [(0, 0)] * (mask.ndim - 2) + margins, constant_values=1)


def differences(x: Array) -> tuple[Array, Array]:
    """To the next column and to the next row, around the torus."""
    return jnp.roll(x, -1, -1) - x, jnp.roll(x, -1, -2) - x


def differences_adjoint(across: Array, down: Array) -> Array:
    """The adjoint of `differences`."""
    return jnp.roll(across, 1, -1) - across + jnp.roll(down, 1, -2) - down


def differences_power(shape: Shape, dtype: jnp.dtype) -> Array:
    """The squared modulus (h, w // 2 + 1) of the spectrum of `differences`, both summed."""
    rows = 4 * np.sin(np.pi * np.arange(shape[0]) / shape[0]) ** 2
    columns = 4 * np.sin(np.pi * np.arange(shape[1] // 2 + 1) / shape[1]) ** 2
    return jnp.asarray(rows[:, None] + columns[None, :], dtype)


def power(spectrum: Array) -> Array:
    """|spectrum|^2, real."""
    return spectrum.real**2 + spectrum.imag**2


def scaled(spectrum: Array, factor: Array) -> Array:
    """Complex times real, which promotion would make complex times complex (or divided by)."""
    return lax.complex(spectrum.real * factor, spectrum.imag * factor)
