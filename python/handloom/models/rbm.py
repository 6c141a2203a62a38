"""The restricted Boltzmann machine, with the manners of scikit-learn's `BernoulliRBM`.

p(v, h) ∝ exp(−E(v, h)); see `handloom.kernels.rbm` for the energy, and `docs/rbm.md`. It has no
autograd: a training step is one kernel that samples and forms the gradient, and one that follows
it. Smolensky (1986); Hinton: "A practical guide to training restricted Boltzmann machines" (2010).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import _runtime, kernels
from ..kernels.optim import ParamList, optim_hyper, optim_state
from ..tensor import Array

_OPTIONS = (
    "n_components", "learning_rate", "batch_size", "n_iter", "verbose", "random_state", "visible",
    "steps", "persistent", "momentum", "weight_decay", "visible_means",
)  # fmt: skip

_WATCHED = 1000  # rows whose score follows the training


class RBM:
    """A layer of visible and a layer of hidden units of 0 and 1.

    The first six arguments are those of `sklearn.neural_network.BernoulliRBM`, and so are the
    methods and the attributes ending in `_`.

    Args:
        n_components: Hidden units.
        learning_rate: Of stochastic gradient descent.
        batch_size: Rows of a step; the last of an epoch may have fewer.
        n_iter: Epochs of `fit`.
        verbose: Whether `fit` prints the pseudo-likelihood after each epoch.
        random_state: Seed of the initial weights, orders and samples; None goes on from
            `manual_seed`'s generator.
        visible: "bernoulli" for data in [0, 1], "gaussian" for standardised real data, whose units
            have variance 1 (take a learning rate of 0.01 or less there).
        steps: k of CD-k: how often both layers are sampled for a gradient.
        persistent: Whether the samples go on from those of the last step (persistent contrastive
            divergence, as scikit-learn does) and not from the data.
        momentum, weight_decay: Of the descent; only weights decay, biases do not.
        visible_means: Whether reconstructions are means and not samples.

    Attributes:
        components_: Weights `(n_components, n_features)`.
        intercept_hidden_: `(n_components,)`.
        intercept_visible_: `(n_features,)`.
        h_samples_: The chain's hidden states `(batch_size, n_components)`, where it is persistent.
        n_features_in_: Visible units.
        history_: Mean `score_samples` of the first 1000 rows after each epoch of `fit`.
    """

    components_: Array
    intercept_hidden_: Array
    intercept_visible_: Array
    h_samples_: Array

    def __init__(
        self,
        n_components: int = 256,
        *,
        learning_rate: float = 0.1,
        batch_size: int = 10,
        n_iter: int = 10,
        verbose: int = 0,
        random_state: int | None = None,
        visible: str = "bernoulli",
        steps: int = 1,
        persistent: bool = True,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        visible_means: bool = False,
    ) -> None:
        # scikit-learn's clone() wants arguments kept as they came; `fit` checks them.
        self.n_components = n_components
        self.learning_rate = learning_rate
        self.batch_size = batch_size
        self.n_iter = n_iter
        self.verbose = verbose
        self.random_state = random_state
        self.visible = visible
        self.steps = steps
        self.persistent = persistent
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.visible_means = visible_means

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {name: getattr(self, name) for name in _OPTIONS}

    def set_params(self, **options: Any) -> RBM:
        """Changes arguments of the constructor.

        Raises:
            ValueError: There is no such argument.
        """
        for name, value in options.items():
            if name not in _OPTIONS:
                raise ValueError(f"RBM: no parameter {name!r}, expected one of {_OPTIONS}")
            setattr(self, name, value)
        return self

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks before it takes this for one of its own."""
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=False))

    # ---- training --------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> RBM:
        """Trains from new weights on `n_iter` passes over X `(N, n_features)`.

        Raises:
            TypeError: Not an array of numbers.
            ValueError: Not `(N, n_features)`, NaN or infinite, outside [0, 1] for Bernoulli units,
                or an argument of the constructor that is out of range.
        """
        x = self._data(X, "fit")
        self._start(x)
        for epoch in range(self.n_iter):
            seed, call = self._random.next_draw()
            rows = kernels.permutation(len(x), seed=seed, call=call)
            for begin in range(0, len(x), self.batch_size):
                self._step(np.take(x, rows[begin : begin + self.batch_size], axis=0))
            self.history_.append(float(self.score_samples(x[:_WATCHED]).mean()))
            if self.verbose:
                score = self.history_[-1]
                print(f"[RBM] epoch {epoch + 1}: pseudo-likelihood {score:.2f}", flush=True)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> RBM:
        """Makes one step on X `(N, n_features)`; the first call draws new weights.

        Raises:
            TypeError, ValueError: As `fit`; another number of features than before.
        """
        x = self._data(X, "partial_fit")
        if not hasattr(self, "components_"):
            self._start(x)
        self._check_width(x, "partial_fit")
        self._step(x)
        return self

    def _start(self, x: Array) -> None:
        for name in ("n_components", "batch_size", "steps", "n_iter"):
            value = getattr(self, name)
            least = 0 if name == "n_iter" else 1
            if isinstance(value, bool) or not hasattr(value, "__index__") or value < least:
                raise ValueError(f"RBM: {name} is {value!r}, expected an integer >= {least}")
        if not self.learning_rate > 0:
            raise ValueError(f"RBM: learning_rate is {self.learning_rate}, expected more than 0")
        if self.random_state is None:
            seed, call = _runtime.next_draw()
            own = kernels.integers(0, 2**62, 1, seed=seed, call=call)
            self._random = _runtime.Generator(int(own[0]))
        else:
            self._random = _runtime.Generator(int(self.random_state))
        hidden, visible = self.n_components, x.shape[1]
        seed, call = self._random.next_draw()
        options: dict[str, Any] = {"dtype": x.dtype, "seed": seed, "call": call}
        self.components_ = kernels.normal((hidden, visible), std=0.01, **options)
        self.intercept_hidden_ = np.zeros(hidden, x.dtype)
        self.intercept_visible_ = np.zeros(visible, x.dtype)
        if self.persistent:
            self.h_samples_ = np.zeros((self.batch_size, hidden), x.dtype)
        self.history_: list[float] = []
        self._descent: list[ParamList] = []

    def _follow(self, gradients: list[Array | None]) -> None:
        if not self._descent:
            both: tuple[list[Array], ...] = (
                [self.components_],
                [self.intercept_visible_, self.intercept_hidden_],
            )
            for params, decay in zip(both, (self.weight_decay, 0.0)):
                hyper = optim_hyper(
                    "sgd", lr=self.learning_rate, momentum=self.momentum, weight_decay=decay
                )
                states, progress = optim_state("sgd", params, hyper)
                self._descent.append(
                    ParamList("sgd", params, [list(s) for s in states], progress, hyper)
                )
        self._descent[0].step(gradients[:1])
        self._descent[1].step(gradients[1:])

    def _step(self, x: Array) -> None:
        seed, call = self._random.seed, self._random.call
        self._random.call += 2 * self.steps + 1
        found = kernels.rbm_contrastive_divergence(
            x,
            self.components_,
            self.intercept_visible_,
            self.intercept_hidden_,
            chain=self.h_samples_ if self.persistent else None,
            steps=self.steps,
            visible=self.visible,
            visible_means=self.visible_means,
            seed=seed,
            call=call,
        )
        self._follow([found.dw, found.db, found.dc])
        if self.persistent:
            self.h_samples_ = found.h

    # ---- use -------------------------------------------------------------------------------------

    def transform(self, X: Any) -> Array:
        """Returns the probabilities of the hidden units `(N, n_components)`."""
        x = self._fitted(X, "transform")
        return kernels.rbm_hidden(x, self.components_, self.intercept_hidden_, sample=False)[0]

    def fit_transform(self, X: Any, y: Any = None) -> Array:
        """`fit`, then `transform` of the same rows."""
        return self.fit(X).transform(X)

    def inverse_transform(self, H: Any) -> Array:
        """Returns the means of the visible units `(N, n_features)` for hidden ones."""
        self._require("inverse_transform")
        h = np.asarray(H)
        if h.dtype.kind not in "biuf":
            raise TypeError(f"RBM.inverse_transform: H has dtype {h.dtype}, expected numbers")
        h = np.ascontiguousarray(h, self.components_.dtype)
        w, b = self.components_, self.intercept_visible_
        return kernels.rbm_visible(h, w, b, visible=self.visible, sample=False)[0]

    def gibbs(self, v: Any, steps: int = 1) -> Array:
        """Returns v `(N, n_features)` after steps of Gibbs sampling.

        scikit-learn's is one step.
        """
        x = self._fitted(v, "gibbs")
        seed, call = self._random.seed, self._random.call
        self._random.call += 2 * steps + 1
        w, b, c = self.components_, self.intercept_visible_, self.intercept_hidden_
        return kernels.rbm_gibbs(
            w, b, c, v=x, steps=steps, visible=self.visible, seed=seed, call=call
        )[0]

    def free_energy(self, X: Any) -> Array:
        """Returns F(v) `(N,)`: p(v) ∝ exp(−F(v)). Only differences mean something."""
        x = self._fitted(X, "free_energy")
        w, b, c = self.components_, self.intercept_visible_, self.intercept_hidden_
        return kernels.rbm_free_energy(x, w, b, c, visible=self.visible)

    def score_samples(self, X: Any) -> Array:
        """Returns a pseudo-likelihood `(N,)`, in nats: the higher, the better known.

        One unit i of each row, drawn by chance, is flipped: n log p(v_i | the others) estimates the
        sum over all units, and needs no Z (Besag 1975). Gaussian units have no flip: there it is
        −F(v).
        """
        x = self._fitted(X, "score_samples")
        energy = self.free_energy(x)
        if self.visible == "gaussian":
            return -energy
        seed, call = self._random.next_draw()
        width = x.shape[1]
        unit = kernels.integers(0, width, len(x), seed=seed, call=call)
        flipped, rows = x.copy(), np.arange(len(x))
        flipped[rows, unit] = 1 - flipped[rows, unit]
        gap: Array = kernels.logsigmoid(self.free_energy(flipped) - energy)
        return np.multiply(gap, width, dtype=x.dtype)

    # ---- checks ----------------------------------------------------------------------------------

    def _data(self, X: Any, op: str) -> Array:
        x = np.asarray(X)
        if x.dtype.kind not in "fiub":
            raise TypeError(f"RBM.{op}: X has dtype {x.dtype}, expected numbers")
        if x.ndim != 2 or 0 in x.shape:
            raise ValueError(f"RBM.{op}: X has shape {x.shape}, expected (N, n_features)")
        x = np.ascontiguousarray(x, x.dtype if x.dtype in ("float32", "float64") else "float32")
        if not np.isfinite(x).all():
            raise ValueError(f"RBM.{op}: X has values that are NaN or infinite")
        if self.visible == "bernoulli" and (x.min() < 0 or x.max() > 1):
            raise ValueError(
                f"RBM.{op}: X goes from {x.min():.4g} to {x.max():.4g}, Bernoulli units expect "
                'values in [0, 1]; visible="gaussian" takes real ones'
            )
        return x

    def _require(self, op: str) -> None:
        if not hasattr(self, "components_"):
            raise ValueError(f"RBM.{op}: this machine is not fitted yet, call fit before")

    def _check_width(self, x: Array, op: str) -> None:
        if x.shape[1] != self.n_features_in_:
            raise ValueError(
                f"RBM.{op}: X has {x.shape[1]} features, this machine was fitted to "
                f"{self.n_features_in_}"
            )
        if x.dtype != self.components_.dtype:
            raise TypeError(
                f"RBM.{op}: X is {x.dtype}, this machine was fitted to {self.components_.dtype}"
            )

    def _fitted(self, X: Any, op: str) -> Array:
        self._require(op)
        x = self._data(X, op)
        self._check_width(x, op)
        return x

    @property
    def n_features_in_(self) -> int:
        """Visible units."""
        return int(self.components_.shape[1])
