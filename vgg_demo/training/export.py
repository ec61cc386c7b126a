"""Exports custom models to TensorFlow Lite and SavedModel.

This module imports TensorFlow; import it inside the function that needs it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vgg_demo.inference.model_store import LoadedModel
from vgg_demo.training.recipe import ExportFormat

CALIBRATION_PHOTOS = 100
"""Photos that determine the value ranges of 8-bit activations. TensorFlow recommends about a
hundred (its guide *Post-training integer quantization*)."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """An exported model, compared with the original.

    Attributes:
        path: The file; a folder for a SavedModel.
        size_bytes: Total size.
        photos: Number of photos on which the models were compared.
        agreement: Fraction of these photos with the same top prediction, in [0, 1].
        largest_difference: Largest absolute difference in probability, over all photos and
            classes.
    """

    path: Path
    size_bytes: int
    photos: int
    agreement: float
    largest_difference: float


def export(
    model: LoadedModel,
    export_format: ExportFormat,
    out: Path,
    load_batches: Callable[[], Iterable[NDArray[np.float32]]],
) -> ExportReport:
    """Exports a custom model and compares the result with the original.

    The exported model takes preprocessed photos (`preprocess.prepare`) and returns calibrated
    probabilities: temperature scaling and softmax are part of it.

    Args:
        model: The model.
        export_format: ``tflite`` has float32 weights; ``tflite-int8`` is quantized to 8 bits.
        out: Path of the file to write; for a SavedModel, of the folder.
        load_batches: Returns preprocessed photos, float32 (1, size, size, 3) each. It is called
            once for the comparison, which uses all photos, and once for the quantization, which
            uses the first `CALIBRATION_PHOTOS`.

    Raises:
        OSError: If the file cannot be written.
    """
    function = _prediction_function(model)
    if export_format == "saved-model":
        _save(model, function, out)
        exported = _load_saved_model(out)
        size_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    else:
        with tempfile.TemporaryDirectory(prefix=".vgg-demo-", dir=out.parent) as temporary:
            _save(model, function, Path(temporary))
            calibration = load_batches() if export_format == "tflite-int8" else ()
            data = _convert(Path(temporary), calibration)
        out.write_bytes(data)
        exported, size_bytes = _load_tflite(data), len(data)
    pairs = [(function(tf.constant(batch)).numpy(), exported(batch)) for batch in load_batches()]
    expected, actual = (np.concatenate(probabilities) for probabilities in zip(*pairs, strict=True))
    return ExportReport(
        path=out,
        size_bytes=size_bytes,
        photos=len(pairs),
        agreement=float(np.mean(expected.argmax(axis=1) == actual.argmax(axis=1))),
        largest_difference=float(np.abs(expected - actual).max()),
    )


def _prediction_function(model: LoadedModel) -> Any:
    """Returns a `tf.function` from a preprocessed photo to calibrated probabilities."""
    spec, network = model.engine.spec, model.engine.model
    temperature = spec.custom.temperature if spec.custom is not None else 1.0
    return tf.function(
        lambda batch: tf.nn.softmax(network(batch, training=False) / temperature),
        input_signature=[tf.TensorSpec((1, spec.input_size, spec.input_size, 3), tf.float32)],
    )


class _Module(tf.Module):  # type: ignore[misc]
    """The content of a SavedModel: a function and the variables that it reads."""

    def __init__(self, model: LoadedModel, function: Any) -> None:
        super().__init__()
        self.model_variables = [variable.value for variable in model.engine.model.variables]
        self.probabilities = function


def _save(model: LoadedModel, function: Any, folder: Path) -> None:
    tf.saved_model.save(
        _Module(model, function), str(folder), signatures=function.get_concrete_function()
    )


def _load_saved_model(folder: Path) -> Any:
    loaded = tf.saved_model.load(str(folder))
    return lambda batch: loaded.probabilities(tf.constant(batch)).numpy()


def _convert(folder: Path, calibration: Iterable[NDArray[np.float32]]) -> bytes:
    """Converts a SavedModel to TensorFlow Lite; quantizes it if there are calibration photos."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    batches = list(islice(calibration, CALIBRATION_PHOTOS))
    if batches:

        def representative_dataset() -> Iterator[list[NDArray[np.float32]]]:
            for batch in batches:
                yield [batch]

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = representative_dataset
    data: bytes = converter.convert()
    return data


def _load_tflite(data: bytes) -> Any:
    interpreter = tf.lite.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        interpreter.set_tensor(inputs["index"], batch)
        interpreter.invoke()
        probabilities: NDArray[np.float32] = interpreter.get_tensor(outputs["index"])
        return probabilities

    return predict
