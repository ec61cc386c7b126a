"""The page that compares, driven without a browser."""

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
    app = AppTest.from_file(str(MAIN), default_timeout=120)
    if models:
        app.query_params["models"] = models
    app.run()
    return settled(app.switch_page("compare.py"))


def plain(text: str) -> str:
    """Returns words without what keeps Markdown from reading them."""
    return text.replace("\\", "")


def settled(changed: AppTest | Element) -> AppTest:
    """Runs the page after a change of it, or of an element in it."""
    app = changed.run()
    assert not app.exception
    return app


def compare(app: AppTest, example: str = "cat.jpg") -> AppTest:
    settled(app.button(key=f"example-{example}").click())
    return settled(app.button(key="compare").click())


def words(app: AppTest) -> str:
    kinds = ("title", "header", "subheader", "markdown", "caption", "badge", "error", "warning")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def buttons(app: AppTest) -> list[str]:
    return [button.label for button in app.button if button.label != "Remove"][6:]


@pytest.fixture
def real_weights(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MobileNetV2 and MobileNetV3Small are on this machine."""
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(shared / "weights"))


def test_empty_page_invites() -> None:
    app = open_page()
    assert app.title[0].value == "Do other networks see the same?"
    assert "Start with an example" in words(app)
    assert app.button(key="compare").disabled


@pytest.mark.usefixtures("real_weights")
def test_what_is_here_is_compared() -> None:
    app = compare(open_page())
    assert plain(app.header[0].value) == "All three: a cat; two of them: an Egyptian cat"
    assert "*Egyptian cat*: a domestic cat of Egypt." in words(app)
    for card in ("#### Mini-VGG", "#### MobileNetV2", "#### MobileNetV3Small"):
        assert card in words(app)
    assert "A domestic cat, 96%; most likely an Egyptian cat, 59%" in words(app)  # the mean
    assert "Worth their time:" in words(app)
    assert "published ImageNet accuracy: Mini-VGG" in words(app)
    (table,) = app.dataframe
    assert table.value["model"].tolist() == ["Mini-VGG", "MobileNetV2", "MobileNetV3Small"]
    assert table.value["label"].tolist() == ["cat", "Egyptian cat", "Egyptian cat"]
    assert (table.value["median_ms"] > 0).all()
    assert app.button(key="compare").disabled
    assert "Cancel" not in buttons(app)


@pytest.mark.usefixtures("real_weights")
def test_the_second_time_nothing_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    app = compare(open_page())
    settled(app.button(key="example-dog.jpg").click())  # another photo needs no second press
    assert plain(app.header[0].value).startswith("All three: a dog")

    def forbidden(*_: object) -> None:
        raise AssertionError("asked again")

    monkeypatch.setattr(vgg_demo.inference.engine.Engine, "logits", forbidden)
    settled(app.button(key="example-cat.jpg").click())
    assert plain(app.header[0].value).startswith("All three: a cat")
    settled(app.slider(key="top").set_value(3))
    assert plain(app.header[0].value).startswith("All three: a cat")


def test_who_cannot_answer_says_so_in_its_card(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / MODELS["vgg19"].weights.name).write_bytes(b"damaged")
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(tmp_path))
    app = compare(open_page("vgg19,xception,mini_vgg"))
    assert "The file is damaged or is another model's" in app.error[0].value
    assert "Not on this machine, and downloading is switched off." in words(app)
    assert "**A cat, over 99%**" in words(app)
    assert not app.header  # one answer alone agrees with nobody


def test_what_does_not_fit_says_so_in_its_card(shared: Path, monkeypatch) -> None:
    monkeypatch.setenv("VGG_DEMO_WEIGHTS_DIR", str(shared / "weights"))
    monkeypatch.setenv("VGG_DEMO_MEMORY_MB", "50")
    app = compare(open_page("mobilenet_v2,mini_vgg"))
    assert "MobileNetV2 takes 14 MB of memory" in app.error[0].value
    assert "**A cat, over 99%**" in words(app)


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ("vgg16,MobileNetV2", ["vgg16", "mobilenet_v2"]),
        ("nonsense", ["mini_vgg"]),
        ("vgg16,nonsense,vgg16,VGG19", ["vgg16", "vgg19"]),
        (" , ", ["mini_vgg"]),
    ],
)
def test_models_in_the_address(models: str, expected: list[str]) -> None:
    app = open_page(models)
    assert app.session_state["models"] == expected
    assert ("do not exist: “nonsense”" in words(app)) is ("nonsense" in models)


def test_chosen_models_stay_in_the_address() -> None:
    app = open_page("vgg19,xception")
    settled(app.switch_page("about.py"))
    settled(app.switch_page("compare.py"))
    assert app.query_params["models"] == "vgg19,xception"
    app = open_page()
    assert "models" not in app.query_params


def test_sets_are_at_hand() -> None:
    app = open_page()
    assert app.session_state["models"] == ["mini_vgg"]
    (sets,) = (group for group in app.button_group if group.key == "model_set")
    settled(sets.set_value("Five classics"))
    assert app.session_state["models"] == list(registry.MODEL_SETS["Five classics"])
    assert app.query_params["models"] == "vgg16,vgg19,resnet50,inception_v3,xception"
    (pills,) = (group for group in app.button_group if group.key == "pills-Five classics")
    settled(pills.set_value(["vgg16", "xception"]))
    assert app.session_state["models"] == ["vgg16", "xception"]
    (sets,) = (group for group in app.button_group if group.key == "model_set")
    settled(sets.set_value("All"))
    assert app.session_state["models"] == ["vgg16", "xception"]


def test_a_bad_photo(bad_photos: dict[str, bytes]) -> None:
    app = open_page("mini_vgg,vgg16")
    settled(app.file_uploader[0].upload("text.jpg", bad_photos["text.jpg"]))
    settled(app.button(key="compare").click())
    assert app.error[0].value.startswith("This is not a picture")


@pytest.fixture
def server(small_weights: Path) -> Iterator[Server]:
    with serving(small_weights.read_bytes()) as running:
        yield running


def wait_for_downloads() -> None:
    for thread in threading.enumerate():
        if thread.name.startswith("download-"):
            thread.join(60)


@pytest.fixture
def fetched_slowly(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> registry.ModelSpec:
    """MobileNetV3Small comes from a server that sends half and then waits."""
    settings = Settings(cache_dir=tmp_path / "cache", stall_seconds=600)
    monkeypatch.setattr(caches, "get_settings", lambda: settings)
    monkeypatch.setattr(model_picker, "fetch_default_model", lambda: None)  # the other page's
    digest = hashlib.md5(server.content, usedforsecurity=False).hexdigest()
    weights = dataclasses.replace(SMALL.weights, url=server.url("slow"), hash=digest)
    models = {**MODELS, SMALL.name: dataclasses.replace(SMALL, weights=weights)}
    monkeypatch.setattr(registry, "MODELS", MappingProxyType(models))
    monkeypatch.setattr(model_sets, "MODELS", models)
    monkeypatch.setattr(available_models, "MODELS", models)
    return models[SMALL.name]


@pytest.mark.parametrize("how", ["deselected", "photo removed", "cancelled"])
def test_a_download_that_is_not_wanted_any_more_is_given_up(
    how: str, server: Server, fetched_slowly: registry.ModelSpec
) -> None:
    app = compare(open_page("mobilenet_v3_small,mini_vgg"))
    assert caches.get_downloads().get(fetched_slowly).is_under_way
    if how == "deselected":
        (pills,) = (group for group in app.button_group if str(group.key).startswith("pills-"))
        settled(pills.set_value(["mini_vgg"]))
    else:
        label = "Remove" if how == "photo removed" else "Cancel"
        settled(next(button for button in app.button if button.label == label).click())
    assert caches.get_downloads().get(fetched_slowly) is None
    server.resume.set()
    wait_for_downloads()


@pytest.mark.usefixtures("fetched_slowly")
def test_a_missing_model_is_fetched_while_others_answer(server: Server) -> None:
    app = compare(open_page("mobilenet_v3_small,mini_vgg"))
    assert "**A cat, over 99%**" in words(app)
    assert any("server" in bar.text or "MB/s" in bar.text for bar in app.progress)
    assert "Cancel" in buttons(app)
    assert not app.header
    server.resume.set()
    wait_for_downloads()
    settled(app)
    assert plain(app.header[0].value).startswith(("Both: ", "The two have nothing in common"))
    assert "Cancel" not in buttons(app)
    assert server.bodies_sent == 1


def test_a_link_asks_for_other_networks() -> None:
    """Also when some were chosen here before, as on the page of a model that was just taught."""
    app = open_page("mini_vgg,vgg16")
    assert app.session_state["models"] == ["mini_vgg", "vgg16"]
    app = settled(app.switch_page("batch.py"))
    app.query_params["models"] = "resnet50,mini_vgg"
    app = settled(app.switch_page("compare.py"))
    assert app.session_state["models"] == ["resnet50", "mini_vgg"]
    app = settled(app.switch_page("batch.py"))
    app.query_params["models"] = "vgg61"
    app = settled(app.switch_page("compare.py"))
    assert "do not exist" in app.warning[0].value
    assert app.session_state["models"] == ["resnet50", "mini_vgg"]


def test_an_address_that_is_behind_changes_nothing() -> None:
    """Who clicks fast sends the address of before the last click along."""
    app = open_page("mini_vgg,vgg16")
    (pills,) = (group for group in app.button_group if group.key.startswith("pills"))
    pills.set_value(["mini_vgg"])
    app.query_params["models"] = "mini_vgg,vgg16,vgg19"
    app = settled(app)
    assert app.session_state["models"] == ["mini_vgg"]
    assert app.query_params["models"] == "mini_vgg"


def test_a_taught_model_of_the_address_is_waited_for() -> None:
    """After a reload, the browser says which trainings are its own only when it has the page."""
    app = open_page("mine@0123456789abcdef,mini_vgg")
    assert "do not exist" in app.warning[0].value
    assert app.session_state["models"] == ["mini_vgg"]
    assert app.query_params["models"] == "mine@0123456789abcdef,mini_vgg"
    custom = dataclasses.replace(MODELS["vgg16"], name="mine@0123456789abcdef", keras_name="mine")
    app.session_state["opened_models"] = {custom.name: custom}
    app = settled(app)
    assert not app.warning
    assert app.session_state["models"] == [custom.name, "mini_vgg"]
    assert next(one for one in app.button_group if one.key.startswith("pills")).value == [
        custom.name, "mini_vgg",
    ]  # fmt: skip
