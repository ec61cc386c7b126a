"""Keras's own model files (``.keras``), of which only the numbers are read.

Such a file is a ZIP archive of a description of the network and an HDF5 file of its weights.
The description can name any class of Keras, and be made to run what a stranger has written;
so it is not looked at. The network is built from what the program knows, and filled.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any, cast

import h5py
from numpy.typing import NDArray

from vgg_demo.hdf5 import Wanted, member, read_array, reading
from vgg_demo.registry import ModelSpec

WEIGHTS = "model.weights.h5"


def read_arrays(
    path: Path, spec: ModelSpec, layers: Sequence[tuple[str, Sequence[Wanted]]]
) -> Generator[NDArray[Any]]:
    """Yields the arrays of a file in the order of the layers, large ones in pieces.

    Args:
        path: The file.
        spec: The model that it should be of; for the messages.
        layers: Of each layer, with weights or without, the name of its kind in snake case and
            its arrays. The file numbers layers of a kind.

    Raises:
        WeightsCorruptError: If the file is damaged, is another model's, or refers to
            other files, whatever is odd about it.
        WeightsMissingError: If the file cannot be read now, damaged or not.
        MemoryError: That says nothing about the file.
    """
    seen = Counter[str]()
    with reading(path, spec), zipfile.ZipFile(path) as archive:
        stored = archive.getinfo(WEIGHTS)
        if stored.compress_type != zipfile.ZIP_STORED:  # what Keras does not write
            raise ValueError(f"{WEIGHTS} in it is compressed")
        with archive.open(stored) as opened, h5py.File(cast("Any", opened), "r") as file:
            for kind, arrays in layers:
                name = f"{kind}_{seen[kind]}" if seen[kind] else kind
                seen[kind] += 1
                if arrays:
                    group = member(file, f"layers/{name}/vars", h5py.Group)
                    if len(group) != len(arrays):
                        raise ValueError(
                            f"{group.name!r} has {len(group)} arrays, not {len(arrays)}"
                        )
                    for number, wanted in enumerate(arrays):
                        yield from read_array(group, str(number), wanted)
