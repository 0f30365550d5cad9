"""Sharp photographs that are installed with scikit-image (host).

They are opened by path: the loaders of `skimage.data` may go to the network.
"""

from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from blurjax.data._folder import read_gray
from blurjax.data._source import Photograph, Photographs, Source

Part = Literal["all", "train", "validation", "test"]

# The part of each photograph that is sharp pixel by pixel, as rows and columns; all of it where
# None. Judged by eye at twice the size. Left out, because they are soft there:
#   chelsea (background out of focus, fur soft), ihc, cell (optics wider than the pixel),
#   retina, moon (hardly any detail at the pixel), hubble_deep_field (stars show the telescope's
#   PSF), text (far end out of focus), clock_motion (motion blur);
# and motorcycle_right, the scene of motorcycle_left again; color, logo, horse, phantom and the
# chessboards, which are drawings; microaneurysms and the rest, which are too small.
_Window = tuple[slice, slice] | None
_PARTS: dict[str, dict[str, _Window]] = {
    "train": {
        # Suit and helmet; the flag and the shuttle behind are out of focus.
        "astronaut.png": (slice(256, 512), slice(40, 512)),
        "brick.png": None,
        "camera.png": None,
        "grass.png": None,
        "gravel.png": None,
        "rocket.jpg": None,
    },
    "validation": {"coins.png": None, "page.png": None},
    # Photographs only, and of scenes unlike those above.
    "test": {
        # The far end of the table is out of focus.
        "coffee.png": (slice(140, 400), slice(0, 600)),
        "motorcycle_left.png": None,
    },
}


def embedded(part: Part = "all") -> Source:
    """The sharp photographs and textures that are installed with scikit-image.

    Ten images of about 0.1 to 0.4 megapixels, gray; where a background is out of focus, the
    sharp part. The split is fixed: train 6, validation 2, test 2 (photographs only).

    Args:
        part: "train", "validation", "test", or "all" for the three in this order.

    Returns:
        A source; names are file names ("coffee.png"). Nothing is downloaded.

    Raises:
        ValueError: no such part.

    Source: our choice, by eye; the licences are in scikit-image's data folder.
    """
    if part != "all" and part not in _PARTS:
        raise ValueError(f"part={part!r}: use one of {['all', *_PARTS]}")
    return Photographs(
        Photograph(name, partial(_read_window, embedded_path(name), window), embedded_path(name))
        for key in (_PARTS if part == "all" else (part,))
        for name, window in _PARTS[key].items()
    )


def embedded_path(name: str) -> Path:
    """The path of any file in scikit-image's data folder, such as "clock_motion.png" (host).

    Args:
        name: a file name with its extension.

    Raises:
        ValueError: the installed scikit-image has no such file.
    """
    import skimage

    path = Path(skimage.__file__).parent / "data" / name
    if not path.is_file():
        raise ValueError(f"{name}: not installed with scikit-image; it would be {path}")
    return path


def _read_window(path: Path, window: _Window) -> np.ndarray:
    image = read_gray(path)
    return image if window is None else np.ascontiguousarray(image[window])
