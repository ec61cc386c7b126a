"""Micro-batching: photos that arrive at the same time are classified in one batch.

A batch takes less time per photo. Batching adds no delay: a photo for an idle model is classified
at once, alone; photos that arrive while the model is busy form the next batch.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import NamedTuple

from vgg_demo.errors import BusyError
from vgg_demo.inference.classify import PreparedPhoto, classify_batch
from vgg_demo.inference.model_store import MAX_BATCH, ModelStore
from vgg_demo.inference.results import Classification
from vgg_demo.models.registry import ModelSpec

MAX_WAITING = 64
"""Maximum number of queued photos, of all models together."""

INITIAL_SECONDS = 0.2
"""Estimated seconds per photo before the first measurement."""


class _Request(NamedTuple):
    photo: PreparedPhoto
    future: Future[Classification]


class MicroBatcher:
    """Classifies photos that are submitted by many threads. Thread-safe.

    Args:
        store: Provides the models and loads them if necessary.
        max_waiting: Maximum number of queued photos, of all models together.
    """

    def __init__(self, store: ModelStore, max_waiting: int = MAX_WAITING) -> None:
        self._store = store
        self._max_waiting = max_waiting
        self._lock = threading.Lock()
        self._queues: dict[ModelSpec, deque[_Request]] = {}  # only of models with a worker thread
        self._waiting = 0
        self._seconds = INITIAL_SECONDS

    @property
    def waiting(self) -> int:
        """Number of queued photos."""
        return self._waiting

    def expected_seconds(self, photos: int) -> float:
        """Returns the estimated seconds for a number of photos, from a moving average."""
        return photos * self._seconds

    def submit(self, photo: PreparedPhoto, spec: ModelSpec) -> Future[Classification]:
        """Queues a photo for classification.

        Args:
            photo: The photo, preprocessed for the model.
            spec: The model.

        Returns:
            A future with the classification, or with a `ModelError`.

        Raises:
            BusyError: If the queue is full.
        """
        future: Future[Classification] = Future()
        with self._lock:
            if self._waiting >= self._max_waiting:
                raise BusyError(
                    f"{self._waiting} photos are already waiting, which is the limit. "
                    "Try again later.",
                    retry_seconds=self.expected_seconds(self._waiting),
                )
            if spec not in self._queues:
                # The worker needs the lock, so it finds its queue. If the thread cannot start,
                # no queue is left behind.
                threading.Thread(target=self._work, args=(spec,), name=f"batch-{spec.name}").start()
                self._queues[spec] = deque()
            self._queues[spec].append(_Request(photo, future))
            self._waiting += 1
        return future

    def _work(self, spec: ModelSpec) -> None:
        while (requests := self._next_batch(spec)) is not None:
            try:
                if requests:
                    self._classify(requests, spec)
            except Exception as error:  # every future must complete, or its caller waits forever
                for request in requests:
                    if not request.future.done():
                        request.future.set_exception(error)

    def _next_batch(self, spec: ModelSpec) -> list[_Request] | None:
        """Removes and returns requests from a queue, except canceled ones; None ends the worker."""
        with self._lock:
            queue = self._queues[spec]
            if not queue:
                del self._queues[spec]
                return None
            requests = [queue.popleft() for _ in range(min(MAX_BATCH, len(queue)))]
            self._waiting -= len(requests)
        return [request for request in requests if request.future.set_running_or_notify_cancel()]

    def _classify(self, requests: list[_Request], spec: ModelSpec) -> None:
        with self._store.use(spec) as model:
            size = self._store.batch_size(model)
            for start in range(0, len(requests), size):
                batch = requests[start : start + size]
                started_at = time.perf_counter()
                results = classify_batch([request.photo for request in batch], model)
                seconds = (time.perf_counter() - started_at) / len(batch)
                self._seconds += (seconds - self._seconds) / 10
                for request, result in zip(batch, results, strict=True):
                    request.future.set_result(result)
