"""The second stage: the end of the body learns too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from vgg_demo.files.sources import find_photos
from vgg_demo.inference.engine import build_part
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.custom import Part
from vgg_demo.models.registry import body_of, get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.data import Material, Network
from vgg_demo.training.dataset import label_by_folders
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.fine_tuning import last_blocks
from vgg_demo.training.generators import run_through
from vgg_demo.training.head import Head
from vgg_demo.training.network import assemble
from vgg_demo.training.progress import Epoch
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.trainer import Teacher

RECIPE = Recipe(epochs=4, tuning_epochs=3, tuning_rate=1e-3, tuned_blocks=1, patience=99)


@pytest.fixture(scope="module")
def teacher(store: ModelStore) -> Teacher:
    settings = Settings(cache_dir=Path("does-not-exist"), offline=True)
    return Teacher(get_spec("mini_vgg"), RECIPE, settings, store, FeatureCache(None))


@pytest.fixture(scope="module")
def material(teacher: Teacher, pieces: Path) -> Material:
    checked = run_through(teacher.check(label_by_folders(find_photos([str(pieces)]))))
    return run_through(teacher.prepare(checked))


@pytest.fixture(scope="module")
def head(teacher: Teacher, material: Material) -> Head:
    return run_through(teacher.train(material))


@pytest.fixture(scope="module")
def tuned(teacher: Teacher, material: Material, head: Head) -> tuple[Network, list[Epoch]]:
    epochs: list[Epoch] = []
    return run_through(teacher.fine_tune(material, head), epochs.append), epochs


def kernels(model: keras.Model) -> dict[str, np.ndarray]:
    return {layer.name: layer.get_weights()[0] for layer in model.layers if layer.get_weights()}


def test_it_gets_better_and_keeps_the_best(tuned: tuple[Network, list[Epoch]]) -> None:
    network, epochs = tuned
    assert [epoch.number for epoch in epochs] == [0, 1, 2, 3]
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    assert best.number > 0
    assert best.is_best
    assert [epoch.is_best for epoch in epochs if epoch.number > best.number] == [False] * (
        3 - best.number
    )
    assert network.logits.shape == (9, 3)


def test_the_first_epoch_is_the_head_alone(
    teacher: Teacher, material: Material, head: Head, tuned: tuple[Network, list[Epoch]]
) -> None:
    logits = teacher.with_head(material, head).logits
    places = list(material.split.validation)
    accuracy = np.mean(logits.argmax(axis=1) == material.labels[places])
    assert tuned[1][0].validation_accuracy == accuracy


def test_only_the_last_blocks_change(
    teacher: Teacher, material: Material, head: Head, tuned: tuple[Network, list[Epoch]]
) -> None:
    before = kernels(teacher.with_head(material, head).model)
    after = kernels(tuned[0].model)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"block3_conv1", "block3_conv2", "block4_conv1", "taught_scores"}


def test_the_store_keeps_the_body_as_it_was(
    teacher: Teacher, store: ModelStore, tuned: tuple[Network, list[Epoch]]
) -> None:
    with store.use(teacher.body) as body:
        kept = kernels(body.engine.model)
    assert not np.array_equal(kept["block4_conv1"], kernels(tuned[0].model)["block4_conv1"])


def test_the_same_seed_gives_the_same(
    teacher: Teacher, material: Material, head: Head, tuned: tuple[Network, list[Epoch]]
) -> None:
    keras.utils.set_random_seed(1)  # what others draw does not matter
    again = run_through(teacher.fine_tune(material, head))
    assert again.logits == pytest.approx(tuned[0].logits, abs=1e-3)


def test_cancelling_keeps_the_best(teacher: Teacher, material: Material, head: Head) -> None:
    epochs: list[Epoch] = []

    def stop_after_one(epoch: Epoch) -> None:
        epochs.append(epoch)
        if epoch.number == 1:
            raise KeyboardInterrupt

    network = run_through(teacher.fine_tune(material, head), stop_after_one)
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    places = list(material.split.validation)
    features = network.logits.argmax(axis=1) == material.labels[places]
    assert np.mean(features) == best.validation_accuracy
    assert len(epochs) == 2


def test_a_tuned_network_is_a_bundle(
    teacher: Teacher, material: Material, store: ModelStore, tmp_path: Path,
    tuned: tuple[Network, list[Epoch]],
) -> None:  # fmt: skip
    learned = teacher.finish(material, tuned[0], tmp_path / "tuned.bundle")
    with store.use(learned.bundle.spec) as model:
        restored = kernels(model.engine.model)
    for name, kernel in kernels(tuned[0].model).items():
        assert np.array_equal(kernel, restored[name])


def blocks(name: str, part: Part = Part.BODY, count: int = 2) -> list[list[str]]:
    with keras.StatelessScope(initialize_variables=False):
        body = build_part(body_of(get_spec(name), part))
        network = keras.Model(body.input, keras.layers.Dense(3, name="top")(body.output))
    return [[layer.name for layer in block] for block in last_blocks(network, count)]


def test_blocks_of_well_known_networks() -> None:
    assert blocks("vgg16", count=1) == [
        ["top"],
        ["block5_conv3", "block5_conv2", "block5_conv1"],
    ]
    assert blocks("mobilenet_v2")[1] == ["Conv_1", "block_16_project", "block_16_depthwise"]
    assert blocks("vgg16", Part.ALL_BUT_LAST, 1)[1] == ["fc2", "fc1", "block5_conv3"]


@pytest.mark.parametrize("name", ["xception", "nasnet_mobile", "resnet50", "efficientnet_b0"])
def test_what_learns_is_at_the_end(name: str) -> None:
    with keras.StatelessScope(initialize_variables=False):
        body = build_part(body_of(get_spec(name)))
        network = keras.Model(body.input, keras.layers.Dense(3)(body.output))
    places = [id(layer) for layer in network.layers]
    chosen = [id(layer) for block in last_blocks(network, 2) for layer in block]
    assert len(chosen) == 7
    assert min(places.index(layer) for layer in chosen) > 0.8 * len(places)


def test_batch_normalisation_stays_as_it_is(shared: Path, pieces: Path) -> None:
    settings = Settings(weights_dir=shared / "weights", offline=True)
    recipe = replace(RECIPE, tuning_epochs=1, epochs=1, views=1)
    teacher = Teacher(
        get_spec("mobilenet_v2"), recipe, settings, ModelStore(settings), FeatureCache(None)
    )
    checked = run_through(teacher.check(label_by_folders(find_photos([str(pieces)]))))
    material = run_through(teacher.prepare(checked))
    head = run_through(teacher.train(material))
    before = teacher.with_head(material, head).model
    after = run_through(teacher.fine_tune(material, head)).model
    normalizations = [
        (one.get_weights(), other.get_weights())
        for one, other in zip(before.layers, after.layers, strict=True)
        if isinstance(one, keras.layers.BatchNormalization)
    ]
    assert len(normalizations) == 52
    for one, other in normalizations:
        for kept, now in zip(one, other, strict=True):
            assert np.array_equal(kept, now)
    assert not np.array_equal(kernels(before)["Conv_1"], kernels(after)["Conv_1"])


def test_assembling_takes_the_head_as_it_is() -> None:
    body = build_part(body_of(get_spec("mini_vgg")))
    head = Head(np.eye(256, 4, dtype=np.float32), np.arange(4, dtype=np.float32))
    network = assemble(body, head)
    batch = np.zeros((2, 32, 32, 3), dtype=np.float32)
    expected = head.logits(np.asarray(body(batch)))
    assert np.asarray(network(batch)) == pytest.approx(expected, abs=1e-6)
