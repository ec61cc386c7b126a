"""Downloads that go on in the background while the page answers with another model."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum, auto

from vgg_demo.errors import VggDemoError, WeightsDownloadError
from vgg_demo.registry import ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights import Progress, ensure_weights

THREAD_NAME = "download-"
STOP_SECONDS = 5.0


class Status(Enum):
    """Where a download stands."""

    RUNNING = auto()
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


class Downloads:
    """The downloads of one server, one per model. Safe to use from any thread."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._downloads: dict[str, Download] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def start(self, spec: ModelSpec) -> None:
        """Starts a download in a thread of its own, unless it runs already."""
        with self._lock:
            current = self._downloads.get(spec.name)
            if current is not None and current.status is Status.RUNNING:
                return
            self._downloads[spec.name] = Download(Status.RUNNING)
        threading.Thread(
            target=self._run, args=(spec,), name=THREAD_NAME + spec.name, daemon=True
        ).start()

    def get(self, spec: ModelSpec) -> Download | None:
        """Returns how a model's download stands; None if it was never started."""
        return self._downloads.get(spec.name)

    def stop(self) -> None:
        """Ends all downloads, so that none leaves half a file behind."""
        self._stopping.set()
        for thread in threading.enumerate():
            if thread.name.startswith(THREAD_NAME):
                thread.join(STOP_SECONDS)

    def _run(self, spec: ModelSpec) -> None:
        def show(progress: Progress) -> None:
            if self._stopping.is_set():
                raise WeightsDownloadError("The download was ended with the server.")
            self._set(spec, Download(Status.RUNNING, progress))

        outcome = Download(Status.FAILED, error="The download ended unexpectedly. Try again.")
        try:
            ensure_weights(spec, self._settings, show)
            outcome = Download(Status.DONE)
        except VggDemoError as error:
            outcome = Download(Status.FAILED, error=str(error))
        finally:  # whatever happens, no visitor waits for ever
            self._set(spec, outcome)

    def _set(self, spec: ModelSpec, download: Download) -> None:
        with self._lock:
            self._downloads[spec.name] = download
