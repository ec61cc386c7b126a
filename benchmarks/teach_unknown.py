"""How a taught model answers to kinds of things that it was not taught.

    python -m benchmarks.teach_unknown DATA [TABLE]

DATA holds photos, in folders named after what is on them or with a table of ``image,label``.
MobileNetV2's weights must be on this machine. Six times two kinds are left out, chosen by chance,
and the others are taught with default settings. Prints how often it then says that it is not
sure: of the photos of the two kinds, and of those that were kept back of the others.
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
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.registry import ModelSpec, get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.dataset import Dataset, label_by_folders, label_by_table
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.generators import run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.trainer import Trainer

BACKBONE = "mobilenet_v2"
SPLITS = 6
LEFT_OUT = 2  # kinds


def main() -> None:
    settings = Settings.from_environment(os.environ)
    sources = find_photos([sys.argv[1]])
    if len(sys.argv) > 2:
        table = Path(sys.argv[2]).read_text(encoding="utf-8")
        dataset = label_by_table(sources, table)
    else:
        dataset = label_by_folders(sources)
    shares = [split(dataset, settings, seed) for seed in range(SPLITS)]
    for words, parts in zip(("not taught", "taught"), zip(*shares, strict=True), strict=True):
        whole = Proportion(sum(one.right for one in parts), sum(one.count for one in parts))
        print(f"not sure, of photos of kinds that were {words}: {whole.value:.1%} of {whole.count}")


def split(dataset: Dataset, settings: Settings, seed: int) -> tuple[Proportion, Proportion]:
    """Returns how often a model is not sure: of kinds that it was not taught, and of the others."""
    kinds = sorted(dataset.counts)
    unknown = set(np.random.default_rng(seed).choice(kinds, LEFT_OUT, replace=False).tolist())
    taught = Dataset(tuple(one for one in dataset.photos if one.label not in unknown))
    others = [one.source for one in dataset.photos if one.label in unknown]
    store = ModelStore(settings)
    cache = FeatureCache(settings.features_file)
    trainer = Trainer(get_spec(BACKBONE), Recipe(seed=seed), settings, store, cache)
    training_data = run_to_end(trainer.prepare(run_to_end(trainer.check(taught))))
    head = run_to_end(trainer.train(training_data))
    kept_back = [
        training_data.dataset.photos[place].photo.source for place in training_data.split.validation
    ]
    with tempfile.TemporaryDirectory() as folder:
        network = trainer.with_head(training_data, head)
        spec = trainer.finish(training_data, network, Path(folder) / "x.bundle").bundle.spec
        found = unsure(others, spec, store), unsure(kept_back, spec, store)
    print(f"without {' and '.join(sorted(unknown))}: {found[0].value:.1%} and {found[1].value:.1%}")
    return found


def unsure(sources: list[Source], spec: ModelSpec, store: ModelStore) -> Proportion:
    """Returns how many photos a model is not sure of."""
    results = [classify_photo(open_photo(source.read()), spec, store) for source in sources]
    return Proportion(sum(interpret(result).is_unknown for result in results), len(results))


if __name__ == "__main__":
    main()
