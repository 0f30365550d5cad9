"""Read and write image files (host).

Everywhere in the library an image is an array of floats in [0, 1], as the file
stores it: gamma-encoded. Nothing is linearised unless `read` is asked to.
"""

import os
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from blurjax._typing import ArrayLike

__all__ = ["ImageError", "gray", "paths", "read", "write"]

StrPath = str | os.PathLike[str]

_EXTENSIONS = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
_WRITERS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF"}

# ITU-R BT.601 luma, the weights of Pillow's mode "L".
_LUMA = np.array([0.299, 0.587, 0.114])

# What brings the stored pixels upright, for each value of the EXIF orientation tag.
_UPRIGHT: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}

# Numbers of the TIFF tags (EXIF uses the same for the orientation).
_BITS, _PHOTOMETRIC, _ORIENTATION = 258, 262, 274
_WHITE_IS_ZERO = 0

# Colour types of a PNG header (its 26th byte; the 25th is the number of bits).
_PNG_GRAY, _PNG_GRAY_ALPHA = b"\x00", b"\x04"


class ImageError(ValueError):
    """An image or its file cannot be used: what, by which rule, and what to do about it."""


def read(path: StrPath, *, linear: bool = False) -> np.ndarray:
    """The image in a file, upright, as floats in [0, 1] (host).

    Formats: what Pillow reads, among them PNG, JPEG, TIFF, BMP, WebP and GIF; TIFF with 16-bit
    colour through tifffile. The first frame of several. Transparency is composited over white.
    CMYK becomes RGB without a colour profile. EXIF orientation is applied.

    Args:
        path: the file.
        linear: undo the sRGB curve, so that values are proportional to light. Right only for
            files that are sRGB-encoded.

    Returns:
        float32 in [0, 1]: (H, W) for gray files, (H, W, 3) for colour and palette files.

    Raises:
        ImageError: the file is missing, a folder, empty, not an image, damaged or too large to
            open safely, or its values are not finite or not in [0, 1] (float files).

    Warns:
        UserWarning: 16-bit colour was read with 8 bits (PNG, and TIFF in a compression that
            tifffile cannot undo: Pillow has no 16-bit colour).
    """
    path = Path(path)
    # Damaged files make the decoders raise almost anything (OSError, SyntaxError, struct.error,
    # zlib.error, ...); to the caller it is one and the same error.
    try:
        _check_file(path)
        pixels, reduced = _decode(path)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{path}: not an image in a known format, or its beginning is damaged; "
            "give a PNG, JPEG, TIFF, BMP or WebP file"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(
            f"{path}: more pixels than are opened safely ({error}); crop the image, or raise "
            "PIL.Image.MAX_IMAGE_PIXELS if you trust it"
        ) from error
    except Exception as error:
        raise ImageError(
            f"{path}: the file is damaged, cut short or cannot be opened "
            f"({type(error).__name__}: {error}); copy or export it again"
        ) from error
    if reduced:
        warnings.warn(
            f"{path}: 16-bit colour was read with 8 bits a channel; "
            "to keep all of them store it as TIFF, uncompressed",
            stacklevel=2,
        )
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    return _srgb_to_linear(pixels) if linear else pixels


def gray(image: ArrayLike) -> np.ndarray:
    """Luminance of an image (host).

    0.299 R + 0.587 G + 0.114 B, on the values as they are (gamma-encoded: luma).

    Args:
        image: (..., 3) colour with a row and a column axis before, or (H, W), which passes through.

    Returns:
        (...) in the units and, for floats, the dtype of `image`; other dtypes give float32.

    Raises:
        ImageError: neither two axes nor a last axis of 3.

    Source: ITU-R BT.601; the weights of Pillow's mode "L".
    """
    array = np.asarray(image)
    if not np.issubdtype(array.dtype, np.floating):
        array = array.astype(np.float32)
    if array.ndim == 2:
        return array
    if array.ndim < 3 or array.shape[-1] != 3:
        raise ImageError(
            f"shape {array.shape}: expected (H, W) or (..., H, W, 3); move the channels last"
        )
    return array @ _LUMA.astype(array.dtype)


def write(path: StrPath, image: ArrayLike, *, bits: int = 8) -> None:
    """Write an image to a PNG, JPEG or TIFF file, whole or not at all (host).

    round(clip(image, 0, 1) * (2^bits - 1)), to a temporary file beside `path` that takes its
    name at the end. JPEG has quality 95 without chroma subsampling.

    Args:
        path: the file; its extension decides the format. An existing file is replaced.
        image: (H, W) gray or (H, W, 3) colour, floats, nominally in [0, 1].
        bits: 8, or 16 for gray PNG and TIFF.

    Raises:
        ImageError: unknown extension, shape, dtype or bits, a value that is not finite, or a
            folder that is missing or cannot be written to.
    """
    path = Path(path)
    form = _WRITERS.get(path.suffix.lower())
    if form is None:
        raise ImageError(
            f"{path}: cannot write the extension {path.suffix!r}; use {', '.join(sorted(_WRITERS))}"
        )
    encoded = Image.fromarray(_quantise(path, np.asarray(image), form, bits))
    options = {"quality": 95, "subsampling": 0} if form == "JPEG" else {}
    # Not `tempfile`, whose files only their owner may read.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with open(temporary, "xb") as file:
            encoded.save(file, format=form, **options)
        os.replace(temporary, path)
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "choose an existing folder you may write to"
        ) from error
    finally:
        if os.path.lexists(temporary):
            temporary.unlink()


def paths(root: StrPath) -> list[Path]:
    """The image files below a folder, or a file itself (host).

    Files are told by their extension, in either case; hidden files and folders are passed over.

    Args:
        root: a folder, searched at all depths, or one file.

    Returns:
        The files in the order of their paths below `root`; `[root]` for a file.

    Raises:
        ImageError: `root` is missing, or no image is below it.
    """
    root = Path(root)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise ImageError(f"{root}: no such file or folder; check the path")
    found = {
        path.relative_to(root).as_posix(): path
        for path in root.rglob("*")
        if path.suffix.lower() in _EXTENSIONS
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    }
    if not found:
        raise ImageError(
            f"{root}: no image below this folder; looked for {', '.join(sorted(_EXTENSIONS))}"
        )
    return [found[name] for name in sorted(found)]


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise ImageError("a folder, not an image; list its files with images.paths")
    if not path.exists():
        raise ImageError("no such file; check the path")
    if path.is_file() and path.stat().st_size == 0:
        raise ImageError("the file is empty; copy or export it again")


def _decode(path: Path) -> tuple[np.ndarray, bool]:
    """The pixels of a file, and whether 16-bit colour was reduced to 8 bits on the way."""
    # Pillow gets the open file, not its path: from a path it maps uncompressed files into memory,
    # which scrambles a TIFF whose orientation swaps the axes (seen in Pillow 13).
    with open(path, "rb") as file:
        head = file.read(26)
        is_tiff = head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
        try:
            with Image.open(file) as image:
                deep = _is_deep_colour(image, head)
                if not (deep and is_tiff):
                    pixels = _pixels(image)
                    # Pillow opens a 16-bit gray PNG with alpha as RGBA of three equal channels.
                    gray_png = deep and head[25:26] == _PNG_GRAY_ALPHA
                    return (pixels[..., 0] if gray_png else pixels), deep
        except UnidentifiedImageError:
            if not is_tiff:
                raise
            return _read_with_tifffile(path), False
    try:
        return _read_with_tifffile(path), False
    except ImageError:
        raise
    except Exception:
        # Some compressions need a package that is not required here; eight bits beat none.
        with open(path, "rb") as file, Image.open(file) as image:
            return _pixels(image), True


def _is_deep_colour(image: Image.Image, head: bytes) -> bool:
    """Whether an opened file holds 16 bits a channel that Pillow will cut to 8."""
    if image.format == "PNG":
        return head[24:25] == b"\x10" and head[25:26] != _PNG_GRAY
    bits = getattr(image, "tag_v2", {}).get(_BITS, ())
    return len(bits) > 1 and max(bits) > 8


def _pixels(image: Image.Image) -> np.ndarray:
    """An opened Pillow image as upright floats in [0, 1]."""
    image.load()
    if min(image.size) == 0:
        raise ImageError(f"no pixels, {image.size}; export it again")
    # After `load`, because Pillow itself turns TIFF upright there and then clears the tag.
    orientation = _exif_orientation(image)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        values = _deep_gray(image)
    else:
        values = _eight_bits(image)
    return _UPRIGHT.get(orientation, lambda a: a)(values)


def _exif_orientation(image: Image.Image) -> int:
    # A damaged EXIF block is no reason to refuse pixels that were read.
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def _eight_bits(image: Image.Image) -> np.ndarray:
    """Modes of 8 bits a channel or fewer, over white where transparent."""
    transparent = image.has_transparency_data
    colour = image.mode not in ("1", "L", "LA", "La")
    mode = {
        (False, False): "L",
        (False, True): "LA",
        (True, False): "RGB",
        (True, True): "RGBA",
    }[colour, transparent]
    values = np.asarray(image.convert(mode), dtype=np.float32) / 255
    if not transparent:
        return values
    content, alpha = values[..., :-1], values[..., -1:]
    flat = alpha * content + (1 - alpha)
    return flat if colour else flat[..., 0]


def _deep_gray(image: Image.Image) -> np.ndarray:
    """Gray of 12, 16 or 32 bits."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    if image.mode == "F":
        unit = _unit_floats(values)
    elif image.mode == "I" and image.format not in ("PNG", "PPM"):
        # PNG and PPM are 16-bit files in a wider mode; the others could mean any range.
        raise ImageError("signed or 32-bit pixels have no defined white; save it with 16 bits")
    else:
        white = 4095 if tags.get(_BITS) == (12,) else 65535
        unit = values.astype(np.float32) / white
        if "transparency" in image.info:
            unit = np.where(values == image.info["transparency"], np.float32(1), unit)
    return 1 - unit if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else unit


def _unit_floats(values: np.ndarray) -> np.ndarray:
    if not np.isfinite(values).all():
        raise ImageError("some pixels are NaN or infinite; replace them before use")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        raise ImageError(
            f"float pixels from {low:g} to {high:g}, expected [0, 1]; "
            "divide by the value that means white and clip before saving"
        )
    return values


def _read_with_tifffile(path: Path) -> np.ndarray:
    """The first page of a TIFF that Pillow does not know, such as 16-bit colour."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        limit = 2 * (Image.MAX_IMAGE_PIXELS or np.inf)
        if page.imagewidth * page.imagelength > limit:
            raise ImageError("more pixels than are opened safely; crop the image")
        values = page.asarray()
        photometric, axes = int(page.photometric), page.axes
        extra = len(page.extrasamples)
        orientation = int(page.tags.valueof(_ORIENTATION, 1))
    if photometric > 2 or axes not in ("YX", "YXS", "SYX"):
        raise ImageError(f"TIFF of an uncommon kind (axes {axes}); save it as plain RGB or gray")
    if values.dtype.kind == "u" and values.dtype.itemsize <= 2:
        unit = values.astype(np.float32) / np.iinfo(values.dtype).max
    elif values.dtype.kind == "f":
        unit = _unit_floats(values)
    else:
        raise ImageError(f"{values.dtype} pixels have no defined white; save it with 16 bits")
    if photometric == _WHITE_IS_ZERO:
        unit = 1 - unit
    if axes == "SYX":
        unit = np.moveaxis(unit, 0, -1)
    if extra:
        content, alpha = unit[..., :-extra], unit[..., -extra, None]
        unit = alpha * content + (1 - alpha)
    unit = unit[..., 0] if unit.ndim == 3 and unit.shape[-1] == 1 else unit
    return _UPRIGHT.get(orientation, lambda a: a)(unit)


def _srgb_to_linear(values: np.ndarray) -> np.ndarray:
    """Source: IEC 61966-2-1."""
    curve = ((values + np.float32(0.055)) / np.float32(1.055)) ** np.float32(2.4)
    return np.where(values <= np.float32(0.04045), values / np.float32(12.92), curve)


def _quantise(path: Path, image: np.ndarray, form: str, bits: int) -> np.ndarray:
    """The integers to store, after checking that `form` can store them."""
    colour = image.ndim == 3 and image.shape[-1] == 3
    if not (image.ndim == 2 or colour) or image.size == 0:
        raise ImageError(f"{path}: shape {image.shape}; expected (H, W) or (H, W, 3)")
    if image.dtype.kind in "biuc":
        raise ImageError(f"{path}: dtype {image.dtype}; expected floats in [0, 1], so divide first")
    if bits not in (8, 16) or (bits == 16 and (colour or form == "JPEG")):
        raise ImageError(
            f"{path}: bits={bits} for {'colour' if colour else 'gray'} {form}; "
            "use 8, or 16 for gray PNG and TIFF"
        )
    wide = image.astype(np.float64)
    if not np.isfinite(wide).all():
        raise ImageError(f"{path}: some pixels are NaN or infinite; replace them before writing")
    white = 2**bits - 1
    return np.rint(np.clip(wide, 0, 1) * white).astype(np.uint8 if bits == 8 else np.uint16)
