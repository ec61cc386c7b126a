"""Many photos, one row for each, in their order.

Photos are read, decoded and made ready in threads while the models look at those before them.
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
from vgg_demo.inference.classify import Prepared, classify_batch, prepare_photo
from vgg_demo.inference.results import Classification, Failure
from vgg_demo.inference.store import LoadedModel, ModelStore
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec

CHUNK = 8
"""Photos between two rounds of rows. Larger batches than this are no faster on a few cores
(`benchmarks/batch.py`), and the first rows would take longer to come."""

CHUNK_OF_SEVERAL = 32
"""The same where several models look at each photo: should memory have no room for all of
them, they take turns, and each turn loads a model."""

CHUNK_BYTES = 64_000_000
"""But no more than that, as input of the models; and no more is held ahead of what comes out of
archives that are read from beginning to end."""


@dataclass(frozen=True, slots=True, eq=False)
class BatchRow:
    """What came of one photo.

    Attributes:
        source: The photo.
        results: What each model makes of it; empty if it cannot be used.
        failure: Why it cannot be used, if so.
        view: What was asked for of the photo itself.
    """

    source: Source
    results: tuple[Classification, ...]
    failure: Failure | None = None
    view: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """A photo made ready for each model, and what was asked for of it."""

    prepared: tuple[Prepared, ...]
    view: Any


def classify_photos(
    sources: Iterable[Source],
    specs: Sequence[ModelSpec],
    store: ModelStore,
    *,
    resize: Resize = Resize.CROP,
    limits: ImageLimits = DEFAULT_LIMITS,
    view: Callable[[Photo], Any] | None = None,
) -> Generator[BatchRow]:
    """Asks models about many photos.

    Whoever has seen enough closes the iterator; photos that were opened ahead are dropped.
    The numbers of a row do not depend on the photos beside it.

    Args:
        sources: The photos. They are asked for as they are needed.
        specs: The models, one or more.
        store: Where the models are, or will be loaded into.
        resize: How photos are made square.
        limits: What a picture may be at most.
        view: Called with each photo in the thread that opened it; for what is to be shown or
            saved of it, since the photo itself is let go of.

    Yields:
        A row for each source, in their order.

    Raises:
        ModelError: If a model cannot be loaded.
    """
    if not specs:
        raise ValueError("no model is named")

    def prepare(source: Source) -> _Opened | Failure:
        try:
            photo = open_photo(source.read(), file=source.name, limits=limits)
        except VggDemoError as error:
            return Failure(source.name, type(error).__name__, str(error))
        prepared = tuple(prepare_photo(photo, spec, resize) for spec in specs)
        return _Opened(prepared, view(photo) if view is not None else None)

    chunk = _chunk_size(specs)
    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="decode") as pool:
        ahead: deque[tuple[Source, Future[_Opened | Failure]]] = deque()
        rest = iter(sources)
        try:
            while True:
                while len(ahead) < 2 * chunk and _held(ahead) < CHUNK_BYTES:
                    source = next(rest, None)
                    if source is None:
                        break
                    ahead.append((source, pool.submit(prepare, source)))
                if not ahead:
                    return
                taken = [ahead.popleft() for _ in range(min(chunk, len(ahead)))]
                yield from _ask([(source, task.result()) for source, task in taken], specs, store)
        finally:
            pool.shutdown(cancel_futures=True)
            memory.give_back_freed()


def _held(ahead: Iterable[tuple[Source, object]]) -> int:
    return sum(source.held_bytes for source, _ in ahead)


def _chunk_size(specs: Sequence[ModelSpec]) -> int:
    chunk = CHUNK if len(specs) == 1 else CHUNK_OF_SEVERAL
    photo_bytes = sum(spec.input_size**2 * 3 * 4 for spec in specs)
    return max(1, min(chunk, CHUNK_BYTES // photo_bytes))


def _ask(
    opened: Sequence[tuple[Source, _Opened | Failure]],
    specs: Sequence[ModelSpec],
    store: ModelStore,
) -> Iterator[BatchRow]:
    usable = [photo for _, photo in opened if not isinstance(photo, Failure)]
    answers = [
        _answers([photo.prepared[place] for photo in usable], spec, store)
        for place, spec in enumerate(specs)
        if usable
    ]
    by_photo = zip(*answers, strict=True)
    for source, photo in opened:
        if isinstance(photo, Failure):
            yield BatchRow(source, (), photo)
        else:
            yield BatchRow(source, next(by_photo), view=photo.view)


def _answers(
    photos: Sequence[Prepared], spec: ModelSpec, store: ModelStore
) -> list[Classification]:
    with store.use(spec) as model:
        size = store.batch_size(model)
        return [
            result
            for first in range(0, len(photos), size)
            for result in _answer(photos[first : first + size], model)
        ]


def _answer(photos: Sequence[Prepared], model: LoadedModel) -> tuple[Classification, ...]:
    if len(photos) > 1:
        return classify_batch(photos, model)
    # A batch of one is computed in another way, and its last digits differ. So that they
    # depend on nothing but the photo, it is looked at beside itself.
    return classify_batch([*photos, *photos], model)[:1]


def columns(top: int = 5) -> tuple[str, ...]:
    """Returns the keys of `flatten`'s rows."""
    answers = (
        f"{kind}_{place}"
        for place in range(1, top + 1)
        for kind in ("label", "wnid", "probability")
    )
    return (
        *("file", "sha256", "model", "verdict", "sure"),
        *answers,
        *("resize", "weights_sha256", "verified", "error", "message"),
    )


def flatten(row: BatchRow, specs: Sequence[ModelSpec], top: int = 5) -> list[dict[str, Any]]:
    """Returns a row for tables: one for each model, with plain values under the same keys.

    Nothing in it differs from run to run. What does not apply is None.

    Args:
        row: What came of a photo.
        specs: The models that were asked.
        top: How many answers each row holds.
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
    filled: dict[str, Any] = dict.fromkeys(columns(top))
    filled |= {
        "file": printable(result.file),
        "sha256": result.sha256,
        "model": result.model,
        "verdict": one_line(verdict),
        "sure": verdict.is_sure,
        "resize": result.resize,
        "weights_sha256": result.weights.sha256,
        "verified": result.weights.verified,
    }
    for found in result.predictions(top):
        filled[f"label_{found.rank}"] = found.label
        filled[f"wnid_{found.rank}"] = found.wnid
        filled[f"probability_{found.rank}"] = found.probability
    return filled
