"""The training step of StyleGAN in `generative`: ours, and its twin in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np

from .contenders import Array

Inputs = dict[str, Any]

LATENT, WIDTH, RATES, BETAS = 64, 64, (2e-3, 1e-3), (0.0, 0.99)
_FIXED = ("blur", "mean", "weight_u", "weight_v")  # buffers
_CRITIC = (("net.0", True), ("net.2", True), ("net.5", False))  # which of its layers convolve


def players() -> list[dict[str, Array]]:
    """The state of a new generator and of a new critic."""
    from handloom.models import StyleGenerator, spectral_critic

    made = StyleGenerator(LATENT, 16, WIDTH), spectral_critic(16, 32)
    return [{k: np.array(v) for k, v in player.state_dict().items()} for player in made]


def ours(hl: Any, inputs: Inputs, given: bool) -> Callable[[], float]:
    """Losses of a step, of both players together."""
    from handloom.models import StyleGenerator, spectral_critic

    from ..train import Adversarial

    pair = StyleGenerator(LATENT, 16, WIDTH, mixing=0.0 if given else 0.9), spectral_critic(16, 32)
    for player, state in zip(pair, inputs["params"]):
        player.load_state_dict(state)
    optimizers = [
        hl.optim.Adam(player.parameters(), lr=lr, betas=BETAS) for player, lr in zip(pair, RATES)
    ]
    trainer = Adversarial(
        *pair, generator_optimizer=optimizers[0], discriminator_optimizer=optimizers[1], ema=None
    )
    batches = cycle(inputs["batches"])

    def step() -> float:
        x, noise = next(batches)
        if given:
            drawn = iter(noise)
            trainer._noise = lambda n: hl.tensor(next(drawn))  # type: ignore[method-assign]
        found = trainer.step(x)
        return found["discriminator"] + found["generator"]

    return step


def twin(library: Any, inputs: Inputs, given: bool) -> Callable[[], float]:
    """The same in eager PyTorch, images as channels_last."""
    f = library.nn.functional
    last = library.channels_last

    def tensors(state: dict[str, Array]) -> dict[str, Any]:
        made = {}
        for name, value in state.items():
            turned = value.transpose(0, 3, 1, 2) if value.ndim == 4 else value
            learned = not name.endswith(_FIXED)
            made[name] = library.tensor(np.ascontiguousarray(turned), requires_grad=learned)
        return made

    g, d = (tensors(state) for state in inputs["params"])
    optimizers = [
        library.optim.Adam(
            [t for t in player.values() if t.requires_grad], lr=lr, betas=BETAS, fused=True
        )
        for player, lr in zip((g, d), RATES)
    ]
    learned = [t for t in d.values() if t.requires_grad]
    batches = cycle(
        [
            (library.from_numpy(x).movedim(-1, 1).contiguous(memory_format=last), library.tensor(z))
            for x, z in inputs["batches"]
        ]
    )
    layers = sum(name.endswith("strength") for name in g)

    def scaled(weight: Any, gain: float = 2**0.5) -> Any:
        return weight * (gain * weight[0].numel() ** -0.5)

    def mapping(z: Any) -> Any:
        w = z * library.rsqrt((z * z).mean(1, keepdim=True) + 1e-8)
        for i in range(4):
            p = f"mapping.layers.{i}."
            w = f.leaky_relu(f.linear(w, scaled(g[p + "weight"]) * 0.1, g[p + "bias"] * 0.1), 0.2)
        return w

    def styled(i: int, x: Any, w: Any) -> Any:
        p = f"styled.{i}."
        if i % 2 == 0 and i > 0:
            x = f.interpolate(x, scale_factor=2)
            x = f.conv2d(x, g[p + "blur"], padding=1, groups=x.shape[1])
        if i > 0:
            x = f.conv2d(x, scaled(g[p + "conv.weight"]), padding=1)
        noise = library.randn(x.shape[0], 1, *x.shape[2:])
        x = x + noise * g[p + "strength"][:, None, None] + g[p + "bias"][:, None, None]
        x = f.instance_norm(f.leaky_relu(x, 0.2))
        s = f.linear(w, scaled(g[p + "style.weight"], 1.0), g[p + "style.bias"])[..., None, None]
        scale, shift = s.chunk(2, 1)
        return x * scale + shift

    def generate(z: Any) -> Any:
        w = other = mapping(z)
        with library.no_grad():
            g["mean"].lerp_(w.mean(0), 0.01)
        crossover = layers
        if not given and library.rand(()) < 0.9:
            other = mapping(library.randn_like(z))
            crossover = int(library.randint(1, layers, ()))
        x = g["constant"].expand(len(z), -1, -1, -1)
        for i in range(layers):
            x = styled(i, x, w if i < crossover else other)
        return f.conv2d(x, scaled(g["to_image.weight"], 1.0), g["to_image.bias"])

    def weight_of(name: str) -> Any:
        weight, u = d[name + ".weight_orig"], d[name + ".weight_u"]
        matrix = weight.flatten(1)
        with library.no_grad():
            v = f.normalize(matrix.T @ u, dim=0)
            u.copy_(f.normalize(matrix @ v, dim=0))
            u = u.clone()
        return weight / (u @ (matrix @ v))

    def judge(x: Any) -> Any:
        for name, convolves in _CRITIC:
            bias = d[name + ".bias"]
            if not convolves:
                return f.linear(x.movedim(1, -1).flatten(1), weight_of(name), bias)
            x = f.leaky_relu(f.conv2d(x, weight_of(name), bias, stride=2, padding=1), 0.2)
        return x

    return play(library, batches, given, generate, judge, learned, optimizers)


def play(
    library: Any,
    batches: Any,
    given: bool,
    generate: Callable[[Any], Any],
    judge: Callable[[Any], Any],
    learned: list[Any],
    optimizers: list[Any],
) -> Callable[[], float]:
    """A PyTorch twin's step of both players: the critic, then the generator, without the critic's
    gradients.

    Args:
        library: PyTorch.
        batches: Images and two draws of noise, again and again.
        given: Whether to use that noise, so that libraries can be compared, or to draw it.
        generate, judge: The players.
        learned: The critic's parameters.
        optimizers: Of the generator, of the critic.
    """
    f = library.nn.functional

    def step() -> float:
        x, noise = next(batches)
        one, two = noise if given else library.randn_like(noise)
        with library.no_grad():
            fake = generate(one)
        wrong = f.softplus(-judge(x)).mean() + f.softplus(judge(fake)).mean()
        optimizers[1].zero_grad(set_to_none=True)
        wrong.backward()
        optimizers[1].step()
        for p in learned:
            p.requires_grad = False
        loss = f.softplus(-judge(generate(two))).mean()
        optimizers[0].zero_grad(set_to_none=True)
        loss.backward()
        for p in learned:
            p.requires_grad = True
        optimizers[0].step()
        return float(wrong.item()) + float(loss.item())

    return step
