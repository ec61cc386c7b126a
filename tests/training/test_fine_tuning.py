"""Fine-tuning of the last blocks of the backbone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from vgg_demo.files.sources import find_photos
from vgg_demo.inference.engine import build_network
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.custom import FeatureLayer
from vgg_demo.models.registry import backbone_spec, get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.dataset import label_by_folders
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.fine_tuning import last_blocks
from vgg_demo.training.head import Head
from vgg_demo.training.network import assemble
from vgg_demo.training.progress import Epoch, run_to_end
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.records import TrainedNetwork, TrainingData
from vgg_demo.training.trainer import Trainer

RECIPE = Recipe(
    epochs=4, fine_tuning_epochs=3, fine_tuning_learning_rate=1e-3, fine_tuned_blocks=1, patience=99
)


@pytest.fixture(scope="module")
def trainer(store: ModelStore) -> Trainer:
    settings = Settings(cache_dir=Path("does-not-exist"), offline=True)
    return Trainer(get_spec("mini_vgg"), RECIPE, settings, store, FeatureCache(None))


@pytest.fixture(scope="module")
def training_data(trainer: Trainer, crops: Path) -> TrainingData:
    inspected = run_to_end(trainer.inspect(label_by_folders(find_photos([str(crops)]))))
    return run_to_end(trainer.prepare(inspected))


@pytest.fixture(scope="module")
def head(trainer: Trainer, training_data: TrainingData) -> Head:
    return run_to_end(trainer.train(training_data))


@pytest.fixture(scope="module")
def fine_tuned(
    trainer: Trainer, training_data: TrainingData, head: Head
) -> tuple[TrainedNetwork, list[Epoch]]:
    epochs: list[Epoch] = []
    return run_to_end(trainer.fine_tune(training_data, head), epochs.append), epochs


def kernels(model: keras.Model) -> dict[str, np.ndarray]:
    return {layer.name: layer.get_weights()[0] for layer in model.layers if layer.get_weights()}


def test_validation_loss_improves_and_the_best_epoch_is_kept(
    fine_tuned: tuple[TrainedNetwork, list[Epoch]],
) -> None:
    network, epochs = fine_tuned
    assert [epoch.number for epoch in epochs] == [0, 1, 2, 3]
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    assert best.number > 0
    assert best.is_best
    assert [epoch.is_best for epoch in epochs if epoch.number > best.number] == [False] * (
        3 - best.number
    )
    assert network.logits.shape == (9, 3)


def test_epoch_0_is_the_network_before_fine_tuning(
    trainer: Trainer,
    training_data: TrainingData,
    head: Head,
    fine_tuned: tuple[TrainedNetwork, list[Epoch]],
) -> None:
    logits = trainer.with_head(training_data, head).logits
    indices = list(training_data.split.validation)
    accuracy = np.mean(logits.argmax(axis=1) == training_data.labels[indices])
    assert fine_tuned[1][0].validation_accuracy == accuracy


def test_only_the_last_blocks_change(
    trainer: Trainer,
    training_data: TrainingData,
    head: Head,
    fine_tuned: tuple[TrainedNetwork, list[Epoch]],
) -> None:
    before = kernels(trainer.with_head(training_data, head).model)
    after = kernels(fine_tuned[0].model)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"block3_conv1", "block3_conv2", "block4_conv1", "custom_scores"}


def test_the_model_in_the_store_is_unchanged(
    trainer: Trainer, store: ModelStore, fine_tuned: tuple[TrainedNetwork, list[Epoch]]
) -> None:
    with store.use(trainer.feature_extractor) as feature_extractor:
        original = kernels(feature_extractor.engine.model)
    assert not np.array_equal(
        original["block4_conv1"], kernels(fine_tuned[0].model)["block4_conv1"]
    )


def test_the_same_seed_gives_the_same_result(
    trainer: Trainer,
    training_data: TrainingData,
    head: Head,
    fine_tuned: tuple[TrainedNetwork, list[Epoch]],
) -> None:
    keras.utils.set_random_seed(1)  # the global seed has no effect
    again = run_to_end(trainer.fine_tune(training_data, head))
    assert again.logits == pytest.approx(fine_tuned[0].logits, abs=1e-3)


def test_stopping_keeps_the_best_epoch(
    trainer: Trainer, training_data: TrainingData, head: Head
) -> None:
    epochs: list[Epoch] = []

    def stop_after_one(epoch: Epoch) -> None:
        epochs.append(epoch)
        if epoch.number == 1:
            raise KeyboardInterrupt

    network = run_to_end(trainer.fine_tune(training_data, head), stop_after_one)
    best = min(epochs, key=lambda epoch: epoch.validation_loss)
    indices = list(training_data.split.validation)
    is_correct = network.logits.argmax(axis=1) == training_data.labels[indices]
    assert np.mean(is_correct) == best.validation_accuracy
    assert len(epochs) == 2


def test_a_fine_tuned_network_is_saved_in_a_bundle(
    trainer: Trainer, training_data: TrainingData, store: ModelStore, tmp_path: Path,
    fine_tuned: tuple[TrainedNetwork, list[Epoch]],
) -> None:  # fmt: skip
    trained = trainer.finish(training_data, fine_tuned[0], tmp_path / "fine_tuned.bundle")
    with store.use(trained.bundle.spec) as model:
        restored = kernels(model.engine.model)
    for name, kernel in kernels(fine_tuned[0].model).items():
        assert np.array_equal(kernel, restored[name])


def blocks(
    name: str, feature_layer: FeatureLayer = FeatureLayer.GLOBAL_POOLING, count: int = 2
) -> list[list[str]]:
    with keras.StatelessScope(initialize_variables=False):
        feature_extractor = build_network(backbone_spec(get_spec(name), feature_layer))
        network = keras.Model(
            feature_extractor.input, keras.layers.Dense(3, name="top")(feature_extractor.output)
        )
    return [[layer.name for layer in block] for block in last_blocks(network, count)]


def test_last_blocks_of_well_known_architectures() -> None:
    assert blocks("vgg16", count=1) == [
        ["top"],
        ["block5_conv3", "block5_conv2", "block5_conv1"],
    ]
    assert blocks("mobilenet_v2")[1] == ["Conv_1", "block_16_project", "block_16_depthwise"]
    assert blocks("vgg16", FeatureLayer.PENULTIMATE, 1)[1] == ["fc2", "fc1", "block5_conv3"]


@pytest.mark.parametrize("name", ["xception", "nasnet_mobile", "resnet50", "efficientnet_b0"])
def test_trainable_layers_are_near_the_output(name: str) -> None:
    with keras.StatelessScope(initialize_variables=False):
        feature_extractor = build_network(backbone_spec(get_spec(name)))
        network = keras.Model(
            feature_extractor.input, keras.layers.Dense(3)(feature_extractor.output)
        )
    layers = [id(layer) for layer in network.layers]
    trainable = [id(layer) for block in last_blocks(network, 2) for layer in block]
    assert len(trainable) == 7
    assert min(layers.index(layer) for layer in trainable) > 0.8 * len(layers)


def test_batch_normalization_stays_frozen(shared: Path, crops: Path) -> None:
    settings = Settings(weights_dir=shared / "weights", offline=True)
    recipe = replace(RECIPE, fine_tuning_epochs=1, epochs=1, views=1)
    trainer = Trainer(
        get_spec("mobilenet_v2"), recipe, settings, ModelStore(settings), FeatureCache(None)
    )
    inspected = run_to_end(trainer.inspect(label_by_folders(find_photos([str(crops)]))))
    training_data = run_to_end(trainer.prepare(inspected))
    head = run_to_end(trainer.train(training_data))
    before = trainer.with_head(training_data, head).model
    after = run_to_end(trainer.fine_tune(training_data, head)).model
    normalizations = [
        (old.get_weights(), new.get_weights())
        for old, new in zip(before.layers, after.layers, strict=True)
        if isinstance(old, keras.layers.BatchNormalization)
    ]
    assert len(normalizations) == 52
    for old_weights, new_weights in normalizations:
        for old, new in zip(old_weights, new_weights, strict=True):
            assert np.array_equal(old, new)
    assert not np.array_equal(kernels(before)["Conv_1"], kernels(after)["Conv_1"])


def test_an_assembled_network_computes_the_logits_of_its_head() -> None:
    feature_extractor = build_network(backbone_spec(get_spec("mini_vgg")))
    head = Head(np.eye(256, 4, dtype=np.float32), np.arange(4, dtype=np.float32))
    network = assemble(feature_extractor, head)
    batch = np.zeros((2, 32, 32, 3), dtype=np.float32)
    expected = head.logits(np.asarray(feature_extractor(batch)))
    assert np.asarray(network(batch)) == pytest.approx(expected, abs=1e-6)
