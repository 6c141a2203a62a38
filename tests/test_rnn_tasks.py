"""The page on recurrent networks keeps its word: its four kinds of tasks are learnt."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

PAGE = Path(__file__).parent.parent / "docs" / "rnn.md"


@pytest.fixture(scope="module")
def page():
    section = PAGE.read_text().split("### Four kinds of tasks")[1]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL).group(1)
    printed = []
    names = {"print": printed.append}
    exec(code, names)
    return names, printed


def test_all_four_are_learnt(page):
    _, losses = page
    assert len(losses) == 4
    assert max(losses) < 0.05


@pytest.mark.parametrize(
    ("kind", "given", "shape"),
    [
        ("OneToOne", (5, 1), (5, 1)),
        ("OneToMany", (5, 1), (5, 20, 1)),
        ("ManyToOne", (5, 7, 1), (5, 1)),
        ("ManyToMany", (5, 7, 1), (5, 7, 1)),
    ],
)
def test_each_kind_has_its_shapes(page, kind, given, shape):
    names, _ = page
    assert names[kind]()(np.ones(given, np.float32)).shape == shape
