"""Presets of `python -m train sigma_map`.

    python -m train sigma_map --preset regressor --images ../shared/data/urban100_half \\
        ../shared/data/div2k_gray_crops ../shared/data/imagenet_half \\
        --textures ../shared/data/dtd_subset --soft-images ../shared/data/bsds500/images

What each took on one core of two, the other one busy, and its error on validation images (of the
regressor with noise and everything else it is trained with, so its number stands by itself):

    regressor         6000 steps   4980 s   0.249 px
    seed30            6000 steps   3970 s   0.235 px
    seed60            1500 steps    900 s   0.276 px   (--steps 1500)
    seed10            1500 steps   1650 s   0.300 px   (--steps 1500)
    seed30_patch16    3000 steps    145 s   0.330 px   (--steps 3000)
    seed30_patch8     3000 steps     79 s   0.460 px   (--steps 3000)
    seed30_patch4     3000 steps     86 s   0.602 px   (--steps 3000)

regressor_local was not trained yet.
"""

from dataclasses import dataclass, field

from blurjax.sigma_map import Config


@dataclass(frozen=True)
class Preset:
    """One way to train the system.

    Attributes:
        config: the network.
        light, sampling, truncate, degraded, augmented: see `sigma_map.sample`.
        reduced: whether textures are used at a part of their size only, so that they are sharp at
            the pixel; as they are otherwise, as published.
        texture_share: part of the training tiles that shows textures (of the folders).
        painted: likewise, procedural textures and dead leaves.
        steps, batch: of AdamW.
        rate: its peak learning rate; warm-up over 200 steps, then cosine to 0.
        weight_decay: of AdamW.
    """

    config: Config = field(default_factory=Config)
    light: str = "mixed"
    sampling: str = "mixed"
    truncate: float = 4.0
    degraded: float = 0.5
    augmented: bool = True
    reduced: bool = True
    texture_share: float = 0.25
    painted: float = 0.3
    steps: int = 6_000
    batch: int = 16
    rate: float = 2e-3
    weight_decay: float = 1e-2


def _published(classes: int = 30, patch: int = 32, steps: int = 6_000) -> Preset:
    """As published: textures as they are, values as they are, no noise; longer and with AdamW."""
    return Preset(
        config=Config(body="classifier", classes=classes, patch=patch),
        light="encoded",
        sampling="point",
        degraded=0.0,
        augmented=False,
        reduced=False,
        texture_share=0.6,
        painted=0.1,
        steps=steps,
        batch=64,
        rate=1e-3,
        weight_decay=1e-4,
    )


PRESETS = {
    "seed10": _published(classes=10),
    "seed30": _published(),
    "seed60": _published(classes=60),
    # The study of patch sizes; 32 is seed30 itself.
    "seed30_patch16": _published(patch=16),
    "seed30_patch8": _published(patch=8),
    "seed30_patch4": _published(patch=4),
    "regressor": Preset(),
    # The yardstick of what the whole image's statistics bring.
    "regressor_local": Preset(config=Config(context=False)),
}
