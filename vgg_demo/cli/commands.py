"""The command group `vgg-demo`."""

from __future__ import annotations

import click

from vgg_demo.cli.batch import batch_command
from vgg_demo.cli.classify import classify_command
from vgg_demo.cli.compare import compare_command
from vgg_demo.cli.console import Group, set_up
from vgg_demo.cli.evaluate import evaluate_command
from vgg_demo.cli.models import models_command
from vgg_demo.cli.serve import serve_command
from vgg_demo.cli.train.bundle import bundle_group
from vgg_demo.cli.train.find_lr import find_lr_command
from vgg_demo.cli.train.train import train_command
from vgg_demo.cli.verify import verify_command
from vgg_demo.cli.weights import weights_group
from vgg_demo.version import __version__


@click.group(
    cls=Group,
    epilog="Run 'vgg-demo COMMAND --help' for the options of a command.\n\n"
    "Example: vgg-demo classify photo.jpg --model mini_vgg",
)
@click.version_option(__version__, prog_name="vgg-demo")
def main() -> None:
    """Classify photos with VGG16 and the other Keras Applications models."""
    set_up()


for command in (
    classify_command,
    compare_command,
    batch_command,
    evaluate_command,
    train_command,
    find_lr_command,
    bundle_group,
    models_command,
    weights_group,
    verify_command,
    serve_command,
):
    main.add_command(command)
