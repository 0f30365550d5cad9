import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import psf

SIZE = 17


def brute_force(length: float, angle: float, n: int = 40001) -> np.ndarray:
    """Bilinear splat of n points of the segment."""
    u = (np.arange(n) + 0.5) / n - 0.5
    centre = np.arange(SIZE) - SIZE // 2
    x = np.maximum(1 - np.abs(length * u * np.cos(angle) - centre[:, None]), 0)
    y = np.maximum(1 - np.abs(-length * u * np.sin(angle) - centre[:, None]), 0)
    return y @ x.T / n


CASES = [(9.3, 0.4), (5.0, 0.0), (7.2, np.pi / 2), (3.3, 2.7), (12.0, np.pi / 4), (8.0, -1.1)]


@pytest.mark.parametrize(("length", "angle"), [*CASES, (0.0, 0.3), (1e-9, 0.3), (6.0, np.pi)])
def test_agrees_with_brute_force(length, angle):
    np.testing.assert_allclose(
        psf.motion(length, angle, size=SIZE), brute_force(length, angle), atol=1e-8, rtol=0
    )


@pytest.mark.parametrize(("length", "angle"), CASES)
def test_float32_agrees(length, angle):
    kernel = psf.motion(np.float32(length), np.float32(angle), size=SIZE)
    assert kernel.dtype == jnp.float32
    np.testing.assert_allclose(kernel, brute_force(length, angle), atol=2e-6, rtol=0)


def test_second_moment_of_the_tent_segment():
    length, angle = 9.3, 0.4
    kernel = psf.motion(length, angle, size=SIZE)
    x = length * np.cos(angle) * ((np.arange(100000) + 0.5) / 100000 - 0.5)
    f = x - np.floor(x)
    expected = np.mean(x**2 + f * (1 - f))
    np.testing.assert_allclose(psf.moments(kernel).covariance[1, 1], expected, rtol=1e-6)


def kernel(length, angle):
    return psf.motion(length, angle, size=SIZE)


@pytest.mark.parametrize(("length", "angle"), [(9.3, 0.4), (4.6, 1.2), (15.1, 2.9), (2.3, -0.7)])
def test_gradients(check_derivatives, length, angle):
    check_derivatives(kernel, length, angle)


@pytest.mark.parametrize("angle", [0.0, np.pi / 2, np.pi, -np.pi / 2])
def test_the_kink_at_the_axes_has_the_mean_derivative(angle):
    def f(a):
        return kernel(7.3, a)

    step = 1e-6
    both = (f(angle + step) - f(angle - step)) / (2 * step)
    right = (f(angle + step) - f(angle)) / step
    np.testing.assert_allclose(jax.jacfwd(f)(angle), both, atol=1e-8)
    assert jnp.abs(right - both).max() > 0.1  # it really is a kink


@pytest.mark.parametrize("angle", [0.0, 0.3, 2.0])
def test_length_zero_has_the_right_hand_derivative(angle):
    by_length, by_angle = jax.jacfwd(lambda length, a: psf.motion(length, a, size=5), (0, 1))(
        0.0, angle
    )
    expected = -(abs(np.cos(angle)) + abs(np.sin(angle))) / 4
    np.testing.assert_allclose(by_length[2, 2], expected, rtol=1e-12)
    np.testing.assert_allclose(by_angle, 0, atol=1e-15)


def test_zeros_of_the_transfer_function():
    length = 10.0
    u = np.linspace(0.05, 0.15, 4001)
    row = np.asarray(psf.motion(length, 0.0, size=SIZE)).sum(axis=0)
    response = np.cos(2 * np.pi * u[:, None] * (np.arange(SIZE) - SIZE // 2)) @ row
    first_zero = u[np.argmax(response < 0)]
    np.testing.assert_allclose(first_zero, 1 / length, rtol=2e-3)


def test_a_python_number_does_not_widen_a_float32_parameter():
    assert psf.motion(np.float32(5), 0.3, size=9).dtype == jnp.float32
    assert psf.motion(5, jnp.float32(0.3), size=9).dtype == jnp.float32
    assert psf.motion(5, 0, size=9).dtype == jnp.float64


def test_parameters_broadcast():
    lengths, angles = jnp.array([3.0, 6.0]), jnp.array([[0.1], [0.2], [0.3]])
    kernels = psf.motion(lengths[None, :], angles, size=9)
    assert kernels.shape == (3, 2, 9, 9)
    np.testing.assert_allclose(kernels[2, 1], psf.motion(6.0, 0.3, size=9), atol=1e-15)


def by_points(length, angle):
    return psf.motion(length, angle, size=SIZE, sampling="point")


@pytest.mark.parametrize(("length", "angle"), [(9.3, 0.4), (6.2, 1.3), (12.0, -0.7)])
def test_points_are_a_distance_to_the_segment(length, angle):
    centre = np.arange(SIZE) - SIZE // 2
    x, y = centre[None, :], -centre[:, None]
    half = (length - 1) / 2
    t = x * np.cos(angle) + y * np.sin(angle)
    beside = y * np.cos(angle) - x * np.sin(angle)
    # MATLAB measures to the end from this radius on, not only beyond the end.
    excess = np.where(np.hypot(x, y) >= half, np.abs(t) - half, 0)
    expected = np.maximum(1 - np.hypot(beside, excess), 0)
    np.testing.assert_allclose(by_points(length, angle), expected / expected.sum(), atol=1e-14)


@pytest.mark.parametrize(("length", "angle"), [(9.3, 0.4), (4.6, 1.2)])
def test_gradients_of_points(check_derivatives, length, angle):
    check_derivatives(by_points, length, angle)


_points_jacobian = jax.jit(jax.jacfwd(by_points, (0, 1)))


@pytest.mark.parametrize("length", [0.0, 0.7, 1.0, 5.0, 9.0])
@pytest.mark.parametrize("angle", [0.0, np.pi / 2, np.pi / 4])
def test_points_are_finite_everywhere(length, angle):
    with jax.debug_nans(True):
        jacobian = _points_jacobian(length, angle)
    assert all(jnp.all(jnp.isfinite(j)) for j in jacobian)
    if length < 1:
        assert by_points(length, angle)[SIZE // 2, SIZE // 2] == 1
        np.testing.assert_allclose(jacobian[0], 0, atol=1e-15)


def test_points_announce_a_truncation_and_unknown_sampling_is_refused():
    with pytest.warns(UserWarning, match="size 9 cuts off .*motion"):
        psf.motion(15.0, 0.2, size=9, sampling="point")
    with pytest.raises(ValueError, match="'area' or 'point'"):
        psf.motion(5.0, 0.2, size=9, sampling="bilinear")
