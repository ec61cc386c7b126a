"""The models in memory, shared by everyone who asks."""

from __future__ import annotations

import gc
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vgg_demo.registry import ModelSpec
from vgg_demo.results import LocalWeights
from vgg_demo.settings import Settings
from vgg_demo.weights import OnProgress, ensure_weights, inspect_weights

if TYPE_CHECKING:
    from vgg_demo.engine import Engine


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An engine and the weight file in it."""

    engine: Engine
    weights: LocalWeights


class ModelStore:
    """Loads each model once and keeps one at a time, beside the small embedded one.

    Every method may be called from any thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[str, LoadedModel] = {}
        self._lock = threading.Lock()

    def get(self, spec: ModelSpec, on_progress: OnProgress | None = None) -> LoadedModel:
        """Returns a model, loading (and downloading) it if need be.

        A model that is replaced lives on until its last user lets go of it.

        Raises:
            WeightsError: If the weights cannot be had.
        """
        with self._lock:
            if spec.name not in self._loaded:
                # Downloaded and known before anything is thrown out.
                path = ensure_weights(spec, self._settings, on_progress)
                weights = inspect_weights(path, spec)
                self._make_room(spec)
                from vgg_demo.engine import load_engine

                self._loaded[spec.name] = LoadedModel(load_engine(spec, path), weights)
            return self._loaded[spec.name]

    def is_loaded(self, spec: ModelSpec) -> bool:
        """Whether the model can answer without being loaded first."""
        return spec.name in self._loaded

    def _make_room(self, spec: ModelSpec) -> None:
        if spec.is_embedded:
            return
        for name in [name for name, loaded in self._loaded.items() if not _embedded(loaded)]:
            del self._loaded[name]
        gc.collect()  # a Keras model is full of reference cycles


def _embedded(loaded: LoadedModel) -> bool:
    return loaded.engine.spec.is_embedded
