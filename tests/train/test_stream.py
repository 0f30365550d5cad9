"""What the host feeds: a function of the seed and the step alone."""

import functools

import numpy as np
import pytest

from blurjax import data, images
from train import stream


def _rows(count=40):
    return stream.Rows({"a": np.arange(count), "b": np.arange(3.0 * count).reshape(count, 3)})


def _equal(a, b):
    for name in a:
        np.testing.assert_array_equal(a[name], b[name])


def test_every_record_is_seen_once_an_epoch_in_another_order():
    crops = stream.Crops(_rows(), rows=8, seed=1)
    seen = np.concatenate([crops.at(step)["a"][0] for step in range(10)])
    assert sorted(seen[:40]) == sorted(seen[40:]) == list(range(40))
    assert (seen[:40] != seen[40:]).any() and (seen[:40] != np.arange(40)).any()
    batch = crops.at(3)
    np.testing.assert_array_equal(batch["b"][..., 0], 3 * batch["a"])


@pytest.mark.parametrize("start", (0, 7))
def test_reading_ahead_changes_nothing(start):
    crops = stream.Crops(_rows(), rows=8, seed=1, accumulate=2)
    batches = crops.batches(start)
    for step in range(start, start + 6):
        batch = next(batches)
        assert batch["b"].shape == (2, 4, 3)
        _equal(batch, crops.at(step))
    batches.close()


def test_processes_share_each_batch():
    whole = stream.Crops(_rows(), rows=8, seed=1, accumulate=2).at(5)
    shares = [
        stream.Crops(_rows(), rows=8, seed=1, accumulate=2, process=p, processes=4)
        for p in range(4)
    ]
    parts = [share.at(5) for share in shares]
    _equal({k: np.concatenate([part[k] for part in parts], axis=1) for k in whole}, whole)
    assert {share.identity for share in shares} == {
        stream.Crops(_rows(), rows=8, seed=1, accumulate=2).identity
    }
    assert stream.Crops(_rows(), rows=8, seed=2).identity != shares[0].identity


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="9 crops a step do not divide among 2 pieces"):
        stream.Crops(_rows(), rows=9, seed=1, accumulate=2)
    with pytest.raises(ValueError, match="all must begin with the same"):
        stream.Rows({"a": np.zeros(3), "b": np.zeros(4)})
    with pytest.raises(ValueError, match="nothing to feed"):
        stream.Crops(stream.Mixture(), rows=8, seed=1)


@pytest.fixture
def folder(tmp_path):
    """Four photographs, a small one, and three files that are none."""
    rng = np.random.default_rng(0)
    for i in range(4):
        images.write(tmp_path / f"good{i}.png", rng.random((50, 60 + i)))
    images.write(tmp_path / "small.png", rng.random((20, 60)))
    whole = (tmp_path / "good0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.png").write_text("no image")
    return tmp_path


_square = functools.partial(stream.square, side=32, factors=(1.0, 1.5))


def test_broken_photographs_are_skipped_and_counted(folder, capsys):
    records = stream.Photographs(data.folder(folder), _square)
    crops = stream.Crops(records, rows=16, seed=3)
    found = [crops.at(step) for step in range(4)]
    assert found[0].shape == (1, 16, 32, 32) and found[0].dtype == np.uint8
    assert records.skipped == {"cut.png", "empty.jpg", "text.png"}
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and "skipped (3 so far)" in lines[-1]
    # Whether photographs are kept in memory is not seen.
    again = stream.Crops(stream.Photographs(data.folder(folder), _square, room=0), rows=16, seed=3)
    for step in (3, 0):
        np.testing.assert_array_equal(again.at(step), found[step])


def test_a_folder_of_nothing_else_is_an_error(folder):
    for path in folder.glob("good*"):
        path.unlink()
    crops = stream.Crops(stream.Photographs(data.folder(folder), _square), rows=4, seed=3)
    with pytest.raises(images.ImageError, match="could not be read, or were too small"):
        crops.at(0)


def test_a_mixture_has_its_shares():
    kinds = [(stream.Rows(np.full(5, i)), share) for i, share in enumerate((0.5, 0.3, 0.2, 0.0))]
    crops = stream.Crops(stream.Mixture(*kinds), rows=1000, seed=0)
    shares = np.bincount(crops.at(0)[0], minlength=4) / 1000
    np.testing.assert_allclose(shares, (0.5, 0.3, 0.2, 0.0), atol=0.05)


@pytest.mark.slow
def test_workers_change_nothing(folder):
    records = stream.Photographs(data.folder(folder), _square)
    crops = stream.Crops(records, rows=8, seed=3, workers=2)
    batches = crops.batches(2)
    for step in range(2, 7):
        np.testing.assert_array_equal(next(batches), crops.at(step))
    batches.close()
