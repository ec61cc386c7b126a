"""The page for many photos, driven without a browser."""

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
from vgg_demo.inference.store import ModelStore
from vgg_demo.limits import DEFAULT_LIMITS
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import get_spec
from vgg_demo.ui.batch import results
from vgg_demo.ui.batch.evaluation import evaluate
from vgg_demo.ui.batch.run import BatchRun, begin
from vgg_demo.ui.session import visitor
from vgg_demo.ui.session.visitor import release_uploads

MAIN = Path(__file__).parents[2] / "vgg_demo" / "ui" / "pages" / "navigation.py"
MINI_VGG, MOBILENET = get_spec("mini_vgg"), get_spec("mobilenet_v2")


def settled(changed: AppTest | Element) -> AppTest:
    app = changed.run()
    assert not app.exception
    return app


@pytest.fixture
def page() -> AppTest:
    app = AppTest.from_file(str(MAIN), default_timeout=120)
    app.run()
    return settled(app.switch_page("batch.py"))


def words(app: AppTest) -> str:
    kinds = ("title", "header", "subheader", "markdown", "caption", "error", "warning")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def look(app: AppTest, files: dict[str, bytes]) -> AppTest:
    uploads = [(name, data, "image/jpeg") for name, data in files.items()]
    settled(app.file_uploader[0].set_value(uploads))
    return settled(app.button(key="batch_start").click())


@pytest.fixture
def files(photos: dict[str, bytes]) -> dict[str, bytes]:
    """Photos whose names tell the truth, one that is none, and two in an archive."""
    archive = make_zip({"bird/parrot.jpg": photos["parrot"], "dog/moose.jpg": photos["moose"]})
    return {
        "n02121620_1.jpg": photos["cat"],
        "bad.jpg": b"no picture",
        "more.zip": archive,
        "dog.jpg": photos["dog"],
    }


def test_an_empty_page_invites(page: AppTest) -> None:
    assert page.title[0].value == "What is on all these photos?"
    assert page.button(key="batch_start").disabled
    assert "The results will stand here." in words(page)


def test_a_batch(page: AppTest, files: dict[str, bytes]) -> None:
    app = look(page, files)
    assert "5 photos, 1 of them could not be used" in words(app)
    assert "**cat** over 99%" in words(app)
    assert "The names of 4 photos or of their folders tell" in words(app)
    values = {metric.label: metric.value for metric in app.metric}
    assert values["First answer right"] == "75.0%"  # the moose is in a folder of dogs
    assert app.file_uploader[0].value == []  # and the uploads are let go of
    (kinds,) = (box for box in app.selectbox if box.key == "batch_kind")
    assert kinds.options[0] == "All photos (4)"
    settled(kinds.set_value("n02121620"))
    shown = [text.value for text in app.markdown if text.value.startswith("**cat** ")]
    assert len(shown) == 1
    assert "**bird** 96%" not in words(app)


def test_kinds_of_things_can_be_chosen(page: AppTest, files: dict[str, bytes]) -> None:
    app = look(page, files)
    (kinds,) = (box for box in app.selectbox if box.key == "batch_kind")
    assert any(option.startswith("carnivore (2)") for option in kinds.options)  # cat and dog


@pytest.mark.usefixtures("files")
def test_as_a_table(page: AppTest, files: dict[str, bytes]) -> None:
    app = look(page, files)
    (view,) = (group for group in app.button_group if group.key == "batch_view")
    settled(view.set_value("Table"))
    table = app.dataframe[1].value
    assert table["label_mini_vgg"].tolist() == ["cat", "bird", "deer", "dog"]
    assert table["file"].tolist()[1] == "more.zip/bird/parrot.jpg"
    assert all(len(photo) < 5_000 for photo in table["photo"])


def test_nothing_that_could_be_used(page: AppTest) -> None:
    app = look(page, {"a.jpg": b"no picture", "b.zip": b"no archive"})
    assert "2 photos, 2 of them could not be used" in words(app)
    messages = app.dataframe[0].value["Why"].tolist()
    assert messages[0].startswith("This is not a picture")
    assert messages[1].startswith("'b.zip' is damaged")


@pytest.fixture
def run(files: dict[str, bytes], store: ModelStore) -> BatchRun:
    return started(files, store)


def started(files: dict[str, bytes], store: ModelStore, *specs: object) -> BatchRun:
    uploads = [(name, io.BytesIO(data)) for name, data in files.items()]
    return begin(uploads, specs or (MINI_VGG,), Resize.CROP, store, DEFAULT_LIMITS)


def test_a_run_goes_on_where_it_was_left(run: BatchRun) -> None:
    next(run.work())
    assert (run.count, run.total, run.is_done) == (1, 5, False)
    for _ in run.work():  # the page was drawn anew
        pass
    assert (len(run.found), len(run.failures), run.is_done) == (4, 1, True)
    assert list(run.work()) == []


def test_a_cancelled_run_keeps_what_is_done(run: BatchRun) -> None:
    work = run.work()
    next(work)
    next(work)
    run.end()
    assert (run.count, run.is_done) == (2, True)
    assert list(work) == []


def test_it_can_be_ended_while_it_is_at_work(run: BatchRun) -> None:
    """As by a click on Cancel: the page is drawn anew while its last drawing is at work."""
    with ThreadPoolExecutor(2) as threads:
        working = [threads.submit(lambda: list(run.work())) for _ in range(2)]
        run.end()
        for each in working:
            each.result(60)
    assert run.is_done
    assert run.count <= 5


def test_how_many_there_are(files: dict[str, bytes], store: ModelStore) -> None:
    tar = make_tar({"1.jpg": b"x"})
    assert started(files | {"a.tar": tar}, store).total is None  # it would have to be unpacked


def test_more_photos_than_are_taken(
    run: BatchRun, store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgg_demo.ui.batch.run.MAX_PHOTOS", 3)
    for _ in run.work():
        pass
    assert (run.count, run.was_cut, run.is_done) == (3, True, True)


def test_files_to_take_away(run: BatchRun) -> None:
    for _ in run.work():
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


def test_uploads_are_let_go_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """Streamlit would keep them as long as the session lives."""
    manager = MemoryUploadedFileManager("/upload")
    record = UploadedFileRec("id", "a.jpg", "image/jpeg", b"x")
    manager.add_file("session", record)
    context = SimpleNamespace(uploaded_file_mgr=manager, session_id="session")
    monkeypatch.setattr(visitor, "get_script_run_ctx", lambda: context)
    file = UploadedFile(record, FileURLs())
    release_uploads([file])
    assert manager.get_files("session", ["id"]) == []
    assert file.read() == b"x"  # for who has it in hand


def test_names_that_are_formulas(photos: dict[str, bytes], store: ModelStore) -> None:
    run = started({"=1+1.jpg": photos["cat"], "plain.jpg": photos["dog"]}, store)
    for _ in run.work():
        pass
    rows = list(csv.DictReader(io.StringIO(results.to_csv(run, top=1))))
    assert [row["file"] for row in rows] == ["'=1+1.jpg", "plain.jpg"]


def test_mistakes_of_photos_of_one_name(photos: dict[str, bytes], store: ModelStore) -> None:
    folders = ("cat", "dog", "bird")
    archive = make_zip({f"{kind}/1.jpg": photos["rocket"] for kind in folders})
    files = {"a.zip": archive}
    run = started(files, store)
    for _ in run.work():
        pass
    evaluation, counted = evaluate(run, MINI_VGG)
    assert [counted[mistake.place].truths[0] for mistake in evaluation.mistakes] == [
        mistake.truth.wnid for mistake in evaluation.mistakes
    ]
    assert len(counted) == 3


def test_disagreement(photos: dict[str, bytes], shared_store: ModelStore) -> None:
    run = started({"rocket.jpg": photos["rocket"]}, shared_store, MOBILENET, MINI_VGG)
    for _ in run.work():
        pass
    assert 0 < run.found[0].disagreement <= 1
