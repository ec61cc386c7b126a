"""Classification: from the bytes of a photo to a `Classification`."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vgg_demo.errors import WeightsCorruptError
from vgg_demo.images.photo import Photo, open_photo
from vgg_demo.inference.model_store import LoadedModel, ModelStore
from vgg_demo.inference.results import Classification, Seconds
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits
from vgg_demo.models.preprocess import Resize, prepare
from vgg_demo.models.registry import ModelSpec


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns the softmax of logits along the last axis, in float64.

    Args:
        logits: float (…, classes).

    >>> softmax(np.array([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    scores = np.asarray(logits, dtype=np.float64)
    exponentials = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def classify(
    data: bytes,
    spec: ModelSpec,
    store: ModelStore,
    *,
    file: str = "",
    resize: Resize = Resize.CROP,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Classification:
    """Classifies a photo.

    The photo is decoded before the model is loaded, so that an invalid photo fails fast.

    Args:
        data: Bytes of the image file.
        spec: The model.
        store: Provides the model and loads it if necessary.
        file: Name of the photo in the result.
        resize: Resize method.
        limits: Image size limits.

    Raises:
        ImageError: If the image cannot be used.
        ModelError: If the model cannot be loaded.
    """
    return classify_photo(open_photo(data, file=file, limits=limits), spec, store, resize=resize)


def classify_photo(
    photo: Photo, spec: ModelSpec, store: ModelStore, *, resize: Resize = Resize.CROP
) -> Classification:
    """Classifies a decoded photo.

    Args:
        photo: The photo.
        spec: The model.
        store: Provides the model and loads it if necessary.
        resize: Resize method.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    prepared = prepare_photo(photo, spec, resize)
    with store.use(spec) as model:
        return classify_prepared(prepared, model)


@dataclass(frozen=True, slots=True, eq=False)
class PreparedPhoto:
    """A photo preprocessed for one model; the original pixels are no longer needed.

    Attributes:
        file: Name of the photo.
        sha256: SHA-256 of the image file, 64 hex digits.
        resize: Resize method.
        batch: float32 (1, size, size, 3), normalized.
        decode_seconds: Seconds for decoding.
        prepare_seconds: Seconds for preprocessing.
    """

    file: str
    sha256: str
    resize: Resize
    batch: NDArray[np.float32]
    decode_seconds: float
    prepare_seconds: float


def prepare_photo(photo: Photo, spec: ModelSpec, resize: Resize) -> PreparedPhoto:
    """Preprocesses a photo for a model.

    Call this outside of `ModelStore.use`: a model in use cannot be evicted at once.
    """
    started_at = time.perf_counter()
    batch = prepare(photo.image, spec, resize)
    seconds = time.perf_counter() - started_at
    return PreparedPhoto(photo.file, photo.sha256, resize, batch, photo.seconds, seconds)


def classify_prepared(prepared: PreparedPhoto, model: LoadedModel) -> Classification:
    """Classifies a preprocessed photo with a loaded model.

    Raises:
        WeightsCorruptError: If the model's output is not finite.
    """
    (result,) = classify_batch([prepared], model)
    return result


def classify_batch(
    prepared: Sequence[PreparedPhoto], model: LoadedModel
) -> tuple[Classification, ...]:
    """Classifies preprocessed photos in one batch with a loaded model.

    Returns:
        One result per photo. The time of the batch is divided equally among the photos.

    Raises:
        WeightsCorruptError: If the model's output is not finite.
    """
    started_at = time.perf_counter()
    logits = model.engine.logits(np.concatenate([photo.batch for photo in prepared]))
    seconds = (time.perf_counter() - started_at) / len(prepared)
    if not np.isfinite(logits).all():  # finite weights can still overflow
        raise WeightsCorruptError(
            f"The output of {model.engine.spec.keras_name} is not finite: the weights in "
            f"{model.weights.file} are not those of a trained model. "
            "Delete it to download it again, or replace it with the correct file."
        )
    probabilities = softmax(logits)
    return tuple(
        Classification(
            file=photo.file,
            sha256=photo.sha256,
            spec=model.engine.spec,
            weights=model.weights,
            precision=model.engine.precision,
            resize=photo.resize.value,
            # A copy, so that a result does not keep the whole batch alive.
            probabilities=_read_only_copy(row),
            seconds=Seconds(
                decode=photo.decode_seconds, prepare=photo.prepare_seconds, inference=seconds
            ),
        )
        for photo, row in zip(prepared, probabilities, strict=True)
    )


def _read_only_copy(values: NDArray[np.float64]) -> NDArray[np.float64]:
    copy = values.copy()
    copy.flags.writeable = False
    return copy
