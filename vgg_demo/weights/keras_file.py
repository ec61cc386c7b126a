"""Keras's own model files (``.keras``), of which only the numbers are read.

Such a file is a ZIP archive of a description of the network and an HDF5 file of its weights.
The description can name any class of Keras, and be made to run what a stranger has written;
so it is not looked at. The network is built from what the program knows, and filled.
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
from collections import Counter
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import h5py
from numpy.typing import NDArray

from vgg_demo.models.registry import ModelSpec
from vgg_demo.weights.hdf5 import Wanted, member, read_array, reading

WEIGHTS = "model.weights.h5"

LOCAL_HEADER = struct.Struct("<26xHH")
"""What stands before a member's bytes in a ZIP archive, up to the lengths of its name and of an
extra field, which follow (APPNOTE.TXT, 4.3.7)."""


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
    with (
        reading(path, spec),
        path.open("rb") as opened,
        h5py.File(cast("Any", _find_weights(opened)), "r") as file,
    ):
        yield from _read_layers(file, "layers", layers)


def _find_weights(opened: BinaryIO) -> io.RawIOBase:
    with zipfile.ZipFile(opened) as archive:
        stored = archive.getinfo(WEIGHTS)
        is_packed = stored.compress_size != stored.file_size
        if stored.compress_type != zipfile.ZIP_STORED or is_packed:  # what Keras does not write
            raise ValueError(f"{WEIGHTS} in it is compressed")
        if stored.header_offset < 0:
            raise ValueError(f"{WEIGHTS} begins before it")
        # Checks what stands before the bytes: signature and name; and that they are no secret.
        archive.open(stored).close()
    opened.seek(stored.header_offset)
    name_bytes, extra_bytes = LOCAL_HEADER.unpack(opened.read(LOCAL_HEADER.size))
    start = stored.header_offset + LOCAL_HEADER.size + name_bytes + extra_bytes
    if start + stored.file_size > opened.seek(0, os.SEEK_END):
        raise ValueError(f"{WEIGHTS} in it is cut off")
    return _Window(opened, start, stored.file_size)


class _Window(io.RawIOBase):
    """Part of a file, as a file.

    `zipfile` gives one as well, which up to Python 3.11 reads all that lies between to get to
    another place; HDF5 goes to and fro for each array.
    """

    def __init__(self, file: BinaryIO, start: int, size_bytes: int) -> None:
        self._file = file
        self._start = start
        self._size_bytes = size_bytes
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._size_bytes}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: Any) -> int:
        left = max(0, self._size_bytes - self._place)
        self._file.seek(self._start + self._place)
        count = cast("io.BufferedReader", self._file).readinto(memoryview(buffer)[:left])
        self._place += count
        return count


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
