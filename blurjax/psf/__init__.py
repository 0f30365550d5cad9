"""Point spread functions: physical parameters in, differentiable kernels out."""

from blurjax.psf._airy import airy
from blurjax.psf._defocus import defocus
from blurjax.psf._extent import extent
from blurjax.psf._family import FAMILIES, Family, Parameter, as_family
from blurjax.psf._gaussian import gaussian
from blurjax.psf._moffat import moffat
from blurjax.psf._moments import Moments, moments
from blurjax.psf._motion import motion
from blurjax.psf._mtf import mtf50
from blurjax.psf._polygon import polygon
from blurjax.psf._support import support
from blurjax.psf._trajectory import sample_trajectory, trajectory
from blurjax.psf._transfer import (
    defocus_transfer,
    gaussian_transfer,
    motion_transfer,
    transfer,
)

__all__ = [
    "FAMILIES",
    "Family",
    "Moments",
    "Parameter",
    "airy",
    "as_family",
    "defocus",
    "defocus_transfer",
    "extent",
    "gaussian",
    "gaussian_transfer",
    "moffat",
    "moments",
    "motion",
    "motion_transfer",
    "mtf50",
    "polygon",
    "sample_trajectory",
    "support",
    "trajectory",
    "transfer",
]
