"""Taught models on their way: into a ZIP archive and out of one, and from one folder to another."""

from __future__ import annotations

import secrets
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from vgg_demo.errors import ArchiveError, BundleError
from vgg_demo.files.archives import DAMAGE, BoundedReader
from vgg_demo.files.writing import writing
from vgg_demo.models.bundle import (
    FILES,
    LABELS,
    MAX_MODEL_BYTES,
    MAX_TEXT_BYTES,
    MODEL,
    SPEC,
    Bundle,
    bundle_name,
    ensure_free,
    open_bundle,
    sha256_of,
    unusable,
)

DIRECTORY_BYTES = 1_000_000
"""Of an archive's directory, and of what is read of it at a time."""


def pack(folder: Path, archive: Path) -> None:
    """Writes a bundle into a ZIP archive, which `unpack` takes.

    Raises:
        FileUnwritableError: If it cannot be written, or is there already.
    """
    with writing(archive, "Choose another name."), archive.open("xb") as file:
        pack_into(folder, file)


def pack_into(folder: Path, archive: BinaryIO) -> None:
    """As `pack`, into an open file."""
    with zipfile.ZipFile(archive, "w") as file:
        for name in FILES:
            file.write(folder / name, f"{folder.name}/{name}")


def unpack(
    archive: Path | BinaryIO,
    folder: Path,
    called: str = "",
    most_model_bytes: int = MAX_MODEL_BYTES,
) -> Path:
    """Unpacks a bundle, maybe a stranger's.

    Only the three files of a bundle are taken, each by its name and to its place here, whatever
    folders the archive says.

    Args:
        archive: The ZIP archive.
        folder: Where the bundle is made; it must not be there yet.
        called: The archive's name, for the error, if it is no path.
        most_model_bytes: Of its network.

    Returns:
        The bundle's folder.

    Raises:
        BundleError: If it holds no bundle.
    """
    ensure_free(folder)
    name = called or str(archive)
    part = _part_of(folder)
    try:
        part.mkdir()
        with _opened(archive) as file:
            _take_out(file, name, part, most_model_bytes)
        if sha256_of(part / MODEL) != open_bundle(part).spec.weights.hash:
            raise ValueError(f"{MODEL} in it has another SHA-256 than {SPEC} says")
        part.rename(folder)
    except BundleError as error:  # it names a folder that nobody knows, and that will be gone
        raise BundleError(str(error).replace(repr(str(part)), repr(name))) from error
    except ArchiveError as error:
        raise unusable(Path(name), "its directory is too large") from error
    except DAMAGE as error:
        raise unusable(Path(name), str(error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


@contextmanager
def _opened(archive: Path | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(archive, Path):
        with archive.open("rb") as file:
            yield file
    else:
        yield archive


def _take_out(archive: BinaryIO, name: str, folder: Path, most_model_bytes: int) -> None:
    """Takes the three files of a bundle out of an archive, each of limited size.

    Raises:
        ValueError: If one is not there, or is not what it should be.
    """
    # Its directory is read in one piece, of the size that the archive claims.
    guarded = BoundedReader(archive, name, largest=DIRECTORY_BYTES)
    limits = {MODEL: most_model_bytes, LABELS: MAX_TEXT_BYTES, SPEC: MAX_TEXT_BYTES}
    with zipfile.ZipFile(cast("BinaryIO", guarded)) as file:
        for wanted, most in limits.items():
            found = [one for one in file.infolist() if one.filename.split("/")[-1] == wanted]
            if len(found) != 1:
                raise ValueError(f"it holds {len(found)} files called {wanted} instead of one")
            if found[0].file_size > most:
                raise ValueError(f"{wanted} in it has {found[0].file_size:,} bytes")
            # Python unpacks what is packed in other ways in pieces of any size.
            if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{wanted} in it is packed in a way that is not read here")
            with file.open(found[0]) as source, (folder / wanted).open("xb") as target:
                shutil.copyfileobj(source, target)


def _part_of(folder: Path) -> Path:
    """Returns where a bundle is made until it is whole; nobody else makes one there."""
    return folder.with_name(f".{folder.name}.{secrets.token_hex(4)}.part")


def publish(bundle: Bundle, bundles_dir: Path, name: str) -> Bundle:
    """Copies a bundle to where everybody's taught models are.

    Args:
        bundle: The model.
        bundles_dir: Folder of the models.
        name: What it is to be called there.

    Raises:
        BundleError: If a model is called so already.
        FileUnwritableError: If it cannot be written.
    """
    assert bundle.spec.custom is not None  # noqa: S101  # what a bundle is
    folder = bundles_dir / f"{bundle_name(Path(name))}.bundle"
    ensure_free(folder)
    part = _part_of(folder)
    with writing(folder, "Choose another name."):
        part.mkdir()
        try:
            for file in FILES:
                shutil.copyfile(bundle.spec.custom.bundle / file, part / file)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return open_bundle(folder)
