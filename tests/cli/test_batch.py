"""`batch` and `evaluate`, called as commands."""

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
from vgg_demo.files.result_tables import TABLE_FORMATS, read_rows

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "vgg_demo" / "data" / "examples"
MINI_VGG = ("--model", "mini_vgg")


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a photo, a photo in a subfolder, and a file that is not an image."""
    folder = tmp_path / "photos"
    (folder / "subfolder").mkdir(parents=True)
    shutil.copy(EXAMPLES / "cat.jpg", folder)
    shutil.copy(EXAMPLES / "dog.jpg", folder / "subfolder")
    (folder / "bad.jpg").write_bytes(b"not an image")
    return folder


@pytest.mark.parametrize("suffix", TABLE_FORMATS)
def test_batch_writes_a_table_of_a_folder(suffix: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / f"results.{suffix}"
    result = run("batch", folder, "--out", out, *MINI_VGG)
    assert result.exit_code == 1
    assert f"{folder / 'bad.jpg'}: This is not an image" in result.stderr
    assert "3 photos in " in result.stderr
    assert "1 failed" in result.stderr
    rows = list(read_rows(out))
    assert [(Path(row["file"]).name, row["label_1"] or "") for row in rows] == [
        ("bad.jpg", ""), ("cat.jpg", "cat"), ("dog.jpg", "dog"),
    ]  # fmt: skip
    assert rows[0]["error"] == "NotAnImageError"


def test_batch_prints_csv_for_an_archive_and_several_models(tmp_path: Path, shared: Path) -> None:
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


@pytest.mark.parametrize("suffix", TABLE_FORMATS)
def test_resume_completes_a_table(suffix: str, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / f"results.{suffix}"
    run("batch", folder / "subfolder", "--out", out, *MINI_VGG)
    result = run("batch", folder, "--resume", out, *MINI_VGG)
    assert "2 photos in " in result.stderr
    assert "1 skipped" in result.stderr
    assert [Path(row["file"]).name for row in read_rows(out)] == ["dog.jpg", "bad.jpg", "cat.jpg"]
    again = run("batch", folder, "--resume", out, *MINI_VGG)
    assert again.exit_code == 0
    assert "0 photos in " in again.stderr


def test_resume_with_another_resize_method_fails(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    run("batch", folder / "subfolder", "--out", out, *MINI_VGG)
    before = out.read_text()
    result = run("batch", folder, "--resume", out, "--resize", "pad", *MINI_VGG)
    assert "was made with --resize crop, not pad" in result.stderr
    assert out.read_text() == before


def test_resume_with_another_model_fails(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    run("batch", folder / "subfolder", "--out", out, *MINI_VGG)
    result = run("batch", folder, "--resume", out, "--model", "vgg16")
    assert "was made with --model mini_vgg, not vgg16" in result.stderr


def test_resume_distinguishes_photos_with_the_same_name(tmp_path: Path) -> None:
    archive, out = tmp_path / "photos.tar", tmp_path / "results.jsonl"
    with tarfile.open(archive, "w") as tar:
        for example in ("cat", "dog"):
            tar.add(EXAMPLES / f"{example}.jpg", "1.jpg")
    run("batch", archive, "--out", out, *MINI_VGG)
    complete = out.read_bytes()
    out.write_bytes(complete.splitlines(keepends=True)[0])
    assert "1 photo in " in run("batch", archive, "--resume", out, *MINI_VGG).stderr
    assert out.read_bytes() == complete


def test_resume_sorts_photos_that_could_not_be_sorted_before(folder: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "results.csv", tmp_path / "file"
    file.touch()
    result = run("batch", folder, "--out", out, "--sort-into", file / "sorted", *MINI_VGG)
    assert "2 not saved or sorted" in result.stderr
    run("batch", folder, "--resume", out, "--sort-into", tmp_path / "sorted", *MINI_VGG)
    names = sorted(path.name for path in (tmp_path / "sorted").rglob("*.jpg"))
    assert names == ["cat.jpg", "dog.jpg"]


def test_circular_links_are_errors_of_single_photos(folder: Path, tmp_path: Path) -> None:
    (folder / "b.jpg").symlink_to("c.jpg")
    (folder / "c.jpg").symlink_to("b.jpg")
    result = run("batch", folder, "--sort-into", tmp_path / "sorted", *MINI_VGG)
    assert "5 photos in " in result.stderr
    assert "3 failed" in result.stderr


def test_pipe_named_like_an_archive_is_rejected(tmp_path: Path) -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("needs POSIX pipes")
    os.mkfifo(tmp_path / "a.zip")
    assert "it is not a regular file" in run("batch", tmp_path / "a.zip", *MINI_VGG).stderr


def test_photos_can_be_sorted_within_their_own_folder(folder: Path) -> None:
    result = run("batch", folder, "--sort-into", folder, "--move", *MINI_VGG)
    assert "3 photos in " in result.stderr
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    assert names == ["bad.jpg", "cat/cat.jpg", "dog/dog.jpg"]


def test_photos_are_copied_or_moved_into_class_folders(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "sorted"
    run("batch", folder, "--sort-into", out, *MINI_VGG)
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.jpg"))
    assert names == ["cat/cat.jpg", "dog/dog.jpg"]
    assert (folder / "cat.jpg").exists()
    run("batch", folder, "--sort-into", out, "--move", *MINI_VGG)
    assert sorted(path.name for path in folder.rglob("*.jpg")) == ["bad.jpg"]
    assert len(list(out.rglob("*.jpg"))) == 2


def test_photo_that_cannot_be_sorted_does_not_stop_the_run(folder: Path, tmp_path: Path) -> None:
    """The same path is passed twice; the first move makes the second one impossible."""
    table, out = tmp_path / "results.csv", tmp_path / "sorted"
    paths = (folder / "cat.jpg", folder / "cat.jpg", folder / "subfolder")
    result = run("batch", *paths, "--out", table, "--sort-into", out, "--move", *MINI_VGG)
    assert result.exit_code == 1
    assert "1 not saved or sorted" in result.stderr
    assert [row["label_1"] for row in read_rows(table)] == ["cat", "cat", "dog"]
    assert (out / "dog" / "dog.jpg").exists()


def test_resume_keeps_annotated_photos_of_the_first_run(folder: Path, tmp_path: Path) -> None:
    table, annotated = tmp_path / "results.csv", tmp_path / "annotated"
    options = ("--annotate", annotated, *MINI_VGG)
    run("batch", folder / "subfolder", "--out", table, *options)
    first = (annotated / "dog.mini_vgg.png").read_bytes()
    shutil.copy(EXAMPLES / "cat.jpg", folder / "dog.jpg")
    run("batch", folder, "--resume", table, *options)
    assert (annotated / "dog.mini_vgg.png").read_bytes() == first
    assert (annotated / "dog-2.mini_vgg.png").exists()


def test_batch_does_not_classify_its_own_output(folder: Path) -> None:
    out = folder / "a-sorted"  # sorts before the photos
    for _ in range(2):
        result = run("batch", folder, "--sort-into", out, "--annotate", folder / "b", *MINI_VGG)
        assert "3 photos in " in result.stderr
    assert len(list(out.rglob("*.jpg"))) == 2
    assert sorted(path.name for path in (folder / "b").iterdir()) == [
        "cat.mini_vgg.png", "dog.mini_vgg.png",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "message", "status"),
    [
        ((), "Missing argument 'PATHS...'", 2),
        (("a", "--out", "a.csv", "--resume", "b.csv"), "either --out or --resume", 2),
        (("a", "--move"), "--move requires --sort-into", 2),
        (
            ("a", "--move", "--sort-into", "b", "--out", "a.parquet"),
            "--move requires a .csv or .jsonl table",
            2,
        ),
        (
            ("a", "--move", "--sort-into", "b", "--out", "a.PARQUET"),
            "--move requires a .csv or .jsonl table",
            2,
        ),
        (("a", "--model", "vgg61"), "Did you mean vgg19 or vgg16", 2),
        ((".", "--out", "a.xlsx", *MINI_VGG), "Use .csv, .jsonl or .parquet", 1),
        ((".", "--resume", "missing.csv", *MINI_VGG), "There is no table", 1),
        ((".", "--out", "a.csv"), "VGG_DEMO_OFFLINE", 1),
    ],
)
def test_wrong_usage_writes_nothing(
    arguments: tuple[str, ...],
    message: str,
    status: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("batch", *arguments)
    assert message in result.stderr
    assert result.exit_code == status
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("suffix", TABLE_FORMATS)
def test_ctrl_c_keeps_finished_rows(suffix: str, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / f"results.{suffix}"
    folder.mkdir()
    for number in range(2_000):
        (folder / f"{number:04}.jpg").symlink_to(EXAMPLES / "cat.jpg")
    arguments = [folder, "--out", out, *MINI_VGG, "--annotate", tmp_path / "annotated"]
    # A child of a background process ignores SIGINT by default.
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
    assert b"Resume with --resume" in errors
    assert b"Traceback" not in errors
    rows = list(read_rows(out))
    assert 8 <= len(rows) < 2_000
    assert [Path(row["file"]).stem for row in rows] == [f"{n:04}" for n in range(len(rows))]


def test_terminal_shows_a_progress_bar(folder: Path) -> None:
    """The bar shows progress, rate and failures, without messages of libraries."""
    pty = pytest.importorskip("pty", reason="needs POSIX terminals")
    termios = pytest.importorskip("termios")
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (25, 100))
    process = subprocess.Popen(
        [sys.executable, "-m", "vgg_demo", "batch", folder, *MINI_VGG],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    output = b""
    try:
        while chunk := os.read(leader, 65_536):
            output += chunk
    except OSError:  # the process has closed the terminal
        pass
    process.wait(60)
    text = output.decode()
    assert "3/3" in text
    assert "photos/s" in text
    assert "failed=1" in text
    assert "This is not an image" in text
    assert "oneDNN" not in text


def test_evaluate_prints_accuracy_and_json(shared: Path) -> None:
    photos = sorted((shared / "data" / "imagenet-sample").glob("n0212*"))
    arguments = [*photos, "--model", "mobilenet_v2", "--weights-dir", shared / "weights"]
    result = run("evaluate", *arguments)
    assert result.exit_code == 0
    assert result.stdout.startswith(
        f"mobilenet_v2 on {len(photos)} photos of {len(photos)} classes"
    )
    assert "95% confidence interval " in result.stdout
    document = json.loads(run("evaluate", *arguments, "--json").stdout)
    (evaluation,) = document["evaluations"]
    assert evaluation["top1"]["count"] == len(evaluation["classes"]) == len(photos)
    assert f"({evaluation['top1']['correct']} of {len(photos)};" in result.stdout


def test_evaluate_reads_labels_from_a_table(folder: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("image,label\ncat.jpg,tabby\nsubfolder/dog.jpg,cat\n")
    result = run("evaluate", folder, *MINI_VGG, "--labels", table)
    assert "mini_vgg on 2 photos" in result.stdout
    assert "1×  cat predicted as dog" in result.stdout
    assert "subfolder/dog.jpg: predicted dog 98%, true class cat" in result.stdout.replace(
        "\\", "/"
    )
    assert result.exit_code == 1  # bad.jpg is not an image


def test_evaluate_reports_labels_outside_the_model_classes(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "cat.jpg", tmp_path / "n02123045.jpg")
    shutil.copy(EXAMPLES / "moose.jpg", tmp_path / "n02504458.jpg")  # the WordNet ID of an elephant
    result = run("evaluate", tmp_path, *MINI_VGG)
    assert "mini_vgg: skipped 1 photo with a label that is not one of its classes" in result.stderr
    assert "mini_vgg on 1 photo of 1 class" in result.stdout


def test_label_of_a_group_accepts_every_class_of_the_group(shared: Path, tmp_path: Path) -> None:
    """MobileNetV2 has only breeds of cats and dogs as classes; any breed is correct."""
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        shutil.copy(EXAMPLES / f"{name}.jpg", tmp_path / name / "1.jpg")
    result = run("evaluate", tmp_path, "--weights-dir", shared / "weights",
                 "--model", "mobilenet_v2")  # fmt: skip
    assert "mobilenet_v2 on 2 photos of 2 classes" in result.stdout
    assert "top-1 accuracy      100.0%" in result.stdout


def test_evaluate_fails_if_no_label_is_a_class_of_the_model(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "moose.jpg", tmp_path / "n02504458.jpg")
    result = run("evaluate", tmp_path, *MINI_VGG)
    assert "mini_vgg: skipped 1 photo with a label that is not one of its classes" in result.stderr
    assert "No photo can be evaluated" in result.stderr
    assert (result.exit_code, result.stdout) == (1, "")


def test_evaluate_fails_without_labels(folder: Path, tmp_path: Path) -> None:
    for number, path in enumerate(folder.rglob("*.jpg")):
        path.rename(path.with_name(f"IMG_{number}.jpg"))
    result = run("evaluate", folder, *MINI_VGG)
    assert "Skipped 2 photos without a known label" in result.stderr
    assert "None of the photos has a known label" in result.stderr
    assert result.exit_code == 1
    assert "Cannot read" in run("evaluate", folder, "--labels", tmp_path / "no.csv").stderr


def test_missing_paths_start_no_table(tmp_path: Path) -> None:
    out = tmp_path / "results.csv"
    result = run("batch", tmp_path / "photos", tmp_path / "more.zip", "--out", out, *MINI_VGG)
    assert result.exit_code == 1
    assert f"No such file or folder: {str(tmp_path / 'photos')!r}, " in result.stderr
    assert not out.exists()
