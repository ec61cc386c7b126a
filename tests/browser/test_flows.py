"""User flows on the Classify and About pages, in a real browser."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

EXAMPLES = Path(__file__).parents[2] / "vgg_demo" / "data" / "examples"
PHONE = {"width": 390, "height": 844}


def verdict(page: Page):
    return page.locator("h2").first


def take_photo(page: Page) -> None:
    """Clicks the camera's button once the video plays; before that, there is no photo.

    Streamlit restarts the camera once the page's width has not changed for a second; a click in
    between is lost. So this waits until the stream has been the same for two seconds.
    """
    page.wait_for_function(
        """() => {
            const video = document.querySelector("video");
            const stream = video?.srcObject?.id;
            if (window.lastStream !== stream) {
                window.lastStream = stream;
                window.lastStreamSince = performance.now();
            }
            return stream && video.readyState >= 3 && video.videoWidth > 0
                && performance.now() - window.lastStreamSince > 2000;
        }"""
    )
    page.get_by_role("button", name="Take Photo").click()


def test_click_on_example_shows_prediction(page: Page) -> None:
    page.get_by_role("button", name="Cat", exact=True).click()
    expect(verdict(page)).to_contain_text("A cat")
    expect(page.get_by_text("Predicted by Mini-VGG")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart")).to_be_visible()


def test_click_on_thumbnail_chooses_the_example(page: Page) -> None:
    # The button covers the whole tile once its style is loaded.
    page.wait_for_function(
        """() => {
            const tile = document.querySelector(".st-key-tile-parrot").getBoundingClientRect()
            const top = document.elementFromPoint(tile.x + 20, tile.y + 20)
            return top !== null && top.closest("[class*=st-key-example-]") !== null
        }"""
    )
    # The upper left corner of the tile is that of the thumbnail.
    page.locator(".st-key-tile-parrot").click(position={"x": 20, "y": 20})
    expect(verdict(page)).to_contain_text("A bird")


def test_prediction_is_announced_to_screen_readers(page: Page) -> None:
    status = page.get_by_role("status").filter(has_text="%")
    page.get_by_role("button", name="Cat", exact=True).click()
    expect(status).to_contain_text("A cat")
    page.get_by_role("button", name="Dog", exact=True).click()
    expect(status).to_contain_text("A dog")


def test_removing_the_photo_shows_the_empty_state(page: Page) -> None:
    page.locator("input[type=file]").set_input_files(EXAMPLES / "dog.jpg")
    expect(verdict(page)).to_contain_text("A dog")
    page.get_by_role("button", name="Remove", exact=True).click()
    expect(page.get_by_text("Results appear here")).to_be_visible()
    expect(page.get_by_text("dog.jpg")).to_have_count(0)


def test_uploaded_photo_is_classified(page: Page) -> None:
    page.locator("input[type=file]").set_input_files(EXAMPLES / "dog.jpg")
    expect(verdict(page)).to_contain_text("A dog")
    photo = page.get_by_alt_text("Your photo dog.jpg")
    expect(photo).to_be_visible()


def test_rotated_phone_photo_is_shown_upright(page: Page, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    rotated = Image.open(EXAMPLES / "moose.jpg").transpose(Image.Transpose.ROTATE_90)
    rotated.save(tmp_path / "phone.jpg", exif=exif)
    page.locator("input[type=file]").set_input_files(tmp_path / "phone.jpg")
    expect(verdict(page)).to_contain_text("A deer")
    photo = page.get_by_alt_text("Your photo phone.jpg")
    expect(photo).to_have_js_property("complete", True)
    width, height = photo.evaluate("image => [image.naturalWidth, image.naturalHeight]")
    assert width > height > 0


def test_camera_photo_is_classified(page: Page) -> None:
    page.get_by_role("radio", name="Camera").or_(
        page.get_by_text("Camera", exact=True)
    ).first.click()
    take_photo(page)
    expect(verdict(page)).to_be_visible()


def test_slider_changes_the_number_of_predictions(page: Page) -> None:
    page.get_by_role("button", name="Parrot", exact=True).click()
    expect(verdict(page)).to_contain_text("A bird")
    page.get_by_text("Show as table").click()
    rows = page.get_by_role("table").get_by_role("row")
    expect(rows).to_have_count(6)
    page.get_by_role("button", name="Settings").click()
    slider = page.get_by_role("slider")
    slider.press("ArrowLeft")
    slider.press("ArrowLeft")
    expect(rows).to_have_count(4)
    expect(page).to_have_url(re.compile("top=3"))


def test_url_restores_settings_but_not_the_photo(page: Page, server: str) -> None:
    page.get_by_role("button", name="Cat", exact=True).click()
    expect(verdict(page)).to_contain_text("A cat")
    page.goto(f"{server}/?top=8&resize=pad&model=mini_vgg")
    page.get_by_role("button", name="Settings").click()
    expect(page.get_by_role("slider")).to_have_value("8")
    page.keyboard.press("Escape")
    expect(page.get_by_role("combobox")).to_have_value(re.compile("Mini-VGG"))
    expect(page.locator("h2")).to_have_count(0)


def test_valid_photo_works_after_an_invalid_file(page: Page, tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("I am text")
    upload = page.locator("input[type=file]")
    upload.set_input_files(tmp_path / "text.jpg")
    expect(page.get_by_text("This photo cannot be used")).to_be_visible()
    upload.set_input_files(EXAMPLES / "cat.jpg")
    expect(verdict(page)).to_contain_text("A cat")
    expect(page.get_by_text("This photo cannot be used")).to_have_count(0)


def test_upload_of_30_megabytes_is_rejected_with_a_message(page: Page, tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(b"\xff\xd8\xff" + bytes(30_000_000))
    upload = page.locator("input[type=file]")
    upload.set_input_files(tmp_path / "large.jpg")
    expect(page.get_by_text("File must be 20")).to_be_visible()
    upload.set_input_files(EXAMPLES / "cat.jpg")
    expect(verdict(page)).to_contain_text("A cat")


def test_expander_shows_what_the_model_sees(page: Page) -> None:
    page.get_by_role("button", name="Dog", exact=True).click()
    expect(verdict(page)).to_contain_text("A dog")
    page.get_by_text("What the model sees").click()
    expect(page.get_by_alt_text("The photo as 32 by 32 pixels")).to_be_visible()
    expect(page.get_by_text("mini_vgg.h5")).to_be_visible()


def test_annotated_photo_and_receipt_can_be_downloaded(page: Page, tmp_path: Path) -> None:
    page.get_by_role("button", name="Cat", exact=True).click()
    expect(verdict(page)).to_contain_text("A cat")
    for name, start in [("Annotated photo", b"\x89PNG"), ("Receipt", b'{\n  "receipt": 1')]:
        with page.expect_download() as download:
            page.get_by_role("button", name=name).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        assert path.read_bytes().startswith(start)


def test_about_page_shows_figure_and_layers(page: Page) -> None:
    page.get_by_role("link", name="About").click()
    expect(page.get_by_role("heading", name="What VGG16 is")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart")).to_be_visible()
    page.get_by_text("All 22 layers").click()
    expect(page.get_by_text("138,357,544 parameters in total")).to_be_visible()


def test_photo_is_kept_while_visiting_the_about_page(page: Page, server: str) -> None:
    page.goto(f"{server}/?model=mini_vgg&top=3")
    page.get_by_role("button", name="Cat", exact=True).click()
    expect(verdict(page)).to_contain_text("A cat")
    page.get_by_role("link", name="About").click()
    expect(page.get_by_role("heading", name="What VGG16 is")).to_be_visible()
    page.get_by_role("link", name="Classify").click()
    expect(verdict(page)).to_contain_text("A cat")
    expect(page.get_by_text("This photo cannot be used")).to_have_count(0)


def test_dark_theme_can_be_chosen(page: Page) -> None:
    page.get_by_role("button", name="Cat", exact=True).click()
    expect(verdict(page)).to_contain_text("A cat")
    app = page.get_by_test_id("stApp")
    expect(app).to_have_css("background-color", "rgb(251, 250, 247)")
    page.get_by_role("button", name="Main menu").click()
    page.get_by_role("menuitemradio", name="Dark").click()
    page.keyboard.press("Escape")
    expect(app).to_have_css("background-color", "rgb(18, 22, 29)")
    expect(verdict(page)).to_contain_text("A cat")


@pytest.mark.parametrize("page", [PHONE], indirect=True, ids=["phone"])
def test_page_fits_a_phone_and_scrolls_to_the_result(page: Page) -> None:
    page.get_by_role("button", name="Moose", exact=True).click()
    expect(verdict(page)).to_contain_text("A deer")
    expect(page.get_by_test_id("stVegaLiteChart")).to_be_visible()
    main = page.get_by_test_id("stMain")
    width, visible = main.evaluate("element => [element.scrollWidth, element.clientWidth]")
    assert width <= visible == PHONE["width"]
    # The page has scrolled to the result.
    expect(page.get_by_alt_text("Bull moose").last).to_be_in_viewport()


def test_example_can_be_chosen_with_the_keyboard(page: Page) -> None:
    page.get_by_role("button", name="Parrot", exact=True).focus()
    page.keyboard.press("Enter")
    expect(verdict(page)).to_contain_text("A bird")
