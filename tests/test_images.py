"""Reading and writing image files: every format, exact values, one kind of error."""

import os
import struct
import warnings
import zlib

import jax.numpy as jnp
import numpy as np
import pytest
import tifffile
from PIL import Image

from blurjax import images
from blurjax.images import ImageError

ORIENTATION = 274

# A colour picture without symmetry, smooth enough for lossy formats.
ROWS, COLUMNS = np.mgrid[:24, :40]
RGB = np.stack([ROWS * 10, COLUMNS * 6, 255 - ROWS * 5], axis=-1).astype(np.uint8)
L = (ROWS * 4 + COLUMNS * 3).astype(np.uint8)
DEEP = (ROWS * 2731 + COLUMNS * 37).astype(np.uint16)


def unit(values, white=255):
    return (values.astype(np.float64) / white).astype(np.float32)


def save(path, array_or_image, **options):
    picture = array_or_image
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    picture.save(path, **options)
    return path


@pytest.mark.parametrize("extension", ["png", "tif", "bmp"])
@pytest.mark.parametrize("values", [RGB, L], ids=["rgb", "gray"])
def test_lossless_formats_are_exact(tmp_path, extension, values):
    image = images.read(save(tmp_path / f"a.{extension}", values))
    assert image.dtype == np.float32
    np.testing.assert_allclose(image, unit(values), atol=1e-7)


@pytest.mark.parametrize("extension", ["jpg", "webp"])
def test_lossy_formats_are_close(tmp_path, extension):
    image = images.read(save(tmp_path / f"a.{extension}", RGB, quality=95))
    assert image.shape == RGB.shape
    assert np.abs(image - unit(RGB)).mean() < 0.02


def test_lossless_webp_is_exact(tmp_path):
    image = images.read(save(tmp_path / "a.webp", RGB, lossless=True))
    np.testing.assert_allclose(image, unit(RGB), atol=1e-7)


def test_gray_jpeg_has_two_axes(tmp_path):
    image = images.read(save(tmp_path / "a.JPG", L, quality=100))
    assert image.shape == L.shape
    np.testing.assert_allclose(image, unit(L), atol=0.02)


@pytest.mark.parametrize("extension", ["png", "tif", "pgm"])
def test_sixteen_bit_gray_is_exact(tmp_path, extension):
    image = images.read(save(tmp_path / f"a.{extension}", DEEP))
    np.testing.assert_array_equal(np.rint(image.astype(np.float64) * 65535), DEEP)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_sixteen_bit_colour_tiff_keeps_its_bits(tmp_path, byteorder, planar):
    deep = np.stack([DEEP, DEEP // 2, 65535 - DEEP], axis=-1)
    stored = deep if planar == "contig" else np.moveaxis(deep, -1, 0)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, stored, photometric="rgb", planarconfig=planar, byteorder=byteorder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = images.read(path)
    np.testing.assert_array_equal(np.rint(image.astype(np.float64) * 65535), deep)


def test_twelve_bit_tiff_fills_the_unit_range(tmp_path):
    # By hand, because neither Pillow nor tifffile writes it: two pixels in three bytes.
    values = np.array([[4095, 0], [1234, 2048]])
    pairs = [(int(a) << 12 | int(b)).to_bytes(3, "big") for a, b in values]
    tags = [(256, 2), (257, 2), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 2)]
    tags.append((279, 6))
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    path = tmp_path / "a.tif"
    path.write_bytes(b"II*\0" + struct.pack("<I", 14) + b"".join(pairs) + directory)
    np.testing.assert_allclose(images.read(path), values / 4095, atol=1e-6)


def test_white_is_zero_tiff_is_inverted(tmp_path):
    for values, white in ((L, 255), (DEEP, 65535)):
        path = tmp_path / f"{white}.tif"
        tifffile.imwrite(path, values, photometric="miniswhite")
        np.testing.assert_allclose(images.read(path), 1 - unit(values, white), atol=1e-6)


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def deep_png(values, colour_type):
    """A 16-bit PNG by hand, because Pillow cannot write colour ones."""
    height, width = values.shape[:2]
    rows = values.astype(">u2").reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", body)
        + png_chunk(b"IEND", b"")
    )


def test_sixteen_bit_colour_png_warns_that_it_is_reduced(tmp_path):
    deep = np.stack([DEEP, DEEP // 2, 65535 - DEEP], axis=-1)
    path = tmp_path / "deep.png"
    path.write_bytes(deep_png(deep, 2))
    with pytest.warns(UserWarning, match=r"deep\.png.*8 bits") as caught:
        image = images.read(path)
    assert len(caught) == 1
    np.testing.assert_allclose(image, unit(deep, 65535), atol=1 / 255)


def test_sixteen_bit_gray_png_with_alpha_stays_gray(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(deep_png(np.stack([DEEP, np.full_like(DEEP, 65535)], axis=-1), 4))
    with pytest.warns(UserWarning, match="8 bits"):
        image = images.read(path)
    assert image.shape == DEEP.shape
    np.testing.assert_allclose(image, unit(DEEP, 65535), atol=1 / 255)


def test_alpha_is_composited_over_white(tmp_path):
    alpha = (COLUMNS * 6).astype(np.uint8)
    weight = unit(alpha)
    colour = images.read(save(tmp_path / "rgba.png", np.dstack([RGB, alpha])))
    expected = weight[..., None] * unit(RGB) + 1 - weight[..., None]
    np.testing.assert_allclose(colour, expected, atol=1e-6)
    gray = images.read(save(tmp_path / "la.png", np.dstack([L, alpha])))
    np.testing.assert_allclose(gray, weight * unit(L) + 1 - weight, atol=1e-6)


def test_palette_with_and_without_transparency(tmp_path):
    indices = (COLUMNS % 3).astype(np.uint8)
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 128]], np.uint8)
    picture = Image.fromarray(indices)
    picture.putpalette(colours.tobytes())
    plain = images.read(save(tmp_path / "p.png", picture))
    np.testing.assert_allclose(plain, unit(colours[indices]), atol=1e-7)
    clear = images.read(save(tmp_path / "t.png", picture, transparency=1))
    expected = np.where((indices == 1)[..., None], np.float32(1), unit(colours[indices]))
    np.testing.assert_allclose(clear, expected, atol=1e-7)


def test_transparent_colour_of_gray_png_is_white(tmp_path):
    for name, values in (("8.png", L), ("16.png", DEEP)):
        white = np.iinfo(values.dtype).max
        image = images.read(save(tmp_path / name, values, transparency=int(values[3, 4])))
        expected = np.where(values == values[3, 4], np.float32(1), unit(values, white))
        np.testing.assert_allclose(image, expected, atol=1e-6)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_one_bit(tmp_path, extension):
    mask = L > 100
    image = images.read(save(tmp_path / f"a.{extension}", Image.fromarray(mask)))
    np.testing.assert_array_equal(image, mask.astype(np.float32))


def test_cmyk_jpeg_becomes_rgb(tmp_path):
    image = images.read(save(tmp_path / "a.jpg", Image.fromarray(RGB).convert("CMYK"), quality=95))
    assert image.shape == RGB.shape
    assert np.abs(image - unit(RGB)).mean() < 0.02


def test_float_tiff(tmp_path):
    values = unit(L)
    np.testing.assert_array_equal(images.read(save(tmp_path / "a.tif", values)), values)


@pytest.mark.parametrize("frames", ["a.tif", "a.gif"])
def test_first_frame_of_several(tmp_path, frames):
    first, second = Image.fromarray(L), Image.fromarray(255 - L)
    path = save(tmp_path / frames, first, save_all=True, append_images=[second])
    np.testing.assert_allclose(images.gray(images.read(path)), unit(L), atol=0.01)


STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
@pytest.mark.parametrize(
    ("extension", "values"), [("png", RGB), ("png", DEEP), ("tif", L), ("tif", DEEP)]
)
def test_exif_orientation_is_undone(tmp_path, orientation, extension, values):
    stored = np.ascontiguousarray(STORED[orientation](values))
    path = tmp_path / f"a.{extension}"
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    save(path, stored, exif=exif)
    white = np.iinfo(values.dtype).max
    np.testing.assert_allclose(images.read(path), unit(values, white), atol=1e-6)


def test_orientation_of_sixteen_bit_colour_tiff(tmp_path):
    deep = np.stack([DEEP, DEEP // 2, 65535 - DEEP], axis=-1)
    path = tmp_path / "a.tif"
    tag = (ORIENTATION, "H", 1, 6, True)
    tifffile.imwrite(path, np.rot90(deep, 1), photometric="rgb", extratags=[tag])
    np.testing.assert_allclose(images.read(path), unit(deep, 65535), atol=1e-6)


def test_orientations_agree_with_pillow(tmp_path):
    from PIL import ImageOps

    for orientation in STORED:
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        path = save(tmp_path / f"{orientation}.png", RGB, exif=exif)
        with Image.open(path) as picture:
            expected = np.asarray(ImageOps.exif_transpose(picture))
        np.testing.assert_allclose(images.read(path), unit(expected), atol=1e-7)


def test_linear_undoes_the_srgb_curve(tmp_path):
    levels = np.array([[0, 10, 128, 255]], np.uint8)
    path = save(tmp_path / "a.png", levels)
    np.testing.assert_allclose(images.read(path), levels / 255, atol=1e-7)
    # Values of IEC 61966-2-1 at 0, 10, 128 and 255; 10 is on the straight piece.
    np.testing.assert_allclose(
        images.read(path, linear=True), [[0, 10 / 255 / 12.92, 0.2158605, 1]], atol=1e-6
    )


def damaged(name):
    """A function that makes a bad file of this name in a folder and returns its path."""

    def missing(folder):
        return folder / "missing.png"

    def directory(folder):
        (folder / "directory.png").mkdir()
        return folder / "directory.png"

    def empty(folder):
        (folder / "empty.png").touch()
        return folder / "empty.png"

    def text(folder):
        (folder / "text.png").write_text("this is no image")
        return folder / "text.png"

    def cut(folder, extension):
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
        path = save(folder / f"cut.{extension}", noise)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        return path

    def corrupt_png(folder):
        path = save(folder / "corrupt.png", RGB)
        data = bytearray(path.read_bytes())
        data[60:70] = b"\xff" * 10
        path.write_bytes(data)
        return path

    def nan(folder):
        values = unit(L)
        values[2, 3] = np.nan
        return save(folder / "nan.tif", values)

    def too_bright(folder):
        return save(folder / "bright.tif", L.astype(np.float32))

    def wide(folder):
        return save(folder / "wide.tif", L.astype(np.int32))

    def deep_nan(folder):
        path = folder / "deep-nan.tif"
        tifffile.imwrite(path, np.full((8, 8, 3), np.nan, np.float32), photometric="rgb")
        return path

    return {
        "missing": (missing, "no such file"),
        "directory": (directory, "folder"),
        "empty": (empty, "empty"),
        "text": (text, "not an image"),
        "cut png": (lambda f: cut(f, "png"), "damaged"),
        "cut jpg": (lambda f: cut(f, "jpg"), "damaged"),
        "cut tif": (lambda f: cut(f, "tif"), "damaged|not an image"),
        "cut webp": (lambda f: cut(f, "webp"), "damaged|not an image"),
        "cut bmp": (lambda f: cut(f, "bmp"), "damaged"),
        "corrupt png": (corrupt_png, "damaged"),
        "nan": (nan, "NaN"),
        "too bright": (too_bright, r"expected \[0, 1\]"),
        "32-bit integers": (wide, "16 bits"),
        "nan colour tif": (deep_nan, "NaN"),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "missing",
        "directory",
        "empty",
        "text",
        "cut png",
        "cut jpg",
        "cut tif",
        "cut webp",
        "cut bmp",
        "corrupt png",
        "nan",
        "too bright",
        "32-bit integers",
        "nan colour tif",
    ],
)
def test_bad_files_give_one_clear_error(tmp_path, name):
    make, message = damaged(name)
    path = make(tmp_path)
    with pytest.raises(ImageError, match=message) as caught:
        images.read(path)
    assert str(path) in str(caught.value)


def test_path_that_the_system_refuses(tmp_path):
    with pytest.raises(ImageError, match="cannot be opened"):
        images.read(tmp_path / ("a" * 300 + ".png"))


def test_decompression_bomb(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    deep = tmp_path / "deep.tif"
    tifffile.imwrite(deep, np.zeros((24, 40, 3), np.uint16), photometric="rgb")
    for path in (save(tmp_path / "a.png", L), deep):
        with pytest.raises(ImageError, match="more pixels") as caught:
            images.read(path)
        assert str(path) in str(caught.value)


def test_gray_weights_are_those_of_pillow():
    ours = images.gray(unit(RGB))
    np.testing.assert_allclose(ours, unit(np.asarray(Image.fromarray(RGB).convert("L"))), atol=3e-3)
    np.testing.assert_allclose(
        images.gray(np.eye(3, dtype=np.float64)[None]), [[0.299, 0.587, 0.114]]
    )
    assert ours.dtype == np.float32


def test_gray_passes_two_axes_through_and_refuses_others():
    plain = unit(L)
    np.testing.assert_array_equal(images.gray(plain), plain)
    assert images.gray(np.zeros((5, 4, 6, 3), np.float32)).shape == (5, 4, 6)
    for shape in ((4,), (4, 6, 2), (3, 4, 6)):
        with pytest.raises(ImageError, match="expected"):
            images.gray(np.zeros(shape, np.float32))


@pytest.mark.parametrize(
    "image", [RGB, RGB.astype(np.uint16) * 257, unit(RGB), jnp.asarray(unit(RGB), jnp.float64)]
)
def test_as_gray_brings_every_kind_of_image_to_one(image):
    found = images.as_gray(image)
    assert found.dtype == np.float32 and found.shape == RGB.shape[:2]
    np.testing.assert_allclose(found, images.gray(unit(RGB)), atol=1e-6)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((64, 64, 4)), r"shape \(64, 64, 4\)"),
        (np.zeros(64), r"shape \(64,\)"),
        (np.zeros((0, 64)), r"shape \(0, 64\)"),
        (np.full((64, 64), np.nan), "not finite"),
        (np.full((64, 64), 200.0), r"\[200, 200\]; scale it"),
        (np.zeros((64, 64), np.int32), "int32"),
    ],
)
def test_as_gray_refuses_what_is_no_image(image, message):
    with pytest.raises(ImageError, match=message):
        images.as_gray(image)


@pytest.mark.parametrize("extension", ["png", "tif", "tiff", "PNG"])
@pytest.mark.parametrize("values", [RGB, L], ids=["rgb", "gray"])
def test_write_then_read_is_the_identity_on_eight_bits(tmp_path, extension, values):
    path = tmp_path / f"a.{extension}"
    images.write(path, unit(values))
    np.testing.assert_allclose(images.read(path), unit(values), atol=1e-7)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_write_sixteen_bits(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    images.write(path, jnp.asarray(unit(DEEP, 65535)), bits=16)
    np.testing.assert_array_equal(np.rint(images.read(path).astype(np.float64) * 65535), DEEP)


def test_write_clips_rounds_and_takes_jax_arrays(tmp_path):
    path = tmp_path / "a.png"
    images.write(path, jnp.array([[-1.0, 0.0, 0.4999 / 255, 0.5001 / 255, 2.0]]))
    np.testing.assert_array_equal(np.asarray(Image.open(path)), [[0, 0, 0, 1, 255]])


def test_write_jpeg(tmp_path):
    images.write(tmp_path / "a.jpeg", unit(RGB))
    with Image.open(tmp_path / "a.jpeg") as picture:
        assert picture.format == "JPEG"
    assert np.abs(images.read(tmp_path / "a.jpeg") - unit(RGB)).mean() < 0.01


@pytest.mark.parametrize(
    ("name", "image", "bits", "message"),
    [
        ("a.xyz", unit(L), 8, "extension"),
        ("a", unit(L), 8, "extension"),
        ("missing/a.png", unit(L), 8, "cannot be written"),
        ("file/a.png", unit(L), 8, "cannot be written"),
        ("a.png", L, 8, "divide"),
        ("a.png", np.zeros((4, 4, 2)), 8, "shape"),
        ("a.png", np.zeros((0, 4)), 8, "shape"),
        ("a.png", np.full((4, 4), np.nan), 8, "NaN"),
        ("a.png", unit(RGB), 16, "bits"),
        ("a.jpg", unit(L), 16, "bits"),
        ("a.png", unit(L), 12, "bits"),
    ],
)
def test_write_errors_name_the_file_and_leave_nothing(tmp_path, name, image, bits, message):
    (tmp_path / "file").touch()
    with pytest.raises(ImageError, match=message) as caught:
        images.write(tmp_path / name, image, bits=bits)
    assert str(tmp_path / name) in str(caught.value)
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_write_is_atomic(tmp_path, monkeypatch, error):
    path = tmp_path / "a.png"
    images.write(path, unit(L))
    before = path.read_bytes()

    def fail_halfway(self, file, **options):
        file.write(b"half an image")
        raise error

    monkeypatch.setattr(Image.Image, "save", fail_halfway)
    with pytest.raises((ImageError, KeyboardInterrupt)):
        images.write(path, 1 - unit(L))
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


def test_paths_are_sorted_recursive_and_without_hidden_files(tmp_path):
    names = ["b.png", "a.JPG", "sub/c.tiff", "sub/.d.png", ".hidden/e.png", "f.txt", "Z.webp"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "folder.png").mkdir()
    found = [path.relative_to(tmp_path).as_posix() for path in images.paths(tmp_path)]
    assert found == ["Z.webp", "a.JPG", "b.png", "sub/c.tiff"]
    assert images.paths(tmp_path / "b.png") == [tmp_path / "b.png"]


def test_paths_below_a_hidden_folder_are_found(tmp_path):
    root = tmp_path / ".cache"
    root.mkdir()
    (root / "a.png").touch()
    assert images.paths(root) == [root / "a.png"]


def test_paths_errors(tmp_path):
    for root, message in ((tmp_path, "no image"), (tmp_path / "missing", "no such")):
        with pytest.raises(ImageError, match=message) as caught:
            images.paths(root)
        assert str(root) in str(caught.value)
