"""Files of the user: right ones are read, truncated and foreign ones are named."""

from __future__ import annotations

import gzip
import io
import struct
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from handloom import data

IDX = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


def idx(values: np.ndarray, code: int) -> bytes:
    return (
        bytes([0, 0, code, values.ndim])
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.tobytes()
    )


# ---------------------------------------------------------------- IDX


@pytest.mark.parametrize(("dtype", "code"), IDX.items())
@given(st.data())
@settings(max_examples=20)
def test_idx_of_every_type_and_rank(tmp_path_factory, dtype, code, data_):
    values = data_.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=1, min_side=0, max_side=4)))
    path = tmp_path_factory.mktemp("idx") / "values"
    content = idx(values, code)
    path.write_bytes(gzip.compress(content) if data_.draw(st.booleans()) else content)
    got = data.read_idx(path)
    assert got.dtype == values.dtype.newbyteorder("=")
    assert got.dtype.isnative
    assert got.flags.writeable
    np.testing.assert_array_equal(got, values)
    cut = data_.draw(st.integers(0, len(content) - 1))
    path.write_bytes(content[:cut])
    with pytest.raises(ValueError, match=r"values is (truncated|not an IDX file)"):
        data.read_idx(path)


def test_idx_refuses_other_files(tmp_path):
    path = tmp_path / "x"
    whole = idx(np.zeros((2, 3), "u1"), 8)
    for content, message in (
        (whole + b"\0", "followed by other data: shape .2, 3. of uint8 needs 6 bytes, it has 7"),
        (whole[:-1], "x is truncated: shape .2, 3. of uint8 needs 6 bytes, it has 5"),
        (b"\x89PNG\r\n", "not an IDX file: .* got '89 50 4e 47'"),
        (b"\0\0\x0a\1" + bytes(8), "not an IDX file"),
        (b"\0\0\x08\xff", "truncated: 255 axes"),
        (b"\0\0\x0e\3" + b"\xff" * 12, "truncated"),  # a shape beyond any memory
        (gzip.compress(whole)[:-6], "gzip stream is damaged or truncated"),
        (b"\x1f\x8b but not gzip", "gzip stream is damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            data.read_idx(path)
    with pytest.raises(FileNotFoundError, match="nowhere"):
        data.read_idx(tmp_path / "nowhere")


# ---------------------------------------------------------------- CIFAR-10


def cifar(labels: list[int], seed: int) -> tuple[bytes, np.ndarray]:
    planes = np.random.default_rng(seed).integers(0, 256, (len(labels), 3, 32, 32), np.uint8)
    records = [bytes([label]) + image.tobytes() for label, image in zip(labels, planes)]
    return b"".join(records), planes.transpose(0, 2, 3, 1)


def test_cifar10_file_list_and_directory(tmp_path):
    images = []
    for i in range(1, 6):
        content, pixels = cifar([i, i + 1], i)
        (tmp_path / f"data_batch_{i}.bin").write_bytes(content)
        images.append(pixels)
    content, test_images = cifar([9], 0)
    (tmp_path / "test_batch.bin").write_bytes(content)

    x, y = data.read_cifar10(tmp_path)
    assert (x.shape, x.dtype, y.dtype) == ((10, 32, 32, 3), np.uint8, np.int64)
    np.testing.assert_array_equal(x, np.concatenate(images))
    assert x.flags.c_contiguous
    assert y.tolist() == [1, 2, 2, 3, 3, 4, 4, 5, 5, 6]
    x, y = data.read_cifar10(tmp_path, split="test")
    np.testing.assert_array_equal(x, test_images)
    assert data.read_cifar10(str(tmp_path / "test_batch.bin"))[1].tolist() == [9]
    files = [tmp_path / "data_batch_5.bin", tmp_path / "test_batch.bin"]
    assert data.read_cifar10(files)[1].tolist() == [5, 6, 9]


def test_cifar10_refuses_other_files(tmp_path):
    path = tmp_path / "b.bin"
    content, _ = cifar([3, 4], 0)
    for wrong, message in (
        (content[:-1], "b.bin is truncated or not CIFAR-10: 6145 bytes, expected records of 3073"),
        (b"", "0 bytes"),
        (b"\x0a" + content[1:], "label 10, expected 0 to 9"),
    ):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match=message):
            data.read_cifar10(path)
    with pytest.raises(ValueError, match="split expects 'train' or 'test', got 'val'"):
        data.read_cifar10(path, split="val")
    with pytest.raises(ValueError, match="at least one file"):
        data.read_cifar10([])
    with pytest.raises(FileNotFoundError, match=r"data_batch_1\.bin"):
        data.read_cifar10(tmp_path)


# ---------------------------------------------------------------- NPZ


def test_npz_round_trip(tmp_path):
    arrays = {"x": np.arange(6.0).reshape(2, 3), "big": np.arange(3, dtype=">i4")}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        got = data.read_npz(tmp_path / "a.npz")
        assert got.keys() == arrays.keys()
        for name in arrays:
            np.testing.assert_array_equal(got[name], arrays[name])
            assert got[name].dtype.isnative


def test_npz_refuses_pickles_and_other_files(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, fine=np.zeros(2), objects=np.array([{}, []], dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz: objects\.npy cannot be read: .*allow_pickle"):
        data.read_npz(path)
    np.savez_compressed(path, x=np.random.default_rng(0).random(1000))
    whole = path.read_bytes()
    for cut in (0, 10, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(ValueError, match=r"not an \.npz file or is damaged"):
            data.read_npz(path)
    spoilt = bytearray(whole)
    spoilt[len(whole) // 2] ^= 0xFF
    path.write_bytes(spoilt)
    with pytest.raises(ValueError, match=r"a\.npz"):
        data.read_npz(path)
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    path.write_bytes(buffer.getvalue())
    with pytest.raises(ValueError, match=r"not an \.npz file"):
        data.read_npz(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no array")
    with pytest.raises(ValueError, match=r"readme\.txt cannot be read"):
        data.read_npz(path)
    with pytest.raises(FileNotFoundError):
        data.read_npz(tmp_path / "nowhere.npz")


# ---------------------------------------------------------------- CSV


@pytest.fixture
def csv(tmp_path):
    def write(text: str | bytes):
        path = tmp_path / "t.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_csv_with_header_and_target(csv):
    path = csv('size,"price, in euro",rooms\n10, 1.5 ,1\n\n20,2.5e1,2\n')
    table = data.read_csv(path, target="price, in euro")
    assert table.x.tolist() == [[10, 1], [20, 2]]
    assert table.y.tolist() == [1.5, 25]
    assert (table.x.dtype, table.y.dtype) == (np.float32, np.float32)
    assert table.feature_names == ("size", "rooms")
    assert table.target_names == ("price, in euro",)
    whole = data.read_csv(path)
    assert whole.x.shape == (2, 3)
    assert (whole.y, whole.target_names) == (None, ())
    assert data.read_csv(path, target=-1, ignore=[0]).feature_names == ("price, in euro",)


def test_csv_without_header(csv):
    path = csv(b"\xef\xbb\xbf5.1;3.5;setosa\r\n4.9;3.0;virginica\r\n6;2;setosa\r\n")
    table = data.read_csv(path, target=2, labels=True, delimiter=";")
    assert table.x.shape == (3, 2)
    assert table.y.tolist() == [0, 1, 0]
    assert table.y.dtype == np.int64
    assert table.target_names == ("setosa", "virginica")
    assert table.feature_names == ("column 0", "column 1")


def test_csv_header_detection_never_swallows_a_row(csv):
    assert len(data.read_csv(csv("1,2\n3,4\n")).x) == 2
    assert len(data.read_csv(csv("a,b\n3,4\n")).x) == 1
    assert len(data.read_csv(csv("a,b\n3,4\n"), header=True).x) == 1
    with pytest.raises(ValueError, match="line 1: 'column 0' is 'id', expected a number"):
        data.read_csv(csv("id,2019,2020\n1,5,6\n"))
    assert data.read_csv(csv("id,2019\n1,5\n"), header=True).feature_names == ("id", "2019")
    table = data.read_csv(csv("?,2\n3,4\n"), missing="drop")
    assert table.x.tolist() == [[3, 4]]


def test_csv_labels_that_are_whole_numbers_stay(csv):
    table = data.read_csv(csv("x,y\n1,2\n1,0\n"), target="y", labels=True)
    assert table.y.tolist() == [2, 0]
    assert table.target_names == ("0", "1", "2")
    table = data.read_csv(csv("x,y\n1,1990000\n1,-1\n"), target="y", labels=True)
    assert table.y.tolist() == [1, 0]
    assert table.target_names == ("-1", "1990000")


def test_csv_missing_values(csv):
    path = csv("a,b,t\n1,?,5\n2,4,\n3,8,7\nNA,6,9\n")
    with pytest.raises(ValueError, match=r"t\.csv: line 2: 'b' is missing \('\?'\); pass missing="):
        data.read_csv(path, ignore=["t"])
    dropped = data.read_csv(path, target="t", missing="drop")
    assert dropped.x.tolist() == [[3, 8]]
    assert dropped.y.tolist() == [7]
    mean = data.read_csv(path, ignore=["t"], missing="mean")
    assert mean.x.tolist() == [[1, 6], [2, 4], [3, 8], [2, 6]]
    nan = data.read_csv(path, ignore=["t"], missing="nan")
    assert np.argwhere(np.isnan(nan.x)).tolist() == [[0, 1], [3, 0]]
    for labels in (False, True):
        with pytest.raises(ValueError, match=r"line 3: .*'t' is missing"):
            data.read_csv(path, target="t", missing="mean", labels=labels)
    with pytest.raises(ValueError, match="'b' has no value to take the mean of"):
        data.read_csv(csv("a,b\n1,\n2,na\n"), missing="mean")


def test_csv_refuses_bad_files(csv, tmp_path):
    for text, options, message in (
        ("1,2\n3\n", {}, "line 2 has 1 cells, line 1 has 2"),
        ("1,2\n3,x\n", {}, "line 2: 'column 1' is 'x', expected a number"),
        ("1,2\n3,inf\n", {}, "'inf', expected it finite"),
        ("1,2\n3,1e999\n", {}, "expected it finite"),
        ("", {}, "is empty"),
        ("a,b\n", {"header": True}, "no row of data"),
        ("1,?\n", {"missing": "drop"}, "no row of data"),
        ("a,b\n1,2\n", {"target": "c"}, "no column 'c', its columns are a, b"),
        ("1,2\n", {"target": "c"}, "the file has no header"),
        ("1,2\n", {"target": 2}, "no column 2, it has 2"),
        ("a,a\n1,2\n", {"target": "a"}, "2 columns are called 'a'"),
        ("1\n", {"target": 0}, "no feature column"),
        (b"1,\xff\n", {}, "not UTF-8 text"),
        (b"1,\0\n", {}, "holds a zero byte"),
        ('1,"2\n', {}, "line 1: unexpected end of data"),
        ("1,2\n", {"missing": "zero"}, "missing expects one of error, drop, mean, nan"),
        ("1,2\n", {"delimiter": ",,"}, "delimiter expects one character"),
    ):
        with pytest.raises(ValueError, match=message):
            data.read_csv(csv(text), **options)
    with pytest.raises(FileNotFoundError):
        data.read_csv(tmp_path / "nowhere.csv")


def test_csv_is_unpacked(csv):
    assert data.read_csv(csv(gzip.compress(b"1,2\n"))).x.tolist() == [[1, 2]]


@given(hnp.arrays(np.float32, (3, 2), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_csv_numbers_come_back_exactly(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    path.write_text("\n".join(",".join(repr(float(v)) for v in row) for row in values))
    np.testing.assert_array_equal(data.read_csv(path).x, values)
