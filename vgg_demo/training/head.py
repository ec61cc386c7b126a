"""The head: a dense layer that learns from features in seconds.

This module imports TensorFlow; import it inside the function that needs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from vgg_demo.analysis.calibration import cross_entropy
from vgg_demo.training.progress import Epoch
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.schedule import (
    RangeTest,
    ScheduleStep,
    has_diverged,
    one_cycle,
    suggest_rates,
    sweep,
)

RANGE_STEPS = 120


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSubset:
    """What is learned from, or judged by: some of all photos.

    Attributes:
        all_features: float32 (photos, views, features), of all photos.
        all_labels: int (photos,): the class of each.
        places: int (N,): which of them these are.
    """

    all_features: NDArray[np.float32]
    all_labels: NDArray[np.integer]
    places: NDArray[np.integer]

    @property
    def labels(self) -> NDArray[np.integer]:
        """The class of each, int (N,)."""
        labels: NDArray[np.integer] = self.all_labels[self.places]
        return labels

    @property
    def first_views(self) -> NDArray[np.float32]:
        """Features of the photos as they are, float32 (N, features)."""
        views: NDArray[np.float32] = self.all_features[self.places, 0]
        return views

    def mean_and_deviation(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns those of each feature over all views, float32 (features,).

        A view after the other: a copy of all features can be hundreds of megabytes.
        """
        views = range(self.all_features.shape[1])
        means = [self.all_features[self.places, view].mean(axis=0) for view in views]
        mean = np.mean(means, axis=0)
        squares = [
            np.square(self.all_features[self.places, view] - mean).mean(axis=0) for view in views
        ]
        return mean, np.sqrt(np.mean(squares, axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A dense layer.

    Attributes:
        kernel: float32 (features, classes).
        bias: float32 (classes,).
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns float32 (N, classes) of float32 (N, features)."""
        scores: NDArray[np.float32] = features @ self.kernel + self.bias
        return scores


def train_head(
    training: FeatureSubset,
    validation: FeatureSubset,
    classes: int,
    recipe: Recipe,
    on_best: Callable[[Head], None] | None = None,
) -> Generator[Epoch, None, Head]:
    """Trains a head.

    Ctrl-C, or a `KeyboardInterrupt` that is thrown into the generator, ends it early.

    Args:
        training: What is learned from; of each photo a view is drawn in each epoch.
        validation: What is judged by; of each photo the first view.
        classes: How many there are.
        recipe: How.
        on_best: Is given each head that is the best so far.

    Yields:
        An epoch after the other, until the validation loss has not fallen for long.

    Returns:
        The head of the epoch with the lowest validation loss so far.
    """
    learner = _Learner(training, classes, recipe)
    rate = recipe.rate or find_rate(training, classes, recipe).suggestion
    rng = np.random.default_rng(recipe.seed)
    steps = recipe.epochs * learner.steps_per_epoch
    best, best_loss, since_best, step = learner.head(), np.inf, 0, 0
    started = time.monotonic()
    try:
        for number in range(1, recipe.epochs + 1):
            epoch_started, schedule_step = time.monotonic(), ScheduleStep(rate, 0.0)
            losses: list[float] = []
            for batch in learner.batches(rng):
                schedule_step = one_cycle(step, steps, rate)
                losses.append(learner.step(*batch, schedule_step))
                step += 1
            seconds = time.monotonic() - epoch_started
            head = learner.head()
            logits = head.logits(validation.first_views)
            loss = cross_entropy(logits, validation.labels)
            is_best = loss < best_loss
            since_best = 0 if is_best else since_best + 1
            if is_best:
                best, best_loss = head, loss
                if on_best is not None:
                    on_best(head)
            yield Epoch(
                number=number,
                epochs=recipe.epochs,
                loss=float(np.mean(losses)),
                validation_loss=loss,
                validation_accuracy=float(np.mean(logits.argmax(axis=1) == validation.labels)),
                rate=schedule_step.rate,
                is_best=is_best,
                seconds=time.monotonic() - started,
                examples_per_second=len(training.labels) / max(seconds, 1e-9),
            )
            if since_best == recipe.patience:
                break
    except KeyboardInterrupt:  # who stops it wants the best so far
        pass
    return best


def find_rate(training: FeatureSubset, classes: int, recipe: Recipe) -> RangeTest:
    """Tries learning rates on a fresh head (Smith 2017)."""
    learner = _Learner(training, classes, recipe)
    rng = np.random.default_rng(recipe.seed)
    rates, losses = sweep(RANGE_STEPS), list[float]()
    while len(losses) < len(rates):
        for batch in learner.batches(rng):
            losses.append(learner.step(*batch, ScheduleStep(float(rates[len(losses)]), 0.9)))
            if len(losses) == len(rates) or has_diverged(losses):
                return suggest_rates(rates[: len(losses)], losses)
    return suggest_rates(rates, losses)


class _Learner:
    """A head in the making, on features that are brought to mean 0 and deviation 1."""

    def __init__(self, training: FeatureSubset, classes: int, recipe: Recipe) -> None:
        self._training = training
        self._classes = classes
        self._recipe = recipe
        self._mean, deviation = training.mean_and_deviation()
        # What is the same for all photos tells nothing, and is not to be divided by nothing.
        self._deviation = np.where(deviation > 1e-6, deviation, 1.0).astype(np.float32)
        self._class_weights = class_weights(training.labels, classes, balance=recipe.balance)
        keras.utils.set_random_seed(recipe.seed)
        self._dense = keras.layers.Dense(classes)
        self._model = keras.Sequential(
            [
                keras.layers.Input((training.all_features.shape[-1],)),
                keras.layers.Dropout(recipe.dropout, seed=recipe.seed),
                self._dense,
            ]
        )
        self._momentum = tf.Variable(0.9)
        self._optimizer = keras.optimizers.Adam(recipe.rate or 1e-3)
        # Keras takes a number and reads it once; a variable it reads at each step.
        self._optimizer.beta_1 = self._momentum
        self._optimizer.build(self._model.trainable_variables)
        self._run = tf.function(self._learn, reduce_retracing=True)

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self._training.places) // self._recipe.batch_size)

    def batches(
        self, rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]:
        """Yields one epoch's inputs, targets and weights, in a new order."""
        count, views = len(self._training.places), self._training.all_features.shape[1]
        order = rng.permutation(count)
        chosen = rng.integers(0, views, size=(count,))
        targets = smoothed_targets(self._classes, self._recipe.label_smoothing)
        for first in range(0, count, self._recipe.batch_size):
            batch = order[first : first + self._recipe.batch_size]
            places = self._training.places[batch]
            inputs = self._training.all_features[places, chosen[batch]] - self._mean
            inputs /= self._deviation
            labels = self._training.all_labels[places]
            wanted, weights = targets[labels], self._class_weights[labels]
            if self._recipe.mixup:
                share = np.float32(rng.beta(self._recipe.mixup, self._recipe.mixup))
                other = rng.permutation(len(places))
                inputs = share * inputs + (1 - share) * inputs[other]
                wanted = share * wanted + (1 - share) * wanted[other]
                weights = share * weights + (1 - share) * weights[other]
            yield inputs, wanted, weights

    def step(
        self,
        inputs: NDArray[np.float32],
        targets: NDArray[np.float32],
        weights: NDArray[np.float32],
        schedule_step: ScheduleStep,
    ) -> float:
        """Learns from a batch. Returns its loss."""
        self._optimizer.learning_rate.assign(schedule_step.rate)
        self._momentum.assign(schedule_step.momentum)
        return float(self._run(*map(tf.constant, (inputs, targets, weights))))

    def _learn(self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = self._model(inputs, training=True)
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            penalty = tf.reduce_sum(tf.square(self._dense.kernel)) / 2
            loss = tf.reduce_mean(weights * losses) + self._recipe.penalty * penalty
        variables = self._model.trainable_variables
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    def head(self) -> Head:
        """Returns what was learned, for features as they are."""
        kernel, bias = (variable.numpy() for variable in self._dense.weights)
        kernel = kernel / self._deviation[:, np.newaxis]
        return Head(kernel, bias - self._mean @ kernel)


def smoothed_targets(classes: int, smoothing: float) -> NDArray[np.float32]:
    """Returns what is to be answered for each class, float32 (classes, classes).

    A part of each is spread over all classes (Szegedy et al. 2015, arXiv 1512.00567, section 7).
    """
    return np.eye(classes, dtype=np.float32) * (1 - smoothing) + np.float32(smoothing / classes)


def class_weights(
    labels: NDArray[np.integer], classes: int, *, balance: bool
) -> NDArray[np.float32]:
    """Returns float32 (classes,); to balance is to have rare classes count like frequent ones."""
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    even = np.ones(classes)
    return (len(labels) / (classes * counts) if balance else even).astype(np.float32)
