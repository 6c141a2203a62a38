"""einsum, built from permutations, reshapes and the matrix product."""

from __future__ import annotations

import math

from handloom.ops._common import TensorLike, array_of
from handloom.ops.dense import matmul
from handloom.ops.layout import contiguous, diagonal, expand, permute, reshape
from handloom.ops.reduce import sum as sum_
from handloom.tensor import Tensor, wrap

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def einsum(equation: str, *operands: TensorLike) -> Tensor:
    """Products summed over the letters that the result does not name, as NumPy's `einsum`.

    Operands are joined from left to right, each pair by one matrix product.

    Args:
        equation: As in "bij,bjk->bik"; "..." stands for leading axes, and without "->" the result
            has the letters that occur once, in alphabetical order.
        operands: One tensor for each group of letters.

    Raises:
        ValueError: The equation is malformed, or sizes disagree.
    """
    terms, result = _parse(equation, [array_of(x).shape for x in operands])
    sizes: dict[str, int] = {}
    parts: list[tuple[str, Tensor]] = []
    for term, x in zip(terms, operands):
        tensor = x if isinstance(x, Tensor) else wrap(x)
        for letter, n in zip(term, tensor.shape):
            if sizes.setdefault(letter, n) != n and n != 1 and sizes[letter] != 1:
                raise ValueError(
                    f"einsum: {letter!r} is {sizes[letter]} in one operand and {n} in another"
                )
            sizes[letter] = max(sizes[letter], n) if n and sizes[letter] else 0
        parts.append(_diagonals(term, tensor))
    parts = [(t, expand(x, [sizes[c] for c in t])) for t, x in parts]
    while len(parts) > 1:
        (ta, a), (tb, b) = parts[:2]
        later = set(result).union(*(t for t, _ in parts[2:]))
        parts[:2] = [_join(ta, a, tb, b, later, sizes)]
    term, x = parts[0]
    term, x = _sum_out(term, x, set(result))
    return permute(x, [term.index(c) for c in result])


def _parse(equation: str, shapes: list[tuple[int, ...]]) -> tuple[list[str], str]:
    left, arrow, right = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if len(terms) != len(shapes):
        raise ValueError(
            f"einsum: {equation!r} names {len(terms)} operands, {len(shapes)} were given"
        )
    used = set(left) | set(right)
    spare = [c for c in _LETTERS if c not in used]
    dots = 0
    out = []
    for term, shape in zip(terms, shapes):
        lead = len(shape) - len(term.replace("...", ""))
        if lead < 0 or (lead and "..." not in term):
            raise ValueError(f"einsum: {term!r} does not fit an operand of shape {shape}")
        dots = max(dots, lead)
        out.append(term.replace("...", "".join(spare[-lead:]) if lead else ""))
    leading = "".join(spare[-dots:]) if dots else ""
    letters = "".join(out)
    if arrow:
        result = right.replace("...", leading)
    else:
        result = leading + "".join(
            sorted(c for c in set(letters) if letters.count(c) == 1 and c not in leading)
        )
    bad = [c for c in letters + result if not c.isalpha()]
    if bad or len(set(result)) != len(result) or not set(result) <= set(letters):
        raise ValueError(f"einsum: {equation!r} is malformed")
    return out, result


def _diagonals(term: str, x: Tensor) -> tuple[str, Tensor]:
    """A letter that an operand names twice means its diagonal."""
    for letter in sorted(set(term)):
        while term.count(letter) > 1:
            i = term.index(letter)
            j = term.index(letter, i + 1)
            x = diagonal(x, i, j)
            term = term[:i] + term[i + 1 : j] + term[j + 1 :] + letter
    return term, x


def _sum_out(term: str, x: Tensor, keep: set[str]) -> tuple[str, Tensor]:
    gone = [i for i, c in enumerate(term) if c not in keep]
    if not gone:
        return term, x
    return "".join(c for c in term if c in keep), sum_(x, gone)


def _join(
    ta: str, a: Tensor, tb: str, b: Tensor, later: set[str], sizes: dict[str, int]
) -> tuple[str, Tensor]:
    """One pair as a batch of matrix products: (batch, M, K) @ (batch, K, N)."""
    ta, a = _sum_out(ta, a, later | set(tb))
    tb, b = _sum_out(tb, b, later | set(ta))
    batch = "".join(c for c in ta if c in tb and c in later)
    inner = "".join(c for c in ta if c in tb and c not in later)
    rows = "".join(c for c in ta if c not in tb)
    columns = "".join(c for c in tb if c not in ta)

    def block(term: str, x: Tensor, *groups: str) -> Tensor:
        x = permute(x, [term.index(c) for c in "".join(groups)])
        return reshape(contiguous(x), [math.prod(sizes[c] for c in g) for g in groups])

    y = matmul(block(ta, a, batch, rows, inner), block(tb, b, batch, inner, columns))
    term = batch + rows + columns
    return term, reshape(y, [sizes[c] for c in term])
