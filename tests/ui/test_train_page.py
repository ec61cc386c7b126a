"""The page that teaches, driven without a browser; its workers are real."""

from __future__ import annotations

import io
import re
import shutil
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Element

from vgg_demo.models.bundle import MODEL
from vgg_demo.models.catalog import published_models
from vgg_demo.training.jobs.run import Stage, TrainingRun
from vgg_demo.ui.session import available_models, caches

MAIN = Path(__file__).parents[2] / "vgg_demo" / "ui" / "pages" / "navigation.py"
SECONDS = 120  # until a training must be over


def settled(changed: AppTest | Element) -> AppTest:
    app = changed.run()
    assert not app.exception
    return app


def open_page() -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=120)
    app.run()
    return settled(app.switch_page("train.py"))


@pytest.fixture
def page() -> AppTest:
    return open_page()


@pytest.fixture
def archive(pieces: Path) -> bytes:  # noqa: F811
    return to_zip({str(path.relative_to(pieces)): path for path in sorted(pieces.rglob("*.jpg"))})


def to_zip(files: dict[str, Path | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in files.items():
            file.writestr(name, content.read_bytes() if isinstance(content, Path) else content)
    return buffer.getvalue()


def words(app: AppTest) -> str:
    kinds = ("title", "header", "subheader", "markdown", "caption", "error", "warning", "info")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def plain(app: AppTest) -> str:
    """Returns the words as people see them, without what keeps Markdown from reading them."""
    return words(app).replace("\\", "")


def labelled(app: AppTest, label: str) -> Element:
    return next(button for button in app.button if button.label == label)


def fewest(app: AppTest) -> Element:
    return next(one for one in app.number_input if one.label.startswith("Leave out kinds"))


def give(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    uploads = [(name, data, "application/octet-stream") for name, data in files]
    return settled(app.file_uploader[0].set_value(uploads))


def look(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    return settled(give(app, *files).button(key="train_inspect").click())


def teach(app: AppTest) -> AppTest:
    settled(app.button(key="train_start").click())
    return over(app)


def over(app: AppTest) -> AppTest:
    wait(lambda: newest(app).stage.is_over)
    return settled(app)


def newest(app: AppTest) -> TrainingRun:
    found = caches.get_training_queue().get(app.session_state["runs"][0])
    assert found is not None
    return found


def wait(until: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not until():
        assert time.monotonic() < end
        time.sleep(0.05)  # a worker has no way to call a test back


def test_an_empty_page_invites(page: AppTest) -> None:
    assert page.title[0].value == "Teach it your own things"
    assert page.button(key="train_inspect").disabled
    assert "Or try it with these: 160 photos" in words(page)
    assert "never written to disk" in words(page)


def test_from_an_archive_to_an_answer(
    page: AppTest, archive: bytes, photos: dict[str, bytes]
) -> None:
    app = look(page, ("animals and more.zip", archive))
    assert "48 photos of 3 kinds" in words(app)
    assert "**Fewer than 20 photos\\: cat (16), parrot (16), rocket (16).**" in words(app)
    assert app.text_input(key="train_name").value == "animals and more"
    app = teach(app)
    assert "“animals and more” can be used" in words(app)
    assert app.metric[0].label == "Right on photos kept back"
    assert app.metric[1].value == "33.3%"

    run = newest(app)
    assert run.result is not None
    cells = app.selectbox(key="train_cell")
    right = next(text for text in cells.options if "recognised" in text)
    app = settled(cells.select(cells.value if right == cells.options[0] else _cell(right, run)))
    assert right.rpartition(" (")[0] in words(app)

    name = run.result.bundle.spec.name
    app.query_params["model"] = name
    app = settled(app.switch_page("classify.py"))
    assert app.selectbox(key="model").value == name
    app = settled(app.button(key="example-rocket.jpg").click())
    assert "animals and more knows 3 things only: cat, parrot, rocket" in plain(app)
    table = app.table[0].value
    assert list(table.columns) == ["Answer", "Probability"]
    assert table["Answer"][0] == "rocket"


def _cell(text: str, run: TrainingRun) -> tuple[int, int]:
    place = run.dataset.classes.index(text.partition(",")[0])
    return place, place


@pytest.mark.slow
def test_a_taught_model_is_compared_and_used_on_many(
    page: AppTest, archive: bytes, photos: dict[str, bytes]
) -> None:
    app = teach(look(page, ("mine.zip", archive)))
    name = newest(app).result.bundle.spec.name
    app.query_params["models"] = f"{name},mini_vgg"
    app = settled(app.switch_page("compare.py"))
    settled(app.button(key="example-cat.jpg").click())
    app = settled(app.button(key="compare").click())
    assert "mine" in words(app)
    app.query_params["models"] = name  # as the page's link has it
    app = settled(app.switch_page("batch.py"))
    assert next(one for one in app.button_group if one.key == "batch_models").value == [name]
    uploads = [("cat.jpg", photos["cat"], "image/jpeg"), ("x/rocket.1.jpg", photos["rocket"], "")]
    settled(app.file_uploader[0].set_value(uploads))
    app = settled(app.button(key="batch_start").click())
    assert "2 photos" in words(app)
    assert "The names of 2 photos or of their folders tell what is on them" in words(app)
    assert app.metric[0].value == "100.0%"


def test_a_table_says_what_is_on_photos(page: AppTest, pieces: Path) -> None:  # noqa: F811
    files = sorted((pieces / "cat").iterdir()) + sorted((pieces / "rocket").iterdir())
    photos = {f"{number}.jpg": path for number, path in enumerate(files)}
    rows = [f"{number},{'a cat' if number < 16 else 'no cat'}" for number in range(32)]
    table = "\n".join(["photo,what", *rows, "99,a cat"]).encode()
    app = give(page, ("all.zip", to_zip(photos)), ("labels.csv", table))
    assert [box.value for box in app.selectbox][:2] == ["photo", "what"]
    app = settled(app.button(key="train_inspect").click())
    assert "32 photos of 2 kinds" in words(app)
    assert "What could not be used (1)" in [one.label for one in app.expander]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("one.zip", {"cat/1.jpg": "cat", "cat/2.jpg": "rocket"}, "only 'cat' to learn"),
        ("flat.zip", {"1.jpg": "cat", "2.jpg": "dog"}, "only 'flat' to learn"),
        (
            "alone.zip",
            {"a/1.jpg": "cat", "b/2.jpg": "dog"},
            "Left out, for having too few photos: a (1), b (1).",
        ),
        ("bad.zip", b"no archive", "bad.zip"),
        ("empty.zip", {}, "no photos"),
    ],
)
def test_what_nothing_can_be_learned_from(
    page: AppTest,
    photos: dict[str, bytes],
    name: str,
    content: dict[str, str] | bytes,
    message: str,
) -> None:
    if isinstance(content, dict):
        content = to_zip({path: photos[photo] for path, photo in content.items()})
    app = look(page, (name, content))
    assert app.error
    assert message in plain(app)
    assert not [button for button in app.button if button.key == "train_start"]


def test_what_is_wrong_with_photos(
    page: AppTest, photos: dict[str, bytes], archive: bytes, encode: Callable[..., bytes]
) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        files: dict[str, Path | bytes] = {name: found.read(name) for name in found.namelist()}
    files["cat/again.jpg"] = files["cat/00.jpg"]  # the same photo twice
    files["rocket/cat.jpg"] = photos["cat"]
    files["cat/cat.jpg"] = photos["cat"]  # and one under two names
    files["parrot/text.jpg"] = b"no picture"
    files["parrot/long.png"] = encode(Image.effect_noise((40, 900), 90).convert("RGB"), "PNG")
    files["rare/1.jpg"], files["rare/2.jpg"] = photos["dog"], photos["moose"]
    app = look(page, ("many.zip", to_zip(files)))
    said = plain(app)
    for told in (
        "The same photos are called cat and rocket",
        "2 photos look like another one",
        "One kind has 9.0 times the photos of another",
        "1 photo is much smaller than what networks look at",
        "1 photo is very long",
    ):
        assert told in said
    assert "What could not be used (1)" in [one.label for one in app.expander]
    app = settled(fewest(app).set_value(5))
    assert "Left out, for having too few photos: rare (2)." in plain(app)
    assert "of 3 kinds" in words(app)
    assert fewest(app).value == 5

    app = settled(labelled(app, "Leave out all 2").click())
    assert "The same photos are called" not in plain(app)
    assert "2 photos are left out by you" in words(app)
    app = settled(app.button(key="train_restore").click())
    assert "The same photos are called cat and rocket" in plain(app)
    assert fewest(app).value == 5
    app = settled(labelled(app, "Leave out").click())  # one of them
    assert "The same photos are called" not in plain(app)
    assert "1 photo is left out by you" in words(app)


def test_kind_by_kind(page: AppTest, pieces: Path) -> None:  # noqa: F811
    app = settled(next(one for one in page.button_group if one.key == "train_source").set_value(
        "Kind by kind"
    ))  # fmt: skip
    settled(app.text_input[0].set_value("mug"))
    assert [kind.name for kind in app.session_state["train_classes"]] == ["mug", "Kind 2"]
    for place, kind in enumerate(("cat", "parrot")):
        uploads = [
            (path.name, path.read_bytes(), "image/jpeg") for path in (pieces / kind).iterdir()
        ]
        settled(app.file_uploader[place].set_value(uploads))
    assert "16 photos" in words(app)
    app = settled(app.text_input[1].set_value("Mug"))
    assert "Two kinds have the same name" in app.error[0].value
    app = settled(app.text_input[1].set_value("no mug"))
    app = settled(app.text_input[1].set_value(""))
    assert app.text_input[1].value == "no mug"
    app = settled(app.button(key="train_inspect").click())
    assert "32 photos of 2 kinds" in words(app)
    app.session_state["train_inspection"].leave_out([3])
    app = settled(app)
    assert "31 photos of 2 kinds" in words(app)
    app = settled(labelled(app, "Change the photos").click())
    assert [(kind.name, len(kind.photos)) for kind in app.session_state["train_classes"]] == [
        ("mug", 15), ("no mug", 16),
    ]  # fmt: skip
    app = settled(labelled(app, "Add a kind").click())
    assert app.text_input[2].value == "Kind 3"
    app = settled(labelled(app, "Remove mug and its 15 photos").click())
    assert [kind.name for kind in app.session_state["train_classes"]] == ["no mug", "Kind 3"]
    app = settled(labelled(app, "Take out the last 16").click())
    assert "no mug" in app.text_input[0].value
    assert not any(kind.photos for kind in app.session_state["train_classes"])


def test_a_killed_worker(page: AppTest, archive: bytes) -> None:
    app = look(page, ("mine.zip", archive))
    settled(next(one for one in app.number_input if one.label.startswith("Times through all"))
            .set_value(100))  # fmt: skip
    settled(app.button(key="train_start").click())
    run = newest(app)
    wait(lambda: run.epochs or run.stage.is_over)
    for child in psutil.Process().children():
        if "vgg_demo.training.jobs.worker" in child.cmdline():
            child.kill()
    wait(lambda: run.stage.is_over)
    app = settled(app)
    assert run.stage is Stage.FAILED
    assert "ended from outside" in app.error[0].value
    app = settled(app.button(key="train_resume").click())
    app = over(app)
    assert "“mine” can be used" in words(app)


@pytest.mark.slow
def test_another_window_knows_nothing_of_it(page: AppTest, archive: bytes) -> None:
    teach(look(page, ("mine.zip", archive)))
    other = open_page()
    assert "mine" not in words(other)
    other = settled(other.switch_page("classify.py"))
    assert not [text for text in other.selectbox(key="model").options if "taught" in text]


def test_a_model_is_kept_for_all(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VGG_DEMO_TRAIN", "on")
    app = teach(look(open_page(), ("mine.zip", archive)))
    app = settled(next(button for button in app.button if button.label == "Keep it").click())
    assert not app.error
    assert "Kept on this server" in words(app)
    (kept,) = published_models(caches.get_settings().bundles_dir).values()
    assert kept.keras_name == "mine"
    other = settled(open_page().switch_page("classify.py"))
    choice = other.selectbox(key="model")
    assert "mine – taught, 3 kinds" in choice.options
    settled(choice.set_value(kept.name))
    shutil.rmtree(kept.custom.bundle)
    other = settled(other)
    assert "was removed from this server" in other.warning[0].value
    assert other.selectbox(key="model").value == "vgg16"
    assert not settled(other).warning


def test_the_threshold_can_be_set(page: AppTest, archive: bytes) -> None:
    app = teach(look(page, ("mine.zip", archive)))
    run = newest(app)
    before = run.result.bundle.spec.name
    slider = next(one for one in app.slider if one.label.startswith("No answer below"))
    app = settled(slider.set_value(77))
    app = settled(app.button(key="train_threshold").click())
    assert run.result.bundle.spec.custom.unknown_below == 0.77
    assert run.result.bundle.spec.name != before
    assert not [button for button in app.button if button.key == "train_threshold"]


def test_a_bundle_is_given(page: AppTest, archive: bytes) -> None:
    app = teach(look(page, ("mine.zip", archive)))
    folder = newest(app).job.bundle
    files: dict[str, Path | bytes] = {f"mine/{path.name}": path for path in folder.iterdir()}
    other = open_page()
    uploader = next(one for one in other.file_uploader if one.label == "Bundle")
    settled(uploader.set_value(("theirs.zip", to_zip(files), "application/zip")))
    other = settled(other.button(key="train_open").click())
    assert "**theirs** is on all pages, for you. It knows 3 kinds" in words(other)
    files[f"mine/{MODEL}"] = b"changed"
    uploader = next(one for one in other.file_uploader if one.label == "Bundle")
    settled(uploader.set_value(("bad.zip", to_zip(files), "application/zip")))
    other = settled(other.button(key="train_open").click())
    assert "bad" in other.error[0].value
    other = settled(other.switch_page("classify.py"))
    assert "theirs – taught, 3 kinds" in other.selectbox(key="model").options


def test_what_an_owner_allows(monkeypatch: pytest.MonkeyPatch, archive: bytes) -> None:
    monkeypatch.setenv("VGG_DEMO_TRAIN", "private")
    app = teach(look(open_page(), ("mine.zip", archive)))
    assert "“mine” can be used" in words(app)
    assert not [button for button in app.button if button.label == "Keep it"]
    caches.get_settings.clear()
    monkeypatch.setenv("VGG_DEMO_TRAIN", "off")
    app = open_page()
    assert "Teaching is switched off on this server" in words(app)
    assert not app.file_uploader


@pytest.mark.parametrize(
    ("address", "headers", "may"),
    [
        (None, {}, True),
        ("127.0.0.1", {}, True),
        ("192.168.0.7", {}, False),
        (None, {"X-Forwarded-For": "203.0.113.9"}, False),
    ],
)
def test_who_may_keep_a_model(
    monkeypatch: pytest.MonkeyPatch, address: str | None, headers: dict[str, str], may: bool
) -> None:
    """By default, who sits at this machine; all, if its owner says so."""
    context = SimpleNamespace(ip_address=address, headers=headers)
    monkeypatch.setattr(available_models.st, "context", context)
    assert available_models.may_publish() is may
    caches.get_settings.clear()
    monkeypatch.setenv("VGG_DEMO_TRAIN", "on")
    assert available_models.may_publish()


@pytest.mark.slow
def test_two_of_one_name(page: AppTest, archive: bytes) -> None:
    app = look(page, ("mine.zip", archive))
    app = settled(app.number_input(key="train_epochs").set_value(2))
    app = teach(app)
    app = settled(
        next(button for button in app.button if button.label.startswith("Teach again")).click()
    )
    assert app.number_input(key="train_epochs").value == 2  # as it was
    settled(app.number_input(key="train_epochs").set_value(3))
    assert app.text_input(key="train_name").value == "mine 2"
    app = teach(settled(app.text_input(key="train_name").set_value("mine")))
    pills = next(one for one in app.button_group if one.key == "train_run")
    assert [text.partition(" ·")[0] for text in pills.options] == ["mine (2)", "mine", "New"]
    older = caches.get_training_queue().get(app.session_state["runs"][1])
    app = settled(pills.set_value(older.id))
    assert len(older.epochs) == 2
    app = settled(settled(app.switch_page("about.py")).switch_page("train.py"))
    assert next(one for one in app.button_group if one.key == "train_run").value == older.id
    app = settled(app.switch_page("classify.py"))
    custom = [text for text in app.selectbox(key="model").options if "taught" in text]
    assert len(set(custom)) == 2


@pytest.mark.slow
def test_the_names_of_a_stranger(page: AppTest, archive: bytes, photos: dict[str, bytes]) -> None:
    """Whatever a kept model is called and knows, no page reads it as Markdown."""
    evil = "![x](https://evil.example/x.png) [y](https://evil.example)"
    with zipfile.ZipFile(io.BytesIO(archive)) as found:
        files: dict[str, Path | bytes] = {
            f"{evil.replace('/', '|') if 'cat' in name else 'www.evil.example'}/{number}.jpg":
            found.read(name)
            for number, name in enumerate(found.namelist())
        }  # fmt: skip
    app = teach(look(page, (f"{evil.replace('/', '|')}.zip", to_zip(files))))
    name = newest(app).result.bundle.spec.name
    links = re.compile(r"(?<!\\)\]\(\S*evil|(?<![\w\u2060])www\.|https?:(?!\u2060)//evil")
    assert not links.search(words(app))
    app.query_params["model"] = name
    app = settled(app.switch_page("classify.py"))
    app = settled(app.button(key="example-cat.jpg").click())
    assert not links.search(words(app))
    assert not links.search("\n".join(map(str, app.table[0].value["Answer"])))
    app.query_params["models"] = f"{name},mini_vgg"
    app = settled(app.switch_page("compare.py"))
    app = settled(app.button(key="compare").click())
    assert not links.search(words(app))
    app = settled(app.switch_page("batch.py"))
    settled(next(one for one in app.button_group if one.key == "batch_models").set_value([name]))
    uploads = [("cat.jpg", photos["cat"], "image/jpeg")]
    settled(app.file_uploader[0].set_value(uploads))
    app = settled(app.button(key="batch_start").click())
    assert not links.search(words(app))


def test_a_run_is_forgotten(page: AppTest, archive: bytes) -> None:
    app = teach(look(page, ("mine.zip", archive)))
    folder = newest(app).job.folder
    app = settled(app.button(key="train_delete").click())
    assert not folder.exists()
    assert "Or try it with these" in words(app)  # and the photos are gone, too
    assert "train_inspection" not in app.session_state


def test_a_network_that_cannot_be_had(
    page: AppTest, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgg_demo.ui.train.settings.is_backbone_available", lambda *_: True)
    app = look(page, ("mine.zip", archive))
    app = settled(app.selectbox(key="train_backbone").select("mobilenet_v2"))
    app = teach(app)
    assert "MobileNetV2" in app.error[0].value
    assert "Mini-VGG comes with this program and needs no download" in words(app)
