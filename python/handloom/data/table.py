"""The reader of CSV files: numbers, a header where there is one, a target column, gaps."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._arrays import Array
from .._files import read_file

_MISSING = frozenset({"", "?", "na", "n/a", "nan", "null", "none", "-"})
_POLICIES = ("error", "drop", "mean", "nan")


class Table(NamedTuple):
    """What `read_csv` returns.

    Attributes:
        x: Features `(N, F)` float32.
        y: Target `(N,)`: float32, int64 with `labels=True`, None without a target column.
        feature_names: From the header, or `"column 0"`, `"column 1"`, …
        target_names: The classes in the order of their labels, or the target's name, or nothing.
    """

    x: NDArray[np.float32]
    y: Array | None
    feature_names: tuple[str, ...]
    target_names: tuple[str, ...]


class _Row(NamedTuple):
    line: int  # in the file, from 1
    cells: list[str]


def read_csv(
    path: str | os.PathLike[str],
    *,
    target: str | int | None = None,
    labels: bool = False,
    ignore: Iterable[str | int] = (),
    header: bool | None = None,
    delimiter: str = ",",
    missing: str = "error",
) -> Table:
    """Reads a table of numbers from a CSV file (UTF-8, gzip unpacked, quotes as in RFC 4180).

    Args:
        path: The file. Empty lines are skipped.
        target: The column to predict, by name or number (negative ones count from the end).
        labels: Whether the target is a class: whole numbers from 0 to 99999 stay as they are,
            anything else is sorted as text and numbered.
        ignore: Columns to leave out, by name or number: text, row numbers.
        header: Whether the first line holds names. None looks: it does if no cell in it is a
            number or empty, and some cell below it is a number.
        delimiter: One character.
        missing: What to do where a feature is empty, `?`, `-`, `NA`, `N/A`, `NaN`, `null` or
            `none`: `"error"`, `"drop"` the row, fill in the column's `"mean"`, or keep a
            `"nan"`. A row whose target is missing is an error, or dropped by `"drop"`.

    Returns:
        A `Table`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A cell is not a number or is infinite, rows have different lengths, a column is
            unknown, a value is missing under `"error"`, or no row is left.
    """
    if missing not in _POLICIES:
        raise ValueError(
            f"read_csv: missing expects one of {', '.join(_POLICIES)}, got {missing!r}"
        )
    where = f"read_csv: {os.fspath(path)}"
    rows = _rows(read_file(path), delimiter, where)
    width = len(rows[0].cells)
    for row in rows:
        if len(row.cells) != width:
            raise ValueError(
                f"{where}: line {row.line} has {len(row.cells)} cells, "
                f"line {rows[0].line} has {width}"
            )
    if header is None:
        header = _looks_like_header(rows)
    columns = [cell.strip() for cell in rows[0].cells] if header else []
    rows = rows[1:] if header else rows
    target_column = None if target is None else _column(target, columns, width, where)
    left_out = {_column(column, columns, width, where) for column in ignore}
    features = [i for i in range(width) if i != target_column and i not in left_out]
    named = columns or [f"column {i}" for i in range(width)]
    if not features:
        raise ValueError(f"{where}: no feature column is left of {width}")

    if missing == "drop":
        needed = features if target_column is None else [*features, target_column]
        rows = [row for row in rows if not any(_is_missing(row.cells[i]) for i in needed)]
    if not rows:
        raise ValueError(f"{where}: no row of data")
    x = np.array(
        [[_number(row, i, named, missing, where) for i in features] for row in rows], np.float64
    )
    if missing == "mean":
        _fill_with_means(x, [named[i] for i in features], where)

    y: Array | None = None
    target_names: tuple[str, ...] = ()
    if target_column is not None:
        if labels:
            y, target_names = _labels(rows, target_column, named, where)
        else:
            y = np.array(
                [_number(row, target_column, named, "error", where) for row in rows], np.float32
            )
            target_names = (named[target_column],)
    return Table(x.astype(np.float32), y, tuple(named[i] for i in features), target_names)


def _rows(content: bytes, delimiter: str, where: str) -> list[_Row]:
    import csv
    import io

    if len(delimiter) != 1:
        raise ValueError(f"read_csv: delimiter expects one character, got {delimiter!r}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{where} is not UTF-8 text: {error}") from None
    if "\0" in text:
        raise ValueError(f"{where} is not text: it holds a zero byte")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)

    def lines() -> Iterator[_Row]:
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _Row(reader.line_num, cells)

    try:
        rows = list(lines())
    except csv.Error as error:
        raise ValueError(f"{where}: line {reader.line_num}: {error}") from None
    if not rows:
        raise ValueError(f"{where} is empty")
    return rows


def _is_missing(cell: str) -> bool:
    return cell.strip().lower() in _MISSING


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return not _is_missing(cell)


def _looks_like_header(rows: list[_Row]) -> bool:
    # A first line with even one number counts as data: an undetected header fails loudly below,
    # a row of data taken for a header would vanish in silence.
    names = all(not _is_number(cell) and cell.strip() for cell in rows[0].cells)
    return names and any(_is_number(cell) for row in rows[1:] for cell in row.cells)


def _column(column: str | int, names: list[str], width: int, where: str) -> int:
    if isinstance(column, str):
        if column not in names:
            known = ", ".join(names) if names else "none: the file has no header"
            raise ValueError(f"{where}: no column {column!r}, its columns are {known}")
        if names.count(column) > 1:
            raise ValueError(f"{where}: {names.count(column)} columns are called {column!r}")
        return names.index(column)
    if not -width <= column < width:
        raise ValueError(f"{where}: no column {column}, it has {width}")
    return column % width


def _number(row: _Row, i: int, names: list[str], missing: str, where: str) -> float:
    cell = row.cells[i]
    if _is_missing(cell):
        if missing != "error":
            return math.nan
        raise ValueError(
            f"{where}: line {row.line}: {names[i]!r} is missing ({cell!r}); "
            "pass missing='drop', 'mean' or 'nan'"
        )
    try:
        value = float(cell)
    except ValueError:
        raise ValueError(
            f"{where}: line {row.line}: {names[i]!r} is {cell!r}, expected a number (for a column "
            "of text see ignore= and labels=, for a line of names header=True)"
        ) from None
    if not math.isfinite(value):
        raise ValueError(f"{where}: line {row.line}: {names[i]!r} is {cell!r}, expected it finite")
    return value


def _fill_with_means(x: NDArray[np.float64], names: list[str], where: str) -> None:
    gaps = np.isnan(x)
    counts = len(x) - gaps.sum(axis=0)
    if not counts.all():
        empty = names[int(np.flatnonzero(counts == 0)[0])]
        raise ValueError(f"{where}: {empty!r} has no value to take the mean of")
    means = np.where(gaps, 0, x).sum(axis=0) / counts
    x[gaps] = np.broadcast_to(means, x.shape)[gaps]


def _labels(
    rows: list[_Row], i: int, names: list[str], where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    cells = [row.cells[i].strip() for row in rows]
    for row, cell in zip(rows, cells):
        if _is_missing(cell):
            raise ValueError(
                f"{where}: line {row.line}: the label {names[i]!r} is missing ({cell!r}); "
                "pass missing='drop'"
            )
    if all(cell.isdecimal() and len(cell) <= 5 for cell in cells):
        codes = np.array([int(cell) for cell in cells], np.int64)
        return codes, tuple(str(code) for code in range(int(codes.max()) + 1))
    classes = sorted(set(cells))
    code = {name: k for k, name in enumerate(classes)}
    return np.array([code[cell] for cell in cells], np.int64), tuple(classes)
