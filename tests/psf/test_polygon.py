import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import psf

SIZE = 11


def brute_force(radius: float, blades: int, rotation: float, n: int = 400) -> np.ndarray:
    """Share of n x n points of each pixel inside every edge."""
    x = (np.arange(SIZE * n) + 0.5) / n - SIZE / 2
    inside = np.ones((SIZE * n, SIZE * n), bool)
    for facing in rotation + (2 * np.arange(blades) + 1) * np.pi / blades:
        distance = x[None, :] * np.cos(facing) - x[:, None] * np.sin(facing)
        inside &= distance <= radius * np.cos(np.pi / blades)
    area = inside.reshape(SIZE, n, SIZE, n).mean(axis=(1, 3))
    return area / area.sum()


CASES = [
    (3.0, 6, 0.0),
    (3.7, 5, 0.3),
    (1.1, 3, np.pi / 2),
    (0.6, 8, 0.1),
    (4.2, 6, 2.0),
    (2.5 * np.sqrt(2), 4, np.pi / 4),  # its edges lie on pixel boundaries
]


@pytest.mark.parametrize(("radius", "blades", "rotation"), CASES)
def test_agrees_with_brute_force(radius, blades, rotation):
    kernel = psf.polygon(radius, size=SIZE, blades=blades, rotation=rotation)
    np.testing.assert_allclose(kernel, brute_force(radius, blades, rotation), atol=5e-5, rtol=0)
    single = psf.polygon(np.float32(radius), size=SIZE, blades=blades, rotation=rotation)
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, kernel, atol=1e-6, rtol=0)


def test_a_square_along_the_axes_is_exact():
    kernel = psf.polygon(2.0 * np.sqrt(2), size=SIZE, blades=4, rotation=np.pi / 4)
    profile = np.zeros(SIZE)
    profile[3:8] = [0.5, 1, 1, 1, 0.5]
    np.testing.assert_allclose(kernel, np.outer(profile, profile) / 16, atol=1e-15)


def test_many_blades_are_a_disc():
    blades, radius = 200, 4.3
    corner = radius * np.sqrt(2 * np.pi / blades / np.sin(2 * np.pi / blades))
    kernel = psf.polygon(corner, size=SIZE, blades=blades)
    np.testing.assert_allclose(kernel, psf.defocus(radius, size=SIZE), atol=1e-6, rtol=0)


def test_rotation_is_anticlockwise_and_periodic():
    up = psf.polygon(4.0, size=SIZE, blades=3, rotation=np.pi / 2)
    assert up[1, 5] > 0 and up[9, 5] == 0
    # The centroid is the triangle's, up to what sampling folds back.
    np.testing.assert_allclose(psf.moments(up).mean, 0, atol=0.02)
    again = psf.polygon(4.0, size=SIZE, blades=3, rotation=np.pi / 2 + 2 * np.pi / 3)
    np.testing.assert_allclose(again, up, atol=1e-14)


def kernel(radius, rotation):
    return psf.polygon(radius, size=SIZE, rotation=rotation)


@pytest.mark.parametrize(("radius", "rotation"), [(0.9, 0.2), (2.7, 0.3), (4.4, -1.3)])
def test_gradients(check_derivatives, radius, rotation):
    check_derivatives(kernel, radius, rotation)


_first = jax.jit(jax.jacfwd(kernel, (0, 1)))
_second = jax.jit(jax.hessian(lambda r, p: jnp.sum(kernel(r, p) ** 2), (0, 1)))


# Whole edges on pixel boundaries (apothem n + 1/2, upright and level), corners on them, deltas.
@pytest.mark.parametrize("rotation", [0.0, np.pi / 6, np.pi / 2])
@pytest.mark.parametrize("radius", [0.0, 0.3, 0.5, 1.5, float(1.5 / np.cos(np.pi / 6)), 2.5])
def test_finite_everywhere(radius, rotation):
    with jax.debug_nans(True):
        first, second = _first(radius, rotation), _second(radius, rotation)
    assert all(jnp.all(jnp.isfinite(d)) for d in jax.tree.leaves((first, second)))
    if radius <= 0.5:
        np.testing.assert_allclose(kernel(radius, rotation)[SIZE // 2, SIZE // 2], 1, rtol=1e-14)
        np.testing.assert_allclose(first, 0, atol=1e-12)


def test_an_edge_on_a_pixel_boundary_has_the_mean_derivative():
    radius = float(2.5 / np.cos(np.pi / 6))  # rotation pi / 6: one edge is upright at x = 2.5
    step = 1e-6
    sides = [
        (kernel(radius + s * step, np.pi / 6) - kernel(radius, np.pi / 6)) / (s * step)
        for s in (1, -1)
    ]
    np.testing.assert_allclose(_first(radius, np.pi / 6)[0], (sides[0] + sides[1]) / 2, atol=1e-6)
    assert jnp.abs(sides[0] - sides[1]).max() > 0.01  # it really jumps


def test_truncation_is_announced():
    with pytest.warns(UserWarning, match=r"size 5 cuts off .*psf.support\('defocus'"):
        psf.polygon(4.0, size=5)


def test_bad_blades_are_refused():
    with pytest.raises(ValueError, match=r"blades is 2; .* 3 or more"):
        psf.polygon(2.0, size=5, blades=2)
    bare = getattr(psf.polygon, "__wrapped__", psf.polygon)
    with pytest.raises(TypeError, match=r"blades is 6\.0"):
        bare(2.0, size=5, blades=6.0)
