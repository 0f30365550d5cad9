"""blur_gaussian: the same as the two-dimensional kernel, one axis after the other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from blurjax import imaging, psf


def _random(shape, seed=0):
    return np.random.default_rng(seed).random(shape)


@pytest.mark.parametrize(
    "boundary", ["reflect", "mirror", "nearest", "wrap", "constant", "valid", "smooth"]
)
def test_agrees_with_the_kernel_in_two_dimensions(boundary):
    image = _random((20, 24))
    expected = imaging.blur(image, psf.gaussian(1.3, size=11), boundary=boundary)
    result = imaging.blur_gaussian(image, 1.3, size=11, boundary=boundary)
    np.testing.assert_allclose(result, expected, atol=1e-12)


def test_points_are_scipy_with_its_size():
    image = _random((40, 44))
    for sigma in (0.7, 2.0):
        np.testing.assert_allclose(
            imaging.blur_gaussian(image, sigma, sampling="point"),
            scipy.ndimage.gaussian_filter(image, sigma, truncate=4.0),
            atol=1e-12,
        )


def test_leading_axes_channels_and_dtypes():
    sigma = jnp.array([0.8, 1.9])
    images = _random((2, 15, 16, 3))
    result = imaging.blur_gaussian(images, sigma, size=9, channel_axis=-1)
    for i in range(2):
        expected = imaging.blur(images[i], psf.gaussian(sigma[i], size=9), channel_axis=-1)
        np.testing.assert_allclose(result[i], expected, atol=1e-12)
    assert imaging.blur_gaussian(images[0, ..., 0], sigma, size=9).shape == (2, 15, 16)
    half = jnp.asarray(images[0, ..., 0], jnp.bfloat16)
    assert imaging.blur_gaussian(half, 1.0).dtype == jnp.bfloat16
    assert imaging.blur_gaussian(half.astype(jnp.float32), 1.0).dtype == jnp.float32


def test_gradients_and_transformations():
    image, weight = jnp.asarray(_random((12, 13))), jnp.asarray(_random((12, 13), 1))

    def total(image, sigma):
        return jnp.vdot(weight, imaging.blur_gaussian(image, sigma, size=9))

    def reference(image, sigma):
        return jnp.vdot(weight, imaging.blur(image, psf.gaussian(sigma, size=9)))

    gradients = jax.jit(jax.grad(total, (0, 1)))(image, 1.1)
    for ours, theirs in zip(
        gradients, jax.jit(jax.grad(reference, (0, 1)))(image, 1.1), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)
        assert jnp.abs(ours).max() > 1e-3
    images, sigmas = jnp.asarray(_random((8, 12, 13))), jnp.linspace(0.5, 2.0, 8)

    def blurred(image, sigma):
        return imaging.blur_gaussian(image, sigma, size=9)

    for transformed in (jax.vmap(blurred), jax.pmap(blurred)):
        np.testing.assert_allclose(transformed(images, sigmas), blurred(images, sigmas), atol=1e-12)


def test_errors():
    image = jnp.ones((12, 12))
    with pytest.raises(ValueError, match="size is missing and sigma is traced"):
        jax.jit(lambda s: imaging.blur_gaussian(image, s))(1.0)
    with pytest.raises(ValueError, match="12x12 and the kernel 17 wide"):
        imaging.blur_gaussian(image, 2.0, boundary="valid")
