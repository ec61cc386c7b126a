"""The Batch page, without a browser."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image
from streamlit.proto.Common_pb2 import FileURLs
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFile, UploadedFileRec
from streamlit.testing.v1 import AppTest
from streamlit.testing.v1.element_tree import Element

from tests.files.test_archives import make_tar, make_zip
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.limits import DEFAULT_LIMITS
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import get_spec
from vgg_demo.ui.batch import results
from vgg_demo.ui.batch.evaluation import evaluate
from vgg_demo.ui.batch.run import BatchRun, start_batch
from vgg_demo.ui.session import visitor
from vgg_demo.ui.session.visitor import release_uploads

MAIN = Path(__file__).parents[2] / "vgg_demo" / "ui" / "pages" / "navigation.py"
MINI_VGG, MOBILENET = get_spec("mini_vgg"), get_spec("mobilenet_v2")


def rerun(changed: AppTest | Element) -> AppTest:
    """Reruns the page after a change and checks that it raises no exception."""
    app = changed.run()
    assert not app.exception
    return app


@pytest.fixture
def page() -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=120)
    app.run()
    return rerun(app.switch_page("batch.py"))


def visible_text(app: AppTest) -> str:
    types = ("title", "header", "subheader", "markdown", "caption", "error", "warning")
    return "\n".join(str(element.value) for name in types for element in app.get(name))


def classify(app: AppTest, files: dict[str, bytes]) -> AppTest:
    """Uploads files and starts a batch."""
    uploads = [(name, data, "image/jpeg") for name, data in files.items()]
    rerun(app.file_uploader[0].set_value(uploads))
    return rerun(app.button(key="batch_start").click())


@pytest.fixture
def files(photos: dict[str, bytes]) -> dict[str, bytes]:
    """Photos with labels in their names, one invalid file, and two photos in an archive."""
    archive = make_zip({"bird/parrot.jpg": photos["parrot"], "dog/moose.jpg": photos["moose"]})
    return {
        "n02121620_1.jpg": photos["cat"],
        "bad.jpg": b"not an image",
        "more.zip": archive,
        "dog.jpg": photos["dog"],
    }


def test_empty_page_explains_how_to_start(page: AppTest) -> None:
    assert page.title[0].value == "Classify many photos"
    assert page.button(key="batch_start").disabled
    assert "Results appear here. Upload photos to start." in visible_text(page)


def test_batch_shows_photos_accuracy_and_class_filter(
    page: AppTest, files: dict[str, bytes]
) -> None:
    app = classify(page, files)
    assert "5 photos, 1 unusable" in visible_text(app)
    assert "**cat** over 99%" in visible_text(app)
    assert "Measured on 4 photos with a label in the file or folder name." in visible_text(app)
    values = {metric.label: metric.value for metric in app.metric}
    assert values["Top-1 accuracy"] == "75.0%"  # the moose is in a folder named dog
    assert app.file_uploader[0].value == []
    (class_filter,) = (box for box in app.selectbox if box.key == "batch_class")
    assert class_filter.options[0] == "All photos (4)"
    rerun(class_filter.set_value("n02121620"))
    shown = [text.value for text in app.markdown if text.value.startswith("**cat** ")]
    assert len(shown) == 1
    assert "**bird** 96%" not in visible_text(app)


def test_class_filter_offers_wordnet_groups(page: AppTest, files: dict[str, bytes]) -> None:
    app = classify(page, files)
    (class_filter,) = (box for box in app.selectbox if box.key == "batch_class")
    assert any(option.startswith("carnivore (2)") for option in class_filter.options)  # cat and dog


@pytest.mark.usefixtures("files")
def test_table_view_lists_all_photos(page: AppTest, files: dict[str, bytes]) -> None:
    app = classify(page, files)
    (view,) = (group for group in app.button_group if group.key == "batch_view")
    rerun(view.set_value("Table"))
    table = app.dataframe[1].value
    assert table["label_mini_vgg"].tolist() == ["cat", "bird", "deer", "dog"]
    assert table["file"].tolist()[1] == "more.zip/bird/parrot.jpg"
    assert all(len(photo) < 5_000 for photo in table["photo"])


def test_unusable_files_are_listed_with_the_reason(page: AppTest) -> None:
    app = classify(page, {"a.jpg": b"not an image", "b.zip": b"not an archive"})
    assert "2 photos, 2 unusable" in visible_text(app)
    messages = app.dataframe[0].value["Reason"].tolist()
    assert messages[0].startswith("This is not an image")
    assert messages[1].startswith("'b.zip' is damaged")


@pytest.fixture
def run(files: dict[str, bytes], store: ModelStore) -> BatchRun:
    return new_run(files, store)


def new_run(files: dict[str, bytes], store: ModelStore, *specs: object) -> BatchRun:
    uploads = [(name, io.BytesIO(data)) for name, data in files.items()]
    return start_batch(uploads, specs or (MINI_VGG,), Resize.CROP, store, DEFAULT_LIMITS)


def test_processing_resumes_after_the_last_photo(run: BatchRun) -> None:
    next(run.process())
    assert (run.count, run.total, run.is_done) == (1, 5, False)
    for _ in run.process():  # as after a rerun of the page
        pass
    assert (len(run.photos), len(run.failures), run.is_done) == (4, 1, True)
    assert list(run.process()) == []


def test_stopped_batch_keeps_its_results(run: BatchRun) -> None:
    processing = run.process()
    next(processing)
    next(processing)
    run.stop()
    assert (run.count, run.is_done) == (2, True)
    assert list(processing) == []


def test_batch_can_be_stopped_while_threads_process_it(run: BatchRun) -> None:
    """A click on Cancel reruns the page while the previous run is still processing photos."""
    with ThreadPoolExecutor(2) as threads:
        futures = [threads.submit(lambda: list(run.process())) for _ in range(2)]
        run.stop()
        for future in futures:
            future.result(60)
    assert run.is_done
    assert run.count <= 5


def test_total_is_unknown_if_an_archive_must_be_unpacked_to_count(
    files: dict[str, bytes], store: ModelStore
) -> None:
    tar = make_tar({"1.jpg": b"x"})
    assert new_run(files | {"a.tar": tar}, store).total is None


def test_photos_beyond_the_limit_are_skipped(
    run: BatchRun, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgg_demo.ui.batch.run.MAX_PHOTOS", 3)
    for _ in run.process():
        pass
    assert (run.count, run.was_truncated, run.is_done) == (3, True, True)


def test_downloads_contain_all_results(run: BatchRun) -> None:
    for _ in run.process():
        pass
    rows = list(csv.DictReader(io.StringIO(results.to_csv(run, top=2))))
    assert [row["label_1"] for row in rows] == ["cat", "", "bird", "deer", "dog"]
    assert (rows[1]["model"], rows[1]["error"]) == ("mini_vgg", "NotAnImageError")
    document = json.loads(results.to_json(run, top=1))
    assert [len(document[key]) for key in ("results", "errors")] == [4, 1]
    with zipfile.ZipFile(io.BytesIO(results.to_zip(run))) as archive:
        assert archive.namelist() == [
            "001-n02121620_1.jpg", "002-parrot.jpg", "003-moose.jpg", "004-dog.jpg",
        ]  # fmt: skip
        with archive.open("004-dog.jpg") as file:
            assert max(Image.open(file).size) == 480


def test_released_uploads_are_removed_from_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit would keep them until the session ends."""
    manager = MemoryUploadedFileManager("/upload")
    record = UploadedFileRec("id", "a.jpg", "image/jpeg", b"x")
    manager.add_file("session", record)
    context = SimpleNamespace(uploaded_file_mgr=manager, session_id="session")
    monkeypatch.setattr(visitor, "get_script_run_ctx", lambda: context)
    file = UploadedFile(record, FileURLs())
    release_uploads([file])
    assert manager.get_files("session", ["id"]) == []
    assert file.read() == b"x"  # the file object stays usable


def test_csv_escapes_file_names_that_look_like_formulas(
    photos: dict[str, bytes], store: ModelStore
) -> None:
    run = new_run({"=1+1.jpg": photos["cat"], "plain.jpg": photos["dog"]}, store)
    for _ in run.process():
        pass
    rows = list(csv.DictReader(io.StringIO(results.to_csv(run, top=1))))
    assert [row["file"] for row in rows] == ["'=1+1.jpg", "plain.jpg"]


def test_mistakes_refer_to_the_right_photo_if_file_names_repeat(
    photos: dict[str, bytes], store: ModelStore
) -> None:
    folders = ("cat", "dog", "bird")
    archive = make_zip({f"{folder}/1.jpg": photos["rocket"] for folder in folders})
    files = {"a.zip": archive}
    run = new_run(files, store)
    for _ in run.process():
        pass
    evaluation, evaluated = evaluate(run, MINI_VGG)
    assert [evaluated[mistake.index].true_wnids[0] for mistake in evaluation.mistakes] == [
        mistake.truth.wnid for mistake in evaluation.mistakes
    ]
    assert len(evaluated) == 3


def test_disagreement_of_two_models_is_between_zero_and_one(
    photos: dict[str, bytes], shared_store: ModelStore
) -> None:
    run = new_run({"rocket.jpg": photos["rocket"]}, shared_store, MOBILENET, MINI_VGG)
    for _ in run.process():
        pass
    assert 0 < run.photos[0].disagreement <= 1
