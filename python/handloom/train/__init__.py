"""Training: the loop, what it calls back, its history, metrics, and a look at the gradients."""

from . import metrics
from .adversarial import Adversarial
from .callbacks import Callback, Checkpoint, EarlyStopping, LambdaCallback, TerminateOnNaN
from .checkpoint import load_checkpoint, save_checkpoint
from .diagnose import GradientReport, diagnose, gradient_by_step
from .history import History
from .loop import Run, evaluate, fit, predict
from .progress import ProgressBar
from .transfer import GradualUnfreezing, extract_features, freeze_batch_norm, layer_rates

__all__ = [
    "Adversarial",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "GradientReport",
    "GradualUnfreezing",
    "History",
    "LambdaCallback",
    "ProgressBar",
    "Run",
    "TerminateOnNaN",
    "diagnose",
    "evaluate",
    "extract_features",
    "fit",
    "freeze_batch_norm",
    "gradient_by_step",
    "layer_rates",
    "load_checkpoint",
    "metrics",
    "predict",
    "save_checkpoint",
]
