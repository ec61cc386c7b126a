"""Invalid ``.keras`` archives, each with a real HDF5 file, are rejected with a message."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from vgg_demo.errors import WeightsCorruptError
from vgg_demo.models.registry import get_spec
from vgg_demo.weights.hdf5 import ExpectedArray
from vgg_demo.weights.keras_file import WEIGHTS_MEMBER, ExpectedLayer, read_arrays

SPEC = get_spec("mobilenet_v2")
LAYERS = [ExpectedLayer("flatten"), ExpectedLayer("dense", (ExpectedArray((2, 3), "float32"),))]
KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)

# Offset and format of fields in an entry of the central directory and in a local file header
# (APPNOTE.TXT, 4.3.12 and 4.3.7).
FLAGS, METHOD, COMPRESSED_SIZE, SIZE, OFFSET = (
    (8, "<H"),
    (10, "<H"),
    (20, "<I"),
    (24, "<I"),
    (42, "<I"),
)
LOCAL_NAME, LOCAL_EXTRA = (26, "<H"), (28, "<H")


def weights() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/dense/vars/0"] = KERNEL
    return buffer.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A valid file: the weights, preceded by other members as in files that Keras writes."""
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.writestr(WEIGHTS_MEMBER, weights())
    return path


def read(path: Path) -> np.ndarray:
    (kernel,) = read_arrays(path, SPEC, LAYERS)
    return kernel


def test_valid_file_is_read(path: Path) -> None:
    assert np.array_equal(read(path), KERNEL)


def test_file_with_an_extra_field_is_read(path: Path) -> None:
    """`zipfile` writes this field when the size is not known in advance."""
    with (
        zipfile.ZipFile(path, "w") as archive,
        archive.open(WEIGHTS_MEMBER, "w", force_zip64=True) as out,
    ):
        out.write(weights())
    assert np.array_equal(read(path), KERNEL)


def test_archive_after_other_data_is_read(path: Path) -> None:
    path.write_bytes(b"before" * 100 + path.read_bytes())
    assert np.array_equal(read(path), KERNEL)


Change = Callable[[bytearray], None]


def set_in_directory(field: tuple[int, str], value: int) -> Change:
    """Returns a change of a field in the weights' entry of the central directory."""

    def change(data: bytearray) -> None:
        offset, code = field
        struct.pack_into(code, data, data.rindex(b"PK\x01\x02") + offset, value)

    return change


def set_in_local_header(field: tuple[int, str], value: int) -> Change:
    """Returns a change of a field in the local file header of the weights."""

    def change(data: bytearray) -> None:
        offset, code = field
        struct.pack_into(code, data, data.rindex(b"PK\x03\x04") + offset, value)

    return change


def both(*changes: Change) -> Change:
    return lambda data: [change(data) for change in changes] and None


TOO_LONG = len(weights()) + 1000
NEWER_MESSAGES = "Overlapped entries|Bad offset for central directory"
"""Messages of `zipfile` in Python 3.12 and later."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_in_local_header((0, "<I"), 0), "Bad magic number"),
        (set_in_directory(OFFSET, 7), "Bad magic number"),
        (set_in_directory(OFFSET, 0), "differ"),  # another member
        (set_in_directory(OFFSET, 2**31), "Truncated file header"),
        (lambda data: data.__delitem__(slice(0, 300)), f"starts before the file|{NEWER_MESSAGES}"),
        (set_in_directory(METHOD, zipfile.ZIP_DEFLATED), "is compressed"),
        (set_in_directory(COMPRESSED_SIZE, 7), "is compressed"),
        (set_in_directory(FLAGS, 1), "encrypted"),
        (set_in_local_header(LOCAL_NAME, 7), "differ"),
        (
            both(set_in_directory(SIZE, TOO_LONG), set_in_directory(COMPRESSED_SIZE, TOO_LONG)),
            f"is truncated|{NEWER_MESSAGES}",
        ),
        (
            both(set_in_directory(SIZE, 2**32 - 2), set_in_directory(COMPRESSED_SIZE, 2**32 - 2)),
            f"is truncated|{NEWER_MESSAGES}",
        ),
        (set_in_local_header(LOCAL_EXTRA, 65_535), f"is truncated|{NEWER_MESSAGES}"),
        (set_in_local_header(LOCAL_EXTRA, 7), "signature"),
        (
            both(set_in_directory(SIZE, 100), set_in_directory(COMPRESSED_SIZE, 100)),
            "truncated file",
        ),
        (both(set_in_directory(SIZE, 0), set_in_directory(COMPRESSED_SIZE, 0)), "signature"),
    ],
)
def test_inconsistent_archive_is_rejected(change: Change, message: str, path: Path) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    with pytest.raises(WeightsCorruptError, match=message) as caught:
        read(path)
    assert "cannot be used for MobileNetV2" in str(caught.value)


def test_archive_without_weights_is_rejected(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(WeightsCorruptError, match="no item named"):
        read(path)


def test_data_outside_the_weights_is_not_read(path: Path) -> None:
    """Values after the end of the embedded HDF5 file are rejected."""
    data = bytearray(path.read_bytes())
    position = data.index(KERNEL.tobytes())
    start = data.index(b"\x89HDF")
    address = struct.pack("<Q", position - start)
    assert data.count(address) == 1
    data[data.index(address) : data.index(address) + 8] = struct.pack("<Q", len(weights()))
    path.write_bytes(data)
    with pytest.raises(WeightsCorruptError):
        read(path)
