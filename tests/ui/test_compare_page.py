"""The Compare page, without a browser."""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

import pytest
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Element

import vgg_demo.inference.engine
from tests.support.weights_server import Server, serving
from vgg_demo.models import registry
from vgg_demo.models.registry import MODELS, get_spec
from vgg_demo.settings import Settings
from vgg_demo.ui.compare import model_sets
from vgg_demo.ui.components import model_picker
from vgg_demo.ui.session import available_models, caches

MAIN = Path(__file__).parents[2] / "vgg_demo" / "ui" / "pages" / "navigation.py"
SMALL = get_spec("mobilenet_v3_small")


def open_page(models: str = "") -> AppTest:
    """Opens the page, with model names in the URL if given."""
    app = AppTest.from_file(str(MAIN), default_timeout=120)
    if models:
        app.query_params["models"] = models
    app.run()
    return rerun(app.switch_page("compare.py"))


def unescape(text: str) -> str:
    """Removes the backslashes that escape Markdown."""
    return text.replace("\\", "")


def rerun(changed: AppTest | Element) -> AppTest:
    """Reruns the page after a change and checks that it raises no exception."""
    app = changed.run()
    assert not app.exception
    return app


def compare(app: AppTest, example: str = "cat.jpg") -> AppTest:
    rerun(app.button(key=f"example-{example}").click())
    return rerun(app.button(key="compare").click())


def visible_text(app: AppTest) -> str:
    types = ("title", "header", "subheader", "markdown", "caption", "badge", "error", "warning")
    return "\n".join(str(element.value) for name in types for element in app.get(name))


def buttons(app: AppTest) -> list[str]:
    """Returns the labels of the buttons except those of the photo and the examples."""
    return [button.label for button in app.button if button.label != "Remove"][6:]


@pytest.fixture
def installed_weights(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installs MobileNetV2 and MobileNetV3Small."""
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(shared / "weights"))


def test_empty_page_explains_how_to_start() -> None:
    app = open_page()
    assert app.title[0].value == "Compare models on one photo"
    assert "Results appear here. Start with an example" in visible_text(app)
    assert app.button(key="compare").disabled


@pytest.mark.usefixtures("installed_weights")
def test_installed_models_are_compared_by_default() -> None:
    app = compare(open_page())
    assert unescape(app.header[0].value) == "All three: a cat; two of three: an Egyptian cat"
    assert "*Egyptian cat*: a domestic cat of Egypt." in visible_text(app)
    for card in ("#### Mini-VGG", "#### MobileNetV2", "#### MobileNetV3Small"):
        assert card in visible_text(app)
    assert "A domestic cat, 96%; most likely an Egyptian cat, 59%" in visible_text(app)  # average
    assert "Pareto front: **" in visible_text(app)
    assert "Not in the chart (no published ImageNet accuracy): Mini-VGG" in visible_text(app)
    (table,) = app.dataframe
    assert table.value["model"].tolist() == ["Mini-VGG", "MobileNetV2", "MobileNetV3Small"]
    assert table.value["label"].tolist() == ["cat", "Egyptian cat", "Egyptian cat"]
    assert (table.value["median_ms"] > 0).all()
    assert app.button(key="compare").disabled
    assert "Cancel" not in buttons(app)


@pytest.mark.usefixtures("installed_weights")
def test_results_are_cached_for_each_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    app = compare(open_page())
    rerun(app.button(key="example-dog.jpg").click())  # no second click on Compare needed
    assert unescape(app.header[0].value).startswith("All three: a dog")

    def fail(*_: object) -> None:
        raise AssertionError("the model ran again")

    monkeypatch.setattr(vgg_demo.inference.engine.Engine, "logits", fail)
    rerun(app.button(key="example-cat.jpg").click())
    assert unescape(app.header[0].value).startswith("All three: a cat")
    rerun(app.slider(key="top").set_value(3))
    assert unescape(app.header[0].value).startswith("All three: a cat")


def test_card_shows_why_a_model_cannot_be_loaded(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / MODELS["vgg19"].weights.name).write_bytes(b"damaged")
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(tmp_path))
    app = compare(open_page("vgg19,xception,mini_vgg"))
    assert "The file is damaged or belongs to another model" in app.error[0].value
    assert "Xception is not installed and downloads are disabled." in visible_text(app)
    assert "**A cat, over 99%**" in visible_text(app)
    assert not app.header  # a single result has no agreement


def test_card_shows_that_a_model_exceeds_the_memory_limit(shared: Path, monkeypatch) -> None:
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(shared / "weights"))
    monkeypatch.setenv("VGG_DEMO_MEMORY_MB", "50")
    app = compare(open_page("mobilenet_v2,mini_vgg"))
    assert "MobileNetV2 requires 14 MB of memory" in app.error[0].value
    assert "**A cat, over 99%**" in visible_text(app)


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ("vgg16,MobileNetV2", ["vgg16", "mobilenet_v2"]),
        ("nonsense", ["mini_vgg"]),
        ("vgg16,nonsense,vgg16,VGG19", ["vgg16", "vgg19"]),
        (" , ", ["mini_vgg"]),
    ],
)
def test_models_in_the_url_are_selected(models: str, expected: list[str]) -> None:
    app = open_page(models)
    assert app.session_state["models"] == expected
    assert ("unknown model: “nonsense”" in visible_text(app)) is ("nonsense" in models)


def test_selected_models_stay_in_the_url_across_pages() -> None:
    app = open_page("vgg19,xception")
    rerun(app.switch_page("about.py"))
    rerun(app.switch_page("compare.py"))
    assert app.query_params["models"] == "vgg19,xception"
    app = open_page()
    assert "models" not in app.query_params


def test_choosing_a_set_selects_its_models() -> None:
    app = open_page()
    assert app.session_state["models"] == ["mini_vgg"]
    (sets,) = (group for group in app.button_group if group.key == "model_set")
    rerun(sets.set_value("Five classics"))
    assert app.session_state["models"] == list(registry.MODEL_SETS["Five classics"])
    assert app.query_params["models"] == "vgg16,vgg19,resnet50,inception_v3,xception"
    (pills,) = (group for group in app.button_group if group.key == "pills-Five classics")
    rerun(pills.set_value(["vgg16", "xception"]))
    assert app.session_state["models"] == ["vgg16", "xception"]
    (sets,) = (group for group in app.button_group if group.key == "model_set")
    rerun(sets.set_value("Choose from all"))
    assert app.session_state["models"] == ["vgg16", "xception"]


def test_invalid_photo_shows_an_error(bad_photos: dict[str, bytes]) -> None:
    app = open_page("mini_vgg,vgg16")
    rerun(app.file_uploader[0].upload("text.jpg", bad_photos["text.jpg"]))
    rerun(app.button(key="compare").click())
    assert app.error[0].value.startswith("This is not an image")


@pytest.fixture
def server(small_weights: Path) -> Iterator[Server]:
    with serving(small_weights.read_bytes()) as running:
        yield running


def wait_for_downloads() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("download-"):
            thread.join(60)


@pytest.fixture
def slow_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> registry.ModelSpec:
    """Serves MobileNetV3Small from a server that sends half of the file and then waits."""
    settings = Settings(cache_dir=tmp_path / "cache", stall_timeout_seconds=600)
    monkeypatch.setattr(caches, "get_settings", lambda: settings)
    monkeypatch.setattr(model_picker, "fetch_default_model", lambda: None)  # on the Classify page
    digest = hashlib.md5(server.content, usedforsecurity=False).hexdigest()
    weights = dataclasses.replace(SMALL.weights, url=server.url("slow"), hash=digest)
    models = {**MODELS, SMALL.name: dataclasses.replace(SMALL, weights=weights)}
    monkeypatch.setattr(registry, "MODELS", MappingProxyType(models))
    monkeypatch.setattr(model_sets, "MODELS", models)
    monkeypatch.setattr(available_models, "MODELS", models)
    return models[SMALL.name]


@pytest.mark.parametrize("reason", ["model deselected", "photo removed", "canceled"])
def test_download_that_is_no_longer_needed_stops(
    reason: str, server: Server, slow_download: registry.ModelSpec
) -> None:
    app = compare(open_page("mobilenet_v3_small,mini_vgg"))
    assert caches.get_downloads().get(slow_download).is_active
    if reason == "model deselected":
        (pills,) = (group for group in app.button_group if str(group.key).startswith("pills-"))
        rerun(pills.set_value(["mini_vgg"]))
    else:
        label = "Remove" if reason == "photo removed" else "Cancel"
        rerun(next(button for button in app.button if button.label == label).click())
    assert caches.get_downloads().get(slow_download) is None
    server.resume.set()
    wait_for_downloads()


@pytest.mark.usefixtures("slow_download")
def test_missing_model_is_downloaded_while_other_models_run(server: Server) -> None:
    app = compare(open_page("mobilenet_v3_small,mini_vgg"))
    assert "**A cat, over 99%**" in visible_text(app)
    assert any("Connecting" in bar.text or "MB/s" in bar.text for bar in app.progress)
    assert "Cancel" in buttons(app)
    assert not app.header
    server.resume.set()
    wait_for_downloads()
    rerun(app)
    assert unescape(app.header[0].value).startswith(("Both: ", "The two models disagree"))
    assert "Cancel" not in buttons(app)
    assert server.bodies_sent == 1


def test_models_in_a_link_replace_the_selection() -> None:
    """Links on the Train page open this page with a custom model."""
    app = open_page("mini_vgg,vgg16")
    assert app.session_state["models"] == ["mini_vgg", "vgg16"]
    app = rerun(app.switch_page("batch.py"))
    app.query_params["models"] = "resnet50,mini_vgg"
    app = rerun(app.switch_page("compare.py"))
    assert app.session_state["models"] == ["resnet50", "mini_vgg"]
    app = rerun(app.switch_page("batch.py"))
    app.query_params["models"] = "vgg61"
    app = rerun(app.switch_page("compare.py"))
    assert "an unknown model: " in app.warning[0].value
    assert app.session_state["models"] == ["resnet50", "mini_vgg"]


def test_outdated_url_does_not_change_the_selection() -> None:
    """After fast clicks, the browser still sends the URL from before the last click."""
    app = open_page("mini_vgg,vgg16")
    (pills,) = (group for group in app.button_group if group.key.startswith("pills"))
    pills.set_value(["mini_vgg"])
    app.query_params["models"] = "mini_vgg,vgg16,vgg19"
    app = rerun(app)
    assert app.session_state["models"] == ["mini_vgg"]
    assert app.query_params["models"] == "mini_vgg"


def test_custom_model_in_the_url_is_selected_after_it_is_restored() -> None:
    """After a reload, the browser sends the IDs of its training runs only with the first rerun."""
    app = open_page("mine@0123456789abcdef,mini_vgg")
    assert "an unknown model: " in app.warning[0].value
    assert app.session_state["models"] == ["mini_vgg"]
    assert app.query_params["models"] == "mine@0123456789abcdef,mini_vgg"
    custom = dataclasses.replace(MODELS["vgg16"], name="mine@0123456789abcdef", keras_name="mine")
    app.session_state["opened_models"] = {custom.name: custom}
    app = rerun(app)
    assert not app.warning
    assert app.session_state["models"] == [custom.name, "mini_vgg"]
    assert next(group for group in app.button_group if group.key.startswith("pills")).value == [
        custom.name, "mini_vgg",
    ]  # fmt: skip
