"""How much faster photos are together than one by one, beside stock Keras.

    python -m benchmarks.batch [MODEL ...]

Each figure is the time for a photo, from its file to its answer: the median of three rounds over
the same photos, after one that is not counted, in a process of its own. Prints the table of
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

from benchmarks.weight_files import provide
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
    """Returns the median time for a photo."""
    rounds = []
    for _ in range(ROUNDS + 1):
        started = time.perf_counter()
        work()
        rounds.append(1000 * (time.perf_counter() - started) / PHOTOS)
    return median(rounds[1:])


def keras(spec: ModelSpec, folder: Path, batch_size: int, *, is_compiled: bool) -> float:
    """As Keras's documentation does; `is_compiled` calls a `tf.function` instead of predict."""
    os.environ["TF_ONEDNN_USE_SYSTEM_ALLOCATOR"] = "0"  # `vgg_demo` sets it when imported
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
        for first in range(0, PHOTOS, batch_size):
            batch = np.stack([load(name) for name in names[first : first + batch_size]])
            batch = module.preprocess_input(batch)
            if is_compiled:
                answer = compiled(tf.constant(batch)).numpy()
            else:
                answer = model.predict(batch, verbose=0)
            np.argsort(-answer)[:, :5]

    return milliseconds(work)


def ours_one_by_one(spec: ModelSpec, folder: Path) -> float:
    from vgg_demo.images.decode import read_file
    from vgg_demo.inference.classify import classify
    from vgg_demo.inference.store import ModelStore

    store = ModelStore(Settings(weights_dir=folder, offline=True))

    def work() -> None:
        for path in photos():
            classify(read_file(path), spec, store).predictions(5)

    return milliseconds(work)


def ours_together(spec: ModelSpec, folder: Path) -> float:
    from vgg_demo.batch.pipeline import classify_photos, flatten
    from vgg_demo.files.sources import find_photos
    from vgg_demo.inference.store import ModelStore

    store = ModelStore(Settings(weights_dir=folder, offline=True))

    def work() -> None:
        for row in classify_photos(find_photos(photos()), [spec], store):
            flatten(row, [spec])

    return milliseconds(work)


def ours_ready(spec: ModelSpec, _: Path) -> float:
    """Decoding and preparing alone, in as many threads as there are cores."""
    from vgg_demo.images.decode import read_file
    from vgg_demo.images.photo import open_photo
    from vgg_demo.inference.classify import prepare_photo
    from vgg_demo.models.preprocess import Resize

    def ready(path: str) -> object:
        return prepare_photo(open_photo(read_file(path)), spec, Resize.CROP)

    def work() -> None:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(ready, photos()))

    return milliseconds(work)


MEASURED: dict[str, Callable[[ModelSpec, Path], float]] = {
    "stock Keras, `predict`, one by one": partial(keras, batch_size=1, is_compiled=False),
    "stock Keras, compiled, one by one": partial(keras, batch_size=1, is_compiled=True),
    f"stock Keras, compiled, batches of {KERAS_BATCH}": partial(
        keras, batch_size=KERAS_BATCH, is_compiled=True
    ),
    "VGG Demo, one by one": ours_one_by_one,
    "VGG Demo, together": ours_together,
    "of that, decoding and preparing, all cores": ours_ready,
}


def measure(name: str, spec: ModelSpec, folder: Path) -> float:
    return MEASURED[name](spec, folder)


def main(names: Sequence[str]) -> None:
    specs = [get_spec(name) for name in names or ("vgg16", "mobilenet_v2")]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        random = provide(specs, folder, Settings.from_environment(os.environ))
        print("| milliseconds for a photo |", " | ".join(spec.keras_name for spec in specs), "|")
        print("|---|" + "---|" * len(specs))
        for name in MEASURED:
            cells = []
            for spec in specs:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
                    cells.append(f"{executor.submit(measure, name, spec, folder).result():.1f}")
            print(f"| {name} |", " | ".join(cells), "|", flush=True)
        print(f"\nRandom values in the files of: {', '.join(random) or 'none'}.")


if __name__ == "__main__":
    main(sys.argv[1:])
