"""The training loop does what a plain `for` loop does, and what its arguments say."""

from __future__ import annotations

import csv
import io
import math
import re
import sys
import time

import numpy as np
import pytest

import handloom as hl
from handloom import data, nn, optim, train
from handloom.train.measures import NAMED, named_metrics

F = nn.functional


def line(rows: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """y = 2 x₁ − x₂ + 1, without noise."""
    x = np.random.default_rng(seed).standard_normal((rows, 2)).astype(np.float32)
    return x, (x @ np.float32([[2], [-1]]) + 1).astype(np.float32)


def blobs(rows: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Three classes around the corners of a triangle."""
    rng = np.random.default_rng(1)
    y = np.arange(rows) % 3
    corners = np.float32([[0, 2], [2, -1], [-2, -1]])
    return (corners[y] + 0.4 * rng.standard_normal((rows, 2))).astype(np.float32), y


def model(seed: int = 0, inputs: int = 2, outputs: int = 1) -> nn.Module:
    hl.manual_seed(seed)
    return nn.Linear(inputs, outputs)


def weights(m: nn.Module) -> np.ndarray:
    return np.concatenate([np.asarray(w).ravel() for w in m.state_dict().values()])


def fit(m: nn.Module, arrays=None, lr: float = 0.1, **options):
    options = {"epochs": 2, "batch_size": 8, "seed": 0, "loss": F.mse_loss, **options}
    options.setdefault("optimizer", optim.SGD(m.parameters(), lr=lr))
    return train.fit(m, line() if arrays is None else arrays, **options)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# the loop


def test_fit_finds_the_line():
    m = model()
    history = fit(m, epochs=40)
    np.testing.assert_allclose(weights(m), [2, -1, 1], atol=1e-3)
    assert len(history) == 40
    assert history["loss"][-1] < 1e-5 < history["loss"][0]


def test_fit_is_the_loop_that_one_would_write():
    x, y = line()
    by_fit, by_hand = model(), model()
    fit(by_fit, (x, y), epochs=3)

    hl.manual_seed(0)
    loader = data.DataLoader(data.TensorDataset(x, y), batch_size=8, shuffle=True, seed=0)
    opt = optim.SGD(by_hand.parameters(), lr=0.1)
    for _ in range(3):
        for xb, yb in loader:
            loss = F.mse_loss(by_hand(xb), yb)
            loss.backward()
            opt.step()
            opt.zero_grad()
    np.testing.assert_array_equal(weights(by_fit), weights(by_hand))


def test_seed_fixes_dropout_and_order():
    def trained(seed: int | None) -> np.ndarray:
        hl.manual_seed(7)
        m = nn.Sequential(nn.Linear(2, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        fit(m, seed=seed)
        return weights(m)

    np.testing.assert_array_equal(trained(3), trained(3))
    assert not np.array_equal(trained(3), trained(4))
    np.testing.assert_array_equal(trained(None), trained(None))  # manual_seed(7) decides


def test_loss_of_an_epoch_is_the_mean_over_samples():
    m, arrays = model(), line(21)
    expected = train.evaluate(m, arrays, loss=F.mse_loss)["loss"]
    history = fit(m, arrays, lr=0.0, epochs=1, batch_size=8)  # batches of 8, 8 and 5
    assert history["loss"][0] == pytest.approx(expected, rel=1e-5)
    plain = float(np.mean((train.predict(m, arrays[0]) - arrays[1]) ** 2))
    assert expected == pytest.approx(plain, rel=1e-5)


def test_loader_and_several_inputs():
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.line = nn.Linear(2, 1)

        def forward(self, a, b):
            return self.line(a) + b

    x, y = line()
    b = np.ones_like(y)
    hl.manual_seed(0)
    m = Sum()
    loader = data.DataLoader(data.TensorDataset(x, b, y), batch_size=8, shuffle=True, seed=0)
    fit(m, loader, epochs=40)
    np.testing.assert_allclose(weights(m), [2, -1, 0], atol=1e-3)
    np.testing.assert_allclose(train.predict(m, (x, b)), y, atol=1e-2)


def test_accumulated_batches_are_one_large_batch():
    x, y = line(20)
    together, apart = model(), model()
    fit(together, (x, y), epochs=1, batch_size=20)
    history = fit(apart, (x, y), epochs=1, batch_size=6, accumulate=4)  # 6, 6, 6 and 2 rows
    np.testing.assert_allclose(weights(apart), weights(together), rtol=1e-5, atol=1e-6)
    assert len(history) == 1


def test_clip_norm_bounds_the_step():
    m = model()
    before = weights(m)
    history = fit(m, lr=1.0, epochs=1, batch_size=40, clip_norm=0.01)
    assert np.linalg.norm(weights(m) - before) == pytest.approx(0.01, rel=1e-3)
    assert history["grad_norm"][0] > 1.0


def test_schedules_step_when_they_should():
    m = model()
    opt = optim.SGD(m.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.StepLR(opt, step_size=1, gamma=0.1)
    history = fit(m, optimizer=opt, scheduler=schedule, epochs=3)
    np.testing.assert_allclose(history["lr"], [0.1, 0.01, 0.001])

    opt = optim.SGD(m.parameters(), lr=0.1)
    rates: list[float] = []
    fit(
        m,
        optimizer=opt,
        scheduler=optim.lr_scheduler.OneCycleLR(opt, max_lr=0.1, total_steps=11),
        callbacks=[
            train.LambdaCallback(on_step_end=lambda r: rates.append(opt.param_groups[0]["lr"]))
        ],
        epochs=2,
    )
    assert len(set(rates)) == 10  # another rate after each of two times five steps

    opt = optim.SGD(m.parameters(), lr=0.1)
    plateau = optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.5, patience=0)
    fit(
        m,
        optimizer=opt,
        scheduler=plateau,
        loss=lambda out, y: F.mse_loss(out, out.detach()),  # 0, and stays so
        validation=line(8),
        epochs=3,
    )
    assert opt.param_groups[0]["lr"] == pytest.approx(0.1 * 0.5**2)  # after the second and third


@pytest.mark.parametrize(
    ("name", "last"), [("cosine", 0.1 * (1 + math.cos(math.pi * 3 / 4)) / 2), ("linear", 0.025)]
)
def test_schedules_by_name_go_to_zero(name, last):
    m = model()
    opt = optim.SGD(m.parameters(), lr=0.1)
    history = fit(m, optimizer=opt, scheduler=name, epochs=4)
    assert history["lr"][0] == pytest.approx(0.1)
    assert history["lr"][-1] == pytest.approx(last)
    assert opt.param_groups[0]["lr"] == pytest.approx(0, abs=1e-9)


def test_one_cycle_by_name_fits_the_run():
    m = model()
    opt = optim.SGD(m.parameters(), lr=0.1, momentum=0.9)
    rates: list[float] = []
    hook = train.LambdaCallback(on_step_end=lambda r: rates.append(opt.param_groups[0]["lr"]))
    fit(m, optimizer=opt, scheduler="one_cycle", epochs=4, accumulate=2, callbacks=[hook])
    assert len(rates) == 12
    assert max(rates) == pytest.approx(0.1, rel=0.05)
    assert rates[-1] < 1e-4


def test_unknown_schedules_are_refused():
    with pytest.raises(ValueError, match="no schedule 'cosin', expected one of cosine, linear"):
        fit(model(), scheduler="cosin")
    with pytest.raises(TypeError, match=r"scheduler expects a schedule .* got float"):
        fit(model(), scheduler=0.1)
    batches = (batch for batch in [line(8)])
    with pytest.raises(ValueError, match="'one_cycle' expects data that tell their length"):
        fit(model(), batches, scheduler="one_cycle")


def test_clip_value_bounds_each_element():
    m = model()
    before = weights(m)
    fit(m, lr=1.0, epochs=1, batch_size=40, clip_value=1e-3)
    np.testing.assert_allclose(np.abs(weights(m) - before), 1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="clip_value expects more than 0, got -1"):
        fit(m, clip_value=-1)


def test_gradients_can_be_changed_before_the_step():
    m = model()
    before = weights(m)

    def still(run) -> None:
        for p in run.model.parameters():
            p.grad.zero_()

    fit(m, callbacks=[train.LambdaCallback(on_backward_end=still)])
    np.testing.assert_array_equal(weights(m), before)


def test_ema_ends_with_the_averaged_weights():
    followed: list[np.ndarray] = []
    m = model()
    average = weights(m)
    history = fit(
        m,
        ema=0.5,
        validation=line(8, seed=1),
        callbacks=[train.LambdaCallback(on_step_end=lambda r: followed.append(weights(m)))],
    )
    for w in followed:
        average = 0.5 * average + 0.5 * w
    np.testing.assert_allclose(weights(m), average, rtol=1e-5)
    assert not np.allclose(weights(m), followed[-1])
    final = train.evaluate(m, line(8, seed=1), loss=F.mse_loss)["loss"]
    assert history["val_loss"][-1] == pytest.approx(final, rel=1e-5)


def test_validation_and_predict_run_in_evaluation_mode():
    hl.manual_seed(0)
    m = nn.Sequential(nn.Linear(2, 64), nn.Dropout(0.9), nn.Linear(64, 1))
    x, y = line(16)
    np.testing.assert_array_equal(train.predict(m, x), train.predict(m, x))
    assert m.training
    found = train.evaluate(m, (x, y), loss=F.mse_loss)
    assert found == train.evaluate(m, (x, y), loss=F.mse_loss)
    m.eval()
    fit(m, (x, y), epochs=1)
    assert not m.training  # as it was before


def test_predict_does_not_depend_on_the_batch_size():
    x, _ = line(23)
    m = model()
    np.testing.assert_allclose(
        train.predict(m, x, batch_size=5), train.predict(m, x), rtol=1e-6, atol=1e-6
    )
    assert train.predict(m, x).shape == (23, 1)


# metrics


def test_metrics_by_name_function_and_dict():
    x, y = blobs()
    hl.manual_seed(0)
    m = nn.Linear(2, 3)

    def wrong(true, scores):
        return np.sum(true != scores.argmax(1))

    history = fit(
        m, (x, y), loss=F.cross_entropy, metrics=["accuracy", wrong], validation=(x, y), epochs=10
    )
    assert history["val_accuracy"][-1] > 0.95
    assert history["val_wrong"][-1] == round(60 * (1 - history["val_accuracy"][-1]))
    found = train.evaluate(m, (x, y), metrics={"share": train.metrics.accuracy})
    assert found == {"share": history["val_accuracy"][-1]}


def test_metrics_see_the_whole_epoch():
    x, y = line(20)
    m = model()
    rows: list[int] = []
    fit(m, (x, y), metrics={"rows": lambda true, out: rows.append(len(true)) or 0.0}, epochs=1)
    assert rows == [20]


# callbacks


def test_callbacks_come_in_order():
    seen: list[str] = []
    names = ("on_train_begin", "on_epoch_begin", "on_step_end", "on_epoch_end", "on_train_end")
    hook = train.LambdaCallback(**{n: (lambda r, n=n: seen.append(n[3:])) for n in names})
    fit(model(), epochs=2, batch_size=40, callbacks=[hook])
    epoch = ["epoch_begin", "step_end", "epoch_end"]
    assert seen == ["train_begin", *epoch, *epoch, "train_end"]


def test_stop_ends_training_after_the_step():
    steps: list[int] = []

    def stop(run):
        steps.append(run.step)
        if run.step == 3:
            run.stop("enough")

    history = fit(model(), epochs=5, callbacks=[train.LambdaCallback(on_step_end=stop)])
    assert steps == [1, 2, 3]
    assert history.stopped == "enough"
    assert len(history) == 1


def test_early_stopping_restores_the_best_weights():
    m = model()
    kept: list[np.ndarray] = []
    # A rate that is too high: the loss rises from the first epoch on.
    stopping = train.EarlyStopping("val_loss", patience=3)
    history = fit(
        m,
        lr=1.3,
        epochs=30,
        validation=line(8),
        callbacks=[train.LambdaCallback(on_epoch_end=lambda r: kept.append(weights(m))), stopping],
    )
    best, value = history.best("val_loss")
    assert stopping.best_epoch == best
    assert stopping.best == value
    assert len(history) == best + 1 + 3
    assert "val_loss" in history.stopped
    np.testing.assert_array_equal(weights(m), kept[best])
    assert not np.array_equal(kept[-1], kept[best])


def test_early_stopping_takes_an_accuracy_upwards():
    x, y = blobs()
    hl.manual_seed(0)
    m = nn.Linear(2, 3)
    stopping = train.EarlyStopping("val_accuracy", patience=4, restore_best_weights=False)
    history = fit(
        m,
        (x, y),
        lr=0.02,
        loss=F.cross_entropy,
        metrics="accuracy",
        validation=(x, y),
        epochs=60,
        callbacks=[stopping],
    )
    assert stopping.best == max(history["val_accuracy"]) > history["val_accuracy"][0]


def test_perplexity_and_bits_by_name_are_those_of_the_loss():
    x, y = blobs()
    measured = train.evaluate(
        nn.Linear(2, 3),
        (x, y),
        loss=F.cross_entropy,
        metrics=["perplexity", "bits_per_character", "accuracy"],
    )
    assert measured["perplexity"] == pytest.approx(np.exp(measured["loss"]), rel=1e-5)
    assert measured["bits_per_character"] == pytest.approx(measured["loss"] / np.log(2), rel=1e-5)


@pytest.mark.parametrize("name", NAMED)
def test_every_metric_that_has_a_name_gives_a_number(name):
    rng = np.random.default_rng(0)
    if name in ("r2_score", "mae", "mse", "rmse"):
        true = rng.standard_normal((12, 1)).astype(np.float32)
        said = true + 1
    else:
        true = np.arange(12) % 2
        classes = 6 if name == "top_k_accuracy" else 2
        said = rng.dirichlet(np.ones(classes), 12).astype(np.float32)
        said = said[:, 1] if name == "roc_auc" else said
    measure = named_metrics(name, "fit")[name]
    assert np.isfinite(measure(true, said))


def test_checkpoint_saves_what_improves(tmp_path):
    m = model()
    checkpoint = train.Checkpoint(
        tmp_path / "new" / "{epoch:02d}-{val_loss:.2f}.safetensors", monitor="val_loss"
    )
    kept: list[np.ndarray] = []
    history = fit(
        m,
        lr=1.3,
        epochs=4,
        validation=line(8),
        callbacks=[
            train.LambdaCallback(on_epoch_end=lambda r: kept.append(weights(m))),
            checkpoint,
        ],
    )
    losses = history["val_loss"]
    records = [i for i in range(4) if losses[i] == min(losses[: i + 1])]
    assert len(list((tmp_path / "new").iterdir())) == len(records)
    best = records[-1]
    assert checkpoint.saved == str(
        tmp_path / "new" / f"{best + 1:02d}-{losses[best]:.2f}.safetensors"
    )
    other = model(seed=5)
    other.load_state_dict(hl.io.load(checkpoint.saved))
    np.testing.assert_array_equal(weights(other), kept[best])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_loss_that_is_no_number_ends_the_run_before_it_spoils_the_weights(bad):
    x, y = line()
    y[20:] = bad  # the third batch of an epoch, in its order
    m = model()
    opt = optim.SGD(m.parameters(), lr=0.1)
    batches = [(x[i : i + 8], y[i : i + 8]) for i in range(0, 40, 8)]
    stop = train.EarlyStopping(patience=1, restore_best_weights=False)
    text = r"fit: the loss is (nan|inf) at step 3 \(epoch 1\): training has stopped"
    with pytest.warns(RuntimeWarning, match=text) as caught:
        history = fit(
            m, batches, optimizer=opt, validation=(x, y), metrics="mse", callbacks=[stop], epochs=5
        )
    assert caught[0].filename == __file__
    assert "at step 3 (epoch 1)" in history.stopped
    assert len(history) == 1
    assert not math.isfinite(history["loss"][0])
    assert np.isfinite(weights(m)).all()
    assert all(p.grad is None for p in m.parameters())


def test_terminate_on_nan_expects_it():
    x, y = line()
    history = fit(model(), (x, np.full_like(y, np.nan)), callbacks=[train.TerminateOnNaN()])
    assert "step 1" in history.stopped
    assert math.isnan(history["loss"][0])


# progress


def test_progress_is_plain_lines_where_there_is_no_terminal(capsys, monkeypatch):
    fit(model(), epochs=3, progress=True)
    out, text = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"3 epochs in .* \| loss \S+ \| \S+ samples/s\n", text)
    monkeypatch.setattr(train.progress, "_SECONDS_BETWEEN_LINES", 0.0)
    fit(model(), epochs=3, batch_size=20, progress="lines", validation=line(8))
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 * (2 + 1) + 1  # two steps and the validation of each epoch, the result
    assert all(re.match(r"lines (epoch [123]/3|3 epochs in)", text) for text in lines)
    assert all(text.isprintable() for text in lines)
    fit(model(), epochs=3, progress=train.ProgressBar(keep=False))
    fit(model(), epochs=3, progress=False)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("plain", [True, False])
def test_progress_shows_loss_rate_and_time_left(plain, monkeypatch):
    monkeypatch.setenv("COLUMNS", "150")
    monkeypatch.setattr(train.progress, "_SECONDS_BETWEEN_DRAWS", 0.0)
    if not plain:
        pytest.importorskip("rich")
    stream = Terminal()
    bar = train.ProgressBar("lines", stream=stream, plain=plain)
    fit(model(), epochs=3, validation=line(8), progress=bar)
    text = stream.getvalue()
    for expected in ("lines epoch 2/3", "loss", "val_loss", "samples/s", "left", "3 epochs in"):
        assert expected in text


@pytest.mark.parametrize("plain", [True, False])
def test_progress_leaves_a_narrow_terminal_to_the_figures(plain, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(train.progress, "_SECONDS_BETWEEN_DRAWS", 0.0)
    if not plain:
        pytest.importorskip("rich")
    stream = Terminal()
    bar = train.ProgressBar("feed_forward", stream=stream, plain=plain)
    fit(model(), epochs=12, validation=line(8), progress=bar)
    lines = [text for text in stream.getvalue().split("\r") if "epoch 10/12" in text]
    assert lines
    for text in lines:
        assert re.search(r"val_loss\D*\d\S* ", re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)), text


def test_progress_can_be_erased_and_never_wraps(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(train.progress, "_SECONDS_BETWEEN_DRAWS", 0.0)
    stream = Terminal()
    fit(model(), epochs=2, progress=train.ProgressBar(stream=stream, keep=False, plain=True))
    assert stream.getvalue().endswith("\r\x1b[2K")
    assert max(len(part) for part in stream.getvalue().split("\r\x1b[2K")) < 40


# loggers


def test_csv_holds_what_the_history_does(tmp_path):
    path = tmp_path / "new" / "log.csv"
    history = fit(model(), validation=line(8), epochs=3, callbacks=[train.CSVLogger(path)])
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    for row, logs in zip(rows, history):
        assert {name: float(row[name]) for name in logs} == logs


def test_csv_of_a_run_that_goes_on_is_whole(tmp_path):
    path, run = tmp_path / "log.csv", tmp_path / "run.safetensors"

    def trained(epochs: int) -> train.History:
        log = [train.CSVLogger(path)]
        return fit(model(), epochs=epochs, callbacks=log, checkpoint=run)

    trained(2)
    with path.open("a") as file:
        file.write("3,of an epoch that was not saved\n")
    assert len(trained(4)) == 4
    assert [text.split(",")[0] for text in path.read_text().split()] == ["epoch", *"1234"]


def test_tensorboard_reads_the_scalars(tmp_path):
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    hook = train.TensorBoard(tmp_path / "run", every=2)
    history = fit(model(), validation=line(8), epochs=3, callbacks=[hook])
    found = accumulator(str(tmp_path / "run"))
    found.Reload()
    assert set(found.Tags()["scalars"]) == {
        *("loss/training", "loss/validation", "loss/step", "lr", "seconds")
    }
    for tag, name in (("loss/training", "loss"), ("loss/validation", "val_loss")):
        scalars = found.Scalars(tag)
        assert [s.step for s in scalars] == [5, 10, 15]
        np.testing.assert_allclose([s.value for s in scalars], history[name], rtol=1e-6)
    assert [s.step for s in found.Scalars("loss/step")] == [2, 4, 6, 8, 10, 12, 14]


def test_tensorboard_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(ImportError, match=r'pip install "handloom\[tensorboard\]"'):
        train.TensorBoard("runs")
    with pytest.raises(ValueError, match="every expects at least 1"):
        train.TensorBoard("runs", every=0)


def test_history_draws_its_curves(tmp_path):
    pytest.importorskip("matplotlib")
    history = fit(model(), epochs=3, validation=line(8), clip_norm=1.0, metrics="mae")
    history.plot(tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match="no epoch"):
        train.History().plot(tmp_path / "none.png")


# what the loop costs


def test_the_loop_calls_hardly_more_than_a_bare_one():
    """Time is too noisy to be promised here; what `fit` does beside the model can be counted."""
    x, y = line(8 * 50)

    def calls(run) -> int:
        count = 0

        def counted(frame, event, argument) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        sys.setprofile(counted)
        try:
            run()
        finally:
            sys.setprofile(None)
        return count

    def bare() -> None:
        m = model()
        opt = optim.SGD(m.parameters(), lr=0.1)
        for _ in range(4):
            for xb, yb in loader:
                loss = F.mse_loss(m(xb), yb)
                loss.backward()
                opt.step()
                opt.zero_grad()

    loader = data.DataLoader(data.TensorDataset(x, y), 8, shuffle=True, seed=0)
    bare()
    fit(model(), loader, progress=False)
    steps = 4 * len(loader)
    beside = calls(lambda: fit(model(), loader, epochs=4, progress=False)) - calls(bare)
    assert beside / steps < 8


# history
@pytest.mark.slow
def test_the_loop_costs_little_beside_a_bare_one():
    """Three hundredths of the step of 64-64-10 on a quiet machine; a busy one gets some room."""
    threads = hl.get_num_threads()
    hl.set_num_threads(1)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((32 * 400, 64)).astype(np.float32)
    y = rng.integers(0, 10, len(x))

    def seconds(run) -> float:
        hl.manual_seed(0)
        m = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        opt = optim.Adam(m.parameters(), lr=1e-4)
        loader = data.DataLoader(data.TensorDataset(x, y), 32, shuffle=True, seed=0)
        begin = time.thread_time()
        run(m, opt, loader)
        return time.thread_time() - begin

    def bare(m, opt, loader) -> None:
        for xb, yb in loader:
            loss = F.cross_entropy(m(xb), yb)
            loss.backward()
            opt.step()
            opt.zero_grad()

    def fitted(m, opt, loader) -> None:
        train.fit(m, loader, loss=F.cross_entropy, optimizer=opt, epochs=1, progress=False)

    ratios: list[float] = []
    try:
        while len(ratios) < 8 and not any(ratio < 1.05 for ratio in ratios):
            times = [(seconds(bare), seconds(fitted)) for _ in range(25)]
            without, with_it = (min(column) for column in zip(*times))
            ratios.append(with_it / without)
    finally:
        hl.set_num_threads(threads)
    assert min(ratios) < 1.05, ratios


# history


def test_history_finds_the_best_epoch():
    history = train.History()
    history.epochs = [
        {"loss": 3.0, "accuracy": 0.1},
        {"loss": math.nan, "accuracy": 0.9},
        {"loss": 2.0, "accuracy": 0.5},
    ]
    assert history.best("loss") == (2, 2.0)
    assert history.best("accuracy") == (1, 0.9)
    assert history.best("accuracy", "min") == (0, 0.1)
    assert history.names == ("loss", "accuracy")
    with pytest.raises(KeyError, match="no figure 'val_loss', expected one of loss, accuracy"):
        history["val_loss"]
    with pytest.raises(ValueError, match="mode expects"):
        history.best("loss", "down")


# diagnosis


def test_diagnose_reports_norms_and_dead_units_and_changes_nothing():
    hl.manual_seed(0)
    m = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    state = {name: np.array(w) for name, w in m.state_dict().items()}
    state["0.weight"][:2] = 0
    state["0.bias"][:] = [-1, -1, 5, 5]  # two units never fire, two always
    state["0.weight"][2:] = 0.01
    m.load_state_dict(state)
    x, y = line(16)
    report = train.diagnose(m, (x, y), F.mse_loss)
    assert report.dead == {"1": 0.5}
    assert report.names == ("0.weight", "2.weight")
    assert report.finite
    assert all(p.grad is None for p in m.parameters())

    loss = F.mse_loss(m(hl.from_numpy(x)), hl.from_numpy(y))
    loss.backward()
    norms = [np.linalg.norm(np.asarray(p.grad)) for p in m.parameters() if p.ndim == 2]
    np.testing.assert_allclose(report.norms, norms, rtol=1e-5)
    assert report.first_to_last == pytest.approx(norms[0] / norms[1], rel=1e-5)
    assert re.search(r"\n1 +ReLU .* 50% +50% +0%\n", str(report))


def test_diagnose_sees_what_is_not_finite():
    x, y = line(4)
    x[0, 0] = np.inf
    assert not train.diagnose(model(), (x, y), F.mse_loss).finite


# errors


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"epochs": 0}, ValueError, "fit: epochs expects at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "fit: epochs expects an integer, got float"),
        ({"accumulate": 0}, ValueError, "fit: accumulate expects at least 1"),
        ({"clip_norm": 0.0}, ValueError, "fit: clip_norm expects more than 0"),
        ({"ema": 1.5}, ValueError, "fit: ema expects a decay between 0 and 1"),
        ({"loss": "mse"}, TypeError, "fit: loss expects a function, got str"),
        ({"metrics": "acuracy"}, ValueError, "no metric 'acuracy', expected one of accuracy"),
        ({"metrics": "bleu"}, ValueError, "no metric 'bleu', expected one of accuracy"),
        ({"metrics": [3]}, TypeError, "a metric expects a name or a function, got int"),
        ({"callbacks": [print]}, TypeError, "wrap a function in LambdaCallback"),
        ({"arrays": np.ones((3, 2), np.float32)}, TypeError, "a batch expects"),
        ({"arrays": (np.ones((3, 2)),)}, ValueError, r"expects arrays \(x, ..., y\)"),
        ({"arrays": 3}, TypeError, "data expects arrays"),
        ({"arrays": []}, ValueError, "no batch"),
        (
            {"callbacks": [train.EarlyStopping()]},
            ValueError,
            r"no figure 'val_loss' \(fit got no validation=\), expected one of loss",
        ),
        ({"callbacks": [train.Checkpoint("{nope}.safetensors")]}, ValueError, "path names 'nope'"),
    ],
)
def test_bad_arguments_name_what_is_wrong(options, error, text):
    with pytest.raises(error, match=text):
        fit(model(), **options)


def test_other_bad_arguments():
    with pytest.raises(ValueError, match="evaluate: expected a loss, metrics or both"):
        train.evaluate(model(), line())
    with pytest.raises(ValueError, match="predict: x has no row"):
        train.predict(model(), np.empty((0, 2), np.float32))
    with pytest.raises(ValueError, match="patience expects at least 1"):
        train.EarlyStopping(patience=0)
    with pytest.raises(TypeError, match="on_step_end expects a function, got int"):
        train.LambdaCallback(on_step_end=3)


class LastStep(nn.Module):
    """The state in which a network ends."""

    def __init__(self, cell):
        super().__init__()
        self.cell = cell

    def forward(self, x, lengths=None):
        return self.cell(x, None, lengths)[0][:, -1]


def test_gradient_by_step_shrinks_as_the_weights_say():
    """h = relu(x + w h) with x >= 0: the gradient of step t is w^(T - 1 - t)."""
    cell = nn.RNN(1, 1, nonlinearity="relu", bias=False)
    for p, value in zip(cell.parameters(), (1.0, 0.5)):
        nn.init.constant_(p, value)
    x = np.ones((1, 6, 1), np.float32)
    norms = train.gradient_by_step(
        LastStep(cell), (x, np.zeros((1, 1), np.float32)), lambda y, t: (y - t).sum()
    )
    np.testing.assert_allclose(norms, 0.5 ** np.arange(5, -1, -1), rtol=1e-6)
    assert all(p.grad is None for p in cell.parameters())


def test_gradient_by_step_takes_lengths_and_wants_sequences():
    model = LastStep(nn.GRU(2, 3))
    x = np.ones((2, 5, 2), np.float32)
    batch = (x, np.array([5, 2]), np.zeros((2, 3), np.float32))
    assert (train.gradient_by_step(model, batch, F.mse_loss) > 0).all()
    with pytest.raises(
        ValueError, match=r"gradient_by_step: x has shape \(2, 5\), expected \(N, T"
    ):
        train.gradient_by_step(model, (x[..., 0], x), F.mse_loss)
