"""The commands `train`, `find-lr` and `bundle`, and custom models in the other commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vgg_demo.cli import main
from vgg_demo.inference.classify import classify
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.bundle import open_bundle
from vgg_demo.reports.receipt import make_receipt
from vgg_demo.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "vgg_demo" / "data" / "examples"
MINI_VGG = ("--backbone", "mini_vgg")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def bundle(crops: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("custom") / "mine.bundle"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KERAS_HOME", str(out.parent / "keras"))
        result = run("train", crops, "--out", out, *MINI_VGG)
    assert result.exit_code == 0, result.stderr
    assert "Training on 39 photos, validating on 9" in result.stderr
    assert "Epoch  1/20: loss" in result.stderr
    assert "Validation accuracy " in result.stdout
    assert "mine@" in result.stdout
    assert "baseline            33.3%" in result.stdout
    assert f"classify PHOTO --model {out}" in result.stdout
    return out


def test_classify_accepts_a_bundle(bundle: Path) -> None:
    result = run("classify", EXAMPLES / "parrot.jpg", "--model", bundle)
    assert "Parrot, " in result.stdout
    assert "[custom:parrot]" in result.stdout
    assert "mine has only 3 classes: cat, parrot, rocket." in result.stderr


def test_batch_accepts_a_bundle(bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "rows.jsonl"
    result = run("batch", EXAMPLES, "--model", bundle, "--model", "mini_vgg", "--out", out)
    assert result.exit_code == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(rows) == 12
    assert {row["model"].split("@")[0] for row in rows} == {"mine", "mini_vgg"}


def test_compare_accepts_a_bundle(bundle: Path) -> None:
    document = run("compare", EXAMPLES / "cat.jpg", "--models", f"{bundle},mini_vgg", "--json")
    results = json.loads(document.stdout)["results"]
    assert [result["predictions"][0]["label"] for result in results] == ["cat", "cat"]


@pytest.mark.slow
def test_fine_tuning_trains_the_last_blocks(crops: Path, tmp_path: Path) -> None:
    out = tmp_path / "fine_tuned.bundle"
    result = run("train", crops, "--out", out, "--epochs", 2, "--fine-tune", 1, *MINI_VGG)
    assert "Fine-tuning the last blocks of Mini-VGG" in result.stderr
    assert "  Before fine-tuning: validation loss " in result.stderr
    assert "  Epoch 1/1: loss " in result.stderr
    document = json.loads(run("classify", EXAMPLES / "cat.jpg", "--model", out, "--json").stdout)
    assert f"{document['results'][0]['model']} on 9 photos" in result.stdout


def test_a_bundle_is_evaluated_on_other_photos(bundle: Path, crops: Path) -> None:
    document = json.loads(run("bundle", "evaluate", bundle, crops, "--json").stdout)
    assert document["top1"]["count"] == 48
    assert document["top1"]["value"] > 0.8
    output = run("bundle", "evaluate", bundle, crops).stdout
    assert "on 48 photos of 3 classes" in output


def test_photos_of_unknown_classes_are_skipped_in_an_evaluation(
    bundle: Path, tmp_path: Path
) -> None:
    for name in ("cat", "moose"):
        (tmp_path / name).mkdir()
        shutil.copy(EXAMPLES / f"{name}.jpg", tmp_path / name)
    result = run("bundle", "evaluate", bundle, tmp_path)
    assert "Skipped 1 photo with a label that is not a class of the model" in result.stderr
    assert "on 1 photo of 1 class" in result.stdout


def test_labels_come_from_a_table(crops: Path, tmp_path: Path) -> None:
    table = tmp_path / "labels.csv"
    labels = {"cat": "other", "parrot": "bird", "rocket": "other"}
    photos = [path.relative_to(crops).with_suffix("") for path in sorted(crops.rglob("*.jpg"))]
    lines = [f"{photo.as_posix()},{labels[photo.parent.name]},{photo.name}" for photo in photos]
    table.write_text("\n".join(["file,class,set", *lines, "missing,bird,1"]))
    columns = ("--image-column", "file", "--label-column", "class", "--group-column", "set")
    result = run("train", crops, "--labels", table, *columns, "--epochs", 3, "--seed", 5,
                 "--out", tmp_path / "b", "--json", *MINI_VGG)  # fmt: skip
    assert "Skipped 1 row of the label table without a photo: missing" in result.stderr
    document = json.loads(result.stdout)
    assert document["labels"] == ["bird", "other"]
    assert document["recipe"]["seed"] == 5
    assert document["data"]["counts"] == {"bird": 16, "other": 32}
    assert document["evaluation"]["top1"]["count"] == document["data"]["validation"]


def test_issues_in_the_photos_are_logged(crops: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(crops, folder)
    (folder / "cat" / "bad.jpg").write_bytes(b"no photo")
    shutil.copy(folder / "cat" / "00.jpg", folder / "rocket" / "same.jpg")
    (folder / "rare").mkdir()
    shutil.copy(EXAMPLES / "moose.jpg", folder / "rare")
    result = run("find-lr", folder, "--min-photos", 3, *MINI_VGG)
    assert "bad.jpg: This is not an image" in result.stderr
    assert "Near-duplicates with conflicting labels (cat and rocket): " in result.stderr
    assert "Excluded classes with too few photos: rare (1)" in result.stderr
    assert "Classes with fewer than 20 photos: cat (16), parrot (16), rocket (17)" in result.stderr
    assert "one tenth of the learning rate with the lowest loss" in result.stdout


def test_find_lr_prints_json(crops: Path) -> None:
    document = json.loads(run("find-lr", crops, "--json", *MINI_VGG).stdout)
    assert document["suggestion"] == document["tenth"] > 0
    assert len(document["curve"]) > 20


def test_a_packed_bundle_can_be_unpacked(bundle: Path, tmp_path: Path) -> None:
    run("bundle", "pack", bundle, tmp_path / "mine.zip")
    result = run("bundle", "unpack", tmp_path / "mine.zip", tmp_path / "unpacked.bundle")
    assert "cat, parrot, rocket" in result.stdout
    assert "SHA-256 of the model: " in result.stdout
    result = run("classify", EXAMPLES / "cat.jpg", "--model", tmp_path / "unpacked.bundle")
    assert "Cat, " in result.stdout


def test_an_unwritable_destination_fails_before_the_training(crops: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("train", crops, "--out", tmp_path / "file" / "my.bundle", *MINI_VGG)
    assert "Cannot write" in result.stderr
    assert "Training" not in result.stderr


def test_export_names_a_photo_that_cannot_be_used(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no photo")
    result = run("bundle", "export", bundle, tmp_path / "bad.jpg", "--out", tmp_path / "x.tflite")
    assert f"Error: {tmp_path / 'bad.jpg'}: This is not an image" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "{crops}/cat", "--out", "x", *MINI_VGG), "only 'cat'"),
        (("train", "{crops}", "--out", "{bundle}", *MINI_VGG), "already exists"),
        (("train", "{crops}", "--out", "x", "--backbone", "vgg16"), "VGG_DEMO_OFFLINE"),
        (("train", "{crops}", "--out", "x", "--feature-layer", "penultimate", *MINI_VGG),
         "has no feature layer penultimate"),
        (("train", "{crops}", "--labels", "no.csv", "--out", "x", *MINI_VGG), "Cannot read"),
        (("bundle", "evaluate", "nothing", "{crops}"), "cannot be used as a bundle"),
        (("bundle", "unpack", "no.zip", "x"), "cannot be used as a bundle"),
        (("classify", "{crops}/cat/00.jpg", "--model", "no/such.bundle"), "is not a bundle"),
    ],
)  # fmt: skip
def test_invalid_input_prints_an_error(
    arguments: tuple[str, ...], message: str, crops: Path, bundle: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    result = run(*(argument.format(crops=crops, bundle=bundle) for argument in arguments))
    assert message in result.stderr
    assert result.exit_code == 1
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "x").exists()


def test_a_published_model_is_available_by_name(
    bundle: Path, crops: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(bundle, tmp_path / "bundles" / "pets.bundle")
    (tmp_path / "bundles" / "broken.bundle").mkdir()
    monkeypatch.setenv("VGG_DEMO_BUNDLES_DIR", str(tmp_path / "bundles"))
    result = run("classify", EXAMPLES / "parrot.jpg", "--model", "pets")
    assert "[custom:parrot]" in result.stdout
    assert "pets@" in run("models").stdout
    (published,) = (
        model for model in json.loads(run("models", "--json").stdout)["models"] if model["custom"]
    )
    assert published["custom"] == {"backbone": "mini_vgg", "classes": ["cat", "parrot", "rocket"]}
    result = run("evaluate", crops, "--model", published["name"], "--json")
    assert json.loads(result.stdout)["evaluations"][0]["top1"]["count"] == 48
    table = tmp_path / "labels.csv"
    table.write_text("image,label\ncat/00.jpg,Cat\nrocket/00.jpg,cat\nparrot/00.jpg,mug\n")
    result = run("evaluate", crops, "--model", "pets", "--labels", table, "--json")
    document = json.loads(result.stdout)
    assert document["evaluations"][0]["top1"] | {"low": 0, "high": 0} == {
        "correct": 1, "count": 2, "value": 0.5, "low": 0, "high": 0,
    }  # fmt: skip
    shutil.copytree(bundle, tmp_path / "bundles" / "more" / "pets.bundle")
    (tmp_path / "bundles" / "more" / "pets.bundle").rename(tmp_path / "bundles" / "pets")
    result = run("classify", EXAMPLES / "parrot.jpg", "--model", "pets")
    assert result.exit_code == 0  # the same model in two folders


def test_a_receipt_of_a_custom_model_is_verified_with_its_bundle(
    bundle: Path, tmp_path: Path
) -> None:
    spec = open_bundle(bundle).spec
    photo = EXAMPLES / "cat.jpg"
    store = ModelStore(Settings(cache_dir=tmp_path, offline=True))
    receipt = tmp_path / "receipt.json"
    receipt.write_text(json.dumps(make_receipt(classify(photo.read_bytes(), spec, store))))
    result = run("verify", receipt, photo, "--bundle", bundle)
    assert (result.exit_code, "Receipt confirmed." in result.stdout) == (0, True), result.output
    result = run("verify", receipt, photo)
    assert result.exit_code == 1
    assert "a custom model requires its bundle" in result.stderr
