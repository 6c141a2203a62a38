"""Names, arguments and defaults mean what they mean in PyTorch."""

import numpy as np
import pytest

import handloom as hl
from handloom import nn, optim
from handloom.nn import functional as F

torch = pytest.importorskip("torch")
T = torch.nn.functional


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def same(ours, theirs, inputs, **tolerance):
    """Values and gradients of a function of both libraries agree."""
    a = [hl.tensor(x, requires_grad=True) for x in inputs]
    b = [torch.tensor(x, requires_grad=True) for x in inputs]
    y, z = ours(*a), theirs(*b)
    tolerance = {"rtol": 1e-10, "atol": 1e-12, **tolerance}
    assert y.shape == tuple(z.shape)
    np.testing.assert_allclose(y.numpy(), z.detach().numpy(), **tolerance)
    seed = numbers(*y.shape, seed=99)
    y.backward(seed)
    z.backward(torch.tensor(seed))
    for p, q in zip(a, b):
        np.testing.assert_allclose(p.grad.numpy(), q.grad.numpy(), **tolerance)


@pytest.mark.parametrize(
    "name",
    [
        "relu",
        "leaky_relu",
        "elu",
        "selu",
        "gelu",
        "silu",
        "mish",
        "softplus",
        "softsign",
        "hardtanh",
        "hardsigmoid",
        "hardswish",
        "relu6",
        "logsigmoid",
    ],
)
def test_activations(name):
    x = np.concatenate([numbers(50), [0.0, -0.0, 30.0, -30.0, 5.9, -2.9]])
    # PyTorch's hardsigmoid has a float32 1/6 even in float64.
    tolerance = {"rtol": 1e-7, "atol": 1e-7} if name == "hardsigmoid" else {}
    same(getattr(F, name), getattr(T, name), [x], **tolerance)


def test_activations_with_options():
    x = numbers(4, 6) * 3
    same(lambda v: F.leaky_relu(v, 0.2), lambda v: T.leaky_relu(v, 0.2), [x])
    same(lambda v: F.elu(v, 0.5), lambda v: T.elu(v, 0.5), [x])
    same(lambda v: F.gelu(v, "tanh"), lambda v: T.gelu(v, approximate="tanh"), [x])
    same(lambda v: F.softplus(v, 2, 3), lambda v: T.softplus(v, 2, 3), [x])
    same(lambda v: F.hardtanh(v, -2, 0.5), lambda v: T.hardtanh(v, -2, 0.5), [x])
    same(lambda v: F.glu(v), lambda v: T.glu(v, -1), [x])
    same(lambda v: F.softmax(v, 0), lambda v: T.softmax(v, 0), [x])
    same(lambda v: F.log_softmax(v, 1), lambda v: T.log_softmax(v, 1), [x])
    same(F.prelu, T.prelu, [x, np.linspace(0.1, 0.6, 6)])
    np.testing.assert_array_equal(
        F.heaviside(x).numpy(), torch.heaviside(torch.tensor(x), torch.tensor(0.0).double()).numpy()
    )


@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss:UserWarning")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(reduction):
    x, t = numbers(5, 4), numbers(5, 4, seed=1)
    p, q = (1 / (1 + np.exp(-v)) for v in (x, t))
    sign = np.where(t > 0, 1.0, -1.0)
    r = {"reduction": reduction}
    for name in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss"):
        f, g = getattr(F, name), getattr(T, name)
        same(lambda v: f(v, t, **r), lambda v: g(v, torch.tensor(t), **r), [x])  # noqa: B023
    same(
        lambda v: F.smooth_l1_loss(v, t, beta=0.3, **r),
        lambda v: T.smooth_l1_loss(v, torch.tensor(t), beta=0.3, **r),
        [x],
    )
    same(
        lambda v: F.huber_loss(v, t, delta=0.3, **r),
        lambda v: T.huber_loss(v, torch.tensor(t), delta=0.3, **r),
        [x],
    )
    same(
        lambda v: F.binary_cross_entropy(v, q, **r),
        lambda v: T.binary_cross_entropy(v, torch.tensor(q), **r),
        [p],
    )
    pos = np.array([0.5, 1, 2, 3])
    same(
        lambda v: F.binary_cross_entropy_with_logits(v, q, pos_weight=pos, **r),
        lambda v: T.binary_cross_entropy_with_logits(
            v, torch.tensor(q), pos_weight=torch.tensor(pos), **r
        ),
        [x],
    )
    for log in (False, True):
        target = np.log(q) if log else q
        same(
            lambda v: F.kl_div(v, target, log_target=log, **r),  # noqa: B023
            lambda v: T.kl_div(v, torch.tensor(target), log_target=log, **r),  # noqa: B023
            [x],
        )
    same(
        lambda v: F.hinge_embedding_loss(v, sign, **r),
        lambda v: T.hinge_embedding_loss(v, torch.tensor(sign), **r),
        [x],
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("shape", [(5, 4), (5, 1), (5,)])
def test_gaussian_nll(shape, reduction):
    inputs = [numbers(5, 4), numbers(5, 4, seed=1), np.abs(numbers(*shape, seed=2)) + 0.01]
    inputs[2].flat[0] = 0.0  # below eps: the gradient does not stop there
    for full in (False, True):
        options = {"full": full, "eps": 0.05, "reduction": reduction}
        same(
            lambda *v: F.gaussian_nll_loss(*v, **options),  # noqa: B023
            lambda *v: T.gaussian_nll_loss(*v, **options),  # noqa: B023
            inputs,
        )


def test_gaussian_nll_of_one_number():
    x, t = numbers(3), numbers(3, seed=1)
    same(
        lambda v: F.gaussian_nll_loss(v, t, 2.0),
        lambda v: T.gaussian_nll_loss(v, torch.tensor(t), 2.0),
        [x],
    )
    layer = hl.nn.GaussianNLLLoss(full=True, eps=0.5, reduction="sum")
    got = layer(hl.tensor(x), t, np.full(3, 0.1))
    want = torch.nn.GaussianNLLLoss(full=True, eps=0.5, reduction="sum")(
        torch.tensor(x), torch.tensor(t), torch.full((3,), 0.1, dtype=torch.float64)
    )
    np.testing.assert_allclose(got.numpy(), want.numpy(), rtol=1e-12)


def test_kl_div_batchmean():
    x, t = numbers(5, 4), np.exp(numbers(5, 4, seed=1))
    same(
        lambda v: F.kl_div(v, t, "batchmean"),
        lambda v: T.kl_div(v, torch.tensor(t), reduction="batchmean"),
        [x],
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(reduction, smoothing, weighted):
    x = numbers(6, 4)
    labels = np.array([0, 3, 1, 2, 1, 3])
    soft = np.random.default_rng(2).dirichlet(np.ones(4), 6)
    w = np.array([0.5, 1, 2, 3]) if weighted else None
    tw = torch.tensor(w) if weighted else None
    options = {"reduction": reduction, "label_smoothing": smoothing}
    for target, extra in ((labels, {"ignore_index": 1}), (labels, {}), (soft, {})):
        same(
            lambda v: F.cross_entropy(v, target, w, **options, **extra),  # noqa: B023
            lambda v: T.cross_entropy(v, torch.tensor(target), tw, **options, **extra),  # noqa: B023
            [x],
        )
    if not smoothing:
        same(
            lambda v: F.nll_loss(v, labels, w, 1, reduction),
            lambda v: T.nll_loss(v, torch.tensor(labels), tw, ignore_index=1, reduction=reduction),
            [x],
        )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (lambda x: x.max(1).values, lambda x: x.max(1).values),
        (lambda x: x.amax((0, 2)), lambda x: x.amax((0, 2))),
        (lambda x: x.std(1, keepdim=True), lambda x: x.std(1, keepdim=True)),
        (lambda x: x.var((0, 1), correction=0), lambda x: x.var((0, 1), correction=0)),
        (lambda x: x.logsumexp(2), lambda x: x.logsumexp(2)),
        (lambda x: x.prod(1), lambda x: x.prod(1)),
        (lambda x: x.norm(dim=-1), lambda x: x.norm(dim=-1)),
        (lambda x: x.cumsum(1), lambda x: x.cumsum(1)),
        (lambda x: x.clamp(-0.5, 0.5), lambda x: x.clamp(-0.5, 0.5)),
        (lambda x: x.tril(-1), lambda x: x.tril(-1)),
        (lambda x: x % 0.7 + x.detach() // 0.3, lambda x: x % 0.7 + x.detach() // 0.3),
        (lambda x: F.normalize(x), lambda x: T.normalize(x, dim=-1)),
        (lambda x: F.pad(x, (2, 1), "reflect"), lambda x: T.pad(x.mT, (2, 1), "reflect").mT),
        (lambda x: x.split([1, 3], 1)[1], lambda x: x.split([1, 3], 1)[1]),
        (lambda x: x.unflatten(1, (2, 2)).flatten(2), lambda x: x.unflatten(1, (2, 2)).flatten(2)),
        (lambda x: hl.einsum("bij,bkj->bik", x, x), lambda x: torch.einsum("bij,bkj->bik", x, x)),
    ],
)
def test_tensor_methods(ours, theirs):
    same(ours, theirs, [numbers(3, 4, 5)])


def test_a_training_run_is_the_same_run():
    x, labels = numbers(40, 6), np.arange(40) % 3
    ours = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    theirs = torch.nn.Sequential(
        torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 3)
    ).double()
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert repr(ours) == repr(theirs)
    ours.load_state_dict(theirs.state_dict())
    a = optim.AdamW(ours.parameters(), lr=1e-2)
    b = torch.optim.AdamW(theirs.parameters(), lr=1e-2)
    s = optim.lr_scheduler.CosineAnnealingLR(a, 30)
    r = torch.optim.lr_scheduler.CosineAnnealingLR(b, 30)
    for _ in range(30):
        mine = F.cross_entropy(ours(x), labels, label_smoothing=0.1)
        mine.backward()
        norm = nn.utils.clip_grad_norm_(ours.parameters(), 0.5)
        a.step()
        a.zero_grad()
        s.step()
        other = T.cross_entropy(theirs(torch.tensor(x)), torch.tensor(labels), label_smoothing=0.1)
        other.backward()
        want = torch.nn.utils.clip_grad_norm_(theirs.parameters(), 0.5)
        b.step()
        b.zero_grad()
        r.step()
        assert mine.item() == pytest.approx(other.item(), rel=1e-9)
        assert norm == pytest.approx(want.item(), rel=1e-9)
    for p, q in zip(ours.parameters(), theirs.parameters()):
        np.testing.assert_allclose(p.numpy(), q.detach().numpy(), rtol=1e-8, atol=1e-10)
