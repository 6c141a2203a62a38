"""The tape: accumulation, freeing, hooks, no_grad, errors, anomalies."""

import gc
import threading
import weakref

import numpy as np
import pytest

import handloom as hl
from handloom import nn
from handloom.autograd import Function


def leaf(*shape: int, dtype: str = "float64") -> hl.Tensor:
    n = int(np.prod(shape))
    return hl.tensor((np.sin(np.arange(n) + 1.0)).reshape(shape).astype(dtype), requires_grad=True)


class Cube(Function):
    def forward(ctx, x):
        ctx.saved = (x,)
        return x**3

    def backward(ctx, dy):
        (x,) = ctx.saved
        return 3 * dy * x * x


class MinMax(Function):
    """Two results of one input; either may play no part."""

    def forward(ctx, x):
        ctx.shape, ctx.at = x.shape, (int(x.argmin()), int(x.argmax()))
        return x.min().reshape(1), x.max().reshape(1)

    def backward(ctx, dlow, dhigh):
        dx = np.zeros(ctx.shape)
        for at, d in zip(ctx.at, (dlow, dhigh)):
            if d is not None:
                dx[at] += d[0]
        return dx


# gradients


def test_a_function_of_ones_own():
    x = leaf(4)
    Cube.apply(x).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), 3 * x.numpy() ** 2)
    assert hl.gradcheck(Cube.apply, x)
    assert not Cube.apply(hl.ones(2)).requires_grad


@pytest.mark.parametrize("which", [(0,), (1,), (0, 1)])
def test_several_results(which):
    x = hl.tensor(np.array([3.0, -1.0, 2.0]), requires_grad=True)
    outs = MinMax.apply(x)
    total = outs[which[0]] * 2
    for i in which[1:]:
        total = total + outs[i] * 5
    total.sum().backward()
    want = {(0,): [0, 2, 0], (1,): [2, 0, 0], (0, 1): [5, 2, 0]}[which]
    assert x.grad.tolist() == want


def test_diamonds_and_reuse_add_up():
    x = leaf(3)
    y = x * 2
    z = y * y + y + x + x
    (z * z).sum().backward()
    v = x.numpy()
    dz = 2 * (4 * v * v + 4 * v)
    np.testing.assert_allclose(x.grad.numpy(), dz * (8 * v + 4), rtol=1e-12)


def test_backward_accumulates_and_zero_grad_forgets():
    x = leaf(3)
    for n in (1, 2, 3):
        (x * 2).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), np.full(3, 2.0 * n))
    x.zero_grad()
    assert x.grad is None


def test_gradients_of_two_leaves_never_share_memory():
    a, b = leaf(3), leaf(3)
    (a + b).sum().backward()
    assert not np.shares_memory(a.grad.numpy(), b.grad.numpy())
    assert a.grad.is_contiguous()


def test_the_tape_adds_only_into_its_own_buffers():
    x = leaf(3)
    mine = hl.ones(3, dtype="float64")
    x.grad = mine
    (x * 2).sum().backward()
    assert mine.tolist() == [1, 1, 1]
    assert x.grad.tolist() == [3, 3, 3]
    seed = np.ones(3)
    y = x * 1.0
    (y + y).backward(seed)
    assert seed.tolist() == [1, 1, 1]
    with pytest.raises(ValueError, match=r"\(3,\)"):
        x.grad = hl.ones(2)
    with pytest.raises(TypeError, match="ndarray"):
        x.grad = np.ones(3)


def test_a_result_may_be_used_by_many():
    x = leaf(2)
    y = x + 0.0
    total = y
    for _ in range(50):
        total = total + y
    total.sum().backward()
    assert x.grad.tolist() == [51, 51]


def test_gradient_argument():
    x = leaf(2, 3)
    y = x * 3
    with pytest.raises(RuntimeError, match=r"\(2, 3\)"):
        y.backward()
    y.backward(hl.ones(2, 3, dtype="float64") * 2)
    assert (x.grad == 6).all()
    with pytest.raises(ValueError, match="expected"):
        (x * 3).backward(np.ones(3))
    with pytest.raises(RuntimeError, match="needs no gradient"):
        hl.ones(1).backward()


def test_backward_of_a_leaf_itself():
    x = hl.tensor(2.0, requires_grad=True)
    x.backward()
    x.backward()
    assert x.grad.item() == 2


def test_wrong_gradient_shape_names_the_operation():
    class Bad(Function):
        def forward(ctx, x):
            return x * 2

        def backward(ctx, dy):
            return dy[:1]

    x = leaf(3)
    with pytest.raises(RuntimeError, match=r"bad gave a gradient of shape \(1,\)"):
        Bad.apply(x).sum().backward()


# life of a graph


def test_second_walk_is_an_error_and_retain_graph_allows_it():
    x = leaf(2)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    np.testing.assert_allclose(x.grad.numpy(), 4 * x.numpy())
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()


def test_second_derivatives_are_refused():
    x = leaf(2)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        (x * x).sum().backward(create_graph=True)
    with pytest.raises(NotImplementedError, match="second derivatives"):
        hl.grad((x * x).sum(), x, create_graph=True)


def test_graphs_are_freed_without_the_collector():
    while gc.collect():  # what other tests have left may take several passes
        pass
    gc.disable()
    try:
        x = leaf(8)
        y = (x * x).exp().reshape(2, 4).sum()
        node = weakref.ref(y.grad_fn)
        del y
        assert node() is None  # dropped without a walk
        model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)).double()
        y = model(x.reshape(1, 8)).sum()
        hidden = weakref.ref(y.grad_fn.inputs[0])
        y.backward()
        assert hidden() is None  # dropped on the walk, while y lives
        a, b = MinMax.apply(x)
        refs = [weakref.ref(t.grad_fn) for t in (a, b)]
        del a, b
        assert [r() for r in refs] == [None, None]
        gone = weakref.ref(x)
        del x, y, model
        assert gone() is None
        assert gc.collect() == 0
    finally:
        gc.enable()


def test_deep_graphs_need_no_recursion():
    x = leaf(1)
    y = x
    for _ in range(20_000):
        y = y + 1.0
    y.backward(np.ones(1))
    assert x.grad.item() == 1
    y = x
    for _ in range(20_000):
        y = y + 1.0
    del y  # never walked: must not overflow the stack either


def test_in_place_change_of_a_saved_array_names_the_operation():
    x, w = leaf(2, 3), leaf(3, 2)
    y = (x @ w).sum()
    with hl.no_grad():
        w[0, 0] = 5.0
    with pytest.raises(RuntimeError, match=r"matmul: an array that it saved was changed in place"):
        y.backward()
    h = x.exp()
    z = (h * 2).sum()
    h.detach()[0] = 0.0  # a view of the result that exp saved
    with pytest.raises(RuntimeError, match="exp"):
        z.backward()


def test_in_place_change_of_what_was_not_saved_is_fine():
    x, b = leaf(3), leaf(3)
    y = (x + b).sum()
    with hl.no_grad():
        b.zero_()
    y.backward()
    assert b.grad.tolist() == [1, 1, 1]


def test_optimiser_step_between_forward_and_backward_is_noticed():
    layer = nn.Linear(2, 2)
    first = layer(hl.ones(1, 2)).sum()
    x = hl.ones(1, 2, requires_grad=True)
    second = layer(x).sum()
    first.backward()
    hl.optim.SGD(layer.parameters(), lr=0.1).step()
    with pytest.raises(RuntimeError, match="linear"):
        second.backward()


# hooks


def test_hooks_of_leaves_see_the_whole_gradient_once():
    x = leaf(2)
    seen = []
    handle = x.register_hook(lambda g: seen.append(g.numpy().copy()))
    (x * 2 + x * 3).sum().backward()
    assert len(seen) == 1
    assert seen[0].tolist() == [5, 5]
    handle.remove()
    (x * 2).sum().backward()
    assert len(seen) == 1
    assert x.grad.tolist() == [7, 7]


def test_hooks_replace_gradients():
    x = leaf(2)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    y.sum().backward()
    assert x.grad.tolist() == [21, 21]
    y = x * 2
    y.register_hook(lambda g: g[:1])
    with pytest.raises(RuntimeError, match="hook: returned shape"):
        y.sum().backward()
    with pytest.raises(RuntimeError, match="does not require"):
        hl.ones(1).register_hook(print)


def test_retain_grad_keeps_that_of_results():
    x = leaf(2)
    y, z = x * 2, x * 3
    y.retain_grad()
    (y * y + z).sum().backward()
    np.testing.assert_allclose(y.grad.numpy(), 2 * y.numpy())
    assert z.grad is None
    gone = weakref.ref(y)
    del y
    assert gone() is None


# switching off


def test_no_grad_as_context_and_decorator():
    x = leaf(2)
    with hl.no_grad():
        assert not hl.is_grad_enabled()
        assert not (x * 2).requires_grad
        with hl.enable_grad():
            assert (x * 2).requires_grad
        assert not (x * 2).requires_grad
    assert (x * 2).requires_grad

    @hl.no_grad()
    def f(v):
        """Doubles."""
        return v * 2

    assert not f(x).requires_grad
    assert f.__doc__ == "Doubles."
    with pytest.raises(ZeroDivisionError), hl.no_grad():
        1 / 0  # noqa: B018
    assert hl.is_grad_enabled()


def test_no_grad_decorates_without_brackets_and_generators():
    x = leaf(2)

    @hl.no_grad
    def f(v):
        return v * 2

    @hl.no_grad()
    def values(v):
        yield v * 2
        yield v * 3
        return 5

    assert not f(x).requires_grad
    made = values(x)
    assert not next(made).requires_grad
    assert (x * 2).requires_grad  # between the values it is the caller's code that runs
    assert not next(made).requires_grad
    with pytest.raises(StopIteration) as end:
        next(made)
    assert end.value.value == 5
    assert hl.is_grad_enabled()


def test_no_grad_belongs_to_the_thread():
    x, seen = leaf(2), []

    def work():
        seen.append((x * 2).requires_grad)

    with hl.no_grad():
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        seen.append((x * 2).requires_grad)
    assert seen == [True, False]


def test_threads_build_and_walk_their_own_graphs():
    grads = {}

    def work(k):
        x = hl.tensor(np.full(64, float(k)), requires_grad=True)
        for _ in range(50):
            x.zero_grad()
            ((x * x).exp().log() * k).sum().backward()
        grads[k] = x.grad.numpy()

    threads = [threading.Thread(target=work, args=(k,)) for k in (1, 2, 3)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    for k in (1, 2, 3):
        np.testing.assert_allclose(grads[k], 2 * k * k, rtol=1e-12)


def test_detach_and_data_leave_the_graph():
    x = leaf(2)
    y = (x * 2).detach()
    assert not y.requires_grad
    assert y.is_leaf
    x.data = x.data * 0
    assert x.tolist() == [0, 0]
    assert x.requires_grad
    assert x.is_leaf


def test_requires_grad_of_results_cannot_be_switched_off():
    y = leaf(2) * 2
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad = False
    x = leaf(2)
    (x * 2).sum().backward()
    x.requires_grad = False
    assert x.grad.tolist() == [2, 2]
    assert not (x * 2).requires_grad


# grad()


def test_grad_leaves_the_leaves_alone():
    x, w = leaf(3), leaf(3)
    y = x * w
    z = (y * y).sum()
    dx, dy = hl.grad(z, [x, y], retain_graph=True)
    np.testing.assert_allclose(dy.numpy(), 2 * y.numpy())
    np.testing.assert_allclose(dx.numpy(), 2 * y.numpy() * w.numpy())
    assert x.grad is None
    assert w.grad is None
    (dw,) = hl.grad(y, w, grad_outputs=np.ones(3))
    np.testing.assert_allclose(dw.numpy(), x.numpy())


def test_grad_computes_only_what_leads_to_the_inputs():
    calls = []

    class Note(Function):
        def forward(ctx, a, b):
            return a + b

        def backward(ctx, dy):
            calls.append(ctx.need)
            return dy, dy

    x, w, other = leaf(2), leaf(2), leaf(2)
    y = Note.apply(x, w) * other.exp()
    hl.grad(y.sum(), x, retain_graph=True)
    assert calls == [1]
    y.sum().backward()
    assert calls == [1, 3]


def test_grad_errors():
    x, w = leaf(2), leaf(2)
    with pytest.raises(RuntimeError, match=r"inputs\[1\] plays no part"):
        hl.grad((x * 2).sum(), [x, w])
    assert hl.grad((x * 2).sum(), [x, w], allow_unused=True)[1] is None
    with pytest.raises(RuntimeError, match=r"inputs\[0\] does not require"):
        hl.grad((x * 2).sum(), hl.ones(2))
    with pytest.raises(ValueError, match="2 grad_outputs for 1"):
        hl.grad(x * 2, x, [np.ones(2), np.ones(2)])


# anomalies and gradcheck


def test_detect_anomaly_sees_writes_past_the_counter():
    x = leaf(3)
    with hl.detect_anomaly():
        y = x.exp()
        y.numpy()[0] = 7.0
        with pytest.raises(RuntimeError, match=r"exp at .*test_autograd.py:\d+.*written to"):
            y.sum().backward()


def test_detect_anomaly_names_the_maker_of_a_nan():
    x = hl.tensor([0.0, 1.0], requires_grad=True)
    with hl.detect_anomaly():
        with pytest.raises(RuntimeError, match=r"log at .*test_autograd.py:\d+ gave a NaN"):
            (x - 1.0).log()
        y = x.sqrt() * 0.0
        with pytest.raises(RuntimeError, match="backward of sqrt"):
            y.sum().backward()
    assert np.isnan((x - 1.0).log().numpy()[0])


def test_gradcheck_finds_and_describes_a_wrong_gradient():
    class Wrong(Function):
        def forward(ctx, x):
            ctx.saved = (x,)
            return x**2

        def backward(ctx, dy):
            return 3 * dy * ctx.saved[0]

    x = leaf(2, 2)
    with pytest.raises(AssertionError, match=r"d y\[.*\] / d x\[.*finite differences.* 4 of 16"):
        hl.gradcheck(Wrong.apply, x)
    assert not hl.gradcheck(Wrong.apply, x, raise_exception=False)
    with pytest.raises(TypeError, match="float64"):
        hl.gradcheck(Cube.apply, leaf(2, dtype="float32"))
    with pytest.raises(ValueError, match="no input"):
        hl.gradcheck(Cube.apply, hl.ones(2))
