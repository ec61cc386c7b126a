"""Weight files that are not on this machine yet: download them.

A download goes into Keras's cache: into a folder of its own first, and under its real name
only when it is what was published.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import filelock
import pooch

from vgg_demo.errors import DiskFullError, WeightsDownloadError, WeightsMissingError
from vgg_demo.models.registry import ModelSpec, WeightFile
from vgg_demo.settings import Settings
from vgg_demo.weights.http import (
    TRANSFER_ERRORS,
    announced_bytes,
    explain_failure,
    open_url,
    read_pieces,
)
from vgg_demo.weights.local import find_weights, how_to_place

pooch.get_logger().setLevel("WARNING")  # it announces every download on stderr

FREE_DISK_MARGIN = 1.05
"""Room asked for on the disk, over the size of the file."""

MAX_SIZE_RATIO = 1.25
"""Largest download, over the size of the numbers in it.

What HDF5 adds grows with the number of arrays, about 2.5 kB for each. Most by far it adds
to NASNetMobile, whose 1,126 arrays are small: 14 %.
"""

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""How every weight file begins (HDF5 File Format Specification, section II.A)."""

MAX_QUOTE_LENGTH = 20  # bytes of something else in an error message

PARTIAL_SUFFIX = ".vgg-demo-part"
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a download has come.

    Attributes:
        received_bytes: Bytes that have arrived.
        total_bytes: Bytes of the whole file; where the server does not say, of the numbers
            in it.
        seconds: Since the first byte was asked for.
    """

    received_bytes: int
    total_bytes: int
    seconds: float

    @property
    def fraction(self) -> float:
        """Part that has arrived, in [0, 1]."""
        return min(1.0, self.received_bytes / self.total_bytes)

    @property
    def bytes_per_second(self) -> float:
        return self.received_bytes / self.seconds if self.seconds > 0 else 0.0

    @property
    def remaining_seconds(self) -> float | None:
        """Time left at the rate so far; None while that is unknown."""
        if not self.bytes_per_second:
            return None
        return max(0.0, self.total_bytes - self.received_bytes) / self.bytes_per_second


OnProgress = Callable[[Progress], None]


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
        with _lock(settings.cache_dir / f"{spec.weights.name}.lock"):
            return find_weights(spec, settings) or _download(spec, settings, on_progress)
    except TRANSFER_ERRORS as error:
        raise WeightsDownloadError(
            f"The download of {spec.keras_name} failed: {explain_failure(error)}. Try again "
            f"later, or: {how_to_place(spec, settings)}"
        ) from error
    except OSError as error:
        if error.errno in DISK_FULL:
            raise _disk_full(spec, settings, spec.weights.size_bytes) from error
        raise WeightsDownloadError(
            f"Cannot write to {settings.cache_dir} ({error.strerror or error}). Give this user "
            "the right to write there, or name another folder with KERAS_HOME."
        ) from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Lets one process at a time pass, and leaves no lock file behind.

    The file is removed while the lock is still held. That is safe because of two things:
    nothing is done under the lock afterwards, and whoever has opened the removed file
    meanwhile finds out (filelock looks whether the file that it has locked still has a
    name) and starts over with a new one.
    """
    with filelock.FileLock(path):
        try:
            yield
        finally:
            with suppress(OSError):  # Windows removes no open file; filelock does it there
                path.unlink()


def _download(spec: ModelSpec, settings: Settings, on_progress: OnProgress | None) -> Path:
    """Downloads a file, under a lock: a partial folder found here is a killed process's."""
    path = settings.cache_dir / spec.weights.name
    partial = settings.cache_dir / (spec.weights.name + PARTIAL_SUFFIX)
    shutil.rmtree(partial, ignore_errors=True)

    def fetch(url: str, output_file: str, _: object) -> None:
        with open_url(url, settings.answer_seconds, settings.stall_seconds) as answer:
            total_bytes = announced_bytes(answer) or spec.weights.size_bytes
            _check_size(total_bytes, spec.weights)
            if shutil.disk_usage(settings.cache_dir).free < total_bytes * FREE_DISK_MARGIN:
                raise _disk_full(spec, settings, total_bytes)
            pieces = _checked(read_pieces(answer, settings.stall_seconds), spec.weights)
            with Path(output_file).open("wb") as file:
                file.writelines(_counted(pieces, total_bytes, on_progress))

    weights = spec.weights
    known_hash = f"{weights.hash_algorithm}:{weights.hash}" if weights.hash else None
    try:
        pooch.retrieve(weights.url, known_hash, weights.name, partial, downloader=fetch)
        # pooch's files are for their owner only; this one is for whom new files are for.
        (partial / "new").touch()
        (partial / weights.name).chmod((partial / "new").stat().st_mode)
        (partial / weights.name).replace(path)
    except (_UnfitError, ValueError) as error:  # pooch's word for a wrong hash
        reason = (
            error
            if isinstance(error, _UnfitError)
            else "it brought other bytes than the published ones "
            f"(their {weights.hash_algorithm} is another)"
        )
        raise WeightsDownloadError(
            f"The download of {spec.keras_name} was thrown away: {reason}. Try again, or: "
            f"{how_to_place(spec, settings)}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _counted(
    pieces: Iterator[bytes], total_bytes: int, on_progress: OnProgress | None
) -> Iterator[bytes]:
    started, received_bytes = time.monotonic(), 0
    for piece in pieces:
        yield piece
        received_bytes += len(piece)
        if on_progress is not None:
            on_progress(Progress(received_bytes, total_bytes, time.monotonic() - started))


class _UnfitError(Exception):
    """What arrives cannot be the published file."""


def _checked(pieces: Iterator[bytes], weights: WeightFile) -> Iterator[bytes]:
    """Passes a download on as long as it can be the published file.

    Raises:
        _UnfitError: As soon as it cannot.
    """
    beginning, received_bytes = b"", 0
    for piece in pieces:
        beginning = (beginning + piece[:MAX_QUOTE_LENGTH])[:MAX_QUOTE_LENGTH]
        received_bytes += len(piece)
        _check_beginning(beginning)
        _check_size(received_bytes, weights)
        yield piece
    if not weights.hash and received_bytes < weights.size_bytes:
        raise _UnfitError(
            f"it brought {received_bytes:,} bytes, and the numbers alone are {weights.size_bytes:,}"
        )


def _check_beginning(beginning: bytes) -> None:
    length = len(HDF5_SIGNATURE)
    if not HDF5_SIGNATURE.startswith(beginning[:length]):
        raise _UnfitError(
            f"it is no weight file but begins with {beginning!r}. If this network has a log-in "
            "page, open it in a browser first"
        )


def _check_size(size_bytes: int, weights: WeightFile) -> None:
    limit = int(weights.size_bytes * MAX_SIZE_RATIO)
    if size_bytes > limit:
        raise _UnfitError(
            f"it is {size_bytes:,} bytes long or more, and the published file less than {limit:,}"
        )


def _disk_full(spec: ModelSpec, settings: Settings, size_bytes: int) -> DiskFullError:
    free = shutil.disk_usage(settings.cache_dir).free
    return DiskFullError(
        f"The weights of {spec.keras_name} need {size_bytes * FREE_DISK_MARGIN / 1e6:.0f} MB in "
        f"{settings.cache_dir}; {free / 1e6:.0f} MB are free. Make room, or name another folder "
        "with KERAS_HOME."
    )
