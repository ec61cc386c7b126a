"""Photos that come at the same time, and amounts that are shared."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest

from vgg_demo.errors import BusyError, WeightsMissingError
from vgg_demo.images.photo import open_photo
from vgg_demo.images.quota import Quota
from vgg_demo.inference.batching import MicroBatcher
from vgg_demo.inference.classify import Prepared, prepare_photo
from vgg_demo.inference.results import Classification
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import get_spec

MINI_VGG = get_spec("mini_vgg")


@pytest.fixture
def prepared(photos: dict[str, bytes]) -> dict[str, Prepared]:
    return {
        name: prepare_photo(open_photo(data, file=name), MINI_VGG, Resize.CROP)
        for name, data in photos.items()
    }


class Slow:
    """A model that looks when it is told to, and tells how many it looked at together."""

    def __init__(self, store: ModelStore, patch: pytest.MonkeyPatch) -> None:
        self.sizes: list[int] = []
        self.begun, self.resume = threading.Semaphore(0), threading.Semaphore(0)
        with store.use(MINI_VGG) as model:
            logits = model.engine.logits

        def slow(batch: np.ndarray) -> np.ndarray:
            self.sizes.append(len(batch))
            self.begun.release()
            assert self.resume.acquire(timeout=60)
            return logits(batch)

        patch.setattr(model.engine, "logits", slow)


@pytest.fixture
def slow(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slow]:
    found = Slow(store, monkeypatch)
    yield found
    for _ in range(100):
        found.resume.release()


def test_who_comes_alone_is_looked_at_alone(
    store: ModelStore, prepared: dict[str, Prepared]
) -> None:
    batcher = MicroBatcher(store)
    for name, label in (("cat", "cat"), ("dog", "dog"), ("cat", "cat")):
        result = batcher.submit(prepared[name], MINI_VGG).result(60)
        assert (result.file, result.predictions(1)[0].label) == (name, label)
    assert batcher.waiting == 0


def test_who_comes_meanwhile_is_looked_at_together(
    store: ModelStore, slow: Slow, prepared: dict[str, Prepared]
) -> None:
    batcher = MicroBatcher(store)
    answers: list[Future[Classification]] = [batcher.submit(prepared["cat"], MINI_VGG)]
    assert slow.begun.acquire(timeout=60)
    answers += [batcher.submit(photo, MINI_VGG) for photo in prepared.values()]
    assert batcher.waiting == len(prepared)
    slow.resume.release(2)
    assert [answer.result(60).file for answer in answers] == ["cat", *prepared]
    assert slow.sizes == [1, len(prepared)]


def test_a_full_queue(store: ModelStore, slow: Slow, prepared: dict[str, Prepared]) -> None:
    batcher = MicroBatcher(store, most_waiting=2)
    first = batcher.submit(prepared["cat"], MINI_VGG)
    assert slow.begun.acquire(timeout=60)
    others = [batcher.submit(prepared["dog"], MINI_VGG) for _ in range(2)]
    with pytest.raises(BusyError, match="2 photos are waiting already") as caught:
        batcher.submit(prepared["dog"], MINI_VGG)
    assert caught.value.retry_seconds > 0
    slow.resume.release(2)
    for answer in (first, *others):
        answer.result(60)
    assert batcher.waiting == 0


def test_what_nobody_waits_for_is_not_looked_at(
    store: ModelStore, slow: Slow, prepared: dict[str, Prepared]
) -> None:
    batcher = MicroBatcher(store)
    first = batcher.submit(prepared["cat"], MINI_VGG)
    assert slow.begun.acquire(timeout=60)
    others = [batcher.submit(prepared["dog"], MINI_VGG) for _ in range(3)]
    assert all(other.cancel() for other in others[:2])
    slow.resume.release(2)
    assert others[2].result(60).file == "dog"
    assert first.result(60).file == "cat"
    assert slow.sizes == [1, 1]
    slow.resume.release()
    assert batcher.submit(prepared["moose"], MINI_VGG).result(60).file == "moose"


def test_all_are_told_of_an_error(store: ModelStore, prepared: dict[str, Prepared]) -> None:
    batcher = MicroBatcher(store)
    answers = [batcher.submit(prepared["cat"], get_spec("vgg16")) for _ in range(5)]
    for answer in answers:
        with pytest.raises(WeightsMissingError):
            answer.result(60)
    assert batcher.waiting == 0
    batcher.submit(prepared["cat"], MINI_VGG).result(60)


def test_without_a_thread_nothing_is_lost(
    store: ModelStore, prepared: dict[str, Prepared], monkeypatch: pytest.MonkeyPatch
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


def test_from_many_threads(store: ModelStore, prepared: dict[str, Prepared]) -> None:
    batcher = MicroBatcher(store, most_waiting=1000)

    def ask(number: int) -> bool:
        name = list(prepared)[number % len(prepared)]
        return batcher.submit(prepared[name], MINI_VGG).result(60).file == name

    with ThreadPoolExecutor(16) as clients:
        assert all(clients.map(ask, range(400)))


def test_a_quota_is_never_exceeded() -> None:
    quota, held, most = Quota(10), [0], [0]
    lock = threading.Lock()

    def hold(amount: int) -> None:
        with quota.hold(amount):
            with lock:
                held[0] += min(amount, 10)
                most[0] = max(most[0], held[0])
            threading.Event().wait(0.001)
            with lock:
                held[0] -= min(amount, 10)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(hold, [1, 3, 10, 25, 4, 4, 4] * 20))
    assert (held[0], most[0]) == (0, 10)


def test_who_needs_much_is_not_overtaken() -> None:
    quota, order = Quota(2), []
    wants = threading.Event()

    def much() -> None:
        wants.set()
        with quota.hold(2):
            order.append("much")

    def little() -> None:
        with quota.hold(1):
            order.append("little")

    with ThreadPoolExecutor(2) as threads:
        with quota.hold(1):
            threads.submit(much)
            assert wants.wait(60)
            while not quota._turn.locked():
                pass
            threads.submit(little)
        threads.shutdown(wait=True)
    assert order == ["much", "little"]


def test_an_error_gives_back() -> None:
    quota = Quota(1)
    for _ in range(3):
        with pytest.raises(KeyError), quota.hold(1):
            raise KeyError
