"""A batch of a visitor's photos: taken in, worked off, and what came of it."""

from __future__ import annotations

import base64
import io
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from typing import BinaryIO

from PIL import Image

from vgg_demo.analysis.agreement import distances
from vgg_demo.analysis.evaluation import Evaluation
from vgg_demo.analysis.ground_truth import ground_truth_reader
from vgg_demo.batch.pipeline import BatchRow, classify_photos
from vgg_demo.files.sources import Source, count_uploads, find_in_upload
from vgg_demo.images.photo import Photo
from vgg_demo.inference.results import Classification, Failure
from vgg_demo.inference.store import ModelStore
from vgg_demo.limits import ArchiveLimits, ImageLimits
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec

MAX_PHOTOS = 500
MAX_BYTES = 200 * 2**20  # of all files that are uploaded for a batch
COPY_SIDE = 480  # pixels; longer side of the copy that is kept of each photo
THUMBNAIL_SIDE = 56  # pixels; in the table
LIMITS = ArchiveLimits(members=5_000, size_bytes=1_000_000_000)
"""Of an archive: what is in it is read bit by bit, and only small copies are kept."""


@dataclass(frozen=True, slots=True)
class Copies:
    """What is kept of a photo: small JPEGs.

    Attributes:
        picture: Of `COPY_SIDE` pixels.
        thumbnail: Of `THUMBNAIL_SIDE` pixels, as an address that browsers show.
    """

    picture: bytes
    thumbnail: str


def make_copies(photo: Photo) -> Copies:
    """Scales a photo down."""
    picture = photo.image.copy()
    picture.thumbnail((COPY_SIDE, COPY_SIDE))
    small = picture.copy()
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    encoded = base64.b64encode(_jpeg(small)).decode()
    return Copies(_jpeg(picture), f"data:image/jpeg;base64,{encoded}")


def _jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


@dataclass(frozen=True)
class Found:
    """A photo and what the networks made of it.

    Attributes:
        file: Its name.
        copies: What is kept of it.
        results: What each network makes of it.
        truths: What is on it in the terms of each network, if its name says so.
    """

    file: str
    copies: Copies
    results: tuple[Classification, ...]
    truths: tuple[str | None, ...]

    @cached_property
    def disagreement(self) -> float:
        """How far apart the networks are: the largest of their distances, in [0, 1]."""
        return float(distances(self.results).max())


@dataclass(eq=False)
class BatchRun:
    """A batch, which goes on where it stopped however often the page is drawn meanwhile.

    Attributes:
        specs: The networks.
        resize: How photos are made square.
        total: How many photos there are; None where that is not known in advance.
        kept: All rows in their order, without the photos.
        found: What came of those that could be used.
        failures: Why others could not be.
        is_done: Whether it has ended or was cancelled.
        was_cut: Whether there were more photos than are taken.
        evaluated: By a network's name, how right it is and the photos that count; filled when
            it is looked at.
    """

    specs: tuple[ModelSpec, ...]
    resize: Resize
    total: int | None
    rows: Generator[BatchRow]
    kept: list[BatchRow] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    is_done: bool = False
    was_cut: bool = False
    seconds: float = 0.0
    evaluated: dict[str, tuple[Evaluation, list[Found]]] = field(default_factory=dict)
    # When the page is drawn anew, its last drawing may still be at work.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def count(self) -> int:
        return len(self.found) + len(self.failures)

    @property
    def per_second(self) -> float:
        return self.count / self.seconds if self.seconds else 0.0

    def work(self) -> Iterator[None]:
        """Works it off; yields after each photo, and may be left and begun again there."""
        while self._step():
            yield

    def _step(self) -> bool:
        """Takes the next photo. Returns whether there was one."""
        with self._lock:
            started = time.perf_counter()
            row = None if self.is_done else next(self.rows, None)
            self.seconds += time.perf_counter() - started
            if row is None:
                self.is_done = True
                return False
            # Without the source, which may hold the photo.
            self.kept.append(BatchRow(Source(row.source.name, bytes), row.results, row.failure))
            if row.failure is not None:
                self.failures.append(row.failure)
            else:
                file = row.source.name
                truths = tuple(ground_truth_reader(spec.classes)(file) for spec in self.specs)
                self.found.append(Found(file, row.view, row.results, truths))
            if self.count == MAX_PHOTOS:
                self.was_cut = self.total is None or self.total > MAX_PHOTOS
                self._end()
            return True

    def end(self) -> None:
        """Ends it, early perhaps, as soon as the networks have looked at what they look at."""
        with self._lock:
            self._end()

    def _end(self) -> None:
        self.rows.close()  # lets go of the uploads, and of what was opened of them
        self.is_done = True


def begin(
    uploads: Sequence[tuple[str, BinaryIO]],
    specs: tuple[ModelSpec, ...],
    resize: Resize,
    store: ModelStore,
    limits: ImageLimits,
) -> BatchRun:
    """Begins a batch.

    Args:
        uploads: Names and contents of photos and archives.
        specs: The networks.
        resize: How photos are made square.
        store: Where the networks are.
        limits: What a photo may be at most.
    """

    def sources() -> Iterator[Source]:
        for name, file in uploads:
            yield from find_in_upload(name, file, limits, LIMITS)

    def rows() -> Generator[BatchRow]:
        asked = classify_photos(
            sources(), specs, store, resize=resize, limits=limits, view=make_copies
        )
        with closing(asked):
            yield from asked

    return BatchRun(specs, resize, count_uploads(uploads, limits, LIMITS), rows())
