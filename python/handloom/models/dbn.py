"""The deep belief network: restricted Boltzmann machines, each trained on the one below.

Hinton, Osindero and Teh: "A fast learning algorithm for deep belief nets" (2006). The top two
layers are an undirected machine, the layers below a directed network that draws what the top
dreams.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import _runtime, kernels, nn
from ..tensor import Array
from .rbm import RBM


class DBN:
    """A stack of `RBM`, trained greedily from the bottom up without labels.

    Args:
        sizes: Hidden units of each layer, from the bottom up, such as (256, 128).
        visible: Units of the lowest layer, "bernoulli" or "gaussian"; all others are Bernoulli.
        random_state: Seed of everything; None goes on from `manual_seed`'s generator.
        options: Further arguments of each `RBM`, such as `n_iter` and `learning_rate`.

    Attributes:
        machines: The layers, an `RBM` each.

    Raises:
        ValueError: No layer.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        visible: str = "bernoulli",
        random_state: int | None = None,
        **options: Any,
    ) -> None:
        if not sizes:
            raise ValueError("DBN: sizes is empty, expected the hidden units of each layer")
        self.machines = [
            RBM(
                size,
                visible=visible if level == 0 else "bernoulli",
                random_state=None if random_state is None else random_state + level,
                **options,
            )
            for level, size in enumerate(sizes)
        ]

    def fit(self, X: Any, y: Any = None) -> DBN:
        """Trains the layers one after the other on X `(N, n_features)`.

        Each layer's data are the probabilities of the hidden units of the one below.
        """
        for machine in self.machines:
            X = machine.fit(X).transform(X)
        return self

    def transform(self, X: Any) -> Array:
        """Returns the probabilities of the top layer's hidden units `(N, sizes[-1])`."""
        for machine in self.machines:
            X = machine.transform(X)
        return np.asarray(X)

    def reconstruct(self, X: Any) -> Array:
        """Returns X sent up to the top and down again, by means `(N, n_features)`."""
        return self._down(self.transform(X), len(self.machines))

    def unroll(self, classes: int) -> nn.Sequential:
        """Returns the network to fine-tune: these weights, sigmoids, and a new layer of logits.

        Its weights are copies.
        """
        layers: list[nn.Module] = []
        for machine in self.machines:
            machine._require("unroll")
            hidden, visible = machine.components_.shape
            linear = nn.Linear(visible, hidden)
            linear.load_state_dict(
                {"weight": machine.components_, "bias": machine.intercept_hidden_}
            )
            layers += [linear, nn.Sigmoid()]
        return nn.Sequential(*layers, nn.Linear(hidden, classes))

    def generate(self, n: int, steps: int = 1000, start: Any = None) -> Array:
        """Dreams: Gibbs sampling in the top machine, then one pass down.

        Args:
            n: How many.
            steps: Of Gibbs sampling.
            start: Data `(n, n_features)` whose top layer the chains start from, or None for chance.

        Returns:
            Means of the visible units `(n, n_features)`.

        Raises:
            ValueError: `start` has another number of rows.
        """
        top = self.machines[-1]
        top._require("generate")
        if start is None:
            seed, call = _runtime.next_draw()
            width = top.components_.shape[1]
            v = kernels.bernoulli((n, width), dtype=top.components_.dtype, seed=seed, call=call)
        else:
            v = np.asarray(start)
            if len(v) != n:
                raise ValueError(f"DBN.generate: start has {len(v)} rows, expected {n}")
            for machine in self.machines[:-1]:
                v = machine.transform(v)
        v = top.gibbs(v, steps)
        return self._down(v, len(self.machines) - 1)

    def _down(self, h: Array, level: int) -> Array:
        """Means of the visible units from the states below machine `level`."""
        for machine in reversed(self.machines[:level]):
            h = machine.inverse_transform(h)
        return h
