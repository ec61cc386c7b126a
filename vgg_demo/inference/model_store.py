"""The model store: a thread-safe cache of loaded models with a memory budget."""

from __future__ import annotations

import threading
import time
import traceback
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vgg_demo import memory
from vgg_demo.errors import MemoryBudgetError, WeightsCorruptError, WeightsMissingError
from vgg_demo.models.registry import ModelSpec
from vgg_demo.settings import Settings
from vgg_demo.weights.download import OnProgress, ensure_weights
from vgg_demo.weights.local import FileState, LocalWeights, inspect_weights

if TYPE_CHECKING:
    from pathlib import Path

    from vgg_demo.inference.engine import Engine

FLOAT32_BYTES = 4

MAX_BATCH = 16
"""Maximum batch size; larger batches are no faster (`benchmarks/batch.py`)."""

RELEASE_SECONDS = 1.0
"""Maximum time to wait until an evicted model is garbage-collected."""

RELEASE_CHECKS = 20
"""Number of checks during `RELEASE_SECONDS`."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A loaded model and its weight file.

    Attributes:
        engine: Computes the logits.
        weights: The weight file.
        size_bytes: Memory that loading it took; at least the size of its weights.
    """

    engine: Engine
    weights: LocalWeights
    size_bytes: int


@dataclass(slots=True)
class _Entry:
    """A cache entry: a loaded model and the number of `use` blocks that it is in."""

    model: LoadedModel
    users: int = 0


class ModelStore:
    """Loads each model once and caches as many as fit into the memory budget.

    The budget is for the whole process: the capacity for models is the budget minus everything
    else, such as TensorFlow. To make room for a new model, the store evicts models before it
    loads the new one: idle models first, then models in use, each in least-recently-used order.
    A model in use is evicted when its last `use` block ends. The small embedded model is never
    evicted.

    The results of hashing and reading a weight file are cached until the file changes: an
    unchanged file is hashed only once, and a damaged file is read only once. Every method is
    thread-safe.

    Attributes:
        measurement_lock: Hold this lock to measure latency, so that measurements do not overlap.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._entries: OrderedDict[str, _Entry] = OrderedDict()  # least recently used first
        self._changed = threading.Condition()
        self.measurement_lock = threading.Lock()
        self._in_use = threading.local()  # in each thread, the name of the model that it uses
        self._model_locks: dict[str, threading.Lock] = {}
        self._load_lock = threading.Lock()
        self._capacity_bytes: int | None = None
        self._reserved_bytes = 0
        self._sizes: dict[str, int] = {}
        self._inspected: dict[tuple[ModelSpec, FileState], LocalWeights] = {}
        self._damaged: dict[tuple[ModelSpec, FileState], str] = {}

    @contextmanager
    def use(self, spec: ModelSpec, on_progress: OnProgress | None = None) -> Iterator[LoadedModel]:
        """Provides a model for the duration of a ``with`` block, loading it if necessary.

        The weights are downloaded if they are not installed. The model stays loaded until the
        block ends. A loaded model is available without waiting. Models are loaded one at a time;
        a download blocks only requests for the same model.

        Args:
            spec: The model.
            on_progress: Called during a download.

        Raises:
            WeightsError: If the weights are missing, damaged or cannot be downloaded.
            MemoryBudgetError: If the model alone exceeds the memory budget.
            RuntimeError: If the thread is already in a `use` block. If the budget is too small for
                both models, the inner block would wait for the outer one forever.
        """
        if getattr(self._in_use, "name", None) is not None:
            raise RuntimeError(
                f"use({spec.name}) inside a block that uses {self._in_use.name} can deadlock"
            )
        entry = self._acquire(spec) or self._acquire_loading(spec, on_progress)
        self._in_use.name = spec.name
        try:
            yield entry.model
        finally:
            self._in_use.name = None
            with self._changed:
                entry.users -= 1
                self._changed.notify_all()

    def is_loaded(self, spec: ModelSpec) -> bool:
        """Whether a model is loaded."""
        return spec.name in self._entries

    def loaded(self) -> dict[str, int]:
        """Returns the size in bytes of each loaded model by name."""
        with self._changed:
            return {name: entry.model.size_bytes for name, entry in self._entries.items()}

    def evict(self, spec: ModelSpec) -> None:
        """Unloads a model and frees its memory; does nothing while the model is in use."""
        with self._changed:
            entry = self._entries.get(spec.name)
            if entry is None or entry.users:
                return
            del self._entries[spec.name]
        del entry
        memory.release_memory()

    @contextmanager
    def reserve(self, size_bytes: int) -> Iterator[None]:
        """Reserves memory of the budget for another process, such as a training worker.

        Idle models are evicted until the remaining ones fit.

        Args:
            size_bytes: Memory to reserve.

        Raises:
            MemoryBudgetError: If the size exceeds the budget even without loaded models.
        """
        self.check_reserve(size_bytes)
        with self._changed:
            self._reserved_bytes += size_bytes
            self._evict_idle()
        try:
            yield
        finally:
            with self._changed:
                self._reserved_bytes -= size_bytes

    def check_reserve(self, size_bytes: int) -> None:
        """Checks that `reserve` would succeed once other reservations have ended.

        Args:
            size_bytes: Memory to reserve.

        Raises:
            MemoryBudgetError: If the size exceeds the budget even without loaded models.
        """
        capacity = self._capacity() + self._reserved_bytes  # other reservations will have ended
        if size_bytes > capacity:
            raise MemoryBudgetError(
                f"This requires {size_bytes / 1e6:,.0f} MB of memory. The memory budget is "
                f"{self._settings.memory_bytes / 1e6:,.0f} MB (VGG_DEMO_MEMORY_MB), of which "
                f"{max(0, capacity) / 1e6:,.0f} MB is available. Use fewer photos, choose a "
                "smaller model, or raise the budget if the machine has more memory."
            )

    def check_fits(self, spec: ModelSpec) -> None:
        """Checks, before a download, that a model fits into the memory budget.

        The check uses the size of the weights. The measured size of an earlier load can be too
        high, because other threads allocate memory at the same time.

        Args:
            spec: The model.

        Raises:
            MemoryBudgetError: If the model alone exceeds the budget.
        """
        capacity = self._capacity()
        if not spec.is_embedded and _weights_bytes(spec) > capacity:
            reserved = self._reserved_bytes
            if reserved:
                reason = f" while a training run uses {reserved / 1e6:,.0f} MB"
                advice = "wait until the training run ends"
            else:
                reason, advice = "", "raise the budget if the machine has more memory"
            raise MemoryBudgetError(
                f"{spec.keras_name} requires {_weights_bytes(spec) / 1e6:,.0f} MB of memory. The "
                f"memory budget is {self._settings.memory_bytes / 1e6:,.0f} MB "
                f"(VGG_DEMO_MEMORY_MB), of which {max(0, capacity) / 1e6:,.0f} MB is available "
                f"for models{reason}. Choose a smaller model, or {advice}."
            )

    def batch_size(self, model: LoadedModel) -> int:
        """Returns the batch size for a model, from 2 to `MAX_BATCH`.

        The activations of a batch may take a sixth of the budget on top of the budget; the rest
        of the process's memory limit is for decoding and for other visitors.
        """
        max_bytes = self._settings.memory_bytes // 6
        return max(2, min(MAX_BATCH, max_bytes // model.engine.photo_bytes))

    def _capacity(self) -> int:
        """Returns the bytes available for all models together."""
        if self._capacity_bytes is None:
            # TensorFlow's own memory does not count as capacity, so import it before measuring.
            import vgg_demo.inference.engine  # noqa: F401

            self._capacity_bytes = self._settings.memory_bytes - memory.used_bytes()
        return self._capacity_bytes - self._reserved_bytes

    def _current_capacity(self) -> int:
        """Returns `_capacity`, minus other memory that the process has allocated since."""
        models_bytes = sum(entry.model.size_bytes for entry in self._evictable().values())
        other_bytes = memory.used_bytes() - models_bytes
        budget_bytes = self._settings.memory_bytes - self._reserved_bytes
        return min(self._capacity(), budget_bytes - other_bytes)

    def _acquire(self, spec: ModelSpec) -> _Entry | None:
        """Returns the entry of a loaded model and counts a user; None if it is not loaded."""
        with self._changed:
            entry = self._entries.get(spec.name)
            if entry is not None:
                entry.users += 1
                self._entries.move_to_end(spec.name)
            return entry

    def _acquire_loading(self, spec: ModelSpec, on_progress: OnProgress | None) -> _Entry:
        """Downloads and loads a model, and returns its entry with one user counted."""
        with self._model_locks.setdefault(spec.name, threading.Lock()):
            if entry := self._acquire(spec):
                return entry
            # Everything that can fail without loading comes before other models are evicted.
            self.check_fits(spec)
            path = ensure_weights(spec, self._settings, on_progress)
            state = FileState.of(path)
            key = (spec, state)
            if key in self._damaged:
                raise WeightsCorruptError(self._damaged[key])
            if key not in self._inspected:
                self._inspected[key] = inspect_weights(path, spec)
            with self._load_lock:
                self._evict_for(spec)
                try:
                    return self._load(spec, path, self._inspected[key], state)
                except WeightsCorruptError as error:
                    self._damaged[key] = str(error)
                    raise

    def _load(self, spec: ModelSpec, path: Path, weights: LocalWeights, state: FileState) -> _Entry:
        from vgg_demo.inference.engine import load_engine

        before = memory.used_bytes()
        try:
            with memory.separate_allocations():
                engine = load_engine(spec, path)
        except (MemoryError, WeightsCorruptError) as error:
            _free_frames(error)
            memory.release_memory()
            if isinstance(error, WeightsCorruptError):
                raise
            raise MemoryBudgetError(
                f"Not enough memory to load {spec.keras_name}. Choose a smaller model, or close "
                "other programs on this machine."
            ) from error
        if FileState.of(path) != state:
            raise WeightsMissingError(
                f"The weights in {path} changed while they were being loaded. Try again."
            )
        # The growth excludes memory that was freed before but retained by the allocator.
        growth = memory.used_bytes() - before
        self._sizes[spec.name] = size_bytes = max(growth, _weights_bytes(spec))
        with self._changed:
            entry = self._entries[spec.name] = _Entry(
                LoadedModel(engine, weights, size_bytes), users=1
            )
            self._evict_idle()  # the model may be larger than estimated
        return entry

    def _evict_idle(self) -> None:
        """Evicts idle models until the loaded ones fit; requires the lock of `_changed`."""
        idle = [name for name, entry in self._evictable().items() if not entry.users]
        while idle and not self._fits(0, self._current_capacity()):
            del self._entries[idle.pop(0)]
            memory.release_memory()

    def _estimated_bytes(self, spec: ModelSpec) -> int:
        """Returns the measured size of a model, or the size of its weights if never loaded."""
        return self._sizes.get(spec.name, _weights_bytes(spec))

    def _evict_for(self, spec: ModelSpec) -> None:
        """Evicts models until a new one fits, and waits until their memory is free."""
        if spec.is_embedded:
            return
        memory.trim_heap()
        evicted = self._remove_entries_for(spec)
        if not evicted:  # garbage collection takes as long as building a small model
            return
        memory.release_memory()
        # The thread of the last user may still hold a reference for a moment, and there is no
        # notification when it is dropped.
        for _ in range(RELEASE_CHECKS):
            if not any(engine() for engine in evicted):
                break
            time.sleep(RELEASE_SECONDS / RELEASE_CHECKS)
            memory.release_memory()

    def _remove_entries_for(self, spec: ModelSpec) -> list[weakref.ref[Engine]]:
        """Removes entries until a model fits, and waits for their users to finish."""
        removed: list[_Entry] = []
        with self._changed:
            capacity, size_bytes = self._current_capacity(), self._estimated_bytes(spec)
            while (entries := self._evictable()) and not self._fits(size_bytes, capacity):
                name = min(entries, key=lambda name: entries[name].users > 0)
                # Removed before its users finish, so that it gets no new ones.
                removed.append(self._entries.pop(name))
            self._changed.wait_for(lambda: not any(entry.users for entry in removed))
        return [weakref.ref(entry.model.engine) for entry in removed]

    def _evictable(self) -> dict[str, _Entry]:
        """Returns all entries but the embedded model's, the least recently used first."""
        return {
            name: entry
            for name, entry in self._entries.items()
            if not entry.model.engine.spec.is_embedded
        }

    def _fits(self, additional_bytes: int, capacity: int) -> bool:
        """Whether the loaded models and additional bytes fit into a capacity."""
        loaded_bytes = sum(entry.model.size_bytes for entry in self._evictable().values())
        return loaded_bytes + additional_bytes <= capacity


def _free_frames(error: BaseException | None) -> None:
    """Frees a partly loaded model, which the frames of an error and its causes refer to."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__


def _weights_bytes(spec: ModelSpec) -> int:
    """Returns the size of a model's float32 weights."""
    return FLOAT32_BYTES * spec.parameters
