"""One batch of a visitor's photos: uploads, progress and results."""

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

from vgg_demo.analysis.agreement import pairwise_distances
from vgg_demo.analysis.evaluation import Evaluation
from vgg_demo.analysis.ground_truth import ground_truth_reader
from vgg_demo.batch.pipeline import BatchRow, classify_photos
from vgg_demo.files.sources import Source, count_uploads, find_in_upload
from vgg_demo.images.photo import Photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.inference.results import Classification, Failure
from vgg_demo.limits import ArchiveLimits, ImageLimits
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec

MAX_PHOTOS = 500
MAX_BYTES = 200 * 2**20  # total size of the files uploaded for one batch
GALLERY_SIDE = 480  # pixels; longer side of the thumbnails in the gallery
TABLE_SIDE = 56  # pixels; longer side of the thumbnails in the table
ARCHIVE_LIMITS = ArchiveLimits(members=5_000, size_bytes=1_000_000_000)
"""Limits of an uploaded archive. They can be high, because members are read one by one and only
thumbnails stay in memory."""


@dataclass(frozen=True, slots=True)
class Thumbnails:
    """Small JPEG copies of a photo, stored instead of the photo.

    Attributes:
        gallery: JPEG file; the longer side has at most `GALLERY_SIDE` pixels.
        table_url: Data URL of a JPEG file; the longer side has at most `TABLE_SIDE` pixels.
    """

    gallery: bytes
    table_url: str


def make_thumbnails(photo: Photo) -> Thumbnails:
    """Scales a photo down for the gallery and the table."""
    image = photo.image.copy()
    image.thumbnail((GALLERY_SIDE, GALLERY_SIDE))
    small = image.copy()
    small.thumbnail((TABLE_SIDE, TABLE_SIDE))
    encoded = base64.b64encode(_to_jpeg(small)).decode()
    return Thumbnails(_to_jpeg(image), f"data:image/jpeg;base64,{encoded}")


def _to_jpeg(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


@dataclass(frozen=True)
class ClassifiedPhoto:
    """The results of all models for one photo.

    Attributes:
        file: File name.
        thumbnails: Small copies of the photo.
        results: One classification for each model of the batch.
        true_wnids: The ground truth for each model as a WordNet ID; None if the file and folder
            names contain no label.
    """

    file: str
    thumbnails: Thumbnails
    results: tuple[Classification, ...]
    true_wnids: tuple[str | None, ...]

    @cached_property
    def disagreement(self) -> float:
        """The largest Jensen–Shannon distance between two models, in [0, 1]."""
        return float(pairwise_distances(self.results).max())


@dataclass(eq=False)
class BatchRun:
    """A batch of photos that continues across reruns of the page.

    Attributes:
        specs: The models.
        resize: The resize method.
        total: Number of uploaded photos; None if counting them requires unpacking an archive.
        pending: Computes and yields the remaining rows.
        rows: All finished rows in upload order, without the photos.
        photos: The photos that could be classified.
        failures: Errors of the files that could not.
        is_done: Whether the batch is finished or canceled.
        was_truncated: Whether photos beyond `MAX_PHOTOS` were skipped.
        seconds: Time spent on the photos so far.
        evaluations: For each model name, the evaluation and the photos included in it; filled
            when first displayed.
    """

    specs: tuple[ModelSpec, ...]
    resize: Resize
    total: int | None
    pending: Generator[BatchRow]
    rows: list[BatchRow] = field(default_factory=list)
    photos: list[ClassifiedPhoto] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    is_done: bool = False
    was_truncated: bool = False
    seconds: float = 0.0
    evaluations: dict[str, tuple[Evaluation, list[ClassifiedPhoto]]] = field(default_factory=dict)
    # After a rerun, the script thread of the previous run may still be processing photos.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def count(self) -> int:
        """Number of finished photos, including failures."""
        return len(self.photos) + len(self.failures)

    @property
    def per_second(self) -> float:
        """Photos per second."""
        return self.count / self.seconds if self.seconds else 0.0

    def process(self) -> Iterator[None]:
        """Processes the remaining photos and yields after each one.

        The iteration can be abandoned after any photo; a new call resumes there.
        """
        while self._process_next():
            yield

    def _process_next(self) -> bool:
        """Processes the next photo. Returns whether there was one."""
        with self._lock:
            started = time.perf_counter()
            row = None if self.is_done else next(self.pending, None)
            self.seconds += time.perf_counter() - started
            if row is None:
                self.is_done = True
                return False
            # The original source may hold the photo's bytes.
            self.rows.append(BatchRow(Source(row.source.name, bytes), row.results, row.failure))
            if row.failure is not None:
                self.failures.append(row.failure)
            else:
                file = row.source.name
                true_wnids = tuple(ground_truth_reader(spec.classes)(file) for spec in self.specs)
                self.photos.append(ClassifiedPhoto(file, row.extracted, row.results, true_wnids))
            if self.count == MAX_PHOTOS:
                self.was_truncated = self.total is None or self.total > MAX_PHOTOS
                self._stop()
            return True

    def stop(self) -> None:
        """Stops the batch after the photo that is being processed; the results stay available."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        self.pending.close()  # releases the uploads and closes open archives
        self.is_done = True


def start_batch(
    uploads: Sequence[tuple[str, BinaryIO]],
    specs: tuple[ModelSpec, ...],
    resize: Resize,
    store: ModelStore,
    limits: ImageLimits,
) -> BatchRun:
    """Creates a batch; `BatchRun.process` does the work.

    Args:
        uploads: Names and contents of photos and archives.
        specs: The models.
        resize: The resize method.
        store: Provides the loaded models.
        limits: Limits of each photo.
    """

    def sources() -> Iterator[Source]:
        for name, file in uploads:
            yield from find_in_upload(name, file, limits, ARCHIVE_LIMITS)

    def rows() -> Generator[BatchRow]:
        classified = classify_photos(
            sources(), specs, store, resize=resize, limits=limits, extract=make_thumbnails
        )
        with closing(classified):
            yield from classified

    return BatchRun(specs, resize, count_uploads(uploads, limits, ARCHIVE_LIMITS), rows())
