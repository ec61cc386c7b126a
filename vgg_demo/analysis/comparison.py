"""Comparison of several models on one photo: predictions, latency, memory and agreement."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgg_demo.analysis.agreement import (
    Consensus,
    Ensemble,
    average_models,
    find_consensus,
    pairwise_distances,
)
from vgg_demo.analysis.verdict import interpret, one_line
from vgg_demo.errors import VggDemoError
from vgg_demo.images.photo import Photo
from vgg_demo.inference.classify import classify_prepared, prepare_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.inference.results import SCHEMA, Classification
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec

DEFAULT_REPEAT = 5
"""Number of timed runs of each model."""


@dataclass(frozen=True, slots=True)
class ModelResult:
    """The prediction of one model, with its latency and memory on this machine.

    Attributes:
        classification: The prediction.
        run_seconds: Duration of each timed run of the loaded model on the preprocessed photo,
            one run after the other.
        memory_bytes: Memory of the loaded model.
    """

    classification: Classification
    run_seconds: tuple[float, ...]
    memory_bytes: int

    @property
    def spec(self) -> ModelSpec:
        return self.classification.spec

    @property
    def median_seconds(self) -> float:
        """The median of the runs."""
        return float(np.median(self.run_seconds))

    @property
    def p95_seconds(self) -> float:
        """The 95th percentile of the runs, linearly interpolated."""
        return float(np.percentile(self.run_seconds, 95))


@dataclass(frozen=True, slots=True)
class ModelFailure:
    """A model that failed in a comparison.

    Attributes:
        model: Its name.
        error: Name of the error class.
        message: What went wrong and what to do next.
    """

    model: str
    error: str
    message: str


def compare(
    photo: Photo,
    specs: Sequence[ModelSpec],
    store: ModelStore,
    *,
    resize: Resize = Resize.CROP,
    repeat: int = DEFAULT_REPEAT,
    prepare_model: Callable[[ModelSpec], object] | None = None,
) -> Iterator[ModelResult | ModelFailure]:
    """Classifies a photo with one model after the other and yields each result immediately.

    A model that fails does not stop the comparison. Models load lazily: if the caller stops
    iterating, the remaining models are not loaded.

    Args:
        photo: The photo.
        specs: The models, in the order in which they run.
        store: Provides the models and loads them if necessary.
        resize: How the photo is made square.
        repeat: Number of timed runs of each model, 1 or more.
        prepare_model: Called with each model before it runs, for example to download its
            weights and show the progress.

    Yields:
        A `ModelResult`, or a `ModelFailure` if the model raises a `VggDemoError`.
    """
    for spec in specs:
        try:
            if prepare_model is not None:
                prepare_model(spec)
            yield measure(photo, spec, store, resize=resize, repeat=repeat)
        except VggDemoError as error:
            yield ModelFailure(spec.name, type(error).__name__, str(error))


def measure(
    photo: Photo,
    spec: ModelSpec,
    store: ModelStore,
    *,
    resize: Resize = Resize.CROP,
    repeat: int = DEFAULT_REPEAT,
) -> ModelResult:
    """Classifies a photo with one model and measures its latency.

    Args:
        photo: The photo.
        spec: The model.
        store: Provides the model and loads it if necessary.
        resize: How the photo is made square.
        repeat: Number of timed runs, 1 or more.

    Raises:
        ModelError: If the model cannot be loaded.
        ValueError: If `repeat` is less than 1.
    """
    if repeat < 1:
        raise ValueError(f"repeat is {repeat}; it must be 1 or more")
    prepared = prepare_photo(photo, spec, resize)
    with store.use(spec) as model:
        classification = classify_prepared(prepared, model)
        run_seconds = []
        with store.measurement_lock:
            for _ in range(repeat):
                started = time.perf_counter()
                model.engine.logits(prepared.batch)
                run_seconds.append(time.perf_counter() - started)
        return ModelResult(classification, tuple(run_seconds), model.size_bytes)


def pareto_front(results: Sequence[ModelResult]) -> tuple[str, ...]:
    """Returns the Pareto front of accuracy against latency.

    A model is on the front if no faster model is at least as accurate. Accuracy is the
    published top-1 accuracy on ImageNet; latency is the median measured on this machine. Models
    without a published accuracy are left out.

    Returns:
        Names of the models, fastest first.
    """
    front: list[str] = []
    best_top1 = -1.0
    ranked = sorted(results, key=lambda result: result.median_seconds)
    for result in ranked:
        top1 = imagenet_top1(result.spec)
        if top1 is not None and top1 > best_top1:
            front.append(result.classification.model)
            best_top1 = top1
    return tuple(front)


def imagenet_top1(spec: ModelSpec) -> float | None:
    """Returns a model's published top-1 accuracy on ImageNet in percent; None if unknown."""
    return spec.accuracy.top1 if spec.accuracy and spec.labels == "imagenet" else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """The results of several models on one photo.

    Attributes:
        results: Results, in the order in which the models ran.
        failures: Models that failed.
    """

    results: tuple[ModelResult, ...]
    failures: tuple[ModelFailure, ...] = ()

    @classmethod
    def of(cls, outcomes: Sequence[ModelResult | ModelFailure]) -> Comparison:
        """Creates a comparison from the outcomes that `compare` yields."""
        return cls(
            results=tuple(outcome for outcome in outcomes if isinstance(outcome, ModelResult)),
            failures=tuple(outcome for outcome in outcomes if isinstance(outcome, ModelFailure)),
        )

    @property
    def classifications(self) -> tuple[Classification, ...]:
        return tuple(result.classification for result in self.results)

    def consensus(self) -> tuple[Consensus, ...]:
        """Returns the synsets that the models agree on; see `find_consensus`."""
        return find_consensus(self.classifications)

    def ensemble(self) -> Ensemble | None:
        """Returns the average of the models; see `average_models`."""
        return average_models(self.classifications)

    def distances(self) -> NDArray[np.float64]:
        """Returns the Jensen–Shannon distances, float64 (results, results) in [0, 1]."""
        return pairwise_distances(self.classifications)

    def to_dict(self, top: int = 5) -> dict[str, Any]:
        """Returns the comparison as plain JSON values, with the top-k predictions of each model."""
        return {
            "schema": SCHEMA,
            "results": [_result_to_dict(result, top) for result in self.results],
            "agreement": self._agreement_to_dict(top),
            "errors": [asdict(failure) for failure in self.failures],
        }

    def rows(self) -> list[dict[str, Any]]:
        """Returns one flat row per result, for tables and CSV."""
        return [_result_to_row(result) for result in self.results]

    def _agreement_to_dict(self, top: int) -> dict[str, Any]:
        ensemble = self.ensemble()
        return {
            "consensus": [asdict(consensus) for consensus in self.consensus()],
            "distances": {
                "models": [result.model for result in self.classifications],
                "jensen_shannon": self.distances().tolist(),
            },
            "ensemble": ensemble
            and {
                "models": list(ensemble.models),
                "predictions": [asdict(prediction) for prediction in ensemble.predictions(top)],
            },
        }


def _result_to_dict(result: ModelResult, top: int) -> dict[str, Any]:
    spec = result.spec
    return result.classification.to_dict(top) | {
        "verdict": one_line(interpret(result.classification)),
        "runs": {
            "seconds": list(result.run_seconds),
            "median": result.median_seconds,
            "p95": result.p95_seconds,
        },
        "memory_bytes": result.memory_bytes,
        "parameters": spec.parameters,
        "size_bytes": spec.weights.size_bytes,
        "accuracy": spec.accuracy and asdict(spec.accuracy),
    }


def _result_to_row(result: ModelResult) -> dict[str, Any]:
    spec, verdict = result.spec, interpret(result.classification)
    accuracy = spec.accuracy
    return {
        "model": spec.name,
        "label": verdict.winner.label,
        "wnid": verdict.winner.wnid,
        "probability": verdict.probability,
        "sure": verdict.is_sure,
        "verdict": one_line(verdict),
        "median_ms": 1000 * result.median_seconds,
        "p95_ms": 1000 * result.p95_seconds,
        "memory_mb": result.memory_bytes / 1e6,
        "parameters": spec.parameters,
        "weights_mb": spec.weights.size_bytes / 1e6,
        "top1": accuracy.top1 if accuracy else None,
        "top5": accuracy.top5 if accuracy else None,
        "test_set": accuracy.test_set if accuracy else None,
        "verified": result.classification.weights.verified,
    }
