"""Photos collected class by class, from uploads or in bursts from a camera."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from vgg_demo.files.sources import Source
from vgg_demo.training.dataset import Dataset, LabeledPhoto

MIN_BURSTS = 4
"""Minimum number of bursts in a class for which each burst forms one group."""

BURST_PART = 5
"""Number of consecutive photos of a burst that form a group if the class has fewer bursts than
`MIN_BURSTS`."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A photo of a class.

    Attributes:
        name: File name.
        data: Bytes of the file.
        burst: Number of the camera burst, from 1; 0 for an uploaded photo.
        upload: Number of the upload, from 1; 0 for a photo from the camera.
    """

    name: str
    data: bytes
    burst: int = 0
    upload: int = 0


@dataclass(eq=False)
class ClassFolder:
    """The photos of one class.

    Attributes:
        id: Number of the class, which stays the same if the class is renamed.
        name: Label of the class.
        photos: The photos, in the order in which they were added.
        uploads: Number of uploads so far.
    """

    id: int
    name: str
    photos: list[Sample] = field(default_factory=list)
    uploads: int = 0

    @property
    def size_bytes(self) -> int:
        """Total size of the photos' files."""
        return sum(len(photo.data) for photo in self.photos)

    @property
    def last_count(self) -> int:
        """Number of photos in the most recent burst or upload."""
        origins = [(photo.burst, photo.upload) for photo in self.photos]
        return origins.count(origins[-1]) if origins else 0

    def remove_last(self) -> None:
        """Removes the most recent burst or upload."""
        for last in self.photos[-1:]:
            origin = last.burst, last.upload
            self.photos = [photo for photo in self.photos if (photo.burst, photo.upload) != origin]


def to_dataset(class_folders: Sequence[ClassFolder]) -> Dataset:
    """Returns the photos of all classes as a labeled dataset.

    Photos of a burst are nearly identical. If some were used for training and others for
    validation, the validation accuracy would be too high. So a whole burst forms a group if the
    class has at least `MIN_BURSTS` bursts. Otherwise, each `BURST_PART` consecutive photos of a
    burst form a group, which leaves a small bias at the boundaries.
    """
    return Dataset(
        tuple(labeled for class_folder in class_folders for labeled in _label_photos(class_folder))
    )


def _label_photos(class_folder: ClassFolder) -> Iterator[LabeledPhoto]:
    bursts = Counter(photo.burst for photo in class_folder.photos if photo.burst)
    counts = Counter[int]()
    for number, photo in enumerate(class_folder.photos, start=1):
        group = ""
        if photo.burst:
            part = 0 if len(bursts) >= MIN_BURSTS else counts[photo.burst] // BURST_PART
            group = f"camera {class_folder.id} {photo.burst} {part}"
            counts[photo.burst] += 1
        source = Source(f"{class_folder.name}/{number:03} {photo.name}", partial(bytes, photo.data))
        yield LabeledPhoto(source, class_folder.name, group)
