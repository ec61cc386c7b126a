"""Parity of the probabilities with stock Keras."""

from __future__ import annotations

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.utils import file_utils

from vgg_demo.errors import WeightsCorruptError
from vgg_demo.images.decode import decode
from vgg_demo.inference.classify import classify, softmax
from vgg_demo.inference.engine import load_engine
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.preprocess import Resize, prepare
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings

VGG16 = get_spec("vgg16")


def keras_probabilities(model: keras.Model, spec, data: bytes) -> np.ndarray:
    batch = prepare(decode(data), spec, Resize.SQUASH)
    return model.predict(batch, verbose=0)[0]


@pytest.fixture(scope="module")
def vgg16(vgg16_dir: Path) -> keras.Model:
    """VGG16 of stock Keras with the file of random weights."""
    return keras.applications.VGG16(weights=str(vgg16_dir / VGG16.weights.name))


def test_vgg16_with_a_file_in_the_official_layout_equals_keras(
    vgg16: keras.Model, vgg16_dir: Path, photos: dict[str, bytes]
) -> None:
    store = ModelStore(Settings(weights_dir=vgg16_dir, offline=True))
    for data in photos.values():
        ours = classify(data, VGG16, store, resize=Resize.SQUASH)
        theirs = keras_probabilities(vgg16, VGG16, data)
        assert np.abs(ours.probabilities - theirs).max() < 1e-5
        assert ours.probabilities.argmax() == theirs.argmax()
        assert not ours.weights.verified


def test_random_vgg16_predictions_differ_between_photos(
    vgg16: keras.Model, photos: dict[str, bytes]
) -> None:
    """Validates the previous test: with a constant output, it would prove nothing."""
    outputs = [keras_probabilities(vgg16, VGG16, data) for data in photos.values()]
    assert all(output.max() > 0.002 for output in outputs)
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-3


def test_vgg16_equals_a_numpy_implementation_of_the_paper(
    vgg16_dir: Path, photos: dict[str, bytes]
) -> None:
    """Configuration D in plain NumPy, compared with the engine."""
    path = vgg16_dir / VGG16.weights.name
    batch = prepare(decode(photos["parrot"]), VGG16)
    (theirs,) = load_engine(VGG16, path).logits(batch)
    with h5py.File(path) as file:
        ours = vgg16_in_numpy(batch[0], file)
    assert ours.shape == theirs.shape == (1000,)
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(ours).max()
    assert np.array_equal(top5(ours[None]), top5(theirs[None]))


def vgg16_in_numpy(image: np.ndarray, file: h5py.File) -> np.ndarray:
    """Thirteen convolutions, five poolings and three dense layers: (224, 224, 3) → (1000,)."""

    def weights(layer: str) -> tuple[np.ndarray, np.ndarray]:
        kernel, bias = (file[layer][name][()] for name in file[layer].attrs["weight_names"])
        return kernel, bias

    for block, convs in enumerate([2, 2, 3, 3, 3], start=1):
        for conv in range(1, convs + 1):
            kernel, bias = weights(f"block{block}_conv{conv}")
            image = np.maximum(convolve(image, kernel) + bias, 0)
        image = image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2, -1).max(axis=(1, 3))
    values = image.reshape(-1)
    for layer in ("fc1", "fc2"):
        kernel, bias = weights(layer)
        values = np.maximum(values @ kernel + bias, 0)
    kernel, bias = weights("predictions")
    return values @ kernel + bias


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """3×3 convolution, stride 1, one pixel of zero padding: (H, W, C) → (H, W, K)."""
    height, width, channels = image.shape
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)))
    shifted = (  # one large product per kernel position; many small ones take minutes
        padded[y : y + height, x : x + width].reshape(-1, channels) @ kernel[y, x]
        for y in range(3)
        for x in range(3)
    )
    return sum(shifted).reshape(height, width, -1)


def test_efficientnet_includes_the_normalization_that_keras_adds_for_official_weights(
    tmp_path: Path, photos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras builds another architecture for ``weights="imagenet"`` than for a file."""
    spec = get_spec("efficientnet_b0")
    keras.utils.set_random_seed(0)
    source = keras.applications.EfficientNetB0(weights=None)
    # Legacy files contain ImageNet's three normalization values.
    values = [
        np.array([0.485, 0.456, 0.406], np.float32),
        np.array([0.229, 0.224, 0.225], np.float32) ** 2,
        np.zeros((), np.int32),
    ]
    source.set_weights(values + source.get_weights()[3:])
    # With the initial weights, probabilities are nearly uniform; larger logits make them differ.
    kernel, bias = source.get_layer("predictions").get_weights()
    source.get_layer("predictions").set_weights([1e3 * kernel, bias])
    legacy = tmp_path / spec.weights.name
    save_legacy(source, legacy)
    monkeypatch.setattr(file_utils, "get_file", lambda *_, **__: str(legacy))
    stock = keras.applications.EfficientNetB0(weights="imagenet")
    theirs = keras_probabilities(stock, spec, photos["dog"])
    store = ModelStore(Settings(weights_dir=tmp_path, offline=True))
    ours = classify(photos["dog"], spec, store, resize=Resize.SQUASH)
    assert np.abs(ours.probabilities - theirs).max() < 1e-5
    plain = keras.applications.EfficientNetB0(weights=str(legacy))
    assert np.abs(keras_probabilities(plain, spec, photos["dog"]) - theirs).max() > 1e-5


def save_legacy(model: keras.Model, path: Path) -> None:
    """Writes weights in the layout of the official files, with Keras's legacy writer."""
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small"])
def test_probabilities_with_real_weights_on_500_photos_equal_keras(
    name: str, shared: Path, shared_store: ModelStore
) -> None:
    """The top-5 predictions are the same, in the same order, for all 500 photos."""
    spec = get_spec(name)
    build = getattr(keras.applications, spec.keras_name)
    stock = build(weights=str(shared / "weights" / spec.weights.name), input_shape=(224, 224, 3))
    paths = sorted((shared / "data" / "imagenet-sample").glob("*.jpg"))
    batches = [prepare(decode(path.read_bytes()), spec, Resize.SQUASH) for path in paths]
    theirs = stock.predict(np.concatenate(batches), batch_size=32, verbose=0)
    with shared_store.use(spec) as model:
        engine = model.engine
    ours = np.stack([softmax(engine.logits(batch)[0]) for batch in batches])
    assert len(paths) == 500
    assert np.abs(ours - theirs).max() < 1e-5
    assert np.array_equal(top5(ours), top5(theirs))


def top5(probabilities: np.ndarray) -> np.ndarray:
    return np.argsort(-probabilities, axis=1, kind="stable")[:, :5]


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"\x00" * len(data),
        lambda _: b"",
        lambda data: data[:1000] + b"\xff" * 2000 + data[3000:],
        lambda data: data[:2_000_000] + b"\xff" * 2000 + data[2_002_000:],
    ],
    ids=["truncated", "zeros", "empty", "overwritten", "not numbers"],
)
def test_damaged_file_is_rejected(damage, tmp_path: Path) -> None:
    spec = get_spec("mini_vgg")
    whole = Path(__file__).parents[2] / "vgg_demo" / "data" / "mini_vgg.h5"
    path = tmp_path / "mini_vgg.h5"
    path.write_bytes(damage(whole.read_bytes()))
    with pytest.raises(WeightsCorruptError, match=r"mini_vgg\.h5 .* Install VGG Demo again"):
        load_engine(spec, path)


def test_file_of_another_model_is_rejected(vgg16_dir: Path) -> None:
    with pytest.raises(WeightsCorruptError, match="layers with weights"):
        load_engine(get_spec("mini_vgg"), vgg16_dir / VGG16.weights.name)
    with pytest.raises(WeightsCorruptError, match="layers with weights"):
        load_engine(get_spec("vgg19"), vgg16_dir / VGG16.weights.name)
