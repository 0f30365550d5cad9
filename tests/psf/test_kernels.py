"""What holds for every kernel."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import psf

# (name, function of the parameters, typical values)
KERNELS = [
    ("gaussian", psf.gaussian, (1.7,)),
    ("motion", psf.motion, (6.4, 0.6)),
    ("defocus", psf.defocus, (3.3,)),
]


def turned_gaussian(sigma, ratio, angle, *, size):
    return psf.gaussian(sigma, size=size, ratio=jnp.asarray(ratio), angle=angle)


def hexagon(radius, rotation, *, size):
    return psf.polygon(radius, size=size, rotation=rotation)


MORE = [
    ("turned_gaussian", turned_gaussian, (1.9, 0.6, 0.5)),
    ("polygon", hexagon, (4.1, 0.4)),
    ("moffat", psf.moffat, (1.6, 2.5)),
    ("airy", psf.airy, (3.1,)),
]


def over(kernels):
    names = [name for name, *_ in kernels]
    return pytest.mark.parametrize(("name", "make", "parameters"), kernels, ids=names)


every_kernel, with_support = over([*KERNELS, *MORE]), over(KERNELS)
public = over([k for k in (*KERNELS, *MORE) if k[0] in psf.__all__ and k[1] is not hexagon])


@every_kernel
def test_sum_sign_centre_and_symmetry(name, make, parameters):
    kernel = np.asarray(make(*parameters, size=21))
    np.testing.assert_allclose(kernel.sum(), 1, rtol=1e-12)
    assert kernel.min() >= 0
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=1e-14)
    np.testing.assert_allclose(psf.moments(jnp.asarray(kernel)).mean, 0, atol=1e-12)


@every_kernel
@pytest.mark.parametrize("size", [0, -3, 4])
def test_even_or_empty_sizes_are_refused(name, make, parameters, size):
    with pytest.raises(ValueError, match=f"size is {size}; .*odd"):
        make(*parameters, size=size)


@public
def test_a_float_size_is_refused(name, make, parameters):
    # The tests' own type checker would refuse it first; users run without one.
    make = getattr(make, "__wrapped__", make)
    with pytest.raises(TypeError, match="size is"):
        make(*parameters, size=9.0)


@every_kernel
@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_bad_concrete_parameters_are_refused(name, make, parameters, bad):
    with pytest.raises(ValueError, match="must be"):
        make(bad, *parameters[1:], size=9)


@every_kernel
def test_traced_negative_parameters_count_as_their_magnitude(name, make, parameters):
    kernel = jax.jit(lambda p: make(-p, *parameters[1:], size=21))(parameters[0])
    np.testing.assert_allclose(kernel, make(*parameters, size=21), atol=1e-15)


DTYPES = [(*k, dtype) for k in KERNELS for dtype in (jnp.float32, jnp.float64)]
DTYPES += [(*k, jnp.float32) for k in MORE]


@pytest.mark.parametrize(("name", "make", "parameters", "dtype"), DTYPES)
def test_transformations(name, make, parameters, dtype):
    stacked = [jnp.linspace(0.8, 1.0, 8, dtype=dtype) * p for p in parameters]
    eager = make(*stacked, size=15)
    assert eager.dtype == dtype and eager.shape == (8, 15, 15)
    tolerance = 1e-6 if dtype == jnp.float32 else 1e-13

    def one(*p):
        return make(*p, size=15)

    for transformed in (jax.jit(one), jax.vmap(one), jax.pmap(one)):
        chex.assert_trees_all_close(transformed(*stacked), eager, atol=tolerance)

    def loss(p):
        return jnp.sum(one(*p) ** 2)

    gradient = jax.jit(jax.grad(loss))(stacked)
    assert all(jnp.all(jnp.isfinite(g)) for g in gradient)
    assert jnp.all(jnp.abs(gradient[0]) > 1e-6)


@every_kernel
def test_integers_and_float32_scalars(name, make, parameters):
    assert make(*(int(p) for p in parameters), size=15).dtype == jnp.float64
    assert make(*(np.float32(p) for p in parameters), size=15).dtype == jnp.float32


@with_support
@pytest.mark.parametrize("mass", [0.9, 0.99, 0.999])
def test_support_is_the_smallest_size_that_holds_the_mass(name, make, parameters, mass):
    size = psf.support(name, *parameters, mass=mass)
    whole = np.asarray(make(*parameters, size=61))

    def held(k):
        window = slice(30 - k // 2, 31 + k // 2)
        return whole[window, window].sum()

    assert held(size) >= mass - 1e-6
    assert size == 1 or held(size - 2) < mass


@pytest.mark.parametrize(("family", "parameters"), [("motion", (8.0, 0.0)), ("defocus", (4.5,))])
def test_whole_support(family, parameters):
    size = psf.support(family, *parameters, mass=1.0)
    assert size == 9
    assert psf.support(family, np.array([1.0, parameters[0]]), *parameters[1:], mass=1.0) == 9


@pytest.mark.parametrize(
    ("arguments", "mass", "message"),
    [
        (("box", 1.0), 0.9, "family is 'box'"),
        (("motion", 1.0), 0.9, "length and angle"),
        (("gaussian", 1.0), 1.0, "below 1 for a gaussian"),
        (("gaussian", -1.0), 0.9, "0 or more"),
    ],
)
def test_support_refuses(arguments, mass, message):
    with pytest.raises(ValueError, match=message):
        psf.support(*arguments, mass=mass)


def test_moments_of_a_shifted_kernel():
    kernel = jnp.zeros((5, 5)).at[1, 4].set(0.5).at[3, 4].set(0.5) * 2
    mass, mean, covariance = psf.moments(kernel)
    np.testing.assert_allclose(mass, 2)
    np.testing.assert_allclose(mean, [0, 2])
    np.testing.assert_allclose(covariance, [[1, 0], [0, 0]])
    with pytest.raises(ValueError, match="4x4"):
        psf.moments(jnp.ones((4, 4)))
