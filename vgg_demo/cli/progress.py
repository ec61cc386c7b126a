"""Model arguments and classification with a progress bar, shared by `batch` and `evaluate`."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import click
from tqdm import tqdm

from vgg_demo.batch.pipeline import BatchRow, classify_photos
from vgg_demo.cli.console import log_failure, prepare_model, quiet_libraries
from vgg_demo.files.sources import Source
from vgg_demo.images.photo import Photo
from vgg_demo.inference.model_store import ModelStore
from vgg_demo.models.lookup import find_spec
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import ModelSpec
from vgg_demo.settings import Settings

paths_argument = click.argument("paths", nargs=-1, required=True, metavar="PATHS...")


def find_specs(models: Sequence[str], settings: Settings) -> list[ModelSpec]:
    """Returns the specs of models, given by name or bundle path, without duplicates.

    Raises:
        UnknownModelError: If there is no model with one of the names.
        BundleError: If one of the paths is not a bundle.
    """
    return list(dict.fromkeys(find_spec(name, settings.bundles_dir) for name in models))


def open_store(specs: Sequence[ModelSpec], settings: Settings) -> ModelStore:
    """Returns a model store, after downloading missing weights of the models.

    Raises:
        ModelError: If a model cannot be loaded.
    """
    store = ModelStore(settings)
    for spec in specs:
        prepare_model(spec, store, settings)
    return store


def is_terminal() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr is not None and sys.stderr.isatty()


def classify_with_progress(
    sources: Iterable[Source],
    specs: Sequence[ModelSpec],
    store: ModelStore,
    settings: Settings,
    resize: str,
    *,
    total: int | None = None,
    extract: Callable[[Photo], Any] | None = None,
) -> Iterator[BatchRow]:
    """Yields one row per photo; shows a progress bar and logs photos that cannot be used.

    Args:
        sources: The photos.
        specs: The models.
        store: The model store.
        settings: Settings with the image limits.
        resize: Resize method, a value of `Resize`.
        total: Number of photos; None if unknown.
        extract: See `classify_photos`.
    """
    failed = 0
    with (
        quiet_libraries(),
        tqdm(total=total, unit=" photos", disable=not is_terminal(), dynamic_ncols=True) as bar,
        contextlib.closing(
            classify_photos(
                sources,
                specs,
                store,
                resize=Resize(resize),
                limits=settings.limits,
                extract=extract,
            )
        ) as rows,
    ):
        for row in rows:
            if row.failure is not None:
                failed += 1
                bar.clear()
                log_failure(row.source.name, row.failure.message)
                bar.set_postfix(failed=failed, refresh=False)
            yield row
            bar.update()
