"""The Train page in a real browser: from photos to predictions of the trained model."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import wait_until_drawn

PHONE = {"width": 390, "height": 844}
RECORD_TRACKS = """
    window.tracks = []
    const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices)
    navigator.mediaDevices.getUserMedia = async constraints => {
        const stream = await open(constraints)
        window.tracks.push(...stream.getTracks())
        return stream
    }
"""


@pytest.fixture
def archive(crops: Path, tmp_path: Path) -> Path:
    path = tmp_path / "animals.zip"
    with zipfile.ZipFile(path, "w") as file:
        for photo in sorted(crops.rglob("*.jpg")):
            file.write(photo, str(photo.relative_to(crops)))
    return path


def open_train_page(page: Page) -> None:
    page.goto(f"{page.url.rstrip('/')}/train")
    expect(page.get_by_role("heading", name="Train your own model")).to_be_visible()
    wait_until_drawn(page)


def inspect(page: Page, archive: Path) -> None:
    page.locator("input[type=file]").first.set_input_files(archive)
    page.get_by_role("button", name="Inspect photos").click()
    expect(page.get_by_role("heading", name="48 photos in 3 classes")).to_be_visible()
    wait_until_drawn(page)


def train(page: Page) -> None:
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("heading", name="is ready")).to_be_visible(timeout=120_000)
    wait_until_drawn(page)


def test_model_trained_on_archive_classifies_photo(page: Page, archive: Path) -> None:
    open_train_page(page)
    inspect(page, archive)
    train(page)

    # A click on a cell of the confusion matrix shows its photos, and so does a second click.
    matrix = page.get_by_test_id("stVegaLiteChart").first
    for label in ("rocket", "cat", "cat", "rocket"):
        cells = matrix.locator(
            f"path[aria-label*='True class: {label}'][aria-label*='Predicted class: {label}']"
        )
        cells.last.click()  # the topmost layer
        heading = page.get_by_test_id("stMarkdown").filter(has_text=f"{label} predicted correctly")
        expect(heading).to_be_visible()
        wait_until_drawn(page)
    expect(page.get_by_role("img", name=re.compile("^rocket: ")).first).to_be_visible()

    page.get_by_role("button", name="Classify", exact=True).click()
    expect(page.get_by_role("heading", name="What does animals see")).to_be_visible()
    page.get_by_role("button", name="Rocket", exact=True).click()
    expect(page.get_by_role("heading", name=re.compile("^Rocket, "))).to_be_visible()
    expect(page.get_by_text("animals has only 3 classes")).to_be_visible()


@pytest.mark.slow
def test_training_run_is_restored_in_the_same_browser_only(
    page: Page, browser: Browser, server: str, archive: Path, console: list[str]
) -> None:
    """Training continues after the tab is closed, and a new tab of the same browser shows it."""
    open_train_page(page)
    inspect(page, archive)
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text("Training continues if you close this page")).to_be_visible()
    page.wait_for_function("() => (localStorage.getItem('vgg-demo-trainings') ?? '').length > 10")
    new_tab = page.context.new_page()
    page.goto("about:blank")
    new_tab.goto(f"{server}/train")
    expect(new_tab.get_by_role("heading", name="is ready")).to_be_visible(timeout=120_000)
    with browser.new_context() as other_context:
        other_page = other_context.new_page()
        other_page.goto(f"{server}/train")
        expect(other_page.get_by_text("Or try an example")).to_be_visible()
        wait_until_drawn(other_page)
        expect(other_page.get_by_text("Your models")).to_have_count(0)


def open_class_by_class(page: Page) -> None:
    open_train_page(page)
    page.get_by_role("radio", name="Class by class").click()
    expect(page.get_by_text("Use the camera")).to_have_count(2)
    wait_until_drawn(page)


def test_camera_takes_bursts_and_single_photos(page: Page) -> None:
    page.add_init_script(RECORD_TRACKS)
    page.reload()
    open_class_by_class(page)
    page.get_by_text("Use the camera").first.click()
    page.get_by_role("button", name="Take 20").click()
    expect(page.get_by_text("20 photos", exact=True)).to_be_visible()
    expect(page.get_by_text("20 photos taken")).to_be_visible()
    page.get_by_role("button", name="Take one").click()
    expect(page.get_by_text("21 photos", exact=True)).to_be_visible()
    page.get_by_role("button", name="Remove the last photo").click()
    expect(page.get_by_text("20 photos", exact=True)).to_be_visible()

    page.get_by_text("Use the camera").last.click()  # turns the other camera off
    expect(page.get_by_role("button", name="Take 20")).to_have_count(1)
    expect(page.get_by_text("1 photo taken")).to_have_count(0)
    page.get_by_role("button", name="Take 20").click()
    page.get_by_role("button", name="Stop").click()
    status = page.get_by_text(re.compile(r"^\d+ photos? taken$"))
    count = str(status.text_content()).removesuffix(" taken")
    expect(page.get_by_text(count, exact=True)).to_be_visible()
    assert int(count.split()[0]) < 20
    expect(page.get_by_role("button", name="Inspect photos")).to_be_enabled()

    page.get_by_text("Use the camera").last.click()
    expect(page.get_by_role("button", name="Take 20")).to_have_count(0)
    assert page.evaluate("tracks.map(track => track.readyState)") == ["ended", "ended"]


def test_blocked_camera_shows_how_to_allow_it(page: Page) -> None:
    page.add_init_script(
        "navigator.mediaDevices.getUserMedia ="
        " () => Promise.reject(new DOMException('', 'NotAllowedError'))"
    )
    page.reload()
    open_class_by_class(page)
    page.get_by_text("Use the camera").first.click()
    expect(page.get_by_text("The browser blocks the camera on this page")).to_be_visible()
    expect(page.get_by_role("button", name="Try again")).to_be_visible()
    expect(page.get_by_role("button", name="Take one")).to_be_disabled()


@pytest.mark.slow
def test_stopped_run_keeps_the_best_model_and_exports_it(page: Page, archive: Path) -> None:
    open_train_page(page)
    inspect(page, archive)
    page.get_by_text("More settings").click()
    page.get_by_role("spinbutton", name="Epochs", exact=True).fill("100")
    page.keyboard.press("Enter")
    wait_until_drawn(page)
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("button", name="Stop and keep the best").click()
    expect(page.get_by_role("heading", name="is ready")).to_be_visible(timeout=120_000)
    wait_until_drawn(page)
    page.get_by_role("button", name="Export").click()
    page.get_by_role("button", name="Convert").first.click()
    expect(page.get_by_text("Same top prediction as the model on")).to_be_visible(timeout=120_000)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download").last.click()
    assert download.value.suggested_filename == "animals-tflite.tflite"


@pytest.mark.slow
@pytest.mark.parametrize("page", [PHONE], indirect=True, ids=["phone"])
def test_page_fits_on_a_phone(page: Page, archive: Path) -> None:
    open_train_page(page)
    inspect(page, archive)
    train(page)
    width = page.get_by_test_id("stMain").evaluate("element => element.scrollWidth")
    assert width <= PHONE["width"]
