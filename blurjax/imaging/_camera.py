"""From light to stored numbers and back: saturation, response curve, quantiser, all of them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from blurjax._numerics import concrete, working_dtype
from blurjax._typing import Array, ArrayLike, PRNGKey
from blurjax.imaging._arrays import as_image
from blurjax.imaging._noise import add_noise, add_poisson_noise, per_image


def camera(
    key: PRNGKey,
    irradiance: ArrayLike,
    *,
    exposure: ArrayLike = 1.0,
    photons: ArrayLike | None = None,
    read_noise: ArrayLike = 0.0,
    softness: ArrayLike = 0.0,
    curve: ArrayLike | str | None = None,
    bits: int | None = 8,
    reparameterised: bool = False,
) -> Array:
    """Take a photograph: what a camera stores of the light that falls on its sensor.

    `exposure irradiance`, then each step by the function of its name:
    `add_poisson_noise` (with `photons`), `add_noise` (with `read_noise`), `saturate` (at 1, with
    `softness`), the response (`apply_response`, or `encode` for "srgb"), `quantise`. Blur belongs
    before it, in linear light.

    Args:
        key: a JAX random key.
        irradiance: (..., H, W) floats, linear light, >= 0; after exposure 1 is the brightest
            that can be stored. bfloat16 and float16 are computed in float32.
        exposure: factor; a number, or one for each image as `sigma` of `add_noise`.
        photons: of a pixel that just saturates; None for no shot noise.
        read_noise: standard deviation; 1 is saturation.
        softness: of the saturation.
        curve: None for a linear response, "srgb", or samples as in `apply_response`.
        bits: of the stored file; None leaves the values unrounded and may leave them outside
            [0, 1]. Static.
        reparameterised: shot noise with a gradient, see `add_poisson_noise`. Static.

    Returns:
        The photograph in the shape and dtype of `irradiance`, in [0, 1] unless `bits` is None.

    Raises:
        TypeError: the image is not floating point.
        ValueError: `curve` is an unknown name; or as the steps.

    Gradient: that of the steps. 0 to the irradiance where a pixel is saturated or below 0, and
        everywhere with `photons` unless reparameterised.

    Source: our choice of steps, those of Rim et al., "Realistic blur synthesis for learning
        image deblurring", ECCV 2022, without the colour filter.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from blurjax import imaging
        >>> light = jnp.array([[0.0, 0.1, 0.5, 3.0]])
        >>> photograph = imaging.camera(jax.random.key(0), light, curve="srgb")
        >>> print((photograph * 255).astype(int))
        [[  0  89 188 255]]
    """
    if isinstance(curve, str) and curve != "srgb":
        raise ValueError(f"curve={curve!r} is no name of a curve; pass 'srgb', samples, or None")
    image = as_image(irradiance)
    k_photons, k_read = jax.random.split(key)
    # In the working precision throughout, so that half precisions are rounded once.
    x = image.astype(working_dtype(image.dtype)) * per_image("exposure", exposure, image)
    if photons is not None:
        x = add_poisson_noise(k_photons, x, photons, reparameterised=reparameterised)
    x = saturate(add_noise(k_read, x, read_noise), softness=softness)
    if curve is not None:
        x = encode(x) if isinstance(curve, str) else apply_response(x, curve)
    return (x if bits is None else quantise(x, bits=bits)).astype(image.dtype)


def saturate(image: ArrayLike, level: ArrayLike = 1.0, *, softness: ArrayLike = 0.0) -> Array:
    """Clip what is brighter than the sensor can hold.

    `min(image, level)`, or with a softness s > 0 the smooth and increasing

        image - s log(1 + exp((image - level) / s)),

    which is below both by at most s log 2, at `level`.

    Args:
        image: floats, any shape, any range. bfloat16 and float16 are computed in float32.
        level: the brightest value: a number, or one for each image as `sigma` of `add_noise`.
        softness: s in units of the image, >= 0, as `level`; below the rounding error of 1 it
            counts as 0.

    Returns:
        The clipped image in its own shape and dtype, at most `level`. Nothing is clipped below.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the axes of level or softness are not the first axes of the image.

    Gradient: with softness, 1 / (1 + exp((image - level) / s)) to the image, between 0 and 1 and
        1/2 at `level`. Without, 1 up to and at `level` and 0 above, where no information is left;
        0 to the softness, for its one-sided derivative is 0 but at `level`.

    Source: the softplus of Whyte, Sivic and Zisserman, "Deblurring shaken and partially saturated
        images", IJCV 110, 2014, with a = 1 / s; they take a = 50.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> light = jnp.array([0.2, 1.0, 5.0])
        >>> print(imaging.saturate(light))
        [0.2 1.  1. ]
        >>> [round(float(value), 3) for value in imaging.saturate(light, softness=0.02)]
        [0.2, 0.986, 1.0]
    """
    image = as_image(image)
    level, softness = per_image("level", level, image), per_image("softness", softness, image)
    x = image.astype(level.dtype)
    dark = x <= level
    # Double where: s = 0 must not divide, and the softplus takes a negative argument only,
    # which neither overflows nor loses the digits of a large difference.
    soft = softness > jnp.finfo(softness.dtype).eps
    excess = jnp.where(dark, x - level, level - x) / jnp.where(soft, softness, 1)
    rounding = jnp.where(soft, softness * jnp.log1p(jnp.exp(excess)), 0)
    return (jnp.where(dark, x, level) - rounding).astype(image.dtype)


def apply_response(irradiance: ArrayLike, curve: ArrayLike) -> Array:
    """Apply a camera response function given by its samples.

    `curve[i]` is the stored value for the light i / (n - 1); between samples linear, outside
    [0, 1] the value of the nearer end.

    Args:
        irradiance: linear light, floats, any shape. bfloat16 and float16 are computed in float32.
        curve: (n,), n >= 2, nominally increasing from 0 to 1; `encode` is the curve of sRGB in
            closed form.

    Returns:
        The response in the shape and dtype of `irradiance`.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the curve has not one axis of 2 samples or more.

    Gradient: with respect to the curve exact; with respect to the image the slope of the
        segment: of the one to the right at a sample, of the last one at 1, and 0 outside [0, 1].

    Source: Grossberg and Nayar, "What is the space of camera response functions?", CVPR 2003.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> gamma = jnp.linspace(0.0, 1.0, 1024) ** (1 / 2.2)
        >>> stored = imaging.apply_response(jnp.array([0.0, 0.2, 0.5, 2.0]), gamma)
        >>> [round(float(value), 3) for value in stored]
        [0.0, 0.481, 0.73, 1.0]
    """
    image = as_image(irradiance)
    curve = _as_curve(curve, working_dtype(image.dtype))
    last = curve.shape[0] - 1
    x = image.astype(curve.dtype)
    # Not jnp.clip: its derivative at 0 and 1 is neither side's.
    x = last * jnp.where(x < 0, 0, jnp.where(x > 1, 1, x))
    left = jnp.clip(jnp.floor(x).astype(int), 0, last - 1)
    low, high = curve[left], curve[left + 1]
    return (low + (x - left.astype(x.dtype)) * (high - low)).astype(image.dtype)


def invert_response(image: ArrayLike, curve: ArrayLike) -> Array:
    """Recover linear light from stored values, the inverse of `apply_response`.

    Args:
        image: stored values, floats, any shape. bfloat16 and float16 are computed in float32.
        curve: (n,), n >= 2, strictly increasing.

    Returns:
        Linear light in [0, 1], in the shape and dtype of `image`; values beyond the ends of the
        curve give 0 and 1.

    Raises:
        TypeError: the image is not floating point.
        ValueError: the curve has not one axis of 2 samples or more, or it does not increase
            (where its values are known; otherwise a flat piece gives its left end).

    Gradient: exact with respect to image and curve, one-sided as in `apply_response`. A nearly
        flat piece of the curve has a nearly infinite slope here.

    Source: as `apply_response`.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> gamma = jnp.linspace(0.0, 1.0, 1024) ** (1 / 2.2)
        >>> light = imaging.invert_response(jnp.array([0.0, 0.481, 0.73, 1.2]), gamma)
        >>> [round(float(value), 3) for value in light]
        [0.0, 0.2, 0.5, 1.0]
    """
    if concrete(curve) and np.any(np.diff(np.asarray(curve)) <= 0):
        raise ValueError(
            "the curve does not increase from sample to sample, so it has no inverse; add a small "
            "slope, for instance 1e-3 * jnp.linspace(0, 1, n)"
        )
    image = as_image(image)
    curve = _as_curve(curve, working_dtype(image.dtype))
    light = jnp.linspace(0, 1, curve.shape[0], dtype=curve.dtype)
    return jnp.interp(image.astype(curve.dtype), curve, light).astype(image.dtype)


def _as_curve(curve: ArrayLike, dtype: jnp.dtype) -> Array:
    array = jnp.asarray(curve)
    if array.ndim != 1 or array.shape[0] < 2:
        raise ValueError(
            f"the curve has shape {array.shape}, but is one line of at least 2 samples; use "
            "jax.vmap for a curve for each image"
        )
    return array.astype(dtype)


def quantise(image: ArrayLike, *, bits: int = 8) -> Array:
    """Clip to [0, 1] and round to the levels of an integer camera file.

    `round((2^bits - 1) clip(image, 0, 1)) / (2^bits - 1)`, ties to the even level.

    Args:
        image: floats, any shape. bfloat16 and float16 are computed in float32, and the
            result is rounded once more to their own 8 or 11 significant bits.
        bits: 1 to 16. Static.

    Returns:
        The image in its own shape and dtype, in [0, 1].

    Raises:
        TypeError: the image is not floating point.
        ValueError: bits is not an integer from 1 to 16.

    Gradient: straight-through, for the true one is 0 almost everywhere: 1 where the image
        is in the closed interval [0, 1], 0 outside.

    Source: Bengio, Leonard and Courville, arXiv:1308.3432, section 4 (the straight-through
        estimator).

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> print(imaging.quantise(jnp.array([-0.3, 0.2, 0.7, 1.4]), bits=1))
        [0. 0. 1. 1.]
    """
    if not isinstance(bits, int) or not 1 <= bits <= 16:
        raise ValueError(f"bits={bits!r}, but cameras store 1 to 16; use 8, 12 or 16")
    image = as_image(image)
    return _quantise(image.astype(working_dtype(image.dtype)), bits).astype(image.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def _quantise(image: Array, bits: int) -> Array:
    levels = 2**bits - 1
    return jnp.round(jnp.clip(image, 0, 1) * levels) / levels


@_quantise.defjvp
def _(bits: int, primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (image,), (tangent,) = primals, tangents
    inside = (image >= 0) & (image <= 1)
    return _quantise(image, bits), jnp.where(inside, tangent, 0)


def linearise(image: ArrayLike) -> Array:
    """Decode sRGB values to linear light.

    `v / 12.92` for v <= 0.04045, else `((v + 0.055) / 1.055)^2.4`. The formula goes on
    below 0 (linear) and above 1 (power).

    Args:
        image: gamma-encoded floats, any shape, nominally in [0, 1].

    Returns:
        Linear light in the shape and dtype of `image`; 0 and 1 are kept.

    Raises:
        TypeError: the image is not floating point.

    Gradient: finite everywhere, at least 1 / 12.92.

    Source: IEC 61966-2-1:1999. Its two branches meet to 3e-8.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> [round(float(v), 3) for v in imaging.linearise(jnp.array([0.0, 0.5, 1.0]))]
        [0.0, 0.214, 1.0]
    """
    image = as_image(image)
    v = image.astype(working_dtype(image.dtype))
    dark = v <= 0.04045
    # Double where: the branch not taken must not see a base whose power is NaN.
    bright = ((jnp.where(dark, 1, v) + 0.055) / 1.055) ** 2.4
    return jnp.where(dark, v / 12.92, bright).astype(image.dtype)


def encode(image: ArrayLike) -> Array:
    """Encode linear light as sRGB values, the inverse of `linearise`.

    `12.92 y` for y <= 0.0031308, else `1.055 y^(1/2.4) - 0.055`.

    Args:
        image: linear light, floats, any shape, nominally in [0, 1].

    Returns:
        Gamma-encoded values in the shape and dtype of `image`; 0 and 1 are kept.

    Raises:
        TypeError: the image is not floating point.

    Gradient: finite everywhere, at most 12.92.

    Source: IEC 61966-2-1:1999.

    Example:
        >>> import jax.numpy as jnp
        >>> from blurjax import imaging
        >>> [round(float(v), 3) for v in imaging.encode(jnp.array([0.0, 0.5, 1.0]))]
        [0.0, 0.735, 1.0]
    """
    image = as_image(image)
    y = image.astype(working_dtype(image.dtype))
    dark = y <= 0.0031308
    # Double where: the slope of the power is infinite at 0.
    bright = 1.055 * jnp.where(dark, 1, y) ** (1 / 2.4) - 0.055
    return jnp.where(dark, 12.92 * y, bright).astype(image.dtype)
