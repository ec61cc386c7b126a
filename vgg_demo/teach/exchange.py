"""Taught models on their way: into a ZIP archive and out of one, and from one folder to another."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import BinaryIO

from vgg_demo.archives import DAMAGE
from vgg_demo.teach.bundle import (
    FILES,
    LABELS,
    MODEL,
    MOST_MODEL_BYTES,
    MOST_TEXT_BYTES,
    SPEC,
    Bundle,
    bundle_name,
    check_free,
    open_bundle,
    sha256_of,
    unusable,
)
from vgg_demo.writing import writing


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
    most_model_bytes: int = MOST_MODEL_BYTES,
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
    check_free(folder)
    limits = {MODEL: most_model_bytes, LABELS: MOST_TEXT_BYTES, SPEC: MOST_TEXT_BYTES}
    part = folder.with_name(f".{folder.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        with zipfile.ZipFile(archive) as file:
            for name, most in limits.items():
                found = [one for one in file.infolist() if one.filename.split("/")[-1] == name]
                if len(found) != 1:
                    raise ValueError(f"it holds {len(found)} files called {name} instead of one")
                if found[0].file_size > most:
                    raise ValueError(f"{name} in it has {found[0].file_size:,} bytes")
                with file.open(found[0]) as source, (part / name).open("xb") as target:
                    shutil.copyfileobj(source, target)
        expected = open_bundle(part).spec.weights.hash
        if sha256_of(part / MODEL) != expected:
            raise ValueError(f"{MODEL} in it has another SHA-256 than {SPEC} says")
        part.rename(folder)
    except DAMAGE as error:
        raise unusable(Path(called or str(archive)), str(error)) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def keep(bundle: Bundle, bundles_dir: Path, name: str) -> Bundle:
    """Copies a bundle to where everybody's taught models are.

    Args:
        bundle: The model.
        bundles_dir: Folder of the models.
        name: What it is to be called there.

    Raises:
        BundleError: If a model is called so already.
        FileUnwritableError: If it cannot be written.
    """
    assert bundle.spec.taught is not None  # noqa: S101  # what a bundle is
    folder = bundles_dir / f"{bundle_name(Path(name))}.bundle"
    check_free(folder)
    part = folder.with_name(f".{folder.name}.part")
    with writing(folder, "Choose another name."):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            for file in FILES:
                shutil.copyfile(bundle.spec.taught.bundle / file, part / file)
            part.rename(folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return open_bundle(folder)
