"""Batch classification on many machines, with Ray Data.

Ray is an optional dependency (``requirements-ray.txt``); the functions that need it import it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vgg_demo import memory
from vgg_demo.batch.pipeline import classify_photos, columns, flatten
from vgg_demo.errors import ClusterError
from vgg_demo.files.archives import is_archive
from vgg_demo.files.result_tables import arrow_schema
from vgg_demo.files.sources import Source, find_photos
from vgg_demo.images.decode import SUFFIXES, read_file
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.limits import ImageLimits
from vgg_demo.models.lookup import find_spec
from vgg_demo.models.preprocess import Resize
from vgg_demo.settings import Settings

ACTOR_BATCH_SIZE = 32
"""Photos per call of an actor."""

READER_CPUS = 1
"""CPUs left for reading and writing. Without any, Ray deadlocks: its readers wait for CPUs that the
actors occupy, and the actors wait for photos."""


@dataclass(frozen=True, slots=True)
class BatchJob:
    """The options of a batch job.

    Attributes:
        models: Names of the models.
        resize: How photos are made square.
        top: Number of predictions per row.
        settings: Settings of each machine, such as the folder of the weights.
    """

    models: tuple[str, ...]
    resize: Resize
    top: int
    settings: Settings


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """The outcome of a batch job.

    Attributes:
        rows: Number of rows written.
        failed: Number of rows of photos that could not be used.
    """

    rows: int
    failed: int


class Classifier:
    """A Ray actor: loads the models once, then classifies batch after batch."""

    def __init__(self, job: BatchJob) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        memory.prepare_process()
        self._job = job
        self._specs = [find_spec(name, job.settings.bundles_dir) for name in job.models]
        self._store = ModelStore(job.settings)
        for spec in self._specs:  # fail at the start rather than halfway through
            with self._store.use(spec):
                pass

    def __call__(self, table: Any) -> Any:
        """Classifies a batch.

        Args:
            table: `pyarrow.Table` with the column ``path``, and ``bytes`` if the photos were read.

        Returns:
            `pyarrow.Table` of result rows.
        """
        import pyarrow

        limits, top = self._job.settings.limits, self._job.top
        paths = table["path"].to_pylist()
        if "bytes" in table.column_names:
            contents = table["bytes"].to_pylist()
            sources = [
                Source(path, partial(bytes, data))
                for path, data in zip(paths, contents, strict=True)
            ]
        else:
            sources = [Source(path, partial(read_file, path, limits)) for path in paths]
        rows = classify_photos(
            sources, self._specs, self._store, resize=self._job.resize, limits=limits
        )
        flat_rows = [flat for row in rows for flat in flatten(row, self._specs, top)]
        return pyarrow.Table.from_pylist(flat_rows, arrow_schema(columns(top)))


def classify_with_ray(
    paths: Sequence[str],
    out: str,
    job: BatchJob,
    *,
    address: str | None = None,
    concurrency: int | None = None,
) -> BatchSummary:
    """Classifies photos on a Ray cluster and writes a folder of Parquet files.

    The rows are those of `pipeline.flatten`, in the order of `find_photos`, in files whose names
    sort in that order. If a machine is lost, another one repeats its unfinished work; no row is
    written twice.

    Args:
        paths: Files, folders and patterns on a disk that every machine mounts under the same
            path; or files and folders in remote storage, such as ``s3://…``.
        out: Output folder, likewise. It must not exist yet.
        job: Models and options.
        address: Address of the cluster; None starts a local one for this run.
        concurrency: Number of actors, one CPU each; None uses all CPUs of the cluster but one.

    Raises:
        ClusterError: If Ray is not installed, the cluster is too small or unreachable, or the
            job fails.
    """
    ray = _import_ray()
    _check_paths(paths)
    try:
        ray.init(
            address=address,
            runtime_env={
                "py_modules": [str(Path(__file__).parents[1])],
                # An actor has one CPU; TensorFlow would use all CPUs of the machine.
                "env_vars": {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
            },
            log_to_driver=False,
        )
    except (ConnectionError, ValueError, OSError) as error:
        raise ClusterError(f"Cannot reach the Ray cluster at {address!r}: {error}") from error
    try:
        actors = _actor_count(ray, concurrency)
        _run(ray, paths, out, job, actors)
    except (ray.exceptions.RayError, OSError, ValueError) as error:
        last_line = str(error).strip().splitlines()[-1]
        raise ClusterError(f"The job on the Ray cluster failed: {last_line}") from error
    finally:
        ray.shutdown()
    return _summarize(out)


def _import_ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ClusterError(
            "Ray is not installed. Install it: pip install -r requirements-ray.txt "
            "(on each machine of the cluster)."
        ) from error
    return ray


def _is_remote(path: str) -> bool:
    """Whether a path is an address in remote storage, such as ``s3://…``."""
    return "://" in path


def _check_paths(paths: Sequence[str]) -> None:
    """Checks that the paths are either all local or all remote, and that none is an archive."""
    if len(set(map(_is_remote, paths))) > 1 or any(map(is_archive, paths)):
        raise ClusterError(
            "On a cluster, all photos must be either local paths or remote addresses such as "
            "s3://…; archives are not supported. Unpack archives first, and start one job for "
            "local paths and one for remote addresses."
        )


def _actor_count(ray: Any, concurrency: int | None) -> int:
    """Returns the number of actors; `READER_CPUS` stay free."""
    cpus = int(ray.cluster_resources().get("CPU", 0))
    max_actors = cpus - READER_CPUS
    if (concurrency or 1) > max_actors:
        raise ClusterError(
            f"{concurrency or 1} actors and a reader need {(concurrency or 1) + READER_CPUS} CPUs; "
            f"the cluster has {cpus}. "
            + (
                f"Use --concurrency {max_actors}, or a larger cluster."
                if max_actors
                else "Add machines."
            )
        )
    return concurrency or max_actors


def _run(ray: Any, paths: Sequence[str], out: str, job: BatchJob, actors: int) -> None:
    machines = len([node for node in ray.nodes() if node["Alive"]])
    actors_per_machine = math.ceil(actors / machines)  # they share its memory
    memory_bytes = job.settings.memory_bytes // actors_per_machine
    settings = replace(job.settings, memory_bytes=memory_bytes)
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    _photos(ray, paths, settings.limits).map_batches(
        Classifier,
        fn_constructor_args=(replace(job, settings=settings),),
        batch_format="pyarrow",
        batch_size=ACTOR_BATCH_SIZE,
        concurrency=actors,
        num_cpus=1,
    ).write_parquet(out)


def _photos(ray: Any, paths: Sequence[str], limits: ImageLimits) -> Any:
    """Returns the photos as a Ray dataset: local ones as paths, remote ones with their bytes."""
    if _is_remote(paths[0]):
        return ray.data.read_binary_files(
            list(paths), include_paths=True, file_extensions=list(SUFFIXES)
        )
    names = [{"path": source.name} for source in find_photos(paths, limits)]
    blocks = math.ceil(len(names) / ACTOR_BATCH_SIZE)
    return ray.data.from_items(names, override_num_blocks=blocks)


def _summarize(out: str) -> BatchSummary:
    from pyarrow import compute, dataset

    table = dataset.dataset(out, format="parquet")
    return BatchSummary(
        rows=table.count_rows(),
        failed=table.count_rows(filter=compute.field("error").is_valid()),
    )
