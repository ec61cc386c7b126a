"""A training run: its stage, metrics and result."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from vgg_demo.analysis.evaluation import Proportion
from vgg_demo.inference.classify import softmax
from vgg_demo.models.bundle import Bundle, bundle_name, open_bundle
from vgg_demo.training.checkpoint import has_checkpoint
from vgg_demo.training.jobs.job import STOP, Job, without_data
from vgg_demo.training.jobs.worker import RESULT
from vgg_demo.training.progress import Epoch
from vgg_demo.training.recipe import ExportFormat
from vgg_demo.training.records import InspectedDataset
from vgg_demo.training.schedule import RangeTest
from vgg_demo.training.validation import LearningCurvePoint, ValidationReport, validate


class Stage(StrEnum):
    """Stage of a run. The values are those of the worker's reports."""

    WAITING = "waiting"
    STARTING = "starting"
    DOWNLOADING = "downloading"
    FEATURES = "features"
    LEARNING_RATE = "learning_rate"
    TRAINING = "training"
    LEARNING_CURVE = "learning_curve"
    FINE_TUNING = "fine_tuning"
    SAVING = "saving"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        """Whether a run in this stage has ended."""
        return self in (Stage.DONE, Stage.STOPPED, Stage.FAILED)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """The result of a run.

    Attributes:
        bundle: The model.
        validation_report: Metrics on the validation set.
        indices: int (N,): indices of the validation photos in the run's dataset.
        truth: int (N,): true class index of each validation photo.
        probabilities: float64 (N, classes): the calibrated probabilities of the classes.
    """

    bundle: Bundle
    validation_report: ValidationReport
    indices: NDArray[np.integer]
    truth: NDArray[np.integer]
    probabilities: NDArray[np.float64]


@dataclass(slots=True)
class Export:
    """An exported model; in progress while `file` is None and `error` is empty.

    Attributes:
        file: The exported file; None until it is finished.
        metrics: Fields of `export.ExportReport`, except for the path.
        error: Why the export failed; empty if it has not failed.
    """

    file: Path | None = None
    metrics: dict[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(eq=False)
class TrainingRun:
    """A training run. The page reads it while the queue's thread updates it.

    Attributes:
        id: Secret ID; it grants access to the run.
        job: The worker's job.
        dataset: The photos.
        stage: Current stage.
        done: Finished items of the stage, such as bytes, views or learning-curve points.
        total: Number of all items of the stage; 0 if it has none.
        epochs: Finished epochs of the head's training.
        fine_tuning: Finished epochs of the fine-tuning; the first is the state before it.
        range_test: Result of the learning-rate range test, once it is finished.
        error: Why the run failed; empty if it has not failed.
        error_type: Class name of the worker's error; empty if the worker reported none.
        result: The result, once the run is done.
        exports: Exports by format.
        has_photos: Whether the photos are still in memory.
        remaining_seconds: Estimated remaining time of the stage; None if unknown.
        started_at: Start of the worker, as `time.monotonic` seconds.
        ended_at: End of the run, as `time.monotonic` seconds.
    """

    id: str
    job: Job
    dataset: InspectedDataset
    stage: Stage = Stage.WAITING
    done: int = 0
    total: int = 0
    epochs: list[Epoch] = field(default_factory=list)
    fine_tuning: list[Epoch] = field(default_factory=list)
    range_test: RangeTest | None = None
    error: str = ""
    error_type: str = ""
    result: TrainingResult | None = None
    exports: dict[ExportFormat, Export] = field(default_factory=dict)
    has_photos: bool = True
    remaining_seconds: float | None = None
    started_at: float = field(default_factory=time.monotonic)
    ended_at: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stdin: BinaryIO | None = None
    _is_stopped: bool = False

    @property
    def name(self) -> str:
        """Name of the model."""
        return bundle_name(self.job.bundle)

    @property
    def can_resume(self) -> bool:
        """Whether the run ended without a model but left a checkpoint."""
        is_without_model = self.stage in (Stage.FAILED, Stage.STOPPED)
        return is_without_model and self.has_photos and has_checkpoint(self.job.folder)

    @property
    def seconds(self) -> float:
        """Duration from the worker's start to the end of the run."""
        return max(0.0, self.ended_at - self.started_at)

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was requested but the run has not ended yet."""
        return self._is_stopped and not self.stage.is_over

    def stop(self) -> None:
        """Stops the run: a waiting one is canceled, an active one saves the best model so far."""
        with self._lock:
            self._is_stopped = True
            if self.stage is Stage.WAITING:
                self._end(Stage.STOPPED)
            else:
                self._send_stop()

    def try_start(self) -> bool:
        """Marks a waiting run as starting. Returns False if it is no longer waiting."""
        with self._lock:
            is_waiting = self.stage is Stage.WAITING
            if is_waiting:
                self.stage, self.started_at = Stage.STARTING, time.monotonic()
            return is_waiting

    def requeue(self) -> bool:
        """Marks a run that can be resumed as waiting again. Returns whether it can."""
        with self._lock:
            can_resume = self.can_resume
            if can_resume:
                self.stage, self.error, self._is_stopped = Stage.WAITING, "", False
            return can_resume

    def fail(self, message: str) -> None:
        """Marks the run as failed, unless it is over."""
        with self._lock:
            if not self.stage.is_over:
                self.error = message
                self._end(Stage.FAILED)

    def release_photos(self) -> None:
        """Releases the photos' data; their properties and thumbnails stay."""
        self.has_photos = False
        self.dataset = replace(self.dataset, photos=tuple(map(without_data, self.dataset.photos)))

    def connect(self, stdin: BinaryIO | None) -> None:
        """Sets the stream for stop requests to the worker; None to disconnect it.

        A stop that was requested earlier is sent now.
        """
        with self._lock:
            self._stdin = stdin
            if self._is_stopped:
                self._send_stop()

    def _end(self, stage: Stage) -> None:
        self.ended_at = time.monotonic()
        self.stage = stage

    def _send_stop(self) -> None:
        if self._stdin is not None:
            with suppress(OSError):  # the worker has just ended
                self._stdin.write(STOP)
                self._stdin.flush()

    def replace_bundle(self, bundle: Bundle) -> None:
        """Replaces the bundle with a version that has another unknown threshold."""
        if self.result is not None:
            self.result = replace(self.result, bundle=bundle)

    def update(self, report: dict[str, Any]) -> None:
        """Updates the run with a report from the worker."""
        kind = report.pop("kind")
        if "epoch" in report:
            epochs = self.fine_tuning if kind == Stage.FINE_TUNING else self.epochs
            epochs.append(Epoch(**report["epoch"]))
        elif "range_test" in report:
            range_test = report["range_test"]
            self.range_test = RangeTest(
                np.array(range_test["rates"]), np.array(range_test["losses"]),
                range_test["steepest"], range_test["tenth"],
            )  # fmt: skip
        self.done, self.total = int(report.get("done", 0)), int(report.get("total", 0))
        self.remaining_seconds = report.get("remaining_seconds")
        self.error = report.get("message", "")
        self.error_type = report.get("error", "")
        if kind == Stage.DONE:
            self.result = self._read_result(report["learning_curve"])
        stage = Stage(kind)
        with self._lock:
            if stage.is_over:
                self._end(stage)
            else:
                self.stage = stage

    def _read_result(self, learning_curve: Sequence[Sequence[int]]) -> TrainingResult:
        bundle = open_bundle(self.job.bundle)
        with np.load(self.job.folder / RESULT, allow_pickle=False) as arrays:
            indices, truth, logits = arrays["indices"], arrays["labels"], arrays["logits"]
        validation_report = validate(
            bundle.spec,
            logits,
            truth,
            [self.dataset.photos[index].photo.source.name for index in indices],
            [
                LearningCurvePoint(photos, Proportion(correct, count))
                for photos, correct, count in learning_curve
            ],
        )
        probabilities = softmax(logits / validation_report.temperature)
        return TrainingResult(bundle, validation_report, indices, truth, probabilities)
