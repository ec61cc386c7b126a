"""Teaching, from photos to a model that is used, in a real browser."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import wait_until_drawn

PHONE = {"width": 390, "height": 844}
REMEMBER_TRACKS = """
    window.tracks = []
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices)
    navigator.mediaDevices.getUserMedia = async wish => {
        const stream = await open(wish)
        window.tracks.push(...stream.getTracks())
        return stream
    }
"""


@pytest.fixture
def archive(pieces: Path, tmp_path: Path) -> Path:  # noqa: F811
    path = tmp_path / "animals.zip"
    with zipfile.ZipFile(path, "w") as file:
        for photo in sorted(pieces.rglob("*.jpg")):
            file.write(photo, str(photo.relative_to(pieces)))
    return path


def open_teach(page: Page) -> None:
    page.goto(f"{page.url.rstrip('/')}/train")
    expect(page.get_by_role("heading", name="Teach it your own things")).to_be_visible()
    wait_until_drawn(page)


def look(page: Page, archive: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(archive)
    page.get_by_role("button", name="Look at the photos").click()
    expect(page.get_by_role("heading", name="48 photos of 3 kinds")).to_be_visible()
    wait_until_drawn(page)


def teach(page: Page) -> None:
    page.get_by_role("button", name="Teach it").click()
    expect(page.get_by_role("heading", name="can be used")).to_be_visible(timeout=120_000)
    wait_until_drawn(page)


def test_from_an_archive_to_an_answer(page: Page, archive: Path) -> None:
    open_teach(page)
    look(page, archive)
    teach(page)

    # A click on a cell of the confusion matrix shows its photos, also a second one.
    matrix = page.get_by_test_id("stVegaLiteChart").first
    for kind in ("rocket", "cat", "cat", "rocket"):
        cells = matrix.locator(f"path[aria-label*='It is: {kind}'][aria-label*='It said: {kind}']")
        cells.last.click()  # the one on top
        told = page.get_by_test_id("stMarkdown").filter(has_text=f"{kind}, recognised")
        expect(told).to_be_visible()
        wait_until_drawn(page)
    expect(page.get_by_role("img", name=re.compile("^rocket: ")).first).to_be_visible()

    page.get_by_role("button", name="Use it", exact=True).click()
    expect(page.get_by_role("heading", name="What does animals see")).to_be_visible()
    page.get_by_role("button", name="Rocket", exact=True).click()
    expect(page.get_by_role("heading", name=re.compile("^Rocket, "))).to_be_visible()
    expect(page.get_by_text("animals knows 3 things only")).to_be_visible()


@pytest.mark.slow
def test_a_training_is_found_again(
    page: Page, browser: Browser, server: str, archive: Path, console: list[str]
) -> None:
    """It goes on when the window is closed, and the browser leads back to it; no other does."""
    open_teach(page)
    look(page, archive)
    page.get_by_role("button", name="Teach it").click()
    expect(page.get_by_text("It goes on when you close this page")).to_be_visible()
    page.wait_for_function("() => (localStorage.getItem('vgg-demo-trainings') ?? '').length > 10")
    again = page.context.new_page()
    page.goto("about:blank")
    again.goto(f"{server}/train")
    expect(again.get_by_role("heading", name="can be used")).to_be_visible(timeout=120_000)
    with browser.new_context() as other:
        stranger = other.new_page()
        stranger.goto(f"{server}/train")
        expect(stranger.get_by_text("Or try it with these")).to_be_visible()
        wait_until_drawn(stranger)
        expect(stranger.get_by_text("Your models")).to_have_count(0)


def open_kinds(page: Page) -> None:
    open_teach(page)
    page.get_by_role("radio", name="Kind by kind").click()
    expect(page.get_by_text("Use the camera")).to_have_count(2)
    wait_until_drawn(page)


def test_photos_from_the_camera(page: Page) -> None:
    page.add_init_script(REMEMBER_TRACKS)
    page.reload()
    open_kinds(page)
    page.get_by_text("Use the camera").first.click()
    page.get_by_role("button", name="Take 20").click()
    expect(page.get_by_text("20 photos", exact=True)).to_be_visible()
    expect(page.get_by_text("20 photos taken")).to_be_visible()
    page.get_by_role("button", name="Take one").click()
    expect(page.get_by_text("21 photos", exact=True)).to_be_visible()
    page.get_by_role("button", name="Take out the last one").click()
    expect(page.get_by_text("20 photos", exact=True)).to_be_visible()

    page.get_by_text("Use the camera").last.click()  # so the other closes
    expect(page.get_by_role("button", name="Take 20")).to_have_count(1)
    expect(page.get_by_text("1 photo taken")).to_have_count(0)
    page.get_by_role("button", name="Take 20").click()
    page.get_by_role("button", name="Stop").click()
    told = page.get_by_text(re.compile(r"^\d+ photos? taken$"))
    words = str(told.text_content()).removesuffix(" taken")
    expect(page.get_by_text(words, exact=True)).to_be_visible()
    assert int(words.split()[0]) < 20
    expect(page.get_by_role("button", name="Look at the photos")).to_be_enabled()

    page.get_by_text("Use the camera").last.click()
    expect(page.get_by_role("button", name="Take 20")).to_have_count(0)
    assert page.evaluate("tracks.map(track => track.readyState)") == ["ended", "ended"]


def test_a_camera_that_cannot_be_had(page: Page) -> None:
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia ="
        " () => Promise.reject(new DOMException('', 'NotAllowedError'))"
    )
    page.reload()
    open_kinds(page)
    page.get_by_text("Use the camera").first.click()
    expect(page.get_by_text("does not let this page use the camera")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    expect(page.get_by_role("button", name="Take one")).to_be_disabled()


@pytest.mark.slow
def test_stop_and_export(page: Page, archive: Path) -> None:
    open_teach(page)
    look(page, archive)
    page.get_by_text("More settings").click()
    page.get_by_role("spinbutton", name="Times through all photos").fill("100")
    page.keyboard.press("Enter")
    wait_until_drawn(page)
    page.get_by_role("button", name="Teach it").click()
    page.get_by_role("button", name="Stop, keep the best").click()
    expect(page.get_by_role("heading", name="can be used")).to_be_visible(timeout=120_000)
    wait_until_drawn(page)
    page.get_by_role("button", name="For other programs").click()
    page.get_by_role("button", name="Make it").first.click()
    expect(page.get_by_text("photos kept back it gives the same first answer")).to_be_visible(
        timeout=120_000
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").last.click()
    assert download.value.suggested_filename == "animals-tflite.tflite"


@pytest.mark.slow
@pytest.mark.parametrize("page", [PHONE], indirect=True, ids=["phone"])
def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page, archive: Path) -> None:
    open_teach(page)
    look(page, archive)
    teach(page)
    width = page.get_by_test_id("stMain").evaluate("element => element.scrollWidth")
    assert width <= PHONE["width"]
