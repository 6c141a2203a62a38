"""The command line: what it prints, what it writes, and its exit status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from handloom import cli, gallery
from handloom.gallery import Task

KEYS = {"name", "rows", "metric", "value", "target", "baseline", "passed", "seconds", "seeds"}


def command(*words: str, code: str = "", cwd: Path | None = None) -> subprocess.CompletedProcess:
    """Runs `handloom WORDS` in a process of its own, after `code`."""
    program = f"import sys\n{code}\nfrom handloom.cli import main\nraise SystemExit(main())"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=cwd,
        env={**os.environ, "COLUMNS": "120"},
    )


@pytest.fixture
def missing_target(monkeypatch):
    """A gallery whose one task misses its target."""

    def run(context):
        context.check("figure", 0.5, at_least=0.9, baseline=0.1)
        context.losses("network", [2.0, 1.0])

    monkeypatch.setattr(gallery, "get", lambda name: Task("bad", ("N1",), "It misses", run))


def test_list_names_every_task():
    done = command("gallery", "--list")
    assert done.returncode == 0
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(gallery.names())


@pytest.mark.parametrize("words", [("gallery", "perceptron", "nope"), ("train", "nope")])
def test_unknown_name_is_refused_with_the_valid_ones(words):
    done = command(*words)
    assert done.returncode == 2
    assert "no task 'nope', expected one of perceptron, feed_forward" in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "train one network, save its weights and plots"),
        (("weave",), "weave"),
        (("gallery", "--seeds", "0"), "expected at least 1, got 0"),
        (("train", "mlp", "--seed", "-1"), "expected at least 0"),
        (("train", "mlp", "--device", "cuda"), "CUDA is"),
        (("train", "mlp", "--device", "abacus"), "expects cpu or cuda, got 'abacus'"),
    ],
)
def test_misuse_has_status_2(words, text):
    done = command(*words)
    assert done.returncode == 2
    assert text in done.stderr


def test_info_needs_no_extra():
    hide = "for name in ('rich', 'matplotlib', 'sklearn'): sys.modules[name] = None"
    done = command("info", code=hide)
    assert done.returncode == 0, done.stderr
    for word in ("version", "isa", "threads", "cuda"):
        assert word in done.stdout


def test_bench_is_handed_over():
    done = command("bench", "--list")
    assert done.returncode == 0, done.stderr
    assert "matmul" in done.stdout
    assert command("bench", "no_such_family").returncode == 2


def test_without_matplotlib_the_message_names_the_extra():
    hide = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'matplotlib' else find(name, *a)"
    )
    done = command("gallery", "perceptron", "--quick", code=hide)
    assert done.returncode == 2
    assert 'pip install "handloom[gallery]"' in done.stderr
    done = command("gallery", "perceptron", "--quick", "--no-plots", code=hide)
    assert done.returncode == 0, done.stderr


def test_quick_gallery_writes_json_plots_and_page(tmp_path):
    pytest.importorskip("matplotlib")
    done = command(
        *("gallery", "perceptron", "feed-forward", "--quick", "--seeds", "2"),
        *("--json", "figures.json", "--out", "plots", "--html", "page"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "auto-mpg: test R²" in done.stdout
    entries = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert [entry["name"] for entry in entries] == ["perceptron", "feed_forward"]
    for entry in entries:
        assert entry.keys() >= KEYS
        assert entry["passed"] is None
        assert entry["seeds"] == [0, 1]
        assert isinstance(entry["value"], float)
        assert isinstance(entry["target"], (int, float))
        assert entry["seconds"] > 0
        assert all((tmp_path / path).exists() for path in entry["files"])
    assert "<h1>" in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")


def test_gallery_passes_and_says_so(tmp_path, capsys):
    status = cli.main(["gallery", "perceptron", "--no-plots", "--json", str(tmp_path / "j.json")])
    out = capsys.readouterr().out
    assert status == 0
    assert "1 of 1 tasks kept every promise" in out
    (entry,) = json.loads((tmp_path / "j.json").read_text(encoding="utf-8"))
    assert entry["passed"] is True
    assert all(check["passed"] for check in entry["checks"])


def test_missed_target_has_status_1(missing_target, capsys):
    assert cli.main(["gallery", "any", "--no-plots"]) == 1
    out = capsys.readouterr().out
    assert "MISSED" in out
    assert "0 of 1 tasks kept every promise" in out
    assert cli.main(["gallery", "any", "--no-plots", "--quick"]) == 0
    assert "MISSED" not in capsys.readouterr().out


def test_train_saves_weights_and_plots(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    words = ["train", "feed_forward", "--epochs", "3", "--seed", "4", "--out", str(tmp_path / "o")]
    assert cli.main(words) == 0
    names = {path.name for path in (tmp_path / "o").iterdir()}
    assert {"feed_forward.safetensors", "feed_forward-curves.png"} <= names
    assert "feed_forward.safetensors" in capsys.readouterr().out

    from handloom import io
    from handloom.gallery.feed_forward import build

    build().load_state_dict(io.load(tmp_path / "o" / "feed_forward.safetensors"))


def test_data_that_cannot_be_had_has_status_1(monkeypatch, capsys):
    from handloom import data

    def unavailable(name):
        raise OSError("data.load: run pip download")

    monkeypatch.setattr(data, "load", unavailable)
    assert cli.main(["train", "mlp"]) == 1
    assert "run pip download" in capsys.readouterr().err
