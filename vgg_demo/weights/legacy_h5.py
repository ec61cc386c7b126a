"""Keras's legacy HDF5 weight files, the layout of all official ones."""

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
from vgg_demo.weights.hdf5 import Wanted, member, read_array, reading


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
    with reading(path, spec), h5py.File(path, "r") as file:
        for group, name, wanted in _match(
            file, layers, is_truncated=spec.feature_layer is not FeatureLayer.OUTPUT
        ):
            yield from read_array(group, name, wanted)


def _match(
    file: h5py.File, layers: Sequence[Sequence[Wanted]], *, is_truncated: bool
) -> Iterator[tuple[h5py.Group, str, Wanted]]:
    groups = [member(file, name, h5py.Group) for name in _names(file, "layer_names")]
    filled = [(group, names) for group in groups if (names := _names(group, "weight_names"))]
    if is_truncated:  # what comes behind it in the whole model's file is not needed
        filled = filled[: len(layers)]
    if len(filled) != len(layers):
        raise ValueError(f"it has {len(filled)} layers with weights instead of {len(layers)}")
    for (group, names), layer in zip(filled, layers, strict=True):
        if len(names) != len(layer):
            raise ValueError(f"{group.name!r} has {len(names)} arrays instead of {len(layer)}")
        for name, wanted in zip(names, layer, strict=True):
            yield group, name, wanted


def _names(group: h5py.Group, attribute: str) -> list[str]:
    """Reads a list of names, which Keras splits into numbered parts where HDF5 needs it."""
    numbered = (f"{attribute}{number}" for number in count())
    parts = (
        [attribute]
        if attribute in group.attrs
        else takewhile(lambda feature_layer: feature_layer in group.attrs, numbered)
    )
    lists = [group.attrs[feature_layer] for feature_layer in parts]
    if not all(isinstance(names, np.ndarray) and names.ndim == 1 for names in lists):
        raise ValueError(f"{attribute!r} of {group.name!r} is no list of names")
    return [_text(name) for name in chain.from_iterable(lists)]


def _text(name: object) -> str:
    if isinstance(name, bytes):
        return name.decode()
    if isinstance(name, str):
        return name
    raise ValueError(f"{name!r} is no name")
