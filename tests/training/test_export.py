"""Export of custom models to TensorFlow Lite and SavedModel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.models.test_bundle import trained as trained  # noqa: PLC0414  # a shared fixture
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.preprocess import prepare
from vgg_demo.training.export import ExportReport, export
from vgg_demo.training.recipe import ExportFormat
from vgg_demo.training.records import TrainedModel


@pytest.fixture(scope="module")
def batches(trained: TrainedModel) -> list[np.ndarray]:
    spec, photos = trained.bundle.spec, trained.training_data.dataset.photos
    return [prepare(open_photo(photo.photo.source.read()).image, spec) for photo in photos]


def export_model(
    export_format: ExportFormat,
    out: Path,
    trained: TrainedModel,
    store: ModelStore,
    batches: list[np.ndarray],
) -> ExportReport:
    with store.use(trained.bundle.spec) as model:
        return export(model, export_format, out, lambda: batches)


def test_tflite_matches_the_original(
    trained: TrainedModel, store: ModelStore, batches: list[np.ndarray], tmp_path: Path
) -> None:
    report = export_model("tflite", tmp_path / "a.tflite", trained, store, batches)
    assert (report.photos, report.agreement) == (48, 1.0)
    assert report.largest_difference < 1e-4
    assert report.size_bytes == report.path.stat().st_size
    interpreter = tf.lite.Interpreter(model_path=str(report.path))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batches[0])
    interpreter.invoke()
    probabilities = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)
    assert probabilities.argmax() == 0  # a cat


def test_int8_is_smaller_and_nearly_matches_the_original(
    trained: TrainedModel, store: ModelStore, batches: list[np.ndarray], tmp_path: Path
) -> None:
    float32 = export_model("tflite", tmp_path / "a.tflite", trained, store, batches)
    int8 = export_model("tflite-int8", tmp_path / "b.tflite", trained, store, batches)
    assert int8.size_bytes < 0.35 * float32.size_bytes
    assert int8.agreement >= 0.9
    assert int8.largest_difference > float32.largest_difference


def test_saved_model_matches_the_original(
    trained: TrainedModel, store: ModelStore, batches: list[np.ndarray], tmp_path: Path
) -> None:
    report = export_model("saved-model", tmp_path / "saved", trained, store, batches)
    assert report.agreement == 1.0
    assert report.largest_difference < 1e-5
    assert (report.path / "saved_model.pb").is_file()
    assert report.size_bytes > trained.bundle.spec.weights.size_bytes / 2
