"""Classifies many photos on one machine: one row per photo, in input order.

Threads read, decode and preprocess photos while the models classify the previous ones.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from vgg_demo import memory
from vgg_demo.analysis.verdict import interpret, one_line
from vgg_demo.errors import VggDemoError
from vgg_demo.files.printable import printable
from vgg_demo.files.sources import Source
from vgg_demo.images.photo import Photo, open_photo
from vgg_demo.inference.classify import PreparedPhoto, classify_batch, prepare_photo
from vgg_demo.inference.model_store import LoadedModel, ModelStore
from vgg_demo.inference.results import Classification, Failure
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec

CHUNK_SIZE = 8
"""Photos per chunk. Larger chunks are no faster on a few cores (`benchmarks/batch.py`) and delay
the first rows."""

MULTI_MODEL_CHUNK_SIZE = 32
"""Photos per chunk with several models. If they do not all fit into memory, each chunk loads each
model once."""

MAX_CHUNK_BYTES = 64_000_000
"""Upper limit for the model input of a chunk, and for photo bytes read ahead from archives that
can only be read sequentially."""


@dataclass(frozen=True, slots=True, eq=False)
class BatchRow:
    """The results for one photo.

    Attributes:
        source: The photo.
        results: One classification per model; empty if the photo cannot be used.
        failure: The reason if the photo cannot be used; None otherwise.
        extracted: The return value of `classify_photos`'s `extract` for this photo.
    """

    source: Source
    results: tuple[Classification, ...]
    failure: Failure | None = None
    extracted: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class _OpenedPhoto:
    """A photo preprocessed for each model, and the value that `extract` returned."""

    prepared: tuple[PreparedPhoto, ...]
    extracted: Any


def classify_photos(
    sources: Iterable[Source],
    specs: Sequence[ModelSpec],
    store: ModelStore,
    *,
    resize: Resize = Resize.CROP,
    limits: ImageLimits = DEFAULT_LIMITS,
    extract: Callable[[Photo], Any] | None = None,
) -> Generator[BatchRow]:
    """Classifies many photos with one or more models.

    Close the iterator to stop early; photos that were opened ahead are discarded. The
    probabilities of a photo do not depend on the other photos.

    Args:
        sources: The photos; consumed as needed.
        specs: The models, at least one.
        store: Provides the models and loads them if necessary.
        resize: How photos are made square.
        limits: Image size limits.
        extract: Called with each photo in the thread that decoded it. Its return value is stored in
            `BatchRow.extracted`; the photo itself is discarded.

    Yields:
        One row per source, in input order.

    Raises:
        ModelError: If a model cannot be loaded.
        ValueError: If `specs` is empty.
    """
    if not specs:
        raise ValueError("specs is empty; name at least one model")

    def prepare(source: Source) -> _OpenedPhoto | Failure:
        try:
            photo = open_photo(source.read(), file=source.name, limits=limits)
        except VggDemoError as error:
            return Failure(source.name, type(error).__name__, str(error))
        prepared = tuple(prepare_photo(photo, spec, resize) for spec in specs)
        return _OpenedPhoto(prepared, extract(photo) if extract is not None else None)

    chunk_size = _chunk_size(specs)
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode") as pool:
        ahead: deque[tuple[Source, Future[_OpenedPhoto | Failure]]] = deque()
        remaining = iter(sources)
        try:
            while True:
                while len(ahead) < 2 * chunk_size and _buffered_bytes(ahead) < MAX_CHUNK_BYTES:
                    source = next(remaining, None)
                    if source is None:
                        break
                    ahead.append((source, pool.submit(prepare, source)))
                if not ahead:
                    return
                chunk = [ahead.popleft() for _ in range(min(chunk_size, len(ahead)))]
                opened = [(source, future.result()) for source, future in chunk]
                yield from _classify_chunk(opened, specs, store)
        finally:
            pool.shutdown(cancel_futures=True)
            memory.trim_heap()


def _buffered_bytes(ahead: Iterable[tuple[Source, object]]) -> int:
    return sum(source.buffered_bytes for source, _ in ahead)


def _chunk_size(specs: Sequence[ModelSpec]) -> int:
    size = CHUNK_SIZE if len(specs) == 1 else MULTI_MODEL_CHUNK_SIZE
    photo_bytes = sum(spec.input_size**2 * 3 * 4 for spec in specs)
    return max(1, min(size, MAX_CHUNK_BYTES // photo_bytes))


def _classify_chunk(
    opened: Sequence[tuple[Source, _OpenedPhoto | Failure]],
    specs: Sequence[ModelSpec],
    store: ModelStore,
) -> Iterator[BatchRow]:
    usable = [photo for _, photo in opened if not isinstance(photo, Failure)]
    results_by_model = [
        _classify_with(spec, [photo.prepared[index] for photo in usable], store)
        for index, spec in enumerate(specs)
        if usable
    ]
    results_by_photo = zip(*results_by_model, strict=True)
    for source, photo in opened:
        if isinstance(photo, Failure):
            yield BatchRow(source, (), photo)
        else:
            yield BatchRow(source, next(results_by_photo), extracted=photo.extracted)


def _classify_with(
    spec: ModelSpec, photos: Sequence[PreparedPhoto], store: ModelStore
) -> list[Classification]:
    with store.use(spec) as model:
        size = store.batch_size(model)
        return [
            result
            for start in range(0, len(photos), size)
            for result in _classify_batch(photos[start : start + size], model)
        ]


def _classify_batch(
    photos: Sequence[PreparedPhoto], model: LoadedModel
) -> tuple[Classification, ...]:
    if len(photos) > 1:
        return classify_batch(photos, model)
    # A batch of one uses other kernels, and the last digits differ. The photo is duplicated, so
    # that its probabilities do not depend on the batch size.
    return classify_batch([*photos, *photos], model)[:1]


def columns(top: int = 5) -> tuple[str, ...]:
    """Returns the column names of the rows from `flatten`.

    Args:
        top: Number of predictions per row.
    """
    predictions = (
        f"{field}_{rank}"
        for rank in range(1, top + 1)
        for field in ("label", "wnid", "probability")
    )
    return (
        *("file", "sha256", "model", "verdict", "sure"),
        *predictions,
        *("resize", "weights_sha256", "verified", "error", "message"),
    )


def flatten(row: BatchRow, specs: Sequence[ModelSpec], top: int = 5) -> list[dict[str, Any]]:
    """Returns table rows for a photo: one per model, with plain values under the same columns.

    The values are identical in every run. Values that do not apply are None.

    Args:
        row: The results for a photo.
        specs: The models that were used.
        top: Number of predictions per row.
    """
    if row.failure is not None:
        return [_flatten_failure(row.failure, spec.name, top) for spec in specs]
    return [_flatten_result(result, top) for result in row.results]


def _flatten_failure(failure: Failure, model: str, top: int) -> dict[str, Any]:
    return dict.fromkeys(columns(top)) | {
        "file": printable(failure.file),
        "model": model,
        "error": failure.error,
        "message": printable(failure.message),
    }


def _flatten_result(result: Classification, top: int) -> dict[str, Any]:
    verdict = interpret(result)
    row: dict[str, Any] = dict.fromkeys(columns(top))
    row |= {
        "file": printable(result.file),
        "sha256": result.sha256,
        "model": result.model,
        "verdict": one_line(verdict),
        "sure": verdict.is_sure,
        "resize": result.resize,
        "weights_sha256": result.weights.sha256,
        "verified": result.weights.verified,
    }
    for prediction in result.predictions(top):
        row[f"label_{prediction.rank}"] = prediction.label
        row[f"wnid_{prediction.rank}"] = prediction.wnid
        row[f"probability_{prediction.rank}"] = prediction.probability
    return row
