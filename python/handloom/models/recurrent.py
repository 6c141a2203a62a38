"""Recurrent networks that read and write, with and without attention.

Sutskever, Vinyals and Le, "Sequence to sequence learning with neural networks" (2014). Attention
stands behind the decoder, as in Luong, Pham and Manning, "Effective approaches to attention-based
neural machine translation" (2015), so that in training a whole target is one recurrent call; the
additive score is that of Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning
to align and translate" (2015), who put it in front.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from handloom._device_array import beside, on_host

from .. import nn, ops
from ..autograd import no_grad
from ..nn import functional as F
from ..ops._common import array_of, shape_of
from ..ops.random import uniform_array
from ..tensor import Array, Tensor

ATTENTIONS = ("dot", "general", "additive", "local", "hard")


class Attention(nn.Module):
    """Which of the encoder's vectors matters now? Queries (N, T, H), memory (N, S, H).

    - "dot": the product of both; "general": with a matrix between.
    - "additive": v·tanh(W q + U m).
    - "local": "general" within `window` positions around one that the query predicts, weighted with
      a bell around it whose deviation is half the window (Luong's local-p).
    - "hard": one position, drawn with the probabilities of "general" in training and the most
      likely one afterwards; the gradient goes straight through to the probabilities (Bengio,
      Léonard and Courville, 2013).

    Args:
        kind: One of these.
        features: H.
        window: Of "local".
    """

    def __init__(self, kind: str, features: int, window: int = 2) -> None:
        super().__init__()
        if kind not in ATTENTIONS:
            raise ValueError(f"Attention: kind {kind!r}, expected one of {', '.join(ATTENTIONS)}")
        if window < 1:
            raise ValueError(f"Attention: window is {window}, expected at least 1")
        self.kind, self.window = kind, window
        self.query = nn.Linear(features, features, bias=False) if kind != "dot" else None
        if kind == "additive":
            self.key = nn.Linear(features, features)
            self.score = nn.Linear(features, 1, bias=False)
        if kind == "local":
            self.where = nn.Sequential(
                nn.Linear(features, features, bias=False, activation="tanh"),
                nn.Linear(features, 1, bias=False, activation="sigmoid"),
            )

    def forward(self, x: Tensor, memory: Tensor, lengths: Any) -> tuple[Tensor, Tensor]:
        """Returns what was found (N, T, H), and the weights (N, T, S)."""
        counts = on_host(array_of(lengths))
        s = memory.shape[1]
        hidden = np.arange(s) >= counts[:, None, None]
        q = x if self.query is None else self.query(x)
        if self.kind == "additive":
            both = ops.tanh(q.unsqueeze(2) + self.key(memory).unsqueeze(1))
            scores = self.score(both).squeeze(-1)
        else:
            scores = ops.matmul(q, memory.transpose(1, 2)) * x.shape[-1] ** -0.5
        bell = None
        if self.kind == "local":
            last = Tensor(beside((counts - 1).astype(x.dtype)[:, None, None], x._array))
            away = Tensor(beside(np.arange(s, dtype=x.dtype), x._array)) - self.where(x) * last
            hidden = hidden | (np.abs(away.detach().cpu().numpy()) > self.window)
            bell = ops.exp(away * away * (-2.0 / self.window**2))
        hidden = beside(np.broadcast_to(hidden, scores.shape), x._array)
        weights = F.softmax(scores.masked_fill(hidden, -1e9))
        if bell is not None:
            weights = weights * bell
        if self.kind == "hard":
            weights = self._one(weights)
        return ops.matmul(weights, memory), weights

    def _one(self, weights: Tensor) -> Tensor:
        """One position as 0 and 1, with the gradient of its probability."""
        p = weights.numpy()
        if self.training:
            drawn = uniform_array((*p.shape[:-1], 1), str(p.dtype))
            at = np.minimum((p.cumsum(-1) < drawn).sum(-1), p.shape[-1] - 1)
        else:
            at = p.argmax(-1)
        one = ops.one_hot(at, p.shape[-1]).numpy().astype(p.dtype)
        return weights + Tensor(one - p)


class RNNDecoder(nn.Module):
    """What reads something and writes a sequence about it, a token at a time, with a GRU.

    A subclass has a `start`, which returns the GRU's first state (layers, N, H), what attention
    looks at (N, S, H), and how much of it counts (N,).

    Args:
        target: Size of the vocabulary.
        features: H, of embeddings and states.
        attention: A kind of `Attention`; None hands over the first state, nothing else.
        layers: Of the GRU.
        dropout: Of embeddings and between layers.
        window: Of local attention.
    """

    def __init__(
        self,
        target: int,
        features: int,
        attention: str | None,
        layers: int = 1,
        dropout: float = 0.0,
        window: int = 2,
    ) -> None:
        super().__init__()
        self.target = nn.Embedding(target, features)
        self.decoder = nn.GRU(features, features, layers, dropout=dropout if layers > 1 else 0.0)
        self.attention = None if attention is None else Attention(attention, features, window)
        if self.attention is not None:
            self.combine = nn.Linear(2 * features, features, activation="tanh")
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(features, target)

    def start(self, *source: Any) -> Any:
        """Reads the source, and returns the state that `step` begins with."""
        raise NotImplementedError(f"{type(self).__name__}: start is not defined")

    def forward(self, *source_and_target: Any) -> Tensor:
        """What `start` takes, and target (N, T) that begins with <bos> → logits (N, T, V)."""
        *source, target = source_and_target
        return self._decode(target, *self.start(*source))[0]

    def _decode(
        self, target: Any, state: Tensor, memory: Tensor, lengths: Array
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        y, state = self.decoder(self.dropout(self.target(target)), state)
        weights = None
        if self.attention is not None:
            found, weights = self.attention(y, memory, lengths)
            y = self.combine(ops.cat([found, y], -1))
        return self.head(self.dropout(y)), state, weights

    def weights(self, *source_and_target: Any) -> Array | None:
        """Returns where it looks as it writes this target: (N, T, S), None without attention."""
        *source, target = source_and_target
        with no_grad():
            found = self._decode(target, *self.start(*source))[2]
        return None if found is None else found.numpy()

    def step(self, tokens: Array, state: Any) -> tuple[Array, Any]:
        """New tokens (N, T) → logits (N, V) of what follows the last of them, and the state."""
        logits, h, _ = self._decode(tokens, *state)
        return logits.numpy()[:, -1], (h, *state[1:])

    def select(self, state: Any, rows: Array) -> Any:
        """Returns the state of these rows of the batch."""
        h, memory, lengths = state
        return Tensor(h.numpy()[:, rows]), Tensor(memory.numpy()[rows]), lengths[rows]


class RNNSeq2Seq(RNNDecoder):
    """Reads a sequence in both directions with a GRU, and writes another with a second one.

    Call it with source (N, S), lengths (N,) and target (N, T).

    Args:
        source, target: Sizes of the two vocabularies.
        features: Of embeddings and states, even.
        attention: A kind of `Attention`; None hands over the encoder's last state, nothing else.
        layers: Of each GRU.
        dropout: Of embeddings and between layers.
        window: Of local attention.
    """

    def __init__(
        self,
        source: int,
        target: int,
        features: int = 128,
        attention: str | None = None,
        layers: int = 1,
        dropout: float = 0.0,
        window: int = 2,
    ) -> None:
        if features % 2:
            raise ValueError(f"RNNSeq2Seq: features is {features}, expected an even number")
        super().__init__(target, features, attention, layers, dropout, window)
        self.source = nn.Embedding(source, features)
        between = dropout if layers > 1 else 0.0
        self.encoder = nn.GRU(features, features // 2, layers, dropout=between, bidirectional=True)
        self.bridge = nn.Linear(features, features, activation="tanh")

    def start(self, *source: Any) -> Any:
        """Reads the source (N, S) with its lengths, None for S, in both directions."""
        tokens, lengths = source
        if lengths is None:
            n, s = shape_of("RNNSeq2Seq", tokens, "source")[:2]
            lengths = np.full(n, s)
        memory, last = self.encoder(self.dropout(self.source(tokens)), lengths=lengths)
        # The two directions of a layer side by side: (layers·2, N, H/2) → (layers, N, H).
        n, half = last.shape[1:]
        both = last.reshape(-1, 2, n, half).permute(0, 2, 1, 3).reshape(-1, n, 2 * half)
        return self.bridge(both), memory, array_of(lengths)


class Captioner(RNNDecoder):
    """Says in words what is in an image: a convolutional network reads, a GRU writes.

    Vinyals et al., "Show and tell: a neural image caption generator" (2015), with the attention of
    Xu et al., "Show, attend and tell" (2015): it looks at columns of the image, as readers of text
    lines do. Call it with images (N, H, W, C) and target (N, T).

    Args:
        height: H of the images, a multiple of 4; any width will do.
        channels: C.
        target: Size of the vocabulary.
        features: Of columns, embeddings and states.
        attention: A kind of `Attention`; None hands over the mean of the columns.
        width: Channels of the first convolution.
        dropout: Of columns, embeddings and what the words are told from.
    """

    def __init__(
        self,
        height: int,
        channels: int,
        target: int,
        features: int = 96,
        attention: str | None = "additive",
        width: int = 16,
        dropout: float = 0.0,
    ) -> None:
        if height % 4:
            raise ValueError(f"Captioner: height is {height}, expected a multiple of 4")
        super().__init__(target, features, attention, dropout=dropout)
        self.encoder = nn.Sequential(
            *_block(channels, width),
            nn.MaxPool2d(2),
            *_block(width, 2 * width),
            nn.MaxPool2d(2),
            *_block(2 * width, 4 * width),
        )
        self.column = nn.Linear(height // 4 * 4 * width, features, activation="tanh")
        self.bridge = nn.Linear(features, features, activation="tanh")

    def start(self, *source: Any) -> Any:
        """Reads images (N, H, W, C) as W / 4 columns."""
        (images,) = source
        seen = self.encoder(images)
        memory = self.dropout(self.column(seen.transpose(1, 2).flatten(2)))
        lengths = np.full(memory.shape[0], memory.shape[1])
        return self.bridge(memory.mean(1)).unsqueeze(0), memory, lengths


def _block(inputs: int, outputs: int) -> list[nn.Module]:
    convolve = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return [convolve, nn.BatchNorm2d(outputs), nn.ReLU()]


def scheduled_sampling(
    model: nn.Module, source: Any, lengths: Any, target: Array, share: float, seed: int
) -> Array:
    """Replaces a share of the target's tokens by what the model would have said there.

    Teacher forcing shows a model only what is right; this prepares it for its own mistakes. Bengio
    et al., "Scheduled sampling for sequence prediction with recurrent neural networks" (2015), in
    the two passes of Mihaylova and Martins, "Scheduled sampling for transformers" (2019): the first
    pass, without a gradient, sees the true target.

    Args:
        model: Called with (source, lengths, target).
        source, lengths: As the model takes them.
        target: (N, T) int64, begins with <bos>, which stays.
        share: Probability that a token is replaced, 0 to 1.
        seed: Of the draw.

    Returns:
        (N, T) int64.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"scheduled_sampling: share is {share}, expected 0 to 1")
    with no_grad():
        said = model(source, lengths, target).numpy().argmax(-1)
    drawn = np.random.Generator(np.random.Philox(seed)).random(target.shape) < share
    drawn[:, 0] = False
    # What it said at a place is what follows: it stands one place later.
    return np.where(drawn, np.roll(said, 1, axis=1), target)
