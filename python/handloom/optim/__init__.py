"""Optimisers and learning-rate schedules, with PyTorch's names, arguments and defaults."""

from handloom.optim import lr_scheduler as lr_scheduler
from handloom.optim.adagrad import Adadelta, Adagrad, RMSprop
from handloom.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from handloom.optim.ema import EMA
from handloom.optim.optimizer import Optimizer
from handloom.optim.sgd import SGD, Lion

__all__ = [
    "EMA",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "lr_scheduler",
]
