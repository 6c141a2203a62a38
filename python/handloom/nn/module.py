"""The base of all layers and models.

A module's parameters, buffers and children are its attributes: nothing is intercepted, so reading
`self.weight` in `forward` costs what any attribute costs.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import numpy as np

from handloom._device_array import place
from handloom.autograd import RemovableHandle
from handloom.nn._load import load_into
from handloom.nn.parameter import Parameter
from handloom.ops.dense import Fusable
from handloom.tensor import FLOATS, Array, Tensor, as_dtype, device_index

Self = TypeVar("Self", bound="Module")


class Module:
    """A layer or a model: subclass it, make parameters in `__init__`, compute in `forward`.

    Attributes:
        training: True in training mode, see `train` and `eval`.
    """

    training: bool = True
    _stays_eval: bool = False  # batch norm that keeps its statistics while others learn
    _buffers: Mapping[str, bool] = {}  # name → is it in state_dict
    _hooks: Mapping[str, list[Any]] = {}  # "pre" and "post", only where there are any

    # What an activation is, and how a layer computes itself with an activation on top, if it has
    # none of its own: Sequential runs such a pair as one kernel.
    _fusable: Fusable | None = None
    _forward_fused: Callable[..., Any] | None = None

    @property
    def _fuses(self) -> bool:
        return True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" in cls.__dict__ or "__call__" in cls.__dict__:
            # What was inherited belongs to another forward.
            for name in ("_fusable", "_forward_fused"):
                if name not in cls.__dict__:
                    setattr(cls, name, None)

    def __init__(self) -> None:
        # Nothing to prepare; subclasses that call super().__init__() are right to do so.
        pass

    def forward(self, *args: Any, **options: Any) -> Any:
        """Computes the output; to be defined by subclasses."""
        raise NotImplementedError(f"{type(self).__name__}: forward is not defined")

    def __call__(self, *args: Any, **options: Any) -> Any:
        if self._hooks:
            return self._call_with_hooks(args, options)
        return self.forward(*args, **options)

    def _call_with_hooks(self, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        for hook in tuple(self._hooks["pre"]):
            changed = hook(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        output = self.forward(*args, **options)
        for hook in tuple(self._hooks["post"]):
            changed = hook(self, args, output)
            if changed is not None:
                output = changed
        return output

    def register_forward_hook(
        self, hook: Callable[[Any, tuple[Any, ...], Any], Any]
    ) -> RemovableHandle:
        """Calls `hook(module, args, output)` after forward; its result, if not None, replaces the
        output."""
        return self._hook("post", hook)

    def register_forward_pre_hook(
        self, hook: Callable[[Any, tuple[Any, ...]], Any]
    ) -> RemovableHandle:
        """Calls `hook(module, args)` before forward; its result, if not None, replaces args."""
        return self._hook("pre", hook)

    def _hook(self, when: str, hook: Any) -> RemovableHandle:
        if not self._hooks:
            self._hooks = {"pre": [], "post": []}
        self._hooks[when].append(hook)
        return RemovableHandle(self._hooks[when], hook)

    # what it is made of

    def register_buffer(self, name: str, value: Any, persistent: bool = True) -> None:
        """Makes an attribute part of the state that no optimiser trains, e.g. running statistics.

        Args:
            name: The attribute.
            value: A tensor, an array, or None.
            persistent: Whether `state_dict` has it.
        """
        if not name or "." in name:
            raise ValueError(f"register_buffer: name is {name!r}, expected a name without dots")
        if name in vars(self) and name not in self._buffers:
            raise ValueError(f"register_buffer: {type(self).__name__} has an attribute {name!r}")
        if value is not None and not isinstance(value, Tensor):
            value = Tensor(value)
        self._buffers = {**self._buffers, name: persistent}
        setattr(self, name, value)

    def register_parameter(self, name: str, value: Parameter | None) -> None:
        """Sets an attribute to a parameter, or to None where an option leaves it out."""
        setattr(self, name, value)

    def add_module(self, name: str, module: Module | None) -> None:
        """Sets an attribute to a child."""
        setattr(self, name, module)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules directly below, each once."""
        seen: set[int] = set()
        for name, value in vars(self).items():
            if isinstance(value, Module) and id(value) not in seen:
                seen.add(id(value))
                yield name, value

    def children(self) -> Iterator[Module]:
        """The modules directly below."""
        return (module for _, module in self.named_children())

    def named_modules(
        self, prefix: str = "", _seen: set[int] | None = None
    ) -> Iterator[tuple[str, Module]]:
        """This module ("") and all below, each once."""
        seen = set() if _seen is None else _seen
        if id(self) in seen:
            return
        seen.add(id(self))
        yield prefix, self
        for name, child in self.named_children():
            yield from child.named_modules(f"{prefix}.{name}" if prefix else name, seen)

    def modules(self) -> Iterator[Module]:
        """This module and all below."""
        return (module for _, module in self.named_modules())

    def _own(self, kind: type[Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Parameters (kind Parameter) or buffers (kind Tensor) of this module itself."""
        for name, value in vars(self).items():
            wanted = isinstance(value, Parameter) if kind is Parameter else name in self._buffers
            if wanted and value is not None:
                yield name, value

    def _named(self, kind: type[Tensor], prefix: str, recurse: bool) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        for path, module in self.named_modules(prefix) if recurse else [(prefix, self)]:
            for name, value in module._own(kind):
                if id(value) not in seen:
                    seen.add(id(value))
                    yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """All parameters with their names, each once, in the order they were made."""
        return self._named(Parameter, prefix, recurse)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (p for _, p in self.named_parameters(recurse=recurse))

    def named_buffers(self, prefix: str = "", recurse: bool = True) -> Iterator[tuple[str, Tensor]]:
        """All buffers with their names, each once."""
        return self._named(Tensor, prefix, recurse)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers, each once."""
        return (b for _, b in self.named_buffers(recurse=recurse))

    def get_submodule(self, target: str) -> Module:
        """The module of that dotted name.

        Raises:
            AttributeError: There is none.
        """
        module: Any = self
        for name in target.split(".") if target else []:
            module = getattr(module, name, None)
            if not isinstance(module, Module):
                raise AttributeError(f"get_submodule: {type(self).__name__} has no {target!r}")
        found: Module = module
        return found

    # state

    def _state(self, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
        """Parameters, then buffers, then children, in PyTorch's order; shared ones each time."""
        for name, value in self._own(Parameter):
            yield prefix + name, value
        for name, value in self._own(Tensor):
            if self._buffers[name]:
                yield prefix + name, value
        for name, child in vars(self).items():
            if isinstance(child, Module):
                yield from child._state(f"{prefix}{name}.")

    def state_dict(self, prefix: str = "") -> dict[str, Array]:
        """Names to arrays, in PyTorch's order, sharing memory with the parameters and buffers."""
        return {name: value._array for name, value in self._state(prefix)}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Copies arrays (or tensors) into the parameters and buffers of the same names.

        Args:
            state_dict: As `state_dict` returns it; see `hl.io.from_torch` for PyTorch's.
            strict: Whether every name has to fit; shapes have to in any case.

        Raises:
            RuntimeError: Missing, unexpected or misshapen entries, all of them listed. Nothing is
                changed then.
        """
        load_into(type(self).__name__, dict(self._state()), state_dict, strict)

    def train(self: Self, mode: bool = True) -> Self:
        """Sets training mode, here and below."""
        for module in self.modules():
            module.training = bool(mode) and not module._stays_eval
        return self

    def eval(self: Self) -> Self:
        """Sets evaluation mode: no dropout, running statistics."""
        return self.train(False)

    def apply(self: Self, function: Callable[[Module], Any]) -> Self:
        """Calls `function` on every module below, then on this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def to(self: Self, target: Any) -> Self:
        """Another float dtype ("float64") for all parameters and float buffers, or another device
        ("cpu", "cuda", "cuda:<number>") for all of them, in place.

        Raises:
            TypeError: The dtype is not float32 or float64.
            ValueError: An unknown device.
            RuntimeError: No GPU can be used; the text says why.
        """
        if isinstance(target, str) and target.partition(":")[0] in ("cpu", "cuda", "gpu"):
            index = device_index(target, "to")
            for _, value in self._state_and_rest():
                counter = value.ndim == 0 and value.dtype.kind == "i"  # counted on the host
                moved = place(value._array, -1 if counter else index)
                if moved is not value._array:
                    value._put(moved, [0])
            return self
        dtype = as_dtype(target, "to")
        if dtype not in FLOATS:
            raise TypeError(f"to: dtype {dtype}, expected float32 or float64")
        return self._convert(dtype)

    def _convert(self: Self, dtype: np.dtype[Any]) -> Self:
        for _, value in self._state_and_rest():
            if value._array.dtype in FLOATS and value._array.dtype != dtype:
                value._put(value._array.astype(dtype), [0])
        return self

    def _state_and_rest(self) -> Iterator[tuple[str, Tensor]]:
        yield from self.named_parameters()
        yield from self.named_buffers()

    def cpu(self: Self) -> Self:
        """On the host."""
        return self.to("cpu")

    def cuda(self: Self, device: int = 0) -> Self:
        """On a GPU."""
        return self.to(f"cuda:{device}")

    def float(self: Self) -> Self:
        """float32 throughout."""
        return self.to("float32")

    def double(self: Self) -> Self:
        """float64 throughout."""
        return self.to("float64")

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Freezes (False) or unfreezes all parameters."""
        for p in self.parameters():
            p.requires_grad = requires_grad
        return self

    def freeze(self: Self) -> Self:
        """`requires_grad_(False)`: keeps the weights, and skips their gradients."""
        return self.requires_grad_(False)

    def unfreeze(self: Self) -> Self:
        """`requires_grad_(True)`."""
        return self.requires_grad_(True)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets all gradients, or fills them with zeros."""
        for p in self.parameters():
            if set_to_none or p.grad is None:
                p.grad = None
            else:
                p.grad.zero_()

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        for name, value in vars(self).items():
            new.__dict__[name] = copy.deepcopy(value, memo)
        return new

    # text

    def extra_repr(self) -> str:
        """What stands between the brackets of a layer."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in vars(self).items()
            if isinstance(child, Module)
        ]
        extra = self.extra_repr()
        name = type(self).__name__
        if not lines:
            return f"{name}({extra})"
        head = [extra] if extra else []
        return name + "(\n  " + "\n  ".join(head + lines) + "\n)"
