"""So much of something at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Quota:
    """An amount that threads share; who finds too little left waits for the others.

    While one waits for much, no other is served, so that who needs much is not overtaken for
    ever by those who need little.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._left = total
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, amount: int) -> Iterator[None]:
        """Takes an amount for the time of a block; of more than there is, all."""
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
