"""Keras's legacy HDF5 weight files, read without trust in what is in them.

HDF5 is a file system in a file: a name can be a link into another file, an array can have
its values elsewhere, or say of itself to be larger than any memory. Here a name must lead
to a thing in this very file, and an array must have the kind of number and the shape that
the model expects before a byte of it is read.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, count, takewhile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vgg_demo.errors import WeightsCorruptError, WeightsMissingError
from vgg_demo.registry import ModelSpec

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


def read_arrays(
    path: Path, spec: ModelSpec, layers: Sequence[Sequence[Wanted]]
) -> Generator[NDArray[Any]]:
    """Yields the arrays of a file in their order, large ones in pieces.

    The pieces follow each other along the first axis. An array of one piece has its own
    shape, so a scalar is a scalar.

    Args:
        path: HDF5 file in Keras's legacy layout.
        spec: The model that it should be of; for the messages.
        layers: The arrays of each layer that has any. As in Keras, layers are matched by
            their order, not by their names.

    Raises:
        WeightsCorruptError: If the file is damaged, is another model's, or refers to
            other files, whatever is odd about it.
        WeightsMissingError: If the file cannot be read now, damaged or not.
        MemoryError: That says nothing about the file.
    """
    try:
        with h5py.File(path, "r") as file:
            for group, name, wanted in _match(file, layers):
                yield from _read(group, name, wanted)
    except MemoryError:
        raise
    except Exception as error:  # h5py meets odd files with nearly every class there is
        if isinstance(error, OSError) and error.errno is not None:  # locked, for one
            raise WeightsMissingError(
                f"Cannot read the weights in {path} ({os.strerror(error.errno)}). Try again, or "
                "check the file and its permissions."
            ) from error
        mend = (
            "Install VGG Demo again."
            if spec.is_embedded
            else "Delete it to have it downloaded again, or put the right one in its place."
        )
        raise WeightsCorruptError(
            f"The weights in {path} cannot be used for {spec.keras_name} "
            f"({str(error).strip()[:200]}). The file is damaged or is another model's. {mend}"
        ) from error


def _match(
    file: h5py.File, layers: Sequence[Sequence[Wanted]]
) -> Iterator[tuple[h5py.Group, str, Wanted]]:
    groups = [_member(file, name, h5py.Group) for name in _names(file, "layer_names")]
    filled = [(group, names) for group in groups if (names := _names(group, "weight_names"))]
    if len(filled) != len(layers):
        raise ValueError(f"it has {len(filled)} layers with weights instead of {len(layers)}")
    for (group, names), layer in zip(filled, layers, strict=True):
        if len(names) != len(layer):
            raise ValueError(f"{group.name!r} has {len(names)} arrays instead of {len(layer)}")
        for name, wanted in zip(names, layer, strict=True):
            yield group, name, wanted


def _read(group: h5py.Group, name: str, wanted: Wanted) -> Iterator[NDArray[Any]]:
    dataset = _member(group, name, h5py.Dataset)
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


def _member(parent: h5py.Group, name: str, kind: type) -> Any:
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


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Reads a list of names, which Keras splits into numbered parts where HDF5 needs it."""
    numbered = (f"{attribute}{number}" for number in count())
    parts = (
        [attribute]
        if attribute in group.attrs
        else takewhile(lambda part: part in group.attrs, numbered)
    )
    lists = [group.attrs[part] for part in parts]
    if not all(isinstance(names, np.ndarray) and names.ndim == 1 for names in lists):
        raise ValueError(f"{attribute!r} of {group.name!r} is no list of names")
    return [_text(name) for name in chain.from_iterable(lists)]


def _text(name: object) -> str:
    if isinstance(name, bytes):
        return name.decode()
    if isinstance(name, str):
        return name
    raise ValueError(f"{name!r} is no name")
