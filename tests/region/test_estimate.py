import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from blurjax import checkpoint, region, weights
from blurjax.region import Config, Prediction, _estimate

CONFIG = Config(body="gabor")
SIZE = 64
VARIABLES = {"of": "a stand-in"}


def places(height, width):
    """An image of which every pixel says where it is."""
    rows, columns = np.mgrid[:height, :width]
    return ((1024 * rows + columns) / 2**21).astype(np.float32)


def corners_of(windows):
    """Row and column of the windows of such an image."""
    place = np.rint(np.asarray(windows, np.float64)[:, 0, 0] * 2**21).astype(int)
    return np.stack([place // 1024, place % 1024], axis=1)


@pytest.fixture(scope="module")
def photograph():
    return places(300, 260)


@pytest.fixture
def peaks(monkeypatch):
    """The scorer knows how good every window is: the nearer to a place, the better."""
    given, seen = {}, []

    def known(variables, windows, *, config):
        assert variables == VARIABLES and config == CONFIG
        assert len(windows) == 16 and windows.dtype == jnp.float32
        corners = corners_of(windows)
        seen.append(corners)
        far = [
            height * np.exp(-np.abs(corners - place).max(axis=1) / 20)
            for place, height in given.items()
        ]
        return Prediction(jnp.asarray(np.max(far, axis=0), jnp.float32))

    monkeypatch.setattr(_estimate, "_predict", known)
    return given, seen


def find(image, **options):
    return region.estimate(image, VARIABLES, CONFIG, size=SIZE, **options)


@pytest.mark.parametrize("place", [(100, 130), (0, 0), (236, 196), (37, 191), (235, 3)])
def test_the_best_window_is_found_to_within_the_last_step(peaks, photograph, place):
    given, _ = peaks
    given[place] = 0.9
    found = find(photograph)
    assert found.status == "ok" and found.boxes.shape == (1, 4)
    np.testing.assert_array_equal(found.boxes[0, 2:], SIZE)
    # The coarse stride is 16 px, the last one 4: within half of it, but at the border, where the
    # next window of that stride is not inside.
    away = np.abs(found.boxes[0, :2] - place).max()
    assert away <= 4
    assert found.scores.dtype == np.float32
    assert found.scores[0] == pytest.approx(0.9 * np.exp(-away / 20), rel=1e-5)


def test_the_map_holds_the_windows_of_the_grid(peaks, photograph):
    given, _ = peaks
    given[100, 130] = 0.9
    found = find(photograph)
    # 16 px apart or a little less, so that they reach the borders.
    rows, columns = (np.linspace(0, n - SIZE, k).astype(int) for n, k in ((300, 16), (260, 14)))
    corners = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    assert found.score_map.shape == (16, 14) and found.map_boxes.shape == (16, 14, 4)
    np.testing.assert_array_equal(found.map_boxes[..., :2].reshape(-1, 2), corners)
    np.testing.assert_array_equal(found.map_boxes[..., 2:], SIZE)
    expected = 0.9 * np.exp(-np.abs(found.map_boxes[..., :2] - (100, 130)).max(axis=-1) / 20)
    np.testing.assert_allclose(found.score_map, expected, rtol=1e-5)
    assert found.scores[0] >= found.score_map.max()


def test_further_windows_are_apart_and_worse(peaks, photograph):
    given, _ = peaks
    given |= {(20, 20): 0.9, (30, 44): 0.65, (200, 50): 0.5, (120, 180): 0.6}
    found = find(photograph, top=4)
    corners = found.boxes[:, :2]
    assert found.boxes.shape == (4, 4) and found.scores.shape == (4,)
    # The second peak's window would overlap the first's by more than half.
    for corner, place in zip(corners, ((20, 20), (120, 180), (200, 50)), strict=False):
        assert np.abs(corner - place).max() <= 4
    assert np.all(np.diff(found.scores[:3]) < 0)
    apart = np.abs(corners[:, None] - corners[None]).max(axis=-1)
    assert np.all(apart[~np.eye(4, dtype=bool)] >= SIZE / 2)
    assert corners.min() >= 0 and np.all(corners + SIZE <= photograph.shape)
    best = find(photograph)
    np.testing.assert_array_equal(best.boxes[0], found.boxes[0])


def test_where_no_more_fit_there_are_fewer(peaks, photograph):
    given, _ = peaks
    given[0, 0] = 0.9
    found = find(photograph[:70, :110], top=10)
    # In a row of 110 px: at 0, and half a window away.
    assert 1 < len(found.boxes) < 10 and len(found.scores) == len(found.boxes)
    one = find(photograph[:64, :64], top=3)
    assert one.boxes.tolist() == [[0, 0, 64, 64]] and one.score_map.shape == (1, 1)


def test_large_images_have_a_wider_grid(peaks):
    given, seen = peaks
    given[1200, 55] = 0.9
    found = find(places(1900, 500))
    assert 128 < found.score_map.size <= 256
    # And 8 in each of two halvings, filled up.
    assert 16 * len(seen) <= 256 + 2 * 16
    stride = found.map_boxes[1, 0, 0]
    assert stride > 16
    assert np.abs(found.boxes[0, :2] - (1200, 55)).max() <= stride // 2


def test_gray_and_colour_and_integers_are_taken(monkeypatch):
    seen = []

    def flat(variables, windows, *, config):
        seen.append(np.asarray(windows))
        return Prediction(jnp.full(len(windows), 0.5, jnp.float32))

    monkeypatch.setattr(_estimate, "_predict", flat)
    gray = np.random.default_rng(0).integers(0, 256, (80, 90)).astype(np.uint8)
    images = (
        gray,
        gray.astype(np.uint16) * 257,
        (gray / 255).astype(np.float32),
        np.repeat(gray[..., None], 3, axis=2),
        jnp.asarray(gray),
    )
    for image in images:
        assert find(image).status == "ok"
    coarse = seen[:: len(seen) // len(images)]
    for other in coarse[1:]:
        np.testing.assert_allclose(other, coarse[0], atol=1e-4)
    np.testing.assert_allclose(coarse[0][0], gray[:64, :64] / 255, atol=1e-6)


def test_images_without_an_answer_say_why(peaks):
    for shape in ((227, 400), (400, 227)):
        small = region.estimate(np.random.default_rng(0).random(shape), VARIABLES, CONFIG)
        assert small.status == (
            f"image is {shape[0]}x{shape[1]} pixels; region needs at least 228x228"
        )
    assert "at least 64x64" in find(np.full((63, 100), 0.2)).status
    flat = find(np.full((100, 100), 0.4))
    assert flat.status == "too little texture: the image is flat"
    assert not peaks[1]
    for found in (small, flat):
        assert found.boxes.shape == (0, 4) and found.scores.shape == (0,)
        assert found.score_map.shape == (0, 0) and found.map_boxes.shape == (0, 0, 4)


def test_bad_requests_are_refused(photograph, monkeypatch):
    for wrong in ({"size": 63}, {"top": 0}, {"size": -1}):
        with pytest.raises(ValueError, match=r"^size is .* and top .*; windows have 64 px or more"):
            region.estimate(photograph, VARIABLES, CONFIG, **wrong)
    monkeypatch.setattr(_estimate, "_shipped", lambda: (VARIABLES, Config(width=12)))
    with pytest.raises(ValueError, match=r"gabor.*without variables; pass both, as from `load`"):
        region.estimate(photograph, config=CONFIG)
    for image in (np.zeros(300), np.full((300, 300), np.nan), np.full((300, 300), 7.0)):
        with pytest.raises(ValueError):
            find(image)


def test_without_variables_the_shipped_ones_are_taken(peaks, photograph, monkeypatch):
    given, _ = peaks
    given[10, 10] = 0.9
    monkeypatch.setattr(_estimate, "_shipped", lambda: (VARIABLES, CONFIG))
    for config in (None, CONFIG):
        found = region.estimate(photograph, config=config, size=SIZE)
        np.testing.assert_array_equal(found.boxes, find(photograph).boxes)


# ---- the scores of given windows


@pytest.mark.parametrize("n", [0, 1, 16, 21])
def test_any_number_of_windows_is_scored_each_in_its_place(peaks, photograph, n):
    given, seen = peaks
    given[120, 90] = 0.9
    corners = np.random.default_rng(0).integers(0, (237, 197), (n, 2))
    found = region.scores(photograph, corners, VARIABLES, CONFIG, size=SIZE)
    expected = 0.9 * np.exp(-np.abs(corners - (120, 90)).max(axis=1, initial=0) / 20)
    assert found.shape == (n,) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert len(seen) == -(-n // 16)


def test_windows_that_are_not_inside_are_refused(photograph):
    for wrong in ((-1, 0), (0, -1), (237, 0), (0, 197)):
        with pytest.raises(ValueError, match=r"windows of 64 px .* inside .* 300x260; make"):
            region.scores(photograph, np.array([(0, 0), wrong]), VARIABLES, CONFIG, size=SIZE)


@pytest.fixture(scope="module")
def variables():
    fresh = region.init(jax.random.key(0), CONFIG)
    kernel = 0.1 * jax.random.normal(jax.random.key(1), (66,), jnp.float32)
    return {**fresh, "params": {"gabor": {"kernel": kernel, "bias": jnp.float32(0)}}}


def test_scores_are_exactly_those_of_the_windows(variables):
    image = np.random.default_rng(0).random((90, 90)).astype(np.float32) ** 3
    corners = np.array([(0, 0), (26, 26), (3, 17)])
    found = region.scores(image, corners, variables, CONFIG, size=SIZE)
    windows = jnp.stack([image[r : r + SIZE, c : c + SIZE] for r, c in corners])
    expected = jax.jit(region.predict, static_argnames="config")(variables, windows, CONFIG).score
    np.testing.assert_allclose(found, expected, atol=1e-6)
    with pytest.raises(ValueError, match=r"windows are 40x40 pixels.*64x64"):
        region.scores(image, corners, variables, CONFIG, size=40)


def test_weights_come_from_files_and_checkpoints(variables, tmp_path, monkeypatch):
    file = weights.save(tmp_path / "some.npz", variables, CONFIG, {"note": "random"})
    loaded, config = region.load(file)
    assert config == CONFIG and jax.tree.structure(loaded) == jax.tree.structure(variables)
    for a, b in zip(*map(jax.tree.leaves, (variables, loaded)), strict=True):
        assert b.dtype == jnp.float32
        np.testing.assert_allclose(a, b, atol=1e-3)  # float16
    meta = {"config": dataclasses.asdict(CONFIG)}
    checkpoint.save(tmp_path / "run", 1, {"variables": variables}, meta)
    assert region.load(tmp_path / "run")[1] == CONFIG
    with pytest.raises(weights.WeightsError, match=r"none\.npz"):
        region.load(tmp_path / "none.npz")
    # The names of those in the package.
    monkeypatch.setattr(weights, "path", lambda name: tmp_path / f"{name}.npz")
    for name, stem in {None: "region", "gabor": "region_gabor"}.items():
        weights.save(tmp_path / f"{stem}.npz", variables, CONFIG, {"note": stem})
        assert region.load(name)[1] == CONFIG


def test_larger_windows_are_worth_the_mean_of_those_in_them(peaks):
    """A quarter of 228 px apart or less, from border to border."""
    given, seen = peaks
    given[40, 50] = 0.9
    image = places(330, 320)
    corners = np.array([(0, 0), (30, 20), (7, 3)])
    found = region.scores(image, corners, VARIABLES, CONFIG, size=300)
    offsets = np.array([(i, j) for i in (0, 36, 72) for j in (0, 36, 72)])
    away = np.abs(corners[:, None] + offsets[None] - (40, 50)).max(axis=-1)
    np.testing.assert_allclose(found, (0.9 * np.exp(-away / 20)).mean(axis=1), rtol=1e-5)
    with pytest.raises(ValueError, match="not all inside"):
        region.scores(image, np.array([(31, 0)]), VARIABLES, CONFIG, size=300)
    # All 27 parts in two programs.
    assert len(seen) == 2
    none = region.scores(image, np.zeros((0, 2), int), VARIABLES, CONFIG, size=300)
    assert none.shape == (0,) and none.dtype == np.float32
    # There is nothing finer than the grid.
    best = region.estimate(image, VARIABLES, CONFIG, size=290)
    assert best.status == "ok" and np.all(best.boxes[:, :2] + 290 <= image.shape)
    np.testing.assert_array_equal(best.boxes[:, 2:], 290)
    assert best.scores[0] == pytest.approx(float(best.score_map.max()))
