"""Takes the README's screenshots of a running app.

    python tools/take_screenshots.py http://localhost:8501 [FOLDER]

Run the app offline with the weights of MobileNetV2 and MobileNetV3Small in
VGG_DEMO_WEIGHTS_DIR: the pictures show models that are really there. The page Batch shows the
photos of the folder, in folders named after what is on them. Needs Chromium.
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
TEACHING_HEIGHT = 1_325  # pixels; what is below needs no picture
TIMEOUT = 60_000  # milliseconds


def take(browser: Browser, url: str, name: str, example: str, size: dict, scheme: str) -> None:
    context = browser.new_context(viewport=size, color_scheme=scheme)
    page = context.new_page()
    page.goto(f"{url}/?model=mobilenet_v2")
    page.get_by_role("button", name=example, exact=True).click(timeout=TIMEOUT)
    expect(page.get_by_text("MobileNetV2's answer")).to_be_visible(timeout=TIMEOUT)
    expect(page.get_by_test_id("stVegaLiteChart").get_by_text("100%")).to_be_visible(
        timeout=TIMEOUT
    )
    picture(page, size, name)
    context.close()


def take_comparison(browser: Browser, url: str, name: str, example: str) -> None:
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    page = context.new_page()
    page.goto(f"{url}/compare")
    page.get_by_role("button", name=example, exact=True).click(timeout=TIMEOUT)
    page.locator("[data-test-script-state=notRunning]").wait_for(timeout=TIMEOUT)
    page.get_by_role("button", name=re.compile("^Compare")).click(timeout=TIMEOUT)
    expect(page.get_by_role("button", name="Table as CSV")).to_be_visible(timeout=TIMEOUT)
    picture(page, DESKTOP, name)
    context.close()


def take_batch(browser: Browser, url: str, name: str, folder: str) -> None:
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    page = context.new_page()
    page.goto(f"{url}/batch")
    page.get_by_role("radio", name="A folder").click(timeout=TIMEOUT)
    page.locator("input[webkitdirectory]").set_input_files(folder)
    page.get_by_role("button", name="Look at them").click(timeout=TIMEOUT)
    expect(page.get_by_role("button", name="CSV")).to_be_visible(timeout=TIMEOUT)
    picture(page, DESKTOP, name)
    context.close()


def take_teaching(browser: Browser, url: str) -> None:
    context = browser.new_context(viewport=DESKTOP, color_scheme="light")
    page = context.new_page()
    page.goto(f"{url}/train")
    page.get_by_role("button", name="Use these").click(timeout=TIMEOUT)
    page.get_by_role("button", name="Teach it").click(timeout=TIMEOUT)
    picture_of = page.get_by_role("heading", name="can be used")
    expect(picture_of).to_be_visible(timeout=2 * TIMEOUT)
    picture(page, DESKTOP, "train-light", TEACHING_HEIGHT)
    context.close()


def picture(page: Page, size: dict, name: str, most_height: int = 10_000) -> None:
    """Takes a picture of the whole page, or of its upper part."""
    expect(page.get_by_test_id("stStatusWidget")).to_have_count(0, timeout=TIMEOUT)
    main = page.get_by_test_id("stMainBlockContainer")
    height = main.evaluate("element => element.scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": min(height, most_height)})
    page.mouse.move(0, 0)
    page.wait_for_timeout(1_000)  # charts are drawn anew after a resize
    page.screenshot(path=IMAGES / f"{name}.png")


def main() -> None:
    url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:8501"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        take(browser, url, "classify-light", "Dog", DESKTOP, "light")
        take(browser, url, "classify-dark", "Cat", DESKTOP, "dark")
        take(browser, url, "classify-phone", "Parrot", PHONE, "light")
        take_comparison(browser, url, "compare-light", "Dog")
        take_teaching(browser, url)
        if len(sys.argv) > 2:
            take_batch(browser, url, "batch-light", sys.argv[2])
        browser.close()


if __name__ == "__main__":
    main()
