"""Result tables: written row by row, and resumed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from vgg_demo.errors import FileUnwritableError, TableError
from vgg_demo.files.result_tables import (
    TABLE_FORMATS,
    Row,
    open_table,
    read_rows,
    read_rows_to_resume,
)

COLUMNS = ("file", "sure", "probability_1", "message")


def row(number: int) -> Row:
    return {
        "file": f'{number}, "a b" é.jpg',
        "sure": bool(number % 2),
        "probability_1": number / 3,
        "message": None,
    }


def as_read(written: Row, table_format: str) -> Row:
    """Returns a row as it is read back: all values of a CSV file are strings."""
    if table_format != "csv":
        return written
    return {key: "" if value is None else str(value) for key, value in written.items()}


@pytest.fixture(params=TABLE_FORMATS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"table.{request.param}"


def write(path: Path, numbers: Iterable[int], *, resume: bool = False) -> None:
    with open_table(path, COLUMNS, resume=resume) as add:
        for number in numbers:
            add(row(number))


def all_rows(path: Path) -> list[Row]:
    return list(read_rows(path))


def rows_of(path: Path, numbers: range) -> list[Row]:
    return [as_read(row(number), path.suffix[1:]) for number in numbers]


def test_rows_are_read_as_written(path: Path) -> None:
    write(path, range(2_500))
    assert all_rows(path) == rows_of(path, range(2_500))
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_table_is_resumed(path: Path) -> None:
    write(path, range(3))
    write(path, range(3, 5), resume=True)
    write(path, range(0), resume=True)
    assert all_rows(path) == rows_of(path, range(5))


def test_table_without_rows_is_valid(path: Path) -> None:
    write(path, range(0))
    assert all_rows(path) == []
    write(path, range(2), resume=True)
    assert all_rows(path) == rows_of(path, range(2))


def test_interruption_keeps_the_written_rows(path: Path) -> None:
    def numbers_until_ctrl_c() -> Iterator[int]:
        yield 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, numbers_until_ctrl_c())
    assert all_rows(path) == rows_of(path, range(1))


@pytest.mark.parametrize("table_format", ["csv", "jsonl"])
@pytest.mark.parametrize("cut", [2, 5, 20])
def test_partial_line_is_removed(table_format: str, cut: int, tmp_path: Path) -> None:
    path = tmp_path / f"table.{table_format}"
    write(path, range(3))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert list(read_rows_to_resume(path, COLUMNS)) == rows_of(path, range(2))
    assert whole.startswith(path.read_bytes())


def test_complete_row_without_newline_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    write(path, range(3))
    path.write_bytes(path.read_bytes()[:-1])
    assert list(read_rows_to_resume(path, COLUMNS)) == rows_of(path, range(3))
    write(path, range(3, 4), resume=True)
    assert all_rows(path) == rows_of(path, range(4))


def test_row_with_different_columns_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    write(path, range(3))
    with path.open("a") as file:
        file.write("{}\n")
    with pytest.raises(TableError, match="different columns"):
        list(read_rows_to_resume(path, COLUMNS))


def test_parquet_file_rewritten_by_pandas_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write(path, range(2))
    pd.read_parquet(path).to_parquet(path)
    write(path, range(2, 3), resume=True)
    assert all_rows(path) == rows_of(path, range(3))
    assert list(tmp_path.iterdir()) == [path]


def test_parquet_file_created_in_the_meantime_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    with pytest.raises(FileUnwritableError, match="in the meantime"), open_table(path, COLUMNS):
        path.write_text("precious")
    assert path.read_text() == "precious"
    (other,) = set(tmp_path.iterdir()) - {path}
    other = other.rename(tmp_path / "other.parquet")
    assert all_rows(other) == []


def test_too_long_file_name_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileUnwritableError, match="Choose another name"):
        write(tmp_path / ("a" * 300 + ".csv"), range(1))


def test_very_long_photo_names_are_read(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with open_table(path, COLUMNS) as add:
        add(row(0) | {"file": "a" * 200_000})
    assert len(all_rows(path)[0]["file"]) == 200_000


def test_partial_header_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("file,su")
    assert list(read_rows_to_resume(path, COLUMNS)) == []
    write(path, range(2), resume=True)
    assert all_rows(path) == rows_of(path, range(2))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "image,label\n1.jpg,cat\n2.jpg,dog"),
        ("notes.jsonl", '{"name": "a line without a newline"}'),
        ("number.jsonl", '{"file": 5}\n'),
        ("one_row.jsonl", '{"file": "a", "x": 1}'),
        ("two_rows.jsonl", '{"file": "a", "x": 1}\n{"file": "b", "x": 2}'),
    ],
)
def test_different_table_is_not_changed(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(TableError, match="different columns"):
        list(read_rows_to_resume(path, COLUMNS))
    assert path.read_text() == text


def test_rows_are_flushed_immediately(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    with open_table(path, COLUMNS) as add:
        add(row(0))
        assert all_rows(path) == [row(0)]


def test_existing_table_is_not_overwritten(path: Path) -> None:
    write(path, range(1))
    with pytest.raises(TableError, match=r"already exists\. Resume it with --resume"):
        write(path, range(1))
    assert all_rows(path) == rows_of(path, range(1))


def test_resuming_with_different_columns_is_rejected(path: Path) -> None:
    write(path, range(1))
    message = "different columns than this run. Use the same --top"
    with pytest.raises(TableError, match=message), open_table(path, ("file",), resume=True):
        pass


@pytest.mark.parametrize("name", ["table", "table.xlsx", "csv"])
def test_unknown_extension_is_rejected(name: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"Use \.csv, \.jsonl or \.parquet"):
        write(tmp_path / name, range(1))


def test_file_that_is_not_a_table_is_rejected(path: Path) -> None:
    with pytest.raises(TableError, match="Cannot read"):
        all_rows(path)
    path.write_bytes(b"\xff\xfe not a table\n\n")
    with pytest.raises(TableError, match="as a table"):
        all_rows(path)


def test_missing_folder_raises_an_error(path: Path) -> None:
    with pytest.raises(FileUnwritableError, match="Cannot write"):
        write(path.parent / "missing" / path.name, range(1))


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_full_disk_raises_an_error(path: Path) -> None:
    """Limits the file size to 20 kB; the message states whether the written rows are saved."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(FileUnwritableError, match="Cannot write") as caught:
            write(path, range(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    if path.suffix == ".parquet":
        assert "results of this run are lost" in str(caught.value)
        assert list(path.parent.iterdir()) == []
    else:
        assert "resume with --resume" in str(caught.value)
        assert len(list(read_rows_to_resume(path, COLUMNS))) > 100


def test_only_files_are_resumed(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("missing.csv", "folder.csv"):
        with pytest.raises(TableError, match="There is no table"):
            list(read_rows_to_resume(tmp_path / name, COLUMNS))
