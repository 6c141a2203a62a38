"""Transfer learning: what was learned on one task is kept for another.

A frozen layer's weights have `requires_grad` False. Layers in front of the first that learns then
record nothing and go through no backward pass: `model.features.freeze()` is all that it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._arrays import Array
from .callbacks import Callback
from .loop import predict

if TYPE_CHECKING:
    from ..nn import Module

_NORMS = ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d")


def extract_features(module: Module, x: Any, batch_size: int = 256) -> Array:
    """What a frozen part of a network makes of each row of `x`, to be computed once.

    The rest can then be trained on the features as if they were the data: a step costs nothing of
    the frozen part, and the result is the same as long as the inputs are not augmented.
    """
    return predict(module, x, batch_size)


def freeze_batch_norm(module: Module, frozen: bool = True) -> Module:
    """Keeps batch norms of a module in evaluation mode, whatever `train()` says, or lets them go.

    They use the running statistics of the first task and do not change them: those of a few small
    batches of the new one would be worse. Their weights are not touched; see `Module.freeze`.
    Keras: `layer.trainable = False` does both.

    Returns:
        The module.
    """
    for layer in module.modules():
        if any(kind.__name__ in _NORMS for kind in type(layer).__mro__):
            layer._stays_eval = frozen
            layer.training = module.training and not frozen
    return module


def layer_rates(stages: Sequence[Module], lr: float, factor: float = 0.3) -> list[dict[str, Any]]:
    """Parameter groups for an optimiser: the last stage learns at `lr`, each before it slower.

    Howard and Ruder, "Universal language model fine-tuning" (2018), with 1/2.6 for `factor`.

    Args:
        stages: Parts of a network from the input to the output.
        lr: Rate of the last.
        factor: Of the rate, from each stage to the one before.
    """
    if not stages:
        raise ValueError("layer_rates: stages is empty, expected at least one module")
    if not lr > 0 or not factor > 0:
        raise ValueError(f"layer_rates: lr is {lr} and factor {factor}, expected above 0")
    last = len(stages) - 1
    return [
        {"params": list(stage.parameters()), "lr": lr * factor ** (last - i)}
        for i, stage in enumerate(stages)
    ]


class GradualUnfreezing(Callback):
    """Lets the last stage learn first, and one more from the end every few epochs.

    Howard and Ruder (2018). Parameters of frozen stages get no gradient, and the optimiser leaves
    them alone.

    Args:
        stages: Parts of the network from the input to the output.
        every: Epochs from one stage to the next.
        batch_norm: Whether batch norms of frozen stages keep their statistics, too.
    """

    def __init__(self, stages: Sequence[Module], every: int = 1, batch_norm: bool = True) -> None:
        if every < 1:
            raise ValueError(f"GradualUnfreezing: every is {every}, expected at least 1")
        self.stages, self.every, self.batch_norm = list(stages), every, batch_norm

    def on_epoch_begin(self, run: Any) -> None:
        learning = 1 + run.epoch // self.every
        for i, stage in enumerate(reversed(self.stages)):
            stage.requires_grad_(i < learning)
            if self.batch_norm:
                freeze_batch_norm(stage, i >= learning)
