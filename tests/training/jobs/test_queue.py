"""Trainings of a server: real worker processes, some of which are killed."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.conftest import ROOT
from vgg_demo.errors import BundleError, BusyError, MemoryBudgetError
from vgg_demo.files.sources import Source, find_photos
from vgg_demo.inference.classify import classify, softmax
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.bundle import open_bundle, with_threshold
from vgg_demo.models.bundle_archive import pack, publish
from vgg_demo.models.custom import FeatureLayer
from vgg_demo.settings import Settings
from vgg_demo.training.data import InspectedDataset, summarize_inspection
from vgg_demo.training.dataset import label_by_folders
from vgg_demo.training.inspection import InspectedPhoto, inspect_photos
from vgg_demo.training.jobs import queue as module
from vgg_demo.training.jobs.job import Job, receive, send, without_photo
from vgg_demo.training.jobs.queue import TrainingQueue
from vgg_demo.training.jobs.run import Stage, TrainingRun
from vgg_demo.training.recipe import Recipe

SHORT = Recipe(epochs=3, rate=1e-3, views=1)
ENDLESS = Recipe(epochs=100_000, rate=1e-3, views=1, patience=100_000)
SECONDS = 120  # until something must have happened


@pytest.fixture(scope="module")
def inspected(pieces: Path) -> InspectedDataset:
    photos = label_by_folders(find_photos([str(pieces)])).photos
    inspected_photos = [
        one
        for one in inspect_photos(photos, with_thumbnails=True)
        if isinstance(one, InspectedPhoto)
    ]
    return summarize_inspection(inspected_photos, (), 224)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "home" / "models", offline=True)


@pytest.fixture
def room(settings: Settings) -> Iterator[TrainingQueue]:
    found = TrainingQueue(settings, ModelStore(settings))
    yield found
    found.close()
    assert not found._thread.is_alive()


def start(
    room: TrainingQueue, inspected: InspectedDataset, recipe: Recipe = SHORT, name: str = "mine"
) -> TrainingRun:
    return room.start(name, "mini_vgg", FeatureLayer.GLOBAL_POOLING, recipe, inspected)


def wait(until: Callable[[], object]) -> None:
    """A worker has no way to call a test back."""
    end = time.monotonic() + SECONDS
    while not until():
        assert time.monotonic() < end
        time.sleep(0.02)


def worker() -> psutil.Process:
    (found,) = (
        child
        for child in psutil.Process().children()
        if "vgg_demo.training.jobs.worker" in child.cmdline()
    )
    return found


def test_a_run_makes_a_model(
    room: TrainingQueue, inspected: InspectedDataset, settings: Settings, photos: dict[str, bytes]
) -> None:
    run = start(room, inspected)
    assert room.get(run.id) is run
    wait(lambda: run.stage.is_over)
    assert (run.stage, run.error) == (Stage.DONE, "")
    assert [epoch.number for epoch in run.epochs] == [1, 2, 3]
    result = run.result
    assert result is not None
    assert result.validation_report.evaluation.top1.count == len(result.places) == 9
    assert result.probabilities.shape == (9, 3)
    assert [point.photos for point in result.validation_report.learning_curve][-1] == 39
    labels = [inspected.photos[place].photo.label for place in result.places]
    assert [inspected.classes[truth] for truth in result.truth] == labels
    best = np.mean(result.probabilities.argmax(axis=1) == result.truth)
    assert best == result.validation_report.evaluation.top1.value

    # It answers like any other model, and as it did for its worker.
    place = int(result.places[0])
    data = inspected.photos[place].photo.source.read()
    answer = classify(data, result.bundle.spec, ModelStore(settings))
    assert np.allclose(answer.probabilities, result.probabilities[0], atol=1e-4)


def test_no_photo_is_written_to_disk(room: TrainingQueue, inspected: InspectedDataset) -> None:
    run = start(room, inspected)
    wait(lambda: run.stage.is_over)
    found = sorted(path.name for path in run.job.folder.rglob("*") if path.is_file())
    assert found == [
        "best_head.npz", "labels.json", "log.txt", "model.keras", "result.npz", "spec.json"
    ]  # fmt: skip
    assert "00.jpg" not in (run.job.bundle / "spec.json").read_text()


@pytest.mark.slow
def test_the_same_seed_makes_the_same_model(
    room: TrainingQueue, inspected: InspectedDataset
) -> None:
    recipe = Recipe(epochs=3, views=2, dropout=0.5, mixup=0.4, label_smoothing=0.1, seed=5)
    runs = [start(room, inspected, recipe) for _ in range(2)]
    wait(lambda: all(run.stage.is_over for run in runs))
    first, second = (run.result for run in runs)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.probabilities, second.probabilities)
    assert runs[0].range_test is not None


def test_one_at_a_time(room: TrainingQueue, inspected: InspectedDataset) -> None:
    runs = [start(room, inspected, name=name) for name in ("first", "second", "third")]
    wait(lambda: runs[0].stage is not Stage.WAITING)
    assert [room.count_ahead(run) for run in runs] == [0, 1, 2]
    assert runs[1].stage is runs[2].stage is Stage.WAITING
    runs[1].stop()  # who does not want to wait
    wait(lambda: all(run.stage.is_over for run in runs))
    assert [run.stage for run in runs] == [Stage.DONE, Stage.STOPPED, Stage.DONE]
    assert runs[2].began >= runs[0].ended
    assert (room.count_ahead(runs[2]), runs[1].epochs) == (0, [])


def test_too_many_wait(
    room: TrainingQueue, inspected: InspectedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 1)
    running = start(room, inspected, ENDLESS)
    wait(lambda: running.epochs)
    start(room, inspected)
    with pytest.raises(BusyError, match="1 trainings wait already; the limit is 1"):
        start(room, inspected)


def test_stop_keeps_the_best_so_far(room: TrainingQueue, inspected: InspectedDataset) -> None:
    run = start(room, inspected, ENDLESS)
    wait(lambda: len(run.epochs) > 5)
    run.stop()
    wait(lambda: run.stage.is_over)
    assert run.stage is Stage.DONE
    assert run.result is not None
    assert (
        run.result.validation_report.learning_curve == ()
    )  # who stops does not want to wait for those
    # Without its temperature, its loss is that of the best epoch.
    logits = np.log(run.result.probabilities) * run.result.validation_report.temperature
    of_truth = softmax(logits)[np.arange(9), run.result.truth]
    best = min(epoch.validation_loss for epoch in run.epochs)
    assert -np.log(of_truth).mean() == pytest.approx(best, abs=1e-3)


def test_a_killed_worker_leaves_the_best_so_far(
    room: TrainingQueue, inspected: InspectedDataset
) -> None:
    run = start(room, inspected, ENDLESS)
    wait(lambda: len(run.epochs) > 5)
    worker().kill()
    wait(lambda: run.stage.is_over)
    assert run.stage is Stage.FAILED
    assert "ended from outside (signal 9), perhaps for want of memory" in run.error
    assert run.can_resume
    best = min(epoch.validation_loss for epoch in run.epochs)
    room.resume(run)
    wait(lambda: run.stage.is_over)
    assert (run.stage, run.error) == (Stage.DONE, "")
    assert run.result is not None
    accuracies = {
        epoch.validation_accuracy for epoch in run.epochs if epoch.validation_loss <= best + 0.01
    }
    assert run.result.validation_report.evaluation.top1.value in accuracies

    another = start(room, inspected)  # and the classroom goes on
    wait(lambda: another.stage.is_over)
    assert another.stage is Stage.DONE


@pytest.mark.slow
def test_a_worker_that_is_killed_while_it_fine_tunes(
    room: TrainingQueue, inspected: InspectedDataset
) -> None:
    recipe = Recipe(epochs=3, rate=1e-3, views=1, tuning_epochs=1000, tuning_rate=1e-4)
    run = start(room, inspected, recipe)
    wait(lambda: any(epoch.is_best and epoch.number for epoch in run.tuning))
    wait((run.job.folder / "best_tuned.npz").exists)
    worker().kill()
    wait(lambda: run.stage.is_over)
    room.resume(run)
    wait(lambda: run.stage.is_over)
    assert (run.stage, run.error) == (Stage.DONE, "")
    assert run.result is not None
    found = np.load(run.job.folder / "best_tuned.npz")["logits"]
    answers = softmax(found / run.result.validation_report.temperature)
    assert np.array_equal(answers, run.result.probabilities)


def test_a_worker_that_is_killed_before_there_is_anything(
    room: TrainingQueue, inspected: InspectedDataset
) -> None:
    run = start(room, inspected)
    wait(lambda: run.stage is Stage.STARTING and room._process is not None)
    worker().kill()
    wait(lambda: run.stage.is_over)
    assert run.stage is Stage.FAILED
    assert not run.can_resume


def test_a_photo_that_cannot_be_read_any_more(
    room: TrainingQueue, inspected: InspectedDataset
) -> None:
    def gone() -> bytes:
        raise BundleError("It has gone.")

    one = inspected.photos[0]
    broken = without_photo(one)
    source = Source(one.photo.source.name, gone)
    photo = type(one.photo)(source, one.photo.label)
    inspected_photos = (
        type(broken)(photo, *[getattr(one, name) for name in broken.__slots__[1:]]),
    )
    run = start(room, summarize_inspection((*inspected_photos, *inspected.photos[1:]), (), 224))
    wait(lambda: run.stage.is_over)
    assert (run.stage, run.error) == (Stage.FAILED, "It has gone.")


def test_what_is_forgotten_has_gone(room: TrainingQueue, inspected: InspectedDataset) -> None:
    run = start(room, inspected)
    wait(lambda: run.stage.is_over)
    folder = run.job.folder
    assert folder.is_dir()
    room.forget(run)
    assert room.get(run.id) is None
    wait(lambda: not folder.exists())
    going = start(room, inspected, ENDLESS)
    wait(lambda: going.epochs)
    room.forget(going)
    wait(lambda: not going.job.folder.exists())


@pytest.mark.slow
def test_old_runs_let_go_of_their_photos(
    room: TrainingQueue, inspected: InspectedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HELD_BYTES", inspected.size_bytes + 100)  # a byte more each
    same = [start(room, inspected), start(room, inspected)]
    wait(lambda: all(run.stage.is_over for run in same))
    room.evict_expired()
    again = start(room, summarize_inspection(inspected.photos, (), 224))
    wait(lambda: again.stage.is_over)
    room.evict_expired()
    assert [run.has_photos for run in (*same, again)] == [True] * 3  # they are there once
    photos = [
        replace(one.photo, source=Source("x.jpg", partial(bytes, one.photo.source.read() + b"0")))
        for one in inspected.photos
    ]
    others = [
        one
        for one in inspect_photos(photos, with_thumbnails=True)
        if isinstance(one, InspectedPhoto)
    ]
    other = start(room, summarize_inspection(others, (), 224))
    wait(lambda: other.stage.is_over)
    assert other.error == ""
    room.evict_expired()
    assert [run.has_photos for run in (*same, other)] == [False, False, True]
    one = same[0].dataset.photos[0]
    assert (one.photo.source.read(), bool(one.thumbnail)) == (b"", True)
    room.export(same[0], "tflite")
    wait(lambda: same[0].exports["tflite"].error)
    assert same[0].exports["tflite"].error == "This server has let go of the photos."


@pytest.mark.slow
def test_what_is_forgotten_first(
    room: TrainingQueue, inspected: InspectedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who cancels again and again does not push others' models out."""
    model = start(room, inspected)
    wait(lambda: model.stage.is_over)
    going = start(room, inspected, ENDLESS)
    wait(lambda: going.epochs)
    monkeypatch.setattr(module, "MAX_FINISHED", 2)
    cancelled = [start(room, inspected) for _ in range(3)]
    for run in cancelled:
        run.stop()
    room.evict_expired()
    assert room.get(model.id) is model
    assert sum(room.get(run.id) is not None for run in cancelled) == 1
    assert not cancelled[0].job.folder.exists()
    monkeypatch.setattr(module, "FINISHED_SECONDS", 0.0)
    room.evict_expired()
    assert (room.get(model.id), room.get(going.id)) == (None, going)


def test_a_full_disk_is_told(room: TrainingQueue, inspected: InspectedDataset) -> None:
    """What is no error of ours is said as what it is, and not as a killed process."""
    run = start(room, inspected, ENDLESS)
    wait(lambda: run.stage is Stage.STARTING)
    (run.job.folder / ".best_head.npz.part").mkdir()  # where the best so far is to be written
    wait(lambda: run.stage.is_over)
    assert run.stage is Stage.FAILED
    assert "It ended unexpectedly (IsADirectoryError" in run.error


@pytest.mark.slow
def test_exports(room: TrainingQueue, inspected: InspectedDataset) -> None:
    run = start(room, inspected)
    wait(lambda: run.stage.is_over)
    for kind in ("tflite", "saved-model"):
        room.export(run, kind)  # type: ignore[arg-type]
    wait(lambda: all(one.file or one.error for one in run.exports.values()))
    lite, saved = run.exports["tflite"], run.exports["saved-model"]
    assert (lite.error, saved.error) == ("", "")
    assert lite.file is not None
    assert saved.file is not None
    assert (lite.file.name, saved.file.name) == ("mine-tflite.tflite", "mine-saved-model.zip")
    assert lite.facts["size_bytes"] == lite.file.stat().st_size
    assert (lite.facts["photos"], lite.facts["agreement"]) == (9, 1.0)


def test_memory(inspected: InspectedDataset, tmp_path: Path) -> None:
    """What a worker would not fit into is refused before anybody waits for it."""
    small = Settings(cache_dir=tmp_path / "models", offline=True, memory_bytes=10**9)
    room = TrainingQueue(small, ModelStore(small))
    with pytest.raises(MemoryBudgetError, match="raise the limit"):
        room.start("mine", "vgg16", FeatureLayer.PENULTIMATE, SHORT, inspected)
    room.close()


def test_a_worker_ends_with_its_server(
    inspected: InspectedDataset, settings: Settings, tmp_path: Path
) -> None:
    job = Job(
        tmp_path / "run" / "x.bundle", "mini_vgg", FeatureLayer.GLOBAL_POOLING, ENDLESS, settings
    )
    job.folder.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "vgg_demo.training.jobs.worker"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    send(process.stdin, job, inspected.photos)  # type: ignore[arg-type]
    for line in process.stdout:
        if "epoch" in json.loads(line):
            break
    process.stdin.close()  # as when the server is killed
    assert process.wait(30) == 1
    process.stdout.close()


def test_a_job_and_its_photos_there_and_back(
    inspected: InspectedDataset, settings: Settings, tmp_path: Path
) -> None:
    job = Job(
        tmp_path / "x.bundle",
        "vgg16",
        FeatureLayer.PENULTIMATE,
        SHORT,
        settings,
        from_checkpoint=True,
    )
    path = tmp_path / "stream"
    with path.open("wb") as stream:
        send(stream, job, inspected.photos[:5])
        stream.write(b"stop\n")
    with path.open("rb") as stream:
        again, photos = receive(stream)
        assert stream.read() == b"stop\n"
    assert again == job
    for one, other in zip(inspected.photos, photos, strict=False):
        assert one.photo.source.read() == other.photo.source.read()
        assert (one.photo.label, one.sha256, one.width) == (
            other.photo.label,
            other.sha256,
            other.width,
        )
        assert np.array_equal(one.fingerprint, other.fingerprint)


def test_a_model_is_kept_and_changed(
    room: TrainingQueue, inspected: InspectedDataset, tmp_path: Path
) -> None:
    run = start(room, inspected)
    wait(lambda: run.stage.is_over)
    assert run.result is not None
    before = run.result.bundle
    run.change(with_threshold(before, 0.42))
    after = run.result.bundle
    assert after.spec.custom is not None
    assert (after.spec.custom.unknown_below, after.spec.keras_name) == (0.42, "mine")
    assert after.spec.name != before.spec.name  # what decides an answer is in the name
    kept = publish(after, tmp_path / "bundles", "for all")
    assert kept.spec.keras_name == "for all"
    assert open_bundle(tmp_path / "bundles" / "for all.bundle").spec.name == kept.spec.name
    with pytest.raises(BundleError, match="is there already"):
        publish(after, tmp_path / "bundles", "for all")


def test_a_bundle_from_elsewhere(
    room: TrainingQueue, inspected: InspectedDataset, tmp_path: Path
) -> None:
    run = start(room, inspected)
    wait(lambda: run.stage.is_over)
    pack(run.job.bundle, tmp_path / "a.zip")
    with (tmp_path / "a.zip").open("rb") as archive:
        found = room.open_archive("their model.zip", archive, 10**9)
        assert found.spec.keras_name == "their model"
        with pytest.raises(BundleError, match=r"'their model\.zip' cannot be used"):
            room.open_archive("their model.zip", archive, 1000)
