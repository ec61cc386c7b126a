"""Runs generators that yield progress and return a result."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def run_to_end(
    generator: Generator[Any, None, T], on_progress: Callable[[Any], None] | None = None
) -> T:
    """Runs a generator to its end and returns its result.

    Args:
        generator: Long work that yields its progress.
        on_progress: Called with each yielded value. A `KeyboardInterrupt` that it raises is thrown
            into the generator, which may end early and still return a result.
    """
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            progress = next(generator) if interrupt is None else generator.throw(interrupt)
        except StopIteration as end:
            result: T = end.value
            return result
        try:
            if on_progress is not None:
                on_progress(progress)
        except KeyboardInterrupt as error:
            interrupt = error
