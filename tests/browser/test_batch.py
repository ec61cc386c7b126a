"""The Batch page in a real browser."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import ROOT, wait_until_drawn

EXAMPLES = ROOT / "vgg_demo" / "data" / "examples"
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Fifty photos in folders named after their classes."""
    labels = {"cat": "cat", "dog": "dog", "parrot": "bird", "moose": "deer", "rocket": "ship"}
    for number in range(50):
        name, label = list(labels.items())[number % 5]
        (tmp_path / "photos" / label).mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLES / f"{name}.jpg", tmp_path / "photos" / label / f"{number:02}.jpg")
    return tmp_path / "photos"


def open_batch(page: Page) -> None:
    page.goto(f"{page.url.rstrip('/')}/batch")
    expect(page.get_by_role("heading", name="Classify many photos")).to_be_visible()
    wait_until_drawn(page)


def classify(page: Page, paths: list[Path]) -> None:
    """Uploads photos and starts a batch."""
    page.locator("input[type=file]").set_input_files(paths)
    page.get_by_role("button", name="Classify photos").click()


def test_fifty_photos_are_displayed_and_downloaded(
    page: Page, folder: Path, tmp_path: Path
) -> None:
    open_batch(page)
    classify(page, sorted(folder.rglob("*.jpg")))
    expect(page.get_by_role("heading", name="50 photos")).to_be_visible()
    wait_until_drawn(page)
    photos = page.get_by_test_id("stImage")
    expect(photos).to_have_count(24)
    with page.expect_download() as download:
        page.get_by_role("button", name="Download CSV").click()
    download.value.save_as(tmp_path / "photos.csv")
    rows = list(csv.DictReader((tmp_path / "photos.csv").read_text().splitlines()))
    assert sorted(row["label_1"] for row in rows) == sorted(
        ["cat", "dog", "bird", "deer", "ship"] * 10
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="Annotated photos").click()
    assert download.value.suggested_filename == "photos.zip"


def test_click_on_a_bar_filters_the_photos(page: Page, folder: Path) -> None:
    open_batch(page)
    classify(page, sorted(folder.rglob("*.jpg")))
    expect(page.get_by_role("heading", name="50 photos")).to_be_visible()
    wait_until_drawn(page)
    chart = page.get_by_test_id("stVegaLiteChart").first
    chart.locator("path[aria-label*='dog']").click()
    expect(page.get_by_test_id("stImage")).to_have_count(10)
    expect(page.get_by_test_id("stMarkdown").get_by_text("dog", exact=True)).to_have_count(10)


def test_accuracy_is_measured_with_folder_names_as_labels(page: Page, folder: Path) -> None:
    open_batch(page)
    page.get_by_role("radio", name="Folder").click()
    page.locator("input[webkitdirectory]").set_input_files(folder)
    page.get_by_role("button", name="Classify photos").click()
    expect(page.get_by_role("heading", name="Accuracy")).to_be_visible()
    expect(page.get_by_text("100.0%").first).to_be_visible()


def test_cancel_keeps_finished_results(page: Page, folder: Path) -> None:
    paths = sorted(folder.rglob("*.jpg"))
    for number in range(400):
        (folder / f"{number:03}.jpg").symlink_to(paths[0])
    open_batch(page)
    classify(page, sorted(folder.rglob("*.jpg")))
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Canceled; 450 photos were uploaded.")).to_be_visible()
    expect(page.get_by_role("button", name="Download CSV")).to_be_visible()
    classify(page, paths[:3])  # a new batch can start
    expect(page.get_by_role("heading", name="3 photos")).to_be_visible()


@pytest.mark.parametrize("page", [PHONE], indirect=True, ids=["phone"])
def test_page_fits_a_phone_screen(page: Page, folder: Path) -> None:
    open_batch(page)
    classify(page, sorted(folder.rglob("*.jpg")))
    expect(page.get_by_role("heading", name="50 photos")).to_be_visible()
    for view in ("Table", "Gallery"):
        page.wait_for_load_state("networkidle")  # removed images have no URL
        page.get_by_role("radio", name=view).click()
        wait_until_drawn(page)
        width = page.get_by_test_id("stMain").evaluate("element => element.scrollWidth")
        assert width <= PHONE["width"]
