"""Parity of the evaluation with a plain loop over stock Keras."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
from click.testing import CliRunner

from vgg_demo.cli import main
from vgg_demo.models.labels import load_labels
from vgg_demo.models.registry import get_spec

SPEC = get_spec("mobilenet_v2")


def stock_counts(photos: list[Path], weights: Path) -> tuple[int, int]:
    model = keras.applications.MobileNetV2(weights=weights / SPEC.weights.name)
    images = [
        keras.utils.load_img(photo, target_size=(224, 224), interpolation="bilinear")
        for photo in photos
    ]
    pixels = np.stack([keras.utils.img_to_array(image) for image in images])
    batch = keras.applications.mobilenet_v2.preprocess_input(pixels)
    ranking = np.argsort(-model.predict(batch, batch_size=16, verbose=0), axis=1)
    index_of = {label.wnid: label.index for label in load_labels("imagenet")}
    truth = np.array([index_of[photo.name[:9]] for photo in photos])[:, np.newaxis]
    return int((ranking[:, :1] == truth).sum()), int((ranking[:, :5] == truth).sum())


def test_top1_and_top5_counts_on_500_photos_equal_keras(shared: Path) -> None:
    folder = shared / "data" / "imagenet-sample"
    arguments = ["evaluate", str(folder), "--model", SPEC.name, "--resize", "squash", "--json"]
    result = CliRunner().invoke(main, [*arguments, "--weights-dir", str(shared / "weights")])
    (evaluation,) = json.loads(result.stdout)["evaluations"]
    photos = sorted(folder.glob("*.jpg"))
    assert evaluation["top1"]["count"] == len(photos) == 500
    top1, top5 = stock_counts(photos, shared / "weights")
    assert (evaluation["top1"]["correct"], evaluation["top5"]["correct"]) == (top1, top5)
    assert top1 > 400
