"""Features, heads and what they are judged by."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vgg_demo.errors import VggDemoError
from vgg_demo.files.sources import find_photos
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.preprocess import Resize, prepare
from vgg_demo.models.registry import backbone_spec, get_spec
from vgg_demo.training.augmentation import augmented
from vgg_demo.training.dataset import label_by_folders
from vgg_demo.training.feature_cache import FeatureCache, feature_key
from vgg_demo.training.features import Views, extract
from vgg_demo.training.generators import run_to_end
from vgg_demo.training.head import FeatureSubset, Head, find_rate, train_head
from vgg_demo.training.inspection import InspectedPhoto, inspect_photos
from vgg_demo.training.progress import Epoch
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.validation import choose_threshold, curve

GLOBAL_POOLING = backbone_spec(get_spec("mini_vgg"))


@pytest.fixture(scope="session")
def inspected_photos(pieces: Path) -> list[InspectedPhoto]:
    dataset = label_by_folders(find_photos([str(pieces)]))
    return [one for one in inspect_photos(dataset.photos) if isinstance(one, InspectedPhoto)]


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "below" / "features.sqlite")


def compute(
    inspected_photos: list[InspectedPhoto], store: ModelStore, cache: FeatureCache, views: int
) -> tuple[Views, list]:
    seen: list = []
    return run_to_end(
        extract(inspected_photos, GLOBAL_POOLING, store, cache, views=views), seen.append
    ), seen


def test_features_are_what_the_body_says(
    inspected_photos: list[InspectedPhoto], store: ModelStore, cache: FeatureCache, pieces: Path
) -> None:
    features, seen = compute(inspected_photos, store, cache, 2)
    assert features.shape == (48, 2, 256)
    assert (seen[0].done, seen[-1].done, seen[-1].total, seen[-1].cached) == (0, 96, 96, 0)
    from vgg_demo.images.photo import open_photo

    image = open_photo((pieces / "cat" / "00.jpg").read_bytes()).image
    batch = np.concatenate([prepare(image, GLOBAL_POOLING), prepare(image, GLOBAL_POOLING)])
    with store.use(GLOBAL_POOLING) as model:
        assert np.array_equal(model.engine.logits(batch)[0], features[0, 0])
    assert not np.array_equal(features[0, 0], features[0, 1])


def test_features_are_computed_once(
    inspected_photos: list[InspectedPhoto], store: ModelStore, cache: FeatureCache
) -> None:
    first, _ = compute(inspected_photos[:10], store, cache, 1)
    again, seen = compute(inspected_photos[:10], store, cache, 1)
    assert np.array_equal(first, again)
    assert [(one.done, one.cached) for one in seen] == [(10, 10)]
    more, seen = compute(inspected_photos[:12], store, cache, 2)
    assert (seen[-1].done, seen[-1].cached) == (24, 10)
    assert np.array_equal(more[:10, 0], first[:, 0])


def test_features_do_not_depend_on_what_is_computed_beside_them(
    inspected_photos: list[InspectedPhoto], store: ModelStore, cache: FeatureCache
) -> None:
    together, _ = compute(inspected_photos[:5], store, cache, 3)
    alone, _ = compute(inspected_photos[4:5], store, FeatureCache(None), 3)
    assert np.array_equal(together[4], alone[0])


def test_who_stops_keeps_what_was_computed(
    inspected_photos: list[InspectedPhoto], store: ModelStore, cache: FeatureCache
) -> None:
    running = extract(inspected_photos, GLOBAL_POOLING, store, cache)
    next(running)
    done = next(running).done
    running.close()
    _, seen = compute(inspected_photos, store, cache, 1)
    assert seen[0].cached == done > 0


def test_a_photo_that_has_gone(store: ModelStore, cache: FeatureCache, tmp_path: Path) -> None:
    path = tmp_path / "x" / "1.jpg"
    path.parent.mkdir()
    from vgg_demo.images.examples import load_examples

    path.write_bytes(load_examples()[0].read())
    (one,) = inspect_photos(label_by_folders(find_photos([str(tmp_path / "x")])).photos)
    path.unlink()
    with pytest.raises(VggDemoError, match="No such file"):
        compute([one], store, cache, 1)


def test_the_cache_lets_go_of_the_oldest(cache: FeatureCache) -> None:
    keys = [feature_key(str(number), "", "", "crop", 0) for number in range(10)]
    cache.put({key: np.full(100, 1.5, dtype=np.float32) for key in keys})
    cache._database.execute("UPDATE features SET used = used - 9 WHERE key != ?", (keys[3],))
    cache.shrink(450)
    assert [found is not None for found in cache.get(keys)] == [n == 3 for n in range(10)]
    assert len(set(keys)) == 10


@pytest.mark.parametrize("content", [b"", b"no database" * 1000])
def test_a_damaged_cache_stops_nothing(
    content: bytes, inspected_photos: list[InspectedPhoto], store: ModelStore, tmp_path: Path
) -> None:
    path = tmp_path / "features.sqlite"
    path.write_bytes(content)
    for _ in range(2):
        features, _ = compute(inspected_photos[:3], store, FeatureCache(path), 1)
        assert features.shape == (3, 1, 256)


def test_a_cache_that_breaks_on_the_way(
    inspected_photos: list[InspectedPhoto], store: ModelStore, cache: FeatureCache
) -> None:
    cache.close()
    with pytest.raises(sqlite3.ProgrammingError):
        cache._database.execute("SELECT 1")
    features, _ = compute(inspected_photos[:3], store, cache, 1)
    assert features.shape == (3, 1, 256)
    cache.shrink()


def test_no_place_for_a_cache(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = FeatureCache(tmp_path / "file" / "features.sqlite")
    cache.put({b"x": np.ones(3, dtype=np.float32)})
    assert cache.get([b"x", b"y"])[1] is None


def test_a_photo_that_was_changed_meanwhile(
    pieces: Path, store: ModelStore, cache: FeatureCache, tmp_path: Path
) -> None:
    path = tmp_path / "cat" / "1.jpg"
    path.parent.mkdir()
    path.write_bytes((pieces / "cat" / "00.jpg").read_bytes())
    (one,) = inspect_photos(label_by_folders(find_photos([str(path)])).photos)
    path.write_bytes((pieces / "rocket" / "00.jpg").read_bytes())
    with pytest.raises(VggDemoError, match="was changed"):
        compute([one], store, cache, 1)


def test_views(photos: dict[str, bytes]) -> None:
    from vgg_demo.images.photo import open_photo

    photo, spec = open_photo(photos["cat"]), get_spec("mobilenet_v2")
    views = [augmented(photo.image, spec, Resize.CROP, view, photo.sha256) for view in range(6)]
    assert {view.size for view in views} == {(224, 224)}
    assert len({view.tobytes() for view in views}) == 6
    assert np.array_equal(np.asarray(views[1]), np.asarray(views[0])[:, ::-1])
    again = augmented(photo.image, spec, Resize.CROP, 4, photo.sha256)
    assert again.tobytes() == views[4].tobytes()
    other = augmented(photo.image, spec, Resize.CROP, 4, "0" * 64)
    assert other.tobytes() != views[4].tobytes()


def clouds(seed: int = 0, photos: int = 200, *, apart: float = 3.0) -> FeatureSubset:
    """Features of three kinds of things: clouds around three points."""
    rng = np.random.default_rng(seed)
    labels = np.arange(photos) % 3
    middles = apart * np.eye(3, 8)
    features = middles[labels][:, None] + rng.normal(size=(photos, 2, 8)) + 5
    return FeatureSubset(features.astype(np.float32), labels, np.arange(photos))


RECIPE = Recipe(epochs=12, penalty=0.01)


def train(recipe: Recipe, training: FeatureSubset | None = None) -> tuple[Head, list[Epoch]]:
    epochs: list[Epoch] = []
    running = train_head(training or clouds(), clouds(1), 3, recipe)
    return run_to_end(running, epochs.append), epochs


def test_a_head_learns() -> None:
    head, epochs = train(RECIPE)
    assert [epoch.number for epoch in epochs] == list(range(1, len(epochs) + 1))
    assert max(epoch.validation_accuracy for epoch in epochs) > 0.95
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    assert [epoch.number for epoch in epochs if epoch.is_best][-1] == best.number
    validation = clouds(1)
    answers = head.logits(validation.first_views).argmax(axis=1)
    assert np.mean(answers == validation.labels) == best.validation_accuracy


def test_the_same_seed_gives_the_same() -> None:
    recipe = replace(RECIPE, dropout=0.3, mixup=0.4, label_smoothing=0.1)
    (first, epochs), (second, again) = train(recipe), train(recipe)
    assert np.array_equal(first.kernel, second.kernel)
    assert [one.validation_loss for one in epochs] == [one.validation_loss for one in again]
    other, _ = train(replace(recipe, seed=1))
    assert not np.array_equal(first.kernel, other.kernel)


def test_it_stops_when_it_gets_no_better() -> None:
    _, epochs = train(replace(RECIPE, rate=0.05, epochs=200, patience=4))
    assert len(epochs) < 200
    assert [epoch.is_best for epoch in epochs[-5:]] == [True, False, False, False, False]


def test_who_interrupts_it_gets_the_best_so_far() -> None:
    epochs: list[Epoch] = []

    def stop_after_three(epoch: Epoch) -> None:
        epochs.append(epoch)
        if epoch.number == 3:
            raise KeyboardInterrupt

    head = run_to_end(train_head(clouds(), clouds(1), 3, RECIPE), stop_after_three)
    assert len(epochs) == 3
    validation = clouds(1)
    answers = head.logits(validation.first_views).argmax(axis=1)
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    assert np.mean(answers == validation.labels) == best.validation_accuracy


def test_an_interrupt_in_the_middle_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    from vgg_demo.training.head import _Learner

    steps, step = [], _Learner.step

    def interrupted(self: _Learner, *arguments: object) -> float:
        steps.append(1)
        if len(steps) == 20:
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(_Learner, "step", interrupted)
    head, epochs = train(replace(RECIPE, rate=0.01))
    assert len(epochs) == 2  # of seven steps each
    assert np.isfinite(head.kernel).all()


def test_rare_kinds_count_as_much() -> None:
    """Of clouds that lie in each other, a rare one is hardly ever said unless it counts more."""
    few = clouds(photos=600, apart=1.0)
    kept = np.flatnonzero((few.labels > 0) | (np.arange(600) % 30 == 0))
    training = replace(few, places=kept)
    said = {}
    for balance in (False, True):
        head, _ = train(replace(RECIPE, balance=balance), training)
        answers = head.logits(clouds(2).first_views).argmax(axis=1)
        said[balance] = int((answers == 0).sum())
    assert said[True] > 1.3 * said[False]


def test_momentum_is_more_than_a_word() -> None:
    """Keras reads its momentum once; ours is to change from step to step."""
    from vgg_demo.training.head import _Learner
    from vgg_demo.training.schedule import ScheduleStep

    steps = {}
    for momentum in (0.0, 0.99):
        learner = _Learner(clouds(), 3, replace(RECIPE, dropout=0.0))
        for count, batch in enumerate(learner.batches(np.random.default_rng(0))):
            learner.step(*batch, ScheduleStep(0.01, 0.9 if count < 3 else momentum))
        steps[momentum] = learner.head().kernel
    assert not np.allclose(steps[0.0], steps[0.99])


def test_the_range_test_finds_a_rate_that_learns() -> None:
    found = find_rate(clouds(), 3, RECIPE)
    assert 1e-4 < found.steepest < 1
    assert 1e-4 < found.suggestion < 1
    assert found.losses[0] > found.losses.min()


def test_features_that_are_all_the_same_do_no_harm() -> None:
    training = clouds()
    training.all_features[:, :, 0] = 7
    head, _ = train(RECIPE, training)
    assert np.isfinite(head.kernel).all()


def test_thresholds() -> None:
    probability = np.array([0.2, 0.3, 0.5, 0.6, 0.9])
    is_right = np.array([False, False, True, True, True])
    assert choose_threshold(probability, is_right) == 0.5
    assert choose_threshold(probability, np.ones(5, dtype=bool)) == 0
    assert choose_threshold(probability, np.zeros(5, dtype=bool)) == 0.9
    found = {point.probability: point for point in curve(probability, is_right)}
    assert (found[0.0].answered, found[0.0].accuracy) == (1.0, 0.6)
    assert (found[0.4].answered, found[0.4].accuracy) == (0.6, 1.0)
    assert (found[0.99].answered, found[0.99].accuracy) == (0.0, 1.0)
