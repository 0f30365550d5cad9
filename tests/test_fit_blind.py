"""blurjax.fit_blind: the blur of a photograph nobody has the sharp version of."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import blurjax
from blurjax import data, imaging, psf


@pytest.fixture(scope="module")
def photograph():
    return jnp.asarray(data.embedded("test")[0], jnp.float32)[:200, :240]


def seen(sharp, kernel, noise=0.0):
    blurred = imaging.blur(sharp, kernel, boundary="valid")
    return imaging.quantise(imaging.add_noise(jax.random.key(1), blurred, noise))


@pytest.mark.slow
def test_radius_by_its_zeros_alone_and_in_a_batch(photograph):
    radii = jnp.array([3.0, 5.5], jnp.float32)
    images = seen(photograph, psf.defocus(radii, size=13))
    answer = jax.jit(lambda y: blurjax.fit_blind(y, family="defocus", size=25))(images)
    assert answer.kernel.shape == (2, 25, 25) and answer.family == "defocus"
    error = np.abs(answer.parameters["radius"] - radii)
    assert (error < 0.02 * radii).all()
    assert (error < 3 * answer.standard_errors["radius"]).all()
    assert (answer.standard_errors["radius"] < 0.1 * radii).all()


@pytest.mark.slow
@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_the_type_is_told_and_the_parameters_are_within_their_errors(noise):
    photograph = jnp.asarray(data.embedded("test")[1], jnp.float32)[:240, :240]
    truth = {"gaussian": (2.0,), "motion": (12.0, 0.6), "defocus": (4.0,)}
    for family, values in truth.items():
        kernel = psf.FAMILIES[family].kernel(*values, size=21)
        answer = blurjax.fit_blind(seen(photograph, kernel, noise), family="all", size=31)
        assert answer.family == family
        for name, value in zip(psf.FAMILIES[family].names, values, strict=True):
            error = abs(float(answer.parameters[name]) - value)
            assert error < 3 * float(answer.standard_errors[name])
            assert error < (0.2 if family == "gaussian" else 0.03) * value


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((50, 80), {}, "50x80 and size is 9; .* at least 64 pixels"),
        ((80, 80), {"size": 91}, "at least 91 pixels"),
        ((80, 80), {"family": "box"}, "family is 'box'"),
        ((80, 80), {"starts": 0}, "starts is 0"),
        ((2, 80, 80), {"family": "all"}, "one image"),
    ],
)
def test_refuses(shape, options, message):
    image = jnp.linspace(0, 1, np.prod(shape)).reshape(shape)
    with pytest.raises(ValueError, match=message):
        blurjax.fit_blind(image, **{"family": "gaussian", "size": 9, **options})
