"""Tensors: what they are made of, which dtypes meet, indexing, shapes, and how they print."""

import copy

import numpy as np
import pytest

import handloom as hl


def grid(*shape: int, dtype: str = "float32") -> np.ndarray:
    """Distinct numbers without ties."""
    n = int(np.prod(shape))
    return (np.sin(np.arange(n) * 1.7 + 0.3) * 3).reshape(shape).astype(dtype)


# making


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (1.5, "float32"),
        ([1.0, 2.0], "float32"),
        ([[1, 2], [3, 4]], "int64"),
        (True, "bool"),
        (np.ones(2), "float64"),
        (np.ones(2, np.float32), "float32"),
        (np.arange(3, dtype=np.int32), "int32"),
        (np.float64(2.0), "float32"),
        (np.array([1, 2], np.uint8), "uint8"),
    ],
)
def test_dtype_of_new_tensors(data, dtype):
    assert str(hl.tensor(data).dtype) == dtype


def test_tensor_copies_and_from_numpy_shares():
    a = np.zeros(3, np.float32)
    copied, shared = hl.tensor(a), hl.from_numpy(a)
    a[0] = 5
    assert copied.tolist() == [0, 0, 0]
    assert shared.tolist() == [5, 0, 0]
    assert hl.tensor(shared).numpy() is not shared.numpy()
    assert hl.tensor(memoryview(a)).numpy().base is None


@pytest.mark.parametrize(
    ("data", "error", "text"),
    [
        (["a"], TypeError, "dtype"),
        (1j, TypeError, "complex"),
        (np.float16(1), TypeError, "float16"),
        ([[1.0], [1.0, 2.0]], ValueError, "ragged"),
        (np.arange(3, dtype=">f4"), ValueError, "newbyteorder"),
    ],
)
def test_bad_data_is_named(data, error, text):
    with pytest.raises(error, match=text):
        hl.tensor(data)


def test_device_and_requires_grad_are_checked():
    if not hl.cuda.is_available():
        with pytest.raises(RuntimeError, match="'cuda' cannot be used, "):
            hl.tensor([1.0], device="cuda")
    with pytest.raises(ValueError, match="'abacus' is unknown, expected cpu, cuda"):
        hl.tensor([1.0], device="abacus")
    with pytest.raises(TypeError, match="int64"):
        hl.tensor([1], requires_grad=True)
    assert hl.tensor([1.0], device="cpu").device == "cpu"


def test_creation_functions():
    assert hl.zeros(2, 3).shape == hl.ones((2, 3)).shape == (2, 3)
    assert hl.full((2,), 7).dtype == np.int64
    assert hl.full((2,), 7.0).dtype == np.float32
    assert hl.full((), True).dtype == np.bool_
    assert hl.arange(3).dtype == np.int64
    np.testing.assert_array_equal(hl.arange(1, 2, 0.25).numpy(), np.float32([1, 1.25, 1.5, 1.75]))
    assert hl.zeros_like(hl.ones(2, dtype="float64")).dtype == np.float64
    assert hl.ones_like(hl.arange(3), dtype="float32").tolist() == [1, 1, 1]
    np.testing.assert_array_equal(hl.eye(2, 3).numpy(), np.eye(2, 3))
    assert hl.linspace(0, 1, 5)[3].item() == 0.75
    with pytest.raises(ValueError, match="step is 0"):
        hl.arange(0, 1, 0)


# arithmetic and dtypes


def test_operators_agree_with_numpy():
    a, b = grid(3, 1, 4), grid(2, 1) + 4
    x, y = hl.tensor(a), hl.tensor(b)
    for name in ("add", "sub", "mul", "truediv", "pow", "mod", "floordiv"):
        op = f"__{name}__"
        base = np.abs(a) + 0.5 if name == "pow" else a
        left = hl.tensor(base) if name == "pow" else x
        np.testing.assert_allclose(
            getattr(left, op)(y).numpy(), getattr(base, op)(b), rtol=2e-6, atol=2e-6, err_msg=name
        )
    np.testing.assert_array_equal((-x).numpy(), -a)
    np.testing.assert_array_equal(abs(x).numpy(), abs(a))
    np.testing.assert_array_equal((2 - x).numpy(), 2 - a)
    np.testing.assert_array_equal((1 / y).numpy(), 1 / b)
    np.testing.assert_allclose((2**y).numpy(), 2**b, rtol=2e-6)


def test_arrays_on_the_left_come_to_the_tensor():
    a = grid(2, 3)
    for result in (a + hl.tensor(a), a * hl.tensor(a), a @ hl.tensor(a.T)):
        assert isinstance(result, hl.Tensor)


def test_two_float_types_do_not_mix():
    x, y = hl.ones(2), hl.ones(2, dtype="float64")
    for f in (lambda: x + y, lambda: y * x, lambda: x < y, lambda: hl.where(x > 0, x, y)):
        with pytest.raises(TypeError, match=r"float32 and float64|float64 and float32") as error:
            f()
        assert "astype" in str(error.value)
    with pytest.raises(TypeError, match="float64"):
        x + np.ones(2)
    with pytest.raises(TypeError):
        x @ y.reshape(2, 1)


def test_integers_and_bools_become_the_float_they_meet():
    x = hl.tensor([1.5, 2.5])
    i, b = hl.tensor([1, 2]), hl.tensor([True, False])
    assert (x + i).dtype == np.float32
    assert (i * x.astype("float64")).dtype == np.float64
    assert (x * b).tolist() == [1.5, 0.0]
    assert (i + 1).dtype == np.int64
    assert (i + 0.5).dtype == np.float32
    assert (i / 2).tolist() == [0.5, 1.0]
    assert i.mean().dtype == np.float32
    assert i.sum().dtype == b.sum().dtype == np.int64
    assert (i + b).tolist() == [2, 2]
    assert (i % 2).tolist() == [1, 0]
    assert (x + np.float64(1)).dtype == np.float32
    assert (b & ~b).tolist() == [False, False]
    assert (b | True).tolist() == [True, True]
    assert (i ^ 1).tolist() == [0, 3]
    with pytest.raises(TypeError, match="booleans or integers"):
        x & b


def test_operands_of_no_kind_are_named():
    x = hl.ones(2)
    for other in ("a", None, [1.0, 2.0], {}):
        with pytest.raises(TypeError, match=type(other).__name__):
            x + other
    assert (x == None) is False  # noqa: E711
    assert (x != "a") is True


def test_shapes_that_do_not_broadcast_are_named():
    with pytest.raises(ValueError, match=r"\(2,\).*\(3,\)"):
        hl.ones(2) + hl.ones(3)
    with pytest.raises(ValueError, match=r"\(2, 3\)"):
        hl.ones(2, 3) @ hl.ones(2, 3)


def test_comparisons_give_booleans():
    a, b = grid(3, 1), grid(4)
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        result = getattr(hl.tensor(a), f"__{name}__")(hl.tensor(b))
        assert result.dtype == np.bool_
        np.testing.assert_array_equal(result.numpy(), getattr(a, f"__{name}__")(b))
    assert (hl.tensor([1, 2]) > 1).tolist() == [False, True]
    assert (hl.tensor([np.nan]) == hl.tensor([np.nan])).tolist() == [False]


def test_plus_equals_rebinds():
    x = hl.ones(2)
    before = x
    x += 1
    assert before.tolist() == [1, 1]
    assert x.tolist() == [2, 2]


# reductions and order


def test_reductions_agree_with_numpy():
    a = grid(2, 3, 4, dtype="float64")
    x = hl.tensor(a)
    for dim in (None, 0, -1, (0, 2), [1]):
        axis = tuple(dim) if isinstance(dim, list) else dim
        for keep in (False, True):
            kw = {"axis": axis, "keepdims": keep}
            for name, want in {
                "sum": a.sum(**kw),
                "mean": a.mean(**kw),
                "amax": a.max(**kw),
                "amin": a.min(**kw),
                "prod": a.prod(**kw),
                "var": a.var(ddof=1, **kw),
                "std": a.std(ddof=1, **kw),
                "norm": np.sqrt((a * a).sum(**kw)),
                "logsumexp": np.log(np.exp(a).sum(**kw)),
            }.items():
                got = getattr(x, name)(dim=dim, keepdim=keep)
                assert got.shape == want.shape, name
                np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-13, err_msg=name)
    np.testing.assert_allclose(x.var(correction=0).item(), a.var())
    np.testing.assert_allclose(x.norm(1).item(), np.abs(a).sum())
    np.testing.assert_allclose(x.norm(float("inf"), dim=1).numpy(), np.abs(a).max(axis=1))


def test_max_sort_topk():
    a = grid(3, 5)
    x = hl.tensor(a)
    assert x.max().item() == a.max()
    values, indices = x.max(dim=1)
    np.testing.assert_array_equal(values.numpy(), a.max(1))
    np.testing.assert_array_equal(indices.numpy(), a.argmax(1))
    np.testing.assert_array_equal(x.min(0, keepdim=True).values.numpy(), a.min(0, keepdims=True))
    result = x.sort(dim=0, descending=True)
    np.testing.assert_array_equal(result.values.numpy(), -np.sort(-a, axis=0))
    np.testing.assert_array_equal(
        np.take_along_axis(a, result.indices.numpy(), 0), result.values.numpy()
    )
    np.testing.assert_array_equal(x.argsort().numpy(), a.argsort(1))
    top = hl.topk(x, 2)
    np.testing.assert_array_equal(top.values.numpy(), -np.sort(-a, axis=1)[:, :2])
    np.testing.assert_array_equal(x.topk(2, dim=0, largest=False).values.numpy(), np.sort(a, 0)[:2])
    assert hl.tensor([3, 1, 2]).sort().values.tolist() == [1, 2, 3]
    assert hl.tensor([3, 1, 2]).argmax().item() == 0
    assert hl.tensor([[3, 1, 2]]).max(1).values.tolist() == [3]
    with pytest.raises(ValueError, match="k is 6"):
        x.topk(6)


def test_dims_are_checked():
    x = hl.ones(2, 3)
    for f in (
        lambda: x.sum(2),
        lambda: x.argmax(5),
        lambda: x.sort(-3),
        lambda: x.unsqueeze(4),
        lambda: x.transpose(0, 2),
        lambda: hl.cat([x, x], 2),
        lambda: x.softmax(3),
    ):
        with pytest.raises(ValueError, match="out of range"):
            f()
    with pytest.raises(ValueError, match="twice"):
        x.sum((0, -2))


# indexing

INDICES = {
    "int": 1,
    "negative": -1,
    "slice": slice(1, 3),
    "step": slice(None, None, -2),
    "ellipsis": (..., 0),
    "none": (slice(None), None, 1),
    "pair": (0, slice(1, 2)),
    "element": (1, 2, 3),
    "rows": [2, 0, 2, -1],
    "matrix": np.array([[0, 1], [2, 0]]),
    "column": (slice(None), [0, 2]),
    "points": ([0, 1, 2], [2, 1, 0]),
    "mixed": ([0, 2], slice(None), 1),
    "rowmask": np.array([True, False, True]),
    "empty": [],
}


@pytest.mark.parametrize("name", INDICES)
def test_indexing_agrees_with_numpy(name):
    index, a = INDICES[name], grid(3, 4, 5)
    want = a[np.array(index, np.int64)] if name == "empty" else a[index]
    np.testing.assert_array_equal(hl.tensor(a)[index].numpy(), want)


def test_index_by_mask_and_by_tensor():
    a = grid(3, 4)
    x = hl.tensor(a)
    np.testing.assert_array_equal(x[x > 0].numpy(), a[a > 0])
    np.testing.assert_array_equal(x[hl.tensor([2, 0])].numpy(), a[[2, 0]])
    assert x[hl.tensor(1)].shape == (4,)
    assert hl.arange(5)[hl.tensor([4, 0])].tolist() == [4, 0]


def test_bad_indices_are_named():
    x = hl.ones(3, 4)
    with pytest.raises(IndexError):
        x[3]
    with pytest.raises(IndexError, match="7 is out of range"):
        x[[0, 7]]
    with pytest.raises(IndexError):
        x[0, 0, 0]
    with pytest.raises(TypeError, match="float32"):
        x[np.float32([1.0])]


def test_setitem_writes_and_counts():
    x = hl.zeros(3, 4)
    x[1] = 2.0
    x[:, 0] = hl.tensor([7.0, 8.0, 9.0])
    x[x > 8] = -1
    want = np.zeros((3, 4), np.float32)
    want[1] = 2
    want[:, 0] = [7, 8, -1]
    np.testing.assert_array_equal(x.numpy(), want)
    with pytest.raises(TypeError, match="float64"):
        x[0] = np.ones(4)
    with pytest.raises(RuntimeError, match=r"hl\.where"):
        hl.zeros(2, requires_grad=True)[0] = 1.0
    w = hl.zeros(2, requires_grad=True)
    with hl.no_grad():
        w[0] = 1.0
    assert w.tolist() == [1, 0]


def test_iteration_and_length():
    x = hl.tensor(grid(3, 2))
    assert len(x) == 3
    assert [row.shape for row in x] == [(2,)] * 3
    for bad in (len, iter):
        with pytest.raises(TypeError, match="without axes"):
            bad(hl.tensor(1.0))


# layout


def test_views_share_memory_and_copies_do_not():
    x = hl.tensor(grid(2, 3, 4))
    base = x.numpy()
    for view in (
        x[0],
        x.reshape(6, 4),
        x.T,
        x.permute(2, 0, 1),
        x.unsqueeze(0),
        x.flatten(),
        x.expand(5, 2, 3, 4),
        x.flip(1),
        x.split(1)[1],
        x.detach(),
        x.data,
    ):
        assert np.shares_memory(view.numpy(), base)
        assert view._version is x._version
    for other in (x.clone(), x.T.reshape(-1), x + 0, hl.cat([x, x]), x.T.contiguous()):
        assert not np.shares_memory(other.numpy(), base)


def test_shapes_agree_with_numpy():
    a = grid(2, 3, 4)
    x = hl.tensor(a)
    cases = [
        (x.reshape(4, -1), a.reshape(4, -1)),
        (x.T.reshape(6, 4), a.T.reshape(6, 4)),
        (x.flatten(1), a.reshape(2, 12)),
        (x.unflatten(2, (2, -1)), a.reshape(2, 3, 2, 2)),
        (x.permute(1, 0, 2), a.transpose(1, 0, 2)),
        (x.transpose(0, -1), a.swapaxes(0, 2)),
        (x.mT, a.swapaxes(1, 2)),
        (x[:, :1].squeeze(1), a[:, 0]),
        (x[:1, :1].squeeze(), a[0, 0]),
        (x.unsqueeze(-1), a[..., None]),
        (x[:, :1].expand(2, 5, 4), np.broadcast_to(a[:, :1], (2, 5, 4))),
        (x.repeat(2, 1, 3), np.tile(a, (2, 1, 3))),
        (x.repeat(2, 1, 1, 1), np.tile(a, (2, 1, 1, 1))),
        (x.flip(0, 2), np.flip(a, (0, 2))),
        (hl.stack([x, x], 1), np.stack([a, a], 1)),
        (hl.cat([x, x], -1), np.concatenate([a, a], -1)),
        (x.tril(), np.tril(a)),
        (hl.triu(x, 1), np.triu(a, 1)),
        (x.diagonal(), np.diagonal(a, 0, 1, 2)),
        (x.cumsum(1), a.cumsum(1)),
        (hl.clip(x, -1, None), np.clip(a, -1, None)),
        (x.masked_fill(x > 0, 9.0), np.where(a > 0, np.float32(9), a)),
        (hl.where(x > 0, x, 0.0), np.where(a > 0, a, 0)),
        (x.index_select(1, hl.tensor([2, 0])), a[:, [2, 0]]),
        (x.gather(0, hl.zeros(1, 3, 4, dtype="int64")), a[:1]),
    ]
    for i, (got, want) in enumerate(cases):
        assert got.shape == want.shape, i
        np.testing.assert_allclose(got.numpy(), want, rtol=1e-6, atol=1e-6, err_msg=str(i))
    assert [p.shape for p in x.split([1, 3], 2)] == [(2, 3, 1), (2, 3, 3)]
    assert [p.shape[1] for p in x.chunk(2, 1)] == [2, 1]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x: x.reshape(5), r"\(2, 3\) has 6 elements"),
        (lambda x: x.reshape(-1, -1), "do not fill"),
        (lambda x: x.T.view(6), "not contiguous"),
        (lambda x: x.permute(0, 0), "each of 2 axes once"),
        (lambda x: x.expand(2, 4), "does not expand"),
        (lambda x: x.split(0), "at least 1"),
        (lambda x: x.split([1, 2]), "do not add up to 2"),
        (lambda x: hl.cat([]), "got none"),
        (lambda x: hl.stack([x, x[0]]), "shapes differ"),
        (lambda x: hl.cat([x, x[:, :1]]), "outside axis 0|shape"),
        (lambda x: x.clamp(), "got neither"),
    ],
)
def test_bad_shapes_are_named(call, text):
    with pytest.raises(ValueError, match=text):
        call(hl.tensor(grid(2, 3)))


@pytest.mark.parametrize(
    "equation",
    [
        "ij,jk->ik",
        "bij,bjk->bik",
        "ij->ji",
        "ii->i",
        "ii",
        "ij,ij->",
        "i,j->ij",
        "bhqd,bhkd->bhqk",
        "...ij,...jk->...ik",
        "ij,jk,kl->il",
        "abc->b",
        "ij,j",
        "bi,oi,bo->b",
        "i,i,i->i",
    ],
)
def test_einsum_agrees_with_numpy(equation):
    sizes = dict(zip("abchijklqdo", (2, 3, 2, 2, 3, 3, 4, 2, 3, 4, 2)))
    terms = equation.split("->")[0].split(",")
    arrays = []
    for t in terms:
        shape = [sizes[c] for c in t.replace("...", "")]
        if "..." in t:
            shape = [2, *shape]
        if t == "ii":
            shape = [3, 3]
        arrays.append(grid(*shape, dtype="float64"))
    got = hl.einsum(equation, *map(hl.tensor, arrays))
    want = np.einsum(equation, *arrays)
    assert got.shape == want.shape
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("equation", "text"),
    [
        ("ij->ik", "malformed"),
        ("ij,jk", "2 operands"),
        ("ijk->i", "does not fit"),
        ("i1->i", "malf"),
    ],
)
def test_einsum_errors(equation, text):
    with pytest.raises(ValueError, match=text):
        hl.einsum(equation, hl.ones(2, 3))


# conversions


def test_numpy_protocols():
    x = hl.tensor(grid(2, 3))
    assert np.asarray(x) is x.numpy()
    assert np.array(x) is not x.numpy()
    assert np.asarray(x, dtype=np.float64).dtype == np.float64
    assert np.shares_memory(np.from_dlpack(x), x.numpy())
    with pytest.raises(TypeError):
        np.add(np.ones((2, 3), np.float32), x)


def test_item_bool_float_index():
    assert hl.tensor([[2.5]]).item() == 2.5
    assert float(hl.tensor(2.5)) == 2.5
    assert int(hl.tensor(3)) == 3
    assert [10, 20, 30][hl.tensor(2)] == 30
    assert bool(hl.tensor([True]))
    for call in (hl.ones(2).item, lambda: bool(hl.ones(2)), lambda: float(hl.ones(2))):
        with pytest.raises(ValueError, match=r"\(2,\)"):
            call()
    with pytest.raises(TypeError, match="float32"):
        [1, 2][hl.tensor(1.0)]


def test_astype_and_to():
    x = hl.tensor([1.5, -2.5])
    assert x.astype("float32") is x
    assert x.to("float64").dtype == x.double().dtype == np.float64
    assert x.long().tolist() == [1, -2]
    assert x.to("cpu") is x
    for bad in ("float16", "nonsense", complex):
        with pytest.raises(TypeError, match="dtype"):
            x.astype(bad)
    if not hl.cuda.is_available():
        with pytest.raises(RuntimeError, match="'cuda' cannot be used"):
            x.to("cuda")
    with pytest.raises(ValueError, match="cuda:x"):
        x.to("cuda:x")


def test_tensors_hash_by_identity_and_copy_deeply():
    x = hl.tensor([1.0, 2.0], requires_grad=True)
    assert {x: 1}[x] == 1
    (x * 2).sum().backward()
    twin = copy.deepcopy(x)
    assert twin.requires_grad
    assert twin.grad.tolist() == [2, 2]
    twin.data[0] = 9.0
    assert x.tolist() == [1, 2]
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(x * 2)


@pytest.mark.parametrize(
    ("x", "text"),
    [
        (lambda: hl.tensor([[1.0, 2.0], [3.0, 4.0]]), "tensor([[1., 2.],\n        [3., 4.]])"),
        (lambda: hl.tensor([0.1, 2.0]), "tensor([0.1000, 2.0000])"),
        (lambda: hl.tensor(3.14159), "tensor(3.1416)"),
        (lambda: hl.tensor([1, 2]), "tensor([1, 2])"),
        (lambda: hl.tensor([True, False]), "tensor([ True, False])"),
        (lambda: hl.ones(2, dtype="float64"), "tensor([1., 1.], dtype=float64)"),
        (lambda: hl.ones(1, requires_grad=True), "tensor([1.], requires_grad=True)"),
        (lambda: hl.ones(1, requires_grad=True) * 2, "tensor([2.], grad_fn=<Scale>)"),
        (lambda: hl.zeros(0), "tensor([])"),
        (lambda: hl.zeros(2, 0), "tensor([], size=(2, 0))"),
    ],
)
def test_repr(x, text):
    assert repr(x()) == text


def test_empty_tensors():
    x = hl.zeros(0, 3, requires_grad=True)
    y = (x * 2 + 1).sum()
    y.backward()
    assert y.item() == 0
    assert x.grad.shape == (0, 3)
    assert (hl.zeros(0, 3) @ hl.ones(3, 2)).shape == (0, 2)
    assert np.isnan(hl.zeros(0).mean().item())
    with pytest.raises(ValueError, match="max"):
        hl.zeros(0).max()


def test_format_of_one_number_takes_a_specification():
    assert f"{hl.tensor(1.5):.3f} {hl.tensor([2]):d} {hl.tensor([1.0])}" == "1.500 2 tensor([1.])"
    with pytest.raises(TypeError, match=r"format: '.3f' is for one number, .* shape \(2,\)"):
        f"{hl.ones(2):.3f}"


@pytest.mark.parametrize("make", [hl.zeros, hl.ones, lambda *shape: hl.full(shape, 1.0)])
def test_shapes_that_cannot_be_are_named(make):
    for shape, error, message in (
        ((2, -1), ValueError, r"shape \(2, -1\) has a negative size"),
        ((1 << 40, 1 << 40), ValueError, "more elements than can be counted"),
        ((2.5,), TypeError, r"the shape is .*2\.5.*, expected integers"),
    ):
        with pytest.raises(error, match=message):
            make(*shape)
    assert make(1 << 20, 0).shape == (1 << 20, 0)


def test_errors_name_the_function_that_was_called():
    for name in ("max", "min"):
        with pytest.raises(ValueError, match=f"^{name}: .*no {name} of nothing"):
            getattr(hl.zeros(0, 3), name)(dim=0)
    with pytest.raises(ValueError, match=r"clamp: min = 1\.0 is not at most max = 0\.0"):
        hl.ones(2).clamp(1, 0)
    with pytest.raises(ValueError, match="clamp: min = nan"):
        hl.ones(2).clamp(float("nan"), 0)
