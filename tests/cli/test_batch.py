"""`batch` and `evaluate`, as a person or a script uses them."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.files.test_archives import make_zip
from vgg_demo.cli import main
from vgg_demo.files.result_tables import KINDS, read_rows

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "vgg_demo" / "data" / "examples"
MINI_VGG = ("--model", "mini_vgg")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photos, one in a folder below, and one that is none."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    shutil.copy(EXAMPLES / "cat.jpg", folder)
    shutil.copy(EXAMPLES / "dog.jpg", folder / "below")
    (folder / "bad.jpg").write_bytes(b"no picture")
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_table_of_a_folder(kind: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / f"results.{kind}"
    result = run("batch", folder, "--out", out, *MINI_VGG)
    assert result.exit_code == 1
    assert f"{folder / 'bad.jpg'}: This is not a picture" in result.stderr
    assert "3 photos in " in result.stderr
    assert "1 of them could not be used" in result.stderr
    rows = list(read_rows(out))
    assert [(Path(row["file"]).name, row["label_1"] or "") for row in rows] == [
        ("bad.jpg", ""), ("cat.jpg", "cat"), ("dog.jpg", "dog"),
    ]  # fmt: skip
    assert rows[0]["error"] == "NotAnImageError"


def test_several_models_and_an_archive_on_stdout(tmp_path: Path, shared: Path) -> None:
    archive = tmp_path / "a.zip"
    archive.write_bytes(make_zip({"x/1.jpg": (EXAMPLES / "cat.jpg").read_bytes()}))
    models = ("--model", "mobilenet_v2", "--model", "mini_vgg", "--model", "MobileNetV2")
    result = run("batch", archive, *models, "--weights-dir", shared / "weights", "--top", "1")
    assert result.exit_code == 0
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert [(row["file"], row["model"], row["label_1"]) for row in rows] == [
        (f"{archive}/x/1.jpg", "mobilenet_v2", "Egyptian cat"),
        (f"{archive}/x/1.jpg", "mini_vgg", "cat"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_going_on(kind: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / f"results.{kind}"
    run("batch", folder / "below", "--out", out, *MINI_VGG)
    result = run("batch", folder, "--resume", out, *MINI_VGG)
    assert "2 photos in " in result.stderr
    assert "1 passed over" in result.stderr
    assert [Path(row["file"]).name for row in read_rows(out)] == ["dog.jpg", "bad.jpg", "cat.jpg"]
    again = run("batch", folder, "--resume", out, *MINI_VGG)
    assert again.exit_code == 0
    assert "0 photos in " in again.stderr


def test_going_on_in_another_way(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    run("batch", folder / "below", "--out", out, *MINI_VGG)
    before = out.read_text()
    result = run("batch", folder, "--resume", out, "--resize", "pad", *MINI_VGG)
    assert "was made with --resize crop, not pad" in result.stderr
    assert out.read_text() == before


def test_going_on_with_another_model(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    run("batch", folder / "below", "--out", out, *MINI_VGG)
    result = run("batch", folder, "--resume", out, "--model", "vgg16")
    assert "was made with --model mini_vgg, not vgg16" in result.stderr


def test_photos_of_one_name_are_told_apart(tmp_path: Path) -> None:
    archive, out = tmp_path / "photos.tar", tmp_path / "results.jsonl"
    with tarfile.open(archive, "w") as tar:
        for example in ("cat", "dog"):
            tar.add(EXAMPLES / f"{example}.jpg", "1.jpg")
    run("batch", archive, "--out", out, *MINI_VGG)
    whole = out.read_bytes()
    out.write_bytes(whole.splitlines(keepends=True)[0])
    assert "1 photos in " in run("batch", archive, "--resume", out, *MINI_VGG).stderr
    assert out.read_bytes() == whole


def test_what_could_not_be_sorted_is_sorted_later(folder: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "results.csv", tmp_path / "file"
    file.touch()
    result = run("batch", folder, "--out", out, "--move-to", file / "sorted", *MINI_VGG)
    assert "2 not saved or sorted" in result.stderr
    run("batch", folder, "--resume", out, "--move-to", tmp_path / "sorted", *MINI_VGG)
    found = sorted(path.name for path in (tmp_path / "sorted").rglob("*.jpg"))
    assert found == ["cat.jpg", "dog.jpg"]


def test_links_that_lead_round_in_circles(folder: Path, tmp_path: Path) -> None:
    (folder / "b.jpg").symlink_to("c.jpg")
    (folder / "c.jpg").symlink_to("b.jpg")
    result = run("batch", folder, "--move-to", tmp_path / "sorted", *MINI_VGG)
    assert "5 photos in " in result.stderr
    assert "3 of them could not be used" in result.stderr


def test_a_pipe_that_is_called_an_archive(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs POSIX pipes")
    os.mkfifo(tmp_path / "a.zip")
    assert "it is no ordinary file" in run("batch", tmp_path / "a.zip", *MINI_VGG).stderr


def test_sorted_where_the_photos_are(folder: Path) -> None:
    result = run("batch", folder, "--move-to", folder, "--move", *MINI_VGG)
    assert "3 photos in " in result.stderr
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    assert found == ["bad.jpg", "cat/cat.jpg", "dog/dog.jpg"]


def test_sorted_into_folders(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "sorted"
    run("batch", folder, "--move-to", out, *MINI_VGG)
    found = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.jpg"))
    assert found == ["cat/cat.jpg", "dog/dog.jpg"]
    assert (folder / "cat.jpg").exists()
    run("batch", folder, "--move-to", out, "--move", *MINI_VGG)
    assert sorted(path.name for path in folder.rglob("*.jpg")) == ["bad.jpg"]
    assert len(list(out.rglob("*.jpg"))) == 2


def test_a_photo_that_cannot_be_sorted_stops_nothing(folder: Path, tmp_path: Path) -> None:
    """The same photo twice: the second time it is not there any more."""
    table, out = tmp_path / "results.csv", tmp_path / "sorted"
    result = run("batch", folder / "cat.jpg", folder / "cat.jpg", folder / "below", "--out", table,
                 "--move-to", out, "--move", *MINI_VGG)  # fmt: skip
    assert result.exit_code == 1
    assert "1 not saved or sorted" in result.stderr
    assert [row["label_1"] for row in read_rows(table)] == ["cat", "cat", "dog"]
    assert (out / "dog" / "dog.jpg").exists()


def test_pictures_of_the_first_run_stay(folder: Path, tmp_path: Path) -> None:
    table, annotated = tmp_path / "results.csv", tmp_path / "annotated"
    options = ("--annotate", annotated, *MINI_VGG)
    run("batch", folder / "below", "--out", table, *options)
    first = (annotated / "dog.mini_vgg.png").read_bytes()
    shutil.copy(EXAMPLES / "cat.jpg", folder / "dog.jpg")
    run("batch", folder, "--resume", table, *options)
    assert (annotated / "dog.mini_vgg.png").read_bytes() == first
    assert (annotated / "dog-2.mini_vgg.png").exists()


def test_what_it_makes_is_not_looked_at(folder: Path) -> None:
    out = folder / "a-sorted"  # searched before the photos
    for _ in range(2):
        result = run("batch", folder, "--move-to", out, "--annotate", folder / "b", *MINI_VGG)
        assert "3 photos in " in result.stderr
    assert len(list(out.rglob("*.jpg"))) == 2
    assert sorted(path.name for path in (folder / "b").iterdir()) == [
        "cat.mini_vgg.png", "dog.mini_vgg.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "words", "status"),
    [
        ((), "Missing argument 'PATHS...'", 2),
        (("a", "--out", "a.csv", "--resume", "b.csv"), "one of --out and --resume", 2),
        (("a", "--move"), "--move needs --move-to", 2),
        (("a", "--move", "--move-to", "b", "--out", "a.parquet"), "needs a table of lines", 2),
        (("a", "--move", "--move-to", "b", "--out", "a.PARQUET"), "needs a table of lines", 2),
        (("a", "--model", "vgg61"), "Did you mean vgg19 or vgg16", 2),
        ((".", "--out", "a.xlsx", *MINI_VGG), "let it end in .csv, .jsonl, .parquet", 1),
        ((".", "--resume", "missing.csv", *MINI_VGG), "no table to go on with", 1),
        ((".", "--out", "a.csv"), "VGG_DEMO_OFFLINE", 1),
    ],
)
def test_wrong_usage(
    arguments: tuple[str, ...],
    words: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("batch", *arguments)
    assert words in result.stderr
    assert result.exit_code == status
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("kind", KINDS)
def test_ctrl_c_keeps_what_is_done(kind: str, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / f"results.{kind}"
    folder.mkdir()
    for number in range(2_000):
        (folder / f"{number:04}.jpg").symlink_to(EXAMPLES / "cat.jpg")
    arguments = [folder, "--out", out, *MINI_VGG, "--annotate", tmp_path / "annotated"]
    # Where tests run in the background, a child would ignore the signal.
    code = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from vgg_demo.cli import main\nmain({['batch', *map(str, arguments)]!r})"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE)
    while process.poll() is None and len(list(tmp_path.glob("annotated/*"))) < 9:
        pass
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"go on with --resume" in errors
    assert b"Traceback" not in errors
    rows = list(read_rows(out))
    assert 8 <= len(rows) < 2_000
    assert [Path(row["file"]).stem for row in rows] == [f"{n:04}" for n in range(len(rows))]


def test_a_bar_for_people(folder: Path) -> None:
    """On a terminal: done, all, rate, and failures; in the words of no library."""
    pty = pytest.importorskip("pty", reason="needs POSIX terminals")
    termios = pytest.importorskip("termios")
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (25, 100))
    process = subprocess.Popen(
        [sys.executable, "-m", "vgg_demo", "batch", folder, *MINI_VGG],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    seen = b""
    try:
        while piece := os.read(leader, 65_536):
            seen += piece
    except OSError:  # the other side has closed it
        pass
    process.wait(60)
    text = seen.decode()
    assert "3/3" in text
    assert "photos/s" in text
    assert "failed=1" in text
    assert "This is not a picture" in text
    assert "oneDNN" not in text


def test_evaluation(shared: Path) -> None:
    photos = sorted((shared / "data" / "imagenet-sample").glob("n0212*"))
    arguments = [*photos, "--model", "mobilenet_v2", "--weights-dir", shared / "weights"]
    result = run("evaluate", *arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith(
        f"mobilenet_v2 on {len(photos)} photos of {len(photos)} classes"
    )
    assert "95 % sure: " in result.stdout
    document = json.loads(run("evaluate", *arguments, "--json").stdout)
    (found,) = document["evaluations"]
    assert found["top1"]["count"] == len(found["classes"]) == len(photos)
    assert f"({found['top1']['right']} of {len(photos)};" in result.stdout


def test_evaluation_by_a_table(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("image,label\ncat.jpg,tabby\nbelow/dog.jpg,cat\n")
    result = run("evaluate", folder, *MINI_VGG, "--labels", table)
    assert "mini_vgg on 2 photos" in result.stdout
    assert "1×  cat taken for dog" in result.stdout
    assert "below/dog.jpg: dog 98% instead of cat" in result.stdout.replace("\\", "/")
    assert result.exit_code == 1  # of the photo that is none


def test_what_a_model_has_no_class_for_is_told(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "cat.jpg", tmp_path / "n02123045.jpg")
    shutil.copy(EXAMPLES / "moose.jpg", tmp_path / "n02504458.jpg")  # so it says: an elephant
    result = run("evaluate", tmp_path, *MINI_VGG)
    assert "mini_vgg has no class for what is on 1 photos" in result.stderr
    assert "mini_vgg on 1 photos" in result.stdout


def test_a_kind_of_thing_as_the_truth(shared: Path, tmp_path: Path) -> None:
    """Of cats and dogs, a network that knows their breeds answers rightly with any of them."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        shutil.copy(EXAMPLES / f"{name}.jpg", tmp_path / name / "1.jpg")
    result = run("evaluate", tmp_path, "--weights-dir", shared / "weights",
                 "--model", "mobilenet_v2")  # fmt: skip
    assert "mobilenet_v2 on 2 photos of 2 classes" in result.stdout
    assert "the first answer is right    100.0%" in result.stdout


def test_photos_that_no_model_has_a_class_for(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "moose.jpg", tmp_path / "n02504458.jpg")
    result = run("evaluate", tmp_path, *MINI_VGG)
    assert "mini_vgg has no class for what is on 1 photos" in result.stderr
    assert "So none of the photos counts" in result.stderr
    assert (result.exit_code, result.stdout) == (1, "")


def test_evaluation_without_truth(folder: Path, tmp_path: Path) -> None:
    for number, path in enumerate(folder.rglob("*.jpg")):
        path.rename(path.with_name(f"IMG_{number}.jpg"))
    result = run("evaluate", folder, *MINI_VGG)
    assert "Of 2 photos the truth is not known" in result.stderr
    assert "Of none of these photos the truth is known" in result.stderr
    assert result.exit_code == 1
    assert "Cannot read" in run("evaluate", folder, "--labels", tmp_path / "no.csv").stderr


def test_paths_that_lead_nowhere_begin_no_table(tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    result = run("batch", tmp_path / "photos", tmp_path / "more.zip", "--out", out, *MINI_VGG)
    assert result.exit_code == 1
    assert f"There is no {str(tmp_path / 'photos')!r} and no " in result.stderr
    assert not out.exists()
