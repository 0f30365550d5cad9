"""The local metric: its kernels against NumPy's SVD, its responses against SciPy's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from blurjax import data, imaging, psf, sharpness
from blurjax.sharpness import _metric

RNG = np.random.default_rng(7)
LAYER = RNG.standard_normal((7, 7, 32)) + RNG.standard_normal((7, 7, 1))
KERNELS = np.asarray(_metric.unit_kernels(jnp.asarray(RNG.standard_normal((2, 5, 5)))))
IMAGES = RNG.uniform(size=(2, 21, 26))

components = jax.jit(sharpness.metric_kernels, static_argnames="k")
metric = jax.jit(sharpness.local_metric, static_argnames=("mode", "contrast", "window"))


@pytest.fixture(scope="module")
def photograph():
    return jnp.asarray(data.embedded("test")[0][:160, 40:240], jnp.float32)


# ---- kernels


def test_kernels_are_numpys_principal_components():
    flat = LAYER.reshape(49, 32)
    flat = flat - flat.mean(axis=1, keepdims=True)
    directions, strength, _ = np.linalg.svd(flat)
    found = components(LAYER, k=31)
    np.testing.assert_allclose(found.explained, strength[:31] ** 2 / (flat**2).sum(), rtol=1e-9)
    assert float(jnp.sum(found.explained)) == pytest.approx(1)
    # The directions are at right angles; our kernels are they without their spatial mean.
    for i in range(31):
        expected = directions[:, i] * np.sign((directions[:, i] ** 3).sum())
        expected -= expected.mean()
        expected /= np.linalg.norm(expected)
        np.testing.assert_allclose(found.kernels[i].ravel(), expected, atol=1e-9)
    two = components(LAYER)
    np.testing.assert_allclose(two.kernels, found.kernels[:2], atol=1e-12)
    np.testing.assert_allclose(two.explained, found.explained[:2])


def test_kernels_have_no_mean_norm_1_and_a_positive_part_that_dominates():
    directions = jnp.asarray(RNG.standard_normal((6, 5, 5)))
    unit = _metric.unit_kernels(directions)
    np.testing.assert_allclose(jnp.sum(unit, axis=(1, 2)), 0, atol=1e-12)
    np.testing.assert_allclose(jnp.sum(unit**2, axis=(1, 2)), 1, rtol=1e-9)
    np.testing.assert_allclose(_metric.unit_kernels(-3 * directions), unit, atol=1e-9)
    # A peak that points down is turned up.
    peak = jnp.zeros((1, 5, 5)).at[0, 2, 2].set(-1.0).at[0, 2, 3].set(0.5)
    turned = _metric.unit_kernels(peak)[0]
    assert float(turned[2, 2]) > 0 > float(turned[2, 3])


def test_signs_and_order_of_the_layers_kernels_do_not_matter():
    # About the mean over the layer only, so that all signs change together.
    found = components(LAYER)
    order = RNG.permutation(32)
    for other in (LAYER[:, :, order], -LAYER, 5 * LAYER + 1):
        again = components(other)
        np.testing.assert_allclose(again.explained, found.explained, rtol=1e-9)
        np.testing.assert_allclose(again.kernels, found.kernels, atol=1e-9)


@pytest.mark.parametrize(("shape", "k"), [((7, 7, 32), 0), ((7, 7, 32), 32), ((3, 3, 32), 10)])
def test_more_components_than_there_are_are_refused(shape, k):
    with pytest.raises(ValueError, match=f"k is {k}; 32 kernels of"):
        sharpness.metric_kernels(jnp.ones(shape), k=k)


def test_the_fixed_kernels_are_the_derivatives():
    fixed = sharpness.fixed_kernels(5)
    assert fixed.shape == (2, 5, 5) and fixed.dtype == np.float32
    np.testing.assert_array_equal(fixed[0], fixed[1].T)
    np.testing.assert_allclose(fixed[0][2] * 2**0.5, [0, -1, 0, 1, 0])
    assert np.count_nonzero(fixed) == 4
    np.testing.assert_allclose(np.sum(fixed**2, axis=(1, 2)), 1, rtol=1e-6)


# ---- responses


def respond(image, kernel):
    return np.abs(scipy.ndimage.correlate(image, kernel, mode="reflect"))


@pytest.mark.parametrize("window", [1, 5])
def test_cascade_and_sum_are_scipys(window):
    def mean(x):
        return scipy.ndimage.uniform_filter(x, window, mode="nearest")

    options = {"contrast": False, "window": window}
    cascade = metric(IMAGES, KERNELS, **options)
    total = metric(IMAGES, KERNELS, mode="sum", **options)
    assert cascade.shape == total.shape == IMAGES.shape
    one, two = KERNELS
    for image, a, b in zip(IMAGES, cascade, total, strict=True):
        np.testing.assert_allclose(a, mean(respond(respond(image, one), two)), rtol=1e-9)
        np.testing.assert_allclose(b, mean(respond(image, one) + respond(image, two)), rtol=1e-9)


def test_further_kernels_go_on():
    kernels = np.concatenate([KERNELS, KERNELS[:1, ::-1]])
    expected = IMAGES[0]
    for kernel in kernels:
        expected = respond(expected, kernel)
    found = metric(IMAGES[0], kernels, contrast=False, window=1)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("mode", sharpness.MODES)
def test_a_constant_has_no_detail(mode):
    flat = jnp.full((21, 26), 0.7)
    np.testing.assert_allclose(metric(flat, KERNELS, mode=mode, contrast=False), 0, atol=1e-12)
    # Over as little coarse detail: what is put in where there is none of either.
    nothing = metric(flat, KERNELS, mode=mode)
    assert nothing.shape == (6, 7)
    np.testing.assert_allclose(nothing, np.log(_metric._UNKNOWN), atol=1e-9)


def test_over_contrast_by_hand():
    def squares(x):
        rows, columns = (-side % 4 for side in x.shape)
        wide = np.pad(x, [(0, rows), (0, columns)], mode="edge")
        means = wide.reshape(wide.shape[0] // 4, 4, wide.shape[1] // 4, 4).mean(axis=(1, 3))
        return scipy.ndimage.uniform_filter(means, 5, mode="nearest")

    def smooth(x, side):
        for _ in range(2):
            x = scipy.ndimage.uniform_filter(x, side, mode="nearest")
        return x

    # Twice a box of side s has the variance (s^2 - 1) / 6: 3 px of 1.5, 9 px of 4.
    fine = squares(respond(respond(IMAGES[0], KERNELS[0]), KERNELS[1]))
    coarse = squares(np.abs(smooth(IMAGES[0], 3) - smooth(IMAGES[0], 9)))
    expected = np.log((fine + 0.008 * 0.03) / (coarse + 0.008))
    found = metric(IMAGES, KERNELS)
    assert found.shape == (2, 6, 7)
    np.testing.assert_allclose(found[0], expected, rtol=1e-9)


def test_contrast_and_offset_change_the_plain_metric_alone(photograph):
    kernels = jnp.asarray(sharpness.fixed_kernels())
    fainter = 0.6 * photograph + 0.3
    plain = [np.asarray(metric(x, kernels, contrast=False)) for x in (photograph, fainter)]
    np.testing.assert_allclose(plain[1], 0.6 * plain[0], atol=1e-5)
    over = [np.asarray(metric(x, kernels)) for x in (photograph, fainter)]
    # The less detail there is, the more counts what stands in for it.
    change = np.abs(over[1] - over[0])
    strong = np.asarray(_metric.squares(_metric.coarse_detail(photograph))) > 0.04
    assert strong.mean() > 0.05
    assert change[strong].mean() < 0.12 and change.mean() < 0.2 < 0.4 * -np.log(0.6)


@pytest.mark.parametrize("mode", sharpness.MODES)
@pytest.mark.parametrize("contrast", [True, False])
def test_the_more_blur_the_less(photograph, mode, contrast):
    kernels = jnp.asarray(sharpness.fixed_kernels())
    means = [float(jnp.mean(metric(photograph, kernels, mode=mode, contrast=contrast)))]
    for sigma in (0.7, 1.4, 2.8):
        blurred = imaging.blur(photograph, psf.gaussian(np.float32(sigma), size=25))
        means.append(float(jnp.mean(metric(blurred, kernels, mode=mode, contrast=contrast))))
    falls = -np.diff(means)
    assert np.all(falls > (0.1 if contrast else 0.1 * means[0])), means


def test_jit_vmap_and_dtypes(photograph):
    kernels = jnp.asarray(sharpness.fixed_kernels())
    stack = jnp.stack([photograph[:64, :81], photograph[64:128, :81]])
    both = metric(stack, kernels)
    assert both.dtype == jnp.float32 and both.shape == (2, 16, 21)
    each = jax.jit(jax.vmap(lambda x: sharpness.local_metric(x, kernels)))(stack)
    np.testing.assert_allclose(each, both, atol=1e-5)
    wide = metric(stack.astype(float), kernels)
    assert wide.dtype == jnp.float64
    np.testing.assert_allclose(both, wide, atol=1e-4)
    with pytest.raises(ValueError, match="choose one of"):
        sharpness.local_metric(stack, kernels, mode="product")


@pytest.mark.parametrize("mode", sharpness.MODES)
def test_derivatives_are_those_of_differences(mode):
    weights = RNG.standard_normal((6, 7))
    small = KERNELS[:, 1:4, 1:4]

    @jax.jit
    def total(image, kernels):
        return jnp.sum(weights * sharpness.local_metric(image, kernels, mode=mode))

    gradients = jax.jit(jax.grad(total, (0, 1)))(IMAGES[0], small)
    for i, gradient in enumerate(gradients):
        values = [IMAGES[0], small]
        direction = RNG.standard_normal(values[i].shape)
        moved = []
        for sign in (1, -1):
            values[i] = (IMAGES[0], small)[i] + 1e-7 * sign * direction
            moved.append(float(total(*values)))
        difference = (moved[0] - moved[1]) / 2e-7
        along = float(jnp.sum(gradient * direction))
        assert abs(along) > 1e-3
        assert along == pytest.approx(difference, rel=1e-4)


def test_the_components_have_derivatives():
    weights = jnp.asarray(RNG.standard_normal((2, 3, 3)))
    layer = jnp.asarray(RNG.standard_normal((3, 3, 6)))
    total = jax.jit(lambda x: jnp.sum(weights * sharpness.metric_kernels(x).kernels))
    direction = jnp.asarray(RNG.standard_normal(layer.shape))
    along = float(jnp.sum(jax.jit(jax.grad(total))(layer) * direction))
    ahead, behind = (float(total(layer + sign * 1e-6 * direction)) for sign in (1, -1))
    assert abs(along) > 1e-2
    assert along == pytest.approx((ahead - behind) / 2e-6, rel=1e-5)
