"""The same batch on many machines, with Ray Data.

Ray is an optional extra (``requirements-ray.txt``); it is imported inside the functions that
need it.
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
from vgg_demo.inference.store import ModelStore
from vgg_demo.limits import ImageLimits
from vgg_demo.models.catalog import find_spec
from vgg_demo.models.preprocess import Resize
from vgg_demo.settings import Settings

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
        memory.prepare_process()
        self._work = work
        self._specs = [find_spec(name, work.settings.bundles_dir) for name in work.models]
        self._store = ModelStore(work.settings)
        for spec in self._specs:  # an error now says more than one in the middle
            with self._store.use(spec):
                pass

    def __call__(self, table: Any) -> Any:
        """Turns a `pyarrow.Table` of ``path`` (and ``bytes``, if they were read) into rows."""
        import pyarrow

        limits, top = self._work.settings.limits, self._work.top
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
            sources, self._specs, self._store, resize=self._work.resize, limits=limits
        )
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

    The rows are those of `batch.flatten`, in the order of `find_photos`, over files whose names
    sort so. What a machine had not finished when it was lost is done again by another; nothing is
    written twice.

    Args:
        paths: Files, folders and patterns on a disk that every machine sees under the same
            name; or files and folders elsewhere, such as ``s3://…``.
        out: Folder for the files, likewise. It must not be there yet.
        work: What is asked.
        address: Of the cluster; None for one on this machine, for this run.
        concurrency: Actors, of one CPU each; None for one less than the cluster has CPUs.

    Raises:
        ClusterError: If Ray is not installed, the cluster is too small or cannot be reached,
            or the work fails.
    """
    ray = _import_ray()
    _check_places(paths)
    try:
        ray.init(
            address=address,
            runtime_env={
                "py_modules": [str(Path(__file__).parents[1])],
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
    except (ray.exceptions.RayError, OSError, ValueError) as error:
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


def _is_elsewhere(path: str) -> bool:
    """Whether something is not on a disk but at an address, such as ``s3://…``."""
    return "://" in path


def _check_places(paths: Sequence[str]) -> None:
    """Makes sure that photos are either on disks or elsewhere, and not in archives."""
    if len(set(map(_is_elsewhere, paths))) > 1 or any(map(is_archive, paths)):
        raise ClusterError(
            "On a cluster, photos are named either by paths or by addresses such as s3://…, and "
            "not in archives. Unpack archives first, and run once for each kind of place."
        )


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
    machines = len([node for node in ray.nodes() if node["Alive"]])
    together = math.ceil(actors / machines)  # actors that share a machine's memory
    settings = replace(work.settings, memory_bytes=work.settings.memory_bytes // together)
    ray.data.DataContext.get_current().execution_options.preserve_order = True
    _photos(ray, paths, settings.limits).map_batches(
        Classifier,
        fn_constructor_args=(replace(work, settings=settings),),
        batch_format="pyarrow",
        batch_size=PHOTOS_AT_ONCE,
        concurrency=actors,
        num_cpus=1,
    ).write_parquet(out)


def _photos(ray: Any, paths: Sequence[str], limits: ImageLimits) -> Any:
    """Returns the photos as a dataset: on disks by their paths, elsewhere with their bytes."""
    if _is_elsewhere(paths[0]):
        return ray.data.read_binary_files(
            list(paths), include_paths=True, file_extensions=list(SUFFIXES)
        )
    names = [{"path": source.name} for source in find_photos(paths, limits)]
    blocks = math.ceil(len(names) / PHOTOS_AT_ONCE)
    return ray.data.from_items(names, override_num_blocks=blocks)


def _count(out: str) -> Written:
    from pyarrow import compute, dataset

    table = dataset.dataset(out, format="parquet")
    return Written(
        rows=table.count_rows(),
        failed=table.count_rows(filter=compute.field("error").is_valid()),
    )
