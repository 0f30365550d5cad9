"""Point spread functions in files."""

import os

import numpy as np
import pytest
import scipy.io
import scipy.ndimage
from PIL import Image

from blurjax import images
from blurjax.images import ImageError

KERNEL = np.outer([0.1, 0.2, 0.4, 0.2, 0.1], [0.0, 0.3, 0.5, 0.15, 0.05])


@pytest.mark.parametrize("extension", ["npy", "mat", "png", "PNG"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_what_is_written_is_read(tmp_path, extension, dtype):
    path = tmp_path / f"kernel.{extension}"
    images.write_psf(path, KERNEL.astype(dtype))
    kernel = images.read_psf(path)
    png = extension.lower() == "png"
    assert kernel.dtype == (np.float64 if png else dtype)
    np.testing.assert_allclose(kernel, KERNEL, atol=1e-5 if png else 1e-7)
    np.testing.assert_allclose(kernel.sum(), 1, rtol=1e-6)
    assert os.listdir(tmp_path) == [path.name]


def test_half_precision_is_written_as_float32(tmp_path):
    images.write_psf(tmp_path / "a.npy", KERNEL.astype(np.float16))
    assert images.read_psf(tmp_path / "a.npy").dtype == np.float32


def test_png_of_eight_bits_and_of_three_equal_channels(tmp_path):
    values = np.rint(KERNEL / KERNEL.max() * 255).astype(np.uint8)
    for name, stored in (("gray", values), ("rgb", np.stack([values] * 3, -1))):
        Image.fromarray(stored).save(tmp_path / f"{name}.png")
        kernel = images.read_psf(tmp_path / f"{name}.png")
        np.testing.assert_allclose(kernel, values / values.sum(), atol=1e-7)
    colour = np.stack([values, values, values[::-1, ::-1]], -1)
    Image.fromarray(colour).save(tmp_path / "colour.png")
    with pytest.raises(ImageError, match="colour image; a psf is gray"):
        images.read_psf(tmp_path / "colour.png")


@pytest.mark.parametrize(
    ("variables", "key"),
    [
        ({"f": KERNEL, "x": np.ones((9, 9)), "y": np.ones((9, 9))}, None),
        ({"kernel": KERNEL, "k": np.eye(3)}, None),
        ({"anything": KERNEL, "scale": 2.0, "note": "text", "stack": np.ones((2, 3, 4))}, None),
        ({"h": 0.5, "psf": KERNEL}, None),
        ({"psf": np.eye(3), "second": KERNEL}, "second"),
    ],
)
def test_the_variable_of_a_mat_file(tmp_path, variables, key):
    scipy.io.savemat(tmp_path / "a.mat", variables)
    np.testing.assert_allclose(images.read_psf(tmp_path / "a.mat", key=key), KERNEL)


@pytest.mark.parametrize("shape", [(4, 4), (4, 7), (3, 8), (5, 1), (1, 1), (2, 3)])
def test_even_and_oblong_kernels_keep_their_centre(tmp_path, shape):
    values = np.random.default_rng(0).random(shape)
    np.save(tmp_path / "a.npy", values)
    kernel = images.read_psf(tmp_path / "a.npy")
    odd = max(n + 1 - n % 2 for n in shape)
    assert kernel.shape == (odd, odd)
    impulse = np.zeros((21, 21))
    impulse[10, 10] = 1
    # SciPy's centre is n // 2, for even sizes too.
    expected = scipy.ndimage.convolve(impulse, values / values.sum())
    np.testing.assert_allclose(scipy.ndimage.convolve(impulse, kernel), expected, atol=1e-15)


def test_rounding_below_zero_is_set_to_zero(tmp_path):
    values = KERNEL.copy()
    values[0, 0] = -1e-8
    np.save(tmp_path / "a.npy", values)
    kernel = images.read_psf(tmp_path / "a.npy")
    assert kernel.min() == 0 and abs(kernel.sum() - 1) < 1e-12


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones((2, 3, 3)), r"shape \(2, 3, 3\); a psf is one matrix"),
        (np.ones(5), r"shape \(5,\)"),
        (np.ones((0, 0)), r"shape \(0, 0\)"),
        (np.ones((3, 3)) * 1j, "complex128 values"),
        (np.array([[1.0, np.nan]]), "NaN or infinite"),
        (np.array([[1.0, -0.1]]), "down to -0.1; a psf is not negative"),
        (np.zeros((3, 3)), "all values are 0"),
    ],
)
def test_bad_values_are_refused(tmp_path, values, message):
    path = tmp_path / "a.npy"
    np.save(path, values)
    with pytest.raises(ImageError, match=message) as caught:
        images.read_psf(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


def test_bad_files_are_refused(tmp_path):
    whole = tmp_path / "whole.mat"
    scipy.io.savemat(whole, {"one": np.eye(3), "two": np.eye(5)}, do_compression=True)
    with pytest.raises(ImageError, match=r"no variable is plainly the psf; .*holds one, two: pass"):
        images.read_psf(whole)
    with pytest.raises(ImageError, match="there is no variable 'three'; the file holds one, two"):
        images.read_psf(whole, key="three")
    np.save(tmp_path / "objects.npy", np.array([{}]))
    images.write_psf(tmp_path / "good.npy", KERNEL)
    with pytest.raises(ImageError, match=r"key='f', but only .mat files"):
        images.read_psf(tmp_path / "good.npy", key="f")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:-8])
    (tmp_path / "cut.mat").write_bytes(whole.read_bytes()[:-20])
    (tmp_path / "text.mat").write_text("no kernel")
    (tmp_path / "new.mat").write_bytes(
        b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(600)
    )
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "a.png").write_bytes(b"not an image")
    (tmp_path / "a.txt").write_text("1 2 1")
    for name, message in (
        ("objects.npy", "damaged.*Object arrays"),
        ("cut.npy", "damaged, cut short"),
        ("cut.mat", "damaged, cut short"),
        ("text.mat", "damaged, cut short"),
        ("new.mat", "version 7.3; save it again with '-v7'"),
        ("empty.npy", "the file is empty"),
        ("missing.npy", "no such file"),
        ("a.png", "not an image in a known format"),
        ("a.txt", "cannot read a psf with the extension '.txt'"),
    ):
        with pytest.raises(ImageError, match=message) as caught:
            images.read_psf(tmp_path / name)
        assert str(caught.value).count(str(tmp_path)) == 1


@pytest.mark.parametrize(
    ("values", "name", "message"),
    [
        (np.ones((4, 4)), "a.npy", r"shape \(4, 4\); a psf is \(k, k\) with k odd"),
        (np.ones((2, 3, 3)), "a.npy", r"shape \(2, 3, 3\)"),
        (np.ones((3, 3), int), "a.npy", "dtype int64"),
        (np.full((3, 3), np.inf), "a.npy", "NaN or infinite"),
        (np.eye(3) - 0.5, "a.npy", "a psf is not negative"),
        (np.zeros((3, 3)), "a.npy", "all values are 0"),
        (KERNEL, "a.jpg", r"extension '.jpg'; use .mat, .npy, .png"),
        (KERNEL, "missing/a.mat", "cannot be written"),
    ],
)
def test_writing_refuses_and_leaves_nothing(tmp_path, values, name, message):
    with pytest.raises(ImageError, match=message):
        images.write_psf(tmp_path / name, values)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.npy"
    images.write_psf(path, KERNEL)

    def fail(file, *args, **kwargs):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", fail)
    with pytest.raises(ImageError, match="No space left on device"):
        images.write_psf(path, np.eye(3))
    assert os.listdir(tmp_path) == ["a.npy"]
    np.testing.assert_allclose(images.read_psf(path), KERNEL)
