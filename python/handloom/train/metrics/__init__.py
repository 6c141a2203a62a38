"""Metrics of classification, regression and text, on arrays or tensors, summed in float64.

The truth comes first, as in scikit-learn, whose definitions these are. Labels are class numbers
from 0. Keras: `keras.metrics`.
"""

from .classification import (
    PrecisionRecallF1,
    accuracy,
    confusion_matrix,
    f1_score,
    precision,
    precision_recall_f1,
    recall,
    top_k_accuracy,
)
from .detection import COCO_THRESHOLDS, average_precision, mean_average_precision
from .probability import RocCurve, log_loss, roc_auc, roc_curve
from .regression import mae, mse, r2_score, rmse
from .samples import frechet_distance
from .segmentation import (
    class_iou,
    dice_score,
    mean_iou,
    pixel_accuracy,
    segmentation_table,
)
from .text import (
    bits_per_character,
    bleu,
    character_error_rate,
    edit_distance,
    error_rate,
    perplexity,
    word_error_rate,
)

__all__ = [
    "COCO_THRESHOLDS",
    "PrecisionRecallF1",
    "RocCurve",
    "accuracy",
    "average_precision",
    "bits_per_character",
    "bleu",
    "character_error_rate",
    "class_iou",
    "confusion_matrix",
    "dice_score",
    "edit_distance",
    "error_rate",
    "f1_score",
    "frechet_distance",
    "log_loss",
    "mae",
    "mean_average_precision",
    "mean_iou",
    "mse",
    "perplexity",
    "pixel_accuracy",
    "precision",
    "precision_recall_f1",
    "r2_score",
    "recall",
    "rmse",
    "roc_auc",
    "roc_curve",
    "segmentation_table",
    "top_k_accuracy",
    "word_error_rate",
]
