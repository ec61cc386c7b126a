"""The model store and its memory budget, with small but real models."""

from __future__ import annotations

import gc
import os
import random
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import vgg_demo.inference.engine
import vgg_demo.inference.model_store
from vgg_demo import memory
from vgg_demo.analysis.comparison import measure
from vgg_demo.errors import MemoryBudgetError, WeightsCorruptError, WeightsMissingError
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.classify import classify_photo
from vgg_demo.inference.engine import Engine
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.registry import MODELS, ModelSpec, get_spec
from vgg_demo.settings import Settings
from vgg_demo.weights.local import find_weights

MINI_VGG = get_spec("mini_vgg")
SIZE = 4 * MINI_VGG.parameters
ROOT = Path(__file__).parents[2]


def named(name: str) -> ModelSpec:
    """Returns Mini-VGG under another name, so that it is not embedded and can be evicted."""
    weights = replace(MINI_VGG.weights, name=f"{name}.h5")
    return replace(MINI_VGG, name=name, weights=weights)


A, B, C = named("a"), named("b"), named("c")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A budget for two of the three models, whose weights are installed."""
    for spec in (A, B, C):
        shutil.copy(find_weights(MINI_VGG, Settings()), tmp_path / spec.weights.name)
    return Settings(cache_dir=tmp_path, offline=True, memory_bytes=2 * SIZE)


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """A store in a process that seems to use no memory, so that only models count."""
    monkeypatch.setattr(memory, "used_bytes", lambda: 0)
    return ModelStore(settings)


def load(store: ModelStore, *specs: ModelSpec) -> None:
    for spec in specs:
        with store.use(spec):
            pass


def loaded(store: ModelStore) -> str:
    return "".join(spec.name for spec in (A, B, C) if store.is_loaded(spec))


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Callable[[ModuleType, str, Callable], None]:
    """Returns a function that calls a hook, with the same arguments, before a module's function."""

    def wrap(module: ModuleType, name: str, before: Callable) -> None:
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args: before(*args) or function(*args))

    return wrap


def test_least_recently_used_model_is_evicted(store: ModelStore) -> None:
    load(store, A, B, A, C)
    assert loaded(store) == "ac"


def test_eviction_comes_before_the_new_model_is_built(store: ModelStore, watch) -> None:
    load(store, A, B)
    with store.use(A) as model:
        evicted = weakref.ref(model.engine.model)
        del model
    load(store, B)
    states = []
    watch(
        vgg_demo.inference.engine,
        "load_engine",
        lambda *_: states.append((loaded(store), evicted())),
    )
    load(store, C)
    assert states == [("b", None)]


def test_embedded_model_is_never_evicted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "used_bytes", lambda: 0)
    store = ModelStore(replace(settings, memory_bytes=SIZE))
    load(store, MINI_VGG, A, B)
    assert loaded(store) == "b"
    assert store.is_loaded(MINI_VGG)
    without_budget = ModelStore(replace(settings, memory_bytes=0))
    load(without_budget, MINI_VGG)


def test_model_larger_than_the_budget_is_rejected_with_the_sizes(store: ModelStore) -> None:
    load(store, A, B)
    large = replace(C, parameters=3 * C.parameters)
    message = r"Mini-VGG requires 24 MB .* is 16 MB \(VGG_DEMO_MEMORY_MB\), of which 16 MB is"
    with pytest.raises(MemoryBudgetError, match=message), store.use(large):
        pass
    assert loaded(store) == "ab"


def test_memory_of_the_process_itself_counts(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "used_bytes", lambda: SIZE + 1)
    store = ModelStore(settings)
    with pytest.raises(MemoryBudgetError, match=r"16 MB .*, of which 8 MB is"), store.use(A):
        pass


def test_estimated_sizes_are_replaced_by_measured_sizes(
    store: ModelStore, watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = {"a": SIZE, "b": 3 * SIZE // 2, "c": SIZE}
    last = [""]

    def used_bytes() -> int:
        return sum(sizes[name] for name in {*loaded(store), *last[0]})

    def load_last(spec: ModelSpec, _: Path) -> None:
        last[0] = spec.name

    monkeypatch.setattr(memory, "used_bytes", used_bytes)
    watch(vgg_demo.inference.engine, "load_engine", load_last)
    states = []
    watch(vgg_demo.inference.engine, "load_engine", lambda *_: states.append(loaded(store)))
    load(store, A, B)  # B is estimated to fit beside A, and then measured to be larger
    assert loaded(store) == "b"
    load(store, C)
    assert loaded(store) == "c"
    load(store, B)
    assert states == ["", "a", "", ""]


def test_memory_used_by_other_data_reduces_the_capacity(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(store, A)
    monkeypatch.setattr(memory, "used_bytes", lambda: SIZE + 1_000_000)  # A and some photos
    load(store, B)
    assert loaded(store) == "b"


@contextmanager
def used_elsewhere(store: ModelStore, spec: ModelSpec) -> Iterator[threading.Event]:
    """Uses a model in another thread until the event is set or the block ends."""
    in_use, finish = threading.Event(), threading.Event()

    def use() -> None:
        with store.use(spec) as model:
            in_use.set()
            assert finish.wait(60)
            assert model.engine.logits(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 10)

    with ThreadPoolExecutor(1) as executor:
        used = executor.submit(use)
        assert in_use.wait(60)
        try:
            yield finish
        finally:
            finish.set()
        used.result(60)


def test_idle_models_are_evicted_before_models_in_use(store: ModelStore) -> None:
    load(store, A, B)
    with used_elsewhere(store, A):
        load(store, B, C)
    assert loaded(store) == "ac"


def test_model_in_use_is_evicted_when_its_last_use_ends(store: ModelStore) -> None:
    load(store, MINI_VGG)
    with used_elsewhere(store, A) as finish_a, used_elsewhere(store, C):
        with ThreadPoolExecutor(1) as executor:
            other = executor.submit(load, store, B)
            wait_until(lambda: loaded(store) == "c")  # A is being evicted
            load(store, C, MINI_VGG)  # loaded models are available without waiting
            assert not other.done()
            finish_a.set()
            other.result(60)
        assert loaded(store) == "bc"


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("timed out")


@pytest.mark.parametrize("spec", [A, B, MINI_VGG], ids=["the same", "another", "embedded"])
def test_nested_use_is_rejected(store: ModelStore, spec: ModelSpec) -> None:
    load(store, A, B, MINI_VGG)
    with store.use(A), pytest.raises(RuntimeError, match="inside a block that uses a"):
        load(store, spec)
    load(store, spec)


def test_memory_error_during_loading_is_reported(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Engine:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(vgg_demo.inference.engine, "load_engine", fail)
        with pytest.raises(MemoryBudgetError, match="Not enough memory to load Mini-VGG"):
            load(store, A)
    assert loaded(store) == ""
    load(store, A)


def test_failed_load_frees_its_memory(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory is freed even while the caller keeps the error, as the page does."""
    partly_loaded: list[weakref.ref] = []

    def fail(_: Engine, *arguments: Any) -> None:
        partly_loaded.append(weakref.ref(arguments[-1]()))
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(Engine, "__init__", fail)
    with pytest.raises(MemoryBudgetError) as caught:
        load(store, A)
    gc.collect()
    assert partly_loaded[0]() is None
    assert caught.value.__cause__ is not None


def test_concurrent_visitors_get_correct_results_within_the_budget(
    store: ModelStore, watch, photos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There are never more engines alive than fit into the budget."""
    monkeypatch.setattr("vgg_demo.models.registry.MODELS", MODELS | {"a": A, "b": B, "c": C})
    photo = open_photo(photos["cat"])
    expected = classify_photo(photo, MINI_VGG, store).probabilities
    alive: weakref.WeakSet[Engine] = weakref.WeakSet()
    peak = [0]
    load_engine = vgg_demo.inference.engine.load_engine

    def count(spec: ModelSpec, path: Path) -> Engine:
        gc.collect()
        peak[0] = max(peak[0], len(alive) + 1)
        engine = load_engine(spec, path)
        alive.add(engine)
        return engine

    monkeypatch.setattr(vgg_demo.inference.engine, "load_engine", count)

    def visit(seed: int) -> None:
        for spec in random.Random(seed).choices((A, B, C), k=6):  # noqa: S311
            result = measure(photo, spec, store, repeat=1)
            assert result.classification.model == spec.name
            assert np.array_equal(result.classification.probabilities, expected)

    with ThreadPoolExecutor(4) as executor:
        for visitor in [executor.submit(visit, seed) for seed in range(4)]:
            visitor.result(200)
    assert peak == [2]


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_memory_of_an_evicted_model_is_returned_to_the_system(vgg16_dir: Path) -> None:
    """In a separate process: loads VGG16 (553 MB), then a model that evicts it."""
    program = """
from pathlib import Path
import sys
from tests.inference.test_model_store import A, load
from vgg_demo import memory
from vgg_demo.inference.classify import classify_photo
from vgg_demo.analysis.comparison import measure
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings
from vgg_demo.inference.model_store import ModelStore
import vgg_demo.inference.engine

vgg16 = get_spec("vgg16")
capacity = vgg16.weights.size_bytes + 100_000_000
settings = Settings(weights_dir=Path(sys.argv[1]), memory_bytes=memory.used_bytes() + capacity)
store = ModelStore(settings)
before = memory.used_bytes()
load(store, vgg16)
during = memory.used_bytes()
store._sizes["a"] = capacity
load(store, A)
print(before, during, memory.used_bytes())
"""
    shutil.copy(find_weights(MINI_VGG, Settings()), vgg16_dir / A.weights.name)
    process = subprocess.run(
        [sys.executable, "-c", program, str(vgg16_dir)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    before, during, after = map(int, process.stdout.split())
    assert during - before > 500e6
    assert during - after > 500e6


@pytest.fixture
def operations(watch) -> list[str]:
    """The operations of the store so far: files inspected (hashed) and loaded."""
    done: list[str] = []
    watch(vgg_demo.inference.model_store, "inspect_weights", lambda *_: done.append("inspect"))
    watch(vgg_demo.inference.engine, "load_engine", lambda *_: done.append("load"))
    return done


def test_damaged_file_is_read_once_until_it_changes(
    settings: Settings, store: ModelStore, operations: list[str]
) -> None:
    path = settings.cache_dir / A.weights.name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    messages = []
    for _ in range(3):
        with pytest.raises(WeightsCorruptError, match="Delete it") as caught:
            load(store, A)
        messages.append(str(caught.value))
    assert operations == ["inspect", "load"]
    assert len(set(messages)) == 1
    path.write_bytes(whole)
    load(store, A)


def test_unchanged_file_is_hashed_once(store: ModelStore, operations: list[str]) -> None:
    load(store, A, B, C, A)
    assert sorted(operations) == ["inspect"] * 3 + ["load"] * 4


def test_changed_file_with_the_same_time_and_size_is_detected(
    settings: Settings, store: ModelStore
) -> None:
    path = settings.cache_dir / A.weights.name
    with store.use(A) as model:
        before = model.weights.sha256
    load(store, B, C)
    state = path.stat()
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    with store.use(A) as model:
        assert model.weights.sha256 != before


def test_file_that_changes_during_loading_is_rejected(
    settings: Settings, store: ModelStore, watch
) -> None:
    path = settings.cache_dir / A.weights.name
    whole = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        load_engine = vgg_demo.inference.engine.load_engine
        patch.setattr(
            vgg_demo.inference.engine,
            "load_engine",
            lambda *args: (path.write_bytes(whole), load_engine(*args))[1],
        )
        with pytest.raises(WeightsMissingError, match=r"changed while .* Try again"):
            load(store, A)
    assert loaded(store) == ""
    load(store, A)


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux file locks")
def test_locked_file_can_be_loaded_later(settings: Settings, store: ModelStore) -> None:
    import fcntl

    with (settings.cache_dir / A.weights.name).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(WeightsMissingError, match="Try again"):
            load(store, A)
    load(store, A)


def test_missing_file_is_reported(settings: Settings, store: ModelStore) -> None:
    (settings.cache_dir / A.weights.name).unlink()
    with pytest.raises(WeightsMissingError, match="VGG_DEMO_OFFLINE"):
        load(store, A)


def test_reservation_evicts_idle_models(store: ModelStore) -> None:
    load(store, A, B)
    with store.use(B), store.reserve(SIZE):
        assert loaded(store) == "b"  # a model in use stays
    load(store, A)
    assert loaded(store) == "ab"  # both fit again


def test_model_that_does_not_fit_during_a_reservation_is_rejected(store: ModelStore) -> None:
    with store.reserve(2 * SIZE):
        with pytest.raises(MemoryBudgetError, match=r"while a training run uses .* wait until"):
            load(store, A)
        store.check_reserve(2 * SIZE)  # a later reservation could succeed
    load(store, A)


def test_reservation_larger_than_the_budget_is_rejected(store: ModelStore) -> None:
    load(store, A)
    with pytest.raises(MemoryBudgetError, match="Use fewer photos"), store.reserve(3 * SIZE):
        pass
    assert loaded(store) == "a"


def test_evict_unloads_an_idle_model(store: ModelStore) -> None:
    load(store, A)
    with store.use(A):
        store.evict(A)
        assert loaded(store) == "a"  # a model in use stays
    store.evict(A)
    store.evict(B)  # it is not loaded
    assert loaded(store) == ""
