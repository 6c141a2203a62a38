"""Weights: saved whole or not at all, read back exactly, and carried to PyTorch and back."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from handloom import io

TYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?"]


class FakeTensor:
    """What `io` may use of a PyTorch tensor; one that requires a gradient has no `numpy()`."""

    def __init__(self, array, requires_grad=True):
        self.array, self.requires_grad = np.asarray(array), requires_grad
        self.shape, self.dtype = self.array.shape, self.array.dtype

    def detach(self):
        return FakeTensor(self.array, requires_grad=False)

    def cpu(self):
        return self

    def numpy(self):
        assert not self.requires_grad
        return self.array


# ---------------------------------------------------------------- save and load


@given(st.data())
@settings(max_examples=60)
def test_arrays_come_back_bit_for_bit(tmp_path_factory, data):
    draw = data.draw
    array = st.builds(
        lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4)),
        st.sampled_from(TYPES),
    ).flatmap(lambda arrays: arrays)
    state = draw(st.dictionaries(st.text(max_size=8), array, max_size=4))
    path = tmp_path_factory.mktemp("io") / "w.safetensors"
    io.save(path, state)
    got = io.load(path)
    assert got.keys() == state.keys()
    for name, value in state.items():
        assert (got[name].dtype, got[name].shape) == (value.dtype, value.shape)
        assert got[name].tobytes() == value.tobytes()  # NaN and -0 too
        assert got[name].flags.writeable


def test_views_tensors_and_foreign_byte_orders_are_stored_by_value(tmp_path):
    x = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    state = {
        "transposed": x.transpose(2, 0, 1),
        "strided": x[:, ::-2, 1::2],
        "broadcast": np.broadcast_to(x[0, 0], (3, 4)),
        "big endian": x.astype(">f4"),
        "fortran": np.asfortranarray(x),
        "scalar": np.float32(3),
        "tensor": FakeTensor(x),
    }
    io.save(tmp_path / "w", state)
    got = io.load(tmp_path / "w")
    for name, value in state.items():
        value = x if name == "tensor" else value
        np.testing.assert_array_equal(got[name], value)
        assert got[name].dtype == np.float32


def test_metadata(tmp_path):
    path = tmp_path / "w"
    io.save(path, {"w": np.zeros(2)}, metadata={"epoch": "3", "name": "ü"})
    assert io.load_metadata(path) == {"epoch": "3", "name": "ü"}
    assert list(io.load(path)) == ["w"]
    io.save(path, {})
    assert (io.load(path), io.load_metadata(path)) == ({}, {})


def test_the_file_is_plain_safetensors_both_ways(tmp_path):
    path = tmp_path / "w"
    io.save(path, {"w": np.arange(3.0)})
    assert safetensors.numpy.load_file(path)["w"].tolist() == [0, 1, 2]
    safetensors.numpy.save_file({"w": np.arange(4, dtype=np.int64)}, path)
    assert io.load(path)["w"].tolist() == [0, 1, 2, 3]
    assert io.load_metadata(path) == {}


def raw(header: object, data: bytes = b"") -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def test_bfloat16_is_widened(tmp_path):
    values = np.array([1.0, -2.5, np.inf, 2.0**-130], np.float32)
    half = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    path = tmp_path / "w"
    path.write_bytes(raw({"w": {"dtype": "BF16", "shape": [4], "data_offsets": [0, 8]}}, half))
    np.testing.assert_array_equal(io.load(path)["w"], values)


def test_every_truncation_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    io.save(path, {"a": np.arange(5.0), "b": np.ones((2, 2), np.float32)})
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"w\.safetensors is not a safetensors file or is tr"):
            io.load(path)


def test_foreign_files_are_refused(tmp_path):
    path = tmp_path / "w"
    f8 = {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}
    for content, message in (
        (b"\x80\x04\x95 a pickle \x00 of something", "not a safetensors file"),
        (b"PK\x03\x04" + bytes(100), "not a safetensors file"),
        (b"\xff" * 64, "not a safetensors file"),
        (raw([1, 2]), "not a safetensors file"),
        (raw({"__metadata__": {"handloom_format": "2"}}), "format version '2', .* up to 1"),
        (raw({"__metadata__": {"handloom_format": "new"}}), "format version 'new'"),
        (raw({"w": f8}, b"ab"), "'w' has the dtype F8_E4M3, expected one of BF16, F64"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            io.load(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        io.load(tmp_path / "nowhere")
    with pytest.raises(IsADirectoryError):
        io.load(tmp_path)


def test_what_cannot_be_saved_is_named_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "w"
    io.save(path, {"w": np.zeros(2)})
    old = path.read_bytes()
    fine = {"w": np.zeros(2)}
    for state, metadata, error, message in (
        ({1: np.zeros(2)}, None, TypeError, "state_dict expects names, got the key 1"),
        ({"w": "text"}, None, TypeError, "save: 'w' expects an array of numbers, got"),
        ({"w": [1.0, 2.0]}, None, TypeError, "'w' expects an array or a tensor, got list"),
        ({"w": 1.0}, None, TypeError, "got float"),
        ({"w": None}, None, TypeError, "got NoneType"),
        ({"w": np.zeros(2, complex)}, None, TypeError, "got an array of complex128"),
        ({"w": np.zeros(2, np.longdouble)}, None, TypeError, "which the format has not"),
        ({"w": np.array([{}])}, None, TypeError, "save: 'w' expects an array of numbers"),
        ([np.zeros(2)], None, TypeError, "a mapping of names to arrays, got list"),
        ({"__metadata__": np.zeros(2)}, None, ValueError, "reserved by the format"),
        (fine, {"epoch": 3}, TypeError, "metadata expects text for text, got 'epoch': 3"),
        (fine, {"handloom_format": "7"}, ValueError, "'handloom_format' is reserved"),
    ):
        with pytest.raises(error, match=message):
            io.save(path, state, metadata=metadata)
        assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["w"]


def test_a_save_that_fails_half_way_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "w"
    io.save(path, {"w": np.zeros(2)})
    old = path.read_bytes()

    for call in ("replace", "fsync"):
        with monkeypatch.context() as patch:

            def fail(*args):
                raise OSError(28, "No space left on device")

            patch.setattr(os, call, fail)
            with pytest.raises(OSError, match="No space left"):
                io.save(path, {"w": np.ones(2)})
        assert path.read_bytes() == old
        assert os.listdir(tmp_path) == ["w"]
    with pytest.raises(FileNotFoundError):
        io.save(tmp_path / "no" / "w", {"w": np.zeros(2)})
    with pytest.raises(IsADirectoryError, match="is a directory"):
        io.save(tmp_path, {"w": np.zeros(2)})


def test_the_file_is_flushed_before_it_takes_the_name(tmp_path, monkeypatch):
    events = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("fsync"), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (events.append("replace"), replace(a, b)))
    io.save(tmp_path / "w", {"w": np.zeros(2)})
    assert events[:2] == ["fsync", "replace"]


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    io.save(tmp_path / "link", {"w": np.zeros(2)})
    assert (tmp_path / "link").is_symlink()
    assert io.load(tmp_path / "target")["w"].shape == (2,)


# ---------------------------------------------------------------- PyTorch


def test_convolutions_move_their_channels_last():
    rng = np.random.default_rng(0)
    state = {
        "conv.weight": rng.random((5, 2, 3, 4)),
        "conv.bias": rng.random(5),
        "conv1d.weight": rng.random((5, 2, 3)),
        "fc.weight": rng.random((3, 4)),
        "pos_embedding": rng.random((1, 6, 4)),
        "bn.num_batches_tracked": np.array(3),
    }
    ours = io.from_torch({name: FakeTensor(value) for name, value in state.items()})
    assert ours.keys() == state.keys()
    assert ours["conv.weight"].shape == (5, 3, 4, 2)
    assert ours["conv.weight"][1, 2, 3, 0] == state["conv.weight"][1, 0, 2, 3]
    assert ours["conv1d.weight"].shape == (5, 3, 2)
    for name in ("conv.bias", "fc.weight", "pos_embedding", "bn.num_batches_tracked"):
        np.testing.assert_array_equal(ours[name], state[name])
    assert all(value.flags.c_contiguous and value.flags.owndata for value in ours.values())
    back = io.to_torch(ours, tensors=False)
    for name, value in state.items():
        np.testing.assert_array_equal(back[name], value)


def test_like_tells_convolutions_from_other_weights():
    bilinear, conv = np.zeros((4, 2, 3)), np.zeros((4, 2, 3))
    state = {"a.weight": bilinear, "b.kernel": conv}
    like = {"a.weight": np.zeros((4, 2, 3)), "b.kernel": np.zeros((4, 3, 2))}
    ours = io.from_torch(state, like=like)
    assert {name: value.shape for name, value in ours.items()} == {
        "a.weight": (4, 2, 3),
        "b.kernel": (4, 3, 2),
    }
    with pytest.raises(
        ValueError, match=r"'w' has the shape \(4, 2, 3\), or \(4, 3, 2\) as a conv"
    ):
        io.from_torch({"w": bilinear}, like={"w": np.zeros((4, 6, 1))})
    tracked = {"bn.num_batches_tracked": np.array(1), "bn.weight": np.zeros(2)}
    assert list(io.from_torch(tracked, like={"bn.weight": np.zeros(2)})) == ["bn.weight"]


class Conv2d:
    pass


class Bilinear:
    pass


class MyConv(Conv2d):
    pass


class Model:
    def __init__(self, **modules):
        self.modules = modules

    def named_modules(self):
        yield "", self
        yield from self.modules.items()

    def state_dict(self):
        return {f"{name}.weight": np.arange(27.0).reshape(3, 3, 3) for name in self.modules}


@pytest.mark.parametrize("side", ["state", "like"])
def test_modules_decide_where_shapes_cannot(side):
    """A cube has one shape in both layouts."""
    model = Model(conv=MyConv(), pair=Bilinear())
    ours = io.from_torch(model) if side == "state" else io.from_torch(model.state_dict(), model)
    cube = np.arange(27.0).reshape(3, 3, 3)
    np.testing.assert_array_equal(ours["conv.weight"], cube.transpose(0, 2, 1))
    np.testing.assert_array_equal(ours["pair.weight"], cube)
    back = io.to_torch(ours, like=model, tensors=False)
    np.testing.assert_array_equal(back["conv.weight"], cube)


@given(st.integers(1, 4), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(1, 5))
def test_flatten_undoes_channels_first(channels, space, features):
    """A linear layer behind a flatten, and one in front of an unflatten, compute the same."""
    rng = np.random.default_rng(0)
    image = (channels, *space)
    size = int(np.prod(image))
    state = {
        "after.weight": rng.random((features, size)),
        "before.weight": rng.random((size, features)),
        "before.bias": rng.random(size),
    }
    shapes = {"after.weight": image}
    un = {"before.weight": image, "before.bias": image}
    ours = io.from_torch(state, flatten=shapes, unflatten=un)
    x = rng.random((2, *image))
    last = np.moveaxis(x, 1, -1)
    np.testing.assert_allclose(
        last.reshape(2, -1) @ ours["after.weight"].T, x.reshape(2, -1) @ state["after.weight"].T
    )
    z = rng.random((2, features))
    theirs = (z @ state["before.weight"].T + state["before.bias"]).reshape(2, *image)
    mine = (z @ ours["before.weight"].T + ours["before.bias"]).reshape(2, *space, channels)
    np.testing.assert_allclose(mine, np.moveaxis(theirs, 1, -1))
    back = io.to_torch(ours, flatten=shapes, unflatten=un, tensors=False)
    for name, value in state.items():
        np.testing.assert_array_equal(back[name], value)


def test_conversion_refuses_what_does_not_fit():
    state = {"fc.weight": np.zeros((3, 12)), "fc.bias": np.zeros(3)}
    for arguments, error, message in (
        ({"flatten": {"fc1.weight": (3, 2, 2)}}, ValueError, "flatten names 'fc1.weight', the"),
        ({"flatten": {"fc.weight": (3, 2, 3)}}, ValueError, "makes 18 features, the weight has 12"),
        ({"flatten": {"fc.weight": (12,)}}, ValueError, r"expects the image's shape \(C, H, W\)"),
        ({"flatten": {"fc.bias": (3, 1)}}, ValueError, "expects a linear layer's weight"),
        ({"like": 3}, TypeError, "from_torch: like expects a module or its state_dict"),
    ):
        with pytest.raises(error, match=message):
            io.from_torch(state, **arguments)
    with pytest.raises(TypeError, match="from_torch: state expects a module or its state_dict"):
        io.from_torch([1])
    with pytest.raises(TypeError, match="to_torch: state expects names, got the key 3"):
        io.to_torch({3: np.zeros(2)})
    with pytest.raises(TypeError, match="from_torch: 'w' expects an array of numbers"):
        io.from_torch({"w": "text"})


def test_float16_becomes_float32():
    got = io.from_torch({"w": np.array([1.5], np.float16)})["w"]
    assert got.dtype == np.float32
    assert got[0] == 1.5


def test_without_pytorch_the_error_says_so(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ImportError, match="pass tensors=False"):
        io.to_torch({"w": np.zeros(2)})


def test_a_pytorch_network_goes_there_and_back(tmp_path):
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 3, 3, groups=3),
        torch.nn.BatchNorm2d(3),
        torch.nn.ConvTranspose2d(3, 5, 2, stride=2),
        torch.nn.Flatten(),
        torch.nn.Linear(5 * 4 * 4, 2),
        torch.nn.Bilinear(2, 2, 2),
    )
    flatten = {"4.weight": (5, 4, 4)}
    ours = io.from_torch(net, flatten=flatten)
    assert ours["0.weight"].shape == (3, 3, 3, 1)
    assert ours["2.weight"].shape == (3, 2, 2, 5)
    assert ours["2.weight"][1, 0, 1, 4] == net[2].weight[1, 4, 0, 1].item()
    np.testing.assert_array_equal(ours["5.weight"], net[5].weight.detach().numpy())

    # The dense layer on a channels-last image gives what PyTorch gives on its own layout.
    x = torch.randn(2, 5, 4, 4)
    mine = x.permute(0, 2, 3, 1).reshape(2, -1).numpy() @ ours["4.weight"].T + ours["4.bias"]
    np.testing.assert_allclose(mine, net[4](x.flatten(1)).detach().numpy(), rtol=1e-4, atol=1e-5)

    io.save(tmp_path / "w", ours)
    back = io.to_torch(io.load(tmp_path / "w"), like=net, flatten=flatten)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    net.load_state_dict(back)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name
    ours["0.bias"][:] = 77
    assert not (net[0].bias == 77).any()

    half = {"w": torch.tensor([1.5, -3.0], dtype=torch.bfloat16)}
    assert io.from_torch(half)["w"].tolist() == [1.5, -3.0]
    assert io.from_torch(half)["w"].dtype == np.float32


def test_a_missing_directory_is_named(tmp_path):
    target = tmp_path / "nowhere" / "net.safetensors"
    with pytest.raises(FileNotFoundError, match=r"no directory .*nowhere' to write 'net\.safet"):
        io.save(target, {"a": np.zeros(2)})
