"""Labels of region: what is in a shard is a function of the command, and of nothing else."""

import dataclasses
import itertools
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import convolve2d

from blurjax import data, images, psf, region
from train import region_labels
from train.configs.region import LABELS, Factory

WINDOW = 40
TINY = Factory(
    pairs=5, windows=3, validated=4, stride=8, sizes=(7, 11), smallest=5, side=64, shard=2
)


class Photographs(list):
    """A source in memory."""

    @property
    def names(self):
        return tuple(f"{i}.png" for i in range(len(self)))


def noise(*shapes):
    rng = np.random.default_rng(0)
    return Photographs(rng.random(shape).astype(np.float32) for shape in shapes)


@pytest.fixture
def small(monkeypatch):
    """Small windows, and labels that are made at once: the mean of a window, a bit more for each
    pixel of the kernel's array."""
    calls = SimpleNamespace(programs=0)

    def label(windows, truth, *, size):
        assert windows.shape == (8, WINDOW, WINDOW) and windows.dtype == jnp.float32
        assert truth.shape == (size, size)
        calls.programs += 1
        return region.Label(windows.mean((1, 2)) + size / 1000, None)

    monkeypatch.setattr(region, "WINDOW", WINDOW)
    monkeypatch.setattr(region, "label", label)
    monkeypatch.setitem(LABELS, "compact", TINY)
    return calls


@pytest.fixture
def undrawn(monkeypatch):
    """A kernel of its own for every random key, without a program."""

    def kernel(key, extent, *, size):
        seed = np.asarray(jax.random.key_data(key))
        marked = np.random.default_rng(seed).random((size, size))
        return jnp.asarray(marked / marked.sum(), jnp.float32)

    monkeypatch.setattr(region_labels, "_kernel", kernel)


def same(a, b):
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


# ---- one pair


def test_a_pair_is_a_function_of_its_number(small):
    source = noise((90, 100), (80, 120), (95, 95))
    of = {
        (number, seed, validation): region_labels.pair(
            source, TINY, number, seed, validation=validation
        )
        for number, seed, validation in itertools.product((0, 1, 7), (0, 1), (False, True))
    }
    for (number, seed, validation), one in of.items():
        again = region_labels.pair(source, TINY, number, seed, validation=validation)
        assert same(one, again)
        size = TINY.sizes[number % 2]
        assert one.kernel.shape == (size, size) and one.kernel.sum() == pytest.approx(1, abs=1e-5)
        assert one.image.dtype == np.uint8 and max(one.image.shape) <= 64
        # Windows of the grid, each once, in its order.
        assert one.corners.shape == (4 if validation else 3, 2)
        grid = region.grid(one.image.shape, WINDOW, 8).tolist()
        places = [grid.index(corner) for corner in one.corners.tolist()]
        assert places == sorted(set(places))
    for a, b in itertools.combinations(of.values(), 2):
        assert not np.array_equal(a.image, b.image) and not np.array_equal(a.kernel, b.kernel)


def test_kernels_are_of_their_size_class(small):
    source = noise((90, 100))
    found = {7: set(), 11: set()}
    for number in range(24):
        kernel = region_labels.pair(source, TINY, number, 0, validation=False).kernel
        found[len(kernel)].add(int(np.max(psf.extent(jnp.asarray(kernel)))))
    # Measured with a tail of little weight less.
    assert max(found[7]) <= 7 and min(found[7]) >= 4
    assert max(found[11]) <= 11 and min(found[11]) >= 7
    assert len(found[7]) > 1 and len(found[11]) > 1


def test_a_photograph_is_turned_blurred_where_it_is_known_and_rounded(small):
    quiet = dataclasses.replace(TINY, noise=(1e-6, 1e-6))
    for number in range(4):
        size = TINY.sizes[number % 2]
        source = noise((64 + size - 1,) * 2)
        one = region_labels.pair(source, quiet, number, 0, validation=False)
        assert one.photograph == 0 and one.image.shape == (64, 64)
        away = [
            np.abs(convolve2d(turned, one.kernel, mode="valid") * 255 - one.image).max()
            for flat in (source[0], source[0].T)
            for turned in (flat, flat[::-1], flat[:, ::-1], flat[::-1, ::-1])
        ]
        assert sorted(away)[0] <= 0.51 and sorted(away)[1] > 5


def test_noise_is_as_wide_as_asked_for(small, undrawn):
    loud = dataclasses.replace(TINY, noise=(5 / 255, 5 / 255))
    one = region_labels.pair(
        Photographs([np.full((90, 90), 0.5, np.float32)]), loud, 0, 0, validation=False
    )
    assert one.image.std() == pytest.approx(5, rel=0.05)
    assert one.image.mean() == pytest.approx(127.5, abs=0.5)


def test_the_published_arrangement_is_each_photograph_by_each_kernel(small, undrawn):
    plan = LABELS["seed"]
    assert (plan.photographs, plan.kernels, plan.pairs) == (30, 32, 960)
    assert plan.windows is None and (plan.side, plan.stride) == (450, 20)
    tiny = dataclasses.replace(plan, sizes=TINY.sizes, smallest=5, side=44, validated=1)
    source = noise(*[(60, 60)] * 33)
    pairs = [
        region_labels.pair(source, tiny, number, 0, validation=False)
        for number in itertools.chain(range(64), range(0, 960, 32), range(31, 960, 32))
    ]
    assert [one.photograph for one in pairs[:64]] == [pairs[0].photograph] * 32 + [
        pairs[32].photograph
    ] * 32
    assert len({one.photograph for one in pairs[64:94]}) == 30
    assert same([one.kernel for one in pairs[:32]], [one.kernel for one in pairs[32:64]])
    assert len({one.kernel.tobytes() for one in pairs[:32]}) == 32
    assert all(np.array_equal(one.kernel, pairs[31].kernel) for one in pairs[94:])
    # All windows of a photograph: 4 pixels of room are none for a stride of 20.
    assert all(one.corners.tolist() == [[0, 0]] for one in pairs)
    # In validation as elsewhere: a kernel for each pair.
    some = [region_labels.pair(source, tiny, i, 0, validation=True) for i in range(0, 96, 32)]
    assert len({one.kernel.tobytes() for one in some}) == 3


def test_photographs_that_are_too_small_are_passed_over(small, undrawn):
    source = noise((20, 200), (47, 47), (90, 90), (9, 9))
    for number in range(8):
        assert region_labels.pair(source, TINY, number, 0, validation=False).photograph == 2
    said = r"^none of 2 photographs has 3 windows of 40 px when blurred by 7 px; give larger ones$"
    with pytest.raises(ValueError, match=said):
        region_labels.pair(noise((50, 50), (9, 9)), TINY, 0, 0, validation=False)


def test_every_window_has_a_label_of_its_own(small):
    one = region_labels.pair(noise((90, 100)), TINY, 1, 0, validation=False)
    for n in (1, 3, 8, 13):
        corners = region.grid(one.image.shape, WINDOW, 8)[:n]
        found = region_labels.labels(one._replace(corners=corners))
        expected = [one.image[r : r + WINDOW, c : c + WINDOW].mean() / 255 for r, c in corners]
        np.testing.assert_allclose(found, np.array(expected) + 0.011, atol=1e-5)
    assert small.programs == 1 + 1 + 1 + 2


# ---- folders


def make(folder, **options):
    return region_labels.make("compact", out=folder, quiet=True, **options)


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.npz"))}


def test_shards_are_made_once_and_alike(small, tmp_path, capsys):
    folder = make(tmp_path / "a")
    whole = contents(folder)
    # 5 pairs are two shards and a half; of validation there is a tenth of them.
    assert list(whole) == [
        "train-00000.npz", "train-00001.npz", "train-00002.npz", "validation-00000.npz",
    ]  # fmt: skip
    made = small.programs
    times = {path: path.stat().st_mtime_ns for path in folder.glob("*.npz")}
    lost = folder / "train-00001.npz"
    lost.unlink()
    region_labels.make("compact", out=folder)
    said = capsys.readouterr().err
    assert "3 of 4 shards are there" in said and f"labels in {folder}" in said
    assert "train-00001.npz: 1 of 1 shards" in said
    assert contents(folder) == whole and small.programs < 2 * made
    for path, when in times.items():
        assert path == lost or path.stat().st_mtime_ns == when
    # More pairs later leave those there alone.
    make(folder, pairs=8)
    assert len(contents(folder)) == 5 and whole.items() <= contents(folder).items()
    assert not list(folder.glob("*.tmp"))


def test_parts_share_the_work(small, tmp_path):
    whole = contents(make(tmp_path / "whole"))
    first = contents(make(tmp_path / "parts", part=1, parts=2))
    assert list(first) == ["train-00001.npz"]
    assert contents(make(tmp_path / "parts", part=0, parts=2)) == whole
    for part, parts in ((2, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match=r"^part is .* count from 0 to parts - 1$"):
            make(tmp_path / "parts", part=part, parts=parts)


def test_a_folder_of_other_labels_is_refused(small, tmp_path, monkeypatch):
    folder = make(tmp_path / "a", pairs=1)
    before = contents(folder)
    with pytest.raises(ValueError, match="holds labels made otherwise"):
        make(folder, seed=1)
    with pytest.raises(ValueError, match="other photographs"):
        for name in ("a.png", "b.png", "c.png"):
            (tmp_path / "photographs").mkdir(exist_ok=True)
            grain = np.random.default_rng(ord(name[0])).random((90, 90))
            images.write(tmp_path / "photographs" / name, grain)
        make(folder, images=(tmp_path / "photographs",))
    monkeypatch.setitem(LABELS, "compact", dataclasses.replace(TINY, stride=4))
    with pytest.raises(ValueError, match="holds labels made otherwise"):
        make(folder)
    assert contents(folder) == before


def test_what_is_read_are_the_windows_that_were_written(small, tmp_path):
    folder = make(tmp_path / "a")
    for part, pairs, windows in (("train", 6, 3), ("validation", 2, 4)):
        found = region_labels.read(folder, part)
        assert found.images.dtype == np.uint8 and len(found.images) == pairs
        np.testing.assert_array_equal(found.image, np.repeat(np.arange(pairs), windows))
        np.testing.assert_array_equal(found.size, np.repeat([7, 11] * (pairs // 2), windows))
        source = data.embedded(part)
        n = 0
        for number in range(pairs):
            one = region_labels.pair(source, TINY, number, 0, validation=part == "validation")
            height, width = one.image.shape
            np.testing.assert_array_equal(found.images[number, :height, :width], one.image)
            assert not found.images[number, height:].any()
            assert not found.images[number, :, width:].any()
            for row, column in one.corners:
                np.testing.assert_array_equal(found.corner[n], (row, column))
                window = one.image[row : row + WINDOW, column : column + WINDOW]
                expected = window.mean() / 255 + len(one.kernel) / 1000
                assert found.similarity[n] == pytest.approx(expected, abs=1e-5)
                n += 1
        assert n == len(found.similarity) == len(found.corner)
    about = region_labels.listing(folder)
    assert about["train"] == len(data.embedded("train"))
    assert json.loads((folder / "labels.json").read_text())["preset"] == "compact"


def test_photographs_of_many_shapes_are_read_into_one_array(small, undrawn, tmp_path):
    source = noise((70, 56), (56, 70), (60, 65))
    pairs = [region_labels.pair(source, TINY, i, 0, validation=False) for i in (0, 2, 4)]
    similarity = [np.full(3, 0.1 * i) for i in range(3)]
    region_labels._write(tmp_path / "train-00000.npz", pairs[:2], similarity[:2])
    region_labels._write(tmp_path / "train-00001.npz", pairs[2:], similarity[2:])
    found = region_labels.read(tmp_path, "train")
    assert found.images.shape[1:] == tuple(np.max([one.image.shape for one in pairs], axis=0))
    for levels, one in zip(found.images, pairs, strict=True):
        np.testing.assert_array_equal(levels[: one.image.shape[0], : one.image.shape[1]], one.image)
    np.testing.assert_array_equal(found.image, [0] * 3 + [1] * 3 + [2] * 3)


def test_without_labels_it_is_said_how_to_make_them(tmp_path):
    with pytest.raises(ValueError, match=r"no labels of train; make them with .* region_labels$"):
        region_labels.read(tmp_path, "train")


@pytest.mark.slow
def test_real_windows_have_real_labels(float32, tmp_path, monkeypatch):
    """Of photographs blurred by small shakes kernels are found in most windows of 96 pixels, and
    in some better than in others."""
    monkeypatch.setattr(region, "WINDOW", 96)
    plan = Factory(
        pairs=4, windows=6, validated=8, stride=20, sizes=(9,), smallest=7, side=200, shard=4
    )
    monkeypatch.setitem(LABELS, "compact", plan)
    folder = region_labels.make("compact", out=tmp_path, quiet=True)
    for part in region_labels.PARTS:
        found = region_labels.read(folder, part)
        assert np.all((found.similarity >= 0) & (found.similarity <= 1 + 1e-5))
        assert np.median(found.similarity) > 0.6 and np.ptp(found.similarity) > 0.05


def test_kinship_is_the_correlation_of_neighbours():
    similarity = np.array([0.1, 0.3, 0.5, 0.7, 0.6, 0.6, 0.2], np.float32)
    labelled = region.Labelled(
        np.zeros((2, 300, 300), np.uint8),
        np.array([0, 0, 0, 0, 1, 1, 1]),
        np.array([[0, 0], [0, 20], [0, 40], [20, 60], [0, 0], [20, 20], [60, 0]]),
        similarity,
        np.full(7, 15),
    )
    first, second = similarity[:4] - 0.4, similarity[4:] - similarity[4:].mean()
    products = [
        first[0] * first[1],
        first[1] * first[2],
        first[2] * first[3],
        second[0] * second[1],
    ]
    spread = (np.mean(first**2) + np.mean(second**2)) / 2
    found = region_labels.kinship(labelled, 20)
    assert found == pytest.approx(np.mean(products) / spread, rel=1e-5)
    assert np.isnan(region_labels.kinship(labelled, 300))


def test_a_damaged_shard_is_named(small, tmp_path):
    folder = make(tmp_path / "a", pairs=1)
    shard = folder / "train-00000.npz"
    whole = bytearray(shard.read_bytes())
    for damaged in (whole[: len(whole) // 2], b"", bytes(len(whole))):
        shard.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"train-00000.npz: damaged .*; remove it") as caught:
            region_labels.read(folder, "train")
        assert "\n" not in str(caught.value)
    # A flipped bit in the pixels.
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 1
    shard.write_bytes(flipped)
    with pytest.raises(ValueError, match="damaged"):
        region_labels.read(folder, "train")
