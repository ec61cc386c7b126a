"""Weight files for measuring where the official ones cannot be had."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from vgg_demo.models.registry import ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights.local import find_weights


def provide(specs: list[ModelSpec], folder: Path, settings: Settings) -> list[str]:
    """Puts a weight file of every model into a folder.

    What is on this machine is linked; for the rest Keras writes the random values that it
    begins with, in its own legacy layout, which take as long to load and as much memory.

    Returns:
        The names of the models whose values are random.
    """
    random = []
    for spec in specs:
        target = folder / spec.weights.name
        found = find_weights(spec, settings)
        if found is not None:
            target.symlink_to(found.resolve())
        else:
            random.append(spec.name)
            # In a process of its own: what building leaves behind would be measured too.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
                executor.submit(_write_random, spec, target).result()
    return random


def _write_random(spec: ModelSpec, path: Path) -> None:
    import h5py
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    model = getattr(keras.applications, spec.keras_name)(weights=None)
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
