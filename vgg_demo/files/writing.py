"""Converts system errors raised while writing into errors with advice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vgg_demo.errors import FileUnwritableError


@contextmanager
def report_write_errors(path: Path, advice: str) -> Iterator[None]:
    """Converts every `OSError` in the ``with`` block into an error with advice.

    Args:
        path: The file or folder that is written.
        advice: What to do next, as a sentence.

    Raises:
        FileUnwritableError: If the block raises `OSError`.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise FileUnwritableError(f"Cannot write {str(path)!r}: {reason}. {advice}") from error
