"""Image formation: kernel + image -> image.

    photograph = camera(key, blur(irradiance, psf), photons=1000.0, curve="srgb")

Images are `(..., H, W)` floats, nominally in [0, 1]; leading axes are batch axes.
Nothing here changes between linear light and gamma-encoded values by itself:
`linearise` and `encode` do when they are called, and `camera` where it is told the curve.
"""

from blurjax.imaging._augment import RandomBlur, random_blur
from blurjax.imaging._blur import blur, blur_adjoint
from blurjax.imaging._boundary import pad
from blurjax.imaging._camera import (
    apply_response,
    camera,
    encode,
    invert_response,
    linearise,
    quantise,
    saturate,
)
from blurjax.imaging._gaussian import blur_gaussian
from blurjax.imaging._jpeg import jpeg, jpeg_quality, jpeg_steps
from blurjax.imaging._layers import Composite, composite
from blurjax.imaging._maps import ramp_map, sine_map
from blurjax.imaging._noise import add_noise, add_poisson_gaussian_noise, add_poisson_noise
from blurjax.imaging._operator import BlurOperator, blur_operator, operator_norm
from blurjax.imaging._taper import edge_taper
from blurjax.imaging._varying import blur_product, blur_varying, grid_weights

__all__ = [
    "BlurOperator",
    "Composite",
    "RandomBlur",
    "add_noise",
    "add_poisson_gaussian_noise",
    "add_poisson_noise",
    "apply_response",
    "blur",
    "blur_adjoint",
    "blur_gaussian",
    "blur_operator",
    "blur_product",
    "blur_varying",
    "camera",
    "composite",
    "edge_taper",
    "encode",
    "grid_weights",
    "invert_response",
    "jpeg",
    "jpeg_quality",
    "jpeg_steps",
    "linearise",
    "operator_norm",
    "pad",
    "quantise",
    "ramp_map",
    "random_blur",
    "saturate",
    "sine_map",
]
