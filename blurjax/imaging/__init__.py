"""Image formation: kernel + image -> image.

    blurred = quantise(add_noise(key, blur(image, psf), sigma))

Images are `(..., H, W)` floats, nominally in [0, 1]; leading axes are batch axes.
Nothing here changes between linear light and gamma-encoded values by itself:
`linearise` and `encode` do when they are called.
"""

from blurjax.imaging._blur import blur, blur_adjoint
from blurjax.imaging._camera import encode, linearise, quantise
from blurjax.imaging._noise import add_noise

__all__ = [
    "add_noise",
    "blur",
    "blur_adjoint",
    "encode",
    "linearise",
    "quantise",
]
