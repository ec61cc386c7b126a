"""Inspection of photos before training, across reruns of the page."""

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
from vgg_demo.training.dataset import Dataset
from vgg_demo.training.inspection import InspectedPhoto, inspect_photos
from vgg_demo.training.records import InspectedDataset

MAX_PHOTOS = 2_000
MAX_BYTES = 200 * 2**20  # of all files together


@dataclass(eq=False)
class Inspection:
    """An inspection of photos that continues when Streamlit reruns the page.

    Attributes:
        title: Title of the photos, used as the default model name.
        dataset: The labeled photos.
        results: Computes and yields the remaining results.
        photos: The photos that could be opened.
        failures: The photos that could not be opened.
        is_done: Whether all photos were inspected.
        size_bytes: Total file size of the photos that could be opened.
        is_truncated: Whether the inspection ended early because of `MAX_BYTES`.
        excluded: Indices of `photos` that the visitor excluded.
        summary: The latest summary, keyed by `min_photos` and `excluded`.
        samples: The photos in class folders if they were collected class by class; else empty.
        min_photos: Minimum number of photos per class.
        run_ids: IDs of the training runs that use these photos.
    """

    title: str
    dataset: Dataset
    results: Generator[InspectedPhoto | Failure]
    photos: list[InspectedPhoto] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    is_done: bool = False
    size_bytes: int = 0
    is_truncated: bool = False
    excluded: frozenset[int] = frozenset()
    summary: dict[tuple[int, frozenset[int]], InspectedDataset] = field(default_factory=dict)
    samples: tuple[Sample, ...] = ()
    min_photos: int = 2
    run_ids: list[str] = field(default_factory=list)
    # After a rerun, the script thread of the previous run may still be in a step.
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def count(self) -> int:
        """Number of photos inspected so far."""
        return len(self.photos) + len(self.failures)

    def included(self) -> list[InspectedPhoto]:
        """Returns the photos that could be opened and are not excluded."""
        return [photo for index, photo in enumerate(self.photos) if index not in self.excluded]

    def index_of(self, photo: InspectedPhoto) -> int:
        return next(index for index, other in enumerate(self.photos) if other is photo)

    def exclude(self, indices: Iterable[int]) -> None:
        self.excluded |= set(indices)

    def restore(self) -> None:
        """Includes all excluded photos again."""
        self.excluded = frozenset()

    def steps(self) -> Iterator[None]:
        """Inspects the remaining photos and yields after each one.

        The iteration can be abandoned after any photo; a new call resumes there.
        """
        while self._step():
            yield

    def _step(self) -> bool:
        with self._lock:
            result = None if self.is_done else next(self.results, None)
            if result is None:
                self.is_done = True
                return False
            if isinstance(result, Failure):
                self.failures.append(result)
            else:
                self.photos.append(result)
                self.size_bytes += result.size_bytes
            if self.size_bytes > MAX_BYTES:
                self.is_done = self.is_truncated = True
                self.results.close()
            return True


def limit_sources(sources: Iterable[Source]) -> Iterator[Source]:
    """Yields sources up to the limits of this page.

    All members of a TAR archive are held in memory, so their size counts toward the limit.

    Raises:
        DatasetError: If there are more than `MAX_PHOTOS` photos or `MAX_BYTES` bytes in memory.
    """
    held_bytes = 0
    for count, source in enumerate(sources, start=1):
        held_bytes += source.buffered_bytes
        if count > MAX_PHOTOS or held_bytes > MAX_BYTES:
            raise DatasetError(
                f"There are more than {MAX_PHOTOS:,} photos, or more than "
                f"{MAX_BYTES // 2**20} MB of them, which is the limit of this page. Remove some, "
                "or train on the command line: vgg-demo train."
            )
        yield source


def start_inspection(title: str, dataset: Dataset, limits: ImageLimits) -> Inspection:
    """Creates an inspection; `Inspection.steps` does the work.

    Raises:
        DatasetError: If no photo has a label.
    """
    if not dataset.photos:
        hint = (
            "The file names in the table do not match any photo."
            if dataset.missing
            else "Put the photos of each class into a folder named after it, or add a label table."
        )
        raise DatasetError(f"No photo has a label. {hint}")
    results = inspect_photos(dataset.photos, limits, with_thumbnails=True)
    return Inspection(title, dataset, results)


def show_inspect_button(reason: str, function: Callable[..., None], *arguments: object) -> None:
    """Shows the button that starts the inspection.

    Args:
        reason: Why the button is disabled, shown as its tooltip; empty if it is enabled.
        function: Called on a click.
        arguments: Arguments of the function.
    """
    if st.button(
        "Inspect photos",
        type="primary",
        icon=":material/search:",
        disabled=bool(reason),
        help=reason or None,
        key="train_inspect",
    ):
        call_and_rerun(function, *arguments)


def call_and_rerun(function: Callable[..., None], *arguments: object) -> NoReturn:
    """Calls a function and reruns the page, which shows an error of the function at the top.

    A callback would receive the arguments of the previous run of the page, without the visitor's
    latest input.
    """
    try:
        function(*arguments)
    except VggDemoError as error:
        st.session_state["train_error"] = str(error)
    st.rerun()


def discard_inspection() -> None:
    """Ends the inspection and releases its photos."""
    inspection: Inspection | None = st.session_state.pop("train_inspection", None)
    if inspection is not None:
        with suppress(ValueError):  # another script thread is in a step and ends after it
            inspection.results.close()
        # Streamlit keeps the arguments of callbacks alive, so this object must not hold photos.
        inspection.photos, inspection.samples, inspection.summary = [], (), {}
        inspection.dataset = Dataset(())
