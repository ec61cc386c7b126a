"""The classification head: a dense layer that is trained on precomputed features in seconds.

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

RANGE_TEST_STEPS = 120
"""Training steps of a learning-rate range test, unless the loss diverges earlier."""


@dataclass(frozen=True, slots=True, eq=False)
class FeatureSubset:
    """Features and labels of a subset of the photos, for training or validation.

    Attributes:
        all_features: float32 (photos, views, features), of all photos.
        all_labels: int (photos,): the class index of each photo.
        indices: int (N,): indices of the subset's photos.
    """

    all_features: NDArray[np.float32]
    all_labels: NDArray[np.integer]
    indices: NDArray[np.integer]

    @property
    def labels(self) -> NDArray[np.integer]:
        """The class index of each photo of the subset, int (N,)."""
        labels: NDArray[np.integer] = self.all_labels[self.indices]
        return labels

    @property
    def first_views(self) -> NDArray[np.float32]:
        """Features of the photos without augmentation, float32 (N, features)."""
        views: NDArray[np.float32] = self.all_features[self.indices, 0]
        return views

    def mean_and_std(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Returns mean and standard deviation of each feature over all views, float32 (features,).

        Computed view by view, because a copy of all features can take hundreds of megabytes.
        """
        views = range(self.all_features.shape[1])
        means = [self.all_features[self.indices, view].mean(axis=0) for view in views]
        mean = np.mean(means, axis=0)
        squares = [
            np.square(self.all_features[self.indices, view] - mean).mean(axis=0) for view in views
        ]
        return mean, np.sqrt(np.mean(squares, axis=0))


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """The weights of a dense layer.

    Attributes:
        kernel: float32 (features, classes).
        bias: float32 (classes,).
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]

    def logits(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Returns the logits, float32 (N, classes), of features, float32 (N, features)."""
        logits: NDArray[np.float32] = features @ self.kernel + self.bias
        return logits


def train_head(
    training: FeatureSubset,
    validation: FeatureSubset,
    classes: int,
    recipe: Recipe,
    on_best: Callable[[Head], None] | None = None,
) -> Generator[Epoch, None, Head]:
    """Trains a head with early stopping.

    Ctrl-C, or a `KeyboardInterrupt` thrown into the generator, ends the training early.

    Args:
        training: Training features; each epoch uses a random view of each photo.
        validation: Validation features, of which the first view is used.
        classes: Number of classes.
        recipe: Hyperparameters.
        on_best: Called with the head after each epoch with a new lowest validation loss.

    Yields:
        Metrics of each epoch, until `Recipe.epochs` or `Recipe.patience` is reached.

    Returns:
        The head with the lowest validation loss.
    """
    trainer = _HeadTrainer(training, classes, recipe)
    learning_rate = recipe.learning_rate or find_learning_rate(training, classes, recipe).suggestion
    rng = np.random.default_rng(recipe.seed)
    steps = recipe.epochs * trainer.steps_per_epoch
    best, best_loss, since_best, step = trainer.head(), np.inf, 0, 0
    started = time.monotonic()
    try:
        for number in range(1, recipe.epochs + 1):
            epoch_started, schedule_step = time.monotonic(), ScheduleStep(learning_rate, 0.0)
            losses: list[float] = []
            for batch in trainer.batches(rng):
                schedule_step = one_cycle(step, steps, learning_rate)
                losses.append(trainer.step(*batch, schedule_step))
                step += 1
            seconds = time.monotonic() - epoch_started
            head = trainer.head()
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
                learning_rate=schedule_step.learning_rate,
                is_best=is_best,
                seconds=time.monotonic() - started,
                examples_per_second=len(training.labels) / max(seconds, 1e-9),
            )
            if since_best == recipe.patience:
                break
    except KeyboardInterrupt:  # stopped: return the best head so far
        pass
    return best


def find_learning_rate(training: FeatureSubset, classes: int, recipe: Recipe) -> RangeTest:
    """Runs the learning-rate range test on a new head (Smith 2017, arXiv 1506.01186).

    Args:
        training: Training features.
        classes: Number of classes.
        recipe: Hyperparameters; the learning rate is ignored.
    """
    trainer = _HeadTrainer(training, classes, recipe)
    rng = np.random.default_rng(recipe.seed)
    rates, losses = sweep(RANGE_TEST_STEPS), list[float]()
    while len(losses) < len(rates):
        for batch in trainer.batches(rng):
            losses.append(trainer.step(*batch, ScheduleStep(float(rates[len(losses)]), 0.9)))
            if len(losses) == len(rates) or has_diverged(losses):
                return suggest_rates(rates[: len(losses)], losses)
    return suggest_rates(rates, losses)


class _HeadTrainer:
    """Trains a head on standardized features (mean 0, standard deviation 1)."""

    def __init__(self, training: FeatureSubset, classes: int, recipe: Recipe) -> None:
        self._training = training
        self._classes = classes
        self._recipe = recipe
        self._mean, std = training.mean_and_std()
        # Avoids a division by zero for constant features, which carry no information.
        self._std = np.where(std > 1e-6, std, 1.0).astype(np.float32)
        self._class_weights = compute_class_weights(
            training.labels, classes, balanced=recipe.class_weights
        )
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
        self._optimizer = keras.optimizers.Adam(recipe.learning_rate or 1e-3)
        # Keras reads a number only once, when tracing; it reads a variable at every step.
        self._optimizer.beta_1 = self._momentum
        self._optimizer.build(self._model.trainable_variables)
        self._run = tf.function(self._train_step, reduce_retracing=True)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches per epoch."""
        return -(-len(self._training.indices) // self._recipe.batch_size)

    def batches(
        self, rng: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]]:
        """Yields the shuffled inputs, targets and sample weights of one epoch, in batches."""
        count, views = len(self._training.indices), self._training.all_features.shape[1]
        order = rng.permutation(count)
        chosen_views = rng.integers(0, views, size=(count,))
        class_targets = smoothed_targets(self._classes, self._recipe.label_smoothing)
        for first in range(0, count, self._recipe.batch_size):
            batch = order[first : first + self._recipe.batch_size]
            indices = self._training.indices[batch]
            inputs = self._training.all_features[indices, chosen_views[batch]] - self._mean
            inputs /= self._std
            labels = self._training.all_labels[indices]
            targets, weights = class_targets[labels], self._class_weights[labels]
            if self._recipe.mixup:
                ratio = np.float32(rng.beta(self._recipe.mixup, self._recipe.mixup))
                other = rng.permutation(len(indices))
                inputs = ratio * inputs + (1 - ratio) * inputs[other]
                targets = ratio * targets + (1 - ratio) * targets[other]
                weights = ratio * weights + (1 - ratio) * weights[other]
            yield inputs, targets, weights

    def step(
        self,
        inputs: NDArray[np.float32],
        targets: NDArray[np.float32],
        weights: NDArray[np.float32],
        schedule_step: ScheduleStep,
    ) -> float:
        """Trains on a batch. Returns its loss."""
        self._optimizer.learning_rate.assign(schedule_step.learning_rate)
        self._momentum.assign(schedule_step.momentum)
        return float(self._run(*map(tf.constant, (inputs, targets, weights))))

    def _train_step(self, inputs: tf.Tensor, targets: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            logits = self._model(inputs, training=True)
            losses = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
            penalty = tf.reduce_sum(tf.square(self._dense.kernel)) / 2
            loss = tf.reduce_mean(weights * losses) + self._recipe.l2 * penalty
        variables = self._model.trainable_variables
        self._optimizer.apply(tape.gradient(loss, variables), variables)
        return loss

    def head(self) -> Head:
        """Returns the current weights, rescaled for features that are not standardized."""
        kernel, bias = (variable.numpy() for variable in self._dense.weights)
        kernel = kernel / self._std[:, np.newaxis]
        return Head(kernel, bias - self._mean @ kernel)


def smoothed_targets(classes: int, smoothing: float) -> NDArray[np.float32]:
    """Returns the smoothed one-hot target of each class, float32 (classes, classes).

    Label smoothing spreads the fraction `smoothing` evenly over all classes (Szegedy et al. 2015,
    arXiv 1512.00567, section 7).
    """
    return np.eye(classes, dtype=np.float32) * (1 - smoothing) + np.float32(smoothing / classes)


def compute_class_weights(
    labels: NDArray[np.integer], classes: int, *, balanced: bool
) -> NDArray[np.float32]:
    """Returns the loss weight of each class, float32 (classes,).

    Balanced weights are inversely proportional to the class frequencies, as in
    `sklearn.utils.class_weight.compute_class_weight`; otherwise all are 1.
    """
    counts = np.maximum(np.bincount(labels, minlength=classes), 1)
    uniform = np.ones(classes)
    return (len(labels) / (classes * counts) if balanced else uniform).astype(np.float32)
