"""The system's configuration."""

from dataclasses import dataclass

WINDOW = 228
"""Side of the windows that the network is about, in pixels."""
THRESHOLD = 0.75
"""A window is good if the kernel estimated from it is more similar to the true one than that."""
TARGETS = ("good", "similarity", "rank")
BODIES = ("resnet", "gabor")


@dataclass(frozen=True)
class Config:
    """What sets a scorer's shape and what it learns. Hashable, static under jit.

    Attributes:
        body: "resnet" (a residual network with strided convolutions instead of pooling) or "gabor"
            (logistic regression on `gabor_statistics`).
        depth: of the residual network: 34 layers as published, 18 or 10.
        width: channels of its first stage; 64 as published.
        reduced: by which factor it sees windows reduced; 1 as published, 2.
        target: "good" (as published: whether the similarity exceeds `threshold`), "similarity" (the
            number itself), or "rank" (that and which of two windows of one photograph is better).
        threshold: the similarity above which a window is good.
    """

    body: str = "resnet"
    depth: int = 34
    width: int = 64
    reduced: int = 1
    target: str = "good"
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        for name, value, known in (
            ("body", self.body, BODIES),
            ("depth", self.depth, (10, 18, 34)),
            ("reduced", self.reduced, (1, 2)),
            ("target", self.target, TARGETS),
        ):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; choose one of {known}")
        if self.width < 4:
            raise ValueError(f"width is {self.width}; give at least 4")
        if not 0 < self.threshold < 1:
            raise ValueError(
                f"threshold is {self.threshold}; similarities are between 0 and 1: take {THRESHOLD}"
            )
