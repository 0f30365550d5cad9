import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import data, imaging, metrics, psf, region
from blurjax.region import Config, Labelled

SIDE = region.WINDOW
COUNTS = (5, 1, 7, 4)


@pytest.fixture(scope="module")
def store():
    """Four photographs of noise: every window of it is unlike all others, however turned."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 250, 260)).astype(np.uint8)
    images[3, 240:] = 0  # Smaller than the others.
    corners = np.concatenate(
        [
            rng.permutation(region.grid((240 if i == 3 else 250, 260), SIDE, 5))[:count]
            for i, count in enumerate(COUNTS)
        ]
    )
    n = sum(COUNTS)
    return Labelled(
        images,
        np.repeat(np.arange(4), COUNTS).astype(np.int32),
        corners.astype(np.int32),
        np.linspace(0.1, 0.9, n).astype(np.float32),
        np.full(n, 15, np.int32),
    )


def draw(store, seed, n=16, together=4):
    return region.sample(jax.random.key(seed), store, Config(), n=n, together=together)


def turned(window):
    """All eight symmetries."""
    for over, down, across in itertools.product((False, True), repeat=3):
        x = window.T if over else window
        x = x[::-1] if down else x
        yield (over, down, across), x[:, ::-1] if across else x


def origin(window, image, store):
    """Which window of the store it is, how turned, and whether negative."""
    found = []
    for place in np.flatnonzero(store.image == image):
        row, column = store.corner[place]
        levels = store.images[image, row : row + SIDE, column : column + SIDE]
        for negative, said in ((False, levels), (True, 255 - levels)):
            for way, x in turned(said.astype(np.int32)):
                if np.array_equal(x, window):
                    found.append((int(place), way, negative))
    assert len(found) == 1
    return found[0]


@pytest.fixture(scope="module")
def drawn(store):
    """Batches, and where each of their windows is from."""
    batches = [draw(store, seed) for seed in range(8)]
    levels = [np.asarray(batch.windows) * 255 for batch in batches]
    for x in levels:
        np.testing.assert_allclose(x, np.rint(x), atol=1e-3)
    return [
        (
            batch,
            [
                origin(window, int(image), store)
                for window, image in zip(np.rint(x).astype(np.int32), batch.image, strict=True)
            ],
        )
        for batch, x in zip(batches, levels, strict=True)
    ]


def test_windows_are_those_of_the_store_turned_and_mirrored(store, drawn):
    places, ways, negatives = set(), [], []
    for batch, origins in drawn:
        assert batch.windows.shape == (16, SIDE, SIDE) and batch.windows.dtype == jnp.float32
        for (place, way, negative), similarity, image in zip(
            origins, np.asarray(batch.similarity), np.asarray(batch.image), strict=True
        ):
            assert similarity == store.similarity[place] and image == store.image[place]
            places.add(place)
            ways.append(way)
            negatives.append(negative)
    # Of 128 draws each of 17 windows and each symmetry comes up, and a quarter are negative.
    assert places == set(range(17)) and len(set(ways)) == 8
    assert 0.1 < np.mean(negatives) < 0.4


def test_windows_of_one_photograph_stand_together_and_differ(store, drawn):
    for batch, origins in drawn:
        image = np.asarray(batch.image).reshape(4, 4)
        assert np.all(image == image[:, :1])
        for i, owner in enumerate(image[:, 0]):
            group = {place for place, _, _ in origins[4 * i : 4 * i + 4]}
            assert len(group) == min(4, COUNTS[owner])


def test_photographs_are_drawn_by_their_windows(drawn):
    owners = np.concatenate([np.asarray(batch.image)[::4] for batch, _ in drawn])
    count = np.bincount(owners, minlength=4)
    assert count[2] > count[1] and count.sum() == 32


def test_the_same_key_gives_the_same_batch(store):
    for a, b in zip(draw(store, 3), draw(store, 3), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(draw(store, 3).windows, draw(store, 4).windows)
    device = Labelled(*map(jnp.asarray, store))
    for a, b in zip(draw(store, 3), draw(device, 3), strict=True):
        np.testing.assert_array_equal(a, b)


def test_bad_requests_are_refused(store):
    with pytest.raises(ValueError, match=r"^n is 10; .*multiple of together, which is 4"):
        draw(store, 0, n=10)
    small = store._replace(images=store.images[:, :200])
    with pytest.raises(ValueError, match=r"^photographs are 200x260; a window has 228x228"):
        draw(small, 0)


# ---- labels


@functools.cache
def blurred():
    sharp = data.dead_leaves(jax.random.key(0), size=48)
    kernel = psf.motion(4.0, 0.5, size=5)
    return imaging.blur(sharp, kernel), kernel


def test_of_a_blurred_scene_the_kernel_is_found():
    image, kernel = blurred()
    windows = jnp.stack([image, jnp.full_like(image, 0.5)])
    found = region.label(windows, kernel, size=5)
    assert found.similarity.shape == (2,) and found.kernels.shape == (2, 5, 5)
    assert float(found.similarity[0]) > 0.8
    assert np.all(np.isfinite(found.similarity)) and float(found.similarity[1]) < 0.8
    expected = metrics.kernel_similarity(found.kernels, kernel)
    np.testing.assert_allclose(found.similarity, expected, atol=1e-5)


@pytest.mark.slow
def test_windows_are_labelled_each_by_itself():
    """Alone, and against kernels of their own."""
    image, kernel = blurred()
    windows, kernels = jnp.stack([image, image.T]), jnp.stack([kernel, kernel.T])
    both = region.label(windows, kernels, size=5)
    assert float(both.similarity.min()) > 0.8
    for i in range(2):
        alone = region.label(windows[i : i + 1], kernels[i], size=5)
        np.testing.assert_allclose(alone.similarity[0], both.similarity[i], atol=1e-4)
        np.testing.assert_allclose(alone.kernels[0], both.kernels[i], atol=1e-4)
    other = region.label(windows[:1], kernel, size=5, prior="minimal_pixels")
    assert not np.array_equal(other.kernels[0], both.kernels[0])


def test_bad_sizes_are_refused():
    image, kernel = blurred()
    with pytest.raises(ValueError, match="size"):
        region.label(image[None], kernel, size=8)
