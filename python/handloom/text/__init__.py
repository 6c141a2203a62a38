"""Text as numbers: tokenizers of characters, words and byte pairs behind one small interface."""

from .tokenizers import BPETokenizer, CharTokenizer, Tokenizer, WordTokenizer, load, pad

__all__ = ["BPETokenizer", "CharTokenizer", "Tokenizer", "WordTokenizer", "load", "pad"]
