"""CycleGAN: pictures of one kind into another, learned without pairs.

Zhu et al.: "Unpaired image-to-image translation using cycle-consistent adversarial networks" (ICCV
2017): least-squares game, instance norm, reflect padding, residual blocks, critics of patches, a
pool of past fakes, λ = 10 for the cycle and λ/2 for the identity.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels, nn
from .._runtime import get_rng_state, next_draw, set_rng_state
from ..autograd import no_grad
from ..ops._common import shape_of
from ..optim import Adam
from ..tensor import Array, Tensor

F = nn.functional


def _conv(a: int, b: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(a, b, kernel, stride=stride, padding=kernel // 2, padding_mode="reflect")


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _conv(width, width, 3), nn.InstanceNorm2d(width), nn.ReLU(),
            _conv(width, width, 3), nn.InstanceNorm2d(width),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class Translator(nn.Module):
    """Images `(N, H, W, channels)` in [−1, 1] → the same of the other kind; H and W even.

    Args:
        width: Channels at full size; twice as many at half.
        blocks: Residual blocks at half size.
        channels: Of the images.
    """

    def __init__(self, width: int = 16, blocks: int = 2, channels: int = 1) -> None:
        super().__init__()
        self.net = nn.Sequential(
            _conv(channels, width, 5), nn.InstanceNorm2d(width), nn.ReLU(),
            _conv(width, 2 * width, 3, 2), nn.InstanceNorm2d(2 * width), nn.ReLU(),
            *(_Residual(2 * width) for _ in range(blocks)),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1),
            nn.InstanceNorm2d(width), nn.ReLU(), _conv(width, channels, 5), nn.Tanh(),
        )  # fmt: skip

    def forward(self, x: Any) -> Tensor:
        shape = shape_of("Translator", x)
        if len(shape) != 4 or shape[1] % 2 or shape[2] % 2:
            raise ValueError(
                f"Translator: x has shape {shape}, expected (N, H, W, C), H and W even"
            )
        return self.net(x)  # type: ignore[no-any-return]


def patch_critic(width: int = 32, channels: int = 1) -> nn.Sequential:
    """PatchGAN: a score for each patch of the image, `(N, H/4, W/4, 1)`."""
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.InstanceNorm2d(2 * width), nn.LeakyReLU(0.2),
        nn.Conv2d(2 * width, 1, 3, padding=1),
    )  # fmt: skip


class ImagePool:
    """Past fakes: a critic sees one of these in half of the cases (Shrivastava et al. 2017)."""

    def __init__(self, size: int = 50) -> None:
        self.size = size
        self.images: list[Array] = []

    def exchange(self, batch: Array) -> Array:
        """Returns the batch, about half of its images exchanged for kept ones."""
        seed, call = next_draw()
        chance = kernels.uniform((len(batch), 2), seed=seed, call=call)
        given = batch.copy()
        for i, image in enumerate(batch):
            if len(self.images) < self.size:
                self.images.append(image.copy())
            elif chance[i, 0] < 0.5:
                at = int(chance[i, 1] * self.size)
                given[i] = self.images[at]
                self.images[at] = image.copy()
        return given


class CycleGAN:
    """Two translators and two critics, and a step that trains all four.

    Args:
        to_b, to_a: Translators.
        critic_a, critic_b: Critics of the two kinds.
        lr: Of the translators' Adam, β = (0.5, 0.999).
        critic_lr: Of the critics', or None for the same.
        cycle: λ, weight of ‖A(B(a)) − a‖₁ + ‖B(A(b)) − b‖₁.
        identity: Weight, beside λ, of ‖A(a) − a‖₁ + ‖B(b) − b‖₁.
        pool: Fakes that are kept for the critics.
    """

    def __init__(
        self,
        to_b: nn.Module,
        to_a: nn.Module,
        critic_a: nn.Module,
        critic_b: nn.Module,
        *,
        lr: float = 2e-4,
        critic_lr: float | None = None,
        cycle: float = 10.0,
        identity: float = 0.5,
        pool: int = 50,
    ) -> None:
        self.parts = nn.ModuleDict(
            {"to_b": to_b, "to_a": to_a, "critic_a": critic_a, "critic_b": critic_b}
        )
        self.to_a, self.to_b, self.critic_a, self.critic_b = to_a, to_b, critic_a, critic_b
        self.cycle, self.identity = cycle, identity
        self.pools = ImagePool(pool), ImagePool(pool)
        self.optimizers = [
            Adam([*one.parameters(), *two.parameters()], lr=rate, betas=(0.5, 0.999))
            for one, two, rate in (
                (to_b, to_a, lr),
                (critic_a, critic_b, lr if critic_lr is None else critic_lr),
            )
        ]

    def step(self, a: Array, b: Array) -> dict[str, float]:
        """One step on a batch of each kind → `game`, `cycle`, `identity`, `critic`."""
        critics = [*self.critic_a.parameters(), *self.critic_b.parameters()]
        for p in critics:
            p.requires_grad = False
        fake_b, fake_a = self.to_b(a), self.to_a(b)
        game = F.gan_generator_loss(self.critic_b(fake_b), "least_squares") + F.gan_generator_loss(
            self.critic_a(fake_a), "least_squares"
        )
        cycle = F.l1_loss(self.to_a(fake_b), a) + F.l1_loss(self.to_b(fake_a), b)
        same = F.l1_loss(self.to_a(a), a) + F.l1_loss(self.to_b(b), b)
        loss = game + cycle * self.cycle + same * (self.cycle * self.identity)
        self._update(0, loss)
        for p in critics:
            p.requires_grad = True
        old_a, old_b = (
            pool.exchange(fake.detach().numpy()) for pool, fake in zip(self.pools, (fake_a, fake_b))
        )
        wrong = F.gan_discriminator_loss(
            self.critic_a(a), self.critic_a(old_a), "least_squares"
        ) + F.gan_discriminator_loss(self.critic_b(b), self.critic_b(old_b), "least_squares")
        self._update(1, wrong)
        found = {"game": game, "cycle": cycle, "identity": same, "critic": wrong}
        return {name: float(value.item()) for name, value in found.items()}

    def _update(self, player: int, loss: Tensor) -> None:
        self.optimizers[player].zero_grad()
        loss.backward()
        self.optimizers[player].step()

    def translate(self, x: Array, to: str, batch_size: int = 256) -> Array:
        """Returns images of the other kind: `to` is "a" or "b"."""
        if to not in ("a", "b"):
            raise ValueError(f"CycleGAN.translate: to is {to!r}, expected a or b")
        if not shape_of("CycleGAN.translate", x) or len(x) == 0:
            raise ValueError("CycleGAN.translate: x has no image")
        model = self.to_a if to == "a" else self.to_b
        with no_grad():
            parts: list[Array] = [
                model(x[i : i + batch_size]).numpy() for i in range(0, len(x), batch_size)
            ]
        return np.concatenate(parts)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next step depends on, random numbers included."""
        return {
            "parts": self.parts.state_dict(),
            "optimizers": [o.state_dict() for o in self.optimizers],
            "pools": [list(pool.images) for pool in self.pools],
            "random": get_rng_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned.

        Raises:
            RuntimeError: The state of other networks.
            ValueError: It is no CycleGAN's state.
        """
        expected = ("parts", "optimizers", "pools", "random")
        missing = [k for k in expected if not isinstance(state, dict) or k not in state]
        if missing:
            raise ValueError(f"CycleGAN.load_state_dict: the state has no {', '.join(missing)}")
        self.parts.load_state_dict(state["parts"])
        for optimizer, one in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(one)
        for pool, images in zip(self.pools, state["pools"]):
            pool.images = [np.array(image) for image in images]
        set_rng_state(state["random"])
