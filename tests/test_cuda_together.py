"""Does the emulator see what goes wrong between blocks? Small wrong kernels, compiled and run.

Wants g++ and no library: the emulator's sources are compiled with a few kernels of this file.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).resolve().parent.parent / "csrc"
COMPILER = os.environ.get("CXX") or shutil.which("g++")
if not COMPILER or not CSRC.is_dir():
    pytest.skip("no g++, or no sources", allow_module_level=True)

# Each block tells its number, round by round, and adds up what the others told in the round before.
KERNELS = """
#include <stdio.h>
#include <string.h>

#include "cuda/cooperative.h"

static cudaError_t g_failed = cudaSuccess;
namespace hl::cuda {
void note_failure(cudaError_t e, const char*, const char*, int) { g_failed = e; }
}

using namespace hl::cuda;
enum What { kRight, kNoWait, kNoRelease, kOneMissing, kOneBuffer };

__global__ void add_up(What what, unsigned* counter, uint32_t* told, unsigned* sums, int rounds) {
  const unsigned me = blockIdx.x, blocks = gridDim.x;
  const GridBarrier barrier = {counter, blocks};
  unsigned sum = 0;
  for (int r = 0; r < rounds; ++r) {
    uint32_t* half = told + (what == kOneBuffer ? 0 : r % 2 * blocks * 4);
    if (threadIdx.x == 0) store_l2(half + 4 * me, unsigned(r + 1) * (me + 1));
    if (what == kNoRelease) {
      if (threadIdx.x == 0) atomicAdd(counter, 1u);
    } else if (what != kOneMissing || me != 0 || r != 2) {
      barrier.arrive();
    }
    if (what != kNoWait) barrier.wait(unsigned(r + 1));
    for (unsigned b = threadIdx.x; b < blocks; b += blockDim.x) {
      uint32_t word[4];
      load_l2(word, half + 4 * b);
      sum += word[0];
    }
  }
  sums[me * blockDim.x + threadIdx.x] = sum;
}

int main(int count, char** args) {
  const What what = What(args[1][0] - '0');
  const unsigned blocks = count > 2 ? unsigned(atoi(args[2])) : 6;
  constexpr int kRounds = 7, kThreads = 64;
  void *counter, *told, *sums;
  cudaMallocAsync(&counter, 4, nullptr);
  cudaMallocAsync(&told, 2 * 16 * blocks, nullptr);
  cudaMallocAsync(&sums, 4 * kThreads * blocks, nullptr);
  cudaMemsetAsync(counter, 0, 4, nullptr);
  cudaMemsetAsync(told, 0, 2 * 16 * blocks, nullptr);
  unsigned *c = (unsigned*)counter, *s = (unsigned*)sums;
  uint32_t* t = (uint32_t*)told;
  const int rounds = kRounds;
  if (what > kOneBuffer) {
    HL_LAUNCH(add_up, blocks, kThreads, 0, nullptr, kRight, c, t, s, rounds);
  } else {
    HL_LAUNCH_COOPERATIVE(add_up, blocks, kThreads, 0, nullptr, what, c, t, s, rounds);
  }
  if (g_failed) return puts("refused"), 0;
  unsigned host[kThreads * 64];
  cudaMemcpyAsync(host, sums, 4 * kThreads * blocks, cudaMemcpyDeviceToHost, nullptr);
  bool right = true;
  for (unsigned b = 0; b < blocks; ++b) {
    for (unsigned i = 0; i < kThreads; ++i) {
      right &= host[b * kThreads + i] == (i < blocks ? (i + 1) * (kRounds * (kRounds + 1) / 2) : 0);
    }
  }
  puts(right ? "right" : "wrong");
}
"""
RIGHT, NO_WAIT, NO_RELEASE, ONE_MISSING, ONE_BUFFER, NOT_TOGETHER = range(6)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    (folder / "kernels.cpp").write_text("#include <stdlib.h>\n" + KERNELS)
    sources = [*sorted((CSRC / "cuda" / "emulator").glob("*.cpp")), folder / "kernels.cpp"]
    out = folder / "kernels"
    assert COMPILER
    command = [COMPILER, "-std=c++20", "-O0", "-DHL_EMULATOR", f"-I{CSRC}", "-o", str(out)]
    subprocess.run([*command, *map(str, sources)], check=True)
    return out


def run(program: Path, *args: int, seed: int = 1) -> str:
    """What it prints, or the last words of the emulator."""
    env = {**os.environ, "HANDLOOM_EMULATOR_SEED": str(seed)}
    env.pop("HANDLOOM_EMULATOR_BLOCKS", None)
    done = subprocess.run(
        [str(program), *map(str, args)], env=env, capture_output=True, text=True, timeout=60
    )
    return done.stdout.strip() if done.returncode == 0 else done.stderr


def test_blocks_that_wait_for_each_other(program: Path) -> None:
    for seed in range(20):
        assert run(program, RIGHT, seed=seed) == "right"
    assert run(program, RIGHT, 1) == "right"


@pytest.mark.parametrize("what", [NO_WAIT, NO_RELEASE, ONE_BUFFER])
def test_wrong_order_shows(program: Path, what: int) -> None:
    found = [run(program, what, seed=seed) for seed in range(1, 11)]
    assert set(found) <= {"right", "wrong"}
    assert found.count("wrong") >= 5


def test_a_barrier_that_one_block_does_not_reach(program: Path) -> None:
    for seed in range(4):
        assert "wait at a grid's barrier" in run(program, ONE_MISSING, seed=seed)


def test_more_blocks_than_run_at_a_time_are_refused(program: Path) -> None:
    assert run(program, RIGHT, 32) == "right"  # 8 of 64 threads on each of 4 multiprocessors
    assert run(program, RIGHT, 33) == "refused"


def test_blocks_that_run_one_by_one_cannot_wait(program: Path) -> None:
    assert "not cooperative" in run(program, NOT_TOGETHER)
