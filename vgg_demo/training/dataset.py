"""Photos with labels: by the folders they lie in, or by a table."""

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
    """A photo and what is on it.

    Attributes:
        source: The photo.
        label: What is on it.
        group: Photos of one group stay together when the others are split: the frames of a
            film, the photos of one person. Empty if it is in none.
    """

    source: Source
    label: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """What the columns of a table are called.

    Attributes:
        image: Of the photos' names.
        label: Of what is on them.
        group: Of the groups that stay together; empty for none.
    """

    image: str = "image"
    label: str = "label"
    group: str = ""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Photos to learn from.

    Attributes:
        photos: Those with a label, in the order in which they were found.
        unlabeled: Names of photos that have none.
        missing: Names in the table that no photo has.
        dropped: Labels that too few photos have, and how many.
    """

    photos: tuple[LabeledPhoto, ...]
    unlabeled: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    dropped: Mapping[str, int] | None = None

    @property
    def counts(self) -> dict[str, int]:
        """How many photos each label has, the labels in the order of the alphabet."""
        counts = Counter(photo.label for photo in self.photos)
        return dict(sorted(counts.items()))


def label_by_folders(sources: Iterable[Source]) -> Dataset:
    """Labels each photo with the name of the folder that it lies in.

    Args:
        sources: As `find_photos` gives them. What lies above the folder of the label does not
            matter, so that ``train/cat`` and ``test/cat`` hold the same cats.

    Raises:
        VggDemoError: If there are no photos in a folder, or an archive cannot be read.
    """
    photos = [LabeledPhoto(source, _label_of_folder(source.name)) for source in _checked(sources)]
    return Dataset(
        tuple(photo for photo in photos if photo.label),
        unlabeled=tuple(photo.source.name for photo in photos if not photo.label),
    )


def label_by_table(sources: Iterable[Source], text: str, columns: Columns = Columns()) -> Dataset:
    """Labels photos by a table.

    Args:
        sources: As `find_photos` gives them.
        text: CSV, with a header. An image is named by its path as it ends, with its suffix or
            without: ``1``, ``1.jpg`` or ``cats/1.jpg``.
        columns: What its columns are called.

    Raises:
        TableError: If it is no table, lacks a column, says two things of a photo, or names one
            thing that fits two photos.
        VggDemoError: If there are no photos in a folder, or an archive cannot be read.
    """
    rows = _read_table(text, columns)
    photos, unlabeled, used = list[LabeledPhoto](), list[str](), dict[str, str]()
    for source in _checked(sources):
        end = next((end for end in _ends(source.name) if end in rows), None)
        if end is None:
            unlabeled.append(source.name)
        else:
            if end in used:
                raise TableError(
                    f"{end[:200]!r} in the table of labels fits two photos, {used[end]!r} and "
                    f"{source.name!r}. Name more of their paths there."
                )
            label, group = rows[end]
            photos.append(LabeledPhoto(source, label, group))
            used[end] = source.name
    return Dataset(tuple(photos), tuple(unlabeled), tuple(end for end in rows if end not in used))


def drop_rare_labels(dataset: Dataset, fewest: int) -> Dataset:
    """Drops labels that fewer photos have."""
    rare = {label: count for label, count in dataset.counts.items() if count < fewest}
    kept = tuple(photo for photo in dataset.photos if photo.label not in rare)
    return Dataset(kept, dataset.unlabeled, dataset.missing, rare)


def check_classes(labels: Sequence[str]) -> None:
    """Makes sure that there is something to tell apart.

    Args:
        labels: The different labels.

    Raises:
        DatasetError: If there are too few labels or too many.
    """
    if len(labels) < 2:
        found = f"only {labels[0]!r}" if labels else "no label"
        raise DatasetError(
            f"There is {found} to learn; at least two kinds of things are needed. Put the photos "
            "of each kind into a folder named after it, or give a table."
        )
    if len(labels) > MAX_CLASSES:
        raise DatasetError(
            f"There are {len(labels)} labels; the limit is {MAX_CLASSES}. Is the column of labels "
            "the right one? Labels that few photos have can be dropped."
        )


def _checked(sources: Iterable[Source]) -> Iterator[Source]:
    """Passes photos on; what stands for a folder or an archive that holds none is an error."""
    for source in sources:
        if not is_photo(source.name):
            source.read()
        yield source


def _read_table(text: str, columns: Columns) -> dict[str, tuple[str, str]]:
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise TableError(f"The table of labels cannot be read: {error}.") from error
    wanted = [columns.image, columns.label, *([columns.group] if columns.group else [])]
    there = list(reader.fieldnames or ["(none)"])
    missing = [name for name in wanted if name not in there]
    twice = [name for name in wanted if there.count(name) > 1]
    if twice:
        raise TableError(
            f"The table of labels has several columns called {twice[0]!r}. Name each otherwise."
        )
    if missing:
        raise TableError(
            f"The table of labels has the columns {', '.join(there)[:200]}, and no "
            f"{' and no '.join(map(repr, missing))}. Name the right ones."
        )
    found: dict[str, tuple[str, str]] = {}
    for row in rows:
        image = "/".join(_parts(row[columns.image] or ""))
        label = clean_label(row[columns.label] or "")
        group = (row[columns.group] or "").strip() if columns.group else ""
        if image and label and found.setdefault(image, (label, group)) != (label, group):
            raise TableError(f"The table of labels says two things of {image[:200]!r}.")
    return found


def _label_of_folder(path: str) -> str:
    folder = "".join(_parts(path)[-2:-1])
    for suffix in ARCHIVE_SUFFIXES:  # an archive without folders holds things of one kind
        folder = folder.removesuffix(f".{suffix}")
    return clean_label(folder)


def _parts(path: str) -> list[str]:
    return [part for part in path.strip().replace("\\", "/").split("/") if part not in ("", ".")]


def _ends(name: str) -> Iterable[str]:
    """Yields a path's ends, the longest first, each with its suffix and without."""
    parts = _parts(name)
    for start in range(len(parts)):
        end = "/".join(parts[start:])
        yield end
        yield str(PurePosixPath(end).with_suffix(""))
