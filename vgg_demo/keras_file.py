"""Keras's own model files (``.keras``), of which only the numbers are read.

Such a file is a ZIP archive of a description of the network and an HDF5 file of its weights.
The description can name any class of Keras, and be made to run what a stranger has written;
so it is not looked at. The network is built from what the program knows, and filled.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import h5py
from numpy.typing import NDArray

from vgg_demo.hdf5 import Wanted, member, read_array, reading
from vgg_demo.registry import ModelSpec

WEIGHTS = "model.weights.h5"


@dataclass(frozen=True, slots=True)
class WantedLayer:
    """A layer that a model expects.

    Attributes:
        kind: Name of its class in snake case; the file numbers layers of a kind.
        arrays: Its own.
        layers: Those within it.
    """

    kind: str
    arrays: tuple[Wanted, ...] = ()
    layers: tuple[WantedLayer, ...] = ()


def read_arrays(
    path: Path, spec: ModelSpec, layers: Sequence[WantedLayer]
) -> Generator[NDArray[Any]]:
    """Yields the arrays of a file in the order of the layers, large ones in pieces.

    Args:
        path: The file.
        spec: The model that it should be of; for the messages.
        layers: All layers, with weights or without.

    Raises:
        WeightsCorruptError: If the file is damaged, is another model's, or refers to
            other files, whatever is odd about it.
        WeightsMissingError: If the file cannot be read now, damaged or not.
        MemoryError: That says nothing about the file.
    """
    with reading(path, spec), zipfile.ZipFile(path) as archive:
        stored = archive.getinfo(WEIGHTS)
        if stored.compress_type != zipfile.ZIP_STORED:  # what Keras does not write
            raise ValueError(f"{WEIGHTS} in it is compressed")
        with archive.open(stored) as opened, h5py.File(cast("Any", opened), "r") as file:
            yield from _read_layers(file, "layers", layers)


def _read_layers(
    file: h5py.File, place: str, layers: Sequence[WantedLayer]
) -> Generator[NDArray[Any]]:
    seen = Counter[str]()
    for layer in layers:
        name = f"{layer.kind}_{seen[layer.kind]}" if seen[layer.kind] else layer.kind
        seen[layer.kind] += 1
        if layer.arrays:
            group = member(file, f"{place}/{name}/vars", h5py.Group)
            if len(group) != len(layer.arrays):
                raise ValueError(f"{name!r} has {len(group)} arrays, not {len(layer.arrays)}")
            for number, wanted in enumerate(layer.arrays):
                yield from read_array(group, str(number), wanted)
        yield from _read_layers(file, f"{place}/{name}/layers", layer.layers)
