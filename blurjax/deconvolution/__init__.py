"""Undo blur: blurred + kernel -> sharp, and blurred -> kernel."""

from blurjax.deconvolution._blind import (
    MIN_SIZE,
    PRIORS,
    Judgement,
    KernelEstimate,
    Start,
    estimate_kernel,
    judge,
    sparseness,
)
from blurjax.deconvolution._consensus import Consensus, consensus
from blurjax.deconvolution._noise import noise_level
from blurjax.deconvolution._result import Deconvolution
from blurjax.deconvolution._richardson_lucy import richardson_lucy
from blurjax.deconvolution._ringing import suppress_ringing
from blurjax.deconvolution._shrinkage import shrink
from blurjax.deconvolution._splitting import hyper_laplacian, l0_gradient, total_variation
from blurjax.deconvolution._tiles import in_tiles
from blurjax.deconvolution._wiener import wiener

__all__ = [
    "MIN_SIZE",
    "PRIORS",
    "Consensus",
    "Deconvolution",
    "Judgement",
    "KernelEstimate",
    "Start",
    "consensus",
    "estimate_kernel",
    "hyper_laplacian",
    "in_tiles",
    "judge",
    "l0_gradient",
    "noise_level",
    "richardson_lucy",
    "shrink",
    "sparseness",
    "suppress_ringing",
    "total_variation",
    "wiener",
]
