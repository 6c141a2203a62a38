"""Text of the standard library: prose, programs, and what each character of a program is."""

from __future__ import annotations

import numpy as np
import pytest

from handloom import data
from handloom.data.corpus import TOKEN_CLASSES, one_run, python_sources, token_classes

SHORT = dict(zip("KNCS#0OW", TOKEN_CLASSES))


def classes(source: str) -> str:
    letters = {TOKEN_CLASSES.index(name): letter for letter, name in SHORT.items()}
    return "".join(letters[label] for label in token_classes(source).tolist())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f(x):\n    return 12", "KKKWCONOOWWWWWKKKKKKW00"),
        ("a = 'b' # c\n", "NWOWSSSW###W"),
        ("print (match)", "CCCCCWONNNNNO"),
        ("x\x0c\ny = 'é' + z\n", "NWWNWOWSSSWOWNW"),
        ("'''a\nb''' + 1", "SSSSSSSSSWOW0"),
        ("", ""),
    ],
)
def test_classes_of_characters(source, expected):
    assert classes(source) == expected


def test_a_broken_program_is_refused():
    with pytest.raises(Exception, match=r"EOF|unterminated|unexpected"):
        token_classes("f(")


def test_every_token_of_the_library_has_its_class():
    source = python_sources(8)[-1]
    labels = token_classes(source)
    assert labels.shape == (len(source),)
    assert labels.dtype == np.int64
    text = np.array(list(source))
    assert set(text[labels == TOKEN_CLASSES.index("WS")]) <= set(" \n\t\x0c\\")
    assert set(text[labels == TOKEN_CLASSES.index("NUMBER")]) <= set("0123456789abcdefxojXO._EL-+")
    assert len(np.unique(labels)) == len(TOKEN_CLASSES)


def test_topics_are_prose_in_a_fixed_order():
    topics = data.python_topics()
    assert len(topics) > 60
    assert sum(map(len, topics)) > 300_000
    assert topics == data.python_topics()


def test_one_run_has_codes_that_spell_the_texts():
    codes, alphabet = one_run(["ba", "c"])
    assert alphabet == "\nabc"
    assert "".join(alphabet[code] for code in codes) == "ba\n\nc"
    assert codes.dtype == np.int64
