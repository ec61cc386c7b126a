"""Time per photo, one at a time and in batches, compared with stock Keras.

    python -m benchmarks.batch [MODEL ...]

Each figure is the time per photo, from the file to the predictions: the median of three rounds
over the same photos after a warm-up round, in a separate process. Prints the table of
``benchmarks/README.md``.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from importlib.resources import files
from itertools import cycle, islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.weight_files import provide_weights
from vgg_demo import memory
from vgg_demo.models.registry import ModelSpec, get_spec
from vgg_demo.settings import Settings

PHOTOS = 48
ROUNDS = 3
KERAS_BATCH = 8


def photos() -> list[str]:
    folder = files("vgg_demo").joinpath("data", "examples")
    names = sorted(str(path) for path in folder.iterdir() if path.name.endswith(".jpg"))
    return list(islice(cycle(names), PHOTOS))


def milliseconds(work: Callable[[], object]) -> float:
    """Returns the median time per photo; the first round is a warm-up."""
    rounds = []
    for _ in range(ROUNDS + 1):
        started_at = time.perf_counter()
        work()
        rounds.append(1000 * (time.perf_counter() - started_at) / PHOTOS)
    return median(rounds[1:])


def stock_keras(spec: ModelSpec, folder: Path, batch_size: int, *, is_compiled: bool) -> float:
    """Predicts as in the documentation of Keras; `is_compiled` uses a `tf.function` instead."""
    os.environ["TF_ONEDNN_USE_SYSTEM_ALLOCATOR"] = "0"  # the default, whatever the user has set
    import keras
    import tensorflow as tf

    module = getattr(keras.applications, spec.module)
    model = getattr(keras.applications, spec.keras_name)(weights=str(folder / spec.weights.name))
    compiled = tf.function(lambda batch: model(batch, training=False))
    size = (spec.input_size, spec.input_size)

    def load(path: str) -> np.ndarray:
        return keras.utils.img_to_array(keras.utils.load_img(path, target_size=size))

    def work() -> None:
        names = photos()
        for start in range(0, PHOTOS, batch_size):
            batch = np.stack([load(name) for name in names[start : start + batch_size]])
            batch = module.preprocess_input(batch)
            if is_compiled:
                probabilities = compiled(tf.constant(batch)).numpy()
            else:
                probabilities = model.predict(batch, verbose=0)
            np.argsort(-probabilities)[:, :5]

    return milliseconds(work)


def vgg_demo_single(spec: ModelSpec, folder: Path) -> float:
    memory.prepare_process()  # as every program does

    from vgg_demo.images.decode import read_file
    from vgg_demo.inference.classify import classify
    from vgg_demo.inference.model_store import ModelStore

    store = ModelStore(Settings(weights_dir=folder, offline=True))

    def work() -> None:
        for path in photos():
            classify(read_file(path), spec, store).predictions(5)

    return milliseconds(work)


def vgg_demo_batched(spec: ModelSpec, folder: Path) -> float:
    memory.prepare_process()

    from vgg_demo.batch.pipeline import classify_photos, flatten
    from vgg_demo.files.sources import find_photos
    from vgg_demo.inference.model_store import ModelStore

    store = ModelStore(Settings(weights_dir=folder, offline=True))

    def work() -> None:
        for row in classify_photos(find_photos(photos()), [spec], store):
            flatten(row, [spec])

    return milliseconds(work)


def vgg_demo_preprocessing(spec: ModelSpec, _: Path) -> float:
    """Decodes and preprocesses only, in as many threads as there are cores."""
    memory.prepare_process()

    from vgg_demo.images.decode import read_file
    from vgg_demo.images.photo import open_photo
    from vgg_demo.inference.classify import prepare_photo
    from vgg_demo.models.preprocess import Resize

    def prepare(path: str) -> object:
        return prepare_photo(open_photo(read_file(path)), spec, Resize.CROP)

    def work() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(prepare, photos()))

    return milliseconds(work)


BENCHMARKS: dict[str, Callable[[ModelSpec, Path], float]] = {
    "stock Keras, `predict`, one at a time": partial(stock_keras, batch_size=1, is_compiled=False),
    "stock Keras, compiled, one at a time": partial(stock_keras, batch_size=1, is_compiled=True),
    f"stock Keras, compiled, batches of {KERAS_BATCH}": partial(
        stock_keras, batch_size=KERAS_BATCH, is_compiled=True
    ),
    "VGG Demo, one at a time": vgg_demo_single,
    "VGG Demo, batched": vgg_demo_batched,
    "of that, decoding and preprocessing, all cores": vgg_demo_preprocessing,
}


def measure(name: str, spec: ModelSpec, folder: Path) -> float:
    return BENCHMARKS[name](spec, folder)


def main(names: Sequence[str]) -> None:
    specs = [get_spec(name) for name in names or ("vgg16", "mobilenet_v2")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        random_models = provide_weights(specs, folder, Settings.from_environment(os.environ))
        print("| milliseconds per photo |", " | ".join(spec.keras_name for spec in specs), "|")
        print("|---|" + "---|" * len(specs))
        for name in BENCHMARKS:
            cells = []
            for spec in specs:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
                    cells.append(f"{executor.submit(measure, name, spec, folder).result():.1f}")
            print(f"| {name} |", " | ".join(cells), "|", flush=True)
        print(f"\nModels with random weights: {', '.join(random_models) or 'none'}.")


if __name__ == "__main__":
    main(sys.argv[1:])
