"""Progress of a training run, importable without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Epoch:
    """Metrics of an epoch.

    Attributes:
        number: Number of the epoch, from 1; epoch 0 is the state before fine-tuning.
        epochs: Maximum number of epochs.
        loss: Mean training loss of the batches, including regularization; NaN for epoch 0.
        validation_loss: Cross-entropy on the validation set, in nats.
        validation_accuracy: Accuracy on the validation set, in [0, 1].
        learning_rate: Learning rate of the last step.
        is_best: Whether the validation loss is the lowest so far.
        seconds: Time since the start of the training.
        examples_per_second: Training throughput in this epoch.
    """

    number: int
    epochs: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    learning_rate: float
    is_best: bool
    seconds: float
    examples_per_second: float


def run_to_end(
    generator: Generator[Any, None, T], on_progress: Callable[[Any], None] | None = None
) -> T:
    """Runs a generator to its end and returns its result.

    Args:
        generator: Long work that yields its progress.
        on_progress: Called with each yielded value. A `KeyboardInterrupt` that it raises is thrown
            into the generator, which may end early and still return a result.
    """
    interrupt: KeyboardInterrupt | None = None
    while True:
        try:
            progress = next(generator) if interrupt is None else generator.throw(interrupt)
        except StopIteration as end:
            result: T = end.value
            return result
        try:
            if on_progress is not None:
                on_progress(progress)
        except KeyboardInterrupt as error:
            interrupt = error
