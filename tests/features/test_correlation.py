import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import features, imaging, psf

LAGS = 32

# Compiled whole: op by op every primitive is compiled for itself.
correlation_maps = jax.jit(features.correlation_maps, static_argnames="lags")


@pytest.fixture(scope="module")
def images():
    noise = jax.random.uniform(jax.random.key(0), (2, 90, 70), jnp.float64)
    kernel = psf.trajectory(jnp.array([[-4.0, -9.0], [4.0, 9.0]]), size=21)
    return jnp.stack([noise[0], imaging.blur(noise[1], kernel)])


def test_the_maps_are_inverse_transforms(images):
    maps = np.asarray(correlation_maps(images, lags=LAGS))
    assert maps.shape == (2, 3, 2 * LAGS, LAGS)
    # The first, from the faded image alone, by NumPy.
    height, width = images.shape[1:]

    def fade(n):
        place = np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) / (0.08 * n)
        return (1 - np.cos(np.pi * np.clip(place, 0, 1))) / 2

    window = np.outer(fade(height), fade(width))
    x = np.asarray(images[1])
    x = window * (x - np.sum(window * x) / np.sum(window))
    shape = (125, 108)
    u, v = np.fft.fftfreq(shape[0])[:, None], np.fft.fftfreq(shape[1])[None, :]
    power = np.abs(np.fft.fft2(x, shape)) ** 2
    power *= 4 * np.sin(np.pi * u) ** 2 + 4 * np.sin(np.pi * v) ** 2
    whole = np.fft.fftshift(np.fft.ifft2(power).real)
    middle = shape[0] // 2, shape[1] // 2
    near = whole[middle[0] - LAGS : middle[0] + LAGS, middle[1] : middle[1] + LAGS]
    far = np.maximum(np.abs(np.arange(-LAGS, LAGS))[:, None], np.arange(LAGS)[None, :]) > 2
    near = near / np.sqrt(np.mean(np.where(far, near, 0) ** 2))
    np.testing.assert_allclose(maps[1, 0], near, atol=1e-6)


def test_two_points_are_seen_at_their_distance(images):
    """A kernel of two points has its autocorrelation's only other peak where they are apart."""
    maps = np.asarray(correlation_maps(images, lags=LAGS))[1]
    for name, each in zip(features.CORRELATION_MAPS, maps, strict=True):
        away = each.copy()
        away[LAGS - 3 : LAGS + 4, :4] = 0
        peak = np.unravel_index(np.argmax(away), away.shape)
        assert (peak[0] - LAGS, peak[1]) == (8, 18), name


def test_transposed_maps_are_those_of_the_transposed_image(images):
    maps = correlation_maps(images, lags=LAGS)
    expected = correlation_maps(images.swapaxes(1, 2), lags=LAGS)
    found = features.transposed_maps(maps)
    # The root mean square is of half a plane, which is another half.
    scale = expected[..., LAGS, 0] / found[..., LAGS, 0]
    np.testing.assert_allclose(scale, 1, atol=0.02)
    rest = found[..., 1:, :] * scale[..., None, None]
    # Frequencies between two rings may be rounded to either.
    np.testing.assert_allclose(rest, expected[..., 1:, :], atol=1e-3)
    np.testing.assert_array_equal(found[..., 0, :], found[..., 1, :])


def test_only_what_is_inside_counts(images):
    inside = jnp.array([[60, 50], [90, 70]])
    spoilt = images.at[0, 60:].set(7.0).at[0, :, 50:].set(-3.0)
    found = correlation_maps(spoilt, lags=LAGS, inside=inside)
    np.testing.assert_allclose(found[1], correlation_maps(images, lags=LAGS)[1], atol=1e-9)
    # Another padding samples the spectrum elsewhere: the autocorrelation is the same, whitening
    # nearly.
    alone = correlation_maps(images[:1, :60, :50], lags=LAGS)
    np.testing.assert_allclose(found[0, 0], alone[0, 0], atol=1e-6)


def test_scale_offset_and_dtype(images):
    maps = correlation_maps(images, lags=LAGS)
    other = correlation_maps(0.3 * images + 0.2, lags=LAGS)
    np.testing.assert_allclose(maps, other, atol=1e-6)
    low = correlation_maps(images.astype(jnp.bfloat16), lags=LAGS)
    assert low.dtype == jnp.bfloat16
    assert float(jnp.max(jnp.abs(low.astype(jnp.float64) - maps))) < 1.0


def test_gradients_are_right_and_finite():
    # An image so small that every pixel's derivative can be compared.
    image = jax.random.uniform(jax.random.key(3), (12, 11), jnp.float64)
    weight = jax.random.normal(jax.random.key(4), (3, 16, 8), jnp.float64)

    @jax.jit
    def total(x):
        return jnp.sum(weight * features.correlation_maps(x, lags=8))

    gradient = jax.jit(jax.grad(total))(image)
    direction = jax.random.normal(jax.random.key(5), image.shape, jnp.float64)
    step = 1e-6
    difference = (total(image + step * direction) - total(image - step * direction)) / (2 * step)
    np.testing.assert_allclose(jnp.sum(gradient * direction), difference, rtol=1e-5)
    flat = jax.grad(total)(jnp.ones_like(image))
    assert bool(jnp.all(jnp.isfinite(flat)))


def test_too_small_images_are_refused():
    with pytest.raises(ValueError, match=r"30x90.*32 pixels"):
        features.correlation_maps(jnp.zeros((30, 90)), lags=LAGS)


# ---- where to look


def test_the_distinct_patch_has_the_largest_deviation():
    maps = np.random.default_rng(0).normal(3.0, 1.0, (2, 61, 75))
    maps[1, 25:33, 40:48] *= 3
    found, corner = features.distinct_patch(jnp.asarray(maps), size=16, stride=5)
    for x, patch, at in zip(maps, np.asarray(found), np.asarray(corner), strict=True):
        best = max(
            (
                (np.std(x[r : r + 16, c : c + 16]), r, c)
                for r in range(0, 46, 5)
                for c in range(0, 60, 5)
            ),
        )
        assert tuple(at) == best[1:]
        np.testing.assert_array_equal(patch, x[at[0] : at[0] + 16, at[1] : at[1] + 16])


def test_the_distinct_patch_lies_inside():
    maps = jnp.zeros((40, 60)).at[35, 55].set(1.0).at[3, 5].set(0.5)
    inside = jnp.array([30, 50])
    assert features.distinct_patch(maps, size=20)[1].tolist() == [20, 40]
    assert features.distinct_patch(maps, size=20, inside=inside)[1].tolist() == [0, 0]
    spoilt = maps.at[15, 45].set(0.2)
    assert features.distinct_patch(spoilt, size=20, inside=inside)[1].tolist() == [0, 0]
    with pytest.raises(ValueError, match="40x60"):
        features.distinct_patch(maps, size=50)
