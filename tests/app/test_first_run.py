"""The first start on a machine without VGG16: download, answer meanwhile, switch over."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
from streamlit.testing.v1 import AppTest

from tests.weights_server import Server, serving
from vgg_demo import registry
from vgg_demo.registry import get_spec

MAIN = Path(__file__).parents[2] / "vgg_demo" / "ui" / "main.py"


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VGG_DEMO_OFFLINE")


@pytest.fixture
def server(vgg16_dir: Path) -> Iterator[Server]:
    with serving((vgg16_dir / get_spec("vgg16").weights.name).read_bytes()) as running:
        yield running


def publish(server: Server, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the local server the official source of VGG16's weights."""
    spec = get_spec("vgg16")
    weights = dataclasses.replace(
        spec.weights,
        url=f"http://127.0.0.1:{server.server_port}/{path}",
        hash=hashlib.md5(server.content, usedforsecurity=False).hexdigest(),
    )
    models = {**registry.MODELS, "vgg16": dataclasses.replace(spec, weights=weights)}
    monkeypatch.setattr(registry, "MODELS", MappingProxyType(models))


def open_page() -> AppTest:
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    assert not page.exception
    return page


def words(page: AppTest) -> str:
    kinds = ("header", "markdown", "caption", "badge", "toast", "error")
    return "\n".join(str(element.value) for kind in kinds for element in page.get(kind))


def wait_for_download() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("download-"):
            thread.join(60)


def test_mini_vgg_answers_until_vgg16_is_here(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(server, "slow", monkeypatch)
    page = open_page()
    page.button(key="example-cat.jpg").click().run()
    assert "**VGG16 is being fetched.**" in words(page)
    assert page.header[0].value.startswith("A cat")
    assert "Mini-VGG's answer" in words(page)

    server.go_on.set()
    wait_for_download()
    page.run()
    assert not page.exception
    assert "VGG16 is ready and answers from now on." in words(page)
    assert "VGG16's answer" in words(page)
    assert "Mini-VGG" not in words(page)
    assert "Unverified weights" not in words(page)
    assert server.bodies_sent == 1


def test_progress_is_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(server, "slow", monkeypatch)
    open_page()
    half_way = len(server.content) // 2
    from vgg_demo.ui.shared import get_downloads

    downloads, spec = get_downloads(), get_spec("vgg16")
    arrived = threading.Event()

    def watch() -> None:
        while not arrived.is_set():
            progress = downloads.get(spec).progress
            if progress is not None and progress.received_bytes > 0.9 * half_way:
                arrived.set()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    assert arrived.wait(60)
    page = open_page()
    assert "of 553 MB" in page.progress[0].text
    assert "MB/s" in page.progress[0].text
    assert 40 < page.progress[0].value < 60
    server.go_on.set()
    wait_for_download()


@pytest.mark.parametrize(
    ("path", "reason"), [("missing", "404"), ("wrong", "other bytes than the published")]
)
def test_a_failed_download_says_why_and_can_be_tried_again(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    publish(server, path, monkeypatch)
    page = open_page()
    wait_for_download()
    page.run()
    assert not page.exception
    assert reason in words(page)
    page.button(key="example-dog.jpg").click().run()
    assert page.header[0].value.startswith("A dog")

    publish(server, "whole", monkeypatch)
    (again,) = [button for button in page.button if button.label == "Try again"]
    # The button holds the spec it was drawn with; a run draws it with the new source.
    page.run()
    (again,) = [button for button in page.button if button.label == "Try again"]
    again.click().run()
    wait_for_download()
    page.run()
    assert "VGG16's answer" in words(page)
