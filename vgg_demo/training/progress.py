"""How a training stands, without TensorFlow: for whoever watches it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Epoch:
    """How a training stands after an epoch.

    Attributes:
        number: From 1.
        epochs: All.
        loss: Mean loss of the training's batches, with all that makes it harder.
        validation_loss: Cross-entropy of the validation photos, in nats.
        validation_accuracy: Share of them that is right, in [0, 1].
        rate: Learning rate of the last step.
        is_best: Whether no epoch before had a lower validation loss.
        seconds: Since the training began.
        examples_per_second: In this epoch.
    """

    number: int
    epochs: int
    loss: float
    validation_loss: float
    validation_accuracy: float
    rate: float
    is_best: bool
    seconds: float
    examples_per_second: float
