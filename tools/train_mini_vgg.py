"""Trains Mini-VGG, the model that the package carries, from scratch on CIFAR-10.

    python tools/train_mini_vgg.py path/to/cifar10 [--epochs 64] [--seed 0]

``path/to/cifar10`` holds ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``. The recipe
is in `train`; what it reached is written beside the weights as ``mini_vgg.json`` and
told in ``vgg_demo/data/mini_vgg.md``. About an hour on two cores with bfloat16 arithmetic.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from vgg_demo.mini_vgg import build_mini_vgg

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
HELD_OUT = 1_000  # training images kept aside to fit the temperature
BATCH_SIZE = 256
PEAK_LEARNING_RATE = 0.3
WEIGHT_DECAY = 5e-3  # Keras decays outside the momentum: this is 5e-4 in most papers
LABEL_SMOOTHING = 0.1
AUGMENTED_SHARE = 0.5  # of the images, by TrivialAugment
CUTOUT = 8  # pixels
PADDING = 4  # pixels


def load_images(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns uint8 images (N, 32, 32, 3) and int labels (N,), sorted by file name."""
    images, labels = [], []
    for label, name in enumerate(CLASSES):
        for path in sorted((folder / name).glob("*.jpg")):
            images.append(np.asarray(Image.open(path).convert("RGB")))
            labels.append(label)
    return np.stack(images), np.array(labels)


def to_input(images: np.ndarray) -> np.ndarray:
    """Scales uint8 pixels to float32 in [-1, 1]: the model's recipe."""
    return images.astype(np.float32) / 127.5 - 1.0


class FusedBatchNormalization(keras.layers.Layer):
    """Batch normalisation by TensorFlow's fused kernel.

    Keras 3 computes it step by step; the fused kernel more than doubles the speed of the
    whole training on a CPU. Without a learned scale: `build_mini_vgg` pools before it.
    """

    momentum = 0.9
    epsilon = 1e-3

    def build(self, shape: tuple[int | None, ...]) -> None:
        def weight(name: str, value: str, trainable: bool) -> keras.Variable:
            return self.add_weight(
                shape=shape[-1:], initializer=value, trainable=trainable, autocast=False, name=name
            )

        self.beta = weight("beta", "zeros", trainable=True)
        self.mean = weight("mean", "zeros", trainable=False)
        self.variance = weight("variance", "ones", trainable=False)

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        empty = tf.zeros([0])
        output, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.ones_like(self.beta.value),
            offset=self.beta.value,
            mean=empty if training else self.mean.value,
            variance=empty if training else self.variance.value,
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            self.mean.assign(self.mean * self.momentum + mean * (1 - self.momentum))
            self.variance.assign(self.variance * self.momentum + variance * (1 - self.momentum))
        return output

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return shape


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, fillcolor=(128, 128, 128))


def _enhance(kind: type) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, amount: kind(image).enhance(1 + 0.99 * amount)


# Amounts are in [-1, 1]; ranges as in the paper's table 1 ("wide"), but shifts of at most 12
# of the 32 pixels.
TRIVIAL_AUGMENTS: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda image, _: image,
    lambda image, _: ImageOps.autocontrast(image),
    lambda image, _: ImageOps.equalize(image),
    lambda image, amount: image.rotate(135 * amount, fillcolor=(128, 128, 128)),
    lambda image, amount: ImageOps.posterize(image, 8 - round(6 * abs(amount))),
    lambda image, amount: ImageOps.solarize(image, round(256 * (1 - abs(amount)))),
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Sharpness),
    lambda image, amount: _affine(image, 1, amount, -16 * amount, 0, 1, 0),
    lambda image, amount: _affine(image, 1, 0, 0, amount, 1, -16 * amount),
    lambda image, amount: _affine(image, 1, 0, 12 * amount, 0, 1, 0),
    lambda image, amount: _affine(image, 1, 0, 0, 0, 1, 12 * amount),
)


def trivial_augment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Applies one random operation with a random strength (Müller & Hutter 2021).

    TrivialAugment, arXiv 2103.10158: `image` and the result are uint8 (H, W, 3).
    """
    operation = TRIVIAL_AUGMENTS[rng.integers(len(TRIVIAL_AUGMENTS))]
    return np.asarray(operation(Image.fromarray(image), rng.uniform(-1, 1)))


class Augmented(keras.utils.PyDataset):
    """Shuffled batches of shifted, mirrored images with a square cut out of each.

    Every random choice follows from (seed, epoch, batch), so a run can be repeated.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int) -> None:
        super().__init__(workers=1, max_queue_size=4)
        pad = ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0))
        self._padded = np.pad(images, pad, mode="reflect")
        self._labels = keras.utils.to_categorical(labels, len(CLASSES))
        self._seed = seed
        self._epoch = 0
        self._mirror_first = np.random.default_rng(seed).integers(0, 2, len(labels))
        self._shuffle()

    def __len__(self) -> int:
        return len(self._labels) // BATCH_SIZE

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self._seed, self._epoch, index))
        chosen = self._order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        n, size = len(chosen), self._padded.shape[1] - 2 * PADDING
        top, left = rng.integers(0, 2 * PADDING + 1, (2, n))
        rows = top[:, None, None] + np.arange(size)[None, :, None]
        columns = left[:, None, None] + np.arange(size)[None, None, :]
        pixels = self._padded[chosen[:, None, None], rows, columns]
        for i in np.flatnonzero(rng.random(n) < AUGMENTED_SHARE):
            pixels[i] = trivial_augment(pixels[i], rng)
        batch = to_input(pixels)
        # Mirrored every other epoch, beginning at random (Jordan 2024, arXiv 2404.00498).
        mirrored = (self._mirror_first[chosen] + self._epoch) % 2 == 1
        batch[mirrored] = batch[mirrored, :, ::-1]
        for image, (y, x) in zip(batch, rng.integers(0, size, (n, 2)), strict=True):
            half = CUTOUT // 2
            image[max(0, y - half) : y + half, max(0, x - half) : x + half] = 0.0
        return batch, self._labels[chosen]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        rng = np.random.default_rng((self._seed, self._epoch))
        self._order = rng.permutation(len(self._labels))


def train(
    images: np.ndarray, labels: np.ndarray, held: tuple, epochs: int, seed: int
) -> keras.Model:
    """Trains with SGD, a linear warm-up and cosine decay, in mixed bfloat16."""
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build_mini_vgg(lambda name: FusedBatchNormalization(name=name))
    batches = Augmented(images, labels, seed)
    steps = len(batches) * epochs
    warmup = steps // 5
    optimizer = keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(
            PEAK_LEARNING_RATE / 20,
            decay_steps=steps - warmup,
            warmup_target=PEAK_LEARNING_RATE,
            warmup_steps=warmup,
        ),
        momentum=0.9,
        nesterov=True,
        weight_decay=WEIGHT_DECAY,
    )
    optimizer.exclude_from_weight_decay(var_names=["beta", "bias"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=LABEL_SMOOTHING)
    model.compile(optimizer, loss, metrics=["accuracy"])
    held_out = (to_input(held[0]), keras.utils.to_categorical(held[1], len(CLASSES)))
    model.fit(batches, epochs=epochs, validation_data=held_out, verbose=2)
    keras.config.set_dtype_policy("float32")
    return model


def fold_batch_norm(trained: keras.Model) -> keras.Model:
    """Returns the plain network that computes the same: w/σ, β − μ/σ."""
    plain = build_mini_vgg()
    for layer in plain.layers:
        if isinstance(layer, keras.layers.Conv2D):
            (kernel,) = trained.get_layer(layer.name).get_weights()
            bn = trained.get_layer(f"{layer.name}_bn")
            beta, mean, variance = bn.get_weights()
            scale = 1 / np.sqrt(variance + bn.epsilon)
            layer.set_weights([kernel * scale, beta - mean * scale])
        elif layer.weights:
            layer.set_weights(trained.get_layer(layer.name).get_weights())
    return plain


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return float(np.mean(log_sum - shifted[np.arange(len(labels)), labels]))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature of least cross-entropy (Guo et al. 2017, section 4.2)."""
    candidates = np.geomspace(0.2, 5.0, 400)
    losses = [cross_entropy(logits / t, labels) for t in candidates]
    return float(candidates[int(np.argmin(losses))])


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Returns the ECE over equal-width bins (Guo et al. 2017, equation 3)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    which = np.minimum((top * bins).astype(int), bins - 1)
    gaps = [
        (which == b).mean() * abs(right[which == b].mean() - top[which == b].mean())
        for b in range(bins)
        if (which == b).any()
    ]
    return float(sum(gaps))


def save_float16(model: keras.Model, path: Path) -> None:
    """Writes the weights in the layout of Keras's legacy HDF5 files, as float16."""
    layers = [layer for layer in model.layers if layer.weights]
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [layer.name for layer in layers]
        for layer in layers:
            group = file.create_group(layer.name)
            names = [f"{layer.name}/{weight.name}" for weight in layer.weights]
            group.attrs["weight_names"] = names
            for name, value in zip(names, layer.get_weights(), strict=True):
                group.create_dataset(name, data=value.astype(np.float16))


def load_float16(model: keras.Model, path: Path) -> None:
    with h5py.File(path) as file:
        for layer in model.layers:
            if layer.weights:
                group = file[layer.name]
                names = list(group.attrs["weight_names"])
                layer.set_weights([group[name][()].astype(np.float32) for name in names])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cifar10", type=Path)
    parser.add_argument("--epochs", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("vgg_demo/data/mini_vgg.h5"))
    args = parser.parse_args()

    images, labels = load_images(args.cifar10 / "train")
    order = np.random.default_rng(args.seed).permutation(len(labels))
    held, used = order[:HELD_OUT], order[HELD_OUT:]

    started = time.monotonic()
    trained = train(
        images[used], labels[used], (images[held], labels[held]), args.epochs, args.seed
    )
    minutes = (time.monotonic() - started) / 60

    plain = fold_batch_norm(trained)
    temperature = fit_temperature(plain.predict(to_input(images[held]), verbose=0), labels[held])
    kernel, bias = plain.get_layer("predictions").get_weights()
    plain.get_layer("predictions").set_weights([kernel / temperature, bias / temperature])

    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_float16(plain, args.out)
    load_float16(plain, args.out)  # report what was written, not what was held in memory
    test_images, test_labels = load_images(args.cifar10 / "test")
    logits = plain.predict(to_input(test_images), verbose=0)
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((10, 10), dtype=int)
    np.add.at(confusion, (test_labels, predicted), 1)
    report = {
        "accuracy": float((predicted == test_labels).mean()),
        "test_images": len(test_labels),
        "expected_calibration_error": expected_calibration_error(logits, test_labels),
        "recall": dict(
            zip(CLASSES, (confusion.diagonal() / confusion.sum(1)).tolist(), strict=True)
        ),
        "precision": dict(
            zip(CLASSES, (confusion.diagonal() / confusion.sum(0)).tolist(), strict=True)
        ),
        "confusion": confusion.tolist(),
        "parameters": plain.count_params(),
        "size_bytes": args.out.stat().st_size,
        "sha256": hashlib.sha256(args.out.read_bytes()).hexdigest(),
        "temperature": temperature,
        "epochs": args.epochs,
        "seed": args.seed,
        "minutes": round(minutes, 1),
        "keras": keras.__version__,
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    args.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
