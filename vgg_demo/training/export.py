"""Taught models for other programs: TensorFlow Lite and SavedModel.

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

from vgg_demo.inference.store import LoadedModel
from vgg_demo.training.recipe import ExportFormat

CALIBRATION_PHOTOS = 100
"""Whose activations tell which range of values eight bits must hold; TensorFlow asks for some
hundred (its guide, *Post-training integer quantization*)."""


@dataclass(frozen=True, slots=True)
class Exported:
    """A file for other programs, and what it is worth.

    Attributes:
        path: The file, or for a SavedModel the folder.
        size_bytes: Of all that is in it.
        photos: How many both were asked about.
        agreement: Share of them of which the first answers are the same, in [0, 1].
        largest_difference: Of the probabilities, over all photos and classes.
    """

    path: Path
    size_bytes: int
    photos: int
    agreement: float
    largest_difference: float


def export(
    model: LoadedModel,
    kind: ExportFormat,
    out: Path,
    look: Callable[[], Iterable[NDArray[np.float32]]],
) -> Exported:
    """Writes a taught model for other programs; it takes what `preprocess.prepare` gives.

    What it returns are probabilities, with the temperature in them.

    Args:
        model: The model.
        kind: ``tflite`` holds the numbers as they are, ``tflite-int8`` in eight bits each.
        out: The file, or for a SavedModel the folder.
        look: Returns photos, one after the other, float32 (1, size, size, 3): by the first
            `CALIBRATION_PHOTOS`, eight bits are fitted to what is seen, and by all it is compared.
            Called once for each.

    Raises:
        OSError: If it cannot be written.
    """
    function = _probabilities(model)
    if kind == "saved-model":
        _save(model, function, out)
        answer = _saved_model_answer(out)
        size_bytes = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    else:
        with tempfile.TemporaryDirectory(prefix=".vgg-demo-", dir=out.parent) as temporary:
            _save(model, function, Path(temporary))
            data = _convert(Path(temporary), look() if kind == "tflite-int8" else ())
        out.write_bytes(data)
        answer, size_bytes = _lite_answer(data), len(data)
    pairs = [(function(tf.constant(photo)).numpy(), answer(photo)) for photo in look()]
    ours, theirs = (np.concatenate(answers) for answers in zip(*pairs, strict=True))
    return Exported(
        path=out,
        size_bytes=size_bytes,
        photos=len(pairs),
        agreement=float(np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1))),
        largest_difference=float(np.abs(ours - theirs).max()),
    )


def _probabilities(model: LoadedModel) -> Any:
    spec, network = model.engine.spec, model.engine.model
    temperature = spec.custom.temperature if spec.custom is not None else 1.0
    return tf.function(
        lambda photo: tf.nn.softmax(network(photo, training=False) / temperature),
        input_signature=[tf.TensorSpec((1, spec.input_size, spec.input_size, 3), tf.float32)],
    )


class _Module(tf.Module):  # type: ignore[misc]
    """What a SavedModel holds: a function, and the variables that it reads."""

    def __init__(self, model: LoadedModel, function: Any) -> None:
        super().__init__()
        self.held = [variable.value for variable in model.engine.model.variables]
        self.probabilities = function


def _save(model: LoadedModel, function: Any, folder: Path) -> None:
    tf.saved_model.save(
        _Module(model, function), str(folder), signatures=function.get_concrete_function()
    )


def _saved_model_answer(folder: Path) -> Any:
    loaded = tf.saved_model.load(str(folder))
    return lambda photo: loaded.probabilities(tf.constant(photo)).numpy()


def _convert(folder: Path, representative: Iterable[NDArray[np.float32]]) -> bytes:
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder))
    chosen = list(islice(representative, CALIBRATION_PHOTOS))
    if chosen:

        def subset() -> Iterator[list[NDArray[np.float32]]]:
            for photo in chosen:
                yield [photo]

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = subset
    data: bytes = converter.convert()
    return data


def _lite_answer(data: bytes) -> Any:
    interpreter = tf.lite.Interpreter(model_content=data)
    interpreter.allocate_tensors()
    into, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]

    def answer(photo: NDArray[np.float32]) -> NDArray[np.float32]:
        interpreter.set_tensor(into["index"], photo)
        interpreter.invoke()
        found: NDArray[np.float32] = interpreter.get_tensor(out["index"])
        return found

    return answer
