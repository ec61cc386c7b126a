"""First start without VGG16: it is downloaded while Mini-VGG is used, then replaces Mini-VGG.

MobileNetV3Small stands in for VGG16, whose weights are 553 MB.
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
    settings = Settings(cache_dir=tmp_path / "cache", stall_timeout_seconds=600)
    monkeypatch.setattr(caches, "get_settings", lambda: settings)


@pytest.fixture
def server(small_weights: Path) -> Iterator[Server]:
    with serving(small_weights.read_bytes()) as running:
        yield running


def serve_default_model(server: Server, path: str, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """Makes the local server the download source of the default model."""
    digest = hashlib.md5(server.content, usedforsecurity=False).hexdigest()
    weights = dataclasses.replace(SMALL.weights, url=server.url(path), hash=digest)
    spec = dataclasses.replace(SMALL, name="vgg16", weights=weights)
    # Two models with the same name could not be told apart in the list.
    others = {name: other for name, other in registry.MODELS.items() if name != SMALL.name}
    monkeypatch.setattr(registry, "MODELS", MappingProxyType({**others, "vgg16": spec}))
    monkeypatch.setattr(available_models, "MODELS", registry.MODELS)
    return spec


def open_page() -> AppTest:
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    assert not page.exception
    return page


def page_text(page: AppTest) -> str:
    """Returns the text of the page."""
    types = ("header", "markdown", "caption", "badge", "toast", "error")
    return "\n".join(str(element.value) for name in types for element in page.get(name))


def wait_for_download() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("download-"):
            thread.join(60)


def test_mini_vgg_is_used_until_vgg16_is_downloaded(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = serve_default_model(server, "slow", monkeypatch)
    page = open_page()
    page.button(key="example-cat.jpg").click().run()
    assert "**Downloading MobileNetV3Small …**" in page_text(page)
    assert page.header[0].value.startswith("A cat")
    assert "Predicted by Mini-VGG" in page_text(page)

    server.resume.set()
    wait_for_download()
    assert caches.get_store().is_loaded(spec)
    page.run()
    assert not page.exception
    assert "MobileNetV3Small is ready and in use." in page_text(page)
    assert "Predicted by MobileNetV3Small" in page_text(page)
    assert "Mini-VGG" not in page_text(page)
    assert "Unverified weights" not in page_text(page)
    assert server.bodies_sent == 1


def test_download_progress_is_shown(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    half_received = threading.Event()

    def ensure_and_watch(
        spec: ModelSpec, settings: Settings, on_progress: Callable[[Progress], None]
    ) -> Path:
        def report_and_watch(progress: Progress) -> None:
            on_progress(progress)
            if progress.received_bytes == len(server.content) // 2:
                half_received.set()

        return ensure_weights(spec, settings, report_and_watch)

    monkeypatch.setattr(vgg_demo.inference.background, "ensure_weights", ensure_and_watch)
    serve_default_model(server, "slow", monkeypatch)
    open_page()
    assert half_received.wait(60)
    page = open_page()
    assert "of 11 MB" in page.progress[0].text
    assert "MB/s" in page.progress[0].text
    assert page.progress[0].value == 50
    server.resume.set()
    wait_for_download()


@pytest.mark.parametrize(
    ("path", "reason"), [("missing", "404"), ("wrong", "differs from the published one")]
)
def test_failed_download_shows_the_reason_and_can_be_retried(
    server: Server, monkeypatch: pytest.MonkeyPatch, path: str, reason: str
) -> None:
    serve_default_model(server, path, monkeypatch)
    page = open_page()
    wait_for_download()
    page.run()
    assert not page.exception
    assert reason in page_text(page)
    page.button(key="example-dog.jpg").click().run()
    assert page.header[0].value.startswith("A dog")

    serve_default_model(server, "whole", monkeypatch)
    (retry,) = [button for button in page.button if button.label == "Try again"]
    # The button's callback has the old spec; a rerun renders it with the new source.
    page.run()
    (retry,) = [button for button in page.button if button.label == "Try again"]
    retry.click().run()
    wait_for_download()
    page.run()
    assert "Predicted by MobileNetV3Small" in page_text(page)
