"""Accuracy and calibration of Mini-VGG."""

from __future__ import annotations

import keras
import numpy as np
from cifar10 import CLASSES, to_input

from vgg_demo.analysis.calibration import expected_calibration_error, fit_temperature, reliability
from vgg_demo.inference.classify import softmax


def divide_by_temperature(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> float:
    """Fits a temperature on held-out images and folds it into the last layer."""
    temperature = fit_temperature(model.predict(to_input(images), verbose=0), labels)
    last = model.get_layer("predictions")
    last.set_weights([weight / temperature for weight in last.get_weights()])
    return temperature


def measure(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> dict:
    """Returns the metrics for the model card, measured on test images."""
    logits = model.predict(to_input(images), verbose=0)
    predicted = logits.argmax(axis=1)
    confusion = np.zeros((len(CLASSES), len(CLASSES)), dtype=int)
    np.add.at(confusion, (labels, predicted), 1)
    correct = confusion.diagonal()
    return {
        "accuracy": float((predicted == labels).mean()),
        "test_images": len(labels),
        "expected_calibration_error": expected_calibration_error(
            reliability(softmax(logits).max(axis=1), predicted == labels)
        ),
        "recall": dict(zip(CLASSES, (correct / confusion.sum(1)).tolist(), strict=True)),
        "precision": dict(zip(CLASSES, (correct / confusion.sum(0)).tolist(), strict=True)),
        "confusion": confusion.tolist(),
    }
