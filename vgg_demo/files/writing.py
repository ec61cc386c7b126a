"""What keeps a file from being written, as an error that a person can act on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vgg_demo.errors import FileUnwritableError


@contextmanager
def writing(path: Path, advice: str) -> Iterator[None]:
    """Turns what the system says of a path into an error with a way out.

    Args:
        path: What is written.
        advice: What to do, as a sentence.

    Raises:
        FileUnwritableError: If the block cannot write.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise FileUnwritableError(f"Cannot write {str(path)!r}: {reason}. {advice}") from error
