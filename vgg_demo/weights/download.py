"""Downloads weight files into Keras's cache.

A file is downloaded to a temporary folder and moved to its final name only after its hash has
been verified.
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
    content_length,
    describe_failure,
    iter_chunks,
    open_response,
)
from vgg_demo.weights.local import find_weights, manual_install_instructions

pooch.get_logger().setLevel("WARNING")  # pooch logs every download to stderr

FREE_DISK_MARGIN = 1.05
"""Required disk space, relative to the file size."""

MAX_SIZE_RATIO = 1.25
"""Maximum size of a download, relative to the size of its arrays.

The overhead of HDF5 grows with the number of arrays, about 2.5 kB each. It is largest by far for
NASNetMobile, whose 1,126 arrays are small: 14%.
"""

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
"""First bytes of every weight file (HDF5 File Format Specification, section II.A)."""

MAX_QUOTE_LENGTH = 20  # bytes of an unexpected file that an error message quotes

PARTIAL_SUFFIX = ".vgg-demo-part"
DISK_FULL = {errno.ENOSPC, errno.EDQUOT}


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a download.

    Attributes:
        received_bytes: Bytes received.
        total_bytes: Size of the file in bytes; without a Content-Length, the size of its arrays.
        seconds: Time since the first chunk was requested.
    """

    received_bytes: int
    total_bytes: int
    seconds: float

    @property
    def fraction(self) -> float:
        """Received fraction of the file, in [0, 1]."""
        return min(1.0, self.received_bytes / self.total_bytes)

    @property
    def bytes_per_second(self) -> float:
        """Mean transfer rate so far."""
        return self.received_bytes / self.seconds if self.seconds > 0 else 0.0

    @property
    def remaining_seconds(self) -> float | None:
        """Estimated remaining time; None if there is no estimate yet."""
        if not self.bytes_per_second:
            return None
        return max(0.0, self.total_bytes - self.received_bytes) / self.bytes_per_second


OnProgress = Callable[[Progress], None]


def ensure_weights(
    spec: ModelSpec, settings: Settings, on_progress: OnProgress | None = None
) -> Path:
    """Returns the path of a model's weight file and downloads it if necessary.

    Concurrent callers, in one process or in several, download a file only once: the others wait
    for the first.

    Args:
        spec: The model.
        settings: Folders to search, and whether downloads are allowed.
        on_progress: Called repeatedly during the download.

    Raises:
        WeightsMissingError: If the file is not installed and downloads are disabled.
        WeightsDownloadError: If the download failed; no partial file remains.
        DiskFullError: If the disk does not have enough space.
    """
    installed = find_weights(spec, settings)
    if installed is not None:
        return installed
    if settings.offline:
        raise WeightsMissingError(
            f"{spec.keras_name} is not installed and downloads are disabled (VGG_DEMO_OFFLINE). "
            f"{manual_install_instructions(spec, settings)}"
        )
    try:
        settings.cache_dir.mkdir(parents=True, exist_ok=True)
        with _lock(settings.cache_dir / f"{spec.weights.name}.lock"):
            return find_weights(spec, settings) or _download(spec, settings, on_progress)
    except TRANSFER_ERRORS as error:
        raise WeightsDownloadError(
            f"The download of {spec.keras_name} failed: {describe_failure(error)}. Try again "
            f"later, or install it manually. {manual_install_instructions(spec, settings)}"
        ) from error
    except OSError as error:
        if error.errno in DISK_FULL:
            raise _disk_full(spec, settings, spec.weights.size_bytes) from error
        raise WeightsDownloadError(
            f"Cannot write to {settings.cache_dir} ({error.strerror or error}). Grant this user "
            "write permission, or set KERAS_HOME to another folder."
        ) from error


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Holds an inter-process lock and removes its file afterward.

    The file is removed while the lock is still held. This is safe for two reasons: nothing runs
    under the lock afterward, and a process that has opened the removed file in the meantime
    detects this (filelock checks that the locked file still has a name) and starts over with a
    new one.
    """
    with filelock.FileLock(path):
        try:
            yield
        finally:
            with suppress(OSError):  # Windows cannot remove open files; filelock does it there
                path.unlink()


def _download(spec: ModelSpec, settings: Settings, on_progress: OnProgress | None) -> Path:
    """Downloads a file while holding its lock; removes the partial folder of a killed process."""
    path = settings.cache_dir / spec.weights.name
    partial = settings.cache_dir / (spec.weights.name + PARTIAL_SUFFIX)
    shutil.rmtree(partial, ignore_errors=True)

    def fetch(url: str, output_file: str, _: object) -> None:
        with open_response(
            url, settings.response_timeout_seconds, settings.stall_timeout_seconds
        ) as response:
            total_bytes = content_length(response) or spec.weights.size_bytes
            _check_size(total_bytes, spec.weights)
            if shutil.disk_usage(settings.cache_dir).free < total_bytes * FREE_DISK_MARGIN:
                raise _disk_full(spec, settings, total_bytes)
            chunks = _validate(iter_chunks(response, settings.stall_timeout_seconds), spec.weights)
            with Path(output_file).open("wb") as file:
                file.writelines(_report_progress(chunks, total_bytes, on_progress))

    weights = spec.weights
    known_hash = f"{weights.hash_algorithm}:{weights.hash}" if weights.hash else None
    try:
        pooch.retrieve(weights.url, known_hash, weights.name, partial, downloader=fetch)
        # pooch makes its files private; set the default permissions of a new file instead.
        (partial / "new").touch()
        (partial / weights.name).chmod((partial / "new").stat().st_mode)
        (partial / weights.name).replace(path)
    except (_RejectedError, ValueError) as error:  # pooch raises ValueError for a wrong hash
        reason = (
            error
            if isinstance(error, _RejectedError)
            else f"its {weights.hash_algorithm} differs from the published one"
        )
        raise WeightsDownloadError(
            f"The download of {spec.keras_name} was rejected: {reason}. Try again, or "
            f"install it manually. {manual_install_instructions(spec, settings)}"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return path


def _report_progress(
    chunks: Iterator[bytes], total_bytes: int, on_progress: OnProgress | None
) -> Iterator[bytes]:
    started, received_bytes = time.monotonic(), 0
    for chunk in chunks:
        yield chunk
        received_bytes += len(chunk)
        if on_progress is not None:
            on_progress(Progress(received_bytes, total_bytes, time.monotonic() - started))


class _RejectedError(Exception):
    """The download cannot be the published file."""


def _validate(chunks: Iterator[bytes], weights: WeightFile) -> Iterator[bytes]:
    """Yields the chunks of a download as long as it can be the published file.

    Raises:
        _RejectedError: As soon as it can no longer be the published file.
    """
    first_bytes, received_bytes = b"", 0
    for chunk in chunks:
        first_bytes = (first_bytes + chunk[:MAX_QUOTE_LENGTH])[:MAX_QUOTE_LENGTH]
        received_bytes += len(chunk)
        _check_signature(first_bytes)
        _check_size(received_bytes, weights)
        yield chunk
    if not weights.hash and received_bytes < weights.size_bytes:
        raise _RejectedError(
            f"it is {received_bytes:,} bytes, but its arrays alone are {weights.size_bytes:,} bytes"
        )


def _check_signature(first_bytes: bytes) -> None:
    length = len(HDF5_SIGNATURE)
    if not HDF5_SIGNATURE.startswith(first_bytes[:length]):
        raise _RejectedError(
            f"it is not a weight file; it starts with {first_bytes!r}. If this network has a login "
            "page, open it in a browser first"
        )


def _check_size(size_bytes: int, weights: WeightFile) -> None:
    limit = int(weights.size_bytes * MAX_SIZE_RATIO)
    if size_bytes > limit:
        raise _RejectedError(
            f"it is at least {size_bytes:,} bytes; the published file is smaller than {limit:,}"
        )


def _disk_full(spec: ModelSpec, settings: Settings, size_bytes: int) -> DiskFullError:
    free = shutil.disk_usage(settings.cache_dir).free
    return DiskFullError(
        f"The weights of {spec.keras_name} require {size_bytes * FREE_DISK_MARGIN / 1e6:.0f} MB in "
        f"{settings.cache_dir}; {free / 1e6:.0f} MB is free. Free disk space, or set KERAS_HOME "
        "to another folder."
    )
