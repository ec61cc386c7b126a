"""The same batch on many machines, with Ray Data.

Ray is an optional extra (``requirements-ray.txt``); it is imported inside the functions that
need it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vgg_demo.batch import classify_all, columns, flatten
from vgg_demo.errors import ClusterError
from vgg_demo.images import SUFFIXES
from vgg_demo.preprocess import Resize
from vgg_demo.registry import get_spec
from vgg_demo.settings import Settings
from vgg_demo.sources import Source
from vgg_demo.store import ModelStore
from vgg_demo.tables import arrow_schema

PHOTOS_AT_ONCE = 32
"""Photos that an actor is given at a time."""

READER_CPUS = 1
"""What is left to those that read and write. With none Ray's readers wait for the actors, the
actors for photos, and the job for ever."""


@dataclass(frozen=True, slots=True)
class Work:
    """What is asked about each photo.

    Attributes:
        models: Names.
        resize: How photos are made square.
        top: How many answers a row holds.
        settings: Where weights are, on each machine.
    """

    models: tuple[str, ...]
    resize: Resize
    top: int
    settings: Settings


@dataclass(frozen=True, slots=True)
class Written:
    """What came of it.

    Attributes:
        rows: How many rows were written.
        failed: How many of them say why a photo could not be used.
    """

    rows: int
    failed: int


class Classifier:
    """An actor: loads the models once, then answers batch after batch."""

    def __init__(self, work: Work) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
        self._work = work
        self._specs = [get_spec(name) for name in work.models]
        self._store = ModelStore(work.settings)
        for spec in self._specs:  # an error now says more than one in the middle
            with self._store.use(spec):
                pass

    def __call__(self, table: Any) -> Any:
        """Turns a `pyarrow.Table` of ``path`` and ``bytes`` into one of rows."""
        import pyarrow

        sources = [
            Source(path, partial(bytes, data))
            for path, data in zip(
                table["path"].to_pylist(), table["bytes"].to_pylist(), strict=True
            )
        ]
        rows = classify_all(
            sources,
            self._specs,
            self._store,
            policy=self._work.resize,
            limits=self._work.settings.limits,
        )
        top = self._work.top
        flat = [found for row in rows for found in flatten(row, self._specs, top)]
        return pyarrow.Table.from_pylist(flat, arrow_schema(columns(top)))


def classify_with_ray(
    paths: Sequence[str],
    out: str,
    work: Work,
    *,
    address: str | None = None,
    concurrency: int | None = None,
) -> Written:
    """Asks models about photos on a Ray cluster, and writes a folder of Parquet files.

    The rows are those of `batch.flatten`, in the order of the paths. What a machine had not
    finished when it was lost is done again by another; nothing is written twice.

    Args:
        paths: Files and folders that every machine can read: on a shared disk, or
            ``s3://…`` and the like.
        out: Folder for the files, likewise. It must not be there yet.
        work: What is asked.
        address: Of the cluster; None for one on this machine, for this run.
        concurrency: Actors, of one CPU each; None for one less than the cluster has CPUs.

    Raises:
        ClusterError: If Ray is not installed, the cluster is too small or cannot be reached,
            or the work fails.
    """
    ray = _import_ray()
    try:
        ray.init(
            address=address,
            runtime_env={
                "py_modules": [str(Path(__file__).parent)],
                # An actor has one CPU; TensorFlow would take all of the machine.
                "env_vars": {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"},
            },
            log_to_driver=False,
        )
    except (ConnectionError, ValueError, OSError) as error:
        raise ClusterError(f"Cannot reach the Ray cluster at {address!r}: {error}") from error
    try:
        actors = _check_size(ray, concurrency)
        _run(ray, paths, out, work, actors)
    except ray.exceptions.RayError as error:
        last = str(error).strip().splitlines()[-1]
        raise ClusterError(f"The work on the Ray cluster failed: {last}") from error
    finally:
        ray.shutdown()
    return _count(out)


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


def _check_size(ray: Any, concurrency: int | None) -> int:
    """Returns how many actors there are to be, so that something is left for the readers."""
    cpus = int(ray.cluster_resources().get("CPU", 0))
    most = cpus - READER_CPUS
    if (concurrency or 1) > most:
        raise ClusterError(
            f"{concurrency or 1} actors and a reader need {(concurrency or 1) + READER_CPUS} CPUs; "
            f"the cluster has {cpus}. "
            + (f"Use --concurrency {most}, or a larger cluster." if most else "Add machines.")
        )
    return concurrency or most


def _run(ray: Any, paths: Sequence[str], out: str, work: Work, actors: int) -> None:
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = True
    photos = ray.data.read_binary_files(
        list(paths), include_paths=True, file_extensions=_suffixes(paths)
    )
    photos.map_batches(
        Classifier,
        fn_constructor_args=(work,),
        batch_format="pyarrow",
        batch_size=PHOTOS_AT_ONCE,
        concurrency=actors,
        num_cpus=1,
    ).write_parquet(out)


def _suffixes(paths: Sequence[str]) -> list[str]:
    """Returns the endings of photos, and of files that were named themselves."""
    named = {Path(path).suffix[1:] for path in paths}
    return [*SUFFIXES, *(suffix for suffix in named if suffix and suffix not in SUFFIXES)]


def _count(out: str) -> Written:
    from pyarrow import compute, dataset

    table = dataset.dataset(out, format="parquet")
    return Written(
        rows=table.count_rows(),
        failed=table.count_rows(filter=compute.field("error").is_valid()),
    )
