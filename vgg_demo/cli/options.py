"""Options that several commands share."""

from __future__ import annotations

import os
from pathlib import Path

import click

from vgg_demo.errors import FileUnreadableError
from vgg_demo.models.preprocess import Resize
from vgg_demo.models.registry import DEFAULT_MODEL
from vgg_demo.settings import Settings
from vgg_demo.weights.local import check_weights_dir

weights_dir_option = click.option(
    "--weights-dir",
    metavar="DIR",
    help="Folder searched first for weight files (else VGG_DEMO_WEIGHTS_DIR).",
)

resize_option = click.option(
    "--resize",
    type=click.Choice([resize.value for resize in Resize]),
    default=Resize.CROP.value,
    show_default=True,
    help="How the photo is made square: the centre cut out, all of it pressed in, or grey "
    "bars added.",
)

top_option = click.option(
    "--top",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    help="How many answers to show.",
)


models_option = click.option(
    "--model",
    "models",
    multiple=True,
    default=[DEFAULT_MODEL],
    show_default=True,
    metavar="NAME",
    help="Which model answers, by its name or the path of a bundle (`teach`); may be given several "
    "times. `models` lists all names.",
)


def read_settings(weights_dir: str | None) -> Settings:
    """Reads the settings of this run.

    Raises:
        SettingsError: If one says nothing sensible.
        WeightsMissingError: If the folder of weights cannot be looked into.
    """
    settings = Settings.from_environment(os.environ, weights_dir)
    check_weights_dir(settings)
    return settings


def megabytes(size_bytes: float) -> str:
    return f"{size_bytes / 1e6:,.0f} MB"


def read_text(path: Path) -> str:
    """Returns the text of a file.

    Raises:
        FileUnreadableError: If it cannot be read, or is no UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8 text"
        raise FileUnreadableError(f"Cannot read {str(path)!r}: {reason}.") from error
