"""The first start on a machine without VGG16: download, answer meanwhile, switch over.

A small model of Keras's, MobileNetV3Small, stands in for VGG16 and its 553 MB.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
from streamlit.testing.v1 import AppTest

import vgg_demo.inference.background
from tests.support.weights_server import Server, serving
from vgg_demo.models import registry
from vgg_demo.models.registry import ModelSpec, get_spec
from vgg_demo.settings import Settings
from vgg_demo.ui.session import available_models, caches
from vgg_demo.weights.download import Progress, ensure_weights

MAIN = Path(__file__).parents[2] / "vgg_demo" / "ui" / "pages" / "navigation.py"

SMALL = get_spec("mobilenet_v3_small")


@pytest.fixture(autouse=True)
def _online(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = Settings(cache_dir=tmp_path / "cache", stall_seconds=600)
    monkeypatch.setattr(caches, "get_settings", lambda: settings)


@pytest.fixture
def server(small_weights: Path) -> Iterator[Server]:
    with serving(small_weights.read_bytes()) as running:
        yield running


def publish(server: Server, path: str, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """Makes the local server the official source of the default model."""
    digest = hashlib.md5(server.content, usedforsecurity=False).hexdigest()
    weights = dataclasses.replace(SMALL.weights, url=server.url(path), hash=digest)
    spec = dataclasses.replace(SMALL, name="vgg16", weights=weights)
    # Two models of one name would look the same in the list.
    others = {name: other for name, other in registry.MODELS.items() if name != SMALL.name}
    monkeypatch.setattr(registry, "MODELS", MappingProxyType({**others, "vgg16": spec}))
    monkeypatch.setattr(available_models, "MODELS", registry.MODELS)
    return spec


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
    spec = publish(server, "slow", monkeypatch)
    page = open_page()
    page.button(key="example-cat.jpg").click().run()
    assert "**MobileNetV3Small is being fetched.**" in words(page)
    assert page.header[0].value.startswith("A cat")
    assert "Mini-VGG's answer" in words(page)

    server.resume.set()
    wait_for_download()
    assert caches.get_store().is_loaded(spec)
    page.run()
    assert not page.exception
    assert "MobileNetV3Small is ready and answers from now on." in words(page)
    assert "MobileNetV3Small's answer" in words(page)
    assert "Mini-VGG" not in words(page)
    assert "Unverified weights" not in words(page)
    assert server.bodies_sent == 1


def test_progress_is_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = threading.Event()

    def watched(spec: ModelSpec, settings: Settings, show: Callable[[Progress], None]) -> Path:
        def show_and_watch(progress: Progress) -> None:
            show(progress)
            if progress.received_bytes == len(server.content) // 2:
                arrived.set()

        return ensure_weights(spec, settings, show_and_watch)

    monkeypatch.setattr(vgg_demo.inference.background, "ensure_weights", watched)
    publish(server, "slow", monkeypatch)
    open_page()
    assert arrived.wait(60)
    page = open_page()
    assert "of 11 MB" in page.progress[0].text
    assert "MB/s" in page.progress[0].text
    assert page.progress[0].value == 50
    server.resume.set()
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
    assert "MobileNetV3Small's answer" in words(page)
