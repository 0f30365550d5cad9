import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.special

from blurjax import psf


def dense_profile(sigma: float, size: int, n: int = 2000) -> np.ndarray:
    """The pixel integral by the midpoint rule on n points a pixel."""
    x = (np.arange(size * n) + 0.5) / n - size / 2
    profile = np.exp(-((x / sigma) ** 2) / 2).reshape(size, n).mean(axis=1)
    return profile / profile.sum()


@pytest.mark.parametrize("sigma", [0.2, 0.3, 0.6, 1.0, 2.5, 5.0])
def test_area_agrees_with_dense_integration(sigma):
    profile = dense_profile(sigma, 41)
    np.testing.assert_allclose(
        psf.gaussian(sigma, size=41), np.outer(profile, profile), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.2, 4.0])
def test_point_sampling_reproduces_scipy(sigma):
    size = 2 * int(4 * sigma + 0.5) + 1
    impulse = np.zeros((size, size))
    impulse[size // 2, size // 2] = 1
    expected = scipy.ndimage.gaussian_filter(impulse, sigma, truncate=4.0)
    np.testing.assert_allclose(
        psf.gaussian(sigma, size=size, sampling="point"), expected, atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(("sigma", "tolerance"), [(0.5, 0.012), (0.6, 0.003), (2.0, 0.003)])
def test_variance_carries_the_pixel(sigma, tolerance):
    variance = psf.moments(psf.gaussian(sigma, size=31)).covariance[0, 0]
    np.testing.assert_allclose(np.sqrt(variance), np.sqrt(sigma**2 + 1 / 12), rtol=tolerance)


def test_degenerate_sigma_is_the_delta_with_finite_derivatives():
    delta = np.zeros((9, 9))
    delta[4, 4] = 1
    for sigma in (0.0, 1e-30, 0.01, 0.05):
        np.testing.assert_allclose(psf.gaussian(sigma, size=9), delta, rtol=0, atol=1e-20)
        jacobian = jax.jacfwd(lambda s: psf.gaussian(s, size=9))(sigma)
        np.testing.assert_allclose(jacobian, 0, atol=1e-18)


def by_area(sigma):
    return psf.gaussian(sigma, size=31)


def by_points(sigma):
    return psf.gaussian(sigma, size=31, sampling="point")


@pytest.mark.parametrize("kernel", [by_area, by_points])
@pytest.mark.parametrize("sigma", [0.4, 1.3, 3.7])
def test_gradients(check_derivatives, kernel, sigma):
    check_derivatives(kernel, sigma)


def test_float32_tail_keeps_its_relative_accuracy():
    kernel = psf.gaussian(np.float32(1.0), size=13)
    exact = psf.gaussian(1.0, size=13)
    assert kernel.dtype == jnp.float32
    np.testing.assert_allclose(kernel, exact, rtol=2e-4, atol=1e-30)


def test_truncation_is_announced_with_the_lost_mass():
    with pytest.warns(UserWarning, match=r"size 7 cuts off .*gaussian.*psf.support"):
        kernel = psf.gaussian(3.0, size=7)
    np.testing.assert_allclose(kernel.sum(), 1, rtol=1e-12)


def test_unknown_sampling_is_refused():
    with pytest.raises(ValueError, match="'area' or 'point'"):
        psf.gaussian(1.0, size=7, sampling="bilinear")


# One compiled shape for everything anisotropic.
SIZE = 21


def turned(sigma, ratio, angle, sampling="area"):
    return psf.gaussian(sigma, size=SIZE, ratio=ratio, angle=angle, sampling=sampling)


def dense_turned(sigma: float, ratio: float, angle: float, n: int = 40) -> np.ndarray:
    """The pixel integral by n x n Gauss-Legendre nodes a pixel."""
    node, weight = np.polynomial.legendre.leggauss(n)
    x = ((np.arange(SIZE) - SIZE // 2)[:, None] + node / 2).ravel()
    column, up = x[None, :], -x[:, None]
    along = (column * np.cos(angle) + up * np.sin(angle)) / sigma
    across = (up * np.cos(angle) - column * np.sin(angle)) / (sigma * ratio)
    value = np.exp(-(along**2 + across**2) / 2).reshape(SIZE, n, SIZE, n)
    kernel = np.einsum("injm,n,m->ij", value, weight, weight)
    return kernel / kernel.sum()


TURNED = [
    (0.3, 1.0001, 0.2),
    (0.3, 4.0, 0.7),
    (2.0, 0.15, np.pi / 4),
    (2.0, 0.15, 1.5),
    (1.0, 0.6, -0.4),
    (1.2, 2.0, 2.9),
]


@pytest.mark.parametrize(("sigma", "ratio", "angle"), TURNED)
def test_anisotropic_agrees_with_dense_integration(sigma, ratio, angle):
    expected = dense_turned(sigma, ratio, angle)
    np.testing.assert_allclose(turned(sigma, ratio, angle), expected, atol=1e-9, rtol=0)
    single = turned(np.float32(sigma), np.float32(ratio), np.float32(angle))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, expected, atol=2e-6, rtol=0)


def test_anisotropic_down_to_a_tenth_of_a_pixel():
    for angle in (0.1, np.pi / 4):
        np.testing.assert_allclose(
            turned(0.1, 6.0, angle), dense_turned(0.1, 6.0, angle), atol=1e-5, rtol=0
        )


def test_orientation_and_ratio():
    covariance = psf.moments(turned(2.0, 0.5, np.pi / 6)).covariance
    # Axes in the order row, column; rows point down.
    c, s = np.cos(np.pi / 6), np.sin(np.pi / 6)
    expected = [[4 * s**2 + c**2, -3 * s * c], [-3 * s * c, 4 * c**2 + s**2]] + np.eye(2) / 12
    np.testing.assert_allclose(covariance, expected, rtol=1e-3)
    np.testing.assert_allclose(turned(2.0, 0.5, 0.3), turned(1.0, 2.0, 0.3 + np.pi / 2), atol=1e-9)


@pytest.mark.parametrize("sampling", ["area", "point"])
@pytest.mark.parametrize("sigma", [0.0, 0.05, 0.4, 2.0])
def test_a_traced_ratio_of_1_is_the_isotropic_kernel(sigma, sampling):
    np.testing.assert_allclose(
        turned(sigma, jnp.array(1.0), 0.7, sampling),
        psf.gaussian(sigma, size=SIZE, sampling=sampling),
        atol=1e-10,
        rtol=0,
    )


@pytest.mark.parametrize("parameters", [(1.6, 0.4, 0.5), (0.7, 1.8, 0.0), (2.0, 0.3, np.pi / 4)])
def test_anisotropic_gradients(check_derivatives, parameters):
    check_derivatives(turned, *parameters)


def test_anisotropic_gradients_by_points():
    def f(step):
        return turned(1.6 + step, 0.4 - step, 0.5 + 2 * step, "point")

    difference = (f(1e-6) - f(-1e-6)) / 2e-6
    np.testing.assert_allclose(jax.jacfwd(f)(0.0), difference, atol=1e-9)
    assert jnp.abs(difference).max() > 1e-2


_turned_jacobian = jax.jit(jax.jacfwd(turned, (0, 1, 2)))


@pytest.mark.parametrize(("sigma", "ratio"), [(0.0, 0.5), (1e-30, 1.0), (0.05, 1.0), (2.0, 0.0)])
def test_degenerate_anisotropic_is_finite(sigma, ratio):
    with jax.debug_nans(True):
        jacobian = _turned_jacobian(sigma, ratio, 0.4)
        kernel = turned(sigma, jnp.array(ratio), 0.4)
    np.testing.assert_allclose(kernel.sum(), 1, rtol=1e-12)
    assert all(jnp.all(jnp.isfinite(j)) for j in jacobian)
    if sigma <= 0.05:
        np.testing.assert_allclose(kernel[SIZE // 2, SIZE // 2], 1, rtol=1e-12)


def test_isotropic_has_no_gradient_in_the_angle():
    by_angle = _turned_jacobian(1.3, 1.0, 0.4)[2]
    np.testing.assert_allclose(by_angle, 0, atol=1e-9)


def test_parameters_broadcast_and_keep_float32():
    sigma = jnp.array([[1.0], [2.0]], jnp.float32)
    angle = jnp.array([[0.1, 0.2, 0.3]], jnp.float32)
    kernels = turned(sigma, 0.5, angle)
    assert kernels.shape == (2, 3, SIZE, SIZE) and kernels.dtype == jnp.float32
    # The isotropic form takes their shape too.
    assert turned(sigma, 1.0, angle).shape == (2, 3, SIZE, SIZE)


@pytest.mark.parametrize(
    ("sigma", "radius"),
    [(1.3, int(4 * 1.3 + 0.5)), (1.3, int(np.ceil(2 * 1.3))), (3.0, 6), (0.4, 0)],
)
def test_radius_reproduces_scipy(sigma, radius, recwarn):
    impulse = np.zeros((SIZE, SIZE))
    impulse[SIZE // 2, SIZE // 2] = 1
    expected = scipy.ndimage.gaussian_filter(impulse, sigma, radius=radius, mode="constant")
    kernel = psf.gaussian(sigma, size=SIZE, sampling="point", radius=radius)
    np.testing.assert_allclose(kernel, expected, atol=1e-15, rtol=0)
    assert not recwarn


def test_radius_is_traced_and_cuts_the_anisotropic_kernel(recwarn):
    radii = jnp.array([2.0, 5.9])
    kernels = jax.jit(lambda r: psf.gaussian(2.0, size=SIZE, ratio=0.5, angle=0.4, radius=r))(radii)
    np.testing.assert_allclose(kernels.sum((-2, -1)), 1, rtol=1e-12)
    for kernel, half in zip(np.asarray(kernels), (2, 5), strict=True):
        rows, columns = np.nonzero(kernel)
        assert np.abs(rows - SIZE // 2).max() == half == np.abs(columns - SIZE // 2).max()
    assert not recwarn


@pytest.mark.parametrize("options", [{}, {"ratio": 0.5, "angle": 0.3}])
def test_a_size_below_the_radius_is_announced(options):
    with pytest.warns(UserWarning, match="size 7 cuts off"):
        psf.gaussian(4.0, size=7, radius=16, **options)


@pytest.mark.parametrize("name", ["ratio", "radius"])
def test_bad_options_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} is -1.0; .* 0 or more"):
        psf.gaussian(1.0, size=7, **{name: -1.0})
