"""Many photos at once, in a real browser."""

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
    """Fifty photos in folders that tell the truth about most of them."""
    kinds = {"cat": "cat", "dog": "dog", "parrot": "bird", "moose": "deer", "rocket": "ship"}
    for number in range(50):
        name, kind = list(kinds.items())[number % 5]
        (tmp_path / "photos" / kind).mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLES / f"{name}.jpg", tmp_path / "photos" / kind / f"{number:02}.jpg")
    return tmp_path / "photos"


def open_batch(page: Page) -> None:
    page.goto(f"{page.url.rstrip('/')}/batch")
    expect(page.get_by_role("heading", name="What is on all these photos?")).to_be_visible()
    wait_until_drawn(page)


def give(page: Page, paths: list[Path]) -> None:
    page.locator("input[type=file]").set_input_files(paths)
    page.get_by_role("button", name="Look at them").click()


def test_fifty_photos(page: Page, folder: Path, tmp_path: Path) -> None:
    open_batch(page)
    give(page, sorted(folder.rglob("*.jpg")))
    expect(page.get_by_role("heading", name="50 photos")).to_be_visible()
    wait_until_drawn(page)
    photos = page.get_by_test_id("stImage")
    expect(photos).to_have_count(24)
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    download.value.save_as(tmp_path / "photos.csv")
    rows = list(csv.DictReader((tmp_path / "photos.csv").read_text().splitlines()))
    assert sorted(row["label_1"] for row in rows) == sorted(
        ["cat", "dog", "bird", "deer", "ship"] * 10
    )
    with page.expect_download() as download:
        page.get_by_role("button", name="Photos with answers").click()
    assert download.value.suggested_filename == "photos.zip"


def test_a_click_on_a_bar_shows_its_photos(page: Page, folder: Path) -> None:
    open_batch(page)
    give(page, sorted(folder.rglob("*.jpg")))
    expect(page.get_by_role("heading", name="50 photos")).to_be_visible()
    wait_until_drawn(page)
    chart = page.get_by_test_id("stVegaLiteChart").first
    chart.locator("path[aria-label*='dog']").click()
    expect(page.get_by_test_id("stImage")).to_have_count(10)
    expect(page.get_by_test_id("stMarkdown").get_by_text("dog", exact=True)).to_have_count(10)


def test_a_folder_tells_the_truth(page: Page, folder: Path) -> None:
    open_batch(page)
    page.get_by_role("radio", name="A folder").click()
    page.locator("input[webkitdirectory]").set_input_files(folder)
    page.get_by_role("button", name="Look at them").click()
    expect(page.get_by_role("heading", name="How often they are right")).to_be_visible()
    expect(page.get_by_text("100.0%").first).to_be_visible()


def test_cancel_keeps_what_is_done(page: Page, folder: Path) -> None:
    paths = sorted(folder.rglob("*.jpg"))
    for number in range(400):
        (folder / f"{number:03}.jpg").symlink_to(paths[0])
    open_batch(page)
    give(page, sorted(folder.rglob("*.jpg")))
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Cancelled; 450 were given.")).to_be_visible()
    expect(page.get_by_role("button", name="CSV")).to_be_visible()
    give(page, paths[:3])  # and another can begin
    expect(page.get_by_role("heading", name="3 photos")).to_be_visible()


@pytest.mark.parametrize("page", [PHONE], indirect=True, ids=["phone"])
def test_on_a_phone_nothing_is_wider_than_the_screen(page: Page, folder: Path) -> None:
    open_batch(page)
    give(page, sorted(folder.rglob("*.jpg")))
    expect(page.get_by_role("heading", name="50 photos")).to_be_visible()
    for view in ("Table", "Gallery"):
        page.wait_for_load_state("networkidle")  # a photo that is not shown any more has no address
        page.get_by_role("radio", name=view).click()
        wait_until_drawn(page)
        width = page.get_by_test_id("stMain").evaluate("element => element.scrollWidth")
        assert width <= PHONE["width"]
