"""Datasets and batches: every row once, in an order that a seed fixes, and no thread left."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import handloom as hl
from handloom import data
from handloom.data import DataLoader, Subset, TensorDataset

seeds = st.integers(0, 2**63)


def array(value) -> np.ndarray:
    """The array of a batch's field, be it a tensor or an array."""
    return value if isinstance(value, np.ndarray) else value.numpy()


def rows(loader) -> list[list[int]]:
    return [array(batch[0]).ravel().tolist() for batch in loader]


def background_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("handloom-data")]


@pytest.fixture(autouse=True)
def no_thread_is_left():
    yield
    assert not background_threads()


class Squares:
    """A dataset that is no array: fields of three kinds, made on demand."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if not 0 <= i < self.n:
            raise IndexError(i)
        return i, i / 2, np.full((2, 3), i * i, np.float64)


# ---------------------------------------------------------------- datasets


def test_tensor_dataset_keeps_its_arrays_and_their_types():
    x, y = np.zeros((5, 3), np.float32), [1, 2, 3, 4, 5]
    dataset = TensorDataset(x, y)
    assert len(dataset) == 5
    assert dataset.arrays[0] is x
    assert dataset.arrays[1].dtype == np.int64
    assert dataset[-1][1] == 5
    assert dataset[1][0].shape == (3,)
    assert repr(dataset) == "TensorDataset((5, 3) float32, (5,) int64)"
    part = dataset.subset([4, -5])
    assert part.arrays[1].tolist() == [5, 1]
    assert len(dataset.subset([])) == 0


def test_tensor_dataset_refuses_what_has_no_rows():
    with pytest.raises(ValueError, match="array 1 has 2 rows, array 0 has 3"):
        TensorDataset([1, 2, 3], [1, 2])
    with pytest.raises(ValueError, match="at least one array"):
        TensorDataset()
    with pytest.raises(ValueError, match="array 0 is 0-dimensional"):
        TensorDataset(np.float32(1))
    with pytest.raises(TypeError, match="array 1 expects an array of numbers"):
        TensorDataset([1, 2], ["a", "b"])
    with pytest.raises(IndexError, match="index 3 is out of range for 3 samples"):
        TensorDataset([1, 2, 3]).subset([0, 3])
    with pytest.raises(TypeError, match="indices expects integers, got float64"):
        Subset([1, 2, 3], [0.0])
    with pytest.raises(ValueError, match=r"one axis, got the shape \(1, 2\)"):
        Subset([1, 2, 3], [[0, 1]])


def test_subset_reads_the_dataset_on_demand():
    part = Subset(Squares(10), [7, -1])
    assert len(part) == 2
    assert part[0][0] == 7
    assert part[1][0] == 9


# ---------------------------------------------------------------- loader


@given(st.integers(1, 40), st.integers(1, 12), st.booleans(), st.booleans(), seeds)
def test_an_epoch_has_every_row_once(n, batch_size, shuffle, drop_last, seed):
    dataset = TensorDataset(np.arange(n), np.arange(n) * 2.0)
    if drop_last and batch_size > n:
        with pytest.raises(ValueError, match=f"no batch of {batch_size} from {n} samples"):
            DataLoader(dataset, batch_size, drop_last=True)
        return
    loader = DataLoader(dataset, batch_size, shuffle, drop_last, seed)
    batches = [(array(x), array(y)) for x, y in loader]
    assert len(batches) == len(loader)
    sizes = [len(x) for x, _ in batches]
    assert all(size == batch_size for size in sizes[:-1])
    seen = np.concatenate([x for x, _ in batches])
    assert len(seen) == (n // batch_size * batch_size if drop_last else n)
    assert len(set(seen.tolist())) == len(seen)
    if not shuffle:
        assert seen.tolist() == list(range(len(seen)))
    for x, y in batches:
        np.testing.assert_array_equal(x * 2.0, y)


def test_epochs_differ_and_a_seed_repeats_them():
    dataset = TensorDataset(np.arange(50))
    first = DataLoader(dataset, 8, shuffle=True, seed=3)
    epochs = [rows(first) for _ in range(3)]
    assert first.epoch == 3
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    again = DataLoader(dataset, 8, shuffle=True, seed=3)
    assert [rows(again) for _ in range(3)] == epochs
    resumed = DataLoader(dataset, 8, shuffle=True, seed=3)
    resumed.epoch = 2
    assert rows(resumed) == epochs[2]
    assert rows(DataLoader(dataset, 8, shuffle=True, seed=4)) != epochs[0]


def test_without_a_seed_orders_differ_but_can_be_repeated():
    dataset = TensorDataset(np.arange(50))
    one, two = (DataLoader(dataset, 8, shuffle=True) for _ in range(2))
    order = rows(one)
    assert order != rows(two)
    assert rows(DataLoader(dataset, 8, shuffle=True, seed=one.seed)) == order


def test_without_a_seed_orders_follow_manual_seed():
    dataset = TensorDataset(np.arange(50))

    def orders():
        hl.manual_seed(7)
        two = [rows(DataLoader(dataset, 8, shuffle=True)) for _ in range(2)]
        return two, data.split(np.arange(50), (0.5, 0.5), seed=None)[0].tolist()

    first = orders()
    assert first == orders()
    assert first[0][0] != first[0][1]
    hl.manual_seed(8)
    assert rows(DataLoader(dataset, 8, shuffle=True)) != first[0][0]


def test_a_loader_that_does_not_shuffle_leaves_the_random_numbers_alone():
    hl.manual_seed(7)
    want = hl.rand(3).tolist()
    hl.manual_seed(7)
    list(DataLoader(TensorDataset(np.arange(50)), 8))
    DataLoader(TensorDataset(np.arange(50)), 8, shuffle=True, seed=1)
    assert hl.rand(3).tolist() == want


def test_an_order_stays_the_same_for_good():
    loader = DataLoader(TensorDataset(np.arange(10)), 10, shuffle=True, seed=0)
    assert rows(loader) == [[5, 8, 7, 4, 2, 3, 1, 6, 9, 0]]


def test_an_order_has_nothing_to_do_with_data_of_the_same_seed():
    x = np.random.default_rng(0).random(200)
    (shuffled,) = data.split(x, (1,), seed=0)
    assert abs(np.corrcoef(shuffled, np.arange(200))[0, 1]) < 0.25


def test_orders_are_uniform():
    """Each of the 24 orders of four rows turns up as often as the others: chi-squared, 23 dof."""
    dataset = TensorDataset(np.arange(4))
    loader = DataLoader(dataset, 4, shuffle=True, seed=1)
    draws = 2400
    _, counts = np.unique([rows(loader)[0] for _ in range(draws)], axis=0, return_counts=True)
    assert len(counts) == 24
    assert ((counts - draws / 24) ** 2 / (draws / 24)).sum() < 49.7  # exceeded 1 time in 1000


@pytest.mark.parametrize("make", [lambda n: TensorDataset(np.arange(n)), Squares, range])
def test_batches_do_not_depend_on_threads_or_prefetch(make):
    def batches(**options):
        loader = DataLoader(make(33), 5, shuffle=True, seed=9, **options)
        return [[array(field).tolist() for field in b] for _ in range(2) for b in loader]

    expected = batches(prefetch=0)
    assert len(expected) == 14
    for options in ({}, {"prefetch": 1}, {"num_workers": 1}, {"num_workers": 4, "prefetch": 3}):
        assert batches(**options) == expected, options


def test_samples_are_stacked_by_field():
    batch = next(iter(DataLoader(Squares(4), 3)))
    whole, half, block = map(array, batch)
    assert isinstance(batch, tuple)
    assert (whole.dtype, half.dtype, block.dtype) == (np.int64, np.float32, np.float64)
    assert block.shape == (3, 2, 3)
    assert half.tolist() == [0, 0.5, 1]
    (alone,) = next(iter(DataLoader([np.float64(1.5), np.float64(2.5)], 2)))
    assert array(alone).dtype == np.float64


def test_batches_are_the_users_own():
    x = np.zeros((4, 2), np.float32)
    for shuffle in (False, True):
        (batch,) = next(iter(DataLoader(TensorDataset(x), 4, shuffle=shuffle)))
        array(batch)[:] = 1
    assert not x.any()


def test_subsets_of_arrays_are_gathered_from_the_arrays():
    class Loud(TensorDataset):
        def __getitem__(self, index):
            return (super().__getitem__(index)[0] + 100,)

    inner = Subset(TensorDataset(np.arange(10) * 10), [9, 8, 7, 6])
    assert rows(DataLoader(Subset(inner, [3, 0]), 2)) == [[60, 90]]
    assert rows(DataLoader(Subset(Loud(np.arange(10)), [3, 0]), 2)) == [[103, 100]]


def test_collate_fn_makes_the_batch():
    words = ["a", "bb", "ccc"]

    def pad(samples):
        lengths = np.array([len(word) for word in samples])
        return {"lengths": lengths, "words": samples, "pair": (lengths, "x")}

    batch = next(iter(DataLoader(words, 3, collate_fn=pad)))
    assert array(batch["lengths"]).tolist() == [1, 2, 3]
    assert batch["words"] == words
    assert array(batch["pair"][0]).tolist() == [1, 2, 3]
    with pytest.raises(TypeError, match="field 0 of a sample expects an array of numbers"):
        next(iter(DataLoader(words, 3)))


def test_batches_are_tensors_that_share_the_gathered_arrays(monkeypatch):
    made = []
    module = types.SimpleNamespace(from_numpy=lambda a: made.append(a) or ("tensor", a))
    monkeypatch.setitem(sys.modules, "handloom.tensor", module)
    x, y = np.arange(6.0), np.arange(6)
    for options in ({}, {"prefetch": 1}):
        made.clear()
        batches = list(DataLoader(TensorDataset(x, y), 4, **options))
        assert [type(batch) for batch in batches] == [tuple, tuple]
        fields = [field for batch in batches for field in batch]
        assert all(field[1] is gathered for field, gathered in zip(fields, made, strict=True))
        assert made[2].tolist() == [4, 5]
    (batch,) = DataLoader(["a"], 1, collate_fn=lambda words: [np.array(words), np.ones(1)])
    assert batch[0].tolist() == ["a"]
    assert batch[1][0] == "tensor"


def test_samples_that_do_not_stack_are_named():
    ragged = [np.zeros(2), np.zeros(3)]
    with pytest.raises(ValueError, match=r"field 0 has different shapes in one batch: \(2,\), \(3"):
        next(iter(DataLoader(ragged, 2)))
    with pytest.raises(ValueError, match=r"different numbers of fields: \[1, 2\]"):
        next(iter(DataLoader([(1,), (1, 2)], 2)))


def test_arguments_are_checked():
    dataset = TensorDataset(np.arange(4))
    for wrong, error, message in (
        ({"batch_size": 0}, ValueError, "batch_size expects at least 1, got 0"),
        ({"batch_size": 2.0}, TypeError, "batch_size expects an integer, got float"),
        ({"num_workers": -1}, ValueError, "num_workers expects at least 0"),
        ({"prefetch": -1}, ValueError, "prefetch expects at least 0"),
        ({"prefetch": 0, "num_workers": 2}, ValueError, "expected num_workers=0"),
        ({"seed": -1}, ValueError, "seed expects a non-negative integer"),
        ({"seed": 1.5}, TypeError, "seed expects an integer or None, got float"),
    ):
        with pytest.raises(error, match=message):
            DataLoader(dataset, **wrong)
    with pytest.raises(TypeError, match=r"dataset expects __len__ and __getitem__ .* generator"):
        DataLoader(i for i in range(3))
    assert list(DataLoader(TensorDataset(np.empty((0, 3))), 4, drop_last=True)) == []


class Failing(Squares):
    def __getitem__(self, i):
        if i == 7:
            raise OSError("sample 7 is unreadable")
        return super().__getitem__(i)


@pytest.mark.parametrize("workers", [0, 3])
def test_an_exception_reaches_the_consumer_at_its_batch(workers):
    iterator = iter(DataLoader(Failing(20), 2, num_workers=workers, prefetch=8))
    assert [int(array(next(iterator)[0])[0]) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(OSError, match="sample 7 is unreadable"):
        next(iterator)
    assert not background_threads()


@pytest.mark.parametrize("workers", [0, 3])
def test_leaving_the_loop_early_stops_the_threads(workers):
    loader = DataLoader(Squares(1000), 2, num_workers=workers, prefetch=4)
    for _ in loader:
        assert background_threads()
        break
    assert not background_threads()

    def fail():
        for _ in loader:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not background_threads()
    iterator = iter(loader)
    assert not background_threads()  # they start with the first batch
    next(iterator)
    del iterator
    gc.collect()
    assert not background_threads()


def test_no_more_than_prefetch_batches_are_loaded_ahead():
    class Counting(Squares):
        highest = 0

        def __getitem__(self, i):
            Counting.highest = max(Counting.highest, i)
            return super().__getitem__(i)

    iterator = iter(DataLoader(Counting(100), 1, prefetch=3))
    next(iterator)
    deadline = time.monotonic() + 5
    while Counting.highest < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.02)
    assert Counting.highest == 3
    iterator.close()


def test_two_iterations_at_once_have_their_own_orders():
    loader = DataLoader(Squares(12), 4, shuffle=True, seed=5)
    both = [[int(array(a[0])[0]), int(array(b[0])[0])] for a, b in zip(loader, loader)]
    fresh = DataLoader(Squares(12), 4, shuffle=True, seed=5)
    expected = [[b[0] for b in rows(fresh)], [b[0] for b in rows(fresh)]]
    assert np.transpose(both).tolist() == expected


def test_workers_overlap():
    """Four samples that wait for each other can only be had from four threads."""
    barrier = threading.Barrier(4, timeout=20)

    class Meeting(Squares):
        def __getitem__(self, i):
            barrier.wait()
            return super().__getitem__(i)

    assert len(list(DataLoader(Meeting(4), 1, num_workers=4))) == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*")
def test_a_forked_child_goes_on_by_itself():
    iterator = iter(DataLoader(Squares(8), 2))
    first = int(array(next(iterator)[0])[0])
    child = os.fork()
    if child == 0:
        rest = [int(array(batch[0])[0]) for batch in iterator]
        os._exit(0 if rest == [2, 4, 6] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert first == 0
    assert [int(array(batch[0])[0]) for batch in iterator] == [2, 4, 6]


def test_an_iterator_kept_to_the_end_does_not_hold_up_the_program():
    code = (
        "from handloom.data import DataLoader\n"
        "kept = iter(DataLoader(range(100), 2))\n"
        "next(kept); print('done')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_importing_data_loads_no_heavy_module():
    code = (
        "import numpy, sys, handloom; before = set(sys.modules)\n"
        "import handloom.data, handloom.io, handloom.train.metrics\n"
        "heavy = {'csv', 'gzip', 'hashlib', 'subprocess', 'tempfile', 'threading', 'zipfile', "
        "'numpy.random', 'safetensors', 'importlib.util', 'dataclasses', 'json', 'torch'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_loader_shows_what_it_loads() -> None:
    loader = data.DataLoader(data.TensorDataset(np.zeros((10, 2))), 4, seed=3, shuffle=True)
    want = "DataLoader(TensorDataset((10, 2) float64), 3 batches of 4, seed=3, shuffle=True)"
    assert repr(loader) == want
