"""How good an answer is."""

from blurjax.metrics._classification import (
    accuracy,
    confusion_matrix,
    expected_calibration_error,
)
from blurjax.metrics._detection import (
    PrecisionRecall,
    average_precision,
    f_measure,
    f_score,
    mean_absolute_error,
    precision_recall,
    roc_auc,
)
from blurjax.metrics._sharpness import blur_effect, tenengrad, variance_of_laplacian

__all__ = [
    "PrecisionRecall",
    "accuracy",
    "average_precision",
    "blur_effect",
    "confusion_matrix",
    "expected_calibration_error",
    "f_measure",
    "f_score",
    "mean_absolute_error",
    "precision_recall",
    "roc_auc",
    "tenengrad",
    "variance_of_laplacian",
]
