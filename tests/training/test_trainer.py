"""Feature extraction, training of the head, and the unknown threshold."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vgg_demo.errors import VggDemoError
from vgg_demo.files.sources import find_photos
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.preprocess import Resize, prepare
from vgg_demo.models.registry import backbone_spec, get_spec
from vgg_demo.training.augmentation import augment
from vgg_demo.training.dataset import label_by_folders
from vgg_demo.training.feature_cache import FeatureCache, feature_key
from vgg_demo.training.features import ViewFeatures, extract
from vgg_demo.training.head import FeatureSubset, Head, find_learning_rate, train_head
from vgg_demo.training.inspection import InspectedPhoto, inspect_photos
from vgg_demo.training.progress import Epoch, run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.validation import choose_threshold, evaluate_thresholds

GLOBAL_POOLING = backbone_spec(get_spec("mini_vgg"))


@pytest.fixture(scope="session")
def inspected_photos(crops: Path) -> list[InspectedPhoto]:
    dataset = label_by_folders(find_photos([str(crops)]))
    return [photo for photo in inspect_photos(dataset.photos) if isinstance(photo, InspectedPhoto)]


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "below" / "features.sqlite")


def compute(
    inspected_photos: list[InspectedPhoto], store: ModelStore, cache: FeatureCache, views: int
) -> tuple[ViewFeatures, list]:
    progress: list = []
    return run_to_end(
        extract(inspected_photos, GLOBAL_POOLING, store, cache, views=views), progress.append
    ), progress


def test_features_equal_the_output_of_the_feature_extractor(
    inspected_photos: list[InspectedPhoto], store: ModelStore, cache: FeatureCache, crops: Path
) -> None:
    features, progress = compute(inspected_photos, store, cache, 2)
    assert features.shape == (48, 2, 256)
    first, last = progress[0], progress[-1]
    assert (first.done, last.done, last.total, last.cached) == (0, 96, 96, 0)
    from vgg_demo.images.photo import open_photo

    image = open_photo((crops / "cat" / "00.jpg").read_bytes()).image
    batch = np.concatenate([prepare(image, GLOBAL_POOLING), prepare(image, GLOBAL_POOLING)])
    with store.use(GLOBAL_POOLING) as model:
        assert np.array_equal(model.engine.logits(batch)[0], features[0, 0])
    assert not np.array_equal(features[0, 0], features[0, 1])


def test_cached_features_are_not_computed_again(
    inspected_photos: list[InspectedPhoto], store: ModelStore, cache: FeatureCache
) -> None:
    first, _ = compute(inspected_photos[:10], store, cache, 1)
    again, progress = compute(inspected_photos[:10], store, cache, 1)
    assert np.array_equal(first, again)
    assert [(step.done, step.cached) for step in progress] == [(10, 10)]
    more, progress = compute(inspected_photos[:12], store, cache, 2)
    assert (progress[-1].done, progress[-1].cached) == (24, 10)
    assert np.array_equal(more[:10, 0], first[:, 0])


def test_features_do_not_depend_on_the_batch(
    inspected_photos: list[InspectedPhoto], store: ModelStore, cache: FeatureCache
) -> None:
    together, _ = compute(inspected_photos[:5], store, cache, 3)
    alone, _ = compute(inspected_photos[4:5], store, FeatureCache(None), 3)
    assert np.array_equal(together[4], alone[0])


def test_a_canceled_extraction_keeps_the_computed_features(
    inspected_photos: list[InspectedPhoto], store: ModelStore, cache: FeatureCache
) -> None:
    generator = extract(inspected_photos, GLOBAL_POOLING, store, cache)
    next(generator)
    done = next(generator).done
    generator.close()
    _, progress = compute(inspected_photos, store, cache, 1)
    assert progress[0].cached == done > 0


def test_a_removed_photo_is_an_error(
    store: ModelStore, cache: FeatureCache, tmp_path: Path
) -> None:
    path = tmp_path / "x" / "1.jpg"
    path.parent.mkdir()
    from vgg_demo.images.examples import load_examples

    path.write_bytes(load_examples()[0].read())
    (inspected,) = inspect_photos(label_by_folders(find_photos([str(tmp_path / "x")])).photos)
    path.unlink()
    with pytest.raises(VggDemoError, match="No such file"):
        compute([inspected], store, cache, 1)


def test_the_cache_evicts_the_least_recently_used_features(cache: FeatureCache) -> None:
    keys = [feature_key(str(number), "", "", "crop", 0) for number in range(10)]
    cache.put({key: np.full(100, 1.5, dtype=np.float32) for key in keys})
    cache._database.execute("UPDATE features SET used = used - 9 WHERE key != ?", (keys[3],))
    cache.shrink(450)
    assert [features is not None for features in cache.get(keys)] == [n == 3 for n in range(10)]
    assert len(set(keys)) == 10


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_a_damaged_cache_does_not_prevent_extraction(
    content: bytes, inspected_photos: list[InspectedPhoto], store: ModelStore, tmp_path: Path
) -> None:
    path = tmp_path / "features.sqlite"
    path.write_bytes(content)
    for _ in range(2):
        features, _ = compute(inspected_photos[:3], store, FeatureCache(path), 1)
        assert features.shape == (3, 1, 256)


def test_a_closed_cache_does_not_prevent_extraction(
    inspected_photos: list[InspectedPhoto], store: ModelStore, cache: FeatureCache
) -> None:
    cache.close()
    with pytest.raises(sqlite3.ProgrammingError):
        cache._database.execute("SELECT 1")
    features, _ = compute(inspected_photos[:3], store, cache, 1)
    assert features.shape == (3, 1, 256)
    cache.shrink()


def test_a_cache_without_a_writable_path_stays_in_memory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = FeatureCache(tmp_path / "file" / "features.sqlite")
    cache.put({b"x": np.ones(3, dtype=np.float32)})
    assert cache.get([b"x", b"y"])[1] is None


def test_a_photo_changed_since_the_inspection_is_an_error(
    crops: Path, store: ModelStore, cache: FeatureCache, tmp_path: Path
) -> None:
    path = tmp_path / "cat" / "1.jpg"
    path.parent.mkdir()
    path.write_bytes((crops / "cat" / "00.jpg").read_bytes())
    (inspected,) = inspect_photos(label_by_folders(find_photos([str(path)])).photos)
    path.write_bytes((crops / "rocket" / "00.jpg").read_bytes())
    with pytest.raises(VggDemoError, match="was changed"):
        compute([inspected], store, cache, 1)


def test_augmented_views_are_different_and_deterministic(photos: dict[str, bytes]) -> None:
    from vgg_demo.images.photo import open_photo

    photo, spec = open_photo(photos["cat"]), get_spec("mobilenet_v2")
    views = [augment(photo.image, spec, Resize.CROP, view, photo.sha256) for view in range(6)]
    assert {view.size for view in views} == {(224, 224)}
    assert len({view.tobytes() for view in views}) == 6
    assert np.array_equal(np.asarray(views[1]), np.asarray(views[0])[:, ::-1])
    again = augment(photo.image, spec, Resize.CROP, 4, photo.sha256)
    assert again.tobytes() == views[4].tobytes()
    other = augment(photo.image, spec, Resize.CROP, 4, "0" * 64)
    assert other.tobytes() != views[4].tobytes()


def clouds(seed: int = 0, photos: int = 200, *, distance: float = 3.0) -> FeatureSubset:
    """Returns features of three classes: Gaussian clouds around three points."""
    rng = np.random.default_rng(seed)
    labels = np.arange(photos) % 3
    centers = distance * np.eye(3, 8)
    features = centers[labels][:, None] + rng.normal(size=(photos, 2, 8)) + 5
    return FeatureSubset(features.astype(np.float32), labels, np.arange(photos))


RECIPE = Recipe(epochs=12, l2=0.01)


def train(recipe: Recipe, training: FeatureSubset | None = None) -> tuple[Head, list[Epoch]]:
    epochs: list[Epoch] = []
    generator = train_head(training or clouds(), clouds(1), 3, recipe)
    return run_to_end(generator, epochs.append), epochs


def test_a_head_separates_three_classes() -> None:
    head, epochs = train(RECIPE)
    assert [epoch.number for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert max(epoch.validation_accuracy for epoch in epochs) > 0.95
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    assert [epoch.number for epoch in epochs if epoch.is_best][-1] == best.number
    validation = clouds(1)
    predictions = head.logits(validation.first_views).argmax(axis=1)
    assert np.mean(predictions == validation.labels) == best.validation_accuracy


def test_the_same_seed_gives_the_same_head() -> None:
    recipe = replace(RECIPE, dropout=0.3, mixup=0.4, label_smoothing=0.1)
    (first, epochs), (second, again) = train(recipe), train(recipe)
    assert np.array_equal(first.kernel, second.kernel)
    assert [epoch.validation_loss for epoch in epochs] == [epoch.validation_loss for epoch in again]
    other, _ = train(replace(recipe, seed=1))
    assert not np.array_equal(first.kernel, other.kernel)


def test_early_stopping_ends_the_training() -> None:
    _, epochs = train(replace(RECIPE, learning_rate=0.05, epochs=200, patience=4))
    assert len(epochs) < 200
    assert [epoch.is_best for epoch in epochs[-5:]] == [True, False, False, False, False]


def test_an_interrupt_returns_the_best_head_so_far() -> None:
    epochs: list[Epoch] = []

    def stop_after_three(epoch: Epoch) -> None:
        epochs.append(epoch)
        if epoch.number == 3:
            raise KeyboardInterrupt

    head = run_to_end(train_head(clouds(), clouds(1), 3, RECIPE), stop_after_three)
    assert len(epochs) == 3
    validation = clouds(1)
    predictions = head.logits(validation.first_views).argmax(axis=1)
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    assert np.mean(predictions == validation.labels) == best.validation_accuracy


def test_an_interrupt_within_an_epoch_returns_the_best_head_so_far(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vgg_demo.training.head import _HeadTrainer

    steps, step = [], _HeadTrainer.step

    def interrupted(self: _HeadTrainer, *arguments: object) -> float:
        steps.append(1)
        if len(steps) == 20:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(_HeadTrainer, "step", interrupted)
    head, epochs = train(replace(RECIPE, learning_rate=0.01))
    assert len(epochs) == 2  # of 7 steps each
    assert np.isfinite(head.kernel).all()


def test_class_weights_increase_predictions_of_a_rare_class() -> None:
    """In overlapping clouds, an unweighted rare class is hardly ever predicted."""
    features = clouds(photos=600, distance=1.0)
    chosen = np.flatnonzero((features.labels > 0) | (np.arange(600) % 30 == 0))
    training = replace(features, indices=chosen)
    rare_predictions = {}
    for class_weights in (False, True):
        head, _ = train(replace(RECIPE, class_weights=class_weights), training)
        predictions = head.logits(clouds(2).first_views).argmax(axis=1)
        rare_predictions[class_weights] = int((predictions == 0).sum())
    assert rare_predictions[True] > 1.3 * rare_predictions[False]


def test_momentum_takes_effect_at_every_step() -> None:
    """Keras reads a constant momentum only once, when it traces the training step."""
    from vgg_demo.training.head import _HeadTrainer
    from vgg_demo.training.schedule import ScheduleStep

    kernels = {}
    for momentum in (0.0, 0.99):
        trainer = _HeadTrainer(clouds(), 3, replace(RECIPE, dropout=0.0))
        for count, batch in enumerate(trainer.batches(np.random.default_rng(0))):
            trainer.step(*batch, ScheduleStep(0.01, 0.9 if count < 3 else momentum))
        kernels[momentum] = trainer.head().kernel
    assert not np.allclose(kernels[0.0], kernels[0.99])


def test_the_range_test_finds_a_useful_learning_rate() -> None:
    range_test = find_learning_rate(clouds(), 3, RECIPE)
    assert 1e-4 < range_test.steepest < 1
    assert 1e-4 < range_test.suggestion < 1
    assert range_test.losses[0] > range_test.losses.min()


def test_a_constant_feature_gives_finite_weights() -> None:
    training = clouds()
    training.all_features[:, :, 0] = 7
    head, _ = train(RECIPE, training)
    assert np.isfinite(head.kernel).all()


def test_thresholds_trade_coverage_for_accuracy() -> None:
    probability = np.array([0.2, 0.3, 0.5, 0.6, 0.9])
    is_correct = np.array([False, False, True, True, True])
    assert choose_threshold(probability, is_correct) == 0.5
    assert choose_threshold(probability, np.ones(5, dtype=bool)) == 0
    assert choose_threshold(probability, np.zeros(5, dtype=bool)) == 0.9
    thresholds = {
        point.probability: point for point in evaluate_thresholds(probability, is_correct)
    }
    assert (thresholds[0.0].coverage, thresholds[0.0].accuracy) == (1.0, 0.6)
    assert (thresholds[0.4].coverage, thresholds[0.4].accuracy) == (0.6, 1.0)
    assert (thresholds[0.99].coverage, thresholds[0.99].accuracy) == (0.0, 1.0)
