"""Inspection: finds duplicates, conflicting labels and other possible issues before training."""

from __future__ import annotations

import io
import os
from collections import Counter, deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vgg_demo.errors import VggDemoError
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.results import Failure
from vgg_demo.limits import DEFAULT_LIMITS, ImageLimits
from vgg_demo.training.dataset import LabeledPhoto

RECOMMENDED_PHOTOS = 20
"""Number of photos per class below which a class is reported as small."""

IMBALANCE = 3.0
"""Ratio of the largest class to the smallest that is reported as an imbalance, or more."""

MIN_RELATIVE_SIDE = 0.5
"""Short side over the model's input size below which a photo's resolution is reported as low."""

MAX_ASPECT_RATIO = 3.0
"""Long side over short side above which a photo is reported: a center crop removes most of it."""

HASH_SIDE = 16
MIN_DIFFERENCE = 3
"""Gray levels, of 256, by which a pixel must be brighter than its left neighbor to set a bit. JPEG
compression causes smaller differences in uniform areas such as a clear sky."""

MAX_HAMMING_DISTANCE = 16
"""Photos are duplicates if at most this many of the 256 bits of their fingerprints differ. The
example photos and 60 photos of clothing, compressed again at a quality of 60 or more or scaled to
half, differ in at most 7 bits; no two of 600 different photos of clothing differ in 16 or fewer."""

MIN_SET_BITS = 32
"""Fingerprints with fewer set (or unset) bits belong to nearly uniform photos. They are not
compared, because all of them would count as duplicates."""

THUMBNAIL_SIDE = 160  # pixels


@dataclass(frozen=True, slots=True, eq=False)
class InspectedPhoto:
    """A photo that could be opened, and its properties.

    Attributes:
        photo: Source, label and group.
        sha256: SHA-256 of the file, 64 hex digits.
        width: Width of the upright photo in pixels.
        height: Height of the upright photo in pixels.
        size_bytes: Size of the file.
        fingerprint: Perceptual hash, uint64 (4,); see `fingerprint`.
        thumbnail: JPEG of the center square, `THUMBNAIL_SIDE` pixels a side; empty if thumbnails
            were not requested.
    """

    photo: LabeledPhoto
    sha256: str
    width: int
    height: int
    size_bytes: int
    fingerprint: NDArray[np.uint64]
    thumbnail: bytes


@dataclass(frozen=True, slots=True)
class InspectionReport:
    """Possible issues in a dataset. Photos are given as indices into the inspected sequence.

    Attributes:
        counts: Number of photos per class.
        duplicates: Groups of duplicate or near-duplicate photos, the largest first.
        conflicting_labels: The groups in `duplicates` that have photos with different labels.
        similar_labels: Groups of labels that differ only in upper and lower case.
        small_classes: Classes with fewer than `RECOMMENDED_PHOTOS` photos, with their counts.
        imbalance: Number of photos of the largest class over that of the smallest.
        low_resolution: Photos much smaller than the model's input.
        extreme_aspect_ratio: Photos of which a center crop keeps only a small part.
    """

    counts: dict[str, int]
    duplicates: tuple[tuple[int, ...], ...]
    conflicting_labels: tuple[tuple[int, ...], ...]
    similar_labels: tuple[tuple[str, ...], ...]
    small_classes: dict[str, int]
    imbalance: float
    low_resolution: tuple[int, ...]
    extreme_aspect_ratio: tuple[int, ...]


def inspect_photos(
    photos: Sequence[LabeledPhoto],
    limits: ImageLimits = DEFAULT_LIMITS,
    *,
    with_thumbnails: bool = False,
) -> Generator[InspectedPhoto | Failure]:
    """Opens photos in threads.

    Args:
        photos: The photos.
        limits: Size limits of each image.
        with_thumbnails: Whether to make thumbnails.

    Yields:
        The properties of each photo, or the reason why it could not be opened, in order.
    """

    def inspect(photo: LabeledPhoto) -> InspectedPhoto | Failure:
        try:
            data = photo.source.read()
            opened = open_photo(data, file=photo.source.name, limits=limits)
        except VggDemoError as error:
            return Failure(photo.source.name, type(error).__name__, str(error))
        return InspectedPhoto(
            photo,
            opened.sha256,
            *opened.image.size,
            len(data),
            fingerprint(opened.image),
            square_thumbnail(opened.image) if with_thumbnails else b"",
        )

    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="inspect") as pool:
        pending: deque[Future[InspectedPhoto | Failure]] = deque()
        try:
            for photo in photos:
                pending.append(pool.submit(inspect, photo))
                if len(pending) > 2 * (os.cpu_count() or 1):
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def report_issues(photos: Sequence[InspectedPhoto], input_size: int) -> InspectionReport:
    """Returns the possible issues in a dataset.

    Args:
        photos: The photos.
        input_size: Height and width of the model's input in pixels.
    """
    counts = Counter(inspected.photo.label for inspected in photos)
    duplicates = find_duplicates([inspected.fingerprint for inspected in photos])
    return InspectionReport(
        counts=dict(sorted(counts.items())),
        duplicates=duplicates,
        conflicting_labels=tuple(
            group for group in duplicates if len({photos[index].photo.label for index in group}) > 1
        ),
        similar_labels=_find_similar_labels(sorted(counts)),
        small_classes={
            label: count for label, count in sorted(counts.items()) if count < RECOMMENDED_PHOTOS
        },
        imbalance=max(counts.values()) / min(counts.values()) if counts else 1.0,
        low_resolution=tuple(
            index
            for index, inspected in enumerate(photos)
            if min(inspected.width, inspected.height) < MIN_RELATIVE_SIDE * input_size
        ),
        extreme_aspect_ratio=tuple(
            index
            for index, inspected in enumerate(photos)
            if max(inspected.width, inspected.height)
            > MAX_ASPECT_RATIO * min(inspected.width, inspected.height)
        ),
    )


def _find_similar_labels(labels: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(label.casefold(), []).append(label)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def fingerprint(image: Image.Image) -> NDArray[np.uint64]:
    """Returns a 256-bit perceptual hash, robust against scaling and recompression.

    It is a difference hash (Krawetz 2013, *Kind of Like That*): in the image scaled to 17 × 16
    gray pixels, a bit is set if a pixel is clearly brighter than its left neighbor.

    Args:
        image: RGB image.

    Returns:
        uint64 (4,).
    """
    small = image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.LANCZOS)
    gray = np.asarray(small, dtype=np.int16)
    return np.packbits(gray[:, 1:] > gray[:, :-1] + MIN_DIFFERENCE).view(np.uint64)


def find_duplicates(fingerprints: Sequence[NDArray[np.uint64]]) -> tuple[tuple[int, ...], ...]:
    """Groups duplicate and near-duplicate photos.

    Args:
        fingerprints: Perceptual hashes from `fingerprint`, uint64 (4,) each.

    Returns:
        Groups of ascending indices, the largest group first. The relation is transitive: a photo
        that matches one photo of a group belongs to the group (single linkage).
    """
    parents = list(range(len(fingerprints)))  # disjoint sets

    def find(index: int) -> int:
        while parents[index] != index:
            parents[index] = parents[parents[index]]
            index = parents[index]
        return index

    for first, second in _find_similar_pairs(
        np.array(fingerprints, dtype=np.uint64).reshape(-1, 4)
    ):
        parents[find(second)] = find(first)
    groups: dict[int, list[int]] = {}
    for index in range(len(parents)):
        groups.setdefault(find(index), []).append(index)
    duplicates = [tuple(group) for group in groups.values() if len(group) > 1]
    return tuple(sorted(duplicates, key=lambda group: (-len(group), group)))


def _find_similar_pairs(fingerprints: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Yields the pairs within `MAX_HAMMING_DISTANCE`, row by row to save memory."""
    set_bits = np.bitwise_count(fingerprints).sum(axis=1)
    is_usable = (set_bits >= MIN_SET_BITS) & (set_bits <= 256 - MIN_SET_BITS)
    for index in np.flatnonzero(is_usable[:-1]).tolist():
        distances = np.bitwise_count(fingerprints[index + 1 :] ^ fingerprints[index]).sum(axis=1)
        for offset in np.flatnonzero((distances <= MAX_HAMMING_DISTANCE) & is_usable[index + 1 :]):
            yield index, index + 1 + int(offset)


def square_thumbnail(image: Image.Image) -> bytes:
    """Returns the center square of an RGB image as a JPEG, `THUMBNAIL_SIDE` pixels a side."""
    small = ImageOps.fit(image, (THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
