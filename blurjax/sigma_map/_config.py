"""The system's configuration."""

from dataclasses import dataclass

import numpy as np

MIN_SIZE = 32
"""Smallest image side, in pixels, that `estimate` accepts: one patch."""

PATCHES = (32, 16, 8, 4)
"""Sides of the patch that the classifier can be built for; 32 is the published one."""


@dataclass(frozen=True)
class Config:
    """What sets a network's shape and the sigmas it knows. Hashable, static under jit.

    Attributes:
        body: "regressor" (fully convolutional, tells sigma and its spread) or "classifier" (the
            published network, which chooses one of the classes for a patch).
        classes: of the classifier: sigma = top / classes, 2 top / classes, ..., top.
        patch: side of its patch, one of `PATCHES`.
        top: its largest sigma in pixels.
        width: channels of the regressor at a quarter of the resolution; half as many more at an
            eighth.
        context: whether the regressor sees the whole image's statistics beside the neighbourhood.
    """

    body: str = "regressor"
    classes: int = 30
    patch: int = 32
    top: float = 3.0
    width: int = 64
    context: bool = True

    def __post_init__(self) -> None:
        if self.body not in ("regressor", "classifier"):
            raise ValueError(f"body is {self.body!r}; choose 'regressor' or 'classifier'")
        if self.patch not in PATCHES:
            raise ValueError(f"patch is {self.patch}; choose one of {PATCHES}")
        if self.classes < 2 or not self.top > 0:
            raise ValueError(
                f"classes is {self.classes} and top is {self.top}; give 2 or more classes and a "
                "largest sigma above 0"
            )
        if self.width < 8 or self.width % 2:
            raise ValueError(f"width is {self.width}; give an even number from 8 on")


def class_sigmas(config: Config) -> np.ndarray:
    """Sigma of each class in pixels, (classes,)."""
    return (np.arange(config.classes) + 1) * (config.top / config.classes)
