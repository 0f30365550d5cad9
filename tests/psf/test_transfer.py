import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from blurjax import psf

# One frequency shape for everything: generic points, one of them beyond Nyquist.
U = jnp.array([0.0, 0.03, 0.11, 0.2, 0.37, 0.62])
V = jnp.array([0.0, 0.08, -0.05, 0.3, -0.21, 0.1])


def aliased(continuous, reach: int):
    """The sum over the aliases u + m, v + n that sampling folds onto each frequency."""
    shift = jnp.arange(-reach, reach + 1.0)
    u = U[:, None, None] + shift[None, :, None]
    v = V[:, None, None] + shift[None, None, :]
    return jnp.sum(continuous(*jnp.broadcast_arrays(u, v)), axis=(-2, -1))


@pytest.mark.parametrize(("sigma", "ratio", "angle"), [(0.5, 1.0, 0.0), (1.6, 0.4, 0.7)])
def test_gaussian_is_the_transfer_of_its_kernel(sigma, ratio, angle):
    shape = {"ratio": ratio, "angle": angle}
    kernel = psf.gaussian(sigma, size=21, **shape)
    expected = aliased(
        lambda u, v: psf.gaussian_transfer(sigma, u, v, footprint=True, **shape), reach=3
    )
    np.testing.assert_allclose(psf.transfer(kernel, U, V), expected, atol=1e-8)


def test_motion_is_the_transfer_of_its_kernel():
    kernel = psf.motion(6.3, 0.5, size=11)
    expected = aliased(lambda u, v: psf.motion_transfer(6.3, 0.5, u, v, footprint=True), reach=60)
    np.testing.assert_allclose(psf.transfer(kernel, U, V), expected, atol=1e-5)


def test_defocus_is_the_transfer_of_its_kernel():
    kernel = psf.defocus(3.3, size=11)
    expected = aliased(lambda u, v: psf.defocus_transfer(3.3, u, v, footprint=True), reach=60)
    np.testing.assert_allclose(psf.transfer(kernel, U, V), expected, atol=2e-5)


@pytest.mark.parametrize("radius", [0.8, 3.0, 40.0])
def test_zeros_of_defocus(radius):
    zeros = scipy.special.jn_zeros(1, 6) / (2 * np.pi * radius)
    np.testing.assert_allclose(zeros[0], 0.6098 / radius, rtol=1e-4)
    np.testing.assert_allclose(psf.defocus_transfer(radius, zeros), 0, atol=1e-12)
    # In any direction.
    np.testing.assert_allclose(
        psf.defocus_transfer(radius, 0.6 * zeros, 0.8 * zeros), 0, atol=1e-12
    )


@pytest.mark.parametrize("angle", [0.0, 0.7])
def test_zeros_of_motion_and_its_direction(angle):
    rho = np.arange(1, 6) / 8.0
    u, v = rho * np.cos(angle), -rho * np.sin(angle)
    np.testing.assert_allclose(psf.motion_transfer(8.0, angle, u, v), 0, atol=1e-14)
    np.testing.assert_allclose(psf.motion_transfer(8.0, angle, v, -u), 1, atol=1e-14)


def test_gaussian_along_and_across():
    rho = np.array([0.05, 0.2])
    u, v = rho * np.cos(0.4), -rho * np.sin(0.4)
    along = psf.gaussian_transfer(2.0, u, v, ratio=0.5, angle=0.4)
    np.testing.assert_allclose(along, np.exp(-2 * np.pi**2 * 4 * rho**2), rtol=1e-12)
    across = psf.gaussian_transfer(2.0, v, -u, ratio=0.5, angle=0.4)
    np.testing.assert_allclose(across, np.exp(-2 * np.pi**2 * rho**2), rtol=1e-12)


def test_parameters_lead_and_dtypes_stay():
    parameter = jnp.linspace(1, 3, 3, dtype=jnp.float32)
    u, v = U.astype(jnp.float32)[None, :], V.astype(jnp.float32)[:, None]
    for value in (
        psf.gaussian_transfer(parameter, u, v),
        psf.motion_transfer(parameter, 0.2, u, v),
        psf.defocus_transfer(parameter, u, v),
    ):
        assert value.shape == (3, 6, 6) and value.dtype == jnp.float32
    kernels = psf.gaussian(parameter, size=9, radius=4)
    value = psf.transfer(kernels, u, v)
    assert value.shape == (3, 6, 6) and value.dtype == jnp.complex64
    assert psf.transfer(kernels.astype(jnp.bfloat16), 0.1).dtype == jnp.complex64
    assert psf.defocus_transfer(1.0, 0.1).shape == ()


def test_transfer_is_the_fft_of_a_lopsided_kernel(getkey):
    kernel = jax.random.uniform(getkey(), (2, 7, 7), jnp.float64)
    frequency = np.fft.fftfreq(7)
    expected = np.fft.fft2(np.fft.ifftshift(kernel, axes=(-2, -1)))
    value = psf.transfer(kernel, frequency[None, :], frequency[:, None])
    np.testing.assert_allclose(value, expected, atol=1e-13)


def test_transformations():
    radius = jnp.linspace(1.0, 3.0, 8)
    eager = psf.defocus_transfer(radius, U, V, footprint=True)

    def one(r):
        return psf.defocus_transfer(r, U, V, footprint=True)

    for transformed in (jax.jit(one), jax.vmap(one), jax.pmap(one)):
        np.testing.assert_allclose(transformed(radius), eager, atol=1e-14)


def gaussian_on_grid(sigma, ratio, angle):
    return psf.gaussian_transfer(sigma, U, V, ratio=ratio, angle=angle, footprint=True)


def motion_on_grid(length, angle):
    return psf.motion_transfer(length, angle, U, V)


def defocus_on_grid(radius):
    return psf.defocus_transfer(radius, U, V)


def defocus_at(u, v):
    return psf.defocus_transfer(2.0, u, v, footprint=True)


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (gaussian_on_grid, (1.3, 0.6, 0.4)),
        (motion_on_grid, (4.3, 0.7)),
        (defocus_on_grid, (2.2,)),
        (defocus_at, (0.13, 0.05)),
    ],
)
def test_gradients(check_derivatives, function, values):
    check_derivatives(function, *values)


def test_degenerate_parameters_pass_everything():
    with jax.debug_nans(True):
        for function, values in (
            (gaussian_on_grid, (0.0, 0.0, 0.4)),
            (motion_on_grid, (0.0, 0.7)),
            (defocus_on_grid, (0.0,)),
        ):
            derivatives = jax.jacfwd(function, tuple(range(len(values))))(*values)
            assert all(jnp.all(jnp.isfinite(d)) for d in derivatives)
        np.testing.assert_allclose(motion_on_grid(0.0, 0.7), 1)
        np.testing.assert_allclose(defocus_on_grid(0.0), 1, atol=1e-15)


def test_defocus_has_the_right_curvature_at_frequency_0():
    hessian = jax.hessian(lambda u, v: psf.defocus_transfer(2.0, u, v), (0, 1))(0.0, 0.0)
    expected = -((2 * np.pi * 2.0) ** 2) / 4 * np.eye(2)
    np.testing.assert_allclose(np.array(hessian), expected, atol=1e-9)


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match=r"length is -1\.0"):
        psf.motion_transfer(-1.0, 0.0, 0.1)
    with pytest.raises(ValueError, match="u is nan"):
        psf.defocus_transfer(1.0, np.nan)
    with pytest.raises(ValueError, match="4x4"):
        psf.transfer(jnp.ones((4, 4)), 0.1)


def by_points(sigma):
    return psf.mtf50(psf.gaussian(sigma, size=31, sampling="point"))


_mtf50_and_derivatives = jax.jit(
    lambda s: (by_points(s), jax.jacfwd(by_points)(s), jax.jacfwd(jax.jacfwd(by_points))(s))
)


@pytest.mark.parametrize("sigma", [1.1, 1.7, 3.5])
def test_mtf50_of_a_gaussian(sigma):
    value, first, second = _mtf50_and_derivatives(sigma)
    expected = np.sqrt(np.log(2) / 2) / (np.pi * sigma)
    # At 3.5 the 31 taps cut the Gaussian at 4.4 sigma.
    np.testing.assert_allclose(value, expected, rtol=1e-4)
    np.testing.assert_allclose(first, -expected / sigma, rtol=2e-3)
    np.testing.assert_allclose(second, 2 * expected / sigma**2, rtol=2e-2)


def test_mtf50_along_a_direction():
    kernels = psf.gaussian(jnp.array([2.0, 3.0]), size=31, ratio=0.5, angle=0.6, sampling="point")
    value = psf.mtf50(kernels, jnp.array([0.6, 0.6 + np.pi / 2]))
    scale = np.sqrt(np.log(2) / 2) / np.pi
    np.testing.assert_allclose(value, scale / np.array([[2.0, 1.0], [3.0, 1.5]]), rtol=1e-3)
    # Mass counts for nothing.
    np.testing.assert_allclose(psf.mtf50(7 * kernels, 0.6), value[:, 0], rtol=1e-12)


def test_mtf50_of_a_motion_is_where_its_sinc_falls_to_one_half():
    # sinc(x) = 1/2 at 0.60335; the tent and the aliases take a little off.
    value = psf.mtf50(psf.motion(20.0, 0.0, size=31))
    np.testing.assert_allclose(value, 0.60335 / 20, rtol=2e-3)
    assert psf.mtf50(psf.motion(20.0, 0.0, size=31), float(np.pi / 2)) == jnp.inf


def test_mtf50_without_a_crossing_is_infinite_with_gradient_0():
    delta = jnp.zeros((31, 31)).at[15, 15].set(1.0)
    with jax.debug_nans(True):
        assert psf.mtf50(delta) == jnp.inf
        np.testing.assert_array_equal(jax.grad(psf.mtf50)(delta), 0)
