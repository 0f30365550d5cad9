"""How large the kernel is that blurred a photograph (Ye, and beyond)."""

from blurjax.kernel_size._baselines import automap
from blurjax.kernel_size._config import MIN_SIZE, PATCH, RANGES, Config, range_of, sizes
from blurjax.kernel_size._estimate import LARGEST_IMAGE, Estimate, estimate, framed, load
from blurjax.kernel_size.model import (
    COVERAGE,
    DECODINGS,
    Aux,
    Prediction,
    Scores,
    apply,
    decode,
    init,
    loss,
    predict,
)
from blurjax.kernel_size.samples import LARGEST, Batch, patches, sample, sample_kernels

__all__ = [
    "COVERAGE",
    "DECODINGS",
    "LARGEST",
    "LARGEST_IMAGE",
    "MIN_SIZE",
    "PATCH",
    "RANGES",
    "Aux",
    "Batch",
    "Config",
    "Estimate",
    "Prediction",
    "Scores",
    "apply",
    "automap",
    "decode",
    "estimate",
    "framed",
    "init",
    "load",
    "loss",
    "patches",
    "predict",
    "range_of",
    "sample",
    "sample_kernels",
    "sizes",
]
