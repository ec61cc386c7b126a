"""Micro-batching of photos that arrive at the same time, and the weighted semaphore."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from vgg_demo.errors import BusyError, WeightsMissingError
from vgg_demo.images.photo import open_photo
from vgg_demo.images.semaphore import WeightedSemaphore
from vgg_demo.inference.batching import MicroBatcher
from vgg_demo.inference.classify import PreparedPhoto, prepare_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.inference.results import Classification
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import get_spec

MINI_VGG = get_spec("mini_vgg")


@pytest.fixture
def prepared(photos: dict[str, bytes]) -> dict[str, PreparedPhoto]:
    return {
        name: prepare_photo(open_photo(data, file=name), MINI_VGG, Resize.CROP)
        for name, data in photos.items()
    }


class SlowModel:
    """Mini-VGG with inference that waits for `resume` and records the batch sizes."""

    def __init__(self, store: ModelStore, patch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.started, self.resume = threading.Semaphore(0), threading.Semaphore(0)
        with store.use(MINI_VGG) as model:
            logits = model.engine.logits

        def slow_logits(batch: np.ndarray) -> np.ndarray:
            self.sizes.append(len(batch))
            self.started.release()
            assert self.resume.acquire(timeout=60)
            return logits(batch)

        patch.setattr(model.engine, "logits", slow_logits)


@pytest.fixture
def slow(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowModel]:
    model = SlowModel(store, monkeypatch)
    yield model
    for _ in range(100):
        model.resume.release()


def test_single_photos_are_classified_alone(
    store: ModelStore, prepared: dict[str, PreparedPhoto]
) -> None:
    batcher = MicroBatcher(store)
    for name, label in (("cat", "cat"), ("dog", "dog"), ("cat", "cat")):
        result = batcher.submit(prepared[name], MINI_VGG).result(60)
        assert (result.file, result.predictions(1)[0].label) == (name, label)
    assert batcher.waiting == 0


def test_photos_that_arrive_while_the_model_is_busy_form_a_batch(
    store: ModelStore, slow: SlowModel, prepared: dict[str, PreparedPhoto]
) -> None:
    batcher = MicroBatcher(store)
    futures: list[Future[Classification]] = [batcher.submit(prepared["cat"], MINI_VGG)]
    assert slow.started.acquire(timeout=60)
    futures += [batcher.submit(photo, MINI_VGG) for photo in prepared.values()]
    assert batcher.waiting == len(prepared)
    slow.resume.release(2)
    assert [future.result(60).file for future in futures] == ["cat", *prepared]
    assert slow.sizes == [1, len(prepared)]


def test_full_queue_rejects_photos(
    store: ModelStore, slow: SlowModel, prepared: dict[str, PreparedPhoto]
) -> None:
    batcher = MicroBatcher(store, max_waiting=2)
    first = batcher.submit(prepared["cat"], MINI_VGG)
    assert slow.started.acquire(timeout=60)
    others = [batcher.submit(prepared["dog"], MINI_VGG) for _ in range(2)]
    with pytest.raises(BusyError, match="2 photos are already waiting") as caught:
        batcher.submit(prepared["dog"], MINI_VGG)
    assert caught.value.retry_seconds > 0
    slow.resume.release(2)
    for future in (first, *others):
        future.result(60)
    assert batcher.waiting == 0


def test_canceled_photos_are_not_classified(
    store: ModelStore, slow: SlowModel, prepared: dict[str, PreparedPhoto]
) -> None:
    batcher = MicroBatcher(store)
    first = batcher.submit(prepared["cat"], MINI_VGG)
    assert slow.started.acquire(timeout=60)
    others = [batcher.submit(prepared["dog"], MINI_VGG) for _ in range(3)]
    assert all(other.cancel() for other in others[:2])
    slow.resume.release(2)
    assert others[2].result(60).file == "dog"
    assert first.result(60).file == "cat"
    assert slow.sizes == [1, 1]
    slow.resume.release()
    assert batcher.submit(prepared["moose"], MINI_VGG).result(60).file == "moose"


def test_every_future_gets_the_error(store: ModelStore, prepared: dict[str, PreparedPhoto]) -> None:
    batcher = MicroBatcher(store)
    futures = [batcher.submit(prepared["cat"], get_spec("vgg16")) for _ in range(5)]
    for future in futures:
        with pytest.raises(WeightsMissingError):
            future.result(60)
    assert batcher.waiting == 0
    batcher.submit(prepared["cat"], MINI_VGG).result(60)


def test_failure_to_start_a_thread_leaves_the_batcher_usable(
    store: ModelStore, prepared: dict[str, PreparedPhoto], monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = MicroBatcher(store)

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            batcher.submit(prepared["cat"], MINI_VGG)
    assert batcher.waiting == 0
    assert batcher.submit(prepared["cat"], MINI_VGG).result(60).file == "cat"


def test_many_threads_get_their_own_results(
    store: ModelStore, prepared: dict[str, PreparedPhoto]
) -> None:
    batcher = MicroBatcher(store, max_waiting=1000)

    def submit(number: int) -> bool:
        name = list(prepared)[number % len(prepared)]
        return batcher.submit(prepared[name], MINI_VGG).result(60).file == name

    with ThreadPoolExecutor(16) as clients:
        assert all(clients.map(submit, range(400)))


def test_semaphore_is_never_exceeded() -> None:
    semaphore, held, peak = WeightedSemaphore(10), [0], [0]
    lock = threading.Lock()

    def hold(amount: int) -> None:
        with semaphore.acquire(amount):
            with lock:
                held[0] += min(amount, 10)
                peak[0] = max(peak[0], held[0])
            threading.Event().wait(0.001)
            with lock:
                held[0] -= min(amount, 10)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hold, [1, 3, 10, 25, 4, 4, 4] * 20))
    assert (held[0], peak[0]) == (0, 10)


def test_large_request_is_not_overtaken_by_a_small_one() -> None:
    semaphore, order = WeightedSemaphore(2), []
    requested = threading.Event()

    def large() -> None:
        requested.set()
        with semaphore.acquire(2):
            order.append("large")

    def small() -> None:
        with semaphore.acquire(1):
            order.append("small")

    with ThreadPoolExecutor(2) as threads:
        with semaphore.acquire(1):
            threads.submit(large)
            assert requested.wait(60)
            while not semaphore._turn.locked():
                pass
            threads.submit(small)
        threads.shutdown(wait=True)
    assert order == ["large", "small"]


def test_error_releases_the_semaphore() -> None:
    semaphore = WeightedSemaphore(1)
    for _ in range(3):
        with pytest.raises(KeyError), semaphore.acquire(1):
            raise KeyError
