"""`teach` from the command line, and its models in the other commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vgg_demo.cli import main
from vgg_demo.inference.classify import classify
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.bundle import open_bundle
from vgg_demo.reports.receipt import make_receipt
from vgg_demo.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "vgg_demo" / "data" / "examples"
MINI_VGG = ("--backbone", "mini_vgg")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def bundle(pieces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("taught") / "mine.bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(out.parent / "keras"))
        result = run("train", pieces, "--out", out, *MINI_VGG)
    assert result.exit_code == 0, result.stderr
    assert "Learning from 39 photos, judging by 9" in result.stderr
    assert "1 of 20: loss" in result.stderr
    assert "mine@" in result.stdout
    assert "always the same would be     33.3%" in result.stdout
    assert f"classify PHOTO --model {out}" in result.stdout
    return out


def test_a_taught_model_classifies(bundle: Path) -> None:
    result = run("classify", EXAMPLES / "parrot.jpg", "--model", bundle)
    assert "Parrot, " in result.stdout
    assert "[custom:parrot]" in result.stdout
    assert "mine knows 3 things only: cat, parrot, rocket." in result.stderr


def test_a_taught_model_in_a_batch(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    result = run("batch", EXAMPLES, "--model", bundle, "--model", "mini_vgg", "--out", out)
    assert result.exit_code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 12
    assert {row["model"].split("@")[0] for row in rows} == {"mine", "mini_vgg"}


def test_a_taught_model_beside_others(bundle: Path) -> None:
    document = run("compare", EXAMPLES / "cat.jpg", "--models", f"{bundle},mini_vgg", "--json")
    answers = json.loads(document.stdout)["results"]
    assert [answer["predictions"][0]["label"] for answer in answers] == ["cat", "cat"]


@pytest.mark.slow
def test_the_body_learns_too(pieces: Path, tmp_path: Path) -> None:
    out = tmp_path / "tuned.bundle"
    result = run("train", pieces, "--out", out, "--epochs", 2, "--fine-tune", 1, *MINI_VGG)
    assert "Now the last blocks of Mini-VGG learn too" in result.stderr
    assert "  before: on the others " in result.stderr
    assert "    1 of 1: loss " in result.stderr
    name = json.loads(run("classify", EXAMPLES / "cat.jpg", "--model", out, "--json").stdout)
    assert f"{name['results'][0]['model']} on 9 photos" in result.stdout


def test_judged_by_other_photos(bundle: Path, pieces: Path) -> None:
    document = json.loads(run("bundle", "evaluate", bundle, pieces, "--json").stdout)
    assert document["top1"]["count"] == 48
    assert document["top1"]["value"] > 0.8
    words = run("bundle", "evaluate", bundle, pieces).stdout
    assert "on 48 photos of 3 classes" in words


def test_labels_that_it_was_not_taught(bundle: Path, tmp_path: Path) -> None:
    for name in ("cat", "moose"):
        (tmp_path / name).mkdir()
        shutil.copy(EXAMPLES / f"{name}.jpg", tmp_path / name)
    result = run("bundle", "evaluate", bundle, tmp_path)
    assert "1 photos have labels that it was not taught" in result.stderr
    assert "on 1 photos of 1 classes" in result.stdout


def test_a_table_and_a_summary(pieces: Path, tmp_path: Path) -> None:
    table = tmp_path / "kinds.csv"
    kinds = {"cat": "other", "parrot": "bird", "rocket": "other"}
    photos = [path.relative_to(pieces).with_suffix("") for path in sorted(pieces.rglob("*.jpg"))]
    lines = [f"{photo.as_posix()},{kinds[photo.parent.name]},{photo.name}" for photo in photos]
    table.write_text("\n".join(["file,kind,set", *lines, "gone,bird,1"]))
    columns = ("--image-column", "file", "--label-column", "kind", "--group-column", "set")
    result = run("train", pieces, "--csv", table, *columns, "--epochs", 3, "--seed", 5,
                 "--out", tmp_path / "b", "--json", *MINI_VGG)  # fmt: skip
    assert "1 rows of the table have no photo: gone" in result.stderr
    document = json.loads(result.stdout)
    assert document["labels"] == ["bird", "other"]
    assert document["recipe"]["seed"] == 5
    assert document["data"]["counts"] == {"bird": 16, "other": 32}
    assert document["evaluation"]["top1"]["count"] == document["data"]["validation"]


def test_what_is_wrong_with_photos_is_said(pieces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(pieces, folder)
    (folder / "cat" / "bad.jpg").write_bytes(b"no photo")
    shutil.copy(folder / "cat" / "00.jpg", folder / "rocket" / "same.jpg")
    (folder / "rare").mkdir()
    shutil.copy(EXAMPLES / "moose.jpg", folder / "rare")
    result = run("find-lr", folder, "--fewest", 3, *MINI_VGG)
    assert "bad.jpg: This is not a picture" in result.stderr
    assert "The same photo is called cat and rocket: " in result.stderr
    assert "Dropped, with too few photos: rare (1)" in result.stderr
    assert "Fewer than 20 photos: cat (16), parrot (16), rocket (17)" in result.stderr
    assert "the loss falls fastest at" in result.stdout


def test_the_curve_as_json(pieces: Path) -> None:
    document = json.loads(run("find-lr", pieces, "--json", *MINI_VGG).stdout)
    assert document["suggestion"] == document["tenth"] > 0
    assert len(document["curve"]) > 20


def test_a_bundle_is_given_away(bundle: Path, tmp_path: Path) -> None:
    run("bundle", "pack", bundle, tmp_path / "mine.zip")
    result = run("bundle", "unpack", tmp_path / "mine.zip", tmp_path / "got.bundle")
    assert "cat, parrot, rocket" in result.stdout
    assert "SHA-256 of its network: " in result.stdout
    answer = run("classify", EXAMPLES / "cat.jpg", "--model", tmp_path / "got.bundle")
    assert "Cat, " in answer.stdout


def test_a_place_that_cannot_be_written_is_noticed_first(pieces: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("train", pieces, "--out", tmp_path / "file" / "my.bundle", *MINI_VGG)
    assert "Cannot write" in result.stderr
    assert "Learning" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "{pieces}/cat", "--out", "x", *MINI_VGG), "only 'cat' to learn"),
        (("train", "{pieces}", "--out", "{bundle}", *MINI_VGG), "is there already"),
        (("train", "{pieces}", "--out", "x", "--backbone", "vgg16"), "VGG_DEMO_OFFLINE"),
        (("train", "{pieces}", "--out", "x", "--feature-layer", "penultimate", *MINI_VGG),
         "has no part all_but_last"),
        (("train", "{pieces}", "--csv", "no.csv", "--out", "x", *MINI_VGG), "Cannot read"),
        (("bundle", "evaluate", "nothing", "{pieces}"), "cannot be used as a bundle"),
        (("bundle", "unpack", "no.zip", "x"), "cannot be used as a bundle"),
        (("classify", "{pieces}/cat/00.jpg", "--model", "no/such.bundle"), "is no bundle"),
    ],
)  # fmt: skip
def test_what_cannot_be(
    arguments: tuple[str, ...], words: str, pieces: Path, bundle: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    result = run(*(argument.format(pieces=pieces, bundle=bundle) for argument in arguments))
    assert words in result.stderr
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "x").exists()


def test_a_model_that_is_kept_is_known_by_its_name(
    bundle: Path, pieces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bundle, tmp_path / "bundles" / "pets.bundle")
    (tmp_path / "bundles" / "broken.bundle").mkdir()
    monkeypatch.setenv("VGG_DEMO_BUNDLES_DIR", str(tmp_path / "bundles"))
    result = run("classify", EXAMPLES / "parrot.jpg", "--model", "pets")
    assert "[custom:parrot]" in result.stdout
    assert "pets@" in run("models").stdout
    (kept,) = (one for one in json.loads(run("models", "--json").stdout)["models"] if one["custom"])
    assert kept["custom"] == {"backbone": "mini_vgg", "classes": ["cat", "parrot", "rocket"]}
    evaluated = run("evaluate", pieces, "--model", kept["name"], "--json")
    assert json.loads(evaluated.stdout)["evaluations"][0]["top1"]["count"] == 48
    table = tmp_path / "labels.csv"
    table.write_text("image,label\ncat/00.jpg,Cat\nrocket/00.jpg,cat\nparrot/00.jpg,mug\n")
    evaluated = run("evaluate", pieces, "--model", "pets", "--labels", table, "--json")
    document = json.loads(evaluated.stdout)
    assert document["evaluations"][0]["top1"] | {"low": 0, "high": 0} == {
        "right": 1, "count": 2, "value": 0.5, "low": 0, "high": 0,
    }  # fmt: skip
    shutil.copytree(bundle, tmp_path / "bundles" / "more" / "pets.bundle")
    (tmp_path / "bundles" / "more" / "pets.bundle").rename(tmp_path / "bundles" / "pets")
    result = run("classify", EXAMPLES / "parrot.jpg", "--model", "pets")
    assert result.exit_code == 0  # the same model in two folders


def test_a_receipt_of_a_taught_model(bundle: Path, tmp_path: Path) -> None:
    spec = open_bundle(bundle).spec
    photo = EXAMPLES / "cat.jpg"
    store = ModelStore(Settings(cache_dir=tmp_path, offline=True))
    receipt = tmp_path / "receipt.json"
    receipt.write_text(json.dumps(make_receipt(classify(photo.read_bytes(), spec, store))))
    result = run("verify", receipt, photo, "--bundle", bundle)
    assert (result.exit_code, "The receipt holds." in result.stdout) == (0, True), result.output
    result = run("verify", receipt, photo)
    assert result.exit_code == 1
    assert "a taught one needs its bundle" in result.stderr
