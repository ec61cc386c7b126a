"""The command line, as a person or a script uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vgg_demo.cli import main
from vgg_demo.registry import MODELS

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "vgg_demo" / "data" / "examples"
CAT, DOG = str(EXAMPLES / "cat.jpg"), str(EXAMPLES / "dog.jpg")


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


def test_classify_prints_answers() -> None:
    result = run("classify", CAT, DOG, "--model", "mini_vgg", "--top", "2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 6
    assert lines[0].startswith(f"{CAT}  (mini_vgg, ")
    assert "cat  [n02121620]" in lines[1]
    assert "dog  [n02084071]" in lines[4]


def test_json_is_exactly_as_documented() -> None:
    result = run("classify", CAT, "--model", "mini_vgg", "--json", "--top", "3")
    document = json.loads(result.stdout)
    assert list(document) == ["schema", "results", "errors"]
    assert document["schema"] == 1
    assert document["errors"] == []
    (answer,) = document["results"]
    assert answer["file"] == CAT
    assert answer["model"] == "mini_vgg"
    assert answer["weights"]["verified"] is True
    assert answer["precision"] == "float32"
    assert answer["resize"] == "crop"
    assert [p["rank"] for p in answer["predictions"]] == [1, 2, 3]


def test_one_bad_file_does_not_stop_the_others(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("I am not a photo")
    missing = str(tmp_path / "missing.jpg")
    result = run("classify", CAT, str(text), missing, DOG, "--model", "mini_vgg", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert [r["file"] for r in document["results"]] == [CAT, DOG]
    assert [e["error"] for e in document["errors"]] == ["NotAnImageError", "FileUnreadableError"]
    assert all(list(e) == ["file", "error", "message"] for e in document["errors"])
    assert str(text) in result.stderr


@pytest.mark.parametrize("end", ["EXIT\n", "exit\n", ""])
def test_without_paths_it_asks_until_exit(end: str) -> None:
    result = run(
        "classify", "--model", "mini_vgg", "--top", "1", stdin=f"{CAT}\n\nnone.jpg\n'{DOG}'\n{end}"
    )
    assert result.exit_code == 1  # none.jpg
    assert "cat  [" in result.stdout
    assert "dog  [" in result.stdout
    assert "Cannot read 'none.jpg'" in result.stderr
    assert "EXIT to end" in result.stderr


def test_annotate(tmp_path: Path) -> None:
    result = run("classify", CAT, "--model", "mini_vgg", "--annotate", str(tmp_path / "new"))
    assert result.exit_code == 0
    assert (tmp_path / "new" / "cat.mini_vgg.png").read_bytes().startswith(b"\x89PNG")


def test_annotated_photos_of_one_name_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(Path(DOG).read_bytes())
    out = tmp_path / "out"
    other = str(tmp_path / "cat.jpg")
    run("classify", CAT, other, "--model", "mini_vgg", "--annotate", str(out))
    assert {path.name for path in out.iterdir()} == {"cat.mini_vgg.png", "cat-2.mini_vgg.png"}


def test_annotate_into_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("classify", CAT, "--model", "mini_vgg", "--annotate", str(tmp_path / "file/x"))
    assert result.exit_code == 1
    assert "Cannot write" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["classify", CAT, "--top", "0"],
        ["classify", CAT, "--resize", "melt"],
        ["classify", CAT, "--model", "vgg61"],
        ["classify", "--nonsense"],
        ["nonsense"],
        ["weights", "download"],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_unknown_model_is_told_near_matches() -> None:
    assert "Did you mean vgg" in run("classify", CAT, "--model", "vgg61").stderr


def test_missing_weights_say_what_to_fetch() -> None:
    result = run("classify", CAT)
    assert result.exit_code == 1
    assert "vgg16_weights_tf_dim_ordering_tf_kernels.h5 (553 MB)" in result.stderr
    assert "--model mini_vgg" in result.stderr
    assert "Downloading" not in result.stderr


def test_models_lists_all() -> None:
    lines = run("models").stdout.splitlines()
    assert len(lines) == 1 + len(MODELS)
    assert lines[1].split()[0] == "mini_vgg"
    assert lines[1].split()[5] == "yes"
    assert lines[1].endswith("CIFAR-10 test images")


def test_weights_list_and_verify(vgg16_dir: Path) -> None:
    listed = run("weights", "list", "--weights-dir", str(vgg16_dir))
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["mini_vgg", "vgg16"]
    verified = run("weights", "verify", "--weights-dir", str(vgg16_dir))
    assert verified.exit_code == 1
    words = [line.split()[:2] for line in verified.stdout.splitlines()]
    assert words == [["mini_vgg", "verified"], ["vgg16", "unverified"]]
    assert run("weights", "verify", "mini_vgg").exit_code == 0
    missing = run("weights", "verify", "xception")
    assert missing.exit_code == 1
    assert "not on this machine" in missing.stdout


def test_weights_download_offline() -> None:
    result = run("weights", "download", "xception")
    assert result.exit_code == 1
    assert "switched off" in result.stderr


def test_verify(tmp_path: Path, photos: dict[str, bytes], store) -> None:
    from vgg_demo.classify import classify
    from vgg_demo.receipt import make_receipt
    from vgg_demo.registry import get_spec

    receipt = tmp_path / "receipt.json"
    result = classify(photos["cat"], get_spec("mini_vgg"), store)
    receipt.write_text(json.dumps(make_receipt(result)))
    good = run("verify", str(receipt), CAT)
    assert good.exit_code == 0
    assert good.stdout.splitlines()[-1] == "The receipt holds."
    bad = run("verify", str(receipt), DOG)
    assert bad.exit_code == 1
    assert "does not hold" in bad.stdout
    assert "not JSON" in run("verify", CAT, CAT).stderr
    assert run("verify", "missing.json", CAT).exit_code == 1


def python(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.parametrize(
    "arguments", [["--help"], ["classify", "--help"], ["models"], ["weights", "list"]], ids=" ".join
)
def test_tensorflow_is_not_imported_needlessly(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom vgg_demo.cli import main\n"
        f"try: main({arguments!r})\n"
        "except SystemExit: pass\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert python("-c", code).returncode == 0


def test_stdout_is_nothing_but_json() -> None:
    process = python("-m", "vgg_demo", "classify", CAT, "--model", "mini_vgg", "--json")
    assert process.returncode == 0
    assert json.loads(process.stdout)["results"]


def test_the_command_line_needs_no_streamlit() -> None:
    code = (
        "import sys\nsys.modules['streamlit'] = None\nfrom vgg_demo.cli import main\n"
        f"main(['classify', {CAT!r}, '--model', 'mini_vgg'])"
    )
    process = python("-c", code)
    assert process.returncode == 0, process.stderr
    assert "cat  [" in process.stdout
