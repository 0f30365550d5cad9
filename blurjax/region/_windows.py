"""Windows of an image: where they may be."""

import numpy as np


def grid(shape: tuple[int, int], size: int, stride: int) -> np.ndarray:
    """The upper left corners of all windows of a grid (host).

    Args:
        shape: height and width of the image, in pixels.
        size: of the windows.
        stride: from one to the next.

    Returns:
        (n, 2), row by row; none if the image is smaller than a window.

    Source: Yang et al. 3.4, with size 228 and stride 20. (450x450 pixels have 144 windows, not the
        121 that are written there.)
    """
    rows, columns = (np.arange(0, n - size + 1, stride) for n in shape)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
