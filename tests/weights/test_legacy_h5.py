"""Odd weight files, each a real HDF5 file: refused with a message, and never followed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from vgg_demo.errors import WeightsCorruptError
from vgg_demo.models.registry import get_spec
from vgg_demo.weights import hdf5
from vgg_demo.weights.hdf5 import Wanted
from vgg_demo.weights.legacy_h5 import read_arrays

VGG16 = get_spec("vgg16")
LAYERS = [[Wanted((2, 3), "float32"), Wanted((3,), "float32")], [Wanted((), "int32")]]
KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A good file: a layer with two arrays, one with none, one with a whole number."""
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


def test_a_good_file(path: Path) -> None:
    kernel, bias, number = read(path)
    assert np.array_equal(kernel, KERNEL)
    assert bias.tolist() == [1, 1, 1]
    assert number == 7
    assert [a.dtype for a in (kernel, bias, number)] == [np.float32, np.float32, np.int32]


def test_lists_in_numbered_parts(path: Path) -> None:
    with h5py.File(path, "a") as file:
        del file.attrs["layer_names"]
        file.attrs["layer_names0"] = [b"conv"]
        file.attrs["layer_names1"] = [b"pool", b"count"]
    assert len(read(path)) == 3


def put(name: str, value: object) -> Callable[[h5py.File], None]:
    """Returns a change that puts something in the place of something else."""

    def change(file: h5py.File) -> None:
        del file[name]
        file[name] = value

    return change


def name_layers(value: object) -> Callable[[h5py.File], None]:
    return lambda file: file.attrs.__setitem__("layer_names", value)


def name_arrays(value: object) -> Callable[[h5py.File], None]:
    return lambda file: file["conv"].attrs.__setitem__("weight_names", value)


def as_group(file: h5py.File) -> None:
    del file["count/n"]
    file.create_group("count/n")


def as_external_storage(file: h5py.File) -> None:
    secret = Path(file.filename).with_name("secret")
    secret.write_bytes(KERNEL.tobytes())
    del file["conv/conv/kernel"]
    file.create_dataset("conv/conv/kernel", (2, 3), "f4", external=[(str(secret), 0, 24)])


def as_virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2, 3), "f4")
    layout[:] = h5py.VirtualSource(other_file(file), "kernel", (2, 3))
    del file["conv/conv/kernel"]
    file.create_virtual_dataset("conv/conv/kernel", layout)


def other_file(file: h5py.File) -> str:
    other = Path(file.filename).with_name("other.h5")
    with h5py.File(other, "w") as good:
        good["kernel"] = KERNEL
        good["conv/conv/kernel"] = KERNEL
        good["conv/conv/bias"] = np.ones(3, np.float32)
        good["conv"].attrs["weight_names"] = [b"conv/kernel", b"conv/bias"]
    return str(other)


def linked(name: str, inside: str) -> Callable[[h5py.File], None]:
    return lambda file: put(name, h5py.ExternalLink(other_file(file), inside))(file)


def compressed(file: h5py.File) -> None:
    del file["conv/conv/kernel"]
    file.create_dataset("conv/conv/kernel", data=KERNEL, compression="gzip")


def huge(file: h5py.File) -> None:
    del file["conv/conv/kernel"]
    file.create_dataset("conv/conv/kernel", (1 << 40, 1 << 20), "f4")


def link_loop(file: h5py.File) -> None:
    put("conv/conv/kernel", h5py.SoftLink("/conv/again"))(file)
    file["conv/again"] = h5py.SoftLink("/conv/conv/kernel")


def missing_list(file: h5py.File) -> None:
    del file.attrs["layer_names"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (as_group, "is no dataset"),
        (put("conv", np.zeros(3)), "is no group"),
        (put("conv/conv", np.zeros(3)), "missing or is a link"),
        (put("count/n", np.dtype("f4")), "is no dataset"),
        (missing_list, "0 layers with weights"),
        (name_layers(7), "no list of names"),
        (name_layers("conv"), "no list of names"),
        (name_layers([[b"conv"], [b"count"]]), "no list of names"),
        (name_layers(h5py.Empty("S4")), "no list of names"),
        (name_layers([1, 2]), "is no name"),
        (name_layers([b"\xff\xfe", b"count"]), "utf-8"),
        (name_layers(np.array([h5py.Reference()] * 2, h5py.ref_dtype)), "is no name"),
        (name_layers([b"conv", b"gone"]), "missing or is a link"),
        (name_layers([b"conv", b""]), "damaged"),
        (name_layers([b"conv", b".."]), "damaged"),
        (name_arrays([b"conv/kernel"]), "1 arrays instead of 2"),
        (name_arrays(np.zeros(2, [("a", "f4")])), "is no name"),
        (put("conv/conv/kernel", np.zeros((2, 3), [("a", "f4"), ("b", "i4")])), "of numbers"),
        (put("conv/conv/kernel", np.full((2, 3), b"text")), "of numbers"),
        (put("conv/conv/kernel", [["text"] * 3] * 2), "of numbers"),
        (put("conv/conv/kernel", np.zeros((2, 3), "c8")), "of numbers"),
        (put("conv/conv/kernel", h5py.Empty("f4")), "shape None"),
        (put("conv/conv/kernel", np.zeros((3, 2), "f4")), r"shape \(3, 2\), not \(2, 3\)"),
        (huge, "has the shape"),
        (compressed, "compressed"),
        (put("conv/conv/kernel", h5py.SoftLink("/conv/conv/bias")), "is a link"),
        (put("conv", h5py.SoftLink("/conv")), "is a link"),
        (link_loop, "is a link"),
        (linked("conv", "/conv"), "is a link"),
        (linked("conv/conv", "/conv/conv"), "is a link"),
        (linked("conv/conv/kernel", "/kernel"), "is a link"),
        (as_external_storage, "another place"),
        (as_virtual, "another place"),
        (put("conv/conv/kernel", np.full((2, 3), np.nan, "f4")), "infinite or not a number"),
        (put("conv/conv/bias", np.array([0, -np.inf, 0], "f4")), "infinite or not a number"),
        (put("conv/conv/bias", np.array([0, 1e300, 0])), "infinite or not a number"),
    ],
)
def test_odd_files(path: Path, change: Callable[[h5py.File], None], words: str) -> None:
    with h5py.File(path, "a") as file:
        change(file)
    with pytest.raises(WeightsCorruptError, match=words) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "Delete it to have it downloaded again" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"text", bytes(5000)])
def test_no_hdf5_at_all(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    with pytest.raises(WeightsCorruptError, match=r"weights\.h5 cannot be used for VGG16"):
        read(path)


def test_large_arrays_come_in_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "PIECE_BYTES", 12)
    *kernel, bias, number = read(path)
    assert [piece.shape for piece in kernel] == [(1, 3), (1, 3)]
    assert np.array_equal(np.concatenate(kernel), KERNEL)
    assert bias.shape == (3,)
    assert number == 7
    with h5py.File(path, "a") as file:
        file["conv/conv/kernel"][1, 2] = np.nan
    with pytest.raises(WeightsCorruptError, match="not a number"):
        read(path)


def test_running_out_of_memory_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hdf5, "PIECE_BYTES", 1 << 60)
    path = tmp_path / "weights.h5"
    shape = (1 << 30, 1 << 20)
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [b"conv"]
        file.create_group("conv").attrs["weight_names"] = [b"kernel"]
        file.create_dataset("conv/kernel", shape, "f4")
    with pytest.raises(MemoryError):
        list(read_arrays(path, VGG16, [[Wanted(shape, "float32")]]))
