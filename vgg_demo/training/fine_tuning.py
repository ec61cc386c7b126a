"""The second stage: the last blocks of the body learn too, slowly.

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
from vgg_demo.training.head import class_weights, smoothed_targets
from vgg_demo.training.progress import Epoch
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.schedule import ScheduleStep, one_cycle

CONVOLUTIONS_PER_BLOCK = 3
"""As in VGG16's last block; other networks are divided likewise, from their end."""

AT_ONCE = 8
"""Photos that go through the network together. A batch is learned from in such pieces, whose
gradients are added up: the sum is the same, and the memory that it takes is a quarter."""

RATE_DIVISOR = 2.6
"""Each block learns so many times more slowly than the one behind it (Howard & Ruder 2018, arXiv
1801.06146, section 3.2)."""

Look = Callable[[int, int], NDArray[np.float32]]
"""Returns a view of a photo, float32 (size, size, 3), by the photo's place and the view."""


@dataclass(frozen=True, slots=True, eq=False)
class PhotoSubset:
    """What is learned from, or judged by.

    Attributes:
        places: Of the photos.
        labels: int (photos,): the class of each.
    """

    places: Sequence[int]
    labels: NDArray[np.integer]


@dataclass(frozen=True, slots=True, eq=False)
class FineTunedWeights:
    """What was learned.

    Attributes:
        values: Of the variables that learned, in the order of `last_blocks`.
        logits: float32 (N, classes): the network's scores for the validation photos.
    """

    values: Sequence[NDArray[np.float32]]
    logits: NDArray[np.float32]


def last_blocks(network: keras.Model, count: int) -> list[list[keras.layers.Layer]]:
    """Returns the head and the last blocks of a network, from its end to its front.

    A block is `CONVOLUTIONS_PER_BLOCK` layers that convolve or are dense. Batch normalisation
    stays as it is: its figures are of millions of photos, and ours are few.
    """
    learning = (
        keras.layers.Dense,
        keras.layers.Conv2D,
        keras.layers.DepthwiseConv2D,
        keras.layers.SeparableConv2D,
    )
    found = [layer for layer in reversed(network.layers) if isinstance(layer, learning)]
    size = CONVOLUTIONS_PER_BLOCK
    blocks = [found[first : first + size] for first in range(1, 1 + size * count, size)]
    return [found[:1], *(block for block in blocks if block)]


def fine_tune(
    network: keras.Model,
    training: PhotoSubset,
    validation: PhotoSubset,
    look: Look,
    recipe: Recipe,
    on_best: Callable[[FineTunedWeights], None] | None = None,
) -> Generator[Epoch, None, FineTunedWeights]:
    """Trains the head and the last blocks, one block more after each of the first epochs.

    The front of the network is left as it is. Ctrl-C, or a `KeyboardInterrupt` that is thrown into
    the generator, ends it early. However it ends, the network holds what it held after the best
    epoch so far.

    Args:
        network: Of `network.assemble`; it is changed.
        training: What is learned from; of each photo another view in each epoch.
        validation: What is judged by; of each photo the view 0.
        look: Returns views. Called from threads.
        recipe: How.
        on_best: Is given what was learned each time that it is the best so far.

    Yields:
        An epoch after the other; epoch 0 is the network as it came.

    Returns:
        What the network holds in the end.
    """
    tuner = _Tuner(network, training, recipe)
    rng = np.random.default_rng(recipe.seed)
    started = time.monotonic()
    best = FineTunedWeights(tuner.values(), tuner.logits(validation, look))
    best_loss = cross_entropy(best.logits, validation.labels)
    yield _epoch(0, recipe, float("nan"), best.logits, validation, 0.0, True, started, 0.0)
    try:
        for number in range(1, recipe.tuning_epochs + 1):
            epoch_started = time.monotonic()
            losses = list(tuner.run_epoch(number, rng, look))
            seconds = time.monotonic() - epoch_started
            logits = tuner.logits(validation, look)
            loss = cross_entropy(logits, validation.labels)
            is_best = loss < best_loss
            if is_best:
                best, best_loss = FineTunedWeights(tuner.values(), logits), loss
                if on_best is not None:
                    on_best(best)
            rate = len(training.labels) / seconds
            yield _epoch(
                number, recipe, float(np.mean(losses)), logits, validation, tuner.rate, is_best,
                started, rate,
            )  # fmt: skip
    except KeyboardInterrupt:  # who stops it wants the best so far
        pass
    finally:
        _assign(tuner.variables, best.values)
    return best


def apply_weights(network: keras.Model, tuned_blocks: int, tuned: FineTunedWeights) -> None:
    """Puts into a network what was learned by another that was built likewise."""
    blocks = last_blocks(network, tuned_blocks)
    variables = [variable for block in blocks for x in block for variable in x.trainable_variables]
    _assign(variables, tuned.values)


def _assign(variables: Sequence[keras.Variable], values: Sequence[NDArray[np.float32]]) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def _epoch(
    number: int, recipe: Recipe, loss: float, logits: NDArray[np.float32], validation: PhotoSubset,
    rate: float, is_best: bool, started: float, examples_per_second: float,
) -> Epoch:  # fmt: skip
    return Epoch(
        number=number,
        epochs=recipe.tuning_epochs,
        loss=loss,
        validation_loss=cross_entropy(logits, validation.labels),
        validation_accuracy=float(np.mean(logits.argmax(axis=1) == validation.labels)),
        rate=rate,
        is_best=is_best,
        seconds=time.monotonic() - started,
        examples_per_second=examples_per_second,
    )


class _Tuner:
    """A network of which the end learns."""

    def __init__(self, network: keras.Model, training: PhotoSubset, recipe: Recipe) -> None:
        self._network = network
        self._training = training
        self._recipe = recipe
        self._groups = last_blocks(network, recipe.tuned_blocks)
        self._classes: int = network.output_shape[-1]
        self._class_weights = class_weights(training.labels, self._classes, balance=recipe.balance)
        for layer in network.layers:
            layer.trainable = any(layer in group for group in self._groups)
        self._variables = [
            [variable for layer in group for variable in layer.trainable_variables]
            for group in self._groups
        ]
        self._optimizers = [keras.optimizers.Adam(recipe.tuning_rate) for _ in self._groups]
        self._momentum = tf.Variable(0.9)
        for optimizer, variables in zip(self._optimizers, self._variables, strict=True):
            optimizer.beta_1 = self._momentum
            optimizer.build(variables)
        self._forward = tf.function(lambda batch: network(batch, training=False))
        # One function for each number of groups: gradients reach no further back than needed.
        self._learn = [
            tf.function(self._learner(count + 1), reduce_retracing=True)
            for count in range(len(self._groups))
        ]
        self._step = 0
        self.rate = 0.0

    def run_epoch(self, number: int, rng: np.random.Generator, look: Look) -> Iterator[float]:
        """Learns from all photos once; yields the loss of each batch."""
        size, count = self._recipe.batch_size, len(self._training.places)
        steps = self._recipe.tuning_epochs * -(-count // size)
        groups = min(number + 1, len(self._groups))
        targets = smoothed_targets(self._classes, self._recipe.label_smoothing)
        order = rng.permutation(count)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            # View 1 is the mirror image, and those from 2 on are cut out anew.
            views = rng.integers(0, 2 + 4 * self._recipe.tuning_epochs, size=(count,))
            batches = [order[first : first + size] for first in range(0, count, size)]

            def open_batch(places: NDArray[np.integer]) -> list[NDArray[np.float32]]:
                return [look(self._training.places[place], int(views[place])) for place in places]

            ahead = pool.submit(open_batch, batches[0])
            for index, batch in enumerate(batches):
                pixels = np.stack(ahead.result())
                if index + 1 < len(batches):
                    ahead = pool.submit(open_batch, batches[index + 1])
                schedule_step = one_cycle(self._step, steps, self._recipe.tuning_rate)
                labels = self._training.labels[batch]
                yield self._take(
                    groups, pixels, targets[labels], self._class_weights[labels], schedule_step
                )
                self._step += 1

    def _take(
        self,
        groups: int,
        pixels: NDArray[np.float32],
        targets: NDArray[np.float32],
        weights: NDArray[np.float32],
        schedule_step: ScheduleStep,
    ) -> float:
        self.rate = schedule_step.rate
        self._momentum.assign(schedule_step.momentum)
        for depth, optimizer in enumerate(self._optimizers):
            optimizer.learning_rate.assign(schedule_step.rate / RATE_DIVISOR**depth)
        losses, sums = [], [tf.zeros(variable.shape) for variable in self._first(groups)]
        for first in range(0, len(pixels), AT_ONCE):
            piece = slice(first, first + AT_ONCE)
            inputs = map(tf.constant, (pixels[piece], targets[piece], weights[piece]))
            loss, gradients = self._learn[groups - 1](*inputs)
            losses.append(float(loss))
            sums = [total + more for total, more in zip(sums, gradients, strict=True)]
        means = iter([total / len(pixels) for total in sums])
        for optimizer, variables in zip(self._optimizers, self._variables[:groups], strict=False):
            optimizer.apply([next(means) for _ in variables], variables)
        return sum(losses) / len(pixels)

    def _first(self, groups: int) -> list[keras.Variable]:
        return [variable for variables in self._variables[:groups] for variable in variables]

    def _learner(self, groups: int) -> Callable[..., tuple[tf.Tensor, list[tf.Tensor]]]:
        """Returns what gives a piece's losses, added up, and their gradients."""
        chosen = [variable.value for variable in self._first(groups)]

        def learn(
            pixels: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor
        ) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(chosen)
                # Not in training mode, so that batch normalisation uses what it knows.
                logits = self._network(pixels, training=False)
                losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
                loss = tf.reduce_sum(weights * losses)
            return loss, tape.gradient(loss, chosen)

        return learn

    def logits(self, photos: PhotoSubset, look: Look) -> NDArray[np.float32]:
        """Returns float32 (N, classes) of the photos' views 0."""
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            found = []
            for first in range(0, len(photos.places), AT_ONCE):
                places = photos.places[first : first + AT_ONCE]
                pixels = list(pool.map(look, places, [0] * len(places)))
                found.append(self._forward(tf.constant(np.stack(pixels))).numpy())
        return np.concatenate(found)

    @property
    def variables(self) -> list[keras.Variable]:
        """All that learns, from the network's end to its front."""
        return [variable for group in self._variables for variable in group]

    def values(self) -> list[NDArray[np.float32]]:
        """Returns copies of what is learned."""
        return [variable.numpy() for variable in self.variables]
