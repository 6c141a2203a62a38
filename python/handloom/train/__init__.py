"""Training: the loop, what it calls back, its history, metrics, and a look at the gradients."""

from . import metrics
from .adversarial import Adversarial
from .callbacks import Callback, Checkpoint, EarlyStopping, LambdaCallback, TerminateOnNaN
from .checkpoint import load_checkpoint, save_checkpoint
from .diagnose import (
    ActivationStatistics,
    Finding,
    GradientReport,
    WeightStatistics,
    diagnose,
    gradient_by_step,
)
from .history import History
from .landscape import Landscape, loss_landscape
from .loggers import CSVLogger, TensorBoard
from .loop import evaluate, fit, predict
from .progress import ProgressBar
from .range_test import RangeTest, lr_range_test
from .regularise import MaxNorm, Penalty
from .trainer import Run
from .transfer import GradualUnfreezing, extract_features, freeze_batch_norm, layer_rates

__all__ = [
    "ActivationStatistics",
    "Adversarial",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "Finding",
    "GradientReport",
    "GradualUnfreezing",
    "History",
    "LambdaCallback",
    "Landscape",
    "MaxNorm",
    "Penalty",
    "ProgressBar",
    "RangeTest",
    "Run",
    "TensorBoard",
    "TerminateOnNaN",
    "WeightStatistics",
    "diagnose",
    "evaluate",
    "extract_features",
    "fit",
    "freeze_batch_norm",
    "gradient_by_step",
    "layer_rates",
    "load_checkpoint",
    "loss_landscape",
    "lr_range_test",
    "metrics",
    "predict",
    "save_checkpoint",
]
