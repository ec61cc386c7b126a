"""How a model is taught."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from vgg_demo.training.split import VALIDATION_SHARE

ExportFormat = Literal["tflite", "tflite-int8", "saved-model"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is taught. The defaults are for some hundred or thousand photos.

    Attributes:
        views: Looks at each photo that is learned from; see `augment.augmented`.
        epochs: How often all photos are gone through, at most.
        batch_size: Photos that are learned from at a time.
        rate: The highest learning rate; None to have it found.
        penalty: Half of it times the sum of the squared weights is added to the loss, which
            keeps the head from learning single photos by heart.
        dropout: Part of the features that is left out at random, in [0, 1).
        label_smoothing: Part of each target that is spread over all classes, in [0, 1).
        mixup: Pairs of photos are mixed, with shares from a beta distribution of this
            parameter on both sides (Zhang et al. 2017, arXiv 1710.09412); 0 for no mixing.
        tuning_epochs: Of the second stage, in which the end of the body learns too; 0 for none.
        tuning_rate: The highest learning rate of that, for the head; blocks learn more slowly.
        tuned_blocks: How many blocks at the end of the body learn.
        balance: Whether rare classes count as much as frequent ones.
        patience: Epochs without a lower validation loss after which it ends.
        validation_share: Part of the photos that is kept to judge by, in (0, 1).
        seed: The same on the same machine gives the same.
    """

    views: int = 2
    epochs: int = 20
    batch_size: int = 32
    rate: float | None = None
    penalty: float = 0.1
    dropout: float = 0.2
    label_smoothing: float = 0.0
    mixup: float = 0.0
    tuning_epochs: int = 0
    tuning_rate: float = 3e-5
    tuned_blocks: int = 2
    balance: bool = True
    patience: int = 10
    validation_share: float = VALIDATION_SHARE
    seed: int = 0
