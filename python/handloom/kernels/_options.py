"""Options that kernels share."""

from __future__ import annotations

from collections.abc import Iterable


def need_mask(op: str, need: Iterable[str], names: tuple[str, ...]) -> int:
    """Return ``need`` as bits, bit i for ``names[i]``.

    Raises:
        ValueError: A name that is not among ``names``.
    """
    mask = 0
    for name in need:
        if name not in names:
            raise ValueError(f"{op}: need has {name!r}, choose from {', '.join(names)}")
        mask |= 1 << names.index(name)
    return mask
