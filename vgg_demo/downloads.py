"""Downloads that go on in the background while the page answers with another model."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from enum import Enum, auto

from vgg_demo.errors import VggDemoError
from vgg_demo.registry import ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights import Progress, ensure_weights


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

    def start(self, spec: ModelSpec) -> None:
        """Starts a download in a thread of its own, unless it runs already."""
        with self._lock:
            current = self._downloads.get(spec.name)
            if current is not None and current.status is Status.RUNNING:
                return
            self._downloads[spec.name] = Download(Status.RUNNING)
        threading.Thread(
            target=self._run, args=(spec,), name=f"download-{spec.name}", daemon=True
        ).start()

    def get(self, spec: ModelSpec) -> Download | None:
        """Returns how a model's download stands; None if it was never started."""
        return self._downloads.get(spec.name)

    def _run(self, spec: ModelSpec) -> None:
        def show(progress: Progress) -> None:
            self._downloads[spec.name] = replace(self._downloads[spec.name], progress=progress)

        try:
            ensure_weights(spec, self._settings, show)
        except VggDemoError as error:
            self._downloads[spec.name] = Download(Status.FAILED, error=str(error))
        else:
            self._downloads[spec.name] = Download(Status.DONE)
