"""All commands under one name."""

from __future__ import annotations

import click

from vgg_demo.cli.batch import batch_command
from vgg_demo.cli.classify import classify_command
from vgg_demo.cli.compare import compare_command
from vgg_demo.cli.console import Group, set_up
from vgg_demo.cli.evaluate import evaluate_command
from vgg_demo.cli.models import models_command
from vgg_demo.cli.train.commands import teach_group
from vgg_demo.cli.verify import verify_command
from vgg_demo.cli.weights import weights_group
from vgg_demo.version import __version__


@click.group(cls=Group, epilog="Example: python -m vgg_demo classify photo.jpg --model mini_vgg")
@click.version_option(__version__, prog_name="vgg_demo")
def main() -> None:
    """Shows what VGG16 and its relatives make of your photos."""
    set_up()


for command in (
    classify_command,
    batch_command,
    evaluate_command,
    compare_command,
    teach_group,
    models_command,
    weights_group,
    verify_command,
):
    main.add_command(command)
