"""A weighted semaphore."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class WeightedSemaphore:
    """A weighted semaphore: threads share a number of units and wait until enough are free.

    Waiting threads acquire their units one at a time, so a steady stream of small requests
    cannot starve a large one.

    Args:
        total: Number of units.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._left = total
        self._turn = threading.Lock()  # held by the thread that acquires next
        self._changed = threading.Condition()

    @contextmanager
    def acquire(self, amount: int) -> Iterator[None]:
        """Holds units for the duration of a ``with`` block; waits until they are free.

        Args:
            amount: Number of units. More than the total counts as the total.
        """
        amount = min(amount, self._total)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._left >= amount)
            self._left -= amount
        try:
            yield
        finally:
            with self._changed:
                self._left += amount
                self._changed.notify_all()
