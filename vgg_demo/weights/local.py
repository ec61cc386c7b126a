"""Weight files: find them on this machine, and know them.

A file is looked for in the folder that the user names, then in Keras's own cache, under
the official name, so that Keras and this program share files. A file that somebody put
there by hand is used whatever its hash is, and then carries ``verified=False`` wherever its
results are shown.
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
    """The weight file behind a result.

    Attributes:
        file: Its name, without the folder.
        sha256: Of the whole file, 64 hex digits.
        verified: Whether it is the published file, by the published hash; False too where
            no hash is published.
    """

    file: str
    sha256: str
    verified: bool


@dataclass(frozen=True, slots=True)
class FileState:
    """What shows whether a file has changed since it was last looked at.

    Attributes:
        path: Where it is.
        size_bytes: Its size.
        changed_ns: When its content was last written and when anything about it was, in
            nanoseconds since 1970. Copying programs set the former back, none the latter.
    """

    path: Path
    size_bytes: int
    changed_ns: tuple[int, int]

    @classmethod
    def of(cls, path: Path) -> FileState:
        """Looks at a file without reading it.

        Raises:
            WeightsMissingError: If it is not there (any more).
        """
        try:
            state = path.stat()
        except OSError as error:
            raise _unreadable(path, error) from error
        return cls(path, state.st_size, (state.st_mtime_ns, state.st_ctime_ns))


def find_weights(spec: ModelSpec, settings: Settings) -> Path | None:
    """Returns the path of a model's weight file on this machine, or None."""
    if spec.is_embedded:
        return Path(str(files("vgg_demo").joinpath("data", spec.weights.name)))
    if spec.custom is not None:
        return spec.custom.bundle / spec.weights.name
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
    except (OSError, ValueError) as error:  # ValueError: no name at all, as with a NUL in it
        raise WeightsMissingError(
            f"Cannot look into the weights folder {folder} ({_words(error)}). "
            "Check --weights-dir or VGG_DEMO_WEIGHTS_DIR."
        ) from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # no right to look into the folder, or no name for one
        return False


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


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
        raise _unreadable(path, error) from error
    return LocalWeights(
        file=path.name,
        sha256=sha256.hexdigest(),
        verified=published.hexdigest() == spec.weights.hash,
    )


def describe(spec: ModelSpec, settings: Settings) -> dict[str, Any]:
    """Returns what there is to know about a model, as plain JSON values."""
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
        "here": find_weights(spec, settings) is not None,
        "custom": spec.custom
        and {
            "backbone": spec.custom.backbone,
            "classes": [label.label for label in spec.custom.classes],
        },
    }


def how_to_place(spec: ModelSpec, settings: Settings) -> str:
    """Says what to fetch, from where, and where to put it."""
    folder = settings.weights_dir or settings.cache_dir
    return (
        f"Download {spec.weights.url} ({spec.weights.size_bytes / 1e6:.0f} MB) on any machine "
        f"and put it into {folder}."
    )


def _unreadable(path: Path, error: OSError) -> WeightsMissingError:
    return WeightsMissingError(
        f"Cannot read the weights in {path} ({_words(error)}). Check the file and its permissions."
    )
