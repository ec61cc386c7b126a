"""Makes the photos to try teaching with: `vgg_demo/data/lesson.zip`.

    python tools/make_lesson.py path/to/clothing

The folder holds ``images/ID.jpg`` and ``images.csv`` (``image,label``): the "Clothing dataset,
small" of Alexey Grigorev and its contributors (CC0). Of some kinds the first photos, in the order
of their names, go into the archive, scaled down, in a folder for each kind.
"""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from pathlib import Path

from PIL import Image

KINDS = ("Dress", "Pants", "Shoes", "T-Shirt")
PHOTOS = 40  # of each
SIDE = 192  # pixels; the shorter one
QUALITY = 78
DATE = (2026, 1, 1, 0, 0, 0)  # the same archive each time
OUT = Path(__file__).parents[1] / "vgg_demo" / "data" / "lesson.zip"


def main() -> None:
    folder = Path(sys.argv[1])
    with (folder / "images.csv").open(encoding="utf-8", newline="") as file:
        labels = {row["image"]: row["label"] for row in csv.DictReader(file)}
    with zipfile.ZipFile(OUT, "w", zipfile.ZIP_STORED) as archive:
        for kind in KINDS:
            names = sorted(name for name, label in labels.items() if label == kind)
            for number, name in enumerate(names[:PHOTOS], start=1):
                member = zipfile.ZipInfo(f"clothing/{kind}/{number:02}.jpg", DATE)
                archive.writestr(member, scaled(folder / "images" / f"{name}.jpg"))
    print(f"{OUT}: {OUT.stat().st_size:,} bytes")


def scaled(path: Path) -> bytes:
    image = Image.open(path).convert("RGB")
    scale = SIDE / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue()


if __name__ == "__main__":
    main()
