"""random_blur: labels, distribution, transformations, errors."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import imaging, psf

FIT = {"sigma": (0.5, 2.0), "length": (2.0, 12.0), "radius": (1.0, 5.0)}
TWO = {"sigma": FIT["sigma"], "length": FIT["length"]}
NAMES = ("gaussian", "motion", "defocus")


@functools.cache
def _drawn(count=600):
    """Kernels of many one-pixel-high images: what is tested of them is their labels."""
    images = jnp.ones((count, 1, 1))
    return imaging.random_blur(
        jax.random.key(0), images, size=15, ranges=FIT, probability=0.8, boundary="nearest"
    )


def test_each_kernel_is_that_of_its_label():
    _, kernels, families, parameters = (np.asarray(x) for x in _drawn())
    delta = np.zeros((15, 15))
    delta[7, 7] = 1
    np.testing.assert_array_equal(kernels[families < 0] - delta, 0)
    np.testing.assert_array_equal(parameters[families < 0], 0)
    for index, name in enumerate(NAMES):
        family = psf.FAMILIES[name]
        mine = families == index
        own = parameters[mine].T[: len(family.names)]
        np.testing.assert_allclose(kernels[mine], family.kernel(*own, size=15), atol=1e-12)
        np.testing.assert_array_equal(parameters[mine][:, len(family.names) :], 0)


def test_the_draws_are_spread_over_families_and_ranges():
    _, _, families, parameters = (np.asarray(x) for x in _drawn())
    # 600 draws: the standard deviation of a share is 0.02.
    shares = [(families == index).mean() for index in (-1, 0, 1, 2)]
    np.testing.assert_allclose(shares, [0.2, 0.8 / 3, 0.8 / 3, 0.8 / 3], atol=0.07)
    for index, column, low, high, logarithmic in (
        (0, 0, 0.5, 2.0, True),
        (1, 0, 2.0, 12.0, True),
        (1, 1, 0.0, math.pi, False),
        (2, 0, 1.0, 5.0, True),
    ):
        values = np.sort(parameters[families == index, column])
        assert values[0] >= low and values[-1] <= high
        ends = np.log([low, high]) if logarithmic else (low, high)
        values = np.log(values) if logarithmic else values
        uniform = (values - ends[0]) / (ends[1] - ends[0])
        # Kolmogorov: about 160 values stay within 0.13 of even in 99 % of cases.
        assert np.abs(uniform - (np.arange(len(uniform)) + 0.5) / len(uniform)).max() < 0.13


def test_images_are_blurred_by_their_kernels_or_kept():
    images = jax.random.uniform(jax.random.key(1), (8, 20, 21))
    options = {"size": 15, "ranges": TWO, "families": NAMES[:2]}
    blurred, kernels, families, _ = imaging.random_blur(
        jax.random.key(2), images, probability=0.5, **options
    )
    assert 0 < (families < 0).sum() < 8
    np.testing.assert_array_equal(blurred[families < 0], images[families < 0])
    np.testing.assert_allclose(blurred, imaging.blur(images, kernels), atol=1e-12)
    for channel_axis in (0, -1):
        planes = jnp.stack([images, images**2], channel_axis)
        colour = imaging.random_blur(
            jax.random.key(2), planes, probability=0.5, channel_axis=channel_axis, **options
        )
        first = jnp.take(colour.images, 0, channel_axis)
        np.testing.assert_allclose(first, blurred, atol=1e-12)
        np.testing.assert_array_equal(colour.psf, kernels)


def _box(width, *, size):
    return psf.motion(width, 0.0, size=size)


def test_a_family_of_ones_own_and_valid():
    box = psf.Family(_box, (psf.Parameter("width", 0.0, 8.0),))
    images = jnp.ones((8, 20, 20), jnp.bfloat16)
    result = imaging.random_blur(
        jax.random.key(0), images, size=11, families=(box,), boundary="valid"
    )
    assert result.images.shape == (8, 10, 10) and result.images.dtype == jnp.bfloat16
    assert result.parameters.shape == (8, 1) and result.parameters.dtype == jnp.float32
    np.testing.assert_allclose(result.psf, _box(result.parameters[:, 0], size=11), atol=1e-6)
    np.testing.assert_allclose(result.images.astype(float), 1, atol=0.01)


def _square(width, *, size):
    """A kernel that compiles quickly."""
    offset = jnp.abs(jnp.arange(size) - size // 2).astype(width.dtype)
    profile = jax.nn.sigmoid(4 * (width[:, None] / 2 - offset[None]))
    kernel = profile[:, :, None] * profile[:, None, :]
    return kernel / kernel.sum((1, 2), keepdims=True)


@pytest.mark.slow
def test_transformations_and_gradients():
    square = psf.Family(_square, (psf.Parameter("width", 1.0, 6.0),))
    images = jax.random.uniform(jax.random.key(3), (8, 2, 3, 12, 13))
    keys = jax.random.split(jax.random.key(0), (8, 2))

    def f(key, images):
        return imaging.random_blur(key, images, size=9, families=(square,), probability=0.7)

    mapped = jax.pmap(jax.vmap(f))(keys, images)
    for plain, result in zip(f(keys[5, 1], images[5, 1]), mapped, strict=True):
        np.testing.assert_allclose(result[5, 1], plain, atol=1e-12)
    # Each its own draw; the images that are kept share the parameter 0.
    blurred = mapped.family == 0
    assert 24 < blurred.sum() < 44
    assert len(np.unique(mapped.parameters[blurred])) == blurred.sum()

    def inner(images, y):
        return jnp.vdot(f(keys[5, 1], images).images, y)

    y = images[4, 0]
    gradient = jax.jit(jax.grad(inner))(images[5, 1], y)
    expected = imaging.blur_adjoint(y, mapped.psf[5, 1])
    np.testing.assert_allclose(gradient, expected, atol=1e-12)
    assert np.abs(gradient).min() > 1e-3


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8, 8), {}, r"shape \(8, 8\), but is \(n, H, W\)"),
        ((2, 8, 8), {"families": ()}, "families is empty"),
        ((2, 8, 8), {"families": ("box",)}, "family is 'box'; choose one of gaussian"),
        ((2, 8, 8), {"ranges": {"width": (1.0, 2.0)}}, "'width', but the parameters are angle"),
        ((2, 8, 8), {"ranges": {"sigma": (2.0, 1.0)}}, "range of sigma is .*lower end first"),
    ],
)
def test_errors_say_value_rule_and_remedy(shape, options, message):
    with pytest.raises(ValueError, match=message):
        imaging.random_blur(jax.random.key(0), jnp.ones(shape), size=5, **options)
