"""Building blocks of the systems: no data, no files."""

from blurjax.nn import grnn, rbm

__all__ = ["grnn", "rbm"]
