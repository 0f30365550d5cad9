import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from jax.test_util import check_grads

from blurjax.region import _baselines as baselines

NOISE = np.random.default_rng(11).uniform(size=(3, 40, 44))
# Smooth and without a flat place: every length and deviation is far from 0.
SMOOTH = np.clip(0.5 + 3 * (scipy.ndimage.gaussian_filter(NOISE, (0, 2, 2)) - 0.5), 0.05, 0.95)

# Smaller windows than the default wavelengths take, and less to compile.
gabor = functools.partial(baselines.gabor_statistics, scales=(4.0, 10.0), orientations=4)
SCORES = {
    "gradient_std": jax.jit(baselines.gradient_std),
    "contrast": jax.jit(baselines.contrast),
    "useful_edges": jax.jit(baselines.useful_edges),
}
ALL = {**SCORES, "gabor_statistics": gabor}

every_score = pytest.mark.parametrize("score", SCORES.values(), ids=SCORES)
every_function = pytest.mark.parametrize("function", ALL.values(), ids=ALL)


def differences(x):
    return x[..., 1:, :-1] - x[..., :-1, :-1], x[..., :-1, 1:] - x[..., :-1, :-1]


def wave(wavelength, angle, *, side=64, amplitude=0.25, phase=0.4):
    row, column = np.mgrid[:side, :side]
    # Counter-clockwise as displayed: rows run downwards.
    along = column * np.cos(angle) - row * np.sin(angle)
    return 0.5 + amplitude * np.cos(2 * np.pi * along / wavelength + phase)


def test_gradient_std_by_hand():
    # Lengths 5, 0, 0 and 5 (3 down and 4 to the right) of 0.1.
    window = 0.1 * np.array([[0.0, 4, 4], [3, 3, 3], [3, 3, 8]])
    down, right = differences(window)
    np.testing.assert_allclose(np.hypot(down, right)[0, 0], 0.5)
    expected = np.std(np.hypot(down, right))
    np.testing.assert_allclose(SCORES["gradient_std"](window), expected, rtol=1e-12)
    # One step in a row of two: lengths 0 and 1.
    step = np.array([[0.0, 0, 1], [0, 0, 1]])
    np.testing.assert_allclose(SCORES["gradient_std"](step), 0.5)


def test_gradient_std_is_numpys():
    expected = np.hypot(*differences(NOISE)).std(axis=(1, 2))
    np.testing.assert_allclose(SCORES["gradient_std"](NOISE), expected, rtol=1e-12)


def test_contrast_by_hand():
    window = np.array([[0.25, 0.75], [1.0, 0.0]])
    np.testing.assert_allclose(SCORES["contrast"](window), 0.25 / 2)
    np.testing.assert_allclose(SCORES["contrast"](np.array([[0.25, 0.75]])), 0.25)
    assert SCORES["contrast"](np.array([[0.0, 1.0], [0.995, 0.005]])) == 0


def test_contrast_is_the_standard_deviation_where_nothing_is_clipped():
    np.testing.assert_allclose(SCORES["contrast"](SMOOTH), SMOOTH.std(axis=(1, 2)), rtol=1e-12)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_no_clipped_pixel_raises_contrast(level):
    rng = np.random.default_rng(5)
    window = rng.uniform(0.3, 0.6, (6, 7))
    scores = [SCORES["contrast"](window)]
    for pixel in rng.permutation(window.size):
        window.flat[pixel] = level
        scores.append(SCORES["contrast"](window))
    assert np.all(np.diff(scores) < 1e-12) and scores[-1] == 0
    # A white spot in a flat window is no reason to look there, whatever the deviation.
    spot = np.full((6, 7), 0.5)
    spot[2, 2] = level
    assert SCORES["contrast"](spot) == 0


@pytest.mark.parametrize("side", [1, 5, 9])
def test_useful_edges_is_scipys(side):
    down, right = differences(NOISE)
    along, across, length = (
        side**2 * scipy.ndimage.uniform_filter(g, side, mode="nearest", axes=(1, 2))
        for g in (down, right, np.hypot(down, right))
    )
    expected = (np.hypot(along, across) / (length + 0.5)).mean(axis=(1, 2))
    found = jax.jit(lambda x: baselines.useful_edges(x, side=side))(NOISE)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_useful_edges_by_hand():
    # One direction all over: the sum of lengths is the length of the sum, 25 * 0.05.
    row, column = np.mgrid[:8, :9]
    ramp = 0.03 * column + 0.04 * row
    np.testing.assert_allclose(SCORES["useful_edges"](ramp), 1.25 / 1.75, rtol=1e-12)
    # Up and down within each square: of 5 columns of 0.1 one is left, 3 at the repeated border.
    stripes = 0.1 * (column % 2)
    expected = (3 + 6 * 1 + 3) / 8 * 0.5 / 3
    np.testing.assert_allclose(SCORES["useful_edges"](stripes), expected, rtol=1e-12)


def test_edges_are_more_useful_than_noise_of_the_same_variance():
    edges = 0.4 + 0.2 * (np.mgrid[:64, :64][1] // 16 % 2)
    noise = np.random.default_rng(2).normal(size=(64, 64))
    noise = edges.mean() + edges.std() * (noise - noise.mean()) / noise.std()
    np.testing.assert_allclose(noise.var(), edges.var())
    assert SCORES["useful_edges"](edges) > 1.5 * SCORES["useful_edges"](noise)
    # The gradient's deviation is deceived.
    assert SCORES["gradient_std"](noise) > SCORES["gradient_std"](edges)


@every_score
def test_a_flat_window_scores_least(score):
    flat = np.full((40, 44), 0.3)
    faint = flat + 1e-3 * (NOISE[0] - 0.5)
    assert 0 <= score(flat) < 1e-12
    assert score(flat) < score(faint) < score(SMOOTH[0])


def test_gabor_statistics_are_those_of_a_convolution():
    scale, orientations = 6.0, 3
    found = baselines.gabor_statistics(NOISE, scales=(scale,), orientations=orientations)
    reach = 40
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    envelope = np.exp(-(x**2 + y**2) / (2 * (scale / 2) ** 2))
    expected = []
    for angle in np.arange(orientations) * np.pi / orientations:
        carrier = np.exp(2j * np.pi * (x * np.cos(angle) - y * np.sin(angle)) / scale)
        filter_ = (2 * envelope * carrier / (2 * np.pi * (scale / 2) ** 2))[None]
        centred = NOISE - NOISE.mean(axis=(1, 2), keepdims=True)
        mirrored = np.pad(centred, [(0, 0), (reach, reach), (reach, reach)], mode="symmetric")
        magnitude = np.abs(scipy.signal.fftconvolve(mirrored, filter_, mode="valid", axes=(1, 2)))
        expected += [magnitude.mean(axis=(1, 2)), magnitude.std(axis=(1, 2))]
    # There at every pixel, here at every second.
    np.testing.assert_allclose(np.exp(found[:, :6]).T - 1e-3, expected, rtol=0.06)
    np.testing.assert_allclose(found[:, 6], np.log(1e-3 + NOISE.std(axis=(1, 2))), rtol=1e-12)
    np.testing.assert_allclose(found[:, 7], np.mean(NOISE >= 0.99, axis=(1, 2)), rtol=1e-12)


def test_gabor_statistics_find_the_wave():
    scales, orientations = (4.0, 8.0, 16.0, 32.0), 8
    places = [(i, k) for i in range(4) for k in (0, 1, 4, 7)]
    waves = np.stack([wave(scales[i], k * np.pi / orientations, side=96) for i, k in places])
    found = baselines.gabor_statistics(waves)
    assert found.shape == (16, baselines.GABOR_STATISTICS)
    mean = np.asarray(found)[:, :-2].reshape(-1, 4, orientations, 2)[..., 0]
    best = [np.unravel_index(np.argmax(m), m.shape) for m in mean]
    assert best == places
    # Its amplitude, but near the border, where the mirrored wave runs another way.
    amplitude = (np.exp(mean.max(axis=(1, 2))) - 1e-3).reshape(4, 4)
    assert np.all(amplitude < 0.25)
    np.testing.assert_allclose(amplitude[:, [0, 2]], 0.25, rtol=0.05)
    np.testing.assert_allclose(amplitude[0], 0.25, rtol=0.05)
    np.testing.assert_allclose(amplitude[3], 0.25, rtol=0.25)


def test_gabor_statistics_do_not_see_a_constant():
    window = 0.2 + 0.5 * SMOOTH
    np.testing.assert_allclose(gabor(window + 0.2), gabor(window), atol=1e-9)
    flat = gabor(np.full((40, 44), 0.7))
    np.testing.assert_allclose(flat[:-1], np.log(1e-3), rtol=1e-9)
    assert flat[-1] == 0 and gabor(np.ones((40, 44)))[-1] == 1


def test_gabor_statistics_turn_with_the_window():
    # A quarter turn counter-clockwise adds pi / 2 to every angle.
    window = SMOOTH[0, :40, :40]
    before, after = (
        np.asarray(gabor(x))[:-2].reshape(2, 4, 2) for x in (window, np.rot90(window).copy())
    )
    turned = np.roll(before, 2, axis=1)
    # The points where it is read do not turn with it.
    np.testing.assert_allclose(turned, after, atol=0.3)
    assert np.abs(turned - after).mean() < 0.5 * np.abs(before - after).mean()


@every_function
def test_gradients_are_finite_at_flat_windows(function):
    gradient = jax.jit(jax.vmap(jax.grad(lambda x: jnp.sum(function(x)))))
    flat = np.array([0.4, 0.0, 1.0])[:, None, None] * np.ones((24, 24))
    half_flat = np.where(np.mgrid[:24, :24][1] < 12, flat, 0.6)
    for dtype in (np.float32, np.float64):
        assert np.all(np.isfinite(gradient(flat.astype(dtype))))
        assert np.all(np.isfinite(gradient(half_flat.astype(dtype))))


@every_function
def test_gradients_are_right_where_smooth(function):
    # No length of a gradient near 0, about which it bends.
    row, column = np.mgrid[:18, :18]
    window = 0.1 + 0.02 * column + 0.015 * row + 0.01 * NOISE[0, :18, :18]
    function = jax.jit(function)
    check_grads(function, (window,), 1, modes=("fwd", "rev"), atol=1e-4, rtol=1e-4, eps=1e-7)
    assert np.abs(jax.grad(lambda x: jnp.sum(function(x)))(window)).max() > 1e-5


@every_function
def test_batches_are_windows_one_by_one(function):
    stack = NOISE.reshape(3, 1, 40, 44)
    found = function(stack)
    assert found.shape[:2] == (3, 1)
    np.testing.assert_allclose(jax.vmap(function)(stack), found, rtol=1e-10)
    np.testing.assert_allclose(function(NOISE[1]), found[1, 0], rtol=1e-10)


@every_function
def test_dtypes_are_kept_and_halves_computed_in_single(function):
    exact = function(NOISE.astype(np.float32))
    assert exact.dtype == jnp.float32
    np.testing.assert_allclose(exact, function(NOISE), rtol=2e-5)
    for dtype in (jnp.bfloat16, jnp.float16):
        half = jnp.asarray(NOISE, dtype)
        found = function(half)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, function(half.astype(jnp.float32)).astype(dtype))


def test_what_does_not_fit_is_refused():
    for score in (baselines.gradient_std, baselines.useful_edges):
        with pytest.raises(ValueError, match="2x2"):
            score(np.ones((1, 5)))
    with pytest.raises(ValueError, match="odd"):
        baselines.useful_edges(np.ones((5, 5)), side=4)
    for scales in ((), (1.0,), (4.0, 33.0)):
        with pytest.raises(ValueError, match="wavelengths"):
            baselines.gabor_statistics(np.ones((32, 40)), scales=scales)
    with pytest.raises(ValueError, match="orientations"):
        baselines.gabor_statistics(np.ones((32, 40)), orientations=0)
