"""Looking at photos before anything is learned from them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn

import streamlit as st

from vgg_demo.errors import DatasetError, VggDemoError
from vgg_demo.files.sources import Source
from vgg_demo.inference.results import Failure
from vgg_demo.limits import ImageLimits
from vgg_demo.training.class_folders import Sample
from vgg_demo.training.data import InspectedDataset
from vgg_demo.training.dataset import Dataset
from vgg_demo.training.inspection import InspectedPhoto, inspect_photos

MAX_PHOTOS = 2_000
MAX_BYTES = 200 * 2**20  # of all files


@dataclass(eq=False)
class Inspection:
    """Photos that are being looked at, however often the page is drawn meanwhile.

    Attributes:
        title: What the photos are called, for the model's name.
        dataset: The photos with their labels.
        photos: What is known of those that could be opened.
        failures: Why others could not be.
        is_done: Whether all were looked at.
        size_bytes: Of the files of those that could be opened.
        was_cut: Whether there was more than may be taken.
        left_out: Places of photos that the visitor does not want.
        concluded: What was found last, by how many photos a kind must have and what is left out.
        samples: The photos as they were given kind by kind, and can be changed; else empty.
        fewest: Photos that a kind must have.
        runs: Ids of what was taught from them.
    """

    title: str
    dataset: Dataset
    rows: Generator[InspectedPhoto | Failure]
    photos: list[InspectedPhoto] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    is_done: bool = False
    size_bytes: int = 0
    was_cut: bool = False
    left_out: frozenset[int] = frozenset()
    concluded: dict[tuple[int, frozenset[int]], InspectedDataset] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    fewest: int = 2
    runs: list[str] = field(default_factory=list)
    # When the page is drawn anew, its last drawing may still be at work.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def count(self) -> int:
        return len(self.photos) + len(self.failures)

    def wanted(self) -> list[InspectedPhoto]:
        """Returns the photos that can be learned from and were not left out."""
        return [one for place, one in enumerate(self.photos) if place not in self.left_out]

    def place_of(self, photo: InspectedPhoto) -> int:
        return next(place for place, one in enumerate(self.photos) if one is photo)

    def leave_out(self, places: Iterable[int]) -> None:
        self.left_out |= set(places)

    def take_back(self) -> None:
        self.left_out = frozenset()

    def work(self) -> Iterator[None]:
        """Looks at one after the other; may be left and begun again."""
        while self._step():
            yield

    def _step(self) -> bool:
        with self._lock:
            found = None if self.is_done else next(self.rows, None)
            if found is None:
                self.is_done = True
                return False
            if isinstance(found, Failure):
                self.failures.append(found)
            else:
                self.photos.append(found)
                self.size_bytes += found.size_bytes
            if self.size_bytes > MAX_BYTES:
                self.is_done = self.was_cut = True
                self.rows.close()
            return True


def limited(sources: Iterable[Source]) -> Iterator[Source]:
    """Passes sources on, as many as may be: of what is in a TAR, all is in memory at once.

    Raises:
        DatasetError: If there are more.
    """
    held_bytes = 0
    for count, source in enumerate(sources, start=1):
        held_bytes += source.held_bytes
        if count > MAX_PHOTOS or held_bytes > MAX_BYTES:
            raise DatasetError(
                f"There are more than {MAX_PHOTOS:,} photos, or more than "
                f"{MAX_BYTES // 2**20} MB of them: the limit of this page. Take some out, or use "
                "the command line: vgg-demo train."
            )
        yield source


def begin(title: str, dataset: Dataset, limits: ImageLimits) -> Inspection:
    """Begins to look at photos.

    Raises:
        DatasetError: If there are none.
    """
    if not dataset.photos:
        hint = (
            "The names in the table do not fit the photos' names."
            if dataset.missing
            else "Put the photos of each kind into a folder named after it, or add a table."
        )
        raise DatasetError(f"No photo has a label. {hint}")
    rows = inspect_photos(dataset.photos, limits, with_thumbnails=True)
    return Inspection(title, dataset, rows)


def inspect_button(reason: str, function: Callable[..., None], *arguments: object) -> None:
    """Offers to look at the photos; says why not where that is not possible."""
    if st.button(
        "Look at the photos",
        type="primary",
        icon=":material/search:",
        disabled=bool(reason),
        help=reason or None,
        key="train_inspect",
    ):
        act(function, *arguments)


def act(function: Callable[..., None], *arguments: object) -> NoReturn:
    """Does what a button says, and draws the page anew; what goes wrong is told at its head.

    Not a callback: that would get what was set when the page was drawn, and not what was typed
    since.
    """
    try:
        function(*arguments)
    except VggDemoError as error:
        st.session_state["train_error"] = str(error)
    st.rerun()


def leave_photos() -> None:
    """Ends looking at photos, and lets go of them."""
    inspection: Inspection | None = st.session_state.pop("train_inspection", None)
    if inspection is not None:
        with suppress(ValueError):  # another drawing of the page is at it, and will find it gone
            inspection.rows.close()
        # Streamlit keeps what callbacks were given, but not what these hold no more.
        inspection.photos, inspection.samples, inspection.concluded = [], (), {}
        inspection.dataset = Dataset(())
