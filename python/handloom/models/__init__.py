"""Models for language and pictures, put together from layers, and how text comes out of them."""

from .generate import Beam, beam_search, generate
from .recurrent import Captioner, RNNSeq2Seq, scheduled_sampling
from .transformer import (
    Cache,
    CausalLM,
    Encoder,
    MaskedLM,
    TransformerSeq2Seq,
    VisionTransformer,
)
from .word2vec import CBOW, SkipGram, negative_sampling_loss

__all__ = [
    "CBOW",
    "Beam",
    "Cache",
    "Captioner",
    "CausalLM",
    "Encoder",
    "MaskedLM",
    "RNNSeq2Seq",
    "SkipGram",
    "TransformerSeq2Seq",
    "VisionTransformer",
    "beam_search",
    "generate",
    "negative_sampling_loss",
    "scheduled_sampling",
]
