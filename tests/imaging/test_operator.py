"""BlurOperator and operator_norm."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import imaging, psf

SHAPE = (9, 10)
KERNEL = np.random.default_rng(1).random((7, 7)) / 25
KEY = jax.random.key(0)


def _random(shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def _matrix(operator):
    """The operator as a dense matrix, column by column."""
    units = jnp.eye(np.prod(operator.input_shape)).reshape(-1, *operator.input_shape)
    columns = jax.jit(jax.vmap(operator.forward))(units)
    return np.asarray(columns).reshape(units.shape[0], -1).T


@pytest.mark.parametrize(
    "options",
    [{"boundary": "smooth"}, {"boundary": "valid"}, {"channel_axis": -1}],
)
def test_forward_and_adjoint(options):
    shape = (*SHAPE, 2) if "channel_axis" in options else SHAPE
    operator = imaging.blur_operator(KERNEL, shape, **options)
    x = _random(shape)
    ax = operator.forward(x)
    np.testing.assert_array_equal(ax, imaging.blur(x, KERNEL, **options))
    assert ax.shape == operator.output_shape and operator.input_shape == shape
    y = _random(ax.shape, 2)
    aty = operator.adjoint(y)
    np.testing.assert_allclose(aty, imaging.blur_adjoint(y, KERNEL, **options), atol=1e-12)
    np.testing.assert_allclose(np.vdot(ax, y), np.vdot(x, aty), rtol=1e-12)
    for dtype in (jnp.float32, jnp.bfloat16):
        assert operator.adjoint(y.astype(dtype)).dtype == dtype


@pytest.mark.parametrize("boundary", ("valid", "smooth", "wrap"))
def test_the_norm_agrees_with_the_singular_values(boundary):
    operator = imaging.blur_operator(KERNEL, SHAPE, boundary=boundary)
    largest = np.linalg.svd(_matrix(operator), compute_uv=False)[0]
    norm = operator.norm(steps=30)
    # From below, and exact where the blur is circular.
    assert norm <= largest * (1 + 1e-12)
    np.testing.assert_allclose(norm, largest, rtol=1e-12 if boundary == "wrap" else 1e-4)


def test_the_norm_of_a_circular_blur_of_any_size():
    noise = np.random.default_rng(3).standard_normal((2, 7, 7))
    colour = imaging.blur_operator(noise, (2, 4, 5, 3), boundary="circular", channel_axis=-1)
    plain = [
        np.linalg.svd(
            _matrix(imaging.blur_operator(kernel, (4, 5), boundary="wrap")), compute_uv=False
        )[0]
        for kernel in noise
    ]
    np.testing.assert_allclose(colour.norm(), max(plain), rtol=1e-12)
    assert colour.norm() > 2
    # One image meeting many kernels is no circular blur: the general way.
    many = imaging.blur_operator(noise, (4, 5), boundary="wrap")
    largest = np.linalg.svd(_matrix(many), compute_uv=False)[0]
    np.testing.assert_allclose(many.norm(steps=300), largest, rtol=1e-6)


def test_operator_norm_converges_from_below():
    matrix = jnp.asarray(np.random.default_rng(0).standard_normal((6, 4)))
    largest = np.linalg.svd(matrix, compute_uv=False)[0]
    norms = [
        imaging.operator_norm(
            lambda x: matrix @ x, lambda y: matrix.T @ y, (4,), key=KEY, steps=n, dtype=jnp.float64
        )
        for n in (1, 3, 10, 100)
    ]
    assert np.all(np.diff(norms) >= -1e-12) and norms[0] < 0.99 * largest
    np.testing.assert_allclose(norms[-1], largest, rtol=1e-12)
    zero = imaging.operator_norm(lambda x: 0 * x, lambda y: 0 * y, (4,), key=KEY)
    assert zero == 0 and zero.dtype == jnp.float32


@pytest.mark.parametrize("boundary", ("reflect", "wrap"))
def test_gradients_of_the_norm(boundary):
    @jax.jit
    def norm(kernel):
        return imaging.blur_operator(kernel, SHAPE, boundary=boundary).norm(steps=200)

    kernel, direction = KERNEL * 0.8, _random((7, 7), 5)
    gradient = np.asarray(jax.jit(jax.grad(norm))(kernel))
    assert gradient.max() > 0.5
    ahead, behind = (norm(kernel + step * direction) for step in (1e-5, -1e-5))
    np.testing.assert_allclose((ahead - behind) / 2e-5, np.vdot(gradient, direction), rtol=1e-5)


def test_an_operator_is_a_pytree_and_transforms():
    kernels, images = _random((8, 7, 7)), _random((8, *SHAPE), 1)

    def f(kernel, image):
        operator = imaging.blur_operator(kernel, SHAPE)
        return operator.adjoint(operator.forward(image))

    expected = imaging.blur_adjoint(imaging.blur(images, kernels), kernels)
    for transformed in (jax.jit(jax.vmap(f)), jax.pmap(f)):
        np.testing.assert_allclose(transformed(kernels, images), expected, atol=1e-11)
    operator = imaging.blur_operator(kernels[0], SHAPE)
    assert len(jax.tree.leaves(operator)) == 1

    # Linear in the kernel: its gradient returns the value.
    y = images[1]
    gradient = jax.jit(jax.grad(lambda a: jnp.vdot(a.forward(images[0]), y)))(operator)
    expected = np.vdot(operator.forward(images[0]), y)
    np.testing.assert_allclose(np.vdot(gradient.psf, kernels[0]), expected, rtol=1e-11)


@pytest.mark.slow
def test_a_solver_with_the_norm_converges():
    operator = imaging.blur_operator(psf.gaussian(np.float32(0.5), size=7), SHAPE)
    x = _random(SHAPE).astype(np.float32)
    y, step = operator.forward(x), 1 / operator.norm() ** 2

    @jax.jit
    def landweber(estimate, operator):
        return jax.lax.fori_loop(
            0,
            200,
            lambda _, z: z + 1.5 * step * operator.adjoint(y - operator.forward(z)),
            estimate,
        )

    assert np.abs(landweber(jnp.zeros_like(y), operator) - x).max() < 0.02 < np.abs(y - x).max()


def test_errors_say_value_rule_and_remedy():
    operator = imaging.blur_operator(KERNEL, SHAPE, boundary="valid")
    with pytest.raises(ValueError, match=r"shape \(5, 5\) does not fit .* takes \(9, 10\)"):
        operator.forward(jnp.ones((5, 5)))
    with pytest.raises(ValueError, match=r"shape \(9, 10\) does not fit .* takes \(3, 4\)"):
        operator.adjoint(jnp.ones(SHAPE))
    with pytest.raises(ValueError, match="must be odd"):
        imaging.blur_operator(jnp.ones((4, 4)), SHAPE)
    with pytest.raises(ValueError, match="steps=0, but the iteration takes at least 1"):
        imaging.operator_norm(lambda x: x, lambda y: y, (3,), key=KEY, steps=0)
