"""Our evaluation counts what a plain loop over stock Keras counts."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
from click.testing import CliRunner

from vgg_demo.cli import main
from vgg_demo.labels import load_labels
from vgg_demo.registry import get_spec

SPEC = get_spec("mobilenet_v2")


def stock_counts(photos: list[Path], weights: Path) -> tuple[int, int]:
    model = keras.applications.MobileNetV2(weights=weights / SPEC.weights.name)
    index_of = {label.wnid: label.index for label in load_labels("imagenet")}
    top1 = top5 = 0
    for photo in photos:
        image = keras.utils.load_img(photo, target_size=(224, 224), interpolation="bilinear")
        pixels = keras.utils.img_to_array(image)[np.newaxis]
        batch = keras.applications.mobilenet_v2.preprocess_input(pixels)
        best = np.argsort(-np.asarray(model(batch, training=False))[0], kind="stable")
        truth = index_of[photo.name[:9]]
        top1 += best[0] == truth
        top5 += truth in best[:5]
    return int(top1), int(top5)


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
