"""blurjax.fit: the acceptance test of the gradients, standard errors, families, errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import blurjax
from blurjax import data, imaging, psf

RANGES = {
    "gaussian": [(0.6, 5.0)],
    "motion": [(4.0, 30.0), (0.0, np.pi)],
    "defocus": [(1.2, 10.0)],
}


@functools.cache
def crops(count, side, seed):
    """Random textured parts of the embedded photographs, in 8 bits."""
    rng = np.random.default_rng(seed)
    photographs = [*data.embedded("train"), *data.embedded("test")]
    found = []
    while len(found) < count:
        photograph = photographs[rng.integers(len(photographs))]
        rows, columns = (n - side for n in photograph.shape)
        if min(rows, columns) < 0:
            continue
        row, column = rng.integers(rows + 1), rng.integers(columns + 1)
        crop = photograph[row : row + side, column : column + side]
        if crop.std() >= 0.04:
            found.append(crop)
    return imaging.quantise(jnp.asarray(np.stack(found), jnp.float32))


def made_elsewhere(family, parameters, size, n=16):
    """The kernel by brute force in NumPy: dense samples of the disc, the Gaussian, the path."""
    grid = (np.arange(size * n) + 0.5) / n - size / 2
    x, y = np.meshgrid(grid, grid)
    if family == "motion":
        length, angle = parameters
        t = (np.arange(4000) + 0.5) / 4000 - 0.5
        column = length * t * np.cos(angle) + size // 2
        row = -length * t * np.sin(angle) + size // 2
        i, j = np.floor(row).astype(int), np.floor(column).astype(int)
        kernel = np.zeros((size, size))
        for a, b in np.ndindex(2, 2):
            weight = (1 - np.abs(row - i - a)) * (1 - np.abs(column - j - b))
            np.add.at(kernel, (i + a, j + b), weight)
    elif family == "gaussian":
        dense = np.exp(-(x**2 + y**2) / (2 * parameters[0] ** 2))
        kernel = dense.reshape(size, n, size, n).sum((1, 3))
    else:
        dense = (x**2 + y**2 <= parameters[0] ** 2).astype(float)
        kernel = dense.reshape(size, n, size, n).sum((1, 3))
    return kernel / kernel.sum()


def recovered(family, count, seed, *, size, side, ours, steps=200):
    """Of `count` random cases with one start each, which are within 1 % and 0.5 degrees."""
    rng = np.random.default_rng(seed)
    truth = np.stack([rng.uniform(*r, count) for r in RANGES[family]], axis=1)
    start = truth.copy()
    start[:, 0] *= rng.uniform(0.7, 1.3, count)
    if family == "motion":
        start[:, 1] += np.deg2rad(rng.uniform(-20, 20, count))
    sharp = crops(count, side, seed)
    if ours:
        kernels = psf.FAMILIES[family].kernel(*jnp.asarray(truth.T, jnp.float32), size=size)
    else:
        kernels = jnp.asarray([made_elsewhere(family, row, size) for row in truth], jnp.float32)
    seen = imaging.quantise(imaging.blur(sharp, kernels, boundary="valid"))
    names = psf.FAMILIES[family].names
    found = blurjax.fit(
        sharp,
        seen,
        family=family,
        size=size,
        steps=steps,
        start={name: start[:, i].astype(np.float32) for i, name in enumerate(names)},
    )
    estimate = np.stack([np.asarray(found.parameters[name]) for name in names], axis=1)
    right = np.abs(estimate[:, 0] / truth[:, 0] - 1) < 0.01
    if family == "motion":
        turned = (estimate[:, 1] - truth[:, 1] + np.pi / 2) % np.pi - np.pi / 2
        right &= np.abs(turned) < np.deg2rad(0.5)
    return right


@pytest.mark.slow
@pytest.mark.parametrize("ours", [True, False], ids=["ours", "elsewhere"])
@pytest.mark.parametrize("family", RANGES)
def test_acceptance(family, ours):
    """8-bit photographs, valid region, one start within 30 % and 20 degrees: 99 % of 200."""
    right = recovered(family, 200, 1, size=41, side=168, ours=ours)
    assert right.sum() >= 198


@pytest.mark.slow
def test_acceptance_in_small():
    assert recovered("motion", 6, 2, size=41, side=96, ours=False, steps=60).all()


@pytest.fixture(scope="module")
def pair():
    """A sharp crop, its motion blur with noise, and the truth."""
    sharp = crops(1, 90, 3)[0]
    noisy = imaging.add_noise(
        jax.random.key(0), imaging.blur(sharp, psf.motion(6.0, 0.7, size=9)), 0.02
    )
    return sharp, noisy


OPTIONS = {"size": 9, "starts": 2, "steps": 40}


@pytest.mark.slow
def test_from_nothing_all_families_and_the_best_is_chosen(pair):
    answer = blurjax.fit(*pair, family="all", **OPTIONS)
    assert answer.family == "motion" and set(answer.alternatives) == set(RANGES)
    assert min(answer.alternatives.values(), key=lambda f: float(f.loss)).family == "motion"
    np.testing.assert_allclose(answer.parameters["length"], 6, atol=0.15)
    np.testing.assert_allclose(answer.parameters["angle"], 0.7, atol=0.02)
    np.testing.assert_allclose(answer.loss, 0.02**2, rtol=0.1)
    expected = psf.motion(answer.parameters["length"], answer.parameters["angle"], size=9)
    np.testing.assert_allclose(answer.kernel, expected, atol=1e-6)


@pytest.mark.slow
def test_standard_errors_are_those_of_repetition():
    sharp = crops(1, 72, 4)[0]
    blurred = imaging.blur(sharp, psf.gaussian(1.2, size=9), boundary="valid")
    keys = jax.random.split(jax.random.key(5), 48)
    seen = jax.vmap(lambda key: imaging.add_noise(key, blurred, 0.02))(keys)
    answer = blurjax.fit(sharp, seen, family="gaussian", size=9, start={"sigma": 1.0}, steps=20)
    z = (answer.parameters["sigma"] - 1.2) / answer.standard_errors["sigma"]
    # 48 of them: the deviation of z is known to 10 %, its mean to 0.14.
    assert abs(z.mean()) < 0.45 and 0.7 < z.std() < 1.35


@pytest.mark.slow
def test_jit_and_leading_axes(pair):
    sharp, blurred = pair
    fit = jax.jit(lambda *images: blurjax.fit(*images, family="motion", **OPTIONS))
    answer = fit(jnp.stack([sharp, sharp[::-1]]), jnp.stack([blurred, blurred[::-1]]))
    assert answer.family == "motion" and answer.kernel.shape == (2, 9, 9)
    np.testing.assert_allclose(answer.parameters["length"], 6, atol=0.15)
    # The photograph upside down: the motion goes the other way.
    np.testing.assert_allclose(answer.parameters["angle"], [0.7, np.pi - 0.7], atol=0.02)


@pytest.mark.slow
def test_a_family_of_ones_own():
    def double_image(distance, share, *, size):
        shifted = psf.trajectory(
            jnp.stack([jnp.zeros_like(distance), distance], axis=-1)[..., None, :], size=size
        )
        still = jnp.zeros_like(shifted).at[..., size // 2, size // 2].set(1)
        return (1 - share) * still + share * shifted

    family = psf.Family(
        double_image, (psf.Parameter("distance", 1.0, 6.0), psf.Parameter("share", 0.0, 1.0))
    )
    sharp = crops(1, 72, 6)[0]
    seen = imaging.blur(sharp, double_image(jnp.float32(3.4), jnp.float32(0.3), size=15))
    answer = blurjax.fit(sharp, seen, family=family, size=15, starts=3, steps=40)
    assert answer.family == "custom"
    np.testing.assert_allclose(answer.parameters["distance"], 3.4, rtol=1e-3)
    np.testing.assert_allclose(answer.parameters["share"], 0.3, atol=1e-3)


@pytest.mark.slow
def test_what_the_images_do_not_tell_has_an_infinite_error():
    stripes = jnp.tile(jnp.sin(jnp.arange(48.0)) / 2 + 0.5, (48, 1)).astype(jnp.float32)
    answer = blurjax.fit(stripes, stripes, family="defocus", size=9, start={"radius": 0.3}, steps=5)
    assert np.isinf(answer.standard_errors["radius"]) and np.isfinite(answer.loss)


@pytest.mark.slow
def test_large_images_and_margins_use_the_same_pixels():
    sharp = crops(1, 200, 7)[0]
    seen = imaging.blur(sharp, psf.defocus(2.3, size=7))
    for options in ({}, {"margin": 20}):
        answer = blurjax.fit(
            sharp, seen, family="defocus", size=7, start={"radius": 2.0}, steps=20, **options
        )
        np.testing.assert_allclose(answer.parameters["radius"], 2.3, rtol=1e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"family": "box"}, "family is 'box'; choose one of gaussian, motion, defocus"),
        ({"family": "motion", "start": {"length": 3.0}}, "give a value for length and angle"),
        ({"family": "gaussian", "start": {"sigma": 0.0}}, "the start of sigma is 0.*above 0"),
        ({"family": "gaussian", "steps": 0}, "steps is 0; it must be 1 or more"),
        ({"family": "gaussian", "margin": 2}, "margin is 2; with size 9 .* from 4 to"),
        ({"family": "all", "start": {"sigma": 1.0}}, "name the family that it is for"),
        ({"family": "gaussian", "size": 89}, "fewer than 8 valid pixels"),
    ],
)
def test_refuses(pair, options, message):
    with pytest.raises(ValueError, match=message):
        blurjax.fit(*pair, **{"size": 9, **options})


def test_refuses_images(pair):
    sharp, blurred = pair
    with pytest.raises(ValueError, match="79x90 and sharp 90x90; they must be of equal size"):
        blurjax.fit(sharp, blurred[:-11], family="gaussian", size=9)
    with pytest.raises(ValueError, match="sharp is constant"):
        blurjax.fit(jnp.ones_like(sharp), blurred, family="gaussian", size=9)
    with pytest.raises(ValueError, match="blurred holds values that are not finite"):
        blurjax.fit(sharp, blurred.at[3, 3].set(jnp.nan), family="gaussian", size=9)
    with pytest.raises(TypeError, match="sharp has dtype uint8"):
        blurjax.fit(np.zeros((90, 90), np.uint8), blurred, family="gaussian", size=9)
    with pytest.raises(ValueError, match='family="all" chooses by looking'):
        blurjax.fit(sharp[None], blurred[None], family="all", size=9)
