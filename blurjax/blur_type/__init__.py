"""Blur type and parameters of a patch and of a photograph (Yan & Shao, TIP 2016)."""

from blurjax.blur_type._config import KINDS, LABELS, MIN_SIZE, PATCH, RULES, Config
from blurjax.blur_type._estimate import Estimate, estimate, load
from blurjax.blur_type._judge import ANSWERS
from blurjax.blur_type.model import (
    Aux,
    Prediction,
    apply,
    circular_error,
    init,
    loss,
    predict,
    remember,
    standardise,
)
from blurjax.blur_type.samples import Batch, collect, margin, rows, sample, satisfies, turned

__all__ = [
    "ANSWERS",
    "KINDS",
    "LABELS",
    "MIN_SIZE",
    "PATCH",
    "RULES",
    "Aux",
    "Batch",
    "Config",
    "Estimate",
    "Prediction",
    "apply",
    "circular_error",
    "collect",
    "estimate",
    "init",
    "load",
    "loss",
    "margin",
    "predict",
    "remember",
    "rows",
    "sample",
    "satisfies",
    "standardise",
    "turned",
]
