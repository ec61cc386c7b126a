"""Teaching from beginning to end: photos in, a bundle out."""

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
from vgg_demo.inference.results import Failure
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.bundle import (
    MODEL,
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
from vgg_demo.training.augmentation import see
from vgg_demo.training.data import (
    InspectedDataset,
    InspectionProgress,
    TrainedModel,
    TrainedNetwork,
    TrainingData,
    summarize_inspection,
)
from vgg_demo.training.dataset import Dataset
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.features import Extraction, extract
from vgg_demo.training.generators import run_to_end
from vgg_demo.training.inspection import InspectedPhoto, inspect_photos
from vgg_demo.training.recipe import Recipe
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
"""Parts of the photos that are learned from for the learning curve, besides all."""


class Trainer:
    """Teaches models on the shoulders of one backbone.

    Args:
        backbone: Whose body looks at the photos.
        feature_layer: How much of it that is.
        recipe: How models are taught.
        settings: Where weights are.
        store: Where the body is, or will be loaded into.
        cache: Where features are kept.
        resize: How photos are made square.
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

    def check(self, dataset: Dataset) -> Generator[InspectionProgress, None, InspectedDataset]:
        """Opens all photos.

        Yields:
            Progress.

        Raises:
            DatasetError: If nothing can be learned from them.
        """
        inspected_photos: list[InspectedPhoto] = []
        failures: list[Failure] = []
        total = len(dataset.photos)
        for done, found in enumerate(
            inspect_photos(dataset.photos, self._settings.limits), start=1
        ):
            if isinstance(found, Failure):
                failures.append(found)
            else:
                inspected_photos.append(found)
            yield InspectionProgress(done, total)
        return summarize_inspection(inspected_photos, failures, self.feature_extractor.input_size)

    def prepare(self, inspected: InspectedDataset) -> Generator[Extraction, None, TrainingData]:
        """Splits photos and computes their features.

        Yields:
            Progress.

        Raises:
            ModelError: If the body cannot be had.
        """
        parts = split(
            [one.photo.label for one in inspected.photos],
            inspected.groups(),
            self.recipe.validation_share,
            self.recipe.seed,
        )
        if not parts.validation:
            raise DatasetError(
                "No photo can be kept back to judge by: all photos of each label belong together, "
                "or look the same. Add photos that are taken apart from these."
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
        return TrainingData(inspected, inspected.labels, parts, features)

    def find_rate(self, training_data: TrainingData) -> RangeTest:
        """Tries learning rates on what is learned from."""
        from vgg_demo.training.head import find_rate

        training = training_data.subset(training_data.split.training)
        return find_rate(training, len(training_data.classes), self.recipe)

    def train(
        self, training_data: TrainingData, on_best: Callable[[Head], None] | None = None
    ) -> Generator[Epoch, None, Head]:
        """Trains a head. Returns the best; `on_best` is given each that is the best so far."""
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
        """Trains on parts of the photos, to see whether more would help.

        Args:
            training_data: The photos.
            head: What learned from all of them.

        Yields:
            A point of the learning curve after the other; the last is the given head.
        """
        from vgg_demo.training.head import train_head

        validation = training_data.subset(training_data.split.validation)
        order = np.random.default_rng(self.recipe.seed).permutation(training_data.split.training)
        for share in LEARNING_CURVE_FRACTIONS:
            chosen = order[: max(len(training_data.classes), round(share * len(order)))]
            training = training_data.subset(chosen.tolist())
            run = train_head(training, validation, len(training_data.classes), self.recipe)
            yield _learning_curve_point(len(chosen), run_to_end(run), validation)
            memory.give_back()  # of what was traced, nothing is used again
        yield _learning_curve_point(len(order), head, validation)

    def fine_tune(
        self,
        training_data: TrainingData,
        head: Head,
        on_best: Callable[[FineTunedWeights], None] | None = None,
    ) -> Generator[Epoch, None, TrainedNetwork]:
        """Has the end of the body learn too. Returns the best network.

        Yields:
            An epoch after the other.
        """
        from vgg_demo.training.fine_tuning import PhotoSubset, fine_tune

        network = self._own_network(training_data, head)

        def look(place: int, view: int) -> NDArray[np.float32]:
            inspected_photos = training_data.dataset.photos[place]
            name = inspected_photos.photo.source.name
            photo = open_photo(
                inspected_photos.photo.source.read(), file=name, limits=self._settings.limits
            )
            return see(
                photo.image, self.feature_extractor, self._resize, view, inspected_photos.sha256
            )

        training, validation = (
            PhotoSubset(places, training_data.labels[list(places)])
            for places in (training_data.split.training, training_data.split.validation)
        )
        tuned = yield from fine_tune(
            network.model, training, validation, look, self.recipe, on_best
        )
        return replace(network, logits=tuned.logits)

    def with_fine_tuned(
        self, training_data: TrainingData, head: Head, tuned: FineTunedWeights
    ) -> TrainedNetwork:
        """Puts together what an earlier `fine_tune` gave to its `on_best`."""
        from vgg_demo.training.fine_tuning import apply_weights

        network = self._own_network(training_data, head)
        apply_weights(network.model, self.recipe.tuned_blocks, tuned)
        return replace(network, logits=tuned.logits)

    def _own_network(self, training_data: TrainingData, head: Head) -> TrainedNetwork:
        """Returns a network that shares nothing with the store, whose models are not to change."""
        from vgg_demo.inference.engine import load_engine
        from vgg_demo.training.network import assemble

        with self._store.use(self.feature_extractor) as feature_extractor:
            weights = feature_extractor.weights
        path = find_weights(self.feature_extractor, self._settings)
        if path is None:
            raise WeightsMissingError(f"{weights.file} has gone while it was used. Try again.")
        self._store.evict(self.feature_extractor)  # before there are two of it
        model = assemble(load_engine(self.feature_extractor, path).model, head)
        features = training_data.features[list(training_data.split.validation), 0]
        return TrainedNetwork(model, head.logits(features), weights)

    def with_head(self, training_data: TrainingData, head: Head) -> TrainedNetwork:
        """Puts a head on the body."""
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
        """Judges a network and writes the bundle.

        Raises:
            BundleError: If there is something at that place.
            FileUnwritableError: If it cannot be written.
        """
        places = training_data.split.validation
        files = [training_data.dataset.photos[place].photo.source.name for place in places]
        with tempfile.TemporaryDirectory(prefix=".vgg-demo-", dir=folder.parent) as temporary:
            path = Path(temporary) / MODEL
            network.model.save(path)
            classes = custom_classes(training_data.classes)
            spec = custom_spec(
                bundle_name(folder),
                CustomModel(folder, self.backbone.name, self.feature_layer, classes, 1.0, 0.0),
                model_sha256=sha256_of(path),
                model_bytes=path.stat().st_size,
            )
            truth = training_data.labels[list(places)]
            validation_report = validate(spec, network.logits, truth, files, learning_curve)
            record = self._record(
                training_data, validation_report, spec, asdict(network.body_weights)
            )
            write_bundle(folder, training_data.classes, record, path)
        bundle = open_bundle(folder)
        # Its name says its temperature too, which was not known before.
        evaluation = replace(validation_report.evaluation, model=bundle.spec.name)
        return TrainedModel(
            bundle, replace(validation_report, evaluation=evaluation), training_data, network.logits
        )

    def _record(
        self,
        training_data: TrainingData,
        validation_report: ValidationReport,
        spec: ModelSpec,
        weights: dict[str, Any],
    ) -> dict[str, Any]:
        return {
            "schema": 1,
            "backbone": self.backbone.name,
            "feature_layer": self.feature_layer.value,
            "resize": self._resize.value,
            "model_sha256": spec.weights.hash,
            "temperature": validation_report.temperature,
            "unknown_below": validation_report.unknown_below,
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
    answers = head.logits(validation.first_views).argmax(axis=1)
    return LearningCurvePoint(
        photos, Proportion(int((answers == validation.labels).sum()), len(answers))
    )


def choose_feature_extractor(
    backbone: ModelSpec, feature_layer: FeatureLayer, settings: Settings
) -> ModelSpec:
    """Returns what looks at photos, with a weight file that is here, if one is.

    The body's numbers stand in the whole model's file too, at its beginning.
    """
    feature_extractor = backbone_spec(backbone, feature_layer)
    if (
        find_weights(feature_extractor, settings) is None
        and find_weights(backbone, settings) is not None
    ):
        return replace(feature_extractor, weights=backbone.weights)
    return feature_extractor
