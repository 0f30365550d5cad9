"""Levin's files are read one by one, and what is wrong with one is said in a sentence."""

import numpy as np
import pytest
from scipy.io import savemat

from blurjax import data
from blurjax.images import ImageError

RNG = np.random.default_rng(0)
SHARP, BLURRED = RNG.uniform(size=(2, 255, 255))


def save(folder, name="im05_flit01.mat", **changed):
    contents = {"x": SHARP, "y": BLURRED, "f": np.ones((3, 3)), **changed}
    savemat(folder / name, {key: value for key, value in contents.items() if value is not None})
    return folder


def test_files_are_read_in_order_when_they_are_asked_for(tmp_path):
    save(tmp_path, "im06_flit02.mat", f=np.ones((4, 2)))
    save(tmp_path)
    (tmp_path / "im07_flit01.mat").write_bytes(b"MATLAB no more")
    (tmp_path / "other.mat").write_bytes(b"")
    found = data.levin(tmp_path)
    assert found.names == ("im05_flit01", "im06_flit02", "im07_flit01") and len(found) == 3
    first, second = found[0], found[1]
    assert (first.name, second.name) == found.names[:2]
    np.testing.assert_array_equal(first.sharp, SHARP.astype(np.float32))
    np.testing.assert_array_equal(first.blurred, BLURRED.astype(np.float32))
    np.testing.assert_allclose(first.psf, np.full((3, 3), 1 / 9), rtol=1e-6)
    # The even sides get a row and a column at the end; the shorter is then put in the middle.
    expected = np.zeros((5, 5))
    expected[:4, 1:3] = 1 / 8
    np.testing.assert_allclose(second.psf, expected, rtol=1e-6)
    assert {part.dtype for part in second[1:]} == {np.dtype(np.float32)}
    with pytest.raises(ImageError, match=r"im07_flit01\.mat: the file is damaged"):
        found[2]
    with pytest.raises(IndexError):
        found[3]
    with pytest.raises(ImageError, match="im07_flit01"):
        list(found)


def test_folders_without_such_files(tmp_path):
    (tmp_path / "im05.mat").write_bytes(b"")
    with pytest.raises(ImageError, match=r"no file im05_flit01\.mat"):
        data.levin(tmp_path)
    with pytest.raises(ImageError, match="no such folder"):
        data.levin(tmp_path / "none")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"x": None}, "no variable 'x', the file holds y, f"),
        ({"f": None}, "there is no variable 'f'"),
        ({"y": BLURRED[:-1]}, r"x has shape \(255, 255\) and y \(254, 255\)"),
        ({"x": np.zeros((255, 255, 3))}, r"x holds float64 values of shape \(255, 255, 3\)"),
        ({"y": np.zeros((255, 255), np.uint8)}, "y holds uint8 values"),
        ({"x": SHARP + np.nan}, "x holds values that are NaN"),
        ({"y": 255 * BLURRED}, r"y ranges over \[.*divide by the value that means white"),
        ({"f": -np.ones((3, 3))}, "not negative"),
        ({"f": np.full((3, 3), np.nan)}, "NaN"),
    ],
)
def test_files_that_hold_something_else(tmp_path, changed, reason):
    found = data.levin(save(tmp_path, **changed))
    with pytest.raises(ImageError, match=reason) as caught:
        found[0]
    assert "im05_flit01.mat" in str(caught.value)
