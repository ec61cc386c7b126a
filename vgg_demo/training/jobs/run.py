"""A training of a server: where it stands, and what came of it."""

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
from vgg_demo.training.data import InspectedDataset
from vgg_demo.training.jobs.job import STOP, Job, without_photo
from vgg_demo.training.jobs.worker import RESULT
from vgg_demo.training.progress import Epoch
from vgg_demo.training.recipe import ExportFormat
from vgg_demo.training.schedule import RangeTest
from vgg_demo.training.validation import LearningCurvePoint, ValidationReport, validate


class Stage(StrEnum):
    """Where a run stands, in the words of the worker's reports."""

    WAITING = "waiting"
    STARTING = "starting"
    FETCHING = "fetching"
    FEATURES = "features"
    RATE = "rate"
    LEARNING = "learning"
    CURVE = "curve"
    TUNING = "tuning"
    SAVING = "saving"
    DONE = "done"
    STOPPED = "stopped"
    FAILED = "failed"

    @property
    def is_over(self) -> bool:
        return self in (Stage.DONE, Stage.STOPPED, Stage.FAILED)


@dataclass(frozen=True, slots=True, eq=False)
class TrainingResult:
    """What came of a run.

    Attributes:
        bundle: The model.
        validation_report: How good it is.
        places: int (N,): the validation photos among the run's.
        truth: int (N,): the class of each.
        probabilities: float64 (N, classes): what the model says of each.
    """

    bundle: Bundle
    validation_report: ValidationReport
    places: NDArray[np.integer]
    truth: NDArray[np.integer]
    probabilities: NDArray[np.float64]


@dataclass(slots=True)
class Export:
    """A file for other programs, in the making or made.

    Attributes:
        file: Where it is; None as long as it is not there.
        facts: What `export.Exported` says of it.
        error: Why there is none.
    """

    file: Path | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    error: str = ""


@dataclass(eq=False)
class TrainingRun:
    """A training. Its page reads it while the classroom's thread writes.

    Attributes:
        id: Who knows it may see the run.
        job: What is done.
        dataset: The photos.
        stage: Where it stands.
        done: Of what is counted in this stage.
        total: Likewise; 0 if nothing is.
        epochs: Of the head, those that are over.
        tuning: Of the fine-tuning; the first is how it began.
        range_test: What came of trying rates.
        error: Why it failed.
        error_kind: Name of the error's class, where the worker told it.
        result: What came of it.
        exports: Files for other programs that were asked for.
        has_photos: Whether the photos are still there.
        seconds_left: Of this stage; None while that is unknown.
        began: When its worker began, in seconds as `time.monotonic` counts them.
        ended: When it was over, likewise.
    """

    id: str
    job: Job
    dataset: InspectedDataset
    stage: Stage = Stage.WAITING
    done: int = 0
    total: int = 0
    epochs: list[Epoch] = field(default_factory=list)
    tuning: list[Epoch] = field(default_factory=list)
    range_test: RangeTest | None = None
    error: str = ""
    error_kind: str = ""
    result: TrainingResult | None = None
    exports: dict[ExportFormat, Export] = field(default_factory=dict)
    has_photos: bool = True
    seconds_left: float | None = None
    began: float = field(default_factory=time.monotonic)
    ended: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stdin: BinaryIO | None = None
    _is_stopped: bool = False

    @property
    def name(self) -> str:
        return bundle_name(self.job.bundle)

    @property
    def can_resume(self) -> bool:
        """Whether a model can be made of what was kept before it ended."""
        over = self.stage in (Stage.FAILED, Stage.STOPPED)
        return over and self.has_photos and has_checkpoint(self.job.folder)

    @property
    def seconds(self) -> float:
        """How long its worker took."""
        return max(0.0, self.ended - self.began)

    @property
    def is_stopping(self) -> bool:
        """Whether it was told to end, and has not ended yet."""
        return self._is_stopped and not self.stage.is_over

    def stop(self) -> None:
        """Ends it: one that waits does not begin, one at work keeps the best so far."""
        with self._lock:
            self._is_stopped = True
            if self.stage is Stage.WAITING:
                self._end(Stage.STOPPED)
            else:
                self._pass_stop_on()

    def begin(self) -> bool:
        """Says that its worker is about to start. Returns whether it still waits for that."""
        with self._lock:
            waits = self.stage is Stage.WAITING
            if waits:
                self.stage, self.began = Stage.STARTING, time.monotonic()
            return waits

    def requeue(self) -> bool:
        """Puts one that ended without a model back in the queue. Returns whether that can be."""
        with self._lock:
            can = self.can_resume
            if can:
                self.stage, self.error, self._is_stopped = Stage.WAITING, "", False
            return can

    def fail(self, message: str) -> None:
        with self._lock:
            if not self.stage.is_over:
                self.error = message
                self._end(Stage.FAILED)

    def drop_photos(self) -> None:
        """Lets go of the photos, but not of what is known of them."""
        self.has_photos = False
        self.dataset = replace(self.dataset, photos=tuple(map(without_photo, self.dataset.photos)))

    def listen(self, stdin: BinaryIO | None) -> None:
        """Says that the worker has its job and listens, or does not any more."""
        with self._lock:
            self._stdin = stdin
            if self._is_stopped:
                self._pass_stop_on()

    def _end(self, stage: Stage) -> None:
        self.ended = time.monotonic()
        self.stage = stage

    def _pass_stop_on(self) -> None:
        if self._stdin is not None:
            with suppress(OSError):  # it has ended meanwhile
                self._stdin.write(STOP)
                self._stdin.flush()

    def change(self, bundle: Bundle) -> None:
        """Takes another version of its model, of which another threshold was set."""
        if self.result is not None:
            self.result = replace(self.result, bundle=bundle)

    def take(self, report: dict[str, Any]) -> None:
        """Takes in a report of the worker."""
        kind = report.pop("kind")
        if "epoch" in report:
            epochs = self.tuning if kind == Stage.TUNING else self.epochs
            epochs.append(Epoch(**report["epoch"]))
        elif "range_test" in report:
            found = report["range_test"]
            self.range_test = RangeTest(
                np.array(found["rates"]), np.array(found["losses"]), found["steepest"],
                found["tenth"],
            )  # fmt: skip
        self.done, self.total = int(report.get("done", 0)), int(report.get("total", 0))
        self.seconds_left = report.get("seconds_left")
        self.error = report.get("message", "")
        self.error_kind = report.get("error", "")
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
        with np.load(self.job.folder / RESULT, allow_pickle=False) as found:
            places, truth, logits = found["places"], found["labels"], found["logits"]
        validation_report = validate(
            bundle.spec,
            logits,
            truth,
            [self.dataset.photos[place].photo.source.name for place in places],
            [
                LearningCurvePoint(photos, Proportion(right, count))
                for photos, right, count in learning_curve
            ],
        )
        probabilities = softmax(logits / validation_report.temperature)
        return TrainingResult(bundle, validation_report, places, truth, probabilities)
