"""The models in memory, shared by everyone who asks."""

from __future__ import annotations

import gc
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vgg_demo.errors import WeightsCorruptError
from vgg_demo.fetch import OnProgress, ensure_weights
from vgg_demo.registry import ModelSpec
from vgg_demo.results import LocalWeights
from vgg_demo.settings import Settings
from vgg_demo.weights import FileState, inspect_weights

if TYPE_CHECKING:
    from vgg_demo.engine import Engine


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An engine and the weight file in it."""

    engine: Engine
    weights: LocalWeights


class ModelStore:
    """Loads each model once and keeps one at a time, beside the small embedded one.

    What it finds out about a weight file holds until the file changes: an unchanged file is
    hashed once, and a damaged one is tried once. Every method may be called from any thread.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._loaded: dict[str, LoadedModel] = {}
        self._wanted: dict[str, threading.Lock] = {}
        self._loading = threading.Lock()
        self._inspected: dict[tuple[ModelSpec, FileState], LocalWeights] = {}
        self._damaged: dict[tuple[ModelSpec, FileState], str] = {}

    def get(self, spec: ModelSpec, on_progress: OnProgress | None = None) -> LoadedModel:
        """Returns a model, loading (and downloading) it if need be.

        A model that is replaced lives on until its last user lets go of it.

        Raises:
            WeightsError: If the weights cannot be had.
        """
        # Whoever asks for a loaded model waits for nobody. One model is loaded at a time; a
        # download keeps only those waiting who ask for the same model.
        if loaded := self._loaded.get(spec.name):
            return loaded
        with self._wanted.setdefault(spec.name, threading.Lock()):
            if loaded := self._loaded.get(spec.name):
                return loaded
            # Downloaded and known before anything is thrown out.
            path = ensure_weights(spec, self._settings, on_progress)
            file = (spec, FileState.of(path))
            if file in self._damaged:
                raise WeightsCorruptError(self._damaged[file])
            if file not in self._inspected:
                self._inspected[file] = inspect_weights(path, spec)
            try:
                return self._load(spec, path, self._inspected[file])
            except WeightsCorruptError as error:
                self._damaged[file] = str(error)
                raise

    def is_loaded(self, spec: ModelSpec) -> bool:
        """Whether the model can answer without being loaded first."""
        return spec.name in self._loaded

    def _load(self, spec: ModelSpec, path: Path, weights: LocalWeights) -> LoadedModel:
        with self._loading:
            self._make_room(spec)
            from vgg_demo.engine import load_engine

            loaded = LoadedModel(load_engine(spec, path), weights)
            self._loaded[spec.name] = loaded
        return loaded

    def _make_room(self, spec: ModelSpec) -> None:
        if spec.is_embedded:
            return
        for name, loaded in tuple(self._loaded.items()):
            if not loaded.engine.spec.is_embedded:
                del self._loaded[name]
        gc.collect()  # a Keras model is full of reference cycles
