"""The command line as a separate process: streams, signals and exit status."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
CAT = str(ROOT / "vgg_demo" / "data" / "examples" / "cat.jpg")
VGG_DEMO = ("-m", "vgg_demo")
MINI_VGG = ("classify", "--model", "mini_vgg", "--top", "1")
SCOPE = (
    b"Mini-VGG has only 10 classes: airplane, automobile, bird, cat, deer, dog, frog, horse, "
    b"ship, truck. Every photo is assigned to one of them.\n"
)

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX files and signals")
linux = pytest.mark.skipif(sys.platform != "linux", reason="needs file names with arbitrary bytes")
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")


def python(*arguments: str, **options: Any) -> subprocess.CompletedProcess[bytes]:
    environment = os.environ | options.pop("environment", {})
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # conftest.py sets it; users do not
    if "stdout" not in options:
        options["stdout"] = subprocess.PIPE
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        check=False,
        timeout=120,
        **options,
    )


def test_stderr_contains_no_messages_of_libraries() -> None:
    process = python(*VGG_DEMO, *MINI_VGG, CAT, "--json")
    assert process.returncode == 0
    assert process.stderr == SCOPE
    assert json.loads(process.stdout)["results"]


def test_verify_prints_nothing_to_stderr(tmp_path: Path) -> None:
    code = (
        "import json, sys, pathlib\n"
        "from vgg_demo import ModelStore, Settings, classify, get_spec\n"
        "from vgg_demo.reports.receipt import make_receipt\n"
        f"data = pathlib.Path({CAT!r}).read_bytes()\n"
        "result = classify(data, get_spec('mini_vgg'), ModelStore(Settings()))\n"
        "print(json.dumps(make_receipt(result)))"
    )
    receipt = tmp_path / "receipt.json"
    receipt.write_bytes(python("-c", code).stdout)
    process = python(*VGG_DEMO, "verify", str(receipt), CAT)
    assert process.stdout.endswith(b"Receipt confirmed.\n")
    assert process.stderr == b""


def test_damaged_photo_is_reported_without_library_messages(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.tif"
    with Image.open(CAT) as image:
        image.save(damaged, compression="tiff_lzw")
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 99] = b"\xff" * 99  # libtiff writes a warning to stderr
    damaged.write_bytes(data)
    process = python(*VGG_DEMO, *MINI_VGG, str(damaged))
    assert process.returncode == 1
    assert len(process.stderr.splitlines()) == 1
    assert b"The image is damaged" in process.stderr


def test_errors_while_importing_tensorflow_are_visible() -> None:
    code = "import sys\nsys.modules['tensorflow'] = None\nfrom vgg_demo.cli import main\n"
    process = python("-c", f"{code}main([*{MINI_VGG!r}, {CAT!r}])")
    assert process.returncode == 1
    assert b"ModuleNotFoundError: " in process.stderr


@posix
@pytest.mark.parametrize("closed", ["0", "1", "2"])
def test_closed_standard_streams_are_no_error(closed: str) -> None:
    command = [sys.executable, *VGG_DEMO, *MINI_VGG, *([] if closed == "0" else [CAT])]
    process = subprocess.run(
        ["sh", "-c", f'exec "$@" {closed}>&-', "sh", *command],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert process.returncode == 0
    assert b"Traceback" not in process.stderr
    assert (b"cat  [" in process.stdout) is (closed == "2")


@posix
def test_csv_to_a_closed_stdout_raises_no_traceback() -> None:
    command = [sys.executable, *VGG_DEMO, "compare", CAT, "--models", "mini_vgg", "--csv"]
    process = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *command],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=120,
    )
    assert b"Traceback" not in process.stderr


@posix
def test_special_files_are_rejected_at_once(tmp_path: Path) -> None:
    pipe = str(tmp_path / "pipe.jpg")
    os.mkfifo(pipe)
    process = python(*VGG_DEMO, *MINI_VGG, pipe, "/dev/zero", str(tmp_path), "--json")
    assert process.returncode == 1
    messages = [error["message"] for error in json.loads(process.stdout)["errors"]]
    assert "it is a pipe," in messages[0]
    assert "it is a device" in messages[1]
    assert "it is a folder," in messages[2]
    receipt = python(*VGG_DEMO, "verify", pipe, CAT)
    assert b"it is a pipe" in receipt.stderr


HOSTILE = os.fsdecode("a\x1b[2J\n\u202egpj.".encode() + b"\xff.jpg")
ESCAPED = rb"a\x1b[2J\n\u202egpj.\udcff.jpg"


@linux
@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1"}],
    ids=str,
)
def test_control_characters_in_file_names_are_escaped(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    shutil.copy(CAT, tmp_path / HOSTILE)
    shutil.copy(CAT, tmp_path / "猫.jpg")
    photos = [str(tmp_path / HOSTILE), str(tmp_path / "猫.jpg"), f"missing {HOSTILE}"]
    process = python(*VGG_DEMO, *MINI_VGG, *photos, environment=environment)
    assert process.returncode == 1
    assert len(process.stdout.splitlines()) == 6
    assert ESCAPED in process.stdout
    assert len(process.stderr.splitlines()) == 2
    assert ESCAPED in process.stderr
    output = process.stdout + process.stderr
    assert not any(raw in output for raw in (b"\x1b", b"\xff", "\u202e".encode()))


@posix
def test_json_preserves_file_names(tmp_path: Path) -> None:
    shutil.copy(CAT, tmp_path / HOSTILE)
    photos = [str(tmp_path / HOSTILE), f"missing {HOSTILE}"]
    annotated = tmp_path / "\x1b[2J"
    process = python(*VGG_DEMO, *MINI_VGG, *photos, "--json", "--annotate", str(annotated))
    assert process.stdout.isascii()
    document = json.loads(process.stdout)
    assert [result["file"] for result in document["results"]] == photos[:1]
    assert [error["file"] for error in document["errors"]] == photos[1:]
    assert b"\x1b" not in process.stderr
    assert len(list(annotated.iterdir())) == 1


@posix
@pytest.mark.parametrize(
    "arguments",
    [("--\x1b[2J\nx",), ("\x1b[2J\nx",), ("classify", "--\x1b[2J\nx"), ("models", "\x1b[2J\nx")],
    ids=["option", "command", "option of a command", "too many"],
)
def test_usage_errors_escape_control_characters(arguments: tuple[str, ...]) -> None:
    process = python(*VGG_DEMO, *arguments)
    assert process.returncode == 2
    assert rb"\x1b[2J\nx" in process.stderr
    assert b"\x1b" not in process.stderr


@needs_dev_full
@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("models", "--help"), ("models",), (*MINI_VGG, CAT), (*MINI_VGG, CAT, "--json")],
    ids=" ".join,
)
def test_full_disk_is_reported(arguments: tuple[str, ...]) -> None:
    with open("/dev/full", "wb") as full:
        process = python(*VGG_DEMO, *arguments, stdout=full)
    assert process.returncode == 1
    message = b"Error: Cannot write the output (No space left on device). Redirect it elsewhere.\n"
    assert process.stderr.removeprefix(SCOPE) == message


@posix
@pytest.mark.parametrize("arguments", [("models",), (*MINI_VGG, CAT)], ids=" ".join)
def test_closed_pipe_ends_the_command_silently(arguments: tuple[str, ...]) -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = python(*VGG_DEMO, *arguments, stdout=write_end)
    os.close(write_end)
    assert process.returncode == 1
    assert process.stderr.removeprefix(SCOPE) == b""


@linux
def test_prompt_accepts_quoted_paths_home_folders_and_any_bytes(tmp_path: Path) -> None:
    latin = os.fsdecode("käse.jpg".encode("latin-1"))
    shutil.copy(CAT, tmp_path / latin)
    shutil.copy(CAT, tmp_path / "it's.jpg")
    lines = [b"", b"~/it's.jpg", b"  ", os.fsencode(tmp_path / latin), b"'~/it's.jpg'", b"\0"]
    process = python(
        *VGG_DEMO,
        *MINI_VGG,
        "--json",
        input=b"\n".join(lines),
        environment={"HOME": str(tmp_path)},
    )
    document = json.loads(process.stdout)
    named, raw = str(tmp_path / "it's.jpg"), str(tmp_path / latin)
    assert [result["file"] for result in document["results"]] == [named, raw, named]
    assert [error["error"] for error in document["errors"]] == ["FileUnreadableError"]
    assert process.stderr.count(b"EXIT to quit") == 7
    assert process.stderr.endswith(b"(EXIT to quit): \n")


@posix
def test_ctrl_c_at_the_prompt_prints_the_results() -> None:
    # A child of a background process ignores SIGINT by default.
    code = (
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        f"from vgg_demo.cli import main\nmain([*{MINI_VGG!r}, '--json'])"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    prompt = b"Photo path (EXIT to quit): "
    assert process.stderr is not None
    assert process.stderr.read(len(prompt)) == prompt
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(stdout) == {"schema": 1, "results": [], "errors": []}
    assert stderr == b"\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["classify", "--help"],
        ["models"],
        ["models", "--help"],
        ["verify", "--help"],
        ["weights", "--help"],
        ["weights", "list"],
    ],
    ids=" ".join,
)
def test_commands_that_load_no_model_do_not_import_tensorflow(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom vgg_demo.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    process = python("-c", code)
    assert process.returncode == 0
    if "--help" in arguments:
        assert b"Example: vgg-demo " in process.stdout


def test_command_line_works_without_streamlit() -> None:
    code = (
        "import sys\nsys.modules['streamlit'] = None\nfrom vgg_demo.cli import main\n"
        f"main([*{MINI_VGG!r}, {CAT!r}])"
    )
    process = python("-c", code)
    assert process.returncode == 0, process.stderr
    assert b"cat  [" in process.stdout
