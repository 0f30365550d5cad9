"""Files that are damaged, odd or no images at all: one sentence each, and the others go on.

All are made here, from seeds; what is expected of each stands beside it.
"""

import contextlib
import io
import json
import logging
import os
import signal
import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile
from PIL import Image

from blurjax import cli, images
from blurjax.images import ImageError
from tests.orientations import STORED

RNG = np.random.default_rng(20261129)
SIDE, WIDE, LARGE = (64, 64), (64, 96), (160, 160)


def photograph(shape, seed=0):
    """Blobs, edges and grain, (H, W, 3) uint8."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: shape[0], : shape[1]] / 9.0
    waves = np.sin(rows + seed) * np.cos(columns) + (np.sin(rows * columns / 6) > 0.3)
    planes = np.stack([waves, np.roll(waves, 7, 0), np.roll(waves, 5, 1)], -1)
    return np.clip(110 + 60 * planes + rng.normal(0, 12, planes.shape), 0, 255).astype(np.uint8)


RGB = photograph(SIDE)
GRAY = RGB[..., 1]
DEEP = RGB.astype(np.uint16) * 257 - 3
UNIT = (RGB / 255).astype(np.float32)


def encoded(picture, form, **options):
    stream = io.BytesIO()
    picture = Image.fromarray(picture) if isinstance(picture, np.ndarray) else picture
    picture.save(stream, form, **options)
    return stream.getvalue()


def tiff(values, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, **options)
    return stream.getvalue()


def chunk(kind, content, check=None):
    check = zlib.crc32(kind + content) if check is None else check
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


SIGNATURE = b"\x89PNG\r\n\x1a\n"


def png_of(width, height, bits, colour, body, *, interlaced=0, before=b"", method=0, filter_=0):
    """A PNG by hand: what no program writes, or not this one."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, method, filter_, interlaced)
    data = b"" if body is None else chunk(b"IDAT", zlib.compress(body))
    return SIGNATURE + chunk(b"IHDR", header) + before + data + chunk(b"IEND", b"")


def rows_of(values, depth=8):
    lines = values.astype(">u2" if depth == 16 else np.uint8).reshape(len(values), -1)
    return b"".join(b"\0" + line.tobytes() for line in lines)


def with_chunk(data, kind, content, check=None):
    """A PNG with one chunk more, behind its header."""
    return data[:33] + chunk(kind, content, check) + data[33:]


def tiff_of(tags, *, after=b"", link=0, magic=b"II*\0"):
    """A TIFF of one directory: its tags as (number, type, count, value), then `after`."""
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    directory = struct.pack("<H", len(tags)) + entries + struct.pack("<I", link)
    return magic + struct.pack("<I", 8) + directory + after


def plain_tags(width, height, *, bits=8, samples=1, offset=200, count=None, photometric=1):
    count = width * height * samples * bits // 8 if count is None else count
    values = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric)]
    values += [(273, offset), (277, samples), (278, height), (279, count)]
    return [(tag, 4, 1, value) for tag, value in values]


def bmp_of(width, height, bits=24, body=b""):
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, 0, 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54) + header + body


def segment(marker, content):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def with_segment(data, marker, content):
    """A JPEG with one segment more, at its beginning."""
    return data[:2] + segment(marker, content) + data[2:]


def riff(kind, content):
    body = b"WEBP" + kind + struct.pack("<I", len(content)) + content
    return b"RIFF" + struct.pack("<I", len(body)) + body


def exif(orientation):
    block = Image.Exif()
    block[274] = orientation
    return block.tobytes()


REFUSED = "refused"


class Either(NamedTuple):
    """Damage that the format need not show: an image of this shape, or refused."""

    shape: tuple[int, int]


class Case(NamedTuple):
    """A file and what is expected of it: REFUSED, a shape, or `Either`."""

    path: Path
    expected: str | tuple[int, int] | Either
    family: str


def plain_files():
    """One file of each format, of the same photograph."""
    return {
        "png": encoded(RGB, "PNG"),
        "jpg": encoded(RGB, "JPEG", quality=90),
        "tif": encoded(RGB, "TIFF", compression="tiff_lzw"),
        "bmp": encoded(RGB, "BMP"),
        "webp": encoded(RGB, "WEBP", quality=90),
        "gif": encoded(Image.fromarray(RGB).quantize(64), "GIF"),
    }


def damaged_files():
    for suffix, data in plain_files().items():
        for percent in (3, 10, 30, 50, 75):
            yield f"cut-{percent}.{suffix}", data[: len(data) * percent // 100], REFUSED
        yield f"cut-last.{suffix}", data[:-1], Either(SIDE)
        for turn in range(6):
            changed = bytearray(data)
            for place in RNG.integers(8, len(data), 1 + 3 * turn):
                changed[place] ^= int(RNG.integers(1, 256))
            yield f"flip-{turn}.{suffix}", bytes(changed), Either(SIDE)
        # The whole of the middle, not single bytes.
        third = len(data) // 3
        for name, filler in (("zeroed", b"\0"), ("ones", b"\xff")):
            changed = data[:third] + filler * third + data[2 * third :]
            yield f"{name}.{suffix}", changed, Either(SIDE)
        yield f"headless.{suffix}", bytes(8) + data[8:], REFUSED
        yield f"empty.{suffix}", b"", REFUSED
        yield f"signature.{suffix}", data[:12], REFUSED
        yield f"trailing.{suffix}", data + RNG.bytes(500), SIDE


def bombs():
    """Few bytes that ask for much memory."""
    huge = 100_000
    tags = plain_tags(huge, huge, count=16)
    yield "header.png", png_of(huge, huge, 8, 2, b"\0" * 64), REFUSED
    yield "header-deep.png", png_of(huge, huge, 16, 2, b"\0" * 64), REFUSED
    yield "header.tif", tiff_of(tags, after=bytes(400)), REFUSED
    deep = [*tags[:2], (258, 3, 1, 16), *tags[3:]]
    yield "header-deep.tif", tiff_of(deep, after=bytes(400)), REFUSED
    yield "header.bmp", bmp_of(huge, huge), REFUSED
    yield "header.gif", b"GIF89a" + struct.pack("<HHBBB", 65535, 65535, 0, 0, 0) + b";", REFUSED
    sized = struct.pack("<I", 0)[:4] + struct.pack("<I", 16382)[:3] * 2
    yield "header.webp", riff(b"VP8X", sized), REFUSED
    frame = struct.pack(">BHHB", 8, 65500, 65500, 1) + b"\1\x11\0"
    jpeg = b"\xff\xd8" + segment(0xC0, frame) + segment(0xDA, b"\1\1\0\0\x3f\0") + b"\0" * 30
    yield "header.jpg", jpeg + b"\xff\xd9", REFUSED
    yield "samples.tif", tiff_of(plain_tags(4000, 4000, samples=60000, count=9)), REFUSED
    # Really there, 50 megapixels a kilobyte.
    packer, line = zlib.compressobj(9), b"\0" * 2501
    body = b"".join(packer.compress(line * 500) for _ in range(40)) + packer.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 20000, 1, 0, 0, 0, 0))
    whole = SIGNATURE + head + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    yield "compressible.png", whole, REFUSED
    plain = plain_files()["png"]
    text = zlib.compress(bytes(100_000_000))
    yield "text.png", with_chunk(plain, b"zTXt", b"Comment\0\0" + text), Either(SIDE)
    yield "profile.png", with_chunk(plain, b"iCCP", b"ICC\0\0" + text), Either(SIDE)


def impossible_files():
    """Headers that contradict themselves or what follows."""
    body = rows_of(RGB)
    yield "zero-width.png", png_of(0, 64, 8, 2, b""), REFUSED
    yield "zero-height.png", png_of(64, 0, 8, 2, b""), REFUSED
    yield "bits.png", png_of(64, 64, 7, 2, body), REFUSED
    yield "colour-type.png", png_of(64, 64, 8, 5, body), REFUSED
    yield "no-palette.png", png_of(64, 64, 8, 3, rows_of(GRAY)), Either(SIDE)
    yield "no-data.png", png_of(64, 64, 8, 2, None), REFUSED
    yield "few-rows.png", png_of(64, 64, 8, 2, body[:3000]), REFUSED
    yield "filter.png", png_of(64, 64, 8, 2, b"\x09" + body[1:]), Either(SIDE)
    whole = png_of(64, 64, 8, 2, body)
    yield "no-header.png", SIGNATURE + whole[33:], REFUSED
    yield "header-check.png", whole[:29] + b"abcd" + whole[33:], REFUSED
    broken = chunk(b"IDAT", zlib.compress(body)[:-4] + b"abcd")
    yield "adler.png", whole[:33] + broken + chunk(b"IEND", b""), Either(SIDE)
    yield "length.png", whole[:33] + b"\xff\xff\xff\xff" + whole[37:], Either(SIDE)
    yield "chunk.png", with_chunk(whole, b"ABCD", b"critical and unknown"), Either(SIDE)
    good = plain_files()
    yield "zero-width.tif", tiff_of(plain_tags(0, 64), after=bytes(400)), REFUSED
    yield "beyond.tif", tiff_of(plain_tags(64, 64, offset=10**6)), REFUSED
    yield "no-strips.tif", tiff_of(plain_tags(64, 64)[:5], after=bytes(5000)), REFUSED
    yield "loop.tif", tiff_of(plain_tags(64, 64), link=8, after=bytes(78) + GRAY.tobytes()), SIDE
    yield "offset.tif", b"II*\0" + struct.pack("<I", 10**9), REFUSED
    yield "entries.tif", b"II*\0" + struct.pack("<IH", 8, 65535) + bytes(30), REFUSED
    yield "no-tags.tif", tiff_of([], after=bytes(100)), REFUSED
    odd = [*plain_tags(64, 64)[:3], (259, 4, 1, 9999), *plain_tags(64, 64)[4:]]
    yield "compression.tif", tiff_of(odd, after=bytes(5000)), REFUSED
    yield (
        "photometric.tif",
        tiff_of(plain_tags(64, 64, photometric=777), after=bytes(5000)),
        REFUSED,
    )
    yield "bits.tif", tiff_of(plain_tags(64, 64, bits=5), after=bytes(5000)), REFUSED
    yield "bits-0.tif", tiff_of(plain_tags(64, 64, bits=0, count=9), after=bytes(5000)), REFUSED
    jpeg = bytearray(good["jpg"])
    frame = jpeg.index(b"\xff\xc0")
    for name, start, content in (
        ("zero-size", frame + 5, bytes(4)), ("precision", frame + 4, b"\5"),
        ("components", frame + 9, b"\x1e"), ("sampling", frame + 11, b"\xff"),
    ):  # fmt: skip
        changed = jpeg.copy()
        changed[start : start + len(content)] = content
        yield f"{name}.jpg", bytes(changed), REFUSED
    tables = good["jpg"].index(b"\xff\xdb")
    yield "no-tables.jpg", good["jpg"][:tables] + good["jpg"][frame:], REFUSED
    yield "begin-and-end.jpg", b"\xff\xd8\xff\xd9", REFUSED
    yield "arithmetic.jpg", good["jpg"].replace(b"\xff\xc0", b"\xff\xc9", 1), Either(SIDE)
    yield "lossless.jpg", good["jpg"].replace(b"\xff\xc0", b"\xff\xc3", 1), REFUSED
    yield "zero-width.gif", b"GIF89a" + bytes(7) + b";", REFUSED
    yield "no-frame.gif", good["gif"][:13] + b";", REFUSED
    yield "zero-width.bmp", bmp_of(0, 64), REFUSED
    yield "bits.bmp", bmp_of(64, 64, 17, bytes(64 * 64 * 3)), REFUSED
    yield "no-pixels.bmp", bmp_of(64, 64), REFUSED
    yield "sizes.webp", riff(b"VP8 ", b"\xff" * 40), REFUSED
    yield "no-frame.webp", riff(b"VP8X", bytes(4) + b"\x3f\0\0" * 2), REFUSED


def no_images():
    """Something else, under the name of an image."""
    yield "text.png", b"this is no image\n", REFUSED
    yield "text.jpg", "\ufeffdies ist kein Bild".encode("utf-16"), REFUSED
    yield "page.jpg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", REFUSED
    yield "archive.tif", b"PK\3\4" + RNG.bytes(300), REFUSED
    yield "document.jpg", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n", REFUSED
    yield "vector.png", b"<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'/>", REFUSED
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n%%EndComments\nshowpage\n"
    yield "script.png", script, REFUSED
    yield "phone.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + RNG.bytes(300), REFUSED
    yield "film.jpg", b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + RNG.bytes(300), REFUSED
    yield "mpeg.jpg", b"\0\0\1\xb3" + RNG.bytes(300), REFUSED
    yield "raw.jpg", b"II*\0\x10\0\0\0CR\2\0" + RNG.bytes(300), REFUSED
    yield "raw.png", b"FUJIFILMCCD-RAW 0201" + RNG.bytes(300), REFUSED
    stream = io.BytesIO()
    np.save(stream, UNIT)
    yield "array.png", stream.getvalue(), REFUSED
    yield "json.png", b'{"image": null}', REFUSED
    yield "gzip.png", b"\x1f\x8b\x08\0" + RNG.bytes(300), REFUSED
    yield "program.png", b"\x7fELF\2\1\1" + RNG.bytes(300), REFUSED
    yield "layers.png", b"8BPS\0\1" + RNG.bytes(60), REFUSED
    yield "hdf.png", b"\x89HDF\r\n\x1a\n" + RNG.bytes(300), REFUSED
    yield "zeros.png", bytes(4096), REFUSED
    yield "ones.jpg", b"\xff" * 4096, REFUSED
    yield "newlines.gif", b"\n" * 300, REFUSED
    yield "one-byte.bmp", b"B", REFUSED
    yield "icon.png", b"\0\0\1\0\1\0" + bytes(40), REFUSED
    # Kept from the formats' magic numbers, of which two bytes might be one.
    for turn in range(4):
        yield f"noise-{turn}.png", b"\xfa\xce" + RNG.bytes(2000), REFUSED


def values_without_white():
    """Whole files whose numbers are no image in [0, 1]."""
    for name, value in (
        ("nan", np.nan), ("inf", np.inf), ("minus-inf", -np.inf), ("bright", 1.5),
        ("negative", -0.25), ("huge", 3e38),
    ):  # fmt: skip
        plane = UNIT[..., 0].copy()
        plane[3, 4] = value
        yield f"{name}.tif", encoded(plane, "TIFF"), REFUSED
        colour = UNIT.copy()
        colour[3, 4, 1] = value
        yield f"{name}-colour.tif", tiff(colour, photometric="rgb"), REFUSED
    yield "all-nan.tif", encoded(np.full(SIDE, np.nan, np.float32), "TIFF"), REFUSED
    yield "complex.tif", tiff(UNIT[..., 0] * np.complex64(1 + 1j)), REFUSED
    for dtype in (np.int8, np.int16, np.int32, np.uint32, np.uint64, np.int64):
        yield f"{np.dtype(dtype)}.tif", tiff((GRAY // 2).astype(dtype)), REFUSED
    yield "volume.tif", tiff(np.zeros((4, 5, 64, 64), np.uint32), photometric="minisblack"), REFUSED


def odd_but_fine():
    """What not every program reads, and is an image."""
    yield "deep.png", png_of(64, 64, 16, 2, rows_of(DEEP, 16)), SIDE
    alpha = np.concatenate([DEEP, np.full((*SIDE, 1), 40000, np.uint16)], -1)
    yield "deep-alpha.png", png_of(64, 64, 16, 6, rows_of(alpha, 16)), SIDE
    yield "deep-gray.png", encoded(DEEP[..., 0], "PNG"), SIDE
    yield "deep-gray-alpha.png", png_of(64, 64, 16, 4, rows_of(alpha[..., 2:], 16)), SIDE
    yield "deep.tif", tiff(DEEP, photometric="rgb"), SIDE
    yield "deep-planes.tif", tiff(np.moveaxis(DEEP, -1, 0), photometric="rgb"), SIDE
    yield "deep-zipped.tif", tiff(DEEP, photometric="rgb", compression="zlib"), SIDE
    yield "deep-gray.tif", tiff(DEEP[..., 0]), SIDE
    yield "deep-big.tif", tiff(DEEP, photometric="rgb", byteorder=">", bigtiff=True), SIDE
    yield "big.tif", tiff(RGB, photometric="rgb", bigtiff=True), SIDE
    yield "tiled.tif", tiff(RGB, photometric="rgb", tile=(32, 32)), SIDE
    yield "white-is-zero.tif", tiff(GRAY, photometric="miniswhite"), SIDE
    yield "float.tif", encoded(UNIT[..., 0], "TIFF"), SIDE
    yield "float-colour.tif", tiff(UNIT, photometric="rgb"), SIDE
    yield "half.tif", tiff(UNIT.astype(np.float16), photometric="rgb"), SIDE
    yield "double.tif", tiff(UNIT.astype(np.float64), photometric="rgb"), SIDE
    picture = Image.fromarray(RGB)
    cmyk = encoded(picture.convert("CMYK"), "JPEG")
    yield "cmyk.jpg", cmyk, SIDE
    adobe = b"Adobe\0\x64\0\0\0\0"
    yield "ycck.jpg", with_segment(cmyk, 0xEE, adobe + b"\2"), SIDE
    yield "cmyk.tif", encoded(picture.convert("CMYK"), "TIFF"), SIDE
    yield "ycbcr.tif", encoded(picture.convert("YCbCr"), "TIFF"), SIDE
    yield "lab.tif", encoded(picture.convert("LAB"), "TIFF"), SIDE
    bits = picture.convert("1")
    yield "bits.png", encoded(bits, "PNG"), SIDE
    yield "bits.tif", encoded(bits, "TIFF", compression="group4"), SIDE
    palette = picture.quantize(16)
    yield "palette.png", encoded(palette, "PNG"), SIDE
    yield "palette-clear.png", encoded(palette, "PNG", transparency=3), SIDE
    yield "palette-alpha.png", encoded(palette, "PNG", transparency=bytes(range(16))), SIDE
    yield "gray-alpha.png", encoded(picture.convert("LA"), "PNG"), SIDE
    yield "alpha.png", encoded(picture.convert("RGBA"), "PNG"), SIDE
    yield "alpha.webp", encoded(picture.convert("RGBA"), "WEBP"), SIDE
    yield "alpha.tif", encoded(picture.convert("RGBA"), "TIFF"), SIDE
    gray = encoded(GRAY, "PNG")
    yield "gamma.png", with_chunk(gray, b"gAMA", struct.pack(">I", 45455)), SIDE
    yield "gamma-0.png", with_chunk(gray, b"gAMA", struct.pack(">I", 0)), SIDE
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2)]
    passes.append((1, 0, 2, 1))
    body = b"".join(rows_of(RGB[top::down, left::right]) for top, left, down, right in passes)
    yield "interlaced.png", png_of(64, 64, 8, 2, body, interlaced=1), SIDE
    yield "progressive.jpg", encoded(RGB, "JPEG", progressive=True), SIDE
    yield "subsampled.jpg", encoded(RGB, "JPEG", subsampling="4:2:0", quality=5), SIDE
    yield "gray.jpg", encoded(GRAY, "JPEG"), SIDE
    yield "lossless.webp", encoded(RGB, "WEBP", lossless=True), SIDE
    yield "comment.jpg", with_segment(encoded(RGB, "JPEG"), 0xFE, b"\xff\xfe" * 30000), SIDE
    frames = [palette, palette.rotate(90), palette.rotate(180)]
    for name, form in (("gif", "GIF"), ("webp", "WEBP"), ("png", "PNG")):
        options = {"save_all": True, "append_images": frames[1:], "duration": 40}
        yield f"animated.{name}", encoded(frames[0].convert("RGB"), form, **options), SIDE
    yield (
        "pages.tif",
        encoded(picture, "TIFF", save_all=True, append_images=[picture.rotate(90)]),
        SIDE,
    )
    yield "flipped.bmp", bmp_of(64, -64, 24, RGB.tobytes()), SIDE
    yield "text.pgm", b"P2 64 64 255\n" + b" ".join(b"%d" % v for v in GRAY.ravel()), SIDE
    note = b"Comment\0" + b"x" * 3_000_000
    yield "long-text.png", with_chunk(encoded(RGB, "PNG"), b"tEXt", note), SIDE
    # Other formats' names.
    good = plain_files()
    yield "png-as.jpg", good["png"], SIDE
    yield "jpeg-as.png", good["jpg"], SIDE
    yield "tiff-as.bmp", good["tif"], SIDE
    yield "gif-as.tif", good["gif"], SIDE
    yield "webp-as.jpg", good["webp"], SIDE
    yield "CAPITALS.PNG", good["png"], SIDE


def descriptions():
    """EXIF and colour profiles, whole and damaged, around whole pixels."""
    picture = photograph(WIDE)
    for orientation, store in STORED.items():
        stored = np.ascontiguousarray(store(picture))
        block = exif(orientation)
        yield f"turned-{orientation}.jpg", encoded(stored, "JPEG", exif=block), WIDE
    stored = np.ascontiguousarray(STORED[6](picture))
    for name, form in (("png", "PNG"), ("webp", "WEBP"), ("tif", "TIFF")):
        yield f"turned.{name}", encoded(stored, form, exif=exif(6)), WIDE
    deep = tiff(
        stored.astype(np.uint16) * 257, photometric="rgb", extratags=[(274, "H", 1, 6, True)]
    )
    yield "turned-deep.tif", deep, WIDE
    plain = encoded(RGB, "JPEG")
    for name, block in (
        ("cut", b"Exif\0\0MM\0*\0\0"), ("none", b"Exif\0\0"),
        ("noise", b"Exif\0\0" + RNG.bytes(200)),
        ("beyond", b"Exif\0\0II*\0\xff\xff\xff\x7f"), ("nul", b"Exif\0\0" + bytes(50)),
        ("orientation-0", exif(0)), ("orientation-99", exif(99)),
        ("entries", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + RNG.bytes(300)),
        ("loop", b"Exif\0\0II*\0\x08\0\0\0\0\0\x08\0\0\0"),
        (
            "orientation-text",
            b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHI", 274, 2, 4) + b"six\0" + bytes(4),
        ),
    ):  # fmt: skip
        yield f"exif-{name}.jpg", with_segment(plain, 0xE1, block), SIDE
    png = encoded(RGB, "PNG")
    yield "exif-noise.png", with_chunk(png, b"eXIf", RNG.bytes(200)), SIDE
    yield "profile-noise.jpg", encoded(RGB, "JPEG", icc_profile=RNG.bytes(3000)), SIDE
    yield "profile-cut.jpg", with_segment(plain, 0xE2, b"ICC_PROFILE\0\1\5" + bytes(9)), SIDE
    yield "profile-noise.png", with_chunk(png, b"iCCP", b"a\0\0" + RNG.bytes(40)), SIDE
    yield "profile-noise.tif", encoded(RGB, "TIFF", icc_profile=RNG.bytes(3000)), SIDE
    yield "xmp-noise.jpg", with_segment(plain, 0xE1, b"http://ns.adobe.com/xap/1.0/\0<" * 9), SIDE
    yield "density-0.jpg", plain[:14] + bytes(4) + plain[18:], SIDE
    yield "preview.jpg", with_segment(plain, 0xE2, b"MPF\0" + RNG.bytes(90)), SIDE


def small():
    """Images, but no system has an answer for so few pixels: said in one sentence too."""
    for height, width in ((1, 1), (1, 64), (64, 1), (3, 5)):
        picture = photograph((height, width))
        for suffix, form in (("png", "PNG"), ("jpg", "JPEG"), ("tif", "TIFF")):
            yield f"{height}x{width}.{suffix}", encoded(picture, form), (height, width)


NAMES = [
    "with space.png", " leading and trailing .png", "zażółć gęślą jaźń.png", "写真.png", "📷🌫️.png",
    "-leading-dash.png", "--json.png", "percent%s%d.png", "{brace}.png", "[red]markup[/red].png",
    "quote'\".png", "back\\slash.png", "semi;colon&and.png", "dollar$(true).png",
    "x" * 240 + ".png",
    "e\u0301.png", "right-to-left \u05d0.png", os.fsdecode(b"bytes-\xff\xfe\x80.png"),
]  # fmt: skip


FAMILIES = {
    "damaged": damaged_files, "bombs": bombs, "impossible": impossible_files, "others": no_images,
    "values": values_without_white, "odd": odd_but_fine, "described": descriptions, "small": small,
}  # fmt: skip


def stored(folder):
    """Every file that is made of bytes, below `folder`, in one folder a family."""
    cases = []
    for family, files in FAMILIES.items():
        (folder / family).mkdir()
        for name, content, expected in files():
            path = folder / family / name
            assert not path.exists(), f"{path} is made twice"
            path.write_bytes(content)
            cases.append(Case(path, expected, family))
    (folder / "names").mkdir()
    for name in NAMES:
        path = folder / "names" / name
        try:
            path.write_bytes(plain_files()["png"])
        except OSError:
            continue  # Not every file system has every name.
        cases.append(Case(path, SIDE, "names"))
        path.with_name("bad-" + name[:200] + ".png").write_bytes(b"no image")
        cases.append(Case(path.with_name("bad-" + name[:200] + ".png"), REFUSED, "names"))
    return cases


def unusual(folder):
    """What is in a file system besides files that can be read."""
    folder.mkdir()
    good = folder / "good.png"
    good.write_bytes(plain_files()["png"])
    (folder / "folder.png").mkdir()
    (folder / "dangling.png").symlink_to(folder / "nothing.png")
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "link.png").symlink_to(good)
    (folder / "to-folder.png").symlink_to(folder / "folder.png")
    os.mkfifo(folder / "pipe.png")
    (folder / "device.png").symlink_to("/dev/zero")
    cases = [Case(good, SIDE, "unusual"), Case(folder / "link.png", SIDE, "unusual")]
    refused = [
        "folder.png", "dangling.png", "loop.png", "to-folder.png", "pipe.png", "device.png",
        "missing.png", "y" * 300 + ".png", "good.png/below.png", "nothing/at/all.png",
    ]  # fmt: skip
    return cases + [Case(folder / name, REFUSED, "unusual") for name in refused]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("malformed")
    return stored(folder) + unusual(folder / "unusual")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Plain ones, which nothing beside them may disturb."""
    folder = tmp_path_factory.mktemp("photographs")
    for seed in range(3):
        (folder / f"{seed}.png").write_bytes(encoded(photograph(SIDE, seed + 1), "PNG"))
    (folder / "large.jpg").write_bytes(encoded(photograph(LARGE, 9), "JPEG"))
    return [
        Case(path, LARGE if path.stem == "large" else SIDE, "photographs")
        for path in sorted(folder.iterdir())
    ]


def entries_of(text):
    """The objects of the images, whether the report is a list of them or holds one."""
    report = json.loads(text)
    return report["images"] if isinstance(report, dict) else report


class Hang(BaseException):
    """Not an Exception, which the reader would take for damage."""


@contextlib.contextmanager
def at_most(seconds):
    """Ends what waits, for a pipe that nobody writes to, say."""

    def end(*_):
        raise Hang(f"still running after {seconds} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def run(capfd, caplog):
    """Runs the command line: status, stdout, lines of stderr; no warning and no log gets past it.

    The file descriptors are captured, because libraries in C complain there.
    """

    def run(*arguments):
        capfd.readouterr()
        with warnings.catch_warnings(record=True) as caught, at_most(300):
            warnings.simplefilter("always")
            with caplog.at_level(logging.WARNING):
                status = cli.main([str(argument) for argument in arguments])
        assert [str(warning.message) for warning in caught] == []
        assert caplog.messages == []
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err.splitlines()

    return run


def escaped(text):
    """As the terminal shows it, whatever its encoding lacks."""
    encoding = sys.stderr.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def check_sentence(sentence, path):
    """One line that names the file, says what is wrong and, behind a semicolon, what to do."""
    assert "\n" not in sentence
    assert sentence.startswith(f"{path}: ")
    said = sentence.removeprefix(f"{path}: ")
    what, semicolon, advice = said.partition("; ")
    assert semicolon and len(what) > 5 and len(advice) > 5, said
    assert len(said) < 400 and str(path) not in said, said
    assert "0x" not in said and "site-packages" not in said, f"the inside shows: {said}"


def check_entry(entry, case):
    assert entry["path"] == str(case.path)
    expected = case.expected
    if isinstance(expected, Either):
        expected = REFUSED if "error" in entry else expected.shape
    if expected == REFUSED:
        assert "error" in entry and "sigma_map" not in entry, f"{case.path} was analysed"
        check_sentence(entry["error"], case.path)
    else:
        assert "error" not in entry, entry["error"]
        assert (entry["height"], entry["width"]) == expected
        if min(expected) >= 64 and not isinstance(case.expected, Either):
            assert entry["sigma_map"]["status"] == entry["sharpness"]["status"] == "ok"
            assert entry["blur_type"]["status"]


def check_report(outcome, cases):
    """One entry a file in their order, one line on stderr for each that is refused, status 1."""
    status, out, lines = outcome
    entries = entries_of(out)
    assert len(entries) == len(cases)
    complaints = []
    for entry, case in zip(entries, cases, strict=True):
        check_entry(entry, case)
        if "error" in entry:
            complaints.append(escaped(f"blurjax: {entry['error']}"))
        elif min(entry["height"], entry["width"]) < 32:
            complaints.append(escaped(f"blurjax: {case.path}: {entry['sigma_map']['status']}"))
    assert lines == complaints
    assert status == 1


def test_there_are_enough_of_all_kinds(files):
    assert len(files) > 300
    refused = sum(case.expected == REFUSED for case in files)
    fine = sum(isinstance(case.expected, tuple) and len(case.expected) == 2 for case in files)
    either = sum(isinstance(case.expected, Either) for case in files)
    assert refused > 130 and fine > 90 and either < 70
    assert {case.family for case in files} == {*FAMILIES, "names", "unusual"}


def test_read_raises_one_kind_of_error_and_nothing_else(files):
    for case in files:
        with warnings.catch_warnings(), at_most(30):
            warnings.simplefilter("error")
            try:
                image = images.read(case.path)
            except ImageError as error:
                assert case.expected == REFUSED or isinstance(case.expected, Either), error
                if case.path.name.isprintable():
                    check_sentence(str(error), case.path)
                continue
        assert case.expected != REFUSED, f"{case.path} was read"
        expected = getattr(case.expected, "shape", case.expected)
        assert image.shape in (expected, (*expected, 3))
        assert image.dtype == np.float32
        assert np.all((image >= 0) & (image <= 1)), f"{case.path} leaves [0, 1]"


def test_depth_and_a_model_to_write_like_raise_that_error_too(files, tmp_path):
    for case in files:
        for ask in (
            lambda path: images.depth(path) in (8, 16),
            lambda path: images.write(tmp_path / "copy.png", UNIT, like=path),
            images.read_psf,
        ):
            try:
                ask(case.path)
            except ImageError as error:
                assert str(error).startswith(f"{case.path}: ")


@pytest.fixture
def stand_ins(
    monkeypatch, sigma_stand_in, sharpness_stand_in, kernel_size_stand_in, region_stand_in
):
    """Options for weights that answer at once: where only the files matter."""
    # blur_type has its own weights, and fewer patches to read.
    monkeypatch.setattr("blurjax.blur_type._estimate._MOST", 16)
    others = (
        f"sigma_map={sigma_stand_in}",
        f"sharpness={sharpness_stand_in}",
        f"kernel_size={kernel_size_stand_in}",
        f"region={region_stand_in}",
    )
    return [part for one in others for part in ("--weights", one)]


def shuffled(cases):
    return [cases[i] for i in np.random.default_rng(3).permutation(len(cases))]


def test_bad_files_among_good_ones_cost_a_sentence_each(files, photographs, run, stand_ins):
    cases = shuffled(files + photographs)
    check_report(run("analyze", *(case.path for case in cases), "--json", *stand_ins), cases)


def test_a_folder_of_them_too(files, run, stand_ins):
    root = Path(os.path.commonpath([case.path for case in files]))
    # Below a folder, links to folders are folders.
    found = {
        case.path: case for case in files if os.path.lexists(case.path) and not case.path.is_dir()
    }
    cases = [
        found[path] for path in sorted(found, key=lambda path: path.relative_to(root).as_posix())
    ]
    check_report(run("analyze", root, "--json", *stand_ins), cases)


def test_with_the_shipped_weights(files, photographs, run):
    """What stands between files that are refused is analysed for real."""
    chosen = [case for case in files if case.family in ("odd", "unusual")][::4]
    cases = (
        shuffled(chosen + [case for case in files if case.expected == REFUSED][::7]) + photographs
    )
    check_report(run("analyze", *(case.path for case in cases), "--json"), cases)


def test_people_get_the_same_sentences(files, run, stand_ins):
    cases = [case for case in files if case.expected == REFUSED][::9]
    status, out, lines = run("analyze", *(case.path for case in cases), *stand_ins)
    assert (status, out) == (1, "")
    assert len(lines) == len(cases)
    for line, case in zip(lines, cases, strict=True):
        assert line.startswith(escaped(f"blurjax: {case.path}: "))


KINDS = [
    "damaged/cut-30.png", "damaged/cut-75.tif", "damaged/empty.jpg", "bombs/header.png",
    "bombs/compressible.png", "impossible/zero-width.tif", "impossible/no-tables.jpg",
    "others/page.jpg", "others/archive.tif", "others/script.png", "values/nan-colour.tif",
    "values/bright.tif", "values/complex.tif", "values/int32.tif", "unusual/dangling.png",
    "unusual/pipe.png", "unusual/folder.png", "unusual/missing.png", "unusual/device.png",
]  # fmt: skip


def named(files, names):
    found = {f"{case.family}/{case.path.name}": case for case in files}
    return [found[name] for name in names]


@pytest.mark.parametrize("command", ["blur", "deblur"])
def test_what_makes_a_copy_refuses_in_one_sentence_and_writes_nothing(
    files, run, tmp_path, command
):
    for case in named(files, KINDS):
        beside = sorted(os.listdir(case.path.parent))
        out = tmp_path / "copy.png"
        psf = ("--psf", "gaussian:1")
        status, shown, lines = run(command, case.path, *psf, "--out", out)
        assert (status, shown, len(lines)) == (1, "", 1), (case.path, lines)
        check_sentence(lines[0].removeprefix("blurjax: "), case.path)
        if command == "deblur":
            status, shown, lines = run(command, case.path, *psf)
            assert (status, shown, len(lines)) == (1, "", 1), (case.path, lines)
        assert os.listdir(tmp_path) == [] and sorted(os.listdir(case.path.parent)) == beside


def test_a_kernel_that_is_no_kernel_costs_one_sentence(files, run, tmp_path):
    (photograph,) = named(files, ["odd/deep.png"])
    for case in named(files, [kind for kind in KINDS if "missing" not in kind]):
        status, shown, lines = run(
            "blur", photograph.path, "--psf", case.path, "--out", tmp_path / "copy.png"
        )
        if "dangling" in case.path.name:
            # To the command line that is no file, so neither is it a blur.
            assert (status, shown, len(lines)) == (2, "", 1)
            continue
        assert (status, shown, len(lines)) == (1, "", 1), (case.path, lines)
        check_sentence(lines[0].removeprefix("blurjax: "), case.path)
        assert os.listdir(tmp_path) == []


ODD = [
    "odd/deep.png", "odd/deep-gray-alpha.png", "odd/float-colour.tif", "odd/cmyk.jpg",
    "odd/ycck.jpg", "odd/palette-alpha.png", "odd/bits.tif", "odd/animated.gif", "odd/pages.tif",
    "described/turned-6.jpg", "described/exif-noise.jpg", "described/profile-noise.png",
]  # fmt: skip


def test_odd_files_are_blurred(files, run, tmp_path):
    for count, case in enumerate(named(files, ODD)):
        out = tmp_path / f"{count}.png"
        status, _, lines = run("blur", case.path, "--psf", "gaussian:1", "--out", out)
        assert (status, lines) == (0, []), case.path
        assert images.read(out).shape[:2] == case.expected
        before, after = (images.gray(images.read(path)) for path in (case.path, out))
        np.testing.assert_allclose(after.mean(), before.mean(), atol=0.02)


def test_more_pixels_than_is_safe_or_wise(tmp_path, run, monkeypatch, stand_ins):
    """Up to the limit Pillow warns of, and up to twice that it opens: that is no news."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3000)
    path = tmp_path / "a.png"
    path.write_bytes(plain_files()["png"])
    assert run("analyze", path, "--json", *stand_ins)[0::2] == (0, [])
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)
    status, _, (line,) = run("analyze", path, "--json", *stand_ins)
    assert status == 1 and "more pixels" in line


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
def test_bombs_take_little_memory(files):
    def peak():
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1024

    for case in files:
        if case.family == "bombs":
            try:
                Path("/proc/self/clear_refs").write_text("5")
            except OSError:
                pytest.skip("the system does not let a process reset its peak of memory")
            before = peak()
            with contextlib.suppress(ImageError):
                images.read(case.path)
            assert peak() - before < 150, f"{case.path.name}: {peak() - before:.0f} MiB"


def test_a_file_that_may_not_be_read(tmp_path, run):
    path = tmp_path / "secret.png"
    path.write_bytes(plain_files()["png"])
    path.chmod(0)
    try:
        path.read_bytes()
    except PermissionError:
        pass
    else:
        pytest.skip("this user may read every file, whatever its mode")
    status, out, lines = run("analyze", path, "--json")
    (entry,) = entries_of(out)
    check_sentence(entry["error"], path)
    assert status == 1 and "Permission denied" in lines[0] and "may read" in lines[0]


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(13, "Permission denied"), OSError(5, "Input/output error"),
        MemoryError("Unable to allocate 9 GiB"), RecursionError("too deep"), ValueError(""),
    ],
)  # fmt: skip
def test_what_the_system_refuses_is_named_without_its_inside(tmp_path, run, monkeypatch, error):
    path = tmp_path / "a.png"
    path.write_bytes(plain_files()["png"])

    def fail(*_, **__):
        if isinstance(error, OSError):
            raise type(error)(*error.args, str(path))
        raise error

    monkeypatch.setattr(Image, "open", fail)
    status, out, lines = run("analyze", path, "--json")
    (entry,) = entries_of(out)
    check_sentence(entry["error"], path)
    assert (status, lines) == (1, [escaped(f"blurjax: {entry['error']}")])


BREAKS = ["line\nbreak", "\n", "tab\tstop", "return\rhere", "bell\a", "escape\x1b[31m"]


@pytest.fixture
def broken_names(tmp_path):
    cases = []
    for name in BREAKS:
        for expected, content in ((SIDE, plain_files()["png"]), (REFUSED, b"no image")):
            path = tmp_path / f"{name}-{len(content)}.png"
            path.write_bytes(content)
            cases.append(Case(path, expected, "breaks"))
    return cases


def test_names_with_line_breaks_stay_whole_in_the_report(broken_names, run, stand_ins):
    status, out, _ = run("analyze", *(c.path for c in broken_names), "--json", *stand_ins)
    entries = entries_of(out)
    assert status == 1 and [e["path"] for e in entries] == [str(c.path) for c in broken_names]
    for entry, case in zip(entries, broken_names, strict=True):
        assert ("error" in entry) == (case.expected == REFUSED)


def test_names_with_line_breaks_cost_one_line_each(broken_names, run, stand_ins):
    _, _, lines = run("analyze", *(c.path for c in broken_names), "--json", *stand_ins)
    assert len(lines) == len(BREAKS)
    assert all(line.startswith("blurjax: ") and line.isprintable() for line in lines)


def test_a_relative_name_with_a_leading_dash(tmp_path, run, monkeypatch, stand_ins):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "-dash.png").write_bytes(b"no image")
    status, out, lines = run("analyze", "./-dash.png", "--json")
    (entry,) = entries_of(out)
    assert (status, len(lines)) == (1, 1) and "-dash.png: not an image" in entry["error"]


def test_threads_read_side_by_side(files):
    """Hushing the decoders must not change what other threads hear."""
    chosen = [case for case in files if case.family in ("damaged", "described")]
    before = list(warnings.filters)
    wrong = []

    def read():
        for case in chosen:
            try:
                shape = images.read(case.path).shape[:2]
            except ImageError:
                shape = REFUSED
            if case.expected not in (shape, Either(SIDE)):
                wrong.append((case, shape))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        read()
        for thread in threads:
            thread.join()
    assert wrong == [] and list(warnings.filters) == before


def test_other_warnings_and_logs_are_still_heard(tmp_path, caplog):
    path = tmp_path / "a.tif"
    path.write_bytes(plain_files()["tif"][:-1])
    with pytest.raises(ImageError):
        images.read(path)
    assert caplog.messages == []
    with pytest.warns(UserWarning, match="Truncated"), contextlib.suppress(OSError):
        Image.open(path)
    with pytest.raises(tifffile.TiffFileError):
        tifffile.imread(path, key=0, offset=10**9)
    logging.getLogger("tifffile").warning("heard")
    assert "heard" in caplog.messages
