"""Our evaluation counts what a plain loop over stock Keras counts."""

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
    best = np.argsort(-model.predict(batch, batch_size=16, verbose=0), axis=1)
    index_of = {label.wnid: label.index for label in load_labels("imagenet")}
    truth = np.array([index_of[photo.name[:9]] for photo in photos])[:, np.newaxis]
    return int((best[:, :1] == truth).sum()), int((best[:, :5] == truth).sum())


def test_counts_on_500_photos(shared: Path) -> None:
    folder = shared / "data" / "imagenet-sample"
    arguments = ["evaluate", str(folder), "--model", SPEC.name, "--resize", "squash", "--json"]
    result = CliRunner().invoke(main, [*arguments, "--weights-dir", str(shared / "weights")])
    (found,) = json.loads(result.stdout)["evaluations"]
    photos = sorted(folder.glob("*.jpg"))
    assert found["top1"]["count"] == len(photos) == 500
    top1, top5 = stock_counts(photos, shared / "weights")
    assert (found["top1"]["right"], found["top5"]["right"]) == (top1, top5)
    assert top1 > 400
