"""Where in a blurred photograph to look for its kernel (Yang, Wu and Sun, and beyond)."""

from blurjax.region._baselines import (
    contrast,
    gabor_statistics,
    gradient_std,
    useful_edges,
)
from blurjax.region._config import THRESHOLD, WINDOW, Config
from blurjax.region._estimate import MIN_SIZE, SHIPPED, Estimate, estimate, load, scores
from blurjax.region._kernel import WINDOWS, KernelEstimate, estimate_kernel
from blurjax.region._windows import grid
from blurjax.region.model import Aux, Prediction, apply, init, loss, predict, trainable
from blurjax.region.samples import Batch, Label, Labelled, label, sample

__all__ = [
    "MIN_SIZE",
    "SHIPPED",
    "THRESHOLD",
    "WINDOW",
    "WINDOWS",
    "Aux",
    "Batch",
    "Config",
    "Estimate",
    "KernelEstimate",
    "Label",
    "Labelled",
    "Prediction",
    "apply",
    "contrast",
    "estimate",
    "estimate_kernel",
    "gabor_statistics",
    "gradient_std",
    "grid",
    "init",
    "label",
    "load",
    "loss",
    "predict",
    "sample",
    "scores",
    "trainable",
    "useful_edges",
]
