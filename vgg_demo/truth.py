"""What is really on a photo, where its name, its folder or a table says so."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import PurePath, PurePosixPath

from vgg_demo.errors import TableError
from vgg_demo.labels import ClassLabel, ancestors, depth, load_labels

WNID = re.compile(r"(?<![a-z0-9])n\d{8}(?!\d)")
FindTruth = Callable[[str], str | None]
"""Says the WordNet ID of what is on a photo by the photo's name; None where it is not known."""


def truth_in_name(name: str) -> str | None:
    """Reads what is on a photo from its name: a WordNet ID anywhere, else the folder's name.

    >>> truth_in_name("val/n02123045_17.jpg"), truth_in_name("photos.zip/tabby/1.jpg")
    ('n02123045', 'n02123045')
    """
    path = PurePosixPath(PurePath(name).as_posix())
    for part in reversed(path.parts):
        if found := WNID.search(part):
            return found.group() if found.group() in _known_wnids() else None
    return wnid_of(path.parent.name)


def wnid_of(label: str) -> str | None:
    """Returns the WordNet ID of a class by its name or by the ID itself; None if there is none.

    >>> wnid_of("Egyptian_cat"), wnid_of("n02124075"), wnid_of("my holidays")
    ('n02124075', 'n02124075', None)
    """
    wanted = " ".join(label.replace("_", " ").split())
    if wanted in _known_wnids():
        return wanted
    exact, folded = _wnids_by_label()
    return exact.get(wanted) or folded.get(wanted.casefold())


def read_truth(text: str) -> FindTruth:
    """Reads true labels from a table with the columns ``image`` and ``label``.

    An image is named by its path as it ends: ``1.jpg`` or ``cats/1.jpg``. A label is a
    class's name or its WordNet ID; photos with other labels are of unknown truth.

    Args:
        text: CSV, with a header.

    Raises:
        TableError: If a column is missing, or no label is a class.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise TableError(f"The table of labels cannot be read: {error}.") from error
    columns = reader.fieldnames or ["(none)"]
    if not {"image", "label"} <= set(columns):
        raise TableError(
            f"The table of labels has the columns {', '.join(columns)[:200]}; "
            "it needs image and label."
        )
    labels = {_slashes(row["image"] or ""): wnid_of(row["label"] or "") for row in rows}
    truth = {image: wnid for image, wnid in labels.items() if wnid}
    if not truth:
        first = rows[0]["label"] if rows else ""
        raise TableError(
            f"No label in the table is a class; the first is {str(first)[:60]!r}. "
            "Use names or WordNet IDs as `classify` gives them."
        )
    return _by_end_of_path(truth)


def _by_end_of_path(truth: Mapping[str, str]) -> FindTruth:
    def find(name: str) -> str | None:
        parts = _slashes(name).split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((truth[end] for end in ends if end in truth), None)

    return find


def _slashes(path: str) -> str:
    return path.strip().replace("\\", "/")


@cache
def _known_wnids() -> frozenset[str]:
    return frozenset(label.wnid for label in _all_labels())


@cache
def _wnids_by_label() -> tuple[dict[str, str], dict[str, str]]:
    """Returns WordNet IDs by the exact name, and by the name in small letters if it is one's.

    A Cardigan is a dog, and a cardigan a garment.
    """
    exact = {label.label: label.wnid for label in _all_labels()}
    count = Counter(name.casefold() for name in exact)
    folded = {name.casefold(): wnid for name, wnid in exact.items()}
    return exact, {name: wnid for name, wnid in folded.items() if count[name] == 1}


def _all_labels() -> tuple[ClassLabel, ...]:
    return load_labels("cifar10") + load_labels("imagenet")


@cache
def class_of(wnid: str, labels: tuple[ClassLabel, ...]) -> ClassLabel | None:
    """Returns the class that something is, or is a kind of; None if a model has no such class.

    A tabby is right as "tabby" for one model, and as "cat" for one that knows ten things.
    """
    kinds = ancestors(wnid)
    found = [label for label in labels if label.wnid in kinds]
    return max(found, key=lambda label: depth(label.wnid), default=None)
