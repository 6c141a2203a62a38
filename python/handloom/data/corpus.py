"""Text that every Python brings along: the prose of its manual and the programs of its library.

Both change with Python's version, and so do all figures that are measured on them.
"""

from __future__ import annotations

import io
import keyword
import os
import token
import tokenize
from itertools import pairwise

import numpy as np

from .._arrays import Array

TOKEN_CLASSES = ("KEYWORD", "NAME", "CALL", "STRING", "COMMENT", "NUMBER", "OP", "WS")
_CLASS = {name: i for i, name in enumerate(TOKEN_CLASSES)}
_KINDS = {
    token.STRING: _CLASS["STRING"],
    token.COMMENT: _CLASS["COMMENT"],
    token.NUMBER: _CLASS["NUMBER"],
    token.OP: _CLASS["OP"],
}
# From 3.12 on an f-string is several tokens.
for _name in ("FSTRING_START", "FSTRING_MIDDLE", "FSTRING_END"):
    if hasattr(token, _name):
        _KINDS[getattr(token, _name)] = _CLASS["STRING"]


def python_topics() -> list[str]:
    """Returns the topics of Python's manual, `pydoc_data.topics`, in the order of their names.

    English prose with examples, about 465,000 characters. Licence: PSF.
    """
    from pydoc_data.topics import topics

    return [topics[name] for name in sorted(topics)]


def python_sources(count: int | None = None) -> list[str]:
    """Returns the programs at the top of the standard library, in the order of their names.

    Args:
        count: How many, from the first on; None for all, about 170. Licence: PSF.
    """
    folder = os.path.dirname(os.__file__)
    names = sorted(name for name in os.listdir(folder) if name.endswith(".py"))
    sources = []
    for name in names[:count]:
        with tokenize.open(os.path.join(folder, name)) as file:
            sources.append(file.read())
    return sources


def token_classes(source: str) -> Array:
    """Returns for each character of a Python program what it belongs to.

    A name that an opening parenthesis follows is a CALL (a definition, too), a soft keyword is a
    name, and what belongs to no token is WS.

    Args:
        source: A whole program.

    Returns:
        int64 `(len(source),)`, the places of the classes in `TOKEN_CLASSES`.

    Raises:
        SyntaxError: It is no Python program; IndentationError and, before 3.12,
            `tokenize.TokenError` likewise.
    """
    labels = np.full(len(source), _CLASS["WS"], np.int64)
    # Lines end where the tokenizer ends them; splitlines ends them at a form feed, too.
    starts = np.cumsum([0, *(len(line) + 1 for line in source.split("\n"))])
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for this, after in pairwise(tokens):
        kind = _KINDS.get(this.type)
        if this.type == token.NAME:
            if keyword.iskeyword(this.string):
                kind = _CLASS["KEYWORD"]
            else:
                kind = _CLASS["CALL" if after.string == "(" else "NAME"]
        if kind is not None:
            begin, end = (int(starts[row - 1]) + column for row, column in (this.start, this.end))
            labels[begin:end] = kind
    return labels


def one_run(texts: list[str]) -> tuple[Array, str]:
    """Returns all texts as one run of int64 codes, and the alphabet that they index.

    The texts are joined by an empty line; the alphabet is sorted.
    """
    letters, codes = np.unique(np.array(list("\n\n".join(texts))), return_inverse=True)
    return codes.astype(np.int64), "".join(letters)
