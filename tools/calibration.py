"""How right Mini-VGG is, and how well it knows how right it is."""

from __future__ import annotations

import keras
import numpy as np
from cifar10 import CLASSES, to_input


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(shifted).sum(axis=1))
    return float(np.mean(log_sum - shifted[np.arange(len(labels)), labels]))


def fit_temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """Returns the temperature of least cross-entropy (Guo et al. 2017, section 4.2)."""
    candidates = np.geomspace(0.2, 5.0, 400)
    losses = [cross_entropy(logits / t, labels) for t in candidates]
    return float(candidates[int(np.argmin(losses))])


def expected_calibration_error(logits: np.ndarray, labels: np.ndarray, bins: int = 15) -> float:
    """Returns the ECE over equal-width bins (Guo et al. 2017, equation 3)."""
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    which = np.minimum((top * bins).astype(int), bins - 1)
    gaps = [
        (which == b).mean() * abs(right[which == b].mean() - top[which == b].mean())
        for b in range(bins)
        if (which == b).any()
    ]
    return float(sum(gaps))


def divide_by_temperature(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Fits a temperature on images that were kept aside and folds it into the last layer."""
    temperature = fit_temperature(model.predict(to_input(images), verbose=0), labels)
    last = model.get_layer("predictions")
    last.set_weights([weight / temperature for weight in last.get_weights()])
    return temperature


def measure(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> dict:
    """Returns what the model card tells of test images."""
    logits = model.predict(to_input(images), verbose=0)
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
    np.add.at(confusion, (labels, predicted), 1)
    right = confusion.diagonal()
    return {
        "accuracy": float((predicted == labels).mean()),
        "test_images": len(labels),
        "expected_calibration_error": expected_calibration_error(logits, labels),
        "recall": dict(zip(CLASSES, (right / confusion.sum(1)).tolist(), strict=True)),
        "precision": dict(zip(CLASSES, (right / confusion.sum(0)).tolist(), strict=True)),
        "confusion": confusion.tolist(),
    }
