"""docs/conventions.md, line by line: each numbered convention there has its test here."""

import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from blurjax import blur_type, images, imaging, psf

DOCUMENT = Path(__file__).parents[1] / "docs" / "conventions.md"


def test_every_convention_has_a_test_and_every_test_a_convention():
    written = set(re.findall(r"^(C\d+)\.", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    tested = {f"C{n}" for n in re.findall(r"test_c(\d+)_", Path(__file__).read_text())}
    assert written == tested and len(written) >= 12


def test_c1_leading_axes_are_batch_axes():
    stack = jnp.ones((2, 5, 20, 22))
    assert imaging.blur(stack, psf.gaussian(1.0, size=9)).shape == stack.shape


def test_c2_colour_is_named_by_channel_axis():
    rgb = jnp.asarray(np.random.default_rng(0).uniform(size=(20, 22, 3)))
    kernel = psf.motion(5.0, 0.3, size=7)
    blurred = imaging.blur(rgb, kernel, channel_axis=-1)
    np.testing.assert_allclose(blurred[..., 1], imaging.blur(rgb[..., 1], kernel), atol=1e-12)


@pytest.mark.parametrize("kernel", [psf.gaussian(1.5, size=13), psf.defocus(3.3, size=9)])
def test_c3_a_psf_is_odd_non_negative_and_sums_to_one_around_its_centre(kernel):
    assert kernel.shape[-1] % 2 == 1 and kernel.min() >= 0
    mass, mean, _ = psf.moments(kernel)
    np.testing.assert_allclose(mass, 1, rtol=1e-12)
    np.testing.assert_allclose(mean, 0, atol=1e-12)


def test_c4_true_convolution_never_correlation():
    kernel = jnp.array([[0.0, 0, 0], [0, 0, 1], [0, 0, 0]])
    image = jnp.zeros((9, 9)).at[4, 4].set(1.0)
    assert imaging.blur(image, kernel)[4, 5] == 1


def test_c5_angles_are_counter_clockwise_as_displayed_from_the_columns():
    kernel = np.asarray(psf.motion(8.0, np.pi / 4, size=11))
    # Up and to the right on the screen is towards row 0 and the last column.
    assert kernel[5 - 2, 5 + 2] > 0.1 and kernel[5 + 2, 5 + 2] < 1e-9
    horizontal = np.asarray(psf.motion(8.0, 0.0, size=11))
    np.testing.assert_allclose(horizontal[5].sum(), 1)


def test_c6_lengths_radii_and_sigmas_are_in_pixels():
    np.testing.assert_allclose(np.count_nonzero(psf.motion(8.0, 0.0, size=11)[5] > 1e-9), 9)
    np.testing.assert_allclose(
        psf.moments(psf.gaussian(3.0, size=31, sampling="point")).covariance[0, 0], 9, rtol=1e-3
    )


def test_c7_a_pixel_holds_the_integral_of_the_psf_over_it():
    deviation = jnp.sqrt(psf.moments(psf.gaussian(1.0, size=15)).covariance[0, 0])
    np.testing.assert_allclose(deviation, np.sqrt(1 + 1 / 12), rtol=1e-3)


def test_c8_point_sampling_is_scipys():
    impulse = np.zeros((13, 13))
    impulse[6, 6] = 1
    np.testing.assert_allclose(
        psf.gaussian(1.4, size=13, sampling="point"),
        scipy.ndimage.gaussian_filter(impulse, 1.4, truncate=4.0),
        atol=1e-6,
    )


def test_c9_the_reported_sigma_is_the_discrete_kernels():
    sharp = jnp.asarray(np.random.default_rng(1).uniform(size=(1, 80, 80)))
    import jax

    batch = blur_type.sample(
        jax.random.key(0),
        sharp.astype(jnp.float32),
        blur_type.Config(sigma=(1.0, 1.0001)),
        n=3,
        sampling="area",
        rule="none",
    )
    np.testing.assert_allclose(batch.size[0], np.sqrt(1 + 1 / 12), rtol=1e-3)


def test_c10_boundary_names():
    image = np.random.default_rng(2).uniform(size=(12, 14))
    kernel = np.asarray(psf.defocus(2.2, size=7))
    for ours, scipys in [("reflect", "reflect"), ("mirror", "mirror"), ("nearest", "nearest"),
                         ("edge", "nearest"), ("wrap", "wrap"), ("circular", "wrap"),
                         ("constant", "constant")]:  # fmt: skip
        np.testing.assert_allclose(
            imaging.blur(jnp.asarray(image), jnp.asarray(kernel), boundary=ours),
            scipy.ndimage.convolve(image, kernel, mode=scipys),
            atol=1e-12,
        )


def test_c11_nothing_is_linearised_unasked(tmp_path):
    images.write(tmp_path / "x.png", np.full((4, 4), 0.5, np.float32))
    value = images.read(tmp_path / "x.png")[0, 0]
    np.testing.assert_allclose(value, 128 / 255, atol=1e-6)
    linear = images.read(tmp_path / "x.png", linear=True)[0, 0]
    np.testing.assert_allclose(linear, imaging.linearise(jnp.asarray(value)), rtol=1e-5)
    constant = jnp.full((20, 20), 0.5)
    np.testing.assert_allclose(imaging.blur(constant, psf.gaussian(1.0, size=9)), 0.5, rtol=1e-9)


def test_c12_labels_come_in_one_order():
    assert blur_type.LABELS == ("gaussian", "motion", "defocus")


def test_c13_shapes_are_static_and_keyword_only():
    with pytest.raises(TypeError):
        psf.gaussian(1.0, 9)  # type: ignore[misc]


def test_c14_functions_keep_their_dtype():
    for dtype in (jnp.float32, jnp.float64):
        kernel = psf.defocus(jnp.asarray(2.0, dtype), size=7)
        assert kernel.dtype == dtype
        assert imaging.blur(jnp.ones((9, 9), dtype), kernel).dtype == dtype
    half = imaging.blur(jnp.ones((9, 9), jnp.bfloat16), psf.defocus(2.0, size=7))
    assert half.dtype == jnp.bfloat16
