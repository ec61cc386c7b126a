"""Reads untrusted HDF5 files.

HDF5 is a file system in a file: a name can link to another file, and an array can store its
values elsewhere or declare a size larger than any memory. Therefore, a name must refer to an object
in the same file, and an array must have a numeric data type and the expected shape before any of
it is read.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vgg_demo.errors import WeightsCorruptError, WeightsError, WeightsMissingError
from vgg_demo.models.registry import ModelSpec

CHUNK_BYTES = 16 * 2**20
"""Maximum size of the part of an array that is read at once; the largest of VGG16 has 411 MB."""


@dataclass(frozen=True, slots=True)
class ExpectedArray:
    """Shape and data type of an array that a model expects.

    Attributes:
        shape: Shape.
        dtype: NumPy name of the data type to which the values are converted.
    """

    shape: tuple[int, ...]
    dtype: str


@contextmanager
def report_read_errors(path: Path, spec: ModelSpec) -> Iterator[None]:
    """Converts every exception while reading a weight file into an error with advice.

    Args:
        path: The file.
        spec: The model that the file should contain.

    Raises:
        WeightsCorruptError: If the file is damaged, belongs to another model, or refers to other
            files.
        WeightsMissingError: If the file cannot be read at the moment.
        MemoryError: Unchanged, because it does not mean that the file is damaged.
    """
    try:
        yield
    except (MemoryError, WeightsError):  # WeightsError already has advice
        raise
    except Exception as error:  # h5py raises nearly every exception class for invalid files
        if isinstance(error, OSError) and error.errno is not None:  # for example, locked
            raise WeightsMissingError(
                f"Cannot read the weights in {path} ({os.strerror(error.errno)}). Try again, or "
                "check the file and its permissions."
            ) from error
        raise WeightsCorruptError(
            f"The weights in {path} cannot be used for {spec.keras_name} "
            f"({str(error).strip()[:200]}). The file is damaged or belongs to another model. "
            f"{_repair_advice(spec)}"
        ) from error


def _repair_advice(spec: ModelSpec) -> str:
    if spec.is_embedded:
        return "Install VGG Demo again."
    if spec.custom is not None:
        return "Copy the bundle again, or train the model again."
    return "Delete it to download it again, or replace it with the correct file."


def read_array(group: h5py.Group, name: str, expected: ExpectedArray) -> Iterator[NDArray[Any]]:
    """Yields an array in parts of at most `CHUNK_BYTES`, split along the first axis.

    Args:
        group: The group that contains the array.
        name: Path of the array, relative to the group.
        expected: Shape of the array, and the data type to convert it to.

    Raises:
        ValueError: If the array is not as expected, is compressed or stored in another file, or
            contains values that are not finite.
    """
    dataset = get_member(group, name, h5py.Dataset)
    storage = dataset.id.get_create_plist()
    if dataset.is_virtual or storage.get_external_count():
        raise ValueError(f"{dataset.name!r} stores its values in another file")
    # Decompression can use unlimited memory, and resizable arrays have chunks of any size.
    if storage.get_nfilters() or dataset.maxshape != dataset.shape:
        raise ValueError(f"{dataset.name!r} is compressed or has no fixed size")
    if dataset.dtype.kind not in "fiu":
        raise ValueError(f"{dataset.name!r} has the data type {dataset.dtype}, not a numeric one")
    if dataset.shape != expected.shape:
        raise ValueError(f"{dataset.name!r} has the shape {dataset.shape}, not {expected.shape}")
    stored = dataset.astype(expected.dtype)
    size_bytes = dataset.size * np.dtype(expected.dtype).itemsize
    if size_bytes <= CHUNK_BYTES:
        yield _check_finite(stored[()], dataset)
        return
    rows = max(1, CHUNK_BYTES * len(dataset) // size_bytes)
    for start in range(0, len(dataset), rows):
        yield _check_finite(stored[start : start + rows], dataset)


def _check_finite(values: NDArray[Any], dataset: h5py.Dataset) -> NDArray[Any]:
    # Minimum and maximum are NaN if any value is, and do not allocate another array.
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise ValueError(f"{dataset.name!r} contains values that are infinite or NaN")
    return values


def get_member(parent: h5py.Group, name: str, expected_class: type) -> Any:
    """Returns a member of a group without following soft or external links.

    Args:
        parent: The group.
        name: Path of the member, relative to the group.
        expected_class: `h5py.Group` or `h5py.Dataset`.

    Raises:
        ValueError: If the member is missing, is a link or has another class.
    """
    member = parent
    for step in name.split("/"):
        link = member.get(step, getlink=True) if isinstance(member, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{name!r} in {parent.name!r} is missing or is a link")
        member = member[step]
    if not isinstance(member, expected_class):
        raise ValueError(f"{name!r} in {parent.name!r} is not a {expected_class.__name__.lower()}")
    return member
