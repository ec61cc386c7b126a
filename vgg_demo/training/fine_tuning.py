"""Fine-tuning: trains the head and the last blocks of the backbone with a small learning rate.

This module imports TensorFlow; import it inside the function that needs it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vgg_demo.analysis.calibration import cross_entropy
from vgg_demo.training.head import compute_class_weights, smoothed_targets
from vgg_demo.training.progress import Epoch
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.schedule import ScheduleStep, one_cycle

LAYERS_PER_BLOCK = 3
"""Layers with kernels per block, as in VGG16's last block. Other networks are divided in the same
way, from the output to the input."""

MICROBATCH_SIZE = 8
"""Photos per forward and backward pass. The gradients of a batch are accumulated over its
microbatches: the sum is the same, but activations take a quarter of the memory."""

LEARNING_RATE_DIVISOR = 2.6
"""Ratio of the learning rates of a block and the one before it: discriminative fine-tuning (Howard
& Ruder 2018, arXiv 1801.06146, section 3.2)."""

LoadInput = Callable[[int, int], NDArray[np.float32]]
"""Returns a preprocessed view of a photo, float32 (size, size, 3), by the index of the photo and
the number of the view."""


@dataclass(frozen=True, slots=True, eq=False)
class PhotoSubset:
    """A subset of the photos, for training or validation.

    Attributes:
        indices: Indices into the photos of the dataset.
        labels: int (N,): the class index of each photo.
    """

    indices: Sequence[int]
    labels: NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class FineTunedWeights:
    """The weights that fine-tuning changed.

    Attributes:
        values: Values of the trainable variables, in the order of `last_blocks`.
        logits: float32 (N, classes): the model's logits of the validation photos.
    """

    values: Sequence[NDArray[np.float32]]
    logits: NDArray[np.float32]


def last_blocks(network: keras.Model, count: int) -> list[list[keras.layers.Layer]]:
    """Returns the head and the last blocks of a network, from the output to the input.

    A block has `LAYERS_PER_BLOCK` convolutional or dense layers. Batch normalization stays frozen:
    its statistics come from millions of photos, and a small dataset would make them worse.

    Args:
        network: A network from `network.assemble`.
        count: Number of blocks in addition to the head.
    """
    trainable = (
        keras.layers.Dense,
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.SeparableConv2D,
    )
    layers = [layer for layer in reversed(network.layers) if isinstance(layer, trainable)]
    size = LAYERS_PER_BLOCK
    blocks = [layers[first : first + size] for first in range(1, 1 + size * count, size)]
    return [layers[:1], *(block for block in blocks if block)]


def fine_tune(
    network: keras.Model,
    training: PhotoSubset,
    validation: PhotoSubset,
    load_input: LoadInput,
    recipe: Recipe,
    on_best: Callable[[FineTunedWeights], None] | None = None,
) -> Generator[Epoch, None, FineTunedWeights]:
    """Trains the head and the last blocks; each of the first epochs unfreezes one more block.

    All other layers stay frozen. Ctrl-C, or a `KeyboardInterrupt` thrown into the generator, ends
    the training early. However it ends, the network has the weights of the best epoch so far.

    Args:
        network: A model from `network.assemble`; it is modified.
        training: Training photos; each epoch uses a random view of each.
        validation: Validation photos, of which view 0 is used.
        load_input: Returns views. It is called from several threads.
        recipe: Hyperparameters.
        on_best: Called with the weights after each epoch with a new lowest validation loss.

    Yields:
        Metrics of each epoch; epoch 0 is the network before fine-tuning.

    Returns:
        The weights with the lowest validation loss.
    """
    tuner = _FineTuner(network, training, recipe)
    rng = np.random.default_rng(recipe.seed)
    started = time.monotonic()
    best = FineTunedWeights(tuner.values(), tuner.logits(validation, load_input))
    best_loss = cross_entropy(best.logits, validation.labels)
    yield _make_epoch(0, recipe, float("nan"), best.logits, validation, 0.0, True, started, 0.0)
    try:
        for number in range(1, recipe.fine_tuning_epochs + 1):
            epoch_started = time.monotonic()
            losses = list(tuner.run_epoch(number, rng, load_input))
            seconds = time.monotonic() - epoch_started
            logits = tuner.logits(validation, load_input)
            loss = cross_entropy(logits, validation.labels)
            is_best = loss < best_loss
            if is_best:
                best, best_loss = FineTunedWeights(tuner.values(), logits), loss
                if on_best is not None:
                    on_best(best)
            yield _make_epoch(
                number, recipe, float(np.mean(losses)), logits, validation, tuner.learning_rate,
                is_best, started, len(training.labels) / seconds,
            )  # fmt: skip
    except KeyboardInterrupt:  # stopped: return the best weights so far
        pass
    finally:
        _assign(tuner.variables, best.values)
    return best


def apply_weights(
    network: keras.Model, fine_tuned_blocks: int, fine_tuned: FineTunedWeights
) -> None:
    """Copies fine-tuned weights into a network of the same architecture.

    Args:
        network: A network from `network.assemble`; it is modified.
        fine_tuned_blocks: Number of fine-tuned blocks in addition to the head.
        fine_tuned: The weights.
    """
    blocks = last_blocks(network, fine_tuned_blocks)
    variables = [
        variable for block in blocks for layer in block for variable in layer.trainable_variables
    ]
    _assign(variables, fine_tuned.values)


def _assign(variables: Sequence[keras.Variable], values: Sequence[NDArray[np.float32]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _make_epoch(
    number: int, recipe: Recipe, loss: float, logits: NDArray[np.float32], validation: PhotoSubset,
    learning_rate: float, is_best: bool, started: float, examples_per_second: float,
) -> Epoch:  # fmt: skip
    return Epoch(
        number=number,
        epochs=recipe.fine_tuning_epochs,
        loss=loss,
        validation_loss=cross_entropy(logits, validation.labels),
        validation_accuracy=float(np.mean(logits.argmax(axis=1) == validation.labels)),
        learning_rate=learning_rate,
        is_best=is_best,
        seconds=time.monotonic() - started,
        examples_per_second=examples_per_second,
    )


class _FineTuner:
    """The training loop, with an optimizer for each block."""

    def __init__(self, network: keras.Model, training: PhotoSubset, recipe: Recipe) -> None:
        self._network = network
        self._training = training
        self._recipe = recipe
        self._blocks = last_blocks(network, recipe.fine_tuned_blocks)
        self._classes: int = network.output_shape[-1]
        self._class_weights = compute_class_weights(
            training.labels, self._classes, balanced=recipe.class_weights
        )
        for layer in network.layers:
            layer.trainable = any(layer in block for block in self._blocks)
        self._variables = [
            [variable for layer in block for variable in layer.trainable_variables]
            for block in self._blocks
        ]
        self._optimizers = [
            keras.optimizers.Adam(recipe.fine_tuning_learning_rate) for _ in self._blocks
        ]
        self._momentum = tf.Variable(0.9)
        for optimizer, variables in zip(self._optimizers, self._variables, strict=True):
            optimizer.beta_1 = self._momentum
            optimizer.build(variables)
        self._forward = tf.function(lambda batch: network(batch, training=False))
        # One function for each number of blocks: backpropagation stops at the first trained block.
        self._gradients = [
            tf.function(self._gradient_function(count + 1), reduce_retracing=True)
            for count in range(len(self._blocks))
        ]
        self._step = 0
        self.learning_rate = 0.0

    def run_epoch(
        self, number: int, rng: np.random.Generator, load_input: LoadInput
    ) -> Iterator[float]:
        """Trains on all photos once; yields the loss of each batch."""
        size, count = self._recipe.batch_size, len(self._training.indices)
        steps = self._recipe.fine_tuning_epochs * -(-count // size)
        block_count = min(number + 1, len(self._blocks))
        targets = smoothed_targets(self._classes, self._recipe.label_smoothing)
        order = rng.permutation(count)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            # View 1 is the mirror image; views from 2 on are random crops.
            views = rng.integers(0, 2 + 4 * self._recipe.fine_tuning_epochs, size=(count,))
            batches = [order[first : first + size] for first in range(0, count, size)]

            def load_batch(batch: NDArray[np.integer]) -> list[NDArray[np.float32]]:
                return [
                    load_input(self._training.indices[index], int(views[index])) for index in batch
                ]

            pending = pool.submit(load_batch, batches[0])
            for batch_number, batch in enumerate(batches):
                pixels = np.stack(pending.result())
                if batch_number + 1 < len(batches):
                    pending = pool.submit(load_batch, batches[batch_number + 1])
                schedule_step = one_cycle(self._step, steps, self._recipe.fine_tuning_learning_rate)
                labels = self._training.labels[batch]
                yield self._train_step(
                    block_count, pixels, targets[labels], self._class_weights[labels], schedule_step
                )
                self._step += 1

    def _train_step(
        self,
        block_count: int,
        pixels: NDArray[np.float32],
        targets: NDArray[np.float32],
        weights: NDArray[np.float32],
        schedule_step: ScheduleStep,
    ) -> float:
        """Updates the head and `block_count` - 1 blocks with a batch. Returns its mean loss."""
        self.learning_rate = schedule_step.learning_rate
        self._momentum.assign(schedule_step.momentum)
        for depth, optimizer in enumerate(self._optimizers):
            optimizer.learning_rate.assign(
                schedule_step.learning_rate / LEARNING_RATE_DIVISOR**depth
            )
        losses = []
        sums = [tf.zeros(variable.shape) for variable in self._variables_of(block_count)]
        for first in range(0, len(pixels), MICROBATCH_SIZE):
            microbatch = slice(first, first + MICROBATCH_SIZE)
            inputs = map(
                tf.constant, (pixels[microbatch], targets[microbatch], weights[microbatch])
            )
            loss, gradients = self._gradients[block_count - 1](*inputs)
            losses.append(float(loss))
            sums = [total + gradient for total, gradient in zip(sums, gradients, strict=True)]
        means = iter([total / len(pixels) for total in sums])
        for optimizer, variables in zip(
            self._optimizers, self._variables[:block_count], strict=False
        ):
            optimizer.apply([next(means) for _ in variables], variables)
        return sum(losses) / len(pixels)

    def _variables_of(self, block_count: int) -> list[keras.Variable]:
        """Returns the variables of the head and the `block_count` - 1 blocks before it."""
        return [variable for variables in self._variables[:block_count] for variable in variables]

    def _gradient_function(
        self, block_count: int
    ) -> Callable[..., tuple[tf.Tensor, list[tf.Tensor]]]:
        """Returns a function that computes the summed loss of a microbatch and its gradients."""
        variables = [variable.value for variable in self._variables_of(block_count)]

        def compute(
            pixels: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
        ) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(variables)
                # Inference mode, so that batch normalization uses its moving averages.
                logits = self._network(pixels, training=False)
                losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
                loss = tf.reduce_sum(weights * losses)
            return loss, tape.gradient(loss, variables)

        return compute

    def logits(self, photos: PhotoSubset, load_input: LoadInput) -> NDArray[np.float32]:
        """Returns the logits of view 0 of each photo, float32 (N, classes)."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            batches = []
            for first in range(0, len(photos.indices), MICROBATCH_SIZE):
                indices = photos.indices[first : first + MICROBATCH_SIZE]
                pixels = list(pool.map(load_input, indices, [0] * len(indices)))
                batches.append(self._forward(tf.constant(np.stack(pixels))).numpy())
        return np.concatenate(batches)

    @property
    def variables(self) -> list[keras.Variable]:
        """All trainable variables, from the output to the input."""
        return [variable for variables in self._variables for variable in variables]

    def values(self) -> list[NDArray[np.float32]]:
        """Returns copies of the trainable variables' values."""
        return [variable.numpy() for variable in self.variables]
