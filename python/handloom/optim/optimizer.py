"""What all optimisers share: parameter groups, state, and one kernel call for each group.

The update rules are in `csrc/ops/optim/optim.h`; names, arguments and defaults are PyTorch's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np

from handloom import _C
from handloom._device_array import index_of, place
from handloom._replay import each_replay, recordings
from handloom._rows import RowGradient
from handloom.autograd import enable_grad
from handloom.tensor import Array, Tensor

Params = Iterable[Tensor] | Iterable[dict[str, Any]]  # what constructors take


class Optimizer:
    """The base of all optimisers.

    Attributes:
        param_groups: Dictionaries of "params" and the hyperparameters used for them; changing a
            value there holds from the next step on.
        state: For each parameter the arrays that its updates keep.
    """

    kind: ClassVar[str]

    def __init__(self, params: Params, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Array]] = {}
        self._plans: list[_Plan | None] = []
        if isinstance(params, Tensor):
            raise TypeError(f"{self._name()}: params is a Tensor, expected an iterable of tensors")
        if hasattr(params, "parameters"):
            raise TypeError(
                f"{self._name()}: params is a {type(params).__name__}, expected an iterable of "
                "tensors: model.parameters()"
            )
        groups: list[Any] = list(params)
        if not groups:
            raise ValueError(f"{self._name()}: params is empty")
        for group in groups if isinstance(groups[0], dict) else [{"params": groups}]:
            self.add_param_group(group)

    @classmethod
    def _name(cls) -> str:
        return cls.__name__

    def add_param_group(self, group: dict[str, Any]) -> None:
        """Adds parameters with hyperparameters of their own, e.g. a smaller "lr".

        Raises:
            TypeError: A parameter is no tensor, or the group is no dictionary.
            ValueError: A parameter is not a leaf or in a group already, or a value is out of range.
        """
        if not isinstance(group, dict):
            raise TypeError(f"{self._name()}: a group is a {type(group).__name__}, expected a dict")
        if "params" not in group:
            raise ValueError(f"{self._name()}: a group has no 'params'")
        params = group["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        unknown = set(group) - {"params"} - set(self.defaults)
        if unknown:
            raise ValueError(
                f"{self._name()}: a group has {', '.join(sorted(map(repr, unknown)))}, expected "
                f"some of {', '.join(self.defaults)}"
            )
        seen = {id(p) for g in self.param_groups for p in g["params"]}
        for i, p in enumerate(params):
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"{self._name()}: params[{i}] is a {type(p).__name__}, expected a Tensor"
                )
            if not p.is_leaf:
                raise ValueError(f"{self._name()}: params[{i}] is not a leaf of the graph")
            if id(p) in seen:
                raise ValueError(f"{self._name()}: params[{i}] is there twice")
            seen.add(id(p))
        group = {"params": params, **self.defaults, **{k: group[k] for k in group if k != "params"}}
        self.check(group)
        self.param_groups.append(group)
        self._plans.append(None)

    def check(self, group: dict[str, Any]) -> None:
        """Raises ValueError for a hyperparameter out of range."""
        name = self._name()
        require(name, "lr", group["lr"], at_least=0.0)
        require(name, "weight_decay", group["weight_decay"], at_least=0.0)
        if "eps" in group:
            require(name, "eps", group["eps"], at_least=0.0)
        if "betas" in group:
            try:
                first, second = group["betas"]
            except (TypeError, ValueError):
                raise ValueError(
                    f"{name}: betas is {group['betas']!r}, expected two numbers"
                ) from None
            require(name, "betas[0]", first, at_least=0.0, below=1.0)
            require(name, "betas[1]", second, at_least=0.0, below=1.0)

    def hyper(self, group: dict[str, Any]) -> tuple[Any, ...]:
        """The group's numbers in the order of the kernel's step-state block."""
        raise NotImplementedError

    def slots(self, group: dict[str, Any]) -> tuple[bool, ...]:
        """Which of the kind's state arrays these options use."""
        return (True,) * len(_C.optim_states[self.kind])

    def rows(self, group: dict[str, Any], gradient: Any) -> Any:
        """What the kernel gets for a `RowGradient`: rows and their numbers, or a whole array.

        Raises:
            RuntimeError: Rows that were not read would be moved as well: by their momentum.
        """
        raise RuntimeError(
            f"{self._name()}: a gradient has {len(gradient.rows)} of {gradient.shape[0]} rows "
            "(sparse=True), which SGD and Adagrad take"
        )

    def new_state(self, name: str, like: Array, group: dict[str, Any]) -> Array:
        """The first value of a state array."""
        return np.zeros_like(like, order="C")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Updates every parameter that has a gradient.

        Args:
            closure: Computes the loss and its gradients again, and returns the loss.

        Returns:
            What the closure returned, or None.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        for i, group in enumerate(self.param_groups):
            params = group["params"]
            arrays = [p._array for p in params]
            plan = self._plans[i]
            values = self.hyper(group)
            if plan is None or not plan.holds(arrays):
                plan = self._plan(i, group, values)
            elif plan.values != values:
                plan = self._changed(i, group, plan, values)
            if recordings:
                self._captured(i, plan)
            grads: list[Any] = []
            for p in params:
                leaf = p._node
                if leaf is None or (g := leaf.grad) is None:
                    grads.append(None)
                else:
                    rows: Any = g.__class__ is RowGradient
                    grads.append(self.rows(group, g) if rows else g._array)
                    p._version[0] += 1
            plan.step(grads)
        return loss

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets all gradients, or fills them with zeros."""
        for group in self.param_groups:
            for p in group["params"]:
                leaf = p._node
                if leaf is not None and leaf.grad is not None:
                    if set_to_none:
                        leaf.grad = None
                    else:
                        leaf.grad.zero_()

    def _changed(
        self, i: int, group: dict[str, Any], plan: _Plan, values: tuple[Any, ...]
    ) -> _Plan:
        """New numbers for a group: in place, unless they ask for other state arrays."""
        self.check(group)
        if plan.used != self._used(group):
            return self._plan(i, group, values)
        plan.change(values)
        return plan

    def _used(self, group: dict[str, Any]) -> list[str]:
        names = _C.optim_states[self.kind]
        return [name for name, use in zip(names, self.slots(group)) if use]

    def _captured(self, i: int, plan: _Plan) -> None:
        """In a capture: each replay reads the group's numbers of then."""

        def renew() -> None:
            group = self.param_groups[i]
            values = self.hyper(group)
            if self._plans[i] is plan and plan.values != values:
                self._changed(i, group, plan, values)
            if self._plans[i] is not plan or not plan.holds([p._array for p in group["params"]]):
                raise RuntimeError(
                    f"{self._name()}: parameters, their state or an option that changes what is "
                    "kept of them were replaced since the graph was captured; capture it again"
                )
            for p in group["params"]:
                p._version[0] += 1

        each_replay(plan, renew)

    def _plan(self, i: int, group: dict[str, Any], values: tuple[Any, ...]) -> _Plan:
        """Checks a group that is new or has changed, and prepares its kernel call."""
        self.check(group)
        names = _C.optim_states[self.kind]
        used = self._used(group)
        for p in group["params"]:
            state = self.state.setdefault(p, {})
            if "progress" not in state:
                state["progress"] = np.array([0.0, 1.0])
            for name in used:
                held = state.get(name)
                if held is None:
                    state[name] = self.new_state(name, p._array, group)
                else:  # after module.to("float64") or module.to("cuda")
                    state[name] = place(held, index_of(p._array)).astype(p.dtype, copy=False)
        plan = _Plan(self.kind, group["params"], self.state, names, used, values)
        self._plans[i] = plan
        return plan

    def state_dict(self) -> dict[str, Any]:
        """The state of every parameter by its number, and the groups, sharing memory."""
        number = self._numbers()
        return {
            "state": {
                number[p]: {
                    "step": int(s["progress"][0]),
                    "mu_product": float(s["progress"][1]),
                    **{k: v for k, v in s.items() if k != "progress"},
                }
                for p, s in self.state.items()
            },
            "param_groups": [
                {**g, "params": [number[p] for p in g["params"]]} for g in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Goes on from what `state_dict` returned; arrays are copied.

        Raises:
            ValueError: It is no optimiser's state, the groups have other numbers of parameters, or
                a state another shape.
        """
        if not (isinstance(state_dict, dict) and {"param_groups", "state"} <= state_dict.keys()):
            got = sorted(map(str, state_dict)) if isinstance(state_dict, dict) else type(state_dict)
            raise ValueError(
                f"{self._name()}: load_state_dict expects a dict with 'state' and 'param_groups', "
                f"got {got}"
            )
        saved = state_dict["param_groups"]
        ours, theirs = ([len(g["params"]) for g in gs] for gs in (self.param_groups, saved))
        if ours != theirs:
            raise ValueError(
                f"{self._name()}: the groups have {ours} parameters, the saved ones {theirs}"
            )
        by_number = {n: p for p, n in self._numbers().items()}
        state: dict[Tensor, dict[str, Array]] = {}
        for n, entry in state_dict["state"].items():
            p = by_number[int(n)]
            held = {"progress": np.array([entry["step"], entry.get("mu_product", 1.0)], np.float64)}
            for name in _C.optim_states[self.kind]:
                if entry.get(name) is None:
                    continue
                array = np.array(place(entry[name], -1), dtype=p.dtype, order="C")
                if array.shape != p.shape:
                    raise ValueError(
                        f"{self._name()}: {name} of parameter {n} has shape {array.shape}, "
                        f"expected {p.shape}"
                    )
                held[name] = place(array, index_of(p._array))
            state[p] = held
        for group, other in zip(self.param_groups, saved):
            merged = {**group, **{k: v for k, v in other.items() if k != "params"}}
            self.check(merged)
            group.update(merged)
        self.state = state
        self._plans = [None] * len(self.param_groups)

    def _numbers(self) -> dict[Tensor, int]:
        params = [p for g in self.param_groups for p in g["params"]]
        return {p: i for i, p in enumerate(params)}

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {k}: {group[k]}" for k in sorted(group) if k != "params"]
        return "\n".join([f"{self._name()} (", *lines, ")"])


class _Plan:
    """A group's kernel call, ready to run: one parameter list for each dtype."""

    __slots__ = ("_arrays", "_hyper", "_lists", "_single", "used", "values")

    def __init__(
        self,
        kind: str,
        params: list[Tensor],
        state: dict[Tensor, dict[str, Array]],
        names: tuple[str, ...],
        used: list[str],
        values: tuple[Any, ...],
    ) -> None:
        self.used = used
        self._hyper = np.zeros(_C.optim_hyper_size)
        self.change(values)
        self._arrays = [p._array for p in params]
        self._lists: list[tuple[Any, list[int]]] = []
        for dtype in dict.fromkeys(a.dtype for a in self._arrays):
            at = [i for i, a in enumerate(self._arrays) if a.dtype == dtype]
            progress = np.empty((len(at), 2))
            arrays: list[Array] = []
            states: list[Sequence[Array | None]] = []
            for row, i in enumerate(at):
                held = state[params[i]]
                progress[row] = held["progress"]
                held["progress"] = progress[row]  # a view: the kernel counts the steps
                arrays.append(self._arrays[i])
                states.append(tuple(held[name] if name in used else None for name in names))
            self._lists.append((_C.ParamList(kind, arrays, states, progress, self._hyper), at))
        self._single = self._lists[0][0] if len(self._lists) == 1 else None

    def change(self, values: tuple[Any, ...]) -> None:
        """Other numbers from the next step on: the kernel reads them where they are."""
        self.values = values
        self._hyper[: len(values)] = values

    def holds(self, arrays: list[Array]) -> bool:
        """Whether these are the very arrays that the plan was made for."""
        if self._single is not None:
            return bool(self._single.holds(arrays))
        return len(arrays) == len(self._arrays) and all(
            a is b for a, b in zip(arrays, self._arrays)
        )

    def step(self, grads: list[Any]) -> None:
        if self._single is not None:
            self._single.step(grads)
            return
        for params, at in self._lists:
            params.step([grads[i] for i in at])


def rows_only(name: str, group: dict[str, Any], gradient: Any) -> tuple[Array, Array]:
    """Rows and their numbers, for a rule that leaves the others as they are.

    Raises:
        RuntimeError: Weight decay, which moves all rows.
    """
    if group["weight_decay"] != 0:
        raise RuntimeError(
            f"{name}: weight_decay is {group['weight_decay']}, but a gradient has "
            f"{len(gradient.rows)} of {gradient.shape[0]} rows (sparse=True): expected 0"
        )
    return gradient.rows, gradient._array


def require(
    op: str,
    name: str,
    value: Any,
    at_least: float | None = None,
    below: float | None = None,
    at_most: float | None = None,
) -> None:
    """Raises ValueError unless the number is in range (and no NaN), TypeError if it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{op}: {name} is {value!r}, expected a number") from None
    good = (
        number == number
        and (at_least is None or number >= at_least)
        and (below is None or number < below)
        and (at_most is None or number <= at_most)
    )
    if not good:
        bounds = [
            f"{text} {bound}"
            for text, bound in (("at least", at_least), ("below", below), ("at most", at_most))
            if bound is not None
        ]
        raise ValueError(f"{op}: {name} is {value}, expected {' and '.join(bounds)}")
