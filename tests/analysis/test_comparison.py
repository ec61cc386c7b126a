"""Comparison of real models on one photo."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from vgg_demo.analysis.comparison import Comparison, ModelFailure, ModelResult, compare, measure
from vgg_demo.images.photo import Photo, open_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings

MINI_VGG = get_spec("mini_vgg")
MISSING = get_spec("vgg19")


@pytest.fixture(scope="module")
def cat(photos: dict[str, bytes]) -> Photo:
    return open_photo(photos["cat"], file="cat.jpg")


def test_a_model_that_fails_does_not_stop_the_comparison(cat: Photo, store: ModelStore) -> None:
    failure, result = compare(cat, [MISSING, MINI_VGG], store, repeat=3)
    assert isinstance(failure, ModelFailure)
    assert (failure.model, failure.error) == ("vgg19", "WeightsMissingError")
    assert "VGG_DEMO_OFFLINE" in failure.message
    assert isinstance(result, ModelResult)
    assert result.classification.predictions(1)[0].label == "cat"
    assert len(result.run_seconds) == 3
    assert (
        min(result.run_seconds)
        <= result.median_seconds
        <= result.p95_seconds
        <= max(result.run_seconds)
    )
    assert result.memory_bytes >= MINI_VGG.weights.size_bytes


def test_models_after_the_last_requested_result_are_not_loaded(cat: Photo) -> None:
    store = ModelStore(Settings(cache_dir=Path("nowhere"), offline=True))
    outcomes = compare(cat, [MISSING, MINI_VGG], store)
    next(outcomes)
    outcomes.close()
    assert not store.is_loaded(MINI_VGG)


def test_measuring_requires_at_least_one_run(cat: Photo, store: ModelStore) -> None:
    with pytest.raises(ValueError, match="repeat is 0"):
        measure(cat, MINI_VGG, store, repeat=0)


def test_median_and_p95_are_interpolated_between_runs(cat: Photo, store: ModelStore) -> None:
    result = dataclasses.replace(
        measure(cat, MINI_VGG, store, repeat=1), run_seconds=(0.3, 0.1, 0.2)
    )
    assert result.median_seconds == 0.2
    assert result.p95_seconds == pytest.approx(0.29)


def test_models_with_different_classes_are_compared(cat: Photo, shared_store: ModelStore) -> None:
    specs = [get_spec(name) for name in ("mobilenet_v2", "mobilenet_v3_small", "mini_vgg")]
    comparison = Comparison.of(list(compare(cat, specs, shared_store, repeat=1)))
    document = json.loads(json.dumps(comparison.to_dict(2)))
    assert list(document) == ["schema", "results", "agreement", "errors"]
    assert [result["model"] for result in document["results"]] == [spec.name for spec in specs]
    (consensus, *_) = document["agreement"]["consensus"]
    assert consensus["label"] == "cat"
    assert consensus["models"] == [spec.name for spec in specs]
    assert document["agreement"]["ensemble"]["models"] == ["mobilenet_v2", "mobilenet_v3_small"]
    assert len(document["agreement"]["ensemble"]["predictions"]) == 2
    matrix = document["agreement"]["distances"]["jensen_shannon"]
    assert [row[i] for i, row in enumerate(matrix)] == [0, 0, 0]
    assert 0 < matrix[0][1] < 1
    assert matrix[0][2] < 0.5  # all three predict a cat with high probability
    accuracy = document["results"][0]["accuracy"]
    assert accuracy["source"].startswith("https://keras.io")
    assert comparison.rows()[0]["top1"] == accuracy["top1"]


def test_a_comparison_without_results_has_an_empty_agreement(cat: Photo, store: ModelStore) -> None:
    comparison = Comparison.of(list(compare(cat, [MISSING], store)))
    assert comparison.rows() == []
    assert comparison.to_dict()["agreement"] == {
        "consensus": [],
        "distances": {"models": [], "jensen_shannon": []},
        "ensemble": None,
    }
    assert [error["model"] for error in comparison.to_dict()["errors"]] == ["vgg19"]
