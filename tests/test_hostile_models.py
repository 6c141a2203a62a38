"""Models, tokens, boxes and metrics say what came and what they expected, whatever comes."""

from __future__ import annotations

import json

import numpy as np
import pytest

import handloom as hl
from handloom import kernels, models, nn, text, vision
from handloom.models import vision as networks
from handloom.nn import functional as F
from handloom.train import metrics

IDS = np.array([[1, 2, 3], [2, 3, 0]])
LENGTHS = np.array([3, 2])
IMAGES = np.random.default_rng(0).random((2, 64, 64, 1)).astype("f4")
BOXES = np.array([[0, 0, 20, 20], [10, 10, 40, 50]], "f4")
OBJECTS = vision.Objects(BOXES, np.array([0, 1]))


def causal() -> models.CausalLM:
    return models.CausalLM(10, 16, 2, 1, 16).eval()


def sequence(kind: str | None = "dot", window: int = 2) -> models.RNNSeq2Seq:
    return models.RNNSeq2Seq(10, 10, 8, kind, window=window).eval()


def write(prompt=IDS[:1], length=3, **options):
    model = causal()
    return models.generate(model, prompt, model.start(), length=length, **options)


def search(prompt=IDS[:1], length=3, beams=2, end=0):
    model = causal()
    return models.beam_search(model, prompt, model.start(), length=length, beams=beams, end=end)


def cycle() -> models.CycleGAN:
    parts = models.Translator(4, 1), models.Translator(4, 1)
    return models.CycleGAN(*parts, models.patch_critic(4), models.patch_critic(4))


WHAT = {
    "a list of tokens": (lambda: causal()(IDS.tolist()), TypeError, "embedding: input is a list"),
    "tokens as text": (lambda: sequence()("abc", LENGTHS, IDS), TypeError, "is a str, expected"),
    "real tokens": (lambda: causal()(IDS * 1.0), TypeError, "float64, expected integers"),
    "token 1001": (lambda: causal()(IDS + 1000), ValueError, "1001"),
    "no window": (lambda: sequence("local", 0), ValueError, "window is 0, expected at least 1"),
    "a text as prompt": (lambda: write("abc"), TypeError, "generate: prompt has dtype"),
    "a real prompt": (lambda: write(IDS * 1.5), TypeError, "generate: prompt has dtype float64"),
    "no prompt": (lambda: write(IDS[:, :0]), ValueError, "expected .N, T. with at least one"),
    "a length of x": (lambda: write(length="x"), TypeError, "generate: length is 'x'"),
    "temperature x": (lambda: write(temperature="x"), TypeError, "temperature is 'x'"),
    "temperature nan": (lambda: write(temperature=np.nan), ValueError, "temperature is nan"),
    "a negative seed": (lambda: write(seed=-1), ValueError, "generate: seed is -1"),
    "top_k 0": (lambda: write(top_k=0), ValueError, "top_k 0"),
    "too long": (lambda: write(length=99), ValueError, "max_length is 16"),
    "half a beam": (lambda: search(beams=2.5), TypeError, "beam_search: beams is 2.5"),
    "an end beyond": (lambda: search(end=99), ValueError, "end is 99, expected a token, 0 to 9"),
    "a size of x": (lambda: models.CausalLM("x"), TypeError, "num_embeddings is 'x'"),
    "positions": (lambda: models.CausalLM(9, positions="x"), ValueError, "positions is 'x'"),
    "encode None": (lambda: CHARS.encode(None), TypeError, "CharTokenizer.encode: text is a None"),
    "decode text": (lambda: CHARS.decode("x"), TypeError, "decode: expected a row of integers"),
    "decode reals": (lambda: CHARS.decode([1.5]), TypeError, "row of integers, got float64"),
    "decode 99": (lambda: CHARS.decode([99]), ValueError, "99 is no token"),
    "train None": (lambda: text.WordTokenizer.train(None), TypeError, "texts is a NoneType"),
    "train 1": (lambda: text.WordTokenizer.train([1]), TypeError, r"texts\[0\] is a int"),
    "train size": (lambda: text.CharTokenizer.train(["a"], "x"), TypeError, "size is 'x'"),
    "pad text": (lambda: text.pad("x"), TypeError, "text.pad: rows is a str"),
    "pad words": (lambda: text.pad([["a"]]), TypeError, "text.pad: expected a row of integers"),
    "perplexity": (lambda: metrics.perplexity("x"), TypeError, "perplexity: loss is 'x'"),
    "error rate": (lambda: metrics.error_rate([1], [2]), TypeError, r"true\[0\] is a int"),
    "edit lists": (lambda: metrics.edit_distance([[]], [[]]), TypeError, "holds a list"),
    "bleu None": (lambda: metrics.bleu(None, None), TypeError, "bleu: true is a NoneType"),
    "neighbours": (lambda: F.nearest_neighbours("x", BOXES), TypeError, "query is a str"),
    "neighbours k": (lambda: F.nearest_neighbours(BOXES, BOXES, 1.5), TypeError, "k is 1.5"),
    "U-Net None": (lambda: networks.UNet(1, 2, 8, 2)(None), TypeError, "UNet: x is a NoneType"),
    "U-Net odd": (lambda: networks.UNet(1, 2, 8, 2)(IMAGES[:, :9]), ValueError, "multiples of 4"),
    "flatten": (lambda: nn.Flatten()(None), TypeError, "flatten: x"),
    "critic": (lambda: models.DCDiscriminator()("x"), TypeError, "DCDiscriminator: x is a str"),
    "translator": (lambda: models.Translator()(1.0), TypeError, "Translator: x is a float"),
    "cycle None": (lambda: cycle().translate(None, "b"), TypeError, "translate: x is a NoneType"),
    "cycle empty": (lambda: cycle().translate(IMAGES[:0], "b"), ValueError, "x has no image"),
    "cycle state": (lambda: cycle().load_state_dict({}), ValueError, "has no parts, optimizers"),
    "latent": (lambda: models.DenseGenerator(4, (8, 8, 1))(None), TypeError, "z is a NoneType"),
    "alpha": (
        lambda: models.ProgressiveGenerator(8, 16)(np.zeros((1, 8), "f4"), 1, "x"),
        ValueError,
        "alpha is 'x', expected 0 to 1",
    ),
    "sizes": (lambda: models.dense_autoencoder(None), ValueError, "sizes is None"),
    "anomaly": (lambda: models.dense_autoencoder((4, 2)).anomaly(1.0), TypeError, "x is a float"),
    "objects' labels": (lambda: vision.Objects(BOXES, [0, -1]), ValueError, "labels has -1"),
    "objects' boxes": (lambda: vision.Objects("x", [0]), TypeError, "boxes has dtype"),
    "bins None": (
        lambda: kernels.roi_align(IMAGES, np.zeros((1, 5), "f4"), None), ValueError, "size is None"
    ),
    "loader": (lambda: vision.ObjectLoader(None, []), TypeError, "ObjectLoader: x is a NoneType"),
    "loader few": (lambda: vision.ObjectLoader(IMAGES, [OBJECTS]), ValueError, "of 1 images, ex"),
    "precision": (
        lambda: metrics.mean_average_precision([1], [2]), TypeError, r"objects\[0\] is a int"
    ),
}  # fmt: skip
CHARS = text.CharTokenizer.train(["abc"])


@pytest.mark.parametrize("what", WHAT)
def test_it_is_named(what):
    call, error, message = WHAT[what]
    with pytest.raises(error, match=message):
        call()


def test_what_is_defined():
    model = sequence().eval()
    with hl.no_grad():
        whole = model(IDS, None, IDS).numpy()
        np.testing.assert_array_equal(whole, model(IDS, np.array([3, 3]), IDS).numpy())
    assert search(IDS[:0]) == []
    assert write(IDS[:0]).shape[0] == 0
    assert CHARS.decode(np.array([4, 5])) == "ab"
    assert text.pad([])[0].shape == (0, 0)


@pytest.mark.parametrize("kind", ["YOLO", "SSD", "FasterRCNN", "MaskRCNN"])
def test_detectors(kind):
    hl.manual_seed(0)
    net = getattr(networks, kind)(1, 3)
    said = net(IMAGES)
    for objects, error, message in (
        (None, TypeError, f"{kind}: objects is a NoneType"),
        (["a", "b"], TypeError, rf"{kind}: objects\[0\] is a str"),
        ([OBJECTS], ValueError, f"{kind}: objects of 1 images, expected 2"),
        ([vision.Objects(BOXES, [0, 9])] * 2, ValueError, f"{kind}: an object has the label 9"),
    ):
        with pytest.raises(error, match=message):
            net.loss(said, objects)
    assert net.detect(IMAGES[:0]) == []
    for bad in (np.full((1, 64, 64, 1), np.nan, "f4"), np.full((1, 64, 64, 1), 1e38, "f4")):
        (found,) = net.detect(bad)
        assert np.isfinite(found.boxes).all()
    with pytest.raises(RuntimeError, match=r"missing|unexpected"):
        net.load_state_dict(networks.UNet(1, 2, 8, 2).state_dict())


@pytest.mark.parametrize("value", [None, 3, "x", [], [1], {}])
def test_tokenizer_files_of_another_kind(value, tmp_path):
    CHARS.save(tmp_path / "tokens.json")
    state = json.loads((tmp_path / "tokens.json").read_text())
    for key in state:
        (tmp_path / "other.json").write_text(json.dumps({**state, key: value}))
        with pytest.raises(ValueError, match=r"text.load: .*other.json"):
            text.load(tmp_path / "other.json")
