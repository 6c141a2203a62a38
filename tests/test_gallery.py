"""The gallery's tasks learn, keep their promises, repeat themselves, and fail where they should."""

from __future__ import annotations

import json
import math
import shutil
import subprocess

import numpy as np
import pytest

import handloom as hl
from handloom import gallery
from handloom.gallery import (
    Context,
    Task,
    bidirectional,
    char_lm,
    clipping,
    cnn_1d,
    lstm,
    masked_lm,
    memory,
    perceptron,
    prose,
    report,
    rnn,
    run_task,
    sequence,
)

PNG = b"\x89PNG\r\n\x1a\n"


def task(run) -> Task:
    return Task("made_up", ("N1",), "A task of this test", run)


@pytest.mark.parametrize("name", gallery.names())
def test_quick_run_learns(name):
    result = run_task(gallery.get(name), quick=True)
    assert result.problems == []
    assert result.checks
    assert result.passed is None
    assert not result.failed
    assert all(math.isfinite(check.value) for check in result.checks)


@pytest.mark.parametrize("name", ["perceptron", "feed_forward", "rnn", "gru", "clipping"])
def test_whole_run_keeps_its_promises(name):
    result = run_task(gallery.get(name))
    assert [(c.metric, c.value) for c in result.checks if not c.passed] == []
    assert result.passed


SLOW = (
    *("mlp", "cnn", "residual", "cnn_1d", "lstm", "bidirectional", "memory"),
    *("depth", "descent", "optimizers", "controls"),
    *("rbm", "dbn", "autoencoder", "denoising", "sparse", "vae", "conv_autoencoder", "contractive"),
    *("anomaly", "gan", "conditional_gan", "dcgan", "wgan", "lsgan"),
    *("cyclegan", "progressive", "stylegan"),
    *("vit", "char_lm", "masked_lm", "phonemes"),
    *("fcn", "unet", "deeplab", "transfer", "yolo", "ssd", "rcnn", "faster_rcnn", "mask_rcnn"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_slow_run_keeps_its_promises(name):
    result = run_task(gallery.get(name))
    assert [(c.metric, c.value) for c in result.checks if not c.passed] == []
    assert result.passed


def test_a_run_repeats_itself():
    def values(seed: int) -> list[float]:
        result = run_task(gallery.get("feed_forward"), quick=True, seeds=[seed])
        return [check.value for check in result.checks]

    assert values(3) == values(3)
    assert values(3) != values(4)


def test_a_run_does_not_depend_on_the_threads():
    threads = hl.get_num_threads()
    values = []
    try:
        for n in (1, 2):
            hl.set_num_threads(n)
            values.append([c.value for c in run_task(gallery.get("mlp"), quick=True).checks])
    finally:
        hl.set_num_threads(threads)
    assert values[0] == values[1]


def test_names_and_titles():
    assert [t.name for t in gallery.tasks()] == list(gallery.names())
    assert gallery.get("Feed-Forward").name == "feed_forward"
    assert all(t.rows and t.title for t in gallery.tasks())
    with pytest.raises(ValueError, match="no task 'nope', expected one of perceptron, "):
        gallery.get("nope")


# the perceptron


def test_rosenblatts_rule_corrects_only_mistakes():
    unit = perceptron.Perceptron(2)
    x = np.float32([[1, 2], [-1, -3]])
    # At 0 the step is 1: the first row, of class 0, is a mistake, the second then is none.
    assert unit.learn(x, np.float32([0, 1]), np.arange(2)) == 1
    np.testing.assert_array_equal(unit.w, [[-1, -2]])
    np.testing.assert_array_equal(unit.b, [-1])
    np.testing.assert_array_equal(unit(x), [0, 1])


def test_the_rule_separates_what_a_line_separates():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (200, 2)).astype(np.float32)
    x = x[np.abs(x @ np.float32([1, -2]) + 0.3) > 0.1]
    target = (x @ np.float32([1, -2]) + 0.3 > 0).astype(np.float32)
    unit = perceptron.Perceptron(2)
    errors = unit.train(x, target, 100, seed=0)
    assert errors[-1] == 0
    np.testing.assert_array_equal(unit(x), target)


def test_the_rule_cannot_do_exclusive_or():
    x = np.float32([[0, 0], [0, 1], [1, 0], [1, 1]])
    target = np.float32([0, 1, 1, 0])
    for seed in range(5):
        unit = perceptron.Perceptron(2)
        errors = unit.train(x, target, 50, seed)
        assert len(errors) == 50
        assert min(errors) >= 1
        assert np.sum(unit(x) != target) == min(errors)  # the best weights are kept


# the 1-D convolutional network


def test_the_evidence_of_all_hours_is_what_decides():
    hl.manual_seed(0)
    model = cnn_1d.build()
    x = np.random.default_rng(0).standard_normal((5, 24, 1)).astype(np.float32)
    spoken = cnn_1d.evidence(model, x)
    assert spoken.shape == (5, 24)
    logits = model(x).numpy()
    bias = list(model.parameters())[-1].numpy()
    np.testing.assert_allclose(
        spoken.mean(axis=1) + bias[1] - bias[0], logits[:, 1] - logits[:, 0], atol=1e-5
    )


def test_the_nearest_training_row_gives_its_label():
    x = np.float32([[[0], [0]], [[1], [1]], [[5], [5]]])
    near = np.float32([[[4], [4.5]], [[0.4], [0.4]]])
    np.testing.assert_array_equal(cnn_1d.nearest(x, np.array([7, 8, 9]), near), [9, 7])


# recurrent networks


@pytest.mark.parametrize("cell", [hl.nn.RNN, hl.nn.LSTM, hl.nn.GRU])
@pytest.mark.parametrize("both", [False, True])
def test_a_reader_answers_from_the_state_at_the_end_of_each_series(cell, both):
    hl.manual_seed(0)
    model = sequence.Reader(cell(3, 4, num_layers=2, bidirectional=both), 5)
    x = np.random.default_rng(0).standard_normal((4, 7, 3)).astype(np.float32)
    lengths = np.array([7, 2, 5, 1])
    y = model(x, lengths).numpy()
    assert y.shape == (4, 5)
    for i, n in enumerate(lengths):
        np.testing.assert_allclose(model(x[i : i + 1, :n]).numpy()[0], y[i], atol=1e-6)


def test_vowels_are_padded_with_zeros_and_standardised():
    (x, lengths, y), (x_test, _, _), names = sequence.vowels()
    assert (x.shape, x_test.shape[0], len(names)) == ((270, 29, 12), 370, 9)
    inside = np.arange(29) < lengths[:, None]
    assert (x[~inside] == 0).all()
    np.testing.assert_allclose(x[inside].mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(x[inside].std(axis=0), 1, atol=1e-5)
    assert np.bincount(y).tolist() == [30] * 9


def test_autoregression_finds_a_recurrence_and_does_not_look_ahead():
    series = np.zeros(60)
    series[:2] = 1, 3
    for i in range(2, 60):
        series[i] = 1.5 * series[i - 1] - 0.9 * series[i - 2] + 2
    forecast = rnn.autoregression(series, 2, 40)
    assert np.isnan(forecast[:2]).all()
    np.testing.assert_allclose(forecast[2:], series[2:], atol=1e-8)
    changed = series.copy()
    changed[50] = 1000
    np.testing.assert_array_equal(rnn.autoregression(changed, 2, 40)[:51], forecast[:51])


def test_n_gram_bits_by_hand():
    known, text = np.array([0, 1, 0, 1, 0]), np.array([0, 1, 1])
    # Of one letter: p = (n + 2 · 1/2) / (5 + 2); of two, h = 0: (2 + 1 p(1)) / (2 + 1); h = 1:
    # (0 + 1 p(1)) / (2 + 1).
    p0, p1 = 4 / 7, 3 / 7
    one = -np.mean(np.log2([p0, p1, p1]))
    two = -np.mean(np.log2([(2 + p1) / 3, p1 / 3]))
    assert prose.n_gram_bits(known, text, 2, 1) == pytest.approx(one)
    assert prose.n_gram_bits(known, text, 2, 2) == pytest.approx(two)


def test_n_gram_probabilities_sum_to_one():
    rng = np.random.default_rng(0)
    known, begin = rng.integers(0, 3, 200), [2, 0]
    # The probability of each third letter alone, from the bits of one text of three.
    p = [2 ** -prose.n_gram_bits(known, np.array([*begin, c]), 3, 3) for c in range(3)]
    assert sum(p) == pytest.approx(1)


def test_bits_of_a_text_do_not_depend_on_how_it_is_cut():
    hl.manual_seed(0)
    model = lstm.Writer(5, hidden=8)
    text = np.random.default_rng(0).integers(0, 5, 50)
    whole = lstm.bits(model, text)
    assert lstm.bits(model, text, steps=7) == pytest.approx(whole, rel=1e-5)
    assert 1.5 < whole < 4


def test_a_writer_repeats_itself_and_begins_as_asked():
    hl.manual_seed(0)
    model = lstm.Writer(3, hidden=8)
    texts = [lstm.write(model, "abc", "ab", 20, seed) for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    assert all(len(text) == 22 and text.startswith("ab") for text in texts)


def test_held_out_topics_leave_no_paragraph_behind():
    topics = [f"own {i}\n\nshared {i % 3}\n\nrest {i}" for i in range(20)]
    kept, held_out = prose.split_topics(topics)
    assert len(held_out) == 2
    known = {part for topic in held_out for part in topic.split("\n\n")}
    assert not known & {part for topic in kept for part in topic.split("\n\n")}


def test_windows_know_each_character():
    source = "value = f(1)  # one\n" * 30
    alphabet = "".join(sorted(set(source)))
    x, y = bidirectional.windows([source, "short"], alphabet)
    assert x.shape == y.shape == (len(source) // bidirectional.WINDOW, bidirectional.WINDOW)
    np.testing.assert_array_equal(
        np.unique(x[y == bidirectional.CALL]), [sorted(set(source)).index("f")]
    )


def test_the_copy_task_asks_for_the_first_symbol():
    x, y = memory.copy_task(np.random.default_rng(0), 20, 6)
    assert x.shape == (20, 7, memory.SYMBOLS)
    np.testing.assert_array_equal(x.sum(axis=2), 1)
    np.testing.assert_array_equal(x[:, 0].argmax(axis=1), y)
    assert len(np.unique(x[:, 1].argmax(axis=1))) > 3


def test_training_that_explodes_ends_there():
    hl.manual_seed(0)
    model = clipping.build(2, 3)
    rng = np.random.default_rng(0)
    x = 1e20 * rng.standard_normal((32, 30, 2)).astype(np.float32)
    rows = x, np.full(32, 30), rng.integers(0, 3, 32)
    losses, norms = clipping.train(model, rows, math.inf, 5, 0)
    assert not math.isfinite(losses[-1])
    assert len(norms) == len(losses) - 1 < 9


# language


def test_counts_spread_what_they_have_not_seen():
    # Witten and Bell by hand, for the characters 0 and 1 of three: of "0 0 1", and then "0 1 2".
    learnt, held_out = np.array([0, 0, 1]), np.array([0, 1, 2])
    one = [(2 + 2 / 3) / 5, (1 + 2 / 3) / 5, (0 + 2 / 3) / 5]
    found = prose.n_gram_bits(learnt, held_out, 3, 1)
    assert found == pytest.approx(-np.log2(one).mean())
    # After 0 came 0 and 1, once each; after 1 nothing ever came, so the shorter run decides.
    two = [(1 + 2 * one[1]) / 4, one[2]]
    found = prose.n_gram_bits(learnt, held_out, 3, 2)
    assert found == pytest.approx(-np.log2(two).mean())


def test_windows_are_followed_by_what_comes_next():
    x, y = char_lm.windows(np.arange(200), 32)
    assert x.shape == y.shape == (5, 64)
    np.testing.assert_array_equal(x + 1, y)
    np.testing.assert_array_equal(x[:, 0], 32 * np.arange(5))


def test_masks_hide_what_they_should():
    rows = np.random.default_rng(0).integers(4, 60, (200, 64))
    seen, target = masked_lm.masked(rows, 60, np.random.default_rng(1))
    hidden = target != masked_lm.IGNORED
    assert abs(hidden.mean() - 0.15) < 0.01
    np.testing.assert_array_equal(target[hidden], rows[hidden])
    np.testing.assert_array_equal(seen[~hidden], rows[~hidden])
    assert abs((seen[hidden] == 60).mean() - 0.8) < 0.03
    assert abs((seen[hidden] == rows[hidden]).mean() - 0.1) < 0.03


# promises and results


def test_the_worst_seed_counts():
    seen: list[int] = []

    def run(context: Context) -> None:
        seen.append(context.seed)
        context.check("high", [0.9, 0.7, 0.8][context.seed], at_least=0.75, baseline=context.seed)
        context.check("low", [1, 3, 2][context.seed], at_most=3)

    result = run_task(task(run), seeds=range(3))
    high, low = result.checks
    assert seen == [0, 1, 2] == list(result.seeds)
    assert (high.value, high.values, high.baseline, high.passed) == (0.7, (0.9, 0.7, 0.8), 1, False)
    assert (low.value, low.passed) == (3, True)
    assert result.passed is False
    assert result.failed


@pytest.mark.parametrize("losses", [[1.0, 1.0], [1.0, 2.0], [1.0, math.nan], [math.inf, 1.0]])
def test_a_loss_that_does_not_fall_fails_even_a_quick_run(losses):
    def run(context: Context) -> None:
        context.check("figure", 1.0, at_least=0.0)
        context.losses("network", losses)

    for quick in (True, False):
        result = run_task(task(run), quick=quick)
        assert result.failed
        assert "network" in result.problems[0]


def test_a_figure_that_is_not_a_number_is_missed():
    def run(context: Context) -> None:
        context.check("figure", math.nan if context.seed else 1.0, at_most=2.0)

    result = run_task(task(run), seeds=[0, 1])
    assert result.passed is False
    (entry,) = report.as_json([result])
    assert entry["value"] is None
    json.dumps(entry, allow_nan=False)


def test_another_number_of_epochs_is_not_judged():
    def run(context: Context) -> None:
        context.check("epochs", context.epochs(40, 2), at_least=40)

    assert run_task(task(run)).passed
    short = run_task(task(run), epochs=7)
    assert short.checks[0].value == 7
    assert short.passed is None
    assert not short.failed


def test_a_check_has_one_bound():
    with pytest.raises(ValueError, match="one of at_least and at_most"):
        Context().check("figure", 1.0)
    with pytest.raises(ValueError, match="one of at_least and at_most"):
        Context().check("figure", 1.0, at_least=0.0, at_most=2.0)
    with pytest.raises(ValueError, match="at least one seed"):
        run_task(task(lambda context: None), seeds=[])


# what is written


def test_figures_weights_page_and_json(tmp_path):
    pytest.importorskip("matplotlib")
    result = run_task(
        gallery.get("perceptron"), quick=True, out=tmp_path / "out", weights=True, seeds=[0, 1]
    )
    names = {path.name for path in result.files}
    assert {"perceptron-confusion.png", "perceptron-xor.png", "perceptron-errors.png"} <= names
    assert "perceptron-xor.safetensors" in names
    assert names == {path.name for path in (tmp_path / "out").iterdir()}
    for path in result.files:
        assert path.suffix != ".png" or path.read_bytes().startswith(PNG)

    page = report.write_html(tmp_path / "page", [result]).read_text()
    assert page.count("data:image/png;base64,") == 3
    assert "breast cancer: test accuracy" in page
    report.write_json(tmp_path / "new" / "figures.json", [result])
    assert json.loads((tmp_path / "new" / "figures.json").read_text()) == report.as_json([result])


def chromium() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome", "headless_shell"):
        found = shutil.which(name)
        if found:
            return found
    pytest.skip("no Chromium")


def test_the_page_opens_in_a_browser(tmp_path):
    pytest.importorskip("matplotlib")
    browser = chromium()
    results = [
        run_task(gallery.get(name), quick=True, out=tmp_path / "out")
        for name in ("perceptron", "feed_forward")
    ]
    page = report.write_html(tmp_path / "page", results)
    command = [
        *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *(f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=2000"),
    ]
    dumped = subprocess.run(
        [*command, "--dump-dom", page.as_uri()], capture_output=True, text=True, timeout=120
    )
    assert dumped.returncode == 0, dumped.stderr
    dom = dumped.stdout
    pictures = sum(len(r.files) for r in results)
    assert dom.count("<img ") == pictures > 3
    for result in results:
        assert f'<a href="#{result.task.name}">' in dom
        assert f'<h2 id="{result.task.name}">' in dom
    shot = tmp_path / "page.png"
    subprocess.run(
        [*command, "--window-size=1100,1400", f"--screenshot={shot}", page.as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    assert shot.read_bytes().startswith(PNG)


def test_every_plot_draws_hard_cases(tmp_path):
    pytest.importorskip("matplotlib")
    from handloom.gallery import pictures, plots

    rng = np.random.default_rng(0)
    logits = rng.standard_normal((30, 10))
    images = rng.random((30, 8, 8, 1))
    figures = [
        plots.learning({"training": [1.0]}, {"training": [0.5]}, "one epoch, and a title " * 8),
        plots.curves({"a": [3, 2, 1], "b": [2, 2, 2]}, "", "errors"),
        plots.highlights(
            {str(i): [3.0, 2, 1 / (i + 1)] for i in range(5)}, "five of eight", "loss"
        ),
        plots.paths({"x": {"a": ([1, 2], [3, 4])}}, "one panel", "loss"),
        plots.layers({"underflown": [0.0, 1e-30, 1.0]}, "layers"),
        plots.bars({"low": 0.1, "high": 0.99}, "points", "accuracy", target=0.95, low=0.9),
        plots.confusion(np.zeros((2, 2), np.int64), ("a", "b"), "nothing"),
        plots.predictions(rng.random(5), rng.random(5), "kg", "scatter"),
        plots.points({"lr": [(1e-3, 0.5)], "width": [(8, 0.5), (9, 0.5)]}, "trials", "accuracy"),
        plots.over_log(np.array([1e-6, 1e-5]), np.ones(2), {"here": 1e-5}, "rates", "rate", "loss"),
        plots.landscape(np.linspace(-1, 1, 3), np.ones(3), "flat"),
        plots.landscape(np.linspace(-1, 1, 3), rng.random((3, 3)), "plane"),
        plots.before_after(rng.random(4), {"a": rng.random((2, 4))}, "one panel", "hour"),
        pictures.heat(
            images[:2, ..., 0], {"none": images[:2, ..., 0] * 0}, np.zeros((2, 4)), "nowhere"
        ),
        plots.learning({"test": [1.0, 0.5]}, {"test": [0.5, 0.9]}, "from 0.8 on", low=0.8),
        plots.curves({"a": [1, 2]}, "", "bits", "part"),
        plots.steps({"gone": [0.0, 0.0], "not a number": [np.nan, 1.0]}, "steps", "x", "y"),
        plots.series(np.arange(3), {"seen": rng.random(3), "a": rng.random(3)}, "", "year", "y"),
        pictures.mistakes(images, logits.argmax(1), logits, "no mistake"),
        pictures.mistakes(images, np.zeros(30, np.int64), logits, "mistakes"),
        pictures.tiles(images[:5, ..., 0], "fewer than a row"),
        pictures.filters(images[0, ..., 0], np.zeros((9, 3, 3)), images[:9, ..., 0] * 0, "dead"),
        pictures.kernels(rng.standard_normal((9, 4)), "one more than a row"),
        pictures.alignment(rng.random((2, 3)), "cat", ["K", "T"], "which letters make which sound"),
        pictures.evidence(
            images[..., 0, 0], np.arange(30) % 2, images[..., 0, 0] * 0, ("a", "b"), "none", "hour"
        ),
    ]
    for i, figure in enumerate(figures):
        path = plots.save(figure, tmp_path / f"{i}.png")
        assert path.read_bytes().startswith(PNG)
        title = figure._suptitle
        assert title.get_window_extent().x1 <= figure.bbox.x1
