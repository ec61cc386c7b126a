"""What the frozen body of a network makes of photos, computed once."""

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
from vgg_demo.inference.store import LoadedModel, ModelStore
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec, feature_count
from vgg_demo.training.augmentation import see
from vgg_demo.training.feature_cache import FeatureCache, feature_key
from vgg_demo.training.inspection import InspectedPhoto

MAX_AT_ONCE = 8
"""Views that the body looks at together: more take more memory and are hardly faster."""

CACHE_CHUNK = 256
"""Features that are taken from the cache at a time."""

Views = NDArray[np.float32]
"""float32 (photos, views, features)."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """How far the computing of features has come.

    Attributes:
        done: Views that are done, those from the cache among them.
        total: All.
        cached: How many came from the cache.
        seconds: Since it began.
    """

    done: int
    total: int
    cached: int
    seconds: float

    @property
    def remaining_seconds(self) -> float | None:
        """Time left at the rate so far; None while that is unknown."""
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
) -> Generator[Extraction, None, Views]:
    """Computes features of photos, or takes them from the cache.

    Whoever has seen enough closes the generator; what was computed stays in the cache.

    Args:
        photos: The photos; they must still be what was looked at.
        feature_extractor: What looks at them (`registry.backbone_spec`).
        store: Where the body is, or will be loaded into.
        cache: Where features are kept.
        views: Looks at each photo; see `augment.augmented`.
        resize: How photos are made square.
        limits: What a picture may be at most.

    Yields:
        Progress, after each batch.

    Returns:
        float32 (photos, views, features), in the order of the photos.

    Raises:
        ModelError: If the body cannot be had.
        VggDemoError: If a photo cannot be opened any more.
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
        numbers = np.empty(
            (len(keys), feature_count(feature_extractor, feature_extractor.feature_layer)),
            dtype=np.float32,
        )
        missing = list(_fill_from(cache, keys, numbers))
        done = cached = len(keys) - len(missing)
        yield Extraction(done, len(keys), cached, time.monotonic() - started)

        def prepare(place: int, lacking: Sequence[int]) -> list[NDArray[np.float32]]:
            """Opens a photo once for all of its views that are lacking."""
            inspected = photos[place]
            name = inspected.photo.source.name
            photo = open_photo(inspected.photo.source.read(), file=name, limits=limits)
            if photo.sha256 != inspected.sha256:
                raise DatasetError(f"{name!r} was changed while it was learned from. Try again.")
            return [
                see(photo.image, feature_extractor, resize, view, inspected.sha256)
                for view in lacking
            ]

        lacking = {
            place: [number % views for number in numbers_of]
            for place, numbers_of in groupby(missing, key=lambda number: number // views)
        }
        size = min(MAX_AT_ONCE, store.batch_size(model))
        for batch in _in_batches(_ahead(prepare, lacking, size), size):
            places = [place * views + view for place, view, _ in batch]
            answers = _ask([pixels for _, _, pixels in batch], model)
            found = dict(zip(places, answers, strict=True))
            for number, answer in found.items():
                numbers[number] = answer
            cache.put({keys[place]: answer for place, answer in found.items()})
            done += len(found)
            yield Extraction(done, len(keys), cached, time.monotonic() - started)
    return numbers.reshape(len(photos), views, -1)


def _fill_from(
    cache: FeatureCache, keys: Sequence[bytes], numbers: NDArray[np.float32]
) -> Iterator[int]:
    """Fills in what is in the cache; yields the places of what is not."""
    for first in range(0, len(keys), CACHE_CHUNK):
        for place, found in enumerate(cache.get(keys[first : first + CACHE_CHUNK]), start=first):
            if found is not None and found.shape == numbers[place].shape:
                numbers[place] = found
            else:
                yield place


Prepared = tuple[int, int, NDArray[np.float32]]
"""A photo's place, the view, and what goes into the network: float32 (size, size, 3)."""


def _ahead(
    prepare: Callable[[int, Sequence[int]], list[NDArray[np.float32]]],
    lacking: Mapping[int, Sequence[int]],
    most: int,
) -> Iterator[Prepared]:
    """Prepares in threads, at most so many photos ahead of who takes them."""
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="features") as pool:
        ahead: deque[tuple[int, Future[list[NDArray[np.float32]]]]] = deque()
        rest = iter(lacking.items())
        try:
            while True:
                for place, views in islice(rest, most - len(ahead)):
                    ahead.append((place, pool.submit(prepare, place, views)))
                if not ahead:
                    return
                place, task = ahead.popleft()
                for view, pixels in zip(lacking[place], task.result(), strict=True):
                    yield place, view, pixels
        finally:
            pool.shutdown(cancel_futures=True)


def _in_batches(prepared: Iterator[Prepared], size: int) -> Iterator[list[Prepared]]:
    while batch := list(islice(prepared, size)):
        yield batch


def _ask(pixels: Sequence[NDArray[np.float32]], model: LoadedModel) -> NDArray[np.float32]:
    # A batch of one is computed in another way, and its last digits differ.
    batch = np.stack([*pixels, *pixels] if len(pixels) == 1 else pixels)
    features = model.engine.logits(batch)[: len(pixels)]
    if not np.isfinite(features).all():
        raise WeightsCorruptError(
            f"{model.engine.spec.keras_name} does not answer with numbers: the weights in "
            f"{model.weights.file} are not those of a trained network."
        )
    return features
