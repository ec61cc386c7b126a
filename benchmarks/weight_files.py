"""Weight files for benchmarks, even if the official ones cannot be downloaded."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from vgg_demo.models.registry import ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights.local import find_weights


def provide_weights(specs: list[ModelSpec], folder: Path, settings: Settings) -> list[str]:
    """Puts a weight file of every model into a folder.

    Installed files are linked. For the other models, Keras writes a file with its initial random
    weights in the legacy layout; such a file takes as much time and memory to load.

    Returns:
        The names of the models with random weights.
    """
    random_models = []
    for spec in specs:
        target = folder / spec.weights.name
        installed = find_weights(spec, settings)
        if installed is not None:
            target.symlink_to(installed.resolve())
        else:
            random_models.append(spec.name)
            # In a separate process, because memory left over from building would be measured too.
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
                executor.submit(_write_random, spec, target).result()
    return random_models


def _write_random(spec: ModelSpec, path: Path) -> None:
    import h5py
    import keras
    from keras.src.legacy.saving import legacy_h5_format

    model = getattr(keras.applications, spec.keras_name)(weights=None)
    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
