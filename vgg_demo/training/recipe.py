"""The hyperparameters of a training run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vgg_demo.training.split import VALIDATION_FRACTION

ExportFormat = Literal["tflite", "tflite-int8", "saved-model"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """Hyperparameters. The defaults suit datasets of a few hundred to a few thousand photos.

    Attributes:
        views: Augmented views per training photo; see `augmentation.augment`.
        epochs: Maximum number of epochs.
        batch_size: Photos per batch.
        learning_rate: Maximum learning rate of the one-cycle schedule; None to find it with a
            learning-rate range test.
        l2: L2 regularization of the head: ``l2 / 2`` times the sum of the squared kernel weights
            is added to the loss.
        dropout: Fraction of the features that is dropped at random, in [0, 1).
        label_smoothing: Fraction of each target that is spread over all classes, in [0, 1).
        mixup: Parameter alpha of mixup, which mixes pairs of photos with ratios from a
            Beta(alpha, alpha) distribution (Zhang et al. 2017, arXiv 1710.09412); 0 for no mixup.
        fine_tuning_epochs: Epochs of fine-tuning after the training of the head; 0 for none.
        fine_tuning_learning_rate: Maximum learning rate of the head during fine-tuning; earlier
            blocks have lower ones.
        fine_tuned_blocks: Number of blocks at the end of the backbone that are fine-tuned.
        class_weights: Whether to balance the loss with class weights.
        patience: Early stopping: training ends after this many epochs without a lower validation
            loss.
        validation_fraction: Fraction of the photos that is held out for validation, in (0, 1).
        seed: Random seed. The same seed gives the same model on the same machine.
    """

    views: int = 2
    epochs: int = 20
    batch_size: int = 32
    learning_rate: float | None = None
    l2: float = 0.1
    dropout: float = 0.2
    label_smoothing: float = 0.0
    mixup: float = 0.0
    fine_tuning_epochs: int = 0
    fine_tuning_learning_rate: float = 3e-5
    fine_tuned_blocks: int = 2
    class_weights: bool = True
    patience: int = 10
    validation_fraction: float = VALIDATION_FRACTION
    seed: int = 0
