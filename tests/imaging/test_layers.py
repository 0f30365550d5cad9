"""Scenes of two layers, and the sigma maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from blurjax import imaging, psf

SHAPE = (16, 20)


def _random(shape, seed=0):
    return np.random.default_rng(seed).random(shape)


MATTE = np.zeros(SHAPE)
MATTE[4:12, 5:13] = 1
_NEAR, _FAR = _random((5, 5), 2), _random((9, 9), 3)
KERNELS = {"foreground_psf": _NEAR / _NEAR.sum(), "background_psf": _FAR / _FAR.sum()}


def test_without_kernels_the_layers_are_cut_hard():
    f, b, matte = _random(SHAPE), _random(SHAPE, 1), _random(SHAPE, 2)
    image, soft = imaging.composite(f, b, matte)
    np.testing.assert_allclose(image, matte * f + (1 - matte) * b, atol=1e-15)
    np.testing.assert_array_equal(soft, matte)


def test_the_formula():
    f, b = _random((2, *SHAPE)), _random((2, *SHAPE), 1)
    image, soft = imaging.composite(f, b, MATTE, boundary="wrap", **KERNELS)
    near, far = KERNELS.values()
    veil, front, behind = (
        scipy.ndimage.convolve(x, k[None] if x.ndim == 3 else k, mode="wrap")
        for x, k in ((MATTE, near), (f * MATTE, near), (b, far))
    )
    np.testing.assert_allclose(soft, veil, atol=1e-14)
    np.testing.assert_allclose(image, front + (1 - veil) * behind, atol=1e-14)


def test_what_the_matte_hides_never_shows():
    front = _random(SHAPE)
    one, _ = imaging.composite(front, _random(SHAPE, 1), MATTE, **KERNELS)
    two, _ = imaging.composite(front + 9 * (1 - MATTE), _random(SHAPE, 1), MATTE, **KERNELS)
    np.testing.assert_allclose(one, two, atol=1e-13)


def test_constants_stay_and_a_matte_of_one_hides_the_background():
    image, soft = imaging.composite(np.full(SHAPE, 0.4), np.full(SHAPE, 0.4), MATTE, **KERNELS)
    np.testing.assert_allclose(image, 0.4, atol=1e-14)
    assert 0 < soft[3, 8] < 1
    front = _random(SHAPE)
    image, soft = imaging.composite(front, _random(SHAPE, 1), np.ones(SHAPE), **KERNELS)
    np.testing.assert_allclose(image, imaging.blur(front, KERNELS["foreground_psf"]), atol=1e-13)
    np.testing.assert_allclose(soft, 1, atol=1e-14)


def test_colours_batches_and_dtypes():
    f, b = _random((2, *SHAPE, 3)), _random((2, *SHAPE, 3), 1)
    mattes = np.stack([MATTE, 1 - MATTE])
    kernel = KERNELS["foreground_psf"]
    image, soft = imaging.composite(f, b, mattes, foreground_psf=kernel, channel_axis=-1)
    assert image.shape == f.shape and soft.shape == mattes.shape
    for c in (0, 2):
        plane = imaging.composite(f[..., c], b[..., c], mattes, foreground_psf=kernel).image
        np.testing.assert_allclose(image[..., c], plane, atol=1e-13)
    for dtype in (jnp.bfloat16, jnp.float32):
        half = imaging.composite(
            *(jnp.asarray(x, dtype) for x in (f[0, ..., 0], b[0, ..., 0])),
            MATTE,
            background_psf=kernel,
        )
        assert half.image.dtype == half.matte.dtype == dtype


def test_gradients_and_transformations():
    f, b = jnp.asarray(_random((8, *SHAPE))), jnp.asarray(_random((8, *SHAPE), 1))
    matte = jnp.asarray(MATTE)

    def scene(f, b, sigmas):
        near, far = psf.gaussian(sigmas, size=9)
        return imaging.composite(f, b, matte, foreground_psf=near, background_psf=far).image

    sigmas = np.array([1.2, 0.7])
    plain = scene(f, b, sigmas)
    mapped = jax.pmap(lambda f, b: scene(f, b, sigmas))(f, b)
    np.testing.assert_allclose(mapped, plain, atol=1e-13)

    @jax.jit
    def loss(sigmas):
        return jax.value_and_grad(lambda s: jnp.sum(jax.vmap(scene, (0, 0, None))(f, b, s) ** 2))(
            sigmas
        )

    value, gradient = loss(sigmas)
    np.testing.assert_allclose(value, jnp.sum(plain**2), rtol=1e-12)
    for i, derivative in enumerate(gradient):
        step = 1e-6 * np.eye(2)[i]
        difference = (loss(sigmas + step)[0] - loss(sigmas - step)[0]) / 2e-6
        np.testing.assert_allclose(derivative, difference, rtol=1e-6)
        assert abs(derivative) > 1e-2


def test_errors_of_layers():
    x = np.ones(SHAPE)
    with pytest.raises(ValueError, match='boundary="valid" leaves'):
        imaging.composite(x, x, x, boundary="valid")
    with pytest.raises(ValueError, match=r"background has shape \(8, 20\)"):
        imaging.composite(x, x[:8], x)
    with pytest.raises(ValueError, match=r"matte has shape \(8, 20\)"):
        imaging.composite(x, x, x[:8])
    with pytest.raises(TypeError, match="dtype uint8"):
        imaging.composite(x.astype(np.uint8), x, x)


def test_ramp_map():
    ramp = imaging.ramp_map((3, 50))
    np.testing.assert_allclose(ramp, np.tile(np.linspace(0.1, 3, 50), (3, 1)), rtol=1e-14)
    assert imaging.ramp_map((2, 1), 0.7, 2.0)[0, 0] == 0.7
    assert imaging.ramp_map((2, 2), np.float32(0.7), 2.0).dtype == jnp.float32
    slope = jax.jacfwd(lambda high: imaging.ramp_map((1, 3), 0.5, high))(2.0)
    np.testing.assert_allclose(slope, [[0, 0.5, 1]])


def test_sine_maps():
    c, r = np.arange(1, 401), np.arange(1, 31)
    np.testing.assert_allclose(
        imaging.sine_map((30, 400)), np.tile(1.55 + 1.45 * np.sin(0.02 * c), (30, 1)), rtol=1e-12
    )
    np.testing.assert_allclose(
        imaging.sine_map((30, 400), two_dimensional=True),
        1.55 + 1.45 * np.outer(np.sin(0.02 * r), np.sin(0.02 * c)),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        imaging.sine_map((1, 8), 2.0, 1.0, 8.0)[0, [1, 3, 5, 7]], [3, 2, 1, 2], atol=1e-12
    )
    by_period = jax.grad(lambda period: imaging.sine_map((1, 8), 2.0, 1.0, period)[0, 2])(9.0)
    np.testing.assert_allclose(by_period, -np.cos(6 * np.pi / 9) * 6 * np.pi / 81, rtol=1e-12)
    with pytest.raises(ValueError, match=r"shape is \(0, 4\)"):
        imaging.sine_map((0, 4))
