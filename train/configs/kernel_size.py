"""Presets of `python -m train kernel_size`.

    D=../shared/data
    python -m train kernel_size --preset correlation --images $D/bsds500/images $D/urban100_half \\
        $D/div2k_gray_crops $D/imagenet_half $D/lai2016/sharp

and the same with the other presets. What each took on one core of two, the other one busy:

    correlation   8000 steps   5666 s
    compact       3300 steps   3224 s
    control       1700 steps   984 s
    regressor     1700 steps   1042 s

The published widths were not trained: no accelerator was at hand. By arithmetic (3.6 million
samples of 50 MB of memory traffic; two passes of 3 GFLOP each; 1000 steps of each path one after
another) `seed` takes about half an hour on a GPU of 30 TFLOP/s and 2 TB/s.
"""

from dataclasses import dataclass, field

from blurjax.kernel_size import Config


@dataclass(frozen=True)
class Preset:
    """One way to train the system.

    Attributes:
        config: the networks.
        steps, batch: of AdamW.
        rate: its peak learning rate; warm-up over 200 steps, then cosine to 0. The published one
            is Adam at 1e-4.
        weight_decay: of AdamW.
        light, degraded, varied: see `kernel_size.sample`.
    """

    config: Config = field(default_factory=Config)
    steps: int = 8_000
    batch: int = 20
    rate: float = 2e-3
    weight_decay: float = 1e-2
    light: str = "mixed"
    degraded: float = 0.8
    varied: float = 0.4


def _residual(body: str, *, depth: int = 18, width: int = 12, steps: int = 3_300) -> Preset:
    return Preset(
        config=Config(body=body, depth=depth, width=width),
        steps=steps,
        batch=40,
        rate=2e-3,
        weight_decay=1e-4,
    )


def _published(body: str, depth: int = 18) -> Preset:
    """The published width, and twice the published 1.8 million patches, all of them different."""
    return Preset(
        config=Config(body=body, depth=depth, width=64),
        steps=15_000,
        batch=240,
        rate=1e-4,
        weight_decay=0.0,
    )


PRESETS = {
    # The default of `estimate`.
    "correlation": Preset(),
    # The cascade that is shipped, and its controls at the same width.
    "compact": _residual("cascade"),
    "control": _residual("single", steps=1_700),
    "regressor": _residual("regressor", steps=1_700),
    # As published, for an accelerator; "seed101" is the deeper control of its first table.
    "seed": _published("cascade"),
    "seed18": _published("single"),
    "seed101": _published("single", 101),
}
