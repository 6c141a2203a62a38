"""Training: the loop, what it calls back, its history, metrics, and a look at the gradients."""

from . import metrics
from .callbacks import Callback, Checkpoint, EarlyStopping, LambdaCallback, TerminateOnNaN
from .diagnose import GradientReport, diagnose, gradient_by_step
from .history import History
from .loop import Run, evaluate, fit, predict
from .progress import ProgressBar

__all__ = [
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
    "metrics",
    "predict",
]
