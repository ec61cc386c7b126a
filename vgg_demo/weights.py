"""Weight files: find them, download them, know them.

A file is looked for in the folder that the user names, then in Keras's own cache, under
the official name, so that Keras and this program share files. A download goes into that
cache: into a temporary file first, and under its real name only when its published hash
is right. A file that somebody put there by hand is used whatever its hash is, and then
carries ``verified=False`` wherever its results are shown.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import filelock
import pooch
import requests

from vgg_demo.errors import DiskFullError, WeightsDownloadError, WeightsMissingError
from vgg_demo.registry import ModelSpec
from vgg_demo.results import LocalWeights
from vgg_demo.settings import Settings

pooch.get_logger().setLevel("WARNING")  # it announces every download on stderr

CHUNK_BYTES = 1 << 20
FREE_DISK_MARGIN = 1.05
"""Room asked for on the disk, over the size of the file."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download has come.

    Attributes:
        received_bytes: Bytes that have arrived.
        total_bytes: Bytes of the whole file; 0 if the server did not say.
        seconds: Since the first byte was asked for.
    """

    received_bytes: int
    total_bytes: int
    seconds: float

    @property
    def fraction(self) -> float:
        """Part that has arrived, in [0, 1]."""
        return min(1.0, self.received_bytes / self.total_bytes) if self.total_bytes else 0.0

    @property
    def bytes_per_second(self) -> float:
        return self.received_bytes / self.seconds if self.seconds > 0 else 0.0

    @property
    def remaining_seconds(self) -> float | None:
        """Time left at the rate so far; None while that is unknown."""
        if not self.total_bytes or not self.bytes_per_second:
            return None
        return max(0.0, self.total_bytes - self.received_bytes) / self.bytes_per_second


OnProgress = Callable[[Progress], None]


def find_weights(spec: ModelSpec, settings: Settings) -> Path | None:
    """Returns the path of a model's weight file on this machine, or None."""
    if spec.is_embedded:
        return Path(str(files("vgg_demo").joinpath("data", spec.weights.name)))
    for folder in (settings.weights_dir, settings.cache_dir):
        if folder is not None and _is_file(folder / spec.weights.name):
            return folder / spec.weights.name
    return None


def check_weights_dir(settings: Settings) -> None:
    """Makes sure that the folder that the user named can be looked into.

    Raises:
        WeightsMissingError: If it cannot.
    """
    folder = settings.weights_dir
    if folder is None:
        return
    try:
        next(iter(folder.iterdir()), None)
    except OSError as error:
        raise WeightsMissingError(
            f"Cannot look into the weights folder {folder} ({error.strerror or error}). "
            "Check --weights-dir or VGG_DEMO_WEIGHTS_DIR."
        ) from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # no right to look into the folder
        return False


def ensure_weights(
    spec: ModelSpec, settings: Settings, on_progress: OnProgress | None = None
) -> Path:
    """Returns the path of a model's weight file, downloading it if need be.

    Two callers that ask for the same file at once, in one process or in two, download it
    once: the second waits for the first.

    Args:
        spec: The model.
        settings: Where to look and whether to download.
        on_progress: Called now and then while bytes arrive.

    Raises:
        WeightsMissingError: If the file is not here and downloading is switched off.
        WeightsDownloadError: If it could not be downloaded; nothing is left behind.
        DiskFullError: If the disk has no room for it.
    """
    found = find_weights(spec, settings)
    if found is not None:
        return found
    if settings.offline:
        raise WeightsMissingError(
            f"The weights of {spec.keras_name} are not on this machine, and downloading is "
            f"switched off (VGG_DEMO_OFFLINE). {how_to_place(spec, settings)}"
        )
    try:
        settings.cache_dir.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(settings.cache_dir / f"{spec.weights.name}.lock"):
            return find_weights(spec, settings) or _download(spec, settings, on_progress)
    except requests.RequestException as error:
        raise WeightsDownloadError(
            f"The download of {spec.keras_name} failed ({_reason(error)}). Try again later, or: "
            f"{how_to_place(spec, settings)}"
        ) from error
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise DiskFullError(_disk_full(spec, settings, spec.weights.size_bytes)) from error
        raise WeightsDownloadError(
            f"Cannot write to {settings.cache_dir} ({error.strerror or error}). Give this user "
            "the right to write there, or name another folder with KERAS_HOME."
        ) from error


def inspect_weights(path: Path, spec: ModelSpec) -> LocalWeights:
    """Reads a whole weight file once and says what it is.

    Raises:
        WeightsMissingError: If the file cannot be read (any more).
    """
    published = hashlib.new(spec.weights.hash_algorithm, usedforsecurity=False)
    sha256 = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                sha256.update(chunk)
                published.update(chunk)
    except OSError as error:
        raise WeightsMissingError(
            f"Cannot read the weights in {path} ({error.strerror or error}). "
            "Check the file and its permissions."
        ) from error
    return LocalWeights(
        file=path.name,
        sha256=sha256.hexdigest(),
        verified=published.hexdigest() == spec.weights.hash,
    )


def how_to_place(spec: ModelSpec, settings: Settings) -> str:
    """Says what to fetch, from where, and where to put it."""
    folder = settings.weights_dir or settings.cache_dir
    return (
        f"Download {spec.weights.url} ({spec.weights.size_bytes / 1e6:.0f} MB) on any machine "
        f"and put it into {folder}."
    )


def _download(spec: ModelSpec, settings: Settings, on_progress: OnProgress | None) -> Path:
    size_bytes = _answer(spec.weights.url, settings.answer_seconds) or spec.weights.size_bytes
    if shutil.disk_usage(settings.cache_dir).free < size_bytes * FREE_DISK_MARGIN:
        raise DiskFullError(_disk_full(spec, settings, size_bytes))
    downloader = pooch.HTTPDownloader(
        progressbar=_ProgressBar(on_progress),
        chunk_size=CHUNK_BYTES,
        timeout=(settings.answer_seconds, settings.stall_seconds),
    )
    try:
        pooch.retrieve(
            spec.weights.url,
            known_hash=_published_hash(spec),
            fname=spec.weights.name,
            path=settings.cache_dir,
            downloader=downloader,
        )
    except ValueError as error:  # pooch's word for a wrong hash
        raise WeightsDownloadError(
            f"The download of {spec.keras_name} brought other bytes than the published ones "
            f"(its {spec.weights.hash_algorithm} is wrong); it was thrown away. "
            f"Try again, or: {how_to_place(spec, settings)}"
        ) from error
    path = settings.cache_dir / spec.weights.name
    path.chmod(0o644)  # temporary files, which it was, are for their owner only
    return path


def _published_hash(spec: ModelSpec) -> str | None:
    return f"{spec.weights.hash_algorithm}:{spec.weights.hash}" if spec.weights.hash else None


def _answer(url: str, seconds: float) -> int:
    """Asks a server for a file's size in bytes, for no longer than `seconds` in all.

    The time limits of `requests` hold for each address of a host in turn, and not for the
    name look-up; without a network that can add up to a minute.

    Returns:
        The size; 0 if the server does not say.

    Raises:
        requests.RequestException: If there is no good answer.
    """
    answers: list[requests.Response | requests.RequestException] = []

    def ask() -> None:
        try:
            # Longer than we wait, so that it is always the waiting that ends.
            answers.append(requests.head(url, timeout=2 * seconds, allow_redirects=True))
        except requests.RequestException as error:
            answers.append(error)

    thread = threading.Thread(target=ask, name="weights-answer", daemon=True)
    thread.start()
    thread.join(seconds)
    if not answers:
        raise requests.ConnectTimeout(f"no answer within {seconds:g} seconds")
    if isinstance(answers[0], requests.RequestException):
        raise answers[0]
    answers[0].raise_for_status()
    length = answers[0].headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else 0


class _ProgressBar:
    """What pooch calls a progress bar: it counts the bytes and passes them on."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self.total = 0
        self._received = 0
        self._on_progress = on_progress
        self._started = time.monotonic()

    def update(self, count: int) -> None:
        self._received = min(self._received + count, self.total or self._received + count)
        if self._on_progress is not None:
            seconds = time.monotonic() - self._started
            self._on_progress(Progress(self._received, self.total, seconds))

    def reset(self) -> None:
        self._received = 0

    def close(self) -> None:
        pass


def _disk_full(spec: ModelSpec, settings: Settings, size_bytes: int) -> str:
    free = shutil.disk_usage(settings.cache_dir).free
    return (
        f"The weights of {spec.keras_name} need {size_bytes * FREE_DISK_MARGIN / 1e6:.0f} MB in "
        f"{settings.cache_dir}; {free / 1e6:.0f} MB are free. Make room, or name another folder "
        "with KERAS_HOME."
    )


def _reason(error: requests.RequestException) -> str:
    if error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.ConnectTimeout):
        return str(error) or "no answer"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut off"
    if isinstance(error, requests.ConnectionError | requests.Timeout):
        stalled = "timed out" in str(error)
        return "the download stood still" if stalled else "no connection to the server"
    return type(error).__name__
