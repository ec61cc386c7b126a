"""Ground truth: the true class of a photo, from its file name, its folder or a label table."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import PurePosixPath

from vgg_demo.errors import TableError
from vgg_demo.models.custom import clean_label
from vgg_demo.models.labels import (
    CUSTOM_PREFIX,
    ClassLabel,
    ancestors,
    definition,
    depth,
    lemma,
    load_labels,
)

WNID = re.compile(r"(?<![a-z0-9])n\d{8}(?!\d)")
"""A WordNet ID inside a file name."""

NUMBER = re.compile(r"[\s._-]*(\d+|\(\d+\))$")
"""The number at the end of a file name, as in ``tabby_12``, ``tabby.12`` or ``tabby (12)``."""

ReadGroundTruth = Callable[[str], str | None]
"""Returns the WordNet ID of a photo's true class by the photo's name; None if unknown."""


def ground_truth_from_name(name: str) -> str | None:
    """Returns the WordNet ID of the true class of a photo, from its path; None if unknown.

    The order of precedence is: a WordNet ID anywhere in the path, the name of the folder, the
    file name without its trailing number.

    >>> ground_truth_from_name("val/n02123045_17.jpg")
    'n02123045'
    >>> ground_truth_from_name("photos.zip/tabby/1.jpg")
    'n02123045'
    >>> ground_truth_from_name("train/golden_retriever.12.jpg")
    'n02099601'
    """
    path = PurePosixPath(_normalize_path(name))
    for part in reversed(path.parts):
        if match := WNID.search(part):
            return match.group() if match.group() in _known_wnids() else None
    return find_wnid(path.parent.name) or find_wnid(NUMBER.sub("", path.stem))


def ground_truth_reader(classes: Sequence[ClassLabel]) -> ReadGroundTruth:
    """Returns a function that reads the true class of a photo from its path, for one model.

    Custom models have class names of their own. The function compares them, ignoring case, with
    the name of the folder, then with the file name with and without its trailing number. For all
    other models it is `ground_truth_from_name`.

    Args:
        classes: The classes of the model.
    """
    custom_names = _CustomClassNames(classes)
    if not custom_names:
        return ground_truth_from_name

    def find(name: str) -> str | None:
        path = PurePosixPath(_normalize_path(name))
        stem = path.stem
        # A class name may end in a number ("Class 1"), and so may a file name.
        candidates = (path.parent.name, stem, NUMBER.sub("", stem))
        wnids = (custom_names.get(candidate) for candidate in candidates)
        return next((wnid for wnid in wnids if wnid), None)

    return find


class _CustomClassNames:
    """The class names of a custom model, to look up exactly or, if unique, ignoring case."""

    def __init__(self, classes: Sequence[ClassLabel]) -> None:
        custom = [label for label in classes if label.wnid.startswith(CUSTOM_PREFIX)]
        self._exact = {clean_label(label.label): label.wnid for label in custom}
        count = Counter(name.casefold() for name in self._exact)
        self._casefolded = {
            name.casefold(): wnid
            for name, wnid in self._exact.items()
            if count[name.casefold()] == 1
        }

    def __bool__(self) -> bool:
        return bool(self._exact)

    def get(self, name: str) -> str | None:
        label = clean_label(name)
        return self._exact.get(label) or self._casefolded.get(label.casefold())


def find_wnid(name: str) -> str | None:
    """Returns the WordNet ID for a class name or a WordNet ID; None if unknown.

    Only names of classes count, not names of more general synsets: folders are often called
    "train", for example.

    >>> find_wnid("Egyptian_cat"), find_wnid("n02124075"), find_wnid("my holidays")
    ('n02124075', 'n02124075', None)
    """
    label = " ".join(name.replace("_", " ").split())
    if label in _known_wnids():
        return label
    exact, casefolded = _wnids_by_label()
    return exact.get(label) or casefolded.get(label.casefold())


def read_ground_truth(text: str, classes: Sequence[ClassLabel] = ()) -> ReadGroundTruth:
    """Reads a label table: CSV with the columns ``image`` and ``label``.

    An image is the end of a path, such as ``1.jpg`` or ``cats/1.jpg``; the longest match counts.
    A label is the name of a class or a WordNet ID. The true class of photos with other labels is
    unknown.

    Args:
        text: CSV with a header row.
        classes: The classes of the model; required for custom models, whose labels are their
            own class names.

    Raises:
        TableError: If the table cannot be parsed, a column is missing, no label is a class, or
            an image has two labels.
    """
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""))
    try:
        rows = list(reader)
    except csv.Error as error:
        raise TableError(f"Cannot read the label table: {error}.") from error
    columns = reader.fieldnames or ["(none)"]
    if not {"image", "label"} <= set(columns):
        raise TableError(
            f"The label table has the columns {', '.join(columns)[:200]}; it needs the columns "
            "image and label."
        )
    truth: dict[str, str | None] = {}
    custom_names = _CustomClassNames(classes)
    for row in rows:
        image, label = _normalize_path(row["image"] or ""), row["label"] or ""
        wnid = custom_names.get(label) if custom_names else find_wnid(label)
        if truth.setdefault(image, wnid) != wnid:
            raise TableError(
                f"The label table has different labels for {image[:200]!r}. Keep one of them."
            )
    if not any(truth.values()):
        first = rows[0]["label"] if rows else ""
        raise TableError(
            f"No label in the table is a class; the first is {str(first)[:60]!r}. "
            "Use class names or WordNet IDs as in the results of `classify`."
        )
    return _match_end_of_path(truth)


def _match_end_of_path(truth: Mapping[str, str | None]) -> ReadGroundTruth:
    def find(name: str) -> str | None:
        parts = _normalize_path(name).split("/")
        ends = ("/".join(parts[start:]) for start in range(len(parts)))
        return next((truth[end] for end in ends if end in truth), None)

    return find


def _normalize_path(path: str) -> str:
    return path.strip().replace("\\", "/").removeprefix("./")


@cache
def _known_wnids() -> frozenset[str]:
    """Returns the WordNet IDs of all classes and their ancestors."""
    return frozenset().union(*(ancestors(label.wnid) for label in _all_labels()))


@cache
def _wnids_by_label() -> tuple[dict[str, str], dict[str, str]]:
    """Returns WordNet IDs by class name, and by casefolded name where that is unique.

    "Cardigan" is a dog, "cardigan" a garment.
    """
    exact = {label.label: label.wnid for label in _all_labels()}
    count = Counter(name.casefold() for name in exact)
    casefolded = {name.casefold(): wnid for name, wnid in exact.items()}
    return exact, {name: wnid for name, wnid in casefolded.items() if count[name] == 1}


def _all_labels() -> tuple[ClassLabel, ...]:
    return load_labels("cifar10") + load_labels("imagenet")


@dataclass(frozen=True, slots=True)
class GroundTruth:
    """The ground truth of a photo in terms of the classes of one model.

    Attributes:
        label: The true class; a synset above several classes has the index -1.
        indices: Indices of the classes that are correct predictions.
    """

    label: ClassLabel
    indices: tuple[int, ...]


@cache
def find_ground_truth(wnid: str, labels: tuple[ClassLabel, ...]) -> GroundTruth | None:
    """Returns the ground truth for a model; None if the model has no class for it.

    For a tabby, the correct class is "tabby" for ImageNet models and "cat" for Mini-VGG. If a
    photo is only known to show a dog, each dog breed is correct.

    Args:
        wnid: WordNet ID of the ground truth: a class or a more general synset.
        labels: The classes of the model.
    """
    synsets = ancestors(wnid)
    above = [label for label in labels if label.wnid in synsets]
    if above:
        label = max(above, key=lambda label: depth(label.wnid))
        return GroundTruth(label, (label.index,))
    below = tuple(label.index for label in labels if wnid in ancestors(label.wnid))
    return (
        GroundTruth(ClassLabel(-1, wnid, lemma(wnid), definition(wnid)), below) if below else None
    )
