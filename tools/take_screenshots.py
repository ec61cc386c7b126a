"""Takes the screenshots of the README from a running app.

    python tools/take_screenshots.py http://localhost:8501 [FOLDER]

Run the app offline with the weights of MobileNetV2 and MobileNetV3Small in
VGG_DEMO_WEIGHTS_DIR, so that the screenshots show installed models. The Batch page classifies the
photos in FOLDER, sorted into folders named after their classes. Requires Chromium.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, expect, sync_playwright

IMAGES = Path("docs/images")
DESKTOP = {"width": 1280, "height": 1000}
PHONE = {"width": 390, "height": 1000}
TRAINING_HEIGHT = 1_325  # pixels; the rest of the Train page is cut off
TIMEOUT = 60_000  # milliseconds


def take_classification(
    browser: Browser, url: str, name: str, example: str, size: dict, scheme: str
) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{url}/?model=mobilenet_v2")
    page.get_by_role("button", name=example, exact=True).click(timeout=TIMEOUT)
    expect(page.get_by_text("Predicted by MobileNetV2")).to_be_visible(timeout=TIMEOUT)
    expect(page.get_by_test_id("stVegaLiteChart").get_by_text("100%")).to_be_visible(
        timeout=TIMEOUT
    )
    save_screenshot(page, size, name)
    context.close()


def take_comparison(browser: Browser, url: str, name: str, example: str) -> None:
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    page = context.new_page()
    page.goto(f"{url}/compare")
    page.get_by_role("button", name=example, exact=True).click(timeout=TIMEOUT)
    page.locator("[data-test-script-state=notRunning]").wait_for(timeout=TIMEOUT)
    page.get_by_role("button", name=re.compile("^Compare")).click(timeout=TIMEOUT)
    expect(page.get_by_role("button", name="Download CSV")).to_be_visible(timeout=TIMEOUT)
    save_screenshot(page, DESKTOP, name)
    context.close()


def take_batch(browser: Browser, url: str, name: str, folder: str) -> None:
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    page = context.new_page()
    page.goto(f"{url}/batch")
    page.get_by_role("radio", name="Folder").click(timeout=TIMEOUT)
    page.locator("input[webkitdirectory]").set_input_files(folder)
    page.get_by_role("button", name="Classify photos").click(timeout=TIMEOUT)
    expect(page.get_by_role("button", name="Download CSV")).to_be_visible(timeout=TIMEOUT)
    save_screenshot(page, DESKTOP, name)
    context.close()


def take_training(browser: Browser, url: str) -> None:
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    page = context.new_page()
    page.goto(f"{url}/train")
    page.get_by_role("button", name="Use the example").click(timeout=TIMEOUT)
    page.get_by_role("button", name="Train", exact=True).click(timeout=TIMEOUT)
    finished = page.get_by_role("heading", name="is ready")
    expect(finished).to_be_visible(timeout=2 * TIMEOUT)
    expect(page.get_by_text("Worst mistakes")).to_be_visible(timeout=TIMEOUT)
    save_screenshot(page, DESKTOP, "train-light", TRAINING_HEIGHT)
    context.close()


def save_screenshot(page: Page, size: dict, name: str, max_height: int = 10_000) -> None:
    """Saves a screenshot of the whole page, cut off at a height in pixels."""
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=TIMEOUT)
    main = page.get_by_test_id("stMainBlockContainer")
    height = main.evaluate("element => element.scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": min(height, max_height)})
    page.mouse.move(0, 0)
    page.wait_for_timeout(1_000)  # charts are redrawn after a resize
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=TIMEOUT)
    page.screenshot(path=IMAGES / f"{name}.png")


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8501"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        take_classification(browser, url, "classify-light", "Dog", DESKTOP, "light")
        take_classification(browser, url, "classify-dark", "Cat", DESKTOP, "dark")
        take_classification(browser, url, "classify-phone", "Parrot", PHONE, "light")
        take_comparison(browser, url, "compare-light", "Dog")
        take_training(browser, url)
        if len(sys.argv) > 2:
            take_batch(browser, url, "batch-light", sys.argv[2])
        browser.close()


if __name__ == "__main__":
    main()
