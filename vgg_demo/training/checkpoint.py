"""The best so far of a training, on disk, so that it outlives who trains."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vgg_demo.training.fine_tuning import FineTunedWeights
    from vgg_demo.training.head import Head

HEAD, TUNED = "best_head.npz", "best_tuned.npz"


def save_head(folder: Path, head: Head) -> None:
    """Keeps a head in the place of the one before."""
    _write(folder / HEAD, {"kernel": head.kernel, "bias": head.bias})


def save_fine_tuned(folder: Path, tuned: FineTunedWeights) -> None:
    """Keeps what a fine-tuned network has learned, in the place of what was there before."""
    values = {f"value_{place}": value for place, value in enumerate(tuned.values)}
    _write(folder / TUNED, values | {"logits": tuned.logits})


def load_head(folder: Path) -> Head | None:
    """Returns the head that was kept last, if one was."""
    from vgg_demo.training.head import Head

    found = _read(folder / HEAD)
    return Head(found["kernel"], found["bias"]) if found else None


def load_fine_tuned(folder: Path) -> FineTunedWeights | None:
    """Returns what was kept last of a fine-tuned network, if anything was."""
    from vgg_demo.training.fine_tuning import FineTunedWeights

    found = _read(folder / TUNED)
    if not found:
        return None
    logits = found.pop("logits")
    return FineTunedWeights([found[f"value_{place}"] for place in range(len(found))], logits)


def has_checkpoint(folder: Path) -> bool:
    """Whether anything was kept."""
    return (folder / HEAD).is_file()


def _write(path: Path, arrays: dict[str, NDArray[np.float32]]) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    part.replace(path)  # all of it, or what was there before


def _read(path: Path) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(path, allow_pickle=False) as found:
            return dict(found)
    except FileNotFoundError:
        return {}
