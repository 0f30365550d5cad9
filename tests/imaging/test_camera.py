"""Saturation, response curves, photon noise and the whole camera."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import imaging

KEY = jax.random.key(0)


def _light(shape=(40, 50), seed=0):
    return np.random.default_rng(seed).random(shape)


# Photon noise


@pytest.mark.parametrize("reparameterised", (False, True))
def test_photon_noise_has_the_mean_and_variance_of_poisson(reparameterised):
    photons = jnp.array([20.0, 2000.0])
    image = jnp.full((2, 250, 200), 0.4)
    noisy = imaging.add_poisson_noise(KEY, image, photons, reparameterised=reparameterised)
    # Fifty thousand samples: a mean has the standard error 0.0045 deviations, a variance 0.7 %.
    deviation = np.sqrt(0.4 / np.asarray(photons))
    assert np.all(np.abs(noisy.mean((1, 2)) - 0.4) < 0.02 * deviation)
    np.testing.assert_allclose(noisy.var((1, 2)), deviation**2, rtol=0.03)
    counts = np.asarray(noisy[0]) * 20
    assert (np.abs(counts - counts.round()).max() < 1e-9) is not reparameterised


def test_photon_noise_of_black_and_of_negative_light_is_none():
    image = jnp.full((2, 250, 200), -0.3).at[0].set(0)
    np.testing.assert_array_equal(imaging.add_poisson_noise(KEY, image, 100.0), 0 * image)


def test_exact_photon_noise_has_zero_gradient():
    gradients = jax.jit(jax.grad(lambda *a: imaging.add_poisson_noise(KEY, *a).sum(), (0, 1)))
    for gradient in gradients(_light((4, 5)), 50.0):
        np.testing.assert_array_equal(gradient, 0)


def test_reparameterised_photon_noise_has_the_gradient_in_closed_form():
    image = np.array([[-0.1, 0.0, 1e-5, 0.01, 0.5, 2.0]])
    photons, floor = 50.0, 0.01

    def f(image, photons):
        return imaging.add_poisson_noise(KEY, image, photons, reparameterised=True)

    z = np.asarray(jax.random.normal(KEY, image.shape))
    counts = np.maximum(photons * image, floor)
    np.testing.assert_allclose(f(image, photons), image + np.sqrt(counts) * z / photons)
    to_image, to_photons = jax.jit(jax.grad(lambda *a: f(*a).sum(), (0, 1)))(image, photons)
    bright = photons * image > floor
    np.testing.assert_allclose(to_image, np.where(bright, 1 + z / (2 * np.sqrt(counts)), 1))
    share = np.where(bright, -0.5, -1) * np.sqrt(counts) * z / photons**2
    np.testing.assert_allclose(to_photons, share.sum())
    assert np.all(np.abs(to_image - 1) <= 5 * np.abs(z)) and abs(to_photons) > 1e-4


def test_photons_and_read_noise_add_up():
    image = jnp.full((2, 250, 200), 0.25)
    noisy = imaging.add_poisson_gaussian_noise(KEY, image, 100.0, jnp.array([0.0, 0.05]))
    np.testing.assert_allclose(noisy.var((1, 2)), [0.0025, 0.005], rtol=0.03)
    # Two independent draws: the counts do not tell the rest.
    counts = imaging.add_poisson_noise(jax.random.split(KEY)[0], image, 100.0)
    np.testing.assert_allclose(noisy[0], counts[0])
    rest = np.asarray(noisy[1] - counts[1])
    assert abs(np.corrcoef(rest.ravel(), np.asarray(counts[1]).ravel())[0, 1]) < 0.02
    gradient = jax.jit(
        jax.grad(lambda s: imaging.add_poisson_gaussian_noise(KEY, image, 100.0, s).sum())
    )(0.05)
    np.testing.assert_allclose(gradient, rest.sum() / 0.05 + _first_noise(image), rtol=1e-6)


def _first_noise(image):
    """The sum of the standard normal numbers that the read noise of `image[0]` is made of."""
    return jax.random.normal(jax.random.split(KEY)[1], image.shape)[0].sum()


def test_photon_noise_takes_old_keys_and_is_determined_by_the_key():
    image = jnp.full((2, 250, 200), 0.4)
    a, b, c = (
        imaging.add_poisson_noise(key, image, jnp.array([20.0, 2000.0]))
        for key in (KEY, jax.random.PRNGKey(0), jax.random.key(1))
    )
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_errors_of_the_parameters():
    image = jnp.ones((3, 4, 5))
    with pytest.raises(ValueError, match="photons is 0, but must be above 0"):
        imaging.add_poisson_noise(KEY, image, 0)
    with pytest.raises(ValueError, match=r"photons has shape \(4,\), but its axes must be the"):
        imaging.add_poisson_noise(KEY, image, jnp.ones(4))
    with pytest.raises(ValueError, match=r"level has shape \(4,\), but its axes must be the"):
        imaging.saturate(image, jnp.ones(4))
    with pytest.raises(ValueError, match="curve='gamma' is no name of a curve"):
        imaging.camera(KEY, image, curve="gamma")
    for f in (imaging.apply_response, imaging.invert_response):
        with pytest.raises(ValueError, match=r"shape \(1,\), but is one line"):
            f(image, jnp.ones(1))
    with pytest.raises(ValueError, match="does not increase from sample to sample"):
        imaging.invert_response(image, jnp.array([0.0, 0.5, 0.5, 1.0]))


# Saturation


def test_saturate_hard():
    image = np.array([[-0.2, 0.3, 0.8, 1.0, 7.0]])
    np.testing.assert_array_equal(imaging.saturate(image), np.minimum(image, 1))
    levels = jnp.array([0.5, 2.0])
    result = imaging.saturate(jnp.full((2, 3, 4), 1.5), levels)
    np.testing.assert_array_equal(result[:, 0, 0], [0.5, 1.5])


def test_saturate_soft_agrees_with_the_formula():
    image = np.linspace(-0.5, 2, 101)[None]
    result = np.asarray(imaging.saturate(image, softness=0.05))
    np.testing.assert_allclose(
        result, image - 0.05 * np.log(1 + np.exp((image - 1) / 0.05)), atol=1e-14
    )
    assert np.all(np.diff(result[0, :80]) > 0)
    gap = np.minimum(image, 1) - result
    assert gap.min() >= 0 and np.isclose(gap.max(), 0.05 * np.log(2))


def test_gradients_of_saturate():
    image = jnp.array([0.5, 1.0, 1.02, 3.0])
    gradients = jax.jit(
        jax.grad(lambda *a: imaging.saturate(*a[:2], softness=a[2]).sum(), (0, 1, 2))
    )
    to_image, to_level, to_softness = gradients(image, 1.0, 0.02)
    share = 1 / (1 + np.exp((np.asarray(image) - 1) / 0.02))
    np.testing.assert_allclose(to_image, share, atol=1e-15)
    np.testing.assert_allclose(to_level, (1 - share).sum())
    step = 1e-6
    ahead, behind = (imaging.saturate(image, softness=0.02 + s).sum() for s in (step, -step))
    np.testing.assert_allclose(to_softness, (ahead - behind) / (2 * step), rtol=1e-6)
    assert abs(to_softness) > 0.5
    to_image, to_level, to_softness = gradients(image, 1.0, 0.0)
    np.testing.assert_array_equal(to_image, [1, 1, 0, 0])
    assert to_level == 2 and to_softness == 0


@pytest.mark.parametrize("softness", (0.0, 1e-30, 1e-3))
def test_saturate_never_overflows(softness):
    image = jnp.array([-1e30, 0.0, 1.0, 1e30], jnp.float32)
    gradient = jax.jit(
        jax.grad(lambda *a: imaging.saturate(a[0], softness=a[1]).sum(), (0, 1)),
    )
    assert all(np.all(np.isfinite(g)) for g in gradient(image, jnp.float32(softness)))
    np.testing.assert_allclose(
        imaging.saturate(image, softness=softness), [-1e30, 0, 1, 1], atol=1e-3
    )


# Response curves


def test_response_agrees_with_numpy_and_inverts():
    curve = np.linspace(0, 1, 17) ** (1 / 2.2) * 0.9 + 0.05
    image = np.linspace(-0.2, 1.2, 141)
    grid = np.linspace(0, 1, 17)
    stored = imaging.apply_response(image, curve)
    np.testing.assert_allclose(stored, np.interp(image, grid, curve), atol=1e-14)
    light = imaging.invert_response(stored, curve)
    np.testing.assert_allclose(light, np.clip(image, 0, 1), atol=1e-13)
    beyond = imaging.invert_response(jnp.array([-1.0, 2.0]), curve)
    np.testing.assert_array_equal(beyond, [0, 1])


def test_a_fine_curve_agrees_with_srgb():
    light = _light((20, 20))
    curve = imaging.encode(jnp.linspace(0, 1, 4096))
    np.testing.assert_allclose(
        imaging.apply_response(light, curve), imaging.encode(light), atol=1e-5
    )


@pytest.mark.parametrize("f", (imaging.apply_response, imaging.invert_response))
def test_gradients_of_the_response(f):
    curve, image = np.linspace(0.1, 0.9, 5) ** 2, np.array([0.2, 0.33, 0.6, 0.77])
    loss = jax.jit(lambda *a: (f(*a) ** 2).sum())
    gradients = jax.jit(jax.grad(loss, (0, 1)))(image, curve)
    for i, gradient in enumerate(gradients):
        assert np.all(np.isfinite(gradient)) and np.abs(gradient).max() > 0.1
        for j in range(gradient.size):
            step = np.zeros((2, 5))
            step[i, j] = 1e-6
            ahead, behind = (
                loss(image + s * step[0, :4], curve + s * step[1]) for s in (1.0, -1.0)
            )
            np.testing.assert_allclose(gradient[j], (ahead - behind) / 2e-6, atol=1e-7)
    # Where the slope is one-sided: at the ends that of the inside, beyond them 0.
    ends = np.array([0.0, 1.0]) if f is imaging.apply_response else curve[[0, -1]]
    slope = jax.jit(jax.vmap(jax.grad(f), (0, None)))
    inside = np.abs(slope(ends, curve) - slope(ends + np.array([1e-6, -1e-6]), curve))
    assert inside.max() < 1e-6
    np.testing.assert_array_equal(slope(ends + np.array([-1e-6, 1e-6]), curve), [0, 0])


def test_a_flat_traced_curve_has_no_nan_inverse():
    curve, image = jnp.array([0.0, 0.5, 0.5, 1.0]), jnp.array([0.2, 0.5, 0.7])
    gradients = jax.jit(jax.grad(lambda *a: imaging.invert_response(*a).sum(), (0, 1)))
    assert all(np.all(np.isfinite(g)) for g in gradients(image, curve))


# The whole camera


def test_camera_is_its_steps():
    curve = jnp.linspace(0, 1, 64) ** 0.5
    exposure = jnp.array([0.5, 1.0])

    @jax.jit
    def both(light):
        k_photons, k_read = jax.random.split(KEY)
        x = imaging.add_poisson_noise(k_photons, light * exposure[:, None, None], 500.0)
        x = imaging.saturate(imaging.add_noise(k_read, x, 0.02), softness=0.01)
        steps = imaging.quantise(imaging.apply_response(x, curve), bits=10)
        options = {"exposure": exposure, "photons": 500.0, "read_noise": 0.02, "bits": 10}
        return imaging.camera(KEY, light, softness=0.01, curve=curve, **options), steps

    result, expected = both(_light((2, 20, 30)) * 2)
    np.testing.assert_array_equal(result, expected)
    assert result[0].mean() < result[1].mean() - 0.1 and result.max() == 1


def test_camera_plain():
    light = _light() * 2 - 0.1
    expected = imaging.quantise(imaging.encode(np.minimum(light, 1)))
    np.testing.assert_array_equal(imaging.camera(KEY, light, curve="srgb"), expected)
    unrounded = imaging.camera(KEY, light, bits=None)
    np.testing.assert_array_equal(unrounded, np.minimum(light, 1))


def test_gradients_of_the_camera():
    light = _light((6, 7)) + 0.3

    def f(light, exposure):
        options = {"photons": 1000.0, "reparameterised": True, "curve": "srgb"}
        return imaging.camera(KEY, light, exposure=exposure, **options)

    to_light, to_exposure = jax.jit(jax.grad(lambda *a: f(*a).sum(), (0, 1)))(light, 1.0)
    saturated = np.asarray(f(light, 1.0)) == 1
    assert 0.1 < saturated.mean() < 0.9
    assert np.all((np.asarray(to_light) > 0.1) | saturated) and abs(to_exposure) > 1
    assert np.all(np.asarray(to_light)[light > 1.2] == 0)


@pytest.mark.slow
def test_transformations_of_the_camera():
    light, keys = _light((8, 2, 4, 5)) + 0.3, jax.random.split(KEY, (8, 2))
    exposures = jnp.linspace(0.5, 1.5, 16).reshape(8, 2)

    def f(key, light, exposure):
        return imaging.camera(key, light, exposure=exposure, photons=50.0, curve="srgb")

    result, plain = jax.pmap(jax.vmap(f))(keys, light, exposures), jax.jit(f)
    for at in ((0, 0), (5, 1)):
        expected = plain(keys[at], light[at], exposures[at])
        # One level of eight bits: the order of operations may tip a rounding.
        np.testing.assert_allclose(result[at], expected, atol=1.01 / 255)
        other = plain(keys[1, 1], light[at], exposures[at])
        assert np.abs(other - expected).max() > 0.1


def test_dtypes_are_kept():
    curve = jnp.linspace(0, 1, 8)

    @jax.jit
    def f(x):
        return (
            imaging.add_poisson_noise(KEY, x, 1000, reparameterised=True),
            imaging.add_poisson_gaussian_noise(KEY, x, np.float64(1000), jnp.float32(0.1)),
            imaging.saturate(x, jnp.float32(0.7), softness=0.01),
            imaging.apply_response(x, curve),
            imaging.invert_response(x, curve),
            imaging.camera(KEY, x, exposure=0.9, read_noise=0.01, curve="srgb"),
        )

    image = jnp.full((4, 5), 0.5, jnp.bfloat16)
    for result, exact in zip(f(image), f(image.astype(jnp.float32)), strict=True):
        assert result.dtype == jnp.bfloat16 and exact.dtype == jnp.float32
        # Computed in the working precision and rounded once.
        np.testing.assert_array_equal(result, exact.astype(jnp.bfloat16))


@pytest.mark.parametrize(
    "f",
    (
        imaging.saturate,
        lambda x: imaging.apply_response(x, jnp.linspace(0, 1, 3)),
        lambda x: imaging.invert_response(x, jnp.linspace(0, 1, 3)),
        lambda x: imaging.add_poisson_noise(KEY, x, 10.0),
        lambda x: imaging.camera(KEY, x),
    ),
)
def test_integers_are_refused(f):
    with pytest.raises(TypeError, match=r"dtype uint8.*/ 255"):
        f(np.zeros((4, 4), np.uint8))
