"""A run that was stopped at any moment ends as if it had not been, and its file is never half."""

from __future__ import annotations

import errno
import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import handloom as hl
import resumed_run
from handloom import nn, optim, train

SCRIPT = Path(resumed_run.__file__)


class Stop(train.Callback):
    """Ends the run at a step by what `how` does."""

    def __init__(self, step: int, how) -> None:
        self.step, self.how = step, how

    def on_step_end(self, run) -> None:
        if run.step == self.step:
            self.how()


class Watcher(train.Callback):
    """Counts what it sees, and keeps it."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_step_end(self, run) -> None:
        self.steps.append(run.step)

    def state_dict(self):
        return {"steps": self.steps}

    def load_state_dict(self, state) -> None:
        self.steps = state["steps"]


def crash() -> None:
    raise RuntimeError("power")


def small(checkpoint, *, epochs=3, rows=16, width=4, lr=0.1, kind=optim.SGD, **options):
    x = np.random.default_rng(0).standard_normal((rows, 3)).astype(np.float32)
    hl.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 1))
    options = {"batch_size": 4, "progress": False, **options}
    history = train.fit(
        model,
        (x, x[:, :1]),
        loss=nn.functional.mse_loss,
        optimizer=kind(model.parameters(), lr=lr),
        epochs=epochs,
        checkpoint=checkpoint,
        **options,
    )
    return model, history


def equal(a: nn.Module, b: nn.Module) -> None:
    for one, other in zip(a.state_dict().values(), b.state_dict().values()):
        np.testing.assert_array_equal(one, other)


# the same bits


@pytest.mark.parametrize("step", [1, 3, 8, 9, 20, 47])
def test_a_run_that_broke_off_ends_with_the_same_bits(step, tmp_path):
    whole, history = resumed_run.run(None, Stop(-1, crash), Watcher())
    path = str(tmp_path / "new" / "run.safetensors")
    with pytest.raises(RuntimeError, match="power"):
        resumed_run.run(path, Stop(step, crash), Watcher())
    watcher = Watcher()
    again, resumed = resumed_run.run(path, Stop(-1, crash), watcher)
    assert again == whole
    assert len(resumed) == len(history) == resumed_run.EPOCHS
    assert watcher.steps == list(range(1, 8 * resumed_run.EPOCHS + 1))


def test_a_run_that_ended_is_not_trained_again_but_goes_on_to_more_epochs(tmp_path):
    path = tmp_path / "run.safetensors"
    steps: list[int] = []

    def hook() -> train.Callback:
        return train.LambdaCallback(on_step_end=lambda run: steps.append(run.step))

    model, history = small(path, callbacks=[hook()])
    assert steps == list(range(1, 13))
    again, same = small(path, callbacks=[hook()])
    assert len(steps) == 12
    assert same["loss"] == history["loss"]
    equal(model, again)
    more, longer = small(path, callbacks=[hook()], epochs=5)
    assert steps == list(range(1, 21))
    assert longer["loss"][:3] == history["loss"]
    equal(more, small(None, epochs=5)[0])


def test_early_stopping_is_remembered(tmp_path):
    def stopping():
        return train.EarlyStopping("loss", patience=2, min_delta=10.0)

    path = tmp_path / "run.safetensors"
    model, history = small(path, epochs=9, callbacks=[stopping()])
    assert history.stopped
    again, same = small(path, epochs=9, callbacks=[stopping()])
    assert same.stopped == history.stopped
    assert len(same) == len(history) == 3
    equal(model, again)


# killed


def killed(kills: int, directory: Path) -> None:
    whole, _ = resumed_run.run(None)
    path = directory / "run.safetensors"
    command = [sys.executable, str(SCRIPT), str(path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(hl.__file__).parents[1])}
    rng = random.Random(0)
    took = None
    done = finished = 0
    while done < kills or not finished:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        begin = time.perf_counter()
        if took is not None and done < kills:
            try:
                process.wait(rng.uniform(0, took / 3))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
        out, _ = process.communicate(timeout=60)
        if process.returncode == -signal.SIGKILL:
            done += 1
            continue
        assert process.returncode == 0
        assert out.strip() == whole
        took = took or time.perf_counter() - begin
        finished += 1
        assert [p.name for p in directory.iterdir()] == [path.name]  # no litter of those killed
        path.unlink()


def test_a_run_killed_at_random_moments_ends_with_the_same_bits(tmp_path):
    killed(3, tmp_path)


@pytest.mark.slow
def test_a_run_killed_thirty_times_ends_with_the_same_bits(tmp_path):
    killed(30, tmp_path)


# Ctrl-C


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_stops_after_the_step_saves_and_says_where(tmp_path, capsys):
    path = tmp_path / "run.safetensors"
    whole, _ = resumed_run.run(None, Stop(-1, press))
    text = r"fit: stopped after step 11 \(epoch 2 of 6\); the run is saved in '.*run\.safetensors'"
    with pytest.raises(KeyboardInterrupt, match=text):
        resumed_run.run(str(path), Stop(11, press))
    assert "stopping after this step" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert train.load_checkpoint(path)["step"] == 11
    assert resumed_run.run(str(path), Stop(-1, press))[0] == whole


def test_ctrl_c_without_a_checkpoint_says_so():
    with pytest.raises(KeyboardInterrupt, match=r"after step 2 .* not saved"):
        small(None, callbacks=[Stop(2, press)])


def test_ctrl_c_during_the_validation_is_heard(tmp_path):
    path = tmp_path / "run.safetensors"
    hook = train.LambdaCallback(on_epoch_end=lambda run: press() if run.epoch == 1 else None)
    with pytest.raises(KeyboardInterrupt, match="epoch 2 of 3"):
        small(path, callbacks=[hook])
    assert train.load_checkpoint(path)["epoch"] == 2


def test_a_second_ctrl_c_interrupts_at_once():
    def twice() -> None:
        press()
        press()
        raise AssertionError("the second one was not heard")

    with pytest.raises(KeyboardInterrupt) as caught:
        small(None, callbacks=[Stop(2, twice)])
    assert not caught.value.args
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# a disk that fills


def test_a_full_disk_keeps_the_checkpoint_before(tmp_path, monkeypatch):
    path = tmp_path / "run.safetensors"
    small(path, epochs=1)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"cannot be saved \(No space left.*before is as it was"):
        small(path, epochs=3)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    equal(small(path, epochs=3)[0], small(None, epochs=3)[0])


def test_a_file_that_may_not_grow_keeps_the_checkpoint_before(tmp_path):
    path = tmp_path / "run.safetensors"
    small(path, epochs=1)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        with pytest.raises(OSError, match="cannot be saved"):
            small(path, epochs=3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


# files that are not this run's


def test_every_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "state.safetensors"
    state = {"weights": np.arange(3, dtype=np.float32), "lr": 0.1, "text": "ä", "none": None}
    train.save_checkpoint(path, state)
    content = path.read_bytes()
    rng = random.Random(0)
    unnoticed = 0
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            found = train.load_checkpoint(path)
        except ValueError:
            continue
        # The format's padding or its name: nothing that was saved.
        np.testing.assert_equal(found, state)
        unnoticed += 1
    assert unnoticed < 32


def test_every_truncated_file_is_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    small(path)
    content = path.read_bytes()
    for size in (*range(40), *range(40, len(content), 97), len(content) - 1):
        path.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"run\.safetensors"):
            small(path)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"width": 5}, "of another run: .*0.weight"),
        ({"kind": optim.Adam}, "optimizer is SGD, here Adam"),
        ({"rows": 20}, "rows 16, here 20"),
        ({"batch_size": 8}, "batch size 4, here 8"),
        ({"accumulate": 2}, "accumulate 1, here 2"),
        ({"scheduler": "cosine"}, "schedule is None, here CosineAnnealingLR"),
        ({"ema": 0.9}, "averages weights False, here True"),
        ({"callbacks": [train.TerminateOnNaN()]}, "callbacks are"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(change, text, tmp_path):
    path = tmp_path / "run.safetensors"
    small(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=text):
        small(path, **change)
    assert path.read_bytes() == before


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    hl.save(path, nn.Linear(3, 1).state_dict())
    with pytest.raises(ValueError, match="holds weights, but no checkpoint"):
        small(path)
    train.save_checkpoint(path, {"model": {}})
    with pytest.raises(ValueError, match="but not of a run of fit"):
        small(path)
    path.write_text("not at all")
    with pytest.raises(ValueError, match="not a safetensors file"):
        small(path)
    with pytest.raises(IsADirectoryError):
        small(tmp_path)
    with pytest.raises(ValueError, match="checkpoint_every expects a checkpoint"):
        small(None, checkpoint_every=3)
    with pytest.raises(ValueError, match="checkpoint_every expects at least 1"):
        small(path, checkpoint_every=0)


def test_names_that_meet_in_the_file_stay_apart(tmp_path):
    path = tmp_path / "state.safetensors"
    state = {"a": {"b": np.zeros(1)}, "a.b": np.ones(1)}
    train.save_checkpoint(path, state)
    np.testing.assert_equal(train.load_checkpoint(path), state)
