"""Point spread functions: physical parameters in, differentiable kernels out."""

from blurjax.psf._defocus import defocus
from blurjax.psf._family import FAMILIES, Family, Parameter
from blurjax.psf._gaussian import gaussian
from blurjax.psf._moments import Moments, moments
from blurjax.psf._motion import motion
from blurjax.psf._support import support

__all__ = [
    "FAMILIES",
    "Family",
    "Moments",
    "Parameter",
    "defocus",
    "gaussian",
    "moments",
    "motion",
    "support",
]
