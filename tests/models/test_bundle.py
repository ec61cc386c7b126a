"""Taught models on disk, those of strangers among them."""

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

from vgg_demo.analysis.verdict import interpret, one_line, scope
from vgg_demo.errors import BundleError, FileUnwritableError, UnknownModelError, WeightsCorruptError
from vgg_demo.files.sources import find_photos
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.classify import classify, softmax
from vgg_demo.inference.engine import build_custom_model, load_engine
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.bundle import FILES, LABELS, MODEL, SPEC, bundle_name, custom_spec, open_bundle
from vgg_demo.models.bundle_archive import pack, unpack
from vgg_demo.models.catalog import find_spec
from vgg_demo.models.custom import CustomModel, FeatureLayer, custom_classes
from vgg_demo.models.preprocess import prepare
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.data import TrainedModel
from vgg_demo.training.dataset import label_by_folders
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.generators import run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.trainer import Trainer

Json = dict[str, Any]


@pytest.fixture(scope="session")
def trained(
    pieces: Path, store: ModelStore, tmp_path_factory: pytest.TempPathFactory
) -> TrainedModel:
    """What Mini-VGG's body was taught: cat, parrot, rocket."""
    folder = tmp_path_factory.mktemp("bundles") / "mine.bundle"
    settings = Settings(cache_dir=Path("does-not-exist"), offline=True)
    trainer = Trainer(get_spec("mini_vgg"), Recipe(), settings, store, FeatureCache(None))
    inspected = run_to_end(trainer.check(label_by_folders(find_photos([str(pieces)]))))
    training_data = run_to_end(trainer.prepare(inspected))
    head = run_to_end(trainer.train(training_data))
    network = trainer.with_head(training_data, head)
    return trainer.finish(
        training_data, network, folder, list(trainer.learning_curve_points(training_data, head))
    )


@pytest.fixture
def bundle(trained: TrainedModel, tmp_path: Path) -> Path:
    """A copy of the bundle."""
    folder = tmp_path / "mine.bundle"
    shutil.copytree(trained.bundle.spec.custom.bundle, folder)
    return folder


def test_it_learned(trained: TrainedModel) -> None:
    validation_report = trained.validation_report
    assert validation_report.evaluation.top1.value >= 0.8
    assert validation_report.baseline.value == pytest.approx(1 / 3, abs=0.01)
    assert [point.photos for point in validation_report.learning_curve] == [4, 10, 20, 39]
    assert trained.training_data.classes == ("cat", "parrot", "rocket")


def test_pieces_of_one_photo_that_look_the_same_stay_on_one_side(trained: TrainedModel) -> None:
    twins = trained.training_data.dataset.report.twins
    for group in twins:
        assert len({place in trained.training_data.split.training for place in group}) == 1


def test_it_answers_like_any_model(
    trained: TrainedModel, store: ModelStore, photos: dict[str, bytes]
) -> None:
    spec = trained.bundle.spec
    result = classify(photos["parrot"], spec, store)
    assert result.model == spec.name
    assert result.predictions(1)[0].label == "parrot"
    assert result.predictions(1)[0].wnid == "custom:parrot"
    assert one_line(interpret(result)).startswith("Parrot, ")
    assert scope(spec).startswith("mine knows 3 things only: cat, parrot, rocket.")
    assert result.weights.verified
    assert result.weights.sha256 == trained.bundle.record["model_sha256"]


def test_the_restored_network_is_the_trained_one(trained: TrainedModel, store: ModelStore) -> None:
    """Bit by bit not: the head alone and in a network are multiplied in another order."""
    custom, places = trained.bundle.spec.custom, trained.training_data.split.validation
    for place, logits in zip(places, trained.logits, strict=True):
        source = trained.training_data.dataset.photos[place].photo.source
        result = classify(source.read(), trained.bundle.spec, store)
        assert result.probabilities == pytest.approx(softmax(logits / custom.temperature), abs=1e-5)


def test_keras_alone_can_open_it(trained: TrainedModel, photos: dict[str, bytes]) -> None:
    network = keras.models.load_model(trained.bundle.spec.custom.bundle / MODEL, safe_mode=True)
    batch = prepare(open_photo(photos["cat"]).image, trained.bundle.spec)
    store = ModelStore(Settings(offline=True))
    with store.use(trained.bundle.spec) as model:
        ours = model.engine.logits(batch) * trained.bundle.spec.custom.temperature
    assert np.asarray(network(batch)) == pytest.approx(ours, abs=1e-4)


def test_what_it_says_of_itself(trained: TrainedModel) -> None:
    record = json.loads((trained.bundle.spec.custom.bundle / SPEC).read_text())
    assert record["data"]["counts"] == {"cat": 16, "parrot": 16, "rocket": 16}
    assert record["data"]["training"] + record["data"]["validation"] == 48
    assert record["backbone_weights"]["sha256"] == get_spec("mini_vgg").weights.hash
    assert record["metrics"]["accuracy"] == trained.validation_report.evaluation.top1.value
    assert record["recipe"]["seed"] == 0
    assert len(record["data"]["fingerprint"]) == 64
    assert set(record["versions"]) == {"vgg_demo", "keras", "python"}


def test_there_and_back(bundle: Path, tmp_path: Path) -> None:
    pack(bundle, tmp_path / "mine.zip")
    again = unpack(tmp_path / "mine.zip", tmp_path / "again")
    assert sorted(path.name for path in again.iterdir()) == sorted(FILES)
    for name in FILES:
        assert (again / name).read_bytes() == (bundle / name).read_bytes()
    assert open_bundle(again).spec.weights == open_bundle(bundle).spec.weights


def test_names_and_paths(bundle: Path) -> None:
    assert find_spec(str(bundle), bundle.parent).keras_name == "mine"
    assert find_spec("mini_vgg", bundle.parent) is get_spec("mini_vgg")
    with pytest.raises(UnknownModelError, match="Did you mean"):
        find_spec("mini_vg", bundle.parent)
    for name in ("nowhere/my.bundle", "my.bundle", str(bundle / MODEL), "a.zip"):
        with pytest.raises(BundleError, match="is no bundle"):
            find_spec(name, bundle.parent)


@pytest.mark.parametrize(
    "name",
    [
        "convnext_tiny",  # has layers within layers
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
def test_each_family_comes_back_as_it_went(name: str, tmp_path: Path) -> None:
    """With the random values that Keras begins with."""
    custom = CustomModel(
        tmp_path, name, FeatureLayer.GLOBAL_POOLING, custom_classes(("a", "b", "c")), 1.0, 0.0
    )
    network = build_custom_model(custom)
    path = tmp_path / MODEL
    network.save(path)
    spec = custom_spec("x", custom, model_sha256="0" * 64, model_bytes=path.stat().st_size)
    size = spec.input_size
    batch = np.random.default_rng(0).normal(size=(1, size, size, 3)).astype(np.float32)
    expected = np.asarray(network(batch, training=False))
    assert load_engine(spec, path).logits(batch) == pytest.approx(expected, abs=1e-4)


def test_an_archive_whose_network_was_exchanged(bundle: Path, tmp_path: Path) -> None:
    with (bundle / MODEL).open("ab") as file:
        file.write(b"more")
    pack(bundle, tmp_path / "a.zip")
    with pytest.raises(BundleError, match="another SHA-256"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if "out" in path.name] == []


def test_what_is_there_already_stays(bundle: Path, tmp_path: Path) -> None:
    pack(bundle, tmp_path / "a.zip")
    with pytest.raises(BundleError, match="is there already"):
        unpack(tmp_path / "a.zip", bundle)
    with pytest.raises(FileUnwritableError, match="File exists"):
        pack(bundle, tmp_path / "a.zip")


def test_two_of_one_name_are_told_apart(bundle: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "mine.bundle"
    shutil.copytree(bundle, other)
    change(temperature=3.0)(other)
    assert open_bundle(other).spec.name != open_bundle(bundle).spec.name


def change(**values: object) -> Callable[[Path], None]:
    def write(bundle: Path) -> None:
        record = json.loads((bundle / SPEC).read_text()) | values
        (bundle / SPEC).write_text(json.dumps(record))

    return write


def labels(*names: object) -> Callable[[Path], None]:
    def write(bundle: Path) -> None:
        (bundle / LABELS).write_text(json.dumps([{"label": name} for name in names]))

    return write


def text(name: str, content: str) -> Callable[[Path], None]:
    return lambda bundle: (bundle / name).write_text(content) and None


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (change(schema=2), "its schema is 2, not 1"),
        (change(backbone="no_such_net"), "Unknown model"),
        (change(backbone=["mini_vgg"]), "is no text"),
        (change(feature_layer="output"), "has no part"),
        (change(feature_layer="../.."), "is not a valid FeatureLayer"),
        (change(resize="stretch"), "is not a valid Resize"),
        (change(temperature=0), "is no number from 0.01"),
        (change(temperature="1"), "is no number"),
        (change(temperature=float("nan")), "is no number"),
        (change(unknown_below=True), "is no number"),
        (change(unknown_below=10**400), "too large"),
        (change(model_sha256="x" * 64), "is no SHA-256"),
        (change(metrics=[]), "indices must be"),
        (labels("cat"), "1 different labels of 1"),
        (labels("cat", "cat", "dog"), "2 different labels of 3"),
        (labels("cat", "dog", "a\nb"), "is no label"),
        (labels("cat", "dog", " "), "is no label"),
        (labels("cat", "dog", "b" * 81), "is no label"),
        (labels("cat", "dog", 3), "is no text"),
        (labels(*map(str, range(500))), "500 different labels"),
        (text(LABELS, "{}"), "labels.json is no list"),
        (text(LABELS, "[1, 2]"), "not subscriptable"),
        (text(SPEC, "[]"), "spec.json is no dict"),
        (text(SPEC, "{"), "spec.json: Expecting"),
        (text(SPEC, "[" * 100_000), "spec.json: "),
        (text(SPEC, "{}"), "it has no 'schema'"),
        (text(SPEC, " " * 1_000_001), "more than 1,000,000 bytes"),
        (lambda bundle: (bundle / LABELS).unlink(), "labels.json: No such file"),
        (lambda bundle: (bundle / MODEL).unlink(), "No such file"),
        (text(MODEL, "x" * 30_000_000), "larger than such a network can be"),
    ],
)  # fmt: skip
def test_what_a_stranger_may_have_written(
    spoil: Callable[[Path], object], words: str, bundle: Path
) -> None:
    spoil(bundle)
    with pytest.raises(BundleError, match=words) as caught:
        open_bundle(bundle)
    assert "Get it anew, or train it again" in str(caught.value)


def with_weights(bundle: Path, spoil: Callable[[h5py.File], None], tmp_path: Path) -> None:
    """Writes the network's file anew, with other weights in it."""
    weights = tmp_path / "weights.h5"
    with zipfile.ZipFile(bundle / MODEL) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    weights.write_bytes(members["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        spoil(file)
    members["model.weights.h5"] = weights.read_bytes()
    with zipfile.ZipFile(bundle / MODEL, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def refused(bundle: Path) -> str:
    store = ModelStore(Settings(offline=True))
    with pytest.raises(WeightsCorruptError) as caught, store.use(open_bundle(bundle).spec):
        pass
    return str(caught.value)


def external(file: h5py.File) -> None:
    del file["layers/dense/vars/1"]
    file["layers/dense/vars/1"] = h5py.ExternalLink("/etc/passwd", "/x")


def larger(file: h5py.File) -> None:
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", shape=(10**6, 10**6), dtype="f4")


def compressed(file: h5py.File) -> None:
    values = file["layers/dense/vars/0"][()]
    del file["layers/dense/vars/0"]
    file.create_dataset("layers/dense/vars/0", data=values, compression="gzip")


def no_numbers(file: h5py.File) -> None:
    file["layers/dense/vars/0"][0, 0] = np.nan


def missing(file: h5py.File) -> None:
    del file["layers/conv2d_2"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (external, "missing or is a link"),
        (larger, "has the shape"),
        (compressed, "compressed"),
        (no_numbers, "not a number"),
        (missing, "missing or is a link"),
    ],
)
def test_weights_that_a_stranger_has_changed(
    spoil: Callable[[h5py.File], None], words: str, bundle: Path, tmp_path: Path
) -> None:
    with_weights(bundle, spoil, tmp_path)
    message = refused(bundle)
    assert words in message
    assert "train it again" in message


def test_a_network_of_other_classes(bundle: Path) -> None:
    labels("cat", "parrot", "rocket", "more")(bundle)
    assert "has the shape (256, 3), not (256, 4)" in refused(bundle)


@pytest.mark.parametrize("data", [b"", b"no archive", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_network(data: bytes, bundle: Path) -> None:
    (bundle / MODEL).write_bytes(data)
    assert "cannot be used for mine" in refused(bundle)


def test_the_description_in_it_is_not_read(
    bundle: Path, store: ModelStore, photos: dict[str, bytes]
) -> None:
    """A stranger's may name any class, and layers that run code."""
    expected = classify(photos["cat"], open_bundle(bundle).spec, store).probabilities
    with zipfile.ZipFile(bundle / MODEL) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    evil = {"module": "os", "class_name": "system", "config": {"command": "touch owned"}}
    members["config.json"] = json.dumps(evil).encode()
    with zipfile.ZipFile(bundle / MODEL, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    again = classify(photos["cat"], open_bundle(bundle).spec, ModelStore(Settings(offline=True)))
    assert np.array_equal(again.probabilities, expected)
    assert not again.weights.verified  # and it is said that it is another file


def test_archives_lead_nowhere(bundle: Path, tmp_path: Path) -> None:
    evil = tmp_path / "evil.zip"
    with zipfile.ZipFile(evil, "w") as archive:
        for name in FILES:
            archive.write(bundle / name, f"../../../{name}")
        archive.writestr("../../outside.txt", "x")
    folder = unpack(evil, tmp_path / "deep" / "in" / "folder")
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert not list(tmp_path.rglob("outside.txt"))


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ((MODEL, LABELS), "0 files called spec.json"),
        ((MODEL, LABELS, SPEC, f"b/{SPEC}"), "2 files called spec.json"),
    ],
)
def test_archives_that_are_no_bundles(
    names: tuple[str, ...], words: str, bundle: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in names:
            archive.write(bundle / name.split("/")[-1], name)
    with pytest.raises(BundleError, match=words):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_text_that_unpacks_to_too_much(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(bundle / MODEL, MODEL)
        archive.writestr(LABELS, " " * 5_000_000)
        archive.write(bundle / SPEC, SPEC)
    with pytest.raises(BundleError, match="5,000,000 bytes"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_is_packed_in_pieces_of_any_size(packing: int, bundle: Path, tmp_path: Path) -> None:
    """Some kilobytes of these become gigabytes at once, whatever their header says."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", packing) as archive:
        for name in FILES:
            archive.write(bundle / name, name)
    with pytest.raises(BundleError, match="packed in a way that is not read here"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert not list(tmp_path.glob("*out*"))


def test_a_huge_directory(bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        pack_names = [f"{number:05}{'x' * 200}" for number in range(5_000)]
        for name in (*FILES, *pack_names):
            archive.writestr(name, (bundle / name).read_bytes() if name in FILES else b"")
    with pytest.raises(BundleError, match="its directory is too large"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


def test_an_error_names_the_archive(bundle: Path, tmp_path: Path) -> None:
    """And not the folder in which it was looked at, which is gone by then."""
    with zipfile.ZipFile(tmp_path / "theirs.zip", "w") as archive:
        for name in FILES:
            archive.writestr(name, b"{}" if name == SPEC else (bundle / name).read_bytes())
    with pytest.raises(BundleError, match=r"theirs\.zip' cannot be used as a bundle: it has no"):
        unpack(tmp_path / "theirs.zip", tmp_path / "out")


def test_names_are_plain(tmp_path: Path) -> None:
    for written, name in (
        ("apples, pears.bundle", "apples_ pears"),
        (".hidden", "hidden"),
        ("a:b|c.bundle", "a_b_c"),
        ("...", "custom"),
    ):
        assert bundle_name(tmp_path / written) == name
