"""Fixtures: a running server, and a page in Chromium that fails on console errors."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.support.app_server import running_app

ROOT = Path(__file__).parents[2]
CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
TIMEOUT = 60_000  # milliseconds; the first prediction waits for TensorFlow
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        message = "needs Chromium (Debian: apt install chromium)"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    expect.set_options(timeout=TIMEOUT)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of an offline server on which only Mini-VGG is installed."""
    with running_app(tmp_path_factory) as url:
        yield url


@pytest.fixture
def waiting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a server behind a proxy that never responds, so that each download takes seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        proxy = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with running_app(tmp_path_factory, VGG_DEMO_OFFLINE="0", HTTPS_PROXY=proxy) as url:
            yield url


@pytest.fixture
def console() -> list[str]:
    """Errors in the browser's console."""
    return []


@pytest.fixture(params=[{"width": 1280, "height": 900}], ids=["desktop"])
def page(
    browser: Browser, server: str, console: list[str], request: pytest.FixtureRequest
) -> Iterator[Page]:
    """The Classify page in a new browser context."""
    context = browser.new_context(
        viewport=request.param, permissions=["camera"], color_scheme="light"
    )
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)

    def collect(message: ConsoleMessage) -> None:
        # Streamlit causes two harmless errors: a page below the root first requests the health
        # check below that page, and an interrupted run deletes its images before the next run
        # adds them again.
        is_harmless = re.search(
            r"/(compare|batch|train)/_stcore/(health|host-config)|/media/\w+\.(jpg|png)",
            f"{message.location} {message.text}",
        )
        if message.type == "error" and not is_harmless:
            console.append(f"{message.text} {message.location}")

    page.on("console", collect)
    page.on("pageerror", lambda error: console.append(str(error)))
    page.goto(server)
    page.get_by_role("heading", name="see in your photo").wait_for()
    wait_until_drawn(page)
    yield page
    context.close()
    assert console == []


def wait_until_drawn(page: Page) -> None:
    """Waits for the end of the script run; before it, elements may still move under a click."""
    page.locator("[data-test-script-state=notRunning]").wait_for()
