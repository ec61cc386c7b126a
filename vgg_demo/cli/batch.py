"""`batch`: what is on many photos, as a table."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from vgg_demo.annotate import small_copy
from vgg_demo.batch import columns, flatten
from vgg_demo.cli.many import Counts, ask_about_all, choose, paths_argument
from vgg_demo.cli.options import (
    models_option,
    read_settings,
    resize_option,
    top_option,
    weights_dir_option,
)
from vgg_demo.cli.saving import annotated_saver
from vgg_demo.cli.terminal import tell
from vgg_demo.filing import file_photo
from vgg_demo.printable import printable
from vgg_demo.sources import Source
from vgg_demo.tables import Row, drop_half_line, open_table, read_rows

Key = tuple[str, str]
"""A photo's name and a model's."""


@click.command(
    "batch", epilog="Example: python -m vgg_demo batch photos/ more.zip --out results.csv"
)
@paths_argument
@models_option
@click.option(
    "--out",
    type=click.Path(path_type=Path),
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
@top_option
@resize_option
@weights_dir_option
def batch_command(
    paths: tuple[str, ...],
    models: tuple[str, ...],
    out: Path | None,
    resume: Path | None,
    annotate_into: Path | None,
    move_to: Path | None,
    move: bool,
    top: int,
    resize: str,
    weights_dir: str | None,
) -> None:
    """Says what is on many photos: a row for each photo and model, in order.

    PATHS are photos, folders (with those below), archives (.zip, .tar, .tar.gz …) and
    patterns. A photo that cannot be used is a row with its error.
    """
    if out and resume:
        raise click.UsageError("Choose one of --out and --resume.")
    if move and not move_to:
        raise click.UsageError("--move needs --move-to.")
    settings, specs = read_settings(weights_dir), choose(models)
    done = _read_done(resume)
    own = [folder.resolve() for folder in (annotate_into, move_to) if folder]

    def is_wanted(source: Source) -> bool:
        name = printable(source.name)
        if all((name, spec.name) in done for spec in specs):
            return False
        # What this run itself puts into a folder is not to be looked at.
        return not (own and source.path and any(f in source.path.resolve().parents for f in own))

    save = annotated_saver(annotate_into) if annotate_into else None
    counts, started = Counts(), time.monotonic()
    with _table(out or resume, columns(top), resume is not None) as write:
        try:
            for row in ask_about_all(
                paths, models, settings, resize, counts, is_wanted, small_copy if save else None
            ):
                if save is not None:
                    for result in row.results:
                        save(row.view, result)
                if move_to and row.results:
                    file_photo(row.source, row.results[0].predictions(1)[0], move_to, move=move)
                for flat in flatten(row, specs, top):
                    if (flat["file"], flat["model"]) not in done:
                        write(flat)
        except KeyboardInterrupt:
            where = f"; go on with --resume {out or resume}" if out or resume else ""
            tell(f"Stopped after {counts.done:,} photos{where}.")
            sys.exit(130)
    seconds = time.monotonic() - started
    tell(
        f"{counts.done:,} photos in {seconds:,.1f} s"
        + (f", {counts.failed:,} of them could not be used" if counts.failed else "")
        + (f"; {counts.skipped:,} passed over" if counts.skipped else "")
        + "."
    )
    sys.exit(1 if counts.failed else 0)


def _read_done(table: Path | None) -> set[Key]:
    if table is None:
        return set()
    drop_half_line(table)
    return {(str(row["file"]), str(row["model"])) for row in read_rows(table)}


@contextmanager
def _table(path: Path | None, keys: Sequence[str], resume: bool) -> Iterator[Callable[[Row], None]]:
    if path is not None:
        with open_table(path, keys, resume=resume) as write:
            yield write
        return

    def show(row: Row) -> None:
        line = io.StringIO()
        csv.DictWriter(line, keys, lineterminator="\n").writerow(row)
        click.echo(line.getvalue(), nl=False)

    show({key: key for key in keys})
    yield show
