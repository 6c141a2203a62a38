"""The benchmark can be trusted: it starts, stops, compares and reports contenders properly."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from handloom import bench
from handloom.bench import agree, cases, figures, footprint, memory, report, rows, session, stats
from handloom.bench.contenders import SPECS
from handloom.bench.rows import Plan
from handloom.bench.runner import Entry, Ring

HERE = Path(__file__).parent
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
CASE = cases.Case("reduce", "first", "sum", ((1000,),), flops=1000.0, bytes=4000.0, roofs=("read",))
OTHER = CASE._replace(name="second", cold=True)


@pytest.fixture(autouse=True)
def _fakes_are_importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def fake(kind: str, name: str | None = None) -> Entry:
    return Entry(name or kind.lower(), f"bench_fakes:{kind}", 1)


def measure(*kinds: str, chosen=(CASE,), meter: str = "Absent", rounds: int = 3, lines=None):
    """Measure fakes; the first is the subject."""
    entries = [fake(kind) for kind in kinds]
    plan = Plan(quick=True, rounds=rounds, threads=1, seed=0, subject=entries[0].name)
    plan.block, plan.beyond_cache = 0.002, 1 << 16
    progress = (lines if lines is not None else []).append
    return session.measure(list(chosen), entries, plan, progress, meter=fake(meter, "meter"))


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


# ---- statistics -------------------------------------------------------------------------------


def test_the_ratio_is_the_median_of_ratios_and_not_the_ratio_of_medians():
    peer, ours = [2.0, 20.0, 6.0], [1.0, 10.0, 2.0]
    assert stats.ratio(peer, ours).median == 2.0
    assert stats.summarise(peer).median / stats.summarise(ours).median == 3.0
    assert stats.ratio([1.0, None, 3.0], [1.0, 1.0, 1.0]) == stats.Summary(2.0, 1.5, 2.5)
    assert stats.ratio([None], [1.0]) is None
    with pytest.raises(ValueError, match="at least one round"):
        stats.summarise([])


def test_the_best_peer_and_the_verdict_follow_the_ratios():
    case = CASE._replace(roofs=("peak", "read"), target=cases.Target(0.5, 1.5, ("a", "b")))
    data = {"results": {name: {} for name in ("us", "a", "b")}}
    times = {"us": [1e-6, 1e-5], "a": [3e-6, 3e-5], "b": [2e-6, 2e-5]}
    # 1000 FLOP at 1 GFLOP/s take 1 µs; 4000 bytes at 8 GB/s take 0.5 µs: the first limit counts.
    rates = {"peak": [1e9, 1e8], "read": [8e9, 8e8]}
    figures.fill_in(data, case, times, rates, "us")
    assert data["best_peer"] == "b"
    assert data["ratios"]["b"]["median"] == pytest.approx(2.0)
    assert data["share"]["median"] == pytest.approx(1.0)
    assert data["met"] is True
    figures.fill_in(data, case._replace(target=cases.Target(0.5, 2.5, ("b",))), times, rates, "us")
    assert data["met"] is False
    figures.fill_in(data, case._replace(target=cases.Target(0.5)), times, {}, "us")
    assert data["met"] is None
    assert data["share"] is None


# ---- agreement --------------------------------------------------------------------------------


def outputs(*values: float, shape: str = "()", dtype: str = "float32"):
    return [(shape, dtype, np.array(values, dtype))]


def test_rounding_is_forgiven_and_more_is_not():
    case = CASE._replace(depth=1)
    eps = float(np.finfo(np.float32).eps)
    good = agree.compare(case, {"a": outputs(1.0), "b": outputs(1.0 + 4 * eps)})
    assert good.complaints == ()
    assert good.max_error == pytest.approx(4 * eps)
    bad = agree.compare(case, {"a": outputs(1.0), "b": outputs(1.0 + 32 * eps)})
    assert "a and b" in bad.complaints[0]


def test_the_odd_one_out_is_named():
    results = {"a": outputs(1.0), "b": outputs(1.0), "c": outputs(2.0)}
    assert agree.compare(CASE, results).outliers == ("c",)


@pytest.mark.parametrize(
    "other",
    [outputs(1.0, shape="(1,)"), outputs(1.0, dtype="float64"), outputs(float("nan")), []],
    ids=["shape", "dtype", "nan", "count"],
)
def test_shapes_dtypes_and_nans_must_agree_too(other):
    assert agree.compare(CASE, {"a": outputs(1.0), "b": other}).complaints


def test_a_sample_is_small_covers_both_ends_and_every_column():
    array = np.arange(4 * agree.SAMPLE, dtype=np.int64).reshape(-1, 1024)
    sampled = agree.sample(array)
    assert sampled.size <= agree.SAMPLE + 1
    assert {0, array.size - 1} <= set(sampled.tolist())
    assert set((sampled[agree.SAMPLE // 4 : -agree.SAMPLE // 4] % 1024).tolist()) == set(
        range(1024)
    )


# ---- processes --------------------------------------------------------------------------------


def test_contenders_are_timed_against_each_other_and_the_machine():
    lines: list[str] = []
    result = measure("Sum", "Slow", meter="Meter", chosen=[CASE, OTHER], lines=lines)
    first, second = result["rows"]
    assert [row["status"] for row in result["rows"]] == ["ok", "ok"]
    assert first["best_peer"] == "slow"
    assert first["ratios"]["slow"]["median"] > 10
    assert first["results"]["slow"]["seconds"]["median"] >= 5e-4
    assert len(first["results"]["sum"]["samples"]) == 3
    # 4000 bytes at the meter's 1 GB/s in at least 500 µs.
    assert 0 < first["results"]["slow"]["share"]["median"] <= 4e-6 / 5e-4
    assert first["results"]["sum"]["sets"] == 1
    assert second["results"]["sum"]["sets"] == (1 << 16) // 4000 + 1
    assert result["roofline"]["limits"]["read"]["median"] == 1e9
    assert len(lines) == 2


def test_the_report_is_json_with_everything_that_a_reader_needs():
    result = json.loads(json.dumps(measure("Sum", "Slow"), allow_nan=False))
    assert result["schema"] == session.SCHEMA
    assert {"processor", "caches", "cpus", "memory", "system", "python"} <= set(result["machine"])
    assert result["contenders"]["sum"]["versions"]["fake"] == "1.0"
    assert result["roofline"] == {
        "limits": {}, "unit": "FLOP/s and bytes/s", "missing": "not built"
    }  # fmt: skip
    row = result["rows"][0]
    assert {"family", "name", "op", "shapes", "dtype", "options", "flops", "bytes"} <= set(row)
    assert row["agreement"]["compared"] == ["sum", "slow"]
    assert set(row["results"]["sum"]["seconds"]) == {"median", "q1", "q3"}


@pytest.mark.parametrize("kind", ["Wrong", "WrongShape", "NotANumber"])
def test_a_wrong_result_is_a_failure_and_is_not_timed(kind):
    result = measure("Sum", "Slow", kind)
    (row,) = result["rows"]
    assert row["status"] == "disagree"
    assert row["agreement"]["outliers"] == [kind.lower()]
    assert all("seconds" not in r for r in row["results"].values())
    assert "disagreement" in report.failures(result)[0]
    assert "DISAGREE" in report.plain(result)


def test_a_dead_child_is_reported_with_its_last_words_and_the_others_go_on():
    result = measure("Sum", "Dies", "Slow")
    (row,) = result["rows"]
    assert row["status"] == "ok"
    assert row["results"]["dies"]["status"] == "failed"
    assert "status 7" in row["results"]["dies"]["reason"]
    assert "last words" in row["results"]["dies"]["reason"]
    assert row["best_peer"] == "slow"
    assert any("last words" in text for text in report.failures(result))


def test_a_dead_child_is_replaced_for_the_next_case():
    result = measure("Sum", "DiesOnce", chosen=[CASE, OTHER])
    states = [row["results"]["diesonce"]["status"] for row in result["rows"]]
    assert states == ["failed", "ok"]
    assert "SIGABRT" in result["rows"][0]["results"]["diesonce"]["reason"]


def test_a_child_that_keeps_dying_is_given_up():
    many = [CASE._replace(name=f"case {index}") for index in range(Ring.RESTARTS + 2)]
    result = measure("Sum", "Dies", chosen=many, rounds=1)
    assert result["contenders"]["dies"]["status"] == "failed"
    assert all(row["status"] == "ok" for row in result["rows"])


def test_a_hanging_child_is_ended(monkeypatch):
    monkeypatch.setattr(rows, "PREPARE_TIMEOUT", 1.5)
    (row,) = measure("Sum", "Hangs")["rows"]
    assert "did not finish 'prepare'" in row["results"]["hangs"]["reason"]
    assert row["status"] == "ok"


def test_exceptions_and_missing_ops_are_told_apart():
    unknown = CASE._replace(op="conv2d", shapes=((3,),))
    result = measure("Sum", "Raises", "Absent", chosen=[CASE, unknown])
    first, second = result["rows"]
    assert first["results"]["raises"]["status"] == "failed"
    assert "a bug in a peer" in first["results"]["raises"]["reason"]
    assert first["results"]["absent"] == {"status": "n/a", "reason": "not built"}
    assert second["results"]["sum"]["reason"] == "fakes have no conv2d"
    assert second["status"] != "ok"


@linux
def test_only_one_contender_ever_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDLOOM_TEST_WITNESS", str(tmp_path))
    entries = [fake("Witness", f"w{index}") for index in range(3)]
    plan = Plan(quick=True, rounds=2, threads=1, seed=0, subject="w0")
    plan.block = 0.002
    session.measure([CASE], entries, plan, lambda line: None, meter=fake("Absent", "meter"))
    states = (tmp_path / "states").read_text()
    assert len(states) > 20
    assert set(states) == {"T"}
    assert not any(alive(int(path.stem)) for path in tmp_path.glob("*.pid"))


def test_processor_overrides_are_removed_and_threads_are_equal(monkeypatch):
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    result = measure("Sum", "Slow")
    for name in ("sum", "slow"):
        assert result["contenders"][name]["settings"]["coretype"] == "unset"
        assert result["contenders"][name]["versions"]["threads"] == "1"


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_no_child_survives_an_exception(error):
    ring = Ring([fake("Sum"), fake("Slow")])
    pids = []

    def fail() -> None:
        with ring:
            pids.extend(child.pid for child in ring.children.values())
            assert all(alive(pid) for pid in pids)
            raise error

    with pytest.raises(error):
        fail()
    assert len(pids) == 2
    assert not any(alive(pid) for pid in pids)
    assert not ring.folder.exists()


@linux
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_stopped_child_survives_its_parent(number, tmp_path):
    code = (
        "import signal, sys, time\n"
        # Jobs in the background of a shell's script start with interrupts ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from handloom.bench.runner import Entry, Ring, terminable\n"
        "with terminable(), Ring([Entry('sum', 'bench_fakes:Sum', 1)]) as ring:\n"
        "    print(ring.children['sum'].pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([os.environ["PYTHONPATH"], *sys.path]),
        "TMPDIR": str(tmp_path),
    }
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=environment,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        parent.send_signal(number)
        parent.wait(10)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _running(pid):
        time.sleep(0.02)
    assert not _running(pid)


def _running(pid: int) -> bool:
    """Whether a process exists and is not a zombie that some init has yet to collect."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"


@linux
def test_threads_are_compared_with_what_the_peaks_allow():
    case = CASE._replace(family="scaling", roofs=("peak",), target=cases.Target(ratio=0.5))
    entries = [fake("Slow")._replace(threads=2)]
    plan = Plan(quick=True, rounds=3, threads=2, seed=0, subject="slow")
    plan.block = 0.002
    meter = Entry("meter", "bench_fakes:Meter", 2)
    result = session.measure([case], entries, plan, lambda line: None, meter=meter)
    (row,) = result["rows"]
    # The meter doubles with two threads, so half of any speed-up is what the peaks allow.
    assert row["roof"]["peak"]["median"] == 2.0
    slow = row["results"]["slow"]
    assert slow["speedup"]["median"] > 0
    assert slow["relative"]["median"] == pytest.approx(slow["speedup"]["median"] / 2)
    assert result["roofline"]["limits"]["float32 peak of one thread"]["median"] == 2e9
    assert "meter" not in result["contenders"]
    assert "speed-up" in report.plain(result)


# ---- the command ------------------------------------------------------------------------------


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    bench.add_arguments(parser)
    return parser.parse_args(words)


def test_the_command_writes_json_and_plots(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(SPECS, "machine", "bench_fakes:Meter")
    monkeypatch.setitem(SPECS, "numpy", "bench_fakes:Sum")
    monkeypatch.setitem(SPECS, "jax", "bench_fakes:Slow")
    monkeypatch.setattr(session, "installed", lambda name: True)
    target, plots = tmp_path / "new" / "bench.json", tmp_path / "plots"
    words = ["reduce", "--quick", "--subject", "numpy", "--peers", "jax", "--threads", "1"]
    assert bench.main(arguments(*words, "--json", str(target), "--plot", str(plots))) == 0
    written = json.loads(target.read_text())
    assert [row["status"] for row in written["rows"]] == ["ok"]
    assert sorted(path.name for path in plots.iterdir()) == ["ratios-reduce.png", "roofline.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots.iterdir())
    assert "sum 2048×2048 all" in capsys.readouterr().out
    assert not list(target.parent.glob("*.partial"))


def test_a_failure_is_the_exit_status(monkeypatch, capsys):
    monkeypatch.setitem(SPECS, "machine", "bench_fakes:Meter")
    monkeypatch.setitem(SPECS, "numpy", "bench_fakes:Sum")
    monkeypatch.setitem(SPECS, "jax", "bench_fakes:Wrong")
    monkeypatch.setattr(session, "installed", lambda name: True)
    words = ["reduce", "--quick", "--subject", "numpy", "--peers", "jax", "--threads", "1"]
    assert bench.main(arguments(*words)) == 1
    assert "FAILED reduce/sum" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"families": ["matmull"]}, "families expects matmul, .* got 'matmull'"),
        ({"peers": ["tensorflow"]}, "peers expects .* got 'tensorflow'"),
        ({"subject": "nobody"}, "subject expects .* got 'nobody'"),
        ({"threads": 0}, "threads expects a number of at least 1, got 0"),
        ({"rounds": -1}, "rounds expects a number of at least 1, got -1"),
    ],
)
def test_bad_input_is_named(options, text):
    with pytest.raises(ValueError, match=text):
        bench.run(**options)


def test_the_list_names_every_family(capsys):
    assert bench.main(arguments("--list")) == 0
    printed = capsys.readouterr().out
    without_cases = (memory.FAMILY, footprint.FAMILY)
    measured = [family for family in session.families() if family not in without_cases]
    assert all(family in printed for family in measured)


def test_footprint_counts_bytes_and_times_imports(tmp_path, monkeypatch):
    package = tmp_path / "tiny_package_of_this_test"
    package.mkdir()
    (package / "__init__.py").write_text("import time; time.sleep(0.3)\n")
    (package / "data.bin").write_bytes(bytes(10_000))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    imports, size = footprint.measure([package.name], rounds=1)
    assert imports["results"][package.name]["seconds"]["median"] > 0.05
    assert imports["extra_over_numpy"]["median"] == pytest.approx(
        imports["results"][package.name]["samples"][0] - imports["results"]["numpy"]["samples"][0]
    )
    assert size["results"][package.name]["bytes"] == 10_000 + len("import time; time.sleep(0.3)\n")
    assert size["results"][package.name]["wheel_bytes"] < 2_000
    assert size["met"] is True


def test_importing_handloom_does_not_import_the_benchmark():
    code = (
        "import sys, handloom; sys.exit(any(m.startswith('handloom.bench') for m in sys.modules))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )
