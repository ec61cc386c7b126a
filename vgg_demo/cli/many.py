"""What `batch` and `evaluate` have in common: asking models about many photos, with a bar."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
from tqdm import tqdm

from vgg_demo.batch import BatchRow, classify_all
from vgg_demo.cli.terminal import make_ready, quiet_libraries, tell
from vgg_demo.photo import Photo
from vgg_demo.preprocess import Resize
from vgg_demo.registry import ModelSpec, get_spec
from vgg_demo.settings import Settings
from vgg_demo.sources import Source, count_photos, find_photos
from vgg_demo.store import ModelStore

paths_argument = click.argument("paths", nargs=-1, required=True, metavar="PATHS...")


@dataclass(slots=True)
class Counts:
    """How far the work has come.

    Attributes:
        done: Photos that models have looked at, or that could not be used.
        failed: Those of them that could not be used.
        skipped: Photos that were not looked at, as they had been before.
    """

    done: int = 0
    failed: int = 0
    skipped: int = 0


def ask_about_all(
    paths: Sequence[str],
    models: Sequence[str],
    settings: Settings,
    resize: str,
    counts: Counts,
    is_wanted: Callable[[Source], bool] = lambda _: True,
    view: Callable[[Photo], Any] | None = None,
) -> Iterator[BatchRow]:
    """Yields a row for each photo; shows progress, and tells of photos that cannot be used.

    Raises:
        ModelError: Before any photo is read, if a model cannot be had.
    """
    specs, store = choose(models), ModelStore(settings)
    for spec in specs:
        make_ready(spec, store, settings)

    def wanted() -> Iterator[Source]:
        for source in find_photos(paths, settings.limits):
            if is_wanted(source):
                yield source
            else:
                counts.skipped += 1
                bar.update()

    is_seen = sys.stderr is not None and sys.stderr.isatty()
    total = count_photos(paths) if is_seen else None
    with (
        quiet_libraries(),
        tqdm(total=total, unit=" photos", disable=not is_seen, dynamic_ncols=True) as bar,
        contextlib.closing(
            classify_all(
                wanted(), specs, store, policy=Resize(resize), limits=settings.limits, view=view
            )
        ) as rows,
    ):
        for row in rows:
            counts.done += 1
            if row.failure is not None:
                counts.failed += 1
                bar.clear()
                tell(f"{row.source.name}: {row.failure.message}")
                bar.set_postfix(failed=counts.failed, refresh=False)
            yield row
            bar.update()


def choose(models: Sequence[str]) -> list[ModelSpec]:
    """Returns the models of these names, each once."""
    return list(dict.fromkeys(get_spec(name) for name in models))
