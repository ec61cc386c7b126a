"""Feature extraction: runs the frozen backbone once over all photos."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby, islice

import numpy as np
from numpy.typing import NDArray

from vgg_demo.errors import DatasetError, WeightsCorruptError
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.model_store import LoadedModel, ModelStore
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec, feature_count
from vgg_demo.training.augmentation import prepare_view
from vgg_demo.training.feature_cache import FeatureCache, feature_key
from vgg_demo.training.inspection import InspectedPhoto

MAX_BATCH_SIZE = 8
"""Views per batch. Larger batches take more memory and are hardly faster."""

CACHE_CHUNK = 256
"""Number of feature vectors that are read from the cache at a time."""

ViewFeatures = NDArray[np.float32]
"""Features of all views, float32 (photos, views, features)."""


@dataclass(frozen=True, slots=True)
class ExtractionProgress:
    """Progress of a feature extraction.

    Attributes:
        done: Number of finished views, including those from the cache.
        total: Number of all views.
        cached: Number of views from the cache.
        seconds: Time since the start.
    """

    done: int
    total: int
    cached: int
    seconds: float

    @property
    def remaining_seconds(self) -> float | None:
        """Estimated remaining time; None before the first batch is computed."""
        computed = self.done - self.cached
        return self.seconds / computed * (self.total - self.done) if computed else None


def extract(
    photos: Sequence[InspectedPhoto],
    feature_extractor: ModelSpec,
    store: ModelStore,
    cache: FeatureCache,
    *,
    views: int = 1,
    resize: Resize = Resize.CROP,
    limits: ImageLimits = DEFAULT_LIMITS,
) -> Generator[ExtractionProgress, None, ViewFeatures]:
    """Computes the features of photos, or reads them from the cache.

    To cancel, close the generator; computed features stay in the cache.

    Args:
        photos: The photos. Their files must be unchanged since the inspection.
        feature_extractor: The truncated backbone (`registry.backbone_spec`).
        store: Model store that loads the feature extractor.
        cache: Feature cache.
        views: Augmented views per photo; see `augmentation.augment`.
        resize: Resize method.
        limits: Size limits of each image.

    Yields:
        Progress, after each batch.

    Returns:
        float32 (photos, views, features), in the order of the photos.

    Raises:
        ModelError: If the feature extractor cannot be loaded.
        WeightsCorruptError: If it returns values that are not finite.
        DatasetError: If a photo has changed since the inspection.
        VggDemoError: If a photo can no longer be opened.
    """
    started = time.monotonic()
    with store.use(feature_extractor) as model:
        keys = [
            feature_key(
                photo.sha256, model.weights.sha256, feature_extractor.name, resize.value, view
            )
            for photo in photos
            for view in range(views)
        ]
        features = np.empty(
            (len(keys), feature_count(feature_extractor, feature_extractor.feature_layer)),
            dtype=np.float32,
        )
        missing = list(_read_cached(cache, keys, features))
        done = cached = len(keys) - len(missing)
        yield ExtractionProgress(done, len(keys), cached, time.monotonic() - started)

        def prepare(index: int, missing_views: Sequence[int]) -> list[NDArray[np.float32]]:
            """Opens a photo once for all of its missing views."""
            inspected = photos[index]
            name = inspected.photo.source.name
            photo = open_photo(inspected.photo.source.read(), file=name, limits=limits)
            if photo.sha256 != inspected.sha256:
                raise DatasetError(f"{name!r} was changed during training. Train again.")
            return [
                prepare_view(photo.image, feature_extractor, resize, view, inspected.sha256)
                for view in missing_views
            ]

        missing_views = {
            index: [row % views for row in rows]
            for index, rows in groupby(missing, key=lambda row: row // views)
        }
        size = min(MAX_BATCH_SIZE, store.batch_size(model))
        for batch in _in_batches(_prefetch(prepare, missing_views, size), size):
            rows = [index * views + view for index, view, _ in batch]
            computed = _compute([pixels for _, _, pixels in batch], model)
            features[rows] = computed
            cache.put({keys[row]: vector for row, vector in zip(rows, computed, strict=True)})
            done += len(rows)
            yield ExtractionProgress(done, len(keys), cached, time.monotonic() - started)
    return features.reshape(len(photos), views, -1)


def _read_cached(
    cache: FeatureCache, keys: Sequence[bytes], features: NDArray[np.float32]
) -> Iterator[int]:
    """Fills in the cached features; yields the rows of the missing ones."""
    for first in range(0, len(keys), CACHE_CHUNK):
        for row, cached in enumerate(cache.get(keys[first : first + CACHE_CHUNK]), start=first):
            if cached is not None and cached.shape == features[row].shape:
                features[row] = cached
            else:
                yield row


PreparedView = tuple[int, int, NDArray[np.float32]]
"""Index of a photo, number of a view, and the model's input: float32 (size, size, 3)."""


def _prefetch(
    prepare: Callable[[int, Sequence[int]], list[NDArray[np.float32]]],
    missing_views: Mapping[int, Sequence[int]],
    max_photos: int,
) -> Iterator[PreparedView]:
    """Prepares photos in threads, at most `max_photos` ahead of the consumer."""
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="features") as pool:
        pending: deque[tuple[int, Future[list[NDArray[np.float32]]]]] = deque()
        remaining = iter(missing_views.items())
        try:
            while True:
                for index, views in islice(remaining, max_photos - len(pending)):
                    pending.append((index, pool.submit(prepare, index, views)))
                if not pending:
                    return
                index, task = pending.popleft()
                for view, pixels in zip(missing_views[index], task.result(), strict=True):
                    yield index, view, pixels
        finally:
            pool.shutdown(cancel_futures=True)


def _in_batches(prepared: Iterator[PreparedView], size: int) -> Iterator[list[PreparedView]]:
    while batch := list(islice(prepared, size)):
        yield batch


def _compute(pixels: Sequence[NDArray[np.float32]], model: LoadedModel) -> NDArray[np.float32]:
    # For a batch of one, TensorFlow uses another algorithm, which rounds differently.
    batch = np.stack([*pixels, *pixels] if len(pixels) == 1 else pixels)
    features = model.engine.logits(batch)[: len(pixels)]
    if not np.isfinite(features).all():
        raise WeightsCorruptError(
            f"{model.engine.spec.keras_name} returned values that are not finite numbers: the "
            f"weights in {model.weights.file} are not those of a trained model. Replace the file."
        )
    return features
