"""Tokenizers of characters, words and byte pairs.

Each has a vocabulary that begins with the special tokens, and writes itself as one JSON file. Byte
pairs (Sennrich, Haddow and Birch, "Neural machine translation of rare words with subword units",
2016) are the work of the package `tokenizers`, imported on first use: `pip install handloom[text]`.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from .._arrays import Array
from .._files import write_atomically

PAD, UNKNOWN, BEGIN, END = "<pad>", "<unk>", "<bos>", "<eos>"
SPECIALS = (PAD, UNKNOWN, BEGIN, END)

_FORMAT = "handloom tokenizer"


class Tokenizer:
    """Text to numbers and back: what all tokenizers share.

    Args:
        tokens: The vocabulary, special tokens first; a token's number is its place.

    Attributes:
        tokens: As given.
        pad, unknown, begin, end: Numbers of the special tokens: 0, 1, 2, 3.
    """

    kind: ClassVar[str]
    joint: ClassVar[str]
    pad, unknown, begin, end = range(4)

    def __init__(self, tokens: Sequence[str]) -> None:
        name = type(self).__name__
        if tuple(tokens[:4]) != SPECIALS:
            raise ValueError(f"{name}: tokens expects {', '.join(SPECIALS)} first")
        self.tokens = tuple(tokens)
        self._numbers = {token: i for i, token in enumerate(self.tokens)}
        if len(self._numbers) != len(self.tokens):
            twice = next(t for t, count in Counter(self.tokens).items() if count > 1)
            raise ValueError(f"{name}: the token {twice!r} is there twice")

    def __len__(self) -> int:
        return len(self.tokens)

    @classmethod
    def train(cls, texts: Iterable[str], size: int | None = None) -> Tokenizer:
        """Returns a tokenizer with the tokens of these texts, the most frequent ones first.

        Args:
            texts: At least one.
            size: Largest vocabulary, special tokens included; None takes all.

        Raises:
            ValueError: No text, or a size that holds no token.
        """
        counts = Counter(
            token for text in _texts(f"{cls.__name__}.train", texts) for token in cls.split(text)
        )
        if not counts:
            raise ValueError(f"{cls.__name__}: no text to learn a vocabulary from")
        if size is not None and not isinstance(size, (int, np.integer)):
            raise TypeError(f"{cls.__name__}: size is {size!r}, expected an integer or None")
        if size is not None and size <= len(SPECIALS):
            raise ValueError(f"{cls.__name__}: size is {size}, expected more than {len(SPECIALS)}")
        ranked = sorted(counts, key=lambda token: (-counts[token], token))
        ranked = [token for token in ranked if token not in SPECIALS]
        return cls([*SPECIALS, *ranked[: None if size is None else size - len(SPECIALS)]])

    @classmethod
    def split(cls, text: str) -> list[str]:
        """Returns the tokens of a text as text."""
        raise NotImplementedError

    def encode(self, text: str, *, begin: bool = False, end: bool = False) -> list[int]:
        """Returns the numbers of a text's tokens; what is not in the vocabulary is `unknown`.

        Args:
            text: Any.
            begin, end: Whether to put the special token in front or behind.
        """
        if not isinstance(text, str):
            raise TypeError(
                f"{type(self).__name__}.encode: text is a {type(text).__name__}, expected str"
            )
        numbers = self._encode(text)
        return [self.begin] * begin + numbers + [self.end] * end

    def decode(self, numbers: Iterable[int]) -> str:
        """Returns the text of numbers, up to the first `end`; other special tokens say nothing.

        Raises:
            ValueError: A number that is not in the vocabulary.
        """
        kept = []
        for number in _numbers(f"{type(self).__name__}.decode", numbers):
            if not 0 <= number < len(self):
                raise ValueError(
                    f"{type(self).__name__}: {number} is no token, expected 0 to {len(self) - 1}"
                )
            if number == self.end:
                break
            if number >= len(SPECIALS):
                kept.append(number)
        return self._decode(kept)

    def _encode(self, text: str) -> list[int]:
        return [self._numbers.get(token, self.unknown) for token in self.split(text)]

    def _decode(self, numbers: list[int]) -> str:
        return self.joint.join(self.tokens[i] for i in numbers)

    def _state(self) -> dict[str, Any]:
        return {"tokens": self.tokens}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Tokenizer:
        return cls(state["tokens"])

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the tokenizer as JSON, whole or not at all."""
        state = {"format": _FORMAT, "kind": self.kind, **self._state()}
        write_atomically(path, json.dumps(state, ensure_ascii=False).encode())


class CharTokenizer(Tokenizer):
    """A token is a character."""

    kind, joint = "char", ""

    @classmethod
    def split(cls, text: str) -> list[str]:
        """Returns the characters of a text."""
        return list(text)


class WordTokenizer(Tokenizer):
    """A token is a word or a punctuation mark; decoding puts a space between any two."""

    kind, joint = "word", " "

    @classmethod
    def split(cls, text: str) -> list[str]:
        """Returns the words and the punctuation marks of a text."""
        return re.findall(r"\w+|[^\w\s]", text)


class BPETokenizer(Tokenizer):
    """A token is a sequence of bytes that is frequent: no text is unknown, and decoding is exact.

    Needs the package `tokenizers`.
    """

    kind, joint = "bpe", ""

    def __init__(self, model: Any) -> None:
        self._model = model
        vocabulary = model.get_vocab()
        super().__init__(sorted(vocabulary, key=vocabulary.__getitem__))

    @classmethod
    def train(cls, texts: Iterable[str], size: int | None = None) -> Tokenizer:
        """Returns a tokenizer that has merged the most frequent pairs of these texts.

        Args:
            texts: At least one.
            size: Of the vocabulary: 256 bytes, 4 special tokens, and merges; None is 1000.

        Raises:
            ImportError: The package `tokenizers` is not there.
            ValueError: No text, or a size below 260.
        """
        package = _package()
        size = 1000 if size is None else size
        if size < 260:
            raise ValueError(f"BPETokenizer: size is {size}, expected at least 260")
        corpus = list(texts)
        if not any(corpus):
            raise ValueError("BPETokenizer: no text to learn a vocabulary from")
        model = package.Tokenizer(package.models.BPE(unk_token=UNKNOWN))
        model.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=False)
        model.decoder = package.decoders.ByteLevel()
        trainer = package.trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(SPECIALS),
            initial_alphabet=package.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        model.train_from_iterator(corpus, trainer)
        return cls(model)

    def _encode(self, text: str) -> list[int]:
        return list(self._model.encode(text, add_special_tokens=False).ids)

    def _decode(self, numbers: list[int]) -> str:
        text: str = self._model.decode(numbers)
        return text

    def _state(self) -> dict[str, Any]:
        return {"model": json.loads(self._model.to_str())}

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> Tokenizer:
        return cls(_package().Tokenizer.from_str(json.dumps(state["model"])))


_KINDS: dict[str, type[Tokenizer]] = {
    c.kind: c for c in (CharTokenizer, WordTokenizer, BPETokenizer)
}


def load(path: str | os.PathLike[str]) -> Tokenizer:
    """Reads a tokenizer of any kind that `Tokenizer.save` has written.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is truncated, damaged, or something else.
        ImportError: It is of byte pairs, and the package `tokenizers` is not there.
    """
    name = os.fspath(path)
    with open(path, "rb") as file:
        content = file.read()
    try:
        state = json.loads(content)
    except ValueError as error:
        raise ValueError(f"text.load: {name} is truncated or not JSON ({error})") from None
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise ValueError(f"text.load: {name} is JSON, but not a tokenizer of handloom")
    if not isinstance(state.get("kind"), str) or state["kind"] not in _KINDS:
        raise ValueError(
            f"text.load: {name} has the kind {state.get('kind')!r}, expected one of "
            f"{', '.join(_KINDS)}"
        )
    try:
        return _KINDS[state["kind"]]._from_state(state)
    except ImportError:
        raise
    except Exception as error:  # the package's own errors are plain Exceptions
        raise ValueError(f"text.load: {name} is damaged ({error})") from None


def pad(rows: Iterable[Sequence[int]], value: int = 0) -> tuple[Array, Array]:
    """Returns rows of numbers as one array (N, T) int64, filled up with `value`, and their lengths.

    T is the longest row's length.
    """
    if isinstance(rows, str) or not isinstance(rows, Iterable):
        raise TypeError(f"text.pad: rows is a {type(rows).__name__}, expected rows of numbers")
    rows = [_numbers("text.pad", row) for row in rows]
    lengths = np.array([len(row) for row in rows], np.int64)
    filled = np.full((len(rows), int(lengths.max(initial=0))), value, np.int64)
    for i, row in enumerate(rows):
        filled[i, : len(row)] = row
    return filled, lengths


def _texts(op: str, texts: Iterable[str]) -> Iterator[str]:
    if not isinstance(texts, Iterable):
        raise TypeError(f"{op}: texts is a {type(texts).__name__}, expected several str")
    for i, text in enumerate(texts):
        if not isinstance(text, str):
            raise TypeError(f"{op}: texts[{i}] is a {type(text).__name__}, expected str")
        yield text


def _numbers(op: str, numbers: Iterable[int]) -> list[int]:
    """Numbers of tokens as a list; whole numbers of any type will do."""
    if isinstance(numbers, str) or not isinstance(numbers, Iterable):
        raise TypeError(f"{op}: expected a row of integers, got a {type(numbers).__name__}")
    found = np.asarray(numbers if isinstance(numbers, np.ndarray) else list(numbers))
    if found.ndim != 1 or (found.size and found.dtype.kind not in "iu"):
        raise TypeError(f"{op}: expected a row of integers, got {found.dtype} {found.shape}")
    row: list[int] = found.tolist()
    return row


def _package() -> Any:
    try:
        import tokenizers
    except ImportError:
        raise ImportError(
            "BPETokenizer needs the package tokenizers: pip install 'handloom[text]'"
        ) from None
    return tokenizers
