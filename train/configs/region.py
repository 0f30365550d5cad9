"""Presets of `python -m train region_labels` and `python -m train region`.

    D=../shared/data
    python -m train region_labels --images $D/bsds500/images $D/urban100_half $D/div2k_gray_crops
    python -m train region

and the same with the other presets. What each took on one core of two, the other one busy, and how
good the windows are that it chooses in validation (mean similarity; any window, the best one):

    compact      5000 steps   1433 s   0.609 (0.578, 0.702)
    good         4000 steps   3107 s   0.589 (0.561, 0.686; 960 pairs of labels)
    gabor        1500 steps    285 s   0.577 (likewise)

The labels: 27 min on two cores for 960 pairs and 96 of validation (--pairs 960), 17 min on one core
for the 480 and 48 more. "similarity", and the published widths, were not trained: they want more
time, or an accelerator.
"""

from dataclasses import dataclass, field, replace

from blurjax.region import Config


@dataclass(frozen=True)
class Factory:
    """How windows and their labels are made.

    Attributes:
        pairs: of a photograph and a kernel; of validation a tenth as many.
        windows: of each, at random of the grid; None for all.
        validated: likewise in validation.
        stride: of the grid, in pixels.
        sizes: of kernels' arrays, by turns: each size compiles a program.
        smallest: of kernels, in pixels, longer axis; evenly drawn from there to the largest size.
        noise: from .. to, standard deviation, drawn evenly in its logarithm.
        side: of the blurred photographs, at most.
        photographs, kernels: so many of each, each by each; None for all photographs in turn, each
            pair with a kernel of its own.
        shard: pairs in a file.
    """

    pairs: int = 1440
    windows: int | None = 8
    validated: int | None = 16
    stride: int = 20
    sizes: tuple[int, ...] = (15, 23, 31, 39, 47, 55)
    smallest: int = 11
    noise: tuple[float, float] = (1 / 255, 4 / 255)
    side: int = 512
    photographs: int | None = None
    kernels: int | None = None
    shard: int = 12


LABELS = {
    # What two cores make in an hour.
    "compact": Factory(),
    # As published: 30 photographs by 32 kernels, all windows.
    "seed": Factory(
        pairs=960, windows=None, noise=(2 / 255, 2 / 255), side=450, photographs=30, kernels=32
    ),
}


@dataclass(frozen=True)
class Preset:
    """One way to train a scorer.

    Attributes:
        config: of the scorer.
        labels: which of `LABELS`.
        steps, batch: of the optimiser; a batch has four windows of each photograph.
        optimizer: "adamw" (200 steps of warm-up, then a cosine to 0) or "sgd".
        rate: its peak learning rate.
        momentum: of SGD.
        weight_decay: of either.
        tuned: "all" parameters, or those that the "published" fine-tuning touches.
        validate_every: steps.
    """

    config: Config = field(default_factory=Config)
    labels: str = "compact"
    steps: int = 5_000
    batch: int = 32
    optimizer: str = "adamw"
    rate: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 5e-2
    tuned: str = "all"
    validate_every: int = 250


_COMPACT = Config(width=12, reduced=2, target="rank")

PRESETS = {
    # The default of `estimate`.
    "compact": Preset(_COMPACT),
    # Its controls: the published target, and the number itself.
    "good": Preset(replace(_COMPACT, target="good"), steps=4_000),
    "similarity": Preset(replace(_COMPACT, target="similarity"), steps=4_000),
    "gabor": Preset(Config(body="gabor"), steps=1_500, rate=1e-2, weight_decay=1e-3),
    # As published; 138 000 windows, 20 times each. "finetuned" wants --start with weights of that
    # shape and touches what the source does.
    "seed": Preset(
        Config(), "seed", 86_000, optimizer="sgd", weight_decay=0.0, validate_every=2_000
    ),
    "finetuned": Preset(
        Config(), "seed", 86_000, optimizer="sgd", weight_decay=0.0, tuned="published",
        validate_every=2_000,
    ),
}  # fmt: skip
