"""Odd archives, each with a real HDF5 file in it: refused with a message."""

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
from vgg_demo.weights.hdf5 import Wanted
from vgg_demo.weights.keras_file import WEIGHTS, WantedLayer, read_arrays

SPEC = get_spec("mobilenet_v2")
LAYERS = [WantedLayer("flatten"), WantedLayer("dense", (Wanted((2, 3), "float32"),))]
KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)

# Where fields stand in the central directory's entry and in the header before a member's bytes
# (APPNOTE.TXT, 4.3.12 and 4.3.7).
FLAGS, METHOD, PACKED, SIZE, OFFSET = (8, "<H"), (10, "<H"), (20, "<I"), (24, "<I"), (42, "<I")
LOCAL_NAME, LOCAL_EXTRA = (26, "<H"), (28, "<H")


def weights() -> bytes:
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file["layers/dense/vars/0"] = KERNEL
    return buffer.getvalue()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file: the weights and, as Keras has it, other members before them."""
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("config.json", "{}")
        archive.writestr(WEIGHTS, weights())
    return path


def read(path: Path) -> np.ndarray:
    (kernel,) = read_arrays(path, SPEC, LAYERS)
    return kernel


def test_a_good_file(path: Path) -> None:
    assert np.array_equal(read(path), KERNEL)


def test_one_with_an_extra_field(path: Path) -> None:
    """As `zipfile` writes it when it does not know the size beforehand."""
    with zipfile.ZipFile(path, "w") as archive, archive.open(WEIGHTS, "w", force_zip64=True) as out:
        out.write(weights())
    assert np.array_equal(read(path), KERNEL)


def test_one_behind_something_else(path: Path) -> None:
    path.write_bytes(b"before" * 100 + path.read_bytes())
    assert np.array_equal(read(path), KERNEL)


Change = Callable[[bytearray], None]


def listed(field: tuple[int, str], value: int) -> Change:
    """Returns a change to what the directory at the end says of the weights."""

    def change(data: bytearray) -> None:
        place, form = field
        struct.pack_into(form, data, data.rindex(b"PK\x01\x02") + place, value)

    return change


def before(field: tuple[int, str], value: int) -> Change:
    """Returns a change to what stands before the weights."""

    def change(data: bytearray) -> None:
        place, form = field
        struct.pack_into(form, data, data.rindex(b"PK\x03\x04") + place, value)

    return change


def both(*changes: Change) -> Change:
    return lambda data: [change(data) for change in changes] and None


LONG = len(weights()) + 1000
NEWER = "Overlapped entries|Bad offset for central directory"
"""What `zipfile` of Python 3.12 and later says first."""


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (before((0, "<I"), 0), "Bad magic number"),
        (listed(OFFSET, 7), "Bad magic number"),
        (listed(OFFSET, 0), "differ"),  # another member
        (listed(OFFSET, 2**31), "Truncated file header"),
        (lambda data: data.__delitem__(slice(0, 300)), f"begins before it|{NEWER}"),
        (listed(METHOD, zipfile.ZIP_DEFLATED), "is compressed"),
        (listed(PACKED, 7), "is compressed"),
        (listed(FLAGS, 1), "encrypted"),
        (before(LOCAL_NAME, 7), "differ"),
        (both(listed(SIZE, LONG), listed(PACKED, LONG)), f"is cut off|{NEWER}"),
        (both(listed(SIZE, 2**32 - 2), listed(PACKED, 2**32 - 2)), f"is cut off|{NEWER}"),
        (before(LOCAL_EXTRA, 65_535), f"is cut off|{NEWER}"),
        (before(LOCAL_EXTRA, 7), "signature"),
        (both(listed(SIZE, 100), listed(PACKED, 100)), "truncated file"),
        (both(listed(SIZE, 0), listed(PACKED, 0)), "signature"),
    ],
)
def test_an_archive_that_is_not_as_it_says(change: Change, words: str, path: Path) -> None:
    data = bytearray(path.read_bytes())
    change(data)
    path.write_bytes(data)
    with pytest.raises(WeightsCorruptError, match=words) as caught:
        read(path)
    assert "cannot be used for MobileNetV2" in str(caught.value)


def test_without_weights(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(WeightsCorruptError, match="no item named"):
        read(path)


def test_nothing_outside_the_weights_is_read(path: Path) -> None:
    """HDF5 is told where its file ends: values that would lie behind that are refused."""
    data = bytearray(path.read_bytes())
    place = data.index(KERNEL.tobytes())
    start = data.index(b"\x89HDF")
    address = struct.pack("<Q", place - start)
    assert data.count(address) == 1
    data[data.index(address) : data.index(address) + 8] = struct.pack("<Q", len(weights()))
    path.write_bytes(data)
    with pytest.raises(WeightsCorruptError):
        read(path)
