"""HDF5 files, read without trust in what is in them.

HDF5 is a file system in a file: a name can be a link into another file, an array can have
its values elsewhere, or say of itself to be larger than any memory. Here a name must lead
to a thing in this very file, and an array must have the kind of number and the shape that
is expected before a byte of it is read.
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

PIECE_BYTES = 16 * 2**20
"""Largest piece of an array in memory; VGG16's largest array has 411 MB."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An array that a model expects.

    Attributes:
        shape: Its shape.
        dtype: NumPy's name of the type that the values are converted to.
    """

    shape: tuple[int, ...]
    dtype: str


@contextmanager
def reading(path: Path, spec: ModelSpec) -> Iterator[None]:
    """Turns whatever is odd about a weight file into an error with a way out.

    Args:
        path: The file.
        spec: The model that it should be of.

    Raises:
        WeightsCorruptError: If the file is damaged, is another model's, or refers to
            other files, whatever is odd about it.
        WeightsMissingError: If the file cannot be read now, damaged or not.
        MemoryError: That says nothing about the file.
    """
    try:
        yield
    except (MemoryError, WeightsError):  # the latter is one of these errors already
        raise
    except Exception as error:  # h5py meets odd files with nearly every class there is
        if isinstance(error, OSError) and error.errno is not None:  # locked, for one
            raise WeightsMissingError(
                f"Cannot read the weights in {path} ({os.strerror(error.errno)}). Try again, or "
                "check the file and its permissions."
            ) from error
        raise WeightsCorruptError(
            f"The weights in {path} cannot be used for {spec.keras_name} "
            f"({str(error).strip()[:200]}). The file is damaged or is another model's. "
            f"{_how_to_mend(spec)}"
        ) from error


def _how_to_mend(spec: ModelSpec) -> str:
    if spec.is_embedded:
        return "Install VGG Demo again."
    if spec.custom is not None:
        return "Get the bundle anew, or train it again."
    return "Delete it to have it downloaded again, or put the right one in its place."


def read_array(group: h5py.Group, name: str, wanted: Wanted) -> Iterator[NDArray[Any]]:
    dataset = member(group, name, h5py.Dataset)
    storage = dataset.id.get_create_plist()
    if dataset.is_virtual or storage.get_external_count():
        raise ValueError(f"{dataset.name!r} has its values in another place")
    # What is unpacked has no limit but memory, and what may still grow has pieces of any size.
    if storage.get_nfilters() or dataset.maxshape != dataset.shape:
        raise ValueError(f"{dataset.name!r} is compressed or has no fixed size")
    if dataset.dtype.kind not in "fiu":
        raise ValueError(f"{dataset.name!r} holds {dataset.dtype} instead of numbers")
    if dataset.shape != wanted.shape:
        raise ValueError(f"{dataset.name!r} has the shape {dataset.shape}, not {wanted.shape}")
    stored = dataset.astype(wanted.dtype)
    size_bytes = dataset.size * np.dtype(wanted.dtype).itemsize
    if size_bytes <= PIECE_BYTES:
        yield _checked(stored[()], dataset)
        return
    rows = max(1, PIECE_BYTES * len(dataset) // size_bytes)
    for start in range(0, len(dataset), rows):
        yield _checked(stored[start : start + rows], dataset)


def _checked(values: NDArray[Any], dataset: h5py.Dataset) -> NDArray[Any]:
    # Minimum and maximum are NaN if a value is, and need no array of their own.
    if not (np.isfinite(values.min()) and np.isfinite(values.max())):
        raise ValueError(f"{dataset.name!r} holds values that are infinite or not a number")
    return values


def member(parent: h5py.Group, name: str, kind: type) -> Any:
    """Walks to a member step by step and takes no step over a soft or external link."""
    found = parent
    for step in name.split("/"):
        link = found.get(step, getlink=True) if isinstance(found, h5py.Group) else None
        if not isinstance(link, h5py.HardLink):
            raise ValueError(f"{name!r} in {parent.name!r} is missing or is a link")
        found = found[step]
    if not isinstance(found, kind):
        raise ValueError(f"{name!r} in {parent.name!r} is no {kind.__name__.lower()}")
    return found
