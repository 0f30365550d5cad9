"""Blur that varies over the image, against explicit sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from blurjax import data, imaging, psf

SHAPE = (13, 17)
_PAD = {"reflect": "symmetric", "wrap": "wrap"}


def _random(shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def _gathered(image, kernels, boundary="reflect"):
    """Pixel by pixel, each with its own kernel, (H, W, k, k)."""
    half = kernels.shape[-1] // 2
    mode = _PAD.get(boundary, "constant")
    padded = np.pad(image, half, mode=mode) if boundary != "valid" else image
    out = np.zeros(np.subtract(padded.shape, 2 * half))
    inset = half if boundary == "valid" else 0
    for i, j in np.ndindex(*out.shape):
        window = padded[i : i + 2 * half + 1, j : j + 2 * half + 1]
        out[i, j] = np.sum(window[::-1, ::-1] * kernels[i + inset, j + inset])
    return out


SIGMAS = 0.2 + 0.8 * _random(SHAPE, 1)


@pytest.mark.parametrize(
    ("boundary", "sampling"), [("reflect", "area"), ("wrap", "point"), ("valid", "area")]
)
def test_exact_is_the_sum_over_each_pixels_own_kernel(boundary, sampling):
    image = _random(SHAPE)
    kernels = np.asarray(psf.gaussian(SIGMAS, size=9, sampling=sampling))
    result = imaging.blur_varying(image, SIGMAS, size=9, boundary=boundary, sampling=sampling)
    np.testing.assert_allclose(result, _gathered(image, kernels, boundary), atol=1e-13)


def test_gather_not_scatter():
    # A bright pixel where sigma is small, seen from where it is large.
    sigma = np.where(np.arange(17) < 8, 0.3, 1.2) * np.ones((13, 1))
    image = np.zeros(SHAPE)
    image[6, 7] = 1
    out = imaging.blur_varying(image, sigma, size=9)
    expected = psf.gaussian(1.2, size=9)[4, 5]
    np.testing.assert_allclose(out[6, 8], expected, rtol=1e-12)


@pytest.mark.parametrize("method", ["exact", "bank"])
def test_constants_stay_and_uniform_maps_blur_uniformly(method):
    options = {"method": method, "levels": 4, "size": 9}
    np.testing.assert_allclose(
        imaging.blur_varying(np.full(SHAPE, 0.3), SIGMAS, **options), 0.3, atol=1e-13
    )
    image = _random(SHAPE)
    uniform = imaging.blur_varying(image, np.full(SHAPE, 0.9), **options)
    expected = imaging.blur(image, psf.gaussian(0.9, size=9))
    # The bank interpolates, here over 0.02 px of sigma in three steps.
    np.testing.assert_allclose(uniform, expected, atol=1e-5 if method == "bank" else 1e-13)


def test_point_sampling_is_that_of_scipy():
    image = _random((20, 24))
    result = imaging.blur_varying(image, np.full((20, 24), 1.3), sampling="point")
    expected = scipy.ndimage.gaussian_filter(image, 1.3, truncate=4)
    np.testing.assert_allclose(result, expected, atol=1e-12)


@pytest.fixture(scope="module")
def photograph():
    source = data.embedded("train")
    return source[source.names.index("camera.png")]


def test_the_bank_is_as_close_as_documented(photograph):
    image = jnp.asarray(photograph[160:288], jnp.float32)
    sigma = imaging.ramp_map(image.shape, np.float32(0.3), 3.0)
    error = imaging.blur_varying(image, sigma, method="bank") - imaging.blur_varying(image, sigma)
    assert 1e-4 < np.abs(error).max() <= 0.0015, "0: nothing was interpolated"
    assert np.sqrt(np.mean(error**2)) <= 0.00015


@pytest.mark.parametrize("method", ["exact", "bank"])
def test_leading_axes_and_channels(method):
    images, sigmas = _random((2, *SHAPE, 3)), SIGMAS * np.array([1.0, 0.8])[:, None, None]
    options = {"method": method, "levels": 5, "size": 7}
    result = imaging.blur_varying(images, sigmas, channel_axis=-1, **options)
    assert result.shape == images.shape
    for n, c in ((0, 0), (1, 2)):
        plane = imaging.blur_varying(images[n, ..., c], sigmas[n], **options)
        np.testing.assert_allclose(result[n, ..., c], plane, atol=1e-13)


@pytest.mark.parametrize(("method", "dtype"), [("exact", jnp.bfloat16), ("bank", jnp.float32)])
def test_precision(method, dtype):
    image, options = jnp.asarray(_random(SHAPE), dtype), {"method": method, "levels": 5, "size": 7}
    out = imaging.blur_varying(image, SIGMAS, **options)
    exact = imaging.blur_varying(image.astype(float), SIGMAS, **options)
    assert out.dtype == dtype
    tolerance = 1e-6 if dtype == jnp.float32 else 2e-3
    np.testing.assert_allclose(out.astype(float), exact, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["exact", "bank"])
def test_transformations_and_gradients(method):
    images, sigmas = (
        jnp.asarray(_random((8, *SHAPE))),
        0.4 + 0.6 * jnp.asarray(_random((8, *SHAPE), 1)),
    )

    def blur(image, sigma):
        return imaging.blur_varying(image, sigma, method=method, levels=5, size=7)

    mapped = jax.pmap(blur)(images, sigmas)
    np.testing.assert_allclose(mapped, blur(images, sigmas), atol=1e-13)

    def total(images, sigmas):
        return jnp.sum(jnp.sin(3 * jax.vmap(blur)(images, sigmas)))

    # The second map is 0 everywhere: no blur, and finite derivatives.
    at = images[:2], sigmas[:2] * np.array([1.0, 0.0]).reshape(2, 1, 1)
    loss = jax.jit(jax.value_and_grad(total, (0, 1)))
    value, gradient = loss(*at)
    sharp = np.sin(3 * np.stack([mapped[0], images[1]])).sum()
    np.testing.assert_allclose(value, sharp, rtol=1e-12)
    np.testing.assert_allclose(gradient[0][1], 3 * np.cos(3 * np.asarray(images[1])), atol=1e-12)
    np.testing.assert_allclose(gradient[1][1], 0, atol=1e-12)
    along = [_random(at[0].shape, seed) - 0.5 for seed in (2, 3)]
    if method == "bank":
        # The ends of each map are held: the bank's sigmas hang on them.
        low, high = np.min(at[1], (1, 2), keepdims=True), np.max(at[1], (1, 2), keepdims=True)
        inner = (np.asarray(at[1]) > low) & (np.asarray(at[1]) < high)
        along[1] = np.where(inner, along[1], 0)
    for direction in ((along[0], 0), (0, along[1])):
        ahead, behind = (
            loss(*(x + h * d for x, d in zip(at, direction, strict=True)))[0] for h in (1e-6, -1e-6)
        )
        product = sum(np.sum(g * d) for g, d in zip(gradient, direction, strict=True))
        np.testing.assert_allclose(product, (ahead - behind) / 2e-6, rtol=1e-5)
        assert abs(product) > 1e-2
    for g in gradient:
        assert np.median(np.abs(g[0])) > 1e-3


def test_sizes_and_warnings():
    image = np.ones((8, 9))
    with pytest.warns(UserWarning, match=r"size 7 cuts off .*pass size=25, or None"):
        imaging.blur_varying(image, 3 * image, size=7)
    with pytest.raises(ValueError, match=r"size is None, but under jit"):
        jax.jit(imaging.blur_varying)(image, image)


@pytest.mark.parametrize(
    ("sigma", "options", "message"),
    [
        (np.ones((8, 8)), {"method": "fast"}, "method is 'fast'; choose 'exact' or 'bank'"),
        (np.ones((8, 8)), {"sampling": "box"}, "sampling is 'box'; choose 'area' or 'point'"),
        (np.ones((8, 8)), {"levels": 1}, "levels is 1"),
        (np.ones((8, 8)), {"size": 4}, "size is 4; a kernel has an odd size"),
        (np.ones((7, 8)), {}, r"sigma_map has shape \(7, 8\)"),
        (-np.ones((8, 8)), {}, r"values from -1.0 to -1.0"),
        (np.full((8, 8), np.nan), {}, "must be finite"),
        (np.ones((8, 8)), {"size": 9, "boundary": "valid"}, "no pixel is valid"),
        (np.ones((3, 8, 8)), {}, r"axes \(2,\) of the image and \(3,\) of the sigma_map"),
    ],
)
def test_errors_of_blur_varying(sigma, options, message):
    with pytest.raises(ValueError, match=message):
        imaging.blur_varying(np.ones((2, 8, 8)), sigma, **options)


def test_product_is_the_sum_over_each_pixels_own_mixture():
    image, psfs = _random(SHAPE), _random((6, 5, 5), 1)
    weights = np.asarray(imaging.grid_weights(2, 3, SHAPE))
    kernels = np.einsum("mhw,mij->hwij", weights, psfs)
    for boundary in ("reflect", "valid"):
        result = imaging.blur_product(image, psfs, weights, boundary=boundary)
        np.testing.assert_allclose(result, _gathered(image, kernels, boundary), atol=1e-12)


def test_product_is_adjoint_to_its_transpose_and_differentiable():
    psfs, weights = jnp.asarray(_random((4, 5, 5))), jnp.asarray(_random((4, *SHAPE), 1))
    x, y = jnp.asarray(_random(SHAPE, 2)), jnp.asarray(_random(SHAPE, 3))

    @jax.jit
    def both(x, psfs, weights, y):
        def blur(x):
            return imaging.blur_product(x, psfs, weights)

        (back,) = jax.linear_transpose(blur, x)(y)
        return blur(x), back

    out, back = both(x, psfs, weights, y)
    np.testing.assert_allclose(np.vdot(out, y), np.vdot(x, back), rtol=1e-12)

    # Linear in each argument: the gradients return the value.
    def total(*args):
        return jnp.vdot(imaging.blur_product(*args), y)

    for g, a in zip(
        jax.jit(jax.grad(total, (0, 1, 2)))(x, psfs, weights), (x, psfs, weights), strict=True
    ):
        np.testing.assert_allclose(np.vdot(g, a), np.vdot(out, y), rtol=1e-12)
        assert np.abs(g).min() > 1e-4


def test_product_with_leading_axes_channels_and_transformations():
    images, psfs = jnp.asarray(_random((8, *SHAPE))), jnp.asarray(_random((8, 4, 5, 5), 1))
    weights = imaging.grid_weights(2, 2, SHAPE)

    def blur(image, psfs):
        return imaging.blur_product(image, psfs, weights)

    plain = blur(images, psfs)
    assert plain.shape == images.shape
    for transformed in (jax.jit(jax.vmap(blur)), jax.pmap(blur)):
        np.testing.assert_allclose(transformed(images, psfs), plain, atol=1e-12)
    colour = imaging.blur_product(np.moveaxis(images, 0, -1), psfs[0], weights, channel_axis=-1)
    np.testing.assert_allclose(colour[..., 0], plain[0], atol=1e-12)
    half = imaging.blur_product(images[0].astype(jnp.bfloat16), psfs[0] / 13, weights)
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(float), plain[0] / 13, atol=0.01)


def test_one_kernel_of_a_grid_is_plain_blur():
    image, kernel = _random(SHAPE), _random((5, 5), 1)
    result = imaging.blur_product(image, kernel[None], imaging.grid_weights(1, 1, SHAPE))
    np.testing.assert_allclose(result, imaging.blur(image, kernel), atol=1e-13)


@pytest.mark.parametrize("grid", [(1, 1), (2, 3), (5, 4), (13, 17), (20, 2)])
def test_grid_weights_share_each_pixel_out(grid):
    rows, columns = grid
    weights = np.asarray(imaging.grid_weights(rows, columns, SHAPE))
    assert weights.shape == (rows * columns, *SHAPE) and weights.min() >= 0
    np.testing.assert_allclose(weights.sum(0), 1, atol=1e-14)
    # Row by row, from the top left; symmetric as the grid is.
    corners = weights[0, 0, 0], weights[-1, -1, -1]
    # A grid finer than the pixels has its outermost nodes outside of their centres.
    np.testing.assert_allclose(corners, 1 if rows <= 13 else 19 / 26, atol=1e-12)
    flipped = weights.reshape(rows, columns, *SHAPE)[::-1, ::-1, ::-1, ::-1]
    np.testing.assert_allclose(flipped.reshape(weights.shape), weights, atol=1e-14)


def test_grid_nodes_are_the_middles_of_the_cells():
    weights = np.asarray(imaging.grid_weights(3, 2, (9, 10))).reshape(3, 2, 9, 10)
    np.testing.assert_allclose(weights[:, :, [1, 4, 7]].sum(1)[:, :, 0], np.eye(3), atol=1e-14)
    # The columns' middles lie at 2 and 7; halfway both count alike.
    np.testing.assert_allclose(weights[0, :, 0, [2, 7]], np.eye(2), atol=1e-14)
    np.testing.assert_allclose(weights[0, 0, 0, 4:6], [0.6, 0.4], atol=1e-14)


@pytest.mark.parametrize(
    ("psfs", "weights", "message"),
    [
        ((3, 3), (4, 8, 8), "give m of each"),
        ((3, 3, 3), (4, 8, 8), r"\(3, 3, 3\) and the weights \(4, 8, 8\)"),
        ((4, 3, 3), (4, 8, 7), r"weights have shape \(4, 8, 7\)"),
        ((4, 4, 4), (4, 8, 8), "must be odd"),
        ((4, 3, 3), (3, 4, 8, 8), r"axes \(3,\) of the weights"),
    ],
)
def test_errors_of_blur_product(psfs, weights, message):
    with pytest.raises(ValueError, match=message):
        imaging.blur_product(np.ones((2, 8, 8)), np.ones(psfs), np.ones(weights))
    with pytest.raises(ValueError, match="pass positive numbers"):
        imaging.grid_weights(0, 1, (8, 8))
