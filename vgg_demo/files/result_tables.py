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
from typing import Any, BinaryIO

from vgg_demo.errors import FileUnwritableError, TableError
from vgg_demo.files.writing import writing

KINDS = ("csv", "jsonl", "parquet")
ROW_GROUP = 1_000
"""Rows of a Parquet file that are kept in memory before they are written."""

MAX_FIELD_LENGTH = 10_000_000
"""Characters; Python's own limit is shorter than what a name in an archive can be."""

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
    if not resume and _is_there(path):
        raise TableError(
            f"{str(path)!r} is there already. Go on with it by --resume, or choose another name."
        )
    if resume:
        next(read_old_rows(path, columns), None)
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
                csv.field_size_limit(MAX_FIELD_LENGTH)
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


def read_old_rows(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yields the rows of a table that is to be gone on with.

    What was half written when it was interrupted is cut off, but only if the file is a table
    of these columns.

    Raises:
        TableError: If it is not.
    """
    if not path.is_file():
        raise TableError(f"{str(path)!r} is no table to go on with. Begin one by --out.")
    if _kind(path) != "parquet":
        _check_first_line(path, columns)
        _mend_last_line(path)
    for row in read_rows(path):
        if list(row) != list(columns):
            raise _other_columns(path)
        yield row


def _check_first_line(path: Path, columns: Sequence[str]) -> None:
    """Makes sure that a file begins as the table would, before anything of it is cut off."""
    is_csv = _kind(path) == "csv"
    header = (",".join(columns) + "\n" if is_csv else f'{{"{columns[0]}": ').encode()
    with path.open("rb") as file:
        line = file.readline()
    is_other = line[: len(header)] != header[: len(line)]
    row = None if is_csv else _parsed(line)
    if is_other or (row is not None and list(row) != list(columns)):
        raise _other_columns(path)


def _mend_last_line(path: Path) -> None:
    """Ends the last line, or cuts it off if it was being written when a table was interrupted."""
    try:
        with path.open("r+b") as file:
            start = _start_of_last_line(file)
            file.seek(start)
            if _kind(path) == "jsonl" and _parsed(file.read()) is not None:
                file.write(b"\n")
            else:
                file.truncate(start)
    except OSError as error:
        raise TableError(f"Cannot go on with {str(path)!r}: {error.strerror}.") from error


def _start_of_last_line(file: BinaryIO) -> int:
    """Returns where what follows the last line's end begins: the end, of a table that is whole."""
    position = file.seek(0, os.SEEK_END)
    while position:
        begin = max(0, position - 65_536)
        file.seek(begin)
        end = file.read(position - begin).rfind(b"\n")
        if end >= 0:
            return begin + end + 1
        position = begin
    return 0


def _parsed(line: bytes) -> Row | None:
    """Reads a line of JSON; None if it is not a whole row."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _is_there(path: Path) -> bool:
    with writing(path, "Choose another name."):
        return path.exists()


def _kind(path: Path) -> str:
    kind = path.suffix[1:].casefold()
    if kind not in KINDS:
        raise TableError(
            f"{path.name!r} does not say what kind of table it is: let it end in "
            f"{', '.join(f'.{kind}' for kind in KINDS)}."
        )
    return kind


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
        self._part = path.with_name(f"{path.name}.{os.getpid()}.part")
        self._replaces = resume
        self._schema = arrow_schema(columns)
        self._rows: list[Row] = []
        self._is_lost = False
        self._writer = parquet.ParquetWriter(self._part, self._schema)
        if resume:
            self._copy_old_rows()

    def _copy_old_rows(self) -> None:
        from pyarrow import Table, parquet

        try:
            with parquet.ParquetFile(self._path) as old:
                for batch in old.iter_batches():
                    # Other programs write the same values under other types.
                    self._writer.write_table(Table.from_batches([batch]).cast(self._schema))
        except ValueError as error:
            self._writer.close()
            self._part.unlink()
            raise TableError(f"Cannot go on with {str(self._path)!r}: {error}.") from error

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
        if not self._replaces and self._path.exists():
            raise FileUnwritableError(
                f"{str(self._path)!r} has come to be while this table was written, and is left as "
                f"it is. The table is {str(self._part)!r}."
            )
        with self._all_or_nothing():
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
