"""Every differentiable operation against finite differences in float64."""

import numpy as np
import pytest

import handloom as hl
from handloom import ops
from handloom.nn import functional as F


def points(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> hl.Tensor:
    """Distinct numbers, none within 0.01 of a kink at a multiple of 1/2 or of another."""
    n = int(np.prod(shape))
    steps = np.linspace(low, high, 8 * n + 2)[1:-1]
    steps = steps[np.abs(steps * 2 - np.round(steps * 2)) > 0.04]
    picked = np.random.default_rng(seed).permutation(steps)[:n]
    return hl.tensor(picked.reshape(shape), requires_grad=True)


def positive(*shape: int, seed: int = 0) -> hl.Tensor:
    return points(*shape, seed=seed, low=0.1, high=3.0)


def unit(*shape: int, seed: int = 0) -> hl.Tensor:
    return points(*shape, seed=seed, low=0.05, high=0.95)


UNARY = {
    "neg": points, "abs": points, "exp": points, "log": positive, "log1p": positive,
    "expm1": points, "sqrt": positive, "rsqrt": positive, "square": points,
    "reciprocal": positive, "sign": points, "floor": points, "sin": points, "cos": points,
    "erf": points, "tanh": points, "sigmoid": points, "relu": points, "leaky_relu": points,
    "elu": points, "selu": points, "gelu": points, "silu": points, "mish": points,
    "softplus": points, "softsign": points, "hardtanh": points, "hardsigmoid": points,
    "hardswish": points, "relu6": points, "logsigmoid": points,
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_unary(name):
    x = UNARY[name](2, 3)
    assert hl.gradcheck(getattr(ops, name), x)
    assert hl.gradcheck(lambda v: getattr(ops, name)(v.T), x)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: ops.leaky_relu(x, 0.3),
        lambda x: ops.elu(x, 0.7),
        lambda x: ops.gelu(x, "tanh"),
        lambda x: ops.softplus(x, 2.0, 1.0),
        lambda x: ops.hardtanh(x, -0.6, 1.1),
        lambda x: ops.clamp(x, -0.6, 1.1),
        lambda x: ops.clamp(x, max=0.1),
        lambda x: x**3,
        lambda x: x**-2.0,
        lambda x: 3.0 / x - 2.0 * x + (1.0 - x) / 4.0,
        lambda x: x % 0.7,
        lambda x: x * hl.tensor([1, 2, 3]) + hl.tensor([True, False, True]),
    ],
)
def test_unary_with_options(f):
    assert hl.gradcheck(f, points(2, 3))


def test_clamp_passes_the_gradient_at_its_bounds():
    x = hl.tensor([-1.0, 0.0, 0.5, 1.0, 2.0], requires_grad=True)
    x.clamp(0.0, 1.0).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


@pytest.mark.parametrize("shapes", [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2,))])
@pytest.mark.parametrize("name", ["add", "sub", "mul", "div", "maximum", "minimum"])
def test_binary(name, shapes):
    a, b = points(*shapes[0], seed=1), positive(*shapes[1], seed=2)
    assert hl.gradcheck(getattr(ops, name), [a, b])
    assert hl.gradcheck(lambda x: getattr(ops, name)(x, b.detach()), a)
    assert hl.gradcheck(lambda y: getattr(ops, name)(a.detach(), y), b)


def test_pow_prelu_where():
    a, b = positive(2, 3), points(3, seed=3)
    assert hl.gradcheck(ops.pow, [a, b])
    assert hl.gradcheck(lambda e: 2.0**e, b)
    assert hl.gradcheck(ops.prelu, [points(2, 2, 3), positive(3)])
    assert hl.gradcheck(ops.prelu, [points(2, 3), positive(1)])
    mask = hl.tensor([[True, False, True]])
    assert hl.gradcheck(lambda x, y: hl.where(mask, x, y), [points(2, 3), points(3, seed=5)])
    assert hl.gradcheck(lambda x: hl.where(mask, x, 2.0), points(2, 3))
    assert hl.gradcheck(lambda x: x.masked_fill(mask, 2.0), points(2, 3))


def test_ties_share_the_gradient():
    a = hl.tensor([1.0, 2.0], requires_grad=True)
    b = hl.tensor([1.0, 5.0], requires_grad=True)
    hl.maximum(a, b).sum().backward()
    assert a.grad.tolist() == [0.5, 0.0]
    assert b.grad.tolist() == [0.5, 1.0]
    x = hl.tensor([3.0, 1.0, 3.0], requires_grad=True)
    x.max().backward()
    assert x.grad.tolist() == [0.5, 0, 0.5]


REDUCTIONS = ["sum", "mean", "amax", "amin", "var", "std", "norm", "logsumexp", "prod"]


@pytest.mark.parametrize("dim", [None, 0, -1, (0, 2)])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions(name, dim):
    x = points(2, 3, 2)
    assert hl.gradcheck(lambda v: getattr(ops, name)(v, dim=dim), x)
    assert hl.gradcheck(lambda v: getattr(ops, name)(v.permute(2, 0, 1), dim=dim, keepdim=True), x)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: ops.norm(x, 1, 1),
        lambda x: ops.norm(x, float("inf"), 0),
        lambda x: ops.var(x, 1, 0),
        lambda x: x.max(1).values,
        lambda x: x.min(0, keepdim=True).values,
        lambda x: x.sort(1, descending=True).values,
        lambda x: x.topk(2, 0).values * hl.tensor([2.0], dtype="float64"),
        lambda x: x.cumsum(0),
        lambda x: x.cumsum(-1).T,
    ],
)
def test_order_and_running_sums(f):
    assert hl.gradcheck(f, points(3, 4))


LAYOUT = {
    "reshape": lambda x: x.reshape(4, -1),
    "reshape of a view": lambda x: x.T.reshape(-1),
    "flatten": lambda x: x.flatten(1),
    "permute": lambda x: x.permute(2, 0, 1) * 2,
    "transpose": lambda x: x.transpose(0, 2),
    "unsqueeze": lambda x: x.unsqueeze(1).squeeze(1),
    "expand": lambda x: x[:, :1].expand(2, 3, 2) * 3,
    "new axes": lambda x: x.expand(2, 2, 3, 2),
    "repeat": lambda x: x.repeat(2, 1, 3),
    "flip": lambda x: x.flip(0, 2),
    "diagonal": lambda x: x.diagonal(0, 2),
    "cat": lambda x: hl.cat([x, x * 2, x], 1),
    "stack": lambda x: hl.stack([x, x * 2], 1),
    "split": lambda x: x.split(2, 1)[0] * x.split(2, 1)[0],
    "split, one part": lambda x: x.split([1, 2], 1)[1],
    "chunk": lambda x: hl.cat(x.chunk(2, 2), 0),
    "tril": lambda x: x.tril(),
    "triu": lambda x: hl.triu(x.T, 1),
    "clone": lambda x: x.clone(),
    "contiguous": lambda x: x.T.contiguous(),
    "pad": lambda x: F.pad(x, (1, 2), "constant", 3.0),
    "reflect": lambda x: F.pad(x, (1, 2), "reflect"),
    "replicate": lambda x: F.pad(x, (2, 1), "replicate"),
    "circular": lambda x: F.pad(x, (1, 2), "circular"),
    "symmetric": lambda x: F.pad(x, (2, 1), "symmetric"),
    "int": lambda x: x[1],
    "slices": lambda x: x[:, ::-1, :1],
    "none": lambda x: x[:, None, ..., 0],
    "element": lambda x: x[1, 2, 0],
    "rows": lambda x: x[[1, 0, 1]],
    "points": lambda x: x[[0, 1], [2, 0]],
    "columns": lambda x: x[:, [2, 2, 0]],
    "mask": lambda x: x[np.array([True, False])],
    "gather": lambda x: x.gather(1, np.array([[[0, 2], [1, 1]]])),
    "index_select": lambda x: x.index_select(1, np.array([2, 0, 2])),
    "take_rows": lambda x: ops.take_rows(x, np.array([[1, 0], [1, 1]])),
}


@pytest.mark.parametrize("name", LAYOUT)
def test_layout(name):
    assert hl.gradcheck(LAYOUT[name], points(2, 3, 2))


def test_casts_return_the_gradient_in_the_old_dtype():
    x = hl.tensor([1.0, 2.0], requires_grad=True)
    (x.astype("float64") * 3).sum().backward()
    assert x.grad.dtype == np.float32
    assert x.grad.tolist() == [3, 3]


@pytest.mark.parametrize(
    "shapes",
    [
        ((2, 3), (3, 4)),
        ((3,), (3, 2)),
        ((2, 3), (3,)),
        ((3,), (3,)),
        ((2, 1, 2, 3), (4, 3, 2)),
        ((3,), (2, 3, 2)),
        ((2, 2, 3), (3,)),
        ((2, 2, 3), (3, 2)),
    ],
)
def test_matmul(shapes):
    a, b = points(*shapes[0]), points(*shapes[1], seed=4)
    assert hl.gradcheck(hl.matmul, [a, b])
    assert hl.gradcheck(lambda x: x @ b.detach(), a)


@pytest.mark.parametrize("activation", [None, *ops.ACTIVATIONS])
def test_linear(activation):
    x, w, b = points(2, 2, 3), points(4, 3, seed=1), points(4, seed=2)
    assert hl.gradcheck(lambda *a: F.linear(*a, activation), [x, w, b])
    assert hl.gradcheck(lambda w: F.linear(x.detach(), w, None, activation), w)
    plain = F.linear(x, w, b)
    apart = plain if activation is None else getattr(ops, activation, None)
    if callable(apart):
        fused = F.linear(x, w, b, activation)
        np.testing.assert_allclose(fused.numpy(), apart(plain).numpy(), rtol=1e-12, atol=1e-14)


def test_linear_takes_views():
    x, w = points(3, 2), points(3, 4, seed=1)
    assert hl.gradcheck(lambda x, w: F.linear(x.T, w.T[:, ::1]), [x, w])
    with pytest.raises(ValueError, match="unknown, expected one of relu"):
        F.linear(x, w, None, "nonsense")


@pytest.mark.parametrize(
    "equation", ["ij,jk->ik", "bij,bkj->bik", "ij,ij->", "ii->i", "ij,jk,k->i"]
)
def test_einsum(equation):
    terms = equation.split("->")[0].split(",")
    args = [points(*(2 if c != "j" else 3 for c in t), seed=i) for i, t in enumerate(terms)]
    assert hl.gradcheck(lambda *a: hl.einsum(equation, *a), args)


@pytest.mark.parametrize("dim", [-1, 0, 1])
@pytest.mark.parametrize(
    "name", ["softmax", "log_softmax", "softmin", "glu", "swiglu", "normalize"]
)
def test_along_an_axis(name, dim):
    f = getattr(F, name)
    x = points(2, 4, 2)
    call = (lambda v: f(v, dim=dim)) if name == "normalize" else (lambda v: f(v, dim))
    assert hl.gradcheck(call, x)
    assert hl.gradcheck(lambda v: call(v.transpose(0, 2)), x)


def test_cosine_similarity():
    assert hl.gradcheck(F.cosine_similarity, [points(2, 3), points(2, 3, seed=9)])


REDUCE = ["mean", "sum", "none"]
LABELS = np.array([2, 0, 1, 2])


@pytest.mark.parametrize("reduction", REDUCE)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
def test_cross_entropy(reduction, smoothing, weighted):
    weight = np.array([0.5, 2.0, 1.5]) if weighted else None
    x = points(4, 3)
    options = {"weight": weight, "reduction": reduction, "label_smoothing": smoothing}
    assert hl.gradcheck(lambda v: F.cross_entropy(v, LABELS, ignore_index=0, **options), x)
    soft = np.random.default_rng(0).dirichlet(np.ones(3), 4)
    assert hl.gradcheck(lambda v: F.cross_entropy(v, soft, **options), x)
    assert hl.gradcheck(
        lambda v: F.cross_entropy(v, LABELS.reshape(2, 2), **options), points(2, 2, 3)
    )


@pytest.mark.parametrize("reduction", REDUCE)
def test_nll_loss(reduction):
    weight = np.array([0.5, 2.0, 1.5])
    for w in (None, weight):
        assert hl.gradcheck(lambda v: F.nll_loss(v, LABELS, w, 1, reduction), points(4, 3))  # noqa: B023


def pair():
    return [points(3, 4), points(3, 4, seed=7)]


LOSSES = {
    "mse": (F.mse_loss, pair),
    "l1": (F.l1_loss, pair),
    "smooth_l1": (lambda x, t, reduction: F.smooth_l1_loss(x, t, reduction, 0.7), pair),
    "huber": (lambda x, t, reduction: F.huber_loss(x, t, reduction, 0.7), pair),
    "bce": (F.binary_cross_entropy, lambda: [unit(3, 4), unit(3, 4, seed=1)]),
    "bce weighted": (
        lambda x, t, reduction: F.binary_cross_entropy(
            x, t, np.linspace(0.5, 2, 12).reshape(3, 4), reduction
        ),
        lambda: [unit(3, 4), unit(3, 4, seed=1).detach()],
    ),
    "bce with logits": (
        F.binary_cross_entropy_with_logits,
        lambda: [points(3, 4), unit(3, 4, seed=1)],
    ),
    "bce with pos_weight": (
        lambda x, t, reduction: F.binary_cross_entropy_with_logits(
            x, t, reduction=reduction, pos_weight=np.array([0.5, 1.0, 2.0, 3.0])
        ),
        lambda: [points(3, 4), unit(3, 4, seed=1).detach()],
    ),
    "kl_div": (F.kl_div, lambda: [points(3, 4), unit(3, 4, seed=1).detach()]),
    "kl_div log": (
        lambda x, t, reduction: F.kl_div(x, t, reduction, True),
        lambda: [points(3, 4), points(3, 4, seed=1).detach()],
    ),
    "focal": (
        lambda x, t, reduction: F.focal_loss(x, t, 0.3, 2.0, reduction),
        lambda: [points(3, 4), hl.tensor((np.arange(12).reshape(3, 4) % 3 == 0) * 1.0)],
    ),
    "hinge embedding": (
        lambda x, t, reduction: F.hinge_embedding_loss(x, t, 0.9, reduction),
        lambda: [points(3, 4), hl.tensor(np.where(np.arange(12).reshape(3, 4) % 3, 1.0, -1.0))],
    ),
    "hinge": (
        F.hinge_loss,
        lambda: [points(3, 4), hl.tensor(np.where(np.arange(12).reshape(3, 4) % 3, 1.0, -1.0))],
    ),
    "gaussian_kl": (F.gaussian_kl, pair),
    "dice": (
        lambda x, t, reduction: F.dice_loss(x, t, 0.5, reduction),
        lambda: [unit(3, 2, 2), hl.tensor((np.arange(12).reshape(3, 2, 2) % 3 == 0) * 1.0)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCE)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, reduction):
    f, inputs = LOSSES[name]
    assert hl.gradcheck(lambda *a: f(*a, reduction=reduction), inputs())


@pytest.mark.parametrize("kind", ops.GAN_KINDS)
def test_gan_losses(kind):
    assert hl.gradcheck(
        lambda r, f: F.gan_discriminator_loss(r, f, kind), [points(4), points(4, seed=2)]
    )
    assert hl.gradcheck(lambda f: F.gan_generator_loss(f, kind), points(4))


@pytest.mark.parametrize("name", ["dropout", "dropout1d", "alpha_dropout"])
def test_dropout_backward_draws_the_same_mask(name):
    def f(x):
        hl.manual_seed(3)
        return getattr(F, name)(x, 0.4, True)

    assert hl.gradcheck(f, points(2, 3, 4))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_probabilities_as_a_target_may_learn(smoothing, reduction):
    x, t = points(2, 4, 3), unit(2, 4, 3)
    w = np.array([0.5, 1.0, 2.0])
    options = {"weight": w, "label_smoothing": smoothing, "reduction": reduction}
    assert hl.gradcheck(lambda x, t: F.cross_entropy(x, t, **options), [x, t])
    fixed = F.cross_entropy(x, t.detach(), **options)
    np.testing.assert_allclose(F.cross_entropy(x, t, **options).numpy(), fixed.numpy(), rtol=1e-12)
    with pytest.raises(ValueError, match="target"):
        F.cross_entropy(x, unit(2, 3, 3))


def test_weights_without_a_gradient_refuse_it():
    with pytest.raises(NotImplementedError, match="weight has no gradient, detach it"):
        F.cross_entropy(points(4, 3), np.array([0, 1, 2, 0]), unit(3))
    with pytest.raises(NotImplementedError, match="weights have no gradient"):
        F.binary_cross_entropy(unit(2, 3), unit(2, 3, seed=1), unit(2, 3, seed=2))
