"""Photos that come at the same time share one look of a model.

Looking at several photos together takes less time for each. Nobody is kept waiting for that: a
photo that finds its model idle is looked at alone and at once; those that come meanwhile are
looked at together when it is done.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import NamedTuple

from vgg_demo.errors import BusyError
from vgg_demo.inference.classify import Prepared, classify_batch
from vgg_demo.inference.results import Classification
from vgg_demo.inference.store import MAX_BATCH, ModelStore
from vgg_demo.models.registry import ModelSpec

MAX_WAITING = 64
"""Photos that may wait, for all models together."""

USUAL_SECONDS = 0.2
"""What a photo takes before anything has been measured."""


class _Waiting(NamedTuple):
    photo: Prepared
    answer: Future[Classification]


class MicroBatcher:
    """Asks models about photos that come from many threads. Safe to use from any of them."""

    def __init__(self, store: ModelStore, most_waiting: int = MAX_WAITING) -> None:
        self._store = store
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._queues: dict[ModelSpec, deque[_Waiting]] = {}  # of the models that are at work
        self._waiting = 0
        self._seconds = USUAL_SECONDS

    @property
    def waiting(self) -> int:
        """How many photos wait for a model to look at them."""
        return self._waiting

    def expected_seconds(self, photos: int) -> float:
        """Returns what so many photos take, going by the last ones."""
        return photos * self._seconds

    def submit(self, photo: Prepared, spec: ModelSpec) -> Future[Classification]:
        """Has a photo looked at.

        Args:
            photo: The photo, made ready for the model.
            spec: The model.

        Returns:
            What becomes the answer, or a `ModelError`.

        Raises:
            BusyError: If too many photos wait already.
        """
        answer: Future[Classification] = Future()
        with self._lock:
            if self._waiting >= self._most_waiting:
                raise BusyError(
                    f"{self._waiting} photos are waiting already, which is the limit. "
                    "Try again later.",
                    retry_seconds=self.expected_seconds(self._waiting),
                )
            if spec not in self._queues:
                # It finds its queue when the lock is free. Without a thread there is no queue.
                threading.Thread(target=self._work, args=(spec,), name=f"ask-{spec.name}").start()
                self._queues[spec] = deque()
            self._queues[spec].append(_Waiting(photo, answer))
            self._waiting += 1
        return answer

    def _work(self, spec: ModelSpec) -> None:
        while (taken := self._take(spec)) is not None:
            try:
                if taken:
                    self._answer(taken, spec)
            except Exception as error:  # whatever happened, nobody waits for ever
                for waiting in taken:
                    if not waiting.answer.done():
                        waiting.answer.set_exception(error)

    def _take(self, spec: ModelSpec) -> list[_Waiting] | None:
        """Takes what waits for a model, but for what nobody waits for any more; None: nothing."""
        with self._lock:
            queue = self._queues[spec]
            if not queue:
                del self._queues[spec]
                return None
            taken = [queue.popleft() for _ in range(min(MAX_BATCH, len(queue)))]
            self._waiting -= len(taken)
        return [waiting for waiting in taken if waiting.answer.set_running_or_notify_cancel()]

    def _answer(self, taken: list[_Waiting], spec: ModelSpec) -> None:
        with self._store.use(spec) as model:
            size = self._store.batch_size(model)
            for first in range(0, len(taken), size):
                together = taken[first : first + size]
                started = time.perf_counter()
                results = classify_batch([waiting.photo for waiting in together], model)
                seconds = (time.perf_counter() - started) / len(together)
                self._seconds += (seconds - self._seconds) / 10
                for waiting, result in zip(together, results, strict=True):
                    waiting.answer.set_result(result)
