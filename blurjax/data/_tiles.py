"""Squares cut from the photographs of a source, stacked for the device (host)."""

import hashlib
from typing import NamedTuple

import numpy as np

from blurjax.data._source import Source


class Tiles(NamedTuple):
    """Squares of one size, and where they come from."""

    images: np.ndarray
    """uint8 (m, size, size): round(255 * gray); divide by 255 on the device."""
    # Hides tuple.index, which nobody misses here.
    index: np.ndarray  # type: ignore[assignment]
    """int32 (m,): the photograph's place in the source."""
    skipped: tuple[str, ...]
    """Names of the photographs that gave no tile: too small, or flat by `min_std`."""


def tiles(
    source: Source,
    size: int,
    *,
    per_image: int | None = None,
    seed: int = 0,
    min_std: float = 0.0,
) -> Tiles:
    """Cut photographs into squares that do not overlap, on a grid centred in each.

    Args:
        source: any source of gray photographs.
        size: side of a tile in pixels, at least 1.
        per_image: at most so many tiles of one photograph, picked at random; None for all.
        seed: of that pick, which depends besides only on the photograph's name and its tiles.
        min_std: a tile whose standard deviation (of gray in [0, 1]) is below this is left out.

    Returns:
        `Tiles`, in the order of the source and from top left to bottom right.

    Raises:
        ValueError: `size` or `per_image` below 1, or no photograph gave a tile.
        ImageError: a photograph cannot be read; it names the file.

    Source: our choice.
    """
    if size < 1 or (per_image is not None and per_image < 1):
        raise ValueError(f"size={size}, per_image={per_image}: both must be at least 1")
    stacks = []
    for i, name in enumerate(source.names):
        stack = _grid(source[i], size)
        if min_std > 0:
            stack = stack[np.std(stack / np.float32(255), axis=(1, 2)) >= min_std]
        if per_image is not None and len(stack) > per_image:
            stack = stack[np.sort(_rng(seed, name).permutation(len(stack))[:per_image])]
        stacks.append(stack)
    counts = [len(stack) for stack in stacks]
    if not any(counts):
        raise ValueError(
            f"no tile of {size} x {size} pixels in {len(source)} photographs; "
            "use a smaller size, a smaller min_std or other photographs"
        )
    return Tiles(
        images=np.concatenate(stacks),
        index=np.repeat(np.arange(len(counts), dtype=np.int32), counts),
        skipped=tuple(name for name, n in zip(source.names, counts, strict=True) if n == 0),
    )


def _grid(image: np.ndarray, size: int) -> np.ndarray:
    """All tiles of one photograph, uint8 (n, size, size); n may be 0."""
    rows, columns = image.shape[0] // size, image.shape[1] // size
    top, left = (image.shape[0] - rows * size) // 2, (image.shape[1] - columns * size) // 2
    window = image[top : top + rows * size, left : left + columns * size]
    # Rounded only once cut, which costs less than rounding the photograph.
    quantised = np.rint(window * 255).astype(np.uint8)
    grid = quantised.reshape(rows, size, columns, size).swapaxes(1, 2)
    return grid.reshape(-1, size, size) if rows * columns else np.zeros((0, size, size), np.uint8)


def _rng(seed: int, name: str) -> np.random.Generator:
    # Keyed by name, so that other photographs do not change the pick.
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))
