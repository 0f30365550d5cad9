"""Read and write image files (host).

Everywhere in the library an image is an array of floats in [0, 1], as the file
stores it: gamma-encoded. Nothing is linearised unless `read` is asked to.
"""

import contextlib
import ctypes
import functools
import logging
import os
import stat
import struct
import threading
import uuid
import warnings
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from blurjax._typing import ArrayLike

__all__ = [
    "ImageError",
    "as_gray",
    "check_writable",
    "depth",
    "gray",
    "paths",
    "read",
    "read_psf",
    "write",
    "write_psf",
]

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
_BITS, _PHOTOMETRIC, _ORIENTATION, _SAMPLE_FORMAT, _PROFILE = 258, 262, 274, 339, 34675
_WHITE_IS_ZERO = 0
_UNSIGNED, _FLOATS = 1, 3

# What of a file's EXIF describes the photograph and not the file: description, maker, model,
# resolution, program, date, artist, rating, Windows' own texts, copyright, and the two directories
# of the exposure and of the place.
_EXPOSURE, _PLACE = 34665, 34853
_DESCRIPTIVE = (
    *(270, 271, 272, 282, 283, 296, 305, 306, 315, 18246, 18249),
    *(*range(40091, 40096), 33432, _EXPOSURE, _PLACE),
)
_WIDTH, _HEIGHT, _INTEROPERABILITY = 40962, 40963, 40965
# A JPEG has 65535 bytes for its EXIF, of which these are left.
_JPEG_EXIF = 65533

# Colour types of a PNG header (its 26th byte; the 25th is the number of bits).
_PNG_GRAY, _PNG_GRAY_ALPHA, _PNG_COLOUR = 0, 4, 2

# How Pillow unpacks the pixels of 16-bit PNG files that it cuts to 8 bits, and how it has to
# unpack them to leave the high and the low bytes (of gray with alpha, all four at once).
_BOTH_BYTES = {
    "RGB;16B": ("RGB;16B", "RGB;16L"),
    "RGBA;16B": ("RGBA;16B", "RGBA;16L"),
    "LA;16B": ("RGBA",),
}


class ImageError(ValueError):
    """An image or its file cannot be used: what, by which rule, and what to do about it."""


class _UnreadTiff(ImageError):
    """A TIFF that tifffile cannot read."""


def read(path: StrPath, *, linear: bool = False) -> np.ndarray:
    """The image in a file, upright, as floats in [0, 1] (host).

    Formats: what Pillow reads without running another program (so no PostScript), among them PNG,
    JPEG, TIFF, BMP, WebP and GIF; PNG and TIFF with all bits of 16-bit colour, the latter through
    tifffile. The first frame of several.
    Transparency is composited over white. CMYK becomes RGB without a colour profile. EXIF
    orientation is applied.

    Args:
        path: the file.
        linear: undo the sRGB curve, so that values are proportional to light. Right only for
            files that are sRGB-encoded.

    Returns:
        float32 in [0, 1]: (H, W) for gray files, (H, W, 3) for colour and palette files.

    Raises:
        ImageError: the file is missing, a folder, a pipe or a device, empty, not an image, damaged
            or too large to open safely, or its values are not finite or not in [0, 1] (float
            files).

    Warns:
        UserWarning: 16-bit colour was read with 8 bits (TIFF in a compression that tifffile cannot
            undo: Pillow has no 16-bit colour).
    """
    path = Path(path)
    with _one_kind_of_error(path):
        pixels, reduced = _decode(path)
        if pixels.ndim not in (2, 3) or pixels.size == 0:
            raise ImageError("no pixels; export it again")
    if reduced:
        warnings.warn(
            f"{path}: 16-bit colour was read with 8 bits a channel; "
            "to keep all of them store it as TIFF, uncompressed",
            stacklevel=2,
        )
    pixels = np.ascontiguousarray(pixels, dtype=np.float32)
    return _srgb_to_linear(pixels) if linear else pixels


@contextlib.contextmanager
def _one_kind_of_error(path: Path) -> Iterator[None]:
    """For what decodes an image file, after a check that there is one."""
    # Damaged files make the decoders raise almost anything (OSError, SyntaxError, struct.error,
    # zlib.error, ...); to the caller it is one and the same error.
    try:
        _check_file(path)
        with _hushed():
            yield
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
    except MemoryError as error:
        raise ImageError(
            f"{path}: there is not enough memory for its pixels; crop the image"
        ) from error
    except Exception as error:
        # What the system refuses has a number, and a text that repeats the path.
        reason = error.strerror if isinstance(error, OSError) else None
        raise ImageError(
            f"{path}: the file is damaged, cut short or cannot be opened "
            f"({reason or f'{type(error).__name__}: {error}'}); "
            + ("check that you may read it" if reason else "copy or export it again")
        ) from error


@contextlib.contextmanager
def _hushed() -> Iterator[None]:
    """Keep back what the decoders say on the side, in warnings, in logs and on stderr.

    What they say of a file is what this module says of it in one sentence, or of no interest to
    who has the pixels (damaged EXIF).
    """
    _hush_libraries()
    _reading.now = True
    try:
        # The filters of warnings belong to all threads: what others change meanwhile would be lost.
        if threading.current_thread() is threading.main_thread():
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", module=r"PIL\b|tifffile\b")
                yield
        else:
            yield
    finally:
        _reading.now = False


_reading = threading.local()


@functools.cache
def _hush_libraries() -> None:
    for name in ("PIL.TiffImagePlugin", "tifffile"):
        logging.getLogger(name).addFilter(lambda record: not getattr(_reading, "now", False))
    # libtiff prints its errors; Pillow raises its own beside them. Where the library is not to be
    # found, only that is lost.
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(Image.core.__file__)
        library.TIFFSetErrorHandler(None)
        library.TIFFSetWarningHandler(None)


def depth(path: StrPath) -> int:
    """The bits a channel to write an image file with so that it loses nothing (host).

    Args:
        path: the file, of any format that `read` reads.

    Returns:
        8, or 16 for files of more than 8 bits a channel: 12, 16, floats.

    Raises:
        ImageError: the file is missing, a folder, empty, or not an image.
    """
    path = Path(path)
    with _one_kind_of_error(path), open(path, "rb") as file:
        head = file.read(26)
        try:
            with _opened(file) as image:
                deep_gray = image.mode in ("I", "F") or image.mode.startswith("I;16")
                return 16 if deep_gray or _is_deep_colour(image, head) else 8
        except UnidentifiedImageError:
            if not _is_tiff(head):
                raise
            with _first_page(path) as page:
                return 16 if page.bitspersample > 8 else 8


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


def as_gray(image: ArrayLike) -> np.ndarray:
    """The luminance in [0, 1] of an image of any common kind, after checking it (host).

    What every system's `estimate` does first.

    Args:
        image: (H, W) gray or (H, W, 3) RGB; floats in [0, 1], or uint8 or uint16. Floats may leave
            the range by 0.01, as after resampling.

    Returns:
        (H, W) float32.

    Raises:
        ImageError: another shape or dtype, no pixel, values that are not finite or out of range.

    Source: `gray`, of the values over the one that means white.

    Example:
        >>> import numpy as np
        >>> from blurjax import images
        >>> print(images.as_gray(np.array([[0, 51, 255]], np.uint8)))
        [[0.  0.2 1. ]]
    """
    array = np.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[-1] != 3) or array.size == 0:
        raise ImageError(f"image has shape {array.shape}; pass (H, W) gray or (H, W, 3) RGB")
    if array.dtype in (np.uint8, np.uint16):
        array = array / np.float32(np.iinfo(array.dtype).max)
    if not np.issubdtype(array.dtype, np.floating):
        raise ImageError(f"image is {array.dtype}; pass floats in [0, 1], uint8 or uint16")
    if not np.all(np.isfinite(array)):
        raise ImageError("image has values that are not finite; replace them before the estimate")
    low, high = float(array.min()), float(array.max())
    if low < -0.01 or high > 1.01:
        raise ImageError(f"image ranges over [{low:g}, {high:g}]; scale it to [0, 1]")
    return np.ascontiguousarray(gray(array.astype(np.float32)))


def write(path: StrPath, image: ArrayLike, *, bits: int = 8, like: StrPath | None = None) -> None:
    """Write an image to a PNG, JPEG or TIFF file, whole or not at all (host).

    round(clip(image, 0, 1) * (2^bits - 1)), to a temporary file beside `path` that takes its
    name at the end. JPEG has quality 95 without chroma subsampling.

    Args:
        path: the file; its extension decides the format. An existing file is replaced.
        image: (H, W) gray or (H, W, 3) colour, floats, nominally in [0, 1].
        bits: 8, or 16 for PNG and TIFF.
        like: the image file that `image` was made from, to keep what it says of the photograph: its
            EXIF (camera, exposure, date, place, copyright), as that of an upright image of the new
            size, without a preview; and its colour profile, if that is one for gray or for RGB as
            `image` is, so not that of CMYK. TIFF with 16-bit colour keeps the profile alone, and a
            JPEG has no room for more than 64 KiB of EXIF.

    Raises:
        ImageError: unknown extension, shape, dtype or bits, a value that is not finite, a folder
            that is missing or cannot be written to, or `like` is not an image file.
    """
    path = Path(path)
    form = _form(path)
    pixels = _quantise(path, np.asarray(image), form, bits)
    exif, profile = (b"", b"") if like is None else _description(Path(like), pixels.shape)
    if pixels.ndim == 3 and bits == 16:
        save = _save_deep_png if form == "PNG" else _save_deep_tiff
        _replace(path, lambda file: save(file, pixels, exif, profile))
        return
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if form == "JPEG" else {}
    if exif and not (form == "JPEG" and len(exif) > _JPEG_EXIF):
        options["exif"] = exif
    if profile:
        options["icc_profile"] = profile
    encoded = Image.fromarray(pixels)
    _replace(path, lambda file: encoded.save(file, format=form, **options))


def check_writable(path: StrPath) -> None:
    """Make sure, before the work, that `write` will find no fault with a path (host).

    Args:
        path: the file to be written later; nothing is left of the trial.

    Raises:
        ImageError: unknown extension, or a folder that is missing or cannot be written to.
    """
    path = Path(path)
    _form(path)
    with _temporary(path):
        pass


def _form(path: Path) -> str:
    """Pillow's name of the format that a path asks for."""
    form = _WRITERS.get(path.suffix.lower())
    if form is None:
        raise ImageError(
            f"{path}: cannot write the extension {path.suffix!r}; use {', '.join(sorted(_WRITERS))}"
        )
    return form


def paths(root: StrPath) -> list[Path]:
    """The image files below a folder, or a file itself (host).

    Files are told by their extension, in either case; hidden files and folders are passed over.
    What `read` will refuse is among them, such as a link to nothing, so that it is not missed.

    Args:
        root: a folder, searched at all depths, or one file.

    Returns:
        The files in the order of their paths below `root`; `[root]` for a file.

    Raises:
        ImageError: `root` is missing, or no image is below it.
    """
    root = Path(root)
    # Not the methods of `Path`, which raise at some names.
    if not os.path.isdir(root):
        if os.path.lexists(root):
            return [root]
        raise ImageError(f"{root}: no such file or folder; check the path")
    found = {
        path.relative_to(root).as_posix(): path
        for path in root.rglob("*")
        if path.suffix.lower() in _EXTENSIONS
        and not os.path.isdir(path)
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    }
    if not found:
        raise ImageError(
            f"{root}: no image below this folder; looked for {', '.join(sorted(_EXTENSIONS))}"
        )
    return [found[name] for name in sorted(found)]


def read_psf(path: StrPath, *, key: str | None = None) -> np.ndarray:
    """The point spread function in a file, odd, square and of sum 1 (host).

    Formats: .npy; .mat up to version 7.2 (MATLAB's `save` without "-v7.3"); images, gray or of
    three equal channels, read as they are, without undoing a gamma curve.

    A kernel that is not square gets zeros on both sides of its shorter axis. One of even size n
    has no central pixel; its centre is taken to be n // 2, counted from 0, as by MATLAB's conv2
    and psf2otf and by scipy.ndimage, and a row or column of zeros is added at the end,
    so that this pixel becomes the centre.

    Args:
        path: the file; its extension decides the format.
        key: the name of the variable in a .mat file. None takes the first there is of `f`
            (Levin's kernels), `psf`, `kernel`, `k` and `h`, or else the only matrix.

    Returns:
        (k, k), k odd, non-negative, of sum 1, centred at (k - 1) / 2: float32 where the file
        holds float32, otherwise float64.

    Raises:
        ImageError: the file is missing, empty, damaged or of an unknown kind; it does not hold
            one matrix of real numbers; values are not finite or negative (beyond rounding, a
            millionth of the largest), or all 0.

    Source: our choice.
    """
    path = Path(path)
    try:
        _check_file(path)
        return _as_psf(_psf_values(path, key))
    except ImageError as error:
        known = str(error).startswith(f"{path}: ")
        raise ImageError(str(error) if known else f"{path}: {error}") from error
    except Exception as error:
        raise ImageError(
            f"{path}: the file is damaged, cut short or cannot be opened "
            f"({type(error).__name__}: {error}); copy or export it again"
        ) from error


def write_psf(path: StrPath, psf: ArrayLike) -> None:
    """Write a point spread function to a .npy, .mat or .png file, whole or not at all (host).

    .npy and .mat (variable `psf`) keep every bit. A PNG has 16 bits, of which the largest value
    takes all: its sum is lost, and values below 1/131070 of the largest are; `read_psf` makes the
    sum 1 again.

    Args:
        path: the file; its extension decides the format. An existing file is replaced.
        psf: (k, k) floats, k odd, non-negative, not all 0. Half precision is written as float32.

    Raises:
        ImageError: unknown extension, shape or dtype, a value that is negative or not finite, all
            0, or a folder that is missing or cannot be written to.
    """
    path = Path(path)
    values = np.asarray(psf)
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.shape[0] % 2 == 0:
        raise ImageError(
            f"{path}: shape {values.shape}; a psf is (k, k) with k odd, so write one at a time and "
            "pad it with zeros"
        )
    if values.dtype.kind in "biuc":
        raise ImageError(f"{path}: dtype {values.dtype}; expected floats, so convert first")
    values = values.astype(np.float32 if values.dtype.itemsize < 4 else values.dtype)
    try:
        _check_psf_values(values)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    if values.min() < 0:
        raise ImageError(f"{path}: values down to {values.min():g}; set those below 0 to 0")
    extension = path.suffix.lower()
    if extension == ".npy":
        _replace(path, lambda file: np.save(file, values, allow_pickle=False))
    elif extension == ".mat":
        from scipy.io import savemat

        _replace(path, lambda file: savemat(file, {"psf": values}))
    elif extension == ".png":
        write(path, values / values.max(), bits=16)
    else:
        raise ImageError(
            f"{path}: cannot write a psf with the extension {path.suffix!r}; use .mat, .npy, .png"
        )


def _replace(path: Path, save: Callable[[BinaryIO], object]) -> None:
    """Put at `path` what `save` writes: to a file beside it that takes its name at the end."""
    with _temporary(path) as temporary:
        with open(temporary, "wb") as file:
            save(file)
        os.replace(temporary, path)


@contextlib.contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """An empty file beside `path`, for as long as it is needed."""
    # Not `tempfile`, whose files only their owner may read.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        temporary.touch(exist_ok=False)
        yield temporary
    except OSError as error:
        raise ImageError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "choose an existing folder you may write to"
        ) from error
    finally:
        if os.path.lexists(temporary):
            temporary.unlink()


def _description(path: Path, shape: tuple[int, ...]) -> tuple[bytes, bytes]:
    """The EXIF and the colour profile of a file, for an image of `shape` made from it."""
    exif = profile = b""
    with _one_kind_of_error(path), open(path, "rb") as file:
        head = file.read(26)
        try:
            with _opened(file) as image:
                profile = image.info.get("icc_profile") or b""
                # Damaged EXIF is no reason to lose the image.
                with contextlib.suppress(Exception):
                    exif = _exif_of(image, shape)
        except UnidentifiedImageError:
            if not _is_tiff(head):
                raise
            with _first_page(path) as page:
                profile = bytes(page.tags.valueof(_PROFILE, b""))
    # An ICC profile names the colours that it is for.
    fits = profile[16:20] == (b"RGB " if len(shape) == 3 else b"GRAY")
    return exif, profile if fits else b""


def _exif_of(image: Image.Image, shape: tuple[int, ...]) -> bytes:
    """What the EXIF of an opened file says of the photograph; b"" if nothing."""
    old, new = image.getexif(), Image.Exif()
    for tag in _DESCRIPTIVE:
        value = old.get_ifd(tag) if tag in (_EXPOSURE, _PLACE) else old.get(tag)
        if value:
            new[tag] = dict(value) if tag in (_EXPOSURE, _PLACE) else value
    if not new:
        return b""
    exposure = new.get(_EXPOSURE, {})
    exposure.pop(_INTEROPERABILITY, None)
    for tag, size in ((_WIDTH, shape[1]), (_HEIGHT, shape[0])):
        if tag in exposure:
            exposure[tag] = size
    new[_ORIENTATION] = 1
    return new.tobytes()


def _save_deep_png(file: BinaryIO, pixels: np.ndarray, exif: bytes, profile: bytes) -> None:
    """(H, W, 3) uint16 as PNG, which Pillow does not write."""

    def chunk(kind: bytes, content: bytes) -> None:
        size, check = len(content), zlib.crc32(kind + content)
        file.write(struct.pack(">I", size) + kind + content + struct.pack(">I", check))

    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    # Each byte less that of the pixel before: photographs become a third smaller. 1 says so.
    lines = np.ones((height, 1 + rows.shape[1]), np.uint8)
    lines[:, 1:] = rows
    lines[:, 7:] -= rows[:, :-6]
    file.write(b"\x89PNG\r\n\x1a\n")
    chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, _PNG_COLOUR, 0, 0, 0))
    if profile:
        chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if exif:
        chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    chunk(b"IDAT", zlib.compress(lines.tobytes()))
    chunk(b"IEND", b"")


def _save_deep_tiff(file: BinaryIO, pixels: np.ndarray, exif: bytes, profile: bytes) -> None:
    """(H, W, 3) uint16 as TIFF, which Pillow does not write; tifffile has no way to add EXIF."""
    import tifffile

    tifffile.imwrite(
        file, pixels, photometric="rgb", metadata=None, software=False, iccprofile=profile or None
    )


# What published kernels are called in .mat files, Levin's first.
_PSF_KEYS = ("f", "psf", "kernel", "k", "h")
# Negative values down to this share of the largest are rounding errors.
_ROUNDING = 1e-6


def _psf_values(path: Path, key: str | None) -> np.ndarray:
    """The matrix in a file, as it is."""
    extension = path.suffix.lower()
    if key is not None and extension != ".mat":
        raise ImageError(f"key={key!r}, but only .mat files have named variables; leave it out")
    if extension == ".npy":
        return np.load(path, allow_pickle=False)
    if extension == ".mat":
        return _mat_variable(path, key)
    if extension not in _EXTENSIONS:
        raise ImageError(
            f"cannot read a psf with the extension {path.suffix!r}; use .mat, .npy or an image"
        )
    pixels = read(path).astype(np.float64)
    if pixels.ndim == 3 and np.ptp(pixels, axis=-1).max() > 0:
        raise ImageError("a colour image; a psf is gray, so save one channel")
    return pixels[..., 0] if pixels.ndim == 3 else pixels


def _mat_variable(path: Path, key: str | None) -> np.ndarray:
    from scipy.io import loadmat

    try:
        contents = loadmat(path)
    except NotImplementedError as error:
        raise ImageError("a .mat file of version 7.3; save it again with '-v7'") from error
    variables = {name: v for name, v in contents.items() if not name.startswith("__")}
    matrices = [
        name
        for name, v in variables.items()
        if isinstance(v, np.ndarray) and v.ndim == 2 and v.dtype.kind in "biuf" and v.size > 1
    ]
    if key is None:
        key = next((name for name in _PSF_KEYS if name in matrices), None)
    if key is None and len(matrices) == 1:
        key = matrices[0]
    if key not in variables:
        found = ", ".join(sorted(variables)) or "nothing"
        asked = "no variable is plainly the psf" if key is None else f"there is no variable {key!r}"
        raise ImageError(f"{asked}; the file holds {found}: pass one as key=")
    return variables[key]


def _as_psf(values: np.ndarray) -> np.ndarray:
    """Checked, padded to an odd square and of sum 1; see `read_psf`."""
    if values.ndim != 2 or values.size == 0 or values.dtype.kind not in "biuf":
        raise ImageError(
            f"{values.dtype} values of shape {values.shape}; a psf is one matrix of real numbers, "
            "so save one at a time"
        )
    values = values.astype(np.float32 if values.dtype == np.float32 else np.float64)
    _check_psf_values(values)
    # The missing last row or column of an even size, then both sides alike.
    odd = [n + (n + 1) % 2 for n in values.shape]
    sides = [(max(odd) - n) // 2 for n in odd]
    widths = [(side, side + m - n) for side, m, n in zip(sides, odd, values.shape, strict=True)]
    values = np.pad(np.maximum(values, 0), widths)
    return values / values.sum(dtype=np.float64).astype(values.dtype)


def _check_psf_values(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise ImageError("some values are NaN or infinite; replace them")
    largest = float(values.max())
    if float(values.min()) < -_ROUNDING * max(largest, 0):
        raise ImageError(
            f"values down to {values.min():g}; a psf is not negative, so clip it if you mean it"
        )
    if largest <= 0:
        raise ImageError("all values are 0; a psf has a positive sum, so export it again")


def _check_file(path: Path) -> None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        if os.path.islink(path):
            raise ImageError("a link to what is not there; copy the file itself") from error
        raise ImageError("no such file; check the path") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"cannot be opened ({reason}); check the path") from error
    if stat.S_ISDIR(found.st_mode):
        raise ImageError("a folder, not an image; list its files with images.paths")
    if not stat.S_ISREG(found.st_mode):
        # Opening a pipe would wait for somebody to write into it, maybe for ever.
        raise ImageError("a pipe or a device, not a file; save the image to a file first")
    if found.st_size == 0:
        raise ImageError("the file is empty; copy or export it again")


def _opened(file: BinaryIO | Path) -> ImageFile.ImageFile:
    """`Image.open`, of what is safe to load."""
    image = Image.open(file)
    if image.format == "EPS":
        # Pillow would hand it to Ghostscript.
        image.close()
        raise ImageError("a PostScript program, not pixels; export it as PNG")
    return image


def _decode(path: Path) -> tuple[np.ndarray, bool]:
    """The pixels of a file, and whether 16-bit colour was reduced to 8 bits on the way."""
    # Pillow gets the open file, not its path: from a path it maps uncompressed files into memory,
    # which scrambles a TIFF whose orientation swaps the axes (seen in Pillow 13).
    with open(path, "rb") as file:
        head = file.read(26)
        try:
            with _opened(file) as image:
                deep = _is_deep_colour(image, head)
                if deep and image.format == "PNG":
                    pixels = _read_deep_png(path, image)
                    if pixels is not None:
                        return pixels, False
                if not (deep and _is_tiff(head)):
                    pixels = _pixels(image)
                    # Pillow opens a 16-bit gray PNG with alpha as RGBA of three equal channels.
                    gray_png = deep and head[25] == _PNG_GRAY_ALPHA
                    return (pixels[..., 0] if gray_png else pixels), deep
        except UnidentifiedImageError:
            if not _is_tiff(head):
                raise
            return _read_with_tifffile(path), False
    try:
        return _read_with_tifffile(path), False
    except _UnreadTiff:
        # Some compressions need a package that is not required here; eight bits beat none.
        with open(path, "rb") as file, _opened(file) as image:
            return _pixels(image), True


def _is_tiff(head: bytes) -> bool:
    return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _is_deep_colour(image: Image.Image, head: bytes) -> bool:
    """Whether an opened file holds 16 bits a channel that Pillow will cut to 8."""
    if image.format == "PNG":
        return head[24] == 16 and head[25] != _PNG_GRAY
    bits = getattr(image, "tag_v2", {}).get(_BITS, ())
    return len(bits) > 1 and max(bits) > 8


def _read_deep_png(path: Path, image: ImageFile.ImageFile) -> np.ndarray | None:
    """All 16 bits of an opened colour PNG; None if this version of Pillow hides them.

    Pillow decodes such files, interlaced or not, and then keeps one of the two bytes of each
    value. Which one is a matter of how it unpacks them: so they are read once for each.
    """
    if len(image.tile) != 1 or image.mode not in ("RGB", "RGBA"):
        return None
    halves = []
    for layout in _BOTH_BYTES.get(str(image.tile[0].args), ()):
        with _opened(path) as half:
            half.tile = [half.tile[0]._replace(args=layout)]
            halves.append(np.asarray(half))
    if not halves:
        return None
    high, low = halves if len(halves) == 2 else (halves[0][..., ::2], halves[0][..., 1::2])
    levels = high * np.float32(256) + low
    unit = levels / np.float32(65535)
    if unit.shape[-1] in (2, 4):
        content, alpha = unit[..., :-1], unit[..., -1:]
        unit = alpha * content + (1 - alpha)
    elif "transparency" in image.info:
        clear = np.all(levels == image.info["transparency"], axis=-1, keepdims=True)
        unit = np.where(clear, np.float32(1), unit)
    unit = unit[..., 0] if unit.shape[-1] == 1 else unit
    # EXIF may stand behind the pixels.
    image.load()
    return _UPRIGHT.get(_exif_orientation(image), lambda a: a)(unit)


def _pixels(image: Image.Image) -> np.ndarray:
    """An opened Pillow image as upright floats in [0, 1]."""
    image.load()
    if min(image.size) == 0:
        raise ImageError(f"no pixels, {image.size}; export it again")
    kinds = getattr(image, "tag_v2", {}).get(_SAMPLE_FORMAT, ())
    if not set(kinds) <= {_UNSIGNED, _FLOATS}:
        raise ImageError("signed pixels have no defined white; save it with 8 or 16 bits, unsigned")
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


@contextlib.contextmanager
def _first_page(path: Path) -> Iterator[Any]:
    """The first page of a TIFF that Pillow does not know, such as 16-bit colour."""
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            yield file.pages.first
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        # Of no use to others: the lack of a package for the compression that damage asks for.
        raise _UnreadTiff(
            "a TIFF that is damaged, cut short or of an uncommon kind; save it again, uncompressed"
        ) from error


def _read_with_tifffile(path: Path) -> np.ndarray:
    with _first_page(path) as page:
        limit = 2 * (Image.MAX_IMAGE_PIXELS or np.inf)
        # Up to four channels, as Pillow has.
        if page.imagewidth * page.imagelength > limit or page.size > 4 * limit:
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
    if bits not in (8, 16) or (bits == 16 and form == "JPEG"):
        raise ImageError(f"{path}: bits={bits} for {form}; use 8, or 16 for PNG and TIFF")
    if not np.isfinite(image).all():
        raise ImageError(f"{path}: some pixels are NaN or infinite; replace them before writing")
    pixels = np.empty(image.shape, np.uint8 if bits == 8 else np.uint16)
    # Row by row in float64, which of a large image would take much memory at once.
    for stored, row in zip(pixels, image, strict=True):
        stored[:] = np.rint(np.clip(row.astype(np.float64), 0, 1) * (2**bits - 1))
    return pixels
