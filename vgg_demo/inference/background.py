"""Background downloads: the page uses another model until the requested one is loaded."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass
from enum import Enum, auto

from vgg_demo.errors import VggDemoError, WeightsDownloadError
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.registry import ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights.download import Progress, ensure_weights

THREAD_NAME_PREFIX = "download-"

SERVER = "server"
"""The requester of downloads that no visitor requested; it never cancels them."""

STOP_SECONDS = 5.0


class Status(Enum):
    """State of a background download."""

    RUNNING = auto()
    """The weights are being downloaded."""

    LOADING = auto()
    """The weights are complete; the model is being loaded into the store."""

    DONE = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True)
class Download:
    """A snapshot of a background download.

    Attributes:
        status: Its state.
        progress: Its progress; None until the first bytes arrive.
        error: The reason if it failed; None otherwise.
    """

    status: Status
    progress: Progress | None = None
    error: VggDemoError | None = None

    @property
    def is_active(self) -> bool:
        """Whether the model is being downloaded or loaded."""
        return self.status in (Status.RUNNING, Status.LOADING)


@dataclass(slots=True)
class _Task:
    """A started download, its requesters and its thread."""

    download: Download
    requesters: set[str]
    canceled: threading.Event
    thread: threading.Thread | None = None


class BackgroundDownloads:
    """The background downloads of a server, at most one per model. Thread-safe.

    After a download, the model is loaded into the store. A download is canceled when the last
    of its requesters cancels it.
    """

    def __init__(self, settings: Settings, store: ModelStore) -> None:
        self._settings = settings
        self._store = store
        self._tasks: dict[str, _Task] = {}
        self._lock = threading.Lock()

    def start(self, spec: ModelSpec, requester: str = SERVER) -> None:
        """Starts a download in a thread, or joins the active one.

        Args:
            spec: The model.
            requester: ID of the visitor; by default the server itself, which never cancels.
        """
        with self._lock:
            task = self._tasks.get(spec.name)
            if task is not None and task.download.is_active:
                task.requesters.add(requester)
                return
            task = _Task(Download(Status.RUNNING), {requester}, threading.Event())
            task.thread = threading.Thread(
                target=self._run,
                args=(spec, task),
                name=THREAD_NAME_PREFIX + spec.name,
                daemon=True,
            )
            task.thread.start()
            self._tasks[spec.name] = task

    def cancel_others(self, specs: Collection[ModelSpec], requester: str) -> None:
        """Cancels all of a requester's active downloads except those of the given models.

        A download without other requesters is removed at once; its thread ends at the next chunk.

        Args:
            specs: The models whose downloads continue.
            requester: ID of the visitor.
        """
        names = {spec.name for spec in specs}
        with self._lock:
            for name, task in tuple(self._tasks.items()):
                if name in names or not task.download.is_active:
                    continue
                if requester in task.requesters:
                    task.requesters.discard(requester)
                    if not task.requesters:
                        task.canceled.set()
                        del self._tasks[name]

    def get(self, spec: ModelSpec) -> Download | None:
        """Returns a snapshot of a model's download; None if there is none."""
        task = self._tasks.get(spec.name)
        return task.download if task is not None else None

    def stop(self) -> None:
        """Cancels all downloads and waits up to `STOP_SECONDS` for each thread.

        A thread discards its partial file at the next chunk. One that waits longer for its server
        leaves a partial folder, which the next download of the same file removes.
        """
        tasks = tuple(self._tasks.values())
        for task in tasks:
            task.canceled.set()
        for task in tasks:
            if task.thread is not None:
                task.thread.join(STOP_SECONDS)

    def _run(self, spec: ModelSpec, task: _Task) -> None:
        def on_progress(progress: Progress | None) -> None:
            if task.canceled.is_set():
                raise WeightsDownloadError("The download was canceled. Try again.")
            task.download = Download(Status.RUNNING, progress)

        unexpected = WeightsDownloadError("The download ended unexpectedly. Try again.")
        outcome = Download(Status.FAILED, error=unexpected)
        try:
            self._store.check_fits(spec)
            ensure_weights(spec, self._settings, on_progress)
            on_progress(None)
            task.download = Download(Status.LOADING)
            with self._store.use(spec):
                outcome = Download(Status.DONE)
        except VggDemoError as error:
            outcome = Download(Status.FAILED, error=error)
        finally:  # also after an unexpected error, so that no visitor waits forever
            task.download = outcome
