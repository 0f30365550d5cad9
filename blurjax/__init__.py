"""blurjax: the JAX library for blur. Model it, measure it, undo it.

    psf -> imaging -> <system>/samples -> <system>/model -> train -> checkpoint, weights
        -> <system>/estimate -> analyze, deblur, eval

Rooms are imported when first used, so that `import blurjax` costs little beyond jax.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_rooms = (
    "blur_type",
    "checkpoint",
    "data",
    "deconvolution",
    "features",
    "images",
    "imaging",
    "kernel_size",
    "metrics",
    "nn",
    "plots",
    "psf",
    "region",
    "sharpness",
    "sigma_map",
    "weights",
)
# Public functions (and what they return) of the top level and the private module of each.
_functions = {
    "Deblurred": "blurjax._deblur",
    "Fit": "blurjax._fit",
    "analyze": "blurjax._analyze",
    "deblur": "blurjax._deblur",
    "fit": "blurjax._fit",
    "fit_blind": "blurjax._fit_blind",
}

__all__ = ["__version__", *_rooms, *_functions]

if TYPE_CHECKING:
    from blurjax import (  # noqa: F401
        blur_type,
        checkpoint,
        data,
        deconvolution,
        features,
        images,
        imaging,
        kernel_size,
        metrics,
        nn,
        plots,
        psf,
        region,
        sharpness,
        sigma_map,
        weights,
    )
    from blurjax._analyze import analyze  # noqa: F401
    from blurjax._deblur import Deblurred, deblur  # noqa: F401
    from blurjax._fit import Fit, fit  # noqa: F401
    from blurjax._fit_blind import fit_blind  # noqa: F401


def __getattr__(name: str) -> object:
    if name in _rooms:
        return importlib.import_module(f"blurjax.{name}")
    if name in _functions:
        return getattr(importlib.import_module(_functions[name]), name)
    raise AttributeError(f"module 'blurjax' has no attribute {name!r}; public: {sorted(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
