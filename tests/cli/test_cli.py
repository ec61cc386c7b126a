"""The command line, as a person or a script uses it."""

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
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.registry import MODELS, get_spec
from vgg_demo.reports.receipt import make_receipt

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "vgg_demo" / "data" / "examples"
CAT, DOG = str(EXAMPLES / "cat.jpg"), str(EXAMPLES / "dog.jpg")


def run(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=stdin)


def test_classify_prints_answers() -> None:
    result = run("classify", CAT, DOG, "--model", "mini_vgg", "--top", "2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert len(lines) == 8
    assert lines[0].startswith(f"{CAT}  (mini_vgg, ")
    assert lines[1].startswith("  A cat, ")
    assert "cat  [n02121620]" in lines[2]
    assert "dog  [n02084071]" in lines[6]


def test_mini_vgg_says_once_what_it_knows() -> None:
    words = "Mini-VGG knows 10 things only: airplane, automobile, bird, cat, deer, dog, frog"
    assert run("classify", CAT, DOG, "--model", "mini_vgg").stderr.count(words) == 1
    assert words not in run("classify", CAT).stderr


def test_doubt_has_a_word(shared: Path) -> None:
    arguments = ["--model", "mobilenet_v2", "--weights-dir", str(shared / "weights")]
    rocket = run("classify", str(EXAMPLES / "rocket.jpg"), *arguments)
    assert "A man-made thing, " in rocket.stdout
    assert "; unsure which one, perhaps a missile, " in rocket.stdout
    moose = run("classify", str(EXAMPLES / "moose.jpg"), *arguments)
    assert "  Not sure – perhaps an ibex, " in moose.stdout
    cat = run("classify", CAT, *arguments)
    assert "  A domestic cat, 96%; most likely an Egyptian cat, " in cat.stdout


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


def test_the_model_is_loaded_once(monkeypatch: pytest.MonkeyPatch) -> None:
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
def test_a_file_that_becomes_a_pipe_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    before = Path(CAT).stat()
    monkeypatch.setattr(Path, "stat", lambda *_: before)
    with pytest.raises(FileUnreadableError, match="it is a pipe"):
        read_file(str(tmp_path / "pipe"))


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


def test_no_annotated_photo_takes_the_place_of_another(tmp_path: Path) -> None:
    (tmp_path / "cat-2.jpg").write_bytes(Path(DOG).read_bytes())
    (tmp_path / "Cat.jpg").write_bytes(Path(DOG).read_bytes())
    out = tmp_path / "out"
    photos = [CAT, str(tmp_path / "cat-2.jpg"), str(tmp_path / "Cat.jpg")]
    run("classify", *photos, "--model", "mini_vgg", "--annotate", str(out))
    names = {"cat.mini_vgg.png", "cat-2.mini_vgg.png", "Cat-3.mini_vgg.png"}
    assert {path.name for path in out.iterdir()} == names


def test_an_answer_that_cannot_be_saved_is_still_given(tmp_path: Path) -> None:
    (tmp_path / "cat.mini_vgg.png").mkdir()
    result = run("classify", CAT, "--model", "mini_vgg", "--annotate", str(tmp_path), "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert len(document["results"]) == 1
    assert [error["error"] for error in document["errors"]] == ["FileUnwritableError"]


def test_annotate_into_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = run("classify", CAT, "--model", "mini_vgg", "--annotate", str(tmp_path / "file/x"))
    assert result.exit_code == 1
    assert "Cannot write" in result.stderr
    assert result.stdout == ""  # told before anything is loaded


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


def test_a_server_that_fails_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fail(*_: object) -> None:
        asked.append(1)
        raise WeightsDownloadError("The server is gone.")

    monkeypatch.setattr("vgg_demo.cli.classify.prepare_model", fail)
    result = run("classify", CAT, "none.jpg", DOG, "--json")
    errors = [error["error"] for error in json.loads(result.stdout)["errors"]]
    assert errors == ["WeightsDownloadError", "FileUnreadableError", "WeightsDownloadError"]
    assert len(asked) == 1
    asked.clear()
    assert run("classify", stdin=f"{CAT}\n{CAT}\n").exit_code == 1
    assert len(asked) == 2  # whoever types may have helped meanwhile


def test_models_lists_all() -> None:
    lines = run("models").stdout.splitlines()
    assert len(lines) == 1 + len(MODELS)
    assert lines[1].split()[0] == "mini_vgg"
    assert lines[1].split()[5] == "yes"
    assert lines[1].endswith("% CIFAR-10")
    assert max(map(len, lines)) < 80


def test_models_as_json(vgg16_dir: Path) -> None:
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


def test_models_can_be_verified(vgg16_dir: Path) -> None:
    lines = run("models", "--verify", "--weights-dir", str(vgg16_dir)).stdout.splitlines()[1:]
    here = {line.split()[0]: line.split()[5] for line in lines}
    assert {name: word for name, word in here.items() if word != "no"} == {
        "mini_vgg": "verified",
        "vgg16": "unverified",
    }


def test_models_knows_what_is_here(vgg16_dir: Path) -> None:
    lines = run("models", "--weights-dir", str(vgg16_dir)).stdout.splitlines()[1:]
    assert [line.split()[0] for line in lines if line.split()[5] == "yes"] == ["mini_vgg", "vgg16"]


def test_weights_list_and_verify(vgg16_dir: Path) -> None:
    listed = run("weights", "list", "--weights-dir", str(vgg16_dir))
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["mini_vgg", "vgg16"]
    verified = run("weights", "verify", "--weights-dir", str(vgg16_dir))
    assert verified.exit_code == 1
    words = [line.split()[:2] for line in verified.stdout.splitlines()]
    assert words == [["mini_vgg", "verified"], ["vgg16", "different"]]
    assert run("weights", "verify", "mini_vgg").exit_code == 0
    missing = run("weights", "verify", "xception")
    assert missing.exit_code == 1
    assert "not on this machine" in missing.stdout


def test_weights_download_offline() -> None:
    result = run("weights", "download", "xception", "mini_vgg")
    assert result.exit_code == 1
    assert "xception: " in result.stderr
    assert "switched off" in result.stderr
    assert result.stdout.startswith("mini_vgg: ")  # one that fails does not stop the others


def test_weights_verify_says_where_nothing_is_published(tmp_path: Path) -> None:
    (tmp_path / get_spec("mobilenet").weights.name).write_bytes(b"anything")
    result = run("weights", "verify", "mobilenet", "--weights-dir", str(tmp_path))
    assert result.exit_code == 1
    assert "unverified" in result.stdout
    assert "publishes no hash" in result.stderr


def test_a_home_that_is_nobodys() -> None:
    result = run("models", "--weights-dir", "~nobody-of-that-name/weights")
    assert result.exit_code == 1
    assert "Cannot look into the weights folder ~nobody-of-that-name/weights" in result.stderr


def test_compare(shared: Path) -> None:
    result = run("compare", CAT, "--weights-dir", str(shared / "weights"), "--repeat", "1")
    assert result.exit_code == 0
    head, *answers, everybody, most, mean = result.stdout.splitlines()
    assert head.split() == ["model", "time", "memory", "top-1", "answer"]
    assert [line.split()[0] for line in answers] == [
        "mini_vgg", "mobilenet_v2", "mobilenet_v3_small",
    ]  # fmt: skip
    assert "% CIFAR-10" in answers[0]
    assert "71.3% ImageNet" in answers[1]
    words = "A domestic cat, 96%; most likely an Egyptian cat, 65% (unverified weights)"
    assert answers[1].endswith(words)
    assert "unverified" not in answers[0]
    assert everybody == "all 3 say: a cat"
    assert most == "2 of 3 say: an Egyptian cat"
    assert mean.startswith("mean of 2: A domestic cat, ")


def test_compare_goes_on_without_a_model() -> None:
    result = run("compare", CAT, "--models", "vgg16,mini_vgg,MINI_VGG", "--json", "--top", "2")
    assert result.exit_code == 1
    assert result.stderr.startswith("vgg16: The weights of VGG16 are not on this machine")
    document = json.loads(result.stdout)
    (answer,) = document["results"]
    assert answer["file"] == CAT
    assert len(answer["predictions"]) == 2
    assert len(answer["runs"]["seconds"]) == 5
    assert [error["model"] for error in document["errors"]] == ["vgg16"]


def test_compare_as_csv() -> None:
    result = run("compare", CAT, "--models", "mini_vgg", "--csv")
    (row,) = csv.DictReader(result.stdout.splitlines())
    assert (row["model"], row["label"], row["sure"]) == ("mini_vgg", "cat", "True")
    assert 0 < float(row["median_ms"]) <= float(row["p95_ms"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--models", "mini_vgg", "--json", "--csv"], "one of --json and --csv"),
        (["--models", " , "], "names no model"),
        (["--models", "mini_vgg,vgg61"], "Did you mean vgg19 or vgg16"),
        (["--repeat", "0"], "0 is not in the range"),
    ],
)
def test_compare_used_wrongly(arguments: list[str], words: str) -> None:
    result = run("compare", CAT, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_compare_a_bad_photo(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("I am not a photo")
    result = run("compare", str(tmp_path / "text.jpg"), "--models", "mini_vgg")
    assert result.exit_code == 1
    assert "not a picture" in result.stderr
    assert result.stdout == ""


def test_a_budget_that_is_too_small(monkeypatch: pytest.MonkeyPatch, shared: Path) -> None:
    monkeypatch.setenv("VGG_DEMO_MEMORY_MB", "50")
    arguments = ["--model", "mobilenet_v2", "--weights-dir", str(shared / "weights")]
    result = run("classify", CAT, *arguments)
    assert result.exit_code == 1
    assert "MobileNetV2 takes 14 MB of memory. This program may use 50 MB" in result.stderr
    assert "What always answers: --model mini_vgg" in result.stderr


@pytest.fixture
def receipt(photos: dict[str, bytes], store: ModelStore) -> dict[str, Any]:
    return make_receipt(classify(photos["cat"], get_spec("mini_vgg"), store))


def test_verify(tmp_path: Path, receipt: dict[str, Any]) -> None:
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(receipt))
    good = run("verify", str(path), CAT)
    assert good.exit_code == 0
    assert good.stdout.splitlines()[-1] == "The receipt holds."
    bad = run("verify", str(path), DOG)
    assert bad.exit_code == 1
    assert "does not hold" in bad.stdout
    for arguments in [("missing.json", CAT), (str(path), "missing.jpg"), (str(tmp_path), CAT)]:
        result = run("verify", *arguments)
        assert result.exit_code == 1
        assert result.stderr.startswith("Error: Cannot read ")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xd8\xff\xe0", "not JSON"),
        (b"[" * 100_000, "not JSON (maximum recursion depth"),
        (b'{"receipt":' + b"[" * 900 + b"]" * 900 + b"}", "'receipt' is not a whole number"),
        (b" " * (2**20 + 1), "more than 1 MB"),
        (b'{"receipt": 9}', "its version is not 1"),
    ],
    ids=["empty", "photo", "too deep", "deep", "long", "version"],
)
def test_weird_receipts(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "receipt.json"
    path.write_bytes(content)
    result = run("verify", str(path), CAT)
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert words in result.stderr
    assert "saved with an answer" in result.stderr


@pytest.mark.parametrize(
    ("change", "exit_code", "words"),
    [
        (lambda r: r.update(model="vgg61"), 1, "its model 'vgg61' is not known here"),
        (lambda r: r.update(model="Mini-VGG"), 1, "is not known here"),
        (lambda r: r.update(resize="\x1b[2J"), 1, r"'\x1b[2J', is not known here"),
        (lambda r: r["predictions"][0].update(rank=7), 1, "are not the most probable"),
        (lambda r: r["predictions"][0].update(rank="1"), 1, "'rank' is not a whole number"),
        (lambda r: r["weights"].update(verified=False), 1, "weights file is another"),
        (lambda r: r["versions"].update(keras="\x1b[2J\n"), 0, r"Made with keras \x1b[2J\n; here"),
        (lambda r: r["versions"].update({"\x1b[2J": "1"}), 0, "The receipt holds."),
    ],
    ids=["model", "alias", "resize", "rank", "type", "verified", "version", "package"],
)
def test_changed_receipts(
    tmp_path: Path,
    receipt: dict[str, Any],
    change: Callable[[dict[str, Any]], None],
    exit_code: int,
    words: str,
) -> None:
    change(receipt)
    path = tmp_path / "receipt.json"
    path.write_text(json.dumps(receipt))
    result = run("verify", str(path), CAT)
    assert result.exit_code == exit_code
    assert words in result.output
    assert "\x1b" not in result.output
