"""The models in memory, shared by everyone who asks, within one budget."""

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
"""Photos that a model looks at together; more are no faster (`benchmarks/batch.py`)."""

RELEASE_SECONDS = 1.0
RELEASE_TRIES = 20
"""How long, and how often meanwhile, it is looked whether a model that has to go has gone."""


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """An engine and the weight file in it.

    Attributes:
        engine: Answers.
        weights: The file.
        size_bytes: Memory that loading it took, and at least that of its numbers.
    """

    engine: Engine
    weights: LocalWeights
    size_bytes: int


@dataclass(slots=True)
class _Entry:
    """A loaded model's place in the store."""

    model: LoadedModel
    users: int = 0


class ModelStore:
    """Loads each model once and keeps as many as the memory budget has room for.

    The budget is for the whole process: what it holds besides models, TensorFlow included,
    is set aside, and the models share the rest. Where a new one does not fit beside the
    others, others go before it is loaded: first those that nobody uses, then the least
    recently used, of which the last user is waited for. The small embedded model always
    stays.

    What the store finds out about a weight file holds until the file changes: an unchanged
    file is hashed once, and a damaged one is tried once. Every method may be called from any
    thread.

    Attributes:
        measuring: Held by who measures time, so that no two do at once.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shelves: OrderedDict[str, _Entry] = OrderedDict()  # least recently used first
        self._changed = threading.Condition()
        self.measuring = threading.Lock()
        self._borrowed = threading.local()  # in each thread, the name of the model that it uses
        self._wanted: dict[str, threading.Lock] = {}
        self._loading = threading.Lock()
        self._room_bytes: int | None = None
        self._reserved_bytes = 0
        self._sizes: dict[str, int] = {}
        self._inspected: dict[tuple[ModelSpec, FileState], LocalWeights] = {}
        self._damaged: dict[tuple[ModelSpec, FileState], str] = {}

    @contextmanager
    def use(self, spec: ModelSpec, on_progress: OnProgress | None = None) -> Iterator[LoadedModel]:
        """Lends a model, loading (and downloading) it if need be.

        It stays loaded at least until the block ends. Whoever asks for a loaded model waits
        for nobody. One model is loaded at a time; a download keeps only those waiting who
        ask for the same model.

        Raises:
            WeightsError: If the weights cannot be had.
            MemoryBudgetError: If the budget has no room for the model, however few others
                are loaded.
            RuntimeError: If the block itself asks for a model. Where there is no room for
                both, it would wait for its own end.
        """
        if getattr(self._borrowed, "name", None) is not None:
            raise RuntimeError(
                f"{spec.name} was asked for in a block that uses {self._borrowed.name}"
            )
        entry = self._take(spec) or self._fill(spec, on_progress)
        self._borrowed.name = spec.name
        try:
            yield entry.model
        finally:
            self._borrowed.name = None
            with self._changed:
                entry.users -= 1
                self._changed.notify_all()

    def is_loaded(self, spec: ModelSpec) -> bool:
        """Whether the model can answer without being loaded first."""
        return spec.name in self._shelves

    def loaded(self) -> dict[str, int]:
        """Returns the names of the loaded models and the bytes that each took."""
        with self._changed:
            return {name: entry.model.size_bytes for name, entry in self._shelves.items()}

    def evict(self, spec: ModelSpec) -> None:
        """Forgets a model, unless somebody uses it, so that its memory is free."""
        with self._changed:
            entry = self._shelves.get(spec.name)
            if entry is None or entry.users:
                return
            del self._shelves[spec.name]
        del entry
        memory.give_back()

    @contextmanager
    def reserve(self, size_bytes: int) -> Iterator[None]:
        """Sets memory of the budget aside for another process, which shares the machine.

        Models that nobody uses go, until the rest fits beside it.

        Raises:
            MemoryBudgetError: If the budget has no room for it, however few models are loaded.
        """
        self.check_reserve(size_bytes)
        with self._changed:
            self._reserved_bytes += size_bytes
            idle = [name for name, entry in self._others().items() if not entry.users]
            while idle and not self._has_room(0, self._room_now()):
                del self._shelves[idle.pop(0)]
                memory.give_back()
        try:
            yield
        finally:
            with self._changed:
                self._reserved_bytes -= size_bytes

    def check_reserve(self, size_bytes: int) -> None:
        """Makes sure that `reserve` could be done, if nobody else had reserved anything.

        Raises:
            MemoryBudgetError: If not.
        """
        room = self._room() + self._reserved_bytes  # others will have given theirs back
        if size_bytes > room:
            raise MemoryBudgetError(
                f"This takes {size_bytes / 1e6:,.0f} MB of memory. This program may use "
                f"{self._settings.memory_bytes / 1e6:,.0f} MB (VGG_DEMO_MEMORY_MB), of which "
                f"{max(0, room) / 1e6:,.0f} MB are left. Give fewer photos, choose a smaller "
                "network, or raise the limit where there is more memory."
            )

    def check_fits(self, spec: ModelSpec) -> None:
        """Makes sure, before anything is downloaded, that a model can be loaded here.

        It is the size of its numbers that counts: what loading took can be too high, since
        others use memory meanwhile, and nobody is to be sent away for that.

        Raises:
            MemoryBudgetError: If the budget has no room for it, even alone.
        """
        room = self._room()
        if not spec.is_embedded and _least_bytes(spec) > room:
            taken = self._reserved_bytes
            reason = f" while a training takes {taken / 1e6:,.0f} MB" if taken else ""
            advice = "wait for its end" if taken else "raise the limit where there is more memory"
            raise MemoryBudgetError(
                f"{spec.keras_name} takes {_least_bytes(spec) / 1e6:,.0f} MB of memory. This "
                f"program may use {self._settings.memory_bytes / 1e6:,.0f} MB "
                f"(VGG_DEMO_MEMORY_MB), of which {max(0, room) / 1e6:,.0f} MB are for "
                f"models{reason}. Choose a smaller model, or {advice}."
            )

    def batch_size(self, model: LoadedModel) -> int:
        """Returns how many photos a model may look at together, two or more.

        What they take while it looks comes on top of the budget, of which it is a sixth at
        most: the rest of what is allowed is for decoding and for other visitors.
        """
        allowed_bytes = self._settings.memory_bytes // 6
        return max(2, min(MAX_BATCH, allowed_bytes // model.engine.photo_bytes))

    def _room(self) -> int:
        """Returns the bytes that all models together may take."""
        if self._room_bytes is None:
            import vgg_demo.inference.engine  # noqa: F401  # TensorFlow is not a model

            self._room_bytes = self._settings.memory_bytes - memory.used_bytes()
        return self._room_bytes - self._reserved_bytes

    def _room_now(self) -> int:
        """As `_room`, less what the process has come to hold besides the models since."""
        models = sum(entry.model.size_bytes for entry in self._others().values())
        besides = memory.used_bytes() - models
        return min(self._room(), self._settings.memory_bytes - self._reserved_bytes - besides)

    def _take(self, spec: ModelSpec) -> _Entry | None:
        with self._changed:
            entry = self._shelves.get(spec.name)
            if entry is not None:
                entry.users += 1
                self._shelves.move_to_end(spec.name)
            return entry

    def _fill(self, spec: ModelSpec, on_progress: OnProgress | None) -> _Entry:
        with self._wanted.setdefault(spec.name, threading.Lock()):
            if entry := self._take(spec):
                return entry
            # What can fail without loading does so before any other model has to go.
            self.check_fits(spec)
            path = ensure_weights(spec, self._settings, on_progress)
            file = (spec, FileState.of(path))
            if file in self._damaged:
                raise WeightsCorruptError(self._damaged[file])
            if file not in self._inspected:
                self._inspected[file] = inspect_weights(path, spec)
            with self._loading:
                self._make_room(spec)
                try:
                    return self._load(spec, path, self._inspected[file], file[1])
                except WeightsCorruptError as error:
                    self._damaged[file] = str(error)
                    raise

    def _load(self, spec: ModelSpec, path: Path, weights: LocalWeights, state: FileState) -> _Entry:
        from vgg_demo.inference.engine import load_engine

        before = memory.used_bytes()
        try:
            with memory.in_pieces_of_their_own():
                engine = load_engine(spec, path)
        except (MemoryError, WeightsCorruptError) as error:
            _free_frames(error)
            memory.give_back()
            if isinstance(error, WeightsCorruptError):
                raise
            raise MemoryBudgetError(
                f"Loading {spec.keras_name} took more memory than there is. Choose a smaller "
                "model, or close other programs on this machine."
            ) from error
        if FileState.of(path) != state:
            raise WeightsMissingError(
                f"The weights in {path} were changed while they were being loaded. Try again."
            )
        # Freed memory that was not handed back and is used again does not show as growth.
        grown = memory.used_bytes() - before
        self._sizes[spec.name] = size_bytes = max(grown, _least_bytes(spec))
        with self._changed:
            entry = self._shelves[spec.name] = _Entry(
                LoadedModel(engine, weights, size_bytes), users=1
            )
            # It may have taken more than was thought; what nobody uses makes up for it.
            idle = [name for name, other in self._others().items() if not other.users]
            while idle and not self._has_room(0, self._room_now()):
                del self._shelves[idle.pop(0)]
                memory.give_back()
        return entry

    def _size_bytes(self, spec: ModelSpec) -> int:
        """What loading a model took, or before that the size of its numbers."""
        return self._sizes.get(spec.name, _least_bytes(spec))

    def _make_room(self, spec: ModelSpec) -> None:
        """Lets go of models until a new one fits."""
        if spec.is_embedded:
            return
        memory.give_back_freed()
        gone = self._evict_for(spec)
        if not gone:  # looking for garbage takes as long as building a small model
            return
        memory.give_back()
        # A last user has let go, but its thread may not have come to dropping the reference,
        # and nothing tells when it has: so it is looked again, for a second at most.
        for _ in range(RELEASE_TRIES):
            if not any(engine() for engine in gone):
                break
            time.sleep(RELEASE_SECONDS / RELEASE_TRIES)
            memory.give_back()

    def _evict_for(self, spec: ModelSpec) -> list[weakref.ref[Engine]]:
        leaving: list[_Entry] = []
        with self._changed:
            room = self._room_now()
            while (others := self._others()) and not self._has_room(self._size_bytes(spec), room):
                name = min(others, key=lambda name: others[name].users > 0)
                # Gone at once, so that nobody else begins to use it meanwhile.
                leaving.append(self._shelves.pop(name))
            self._changed.wait_for(lambda: not any(entry.users for entry in leaving))
        return [weakref.ref(entry.model.engine) for entry in leaving]

    def _others(self) -> dict[str, _Entry]:
        """Returns what can go, the least recently used first."""
        return {
            name: entry
            for name, entry in self._shelves.items()
            if not entry.model.engine.spec.is_embedded
        }

    def _has_room(self, more_bytes: int, room: int) -> bool:
        """Whether there is room for what is loaded and so much more."""
        taken = sum(entry.model.size_bytes for entry in self._others().values())
        return taken + more_bytes <= room


def _free_frames(error: BaseException | None) -> None:
    """Frees what was half filled: it hangs on the frames of an error and of its causes."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__


def _least_bytes(spec: ModelSpec) -> int:
    return FLOAT32_BYTES * spec.parameters
