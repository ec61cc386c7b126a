"""Time to train a custom model and to load it, compared with stock Keras.

    python -m benchmarks.train DATA [TABLE]

DATA contains training photos, in class folders or with a table with the columns ``image,label``.
The weights of MobileNetV2 must be installed. Each figure is the median of three, each in a
separate process. Prints the table of ``benchmarks/README.md``.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from statistics import mean, median

import numpy as np

from vgg_demo import memory
from vgg_demo.files.sources import find_photos
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.bundle import open_bundle
from vgg_demo.models.registry import backbone_spec, get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.dataset import Dataset, label_by_folders, label_by_table
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.progress import run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.records import TrainingData
from vgg_demo.training.trainer import Trainer
from vgg_demo.weights.local import find_weights

BACKBONE = "mobilenet_v2"
BUNDLE = "custom.bundle"
ROUNDS = 3
SEEDS = 5
EPOCHS = 3
"""The first epoch is not measured, because TensorFlow traces its functions in it."""


@dataclass(frozen=True, slots=True)
class Job:
    """The data of the benchmarks.

    Attributes:
        data: Folder of photos.
        table: Table of labels; None if the photos are in class folders.
        folder: Folder for temporary files.
    """

    data: str
    table: str | None
    folder: Path


def settings() -> Settings:
    return Settings.from_environment(os.environ)


def read_dataset(job: Job) -> Dataset:
    sources = find_photos([job.data])
    if job.table is None:
        return label_by_folders(sources)
    return label_by_table(sources, Path(job.table).read_text(encoding="utf-8"))


def prepare(
    job: Job, recipe: Recipe, cache: str = "features.sqlite"
) -> tuple[Trainer, TrainingData]:
    store = ModelStore(settings())
    feature_cache = FeatureCache(job.folder / cache)
    trainer = Trainer(get_spec(BACKBONE), recipe, settings(), store, feature_cache)
    inspected = run_to_end(trainer.inspect(read_dataset(job)))
    return trainer, run_to_end(trainer.prepare(inspected))


def features(job: Job) -> float:
    """Returns the seconds to compute the features of one view of each photo, without a cache."""
    memory.prepare_process()  # as every program does
    started_at = time.perf_counter()
    prepare(job, Recipe(views=1), f"{os.getpid()}.sqlite")
    return time.perf_counter() - started_at


def head_epoch(job: Job) -> float:
    """Returns the seconds for an epoch of the head on features."""
    memory.prepare_process()
    trainer, training_data = prepare(job, Recipe(epochs=EPOCHS + 1, learning_rate=1e-3))
    seconds = [0.0]
    run_to_end(trainer.train(training_data), lambda epoch: seconds.append(epoch.seconds))
    return median(np.diff(seconds)[1:])


def keras_epoch(job: Job) -> float:
    """Returns the seconds for an epoch of stock Keras: frozen backbone, photos in memory."""
    import keras

    from vgg_demo.images.photo import open_photo
    from vgg_demo.models.preprocess import Resize
    from vgg_demo.training.augmentation import prepare_view

    trainer, training_data = prepare(job, Recipe())
    spec = trainer.feature_extractor
    pixels = []
    for index in training_data.split.training:
        inspected = training_data.dataset.photos[index]
        image = open_photo(inspected.photo.source.read()).image
        pixels.append(prepare_view(image, spec, Resize.CROP, 0, inspected.sha256))
    feature_extractor = keras.applications.MobileNetV2(
        include_top=False, pooling="avg", input_shape=(224, 224, 3),
        weights=str(find_weights(spec, settings())),
    )  # fmt: skip
    feature_extractor.trainable = False
    model = keras.Sequential([feature_extractor, keras.layers.Dropout(0.2), keras.layers.Dense(10)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss)
    times: list[float] = []

    class Clock(keras.callbacks.Callback):  # type: ignore[misc]
        def on_epoch_end(self, *_: object) -> None:
            times.append(time.perf_counter())

    labels = training_data.labels[list(training_data.split.training)]
    model.fit(
        np.stack(pixels), labels, batch_size=32, epochs=EPOCHS, verbose=0, callbacks=[Clock()]
    )
    return median(np.diff(times))


def keras_first_prediction(_: Job) -> float:
    """Returns the seconds until the first prediction of stock Keras, from the backbone's HDF5."""
    import keras

    spec = backbone_spec(get_spec(BACKBONE))
    batch = np.zeros((1, 224, 224, 3), dtype=np.float32)
    started_at = time.perf_counter()
    feature_extractor = keras.applications.MobileNetV2(
        include_top=False, pooling="avg", input_shape=(224, 224, 3),
        weights=str(find_weights(spec, settings())),
    )  # fmt: skip
    keras.Model(feature_extractor.input, keras.layers.Dense(10)(feature_extractor.output)).predict(
        batch, verbose=0
    )
    return time.perf_counter() - started_at


def vgg_demo_first_prediction(job: Job) -> float:
    """Returns the seconds until the first prediction of VGG Demo, from the bundle."""
    memory.prepare_process()

    import vgg_demo.inference.engine  # noqa: F401  # not measured, like the import of Keras above

    store, spec = ModelStore(settings()), open_bundle(job.folder / BUNDLE).spec
    batch = np.zeros((1, 224, 224, 3), dtype=np.float32)
    started_at = time.perf_counter()
    with store.use(spec) as model:
        model.engine.logits(batch)
    return time.perf_counter() - started_at


def accuracies(job: Job) -> list[float]:
    """Returns the validation accuracy for several splits, and saves the first model."""
    memory.prepare_process()
    values = []
    for seed in range(SEEDS):
        recipe = replace(Recipe(), seed=seed)
        trainer, training_data = prepare(job, recipe)
        head = run_to_end(trainer.train(training_data))
        network = trainer.with_head(training_data, head)
        out = job.folder / (BUNDLE if seed == 0 else f"{seed}.bundle")
        report = trainer.finish(training_data, network, out).validation_report
        values.append(report.evaluation.top1.value)
    return values


BENCHMARKS: dict[str, Callable[[Job], float]] = {
    "features of all photos, one view, once": features,
    "epoch of the head on features": head_epoch,
    "epoch of stock Keras with frozen backbone, photos in memory": keras_epoch,
    "first prediction, stock Keras from the backbone's HDF5": keras_first_prediction,
    "first prediction, VGG Demo from the bundle": vgg_demo_first_prediction,
}


def run_in_process(benchmark: Callable[[Job], object], job: Job) -> object:
    """Runs a benchmark in a separate process."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(benchmark, job).result()


def main() -> None:
    data, table = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as name:
        job = Job(data, table, Path(name))
        values = run_in_process(accuracies, job)
        assert isinstance(values, list)
        print(f"| {BACKBONE} | seconds |\n|---|---|")
        for title, benchmark in BENCHMARKS.items():
            seconds = median(
                run_in_process(benchmark, job)  # type: ignore[type-var]
                for _ in range(ROUNDS)
            )
            print(f"| {title} | {seconds:.3f} |", flush=True)
    listed = ", ".join(f"{value:.1%}" for value in values)
    print(f"\nValidation accuracy, seeds 0 to {SEEDS - 1}: {listed}; mean {mean(values):.1%}")


if __name__ == "__main__":
    main()
