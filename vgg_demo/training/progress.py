"""Training metrics per epoch, importable without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Epoch:
    """Metrics of an epoch.

    Attributes:
        number: Number of the epoch, from 1; 0 is the state before fine-tuning.
        epochs: Maximum number of epochs.
        loss: Mean training loss of the batches, including regularization.
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
