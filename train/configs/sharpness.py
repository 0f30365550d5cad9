"""Presets of `python -m train sharpness`.

    D=../shared/data
    python -m train sharpness --preset detector --images $D/bsds500/images $D/urban100_half \\
        $D/div2k_gray_crops $D/imagenet_half --segmentations $D/bsds500/groundTruth \\
        --pairs $D/dbd_samples/xu100-source $D/dbd_samples/dut500-source \\
        --masks $D/dbd_samples/xu100-gt $D/dbd_samples/dut500-gt

and the same with `--preset patches` and `--preset contrast`, without the pairs; then
`python -m train sharpness_metric` makes the local metric of the latter two's kernels.

What each took on one core of two, the other one busy, and what it was right about in validation (of
the detector squares of 4x4 pixels; it has slight blurs and flat places to tell):

    detector    6000 steps   3457 s   89.6 %
    patches     2500 steps   2869 s   89.1 %
    contrast     800 steps    627 s   90.6 %   (--steps 800)

superpixels and decayed were not trained yet.
"""

from dataclasses import dataclass, field

from blurjax.sharpness import Config


@dataclass(frozen=True)
class Preset:
    """One way to train the system.

    Attributes:
        config: the network.
        light, degraded: see `sharpness.compose`.
        centres: of the patches: "grid" (jittered, drawn anew in every step) or "superpixels" (SLIC,
            of a number of photographs composed before the training).
        steps, batch: of AdamW.
        rate: its peak learning rate; warm-up over 200 steps, then cosine to 0.
        weight_decay: of AdamW.
    """

    config: Config = field(default_factory=Config)
    light: str = "mixed"
    degraded: float = 0.6
    centres: str = "grid"
    steps: int = 6_000
    batch: int = 8
    rate: float = 2e-3
    weight_decay: float = 1e-2


def _patches(
    centres: str = "grid", *, contrast: bool = False, weight_decay: float = 1e-4
) -> Preset:
    return Preset(
        config=Config(body="patches", contrast=contrast),
        centres=centres,
        steps=2_500,
        batch=128,
        rate=1e-3,
        weight_decay=weight_decay,
    )


PRESETS = {
    "detector": Preset(),
    # The published network, and forms of it whose kernels `sharpness_metric` compares.
    "patches": _patches(),
    "superpixels": _patches("superpixels"),
    "contrast": _patches(contrast=True),
    "decayed": _patches(weight_decay=0.3),
}
