"""Options and conversions shared by several commands."""

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
    help="Folder of weight files that is searched first. Default: $VGG_DEMO_WEIGHTS_DIR.",
)

resize_option = click.option(
    "--resize",
    type=click.Choice([resize.value for resize in Resize]),
    default=Resize.CROP.value,
    show_default=True,
    help="Resize method: crop keeps the center, squash distorts the photo into a square, pad "
    "adds gray bars.",
)

top_option = click.option(
    "--top",
    type=click.IntRange(1, 1000),
    default=5,
    show_default=True,
    metavar="N",
    help="Number of predictions.",
)

models_option = click.option(
    "--model",
    "models",
    multiple=True,
    default=[DEFAULT_MODEL],
    show_default=True,
    metavar="NAME",
    help="Model name (see 'vgg-demo models') or path of a bundle. Repeat for several models.",
)


def read_settings(weights_dir: str | None) -> Settings:
    """Returns the settings from the environment and `--weights-dir`.

    Raises:
        SettingsError: If an environment variable has an invalid value.
        WeightsMissingError: If the weights directory cannot be read.
    """
    settings = Settings.from_environment(os.environ, weights_dir)
    check_weights_dir(settings)
    return settings


def format_megabytes(size_bytes: float) -> str:
    """Returns a size as text, in megabytes of 10⁶ bytes."""
    return f"{size_bytes / 1e6:,.0f} MB"


def read_text(path: Path) -> str:
    """Returns the content of a UTF-8 text file.

    Raises:
        FileUnreadableError: If the file cannot be read or is not UTF-8 text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise FileUnreadableError(f"Cannot read {str(path)!r}: {reason}.") from error
