"""Tables that are written row by row, and gone on with."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from vgg_demo.errors import FileUnwritableError, TableError
from vgg_demo.files.result_tables import KINDS, Row, open_table, read_old_rows, read_rows

COLUMNS = ("file", "sure", "probability_1", "message")


def row(number: int) -> Row:
    return {
        "file": f'{number}, "a b" é.jpg',
        "sure": bool(number % 2),
        "probability_1": number / 3,
        "message": None,
    }


def as_read(found: Row, kind: str) -> Row:
    """CSV knows texts only."""
    if kind != "csv":
        return found
    return {key: "" if value is None else str(value) for key, value in found.items()}


@pytest.fixture(params=KINDS)
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return tmp_path / f"table.{request.param}"


def write(path: Path, numbers: Iterable[int], *, resume: bool = False) -> None:
    with open_table(path, COLUMNS, resume=resume) as add:
        for number in numbers:
            add(row(number))


def numbers(path: Path) -> list[Row]:
    return list(read_rows(path))


def rows_of(path: Path, *ranges: range) -> list[Row]:
    return [as_read(row(number), path.suffix[1:]) for some in ranges for number in some]


def test_there_and_back(path: Path) -> None:
    write(path, range(2_500))
    assert numbers(path) == rows_of(path, range(2_500))
    assert [other.name for other in path.parent.iterdir()] == [path.name]


def test_going_on(path: Path) -> None:
    write(path, range(3))
    write(path, range(3, 5), resume=True)
    write(path, range(0), resume=True)
    assert numbers(path) == rows_of(path, range(5))


def test_a_table_without_rows(path: Path) -> None:
    write(path, range(0))
    assert numbers(path) == []
    write(path, range(2), resume=True)
    assert numbers(path) == rows_of(path, range(2))


def test_an_error_on_the_way_keeps_what_is_written(path: Path) -> None:
    def numbers_until_ctrl_c() -> Iterator[int]:
        yield 0
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(path, numbers_until_ctrl_c())
    assert numbers(path) == rows_of(path, range(1))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("cut", [2, 5, 20])
def test_a_half_line_goes(kind: str, cut: int, tmp_path: Path) -> None:
    path = tmp_path / f"table.{kind}"
    write(path, range(3))
    whole = path.read_bytes()
    path.write_bytes(whole[:-cut])
    assert list(read_old_rows(path, COLUMNS)) == rows_of(path, range(2))
    assert whole.startswith(path.read_bytes())


def test_a_whole_row_without_its_end_stays(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    write(path, range(3))
    path.write_bytes(path.read_bytes()[:-1])
    assert list(read_old_rows(path, COLUMNS)) == rows_of(path, range(3))
    write(path, range(3, 4), resume=True)
    assert numbers(path) == rows_of(path, range(4))


def test_other_rows_further_on(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    write(path, range(3))
    with path.open("a") as file:
        file.write("{}\n")
    with pytest.raises(TableError, match="other columns"):
        list(read_old_rows(path, COLUMNS))


def test_a_parquet_file_that_pandas_has_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    write(path, range(2))
    pd.read_parquet(path).to_parquet(path)
    write(path, range(2, 3), resume=True)
    assert numbers(path) == rows_of(path, range(3))
    assert list(tmp_path.iterdir()) == [path]


def test_a_parquet_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    with pytest.raises(FileUnwritableError, match="has come to be"), open_table(path, COLUMNS):
        path.write_text("precious")
    assert path.read_text() == "precious"
    (other,) = set(tmp_path.iterdir()) - {path}
    other = other.rename(tmp_path / "other.parquet")
    assert numbers(other) == []


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    with pytest.raises(FileUnwritableError, match="Choose another name"):
        write(tmp_path / ("a" * 300 + ".csv"), range(1))


def test_names_that_are_longer_than_python_reads(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    with open_table(path, COLUMNS) as add:
        add(row(0) | {"file": "a" * 200_000})
    assert len(numbers(path)[0]["file"]) == 200_000


def test_a_half_header_goes(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("file,su")
    assert list(read_old_rows(path, COLUMNS)) == []
    write(path, range(2), resume=True)
    assert numbers(path) == rows_of(path, range(2))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labels.csv", "image,label\n1.jpg,cat\n2.jpg,dog"),
        ("notes.jsonl", '{"name": "a line without an end"}'),
        ("number.jsonl", '{"file": 5}\n'),
        ("one_row.jsonl", '{"file": "a", "x": 1}'),
        ("two_rows.jsonl", '{"file": "a", "x": 1}\n{"file": "b", "x": 2}'),
    ],
)
def test_what_is_another_table_is_left_as_it_is(name: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(TableError, match="other columns"):
        list(read_old_rows(path, COLUMNS))
    assert path.read_text() == text


def test_lines_are_there_as_soon_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "table.jsonl"
    with open_table(path, COLUMNS) as add:
        add(row(0))
        assert numbers(path) == [row(0)]


def test_nothing_is_written_over(path: Path) -> None:
    write(path, range(1))
    with pytest.raises(TableError, match=r"there already\. Go on with it by --resume"):
        write(path, range(1))
    assert numbers(path) == rows_of(path, range(1))


def test_other_columns(path: Path) -> None:
    write(path, range(1))
    words = "other columns than this run. Use the same --top"
    with pytest.raises(TableError, match=words), open_table(path, ("file",), resume=True):
        pass


@pytest.mark.parametrize("name", ["table", "table.xlsx", "csv"])
def test_a_name_that_says_no_kind(name: str, tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"end in \.csv, \.jsonl, \.parquet"):
        write(tmp_path / name, range(1))


def test_what_is_no_table(path: Path) -> None:
    with pytest.raises(TableError, match="Cannot read"):
        numbers(path)
    path.write_bytes(b"\xff\xfe no table\n\n")
    with pytest.raises(TableError, match="as a table"):
        numbers(path)


def test_no_place_to_write(path: Path) -> None:
    with pytest.raises(FileUnwritableError, match="Cannot write"):
        write(path.parent / "missing" / path.name, range(1))


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX limits")
def test_a_disk_without_room(path: Path) -> None:
    """A file may grow to 20 kB; what of it is kept is told."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(FileUnwritableError, match="Cannot write") as caught:
            write(path, range(100_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    if path.suffix == ".parquet":
        assert "nothing of this run is kept" in str(caught.value)
        assert list(path.parent.iterdir()) == []
    else:
        assert "go on by --resume" in str(caught.value)
        assert len(list(read_old_rows(path, COLUMNS))) > 100


def test_only_a_file_is_gone_on_with(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for name in ("missing.csv", "folder.csv"):
        with pytest.raises(TableError, match="no table to go on with"):
            list(read_old_rows(tmp_path / name, COLUMNS))
