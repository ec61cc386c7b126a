"""Taught models for other programs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_bundle import trained as trained  # noqa: PLC0414  # the same model
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.preprocess import prepare
from vgg_demo.training.data import TrainedModel
from vgg_demo.training.export import Exported, export
from vgg_demo.training.recipe import ExportFormat


@pytest.fixture(scope="module")
def batches(trained: TrainedModel) -> list[np.ndarray]:
    spec, inspected_photos = trained.bundle.spec, trained.training_data.dataset.photos
    return [prepare(open_photo(one.photo.source.read()).image, spec) for one in inspected_photos]


def write(
    kind: ExportFormat,
    out: Path,
    trained: TrainedModel,
    store: ModelStore,
    batches: list[np.ndarray],
) -> Exported:
    with store.use(trained.bundle.spec) as model:
        return export(model, kind, out, lambda: batches)


def test_floats_give_the_same(
    trained: TrainedModel, store: ModelStore, batches: list[np.ndarray], tmp_path: Path
) -> None:
    found = write("tflite", tmp_path / "a.tflite", trained, store, batches)
    assert (found.photos, found.agreement) == (48, 1.0)
    assert found.largest_difference < 1e-4
    assert found.size_bytes == found.path.stat().st_size
    interpreter = tf.lite.Interpreter(model_path=str(found.path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batches[0])
    interpreter.invoke()
    probabilities = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert probabilities.argmax() == 0  # a cat


def test_eight_bits_are_smaller_and_nearly_the_same(
    trained: TrainedModel, store: ModelStore, batches: list[np.ndarray], tmp_path: Path
) -> None:
    floats = write("tflite", tmp_path / "a.tflite", trained, store, batches)
    found = write("tflite-int8", tmp_path / "b.tflite", trained, store, batches)
    assert found.size_bytes < 0.35 * floats.size_bytes
    assert found.agreement >= 0.9
    assert found.largest_difference > floats.largest_difference


def test_a_saved_model(
    trained: TrainedModel, store: ModelStore, batches: list[np.ndarray], tmp_path: Path
) -> None:
    found = write("saved-model", tmp_path / "saved", trained, store, batches)
    assert found.agreement == 1.0
    assert found.largest_difference < 1e-5
    assert (found.path / "saved_model.pb").is_file()
    assert found.size_bytes > trained.bundle.spec.weights.size_bytes / 2
