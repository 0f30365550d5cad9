"""What networks look at: functions of an image's pixels alone."""

from blurjax.features._correlation import CORRELATION_MAPS, correlation_maps, transposed_maps
from blurjax.features._gradients import contrast, gradient_magnitude
from blurjax.features._local import local_mean
from blurjax.features._patches import distinct_patch
from blurjax.features._spectrum import half_spectrum, log_spectrum, min_max, spectral_edges

__all__ = [
    "CORRELATION_MAPS",
    "contrast",
    "correlation_maps",
    "distinct_patch",
    "gradient_magnitude",
    "half_spectrum",
    "local_mean",
    "log_spectrum",
    "min_max",
    "spectral_edges",
    "transposed_maps",
]
