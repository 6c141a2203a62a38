"""The real CUDA library on a machine without a driver: it loads and says why it cannot run.

HANDLOOM_CUDA_REAL_LIBRARY names one that nvcc built; else the one in the package is looked at, and
without either these tests are skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import handloom

PACKAGE = Path(handloom.__file__).parent
LIBRARY = Path(
    os.environ.get("HANDLOOM_CUDA_REAL_LIBRARY", PACKAGE / "cuda" / "libhandloom_cuda.so")
)

pytestmark = pytest.mark.skipif(not LIBRARY.exists(), reason="no library that nvcc built")


def python(code: str) -> str:
    """What a fresh process prints that finds the real library and no driver, whatever is here."""
    env = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"}
    env |= {"HANDLOOM_CUDA_LIBRARY": str(LIBRARY), "CUDA_VISIBLE_DEVICES": ""}
    env["PYTHONPATH"] = os.pathsep.join([str(PACKAGE.parent), env.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_there_is_no_gpu_and_it_says_why() -> None:
    out = python(
        "import handloom as hl\n"
        "assert not hl.cuda.is_available()\n"
        "assert hl.cuda.device_count() == 0\n"
        "print(hl.cuda.state())\n"
    )
    assert re.search("driver|device", out), out
    assert "does not load" not in out


@pytest.mark.parametrize(
    "call",
    [
        "hl.tensor([1.0], device='cuda')",
        "hl.tensor([1.0]).to('cuda')",
        "hl.tensor([1.0]).to('cuda:1')",
        "hl.nn.Linear(2, 3).to('cuda')",
        "hl.cuda.array([1.0])",
        "hl.cuda.synchronize()",
        "hl.cuda.current_device()",
        "hl.cuda.get_device_name()",
        "hl.cuda.get_device_properties()",
        "hl.cuda.mem_get_info()",
        "hl.cuda.kernels()",
        "hl.cuda.Stream()",
        "hl.cuda.Event()",
        "hl.cuda.current_stream()",
    ],
)
def test_each_entry_answers_with_an_error(call: str) -> None:
    out = python(
        "import handloom as hl, numpy as np\n"
        f"try:\n    {call}\n"
        "except RuntimeError as e:\n    print(e)\n"
        "assert (hl.tensor([1.0]) + 1).item() == 2\n"
    )
    assert re.search("no driver answers|finds no device", out), out


@pytest.mark.skipif(not shutil.which("readelf"), reason="no readelf")
def test_it_needs_nothing_of_cuda() -> None:
    """The run-time library is inside, the driver is looked for when it is needed."""
    out = subprocess.run(["readelf", "-d", str(LIBRARY)], capture_output=True, text=True).stdout
    needed = re.findall(r"NEEDED.*\[(.+?)\]", out)
    assert needed
    assert not [name for name in needed if re.search("cuda|nvidia|python", name)]


@pytest.mark.skipif(not shutil.which("readelf"), reason="no readelf")
def test_it_exports_one_name() -> None:
    out = subprocess.run(
        ["readelf", "--dyn-syms", "-W", str(LIBRARY)], capture_output=True, text=True
    ).stdout
    rows = [line.split() for line in out.splitlines()]
    names = [r[7] for r in rows if len(r) > 7 and r[4] in ("GLOBAL", "WEAK") and r[6] != "UND"]
    assert [n.partition("@")[0] for n in names] == ["hl_cuda_api"]
