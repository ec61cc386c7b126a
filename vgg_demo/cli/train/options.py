"""Options shared by `train`, `find-lr` and `bundle evaluate`."""

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
    """Adds the options for photos and their labels."""
    for option in reversed(
        (
            click.argument("data", nargs=-1, required=True, metavar="DATA..."),
            click.option(
                "--labels",
                "table",
                type=click.Path(path_type=Path),
                metavar="FILE",
                help="CSV table with the labels of the photos. Default: folder names are the "
                "labels.",
            ),
            click.option(
                "--image-column",
                default="image",
                show_default=True,
                metavar="NAME",
                help="Column of the table with the file names of the photos.",
            ),
            click.option(
                "--label-column",
                default="label",
                show_default=True,
                metavar="NAME",
                help="Column of the table with the labels.",
            ),
            click.option(
                "--group-column",
                default="",
                metavar="NAME",
                help="Column of the table with groups of photos that must stay together in the "
                "train/validation split, such as the frames of a video.",
            ),
        )
    ):
        command = option(command)
    return command


def recipe_options(command: Command) -> Command:
    """Adds the options for the backbone and the hyperparameters."""
    default = Recipe()
    for option in reversed(
        (
            click.option(
                "--backbone",
                default=DEFAULT_BACKBONE,
                show_default=True,
                metavar="NAME",
                help="Pretrained model that extracts the features. 'vgg-demo models' lists all "
                "names.",
            ),
            click.option(
                "--feature-layer",
                type=click.Choice(
                    [FeatureLayer.GLOBAL_POOLING.value, FeatureLayer.PENULTIMATE.value]
                ),
                default=FeatureLayer.GLOBAL_POOLING.value,
                show_default=True,
                help="Layer of the backbone that provides the features; penultimate requires VGG16 "
                "or VGG19.",
            ),
            click.option(
                "--min-photos",
                type=click.IntRange(2),
                default=2,
                show_default=True,
                metavar="N",
                help="Exclude classes with fewer photos.",
            ),
            click.option(
                "--views",
                type=click.IntRange(1, 16),
                default=default.views,
                show_default=True,
                metavar="N",
                help="Augmented views per photo: the original, its mirror image, and random crops.",
            ),
            click.option(
                "--epochs",
                type=click.IntRange(1, 1000),
                default=default.epochs,
                show_default=True,
                metavar="N",
                help="Maximum number of epochs.",
            ),
            click.option(
                "--learning-rate",
                type=click.FloatRange(1e-7, 10),
                metavar="RATE",
                help="Maximum learning rate. Default: found with a learning-rate range test.",
            ),
            click.option(
                "--dropout",
                type=click.FloatRange(0, 0.9),
                default=default.dropout,
                show_default=True,
                metavar="FRACTION",
                help="Fraction of the features that are dropped at random.",
            ),
            click.option(
                "--label-smoothing",
                type=click.FloatRange(0, 0.5),
                default=default.label_smoothing,
                show_default=True,
                metavar="FRACTION",
                help="Fraction of each target that is spread over all classes.",
            ),
            click.option(
                "--mixup",
                type=click.FloatRange(0, 2),
                default=default.mixup,
                show_default=True,
                metavar="ALPHA",
                help="Strength of mixup, which blends pairs of photos; 0 turns it off.",
            ),
            click.option(
                "--class-weights/--no-class-weights",
                default=default.class_weights,
                show_default=True,
                help="Balance the loss with class weights.",
            ),
            click.option(
                "--validation-fraction",
                type=click.FloatRange(0.05, 0.5),
                default=default.validation_fraction,
                show_default=True,
                metavar="FRACTION",
                help="Fraction of the photos that are held out for validation.",
            ),
            click.option(
                "--seed",
                type=click.IntRange(0, 2**32 - 1),
                default=0,
                show_default=True,
                metavar="N",
                help="Random seed.",
            ),
        )
    ):
        command = option(command)
    return command
