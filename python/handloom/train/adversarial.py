"""Two players in turns: a generator that makes samples, a discriminator that tells them from data.

Goodfellow et al.: "Generative adversarial nets" (NeurIPS 2014). Every GAN that has one generator
trains here; what differs is the networks, the game (`kind`), and how often each player moves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _runtime, kernels, ops
from .._arrays import Array
from ..autograd import no_grad
from ..ops.multi import clamp_
from ..tensor import Tensor

if TYPE_CHECKING:
    from ..nn import Module
    from ..optim import Optimizer


class Adversarial:
    """Trains a generator and a discriminator (critic) against each other.

    The generator is called with `(z)` or `(z, label)`, z `(N, generator.latent)` normal, and
    returns samples; the discriminator with samples (and labels), and returns raw scores, high for
    data.

    Args:
        generator: A module with an integer attribute `latent`.
        discriminator: A module that gives each sample one or more scores.
        kind: The game: "minimax", "non_saturating", "wasserstein", "least_squares" or "hinge"; see
            `F.gan_discriminator_loss`.
        generator_optimizer, discriminator_optimizer: By default Adam with lr 2e-4, betas (0.5,
            0.999), as in DCGAN.
        n_critic: Moves of the discriminator to one of the generator.
        clip: Bound of the discriminator's weights after each of its moves (WGAN), or None.
        ema: Decay of a moving average of the generator's weights, which `sample` uses; None has
            none.

    Attributes:
        epoch: Epochs done.
        steps: Batches seen.
        history: One dict an epoch: means of `discriminator`, `generator` (their losses), and
            `real`, `fake` (scores).
        options: Keyword arguments for both networks, such as the level of one that grows.
        prepare: What is done to each batch of data first, such as to shrink it to that level, or
            None.
    """

    def __init__(
        self,
        generator: Any,
        discriminator: Any,
        *,
        kind: str = "non_saturating",
        generator_optimizer: Optimizer | None = None,
        discriminator_optimizer: Optimizer | None = None,
        n_critic: int = 1,
        clip: float | None = None,
        ema: float | None = 0.99,
    ) -> None:
        from .. import optim
        from ..nn import GANDiscriminatorLoss, GANGeneratorLoss

        if not isinstance(getattr(generator, "latent", None), int):
            raise TypeError("Adversarial: generator expects an integer attribute 'latent'")
        if isinstance(n_critic, bool) or not isinstance(n_critic, int) or n_critic < 1:
            raise ValueError(f"Adversarial: n_critic is {n_critic!r}, expected an integer >= 1")
        if clip is not None and not clip > 0:
            raise ValueError(f"Adversarial: clip is {clip}, expected more than 0")
        self.generator, self.discriminator = generator, discriminator
        self._discriminator_loss = GANDiscriminatorLoss(kind)
        self._generator_loss = GANGeneratorLoss(kind)

        def adam(model: Module) -> Optimizer:
            return optim.Adam(model.parameters(), lr=2e-4, betas=(0.5, 0.999))

        self.generator_optimizer = generator_optimizer or adam(generator)
        self.discriminator_optimizer = discriminator_optimizer or adam(discriminator)
        self.n_critic, self.clip = n_critic, clip
        self.average = None if ema is None else optim.EMA(generator, ema, warmup=True)
        self.epoch = self.steps = 0
        self.history: list[dict[str, float]] = []
        self.options: dict[str, Any] = {}
        self.prepare: Callable[[Any], Any] | None = None
        self._weights = [p._array for p in discriminator.parameters()]

    # ---- one batch -------------------------------------------------------------------------------

    def step(self, real: Any, label: Any = None) -> dict[str, float]:
        """One move of the discriminator, and of the generator where it is its turn.

        Args:
            real: A batch of data.
            label: Its classes `(N,)`, for conditional networks: the fakes get the same.

        Returns:
            `discriminator`, `generator` (NaN where it did not move), `real`, `fake`.
        """
        labels = () if label is None else (label,)
        if self.prepare is not None:
            real = self.prepare(real)
        found = self._discriminate(real, labels)
        self.steps += 1
        found["generator"] = math.nan
        if self.steps % self.n_critic == 0:
            found["generator"] = self._generate(len(real), labels)
        return found

    def _noise(self, n: int) -> Tensor:
        return ops.randn(n, int(self.generator.latent))

    def _discriminate(self, real: Any, labels: tuple[Any, ...]) -> dict[str, float]:
        with no_grad():
            fake = self.generator(self._noise(len(real)), *labels, **self.options)
        on_real = self.discriminator(real, *labels, **self.options)
        on_fake = self.discriminator(fake, *labels, **self.options)
        loss = self._discriminator_loss(on_real, on_fake)
        value = self._finite(loss, "discriminator")
        self.discriminator_optimizer.zero_grad()
        loss.backward()
        self.discriminator_optimizer.step()
        if self.clip is not None:
            clamp_(self._weights, -self.clip, self.clip)
        return {
            "discriminator": value,
            "real": float(on_real.numpy().mean()),
            "fake": float(on_fake.numpy().mean()),
        }

    def _generate(self, n: int, labels: tuple[Any, ...]) -> float:
        # The judge is only looked through: its weights need no gradient here.
        looking = [p for p in self.discriminator.parameters() if p.requires_grad]
        for p in looking:
            p.requires_grad = False
        try:
            fake = self.generator(self._noise(n), *labels, **self.options)
            loss = self._generator_loss(self.discriminator(fake, *labels, **self.options))
            value = self._finite(loss, "generator")
            self.generator_optimizer.zero_grad()
            loss.backward()
        finally:
            for p in looking:
                p.requires_grad = True
        self.generator_optimizer.step()
        if self.average is not None:
            self.average.update()
        return value

    def _finite(self, loss: Tensor, player: str) -> float:
        value = float(loss.item())
        if not math.isfinite(value):
            raise FloatingPointError(
                f"Adversarial: the {player}'s loss is {value} at step {self.steps + 1}: look for "
                "NaN in the data, or lower the learning rates"
            )
        return value

    # ---- many ------------------------------------------------------------------------------------

    def fit(
        self,
        x: Array,
        y: Array | None = None,
        *,
        epochs: int,
        batch_size: int = 64,
        on_step: Callable[[Adversarial], object] | None = None,
        on_epoch: Callable[[Adversarial], object] | None = None,
    ) -> list[dict[str, float]]:
        """Trains for `epochs` more epochs and returns their part of `history`.

        Every epoch has an order of its own; a last batch that is not full is left out.

        Args:
            x: Data `(N, …)`.
            y: Their classes `(N,)`, for conditional networks.
            epochs: How many more.
            batch_size: At most N.
            on_step: Called before each batch, such as to set `options`.
            on_epoch: Called after each epoch.

        Raises:
            ValueError: Fewer rows than a batch, or another number of labels.
            FloatingPointError: A loss is NaN or infinite; that player's weights are as before.
        """
        if not 1 <= batch_size <= len(x):
            raise ValueError(f"Adversarial: batch_size {batch_size}, x has {len(x)} rows")
        if y is not None and len(y) != len(x):
            raise ValueError(f"Adversarial: y has {len(y)} labels, x has {len(x)} rows")
        for _ in range(epochs):
            seed, call = _runtime.next_draw()
            order = kernels.permutation(len(x), seed=seed, call=call)
            found = []
            for begin in range(0, len(x) - batch_size + 1, batch_size):
                rows = order[begin : begin + batch_size]
                if on_step is not None:
                    on_step(self)
                found.append(self.step(np.take(x, rows, 0), None if y is None else y[rows]))
            self.epoch += 1
            self.history.append(_means(found))
            if on_epoch is not None:
                on_epoch(self)
        return self.history[-epochs:] if epochs else []

    # ---- use -------------------------------------------------------------------------------------

    @contextmanager
    def averaged(self) -> Iterator[Any]:
        """Within the block the generator has its averaged weights and is in evaluation mode."""
        was_training = self.generator.training
        self.generator.eval()
        try:
            with no_grad():
                if self.average is None:
                    yield self.generator
                else:
                    with self.average.applied():
                        yield self.generator
        finally:
            self.generator.train(was_training)

    def sample(self, n: int, label: Any = None, *, z: Any = None, batch_size: int = 256) -> Array:
        """Returns samples of the generator in evaluation mode, with its averaged weights.

        Args:
            n: How many.
            label: Classes `(n,)` for a conditional generator.
            z: Codes `(n, latent)`, or None for chance.
            batch_size: At a time.

        Raises:
            ValueError: z is not `(n, latent)`.
        """
        codes = self._noise(n).numpy() if z is None else np.asarray(z)
        if codes.shape != (n, self.generator.latent):
            raise ValueError(
                f"Adversarial.sample: z has shape {codes.shape}, expected "
                f"({n}, {self.generator.latent})"
            )
        made = []
        with self.averaged() as generator:
            for begin in range(0, n, batch_size):
                part = slice(begin, begin + batch_size)
                labels = () if label is None else (np.asarray(label)[part],)
                made.append(generator(codes[part], *labels, **self.options).numpy())
        return np.concatenate(made)

    # ---- checkpoints -----------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, random numbers included; shares memory."""
        return {
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "epoch": self.epoch,
            "steps": self.steps,
            "history": self.history,
            "random": _runtime.get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned: the next step is the one that followed there.

        Raises:
            ValueError: It is no such state.
            RuntimeError: The state of other networks; the text lists what does not fit.
        """
        missing = {"generator", "discriminator", "random", "history"} - set(state)
        if missing:
            raise ValueError(f"Adversarial: the state has no {', '.join(sorted(missing))}")
        if (state["average"] is None) != (self.average is None):
            raise ValueError("Adversarial: only one of state and trainer has averaged weights")
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.epoch, self.steps = int(state["epoch"]), int(state["steps"])
        self.history = [dict(one) for one in state["history"]]
        _runtime.set_rng_state(state["random"])


def _means(found: list[dict[str, float]]) -> dict[str, float]:
    """Means over the batches where there is a number."""
    names = found[0] if found else ()
    columns = {name: [one[name] for one in found if not math.isnan(one[name])] for name in names}
    return {name: sum(c) / len(c) if c else math.nan for name, c in columns.items()}
