"""A process that teaches one model, or exports one, and then ends.

`training_queue.TrainingQueue` starts it. It reads its job from stdin (`job.receive`) and reports on
stdout, a JSON object a line: how far it is, and how it ended. What is to outlive it, it leaves in
the job's folder. It ends early when `job.STOP` comes on stdin, with the best so far, and at once
when stdin is closed: then there is nobody any more who waits for it.
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
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.bundle import open_bundle
from vgg_demo.models.preprocess import Resize, prepare
from vgg_demo.models.registry import get_spec
from vgg_demo.training.checkpoint import load_fine_tuned, load_head, save_fine_tuned, save_head
from vgg_demo.training.data import TrainedModel, TrainedNetwork, TrainingData, summarize_inspection
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.features import Extraction
from vgg_demo.training.generators import run_to_end
from vgg_demo.training.inspection import InspectedPhoto
from vgg_demo.training.jobs.job import STOP, Job, receive
from vgg_demo.training.trainer import LEARNING_CURVE_FRACTIONS, Trainer
from vgg_demo.training.validation import LearningCurvePoint
from vgg_demo.weights.download import Progress

if TYPE_CHECKING:
    from vgg_demo.training.head import Head

RESULT = "result.npz"
"""What the model said of the validation photos."""

NICE = 5
"""How much a worker stands back behind the server, whose visitors wait for answers."""


class _Work:
    """A job in progress."""

    def __init__(self, job: Job, photos: tuple[InspectedPhoto, ...], reports: TextIO) -> None:
        self._job = job
        self._photos = photos
        self._reports = reports
        self.is_stopped = threading.Event()

    def report(self, kind: str, **fields: Any) -> None:
        """Says how far it is. Where it was told to stop, it does so here."""
        print(json.dumps({"kind": kind, **fields}, default=float), file=self._reports, flush=True)

    def _step(self, kind: str, **fields: Any) -> None:
        self.report(kind, **fields)
        if self.is_stopped.is_set():
            raise KeyboardInterrupt

    def do(self) -> None:
        try:
            if self._job.export is None:
                self._teach()
            else:
                self._export()
        except KeyboardInterrupt:
            self.report("stopped")
        except VggDemoError as error:
            self.report("failed", error=type(error).__name__, message=str(error))
        except Exception as error:  # a full disk, TensorFlow, or a mistake of ours: it is told
            traceback.print_exc()
            message = f"It ended unexpectedly ({type(error).__name__}: {str(error)[:200]})."
            self.report("failed", error=type(error).__name__, message=message)

    def _teach(self) -> None:
        job = self._job
        cache = FeatureCache(job.settings.features_file)
        cache.shrink()
        store = ModelStore(job.settings)
        backbone = get_spec(job.backbone)
        trainer = Trainer(
            backbone, job.recipe, job.settings, store, cache, feature_layer=job.feature_layer
        )
        with store.use(trainer.feature_extractor, self._fetching):
            pass
        inspected = summarize_inspection(self._photos, (), trainer.feature_extractor.input_size)
        training_data = run_to_end(trainer.prepare(inspected), self._looking)
        memory.give_back()
        network, learning_curve = self._learn(trainer, training_data)
        self.report("saving")
        trained = trainer.finish(training_data, network, job.bundle, learning_curve)
        self._leave(trained)

    def _fetching(self, progress: Progress | None) -> None:
        if progress is not None:
            self._step(
                "fetching",
                done=progress.received_bytes,
                total=progress.total_bytes,
                seconds_left=progress.remaining_seconds,
            )

    def _looking(self, progress: Extraction) -> None:
        self._step(
            "features",
            done=progress.done,
            total=progress.total,
            seconds_left=progress.remaining_seconds,
        )

    def _learn(
        self, trainer: Trainer, training_data: TrainingData
    ) -> tuple[TrainedNetwork, tuple[LearningCurvePoint, ...]]:
        folder = self._job.folder
        if self._job.from_checkpoint:
            head, tuned = load_head(folder), load_fine_tuned(folder)
            if head is None:
                raise KeyboardInterrupt
            if tuned is not None:
                return trainer.with_fine_tuned(training_data, head, tuned), ()
            return trainer.with_head(training_data, head), ()
        self._step("rate")
        found = trainer.find_rate(training_data)
        self._step(
            "learning",
            range_test={
                "rates": found.rates.tolist(),
                "losses": found.losses.tolist(),
                "steepest": found.steepest,
                "tenth": found.tenth,
            },
        )
        head = run_to_end(
            trainer.train(training_data, lambda best: save_head(folder, best)),
            lambda epoch: self._step("learning", epoch=asdict(epoch)),
        )
        learning_curve: tuple[LearningCurvePoint, ...] = ()
        if not self.is_stopped.is_set():
            learning_curve = self._try_fewer(trainer, training_data, head)
        if not trainer.recipe.tuning_epochs or self.is_stopped.is_set():
            return trainer.with_head(training_data, head), learning_curve
        network = run_to_end(
            trainer.fine_tune(training_data, head, lambda best: save_fine_tuned(folder, best)),
            lambda epoch: self._step("tuning", epoch=asdict(epoch)),
        )
        return network, learning_curve

    def _try_fewer(
        self, trainer: Trainer, training_data: TrainingData, head: Head
    ) -> tuple[LearningCurvePoint, ...]:
        learning_curve = []
        self.report("curve", done=0, total=len(LEARNING_CURVE_FRACTIONS) + 1)
        for point in trainer.learning_curve_points(training_data, head):
            learning_curve.append(point)
            self.report("curve", done=len(learning_curve), total=len(LEARNING_CURVE_FRACTIONS) + 1)
            if self.is_stopped.is_set():  # who stops does not want to wait for a curve
                return ()
        return tuple(learning_curve)

    def _leave(self, trained: TrainedModel) -> None:
        places = trained.training_data.split.validation
        np.savez(
            self._job.folder / RESULT,
            places=np.array(places),
            labels=trained.training_data.labels[list(places)],
            logits=trained.logits,
        )
        learning_curve = [
            [one.photos, one.accuracy.right, one.accuracy.count]
            for one in trained.validation_report.learning_curve
        ]
        self.report("done", learning_curve=learning_curve)

    def _export(self) -> None:
        job = self._job
        assert job.export is not None  # noqa: S101  # what `do` has looked at
        spec, store = open_bundle(job.bundle).spec, ModelStore(job.settings)

        def look() -> Iterator[NDArray[np.float32]]:
            for one in self._photos:
                photo = open_photo(one.photo.source.read(), limits=job.settings.limits)
                yield prepare(photo.image, spec, Resize.CROP)

        from vgg_demo.training.export import export

        suffix = "" if job.export == "saved-model" else ".tflite"
        out = job.folder / f"{spec.keras_name}-{job.export}{suffix}"
        with store.use(spec) as model:
            found = export(model, job.export, out, look)
        file = out
        if not suffix:  # a SavedModel is a folder
            file = Path(shutil.make_archive(str(out), "zip", out))
            shutil.rmtree(out)
        self.report(
            "exported",
            file=str(file),
            size_bytes=found.size_bytes,
            photos=found.photos,
            agreement=found.agreement,
            largest_difference=found.largest_difference,
        )


def _watch(stdin: BinaryIO, work: _Work) -> None:
    """Waits for what comes behind the job."""
    for line in stdin:
        if line == STOP:
            work.is_stopped.set()
    os._exit(1)  # the server has gone


def main() -> None:
    memory.prepare_process()
    with suppress(AttributeError, OSError):  # Windows has none
        os.nice(NICE)
    # Reports have stdout for themselves; what libraries print goes where their errors go.
    reports = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    work = _Work(*receive(sys.stdin.buffer), reports)
    watcher = threading.Thread(target=_watch, args=(sys.stdin.buffer, work), daemon=True)
    watcher.start()
    try:
        work.do()
        reports.close()
    finally:
        # Python's own way to end would wait for stdin's lock, which the watcher holds.
        os._exit(0)


if __name__ == "__main__":
    main()
