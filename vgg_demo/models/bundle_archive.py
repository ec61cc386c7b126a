"""Packs bundles into ZIP archives, unpacks them, and publishes them to all visitors."""

from __future__ import annotations

import secrets
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from vgg_demo.errors import ArchiveError, BundleError
from vgg_demo.files.archives import READ_ERRORS, BoundedReader
from vgg_demo.files.writing import report_write_errors
from vgg_demo.models.bundle import (
    BUNDLE_FILES,
    LABELS_FILE,
    MAX_MODEL_BYTES,
    MAX_TEXT_BYTES,
    MODEL_FILE,
    SPEC_FILE,
    Bundle,
    bundle_name,
    check_destination,
    open_bundle,
    sha256_of,
    unusable_bundle,
)

MAX_DIRECTORY_BYTES = 1_000_000
"""Maximum size of an archive's central directory, and of a single read."""


def pack(folder: Path, archive: Path) -> None:
    """Writes a bundle into a ZIP archive; `unpack` is the inverse.

    Args:
        folder: The bundle.
        archive: The new archive; must not exist yet.

    Raises:
        FileUnwritableError: If the archive cannot be written or already exists.
    """
    with report_write_errors(archive, "Choose another name."), archive.open("xb") as file:
        pack_into(folder, file)


def pack_into(folder: Path, archive: BinaryIO) -> None:
    """Writes a bundle as a ZIP archive into an open file."""
    with zipfile.ZipFile(archive, "w") as file:
        for name in BUNDLE_FILES:
            file.write(folder / name, f"{folder.name}/{name}")


def unpack(
    archive: Path | BinaryIO,
    folder: Path,
    archive_name: str = "",
    max_model_bytes: int = MAX_MODEL_BYTES,
) -> Path:
    """Unpacks an untrusted bundle.

    Only the three files of a bundle are extracted, by their base names; folders in the archive
    are ignored.

    Args:
        archive: The ZIP archive.
        folder: The bundle's new folder; must not exist yet.
        archive_name: Name of the archive for error messages, if it is not a path.
        max_model_bytes: Maximum size of the model file.

    Returns:
        The bundle's folder.

    Raises:
        BundleError: If the archive contains no valid bundle, or the folder already exists.
        FileUnwritableError: If the folder cannot be created.
    """
    check_destination(folder)
    name = archive_name or str(archive)
    partial = _partial_folder(folder)
    try:
        partial.mkdir()
        with _opened(archive) as file:
            _extract(file, name, partial, max_model_bytes)
        if sha256_of(partial / MODEL_FILE) != open_bundle(partial).spec.weights.hash:
            raise ValueError(f"the SHA-256 of {MODEL_FILE} differs from the one in {SPEC_FILE}")
        partial.rename(folder)
    except BundleError as error:  # name the archive, not the temporary folder
        raise BundleError(str(error).replace(repr(str(partial)), repr(name))) from error
    except ArchiveError as error:
        raise unusable_bundle(Path(name), "its directory is too large") from error
    except READ_ERRORS as error:
        raise unusable_bundle(Path(name), str(error)) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


@contextmanager
def _opened(archive: Path | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(archive, Path):
        with archive.open("rb") as file:
            yield file
    else:
        yield archive


def _extract(archive: BinaryIO, name: str, folder: Path, max_model_bytes: int) -> None:
    """Extracts the three files of a bundle, each with a size limit.

    Raises:
        ValueError: If a file is missing, ambiguous, too large or compressed with another method.
    """
    # `zipfile` reads the central directory at once, in the size that the archive declares.
    reader = BoundedReader(archive, name, max_read_bytes=MAX_DIRECTORY_BYTES)
    limits = {MODEL_FILE: max_model_bytes, LABELS_FILE: MAX_TEXT_BYTES, SPEC_FILE: MAX_TEXT_BYTES}
    with zipfile.ZipFile(cast("BinaryIO", reader)) as file:
        for member, max_bytes in limits.items():
            matches = [info for info in file.infolist() if info.filename.split("/")[-1] == member]
            if len(matches) != 1:
                raise ValueError(f"it has {len(matches)} files named {member} instead of one")
            if matches[0].file_size > max_bytes:
                raise ValueError(
                    f"{member} is {matches[0].file_size:,} bytes; the limit is {max_bytes:,}"
                )
            # With other compression methods, `zipfile` decompresses chunks of unlimited size.
            if matches[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{member} is neither stored nor deflated")
            with file.open(matches[0]) as source, (folder / member).open("xb") as target:
                shutil.copyfileobj(source, target)


def _partial_folder(folder: Path) -> Path:
    """Returns a unique sibling folder in which a bundle is assembled."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")


def publish(bundle: Bundle, bundles_dir: Path, name: str) -> Bundle:
    """Makes a custom model available to all visitors: copies its bundle.

    Args:
        bundle: The bundle.
        bundles_dir: Folder of the published models.
        name: Name of the published model.

    Returns:
        The published bundle.

    Raises:
        BundleError: If a published model already has this name.
        FileUnwritableError: If the bundle cannot be written.
    """
    assert bundle.spec.custom is not None  # noqa: S101  # true for every bundle
    folder = bundles_dir / f"{bundle_name(Path(name))}.bundle"
    check_destination(folder)
    partial = _partial_folder(folder)
    with report_write_errors(folder, "Choose another name."):
        partial.mkdir()
        try:
            for file in BUNDLE_FILES:
                shutil.copyfile(bundle.spec.custom.bundle / file, partial / file)
            partial.rename(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return open_bundle(folder)
