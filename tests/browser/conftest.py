"""A real server and a real Chromium."""

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
        found
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (found := shutil.which(name))
    ),
    None,
)
TIMEOUT = 60_000  # milliseconds; the first answer waits for TensorFlow
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
    """The app as a person starts it, offline, with nothing but Mini-VGG; gives its address."""
    with running_app(tmp_path_factory) as url:
        yield url


@pytest.fixture
def waiting_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The app with a network in which nobody answers, so that each download takes seconds."""
    with socket.create_server(("127.0.0.1", 0)) as silence:
        proxy = f"http://127.0.0.1:{silence.getsockname()[1]}"
        with running_app(tmp_path_factory, VGG_DEMO_OFFLINE="0", HTTPS_PROXY=proxy) as url:
            yield url


@pytest.fixture
def console() -> list[str]:
    """What the browser complained about."""
    return []


@pytest.fixture(params=[{"width": 1280, "height": 900}], ids=["desktop"])
def page(
    browser: Browser, server: str, console: list[str], request: pytest.FixtureRequest
) -> Iterator[Page]:
    """The classify page, loaded, in a window of its own."""
    context = browser.new_context(
        viewport=request.param, permissions=["camera"], color_scheme="light"
    )
    page = context.new_page()
    page.set_default_timeout(TIMEOUT)

    def note(message: ConsoleMessage) -> None:
        # On a page below the root, Streamlit looks for its server there first. And it takes the
        # pictures of a run that is interrupted away before the next has put them back.
        is_streamlits = re.search(
            r"/(compare|batch|teach)/_stcore/(health|host-config)|/media/\w+\.(jpg|png)",
            f"{message.location} {message.text}",
        )
        if message.type == "error" and not is_streamlits:
            console.append(f"{message.text} {message.location}")

    page.on("console", note)
    page.on("pageerror", lambda error: console.append(str(error)))
    page.goto(server)
    page.get_by_role("heading", name="see in your photo").wait_for()
    wait_until_drawn(page)
    yield page
    context.close()
    assert console == []


def wait_until_drawn(page: Page) -> None:
    """Until then a click may hit what is about to move or to go."""
    page.locator("[data-test-script-state=notRunning]").wait_for()
