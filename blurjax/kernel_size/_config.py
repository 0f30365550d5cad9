"""The system's configuration, and the sizes that its networks tell apart."""

import functools
import operator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from blurjax._typing import Array

BODIES = ("correlation", "cascade", "single", "regressor")

PATCH = 128
"""Side of the patch that the residual networks see, in pixels."""
MIN_SIZE = 128
"""Smallest image side, in pixels, that `estimate` accepts: one patch, and the longest lag."""

RANGES = ((3, 19), (19, 35), (35, 49), (49, 63), (63, 95))
"""The five ranges of the cascade: sizes above the first number, up to the second, in pixels."""
# The last range begins where the fourth ends; its own sizes are 4 pixels apart, from 67 on.
_PUBLISHED = (*range(5, 64, 2), *range(67, 96, 4))
# Of the correlation network the largest, if its lags reach so far.
_LARGEST = 97


@dataclass(frozen=True)
class Config:
    """What sets a network's shape and the sizes it knows. Hashable, static under jit.

    Attributes:
        body: "correlation" (the whole image's statistics, and a small network over their lags),
            "cascade" (a residual network chooses one of five ranges, five more a size in each),
            "single" (one residual network for all 38 sizes) or "regressor" (one that gives a
            number).
        depth: layers of a residual network, 18 or 101 as published, or 10.
        width: channels of its first stage; 64 as published.
        input: of a residual network: "gradient", along the rows, as published; "intensity".
        lags: of the correlation maps, in pixels; more than the largest kernel.
        channels: of the correlation network.
    """

    body: str = "correlation"
    depth: int = 18
    width: int = 64
    input: str = "gradient"
    lags: int = 112
    channels: int = 64

    def __post_init__(self) -> None:
        for name, value, known in (
            ("body", self.body, BODIES),
            ("depth", self.depth, (10, 18, 101)),
            ("input", self.input, ("gradient", "intensity")),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; choose one of {known}")
        if self.width < 4 or self.channels < 8:
            raise ValueError(
                f"width is {self.width} and channels is {self.channels}; give at least 4 and 8"
            )
        if self.lags < 16 or self.lags % 16 or self.lags > MIN_SIZE:
            raise ValueError(f"lags is {self.lags}; give a multiple of 16, at most {MIN_SIZE}")


def sizes(config: Config) -> np.ndarray:
    """The size of each class in pixels: of the residual networks (38,), 5, 7, .., 63, 67, 71, ..,
    95; of the correlation network (49,), 1, 3, .., 97."""
    if config.body == "correlation":
        return np.arange(1, min(_LARGEST, config.lags - 1) + 1, 2)
    return np.array(_PUBLISHED)


T = TypeVar("T", np.ndarray, Array)


def range_of(size: T) -> T:
    """The number of the cascade's range, 0 to 4, that holds each of some sizes in pixels.

    Those below the first range count to it, those above the last to that.
    """
    above = [(size > top).astype(int) for _, top in RANGES[:-1]]
    return functools.reduce(operator.add, above)


def members(index: int) -> np.ndarray:
    """Which of the 38 classes are in a range of the cascade."""
    return np.flatnonzero(range_of(np.array(_PUBLISHED)) == index)
