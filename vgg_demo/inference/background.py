"""Models that are fetched in the background while the page answers with another one."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from vgg_demo.errors import VggDemoError, WeightsDownloadError
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.registry import ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights.download import Progress, ensure_weights

THREAD_NAME = "download-"
SERVER = "server"  # who waits for what no visitor asked for
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
        error: Why it failed; None otherwise.
    """

    status: Status
    progress: Progress | None = None
    error: VggDemoError | None = None

    @property
    def is_under_way(self) -> bool:
        return self.status in (Status.RUNNING, Status.LOADING)


@dataclass(slots=True)
class _Run:
    """A download that was started, who waits for it, and its thread."""

    download: Download
    waiting: set[str]
    ended: threading.Event
    thread: threading.Thread | None = None


class Downloads:
    """The downloads of one server, one per model. Safe to use from any thread.

    A download ends with its model in the store, so that who waited for it waits no more. It
    is given up when everybody who waited for it has said that they do not any more.
    """

    def __init__(self, settings: Settings, store: ModelStore) -> None:
        self._settings = settings
        self._store = store
        self._runs: dict[str, _Run] = {}
        self._lock = threading.Lock()

    def start(self, spec: ModelSpec, waiting: str = SERVER) -> None:
        """Starts a download in a thread of its own, unless it runs already.

        Args:
            spec: The model.
            waiting: Who waits for it: a visitor, or the server itself, which waits to the end.
        """
        with self._lock:
            run = self._runs.get(spec.name)
            if run is not None and run.download.is_under_way:
                run.waiting.add(waiting)
                return
            run = _Run(Download(Status.RUNNING), {waiting}, threading.Event())
            run.thread = threading.Thread(
                target=self._fetch, args=(spec, run), name=THREAD_NAME + spec.name, daemon=True
            )
            run.thread.start()
            self._runs[spec.name] = run

    def wait_only_for(self, specs: Collection[ModelSpec], waiting: str) -> None:
        """Says that somebody does not wait for any other download any more.

        One that nobody else waits for either is forgotten at once, and its thread ends at
        its next piece.
        """
        names = {spec.name for spec in specs}
        with self._lock:
            for name, run in tuple(self._runs.items()):
                if name in names or not run.download.is_under_way:
                    continue
                if waiting in run.waiting:
                    run.waiting.discard(waiting)
                    if not run.waiting:
                        run.ended.set()
                        del self._runs[name]

    def get(self, spec: ModelSpec) -> Download | None:
        """Returns how a model's download stands; None if there is none."""
        run = self._runs.get(spec.name)
        return run.download if run is not None else None

    def stop(self) -> None:
        """Asks all downloads to end and waits for `STOP_SECONDS`.

        Each throws away what it has at its next piece; one that waits for its server longer
        than that leaves a folder, which the next download of the same file removes.
        """
        runs = tuple(self._runs.values())
        for run in runs:
            run.ended.set()
        for run in runs:
            if run.thread is not None:
                run.thread.join(STOP_SECONDS)

    def _fetch(self, spec: ModelSpec, run: _Run) -> None:
        def show(progress: Progress | None) -> None:
            if run.ended.is_set():
                raise WeightsDownloadError("The download was ended. Try again.")
            run.download = Download(Status.RUNNING, progress)

        unexpected = WeightsDownloadError("The download ended unexpectedly. Try again.")
        outcome = Download(Status.FAILED, error=unexpected)
        try:
            self._store.check_fits(spec)
            ensure_weights(spec, self._settings, show)
            show(None)
            run.download = Download(Status.LOADING)
            with self._store.use(spec):
                outcome = Download(Status.DONE)
        except VggDemoError as error:
            outcome = Download(Status.FAILED, error=error)
        finally:  # whatever happens, no visitor waits for ever
            run.download = outcome
