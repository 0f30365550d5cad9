"""Image formation, over images, kernels and parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blurjax import imaging, psf
from tests.properties.common import (
    SEEDS,
    close,
    dear,
    finite,
    magnitudes,
    picture,
    pictures,
    quiet,
    refused,
    same_batched,
)

BOUNDARIES = ("reflect", "mirror", "nearest", "wrap", "constant", "valid", "smooth")
# Even and odd, wide and narrow, of one pixel, smaller than the kernel; with a leading axis.
SHAPES = ((8, 8), (2, 5, 9), (1, 1), (6, 1))
SIDES = (3, 7)


def kernel(size, seed, lead=()):
    raw = np.random.default_rng(seed).random((*lead, size, size)) ** 4
    return jnp.asarray(raw / raw.sum((-2, -1), keepdims=True))


def fits(shape, size, boundary):
    return boundary != "valid" or min(shape[-2:]) >= size


@functools.cache
def blurred(boundary, method="auto"):
    return jax.jit(functools.partial(imaging.blur, boundary=boundary, method=method))


@pytest.mark.parametrize("boundary", dear(BOUNDARIES, ("reflect", "valid")))
@given(data=st.data(), shape=st.sampled_from(SHAPES), size=st.sampled_from(SIDES), seed=SEEDS)
def test_blur_is_a_linear_map_with_its_adjoint(boundary, data, shape, size, seed):
    if not fits(shape, size, boundary):
        refused(imaging.blur, jnp.ones(shape), kernel(size, seed), boundary=boundary)
        return
    x, y = (data.draw(pictures(shape)) for _ in range(2))
    k = kernel(size, seed)
    blur = blurred(boundary)
    forward = blur(x, k)
    assert forward.dtype == x.dtype and finite(forward)
    close(imaging.blur(x, k, boundary=boundary), forward, atol=1e-12)
    close(blur(3 * x - 2 * y, k), 3 * forward - 2 * blur(y, k), atol=1e-12)
    identity = jnp.zeros((size, size)).at[size // 2, size // 2].set(1.0)
    half = size // 2 if boundary == "valid" else 0
    inner = x[..., half : shape[-2] - half, half : shape[-1] - half]
    close(blur(x, identity), inner, atol=1e-12)
    close(blurred(boundary, "fft")(x, k), blurred(boundary, "direct")(x, k), atol=1e-12)
    z = jnp.asarray(np.random.default_rng(seed).standard_normal(forward.shape))
    back = imaging.blur_adjoint(z, k, boundary=boundary)
    assert back.shape == x.shape
    np.testing.assert_allclose(jnp.vdot(forward, z), jnp.vdot(x, back), atol=1e-10)
    if boundary not in ("constant", "smooth"):
        assert forward.min() >= x.min() - 1e-12 and forward.max() <= x.max() + 1e-12
    if boundary != "constant":
        close(blur(jnp.full(shape, 0.7), k), jnp.full(forward.shape, 0.7), atol=1e-12)
    if boundary == "wrap":
        np.testing.assert_allclose(forward.mean(), x.mean(), atol=1e-12)


@given(
    seed=SEEDS,
    stride=st.sampled_from([1, 2, 3, 20]),
    dtype=st.sampled_from(["float32", "bfloat16"]),
)
def test_blur_with_strides_channels_leading_axes_and_halves(seed, stride, dtype):
    image = jnp.asarray(picture("noise", (2, 8, 7), seed), dtype)
    k = kernel(3, seed, (2,)).astype(dtype)
    plain = imaging.blur(image, k)
    assert plain.dtype == jnp.dtype(dtype)
    close(imaging.blur(image, k, stride=stride), plain[:, ::stride, ::stride], atol=1e-6)
    channels = imaging.blur(jnp.moveaxis(image, 0, -1), k[0], channel_axis=-1)
    close(jnp.moveaxis(channels, -1, 0), imaging.blur(image, k[0]), atol=1e-6)
    many = imaging.blur(image[:1], k)
    assert many.shape == (2, 8, 7)
    rows = -(-8 // stride), -(-7 // stride)
    z = jnp.ones((2, *rows), jnp.float64)
    wide, k64 = image.astype(jnp.float64), k.astype(jnp.float64)
    back = imaging.blur_adjoint(z, k64, stride=stride, shape=(8, 7))
    np.testing.assert_allclose(
        jnp.vdot(imaging.blur(wide, k64, stride=stride), z), jnp.vdot(wide, back), atol=1e-10
    )


@given(seed=SEEDS)
def test_blur_refuses(seed):
    image, k = jnp.asarray(picture("noise", (6, 5), seed)), kernel(3, seed)
    for f in (imaging.blur, imaging.blur_adjoint, imaging.edge_taper):
        refused(f, image, k[:2])
        refused(f, image, k[:2, :2])
        refused(f, image, k[0])
        refused(f, jnp.ones((4, 5), int), k, error=TypeError)
        refused(f, image[0], k)
    for f in (imaging.blur, imaging.blur_adjoint):
        refused(f, image, k, boundary="black")
        refused(f, image, k, method="quick")
        for stride in (0, -1):
            refused(f, image, k, stride=stride)
    refused(imaging.blur, jnp.ones((2, 6, 5)), jnp.ones((3, 3, 3)))
    refused(imaging.blur_adjoint, image, jnp.ones((2, 3, 3)))
    refused(imaging.blur_operator, k[:2], (6, 5))
    refused(imaging.blur_operator, jnp.ones((3, 3, 3)), (2, 6, 5))
    refused(imaging.blur_gaussian, image, 1.0, size=4)
    refused(imaging.blur_gaussian, image, -1.0)
    refused(imaging.blur_gaussian, image, np.nan)
    refused(imaging.blur_gaussian, image, 1.0, boundary="black")
    refused(imaging.blur_varying, image, jnp.ones((5, 6)))
    refused(imaging.blur_varying, image, -jnp.ones((6, 5)))
    refused(imaging.blur_varying, image, jnp.full((6, 5), jnp.nan))
    refused(imaging.blur_varying, image, jnp.ones((6, 5)), size=2)
    refused(imaging.blur_varying, image, jnp.ones((6, 5)), method="quick")
    refused(imaging.blur_varying, image, jnp.ones((6, 5)), method="bank", levels=1)
    refused(imaging.blur_product, image, k[None], jnp.ones((2, 6, 5)))
    refused(imaging.blur_product, image, k[None], jnp.ones((1, 5, 6)))
    refused(imaging.grid_weights, 0, 1, (6, 5))
    refused(imaging.grid_weights, 1, 1, (0, 5))
    for width in (-1, (1, -1), ((0, -2), 1)):
        refused(imaging.pad, image, width)
    refused(imaging.pad, image, 1, "black")
    refused(imaging.composite, image, image.T, image)
    refused(imaging.composite, image, image, image, boundary="valid")
    for make in (imaging.ramp_map, imaging.sine_map):
        for shape in ((0, 5), (-1, 5)):
            refused(make, shape)
    for bits in (0, 17, -1):
        refused(imaging.quantise, image, bits=bits)
    for curve in (jnp.ones(1), jnp.ones((2, 2))):
        refused(imaging.apply_response, image, curve)
    refused(imaging.invert_response, image, jnp.array([0.0, 0.5, 0.5]))
    refused(imaging.jpeg_quality, image[None])
    for quality in (0.0, 101.0, jnp.nan):
        refused(imaging.jpeg, image, quality)
    key = jax.random.key(seed)
    refused(imaging.add_poisson_noise, key, image, 0.0)
    refused(imaging.add_poisson_noise, key, image, -3.0)
    refused(imaging.add_noise, key, image[None], jnp.ones(2))
    refused(imaging.saturate, image[None], jnp.ones(2))
    refused(imaging.camera, key, image, curve="rgb")
    refused(imaging.random_blur, key, image, size=3)
    refused(imaging.random_blur, key, image[None], size=3, families=("round",))
    refused(imaging.random_blur, key, image[None], size=3, ranges={"sigma": (3.0, 1.0)})
    refused(imaging.random_blur, key, image[None], size=3, ranges={"width": (1.0, 3.0)})


@pytest.mark.parametrize("boundary", BOUNDARIES)
@given(data=st.data(), shape=st.sampled_from(SHAPES), width=st.sampled_from([0, 1, 3, (2, (0, 3))]))
def test_pad(boundary, data, shape, width):
    image = data.draw(pictures(shape))
    padded = imaging.pad(image, width, boundary)
    rows, columns = (width, width) if isinstance(width, int) else width
    (above, below), (left, right) = (
        (side, side) if isinstance(side, int) else side for side in (rows, columns)
    )
    if boundary == "valid":
        above = below = left = right = 0
    height, breadth = shape[-2:]
    assert padded.shape == (*shape[:-2], height + above + below, breadth + left + right)
    close(padded[..., above : above + height, left : left + breadth], image, atol=0)
    assert padded.dtype == image.dtype and finite(padded)
    if boundary != "constant":
        assert padded.min() >= image.min() - 1e-12 and padded.max() <= image.max() + 1e-12


@pytest.mark.slow
@given(
    data=st.data(),
    shape=st.sampled_from(SHAPES),
    sigma=magnitudes(4.0),
    boundary=st.sampled_from(BOUNDARIES),
)
def test_gaussian_blurs_agree(data, shape, sigma, boundary):
    """By one kernel, by sigma, by a map of equal sigmas, by a sum of kernels."""
    image = data.draw(pictures(shape))
    size = 5
    k = quiet(psf.gaussian, sigma, size=size)
    plain = imaging.blur(image, k, boundary=boundary)
    close(quiet(imaging.blur_gaussian, image, sigma, size=size, boundary=boundary), plain)
    flat = jnp.full(shape[-2:], sigma)
    exact = quiet(imaging.blur_varying, image, flat, size=size, boundary=boundary)
    close(exact, plain, atol=1e-9)
    bank = quiet(
        imaging.blur_varying, image, flat, size=size, boundary=boundary, method="bank", levels=2
    )
    close(bank, plain, atol=1e-2)
    weights = imaging.grid_weights(1, 2, shape[-2:])
    assert weights.shape == (2, *shape[-2:])
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-6)
    close(
        imaging.blur_product(
            image, jnp.stack([k, k]), weights.astype(image.dtype), boundary=boundary
        ),
        plain,
        atol=1e-6,
    )


@given(data=st.data(), seed=SEEDS, shape=st.sampled_from([(6, 9), (5, 5)]))
def test_varying_blurs_stay_within_their_image(data, seed, shape):
    image = data.draw(pictures(shape))
    sigma = jnp.asarray(4 * np.random.default_rng(seed).random(shape) ** 3)
    for method in ("exact", "bank"):
        found = quiet(imaging.blur_varying, image, sigma, size=9, method=method)
        assert finite(found) and found.shape == shape
        assert found.min() >= image.min() - 1e-9 and found.max() <= image.max() + 1e-9
    assert finite(slope_of_varying(image, sigma)) and finite(slope_of_varying(image, 0 * sigma))


@jax.jit
@functools.partial(jax.grad, argnums=(0, 1))
def slope_of_varying(image, sigma):
    return jnp.sum(imaging.blur_varying(image, sigma, size=5) ** 2)


@given(data=st.data(), seed=SEEDS, boundary=st.sampled_from(BOUNDARIES))
def test_operators(data, seed, boundary):
    shape = (6, 5)
    operator = imaging.blur_operator(kernel(3, seed), shape, boundary=boundary)
    assert isinstance(operator, imaging.BlurOperator) and operator.input_shape == shape
    x = data.draw(pictures(shape))
    forward = operator.forward(x)
    assert forward.shape == operator.output_shape
    y = jnp.asarray(np.random.default_rng(seed).standard_normal(forward.shape))
    np.testing.assert_allclose(jnp.vdot(forward, y), jnp.vdot(x, operator.adjoint(y)), atol=1e-10)
    key = jax.random.key(seed % 7)
    norm = float(
        imaging.operator_norm(operator.forward, operator.adjoint, shape, key=key, dtype=jnp.float64)
    )
    np.testing.assert_allclose(operator.norm(), norm, rtol=1e-3)
    # From below, and no image is stretched more.
    matrix = jax.vmap(operator.forward)(jnp.eye(30).reshape(30, *shape)).reshape(30, -1)
    largest = np.linalg.norm(matrix, 2)
    assert 0.98 * largest <= norm <= largest + 1e-9


@given(data=st.data(), seed=SEEDS, shape=st.sampled_from(SHAPES))
def test_edge_taper_and_composite(data, seed, shape):
    image, other = data.draw(pictures(shape)), data.draw(pictures(shape))
    k = kernel(3, seed)
    tapered = imaging.edge_taper(image, k)
    assert tapered.shape == shape and finite(tapered)
    assert tapered.min() >= image.min() - 1e-9 and tapered.max() <= image.max() + 1e-9
    matte = data.draw(pictures(shape[-2:]))
    plain = imaging.composite(image, other, matte)
    assert isinstance(plain, imaging.Composite)
    matte_there = jnp.broadcast_to(matte, shape)
    close(plain.image, matte_there * image + (1 - matte_there) * other, atol=1e-12)
    close(plain.matte, matte_there if plain.matte.ndim > 2 else matte, atol=1e-12)
    both = imaging.composite(image, other, matte, foreground_psf=k, background_psf=kernel(5, seed))
    assert finite(both) and both.image.shape == shape
    low, high = jnp.minimum(image.min(), other.min()), jnp.maximum(image.max(), other.max())
    assert both.image.min() >= low - 1e-9 and both.image.max() <= high + 1e-9
    assert both.matte.min() >= -1e-12 and both.matte.max() <= 1 + 1e-12
    same = imaging.composite(image, image, jnp.zeros(shape[-2:]), background_psf=k)
    close(same.image, imaging.blur(image, k), atol=1e-9)


VALUES = st.sampled_from(
    [0.0, 1.0, -0.0, -1e-3, 1e-30, 1e-320, 0.04045, 0.0031308, 0.5, 2.0, 1e30]
) | (st.floats(-2, 3))
ARRAYS = st.lists(VALUES, min_size=6, max_size=6).map(lambda v: jnp.array(v).reshape(2, 3))


@given(image=ARRAYS, bits=st.integers(1, 16), level=st.floats(0.1, 2), softness=magnitudes(1.0))
def test_curves_of_a_camera(image, bits, level, softness):
    unit = jnp.clip(image, 0, 1)
    for there, back in ((imaging.encode, imaging.linearise), (imaging.linearise, imaging.encode)):
        seen = there(unit)
        assert np.all((seen >= 0) & (seen <= 1))
        # The two pieces of the published curve miss each other by that much.
        close(back(seen), unit, atol=1e-7)
        assert finite(there(image)) and finite(jax.vmap(jax.grad(there))(image.ravel()))
        assert there(image.astype(jnp.bfloat16)).dtype == jnp.bfloat16
        assert np.all(np.diff(there(jnp.sort(image.ravel()))) >= -1e-12)
    stored = imaging.quantise(image, bits=bits)
    levels = 2**bits - 1
    assert np.all((stored >= 0) & (stored <= 1))
    np.testing.assert_allclose(stored * levels, np.rint(stored * levels), atol=1e-9)
    assert np.all(np.abs(stored - unit) <= 0.5 / levels + 1e-12)
    close(imaging.quantise(stored, bits=bits), stored)
    slope = jax.vmap(jax.grad(functools.partial(imaging.quantise, bits=bits)))(image.ravel())
    close(slope, ((image >= 0) & (image <= 1)).ravel().astype(float))
    clipped = imaging.saturate(image, level, softness=softness)
    assert finite(clipped) and np.all(clipped <= level + 1e-12)
    assert np.all(clipped <= image + 1e-12)
    assert finite(slope_of_saturate(image, level, softness))
    curve = jnp.array([0.0, 0.3, 0.7, 0.8, 1.0])
    response = imaging.apply_response(image, curve)
    assert np.all((response >= 0) & (response <= 1))
    close(imaging.invert_response(response, curve), unit, atol=1e-9)
    assert finite(imaging.invert_response(image, curve))


@jax.jit
@functools.partial(jax.grad, argnums=(0, 1, 2))
def slope_of_saturate(image, level, softness):
    return jnp.sum(imaging.saturate(image, level, softness=softness))


@given(
    seed=SEEDS,
    data=st.data(),
    sigma=magnitudes(1.0),
    photons=st.sampled_from([1e-3, 1.0, 1e3, 1e9]),
)
def test_noise(seed, data, sigma, photons):
    """Of the shape of the image, finite, and the same for the same key."""
    image, key = data.draw(pictures((2, 3, 4))), jax.random.key(seed)
    calls = [
        lambda k, x: imaging.add_noise(k, x, sigma),
        lambda k, x: imaging.add_poisson_noise(k, x, photons),
        lambda k, x: imaging.add_poisson_noise(k, x, photons, reparameterised=True),
        lambda k, x: imaging.add_poisson_gaussian_noise(k, x, photons, sigma),
        lambda k, x: imaging.camera(k, x, photons=photons, read_noise=sigma, curve="srgb"),
    ]
    for call in calls:
        noisy = call(key, image)
        assert noisy.shape == image.shape and noisy.dtype == image.dtype and finite(noisy)
        close(call(key, image), noisy, atol=0)
        half = call(key, image.astype(jnp.bfloat16))
        assert half.dtype == jnp.bfloat16 and finite(half)
    close(imaging.add_noise(key, image, 0.0), image, atol=0)
    stored = calls[-1](key, image)
    assert np.all((stored >= 0) & (stored <= 1))
    assert np.all(calls[1](key, image) >= 0)
    close(imaging.camera(key, image, bits=None), image, atol=1e-12)
    each = imaging.add_noise(key, image, jnp.array([0.0, sigma]))
    close(each[0], image[0], atol=0)


@given(
    data=st.data(), shape=st.sampled_from([(8, 8), (2, 9, 17), (1, 1)]), quality=st.floats(1, 100)
)
def test_jpeg(data, shape, quality):
    image = data.draw(pictures(shape, jnp.float32))
    stored = imaging.jpeg(image, quality)
    assert stored.shape == shape and stored.dtype == image.dtype and finite(stored)
    levels = np.asarray(stored, np.float64) * 255
    np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)
    assert np.all((stored >= 0) & (stored <= 1))
    if float(np.ptp(image)) == 0:
        # A flat image has a mean and nothing else, which is rounded.
        assert np.ptp(levels) < 1e-3
    steps = imaging.jpeg_steps(quality)
    assert steps.shape == (8, 8) and np.all((steps >= 1) & (steps <= 255))
    assert np.all(steps >= imaging.jpeg_steps(100))
    assert imaging.jpeg_quality(np.asarray(image.reshape(-1, shape[-1]))) in range(99)


@given(low=magnitudes(5.0), high=magnitudes(5.0), period=st.floats(0.5, 1e3), two=st.booleans())
def test_maps_of_sigma(low, high, period, two):
    for shape in ((3, 7), (1, 1), (4, 1)):
        ramp = imaging.ramp_map(shape, low, high)
        assert ramp.shape == shape and finite(ramp)
        ends = min(low, high), max(low, high)
        assert np.all((ramp >= ends[0] - 1e-9) & (ramp <= ends[1] + 1e-9))
        np.testing.assert_allclose(ramp[:, 0], low, atol=1e-12)
        sine = imaging.sine_map(shape, high, low, period, two_dimensional=two)
        assert sine.shape == shape and finite(sine)
        assert np.all(np.abs(sine - high) <= low + 1e-9)


@given(seed=SEEDS, data=st.data(), probability=st.sampled_from([0.0, 0.5, 1.0]))
def test_random_blurs(seed, data, probability):
    images, key = data.draw(pictures((4, 7, 6))), jax.random.key(seed)
    found = imaging.random_blur(key, images, size=7, probability=probability)
    assert isinstance(found, imaging.RandomBlur) and finite(found)
    assert found.images.shape == images.shape and found.psf.shape == (4, 7, 7)
    np.testing.assert_allclose(found.psf.sum((-2, -1)), 1, atol=1e-6)
    assert np.all(found.psf >= 0)
    close(found, imaging.random_blur(key, images, size=7, probability=probability), atol=0)
    close(found.images, imaging.blur(images, found.psf), atol=1e-6)
    if probability == 0:
        close(found.images, images, atol=0)


@pytest.mark.slow
@given(seed=SEEDS)
def test_batches_of_images(seed):
    images = jnp.asarray(picture("noise", (2, 6, 5), seed))
    k = kernel(3, seed)
    for f in (
        lambda x: imaging.blur(x, k),
        lambda x: imaging.edge_taper(x, k),
        lambda x: imaging.pad(x, 2, "smooth"),
        lambda x: imaging.blur_gaussian(x, 1.0, size=3),
        lambda x: quiet(imaging.blur_varying, x, jnp.full((6, 5), 0.5), size=3),
        lambda x: imaging.jpeg(x, 50.0),
    ):
        same_batched(f, images)
        close(f(images), jax.vmap(f)(images), atol=1e-12)
