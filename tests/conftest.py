"""Shared fixtures: example photos, model stores, and weight files with random values."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from vgg_demo import memory
from vgg_demo.images.decode import decode
from vgg_demo.images.examples import load_examples
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
memory.prepare_process()  # as in all entry points

ROOT = Path(__file__).parents[1]

CROPS = 16
"""Crops per photo in the fixture `crops`."""


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Isolates every test from the network and from the user's Keras cache."""
    monkeypatch.setenv("VGG_DEMO_OFFLINE", "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.delenv("VGG_DEMO_WEIGHTS_DIR", raising=False)


@pytest.fixture(scope="session")
def store() -> ModelStore:
    """A store in which only the embedded model is installed."""
    return ModelStore(Settings(cache_dir=Path("does-not-exist"), offline=True))


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """The example photos by name: cat, dog, parrot, moose, coffee, rocket."""
    return {Path(example.file).stem: example.read() for example in load_examples()}


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder ``../shared`` with weights and photos, available only to developers."""
    path = ROOT.parent / "shared"
    if not (path / "weights").is_dir():
        pytest.skip("needs the folder ../shared, which only developers have")
    return path


@pytest.fixture(scope="session")
def shared_store(shared: Path) -> ModelStore:
    """A store with the ImageNet weights of MobileNetV2 and MobileNetV3Small."""
    return ModelStore(
        Settings(weights_dir=shared / "weights", cache_dir=Path("does-not-exist"), offline=True)
    )


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """A function that encodes an image to bytes."""

    def write(image: Image.Image, image_format: str, **options: object) -> bytes:
        buffer = io.BytesIO()
        image.save(buffer, image_format, **options)
        return buffer.getvalue()

    return write


@pytest.fixture(scope="session")
def vgg16_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a VGG16 weight file in the official legacy layout, with random values."""
    folder = tmp_path_factory.mktemp("vgg16")
    path = folder / get_spec("vgg16").weights.name
    write_vgg16(path)
    yield folder
    path.unlink()


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A weight file of MobileNetV3Small with random values, written by Keras."""
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    spec = get_spec("mobilenet_v3_small")
    path = tmp_path_factory.mktemp("small") / spec.weights.name
    with h5py.File(path, "w") as file:
        model = keras.applications.MobileNetV3Small(weights=None)
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
    return path


@pytest.fixture(scope="session")
def crops(tmp_path_factory: pytest.TempPathFactory, photos: dict[str, bytes]) -> Path:
    """A dataset with the class folders cat, parrot and rocket: crops of three example photos."""
    folder = tmp_path_factory.mktemp("crops")
    for name in ("cat", "parrot", "rocket"):
        (folder / name).mkdir()
        image = decode(photos[name])
        for number in range(CROPS):
            crop(image, number).save(folder / name / f"{number:02}.jpg", quality=90)
    return folder


def crop(image: Image.Image, number: int) -> Image.Image:
    """Returns one of `CROPS` different square crops of a photo."""
    side = round(min(image.size) * 0.6)
    left = (image.width - side) * (number % 4) // 3
    top = (image.height - side) * (number // 4) // 3
    return image.crop((left, top, left + side, top + side))


def write_vgg16(path: Path) -> None:
    """Writes random weights (He initialization) in the layout of the official file of 2016."""
    rng = np.random.default_rng(16)
    shapes: dict[str, tuple[int, ...]] = {}
    channels = 3
    for block, (convs, width) in enumerate([(2, 64), (2, 128), (3, 256), (3, 512), (3, 512)], 1):
        for conv in range(1, convs + 1):
            shapes[f"block{block}_conv{conv}"] = (3, 3, channels, width)
            channels = width
        shapes[f"block{block}_pool"] = ()
    shapes |= {"flatten": (), "fc1": (25088, 4096), "fc2": (4096, 4096)}
    shapes |= {"predictions": (4096, 1000)}
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in ("input_1", *shapes)]
        file.create_group("input_1").attrs["weight_names"] = np.array([], dtype="S1")
        for name, shape in shapes.items():
            group = file.create_group(name)
            if not shape:
                group.attrs["weight_names"] = np.array([], dtype="S1")
                continue
            scale = np.float32(np.sqrt(2 / np.prod(shape[:-1])))
            if name == "predictions":
                scale /= 16  # inputs of ±128 would saturate the softmax
            kernel = rng.standard_normal(shape, dtype=np.float32) * scale
            bias = rng.standard_normal(shape[-1], dtype=np.float32) * np.float32(0.05)
            names = [f"{name}_W_1:0", f"{name}_b_1:0"]
            group.attrs["weight_names"] = [n.encode() for n in names]
            group.create_dataset(names[0], data=kernel)
            group.create_dataset(names[1], data=bias)
