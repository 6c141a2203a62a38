"""JAX as a peer: everything jitted, each call waited for, float64 enabled."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from itertools import cycle
from typing import Any

import numpy as np

from ..cases import Case
from ..inputs import Inputs
from . import Call, Prepared, Unsupported, in_room, once, trajectory


class Jax:
    """JAX on the CPU; its thread count follows the processors left to the process."""

    def __init__(self, threads: int) -> None:
        self.jax: Any = importlib.import_module("jax")
        self.jax.config.update("jax_platforms", "cpu")
        self.jax.config.update("jax_enable_x64", True)
        self.jnp: Any = self.jax.numpy
        self.threads = threads

    def versions(self) -> dict[str, str]:
        jaxlib: Any = importlib.import_module("jaxlib")
        return {"jax": str(self.jax.__version__), "jaxlib": str(jaxlib.__version__)}

    def settings(self) -> dict[str, str]:
        return {"threads": f"{self.threads} processors", "jit": "every call"}

    def prepare(self, case: Case, inputs: list[Inputs]) -> Prepared:
        made = in_room("jax", self, case, inputs)
        if made is not None:
            return made
        if case.op == "step":
            step = self._step(case, inputs[0])
            # A second network for the comparison; the timed one starts afresh.
            return Prepared([self._step(case, inputs[0])], trajectory(lambda: float(step())))
        jitted, names = self._function(case, inputs[0])
        calls = [self._call(jitted, names, arrays) for arrays in inputs]
        return Prepared(calls, once(calls[0]))

    def _call(self, jitted: Any, names: tuple[str, ...], arrays: Inputs) -> Call:
        wait = self.jax.block_until_ready
        placed = [self._place(arrays[name]) for name in names]
        if len(placed) == 1:
            (x,) = placed
            return lambda: wait(jitted(x))
        if len(placed) == 2:
            a, b = placed
            return lambda: wait(jitted(a, b))
        return lambda: wait(jitted(*placed))

    def _place(self, array: Any) -> Any:
        stored = array if array.flags.c_contiguous else array.swapaxes(-1, -2)
        return self.jax.device_put(np.array(stored))

    def _function(self, case: Case, i: Inputs) -> tuple[Any, tuple[str, ...]]:
        jax, jnp, nn = self.jax, self.jnp, self.jax.nn
        axis = case.option("axis")
        simple: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
            "add": (jnp.add, ("a", "b")),
            "mul": (jnp.multiply, ("a", "b")),
            "sub": (jnp.subtract, ("a", "b")),
            "div": (jnp.divide, ("a", "b")),
            "tanh": (jnp.tanh, ("x",)),
            "exp": (jnp.exp, ("x",)),
            "erf": (jax.scipy.special.erf, ("x",)),
            "sigmoid": (nn.sigmoid, ("x",)),
            "relu": (nn.relu, ("x",)),
            "gelu": (lambda x: nn.gelu(x, approximate=False), ("x",)),
            "sum": (lambda x: jnp.sum(x, axis), ("x",)),
            "mean": (lambda x: jnp.mean(x, axis), ("x",)),
            "max": (lambda x: jnp.max(x, axis), ("x",)),
            "softmax": (lambda x: nn.softmax(x, -1), ("x",)),
            "cross_entropy": (self.cross_entropy, ("x", "target")),
            "cross_entropy_grad": (jax.value_and_grad(self.cross_entropy), ("x", "target")),
        }
        if case.op in simple:
            function, names = simple[case.op]
            return jax.jit(function), names
        if case.op == "matmul":
            left, right = (not i[name].flags.c_contiguous for name in "ab")
            return jax.jit(
                lambda a, b: jnp.matmul(
                    a.swapaxes(-1, -2) if left else a, b.swapaxes(-1, -2) if right else b
                )
            ), ("a", "b")
        activation = self._activation(case.option("activation"))
        if case.op == "linear":
            return jax.jit(lambda x, w, b: activation(x @ w.T + b)), ("x", "w", "b")
        if case.op == "linear_backward":
            return jax.jit(self._linear_backward(case.option("activation"))), ("dy", "x", "w", "y")
        raise Unsupported(f"JAX's twin has no {case.op}")

    def _activation(self, name: str | None) -> Callable[[Any], Any]:
        nn, jnp = self.jax.nn, self.jnp
        known: dict[str | None, Callable[[Any], Any]] = {
            None: lambda z: z,
            "relu": nn.relu,
            "tanh": jnp.tanh,
            "gelu": lambda z: nn.gelu(z, approximate=False),
        }
        return known[name]

    def _linear_backward(self, activation: str | None) -> Callable[..., Any]:
        def backward(dy: Any, x: Any, w: Any, y: Any) -> Any:
            g = dy
            if activation == "relu":
                g = dy * (y > 0)
            elif activation == "tanh":
                g = dy * (1 - y * y)
            return g @ w, g.T @ x, g.sum(0)

        return backward

    def cross_entropy(self, logits: Any, target: Any) -> Any:
        """The mean over rows (N, C) of −log softmax(logits)[target]."""
        rows = self.jnp.arange(logits.shape[0])
        return -self.jax.nn.log_softmax(logits, -1)[rows, target].mean()

    def _bce(self, logits: Any, target: Any) -> Any:
        jnp = self.jnp
        return (
            jnp.maximum(logits, 0) - logits * target + jnp.log1p(jnp.exp(-jnp.abs(logits)))
        ).mean()

    def _step(self, case: Case, inputs: Inputs) -> Callable[[], Any]:
        activation = self._activation(case.option("activation"))
        loss_of = self._bce if case.option("loss") == "bce" else self.cross_entropy

        def loss(params: Any, x: Any, target: Any) -> Any:
            last = len(params) // 2 - 1
            for layer in range(last + 1):
                x = x @ params[2 * layer].T + params[2 * layer + 1]
                x = activation(x) if layer < last else x
            return loss_of(x, target)

        return self.training(case, inputs["params"], loss, inputs["batches"])

    def training(
        self, case: Case, parameters: Any, loss: Callable[[Any, Any, Any], Any], batches: Any
    ) -> Callable[[], Any]:
        """One compiled function for the whole step, with its state donated back to it."""
        jax, jnp, lr = self.jax, self.jnp, case.option("lr")

        def sgd(state: Any, gradients: Any) -> Any:
            params, first, second, steps = state
            first = [0.9 * v + g for v, g in zip(first, gradients)]
            params = [p - lr * v for p, v in zip(params, first)]
            return params, first, second, steps

        def adam(state: Any, gradients: Any) -> Any:
            params, first, second, steps = state
            steps = steps + 1
            rate, root = lr / (1 - 0.9**steps), jnp.sqrt(1 - 0.999**steps)
            first = [m + 0.1 * (g - m) for m, g in zip(first, gradients)]
            second = [0.999 * v + 0.001 * g * g for v, g in zip(second, gradients)]
            params = [
                p - rate * m / (jnp.sqrt(v) / root + 1e-8) for p, m, v in zip(params, first, second)
            ]
            return params, first, second, steps

        update = {"adam": adam, "sgd": sgd}[case.option("optimiser")]

        def whole(state: Any, x: Any, target: Any) -> Any:
            value, gradients = jax.value_and_grad(loss)(state[0], x, target)
            return update(state, gradients), value

        compiled = jax.jit(whole, donate_argnums=0)
        params = [jax.device_put(p.copy()) for p in parameters]
        first, second = ([jnp.zeros_like(p) for p in params] for _ in range(2))
        state: Any = (params, first, second, jnp.zeros((), case.dtype))
        pairs = cycle([(self._place(x), self._place(t)) for x, t in batches])

        def step() -> Any:
            nonlocal state
            state, value = compiled(state, *next(pairs))
            return jax.block_until_ready(value)

        return step
