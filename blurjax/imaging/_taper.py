"""Borders that fit together, for what sees the image as periodic."""

import jax
import jax.numpy as jnp

from blurjax._numerics import working_dtype
from blurjax._typing import Array, ArrayLike
from blurjax.imaging._arrays import as_image
from blurjax.imaging._blur import blur
from blurjax.imaging._boundary import channel_from_end


def edge_taper(image: ArrayLike, psf: ArrayLike, *, channel_axis: int | None = None) -> Array:
    """Blend the image near its borders into its own circular blur.

    `a image + (1 - a) blur(image, psf, boundary="wrap")` with the weight

        a[i, j] = (1 - r(i) / r(0)) (1 - c(j) / c(0)),

    where r and c are the autocorrelations of the PSF summed over its columns and over its rows,
    at the distance of the pixel from the nearest border: 0 on the border, 1 from k pixels on.
    A deconvolution by FFT of the result rings less. `pad` with boundary="smooth" keeps all of
    the image instead, at the price of a larger one.

    Args:
        image: (..., H, W) floats, any range; with `channel_axis` one more axis. bfloat16 and
            float16 are computed in float32.
        psf: (..., k, k), k odd, non-negative with sum 1. Its leading axes broadcast against
            those of the image (the channel axis not counted). MATLAB refuses kernels above half
            the image; here their image has no untouched centre.
        channel_axis: the axis of `image` that holds colours; None for gray images. Static.

    Returns:
        The blended image, in the shape (with the broadcast leading axes) and dtype of `image`.

    Raises:
        TypeError: the image is not floating point.
        ValueError: as `blur`.

    Gradient: exact with respect to image and PSF.

    Source: after MATLAB's `edgetaper`, whose weights it has for kernels up to half the image.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging, psf
        >>> ramp = jnp.broadcast_to(jnp.linspace(0.0, 1.0, 32), (32, 32))
        >>> tapered = imaging.edge_taper(ramp, psf.gaussian(1.5, size=13))
        >>> bool(abs(tapered[0, 0] - tapered[0, -1]) < 0.3)  # from 1
        True
    """
    image = as_image(image, min_ndim=2 if channel_axis is None else 3)
    dtype = working_dtype(image.dtype)
    x = image.astype(dtype)
    # `blur` makes the checks, here too.
    blurred = blur(x, psf, boundary="wrap", method="fft", channel_axis=channel_axis)
    psf = jnp.asarray(psf).astype(dtype)
    if channel_axis is None:
        return _blend(x, blurred, psf).astype(image.dtype)
    axis = channel_from_end(image, channel_axis)
    x, blurred = jnp.moveaxis(x, axis, -3), jnp.moveaxis(blurred, axis, -3)
    tapered = _blend(x, blurred, psf[..., None, :, :])
    return jnp.moveaxis(tapered, -3, axis).astype(image.dtype)


@jax.jit
def _blend(image: Array, blurred: Array, psf: Array) -> Array:
    """`blurred` where the weight a is 0, `image` where it is 1."""
    rows = _decline(psf.sum(-1), image.shape[-2])[..., :, None]
    columns = _decline(psf.sum(-2), image.shape[-1])[..., None, :]
    # 1 - a, exactly 0 in the centre.
    share = rows + columns - rows * columns
    image, share = (jnp.broadcast_to(z, blurred.shape) for z in (image, share))
    return image + share * (blurred - image)


def _decline(profile: Array, size: int) -> Array:
    """The autocorrelation of `profile` (..., k), 1 at lag 0, at each pixel's distance from the
    nearest end of a line of `size` pixels."""
    k = profile.shape[-1]
    spectrum = jnp.fft.rfft(profile, 2 * k)
    correlation = jnp.fft.irfft((spectrum * spectrum.conj()).real, 2 * k)[..., :k]
    # The largest, by Cauchy and Schwarz; 0 for a PSF of zeros only, which must not give NaN.
    total = correlation[..., :1]
    correlation = correlation / jnp.where(total > 0, total, 1)
    index = jnp.arange(size)
    lag = jnp.minimum(index, size - 1 - index)
    return jnp.pad(correlation, [(0, 0)] * (correlation.ndim - 1) + [(0, size)])[..., lag]
