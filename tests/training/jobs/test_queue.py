"""The training queue with real worker processes, some of which are killed."""

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
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.bundle import open_bundle, set_unknown_threshold
from vgg_demo.models.bundle_archive import pack, publish
from vgg_demo.models.custom import FeatureLayer
from vgg_demo.settings import Settings
from vgg_demo.training.dataset import LabeledPhoto, label_by_folders
from vgg_demo.training.inspection import InspectedPhoto, inspect_photos
from vgg_demo.training.jobs import queue as queue_module
from vgg_demo.training.jobs.job import Job, receive, send
from vgg_demo.training.jobs.queue import TrainingQueue
from vgg_demo.training.jobs.training_run import Stage, TrainingRun
from vgg_demo.training.recipe import Recipe
from vgg_demo.training.records import InspectedDataset, summarize_inspection

SHORT = Recipe(epochs=3, learning_rate=1e-3, views=1)
ENDLESS = Recipe(epochs=100_000, learning_rate=1e-3, views=1, patience=100_000)
SECONDS = 120  # timeout of `wait`


@pytest.fixture(scope="module")
def inspected(crops: Path) -> InspectedDataset:
    photos = label_by_folders(find_photos([str(crops)])).photos
    inspected_photos = [
        photo
        for photo in inspect_photos(photos, with_thumbnails=True)
        if isinstance(photo, InspectedPhoto)
    ]
    return summarize_inspection(inspected_photos, (), 224)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(cache_dir=tmp_path / "home" / "models", offline=True)


@pytest.fixture
def training_queue(settings: Settings) -> Iterator[TrainingQueue]:
    training_queue = TrainingQueue(settings, ModelStore(settings))
    yield training_queue
    training_queue.close()
    assert not training_queue._thread.is_alive()


def start(
    training_queue: TrainingQueue,
    inspected: InspectedDataset,
    recipe: Recipe = SHORT,
    name: str = "mine",
) -> TrainingRun:
    return training_queue.start(name, "mini_vgg", FeatureLayer.GLOBAL_POOLING, recipe, inspected)


def wait(until: Callable[[], object]) -> None:
    """Polls a condition, since a worker process cannot notify a test."""
    end = time.monotonic() + SECONDS
    while not until():
        assert time.monotonic() < end
        time.sleep(0.02)


def worker() -> psutil.Process:
    (process,) = (
        child
        for child in psutil.Process().children()
        if "vgg_demo.training.jobs.worker" in child.cmdline()
    )
    return process


def test_a_run_trains_a_model(
    training_queue: TrainingQueue,
    inspected: InspectedDataset,
    settings: Settings,
    photos: dict[str, bytes],
) -> None:
    run = start(training_queue, inspected)
    assert training_queue.get(run.id) is run
    wait(lambda: run.stage.is_over)
    assert (run.stage, run.error) == (Stage.DONE, "")
    assert [epoch.number for epoch in run.epochs] == [1, 2, 3]
    result = run.result
    assert result is not None
    assert result.validation_report.evaluation.top1.count == len(result.indices) == 9
    assert result.probabilities.shape == (9, 3)
    assert [point.photos for point in result.validation_report.learning_curve][-1] == 39
    labels = [inspected.photos[index].photo.label for index in result.indices]
    assert [inspected.classes[truth] for truth in result.truth] == labels
    accuracy = np.mean(result.probabilities.argmax(axis=1) == result.truth)
    assert accuracy == result.validation_report.evaluation.top1.value

    # The model makes the same prediction in the server as in the worker.
    index = int(result.indices[0])
    data = inspected.photos[index].photo.source.read()
    prediction = classify(data, result.bundle.spec, ModelStore(settings))
    assert np.allclose(prediction.probabilities, result.probabilities[0], atol=1e-4)


def test_no_photo_is_written_to_disk(
    training_queue: TrainingQueue, inspected: InspectedDataset
) -> None:
    run = start(training_queue, inspected)
    wait(lambda: run.stage.is_over)
    names = sorted(path.name for path in run.job.folder.rglob("*") if path.is_file())
    assert names == [
        "best_head.npz", "labels.json", "log.txt", "model.keras", "result.npz", "spec.json"
    ]  # fmt: skip
    assert "00.jpg" not in (run.job.bundle / "spec.json").read_text()


@pytest.mark.slow
def test_the_same_seed_trains_the_same_model(
    training_queue: TrainingQueue, inspected: InspectedDataset
) -> None:
    recipe = Recipe(epochs=3, views=2, dropout=0.5, mixup=0.4, label_smoothing=0.1, seed=5)
    runs = [start(training_queue, inspected, recipe) for _ in range(2)]
    wait(lambda: all(run.stage.is_over for run in runs))
    first, second = (run.result for run in runs)
    assert first is not None
    assert second is not None
    assert np.array_equal(first.probabilities, second.probabilities)
    assert runs[0].range_test is not None


def test_runs_execute_one_at_a_time(
    training_queue: TrainingQueue, inspected: InspectedDataset
) -> None:
    runs = [start(training_queue, inspected, name=name) for name in ("first", "second", "third")]
    wait(lambda: runs[0].stage is not Stage.WAITING)
    assert [training_queue.count_ahead(run) for run in runs] == [0, 1, 2]
    assert runs[1].stage is runs[2].stage is Stage.WAITING
    runs[1].stop()  # while it is waiting
    wait(lambda: all(run.stage.is_over for run in runs))
    assert [run.stage for run in runs] == [Stage.DONE, Stage.STOPPED, Stage.DONE]
    assert runs[2].started_at >= runs[0].ended_at
    assert (training_queue.count_ahead(runs[2]), runs[1].epochs) == (0, [])


def test_a_full_queue_rejects_runs(
    training_queue: TrainingQueue, inspected: InspectedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "MAX_WAITING", 1)
    running = start(training_queue, inspected, ENDLESS)
    wait(lambda: running.epochs)
    start(training_queue, inspected)
    with pytest.raises(BusyError, match="queue is full: 1 of at most 1 runs are waiting"):
        start(training_queue, inspected)


def test_stopping_keeps_the_best_model_so_far(
    training_queue: TrainingQueue, inspected: InspectedDataset
) -> None:
    run = start(training_queue, inspected, ENDLESS)
    wait(lambda: len(run.epochs) > 5)
    run.stop()
    wait(lambda: run.stage.is_over)
    assert run.stage is Stage.DONE
    assert run.result is not None
    assert run.result.validation_report.learning_curve == ()  # skipped after a stop
    # Without temperature scaling, the loss is that of the best epoch.
    logits = np.log(run.result.probabilities) * run.result.validation_report.temperature
    truth_probability = softmax(logits)[np.arange(9), run.result.truth]
    best = min(epoch.validation_loss for epoch in run.epochs)
    assert -np.log(truth_probability).mean() == pytest.approx(best, abs=1e-3)


def test_a_run_with_a_killed_worker_can_be_resumed(
    training_queue: TrainingQueue, inspected: InspectedDataset
) -> None:
    run = start(training_queue, inspected, ENDLESS)
    wait(lambda: len(run.epochs) > 5)
    worker().kill()
    wait(lambda: run.stage.is_over)
    assert run.stage is Stage.FAILED
    assert "was terminated (signal 9), possibly for lack of memory" in run.error
    assert run.can_resume
    best = min(epoch.validation_loss for epoch in run.epochs)
    training_queue.resume(run)
    wait(lambda: run.stage.is_over)
    assert (run.stage, run.error) == (Stage.DONE, "")
    assert run.result is not None
    accuracies = {
        epoch.validation_accuracy for epoch in run.epochs if epoch.validation_loss <= best + 0.01
    }
    assert run.result.validation_report.evaluation.top1.value in accuracies

    another = start(training_queue, inspected)  # the queue continues
    wait(lambda: another.stage.is_over)
    assert another.stage is Stage.DONE


@pytest.mark.slow
def test_a_run_killed_during_fine_tuning_can_be_resumed(
    training_queue: TrainingQueue, inspected: InspectedDataset
) -> None:
    recipe = Recipe(
        epochs=3,
        learning_rate=1e-3,
        views=1,
        fine_tuning_epochs=1000,
        fine_tuning_learning_rate=1e-4,
    )
    run = start(training_queue, inspected, recipe)
    wait(lambda: any(epoch.is_best and epoch.number for epoch in run.fine_tuning))
    wait((run.job.folder / "best_fine_tuned.npz").exists)
    worker().kill()
    wait(lambda: run.stage.is_over)
    training_queue.resume(run)
    wait(lambda: run.stage.is_over)
    assert (run.stage, run.error) == (Stage.DONE, "")
    assert run.result is not None
    logits = np.load(run.job.folder / "best_fine_tuned.npz")["logits"]
    probabilities = softmax(logits / run.result.validation_report.temperature)
    assert np.array_equal(probabilities, run.result.probabilities)


def test_a_run_killed_before_the_first_checkpoint_cannot_be_resumed(
    training_queue: TrainingQueue, inspected: InspectedDataset
) -> None:
    run = start(training_queue, inspected)
    wait(lambda: run.stage is Stage.STARTING and training_queue._process is not None)
    worker().kill()
    wait(lambda: run.stage.is_over)
    assert run.stage is Stage.FAILED
    assert not run.can_resume


def test_a_photo_that_can_no_longer_be_read_fails_the_run(
    training_queue: TrainingQueue, inspected: InspectedDataset
) -> None:
    def fail() -> bytes:
        raise BundleError("The photo was deleted.")

    first = inspected.photos[0]
    source = Source(first.photo.source.name, fail)
    broken = replace(first, photo=LabeledPhoto(source, first.photo.label))
    photos = (broken, *inspected.photos[1:])
    run = start(training_queue, summarize_inspection(photos, (), 224))
    wait(lambda: run.stage.is_over)
    assert (run.stage, run.error) == (Stage.FAILED, "The photo was deleted.")


def test_deleting_a_run_removes_its_files(
    training_queue: TrainingQueue, inspected: InspectedDataset
) -> None:
    run = start(training_queue, inspected)
    wait(lambda: run.stage.is_over)
    folder = run.job.folder
    assert folder.is_dir()
    training_queue.delete(run)
    assert training_queue.get(run.id) is None
    wait(lambda: not folder.exists())
    active = start(training_queue, inspected, ENDLESS)
    wait(lambda: active.epochs)
    training_queue.delete(active)
    wait(lambda: not active.job.folder.exists())


@pytest.mark.slow
def test_photos_of_old_runs_are_released(
    training_queue: TrainingQueue, inspected: InspectedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "MAX_PHOTO_BYTES", inspected.size_bytes + 100)
    # Each photo of `other`, below, is one byte larger.
    same = [start(training_queue, inspected), start(training_queue, inspected)]
    wait(lambda: all(run.stage.is_over for run in same))
    training_queue.evict_expired()
    again = start(training_queue, summarize_inspection(inspected.photos, (), 224))
    wait(lambda: again.stage.is_over)
    training_queue.evict_expired()
    assert [run.has_photos for run in (*same, again)] == [True] * 3  # shared photos count once
    photos = [
        replace(
            photo.photo, source=Source("x.jpg", partial(bytes, photo.photo.source.read() + b"0"))
        )
        for photo in inspected.photos
    ]
    changed_photos = [
        photo
        for photo in inspect_photos(photos, with_thumbnails=True)
        if isinstance(photo, InspectedPhoto)
    ]
    other = start(training_queue, summarize_inspection(changed_photos, (), 224))
    wait(lambda: other.stage.is_over)
    assert other.error == ""
    training_queue.evict_expired()
    assert [run.has_photos for run in (*same, other)] == [False, False, True]
    released = same[0].dataset.photos[0]
    assert (released.photo.source.read(), bool(released.thumbnail)) == (b"", True)
    training_queue.export(same[0], "tflite")
    wait(lambda: same[0].exports["tflite"].error)
    error = same[0].exports["tflite"].error
    assert error == "The photos of this run are no longer on the server."


@pytest.mark.slow
def test_runs_without_a_model_are_evicted_first(
    training_queue: TrainingQueue, inspected: InspectedDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, canceling many runs would evict the models of other visitors."""
    model = start(training_queue, inspected)
    wait(lambda: model.stage.is_over)
    active = start(training_queue, inspected, ENDLESS)
    wait(lambda: active.epochs)
    monkeypatch.setattr(queue_module, "MAX_FINISHED", 2)
    canceled = [start(training_queue, inspected) for _ in range(3)]
    for run in canceled:
        run.stop()
    training_queue.evict_expired()
    assert training_queue.get(model.id) is model
    assert sum(training_queue.get(run.id) is not None for run in canceled) == 1
    assert not canceled[0].job.folder.exists()
    monkeypatch.setattr(queue_module, "FINISHED_SECONDS", 0.0)
    training_queue.evict_expired()
    assert (training_queue.get(model.id), training_queue.get(active.id)) == (None, active)


def test_an_unexpected_error_of_a_worker_is_reported(
    training_queue: TrainingQueue, inspected: InspectedDataset
) -> None:
    """The message names the error, for example that the disk is full."""
    run = start(training_queue, inspected, ENDLESS)
    wait(lambda: run.stage is Stage.STARTING)
    (run.job.folder / ".best_head.npz.part").mkdir()  # where the checkpoint is written
    wait(lambda: run.stage.is_over)
    assert run.stage is Stage.FAILED
    assert "failed unexpectedly (IsADirectoryError" in run.error


@pytest.mark.slow
def test_a_model_is_exported_in_several_formats(
    training_queue: TrainingQueue, inspected: InspectedDataset
) -> None:
    run = start(training_queue, inspected)
    wait(lambda: run.stage.is_over)
    for export_format in ("tflite", "saved-model"):
        training_queue.export(run, export_format)  # type: ignore[arg-type]
    wait(lambda: all(export.file or export.error for export in run.exports.values()))
    lite, saved = run.exports["tflite"], run.exports["saved-model"]
    assert (lite.error, saved.error) == ("", "")
    assert lite.file is not None
    assert saved.file is not None
    assert (lite.file.name, saved.file.name) == ("mine-tflite.tflite", "mine-saved-model.zip")
    assert lite.metrics["size_bytes"] == lite.file.stat().st_size
    assert (lite.metrics["photos"], lite.metrics["agreement"]) == (9, 1.0)


def test_a_run_beyond_the_memory_limit_is_rejected(
    inspected: InspectedDataset, tmp_path: Path
) -> None:
    small = Settings(cache_dir=tmp_path / "models", offline=True, memory_bytes=10**9)
    training_queue = TrainingQueue(small, ModelStore(small))
    with pytest.raises(MemoryBudgetError, match="raise the budget"):
        training_queue.start("mine", "vgg16", FeatureLayer.PENULTIMATE, SHORT, inspected)
    training_queue.close()


def test_a_worker_exits_with_its_server(
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
    process.stdin.close()  # as if the server were killed
    assert process.wait(30) == 1
    process.stdout.close()


def test_a_received_job_equals_the_sent_one(
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
        received_job, received_photos = receive(stream)
        assert stream.read() == b"stop\n"
    assert received_job == job
    for sent, received in zip(inspected.photos[:5], received_photos, strict=True):
        assert sent.photo.source.read() == received.photo.source.read()
        assert (sent.photo.label, sent.sha256, sent.width) == (
            received.photo.label,
            received.sha256,
            received.width,
        )
        assert np.array_equal(sent.fingerprint, received.fingerprint)


def test_a_model_with_a_new_threshold_is_published(
    training_queue: TrainingQueue, inspected: InspectedDataset, tmp_path: Path
) -> None:
    run = start(training_queue, inspected)
    wait(lambda: run.stage.is_over)
    assert run.result is not None
    before = run.result.bundle
    run.replace_bundle(set_unknown_threshold(before, 0.42))
    after = run.result.bundle
    assert after.spec.custom is not None
    assert (after.spec.custom.unknown_threshold, after.spec.keras_name) == (0.42, "mine")
    assert after.spec.name != before.spec.name  # the name contains a digest of the threshold
    published = publish(after, tmp_path / "bundles", "for all")
    assert published.spec.keras_name == "for all"
    assert open_bundle(tmp_path / "bundles" / "for all.bundle").spec.name == published.spec.name
    with pytest.raises(BundleError, match="already exists"):
        publish(after, tmp_path / "bundles", "for all")


def test_an_uploaded_bundle_is_opened(
    training_queue: TrainingQueue, inspected: InspectedDataset, tmp_path: Path
) -> None:
    run = start(training_queue, inspected)
    wait(lambda: run.stage.is_over)
    pack(run.job.bundle, tmp_path / "a.zip")
    with (tmp_path / "a.zip").open("rb") as archive:
        bundle = training_queue.open_archive("their model.zip", archive, 10**9)
        assert bundle.spec.keras_name == "their model"
        with pytest.raises(BundleError, match=r"'their model\.zip' cannot be used"):
            training_queue.open_archive("their model.zip", archive, 1000)
