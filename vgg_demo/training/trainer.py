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
from vgg_demo.analysis.evaluation import Share
from vgg_demo.errors import DatasetError, WeightsMissingError
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.results import Failure
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.bundle import (
    MODEL,
    bundle_name,
    open_bundle,
    sha256_of,
    taught_spec,
    write_bundle,
)
from vgg_demo.models.custom import Part, Taught, taught_classes
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec, body_of
from vgg_demo.settings import Settings
from vgg_demo.training.augmentation import see
from vgg_demo.training.data import Checked, Checking, Learned, Material, Network, conclude
from vgg_demo.training.dataset import Dataset
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.features import Extraction, extract
from vgg_demo.training.generators import run_through
from vgg_demo.training.inspection import Looked, look_at
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.split import split
from vgg_demo.training.validation import Judgement, Lesson, judge
from vgg_demo.version import __version__
from vgg_demo.weights.local import find_weights

if TYPE_CHECKING:
    from vgg_demo.training.fine_tuning import Tuned
    from vgg_demo.training.head import Examples, Head
    from vgg_demo.training.progress import Epoch
    from vgg_demo.training.schedule import RangeTest

LESSON_SHARES = (0.1, 0.25, 0.5)
"""Parts of the photos that are learned from for the learning curve, besides all."""


class Teacher:
    """Teaches models on the shoulders of one backbone.

    Args:
        backbone: Whose body looks at the photos.
        part: How much of it that is.
        recipe: How models are taught.
        settings: Where weights are.
        store: Where the body is, or will be loaded into.
        cache: Where features are kept.
        policy: How photos are made square.
    """

    def __init__(
        self,
        backbone: ModelSpec,
        recipe: Recipe,
        settings: Settings,
        store: ModelStore,
        cache: FeatureCache,
        *,
        part: Part = Part.BODY,
        policy: Resize = Resize.CROP,
    ) -> None:
        self.backbone = backbone
        self.part = part
        self.recipe = recipe
        self._settings = settings
        self._store = store
        self._cache = cache
        self._policy = policy
        self.body = choose_body(backbone, part, settings)

    def check(self, dataset: Dataset) -> Generator[Checking, None, Checked]:
        """Opens all photos.

        Yields:
            Progress.

        Raises:
            DatasetError: If nothing can be learned from them.
        """
        looked: list[Looked] = []
        failures: list[Failure] = []
        total = len(dataset.photos)
        for done, found in enumerate(look_at(dataset.photos, self._settings.limits), start=1):
            if isinstance(found, Failure):
                failures.append(found)
            else:
                looked.append(found)
            yield Checking(done, total)
        return conclude(looked, failures, self.body.input_size)

    def prepare(self, checked: Checked) -> Generator[Extraction, None, Material]:
        """Splits photos and computes their features.

        Yields:
            Progress.

        Raises:
            ModelError: If the body cannot be had.
        """
        parts = split(
            [one.photo.label for one in checked.looked],
            checked.groups(),
            self.recipe.validation_share,
            self.recipe.seed,
        )
        if not parts.validation:
            raise DatasetError(
                "No photo can be kept back to judge by: all photos of each label belong together, "
                "or look the same. Add photos that are taken apart from these."
            )
        features = yield from extract(
            checked.looked,
            self.body,
            self._store,
            self._cache,
            views=self.recipe.views,
            policy=self._policy,
            limits=self._settings.limits,
        )
        return Material(checked, checked.labels, parts, features)

    def find_rate(self, material: Material) -> RangeTest:
        """Tries learning rates on what is learned from."""
        from vgg_demo.training.head import find_rate

        training = material.examples(material.split.training)
        return find_rate(training, len(material.classes), self.recipe)

    def train(
        self, material: Material, on_best: Callable[[Head], None] | None = None
    ) -> Generator[Epoch, None, Head]:
        """Trains a head. Returns the best; `on_best` is given each that is the best so far."""
        from vgg_demo.training.head import train_head

        return train_head(
            material.examples(material.split.training),
            material.examples(material.split.validation),
            len(material.classes),
            self.recipe,
            on_best,
        )

    def try_fewer(self, material: Material, head: Head) -> Generator[Lesson, None, None]:
        """Trains on parts of the photos, to see whether more would help.

        Args:
            material: The photos.
            head: What learned from all of them.

        Yields:
            A point of the learning curve after the other; the last is the given head.
        """
        from vgg_demo.training.head import train_head

        validation = material.examples(material.split.validation)
        order = np.random.default_rng(self.recipe.seed).permutation(material.split.training)
        for share in LESSON_SHARES:
            chosen = order[: max(len(material.classes), round(share * len(order)))]
            training = material.examples(chosen.tolist())
            run = train_head(training, validation, len(material.classes), self.recipe)
            yield _lesson(len(chosen), run_through(run), validation)
            memory.give_back()  # of what was traced, nothing is used again
        yield _lesson(len(order), head, validation)

    def fine_tune(
        self,
        material: Material,
        head: Head,
        on_best: Callable[[Tuned], None] | None = None,
    ) -> Generator[Epoch, None, Network]:
        """Has the end of the body learn too. Returns the best network.

        Yields:
            An epoch after the other.
        """
        from vgg_demo.training.fine_tuning import Photos, fine_tune

        network = self._own_network(material, head)

        def look(place: int, view: int) -> NDArray[np.float32]:
            looked = material.checked.looked[place]
            name = looked.photo.source.name
            photo = open_photo(looked.photo.source.read(), file=name, limits=self._settings.limits)
            return see(photo.image, self.body, self._policy, view, looked.sha256)

        training, validation = (
            Photos(places, material.labels[list(places)])
            for places in (material.split.training, material.split.validation)
        )
        tuned = yield from fine_tune(
            network.model, training, validation, look, self.recipe, on_best
        )
        return replace(network, logits=tuned.logits)

    def with_tuned(self, material: Material, head: Head, tuned: Tuned) -> Network:
        """Puts together what an earlier `fine_tune` gave to its `on_best`."""
        from vgg_demo.training.fine_tuning import put_in

        network = self._own_network(material, head)
        put_in(network.model, self.recipe.tuned_blocks, tuned)
        return replace(network, logits=tuned.logits)

    def _own_network(self, material: Material, head: Head) -> Network:
        """Returns a network that shares nothing with the store, whose models are not to change."""
        from vgg_demo.inference.engine import load_engine
        from vgg_demo.training.network import assemble

        with self._store.use(self.body) as body:
            weights = body.weights
        path = find_weights(self.body, self._settings)
        if path is None:
            raise WeightsMissingError(f"{weights.file} has gone while it was used. Try again.")
        self._store.let_go(self.body)  # before there are two of it
        model = assemble(load_engine(self.body, path).model, head)
        features = material.features[list(material.split.validation), 0]
        return Network(model, head.logits(features), weights)

    def with_head(self, material: Material, head: Head) -> Network:
        """Puts a head on the body."""
        from vgg_demo.training.network import assemble

        features = material.features[list(material.split.validation), 0]
        with self._store.use(self.body) as body:
            model = assemble(body.engine.model, head)
            return Network(model, head.logits(features), body.weights)

    def finish(
        self, material: Material, network: Network, folder: Path, lessons: Sequence[Lesson] = ()
    ) -> Learned:
        """Judges a network and writes the bundle.

        Raises:
            BundleError: If there is something at that place.
            FileUnwritableError: If it cannot be written.
        """
        places = material.split.validation
        files = [material.checked.looked[place].photo.source.name for place in places]
        with tempfile.TemporaryDirectory(prefix=".vgg-demo-", dir=folder.parent) as temporary:
            path = Path(temporary) / MODEL
            network.model.save(path)
            classes = taught_classes(material.classes)
            spec = taught_spec(
                bundle_name(folder),
                Taught(folder, self.backbone.name, self.part, classes, 1.0, 0.0),
                model_sha256=sha256_of(path),
                model_bytes=path.stat().st_size,
            )
            truth = material.labels[list(places)]
            judgement = judge(spec, network.logits, truth, files, lessons)
            record = self._record(material, judgement, spec, asdict(network.body_weights))
            write_bundle(folder, material.classes, record, path)
        bundle = open_bundle(folder)
        # Its name says its temperature too, which was not known before.
        evaluation = replace(judgement.evaluation, model=bundle.spec.name)
        return Learned(bundle, replace(judgement, evaluation=evaluation), material, network.logits)

    def _record(
        self, material: Material, judgement: Judgement, spec: ModelSpec, weights: dict[str, Any]
    ) -> dict[str, Any]:
        return {
            "schema": 1,
            "backbone": self.backbone.name,
            "part": self.part.value,
            "resize": self._policy.value,
            "model_sha256": spec.weights.hash,
            "temperature": judgement.temperature,
            "unknown_below": judgement.unknown_below,
            "backbone_weights": weights,
            "recipe": asdict(self.recipe),
            "data": {
                "photos": len(material.labels),
                "training": len(material.split.training),
                "validation": len(material.split.validation),
                "counts": material.checked.report.counts,
                "fingerprint": material.checked.fingerprint(),
            },
            "metrics": judgement.to_dict(),
            "versions": {
                "vgg_demo": __version__,
                "keras": version("keras"),
                "python": platform.python_version(),
            },
            "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }


def _lesson(photos: int, head: Head, validation: Examples) -> Lesson:
    answers = head.logits(validation.first_views).argmax(axis=1)
    return Lesson(photos, Share(int((answers == validation.labels).sum()), len(answers)))


def choose_body(backbone: ModelSpec, part: Part, settings: Settings) -> ModelSpec:
    """Returns what looks at photos, with a weight file that is here, if one is.

    The body's numbers stand in the whole model's file too, at its beginning.
    """
    body = body_of(backbone, part)
    if find_weights(body, settings) is None and find_weights(backbone, settings) is not None:
        return replace(body, weights=backbone.weights)
    return body
