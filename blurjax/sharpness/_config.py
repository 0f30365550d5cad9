"""The system's configuration."""

from dataclasses import dataclass

PATCH = 32
"""Side of the patches of the published network, in pixels."""

MIN_SIZE = 32
"""Smallest image side, in pixels, that `estimate` accepts."""


MODES = ("cascade", "sum")
"""How the local metric puts the responses to its kernels together."""


@dataclass(frozen=True)
class Config:
    """What sets a network's shape. Hashable, static under jit.

    Attributes:
        body: "detector" (fully convolutional, a map for an image), "patches" (the published
            network, sharp or blurred for a patch of 32x32), or "metric" (no network: kernels made
            from the patch network's, their controls, and every classical method's calibration).
        width: of the detector: channels at a quarter of the resolution; twice, 8/3 and four times
            as many at an 8th, a 16th and a 32nd.
        kernel: of the patch network: side of the first layer's kernels, odd.
        filters: their number; the layers after it have as many, and twice as many.
        contrast: whether each patch is divided by its own contrast first.
        mode: how the local metric puts its kernels together, see `local_metric`.
    """

    body: str = "detector"
    width: int = 24
    kernel: int = 7
    filters: int = 32
    contrast: bool = False
    mode: str = "cascade"

    def __post_init__(self) -> None:
        if self.body not in ("detector", "patches", "metric"):
            raise ValueError(f"body is {self.body!r}; choose 'detector', 'patches' or 'metric'")
        if self.mode not in MODES:
            raise ValueError(f"mode is {self.mode!r}; choose one of {MODES}")
        if self.kernel % 2 == 0 or not 3 <= self.kernel <= 15:
            raise ValueError(f"kernel is {self.kernel}; give an odd side from 3 to 15")
        if self.width < 8 or self.width % 8 or self.filters < 4:
            raise ValueError(
                f"width is {self.width} and filters {self.filters}; give a multiple of 8 as width "
                "and 4 or more filters"
            )
