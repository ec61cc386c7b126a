"""`batch`: classify many photos into a table."""

from __future__ import annotations

import csv
import glob
import io
import os
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click

from vgg_demo.batch.pipeline import columns, flatten
from vgg_demo.batch.ray import BatchJob, classify_with_ray
from vgg_demo.cli.console import log, pluralize
from vgg_demo.cli.options import (
    models_option,
    read_settings,
    resize_option,
    top_option,
    weights_dir_option,
)
from vgg_demo.cli.outputs import OutputOptions, OutputWriter
from vgg_demo.cli.progress import (
    classify_with_progress,
    find_specs,
    is_terminal,
    open_store,
    paths_argument,
)
from vgg_demo.errors import FileUnreadableError, TableError
from vgg_demo.files.printable import printable
from vgg_demo.files.result_tables import Row, open_table, read_rows_to_resume
from vgg_demo.files.sources import Source, count_photos, find_photos
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec
from vgg_demo.reports.annotate import downscale

Key = tuple[str, str]
"""Name of a photo and name of a model."""


@dataclass(slots=True)
class FinishedRows:
    """Rows that the table of an earlier run already contains.

    Attributes:
        counts: Number of rows per photo and model; an archive may contain a name twice.
        top_predictions: SHA-256 and top class of each photo, as predicted by the first model.
    """

    counts: Counter[Key] = field(default_factory=Counter)
    top_predictions: dict[str, tuple[str, str]] = field(default_factory=dict)

    def consume(self, file: str, model: str) -> bool:
        """Uses up one row of a photo and model; returns whether there was one."""
        if not self.counts[file, model]:
            return False
        self.counts[file, model] -= 1
        return True


@click.command("batch", epilog="Example: vgg-demo batch photos/ more.zip --out results.csv")
@paths_argument
@models_option
@click.option(
    "--out",
    metavar="FILE",
    help="Table to write: .csv, .jsonl or .parquet. Default: CSV on stdout.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Table of an earlier run to complete. Photos that it contains are skipped.",
)
@click.option(
    "--annotate",
    "annotate_dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save each photo as a PNG in this folder, with the top prediction drawn on it.",
)
@click.option(
    "--sort-into",
    "sort_dir",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Copy each photo into a subfolder of DIR named after its top prediction (by the first "
    "model).",
)
@click.option(
    "--move", is_flag=True, help="With --sort-into: move the photos instead of copying them."
)
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Run on this machine or on a Ray cluster. Ray reads files and folders, including "
    "s3://…, and writes a folder of Parquet files.",
)
@click.option(
    "--ray-address",
    metavar="ADDRESS",
    help="With Ray: address of the cluster; 'auto' for the cluster of this machine. Default: "
    "start a cluster on this machine for this run.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="With Ray: number of actors, each with one CPU. Default: one less than the number of "
    "CPUs.",
)
@top_option
@resize_option
@weights_dir_option
def batch_command(
    paths: tuple[str, ...],
    models: tuple[str, ...],
    out: str | None,
    resume: Path | None,
    annotate_dir: Path | None,
    sort_dir: Path | None,
    move: bool,
    engine: str,
    ray_address: str | None,
    concurrency: int | None,
    top: int,
    resize: str,
    weights_dir: str | None,
) -> None:
    """Classify many photos into a table.

    PATHS are photos, folders (searched recursively), archives (.zip, .tar, .tar.gz …) and glob
    patterns.

    The table has one row per photo and model, in the order of the photos. A photo that cannot
    be used gets a row with the error.
    """
    table = Path(out) if out else resume
    options = OutputOptions(annotate_dir, sort_dir, move, is_resumed=resume is not None)
    _check_usage(out, table, resume, options, engine, has_cluster=bool(ray_address or concurrency))
    settings = read_settings(weights_dir)
    specs = find_specs(models, settings)
    if engine == "ray":
        job = BatchJob(tuple(spec.name for spec in specs), Resize(resize), top, settings)
        _run_on_ray(paths, str(out), job, ray_address, concurrency)
        return
    _check_paths(paths)
    finished = (
        _read_finished_rows(resume, columns(top), specs, resize) if resume else FinishedRows()
    )
    outputs = OutputWriter(options, paths)
    store = open_store(specs, settings)  # raises errors before anything is written
    counts, started = Counter[str](), time.monotonic()

    # For each pending photo, in order: the models that have no row in the table yet.
    pending: deque[set[str]] = deque()

    def pending_photos() -> Iterator[Source]:
        for source in find_photos(paths, settings.limits):
            name = printable(source.name)
            missing = {spec.name for spec in specs if not finished.consume(name, spec.name)}
            if not missing:
                counts["skipped"] += 1
                prediction = finished.top_predictions.get(name, ("", ""))
                counts["unsaved"] += not outputs.sort(source, *prediction)
            elif not outputs.is_own_output(source):
                pending.append(missing)
                yield source

    total = _count_pending(paths, finished) if is_terminal() else None
    extract = downscale if annotate_dir else None
    with _open_output(table, columns(top), resume is not None) as write:
        rows = classify_with_progress(
            pending_photos(), specs, store, settings, resize, total=total, extract=extract
        )
        try:
            for row in rows:
                counts["photos"] += 1
                counts["failed"] += row.failure is not None
                is_saved, missing = outputs.save_annotated(row), pending.popleft()
                for flat in flatten(row, specs, top):
                    if flat["model"] in missing:
                        write(flat)
                # Sort after writing the row, so that the table lists every moved photo.
                is_sorted = not row.results or outputs.sort(
                    row.source, row.results[0].sha256, row.results[0].predictions(1)[0].label
                )
                counts["unsaved"] += not (is_saved and is_sorted)
        except KeyboardInterrupt:
            advice = f" Resume with --resume {table}." if table else ""
            log(f"Stopped after {pluralize(counts['photos'], 'photo')}.{advice}")
            sys.exit(130)
    _log_counts(counts, time.monotonic() - started)
    sys.exit(1 if counts["failed"] or counts["unsaved"] else 0)


def _check_usage(
    out: str | None,
    table: Path | None,
    resume: Path | None,
    options: OutputOptions,
    engine: str,
    *,
    has_cluster: bool,
) -> None:
    """Raises `click.UsageError` if options contradict each other."""
    if out and resume:
        raise click.UsageError("Use either --out or --resume, not both.")
    if options.move and not options.sort_dir:
        raise click.UsageError("--move requires --sort-into.")
    if options.move and table is not None and table.suffix.casefold() == ".parquet":
        raise click.UsageError(
            "--move requires a .csv or .jsonl table: an interrupted Parquet file cannot be read, "
            "so nothing would record where the moved photos came from."
        )
    writes_photos = options.annotate_dir or options.sort_dir
    if engine == "ray" and (not out or not out.endswith(".parquet") or writes_photos):
        raise click.UsageError(
            "--engine ray requires --out FOLDER.parquet and does not support --resume, "
            "--annotate or --sort-into."
        )
    if engine != "ray" and has_cluster:
        raise click.UsageError("--ray-address and --concurrency require --engine ray.")


def _check_paths(paths: Sequence[str]) -> None:
    """Raises an error if no path exists, so that no table with errors only is written."""
    if not any(glob.has_magic(path) or os.path.lexists(path) for path in paths):
        first_paths = ", ".join(repr(path) for path in paths[:3])
        raise FileUnreadableError(f"No such file or folder: {first_paths}. Check the paths.")


def _log_counts(counts: Counter[str], seconds: float) -> None:
    log(
        f"{pluralize(counts['photos'], 'photo')} in {seconds:,.1f} s"
        + (f", {counts['failed']:,} failed" if counts["failed"] else "")
        + (f", {counts['unsaved']:,} not saved or sorted" if counts["unsaved"] else "")
        + (f", {counts['skipped']:,} skipped" if counts["skipped"] else "")
        + "."
    )


def _count_pending(paths: Sequence[str], finished: FinishedRows) -> int | None:
    total = count_photos(paths)
    return None if total is None else max(0, total - len({file for file, _ in finished.counts}))


def _run_on_ray(
    paths: Sequence[str], out: str, job: BatchJob, address: str | None, concurrency: int | None
) -> None:
    started = time.monotonic()
    if "://" not in out and Path(out).exists():
        raise TableError(f"{out!r} already exists. Choose another name.")
    locations = [path if "://" in path else str(Path(path).resolve()) for path in paths]
    target = out if "://" in out else str(Path(out).resolve())
    written = classify_with_ray(locations, target, job, address=address, concurrency=concurrency)
    log(
        f"{pluralize(written.rows, 'row')} in {time.monotonic() - started:,.1f} s"
        + (f", {written.failed:,} with an error" if written.failed else "")
        + "."
    )
    sys.exit(1 if written.failed else 0)


def _read_finished_rows(
    table: Path, column_names: Sequence[str], specs: Sequence[ModelSpec], resize: str
) -> FinishedRows:
    """Reads the table of an earlier run.

    Raises:
        TableError: If the table was made with another resize method or another model.
    """
    finished, names = FinishedRows(), [spec.name for spec in specs]
    for row in read_rows_to_resume(table, column_names):
        for option, used, chosen in (
            ("--resize", row["resize"], [resize]),
            ("--model", row["model"], names),
        ):
            if used and used not in chosen:
                raise TableError(
                    f"{str(table)!r} was made with {option} {used}, not {' and '.join(chosen)}. "
                    "Use the same option, or start a new table."
                )
        finished.counts[row["file"], row["model"]] += 1
        if row["model"] == names[0] and row["sha256"]:
            finished.top_predictions[row["file"]] = (row["sha256"], row["label_1"])
    return finished


@contextmanager
def _open_output(
    path: Path | None, column_names: Sequence[str], resume: bool
) -> Iterator[Callable[[Row], None]]:
    """Opens the table, or CSV on stdout without a path; yields a function that writes a row."""
    if path is not None:
        with open_table(path, column_names, resume=resume) as write:
            yield write
        return

    def print_row(row: Row) -> None:
        line = io.StringIO()
        csv.DictWriter(line, column_names, lineterminator="\n").writerow(row)
        click.echo(line.getvalue(), nl=False)

    print_row({name: name for name in column_names})
    yield print_row
