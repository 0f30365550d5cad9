"""The system's configuration and vocabulary."""

from dataclasses import dataclass

LABELS = ("gaussian", "motion", "defocus")
"""Blur types in the order of the logits."""

KINDS = (*LABELS, "sharp", "mixed")
"""What a patch can be: blurred by one of the types, not blurred, or blurred otherwise."""

PATCH = 32
"""Side of a patch in pixels [Yan & Shao]."""

MIN_SIZE = 64
"""Smallest image side, in pixels, that `estimate` accepts: a few patches' worth."""

RULES = {"all": (0.04, 0.0), "textured": (0.04, 3 / 255)}
"""Texture rules of a patch as observed: least standard deviation, least mean gradient magnitude."""


@dataclass(frozen=True)
class Config:
    """What sets the network's shape and the range of blurs it knows. Hashable, static under jit.

    Attributes:
        body: "dense" (the published network), "conv" (a small CNN on the padded spectrum) or
            "residual" (dense layers of equal width, each adding to the sum before it).
        hidden: widths between the input and the three logits; () is softmax regression. Of "conv"
            one, its dense layer.
        feature: "spectrum" (32 x 32 log spectrum, stretched per patch to [0, 1]), "edges" (the
            edges of that picture) or "half_spectrum" (the finer half plane: 1024 values,
            standardised per feature).
        sigma, length, radius: ranges of the blur parameters in pixels. The angle covers [0, pi).
        recall: what the GRNNs compare: "feature" (the network's 1024 inputs), "bottleneck" (its
            last hidden layer) or "branch" (the one or three values that a small branch off the
            first hidden layer, one for each type, is trained to tell the parameters by; another
            tells the types from "sharp" and "mixed").
        branch: hidden units of that branch.
        parameter_weight: of the branch's error in the loss.
        kind_weight: likewise, of telling the types from "sharp" and "mixed".
        memory: stored samples of each type's GRNN.
    """

    body: str = "dense"
    hidden: tuple[int, ...] = (500, 30, 10)
    feature: str = "half_spectrum"
    sigma: tuple[float, float] = (0.5, 5.0)
    length: tuple[float, float] = (3.0, 16.0)
    radius: tuple[float, float] = (1.5, 8.0)
    recall: str = "branch"
    branch: int = 32
    parameter_weight: float = 1.0
    kind_weight: float = 0.5
    memory: int = 6000

    def __post_init__(self) -> None:
        if self.body not in ("dense", "conv", "residual"):
            raise ValueError(f"body is {self.body!r}; choose 'dense', 'conv' or 'residual'")
        if self.feature not in ("spectrum", "edges", "half_spectrum"):
            raise ValueError(
                f"feature is {self.feature!r}; choose 'spectrum', 'edges' or 'half_spectrum'"
            )
        if self.recall not in ("feature", "bottleneck", "branch"):
            raise ValueError(
                f"recall is {self.recall!r}; choose 'feature', 'bottleneck' or 'branch'"
            )
        if self.recall != "feature" and not self.hidden:
            raise ValueError(
                f"recall is {self.recall!r}, but hidden is () and has no layer to offer; choose "
                "'feature'"
            )
        if self.body == "residual" and len(set(self.hidden)) != 1:
            raise ValueError(
                f"hidden is {self.hidden}, but the layers of the body 'residual' add up; give them "
                "one width, such as (768, 768)"
            )
        if self.body == "conv" and len(self.hidden) != 1:
            raise ValueError(
                f"hidden is {self.hidden}, but the body 'conv' has one dense layer; give its width "
                "alone, such as (128,)"
            )
        for name in ("sigma", "length", "radius"):
            low, high = getattr(self, name)
            if not 0 <= low < high:
                raise ValueError(f"{name} is ({low}, {high}); give 0 <= low < high, in pixels")
