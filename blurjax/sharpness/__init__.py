"""Which parts of a photograph are sharp (Zeng, and beyond)."""

from blurjax.sharpness._baselines import gradient_energy, lbp
from blurjax.sharpness._config import MIN_SIZE, MODES, PATCH, Config
from blurjax.sharpness._estimate import KERNELS, METHODS, Estimate, estimate, load, measure
from blurjax.sharpness._metric import (
    Components,
    fixed_kernels,
    local_metric,
    metric_kernels,
    unit_kernels,
)
from blurjax.sharpness._refine import THRESHOLDS, adaptive_mask, refine
from blurjax.sharpness.model import SCALES, Aux, Prediction, apply, init, loss, predict
from blurjax.sharpness.samples import (
    Batch,
    PatchBatch,
    compose,
    cut_patches,
    sample,
    superpixel_centres,
)

__all__ = [
    "KERNELS",
    "METHODS",
    "MIN_SIZE",
    "MODES",
    "PATCH",
    "SCALES",
    "THRESHOLDS",
    "Aux",
    "Batch",
    "Components",
    "Config",
    "Estimate",
    "PatchBatch",
    "Prediction",
    "adaptive_mask",
    "apply",
    "compose",
    "cut_patches",
    "estimate",
    "fixed_kernels",
    "gradient_energy",
    "init",
    "lbp",
    "load",
    "local_metric",
    "loss",
    "measure",
    "metric_kernels",
    "predict",
    "refine",
    "sample",
    "superpixel_centres",
    "unit_kernels",
]
