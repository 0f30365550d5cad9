"""Shipped weights: npz files that carry their configuration and their own checksum (host).

float16 on disk, float32 in memory; reading them needs NumPy alone. `README.md`
beside this file says how each was made and what it scores.
"""

from blurjax.weights._npz import WeightsError, configuration, load, path, save

__all__ = ["WeightsError", "configuration", "load", "path", "save"]
