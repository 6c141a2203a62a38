"""Networks for images, the objects that they find, metrics, augmentation, transfer."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import handloom as hl
from handloom import data, kernels, nn, optim
from handloom.data import augment
from handloom.data.images import parse_png, parse_tiff
from handloom.data.scenes import digit_scenes, texture_mosaics
from handloom.models import vision
from handloom.train import (
    GradualUnfreezing,
    extract_features,
    fit,
    freeze_batch_norm,
    layer_rates,
    metrics,
)
from handloom.vision import (
    Anchors,
    ObjectLoader,
    Objects,
    balanced_sample,
    detections,
    hard_negatives,
    match_anchors,
)

F = nn.functional


@pytest.fixture(scope="module")
def scenes():
    return digit_scenes(12, seed=1)


# objects


def test_objects_are_picked_and_measured():
    masks = np.zeros((2, 4, 6), bool)
    masks[0, 1:3, 2:5] = True
    masks[1, 0, 0] = True
    own = Objects.from_masks(masks, [3, 1])
    np.testing.assert_array_equal(own.boxes, [[2, 1, 5, 3], [0, 0, 1, 1]])
    np.testing.assert_array_equal(own.area, [6, 1])
    np.testing.assert_array_equal(own[own.labels == 1].boxes, [[0, 0, 1, 1]])
    np.testing.assert_array_equal(own[0].labels, [3])
    numbers = masks[0] * 7 + masks[1] * 2
    again = Objects.from_masks(numbers)
    np.testing.assert_array_equal(again.boxes, own.boxes[::-1])
    assert len(Objects.none()) == 0


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Objects(np.zeros((2, 4)), [1]), "2 boxes, but 1 labels"),
        (lambda: Objects(np.zeros((2, 3)), [1, 2]), r"boxes has shape \(2, 3\)"),
        (lambda: Objects(np.zeros((1, 4)), [1], [0.1, 0.2]), "1 boxes, but 2 scores"),
        (lambda: Objects(np.zeros((1, 4)), [1], None, np.zeros((1, 4))), "expected .N, H, W."),
    ],
)
def test_objects_that_do_not_fit(make, text):
    with pytest.raises(ValueError, match=text):
        make()
    with pytest.raises(TypeError, match="labels has dtype float64"):
        Objects(np.zeros((1, 4)), [0.5])


def test_detections_keep_one_box_for_each_object():
    boxes = np.float32([[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 40], [np.nan] * 4])
    scores = np.float32([[0.9, 0.1], [0.8, 0.7], [0.02, 0.6], [0.99, 0.99]])
    found = detections(boxes, scores, (32, 32))
    np.testing.assert_array_equal(found.labels, [0, 1, 1])
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.6])
    np.testing.assert_array_equal(found.boxes[2], [20, 20, 30, 32])
    assert len(detections(boxes, scores, (32, 32), score_threshold=1.1)) == 0
    with pytest.raises(ValueError, match="detections: boxes has shape"):
        detections(boxes, scores[:2], (32, 32))


# anchors


def test_every_object_gets_an_anchor():
    anchors = Anchors((8, 16), ((8.0,), (16.0, 32.0)), (0.5, 1.0))((8, 8), (4, 4))
    assert anchors.shape == (8 * 8 * 2 + 4 * 4 * 4, 4)
    own = Objects([[3, 3, 9, 60], [40, 40, 44, 44]], [0, 1])
    match = match_anchors(anchors, own, low=0.3, high=0.7)
    assert set(match.tolist()) >= {0, 1}
    none = match_anchors(anchors, Objects.none(), low=0.3, high=0.7)
    assert (none == -1).all()


def test_samples_are_balanced_and_hard():
    match = np.array([0, 1, 1, -1, -1, -1, -2, -1])
    found, empty = balanced_sample(match, 4, 0.5, np.random.default_rng(0))
    assert len(found) == 2
    assert len(empty) == 2
    assert (match[found] >= 0).all()
    assert (match[empty] == -1).all()
    loss = np.array([9, 9, 9, 1, 3, 2, 9, 5.0])
    np.testing.assert_array_equal(hard_negatives(loss, match, ratio=1, least=1), [4, 5, 7])


# average precision


def test_average_precision_by_hand():
    true = [Objects([[0, 0, 10, 10], [20, 20, 30, 30]], [0, 0]), Objects([[5, 5, 9, 9]], [0])]
    boxes = [[0, 0, 10, 10], [50, 50, 60, 60], [20, 20, 30, 31]]
    found = [Objects(boxes, [0] * 3, [0.9, 0.8, 0.7]), Objects.none(scores=True)]
    # Hit, miss, hit of three: precision 1 up to recall 1/3, 2/3 up to 2/3, then 0.
    exact = (34 * 1 + 33 * 2 / 3) / 101
    assert metrics.average_precision(true, found) == pytest.approx(exact)
    result = metrics.mean_average_precision(true, found)
    assert result["ap50"] == pytest.approx(exact)
    assert result["per_class"] == {0: pytest.approx(result["map"])}
    perfect = [Objects(o.boxes, o.labels, np.ones(len(o))) for o in true]
    assert metrics.mean_average_precision(true, perfect)["map"] == pytest.approx(1)
    twice = [o[[0, 0]] if len(o) > 1 else o for o in perfect]
    # The second find of the same object is an error, and one object is not found.
    assert metrics.average_precision(true, twice) == pytest.approx((34 + 33 * 2 / 3) / 101)
    assert np.isnan(metrics.average_precision([Objects.none()], found[1:]))


def test_average_precision_of_masks():
    masks = np.zeros((1, 8, 8), bool)
    masks[0, :4, :4] = True
    true = [Objects.from_masks(masks, [2])]
    half = masks.copy()
    half[0, :2] = False
    found = [Objects(true[0].boxes, [2], [0.5], half)]
    assert metrics.average_precision(true, found, 0.5, masks=True) == pytest.approx(1)
    assert metrics.average_precision(true, found, 0.51, masks=True) == 0
    assert metrics.average_precision(true, found, 0.51) == pytest.approx(1)
    other = [Objects(true[0].boxes, [2], [0.5], np.ones((1, 4, 4)))]
    with pytest.raises(ValueError, match=r"found masks of .4, 4. pixels and true ones of .8, 8."):
        metrics.average_precision(true, other, masks=True)
    with pytest.raises(ValueError, match=r"found\[0\] has no scores"):
        metrics.average_precision(true, true)
    with pytest.raises(ValueError, match="1 images with true objects, 0 with found"):
        metrics.average_precision(true, [])


# classes of pixels


def test_scores_of_pixels():
    true, guess = np.array([[0, 1, 1, 2]]), np.array([[0, 1, 2, 2]])
    np.testing.assert_array_equal(
        metrics.segmentation_table(true, guess), [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    )
    assert metrics.pixel_accuracy(true, guess) == 0.75
    np.testing.assert_allclose(metrics.class_iou(true, guess), [1, 0.5, 0.5])
    assert metrics.mean_iou(true, guess) == pytest.approx(2 / 3)
    np.testing.assert_allclose(metrics.dice_score(true, guess), [1, 2 / 3, 2 / 3])
    assert metrics.pixel_accuracy(
        np.array([[0, 255, 1, 2]]), guess, ignore_index=255
    ) == pytest.approx(2 / 3)
    scores = np.eye(3, dtype=np.float32)[guess]
    assert metrics.mean_iou(true, scores) == pytest.approx(2 / 3)
    assert np.isnan(metrics.class_iou(true, guess, 5)[4])


# augmentation


def test_objects_move_with_their_pixels(scenes):
    shaken = augment.WithObjects(
        [
            augment.RandomHorizontalFlip(0.7),
            augment.RandomVerticalFlip(),
            augment.RandomAffine(30, (0.1, 0.1), (0.8, 1.2), 8),
            augment.RandomCrop(56, padding=2),
            augment.ColorJitter(0.2, 0.2),
        ],
        seed=4,
        visible=0.0,
    )
    index = np.arange(12)
    x, objects = shaken(scenes.x, scenes.objects, index=index)
    assert x.shape == (12, 56, 56, 1)
    # A picture of the masks, moved as an image, has to be where the masks went.
    for i in (0, 5, 11):
        own = scenes.objects[i]
        layers = np.ascontiguousarray(np.moveaxis(own.masks, 0, -1), np.float32)[None]
        plain = augment.Compose(shaken.compose.transforms[:-1], seed=4)
        moved = plain(layers, index=index[i : i + 1])[0]
        for k, mask in enumerate(objects[i].masks):
            at = [j for j in range(len(own)) if (moved[..., j] > 0.5).any()][k]
            assert np.abs(mask.astype(float) - moved[..., at]).mean() < 0.02
        np.testing.assert_array_equal(kernels.masks_to_boxes(objects[i].masks), objects[i].boxes)
    again = shaken(scenes.x, scenes.objects, index=index)[1]
    np.testing.assert_array_equal(again[3].boxes, objects[3].boxes)
    other = shaken(scenes.x, scenes.objects, index=index, epoch=1)[1]
    assert not np.array_equal(other[3].boxes, objects[3].boxes)


def test_a_flip_mirrors_boxes_exactly():
    own = Objects([[1, 2, 4, 7]], [0])
    x = np.zeros((1, 8, 10, 1), np.float32)
    _, flipped = augment.WithObjects([augment.RandomHorizontalFlip(1.0)], seed=0)(x, [own])
    np.testing.assert_allclose(flipped[0].boxes, [[6, 2, 9, 7]])
    _, gone = augment.WithObjects(
        [augment.RandomTranslation(0.0), augment.CenterCrop((2, 2))], seed=0
    )(x, [own])
    assert len(gone[0]) == 0


def test_labels_move_with_their_pixels():
    y = np.arange(2 * 6 * 8).reshape(2, 6, 8)
    x = y[..., None].astype(np.float32)
    both = augment.WithLabels(
        [augment.RandomHorizontalFlip(), augment.RandomCrop(6, padding=2)], seed=3, fill=-1
    )
    moved, labels = both(x, y, index=np.arange(2))
    assert labels.dtype == y.dtype
    inside = labels >= 0
    np.testing.assert_array_equal(moved[..., 0][inside], labels[inside])
    assert (moved[..., 0][~inside] == 0).all()
    tensor = both(hl.tensor(x), hl.tensor(y), index=np.arange(2))[1]
    np.testing.assert_array_equal(tensor.numpy(), labels)


def test_what_cannot_move_is_refused(scenes):
    with pytest.raises(ValueError, match="MixUp mixes images"):
        augment.WithObjects([augment.MixUp()])
    flip = [augment.RandomHorizontalFlip()]
    with pytest.raises(ValueError, match="12 images, but objects of 3"):
        augment.WithObjects(flip)(scenes.x, scenes.objects[:3])
    with pytest.raises(ValueError, match=r"masks of .64, 64. pixels, the image has .32, 32."):
        augment.WithObjects(flip)(np.zeros((12, 32, 32, 1), np.float32), scenes.objects)
    with pytest.raises(ValueError, match="y has shape"):
        augment.WithLabels(flip)(scenes.x, np.zeros((12, 3, 3), int))


# data


def test_scenes_are_exact_and_apart(scenes):
    assert scenes.x.shape == (12, 64, 64, 1)
    for own in scenes.objects:
        assert 1 <= len(own) <= 3
        np.testing.assert_array_equal(kernels.masks_to_boxes(own.masks), own.boxes)
        assert own.masks.sum(0).max() <= 1
    again = digit_scenes(12, seed=1)
    np.testing.assert_array_equal(again.x, scenes.x)
    assert not np.array_equal(digit_scenes(12, seed=1, train=False).x, scenes.x)
    mosaic = texture_mosaics(3, size=48)
    assert mosaic.x.shape == (3, 48, 48, 1)
    assert set(np.unique(mosaic.y)) <= {0, 1, 2}
    assert mosaic.names == ("brick", "grass", "gravel")


def test_pictures_are_read_as_others_read_them():
    image = pytest.importorskip("matplotlib.image")
    import io

    rng = np.random.default_rng(0)
    for shape in ((13, 17, 3), (9, 31, 4), (1, 1, 3)):
        pixels = rng.integers(0, 256, shape).astype(np.uint8)
        pixels[: shape[0] // 2] //= 16  # smooth rows take other filters
        buffer = io.BytesIO()
        image.imsave(buffer, pixels, format="png")
        read = parse_png(buffer.getvalue(), "made")
        np.testing.assert_array_equal(read[..., :3], pixels[..., :3])
    with pytest.raises(ValueError, match="x is not a PNG"):
        parse_png(b"GIF89a", "x")
    with pytest.raises(ValueError, match="x is damaged"):
        parse_png(buffer.getvalue()[:60] + b"\0" * 40, "x")
    with pytest.raises(ValueError, match="x is not a TIFF"):
        parse_tiff(b"GIF89a", "x")
    with pytest.raises(ValueError, match="x is damaged"):
        parse_tiff(b"II*\0\x08\0\0\0", "x")


# networks


@pytest.mark.parametrize(
    ("model", "stride"),
    [
        (lambda: vision.FCN(1, 3, (4, 8, 8)), 4),
        (lambda: vision.UNet(1, 3, 4, 2), 4),
        (lambda: vision.DeepLab(1, 3, 4, (1, 2)), 4),
    ],
)
def test_every_pixel_gets_scores(model, stride):
    hl.manual_seed(0)
    net = model()
    x = np.random.default_rng(0).random((2, 16, 24, 1)).astype(np.float32)
    y = net(x)
    assert y.shape == (2, 16, 24, 3)
    labels = np.random.default_rng(1).integers(0, 3, (2, 16, 24))
    F.cross_entropy(y, labels).backward()
    assert all(p.grad is not None and np.isfinite(p.grad.numpy()).all() for p in net.parameters())
    name = type(net).__name__
    with pytest.raises(ValueError, match=f"{name}: x has 6 by 16 pixels, expected multiples of"):
        net(x[:, :6, :16])
    with pytest.raises(ValueError, match=f"{name}: x has shape"):
        net(x[0])


def test_an_fcn_starts_as_bilinear_interpolation():
    layer = vision.segmentation.bilinear_upsampling(2)
    x = np.random.default_rng(0).random((1, 5, 6, 2)).astype(np.float32)
    y, exact = layer(x).numpy(), F.interpolate(x, scale_factor=2, mode="bilinear").numpy()
    np.testing.assert_allclose(y[:, 1:-1, 1:-1], exact[:, 1:-1, 1:-1], atol=1e-6)


DETECTORS = {
    "YOLO": lambda: vision.YOLO(1, 10, widths=(4, 8, 8, 8)),
    "SSD": lambda: vision.SSD(1, 10, widths=(4, 8, 8, 8, 8)),
    "FasterRCNN": lambda: vision.FasterRCNN(1, 10, widths=(4, 8, 8), hidden=16, pooled=3),
    "MaskRCNN": lambda: vision.MaskRCNN(
        1, 10, widths=(4, 8, 8), hidden=16, pooled=3, mask_bins=4, mask_width=4
    ),
}


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detector_trains_and_finds(name, scenes):
    hl.manual_seed(0)
    model = DETECTORS[name]()
    loader = ObjectLoader(scenes.x, scenes.objects, 6)
    history = fit(
        model,
        loader,
        loss=model.loss,
        optimizer=optim.Adam(model.parameters(), lr=3e-3),
        epochs=4,
        progress=False,
    )
    assert history["loss"][-1] < history["loss"][0]
    found = model.detect(scenes.x[:3], score_threshold=0.0)
    assert len(found) == 3
    for own in found:
        assert len(own) > 0
        assert (own.boxes >= 0).all()
        assert (own.boxes <= 64).all()
        assert (own.labels < 10).all()
        assert (own.scores[:-1] >= own.scores[1:]).all()
    if name == "MaskRCNN":
        assert found[0].masks.shape[1:] == (64, 64)
    assert model.training


@pytest.mark.parametrize("name", DETECTORS)
def test_images_without_objects_and_labels_that_are_too_large(name, scenes):
    hl.manual_seed(0)
    model = DETECTORS[name]()
    empty = Objects(np.zeros((0, 4)), np.zeros(0, int), None, np.zeros((0, 64, 64)))
    loss = model.loss(model(scenes.x[:2]), [empty, empty])
    loss.backward()
    assert np.isfinite(loss.item())
    loss = model.loss(model(scenes.x[:2]), [empty, scenes.objects[1]])
    assert np.isfinite(loss.item())
    wrong = Objects([[1, 1, 20, 20]], [10], None, np.ones((1, 64, 64)))
    with pytest.raises(ValueError, match=f"{name}: an object has the label 10, the head has 10"):
        model.loss(model(scenes.x[:1]), [wrong])
    with pytest.raises(ValueError, match=f"{name}: x has 5 by 64 pixels, expected multiples"):
        model.detect(scenes.x[:, :5])


def test_masks_of_another_size_are_refused(scenes):
    model = DETECTORS["MaskRCNN"]()
    small = Objects([[1, 1, 20, 20]], [1], None, np.ones((1, 32, 32)))
    with pytest.raises(ValueError, match=r"image 0 has masks of .32, 32. pixels, expected .64"):
        model.loss(model(scenes.x[:1]), [small])
    bare = Objects([[1, 1, 20, 20]], [1])
    with pytest.raises(ValueError, match="objects of image 0 have no masks"):
        model.loss(model(scenes.x[:1]), [bare])


def test_rcnn_trains_on_regions(scenes):
    hl.manual_seed(0)
    model = vision.RCNN(1, 10, side=16, widths=(4, 8))
    rng = np.random.default_rng(0)
    crops, targets = model.samples(scenes.x[0], scenes.objects[0], rng)
    assert crops.shape[1:] == (16, 16, 1)
    assert targets.shape == (len(crops), 5)
    assert set(targets[:, 0]) <= {0, *(scenes.objects[0].labels + 1)}
    loss = model.loss(model(crops), targets)
    loss.backward()
    found = model.detect(scenes.x[:2], score_threshold=0.0)
    assert len(found) == 2
    nothing = vision.RCNN(1, 10, side=16, widths=(4, 8), propose=lambda x: np.zeros((0, 4), "f4"))
    assert len(nothing.detect(scenes.x[:1])[0]) == 0


# transfer


def test_resnet_18_has_the_weights_of_torchvision():
    torch = pytest.importorskip("torch")
    tnn = torch.nn

    class Block(tnn.Module):
        def __init__(self, i, o, stride):
            super().__init__()
            self.conv1 = tnn.Conv2d(i, o, 3, stride, 1, bias=False)
            self.bn1 = tnn.BatchNorm2d(o)
            self.conv2 = tnn.Conv2d(o, o, 3, 1, 1, bias=False)
            self.bn2 = tnn.BatchNorm2d(o)
            self.downsample = None
            if stride != 1 or i != o:
                self.downsample = tnn.Sequential(
                    tnn.Conv2d(i, o, 1, stride, bias=False), tnn.BatchNorm2d(o)
                )

        def forward(self, x):
            y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
            return torch.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Net(tnn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = tnn.Conv2d(3, 64, 7, 2, 3, bias=False)
            self.bn1 = tnn.BatchNorm2d(64)
            self.maxpool = tnn.MaxPool2d(3, 2, 1)
            widths = (64, 64, 128, 256, 512)
            for n in range(1, 5):
                first = Block(widths[n - 1], widths[n], 1 if n == 1 else 2)
                setattr(self, f"layer{n}", tnn.Sequential(first, Block(widths[n], widths[n], 1)))
            self.fc = tnn.Linear(512, 1000)

        def forward(self, x):
            x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
            x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
            return self.fc(x.mean((2, 3)))

    torch.manual_seed(0)
    twin = Net().eval()
    for module in twin.modules():
        if isinstance(module, tnn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
    model = vision.resnet18().eval()
    assert sum(p.size for p in model.state_dict().values()) > 11_689_512
    model.load_state_dict(hl.io.from_torch(twin.state_dict(), like=model))
    x = np.random.default_rng(0).standard_normal((2, 64, 64, 3)).astype(np.float32)
    with torch.no_grad():
        exact = twin(torch.from_numpy(x.transpose(0, 3, 1, 2).copy())).numpy()
    np.testing.assert_allclose(model(x).numpy(), exact, rtol=1e-3, atol=1e-4)
    assert list(model.state_dict()) == list(twin.state_dict())


def small_net():
    return nn.Sequential(
        nn.Sequential(vision.conv_block(1, 4), nn.MaxPool2d(2)),
        nn.Sequential(vision.conv_block(4, 4), nn.Flatten()),
        nn.Linear(4 * 16, 3),
    )


def test_a_frozen_prefix_keeps_weights_and_statistics_and_skips_its_backward():
    hl.manual_seed(0)
    model = small_net()
    rng = np.random.default_rng(0)
    x = rng.random((20, 8, 8, 1)).astype(np.float32)
    y = rng.integers(0, 3, 20)
    model[:2].freeze()
    freeze_batch_norm(model[:2])
    before = copy.deepcopy(model.state_dict())
    model.train()
    with hl.profile() as seen:
        F.cross_entropy(model(x), y).backward()
    assert not any("conv_backward" in row.kernel for row in seen.rows)
    learning = [p for p in model.parameters() if p.requires_grad]
    assert len(learning) == 2
    fit(
        model, (x, y), loss=F.cross_entropy, optimizer=optim.Adam(learning), epochs=2,
        progress=False,
    )  # fmt: skip
    after = model.state_dict()
    changed = {n for n in before if not np.array_equal(before[n], after[n])}
    assert changed == {"2.weight", "2.bias"}
    # What the frozen part sees may as well be computed once.
    seen_once = extract_features(model[:2], x)
    model.eval()
    np.testing.assert_allclose(model[2](seen_once).numpy(), model(x).numpy(), atol=1e-5)
    freeze_batch_norm(model, frozen=False)
    assert model.train()[0][0][1].training


def test_rates_fall_towards_the_input():
    model = small_net()
    groups = layer_rates(list(model), 1e-2, 0.5)
    assert [g["lr"] for g in groups] == [2.5e-3, 5e-3, 1e-2]
    assert [len(g["params"]) for g in groups] == [3, 3, 2]
    with pytest.raises(ValueError, match="stages is empty"):
        layer_rates([], 1e-2)
    with pytest.raises(ValueError, match="lr is 0"):
        layer_rates(list(model), 0)


def test_stages_thaw_one_after_the_other():
    hl.manual_seed(0)
    model = small_net()
    rng = np.random.default_rng(0)
    x, y = rng.random((12, 8, 8, 1)).astype(np.float32), rng.integers(0, 3, 12)
    states = []

    class Watch(hl.train.Callback):
        def on_epoch_end(self, run):
            states.append(copy.deepcopy(model.state_dict()))

    thaw = GradualUnfreezing(list(model), every=1)
    start = copy.deepcopy(model.state_dict())
    fit(
        model, (x, y), loss=F.cross_entropy, optimizer=optim.Adam(model.parameters(), lr=1e-2),
        epochs=3, callbacks=[thaw, Watch()], progress=False,
    )  # fmt: skip

    def changed(a, b):
        return {n.split(".")[0] for n in a if not np.array_equal(a[n], b[n])}

    assert changed(start, states[0]) == {"2"}
    assert changed(states[0], states[1]) == {"1", "2"}
    assert changed(states[1], states[2]) == {"0", "1", "2"}
    with pytest.raises(ValueError, match="every is 0"):
        GradualUnfreezing(list(model), every=0)


def test_loader_orders_are_seeded(scenes):
    def labels(loader):
        return [[o.labels.tolist() for o in objects] for _, objects in loader]

    a, b = (ObjectLoader(scenes.x, scenes.objects, 5, seed=2) for _ in "ab")
    assert len(a) == 3
    first = labels(a)
    assert first == labels(b)
    assert first != labels(a)  # another epoch
    with pytest.raises(ValueError, match="objects of 1 images, expected 12"):
        ObjectLoader(scenes.x, scenes.objects[:1])


def test_data_sets_are_what_they_say():
    nuclei = data.load("nuclei")
    assert nuclei.x.shape == (1, 512, 512, 1)
    assert len(np.unique(nuclei.y)) == 126
    assert data.load("faces").y.sum() == 100
    assert data.load("textures").x.shape == (3, 512, 512, 1)
    assert data.load("astronaut").x.shape == (1, 512, 512, 3)
