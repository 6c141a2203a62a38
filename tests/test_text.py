"""Tokenizers: there and back, specials, files, and files that are none."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

from handloom import text
from handloom.text import BPETokenizer, CharTokenizer, WordTokenizer

TEXTS = ["the cat sat on the mat.", "the dog, too", "naïve 猫"]


def tokenizer(kind):
    if kind is BPETokenizer:
        pytest.importorskip("tokenizers")
        return kind.train(TEXTS, 280)
    return kind.train(TEXTS)


KINDS = [CharTokenizer, WordTokenizer, BPETokenizer]


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back_and_a_file_between(kind, tmp_path):
    a = tokenizer(kind)
    assert a.tokens[:4] == ("<pad>", "<unk>", "<bos>", "<eos>")
    a.save(tmp_path / "t.json")
    b = text.load(tmp_path / "t.json")
    assert type(b) is kind
    assert b.tokens == a.tokens
    for line in TEXTS:
        numbers = a.encode(line, begin=True, end=True)
        assert (numbers[0], numbers[-1]) == (a.begin, a.end)
        assert numbers == b.encode(line, begin=True, end=True)
        said = " ".join(kind.split(line)) if kind is WordTokenizer else line
        assert b.decode([*numbers, a.pad, 5]) == said
    assert a.encode("") == []
    assert a.decode([]) == ""
    with pytest.raises(ValueError, match="is no token"):
        a.decode([len(a)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_file_is_called_so(kind, tmp_path):
    path = tmp_path / "t.json"
    tokenizer(kind).save(path)
    whole = path.read_bytes()
    for size in (0, 1, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"t\.json is truncated"):
            text.load(path)


def test_files_that_are_no_tokenizer(tmp_path):
    path = tmp_path / "t.json"
    good = {"format": "handloom tokenizer", "kind": "char", "tokens": ["<pad>"]}
    for state, said in (
        ([], "not a tokenizer"),
        ({"kind": "char"}, "not a tokenizer"),
        ({**good, "kind": "syllable"}, "'syllable', expected one of char, word, bpe"),
        (good, "is damaged"),
        ({"format": "handloom tokenizer", "kind": "word"}, "is damaged"),
        ({**good, "tokens": ["<pad>", "<unk>", "<bos>", "<eos>", "a", "a"]}, "'a' is there twice"),
    ):
        path.write_text(json.dumps(state))
        with pytest.raises(ValueError, match=said):
            text.load(path)
    with pytest.raises(FileNotFoundError):
        text.load(tmp_path / "none.json")


def test_a_small_vocabulary_keeps_what_is_frequent():
    words = WordTokenizer.train(TEXTS, size=6)
    assert words.tokens[4:] == ("the", ",")  # of equally frequent words the first in order
    assert words.encode("the cat") == [4, words.unknown]
    with pytest.raises(ValueError, match="expected more than 4"):
        WordTokenizer.train(TEXTS, size=4)
    with pytest.raises(ValueError, match="no text"):
        CharTokenizer.train([])


def test_without_the_package_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match=r"handloom\[text\]"):
        BPETokenizer.train(TEXTS)


def test_pad():
    rows, lengths = text.pad([[5, 6], [], [7]], value=9)
    np.testing.assert_array_equal(rows, [[5, 6], [9, 9], [7, 9]])
    np.testing.assert_array_equal(lengths, [2, 0, 1])
    assert text.pad([])[0].shape == (0, 0)
