"""Reading and preparation of photos, shared by `train`, `find-lr` and `bundle evaluate`."""

from __future__ import annotations

from typing import Any

from tqdm import tqdm

from vgg_demo.cli.console import log, log_failure, pluralize, prepare_model, quiet_libraries
from vgg_demo.cli.options import read_settings, read_text
from vgg_demo.cli.progress import is_terminal
from vgg_demo.cli.train.report import abbreviate, log_inspection_report
from vgg_demo.files.sources import find_photos
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.custom import FeatureLayer
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.dataset import (
    Columns,
    Dataset,
    drop_rare_labels,
    label_by_folders,
    label_by_table,
)
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.features import ExtractionProgress
from vgg_demo.training.progress import run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.records import InspectedDataset, InspectionProgress, TrainingData
from vgg_demo.training.trainer import Trainer


def open_trainer(options: dict[str, Any]) -> tuple[Trainer, Dataset]:
    """Returns a trainer and a dataset for the options of a command.

    Downloads the weights of the feature extractor if they are missing.
    """
    settings = read_settings(options["weights_dir"])
    dataset = read_dataset(options, settings)
    recipe = Recipe(
        views=options["views"],
        epochs=options["epochs"],
        learning_rate=options["learning_rate"],
        dropout=options["dropout"],
        label_smoothing=options["label_smoothing"],
        mixup=options["mixup"],
        class_weights=options["class_weights"],
        validation_fraction=options["validation_fraction"],
        fine_tuning_epochs=options.get("fine_tuning_epochs", 0),
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
    """Returns the labeled photos; logs skipped photos and rows, and dropped classes."""
    sources = find_photos(options["data"], settings.limits)
    if options["table"] is None:
        dataset = label_by_folders(sources)
    else:
        columns = Columns(options["image_column"], options["label_column"], options["group_column"])
        dataset = label_by_table(sources, read_text(options["table"]), columns)
    dataset = drop_rare_labels(dataset, options.get("min_photos", 1))
    if dataset.unlabeled:
        photos = pluralize(len(dataset.unlabeled), "photo")
        log(f"Skipped {photos} without a label: {abbreviate(dataset.unlabeled)}")
    if dataset.missing:
        rows = pluralize(len(dataset.missing), "row")
        log(f"Skipped {rows} of the label table without a photo: {abbreviate(dataset.missing)}")
    if dataset.dropped:
        dropped = [f"{label} ({count})" for label, count in dataset.dropped.items()]
        log(f"Excluded classes with too few photos: {abbreviate(dropped)}")
    return dataset


def inspect_dataset(trainer: Trainer, dataset: Dataset) -> InspectedDataset:
    """Inspects the photos; logs failures and possible issues."""
    total = len(dataset.photos)
    with _progress_bar("Inspecting photos", " photos", total) as bar, quiet_libraries():

        def update(progress: InspectionProgress) -> None:
            bar.update(progress.done - bar.n)

        inspected = run_to_end(trainer.inspect(dataset), update)
    for failure in inspected.failures:
        log_failure(failure.file, failure.message)
    log_inspection_report(inspected)
    return inspected


def prepare_training_data(trainer: Trainer, inspected: InspectedDataset) -> TrainingData:
    """Splits the photos and extracts their features, with a progress bar."""
    title = f"Extracting features with {trainer.backbone.keras_name}"
    with _progress_bar(title, " views", None) as bar, quiet_libraries():

        def update(progress: ExtractionProgress) -> None:
            bar.total = progress.total
            bar.update(progress.done - bar.n)

        return run_to_end(trainer.prepare(inspected), update)


def _progress_bar(title: str, unit: str, total: int | None) -> Any:
    return tqdm(total=total, desc=title, unit=unit, disable=not is_terminal(), dynamic_ncols=True)
