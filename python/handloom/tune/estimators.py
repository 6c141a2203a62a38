"""Networks as scikit-learn estimators: in pipelines, `cross_val_score`, `GridSearchCV`.

They pass scikit-learn's own `check_estimator`. Keras: `SKLearnClassifier`; PyTorch: skorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from .. import get_rng_state, manual_seed, nn, optim, set_rng_state
from .._arrays import Array
from .._numbers import real, whole
from ..nn import functional as F
from ..train import EarlyStopping, fit, predict

_ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "silu": nn.SiLU}
_OPTIMIZERS = {"adam": optim.Adam, "adamw": optim.AdamW, "sgd": optim.SGD, "rmsprop": optim.RMSprop}


class _Network(BaseEstimator):  # type: ignore[misc]
    """What the two share: scale the features, build the network, train it.

    scikit-learn's rules: `__init__` keeps its arguments as they came, `fit` checks them, and what
    it finds ends in an underscore.
    """

    def __init__(
        self,
        module: Callable[[int, int], nn.Module] | None = None,
        *,
        hidden: Sequence[int] = (64,),
        activation: str = "relu",
        dropout: float = 0.0,
        optimizer: str = "adam",
        lr: float = 1e-2,
        weight_decay: float = 0.0,
        epochs: int = 100,
        batch_size: int = 32,
        patience: int | None = None,
        validation_fraction: float = 0.1,
        random_state: Any = None,
    ) -> None:
        self.module = module
        self.hidden = hidden
        self.activation = activation
        self.dropout = dropout
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.epochs = epochs
        self.batch_size = batch_size
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def _build(self, inputs: int, outputs: int) -> nn.Module:
        name = type(self).__name__
        if self.module is not None:
            if not callable(self.module):
                raise TypeError(f"{name}: module expects a function, got {self.module!r}")
            return self.module(inputs, outputs)
        if not isinstance(self.hidden, (tuple, list, np.ndarray)):
            raise TypeError(f"{name}: hidden expects a list of widths, got {self.hidden!r}")
        activation = _chosen(_ACTIVATIONS, self.activation, f"{name}: activation")
        layers: list[nn.Module] = []
        for width in self.hidden:
            whole(width, name, "hidden")
            layers += [nn.Linear(inputs, width), activation()]
            layers += [nn.Dropout(self.dropout)] if real(self.dropout, name, "dropout") else []
            inputs = width
        return nn.Sequential(*layers, nn.Linear(inputs, outputs))

    def _learn(self, x: Array, y: Array, outputs: int, loss: Any) -> None:
        """Trains a new network; `y` are class numbers or scaled targets."""
        name = type(self).__name__
        kind = _chosen(_OPTIMIZERS, self.optimizer, f"{name}: optimizer")
        batch_size = whole(self.batch_size, name, "batch_size")
        self.mean_ = x.mean(axis=0)
        deviation = x.std(axis=0)
        self.scale_ = np.where(deviation > 0, deviation, 1).astype(x.dtype)
        seed = int(check_random_state(self.random_state).randint(1 << 31))
        before = get_rng_state()
        try:
            manual_seed(seed)
            self.module_ = self._build(x.shape[1], outputs).to(x.dtype)
            options = {"lr": self.lr, "weight_decay": self.weight_decay}
            rows, validation, hooks = (self._scaled(x), y), None, []
            if self.patience is not None:
                rows, validation = self._split(*rows)
                hooks.append(EarlyStopping("val_loss", whole(self.patience, name, "patience")))
            self.history_ = fit(
                self.module_,
                rows,
                loss=loss,
                optimizer=kind(self.module_.parameters(), **options),
                epochs=self.epochs,
                batch_size=min(batch_size, len(rows[0])),
                validation=validation,
                callbacks=hooks,
                progress=False,
                seed=seed,
            )
        finally:
            set_rng_state(before)
        self.module_.eval()

    def _split(self, x: Array, y: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        from ..data import split

        share = self.validation_fraction
        parts = split((x, y), [1 - share, share], seed=0)
        return parts[0], parts[1]

    def _scaled(self, x: Array) -> Array:
        scaled: Array = (x - self.mean_) / self.scale_
        return scaled

    def _outputs(self, X: Any) -> Array:
        check_is_fitted(self)
        x = validate_data(self, X, reset=False, dtype=(np.float64, np.float32))
        return predict(self.module_, self._scaled(x.astype(self.mean_.dtype, copy=False)))

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if "module_" in state:
            weights = {name: np.array(a) for name, a in self.module_.state_dict().items()}
            state = {**state, "module_": weights}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "module_" in state:
            before = get_rng_state()
            module = self._build(len(state["mean_"]), state["outputs_"]).to(state["mean_"].dtype)
            set_rng_state(before)
            module.load_state_dict(state["module_"])
            self.module_ = module.eval()


class NetworkClassifier(ClassifierMixin, _Network):  # type: ignore[misc]
    """A network that tells classes apart, with scikit-learn's methods.

    Features are standardised by the training rows' mean and deviation. float32 rows are computed
    in float32, others in float64.

    Args:
        module: Called with the numbers of features and of classes; returns the network, which
            gives logits. None builds one from the next three arguments.
        hidden: Units of the hidden layers.
        activation: Behind each: "relu", "tanh", "gelu" or "silu".
        dropout: Behind each activation.
        optimizer: "adam", "adamw", "sgd" or "rmsprop".
        lr, weight_decay: Of the optimiser.
        epochs, batch_size: Of the training.
        patience: Epochs without a better loss on held-out training rows after which it ends, with
            the best weights; None trains all epochs on all rows.
        validation_fraction: Share of those rows.
        random_state: Seed of weights, order and dropout, or a NumPy `RandomState`.

    Attributes:
        classes_: Labels, sorted.
        n_features_in_: Features.
        module_: The trained network.
        history_: A `train.History`.
    """

    def fit(self, X: Any, y: Any) -> NetworkClassifier:
        """Trains a new network on rows `(N, features)` with labels `(N,)`."""
        x, labels = validate_data(self, X, y, dtype=(np.float64, np.float32))
        check_classification_targets(labels)
        self.classes_, numbers = np.unique(labels, return_inverse=True)
        self.outputs_ = len(self.classes_)
        if self.outputs_ < 2:
            raise ValueError(
                f"NetworkClassifier: y expects at least 2 classes, got {self.outputs_} class"
            )
        self._learn(x, numbers.astype(np.int64).reshape(-1), self.outputs_, F.cross_entropy)
        return self

    def decision_function(self, X: Any) -> Array:
        """Logits `(N, classes)`; of two classes `(N,)`, positive for the second."""
        logits = self._outputs(X)
        return logits[:, 1] - logits[:, 0] if self.outputs_ == 2 else logits

    def predict_proba(self, X: Any) -> Array:
        """Probabilities `(N, classes)`, in the order of `classes_`."""
        from .. import kernels

        found: Array = kernels.softmax(self._outputs(X))
        return found

    def predict(self, X: Any) -> Array:
        """The most probable label of each row."""
        called = self._outputs(X).argmax(axis=1)
        labels: Array = self.classes_[called]
        return labels


class NetworkRegressor(RegressorMixin, _Network):  # type: ignore[misc]
    """A network that predicts one number or several, with scikit-learn's methods.

    Features and targets are standardised by the training rows' mean and deviation; the loss is the
    squared error.

    Args:
        module: As for `NetworkClassifier`, with the number of targets.
        hidden, activation, dropout, optimizer, lr, weight_decay, epochs, batch_size, patience,
        validation_fraction, random_state: As for `NetworkClassifier`.

    Attributes:
        n_features_in_, module_, history_: As there.
    """

    def fit(self, X: Any, y: Any) -> NetworkRegressor:
        """Trains a new network on rows `(N, features)` with targets `(N,)` or `(N, targets)`."""
        kinds = (np.float64, np.float32)
        x, targets = validate_data(self, X, y, dtype=kinds, multi_output=True, y_numeric=True)
        self._flat = targets.ndim == 1
        targets = targets.reshape(len(x), -1).astype(x.dtype)
        self.outputs_ = targets.shape[1]
        self.y_mean_ = targets.mean(axis=0)
        deviation = targets.std(axis=0)
        self.y_scale_ = np.where(deviation > 0, deviation, 1).astype(x.dtype)
        self._learn(x, (targets - self.y_mean_) / self.y_scale_, self.outputs_, F.mse_loss)
        return self

    def predict(self, X: Any) -> Array:
        """The targets of each row, `(N,)` or `(N, targets)` as they were in `fit`."""
        scaled = self._outputs(X)
        y = scaled * self.y_scale_ + self.y_mean_
        return y[:, 0] if self._flat else y

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _chosen(kinds: dict[str, Any], name: Any, what: str) -> Any:
    if not isinstance(name, str) or name not in kinds:
        raise ValueError(f"{what} expects one of {', '.join(kinds)}, got {name!r}")
    return kinds[name]
