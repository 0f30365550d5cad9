"""blur and its adjoint: reference, conventions, adjointness, transformations, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from jax.test_util import check_grads

from blurjax import imaging

BOUNDARIES = ("reflect", "mirror", "nearest", "wrap", "constant", "valid")
METHODS = ("direct", "fft")
# `direct` has one algorithm up to 15 taps and another above.
KINDS = (("direct", 5), ("direct", 17), ("fft", 7))


def _random(shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def _reference(image, psf, boundary):
    if boundary == "valid":
        return scipy.signal.convolve2d(image, psf, mode="valid")
    return scipy.ndimage.convolve(image, psf, mode=boundary, cval=0.0)


@pytest.mark.parametrize(("method", "size"), KINDS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_agrees_with_scipy(boundary, method, size):
    image, psf = _random((17, 22)), _random((size, size), 1)
    psf /= psf.sum()
    expected = _reference(image, psf, boundary)
    result = imaging.blur(image, psf, boundary=boundary, method=method)
    np.testing.assert_allclose(result, expected, atol=1e-12)
    single = imaging.blur(image.astype(np.float32), psf, boundary=boundary, method=method)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, expected, atol=1e-5)


def test_large_images_are_transformed_by_halves():
    image, psf = _random((2, 515, 20)), _random((2, 17, 17), 1)
    expected = [scipy.signal.convolve(*pair, mode="valid") for pair in zip(image, psf, strict=True)]
    result = imaging.blur(image, psf, boundary="valid")
    np.testing.assert_allclose(result, expected, rtol=1e-12)


@pytest.mark.parametrize("boundary", ["reflect", "valid"])
@pytest.mark.parametrize("stride", [2, 3])
def test_stride_keeps_every_so_manyth_pixel(stride, boundary):
    x, psf = _random((2, 13, 16)), _random((5, 5), 1)
    options = {"boundary": boundary, "stride": stride}
    ax = imaging.blur(x, psf, **options)
    np.testing.assert_array_equal(
        ax, imaging.blur(x, psf, boundary=boundary)[..., ::stride, ::stride]
    )
    y = _random(ax.shape, 2)
    aty = imaging.blur_adjoint(y, psf, shape=(13, 16), **options)
    np.testing.assert_allclose(jnp.vdot(ax, y), jnp.vdot(x, aty), rtol=1e-12)


def test_stride_refuses():
    image, psf = jnp.ones((12, 12)), jnp.ones((3, 3))
    with pytest.raises(ValueError, match="stride=0; it is a whole number"):
        imaging.blur(image, psf, stride=0)
    with pytest.raises(ValueError, match=r"shape=\(12, 12\) is blurred to \(6, 6\)"):
        imaging.blur_adjoint(image, psf, stride=2, shape=(12, 12))
    assert imaging.blur_adjoint(image, psf, stride=2).shape == (24, 24)


@pytest.mark.parametrize("boundary", BOUNDARIES[:5])
def test_kernel_larger_than_the_image(boundary):
    image, psf = _random((3, 4)), _random((15, 15), 1)
    for method in METHODS:
        result = imaging.blur(image, psf, boundary=boundary, method=method)
        np.testing.assert_allclose(result, _reference(image, psf, boundary), rtol=1e-11)


@pytest.mark.parametrize(("alias", "name"), [("edge", "nearest"), ("circular", "wrap")])
def test_aliases(alias, name):
    image, psf = _random((8, 9)), _random((5, 5), 1)
    np.testing.assert_array_equal(
        imaging.blur(image, psf, boundary=alias), imaging.blur(image, psf, boundary=name)
    )


@pytest.mark.parametrize(("method", "size"), (*KINDS, ("auto", 5), ("auto", 17)))
def test_an_impulse_becomes_the_kernel(method, size):
    psf, half = _random((size, size)), size // 2
    image = jnp.zeros((24, 24)).at[12, 12].set(1.0)
    blurred = imaging.blur(image, psf, method=method)
    window = blurred[12 - half : 13 + half, 12 - half : 13 + half]
    np.testing.assert_allclose(window, psf, atol=1e-12)
    # A correlation would leave the kernel rotated by 180 degrees.
    assert np.abs(window - psf[::-1, ::-1]).max() > 0.1


@pytest.mark.parametrize(("method", "size"), KINDS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_adjoint_by_the_dot_test(boundary, method, size):
    psf = _random((2, size, size))
    x = _random((2, 20, 23), 1)
    options = {"boundary": boundary, "method": method}
    ax = imaging.blur(x, psf, **options)
    y = _random(ax.shape, 2)
    aty = imaging.blur_adjoint(y, psf, **options)
    assert aty.shape == x.shape
    np.testing.assert_allclose(jnp.vdot(ax, y), jnp.vdot(x, aty), rtol=1e-12)


def test_adjoint_with_channels_and_gradients():
    psf, x = _random((3, 3, 3)), _random((3, 4, 12, 15), 1)
    options = {"boundary": "valid", "channel_axis": 1}
    ax = imaging.blur(x, psf, **options)
    y = _random(ax.shape, 2)
    aty = imaging.blur_adjoint(y, psf, **options)
    np.testing.assert_allclose(jnp.vdot(ax, y), jnp.vdot(x, aty), rtol=1e-12)
    # The map is linear in the kernel too, so its gradient returns its value.
    gradient = jax.grad(lambda k: jnp.vdot(imaging.blur_adjoint(y, k, **options), x))(psf)
    np.testing.assert_allclose(jnp.vdot(gradient, psf), jnp.vdot(aty, x), rtol=1e-12)


@pytest.mark.parametrize(("method", "size"), KINDS)
@pytest.mark.parametrize(
    ("image_lead", "psf_lead"),
    [((), (3,)), ((4,), ()), ((4,), (4,)), ((2, 4), (4,)), ((2, 4), (2, 1)), ((2, 1), (3,))],
)
def test_leading_axes_broadcast(image_lead, psf_lead, method, size):
    image, psf = _random((*image_lead, 10, 11)), _random((*psf_lead, size, size), 1)
    result = imaging.blur(image, psf, method=method)
    lead = np.broadcast_shapes(image_lead, psf_lead)
    assert result.shape == (*lead, 10, 11)
    images, psfs = (
        np.broadcast_to(image, (*lead, 10, 11)),
        np.broadcast_to(psf, (*lead, size, size)),
    )
    for index in np.ndindex(lead):
        expected = _reference(images[index], psfs[index], "reflect")
        np.testing.assert_allclose(result[index], expected, atol=1e-11)


@pytest.mark.parametrize("channel_axis", (-1, 0, 1))
def test_channel_axis(channel_axis):
    planes, psf = _random((3, 2, 10, 11)), _random((2, 5, 5), 1)
    expected = np.stack([imaging.blur(plane, psf) for plane in planes])
    result = imaging.blur(np.moveaxis(planes, 0, channel_axis), psf, channel_axis=channel_axis)
    np.testing.assert_allclose(np.moveaxis(result, channel_axis, 0), expected, atol=1e-13)


@pytest.mark.parametrize("channel_axis", (-1, 0))
def test_channel_axis_with_a_new_leading_axis(channel_axis):
    planes, psf = _random((3, 10, 11)), _random((4, 5, 5), 1)
    result = imaging.blur(np.moveaxis(planes, 0, channel_axis), psf, channel_axis=channel_axis)
    assert result.shape == ((4, 10, 11, 3) if channel_axis == -1 else (4, 3, 10, 11))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", (jnp.bfloat16, jnp.float16))
def test_half_precision_is_computed_in_single(dtype, method):
    image, psf = jnp.asarray(_random((16, 16)), dtype), jnp.asarray(_random((9, 9)) / 40)
    result = imaging.blur(image, psf, method=method)
    assert result.dtype == dtype
    expected = imaging.blur(image.astype(jnp.float32), psf, method=method).astype(dtype)
    np.testing.assert_array_equal(result, expected)
    assert imaging.blur_adjoint(image, psf, method=method).dtype == dtype


@pytest.mark.parametrize("dtype", (jnp.float32, jnp.float64))
def test_the_kernel_takes_the_dtype_of_the_image(dtype):
    for psf_dtype in (jnp.bfloat16, jnp.float32, jnp.float64):
        psf = jnp.full((3, 3), 0.125, psf_dtype)
        assert imaging.blur(jnp.ones((5, 5), dtype), psf).dtype == dtype


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_gradients(boundary, method):
    image, psf = jnp.asarray(_random((8, 9))), jnp.asarray(_random((3, 3), 1))

    def f(image, psf):
        return imaging.blur(image, psf, boundary=boundary, method=method)

    # All boundaries are linear in the image; one of them suffices for the second order.
    order = 2 if boundary == "constant" else 1
    check_grads(jax.jit(f), (image, psf), order=order, atol=1e-6, rtol=1e-6)
    for gradient in jax.grad(lambda *args: (f(*args) ** 2).sum(), (0, 1))(image, psf):
        assert jnp.abs(gradient).min() > 1e-3


@pytest.mark.parametrize(("method", "size"), KINDS)
def test_transformations_give_the_plain_result(method, size):
    images, psfs = jnp.asarray(_random((8, 12, 13))), jnp.asarray(_random((8, size, size), 1))

    def f(image, psf):
        return imaging.blur(image, psf, method=method)

    plain = f(images, psfs)
    for transformed in (jax.jit(f), jax.vmap(f), jax.jit(jax.vmap(f)), jax.pmap(f)):
        np.testing.assert_allclose(transformed(images, psfs), plain, atol=1e-12)
    one_kernel = jax.vmap(f, in_axes=(0, None))(images, psfs[0])
    np.testing.assert_allclose(one_kernel, f(images, psfs[0]), atol=1e-12)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 4), {}, "must be odd.*5x5"),
        ((3, 5), {}, "3x5, but a kernel is square"),
        ((3,), {}, "at least two axes"),
        ((9, 9), {"boundary": "valid"}, "8x8 and the psf 9x9"),
        ((3, 3), {"boundary": "symmetric"}, "'symmetric' is not known; choose one of 'reflect'"),
        ((3, 3), {"method": "separable"}, "'separable' is not known; choose one of 'auto'"),
        ((3, 3, 3), {}, r"\(2,\) of the image and \(3,\) of the psf do not broadcast"),
        ((3, 3), {"channel_axis": 3}, "channel_axis=3 is no axis"),
    ],
)
def test_errors_say_value_rule_and_remedy(shape, options, message):
    image, psf = jnp.ones((2, 8, 8)), jnp.ones(shape)
    with pytest.raises(ValueError, match=message):
        imaging.blur(image, psf, **options)


def test_errors_of_the_image():
    psf = jnp.ones((3, 3))
    with pytest.raises(TypeError, match=r"dtype uint8.*/ 255"):
        imaging.blur(np.zeros((8, 8), np.uint8), psf)
    with pytest.raises(ValueError, match="at least 2 axes"):
        imaging.blur(jnp.ones(8), psf)
    with pytest.raises(ValueError, match="leading axes that an image"):
        imaging.blur_adjoint(jnp.ones((8, 8)), jnp.ones((2, 3, 3)))
    with pytest.raises(ValueError, match="must be odd"):
        imaging.blur_adjoint(jnp.ones((8, 8)), jnp.ones((4, 4)))
