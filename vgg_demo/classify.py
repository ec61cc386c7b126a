"""Bytes in, `Classification` out: the whole flow in one function."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vgg_demo.images import DEFAULT_LIMITS, ImageLimits
from vgg_demo.photo import Photo, open_photo
from vgg_demo.preprocess import Resize, prepare
from vgg_demo.registry import ModelSpec
from vgg_demo.results import Classification, Seconds
from vgg_demo.store import LoadedModel, ModelStore


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
    policy: Resize = Resize.CROP,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Classification:
    """Says what a model makes of a photo's bytes.

    The photo is decoded first, so that a bad one never makes anybody wait for a model.

    Args:
        data: The photo's bytes, as they came.
        spec: The model.
        store: Where the model is, or will be loaded into.
        file: Name for the photo in the result.
        policy: How the photo is made square.
        limits: What a picture may be at most.

    Raises:
        ImageError: If the picture cannot be used.
        ModelError: If the model cannot be loaded.
    """
    return classify_photo(open_photo(data, file=file, limits=limits), spec, store, policy=policy)


def classify_photo(
    photo: Photo, spec: ModelSpec, store: ModelStore, *, policy: Resize = Resize.CROP
) -> Classification:
    """Says what a model makes of an opened photo.

    Raises:
        ModelError: If the model cannot be loaded.
    """
    prepared = prepare_photo(photo, spec, policy)
    with store.use(spec) as model:
        return classify_prepared(prepared, model)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A photo made ready for one model.

    Attributes:
        photo: The photo.
        policy: How it was made square.
        batch: float32 (1, size, size, 3).
        seconds: What that took.
    """

    photo: Photo
    policy: Resize
    batch: NDArray[np.float32]
    seconds: float


def prepare_photo(photo: Photo, spec: ModelSpec, policy: Resize) -> Prepared:
    """Makes a photo ready for a model, before the model is asked for: nobody waits for that."""
    started = time.perf_counter()
    batch = prepare(photo.image, spec, policy)
    return Prepared(photo, policy, batch, time.perf_counter() - started)


def classify_prepared(prepared: Prepared, model: LoadedModel) -> Classification:
    """Says what a model that is at hand makes of a photo that was made ready for it."""
    photo = prepared.photo
    started = time.perf_counter()
    (logits,) = model.engine.logits(prepared.batch)
    answered = time.perf_counter()
    probabilities = softmax(logits)
    probabilities.flags.writeable = False
    return Classification(
        file=photo.file,
        sha256=photo.sha256,
        model=model.engine.spec.name,
        weights=model.weights,
        precision=model.engine.precision,
        resize=prepared.policy.value,
        probabilities=probabilities,
        seconds=Seconds(
            decode=photo.seconds, prepare=prepared.seconds, inference=answered - started
        ),
    )
