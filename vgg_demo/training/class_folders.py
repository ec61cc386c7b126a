"""Photos that are collected kind by kind, in rows from a camera or in uploads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from vgg_demo.files.sources import Source
from vgg_demo.training.dataset import Dataset, LabeledPhoto

MANY_ROWS = 4
"""Of so many rows, one can be kept back whole."""

TOGETHER = 5
"""Photos of a row that stay together where there are fewer rows."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A photo of a kind.

    Attributes:
        name: Of the file.
        data: Its bytes.
        row: Of the camera, from 1; 0 if it comes from elsewhere.
        upload: From 1; 0 if it comes from a camera.
    """

    name: str
    data: bytes
    row: int = 0
    upload: int = 0


@dataclass(eq=False)
class ClassFolder:
    """Photos of one kind of thing.

    Attributes:
        id: Tells it from others, whatever it is called.
        name: What is on the photos.
        photos: What was given.
        uploads: How often photos were uploaded.
    """

    id: int
    name: str
    photos: list[Sample] = field(default_factory=list)
    uploads: int = 0

    @property
    def size_bytes(self) -> int:
        return sum(len(photo.data) for photo in self.photos)

    @property
    def last_count(self) -> int:
        """How many photos came together with the last one."""
        came = [(photo.row, photo.upload) for photo in self.photos]
        return came.count(came[-1]) if came else 0

    def take_out_last(self) -> None:
        """Takes out what came together with the last photo."""
        for last in self.photos[-1:]:
            came = last.row, last.upload
            self.photos = [one for one in self.photos if (one.row, one.upload) != came]


def to_dataset(class_folders: Sequence[ClassFolder]) -> Dataset:
    """Returns the photos with the names of their kinds.

    Photos of a row are nearly alike, and a network that is judged by what it has nearly seen is
    flattered. So a row stays together, where there are enough of them that one can be kept back;
    else parts of rows do, which flatter a little at their ends.
    """
    return Dataset(
        tuple(labelled for class_folder in class_folders for labelled in _label(class_folder))
    )


def _label(class_folder: ClassFolder) -> Iterator[LabeledPhoto]:
    rows = Counter(photo.row for photo in class_folder.photos if photo.row)
    seen = Counter[int]()
    for number, photo in enumerate(class_folder.photos, start=1):
        group = ""
        if photo.row:
            part = 0 if len(rows) >= MANY_ROWS else seen[photo.row] // TOGETHER
            group = f"camera {class_folder.id} {photo.row} {part}"
            seen[photo.row] += 1
        source = Source(f"{class_folder.name}/{number:03} {photo.name}", partial(bytes, photo.data))
        yield LabeledPhoto(source, class_folder.name, group)
