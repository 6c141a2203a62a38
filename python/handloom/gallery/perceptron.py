"""The perceptron: one threshold unit and Rosenblatt's rule, which needs no gradient.

F. Rosenblatt, 1958. If a line separates the classes, the rule finds one after a bounded number of
corrections (A. Novikoff, 1962); where none does, as for exclusive or, it never comes to rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import data, kernels, nn, optim
from ..train import fit, metrics, predict
from .task import Context, Task

if TYPE_CHECKING:
    from .._arrays import Array


class Perceptron:
    """A threshold unit, `y = step(w·x + b)`, that calls a row 1 or 0.

    Attributes:
        w: float32 `(1, F)`, zero to begin with.
        b: float32 `(1,)`.
    """

    def __init__(self, features: int) -> None:
        self.w = np.zeros((1, features), np.float32)
        self.b = np.zeros(1, np.float32)

    def __call__(self, x: Array) -> Array:
        """Returns 0 or 1, float32 `(N,)`, for rows `x` float32 `(N, F)`."""
        y: Array = kernels.heaviside(kernels.linear(x, self.w, self.b))
        return y[:, 0]

    def learn(self, x: Array, target: Array, order: Array, lr: float = 1.0) -> int:
        """Shows each row once and corrects the weights where the call is wrong.

        The rule: `w += lr (t − y) x` and `b += lr (t − y)`, row by row.

        Args:
            x: Rows, float32 `(N, F)`.
            target: 0 or 1, `(N,)`.
            order: The order of the rows, a permutation of N.
            lr: Size of a correction; from zero weights it only scales them.

        Returns:
            The number of corrections.
        """
        corrections = 0
        for i in order:
            error = np.float32(target[i]) - self(x[i : i + 1])[0]
            if error != 0:
                self.w += lr * error * x[i]
                self.b += lr * error
                corrections += 1
        return corrections

    def train(self, x: Array, target: Array, epochs: int, seed: int) -> list[int]:
        """Learns for up to `epochs` epochs and keeps the weights with the fewest errors.

        Keeping the best is Gallant's pocket algorithm (1990): where no line separates the classes,
        the rule's last correction may be a bad one.

        Returns:
            Wrong calls of the training rows after each epoch; the last is 0 where it has converged.
        """
        rng = np.random.default_rng(seed)
        errors: list[int] = []
        best = (self.w.copy(), self.b.copy())
        for _ in range(epochs):
            self.learn(x, target, rng.permutation(len(x)))
            errors.append(int(np.sum(self(x) != target)))
            if errors[-1] == min(errors):
                best = (self.w.copy(), self.b.copy())
            if errors[-1] == 0:
                break
        self.w, self.b = best
        return errors


def _run(context: Context) -> None:
    curves = {"iris: setosa or not": _iris(context)}
    curves["breast cancer"] = _cancer(context)
    _exclusive_or(context)
    from . import plots

    context.draw(
        "perceptron-errors", plots.curves, curves, "Wrong training rows after each epoch", "errors"
    )


def _iris(context: Context) -> list[int]:
    iris = data.load("iris")
    target = (iris.y == iris.target_names.index("setosa")).astype(np.float32)
    errors = Perceptron(4).train(iris.x, target, 20, context.seed)
    context.check(
        "iris: training errors within 20 epochs",
        min(errors),
        at_most=0,
        baseline=float(target.sum()),
    )
    return errors


def _cancer(context: Context) -> list[int]:
    cancer = data.load("breast_cancer")
    x, x_test, y, y_test = data.train_test_split(
        cancer.x, cancer.y, test_size=0.2, stratify=cancer.y
    )
    x, x_test = data.standardize(x, x_test)
    model = Perceptron(x.shape[1])
    errors = model.train(x, y, context.epochs(30, 3), context.seed)
    called = model(x_test)
    context.losses("breast cancer", [len(x) / 2, min(errors)])
    context.check(
        "breast cancer: test accuracy",
        metrics.accuracy(y_test, called.astype(np.int64)),
        at_least=0.93,
        baseline=max(np.mean(y_test), 1 - np.mean(y_test)),
    )
    from . import plots

    matrix = metrics.confusion_matrix(y_test, called.astype(np.int64), num_classes=2)
    context.draw(
        "perceptron-confusion",
        plots.confusion,
        matrix,
        cancer.target_names,
        "Perceptron, breast cancer test rows",
    )
    return errors


def _exclusive_or(context: Context) -> None:
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([0, 1, 1, 0])
    unit = Perceptron(2)
    unit.train(x, y, 100, context.seed)
    context.check(
        "exclusive or: perceptron's accuracy",
        metrics.accuracy(y, unit(x).astype(np.int64)),
        at_most=0.75,
        baseline=0.5,
    )
    model = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    history = fit(
        model,
        (x, y),
        loss=nn.functional.cross_entropy,
        optimizer=optim.Adam(model.parameters(), lr=0.05),
        epochs=300,
        batch_size=4,
        progress=context.progress("exclusive or"),
        seed=context.seed,
    )
    context.losses("exclusive or", history["loss"])
    context.check(
        "exclusive or: accuracy of a 2-8-2 network",
        metrics.accuracy(y, predict(model, x)),
        at_least=1.0,
        baseline=0.75,
    )
    from . import plots

    context.draw(
        "perceptron-xor",
        plots.decisions,
        {
            "Perceptron: one line": unit,
            "2-8-2 network": lambda points: _share_of_one(predict(model, points)),
        },
        x,
        y,
        "Exclusive or",
    )
    context.save("perceptron-xor", model)


def _share_of_one(logits: Array) -> Array:
    """Returns the softmax of two classes, of which the second is class 1."""
    share: Array = 1 / (1 + np.exp(logits[:, 0] - logits[:, 1]))
    return share


TASK = Task(
    "perceptron",
    ("N1", "A8"),
    "Perceptron and Rosenblatt's rule: iris, breast cancer, and where it must fail",
    _run,
)
