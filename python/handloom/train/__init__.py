"""Training: the loop, what it calls back, its history, metrics, and a look at the gradients."""

from . import metrics
from .adversarial import Adversarial
from .callbacks import Callback, Checkpoint, EarlyStopping, LambdaCallback, TerminateOnNaN
from .checkpoint import load_checkpoint, save_checkpoint
from .diagnose import GradientReport, diagnose, gradient_by_step
from .history import History
from .loggers import CSVLogger, TensorBoard
from .loop import evaluate, fit, predict
from .progress import ProgressBar
from .trainer import Run
from .transfer import GradualUnfreezing, extract_features, freeze_batch_norm, layer_rates

__all__ = [
    "Adversarial",
    "CSVLogger",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "GradientReport",
    "GradualUnfreezing",
    "History",
    "LambdaCallback",
    "ProgressBar",
    "Run",
    "TensorBoard",
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
