"""The training queue of a server: one job at a time, each in a worker process of its own.

Anyone with the secret ID of a run can access it. A run continues while no browser is connected.
If a worker is killed, only the work since its last checkpoint is lost.
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
from vgg_demo.files.writing import report_write_errors
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.bundle import Bundle, bundle_name, open_bundle
from vgg_demo.models.bundle_archive import unpack
from vgg_demo.models.custom import FeatureLayer
from vgg_demo.models.registry import backbone_spec, feature_count, get_spec
from vgg_demo.settings import Settings
from vgg_demo.training.inspection import InspectedPhoto
from vgg_demo.training.jobs.job import Job, send
from vgg_demo.training.jobs.training_run import Export, Stage, TrainingRun
from vgg_demo.training.recipe import ExportFormat, Recipe
from vgg_demo.training.records import InspectedDataset

LOG = logging.getLogger(__name__)

MAX_WAITING = 4
"""Runs that may wait in the queue."""

MAX_FINISHED = 20
"""Finished runs that are retained. Beyond this number, runs without a model are evicted first, then
the oldest."""

FINISHED_SECONDS = 24 * 3600.0
"""Time after which a finished run is evicted."""

EVICTION_SECONDS = 600.0
"""Interval between checks for expired runs while the queue is idle."""

MAX_OPENED_BUNDLES = 20
"""Uploaded bundles that are retained; beyond this number, the oldest are removed."""

MAX_PHOTO_BYTES = 300 * 2**20
"""Total size of the photos of finished runs, which are retained for exports and for resuming."""

WORKER_BYTES = 650_000_000
"""Memory of a worker without models and features; see `benchmarks/README.md`."""

BACKBONE_COPIES = 4
"""Copies of the backbone's weights in memory. Fine-tuning holds weights, gradients and Adam's two
moments; an export holds the model, its graph and the converted model."""

JOIN_SECONDS = 5.0
FOLDER_PREFIX = "vgg-demo-runs-"
PACKAGE_PARENT = Path(__file__).parents[3]


@dataclass(frozen=True, slots=True)
class _Task:
    """An entry of the queue: the training of a run, or an export of its model."""

    run: TrainingRun
    job: Job

    @property
    def is_open(self) -> bool:
        """Whether the task has neither succeeded nor failed."""
        if self.job.export is None:
            return not self.run.stage.is_over
        export = self.run.exports[self.job.export]
        return export.file is None and not export.error


class TrainingQueue:
    """Runs the training jobs of a server. All methods are thread-safe.

    Args:
        settings: Location of weight files, and limits.
        store: The server's model store; it reserves memory for the worker.
    """

    def __init__(self, settings: Settings, store: ModelStore) -> None:
        self._settings = settings
        self._store = store
        _remove_stale_folders()
        self._temporary = tempfile.TemporaryDirectory(
            prefix=f"{FOLDER_PREFIX}{os.getpid()}-", ignore_cleanup_errors=True
        )
        self._folder = Path(self._temporary.name)
        self._runs: dict[str, TrainingRun] = {}
        self._lock = threading.RLock()
        self._opened: list[Path] = []
        self._tasks: list[_Task] = []  # in order; the first may be running
        self._changed = threading.Condition(self._lock)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._thread = threading.Thread(target=self._run_tasks, name="training-queue", daemon=True)
        self._thread.start()

    def start(
        self,
        name: str,
        backbone: str,
        feature_layer: FeatureLayer,
        recipe: Recipe,
        dataset: InspectedDataset,
    ) -> TrainingRun:
        """Adds a run to the queue; the run starts at once if the queue is empty.

        Args:
            name: Name of the new model.
            backbone: Name of the pretrained model.
            feature_layer: Layer of the backbone that provides the features.
            recipe: Hyperparameters.
            dataset: The photos.

        Raises:
            BusyError: If `MAX_WAITING` runs are waiting.
            MemoryBudgetError: If the memory limit is too low for the training.
            FileUnwritableError: If the run's folder cannot be created.
        """
        run_id = secrets.token_urlsafe(16)
        bundle = self._folder / run_id / f"{bundle_name(Path(name))}.bundle"
        job = Job(bundle, backbone, feature_layer, recipe, _with_absolute_paths(self._settings))
        run = TrainingRun(run_id, job, dataset)
        self._store.check_reserve(needed_bytes(run, job))
        self.evict_expired()
        with self._lock:
            waiting = sum(other.stage is Stage.WAITING for other in self._runs.values())
            if waiting >= MAX_WAITING:
                raise BusyError(
                    f"The training queue is full: {waiting} of at most {MAX_WAITING} runs are "
                    "waiting. Try again in a few minutes.",
                    retry_seconds=60,
                )
            with report_write_errors(bundle.parent, "Check that the disk is not full."):
                bundle.parent.mkdir(parents=True)
            self._runs[run_id] = run
            self._enqueue(_Task(run, job))
        return run

    def _enqueue(self, task: _Task) -> None:
        with self._changed:
            self._tasks.append(task)
            self._changed.notify()

    def get(self, run_id: str) -> TrainingRun | None:
        """Returns the run with this ID, or None if there is none."""
        return self._runs.get(run_id)

    def count_ahead(self, run: TrainingRun) -> int:
        """Returns the number of training runs and exports ahead of a waiting run."""
        with self._lock:
            runs = [task.run for task in self._tasks if task.is_open]
            return runs.index(run) if run in runs else 0

    def resume(self, run: TrainingRun) -> None:
        """Builds a model from the checkpoint of a run that ended without one."""
        if run.requeue():
            shutil.rmtree(run.job.bundle, ignore_errors=True)  # may be incomplete
            self._enqueue(_Task(run, replace(run.job, from_checkpoint=True)))

    def export(self, run: TrainingRun, export_format: ExportFormat) -> None:
        """Exports a run's model; the result appears in `TrainingRun.exports`."""
        with self._lock:
            export = run.exports.get(export_format)
            if export is None or export.error:  # neither finished nor in progress
                run.exports[export_format] = Export()
                self._enqueue(_Task(run, replace(run.job, export=export_format)))

    def open_archive(self, name: str, archive: BinaryIO, max_model_bytes: int) -> Bundle:
        """Unpacks an untrusted bundle.

        It is available until the server stops or `MAX_OPENED_BUNDLES` newer ones were opened.

        Args:
            name: File name of the archive.
            archive: The ZIP archive.
            max_model_bytes: Largest accepted size of the model file.

        Raises:
            BundleError: If the archive contains no valid bundle.
        """
        stem = bundle_name(Path(name[:-4] if name.casefold().endswith(".zip") else name))
        folder = self._folder / secrets.token_urlsafe(16) / f"{stem}.bundle"
        with self._lock:
            self._opened.append(folder.parent)
            evicted = self._opened[:-MAX_OPENED_BUNDLES]
            self._opened = self._opened[-MAX_OPENED_BUNDLES:]
        for old in evicted:
            shutil.rmtree(old, ignore_errors=True)
        try:
            return open_bundle(
                unpack(archive, folder, archive_name=name, max_model_bytes=max_model_bytes)
            )
        except BundleError:
            shutil.rmtree(folder.parent, ignore_errors=True)
            raise

    def delete(self, run: TrainingRun) -> None:
        """Stops a run and deletes its model, files and photos."""
        with self._lock:
            self._runs.pop(run.id, None)
            run.release_photos()  # other references to the run must not keep them in memory
            is_running = bool(self._tasks) and self._tasks[0].run is run
            if is_running and self._process is not None:
                self._process.kill()  # its folder is removed once it has exited
        run.stop()
        if not is_running:
            shutil.rmtree(run.job.folder, ignore_errors=True)

    def close(self) -> None:
        """Kills the worker and deletes all runs."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()
            if self._process is not None:
                self._process.kill()
        self._thread.join(JOIN_SECONDS)
        self._temporary.cleanup()

    def evict_expired(self) -> None:
        """Evicts old finished runs, and releases photos beyond `MAX_PHOTO_BYTES`."""
        with self._lock:
            finished = [run for run in self._runs.values() if run.stage.is_over]
            finished.sort(key=lambda run: (run.result is not None, run.ended_at), reverse=True)
            now = time.monotonic()
            expired = [
                run
                for rank, run in enumerate(finished)
                if rank >= MAX_FINISHED or now - run.ended_at > FINISHED_SECONDS
            ]
            for run in expired:
                del self._runs[run.id]
            retained = [run for run in finished if run.id in self._runs]
        for run in expired:
            shutil.rmtree(run.job.folder, ignore_errors=True)
        self._release_photos(retained)

    def _release_photos(self, newest_first: Sequence[TrainingRun]) -> None:
        """Releases the photos of the oldest runs; photos that runs share count once."""
        sizes: dict[str, int] = {}
        for run in newest_first:
            if run.has_photos:
                combined = sizes | {photo.sha256: photo.size_bytes for photo in run.dataset.photos}
                if sum(combined.values()) <= MAX_PHOTO_BYTES:
                    sizes = combined
                else:
                    run.release_photos()

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
                self._run_task(task)
            except Exception as error:  # an error must not stop the queue
                LOG.exception("A training job failed unexpectedly")
                self._fail(task, f"The job failed unexpectedly ({type(error).__name__}).")
            finally:
                with self._lock:
                    self._tasks.pop(0)
                if task.run.id not in self._runs:  # deleted in the meantime
                    shutil.rmtree(task.run.job.folder, ignore_errors=True)

    def _run_task(self, task: _Task) -> None:
        run = task.run
        photos: Sequence[InspectedPhoto] = run.dataset.photos
        if run.id not in self._runs or (task.job.export is None and not run.try_start()):
            return
        if task.job.export is not None:
            if run.result is None or not run.has_photos:
                self._fail(task, "The photos of this run are no longer on the server.")
                return
            photos = [photos[index] for index in run.result.indices]
        try:
            with self._store.reserve(needed_bytes(run, task.job)):
                code = self._run_worker(task, photos)
        except VggDemoError as error:
            self._fail(task, str(error))
            return
        if task.is_open and code is not None:
            status = f"signal {-code}" if code < 0 else f"status {code}"
            self._fail(
                task, f"The worker process was terminated ({status}), possibly for lack of memory."
            )

    def _run_worker(self, task: _Task, photos: Sequence[InspectedPhoto]) -> int | None:
        """Runs a job in a worker process until it exits.

        Returns:
            The exit status of the worker; None if the queue was closed before it started.
        """
        command = [sys.executable, "-m", "vgg_demo.training.jobs.worker"]
        with self._lock:
            if self._is_closed:  # `close` found no process to kill
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
            with suppress(OSError):  # the worker has already exited; its status is checked below
                send(stdin, task.job, photos)
                if task.job.export is None:
                    task.run.connect(stdin)
            for line in stdout:
                if line.endswith(b"\n"):  # incomplete if the worker was killed while writing
                    self._handle_report(task, json.loads(line))
        finally:
            task.run.connect(None)
            with suppress(OSError):
                stdin.close()  # a running worker then exits
            code = process.wait()
            stdout.close()
            with self._lock:
                self._process = None
        return code

    def _handle_report(self, task: _Task, report: dict[str, Any]) -> None:
        if task.job.export is None:
            task.run.update(report)
        elif report["kind"] == "exported":
            metrics = {
                name: value for name, value in report.items() if name not in ("kind", "file")
            }
            task.run.exports[task.job.export] = Export(Path(report["file"]), metrics)
        else:
            self._fail(task, report.get("message", "The export was stopped."))

    def _fail(self, task: _Task, message: str) -> None:
        if task.job.export is None:
            task.run.fail(message)
        else:
            task.run.exports[task.job.export] = Export(error=message)


def _with_absolute_paths(settings: Settings) -> Settings:
    """Returns settings that are valid in any working directory."""
    return replace(
        settings,
        weights_dir=settings.weights_dir and settings.weights_dir.absolute(),
        cache_dir=settings.cache_dir.absolute(),
        chosen_bundles_dir=settings.chosen_bundles_dir and settings.chosen_bundles_dir.absolute(),
    )


def _remove_stale_folders() -> None:
    """Removes the temporary folders of servers that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        owner = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        if owner.isdecimal() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def needed_bytes(run: TrainingRun, job: Job) -> int:
    """Estimates the memory that a worker needs for a job and does not share with the server."""
    spec = get_spec(job.backbone)
    backbone_bytes = 4 * backbone_spec(spec, job.feature_layer).parameters
    base_bytes = WORKER_BYTES + run.dataset.size_bytes
    if job.export is not None:
        return base_bytes + BACKBONE_COPIES * backbone_bytes
    features_bytes = (
        4 * len(run.dataset.photos) * job.recipe.views * feature_count(spec, job.feature_layer)
    )
    copies = BACKBONE_COPIES if job.recipe.fine_tuning_epochs else 1
    return base_bytes + features_bytes + copies * backbone_bytes
