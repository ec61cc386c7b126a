"""Terminal output, prompts, silenced libraries, and preparation of photos and models.

Results go to stdout, everything else to stderr. A file name can contain almost any character,
so every line is escaped by `printable`.
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
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.limits import ImageLimits
from vgg_demo.models.registry import ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights.download import Progress, ensure_weights
from vgg_demo.weights.local import find_weights


def print_result(text: str) -> None:
    """Prints one line of results to stdout."""
    click.echo(printable(text))


def log(text: str, *, nl: bool = True) -> None:
    """Prints a message to stderr; ignores a stderr that cannot be written."""
    with contextlib.suppress(OSError):
        click.echo(printable(text), err=True, nl=nl)


def log_failure(file: str, message: str) -> None:
    """Logs why a photo cannot be used; some messages already contain the name of the file."""
    log(message if repr(file) in message else f"{file}: {message}")


def set_up() -> None:
    """Configures the streams and silences the warnings and messages of libraries."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for characters it cannot encode
    if not sys.warnoptions:  # python -W still shows warnings
        warnings.simplefilter("ignore")
    if not logging.root.handlers:  # without a handler, Python logs warnings to stderr
        logging.root.addHandler(logging.NullHandler())
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    memory.prepare_process()


class Group(click.Group):
    """A command group that reports errors as messages and lists commands as they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Returns the command names in the order of definition."""
        return list(self.commands)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().main(*args, **kwargs)
        except OSError as error:  # except for a closed pipe, which click handles silently
            if error.errno is None or error.filename is not None:
                raise  # not an error from stdout, which has no file name
            # At exit, Python would flush stdout and fail again.
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
            log(f"Error: Cannot write the output ({error.strerror}). Redirect it elsewhere.")
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
    """Escapes arguments in usage errors: they may be file names, if the shell has expanded a *."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise  # the message is the help page
    except click.UsageError as error:
        raise click.UsageError(printable(error.format_message()), error.ctx) from error


def pluralize(number: int, singular: str, plural: str | None = None) -> str:
    """Returns a number with its noun in the singular or plural.

    >>> pluralize(1, "photo"), pluralize(2_000, "photo"), pluralize(0, "class", "classes")
    ('1 photo', '2,000 photos', '0 classes')
    """
    return f"{number:,} {singular if number == 1 else plural or singular + 's'}"


def fetch_weights(spec: ModelSpec, settings: Settings) -> Path:
    """Returns the path of a model's weight file; downloads it, with a progress bar, if missing.

    Raises:
        WeightsError: If the weights are not available.
    """
    needs_no_bar = settings.offline or find_weights(spec, settings) or sys.stderr is None
    if needs_no_bar:
        return ensure_weights(spec, settings)
    with click.progressbar(
        length=spec.weights.size_bytes, label=f"Downloading {spec.keras_name}", file=sys.stderr
    ) as bar:

        def update(progress: Progress) -> None:
            bar.length = progress.total_bytes
            with contextlib.suppress(OSError):  # stderr was closed
                bar.update(progress.received_bytes - bar.pos)

        return ensure_weights(spec, settings, update)


def prepare_model(spec: ModelSpec, store: ModelStore, settings: Settings) -> None:
    """Imports TensorFlow, checks the memory budget and downloads missing weights.

    Raises:
        MemoryBudgetError: If the model does not fit into the memory budget.
        WeightsError: If the weights are not available.
    """
    _import_engine()
    store.check_fits(spec)
    fetch_weights(spec, settings)


def load_photo(path: str, limits: ImageLimits) -> Photo:
    """Reads and decodes a photo, without libtiff's messages about damaged files.

    Raises:
        FileUnreadableError: If the path cannot be read.
        ImageError: If the image cannot be used.
    """
    data = read_file(path, limits)
    with _silenced_stderr():
        return open_photo(data, file=path, limits=limits)


def _import_engine() -> None:
    """Imports TensorFlow without its startup messages.

    Its C++ code logs before any of its settings apply, so file descriptor 2 is redirected
    during the import. Errors are still raised as exceptions. If the library aborts the process
    (on an unsupported processor), ``TF_CPP_MIN_LOG_LEVEL=0`` makes its message visible.
    """
    is_verbose = os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "0"
    with contextlib.nullcontext() if is_verbose else _silenced_stderr():
        importlib.import_module("vgg_demo.inference.engine")


@contextlib.contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Redirects file descriptor 2 to the null device."""
    try:
        original = os.dup(2)
    except OSError:  # the process was started without stderr
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 2)
        yield
    finally:
        os.dup2(original, 2)
        os.close(original)
        os.close(null)


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silences native libraries on stderr; output of Python code still appears.

    For multithreaded code: all threads share file descriptor 2, so a single thread cannot redirect
    it for itself only.
    """
    try:
        is_standard = sys.stderr.fileno() == 2
        original = os.dup(2)
    except (AttributeError, OSError):  # no stderr, a closed one, or one that is not a file
        yield
        return
    python_stderr = sys.stderr
    with open(original, "w", encoding=python_stderr.encoding, errors="backslashreplace") as stderr:
        if is_standard:
            sys.stderr = stderr
        try:
            with _silenced_stderr():
                yield
        finally:
            sys.stderr = python_stderr


def prompt_for_paths() -> Iterator[str]:
    """Prompts for paths until EXIT, Ctrl-C or the end of input; yields each path.

    Raises:
        FileUnreadableError: If stdin cannot be read.
    """
    if isinstance(sys.stdin, io.TextIOWrapper) and sys.stdin.errors != "surrogateescape":
        sys.stdin.reconfigure(errors="surrogateescape")  # as in file names
    while True:
        line = _prompt("Photo path (EXIT to quit): ")
        if not line.endswith("\n"):
            log("")  # ends the line of the prompt
        path = _unquote(line.strip())
        if not line or path.upper() == "EXIT":
            return
        if path:
            # Unlike Path.expanduser, this leaves ~ unchanged if there is no home directory.
            yield os.path.expanduser(path)  # noqa: PTH111


def _prompt(question: str) -> str:
    """Returns a line with its newline; without one at the end of input and after Ctrl-C."""
    try:
        log(question, nl=False)
        return sys.stdin.readline() if sys.stdin is not None else ""
    except KeyboardInterrupt:
        return ""
    except OSError as error:
        raise FileUnreadableError(
            f"Cannot read paths from stdin ({error.strerror or error}). "
            "Pass the photos as arguments."
        ) from error


def _unquote(path: str) -> str:
    """Removes the quotes that file managers add to a path dragged into the terminal."""
    is_quoted = len(path) > 1 and path[0] == path[-1] and path[0] in "'\""
    return path[1:-1] if is_quoted else path
