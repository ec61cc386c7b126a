"""What it costs to teach a network, and to restore it, beside stock Keras.

    python -m benchmarks.teach DATA [TABLE]

DATA holds photos to learn from, in folders named after what is on them or with a table of
``image,label``. MobileNetV2's weights must be on this machine. Every figure is taken in a process
of its own, the median of three. Prints the table of ``benchmarks/README.md``.
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

from vgg_demo.files.sources import find_photos
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.bundle import open_bundle
from vgg_demo.models.registry import backbone_spec, get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.data import TrainingData
from vgg_demo.training.dataset import Dataset, label_by_folders, label_by_table
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.generators import run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.trainer import Trainer
from vgg_demo.weights.local import find_weights

BACKBONE = "mobilenet_v2"
ROUNDS = 3
SEEDS = 5
EPOCHS = 3
"""Of which the first, in which functions are traced, does not count."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is measured on.

    Attributes:
        data: Folder of photos.
        table: Of their labels; None if their folders say them.
        folder: For what is made on the way.
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
    chosen = settings()
    store = ModelStore(chosen)
    trainer = Trainer(get_spec(BACKBONE), recipe, chosen, store, FeatureCache(job.folder / cache))
    inspected = run_to_end(trainer.check(read_dataset(job)))
    return trainer, run_to_end(trainer.prepare(inspected))


def features(job: Job) -> float:
    """Seconds for a view of each photo, on an empty cache."""
    started = time.perf_counter()
    prepare(job, Recipe(views=1), f"{os.getpid()}.sqlite")
    return time.perf_counter() - started


def head_epoch(job: Job) -> float:
    """Seconds for an epoch of the head, on features."""
    trainer, training_data = prepare(job, Recipe(epochs=EPOCHS + 1, rate=1e-3))
    seconds = [0.0]
    run_to_end(trainer.train(training_data), lambda epoch: seconds.append(epoch.seconds))
    return median(np.diff(seconds)[1:])


def whole_epoch(job: Job) -> float:
    """Seconds for an epoch of stock Keras through the frozen body; the photos are in memory."""
    import keras

    from vgg_demo.images.photo import open_photo
    from vgg_demo.models.preprocess import Resize
    from vgg_demo.training.augmentation import see

    trainer, training_data = prepare(job, Recipe())
    spec = trainer.feature_extractor
    pixels = []
    for place in training_data.split.training:
        inspected_photos = training_data.dataset.photos[place]
        image = open_photo(inspected_photos.photo.source.read()).image
        pixels.append(see(image, spec, Resize.CROP, 0, inspected_photos.sha256))
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


def stock_build(_: Job) -> float:
    """Seconds until stock Keras's first answer, from the backbone's HDF5."""
    import keras

    spec = backbone_spec(get_spec(BACKBONE))
    batch = np.zeros((1, 224, 224, 3), dtype=np.float32)
    started = time.perf_counter()
    feature_extractor = keras.applications.MobileNetV2(
        include_top=False, pooling="avg", input_shape=(224, 224, 3),
        weights=str(find_weights(spec, settings())),
    )  # fmt: skip
    keras.Model(feature_extractor.input, keras.layers.Dense(10)(feature_extractor.output)).predict(
        batch, verbose=0
    )
    return time.perf_counter() - started


def restore(job: Job) -> float:
    """Seconds until our first answer, from the bundle."""
    import vgg_demo.inference.engine  # noqa: F401  # imported before, as Keras is above

    store, spec = ModelStore(settings()), open_bundle(job.folder / "taught.bundle").spec
    batch = np.zeros((1, 224, 224, 3), dtype=np.float32)
    started = time.perf_counter()
    with store.use(spec) as model:
        model.engine.logits(batch)
    return time.perf_counter() - started


def accuracies(job: Job) -> list[float]:
    """Validation accuracy with the default recipe, for some splits; the first is saved."""
    found = []
    for seed in range(SEEDS):
        recipe = replace(Recipe(), seed=seed)
        trainer, training_data = prepare(job, recipe)
        head = run_to_end(trainer.train(training_data))
        network = trainer.with_head(training_data, head)
        out = job.folder / ("taught.bundle" if seed == 0 else f"{seed}.bundle")
        found.append(
            trainer.finish(training_data, network, out).validation_report.evaluation.top1.value
        )
    return found


MEASURED: dict[str, Callable[[Job], float]] = {
    "features of all photos, one view, once": features,
    "an epoch of the head on features": head_epoch,
    "an epoch of stock Keras through the frozen body, photos in memory": whole_epoch,
    "until the first answer, stock Keras from the backbone's HDF5": stock_build,
    "until the first answer, VGG Demo from the bundle": restore,
}


def alone(work: Callable[[Job], object], job: Job) -> object:
    """Runs something in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, job).result()


def main() -> None:
    data, table = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with tempfile.TemporaryDirectory() as name:
        job = Job(data, table, Path(name))
        shares = alone(accuracies, job)
        assert isinstance(shares, list)
        print(f"| {BACKBONE} | seconds |\n|---|---|")
        for words, work in MEASURED.items():
            seconds = median(alone(work, job) for _ in range(ROUNDS))  # type: ignore[type-var]
            print(f"| {words} | {seconds:.3f} |", flush=True)
    listed = ", ".join(f"{share:.1%}" for share in shares)
    print(
        f"\nRight on validation photos, seeds 0 to {SEEDS - 1}: {listed}; mean {mean(shares):.1%}"
    )


if __name__ == "__main__":
    main()
