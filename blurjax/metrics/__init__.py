"""How good an answer is."""

from blurjax.metrics._classification import (
    accuracy,
    confusion_matrix,
    expected_calibration_error,
)

__all__ = ["accuracy", "confusion_matrix", "expected_calibration_error"]
