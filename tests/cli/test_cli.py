"""`classify`, `compare`, `models`, `weights` and `verify`, called as commands."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from vgg_demo.cli import main
from vgg_demo.errors import FileUnreadableError, WeightsDownloadError
from vgg_demo.images.decode import read_file
from vgg_demo.inference.classify import classify
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.registry import MODELS, get_spec
from vgg_demo.reports.receipt import make_receipt

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "vgg_demo" / "data" / "examples"
CAT, DOG = str(EXAMPLES / "cat.jpg"), str(EXAMPLES / "dog.jpg")


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


def test_classify_prints_predictions() -> None:
    result = run("classify", CAT, DOG, "--model", "mini_vgg", "--top", "2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 8
    assert lines[0].startswith(f"{CAT}  (mini_vgg, ")
    assert lines[1].startswith("  A cat, ")
    assert "cat  [n02121620]" in lines[2]
    assert "dog  [n02084071]" in lines[6]


def test_classes_of_mini_vgg_are_listed_once() -> None:
    message = "Mini-VGG has only 10 classes: airplane, automobile, bird, cat, deer, dog, frog"
    assert run("classify", CAT, DOG, "--model", "mini_vgg").stderr.count(message) == 1
    assert message not in run("classify", CAT).stderr


def test_uncertain_predictions_are_marked(shared: Path) -> None:
    arguments = ["--model", "mobilenet_v2", "--weights-dir", str(shared / "weights")]
    rocket = run("classify", str(EXAMPLES / "rocket.jpg"), *arguments)
    assert "A man-made object, " in rocket.stdout
    assert "; not sure which one, perhaps a missile, " in rocket.stdout
    moose = run("classify", str(EXAMPLES / "moose.jpg"), *arguments)
    assert "  Not sure – perhaps an ibex, " in moose.stdout
    cat = run("classify", CAT, *arguments)
    assert "  A domestic cat, 96%; most likely an Egyptian cat, " in cat.stdout


def test_json_has_the_documented_keys() -> None:
    result = run("classify", CAT, "--model", "mini_vgg", "--json", "--top", "3")
    document = json.loads(result.stdout)
    assert list(document) == ["schema", "results", "errors"]
    assert document["schema"] == 1
    assert document["errors"] == []
    (classification,) = document["results"]
    assert classification["file"] == CAT
    assert classification["model"] == "mini_vgg"
    assert classification["weights"]["verified"] is True
    assert classification["precision"] == "float32"
    assert classification["resize"] == "crop"
    assert [p["rank"] for p in classification["predictions"]] == [1, 2, 3]


def test_unusable_file_does_not_stop_the_others(tmp_path: Path) -> None:
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
def test_classify_prompts_for_paths_until_exit(end: str) -> None:
    result = run(
        "classify", "--model", "mini_vgg", "--top", "1", stdin=f"{CAT}\n\nnone.jpg\n'{DOG}'\n{end}"
    )
    assert result.exit_code == 1  # none.jpg
    assert "cat  [" in result.stdout
    assert "dog  [" in result.stdout
    assert "Cannot read 'none.jpg'" in result.stderr
    assert "EXIT to quit" in result.stderr


def test_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from vgg_demo.inference import engine

    loaded = []
    load = engine.load_engine
    monkeypatch.setattr(
        engine, "load_engine", lambda spec, path: loaded.append(spec) or load(spec, path)
    )
    result = run("classify", "--model", "mini_vgg", "--top", "1", stdin=f"{CAT}\n{DOG}\n{CAT}\n")
    assert result.exit_code == 0
    assert len(result.stdout.splitlines()) == 9
    assert len(loaded) == 1


@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes")
def test_file_replaced_by_a_pipe_is_rejected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = Path(CAT).stat()
    monkeypatch.setattr(Path, "stat", lambda *_: before)
    with pytest.raises(FileUnreadableError, match="it is a pipe"):
        read_file(str(tmp_path / "pipe"))


def test_annotate_saves_a_png(tmp_path: Path) -> None:
    result = run("classify", CAT, "--model", "mini_vgg", "--annotate", str(tmp_path / "new"))
    assert result.exit_code == 0
    assert (tmp_path / "new" / "cat.mini_vgg.png").read_bytes().startswith(b"\x89PNG")


def test_annotated_photos_with_the_same_name_are_numbered(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(Path(DOG).read_bytes())
    out = tmp_path / "out"
    other = str(tmp_path / "cat.jpg")
    run("classify", CAT, other, "--model", "mini_vgg", "--annotate", str(out))
    assert {path.name for path in out.iterdir()} == {"cat.mini_vgg.png", "cat-2.mini_vgg.png"}


def test_annotated_photos_never_overwrite_each_other(tmp_path: Path) -> None:
    (tmp_path / "cat-2.jpg").write_bytes(Path(DOG).read_bytes())
    (tmp_path / "Cat.jpg").write_bytes(Path(DOG).read_bytes())
    out = tmp_path / "out"
    photos = [CAT, str(tmp_path / "cat-2.jpg"), str(tmp_path / "Cat.jpg")]
    run("classify", *photos, "--model", "mini_vgg", "--annotate", str(out))
    names = {"cat.mini_vgg.png", "cat-2.mini_vgg.png", "Cat-3.mini_vgg.png"}
    assert {path.name for path in out.iterdir()} == names


def test_result_is_printed_even_if_its_annotated_photo_cannot_be_saved(tmp_path: Path) -> None:
    (tmp_path / "cat.mini_vgg.png").mkdir()
    result = run("classify", CAT, "--model", "mini_vgg", "--annotate", str(tmp_path), "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert len(document["results"]) == 1
    assert [error["error"] for error in document["errors"]] == ["FileUnwritableError"]


def test_annotate_into_an_invalid_folder_fails_early(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("classify", CAT, "--model", "mini_vgg", "--annotate", str(tmp_path / "file/x"))
    assert result.exit_code == 1
    assert "Cannot write" in result.stderr
    assert result.stdout == ""  # fails before a model is loaded


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


def test_unknown_model_suggests_near_matches() -> None:
    assert "Did you mean vgg" in run("classify", CAT, "--model", "vgg61").stderr


def test_missing_weights_error_names_the_file() -> None:
    result = run("classify", CAT)
    assert result.exit_code == 1
    assert "vgg16_weights_tf_dim_ordering_tf_kernels.h5 (553 MB)" in result.stderr
    assert "--model mini_vgg" in result.stderr
    assert "Downloading" not in result.stderr


def test_failing_download_server_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = []

    def fail(*_: object) -> None:
        attempts.append(1)
        raise WeightsDownloadError("The server does not respond.")

    monkeypatch.setattr("vgg_demo.cli.classify.prepare_model", fail)
    result = run("classify", CAT, "none.jpg", DOG, "--json")
    errors = [error["error"] for error in json.loads(result.stdout)["errors"]]
    assert errors == ["WeightsDownloadError", "FileUnreadableError", "WeightsDownloadError"]
    assert len(attempts) == 1
    attempts.clear()
    assert run("classify", stdin=f"{CAT}\n{CAT}\n").exit_code == 1
    assert len(attempts) == 2  # between prompts, the user may have fixed the cause


def test_models_lists_all_models() -> None:
    lines = run("models").stdout.splitlines()
    assert len(lines) == 1 + len(MODELS)
    assert lines[1].split()[0] == "mini_vgg"
    assert lines[1].split()[5] == "yes"
    assert lines[1].endswith("% CIFAR-10")
    assert max(map(len, lines)) < 80


def test_models_prints_json(vgg16_dir: Path) -> None:
    result = run("models", "--json", "--verify", "--weights-dir", str(vgg16_dir))
    models = {model["name"]: model for model in json.loads(result.stdout)["models"]}
    assert list(models) == list(MODELS)
    assert models["mini_vgg"]["verified"] is True
    assert models["vgg16"]["verified"] is False
    assert models["vgg16"]["path"] == str(vgg16_dir / get_spec("vgg16").weights.name)
    assert models["vgg19"]["path"] is models["vgg19"]["verified"] is None
    assert models["vgg19"]["accuracy"]["top1"] == 71.3
    unverified = json.loads(run("models", "--json", "--weights-dir", str(vgg16_dir)).stdout)
    assert {model["verified"] for model in unverified["models"]} == {None}


def test_models_verify_shows_the_status_of_installed_files(vgg16_dir: Path) -> None:
    lines = run("models", "--verify", "--weights-dir", str(vgg16_dir)).stdout.splitlines()[1:]
    status = {line.split()[0]: line.split()[5] for line in lines}
    assert {name: word for name, word in status.items() if word != "no"} == {
        "mini_vgg": "verified",
        "vgg16": "unverified",
    }


def test_models_shows_which_are_installed(vgg16_dir: Path) -> None:
    lines = run("models", "--weights-dir", str(vgg16_dir)).stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines if line.split()[5] == "yes"] == ["mini_vgg", "vgg16"]


def test_weights_list_and_verify_cover_all_installed_files(vgg16_dir: Path) -> None:
    listed = run("weights", "list", "--weights-dir", str(vgg16_dir))
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["mini_vgg", "vgg16"]
    verified = run("weights", "verify", "--weights-dir", str(vgg16_dir))
    assert verified.exit_code == 1
    statuses = [line.split()[:2] for line in verified.stdout.splitlines()]
    assert statuses == [["mini_vgg", "verified"], ["vgg16", "different"]]
    assert run("weights", "verify", "mini_vgg").exit_code == 0
    missing = run("weights", "verify", "xception")
    assert missing.exit_code == 1
    assert "not installed" in missing.stdout


def test_weights_download_fails_offline() -> None:
    result = run("weights", "download", "xception", "mini_vgg")
    assert result.exit_code == 1
    assert "xception: " in result.stderr
    assert "downloads are disabled" in result.stderr
    assert result.stdout.startswith("mini_vgg: ")  # a failure does not stop the other downloads


def test_weights_verify_reports_files_without_a_published_hash(tmp_path: Path) -> None:
    (tmp_path / get_spec("mobilenet").weights.name).write_bytes(b"anything")
    result = run("weights", "verify", "mobilenet", "--weights-dir", str(tmp_path))
    assert result.exit_code == 1
    assert "unverified" in result.stdout
    assert "publishes no hash" in result.stderr


def test_weights_dir_of_an_unknown_user_is_an_error() -> None:
    result = run("models", "--weights-dir", "~no-such-user/weights")
    assert result.exit_code == 1
    assert "Cannot read the weights folder ~no-such-user/weights" in result.stderr


def test_compare_prints_a_table_and_the_agreement(shared: Path) -> None:
    result = run("compare", CAT, "--weights-dir", str(shared / "weights"), "--repeat", "1")
    assert result.exit_code == 0
    header, *rows, all_models, majority, average = result.stdout.splitlines()
    assert header.split() == ["model", "time", "memory", "top-1", "prediction"]
    assert [line.split()[0] for line in rows] == [
        "mini_vgg", "mobilenet_v2", "mobilenet_v3_small",
    ]  # fmt: skip
    assert "% CIFAR-10" in rows[0]
    assert "71.3% ImageNet" in rows[1]
    verdict = "A domestic cat, 96%; most likely an Egyptian cat, 65% (unverified weights)"
    assert rows[1].endswith(verdict)
    assert "unverified" not in rows[0]
    assert all_models == "all 3 predict: a cat"
    assert majority == "2 of 3 predict: an Egyptian cat"
    assert average.startswith("average of 2 models: A domestic cat, ")


def test_compare_continues_after_a_model_failure() -> None:
    result = run("compare", CAT, "--models", "vgg16,mini_vgg,MINI_VGG", "--json", "--top", "2")
    assert result.exit_code == 1
    assert result.stderr.startswith("vgg16: VGG16 is not installed")
    document = json.loads(result.stdout)
    (classification,) = document["results"]
    assert classification["file"] == CAT
    assert len(classification["predictions"]) == 2
    assert len(classification["runs"]["seconds"]) == 5
    assert [error["model"] for error in document["errors"]] == ["vgg16"]


def test_compare_prints_csv() -> None:
    result = run("compare", CAT, "--models", "mini_vgg", "--csv")
    (row,) = csv.DictReader(result.stdout.splitlines())
    assert (row["model"], row["label"], row["sure"]) == ("mini_vgg", "cat", "True")
    assert 0 < float(row["median_ms"]) <= float(row["p95_ms"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--models", "mini_vgg", "--json", "--csv"], "either --json or --csv"),
        (["--models", " , "], "--models is empty"),
        (["--models", "mini_vgg,vgg61"], "Did you mean vgg19 or vgg16"),
        (["--repeat", "0"], "0 is not in the range"),
    ],
)
def test_compare_rejects_wrong_usage(arguments: list[str], message: str) -> None:
    result = run("compare", CAT, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_compare_fails_for_an_unusable_photo(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("I am not a photo")
    result = run("compare", str(tmp_path / "text.jpg"), "--models", "mini_vgg")
    assert result.exit_code == 1
    assert "not an image" in result.stderr
    assert result.stdout == ""


def test_memory_budget_that_is_too_small_is_an_error(
    monkeypatch: pytest.MonkeyPatch, shared: Path
) -> None:
    monkeypatch.setenv("VGG_DEMO_MEMORY_MB", "50")
    arguments = ["--model", "mobilenet_v2", "--weights-dir", str(shared / "weights")]
    result = run("classify", CAT, *arguments)
    assert result.exit_code == 1
    assert "MobileNetV2 requires 14 MB of memory. The memory budget is 50 MB" in result.stderr
    assert "Always available: --model mini_vgg" in result.stderr


@pytest.fixture
def receipt(photos: dict[str, bytes], store: ModelStore) -> dict[str, Any]:
    return make_receipt(classify(photos["cat"], get_spec("mini_vgg"), store))


def test_verify_confirms_a_receipt_only_for_its_photo(
    tmp_path: Path, receipt: dict[str, Any]
) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(receipt))
    confirmed = run("verify", str(path), CAT)
    assert confirmed.exit_code == 0
    assert confirmed.stdout.splitlines()[-1] == "Receipt confirmed."
    refuted = run("verify", str(path), DOG)
    assert refuted.exit_code == 1
    assert "Receipt not confirmed." in refuted.stdout
    for arguments in [("missing.json", CAT), (str(path), "missing.jpg"), (str(tmp_path), CAT)]:
        result = run("verify", *arguments)
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: Cannot read ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not JSON"),
        (b"\xff\xd8\xff\xe0", "not JSON"),
        (b"[" * 100_000, "not JSON (maximum recursion depth"),
        (b'{"receipt":' + b"[" * 900 + b"]" * 900 + b"}", "'receipt' is not an integer"),
        (b" " * (2**20 + 1), "larger than 1 MB"),
        (b'{"receipt": 9}', "its version is not 1"),
    ],
    ids=["empty", "photo", "too deep", "deep", "long", "version"],
)
def test_invalid_receipts_are_errors(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "receipt.json"
    path.write_bytes(content)
    result = run("verify", str(path), CAT)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert message in result.stderr
    assert "downloaded as the receipt of a result" in result.stderr


@pytest.mark.parametrize(
    ("change", "exit_code", "message"),
    [
        (lambda r: r.update(model="vgg61"), 1, "its model 'vgg61' is unknown"),
        (lambda r: r.update(model="Mini-VGG"), 1, "its model 'Mini-VGG' is unknown"),
        (lambda r: r.update(resize="\x1b[2J"), 1, r"'\x1b[2J' is unknown"),
        (lambda r: r["predictions"][0].update(rank=7), 1, "are not the most probable"),
        (lambda r: r["predictions"][0].update(rank="1"), 1, "'rank' is not an integer"),
        (lambda r: r["weights"].update(verified=False), 1, "The weight file is different"),
        (
            lambda r: r["versions"].update(keras="\x1b[2J\n"),
            0,
            r"made with keras \x1b[2J\n; the installed",
        ),
        (lambda r: r["versions"].update({"\x1b[2J": "1"}), 0, "Receipt confirmed."),
    ],
    ids=["model", "alias", "resize", "rank", "type", "verified", "version", "package"],
)
def test_edited_receipts_are_not_confirmed(
    tmp_path: Path,
    receipt: dict[str, Any],
    change: Callable[[dict[str, Any]], None],
    exit_code: int,
    message: str,
) -> None:
    change(receipt)
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(receipt))
    result = run("verify", str(path), CAT)
    assert result.exit_code == exit_code
    assert message in result.output
    assert "\x1b" not in result.output
