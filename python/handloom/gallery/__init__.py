"""The gallery: every network type trained on real data, one small file each.

`handloom gallery` runs it; `run_task(get("mlp"))` does from Python.
"""

from __future__ import annotations

from importlib import import_module

from .task import Check, Context, Result, Task, run_task

__all__ = ["Check", "Context", "Result", "Task", "get", "names", "run_task", "tasks"]

# In the order in which they are best read. A module has one TASK of the same name.
_NAMES = (
    "perceptron",
    "feed_forward",
    "mlp",
    "cnn",
    "residual",
    "cnn_1d",
    "rnn",
    "lstm",
    "gru",
    "bidirectional",
    "memory",
    "clipping",
    "vit",
    "word2vec",
    "char_lm",
    "masked_lm",
    "phonemes",
    "caption",
    "translation",
    "fcn",
    "unet",
    "deeplab",
    "augmentation",
    "transfer",
    "yolo",
    "ssd",
    "rcnn",
    "faster_rcnn",
    "mask_rcnn",
    "rbm",
    "dbn",
    "autoencoder",
    "denoising",
    "sparse",
    "vae",
    "conv_autoencoder",
    "contractive",
    "anomaly",
    "gan",
    "conditional_gan",
    "dcgan",
    "wgan",
    "lsgan",
    "cyclegan",
    "progressive",
    "stylegan",
    "depth",
    "pointing",
    "remedies",
    "descent",
    "optimizers",
    "regularisation",
    "tuning",
    "controls",
)


def names() -> tuple[str, ...]:
    """Returns the names of all tasks."""
    return _NAMES


def get(name: str) -> Task:
    """Returns the task `name`; `-` stands for `_`, and case does not count.

    Raises:
        ValueError: There is no such task; the text lists those that there are.
    """
    found = name.lower().replace("-", "_")
    if found not in _NAMES:
        raise ValueError(f"no task {name!r}, expected one of {', '.join(_NAMES)}")
    task: Task = import_module(f"{__name__}.{found}").TASK
    return task


def tasks() -> tuple[Task, ...]:
    """Returns all tasks."""
    return tuple(get(name) for name in _NAMES)
