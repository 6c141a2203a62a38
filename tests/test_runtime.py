"""Threads, instruction sets, random state, profile, configuration, and what an import costs."""

import re
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import handloom as hl


def test_threads():
    before = hl.get_num_threads()
    try:
        hl.set_num_threads(1)
        assert hl.get_num_threads() == 1
    finally:
        hl.set_num_threads(before)
    with pytest.raises(ValueError, match="n is 0"):
        hl.set_num_threads(0)
    for bad in (1.5, "2", True):
        with pytest.raises(TypeError, match=f"is a {type(bad).__name__}"):
            hl.set_num_threads(bad)


def test_autocast_changes_nothing_on_the_cpu():
    a = np.random.default_rng(1).standard_normal((30, 30)).astype(np.float32)
    full = hl.kernels.matmul(a, a)
    for dtype in ("bfloat16", "float16", "tfloat32", "float32"):
        with hl.autocast(dtype):
            np.testing.assert_array_equal(hl.kernels.matmul(a, a), full)
    with pytest.raises(ValueError, match="autocast: dtype is 'int8', expected one of float32"):
        hl.autocast("int8")


def test_use_isa_as_function_and_context():
    names = hl.available_isas()
    now = hl.show_config()["isa"]
    with hl.use_isa(names[-1]):
        assert hl.show_config()["isa"] == names[-1]
    assert hl.show_config()["isa"] == now
    with pytest.raises(ValueError, match=names[0]):
        hl.use_isa("mmx")


def test_manual_seed_repeats_and_tells_threads_apart():
    hl.manual_seed(7)
    a, b = hl.rand(100).numpy(), hl.rand(100).numpy()
    hl.manual_seed(7)
    np.testing.assert_array_equal(hl.rand(100).numpy(), a)
    assert not np.array_equal(a, b)
    found = []
    thread = threading.Thread(target=lambda: found.append(hl.rand(100).numpy()))
    thread.start()
    thread.join()
    assert not np.array_equal(found[0], a)
    np.testing.assert_array_equal(hl.rand(100).numpy(), b)
    for bad, error in ((-1, ValueError), (1 << 64, ValueError), (1.0, TypeError)):
        with pytest.raises(error, match="seed is"):
            hl.manual_seed(bad)


def test_random_state_goes_on():
    hl.manual_seed(1)
    hl.rand(3)
    state = hl.get_rng_state()
    a = [hl.randn(3).numpy(), hl.randint(0, 9, (4,)).numpy(), hl.randperm(9).numpy()]
    hl.manual_seed(2)
    hl.set_rng_state(state)
    b = [hl.randn(3).numpy(), hl.randint(0, 9, (4,)).numpy(), hl.randperm(9).numpy()]
    for x, y in zip(a, b):
        np.testing.assert_array_equal(x, y)
    assert sorted(a[2].tolist()) == list(range(9))
    with pytest.raises(ValueError, match="empty"):
        hl.randint(3, 3)
    with pytest.raises(TypeError, match="int64"):
        hl.rand(2, dtype="int64")


def test_profile_has_a_row_for_each_kernel():
    x = hl.ones(64, 64)
    with hl.profile() as p:
        for _ in range(3):
            x @ x
    (row,) = [r for r in p if r.kernel == "matmul"]
    assert row.calls == 3
    assert row.seconds > 0
    assert row.gflops > 0
    assert "GFLOP/s" in str(p)
    assert "matmul" in str(p).splitlines()[2]


def test_show_config():
    config = hl.show_config()
    assert config["version"] == hl.__version__
    assert config["isa"] in config["available_isas"]
    text = str(config)
    for word in ("version", "isa", "threads", "caches", "cuda"):
        assert word in text
    assert hl.cuda.state() in text


def test_every_public_name_exists():
    for name in hl.__all__:
        assert getattr(hl, name) is not None
    assert set(hl.__all__) <= set(dir(hl))
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        hl.nonsense  # noqa: B018


def test_kernels_are_called_from_few_places():
    root = Path(hl.__file__).parent
    allowed = ("_calls", "kernels", "ops", "optim", "bench", "tensor.py", "_tape.py")
    allowed += (
        "_rows.py",
        "_runtime.py",
        "_deposit.py",
        "_precision.py",
        "_profile.py",
        "_device_array.py",
        "cuda",
    )
    for path in root.rglob("*.py"):
        inside = path.relative_to(root)
        if inside.parts[0] not in allowed:
            text = path.read_text()
            assert not re.search(r"import _C\b|_C import", text), inside


HEAVY = [
    "torch",
    "sklearn",
    "matplotlib",
    "rich",
    "safetensors",
    "multiprocessing",
    "urllib.request",
]
HEAVY += ["hypothesis", "tempfile", "concurrent.futures", "handloom.nn", "handloom.optim"]
HEAVY += ["handloom.kernels", "handloom.data", "handloom.train", "handloom.io", "handloom.bench"]


def test_import_reads_nothing_heavy():
    # What NumPy imports by itself is not ours to avoid.
    code = (
        "import sys, numpy; before = set(sys.modules); import handloom;"
        "print(*(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(out.stdout.split()) & set(HEAVY)
    assert "handloom.tensor" in out.stdout
