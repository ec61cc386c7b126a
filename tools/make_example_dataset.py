"""Creates the example dataset of the Train page, `vgg_demo/data/clothing_example.zip`.

    python tools/make_example_dataset.py path/to/clothing

The folder contains ``images/ID.jpg`` and ``images.csv`` (``image,label``) of the "Clothing
dataset, small" by Alexey Grigorev and its contributors (CC0). The archive contains a folder for
each of four classes, with the first photos of the class in the order of their names, downscaled.
"""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from pathlib import Path

from PIL import Image

CLASSES = ("Dress", "Pants", "Shoes", "T-Shirt")
PHOTOS_PER_CLASS = 40
SHORT_SIDE = 192  # pixels
QUALITY = 78
DATE = (2026, 1, 1, 0, 0, 0)  # fixed, so that the archive is reproducible
OUT = Path(__file__).parents[1] / "vgg_demo" / "data" / "clothing_example.zip"


def main() -> None:
    folder = Path(sys.argv[1])
    with (folder / "images.csv").open(encoding="utf-8", newline="") as file:
        labels = {row["image"]: row["label"] for row in csv.DictReader(file)}
    with zipfile.ZipFile(OUT, "w", zipfile.ZIP_STORED) as archive:
        for name in CLASSES:
            images = sorted(image for image, label in labels.items() if label == name)
            for number, image in enumerate(images[:PHOTOS_PER_CLASS], start=1):
                member = zipfile.ZipInfo(f"clothing/{name}/{number:02}.jpg", DATE)
                archive.writestr(member, downscale(folder / "images" / f"{image}.jpg"))
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


def downscale(path: Path) -> bytes:
    image = Image.open(path).convert("RGB")
    scale = SHORT_SIDE / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
