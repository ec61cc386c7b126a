"""Bundles, including untrusted ones."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from vgg_demo.analysis.verdict import describe_classes, interpret, one_line
from vgg_demo.errors import BundleError, FileUnwritableError, UnknownModelError, WeightsCorruptError
from vgg_demo.files.sources import find_photos
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.classify import classify, softmax
from vgg_demo.inference.engine import build_custom_model, load_engine
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.bundle import (
    BUNDLE_FILES,
    LABELS_FILE,
    MODEL_FILE,
    SPEC_FILE,
    bundle_name,
    custom_spec,
    open_bundle,
)
from vgg_demo.models.bundle_archive import pack, unpack
from vgg_demo.models.custom import CustomModel, FeatureLayer, custom_classes
from vgg_demo.models.lookup import find_spec
from vgg_demo.models.preprocess import prepare
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.dataset import label_by_folders
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.progress import run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.records import TrainedModel
from vgg_demo.training.trainer import Trainer

Json = dict[str, Any]


@pytest.fixture(scope="session")
def trained(
    crops: Path, store: ModelStore, tmp_path_factory: pytest.TempPathFactory
) -> TrainedModel:
    """A custom model on Mini-VGG with the classes cat, parrot and rocket."""
    folder = tmp_path_factory.mktemp("bundles") / "mine.bundle"
    settings = Settings(cache_dir=Path("does-not-exist"), offline=True)
    trainer = Trainer(get_spec("mini_vgg"), Recipe(), settings, store, FeatureCache(None))
    inspected = run_to_end(trainer.inspect(label_by_folders(find_photos([str(crops)]))))
    training_data = run_to_end(trainer.prepare(inspected))
    head = run_to_end(trainer.train(training_data))
    network = trainer.with_head(training_data, head)
    return trainer.finish(
        training_data, network, folder, list(trainer.learning_curve_points(training_data, head))
    )


@pytest.fixture
def bundle(trained: TrainedModel, tmp_path: Path) -> Path:
    """A copy of the trained bundle."""
    folder = tmp_path / "mine.bundle"
    shutil.copytree(trained.bundle.spec.custom.bundle, folder)
    return folder


def test_training_reaches_the_expected_accuracy(trained: TrainedModel) -> None:
    validation_report = trained.validation_report
    assert validation_report.evaluation.top1.value >= 0.8
    assert validation_report.baseline.value == pytest.approx(1 / 3, abs=0.01)
    assert [point.photos for point in validation_report.learning_curve] == [4, 10, 20, 39]
    assert trained.training_data.classes == ("cat", "parrot", "rocket")


def test_near_duplicates_are_not_split_between_training_and_validation(
    trained: TrainedModel,
) -> None:
    duplicates = trained.training_data.dataset.report.duplicates
    for group in duplicates:
        assert len({index in trained.training_data.split.training for index in group}) == 1


def test_custom_model_classifies_like_any_model(
    trained: TrainedModel, store: ModelStore, photos: dict[str, bytes]
) -> None:
    spec = trained.bundle.spec
    result = classify(photos["parrot"], spec, store)
    assert result.model == spec.name
    assert result.predictions(1)[0].label == "parrot"
    assert result.predictions(1)[0].wnid == "custom:parrot"
    assert one_line(interpret(result)).startswith("Parrot, ")
    assert describe_classes(spec).startswith("mine has only 3 classes: cat, parrot, rocket.")
    assert result.weights.verified
    assert result.weights.sha256 == trained.bundle.record["model_sha256"]


def test_loaded_model_equals_the_trained_one(trained: TrainedModel, store: ModelStore) -> None:
    """Not bit for bit: in the whole network, the head adds products in another order."""
    custom, indices = trained.bundle.spec.custom, trained.training_data.split.validation
    for index, logits in zip(indices, trained.logits, strict=True):
        source = trained.training_data.dataset.photos[index].photo.source
        result = classify(source.read(), trained.bundle.spec, store)
        assert result.probabilities == pytest.approx(softmax(logits / custom.temperature), abs=1e-5)


def test_keras_loads_the_model_file_in_safe_mode(
    trained: TrainedModel, photos: dict[str, bytes]
) -> None:
    network = keras.models.load_model(
        trained.bundle.spec.custom.bundle / MODEL_FILE, safe_mode=True
    )
    batch = prepare(open_photo(photos["cat"]).image, trained.bundle.spec)
    store = ModelStore(Settings(offline=True))
    with store.use(trained.bundle.spec) as model:
        ours = model.engine.logits(batch) * trained.bundle.spec.custom.temperature
    assert np.asarray(network(batch)) == pytest.approx(ours, abs=1e-4)


def test_record_describes_the_training(trained: TrainedModel) -> None:
    record = json.loads((trained.bundle.spec.custom.bundle / SPEC_FILE).read_text())
    assert record["data"]["counts"] == {"cat": 16, "parrot": 16, "rocket": 16}
    assert record["data"]["training"] + record["data"]["validation"] == 48
    assert record["backbone_weights"]["sha256"] == get_spec("mini_vgg").weights.hash
    assert record["metrics"]["accuracy"] == trained.validation_report.evaluation.top1.value
    assert record["recipe"]["seed"] == 0
    assert len(record["data"]["fingerprint"]) == 64
    assert set(record["versions"]) == {"vgg_demo", "keras", "python"}


def test_unpacked_bundle_equals_the_packed_one(bundle: Path, tmp_path: Path) -> None:
    pack(bundle, tmp_path / "mine.zip")
    unpacked = unpack(tmp_path / "mine.zip", tmp_path / "again")
    assert sorted(path.name for path in unpacked.iterdir()) == sorted(BUNDLE_FILES)
    for name in BUNDLE_FILES:
        assert (unpacked / name).read_bytes() == (bundle / name).read_bytes()
    assert open_bundle(unpacked).spec.weights == open_bundle(bundle).spec.weights


def test_models_are_found_by_name_and_by_path(bundle: Path) -> None:
    assert find_spec(str(bundle), bundle.parent).keras_name == "mine"
    assert find_spec("mini_vgg", bundle.parent) is get_spec("mini_vgg")
    with pytest.raises(UnknownModelError, match="Did you mean"):
        find_spec("mini_vg", bundle.parent)
    for name in ("nowhere/my.bundle", "my.bundle", str(bundle / MODEL_FILE), "a.zip"):
        with pytest.raises(BundleError, match="is not a bundle"):
            find_spec(name, bundle.parent)


@pytest.mark.parametrize(
    "name",
    [
        "convnext_tiny",  # has nested models
        *(
            pytest.param(other, marks=pytest.mark.slow)
            for other in (
                "densenet121", "efficientnet_b0", "efficientnet_v2_b0", "inception_resnet_v2",
                "inception_v3", "mobilenet", "mobilenet_v2", "mobilenet_v3_small", "nasnet_mobile",
                "resnet50", "resnet50_v2", "vgg16", "xception",
            )
        ),
    ],
)  # fmt: skip
def test_saved_model_of_each_family_is_loaded_unchanged(name: str, tmp_path: Path) -> None:
    """Uses Keras's initial random weights."""
    custom = CustomModel(
        tmp_path, name, FeatureLayer.GLOBAL_POOLING, custom_classes(("a", "b", "c")), 1.0, 0.0
    )
    network = build_custom_model(custom)
    path = tmp_path / MODEL_FILE
    network.save(path)
    spec = custom_spec("x", custom, model_sha256="0" * 64, model_bytes=path.stat().st_size)
    size = spec.input_size
    batch = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype(np.float32)
    expected = np.asarray(network(batch, training=False))
    assert load_engine(spec, path).logits(batch) == pytest.approx(expected, abs=1e-4)


def test_archive_with_a_modified_model_file_is_rejected(bundle: Path, tmp_path: Path) -> None:
    with (bundle / MODEL_FILE).open("ab") as file:
        file.write(b"more")
    pack(bundle, tmp_path / "a.zip")
    with pytest.raises(BundleError, match=r"SHA-256 of model\.keras differs"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_existing_files_are_not_overwritten(bundle: Path, tmp_path: Path) -> None:
    pack(bundle, tmp_path / "a.zip")
    with pytest.raises(BundleError, match="already exists"):
        unpack(tmp_path / "a.zip", bundle)
    with pytest.raises(FileUnwritableError, match="File exists"):
        pack(bundle, tmp_path / "a.zip")


def test_bundles_with_the_same_folder_name_get_different_model_names(
    bundle: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / "mine.bundle"
    shutil.copytree(bundle, other)
    set_record(temperature=3.0)(other)
    assert open_bundle(other).spec.name != open_bundle(bundle).spec.name


def set_record(**values: object) -> Callable[[Path], None]:
    def write(bundle: Path) -> None:
        record = json.loads((bundle / SPEC_FILE).read_text()) | values
        (bundle / SPEC_FILE).write_text(json.dumps(record))

    return write


def set_labels(*names: object) -> Callable[[Path], None]:
    def write(bundle: Path) -> None:
        (bundle / LABELS_FILE).write_text(json.dumps([{"label": name} for name in names]))

    return write


def write_text(name: str, content: str) -> Callable[[Path], None]:
    return lambda bundle: (bundle / name).write_text(content) and None


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (set_record(schema=1), "its schema is 1, not 2"),
        (set_record(backbone="no_such_net"), "Unknown model"),
        (set_record(backbone=["mini_vgg"]), "is not a string"),
        (set_record(feature_layer="output"), "has no feature layer"),
        (set_record(feature_layer="../.."), "is not a valid FeatureLayer"),
        (set_record(resize="stretch"), "is not a valid Resize"),
        (set_record(temperature=0), "is not a number from 0.01"),
        (set_record(temperature="1"), "is not a number"),
        (set_record(temperature=float("nan")), "is not a number"),
        (set_record(unknown_threshold=True), "is not a number"),
        (set_record(unknown_threshold=10**400), "too large"),
        (set_record(model_sha256="x" * 64), "is not a SHA-256"),
        (set_record(metrics=[]), "indices must be"),
        (set_labels("cat"), "it has 1 labels, 1 of them different"),
        (set_labels("cat", "cat", "dog"), "it has 3 labels, 2 of them different"),
        (set_labels("cat", "dog", "a\nb"), "is not a valid label"),
        (set_labels("cat", "dog", " "), "is not a valid label"),
        (set_labels("cat", "dog", "b" * 81), "is not a valid label"),
        (set_labels("cat", "dog", 3), "is not a string"),
        (set_labels(*map(str, range(500))), "it has 500 labels"),
        (write_text(LABELS_FILE, "{}"), "labels.json is not a list"),
        (write_text(LABELS_FILE, "[1, 2]"), "not subscriptable"),
        (write_text(SPEC_FILE, "[]"), "spec.json is not a dict"),
        (write_text(SPEC_FILE, "{"), "spec.json: Expecting"),
        (write_text(SPEC_FILE, "[" * 100_000), "spec.json: "),
        (write_text(SPEC_FILE, "{}"), "spec.json or labels.json has no 'schema'"),
        (write_text(SPEC_FILE, " " * 1_000_001), "larger than 1,000,000 bytes"),
        (lambda bundle: (bundle / LABELS_FILE).unlink(), "labels.json: No such file"),
        (lambda bundle: (bundle / MODEL_FILE).unlink(), "No such file"),
        (write_text(MODEL_FILE, "x" * 30_000_000), "larger than its architecture allows"),
    ],
)  # fmt: skip
def test_invalid_bundle_is_rejected(
    corrupt: Callable[[Path], object], message: str, bundle: Path
) -> None:
    corrupt(bundle)
    with pytest.raises(BundleError, match=message) as caught:
        open_bundle(bundle)
    assert "Copy the bundle again, or train the model again" in str(caught.value)


def change_weights(bundle: Path, corrupt: Callable[[h5py.File], None], tmp_path: Path) -> None:
    """Rewrites the model file with changed weights."""
    weights = tmp_path / "weights.h5"
    with zipfile.ZipFile(bundle / MODEL_FILE) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights.write_bytes(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        corrupt(file)
    members["model.weights.h5"] = weights.read_bytes()
    with zipfile.ZipFile(bundle / MODEL_FILE, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def load_error(bundle: Path) -> str:
    """Returns the message of the error when the bundle's model is loaded."""
    store = ModelStore(Settings(offline=True))
    with pytest.raises(WeightsCorruptError) as caught, store.use(open_bundle(bundle).spec):
        pass
    return str(caught.value)


def replace_by_external_link(file: h5py.File) -> None:
    del file["layers/dense/vars/1"]
    file["layers/dense/vars/1"] = h5py.ExternalLink("/etc/passwd", "/x")


def enlarge(file: h5py.File) -> None:
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", shape=(10**6, 10**6), dtype="f4")


def compress(file: h5py.File) -> None:
    values = file["layers/dense/vars/0"][()]
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", data=values, compression="gzip")


def insert_nan(file: h5py.File) -> None:
    file["layers/dense/vars/0"][0, 0] = np.nan


def remove_layer(file: h5py.File) -> None:
    del file["layers/conv2d_2"]


@pytest.mark.parametrize(
    ("corrupt", "message"),
    [
        (replace_by_external_link, "missing or is a link"),
        (enlarge, "has the shape"),
        (compress, "compressed"),
        (insert_nan, "infinite or NaN"),
        (remove_layer, "missing or is a link"),
    ],
)
def test_invalid_weights_are_rejected(
    corrupt: Callable[[h5py.File], None], message: str, bundle: Path, tmp_path: Path
) -> None:
    change_weights(bundle, corrupt, tmp_path)
    error = load_error(bundle)
    assert message in error
    assert "train the model again" in error


def test_model_file_with_another_number_of_classes_is_rejected(bundle: Path) -> None:
    set_labels("cat", "parrot", "rocket", "more")(bundle)
    assert "has the shape (256, 3), not (256, 4)" in load_error(bundle)


@pytest.mark.parametrize("data", [b"", b"not an archive", b"PK\x05\x06" + bytes(18)])
def test_model_file_that_is_not_an_archive_is_rejected(data: bytes, bundle: Path) -> None:
    (bundle / MODEL_FILE).write_bytes(data)
    assert "cannot be used for mine" in load_error(bundle)


def test_architecture_in_the_model_file_is_ignored(
    bundle: Path, store: ModelStore, photos: dict[str, bytes]
) -> None:
    """In an untrusted file, the architecture can name any class, and layers that run code."""
    expected = classify(photos["cat"], open_bundle(bundle).spec, store).probabilities
    with zipfile.ZipFile(bundle / MODEL_FILE) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    evil = {"module": "os", "class_name": "system", "config": {"command": "touch owned"}}
    members["config.json"] = json.dumps(evil).encode()
    with zipfile.ZipFile(bundle / MODEL_FILE, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    result = classify(photos["cat"], open_bundle(bundle).spec, ModelStore(Settings(offline=True)))
    assert np.array_equal(result.probabilities, expected)
    assert not result.weights.verified  # the SHA-256 differs


def test_paths_in_archives_are_ignored(bundle: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        for name in BUNDLE_FILES:
            archive.write(bundle / name, f"../../../{name}")
        archive.writestr("../../outside.txt", "x")
    folder = unpack(evil, tmp_path / "deep" / "in" / "folder")
    assert sorted(path.name for path in folder.iterdir()) == sorted(BUNDLE_FILES)
    assert not list(tmp_path.rglob("outside.txt"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((MODEL_FILE, LABELS_FILE), "0 files named spec.json"),
        ((MODEL_FILE, LABELS_FILE, SPEC_FILE, f"b/{SPEC_FILE}"), "2 files named spec.json"),
    ],
)
def test_archives_without_exactly_one_bundle_are_rejected(
    names: tuple[str, ...], message: str, bundle: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.write(bundle / name.split("/")[-1], name)
    with pytest.raises(BundleError, match=message):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_text_file_over_the_size_limit_is_rejected(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(bundle / MODEL_FILE, MODEL_FILE)
        archive.writestr(LABELS_FILE, " " * 5_000_000)
        archive.write(bundle / SPEC_FILE, SPEC_FILE)
    with pytest.raises(BundleError, match="5,000,000 bytes"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compression_methods_are_rejected(
    compression: int, bundle: Path, tmp_path: Path
) -> None:
    """A few kilobytes can expand to gigabytes at once, whatever the header declares."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", compression) as archive:
        for name in BUNDLE_FILES:
            archive.write(bundle / name, name)
    with pytest.raises(BundleError, match="neither stored nor deflated"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_archive_with_a_huge_directory_is_rejected(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        other_names = [f"{number:05}{'x' * 200}" for number in range(5_000)]
        for name in (*BUNDLE_FILES, *other_names):
            archive.writestr(name, (bundle / name).read_bytes() if name in BUNDLE_FILES else b"")
    with pytest.raises(BundleError, match="its directory is too large"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_error_names_the_archive(bundle: Path, tmp_path: Path) -> None:
    """The message does not name the temporary folder."""
    with zipfile.ZipFile(tmp_path / "theirs.zip", "w") as archive:
        for name in BUNDLE_FILES:
            archive.writestr(name, b"{}" if name == SPEC_FILE else (bundle / name).read_bytes())
    with pytest.raises(
        BundleError, match=r"theirs\.zip' cannot be used as a bundle: spec\.json or"
    ):
        unpack(tmp_path / "theirs.zip", tmp_path / "out")


def test_model_names_have_no_special_characters(tmp_path: Path) -> None:
    for folder_name, name in (
        ("apples, pears.bundle", "apples_ pears"),
        (".hidden", "hidden"),
        ("a:b|c.bundle", "a_b_c"),
        ("...", "custom"),
    ):
        assert bundle_name(tmp_path / folder_name) == name
