"""Attention takes memory linear in the length of the sequence, and the benchmark shows it."""

from __future__ import annotations

import sys

import pytest

from handloom.bench import memory, report

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the largest size is Linux's")


def test_forward_and_backward_are_linear_up_to_8192():
    sizes = {t: memory.peak_bytes("handloom", t, 1, 64) for t in (2048, 4096, 8192)}
    for t in (4096, 8192):  # four times as much would be 4 and 16
        assert sizes[t] / sizes[2048] <= 1.5 * t / 2048
    # The results alone, and far below one matrix of all pairs.
    assert 4 * 8192 * 64 * 4 <= sizes[8192] < 8192**2 * 4 / 4


def test_the_measure_sees_a_matrix_of_all_pairs():
    whole = memory.peak_bytes(memory.WHOLE, 1024, 2, 64)
    assert whole > 2 * 2 * 1024**2 * 4  # scores and their exponentials


def test_rows_and_plot(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "LENGTHS", (256, 512))
    rows = memory.measure(["handloom"], 1)
    assert [row["tokens"] for row in rows] == [256, 512]
    assert all(row["results"]["handloom"]["bytes"] > 0 for row in rows)
    pytest.importorskip("matplotlib")
    from handloom.bench.plots import draw

    made = {
        "rows": rows, "subject": "handloom", "threads": 1, "rounds": 1, "busy_elsewhere": None,
        "machine": {"processor": "a loom"}, "created": "2026-01-01T00:00:00Z",
        "roofline": {"limits": {}}, "contenders": {},
    }  # fmt: skip
    assert [path.name for path in draw(made, tmp_path)] == ["memory-attention.png"]
    (table,) = report.tables(made)
    assert table.title == "memory"
    assert table.rows[0][0].startswith("attention 1×256")


def test_a_child_that_fails_says_why():
    with pytest.raises(RuntimeError, match="KeyError"):
        memory.peak_bytes("no such contender", 64, 1, 8)
