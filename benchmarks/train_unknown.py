"""Detection of unknown classes: how often a custom model is "not sure".

    python -m benchmarks.train_unknown DATA [TABLE]

DATA contains photos, in class folders or with a table with the columns ``image,label``. The
weights of MobileNetV2 must be installed. Leaves out two random classes, trains a model on the
remaining classes with default settings, and repeats this six times. Prints the proportion of "not
sure" among the photos of the left-out classes and among the held-out photos of the trained classes.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from vgg_demo.analysis.evaluation import Proportion
from vgg_demo.analysis.verdict import interpret
from vgg_demo.files.sources import Source, find_photos
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.classify import classify_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.registry import ModelSpec, get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.dataset import Dataset, label_by_folders, label_by_table
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.progress import run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.trainer import Trainer

BACKBONE = "mobilenet_v2"
REPETITIONS = 6
LEFT_OUT_CLASSES = 2


def main() -> None:
    settings = Settings.from_environment(os.environ)
    sources = find_photos([sys.argv[1]])
    if len(sys.argv) > 2:
        table = Path(sys.argv[2]).read_text(encoding="utf-8")
        dataset = label_by_table(sources, table)
    else:
        dataset = label_by_folders(sources)
    repetitions = [measure(dataset, settings, seed) for seed in range(REPETITIONS)]
    for group, parts in zip(("left-out", "trained"), zip(*repetitions, strict=True), strict=True):
        total = Proportion(sum(part.correct for part in parts), sum(part.count for part in parts))
        print(f"not sure, photos of {group} classes: {total.value:.1%} of {total.count}")


def measure(dataset: Dataset, settings: Settings, seed: int) -> tuple[Proportion, Proportion]:
    """Returns the proportions of "not sure" for left-out and for trained classes."""
    classes = sorted(dataset.counts)
    rng = np.random.default_rng(seed)
    left_out = set(rng.choice(classes, LEFT_OUT_CLASSES, replace=False).tolist())
    known = Dataset(tuple(photo for photo in dataset.photos if photo.label not in left_out))
    unknown = [photo.source for photo in dataset.photos if photo.label in left_out]
    store = ModelStore(settings)
    cache = FeatureCache(settings.features_file)
    trainer = Trainer(get_spec(BACKBONE), Recipe(seed=seed), settings, store, cache)
    training_data = run_to_end(trainer.prepare(run_to_end(trainer.inspect(known))))
    head = run_to_end(trainer.train(training_data))
    held_out = [
        training_data.dataset.photos[index].photo.source for index in training_data.split.validation
    ]
    with tempfile.TemporaryDirectory() as folder:
        network = trainer.with_head(training_data, head)
        spec = trainer.finish(training_data, network, Path(folder) / "x.bundle").bundle.spec
        proportions = (
            count_not_sure(unknown, spec, store),
            count_not_sure(held_out, spec, store),
        )
    names = " and ".join(sorted(left_out))
    print(f"without {names}: {proportions[0].value:.1%} and {proportions[1].value:.1%}")
    return proportions


def count_not_sure(sources: list[Source], spec: ModelSpec, store: ModelStore) -> Proportion:
    """Returns the proportion of photos for which a model is "not sure"."""
    results = [classify_photo(open_photo(source.read()), spec, store) for source in sources]
    return Proportion(sum(interpret(result).is_unknown for result in results), len(results))


if __name__ == "__main__":
    main()
