"""The Compare page in a real browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import wait_until_drawn

PHONE = {"width": 390, "height": 844}


def open_compare(page: Page) -> None:
    page.get_by_role("link", name="Compare").first.click()
    expect(page.get_by_role("heading", name="Compare models on one photo")).to_be_visible()


def start_comparison(page: Page) -> None:
    page.get_by_role("button", name=re.compile("^Compare")).click()


def choose_set(page: Page, name: str, member: str) -> None:
    """Chooses a set of models and waits until one of its members is displayed."""
    page.get_by_role("radio", name=name, exact=True).click()
    expect(page.get_by_role("button", name=re.compile(f"^{member} · "))).to_be_visible()
    wait_until_drawn(page)


def test_photo_and_selected_models_are_compared(page: Page) -> None:
    page.get_by_role("button", name="Dog", exact=True).click()
    expect(page.locator("h2").first).to_contain_text("A dog")
    open_compare(page)  # the chosen photo is kept
    choose_set(page, "Five classics", "Xception")
    for name in ("VGG19", "ResNet50", "InceptionV3", "Xception"):
        page.get_by_role("button", name=re.compile(f"^{name} · ")).click()
    choose_set(page, "Choose from all", "ConvNeXtTiny")
    page.get_by_role("button", name="Mini-VGG", exact=True).click()
    start_comparison(page)
    expect(page.get_by_text("VGG16 is not installed")).to_be_visible()
    expect(page.get_by_text("A dog, ")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(page.get_by_role("button", name="Download CSV")).to_be_visible()
    assert "models=vgg16%2Cmini_vgg" in page.url


def test_cancel_ends_a_comparison_that_waits_for_a_download(
    waiting_server: str, page: Page
) -> None:
    page.goto(waiting_server)
    page.get_by_role("button", name="Cat", exact=True).click()
    expect(page.locator("h2").first).to_be_visible()
    open_compare(page)
    choose_set(page, "Five classics", "Xception")
    start_comparison(page)
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text("Results appear here. Click “Compare")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel")).to_have_count(0)
    expect(page.get_by_role("button", name="Compare 5 models")).to_be_enabled()


@pytest.mark.parametrize("page", [PHONE], indirect=True, ids=["phone"])
def test_page_fits_a_phone_screen(page: Page) -> None:
    page.get_by_role("button", name="Cat", exact=True).click()
    page.get_by_role("link", name="Compare models on this photo").click()
    choose_set(page, "Five classics", "Xception")
    choose_set(page, "Choose from all", "ConvNeXtTiny")
    page.get_by_role("button", name="Mini-VGG", exact=True).click()
    start_comparison(page)
    expect(page.get_by_text("A cat, ")).to_be_visible()
    expect(page.get_by_role("heading", name="Speed and memory on this machine")).to_be_visible()
    width = page.get_by_test_id("stMain").evaluate("element => element.scrollWidth")
    assert width <= PHONE["width"]
