"""A process that teaches one model, or exports one, and then ends.

`classroom.Classroom` starts it. It reads its job from stdin (`job.receive`) and reports on
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
from vgg_demo.training.checkpoint import keep_head, keep_tuned, kept_head, kept_tuned
from vgg_demo.training.data import Learned, Material, Network, conclude
from vgg_demo.training.feature_cache import FeatureCache
from vgg_demo.training.features import Extraction
from vgg_demo.training.generators import run_through
from vgg_demo.training.inspection import Looked
from vgg_demo.training.jobs.job import STOP, Job, receive
from vgg_demo.training.trainer import LESSON_SHARES, Teacher
from vgg_demo.training.validation import Lesson
from vgg_demo.weights.download import Progress

if TYPE_CHECKING:
    from vgg_demo.training.head import Head

RESULT = "result.npz"
"""What the model said of the validation photos."""

NICE = 5
"""How much a worker stands back behind the server, whose visitors wait for answers."""


class _Work:
    """A job in progress."""

    def __init__(self, job: Job, photos: tuple[Looked, ...], reports: TextIO) -> None:
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
        teacher = Teacher(backbone, job.recipe, job.settings, store, cache, part=job.part)
        with store.use(teacher.body, self._fetching):
            pass
        checked = conclude(self._photos, (), teacher.body.input_size)
        material = run_through(teacher.prepare(checked), self._looking)
        memory.give_back()
        network, lessons = self._learn(teacher, material)
        self.report("saving")
        learned = teacher.finish(material, network, job.bundle, lessons)
        self._leave(learned)

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

    def _learn(self, teacher: Teacher, material: Material) -> tuple[Network, tuple[Lesson, ...]]:
        folder = self._job.folder
        if self._job.from_best:
            head, tuned = kept_head(folder), kept_tuned(folder)
            if head is None:
                raise KeyboardInterrupt
            if tuned is not None:
                return teacher.with_tuned(material, head, tuned), ()
            return teacher.with_head(material, head), ()
        self._step("rate")
        found = teacher.find_rate(material)
        self._step(
            "learning",
            range_test={
                "rates": found.rates.tolist(),
                "losses": found.losses.tolist(),
                "steepest": found.steepest,
                "tenth": found.tenth,
            },
        )
        head = run_through(
            teacher.train(material, lambda best: keep_head(folder, best)),
            lambda epoch: self._step("learning", epoch=asdict(epoch)),
        )
        lessons: tuple[Lesson, ...] = ()
        if not self.is_stopped.is_set():
            lessons = self._try_fewer(teacher, material, head)
        if not teacher.recipe.tuning_epochs or self.is_stopped.is_set():
            return teacher.with_head(material, head), lessons
        network = run_through(
            teacher.fine_tune(material, head, lambda best: keep_tuned(folder, best)),
            lambda epoch: self._step("tuning", epoch=asdict(epoch)),
        )
        return network, lessons

    def _try_fewer(self, teacher: Teacher, material: Material, head: Head) -> tuple[Lesson, ...]:
        lessons = []
        self.report("curve", done=0, total=len(LESSON_SHARES) + 1)
        for lesson in teacher.try_fewer(material, head):
            lessons.append(lesson)
            self.report("curve", done=len(lessons), total=len(LESSON_SHARES) + 1)
            if self.is_stopped.is_set():  # who stops does not want to wait for a curve
                return ()
        return tuple(lessons)

    def _leave(self, learned: Learned) -> None:
        places = learned.material.split.validation
        np.savez(
            self._job.folder / RESULT,
            places=np.array(places),
            labels=learned.material.labels[list(places)],
            logits=learned.logits,
        )
        lessons = [
            [one.photos, one.accuracy.right, one.accuracy.count]
            for one in learned.judgement.lessons
        ]
        self.report("done", lessons=lessons)

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
