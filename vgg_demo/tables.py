"""Tables of results, written row by row: CSV, JSON lines, Parquet.

What was written before an interruption stays. A Parquet file has its directory at its end, so
it is written under another name and renamed when it is closed, which Ctrl-C brings about too;
what is killed keeps only lines.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from vgg_demo.errors import FileUnwritableError, TableError
from vgg_demo.writing import writing

KINDS = ("csv", "jsonl", "parquet")
ROW_GROUP = 1_000
"""Rows of a Parquet file that are kept in memory before they are written."""

LINES_ARE_KEPT = (
    "What was written is kept; make room or choose another place, and go on by --resume."
)
NOTHING_IS_KEPT = (
    "A Parquet file that is not whole cannot be read, so nothing of this run is kept. Make room, "
    "or write .csv or .jsonl, of which each line is kept."
)

Row = dict[str, Any]


@contextmanager
def open_table(
    path: Path, columns: Sequence[str], *, resume: bool = False
) -> Iterator[Callable[[Row], None]]:
    """Opens a table for writing; its kind is what its name ends in.

    Args:
        path: The file.
        columns: The keys of all rows.
        resume: Whether rows are added to a file that is there; see `read_old_rows`.

    Yields:
        A function that writes a row.

    Raises:
        TableError: If the name says no kind; if there is a file but none was to be resumed,
            or none that was; or if it has other columns.
        FileUnwritableError: If it cannot be written.
    """
    kind = _kind(path)
    if path.exists() and not resume:
        raise TableError(
            f"{str(path)!r} is there already. Go on with it by --resume, or choose another name."
        )
    if resume:
        _check_columns(path, columns)
    writers: dict[str, type[_Csv | _JsonLines | _Parquet]] = {
        "csv": _Csv, "jsonl": _JsonLines, "parquet": _Parquet,
    }  # fmt: skip
    with writing(path, LINES_ARE_KEPT):
        writer = writers[kind](path, columns, resume)
    with closing(writer):
        yield writer.write


def read_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a table; in those of a CSV file, all values are texts.

    Raises:
        TableError: If it is none.
    """
    try:
        match _kind(path):
            case "csv":
                with path.open(newline="", encoding="utf-8") as file:
                    yield from csv.DictReader(file, strict=True)
            case "jsonl":
                with path.open(encoding="utf-8") as file:
                    for line in file:
                        row = json.loads(line)
                        if not isinstance(row, dict):
                            raise ValueError(f"a line says {line[:60]!r}, which is no row")
                        yield row
            case _:
                from pyarrow import parquet

                with parquet.ParquetFile(path) as table:
                    for batch in table.iter_batches():
                        yield from batch.to_pylist()
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TableError(f"Cannot read {str(path)!r} as a table: {reason}.") from error


def read_old_rows(path: Path, columns: Sequence[str]) -> list[Row]:
    """Reads a table that is to be gone on with.

    What was half written when it was interrupted is cut off, but only if the file is a table
    of these columns.

    Raises:
        TableError: If it is not.
    """
    if not path.is_file():
        raise TableError(f"{str(path)!r} is no table to go on with. Begin one by --out.")
    if _kind(path) != "parquet":
        _check_first_line(path, columns)
        _drop_half_line(path)
    _check_columns(path, columns)
    return list(read_rows(path))


def _check_first_line(path: Path, columns: Sequence[str]) -> None:
    """Makes sure that a file begins as the table would, before anything of it is cut off."""
    header = ",".join(columns) + "\n" if _kind(path) == "csv" else f'{{"{columns[0]}": '
    with path.open("rb") as file:
        begins = file.read(len(header.encode()))
    if not header.encode().startswith(begins):
        raise _other_columns(path)


def _drop_half_line(path: Path) -> None:
    """Cuts off the line that was being written when a table was interrupted."""
    try:
        with path.open("r+b") as file:
            position = file.seek(0, os.SEEK_END)
            while position:
                start = max(0, position - 65_536)
                file.seek(start)
                end = file.read(position - start).rfind(b"\n")
                if end >= 0:
                    file.truncate(start + end + 1)
                    return
                position = start
            file.truncate(0)
    except OSError as error:
        raise TableError(f"Cannot go on with {str(path)!r}: {error.strerror}.") from error


def _kind(path: Path) -> str:
    kind = path.suffix[1:].casefold()
    if kind not in KINDS:
        raise TableError(
            f"{path.name!r} does not say what kind of table it is: let it end in "
            f"{', '.join(f'.{kind}' for kind in KINDS)}."
        )
    return kind


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    first = next(read_rows(path), None)
    if first is not None and list(first) != list(columns):
        raise _other_columns(path)


def _other_columns(path: Path) -> TableError:
    return TableError(
        f"{str(path)!r} has other columns than this run. Use the same --top as then, or begin a "
        "new table."
    )


class _Csv:
    def __init__(self, path: Path, columns: Sequence[str], resume: bool) -> None:
        self._path = path
        self._file = path.open("a" if resume else "x", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, list(columns), lineterminator="\n")
        if not self._file.tell():
            self._writer.writeheader()

    def write(self, row: Row) -> None:
        with writing(self._path, LINES_ARE_KEPT):
            self._writer.writerow(row)
            self._file.flush()

    def close(self) -> None:
        with writing(self._path, LINES_ARE_KEPT):
            self._file.close()


class _JsonLines:
    def __init__(self, path: Path, columns: Sequence[str], resume: bool) -> None:  # noqa: ARG002
        self._path = path
        self._file = path.open("a" if resume else "x", encoding="utf-8")

    def write(self, row: Row) -> None:
        with writing(self._path, LINES_ARE_KEPT):
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        with writing(self._path, LINES_ARE_KEPT):
            self._file.close()


class _Parquet:
    def __init__(self, path: Path, columns: Sequence[str], resume: bool) -> None:
        from pyarrow import parquet

        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._schema = arrow_schema(columns)
        self._rows: list[Row] = []
        self._is_lost = False
        self._writer = parquet.ParquetWriter(self._part, self._schema)
        if resume:
            with parquet.ParquetFile(path) as old:
                for batch in old.iter_batches():
                    self._writer.write_batch(batch)

    def write(self, row: Row) -> None:
        self._rows.append(row)
        if len(self._rows) == ROW_GROUP:
            with self._all_or_nothing():
                self._flush()

    def close(self) -> None:
        if self._is_lost:
            return
        with self._all_or_nothing():
            self._flush()
            self._writer.close()
            self._part.replace(self._path)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        try:
            with writing(self._path, NOTHING_IS_KEPT):
                yield
        except FileUnwritableError:
            self._is_lost = True
            with suppress(OSError):
                self._part.unlink()
            raise

    def _flush(self) -> None:
        import pyarrow

        rows, self._rows = self._rows, []
        if rows:
            self._writer.write_table(pyarrow.Table.from_pylist(rows, self._schema))


def arrow_schema(columns: Sequence[str]) -> Any:
    """Returns the `pyarrow.Schema` of tables of these columns."""
    import pyarrow

    return pyarrow.schema([(column, _arrow_type(column)) for column in columns])


def _arrow_type(column: str) -> Any:
    import pyarrow

    if column.startswith("probability"):
        return pyarrow.float64()
    return pyarrow.bool_() if column in ("sure", "verified") else pyarrow.string()
