"""The store of loaded models and its memory budget, with small real models."""

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
import vgg_demo.inference.store
from vgg_demo import memory
from vgg_demo.analysis.comparison import measure
from vgg_demo.errors import MemoryBudgetError, WeightsCorruptError, WeightsMissingError
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.classify import classify_photo
from vgg_demo.inference.engine import Engine
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.registry import MODELS, ModelSpec, get_spec
from vgg_demo.settings import Settings
from vgg_demo.weights.local import find_weights

MINI_VGG = get_spec("mini_vgg")
SIZE = 4 * MINI_VGG.parameters
ROOT = Path(__file__).parents[2]


def named(name: str) -> ModelSpec:
    """Returns Mini-VGG as a model among others: not embedded, so it may have to go."""
    weights = replace(MINI_VGG.weights, name=f"{name}.h5")
    return replace(MINI_VGG, name=name, weights=weights)


A, B, C = named("a"), named("b"), named("c")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Room for two of the three models, whose files are here."""
    for spec in (A, B, C):
        shutil.copy(find_weights(MINI_VGG, Settings()), tmp_path / spec.weights.name)
    return Settings(cache_dir=tmp_path, offline=True, memory_bytes=2 * SIZE)


@pytest.fixture
def store(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    """A store that takes the process for empty, so that room is counted in models."""
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
    """Has a function called with the same arguments before a function of a module is."""

    def wrap(module: ModuleType, name: str, before: Callable) -> None:
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given: before(*given) or function(*given))

    return wrap


def test_the_least_recently_used_goes(store: ModelStore) -> None:
    load(store, A, B, A, C)
    assert loaded(store) == "ac"


def test_it_goes_before_the_new_one_is_built(store: ModelStore, watch) -> None:
    load(store, A, B)
    with store.use(A) as model:
        gone = weakref.ref(model.engine.model)
        del model
    load(store, B)
    seen = []
    watch(vgg_demo.inference.engine, "load_engine", lambda *_: seen.append((loaded(store), gone())))
    load(store, C)
    assert seen == [("b", None)]


def test_the_embedded_one_always_answers_and_stays(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "used_bytes", lambda: 0)
    store = ModelStore(replace(settings, memory_bytes=SIZE))
    load(store, MINI_VGG, A, B)
    assert loaded(store) == "b"
    assert store.is_loaded(MINI_VGG)
    nothing = ModelStore(replace(settings, memory_bytes=0))
    load(nothing, MINI_VGG)


def test_what_can_never_fit_is_refused_with_the_numbers(store: ModelStore) -> None:
    load(store, A, B)
    large = replace(C, parameters=3 * C.parameters)
    words = r"Mini-VGG takes 24 MB .* may use 16 MB \(VGG_DEMO_MEMORY_MB\), of which 16 MB are for"
    with pytest.raises(MemoryBudgetError, match=words), store.use(large):
        pass
    assert loaded(store) == "ab"


def test_the_program_itself_counts(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "used_bytes", lambda: SIZE + 1)
    store = ModelStore(settings)
    with pytest.raises(MemoryBudgetError, match=r"16 MB .*, of which 8 MB are"), store.use(A):
        pass


def test_sizes_are_corrected_by_what_loading_took(
    store: ModelStore, watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = {"a": SIZE, "b": 3 * SIZE // 2, "c": SIZE}
    last = [""]

    def used_bytes() -> int:
        return sum(took[name] for name in {*loaded(store), *last[0]})

    def load_last(spec: ModelSpec, _: Path) -> None:
        last[0] = spec.name

    monkeypatch.setattr(memory, "used_bytes", used_bytes)
    watch(vgg_demo.inference.engine, "load_engine", load_last)
    seen = []
    watch(vgg_demo.inference.engine, "load_engine", lambda *_: seen.append(loaded(store)))
    load(store, A, B)  # loaded beside A, as it has no more numbers; then known to be larger
    assert loaded(store) == "b"
    load(store, C)
    assert loaded(store) == "c"
    load(store, B)
    assert seen == ["", "a", "", ""]


def test_what_the_process_holds_besides_is_not_for_models(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(store, A)
    monkeypatch.setattr(memory, "used_bytes", lambda: SIZE + 1_000_000)  # A, and some photos
    load(store, B)
    assert loaded(store) == "b"


@contextmanager
def used_elsewhere(store: ModelStore, spec: ModelSpec) -> Iterator[threading.Event]:
    """Has another thread use a model until the event is set, or the block ends."""
    in_use, evict = threading.Event(), threading.Event()

    def use() -> None:
        with store.use(spec) as model:
            in_use.set()
            assert evict.wait(60)
            assert model.engine.logits(np.zeros((1, 32, 32, 3), np.float32)).shape == (1, 10)

    with ThreadPoolExecutor(1) as executor:
        used = executor.submit(use)
        assert in_use.wait(60)
        try:
            yield evict
        finally:
            evict.set()
        used.result(60)


def test_what_nobody_uses_goes_first(store: ModelStore) -> None:
    load(store, A, B)
    with used_elsewhere(store, A):
        load(store, B, C)
    assert loaded(store) == "ac"


def test_a_model_in_use_is_waited_for(store: ModelStore) -> None:
    load(store, MINI_VGG)
    with used_elsewhere(store, A) as let_go_of_a, used_elsewhere(store, C):
        with ThreadPoolExecutor(1) as executor:
            other = executor.submit(load, store, B)
            wait_until(lambda: loaded(store) == "c")  # A is to go, and its user is waited for
            load(store, C, MINI_VGG)  # who asks for what is loaded waits for nobody
            assert not other.done()
            let_go_of_a.set()
            other.result(60)
        assert loaded(store) == "bc"


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("waited in vain")


@pytest.mark.parametrize("spec", [A, B, MINI_VGG], ids=["the same", "another", "embedded"])
def test_a_block_that_could_wait_for_itself(store: ModelStore, spec: ModelSpec) -> None:
    load(store, A, B, MINI_VGG)
    with store.use(A), pytest.raises(RuntimeError, match="in a block that uses a"):
        load(store, spec)
    load(store, spec)


def test_without_memory_for_loading(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> Engine:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(vgg_demo.inference.engine, "load_engine", fail)
        with pytest.raises(MemoryBudgetError, match="Loading Mini-VGG took more memory"):
            load(store, A)
    assert loaded(store) == ""
    load(store, A)


def test_what_fails_to_load_leaves_nothing(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even while its error is kept, as the page does."""
    half_filled: list[weakref.ref] = []

    def fail(_: Engine, *arguments: Any) -> None:
        half_filled.append(weakref.ref(arguments[-1]()))
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr(Engine, "__init__", fail)
    with pytest.raises(MemoryBudgetError) as caught:
        load(store, A)
    gc.collect()
    assert half_filled[0]() is None
    assert caught.value.__cause__ is not None


def test_many_visitors_with_different_models(
    store: ModelStore, watch, photos: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each gets right answers, and never more models are alive than there is room for."""
    monkeypatch.setattr("vgg_demo.models.registry.MODELS", MODELS | {"a": A, "b": B, "c": C})
    photo = open_photo(photos["cat"])
    expected = classify_photo(photo, MINI_VGG, store).probabilities
    alive: weakref.WeakSet[Engine] = weakref.WeakSet()
    most = [0]
    load_engine = vgg_demo.inference.engine.load_engine

    def count(spec: ModelSpec, path: Path) -> Engine:
        gc.collect()
        most[0] = max(most[0], len(alive) + 1)
        engine = load_engine(spec, path)
        alive.add(engine)
        return engine

    monkeypatch.setattr(vgg_demo.inference.engine, "load_engine", count)

    def visit(seed: int) -> None:
        for spec in random.Random(seed).choices((A, B, C), k=6):  # noqa: S311
            answer = measure(photo, spec, store, repeat=1)
            assert answer.classification.model == spec.name
            assert np.array_equal(answer.classification.probabilities, expected)

    with ThreadPoolExecutor(4) as executor:
        for visitor in [executor.submit(visit, seed) for seed in range(4)]:
            visitor.result(200)
    assert most == [2]


@pytest.mark.skipif(sys.platform != "linux", reason="needs glibc")
def test_freed_memory_goes_back(vgg16_dir: Path) -> None:
    """In a process of its own: VGG16's 553 MB come, and go when Mini-VGG's double comes."""
    program = """
from pathlib import Path
import sys
from tests.inference.test_store import A, load
from vgg_demo import memory
from vgg_demo.inference.classify import classify_photo
from vgg_demo.analysis.comparison import measure
from vgg_demo.models.registry import get_spec
from vgg_demo.settings import Settings
from vgg_demo.inference.store import ModelStore
import vgg_demo.inference.engine

vgg16 = get_spec("vgg16")
room = vgg16.weights.size_bytes + 100_000_000
settings = Settings(weights_dir=Path(sys.argv[1]), memory_bytes=memory.used_bytes() + room)
store = ModelStore(settings)
before = memory.used_bytes()
load(store, vgg16)
during = memory.used_bytes()
store._sizes["a"] = room
load(store, A)
print(before, during, memory.used_bytes())
"""
    shutil.copy(find_weights(MINI_VGG, Settings()), vgg16_dir / A.weights.name)
    answer = subprocess.run(
        [sys.executable, "-c", program, str(vgg16_dir)],
        cwd=ROOT, check=True, capture_output=True, text=True,
    )  # fmt: skip
    before, during, after = map(int, answer.stdout.split())
    assert during - before > 500e6
    assert during - after > 500e6


@pytest.fixture
def work(watch) -> list[str]:
    """What the store has done so far: files hashed, files loaded."""
    done: list[str] = []
    watch(vgg_demo.inference.store, "inspect_weights", lambda *_: done.append("inspect"))
    watch(vgg_demo.inference.engine, "load_engine", lambda *_: done.append("load"))
    return done


def test_a_damaged_file_costs_nothing_until_it_changes(
    settings: Settings, store: ModelStore, work: list[str]
) -> None:
    path = settings.cache_dir / A.weights.name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1000])
    messages = []
    for _ in range(3):
        with pytest.raises(WeightsCorruptError, match="Delete it") as caught:
            load(store, A)
        messages.append(str(caught.value))
    assert work == ["inspect", "load"]
    assert len(set(messages)) == 1
    path.write_bytes(whole)
    load(store, A)


def test_an_unchanged_file_is_hashed_once(store: ModelStore, work: list[str]) -> None:
    load(store, A, B, C, A)
    assert sorted(work) == ["inspect"] * 3 + ["load"] * 4


def test_a_file_with_the_old_time_and_size_is_noticed(
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


def test_a_file_that_is_exchanged_while_it_is_loaded(
    settings: Settings, store: ModelStore, watch
) -> None:
    path = settings.cache_dir / A.weights.name
    whole = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        load_engine = vgg_demo.inference.engine.load_engine
        patch.setattr(
            vgg_demo.inference.engine,
            "load_engine",
            lambda *given: (path.write_bytes(whole), load_engine(*given))[1],
        )
        with pytest.raises(WeightsMissingError, match=r"changed while .* Try again"):
            load(store, A)
    assert loaded(store) == ""
    load(store, A)


@pytest.mark.skipif(sys.platform != "linux", reason="locks as Linux has them")
def test_a_file_that_is_locked_for_a_while(settings: Settings, store: ModelStore) -> None:
    import fcntl

    with (settings.cache_dir / A.weights.name).open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(WeightsMissingError, match="Try again"):
            load(store, A)
    load(store, A)


def test_a_file_that_is_gone(settings: Settings, store: ModelStore) -> None:
    (settings.cache_dir / A.weights.name).unlink()
    with pytest.raises(WeightsMissingError, match="VGG_DEMO_OFFLINE"):
        load(store, A)


def test_what_is_set_aside_has_models_go(store: ModelStore) -> None:
    load(store, A, B)
    with store.use(B), store.reserve(SIZE):
        assert loaded(store) == "b"  # who is used stays
    load(store, A)
    assert loaded(store) == "ab"  # there is room again


def test_while_memory_is_set_aside_a_model_may_not_fit(store: ModelStore) -> None:
    with store.reserve(2 * SIZE):
        with pytest.raises(MemoryBudgetError, match=r"while a training takes .* wait for its end"):
            load(store, A)
        store.check_reserve(2 * SIZE)  # who comes next can wait for it
    load(store, A)


def test_more_than_there_is_cannot_be_set_aside(store: ModelStore) -> None:
    load(store, A)
    with pytest.raises(MemoryBudgetError, match="Give fewer photos"), store.reserve(3 * SIZE):
        pass
    assert loaded(store) == "a"


def test_a_model_is_let_go(store: ModelStore) -> None:
    load(store, A)
    with store.use(A):
        store.evict(A)
        assert loaded(store) == "a"  # who uses it has it
    store.evict(A)
    store.evict(B)  # it is not there
    assert loaded(store) == ""
