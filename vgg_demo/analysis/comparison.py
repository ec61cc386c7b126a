"""One photo, several models: their answers, what each costs, and where they agree."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vgg_demo.analysis.agreement import Consensus, Ensemble, average, distances, find_consensus
from vgg_demo.analysis.verdict import interpret, one_line
from vgg_demo.errors import VggDemoError
from vgg_demo.images.photo import Photo
from vgg_demo.inference.classify import classify_prepared, prepare_photo
from vgg_demo.inference.results import SCHEMA, Classification
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec

DEFAULT_REPEAT = 5


@dataclass(frozen=True, slots=True)
class ModelResult:
    """What one model makes of the photo, and what that costs on this machine.

    Attributes:
        classification: What it makes of it.
        runs: Seconds of several runs of the loaded network on the prepared photo, one after
            the other.
        memory_bytes: Memory that the loaded model takes.
    """

    classification: Classification
    runs: tuple[float, ...]
    memory_bytes: int

    @property
    def spec(self) -> ModelSpec:
        return self.classification.spec

    @property
    def median_seconds(self) -> float:
        return float(np.median(self.runs))

    @property
    def p95_seconds(self) -> float:
        """The 95th percentile of the runs, interpolated between them."""
        return float(np.percentile(self.runs, 95))


@dataclass(frozen=True, slots=True)
class ModelFailure:
    """A model that could not answer.

    Attributes:
        model: Its name.
        error: Name of the error's class.
        message: What went wrong and what to do.
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
    """Asks one model after the other; yields each answer as soon as it is there.

    A model that cannot be loaded does not keep the others from answering. Whoever has seen
    enough stops iterating; nothing is loaded beyond that.

    Args:
        photo: The photo.
        specs: The models.
        store: Where the models are, or will be loaded into.
        resize: How the photo is made square.
        repeat: How often each network is run to measure it, at least once.
        prepare_model: Called with each model before it is asked; a door can download there and
            show how far it is.
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
    """Asks one model and measures it.

    Raises:
        ModelError: If the model cannot be loaded.
        ValueError: If it is to be run less than once.
    """
    if repeat < 1:
        raise ValueError(f"repeat is {repeat}; it must be 1 or more")
    prepared = prepare_photo(photo, spec, resize)
    with store.use(spec) as model:
        classification = classify_prepared(prepared, model)
        runs = []
        with store.measuring:
            for _ in range(repeat):
                started = time.perf_counter()
                model.engine.logits(prepared.batch)
                runs.append(time.perf_counter() - started)
        return ModelResult(classification, tuple(runs), model.size_bytes)


def pareto_front(results: Sequence[ModelResult]) -> tuple[str, ...]:
    """Finds the models that are worth their time.

    A model is on the front if no other is at least as accurate, by the published top-1
    accuracy on ImageNet, and faster here. Models without such a figure are left out.

    Returns:
        Names of the models, the fastest first.
    """
    front: list[str] = []
    best = -1.0
    ranked = sorted(results, key=lambda result: result.median_seconds)
    for result in ranked:
        top1 = imagenet_top1(result.spec)
        if top1 is not None and top1 > best:
            front.append(result.classification.model)
            best = top1
    return tuple(front)


def imagenet_top1(spec: ModelSpec) -> float | None:
    """Returns a model's published top-1 accuracy on ImageNet in percent, if there is one."""
    return spec.accuracy.top1 if spec.accuracy and spec.labels == "imagenet" else None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What several models make of one photo.

    Attributes:
        results: In the order in which the models were asked.
        failures: The models that could not answer.
    """

    results: tuple[ModelResult, ...]
    failures: tuple[ModelFailure, ...] = ()

    @classmethod
    def of(cls, outcomes: Sequence[ModelResult | ModelFailure]) -> Comparison:
        """Sorts what `compare` yields."""
        return cls(
            results=tuple(outcome for outcome in outcomes if isinstance(outcome, ModelResult)),
            failures=tuple(outcome for outcome in outcomes if isinstance(outcome, ModelFailure)),
        )

    @property
    def classifications(self) -> tuple[Classification, ...]:
        return tuple(result.classification for result in self.results)

    def consensus(self) -> tuple[Consensus, ...]:
        """Returns what the models agree on."""
        return find_consensus(self.classifications)

    def ensemble(self) -> Ensemble | None:
        """Returns the mean answer, if two models or more know the same things."""
        return average(self.classifications)

    def distances(self) -> NDArray[np.float64]:
        """Returns how far apart the models are, float64 (answers, answers) in [0, 1]."""
        return distances(self.classifications)

    def to_dict(self, top: int = 5) -> dict[str, Any]:
        """Returns the comparison as plain JSON values."""
        return {
            "schema": SCHEMA,
            "results": [_result_to_dict(result, top) for result in self.results],
            "agreement": self._agreement_to_dict(top),
            "errors": [asdict(failure) for failure in self.failures],
        }

    def rows(self) -> list[dict[str, Any]]:
        """Returns a flat row for each model that answered, for tables and CSV."""
        return [_result_to_row(result) for result in self.results]

    def _agreement_to_dict(self, top: int) -> dict[str, Any]:
        ensemble = self.ensemble()
        return {
            "consensus": [asdict(found) for found in self.consensus()],
            "distances": {
                "models": [result.model for result in self.classifications],
                "jensen_shannon": self.distances().tolist(),
            },
            "ensemble": ensemble
            and {
                "models": list(ensemble.models),
                "predictions": [asdict(found) for found in ensemble.predictions(top)],
            },
        }


def _result_to_dict(result: ModelResult, top: int) -> dict[str, Any]:
    spec = result.spec
    return result.classification.to_dict(top) | {
        "verdict": one_line(interpret(result.classification)),
        "runs": {
            "seconds": list(result.runs),
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
