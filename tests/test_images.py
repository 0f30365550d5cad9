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
from tests.orientations import STORED

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


RGB16 = np.stack([DEEP, DEEP // 2, 65535 - DEEP], axis=-1)


def levels(image):
    return np.rint(image.astype(np.float64) * 65535)


def test_sixteen_bit_colour_png_keeps_its_bits(tmp_path):
    path = tmp_path / "deep.png"
    path.write_bytes(deep_png(RGB16, 2))
    np.testing.assert_array_equal(levels(images.read(path)), RGB16)
    assert images.depth(path) == 16


def test_sixteen_bit_png_with_alpha_is_over_white(tmp_path):
    alpha = (COLUMNS * 1680).astype(np.uint16)
    weight = unit(alpha, 65535)
    for values, colour_type in ((RGB16, 6), (DEEP[..., None], 4)):
        path = tmp_path / f"{colour_type}.png"
        path.write_bytes(deep_png(np.concatenate([values, alpha[..., None]], -1), colour_type))
        expected = weight[..., None] * unit(values, 65535) + 1 - weight[..., None]
        expected = expected if colour_type == 6 else expected[..., 0]
        image = images.read(path)
        assert image.shape == expected.shape and images.depth(path) == 16
        np.testing.assert_allclose(image, expected, atol=1e-6)


def test_sixteen_bit_colour_png_with_a_transparent_colour_and_interlaced(tmp_path):
    data = deep_png(RGB16, 2)
    key = png_chunk(b"tRNS", struct.pack(">HHH", *map(int, RGB16[3, 4])))
    (tmp_path / "key.png").write_bytes(data[:33] + key + data[33:])
    clear = RGB16[3, 4]
    expected = np.where(np.all(clear == RGB16, axis=-1, keepdims=True), 65535, RGB16)
    np.testing.assert_array_equal(levels(images.read(tmp_path / "key.png")), expected)
    # Adam7: rows and columns of seven smaller images, one after the other.
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes.append((1, 0, 2, 1))
    body = b"".join(
        b"\0" + row.astype(">u2").tobytes()
        for top, left, down, right in passes
        for row in RGB16[top::down, left::right]
    )
    header = struct.pack(">IIBBBBB", RGB16.shape[1], RGB16.shape[0], 16, 2, 0, 0, 1)
    (tmp_path / "adam7.png").write_bytes(
        data[:8]
        + png_chunk(b"IHDR", header)
        + png_chunk(b"IDAT", zlib.compress(body))
        + png_chunk(b"IEND", b"")
    )
    np.testing.assert_array_equal(levels(images.read(tmp_path / "adam7.png")), RGB16)


def test_every_filter_of_a_sixteen_bit_colour_png(tmp_path):
    def paeth(a, b, c):
        p = a.astype(int) + b - c
        near = np.stack([abs(p - a), abs(p - b), abs(p - c)])
        return np.choose(near.argmin(0), [a, b, c])

    rows = RGB16.astype(">u2").reshape(24, -1).view(np.uint8)
    up = np.concatenate([np.zeros((1, 240), np.uint8), rows[:-1]])
    left, corner = (
        np.concatenate([np.zeros((24, 6), np.uint8), x[:, :-6]], axis=1) for x in (rows, up)
    )
    mean = ((left.astype(int) + up) // 2).astype(np.uint8)
    predicted = [0 * rows, left, up, mean, paeth(left, up, corner).astype(np.uint8)]
    body = b"".join(bytes([y % 5]) + (rows[y] - predicted[y % 5][y]).tobytes() for y in range(24))
    data = deep_png(RGB16, 2)
    path = tmp_path / "a.png"
    path.write_bytes(data[:33] + png_chunk(b"IDAT", zlib.compress(body)) + png_chunk(b"IEND", b""))
    np.testing.assert_array_equal(levels(images.read(path)), RGB16)


@pytest.mark.parametrize("colour_type", [2, 4])
def test_a_pillow_that_hides_the_low_bytes_leaves_eight_bits_and_a_warning(
    tmp_path, monkeypatch, colour_type
):
    monkeypatch.setattr(images, "_BOTH_BYTES", {})
    values = RGB16 if colour_type == 2 else np.stack([DEEP, np.full_like(DEEP, 65535)], axis=-1)
    path = tmp_path / "deep.png"
    path.write_bytes(deep_png(values, colour_type))
    with pytest.warns(UserWarning, match=r"deep\.png.*8 bits") as caught:
        image = images.read(path)
    assert len(caught) == 1
    expected = RGB16 if colour_type == 2 else DEEP
    assert image.shape == expected.shape
    np.testing.assert_allclose(image, unit(expected, 65535), atol=1 / 255)


def test_depth_is_what_a_file_holds(tmp_path):
    floats = tmp_path / "planes.tif"
    tifffile.imwrite(floats, np.zeros((3, 8, 8), np.float32), photometric="rgb")
    deep = tmp_path / "deep.tif"
    tifffile.imwrite(deep, RGB16, photometric="rgb")
    for path in (
        floats, deep, save(tmp_path / "l.png", DEEP), save(tmp_path / "l.tif", DEEP),
        save(tmp_path / "f.tif", unit(L)), save(tmp_path / "a.pgm", DEEP),
    ):  # fmt: skip
        assert images.depth(path) == 16, path
    for path in (
        save(tmp_path / "a.png", RGB), save(tmp_path / "a.jpg", L), save(tmp_path / "a.tif", RGB),
        save(tmp_path / "1.png", Image.fromarray(L > 9)),
        save(tmp_path / "p.png", Image.fromarray(RGB).quantize(9)),
    ):  # fmt: skip
        assert images.depth(path) == 8, path
    (tmp_path / "text.png").write_text("this is no image")
    for name, message in (("missing.png", "no such file"), ("text.png", "not an image")):
        with pytest.raises(ImageError, match=message):
            images.depth(tmp_path / name)


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


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_write_sixteen_bits_of_colour(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images.write(path, unit(RGB16, 65535), bits=16)
        np.testing.assert_array_equal(levels(images.read(path)), RGB16)
        one = np.full((1, 1, 3), 0.5, np.float32)
        images.write(path, one, bits=16)
        np.testing.assert_allclose(images.read(path), one, atol=1e-5)
    # Others read it too, with as many bits as they have.
    with Image.open(path) as picture:
        assert picture.size == (1, 1)


# ---- what a file says of the photograph


MAKER, DATE, EXPOSURE, PLACE = 271, 36867, 34665, 34853


def profile(mode):
    """A colour profile (not that any program would like it): only its colour space counts."""
    from PIL import ImageCms

    if mode == "RGB":
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return bytes(16) + {"L": b"GRAY", "CMYK": b"CMYK"}[mode] + bytes(108)


def described(path, values, *, colours="RGB"):
    """A photograph lying on its side, with all that a camera writes."""
    exif = Image.Exif()
    exif[MAKER], exif[ORIENTATION] = "Maker", 6
    exif[EXPOSURE] = {DATE: "2020:01:02 03:04:05", 33434: (1, 125), 40962: 999, 40963: 888}
    exif[PLACE] = {1: "N", 2: (47.0, 22.0, 30.0)}
    return save(path, values, exif=exif.tobytes(), icc_profile=profile(colours))


def check_description(path, colours="RGB"):
    with Image.open(path) as picture:
        exif = picture.getexif()
        assert exif[MAKER] == "Maker" and exif.get(ORIENTATION, 1) == 1
        exposure, place = exif.get_ifd(EXPOSURE), exif.get_ifd(PLACE)
        assert exposure[DATE] == "2020:01:02 03:04:05" and place[1] == "N"
        assert (exposure[40962], exposure[40963]) == picture.size
        assert picture.info["icc_profile"] == profile(colours)


@pytest.mark.parametrize("target", ["png", "jpg", "tif"])
@pytest.mark.parametrize("source", ["png", "jpg", "tif"])
def test_write_keeps_what_a_file_says_of_the_photograph(tmp_path, source, target):
    original = described(tmp_path / f"a.{source}", RGB)
    upright = images.read(original)
    path = tmp_path / f"b.{target}"
    images.write(path, upright, like=original)
    check_description(path)
    np.testing.assert_allclose(images.read(path), upright, atol=0.05 if target == "jpg" else 3e-3)


@pytest.mark.parametrize("extension", ["png", "tif"])
def test_write_keeps_it_with_sixteen_bits(tmp_path, extension):
    original = described(tmp_path / "gray.png", DEEP, colours="L")
    path = tmp_path / f"a.{extension}"
    images.write(path, images.read(original), bits=16, like=original)
    check_description(path, "L")
    assert images.depth(path) == 16
    original = described(tmp_path / "colour.png", RGB)
    images.write(path, images.read(original), bits=16, like=original)
    if extension == "png":
        check_description(path)
    else:
        with Image.open(path) as picture:
            assert picture.info["icc_profile"] == profile("RGB")
    # And on from there, also from a file that Pillow does not open.
    images.write(tmp_path / "again.png", images.read(path), bits=16, like=path)
    with Image.open(tmp_path / "again.png") as picture:
        assert picture.info["icc_profile"] == profile("RGB")
    planes = tmp_path / "planes.tif"
    tifffile.imwrite(
        planes, np.zeros((3, 8, 8), np.float32), photometric="rgb", iccprofile=profile("RGB")
    )
    images.write(tmp_path / "last.png", images.read(planes), like=planes)
    with Image.open(tmp_path / "last.png") as picture:
        assert picture.info["icc_profile"] == profile("RGB")


def test_write_drops_a_profile_of_other_colours(tmp_path):
    cmyk = described(tmp_path / "cmyk.jpg", Image.fromarray(RGB).convert("CMYK"), colours="CMYK")
    gray = described(tmp_path / "gray.jpg", L, colours="RGB")
    path = tmp_path / "a.png"
    for original in (cmyk, gray):
        images.write(path, images.read(original), like=original)
        with Image.open(path) as picture:
            assert "icc_profile" not in picture.info and picture.getexif()[MAKER] == "Maker"


def test_write_leaves_out_what_does_not_fit_or_cannot_be_read(tmp_path):
    exif = Image.Exif()
    exif[MAKER], exif[EXPOSURE] = "Maker", {37500: b"x" * 70000}
    original = save(tmp_path / "a.png", RGB, exif=exif.tobytes())
    images.write(tmp_path / "b.jpg", images.read(original), like=original)
    with Image.open(tmp_path / "b.jpg") as picture:
        assert not picture.getexif()
    plain = save(tmp_path / "plain.png", RGB)
    for name in ("plain.jpg", "plain.tif", "plain2.png"):
        images.write(tmp_path / name, unit(RGB), like=plain)
        with Image.open(tmp_path / name) as picture:
            assert MAKER not in picture.getexif() and "icc_profile" not in picture.info
    # Broken EXIF costs nobody the image.
    data = plain.read_bytes()
    plain.write_bytes(data[:33] + png_chunk(b"eXIf", b"MM\0*\xff\xff\xff\xff") + data[33:])
    pixels = unit(RGB)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        images.write(tmp_path / "c.png", pixels, like=plain)
    np.testing.assert_allclose(images.read(tmp_path / "c.png"), unit(RGB), atol=1e-7)


def test_write_leaves_out_the_preview(tmp_path):
    original = described(tmp_path / "a.jpg", RGB)
    with Image.open(original) as picture:
        old = picture.info["exif"]
    # A second directory behind the first one, where cameras keep it.
    tiff = old.removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}[tiff[:2]]
    (count,) = struct.unpack(order + "H", tiff[8:10])
    link = 10 + 12 * count
    second = struct.pack(order + "HHHI", 1, 270, 2, 4) + b"tiny" + bytes(4)
    tiff = tiff[:link] + struct.pack(order + "I", len(tiff)) + tiff[link + 4 :] + second
    old, new = (struct.pack(">H", len(exif) + 2) + exif for exif in (old, b"Exif\0\0" + tiff))
    original.write_bytes(original.read_bytes().replace(old, new))
    assert b"tiny" in original.read_bytes()
    images.write(tmp_path / "b.jpg", images.read(original), like=original)
    check_description(tmp_path / "b.jpg")
    assert b"tiny" not in (tmp_path / "b.jpg").read_bytes()


def test_write_names_a_model_that_is_no_image(tmp_path):
    (tmp_path / "text.png").write_text("this is no image")
    for name, message in (("missing.png", "no such file"), ("text.png", "not an image")):
        with pytest.raises(ImageError, match=message) as caught:
            images.write(tmp_path / "a.png", unit(L), like=tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
    assert os.listdir(tmp_path) == ["text.png"]


def test_check_writable_tries_a_path_and_leaves_nothing(tmp_path):
    images.check_writable(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("kept")
    images.check_writable(tmp_path / "b.png")
    assert (tmp_path / "b.png").read_text() == "kept" and os.listdir(tmp_path) == ["b.png"]
    for name, message in (
        ("a.xyz", "extension"), ("missing/a.png", "cannot be written"), ("b.png/a.png", "written")
    ):  # fmt: skip
        with pytest.raises(ImageError, match=message):
            images.check_writable(tmp_path / name)


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
        ("a.jpg", unit(RGB), 16, "bits"),
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
