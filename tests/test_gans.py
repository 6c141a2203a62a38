"""Adversarial networks: players, games, growth, styles, cycles, and runs taken up again."""

from __future__ import annotations

import numpy as np
import pytest

import handloom as hl
from handloom import nn, optim
from handloom.models import (
    CycleGAN,
    DCDiscriminator,
    DCGenerator,
    DenseDiscriminator,
    DenseGenerator,
    EqualConv2d,
    EqualLinear,
    Growth,
    ImagePool,
    ProgressiveDiscriminator,
    ProgressiveGenerator,
    StyledLayer,
    StyleGenerator,
    Translator,
    patch_critic,
    shrink,
)
from handloom.train import Adversarial, load_checkpoint, metrics, save_checkpoint

F = nn.functional


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def ring(n, seed=0):
    """Eight points on a circle, with a little noise, as samples of shape (2,)."""
    rng = np.random.default_rng(seed)
    angle = rng.integers(0, 8, n) * np.pi / 4
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * 0.7
    return (points + 0.02 * rng.standard_normal((n, 2))).astype("float32")


def dense(shape=(2,), classes=0, kind="non_saturating", **options):
    hl.manual_seed(0)
    generator = DenseGenerator(4, shape, (32, 32), classes)
    discriminator = DenseDiscriminator(shape, (64, 64), classes)
    betas = (0.5, 0.999)
    return Adversarial(
        generator,
        discriminator,
        kind=kind,
        generator_optimizer=optim.Adam(generator.parameters(), lr=2e-3, betas=betas),
        discriminator_optimizer=optim.Adam(discriminator.parameters(), lr=2e-3, betas=betas),
        **options,
    )


# ---- training two players ----------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["non_saturating", "minimax", "least_squares", "hinge"])
def test_players_learn_a_ring(kind):
    trainer = dense(kind=kind)
    x = ring(1024)
    begin = metrics.frechet_distance(x, trainer.sample(1000))
    trainer.fit(x, epochs=40, batch_size=64)
    samples = trainer.sample(1000)
    assert metrics.frechet_distance(x, samples) < 0.3 * begin
    near = np.linalg.norm(samples[:, None] - ring(8 * 40)[None], axis=2).min(axis=1)
    assert np.mean(near < 0.25) > 0.6
    assert len(trainer.history) == trainer.epoch == 40
    assert trainer.steps == 40 * 16


def test_one_step_is_the_game_by_hand():
    """The discriminator's gradient of its loss, then the generator's through the new judge."""
    trainer = dense(ema=None)
    x = ring(16)
    hl.manual_seed(5)
    found = trainer.step(x)

    other = dense(ema=None)
    hl.manual_seed(5)
    z = hl.randn(16, 4)
    fake = other.generator(z).detach()
    loss = F.gan_discriminator_loss(other.discriminator(x), other.discriminator(fake))
    loss.backward()
    other.discriminator_optimizer.step()
    assert found["discriminator"] == pytest.approx(loss.item(), rel=1e-6)
    z = hl.randn(16, 4)
    other.generator_optimizer.zero_grad()
    loss = F.gan_generator_loss(other.discriminator(other.generator(z)))
    loss.backward()
    other.generator_optimizer.step()
    assert found["generator"] == pytest.approx(loss.item(), rel=1e-6)
    for a, b in zip(trainer.generator.parameters(), other.generator.parameters(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-7)


def test_the_judge_gets_no_gradient_from_the_generators_move():
    trainer = dense()
    frozen = next(iter(trainer.discriminator.parameters()))
    frozen.requires_grad = False
    trainer.discriminator_optimizer.zero_grad()
    trainer._generate(8, ())
    assert all(
        p.grad is None or not p.grad.numpy().any() for p in trainer.discriminator.parameters()
    )
    wanted = [p.requires_grad for p in trainer.discriminator.parameters()]
    assert wanted == [False] + [True] * (len(wanted) - 1)


def test_critic_moves_more_often_and_is_clipped():
    trainer = dense(kind="wasserstein", n_critic=3, clip=0.02)
    before = [p.numpy().copy() for p in trainer.generator.parameters()]
    x = ring(32)
    for _ in range(2):
        assert np.isnan(trainer.step(x)["generator"])
    assert all((a == p.numpy()).all() for a, p in zip(before, trainer.generator.parameters()))
    assert np.isfinite(trainer.step(x)["generator"])
    assert any((a != p.numpy()).any() for a, p in zip(before, trainer.generator.parameters()))
    assert max(np.abs(p.numpy()).max() for p in trainer.discriminator.parameters()) <= 0.02


def test_conditional_players_do_as_they_are_told():
    rng = np.random.default_rng(0)
    label = rng.integers(0, 3, 1200)
    places = np.array([[-0.7, 0.0], [0.7, 0.0], [0.0, 0.7]])
    x = (places[label] + 0.05 * rng.standard_normal((1200, 2))).astype("float32")
    trainer = dense(classes=3)
    trainer.fit(x, label, epochs=30, batch_size=60)
    asked = np.arange(300) % 3
    samples = trainer.sample(300, asked)
    called = np.linalg.norm(samples[:, None] - places[None], axis=2).argmin(axis=1)
    assert (called == asked).mean() > 0.9


def test_sampling_uses_the_averaged_weights_and_evaluation():
    trainer = dense(ema=0.5)
    trainer.fit(ring(64), epochs=1, batch_size=32)
    live = [p.numpy().copy() for p in trainer.generator.parameters()]
    z = normal(6, 4)
    made = trainer.sample(6, z=z)
    np.testing.assert_allclose(trainer.sample(6, z=z, batch_size=4), made, atol=1e-5)
    assert all((a == p.numpy()).all() for a, p in zip(live, trainer.generator.parameters()))
    assert trainer.generator.training
    trainer.generator.eval()
    assert np.abs(trainer.generator(z).numpy() - made).max() > 1e-6


# ---- checkpoints -------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [0, 2])
def test_a_run_that_is_taken_up_again_is_the_same(tmp_path, epochs):
    x, label = ring(96), np.arange(96) % 3
    whole = dense(classes=3)
    whole.fit(x, label, epochs=epochs, batch_size=32)
    whole.step(x[:32], label[:32])
    save_checkpoint(tmp_path / "run.safetensors", whole.state_dict())
    whole.fit(x, label, epochs=2, batch_size=32)
    wanted = whole.sample(10, np.arange(10) % 3)

    hl.manual_seed(77)
    again = dense(classes=3)
    again.load_state_dict(load_checkpoint(tmp_path / "run.safetensors"))
    again.fit(x, label, epochs=2, batch_size=32)
    assert again.history == whole.history
    np.testing.assert_array_equal(again.sample(10, np.arange(10) % 3), wanted)


def test_cycle_gan_is_taken_up_again(tmp_path):
    def make():
        hl.manual_seed(0)
        return CycleGAN(
            Translator(4, 1), Translator(4, 1), patch_critic(4), patch_critic(4), pool=3
        )

    a, b = normal(4, 8, 8, 1), normal(4, 8, 8, 1, seed=1)
    one = make()
    for _ in range(3):
        one.step(a, b)
    save_checkpoint(tmp_path / "c.safetensors", one.state_dict())
    wanted = [one.step(a, b) for _ in range(2)]
    two = make()
    two.load_state_dict(load_checkpoint(tmp_path / "c.safetensors"))
    assert [two.step(a, b) for _ in range(2)] == wanted


def test_checkpoint_of_other_networks(tmp_path):
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, dense().state_dict())
    hl.manual_seed(0)
    wider = Adversarial(DenseGenerator(4, (2,), (48, 32)), DenseDiscriminator((2,), (64, 64)))
    with pytest.raises(RuntimeError, match=r"net\.0\.weight.*\(32, 4\)"):
        wider.load_state_dict(load_checkpoint(path))
    with pytest.raises(ValueError, match="only one of state and trainer has averaged weights"):
        dense(ema=None).load_state_dict(load_checkpoint(path))
    with pytest.raises(ValueError, match="the state has no discriminator, history, random"):
        dense().load_state_dict({"generator": {}})


def test_checkpoints_keep_everything(tmp_path):
    path = tmp_path / "state.safetensors"
    state = {
        "a": np.arange(3),
        7: [1, 2.5, "text", None, True, np.float32(0.5)],
        "deep": {"list": [np.zeros((2, 0), np.float32), {"x": hl.tensor([1.0])}], "empty": {}},
        "tuple": (0.5, 0.999),
    }
    save_checkpoint(path, state)
    found = load_checkpoint(path)
    np.testing.assert_array_equal(found["a"], state["a"])
    assert found[7] == [1, 2.5, "text", None, True, 0.5]
    assert found["deep"]["list"][0].shape == (2, 0)
    np.testing.assert_array_equal(found["deep"]["list"][1]["x"], [1.0])
    assert found["deep"]["empty"] == {}
    assert found["tuple"] == [0.5, 0.999]


def test_checkpoint_errors(tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(TypeError, match=r"state\.a\.0 is a set, expected arrays, numbers or text"):
        save_checkpoint(path, {"a": [{1}]})
    with pytest.raises(TypeError, match=r"state has the key \(1,\)"):
        save_checkpoint(path, {(1,): 2})
    with pytest.raises(FileNotFoundError):
        load_checkpoint(path)
    hl.save(path, {"w": np.zeros(2)})
    with pytest.raises(ValueError, match="holds weights, but no checkpoint"):
        load_checkpoint(path)


# ---- convolutional players ---------------------------------------------------------------------


@pytest.mark.parametrize("size", [8, 16, 32])
def test_dcgan_shapes(size):
    generator, discriminator = DCGenerator(6, size, 4, 3), DCDiscriminator(size, 4, 3)
    images = generator(normal(5, 6))
    assert images.shape == (5, size, size, 3)
    assert np.abs(images.numpy()).max() <= 1
    assert discriminator(images).shape == (5, 1)
    weights = [m.weight.numpy() for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert all(abs(w.std() - 0.02) < 0.004 for w in weights if w.size > 500)


# ---- growth ------------------------------------------------------------------------------------


def test_a_new_level_begins_as_the_old_one_doubled():
    """α = 0 is the output of the level below, each pixel four times, bit for bit."""
    hl.manual_seed(0)
    generator = ProgressiveGenerator(8, 16, 8)
    z = normal(3, 8)
    for level in (1, 2):
        old = generator(z, level - 1).numpy()
        new = generator(z, level, alpha=0.0).numpy()
        assert new.tobytes() == old.repeat(2, axis=1).repeat(2, axis=2).tobytes()
        half = generator(z, level, alpha=0.5).numpy()
        whole = generator(z, level).numpy()
        np.testing.assert_allclose(half, (new + whole) / 2, rtol=1e-5, atol=1e-6)


def test_a_new_level_of_the_judge_begins_as_the_old_one():
    hl.manual_seed(0)
    judge = ProgressiveDiscriminator(16, 8, group=2)
    x = normal(4, 16, 16, 1)
    for level in (2, 1):
        small = shrink(x, level, 2).numpy()
        below = shrink(x, level - 1, 2).numpy()
        np.testing.assert_allclose(
            judge(small, level, alpha=0.0).numpy(), judge(below, level - 1).numpy(), rtol=1e-5
        )


def test_growth_follows_its_plan():
    growth = Growth(2, fade=2, rest=3, batches=10)
    assert growth.epochs == 13
    assert [growth.at(s) for s in (0, 29)] == [(0, 1.0)] * 2
    assert growth.at(30) == (1, 0.0)
    assert growth.at(40) == (1, 0.5)
    assert growth.at(50) == growth.at(79) == (1, 1.0)
    assert growth.at(80) == (2, 0.0)
    assert growth.at(130) == growth.at(10**6) == (2, 1.0)


def test_equalised_layers_scale_when_used():
    hl.manual_seed(0)
    linear, conv = EqualLinear(200, 300), EqualConv2d(40, 50)
    assert abs(linear.weight.numpy().std() - 1) < 0.02
    x = normal(100, 200)
    assert abs(linear(x).numpy().std() - 2**0.5) < 0.05
    assert abs(conv(normal(4, 12, 12, 40)).numpy()[:, 2:-2, 2:-2].std() - 2**0.5) < 0.08
    slow = EqualLinear(200, 300, lr_mul=0.01)
    assert abs(slow.weight.numpy().std() - 100) < 2
    assert abs(slow(x).numpy().std() - 2**0.5) < 0.05
    found = F.linear(x, linear.weight.numpy() * np.float32(0.1), linear.bias)
    np.testing.assert_allclose(linear(x).numpy(), found.numpy(), rtol=1e-5, atol=1e-5)


# ---- styles ------------------------------------------------------------------------------------


def test_the_statistics_of_a_styled_layer_are_the_style():
    hl.manual_seed(0)
    layer = StyledLayer(3, 6, 5, grow=True)
    w = hl.tensor(normal(4, 5))
    y = layer(hl.tensor(normal(4, 4, 4, 3)), w).numpy()
    style = layer.style(w).numpy()
    assert y.shape == (4, 8, 8, 6)
    np.testing.assert_allclose(y.mean(axis=(1, 2)), style[:, 6:], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(y.std(axis=(1, 2)), np.abs(style[:, :6]), rtol=1e-3, atol=1e-4)


def test_noise_moves_the_picture_only_by_its_strength():
    hl.manual_seed(0)
    generator = StyleGenerator(8, 16, 8).eval()
    z = normal(2, 8)
    np.testing.assert_array_equal(generator(z).numpy(), generator(z).numpy())
    for layer in generator.styled:
        layer.strength.numpy()[:] = 0.3
    assert np.abs(generator(z).numpy() - generator(z).numpy()).max() > 1e-3


def test_style_mixing_takes_each_layers_style_from_its_code():
    hl.manual_seed(0)
    generator = StyleGenerator(8, 16, 8).eval()
    assert generator.layers == 6
    one, two = normal(3, 8), normal(3, 8, seed=1)
    alone, other = generator(one).numpy(), generator(two).numpy()
    np.testing.assert_array_equal(generator(one, two, crossover=0).numpy(), other)
    np.testing.assert_array_equal(generator(one, two, crossover=6).numpy(), alone)
    mixed = generator(one, two, crossover=3).numpy()
    styles = [generator.w(one)] * 3 + [generator.w(two)] * 3
    np.testing.assert_array_equal(mixed, generator.synthesize(styles).numpy())
    assert np.abs(mixed - alone).max() > 1e-3


def test_truncation_draws_towards_the_mean():
    hl.manual_seed(0)
    generator = StyleGenerator(8, 8, 8)
    for seed in range(50):
        generator(normal(64, 8, seed=seed))
    generator.eval()
    w = generator.w(normal(4000, 8, seed=99)).numpy()
    mean = generator.mean.numpy()
    kept = 1 - 0.99**50
    np.testing.assert_allclose(mean, kept * w.mean(axis=0), atol=0.06)
    half = generator.w(normal(5, 8), 0.5).numpy()
    np.testing.assert_allclose(
        half, mean + (generator.w(normal(5, 8)).numpy() - mean) / 2, rtol=1e-4
    )
    same = generator(normal(5, 8), truncation=0.0).numpy()
    np.testing.assert_allclose(same, np.repeat(same[:1], 5, axis=0), atol=1e-6)


# ---- cycles ------------------------------------------------------------------------------------


def test_image_pool_gives_back_what_it_was_given():
    hl.manual_seed(0)
    pool = ImagePool(10)
    first = normal(10, 2, 2, 1)
    np.testing.assert_array_equal(pool.exchange(first), first)
    known = {image.tobytes() for image in first}
    old = 0
    for seed in range(1, 60):
        batch = normal(4, 2, 2, 1, seed=seed)
        new = {image.tobytes() for image in batch}
        given = [image.tobytes() for image in pool.exchange(batch)]
        assert set(given) <= known | new
        old += sum(image not in new for image in given)
        known |= new
    assert 0.4 < old / (59 * 4) < 0.6
    assert len(pool.images) == 10


def test_cycle_gan_learns_to_invert():
    """A are bright bars, B dark ones: what is needed is a change of sign and a way back."""
    rng = np.random.default_rng(0)
    a = np.full((64, 8, 8, 1), -0.8, np.float32)
    for i, image in enumerate(a):
        image[:, (i % 6) : (i % 6) + 2] = 0.8
    b = -a[rng.permutation(64)]
    hl.manual_seed(0)
    gan = CycleGAN(
        Translator(8, 1), Translator(8, 1), patch_critic(8), patch_critic(8), lr=2e-3, identity=0.0
    )
    losses = [gan.step(a[i : i + 8], b[i : i + 8]) for _ in range(15) for i in range(0, 64, 8)]
    assert np.mean([one["cycle"] for one in losses[-8:]]) < 0.5 * losses[0]["cycle"]
    to_b = gan.translate(a, "b")
    assert to_b.mean() > 0.2 > -0.2 > gan.translate(b, "a").mean()
    assert np.abs(gan.translate(to_b, "a") - a).mean() < 0.4


# ---- scores ------------------------------------------------------------------------------------


def test_frechet_distance_of_normals():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20000, 3)) * [1.0, 2.0, 0.5]
    y = rng.standard_normal((20000, 3)) * [2.0, 2.0, 1.0] + [1.0, 0.0, 0.0]
    exact = 1 + (1 - 2) ** 2 + (0.5 - 1) ** 2
    assert metrics.frechet_distance(x, y) == pytest.approx(exact, rel=0.03)
    assert metrics.frechet_distance(x, x) == pytest.approx(0, abs=1e-9)
    turn, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    turned = metrics.frechet_distance(x @ turn, y @ turn)
    assert turned == pytest.approx(metrics.frechet_distance(x, y), rel=1e-8)


def test_frechet_distance_against_scipy():
    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((50, 6)), rng.standard_normal((40, 6)) @ rng.standard_normal((6, 6))
    a, b = np.cov(x.T), np.cov(y.T)
    gap = x.mean(axis=0) - y.mean(axis=0)
    exact = gap @ gap + np.trace(a + b - 2 * linalg.sqrtm(a @ b).real)
    assert metrics.frechet_distance(x, y) == pytest.approx(exact, rel=1e-8)


# ---- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [DCGenerator, ProgressiveGenerator, StyleGenerator])
@pytest.mark.parametrize("size", [0, 4, 12, 15, 28, -16])
def test_a_size_that_the_network_cannot_grow_to(model, size):
    with pytest.raises(ValueError, match=rf"size is {size}, expected 8, 16, 32"):
        model(4, size)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DenseGenerator(4, (2,)),
        lambda: DCGenerator(4, 8, 4),
        lambda: ProgressiveGenerator(4, 8, 4),
        lambda: StyleGenerator(4, 8, 4),
    ],
)
def test_a_latent_of_the_wrong_width(make):
    with pytest.raises(ValueError, match=r"z has shape \(3, 5\), expected \(N, 4\)"):
        make()(normal(3, 5))
    trainer = Adversarial(make(), DenseDiscriminator((2,)))
    with pytest.raises(ValueError, match=r"z has shape \(3, 5\), expected \(3, 4\)"):
        trainer.sample(3, z=normal(3, 5))


def test_labels_out_of_range():
    trainer = dense(classes=3)
    x = ring(4)
    with pytest.raises(ValueError, match="label 3, expected 0 <= label < 3"):
        trainer.step(x, np.array([0, 1, 2, 3]))
    with pytest.raises(ValueError, match="the model is conditional, expected labels"):
        trainer.step(x)
    with pytest.raises(ValueError, match="there is a label, but the network has no classes"):
        dense().step(x, np.zeros(4, int))
    with pytest.raises(ValueError, match="y has 3 labels, x has 4 rows"):
        trainer.fit(x, np.zeros(3, int), epochs=1, batch_size=2)


def test_images_of_another_size():
    with pytest.raises(ValueError, match=r"x has shape \(2, 8, 8, 1\), expected \(N, 16, 16, 1\)"):
        DCDiscriminator(16, 4)(normal(2, 8, 8, 1))
    with pytest.raises(ValueError, match=r"DenseDiscriminator: x has shape \(2, 3\), expected"):
        DenseDiscriminator((2,))(normal(2, 3))
    judge = ProgressiveDiscriminator(16, 4)
    with pytest.raises(ValueError, match=r"level 1 expects \(N, 8, 8, C\)"):
        judge(normal(4, 16, 16, 1), 1)
    for level in (3, -1, 1.0, True):
        with pytest.raises(ValueError, match=r"level is .*, expected 0 \(4 by 4\) to 2"):
            judge(normal(4, 16, 16, 1), level)
    with pytest.raises(ValueError, match=r"alpha is 1\.5, expected 0 to 1"):
        ProgressiveGenerator(4, 8, 4)(normal(2, 4), 1, 1.5)
    with pytest.raises(ValueError, match="H and W even"):
        Translator(4, 1)(normal(1, 7, 8, 1))
    generator = StyleGenerator(4, 8, 4)
    with pytest.raises(ValueError, match="2 styles, expected 4"):
        generator.synthesize([generator.w(normal(1, 4))] * 2)


def test_trainer_errors():
    generator, judge = DenseGenerator(4, (2,)), DenseDiscriminator((2,))
    with pytest.raises(TypeError, match="integer attribute 'latent'"):
        Adversarial(nn.Linear(2, 2), judge)
    for bad, text in (
        ({"n_critic": 0}, "n_critic is 0"),
        ({"clip": 0.0}, "clip is 0.0"),
        ({"kind": "fair"}, "fair"),
    ):
        with pytest.raises(ValueError, match=text):
            Adversarial(generator, judge, **bad)
    trainer = Adversarial(generator, judge)
    with pytest.raises(ValueError, match="batch_size 64, x has 10 rows"):
        trainer.fit(ring(10), epochs=1)
    broken = ring(8)
    broken[3] = np.nan
    with pytest.raises(FloatingPointError, match="discriminator's loss is nan at step 1"):
        trainer.fit(broken, epochs=1, batch_size=8)
    assert all(np.isfinite(p.numpy()).all() for p in judge.parameters())
    with pytest.raises(ValueError, match="to is 'c', expected a or b"):
        CycleGAN(*(nn.Linear(1, 1) for _ in range(4))).translate(ring(1), "c")


def test_frechet_errors():
    with pytest.raises(ValueError, match=r"a \(1, 3\) and b \(4, 3\)"):
        metrics.frechet_distance(np.zeros((1, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="expect finite numbers"):
        metrics.frechet_distance(np.full((3, 2), np.nan), np.zeros((4, 2)))
