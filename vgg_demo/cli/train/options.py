"""Options that several commands of `teach` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from vgg_demo.models.custom import FeatureLayer
from vgg_demo.training.recipe import Recipe

DEFAULT_BACKBONE = "mobilenet_v2"
Command = TypeVar("Command", bound=Callable[..., Any])


def data_options(command: Command) -> Command:
    """Adds what says where photos and their labels are."""
    for option in reversed(
        (
            click.argument("data", nargs=-1, required=True, metavar="DATA..."),
            click.option(
                "--csv",
                "table",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="A table that says what is on the photos; without it, their folders do.",
            ),
            click.option(
                "--image-column", default="image", show_default=True, help="Of the photos' names."
            ),
            click.option(
                "--label-column", default="label", show_default=True, help="Of what is on them."
            ),
            click.option(
                "--group-column",
                default="",
                help="Of what belongs together, as the frames of a film: it is not split.",
            ),
        )
    ):
        command = option(command)
    return command


def recipe_options(command: Command) -> Command:
    """Adds what says how to learn."""
    default = Recipe()
    for option in reversed(
        (
            click.option(
                "--backbone",
                default=DEFAULT_BACKBONE,
                show_default=True,
                metavar="NAME",
                help="The network whose body looks at the photos. `models` lists all.",
            ),
            click.option(
                "--feature-layer",
                type=click.Choice(
                    [FeatureLayer.GLOBAL_POOLING.value, FeatureLayer.PENULTIMATE.value]
                ),
                default=FeatureLayer.GLOBAL_POOLING.value,
                show_default=True,
                help="How much of it; all but the last layer goes with VGG16 and VGG19.",
            ),
            click.option(
                "--fewest",
                type=click.IntRange(2),
                default=2,
                show_default=True,
                help="Drop labels that fewer photos have.",
            ),
            click.option(
                "--views",
                type=click.IntRange(1, 16),
                default=default.views,
                show_default=True,
                help="Looks at each photo: as it is, mirrored, and others.",
            ),
            click.option(
                "--epochs", type=click.IntRange(1, 1000), default=default.epochs, show_default=True
            ),
            click.option(
                "--rate",
                type=click.FloatRange(1e-7, 10),
                help="The highest learning rate; without it, it is found.",
            ),
            click.option(
                "--dropout",
                type=click.FloatRange(0, 0.9),
                default=default.dropout,
                show_default=True,
            ),
            click.option(
                "--label-smoothing",
                type=click.FloatRange(0, 0.5),
                default=default.label_smoothing,
                show_default=True,
            ),
            click.option(
                "--mixup",
                type=click.FloatRange(0, 2),
                default=default.mixup,
                show_default=True,
                help="How much photos are mixed with others.",
            ),
            click.option(
                "--balance/--no-balance",
                default=default.balance,
                show_default=True,
                help="Whether rare labels count as much as frequent ones.",
            ),
            click.option(
                "--validation",
                type=click.FloatRange(0.05, 0.5),
                default=default.validation_share,
                show_default=True,
                help="Part of the photos that is kept to judge by.",
            ),
            click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True),
        )
    ):
        command = option(command)
    return command
