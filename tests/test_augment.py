"""Augmentation: what each transform does, that samples keep their own random numbers, that passes
are joined."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom.data import DataLoader, TensorDataset, augment
from handloom.data.augment import (
    CenterCrop,
    ColorJitter,
    Compose,
    CutMix,
    Cutout,
    GaussianNoise,
    MixUp,
    RandomAffine,
    RandomBrightness,
    RandomContrast,
    RandomCrop,
    RandomErasing,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomVerticalFlip,
    RandomZoom,
)

N, H, W = 40, 12, 10


def images(n=N, h=H, w=W, c=3, dtype=np.float32):
    return np.random.default_rng(0).random((n, h, w, c)).astype(dtype)


ALL = [
    RandomHorizontalFlip(),
    RandomVerticalFlip(0.3),
    RandomRotation(30),
    RandomTranslation(0.2, padding_mode="border"),
    RandomZoom((0.7, 1.3), p=0.5),
    RandomShear(15, padding_mode="reflection"),
    RandomAffine(20, (0.1, 0.2), (0.8, 1.2), (-5, 5, 0, 5), mode="nearest", fill=0.5),
    RandomCrop((8, 9), padding=2),
    CenterCrop(6),
    RandomResizedCrop((7, 5)),
    ColorJitter(0.2, 0.3, 0.4, 0.1),
    RandomBrightness(0.3),
    RandomContrast((0.5, 1.5), p=0.5),
    GaussianNoise(0.1, (0.05, 0.2), p=0.7),
    RandomErasing(),
    RandomErasing(value="random"),
    Cutout(4),
]
EVERYTHING = Compose(ALL[:7] + ALL[10:], seed=3)


def ids(t):
    return type(t).__name__


# ---- random numbers ------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", [*ALL, EVERYTHING], ids=ids)
def test_a_sample_is_augmented_alike_in_any_batch(transform):
    x = images()
    index = np.random.default_rng(1).permutation(1000)[:N]
    compose = Compose([transform], seed=5)
    whole = compose(x, index=index, epoch=2)
    order = np.random.default_rng(2).permutation(N)
    for part in (order[:1], order[1:14], order[14:]):
        again = compose(x[part], index=index[part], epoch=2)
        np.testing.assert_array_equal(again, whole[part])
    np.testing.assert_array_equal(Compose([transform], seed=5)(x, index=index, epoch=2), whole)
    if isinstance(transform, CenterCrop):
        return
    assert not np.array_equal(compose(x, index=index, epoch=3), whole)
    assert not np.array_equal(Compose([transform], seed=6)(x, index=index, epoch=2), whole)


@pytest.mark.parametrize("transform", ALL, ids=ids)
def test_thread_counts_do_not_change_bits(transform):
    x = images(64, 32, 32)
    before = hl.get_num_threads()
    made = []
    for threads in (1, 2, 4):
        hl.set_num_threads(threads)
        made.append(transform(x, index=np.arange(64), seed=1).tobytes())
    hl.set_num_threads(before)
    assert made[0] == made[1] == made[2]


def test_without_an_index_the_global_generator_decides():
    x = images()
    hl.manual_seed(7)
    first, second = EVERYTHING(x), EVERYTHING(x)
    assert not np.array_equal(first, second)
    hl.manual_seed(7)
    np.testing.assert_array_equal(EVERYTHING(x), first)
    np.testing.assert_array_equal(EVERYTHING(x), second)


def test_two_noises_in_a_row_are_two_noises():
    x = np.zeros((4, 32, 32, 1))
    noise = GaussianNoise(value_range=None)
    once = Compose([noise], 0)(x, index=np.arange(4))
    twice = Compose([noise, noise], 0)(x, index=np.arange(4))
    assert twice.std() == pytest.approx(0.1 * np.sqrt(2), rel=0.05)
    assert abs(np.corrcoef(once.ravel(), (twice - once).ravel())[0, 1]) < 0.05


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transform", ALL, ids=ids)
def test_inputs_stay_and_dtypes_too(transform, dtype):
    x = images(dtype=dtype)
    before = x.copy()
    x.setflags(write=False)
    y = transform(x, index=np.arange(N), seed=0)
    np.testing.assert_array_equal(x, before)
    assert y.dtype == dtype
    assert y.shape[0] == N
    assert y.shape[3] == 3
    assert np.isfinite(y).all()
    assert transform(x[:0], index=np.arange(0), seed=0).shape[0] == 0


@pytest.mark.parametrize(
    "transform",
    [t for t in ALL if not isinstance(t, (CenterCrop, RandomCrop, RandomResizedCrop, Cutout))],
    ids=ids,
)
def test_with_probability_p(transform):
    """Samples that are left alone come through bit by bit; about p of them are not."""
    x = images(400)
    before, transform.p = transform.p, 0.3
    try:
        y = transform(x, index=np.arange(400), seed=1)
    finally:
        transform.p = before
    same = (y == x).all((1, 2, 3))
    assert 0.6 < same.mean() < 0.8


# ---- geometry ------------------------------------------------------------------------------------


def test_flips_are_exact():
    x = images()
    y = Compose([RandomHorizontalFlip(1), RandomVerticalFlip(1)])(x)
    np.testing.assert_array_equal(y, x[:, ::-1, ::-1])
    y = RandomHorizontalFlip()(x, index=np.arange(N), seed=0)
    flipped = (y == x[:, :, ::-1]).all((1, 2, 3))
    assert (flipped | (y == x).all((1, 2, 3))).all()
    assert 8 < flipped.sum() < 32


def test_quarter_turns_go_counter_clockwise():
    x = images(h=9, w=9)
    y = RandomRotation((90, 90))(x)
    np.testing.assert_allclose(y, np.rot90(x, 1, (1, 2)), atol=1e-6)


def test_shifts_zooms_and_shears_point_where_they_say():
    x = np.zeros((1, 21, 21, 1))
    x[0, 10, 14] = 1

    def where(t):
        y = t(x)[0, ..., 0]
        grid = np.indices(y.shape)
        return [round(float((g * y).sum() / y.sum()), 3) for g in grid]

    assert where(RandomZoom((1.5, 1.5))) == [10, 16]
    assert where(RandomShear((45, 45))) == [10, 14]
    x[:] = 0
    x[0, 12, 10] = 1
    assert where(RandomShear((45, 45))) == [12, 12]
    assert where(RandomShear((0, 0, 45, 45))) == [12, 10]
    moved = np.array([where(RandomTranslation((0.2, 0.1)))])
    assert np.abs(moved - (12, 10)).max() <= 4.3


def test_translation_stays_within_its_limits():
    x = np.zeros((300, 21, 11, 1))
    x[:, 10, 5] = 1
    y = RandomTranslation((0.3, 0.2))(x, index=np.arange(300), seed=0)[..., 0]
    down = (np.arange(21)[:, None] * y).sum((1, 2)) - 10
    right = (np.arange(11) * y).sum((1, 2)) - 5
    assert np.abs(down).max() <= 4.2 + 1e-9
    assert np.abs(down).max() > 3.8
    assert np.abs(right).max() <= 3.3 + 1e-9
    assert np.abs(right).max() > 3.0
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.2


def test_crops_are_windows_of_the_padded_image():
    x = images(200)
    y = RandomCrop((12, 10), padding=3)(x, index=np.arange(200), seed=0)
    wide = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)))
    places = set()
    for i in range(200):
        at = [
            (a, b)
            for a in range(7)
            for b in range(7)
            if np.array_equal(y[i], wide[i, a : a + 12, b : b + 10])
        ]
        assert len(at) == 1
        places |= set(at)
    assert {a for a, _ in places} == set(range(7)) == {b for _, b in places}
    reflected = RandomCrop((12, 10), padding=3, padding_mode="reflection")(
        x, index=np.arange(200), seed=0
    )
    wide = np.pad(x, ((0, 0), (3, 3), (3, 3), (0, 0)), "symmetric")
    a, b = next(iter(at))
    np.testing.assert_array_equal(reflected[199], wide[199, a : a + 12, b : b + 10])
    np.testing.assert_array_equal(CenterCrop((6, 4))(x), x[:, 3:9, 3:7])


def test_resized_crops():
    x = images()
    full = RandomResizedCrop((H, W), scale=(1, 1), ratio=(W / H, W / H))(x)
    np.testing.assert_array_equal(full, x)
    y = RandomResizedCrop((24, 20), scale=(1, 1), ratio=(W / H, W / H))(x)
    expected = hl.kernels.interpolate(x, (24, 20), mode="bilinear")
    np.testing.assert_allclose(y, expected, atol=1e-6)


def test_maps_in_a_row_are_one_pass():
    """Turned there and back the image is what it was: two interpolations would have blurred it."""
    x = images()
    there_and_back = [RandomRotation((33, 33)), RandomRotation((-33, -33))]
    np.testing.assert_allclose(Compose(there_and_back)(x), x, atol=1e-5)
    with hl.profile() as p:
        Compose([*there_and_back, RandomHorizontalFlip(), RandomCrop(8, padding=4)])(x)
    assert [r.calls for r in p if r.kernel == "warp_affine"] == [1]
    with hl.profile() as p:  # another way to read outside is another pass
        Compose([RandomRotation(9), RandomRotation(9, padding_mode="border")])(x)
    assert [r.calls for r in p if r.kernel == "warp_affine"] == [2]


def test_joined_maps_do_what_single_ones_do():
    x = images(c=1, h=40, w=40)
    x = hl.kernels.blur(x, [1, 4, 6, 4, 1])
    steps = [RandomZoom((1.5, 1.5)), RandomRotation((20, 20)), RandomTranslation(0.0)]
    one = Compose(steps)(x)
    several = x
    for step in steps:
        several = step(several)
    middle = (slice(None), slice(12, 28), slice(12, 28))
    np.testing.assert_allclose(one[middle], several[middle], atol=0.05)
    swapped = Compose([RandomTranslation((0.0, 0.0)), steps[1], steps[0]])(x)
    np.testing.assert_allclose(one[middle], swapped[middle], atol=1e-5)


# ---- colours -------------------------------------------------------------------------------------


def test_brightness_and_contrast():
    x = images()
    np.testing.assert_allclose(RandomBrightness((0.5, 0.5))(x), 0.5 * x, rtol=1e-6)
    np.testing.assert_allclose(RandomBrightness((2, 2))(x), np.minimum(2 * x, 1), rtol=1e-6)
    free = RandomBrightness((2, 2), value_range=None)
    np.testing.assert_allclose(free(x), 2 * x, rtol=1e-6)
    luma = (x @ np.float32([0.299, 0.587, 0.114])).mean((1, 2))[:, None, None, None]
    want = np.clip(0.4 * x + 0.6 * luma, 0, 1)
    np.testing.assert_allclose(RandomContrast((0.4, 0.4))(x), want, atol=1e-6)
    gray = x[..., :1]
    want = 0.4 * gray + 0.6 * gray.mean((1, 2, 3), keepdims=True)
    np.testing.assert_allclose(RandomContrast((0.4, 0.4))(gray), want, atol=1e-6)


def test_saturation_and_hue():
    x = images()
    luma = (x @ np.float32([0.299, 0.587, 0.114]))[..., None]
    y = ColorJitter(saturation=(0, 0))(x)
    np.testing.assert_allclose(y, np.broadcast_to(luma, y.shape), atol=1e-6)
    y = ColorJitter(hue=(0.3, 0.3), value_range=None)(x)
    np.testing.assert_allclose(y @ np.float32([0.299, 0.587, 0.114]), luma[..., 0], atol=1e-5)
    back = ColorJitter(hue=(-0.3, -0.3), value_range=None)(y)
    np.testing.assert_allclose(back, x, atol=1e-5)
    assert np.abs(y - x).mean() > 0.05


def test_colours_in_a_row_are_one_pass_and_the_same():
    x = images(dtype=np.float64)
    steps = [
        RandomBrightness((0.8, 0.8), value_range=None),
        RandomContrast((0.7, 0.7), value_range=None),
        ColorJitter(0, 0, (1.3, 1.3), (0.1, 0.1), value_range=None),
        RandomContrast((1.2, 1.2), value_range=None),
    ]
    several = x
    for step in steps:
        several = step(several)
    np.testing.assert_allclose(Compose(steps)(x), several, atol=1e-12)
    with hl.profile() as p:
        Compose(steps)(x)
    assert [r.calls for r in p if r.kernel == "matmul"] == [1]


def test_noise_has_its_mean_and_deviation():
    x = np.zeros((50, 32, 32, 1), np.float32)
    y = GaussianNoise(0.5, 0.2, value_range=None)(x, index=np.arange(50), seed=0)
    assert y.mean() == pytest.approx(0.5, abs=0.005)
    assert y.std() == pytest.approx(0.2, abs=0.002)
    y = GaussianNoise()(x)
    assert y.min() == 0
    assert y.max() <= 1


# ---- erasing and mixing --------------------------------------------------------------------------


def boxes_of(hit):
    """(top, left, bottom, right) of the True cells of each sample, which must fill their box."""
    for one in hit:
        rows, columns = np.flatnonzero(one.any(1)), np.flatnonzero(one.any(0))
        if len(rows):
            assert one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            yield rows[0], columns[0], rows[-1] + 1, columns[-1] + 1


def test_erasing_writes_one_rectangle():
    x = images(400) + 1
    y = RandomErasing(0.5, scale=(0.1, 0.3), ratio=(0.5, 2.0))(x, index=np.arange(400), seed=0)
    hit = (y == 0).all(-1)
    assert ((y == 0).any(-1) == hit).all()
    assert 160 < hit.any((1, 2)).sum() < 240
    for top, left, bottom, right in boxes_of(hit):
        part = (bottom - top) * (right - left) / (H * W)
        assert 0.06 < part < 0.37
    coloured = RandomErasing(1.0, value=(1.0, 2.0, 3.0))(x, index=np.arange(400), seed=0)
    assert set(map(tuple, coloured[coloured != x].reshape(-1, 3).tolist())) == {(1.0, 2.0, 3.0)}
    noisy = RandomErasing(1.0, value="random")(x, index=np.arange(400), seed=0)
    assert noisy[noisy != x].std() == pytest.approx(1, abs=0.05)


def test_cutout_covers_every_pixel_alike():
    x = np.ones((3000, 9, 9, 1), np.float32)
    y = Cutout(3)(x, index=np.arange(3000), seed=0)
    inside = (y == 0).mean(0)[2:-2, 2:-2]
    np.testing.assert_allclose(inside, 9 / 81, atol=0.03)
    sizes = {(b - t, r - l) for t, l, b, r in boxes_of((y == 0)[..., 0])}
    assert sizes == {(a, b) for a in (2, 3) for b in (2, 3)}


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_the_beta_distribution(alpha):
    """Mean 1/2, variance 1/(4 (2 alpha + 1)), and the fourth moment."""
    x = np.stack([np.ones((4000, 1, 1, 1)), np.zeros((4000, 1, 1, 1))], 1).reshape(8000, 1, 1, 1)
    y = np.ones(8000)
    part, _ = MixUp(alpha)(x, y, index=np.arange(8000), seed=0)
    part = part[::2].ravel()  # of the ones, mixed with a zero each
    assert part.mean() == pytest.approx(0.5, abs=0.02)
    assert part.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.06)
    fourth = 3 / (16 * (2 * alpha + 1) * (2 * alpha + 3))
    assert ((part - 0.5) ** 4).mean() == pytest.approx(fourth, rel=0.12)


def test_mixup_mixes_labels_as_images():
    x, y = images(), np.arange(N) % 4
    mixed, soft = MixUp(1.0, num_classes=4)(x, y, index=np.arange(N), seed=0)
    assert soft.dtype == np.float32
    np.testing.assert_allclose(soft.sum(1), 1, rtol=1e-6)
    share = soft[np.arange(N), y]
    share = np.where(y == np.roll(y, 1), 0, share)[:, None, None, None]
    np.testing.assert_allclose(mixed, share * x + (1 - share) * np.roll(x, 1, 0), atol=1e-6)
    again, soft = MixUp(1.0)(x, np.eye(4)[y], index=np.arange(N), seed=0)
    np.testing.assert_array_equal(again, mixed)
    assert soft.dtype == np.float64


def test_cutmix_counts_what_it_cut():
    x = np.arange(1.0, N + 1)[:, None, None, None] * np.ones((1, H, W, 1))
    y = np.arange(N) % 4
    mixed, soft = CutMix(1.0, num_classes=4)(x, y, index=np.arange(N), seed=0)
    kept = (mixed == x)[..., 0]
    assert (kept | (mixed == np.roll(x, 1, 0))[..., 0]).all()
    np.testing.assert_allclose(soft[np.arange(N), y], kept.mean((1, 2)), atol=1e-12)
    assert len(list(boxes_of(~kept))) > 20
    assert 0.5 < kept.mean() < 0.85  # half the area, less what the edges cut


# ---- with the loader, errors ---------------------------------------------------------------------


def test_the_loader_hands_out_sample_numbers():
    x, y = images(50), np.arange(50)
    transform = Compose([RandomHorizontalFlip(), GaussianNoise(), RandomErasing()], seed=4)
    data = TensorDataset(x, y)

    def epoch(number, **options):
        loader = DataLoader(
            data, shuffle=True, seed=options.pop("seed", 1), transform=transform, **options
        )
        loader.epoch = number
        made = {int(j): v.numpy() for a, b in loader for j, v in zip(b.numpy(), a)}
        return np.stack([made[i] for i in range(50)])

    alone = transform(x, index=np.arange(50), epoch=3)
    for options in ({"batch_size": 7}, {"batch_size": 16, "num_workers": 3}, {"seed": 2}):
        np.testing.assert_array_equal(epoch(3, **options), alone)
    assert not np.array_equal(epoch(4), alone)


def test_loader_and_mixing():
    data = TensorDataset(images(20), np.arange(20) % 3)
    loader = DataLoader(data, 8, transform=MixUp(num_classes=3))
    shapes = [(x.shape, y.shape) for x, y in loader]
    assert shapes == [((8, H, W, 3), (8, 3))] * 2 + [((4, H, W, 3), (4, 3))]
    only = DataLoader(TensorDataset(images(20)), 8, transform=RandomHorizontalFlip())
    assert [x.shape for (x,) in only] == [(8, H, W, 3)] * 2 + [(4, H, W, 3)]


def test_tensors_give_tensors():
    x, y = hl.tensor(images()), hl.tensor(np.arange(N))
    made, labels = Compose([RandomHorizontalFlip()])(x, y)
    assert isinstance(made, hl.Tensor)
    assert labels is y
    made, labels = MixUp(num_classes=N)(x, y)
    assert isinstance(labels, hl.Tensor)


def test_a_transform_of_ones_own():
    class Posterize(augment.Transform):
        words = 1

        def apply(self, batch, u):
            levels = 2 + np.floor(6 * u)[:, :, None, None]
            batch.replace((np.rint(batch.x * levels) / levels).astype(batch.x.dtype))

    x = images()
    y = Compose([RandomHorizontalFlip(1), Posterize(), RandomVerticalFlip(1)], 0)(x)
    assert y.dtype == x.dtype
    assert len(np.unique(y)) < 30
    np.testing.assert_allclose(y[:, ::-1, ::-1], x, atol=0.26)


def test_errors():
    x = images()
    with pytest.raises(TypeError, match="x has dtype uint8, expected float32 or float64; scale"):
        RandomHorizontalFlip()((255 * x).astype(np.uint8))
    with pytest.raises(ValueError, match=r"x has shape \(12, 10, 3\), expected \(N, H, W, C\)"):
        RandomHorizontalFlip()(x[0])
    with pytest.raises(TypeError, match="x is a list"):
        RandomHorizontalFlip()([1])
    with pytest.raises(ValueError, match=r"index has shape \(3,\), expected \(40,\)"):
        RandomHorizontalFlip()(x, index=[1, 2, 3])
    with pytest.raises(TypeError, match="index has dtype float64, expected integers"):
        RandomHorizontalFlip()(x, index=np.arange(40.0))
    with pytest.raises(ValueError, match="index runs from -1 to 38, expected 0 to"):
        RandomHorizontalFlip()(x, index=np.arange(40) - 1)
    with pytest.raises(ValueError, match="epoch is -1"):
        RandomHorizontalFlip()(x, index=np.arange(40), epoch=-1)
    with pytest.raises(TypeError, match=r"transforms\[0\] is a function, expected a transform"):
        Compose([lambda x: x])
    with pytest.raises(ValueError, match="RandomHorizontalFlip: p is 2, expected 0 to 1"):
        RandomHorizontalFlip(2)
    with pytest.raises(ValueError, match="RandomRotation: degrees is -3, expected at least 0"):
        RandomRotation(-3)
    with pytest.raises(ValueError, match=r"RandomZoom: scale is \(0, 1\), expected"):
        RandomZoom((0, 1))
    with pytest.raises(ValueError, match="RandomTranslation: translate is 2, expected parts"):
        RandomTranslation(2)
    with pytest.raises(ValueError, match="RandomShear: shear is 90, expected less than 90"):
        RandomShear(90)
    with pytest.raises(ValueError, match="padding_mode is 'wrap', expected one of zeros, border"):
        RandomRotation(3, padding_mode="wrap")
    with pytest.raises(ValueError, match=r"RandomCrop: size is \(20, 20\), but the images have"):
        RandomCrop(20)(x)
    with pytest.raises(ValueError, match=r"CenterCrop: size is \(20, 20\), but the images have"):
        CenterCrop(20)(x)
    with pytest.raises(ValueError, match="saturation and hue need 3 channels, the images have 1"):
        ColorJitter(saturation=0.5)(x[..., :1])
    with pytest.raises(ValueError, match="value_range is"):
        ColorJitter(value_range=(1, 0))
    with pytest.raises(ValueError, match="value is 'noise', expected numbers or 'random'"):
        RandomErasing(value="noise")
    with pytest.raises(ValueError, match="value has 2 numbers, the images have 3 channels"):
        RandomErasing(value=(1, 2))(x)
    with pytest.raises(ValueError, match="Cutout: size is 0"):
        Cutout(0)
    with pytest.raises(ValueError, match="MixUp: y is missing"):
        MixUp()(x)
    with pytest.raises(ValueError, match="MixUp: num_classes is missing"):
        MixUp()(x, np.arange(N))
    with pytest.raises(ValueError, match="CutMix: y runs from 0 to 39, expected 0 to 3"):
        CutMix(num_classes=4)(x, np.arange(N))
    with pytest.raises(ValueError, match="CutMix: alpha is 0, expected above 0"):
        CutMix(0)


def test_names_are_public():
    assert {type(t).__name__ for t in ALL} <= set(augment.__all__)
    assert hl.data.augment is augment
