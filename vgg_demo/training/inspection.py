"""What may be wrong with photos, said before anything is learned from them."""

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

FEW = 20
"""Photos of a kind below which its answers will hardly be good."""

IMBALANCE = 3.0
"""The largest kind over the smallest, from which on it is mentioned."""

MIN_SHARE_OF_INPUT = 0.5
"""Short side over the network's input size, below which a photo is called small."""

MAX_ASPECT = 3.0
"""Long side over short side, above which a photo is called long: most of it is cut off."""

HASH_SIDE = 16
QUIET = 3
"""Levels of grey, of 256, by which a place must be brighter than the one beside it to count: less
is what saving a photo anew makes of a plain sky."""

SAME_BITS = 16
"""Of 256; photos whose fingerprints differ by no more are called twins. The examples and 60 photos
of clothing, saved anew at qualities from 60 on or scaled to half, differ by 7 at most; no two of
600 different photos of clothing by 16."""

MIN_BITS = 32
"""A photo of which fewer bits are set, or are not, is nearly plain, and looks like all such."""

THUMBNAIL_SIDE = 160  # pixels


@dataclass(frozen=True, slots=True, eq=False)
class InspectedPhoto:
    """What is known of a photo that could be opened.

    Attributes:
        photo: Source, label and group.
        sha256: Of its bytes, 64 hex digits.
        width: In pixels, upright.
        height: Likewise.
        size_bytes: Of its file.
        fingerprint: uint64 (4,): what it looks like, roughly.
        thumbnail: JPEG, the square in its middle with `THUMBNAIL_SIDE` pixels a side; empty if
            none was wanted.
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
    """What may be wrong with photos. Places are those in the sequence that was checked.

    Attributes:
        counts: How many photos each label has.
        twins: Photos that look the same, in groups, the largest first.
        contradictions: Those of the groups whose photos have different labels.
        alike: Labels that differ in capitals only, in groups.
        few: Labels with fewer than `FEW` photos, and how many.
        imbalance: The most photos of a label over the fewest.
        small: Photos much smaller than what the network looks at.
        long: Photos of which cutting out the centre leaves little.
    """

    counts: dict[str, int]
    twins: tuple[tuple[int, ...], ...]
    contradictions: tuple[tuple[int, ...], ...]
    alike: tuple[tuple[str, ...], ...]
    few: dict[str, int]
    imbalance: float
    small: tuple[int, ...]
    long: tuple[int, ...]


def inspect_photos(
    photos: Sequence[LabeledPhoto],
    limits: ImageLimits = DEFAULT_LIMITS,
    *,
    with_thumbnails: bool = False,
) -> Generator[InspectedPhoto | Failure]:
    """Opens photos in threads and yields what is known of them, in their order."""

    def look(photo: LabeledPhoto) -> InspectedPhoto | Failure:
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

    with ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="check") as pool:
        ahead: deque[Future[InspectedPhoto | Failure]] = deque()
        try:
            for photo in photos:
                ahead.append(pool.submit(look, photo))
                if len(ahead) > 2 * (os.cpu_count() or 1):
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def report_issues(photos: Sequence[InspectedPhoto], input_size: int) -> InspectionReport:
    """Says what may be wrong with photos.

    Args:
        photos: The photos.
        input_size: Height and width in pixels of what the network looks at.
    """
    counts = Counter(one.photo.label for one in photos)
    twins = find_twins([one.fingerprint for one in photos])
    return InspectionReport(
        counts=dict(sorted(counts.items())),
        twins=twins,
        contradictions=tuple(
            group for group in twins if len({photos[place].photo.label for place in group}) > 1
        ),
        alike=_alike(sorted(counts)),
        few={label: count for label, count in sorted(counts.items()) if count < FEW},
        imbalance=max(counts.values()) / min(counts.values()) if counts else 1.0,
        small=tuple(
            place
            for place, one in enumerate(photos)
            if min(one.width, one.height) < MIN_SHARE_OF_INPUT * input_size
        ),
        long=tuple(
            place
            for place, one in enumerate(photos)
            if max(one.width, one.height) > MAX_ASPECT * min(one.width, one.height)
        ),
    )


def _alike(labels: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault(label.casefold(), []).append(label)
    return tuple(tuple(group) for group in groups.values() if len(group) > 1)


def fingerprint(image: Image.Image) -> NDArray[np.uint64]:
    """Returns 256 bits that hardly change when a photo is scaled or saved anew.

    Each says whether a place is clearly brighter than the one to its left, in the photo scaled to
    17 × 16 greys (the "difference hash", Krawetz 2013, *Kind of Like That*).

    Args:
        image: RGB.

    Returns:
        uint64 (4,).
    """
    small = image.convert("L").resize((HASH_SIDE + 1, HASH_SIDE), Image.Resampling.LANCZOS)
    greys = np.asarray(small, dtype=np.int16)
    return np.packbits(greys[:, 1:] > greys[:, :-1] + QUIET).view(np.uint64)


def find_twins(fingerprints: Sequence[NDArray[np.uint64]]) -> tuple[tuple[int, ...], ...]:
    """Finds photos that look the same.

    Args:
        fingerprints: Of `fingerprint`.

    Returns:
        Groups of places, ascending, the largest group first. Who looks like one of a group
        belongs to it.
    """
    leader = list(range(len(fingerprints)))

    def find(place: int) -> int:
        while leader[place] != place:
            leader[place] = leader[leader[place]]
            place = leader[place]
        return place

    for one, other in _pairs(np.array(fingerprints, dtype=np.uint64).reshape(-1, 4)):
        leader[find(other)] = find(one)
    groups: dict[int, list[int]] = {}
    for place in range(len(leader)):
        groups.setdefault(find(place), []).append(place)
    found = [tuple(group) for group in groups.values() if len(group) > 1]
    return tuple(sorted(found, key=lambda group: (-len(group), group)))


def _pairs(fingerprints: NDArray[np.uint64]) -> Iterator[tuple[int, int]]:
    """Yields the pairs that differ by at most `SAME_BITS`; a photo at a time, for memory."""
    set_bits = np.bitwise_count(fingerprints).sum(axis=1)
    tells = (set_bits >= MIN_BITS) & (set_bits <= 256 - MIN_BITS)
    for place in np.flatnonzero(tells[:-1]).tolist():
        bits = np.bitwise_count(fingerprints[place + 1 :] ^ fingerprints[place]).sum(axis=1)
        for other in np.flatnonzero((bits <= SAME_BITS) & tells[place + 1 :]):
            yield place, place + 1 + int(other)


def square_thumbnail(image: Image.Image) -> bytes:
    """Returns the square in the middle of an RGB image, as a small JPEG."""
    small = ImageOps.fit(image, (THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()
