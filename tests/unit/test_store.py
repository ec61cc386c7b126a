"""The store of loaded models, and the downloads that end in it, with a small real model."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import vgg_demo.engine
import vgg_demo.store
from tests.weights_server import Server, serving
from vgg_demo.downloads import Download, Downloads, Status
from vgg_demo.errors import WeightsCorruptError
from vgg_demo.registry import ModelSpec, get_spec
from vgg_demo.settings import Settings
from vgg_demo.store import ModelStore

SMALL = get_spec("mobilenet_v3_small")


@pytest.fixture
def server(small_weights: Path) -> Iterator[Server]:
    with serving(small_weights.read_bytes()) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", stall_seconds=60)


@pytest.fixture
def downloads(settings: Settings) -> Downloads:
    return Downloads(settings, ModelStore(settings))


def spec_for(server: Server, path: str) -> ModelSpec:
    digest = hashlib.md5(server.content, usedforsecurity=False).hexdigest()
    weights = dataclasses.replace(SMALL.weights, url=server.url(path), hash=digest)
    return dataclasses.replace(SMALL, weights=weights)


def wait_for_downloads() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("download-"):
            thread.join(60)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the store has done so far: files hashed, files loaded."""
    done: list[str] = []

    def note(module: ModuleType, name: str) -> None:
        function = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *given: done.append(name) or function(*given))

    note(vgg_demo.store, "inspect_weights")
    note(vgg_demo.engine, "load_engine")
    return done


def test_a_damaged_file_costs_nothing_until_it_changes(
    settings: Settings, small_weights: Path, work: list[str]
) -> None:
    path = settings.cache_dir / SMALL.weights.name
    path.parent.mkdir()
    path.write_bytes(small_weights.read_bytes()[:-1000])
    store = ModelStore(settings)
    messages = []
    for _ in range(3):
        with pytest.raises(WeightsCorruptError, match="Delete it") as caught:
            store.get(SMALL)
        messages.append(str(caught.value))
    assert work == ["inspect_weights", "load_engine"]
    assert len(set(messages)) == 1
    shutil.copy(small_weights, path)
    assert store.get(SMALL).engine.spec is SMALL


def place(weights: Path, settings: Settings) -> Path:
    """Puts a weight file where the program looks for it."""
    path = settings.cache_dir / SMALL.weights.name
    path.parent.mkdir()
    shutil.copy(weights, path)
    return path


def test_an_unchanged_file_is_hashed_once(
    settings: Settings, small_weights: Path, work: list[str]
) -> None:
    place(small_weights, settings)
    store = ModelStore(settings)
    before = store.get(SMALL).weights
    forget(store, SMALL)
    assert store.get(SMALL).weights is before
    assert work == ["inspect_weights", "load_engine", "load_engine"]


def test_a_file_with_the_old_time_and_size_is_noticed(
    settings: Settings, small_weights: Path
) -> None:
    path = place(small_weights, settings)
    store = ModelStore(settings)
    before = store.get(SMALL).weights
    forget(store, SMALL)
    state = path.stat()
    content = bytearray(small_weights.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert store.get(SMALL).weights.sha256 != before.sha256


def forget(store: ModelStore, spec: ModelSpec) -> None:
    """Lets another model push one out."""
    store._make_room(get_spec("vgg16"))
    assert not store.is_loaded(spec)


def test_a_download_ends_ready_to_answer(
    server: Server, downloads: Downloads, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_for(server, "slow")
    store = ModelStore(settings)
    downloads = Downloads(settings, store)
    seen: list[Download] = []
    load = vgg_demo.engine.load_engine

    def watched(*arguments):
        seen.append(downloads.get(spec))
        return load(*arguments)

    monkeypatch.setattr(vgg_demo.engine, "load_engine", watched)
    assert downloads.get(spec) is None
    downloads.start(spec)
    downloads.start(spec)
    assert downloads.get(spec).status is Status.RUNNING
    assert not store.is_loaded(spec)
    server.go_on.set()
    wait_for_downloads()
    assert [download.status for download in seen] == [Status.LOADING]
    assert seen[0].is_under_way
    assert downloads.get(spec) == Download(Status.DONE)
    assert store.is_loaded(spec)
    assert store.get(spec).weights.verified
    assert server.bodies_sent == 1


def test_a_download_that_cannot_be_loaded_has_failed(server: Server, downloads: Downloads) -> None:
    server.content = server.content[:-1000]
    spec = spec_for(server, "whole")
    downloads.start(spec)
    wait_for_downloads()
    assert downloads.get(spec).status is Status.FAILED
    assert "damaged" in downloads.get(spec).error


def test_failed_download_says_why_and_can_be_tried_again(
    server: Server, downloads: Downloads
) -> None:
    downloads.start(spec_for(server, "missing"))
    wait_for_downloads()
    assert downloads.get(SMALL).status is Status.FAILED
    assert "404" in downloads.get(SMALL).error
    downloads.start(spec_for(server, "whole"))
    wait_for_downloads()
    assert downloads.get(SMALL).status is Status.DONE


def test_stopping_the_server_leaves_no_half_file(
    server: Server, downloads: Downloads, settings: Settings
) -> None:
    spec = spec_for(server, "slow")
    downloads.start(spec)
    assert server.half_sent.wait(20)
    stopping = threading.Thread(target=downloads.stop)
    stopping.start()
    server.go_on.set()  # the next piece arrives; what came after it is not waited for
    stopping.join(60)
    wait_for_downloads()
    assert downloads.get(spec).status is Status.FAILED
    assert list(settings.cache_dir.iterdir()) == []
