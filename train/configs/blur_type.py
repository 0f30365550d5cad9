"""Presets of `python -m train blur_type`.

    python -m train blur_type --preset compact --images ../shared/data/bsds500/images \\
        ../shared/data/urban100_half ../shared/data/div2k_gray_crops ../shared/data/imagenet_half

What each took on two cores shared with other work, and its rate on 6000 validation patches for each
texture rule (`all`, `textured`; validation photographs, values as they are):

    compact               1014 s   94.2 %   95.7 %
    compact_random_start  1190 s   94.1 %   95.7 %
    seed                   349 s   89.1 %   91.0 %
    seed_random_start      251 s   89.0 %   90.2 %
    softmax                125 s   65.8 %   66.9 %
    conv                   659 s   94.1 %   95.2 %
"""

from dataclasses import dataclass, field, replace

from blurjax.blur_type import Config


@dataclass(frozen=True)
class Preset:
    """One way to train the system.

    Attributes:
        config: the network and the parameter ranges.
        stored: how many patches are synthesised first, and drawn from at every step.
        linear, sampling: see `blur_type.sample`.
        pretrain_epochs: of contrastive divergence a layer; 0 starts from random weights.
        pretrain_patches: how many of the stored patches the RBMs see.
        pretrain_rate: learning rate of the RBMs; the first layer's, if its units are Gaussian,
            is a tenth of it.
        steps, batch: of fine-tuning.
        rate: its peak learning rate; warm-up over 200 steps, then cosine to 0.
        weight_decay: of AdamW.
        second_stage: whether to fit the GRNNs.
    """

    config: Config = field(default_factory=Config)
    stored: int = 1_200_000
    linear: str = "mixed"
    sampling: str = "mixed"
    pretrain_epochs: int = 0
    pretrain_patches: int = 36_000
    pretrain_rate: float = 0.1
    steps: int = 20_000
    # A multiple of 3 and of the usual numbers of devices.
    batch: int = 528
    rate: float = 2e-3
    weight_decay: float = 1e-3
    second_stage: bool = True


# As published: 36 000 patches, the spectrum in [0, 1] for binary units, values as they are, the
# type alone as the task, GRNNs on the bottleneck.
_SEED = Preset(
    config=Config(feature="spectrum", recall="bottleneck", memory=12_000),
    stored=36_000,
    linear="never",
    sampling="area",
    steps=4_000,
    rate=1e-3,
)

# The shipped weights: the published network on the finer spectrum and many more patches.
_COMPACT = Preset(pretrain_epochs=10)

PRESETS = {
    "seed": replace(_SEED, pretrain_epochs=20),
    "seed_random_start": _SEED,
    "compact": _COMPACT,
    # Yardsticks beside it in the evaluation.
    "compact_random_start": replace(_COMPACT, pretrain_epochs=0),
    "softmax": Preset(
        config=Config(hidden=(), recall="feature"),
        stored=240_000,
        steps=4_000,
        second_stage=False,
    ),
    "conv": Preset(
        config=Config(body="conv", recall="feature"),
        stored=300_000,
        steps=2_500,
        rate=1e-3,
        second_stage=False,
    ),
}
