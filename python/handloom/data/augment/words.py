"""Text: words replaced by synonyms, inserted, swapped and left out; texts said in other words.

J. Wei and K. Zou, "EDA: easy data augmentation techniques for boosting performance on text
classification tasks" (2019). A text is a string, whose words white space separates, or a sequence
of tokens; it comes back as what it was: a string, or a list.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .._order import checked_seed, fresh_seed
from .transform import chance

Words = list[Any]
Synonyms = Mapping[Any, Sequence[Any]]


class TextTransform:
    """One augmentation of texts; call it, or put it into `ComposeText`."""

    def change(self, words: Words, random: np.random.Generator) -> Words:
        """The words of one text, changed: a new list."""
        raise NotImplementedError(f"{type(self).__name__}: change is not defined")

    def __call__(
        self, texts: Any, *, index: Any = None, epoch: int = 0, seed: int | None = None
    ) -> list[Any]:
        """As `ComposeText([self], seed)(texts, index=index, epoch=epoch)`."""
        return ComposeText([self], seed)(texts, index=index, epoch=epoch)


class ComposeText:
    """Transforms of text, one after the other.

    With `index` (and `epoch`) what becomes of a text is a function of seed, epoch and its number
    alone, as with `Compose`. Without, the numbers come from the generator that
    `handloom.manual_seed` seeds, new ones in each call.

    Args:
        transforms: In the order in which they are applied.
        seed: For calls with `index`. None draws one from the system; `.seed` tells it.

    Raises:
        TypeError: What is no transform of text.
    """

    def __init__(self, transforms: Sequence[TextTransform], seed: int | None = None) -> None:
        for i, transform in enumerate(transforms):
            if not isinstance(transform, TextTransform):
                raise TypeError(
                    f"ComposeText: transforms[{i}] is a {type(transform).__name__}, expected a "
                    "transform of text of handloom.data.augment"
                )
        self.transforms = list(transforms)
        self.seed = checked_seed(seed, "ComposeText")

    def __call__(self, texts: Any, *, index: Any = None, epoch: int = 0) -> list[Any]:
        """Transforms texts.

        Args:
            texts: N strings, or N sequences of tokens.
            index: Their numbers (N,), integers from 0 on.
            epoch: Number of the epoch, from 0.

        Returns:
            N texts of the kind that came.

        Raises:
            TypeError: One string in place of a sequence of texts.
            ValueError: An index of another length, or negative.
        """
        if isinstance(texts, str | bytes) or not isinstance(texts, Iterable):
            raise TypeError(
                f"ComposeText: texts is a {type(texts).__name__}, expected a sequence of texts"
            )
        rows = list(texts)
        seed = self.seed
        if index is None:
            seed, numbers = fresh_seed(), list(range(len(rows)))
        else:
            numbers = [int(number) for number in index]
        if len(numbers) != len(rows):
            raise ValueError(f"ComposeText: index has {len(numbers)} numbers, texts {len(rows)}")
        if min(numbers, default=0) < 0 or epoch < 0:
            raise ValueError("ComposeText: index and epoch expect numbers from 0 on")
        return [
            self._changed(text, _numbers(seed, epoch, number))
            for text, number in zip(rows, numbers, strict=True)
        ]

    def _changed(self, text: Any, random: np.random.Generator) -> Any:
        words = text.split() if isinstance(text, str) else list(text)
        for transform in self.transforms:
            words = transform.change(words, random)
        return " ".join(words) if isinstance(text, str) else words

    def __repr__(self) -> str:
        names = ", ".join(type(t).__name__ for t in self.transforms)
        return f"ComposeText([{names}], seed={self.seed})"


class _Share(TextTransform):
    """Does something to a share of the words, at least to one."""

    def __init__(self, rate: float) -> None:
        self.rate = chance(rate, type(self).__name__)

    def count(self, words: Words) -> int:
        return max(1, round(self.rate * len(words))) if self.rate and words else 0


class SynonymReplacement(_Share):
    """Puts a synonym in the place of some words (EDA's SR).

    Words that have synonyms are drawn by form, not by place: a word that occurs twice is replaced
    twice, by the same synonym.

    Args:
        synonyms: Of each word; `embedding_synonyms` finds some in a trained embedding.
        rate: The share of a text's words that are replaced.
    """

    def __init__(self, synonyms: Synonyms, rate: float = 0.1) -> None:
        super().__init__(rate)
        self.synonyms = _checked(synonyms, type(self).__name__)

    def change(self, words: Words, random: np.random.Generator) -> Words:
        """The words, some replaced."""
        known = [word for word in dict.fromkeys(words) if self.synonyms.get(word)]
        chosen = random.permutation(len(known))[: self.count(words)]
        other = {known[i]: _one_of(self.synonyms[known[i]], random) for i in chosen}
        return [other.get(word, word) for word in words]


class RandomInsertion(SynonymReplacement):
    """Inserts synonyms of words of the text at random places (EDA's RI)."""

    def change(self, words: Words, random: np.random.Generator) -> Words:
        """The words with others between them."""
        known = [word for word in words if self.synonyms.get(word)]
        made = list(words)
        for _ in range(self.count(words) if known else 0):
            synonym = _one_of(self.synonyms[_one_of(known, random)], random)
            made.insert(int(random.integers(len(made) + 1)), synonym)
        return made


class RandomSwap(_Share):
    """Swaps two words, several times (EDA's RS).

    Args:
        rate: Swaps by word.
    """

    def __init__(self, rate: float = 0.1) -> None:
        super().__init__(rate)

    def change(self, words: Words, random: np.random.Generator) -> Words:
        """The words in another order."""
        made = list(words)
        for _ in range(self.count(words) if len(words) > 1 else 0):
            i, j = random.choice(len(made), 2, replace=False)
            made[i], made[j] = made[j], made[i]
        return made


class RandomDeletion(TextTransform):
    """Leaves out each word with probability `p`; one word always stays (EDA's RD).

    Args:
        p: Probability that a word is left out.
    """

    def __init__(self, p: float = 0.1) -> None:
        self.p = chance(p, type(self).__name__)

    def change(self, words: Words, random: np.random.Generator) -> Words:
        """The words that stay."""
        stays = random.random(len(words)) >= self.p
        if words and not stays.any():
            stays[random.integers(len(words))] = True
        return [word for word, stay in zip(words, stays, strict=True) if stay]


class BackTranslation(TextTransform):
    """Says a text in another language and back again: in other words, where it goes well.

    Sennrich, Haddow and Birch, "Improving neural machine translation models with monolingual data"
    (2016). Of texts that are strings.

    Args:
        there, back: Called with a list of strings, return as many: two translators.
        p: Probability that a text is translated.
    """

    def __init__(
        self,
        there: Callable[[list[str]], Sequence[str]],
        back: Callable[[list[str]], Sequence[str]],
        p: float = 1.0,
    ) -> None:
        if not callable(there) or not callable(back):
            raise TypeError("BackTranslation: there and back expect functions of a list of strings")
        self.there, self.back = there, back
        self.p = chance(p, "BackTranslation")

    def change(self, words: Words, random: np.random.Generator) -> Words:
        """The words of the text that came back."""
        if not words or random.random() >= self.p:
            return list(words)
        (text,) = self.back(list(self.there([" ".join(words)])))
        return text.split()


def embedding_synonyms(
    vectors: Any, words: Sequence[Any], k: int = 5, at_least: float = 0.5
) -> dict[Any, list[Any]]:
    """The nearest neighbours of each word in an embedding, for want of a thesaurus.

    Args:
        vectors: `(V, E)`, an array or a tensor: one row a word.
        words: The V words.
        k: The most neighbours that a word gets.
        at_least: The cosine of the angle that a neighbour must reach.

    Returns:
        Those that each word has, nearest first; words without any are left out.

    Raises:
        ValueError: Another number of words than of vectors.
    """
    from ...nn import functional as F

    if len(words) != len(vectors):
        raise ValueError(f"embedding_synonyms: {len(words)} words, {len(vectors)} vectors")
    if k < 1:
        raise ValueError(f"embedding_synonyms: k is {k}, expected at least 1")
    if len(words) == 0:
        return {}
    cosines, rows = F.nearest_neighbours(vectors, vectors, min(k + 1, len(words)))
    found: dict[Any, list[Any]] = {}
    for i, (near, cosine) in enumerate(zip(rows.tolist(), cosines.tolist(), strict=True)):
        close = [words[j] for j, c in zip(near, cosine) if j != i and c >= at_least][:k]
        if close:
            found[words[i]] = close
    return found


def _numbers(seed: int, epoch: int, number: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=seed, counter=[0, 0, epoch, number]))


def _one_of(choices: Sequence[Any], random: np.random.Generator) -> Any:
    return choices[int(random.integers(len(choices)))]


def _checked(synonyms: Synonyms, name: str) -> Synonyms:
    if not isinstance(synonyms, Mapping):
        raise TypeError(f"{name}: synonyms is a {type(synonyms).__name__}, expected a mapping")
    for word, others in synonyms.items():
        if isinstance(others, str):
            raise TypeError(f"{name}: synonyms[{word!r}] is a string, expected a sequence of words")
    return synonyms
