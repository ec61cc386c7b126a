"""Transfer learning from photos to a bundle."""

from __future__ import annotations

import datetime
import platform
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vgg_demo import memory
from vgg_demo.analysis.evaluation import Proportion
from vgg_demo.errors import DatasetError, WeightsMissingError
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.inference.results import Failure
from vgg_demo.models.bundle import (
    MODEL_FILE,
    SCHEMA,
    bundle_name,
    custom_spec,
    open_bundle,
    sha256_of,
    write_bundle,
)
from vgg_demo.models.custom import CustomModel, FeatureLayer, custom_classes
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec, backbone_spec
from vgg_demo.settings import Settings
from vgg_demo.training.augmentation import prepare_view
from vgg_demo.training.dataset import Dataset
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.features import ExtractionProgress, extract
from vgg_demo.training.inspection import InspectedPhoto, inspect_photos
from vgg_demo.training.progress import run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.records import (
    InspectedDataset,
    InspectionProgress,
    TrainedModel,
    TrainedNetwork,
    TrainingData,
    summarize_inspection,
)
from vgg_demo.training.split import split
from vgg_demo.training.validation import LearningCurvePoint, ValidationReport, validate
from vgg_demo.version import __version__
from vgg_demo.weights.local import find_weights

if TYPE_CHECKING:
    from vgg_demo.training.fine_tuning import FineTunedWeights
    from vgg_demo.training.head import FeatureSubset, Head
    from vgg_demo.training.progress import Epoch
    from vgg_demo.training.schedule import RangeTest

LEARNING_CURVE_FRACTIONS = (0.1, 0.25, 0.5)
"""Fractions of the training photos for the learning curve, in addition to all of them."""


class Trainer:
    """Trains custom models on the features of one backbone.

    Args:
        backbone: The pretrained model.
        recipe: Hyperparameters.
        settings: Location of weight files, and limits.
        store: Model store that loads the feature extractor.
        cache: Feature cache.
        feature_layer: Layer of the backbone that provides the features.
        resize: Resize method.

    Raises:
        FeatureLayerError: If the backbone has no such feature layer.
    """

    def __init__(
        self,
        backbone: ModelSpec,
        recipe: Recipe,
        settings: Settings,
        store: ModelStore,
        cache: FeatureCache,
        *,
        feature_layer: FeatureLayer = FeatureLayer.GLOBAL_POOLING,
        resize: Resize = Resize.CROP,
    ) -> None:
        self.backbone = backbone
        self.feature_layer = feature_layer
        self.recipe = recipe
        self._settings = settings
        self._store = store
        self._cache = cache
        self._resize = resize
        self.feature_extractor = choose_feature_extractor(backbone, feature_layer, settings)

    def inspect(self, dataset: Dataset) -> Generator[InspectionProgress, None, InspectedDataset]:
        """Opens all photos and reports possible issues.

        Yields:
            Progress, after each photo.

        Raises:
            DatasetError: If a model cannot be trained on the photos.
        """
        inspected_photos: list[InspectedPhoto] = []
        failures: list[Failure] = []
        total = len(dataset.photos)
        for done, inspected in enumerate(
            inspect_photos(dataset.photos, self._settings.limits), start=1
        ):
            if isinstance(inspected, Failure):
                failures.append(inspected)
            else:
                inspected_photos.append(inspected)
            yield InspectionProgress(done, total)
        return summarize_inspection(inspected_photos, failures, self.feature_extractor.input_size)

    def prepare(
        self, inspected: InspectedDataset
    ) -> Generator[ExtractionProgress, None, TrainingData]:
        """Splits photos into training and validation sets and computes their features.

        Yields:
            Progress, after each batch.

        Raises:
            DatasetError: If no photo can be held out for validation, or a photo has changed since
                the inspection.
            ModelError: If the feature extractor cannot be loaded.
        """
        train_validation_split = split(
            [photo.photo.label for photo in inspected.photos],
            inspected.groups(),
            self.recipe.validation_fraction,
            self.recipe.seed,
        )
        if not train_validation_split.validation:
            raise DatasetError(
                "No photo can be held out for validation: all photos of each class belong to one "
                "group or are near-duplicates. Add photos that were taken independently of these."
            )
        features = yield from extract(
            inspected.photos,
            self.feature_extractor,
            self._store,
            self._cache,
            views=self.recipe.views,
            resize=self._resize,
            limits=self._settings.limits,
        )
        return TrainingData(inspected, inspected.labels, train_validation_split, features)

    def find_learning_rate(self, training_data: TrainingData) -> RangeTest:
        """Runs a learning-rate range test on the training photos."""
        from vgg_demo.training.head import find_learning_rate

        training = training_data.subset(training_data.split.training)
        return find_learning_rate(training, len(training_data.classes), self.recipe)

    def train(
        self, training_data: TrainingData, on_best: Callable[[Head], None] | None = None
    ) -> Generator[Epoch, None, Head]:
        """Trains a head on the features; see `head.train_head`."""
        from vgg_demo.training.head import train_head

        return train_head(
            training_data.subset(training_data.split.training),
            training_data.subset(training_data.split.validation),
            len(training_data.classes),
            self.recipe,
            on_best,
        )

    def learning_curve_points(
        self, training_data: TrainingData, head: Head
    ) -> Generator[LearningCurvePoint, None, None]:
        """Measures the learning curve: trains heads on fractions of the training photos.

        Args:
            training_data: The photos.
            head: The head that was trained on all training photos.

        Yields:
            The points of the learning curve; the last one is that of `head`.
        """
        from vgg_demo.training.head import train_head

        validation = training_data.subset(training_data.split.validation)
        order = np.random.default_rng(self.recipe.seed).permutation(training_data.split.training)
        for fraction in LEARNING_CURVE_FRACTIONS:
            chosen = order[: max(len(training_data.classes), round(fraction * len(order)))]
            training = training_data.subset(chosen.tolist())
            epochs = train_head(training, validation, len(training_data.classes), self.recipe)
            yield _learning_curve_point(len(chosen), run_to_end(epochs), validation)
            memory.release_memory()  # the traced functions are not used again
        yield _learning_curve_point(len(order), head, validation)

    def fine_tune(
        self,
        training_data: TrainingData,
        head: Head,
        on_best: Callable[[FineTunedWeights], None] | None = None,
    ) -> Generator[Epoch, None, TrainedNetwork]:
        """Fine-tunes the last blocks of the backbone together with a head.

        Yields:
            Metrics of each epoch; see `fine_tuning.fine_tune`.

        Returns:
            The network with the lowest validation loss.

        Raises:
            WeightsMissingError: If the backbone's weight file was removed during the training.
        """
        from vgg_demo.training.fine_tuning import PhotoSubset, fine_tune

        network = self._separate_network(training_data, head)

        def load_input(index: int, view: int) -> NDArray[np.float32]:
            inspected = training_data.dataset.photos[index]
            photo = open_photo(
                inspected.photo.source.read(),
                file=inspected.photo.source.name,
                limits=self._settings.limits,
            )
            return prepare_view(
                photo.image, self.feature_extractor, self._resize, view, inspected.sha256
            )

        training, validation = (
            PhotoSubset(indices, training_data.labels[list(indices)])
            for indices in (training_data.split.training, training_data.split.validation)
        )
        fine_tuned = yield from fine_tune(
            network.model, training, validation, load_input, self.recipe, on_best
        )
        return replace(network, logits=fine_tuned.logits)

    def with_fine_tuned(
        self, training_data: TrainingData, head: Head, fine_tuned: FineTunedWeights
    ) -> TrainedNetwork:
        """Assembles a network from a head and the fine-tuned weights of an earlier worker.

        Raises:
            WeightsMissingError: If the backbone's weight file was removed during the training.
        """
        from vgg_demo.training.fine_tuning import apply_weights

        network = self._separate_network(training_data, head)
        apply_weights(network.model, self.recipe.fine_tuned_blocks, fine_tuned)
        return replace(network, logits=fine_tuned.logits)

    def _separate_network(self, training_data: TrainingData, head: Head) -> TrainedNetwork:
        """Assembles a network with layers of its own, because models in the store are read-only."""
        from vgg_demo.inference.engine import load_engine
        from vgg_demo.training.network import assemble

        with self._store.use(self.feature_extractor) as feature_extractor:
            weights = feature_extractor.weights
        path = find_weights(self.feature_extractor, self._settings)
        if path is None:
            raise WeightsMissingError(f"{weights.file} was removed during training. Try again.")
        self._store.evict(self.feature_extractor)  # so that only one copy is in memory
        model = assemble(load_engine(self.feature_extractor, path).model, head)
        features = training_data.features[list(training_data.split.validation), 0]
        return TrainedNetwork(model, head.logits(features), weights)

    def with_head(self, training_data: TrainingData, head: Head) -> TrainedNetwork:
        """Assembles a network from the pretrained backbone and a head."""
        from vgg_demo.training.network import assemble

        features = training_data.features[list(training_data.split.validation), 0]
        with self._store.use(self.feature_extractor) as feature_extractor:
            model = assemble(feature_extractor.engine.model, head)
            return TrainedNetwork(model, head.logits(features), feature_extractor.weights)

    def finish(
        self,
        training_data: TrainingData,
        network: TrainedNetwork,
        folder: Path,
        learning_curve: Sequence[LearningCurvePoint] = (),
    ) -> TrainedModel:
        """Validates a network and writes its bundle.

        Args:
            training_data: The photos.
            network: The trained network.
            folder: Folder of the bundle to create.
            learning_curve: The learning curve, if it was measured.

        Raises:
            BundleError: If `folder` exists.
            FileUnwritableError: If it cannot be written.
        """
        indices = training_data.split.validation
        files = [training_data.dataset.photos[index].photo.source.name for index in indices]
        with tempfile.TemporaryDirectory(prefix=".vgg-demo-", dir=folder.parent) as temporary:
            path = Path(temporary) / MODEL_FILE
            network.model.save(path)
            classes = custom_classes(training_data.classes)
            spec = custom_spec(
                bundle_name(folder),
                CustomModel(folder, self.backbone.name, self.feature_layer, classes, 1.0, 0.0),
                model_sha256=sha256_of(path),
                model_bytes=path.stat().st_size,
            )
            truth = training_data.labels[list(indices)]
            validation_report = validate(spec, network.logits, truth, files, learning_curve)
            record = self._make_record(
                training_data, validation_report, spec, asdict(network.backbone_weights)
            )
            write_bundle(folder, training_data.classes, record, path)
        bundle = open_bundle(folder)
        # The model's name contains a digest of the temperature, which was unknown until now.
        evaluation = replace(validation_report.evaluation, model=bundle.spec.name)
        return TrainedModel(
            bundle, replace(validation_report, evaluation=evaluation), training_data, network.logits
        )

    def _make_record(
        self,
        training_data: TrainingData,
        validation_report: ValidationReport,
        spec: ModelSpec,
        weights: dict[str, Any],
    ) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "backbone": self.backbone.name,
            "feature_layer": self.feature_layer.value,
            "resize": self._resize.value,
            "model_sha256": spec.weights.hash,
            "temperature": validation_report.temperature,
            "unknown_threshold": validation_report.unknown_threshold,
            "backbone_weights": weights,
            "recipe": asdict(self.recipe),
            "data": {
                "photos": len(training_data.labels),
                "training": len(training_data.split.training),
                "validation": len(training_data.split.validation),
                "counts": training_data.dataset.report.counts,
                "fingerprint": training_data.dataset.fingerprint(),
            },
            "metrics": validation_report.to_dict(),
            "versions": {
                "vgg_demo": __version__,
                "keras": version("keras"),
                "python": platform.python_version(),
            },
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }


def _learning_curve_point(photos: int, head: Head, validation: FeatureSubset) -> LearningCurvePoint:
    predictions = head.logits(validation.first_views).argmax(axis=1)
    return LearningCurvePoint(
        photos, Proportion(int((predictions == validation.labels).sum()), len(predictions))
    )


def choose_feature_extractor(
    backbone: ModelSpec, feature_layer: FeatureLayer, settings: Settings
) -> ModelSpec:
    """Returns the truncated backbone, with a locally available weight file if there is one.

    The full model's weight file contains the backbone's weights too; it is used if it is available
    and the backbone's own file is not.

    Raises:
        FeatureLayerError: If the backbone has no such feature layer.
    """
    feature_extractor = backbone_spec(backbone, feature_layer)
    if (
        find_weights(feature_extractor, settings) is None
        and find_weights(backbone, settings) is not None
    ):
        return replace(feature_extractor, weights=backbone.weights)
    return feature_extractor
