"""The Classify and About pages, without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from vgg_demo.images.examples import load_examples
from vgg_demo.models.registry import MODELS
from vgg_demo.ui.components.architecture import BLOCKS, layer_table
from vgg_demo.ui.markdown import escape

MAIN = Path(__file__).parents[2] / "vgg_demo" / "ui" / "pages" / "navigation.py"


@pytest.fixture
def page() -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=120).run()
    assert not app.exception
    return app


def page_text(app: AppTest) -> str:
    """Returns the text of the page."""
    types = ("title", "header", "subheader", "markdown", "caption", "badge", "error", "warning")
    return "\n".join(str(element.value) for name in types for element in app.get(name))


def headline(app: AppTest) -> str:
    """Returns the headline of the verdict."""
    return app.header[0].value


def test_empty_page_shows_examples_and_privacy_note(page: AppTest) -> None:
    assert page.title[0].value == "What does Mini-VGG see in your photo?"
    assert len(page.button) >= len(load_examples()) == 6
    assert "never written to disk" in page_text(page)
    assert not page.header


@pytest.mark.parametrize(
    ("example", "expected"),
    [("cat.jpg", "A cat"), ("dog.jpg", "A dog"), ("moose.jpg", "A deer"), ("parrot.jpg", "A bird")],
)
def test_click_on_example_shows_prediction(page: AppTest, example: str, expected: str) -> None:
    page.button(key=f"example-{example}").click().run()
    assert not page.exception
    assert headline(page).startswith(expected)
    assert "Photo: " in page_text(page)


def test_uploaded_photo_is_classified(page: AppTest, photos: dict[str, bytes]) -> None:
    page.file_uploader[0].upload("mine.jpg", photos["dog"]).run()
    assert not page.exception
    assert headline(page).startswith("A dog")
    assert "mine.jpg" in page_text(page)


def test_clearing_the_uploader_removes_the_photo(page: AppTest, photos: dict[str, bytes]) -> None:
    page.file_uploader[0].upload("mine.jpg", photos["dog"]).run()
    assert page.session_state["photo"].file == "mine.jpg"
    page.file_uploader[0].clear().run()
    assert not page.exception
    assert "photo" not in page.session_state
    assert not page.header


def test_remove_button_removes_the_photo(page: AppTest, photos: dict[str, bytes]) -> None:
    page.file_uploader[0].upload("mine.jpg", photos["dog"]).run()
    (remove,) = [button for button in page.button if button.label == "Remove"]
    remove.click().run()
    assert not page.exception
    assert "photo" not in page.session_state
    assert not page.header
    page.file_uploader[0].upload("mine.jpg", photos["cat"]).run()
    assert headline(page).startswith("A cat")


def test_choosing_an_example_clears_the_uploader(page: AppTest, photos: dict[str, bytes]) -> None:
    page.file_uploader[0].upload("mine.jpg", photos["dog"]).run()
    page.button(key="example-cat.jpg").click().run()
    assert headline(page).startswith("A cat")
    assert not page.file_uploader[0].value


def test_camera_photo_is_classified(page: AppTest, photos: dict[str, bytes]) -> None:
    page.get_by_key("source").set_value("Camera").run()
    page.camera_input[0].upload("snap.jpg", photos["cat"]).run()
    assert not page.exception
    assert headline(page).startswith("A cat")


def test_missing_vgg16_is_replaced_by_mini_vgg(page: AppTest) -> None:
    page.button(key="example-cat.jpg").click().run()
    assert page.get_by_key("model").value == "vgg16"
    assert "**VGG16 is not installed.**" in page_text(page)
    assert "Downloads are disabled" in page_text(page)
    assert "Predicted by Mini-VGG" in page_text(page)
    assert "has only 10 classes" in page_text(page)
    assert "Predicted by VGG16" not in page_text(page)


def test_installed_vgg16_makes_the_prediction(
    vgg16_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(vgg16_dir))
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    page.button(key="example-cat.jpg").click().run()
    assert not page.exception
    assert "Predicted by VGG16" in page_text(page)
    assert "Unverified weights" in page_text(page)
    assert "Mini-VGG" not in page_text(page)


def test_installed_models_are_listed_first(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(shared / "weights"))
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    options = page.get_by_key("model").options
    assert len(options) == len(MODELS)
    assert options[:4] == [
        "Mini-VGG · installed",
        "MobileNetV2 · installed",
        "MobileNetV3Small · installed",
        "VGG16 · 553 MB download",
    ]
    assert page.get_by_key("model").value == "vgg16"
    assert options[4:] == sorted(options[4:])


def test_model_is_read_from_and_written_to_the_url(
    shared: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(shared / "weights"))
    page = AppTest.from_file(str(MAIN), default_timeout=120)
    page.query_params["model"] = "mobilenet_v2"
    page.run()
    page.button(key="example-parrot.jpg").click().run()
    assert headline(page).startswith("A lorikeet")
    page.get_by_key("model").set_value("mini_vgg").run()
    assert page.query_params["model"] == "mini_vgg"
    assert headline(page).startswith("A bird")


def test_unknown_model_in_the_url_suggests_near_matches(page: AppTest) -> None:
    page = AppTest.from_file(str(MAIN), default_timeout=120)
    page.query_params["model"] = "vgg61"
    page.run()
    assert not page.exception
    assert "Did you mean vgg" in page_text(page)


def test_markdown_in_the_url_or_a_file_name_is_escaped(
    page: AppTest, photos: dict[str, bytes]
) -> None:
    page = AppTest.from_file(str(MAIN), default_timeout=120)
    page.query_params["model"] = "![x](http://127.0.0.1:9/p.png)"
    page.run()
    page.file_uploader[0].upload("![i](http://127.0.0.1:9/q.png).jpg", photos["cat"]).run()
    assert "p.png" in page_text(page)
    assert "q.png" in page_text(page)
    lines = [line for line in page_text(page).splitlines() if "127.0.0.1" in line]
    assert len(lines) == 3  # the warning, the code and the caption of the photo
    assert "](" not in "".join(lines).replace("\\](", "")


def test_moving_the_slider_does_not_classify_again(
    page: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.button(key="example-cat.jpg").click().run()

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("classified again")

    monkeypatch.setattr("vgg_demo.ui.session.caches.classify_photo", fail)
    for top in (1, 10, 3):
        page.slider(key="top").set_value(top).run()
        assert not page.exception
        assert len(page.table[0].value) == top


def test_table_and_chart_show_the_same_prediction(page: AppTest) -> None:
    page.button(key="example-moose.jpg").click().run()
    table = page.table[0].value
    assert table["Class"].iloc[0] == "deer"
    (chart,) = page.get("vega_lite_chart")
    assert "deer" in chart.proto.spec


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_every_resize_method_works(page: AppTest, resize: str) -> None:
    page.button(key="example-dog.jpg").click().run()
    page.get_by_key("resize").set_value(resize).run()
    assert not page.exception
    assert headline(page).startswith("A dog")


def test_prediction_that_is_not_sure_is_marked(page: AppTest) -> None:
    page.button(key="example-coffee.jpg").click().run()
    assert headline(page).startswith("Not sure – perhaps ")
    assert "-badge[:material/help: Not sure]" in page_text(page)
    assert "counts as sure if all three are true" in page_text(page)
    assert "This photo: no class or group." in page_text(page)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.jpg", "not an image"),
        ("empty.png", "empty"),
        ("cut.jpg", "damaged or incomplete"),
        ("one_pixel.png", "1 × 1 pixels; classification requires at least 16 × 16"),
        ("no_pixels.png", "Choose"),
        ("fifty_thousand.png", "more than 50 megapixels"),
        ("bomb.png", "7,100 × 7,100 pixels"),
        ("thirty_megabytes.jpg", "the limit is 20 MB"),
    ],
)
def test_invalid_upload_shows_an_error_and_the_next_photo_works(
    page: AppTest, bad_photos: dict[str, bytes], name: str, message: str
) -> None:
    page.file_uploader[0].upload(name, bad_photos[name]).run()
    assert not page.exception
    assert message in page.error[0].value
    page.button(key="example-cat.jpg").click().run()
    assert not page.error
    assert headline(page).startswith("A cat")


def test_damaged_weights_are_replaced_by_mini_vgg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels.h5").write_bytes(b"not HDF5")
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(tmp_path))
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    page.button(key="example-cat.jpg").click().run()
    assert "damaged" in page.error[0].value
    assert "Predicted by Mini-VGG" in page_text(page)
    assert page.title[0].value.startswith("What does Mini-VGG see")
    assert headline(page).startswith("A cat")
    page.get_by_key("model").set_value("mini_vgg").run()
    assert not page.error
    assert headline(page).startswith("A cat")


def test_missing_weights_folder_shows_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(tmp_path / "nowhere"))
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    assert "Cannot read the weights folder" in page.warning[0].value
    page.button(key="example-cat.jpg").click().run()
    assert headline(page).startswith("A cat")


def test_annotated_photo_and_receipt_can_be_downloaded(page: AppTest) -> None:
    page.button(key="example-cat.jpg").click().run()
    labels = [button.label for button in page.get("download_button")]
    assert labels == ["Annotated photo", "Receipt"]


def test_model_installed_while_on_another_page_is_listed(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(tmp_path))
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    page.switch_page("about.py").run()
    file = MODELS["mobilenet_v2"].weights.name
    (tmp_path / file).write_bytes((shared / "weights" / file).read_bytes())
    page.switch_page("classify.py").run()
    assert not page.exception
    assert "MobileNetV2 · installed" in page.get_by_key("model").options


def test_about_page_shows_all_layers_sources_and_credits(page: AppTest) -> None:
    page.switch_page("about.py").run()
    assert not page.exception
    table = page.dataframe[0].value
    assert list(table["Type"]).count("3×3 convolution") == 13
    assert list(table["Type"]).count("2×2 max pooling") == 5
    assert list(table["Type"]).count("dense") == 3
    assert table["Parameters"].sum() == 138_357_544
    assert "1409.1556" in page_text(page)
    for example in load_examples():
        assert example.author in page_text(page)


def test_figure_on_the_about_page_matches_the_layers_of_the_model() -> None:
    table = layer_table()
    convolutions = table[table["Type"] == "3×3 convolution"]["Output shape"].tolist()
    assert convolutions == [
        f"{block.size} × {block.size} × {block.channels}"
        for block in BLOCKS
        for _ in range(block.convolutions)
    ]


def test_credits_cover_every_example_and_files_are_small() -> None:
    folder = MAIN.parents[2] / "data" / "examples"
    files = {path.name for path in folder.glob("*.jpg")}
    credited = json.loads((folder / "credits.json").read_text())
    assert files == {credit["file"] for credit in credited}
    assert all(credit["author"] and credit["license"] and credit["source"] for credit in credited)
    assert sum((folder / name).stat().st_size for name in files) < 600_000


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        (r"C:\.keras", r"C\:\\.keras"),
        ("www.example.com", "www\u2060.example.com"),
        ("https://example.com", "https\\:\u2060//example.com"),
        ("me@example.com", "me\u2060@example.com"),
        ("1. a\n\n---\n\nb", r"1\. a --- b"),
        ("- a", r"\- a"),
        ("2024-05.jpg", r"2024\-05.jpg"),
    ],
)
def test_escaped_text_is_plain_text(text: str, escaped: str) -> None:
    assert escape(text) == escaped
