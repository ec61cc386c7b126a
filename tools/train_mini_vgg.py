"""Trains Mini-VGG, the model that is bundled with the package, from scratch on CIFAR-10.

    python tools/train_mini_vgg.py path/to/cifar10 [--epochs 64 60 16]

``path/to/cifar10`` contains ``train/CLASS/*.jpg`` and ``test/CLASS/*.jpg``. The recipe is in
`train`. The metrics are written next to the weights as ``mini_vgg.json``, from which
``tools/write_mini_vgg_card.py`` generates the model card. Training takes about four hours on two
cores with bfloat16 arithmetic.
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
from cifar10 import AugmentedBatches, load_images

from vgg_demo.models.mini_vgg import build_mini_vgg

HELD_OUT = 1_000  # training images held out to fit the temperature
PEAK_LEARNING_RATE = 0.3
AVERAGING_LEARNING_RATE = 0.06  # a fifth of the peak, as for VGG-16 in the SWA paper
WARMUP_EPOCHS = 2  # of linear warm-up to the averaging rate; their weights are not averaged
STATISTICS_BATCHES = 60
DISTILLATION_WEIGHT = 0.7  # of the teacher's probabilities in the labels


@dataclass(frozen=True)
class Epochs:
    """Epochs of each training stage."""

    decay: int = 64
    averaging: int = 60
    distillation: int = 16


WEIGHT_DECAY = 5e-3  # decoupled from the momentum in Keras: equals 5e-4 in most papers


class FusedBatchNormalization(keras.layers.Layer):
    """Batch normalization with TensorFlow's fused kernel, without a learned scale.

    Keras 3 composes it from several operations; the fused kernel more than doubles the training
    speed on a CPU. The scale is omitted because `build_mini_vgg` pools before normalization.
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
    """Averages the weights at the end of each epoch and assigns the average after training.

    Stochastic weight averaging (SWA; Izmailov et al. 2018, arXiv 1803.05407): at a constant
    learning rate, the weights move around a wide minimum, and their average is closer to it.
    """

    def __init__(self, warmup_epochs: int) -> None:
        super().__init__()
        self._warmup_epochs = warmup_epochs
        self._sums: list[np.ndarray] = []
        self._count = 0

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:  # noqa: ARG002
        if epoch < self._warmup_epochs:
            return
        weights = [weight.astype(np.float64) for weight in self.model.get_weights()]
        self._sums = [a + b for a, b in zip(self._sums or weights, weights, strict=True)]
        self._count += 1

    def on_train_end(self, logs: dict | None = None) -> None:  # noqa: ARG002
        self.model.set_weights([total / self._count for total in self._sums])


class DistillationBatches(AugmentedBatches):
    """Augmented batches whose labels are mixed with the probabilities of a teacher.

    Knowledge distillation (Hinton et al. 2015, arXiv 1503.02531). Teacher and student have the
    same architecture, as in born-again networks (Furlanello et al. 2018, arXiv 1805.04770).
    """

    def __init__(
        self, images: np.ndarray, labels: np.ndarray, seed: int, teacher: keras.Model
    ) -> None:
        super().__init__(images, labels, seed)
        shape = (None, *images.shape[1:])
        self._teacher_probabilities = tf.function(
            lambda batch: tf.nn.softmax(teacher(batch, training=False)),
            input_signature=[tf.TensorSpec(shape, tf.float32)],
        )

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        batch, labels = super().__getitem__(index)
        return batch, DISTILLATION_WEIGHT * self._teacher_probabilities(batch).numpy() + (
            1 - DISTILLATION_WEIGHT
        ) * labels


def train(images: np.ndarray, labels: np.ndarray, epochs: Epochs, seed: int) -> keras.Model:
    """Trains with SGD in mixed bfloat16, in three stages.

    1. Linear warm-up and cosine decay.
    2. A constant learning rate; the weights are averaged (SWA).
    3. Like stage 2, with labels distilled from the averaged model of stage 2, whose prediction is
       the average over an image and its mirror image.

    Args:
        images: uint8 training images (N, 32, 32, 3).
        labels: Class indices (N,).
        epochs: Epochs of each stage.
        seed: Seed of all random choices.
    """
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy("mixed_bfloat16")
    model = build_mini_vgg(lambda name: FusedBatchNormalization(name=name))
    batches = AugmentedBatches(images, labels, seed)
    steps = len(batches) * epochs.decay
    warmup = steps // 5
    rate = keras.optimizers.schedules.CosineDecay(
        PEAK_LEARNING_RATE / 20,
        decay_steps=steps - warmup,
        warmup_target=PEAK_LEARNING_RATE,
        warmup_steps=warmup,
    )
    fit(model, batches, rate, epochs.decay)
    fit_with_averaging(model, batches, epochs.averaging)
    distillation = DistillationBatches(images, labels, seed + 1, teacher=fold_batch_norm(model))
    fit_with_averaging(model, distillation, epochs.distillation)
    keras.config.set_dtype_policy("float32")
    return model


def fit_with_averaging(model: keras.Model, batches: AugmentedBatches, epochs: int) -> None:
    """Trains at a constant learning rate and assigns the average of the weights (SWA)."""
    rate = keras.optimizers.schedules.PolynomialDecay(  # a linear warm-up, then constant
        0.0, decay_steps=WARMUP_EPOCHS * len(batches), end_learning_rate=AVERAGING_LEARNING_RATE
    )
    fit(model, batches, rate, epochs, [WeightAverage(WARMUP_EPOCHS)])
    for index in range(min(STATISTICS_BATCHES, len(batches))):
        model(batches[index][0], training=True)  # update the statistics for the averaged weights


def fit(
    model: keras.Model,
    batches: AugmentedBatches,
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
    """Folds batch normalization into the convolutions: kernel w/σ, bias β − μ/σ."""
    folded = build_mini_vgg()
    for layer in folded.layers:
        if isinstance(layer, keras.layers.Conv2D):
            (kernel,) = trained.get_layer(layer.name).get_weights()
            bn = trained.get_layer(f"{layer.name}_bn")
            beta, mean, variance = bn.get_weights()
            scale = 1 / np.sqrt(variance + bn.epsilon)
            layer.set_weights([kernel * scale, beta - mean * scale])
        elif layer.weights:
            layer.set_weights(trained.get_layer(layer.name).get_weights())
    return folded


def save_float16(model: keras.Model, path: Path) -> None:
    """Writes the weights as float16 in Keras's legacy HDF5 layout."""
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
        "--epochs", type=int, nargs=3, default=[64, 60, 16], help="epochs of the three stages"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("vgg_demo/data/mini_vgg.h5"))
    args = parser.parse_args()
    epochs = Epochs(*args.epochs)
    if min(epochs.averaging, epochs.distillation) <= WARMUP_EPOCHS:
        parser.error(f"The second and third of --epochs must be more than {WARMUP_EPOCHS}.")

    images, labels = load_images(args.cifar10 / "train")
    order = np.random.default_rng(args.seed).permutation(len(labels))
    held_out, training = order[:HELD_OUT], order[HELD_OUT:]
    started = time.monotonic()
    trained = train(images[training], labels[training], epochs, args.seed)
    minutes = (time.monotonic() - started) / 60

    model = fold_batch_norm(trained)
    temperature = divide_by_temperature(model, images[held_out], labels[held_out])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    save_float16(model, args.out)
    load_float16(model, args.out)  # measure the float16 weights that were written
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
