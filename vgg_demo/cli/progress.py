"""What `batch` and `evaluate` have in common: asking models about many photos, with a bar."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import click
from tqdm import tqdm

from vgg_demo.batch.pipeline import BatchRow, classify_photos
from vgg_demo.cli.console import log, prepare_model, quiet_libraries
from vgg_demo.files.sources import Source
from vgg_demo.images.photo import Photo
from vgg_demo.inference.store import ModelStore
from vgg_demo.models.catalog import find_spec
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec
from vgg_demo.settings import Settings

paths_argument = click.argument("paths", nargs=-1, required=True, metavar="PATHS...")


def choose(models: Sequence[str], settings: Settings) -> list[ModelSpec]:
    """Returns the models of these names, or in these bundles, each once."""
    return list(dict.fromkeys(find_spec(name, settings.bundles_dir) for name in models))


def open_store(specs: Sequence[ModelSpec], settings: Settings) -> ModelStore:
    """Returns a store for models that are here, or are brought here first.

    Raises:
        ModelError: If one cannot be had.
    """
    store = ModelStore(settings)
    for spec in specs:
        prepare_model(spec, store, settings)
    return store


def is_terminal() -> bool:
    """Whether somebody watches stderr."""
    return sys.stderr is not None and sys.stderr.isatty()


def classify_with_progress(
    sources: Iterable[Source],
    specs: Sequence[ModelSpec],
    store: ModelStore,
    settings: Settings,
    resize: str,
    *,
    total: int | None = None,
    view: Callable[[Photo], Any] | None = None,
) -> Iterator[BatchRow]:
    """Yields a row for each photo; shows progress, and tells of photos that cannot be used."""
    failed = 0
    with (
        quiet_libraries(),
        tqdm(total=total, unit=" photos", disable=not is_terminal(), dynamic_ncols=True) as bar,
        contextlib.closing(
            classify_photos(
                sources, specs, store, resize=Resize(resize), limits=settings.limits, view=view
            )
        ) as rows,
    ):
        for row in rows:
            if row.failure is not None:
                failed += 1
                bar.clear()
                log(f"{row.source.name}: {row.failure.message}")
                bar.set_postfix(failed=failed, refresh=False)
            yield row
            bar.update()
