"""The Train page, without a browser but with real worker processes."""

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

from vgg_demo.models.bundle import MODEL_FILE
from vgg_demo.models.lookup import published_models
from vgg_demo.training.jobs.training_run import Stage, TrainingRun
from vgg_demo.ui.session import available_models, caches

MAIN = Path(__file__).parents[2] / "vgg_demo" / "ui" / "pages" / "navigation.py"
TIMEOUT_SECONDS = 120  # for a training run


def run_app(changed: AppTest | Element) -> AppTest:
    app = changed.run()
    assert not app.exception
    return app


def open_page() -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=120)
    app.run()
    return run_app(app.switch_page("train.py"))


@pytest.fixture
def page() -> AppTest:
    return open_page()


@pytest.fixture
def archive(crops: Path) -> bytes:
    return to_zip({str(path.relative_to(crops)): path for path in sorted(crops.rglob("*.jpg"))})


def to_zip(files: dict[str, Path | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, content in files.items():
            file.writestr(name, content.read_bytes() if isinstance(content, Path) else content)
    return buffer.getvalue()


def page_text(app: AppTest) -> str:
    types = ("title", "header", "subheader", "markdown", "caption", "error", "warning", "info")
    return "\n".join(str(element.value) for name in types for element in app.get(name))


def visible_text(app: AppTest) -> str:
    """Returns the text of the page without the backslashes that escape Markdown."""
    return page_text(app).replace("\\", "")


def find_button(app: AppTest, label: str) -> Element:
    return next(button for button in app.button if button.label == label)


def find_button_group(app: AppTest, key: str) -> Element:
    return next(group for group in app.button_group if group.key == key)


def min_photos(app: AppTest) -> Element:
    return next(field for field in app.number_input if field.label == "Minimum photos per class")


def upload(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    uploads = [(name, data, "application/octet-stream") for name, data in files]
    return run_app(app.file_uploader[0].set_value(uploads))


def inspect(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    return run_app(upload(app, *files).button(key="train_inspect").click())


def train(app: AppTest) -> AppTest:
    run_app(app.button(key="train_start").click())
    return wait_until_over(app)


def wait_until_over(app: AppTest) -> AppTest:
    wait_for(lambda: newest(app).stage.is_over)
    return run_app(app)


def newest(app: AppTest) -> TrainingRun:
    run = caches.get_training_queue().get(app.session_state["runs"][0])
    assert run is not None
    return run


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)  # a worker cannot notify a test


def test_new_page_offers_upload_and_example(page: AppTest) -> None:
    assert page.title[0].value == "Train your own model"
    assert page.button(key="train_inspect").disabled
    assert "Or try an example: 160 photos" in page_text(page)
    assert "never written to disk" in page_text(page)


def test_model_trained_on_archive_classifies_photo(
    page: AppTest, archive: bytes, photos: dict[str, bytes]
) -> None:
    app = inspect(page, ("animals and more.zip", archive))
    assert "48 photos in 3 classes" in page_text(app)
    assert "**Fewer than 20 photos\\: cat (16), parrot (16), rocket (16).**" in page_text(app)
    assert app.text_input(key="train_name").value == "animals and more"
    app = train(app)
    assert "“animals and more” is ready" in page_text(app)
    assert app.metric[0].label == "Validation accuracy"
    assert app.metric[1].value == "33.3%"

    run = newest(app)
    assert run.result is not None
    cells = app.selectbox(key="train_cell")
    correct = next(text for text in cells.options if "predicted correctly" in text)
    is_selected = correct == cells.options[0]
    app = run_app(cells.select(cells.value if is_selected else diagonal_cell(correct, run)))
    assert correct.rpartition(" (")[0] in page_text(app)

    name = run.result.bundle.spec.name
    app.query_params["model"] = name
    app = run_app(app.switch_page("classify.py"))
    assert app.selectbox(key="model").value == name
    app = run_app(app.button(key="example-rocket.jpg").click())
    assert "animals and more has only 3 classes: cat, parrot, rocket" in visible_text(app)
    table = app.table[0].value
    assert list(table.columns) == ["Class", "Probability"]
    assert table["Class"][0] == "rocket"


def diagonal_cell(text: str, run: TrainingRun) -> tuple[int, int]:
    index = run.dataset.classes.index(text.partition(" predicted")[0])
    return index, index


@pytest.mark.slow
def test_custom_model_is_used_for_comparison_and_batch(
    page: AppTest, archive: bytes, photos: dict[str, bytes]
) -> None:
    app = train(inspect(page, ("mine.zip", archive)))
    name = newest(app).result.bundle.spec.name
    app.query_params["models"] = f"{name},mini_vgg"
    app = run_app(app.switch_page("compare.py"))
    run_app(app.button(key="example-cat.jpg").click())
    app = run_app(app.button(key="compare").click())
    assert "mine" in page_text(app)
    app.query_params["models"] = name  # as in the link of the page
    app = run_app(app.switch_page("batch.py"))
    assert find_button_group(app, "batch_models").value == [name]
    uploads = [("cat.jpg", photos["cat"], "image/jpeg"), ("x/rocket.1.jpg", photos["rocket"], "")]
    run_app(app.file_uploader[0].set_value(uploads))
    app = run_app(app.button(key="batch_start").click())
    assert "2 photos" in page_text(app)
    assert "Measured on 2 photos with a label in the file or folder name" in page_text(app)
    assert app.metric[0].value == "100.0%"


def test_photos_are_labeled_by_table(page: AppTest, crops: Path) -> None:
    files = sorted((crops / "cat").iterdir()) + sorted((crops / "rocket").iterdir())
    photos = {f"{number}.jpg": path for number, path in enumerate(files)}
    rows = [f"{number},{'a cat' if number < 16 else 'no cat'}" for number in range(32)]
    table = "\n".join(["photo,class", *rows, "99,a cat"]).encode()
    app = upload(page, ("all.zip", to_zip(photos)), ("labels.csv", table))
    assert [box.value for box in app.selectbox][:2] == ["photo", "class"]
    app = run_app(app.button(key="train_inspect").click())
    assert "32 photos in 2 classes" in page_text(app)
    assert "Unusable files (1)" in [expander.label for expander in app.expander]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("one.zip", {"cat/1.jpg": "cat", "cat/2.jpg": "rocket"}, "only 'cat'"),
        ("flat.zip", {"1.jpg": "cat", "2.jpg": "dog"}, "only 'flat'"),
        (
            "alone.zip",
            {"a/1.jpg": "cat", "b/2.jpg": "dog"},
            "Excluded classes with too few photos: a (1), b (1).",
        ),
        ("bad.zip", b"no archive", "bad.zip"),
        ("empty.zip", {}, "no photos"),
    ],
)
def test_unusable_upload_shows_error(
    page: AppTest,
    photos: dict[str, bytes],
    name: str,
    content: dict[str, str] | bytes,
    message: str,
) -> None:
    if isinstance(content, dict):
        content = to_zip({path: photos[photo] for path, photo in content.items()})
    app = inspect(page, (name, content))
    assert app.error
    assert message in visible_text(app)
    assert not [button for button in app.button if button.key == "train_start"]


def test_inspection_reports_issues_and_excludes_photos(
    page: AppTest, photos: dict[str, bytes], archive: bytes, encode: Callable[..., bytes]
) -> None:
    with zipfile.ZipFile(io.BytesIO(archive)) as original:
        files: dict[str, Path | bytes] = {name: original.read(name) for name in original.namelist()}
    files["cat/again.jpg"] = files["cat/00.jpg"]  # a duplicate
    files["rocket/cat.jpg"] = photos["cat"]
    files["cat/cat.jpg"] = photos["cat"]  # the same photo with two labels
    files["parrot/text.jpg"] = b"not an image"
    files["parrot/long.png"] = encode(Image.effect_noise((40, 900), 90).convert("RGB"), "PNG")
    files["rare/1.jpg"], files["rare/2.jpg"] = photos["dog"], photos["moose"]
    app = inspect(page, ("many.zip", to_zip(files)))
    text = visible_text(app)
    for issue in (
        "Near-duplicates with conflicting labels: cat, rocket",
        "2 photos are near-duplicates",
        "the largest has 9.0 times as many photos as the smallest",
        "1 photo is much smaller than the model input",
        "1 photo is very long and narrow",
    ):
        assert issue in text
    assert "Unusable files (1)" in [expander.label for expander in app.expander]
    app = run_app(min_photos(app).set_value(5))
    assert "Excluded classes with too few photos: rare (2)." in visible_text(app)
    assert "in 3 classes" in page_text(app)
    assert min_photos(app).value == 5

    app = run_app(find_button(app, "Exclude all 2").click())
    assert "conflicting labels" not in visible_text(app)
    assert "You excluded 2 photos" in page_text(app)
    app = run_app(app.button(key="train_restore").click())
    assert "conflicting labels: cat, rocket" in visible_text(app)
    assert min_photos(app).value == 5
    app = run_app(find_button(app, "Exclude").click())  # one of them
    assert "conflicting labels" not in visible_text(app)
    assert "You excluded 1 photo" in page_text(app)


def test_photos_are_collected_class_by_class(page: AppTest, crops: Path) -> None:
    app = run_app(find_button_group(page, "train_source").set_value("Class by class"))
    run_app(app.text_input[0].set_value("mug"))
    assert [folder.name for folder in app.session_state["train_classes"]] == ["mug", "Class 2"]
    for index, label in enumerate(("cat", "parrot")):
        uploads = [
            (path.name, path.read_bytes(), "image/jpeg") for path in (crops / label).iterdir()
        ]
        run_app(app.file_uploader[index].set_value(uploads))
    assert "16 photos" in page_text(app)
    app = run_app(app.text_input[1].set_value("Mug"))
    assert "Two classes have the same name" in app.error[0].value
    app = run_app(app.text_input[1].set_value("no mug"))
    app = run_app(app.text_input[1].set_value(""))
    assert app.text_input[1].value == "no mug"
    app = run_app(app.button(key="train_inspect").click())
    assert "32 photos in 2 classes" in page_text(app)
    app.session_state["train_inspection"].exclude([3])
    app = run_app(app)
    assert "31 photos in 2 classes" in page_text(app)
    app = run_app(find_button(app, "Change photos").click())
    assert [(folder.name, len(folder.photos)) for folder in app.session_state["train_classes"]] == [
        ("mug", 15), ("no mug", 16),
    ]  # fmt: skip
    app = run_app(find_button(app, "Add class").click())
    assert app.text_input[2].value == "Class 3"
    app = run_app(find_button(app, "Remove mug and its 15 photos").click())
    assert [folder.name for folder in app.session_state["train_classes"]] == ["no mug", "Class 3"]
    app = run_app(find_button(app, "Remove the last 16 photos").click())
    assert "no mug" in app.text_input[0].value
    assert not any(folder.photos for folder in app.session_state["train_classes"])


def test_model_is_created_from_checkpoint_after_worker_is_killed(
    page: AppTest, archive: bytes
) -> None:
    app = inspect(page, ("mine.zip", archive))
    run_app(app.number_input(key="train_epochs").set_value(100))
    run_app(app.button(key="train_start").click())
    run = newest(app)
    wait_for(lambda: run.epochs or run.stage.is_over)
    for child in psutil.Process().children():
        if "vgg_demo.training.jobs.worker" in child.cmdline():
            child.kill()
    wait_for(lambda: run.stage.is_over)
    app = run_app(app)
    assert run.stage is Stage.FAILED
    assert "was terminated (signal" in app.error[0].value
    app = run_app(app.button(key="train_resume").click())
    app = wait_until_over(app)
    assert "“mine” is ready" in page_text(app)


@pytest.mark.slow
def test_custom_model_is_private_to_its_session(page: AppTest, archive: bytes) -> None:
    train(inspect(page, ("mine.zip", archive)))
    other = open_page()
    assert "mine" not in page_text(other)
    other = run_app(other.switch_page("classify.py"))
    assert not [text for text in other.selectbox(key="model").options if "custom" in text]


def test_published_model_is_available_to_all_visitors(
    archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGG_DEMO_TRAIN", "on")
    app = train(inspect(open_page(), ("mine.zip", archive)))
    app = run_app(next(button for button in app.button if button.label == "Publish model").click())
    assert not app.error
    assert "Published as" in page_text(app)
    (published,) = published_models(caches.get_settings().bundles_dir).values()
    assert published.keras_name == "mine"
    other = run_app(open_page().switch_page("classify.py"))
    choice = other.selectbox(key="model")
    assert "mine · custom, 3 classes" in choice.options
    run_app(choice.set_value(published.name))
    shutil.rmtree(published.custom.bundle)
    other = run_app(other)
    assert "was removed from this server" in other.warning[0].value
    assert other.selectbox(key="model").value == "vgg16"
    assert not run_app(other).warning


def test_unknown_threshold_can_be_changed(page: AppTest, archive: bytes) -> None:
    app = train(inspect(page, ("mine.zip", archive)))
    run = newest(app)
    before = run.result.bundle.spec.name
    slider = next(slider for slider in app.slider if slider.label == "Threshold (%)")
    app = run_app(slider.set_value(77))
    app = run_app(app.button(key="train_threshold").click())
    assert run.result.bundle.spec.custom.unknown_threshold == 0.77
    assert run.result.bundle.spec.name != before
    assert not [button for button in app.button if button.key == "train_threshold"]


def test_uploaded_bundle_is_available_on_all_pages(page: AppTest, archive: bytes) -> None:
    app = train(inspect(page, ("mine.zip", archive)))
    folder = newest(app).job.bundle
    files: dict[str, Path | bytes] = {f"mine/{path.name}": path for path in folder.iterdir()}
    other = open_page()
    uploader = next(field for field in other.file_uploader if field.label == "Bundle")
    run_app(uploader.set_value(("theirs.zip", to_zip(files), "application/zip")))
    other = run_app(other.button(key="train_open").click())
    assert "**theirs** (3 classes) is now available to you on every page" in page_text(other)
    files[f"mine/{MODEL_FILE}"] = b"changed"
    uploader = next(field for field in other.file_uploader if field.label == "Bundle")
    run_app(uploader.set_value(("bad.zip", to_zip(files), "application/zip")))
    other = run_app(other.button(key="train_open").click())
    assert "bad" in other.error[0].value
    other = run_app(other.switch_page("classify.py"))
    assert "theirs · custom, 3 classes" in other.selectbox(key="model").options


def test_training_access_setting_limits_publishing_and_training(
    monkeypatch: pytest.MonkeyPatch, archive: bytes
) -> None:
    monkeypatch.setenv("VGG_DEMO_TRAIN", "private")
    app = train(inspect(open_page(), ("mine.zip", archive)))
    assert "“mine” is ready" in page_text(app)
    assert not [button for button in app.button if button.label == "Publish model"]
    caches.get_settings.clear()
    monkeypatch.setenv("VGG_DEMO_TRAIN", "off")
    app = open_page()
    assert "Training is disabled on this server" in page_text(app)
    assert not app.file_uploader


@pytest.mark.parametrize(
    ("address", "headers", "expected"),
    [
        (None, {}, True),
        ("127.0.0.1", {}, True),
        ("192.168.0.7", {}, False),
        (None, {"X-Forwarded-For": "203.0.113.9"}, False),
    ],
)
def test_only_local_visitors_may_publish_by_default(
    monkeypatch: pytest.MonkeyPatch, address: str | None, headers: dict[str, str], expected: bool
) -> None:
    """With the setting "on", all visitors may publish."""
    context = SimpleNamespace(ip_address=address, headers=headers)
    monkeypatch.setattr(available_models.st, "context", context)
    assert available_models.may_publish() is expected
    caches.get_settings.clear()
    monkeypatch.setenv("VGG_DEMO_TRAIN", "on")
    assert available_models.may_publish()


@pytest.mark.slow
def test_runs_with_the_same_name_are_numbered(page: AppTest, archive: bytes) -> None:
    app = inspect(page, ("mine.zip", archive))
    app = run_app(app.number_input(key="train_epochs").set_value(2))
    app = train(app)
    app = run_app(
        next(button for button in app.button if button.label.startswith("Train again")).click()
    )
    assert app.number_input(key="train_epochs").value == 2  # unchanged
    run_app(app.number_input(key="train_epochs").set_value(3))
    assert app.text_input(key="train_name").value == "mine 2"
    app = train(run_app(app.text_input(key="train_name").set_value("mine")))
    pills = find_button_group(app, "train_run")
    assert [text.partition(" ·")[0] for text in pills.options] == ["mine (2)", "mine", "New"]
    older = caches.get_training_queue().get(app.session_state["runs"][1])
    app = run_app(pills.set_value(older.id))
    assert len(older.epochs) == 2
    app = run_app(run_app(app.switch_page("about.py")).switch_page("train.py"))
    assert find_button_group(app, "train_run").value == older.id
    app = run_app(app.switch_page("classify.py"))
    custom = [text for text in app.selectbox(key="model").options if "custom" in text]
    assert len(set(custom)) == 2


@pytest.mark.slow
def test_untrusted_names_are_never_rendered_as_markdown(
    page: AppTest, archive: bytes, photos: dict[str, bytes]
) -> None:
    """Markdown in the names of a custom model and its classes is escaped on every page."""
    evil = "![x](https://evil.example/x.png) [y](https://evil.example)"
    with zipfile.ZipFile(io.BytesIO(archive)) as original:
        files: dict[str, Path | bytes] = {
            f"{evil.replace('/', '|') if 'cat' in name else 'www.evil.example'}/{number}.jpg":
            original.read(name)
            for number, name in enumerate(original.namelist())
        }  # fmt: skip
    app = train(inspect(page, (f"{evil.replace('/', '|')}.zip", to_zip(files))))
    name = newest(app).result.bundle.spec.name
    links = re.compile(r"(?<!\\)\]\(\S*evil|(?<![\w\u2060])www\.|https?:(?!\u2060)//evil")
    assert not links.search(page_text(app))
    app.query_params["model"] = name
    app = run_app(app.switch_page("classify.py"))
    app = run_app(app.button(key="example-cat.jpg").click())
    assert not links.search(page_text(app))
    assert not links.search("\n".join(map(str, app.table[0].value["Class"])))
    app.query_params["models"] = f"{name},mini_vgg"
    app = run_app(app.switch_page("compare.py"))
    app = run_app(app.button(key="compare").click())
    assert not links.search(page_text(app))
    app = run_app(app.switch_page("batch.py"))
    run_app(find_button_group(app, "batch_models").set_value([name]))
    uploads = [("cat.jpg", photos["cat"], "image/jpeg")]
    run_app(app.file_uploader[0].set_value(uploads))
    app = run_app(app.button(key="batch_start").click())
    assert not links.search(page_text(app))


def test_run_and_its_photos_are_deleted(page: AppTest, archive: bytes) -> None:
    app = train(inspect(page, ("mine.zip", archive)))
    folder = newest(app).job.folder
    app = run_app(app.button(key="train_delete").click())
    assert not folder.exists()
    assert "Or try an example" in page_text(app)
    assert "train_inspection" not in app.session_state


def test_missing_backbone_weights_suggest_mini_vgg(
    page: AppTest, archive: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgg_demo.ui.train.settings.is_backbone_available", lambda *_: True)
    app = inspect(page, ("mine.zip", archive))
    app = run_app(app.selectbox(key="train_backbone").select("mobilenet_v2"))
    app = train(app)
    assert "MobileNetV2" in app.error[0].value
    assert "Mini-VGG is included and needs no download" in page_text(app)
