"""Invalid weight files, each a real HDF5 file, are rejected with a message."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from vgg_demo.errors import WeightsCorruptError
from vgg_demo.models.registry import get_spec
from vgg_demo.weights import hdf5
from vgg_demo.weights.hdf5 import ExpectedArray
from vgg_demo.weights.legacy_h5 import read_arrays

VGG16 = get_spec("vgg16")
LAYERS = [
    [ExpectedArray((2, 3), "float32"), ExpectedArray((3,), "float32")],
    [ExpectedArray((), "int32")],
]
KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A valid file: a layer with two arrays, one without arrays, one with an integer."""
    path = tmp_path / "weights.h5"
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv", b"pool", b"count"]
        names = {"conv": ["conv/kernel", "conv/bias"], "pool": [], "count": ["n"]}
        for layer, arrays in names.items():
            file.create_group(layer).attrs["weight_names"] = arrays
        file["conv/conv/kernel"] = KERNEL
        file["conv/conv/bias"] = np.ones(3, np.float16)
        file["count/n"] = np.int64(7)
    return path


def read(path: Path) -> list[np.ndarray]:
    return list(read_arrays(path, VGG16, LAYERS))


def test_valid_file_is_read(path: Path) -> None:
    kernel, bias, number = read(path)
    assert np.array_equal(kernel, KERNEL)
    assert bias.tolist() == [1, 1, 1]
    assert number == 7
    assert [a.dtype for a in (kernel, bias, number)] == [np.float32, np.float32, np.int32]


def test_name_lists_in_numbered_parts_are_read(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"] = [b"conv"]
        file.attrs["layer_names1"] = [b"pool", b"count"]
    assert len(read(path)) == 3


def replace(name: str, value: object) -> Callable[[h5py.File], None]:
    """Returns a change that replaces a member."""

    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def set_layer_names(value: object) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.__setitem__("layer_names", value)


def set_weight_names(value: object) -> Callable[[h5py.File], None]:
    return lambda file: file["conv"].attrs.__setitem__("weight_names", value)


def replace_array_by_group(file: h5py.File) -> None:
    del file["count/n"]
    file.create_group("count/n")


def use_external_storage(file: h5py.File) -> None:
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(KERNEL.tobytes())
    del file["conv/conv/kernel"]
    file.create_dataset("conv/conv/kernel", (2, 3), "f4", external=[(str(secret), 0, 24)])


def use_virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource(other_file(file), "kernel", (2, 3))
    del file["conv/conv/kernel"]
    file.create_virtual_dataset("conv/conv/kernel", layout)


def other_file(file: h5py.File) -> str:
    """Writes another file with the expected arrays and returns its path."""
    path = Path(file.filename).with_name("other.h5")
    with h5py.File(path, "w") as other:
        other["kernel"] = KERNEL
        other["conv/conv/kernel"] = KERNEL
        other["conv/conv/bias"] = np.ones(3, np.float32)
        other["conv"].attrs["weight_names"] = [b"conv/kernel", b"conv/bias"]
    return str(path)


def link_externally(name: str, inside: str) -> Callable[[h5py.File], None]:
    return lambda file: replace(name, h5py.ExternalLink(other_file(file), inside))(file)


def compress(file: h5py.File) -> None:
    del file["conv/conv/kernel"]
    file.create_dataset("conv/conv/kernel", data=KERNEL, compression="gzip")


def declare_huge_array(file: h5py.File) -> None:
    del file["conv/conv/kernel"]
    file.create_dataset("conv/conv/kernel", (1 << 40, 1 << 20), "f4")


def create_link_loop(file: h5py.File) -> None:
    replace("conv/conv/kernel", h5py.SoftLink("/conv/again"))(file)
    file["conv/again"] = h5py.SoftLink("/conv/conv/kernel")


def remove_layer_names(file: h5py.File) -> None:
    del file.attrs["layer_names"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace_array_by_group, "is not a dataset"),
        (replace("conv", np.zeros(3)), "is not a group"),
        (replace("conv/conv", np.zeros(3)), "missing or is a link"),
        (replace("count/n", np.dtype("f4")), "is not a dataset"),
        (remove_layer_names, "0 layers with weights"),
        (set_layer_names(7), "not a list of names"),
        (set_layer_names("conv"), "not a list of names"),
        (set_layer_names([[b"conv"], [b"count"]]), "not a list of names"),
        (set_layer_names(h5py.Empty("S4")), "not a list of names"),
        (set_layer_names([1, 2]), "is not a name"),
        (set_layer_names([b"\xff\xfe", b"count"]), "utf-8"),
        (set_layer_names(np.array([h5py.Reference()] * 2, h5py.ref_dtype)), "is not a name"),
        (set_layer_names([b"conv", b"gone"]), "missing or is a link"),
        (set_layer_names([b"conv", b""]), "damaged"),
        (set_layer_names([b"conv", b".."]), "damaged"),
        (set_weight_names([b"conv/kernel"]), "1 arrays instead of 2"),
        (set_weight_names(np.zeros(2, [("a", "f4")])), "is not a name"),
        (
            replace("conv/conv/kernel", np.zeros((2, 3), [("a", "f4"), ("b", "i4")])),
            "not a numeric one",
        ),
        (replace("conv/conv/kernel", np.full((2, 3), b"text")), "not a numeric one"),
        (replace("conv/conv/kernel", [["text"] * 3] * 2), "not a numeric one"),
        (replace("conv/conv/kernel", np.zeros((2, 3), "c8")), "not a numeric one"),
        (replace("conv/conv/kernel", h5py.Empty("f4")), "shape None"),
        (replace("conv/conv/kernel", np.zeros((3, 2), "f4")), r"shape \(3, 2\), not \(2, 3\)"),
        (declare_huge_array, "has the shape"),
        (compress, "compressed"),
        (replace("conv/conv/kernel", h5py.SoftLink("/conv/conv/bias")), "is a link"),
        (replace("conv", h5py.SoftLink("/conv")), "is a link"),
        (create_link_loop, "is a link"),
        (link_externally("conv", "/conv"), "is a link"),
        (link_externally("conv/conv", "/conv/conv"), "is a link"),
        (link_externally("conv/conv/kernel", "/kernel"), "is a link"),
        (use_external_storage, "another file"),
        (use_virtual_dataset, "another file"),
        (replace("conv/conv/kernel", np.full((2, 3), np.nan, "f4")), "infinite or NaN"),
        (replace("conv/conv/bias", np.array([0, -np.inf, 0], "f4")), "infinite or NaN"),
        (replace("conv/conv/bias", np.array([0, 1e300, 0])), "infinite or NaN"),
    ],
)
def test_invalid_file_is_rejected(
    path: Path, change: Callable[[h5py.File], None], message: str
) -> None:
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(WeightsCorruptError, match=message) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "Delete it to download it again" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"text", bytes(5000)])
def test_file_that_is_not_hdf5_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    with pytest.raises(WeightsCorruptError, match=r"weights\.h5 cannot be used for VGG16"):
        read(path)


def test_large_arrays_are_read_in_chunks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "CHUNK_BYTES", 12)
    *kernel, bias, number = read(path)
    assert [chunk.shape for chunk in kernel] == [(1, 3), (1, 3)]
    assert np.array_equal(np.concatenate(kernel), KERNEL)
    assert bias.shape == (3,)
    assert number == 7
    with h5py.File(path, "a") as file:
        file["conv/conv/kernel"][1, 2] = np.nan
    with pytest.raises(WeightsCorruptError, match="infinite or NaN"):
        read(path)


def test_out_of_memory_is_not_reported_as_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "CHUNK_BYTES", 1 << 60)
    path = tmp_path / "weights.h5"
    shape = (1 << 30, 1 << 20)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv"]
        file.create_group("conv").attrs["weight_names"] = [b"kernel"]
        file.create_dataset("conv/kernel", shape, "f4")
    with pytest.raises(MemoryError):
        list(read_arrays(path, VGG16, [[ExpectedArray(shape, "float32")]]))
