"""What several commands of `teach` begin with: the photos, and who learns from them."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from vgg_demo.cli.console import log, prepare_model, quiet_libraries
from vgg_demo.cli.options import read_settings, read_text
from vgg_demo.cli.progress import is_terminal
from vgg_demo.cli.train.report import log_inspection_report, named
from vgg_demo.files.sources import find_photos
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.custom import FeatureLayer
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.data import InspectedDataset, InspectionProgress, TrainingData
from vgg_demo.training.dataset import (
    Columns,
    Dataset,
    drop_rare_labels,
    label_by_folders,
    label_by_table,
)
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.generators import run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.trainer import Trainer


def open_trainer(options: dict[str, Any]) -> tuple[Trainer, Dataset]:
    settings = read_settings(options["weights_dir"])
    dataset = read_dataset(options, settings)
    recipe = Recipe(
        views=options["views"],
        epochs=options["epochs"],
        rate=options["rate"],
        dropout=options["dropout"],
        label_smoothing=options["label_smoothing"],
        mixup=options["mixup"],
        balance=options["balance"],
        validation_share=options["validation"],
        tuning_epochs=options.get("tuning_epochs", 0),
        seed=options["seed"],
    )
    store, cache = ModelStore(settings), FeatureCache(settings.features_file)
    cache.shrink()
    trainer = Trainer(
        get_spec(options["backbone"]),
        recipe,
        settings,
        store,
        cache,
        feature_layer=FeatureLayer(options["feature_layer"]),
    )
    prepare_model(trainer.feature_extractor, store, settings)
    return trainer, dataset


def read_dataset(options: dict[str, Any], settings: Settings) -> Dataset:
    sources = find_photos(options["data"], settings.limits)
    if options["table"] is None:
        dataset = label_by_folders(sources)
    else:
        columns = Columns(options["image_column"], options["label_column"], options["group_column"])
        dataset = label_by_table(sources, read_text(options["table"]), columns)
    dataset = drop_rare_labels(dataset, options.get("fewest", 1))
    if dataset.unlabeled:
        log(f"{len(dataset.unlabeled):,} photos have no label: {named(dataset.unlabeled)}")
    if dataset.missing:
        log(f"{len(dataset.missing):,} rows of the table have no photo: {named(dataset.missing)}")
    if dataset.dropped:
        dropped = [f"{label} ({count})" for label, count in dataset.dropped.items()]
        log(f"Dropped, with too few photos: {named(dropped)}")
    return dataset


def check_photos(trainer: Trainer, dataset: Dataset) -> InspectedDataset:
    with _bar("Looking at photos", len(dataset.photos)) as bar, quiet_libraries():

        def update(progress: InspectionProgress) -> None:
            bar.update(progress.done - bar.n)

        inspected = run_to_end(trainer.check(dataset), update)
    for failure in inspected.failures:
        log(f"{failure.file}: {failure.message}")
    log_inspection_report(inspected)
    return inspected


def prepare_training_data(trainer: Trainer, inspected: InspectedDataset) -> TrainingData:
    with _bar(f"{trainer.backbone.keras_name} looks", None) as bar, quiet_libraries():

        def update(progress: Any) -> None:
            bar.total = progress.total
            bar.update(progress.done - bar.n)

        return run_to_end(trainer.prepare(inspected), update)


def _bar(words: str, total: int | None) -> Any:
    return tqdm(
        total=total, desc=words, unit=" views", disable=not is_terminal(), dynamic_ncols=True
    )
