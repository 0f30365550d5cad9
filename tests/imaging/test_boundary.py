"""pad, the smooth boundary and edge_taper."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import data, imaging, psf

NUMPY_MODES = {
    "reflect": "symmetric",
    "mirror": "reflect",
    "nearest": "edge",
    "edge": "edge",
    "wrap": "wrap",
    "circular": "wrap",
    "constant": "constant",
}


def _random(shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def _check_gradients(f, *values):
    """The gradient of sum f^2 to every value: not zero anywhere, and right along a direction."""
    loss = jax.jit(lambda *values: (f(*values) ** 2).sum())
    gradients = jax.jit(jax.grad(loss, range(len(values))))(*values)
    for i, gradient in enumerate(gradients):
        assert np.abs(gradient).min() > 1e-3
        direction = _random(values[i].shape, 7)
        ahead, behind = (
            loss(*values[:i], values[i] + step * direction, *values[i + 1 :])
            for step in (1e-6, -1e-6)
        )
        expected = np.vdot(gradient, direction)
        np.testing.assert_allclose((ahead - behind) / 2e-6, expected, rtol=1e-6)


@pytest.mark.parametrize("boundary", NUMPY_MODES)
def test_pad_agrees_with_numpy(boundary):
    image = _random((2, 4, 5))
    expected = np.pad(image, [(0, 0), (3, 3), (7, 7)], NUMPY_MODES[boundary])
    np.testing.assert_array_equal(imaging.pad(image, (3, 7), boundary=boundary), expected)


@pytest.mark.parametrize("boundary", ["mirror", "smooth"])
def test_uneven_widths_show_a_part_of_the_even(boundary):
    image = _random((6, 7))
    uneven = imaging.pad(image, ((1, 3), (0, 4)), boundary)
    assert uneven.shape == (10, 11)
    even = imaging.pad(image, (2, 2), boundary)
    # Of the same torus, turned.
    if boundary == "smooth":
        np.testing.assert_allclose(uneven, np.roll(even, (-1, -2), (0, 1)), atol=1e-12)
    else:
        np.testing.assert_array_equal(uneven, np.pad(image, ((1, 3), (0, 4)), "reflect"))


@pytest.mark.parametrize("width", [-1, (2, -1), ((0, -1), 0)])
def test_widths_that_mean_nothing_are_refused(width):
    with pytest.raises(ValueError, match="whole number of pixels"):
        imaging.pad(_random((4, 5)), width)


def test_pad_of_nothing():
    image = _random((4, 5))
    for boundary in ("reflect", "smooth"):
        np.testing.assert_array_equal(imaging.pad(image, 0, boundary=boundary), image)
    np.testing.assert_array_equal(imaging.pad(image, 3, boundary="valid"), image)


@pytest.mark.parametrize(
    ("boundary", "channel_axis"), [("nearest", 0), ("nearest", -1), ("smooth", 1)]
)
def test_pad_with_channels(boundary, channel_axis):
    planes = _random((3, 2, 6, 7))
    expected = np.stack([imaging.pad(plane, 2, boundary=boundary) for plane in planes])
    result = imaging.pad(
        np.moveaxis(planes, 0, channel_axis), 2, boundary=boundary, channel_axis=channel_axis
    )
    np.testing.assert_allclose(np.moveaxis(result, channel_axis, 0), expected, atol=1e-14)


@pytest.mark.parametrize("widths", [(3, 2), (0, 4), (5, 0), (9, 11)])
def test_smooth_keeps_the_image_and_solves_laplace(widths):
    image = _random((6, 7))
    padded = np.asarray(imaging.pad(image, widths, boundary="smooth"))
    rows, columns = widths
    centre = np.zeros(padded.shape, bool)
    centre[rows : rows + 6, columns : columns + 7] = True
    np.testing.assert_allclose(padded[centre].reshape(6, 7), image, atol=1e-15)
    assert padded.min() >= image.min() - 1e-12 and padded.max() <= image.max() + 1e-12
    # The mean of the four neighbours on the torus, but where strip and corner meet.
    mean = sum(np.roll(padded, shift, axis) for shift in (-1, 1) for axis in (0, 1)) / 4
    beside = np.zeros(padded.shape, bool)
    beside[rows + 1 : rows + 5] = True
    beside[:, columns + 1 : columns + 6] = True
    corner = np.ones(padded.shape, bool)
    corner[rows : rows + 6] = False
    corner[:, columns : columns + 7] = False
    harmonic = (beside | corner) & ~centre
    np.testing.assert_allclose(padded[harmonic], mean[harmonic], atol=1e-12)
    assert np.abs(padded[~centre] - image.mean()).max() > 0.1


@pytest.mark.parametrize("dtype", (jnp.float64, jnp.float32, jnp.bfloat16))
def test_smooth_is_exact_on_constants_and_keeps_the_dtype(dtype):
    padded = imaging.pad(jnp.full((6, 7), 0.3, dtype), 40, boundary="smooth")
    assert padded.dtype == dtype and padded.shape == (86, 87)
    values = np.asarray(padded, np.float64)
    assert np.abs(values - values[40, 40]).max() <= 2 * jnp.finfo(dtype).eps


def test_smooth_commutes_with_the_symmetries():
    image = _random((6, 7))
    padded = imaging.pad(image, (3, 4), boundary="smooth")
    flipped = imaging.pad(image[::-1, ::-1], (3, 4), boundary="smooth")
    transposed = imaging.pad(image.T, (4, 3), boundary="smooth")
    np.testing.assert_allclose(flipped[::-1, ::-1], padded, atol=1e-14)
    np.testing.assert_allclose(transposed.T, padded, atol=1e-14)


def _jumps(image, padded, width):
    """Mean steps across the wrap and across the border of the image, in mean steps inside."""
    typical = np.mean([np.abs(np.diff(image, axis=axis)).mean() for axis in (0, 1)])
    wrap, border = [], []
    for x in (padded, padded.T):
        wrap.append(np.abs(x[0] - x[-1]).mean() / typical)
        border += [np.abs(x[i] - x[i - 1]).mean() / typical for i in (width, -width)]
    return max(wrap), max(border)


def test_smooth_has_no_jumps_on_photographs_where_wrap_has_large_ones():
    width, before, after = 8, [], []
    for photograph in data.embedded("test"):
        image = np.asarray(photograph[:250, :320], np.float32)
        for boundary, jumps in (("wrap", before), ("smooth", after)):
            padded = np.asarray(imaging.pad(image, width, boundary=boundary))
            jumps.append(_jumps(image, padded, width))
    # Measured on all ten photographs at width 4: at most 1.7 and 2.6, against 16 for "wrap".
    assert np.max(after) < 2
    assert np.min(before) > 3


def test_smooth_is_linear_and_its_transpose_passes_the_dot_test():
    x = _random((2, 6, 7))

    def f(image):
        return imaging.pad(image, (3, 4), boundary="smooth")

    y = _random((2, 12, 15), 1)
    (transposed,) = jax.jit(jax.linear_transpose(f, x))(y)
    np.testing.assert_allclose(np.vdot(f(x), y), np.vdot(x, transposed), rtol=1e-13)
    gradient = np.asarray(jax.jit(jax.grad(lambda image: jnp.vdot(f(image), y)))(x))
    np.testing.assert_allclose(gradient, transposed, atol=1e-14)
    # The influence of a pixel off the border is its own copy; of one on it, much more.
    np.testing.assert_allclose(gradient[:, 1:-1, 1:-1], y[:, 4:-4, 5:-5], atol=1e-14)
    assert np.abs(gradient[:, 0] - y[:, 3, 4:-4]).min() > 0.1


def test_blur_with_the_smooth_boundary():
    image, kernel = _random((2, 10, 11)), _random((2, 7, 7), 1)
    options = {"boundary": "smooth"}
    blurred = imaging.blur(image, kernel, **options)
    padded = imaging.pad(image, 3, boundary="smooth")
    expected = imaging.blur(padded, kernel, boundary="valid")
    np.testing.assert_allclose(blurred, expected, atol=1e-11)
    y = _random(blurred.shape, 2)
    adjoint = imaging.blur_adjoint(y, kernel, **options)
    np.testing.assert_allclose(np.vdot(blurred, y), np.vdot(image, adjoint), rtol=1e-12)


def test_gradients_of_blur_with_the_smooth_boundary():
    _check_gradients(
        functools.partial(imaging.blur, boundary="smooth", method="fft"),
        _random((8, 9)),
        _random((3, 3), 1),
    )


@pytest.mark.parametrize(
    "f",
    (
        lambda x: imaging.pad(x, (3, 2), boundary="smooth"),
        lambda x: imaging.edge_taper(x, jnp.asarray(_random((5, 5), 1)) / 12.5),
    ),
    ids=("smooth", "edge_taper"),
)
def test_transformations_give_the_plain_result(f):
    images = jnp.asarray(_random((8, 12, 13)))
    plain = f(images)
    for transformed in (jax.jit(f), jax.vmap(f), jax.pmap(f)):
        np.testing.assert_allclose(transformed(images), plain, atol=1e-13)


@pytest.mark.parametrize("width", (-1, 1.5, (1, -2), (1, 2, 3)))
def test_errors_of_pad(width):
    # Past the annotations, as users without a type checker come.
    with pytest.raises(ValueError, match="adds a whole number of pixels"):
        imaging.pad.__wrapped__(jnp.ones((4, 4)), width)


def test_other_errors_of_pad():
    with pytest.raises(ValueError, match="'symmetric' is not known; choose one of 'reflect'"):
        imaging.pad(jnp.ones((4, 4)), 2, boundary="symmetric")
    with pytest.raises(ValueError, match="channel_axis=3 is no axis"):
        imaging.pad(jnp.ones((4, 4, 3)), 2, channel_axis=3)
    with pytest.raises(TypeError, match=r"dtype uint8.*/ 255"):
        imaging.pad(np.ones((4, 4), np.uint8), 2)


def test_edge_taper_agrees_with_the_definition():
    image, kernel = _random((20, 23)), _random((5, 5), 1)
    kernel /= kernel.sum()
    weights = []
    for axis, size in ((1, 20), (0, 23)):
        # As MATLAB: the circular autocorrelation on one pixel less, its first value repeated.
        spectrum = np.abs(np.fft.fft(kernel.sum(axis), size - 1)) ** 2
        z = np.fft.ifft(spectrum).real
        weights.append(1 - np.append(z, z[0]) / z.max())
    a = np.outer(*weights)
    expected = a * image + (1 - a) * imaging.blur(image, kernel, boundary="wrap")
    np.testing.assert_allclose(imaging.edge_taper(image, kernel), expected, atol=1e-13)


def test_edge_taper_on_a_photograph():
    photograph = np.asarray(data.embedded("test")[0][:128, :160], np.float32)
    kernel = psf.gaussian(2.0, size=15)
    tapered = np.asarray(imaging.edge_taper(photograph, kernel))
    np.testing.assert_array_equal(tapered[15:-15, 15:-15], photograph[15:-15, 15:-15])
    assert np.abs(tapered[10] - photograph[10]).max() > 1e-3

    def jump(x):
        return np.abs(x[0] - x[-1]).mean() + np.abs(x[:, 0] - x[:, -1]).mean()

    assert jump(tapered) < 0.3 * jump(photograph)
    flat = imaging.edge_taper(jnp.full((30, 40), 0.3), kernel.astype(float))
    np.testing.assert_allclose(flat, 0.3, atol=1e-15)


def test_edge_taper_with_channels_and_many_kernels():
    planes, kernels = _random((3, 12, 13)), _random((2, 5, 5), 1)
    expected = [[imaging.edge_taper(plane, kernel) for plane in planes] for kernel in kernels]
    for axis in (0, -1):
        result = imaging.edge_taper(np.moveaxis(planes, 0, axis), kernels, channel_axis=axis)
        result = np.moveaxis(result, axis if axis < 0 else 1, 1)
        np.testing.assert_allclose(result, expected, atol=1e-12)


def test_edge_taper_gradients_and_dtypes():
    image, kernel = _random((8, 9)), _random((3, 3), 1)
    _check_gradients(imaging.edge_taper, image, kernel)
    for dtype in (jnp.bfloat16, jnp.float32):
        assert imaging.edge_taper(jnp.asarray(image, dtype), kernel).dtype == dtype
    nothing = np.zeros((3, 3))
    gradient = jax.jit(jax.grad(lambda k: imaging.edge_taper(image, k).sum()))(nothing)
    assert np.all(np.isfinite(gradient))
