"""`batch`: what is on many photos, as a table."""

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
from vgg_demo.batch.ray import Work, classify_with_ray
from vgg_demo.cli.console import log
from vgg_demo.cli.options import (
    models_option,
    read_settings,
    resize_option,
    top_option,
    weights_dir_option,
)
from vgg_demo.cli.outputs import OutputOptions, OutputWriter
from vgg_demo.cli.progress import (
    choose,
    classify_with_progress,
    is_terminal,
    open_store,
    paths_argument,
)
from vgg_demo.errors import FileUnreadableError, TableError
from vgg_demo.files.printable import printable
from vgg_demo.files.result_tables import Row, open_table, read_old_rows
from vgg_demo.files.sources import Source, count_photos, find_photos
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec
from vgg_demo.reports.annotate import small_copy

Key = tuple[str, str]
"""A photo's name and a model's."""


@dataclass(slots=True)
class Done:
    """What a table holds already.

    Attributes:
        counts: How often it has each photo for each model: in an archive, a name may come twice.
        answers: SHA-256 and first answer of each photo, of the first model.
    """

    counts: Counter[Key] = field(default_factory=Counter)
    answers: dict[str, tuple[str, str]] = field(default_factory=dict)

    def take(self, file: str, model: str) -> bool:
        """Whether a row is there; each counts once."""
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
    help="The table to write: .csv, .jsonl or .parquet. Without it, CSV on stdout.",
)
@click.option(
    "--resume",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="A table to go on with: photos that are in it are passed over.",
)
@click.option(
    "--annotate",
    "annotate_into",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Save each photo there as PNG with the first answer written on it.",
)
@click.option(
    "--move-to",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="Copy each photo there, into a folder named after the first model's first answer.",
)
@click.option("--move", is_flag=True, help="With --move-to: move photos instead of copying them.")
@click.option(
    "--engine",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="Where the work is done: here, or on a Ray cluster. Ray takes photos and folders, also "
    "s3://…, and writes a folder of Parquet files.",
)
@click.option(
    "--ray-address",
    metavar="ADDRESS",
    help="Of the cluster; “auto” for the one that this machine is in. Without it, one is "
    "started here for this run.",
)
@click.option(
    "--concurrency",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="With Ray: how many actors, of one CPU each. Without it, one less than there are CPUs.",
)
@top_option
@resize_option
@weights_dir_option
def batch_command(
    paths: tuple[str, ...],
    models: tuple[str, ...],
    out: str | None,
    resume: Path | None,
    annotate_into: Path | None,
    move_to: Path | None,
    move: bool,
    engine: str,
    ray_address: str | None,
    concurrency: int | None,
    top: int,
    resize: str,
    weights_dir: str | None,
) -> None:
    """Says what is on many photos: a row for each photo and model, in order.

    PATHS are photos, folders (with those below), archives (.zip, .tar, .tar.gz …) and
    patterns. A photo that cannot be used is a row with its error.
    """
    table = Path(out) if out else resume
    keeping = OutputOptions(annotate_into, move_to, move, is_resumed=resume is not None)
    _check_usage(out, table, resume, keeping, engine, has_cluster=bool(ray_address or concurrency))
    settings = read_settings(weights_dir)
    specs = choose(models, settings)
    if engine == "ray":
        work = Work(tuple(spec.name for spec in specs), Resize(resize), top, settings)
        _run_on_ray(paths, str(out), work, ray_address, concurrency)
        return
    _check_paths(paths)
    done = _read_done(resume, columns(top), specs, resize) if resume else Done()
    keep = OutputWriter(keeping, paths)
    store = open_store(specs, settings)  # what can fail before anything is written does
    counts, started = Counter[str](), time.monotonic()

    # Which rows of a photo are there is known before it is looked at, in the order of photos.
    missing: deque[set[str]] = deque()

    def wanted() -> Iterator[Source]:
        for source in find_photos(paths, settings.limits):
            name = printable(source.name)
            lacking = {spec.name for spec in specs if not done.take(name, spec.name)}
            if not lacking:
                counts["passed over"] += 1
                counts["unkept"] += not keep.sort(source, *done.answers.get(name, ("", "")))
            elif not keep.has_made(source):
                missing.append(lacking)
                yield source

    total = _count_left(paths, done) if is_terminal() else None
    view = small_copy if annotate_into else None
    with _table(table, columns(top), resume is not None) as write:
        rows = classify_with_progress(
            wanted(), specs, store, settings, resize, total=total, view=view
        )
        try:
            for row in rows:
                counts["photos"] += 1
                counts["failed"] += row.failure is not None
                is_saved, lacking = keep.save(row), missing.popleft()
                for flat in flatten(row, specs, top):
                    if flat["model"] in lacking:
                        write(flat)
                # After the row: whoever looks for a photo that was moved finds it in the table.
                is_sorted = not row.results or keep.sort(
                    row.source, row.results[0].sha256, row.results[0].predictions(1)[0].label
                )
                counts["unkept"] += not (is_saved and is_sorted)
        except KeyboardInterrupt:
            where = f"; go on with --resume {table}" if table else ""
            log(f"Stopped after {counts['photos']:,} photos{where}.")
            sys.exit(130)
    _log_counts(counts, time.monotonic() - started)
    sys.exit(1 if counts["failed"] or counts["unkept"] else 0)


def _check_usage(
    out: str | None,
    table: Path | None,
    resume: Path | None,
    keeping: OutputOptions,
    engine: str,
    *,
    has_cluster: bool,
) -> None:
    """Makes sure that the options go together."""
    if out and resume:
        raise click.UsageError("Choose one of --out and --resume.")
    if keeping.move and not keeping.move_to:
        raise click.UsageError("--move needs --move-to.")
    if keeping.move and table is not None and table.suffix.casefold() == ".parquet":
        raise click.UsageError(
            "--move needs a table of lines, .csv or .jsonl: if a Parquet file is interrupted, "
            "nobody would know any more where the photos were."
        )
    is_kept = keeping.annotate_into or keeping.move_to
    if engine == "ray" and (not out or not out.endswith(".parquet") or is_kept):
        raise click.UsageError(
            "--engine ray needs --out FOLDER.parquet, and knows no --resume, --annotate or "
            "--move-to."
        )
    if engine != "ray" and has_cluster:
        raise click.UsageError("--ray-address and --concurrency need --engine ray.")


def _check_paths(paths: Sequence[str]) -> None:
    """Makes sure that a path leads to something, before a table of nothing but errors is begun."""
    if not any(glob.has_magic(path) or os.path.lexists(path) for path in paths):
        named = " and no ".join(repr(path) for path in paths[:3])
        raise FileUnreadableError(f"There is no {named} here. Check the paths.")


def _log_counts(counts: Counter[str], seconds: float) -> None:
    log(
        f"{counts['photos']:,} photos in {seconds:,.1f} s"
        + (f", {counts['failed']:,} of them could not be used" if counts["failed"] else "")
        + (f", {counts['unkept']:,} not saved or sorted" if counts["unkept"] else "")
        + (f"; {counts['passed over']:,} passed over" if counts["passed over"] else "")
        + "."
    )


def _count_left(paths: Sequence[str], done: Done) -> int | None:
    total = count_photos(paths)
    return None if total is None else max(0, total - len({file for file, _ in done.counts}))


def _run_on_ray(
    paths: Sequence[str], out: str, work: Work, address: str | None, concurrency: int | None
) -> None:
    started = time.monotonic()
    if "://" not in out and Path(out).exists():
        raise TableError(f"{out!r} is there already. Choose another name.")
    places = [path if "://" in path else str(Path(path).resolve()) for path in paths]
    target = out if "://" in out else str(Path(out).resolve())
    written = classify_with_ray(places, target, work, address=address, concurrency=concurrency)
    log(
        f"{written.rows:,} rows in {time.monotonic() - started:,.1f} s"
        + (f", {written.failed:,} of them with an error" if written.failed else "")
        + "."
    )
    sys.exit(1 if written.failed else 0)


def _read_done(table: Path, keys: Sequence[str], specs: Sequence[ModelSpec], resize: str) -> Done:
    done, names = Done(), [spec.name for spec in specs]
    for row in read_old_rows(table, keys):
        for option, used, chosen in (
            ("--resize", row["resize"], [resize]),
            ("--model", row["model"], names),
        ):
            if used and used not in chosen:
                raise TableError(
                    f"{str(table)!r} was made with {option} {used}, not {' and '.join(chosen)}. "
                    "Use the same, or begin a new table."
                )
        done.counts[row["file"], row["model"]] += 1
        if row["model"] == names[0] and row["sha256"]:
            done.answers[row["file"]] = (row["sha256"], row["label_1"])
    return done


@contextmanager
def _table(path: Path | None, keys: Sequence[str], resume: bool) -> Iterator[Callable[[Row], None]]:
    if path is not None:
        with open_table(path, keys, resume=resume) as write:
            yield write
        return

    def print_result(row: Row) -> None:
        line = io.StringIO()
        csv.DictWriter(line, keys, lineterminator="\n").writerow(row)
        click.echo(line.getvalue(), nl=False)

    print_result({key: key for key in keys})
    yield print_result
