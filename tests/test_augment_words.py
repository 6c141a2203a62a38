"""Augmentation of text: what changes, how much, and that it is the same whoever asks."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import handloom as hl
from handloom.data import augment

TEXT = "the quick brown fox jumps over the lazy dog and the quick cat"
SYNONYMS = {"quick": ["fast", "rapid"], "lazy": ["idle"], "dog": ["hound"], "cat": []}
ALL = [
    augment.SynonymReplacement(SYNONYMS, 0.3),
    augment.RandomInsertion(SYNONYMS, 0.3),
    augment.RandomSwap(0.3),
    augment.RandomDeletion(0.3),
]
TEXTS = [TEXT] * 40


def ids(transform):
    return type(transform).__name__


@pytest.mark.parametrize("transform", [*ALL, augment.ComposeText(ALL, seed=5)], ids=ids)
def test_a_text_is_changed_alike_in_any_batch(transform):
    seeded = (
        transform
        if isinstance(transform, augment.ComposeText)
        else augment.ComposeText([transform], seed=5)
    )
    together = seeded(TEXTS, index=range(40), epoch=2)
    alone = [seeded([TEXT], index=[i], epoch=2)[0] for i in range(40)]
    assert together == alone
    assert together != seeded(TEXTS, index=range(40), epoch=3)
    assert len(set(together)) > 1


@pytest.mark.parametrize("transform", ALL, ids=ids)
def test_without_numbers_the_seed_of_all_decides(transform):
    hl.manual_seed(3)
    first, second = transform(TEXTS), transform(TEXTS)
    hl.manual_seed(3)
    assert transform(TEXTS) == first != second


def test_a_synonym_replaces_every_such_word():
    for made in ALL[0](TEXTS):
        words = made.split()
        for old, new in zip(TEXT.split(), words, strict=True):
            assert new == old or new in SYNONYMS[old]
        assert words != TEXT.split()
        assert words[1] == words[11]  # "quick", twice


def test_insertion_adds_synonyms_of_the_texts_words():
    known = {synonym for others in SYNONYMS.values() for synonym in others}
    for made in ALL[1](TEXTS):
        added = Counter(made.split()) - Counter(TEXT.split())
        assert added.total() == 4  # 0.3 of 13 words
        assert set(added) <= known
        assert [word for word in made.split() if word not in known] == TEXT.split()


def test_swaps_keep_the_words():
    for made in ALL[2](TEXTS):
        assert sorted(made.split()) == sorted(TEXT.split())
    assert sum(made != TEXT for made in ALL[2](TEXTS)) > 30


def test_deletion_leaves_out_its_share_and_never_all():
    kept = np.mean([len(made.split()) for made in ALL[3](TEXTS * 20)]) / len(TEXT.split())
    assert kept == pytest.approx(0.7, abs=0.03)
    assert all(len(made.split()) == 1 for made in augment.RandomDeletion(1.0)(TEXTS))


@pytest.mark.parametrize("transform", ALL, ids=ids)
def test_texts_without_words_and_texts_of_tokens(transform):
    assert transform(["", []]) == ["", []]
    assert transform([]) == []
    made = transform([TEXT.split()])
    assert isinstance(made[0], list)
    assert transform(["word"]) == ["word"]


@pytest.mark.parametrize("transform", [type(t)(0.0) for t in ALL[2:]], ids=ids)
def test_a_rate_of_0_changes_nothing(transform):
    assert transform(TEXTS) == TEXTS
    assert augment.SynonymReplacement(SYNONYMS, 0.0)(TEXTS) == TEXTS


def test_back_translation_goes_there_and_back():
    calls = []

    def there(texts):
        calls.extend(texts)
        return [text.upper() for text in texts]

    change = augment.BackTranslation(there, lambda texts: [text.title() for text in texts], p=0.5)
    made = change(TEXTS)
    assert set(made) == {TEXT, TEXT.title()}
    assert calls == [TEXT] * made.count(TEXT.title())
    with pytest.raises(TypeError, match="BackTranslation: there and back expect functions"):
        augment.BackTranslation("a", "b")


def test_neighbours_of_an_embedding():
    vectors = np.float32([[1, 0], [0.9, 0.1], [0, 1], [-1, 0]])
    words = ["hot", "warm", "wet", "cold"]
    assert augment.embedding_synonyms(vectors, words) == {"hot": ["warm"], "warm": ["hot"]}
    assert augment.embedding_synonyms(vectors, words, 1, -1.0)["cold"] == ["wet"]
    assert augment.embedding_synonyms(vectors[:0], []) == {}


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: augment.RandomSwap(1.5), ValueError, "RandomSwap: p is 1.5, expected 0 to 1"),
        (lambda: augment.RandomDeletion(-1), ValueError, "RandomDeletion: p is -1"),
        (lambda: augment.SynonymReplacement(["a"]), TypeError, "synonyms is a list"),
        (lambda: augment.SynonymReplacement({"a": "b"}), TypeError, r"synonyms\['a'\] is a string"),
        (
            lambda: augment.ComposeText([augment.Jitter()]),
            TypeError,
            r"transforms\[0\] is a Jitter",
        ),
        (lambda: augment.RandomSwap()("a text"), TypeError, "texts is a str"),
        (lambda: augment.RandomSwap()(["a"], index=[1, 2]), ValueError, "index has 2 numbers"),
        (lambda: augment.RandomSwap()(["a"], index=[-1]), ValueError, "from 0 on"),
        (
            lambda: augment.embedding_synonyms(np.ones((2, 2)), ["a"]),
            ValueError,
            "1 words, 2 vectors",
        ),
    ],
)
def test_bad_options_are_refused(make, error, text):
    with pytest.raises(error, match=text):
        make()
