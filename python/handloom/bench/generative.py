"""Training steps of networks that generate: CD-1 of a Boltzmann machine, VAE, DCGAN, StyleGAN.

What is timed draws its own random numbers, each library with its own generator. What is compared
beforehand gets its noise from the inputs: for the Boltzmann machine the two layers' means, for the
others the losses of the first steps. (Of StyleGAN one: what follows has noise inside; of DCGAN two:
Adam's first steps are long where a gradient is nothing but rounding.)
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, cycle
from typing import Any

import numpy as np

from . import styles
from .cases import Case, Shape, Target
from .contenders import Array, Prepared, trajectory

Inputs = dict[str, Any]

LATENT = {"VAE": 20, "DCGAN": 64, "StyleGAN": styles.LATENT}
RATES = {"VAE": (1e-3, 1e-3), "DCGAN": (1e-3, 2e-4)}

# Weights and biases in the order of our models' parameters: our layouts.
_SHAPES: dict[str, tuple[tuple[Shape, ...], ...]] = {
    "VAE": (
        (
            *((400, 784), (400,), (400, 400), (400,)),  # encoder
            *((400, 20), (400,), (400, 400), (400,), (784, 400), (784,)),  # decoder
            *((20, 400), (20,), (20, 400), (20,)),  # μ, log σ²
        ),
    ),
    "DCGAN": (
        ((1024, 64), (64,), (64,), (64, 4, 4, 32), (32,), (32,), (32, 4, 4, 1), (1,)),
        ((32, 4, 4, 1), (32,), (64, 4, 4, 32), (64,), (64,), (1, 1024), (1,)),
    ),
}
_NORMS = {"DCGAN": ((1, 4), (3,))}  # where batch norm's weights stand, which begin as ones


def _cases() -> tuple[Case, ...]:
    faster = Target(ratio=2.0, over=("torch",))

    def cd(n: int, v: int, h: int, **rest: Any) -> Case:
        # Up, down and up again, and the gradient's product over both halves.
        work = 2.0 * n * v * h * 5
        return Case(
            "generative", f"RBM CD-1 B{n} {v}→{h}", "cd", ((n, v), (h, v), (v,), (h,)),
            flops=work, depth=v, roofs=("peak",), target=faster, **rest,
        )  # fmt: skip

    def step(name: str, x: Shape, flops: float, **rest: Any) -> Case:
        return Case(
            "generative", f"{name} step B{x[0]}", "step", (x,),
            options=(("model", name), ("batches", 16)), flops=flops, depth=1024,
            roofs=("peak",), target=faster, **rest,
        )  # fmt: skip

    dense = sum(np.prod(s) for s in _SHAPES["VAE"][0] if len(s) == 2)
    n = 64
    return (
        cd(10, 64, 256, quick=True),
        cd(128, 784, 512),
        step("VAE", (n, 784), 6.0 * n * dense, quick=True),
        step("DCGAN", (n, 16, 16, 1), 2.0 * n * 9 * (65536 + 2 * 64 * 16 * 512 + 2 * 64 * 512)),
        # Four times the generator's products and eight times the critic's.
        step("StyleGAN", (32, 16, 16, 1), 2.0 * 32 * (4 * 4.13e6 + 8 * 0.56e6)),
    )


CASES = _cases()


def make_inputs(rng: np.random.Generator, case: Case) -> Inputs:
    """``v w b c`` for the machine; else ``params`` of each player and ``batches`` with noise."""
    if case.op == "cd":
        n, v, w, b = case.shapes[0][0], case.shapes[0][1], case.shapes[1], case.shapes[3]
        return {
            "v": (rng.random((n, v)) < 0.3).astype(np.float32),
            "w": rng.normal(0, 0.05, w).astype(np.float32),
            "b": rng.normal(0, 0.1, v).astype(np.float32),
            "c": rng.normal(0, 0.1, b).astype(np.float32),
        }
    name, x = case.option("model"), case.shapes[0]
    params: list[Any] = []
    if name == "StyleGAN":
        from handloom import manual_seed

        manual_seed(int(rng.integers(1 << 31)))
        params += styles.players()
    for player, shapes in enumerate(_SHAPES.get(name, ())):
        ones = _NORMS[name][player] if name in _NORMS else ()
        made = [
            rng.normal(0, 0.02 if name == "DCGAN" else shape[-1] ** -0.5, shape).astype(np.float32)
            if len(shape) > 1
            else np.full(shape, float(i in ones), np.float32)
            for i, shape in enumerate(shapes)
        ]
        params.append(made)
    noise = (2, x[0], LATENT[name])
    batches = [
        (
            (rng.random(x) < 0.3).astype(np.float32) if name == "VAE" else _images(rng, x),
            rng.standard_normal(noise, np.float32),
        )
        for _ in range(case.option("batches"))
    ]
    return {"params": params, "batches": batches}


def _images(rng: np.random.Generator, x: Shape) -> Array:
    return np.tanh(rng.standard_normal(x)).astype(np.float32)


_COMPARED = {"StyleGAN": 1, "DCGAN": 2}


def _losses(name: str, step: Callable[[], float]) -> Callable[[], list[Array]]:
    """What is compared of a model's first steps."""
    steps = _COMPARED.get(name)
    return trajectory(step) if steps is None else lambda: [np.array([step() for _ in range(steps)])]


# ---- handloom ----------------------------------------------------------------------------------


def handloom(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The fused kernel; the models of `handloom.models`."""
    if case.op == "cd":
        kernels, calls = contender.kernels, count()
        i = inputs[0]
        v, w, b, c = (i[name] for name in "vwbc")

        def means() -> list[Array]:
            p = kernels.rbm_hidden(v, w, c, sample=False)[0]
            return [p, kernels.rbm_visible(p, w, b, sample=False)[0]]

        def step() -> Any:
            return kernels.rbm_contrastive_divergence(v, w, b, c, seed=1, call=3 * next(calls))

        return Prepared([step], means)
    name = case.option("model")
    make = {"VAE": _our_vae, "DCGAN": _our_dcgan, "StyleGAN": styles.ours}[name]
    check, timed = (make(contender.hl, inputs[0], given) for given in (True, False))
    return Prepared([timed], _losses(name, check))


def _load(model: Any, params: list[Array]) -> None:
    for p, value in zip(model.parameters(), params, strict=True):
        p.copy_(value)


def _our_vae(hl: Any, inputs: Inputs, given: bool) -> Callable[[], float]:
    from handloom.models import dense_vae

    model = dense_vae(784, 400, 20)
    _load(model, inputs["params"][0])
    optimizer = hl.optim.Adam(model.parameters(), lr=RATES["VAE"][0])
    functional, batches = hl.nn.functional, cycle(inputs["batches"])

    def step() -> float:
        x, noise = next(batches)
        if given:
            mu, logvar = model.encode(x)
            logits = model.decode(mu + hl.exp(logvar * 0.5) * noise[0])
            error = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
            kl = functional.gaussian_kl(mu, logvar, reduction="sum")
            loss = error * (1 / len(x)) + kl * (1 / len(x))
        else:
            loss = model.loss(model(x), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def _our_dcgan(hl: Any, inputs: Inputs, given: bool) -> Callable[[], float]:
    from handloom.models import DCDiscriminator, DCGenerator

    from ..train import Adversarial

    players = DCGenerator(64, 16, 32), DCDiscriminator(16, 32)
    for player, params in zip(players, inputs["params"]):
        _load(player, params)
    optimizers = [
        hl.optim.Adam(player.parameters(), lr=lr, betas=(0.5, 0.999))
        for player, lr in zip(players, RATES["DCGAN"])
    ]
    trainer = Adversarial(
        *players,
        generator_optimizer=optimizers[0],
        discriminator_optimizer=optimizers[1],
        ema=None,
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


# ---- PyTorch -----------------------------------------------------------------------------------


def torch(contender: Any, case: Case, inputs: list[Inputs]) -> Prepared:
    """The same in eager PyTorch: no tape for the Boltzmann machine, fused Adam for the others."""
    library = contender.torch
    if case.op == "cd":
        v, w, b, c = (library.from_numpy(inputs[0][name]) for name in "vwbc")
        functional = library.nn.functional

        def means() -> list[Array]:
            p = functional.linear(v, w, c).sigmoid_()
            return [p.numpy(), library.addmm(b, p, w).sigmoid_().numpy()]

        def step() -> Any:
            p = functional.linear(v, w, c).sigmoid_()
            seen = library.bernoulli(library.addmm(b, library.bernoulli(p), w).sigmoid_())
            q = functional.linear(seen, w, c).sigmoid_()
            n = len(v)
            dw = library.addmm(p.T @ v, q.T, seen, beta=-1 / n, alpha=1 / n)
            return dw, (seen - v).mean(0), (q - p).mean(0)

        return Prepared([step], means, within=library.inference_mode)
    name = case.option("model")
    make = {"VAE": _torch_vae, "DCGAN": _torch_dcgan, "StyleGAN": styles.twin}[name]
    check, timed = (make(library, inputs[0], given) for given in (True, False))
    return Prepared([timed], _losses(name, check), "optimiser: fused")


def _tensors(library: Any, params: list[Array]) -> list[Any]:
    """Parameters in PyTorch's layouts: filters have their channels in front of their sides."""
    made = []
    for value in params:
        turned = value.transpose(0, 3, 1, 2) if value.ndim == 4 else value
        made.append(library.tensor(np.ascontiguousarray(turned), requires_grad=True))
    return made


def _torch_vae(library: Any, inputs: Inputs, given: bool) -> Callable[[], float]:
    f = library.nn.functional
    p = _tensors(library, inputs["params"][0])
    optimizer = library.optim.Adam(p, lr=RATES["VAE"][0], fused=True)
    batches = cycle([tuple(map(library.from_numpy, batch)) for batch in inputs["batches"]])

    def step() -> float:
        x, noise = next(batches)
        h = f.linear(f.linear(x, p[0], p[1]).relu(), p[2], p[3]).relu()
        mu, logvar = f.linear(h, p[10], p[11]), f.linear(h, p[12], p[13])
        eps = noise[0] if given else library.randn_like(mu)
        z = mu + (logvar * 0.5).exp() * eps
        y = f.linear(f.linear(z, p[4], p[5]).relu(), p[6], p[7]).relu()
        logits = f.linear(y, p[8], p[9])
        error = f.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = -0.5 * (1 + logvar - mu * mu - logvar.exp()).sum()
        loss = (error + kl) / len(x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def _torch_dcgan(library: Any, inputs: Inputs, given: bool) -> Callable[[], float]:
    f = library.nn.functional
    g, d = (_tensors(library, params) for params in inputs["params"])
    optimizers = [
        library.optim.Adam(player, lr=lr, betas=(0.5, 0.999), fused=True)
        for player, lr in zip((g, d), RATES["DCGAN"])
    ]
    last = library.channels_last
    batches = cycle(
        [
            (library.from_numpy(x).movedim(-1, 1).contiguous(memory_format=last), library.tensor(z))
            for x, z in inputs["batches"]
        ]
    )

    def norm(x: Any, weight: Any, bias: Any) -> Any:
        return f.batch_norm(x, None, None, weight, bias, training=True)

    def generate(z: Any) -> Any:
        x = f.linear(z, g[0]).reshape(-1, 4, 4, 64).movedim(-1, 1)
        x = norm(x, g[1], g[2]).relu()
        x = norm(f.conv_transpose2d(x, g[3], stride=2, padding=1), g[4], g[5]).relu()
        return f.conv_transpose2d(x, g[6], g[7], stride=2, padding=1).tanh()

    def judge(x: Any) -> Any:
        x = f.leaky_relu(f.conv2d(x, d[0], d[1], stride=2, padding=1), 0.2)
        x = norm(f.conv2d(x, d[2], stride=2, padding=1), d[3], d[4])
        return f.linear(f.leaky_relu(x, 0.2).movedim(1, -1).flatten(1), d[5], d[6])

    return styles.play(library, batches, given, generate, judge, d, optimizers)
