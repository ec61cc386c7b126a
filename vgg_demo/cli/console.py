"""What a terminal is shown, and what is kept off it.

Answers go to stdout, everything else to stderr. A file name can hold almost anything, so
what is shown passes through `printable`.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from vgg_demo import memory
from vgg_demo.errors import FileUnreadableError, UnknownModelError, VggDemoError
from vgg_demo.files.printable import printable
from vgg_demo.images.decode import read_file
from vgg_demo.images.photo import Photo, open_photo
from vgg_demo.inference.store import ModelStore
from vgg_demo.limits import ImageLimits
from vgg_demo.models.registry import ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights.download import Progress, ensure_weights
from vgg_demo.weights.local import find_weights


def print_result(text: str) -> None:
    """Writes one line of an answer to stdout."""
    click.echo(printable(text))


def log(text: str, *, nl: bool = True) -> None:
    """Writes a message to stderr; where nobody can be told, the work goes on."""
    with contextlib.suppress(OSError):
        click.echo(printable(text), err=True, nl=nl)


def set_up() -> None:
    """Prepares the streams, and keeps libraries from talking over the answers."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # not every encoding has every name
    if not sys.warnoptions:  # whoever asks for Python's warnings gets them
        warnings.simplefilter("ignore")
    if not logging.root.handlers:  # without one, Python writes warnings to stderr
        logging.root.addHandler(logging.NullHandler())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    memory.prepare_process()


class Group(click.Group):
    """A group of commands that turns what can go wrong into messages."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # but for a closed pipe, which click ends quietly
            if error.errno is None or error.filename is not None:
                raise  # not from writing to stdout, which has no file name
            # Python would try once more, at its end, to write what cannot be written.
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            log(f"Error: Cannot write the answer ({error.strerror}). Send it somewhere else.")
            sys.exit(1)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _printable_usage_errors():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _printable_usage_errors():
                return super().invoke(ctx)
        except VggDemoError as error:
            log(f"Error: {error}")
            sys.exit(2 if isinstance(error, UnknownModelError) else 1)


@contextlib.contextmanager
def _printable_usage_errors() -> Iterator[None]:
    """Escapes what click quotes: a shell's * puts file names where options may stand."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise  # a whole page of help
    except click.UsageError as error:
        raise click.UsageError(printable(error.format_message()), error.ctx) from error


def fetch_weights(spec: ModelSpec, settings: Settings) -> Path:
    """Returns the path of a model's weight file; shows how far a download is.

    Raises:
        WeightsError: If the weights cannot be had.
    """
    nothing_to_show = settings.offline or find_weights(spec, settings) or sys.stderr is None
    if nothing_to_show:
        return ensure_weights(spec, settings)
    with click.progressbar(
        length=spec.weights.size_bytes, label=f"Downloading {spec.keras_name}", file=sys.stderr
    ) as bar:

        def update(progress: Progress) -> None:
            bar.length = progress.total_bytes
            with contextlib.suppress(OSError):  # nobody looks on any more
                bar.update(progress.received_bytes - bar.pos)

        return ensure_weights(spec, settings, update)


def prepare_model(spec: ModelSpec, store: ModelStore, settings: Settings) -> None:
    """Brings here what a model needs before it can be loaded: TensorFlow, and its weights.

    Raises:
        MemoryBudgetError: If it could not be loaded anyway.
        WeightsError: If the weights cannot be had.
    """
    _import_engine()
    store.check_fits(spec)
    fetch_weights(spec, settings)


def load_photo(path: str, limits: ImageLimits) -> Photo:
    """Reads and decodes a photo without what libtiff says on stderr about a damaged one.

    Raises:
        FileUnreadableError: If the path cannot be read.
        ImageError: If the picture cannot be used.
    """
    data = read_file(path, limits)
    with _stderr_turned_away():
        return open_photo(data, file=path, limits=limits)


def _import_engine() -> None:
    """Imports TensorFlow without what it says on stderr while it is loaded.

    Its C++ side announces itself before any of its settings counts, so file descriptor 2 is
    turned away meanwhile. Errors still come as exceptions. Where the library ends the whole
    process (on a processor that it was not built for), ``TF_CPP_MIN_LOG_LEVEL=0`` lets its
    words through.
    """
    talk = os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0"
    with contextlib.nullcontext() if talk else _stderr_turned_away():
        importlib.import_module("vgg_demo.inference.engine")


@contextlib.contextmanager
def _stderr_turned_away() -> Iterator[None]:
    try:
        kept = os.dup(2)
    except OSError:  # started without stderr: nothing to turn away
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Turns file descriptor 2 away for a while; what Python itself writes still arrives.

    For work in threads, of which none can turn it away for itself.
    """
    try:
        is_ours = sys.stderr.fileno() == 2
        kept = os.dup(2)
    except (AttributeError, OSError):  # none, closed, or not a file
        yield
        return
    before = sys.stderr
    with open(kept, "w", encoding=before.encoding, errors="backslashreplace") as stderr:
        if is_ours:
            sys.stderr = stderr
        try:
            with _stderr_turned_away():
                yield
        finally:
            sys.stderr = before


def prompt_for_paths() -> Iterator[str]:
    """Asks for one path after the other until EXIT, Ctrl-C or the end of input.

    Raises:
        FileUnreadableError: If there is an input that cannot be read.
    """
    if isinstance(sys.stdin, io.TextIOWrapper) and sys.stdin.errors != "surrogateescape":
        sys.stdin.reconfigure(errors="surrogateescape")  # as in the names of files
    while True:
        line = _prompt("Path of a photo (EXIT to end): ")
        if not line.endswith("\n"):
            log("")  # ends the prompt's line
        path = _unquote(line.strip())
        if not line or path.upper() == "EXIT":
            return
        if path:
            yield os.path.expanduser(path)  # noqa: PTH111  # as it is where there is no home


def _prompt(question: str) -> str:
    """Returns a line with its end, or less where the input ends or Ctrl-C is pressed."""
    try:
        log(question, nl=False)
        return sys.stdin.readline() if sys.stdin is not None else ""
    except KeyboardInterrupt:
        return ""
    except OSError as error:
        raise FileUnreadableError(
            f"Cannot read paths from the input ({error.strerror or error}). "
            "Name the photos on the command line."
        ) from error


def _unquote(path: str) -> str:
    """Takes off the quotes that file managers put around a path that is dragged over."""
    is_quoted = len(path) > 1 and path[0] == path[-1] and path[0] in "'\""
    return path[1:-1] if is_quoted else path
