"""Every metric equals scikit-learn's, and says what is wrong with input that has no answer."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from handloom.train import metrics

CLOSE = {"rtol": 1e-12, "atol": 1e-14}
seeds = st.integers(0, 2**32 - 1)


def labels_pair(seed: int, n: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    return true, np.where(rng.random(n) < 0.5, true, rng.integers(0, classes, n))


@given(seeds, st.integers(1, 40), st.integers(2, 6))
def test_accuracy_and_confusion_matrix_agree_with_scikit_learn(seed, n, classes):
    true, called = labels_pair(seed, n, classes)
    assert metrics.accuracy(true, called) == oracle.accuracy_score(true, called)
    everything = {"labels": range(classes)}
    counts = metrics.confusion_matrix(true, called, num_classes=classes)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, oracle.confusion_matrix(true, called, **everything))
    for how in ("true", "pred", "all"):
        np.testing.assert_allclose(
            metrics.confusion_matrix(true, called, num_classes=classes, normalize=how),
            oracle.confusion_matrix(true, called, normalize=how, **everything),
            **CLOSE,
        )


@given(
    seeds,
    st.integers(1, 30),
    st.integers(2, 6),
    st.sampled_from([None, "macro", "micro", "weighted"]),
    st.sampled_from([0.0, 1.0, np.nan]),
    st.booleans(),
)
def test_precision_recall_f1_agree_with_scikit_learn(seed, n, classes, average, empty, given_c):
    true, called = labels_pair(seed, n, classes)
    options = {"average": average, "zero_division": empty}
    everything = {"labels": range(classes)} if given_c or average is None else {}
    num_classes = {"num_classes": classes} if everything else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = oracle.precision_recall_fscore_support(true, called, **options, **everything)
    got = metrics.precision_recall_f1(true, called, **options, **num_classes)
    for mine, theirs in zip(got[:3], expected[:3]):
        np.testing.assert_allclose(mine, theirs, **CLOSE)
    if average is None:
        np.testing.assert_array_equal(got.support, expected[3])
    else:
        assert got.support == n
    singles = (metrics.precision, metrics.recall, metrics.f1_score)
    for single, value in zip(singles, got):
        np.testing.assert_array_equal(single(true, called, **options, **num_classes), value)


@given(seeds, st.integers(1, 30), st.integers(0, 1), st.sampled_from([0.0, 1.0]))
def test_binary_scores_agree_with_scikit_learn(seed, n, positive, empty):
    true, called = labels_pair(seed, n, 2)
    assume(positive in true or positive in called or len({*true, *called}) == 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = oracle.precision_recall_fscore_support(
            true, called, average="binary", pos_label=positive, zero_division=empty
        )
    got = metrics.precision_recall_f1(true, called, positive=positive, zero_division=empty)
    np.testing.assert_allclose(got[:3], expected[:3], **CLOSE)
    assert got.support == (true == positive).sum()


@given(seeds, st.integers(2, 40), st.integers(1, 8))
def test_roc_agrees_with_scikit_learn_where_scores_tie(seed, n, levels):
    rng = np.random.default_rng(seed)
    true = rng.permutation(np.arange(n) % 2)
    scores = rng.integers(-levels, levels, n) / 4
    got = metrics.roc_curve(true, scores)
    expected = oracle.roc_curve(true, scores, drop_intermediate=False)
    for mine, theirs in zip(got, expected):
        np.testing.assert_allclose(mine, theirs, **CLOSE)
    area = oracle.roc_auc_score(true, scores)
    assert metrics.roc_auc(true, scores) == pytest.approx(area, rel=1e-12)
    trapezoids = np.diff(got.fpr) @ (got.tpr[1:] + got.tpr[:-1]) / 2
    assert trapezoids == pytest.approx(area, rel=1e-12)


@given(seeds, st.integers(3, 30), st.integers(3, 5))
def test_one_versus_rest_auc_agrees_with_scikit_learn(seed, n, classes):
    assume(n >= classes)
    rng = np.random.default_rng(seed)
    true = rng.permutation(np.arange(n) % classes)
    scores = rng.dirichlet(np.ones(classes), n)
    assert metrics.roc_auc(true, scores) == pytest.approx(
        oracle.roc_auc_score(true, scores, multi_class="ovr"), rel=1e-12
    )
    each = [oracle.roc_auc_score(true == c, scores[:, c]) for c in range(classes)]
    np.testing.assert_allclose(metrics.roc_auc(true, scores, average=None), each, **CLOSE)


def test_auc_of_known_orders():
    assert metrics.roc_auc([0, 0, 1, 1], [1, 2, 3, 4]) == 1.0
    assert metrics.roc_auc([0, 0, 1, 1], [4, 3, 2, 1]) == 0.0
    assert metrics.roc_auc([0, 1, 0, 1], [7, 7, 7, 7]) == 0.5
    assert metrics.roc_auc([False, True], np.array([2, 200], np.uint8)) == 1.0
    assert metrics.roc_auc([0, 0, 1], [-np.inf, 0.0, np.inf]) == 1.0
    curve = metrics.roc_curve([0, 1], np.array([2, 200], np.uint8))
    np.testing.assert_array_equal(curve.thresholds, [np.inf, 200, 2])


@given(seeds, st.integers(2, 30), st.integers(0, 3))
def test_regression_agrees_with_scikit_learn(seed, n, targets):
    rng = np.random.default_rng(seed)
    shape = (n, targets) if targets else (n,)
    true, called = rng.normal(100, 3, (2, *shape))
    assert metrics.mse(true, called) == pytest.approx(oracle.mean_squared_error(true, called))
    assert metrics.mae(true, called) == pytest.approx(oracle.mean_absolute_error(true, called))
    assert metrics.r2_score(true, called) == pytest.approx(oracle.r2_score(true, called), rel=1e-9)
    assert metrics.rmse(true, called) == np.sqrt(metrics.mse(true, called))


def test_regression_sums_float32_in_double_precision():
    true = np.full(2**16, 1e4, np.float32)
    called = true + np.float32(2**-10)
    assert metrics.mse(true, called) == 2**-20
    assert metrics.r2_score([1, 2, 3], [2, 2, 2]) == 0.0


@given(seeds, st.integers(1, 30), st.integers(2, 5))
def test_log_loss_agrees_with_scikit_learn(seed, n, classes):
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, n)
    p = rng.dirichlet(np.ones(classes), n)
    p[0] = np.eye(classes)[rng.integers(classes)]  # a certain answer, right or wrong: clipped
    expected = oracle.log_loss(true, p, labels=range(classes))
    assert metrics.log_loss(true, p) == pytest.approx(expected, rel=1e-9, abs=1e-12)
    if classes == 2:
        assert metrics.log_loss(true, p[:, 1]) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_log_loss_takes_a_float32_softmax():
    p = np.array([[0.7, 0.3], [0.0, 1.0]], np.float32)
    expected = -np.log([p[0, 0], np.finfo(np.float32).eps]).mean()
    assert metrics.log_loss([0, 0], p) == pytest.approx(expected, rel=1e-6)


@given(seeds, st.integers(1, 20), st.integers(2, 6), st.integers(1, 6))
@settings(max_examples=50)
def test_top_k_agrees_with_scikit_learn(seed, n, classes, k):
    assume(k <= classes)
    rng = np.random.default_rng(seed)
    true, scores = rng.integers(0, classes, n), rng.random((n, classes))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if classes == 2:  # a column of its own for scikit-learn
            order = np.argsort(-scores, axis=1)[:, :k]
            expected = (order == true[:, None]).any(axis=1).mean()
        else:
            expected = oracle.top_k_accuracy_score(true, scores, k=k, labels=range(classes))
    assert metrics.top_k_accuracy(true, scores, k) == expected
    tied = rng.integers(0, 2, (n, classes)).astype(float)
    assert metrics.top_k_accuracy(true, tied, 1) == metrics.accuracy(true, tied)


def test_scores_count_by_their_highest_class_on_any_axes():
    true = np.array([[0, 1], [2, 0]])
    scores = np.eye(3)[[[0, 1], [1, 0]]]
    assert metrics.accuracy(true, scores) == 0.75
    assert metrics.top_k_accuracy(true, scores, 2) == 0.75
    assert metrics.confusion_matrix(true, scores).tolist() == [[2, 0, 0], [0, 1, 0], [0, 1, 0]]


def test_whole_floats_and_booleans_are_labels():
    assert metrics.accuracy([1.0, 0.0], np.array([True, True])) == 0.5


class FakeTensor:
    """Has what an array needs to be read from a tensor, and refuses anything else."""

    def __init__(self, array):
        self.array = np.asarray(array)
        self.shape = self.array.shape

    def detach(self):
        return self

    def numpy(self):
        return self.array

    def __array__(self, *args, **kwargs):
        raise AssertionError("read through numpy()")


def test_tensors_are_read():
    assert metrics.accuracy(FakeTensor([0, 1]), FakeTensor([[2.0, 1.0], [2.0, 1.0]])) == 0.5
    assert metrics.confusion_matrix(FakeTensor([0, 1]), FakeTensor(np.eye(3)[:2])).shape == (3, 3)
    assert metrics.mae(FakeTensor([1.0]), FakeTensor([3.0])) == 2.0


two = ([0, 1], [0.1, 0.9])
BAD = [
    (metrics.accuracy, ([0, 1], [0, 1, 1]), r"accuracy: y_true \(2,\) .* y_pred \(3,\)"),
    (metrics.accuracy, ([], []), "y_true is empty"),
    (metrics.accuracy, ([0.5], [0]), "y_true expects class numbers, got 0.5"),
    (metrics.accuracy, ([np.inf], [0]), "class numbers, got inf"),
    (metrics.accuracy, ([-1], [0]), "from 0, got -1"),
    (metrics.accuracy, ([2**62], [0]), "below 16777216"),
    (metrics.accuracy, ([0, 1], [[0.2], [0.8]]), "one score a sample"),
    (metrics.accuracy, ([[0], [1]], [0, 1]), "does not go with"),
    (metrics.accuracy, ([0], [[np.nan, 1.0]]), r"y_pred is NaN at \(0, 0\)"),
    (metrics.top_k_accuracy, ([0], [[0.5, 0.5]], 3), "k expects 1 to 2"),
    (metrics.top_k_accuracy, ([2], [[0.5, 0.5]], 1), r"label 2, expected \[0, 2\)"),
    (metrics.top_k_accuracy, ([0, 1], [[0.5, 0.5]], 1), r"expects scores \(2, 'C'\)"),
    (metrics.confusion_matrix, ([2**20], [0]), "too large a table"),
    (metrics.precision_recall_f1, ([0, 1, 2], [0, 1, 1]), "average='binary' expects two classes"),
    (
        metrics.precision_recall_f1,
        ([0, 2], [0, 2]),
        r"positive=1 is not among the classes \[0, 2\]",
    ),
    (metrics.roc_auc, ([1, 1], [0.1, 0.9]), "holds class 1 only"),
    (metrics.roc_curve, ([0, 0], [0.1, 0.9]), "holds class 0 only"),
    (metrics.roc_auc, ([0, 1], [np.nan, 0.9]), r"y_score is NaN at \(0,\)"),
    (metrics.roc_auc, ([0, 2], [0.1, 0.9]), "expects 0 and 1"),
    (metrics.roc_auc, ([0, 1], np.eye(3)[:2]), r"each class needs samples .* \[1, 1, 0\]"),
    (metrics.roc_auc, ([0, 1], [[0.1], [0.9], [0.5]]), "does not go with"),
    (metrics.mse, ([1.0, 2.0], [[1.0], [2.0]]), r"y_true \(2,\) does not go with y_pred \(2, 1\)"),
    (metrics.mae, ([], []), "y_true is empty"),
    (metrics.rmse, ([1.0], [np.nan]), r"y_pred is NaN or Inf at \(0,\)"),
    (metrics.r2_score, ([0.1, 0.1, 0.1], [1, 2, 3]), "constant"),
    (metrics.r2_score, (1.0, 2.0), "constant"),
    (metrics.log_loss, ([0, 1], [0.5, 1.5]), r"probabilities in \[0, 1\], got 0.5 to 1.5"),
    (metrics.log_loss, ([0], [[0.5, 0.4]]), "rows that add up to 1, one is 0.1 off"),
    (metrics.log_loss, ([2], [[0.5, 0.5]]), "label 2"),
    (metrics.log_loss, ([0, 1], [0.5]), "does not go with"),
]


@pytest.mark.parametrize(("metric", "arguments", "message"), BAD)
def test_input_without_an_answer_is_refused(metric, arguments, message):
    with pytest.raises(ValueError, match=message) as caught:
        metric(*arguments)
    assert str(caught.value).startswith(metric.__name__)


def test_options_are_checked():
    with pytest.raises(ValueError, match="'binary', 'macro', 'micro', 'weighted', None"):
        metrics.f1_score([0], [0], average="mean")
    with pytest.raises(ValueError, match="normalize expects"):
        metrics.confusion_matrix([0], [0], normalize="rows")
    with pytest.raises(ValueError, match=r"label 2, expected \[0, 2\)"):
        metrics.confusion_matrix([0], [2], num_classes=2)
    with pytest.raises(ValueError, match="'macro' or None"):
        metrics.roc_auc(*two, average="micro")
    with pytest.raises(TypeError, match="accuracy: y_true expects an array of numbers"):
        metrics.accuracy(["cat"], ["dog"])
    with pytest.raises(ValueError, match="ragged"):
        metrics.mse([[1.0], [1.0, 2.0]], [1.0, 2.0])
