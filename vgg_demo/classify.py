"""Bytes in, `Classification` out: the whole flow in one function."""

from __future__ import annotations

import time

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
    with store.use(spec) as model:
        return classify_with(model, photo, policy=policy)


def classify_with(
    model: LoadedModel, photo: Photo, *, policy: Resize = Resize.CROP
) -> Classification:
    """Says what a model that is at hand makes of an opened photo."""
    spec = model.engine.spec
    started = time.perf_counter()
    batch = prepare(photo.image, spec, policy)
    prepared = time.perf_counter()
    (logits,) = model.engine.logits(batch)
    answered = time.perf_counter()
    probabilities = softmax(logits)
    probabilities.flags.writeable = False
    return Classification(
        file=photo.file,
        sha256=photo.sha256,
        model=spec.name,
        weights=model.weights,
        precision=model.engine.precision,
        resize=policy.value,
        probabilities=probabilities,
        seconds=Seconds(
            decode=photo.seconds, prepare=prepared - started, inference=answered - prepared
        ),
    )
