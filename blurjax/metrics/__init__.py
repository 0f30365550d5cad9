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
from blurjax.metrics._images import Alignment, align, aligned_psnr, error_ratio, psnr, ssim
from blurjax.metrics._kernels import kernel_similarity
from blurjax.metrics._sharpness import blur_effect, tenengrad, variance_of_laplacian

__all__ = [
    "Alignment",
    "PrecisionRecall",
    "accuracy",
    "align",
    "aligned_psnr",
    "average_precision",
    "blur_effect",
    "confusion_matrix",
    "error_ratio",
    "expected_calibration_error",
    "f_measure",
    "f_score",
    "kernel_similarity",
    "mean_absolute_error",
    "precision_recall",
    "psnr",
    "roc_auc",
    "ssim",
    "tenengrad",
    "variance_of_laplacian",
]
