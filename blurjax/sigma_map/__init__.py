"""Blur that varies over a photograph: sigma of each pixel (Patro, and beyond)."""

from blurjax.sigma_map._config import MIN_SIZE, PATCHES, Config, class_sigmas
from blurjax.sigma_map._dense import tiled
from blurjax.sigma_map._estimate import Estimate, estimate, load
from blurjax.sigma_map._smoothing import fill, guided, heat_flow, median
from blurjax.sigma_map.model import (
    DECODES,
    Aux,
    Prediction,
    apply,
    decode,
    dense,
    init,
    loss,
    predict,
    soft_labels,
    standardise,
)
from blurjax.sigma_map.samples import MAPS, SIDE, Batch, margin, sample

__all__ = [
    "DECODES",
    "MAPS",
    "MIN_SIZE",
    "PATCHES",
    "SIDE",
    "Aux",
    "Batch",
    "Config",
    "Estimate",
    "Prediction",
    "apply",
    "class_sigmas",
    "decode",
    "dense",
    "estimate",
    "fill",
    "guided",
    "heat_flow",
    "init",
    "load",
    "loss",
    "margin",
    "median",
    "predict",
    "sample",
    "soft_labels",
    "standardise",
    "tiled",
]
