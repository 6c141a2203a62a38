"""Language models: a cache changes nothing, generation keeps its rules, gradients are right."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import handloom as hl
from handloom import models
from handloom.models import blocks, transformer, word2vec
from handloom.models.generate import probabilities
from handloom.models.recurrent import ATTENTIONS
from handloom.nn import functional as F
from handloom.train import metrics

RNG = np.random.default_rng(0)
TOKENS = RNG.integers(4, 11, (3, 7))
SOURCE = RNG.integers(4, 9, (3, 6))
LENGTHS = np.array([6, 2, 4])


def lm(positions="learned", **options):
    hl.manual_seed(0)
    return models.CausalLM(11, 16, 2, 2, 64, positions=positions, **options).double().eval()


def seq2seq(kind):
    hl.manual_seed(0)
    if kind == "transformer":
        return models.TransformerSeq2Seq(9, 11, 16, 2, 2, activation="gelu").double().eval()
    return models.RNNSeq2Seq(9, 11, 16, kind, layers=2).double().eval()


WRITERS = ["transformer", None, *ATTENTIONS]


@pytest.mark.parametrize("positions", blocks.POSITIONS)
def test_a_cache_changes_nothing(positions):
    model = lm(positions)
    with hl.no_grad():
        whole = model(TOKENS).numpy()
        state = model.start()
        for begin, end in ((0, 3), (3, 4), (4, 7)):
            new = model(TOKENS[:, begin:end], state).numpy()
            np.testing.assert_allclose(new, whole[:, begin:end], rtol=1e-10, atol=1e-12)
        turned = model.select(state, np.array([2, 2]))
        last, _ = model.step(np.array([[5], [6]]), turned)
        longer = np.concatenate([TOKENS[[2, 2]], [[5], [6]]], 1)
        np.testing.assert_allclose(last, model(longer).numpy()[:, -1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("positions", blocks.POSITIONS)
def test_what_is_later_is_not_seen(positions):
    model = lm(positions)
    other = TOKENS.copy()
    other[:, 4:] = 10
    a, b = model(TOKENS).numpy(), model(other).numpy()
    np.testing.assert_array_equal(a[:, :4], b[:, :4])
    assert (a[:, 4:] != b[:, 4:]).any()
    if positions != "learned":
        # Order counts even where no table says so: exchanging the first two moves the fifth.
        assert (model(TOKENS[:, [1, 0, 2, 3, 4]]).numpy()[:, 4] != a[:, 4]).any()


@pytest.mark.parametrize("kind", WRITERS)
def test_one_step_at_a_time_says_the_same(kind):
    model = seq2seq(kind)
    with hl.no_grad():
        whole = model(SOURCE, LENGTHS, TOKENS).numpy()
        state = model.start(SOURCE, LENGTHS)
        for t in range(7):
            logits, state = model.step(TOKENS[:, t : t + 1], state)
            np.testing.assert_allclose(logits, whole[:, t], rtol=1e-9, atol=1e-12)
        rows = np.array([1, 0])
        logits, _ = model.step(TOKENS[rows, :1], model.select(model.start(SOURCE, LENGTHS), rows))
        np.testing.assert_allclose(logits, whole[rows, 0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", WRITERS)
def test_padding_is_not_read(kind):
    model = seq2seq(kind)
    other = SOURCE.copy()
    other[1, 2:] = 8
    a, b = (model(s, LENGTHS, TOKENS).numpy() for s in (SOURCE, other))
    np.testing.assert_array_equal(a, b)
    short = model(SOURCE[1:2, :2], LENGTHS[1:2], TOKENS[1:2]).numpy()
    np.testing.assert_allclose(a[1:2], short, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", [k for k in WRITERS if k != "hard"])
def test_gradients_against_finite_differences(kind):
    model = seq2seq(kind)
    parameters = dict(model.named_parameters())
    names = [n for n in parameters if n.endswith(("weight", "weight_hh_l1"))]
    random = np.random.default_rng(1)

    def loss():
        return F.cross_entropy(model(SOURCE, LENGTHS, TOKENS).reshape(-1, 11), TOKENS.reshape(-1))

    loss().backward()
    for name in names:
        p = parameters[name]
        way = random.standard_normal(p.shape)
        found = float((p.grad.numpy() * way).sum())
        start = p.numpy().copy()
        ends = []
        for h in (1e-6, -1e-6):
            p.numpy()[...] = start + h * way
            ends.append(loss().item())
        p.numpy()[...] = start
        assert math.isclose((ends[0] - ends[1]) / 2e-6, found, rel_tol=1e-4, abs_tol=1e-7), name


def test_hard_attention_takes_one_place_and_learns():
    hl.manual_seed(0)
    attention = models.recurrent.Attention("hard", 8)
    x, memory = (hl.tensor(RNG.standard_normal((2, 5, 8)).astype("f4")) for _ in range(2))
    for training in (True, False):
        attention.train(training)
        found, weights = attention(x, memory, np.array([5, 3]))
        w = weights.numpy()
        np.testing.assert_allclose(w.max(-1), 1, rtol=1e-6)
        np.testing.assert_allclose(w.sum(-1), 1, rtol=1e-6)
        assert np.abs(w[1, :, 3:]).max() < 1e-6
        np.testing.assert_allclose(
            found.numpy(), np.take_along_axis(memory.numpy(), w.argmax(-1)[..., None], 1), rtol=1e-5
        )
    found.sum().backward()
    assert np.abs(attention.query.weight.grad.numpy()).max() > 0


def test_local_attention_stays_in_its_window():
    model = seq2seq("local")
    w = model.weights(np.repeat(SOURCE, 4, axis=1), LENGTHS * 4, TOKENS)
    assert w.shape == (3, 7, 24)
    assert ((w > 1e-9).sum(-1) <= 5).all()
    assert (w.sum(-1) > 0.1).all()


def test_an_unknown_attention():
    with pytest.raises(ValueError, match="kind 'both', expected one of dot, general"):
        models.RNNSeq2Seq(9, 11, 16, "both")
    with pytest.raises(ValueError, match="'learned', 'sine', 'rotary', 'alibi'"):
        lm("both")


def test_scheduled_sampling_replaces_what_it_should():
    model = seq2seq("dot")
    said = model(SOURCE, LENGTHS, TOKENS).numpy().argmax(-1)
    none = models.scheduled_sampling(model, SOURCE, LENGTHS, TOKENS, 0.0, 0)
    every = models.scheduled_sampling(model, SOURCE, LENGTHS, TOKENS, 1.0, 0)
    np.testing.assert_array_equal(none, TOKENS)
    np.testing.assert_array_equal(every[:, 0], TOKENS[:, 0])
    np.testing.assert_array_equal(every[:, 1:], said[:, :-1])
    with pytest.raises(ValueError, match="expected 0 to 1"):
        models.scheduled_sampling(model, SOURCE, LENGTHS, TOKENS, 1.5, 0)


def test_masked_lm_and_vision_transformer_learn():
    hl.manual_seed(0)
    masked = models.MaskedLM(models.Encoder(11, 16, 2, 2))
    pictures = models.VisionTransformer(8, 2, 1, 10, 16, 2, 2)
    x = RNG.random((3, 8, 8, 1)).astype(np.float32)
    for model, inputs, target in ((masked, TOKENS, TOKENS), (pictures, x, np.array([1, 2, 3]))):
        optimizer = hl.optim.Adam(model.parameters(), lr=1e-2)
        losses = []
        for _ in range(60):
            logits = model(inputs)
            loss = F.cross_entropy(logits.reshape(-1, logits.shape[-1]), target.reshape(-1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.1 < losses[0]
    with pytest.raises(ValueError, match="divides 8"):
        models.VisionTransformer(8, 3)


def test_mean_pool_leaves_padding_out():
    x = hl.tensor(RNG.standard_normal((2, 4, 3)))
    y = transformer.mean_pool(x, np.array([4, 1])).numpy()
    np.testing.assert_allclose(y, [x.numpy()[0].mean(0), x.numpy()[1, 0]], rtol=1e-12)


# writing


class Chain:
    """A model whose next token depends on the last one alone; its state counts the steps."""

    def __init__(self, logits):
        self.logits = np.asarray(logits, np.float64)

    def step(self, tokens, state):
        return self.logits[tokens[:, -1]], state + 1

    def select(self, state, rows):
        return state


def test_greedy_with_a_cache_is_greedy_without():
    model = lm("rotary")
    found = models.generate(model, TOKENS, model.start(), length=5)
    tokens = TOKENS
    for _ in range(5):
        tokens = np.concatenate([tokens, model(tokens).numpy()[:, -1:].argmax(-1)], 1)
    np.testing.assert_array_equal(found, tokens[:, 7:])


def test_probabilities():
    logits = np.log([[0.4, 0.1, 0.3, 0.2]])
    np.testing.assert_allclose(probabilities(logits), [[0.4, 0.1, 0.3, 0.2]])
    np.testing.assert_allclose(probabilities(logits, top_k=2), [[4 / 7, 0, 3 / 7, 0]])
    np.testing.assert_allclose(probabilities(logits, top_p=0.75), [[4 / 9, 0, 3 / 9, 2 / 9]])
    np.testing.assert_allclose(probabilities(logits, top_p=0.1), [[1, 0, 0, 0]])
    cold = np.array([[0.16, 0.01, 0.09, 0.04]]) / 0.3
    np.testing.assert_allclose(probabilities(logits, 0.5), cold)


def test_draws_follow_the_probabilities_and_the_seed():
    model = Chain(np.log([[0.5, 0.3, 0.2]] * 3))
    prompt = np.zeros((2000, 1), np.int64)
    drawn = models.generate(model, prompt, 0, length=3, temperature=1.0, seed=1)
    np.testing.assert_allclose(np.bincount(drawn.ravel()) / 6000, [0.5, 0.3, 0.2], atol=0.03)
    again = models.generate(model, prompt, 0, length=3, temperature=1.0, seed=1)
    np.testing.assert_array_equal(drawn, again)
    assert (drawn != models.generate(model, prompt, 0, length=3, temperature=1.0, seed=2)).any()


def test_a_row_that_has_ended_says_nothing_else():
    model = Chain([[0, 9, 0], [0, 0, 9], [9, 0, 0]])
    found = models.generate(model, np.array([[0], [1]]), 0, length=9, end=2)
    np.testing.assert_array_equal(found, [[1, 2], [2, 2]])


def test_empty_prompts_and_wrong_options():
    model = Chain(np.zeros((3, 3)))
    for write in (
        lambda prompt: models.generate(model, prompt, 0, length=1),
        lambda prompt: models.beam_search(model, prompt, 0, beams=1, length=1, end=0),
    ):
        with pytest.raises(ValueError, match="at least one token"):
            write(np.empty((2, 0), np.int64))
    for options in ({"temperature": -1}, {"top_k": 0}, {"top_p": 1.5}, {"length": -1}):
        with pytest.raises(ValueError, match="expected"):
            models.generate(model, np.zeros((1, 1)), 0, **{"length": 1, **options})
    with pytest.raises(ValueError, match="beams is 0"):
        models.beam_search(model, np.zeros((1, 1)), 0, beams=0, length=1, end=0)
    assert models.generate(model, np.zeros((2, 1)), 0, length=0).shape == (2, 0)


@pytest.mark.parametrize("penalty", [0.0, 1.0])
def test_a_wide_beam_finds_the_best_of_all_texts(penalty):
    logits = np.random.default_rng(3).standard_normal((4, 4)) * 2
    logp = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    length, end = 4, 3
    texts = {}
    for size in range(length + 1):
        for text in itertools.product(range(3), repeat=size):
            whole = [0, *text] if size == length else [0, *text, end]
            steps = len(whole) - 1
            texts[text] = sum(logp[a, b] for a, b in itertools.pairwise(whole)) / steps**penalty
    (found,) = models.beam_search(
        Chain(logits), np.array([[0]]), 0, beams=120, length=length, end=end, length_penalty=penalty
    )
    best = sorted(texts.values(), reverse=True)
    np.testing.assert_allclose([b.score for b in found[:20]], best[:20], rtol=1e-9)
    assert texts[tuple(found[0].tokens)] == pytest.approx(best[0])


def test_one_beam_is_greedy():
    model = seq2seq("transformer")
    prompt = np.full((3, 1), 2)
    greedy = models.generate(model, prompt, model.start(SOURCE, LENGTHS), length=6, end=3)
    found = models.beam_search(
        model, prompt, model.start(SOURCE, LENGTHS), beams=1, length=6, end=3, length_penalty=0
    )
    for row, beams in zip(greedy, found):
        text = row.tolist()
        assert beams[0].tokens == (text[: text.index(3)] if 3 in text else text)


# word2vec


def test_word2vec_learns_who_stands_beside_whom():
    hl.manual_seed(0)
    random = np.random.default_rng(0)
    # Words of two groups, each only among its own.
    text = np.concatenate([random.integers(5 * g, 5 * g + 5, 40) for g in (0, 1) * 20])
    counts = np.bincount(text)
    words, around = word2vec.windows(text, 2)
    for model in (models.SkipGram(10, 8), models.CBOW(10, 8)):
        optimizer = hl.optim.Adam(model.parameters(), lr=0.05)
        for _ in range(60):
            rows = random.integers(0, len(words), 128)
            drawn = word2vec.noise(counts, (128, 5), random)
            if isinstance(model, models.CBOW):
                inputs, true = around[rows], words[rows]
            else:
                inputs, true = words[rows], around[rows, random.integers(0, 4, 128)]
            loss = models.negative_sampling_loss(
                model(inputs, np.concatenate([true[:, None], drawn], 1))
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        _, near = F.nearest_neighbours(model.words.weight.numpy(), model.words.weight, k=5)
        assert ((near.numpy() // 5) == (np.arange(10) // 5)[:, None]).mean() > 0.9


def test_negative_sampling_loss_and_noise():
    s = np.array([[1.0, -2.0, 0.5]])
    expected = -np.log(1 / (1 + np.exp(-1))) - np.log(1 / (1 + np.exp([-2, 0.5]))).sum()
    np.testing.assert_allclose(models.negative_sampling_loss(hl.tensor(s)).item(), expected)
    drawn = word2vec.noise(np.array([16, 1, 0]), (9000,), np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(drawn) / 9000, [8 / 9, 1 / 9], atol=0.02)
    words, around = word2vec.windows(np.arange(5), 1)
    np.testing.assert_array_equal(words, [1, 2, 3])
    np.testing.assert_array_equal(around, [[0, 2], [1, 3], [2, 4]])


# metrics of text


def test_edit_distance():
    for a, b, expected in (
        ("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("", "", 0), ("flaw", "lawn", 2),
    ):  # fmt: skip
        assert metrics.edit_distance(a, b) == metrics.edit_distance(b, a) == expected
    random = np.random.default_rng(0)
    for _ in range(30):
        a, b = (list(random.integers(0, 3, random.integers(0, 9))) for _ in range(2))
        table = [[max(i, j) for j in range(len(b) + 1)] for i in range(len(a) + 1)]
        for i, j in itertools.product(range(1, len(a) + 1), range(1, len(b) + 1)):
            table[i][j] = min(
                table[i - 1][j] + 1, table[i][j - 1] + 1,
                table[i - 1][j - 1] + (a[i - 1] != b[j - 1]),
            )  # fmt: skip
        assert metrics.edit_distance(a, b) == table[-1][-1]


def test_error_rates():
    assert metrics.character_error_rate(["abcd", "ef"], ["abxd", "efg"]) == 2 / 6
    assert metrics.word_error_rate(["the cat sat"], ["the cat"]) == 1 / 3
    assert metrics.error_rate([["AH", "B"]], [["AH", "P"]]) == 0.5
    with pytest.raises(ValueError, match="2 texts and said 1"):
        metrics.error_rate(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="no token"):
        metrics.error_rate([""], ["a"])


def test_bleu():
    cat = ["the", "cat", "is", "on", "the", "mat"]
    assert metrics.bleu([cat], [cat]) == pytest.approx(1)
    # The paper's example: of seven "the" two are true.
    assert metrics.bleu([cat], [["the"] * 7], n=1) == pytest.approx(2 / 7)
    short = metrics.bleu([cat], [cat[:5]], n=2)
    assert short == pytest.approx(math.exp(1 - 6 / 5))
    assert metrics.bleu([cat], [["dog"]]) == 0
    assert metrics.bleu([cat], [[]]) == 0


def test_surprise():
    assert metrics.perplexity(math.log(8)) == pytest.approx(8)
    assert metrics.bits_per_character(math.log(8)) == pytest.approx(3)


def test_a_captioner_reads_columns_and_goes_on_token_by_token():
    hl.manual_seed(0)
    model = models.Captioner(8, 2, 7, 12, width=4).double().eval()
    images = RNG.standard_normal((3, 8, 20, 2))
    target = np.array([[2, 4, 5, 6], [2, 3, 3, 1], [2, 6, 0, 0]])
    whole = model(images, target).numpy()
    assert whole.shape == (3, 4, 7)
    weights = model.weights(images, target)
    assert weights.shape == (3, 4, 5)  # 20 pixels, 5 columns
    np.testing.assert_allclose(weights.sum(-1), 1)
    state = model.start(images)
    for t in range(4):
        logits, state = model.step(target[:, t : t + 1], state)
        np.testing.assert_allclose(logits, whole[:, t], atol=1e-12)


def test_a_captioner_refuses_a_height_that_it_cannot_halve_twice():
    with pytest.raises(ValueError, match="Captioner: height is 10, expected a multiple of 4"):
        models.Captioner(10, 1, 5)


def test_what_reads_nothing_cannot_start():
    from handloom.models.recurrent import RNNDecoder

    with pytest.raises(NotImplementedError, match="RNNDecoder: start is not defined"):
        RNNDecoder(5, 8, None).start()
