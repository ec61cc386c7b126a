"""The embedded model matches its model card."""

from __future__ import annotations

import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest

from vgg_demo.images.decode import decode
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.labels import load_labels
from vgg_demo.models.preprocess import prepare
from vgg_demo.models.registry import get_spec

DATA = Path(__file__).parents[2] / "vgg_demo" / "data"
MINI_VGG = get_spec("mini_vgg")


@pytest.fixture(scope="module")
def report() -> dict:
    return json.loads((DATA / "mini_vgg.json").read_text())


@pytest.mark.slow
def test_accuracy_on_all_test_images_equals_the_report(
    shared: Path, store: ModelStore, report: dict, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Uses the decoder and the preprocessing of the package on all 10,000 test images."""
    folder = tmp_path_factory.mktemp("cifar10")
    with tarfile.open(shared / "data" / "cifar10.tar.xz") as archive:
        test = [member for member in archive if member.name.startswith("test/")]
        archive.extractall(folder, members=test, filter="data")
    with store.use(MINI_VGG) as model:
        engine = model.engine
    correct = total = 0
    for label in load_labels("cifar10"):
        paths = sorted((folder / "test" / label.label).glob("*.jpg"))
        batch = np.concatenate([prepare(decode(p.read_bytes()), MINI_VGG) for p in paths])
        correct += int((engine.logits(batch).argmax(axis=1) == label.index).sum())
        total += len(paths)
    assert total == report["test_images"] == 10_000
    assert correct / total == pytest.approx(report["accuracy"], abs=5e-4)
    assert correct / total >= 0.92


def test_weight_file_is_small_and_matches_the_report(report: dict) -> None:
    data = (DATA / "mini_vgg.h5").read_bytes()
    assert len(data) == report["size_bytes"] <= 4_000_000
    assert hashlib.sha256(data).hexdigest() == report["sha256"]


def test_model_card_contains_the_figures_of_the_report(report: dict) -> None:
    card = (DATA / "mini_vgg.md").read_text()
    assert f"{report['accuracy']:.2%}" in card
    assert f"{report['parameters']:,}" in card
    assert f"{report['expected_calibration_error']:.3f}" in card
    for name, recall in report["recall"].items():
        assert f"| {name} | {recall:.1%} |" in card
