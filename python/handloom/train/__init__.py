"""Training: the loop, what it calls back, its history, metrics, and a look at the gradients."""

from . import metrics
from .adversarial import Adversarial
from .callbacks import Callback, Checkpoint, EarlyStopping, LambdaCallback, TerminateOnNaN
from .checkpoint import load_checkpoint, save_checkpoint
from .diagnose import GradientReport, diagnose, gradient_by_step
from .history import History
from .loop import Run, evaluate, fit, predict
from .progress import ProgressBar

__all__ = [
    "Adversarial",
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "GradientReport",
    "History",
    "LambdaCallback",
    "ProgressBar",
    "Run",
    "TerminateOnNaN",
    "diagnose",
    "evaluate",
    "fit",
    "gradient_by_step",
    "load_checkpoint",
    "metrics",
    "predict",
    "save_checkpoint",
]
