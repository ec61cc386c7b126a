"""Tables of results, written row by row: CSV, JSON Lines, Parquet.

CSV and JSON Lines keep all rows that were written before an interruption. A Parquet file has its
metadata at the end, so it is written under a temporary name and renamed when it is closed, also
after Ctrl-C. If the process is killed, the rows of a Parquet file are lost.
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
from vgg_demo.files.writing import report_write_errors

TABLE_FORMATS = ("csv", "jsonl", "parquet")
ROW_GROUP = 1_000
"""Number of rows of a Parquet file that are buffered and written together."""

MAX_FIELD_LENGTH = 10_000_000
"""Maximum characters of a CSV field; names in archives can exceed the default limit of `csv`."""

RESUME_ADVICE = (
    "The rows written so far are saved. Free disk space or choose another location, then resume "
    "with --resume."
)
PARQUET_ADVICE = (
    "An incomplete Parquet file cannot be read, so the results of this run are lost. Free disk "
    "space, or write .csv or .jsonl, which save each row."
)

Row = dict[str, Any]


@contextmanager
def open_table(
    path: Path, columns: Sequence[str], *, resume: bool = False
) -> Iterator[Callable[[Row], None]]:
    """Opens a table for writing, in the format of its extension.

    Args:
        path: The file.
        columns: Column names; the keys of all rows.
        resume: Whether to append rows to an existing file; see `read_rows_to_resume`.

    Yields:
        A function that writes a row.

    Raises:
        TableError: If the extension is unknown, if the file exists and `resume` is false, if
            the file does not exist and `resume` is true, or if it has other columns.
        FileUnwritableError: If the file cannot be written.
    """
    table_format = _table_format(path)
    if not resume and _exists(path):
        raise TableError(
            f"{str(path)!r} already exists. Resume it with --resume, or choose another name."
        )
    if resume:
        next(read_rows_to_resume(path, columns), None)
    writers: dict[str, type[_Csv | _JsonLines | _Parquet]] = {
        "csv": _Csv, "jsonl": _JsonLines, "parquet": _Parquet,
    }  # fmt: skip
    with report_write_errors(path, RESUME_ADVICE):
        writer = writers[table_format](path, columns, resume)
    with closing(writer):
        yield writer.write


def read_rows(path: Path) -> Iterator[Row]:
    """Yields the rows of a table. All values of a CSV file are strings.

    Raises:
        TableError: If the file is not a table.
    """
    try:
        match _table_format(path):
            case "csv":
                csv.field_size_limit(MAX_FIELD_LENGTH)
                with path.open(newline="", encoding="utf-8") as file:
                    yield from csv.DictReader(file, strict=True)
            case "jsonl":
                with path.open(encoding="utf-8") as file:
                    for line in file:
                        row = json.loads(line)
                        if not isinstance(row, dict):
                            raise ValueError(f"the line {line[:60]!r} is not a JSON object")
                        yield row
            case _:
                from pyarrow import parquet

                with parquet.ParquetFile(path) as table:
                    for batch in table.iter_batches():
                        yield from batch.to_pylist()
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise TableError(f"Cannot read {str(path)!r} as a table: {reason}.") from error


def read_rows_to_resume(path: Path, columns: Sequence[str]) -> Iterator[Row]:
    """Yields the rows of an interrupted table.

    A partially written last line is removed, but only if the file is a table with these columns.

    Raises:
        TableError: If the file does not exist or is not a table with these columns.
    """
    if not path.is_file():
        raise TableError(f"There is no table {str(path)!r} to resume. Start a new one with --out.")
    if _table_format(path) != "parquet":
        _check_first_line(path, columns)
        _repair_last_line(path)
    for row in read_rows(path):
        if list(row) != list(columns):
            raise _different_columns(path)
        yield row


def _check_first_line(path: Path, columns: Sequence[str]) -> None:
    """Checks that a file starts like this table, before anything is removed from it."""
    is_csv = _table_format(path) == "csv"
    header = (",".join(columns) + "\n" if is_csv else f'{{"{columns[0]}": ').encode()
    with path.open("rb") as file:
        line = file.readline()
    is_different = line[: len(header)] != header[: len(line)]
    row = None if is_csv else _parse_row(line)
    if is_different or (row is not None and list(row) != list(columns)):
        raise _different_columns(path)


def _repair_last_line(path: Path) -> None:
    """Terminates the last line if it is complete, or removes it if it was interrupted."""
    try:
        with path.open("r+b") as file:
            start = _start_of_last_line(file)
            file.seek(start)
            if _table_format(path) == "jsonl" and _parse_row(file.read()) is not None:
                file.write(b"\n")
            else:
                file.truncate(start)
    except OSError as error:
        raise TableError(f"Cannot resume {str(path)!r}: {error.strerror}.") from error


def _start_of_last_line(file: BinaryIO) -> int:
    """Returns the position after the last newline: the end of the file if it is complete."""
    position = file.seek(0, os.SEEK_END)
    while position:
        start = max(0, position - 65_536)
        file.seek(start)
        end = file.read(position - start).rfind(b"\n")
        if end >= 0:
            return start + end + 1
        position = start
    return 0


def _parse_row(line: bytes) -> Row | None:
    """Parses a line of JSON; returns None if it is not a complete row."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _exists(path: Path) -> bool:
    with report_write_errors(path, "Choose another name."):
        return path.exists()


def _table_format(path: Path) -> str:
    table_format = path.suffix[1:].casefold()
    if table_format not in TABLE_FORMATS:
        *others, last = TABLE_FORMATS
        raise TableError(
            f"{path.name!r} is not a supported table format. Use "
            f"{', '.join(f'.{suffix}' for suffix in others)} or .{last}."
        )
    return table_format


def _different_columns(path: Path) -> TableError:
    return TableError(
        f"{str(path)!r} has different columns than this run. Use the same --top as before, or "
        "start a new table."
    )


class _Csv:
    def __init__(self, path: Path, columns: Sequence[str], resume: bool) -> None:
        self._path = path
        self._file = path.open("a" if resume else "x", newline="", encoding="utf-8")
        self._writer = csv.DictWriter(self._file, list(columns), lineterminator="\n")
        if not self._file.tell():
            self._writer.writeheader()

    def write(self, row: Row) -> None:
        with report_write_errors(self._path, RESUME_ADVICE):
            self._writer.writerow(row)
            self._file.flush()

    def close(self) -> None:
        with report_write_errors(self._path, RESUME_ADVICE):
            self._file.close()


class _JsonLines:
    def __init__(self, path: Path, columns: Sequence[str], resume: bool) -> None:  # noqa: ARG002
        self._path = path
        self._file = path.open("a" if resume else "x", encoding="utf-8")

    def write(self, row: Row) -> None:
        with report_write_errors(self._path, RESUME_ADVICE):
            self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        with report_write_errors(self._path, RESUME_ADVICE):
            self._file.close()


class _Parquet:
    def __init__(self, path: Path, columns: Sequence[str], resume: bool) -> None:
        from pyarrow import parquet

        self._path = path
        self._temporary = path.with_name(f"{path.name}.{os.getpid()}.part")
        self._replaces = resume
        self._schema = arrow_schema(columns)
        self._rows: list[Row] = []
        self._is_lost = False
        self._writer = parquet.ParquetWriter(self._temporary, self._schema)
        if resume:
            self._copy_existing_rows()

    def _copy_existing_rows(self) -> None:
        from pyarrow import Table, parquet

        try:
            with parquet.ParquetFile(self._path) as existing:
                for batch in existing.iter_batches():
                    # Other programs write the same values with other types.
                    self._writer.write_table(Table.from_batches([batch]).cast(self._schema))
        except ValueError as error:
            self._writer.close()
            self._temporary.unlink()
            raise TableError(f"Cannot resume {str(self._path)!r}: {error}.") from error

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
                f"{str(self._path)!r} was created by another program in the meantime and was not "
                f"overwritten. The table of this run is in {str(self._temporary)!r}."
            )
        with self._all_or_nothing():
            self._temporary.replace(self._path)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        try:
            with report_write_errors(self._path, PARQUET_ADVICE):
                yield
        except FileUnwritableError:
            self._is_lost = True
            with suppress(OSError):
                self._temporary.unlink()
            raise

    def _flush(self) -> None:
        import pyarrow

        rows, self._rows = self._rows, []
        if rows:
            self._writer.write_table(pyarrow.Table.from_pylist(rows, self._schema))


def arrow_schema(columns: Sequence[str]) -> Any:
    """Returns the `pyarrow.Schema` of a table with these columns."""
    import pyarrow

    return pyarrow.schema([(column, _arrow_type(column)) for column in columns])


def _arrow_type(column: str) -> Any:
    import pyarrow

    if column.startswith("probability"):
        return pyarrow.float64()
    return pyarrow.bool_() if column in ("sure", "verified") else pyarrow.string()
