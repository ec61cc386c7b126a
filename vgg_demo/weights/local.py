"""Local weight files: finding and verifying them.

A file is searched first in the folder that the user configures, then in Keras's cache, under its
official name, so that Keras and this package share files. A file that was installed manually is
used whatever its hash, but its results are marked with ``verified=False``.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from vgg_demo.errors import WeightsMissingError
from vgg_demo.models.registry import ModelSpec
from vgg_demo.settings import Settings

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LocalWeights:
    """The weight file that a result is based on.

    Attributes:
        file: File name without folder.
        sha256: SHA-256 of the file, 64 hex digits.
        verified: Whether the hash equals the published one; False if none is published.
    """

    file: str
    sha256: str
    verified: bool


@dataclass(frozen=True, slots=True)
class FileState:
    """State of a file, used to detect changes.

    Attributes:
        path: Path of the file.
        size_bytes: Size in bytes.
        changed_ns: Modification and status change time (mtime, ctime), in nanoseconds since
            1970. Copying programs preserve the former, but cannot set the latter.
    """

    path: Path
    size_bytes: int
    changed_ns: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Returns the current state of a file without reading its content.

        Raises:
            WeightsMissingError: If the file does not exist or is inaccessible.
        """
        try:
            state = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        return cls(path, state.st_size, (state.st_mtime_ns, state.st_ctime_ns))


def find_weights(spec: ModelSpec, settings: Settings) -> Path | None:
    """Returns the path of a model's weight file, or None if it is not installed."""
    if spec.is_embedded:
        return Path(str(files("vgg_demo").joinpath("data", spec.weights.name)))
    if spec.custom is not None:
        return spec.custom.bundle / spec.weights.name
    for folder in (settings.weights_dir, settings.cache_dir):
        if folder is not None and _is_file(folder / spec.weights.name):
            return folder / spec.weights.name
    return None


def check_weights_dir(settings: Settings) -> None:
    """Checks that the configured weights folder can be listed.

    Raises:
        WeightsMissingError: If the folder cannot be listed.
    """
    folder = settings.weights_dir
    if folder is None:
        return
    try:
        next(iter(folder.iterdir()), None)
    except (OSError, ValueError) as error:  # ValueError: an invalid path, such as one with NUL
        raise WeightsMissingError(
            f"Cannot read the weights folder {folder} ({_reason(error)}). "
            "Check --weights-dir or VGG_DEMO_WEIGHTS_DIR."
        ) from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no permission, or an invalid path
        return False


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def inspect_weights(path: Path, spec: ModelSpec) -> LocalWeights:
    """Computes the SHA-256 of a weight file and checks it against the published hash.

    Raises:
        WeightsMissingError: If the file cannot be read.
    """
    published = hashlib.new(spec.weights.hash_algorithm, usedforsecurity=False)
    sha256 = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                sha256.update(chunk)
                published.update(chunk)
    except OSError as error:
        raise _unreadable(path, error) from error
    return LocalWeights(
        file=path.name,
        sha256=sha256.hexdigest(),
        verified=published.hexdigest() == spec.weights.hash,
    )


def describe_model(spec: ModelSpec, settings: Settings) -> dict[str, Any]:
    """Returns the properties of a model, and whether it is installed, as plain JSON values."""
    return {
        "name": spec.name,
        "keras_name": spec.keras_name,
        "labels": spec.labels,
        "input_size": spec.input_size,
        "preprocessing": spec.preprocessing,
        "parameters": spec.parameters,
        "size_bytes": spec.weights.size_bytes,
        "accuracy": spec.accuracy and asdict(spec.accuracy),
        "weights_file": spec.weights.name,
        "weights_url": spec.weights.url,
        "installed": find_weights(spec, settings) is not None,
        "custom": spec.custom
        and {
            "backbone": spec.custom.backbone,
            "classes": [label.label for label in spec.custom.classes],
        },
    }


def manual_install_instructions(spec: ModelSpec, settings: Settings) -> str:
    """Returns instructions for installing a weight file manually: URL, size and folder."""
    folder = settings.weights_dir or settings.cache_dir
    return (
        f"Download {spec.weights.url} ({spec.weights.size_bytes / 1e6:.0f} MB) on another "
        f"computer and copy the file to {folder}."
    )


def _unreadable(path: Path, error: OSError) -> WeightsMissingError:
    return WeightsMissingError(
        f"Cannot read the weights in {path} ({_reason(error)}). Check the file and its permissions."
    )
