"""The trainings of a server: one at a time, each in a process of its own.

A run belongs to whoever knows its id, which is a secret. It goes on when nobody looks, and a
worker that is killed costs nobody more than what it had not yet kept.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import psutil

from vgg_demo.errors import BundleError, BusyError, VggDemoError
from vgg_demo.files.writing import writing
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.bundle import Bundle, bundle_name, open_bundle
from vgg_demo.models.bundle_archive import unpack
from vgg_demo.models.custom import FeatureLayer
from vgg_demo.models.registry import backbone_spec, feature_count, get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.data import InspectedDataset
from vgg_demo.training.inspection import InspectedPhoto
from vgg_demo.training.jobs.job import Job, send
from vgg_demo.training.jobs.run import Export, Stage, TrainingRun
from vgg_demo.training.recipe import ExportFormat, Recipe

LOG = logging.getLogger(__name__)

MAX_WAITING = 4
MAX_FINISHED = 20
"""Runs that are kept when they are over; beyond it, the oldest are forgotten, those without a
model first."""

FINISHED_SECONDS = 24 * 3600.0
"""How long they are kept."""

EVICTION_SECONDS = 600.0
"""How often it is looked whether something is too old."""

MAX_OPENED = 20
"""Bundles from elsewhere that are kept at a time."""

HELD_BYTES = 300 * 2**20
"""Photos of finished runs that are kept, for exports and for going on."""

WORKER_BYTES = 650_000_000
"""What a worker takes besides models and features: see `benchmarks/README.md`."""

COPIES_OF_BODY = 4
"""A network that is fine-tuned has its numbers, their gradients, and two averages of those; one
that is exported is there as it is, as a graph, and converted."""

JOIN_SECONDS = 5.0
FOLDER_PREFIX = "vgg-demo-runs-"
PACKAGE_PARENT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class _Task:
    """What waits for the classroom: a run, or an export of one that is done."""

    run: TrainingRun
    job: Job

    @property
    def is_open(self) -> bool:
        """Whether nobody has said yet how it ended."""
        if self.job.export is None:
            return not self.run.stage.is_over
        export = self.run.exports[self.job.export]
        return export.file is None and not export.error


class TrainingQueue:
    """The runs of one server. Safe to use from any thread.

    Args:
        settings: Where weights are.
        store: Of the server's models, which make room for a worker.
    """

    def __init__(self, settings: Settings, store: ModelStore) -> None:
        self._settings = settings
        self._store = store
        _remove_left_over()
        self._temporary = tempfile.TemporaryDirectory(
            prefix=f"{FOLDER_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True
        )
        self._folder = Path(self._temporary.name)
        self._runs: dict[str, TrainingRun] = {}
        self._lock = threading.RLock()
        self._opened: list[Path] = []
        self._tasks: list[_Task] = []  # in their order; the first may be at work
        self._changed = threading.Condition(self._lock)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run_tasks, name="classroom", daemon=True)
        self._thread.start()

    def start(
        self,
        name: str,
        backbone: str,
        feature_layer: FeatureLayer,
        recipe: Recipe,
        dataset: InspectedDataset,
    ) -> TrainingRun:
        """Begins a run, or has it wait until those before it are over.

        Args:
            name: Of the model to be.
            backbone: On whose shoulders it stands.
            feature_layer: How much of that.
            recipe: How it is taught.
            dataset: The photos.

        Raises:
            BusyError: If too many wait already.
            MemoryBudgetError: If there is not enough memory for it.
        """
        run_id = secrets.token_urlsafe(16)
        bundle = self._folder / run_id / f"{bundle_name(Path(name))}.bundle"
        job = Job(bundle, backbone, feature_layer, recipe, _with_whole_paths(self._settings))
        run = TrainingRun(run_id, job, dataset)
        self._store.check_reserve(needed_bytes(run, job))
        self.evict_expired()
        with self._lock:
            waiting = sum(other.stage is Stage.WAITING for other in self._runs.values())
            if waiting >= MAX_WAITING:
                raise BusyError(
                    f"{waiting} trainings wait already; the limit is {MAX_WAITING}. Try again "
                    "in some minutes.",
                    retry_seconds=60,
                )
            with writing(bundle.parent, "Look whether its disk is full."):
                bundle.parent.mkdir(parents=True)
            self._runs[run_id] = run
            self._queue(_Task(run, job))
        return run

    def _queue(self, task: _Task) -> None:
        with self._changed:
            self._tasks.append(task)
            self._changed.notify()

    def get(self, run_id: str) -> TrainingRun | None:
        """Returns a run by its id."""
        return self._runs.get(run_id)

    def count_ahead(self, run: TrainingRun) -> int:
        """Returns how many trainings and exports are to be over before a run that waits begins."""
        with self._lock:
            runs = [task.run for task in self._tasks if task.is_open]
            return runs.index(run) if run in runs else 0

    def resume(self, run: TrainingRun) -> None:
        """Has a model made of what a run had kept before it ended."""
        if run.requeue():
            shutil.rmtree(run.job.bundle, ignore_errors=True)  # what a worker may have half done
            self._queue(_Task(run, replace(run.job, from_checkpoint=True)))

    def export(self, run: TrainingRun, kind: ExportFormat) -> None:
        """Has a run's model written for other programs; see `TrainingRun.exports`."""
        with self._lock:
            export = run.exports.get(kind)
            if export is None or export.error:  # else it is made, or in the making
                run.exports[kind] = Export()
                self._queue(_Task(run, replace(run.job, export=kind)))

    def open_archive(self, name: str, archive: BinaryIO, most_bytes: int) -> Bundle:
        """Unpacks a bundle, maybe a stranger's, for as long as the server runs.

        Raises:
            BundleError: If it holds none.
        """
        called = bundle_name(Path(name[:-4] if name.casefold().endswith(".zip") else name))
        folder = self._folder / secrets.token_urlsafe(16) / f"{called}.bundle"
        with self._lock:
            self._opened.append(folder.parent)
            gone, self._opened = self._opened[:-MAX_OPENED], self._opened[-MAX_OPENED:]
        for old in gone:
            shutil.rmtree(old, ignore_errors=True)
        try:
            return open_bundle(unpack(archive, folder, called=name, most_model_bytes=most_bytes))
        except BundleError:
            shutil.rmtree(folder.parent, ignore_errors=True)
            raise

    def forget(self, run: TrainingRun) -> None:
        """Ends a run, and lets go of all that is left of it."""
        with self._lock:
            self._runs.pop(run.id, None)
            run.drop_photos()  # whoever still holds the run does not hold them
            is_at_work = bool(self._tasks) and self._tasks[0].run is run
            if is_at_work and self._process is not None:
                self._process.kill()  # and its folder is removed when it has ended
        run.stop()
        if not is_at_work:
            shutil.rmtree(run.job.folder, ignore_errors=True)

    def close(self) -> None:
        """Ends the worker, and lets go of everything."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
            if self._process is not None:
                self._process.kill()
        self._thread.join(JOIN_SECONDS)
        self._temporary.cleanup()

    def evict_expired(self) -> None:
        """Forgets what is old, and the photos of what is beyond `HELD_BYTES`."""
        with self._lock:
            over = [run for run in self._runs.values() if run.stage.is_over]
            over.sort(key=lambda run: (run.result is not None, run.ended), reverse=True)
            now = time.monotonic()
            gone = [
                run
                for count, run in enumerate(over)
                if count >= MAX_FINISHED or now - run.ended > FINISHED_SECONDS
            ]
            for run in gone:
                del self._runs[run.id]
            kept = [run for run in over if run.id in self._runs]
        for run in gone:
            shutil.rmtree(run.job.folder, ignore_errors=True)
        self._drop_photos(kept)

    def _drop_photos(self, newest_first: Sequence[TrainingRun]) -> None:
        """Lets go of photos, the oldest first; those of several runs are there once."""
        held: dict[str, int] = {}
        for run in newest_first:
            if run.has_photos:
                more = held | {one.sha256: one.size_bytes for one in run.dataset.photos}
                if sum(more.values()) <= HELD_BYTES:
                    held = more
                else:
                    run.drop_photos()

    def _run_tasks(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._tasks or self._is_closed, EVICTION_SECONDS)
                if self._is_closed:
                    return
                task = self._tasks[0] if self._tasks else None
            if task is None:
                self.evict_expired()
                continue
            try:
                self._work(task)
            except Exception as error:  # whatever happens, the next one has its turn
                LOG.exception("A training ended unexpectedly")
                self._fail(task, f"It ended unexpectedly ({type(error).__name__}).")
            finally:
                with self._lock:
                    self._tasks.pop(0)
                if task.run.id not in self._runs:  # it was forgotten meanwhile
                    shutil.rmtree(task.run.job.folder, ignore_errors=True)

    def _work(self, task: _Task) -> None:
        run = task.run
        photos: Sequence[InspectedPhoto] = run.dataset.photos
        if run.id not in self._runs or (task.job.export is None and not run.begin()):
            return
        if task.job.export is not None:
            if run.result is None or not run.has_photos:
                self._fail(task, "This server has let go of the photos.")
                return
            photos = [photos[place] for place in run.result.places]
        try:
            with self._store.reserve(needed_bytes(run, task.job)):
                code = self._run_worker(task, photos)
        except VggDemoError as error:
            self._fail(task, str(error))
            return
        if task.is_open and code is not None:
            how = f"signal {-code}" if code < 0 else f"status {code}"
            self._fail(
                task, f"Its process was ended from outside ({how}), perhaps for want of memory."
            )

    def _run_worker(self, task: _Task, photos: Sequence[InspectedPhoto]) -> int | None:
        """Runs a job to its end.

        Returns:
            The worker's exit status; None if the classroom was closed before there was one.
        """
        command = [sys.executable, "-m", "vgg_demo.training.jobs.worker"]
        with self._lock:
            if self._is_closed:  # and `close` has found no process to end
                return None
            with (task.job.folder / "log.txt").open("ab") as log:
                process = self._process = subprocess.Popen(  # noqa: S603  # our own program
                    command,
                    cwd=PACKAGE_PARENT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                )
        stdin, stdout = cast("BinaryIO", process.stdin), cast("BinaryIO", process.stdout)
        try:
            with suppress(OSError):  # it has ended already: its status tells
                send(stdin, task.job, photos)
                if task.job.export is None:
                    task.run.listen(stdin)
            for line in stdout:
                if line.endswith(b"\n"):  # else it was killed in the middle of it
                    self._take(task, json.loads(line))
        finally:
            task.run.listen(None)
            with suppress(OSError):
                stdin.close()  # which ends it, if it has not ended
            code = process.wait()
            stdout.close()
            with self._lock:
                self._process = None
        return code

    def _take(self, task: _Task, report: dict[str, Any]) -> None:
        if task.job.export is None:
            task.run.take(report)
        elif report["kind"] == "exported":
            facts = {name: value for name, value in report.items() if name not in ("kind", "file")}
            task.run.exports[task.job.export] = Export(Path(report["file"]), facts)
        else:
            self._fail(task, report.get("message", "It was stopped."))

    def _fail(self, task: _Task, message: str) -> None:
        if task.job.export is None:
            task.run.fail(message)
        else:
            task.run.exports[task.job.export] = Export(error=message)


def _with_whole_paths(settings: Settings) -> Settings:
    """Returns settings that hold in another working folder, too."""
    return replace(
        settings,
        weights_dir=settings.weights_dir and settings.weights_dir.absolute(),
        cache_dir=settings.cache_dir.absolute(),
        chosen_bundles_dir=settings.chosen_bundles_dir and settings.chosen_bundles_dir.absolute(),
    )


def _remove_left_over() -> None:
    """Removes what servers have left that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        owner = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def needed_bytes(run: TrainingRun, job: Job) -> int:
    """Returns about how much memory a worker takes for a job, besides what it shares."""
    spec = get_spec(job.backbone)
    body_bytes = 4 * backbone_spec(spec, job.feature_layer).parameters
    photos = WORKER_BYTES + run.dataset.size_bytes
    if job.export is not None:
        return photos + COPIES_OF_BODY * body_bytes
    features = (
        4 * len(run.dataset.photos) * job.recipe.views * feature_count(spec, job.feature_layer)
    )
    return photos + features + body_bytes * (COPIES_OF_BODY if job.recipe.tuning_epochs else 1)
