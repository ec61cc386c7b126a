"""Background downloads: each ends with the model in the store, or with an error."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import vgg_demo.inference.engine
from tests.support.weights_server import Server, serving
from vgg_demo.inference.background import BackgroundDownloads, Download, Status
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.registry import ModelSpec, get_spec
from vgg_demo.settings import Settings

SMALL = get_spec("mobilenet_v3_small")


@pytest.fixture
def server(small_weights: Path) -> Iterator[Server]:
    with serving(small_weights.read_bytes()) as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "cache", stall_timeout_seconds=60)


@pytest.fixture
def downloads(settings: Settings) -> BackgroundDownloads:
    return BackgroundDownloads(settings, ModelStore(settings))


def spec_for(server: Server, path: str) -> ModelSpec:
    digest = hashlib.md5(server.content, usedforsecurity=False).hexdigest()
    weights = dataclasses.replace(SMALL.weights, url=server.url(path), hash=digest)
    return dataclasses.replace(SMALL, weights=weights)


def wait_for_downloads() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("download-"):
            thread.join(60)


def test_finished_download_has_loaded_the_model(
    server: Server,
    downloads: BackgroundDownloads,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = spec_for(server, "slow")
    store = ModelStore(settings)
    downloads = BackgroundDownloads(settings, store)
    snapshots: list[Download] = []
    load = vgg_demo.inference.engine.load_engine

    def load_and_record(*arguments):
        snapshots.append(downloads.get(spec))
        return load(*arguments)

    monkeypatch.setattr(vgg_demo.inference.engine, "load_engine", load_and_record)
    assert downloads.get(spec) is None
    downloads.start(spec)
    downloads.start(spec)
    assert downloads.get(spec).status is Status.RUNNING
    assert not store.is_loaded(spec)
    server.resume.set()
    wait_for_downloads()
    assert [download.status for download in snapshots] == [Status.LOADING]
    assert snapshots[0].is_active
    assert downloads.get(spec) == Download(Status.DONE)
    assert store.is_loaded(spec)
    with store.use(spec) as model:
        assert model.weights.verified
    assert server.bodies_sent == 1


def test_download_of_a_damaged_file_fails(server: Server, downloads: BackgroundDownloads) -> None:
    server.content = server.content[:-1000]
    spec = spec_for(server, "whole")
    downloads.start(spec)
    wait_for_downloads()
    assert downloads.get(spec).status is Status.FAILED
    assert "damaged" in str(downloads.get(spec).error)


def test_failed_download_has_a_reason_and_can_be_repeated(
    server: Server, downloads: BackgroundDownloads
) -> None:
    downloads.start(spec_for(server, "missing"))
    wait_for_downloads()
    assert downloads.get(SMALL).status is Status.FAILED
    assert "404" in str(downloads.get(SMALL).error)
    downloads.start(spec_for(server, "whole"))
    wait_for_downloads()
    assert downloads.get(SMALL).status is Status.DONE


def test_stopping_leaves_no_partial_file(
    server: Server, downloads: BackgroundDownloads, settings: Settings
) -> None:
    spec = spec_for(server, "slow")
    downloads.start(spec)
    assert server.half_sent.wait(20)
    stopping = threading.Thread(target=downloads.stop)
    stopping.start()
    server.resume.set()  # the next chunk arrives and ends the download
    stopping.join(60)
    wait_for_downloads()
    assert downloads.get(spec).status is Status.FAILED
    assert list(settings.cache_dir.iterdir()) == []


def test_model_that_exceeds_the_memory_budget_is_not_downloaded(
    server: Server, settings: Settings
) -> None:
    settings = dataclasses.replace(settings, memory_bytes=1)
    downloads = BackgroundDownloads(settings, ModelStore(settings))
    downloads.start(spec_for(server, "whole"))
    wait_for_downloads()
    assert "requires 10 MB of memory" in str(downloads.get(SMALL).error)
    assert server.bodies_sent == 0


def test_download_without_requesters_is_canceled(
    server: Server, downloads: BackgroundDownloads, settings: Settings
) -> None:
    spec = spec_for(server, "slow")
    downloads.start(spec, "first visitor")
    downloads.start(spec, "second visitor")
    assert server.half_sent.wait(20)
    downloads.cancel_others((), "first visitor")
    downloads.cancel_others([spec], "second visitor")
    assert downloads.get(spec).is_active
    downloads.cancel_others((), "second visitor")
    assert downloads.get(spec) is None
    server.resume.set()
    wait_for_downloads()
    assert list(settings.cache_dir.iterdir()) == []
    assert downloads.get(spec) is None
    downloads.start(spec_for(server, "whole"), "third visitor")  # it can be started again
    wait_for_downloads()
    assert downloads.get(spec).status is Status.DONE


def test_download_requested_by_the_server_is_not_canceled(
    server: Server, downloads: BackgroundDownloads
) -> None:
    spec = spec_for(server, "slow")
    downloads.start(spec)
    downloads.start(spec, "a visitor")
    downloads.cancel_others((), "a visitor")
    server.resume.set()
    wait_for_downloads()
    assert downloads.get(spec).status is Status.DONE
    downloads.cancel_others((), "a visitor")
    assert downloads.get(spec).status is Status.DONE


def test_download_is_not_registered_if_its_thread_cannot_start(
    downloads: BackgroundDownloads, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError):
        downloads.start(spec_for(server, "whole"))
    assert downloads.get(SMALL) is None
    downloads.stop()
