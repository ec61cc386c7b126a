"""Peak memory of loading models, compared with stock Keras.

    python -m benchmarks.memory

Each row is measured in a separate process. Linux only: the peak is the kernel's ``VmHWM``. Prints
the table of ``benchmarks/README.md``.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.weight_files import provide_weights
from vgg_demo import memory
from vgg_demo.models.registry import MODEL_SETS, get_spec
from vgg_demo.settings import MEMORY_FRACTION, Settings

FREE_HOST_BYTES = 2_700_000_000  # Streamlit Community Cloud
VGG16 = "vgg16"
CLASSICS = MODEL_SETS["Five classics"]


def peak_megabytes() -> float:
    """Returns the peak resident set size of this process."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024 / 1e6


def import_tensorflow(_: Path) -> float:
    import tensorflow  # noqa: F401

    return peak_megabytes()


def keras_vgg16(folder: Path) -> float:
    return keras_in_sequence(folder, (VGG16,))


def keras_classics(folder: Path) -> float:
    return keras_in_sequence(folder, CLASSICS)


def keras_in_sequence(folder: Path, names: tuple[str, ...]) -> float:
    """Loads each model as in the documentation of Keras, predicts once, and deletes the model."""
    os.environ["TF_ONEDNN_USE_SYSTEM_ALLOCATOR"] = "0"  # the default, whatever the user has set
    import keras

    for name in names:
        spec = get_spec(name)
        build = getattr(keras.applications, spec.keras_name)
        model = build(weights=str(folder / spec.weights.name))
        model.predict(np.zeros((1, spec.input_size, spec.input_size, 3)), verbose=0)
        del model
        keras.backend.clear_session()
    return peak_megabytes()


def vgg_demo_vgg16(folder: Path) -> float:
    return vgg_demo_in_sequence(folder, (VGG16,), FREE_HOST_BYTES)


def vgg_demo_classics(folder: Path) -> float:
    return vgg_demo_in_sequence(folder, CLASSICS, FREE_HOST_BYTES)


def vgg_demo_in_sequence(folder: Path, names: tuple[str, ...], host_bytes: int) -> float:
    memory.prepare_process()  # as every program does

    from vgg_demo.images.examples import load_examples
    from vgg_demo.inference.classify import classify
    from vgg_demo.inference.model_store import ModelStore

    budget = int(MEMORY_FRACTION * host_bytes)
    store = ModelStore(Settings(weights_dir=folder, offline=True, memory_bytes=budget))
    photo = load_examples()[0].read()
    for name in names:
        classify(photo, get_spec(name), store)
    return peak_megabytes()


BENCHMARKS: tuple[tuple[str, Callable[[Path], float]], ...] = (
    ("TensorFlow imported, no model", import_tensorflow),
    ("VGG16, stock Keras", keras_vgg16),
    ("VGG16, VGG Demo", vgg_demo_vgg16),
    ("five classics in sequence, stock Keras", keras_classics),
    ("five classics in sequence, VGG Demo", vgg_demo_classics),
)


def main() -> None:
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        random_models = provide_weights([get_spec(model) for model in CLASSICS], folder, Settings())
        print("| | peak (MB) |\n|---|---|")
        for title, benchmark in BENCHMARKS:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
                print(
                    f"| {title} | {executor.submit(benchmark, folder).result():,.0f} |", flush=True
                )
        print(f"\nModels with random weights: {', '.join(random_models) or 'none'}.")


if __name__ == "__main__":
    main()
