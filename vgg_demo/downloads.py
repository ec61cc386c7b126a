"""Models that are fetched in the background while the page answers with another one."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum, auto

from vgg_demo.errors import VggDemoError, WeightsDownloadError
from vgg_demo.fetch import Progress, ensure_weights
from vgg_demo.registry import ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.store import ModelStore

THREAD_NAME = "download-"
STOP_SECONDS = 5.0


class Status(Enum):
    """Where a download stands: on its way, being loaded, ready to answer, or given up."""

    RUNNING = auto()
    LOADING = auto()
    DONE = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Download:
    """A snapshot of a download.

    Attributes:
        status: Where it stands.
        progress: How far it has come; None until the first bytes arrive.
        error: Why it failed; empty otherwise.
    """

    status: Status
    progress: Progress | None = None
    error: str = ""

    @property
    def is_under_way(self) -> bool:
        return self.status in (Status.RUNNING, Status.LOADING)


class Downloads:
    """The downloads of one server, one per model. Safe to use from any thread.

    A download ends with its model in the store, so that who waited for it waits no more.
    """

    def __init__(self, settings: Settings, store: ModelStore) -> None:
        self._settings = settings
        self._store = store
        self._downloads: dict[str, Download] = {}
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def start(self, spec: ModelSpec) -> None:
        """Starts a download in a thread of its own, unless it runs already."""
        with self._lock:
            current = self._downloads.get(spec.name)
            if current is not None and current.is_under_way:
                return
            self._downloads[spec.name] = Download(Status.RUNNING)
            thread = threading.Thread(
                target=self._run, args=(spec,), name=THREAD_NAME + spec.name, daemon=True
            )
            self._threads[spec.name] = thread
            thread.start()

    def get(self, spec: ModelSpec) -> Download | None:
        """Returns how a model's download stands; None if it was never started."""
        return self._downloads.get(spec.name)

    def stop(self) -> None:
        """Asks all downloads to end and waits for `STOP_SECONDS`.

        Each throws away what it has at its next piece; one that waits for its server longer
        than that leaves a folder, which the next download of the same file removes.
        """
        self._stopping.set()
        for thread in tuple(self._threads.values()):
            thread.join(STOP_SECONDS)

    def _run(self, spec: ModelSpec) -> None:
        def show(progress: Progress) -> None:
            self._check_stopping()
            self._set(spec, Download(Status.RUNNING, progress))

        outcome = Download(Status.FAILED, error="The download ended unexpectedly. Try again.")
        try:
            self._store.check_fits(spec)
            ensure_weights(spec, self._settings, show)
            self._check_stopping()
            self._set(spec, Download(Status.LOADING))
            with self._store.use(spec):
                outcome = Download(Status.DONE)
        except VggDemoError as error:
            outcome = Download(Status.FAILED, error=str(error))
        finally:  # whatever happens, no visitor waits for ever
            self._set(spec, outcome)

    def _check_stopping(self) -> None:
        if self._stopping.is_set():
            raise WeightsDownloadError("The download was ended with the server.")

    def _set(self, spec: ModelSpec, download: Download) -> None:
        with self._lock:
            self._downloads[spec.name] = download
