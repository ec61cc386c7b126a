"""Long work, run to its end."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def run_to_end(
    generator: Generator[Any, None, T], on_progress: Callable[[Any], None] | None = None
) -> T:
    """Runs a generator to its end and returns what it returns.

    Args:
        generator: Work that yields its progress.
        on_progress: Called with what it yields. Where it is interrupted, so is the generator,
            which may have something to return nevertheless.
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
