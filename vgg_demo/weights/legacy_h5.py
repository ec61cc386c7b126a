"""Reads weight files in Keras's legacy HDF5 layout, which all official files use."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from itertools import chain, count, takewhile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from vgg_demo.models.custom import FeatureLayer
from vgg_demo.models.registry import ModelSpec
from vgg_demo.weights.hdf5 import ExpectedArray, get_member, read_array, report_read_errors


def read_arrays(
    path: Path, spec: ModelSpec, layers: Sequence[Sequence[ExpectedArray]]
) -> Generator[NDArray[Any]]:
    """Yields the arrays of a file in order, large ones in chunks along the first axis.

    An array that fits in a single chunk keeps its shape, so a scalar remains a scalar.

    Args:
        path: HDF5 file in Keras's legacy layout.
        spec: The model that the file should contain; for messages.
        layers: The arrays of each layer that has any. As in Keras, layers are matched by
            their order, not by their names.

    Raises:
        WeightsCorruptError: If the file is damaged, belongs to another model, or refers to other
            files.
        WeightsMissingError: If the file cannot be read at the moment.
        MemoryError: If the memory is insufficient.
    """
    with report_read_errors(path, spec), h5py.File(path, "r") as file:
        for group, name, expected in _match(
            file, layers, is_truncated=spec.feature_layer is not FeatureLayer.OUTPUT
        ):
            yield from read_array(group, name, expected)


def _match(
    file: h5py.File, layers: Sequence[Sequence[ExpectedArray]], *, is_truncated: bool
) -> Iterator[tuple[h5py.Group, str, ExpectedArray]]:
    """Yields the group and the name of each array, with the array that the model expects."""
    groups = [get_member(file, name, h5py.Group) for name in _names(file, "layer_names")]
    with_weights = [(group, names) for group in groups if (names := _names(group, "weight_names"))]
    if is_truncated:  # the remaining layers of the full model are not needed
        with_weights = with_weights[: len(layers)]
    if len(with_weights) != len(layers):
        raise ValueError(f"it has {len(with_weights)} layers with weights instead of {len(layers)}")
    for (group, names), layer in zip(with_weights, layers, strict=True):
        if len(names) != len(layer):
            raise ValueError(f"{group.name!r} has {len(names)} arrays instead of {len(layer)}")
        for name, expected in zip(names, layer, strict=True):
            yield group, name, expected


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Reads a list of names, which Keras splits into numbered parts if it is too long for HDF5."""
    numbered = (f"{attribute}{number}" for number in count())
    parts = (
        [attribute]
        if attribute in group.attrs
        else takewhile(lambda part: part in group.attrs, numbered)
    )
    lists = [group.attrs[part] for part in parts]
    if not all(isinstance(names, np.ndarray) and names.ndim == 1 for names in lists):
        raise ValueError(f"{attribute!r} of {group.name!r} is not a list of names")
    return [_text(name) for name in chain.from_iterable(lists)]


def _text(name: object) -> str:
    if isinstance(name, bytes):
        return name.decode()
    if isinstance(name, str):
        return name
    raise ValueError(f"{name!r} is not a name")
