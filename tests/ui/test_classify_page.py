"""The main page, driven without a browser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from vgg_demo.images.examples import load_examples
from vgg_demo.models.registry import MODELS
from vgg_demo.ui.markdown import escape

MAIN = Path(__file__).parents[2] / "vgg_demo" / "ui" / "pages" / "navigation.py"


@pytest.fixture
def page() -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=120).run()
    assert not app.exception
    return app


def words(app: AppTest) -> str:
    """Returns all that the page says."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "badge", "error", "warning")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def headline(app: AppTest) -> str:
    return app.header[0].value


def test_empty_page_invites(page: AppTest) -> None:
    assert page.title[0].value == "What does Mini-VGG see in your photo?"
    assert len(page.button) >= len(load_examples()) == 6
    assert "never written to disk" in words(page)
    assert not page.header


@pytest.mark.parametrize(
    ("example", "verdict"),
    [("cat.jpg", "A cat"), ("dog.jpg", "A dog"), ("moose.jpg", "A deer"), ("parrot.jpg", "A bird")],
)
def test_one_click_on_an_example_gives_an_answer(page: AppTest, example: str, verdict: str) -> None:
    page.button(key=f"example-{example}").click().run()
    assert not page.exception
    assert headline(page).startswith(verdict)
    assert "Photo: " in words(page)


def test_upload(page: AppTest, photos: dict[str, bytes]) -> None:
    page.file_uploader[0].upload("mine.jpg", photos["dog"]).run()
    assert not page.exception
    assert headline(page).startswith("A dog")
    assert "mine.jpg" in words(page)


def test_a_photo_taken_back_is_gone(page: AppTest, photos: dict[str, bytes]) -> None:
    page.file_uploader[0].upload("mine.jpg", photos["dog"]).run()
    assert page.session_state["photo"].file == "mine.jpg"
    page.file_uploader[0].clear().run()
    assert not page.exception
    assert "photo" not in page.session_state
    assert not page.header


def test_a_photo_can_be_removed(page: AppTest, photos: dict[str, bytes]) -> None:
    page.file_uploader[0].upload("mine.jpg", photos["dog"]).run()
    (remove,) = [button for button in page.button if button.label == "Remove"]
    remove.click().run()
    assert not page.exception
    assert "photo" not in page.session_state
    assert not page.header
    page.file_uploader[0].upload("mine.jpg", photos["cat"]).run()
    assert headline(page).startswith("A cat")


def test_an_example_empties_the_uploader(page: AppTest, photos: dict[str, bytes]) -> None:
    page.file_uploader[0].upload("mine.jpg", photos["dog"]).run()
    page.button(key="example-cat.jpg").click().run()
    assert headline(page).startswith("A cat")
    assert not page.file_uploader[0].value


def test_camera(page: AppTest, photos: dict[str, bytes]) -> None:
    page.get_by_key("source").set_value("Camera").run()
    page.camera_input[0].upload("snap.jpg", photos["cat"]).run()
    assert not page.exception
    assert headline(page).startswith("A cat")


def test_vgg16_does_not_answer_when_it_is_not_here(page: AppTest) -> None:
    page.button(key="example-cat.jpg").click().run()
    assert page.get_by_key("model").value == "vgg16"
    assert "**VGG16 is not on this machine**" in words(page)
    assert "Mini-VGG's answer" in words(page)
    assert "knows 10 things only" in words(page)
    assert "VGG16's answer" not in words(page)


def test_vgg16_answers_when_it_is_here(vgg16_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(vgg16_dir))
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    page.button(key="example-cat.jpg").click().run()
    assert not page.exception
    assert "VGG16's answer" in words(page)
    assert "Unverified weights" in words(page)
    assert "Mini-VGG" not in words(page)


def test_models_on_this_machine_come_first(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(shared / "weights"))
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    options = page.get_by_key("model").options
    assert len(options) == len(MODELS)
    assert options[:4] == [
        "Mini-VGG – here",
        "MobileNetV2 – here",
        "MobileNetV3Small – here",
        "VGG16 – 553 MB to download",
    ]
    assert page.get_by_key("model").value == "vgg16"
    assert options[4:] == sorted(options[4:])


def test_the_url_names_the_model(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(shared / "weights"))
    page = AppTest.from_file(str(MAIN), default_timeout=120)
    page.query_params["model"] = "mobilenet_v2"
    page.run()
    page.button(key="example-parrot.jpg").click().run()
    assert headline(page).startswith("A lorikeet")
    page.get_by_key("model").set_value("mini_vgg").run()
    assert page.query_params["model"] == "mini_vgg"
    assert headline(page).startswith("A bird")


def test_a_wrong_model_in_the_url_is_told(page: AppTest) -> None:
    page = AppTest.from_file(str(MAIN), default_timeout=120)
    page.query_params["model"] = "vgg61"
    page.run()
    assert not page.exception
    assert "Did you mean vgg" in words(page)


def test_markdown_in_the_url_or_a_file_name_stays_text(
    page: AppTest, photos: dict[str, bytes]
) -> None:
    page = AppTest.from_file(str(MAIN), default_timeout=120)
    page.query_params["model"] = "![x](http://127.0.0.1:9/p.png)"
    page.run()
    page.file_uploader[0].upload("![i](http://127.0.0.1:9/q.png).jpg", photos["cat"]).run()
    assert "p.png" in words(page)
    assert "q.png" in words(page)
    foreign = [line for line in words(page).splitlines() if "127.0.0.1" in line]
    assert len(foreign) == 2
    assert "](" not in "".join(foreign).replace("\\](", "")


def test_moving_the_slider_computes_nothing(page: AppTest, monkeypatch: pytest.MonkeyPatch) -> None:
    page.button(key="example-cat.jpg").click().run()

    def never(*_: object, **__: object) -> None:
        raise AssertionError("classified again")

    monkeypatch.setattr("vgg_demo.ui.session.caches.classify_photo", never)
    for top in (1, 10, 3):
        page.slider(key="top").set_value(top).run()
        assert not page.exception
        assert len(page.table[0].value) == top


def test_the_table_says_what_the_chart_says(page: AppTest) -> None:
    page.button(key="example-moose.jpg").click().run()
    table = page.table[0].value
    assert table["Answer"].iloc[0] == "deer"
    (chart,) = page.get("vega_lite_chart")
    assert "deer" in chart.proto.spec


@pytest.mark.parametrize("resize", ["crop", "squash", "pad"])
def test_every_way_of_resizing(page: AppTest, resize: str) -> None:
    page.button(key="example-dog.jpg").click().run()
    page.get_by_key("resize").set_value(resize).run()
    assert not page.exception
    assert headline(page).startswith("A dog")


def test_an_unsure_answer_says_so(page: AppTest) -> None:
    page.button(key="example-coffee.jpg").click().run()
    assert headline(page).startswith("Not sure – perhaps ")
    assert "Unsure" in words(page)
    assert "counts as **sure** when" in words(page)
    assert "no kind of thing does" in words(page)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("text.jpg", "not a picture"),
        ("empty.png", "empty"),
        ("cut.jpg", "damaged or cut off"),
        ("one_pixel.png", "1 × 1 pixels; at least 16 × 16"),
        ("no_pixels.png", "Choose"),
        ("fifty_thousand.png", "more than 50 megapixels"),
        ("bomb.png", "7,100 × 7,100 pixels"),
        ("thirty_megabytes.jpg", "the limit here is 20 MB"),
    ],
)
def test_bad_uploads_are_told_and_the_next_photo_works(
    page: AppTest, bad_photos: dict[str, bytes], name: str, message: str
) -> None:
    page.file_uploader[0].upload(name, bad_photos[name]).run()
    assert not page.exception
    assert message in page.error[0].value
    page.button(key="example-cat.jpg").click().run()
    assert not page.error
    assert headline(page).startswith("A cat")


def test_mini_vgg_steps_in_for_a_damaged_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vgg16_weights_tf_dim_ordering_tf_kernels.h5").write_bytes(b"not HDF5")
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(tmp_path))
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    page.button(key="example-cat.jpg").click().run()
    assert "damaged" in page.error[0].value
    assert "Mini-VGG's answer" in words(page)
    assert page.title[0].value.startswith("What does Mini-VGG see")
    assert headline(page).startswith("A cat")
    page.get_by_key("model").set_value("mini_vgg").run()
    assert not page.error
    assert headline(page).startswith("A cat")


def test_a_weights_folder_that_is_not_there_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(tmp_path / "nowhere"))
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    assert "Cannot look into the weights folder" in page.warning[0].value
    page.button(key="example-cat.jpg").click().run()
    assert headline(page).startswith("A cat")


def test_receipt_and_annotated_photo_are_offered(page: AppTest) -> None:
    page.button(key="example-cat.jpg").click().run()
    labels = [button.label for button in page.get("download_button")]
    assert labels == ["Photo with the answer", "Receipt"]


def test_a_model_that_arrives_while_about_is_read(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(tmp_path))
    page = AppTest.from_file(str(MAIN), default_timeout=120).run()
    page.switch_page("about.py").run()
    file = MODELS["mobilenet_v2"].weights.name
    (tmp_path / file).write_bytes((shared / "weights" / file).read_bytes())
    page.switch_page("classify.py").run()
    assert not page.exception
    assert "MobileNetV2 – here" in page.get_by_key("model").options


def test_about(page: AppTest) -> None:
    page.switch_page("about.py").run()
    assert not page.exception
    table = page.dataframe[0].value
    assert list(table["Kind"]).count("3×3 convolution") == 13
    assert list(table["Kind"]).count("2×2 max-pooling") == 5
    assert list(table["Kind"]).count("dense") == 3
    assert table["Parameters"].sum() == 138_357_544
    assert "1409.1556" in words(page)
    for example in load_examples():
        assert example.author in words(page)


def test_credits_cover_every_example_and_fit_the_limit() -> None:
    folder = MAIN.parents[1] / "data" / "examples"
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
def test_what_is_escaped_is_plain_text(text: str, escaped: str) -> None:
    assert escape(text) == escaped
