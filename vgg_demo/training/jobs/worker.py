"""A worker process that runs one job, a training run or an export, and then exits.

`queue.TrainingQueue` starts it. It reads the job from stdin (`job.receive`) and reports progress
and the result on stdout, one JSON object per line. Output files go into the job's folder. On
`job.STOP` in stdin, it ends early and saves the best model so far. If stdin is closed, the server
has exited, and the worker exits at once.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

import numpy as np
from numpy.typing import NDArray

from vgg_demo import memory
from vgg_demo.errors import VggDemoError
from vgg_demo.images.photo import open_photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.bundle import open_bundle
from vgg_demo.models.preprocess import Resize, prepare
from vgg_demo.models.registry import get_spec
from vgg_demo.training.checkpoint import load_fine_tuned, load_head, save_fine_tuned, save_head
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.features import ExtractionProgress
from vgg_demo.training.inspection import InspectedPhoto
from vgg_demo.training.jobs.job import STOP, Job, receive
from vgg_demo.training.progress import run_to_end
from vgg_demo.training.records import (
    TrainedModel,
    TrainedNetwork,
    TrainingData,
    summarize_inspection,
)
from vgg_demo.training.trainer import LEARNING_CURVE_FRACTIONS, Trainer
from vgg_demo.training.validation import LearningCurvePoint
from vgg_demo.weights.download import Progress

if TYPE_CHECKING:
    from vgg_demo.training.head import Head

RESULT = "result.npz"
"""Indices, labels and logits of the validation photos."""

NICENESS = 5
"""Lowers the worker's priority below the server's, so that training does not delay predictions."""


class _Worker:
    """A job in progress."""

    def __init__(self, job: Job, photos: tuple[InspectedPhoto, ...], reports: TextIO) -> None:
        self._job = job
        self._photos = photos
        self._reports = reports
        self.is_stopped = threading.Event()

    def report(self, kind: str, **fields: Any) -> None:
        """Writes a report. `kind` is a value of `run.Stage`, or ``exported``."""
        print(json.dumps({"kind": kind, **fields}, default=float), file=self._reports, flush=True)

    def _report_progress(self, kind: str, **fields: Any) -> None:
        """Writes a report; raises `KeyboardInterrupt` if a stop was requested."""
        self.report(kind, **fields)
        if self.is_stopped.is_set():
            raise KeyboardInterrupt

    def run(self) -> None:
        """Runs the job. Reports every error instead of raising it."""
        try:
            if self._job.export is None:
                self._run_training()
            else:
                self._run_export()
        except KeyboardInterrupt:
            self.report("stopped")
        except VggDemoError as error:
            self.report("failed", error=type(error).__name__, message=str(error))
        except Exception as error:  # a full disk, an error in TensorFlow, or a bug
            traceback.print_exc()
            message = (
                f"The worker failed unexpectedly ({type(error).__name__}: {str(error)[:200]})."
            )
            self.report("failed", error=type(error).__name__, message=message)

    def _run_training(self) -> None:
        job = self._job
        cache = FeatureCache(job.settings.features_file)
        cache.shrink()
        store = ModelStore(job.settings)
        backbone = get_spec(job.backbone)
        trainer = Trainer(
            backbone, job.recipe, job.settings, store, cache, feature_layer=job.feature_layer
        )
        with store.use(trainer.feature_extractor, self._report_download):
            pass
        inspected = summarize_inspection(self._photos, (), trainer.feature_extractor.input_size)
        training_data = run_to_end(trainer.prepare(inspected), self._report_extraction)
        memory.release_memory()
        network, learning_curve = self._train(trainer, training_data)
        self.report("saving")
        trained = trainer.finish(training_data, network, job.bundle, learning_curve)
        self._save_result(trained)

    def _report_download(self, progress: Progress | None) -> None:
        if progress is not None:
            self._report_progress(
                "downloading",
                done=progress.received_bytes,
                total=progress.total_bytes,
                remaining_seconds=progress.remaining_seconds,
            )

    def _report_extraction(self, progress: ExtractionProgress) -> None:
        self._report_progress(
            "features",
            done=progress.done,
            total=progress.total,
            remaining_seconds=progress.remaining_seconds,
        )

    def _train(
        self, trainer: Trainer, training_data: TrainingData
    ) -> tuple[TrainedNetwork, tuple[LearningCurvePoint, ...]]:
        folder = self._job.folder
        if self._job.from_checkpoint:
            head, fine_tuned = load_head(folder), load_fine_tuned(folder)
            if head is None:
                raise KeyboardInterrupt
            if fine_tuned is not None:
                return trainer.with_fine_tuned(training_data, head, fine_tuned), ()
            return trainer.with_head(training_data, head), ()
        self._report_progress("learning_rate")
        range_test = trainer.find_learning_rate(training_data)
        self._report_progress(
            "training",
            range_test={
                "rates": range_test.rates.tolist(),
                "losses": range_test.losses.tolist(),
                "steepest": range_test.steepest,
                "tenth": range_test.tenth,
            },
        )
        head = run_to_end(
            trainer.train(training_data, lambda best: save_head(folder, best)),
            lambda epoch: self._report_progress("training", epoch=asdict(epoch)),
        )
        learning_curve: tuple[LearningCurvePoint, ...] = ()
        if not self.is_stopped.is_set():
            learning_curve = self._measure_learning_curve(trainer, training_data, head)
        if not trainer.recipe.fine_tuning_epochs or self.is_stopped.is_set():
            return trainer.with_head(training_data, head), learning_curve
        network = run_to_end(
            trainer.fine_tune(training_data, head, lambda best: save_fine_tuned(folder, best)),
            lambda epoch: self._report_progress("fine_tuning", epoch=asdict(epoch)),
        )
        return network, learning_curve

    def _measure_learning_curve(
        self, trainer: Trainer, training_data: TrainingData, head: Head
    ) -> tuple[LearningCurvePoint, ...]:
        learning_curve = []
        total = len(LEARNING_CURVE_FRACTIONS) + 1
        self.report("learning_curve", done=0, total=total)
        for point in trainer.learning_curve_points(training_data, head):
            learning_curve.append(point)
            self.report("learning_curve", done=len(learning_curve), total=total)
            if self.is_stopped.is_set():  # an incomplete learning curve is not shown
                return ()
        return tuple(learning_curve)

    def _save_result(self, trained: TrainedModel) -> None:
        indices = trained.training_data.split.validation
        np.savez(
            self._job.folder / RESULT,
            indices=np.array(indices),
            labels=trained.training_data.labels[list(indices)],
            logits=trained.logits,
        )
        learning_curve = [
            [point.photos, point.accuracy.correct, point.accuracy.count]
            for point in trained.validation_report.learning_curve
        ]
        self.report("done", learning_curve=learning_curve)

    def _run_export(self) -> None:
        job = self._job
        assert job.export is not None  # noqa: S101  # `run` checks it
        spec, store = open_bundle(job.bundle).spec, ModelStore(job.settings)

        def load_batches() -> Iterator[NDArray[np.float32]]:
            for inspected in self._photos:
                photo = open_photo(inspected.photo.source.read(), limits=job.settings.limits)
                yield prepare(photo.image, spec, Resize.CROP)

        from vgg_demo.training.export import export

        suffix = "" if job.export == "saved-model" else ".tflite"
        out = job.folder / f"{spec.keras_name}-{job.export}{suffix}"
        with store.use(spec) as model:
            report = export(model, job.export, out, load_batches)
        file = out
        if not suffix:  # a SavedModel is a folder
            file = Path(shutil.make_archive(str(out), "zip", out))
            shutil.rmtree(out)
        self.report(
            "exported",
            file=str(file),
            size_bytes=report.size_bytes,
            photos=report.photos,
            agreement=report.agreement,
            largest_difference=report.largest_difference,
        )


def _watch(stdin: BinaryIO, worker: _Worker) -> None:
    """Reads stop requests until stdin is closed, then exits the process."""
    for line in stdin:
        if line == STOP:
            worker.is_stopped.set()
    os._exit(1)  # the server has exited


def main() -> None:
    memory.prepare_process()
    with suppress(AttributeError, OSError):  # not available on Windows
        os.nice(NICENESS)
    # Only reports go to stdout; the output of libraries goes to stderr.
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    worker = _Worker(*receive(sys.stdin.buffer), reports)
    watcher = threading.Thread(target=_watch, args=(sys.stdin.buffer, worker), daemon=True)
    watcher.start()
    try:
        worker.run()
        reports.close()
    finally:
        # A normal interpreter exit would wait for the lock of stdin, which the watcher holds.
        os._exit(0)


if __name__ == "__main__":
    main()
