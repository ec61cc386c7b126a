"""Downloads in the background: each ends with its model in the store, or says why not."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import vgg_demo.inference.engine
from tests.support.weights_server import Server, serving
from vgg_demo.inference.background import Download, Downloads, Status
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.registry import ModelSpec, get_spec
from vgg_demo.settings import Settings

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


def test_a_download_ends_ready_to_answer(
    server: Server, downloads: Downloads, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_for(server, "slow")
    store = ModelStore(settings)
    downloads = Downloads(settings, store)
    seen: list[Download] = []
    load = vgg_demo.inference.engine.load_engine

    def watched(*arguments):
        seen.append(downloads.get(spec))
        return load(*arguments)

    monkeypatch.setattr(vgg_demo.inference.engine, "load_engine", watched)
    assert downloads.get(spec) is None
    downloads.start(spec)
    downloads.start(spec)
    assert downloads.get(spec).status is Status.RUNNING
    assert not store.is_loaded(spec)
    server.resume.set()
    wait_for_downloads()
    assert [download.status for download in seen] == [Status.LOADING]
    assert seen[0].is_under_way
    assert downloads.get(spec) == Download(Status.DONE)
    assert store.is_loaded(spec)
    with store.use(spec) as model:
        assert model.weights.verified
    assert server.bodies_sent == 1


def test_a_download_that_cannot_be_loaded_has_failed(server: Server, downloads: Downloads) -> None:
    server.content = server.content[:-1000]
    spec = spec_for(server, "whole")
    downloads.start(spec)
    wait_for_downloads()
    assert downloads.get(spec).status is Status.FAILED
    assert "damaged" in str(downloads.get(spec).error)


def test_failed_download_says_why_and_can_be_tried_again(
    server: Server, downloads: Downloads
) -> None:
    downloads.start(spec_for(server, "missing"))
    wait_for_downloads()
    assert downloads.get(SMALL).status is Status.FAILED
    assert "404" in str(downloads.get(SMALL).error)
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
    server.resume.set()  # the next piece arrives; what came after it is not waited for
    stopping.join(60)
    wait_for_downloads()
    assert downloads.get(spec).status is Status.FAILED
    assert list(settings.cache_dir.iterdir()) == []


def test_what_would_not_fit_into_memory_is_not_downloaded(
    server: Server, settings: Settings
) -> None:
    settings = dataclasses.replace(settings, memory_bytes=1)
    downloads = Downloads(settings, ModelStore(settings))
    downloads.start(spec_for(server, "whole"))
    wait_for_downloads()
    assert "takes 10 MB of memory" in str(downloads.get(SMALL).error)
    assert server.bodies_sent == 0


def test_a_download_that_nobody_waits_for_is_given_up(
    server: Server, downloads: Downloads, settings: Settings
) -> None:
    spec = spec_for(server, "slow")
    downloads.start(spec, "one visitor")
    downloads.start(spec, "another")
    assert server.half_sent.wait(20)
    downloads.wait_only_for((), "one visitor")
    downloads.wait_only_for([spec], "another")
    assert downloads.get(spec).is_under_way
    downloads.wait_only_for((), "another")
    assert downloads.get(spec) is None
    server.resume.set()
    wait_for_downloads()
    assert list(settings.cache_dir.iterdir()) == []
    assert downloads.get(spec) is None
    downloads.start(spec_for(server, "whole"), "a third")  # and can be begun again
    wait_for_downloads()
    assert downloads.get(spec).status is Status.DONE


def test_what_the_server_waits_for_goes_on(server: Server, downloads: Downloads) -> None:
    spec = spec_for(server, "slow")
    downloads.start(spec)
    downloads.start(spec, "a visitor")
    downloads.wait_only_for((), "a visitor")
    server.resume.set()
    wait_for_downloads()
    assert downloads.get(spec).status is Status.DONE
    downloads.wait_only_for((), "a visitor")
    assert downloads.get(spec).status is Status.DONE


def test_without_a_thread_for_it_there_is_no_download(
    downloads: Downloads, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fail)
    with pytest.raises(RuntimeError):
        downloads.start(spec_for(server, "whole"))
    assert downloads.get(SMALL) is None
    downloads.stop()
