"""CIFAR-10 and its augmentation for training Mini-VGG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from PIL import Image, ImageEnhance, ImageOps

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BATCH_SIZE = 256
AUGMENTED_FRACTION = 0.5  # of the images, by TrivialAugment
CUTOUT = 8  # pixels
LABEL_SMOOTHING = 0.1
PADDING = 4  # pixels


def load_images(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Returns uint8 images (N, 32, 32, 3) and int labels (N,), sorted by file name."""
    images, labels = [], []
    for label, name in enumerate(CLASSES):
        for path in sorted((folder / name).glob("*.jpg")):
            images.append(np.asarray(Image.open(path).convert("RGB")))
            labels.append(label)
    return np.stack(images), np.array(labels)


def to_input(images: np.ndarray) -> np.ndarray:
    """Scales uint8 pixels to float32 in [-1, 1], the preprocessing of the model."""
    return images.astype(np.float32) / 127.5 - 1.0


def _affine(image: Image.Image, *matrix: float) -> Image.Image:
    return image.transform(image.size, Image.Transform.AFFINE, matrix, fillcolor=(128, 128, 128))


def _enhance(enhancer: type) -> Callable[[Image.Image, float], Image.Image]:
    return lambda image, amount: enhancer(image).enhance(1 + 0.99 * amount)


# Amounts are in [-1, 1]. Ranges follow table 1 ("wide") of the paper, except that shifts are at
# most 12 of the 32 pixels.
TRIVIAL_AUGMENTS: tuple[Callable[[Image.Image, float], Image.Image], ...] = (
    lambda image, _: image,
    lambda image, _: ImageOps.autocontrast(image),
    lambda image, _: ImageOps.equalize(image),
    lambda image, amount: image.rotate(135 * amount, fillcolor=(128, 128, 128)),
    lambda image, amount: ImageOps.posterize(image, 8 - round(6 * abs(amount))),
    lambda image, amount: ImageOps.solarize(image, round(256 * (1 - abs(amount)))),
    _enhance(ImageEnhance.Color),
    _enhance(ImageEnhance.Contrast),
    _enhance(ImageEnhance.Brightness),
    _enhance(ImageEnhance.Sharpness),
    lambda image, amount: _affine(image, 1, amount, -16 * amount, 0, 1, 0),
    lambda image, amount: _affine(image, 1, 0, 0, amount, 1, -16 * amount),
    lambda image, amount: _affine(image, 1, 0, 12 * amount, 0, 1, 0),
    lambda image, amount: _affine(image, 1, 0, 0, 0, 1, 12 * amount),
)


def trivial_augment(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Applies a random operation with a random strength to a uint8 image (H, W, 3).

    TrivialAugment (Müller & Hutter 2021, arXiv 2103.10158).
    """
    operation = TRIVIAL_AUGMENTS[rng.integers(len(TRIVIAL_AUGMENTS))]
    return np.asarray(operation(Image.fromarray(image), rng.uniform(-1, 1)))


class AugmentedBatches(keras.utils.PyDataset):
    """Shuffled batches of images, augmented by shifts, flips, TrivialAugment and cutout.

    Images are float32 (N, 32, 32, 3) in [-1, 1]. Labels are probabilities (N, 10), smoothed by
    `LABEL_SMOOTHING`. All random choices are determined by (seed, epoch, batch), so a run is
    reproducible.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray, seed: int) -> None:
        super().__init__(workers=1, max_queue_size=4)
        pad = ((0, 0), (PADDING, PADDING), (PADDING, PADDING), (0, 0))
        self._padded = np.pad(images, pad, mode="reflect")
        one_hot = keras.utils.to_categorical(labels, len(CLASSES))
        self._labels = one_hot * (1 - LABEL_SMOOTHING) + LABEL_SMOOTHING / len(CLASSES)
        self._seed = seed
        self._epoch = 0
        self._flip_first = np.random.default_rng(seed).integers(0, 2, len(labels))
        self._shuffle()

    def __len__(self) -> int:
        return len(self._labels) // BATCH_SIZE

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng((self._seed, self._epoch, index))
        chosen = self._order[index * BATCH_SIZE : (index + 1) * BATCH_SIZE]
        n, size = len(chosen), self._padded.shape[1] - 2 * PADDING
        top, left = rng.integers(0, 2 * PADDING + 1, (2, n))
        rows = top[:, None, None] + np.arange(size)[None, :, None]
        columns = left[:, None, None] + np.arange(size)[None, None, :]
        pixels = self._padded[chosen[:, None, None], rows, columns]
        for i in np.flatnonzero(rng.random(n) < AUGMENTED_FRACTION):
            pixels[i] = trivial_augment(pixels[i], rng)
        batch = to_input(pixels)
        # Flip each image every other epoch, with a random start (Jordan 2024, arXiv 2404.00498).
        flipped = (self._flip_first[chosen] + self._epoch) % 2 == 1
        batch[flipped] = batch[flipped, :, ::-1]
        for image, (y, x) in zip(batch, rng.integers(0, size, (n, 2)), strict=True):
            half = CUTOUT // 2
            image[max(0, y - half) : y + half, max(0, x - half) : x + half] = 0.0
        return batch, self._labels[chosen]

    def on_epoch_end(self) -> None:
        self._epoch += 1
        self._shuffle()

    def _shuffle(self) -> None:
        rng = np.random.default_rng((self._seed, self._epoch))
        self._order = rng.permutation(len(self._labels))
