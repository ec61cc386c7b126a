"""Reads the weights from Keras model files (``.keras``).

A model file is a ZIP archive with a model configuration and an HDF5 file of the weights. The
configuration can name any Keras class and can be crafted to run arbitrary code, so it is never
read. The model is built by this package, and only the weights come from the file.
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
from vgg_demo.weights.hdf5 import ExpectedArray, get_member, read_array, report_read_errors

WEIGHTS_MEMBER = "model.weights.h5"

LOCAL_HEADER = struct.Struct("<26xHH")
"""Local file header of a ZIP member: ends with the lengths of the name and the extra field, which
follow it (APPNOTE.TXT, 4.3.7)."""


@dataclass(frozen=True, slots=True)
class ExpectedLayer:
    """A layer that a model expects.

    Attributes:
        class_name: Class of the layer in snake case; the file numbers layers of the same class.
        arrays: Arrays of the layer itself.
        layers: Nested layers.
    """

    class_name: str
    arrays: tuple[ExpectedArray, ...] = ()
    layers: tuple[ExpectedLayer, ...] = ()


def read_arrays(
    path: Path, spec: ModelSpec, layers: Sequence[ExpectedLayer]
) -> Generator[NDArray[Any]]:
    """Yields the arrays of a file in the order of the layers, large ones in chunks.

    Args:
        path: The file.
        spec: The model that the file should contain; for messages.
        layers: All layers, with and without weights.

    Raises:
        WeightsCorruptError: If the file is damaged, belongs to another model, or refers to other
            files.
        WeightsMissingError: If the file cannot be read at the moment.
        MemoryError: If the memory is insufficient.
    """
    with (
        report_read_errors(path, spec),
        path.open("rb") as opened,
        h5py.File(cast("Any", _open_weights(opened)), "r") as file,
    ):
        yield from _read_layers(file, "layers", layers)


def _open_weights(opened: BinaryIO) -> io.RawIOBase:
    """Opens the HDF5 file inside a model file, which Keras stores uncompressed."""
    with zipfile.ZipFile(opened) as archive:
        member = archive.getinfo(WEIGHTS_MEMBER)
        has_other_size = member.compress_size != member.file_size
        if member.compress_type != zipfile.ZIP_STORED or has_other_size:
            raise ValueError(f"its {WEIGHTS_MEMBER} is compressed")
        if member.header_offset < 0:
            raise ValueError(f"its {WEIGHTS_MEMBER} starts before the file")
        # Checks the local header (signature and name), and that the member is not encrypted.
        archive.open(member).close()
    opened.seek(member.header_offset)
    name_length, extra_length = LOCAL_HEADER.unpack(opened.read(LOCAL_HEADER.size))
    start = member.header_offset + LOCAL_HEADER.size + name_length + extra_length
    if start + member.file_size > opened.seek(0, os.SEEK_END):
        raise ValueError(f"its {WEIGHTS_MEMBER} is truncated")
    return _Window(opened, start, member.file_size)


class _Window(io.RawIOBase):
    """A part of a file as a seekable file.

    The member objects of `zipfile` are seekable as well, but before Python 3.12 they seek by
    reading everything in between, and HDF5 seeks back and forth for each array.
    """

    def __init__(self, file: BinaryIO, start: int, size_bytes: int) -> None:
        self._file = file
        self._start = start
        self._size_bytes = size_bytes
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        remaining = max(0, self._size_bytes - self._position)
        self._file.seek(self._start + self._position)
        count = cast("io.BufferedReader", self._file).readinto(memoryview(buffer)[:remaining])
        self._position += count
        return count


def _read_layers(
    file: h5py.File, parent: str, layers: Sequence[ExpectedLayer]
) -> Generator[NDArray[Any]]:
    counts = Counter[str]()
    for layer in layers:
        name = (
            f"{layer.class_name}_{counts[layer.class_name]}"
            if counts[layer.class_name]
            else layer.class_name
        )
        counts[layer.class_name] += 1
        if layer.arrays:
            group = get_member(file, f"{parent}/{name}/vars", h5py.Group)
            if len(group) != len(layer.arrays):
                raise ValueError(f"{name!r} has {len(group)} arrays, not {len(layer.arrays)}")
            for number, expected in enumerate(layer.arrays):
                yield from read_array(group, str(number), expected)
        yield from _read_layers(file, f"{parent}/{name}/layers", layer.layers)
