"""Labeled photos: labels come from folder names or from a table."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from vgg_demo.errors import DatasetError, TableError
from vgg_demo.files.archives import ARCHIVE_SUFFIXES, is_photo
from vgg_demo.files.sources import Source
from vgg_demo.models.custom import MAX_CLASSES, clean_label


@dataclass(frozen=True, slots=True)
class LabeledPhoto:
    """A photo and its label.

    Attributes:
        source: The photo.
        label: Name of its class.
        group: Photos of a group, such as the frames of a video or the photos of one person, go to
            the same side of the train/validation split. Empty for no group.
    """

    source: Source
    label: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of the columns of a label table.

    Attributes:
        image: Column of the photos' names.
        label: Column of the labels.
        group: Column of the groups; empty if there is none.
    """

    image: str = "image"
    label: str = "label"
    group: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Photos to train on.

    Attributes:
        photos: The labeled photos, in the order in which they were found.
        unlabeled: Names of photos without a label.
        missing: Names in the table that match no photo.
        dropped: Labels that were dropped because they have too few photos, with their counts.
    """

    photos: tuple[LabeledPhoto, ...]
    unlabeled: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    dropped: Mapping[str, int] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Number of photos per label, sorted by label."""
        counts = Counter(photo.label for photo in self.photos)
        return dict(sorted(counts.items()))


def label_by_folders(sources: Iterable[Source]) -> Dataset:
    """Labels each photo with the name of its folder.

    Args:
        sources: Photos from `find_photos`. Only the innermost folder counts: ``train/cat`` and
            ``test/cat`` hold photos of the same class.

    Raises:
        VggDemoError: If a folder has no photos, or an archive cannot be read.
    """
    photos = [
        LabeledPhoto(source, _label_of_folder(source.name)) for source in _only_photos(sources)
    ]
    return Dataset(
        tuple(photo for photo in photos if photo.label),
        unlabeled=tuple(photo.source.name for photo in photos if not photo.label),
    )


def label_by_table(sources: Iterable[Source], text: str, columns: Columns = Columns()) -> Dataset:
    """Labels photos with a table.

    Args:
        sources: Photos from `find_photos`.
        text: CSV with a header row. Each row names a photo by the end of its path, with or
            without the suffix: ``1``, ``1.jpg`` or ``cats/1.jpg``.
        columns: Names of the columns.

    Raises:
        TableError: If the text is not a CSV table, lacks a column, has two different rows for a
            photo, or has a name that matches two photos.
        VggDemoError: If a folder has no photos, or an archive cannot be read.
    """
    rows = _read_table(text, columns)
    photos, unlabeled, matches = list[LabeledPhoto](), list[str](), dict[str, str]()
    for source in _only_photos(sources):
        ending = next((ending for ending in _path_endings(source.name) if ending in rows), None)
        if ending is None:
            unlabeled.append(source.name)
        else:
            if ending in matches:
                raise TableError(
                    f"The name {ending[:200]!r} in the label table matches two photos, "
                    f"{matches[ending]!r} and {source.name!r}. Use longer paths in the table."
                )
            label, group = rows[ending]
            photos.append(LabeledPhoto(source, label, group))
            matches[ending] = source.name
    missing = tuple(ending for ending in rows if ending not in matches)
    return Dataset(tuple(photos), tuple(unlabeled), missing)


def drop_rare_labels(dataset: Dataset, min_photos: int) -> Dataset:
    """Drops the photos of all labels that have fewer than `min_photos` photos."""
    rare = {label: count for label, count in dataset.counts.items() if count < min_photos}
    remaining = tuple(photo for photo in dataset.photos if photo.label not in rare)
    return Dataset(remaining, dataset.unlabeled, dataset.missing, rare)


def check_classes(labels: Sequence[str]) -> None:
    """Checks that the number of classes is within the limits.

    Args:
        labels: The distinct labels.

    Raises:
        DatasetError: If there are fewer than two labels or more than `MAX_CLASSES`.
    """
    if len(labels) < 2:
        reason = f"there is only {labels[0]!r}" if labels else "there are no labels"
        raise DatasetError(
            f"Training needs photos of at least two classes; {reason}. Put the photos of each "
            "class into a folder named after it, or provide a label table."
        )
    if len(labels) > MAX_CLASSES:
        raise DatasetError(
            f"There are {len(labels)} classes; the limit is {MAX_CLASSES}. Check that the label "
            "column is the right one, or exclude classes with few photos."
        )


def _only_photos(sources: Iterable[Source]) -> Iterator[Source]:
    """Yields the photos among the sources.

    A source that is not a photo stands for a folder or an archive without photos. Reading it
    raises the error that describes the problem.
    """
    for source in sources:
        if not is_photo(source.name):
            source.read()
        yield source


def _read_table(text: str, columns: Columns) -> dict[str, tuple[str, str]]:
    """Returns the label and the group of each photo, by the name in the table."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise TableError(f"The label table cannot be read as CSV: {error}.") from error
    required = [columns.image, columns.label, *([columns.group] if columns.group else [])]
    names = list(reader.fieldnames or ["(none)"])
    missing = [name for name in required if name not in names]
    repeated = [name for name in required if names.count(name) > 1]
    if repeated:
        raise TableError(
            f"The label table has several columns named {repeated[0]!r}. Rename all but one."
        )
    if missing:
        raise TableError(
            f"The label table has the columns {', '.join(names)[:200]}, but no "
            f"{' and no '.join(map(repr, missing))}. Choose the right column names."
        )
    entries: dict[str, tuple[str, str]] = {}
    for row in rows:
        image = "/".join(_split_path(row[columns.image] or ""))
        label = clean_label(row[columns.label] or "")
        group = (row[columns.group] or "").strip() if columns.group else ""
        if image and label and entries.setdefault(image, (label, group)) != (label, group):
            raise TableError(
                f"The label table has different rows for {image[:200]!r}. Keep one of them."
            )
    return entries


def _label_of_folder(path: str) -> str:
    folder = "".join(_split_path(path)[-2:-1])
    for suffix in ARCHIVE_SUFFIXES:  # an archive without folders holds photos of one class
        folder = folder.removesuffix(f".{suffix}")
    return clean_label(folder)


def _split_path(path: str) -> list[str]:
    return [part for part in path.strip().replace("\\", "/").split("/") if part not in ("", ".")]


def _path_endings(name: str) -> Iterable[str]:
    """Yields the endings of a path, the longest first, each with and without its suffix."""
    parts = _split_path(name)
    for start in range(len(parts)):
        ending = "/".join(parts[start:])
        yield ending
        yield str(PurePosixPath(ending).with_suffix(""))
