"""The noise of an image, beside what the image itself varies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import data, images, imaging, psf
from blurjax.deconvolution import noise_level


def smooth(size=128):
    """Dead leaves seen through a Gaussian: no finer structure than the blur's."""
    sharp = data.dead_leaves(jax.random.key(0), size=size).astype(jnp.float64)
    return imaging.blur(sharp, psf.gaussian(4.0, size=31))


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.1])
def test_white_noise_over_a_smooth_image(noise, getkey):
    found = noise_level(smooth() + noise * jax.random.normal(getkey(), (128, 128)))
    np.testing.assert_allclose(found, noise, rtol=0.05)


def test_the_floor_of_eight_bits():
    """The stated ones, of colour and of gray."""
    kernel = psf.gaussian(4.0, size=31)
    photograph = images.read(data.embedded_path("coffee.png"))[:200, :200]
    blurred = imaging.blur(jnp.asarray(photograph), kernel, channel_axis=-1)
    luminance = images.as_gray(np.round(255 * np.asarray(blurred)).astype(np.uint8))
    assert 5e-4 < noise_level(luminance) < 1.5e-3
    step = 1 / 255 / (2 * 0.6745)
    assert 0.0029 < step < 0.003
    for noise, most in ((0.0, 1), (0.01, 5)):
        seen = luminance + noise * np.random.default_rng(0).normal(size=luminance.shape)
        steps = float(noise_level(np.round(255 * seen) / 255)) / step
        assert abs(steps - round(steps)) < 1e-3 and round(steps) <= most


def test_edges_do_not_count(getkey):
    """A step along a row or a column has no mixed difference at all."""
    step = jnp.where(jnp.arange(64) < 32, 0.2, 0.8)
    assert noise_level(step[:, None] + jnp.zeros((1, 64))) == 0
    # Nor do a few points move a median.
    noisy = 0.02 * jax.random.normal(getkey(), (128, 128))
    spots = noisy.at[::16, ::16].add(1.0)
    np.testing.assert_allclose(noise_level(spots), noise_level(noisy), rtol=0.1)


@pytest.mark.slow
def test_units_batches_and_dtypes(getkey):
    stack = smooth()[None, None] + 0.05 * jax.random.normal(getkey(), (2, 3, 128, 128))
    found = noise_level(stack)
    assert found.shape == (2, 3)
    np.testing.assert_allclose(found[1, 2], noise_level(stack[1, 2]), rtol=1e-12)
    np.testing.assert_allclose(jax.vmap(noise_level)(stack), found, rtol=1e-12)
    np.testing.assert_allclose(noise_level(100 * stack), 100 * found, rtol=1e-9)
    for dtype in (jnp.float32, jnp.bfloat16):
        assert noise_level(stack.astype(dtype)).dtype == dtype


def test_the_gradient_is_finite_and_scales_with_the_noise(getkey):
    noise = jax.random.normal(getkey(), (33, 32))
    slope = jax.grad(lambda scale: noise_level(scale * noise))(0.02)
    np.testing.assert_allclose(slope, noise_level(noise), rtol=1e-6)
    assert np.isfinite(jax.grad(noise_level)(jnp.zeros((16, 16)))).all()


def test_what_is_no_image():
    with pytest.raises(ValueError, match="axes"):
        noise_level(jnp.zeros(8))
    with pytest.raises(TypeError, match="float"):
        noise_level(jnp.zeros((8, 8), jnp.int32))
