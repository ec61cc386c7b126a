"""Trains Mini-VGG, the model that the package carries, from scratch on CIFAR-10.

    python tools/train_mini_vgg.py path/to/cifar10 [--epochs 64 60 16]

``path/to/cifar10`` holds ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``. The recipe
is in `train`; what it reached is written beside the weights as ``mini_vgg.json`` and told in
``vgg_demo/data/mini_vgg.md``. Some four hours on two cores with bfloat16 arithmetic.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import keras
import numpy as np
import tensorflow as tf
from calibration import divide_by_temperature, measure
from cifar10 import Augmented, load_images

from vgg_demo.models.mini_vgg import build_mini_vgg

HELD_OUT = 1_000  # training images kept aside to fit the temperature
PEAK_LEARNING_RATE = 0.3
AVERAGING_LEARNING_RATE = 0.06  # a fifth of the peak, as for VGG-16 in the paper
SETTLING_EPOCHS = 2  # on the way up to that rate, before the first weights that count
STATISTICS_BATCHES = 60
TEACHER_SHARE = 0.7  # of the label


@dataclass(frozen=True)
class Epochs:
    """How long each stage takes, in epochs."""

    down: int = 64
    around: int = 60
    taught: int = 16


WEIGHT_DECAY = 5e-3  # Keras decays outside the momentum: this is 5e-4 in most papers


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


class WeightAverage(keras.callbacks.Callback):
    """Ends a training with the mean of the weights at the ends of its epochs.

    Stochastic weight averaging (Izmailov et al. 2018, arXiv 1803.05407): at a constant
    rate, training wanders around a wide minimum, and the mean lies deeper inside.
    """

    def __init__(self, settling_epochs: int) -> None:
        super().__init__()
        self._settling_epochs = settling_epochs
        self._sums: list[np.ndarray] = []
        self._count = 0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:  # noqa: ARG002
        if epoch < self._settling_epochs:
            return
        weights = [weight.astype(np.float64) for weight in self.model.get_weights()]
        self._sums = [a + b for a, b in zip(self._sums or weights, weights, strict=True)]
        self._count += 1

    def on_train_end(self, logs: dict | None = None) -> None:  # noqa: ARG002
        self.model.set_weights([total / self._count for total in self._sums])


class CustomModel(Augmented):
    """Augmented images whose labels are mixed with what a teacher says of them.

    Distillation (Hinton et al. 2015, arXiv 1503.02531); teacher and student are of one
    kind, as in born-again networks (Furlanello et al. 2018, arXiv 1805.04770).
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, seed: int, trainer: keras.Model
    ) -> None:
        super().__init__(images, labels, seed)
        shape = (None, *images.shape[1:])
        self._ask = tf.function(
            lambda batch: tf.nn.softmax(trainer(batch, training=False)),
            input_signature=[tf.TensorSpec(shape, tf.float32)],
        )

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        batch, labels = super().__getitem__(index)
        return batch, TEACHER_SHARE * self._ask(batch).numpy() + (1 - TEACHER_SHARE) * labels


def train(images: np.ndarray, labels: np.ndarray, epochs: Epochs, seed: int) -> keras.Model:
    """Trains with SGD in mixed bfloat16, in three stages.

    Down to a minimum, with a warm-up and cosine decay; around it, averaging the weights;
    and the same once more, with what that average says of each image and its mirror image as
    most of the label.
    """
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build_mini_vgg(lambda name: FusedBatchNormalization(name=name))
    batches = Augmented(images, labels, seed)
    steps = len(batches) * epochs.down
    warmup = steps // 5
    rate = keras.optimizers.schedules.CosineDecay(
        PEAK_LEARNING_RATE / 20,
        decay_steps=steps - warmup,
        warmup_target=PEAK_LEARNING_RATE,
        warmup_steps=warmup,
    )
    descend(model, batches, rate, epochs.down)
    descend_around(model, batches, epochs.around)
    taught = CustomModel(images, labels, seed + 1, trainer=fold_batch_norm(model))
    descend_around(model, taught, epochs.custom)
    keras.config.set_dtype_policy("float32")
    return model


def descend_around(model: keras.Model, batches: Augmented, epochs: int) -> None:
    """Trains at a constant rate and ends with the mean of the weights."""
    rate = keras.optimizers.schedules.PolynomialDecay(  # up, in fact, and then constant
        0.0, decay_steps=SETTLING_EPOCHS * len(batches), end_learning_rate=AVERAGING_LEARNING_RATE
    )
    descend(model, batches, rate, epochs, [WeightAverage(SETTLING_EPOCHS)])
    for index in range(min(STATISTICS_BATCHES, len(batches))):
        model(batches[index][0], training=True)  # the mean weights have statistics of their own


def descend(
    model: keras.Model,
    batches: Augmented,
    learning_rate: keras.optimizers.schedules.LearningRateSchedule,
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> None:
    optimizer = keras.optimizers.SGD(
        learning_rate, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    optimizer.exclude_from_weight_decay(var_names=["beta", "bias"])
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"])
    model.fit(batches, epochs=epochs, callbacks=list(callbacks), verbose=2)


def fold_batch_norm(trained: keras.Model) -> keras.Model:
    """Returns the network without batch normalisation that computes the same: w/σ, β − μ/σ."""
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
    parser.add_argument(
        "--epochs", type=int, nargs=3, default=[64, 60, 16], help="of the three stages"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("vgg_demo/data/mini_vgg.h5"))
    args = parser.parse_args()
    epochs = Epochs(*args.epochs)
    if min(epochs.around, epochs.custom) <= SETTLING_EPOCHS:
        parser.error(f"The second and third of --epochs must be more than {SETTLING_EPOCHS}.")

    images, labels = load_images(args.cifar10 / "train")
    order = np.random.default_rng(args.seed).permutation(len(labels))
    held, used = order[:HELD_OUT], order[HELD_OUT:]
    started = time.monotonic()
    trained = train(images[used], labels[used], epochs, args.seed)
    minutes = (time.monotonic() - started) / 60

    model = fold_batch_norm(trained)
    temperature = divide_by_temperature(model, images[held], labels[held])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_float16(model, args.out)
    load_float16(model, args.out)  # report what was written, not what was held in memory
    report = {
        **measure(model, *load_images(args.cifar10 / "test")),
        "parameters": model.count_params(),
        "size_bytes": args.out.stat().st_size,
        "sha256": hashlib.sha256(args.out.read_bytes()).hexdigest(),
        "temperature": temperature,
        "epochs": asdict(epochs),
        "seed": args.seed,
        "minutes": round(minutes, 1),
        "keras": keras.__version__,
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    args.out.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report, indent=2))


if __name__ == "__main__":
    main()
