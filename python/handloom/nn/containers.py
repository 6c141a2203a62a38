"""Modules made of modules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from handloom.nn.module import Module

Listed = TypeVar("Listed", bound="_Listed")


class _Listed(Module):
    """Modules in order, named by their numbers or by the user."""

    def __len__(self) -> int:
        return len(_below(self))

    def __iter__(self) -> Iterator[Module]:
        return iter(_below(self).values())

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, list(_below(self))[index], _module(module, type(self).__name__))

    def __delitem__(self, index: int | slice) -> None:
        modules = list(_below(self).values())
        del modules[index]
        self._replace(modules)

    def append(self: Listed, module: Module) -> Listed:
        """Adds a module at the end."""
        setattr(self, str(len(self)), _module(module, type(self).__name__))
        return self

    def extend(self: Listed, modules: Iterable[Module]) -> Listed:
        """Adds modules at the end."""
        for module in list(modules):
            self.append(module)
        return self

    def insert(self: Listed, index: int, module: Module) -> Listed:
        """Adds a module before `index`."""
        modules = list(_below(self).values())
        modules.insert(index, _module(module, type(self).__name__))
        self._replace(modules)
        return self

    def pop(self, index: int = -1) -> Module:
        """Takes a module out and returns it."""
        module = list(_below(self).values())[index]
        del self[index]
        return module

    def _replace(self, modules: list[Module]) -> None:
        for name in _below(self):
            delattr(self, name)
        self.extend(modules)


class Sequential(_Listed):
    """Runs modules one after the other: `Sequential(a, b)` or `Sequential({"first": a})`.

    A layer that can finish with the activation behind it, as `Linear` can, is run together with it
    in one kernel, to the same numbers; not where one of the two has a hook.
    """

    def __init__(self, *modules: Any) -> None:
        super().__init__()
        if len(modules) == 1 and isinstance(modules[0], Mapping):
            named: Iterable[tuple[str, Any]] = modules[0].items()
        else:
            named = ((str(i), m) for i, m in enumerate(modules))
        for name, module in named:
            setattr(self, name, _module(module, "Sequential"))

    def forward(self, x: Any) -> Any:
        modules = [m for m in self.__dict__.values() if isinstance(m, Module)]
        modules.reverse()
        while modules:
            module = modules.pop()
            if modules and module._forward_fused is not None and _runs_as_one(module, modules[-1]):
                x = module._forward_fused(x, modules.pop()._fusable)
            else:
                x = module(x)
        return x

    def __getitem__(self, index: int | slice) -> Any:
        modules = _below(self)
        if isinstance(index, slice):
            return Sequential(dict(list(modules.items())[index]))
        return list(modules.values())[index]


class ModuleList(_Listed):
    """A list whose modules belong to the module that holds it."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def __getitem__(self, index: int | slice) -> Any:
        modules = list(_below(self).values())
        return ModuleList(modules[index]) if isinstance(index, slice) else modules[index]

    def __add__(self, modules: Iterable[Module]) -> ModuleList:
        return ModuleList([*self, *modules])

    def __iadd__(self, modules: Iterable[Module]) -> ModuleList:
        return self.extend(modules)


class ModuleDict(Module):
    """A dictionary whose modules belong to the module that holds it."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def update(self, modules: Mapping[str, Module]) -> None:
        """Adds or replaces modules."""
        for name, module in modules.items():
            self[name] = module

    def __setitem__(self, name: str, module: Module) -> None:
        if hasattr(ModuleDict, name) or "." in name or not name:
            raise KeyError(f"ModuleDict: {name!r} cannot be a key")
        setattr(self, name, _module(module, "ModuleDict"))

    def __getitem__(self, name: str) -> Module:
        return _below(self)[name]

    def __delitem__(self, name: str) -> None:
        if name not in _below(self):
            raise KeyError(name)
        delattr(self, name)

    def __contains__(self, name: object) -> bool:
        return name in _below(self)

    def __len__(self) -> int:
        return len(_below(self))

    def __iter__(self) -> Iterator[str]:
        return iter(_below(self))

    def pop(self, name: str) -> Module:
        """Takes a module out and returns it."""
        module = self[name]
        del self[name]
        return module

    def clear(self) -> None:
        """Takes all modules out."""
        for name in list(self):
            del self[name]

    def keys(self) -> Iterable[str]:
        """The names."""
        return _below(self).keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return _below(self).values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """Names and modules."""
        return _below(self).items()


def _runs_as_one(layer: Module, activation: Module) -> bool:
    fit = layer._fuses and activation._fusable is not None
    return fit and _is_plain(layer) and _is_plain(activation)


def _is_plain(module: Module) -> bool:
    """Whether calling the module is no more than its class's forward."""
    return not module._hooks and "forward" not in module.__dict__


def _below(module: Module) -> dict[str, Module]:
    """Children by name, those that are there twice too."""
    return {name: m for name, m in vars(module).items() if isinstance(m, Module)}


def _module(module: Any, op: str) -> Module:
    if not isinstance(module, Module):
        raise TypeError(f"{op}: expected a Module, got {type(module).__name__}")
    return module
