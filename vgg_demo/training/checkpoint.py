"""Checkpoints: the best weights of a training run on disk, so that they survive the worker."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vgg_demo.training.fine_tuning import FineTunedWeights
    from vgg_demo.training.head import Head

HEAD, FINE_TUNED = "best_head.npz", "best_fine_tuned.npz"


def save_head(folder: Path, head: Head) -> None:
    """Saves a head; replaces the previous one.

    Raises:
        OSError: If the file cannot be written.
    """
    _write(folder / HEAD, {"kernel": head.kernel, "bias": head.bias})


def save_fine_tuned(folder: Path, fine_tuned: FineTunedWeights) -> None:
    """Saves fine-tuned weights; replaces the previous ones.

    Raises:
        OSError: If the file cannot be written.
    """
    values = {f"value_{index}": value for index, value in enumerate(fine_tuned.values)}
    _write(folder / FINE_TUNED, values | {"logits": fine_tuned.logits})


def load_head(folder: Path) -> Head | None:
    """Returns the saved head, or None if there is none."""
    from vgg_demo.training.head import Head

    arrays = _read(folder / HEAD)
    return Head(arrays["kernel"], arrays["bias"]) if arrays else None


def load_fine_tuned(folder: Path) -> FineTunedWeights | None:
    """Returns the saved fine-tuned weights, or None if there are none."""
    from vgg_demo.training.fine_tuning import FineTunedWeights

    arrays = _read(folder / FINE_TUNED)
    if not arrays:
        return None
    logits = arrays.pop("logits")
    return FineTunedWeights([arrays[f"value_{index}"] for index in range(len(arrays))], logits)


def has_checkpoint(folder: Path) -> bool:
    """Whether the folder contains a saved head."""
    return (folder / HEAD).is_file()


def _write(path: Path, arrays: dict[str, NDArray[np.float32]]) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    part.replace(path)  # atomic: a reader never gets an incomplete file


def _read(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except FileNotFoundError:
        return {}
