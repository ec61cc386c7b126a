"""Bytes in, `Classification` out: the whole flow in one function."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vgg_demo.errors import WeightsCorruptError
from vgg_demo.images.photo import Photo, open_photo
from vgg_demo.inference.results import Classification, Seconds
from vgg_demo.inference.store import LoadedModel, ModelStore
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits
from vgg_demo.models.preprocess import Resize, prepare
from vgg_demo.models.registry import ModelSpec


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turns scores into probabilities along the last axis, in float64.

    >>> softmax(np.array([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    scores = np.asarray(logits, dtype=np.float64)
    powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
    probabilities: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
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
    """Says what a model makes of a photo's bytes.

    The photo is decoded first, so that a bad one never makes anybody wait for a model.

    Args:
        data: The photo's bytes, as they came.
        spec: The model.
        store: Where the model is, or will be loaded into.
        file: Name for the photo in the result.
        resize: How the photo is made square.
        limits: What a picture may be at most.

    Raises:
        ImageError: If the picture cannot be used.
        ModelError: If the model cannot be loaded.
    """
    return classify_photo(open_photo(data, file=file, limits=limits), spec, store, resize=resize)


def classify_photo(
    photo: Photo, spec: ModelSpec, store: ModelStore, *, resize: Resize = Resize.CROP
) -> Classification:
    """Says what a model makes of an opened photo.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    prepared = prepare_photo(photo, spec, resize)
    with store.use(spec) as model:
        return classify_prepared(prepared, model)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A photo made ready for one model. Its own pixels are not needed any more.

    Attributes:
        file: Its name, as it was given.
        sha256: Of its bytes, 64 hex digits.
        resize: How it was made square.
        batch: float32 (1, size, size, 3).
        decode_seconds: What decoding took.
        prepare_seconds: What making it ready took.
    """

    file: str
    sha256: str
    resize: Resize
    batch: NDArray[np.float32]
    decode_seconds: float
    prepare_seconds: float


def prepare_photo(photo: Photo, spec: ModelSpec, resize: Resize) -> Prepared:
    """Makes a photo ready for a model, before the model is asked for: nobody waits for that."""
    started = time.perf_counter()
    batch = prepare(photo.image, spec, resize)
    seconds = time.perf_counter() - started
    return Prepared(photo.file, photo.sha256, resize, batch, photo.seconds, seconds)


def classify_prepared(prepared: Prepared, model: LoadedModel) -> Classification:
    """Says what a model that is at hand makes of a photo that was made ready for it."""
    (result,) = classify_batch([prepared], model)
    return result


def classify_batch(prepared: Sequence[Prepared], model: LoadedModel) -> tuple[Classification, ...]:
    """Says what a model that is at hand makes of photos, which it looks at all at once.

    Returns:
        A result for each photo. The time for all is divided equally among them.

    Raises:
        WeightsCorruptError: If the model does not answer with numbers.
    """
    started = time.perf_counter()
    logits = model.engine.logits(np.concatenate([photo.batch for photo in prepared]))
    seconds = (time.perf_counter() - started) / len(prepared)
    if not np.isfinite(logits).all():  # each weight is a number, but their products are none
        raise WeightsCorruptError(
            f"{model.engine.spec.keras_name} does not answer with numbers: the weights in "
            f"{model.weights.file} are not those of a trained network. "
            "Delete the file to have it downloaded again, or put the right one in its place."
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
            # A copy, so that one that is kept does not keep all.
            probabilities=_read_only(row),
            seconds=Seconds(
                decode=photo.decode_seconds, prepare=photo.prepare_seconds, inference=seconds
            ),
        )
        for photo, row in zip(prepared, probabilities, strict=True)
    )


def _read_only(values: NDArray[np.float64]) -> NDArray[np.float64]:
    own = values.copy()
    own.flags.writeable = False
    return own
